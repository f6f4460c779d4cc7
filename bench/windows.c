// SPDX-License-Identifier: BSD-3-Clause
/* The simulator of window policies: guest/windows against fixed clusters, over traces of DMA requests. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "measure.h"
#include "windows/windows.h"
#include "windows_sim.h"

enum output { OUTPUT_TEXT, OUTPUT_JSON, OUTPUT_BENCH };

struct options {
    struct sim_limits limits; /* 0: the trace's own */
    uint64_t seed;
    enum output output;
    const char *synthetic; /* NULL: none */
    const char *write;
};

struct result {
    const struct sim_trace *trace;
    struct sim_figures clusters, windows, strict;
    bool synthetic, clustered;
};

static const char USAGE[] =
    "usage: bench_windows [OPTION]... TRACE...\n"
    "       bench_windows [OPTION]... --synthetic [NAME|all]\n"
    "\n"
    "Runs traces of DMA requests through the window policy of the guest's module and through fixed clusters "
    "of\n"
    "256 KiB (counted, unmapped at the last release), and prints what either takes. A line of a trace is\n"
    "\"m ID GPA LEN\" or \"u ID\", hexadecimal; lines that start with # are skipped.\n"
    "\n"
    "  --aperture SIZE    bytes that can be mapped (default 1536M; K, M and G are understood)\n"
    "  --mappings N       mappings that there can be (default 65536)\n"
    "  --granule SIZE     smallest unit of mapping (default 16K)\n"
    "  --seed N           the host maps in random places instead of the first that fits\n"
    "  --synthetic [NAME] a documented trace, or all; with limits of its own unless they are given\n"
    "  --json             the figures as JSON\n"
    "  --bench            the figures as bench/run prints them\n"
    "  --write NAME       prints that synthetic trace instead of running anything\n"
    "  --list             names the synthetic traces\n"
    "\n"
    "peak: most that was live at once, which cannot be given back; cached: with idle windows that stay "
    "mapped until\n"
    "the limits press; slop: live bytes beyond what is asked for. Exit code 2: a bad option or a bad line.\n";

static void usage_error(const char *what, const char *value)
{
    fprintf(stderr, "bench_windows: %s '%s'; --help says more\n", what, value);
    exit(2);
}

static uint64_t take_size(const char *text)
{
    static const char SUFFIX[] = "KMGT";
    const char *suffix;
    char *end;
    uint64_t value;
    unsigned shift = 0;

    errno = 0;
    value = strtoull(text, &end, 0);
    if (*end && (suffix = strchr(SUFFIX, *end))) {
        shift = 10 * (unsigned)(suffix - SUFFIX + 1);
        end++;
    }
    if (errno || end == text || *end || *text == '-' || value == 0 || value > UINT64_MAX >> shift)
        usage_error("not a size:", text);
    return value << shift;
}

static size_t find_synthetic(const char *name)
{
    for (size_t i = 0; sim_synthetic_name(i); i++)
        if (strcmp(sim_synthetic_name(i), name) == 0)
            return i;
    usage_error("no synthetic trace", name);
    return 0;
}

static void apply_limits(const struct options *options, struct sim_trace *trace)
{
    if (options->limits.aperture)
        trace->limits.aperture = options->limits.aperture;
    if (options->limits.mappings)
        trace->limits.mappings = options->limits.mappings;
    if (options->limits.granule)
        trace->limits.granule = options->limits.granule;
    if (trace->limits.granule < 4096 || trace->limits.granule > 2 << 20 ||
        trace->limits.granule & (trace->limits.granule - 1)) {
        fprintf(stderr, "bench_windows: a granule is a power of two from 4K to 2M\n");
        exit(2);
    }
    if (trace->limits.aperture < trace->limits.granule) {
        fprintf(stderr, "bench_windows: the aperture is smaller than a granule\n");
        exit(2);
    }
    trace->limits.aperture -= trace->limits.aperture % trace->limits.granule;
}

static double mib(uint64_t bytes)
{
    return (double)bytes / 1048576;
}

static double slop_at_peak(const struct sim_figures *f)
{
    return mib(f->peak_bytes) - mib(f->asked_at_peak);
}

static void print_row(const char *policy, const struct sim_figures *f)
{
    printf("  %-10s %8" PRIu64 " %9.1f %9.1f %9.1f %9" PRIu64 " %8" PRIu64 " %8" PRIu64 " %9.1f\n", policy,
           f->peak_mappings, mib(f->peak_bytes), slop_at_peak(f), f->mean_slop / 1048576, f->doorbells,
           f->failures, f->peak_mappings_cached, mib(f->peak_bytes_cached));
}

