/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Surroundings for the extension's core: an `os` that counts what it hands out, and hardware that does what dext.h says
 * and no more. It remembers what was called, checks what the core promises (nothing before open, nothing after removal,
 * nothing left at close, everything given back once, with the right size) and can be told to fail at any step.
 *
 * Knows nothing of the test framework: the fuzzer uses it too. Threads: complete() from any, the rest from one.
 */
#ifndef TESTS_UNIT_DEXT_MOCK_H
#define TESTS_UNIT_DEXT_MOCK_H

#include "dext/core/dext.h"

enum mock_op {
    MOCK_ALLOC, /* a: bytes */
    MOCK_OPEN,
    MOCK_CLOSE,
    MOCK_CONFIG_READ,  /* a: offset, b: value */
    MOCK_CONFIG_WRITE, /* a: offset, b: value */
    MOCK_BAR_INFO,     /* a: BAR */
    MOCK_MMIO_READ,    /* a: offset */
    MOCK_MMIO_WRITE,   /* a: offset, b: value */
    MOCK_IRQ_SETUP,    /* a: most */
    MOCK_IRQ_TEARDOWN,
    MOCK_RESET,        /* a: kind */
    MOCK_DMA_PREPARE,  /* a: address, b: size */
    MOCK_DMA_COMPLETE, /* a: address, b: size */
    MOCK_DMA_PROBE,
    MOCK_BUFFER_CREATE, /* a: size, b: alignment */
    MOCK_BUFFER_DESTROY,
    MOCK_PAGE_CREATE,
    MOCK_PAGE_DESTROY,
    MOCK_ASYNC, /* a: handle, b: status */
    MOCK_TERMINATE,
    MOCK_NR_OPS,
};

struct mock_call {
    enum mock_op op;
    uint64_t a, b;
};

struct mock_completion {
    void *async;
    int status;
    uint32_t nr_args;
    uint64_t arg;
};

enum {
    MOCK_CALLS = 4096, /* the first of them are remembered */
    MOCK_COMPLETIONS = 64,
    /* Where the default config space has its capabilities. */
    MOCK_PM = 0x40,
    MOCK_MSI = 0x50,
    MOCK_PCIE = 0x70,
    MOCK_MSIX = 0xb0,
    MOCK_AF = 0xc0,
    MOCK_REGISTERS = 0x1000, /* bytes of memory behind every BAR, repeated */
    MOCK_ROM_INDEX = 9,      /* memory index of the ROM */
};

struct mock_mapping;

struct mock {
    /* A test sets these. */
    uint8_t config[4096];
    struct {
        uint64_t size;
        uint32_t type, memory_index;
    } bars[VD_DEXT_BARS + 1];
    struct vd_dext_dma_limits limits;
    const char *model;
    uint32_t vectors;        /* what irq_setup() gets */
    uint32_t reset_kinds;    /* that can be tried */
    uint32_t reset_works;    /* of these, what reset() itself does; the others are UNSUPPORTED */
    uint32_t reset_breaks;   /* of these, what reset() answers with IO_ERROR */
    uint32_t runs;           /* of each mapping */
    uint32_t runs_told;      /* what is told of their number, unless 0 */
    uint64_t cut;            /* bytes that are missing in the last run */
    unsigned not_ready;      /* reads of the id that ask for patience after the next reset */
    bool master_sticks;      /* COMMAND.BME cannot be cleared */
    bool irqs_at_setup;      /* every vector fires before irq_setup() returns */
    unsigned pending;        /* reads of DEVSTA or AF status that still show pending transactions */
    unsigned mute;           /* config reads that answer all ones after the next reset */
    unsigned fail_at;        /* the n-th step that can fail does; 0: none */
    int fail_status;         /* with this; 0: IO_ERROR */
    bool fail_lasts;         /* and so does every step after it */
    int status[MOCK_NR_OPS]; /* what every such call answers, unless 0 */
    struct vd_dext *dext;    /* for irqs_at_setup */
    /* In place of the list of completions. */
    void (*on_complete)(struct mock *mock, void *async, int status);
    void *opaque;

    /* What happened. */
    bool is_open, gone, irqs_on;
    unsigned steps;        /* that could have failed */
    bool hit;              /* fail_at was reached */
    const char *violation; /* the first promise that was broken; NULL: none */
    long live_blocks, live_mappings, live_buffers, live_pages;
    size_t live_bytes;
    uint64_t next_address, slept_us, nr_faults;
    unsigned nr_resets; /* of the function, however it came about */
    unsigned nr_opens;
    unsigned logged[3];
    const char *last_log;
    uint8_t registers[MOCK_REGISTERS];
    struct vd_dext_irq_page *page;
    void *last_client;
    struct mock_mapping *mappings;
    struct mock_call calls[MOCK_CALLS];
    unsigned nr_calls;
    struct mock_completion completions[MOCK_COMPLETIONS];
    unsigned nr_completions;
};

/* An endpoint with every capability: memory BARs 0 (64 KiB) and 2 (1 MiB, prefetchable), I/O BAR 4, a ROM. */
void mock_init(struct mock *mock);
/* The os hooks of this mock; the caller keeps the struct. */
struct vd_dext_os mock_os(struct mock *mock);
extern const struct vd_dext_hw_ops mock_ops;
/* The same without the callbacks that may be NULL. */
extern const struct vd_dext_hw_ops mock_bare_ops;

/* The device is pulled: whatever touches it from now on is a violation. */
void mock_pull(struct mock *mock, struct vd_dext *dext);
/* NULL, or what is wrong when every client is closed and the dext destroyed. */
const char *mock_leftover(const struct mock *mock);
/* Forgets calls and completions. */
void mock_forget(struct mock *mock);
/* Position of the n-th call (from 0) of that kind, or -1; and of a config write to that offset. */
int mock_call_at(const struct mock *mock, enum mock_op op, unsigned n);
int mock_write_at(const struct mock *mock, uint32_t offset, unsigned n);
unsigned mock_count(const struct mock *mock, enum mock_op op);
uint16_t mock_command(const struct mock *mock);

#endif
