/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of the driver. Start() creates the core, which looks at the device and closes it again; from then on the device
 * is open only while a client has the claim. Stop() means that the device was pulled, or that the extension is replaced
 * or removed; connections are stopped before it, and each holds a reference, so free() comes when none is left.
 */
#include <os/log.h>

#include <DriverKit/OSNumber.h>

#include "dext/shell/shell.h"

static void *os_alloc(void *, size_t size)
{
    void *memory = IOMallocZero(size);

    /* It comes from malloc, but its documentation promises no alignment, which the core relies on. */
    if (reinterpret_cast<uintptr_t>(memory) % alignof(max_align_t) != 0) {
        IOFree(memory, size);
        return nullptr;
    }
    return memory;
}

static void os_free(void *, void *memory, size_t size)
{
    IOFree(memory, size);
}

static void os_note(void *, enum vd_dext_log_level level, const char *text, uint64_t a, uint64_t b)
{
    static const char *const names[] = {"error", "warning", "info"};

    os_log(OS_LOG_DEFAULT, "VFIOUserPCIDriver: %{public}s: %{public}s %llu %llu", names[level], text,
           static_cast<unsigned long long>(a), static_cast<unsigned long long>(b));
}

/* IODelay() keeps the processor busy, so it is for what IOSleep() cannot tell apart. */
static void os_sleep(void *, unsigned microseconds)
{
    if (microseconds < 1000)
        IODelay(microseconds);
    else
        IOSleep((microseconds + 999) / 1000);
}

/* The instance ends in a Stop() of its own, later; whether the device is then matched anew is the system's decision. */
static void terminate(void *hw)
{
    static_cast<VFIOUserPCIDriver *>(hw)->Terminate(0);
}

static const struct vd_dext_hw_ops hw_ops = {
    .open = vd_shell_open,
    .close = vd_shell_close,
    .location = vd_shell_location,
    .model = nullptr, /* the client has the list of PCI names */
    .config_read = vd_shell_config_read,
    .config_write = vd_shell_config_write,
    .bar_info = vd_shell_bar_info,
    .mmio_read = vd_shell_mmio_read,
    .mmio_write = vd_shell_mmio_write,
    .irq_setup = vd_shell_irq_setup,
    .irq_teardown = vd_shell_irq_teardown,
    .reset_kinds = vd_shell_reset_kinds,
    .reset = vd_shell_reset,
    .dma_limits = vd_shell_dma_limits,
    .dma_prepare = vd_shell_dma_prepare,
    .dma_complete = vd_shell_dma_complete,
    .dma_probe = vd_shell_dma_probe,
    .buffer_create = vd_shell_buffer_create,
    .buffer_destroy = vd_shell_dma_complete,
    .faults = nullptr, /* the kernel keeps the DART's errors to itself */
    .page_create = vd_shell_page_create,
    .page_destroy = vd_shell_page_destroy,
    .complete = vd_shell_complete,
    .terminate = terminate,
};

uint64_t vd_shell_property(VFIOUserPCIDriver *driver, const char *name)
{
    OSContainer *property = nullptr;
    OSNumber *number;
    uint64_t value = 0;

    if (driver->SearchProperty(name, "IOService", 0, &property) != kIOReturnSuccess)
        return 0;
    number = OSDynamicCast(OSNumber, property);
    if (number)
        value = number->unsigned64BitValue();
    OSSafeReleaseNULL(property);
    return value;
}

bool VFIOUserPCIDriver::init()
{
    if (!super::init())
        return false;
    ivars = IONewZero(VFIOUserPCIDriver_IVars, 1);
    if (!ivars)
        return false;
    ivars->os = {this, os_alloc, os_free, os_note, os_sleep};
    ivars->lock = IOLockAlloc();
    return ivars->lock != nullptr;
}

void VFIOUserPCIDriver::free()
{
    if (ivars) {
        vd_dext_destroy(ivars->dext);
        OSSafeReleaseNULL(ivars->irqs.queue);
        OSSafeReleaseNULL(ivars->pci);
        if (ivars->lock)
            IOLockFree(ivars->lock);
    }
    IOSafeDeleteNULL(ivars, VFIOUserPCIDriver_IVars, 1);
    super::free();
}

static kern_return_t start(VFIOUserPCIDriver *driver, IOService *provider)
{
    VFIOUserPCIDriver_IVars *ivars = driver->ivars;
    kern_return_t ret;

    ivars->pci = OSDynamicCast(IOPCIDevice, provider);
    if (!ivars->pci)
        return kIOReturnNoDevice;
    ivars->pci->retain();
    ret = IODispatchQueue::Create("Interrupt", 0, 0, &ivars->irqs.queue);
    if (ret == kIOReturnSuccess)
        ret = driver->SetDispatchQueue("Interrupt", ivars->irqs.queue);
    if (ret != kIOReturnSuccess)
        return ret;
    ivars->quota.bytes = vd_shell_property(driver, "ViaductQuotaBytes");
    ivars->quota.mappings = vd_shell_property(driver, "ViaductQuotaMappings");
    vd_shell_guard guard(ivars->lock);
    return vd_dext_create(&ivars->os, &hw_ops, driver, &ivars->quota, &ivars->dext);
}

kern_return_t VFIOUserPCIDriver::Start_Impl(IOService *provider)
{
    kern_return_t ret = Start(provider, SUPERDISPATCH);

    if (ret != kIOReturnSuccess)
        return ret;
    ret = start(this, provider);
    if (ret == kIOReturnSuccess)
        ret = RegisterService(); /* from here on programs find it */
    if (ret != kIOReturnSuccess) {
        os_note(nullptr, VD_DEXT_LOG_ERROR, "the driver does not start, status", static_cast<uint32_t>(ret),
                0);
        Stop(provider, SUPERDISPATCH);
    }
    return ret;
}

/* The base class is told when the last vector is given back, since the provider is not ours afterwards. */
kern_return_t VFIOUserPCIDriver::Stop_Impl(IOService *provider)
{
    {
        vd_shell_guard guard(ivars->lock);
        if (ivars->dext)
            vd_dext_gone(ivars->dext);
    }
    retain();
    provider->retain();
    vd_shell_irq_finish(this, ^{
      Stop(provider, SUPERDISPATCH);
      provider->release();
      release();
    });
    return kIOReturnSuccess;
}

/* The entry of Info.plist names the class. The system has checked the program's entitlement. */
kern_return_t VFIOUserPCIDriver::NewUserClient_Impl(uint32_t, IOUserClient **userClient)
{
    IOService *service = nullptr;
    kern_return_t ret = Create(this, "UserClientProperties", &service);

    if (ret == kIOReturnSuccess)
        *userClient = OSDynamicCast(IOUserClient, service);
    return ret;
}
