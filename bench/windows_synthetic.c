// SPDX-License-Identifier: BSD-3-Clause
/*
 * The synthetic traces of doc/windows.md, from their parameters and one seed. Two sources of memory: pages anywhere in
 * 8 GiB, and pools, which do what a driver's allocations look like to a page allocator that keeps them in pageblocks: a
 * pool takes a block of memory of which others have a part already, gives out what is left in no order, gets back and
 * reuses what was released last, and takes the next block when it has none.
 */
#include "windows_sim.h"

#include <stdlib.h>
#include <string.h>

#include "measure.h"

enum {
    PAGE = 4096,
    BLOCK_PAGES = 512,
    DENSITY = 8, /* percent: about four requests in 256 KiB, as has been measured with games */
};

#define MEMORY (UINT64_C(8) << 30)
#define SEED   0x5eed5eed5eed5eedu

struct pool {
    uint32_t stray;                   /* of 1000, are anywhere */
    uint32_t density;                 /* percent of a block that is to be had */
    uint32_t least_pages, more_pages; /* of a block; aligned pageblocks when more_pages is 0 */
    uint32_t unit;                    /* pages that are given out at once, aligned */
    uint64_t *free;
    size_t count, size;
};

struct live {
    uint32_t id;
    uint64_t gpa;
    struct pool *pool; /* NULL: anywhere */
};

struct maker {
    struct sim_trace *trace;
    uint64_t state;
    uint32_t next;
    struct live *live;
    size_t count, size;
};

static uint64_t draw(struct maker *m, uint64_t below)
{
    m->state ^= m->state >> 12;
    m->state ^= m->state << 25;
    m->state ^= m->state >> 27;
    return (m->state * 0x2545f4914f6cdd1du >> 16) % below;
}

static void pool_give(struct pool *pool, uint64_t gpa)
{
    if (pool->count == pool->size) {
        pool->size = pool->size ? 2 * pool->size : 1024;
        pool->free = realloc(pool->free, pool->size * sizeof(*pool->free));
        if (!pool->free)
            bench_die("memory for a trace");
    }
    pool->free[pool->count++] = gpa;
}

static void pool_grow(struct maker *m, struct pool *pool)
{
    uint64_t pages = pool->least_pages + (pool->more_pages ? draw(m, pool->more_pages) : 0);
    uint64_t align = pool->more_pages ? pool->unit : BLOCK_PAGES;
    uint64_t base = draw(m, (MEMORY / PAGE - pages) / align) * align;
    size_t first = pool->count;

    for (uint64_t at = 0; at + pool->unit <= pages; at += pool->unit)
        if (draw(m, 100) < pool->density)
            pool_give(pool, (base + at) * PAGE);
    for (size_t i = pool->count; i > first + 1; i--) {
        size_t other = first + draw(m, i - first);
        uint64_t gpa = pool->free[i - 1];

        pool->free[i - 1] = pool->free[other];
        pool->free[other] = gpa;
    }
}

static uint64_t pool_take(struct maker *m, struct pool *pool)
{
    while (!pool->count)
        pool_grow(m, pool);
    return pool->free[--pool->count];
}

static void map_one(struct maker *m, struct pool *pool, uint64_t pages)
{
    uint64_t taken = pool ? pool_take(m, pool) : draw(m, MEMORY / PAGE - pages) * PAGE;

    if (m->count == m->size) {
        m->size = m->size ? 2 * m->size : 1024;
        m->live = realloc(m->live, m->size * sizeof(*m->live));
        if (!m->live)
            bench_die("memory for a trace");
    }
    m->live[m->count++] = (struct live){m->next, taken, pool};
    sim_trace_map(m->trace, m->next++, taken / (pages * PAGE) * pages * PAGE, pages * PAGE);
}

/* Nine in ten are one unit; the others are naturally aligned runs of 2 to 16 of them. */
static void map_some(struct maker *m, struct pool *pool)
{
    uint64_t unit = pool ? pool->unit : 1;

    map_one(m, pool, draw(m, 10) ? unit : unit << (1 + draw(m, 4)));
}

