/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A doorbell: the command page is copied once, turned into arrays, and everything about them is checked before the first
 * entry is looked at: type, counts, and that requests can be read and responses written. What fails there is INVALID and
 * has done nothing. Arrays may overlap each other and the command page: each chunk of requests is copied before its
 * responses are written, so that harms nobody but the guest.
 */
#include "companion/companion.h"

#include <string.h>

enum { STATUS_AT = offsetof(struct vd_apple_dma_command, status) };

struct batch {
    bool wide, within;
    uint32_t segments;
    struct vd_companion_array unmaps, maps;
};

bool vd_companion_is_ram(const struct vd_companion *c, uint64_t gpa, uint64_t size, uint32_t access)
{
    struct vd_range range;

    if (!vd_range_make(gpa, size, &range))
        return false;
    for (uint64_t at = gpa;;) {
        const struct vd_guest_region *region = vd_guest_memory_find(c->memory, (vd_gpa){at});

        if (!region || !region->host || !(region->access & access))
            return false;
        if (region->node.range.last >= range.last)
            return true;
        at = region->node.range.last + 1;
    }
}

static bool is_array(const struct vd_companion *c, const struct vd_companion_array *a)
{
    if (!a->count)
        return true;
    return a->count <= c->max_entries && a->requests && a->responses &&
           vd_companion_is_ram(c, a->requests, (uint64_t)a->count * a->request_size, VD_ACCESS_READ) &&
           vd_companion_is_ram(c, a->responses, (uint64_t)a->count * a->response_size, VD_ACCESS_WRITE);
}

/* The arrays of a command in the version 2 layout, which is also the beginning of the wide one. */
static bool decode_base(const struct vd_apple_dma_command *command, struct batch *b)
{
    struct vd_companion_array a = {vd_get64(command->requests), vd_get64(command->responses),
                                   vd_get32(command->count), sizeof(struct vd_apple_dma_unmap),
                                   sizeof(struct vd_apple_dma_unmapped)};

    if (vd_get32(command->type) == VD_APPLE_DMA_UNMAP) {
        b->unmaps = a;
        return true;
    }
    if (vd_get32(command->type) != VD_APPLE_DMA_MAP)
        return false;
    a.request_size = sizeof(struct vd_apple_dma_map);
    a.response_size = sizeof(struct vd_apple_dma_mapped);
    b->segments = 1;
    b->maps = a;
    return true;
}

static bool decode_exchange(const struct vd_apple_dma_wide_command *command, struct batch *b)
{
    b->unmaps = (struct vd_companion_array){
        vd_get64(command->unmap_requests), vd_get64(command->unmap_responses), vd_get32(command->unmap_count),
        sizeof(struct vd_apple_dma_unmap), sizeof(struct vd_apple_dma_unmapped)};
    b->maps.requests = vd_get64(command->base.requests);
    b->maps.responses = vd_get64(command->base.responses);
    b->maps.count = vd_get32(command->base.count);
    return true;
}

/* By type, once the features that a type needs are known to be in force. */
static bool decode_type(const struct vd_companion *c, const struct vd_apple_dma_wide_command *command,
                        struct batch *b)
{
    uint32_t type = vd_get32(command->base.type);

    if (type == VD_APPLE_DMA_EXCHANGE)
        return c->features & VD_APPLE_DMA_FEATURE_EXCHANGE && decode_exchange(command, b);
    if (vd_get32(command->unmap_count))
        return false;
    b->within = type == VD_APPLE_DMA_UNMAP_WITHIN;
    if (!b->within)
        return decode_base(&command->base, b);
    b->unmaps = (struct vd_companion_array){
        vd_get64(command->base.requests), vd_get64(command->base.responses), vd_get32(command->base.count),
        sizeof(struct vd_apple_dma_within), sizeof(struct vd_apple_dma_unmapped)};
    return c->features & VD_APPLE_DMA_FEATURE_UNMAP_WITHIN;
}

