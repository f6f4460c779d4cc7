/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * THE seam to hosts. A host back end is a const table of the operations below; core validates every argument before it
 * calls one, keeps the accounting and the interrupt state, and knows a host only by what it declares in
 * struct vd_host_info. Back ends never call each other.
 *
 * Threads: all operations on one host device are called one at a time, by the thread that owns the vd_device or by one
 * that has its lock (device.h), `faults` excepted (any thread). A back end may report events from any thread unless it declares otherwise; core's receivers cope.
 * Memory: `host` is what open() returned; core calls nothing on it after close().
 */
#ifndef VD_CORE_BACKEND_H
#define VD_CORE_BACKEND_H

#include <viaduct/device.h>
#include <viaduct/dma.h>
#include <viaduct/irq.h>
#include <viaduct/region.h>

#include "base/env.h"
#include "base/failure.h"

struct vd_guest_memory;
struct vd_guest_region;

/* What a host device is and can do; filled by open(), constant afterwards. Strings live as long as the host device. */
struct vd_host_info {
    const char *model; /* what the host calls it; "" when nothing */
    uint16_t vendor, device, subvendor, subdevice;
    uint32_t class_code;
    bool can_reset;
    struct vd_region_info regions[VD_REGION_COUNT];
    struct vd_irq_info irqs[VD_IRQ_COUNT];
    struct vd_dma_info dma;
    uint32_t dma_batch; /* most entries that one dma_map() or dma_unmap() takes; 0: core's default of 64 */
    /*
     * Config space is the hardware's own: core virtualises it (config.c). region_read() and region_write() of
     * VD_REGION_CONFIG then reach the hardware, in naturally aligned accesses of 1, 2 or 4 bytes, and areas of BARs may
     * cover the MSI-X table: core cuts it out.
     */
    bool raw_config;
    uint32_t page_size; /* that areas are aligned to, a power of two; 0: this machine's */
    int poll_fd;        /* readable when dispatch() has work; -1: never needed; the back end's */
};

/* What the host tells core. Set up by core before open(); callable until close() returns. */
struct vd_host_events {
    /* An MSI or MSI-X vector fired, or ERR or REQ (vector 0). Never blocks. */
    void (*irq)(void *opaque, unsigned index, uint32_t vector);
    /* The INTx line changed its level. Never blocks. */
    void (*intx)(void *opaque, bool asserted);
    /* The device is gone: from now on operations answer -ENODEV. */
    void (*gone)(void *opaque);
    void *opaque;
};

/* One mapping as core hands it down; core owns the array, the back end fills the results. */
struct vd_host_map {
    /* in, validated: granular, nonzero, inside the domain, within the limits, not overlapping (chosen) */
    void *host;                         /* NULL with remote */
    const struct vd_dma_remote *remote; /* only when info.dma.indirect */
    uint64_t remote_address;
    const struct vd_dma_file *file; /* valid during the call; set when info.dma.needs_file */
    uint64_t size;
    uint32_t access;
    uint64_t iova; /* chosen */
    struct vd_dma_segment *segments;
    uint32_t max_segments; /* at least 1 */
    /* out */
    uint32_t nr_segments;
    void *token; /* the back end's name for the mapping; valid until unmapped */
    int status;
};

struct vd_backend_ops {
    /* The scheme before the first ':' of an address, and the name shown to people. */
    const char *name;

    /*
     * Opens the device at `address` (the whole address, scheme included). On success fills *info and *host. On failure
     * nothing is left behind, *failure says what and how to mend it. Errors: those of vd_device_open(). NULL for devices
     * that are made by vd_device_adopt() only.
     */
    int (*open)(const struct vd_env *env, const char *address, const struct vd_host_events *events,
                void **host, struct vd_host_info *info, struct vd_failure *failure);
    /*
     * Finds the devices that are there, without touching them: writes up to `max` and returns how many there are. NULL
     * when the host has no list. -ENOENT: there is no such host here, which is no failure for a list; -EACCES; -EIO.
     */
    int (*scan)(const struct vd_env *env, struct vd_device_found *found, size_t max,
                struct vd_failure *failure);
    /* Releases everything, mappings included. Cannot fail. */
    void (*close)(void *host);

    /*
     * Accesses a region; [offset, offset + count) lies within it, count > 0, and index exists. 0; -ENODEV; -EIO;
     * -EINVAL for a width the host cannot do (core does not retry).
     */
    int (*region_read)(void *host, unsigned index, uint64_t offset, void *buffer, size_t count);
    int (*region_write)(void *host, unsigned index, uint64_t offset, const void *buffer, size_t count);
    /*
     * For a VD_REGION_MMAP region: the fd (the back end's, until close) and the offset of the region in it. NULL when
     * there never is one.
     */
    int (*region_fd)(void *host, unsigned index, uint64_t *offset);
    /*
     * Maps [offset, offset + size), which lies in one of the areas of a VD_REGION_LOCAL region, into this process, write-
     * combining when prefetchable; undone by region_unmap() or close(). 0; -ENODEV; -ENOMEM; -EIO. Both NULL: core maps
     * from region_fd().
     */
    int (*region_map)(void *host, unsigned index, uint64_t offset, uint64_t size, void **memory);
    void (*region_unmap)(void *host, unsigned index, void *memory, uint64_t size);

    /*
     * Switches the kind of interrupt: index VD_IRQ_INTX, MSI or MSIX with the number of vectors in use; count 0 turns that
     * kind off. Core never has two kinds on at once. 0; -ENODEV; -EIO. Cannot fail for count 0.
     */
    int (*irq_enable)(void *host, unsigned index, uint32_t count);

    /* Resets the function; mappings stay. NULL when !can_reset. 0; -ENODEV; -EIO. */
    int (*reset)(void *host);

    /* Maps `count` entries, each with its own status. The entries' memory outlives the mappings. */
    void (*dma_map)(void *host, struct vd_host_map *entries, size_t count);
    /*
     * Unmaps by token. Guarantee: afterwards the device cannot reach the memory and no access is in flight. Allocates
     * nothing and cannot fail.
     */
    void (*dma_unmap)(void *host, void *const *tokens, size_t count);

    /* Does pending work; see vd_device_dispatch(). NULL when there is never any. */
    bool (*dispatch)(void *host, bool will_block);
    /*
     * For device models that look into guest memory themselves (the companion); NULL for all others. A client attached
     * with this table, or, with NULL, leaves: the table is destroyed when the call returns.
     */
    void (*guest_memory)(void *host, const struct vd_guest_memory *memory);
    /* A region of that table is about to go: nothing may use it when this returns. Set when guest_memory is. */
    void (*guest_memory_removed)(void *host, const struct vd_guest_region *region);

    /* DMA accesses that the IOMMU refused so far. NULL when the host cannot tell. Any thread. */
    uint64_t (*faults)(void *host);
};

#endif
