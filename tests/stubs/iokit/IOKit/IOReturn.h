/* SPDX-License-Identifier: BSD-3-Clause */
/* Stub for tools/typecheck: what src/dextlink/iokit.c uses of <IOKit/IOReturn.h>. */
#ifndef TESTS_STUBS_IOKIT_IORETURN_H
#define TESTS_STUBS_IOKIT_IORETURN_H

#include <mach/mach.h>

typedef kern_return_t IOReturn;

#define iokit_common_err(err) ((signed)(((0x38u & 0x3f) << 26) | (err)))

#define kIOReturnSuccess       KERN_SUCCESS
#define kIOReturnNoMemory      iokit_common_err(0x2bd)
#define kIOReturnNotPrivileged iokit_common_err(0x2c1)
#define kIOReturnOffline       iokit_common_err(0x2d7)
#define kIOReturnNotAttached   iokit_common_err(0x2d9)
#define kIOReturnNotPermitted  iokit_common_err(0x2e2)

#endif
