/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What of a region may be mapped, once parts of it may not; see quirk.h. A hole takes the pages that it touches: mapping
 * the rest of such a page would map the hole too. Traps there cost time, nothing else.
 */
#include "core/quirk.h"

#include <string.h>

#include "base/range.h"

/* Each hole splits at most one area in two, so there is always room. */
enum { MAX_PIECES = VD_REGION_MAX_AREAS + VD_MAX_WINDOWS };

struct pieces {
    struct vd_region_area list[MAX_PIECES];
    unsigned count;
};

static void add(struct pieces *pieces, uint64_t start, uint64_t end)
{
    if (start < end && pieces->count < MAX_PIECES)
        pieces->list[pieces->count++] = (struct vd_region_area){start, end - start};
}

static uint64_t page_down(uint64_t offset, uint64_t page)
{
    return offset & ~(page - 1);
}

/* Rounded up; a sum that would wrap ends at the last page. */
static uint64_t page_up(uint64_t offset, uint64_t page)
{
    uint64_t sum;

    return page_down(__builtin_add_overflow(offset, page - 1, &sum) ? UINT64_MAX : sum, page);
}

static uint64_t end_of(const struct vd_region_area *area)
{
    uint64_t end;

    return __builtin_add_overflow(area->offset, area->size, &end) ? UINT64_MAX : end;
}

static void cut_one(struct pieces *pieces, uint64_t start, uint64_t end)
{
    struct pieces before = *pieces;

    pieces->count = 0;
    for (unsigned i = 0; i < before.count; i++) {
        uint64_t from = before.list[i].offset;
        uint64_t to = end_of(&before.list[i]);

        add(pieces, from, to < start ? to : start);
        add(pieces, from > end ? from : end, to);
    }
}

/* Of equals the last: the start of a BAR is where drivers go most. */
static void drop_smallest(struct pieces *pieces)
{
    unsigned smallest = 0;

    for (unsigned i = 1; i < pieces->count; i++) {
        if (pieces->list[i].size <= pieces->list[smallest].size)
            smallest = i;
    }
    pieces->count--;
    memmove(&pieces->list[smallest], &pieces->list[smallest + 1],
            (pieces->count - smallest) * sizeof(pieces->list[0]));
}

void vd_areas_cut(struct vd_region_info *region, uint64_t page, const struct vd_region_area *holes,
                  unsigned nr_holes)
{
    struct pieces pieces = {.count = 0};

    for (unsigned i = 0; i < region->nr_areas; i++) {
        uint64_t end = end_of(&region->areas[i]);

        add(&pieces, page_up(region->areas[i].offset, page),
            page_down(end < region->size ? end : region->size, page));
    }
    for (unsigned i = 0; i < nr_holes; i++)
        cut_one(&pieces, page_down(holes[i].offset, page), page_up(end_of(&holes[i]), page));
    while (pieces.count > VD_REGION_MAX_AREAS)
        drop_smallest(&pieces);
    memset(region->areas, 0, sizeof(region->areas));
    memcpy(region->areas, pieces.list, pieces.count * sizeof(pieces.list[0]));
    region->nr_areas = pieces.count;
    if (!pieces.count)
        region->flags &= ~(uint32_t)(VD_REGION_MMAP | VD_REGION_LOCAL);
}
