/* SPDX-License-Identifier: BSD-3-Clause */
/* See DriverKit/OSObject.h; this one for the host app. */
#ifndef STUBS_SYSTEMEXTENSIONS_H
#define STUBS_SYSTEMEXTENSIONS_H

#import <Foundation/Foundation.h>

typedef enum : NSInteger {
    OSSystemExtensionReplacementActionCancel,
    OSSystemExtensionReplacementActionReplace,
} OSSystemExtensionReplacementAction;

typedef enum : NSInteger {
    OSSystemExtensionRequestCompleted,
    OSSystemExtensionRequestWillCompleteAfterReboot,
} OSSystemExtensionRequestResult;

@class OSSystemExtensionProperties, OSSystemExtensionRequest;

@protocol OSSystemExtensionRequestDelegate <NSObject>
- (OSSystemExtensionReplacementAction)request:(OSSystemExtensionRequest *)request
                  actionForReplacingExtension:(OSSystemExtensionProperties *)existing
                                withExtension:(OSSystemExtensionProperties *)extension;
- (void)requestNeedsUserApproval:(OSSystemExtensionRequest *)request;
- (void)request:(OSSystemExtensionRequest *)request
    didFinishWithResult:(OSSystemExtensionRequestResult)result;
- (void)request:(OSSystemExtensionRequest *)request didFailWithError:(NSError *)error;
@end

@interface OSSystemExtensionRequest : NSObject
+ (instancetype)activationRequestForExtension:(NSString *)identifier queue:(dispatch_queue_t)queue;
+ (instancetype)deactivationRequestForExtension:(NSString *)identifier queue:(dispatch_queue_t)queue;
@property(weak) id<OSSystemExtensionRequestDelegate> delegate;
@end

@interface OSSystemExtensionManager : NSObject
@property(class, readonly) OSSystemExtensionManager *sharedManager;
- (void)submitRequest:(OSSystemExtensionRequest *)request;
@end

#endif
