/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making a virtual config space: the hardware's is copied once, rows and capabilities are laid over it, and what depends on
 * the host's offer is filled in; see config.h. Section numbers: PCI Local Bus 3.0 (PCI), PCI Express Base 6.0 (PCIe).
 */
#include "core/config.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/le.h"
#include "base/range.h"

enum {
    OFF_VENDOR = 0x00,
    OFF_HEADER_TYPE = 0x0e,
    OFF_BAR0 = 0x10,
    OFF_ROM = 0x30,
    OFF_PIN = 0x3d,
    BARS = 6,
    COMMAND_MEMORY = 0x0002,
    COMMAND_INTX_DISABLE = 0x0400,
    HEADER_LAYOUT = 0x7f,
    ALL_ONES = 0xffff,
    BAR_64BIT = 0x4,
    BAR_PREFETCHABLE = 0x8,
    BAR_MIN = 16,   /* PCI 6.2.5.1 */
    ROM_MIN = 2048, /* PCI 6.2.5.2 */
    ROM_ENABLE = 0x1,
    PM_CONTROL = 4,
    PM_NO_SOFT_RESET = 0x08,
    PCIE_DEVCAP = 4,
    PCIE_DEVCAP_FLR = 0x10, /* in the register's highest byte */
    AF_CAP = 3,
    AF_CAP_BOTH = 0x03, /* FLR, and a bit that tells when transactions are over: one needs the other */
    MSI_CONTROL = 2,
    MSIX_CONTROL = 2,
};

/* Lays the bits of one row over a register that starts at `at`. */
static void lay_row(struct vd_config *c, const uint8_t *hardware, const struct vd_config_row *row,
                    unsigned at)
{
    bool write_through = row->effect != VD_EFFECT_COMMAND;

    for (unsigned i = 0; i < row->width; i++) {
        uint8_t kept = (uint8_t)(row->kept >> 8 * i);

        c->kept[at + i] |= kept;
        c->guest[at + i] |= (uint8_t)(row->guest >> 8 * i);
        c->forward[at + i] |= write_through ? (uint8_t)(row->forward >> 8 * i) : 0;
        c->zero[at + i] |= (uint8_t)(row->zero >> 8 * i);
        if (row->reset == VD_RESET_HARDWARE)
            c->value[at + i] |= hardware[at + i] & kept;
    }
    if (row->effect == VD_EFFECT_COMMAND)
        c->command = (uint16_t)row->forward;
    if (row->effect) {
        assert(c->nr_effects < VD_CONFIG_EFFECTS);
        c->effects[c->nr_effects].offset = (uint16_t)at;
        c->effects[c->nr_effects].width = row->width;
        c->effects[c->nr_effects++].effect = row->effect;
    }
    if (row->restore) {
        assert(c->nr_restores < VD_CONFIG_RESTORES);
        c->restores[c->nr_restores].offset = (uint16_t)at;
        c->restores[c->nr_restores].width = row->width;
        memcpy(c->restores[c->nr_restores++].value, hardware + at, row->width);
    }
}

void vd_config_lay(struct vd_config *c, const uint8_t *hardware, uint32_t of, unsigned at, unsigned length,
                   unsigned layout)
{
    for (size_t i = 0; i < vd_config_nr_rows; i++) {
        const struct vd_config_row *row = &vd_config_rows[i];

        if (row->of == of && vd_span_fits(row->offset, row->width, length) &&
            (!row->layouts || row->layouts & layout))
            lay_row(c, hardware, row, at + row->offset);
    }
}

static uint64_t round_up_power_of_two(uint64_t size, uint64_t least)
{
    uint64_t rounded = least;

    while (rounded < size)
        rounded *= 2;
    return rounded;
}

static void take_out(const struct vd_config *c, struct vd_region_info *region, unsigned index)
{
    vd_warn(c->env, "%s: region %u of 0x%llx bytes fits no base address register; it is hidden", c->address,
            index, (unsigned long long)region->size);
    *region = (struct vd_region_info){0};
}

