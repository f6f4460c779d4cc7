/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-or-later */
/*
 * The user client ABI of the DriverKit extension: selectors with their scalar counts, memory types, the shared interrupt
 * page and the return codes. Selectors 0 to 17, memory types 0 to 6 and the page's first 64 bytes are those of the RFC
 * series "vfio: PCI device passthrough on Apple Silicon Macs" (qemu-devel, April 2026) and of the extensions that grew
 * out of it; what is ours begins at selector 32 and is found with VD_DEXT_GET_FEATURES, which an older extension refuses.
 *
 * Layouts only: no OS header, C and C++. Structures are little-endian; scalars are 64-bit values in registers.
 */
#ifndef PROTO_DEXT_ABI_H
#define PROTO_DEXT_ABI_H

#include <stddef.h>
#include <stdint.h>

#include "base/le.h"

/* Selectors; "scalars in -> out". A call with other counts is refused. */
enum vd_dext_selector {
    VD_DEXT_GET_IDENTITY = 0, /* 0 -> 6: bus, device, function, vendor, device id, 24-bit class */
    VD_DEXT_CLAIM = 1,        /* 0 -> 0: opens the device; sets COMMAND.MSE and COMMAND.BME */
    VD_DEXT_TERMINATE = 2,    /* 0 -> 0: the extension's instance ends and is matched anew */
    VD_DEXT_ALLOCATE_DMA_BUFFER =
        3,                       /* 2 (size; alignment, 0: 4096) -> 6: size, flags, nseg, addr, len, class */
    VD_DEXT_FREE_DMA_BUFFER = 4, /* 0 -> 0 */
    VD_DEXT_REGISTER_DMA_REGION = 5,   /* 3 (key, client address, size) -> 3: nseg, bus address, bus length */
    VD_DEXT_UNREGISTER_DMA_REGION = 6, /* 1 (key) -> 0 */
    VD_DEXT_PROBE_DMA_REGION = 7,      /* 2 (key, offset) -> 1: 8 bytes of the region */
    VD_DEXT_CONFIG_READ = 8,           /* 2 (offset, width 1 2 4) -> 1 */
    VD_DEXT_CONFIG_WRITE = 9,          /* 3 (offset, width, value) -> 0 */
    VD_DEXT_GET_BAR_INFO = 10,         /* 1 (bar) -> 3: memory index, size, type: enum vd_dext_bar_type */
    VD_DEXT_MMIO_READ = 11,            /* 3 (memory index, offset, width 1 2 4 8) -> 1 */
    VD_DEXT_MMIO_WRITE = 12,           /* 4 (memory index, offset, width, value) -> 0 */
    VD_DEXT_SETUP_INTERRUPTS = 13,     /* 0 -> 1: number of vectors */
    VD_DEXT_CHECK_INTERRUPT = 14,      /* 0 -> 4: enabled pending bits, read and cleared */
    VD_DEXT_WAIT_INTERRUPT = 15, /* async, 0 -> 0: completes when an enabled bit is pending; one at a time */
    VD_DEXT_SET_IRQ_MASK = 16,   /* 4 (256 enable bits) -> 0 */
    VD_DEXT_RESET_DEVICE = 17,   /* 0 -> 0 */
    VD_DEXT_NR_RFC_SELECTORS = 18,

    VD_DEXT_GET_FEATURES =
        32, /* 1 (the caller's VD_DEXT_ABI) -> 4: ABI, enum vd_dext_feature, batch, page size */
    VD_DEXT_REGISTER_BATCH = 33,   /* 0 -> 0; vd_dext_register_in -> vd_dext_register_out */
    VD_DEXT_UNREGISTER_BATCH = 34, /* 0 -> 0; vd_dext_unregister_in -> vd_dext_unregister_out */
    VD_DEXT_GET_LIMITS = 35,       /* 0 -> 11: enum vd_dext_limit */
    VD_DEXT_WAIT_EVENT = 36, /* async, 0 -> 0: completes with 1 argument, enum vd_dext_event; one at a time */
    VD_DEXT_QUIESCE = 37,    /* 0 -> 0: bus mastering off and read back, transactions drained */
    VD_DEXT_DESCRIBE = 38,   /* 0 -> 0; nothing -> vd_dext_description; needs no claim */
    VD_DEXT_SELECTOR_END = 39,
};

