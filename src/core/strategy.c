/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of the DMA strategies, and which one a device gets. The order of `built` is the order `auto` tries. */
#include "core/strategy.h"

#include "core/device.h"

#include <errno.h>
#include <string.h>

#include <viaduct/device.h>

static const char *const names[] = {
    [VD_STRATEGY_AUTO] = "auto", [VD_STRATEGY_IDENTITY] = "identity", [VD_STRATEGY_OFFSET] = "offset",
    [VD_STRATEGY_POOL] = "pool", [VD_STRATEGY_PARAVIRT] = "paravirt", [VD_STRATEGY_LOCAL] = "local",
};

static const struct vd_strategy_ops *const built[] = {&vd_strategy_identity, &vd_strategy_paravirt};

enum {
    NAMES = sizeof(names) / sizeof(names[0]),
    BUILT = sizeof(built) / sizeof(built[0]),
    WANTED = VD_STRATEGY_LOCAL, /* that one is had, not asked for */
};

int vd_strategy_parse(const char *name, enum vd_strategy *out)
{
    for (unsigned i = 0; i < WANTED; i++) {
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
        "host=%s: dma=auto found no strategy: this host picks the bus addresses and virtualises config "
        "space, "
        "so neither identity nor paravirt can work, and offset and pool are not built yet; use a host with "
        "chosen addresses (for a simulated one: iommu=chosen)",
        vd_device_info(device)->address);
}

int vd_strategy_pick(const struct vd_device *device, enum vd_strategy wanted,
                     const struct vd_strategy_ops **out, struct vd_failure *failure)
{
    *out = NULL;
    if (vd_strategy_local.check(device, NULL) == 0) {
        *out = &vd_strategy_local;
        return 0;
    }
    if (wanted == VD_STRATEGY_AUTO && device->has_companion)
        wanted = VD_STRATEGY_PARAVIRT;
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
    return vd_fail(
        failure, -ENOTSUP,
        "host=%s: dma=%s is not built yet; use dma=auto, which takes identity on a host with chosen "
        "addresses and paravirt on others",
        vd_device_info(device)->address, vd_strategy_name(wanted));
}

int vd_strategy_choose(const struct vd_device *device, enum vd_strategy wanted, enum vd_strategy *out,
                       struct vd_error *error)
{
    const struct vd_strategy_ops *ops;
    int ret = vd_strategy_pick(device, wanted, &ops, vd_failure_of(error));

    *out = ops ? ops->strategy : VD_STRATEGY_AUTO;
    return ret;
}
