/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Virtual config space at work: accesses by masks, the few writes that do more than that, and resets; see config.h.
 * config_make.c makes it. Section numbers: PCI Local Bus 3.0 (PCI), PCI Express Base 6.0 (PCIe), PCI Power Management 1.2 (PM).
 */
#include "core/config.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/le.h"
#include "base/range.h"

enum {
    OFF_VENDOR = 0x00,
    OFF_COMMAND = 0x04,
    OFF_BAR0 = 0x10,
    OFF_BARS_END = 0x28,
    COMMAND_MASTER = 0x0004,
    ALL_ONES = 0xffff,
    PM_STATE = 0x03,
    PM_D3HOT = 3,
    PCIE_DEVCAP = 4,
    PCIE_DEVCAP_FLR = 0x10, /* in the register's highest byte */
    PCIE_DEVCTL_FLR = 0x80, /* likewise */
    AF_CAP = 3,
    AF_CAP_FLR = 0x02,
    AF_CONTROL_FLR = 0x01,
    MSIX_MASKED = 1,
};

#define BAR_ADDRESS 0xfffffff0u /* beside the bits that say the kind (PCI 6.2.5.1) */

/* The hardware. */

static int hardware_read(const struct vd_config *c, unsigned offset, void *buffer, unsigned width)
{
    return c->ops->region_read(c->host, VD_REGION_CONFIG, offset, buffer, width);
}

static int hardware_write(const struct vd_config *c, unsigned offset, const void *buffer, unsigned width)
{
    return c->ops->region_write(c->host, VD_REGION_CONFIG, offset, buffer, width);
}

/* COMMAND as the guest wants it, but for what must stay as it is; see its row. */
static int write_command(const struct vd_config *c)
{
    uint8_t bytes[2];
    uint16_t before, after;
    int ret = hardware_read(c, OFF_COMMAND, bytes, 2);

    if (ret)
        return ret;
    before = vd_load16(bytes);
    after = (uint16_t)((before & ~c->command) | (vd_load16(c->value + OFF_COMMAND) & c->command) | c->fixed);
    if (c->power || c->held)
        after &= (uint16_t)~COMMAND_MASTER;
    vd_store16(bytes, after);
    return after == before ? 0 : hardware_write(c, OFF_COMMAND, bytes, 2);
}

/* Whether the function answers config accesses at all. */
static int check_presence(const struct vd_config *c)
{
    uint8_t vendor[2];
    int ret = hardware_read(c, OFF_VENDOR, vendor, 2);

    return ret ? ret : vd_load16(vendor) == ALL_ONES ? -EIO : 0;
}

/*
 * Whether the function was reset behind the host's back, as a guest can do through a register of the device (NVMe's
 * subsystem reset): no BAR has an address any more. A host that moves BARs never gives them none.
 */
static bool was_reset(const struct vd_config *c, uint8_t now[][4])
{
    bool had_one = false;

    for (unsigned i = 0; i < c->nr_restores; i++) {
        if (c->restores[i].offset < OFF_BAR0 || c->restores[i].offset >= OFF_BARS_END)
            continue;
        if (vd_load32(now[i]) & BAR_ADDRESS)
            return false;
        had_one |= (vd_load32(c->restores[i].value) & BAR_ADDRESS) != 0;
    }
    return had_one;
}

/* Notes the host's registers, unless the function does not answer or a reset has lost them. */
static void save_registers(struct vd_config *c)
{
    uint8_t now[VD_CONFIG_RESTORES][4];

    if (c->registers_lost || check_presence(c))
        return;
    for (unsigned i = 0; i < c->nr_restores; i++) {
        if (hardware_read(c, c->restores[i].offset, now[i], c->restores[i].width))
            return;
    }
    if (was_reset(c, now))
        return;
    for (unsigned i = 0; i < c->nr_restores; i++)
        memcpy(c->restores[i].value, now[i], c->restores[i].width);
}

/* Puts back what the reset lost; a host that does so itself leaves nothing to write. */
static int restore_registers(struct vd_config *c)
{
    uint8_t bytes[4];
    int ret = check_presence(c);

    for (unsigned i = 0; i < c->nr_restores && !ret; i++) {
        ret = hardware_read(c, c->restores[i].offset, bytes, c->restores[i].width);
        if (!ret && memcmp(bytes, c->restores[i].value, c->restores[i].width) != 0)
            ret = hardware_write(c, c->restores[i].offset, c->restores[i].value, c->restores[i].width);
    }
    c->registers_lost = ret != 0;
    return ret;
}

