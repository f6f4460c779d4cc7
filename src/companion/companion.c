/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The companion as a device: what core makes a vd_device of, when the managed device may work, and what happens when the
 * guest's driver, its machine or its VMM lets go. Theory and lock rule in companion.h.
 */
#include "companion/companion.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <viaduct/companion.h>

enum {
    OFF_VENDOR = 0x00, /* PCI 3.0, 6.1 */
    OFF_DEVICE = 0x02,
    OFF_COMMAND = 0x04,
    OFF_CLASS = 0x09,
    OFF_SUBVENDOR = 0x2c,
    OFF_SUBDEVICE = 0x2e,
    BDF_MAX = 0xffff,
    MOST_LINES = 32,
    ADDRESS_MAX = 1024,
};

void vd_companion_say(struct vd_companion *c, enum vd_env_level level, const char *format, ...)
{
    char text[512];
    va_list args;

    if (c->said == MOST_LINES)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    vd_env_log(c->env, level, "companion of %s: %s%s", vd_device_info(c->managed)->address, text,
               ++c->said == MOST_LINES ? "; no more will be logged for this client" : "");
}

/* Whoever speaks for the device's guest here must be who has the device there. */
static bool is_same_client(const struct vd_companion *c)
{
    int mine = c->self ? c->self->client : VD_CLIENT_UNSERVED, theirs = c->managed->client;

    if (theirs == VD_CLIENT_UNSERVED || mine == VD_CLIENT_UNSERVED)
        return true;
    if (theirs == VD_CLIENT_NONE)
        return false;
    return mine == theirs || mine == VD_CLIENT_UNKNOWN || theirs == VD_CLIENT_UNKNOWN;
}

void vd_companion_activate(struct vd_companion *c)
{
    bool same;

    if (c->counters.active || !c->memory ||
        !vd_companion_is_ram(c, c->command_gpa, sizeof(struct vd_apple_dma_command), VD_ACCESS_READ))
        return;
    vd_device_lock(c->managed);
    same = is_same_client(c);
    if (same) {
        c->counters.active = true;
        c->epoch = atomic_load(&c->managed->epoch);
        vd_device_hold(c->managed, false);
    }
    vd_device_unlock(c->managed);
    if (same)
        vd_companion_say(c, VD_ENV_INFO, "the guest's driver is there; the device may work");
    else
        vd_companion_say(c, VD_ENV_WARN,
                         "the device stays held: another VMM has it, or none; one VMM has to attach "
                         "to both sockets");
}

void vd_companion_notice_epoch(struct vd_companion *c)
{
    if (!c->counters.active || c->epoch == atomic_load(&c->managed->epoch))
        return;
    c->counters.active = false;
    c->command_gpa = 0;
    vd_companion_notice_losses(c);
}

void vd_companion_let_go(struct vd_companion *c)
{
    bool active = c->counters.active;

    c->command_gpa = 0;
    c->counters.active = false;
    if (!active && !c->records)
        return;
    vd_device_lock(c->managed);
    /* Else somebody else has the device by now, or nobody: it was stopped and held when that changed. */
    active &= c->epoch == atomic_load(&c->managed->epoch);
    if (active)
        vd_device_stop(c->managed);
    vd_companion_release_all(c);
    if (active)
        vd_device_hold(c->managed, true);
    vd_device_unlock(c->managed);
}

/* The operations of the seam. */

static int region_read(void *host, unsigned index, uint64_t offset, void *buffer, size_t count)
{
    struct vd_companion *c = host;

    if (index == VD_REGION_CONFIG)
        memcpy(buffer, c->config + offset, count);
    else
        vd_companion_register_read(c, offset, buffer, count);
    return 0;
}

