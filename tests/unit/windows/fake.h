/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host for the tests of guest/windows: a DART that maps with first fit, can be told what to refuse, and counts as an
 * error what a guest must not do (unmap what is not mapped, ask for what is not whole granules). And the loop that runs
 * plans to their end, as the kernel module does.
 */
#ifndef TESTS_UNIT_WINDOWS_FAKE_H
#define TESTS_UNIT_WINDOWS_FAKE_H

#include <string.h>

#include "../base/unit.h"
#include "proto/apple_dma.h"
#include "windows/windows.h"

enum { FAKE_GRANULE = 16384, FAKE_RW = VD_WINDOW_READ | VD_WINDOW_WRITE, FAKE_BATCH = 64, FAKE_IDS = 4096 };

#define FAKE_BUS UINT64_C(0x80000000)
#define KIB      UINT64_C(1024)
#define MIB      (1024 * KIB)
#define GIB      (1024 * MIB)

struct fake_mapping {
    uint64_t gpa, size;
    uint32_t access, nr_segments;
    struct vd_window_segment segments[VD_WINDOW_SEGMENTS];
    bool mapped;
};

struct fake {
    struct vd_windows *windows;
    struct vd_windows_config config;
    /* The host. */
    uint64_t granules, used, mappings, ram_end;
    uint64_t limit_bytes, limit_mappings; /* what it really has */
    uint8_t *taken;                       /* by granule of the aperture */
    struct fake_mapping *table;           /* by id */
    uint64_t next_id;
    uint64_t *owners;          /* by granule of the aperture: the GPA behind it, all ones: none; atomic */
    uint32_t refuse, refusals; /* `refusals` times the answer is `refuse` */
    uint64_t refuse_above;     /* only maps larger than this; 0: all */
    uint32_t useless;          /* `useless` times it maps, and the caller finds that it cannot use that */
    bool unaligned;            /* it does not look at alignments */
    uint32_t split;            /* parts a mapping comes in when there is room in the answer */
    uint64_t chaos; /* not 0: the state of a generator; one answer in eight is a refusal of any kind */
    /* What went on. */
    unsigned errors, doorbells, rounds, maps, unmaps;
    struct vd_windows_map last; /* map that was asked for */
    uint64_t max_unmaps;
};

/* `aperture` in bytes; limits of the guest are those of the host. */
void fake_init(struct fake *fake, const struct vd_windows_config *config, uint64_t aperture);
void fake_finish(struct fake *fake);
/* Granule 16 KiB, 64 MiB, 512 mappings. */
void fake_init_small(struct fake *fake);

/* Runs the wants to their end. */
void fake_run(struct fake *fake, struct vd_windows_want *wants, uint32_t count);
/* One want that is not exact; asserts that there is a window. */
struct vd_window *fake_map(struct fake *fake, uint64_t gpa, uint64_t len);
/* A window of its own; NULL: refused. */
struct vd_window *fake_exact(struct fake *fake, uint64_t gpa, uint64_t len, uint64_t align);
/* The error of a want that is refused; asserts that it is. */
int fake_refused(struct fake *fake, uint64_t gpa, uint64_t len, uint32_t access);
/* Gives it back, and reaps when told to. */
void fake_put(struct fake *fake, struct vd_window *window);
/* Unmaps what is idle in the range; returns how many went. */
uint32_t fake_reap(struct fake *fake, uint64_t gpa, uint64_t len);
/* Unmaps everything, live windows too; returns how many went. */
uint32_t fake_revoke(struct fake *fake);
/* The host has released everything. */
void fake_forget(struct fake *fake);
/* The exchange with the host of a plan that the test makes itself. */
void fake_exchange(struct fake *fake, struct vd_windows_batch *batch);
/* Asserts that the window is one the host has, with the same segments, and covers the range. */
void fake_check(struct fake *fake, const struct vd_window *window, uint64_t gpa, uint64_t len);

#endif
