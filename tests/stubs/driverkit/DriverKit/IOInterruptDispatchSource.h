/* SPDX-License-Identifier: BSD-3-Clause */
/* See OSObject.h. */
#ifndef STUBS_DRIVERKIT_IOINTERRUPTDISPATCHSOURCE_H
#define STUBS_DRIVERKIT_IOINTERRUPTDISPATCHSOURCE_H

#include <DriverKit/IODispatchQueue.h>
#include <DriverKit/IOService.h>

class IOInterruptDispatchSource : public IODispatchSource
{
  public:
    /* What a method with TYPE(IOInterruptDispatchSource::InterruptOccurred) has to look like. */
    typedef void InterruptOccurred_Type(OSAction *action, uint64_t count, uint64_t time);

    DK_STATIC(kern_return_t, Create, IOService *provider, uint32_t index, IODispatchQueue *queue,
              IOInterruptDispatchSource **source);
    DK_STATIC(kern_return_t, GetInterruptType, IOService *provider, uint32_t index, uint64_t *interruptType);
    DK_CALL(kern_return_t, SetHandler, OSAction *action);
};

#endif
