/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The smallest program that can install the driver extension: only an app may, and only one that lies in its own bundle.
 * Asks the system, tells what it answers, ends. Exit code 0: done; 1: refused; 2: usage.
 */
#import <Foundation/Foundation.h>
#import <SystemExtensions/SystemExtensions.h>

#include <stdio.h>
#include <stdlib.h>

@interface ViaductRequest : NSObject <OSSystemExtensionRequestDelegate>
@end

@implementation ViaductRequest

- (OSSystemExtensionReplacementAction)request:(OSSystemExtensionRequest *)request
                  actionForReplacingExtension:(OSSystemExtensionProperties *)existing
                                withExtension:(OSSystemExtensionProperties *)extension
{
    return OSSystemExtensionReplacementActionReplace;
}

- (void)requestNeedsUserApproval:(OSSystemExtensionRequest *)request
{
    printf("waiting for you: allow the extension in System Settings, Login Items & Extensions, Driver "
           "Extensions\n");
}

- (void)request:(OSSystemExtensionRequest *)request didFinishWithResult:(OSSystemExtensionRequestResult)result
{
    printf(result == OSSystemExtensionRequestCompleted ? "done\n" : "done after the next restart\n");
    exit(0);
}

- (void)request:(OSSystemExtensionRequest *)request didFailWithError:(NSError *)error
{
    fprintf(stderr, "refused: %s (%ld)\n", error.localizedDescription.UTF8String, (long)error.code);
    exit(1);
}

@end

int main(int argc, char **argv)
{
    NSString *extension = [NSBundle.mainBundle objectForInfoDictionaryKey:@"ViaductExtension"];
    NSString *verb = argc == 2 ? [NSString stringWithUTF8String:argv[1]] : @"";
    static OSSystemExtensionRequest *request;
    static ViaductRequest *delegate; /* the request does not keep it */

    if ([verb isEqualToString:@"activate"]) {
        request = [OSSystemExtensionRequest activationRequestForExtension:extension
                                                                    queue:dispatch_get_main_queue()];
    } else if ([verb isEqualToString:@"deactivate"]) {
        request = [OSSystemExtensionRequest deactivationRequestForExtension:extension
                                                                      queue:dispatch_get_main_queue()];
    } else {
        fprintf(stderr, "usage: viaduct-driver activate|deactivate\n");
        return 2;
    }
    delegate = [[ViaductRequest alloc] init];
    request.delegate = delegate;
    [OSSystemExtensionManager.sharedManager submitRequest:request];
    dispatch_main();
}
