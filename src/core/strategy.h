/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DMA strategies: how guest memory becomes reachable for the device. One const ops struct per strategy; `auto` takes
 * the first whose check() passes. A strategy listens to a guest memory table and maps through vd_dma_map().
 */
#ifndef VD_CORE_STRATEGY_H
#define VD_CORE_STRATEGY_H

#include <viaduct/server.h>

#include "base/failure.h"
#include "core/guest_memory.h"

struct vd_strategy_ops {
    enum vd_strategy strategy;
    const char *name;
    /* 0 when it works on this host; -ENOTSUP with the reason and what to use instead. */
    int (*check)(const struct vd_device *device, struct vd_failure *failure);
    /* As in vd_guest_memory_listener; opaque is the vd_device. */
    int (*added)(void *opaque, struct vd_guest_region *region);
    void (*removed)(void *opaque, struct vd_guest_region *region);
};

/*
 * Picks the strategy for a device. 0; -ENOTSUP: *failure names the device, what was asked for, why it cannot work and
 * what would.
 */
int vd_strategy_pick(const struct vd_device *device, enum vd_strategy wanted,
                     const struct vd_strategy_ops **out, struct vd_failure *failure);

extern const struct vd_strategy_ops vd_strategy_identity;
extern const struct vd_strategy_ops vd_strategy_paravirt;
extern const struct vd_strategy_ops vd_strategy_local;

#endif
