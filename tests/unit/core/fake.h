/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host back end that does nothing but remember: what core called, in which order, with which arguments, and whether
 * they kept the promises of core/backend.h. Each operation can be told to fail. The address of a fake device carries
 * the pointer to its struct fake, so that tests need no global state.
 */
#ifndef TESTS_UNIT_CORE_FAKE_H
#define TESTS_UNIT_CORE_FAKE_H

#include "core/device.h"

enum fake_op {
    FAKE_OPEN,
    FAKE_CLOSE,
    FAKE_READ,
    FAKE_WRITE,
    FAKE_IRQ_ENABLE,
    FAKE_RESET,
    FAKE_MAP,
    FAKE_UNMAP,
    FAKE_DISPATCH,
};

/* One call: a region access has index, offset and count; irq_enable index and count; map and unmap the count. */
struct fake_call {
    enum fake_op op;
    unsigned index;
    uint64_t offset, count;
};

enum { FAKE_CALLS = 512, FAKE_MAPPINGS = 512 };

#define FAKE_PAGE    4096ul
#define FAKE_GRANULE 16384ul

struct fake_mapping {
    bool live;
    void *host;
    uint64_t size, iova;
};

/* A test sets the first group before it opens the device, or later. */
struct fake {
    struct vd_host_info info; /* what open() declares */
    int open_error, read_error, write_error, reset_error, irq_error;
    bool master_sticks;   /* COMMAND.BME cannot be cleared */
    unsigned fail_map_at; /* the n-th entry of dma_map from now on fails with -EIO; 0: none */
    unsigned split;       /* assigned: segments per mapping, at least 1 */
    bool dispatch_result;
    int bar_fd; /* what region_fd() answers; 0: a number that is no descriptor */

    bool is_open;
    const struct vd_host_events *events;
    uint8_t config[256];
    struct fake_mapping mappings[FAKE_MAPPINGS];
    const struct vd_dma_file *last_file; /* of the last entry mapped */
    struct vd_dma_file *keep_file;       /* a copy of that goes here; NULL: nowhere */
    void (*on_map)(void *opaque);        /* called at the end of dma_map; NULL: nothing */
    void *on_map_opaque;
    uint64_t short_by; /* bytes that the last segment of a mapping is too short by */
    unsigned nr_live, nr_entries;
    unsigned enabled[VD_IRQ_COUNT];
    struct fake_call calls[FAKE_CALLS]; /* the first of them */
    unsigned nr_calls;
};

extern const struct vd_backend_ops fake_ops;
/* The same without the operations that may be NULL. */
extern const struct vd_backend_ops fake_bare_ops;

/* A context with counting hooks and a fake device behind it. */
struct fixture {
    struct fake fake;
    struct vd_context *context;
    struct vd_device *device;
    long live_memory;    /* blocks that are allocated now */
    unsigned fail_nth;   /* the n-th step that can fail does, then no more; 0: none */
    const char *fail_at; /* only steps of that site count; NULL: all */
    uint64_t now;
    unsigned nr_lines;
    char line[1024]; /* the last one logged */
};

/* cmocka setup: a fixture with a device that has everything, not yet open. Teardown checks that nothing is left. */
int fixture_setup(void **state);
/* The same and opened. */
int fixture_setup_open(void **state);
int fixture_teardown(void **state);
/* Opens fixture->device; 0 or the errno. */
int fixture_open(struct fixture *f, const struct vd_backend_ops *ops, struct vd_failure *failure);
/* Declares a domain like a DART's: 16 KiB granule, 64 MiB, 100 mappings. */
void fake_assign_addresses(struct fake *fake);
/* Forgets the calls so far. */
void fake_forget_calls(struct fake *fake);
/* The position of the n-th call (from 0) of that kind, or -1. */
int fake_call_at(const struct fake *fake, enum fake_op op, unsigned n);

#endif
