/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registers of config space: who has each bit, and why. What has no row reads through and takes no write, save in what
 * config_caps.c calls raw. Section numbers: PCI Local Bus 3.0 (PCI), PCI Express Base 6.0 (PCIe), PCI Power Management 1.2
 * (PM), Advanced Capabilities for Conventional PCI (AF).
 *
 * Rows of one register have disjoint bits; tests/unit/core/config_test.c checks that and more.
 */
#include "core/config.h"

#define ALL8  0xffu
#define ALL16 0xffffu
#define ALL32 0xffffffffu

/* A register that never changes while the function lives: taken once, so that reading it costs no host access. */
#define CONSTANT(which, at, bytes, bits, why)                                                                \
    {                                                                                                        \
        .of = (which), .offset = (at), .width = (bytes), .kept = (bits), .reset = VD_RESET_HARDWARE,         \
        .reason = (why)                                                                                      \
    }

/* Bits that read 0 whatever the hardware has. */
#define ZERO(which, at, bytes, bits, why)                                                                    \
    {                                                                                                        \
        .of = (which), .offset = (at), .width = (bytes), .kept = (bits), .reason = (why)                     \
    }

/* Bits that the guest has for itself and the hardware never hears of. */
#define OWN(which, at, bytes, bits, from, why)                                                               \
    {                                                                                                        \
        .of = (which), .offset = (at), .width = (bytes), .kept = (bits), .guest = (bits), .reset = (from),   \
        .reason = (why)                                                                                      \
    }

/* Bits filled in from what the host offers. */
#define COMPUTED(which, at, bytes, bits, why)                                                                \
    {                                                                                                        \
        .of = (which), .offset = (at), .width = (bytes), .kept = (bits), .reset = VD_RESET_COMPUTED,         \
        .reason = (why)                                                                                      \
    }

/* The same, with bits that the guest can change in between, and the host's own value put back after a reset. */
#define BASE_ADDRESS(at, why)                                                                                \
    {                                                                                                        \
        .of = VD_CONFIG_HEADER, .offset = (at), .width = 4, .kept = ALL32, .guest = ALL32,                   \
        .reset = VD_RESET_COMPUTED, .restore = true, .reason = (why)                                         \
    }

/* Status bits that are cleared by writing 1. */
#define CLEARED(which, at, bytes, bits, why)                                                                 \
    {                                                                                                        \
        .of = (which), .offset = (at), .width = (bytes), .guest = (bits), .forward = (bits), .zero = (bits), \
        .reason = (why)                                                                                      \
    }

/* The host's setting of the link, the payload and the like: the guest keeps its own idea of it. */
#define HOST_SETTING(at, bits, writable, what, why)                                                          \
    {                                                                                                        \
        .of = VD_CAP_PCIE, .offset = (at), .width = 2, .kept = (bits), .guest = (writable),                  \
        .reset = VD_RESET_HARDWARE, .effect = (what), .restore = true, .reason = (why)                       \
    }

/* MSI's registers behind the address, whose places depend on the layout. */
#define MESSAGE(which, at, bytes, bits, why)                                                                 \
    {                                                                                                        \
        .of = VD_CAP_MSI, .offset = (at), .width = (bytes), .layouts = (which),                              \
        .kept = (bytes) == 2 ? ALL16 : ALL32, .guest = (bits), .reason = (why)                               \
    }

static const char command_reason[] =
    "bus mastering, parity, SERR# and INTx disable act on the function and are forwarded at once, so that "
    "clearing bus mastering really stops DMA. Memory decoding stays on in the hardware: BARs are mapped into "
    "this process and the VMM, where an access that nobody claims faults the host. There are no I/O BARs";
static const char power_reason[] =
    "the host owns power, and in D3hot a BAR that is mapped faults the host as one that is not decoded does. "
    "So core plays the states: no bus mastering in D3hot, and a reset on the way out when that is due";
static const char device_reason[] =
    "payload and read request sizes fit the host's hierarchy, and changing them under live mappings ends in "
    "completion timeouts; error reporting, tags and snooping are the host's choice likewise. FLR becomes a "
    "reset by the host, which keeps its mappings and interrupts";