static void reset_msix(struct vd_msix *msix)
{
    for (unsigned i = 0; i < msix->entries; i++) {
        uint8_t *entry = msix->table + (size_t)i * VD_MSIX_ENTRY;

        memset(entry, 0, VD_MSIX_ENTRY);
        entry[12] = MSIX_MASKED; /* PCI 6.8.2.9 */
    }
}

int vd_config_forget(struct vd_config *c)
{
    memcpy(c->value, c->initial, sizeof(c->value));
    c->power = 0;
    reset_msix(&c->msix);
    return write_command(c);
}

int vd_config_hold(struct vd_config *c, bool hold)
{
    c->held = hold;
    return write_command(c);
}

int vd_config_refresh(struct vd_config *c)
{
    int ret;

    if (!c->can_reset)
        return -ENOTSUP;
    save_registers(c);
    ret = c->ops->reset(c->host);
    return ret ? ret : restore_registers(c);
}

int vd_config_reset(struct vd_config *c)
{
    int ret = vd_config_refresh(c);

    return ret ? ret : vd_config_forget(c);
}

/* Writes that do more. */

struct written {
    unsigned offset;
    const uint8_t *bytes;
    size_t count;
};

/* The byte as the guest wrote it; 0 where it did not write. */
static uint8_t written_at(const struct written *w, unsigned at)
{
    return at >= w->offset && at - w->offset < w->count ? w->bytes[at - w->offset] : 0;
}

static int command_written(struct vd_config *c, unsigned at, const struct written *w)
{
    (void)at;
    (void)w;
    return write_command(c);
}

/*
 * Bus mastering is off in D3hot. The way out is a reset unless the function says that it keeps its state (PM 5.4.1); what
 * the guest has written is gone then.
 */
static int power_written(struct vd_config *c, unsigned at, const struct written *w)
{
    uint8_t state = c->value[at] & PM_STATE;
    uint8_t before = c->power;

    (void)w;
    if (state != 0 && state != PM_D3HOT) { /* PM 3.2.4: a state that the function lacks is dropped */
        c->value[at] = (uint8_t)((c->value[at] & ~PM_STATE) | before);
        return 0;
    }
    c->power = state;
    if (state == before)
        return 0;
    return state == 0 && c->soft_reset ? vd_config_reset(c) : write_command(c);
}

/* PCI 6.8.1.3: no more messages enabled (bits 6:4) than offered (bits 3:1). */
static int msi_written(struct vd_config *c, unsigned at, const struct written *w)
{
    uint8_t control = c->value[at];
    uint8_t offered = control >> 1 & 7;

    (void)w;
    if ((control >> 4 & 7) > offered)
        c->value[at] = (uint8_t)((control & ~0x70) | offered << 4);
    return 0;
}

static int pcie_flr_written(struct vd_config *c, unsigned at, const struct written *w)
{
    bool offered = c->value[c->pcie + PCIE_DEVCAP + 3] & PCIE_DEVCAP_FLR;

    return offered && written_at(w, at + 1) & PCIE_DEVCTL_FLR ? vd_config_reset(c) : 0;
}

static int af_flr_written(struct vd_config *c, unsigned at, const struct written *w)
{
    bool offered = c->value[c->af + AF_CAP] & AF_CAP_FLR;

    return offered && written_at(w, at) & AF_CONTROL_FLR ? vd_config_reset(c) : 0;
}

static int run_effects(struct vd_config *c, const struct written *w)
{
    static int (*const handlers[])(struct vd_config * c, unsigned at, const struct written *w) = {
        [VD_EFFECT_COMMAND] = command_written, [VD_EFFECT_POWER] = power_written,
        [VD_EFFECT_MSI] = msi_written,         [VD_EFFECT_PCIE_FLR] = pcie_flr_written,
        [VD_EFFECT_AF_FLR] = af_flr_written,
    };
    int ret = 0;

    for (unsigned i = 0; i < c->nr_effects && !ret; i++) {
        unsigned at = c->effects[i].offset;

        if (at < w->offset + w->count && at + c->effects[i].width > w->offset)
            ret = handlers[c->effects[i].effect](c, at, w);
    }
    return ret;
}

/* Accesses: in natural pieces of at most 4 bytes, as config space is accessed on a bus. */

static unsigned natural_width(unsigned offset, size_t count)
{
    unsigned width = 4;

    while (width > count || !vd_is_aligned(offset, width))
        width /= 2;
    return width;
}

static bool all_kept(const struct vd_config *c, unsigned offset, unsigned width)
{
    for (unsigned i = 0; i < width; i++) {
        if (c->kept[offset + i] != 0xff)
            return false;
    }
    return true;
}

