/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The parts of the window simulator: traces, a host, and the two policies that run over a trace. Nothing is kept between
 * runs; a program that cannot get memory ends with a message (bench_die).
 */
#ifndef BENCH_WINDOWS_SIM_H
#define BENCH_WINDOWS_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct sim_limits {
    uint64_t aperture, granule; /* bytes */
    uint64_t mappings;
};

/* A request comes (len > 0) or goes (len 0). `id` names it from 0 up; a trace file's ids are translated. */
struct sim_event {
    uint64_t gpa, len;
    uint32_t id;
};

struct sim_trace {
    char *name;
    struct sim_event *events;
    size_t count, size;
    uint32_t ids; /* one more than the largest */
    struct sim_limits limits;
};

/*
 * Reads a trace file. False: a line is no event, or the file cannot be read; `error` says what, with the line.
 */
bool sim_trace_read(const char *path, struct sim_trace *trace, char *error, size_t size);
/* Appends; ids are given in order. */
void sim_trace_map(struct sim_trace *trace, uint32_t id, uint64_t gpa, uint64_t len);
void sim_trace_unmap(struct sim_trace *trace, uint32_t id);
/* In the format of a trace file. */
void sim_trace_write(const struct sim_trace *trace, FILE *out);
void sim_trace_free(struct sim_trace *trace);

/* The documented synthetic traces: NULL behind the last. */
const char *sim_synthetic_name(size_t index);
const char *sim_synthetic_about(size_t index);
/* Whether the goal of half the mappings at no more bytes is about it. */
bool sim_synthetic_is_clustered(size_t index);
void sim_synthetic_make(size_t index, struct sim_trace *trace);

/* A host's DART: first fit in whole granules, from `seed` on in a place that varies; 0: always the lowest. */
struct sim_host;
struct sim_host *sim_host_create(const struct sim_limits *limits, uint64_t seed);
void sim_host_destroy(struct sim_host *host);
/* 0 or enum vd_apple_dma_why. `align`: 0 or a power of two. */
uint32_t sim_host_map(struct sim_host *host, uint64_t size, uint64_t align, uint64_t *bus);
void sim_host_unmap(struct sim_host *host, uint64_t bus, uint64_t size);

struct sim_figures {
    uint64_t peak_mappings, peak_bytes;               /* of live windows: what cannot be given back */
    uint64_t peak_mappings_cached, peak_bytes_cached; /* with idle ones that are kept */
    uint64_t doorbells, maps, unmaps, requests, failures;
    uint64_t asked_at_peak; /* bytes asked for when peak_bytes was reached */
    double mean_slop;       /* live bytes beyond what is asked for, over all events */
    bool whole_again;       /* at the end, with all released, the aperture can be had in one piece */
};

/* What is live now, for the figures. */
struct sim_tally {
    struct sim_figures *out;
    uint64_t live_bytes, live_mappings, asked, events;
    double slop;
};

/* After each event; what is mapped with idle windows included. */
void sim_note(struct sim_tally *tally, uint64_t mapped_bytes, uint64_t mappings);
/* Zeroed; does not fail. */
void *sim_calloc(size_t count, size_t size);

struct sim_windows_options {
    bool strict;
    uint64_t seed;
};

void sim_run_windows(const struct sim_trace *trace, const struct sim_windows_options *options,
                     struct sim_figures *out);
/* 256 KiB clusters, counted, mapped at the first request and unmapped at the last release. */
void sim_run_clusters(const struct sim_trace *trace, uint64_t seed, struct sim_figures *out);

/* ns of one get, bus address, way back and put of a page that is mapped, over so many. */
double sim_measure_hit(uint64_t times);

#endif
