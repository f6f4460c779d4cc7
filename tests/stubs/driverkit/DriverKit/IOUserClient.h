/* SPDX-License-Identifier: BSD-3-Clause */
/* See OSObject.h. */
#ifndef STUBS_DRIVERKIT_IOUSERCLIENT_H
#define STUBS_DRIVERKIT_IOUSERCLIENT_H

#include <DriverKit/IOBufferMemoryDescriptor.h>
#include <DriverKit/IOService.h>
#include <DriverKit/OSData.h>

enum { kIOUserClientAsyncArgumentsCountMax = 16 };
typedef uint64_t IOUserClientAsyncArgumentsArray[kIOUserClientAsyncArgumentsCountMax];

enum { kIOUserClientVariableStructureSize = 0xffffffff };

struct IOUserClientMethodArguments {
    uint64_t version;
    uint64_t selector;
    OSAction *completion;
    const uint64_t *scalarInput;
    uint32_t scalarInputCount;
    OSData *structureInput;
    IOMemoryDescriptor *structureInputDescriptor;
    uint64_t *scalarOutput;
    uint32_t scalarOutputCount;
    OSData *structureOutput;
    IOMemoryDescriptor *structureOutputDescriptor;
    uint64_t structureOutputMaximumSize;
    uint64_t __reserved[30];
};

struct IOUserClientMethodDispatch;

class IOUserClient : public IOService
{
  public:
    virtual kern_return_t ExternalMethod(uint64_t selector, IOUserClientMethodArguments *arguments,
                                         const IOUserClientMethodDispatch *dispatch, OSObject *target,
                                         void *reference);
    DK_METHOD(void, AsyncCompletion, OSAction *action, IOReturn status,
              const IOUserClientAsyncArgumentsArray asyncData, uint32_t asyncDataCount);
    DK_METHOD(kern_return_t, CopyClientMemoryForType, uint64_t type, uint64_t *options,
              IOMemoryDescriptor **memory);
    DK_METHOD(kern_return_t, CreateMemoryDescriptorFromClient, uint64_t memoryDescriptorCreateOptions,
              uint32_t segmentsCount, const IOAddressSegment segments[32], IOMemoryDescriptor **memory);
};

#endif
