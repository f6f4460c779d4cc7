/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A chip with nearly every capability there is, each at an address that the tests know by name, and with every bit that
 * belongs to the host marked: what config space may show of it and let through is what the config tests are about.
 */
#ifndef TESTS_UNIT_CORE_LARGE_CHIP_H
#define TESTS_UNIT_CORE_LARGE_CHIP_H

#include "chip.h"

/* Where large_chip() puts things. */
enum {
    PM = 0x40,
    VPD = 0x48,
    MSI = 0x50,
    PCIE = 0x68,
    MSIX = 0xa0,
    VENDOR = 0xac,
    AF = 0xbc,
    EA = 0xc4,
    UNKNOWN = 0xd8,
    LAST = 0xe0,
    GAP = 0xe8,
    REBAR = 0x100,
    AER = 0x110,
    ACS = 0x140,
    ATS = 0x168,
    PRI = 0x170,
    PASID = 0x180,
    SRIOV = 0x188,
    L1SS = 0x1c8,
    LTR = 0x1d8,
    VC = 0x1e0,
    DPC = 0x1fc,
    SERIAL = 0x210,
    VSEC = 0x21c,
    DOE = 0x23c,
    DVSEC = 0x254,
    EXT_GAP = 0x264,
};

/* The host's bits in the header and in what large_chip() adds, written down once more, not taken from the rows. */
static inline void mark_owned(struct chip *chip)
{
    chip_own(chip, 0x04, 0x0002, 2);        /* memory decoding */
    chip_own_range(chip, 0x0c, 1);          /* cache line */
    chip_own_range(chip, 0x0d, 51);         /* all the rest of the header */
    chip_own_range(chip, PM, 8);            /* power */
    chip_own(chip, VPD + 2, 0x8000, 2);     /* the write flag */
    chip_own_range(chip, VPD + 4, 4);       /* and its data */
    chip_own_range(chip, MSI, 24);          /* message addresses and data */
    chip_own_range(chip, PCIE, 8);          /* capabilities */
    chip_own(chip, PCIE + 8, 0xffef, 2);    /* payload, read requests, FLR; not relaxed ordering */
    chip_own_range(chip, PCIE + 0xc, 0x28); /* the link, and second control */
    chip_own_range(chip, MSIX, 12);
    chip_own_range(chip, VENDOR, 2);
    chip_own_range(chip, AF, 8);
    chip_own_range(chip, EA, UNKNOWN - EA); /* bus addresses */
    chip_own_range(chip, UNKNOWN, LAST - UNKNOWN);
    chip_own_range(chip, LAST, 2);
    chip_own_range(chip, REBAR, 12);
    chip_own_range(chip, AER, VSEC + 8 - AER); /* everything from AER to the first vendor register */
    chip_own_range(chip, DOE, EXT_GAP - DOE);
    memset(chip->owned + VSEC, 0xff, 4);
    memset(chip->owned + VSEC + 4, 0, 0x1c);
    memset(chip->owned + REBAR + 12, 0, AER - REBAR - 12);
}

static inline void add_standard(struct chip *chip)
{
    chip_list(chip, PM);
    chip_cap(chip, PM, 0x01, VPD);
    chip_put16(chip, PM + 2, 0xffc3);
    chip_put16(chip, PM + 4, 0x0100);
    chip->clear[PM + 5] = 0x80;
    chip_cap(chip, VPD, 0x03, MSI);
    chip_put16(chip, VPD + 2, 0x8010); /* a read that is over */
    chip_cap(chip, MSI, 0x05, PCIE);
    chip_put16(chip, MSI + 2, 0x018b); /* enabled by the host, 32 messages, 64-bit, masking */
    chip_put32(chip, MSI + 4, 0xfee00000);
    chip_cap(chip, PCIE, 0x10, MSIX);
    chip_put16(chip, PCIE + 2, 0x0002);
    chip_put32(chip, PCIE + 4, 0x10008039); /* FLR, phantom functions */
    chip_put16(chip, PCIE + 8, 0x2830);
    vd_store16(chip->clear + PCIE + 0xa, 0x000f);
    chip_put32(chip, PCIE + 0xc, 0x00400043);
    chip_put16(chip, PCIE + 0x10, 0x0042);
    vd_store16(chip->clear + PCIE + 0x12, 0xc000);
    chip_put32(chip, PCIE + 0x24, 0x000c0870);
    chip_put16(chip, PCIE + 0x28, 0x0400);
    chip_cap(chip, MSIX, 0x11, VENDOR);
    chip_put16(chip, MSIX + 2, 0x801f); /* enabled by the host, 32 vectors */
    chip_put32(chip, MSIX + 4, 0x2000);
    chip_put32(chip, MSIX + 8, 0x3000);
    chip_cap(chip, VENDOR, 0x09, AF);
    chip_put8(chip, VENDOR + 2, 16);
    chip_cap(chip, AF, 0x13, EA);
    chip_put8(chip, AF + 2, 6);
    chip_put8(chip, AF + 3, 3);
    chip_cap(chip, EA, 0x14, UNKNOWN);
    chip_cap(chip, UNKNOWN, 0x3f, LAST);
    chip_cap(chip, LAST, 0x09, 0);
    chip_put8(chip, LAST + 2, 8);
}

static inline void add_extended(struct chip *chip)
{
    chip_ext_cap(chip, REBAR, 0x15, 1, AER);
    chip_put32(chip, REBAR + 8, 0x00000820);
    chip_ext_cap(chip, AER, 0x01, 2, ACS);
    chip_put32(chip, AER + 4, 0x00100000);
    chip_put32(chip, AER + 0xc, 0x00062030);
    memset(chip->clear + AER + 4, 0xff, 4);
    memset(chip->clear + AER + 0x10, 0xff, 4);
    chip_ext_cap(chip, ACS, 0x0d, 1, ATS);
    chip_ext_cap(chip, ATS, 0x0f, 1, PRI);
    chip_ext_cap(chip, PRI, 0x13, 1, PASID);
    chip_ext_cap(chip, PASID, 0x1b, 1, SRIOV);
    chip_ext_cap(chip, SRIOV, 0x10, 1, L1SS);
    chip_ext_cap(chip, L1SS, 0x1e, 1, LTR);
    chip_ext_cap(chip, LTR, 0x18, 1, VC);
    chip_ext_cap(chip, VC, 0x02, 1, DPC);
    chip_ext_cap(chip, DPC, 0x1d, 1, SERIAL);
    chip_ext_cap(chip, SERIAL, 0x03, 1, VSEC);
    chip_ext_cap(chip, VSEC, 0x0b, 1, DOE);
    chip_put32(chip, VSEC + 4, 0x02010042);
    chip_ext_cap(chip, DOE, 0x2e, 1, DVSEC);
    chip_ext_cap(chip, DVSEC, 0x23, 1, 0);
    chip_put32(chip, DVSEC + 4, 0x01011e98);
}

/* An endpoint with nearly every capability there is. */
static inline void large_chip(struct chip *chip)
{
    chip_init(chip);
    chip->info.regions[VD_REGION_ROM] = (struct vd_region_info){.size = 0x8000, .flags = VD_REGION_READ};
    add_standard(chip);
    add_extended(chip);
    mark_owned(chip);
}

#endif