/* PCI 6.2.5.1: a 64-bit BAR takes two registers, a 32-bit one ends below 4 GiB and so is not larger than 2. */
static void check_bars(const struct vd_config *c, struct vd_host_info *info)
{
    for (unsigned bar = 0; bar < BARS; bar++) {
        struct vd_region_info *region = &info->regions[bar];
        bool is64 = region->flags & VD_REGION_64BIT;

        if (!region->size)
            continue;
        if (is64 ? bar == BARS - 1 || region[1].size || region->size > 1ull << 62 : region->size > 1ull << 31)
            take_out(c, region, bar);
    }
    if (info->regions[VD_REGION_ROM].size > 1ull << 31)
        take_out(c, &info->regions[VD_REGION_ROM], VD_REGION_ROM);
}

/* What sticks of all ones is the size; the low bits say the kind. */
static void compute_bar(struct vd_config *c, const struct vd_region_info *region, unsigned bar)
{
    unsigned at = OFF_BAR0 + 4 * bar;
    uint64_t mask = region->size ? ~(round_up_power_of_two(region->size, BAR_MIN) - 1) : 0;
    uint32_t kind = (region->flags & VD_REGION_64BIT ? BAR_64BIT : 0) |
                    (region->flags & VD_REGION_PREFETCHABLE ? BAR_PREFETCHABLE : 0);

    vd_store32(c->guest + at, (uint32_t)mask);
    vd_store32(c->value + at, region->size ? kind : 0);
    if (kind & BAR_64BIT)
        vd_store32(c->guest + at + 4, (uint32_t)(mask >> 32));
}

static void compute_header(struct vd_config *c, const struct vd_host_info *info)
{
    uint64_t rom = info->regions[VD_REGION_ROM].size;

    for (unsigned bar = 0; bar < BARS; bar++) {
        compute_bar(c, &info->regions[bar], bar);
        if (info->regions[bar].size)
            c->fixed |= COMMAND_MEMORY;
        bar += info->regions[bar].size && (info->regions[bar].flags & VD_REGION_64BIT);
    }
    vd_store32(c->guest + OFF_ROM,
               rom ? ~((uint32_t)round_up_power_of_two(rom, ROM_MIN) - 1) | ROM_ENABLE : 0);
    c->value[OFF_PIN] = info->irqs[VD_IRQ_INTX].count > 0;
    if (!info->irqs[VD_IRQ_INTX].count) /* nobody would answer the line: it must stay quiet */
        c->fixed |= COMMAND_INTX_DISABLE;
}

/* PCI 6.8.1.3: the number of messages is coded as a power of two, up to 32. */
static void compute_msi(struct vd_config *c, const uint8_t *hardware, uint32_t count)
{
    uint8_t coded = hardware[c->msi + MSI_CONTROL] >> 1 & 7;

    if (coded > 5)
        coded = 5;
    while (coded && 1u << coded > count)
        coded--;
    c->value[c->msi + MSI_CONTROL] |= (uint8_t)(coded << 1);
}

static void compute_msix(struct vd_config *c, uint32_t count)
{
    uint8_t *control = c->value + c->msix.cap + MSIX_CONTROL;
    unsigned entries = c->msix.entries < count ? c->msix.entries : count;

    vd_store16(control, vd_load16(control) | (uint16_t)(entries - 1));
}

void vd_config_compute(struct vd_config *c, const uint8_t *hardware, const struct vd_host_info *info)
{
    compute_header(c, info);
    if (c->pm) {
        uint8_t keeps = c->can_reset ? hardware[c->pm + PM_CONTROL] & PM_NO_SOFT_RESET : PM_NO_SOFT_RESET;

        c->value[c->pm + PM_CONTROL] |= keeps;
        c->soft_reset = !keeps;
    }
    if (c->pcie && c->can_reset)
        c->value[c->pcie + PCIE_DEVCAP + 3] |= hardware[c->pcie + PCIE_DEVCAP + 3] & PCIE_DEVCAP_FLR;
    if (c->af && c->can_reset && (hardware[c->af + AF_CAP] & AF_CAP_BOTH) == AF_CAP_BOTH)
        c->value[c->af + AF_CAP] |= AF_CAP_BOTH;
    if (c->msi)
        compute_msi(c, hardware, info->irqs[VD_IRQ_MSI].count);
    if (c->msix.cap)
        compute_msix(c, info->irqs[VD_IRQ_MSIX].count);
}