static void print_text(const struct result *result)
{
    const struct sim_trace *trace = result->trace;

    printf("%s: %" PRIu64 " requests; %.1f MiB, %" PRIu64 " mappings, granule %" PRIu64 " KiB\n", trace->name,
           result->windows.requests, mib(trace->limits.aperture), trace->limits.mappings,
           trace->limits.granule / 1024);
    printf("  %-10s %8s %9s %9s %9s %9s %8s %8s %9s\n", "", "mappings", "peak MiB", "slop MiB", "mean slop",
           "doorbells", "failures", "cached", "MiB");
    print_row("clusters", &result->clusters);
    print_row("windows", &result->windows);
    print_row("strict", &result->strict);
    if (!result->windows.whole_again)
        printf("  the aperture cannot be had in one piece after the end\n");
}

static json_object *figures_json(const struct sim_figures *f)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"requests", f->requests},
        {"failures", f->failures},
        {"peak_mappings", f->peak_mappings},
        {"peak_bytes", f->peak_bytes},
        {"asked_bytes_at_peak", f->asked_at_peak},
        {"peak_mappings_cached", f->peak_mappings_cached},
        {"peak_bytes_cached", f->peak_bytes_cached},
        {"doorbells", f->doorbells},
        {"maps", f->maps},
        {"unmaps", f->unmaps},
    };
    json_object *object = json_object_new_object();

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        json_object_object_add(object, numbers[i].name, json_object_new_int64((int64_t)numbers[i].value));
    json_object_object_add(object, "mean_slop_bytes", json_object_new_double(f->mean_slop));
    return object;
}

static void print_json(const struct result *result)
{
    const struct sim_limits *limits = &result->trace->limits;
    json_object *object = json_object_new_object();

    json_object_object_add(object, "trace", json_object_new_string(result->trace->name));
    json_object_object_add(object, "aperture", json_object_new_int64((int64_t)limits->aperture));
    json_object_object_add(object, "mappings", json_object_new_int64((int64_t)limits->mappings));
    json_object_object_add(object, "granule", json_object_new_int64((int64_t)limits->granule));
    json_object_object_add(object, "clusters", figures_json(&result->clusters));
    json_object_object_add(object, "windows", figures_json(&result->windows));
    json_object_object_add(object, "strict", figures_json(&result->strict));
    json_object_object_add(object, "whole_again", json_object_new_boolean(result->windows.whole_again));
    printf("%s\n", json_object_to_json_string(object));
    json_object_put(object);
}

static void bench_line(const struct result *result, const char *what, double value, const char *unit,
                       double floor, enum bound bound, double target)
{
    char name[128];

    snprintf(name, sizeof(name), "paravirt.windows_%s_%s", result->trace->name, what);
    figure_print(&(struct figure){name, value, unit, floor, bound, target});
}

static void print_bench(const struct result *result)
{
    const struct sim_figures *w = &result->windows, *c = &result->clusters;
    double mappings = (double)w->peak_mappings / (double)(c->peak_mappings ? c->peak_mappings : 1);
    double bytes = (double)w->peak_bytes / (double)(c->peak_bytes ? c->peak_bytes : 1);
    enum bound goal = result->clustered ? BOUND_AT_MOST : BOUND_NONE;

    bench_line(result, "mappings", (double)w->peak_mappings, "mappings", (double)c->peak_mappings, goal, 0.5);
    bench_line(result, "bytes", mib(w->peak_bytes), "MiB", mib(c->peak_bytes), goal, 1);
    /* Never more of both: the smaller of the two ratios. Where clusters fail, their peaks say nothing. */
    bench_line(result, "better_ratio", mappings < bytes ? mappings : bytes, "ratio", -1,
               c->failures ? BOUND_NONE : BOUND_AT_MOST, 1);
    bench_line(result, "doorbells", (double)w->doorbells, "doorbells", (double)c->doorbells, BOUND_NONE, 0);
    bench_line(result, "slop", w->mean_slop / 1048576, "MiB", c->mean_slop / 1048576, BOUND_NONE, 0);
    bench_line(result, "failures", (double)w->failures, "requests", -1,
               result->synthetic ? BOUND_AT_MOST : BOUND_NONE, 0);
    bench_line(result, "whole_again", w->whole_again, "bool", -1, BOUND_AT_LEAST, 1);
}