static bool decode_wide(const struct vd_companion *c, const struct vd_apple_dma_wide_command *command,
                        struct batch *b)
{
    if (vd_get32(command->base.reserved) || vd_get64(command->reserved[0]) ||
        vd_get64(command->reserved[1]) || !decode_type(c, command, b))
        return false;
    if (!b->maps.count)
        return true;
    b->segments = vd_get32(command->segments);
    if (!b->segments || b->segments > VD_APPLE_DMA_MAX_SEGMENTS)
        return false;
    b->maps.request_size = sizeof(struct vd_apple_dma_wide_map);
    b->maps.response_size = (uint32_t)(sizeof(struct vd_apple_dma_wide_mapped) +
                                       b->segments * sizeof(struct vd_apple_dma_segment));
    return true;
}

/* How many entries succeeded; unmaps come first, so that maps find the room. */
static uint32_t run(struct vd_companion *c, const struct batch *b)
{
    uint32_t done;

    if (b->within)
        done = vd_companion_unmap_within(c, &b->unmaps);
    else
        done = vd_companion_unmap(c, &b->unmaps, b->wide);
    return done + vd_companion_map(c, &b->maps, b->wide, b->segments);
}

/* What cannot be written the guest does not want: STATUS is what it waits for. */
static void write_outcome(const struct vd_companion *c, uint32_t done)
{
    const struct vd_apple_dma_wide_command out = {
        .done = vd_put32(done),
        .lost = vd_put32((uint32_t)vd_counted(&c->counters.lost)),
        .used_bytes = vd_put64(vd_counted(&c->counters.bytes)),
        .used_mappings = vd_put64(vd_counted(&c->counters.mappings)),
    };
    const size_t from = offsetof(struct vd_apple_dma_wide_command, done);
    const size_t size = offsetof(struct vd_apple_dma_wide_command, reserved) - from;
    const vd_le32 status = vd_put32(c->status);

    if (c->features)
        (void)vd_guest_memory_write(c->memory, (vd_gpa){c->command_gpa + from}, out.done.b, size);
    (void)vd_guest_memory_write(c->memory, (vd_gpa){c->command_gpa + STATUS_AT}, &status, sizeof(status));
}

static void refuse(struct vd_companion *c)
{
    vd_companion_say(c, VD_ENV_WARN, "a batch is refused: the command page at 0x%llx makes no sense",
                     (unsigned long long)c->command_gpa);
    c->status = VD_APPLE_DMA_INVALID;
    vd_count(&c->counters.refused, 1);
}

void vd_companion_doorbell(struct vd_companion *c)
{
    struct vd_apple_dma_wide_command command = {0};
    struct batch b = {.wide = c->features & VD_APPLE_DMA_FEATURE_WIDE};
    size_t size = b.wide ? sizeof(command) : sizeof(command.base);
    uint32_t total, done = 0;

    vd_count(&c->counters.doorbells, 1);
    vd_companion_notice_losses(c);
    if (!c->memory || !c->command_gpa || !vd_companion_is_ram(c, c->command_gpa, size, VD_ACCESS_READ) ||
        vd_guest_memory_read(c->memory, (vd_gpa){c->command_gpa}, &command, size)) {
        refuse(c);
        return;
    }
    vd_companion_activate(c);
    if (!c->counters.active) {
        refuse(c);
        write_outcome(c, 0);
        return;
    }
    c->fillers = VD_COMPANION_FILLERS;
    c->looks = VD_COMPANION_LOOKS;
    if (!(b.wide ? decode_wide(c, &command, &b) : decode_base(&command.base, &b)))
        b.unmaps.count = b.maps.count = 0;
    total = b.unmaps.count + b.maps.count;
    if (!total || !is_array(c, &b.unmaps) || !is_array(c, &b.maps)) {
        refuse(c);
    } else {
        done = run(c, &b);
        c->status = done == total ? VD_APPLE_DMA_OK : VD_APPLE_DMA_IO_ERROR;
        vd_count(&c->counters.refused, total - done);
    }
    write_outcome(c, done);
}
