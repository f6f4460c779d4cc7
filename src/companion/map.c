/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Map entries, a chunk at a time: copied, checked and booked (plan), made in one call to the host, put right where the
 * address does not suit (place.c), answered. All that can run out is taken before the host is asked, so what it has mapped
 * is always in the books; a chunk whose answers cannot be written is undone.
 *
 * What is mapped are whole granules of the host memory behind [gpa, gpa + len), in one region of guest memory; what the guest
 * is told covers exactly what it asked for.
 */
#include "companion/companion.h"

#include <string.h>

static const uint64_t WIDE_ID = 1ull << 63;

/* Decoding. */

static void decode_narrow(const uint8_t *bytes, struct vd_companion_want *w)
{
    struct vd_apple_dma_map in;

    memcpy(&in, bytes, sizeof(in));
    *w = (struct vd_companion_want){
        .gpa = vd_get64(in.gpa), .len = vd_get32(in.len), .access = VD_ACCESS_READ | VD_ACCESS_WRITE};
    if (w->gpa & WIDE_ID)
        w->why = VD_APPLE_DMA_WHY_NOT_RAM; /* it would be the id, and those belong to wide entries */
}

static uint32_t access_of(uint32_t flags)
{
    uint32_t access = (flags & VD_APPLE_DMA_DEVICE_READS ? VD_ACCESS_READ : 0) |
                      (flags & VD_APPLE_DMA_DEVICE_WRITES ? VD_ACCESS_WRITE : 0);

    return access ? access : VD_ACCESS_READ | VD_ACCESS_WRITE;
}

static void decode_wide(const struct vd_companion *c, const uint8_t *bytes, struct vd_companion_want *w)
{
    const uint32_t known = VD_APPLE_DMA_DEVICE_READS | VD_APPLE_DMA_DEVICE_WRITES;
    struct vd_apple_dma_wide_map in;

    memcpy(&in, bytes, sizeof(in));
    *w = (struct vd_companion_want){.gpa = vd_get64(in.gpa),
                                    .len = vd_get64(in.len),
                                    .align = vd_get64(in.align),
                                    .access = access_of(vd_get32(in.flags))};
    if (vd_get32(in.flags) & ~known || vd_get32(in.reserved) ||
        (w->align && (!vd_is_power_of_two(w->align) || !(c->features & VD_APPLE_DMA_FEATURE_ALIGN))))
        w->why = VD_APPLE_DMA_WHY_FLAGS;
}

/* Checking: the first thing that is wrong with it, and what of the host's memory it is. */

/* Rounds out to granules of host memory, which must all be the region's. */
static uint32_t round_out(const struct vd_companion *c, struct vd_companion_want *w, struct vd_dma_map *map)
{
    uint64_t granule = vd_dma_info(c->managed)->granule;
    uint64_t offset = w->gpa - w->region->node.range.start;
    uint8_t *at = w->region->host + offset;

    w->lead = (uintptr_t)at & (granule - 1);
    map->size = (w->lead + w->len + granule - 1) & ~(granule - 1);
    if (w->lead > offset || !vd_span_fits(offset - w->lead, map->size, vd_range_size(w->region->node.range)))
        return VD_APPLE_DMA_WHY_NOT_RAM;
    map->host = at - w->lead;
    if (w->align && w->lead & ((w->align < granule ? w->align : granule) - 1))
        return VD_APPLE_DMA_WHY_ALIGNMENT; /* no address of granules can mend that */
    return VD_APPLE_DMA_WHY_NONE;
}

static uint32_t check(const struct vd_companion *c, struct vd_companion_want *w, struct vd_range *range,
                      struct vd_dma_map *map, struct vd_dma_file *file)
{
    uint32_t why;

    if (!vd_range_make(w->gpa, w->len, range))
        return VD_APPLE_DMA_WHY_LENGTH;
    w->region = vd_guest_memory_find(c->memory, (vd_gpa){w->gpa});
    if (!w->region || !w->region->host || !vd_range_contains(w->region->node.range, *range))
        return VD_APPLE_DMA_WHY_NOT_RAM;
    if (w->access & ~w->region->access)
        return VD_APPLE_DMA_WHY_ACCESS;
    why = round_out(c, w, map);
    if (why || !vd_dma_info(c->managed)->needs_file)
        return why;
    if (!vd_guest_region_file(w->region, file))
        return VD_APPLE_DMA_WHY_NOT_RAM;
    file->offset += w->gpa - w->region->node.range.start - w->lead;
    map->file = file;
    return VD_APPLE_DMA_WHY_NONE;
}