static const char device2_reason[] =
    "completion timeouts and ordering are set for the host's hierarchy; whether atomics work shows the "
    "hardware's bit";
static const char link_reason[] =
    "both ends of a link must agree on its power management and clock, and the other end is the host's";
static const char masks_reason[] = "kept and read back; a VMM masks through vd_irq_mask()";
static const char pending_reason[] = "what the host's mask bits hold back is not the guest's to see";
static const char data_reason[] = "no extended message data";
static const char bar_reason[] = "the host assigned the address; the guest's own is decoded by its VMM";
static const char message_reason[] =
    "the host routes the function's messages: a guest's address and data would send them elsewhere";
static const char errors_reason[] =
    "the host's root port gets the errors, so the host says which it wants to hear of";

enum {
    EXT_AER = VD_EXT_CAP(0x01),
    EXT_POWER_BUDGET = VD_EXT_CAP(0x04),
    EXT_LTR = VD_EXT_CAP(0x18),
};

const struct vd_config_row vd_config_rows[] = {
    /* Header type 0 [PCI 6.1, PCIe 7.5.1]. */
    CONSTANT(VD_CONFIG_HEADER, 0x00, 4, ALL32, "vendor and device id"),
    {.of = VD_CONFIG_HEADER,
     .offset = 0x04,
     .width = 2,
     .kept = ALL16,
     .guest = 0x0546,
     .forward = 0x0544,
     .effect = VD_EFFECT_COMMAND,
     .reason = command_reason},
    COMPUTED(VD_CONFIG_HEADER, 0x06, 2, 0x0010, "there is a list when a capability is shown"),
    CLEARED(VD_CONFIG_HEADER, 0x06, 2, 0xf900, "the function's own error bits; nobody else waits for them"),
    CONSTANT(VD_CONFIG_HEADER, 0x08, 4, ALL32, "revision and class code"),
    {.of = VD_CONFIG_HEADER,
     .offset = 0x0c,
     .width = 1,
     .kept = ALL8,
     .guest = ALL8,
     .restore = true,
     .reason = "the cache line size has no effect in PCI Express [PCIe 7.5.1.1.7]; conventional "
               "PCI's is the host's"},
    ZERO(VD_CONFIG_HEADER, 0x0d, 1, ALL8, "the latency timer does not apply to PCI Express [PCIe 7.5.1.1.8]"),
    CONSTANT(VD_CONFIG_HEADER, 0x0e, 1, 0x7f, "header layout"),
    ZERO(VD_CONFIG_HEADER, 0x0e, 1, 0x80, "the other functions of the device are not the guest's"),
    ZERO(VD_CONFIG_HEADER, 0x0f, 1, ALL8, "a self test would take the function off the host's bus"),
    BASE_ADDRESS(0x10, bar_reason),
    BASE_ADDRESS(0x14, bar_reason),
    BASE_ADDRESS(0x18, bar_reason),
    BASE_ADDRESS(0x1c, bar_reason),
    BASE_ADDRESS(0x20, bar_reason),
    BASE_ADDRESS(0x24, bar_reason),
    ZERO(VD_CONFIG_HEADER, 0x28, 4, ALL32,
         "CardBus CIS pointer: names a BAR's content, and there is no CardBus"),
    CONSTANT(VD_CONFIG_HEADER, 0x2c, 4, ALL32, "subsystem ids"),
    BASE_ADDRESS(0x30, "the host assigned the ROM's address and decodes it when it reads the ROM"),
    COMPUTED(VD_CONFIG_HEADER, 0x34, 1, ALL8, "the list is rebuilt from what is shown"),
    ZERO(VD_CONFIG_HEADER, 0x35, 1, ALL8, "reserved"),
    ZERO(VD_CONFIG_HEADER, 0x36, 2, ALL16, "reserved"),
    ZERO(VD_CONFIG_HEADER, 0x38, 4, ALL32, "reserved"),
    OWN(VD_CONFIG_HEADER, 0x3c, 1, ALL8, VD_RESET_ZERO,
        "a note of the guest's firmware to its kernel [PCI 6.2.4]"),
    COMPUTED(VD_CONFIG_HEADER, 0x3d, 1, ALL8, "a pin only when the host hands on INTx"),
    CONSTANT(VD_CONFIG_HEADER, 0x3e, 2, ALL16, "minimum grant and maximum latency"),

    /* Power management [PM 3.2]. */
    CONSTANT(VD_CAP_PM, 2, 2, 0x0037, "version, immediate readiness, device-specific initialisation"),
    ZERO(VD_CAP_PM, 2, 2, 0xffc8, "no PME#: the host owns wake-up; no D1 or D2, which core does not play"),
    {.of = VD_CAP_PM,
     .offset = 4,
     .width = 2,
     .kept = 0x0003,
     .guest = 0x0003,
     .effect = VD_EFFECT_POWER,
     .reason = power_reason},
    COMPUTED(VD_CAP_PM, 4, 2, 0x0008, "No_Soft_Reset: the hardware's, unless the host cannot reset"),
    ZERO(VD_CAP_PM, 4, 2, 0xfff4, "no PME#, no power data"),
    ZERO(VD_CAP_PM, 6, 2, ALL16, "bridge extensions and power data"),

    /* Vital product data [PCI I]. */
    {.of = VD_CAP_VPD,
     .offset = 2,
     .width = 2,
     .guest = 0x7fff,
     .forward = 0x7fff,
     .zero = 0x8000,
     .reason =
         "an address asks for a read; bit 15 would write into the device's memory, and outlive this guest"},

    /* MSI [PCI 6.8.1, PCIe 7.7.1]. */
    {.of = VD_CAP_MSI,
     .offset = 2,
     .width = 2,
     .kept = 0x0071,
     .guest = 0x0071,
     .effect = VD_EFFECT_MSI,
     .reason = "the host enables messages when the VMM asks for them"},
    COMPUTED(VD_CAP_MSI, 2, 2, 0x000e, "as many messages as the host hands on"),
    CONSTANT(VD_CAP_MSI, 2, 2, 0x0180, "the layout of the capability"),
    ZERO(VD_CAP_MSI, 2, 2, 0xfe00, data_reason),
    OWN(VD_CAP_MSI, 4, 4, 0xfffffffc, VD_RESET_ZERO, message_reason),
    ZERO(VD_CAP_MSI, 4, 4, 0x00000003, "reserved"),
    MESSAGE(VD_MSI_32 | VD_MSI_32_MASK, 8, 2, ALL16, message_reason),
    MESSAGE(VD_MSI_32 | VD_MSI_32_MASK, 10, 2, 0, data_reason),
    MESSAGE(VD_MSI_32_MASK, 12, 4, ALL32, masks_reason),
    MESSAGE(VD_MSI_32_MASK, 16, 4, 0, pending_reason),
    MESSAGE(VD_MSI_64 | VD_MSI_64_MASK, 8, 4, ALL32, message_reason),
    MESSAGE(VD_MSI_64 | VD_MSI_64_MASK, 12, 2, ALL16, message_reason),
    MESSAGE(VD_MSI_64 | VD_MSI_64_MASK, 14, 2, 0, data_reason),
    MESSAGE(VD_MSI_64_MASK, 16, 4, ALL32, masks_reason),
    MESSAGE(VD_MSI_64_MASK, 20, 4, 0, pending_reason),

    /* MSI-X [PCI 6.8.2]; the table and the PBA are in a BAR, see quirk.c. */
    OWN(VD_CAP_MSIX, 2, 2, 0xc000, VD_RESET_ZERO,
        "the host enables and masks messages when the VMM asks for it"),
    COMPUTED(VD_CAP_MSIX, 2, 2, 0x07ff, "as many messages as the host hands on"),
    ZERO(VD_CAP_MSIX, 2, 2, 0x3800, "reserved"),
    CONSTANT(VD_CAP_MSIX, 4, 4, ALL32, "where the table is; accesses of it are trapped"),
    CONSTANT(VD_CAP_MSIX, 8, 4, ALL32, "where the pending bits are; likewise"),

    /* PCI Express [PCIe 7.5.3]. */
    CONSTANT(VD_CAP_PCIE, 0x02, 2, ALL16, "version and type"),
    CONSTANT(VD_CAP_PCIE, 0x04, 4, 0xefffffe7, "device capabilities"),
    ZERO(VD_CAP_PCIE, 0x04, 4, 0x00000018,
         "phantom functions use requester ids that the IOMMU does not know"),
    COMPUTED(VD_CAP_PCIE, 0x04, 4, 0x10000000, "FLR: when the function has it and the host can reset"),
    HOST_SETTING(0x08, 0x7def, 0x7def, VD_EFFECT_PCIE_FLR, device_reason),
    ZERO(VD_CAP_PCIE, 0x08, 2, 0x8200, "FLR reads 0; no phantom functions"),
    {.of = VD_CAP_PCIE,
     .offset = 0x08,
     .width = 2,
     .guest = 0x0010,
     .forward = 0x0010,
     .reason = "relaxed ordering: a matter between the function and its driver"},
    CLEARED(VD_CAP_PCIE, 0x0a, 2, 0x000f, "the function's own error bits; the host looks at AER"),
    CONSTANT(VD_CAP_PCIE, 0x0c, 4, ALL32, "link capabilities"),
    HOST_SETTING(0x10, ALL16, 0x03cb, VD_EFFECT_NONE, link_reason),
    CONSTANT(VD_CAP_PCIE, 0x24, 4, 0x7ff3f7df, "device capabilities 2"),
    ZERO(VD_CAP_PCIE, 0x24, 4, 0x800c0820, "ARI, LTR, OBFF and FRS need the host's hierarchy to play along"),
    HOST_SETTING(0x28, 0x9b9f, 0x031f, VD_EFFECT_NONE, device2_reason),
    ZERO(VD_CAP_PCIE, 0x28, 2, 0x6420, "no ARI, LTR or OBFF"),
    CONSTANT(VD_CAP_PCIE, 0x2c, 4, ALL32, "link capabilities 2"),
    HOST_SETTING(0x30, ALL16, ALL16, VD_EFFECT_NONE, "the speed of the link is the host's"),

    /* Advanced features [AF]: FLR of conventional PCI. */
    CONSTANT(VD_CAP_AF, 2, 1, ALL8, "length"),
    COMPUTED(VD_CAP_AF, 3, 1, 0x03, "FLR: when the function has it and the host can reset"),
    ZERO(VD_CAP_AF, 3, 1, 0xfc, "reserved"),
    {.of = VD_CAP_AF,
     .offset = 4,
     .width = 1,
     .kept = ALL8,
     .effect = VD_EFFECT_AF_FLR,
     .reason = "FLR becomes a reset by the host, which keeps its mappings and interrupts"},

    /* Advanced error reporting [PCIe 7.8.4]; the status registers read through, and the host clears them. */
    OWN(EXT_AER, 0x08, 4, ALL32, VD_RESET_HARDWARE, errors_reason),
    OWN(EXT_AER, 0x0c, 4, ALL32, VD_RESET_HARDWARE, errors_reason),
    OWN(EXT_AER, 0x14, 4, ALL32, VD_RESET_HARDWARE, errors_reason),
    OWN(EXT_AER, 0x18, 4, 0x00000140, VD_RESET_HARDWARE, "ECRC works only when the other end does it too"),

    /* Power budgeting [PCIe 7.8.1]. */
    {.of = EXT_POWER_BUDGET,
     .offset = 4,
     .width = 1,
     .guest = ALL8,
     .forward = ALL8,
     .reason = "selects what the data register shows"},

    /* Latency tolerance [PCIe 7.8.2]. */
    {.of = EXT_LTR,
     .offset = 4,
     .width = 4,
     .restore = true,
     .reason = "limits of the host's hierarchy, which a reset of the function would forget"},
};

const size_t vd_config_nr_rows = sizeof(vd_config_rows) / sizeof(vd_config_rows[0]);
