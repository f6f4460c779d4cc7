// SPDX-License-Identifier: BSD-3-Clause
/*
 * What is measured against: memory in clusters of 256 KiB, each a mapping that is counted and goes with its last user. And
 * how both policies count.
 */
#include "windows_sim.h"

#include <stdlib.h>

#include "measure.h"

enum { CLUSTER_SHIFT = 18 };

void *sim_calloc(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);

    if (!memory)
        bench_die("memory");
    return memory;
}

void sim_note(struct sim_tally *tally, uint64_t mapped_bytes, uint64_t mappings)
{
    struct sim_figures *out = tally->out;

    if (tally->live_bytes > out->peak_bytes) {
        out->peak_bytes = tally->live_bytes;
        out->asked_at_peak = tally->asked;
    }
    if (tally->live_mappings > out->peak_mappings)
        out->peak_mappings = tally->live_mappings;
    if (mapped_bytes > out->peak_bytes_cached)
        out->peak_bytes_cached = mapped_bytes;
    if (mappings > out->peak_mappings_cached)
        out->peak_mappings_cached = mappings;
    tally->slop += (double)tally->live_bytes - (double)tally->asked;
    tally->events++;
}

struct cluster {
    uint64_t number; /* + 1; 0: the slot is free */
    uint64_t bus;
    uint32_t refs;
};

struct clusters {
    struct sim_host *host;
    struct cluster *slots;
    size_t size, used;
    uint64_t bytes; /* of one: a granule at least */
    uint32_t shift;
    struct sim_tally tally;
};

static struct cluster *cluster_slot(struct clusters *c, uint64_t number)
{
    size_t at = (size_t)(number * 0x9e3779b97f4a7c15u >> 20) & (c->size - 1);

    while (c->slots[at].number && c->slots[at].number != number + 1)
        at = (at + 1) & (c->size - 1);
    return &c->slots[at];
}

static struct cluster *cluster_of(struct clusters *c, uint64_t number)
{
    struct cluster *cluster;

    if (2 * (c->used + 1) > c->size) {
        struct clusters larger = *c;

        larger.size = c->size ? 2 * c->size : 4096;
        larger.slots = sim_calloc(larger.size, sizeof(*larger.slots));
        for (size_t i = 0; i < c->size; i++)
            if (c->slots[i].number)
                *cluster_slot(&larger, c->slots[i].number - 1) = c->slots[i];
        free(c->slots);
        *c = larger;
    }
    cluster = cluster_slot(c, number);
    if (!cluster->number) {
        cluster->number = number + 1;
        c->used++;
    }
    return cluster;
}

static bool cluster_get(struct clusters *c, uint64_t number)
{
    struct cluster *cluster = cluster_of(c, number);

    if (cluster->refs++)
        return true;
    c->tally.out->doorbells++;
    if (sim_host_map(c->host, c->bytes, 0, &cluster->bus)) {
        cluster->refs = 0;
        return false;
    }
    c->tally.out->maps++;
    c->tally.live_bytes += c->bytes;
    c->tally.live_mappings++;
    return true;
}

static void cluster_put(struct clusters *c, uint64_t number)
{
    struct cluster *cluster = cluster_of(c, number);

    if (--cluster->refs)
        return;
    c->tally.out->doorbells++;
    c->tally.out->unmaps++;
    sim_host_unmap(c->host, cluster->bus, c->bytes);
    c->tally.live_bytes -= c->bytes;
    c->tally.live_mappings--;
}

/* All clusters of a request, or none. */
static bool clusters_map(struct clusters *c, const struct sim_event *event)
{
    uint64_t first = event->gpa >> c->shift, last = (event->gpa + event->len - 1) >> c->shift, at;

    c->tally.out->requests++;
    for (at = first; at <= last && cluster_get(c, at);)
        at++;
    if (at > last) {
        c->tally.asked += event->len;
        return true;
    }
    c->tally.out->failures++;
    while (at-- > first)
        cluster_put(c, at);
    return false;
}

static void clusters_unmap(struct clusters *c, const struct sim_event *event)
{
    uint64_t first = event->gpa >> c->shift, last = (event->gpa + event->len - 1) >> c->shift;

    for (uint64_t at = first; at <= last; at++)
        cluster_put(c, at);
    c->tally.asked -= event->len;
}

void sim_run_clusters(const struct sim_trace *trace, uint64_t seed, struct sim_figures *out)
{
    struct clusters c = {
        .host = sim_host_create(&trace->limits, seed), .shift = CLUSTER_SHIFT, .tally = {out}};
    const struct sim_event **held = sim_calloc(trace->ids, sizeof(struct sim_event *));

    *out = (struct sim_figures){0};
    while (UINT64_C(1) << c.shift < trace->limits.granule)
        c.shift++;
    c.bytes = UINT64_C(1) << c.shift;
    for (size_t i = 0; i < trace->count; i++) {
        const struct sim_event *event = &trace->events[i];

        if (event->len) {
            held[event->id] = clusters_map(&c, event) ? event : NULL;
        } else if (held[event->id]) {
            clusters_unmap(&c, held[event->id]);
            held[event->id] = NULL;
        }
        sim_note(&c.tally, c.tally.live_bytes, c.tally.live_mappings);
    }
    out->mean_slop = c.tally.events ? c.tally.slop / (double)c.tally.events : 0;
    sim_host_destroy(c.host);
    free(c.slots);
    free(held);
}
