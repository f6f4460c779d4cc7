/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection: unpacks a call for the core and packs its answer. What a call may do is the core's to decide; all that is
 * checked here is what unpacking needs. However a program ends, the system calls Stop() for each of its connections.
 */
#include <DriverKit/IOMemoryMap.h>
#include <DriverKit/OSData.h>

#include "dext/shell/shell.h"

/* A struct argument up to this size travels in the message, a larger one as a memory descriptor. */
enum { INLINE_BYTES = 4096 };

/* The core's handle of an async call: whom to tell, and what the kernel gave us to tell it with. References are ours. */
struct async {
    VFIOUserPCIDriverUserClient *client;
    OSAction *action;
};

/* A call on its way through: what has to be given back afterwards. */
struct frame {
    struct vd_dext_call call;
    IOMemoryMap *in, *out; /* large blocks */
    OSData *small_out;     /* a small one: made beforehand, because after the call it is too late to fail */
    struct async *async;
    uint8_t bytes[INLINE_BYTES];
};

bool VFIOUserPCIDriverUserClient::init()
{
    if (!super::init())
        return false;
    ivars = IONewZero(VFIOUserPCIDriverUserClient_IVars, 1);
    return ivars != nullptr;
}

void VFIOUserPCIDriverUserClient::free()
{
    if (ivars)
        OSSafeReleaseNULL(ivars->driver);
    IOSafeDeleteNULL(ivars, VFIOUserPCIDriverUserClient_IVars, 1);
    super::free();
}

static kern_return_t open_client(VFIOUserPCIDriverUserClient *client, IOService *provider)
{
    VFIOUserPCIDriver *driver = OSDynamicCast(VFIOUserPCIDriver, provider);

    if (!driver)
        return kIOReturnBadArgument;
    driver->retain();
    client->ivars->driver = driver;
    vd_shell_guard guard(driver->ivars->lock);
    if (!driver->ivars->dext)
        return kIOReturnNotReady;
    return vd_dext_client_open(driver->ivars->dext, client, &client->ivars->client);
}

kern_return_t VFIOUserPCIDriverUserClient::Start_Impl(IOService *provider)
{
    kern_return_t ret = Start(provider, SUPERDISPATCH);

    if (ret != kIOReturnSuccess)
        return ret;
    ret = open_client(this, provider);
    if (ret != kIOReturnSuccess)
        Stop(provider, SUPERDISPATCH);
    return ret;
}

kern_return_t VFIOUserPCIDriverUserClient::Stop_Impl(IOService *provider)
{
    if (ivars->driver) {
        vd_shell_guard guard(ivars->driver->ivars->lock);
        vd_dext_client_close(ivars->client);
        ivars->client = nullptr;
    }
    return Stop(provider, SUPERDISPATCH);
}

static struct async *create_async(VFIOUserPCIDriverUserClient *client, OSAction *action)
{
    struct async *async = IONewZero(struct async, 1);

    if (!async)
        return nullptr;
    async->client = client;
    async->action = action;
    client->retain();
    action->retain();
    return async;
}

static void destroy_async(struct async *async)
{
    if (!async)
        return;
    async->action->release();
    async->client->release();
    IOSafeDeleteNULL(async, struct async, 1);
}

void vd_shell_complete(void *, void *handle, int status, const uint64_t *args, uint32_t nr_args)
{
    struct async *async = static_cast<struct async *>(handle);
    IOUserClientAsyncArgumentsArray data = {};

    if (nr_args > kIOUserClientAsyncArgumentsCountMax)
        nr_args = kIOUserClientAsyncArgumentsCountMax;
    for (uint32_t i = 0; i < nr_args; i++)
        data[i] = args[i];
    async->client->AsyncCompletion(async->action, status, data, nr_args);
    destroy_async(async);
}

static void *address_of(IOMemoryMap *map)
{
    return reinterpret_cast<void *>(map->GetAddress());
}

static kern_return_t take_input(struct frame *frame, const IOUserClientMethodArguments *arguments)
{
    kern_return_t ret;

    frame->call.scalars_in = arguments->scalarInput;
    frame->call.nr_scalars_in = arguments->scalarInputCount;
    if (arguments->structureInput) {
        frame->call.bytes_in = arguments->structureInput->getBytesNoCopy();
        frame->call.nr_bytes_in = arguments->structureInput->getLength();
    } else if (arguments->structureInputDescriptor) {
        ret =
            arguments->structureInputDescriptor->CreateMapping(kIOMemoryMapReadOnly, 0, 0, 0, 0, &frame->in);
        if (ret != kIOReturnSuccess)
            return ret;
        frame->call.bytes_in = address_of(frame->in);
        frame->call.nr_bytes_in = frame->in->GetLength();
    }
    return kIOReturnSuccess;
}

