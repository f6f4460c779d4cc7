/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DMA_MAP and DMA_UNMAP.
 *
 * What an unmap removes. The specification asks for an exact match, but a VMM with a virtual IOMMU also announces
 * invalidations of naturally aligned power-of-two ranges, up to 2^47 bytes, whether something is mapped there or not. So:
 *   1. exactly a mapping: it goes;
 *   2. a range with nothing in it: success;
 *   3. a naturally aligned power-of-two range that cuts no mapping in two: every mapping inside goes;
 *   4. flag UNMAP_ALL (VFIO's) with address 0 and size 0: every mapping goes;
 *   5. anything else: ENOENT, and nothing goes.
 */
#include "server/session.h"

#include <errno.h>

#include "base/range.h"

static const uint64_t PAGE_MASK = VFIO_USER_DEFAULT_PGSIZES - 1;

static void publish_totals(struct vd_session *s)
{
    atomic_store_explicit(&s->counters->guest_regions, vd_guest_memory_count(s->memory),
                          memory_order_relaxed);
    atomic_store_explicit(&s->counters->guest_bytes, vd_guest_memory_bytes(s->memory), memory_order_relaxed);
}

static uint32_t access_of(uint32_t flags)
{
    return (flags & VFIO_USER_DMA_MAP_READ ? VD_ACCESS_READ : 0) |
           (flags & VFIO_USER_DMA_MAP_WRITE ? VD_ACCESS_WRITE : 0);
}

int vd_handle_dma_map(struct vd_session *s, struct vd_message *m, struct vd_reply *reply)
{
    const uint32_t known = VFIO_USER_DMA_MAP_READ | VFIO_USER_DMA_MAP_WRITE;
    struct vd_reader r = vd_message_reader(m);
    struct vfio_user_dma_map map;
    int fd = m->nr_fds ? m->fds[0] : -1;
    uint64_t address, size, offset;
    uint32_t flags;
    int ret;

    if (!vd_read_struct(&r, &map, sizeof(map)) || vd_get32(map.argsz) < sizeof(map))
        return -EINVAL;
    flags = vd_get32(map.flags);
    address = vd_get64(map.address);
    size = vd_get64(map.size);
    offset = vd_get64(map.offset);
    if (!flags || (flags & ~known) || ((address | size | offset) & PAGE_MASK) || (fd < 0 && offset))
        return -EINVAL;
    if (vd_guest_memory_count(s->memory) >= VFIO_USER_DEFAULT_DMA_MAPS)
        return -ENOSPC;
    ret = vd_guest_memory_add(s->memory, (vd_gpa){address}, size, access_of(flags), fd, offset);
    if (ret) {
        /* Stock clients only log this and run on, so the server's log is where a person finds it. */
        vd_session_warn(s, "guest memory at 0x%llx, %llu bytes, cannot be mapped: errno %d",
                        (unsigned long long)address, (unsigned long long)size, -ret);
        return ret;
    }
    vd_ramcheck_added(s, size, access_of(flags));
    publish_totals(s);
    return 0;
}

/* True when some mapping overlaps the range; *cut when one reaches beyond it. */
static bool overlaps(const struct vd_session *s, struct vd_range range, bool *cut)
{
    const struct vd_guest_region *first = vd_guest_memory_from(s->memory, (vd_gpa){range.start});
    const struct vd_guest_region *last = vd_guest_memory_find(s->memory, (vd_gpa){range.last});

    if (!first || first->node.range.start > range.last)
        return false;
    *cut = first->node.range.start < range.start || (last && last->node.range.last > range.last);
    return true;
}

static int unmap_range(struct vd_session *s, uint64_t address, uint64_t size)
{
    struct vd_range range;
    bool cut;

    if (!vd_range_make(address, size, &range))
        return -EINVAL;
    if (vd_guest_memory_remove(s->memory, (vd_gpa){address}, size) == 0)
        return 0;
    if (!overlaps(s, range, &cut))
        return 0;
    if (cut || !vd_is_power_of_two(size) || !vd_is_aligned(address, size))
        return -ENOENT;
    vd_guest_memory_remove_within(s->memory, range);
    return 0;
}

int vd_handle_dma_unmap(struct vd_session *s, struct vd_message *m, struct vd_reply *reply)
{
    struct vd_reader r = vd_message_reader(m);
    struct vfio_user_dma_unmap unmap;
    uint64_t address, size;
    uint32_t flags;
    int ret = 0;

    if (!vd_read_struct(&r, &unmap, sizeof(unmap)) || vd_get32(unmap.argsz) < sizeof(unmap))
        return -EINVAL;
    flags = vd_get32(unmap.flags);
    address = vd_get64(unmap.address);
    size = vd_get64(unmap.size);
    if (flags == VFIO_USER_DMA_UNMAP_ALL && address == 0 && size == 0)
        vd_guest_memory_clear(s->memory);
    else
        ret = flags ? -EINVAL : unmap_range(s, address, size);
    if (ret)
        return ret;
    publish_totals(s);
    vd_write_bytes(&reply->w, &unmap, sizeof(unmap));
    return 0;
}
