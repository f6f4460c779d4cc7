// SPDX-License-Identifier: BSD-3-Clause
/* Idle windows: kept, evicted as far as it takes, reaped, forgotten; and strict mode, which keeps none. */
#include <errno.h>

#include "fake.h"

/* Granule windows far apart, 8 mappings. */
static void init_eight(struct fake *fake)
{
    fake_init(
        fake,
        &(struct vd_windows_config){
            .granule = FAKE_GRANULE, .limit_bytes = MIB, .limit_mappings = 8, .max_window = FAKE_GRANULE},
        MIB);
}

static uint64_t spot(uint64_t i)
{
    return i * 16 * MIB;
}

static bool is_there(struct fake *fake, uint64_t gpa)
{
    struct vd_window *window = vd_windows_get(fake->windows, gpa, 4096, FAKE_RW);

    if (window)
        vd_windows_put(fake->windows, window);
    return window;
}

static void the_least_recently_used_goes_first(void **state)
{
    struct fake fake;

    init_eight(&fake);
    for (uint64_t i = 0; i < 8; i++)
        fake_put(&fake, fake_map(&fake, spot(i), 4096));
    assert_true(is_there(&fake, spot(0)));
    fake_put(&fake, fake_map(&fake, spot(8), 4096));
    assert_int_equal(fake.unmaps, 1);
    assert_false(is_there(&fake, spot(1)));
    fake_put(&fake, fake_map(&fake, spot(9), 4096));
    assert_int_equal(fake.unmaps, 2);
    assert_false(is_there(&fake, spot(2)));
    assert_true(is_there(&fake, spot(0)));
    fake_finish(&fake);
}

static void used_often_stays_longer_than_used_once(void **state)
{
    struct fake fake;

    init_eight(&fake);
    for (uint64_t i = 0; i < 8; i++)
        fake_put(&fake, fake_map(&fake, spot(i), 4096));
    for (uint64_t i = 0; i < 8; i++)
        for (uint64_t j = 0; j < (i < 4 ? 3 : 1); j++)
            assert_true(is_there(&fake, spot(i)));
    for (uint64_t i = 8; i < 12; i++)
        fake_put(&fake, fake_map(&fake, spot(i), 4096));
    for (uint64_t i = 0; i < 8; i++)
        assert_int_equal(is_there(&fake, spot(i)), i < 4);
    fake_finish(&fake);
}

static void eviction_and_mapping_are_one_exchange(void **state)
{
    struct fake fake;

    init_eight(&fake);
    for (uint64_t i = 0; i < 8; i++)
        fake_put(&fake, fake_map(&fake, spot(i), 4096));
    fake_map(&fake, spot(8), 4096);
    assert_int_equal(fake.doorbells, 9);
    fake_finish(&fake);
}

static void live_windows_are_not_evicted(void **state)
{
    struct vd_window *windows[8];
    struct fake fake;

    init_eight(&fake);
    for (uint64_t i = 0; i < 8; i++)
        windows[i] = fake_map(&fake, spot(i), 4096);
    assert_int_equal(fake_refused(&fake, spot(8), 4096, FAKE_RW), -ENOSPC);
    assert_int_equal(fake_reap(&fake, 0, UINT64_MAX), 0);
    for (uint64_t i = 0; i < 8; i++)
        fake_check(&fake, windows[i], spot(i), 4096);
    fake_put(&fake, windows[3]);
    fake_map(&fake, spot(8), 4096);
    assert_false(is_there(&fake, spot(3)));
    fake_finish(&fake);
}

static void as_much_is_evicted_as_it_takes(void **state)
{
    struct fake fake;
    struct vd_windows_stats stats;

    fake_init(&fake,
              &(struct vd_windows_config){.granule = FAKE_GRANULE,
                                          .limit_bytes = UINT64_C(16) * FAKE_GRANULE,
                                          .limit_mappings = 100,
                                          .max_window = FAKE_GRANULE},
              UINT64_C(16) * FAKE_GRANULE);
    for (uint64_t i = 0; i < 16; i++)
        fake_put(&fake, fake_map(&fake, spot(i), 4096));
    fake_put(&fake, fake_exact(&fake, spot(20), 5 * FAKE_GRANULE, 0));
    assert_int_equal(fake.unmaps, 5);
    vd_windows_stats(fake.windows, &stats);
    assert_int_equal(stats.evicted, 5);
    assert_int_equal(stats.bytes, 16 * FAKE_GRANULE);
    /* More than there is: nothing goes for nothing. */
    assert_null(fake_exact(&fake, spot(21), 17 * FAKE_GRANULE, 0));
    assert_int_equal(fake.unmaps, 5);
    fake_put(&fake, fake_exact(&fake, spot(21), 16 * FAKE_GRANULE, 0));
    assert_int_equal(fake.unmaps, 17);
    fake_finish(&fake);
}

