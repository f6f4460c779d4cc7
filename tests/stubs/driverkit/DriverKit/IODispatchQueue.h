/* SPDX-License-Identifier: BSD-3-Clause */
/* See OSObject.h. */
#ifndef STUBS_DRIVERKIT_IODISPATCHQUEUE_H
#define STUBS_DRIVERKIT_IODISPATCHQUEUE_H

#include <DriverKit/OSObject.h>

typedef char IODispatchQueueName[256];
typedef void (^IODispatchSourceCancelHandler)(void);

class IODispatchQueue : public OSObject
{
  public:
    DK_STATIC(kern_return_t, Create, const IODispatchQueueName name, uint64_t options, uint64_t priority,
              IODispatchQueue **queue);
};

class IODispatchSource : public OSObject
{
  public:
    DK_CALL(kern_return_t, Cancel, IODispatchSourceCancelHandler handler);
    DK_CALL(kern_return_t, SetEnable, bool enable);
};

#endif
