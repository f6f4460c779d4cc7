/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Config space as hardware would have it; see config.h. What a bit does is its masks: written through, cleared by
 * writing one, or hardwired. Section numbers: PCI Local Bus 3.0 (PCI), PCI Express Base 6.0 (PCIe), PCI Power Management
 * 1.2 (PM). No lock: the owner's thread only.
 */
#include "sim/config.h"

#include <assert.h>
#include <string.h>

#include "base/le.h"
#include "base/range.h"

/* PCI 6.1: header type 0. */
enum {
    OFF_VENDOR = 0x00,
    OFF_DEVICE = 0x02,
    OFF_COMMAND = 0x04,
    OFF_STATUS = 0x06,
    OFF_REVISION = 0x08,
    OFF_CLASS = 0x09,
    OFF_CACHE_LINE = 0x0c,
    OFF_HEADER_TYPE = 0x0e,
    OFF_BAR0 = 0x10,
    OFF_SUBVENDOR = 0x2c,
    OFF_SUBDEVICE = 0x2e,
    OFF_ROM = 0x30,
    OFF_CAP_POINTER = 0x34,
    OFF_LINE = 0x3c,
    OFF_PIN = 0x3d,
    OFF_FIRST_CAP = 0x40,
    END_OF_CAPS = 0x100,
};

/* PCI 6.2.2 and 6.2.3. */
enum {
    COMMAND_BUS_MASTER = 0x0004,
    COMMAND_INTX_DISABLE = 0x0400,
    /* memory space, bus master, parity error response, SERR#, INTx disable; I/O space has no BAR to enable */
    COMMAND_WRITABLE = 0x0546,
    STATUS_INTX = 0x0008,
    STATUS_CAP_LIST = 0x0010,
    STATUS_ERRORS = 0xf900,
    HEADER_MULTIFUNCTION = 0x80,
};

/* PCI H and PCIe 7.5.3.1: capability ids. */
enum { CAP_PM = 0x01, CAP_MSI = 0x05, CAP_PCIE = 0x10, CAP_MSIX = 0x11 };

/* PCIe 7.6.3, 7.8, 7.9: extended capabilities. */
enum {
    EXT_CAPS = 0x100,
    EXT_VERSION_SHIFT = 16,
    EXT_NEXT_SHIFT = 20,
    EXT_CAP_AER = 0x01,
    EXT_CAP_SERIAL = 0x03,
    EXT_CAP_ATS = 0x0f,
    EXT_CAP_REBAR = 0x15,
    AER_UNCORRECTABLE = 0x003ff030,
    AER_CORRECTABLE = 0x000031c1,
};

/* PCIe 7.5.3: registers of the PCI Express capability. */
enum {
    PCIE_FLAGS = 0x02,
    PCIE_DEVCAP = 0x04,
    PCIE_DEVCTL = 0x08,
    PCIE_DEVSTA = 0x0a,
    PCIE_LNKCAP = 0x0c,
    PCIE_LNKCTL = 0x10,
    PCIE_LNKSTA = 0x12,
    PCIE_DEVCAP2 = 0x24,
    PCIE_DEVCTL2 = 0x28,
    PCIE_LNKCAP2 = 0x2c,
    PCIE_LNKCTL2 = 0x30,
    PCIE_SIZE = 0x3c,
    DEVCAP_FLR = 1 << 28,
    DEVCTL_MPS = 0x00e0,
    DEVCTL_FLR_HIGH_BYTE = 0x80,
};

static void put16(struct sim_config *c, unsigned offset, uint16_t value, uint16_t writable)
{
    vd_store16(&c->bytes[offset], value);
    vd_store16(&c->writable[offset], writable);
}

static void put32(struct sim_config *c, unsigned offset, uint32_t value, uint32_t writable)
{
    vd_store32(&c->bytes[offset], value);
    vd_store32(&c->writable[offset], writable);
}

void sim_config_init(struct sim_config *config, const struct sim_identity *identity)
{
    memset(config, 0, sizeof(*config));
    config->next_free = OFF_FIRST_CAP;
    put16(config, OFF_VENDOR, identity->vendor, 0);
    put16(config, OFF_DEVICE, identity->device, 0);
    put16(config, OFF_COMMAND, 0, COMMAND_WRITABLE);
    vd_store16(&config->clear_by_one[OFF_STATUS], STATUS_ERRORS);
    put32(config, OFF_REVISION, identity->revision | identity->class_code << 8, 0);
    config->writable[OFF_CACHE_LINE] = 0xff; /* PCIe 7.5.1.1.7: kept for software, without effect */
    put16(config, OFF_SUBVENDOR, identity->subvendor, 0);
    put16(config, OFF_SUBDEVICE, identity->subdevice, 0);
    config->writable[OFF_LINE] = 0xff;
    config->bytes[OFF_PIN] = identity->intx_pin;
}

