/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 * Regions of a PCI device: the BARs, the expansion ROM and config space, numbered as VFIO numbers them
 * (linux/vfio.h, VFIO_PCI_*_REGION_INDEX).
 */
#ifndef VIADUCT_REGION_H
#define VIADUCT_REGION_H

#include <viaduct/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vd_device;

/** Region indexes. */
enum vd_region_index {
    VD_REGION_BAR0 = 0, /**< BARs 0 to 5 are indexes 0 to 5 */
    VD_REGION_BAR5 = 5,
    VD_REGION_ROM = 6,
    VD_REGION_CONFIG = 7,
    VD_REGION_VGA = 8,
    VD_REGION_COUNT = 9,
};

/** Region flags; the first three have VFIO's values. */
enum vd_region_flag {
    VD_REGION_READ = 1,         /**< reads are allowed */
    VD_REGION_WRITE = 2,        /**< writes are allowed */
    VD_REGION_MMAP = 4,         /**< the areas can be mapped from the region's fd */
    VD_REGION_PREFETCHABLE = 8, /**< a prefetchable BAR: may be mapped write-combining */
    VD_REGION_64BIT = 16,       /**< a 64-bit BAR; the next index has size 0 */
    VD_REGION_LOCAL = 32, /**< the areas can be mapped by vd_region_map(); always set with VD_REGION_MMAP */
};

/** Most areas that one region can have. */
#define VD_REGION_MAX_AREAS 8

/** A part of a region that may be mapped; offset and size are multiples of the host's page size. */
struct vd_region_area {
    uint64_t offset; /**< bytes from the start of the region */
    uint64_t size;   /**< bytes */
};

/** What a region is. Accesses outside its areas always trap to vd_region_read() and vd_region_write(). */
struct vd_region_info {
    uint64_t size;                                    /**< bytes; 0: the region does not exist */
    uint32_t flags;                                   /**< enum vd_region_flag */
    uint32_t nr_areas;                                /**< areas in use; 0 unless VD_REGION_LOCAL */
    struct vd_region_area areas[VD_REGION_MAX_AREAS]; /**< ascending, disjoint */
};

/**
 * Describes a region.
 * @return 0; -EINVAL for an index of VD_REGION_COUNT or more. A region that does not exist is success with size 0.
 */
VD_EXPORT int vd_region_info(const struct vd_device *device, unsigned index, struct vd_region_info *out);

/**
 * The descriptor to map a region's areas from: mmap at *offset + area offset. The descriptor stays the device's; it is
 * valid until vd_device_close(); duplicate it to keep it.
 * @return the fd (>= 0); -EINVAL bad index; -ENOTSUP the region has no VD_REGION_MMAP
 */
VD_EXPORT int vd_region_fd(const struct vd_device *device, unsigned index, uint64_t *offset);

/**
 * Maps a part of an area into this process, write-combining when the region is prefetchable and the host can do that.
 * Undo with vd_region_unmap(), at the latest before vd_device_close(). Where the device is removed meanwhile, reads give
 * all ones or raise SIGBUS, as the host has it.
 * @param offset from the start of the region; with size a multiple of the host's page size, inside one area
 * @return 0; -EINVAL bad index, or not inside an area; -ENOTSUP no VD_REGION_LOCAL; -ENODEV; -ENOMEM; -EIO
 */
VD_EXPORT int vd_region_map(struct vd_device *device, unsigned index, uint64_t offset, uint64_t size,
                            void **memory);

/** Unmaps what vd_region_map() mapped, whole. */
VD_EXPORT void vd_region_unmap(struct vd_device *device, unsigned index, void *memory, uint64_t size);

/**
 * Reads `count` bytes at `offset`, on the device's thread. Registers are read as the device defines for the width:
 * 1, 2, 4 and 8 byte accesses at natural alignment are single accesses, others are split.
 * @return 0; -EINVAL bad index, offset or count beyond the region, or count 0; -EACCES not readable; -ENODEV the device
 *         is gone; -EIO the host refused. On failure the buffer's content is unspecified.
 */
VD_EXPORT int vd_region_read(struct vd_device *device, unsigned index, uint64_t offset, void *buffer,
                             size_t count);

/** Writes `count` bytes at `offset`; rules and errors as for vd_region_read() (-EACCES: not writable). */
VD_EXPORT int vd_region_write(struct vd_device *device, unsigned index, uint64_t offset, const void *buffer,
                              size_t count);

#ifdef __cplusplus
}
#endif
#endif
