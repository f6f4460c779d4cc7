// SPDX-License-Identifier: BSD-3-Clause
/* Plans, rounds, and what becomes of each answer of the host. */
#include <errno.h>

#include "fake.h"
#include "windows/internal.h"

static void the_answers_are_those_of_the_protocol(void **state)
{
    assert_int_equal(VD_WHY_LENGTH, VD_APPLE_DMA_WHY_LENGTH);
    assert_int_equal(VD_WHY_NOT_RAM, VD_APPLE_DMA_WHY_NOT_RAM);
    assert_int_equal(VD_WHY_ACCESS, VD_APPLE_DMA_WHY_ACCESS);
    assert_int_equal(VD_WHY_FLAGS, VD_APPLE_DMA_WHY_FLAGS);
    assert_int_equal(VD_WHY_BYTES, VD_APPLE_DMA_WHY_BYTES);
    assert_int_equal(VD_WHY_MAPPINGS, VD_APPLE_DMA_WHY_MAPPINGS);
    assert_int_equal(VD_WHY_SPACE, VD_APPLE_DMA_WHY_SPACE);
    assert_int_equal(VD_WHY_SEGMENTS, VD_APPLE_DMA_WHY_SEGMENTS);
    assert_int_equal(VD_WHY_ALIGNMENT, VD_APPLE_DMA_WHY_ALIGNMENT);
    assert_int_equal(VD_WHY_GONE, VD_APPLE_DMA_WHY_GONE);
    assert_int_equal(VD_WHY_MEMORY, VD_APPLE_DMA_WHY_MEMORY);
    assert_int_equal(VD_WHY_HOST, VD_APPLE_DMA_WHY_HOST);
}

static void bad_wants_are_refused_without_the_host(void **state)
{
    static const struct vd_windows_want WANTS[] = {
        {.gpa = 0, .len = 0, .access = FAKE_RW},
        {.gpa = 0, .len = 4096, .access = 0},
        {.gpa = 0, .len = 4096, .access = 4},
        {.gpa = UINT64_MAX - 4095, .len = 4096, .access = FAKE_RW},
        {.gpa = UINT64_C(1) << 48, .len = 4096, .access = FAKE_RW},
        {.gpa = (UINT64_C(1) << 48) - 4096, .len = 8192, .access = FAKE_RW},
        {.gpa = 4096, .len = UINT64_MAX, .access = FAKE_RW},
        {.gpa = 0, .len = 4096, .access = FAKE_RW, .exact = true, .align = 12},
    };
    struct fake fake;

    fake_init_small(&fake);
    for (size_t i = 0; i < sizeof(WANTS) / sizeof(WANTS[0]); i++) {
        struct vd_windows_want want = WANTS[i];

        fake_run(&fake, &want, 1);
        assert_int_equal(want.error, -EINVAL);
    }
    assert_int_equal(fake.doorbells, 0);
    fake_finish(&fake);
}

static void a_list_with_many_misses_is_one_exchange(void **state)
{
    struct vd_windows_want wants[FAKE_BATCH] = {0};
    struct fake fake;

    fake_init_small(&fake);
    for (uint32_t i = 0; i < FAKE_BATCH; i++)
        wants[i] = (struct vd_windows_want){.gpa = i * 64 * MIB, .len = 4096, .access = FAKE_RW};
    fake_run(&fake, wants, FAKE_BATCH);
    assert_int_equal(fake.doorbells, 1);
    for (uint32_t i = 0; i < FAKE_BATCH; i++)
        fake_check(&fake, wants[i].window, wants[i].gpa, 4096);
    fake_finish(&fake);
}

static void a_dense_list_gets_few_windows(void **state)
{
    struct vd_windows_want wants[FAKE_BATCH] = {0};
    struct fake fake;

    fake_init_small(&fake);
    for (uint32_t i = 0; i < FAKE_BATCH; i++)
        wants[i] = (struct vd_windows_want){.gpa = 4 * MIB + i * 32 * KIB, .len = 4096, .access = FAKE_RW};
    fake_run(&fake, wants, FAKE_BATCH);
    assert_int_equal(fake.doorbells, 1);
    assert_true(fake.maps <= 3);
    for (uint32_t i = 0; i < FAKE_BATCH; i++)
        fake_check(&fake, wants[i].window, wants[i].gpa, 4096);
    fake_finish(&fake);
}

