/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Windows: parts of a BAR that are not what they seem, so that the guest must not reach them directly. Some show config
 * space once more, past everything config.c keeps from the hardware; the MSI-X table and its pending bits are memory that
 * routes the host's interrupts. Windows are cut out of the areas that may be mapped (areas.c), and a trapped access is
 * answered here instead.
 *
 * Lock: none, the device's thread; the pending bits are read under irq_lock.
 */
#ifndef VD_CORE_QUIRK_H
#define VD_CORE_QUIRK_H

#include "core/config.h"

struct vd_device;

enum vd_window_kind {
    VD_WINDOW_MSIX_TABLE, /* core's table */
    VD_WINDOW_MSIX_PBA, /* a bit for each vector that fired and waits in core, masked or unrouted; not writable */
    VD_WINDOW_CONFIG, /* config space as the guest sees it */
    VD_WINDOW_TRAP,   /* the host's registers, but never mapped */
};

/* A window that some devices have. A device matches when every field does. */
struct vd_quirk {
    uint16_t vendor;
    uint16_t device, device_mask; /* (id & mask) == device */
    uint32_t class_code, class_mask;
    uint8_t bar;
    uint32_t flags_mask, flags; /* (region flags & mask) == flags */
    uint64_t offset;            /* in the BAR */
    uint32_t size;
    enum vd_window_kind kind; /* CONFIG or TRAP */
    uint16_t target;          /* CONFIG: the offset in config space that the window starts at */
    bool msi_ack;             /* CONFIG: writes of the MSI capability's id go on to the BAR */
    const char *reason;
};

extern const struct vd_quirk vd_quirks[];
extern const size_t vd_nr_quirks;

struct vd_window {
    enum vd_window_kind kind;
    uint8_t bar;
    uint64_t offset, size; /* inside the BAR, size > 0 */
    uint16_t target;
    bool msi_ack;
};

enum { VD_MAX_WINDOWS = 8 };

/* Where two overlap the earlier one counts. */
struct vd_windows {
    struct vd_window list[VD_MAX_WINDOWS];
    unsigned count;
    uint32_t bars; /* bit n: BAR n has some */
};

/*
 * Finds the windows of a device: the MSI-X table's when `config` (may be NULL) has one, then those of the rows that match.
 */
void vd_windows_init(struct vd_windows *windows, const struct vd_host_info *info,
                     const struct vd_config *config, const struct vd_quirk *rows, size_t nr_rows);
/* Takes the windows out of the regions' areas, at whole pages. */
void vd_windows_cut(const struct vd_windows *windows, struct vd_region_info *regions, uint64_t page);

/* Accesses to a BAR, inside it; what is in no window goes to the host. 0; what the host answered. */
int vd_window_read(struct vd_device *device, unsigned bar, uint64_t offset, void *buffer, size_t count);
int vd_window_write(struct vd_device *device, unsigned bar, uint64_t offset, const void *buffer,
                    size_t count);

/*
 * areas.c: takes `holes`, widened to whole pages, out of a region's areas, which are clipped to the region and to whole
 * pages; of more than VD_REGION_MAX_AREAS the smallest go. With none left the region cannot be mapped. `page` is a power
 * of two, nr_holes at most VD_MAX_WINDOWS.
 */
void vd_areas_cut(struct vd_region_info *region, uint64_t page, const struct vd_region_area *holes,
                  unsigned nr_holes);

#endif