static int copy_hardware(const struct vd_config *c, uint8_t *out, struct vd_failure *failure)
{
    int ret = 0;

    for (unsigned at = 0; at < c->size && !ret; at += 4) {
        ret = c->ops->region_read(c->host, VD_REGION_CONFIG, at, out + at, 4);
        if (at == OFF_VENDOR && !ret && vd_load16(out) == ALL_ONES)
            return vd_fail(
                failure, -ENODEV,
                "%s: the device reads all ones: it was removed, its link is down, or it has no power",
                c->address);
    }
    if (ret)
        return vd_fail(failure, ret, "%s: its config space cannot be read: %s", c->address, strerror(-ret));
    if (out[OFF_HEADER_TYPE] & HEADER_LAYOUT)
        return vd_fail(failure, -ENOTSUP,
                       "%s: this is a bridge (header type %u); only endpoints can be passed through",
                       c->address, out[OFF_HEADER_TYPE] & HEADER_LAYOUT);
    return 0;
}

static int build(struct vd_config *c, struct vd_host_info *info, struct vd_failure *failure)
{
    uint8_t hardware[VD_CONFIG_SIZE] = {0};
    int ret;

    if (info->regions[VD_REGION_CONFIG].size < VD_CONFIG_STANDARD)
        return vd_fail(failure, -EIO, "%s: the host shows only %u bytes of its config space", c->address,
                       (unsigned)info->regions[VD_REGION_CONFIG].size);
    info->regions[VD_REGION_CONFIG].size = c->size;
    ret = copy_hardware(c, hardware, failure);
    if (ret)
        return ret;
    check_bars(c, info);
    vd_config_lay(c, hardware, VD_CONFIG_HEADER, 0, VD_CONFIG_HEADER_SIZE, 0);
    vd_config_place_caps(c, hardware, info);
    vd_config_compute(c, hardware, info);
    memcpy(c->initial, c->value, sizeof(c->initial));
    if (c->msix.entries) {
        c->msix.table = vd_env_alloc(c->env, c->msix.entries, VD_MSIX_ENTRY);
        if (!c->msix.table)
            return vd_fail(failure, -ENOMEM, "%s: out of memory for its MSI-X table", c->address);
    }
    ret = vd_config_forget(c);
    return ret ? vd_fail(failure, ret, "%s: its config space cannot be written: %s", c->address,
                         strerror(-ret))
               : 0;
}

int vd_config_create(const struct vd_env *env, const char *address, const struct vd_backend_ops *ops,
                     void *host, struct vd_host_info *info, struct vd_config **out,
                     struct vd_failure *failure)
{
    struct vd_config *c = vd_env_alloc(env, 1, sizeof(*c));
    int ret;

    *out = NULL;
    if (!c)
        return vd_fail(failure, -ENOMEM, "%s: out of memory for its config space", address);
    c->env = env;
    c->address = address;
    c->ops = ops;
    c->host = host;
    c->can_reset = info->can_reset && ops->reset;
    c->size = info->regions[VD_REGION_CONFIG].size >= VD_CONFIG_SIZE ? VD_CONFIG_SIZE : VD_CONFIG_STANDARD;
    ret = build(c, info, failure);
    if (ret) {
        vd_config_destroy(c);
        return ret;
    }
    *out = c;
    return 0;
}

void vd_config_destroy(struct vd_config *c)
{
    if (!c)
        return;
    vd_env_free(c->env, c->msix.table);
    vd_env_free(c->env, c);
}
