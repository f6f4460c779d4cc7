/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-or-later */
/*
 * The companion device of a passed-through device: PCI 1b36:0015, by which a guest asks for DMA mappings where the host
 * picks the bus addresses. Registers 0x00 to 0x18, the first 32 bytes of the command page and the narrow entries are
 * version 2 of the RFC series "vfio: PCI device passthrough on Apple Silicon Macs" (qemu-devel, April 2026). Everything
 * else is ours, lies where version 2 reads 0, and is in force only after the guest has written DRIVER_FEATURES.
 *
 * A batch: the guest fills the command page and the request array, writes DOORBELL, and reads STATUS before it looks at
 * the responses: the transport may post the write, and the read is what waits for the device.
 *
 * Layouts only: no OS header. A Linux kernel defines vd_le32 and vd_le64 (naturally aligned there) before it includes
 * this file. Everything is little-endian; lengths are bytes; GPA is a guest-physical address.
 */
#ifndef PROTO_APPLE_DMA_H
#define PROTO_APPLE_DMA_H

#ifndef __KERNEL__
#include <stddef.h>
#include <stdint.h>

#include "base/le.h"
#endif

enum {
    VD_APPLE_DMA_VENDOR = 0x1b36,
    VD_APPLE_DMA_DEVICE = 0x0015,
    VD_APPLE_DMA_CLASS = 0x088000, /* base system peripheral, other */
    VD_APPLE_DMA_BAR_SIZE = 4096,
    VD_APPLE_DMA_VERSION = 2,
    VD_APPLE_DMA_MAX_ENTRIES = 4096, /* of one batch; the register may say less */
    VD_APPLE_DMA_MAX_SEGMENTS = 16,  /* of one mapping; the register may say less */
};

/* BAR 0: 32-bit registers, accessed as such; whatever is not listed reads 0 and takes no write. */
enum vd_apple_dma_register {
    VD_APPLE_DMA_REG_VERSION = 0x00,     /* R */
    VD_APPLE_DMA_REG_MANAGED_BDF = 0x04, /* R: bus << 8 | device << 3 | function of the managed device */
    VD_APPLE_DMA_REG_MAX_ENTRIES = 0x08, /* R */
    VD_APPLE_DMA_REG_STATUS = 0x0c,      /* R: enum vd_apple_dma_status of the last doorbell */
    VD_APPLE_DMA_REG_CMD_GPA_LO = 0x10,  /* W: GPA of the command page; 0: the guest lets go of the device */
    VD_APPLE_DMA_REG_CMD_GPA_HI =
        0x14, /* W: when a page moves, first the half that stays or becomes other than 0 */
    VD_APPLE_DMA_REG_DOORBELL = 0x18, /* W: any write runs the batch */

    VD_APPLE_DMA_REG_CONTROL = 0x1c,  /* W: enum vd_apple_dma_control; reads 0 */
    VD_APPLE_DMA_REG_FEATURES = 0x20, /* R: enum vd_apple_dma_feature on offer; 0: a version 2 device */
    VD_APPLE_DMA_REG_DRIVER_FEATURES = 0x24,   /* RW: in force; what is not on offer does not stick */
    VD_APPLE_DMA_REG_GRANULE = 0x28,           /* R: bytes, a power of two; mappings occupy multiples of it */
    VD_APPLE_DMA_REG_MAX_SEGMENTS = 0x2c,      /* R: most segments a mapping can come in */
    VD_APPLE_DMA_REG_LIMIT_BYTES_LO = 0x30,    /* R: 64 bits, all ones: no limit */
    VD_APPLE_DMA_REG_LIMIT_BYTES_HI = 0x34,    /* R */
    VD_APPLE_DMA_REG_LIMIT_MAPPINGS_LO = 0x38, /* R: likewise */
    VD_APPLE_DMA_REG_LIMIT_MAPPINGS_HI = 0x3c, /* R */
    VD_APPLE_DMA_REG_USED_BYTES_LO = 0x40,     /* R: reading it latches the high half */
    VD_APPLE_DMA_REG_USED_BYTES_HI = 0x44,     /* R */
    VD_APPLE_DMA_REG_USED_MAPPINGS_LO = 0x48,  /* R: likewise */
    VD_APPLE_DMA_REG_USED_MAPPINGS_HI = 0x4c,  /* R */
    VD_APPLE_DMA_REG_BUS_FIRST_LO = 0x50,      /* R: lowest bus address that a mapping can have */
    VD_APPLE_DMA_REG_BUS_FIRST_HI = 0x54,      /* R */
    VD_APPLE_DMA_REG_BUS_LAST_LO = 0x58,       /* R: highest, inclusive; all ones: not known */
    VD_APPLE_DMA_REG_BUS_LAST_HI = 0x5c,       /* R */
    VD_APPLE_DMA_REG_MANAGED_ID = 0x60,        /* R: vendor id | device id << 16 of the managed device */
    VD_APPLE_DMA_REG_MANAGED_SUBSYSTEM = 0x64, /* R: the same of its subsystem */
    VD_APPLE_DMA_REG_LOST =
        0x68, /* R: mappings that the host took away unasked; wraps. Their ids can still be unmapped */
    VD_APPLE_DMA_REG_STATE = 0x6c, /* R: enum vd_apple_dma_state */
};

