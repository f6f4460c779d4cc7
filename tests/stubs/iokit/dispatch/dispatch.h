/* SPDX-License-Identifier: BSD-3-Clause */
/* Stub for tools/typecheck: what src/dextlink/iokit.c uses of libdispatch, with the signatures of the macOS SDK. */
#ifndef TESTS_STUBS_IOKIT_DISPATCH_H
#define TESTS_STUBS_IOKIT_DISPATCH_H

typedef struct dispatch_queue_s *dispatch_queue_t;
typedef struct dispatch_queue_attr_s *dispatch_queue_attr_t;
typedef void (*dispatch_function_t)(void *context);

dispatch_queue_t dispatch_queue_create(const char *label, dispatch_queue_attr_t attr);
void dispatch_sync_f(dispatch_queue_t queue, void *context, dispatch_function_t work);
/* The SDK's takes a union of all dispatch objects. */
typedef union {
    struct dispatch_queue_s *_dq;
} dispatch_object_t __attribute__((__transparent_union__));
void dispatch_release(dispatch_object_t object);

#endif
