/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 * The DMA domain of a device: what its IOMMU can map and what is mapped. Bus addresses are either *chosen* by the
 * caller (Linux) or *assigned* by the host (a DART). Every mapping is accounted against the host's limits and against
 * an optional quota.
 *
 * Threads: as for the device; vd_dma_usage() from any thread.
 */
#ifndef VIADUCT_DMA_H
#define VIADUCT_DMA_H

#include <viaduct/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vd_device;

/** Who picks bus addresses. */
enum vd_dma_addressing {
    VD_DMA_CHOSEN,   /**< the caller */
    VD_DMA_ASSIGNED, /**< the host */
};

/** What a domain can do; constant for a device. */
struct vd_dma_info {
    enum vd_dma_addressing addressing; /**< who picks bus addresses */
    uint64_t granule;                  /**< bytes; lengths and host addresses are multiples of it */
    uint64_t limit_bytes;              /**< most bytes mapped at once; UINT64_MAX: no limit */
    uint64_t limit_mappings;           /**< most mappings at once; UINT64_MAX: no limit */
    vd_iova first;                     /**< lowest bus address */
    vd_iova last;                      /**< highest bus address, inclusive */
    uint32_t max_segments;             /**< most bus segments for one mapping; 1 when chosen */
    bool indirect;   /**< memory without a host pointer can be mapped (simulated hosts only) */
    bool needs_file; /**< memory must be shared and come with its file: the host is another process */
};

/** What is in use. */
struct vd_dma_usage {
    uint64_t bytes;          /**< mapped now */
    uint64_t mappings;       /**< mapped now */
    uint64_t peak_bytes;     /**< most at any time since the device was opened */
    uint64_t peak_mappings;  /**< most at any time since the device was opened */
    uint64_t quota_bytes;    /**< the lower of the host's limit and the quota */
    uint64_t quota_mappings; /**< likewise */
};

/** Asked for by callers that want memory reached through messages instead of a pointer; see vd_dma_map.remote. */
struct vd_dma_remote {
    /** Reads guest memory. 0; -EIO refused; -ETIMEDOUT */
    int (*read)(void *opaque, uint64_t address, void *buffer, size_t size);
    /** Writes guest memory. 0; -EIO refused; -ETIMEDOUT */
    int (*write)(void *opaque, uint64_t address, const void *buffer, size_t size);
    void *opaque; /**< handed to both */
};

/** The file behind memory, for hosts that must be handed it; see vd_dma_info.needs_file. */
struct vd_dma_file {
    int fd;          /**< the caller's; duplicated when it is kept */
    uint64_t offset; /**< of the memory in the file */
};

/** A run of bus addresses. */
struct vd_dma_segment {
    vd_iova iova;  /**< first bus address */
    uint64_t size; /**< bytes */
};

/**
 * A mapping's handle. vd_device_quiesce() takes the mapping away but not the handle: give every handle back with
 * vd_dma_unmap(), before or after; those that are left are freed by vd_device_close().
 */
struct vd_dma_mapping;

/** One mapping to make: the first group goes in, the second comes out. */
struct vd_dma_map {
    void *host; /**< the memory; NULL with `remote` */
    const struct vd_dma_remote
        *remote;             /**< instead of host, where vd_dma_info.indirect; must outlive the mapping */
    uint64_t remote_address; /**< the address that `remote` is asked for at offset 0 */
    const struct vd_dma_file *file;  /**< the file behind host; NULL: unknown, refused where needs_file */
    uint64_t size;                   /**< bytes, a multiple of the granule */
    uint32_t access;                 /**< enum vd_access, at least one */
    vd_iova iova;                    /**< where to map (chosen); ignored (assigned) */
    struct vd_dma_segment *segments; /**< room for the result, or NULL when chosen and not wanted */
    uint32_t max_segments;           /**< entries of room */

    uint32_t nr_segments;           /**< entries written */
    struct vd_dma_mapping *mapping; /**< to unmap with; NULL on failure */
    int status;                     /**< 0 or the errno of this entry */
};

/** Describes the device's domain. Any thread. */
VD_EXPORT const struct vd_dma_info *vd_dma_info(const struct vd_device *device);

/** Reads the use. Any thread. */
VD_EXPORT void vd_dma_usage(const struct vd_device *device, struct vd_dma_usage *out);

/** Limits this user to less than the host's limits; UINT64_MAX lifts. What is mapped stays mapped. */
VD_EXPORT void vd_dma_set_quota(struct vd_device *device, uint64_t bytes, uint64_t mappings);

/**
 * Makes `count` mappings in one call to the host. Entries succeed or fail one by one; look at each status.
 * Entry errors: -EINVAL size 0, not granular, wraps, no access, or both or neither of host and remote; -EEXIST overlaps
 * a mapping (chosen); -ERANGE outside [first, last]; -ENOSPC the host's or the quota's bytes or mappings are used up;
 * -ENOBUFS more segments than room, or no room at all (assigned); -ENOTSUP remote without `indirect`; -ENODEV the device
 * is gone; -ENOMEM; -EIO
 * @return 0 when all succeeded, else the first failing entry's status
 */
VD_EXPORT int vd_dma_map(struct vd_device *device, struct vd_dma_map *entries, size_t count);

/**
 * Releases mappings, NULL entries skipped. When it returns the device can no longer reach the memory and holds no
 * access in flight. Cannot fail.
 */
VD_EXPORT void vd_dma_unmap(struct vd_device *device, struct vd_dma_mapping **mappings, size_t count);

#ifdef __cplusplus
}
#endif
#endif
