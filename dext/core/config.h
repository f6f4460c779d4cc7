/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registers of config space that the core itself uses, and access to them. Section numbers: PCI Local Bus 3.0 (PCI),
 * PCI Express Base 6.0 (PCIe), PCI Power Management 1.2 (PM), Advanced Capabilities for Conventional PCI (AF).
 */
#ifndef DEXT_CORE_CONFIG_H
#define DEXT_CORE_CONFIG_H

#include "dext/core/core.h"

/* PCI 6.1: header type 0. */
enum {
    CFG_ID = 0x00,
    CFG_COMMAND = 0x04,
    CFG_STATUS = 0x06,
    CFG_CLASS = 0x08, /* with the revision in the low byte */
    CFG_HEADER_TYPE = 0x0e,
    CFG_BAR0 = 0x10,
    CFG_SUBSYSTEM = 0x2c,
    CFG_ROM = 0x30,
    CFG_CAPABILITIES = 0x34,
    CFG_FIRST_CAPABILITY = 0x40,
    CFG_CAPABILITIES_END = 0x100,
    CFG_SIZE = 4096,
};

/* PCI 6.2.2, 6.2.3. */
enum {
    COMMAND_MEMORY = 0x0002,
    COMMAND_BUS_MASTER = 0x0004,
    COMMAND_INTX_DISABLE = 0x0400,
    COMMAND_ALL_ONES = 0xffff, /* bits 11 to 15 are 0 in a function that answers */
    STATUS_CAPABILITIES = 0x0010,
};

/* PCI H, PCIe 7.5.3.1, AF: capability ids. */
enum { CAP_PM = 0x01, CAP_MSI = 0x05, CAP_PCIE = 0x10, CAP_MSIX = 0x11, CAP_AF = 0x13, CAP_NOTHING = 0xff };

/* PM 3.2.4. */
enum {
    PM_CONTROL = 0x04,
    PM_STATE = 0x0003,
    PM_D3HOT = 0x0003,
    PM_NO_SOFT_RESET = 0x0008,
    PM_PME_STATUS = 0x8000, /* cleared by writing 1 */
};

/* PCIe 7.5.3. */
enum {
    PCIE_FLAGS = 0x02,
    PCIE_DEVCAP = 0x04,
    PCIE_DEVCTL = 0x08,
    PCIE_DEVSTA = 0x0a,
    PCIE_LNKSTA = 0x12,
    PCIE_DEVCTL2 = 0x28,
    PCIE_VERSION = 0x000f,
    DEVCAP_FLR = 1 << 28,
    DEVCTL_FLR = 0x8000,
    DEVSTA_PENDING = 0x0020,
};

/* AF: byte registers. */
enum {
    AF_CAP = 0x03,
    AF_CONTROL = 0x04,
    AF_STATUS = 0x05,
    AF_CAP_TP = 0x01,
    AF_CAP_FLR = 0x02,
    AF_CONTROL_FLR = 0x01,
    AF_STATUS_PENDING = 0x01,
};

/* A register, while the device is not known to be gone. 0; what the hardware answered. *value is 0 then. */
int vd_dext_config_get(const struct vd_dext *dext, uint32_t offset, uint32_t width, uint32_t *value);
int vd_dext_config_put(const struct vd_dext *dext, uint32_t offset, uint32_t width, uint32_t value);
/* COMMAND; NOT_RESPONDING when the function does not answer (all ones). Keeps what it saw in dext->command. */
int vd_dext_command_get(struct vd_dext *dext, uint32_t *value);
/* Bus mastering off, and read back: IO_ERROR when it stays on. */
int vd_dext_bus_master_off(struct vd_dext *dext);
/*
 * Waits until none of the function's transactions is pending, for a bounded time. 0, also when the function cannot tell;
 * TIMEOUT; NO_DEVICE.
 */
int vd_dext_drain(const struct vd_dext *dext);

#endif
