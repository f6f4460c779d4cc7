/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 * A PCI device of some host, opened for passthrough.
 *
 * Threads: one thread at a time uses a device (or the caller serialises). What may be called from any thread says so.
 */
#ifndef VIADUCT_DEVICE_H
#define VIADUCT_DEVICE_H

#include <viaduct/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vd_context;
struct vd_device;

/** Who the device is. */
struct vd_device_info {
    const char *address; /**< as given to vd_device_open() */
    const char *backend; /**< the host back end's name: "sim", ... */
    const char *model;   /**< what the host calls the device, or "" */
    uint16_t vendor;     /**< PCI vendor id */
    uint16_t device;     /**< PCI device id */
    uint16_t subvendor;  /**< PCI subsystem vendor id */
    uint16_t subdevice;  /**< PCI subsystem id */
    uint32_t class_code; /**< 24 bits: base class, subclass, programming interface */
    bool can_reset;      /**< vd_device_reset() works */
};

/**
 * Opens the device at a host address:
 *   sim:nvme[,key=value...]  sim:edu[,key=value...]   a simulated device (viaduct-sim(7) lists the keys)
 *   [DDDD:]BB:DD.F                                    Linux VFIO     (refused: that back end has not landed)
 *   apple:BB:DD.F[,socket=PATH]                       the DriverKit extension of a Mac, or viaduct-dextd(1): at PATH,
 *                                                     else $VIADUCT_DEXTD, else its usual place
 * @param error may be NULL
 * @return 0; -EINVAL not an address, unknown key or bad value; -ENOTSUP a back end this build lacks; -ENOENT, -EACCES,
 *         -EBUSY, -ENOSPC, -EIO from the host; -ENODEV it was removed meanwhile, or reads all ones; -ENOMEM. On
 *         failure *out is NULL.
 */
VD_EXPORT int vd_device_open(struct vd_context *context, const char *address, struct vd_device **out,
                             struct vd_error *error);

/** How a device is opened. Zero-fill, set `size`, then what is wanted. */
struct vd_device_options {
    size_t size; /**< sizeof this structure */
    const char *
        rom; /**< a file (at most 16 MiB) to show as the expansion ROM instead of the device's; NULL: its own */
    bool no_rom; /**< show no expansion ROM at all */
};

/**
 * The same with options.
 * @param options NULL for all defaults; copied
 * @return as vd_device_open(); -EINVAL also for bad options; -ENOTSUP the host virtualises config space itself, so its
 *         ROM cannot be replaced; the errors of reading the ROM file
 */
VD_EXPORT int vd_device_open_with(struct vd_context *context, const char *address,
                                  const struct vd_device_options *options, struct vd_device **out,
                                  struct vd_error *error);

/**
 * Quiesces (see vd_device_quiesce()) and closes; NULL is allowed. DMA mappings that are left are released first.
 */
VD_EXPORT void vd_device_close(struct vd_device *device);

/** Identity; valid until the device is closed. Any thread. */
VD_EXPORT const struct vd_device_info *vd_device_info(const struct vd_device *device);

/** Resets the function. Mappings and interrupt routes stay. @return 0; -ENOTSUP; -ENODEV; -EIO */
VD_EXPORT int vd_device_reset(struct vd_device *device);

/**
 * Makes the device ready for the next user, in this order: bus mastering off and read back, reset, interrupts off, all
 * DMA mappings released. Cannot fail; what the host refuses is logged.
 */
VD_EXPORT void vd_device_quiesce(struct vd_device *device);

/**
 * A descriptor that becomes readable when vd_device_dispatch() has work, or -1 when this device never needs it. The
 * device's; valid until closed.
 */
VD_EXPORT int vd_device_poll_fd(const struct vd_device *device);

/**
 * Lets the host do pending work in the caller's thread: a simulated device runs here, a real one hands over events.
 * @param will_block true: the caller is about to sleep until vd_device_poll_fd() is readable, so arrange for that
 * @return true when it did something, and the caller should not sleep yet
 */
VD_EXPORT bool vd_device_dispatch(struct vd_device *device, bool will_block);

/** Who has a device that vd_device_scan() found. */
enum vd_device_state {
    VD_DEVICE_FREE,    /**< it can be opened */
    VD_DEVICE_IN_USE,  /**< somebody has it open */
    VD_DEVICE_REMOVED, /**< it was pulled, and its user has not let go yet */
    VD_DEVICE_UNKNOWN, /**< its driver cannot tell (an older extension) */
};

/** A device of a host. */
struct vd_device_found {
    char address[32];               /**< for vd_device_open() */
    char model[64];                 /**< what the host calls it, or "" */
    char driver[32];                /**< what drives it on the host, e.g. "VFIOUserPCIDriver" */
    enum vd_device_state state;     /**< who has it */
    uint16_t vendor, device;        /**< PCI ids */
    uint16_t subvendor, subdevice;  /**< PCI subsystem ids; 0 when not known */
    uint32_t class_code;            /**< 24 bits */
    uint16_t msi_vectors;           /**< that config space offers */
    uint16_t msix_vectors;          /**< likewise */
    uint8_t link_speed, link_width; /**< PCIe 7.5.3.8 coding, lanes; 0 when not known */
    struct {
        uint64_t size;  /**< bytes; 0: none, or not known */
        uint32_t flags; /**< VD_REGION_PREFETCHABLE, VD_REGION_64BIT */
    } regions[7];       /**< BARs 0 to 5 and the expansion ROM */
};

/**
 * Lists the devices of this machine's hosts that can be opened (simulated ones are made on demand and not listed).
 * Opens none of them for use.
 * @param found room for `max`, may be NULL with max 0
 * @return how many there are (possibly more than max); -EACCES, -EIO with *error when a host that is there could not be
 *         asked
 */
VD_EXPORT int vd_device_scan(struct vd_context *context, struct vd_device_found *found, size_t max,
                             struct vd_error *error);

/** One option of a simulated device or one address a device can be opened at, for lists. */
struct vd_device_option {
    const char *key;      /**< the option's name */
    const char *values;   /**< what is allowed, for people */
    const char *fallback; /**< the default, for people */
    const char *help;     /**< one line */
};

/** A kind of device that can be opened here. */
struct vd_device_kind {
    const char *address;                    /**< e.g. "sim:nvme" */
    const char *summary;                    /**< one line */
    const struct vd_device_option *options; /**< nr_options entries, static storage */
    size_t nr_options;                      /**< entries in options */
};

/** The i-th kind that this build can simulate, or NULL past the end. Static storage, any thread. */
VD_EXPORT const struct vd_device_kind *vd_device_kind(size_t i);

/** Counters of a device. */
struct vd_device_stats {
    struct {
        uint64_t reads, writes;             /**< accesses that trapped */
        uint64_t read_bytes, written_bytes; /**< their bytes */
        uint64_t errors;                    /**< accesses refused */
    } regions[9];                           /**< by enum vd_region_index */
    uint64_t resets;                        /**< resets asked for, FLR not included */
    uint64_t dma_faults;                    /**< accesses that the IOMMU refused, where the host can tell */
    uint64_t device_errors;                 /**< errors the device or its host reported */
};

/** Reads the counters. Any thread; each counter by itself is exact. */
VD_EXPORT void vd_device_stats(const struct vd_device *device, struct vd_device_stats *out);

#ifdef __cplusplus
}
#endif
#endif