static void more_wants_than_a_batch_holds_take_rounds(void **state)
{
    struct vd_windows_want wants[3 * FAKE_BATCH] = {0};
    struct fake fake;

    fake_init_small(&fake);
    for (uint32_t i = 0; i < 3 * FAKE_BATCH; i++)
        wants[i] = (struct vd_windows_want){.gpa = i * 64 * MIB, .len = 4096, .access = FAKE_RW};
    fake_run(&fake, wants, 3 * FAKE_BATCH);
    assert_int_equal(fake.doorbells, 3);
    for (uint32_t i = 0; i < 3 * FAKE_BATCH; i++)
        assert_non_null(wants[i].window);
    fake_finish(&fake);
}

static void a_batch_without_room_is_an_error_and_not_a_loop(void **state)
{
    struct vd_windows_want want = {.gpa = 0, .len = 4096, .access = FAKE_RW};
    struct vd_windows_batch batch = {0};
    struct fake fake;

    fake_init_small(&fake);
    vd_windows_plan(fake.windows, &want, 1, &batch);
    assert_false(vd_windows_commit(fake.windows, &want, 1, &batch));
    assert_int_equal(want.error, -EINVAL);
    fake_finish(&fake);
}

static void a_want_that_straddles_windows_gets_one_that_covers_it(void **state)
{
    struct vd_window *left, *right, *both;
    struct fake fake;

    fake_init_small(&fake);
    left = fake_exact(&fake, 2 * MIB - FAKE_GRANULE, FAKE_GRANULE, 0);
    right = fake_exact(&fake, 2 * MIB, FAKE_GRANULE, 0);
    both = fake_map(&fake, 2 * MIB - 4096, 8192);
    assert_ptr_not_equal(both, left);
    assert_ptr_not_equal(both, right);
    assert_ptr_equal(vd_windows_get(fake.windows, 2 * MIB - 4096, 8192, FAKE_RW), both);
    fake_finish(&fake);
}

static void an_exact_window_is_as_large_as_asked(void **state)
{
    struct vd_window *window, *again;
    struct fake fake;

    fake_init_small(&fake);
    window = fake_exact(&fake, 100 * MIB + 4096, 20 * MIB, 0);
    assert_int_equal(window->gpa, 100 * MIB);
    assert_int_equal(window->size, 20 * MIB + FAKE_GRANULE);
    for (uint64_t at = 0; at < 20 * MIB; at += MIB)
        assert_ptr_equal(vd_windows_get(fake.windows, 100 * MIB + 4096 + at, 4096, FAKE_RW), window);
    fake_put(&fake, window);
    /* Idle or not, the same range does not take another. */
    again = fake_exact(&fake, 100 * MIB + 4096, 20 * MIB, 0);
    assert_ptr_equal(again, window);
    assert_int_equal(fake.doorbells, 1);
    fake_finish(&fake);
}

static void alignment_is_asked_for_and_kept(void **state)
{
    struct vd_window *window;
    struct fake fake;

    fake_init_small(&fake);
    fake_exact(&fake, 0, FAKE_GRANULE, 0);
    window = fake_exact(&fake, 8 * MIB, 64 * KIB, 64 * KIB);
    assert_int_equal(fake.last.align, 64 * KIB);
    assert_int_equal(window->segments[0].bus % (64 * KIB), 0);
    fake.refuse = VD_APPLE_DMA_WHY_ALIGNMENT;
    fake.refusals = 1000;
    assert_null(fake_exact(&fake, 16 * MIB, 2 * MIB, 2 * MIB));
    fake_finish(&fake);
}

/* The largest window that comes when a block of 2 MiB is used all over. */
static uint64_t largest(struct fake *fake, uint64_t gpa)
{
    struct vd_windows_want wants[FAKE_BATCH] = {0};
    uint64_t most = 0;

    for (uint32_t i = 0; i < FAKE_BATCH; i++)
        wants[i] = (struct vd_windows_want){.gpa = gpa + i * 32 * KIB, .len = 4096, .access = FAKE_RW};
    fake_run(fake, wants, FAKE_BATCH);
    for (uint32_t i = 0; i < FAKE_BATCH; i++)
        most = wants[i].window->size > most ? wants[i].window->size : most;
    return most;
}

