/* SPDX-License-Identifier: BSD-3-Clause */
/* Batches of entries to map, for the tests of DMA. The fake never touches the memory, so it is addresses only. */
#ifndef TESTS_DEXTBACK_BATCH_H
#define TESTS_DEXTBACK_BATCH_H

#include "fake.h"

enum { GRANULE = 16384, MANY = 4096, ROOM = 64 };

static const uint64_t MEMORY = 0x100000000;

/* Entries with room for segments and a file each. */
struct batch {
    struct vd_host_map *entries;
    struct vd_dma_segment (*segments)[ROOM];
    void **tokens;
    size_t count;
    struct vd_dma_file file;
};

static inline void batch_init(struct batch *b, size_t count, uint64_t granules)
{
    b->entries = calloc(count, sizeof(*b->entries));
    b->segments = calloc(count, sizeof(*b->segments));
    b->tokens = calloc(count, sizeof(*b->tokens));
    assert_true(b->entries && b->segments && b->tokens);
    b->count = count;
    b->file = (struct vd_dma_file){.fd = 0, .offset = 0x7000};
    for (size_t i = 0; i < count; i++)
        b->entries[i] = (struct vd_host_map){.host = (void *)(MEMORY + i * granules * GRANULE),
                                             .file = &b->file,
                                             .size = granules * GRANULE,
                                             .access = VD_ACCESS_READ | VD_ACCESS_WRITE,
                                             .segments = b->segments[i],
                                             .max_segments = ROOM,
                                             .status = 1};
}

static inline void batch_finish(struct batch *b)
{
    free(b->entries);
    free(b->segments);
    free(b->tokens);
}

static inline size_t map(struct fake *f, struct batch *b)
{
    size_t good = 0;

    dext_dma_map(f->host, b->entries, b->count);
    for (size_t i = 0; i < b->count; i++)
        if (!b->entries[i].status)
            b->tokens[good++] = b->entries[i].token;
    return good;
}

/* What is mapped is registered and shared, and nothing else is. */
static inline void holds(const struct fake *f, size_t count)
{
    assert_int_equal(f->nr_regions, count);
    assert_int_equal(f->nr_shares, f->choose == fake_choose_socket ? count : 0);
}

static inline void unmap(struct fake *f, struct batch *b, size_t count)
{
    uint64_t steps = f->steps;

    dext_dma_unmap(f->host, b->tokens, count);
    assert_int_equal(f->steps, steps); /* allocations */
    holds(f, 0);
}

#endif
