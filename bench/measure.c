/* SPDX-License-Identifier: BSD-3-Clause */
/* Samples and figures; see measure.h. */
#include "measure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t bench_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void bench_die(const char *what)
{
    fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

struct samples samples_make(size_t size)
{
    struct samples samples = {.ns = calloc(size, sizeof(*samples.ns)), .size = size};

    if (!samples.ns)
        bench_die("memory for samples");
    return samples;
}

void samples_add(struct samples *samples, uint64_t ns)
{
    if (samples->count < samples->size)
        samples->ns[samples->count++] = ns;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

double samples_percentile(struct samples *samples, double percent)
{
    size_t at;

    if (samples->count == 0)
        return 0;
    qsort(samples->ns, samples->count, sizeof(*samples->ns), compare);
    at = (size_t)(percent / 100 * (double)(samples->count - 1) + 0.5);
    return (double)samples->ns[at];
}

void samples_free(struct samples *samples)
{
    free(samples->ns);
    *samples = (struct samples){0};
}

static const char *verdict(const struct figure *f, double measured)
{
    if (f->bound == BOUND_AT_MOST && measured > f->target)
        return "short";
    if (f->bound == BOUND_AT_LEAST && measured < f->target)
        return "short";
    return "ok";
}

void figure_print(const struct figure *f)
{
    bool with_floor = f->floor >= 0;
    double ratio = f->floor > 0 ? f->value / f->floor : 0;

    printf("BENCH %s value=%.2f unit=%s ", f->what, f->value, f->unit);
    if (with_floor)
        printf("floor=%.2f ratio=%.2f ", f->floor, ratio);
    else
        printf("floor=- ratio=- ");
    if (f->bound == BOUND_NONE)
        printf("target=- ");
    else
        printf("target=%s%g ", f->bound == BOUND_AT_MOST ? "<=" : ">=", f->target);
    printf("verdict=%s\n", verdict(f, with_floor ? ratio : f->value));
    fflush(stdout);
}

static void print_percentile(const char *what, const char *suffix, double ours, double floor, double target)
{
    char name[96];
    struct figure f = {.what = name,
                       .value = ours / 1000,
                       .unit = "us",
                       .floor = floor / 1000,
                       .bound = target > 0 ? BOUND_AT_MOST : BOUND_NONE,
                       .target = target};

    snprintf(name, sizeof(name), "%s_%s", what, suffix);
    figure_print(&f);
}

void figure_latency(const char *what, struct samples *ours, struct samples *floor, double p50_target,
                    double p99_target)
{
    print_percentile(what, "p50", samples_percentile(ours, 50), samples_percentile(floor, 50), p50_target);
    print_percentile(what, "p99", samples_percentile(ours, 99), samples_percentile(floor, 99), p99_target);
}

double bench_resident(pid_t pid, const char *one, const char *other)
{
    char path[64], line[256];
    double total = 0;
    FILE *status;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    status = fopen(path, "re");
    if (!status)
        bench_die(path);
    while (fgets(line, sizeof(line), status))
        if (strncmp(line, one, strlen(one)) == 0 || strncmp(line, other, strlen(other)) == 0)
            total += strtod(strchr(line, ':') + 1, NULL);
    fclose(status);
    return total;
}