/* Of config space core writes COMMAND and what a reset lost, which here is nothing. */
static int region_write(void *host, unsigned index, uint64_t offset, const void *buffer, size_t count)
{
    struct vd_companion *c = host;

    if (index != VD_REGION_CONFIG)
        vd_companion_register_write(c, offset, buffer, count);
    else if (offset == OFF_COMMAND && count == 2)
        memcpy(c->config + offset, buffer, count);
    return 0;
}

static int reset(void *host)
{
    static const uint8_t off[2] = {0};
    const uint8_t value[4] = {VD_APPLE_DMA_CONTROL_RESET};
    struct vd_companion *c = host;

    memcpy(c->config + OFF_COMMAND, off, sizeof(off));
    vd_companion_register_write(c, VD_APPLE_DMA_REG_CONTROL, value, sizeof(value));
    return 0;
}

static void guest_memory(void *host, const struct vd_guest_memory *memory)
{
    struct vd_companion *c = host;

    if (!memory)
        vd_companion_let_go(c);
    c->memory = memory;
    c->said = 0;
}

static void guest_memory_removed(void *host, const struct vd_guest_region *region)
{
    vd_companion_revoke(host, region->node.range);
}

static void give_up(struct vd_companion *c)
{
    vd_device_lock(c->managed);
    vd_device_hold(c->managed, false);
    c->managed->has_companion = false;
    vd_device_unlock(c->managed);
    vd_env_free(c->env, c);
}

/* The device is let go of as after a reset: what a guest wrote while it was held must not take effect now. */
static void close_companion(void *host)
{
    struct vd_companion *c = host;

    vd_companion_let_go(c);
    vd_device_lock(c->managed);
    vd_device_stop(c->managed);
    vd_device_unlock(c->managed);
    give_up(c);
}

const struct vd_backend_ops vd_companion_ops = {
    .name = "companion",
    .close = close_companion,
    .region_read = region_read,
    .region_write = region_write,
    .reset = reset,
    .guest_memory = guest_memory,
    .guest_memory_removed = guest_memory_removed,
};

/* Creating. */

static void fill_config(uint8_t *config)
{
    vd_store16(config + OFF_VENDOR, VD_APPLE_DMA_VENDOR);
    vd_store16(config + OFF_DEVICE, VD_APPLE_DMA_DEVICE);
    vd_store16(config + OFF_CLASS + 1, VD_APPLE_DMA_CLASS >> 8);
    vd_store16(config + OFF_SUBVENDOR, VD_APPLE_DMA_VENDOR);
    vd_store16(config + OFF_SUBDEVICE, VD_APPLE_DMA_DEVICE);
}

/* Nothing is ever mapped for the companion itself, which needs no DMA: its limits are 0. */
static void describe(const struct vd_companion *c, struct vd_host_info *info)
{
    const uint32_t access = VD_REGION_READ | VD_REGION_WRITE;

    *info = (struct vd_host_info){
        .model = "DMA companion",
        .vendor = VD_APPLE_DMA_VENDOR,
        .device = VD_APPLE_DMA_DEVICE,
        .subvendor = VD_APPLE_DMA_VENDOR,
        .subdevice = VD_APPLE_DMA_DEVICE,
        .class_code = VD_APPLE_DMA_CLASS,
        .can_reset = true,
        .raw_config = true,
        .poll_fd = -1,
        .dma = {.addressing = VD_DMA_CHOSEN,
                .granule = 4096,
                .last = {UINT64_MAX},
                .max_segments = 1,
                .needs_file =
                    vd_dma_info(c->managed)->needs_file}, /* so that sessions keep descriptors for it */
    };
    info->regions[0] = (struct vd_region_info){.size = VD_APPLE_DMA_BAR_SIZE, .flags = access};
    info->regions[VD_REGION_CONFIG] = (struct vd_region_info){.size = VD_COMPANION_CONFIG, .flags = access};
}