static void an_answer_that_is_not_aligned_says_so_and_is_kept(void **state)
{
    struct vd_windows_want want = {
        .gpa = 8 * MIB, .len = 64 * KIB, .access = FAKE_RW, .exact = true, .align = 64 * KIB};
    struct fake fake;
    unsigned maps;

    fake_init_small(&fake);
    fake.unaligned = true;
    fake_exact(&fake, 0, FAKE_GRANULE, 0);
    fake_run(&fake, &want, 1);
    assert_null(want.window);
    assert_int_equal(want.why, VD_APPLE_DMA_WHY_ALIGNMENT);
    maps = fake.maps;
    assert_non_null(fake_exact(&fake, 8 * MIB, 64 * KIB, 0));
    assert_int_equal(fake.maps, maps);
    fake_finish(&fake);
}

static void what_is_mapped_but_of_no_use_is_unmapped(void **state)
{
    struct vd_windows_want want = {.gpa = 8 * MIB, .len = 64 * KIB, .access = FAKE_RW, .exact = true};
    struct vd_windows_stats stats;
    struct fake fake;

    fake_init_small(&fake);
    fake.useless = UINT32_MAX;
    fake_run(&fake, &want, 1);
    assert_null(want.window);
    assert_int_equal(want.why, VD_APPLE_DMA_WHY_SEGMENTS);
    assert_int_equal(fake.mappings, 1);
    vd_windows_stats(fake.windows, &stats);
    assert_int_equal(stats.mappings, 1);
    assert_int_equal(stats.bytes, 64 * KIB);
    fake.useless = 0;
    assert_int_equal(fake_reap(&fake, 0, UINT64_MAX), 1);
    vd_windows_stats(fake.windows, &stats);
    assert_int_equal(stats.mappings, 0);
    assert_int_equal(fake.mappings, 0);
    fake_finish(&fake);
}

static void idle_windows_within_a_new_one_go_however_far_it_reaches(void **state)
{
    struct fake fake;

    fake_init_small(&fake);
    fake_put(&fake, fake_exact(&fake, 10 * MIB, FAKE_GRANULE, 0));
    fake_put(&fake, fake_exact(&fake, 13 * MIB, FAKE_GRANULE, 0));
    fake_exact(&fake, 8 * MIB, 6 * MIB, 0);
    assert_int_equal(fake.mappings, 1);
    fake_finish(&fake);
}

static void ram_that_has_come_is_found(void **state)
{
    struct fake fake;

    fake_init_small(&fake);
    fake.ram_end = 8 * MIB + UINT64_C(13) * FAKE_GRANULE;
    for (uint32_t i = 0; i < 13; i++)
        fake_map(&fake, 8 * MIB + i * (uint64_t)FAKE_GRANULE, 4096);
    fake_forget(&fake);
    fake.ram_end = UINT64_MAX;
    assert_true(largest(&fake, 8 * MIB) <= 16 * FAKE_GRANULE);
    fake_forget(&fake);
    vd_windows_grown(fake.windows, 9 * MIB, 4096);
    assert_int_equal(largest(&fake, 8 * MIB), 2 * MIB);
    fake_finish(&fake);
}

static void pieces_serve_what_lies_in_one_of_them(void **state)
{
    struct vd_window *window, *single;
    struct vd_windows_want wants[FAKE_BATCH] = {0};
    uint64_t seam;
    struct fake fake;

    fake_init_small(&fake);
    fake.split = 4;
    for (uint32_t i = 0; i < FAKE_BATCH; i++)
        wants[i] = (struct vd_windows_want){.gpa = 4 * MIB + i * 32 * KIB, .len = 4096, .access = FAKE_RW};
    fake_run(&fake, wants, FAKE_BATCH);
    window = wants[0].window;
    assert_true(window->nr_segments > 1);
    seam = window->gpa + window->segments[0].len;
    assert_int_equal(vd_window_bus(window, seam - 4096, 8192), VD_WINDOWS_NO_ADDRESS);
    assert_null(vd_windows_get(fake.windows, seam - 4096, 8192, FAKE_RW));
    single = fake_map(&fake, seam - 4096, 8192);
    assert_ptr_not_equal(single, window);
    assert_int_equal(single->nr_segments, 1);
    fake_finish(&fake);
}

