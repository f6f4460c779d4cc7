/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 * Interrupts of a PCI device, in five indexes numbered as VFIO numbers them (linux/vfio.h, VFIO_PCI_*_IRQ_INDEX). Each
 * vector of an index is routed to a notifier; a masked vector that fires is latched and signalled once at unmask.
 *
 * Threads: like the device, except that signals may be raised by whichever thread runs the device.
 */
#ifndef VIADUCT_IRQ_H
#define VIADUCT_IRQ_H

#include <viaduct/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vd_device;

/** Interrupt indexes. */
enum vd_irq_index {
    VD_IRQ_INTX = 0, /**< level triggered; masks itself after firing, unmask is the end of interrupt */
    VD_IRQ_MSI = 1,
    VD_IRQ_MSIX = 2,
    VD_IRQ_ERR = 3, /**< the device or its host reported an uncorrectable error */
    VD_IRQ_REQ = 4, /**< the host asks for the device back, or took it */
    VD_IRQ_COUNT = 5,
};

/** Flags of an index, with VFIO's values. */
enum vd_irq_flag {
    VD_IRQ_EVENTFD = 1,    /**< can be signalled through a notifier */
    VD_IRQ_MASKABLE = 2,   /**< can be masked */
    VD_IRQ_AUTOMASKED = 4, /**< masks itself when it fires */
    VD_IRQ_NORESIZE = 8,   /**< the number of vectors cannot change while in use */
};

/** What an index offers. */
struct vd_irq_info {
    uint32_t count; /**< vectors; 0: the device has none of this kind */
    uint32_t flags; /**< enum vd_irq_flag */
};

/**
 * Describes an index.
 * @return 0; -EINVAL for an index of VD_IRQ_COUNT or more
 */
VD_EXPORT int vd_irq_info(const struct vd_device *device, unsigned index, struct vd_irq_info *out);

/**
 * Routes vectors [start, start + count) to descriptors: each interrupt writes a 64-bit 1, in host byte order, to the
 * vector's descriptor, which must be an eventfd or the write end of a non-blocking pipe. -1 unroutes that vector. On
 * success the device owns the descriptors; on failure the caller still does. Any call for INTX, MSI or MSI-X, also one
 * with -1 only, switches the device to that kind until vd_irq_disable(); the three exclude each other.
 * @return 0; -EINVAL bad index or range; -EBUSY another kind is in use; -ENODEV; -EIO
 */
VD_EXPORT int vd_irq_route(struct vd_device *device, unsigned index, uint32_t start, uint32_t count,
                           const int *fds);

/** Which moment vd_irq_watch() reports. */
enum vd_irq_moment { VD_IRQ_ON_MASK, VD_IRQ_ON_UNMASK };

/**
 * Asks for a signal whenever a vector is masked or unmasked; ownership, -1 and errors as for vd_irq_route().
 */
VD_EXPORT int vd_irq_watch(struct vd_device *device, unsigned index, enum vd_irq_moment moment,
                           uint32_t start, uint32_t count, const int *fds);

/**
 * Masks or unmasks vectors. Unmask signals what was latched; for INTX it also signals when the line is still asserted.
 * @return 0; -EINVAL bad index or range, or the index has no VD_IRQ_MASKABLE
 */
VD_EXPORT int vd_irq_mask(struct vd_device *device, unsigned index, uint32_t start, uint32_t count);
VD_EXPORT int vd_irq_unmask(struct vd_device *device, unsigned index, uint32_t start, uint32_t count);

/** Signals vectors as if the device had fired them (a loopback test). @return 0; -EINVAL bad index or range */
VD_EXPORT int vd_irq_trigger(struct vd_device *device, unsigned index, uint32_t start, uint32_t count);

/** Unroutes every vector of an index, forgets what was latched, closes the descriptors. @return 0; -EINVAL bad index */
VD_EXPORT int vd_irq_disable(struct vd_device *device, unsigned index);

/** How often a vector was signalled since the device was opened. Any thread. 0 for what does not exist. */
VD_EXPORT uint64_t vd_irq_signals(const struct vd_device *device, unsigned index, uint32_t vector);

#ifdef __cplusplus
}
#endif
#endif
