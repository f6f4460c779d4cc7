/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The register map of the test endpoint "edu", for those who write tests and drivers against it.
 *
 * PCI identity: vendor 1234 (QEMU's test devices), device 11e9 (next to QEMU's own edu, 11e8, whose registers are
 * others), class ff0000. BAR 0 holds registers, the MSI-X table and the PBA, all trapped. BAR 2 (64-bit, prefetchable)
 * is memory that may be mapped, but for one host page in its middle, the window, behind which BAR 0's registers appear
 * again: whoever maps it wrongly reads memory there instead of EDU_ID (option window=off: no window). Interrupts by option irq=: "msix" offers MSI-X,
 * MSI and INTx, "msi" MSI and INTx, "intx" only INTx.
 *
 * Registers are little-endian. 64-bit ones may also be accessed as two 32-bit halves. Narrower reads give the bytes
 * asked for; narrower writes are ignored and recorded as EDU_ERROR_WIDTH. What is no register reads 0 and ignores writes. A write acts later, from dispatch, in this
 * order: interrupts asked for, then the copy, at most EDU_CHUNK bytes for each dispatch. As with any PCI device, copies
 * and messages need bus mastering to be on.
 *
 * An FLR stops the copy, clears BAR 2's memory and sets every register but EDU_RESETS to its initial value.
 */
#ifndef SIM_EDU_H
#define SIM_EDU_H

#include <stdint.h>

enum {
    EDU_VENDOR = 0x1234,
    EDU_DEVICE = 0x11e9,
    EDU_CLASS = 0xff0000,
    EDU_REGISTERS_BAR = 0,
    EDU_MEMORY_BAR = 2,
    EDU_REGISTERS_BAR_SIZE = 0x8000,
    EDU_MSIX_TABLE = 0x2000,
    EDU_MSIX_PBA = 0x4000,
    EDU_ROM_SIZE = 4096,
    EDU_CHUNK = 65536,
    EDU_MAX_VECTORS = 256,
    EDU_ID_VALUE = 0x31554445, /* "EDU1" */
};

enum edu_register {
    EDU_ID = 0x00,              /* ro 32: EDU_ID_VALUE */
    EDU_VECTORS = 0x04,         /* ro 32: option vectors= */
    EDU_SCRATCH = 0x08,         /* rw 64: keeps what is written */
    EDU_ACCESSES = 0x10,        /* ro 64: accesses of BAR 0's registers that got here, this one included */
    EDU_WINDOW_ACCESSES = 0x18, /* ro 64: the same through the window in BAR 2 */
    EDU_MEMORY_ACCESSES =
        0x20, /* ro 64: accesses of BAR 2 outside the window that trapped although it can be mapped */
    EDU_MEMORY_SIZE = 0x28,   /* ro 64: BAR 2 */
    EDU_WINDOW_OFFSET = 0x30, /* ro 64: of the window in BAR 2 */
    EDU_WINDOW_SIZE = 0x38,   /* ro 64: a host page; 0 with window=off */
    EDU_SOURCE = 0x40,        /* rw 64: bus address, or offset in BAR 2 with EDU_FROM_MEMORY */
    EDU_DESTINATION = 0x48,   /* rw 64: bus address, or offset in BAR 2 with EDU_TO_MEMORY */
    EDU_LENGTH = 0x50,        /* rw 64: bytes; 0 is done at once */
    EDU_COPIED = 0x58,        /* ro 64: bytes copied by the present or last copy */
    EDU_CONTROL = 0x60,       /* wo 32: enum edu_control */
    EDU_STATUS = 0x64,        /* ro 32: enum edu_status */
    EDU_COPIES = 0x68,        /* ro 64: copies that ended well */
    EDU_RAISE = 0x70,     /* wo 32: interrupt on this vector; more of one vector before dispatch are one */
    EDU_RAISE_ALL = 0x74, /* wo 32: interrupts on all of this many vectors from 0 */
    EDU_CAUSE = 0x78, /* rw 32: enum edu_cause, set while no message kind is enabled; write 1 acknowledges */
    EDU_IRQ_KIND = 0x7c, /* ro 32: 0 none, 1 INTx, 2 MSI, 3 MSI-X: what the host has enabled */
    EDU_RAISED = 0x80,   /* ro 64: interrupts sent or asserted */
    EDU_ERROR = 0x88,    /* rw 32: the last enum edu_error; any write clears */
    EDU_ERRORS = 0x8c,   /* ro 32: how many so far */
    EDU_ERROR_ADDRESS =
        0x90,          /* ro 64: where the last copy was refused: the chunk's bus address or BAR offset */
    EDU_RESETS = 0x98, /* ro 64: function-level resets */
    EDU_REGISTERS_END = 0xa0,
};

/* EDU_CONTROL: start or abort, with where to copy from and to. */
enum edu_control {
    EDU_START = 1, /* begin; EDU_ERROR_BUSY while a copy runs. Source, destination and length are taken now */
    EDU_FROM_MEMORY = 2, /* source is an offset in BAR 2 */
    EDU_TO_MEMORY = 4,   /* destination is an offset in BAR 2 */
    EDU_NOTIFY = 8,      /* interrupt at the end, well or not, on vector value >> EDU_VECTOR_SHIFT */
    EDU_ABORT = 16,      /* stop; what is copied stays copied */
    EDU_VECTOR_SHIFT = 16,
};

enum edu_status {
    EDU_BUSY = 1,
    EDU_DONE = 2,   /* the last copy ended well */
    EDU_FAILED = 4, /* the last copy was refused or aborted; see EDU_ERROR */
};

enum edu_cause {
    EDU_CAUSE_RAISED = 1, /* EDU_RAISE or EDU_RAISE_ALL */
    EDU_CAUSE_COPY = 2,   /* EDU_NOTIFY */
};

enum edu_error {
    EDU_ERROR_NONE = 0,
    EDU_ERROR_READ = 1,  /* the source was refused */
    EDU_ERROR_WRITE = 2, /* the destination was refused */
    EDU_ERROR_RANGE =
        3, /* a BAR 2 offset and length that do not fit, or touch the window; or a wrapping address */
    EDU_ERROR_BUSY = 4,   /* started while a copy runs */
    EDU_ERROR_WIDTH = 5,  /* written with fewer than 32 bits */
    EDU_ERROR_VECTOR = 6, /* no such vector */
    EDU_ERROR_ABORT = 7,  /* stopped by EDU_ABORT */
};

#endif
