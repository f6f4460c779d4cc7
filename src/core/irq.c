/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupt state: which vector signals which descriptor, what is masked, what is latched.
 *
 * Invariants: a vector that fires while it is masked or unrouted is latched once and signalled when both end, so none
 * is lost and none is doubled. INTx is a level: it masks itself when it signals, and unmask signals again while the
 * line is asserted. Of INTX, MSI and MSI-X at most one is enabled. Lock: device->irq_lock around every vector; nothing
 * is called under it but write() on non-blocking descriptors.
 */
#include "core/device.h"

#include <errno.h>
#include <unistd.h>

#include <viaduct/notifier.h>

static bool is_message(unsigned index)
{
    return index == VD_IRQ_MSI || index == VD_IRQ_MSIX;
}

/* The kinds that exclude each other and that the host is told about. */
static bool is_kind(unsigned index)
{
    return index == VD_IRQ_INTX || is_message(index);
}

int vd_irq_state_init(struct vd_device *device)
{
    for (unsigned i = 0; i < VD_IRQ_COUNT; i++) {
        struct vd_irq_state *irq = &device->irqs[i];
        uint32_t count = device->info.irqs[i].count;

        if (count == 0)
            continue;
        irq->vectors = vd_env_alloc(device->env, count, sizeof(*irq->vectors));
        if (!irq->vectors) {
            vd_irq_state_finish(device);
            return -ENOMEM;
        }
        for (uint32_t v = 0; v < count; v++)
            irq->vectors[v].fd = irq->vectors[v].watch[0] = irq->vectors[v].watch[1] = -1;
    }
    return 0;
}

static void replace_fd(int *slot, int fd)
{
    if (*slot >= 0)
        close(*slot);
    *slot = fd;
}

void vd_irq_state_finish(struct vd_device *device)
{
    for (unsigned i = 0; i < VD_IRQ_COUNT; i++) {
        struct vd_irq_state *irq = &device->irqs[i];

        for (uint32_t v = 0; irq->vectors && v < device->info.irqs[i].count; v++) {
            replace_fd(&irq->vectors[v].fd, -1);
            replace_fd(&irq->vectors[v].watch[0], -1);
            replace_fd(&irq->vectors[v].watch[1], -1);
        }
        vd_env_free(device->env, irq->vectors);
        irq->vectors = NULL;
    }
}

int vd_irq_info(const struct vd_device *device, unsigned index, struct vd_irq_info *out)
{
    if (index >= VD_IRQ_COUNT)
        return -EINVAL;
    *out = device->info.irqs[index];
    return 0;
}

static bool in_range(const struct vd_device *device, unsigned index, uint32_t start, uint32_t count)
{
    return index < VD_IRQ_COUNT && count > 0 && vd_span_fits(start, count, device->info.irqs[index].count);
}

static void notify_watch(struct vd_vector *vector, enum vd_irq_moment moment)
{
    if (vector->watch[moment] >= 0)
        vd_notifier_signal_fd(vector->watch[moment]);
}

/* Signals or latches. Under irq_lock. */
static void fire(struct vd_device *device, unsigned index, struct vd_vector *vector)
{
    if (vector->masked || vector->fd < 0) {
        vector->pending = true;
        return;
    }
    vector->pending = false;
    vd_notifier_signal_fd(vector->fd);
    vd_count(&vector->signals, 1);
    if (device->info.irqs[index].flags & VD_IRQ_AUTOMASKED) {
        vector->masked = true;
        notify_watch(vector, VD_IRQ_ON_MASK);
    }
}

/* Signals what waited for the vector to become deliverable. Under irq_lock. */
static void settle(struct vd_device *device, unsigned index, struct vd_vector *vector)
{
    bool due = vector->pending || (index == VD_IRQ_INTX && device->intx_asserted);

    if (due && !vector->masked && vector->fd >= 0)
        fire(device, index, vector);
}

void vd_irq_fired(void *opaque, unsigned index, uint32_t vector)
{
    struct vd_device *device = opaque;

    if (index >= VD_IRQ_COUNT || vector >= device->info.irqs[index].count || !device->irqs[index].vectors)
        return;
    pthread_mutex_lock(&device->irq_lock);
    if (!is_message(index) || device->irqs[index].enabled)
        fire(device, index, &device->irqs[index].vectors[vector]);
    pthread_mutex_unlock(&device->irq_lock);
}

void vd_irq_line_changed(void *opaque, bool asserted)
{
    struct vd_device *device = opaque;

    if (!device->irqs[VD_IRQ_INTX].vectors)
        return;
    pthread_mutex_lock(&device->irq_lock);
    device->intx_asserted = asserted;
    settle(device, VD_IRQ_INTX, &device->irqs[VD_IRQ_INTX].vectors[0]);
    pthread_mutex_unlock(&device->irq_lock);
}

static void set_enabled(struct vd_device *device, unsigned index, uint32_t count)
{
    pthread_mutex_lock(&device->irq_lock);
    device->irqs[index].enabled = count;
    pthread_mutex_unlock(&device->irq_lock);
}