static int check_options(const struct vd_companion_options *o, struct vd_failure *failure)
{
    if (!o || o->size != sizeof(*o))
        return vd_fail_usage(failure, "vd_companion_options.size is not one that this library knows");
    if (o->guest_bdf > BDF_MAX && o->guest_bdf != VD_COMPANION_BDF_UNKNOWN)
        return vd_fail_usage(failure, "vd_companion_options.guest_bdf 0x%x is no bus, device and function",
                             o->guest_bdf);
    if (o->max_entries > VD_APPLE_DMA_MAX_ENTRIES)
        return vd_fail_usage(failure, "vd_companion_options.max_entries is %u; the most is %d",
                             o->max_entries, VD_APPLE_DMA_MAX_ENTRIES);
    return 0;
}

/* From here on the managed device is held; undone by give_up(). */
static int take(struct vd_device *managed, struct vd_failure *failure)
{
    const char *address = vd_device_info(managed)->address;
    int ret = 0;

    if (!managed->config)
        return vd_fail(failure, -ENOTSUP,
                       "%s: a companion must keep the device still until the guest's driver is there, and "
                       "this host virtualises config space itself",
                       address);
    vd_device_lock(managed);
    if (managed->has_companion) {
        ret = vd_fail(failure, -EBUSY, "%s: it has a companion already", address);
    } else {
        managed->has_companion = true;
        vd_device_hold(managed, true);
    }
    vd_device_unlock(managed);
    return ret;
}

static void set_up(struct vd_companion *c, struct vd_device *managed, const struct vd_companion_options *o)
{
    c->managed = managed;
    c->guest_bdf = o->guest_bdf;
    c->max_entries = o->max_entries ? o->max_entries : VD_APPLE_DMA_MAX_ENTRIES;
    c->quota_bytes = o->quota_bytes ? o->quota_bytes : UINT64_MAX;
    c->quota_mappings = o->quota_mappings ? o->quota_mappings : UINT64_MAX;
    c->taken = vd_counted(&managed->dma.taken);
    fill_config(c->config);
}

int vd_companion_create(struct vd_context *context, struct vd_device *managed,
                        const struct vd_companion_options *options, struct vd_device **out,
                        struct vd_error *error)
{
    struct vd_failure *failure = vd_failure_of(error);
    int ret = check_options(options, failure);
    char address[ADDRESS_MAX];
    struct vd_companion *c;
    struct vd_host_info info;

    *out = NULL;
    if (ret)
        return ret;
    snprintf(address, sizeof(address), "companion:%s", vd_device_info(managed)->address);
    c = vd_env_alloc(&context->env, 1, sizeof(*c));
    if (!c)
        return vd_fail(failure, -ENOMEM, "%s: out of memory", address);
    c->env = &context->env;
    ret = take(managed, failure);
    if (ret) {
        vd_env_free(c->env, c);
        return ret;
    }
    set_up(c, managed, options);
    describe(c, &info);
    ret = vd_device_adopt(context, &vd_companion_ops, address, c, &info, out, failure);
    if (ret)
        give_up(c);
    else
        c->self = *out;
    return ret;
}

bool vd_companion_stats(const struct vd_device *companion, struct vd_companion_stats *out)
{
    const struct vd_companion_counters *n;
    const struct vd_companion *c;

    *out = (struct vd_companion_stats){0};
    if (companion->ops != &vd_companion_ops)
        return false;
    c = companion->host;
    n = &c->counters;
    *out = (struct vd_companion_stats){
        .active = atomic_load_explicit(&n->active, memory_order_relaxed) &&
                  atomic_load(&c->epoch) == atomic_load(&c->managed->epoch),
        .wide = atomic_load_explicit(&n->wide, memory_order_relaxed),
        .doorbells = vd_counted(&n->doorbells),
        .maps = vd_counted(&n->maps),
        .unmaps = vd_counted(&n->unmaps),
        .refused = vd_counted(&n->refused),
        .lost = vd_counted(&n->lost),
        .bytes = vd_counted(&n->bytes),
        .mappings = vd_counted(&n->mappings),
    };
    return true;
}