static void evictions_that_do_not_fit_a_batch_take_rounds(void **state)
{
    struct fake fake;

    fake_init(&fake,
              &(struct vd_windows_config){.granule = FAKE_GRANULE,
                                          .limit_bytes = UINT64_C(64) * FAKE_GRANULE,
                                          .limit_mappings = 100,
                                          .max_window = FAKE_GRANULE},
              UINT64_C(64) * FAKE_GRANULE);
    for (uint64_t i = 0; i < 64; i++)
        fake_put(&fake, fake_map(&fake, spot(i), 4096));
    fake.max_unmaps = 3;
    assert_non_null(fake_exact(&fake, spot(100), 64 * FAKE_GRANULE, 0));
    assert_int_equal(fake.unmaps, 64);
    fake_finish(&fake);
}

static void room_that_is_in_pieces_is_made_whole(void **state)
{
    struct vd_window *windows[16];
    struct fake fake;

    fake_init(&fake,
              &(struct vd_windows_config){.granule = FAKE_GRANULE,
                                          .limit_bytes = UINT64_C(16) * FAKE_GRANULE,
                                          .limit_mappings = 100,
                                          .max_window = FAKE_GRANULE},
              UINT64_C(16) * FAKE_GRANULE);
    for (uint64_t i = 0; i < 16; i++)
        windows[i] = fake_map(&fake, spot(i), 4096);
    /* Every other goes idle and is reaped: eight holes of one granule. */
    for (uint64_t i = 0; i < 16; i += 2) {
        fake_put(&fake, windows[i]);
        fake_reap(&fake, spot(i), 1);
    }
    assert_null(fake_exact(&fake, spot(20), 2 * FAKE_GRANULE, 0));
    /* One more idle, between two holes. */
    fake_put(&fake, windows[5]);
    assert_non_null(fake_exact(&fake, spot(20), 3 * FAKE_GRANULE, 0));
    fake_finish(&fake);
}

static void reaping_takes_what_overlaps_and_is_idle(void **state)
{
    struct vd_window *held;
    struct fake fake;

    init_eight(&fake);
    held = fake_map(&fake, spot(0), 4096);
    for (uint64_t i = 1; i < 8; i++)
        fake_put(&fake, fake_map(&fake, spot(i), 4096));
    assert_int_equal(fake_reap(&fake, spot(1), 0), 0);
    assert_int_equal(fake_reap(&fake, spot(1) + FAKE_GRANULE, spot(1) - FAKE_GRANULE), 0);
    assert_int_equal(fake_reap(&fake, spot(1) + FAKE_GRANULE - 1, spot(1)), 2);
    assert_int_equal(fake_reap(&fake, 0, UINT64_MAX), 5);
    fake_put(&fake, held);
    assert_int_equal(fake_reap(&fake, 0, UINT64_MAX), 1);
    assert_int_equal(fake.mappings, 0);
    fake_finish(&fake);
}

static void strict_keeps_nothing_idle(void **state)
{
    struct vd_windows_want want = {.gpa = 4096, .len = 100, .access = VD_WINDOW_WRITE};
    struct fake fake;

    fake_init(&fake,
              &(struct vd_windows_config){
                  .granule = FAKE_GRANULE, .limit_bytes = MIB, .limit_mappings = 8, .strict = true},
              MIB);
    fake_run(&fake, &want, 1);
    assert_int_equal(want.window->size, FAKE_GRANULE);
    assert_int_equal(want.window->access, VD_WINDOW_WRITE);
    assert_ptr_equal(vd_windows_get(fake.windows, 0, 4096, VD_WINDOW_WRITE), want.window);
    assert_false(vd_windows_put(fake.windows, want.window));
    assert_true(vd_windows_put(fake.windows, want.window));
    assert_int_equal(fake_reap(&fake, 0, UINT64_MAX), 1);
    assert_int_equal(fake.mappings, 0);
    assert_null(vd_windows_get(fake.windows, 0, 4096, VD_WINDOW_WRITE));
    fake_finish(&fake);
}

static void what_was_forgotten_can_still_be_given_back(void **state)
{
    struct vd_window *held, *idle, *again;
    struct vd_windows_stats stats;
    struct fake fake;

    init_eight(&fake);
    held = fake_map(&fake, spot(0), 4096);
    assert_ptr_equal(vd_windows_get(fake.windows, spot(0), 4096, FAKE_RW), held);
    idle = fake_map(&fake, spot(1), 4096);
    fake_put(&fake, idle);
    fake_forget(&fake);
    vd_windows_stats(fake.windows, &stats);
    assert_int_equal(stats.mappings, 0);
    assert_int_equal(stats.live_mappings, 0);
    assert_false(is_there(&fake, spot(0)));
    assert_false(is_there(&fake, spot(1)));
    assert_null(vd_windows_at(fake.windows, FAKE_BUS));
    /* The new window is not the one that is still held. */
    again = fake_map(&fake, spot(0), 4096);
    assert_ptr_not_equal(again, held);
    assert_false(vd_windows_put(fake.windows, held));
    assert_false(vd_windows_put(fake.windows, held));
    assert_false(vd_windows_put(fake.windows, held));
    fake_check(&fake, again, spot(0), 4096);
    fake_put(&fake, again);
    /* All of it can be used again. */
    for (uint64_t i = 0; i < 8; i++)
        fake_map(&fake, spot(i), 4096);
    fake_finish(&fake);
}

