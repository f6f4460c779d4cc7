/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * BAR 0 as proto/apple_dma.h lists it. A 64-bit access is two 32-bit ones, the lower first; so a 64-bit read of USED is
 * consistent, and a 64-bit write of CMD_GPA passes through one state in between.
 */
#include "companion/companion.h"

static uint64_t lower(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t vd_companion_limit_bytes(const struct vd_companion *c)
{
    struct vd_dma_usage usage;

    vd_dma_usage(c->managed, &usage);
    return lower(usage.quota_bytes, c->quota_bytes);
}

uint64_t vd_companion_limit_mappings(const struct vd_companion *c)
{
    struct vd_dma_usage usage;

    vd_dma_usage(c->managed, &usage);
    return lower(lower(usage.quota_mappings, c->quota_mappings), VD_COMPANION_MAPPINGS);
}

uint32_t vd_companion_max_segments(const struct vd_companion *c)
{
    uint32_t host = vd_dma_info(c->managed)->max_segments;

    return host < VD_APPLE_DMA_MAX_SEGMENTS ? host : VD_APPLE_DMA_MAX_SEGMENTS;
}

static uint32_t high(uint64_t value)
{
    return (uint32_t)(value >> 32);
}

/* Use goes up and down, so reading the low half keeps the high one for the read that follows. */
static uint32_t latch(uint64_t value, uint32_t *kept)
{
    *kept = high(value);
    return (uint32_t)value;
}

static uint32_t ids(uint16_t vendor, uint16_t device)
{
    return vendor | (uint32_t)device << 16;
}

static uint32_t state(const struct vd_companion *c)
{
    return (c->managed->gone ? 0 : VD_APPLE_DMA_STATE_PRESENT) |
           (c->counters.active ? VD_APPLE_DMA_STATE_ACTIVE : 0);
}

/* What the managed device and its domain are. */
static uint32_t read_constant(const struct vd_companion *c, uint64_t offset)
{
    const struct vd_device_info *device = vd_device_info(c->managed);
    const struct vd_dma_info *dma = vd_dma_info(c->managed);

    switch (offset) {
    case VD_APPLE_DMA_REG_VERSION:
        return VD_APPLE_DMA_VERSION;
    case VD_APPLE_DMA_REG_MANAGED_BDF:
        return c->guest_bdf;
    case VD_APPLE_DMA_REG_MAX_ENTRIES:
        return c->max_entries;
    case VD_APPLE_DMA_REG_FEATURES:
        return VD_COMPANION_FEATURES;
    case VD_APPLE_DMA_REG_GRANULE:
        return (uint32_t)dma->granule;
    case VD_APPLE_DMA_REG_MAX_SEGMENTS:
        return vd_companion_max_segments(c);
    case VD_APPLE_DMA_REG_BUS_FIRST_LO:
        return (uint32_t)dma->first.value;
    case VD_APPLE_DMA_REG_BUS_FIRST_HI:
        return high(dma->first.value);
    case VD_APPLE_DMA_REG_BUS_LAST_LO:
        return (uint32_t)dma->last.value;
    case VD_APPLE_DMA_REG_BUS_LAST_HI:
        return high(dma->last.value);
    case VD_APPLE_DMA_REG_MANAGED_ID:
        return ids(device->vendor, device->device);
    case VD_APPLE_DMA_REG_MANAGED_SUBSYSTEM:
        return ids(device->subvendor, device->subdevice);
    default:
        return 0;
    }
}

static uint32_t read_register(struct vd_companion *c, uint64_t offset)
{
    switch (offset) {
    case VD_APPLE_DMA_REG_STATUS:
        return c->status;
    case VD_APPLE_DMA_REG_DRIVER_FEATURES:
        return c->features;
    case VD_APPLE_DMA_REG_LIMIT_BYTES_LO:
        return (uint32_t)vd_companion_limit_bytes(c);
    case VD_APPLE_DMA_REG_LIMIT_BYTES_HI:
        return high(vd_companion_limit_bytes(c));
    case VD_APPLE_DMA_REG_LIMIT_MAPPINGS_LO:
        return (uint32_t)vd_companion_limit_mappings(c);
    case VD_APPLE_DMA_REG_LIMIT_MAPPINGS_HI:
        return high(vd_companion_limit_mappings(c));
    case VD_APPLE_DMA_REG_USED_BYTES_LO:
        vd_companion_notice_losses(c);
        return latch(vd_counted(&c->counters.bytes), &c->used_bytes_high);
    case VD_APPLE_DMA_REG_USED_BYTES_HI:
        return c->used_bytes_high;
    case VD_APPLE_DMA_REG_USED_MAPPINGS_LO:
        vd_companion_notice_losses(c);
        return latch(vd_counted(&c->counters.mappings), &c->used_mappings_high);
    case VD_APPLE_DMA_REG_USED_MAPPINGS_HI:
        return c->used_mappings_high;
    case VD_APPLE_DMA_REG_LOST:
        vd_companion_notice_losses(c);
        return (uint32_t)vd_counted(&c->counters.lost);
    case VD_APPLE_DMA_REG_STATE:
        return state(c);
    default:
        return read_constant(c, offset);
    }
}

/* What is not on offer does not stick, nor does what needs the wide layouts without them. */
static void set_features(struct vd_companion *c, uint32_t value)
{
    c->features = value & VD_APPLE_DMA_FEATURE_WIDE ? value & VD_COMPANION_FEATURES : 0;
    c->counters.wide = c->features != 0;
}

static void reset(struct vd_companion *c)
{
    vd_companion_let_go(c);
    set_features(c, 0);
    c->status = VD_APPLE_DMA_OK;
}

/* Between the two writes of an address that moves, the value is neither; only 0 means to let go. */
static void set_command_gpa(struct vd_companion *c, uint64_t gpa)
{
    c->command_gpa = gpa;
    if (!gpa)
        vd_companion_let_go(c);
    else
        vd_companion_activate(c);
}

static void write_register(struct vd_companion *c, uint64_t offset, uint32_t value)
{
    const uint64_t low = UINT32_MAX;

    switch (offset) {
    case VD_APPLE_DMA_REG_CMD_GPA_LO:
        set_command_gpa(c, (c->command_gpa & ~low) | value);
        break;
    case VD_APPLE_DMA_REG_CMD_GPA_HI:
        set_command_gpa(c, (c->command_gpa & low) | (uint64_t)value << 32);
        break;
    case VD_APPLE_DMA_REG_DOORBELL:
        vd_companion_doorbell(c);
        break;
    case VD_APPLE_DMA_REG_CONTROL:
        if (value == VD_APPLE_DMA_CONTROL_RESET)
            reset(c);
        break;
    case VD_APPLE_DMA_REG_DRIVER_FEATURES:
        set_features(c, value);
        break;
    default:
        break;
    }
}

static bool is_register_access(uint64_t offset, size_t count)
{
    return (count == 4 || count == 8) && vd_is_aligned(offset, count);
}

void vd_companion_register_read(struct vd_companion *c, uint64_t offset, void *buffer, size_t count)
{
    uint8_t *out = buffer;

    vd_companion_notice_epoch(c);
    memset(out, 0, count);
    for (size_t at = 0; is_register_access(offset, count) && at < count; at += 4)
        vd_store32(out + at, read_register(c, offset + at));
}

void vd_companion_register_write(struct vd_companion *c, uint64_t offset, const void *buffer, size_t count)
{
    const uint8_t *in = buffer;

    vd_companion_notice_epoch(c);
    for (size_t at = 0; is_register_access(offset, count) && at < count; at += 4)
        write_register(c, offset + at, vd_load32(in + at));
}
