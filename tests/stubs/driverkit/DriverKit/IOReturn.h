/* SPDX-License-Identifier: BSD-3-Clause */
/* See OSObject.h. */
#ifndef STUBS_DRIVERKIT_IORETURN_H
#define STUBS_DRIVERKIT_IORETURN_H

typedef int kern_return_t;
typedef kern_return_t IOReturn;

#define STUB_RETURN(code)    ((kern_return_t)(0xe0000000u | (code)))
#define kIOReturnSuccess     0
#define kIOReturnNoMemory    STUB_RETURN(0x2bd)
#define kIOReturnNoResources STUB_RETURN(0x2be)
#define kIOReturnNoDevice    STUB_RETURN(0x2c0)
#define kIOReturnBadArgument STUB_RETURN(0x2c2)
#define kIOReturnUnsupported STUB_RETURN(0x2c7)
#define kIOReturnNotReady    STUB_RETURN(0x2d8)
#define kIOReturnNotAttached STUB_RETURN(0x2d9)
#define kIOReturnNoSpace     STUB_RETURN(0x2db)
#define kIOReturnCannotWire  STUB_RETURN(0x2de)
#define kIOReturnNotFound    STUB_RETURN(0x2f0)

#endif
