/* SPDX-License-Identifier: BSD-3-Clause */
/* See DriverKit/OSObject.h; this one for the host app. */
#ifndef STUBS_FOUNDATION_H
#define STUBS_FOUNDATION_H

typedef long NSInteger;
typedef struct dispatch_queue_s *dispatch_queue_t;

dispatch_queue_t dispatch_get_main_queue(void);
void dispatch_main(void) __attribute__((noreturn));

@protocol NSObject
@end

__attribute__((objc_root_class))
@interface NSObject<NSObject>
+ (instancetype)alloc;
- (instancetype)init;
@end

@interface NSString : NSObject
+ (instancetype)stringWithUTF8String:(const char *)bytes;
- (_Bool)isEqualToString:(NSString *)other;
@property(readonly) const char *UTF8String;
@end

@interface NSConstantString : NSString
@end

@interface NSError : NSObject
@property(readonly) NSInteger code;
@property(readonly, copy) NSString *localizedDescription;
@end

@interface NSBundle : NSObject
@property(class, readonly) NSBundle *mainBundle;
- (id)objectForInfoDictionaryKey:(NSString *)key;
@end

#endif
