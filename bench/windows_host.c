// SPDX-License-Identifier: BSD-3-Clause
/* The simulated DART: a bit for each granule of the aperture. */
#include "windows_sim.h"

#include <stdlib.h>
#include <string.h>

#include "measure.h"
#include "proto/apple_dma.h"

enum { FIRST_BUS = 0x10000000 };

struct sim_host {
    struct sim_limits limits;
    uint64_t granules, used, mappings, seed;
    uint8_t *taken;
};

struct sim_host *sim_host_create(const struct sim_limits *limits, uint64_t seed)
{
    struct sim_host *host = calloc(1, sizeof(*host));

    if (!host)
        bench_die("memory");
    host->limits = *limits;
    host->granules = limits->aperture / limits->granule;
    host->seed = seed;
    host->taken = calloc(host->granules + 1, 1);
    if (!host->taken)
        bench_die("memory");
    return host;
}

void sim_host_destroy(struct sim_host *host)
{
    free(host->taken);
    free(host);
}

static uint64_t random_start(struct sim_host *host)
{
    if (!host->seed)
        return 0;
    host->seed = host->seed * 6364136223846793005u + 1442695040888963407u;
    return (host->seed >> 33) % host->granules;
}

/* The first free stretch at or after `start`; host->granules: none. */
static uint64_t find_hole(const struct sim_host *host, uint64_t start, uint64_t count, uint64_t unit)
{
    uint64_t at = start;

    while (at < host->granules) {
        const uint8_t *taken, *free = memchr(host->taken + at, 0, host->granules - at);

        if (!free)
            break;
        at = ((uint64_t)(free - host->taken) + unit - 1) / unit * unit;
        if (at > host->granules || count > host->granules - at)
            break;
        taken = memchr(host->taken + at, 1, count);
        if (!taken)
            return at;
        at = (uint64_t)(taken - host->taken) + 1;
    }
    return host->granules;
}

uint32_t sim_host_map(struct sim_host *host, uint64_t size, uint64_t align, uint64_t *bus)
{
    uint64_t count = size / host->limits.granule;
    uint64_t unit = align > host->limits.granule ? align / host->limits.granule : 1, at, i;

    if (host->mappings == host->limits.mappings)
        return VD_APPLE_DMA_WHY_MAPPINGS;
    if (count > host->granules - host->used)
        return VD_APPLE_DMA_WHY_BYTES;
    at = find_hole(host, random_start(host), count, unit);
    if (at == host->granules)
        at = find_hole(host, 0, count, unit);
    if (at == host->granules)
        return VD_APPLE_DMA_WHY_SPACE;
    for (i = 0; i < count; i++)
        host->taken[at + i] = 1;
    host->used += count;
    host->mappings++;
    *bus = FIRST_BUS + at * host->limits.granule;
    return 0;
}

void sim_host_unmap(struct sim_host *host, uint64_t bus, uint64_t size)
{
    uint64_t at = (bus - FIRST_BUS) / host->limits.granule, count = size / host->limits.granule, i;

    for (i = 0; i < count; i++)
        host->taken[at + i] = 0;
    host->used -= count;
    host->mappings--;
}