void sim_config_bar(struct sim_config *config, unsigned bar, uint64_t size, bool is64, bool prefetchable)
{
    unsigned offset = OFF_BAR0 + 4 * bar;
    uint64_t mask = ~(size - 1);

    assert(vd_is_power_of_two(size) && size >= 16 && bar + is64 < SIM_BARS && (is64 || size <= 1u << 31));
    put32(config, offset, (is64 ? 4u : 0) | (prefetchable ? 8u : 0), (uint32_t)mask);
    if (is64)
        put32(config, offset + 4, 0, (uint32_t)(mask >> 32));
}

void sim_config_rom(struct sim_config *config, uint64_t size)
{
    assert(vd_is_power_of_two(size) && size >= 2048 && size <= 1u << 24);
    put32(config, OFF_ROM, 0, ~((uint32_t)size - 1) | 1); /* bit 0: decode enable */
}

/* Links a capability of `size` bytes into the chain (PCI 6.7). */
static uint16_t add_cap(struct sim_config *config, uint8_t id, unsigned size)
{
    uint16_t offset = config->next_free;
    unsigned link = config->last_cap ? config->last_cap + 1u : OFF_CAP_POINTER;

    assert(offset + size <= END_OF_CAPS);
    config->bytes[link] = (uint8_t)offset;
    config->bytes[offset] = id;
    config->bytes[OFF_STATUS] |= STATUS_CAP_LIST;
    config->last_cap = offset;
    config->next_free = (uint16_t)((offset + size + 3) & ~3u);
    return offset;
}

uint16_t sim_config_add_pm(struct sim_config *config)
{
    uint16_t at = add_cap(config, CAP_PM, 8);

    put16(config, at + 2u, 0x0003, 0); /* PM 3.2.3: version 3, no D1, no D2, no PME# */
    /* PM 3.2.4: the power state can be written; No_Soft_Reset, because D3hot to D0 keeps our state */
    put16(config, at + 4u, 0x0008, 0x0003);
    config->pm = at;
    return at;
}

uint16_t sim_config_add_pcie(struct sim_config *config, bool flr)
{
    uint16_t at = add_cap(config, CAP_PCIE, PCIE_SIZE);

    put16(config, at + PCIE_FLAGS, 0x0002, 0); /* 7.5.3.2: version 2, endpoint */
    /* 7.5.3.3: 256-byte payloads, extended tags, role-based error reporting */
    put32(config, at + PCIE_DEVCAP, 0x00008021u | (flr ? (uint32_t)DEVCAP_FLR : 0), 0);
    /* 7.5.3.4: relaxed ordering, no snoop, 512-byte reads; FLR always reads as 0 */
    put16(config, at + PCIE_DEVCTL, 0x2810, 0x79ff);
    vd_store16(&config->clear_by_one[at + PCIE_DEVSTA], 0x000f); /* 7.5.3.5 */
    put32(config, at + PCIE_LNKCAP, 0x00400043, 0);              /* 7.5.3.6: 8 GT/s, four lanes */
    put16(config, at + PCIE_LNKCTL, 0, 0x01cb);                  /* 7.5.3.7 */
    put16(config, at + PCIE_LNKSTA, 0x0043, 0);                  /* 7.5.3.8: as capable */
    put32(config, at + PCIE_DEVCAP2, 0x00000010, 0);  /* 7.5.3.15: completion timeout can be disabled */
    put16(config, at + PCIE_DEVCTL2, 0, 0x0010);      /* 7.5.3.16 */
    put32(config, at + PCIE_LNKCAP2, 0x0000000e, 0);  /* 7.5.3.18: 2.5, 5 and 8 GT/s */
    put16(config, at + PCIE_LNKCTL2, 0x0003, 0x000f); /* 7.5.3.19: target speed */
    config->pcie = at;
    return at;
}

uint16_t sim_config_add_msi(struct sim_config *config, unsigned vectors)
{
    uint16_t at = add_cap(config, CAP_MSI, 14);
    unsigned log2 = 0;

    assert(vd_is_power_of_two(vectors) && vectors <= 32);
    while (1u << log2 < vectors)
        log2++;
    /* PCI 6.8.1.3: 64-bit address, messages capable; enable and messages enabled can be written */
    put16(config, at + 2u, (uint16_t)(0x0080 | log2 << 1), 0x0071);
    put32(config, at + 4u, 0, 0xfffffffc);
    put32(config, at + 8u, 0, 0xffffffff);
    put16(config, at + 12u, 0, 0xffff);
    config->msi = at;
    return at;
}