/* The id that is the GPA may be one that was lost: then the guest has it anew. */
static uint64_t id_for(struct vd_companion *c, const struct vd_companion_want *w, bool wide)
{
    struct vd_companion_mapping *old;

    if (wide)
        return WIDE_ID | ++c->serial;
    old = vd_companion_mapping_find(c, w->gpa);
    if (old && old->state == VD_COMPANION_LOST)
        (void)vd_companion_mapping_destroy(c, old);
    return w->gpa;
}

/* Fills the next map of the chunk from entry i; false when that one has failed. */
static bool plan(struct vd_companion *c, uint32_t i, uint32_t n, bool wide, uint32_t segments)
{
    struct vd_companion_want *w = &c->chunk.wants[i];
    struct vd_dma_map *map = &c->chunk.maps[n];
    struct vd_range range;

    *map = (struct vd_dma_map){.access = w->access,
                               .segments = &c->chunk.segments[(size_t)i * VD_APPLE_DMA_MAX_SEGMENTS],
                               .max_segments = segments};
    if (!w->why)
        w->why = check(c, w, &range, map, &c->chunk.files[i]);
    if (w->why)
        return false;
    map->iova.value = w->gpa - w->lead;
    w->mapping = vd_companion_mapping_create(c, id_for(c, w, wide), range, map->size, &w->why);
    return w->mapping != NULL;
}

static uint32_t plan_chunk(struct vd_companion *c, uint32_t count, bool wide, uint32_t segments)
{
    size_t size = wide ? sizeof(struct vd_apple_dma_wide_map) : sizeof(struct vd_apple_dma_map);
    uint32_t n = 0;

    for (uint32_t i = 0; i < count; i++) {
        struct vd_companion_want *w = &c->chunk.wants[i];

        if (wide)
            decode_wide(c, c->chunk.io.bytes + i * size, w);
        else
            decode_narrow(c->chunk.io.bytes + i * size, w);
        if (plan(c, i, n, wide, segments))
            c->chunk.where[n++] = i;
    }
    return n;
}

/* Answering. */

/* Cuts what was mapped down to what was asked for; false when the host mapped less than that. */
static bool trim(struct vd_dma_segment *segments, uint32_t *count, uint64_t lead, uint64_t len)
{
    uint32_t used = 0;

    for (uint32_t i = 0; i < *count && len; i++) {
        struct vd_dma_segment s = segments[i];
        uint64_t skip = lead < s.size ? lead : s.size;

        lead -= skip;
        s.iova.value += skip;
        s.size -= skip;
        if (s.size > len)
            s.size = len;
        len -= s.size;
        if (s.size)
            segments[used++] = s;
    }
    *count = used;
    return !len;
}

/* Takes the host's answer in; what does not succeed is out of the books. */
static bool settle(struct vd_companion *c, struct vd_companion_want *w, struct vd_dma_map *map)
{
    if (!w->why && !trim(map->segments, &map->nr_segments, w->lead, w->len)) {
        vd_dma_unmap(c->managed, &map->mapping, 1);
        w->why = VD_APPLE_DMA_WHY_HOST;
    }
    if (w->why) {
        (void)vd_companion_mapping_destroy(c, w->mapping);
        w->mapping = NULL;
        return false;
    }
    w->nr_segments = map->nr_segments;
    w->mapping->handle = map->mapping;
    w->mapping->state = VD_COMPANION_LIVE;
    return true;
}

static uint32_t map_chunk(struct vd_companion *c, uint32_t n)
{
    struct vd_companion_chunk *chunk = &c->chunk;
    uint32_t done = 0;

    if (!n)
        return 0;
    vd_device_lock(c->managed);
    vd_companion_place(c, n);
    for (uint32_t i = 0; i < n; i++)
        done += settle(c, &chunk->wants[chunk->where[i]], &chunk->maps[i]);
    vd_device_unlock(c->managed);
    return done;
}

/* Version 2 writes nothing but the status of an entry that failed. */
static bool answer_narrow(const struct vd_companion *c, uint64_t gpa, const struct vd_companion_want *w,
                          const struct vd_dma_segment *segments)
{
    const struct vd_apple_dma_mapped out = {
        .id = vd_put64(w->gpa),
        .address = vd_put64(segments[0].iova.value),
        .len = vd_put32((uint32_t)w->len),
        .status = vd_put32(w->mapping ? VD_APPLE_DMA_OK : VD_APPLE_DMA_IO_ERROR),
    };
    size_t from = w->mapping ? 0 : offsetof(struct vd_apple_dma_mapped, status);

    return !vd_guest_memory_write(c->memory, (vd_gpa){gpa + from}, (const uint8_t *)&out + from,
                                  sizeof(out) - from);
}

