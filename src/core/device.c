/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Life cycle of a device: create (back end first, then publish), reset, quiesce, close. Quiesce is what makes a device
 * safe for the next user: bus mastering goes off first, so nothing is in flight when memory goes away.
 */
#include "core/device.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "base/le.h"

enum {
    PCI_COMMAND = 0x04, /* PCI 3.0, 6.2.2 */
    PCI_COMMAND_MASTER = 0x0004,
};

static void host_irq(void *opaque, unsigned index, uint32_t vector)
{
    struct vd_device *device = opaque;

    if (index == VD_IRQ_ERR)
        vd_count(&device->device_errors, 1);
    vd_irq_fired(device, index, vector);
}

/* No error, as Linux has it too: whoever can, unplugs the device; told of an error, QEMU stops the whole guest for good. */
static void host_gone(void *opaque)
{
    struct vd_device *device = opaque;

    if (atomic_exchange(&device->gone, true))
        return;
    vd_count(&device->device_errors, 1);
    vd_irq_fired(device, VD_IRQ_REQ, 0);
}

static void publish_identity(struct vd_device *device)
{
    device->identity = (struct vd_device_info){
        .address = device->address,
        .backend = device->ops->name,
        .model = device->info.model ? device->info.model : "",
        .vendor = device->info.vendor,
        .device = device->info.device,
        .subvendor = device->info.subvendor,
        .subdevice = device->info.subdevice,
        .class_code = device->info.class_code,
        .can_reset = device->info.can_reset && device->ops->reset,
    };
}

/* The expansion ROM as the options want it; before config space, whose ROM register says the size. */
static int choose_rom(struct vd_device *device, const struct vd_device_options *options,
                      struct vd_failure *failure)
{
    struct vd_region_info *region = &device->info.regions[VD_REGION_ROM];
    uint64_t size;
    int ret;

    if (!options || (!options->rom && !options->no_rom))
        return 0;
    if (!device->info.raw_config)
        return vd_fail(
            failure, -ENOTSUP,
            "%s: this host describes the expansion ROM itself; use the VMM's own ROM options (QEMU: "
            "romfile=, rombar=)",
            device->address);
    *region = (struct vd_region_info){0};
    if (!options->rom)
        return 0;
    ret = vd_rom_load(device->env, device->address, options->rom, &device->rom, &size, failure);
    if (!ret)
        *region = (struct vd_region_info){.size = size, .flags = VD_REGION_READ};
    return ret;
}

static int virtualise(struct vd_device *device, const struct vd_device_options *options,
                      struct vd_failure *failure)
{
    int ret = choose_rom(device, options, failure);

    if (ret || !device->info.raw_config)
        return ret;
    ret = vd_config_create(device->env, device->address, device->ops, device->host, &device->info,
                           &device->config, failure);
    if (ret)
        vd_env_free(device->env, device->rom);
    return ret;
}

static struct vd_device *allocate(struct vd_context *context, const struct vd_backend_ops *ops,
                                  const char *address, struct vd_failure *failure)
{
    struct vd_device *device = vd_env_alloc(&context->env, 1, sizeof(*device));
    char *copy = device ? vd_env_strdup(&context->env, address) : NULL;

    if (!copy) {
        vd_env_free(&context->env, device);
        vd_fail(failure, -ENOMEM, "%s: out of memory while opening the device", address);
        return NULL;
    }
    device->env = &context->env;
    device->ops = ops;
    device->address = copy;
    device->events = (struct vd_host_events){
        .irq = host_irq, .intx = vd_irq_line_changed, .gone = host_gone, .opaque = device};
    device->client = VD_CLIENT_UNSERVED;
    pthread_mutex_init(&device->lock, NULL);
    pthread_mutex_init(&device->irq_lock, NULL);
    return device;
}

static void release(struct vd_device *device)
{
    pthread_mutex_destroy(&device->irq_lock);
    pthread_mutex_destroy(&device->lock);
    vd_env_free(device->env, device->address);
    vd_env_free(device->env, device);
}

/* Builds core's half around a host device that is open; what fails leaves the host open. */
static int finish_create(struct vd_device *device, const struct vd_device_options *options,
                         struct vd_failure *failure)
{
    const char *address = device->address;
    int ret = virtualise(device, options, failure);

    if (ret)
        return ret;
    ret = vd_irq_state_init(device);
    if (ret) {
        vd_fail(failure, ret, "%s: out of memory for its interrupt vectors", address);
        goto err_config;
    }
    ret = vd_dma_state_init(device);
    if (ret) {
        vd_fail(failure, ret, "%s: out of memory for its DMA batches", address);
        goto err_irq;
    }
    vd_regions_init(device);
    publish_identity(device);
    return 0;

err_irq:
    vd_irq_state_finish(device);
err_config:
    vd_config_destroy(device->config);
    vd_env_free(device->env, device->rom);
    return ret;
}

int vd_device_create(struct vd_context *context, const struct vd_backend_ops *ops, const char *address,
                     const struct vd_device_options *options, struct vd_device **out,
                     struct vd_failure *failure)
{
    struct vd_device *device = allocate(context, ops, address, failure);
    int ret;

    *out = NULL;
    if (!device)
        return -ENOMEM;
    ret = ops->open(device->env, address, &device->events, &device->host, &device->info, failure);
    if (ret)
        goto err_release;
    ret = finish_create(device, options, failure);
    if (ret)
        goto err_close;
    *out = device;
    return 0;

err_close:
    ops->close(device->host);
err_release:
    release(device);
    return ret;
}

