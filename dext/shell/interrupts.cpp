/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Message interrupts. The kernel delivers each vector to a dispatch source, and that calls InterruptOccurred().
 *
 * Sources are made at the first setup and stay until the driver stops; in between they are only switched on and off. The
 * kernel keeps the vectors allocated anyway, and giving a source up is asynchronous: making another for the same vector
 * while the kernel still lets go of the first has been seen to panic it.
 *
 * After vd_shell_irq_teardown() the core must not be called any more, though switching a source off does not wait for a
 * handler that is under way, nor stop one that is queued. Hence a gate with a counter: a handler first counts
 * itself in, then looks whether the gate is open; teardown first shuts the gate, then waits until nobody is counted in. All
 * four accesses are sequentially consistent, so either the handler sees the gate shut, or teardown sees the handler and
 * waits for it. The wait ends: a handler blocks on nothing but the message that wakes a client. A handler that comes
 * later finds the gate shut, and one that comes after the next setup is an interrupt too many, which drivers know. The
 * gate lives in the driver, and every action holds a reference to the driver.
 */
#include "dext/shell/shell.h"

void VFIOUserPCIDriver::InterruptOccurred_Impl(OSAction *action, uint64_t, uint64_t)
{
    struct vd_shell_irqs *irqs = &ivars->irqs;
    const uint32_t *vector = static_cast<const uint32_t *>(action->GetReference());

    __atomic_fetch_add(&irqs->inside, 1, __ATOMIC_SEQ_CST);
    if (vector && __atomic_load_n(&irqs->open, __ATOMIC_SEQ_CST))
        vd_dext_irq(ivars->dext, *vector);
    __atomic_fetch_sub(&irqs->inside, 1, __ATOMIC_SEQ_CST);
}

/* The source for the device's interrupt `index`, as the next vector. */
static kern_return_t add_vector(VFIOUserPCIDriver *driver, uint32_t index)
{
    VFIOUserPCIDriver_IVars *ivars = driver->ivars;
    struct vd_shell_irqs *irqs = &ivars->irqs;
    struct vd_shell_vector vector = {};
    kern_return_t ret;

    ret = IOInterruptDispatchSource::Create(ivars->pci, index, irqs->queue, &vector.source);
    if (ret == kIOReturnSuccess)
        ret = driver->CreateActionInterruptOccurred(sizeof(uint32_t), &vector.action);
    if (ret == kIOReturnSuccess) {
        *static_cast<uint32_t *>(vector.action->GetReference()) = irqs->nr_vectors;
        ret = vector.source->SetHandler(vector.action);
    }
    if (ret != kIOReturnSuccess) {
        OSSafeReleaseNULL(vector.action);
        OSSafeReleaseNULL(vector.source);
        return ret;
    }
    irqs->vectors[irqs->nr_vectors++] = vector;
    return kIOReturnSuccess;
}

/* MSI-X, else MSI with one vector; a legacy line cannot be had. What the kernel gives is found by asking. */
static void make_vectors(VFIOUserPCIDriver *driver, uint32_t max)
{
    IOPCIDevice *pci = driver->ivars->pci;
    struct vd_shell_irqs *irqs = &driver->ivars->irqs;
    uint64_t type;

    if (pci->ConfigureInterrupts(kIOInterruptTypePCIMessagedX, 1, max, 0) != kIOReturnSuccess) {
        max = 1;
        if (pci->ConfigureInterrupts(kIOInterruptTypePCIMessaged, 1, 1, 0) != kIOReturnSuccess)
            return;
    }
    for (uint32_t index = 0; irqs->nr_vectors < max; index++) {
        type = 0;
        if (IOInterruptDispatchSource::GetInterruptType(pci, index, &type) != kIOReturnSuccess)
            return;
        if (!(type & (kIOInterruptTypePCIMessaged | kIOInterruptTypePCIMessagedX)))
            continue;
        if (add_vector(driver, index) != kIOReturnSuccess)
            return;
    }
}

static void switch_vectors(struct vd_shell_irqs *irqs, bool on)
{
    for (uint32_t i = 0; i < irqs->nr_vectors; i++)
        irqs->vectors[i].source->SetEnable(on);
}

/* The enable bit of a capability's control register. */
static bool is_enabled(IOPCIDevice *pci, uint32_t capability, uint16_t enable)
{
    uint64_t offset = 0;
    uint16_t control = 0;

    if (pci->FindPCICapability(capability, 0, &offset) != kIOReturnSuccess)
        return false;
    pci->ConfigurationRead16(offset + 2, &control);
    return control & enable;
}

/*
 * The kernel writes message addresses when it allocates vectors and restores them after resets of its own. After one that
 * the core did by config writes they are gone; saving and restoring the rest as it is now brings them back.
 */
static void rearm_vectors(IOPCIDevice *pci)
{
    if (is_enabled(pci, kIOPCICapabilityIDMSIX, 0x8000) || is_enabled(pci, kIOPCICapabilityIDMSI, 0x0001))
        return;
    if (pci->SaveDeviceState(0) == kIOReturnSuccess)
        pci->RestoreDeviceState(0);
}

int vd_shell_irq_setup(void *hw, uint32_t max, uint32_t *count)
{
    struct vd_shell_irqs *irqs = &vd_shell_ivars(hw)->irqs;

    if (irqs->nr_vectors != 0)
        rearm_vectors(vd_shell_ivars(hw)->pci);
    else
        make_vectors(static_cast<VFIOUserPCIDriver *>(hw), max < VD_DEXT_VECTORS ? max : VD_DEXT_VECTORS);
    *count = irqs->nr_vectors < max ? irqs->nr_vectors : max;
    __atomic_store_n(&irqs->open, true, __ATOMIC_SEQ_CST);
    switch_vectors(irqs, true);
    return VD_DEXT_SUCCESS;
}

void vd_shell_irq_teardown(void *hw)
{
    struct vd_shell_irqs *irqs = &vd_shell_ivars(hw)->irqs;

    __atomic_store_n(&irqs->open, false, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&irqs->inside, __ATOMIC_SEQ_CST) != 0)
        IOSleep(1);
    switch_vectors(irqs, false);
}

/* A source may be released only when its cancellation is complete. The last one done says so. */
static void cancel_vector(VFIOUserPCIDriver *driver, struct vd_shell_vector vector, void (^done)(void))
{
    void (^cancelled)(void) = ^{
      vector.action->release();
      vector.source->release();
      if (__atomic_sub_fetch(&driver->ivars->irqs.uncancelled, 1, __ATOMIC_SEQ_CST) == 0)
          done();
    };

    if (vector.source->Cancel(cancelled) != kIOReturnSuccess)
        cancelled();
}

void vd_shell_irq_finish(VFIOUserPCIDriver *driver, void (^done)(void))
{
    struct vd_shell_irqs *irqs = &driver->ivars->irqs;
    uint32_t count;

    {
        vd_shell_guard guard(driver->ivars->lock);
        count = irqs->nr_vectors;
        irqs->nr_vectors = 0;
    }
    if (count == 0) {
        done();
        return;
    }
    __atomic_store_n(&irqs->uncancelled, count, __ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < count; i++)
        cancel_vector(driver, irqs->vectors[i], done);
}