static void segments_that_cannot_be_are_given_back(void **state)
{
    static const struct vd_windows_map ANSWERS[] = {
        {.nr_segments = 0},
        {.nr_segments = 5},
        {.nr_segments = 1, .segments = {{FAKE_BUS, 4096}}},
        {.nr_segments = 1, .segments = {{FAKE_BUS + 1, FAKE_GRANULE}}},
        {.nr_segments = 1, .segments = {{UINT64_MAX - FAKE_GRANULE + 1, FAKE_GRANULE}}},
        {.nr_segments = 1, .segments = {{UINT64_C(1) << 48, FAKE_GRANULE}}},
        {.nr_segments = 2, .segments = {{FAKE_BUS, FAKE_GRANULE}, {FAKE_BUS + MIB, FAKE_GRANULE}}},
    };
    struct vd_windows_map map;
    uint64_t unmaps[2];
    struct vd_windows_batch batch = {.max_unmaps = 2, .unmaps = unmaps, .max_maps = 1, .maps = &map};
    struct vd_windows_stats stats;
    struct fake fake;

    fake_init_small(&fake);
    for (size_t i = 0; i < sizeof(ANSWERS) / sizeof(ANSWERS[0]); i++) {
        struct vd_windows_want want = {.gpa = 4 * MIB, .len = 4096, .access = FAKE_RW};

        vd_windows_plan(fake.windows, &want, 1, &batch);
        assert_int_equal(batch.nr_maps, 1);
        assert_int_equal(batch.nr_unmaps, i > 0);
        assert_true(i == 0 || unmaps[0] == 1000 + i - 1);
        map.why = 0;
        map.id = 1000 + i;
        map.nr_segments = ANSWERS[i].nr_segments;
        memcpy(map.segments, ANSWERS[i].segments, sizeof(map.segments));
        assert_false(vd_windows_commit(fake.windows, &want, 1, &batch));
        assert_int_equal(want.error, -EIO);
    }
    /* What the host has mapped is unmapped next. */
    assert_int_equal(vd_windows_reap(fake.windows, 0, UINT64_MAX, &batch), 1);
    assert_int_equal(vd_windows_reap(fake.windows, 0, UINT64_MAX, &batch), 0);
    vd_windows_stats(fake.windows, &stats);
    assert_int_equal(stats.bytes, 0);
    assert_int_equal(stats.mappings, 0);
    fake_finish(&fake);
}

static void a_bus_address_is_taken_once(void **state)
{
    struct vd_window *window;
    struct vd_windows_want want = {.gpa = 64 * MIB, .len = 4096, .access = FAKE_RW};
    struct vd_windows_map map;
    uint64_t unmaps[2];
    struct vd_windows_batch batch = {.max_unmaps = 2, .unmaps = unmaps, .max_maps = 1, .maps = &map};
    struct fake fake;

    fake_init_small(&fake);
    window = fake_map(&fake, 0, 4096);
    vd_windows_plan(fake.windows, &want, 1, &batch);
    map.why = 0;
    map.id = 99;
    map.nr_segments = 1;
    map.segments[0] = (struct vd_window_segment){window->segments[0].bus, map.size};
    assert_false(vd_windows_commit(fake.windows, &want, 1, &batch));
    assert_int_equal(want.error, -EIO);
    fake_check(&fake, window, 0, 4096);
    assert_int_equal(vd_windows_reap(fake.windows, 0, UINT64_MAX, &batch), 1);
    assert_int_equal(unmaps[0], 99);
    fake_finish(&fake);
}

static void the_end_of_ram_is_found_and_remembered(void **state)
{
    struct vd_windows_want wants[FAKE_BATCH] = {0};
    struct fake fake;
    unsigned doorbells;

    fake_init_small(&fake);
    /* 13 granules of RAM in the last 2 MiB, all wanted. */
    fake.ram_end = 64 * MIB + UINT64_C(13) * FAKE_GRANULE;
    for (uint32_t i = 0; i < 13; i++)
        wants[i] = (struct vd_windows_want){
            .gpa = 64 * MIB + i * (uint64_t)FAKE_GRANULE, .len = 4096, .access = FAKE_RW};
    fake_run(&fake, wants, 13);
    for (uint32_t i = 0; i < 13; i++)
        fake_check(&fake, wants[i].window, wants[i].gpa, 4096);
    assert_int_equal(fake_refused(&fake, fake.ram_end, 4096, FAKE_RW), -EINVAL);
    assert_int_equal(fake_refused(&fake, fake.ram_end - 4096, 8192, FAKE_RW), -EINVAL);
    for (uint32_t i = 0; i < 13; i++)
        fake_put(&fake, wants[i].window);
    fake_reap(&fake, 0, UINT64_MAX);
    doorbells = fake.doorbells;
    fake_map(&fake, 64 * MIB, 4096);
    assert_int_equal(fake.doorbells, doorbells + 1);
    fake_finish(&fake);
}

