/* SPDX-License-Identifier: BSD-3-Clause */
/* See OSObject.h. */
#ifndef STUBS_DRIVERKIT_IOBUFFERMEMORYDESCRIPTOR_H
#define STUBS_DRIVERKIT_IOBUFFERMEMORYDESCRIPTOR_H

#include <DriverKit/IOMemoryDescriptor.h>

class IOBufferMemoryDescriptor : public IOMemoryDescriptor
{
  public:
    DK_STATIC(kern_return_t, Create, uint64_t options, uint64_t capacity, uint64_t alignment,
              IOBufferMemoryDescriptor **memory);
    kern_return_t GetAddressRange(IOAddressSegment *range);
    DK_CALL(kern_return_t, SetLength, uint64_t length);
};

#endif