static void what_is_revoked_is_unmapped_and_can_still_be_given_back(void **state)
{
    struct vd_window *held;
    struct vd_windows_stats stats;
    struct fake fake;

    init_eight(&fake);
    fake.max_unmaps = 2;
    held = fake_map(&fake, spot(0), 4096);
    for (uint64_t i = 1; i < 5; i++)
        fake_put(&fake, fake_map(&fake, spot(i), 4096));
    assert_int_equal(fake_revoke(&fake), 5);
    assert_int_equal(fake.mappings, 0);
    vd_windows_stats(fake.windows, &stats);
    assert_int_equal(stats.mappings, 0);
    assert_int_equal(stats.bytes, 0);
    assert_false(is_there(&fake, spot(0)));
    assert_null(vd_windows_at(fake.windows, FAKE_BUS));
    assert_false(vd_windows_put(fake.windows, held));
    for (uint64_t i = 0; i < 8; i++)
        fake_map(&fake, spot(i), 4096);
    fake_finish(&fake);
}

static void stats_tell_live_from_mapped(void **state)
{
    struct vd_windows_stats stats;
    struct vd_window *held;
    struct fake fake;

    init_eight(&fake);
    held = fake_map(&fake, spot(0), 4096);
    fake_put(&fake, fake_map(&fake, spot(1), 4096));
    vd_windows_stats(fake.windows, &stats);
    assert_int_equal(stats.mappings, 2);
    assert_int_equal(stats.bytes, 2 * FAKE_GRANULE);
    assert_int_equal(stats.live_mappings, 1);
    assert_int_equal(stats.live_bytes, FAKE_GRANULE);
    assert_int_equal(stats.sizes[0], 2);
    fake_put(&fake, held);
    fake_reap(&fake, 0, UINT64_MAX);
    vd_windows_stats(fake.windows, &stats);
    assert_int_equal(stats.mappings, 0);
    assert_int_equal(stats.live_mappings, 0);
    assert_int_equal(stats.peak_mappings, 2);
    assert_int_equal(stats.peak_bytes, 2 * FAKE_GRANULE);
    fake_finish(&fake);
}

static void a_configuration_that_cannot_be_is_refused(void **state)
{
    static const struct vd_windows_config CONFIGS[] = {
        {.granule = 0, .limit_bytes = MIB, .limit_mappings = 8},
        {.granule = 2048, .limit_bytes = MIB, .limit_mappings = 8},
        {.granule = 12288, .limit_bytes = MIB, .limit_mappings = 8},
        {.granule = 4 * MIB, .limit_bytes = GIB, .limit_mappings = 8},
        {.granule = 16384, .limit_bytes = 4096, .limit_mappings = 8},
        {.granule = 16384, .limit_bytes = MIB, .limit_mappings = 0},
        {.granule = 16384, .limit_bytes = MIB, .limit_mappings = 8, .max_window = 4096},
        {.granule = 16384, .limit_bytes = MIB, .limit_mappings = 8, .max_window = 3 * 16384},
    };
    struct vd_windows *windows;

    for (size_t i = 0; i < sizeof(CONFIGS) / sizeof(CONFIGS[0]); i++)
        assert_int_equal(vd_windows_create(&CONFIGS[i], &windows), -EINVAL);
    vd_windows_destroy(NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_recently_used_goes_first),
        cmocka_unit_test(used_often_stays_longer_than_used_once),
        cmocka_unit_test(eviction_and_mapping_are_one_exchange),
        cmocka_unit_test(live_windows_are_not_evicted),
        cmocka_unit_test(as_much_is_evicted_as_it_takes),
        cmocka_unit_test(evictions_that_do_not_fit_a_batch_take_rounds),
        cmocka_unit_test(room_that_is_in_pieces_is_made_whole),
        cmocka_unit_test(reaping_takes_what_overlaps_and_is_idle),
        cmocka_unit_test(strict_keeps_nothing_idle),
        cmocka_unit_test(what_was_forgotten_can_still_be_given_back),
        cmocka_unit_test(what_is_revoked_is_unmapped_and_can_still_be_given_back),
        cmocka_unit_test(stats_tell_live_from_mapped),
        cmocka_unit_test(a_configuration_that_cannot_be_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
