/* SPDX-License-Identifier: BSD-3-Clause */
/* See OSObject.h. */
#ifndef STUBS_DRIVERKIT_OSACTION_H
#define STUBS_DRIVERKIT_OSACTION_H

#include <DriverKit/OSObject.h>

class OSAction : public OSObject
{
  public:
    void *GetReference();
};

#endif
