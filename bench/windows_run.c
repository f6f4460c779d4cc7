// SPDX-License-Identifier: BSD-3-Clause
/* guest/windows over a trace, as the kernel module runs it. */
#include "windows_sim.h"

#include <stdlib.h>
#include <string.h>

#include "measure.h"
#include "windows/windows.h"

enum {
    EXACT = 1 << 20, /* requests from here on get a window of their own */
    BATCH = 512,
};

struct run {
    const struct sim_trace *trace;
    struct sim_host *host;
    struct vd_windows *windows;
    struct vd_windows_batch batch;
    struct sim_tally tally;
    /* By the id of a mapping, which is its bus address: how large it is. In granules from the start of the aperture. */
    struct vd_window **held; /* by request */
    uint64_t *lengths;
    struct mapped {
        uint64_t bus, size;
    } * mapped;
    size_t nr_mapped, size_mapped, nr_unused;
    uint32_t *unused; /* ids to use again */
};

static uint64_t new_id(struct run *run, uint64_t bus, uint64_t size)
{
    size_t id = run->nr_unused ? run->unused[--run->nr_unused] : run->nr_mapped++;

    if (id == run->size_mapped) {
        run->size_mapped = run->size_mapped ? 2 * run->size_mapped : 1024;
        run->mapped = realloc(run->mapped, run->size_mapped * sizeof(*run->mapped));
        run->unused = realloc(run->unused, run->size_mapped * sizeof(*run->unused));
        if (!run->mapped || !run->unused)
            bench_die("memory");
    }
    run->mapped[id] = (struct mapped){bus, size};
    return id;
}

static void exchange(struct run *run)
{
    struct vd_windows_batch *batch = &run->batch;

    if (!batch->nr_maps && !batch->nr_unmaps)
        return;
    run->tally.out->doorbells++;
    run->tally.out->unmaps += batch->nr_unmaps;
    for (uint32_t i = 0; i < batch->nr_unmaps; i++) {
        struct mapped *mapped = &run->mapped[batch->unmaps[i]];

        sim_host_unmap(run->host, mapped->bus, mapped->size);
        run->unused[run->nr_unused++] = (uint32_t)batch->unmaps[i];
    }
    for (uint32_t i = 0; i < batch->nr_maps; i++) {
        struct vd_windows_map *map = &batch->maps[i];
        uint64_t bus;

        map->why = sim_host_map(run->host, map->size, map->align, &bus);
        if (map->why)
            continue;
        run->tally.out->maps++;
        map->nr_segments = 1;
        map->segments[0] = (struct vd_window_segment){bus, map->size};
        map->id = new_id(run, bus, map->size);
    }
}

static struct vd_window *obtain(struct run *run, uint64_t gpa, uint64_t len, bool exact)
{
    struct vd_windows_want want = {
        .gpa = gpa, .len = len, .access = VD_WINDOW_READ | VD_WINDOW_WRITE, .exact = exact};
    bool more;

    do {
        vd_windows_plan(run->windows, &want, 1, &run->batch);
        exchange(run);
        more = vd_windows_commit(run->windows, &want, 1, &run->batch);
    } while (more);
    vd_windows_refill(run->windows);
    return want.window;
}

static void reap_all(struct run *run)
{
    while (vd_windows_reap(run->windows, 0, UINT64_MAX, &run->batch)) {
        exchange(run);
        vd_windows_commit(run->windows, NULL, 0, &run->batch);
    }
}

static void request(struct run *run, const struct sim_event *event)
{
    bool exact = event->len >= EXACT;
    struct vd_window *window = NULL;

    run->tally.out->requests++;
    if (!exact)
        window = vd_windows_get(run->windows, event->gpa, event->len, VD_WINDOW_READ | VD_WINDOW_WRITE);
    if (!window)
        window = obtain(run, event->gpa, event->len, exact);
    run->held[event->id] = window;
    run->lengths[event->id] = event->len;
    if (!window) {
        run->tally.out->failures++;
        return;
    }
    run->tally.asked += event->len;
    if (vd_atomic_read(&window->refs) == 1) {
        run->tally.live_bytes += window->size;
        run->tally.live_mappings++;
    }
}

static void release(struct run *run, uint32_t id)
{
    struct vd_window *window = run->held[id];

    if (!window)
        return;
    run->held[id] = NULL;
    run->tally.asked -= run->lengths[id];
    if (vd_atomic_read(&window->refs) == 1) {
        run->tally.live_bytes -= window->size;
        run->tally.live_mappings--;
    }
    if (vd_windows_put(run->windows, window))
        reap_all(run);
}