/* MANAGED_BDF when the host cannot know where the guest's firmware puts the device: look for MANAGED_ID. */
#define VD_APPLE_DMA_BDF_UNKNOWN 0xffffffffu

enum vd_apple_dma_control {
    /* Stops the managed device, releases every mapping, and forgets the command page and DRIVER_FEATURES. */
    VD_APPLE_DMA_CONTROL_RESET = 1,
};

enum vd_apple_dma_feature {
    VD_APPLE_DMA_FEATURE_WIDE = 1,         /* the wide command page and the wide entries */
    VD_APPLE_DMA_FEATURE_ALIGN = 2,        /* alignment requests are honoured (needs WIDE) */
    VD_APPLE_DMA_FEATURE_EXCHANGE = 4,     /* VD_APPLE_DMA_EXCHANGE (needs WIDE) */
    VD_APPLE_DMA_FEATURE_UNMAP_WITHIN = 8, /* VD_APPLE_DMA_UNMAP_WITHIN (needs WIDE) */
};

enum vd_apple_dma_state {
    VD_APPLE_DMA_STATE_PRESENT = 1, /* the managed device is there */
    VD_APPLE_DMA_STATE_ACTIVE = 2,  /* a command page is set: the managed device answers and may do DMA */
};

enum vd_apple_dma_type {
    VD_APPLE_DMA_MAP = 1,
    VD_APPLE_DMA_UNMAP = 2,
    VD_APPLE_DMA_EXCHANGE = 3,     /* wide: first the unmap array, then the map array, in one batch */
    VD_APPLE_DMA_UNMAP_WITHIN = 4, /* wide: every mapping that lies wholly in one of the ranges */
};

/*
 * Of a batch: OK when each of its entries is, INVALID when nothing of it was done. An entry that was looked at is OK or
 * IO_ERROR; what is wrong with a wide one says `why`.
 */
enum vd_apple_dma_status {
    VD_APPLE_DMA_OK = 0,
    VD_APPLE_DMA_IO_ERROR = 1,
    VD_APPLE_DMA_INVALID = 3,
};

/* What went wrong with an entry, and who can mend it. */
enum vd_apple_dma_why {
    VD_APPLE_DMA_WHY_NONE = 0,
    VD_APPLE_DMA_WHY_LENGTH = 1,  /* 0, or the range wraps */
    VD_APPLE_DMA_WHY_NOT_RAM = 2, /* the range, in whole granules, is not all in one region of guest RAM */
    VD_APPLE_DMA_WHY_ACCESS = 3,  /* the device is to write memory that is read-only */
    VD_APPLE_DMA_WHY_FLAGS = 4, /* unknown flags, reserved fields, or an alignment that is no power of two */
    VD_APPLE_DMA_WHY_BYTES = 5, /* the byte limit is used up: unmap something */
    VD_APPLE_DMA_WHY_MAPPINGS = 6, /* the mapping limit is used up: unmap something */
    VD_APPLE_DMA_WHY_SPACE = 7, /* within the limits, but no hole is large enough: unmap, or ask for less */
    VD_APPLE_DMA_WHY_SEGMENTS = 8,    /* it came in more segments than there is room for: ask for less */
    VD_APPLE_DMA_WHY_ALIGNMENT = 9,   /* the host had no address aligned as asked, or gpa itself is not */
    VD_APPLE_DMA_WHY_EXISTS = 10,     /* narrow entries only: that GPA is mapped already */
    VD_APPLE_DMA_WHY_UNKNOWN_ID = 11, /* this guest has no such mapping */
    VD_APPLE_DMA_WHY_GONE = 12,       /* the managed device is gone; what was mapped is not any more */
    VD_APPLE_DMA_WHY_MEMORY = 13,     /* the host is out of memory */
    VD_APPLE_DMA_WHY_HOST = 14, /* the host refused for a reason of its own, or a batch is too much work */
};

