/* SPDX-License-Identifier: BSD-3-Clause */
/* See OSObject.h. */
#ifndef STUBS_DRIVERKIT_IOMEMORYMAP_H
#define STUBS_DRIVERKIT_IOMEMORYMAP_H

#include <DriverKit/OSObject.h>

class IOMemoryMap : public OSObject
{
  public:
    uint64_t GetAddress();
    uint64_t GetLength();
};

#endif