/*
 * Tells the host that vectors [0, count) of a kind are in use. Noted first: the host may signal what was pending before
 * it returns.
 */
static int enable_kind(struct vd_device *device, unsigned index, uint32_t count)
{
    uint32_t before = device->irqs[index].enabled;
    int ret;

    if (!is_kind(index) || count <= before)
        return 0;
    for (unsigned other = VD_IRQ_INTX; other <= VD_IRQ_MSIX; other++)
        if (other != index && device->irqs[other].enabled)
            return -EBUSY;
    set_enabled(device, index, count);
    ret = device->ops->irq_enable ? device->ops->irq_enable(device->host, index, count) : 0;
    if (ret)
        set_enabled(device, index, before);
    return ret;
}

int vd_irq_route(struct vd_device *device, unsigned index, uint32_t start, uint32_t count, const int *fds)
{
    int ret;

    if (!in_range(device, index, start, count))
        return -EINVAL;
    if (atomic_load(&device->gone) && is_kind(index))
        return -ENODEV;
    ret = enable_kind(device, index, start + count);
    if (ret)
        return ret;
    pthread_mutex_lock(&device->irq_lock);
    for (uint32_t i = 0; i < count; i++) {
        struct vd_vector *vector = &device->irqs[index].vectors[start + i];

        replace_fd(&vector->fd, fds[i]);
        settle(device, index, vector);
    }
    pthread_mutex_unlock(&device->irq_lock);
    return 0;
}

int vd_irq_watch(struct vd_device *device, unsigned index, enum vd_irq_moment moment, uint32_t start,
                 uint32_t count, const int *fds)
{
    if (!in_range(device, index, start, count) || !(device->info.irqs[index].flags & VD_IRQ_MASKABLE))
        return -EINVAL;
    pthread_mutex_lock(&device->irq_lock);
    for (uint32_t i = 0; i < count; i++)
        replace_fd(&device->irqs[index].vectors[start + i].watch[moment], fds[i]);
    pthread_mutex_unlock(&device->irq_lock);
    return 0;
}

static int set_masked(struct vd_device *device, unsigned index, uint32_t start, uint32_t count, bool masked)
{
    if (!in_range(device, index, start, count) || !(device->info.irqs[index].flags & VD_IRQ_MASKABLE))
        return -EINVAL;
    pthread_mutex_lock(&device->irq_lock);
    for (uint32_t i = 0; i < count; i++) {
        struct vd_vector *vector = &device->irqs[index].vectors[start + i];

        if (vector->masked != masked) {
            vector->masked = masked;
            notify_watch(vector, masked ? VD_IRQ_ON_MASK : VD_IRQ_ON_UNMASK);
        }
        settle(device, index, vector);
    }
    pthread_mutex_unlock(&device->irq_lock);
    return 0;
}

int vd_irq_mask(struct vd_device *device, unsigned index, uint32_t start, uint32_t count)
{
    return set_masked(device, index, start, count, true);
}

int vd_irq_unmask(struct vd_device *device, unsigned index, uint32_t start, uint32_t count)
{
    return set_masked(device, index, start, count, false);
}

int vd_irq_trigger(struct vd_device *device, unsigned index, uint32_t start, uint32_t count)
{
    if (!in_range(device, index, start, count))
        return -EINVAL;
    pthread_mutex_lock(&device->irq_lock);
    for (uint32_t i = 0; i < count; i++) {
        struct vd_vector *vector = &device->irqs[index].vectors[start + i];

        /* A loopback test of an unrouted vector has nobody to tell, now or later. */
        if (vector->fd >= 0)
            fire(device, index, vector);
    }
    pthread_mutex_unlock(&device->irq_lock);
    return 0;
}

int vd_irq_disable(struct vd_device *device, unsigned index)
{
    struct vd_irq_state *irq;

    if (index >= VD_IRQ_COUNT)
        return -EINVAL;
    irq = &device->irqs[index];
    if (irq->enabled && device->ops->irq_enable)
        device->ops->irq_enable(device->host, index, 0);
    pthread_mutex_lock(&device->irq_lock);
    irq->enabled = 0;
    for (uint32_t v = 0; v < device->info.irqs[index].count; v++) {
        struct vd_vector *vector = &irq->vectors[v];

        replace_fd(&vector->fd, -1);
        replace_fd(&vector->watch[VD_IRQ_ON_MASK], -1);
        replace_fd(&vector->watch[VD_IRQ_ON_UNMASK], -1);
        vector->masked = vector->pending = false;
    }
    pthread_mutex_unlock(&device->irq_lock);
    return 0;
}

void vd_irq_disable_all(struct vd_device *device)
{
    for (unsigned i = 0; i < VD_IRQ_COUNT; i++)
        vd_irq_disable(device, i);
}

uint64_t vd_irq_signals(const struct vd_device *device, unsigned index, uint32_t vector)
{
    if (index >= VD_IRQ_COUNT || vector >= device->info.irqs[index].count)
        return 0;
    return vd_counted(&device->irqs[index].vectors[vector].signals);
}
