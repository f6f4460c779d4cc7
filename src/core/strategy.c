/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of the DMA strategies, and which one a device gets. The order of `built` is the order `auto` tries. */
#include "core/strategy.h"

#include <errno.h>
#include <string.h>

#include <viaduct/device.h>

static const char *const names[] = {
    [VD_STRATEGY_AUTO] = "auto", [VD_STRATEGY_IDENTITY] = "identity", [VD_STRATEGY_OFFSET] = "offset",
    [VD_STRATEGY_POOL] = "pool", [VD_STRATEGY_PARAVIRT] = "paravirt",
};

static const struct vd_strategy_ops *const built[] = {&vd_strategy_identity};

enum { NAMES = sizeof(names) / sizeof(names[0]), BUILT = sizeof(built) / sizeof(built[0]) };

int vd_strategy_parse(const char *name, enum vd_strategy *out)
{
    for (unsigned i = 0; i < NAMES; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (enum vd_strategy)i;
            return 0;
        }
    }
    return -EINVAL;
}

const char *vd_strategy_name(enum vd_strategy strategy)
{
    return (unsigned)strategy < NAMES ? names[strategy] : "?";
}

static int pick_first(const struct vd_device *device, const struct vd_strategy_ops **out,
                      struct vd_failure *failure)
{
    for (unsigned i = 0; i < BUILT; i++) {
        if (built[i]->check(device, NULL) == 0) {
            *out = built[i];
            return 0;
        }
    }
    return vd_fail(
        failure, -ENOTSUP,
        "host=%s: dma=auto found no strategy: this host picks the bus addresses itself, so identity cannot "
        "work, and offset, pool and paravirt are not built yet; use a host with chosen addresses (for a "
        "simulated one: iommu=chosen)",
        vd_device_info(device)->address);
}

int vd_strategy_pick(const struct vd_device *device, enum vd_strategy wanted,
                     const struct vd_strategy_ops **out, struct vd_failure *failure)
{
    *out = NULL;
    if (wanted == VD_STRATEGY_AUTO)
        return pick_first(device, out, failure);
    for (unsigned i = 0; i < BUILT; i++) {
        if (built[i]->strategy == wanted) {
            int ret = built[i]->check(device, failure);

            if (!ret)
                *out = built[i];
            return ret;
        }
    }
    return vd_fail(failure, -ENOTSUP,
                   "host=%s: dma=%s is not built yet; use dma=identity on a host with chosen addresses",
                   vd_device_info(device)->address, vd_strategy_name(wanted));
}
