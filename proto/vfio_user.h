/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-or-later */
/*
 * Byte layouts of the vfio-user protocol, version 0.0, as specified by QEMU's docs/interop/vfio-user.rst; the section
 * titles in the comments are that document's. Layouts only: no OS header, usable by client and server alike.
 *
 * The specification says host byte order; every host that speaks the protocol is little-endian, so the layouts are too.
 */
#ifndef PROTO_VFIO_USER_H
#define PROTO_VFIO_USER_H

#include <stddef.h>

#include "base/le.h"

#define VFIO_USER_ASSERT_SIZE(type, size) _Static_assert(sizeof(struct type) == (size), #type " size")
#define VFIO_USER_ASSERT_AT(type, field, at)                                                                 \
    _Static_assert(offsetof(struct type, field) == (at), #type "." #field)

/* "Commands". DIRTY_PAGES left the specification before it was frozen; its number stays reserved. */
enum vfio_user_command {
    VFIO_USER_VERSION = 1,
    VFIO_USER_DMA_MAP = 2,
    VFIO_USER_DMA_UNMAP = 3,
    VFIO_USER_DEVICE_GET_INFO = 4,
    VFIO_USER_DEVICE_GET_REGION_INFO = 5,
    VFIO_USER_DEVICE_GET_REGION_IO_FDS = 6,
    VFIO_USER_DEVICE_GET_IRQ_INFO = 7,
    VFIO_USER_DEVICE_SET_IRQS = 8,
    VFIO_USER_REGION_READ = 9,
    VFIO_USER_REGION_WRITE = 10,
    VFIO_USER_DMA_READ = 11,  /* server to client */
    VFIO_USER_DMA_WRITE = 12, /* server to client */
    VFIO_USER_DEVICE_RESET = 13,
    VFIO_USER_DIRTY_PAGES = 14,
    VFIO_USER_REGION_WRITE_MULTI = 15,
    VFIO_USER_DEVICE_FEATURE = 16,
    VFIO_USER_MIG_DATA_READ = 17,
    VFIO_USER_MIG_DATA_WRITE = 18,
    VFIO_USER_COMMAND_END = 19, /* one past the last */
};

/* "Header". */
enum vfio_user_flag {
    VFIO_USER_TYPE_MASK = 0x0f,
    VFIO_USER_TYPE_COMMAND = 0,
    VFIO_USER_TYPE_REPLY = 1,
    VFIO_USER_NO_REPLY = 0x10,
    VFIO_USER_ERROR = 0x20,
};

struct vfio_user_header {
    vd_le16 id;
    vd_le16 command;
    vd_le32 size; /* of the whole message, this header included */
    vd_le32 flags;
    vd_le32 error; /* a Linux errno, in replies that have VFIO_USER_ERROR */
};
VFIO_USER_ASSERT_SIZE(vfio_user_header, 16);
VFIO_USER_ASSERT_AT(vfio_user_header, id, 0);
VFIO_USER_ASSERT_AT(vfio_user_header, command, 2);
VFIO_USER_ASSERT_AT(vfio_user_header, size, 4);
VFIO_USER_ASSERT_AT(vfio_user_header, flags, 8);
VFIO_USER_ASSERT_AT(vfio_user_header, error, 12);

/* "VFIO_USER_VERSION"; NUL-terminated JSON follows, or nothing. */
struct vfio_user_version {
    vd_le16 major;
    vd_le16 minor;
};
VFIO_USER_ASSERT_SIZE(vfio_user_version, 4);
VFIO_USER_ASSERT_AT(vfio_user_version, major, 0);
VFIO_USER_ASSERT_AT(vfio_user_version, minor, 2);

enum {
    VFIO_USER_MAJOR = 0,
    VFIO_USER_MINOR = 0,
    /* Defaults of the capabilities, for a peer that does not name them. */
    VFIO_USER_DEFAULT_MSG_FDS = 1,
    VFIO_USER_DEFAULT_DATA_XFER = 1048576,
    VFIO_USER_DEFAULT_DMA_MAPS = 65535,
    VFIO_USER_DEFAULT_PGSIZES = 4096,
};

/* "VFIO_USER_DMA_MAP"; no reply payload. */
enum vfio_user_dma_map_flag { VFIO_USER_DMA_MAP_READ = 1, VFIO_USER_DMA_MAP_WRITE = 2 };

struct vfio_user_dma_map {
    vd_le32 argsz;
    vd_le32 flags;
    vd_le64 offset;
    vd_le64 address;
    vd_le64 size;
};
VFIO_USER_ASSERT_SIZE(vfio_user_dma_map, 32);
VFIO_USER_ASSERT_AT(vfio_user_dma_map, argsz, 0);
VFIO_USER_ASSERT_AT(vfio_user_dma_map, flags, 4);
VFIO_USER_ASSERT_AT(vfio_user_dma_map, offset, 8);
VFIO_USER_ASSERT_AT(vfio_user_dma_map, address, 16);
VFIO_USER_ASSERT_AT(vfio_user_dma_map, size, 24);

/* "VFIO_USER_DMA_UNMAP", request and reply. The flags are VFIO's; the specification calls the field unused. */
enum vfio_user_dma_unmap_flag { VFIO_USER_DMA_UNMAP_DIRTY_BITMAP = 1, VFIO_USER_DMA_UNMAP_ALL = 2 };

struct vfio_user_dma_unmap {
    vd_le32 argsz;
    vd_le32 flags;
    vd_le64 address;
    vd_le64 size;
};
VFIO_USER_ASSERT_SIZE(vfio_user_dma_unmap, 24);
VFIO_USER_ASSERT_AT(vfio_user_dma_unmap, argsz, 0);
VFIO_USER_ASSERT_AT(vfio_user_dma_unmap, flags, 4);
VFIO_USER_ASSERT_AT(vfio_user_dma_unmap, address, 8);
VFIO_USER_ASSERT_AT(vfio_user_dma_unmap, size, 16);

/* "VFIO_USER_DEVICE_GET_INFO", request and reply. */
enum vfio_user_device_flag { VFIO_USER_DEVICE_FLAG_RESET = 1, VFIO_USER_DEVICE_FLAG_PCI = 2 };

struct vfio_user_device_info {
    vd_le32 argsz;
    vd_le32 flags;
    vd_le32 num_regions;
    vd_le32 num_irqs;
};
VFIO_USER_ASSERT_SIZE(vfio_user_device_info, 16);
VFIO_USER_ASSERT_AT(vfio_user_device_info, argsz, 0);
VFIO_USER_ASSERT_AT(vfio_user_device_info, flags, 4);
VFIO_USER_ASSERT_AT(vfio_user_device_info, num_regions, 8);
VFIO_USER_ASSERT_AT(vfio_user_device_info, num_irqs, 12);

/* "VFIO_USER_DEVICE_GET_REGION_INFO", request and reply. */
enum vfio_user_region_flag {
    VFIO_USER_REGION_FLAG_READ = 1,
    VFIO_USER_REGION_FLAG_WRITE = 2,
    VFIO_USER_REGION_FLAG_MMAP = 4,
    VFIO_USER_REGION_FLAG_CAPS = 8,
};

struct vfio_user_region_info {
    vd_le32 argsz;
    vd_le32 flags;
    vd_le32 index;
    vd_le32 cap_offset;
    vd_le64 size;
    vd_le64 offset;
};
VFIO_USER_ASSERT_SIZE(vfio_user_region_info, 32);
VFIO_USER_ASSERT_AT(vfio_user_region_info, argsz, 0);
VFIO_USER_ASSERT_AT(vfio_user_region_info, flags, 4);
VFIO_USER_ASSERT_AT(vfio_user_region_info, index, 8);
VFIO_USER_ASSERT_AT(vfio_user_region_info, cap_offset, 12);
VFIO_USER_ASSERT_AT(vfio_user_region_info, size, 16);
VFIO_USER_ASSERT_AT(vfio_user_region_info, offset, 24);

/* "VFIO cap header format" and "VFIO region info cap sparse mmap"; nr_areas areas follow. */
enum { VFIO_USER_CAP_SPARSE_MMAP = 1, VFIO_USER_CAP_SPARSE_MMAP_VERSION = 1 };

struct vfio_user_sparse_mmap {
    vd_le16 id;
    vd_le16 version;
    vd_le32 next;
    vd_le32 nr_areas;
    vd_le32 reserved;
};
VFIO_USER_ASSERT_SIZE(vfio_user_sparse_mmap, 16);
VFIO_USER_ASSERT_AT(vfio_user_sparse_mmap, id, 0);
VFIO_USER_ASSERT_AT(vfio_user_sparse_mmap, version, 2);
VFIO_USER_ASSERT_AT(vfio_user_sparse_mmap, next, 4);
VFIO_USER_ASSERT_AT(vfio_user_sparse_mmap, nr_areas, 8);
VFIO_USER_ASSERT_AT(vfio_user_sparse_mmap, reserved, 12);

struct vfio_user_sparse_area {
    vd_le64 offset;
    vd_le64 size;
};
VFIO_USER_ASSERT_SIZE(vfio_user_sparse_area, 16);
VFIO_USER_ASSERT_AT(vfio_user_sparse_area, offset, 0);
VFIO_USER_ASSERT_AT(vfio_user_sparse_area, size, 8);

/* "VFIO_USER_DEVICE_GET_REGION_IO_FDS", request and the fixed part of the reply. */
struct vfio_user_region_io_fds {
    vd_le32 argsz;
    vd_le32 flags;
    vd_le32 index;
    vd_le32 count;
};
VFIO_USER_ASSERT_SIZE(vfio_user_region_io_fds, 16);
VFIO_USER_ASSERT_AT(vfio_user_region_io_fds, argsz, 0);
VFIO_USER_ASSERT_AT(vfio_user_region_io_fds, flags, 4);
VFIO_USER_ASSERT_AT(vfio_user_region_io_fds, index, 8);
VFIO_USER_ASSERT_AT(vfio_user_region_io_fds, count, 12);

/* "VFIO_USER_DEVICE_GET_IRQ_INFO", request and reply; flag values are enum vd_irq_flag's. */
struct vfio_user_irq_info {
    vd_le32 argsz;
    vd_le32 flags;
    vd_le32 index;
    vd_le32 count;
};
VFIO_USER_ASSERT_SIZE(vfio_user_irq_info, 16);
VFIO_USER_ASSERT_AT(vfio_user_irq_info, argsz, 0);
VFIO_USER_ASSERT_AT(vfio_user_irq_info, flags, 4);
VFIO_USER_ASSERT_AT(vfio_user_irq_info, index, 8);
VFIO_USER_ASSERT_AT(vfio_user_irq_info, count, 12);

/* "VFIO_USER_DEVICE_SET_IRQS"; `count` booleans follow with DATA_BOOL; no reply payload. */
enum vfio_user_irq_set_flag {
    VFIO_USER_IRQ_DATA_NONE = 1,
    VFIO_USER_IRQ_DATA_BOOL = 2,
    VFIO_USER_IRQ_DATA_EVENTFD = 4,
    VFIO_USER_IRQ_DATA_MASK = 7,
    VFIO_USER_IRQ_ACTION_MASK = 8,
    VFIO_USER_IRQ_ACTION_UNMASK = 16,
    VFIO_USER_IRQ_ACTION_TRIGGER = 32,
    VFIO_USER_IRQ_ACTIONS = 56,
};

struct vfio_user_irq_set {
    vd_le32 argsz;
    vd_le32 flags;
    vd_le32 index;
    vd_le32 start;
    vd_le32 count;
};
VFIO_USER_ASSERT_SIZE(vfio_user_irq_set, 20);
VFIO_USER_ASSERT_AT(vfio_user_irq_set, argsz, 0);
VFIO_USER_ASSERT_AT(vfio_user_irq_set, flags, 4);
VFIO_USER_ASSERT_AT(vfio_user_irq_set, index, 8);
VFIO_USER_ASSERT_AT(vfio_user_irq_set, start, 12);
VFIO_USER_ASSERT_AT(vfio_user_irq_set, count, 16);

/* "VFIO_USER_REGION_READ" and "VFIO_USER_REGION_WRITE", request and reply; data follows where there is any. */
struct vfio_user_region_access {
    vd_le64 offset;
    vd_le32 region;
    vd_le32 count;
};
VFIO_USER_ASSERT_SIZE(vfio_user_region_access, 16);
VFIO_USER_ASSERT_AT(vfio_user_region_access, offset, 0);
VFIO_USER_ASSERT_AT(vfio_user_region_access, region, 8);
VFIO_USER_ASSERT_AT(vfio_user_region_access, count, 12);

/* "VFIO_USER_DMA_READ" and "VFIO_USER_DMA_WRITE", requests and the READ reply; data follows where there is any. */
struct vfio_user_dma_access {
    vd_le64 address;
    vd_le64 count;
};
VFIO_USER_ASSERT_SIZE(vfio_user_dma_access, 16);
VFIO_USER_ASSERT_AT(vfio_user_dma_access, address, 0);
VFIO_USER_ASSERT_AT(vfio_user_dma_access, count, 8);

/* The WRITE reply as specified has a 4-byte count; clients are known to send 16 bytes, or none at all. */
struct vfio_user_dma_write_reply {
    vd_le64 address;
    vd_le32 count;
};
VFIO_USER_ASSERT_SIZE(vfio_user_dma_write_reply, 12);
VFIO_USER_ASSERT_AT(vfio_user_dma_write_reply, address, 0);
VFIO_USER_ASSERT_AT(vfio_user_dma_write_reply, count, 8);

/* "VFIO_USER_REGION_WRITE_MULTI": a 64-bit count, then that many of these; the reply is the count. */
struct vfio_user_write_multi {
    vd_le64 wr_cnt;
};
VFIO_USER_ASSERT_SIZE(vfio_user_write_multi, 8);
VFIO_USER_ASSERT_AT(vfio_user_write_multi, wr_cnt, 0);

enum { VFIO_USER_WRITE_ONE_DATA = 8 };

struct vfio_user_write_one {
    vd_le64 offset;
    vd_le32 region;
    vd_le32 count;
    uint8_t data[VFIO_USER_WRITE_ONE_DATA];
};
VFIO_USER_ASSERT_SIZE(vfio_user_write_one, 24);
VFIO_USER_ASSERT_AT(vfio_user_write_one, offset, 0);
VFIO_USER_ASSERT_AT(vfio_user_write_one, region, 8);
VFIO_USER_ASSERT_AT(vfio_user_write_one, count, 12);
VFIO_USER_ASSERT_AT(vfio_user_write_one, data, 16);

/* "VFIO_USER_DEVICE_FEATURE", request and reply; feature data follows. */
enum vfio_user_feature_flag {
    VFIO_USER_FEATURE_INDEX = 0xffff,
    VFIO_USER_FEATURE_GET = 1 << 16,
    VFIO_USER_FEATURE_SET = 1 << 17,
    VFIO_USER_FEATURE_PROBE = 1 << 18,
};

struct vfio_user_feature {
    vd_le32 argsz;
    vd_le32 flags;
};
VFIO_USER_ASSERT_SIZE(vfio_user_feature, 8);
VFIO_USER_ASSERT_AT(vfio_user_feature, argsz, 0);
VFIO_USER_ASSERT_AT(vfio_user_feature, flags, 4);

/* "VFIO_USER_MIG_DATA_READ" and "VFIO_USER_MIG_DATA_WRITE"; data follows where there is any. */
struct vfio_user_mig_data {
    vd_le32 argsz;
    vd_le32 size;
};
VFIO_USER_ASSERT_SIZE(vfio_user_mig_data, 8);
VFIO_USER_ASSERT_AT(vfio_user_mig_data, argsz, 0);
VFIO_USER_ASSERT_AT(vfio_user_mig_data, size, 4);

#endif