/* A large block is the client's own memory, written through a mapping; a small one goes back as a copy. */
static kern_return_t offer_output(struct frame *frame, const IOUserClientMethodArguments *arguments)
{
    const uint64_t most = arguments->structureOutputMaximumSize;
    kern_return_t ret;

    frame->call.scalars_out = arguments->scalarOutput;
    frame->call.nr_scalars_out = arguments->scalarOutputCount;
    if (arguments->structureOutputDescriptor) {
        ret = arguments->structureOutputDescriptor->CreateMapping(0, 0, 0, 0, 0, &frame->out);
        if (ret != kIOReturnSuccess)
            return ret;
        frame->call.bytes_out = address_of(frame->out);
        frame->call.nr_bytes_out = frame->out->GetLength();
    } else if (most > 0) {
        frame->small_out = OSData::withCapacity(INLINE_BYTES);
        if (!frame->small_out)
            return kIOReturnNoMemory;
        frame->call.bytes_out = frame->bytes;
        frame->call.nr_bytes_out = most < INLINE_BYTES ? most : INLINE_BYTES;
    }
    return kIOReturnSuccess;
}

static kern_return_t unpack(struct frame *frame, VFIOUserPCIDriverUserClient *client, uint64_t selector,
                            const IOUserClientMethodArguments *arguments)
{
    kern_return_t ret;

    frame->call.selector = selector < UINT32_MAX ? static_cast<uint32_t>(selector) : UINT32_MAX;
    ret = take_input(frame, arguments);
    if (ret == kIOReturnSuccess)
        ret = offer_output(frame, arguments);
    if (ret == kIOReturnSuccess && arguments->completion) {
        frame->async = create_async(client, arguments->completion);
        frame->call.async = frame->async;
        if (!frame->async)
            ret = kIOReturnNoMemory;
    }
    return ret;
}

static kern_return_t call_core(struct frame *frame, VFIOUserPCIDriverUserClient_IVars *ivars)
{
    vd_shell_guard guard(ivars->driver->ivars->lock);

    return ivars->client ? vd_dext_call(ivars->client, &frame->call) : kIOReturnNotAttached;
}

/* After success the core has the async handle, and may have completed it already. */
static void pack(struct frame *frame, IOUserClientMethodArguments *arguments)
{
    frame->async = nullptr;
    arguments->scalarOutputCount = frame->call.nr_scalars_out;
    if (frame->small_out && frame->call.nr_bytes_out &&
        frame->small_out->appendBytes(frame->bytes, frame->call.nr_bytes_out)) {
        arguments->structureOutput = frame->small_out; /* the caller takes over the reference */
        frame->small_out = nullptr;
    }
}

kern_return_t VFIOUserPCIDriverUserClient::ExternalMethod(uint64_t selector,
                                                          IOUserClientMethodArguments *arguments,
                                                          const IOUserClientMethodDispatch *, OSObject *,
                                                          void *)
{
    struct frame frame = {};
    kern_return_t ret = unpack(&frame, this, selector, arguments);

    if (ret == kIOReturnSuccess)
        ret = call_core(&frame, ivars);
    if (ret == kIOReturnSuccess)
        pack(&frame, arguments);
    destroy_async(frame.async);
    OSSafeReleaseNULL(frame.small_out);
    OSSafeReleaseNULL(frame.out);
    OSSafeReleaseNULL(frame.in);
    return ret;
}

/* The reference that is handed out is consumed by the caller. How a BAR is cached is what the client asks the kernel for. */
kern_return_t VFIOUserPCIDriverUserClient::CopyClientMemoryForType_Impl(uint64_t type, uint64_t *options,
                                                                        IOMemoryDescriptor **memory)
{
    VFIOUserPCIDriver *driver = ivars->driver;
    struct vd_dext_memory what = {};
    vd_shell_guard guard(driver->ivars->lock);
    int ret = ivars->client ? vd_dext_memory(ivars->client, type, &what) : VD_DEXT_NOT_ATTACHED;

    *options = 0;
    if (ret)
        return ret;
    if (what.type != VD_DEXT_MEMORY_DMA_BUFFER && what.type != VD_DEXT_MEMORY_IRQ_PAGE)
        return driver->ivars->pci->_CopyDeviceMemoryWithIndex(what.memory_index, memory, driver);
    *memory = vd_shell_token_memory(what.token);
    (*memory)->retain();
    return kIOReturnSuccess;
}