int vd_device_adopt(struct vd_context *context, const struct vd_backend_ops *ops, const char *address,
                    void *host, const struct vd_host_info *info, struct vd_device **out,
                    struct vd_failure *failure)
{
    struct vd_device *device = allocate(context, ops, address, failure);
    int ret;

    *out = NULL;
    if (!device)
        return -ENOMEM;
    device->host = host;
    device->info = *info;
    ret = finish_create(device, NULL, failure);
    if (ret)
        release(device);
    else
        *out = device;
    return ret;
}

void vd_device_close(struct vd_device *device)
{
    if (!device)
        return;
    vd_device_quiesce(device);
    device->ops->close(device->host);
    vd_dma_state_finish(device);
    vd_irq_state_finish(device);
    vd_config_destroy(device->config);
    vd_env_free(device->env, device->rom);
    release(device);
}

void vd_device_lock(struct vd_device *device)
{
    atomic_fetch_add(&device->waiting, 1);
    pthread_mutex_lock(&device->lock);
    atomic_fetch_sub(&device->waiting, 1);
}

void vd_device_enter(struct vd_device *device)
{
    while (atomic_load_explicit(&device->waiting, memory_order_relaxed))
        sched_yield();
    pthread_mutex_lock(&device->lock);
}

void vd_device_unlock(struct vd_device *device)
{
    pthread_mutex_unlock(&device->lock);
}

const struct vd_device_info *vd_device_info(const struct vd_device *device)
{
    return &device->identity;
}

static int reset(struct vd_device *device)
{
    return device->config ? vd_config_reset(device->config) : device->ops->reset(device->host);
}

int vd_device_reset(struct vd_device *device)
{
    if (!device->identity.can_reset)
        return -ENOTSUP;
    if (device->gone)
        return -ENODEV;
    vd_count(&device->resets, 1);
    return reset(device);
}

/* Clears COMMAND.BME and reads it back, so that the write has reached the device. */
static int stop_bus_mastering(struct vd_device *device)
{
    uint8_t command[2];
    int ret = device->ops->region_read(device->host, VD_REGION_CONFIG, PCI_COMMAND, command, sizeof(command));

    if (ret)
        return ret;
    vd_store16(command, vd_load16(command) & (uint16_t)~PCI_COMMAND_MASTER);
    ret = device->ops->region_write(device->host, VD_REGION_CONFIG, PCI_COMMAND, command, sizeof(command));
    if (!ret)
        ret = device->ops->region_read(device->host, VD_REGION_CONFIG, PCI_COMMAND, command, sizeof(command));
    if (!ret && (vd_load16(command) & PCI_COMMAND_MASTER))
        ret = -EIO;
    return ret;
}

/* A guest can make a device be stopped and held as often as it likes, so a host that refuses is told of so often only. */
static void complain(struct vd_device *device, const char *what, int error)
{
    enum { MOST = 64 };

    if (error && device->complaints++ < MOST)
        vd_err(device->env, "%s: %s: %s", device->address, what, strerror(-error));
}

void vd_device_stop(struct vd_device *device)
{
    int ret = device->gone ? 0 : stop_bus_mastering(device);

    complain(device, "bus mastering could not be switched off", ret);
    if (device->identity.can_reset && !device->gone) {
        ret = reset(device);
        complain(device, "reset failed", ret);
    }
    if (device->config && !device->gone && (ret || !device->identity.can_reset))
        (void)vd_config_forget(device->config);
}

void vd_device_quiesce(struct vd_device *device)
{
    vd_device_stop(device);
    if (device->has_companion)
        vd_device_hold(device, true);
    atomic_fetch_add(&device->epoch, 1);
    vd_irq_disable_all(device);
    vd_dma_release_all(device);
}

/* True when a VMM may have reached registers although the device was held. */
static bool has_areas(const struct vd_device *device)
{
    for (unsigned i = 0; i < VD_REGION_COUNT; i++)
        if (device->info.regions[i].flags & VD_REGION_LOCAL)
            return true;
    return false;
}

void vd_device_hold(struct vd_device *device, bool hold)
{
    int ret;

    if (device->held == hold)
        return;
    device->held = hold;
    if (!hold && !device->gone && device->identity.can_reset && has_areas(device))
        complain(device, "reset failed", vd_config_refresh(device->config));
    ret = device->gone ? 0 : vd_config_hold(device->config, hold);
    complain(device,
             hold ? "bus mastering could not be switched off" : "bus mastering could not be switched on",
             ret);
}

void vd_device_guest_memory(struct vd_device *device, const struct vd_guest_memory *memory)
{
    if (device->ops->guest_memory)
        device->ops->guest_memory(device->host, memory);
}

int vd_device_poll_fd(const struct vd_device *device)
{
    return device->info.poll_fd;
}

bool vd_device_dispatch(struct vd_device *device, bool will_block)
{
    return device->ops->dispatch && device->ops->dispatch(device->host, will_block);
}

void vd_device_stats(const struct vd_device *device, struct vd_device_stats *out)
{
    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < VD_REGION_COUNT; i++) {
        const struct vd_region_counters *c = &device->regions[i];

        out->regions[i].reads = vd_counted(&c->reads);
        out->regions[i].writes = vd_counted(&c->writes);
        out->regions[i].read_bytes = vd_counted(&c->read_bytes);
        out->regions[i].written_bytes = vd_counted(&c->written_bytes);
        out->regions[i].errors = vd_counted(&c->errors);
    }
    out->resets = vd_counted(&device->resets);
    out->device_errors = vd_counted(&device->device_errors);
    out->dma_faults = device->ops->faults ? device->ops->faults(device->host) : 0;
}
