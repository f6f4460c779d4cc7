/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Unmap entries, by id and by range. An id is found once: it is out of the books before the host is asked, so a batch that
 * names it twice is told the second time that there is no such mapping.
 */
#include "companion/companion.h"

#include <string.h>

_Static_assert(sizeof(struct vd_apple_dma_unmap) == sizeof(struct vd_apple_dma_within), "one request size");

static void respond(struct vd_companion *c, uint32_t i, uint64_t id, uint32_t why, bool tell)
{
    const struct vd_apple_dma_unmapped out = {
        .id = vd_put64(id),
        .status = vd_put32(why ? VD_APPLE_DMA_IO_ERROR : VD_APPLE_DMA_OK),
        .why = vd_put32(tell ? why : 0),
    };

    memcpy(c->chunk.io.responses + i * sizeof(out), &out, sizeof(out));
}

/* Requests and responses have one size, so a response takes the place of its request once that is read. */
static bool unmap_one(struct vd_companion *c, uint32_t i, bool wide)
{
    struct vd_apple_dma_unmap in;
    struct vd_companion_mapping *m;

    memcpy(&in, c->chunk.io.bytes + i * sizeof(in), sizeof(in));
    m = vd_companion_mapping_find(c, vd_get64(in.id));
    c->chunk.handles[i] = m ? vd_companion_mapping_destroy(c, m) : NULL;
    respond(c, i, vd_get64(in.id), m ? VD_APPLE_DMA_WHY_NONE : VD_APPLE_DMA_WHY_UNKNOWN_ID, wide);
    return m != NULL;
}

static uint32_t unmap_chunk(struct vd_companion *c, uint32_t count, bool wide)
{
    uint32_t done = 0;

    for (uint32_t i = 0; i < count; i++)
        done += unmap_one(c, i, wide);
    if (done) {
        vd_device_lock(c->managed);
        vd_dma_unmap(c->managed, c->chunk.handles, count);
        vd_device_unlock(c->managed);
    }
    return done;
}

static bool read_chunk(struct vd_companion *c, const struct vd_companion_array *a, uint32_t first,
                       uint32_t count)
{
    return !vd_guest_memory_read(c->memory, (vd_gpa){a->requests + (uint64_t)first * a->request_size},
                                 c->chunk.io.bytes, (size_t)count * a->request_size);
}

static void write_chunk(struct vd_companion *c, const struct vd_companion_array *a, uint32_t first,
                        uint32_t count)
{
    (void)vd_guest_memory_write(c->memory, (vd_gpa){a->responses + (uint64_t)first * a->response_size},
                                c->chunk.io.responses, (size_t)count * a->response_size);
}

static uint32_t chunk_at(const struct vd_companion_array *a, uint32_t first)
{
    return a->count - first < VD_COMPANION_CHUNK ? a->count - first : VD_COMPANION_CHUNK;
}

uint32_t vd_companion_unmap(struct vd_companion *c, const struct vd_companion_array *a, bool wide)
{
    uint32_t done = 0;

    for (uint32_t first = 0; first < a->count; first += VD_COMPANION_CHUNK) {
        uint32_t count = chunk_at(a, first);

        if (!read_chunk(c, a, first, count))
            break;
        done += unmap_chunk(c, count, wide);
        write_chunk(c, a, first, count);
    }
    vd_count(&c->counters.unmaps, done);
    return done;
}

/* Ranges. */

/* The managed device waits for no more than these. */
static void give_back(struct vd_companion *c, struct vd_dma_mapping **handles, size_t n)
{
    vd_device_lock(c->managed);
    vd_dma_unmap(c->managed, handles, n);
    vd_device_unlock(c->managed);
}

/*
 * Unmaps what lies in the range and says how many. Mappings that begin in it and end outside are passed over, which
 * `*steps` bounds for the whole batch: false when it was used up.
 */
static bool unmap_range(struct vd_companion *c, struct vd_range range, uint32_t *steps, uint64_t *went)
{
    struct vd_companion_mapping *m = vd_companion_mapping_from(c, range.start);
    struct vd_dma_mapping *handles[64];
    size_t n = 0;

    while (m && m->by_gpa.range.start <= range.last && *steps) {
        struct vd_companion_mapping *next = vd_companion_mapping_next(c, m);

        if (m->last <= range.last) {
            handles[n++] = vd_companion_mapping_destroy(c, m);
            (*went)++;
        } else {
            --*steps;
        }
        if (n == sizeof(handles) / sizeof(handles[0])) {
            give_back(c, handles, n);
            n = 0;
        }
        m = next;
    }
    give_back(c, handles, n);
    return !m || m->by_gpa.range.start > range.last;
}

static bool unmap_within_one(struct vd_companion *c, uint32_t i, uint32_t *steps)
{
    uint32_t why = VD_APPLE_DMA_WHY_NONE;
    struct vd_apple_dma_within in;
    struct vd_range range;
    uint64_t went = 0;

    memcpy(&in, c->chunk.io.bytes + i * sizeof(in), sizeof(in));
    if (!vd_range_make(vd_get64(in.gpa), vd_get64(in.len), &range))
        why = VD_APPLE_DMA_WHY_LENGTH;
    else if (!unmap_range(c, range, steps, &went))
        why = VD_APPLE_DMA_WHY_HOST;
    respond(c, i, went, why, true);
    vd_count(&c->counters.unmaps, went);
    return !why;
}

uint32_t vd_companion_unmap_within(struct vd_companion *c, const struct vd_companion_array *a)
{
    uint32_t steps = VD_COMPANION_STEPS, done = 0;

    for (uint32_t first = 0; first < a->count; first += VD_COMPANION_CHUNK) {
        uint32_t count = chunk_at(a, first);

        if (!read_chunk(c, a, first, count))
            break;
        for (uint32_t i = 0; i < count; i++)
            done += unmap_within_one(c, i, &steps);
        write_chunk(c, a, first, count);
    }
    return done;
}
