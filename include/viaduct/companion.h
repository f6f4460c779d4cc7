/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 * The companion of a passed-through device: a PCI device of its own (1b36:0015) by which the guest asks for the DMA
 * mappings of the device it manages (doc/architecture.md, "Strategies", paravirt). It is an ordinary vd_device: offer it
 * to the same VMM by a vd_server of its own, beside the managed device's.
 *
 * Until the guest's driver has set its command page, the managed device is held: registers read all ones, writes go
 * nowhere and it masters no bus, so that no driver can make it use addresses that are not bus addresses. It is held again
 * when the driver lets go, when the companion is reset, and when the client of either leaves. What a VMM has mapped of its
 * BARs stays readable meanwhile; it is reset before it is let go of, so that nothing written there has an effect. The two are one
 * VMM's: while the managed device has no client, or that of another process, it stays held.
 *
 * Threads: the two devices may be used by two threads (their servers', which take the managed device's lock). A program that uses
 * the managed device itself, without a server, uses both from one thread.
 */
#ifndef VIADUCT_COMPANION_H
#define VIADUCT_COMPANION_H

#include <viaduct/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vd_context;
struct vd_device;

/** vd_companion_options.guest_bdf when nobody knows: the guest then looks for the managed device's ids. */
#define VD_COMPANION_BDF_UNKNOWN UINT32_MAX

/** Zero-fill, set `size`, then what is wanted. */
struct vd_companion_options {
    size_t size;             /**< sizeof this structure */
    uint32_t guest_bdf;      /**< where the guest has the managed device: bus << 8 | device << 3 | function */
    uint32_t max_entries;    /**< most entries of a batch; 0: 4096, which is the most */
    uint64_t quota_bytes;    /**< most bytes the guest may map; 0: the host's limit */
    uint64_t quota_mappings; /**< most mappings likewise; 0: the host's limit */
};

/**
 * Creates the companion of `managed`, which must be opened, not served yet, and outlive the companion; from here on the
 * managed device is held. Close it with vd_device_close(), after its server.
 * @param out the companion's device
 * @return 0; -EINVAL bad options; -EBUSY it has a companion already; -ENOTSUP the managed device's host virtualises
 *         config space itself; -ENOMEM
 */
VD_EXPORT int vd_companion_create(struct vd_context *context, struct vd_device *managed,
                                  const struct vd_companion_options *options, struct vd_device **out,
                                  struct vd_error *error);

/** What the guest has done. */
struct vd_companion_stats {
    bool active;              /**< the guest's driver is there */
    bool wide;                /**< it speaks the extended layouts */
    uint64_t doorbells;       /**< batches */
    uint64_t maps, unmaps;    /**< mappings made and given back */
    uint64_t refused;         /**< entries that did not, and batches that were not looked into */
    uint64_t lost;            /**< mappings taken away unasked: guest memory or the device went */
    uint64_t bytes, mappings; /**< what the guest has mapped now */
};

/**
 * Reads the counters; zeros when `companion` is no companion. Any thread; each counter by itself is exact.
 * @return true when it is a companion
 */
VD_EXPORT bool vd_companion_stats(const struct vd_device *companion, struct vd_companion_stats *out);

#ifdef __cplusplus
}
#endif
#endif