static int read_piece(const struct vd_config *c, unsigned offset, uint8_t *out, unsigned width)
{
    uint8_t bytes[4] = {0};
    int ret = all_kept(c, offset, width) ? 0 : hardware_read(c, offset, bytes, width);

    for (unsigned i = 0; i < width; i++) {
        uint8_t kept = c->kept[offset + i];

        out[i] = (uint8_t)((bytes[i] & ~kept) | (c->value[offset + i] & kept));
    }
    return ret;
}

int vd_config_read(struct vd_config *c, unsigned offset, void *buffer, size_t count)
{
    uint8_t *out = buffer;
    int ret = 0;

    assert(vd_span_fits(offset, count, c->size));
    while (count && !ret) {
        unsigned width = natural_width(offset, count);

        ret = read_piece(c, offset, out, width);
        offset += width;
        out += width;
        count -= width;
    }
    return ret;
}

/* Whether the byte has anything for the hardware: bits to clear count only when they are written as 1. */
static bool is_due(const struct vd_config *c, unsigned at, uint8_t byte)
{
    return (c->forward[at] & ~c->zero[at]) || (c->forward[at] & byte);
}

/*
 * Writes [offset, offset + width), each byte of which has something for the hardware: as the guest wrote it when it may write
 * every bit, else with the other bits as they are.
 */
static int forward_bytes(const struct vd_config *c, unsigned offset, const uint8_t *in, unsigned width)
{
    uint8_t bytes[4];
    bool whole = true;
    int ret;

    for (unsigned i = 0; i < width; i++)
        whole &= c->forward[offset + i] == 0xff;
    if (whole)
        return hardware_write(c, offset, in, width);
    ret = hardware_read(c, offset, bytes, width);
    if (ret)
        return ret;
    for (unsigned i = 0; i < width; i++) {
        uint8_t forward = c->forward[offset + i];

        bytes[i] = (uint8_t)((bytes[i] & ~forward & ~c->zero[offset + i]) | (in[i] & forward));
    }
    return hardware_write(c, offset, bytes, width);
}

/* Writes to the hardware what of [offset, offset + width) is forwarded, and no byte beside that. */
static int forward_piece(const struct vd_config *c, unsigned offset, const uint8_t *in, unsigned width)
{
    unsigned i = 0;
    int ret = 0;

    while (i < width && !ret) {
        unsigned run = 0;

        while (i + run < width && is_due(c, offset + i + run, in[i + run]))
            run++;
        if (run) {
            run = natural_width(offset + i, run);
            ret = forward_bytes(c, offset + i, in + i, run);
        }
        i += run ? run : 1;
    }
    return ret;
}

static int write_piece(struct vd_config *c, unsigned offset, const uint8_t *in, unsigned width)
{
    for (unsigned i = 0; i < width; i++) {
        uint8_t own = c->kept[offset + i] & c->guest[offset + i];

        c->value[offset + i] = (uint8_t)((c->value[offset + i] & ~own) | (in[i] & own));
    }
    return forward_piece(c, offset, in, width);
}

int vd_config_write(struct vd_config *c, unsigned offset, const void *buffer, size_t count)
{
    struct written w = {offset, buffer, count};
    int ret = 0;

    assert(vd_span_fits(offset, count, c->size));
    for (size_t done = 0; done < count && !ret;) {
        unsigned at = offset + (unsigned)done;
        unsigned width = natural_width(at, count - done);

        ret = write_piece(c, at, w.bytes + done, width);
        done += width;
    }
    return ret ? ret : run_effects(c, &w);
}

/* The MSI-X table. */

void vd_msix_read(const struct vd_msix *msix, uint64_t offset, void *buffer, size_t count)
{
    assert(vd_span_fits(offset, count, vd_msix_table_size(msix)));
    memcpy(buffer, msix->table + offset, count);
}

/* PCI 6.8.2.7 to 6.8.2.9: the address is a multiple of 4, and of the control word there is the mask bit. */
void vd_msix_write(struct vd_msix *msix, uint64_t offset, const void *buffer, size_t count)
{
    static const uint8_t writable[VD_MSIX_ENTRY] = {0xfc, 0xff, 0xff, 0xff, 0xff, 0xff,       0xff,
                                                    0xff, 0xff, 0xff, 0xff, 0xff, MSIX_MASKED};
    const uint8_t *in = buffer;

    assert(vd_span_fits(offset, count, vd_msix_table_size(msix)));
    for (size_t i = 0; i < count; i++)
        msix->table[offset + i] = in[i] & writable[(offset + i) % VD_MSIX_ENTRY];
}