uint16_t sim_config_add_msix(struct sim_config *config, unsigned vectors, unsigned table_bar,
                             uint32_t table_offset, unsigned pba_bar, uint32_t pba_offset)
{
    uint16_t at = add_cap(config, CAP_MSIX, 12);

    assert(vectors >= 1 && vectors <= 2048 && table_bar < SIM_BARS && pba_bar < SIM_BARS);
    assert(vd_is_aligned(table_offset | pba_offset, 8));
    /* PCI 6.8.2.3: the table's size less one; enable and function mask can be written */
    put16(config, at + 2u, (uint16_t)(vectors - 1), 0xc000);
    put32(config, at + 4u, table_offset | table_bar, 0);
    put32(config, at + 8u, pba_offset | pba_bar, 0);
    config->msix = at;
    return at;
}

/* Links an extended capability of `size` bytes into the second chain (PCIe 7.6.2), which starts at 0x100. */
static uint16_t add_ext_cap(struct sim_config *config, uint16_t id, unsigned version, unsigned size)
{
    uint16_t offset = config->next_ext ? config->next_ext : EXT_CAPS;

    assert(offset + size <= SIM_CONFIG_SIZE);
    if (config->last_ext)
        put32(config, config->last_ext,
              vd_load32(&config->bytes[config->last_ext]) | (uint32_t)offset << EXT_NEXT_SHIFT, 0);
    put32(config, offset, id | version << EXT_VERSION_SHIFT, 0);
    config->last_ext = offset;
    config->next_ext = (uint16_t)((offset + size + 3) & ~3u);
    return offset;
}

uint16_t sim_config_add_aer(struct sim_config *config)
{
    uint16_t at = add_ext_cap(config, EXT_CAP_AER, 2, 0x48);

    /* 7.8.4: the errors every function reports; unsupported requests are the only advisory ones here */
    vd_store32(&config->clear_by_one[at + 4u], AER_UNCORRECTABLE);
    put32(config, at + 8u, 0, AER_UNCORRECTABLE);
    put32(config, at + 0xcu, 0x00062010, AER_UNCORRECTABLE);
    vd_store32(&config->clear_by_one[at + 0x10u], AER_CORRECTABLE);
    put32(config, at + 0x14u, 0x00002000, AER_CORRECTABLE);
    config->aer = at;
    return at;
}

uint16_t sim_config_add_serial(struct sim_config *config, uint64_t serial)
{
    uint16_t at = add_ext_cap(config, EXT_CAP_SERIAL, 1, 12);

    put32(config, at + 4u, (uint32_t)serial, 0);
    put32(config, at + 8u, (uint32_t)(serial >> 32), 0);
    return at;
}

uint16_t sim_config_add_rebar(struct sim_config *config, unsigned bar, uint64_t size)
{
    uint16_t at = add_ext_cap(config, EXT_CAP_REBAR, 1, 12);
    unsigned log2 = 0;

    assert(vd_is_power_of_two(size) && bar < SIM_BARS);
    while (1ull << (20 + log2) < size && log2 < 19)
        log2++;
    /* 7.8.6: every size from 1 MiB to 512 GiB, one BAR; the size can be written */
    put32(config, at + 4u, 0x00fffff0, 0);
    put32(config, at + 8u, bar | 1u << 5 | log2 << 8, 0x3f00);
    config->rebar = at;
    return at;
}

uint16_t sim_config_add_ats(struct sim_config *config)
{
    uint16_t at = add_ext_cap(config, EXT_CAP_ATS, 1, 8);

    put16(config, at + 4u, 0x0020, 0); /* 10.5.1.2: page-aligned requests */
    put16(config, at + 6u, 0, 0x801f); /* 10.5.1.3: enable, smallest translation unit */
    config->ats = at;
    return at;
}

void sim_config_seal(struct sim_config *config)
{
    memcpy(config->initial, config->bytes, sizeof(config->bytes));
}

void sim_config_set_multifunction(struct sim_config *config)
{
    config->bytes[OFF_HEADER_TYPE] |= HEADER_MULTIFUNCTION;
    config->initial[OFF_HEADER_TYPE] |= HEADER_MULTIFUNCTION;
}

