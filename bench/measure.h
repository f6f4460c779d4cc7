/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every benchmark shares: a clock, samples and their percentiles, and the one line a figure is printed as:
 *
 *   BENCH <area>.<what> value=N unit=U floor=N ratio=N target=<=N verdict=ok|short
 *
 * `ratio` is value / floor. A target is about the ratio, or about the value where there is no floor ("-"). A figure
 * without a target has target=- and verdict=ok. Nothing here fails because of a number.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* CLOCK_MONOTONIC in ns. */
uint64_t bench_now(void);

/* A fixed number of samples in ns, sorted when first asked. */
struct samples {
    uint64_t *ns;
    size_t count, size;
};

/* Room for `size` samples; exits when memory is short. */
struct samples samples_make(size_t size);
void samples_add(struct samples *samples, uint64_t ns);
/* The given percentile (0 to 100) in ns; sorts. */
double samples_percentile(struct samples *samples, double percent);
void samples_free(struct samples *samples);

enum bound { BOUND_NONE, BOUND_AT_MOST, BOUND_AT_LEAST };

/* One figure. floor < 0: there is none. */
struct figure {
    const char *what; /* with its area */
    double value;
    const char *unit;
    double floor;
    enum bound bound;
    double target;
};

void figure_print(const struct figure *figure);
/* Prints p50 and p99 of `ours` against `floor` in µs as WHAT_p50 and WHAT_p99; a target of 0 is none. */
void figure_latency(const char *what, struct samples *ours, struct samples *floor, double p50_target,
                    double p99_target);

/* KiB that a process holds: the sum of two lines of its /proc status, named with their colons. */
double bench_resident(pid_t pid, const char *one, const char *other);

/* Says what failed, with errno, and exits with 1: a benchmark that cannot measure has no figure. */
void bench_die(const char *what) __attribute__((noreturn));

#endif