/* Which way the device may go; 0 is both. Narrow entries always are both. */
enum vd_apple_dma_flag {
    VD_APPLE_DMA_DEVICE_READS = 1,
    VD_APPLE_DMA_DEVICE_WRITES = 2,
};

/* Version 2: the command page. Neither array may be at GPA 0; count is 1 to MAX_ENTRIES. */
struct vd_apple_dma_command {
    vd_le32 type;      /* enum vd_apple_dma_type */
    vd_le32 count;     /* entries in both arrays */
    vd_le32 status;    /* out: as STATUS */
    vd_le32 reserved;  /* not looked at; wide: 0 */
    vd_le64 requests;  /* GPA */
    vd_le64 responses; /* GPA */
};

/* The command page once WIDE is in force. */
struct vd_apple_dma_wide_command {
    struct vd_apple_dma_command base; /* in an EXCHANGE of unmaps only, count may be 0 */
    /*
     * in: room in each map response, 1 to VD_APPLE_DMA_MAX_SEGMENTS, which may be more than the register says is ever
     * used; not looked at without map entries
     */
    vd_le32 segments;
    vd_le32 unmap_count;     /* in: EXCHANGE, entries in the unmap arrays, at most MAX_ENTRIES; else 0 */
    vd_le64 unmap_requests;  /* in: GPA */
    vd_le64 unmap_responses; /* in: GPA */
    vd_le32 done;            /* out: entries that succeeded */
    vd_le32 lost;            /* out: as LOST */
    vd_le64 used_bytes;      /* out: what this guest has mapped now */
    vd_le64 used_mappings;   /* out */
    vd_le64 reserved[2];     /* 0 */
};

/* Version 2: maps gpa .. gpa + len - 1; the id of the mapping is its GPA. */
struct vd_apple_dma_map {
    vd_le64 gpa;
    vd_le32 len;
    vd_le32 flags; /* not looked at */
};

/* Of an entry that failed only the status is written. */
struct vd_apple_dma_mapped {
    vd_le64 id;
    vd_le64 address; /* bus address of gpa */
    vd_le32 len;     /* as asked */
    vd_le32 status;
};

struct vd_apple_dma_wide_map {
    vd_le64 gpa;
    vd_le64 len;
    vd_le32 flags;    /* enum vd_apple_dma_flag */
    vd_le32 reserved; /* 0 */
    vd_le64 align;    /* 0, or a power of two that the bus address of gpa is to be a multiple of */
};

struct vd_apple_dma_segment {
    vd_le64 address; /* bus address */
    vd_le64 len;
};

/* Followed by as many struct vd_apple_dma_segment as the command page says there is room for. */
struct vd_apple_dma_wide_mapped {
    vd_le64 id;          /* the device's choice, bit 63 is set; 0 when it failed */
    vd_le32 status;      /* enum vd_apple_dma_status */
    vd_le32 why;         /* enum vd_apple_dma_why */
    vd_le32 nr_segments; /* in use; their lengths add up to what was asked, in the order of the memory */
    vd_le32 reserved;    /* 0 */
};

/* Both layouts. */
struct vd_apple_dma_unmap {
    vd_le64 id;
    vd_le64 size; /* not looked at */
};

struct vd_apple_dma_unmapped {
    vd_le64 id;
    vd_le32 status;
    vd_le32 why; /* wide: enum vd_apple_dma_why; narrow: 0 */
};

