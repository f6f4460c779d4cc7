/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of the back end, over the links of this machine. By itself, so that tests can do without those. */
#include "backend/dext/dext.h"

#include "backend/dext/host.h"

static int open_device(const struct vd_env *env, const char *address, const struct vd_host_events *events,
                       void **host, struct vd_host_info *info, struct vd_failure *failure)
{
    return dext_host_open(vd_link_choose, env, address, events, host, info, failure);
}

static int scan(const struct vd_env *env, struct vd_device_found *found, size_t max,
                struct vd_failure *failure)
{
    return dext_scan(vd_link_choose, env, found, max, failure);
}

const struct vd_backend_ops vd_backend_dext = {
    .name = "apple",
    .open = open_device,
    .scan = scan,
    .close = dext_host_close,
    .region_read = dext_region_read,
    .region_write = dext_region_write,
    .region_fd = dext_region_fd,
    .region_map = dext_region_map,
    .region_unmap = dext_region_unmap,
    .irq_enable = dext_irq_enable,
    .reset = dext_host_reset,
    .dma_map = dext_dma_map,
    .dma_unmap = dext_dma_unmap,
    .dispatch = dext_irq_dispatch,
    .faults = dext_host_faults,
};
