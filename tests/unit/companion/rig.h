/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A companion over core's fake host, with guest memory in a file: the test is the guest. Its own view of the memory is
 * another mapping of that file, as a guest's is.
 *
 *   GPA          bytes    what
 *   0x100000     2 MiB    command page, request and response arrays
 *   0x300000     64 KiB   the neighbour of that, elsewhere in the file
 *   0x800000     64 KiB   the device may read it only
 *   0xa00000     64 KiB   without a descriptor
 *   0xb02000     28 KiB   one granule of 16 KiB, half of one before it and a page behind it
 *   0xc00000     64 KiB   in the file a page further than its granule
 *   0x40000000   64 MiB   what is mapped
 */
#ifndef TESTS_UNIT_COMPANION_RIG_H
#define TESTS_UNIT_COMPANION_RIG_H

#include "../base/unit.h"
#include "../core/fake.h"
#include "core/guest_memory.h"
#include "proto/apple_dma.h"

#include <viaduct/companion.h>

#define RIG_COMMAND   0x100000ull
#define RIG_REQUESTS  0x110000ull
#define RIG_UNMAPS    0x138000ull
#define RIG_UNMAPPED  0x148000ull
#define RIG_RESPONSES 0x160000ull
#define RIG_LOW       0x100000ull
#define RIG_LOW_SIZE  0x200000ull
#define RIG_NEXT      0x300000ull
#define RIG_READ_ONLY 0x800000ull
#define RIG_NO_FILE   0xa00000ull
#define RIG_ODD       0xb02000ull
#define RIG_ASKEW     0xc00000ull
#define RIG_PIECE     0x10000ull
#define RIG_DATA      0x40000000ull
#define RIG_DATA_SIZE 0x4000000ull

enum {
    RIG_ALL = VD_APPLE_DMA_FEATURE_WIDE | VD_APPLE_DMA_FEATURE_ALIGN | VD_APPLE_DMA_FEATURE_EXCHANGE |
              VD_APPLE_DMA_FEATURE_UNMAP_WITHIN,
};

struct rig {
    struct fixture *f;
    const char *address; /* of the device to manage instead of the fake; set before rig_start() */
    struct vd_device *managed;
    struct vd_device *companion;
    struct vd_guest_memory *memory;
    uint8_t *ram; /* the whole file */
    int fd;
};

/* Describes the fake as a host that assigns addresses and hands over raw config space; then tests may change it. */
struct rig *rig_prepare(void **state);
/* The same for one that lets its caller choose them, without limits, in 4 KiB granules from 0x1000 to 2^40 - 1. */
struct rig *rig_prepare_chosen(void **state);
/* Opens the device, makes its companion and announces the memory; NULL options: BDF 0x0100 and nothing else. */
int rig_start(struct rig *r, const struct vd_companion_options *options);
/* cmocka's: both of them, and the guest's driver in version 2 (command page set), or with every feature. */
int rig_setup(void **state);
int rig_setup_wide(void **state);
int rig_teardown(void **state);

/* The memory table, and telling the companion of it; rig_start() has done that, rig_stop_memory() undoes it. */
void rig_start_memory(struct rig *r);
void rig_stop_memory(struct rig *r);

uint32_t rig_read(struct rig *r, unsigned reg);
uint64_t rig_read64(struct rig *r, unsigned low);
void rig_write(struct rig *r, unsigned reg, uint32_t value);
void rig_set_command(struct rig *r, uint64_t gpa);
/* The guest's view of a GPA. */
void *rig_at(struct rig *r, uint64_t gpa);
/* Rings the doorbell; STATUS, which must be what the command page says as well. */
uint32_t rig_ring(struct rig *r);
struct vd_companion_stats rig_stats(struct rig *r);

/* Fills the command page for a batch of `count` with the arrays in their places; wide fields are zero but for segments. */
struct vd_apple_dma_wide_command *rig_command(struct rig *r, uint32_t type, uint32_t count,
                                              uint32_t segments);

/* Version 2, one entry. */
struct vd_apple_dma_mapped rig_map(struct rig *r, uint64_t gpa, uint32_t len);
struct vd_apple_dma_unmapped rig_unmap(struct rig *r, uint64_t id);

/* Wide, one entry with room for 4 segments. */
struct rig_wide {
    uint64_t id;
    uint32_t status, why, nr_segments;
    struct vd_dma_segment segments[16];
};
struct rig_wide rig_map_wide(struct rig *r, uint64_t gpa, uint64_t len, uint32_t flags, uint64_t align);
/* The i-th map response of the last batch. */
struct rig_wide rig_wide_at(struct rig *r, uint32_t i, uint32_t segments);
void rig_put_wide(struct rig *r, uint32_t i, uint64_t gpa, uint64_t len, uint32_t flags, uint64_t align);
/* why */
uint32_t rig_unmap_wide(struct rig *r, uint64_t id);

/* What is mapped is `bytes` in `mappings` by every account: registers, statistics, core, and the host. */
void rig_check_use(struct rig *r, uint64_t bytes, uint64_t mappings);

#endif