/* UNMAP_WITHIN: the range; answered by a vd_apple_dma_unmapped whose id is the number of mappings that went. */
struct vd_apple_dma_within {
    vd_le64 gpa;
    vd_le64 len; /* gpa 0 and len 2^64 - 1: everything */
};

#define VD_APPLE_DMA_LAYOUT(type, size) _Static_assert(sizeof(struct type) == (size), #type)
#define VD_APPLE_DMA_OFFSET(type, member, at)                                                                \
    _Static_assert(offsetof(struct type, member) == (at), #type "." #member)

VD_APPLE_DMA_LAYOUT(vd_apple_dma_command, 32);
VD_APPLE_DMA_OFFSET(vd_apple_dma_command, count, 4);
VD_APPLE_DMA_OFFSET(vd_apple_dma_command, status, 8);
VD_APPLE_DMA_OFFSET(vd_apple_dma_command, requests, 16);
VD_APPLE_DMA_OFFSET(vd_apple_dma_command, responses, 24);
VD_APPLE_DMA_LAYOUT(vd_apple_dma_wide_command, 96);
VD_APPLE_DMA_OFFSET(vd_apple_dma_wide_command, segments, 32);
VD_APPLE_DMA_OFFSET(vd_apple_dma_wide_command, unmap_count, 36);
VD_APPLE_DMA_OFFSET(vd_apple_dma_wide_command, unmap_requests, 40);
VD_APPLE_DMA_OFFSET(vd_apple_dma_wide_command, unmap_responses, 48);
VD_APPLE_DMA_OFFSET(vd_apple_dma_wide_command, done, 56);
VD_APPLE_DMA_OFFSET(vd_apple_dma_wide_command, lost, 60);
VD_APPLE_DMA_OFFSET(vd_apple_dma_wide_command, used_bytes, 64);
VD_APPLE_DMA_OFFSET(vd_apple_dma_wide_command, used_mappings, 72);
VD_APPLE_DMA_LAYOUT(vd_apple_dma_map, 16);
VD_APPLE_DMA_OFFSET(vd_apple_dma_map, len, 8);
VD_APPLE_DMA_OFFSET(vd_apple_dma_map, flags, 12);
VD_APPLE_DMA_LAYOUT(vd_apple_dma_mapped, 24);
VD_APPLE_DMA_OFFSET(vd_apple_dma_mapped, address, 8);
VD_APPLE_DMA_OFFSET(vd_apple_dma_mapped, len, 16);
VD_APPLE_DMA_OFFSET(vd_apple_dma_mapped, status, 20);
VD_APPLE_DMA_LAYOUT(vd_apple_dma_wide_map, 32);
VD_APPLE_DMA_OFFSET(vd_apple_dma_wide_map, len, 8);
VD_APPLE_DMA_OFFSET(vd_apple_dma_wide_map, flags, 16);
VD_APPLE_DMA_OFFSET(vd_apple_dma_wide_map, align, 24);
VD_APPLE_DMA_LAYOUT(vd_apple_dma_segment, 16);
VD_APPLE_DMA_OFFSET(vd_apple_dma_segment, len, 8);
VD_APPLE_DMA_LAYOUT(vd_apple_dma_wide_mapped, 24);
VD_APPLE_DMA_OFFSET(vd_apple_dma_wide_mapped, status, 8);
VD_APPLE_DMA_OFFSET(vd_apple_dma_wide_mapped, why, 12);
VD_APPLE_DMA_OFFSET(vd_apple_dma_wide_mapped, nr_segments, 16);
VD_APPLE_DMA_LAYOUT(vd_apple_dma_unmap, 16);
VD_APPLE_DMA_OFFSET(vd_apple_dma_unmap, size, 8);
VD_APPLE_DMA_LAYOUT(vd_apple_dma_unmapped, 16);
VD_APPLE_DMA_OFFSET(vd_apple_dma_unmapped, status, 8);
VD_APPLE_DMA_OFFSET(vd_apple_dma_unmapped, why, 12);
VD_APPLE_DMA_LAYOUT(vd_apple_dma_within, 16);
VD_APPLE_DMA_OFFSET(vd_apple_dma_within, len, 8);

#endif