static bool answer_wide(const struct vd_companion *c, uint64_t gpa, const struct vd_companion_want *w,
                        const struct vd_dma_segment *segments)
{
    struct {
        struct vd_apple_dma_wide_mapped head;
        struct vd_apple_dma_segment segments[VD_APPLE_DMA_MAX_SEGMENTS];
    } out;
    uint32_t count = w->mapping ? w->nr_segments : 0;

    out.head = (struct vd_apple_dma_wide_mapped){
        .id = vd_put64(w->mapping ? w->mapping->by_id.range.start : 0),
        .status = vd_put32(w->mapping ? VD_APPLE_DMA_OK : VD_APPLE_DMA_IO_ERROR),
        .why = vd_put32(w->why),
        .nr_segments = vd_put32(count),
    };
    for (uint32_t i = 0; i < count; i++)
        out.segments[i] =
            (struct vd_apple_dma_segment){vd_put64(segments[i].iova.value), vd_put64(segments[i].size)};
    return !vd_guest_memory_write(c->memory, (vd_gpa){gpa}, &out,
                                  sizeof(out.head) + count * sizeof(out.segments[0]));
}

static bool answer(const struct vd_companion *c, const struct vd_companion_array *a, uint32_t first,
                   uint32_t count, bool wide)
{
    const struct vd_companion_chunk *chunk = &c->chunk;
    bool written = true;

    for (uint32_t i = 0; i < count && written; i++) {
        const struct vd_dma_segment *segments = &chunk->segments[(size_t)i * VD_APPLE_DMA_MAX_SEGMENTS];
        uint64_t gpa = a->responses + (uint64_t)(first + i) * a->response_size;

        written = (wide ? answer_wide : answer_narrow)(c, gpa, &chunk->wants[i], segments);
    }
    return written;
}

/* Its memory went while the host was mapping: nobody would ever learn of these mappings. */
static void undo(struct vd_companion *c, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct vd_companion_mapping *m = c->chunk.wants[i].mapping;

        c->chunk.handles[i] = m ? vd_companion_mapping_destroy(c, m) : NULL;
    }
    vd_device_lock(c->managed);
    vd_dma_unmap(c->managed, c->chunk.handles, count);
    vd_device_unlock(c->managed);
}

/* What a driver with wide entries is prepared for: it unmaps, asks for less, or does without. */
static bool is_usual(uint32_t why)
{
    return why == VD_APPLE_DMA_WHY_NONE || why == VD_APPLE_DMA_WHY_BYTES ||
           why == VD_APPLE_DMA_WHY_MAPPINGS || why == VD_APPLE_DMA_WHY_SPACE ||
           why == VD_APPLE_DMA_WHY_SEGMENTS || why == VD_APPLE_DMA_WHY_ALIGNMENT;
}

static void report(struct vd_companion *c, uint32_t count, bool wide)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct vd_companion_want *w = &c->chunk.wants[i];

        if (w->why && (!wide || !is_usual(w->why)))
            vd_companion_say(c, VD_ENV_WARN, "0x%llx bytes at 0x%llx are not mapped: %s",
                             (unsigned long long)w->len, (unsigned long long)w->gpa,
                             vd_companion_why_text(w->why));
    }
}

uint32_t vd_companion_map(struct vd_companion *c, const struct vd_companion_array *a, bool wide,
                          uint32_t segments)
{
    uint32_t done = 0;

    for (uint32_t first = 0; first < a->count; first += VD_COMPANION_CHUNK) {
        uint32_t count = a->count - first < VD_COMPANION_CHUNK ? a->count - first : VD_COMPANION_CHUNK;
        uint64_t from = a->requests + (uint64_t)first * a->request_size;
        uint32_t mapped;

        if (vd_guest_memory_read(c->memory, (vd_gpa){from}, c->chunk.io.bytes,
                                 (size_t)count * a->request_size))
            break;
        mapped = map_chunk(c, plan_chunk(c, count, wide, segments));
        if (mapped < count)
            report(c, count, wide);
        if (!answer(c, a, first, count, wide)) {
            undo(c, count);
            break;
        }
        done += mapped;
    }
    vd_count(&c->counters.maps, done);
    return done;
}
