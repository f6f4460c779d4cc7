/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Config space as a guest sees it, for hosts that hand over the hardware's own (struct vd_host_info.raw_config).
 *
 * Every bit is the hardware's (read through), kept here (the guest never sees the hardware's), or kept here and forwarded as
 * well. Which is which is data: a row for each register (config_fields.c), a row for each capability (config_caps.c), both
 * with a reason. vd_config_create() lays them over the 4096 bytes once; an access only looks at masks.
 *
 * Invariants:
 * - Of a guest's write, only bits in `forward` reach the hardware, and COMMAND through write_command(). What the host owns
 *   (BAR addresses, message addresses and data, the link, power, payload sizes, address translation) is never among them.
 * - The layout is made from one copy of config space taken at open, so hardware that changes or lies about its lists can
 *   confuse a guest, but not this code.
 * - Nothing is allocated after vd_config_create(), and an access to kept bits only touches no hardware.
 * Lock: none; the device's thread only.
 */
#ifndef VD_CORE_CONFIG_H
#define VD_CORE_CONFIG_H

#include "core/backend.h"

enum { VD_CONFIG_STANDARD = 256, VD_CONFIG_SIZE = 4096, VD_CONFIG_HEADER_SIZE = 64 };

/* What a row belongs to: the header, a capability, or an extended capability. */
#define VD_CONFIG_HEADER 0x000000u
#define VD_CAP(id)       (0x010000u | (id))
#define VD_EXT_CAP(id)   (0x020000u | (id))

/* PCI H, PCIe 7.5.3.1: capabilities that code looks at. */
enum {
    VD_CAP_PM = VD_CAP(0x01),
    VD_CAP_VPD = VD_CAP(0x03),
    VD_CAP_MSI = VD_CAP(0x05),
    VD_CAP_VENDOR = VD_CAP(0x09),
    VD_CAP_PCIE = VD_CAP(0x10),
    VD_CAP_MSIX = VD_CAP(0x11),
    VD_CAP_AF = VD_CAP(0x13),
};

/* What kept bits are after open and after every reset. */
enum vd_config_reset {
    VD_RESET_ZERO,
    VD_RESET_HARDWARE, /* what the hardware had at open */
    VD_RESET_COMPUTED, /* from what the host offers; see vd_config_compute() */
};

/* What else a guest's write of the register does. */
enum vd_config_effect {
    VD_EFFECT_NONE,
    VD_EFFECT_COMMAND,  /* write_command(): decoding stays on, whatever the guest wrote */
    VD_EFFECT_POWER,    /* the power state, played by core */
    VD_EFFECT_MSI,      /* no more messages than offered */
    VD_EFFECT_PCIE_FLR, /* becomes a reset by the host */
    VD_EFFECT_AF_FLR,
};

/* MSI's layouts (PCI 6.8.1): bit n of a row's `layouts` for 64-bit addresses (1) and masking (2). */
enum { VD_MSI_32 = 1, VD_MSI_64 = 2, VD_MSI_32_MASK = 4, VD_MSI_64_MASK = 8 };

/* One register, or some of its bits; a register may have several rows with disjoint bits. */
struct vd_config_row {
    uint32_t of;      /* VD_CONFIG_HEADER, VD_CAP() or VD_EXT_CAP() */
    uint16_t offset;  /* from the start of that */
    uint8_t width;    /* bytes: 1, 2 or 4 */
    uint8_t layouts;  /* 0: every one */
    uint32_t kept;    /* bits that read as core keeps them; the others are the hardware's */
    uint32_t guest;   /* bits that the guest can change */
    uint32_t forward; /* of those, the ones that are written to the hardware */
    uint32_t zero; /* hardware bits that act when written as 1: written as 0 unless the guest forwards a 1 */
    enum vd_config_reset reset;
    enum vd_config_effect effect;
    bool restore; /* the host's value is put back when a reset lost it */
    const char *reason;
};

extern const struct vd_config_row vd_config_rows[];
extern const size_t vd_config_nr_rows;

/* How long a capability is. */
enum vd_cap_length {
    VD_LENGTH_FIXED, /* `length` bytes */
    VD_LENGTH_NEXT, /* up to the next header in the list, or the end of the space; at most `length` unless that is 0 */
    VD_LENGTH_MSI, /* the others: as the capability says, see config_caps.c */
    VD_LENGTH_PCIX,
    VD_LENGTH_PCIE,
    VD_LENGTH_SATA,
    VD_LENGTH_VENDOR,
    VD_LENGTH_VSEC,
    VD_LENGTH_VC,
    VD_LENGTH_REBAR,
};

/* What becomes of a capability's bytes that no row covers. */
enum vd_cap_policy {
    VD_CAP_READ_ONLY, /* shown; read through, writes are dropped */
    VD_CAP_RAW,       /* shown; read and written through */
    VD_CAP_HIDDEN,    /* not in the guest's list; reads zero, writes are dropped */
};

/* A kind of capability. */
struct vd_cap_kind {
    uint32_t id;
    enum vd_cap_policy policy;
    enum vd_cap_length rule;
    uint16_t length; /* for VD_LENGTH_FIXED and VD_LENGTH_NEXT */
    bool once;       /* a function has one; another is a defect and hidden */
    const char *name;
    const char *reason;
};

extern const struct vd_cap_kind vd_cap_kinds[];
extern const size_t vd_cap_nr_kinds;
/* The row of `id`; for an unknown one the default: shown, read-only, up to the next header. */
const struct vd_cap_kind *vd_cap_kind(uint32_t id);