enum {
    VD_DEXT_ABI = 1,
    VD_DEXT_MAX_BATCH = 4096,
    VD_DEXT_MAX_SEGMENTS = 64, /* of one region */
    VD_DEXT_VECTORS = 256,
    VD_DEXT_BARS = 6,
    VD_DEXT_ROM = 6, /* the "bar" of the expansion ROM in GET_BAR_INFO, with VD_DEXT_FEATURE_ROM */
    VD_DEXT_DMA_BUFFER_MAX_MIB = 1536,
    VD_DEXT_MAX_SCALARS = 16,
};

enum vd_dext_feature {
    VD_DEXT_FEATURE_BATCH = 1,
    VD_DEXT_FEATURE_LIMITS = 2,
    VD_DEXT_FEATURE_EVENTS = 4,
    VD_DEXT_FEATURE_QUIESCE = 8,
    VD_DEXT_FEATURE_DESCRIBE = 16,
    VD_DEXT_FEATURE_IRQ_PAGE = 32, /* memory type 7 */
    VD_DEXT_FEATURE_PAGE_USE = 64, /* the interrupt page holds struct vd_dext_use */
    VD_DEXT_FEATURE_ROM = 128,     /* GET_BAR_INFO answers for VD_DEXT_ROM, MMIO_READ reads it */
    VD_DEXT_FEATURE_LATCH = 256,   /* a masked vector that fires is kept until it is enabled */
};

/* Outputs of GET_LIMITS, by index. UINT64_MAX: no limit, or not known. */
enum vd_dext_limit {
    VD_DEXT_LIMIT_GRANULE,  /* bytes; regions occupy multiples of it */
    VD_DEXT_LIMIT_BYTES,    /* most bytes at once, quota included */
    VD_DEXT_LIMIT_MAPPINGS, /* most regions at once, quota included */
    VD_DEXT_LIMIT_SEGMENTS, /* most bus segments of one region */
    VD_DEXT_LIMIT_FIRST,    /* lowest bus address */
    VD_DEXT_LIMIT_LAST,     /* highest bus address, inclusive */
    VD_DEXT_USE_BYTES,
    VD_DEXT_USE_MAPPINGS,
    VD_DEXT_USE_PEAK_BYTES,    /* since the claim */
    VD_DEXT_USE_PEAK_MAPPINGS, /* since the claim */
    VD_DEXT_USE_FAULTS,        /* accesses the IOMMU refused */
    VD_DEXT_NR_LIMITS,
};

/* Bits of the argument that WAIT_EVENT completes with. */
enum vd_dext_event {
    VD_DEXT_EVENT_GONE = 1,    /* the device was removed */
    VD_DEXT_EVENT_ERROR = 2,   /* the device or its link reported an uncorrectable error */
    VD_DEXT_EVENT_REQUEST = 4, /* the host asks for the device back */
};

/* PCI 6.2.5.1: the low bits of a BAR. */
enum vd_dext_bar_type {
    VD_DEXT_BAR_IO = 1,
    VD_DEXT_BAR_64 = 4,
    VD_DEXT_BAR_PREFETCHABLE = 8,
};

/* Types for IOConnectMapMemory64. */
enum vd_dext_memory_type {
    VD_DEXT_MEMORY_DMA_BUFFER = 0,
    VD_DEXT_MEMORY_BAR0 = 1, /* 1 + BAR number (not its memory index) */
    VD_DEXT_MEMORY_IRQ_PAGE = 7,
    VD_DEXT_MEMORY_END = 8,
};

/*
 * The interrupt page, shared between extension and client, in host byte order; both sides access it with sequentially
 * consistent 64-bit atomics. Bit v % 64 of word v / 64 stands for vector v. The extension sets `pending`, the client
 * takes; the client sets `enabled` (as SET_IRQ_MASK does) and then looks at `pending` once more.
 */
enum {
    VD_DEXT_IRQ_PAGE_SIZE = 16384,
    VD_DEXT_IRQ_WORDS = 4,
};

/* With VD_DEXT_FEATURE_PAGE_USE; written by the extension only. */
struct vd_dext_use {
    uint64_t bytes, mappings, peak_bytes, peak_mappings;
    uint64_t faults; /* accesses the IOMMU refused; UINT64_MAX: the extension cannot know */
};

