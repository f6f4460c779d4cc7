/* SPDX-License-Identifier: BSD-3-Clause */
/* See OSObject.h. */
#ifndef STUBS_DRIVERKIT_IOLIB_H
#define STUBS_DRIVERKIT_IOLIB_H

#include <stddef.h>
#include <stdint.h>

struct IOLock;

extern "C" {
void *IOMallocZero(size_t length);
void IOFree(void *address, size_t length);
void IODelay(uint64_t microseconds);
void IOSleep(uint64_t milliseconds);
struct IOLock *IOLockAlloc(void);
void IOLockFree(struct IOLock *lock);
void IOLockLock(struct IOLock *lock);
void IOLockUnlock(struct IOLock *lock);
}

#define IONewZero(type, count) ((type *)IOMallocZero(sizeof(type) * (count)))
#define IOSafeDeleteNULL(ptr, type, count)                                                                   \
    do {                                                                                                     \
        if (ptr)                                                                                             \
            IOFree((ptr), sizeof(type) * (count));                                                           \
        (ptr) = nullptr;                                                                                     \
    } while (0)

#endif