/* From the pool, but for a few that are anywhere. */
static void map_mostly(struct maker *m, struct pool *pool)
{
    map_some(m, draw(m, 1000) < pool->stray ? NULL : pool);
}

static void unmap_at(struct maker *m, size_t at)
{
    struct live *live = &m->live[at];

    sim_trace_unmap(m->trace, live->id);
    if (live->pool)
        pool_give(live->pool, live->gpa);
    *live = m->live[--m->count];
}

static void unmap_any(struct maker *m)
{
    unmap_at(m, draw(m, m->count));
}

/* A buffer: what is next to each other in `live`, as long as nothing was moved there. */
static void unmap_run(struct maker *m, size_t most)
{
    size_t at = draw(m, m->count);

    for (size_t i = 0; i < most && at < m->count; i++)
        unmap_at(m, at);
}

static void set_limits(struct sim_trace *trace, uint64_t aperture, uint64_t mappings, uint64_t granule)
{
    trace->limits = (struct sim_limits){.aperture = aperture, .mappings = mappings, .granule = granule};
}

/* Up to `target` live requests, then as many go as come. */
static void churn(struct maker *m, struct pool *pool, size_t target, size_t events)
{
    while (events--)
        if (m->count < target && (m->count < target / 2 || draw(m, 100) < 70))
            map_some(m, pool);
        else
            unmap_any(m);
}

/* Buffers of 16 to 271 pages come and go whole. */
static void churn_buffers(struct maker *m, struct pool *pool, size_t target, size_t events)
{
    size_t end = m->trace->count + events;

    while (m->trace->count < end)
        if (m->count < target)
            for (size_t i = 16 + draw(m, 256); i-- > 0;)
                map_mostly(m, pool);
        else
            unmap_run(m, 16 + draw(m, 256));
}

static void drain(struct maker *m, size_t left)
{
    while (m->count > left)
        unmap_any(m);
}

static void make_sparse(struct maker *m)
{
    churn(m, NULL, 2000, 60000);
}

static void make_clustered(struct maker *m)
{
    struct pool pool = {.density = DENSITY, .stray = 20, .least_pages = BLOCK_PAGES, .unit = 1};

    churn_buffers(m, &pool, 8000, 100000);
    free(pool.free);
}

static void make_dense(struct maker *m)
{
    struct pool pool = {.density = 60, .stray = 3, .least_pages = BLOCK_PAGES, .unit = 1};

    churn_buffers(m, &pool, 16000, 100000);
    free(pool.free);
}

static void make_unaligned(struct maker *m)
{
    struct pool pool = {.density = DENSITY, .stray = 20, .least_pages = 1024, .more_pages = 7168, .unit = 1};

    churn_buffers(m, &pool, 8000, 100000);
    free(pool.free);
}

/* A long-lived half in pools, and a short-lived one that is anywhere. */
static void make_mix(struct maker *m)
{
    struct pool pool = {.density = DENSITY, .stray = 20, .least_pages = BLOCK_PAGES, .unit = 1};
    size_t kept;

    while (m->count < 4000)
        map_some(m, draw(m, 10) ? &pool : NULL);
    kept = m->count;
    for (size_t i = 0; i < 80000; i++)
        if (m->count < kept + 500 && draw(m, 2))
            map_some(m, draw(m, 2) ? &pool : NULL);
        else if (m->count > kept)
            unmap_at(m, kept + draw(m, m->count - kept));
    free(pool.free);
}

/* The pool loses what is free in it every 10000 events, as if others had taken it: what stays is scattered. */
static void make_hours(struct maker *m)
{
    struct pool pool = {.density = DENSITY, .stray = 20, .least_pages = BLOCK_PAGES, .unit = 1};

    for (size_t i = 0; i < 30; i++) {
        churn_buffers(m, &pool, 8000, 10000);
        pool.count = 0;
    }
    free(pool.free);
}