static void run_trace(const struct options *options, struct sim_trace *trace, bool synthetic, bool clustered)
{
    struct result result = {.trace = trace, .synthetic = synthetic, .clustered = clustered};

    apply_limits(options, trace);
    sim_run_clusters(trace, options->seed, &result.clusters);
    sim_run_windows(trace, &(struct sim_windows_options){.seed = options->seed}, &result.windows);
    if (options->output != OUTPUT_BENCH)
        sim_run_windows(trace, &(struct sim_windows_options){.seed = options->seed, .strict = true},
                        &result.strict);
    switch (options->output) {
    case OUTPUT_TEXT:
        print_text(&result);
        break;
    case OUTPUT_JSON:
        print_json(&result);
        break;
    case OUTPUT_BENCH:
        print_bench(&result);
        break;
    }
    fflush(stdout);
}

static void run_synthetic(const struct options *options)
{
    struct sim_trace trace;

    if (strcmp(options->synthetic, "all") != 0)
        find_synthetic(options->synthetic);
    for (size_t i = 0; sim_synthetic_name(i); i++) {
        if (strcmp(options->synthetic, "all") != 0 && strcmp(options->synthetic, sim_synthetic_name(i)) != 0)
            continue;
        sim_synthetic_make(i, &trace);
        run_trace(options, &trace, true, sim_synthetic_is_clustered(i));
        sim_trace_free(&trace);
    }
}

static void run_file(const struct options *options, const char *path)
{
    struct sim_trace trace;
    char error[512];

    if (!sim_trace_read(path, &trace, error, sizeof(error))) {
        fprintf(stderr, "bench_windows: %s\n", error);
        exit(2);
    }
    trace.limits = (struct sim_limits){.aperture = UINT64_C(1536) << 20, .mappings = 65536, .granule = 16384};
    run_trace(options, &trace, false, false);
    sim_trace_free(&trace);
}

/* One get, its bus address, the way back from that, and the put, of pages that are mapped. */
static void measure_hit(void)
{
    enum { TIMES = 4000000 };
    double ns = sim_measure_hit(TIMES);

    figure_print(&(struct figure){"paravirt.windows_hit", ns, "ns", -1, BOUND_NONE, 0});
}

static void list(void)
{
    for (size_t i = 0; sim_synthetic_name(i); i++)
        printf("%-16s %s\n", sim_synthetic_name(i), sim_synthetic_about(i));
}

static void write_trace(const char *name)
{
    struct sim_trace trace;

    sim_synthetic_make(find_synthetic(name), &trace);
    sim_trace_write(&trace, stdout);
    sim_trace_free(&trace);
}

/* The argument of --synthetic may be left out. */
static const char *take_name(int argc, char **argv)
{
    if (optarg)
        return optarg;
    if (optind < argc && argv[optind][0] != '-')
        return argv[optind++];
    return "all";
}

static void parse(int argc, char **argv, struct options *options)
{
    static const struct option LONG[] = {
        {"aperture", required_argument, NULL, 'a'},
        {"mappings", required_argument, NULL, 'm'},
        {"granule", required_argument, NULL, 'g'},
        {"seed", required_argument, NULL, 's'},
        {"synthetic", optional_argument, NULL, 'y'},
        {"json", no_argument, NULL, 'j'},
        {"bench", no_argument, NULL, 'b'},
        {"write", required_argument, NULL, 'w'},
        {"list", no_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "+h", LONG, NULL)) != -1) {
        switch (option) {
        case 'a':
            options->limits.aperture = take_size(optarg);
            break;
        case 'm':
            options->limits.mappings = take_size(optarg);
            break;
        case 'g':
            options->limits.granule = take_size(optarg);
            break;
        case 's':
            options->seed = take_size(optarg);
            break;
        case 'y':
            options->synthetic = take_name(argc, argv);
            break;
        case 'j':
            options->output = OUTPUT_JSON;
            break;
        case 'b':
            options->output = OUTPUT_BENCH;
            break;
        case 'w':
            options->write = optarg;
            break;
        case 'l':
            list();
            exit(0);
        case 'h':
            fputs(USAGE, stdout);
            exit(0);
        default:
            fprintf(stderr, "bench_windows: --help says more\n");
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    struct options options = {0};

    parse(argc, argv, &options);
    if (options.write) {
        write_trace(options.write);
        return 0;
    }
    if (!options.synthetic && optind == argc && options.output != OUTPUT_BENCH) {
        fputs(USAGE, stderr);
        return 2;
    }
    if (options.output == OUTPUT_BENCH)
        measure_hit();
    if (options.synthetic || (options.output == OUTPUT_BENCH && optind == argc)) {
        options.synthetic = options.synthetic ? options.synthetic : "all";
        run_synthetic(&options);
    }
    for (int i = optind; i < argc; i++)
        run_file(&options, argv[i]);
    return 0;
}