struct vd_dext_irq_page {
    uint64_t pending[VD_DEXT_IRQ_WORDS];
    uint64_t enabled[VD_DEXT_IRQ_WORDS];
    uint8_t reserved[0x1000 - 0x40];
    struct vd_dext_use use;
};

/* REGISTER_BATCH, in: this header, then `count` regions. */
struct vd_dext_register_in {
    vd_le32 count;            /* 1 to VD_DEXT_MAX_BATCH */
    vd_le32 segment_capacity; /* segments there is room for in the output */
    vd_le64 reserved;         /* 0 */
};

struct vd_dext_region {
    vd_le64 key;      /* the client's name for it, unique among its regions */
    vd_le64 address;  /* in the client's address space */
    vd_le64 size;     /* bytes */
    vd_le32 access;   /* enum vd_dext_access */
    vd_le32 reserved; /* 0 */
};

enum vd_dext_access { VD_DEXT_ACCESS_READ = 1, VD_DEXT_ACCESS_WRITE = 2 }; /* by the device */

/* REGISTER_BATCH, out: this header, `count` results, then `nr_segments` segments in the order of the results. */
struct vd_dext_register_out {
    vd_le32 count;
    vd_le32 nr_segments;
    vd_le32 registered; /* results with status 0 */
    vd_le32 reserved;
};

struct vd_dext_result {
    vd_le32 status;        /* enum vd_dext_return */
    vd_le32 nr_segments;   /* 0 unless status is 0 */
    vd_le32 first_segment; /* index into the segments */
    vd_le32 reserved;
};

struct vd_dext_segment {
    vd_le64 address; /* bus address */
    vd_le64 size;    /* bytes */
};

/* UNREGISTER_BATCH, in: this header, then `count` vd_le64 keys. */
struct vd_dext_unregister_in {
    vd_le32 count; /* 1 to VD_DEXT_MAX_BATCH */
    vd_le32 reserved;
};

/* UNREGISTER_BATCH, out: this header, then `count` vd_le32 of enum vd_dext_return. */
struct vd_dext_unregister_out {
    vd_le32 count;
    vd_le32 unregistered;
};

/* DESCRIBE: what the extension learnt when it started, and its state now. */
struct vd_dext_description_bar {
    vd_le64 size; /* 0: there is none */
    vd_le32 type; /* enum vd_dext_bar_type */
    vd_le32 memory_index;
};

struct vd_dext_description {
    uint8_t bus, device, function, revision;
    vd_le16 vendor_id, device_id, subvendor_id, subdevice_id;
    vd_le32 class_code;
    vd_le32 state;                     /* enum vd_dext_state */
    vd_le32 clients;                   /* connections, this one included */
    vd_le16 msi_vectors, msix_vectors; /* what config space offers */
    vd_le16 irq_vectors;               /* in use since SETUP_INTERRUPTS */
    vd_le16 command;                   /* the COMMAND register now; 0xffff: the device is gone */
    vd_le16 resets;                    /* enum vd_dext_reset_kind the device can do */
    uint8_t link_speed;                /* PCIe 7.5.3.8: 1 for 2.5 GT/s ...; 0: no PCIe link */
    uint8_t link_width;                /* lanes */
    struct vd_dext_description_bar bars[VD_DEXT_BARS + 1]; /* [VD_DEXT_ROM]: the expansion ROM */
    char model[64]; /* NUL-terminated; "" when the host knows no name */
};

enum vd_dext_state {
    VD_DEXT_STATE_CLAIMED = 1,
    VD_DEXT_STATE_CLAIMED_BY_CALLER = 2,
    VD_DEXT_STATE_GONE = 4,
};

enum vd_dext_reset_kind { VD_DEXT_RESET_FLR = 1, VD_DEXT_RESET_HOT = 2, VD_DEXT_RESET_POWER = 4 };