static void make_ramp(struct maker *m)
{
    struct pool pool = {.density = DENSITY, .stray = 20, .least_pages = BLOCK_PAGES, .unit = 1};

    for (size_t i = 0; i < 3; i++) {
        while (m->count < 16000)
            map_mostly(m, &pool);
        drain(m, 500);
    }
    drain(m, 0);
    free(pool.free);
}

/* 384 granules live of 512 mappings and 4096 granules. */
static void make_set75_sparse(struct maker *m)
{
    set_limits(m->trace, 64 << 20, 512, 16384);
    for (size_t i = 0; i < 40000; i++)
        if (m->count < 384)
            map_one(m, NULL, 1);
        else
            unmap_any(m);
}

/* 3072 granules live of 8192 mappings and 4096 granules. */
static void make_set75_clustered(struct maker *m)
{
    struct pool pool = {.density = 60, .least_pages = BLOCK_PAGES, .unit = 4};

    set_limits(m->trace, 64 << 20, 8192, 16384);
    for (size_t i = 0; i < 60000; i++)
        if (m->count < 3072)
            map_one(m, &pool, 4);
        else
            unmap_any(m);
    free(pool.free);
}

/* 384 granules of 512 mappings and 4096 granules: dense, then all but 64 go, then anywhere; ten times. */
static void make_set75_phases(struct maker *m)
{
    struct pool pool = {.density = 60, .least_pages = BLOCK_PAGES, .unit = 4};

    set_limits(m->trace, 64 << 20, 512, 16384);
    for (size_t i = 0; i < 10; i++) {
        while (m->count < 384)
            map_one(m, &pool, 4);
        drain(m, 64);
        while (m->count < 384)
            map_one(m, NULL, 1);
        drain(m, 64);
        pool.count = 0;
    }
    free(pool.free);
}

static const struct {
    const char *name, *about;
    void (*make)(struct maker *m);
    bool clustered;
} SYNTHETIC[] = {
    {"sparse", "single pages anywhere in 8 GiB, 2000 live", make_sparse, false},
    {"clustered", "buffers of single pages, 8 % of a pageblock, 8000 live", make_clustered, true},
    {"dense", "the same with 60 % of a pageblock, 16000 live", make_dense, true},
    {"unaligned", "8 % of clusters of 4 to 32 MiB that start at any page, 8000 live", make_unaligned, true},
    {"mix", "4000 long-lived, 90 % of them clustered, 500 short-lived, half of them anywhere", make_mix,
     false},
    {"hours", "30 times 10000 events in pageblocks of which only the live pages stay", make_hours, false},
    {"ramp", "three times up to 16000 and down to 500, then to none", make_ramp, true},
    {"set75_sparse", "384 single granules live of 512 mappings and 64 MiB", make_set75_sparse, false},
    {"set75_clustered", "3072 clustered granules live of 8192 mappings and 64 MiB", make_set75_clustered,
     false},
    {"set75_phases", "384 granules live of 512 mappings and 64 MiB, in turn dense and anywhere",
     make_set75_phases, false},
};

#define NR_SYNTHETIC (sizeof(SYNTHETIC) / sizeof(SYNTHETIC[0]))

const char *sim_synthetic_name(size_t index)
{
    return index < NR_SYNTHETIC ? SYNTHETIC[index].name : NULL;
}

const char *sim_synthetic_about(size_t index)
{
    return SYNTHETIC[index].about;
}

bool sim_synthetic_is_clustered(size_t index)
{
    return SYNTHETIC[index].clustered;
}

void sim_synthetic_make(size_t index, struct sim_trace *trace)
{
    struct maker m = {.trace = trace, .state = SEED + index};

    *trace = (struct sim_trace){.name = strdup(SYNTHETIC[index].name)};
    set_limits(trace, UINT64_C(1536) << 20, 65536, 16384);
    SYNTHETIC[index].make(&m);
    free(m.live);
}