static void read_only_memory_gets_a_window_to_read(void **state)
{
    struct vd_windows_want want = {.gpa = 0, .len = 4096, .access = VD_WINDOW_READ};
    struct fake fake;

    fake_init_small(&fake);
    fake.refuse = VD_APPLE_DMA_WHY_ACCESS;
    fake.refusals = 1;
    fake_run(&fake, &want, 1);
    assert_int_equal(want.window->access, VD_WINDOW_READ);
    assert_null(vd_windows_get(fake.windows, 0, 4096, FAKE_RW));
    fake.refusals = 1;
    assert_int_equal(fake_refused(&fake, 0, 4096, FAKE_RW), -EINVAL);
    fake_finish(&fake);
}

static void each_answer_has_its_error(void **state)
{
    static const struct {
        uint32_t why;
        int error;
    } ANSWERS[] = {
        {VD_APPLE_DMA_WHY_LENGTH, -EINVAL},   {VD_APPLE_DMA_WHY_NOT_RAM, -EINVAL},
        {VD_APPLE_DMA_WHY_FLAGS, -EINVAL},    {VD_APPLE_DMA_WHY_BYTES, -ENOSPC},
        {VD_APPLE_DMA_WHY_MAPPINGS, -ENOSPC}, {VD_APPLE_DMA_WHY_SPACE, -ENOSPC},
        {VD_APPLE_DMA_WHY_SEGMENTS, -ENOSPC}, {VD_APPLE_DMA_WHY_ALIGNMENT, -ENOSPC},
        {VD_APPLE_DMA_WHY_EXISTS, -EIO},      {VD_APPLE_DMA_WHY_UNKNOWN_ID, -EIO},
        {VD_APPLE_DMA_WHY_GONE, -ENODEV},     {VD_APPLE_DMA_WHY_MEMORY, -ENOMEM},
        {VD_APPLE_DMA_WHY_HOST, -EIO},        {12345, -EIO},
    };

    for (size_t i = 0; i < sizeof(ANSWERS) / sizeof(ANSWERS[0]); i++) {
        struct vd_windows_want want = {.gpa = 64 * MIB, .len = 4096, .access = FAKE_RW};
        struct vd_windows_stats stats;
        struct fake fake;
        bool made_room;

        fake_init_small(&fake);
        fake_put(&fake, fake_map(&fake, 0, 4096));
        fake.refuse = ANSWERS[i].why;
        fake.refusals = UINT32_MAX;
        fake_run(&fake, &want, 1);
        assert_int_equal(want.error, ANSWERS[i].error);
        assert_int_equal(want.why, ANSWERS[i].why);
        /* What had no room took the idle window's, first. */
        vd_windows_stats(fake.windows, &stats);
        made_room = ANSWERS[i].error == -ENOSPC && ANSWERS[i].why != VD_APPLE_DMA_WHY_ALIGNMENT;
        assert_int_equal(stats.mappings, made_room ? 0 : 1);
        assert_int_equal(stats.refused, 1);
        fake.refusals = 0;
        fake_map(&fake, 64 * MIB, 4096);
        fake_finish(&fake);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_answers_are_those_of_the_protocol),
        cmocka_unit_test(bad_wants_are_refused_without_the_host),
        cmocka_unit_test(a_list_with_many_misses_is_one_exchange),
        cmocka_unit_test(a_dense_list_gets_few_windows),
        cmocka_unit_test(more_wants_than_a_batch_holds_take_rounds),
        cmocka_unit_test(a_batch_without_room_is_an_error_and_not_a_loop),
        cmocka_unit_test(a_want_that_straddles_windows_gets_one_that_covers_it),
        cmocka_unit_test(an_exact_window_is_as_large_as_asked),
        cmocka_unit_test(alignment_is_asked_for_and_kept),
        cmocka_unit_test(an_answer_that_is_not_aligned_says_so_and_is_kept),
        cmocka_unit_test(what_is_mapped_but_of_no_use_is_unmapped),
        cmocka_unit_test(idle_windows_within_a_new_one_go_however_far_it_reaches),
        cmocka_unit_test(ram_that_has_come_is_found),
        cmocka_unit_test(pieces_serve_what_lies_in_one_of_them),
        cmocka_unit_test(segments_that_cannot_be_are_given_back),
        cmocka_unit_test(a_bus_address_is_taken_once),
        cmocka_unit_test(the_end_of_ram_is_found_and_remembered),
        cmocka_unit_test(read_only_memory_gets_a_window_to_read),
        cmocka_unit_test(each_answer_has_its_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
