/* SPDX-License-Identifier: BSD-3-Clause */
/* See OSObject.h. */
#ifndef STUBS_DRIVERKIT_OSNUMBER_H
#define STUBS_DRIVERKIT_OSNUMBER_H

#include <DriverKit/OSObject.h>

class OSNumber : public OSContainer
{
  public:
    uint64_t unsigned64BitValue() const;
};

#endif