/* What calls return: IOReturn's values (IOKit/IOReturn.h). */
enum vd_dext_return {
    VD_DEXT_SUCCESS = 0,
#define VD_DEXT_RETURN(code) ((int)(0xe0000000u | (code)))
    VD_DEXT_ERROR = VD_DEXT_RETURN(0x2bc),          /* kIOReturnError */
    VD_DEXT_NO_MEMORY = VD_DEXT_RETURN(0x2bd),      /* kIOReturnNoMemory */
    VD_DEXT_NO_RESOURCES = VD_DEXT_RETURN(0x2be),   /* kIOReturnNoResources */
    VD_DEXT_IPC_ERROR = VD_DEXT_RETURN(0x2bf),      /* kIOReturnIPCError */
    VD_DEXT_NO_DEVICE = VD_DEXT_RETURN(0x2c0),      /* kIOReturnNoDevice: it was removed */
    VD_DEXT_NOT_PRIVILEGED = VD_DEXT_RETURN(0x2c1), /* kIOReturnNotPrivileged */
    VD_DEXT_BAD_ARGUMENT = VD_DEXT_RETURN(0x2c2),   /* kIOReturnBadArgument: counts, ranges, widths */
    VD_DEXT_EXCLUSIVE_ACCESS =
        VD_DEXT_RETURN(0x2c5),                    /* kIOReturnExclusiveAccess: another client has the claim */
    VD_DEXT_UNSUPPORTED = VD_DEXT_RETURN(0x2c7),  /* kIOReturnUnsupported: no such selector or ability */
    VD_DEXT_IO_ERROR = VD_DEXT_RETURN(0x2ca),     /* kIOReturnIOError */
    VD_DEXT_NOT_OPEN = VD_DEXT_RETURN(0x2cd),     /* kIOReturnNotOpen: nobody has the claim */
    VD_DEXT_NOT_ALIGNED = VD_DEXT_RETURN(0x2d0),  /* kIOReturnNotAligned: more segments than fit */
    VD_DEXT_STILL_OPEN = VD_DEXT_RETURN(0x2d2),   /* kIOReturnStillOpen: key in use, set up already */
    VD_DEXT_DMA_ERROR = VD_DEXT_RETURN(0x2d4),    /* kIOReturnDMAError */
    VD_DEXT_BUSY = VD_DEXT_RETURN(0x2d5),         /* kIOReturnBusy: a waiter is outstanding */
    VD_DEXT_TIMEOUT = VD_DEXT_RETURN(0x2d6),      /* kIOReturnTimeout */
    VD_DEXT_NOT_READY = VD_DEXT_RETURN(0x2d8),    /* kIOReturnNotReady: interrupts not set up */
    VD_DEXT_NOT_ATTACHED = VD_DEXT_RETURN(0x2d9), /* kIOReturnNotAttached: the connection is gone */
    VD_DEXT_NO_SPACE = VD_DEXT_RETURN(0x2db),     /* kIOReturnNoSpace: bytes, regions or addresses run out */
    VD_DEXT_NOT_PERMITTED = VD_DEXT_RETURN(0x2e2),  /* kIOReturnNotPermitted */
    VD_DEXT_ABORTED = VD_DEXT_RETURN(0x2eb),        /* kIOReturnAborted: the wait was given up */
    VD_DEXT_NOT_RESPONDING = VD_DEXT_RETURN(0x2ed), /* kIOReturnNotResponding: no answer from the device */
    VD_DEXT_NOT_FOUND = VD_DEXT_RETURN(0x2f0),      /* kIOReturnNotFound: no such key */
#undef VD_DEXT_RETURN
};

#ifdef __cplusplus
#define VD_DEXT_ASSERT(what) static_assert(what, #what)
#else
#define VD_DEXT_ASSERT(what) _Static_assert(what, #what)
#endif
VD_DEXT_ASSERT(offsetof(struct vd_dext_irq_page, enabled) == 0x20);
VD_DEXT_ASSERT(offsetof(struct vd_dext_irq_page, use) == 0x1000);
VD_DEXT_ASSERT(sizeof(struct vd_dext_irq_page) <= VD_DEXT_IRQ_PAGE_SIZE);
VD_DEXT_ASSERT(sizeof(struct vd_dext_register_in) == 16 && sizeof(struct vd_dext_region) == 32);
VD_DEXT_ASSERT(sizeof(struct vd_dext_register_out) == 16 && sizeof(struct vd_dext_result) == 16);
VD_DEXT_ASSERT(sizeof(struct vd_dext_segment) == 16);
VD_DEXT_ASSERT(sizeof(struct vd_dext_unregister_in) == 8 && sizeof(struct vd_dext_unregister_out) == 8);
VD_DEXT_ASSERT(offsetof(struct vd_dext_description, bars) == 36);
VD_DEXT_ASSERT(sizeof(struct vd_dext_description) == 36 + 7 * 16 + 64);

#endif
