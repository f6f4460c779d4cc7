// SPDX-License-Identifier: BSD-3-Clause
/* What the policy must reach on every synthetic trace, against fixed clusters of 256 KiB. */
#include <string.h>

#include "../base/unit.h"
#include "bench/windows_sim.h"

static void reach(size_t index)
{
    struct sim_figures clusters, windows;
    struct sim_trace trace;

    sim_synthetic_make(index, &trace);
    sim_run_clusters(&trace, 0, &clusters);
    sim_run_windows(&trace, &(struct sim_windows_options){0}, &windows);
    print_message("# %s: %u and %u mappings, %u and %u KiB\n", trace.name, (unsigned)windows.peak_mappings,
                  (unsigned)clusters.peak_mappings, (unsigned)(windows.peak_bytes >> 10),
                  (unsigned)(clusters.peak_bytes >> 10));
    assert_int_equal(windows.failures, 0);
    assert_true(windows.whole_again);
    assert_int_equal(windows.requests, clusters.requests);
    /* Where clusters refuse requests their peaks are those of fewer requests. */
    if (!clusters.failures)
        assert_true(windows.peak_mappings <= clusters.peak_mappings ||
                    windows.peak_bytes <= clusters.peak_bytes);
    if (sim_synthetic_is_clustered(index)) {
        assert_true(2 * windows.peak_mappings <= clusters.peak_mappings);
        assert_true(windows.peak_bytes <= clusters.peak_bytes);
    }
    sim_trace_free(&trace);
}

static void every_trace_reaches_the_goals(void **state)
{
    size_t clustered = 0, index;

    for (index = 0; sim_synthetic_name(index); index++) {
        clustered += sim_synthetic_is_clustered(index);
        reach(index);
    }
    assert_true(index >= 8 && clustered >= 3);
}

static void the_live_set_stays_within_the_limits_when_the_host_maps_anywhere(void **state)
{
    struct sim_figures windows;
    struct sim_trace trace;

    for (size_t index = 0; sim_synthetic_name(index); index++) {
        if (strncmp(sim_synthetic_name(index), "set75", 5) != 0)
            continue;
        sim_synthetic_make(index, &trace);
        sim_run_windows(&trace, &(struct sim_windows_options){.seed = 7}, &windows);
        assert_int_equal(windows.failures, 0);
        assert_true(windows.whole_again);
        sim_trace_free(&trace);
    }
}

static void strict_maps_what_is_asked_for_and_nothing_else(void **state)
{
    struct sim_figures windows;
    struct sim_trace trace = {.limits = {.aperture = 1 << 20, .mappings = 16, .granule = 16384}};

    for (uint32_t i = 0; i < 8; i++)
        sim_trace_map(&trace, i, UINT64_C(0x1000000) * i, 4096);
    for (uint32_t i = 0; i < 8; i++)
        sim_trace_unmap(&trace, i);
    sim_run_windows(&trace, &(struct sim_windows_options){.strict = true}, &windows);
    assert_int_equal(windows.doorbells, 16);
    assert_int_equal(windows.peak_mappings_cached, 8);
    assert_int_equal(windows.peak_bytes_cached, 8 * 16384);
    sim_trace_free(&trace);
}

static void clusters_are_counted_as_documented(void **state)
{
    struct sim_figures clusters;
    struct sim_trace trace = {.limits = {.aperture = 1 << 20, .mappings = 3, .granule = 16384}};

    sim_trace_map(&trace, 0, 0, 4096);
    sim_trace_map(&trace, 1, 0x3f000, 0x2000);
    sim_trace_map(&trace, 2, 0x100000, 0x1000);
    sim_trace_map(&trace, 3, 0x200000, 0x1000);
    sim_trace_unmap(&trace, 0);
    sim_trace_unmap(&trace, 1);
    sim_trace_unmap(&trace, 3);
    sim_run_clusters(&trace, 0, &clusters);
    assert_int_equal(clusters.peak_mappings, 3);
    assert_int_equal(clusters.peak_bytes, 3 << 18);
    assert_int_equal(clusters.failures, 1);
    assert_int_equal(clusters.maps, 3);
    assert_int_equal(clusters.unmaps, 2);
    assert_int_equal(clusters.asked_at_peak, 0x4000);
    sim_trace_free(&trace);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_trace_reaches_the_goals),
        cmocka_unit_test(the_live_set_stays_within_the_limits_when_the_host_maps_anywhere),
        cmocka_unit_test(strict_maps_what_is_asked_for_and_nothing_else),
        cmocka_unit_test(clusters_are_counted_as_documented),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
