/* SPDX-License-Identifier: BSD-3-Clause */
/* A DART, memory to map, and short names for what tests do with them. */
#ifndef TESTS_SIM_DART_FIXTURE_H
#define TESTS_SIM_DART_FIXTURE_H

#include "harness.h"

#include <errno.h>

#include "sim/dart.h"

enum { KIB = 1024, PAGE = 4 * KIB, GRANULE = 16 * KIB, MAX_SEGMENTS = 64 };

struct fixture {
    struct harness h;
    struct sim_dart_config config;
    struct sim_dart *dart;
    struct sim_dart_segment segments[MAX_SEGMENTS];
    uint8_t memory[64 * GRANULE] __attribute__((aligned(16 * 1024)));
};

static inline void start(struct fixture *f, struct sim_dart_config config)
{
    struct vd_failure failure = {0};

    harness_init(&f->h);
    f->config = config;
    assert_int_equal(sim_dart_create(&f->h.env, &f->config, &f->dart, &failure), 0);
}

static inline struct fixture *chosen(void)
{
    struct fixture *f = aligned_alloc(GRANULE, sizeof(*f));

    assert_non_null(f);
    start(f, (struct sim_dart_config){.mode = SIM_DART_CHOSEN});
    return f;
}

static inline struct fixture *assigned_with(struct sim_dart_config config)
{
    struct fixture *f = aligned_alloc(GRANULE, sizeof(*f));

    assert_non_null(f);
    config.mode = SIM_DART_ASSIGNED;
    start(f, config);
    return f;
}

/* Ends a test; `faults` are those it provoked. */
static inline void stop(struct fixture *f, uint64_t faults)
{
    assert_int_equal(sim_dart_mapped_count(f->dart), 0);
    assert_int_equal(sim_dart_mapped_bytes(f->dart), 0);
    assert_int_equal(sim_dart_faults(f->dart), faults);
    sim_dart_destroy(f->dart);
    assert_int_equal(f->h.live, 0);
    free(f);
}

static inline struct sim_dart_map request(struct fixture *f, void *host, uint64_t iova, uint64_t size)
{
    return (struct sim_dart_map){.host = host,
                                 .size = size,
                                 .iova = iova,
                                 .access = SIM_READ | SIM_WRITE,
                                 .segments = f->segments,
                                 .max_segments = MAX_SEGMENTS};
}

static inline int map(struct fixture *f, void *host, uint64_t iova, uint64_t size,
                      struct sim_dart_mapping **out)
{
    struct sim_dart_map m = request(f, host, iova, size);
    int err = sim_dart_map(f->dart, &m);

    *out = m.mapping;
    assert_int_equal(err == 0, m.mapping != NULL);
    return err;
}

/* The bus address of a mapping of `size` bytes of memory from granule `at` on. */
static inline uint64_t map_assigned(struct fixture *f, unsigned at, uint64_t size,
                                    struct sim_dart_mapping **out)
{
    assert_int_equal(map(f, f->memory + (size_t)at * GRANULE, 0, size, out), 0);
    return f->segments[0].iova;
}

#endif
