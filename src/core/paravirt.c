/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Strategies that map nothing when guest memory comes. `paravirt`: the guest asks for each mapping through the device's
 * companion (src/companion), so the device's own session has nothing to do. `local`: the device is a model in this process,
 * which reads guest memory itself; it is told before memory goes.
 */
#include <viaduct/device.h>

#include "core/device.h"
#include "core/strategy.h"

#include <errno.h>

static int nothing_added(void *opaque, struct vd_guest_region *region)
{
    (void)opaque;
    (void)region;
    return 0;
}

static void nothing_removed(void *opaque, struct vd_guest_region *region)
{
    (void)opaque;
    (void)region;
}

/* The companion holds the device until the guest has the driver; without core's config space nobody could. */
static int paravirt_check(const struct vd_device *device, struct vd_failure *failure)
{
    if (device->config)
        return 0;
    return vd_fail(
        failure, -ENOTSUP,
        "host=%s: dma=paravirt must keep the device still until the guest's module is there, and this host "
        "virtualises config space itself; use dma=identity",
        vd_device_info(device)->address);
}

const struct vd_strategy_ops vd_strategy_paravirt = {
    .strategy = VD_STRATEGY_PARAVIRT,
    .name = "paravirt",
    .check = paravirt_check,
    .added = nothing_added,
    .removed = nothing_removed,
};

static int local_check(const struct vd_device *device, struct vd_failure *failure)
{
    (void)failure;
    return device->ops->guest_memory ? 0 : -ENOTSUP;
}

static void local_removed(void *opaque, struct vd_guest_region *region)
{
    struct vd_device *device = opaque;

    device->ops->guest_memory_removed(device->host, region);
}

const struct vd_strategy_ops vd_strategy_local = {
    .strategy = VD_STRATEGY_LOCAL,
    .name = "local",
    .check = local_check,
    .added = nothing_added,
    .removed = local_removed,
};