/* PCIe 6.6.2: an FLR leaves these to whoever set up the link and the hierarchy. */
static void keep_over_reset(struct sim_config *config, uint8_t *bytes)
{
    unsigned at = config->pcie;
    uint16_t devctl;

    if (!at)
        return;
    devctl = vd_load16(&bytes[at + PCIE_DEVCTL]) & (uint16_t)~DEVCTL_MPS;
    devctl |= vd_load16(&config->bytes[at + PCIE_DEVCTL]) & DEVCTL_MPS;
    vd_store16(&bytes[at + PCIE_DEVCTL], devctl);
    memcpy(&bytes[at + PCIE_LNKCTL], &config->bytes[at + PCIE_LNKCTL], 2);
    memcpy(&bytes[at + PCIE_LNKCTL2], &config->bytes[at + PCIE_LNKCTL2], 2);
}

void sim_config_reset(struct sim_config *config)
{
    uint8_t fresh[SIM_CONFIG_SIZE];

    memcpy(fresh, config->initial, sizeof(fresh));
    keep_over_reset(config, fresh);
    memcpy(config->bytes, fresh, sizeof(fresh));
}

void sim_config_hot_reset(struct sim_config *config)
{
    memcpy(config->bytes, config->initial, sizeof(config->bytes));
}

void sim_config_read(const struct sim_config *config, unsigned offset, void *buffer, size_t count)
{
    assert(vd_span_fits(offset, count, SIM_CONFIG_SIZE));
    memcpy(buffer, &config->bytes[offset], count);
}

static bool touches(unsigned offset, size_t count, unsigned byte)
{
    return byte >= offset && byte - offset < count;
}

/* PM 3.2.4: a write of a state that the function does not have is dropped. */
static void keep_valid_power_state(struct sim_config *config, uint8_t before)
{
    uint8_t *pmcsr = &config->bytes[config->pm + 4u];

    if ((*pmcsr & 3) == 1 || (*pmcsr & 3) == 2)
        *pmcsr = before;
}

static unsigned effects_of(const struct sim_config *config, unsigned offset, const uint8_t *bytes,
                           size_t count)
{
    unsigned flr_byte = config->pcie + PCIE_DEVCTL + 1u;
    unsigned effects = 0;

    if (touches(offset, count, OFF_COMMAND) || touches(offset, count, OFF_COMMAND + 1))
        effects |= SIM_CONFIG_COMMAND;
    if (config->pm && touches(offset, count, config->pm + 4u))
        effects |= SIM_CONFIG_POWER;
    if (config->pcie && touches(offset, count, flr_byte) &&
        (bytes[flr_byte - offset] & DEVCTL_FLR_HIGH_BYTE) &&
        (vd_load32(&config->bytes[config->pcie + PCIE_DEVCAP]) & DEVCAP_FLR))
        effects |= SIM_CONFIG_FLR;
    return effects;
}

unsigned sim_config_write(struct sim_config *config, unsigned offset, const void *buffer, size_t count)
{
    const uint8_t *in = buffer;
    uint8_t power_before = config->bytes[config->pm + 4u];
    unsigned effects;

    assert(vd_span_fits(offset, count, SIM_CONFIG_SIZE));
    for (size_t i = 0; i < count; i++) {
        uint8_t *byte = &config->bytes[offset + i];
        uint8_t writable = config->writable[offset + i];

        *byte = (uint8_t)((*byte & ~writable) | (in[i] & writable));
        *byte &= (uint8_t) ~(in[i] & config->clear_by_one[offset + i]);
    }
    effects = effects_of(config, offset, in, count);
    if (effects & SIM_CONFIG_POWER)
        keep_valid_power_state(config, power_before);
    return effects;
}

bool sim_config_bus_master(const struct sim_config *config)
{
    return vd_load16(&config->bytes[OFF_COMMAND]) & COMMAND_BUS_MASTER;
}

bool sim_config_intx_disabled(const struct sim_config *config)
{
    return vd_load16(&config->bytes[OFF_COMMAND]) & COMMAND_INTX_DISABLE;
}

bool sim_config_powered(const struct sim_config *config)
{
    return !config->pm || (config->bytes[config->pm + 4u] & 3) == 0;
}

void sim_config_set_intx_status(struct sim_config *config, bool asserted)
{
    uint16_t status = vd_load16(&config->bytes[OFF_STATUS]) & (uint16_t)~STATUS_INTX;

    vd_store16(&config->bytes[OFF_STATUS], asserted ? status | STATUS_INTX : status);
}
