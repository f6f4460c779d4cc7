/* SPDX-License-Identifier: BSD-3-Clause */
/* See OSObject.h. */
#ifndef STUBS_DRIVERKIT_IOSERVICE_H
#define STUBS_DRIVERKIT_IOSERVICE_H

#include <DriverKit/IODispatchQueue.h>
#include <DriverKit/OSAction.h>

class IOUserClient;

typedef uint32_t IOOptionBits;
typedef char IOPropertyName[128];
typedef char IORegistryPlaneName[128];

class IOService : public OSObject
{
  public:
    bool init() override;
    void free() override;
    DK_METHOD(kern_return_t, Start, IOService *provider);
    DK_METHOD(kern_return_t, Stop, IOService *provider);
    DK_METHOD(kern_return_t, NewUserClient, uint32_t type, IOUserClient **userClient);
    DK_METHOD0(kern_return_t, RegisterService);
    DK_METHOD(kern_return_t, SetDispatchQueue, const IODispatchQueueName name, IODispatchQueue *queue);
    DK_METHOD(kern_return_t, SearchProperty, const IOPropertyName name, const IORegistryPlaneName plane,
              uint64_t options, OSContainer **property);
    DK_METHOD(kern_return_t, Create, IOService *provider, const IOPropertyName propertiesKey,
              IOService **result);
    DK_METHOD(kern_return_t, Terminate, uint64_t options);
};

#endif