static void run_events(struct run *run)
{
    struct vd_windows_stats stats;

    for (size_t i = 0; i < run->trace->count; i++) {
        const struct sim_event *event = &run->trace->events[i];

        if (event->len)
            request(run, event);
        else
            release(run, event->id);
        sim_note(&run->tally, run->tally.live_bytes, run->tally.live_mappings);
    }
    vd_windows_stats(run->windows, &stats);
    run->tally.out->peak_bytes_cached = stats.peak_bytes;
    run->tally.out->peak_mappings_cached = stats.peak_mappings;
}

/* With everything released: one window as large as the aperture, which takes all of it. */
static bool whole_aperture(struct run *run)
{
    struct vd_window *window;

    for (uint32_t id = 0; id < run->trace->ids; id++)
        release(run, id);
    window = obtain(
        run, 0, run->trace->limits.aperture / run->trace->limits.granule * run->trace->limits.granule, true);
    if (!window)
        return false;
    vd_windows_put(run->windows, window);
    reap_all(run);
    return true;
}

static void start(struct run *run, const struct sim_trace *trace, const struct sim_windows_options *options,
                  struct sim_figures *out)
{
    const struct vd_windows_config config = {.granule = trace->limits.granule,
                                             .limit_bytes = trace->limits.aperture,
                                             .limit_mappings = trace->limits.mappings,
                                             .strict = options->strict};

    *out = (struct sim_figures){0};
    *run =
        (struct run){.trace = trace, .host = sim_host_create(&trace->limits, options->seed), .tally = {out}};
    if (vd_windows_create(&config, &run->windows))
        bench_die("the windows");
    run->batch = (struct vd_windows_batch){.max_unmaps = BATCH,
                                           .unmaps = sim_calloc(BATCH, sizeof(*run->batch.unmaps)),
                                           .max_maps = BATCH,
                                           .maps = sim_calloc(BATCH, sizeof(*run->batch.maps))};
    run->held = sim_calloc(trace->ids, sizeof(struct vd_window *));
    run->lengths = sim_calloc(trace->ids, sizeof(*run->lengths));
}

static void end(struct run *run)
{
    vd_windows_destroy(run->windows);
    sim_host_destroy(run->host);
    free(run->batch.unmaps);
    free(run->batch.maps);
    free(run->held);
    free(run->lengths);
    free(run->mapped);
    free(run->unused);
}

void sim_run_windows(const struct sim_trace *trace, const struct sim_windows_options *options,
                     struct sim_figures *out)
{
    struct run run;
    uint64_t doorbells;

    start(&run, trace, options, out);
    run_events(&run);
    out->mean_slop = run.tally.events ? run.tally.slop / (double)run.tally.events : 0;
    doorbells = out->doorbells;
    out->whole_again = whole_aperture(&run);
    out->doorbells = doorbells;
    end(&run);
}

double sim_measure_hit(uint64_t times)
{
    enum { PAGE = 4096, PAGES = 256 };
    const struct sim_trace trace = {.ids = PAGES,
                                    .limits = {.aperture = 64 << 20, .mappings = 512, .granule = 16384}};
    struct sim_figures figures;
    uint64_t begin, gpa = 0;
    struct run run;

    start(&run, &trace, &(struct sim_windows_options){0}, &figures);
    for (uint32_t i = 0; i < PAGES; i++) {
        request(&run, &(struct sim_event){.id = i, .gpa = UINT64_C(1) * i * 37 * PAGE, .len = PAGE});
        release(&run, i);
    }
    begin = bench_now();
    for (uint64_t i = 0; i < times; i++) {
        struct vd_window *window;

        gpa = (gpa + UINT64_C(37) * 91 * PAGE) % (UINT64_C(37) * PAGES * PAGE);
        window = vd_windows_get(run.windows, gpa, PAGE, VD_WINDOW_READ | VD_WINDOW_WRITE);
        if (!window || vd_windows_at(run.windows, vd_window_bus(window, gpa, PAGE)) != window) {
            fprintf(stderr, "bench: a hit misses\n");
            exit(1);
        }
        vd_windows_put(run.windows, window);
    }
    begin = bench_now() - begin;
    end(&run);
    return (double)begin / (double)times;
}
