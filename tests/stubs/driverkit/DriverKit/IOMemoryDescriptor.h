/* SPDX-License-Identifier: BSD-3-Clause */
/* See OSObject.h. */
#ifndef STUBS_DRIVERKIT_IOMEMORYDESCRIPTOR_H
#define STUBS_DRIVERKIT_IOMEMORYDESCRIPTOR_H

#include <DriverKit/OSObject.h>

class IOMemoryMap;

enum {
    kIOMemoryDirectionIn = 0x01,
    kIOMemoryDirectionOut = 0x02,
    kIOMemoryDirectionInOut = kIOMemoryDirectionIn | kIOMemoryDirectionOut,
    kIOMemoryDisableCopyOnWrite = 0x10,
};

enum { kIOMemoryMapReadOnly = 0x02 };

struct IOAddressSegment {
    uint64_t address;
    uint64_t length;
};

class IOMemoryDescriptor : public OSObject
{
  public:
    kern_return_t GetLength(uint64_t *returnLength);
    DK_CALL(kern_return_t, CreateMapping, uint64_t options, uint64_t address, uint64_t offset,
            uint64_t length, uint64_t alignment, IOMemoryMap **map);
};

#endif