enum { VD_MSIX_ENTRY = 16, VD_CONFIG_EFFECTS = 8, VD_CONFIG_RESTORES = 24 };

/* The MSI-X table as the guest sees it, in place of the hardware's, which routes the host's interrupts. */
struct vd_msix {
    uint16_t cap;     /* where the capability is shown; 0: it is not */
    unsigned entries; /* of the hardware's table; 0: there is none */
    uint8_t *table;   /* entries * VD_MSIX_ENTRY bytes */
    unsigned table_bar, pba_bar;
    uint64_t table_offset, pba_offset;
};

struct vd_config {
    const struct vd_env *env;
    const char *address; /* for the log; the device's */
    const struct vd_backend_ops *ops;
    void *host;
    bool can_reset;
    unsigned size;              /* 256 or 4096 */
    uint16_t fixed;             /* COMMAND bits that stay on in the hardware */
    uint16_t command;           /* COMMAND bits that are forwarded */
    uint16_t pm, msi, pcie, af; /* capabilities: where they are shown; 0: they are not */
    uint8_t power;              /* the guest's power state: 0 or 3 */
    bool held;                  /* bus mastering is kept off, whatever the guest wrote */
    bool soft_reset;            /* going from D3hot to D0 resets the function (PM 5.4.1) */

    /* Per bit; see struct vd_config_row. */
    uint8_t value[VD_CONFIG_SIZE];
    uint8_t initial[VD_CONFIG_SIZE]; /* `value` after a reset */
    uint8_t kept[VD_CONFIG_SIZE];
    uint8_t guest[VD_CONFIG_SIZE];
    uint8_t forward[VD_CONFIG_SIZE];
    uint8_t zero[VD_CONFIG_SIZE];

    struct {
        uint16_t offset;
        uint8_t width;
        enum vd_config_effect effect;
    } effects[VD_CONFIG_EFFECTS];
    unsigned nr_effects;
    struct {
        uint16_t offset;
        uint8_t width;
        uint8_t value[4];
    } restores[VD_CONFIG_RESTORES];
    unsigned nr_restores;
    bool registers_lost; /* after a reset that the function did not come back from */

    struct vd_msix msix;
};

/*
 * Reads the function's config space through `ops`, lays out what the guest will see, and brings the hardware to the state
 * after a reset: bus mastering off, decoding on. Corrects `info`: a BAR that no register can describe is taken out.
 * `address` and `info`'s host outlive it.
 * @return 0; -ENODEV the function reads all ones; -ENOTSUP it is a bridge; -ENOMEM; -EIO less than 256 bytes; what the
 *         host answered.
 */
int vd_config_create(const struct vd_env *env, const char *address, const struct vd_backend_ops *ops,
                     void *host, struct vd_host_info *info, struct vd_config **out,
                     struct vd_failure *failure);
/* NULL is allowed. */
void vd_config_destroy(struct vd_config *config);

/* [offset, offset + count) lies inside config->size. 0, or what the host answered. */
int vd_config_read(struct vd_config *config, unsigned offset, void *buffer, size_t count);
/*
 * The same for writing; a write that starts a reset returns when it is over. Stops at the first error: what came before
 * has happened.
 */
int vd_config_write(struct vd_config *config, unsigned offset, const void *buffer, size_t count);
/*
 * Resets the function through the host, puts the host's registers back where that lost them, and the guest's to their
 * reset values. 0; -ENOTSUP the host cannot; -EIO it did not come back; what the host answered.
 */
int vd_config_reset(struct vd_config *config);
/* Only forgets what the guest wrote, with bus mastering off in the hardware: for hosts that cannot reset. */
int vd_config_forget(struct vd_config *config);
/* Resets the function and puts the host's registers back, but forgets nothing of the guest's. Errors as for the reset. */
int vd_config_refresh(struct vd_config *config);
/* Keeps bus mastering off in the hardware, or lets the guest's bit through again. 0, or what the host answered. */
int vd_config_hold(struct vd_config *config, bool hold);

static inline uint64_t vd_msix_table_size(const struct vd_msix *msix)
{
    return (uint64_t)msix->entries * VD_MSIX_ENTRY;
}

/* PCI 6.8.2.10: whole 64-bit words. */
static inline uint64_t vd_msix_pba_size(const struct vd_msix *msix)
{
    return (msix->entries + 63ull) / 64 * 8;
}

/* The table in place of the hardware's; [offset, offset + count) lies inside its bytes. */
void vd_msix_read(const struct vd_msix *msix, uint64_t offset, void *buffer, size_t count);
void vd_msix_write(struct vd_msix *msix, uint64_t offset, const void *buffer, size_t count);

/*
 * The parts of vd_config_create(), for config.c and the tests. `hardware` is a copy of config->size bytes. The masks of the
 * rows of `of` are laid at `at`, those that lie within `length` bytes; capabilities are found and placed, and the
 * space between them; then what depends on the host's offer is filled in.
 */
void vd_config_lay(struct vd_config *config, const uint8_t *hardware, uint32_t of, unsigned at,
                   unsigned length, unsigned layout);
void vd_config_place_caps(struct vd_config *config, const uint8_t *hardware, const struct vd_host_info *info);
void vd_config_compute(struct vd_config *config, const uint8_t *hardware, const struct vd_host_info *info);

#endif
