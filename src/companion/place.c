/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Makes the maps of a chunk, at addresses that suit.
 *
 * Where addresses are chosen, guest memory goes to its own guest-physical address when that is free and aligned, else to a
 * hole, looked for from where the last one was found. Where the host assigns them it takes the first hole that fits; so an
 * address that is not aligned as asked is mended by letting go of it, filling the distance to the next aligned one with
 * some other memory of the same region, and asking again. A filler goes as soon as the mapping is there.
 */
#include "companion/companion.h"

#include <errno.h>

enum {
    HOLES = 1024, /* mappings looked at to find one */
    FILLERS =
        32, /* holes without an aligned place that are got over; 8 missed one in nine in a busy aperture */
};

static uint64_t max64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Chosen addresses. */

/* The first hole at or after `from`; `*looks` bounds the search. */
static bool find_hole(const struct vd_device *device, uint64_t from, uint64_t size, uint64_t align,
                      unsigned *looks, uint64_t *out)
{
    const struct vd_dma_info *info = vd_dma_info(device);
    struct vd_range all = {info->first.value, info->last.value}, hole;

    while ((*looks)--) {
        const struct vd_tree_node *node;

        if (from > UINT64_MAX - (align - 1))
            return false;
        from = (from + align - 1) & ~(align - 1);
        if (!vd_range_make(from, size, &hole) || !vd_range_contains(all, hole))
            return false;
        node = vd_tree_lower(&device->dma.chosen, from);
        if (!node || node->range.start > hole.last) {
            *out = from;
            return true;
        }
        if (node->range.last == UINT64_MAX)
            return false;
        from = node->range.last + 1;
    }
    *looks = 0;
    return false;
}

static void map_in_hole(struct vd_companion *c, const struct vd_companion_want *w, struct vd_dma_map *map)
{
    uint64_t first = vd_dma_info(c->managed)->first.value;
    uint64_t align = max64(w->align, vd_dma_info(c->managed)->granule);
    unsigned looks = c->looks < HOLES ? c->looks : HOLES, before = looks;

    map->status = -ENOSPC;
    if (find_hole(c->managed, max64(c->cursor, first), map->size, align, &looks, &map->iova.value) ||
        find_hole(c->managed, first, map->size, align, &looks, &map->iova.value)) {
        vd_dma_map(c->managed, map, 1);
        c->cursor = map->iova.value + map->size;
    }
    c->looks -= before - looks;
}

/* Assigned addresses. */

static bool is_aligned(const struct vd_companion_want *w, const struct vd_dma_map *map)
{
    return !w->align || vd_is_aligned(map->segments[0].iova.value + w->lead, w->align);
}

/* Memory of the same region, whichever: only its size counts. False when the region is too small for it. */
static bool map_filler(struct vd_companion *c, const struct vd_companion_want *w, uint64_t size,
                       struct vd_dma_mapping **out)
{
    uint64_t granule = vd_dma_info(c->managed)->granule;
    uint64_t skip = (0 - (uintptr_t)w->region->host) & (granule - 1);
    struct vd_dma_segment segments[VD_APPLE_DMA_MAX_SEGMENTS];
    struct vd_dma_file file;
    struct vd_dma_map map = {.host = w->region->host + skip,
                             .size = size,
                             .access = w->access,
                             .segments = segments,
                             .max_segments = vd_companion_max_segments(c)};

    /* A filler is within the guest's limits, too; the mapping that it is for is charged already. */
    if (!c->fillers || !vd_span_fits(skip, size, vd_range_size(w->region->node.range)) ||
        !vd_span_fits(vd_counted(&c->counters.bytes), size, vd_companion_limit_bytes(c)))
        return false;
    c->fillers--;
    if (vd_dma_info(c->managed)->needs_file) {
        if (!vd_guest_region_file(w->region, &file))
            return false;
        file.offset += skip;
        map.file = &file;
    }
    if (vd_dma_map(c->managed, &map, 1))
        return false;
    *out = map.mapping;
    return true;
}

/* One address that does not suit becomes one that does, or none. */
static uint32_t realign(struct vd_companion *c, const struct vd_companion_want *w, struct vd_dma_map *map)
{
    struct vd_dma_mapping *fillers[FILLERS];
    uint32_t why = VD_APPLE_DMA_WHY_ALIGNMENT;
    size_t n = 0;

    for (;;) {
        uint64_t gap = (0 - map->segments[0].iova.value) & (w->align - 1);

        vd_dma_unmap(c->managed, &map->mapping, 1);
        map->mapping = NULL;
        if (n == FILLERS || !map_filler(c, w, gap, &fillers[n]))
            break;
        n++;
        if (vd_dma_map(c->managed, map, 1))
            break;
        if (is_aligned(w, map)) {
            why = VD_APPLE_DMA_WHY_NONE;
            break;
        }
    }
    vd_dma_unmap(c->managed, fillers, n);
    return why;
}

/* Both. */

/* Limits of the domain as a whole are told from a host that has no hole. */
static uint32_t why_no_space(const struct vd_companion *c, uint64_t size)
{
    struct vd_dma_usage usage;

    vd_dma_usage(c->managed, &usage);
    if (usage.mappings >= usage.quota_mappings)
        return VD_APPLE_DMA_WHY_MAPPINGS;
    if (usage.bytes > usage.quota_bytes || size > usage.quota_bytes - usage.bytes)
        return VD_APPLE_DMA_WHY_BYTES;
    return VD_APPLE_DMA_WHY_SPACE;
}

static void put_right(struct vd_companion *c, struct vd_companion_want *w, struct vd_dma_map *map)
{
    bool chosen = vd_dma_info(c->managed)->addressing == VD_DMA_CHOSEN;

    if (chosen && !map->status && !is_aligned(w, map)) {
        vd_dma_unmap(c->managed, &map->mapping, 1);
        map->status = -EEXIST;
    }
    if (chosen && (map->status == -EEXIST || map->status == -ERANGE || map->status == -EINVAL))
        map_in_hole(c, w, map);
    w->why = map->status == -ENOSPC ? why_no_space(c, map->size) : vd_companion_why(map->status);
    if (!chosen && !w->why && !is_aligned(w, map))
        w->why = realign(c, w, map);
}

void vd_companion_place(struct vd_companion *c, uint32_t n)
{
    struct vd_companion_chunk *chunk = &c->chunk;

    (void)vd_dma_map(c->managed, chunk->maps, n);
    for (uint32_t i = 0; i < n; i++)
        put_right(c, &chunk->wants[chunk->where[i]], &chunk->maps[i]);
}
