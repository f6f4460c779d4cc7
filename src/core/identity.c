/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Strategy `identity`: guest memory is mapped at its own guest-physical addresses. It needs a host that lets the caller
 * choose bus addresses, and nothing of the guest.
 */
#include <errno.h>

#include <viaduct/device.h>
#include <viaduct/dma.h>

#include "core/strategy.h"

static int identity_check(const struct vd_device *device, struct vd_failure *failure)
{
    if (vd_dma_info(device)->addressing == VD_DMA_CHOSEN)
        return 0;
    return vd_fail(
        failure, -ENOTSUP,
        "host=%s: dma=identity maps guest memory at its own addresses, but this host picks the bus "
        "addresses itself; use dma=paravirt, or a host with chosen addresses (for a simulated one: "
        "iommu=chosen)",
        vd_device_info(device)->address);
}

/*
 * Memory without a descriptor is mapped through messages where the host can do that. Elsewhere it stays unmapped: it is
 * known, but the device cannot reach it, as with another device's BAR that no IOMMU maps.
 */
static int identity_added(void *opaque, struct vd_guest_region *region)
{
    struct vd_device *device = opaque;
    struct vd_dma_map map = {.host = region->host,
                             .remote = region->host ? NULL : &region->remote,
                             .remote_address = region->node.range.start,
                             .size = vd_range_size(region->node.range),
                             .access = region->access,
                             .iova = {region->node.range.start}};
    int ret;

    if (!region->host && !vd_dma_info(device)->indirect)
        return 0;
    ret = vd_dma_map(device, &map, 1);
    region->mapping = map.mapping;
    return ret;
}

static void identity_removed(void *opaque, struct vd_guest_region *region)
{
    vd_dma_unmap(opaque, &region->mapping, 1);
    region->mapping = NULL;
}

const struct vd_strategy_ops vd_strategy_identity = {
    .strategy = VD_STRATEGY_IDENTITY,
    .name = "identity",
    .check = identity_check,
    .added = identity_added,
    .removed = identity_removed,
};
