/* SPDX-License-Identifier: BSD-3-Clause */
/* See OSObject.h. */
#ifndef STUBS_DRIVERKIT_OSDATA_H
#define STUBS_DRIVERKIT_OSDATA_H

#include <DriverKit/OSObject.h>

class OSData;
typedef OSData *OSDataPtr;

class OSData : public OSContainer
{
  public:
    static OSDataPtr withCapacity(uint32_t capacity);
    bool appendBytes(const void *bytes, size_t numBytes);
    size_t getLength() const;
    const void *getBytesNoCopy() const;
};

#endif
