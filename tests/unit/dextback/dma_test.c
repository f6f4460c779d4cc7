/* SPDX-License-Identifier: BSD-3-Clause */
/* Mapping: batches with failing entries, segments, splits, answers that cannot be believed, sharing, and what goes away. */
#include "batch.h"

static void a_mapping_tells_its_bus_address(void **state)
{
    struct fake *f = *state;
    struct batch b;

    batch_init(&b, 2, 1);
    assert_int_equal(map(f, &b), 2);
    holds(f, 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(b.entries[i].nr_segments, 1);
        assert_int_equal(b.segments[i][0].size, GRANULE);
        assert_true(b.segments[i][0].iova.value >= FAKE_BASE);
    }
    assert_int_not_equal(b.segments[0][0].iova.value, b.segments[1][0].iova.value);
    assert_int_equal(f->calls, 1);
    unmap(f, &b, 2);
    assert_int_equal(f->calls, 2);
    batch_finish(&b);
}

static void access_and_address_reach_the_extension(void **state)
{
    struct fake *f = *state;
    struct batch b;

    batch_init(&b, 3, 5);
    b.entries[0].access = VD_ACCESS_READ;
    b.entries[1].access = VD_ACCESS_WRITE;
    assert_int_equal(map(f, &b), 3);
    for (unsigned i = 0; i < FAKE_REGIONS; i++) {
        const struct fake_region *r = &f->regions[i];
        size_t n = (r->address - MEMORY) / (5 * GRANULE);

        if (!r->live)
            continue;
        assert_true(n < 3 && r->address == MEMORY + n * 5 * GRANULE);
        assert_int_equal(r->size, 5 * GRANULE);
        assert_int_equal(r->access, b.entries[n].access);
    }
    unmap(f, &b, 3);
    batch_finish(&b);
}

static void a_full_batch_is_one_call_each_way(void **state)
{
    struct fake *f = *state;
    struct batch b;

    batch_init(&b, MANY, 1);
    assert_int_equal(map(f, &b), MANY);
    holds(f, MANY);
    assert_int_equal(f->calls, 1);
    unmap(f, &b, MANY);
    assert_int_equal(f->calls, 2);
    batch_finish(&b);
}

static void entries_that_fail_in_the_middle_fail_alone(void **state)
{
    static const struct {
        int status, err;
    } cases[] = {
        {VD_DEXT_NO_SPACE, -ENOSPC},
        {VD_DEXT_NOT_ALIGNED, -ENOBUFS},
        {VD_DEXT_BAD_ARGUMENT, -EINVAL},
        {VD_DEXT_NO_MEMORY, -ENOMEM},
        {VD_DEXT_DMA_ERROR, -EIO},
        {VD_DEXT_STILL_OPEN, -EIO},
        {12345, -EIO},
    };
    struct fake *f = *state;

    for (unsigned c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        struct batch b;

        batch_init(&b, MANY, 2);
        f->split = 2;
        f->fail_key = f->last_key + 1001;
        f->fail_last = f->fail_key + 99;
        f->fail_status = cases[c].status;
        assert_int_equal(map(f, &b), MANY - 100);
        holds(f, MANY - 100);
        for (unsigned i = 0; i < MANY; i++) {
            bool bad = i >= 1000 && i < 1100;

            assert_int_equal(b.entries[i].status, bad ? cases[c].err : 0);
            assert_int_equal(b.entries[i].nr_segments, bad ? 0 : 2);
            assert_int_equal(!b.entries[i].token, bad);
        }
        unmap(f, &b, MANY - 100);
        batch_finish(&b);
    }
}

static void segments_come_in_order_and_make_up_the_whole(void **state)
{
    struct fake *f = *state;
    struct batch b;

    f->split = 4;
    batch_init(&b, 100, 9);
    assert_int_equal(map(f, &b), 100);
    for (unsigned i = 0; i < 100; i++) {
        uint64_t sum = 0;

        assert_int_equal(b.entries[i].nr_segments, 4);
        for (unsigned s = 0; s < 4; s++) {
            assert_true(s == 0 || b.segments[i][s].iova.value > b.segments[i][s - 1].iova.value);
            sum += b.segments[i][s].size;
        }
        assert_int_equal(sum, 9 * GRANULE);
    }
    assert_int_equal(f->calls, 1);
    unmap(f, &b, 100);
    batch_finish(&b);
}

static void opened_with_segments(struct fake *f, uint64_t segments)
{
    struct vd_failure failure = {0};

    fake_close(f);
    f->limits[VD_DEXT_LIMIT_SEGMENTS] = segments;
    if (fake_open(f, "apple:02:00.0", &failure))
        fail_msg("%s", failure.text);
    fake_forget(f);
}

static void a_batch_whose_answer_would_be_too_large_is_split(void **state)
{
    struct fake *f = *state;
    struct batch b;

    opened_with_segments(f, 64);
    f->split = 64;
    batch_init(&b, 2000, 64);
    assert_int_equal(map(f, &b), 2000);
    holds(f, 2000);
    for (unsigned i = 0; i < 2000; i++)
        assert_int_equal(b.entries[i].nr_segments, 64);
    assert_int_equal(f->calls, 4); /* 504 answers of 64 segments fit 512 KiB */
    assert_true(f->most_bytes_out <= 1 << 19);
    unmap(f, &b, 2000);
    assert_int_equal(f->calls, 5);
    batch_finish(&b);
}

static void small_regions_are_not_split_for_segments_they_cannot_have(void **state)
{
    struct fake *f = *state;
    struct batch b;

    opened_with_segments(f, 64);
    f->split = 64;
    batch_init(&b, MANY, 2);
    assert_int_equal(map(f, &b), MANY);
    assert_int_equal(f->calls, 1);
    assert_true(f->most_bytes_in <= 1 << 19 && f->most_bytes_out <= 1 << 19);
    unmap(f, &b, MANY);
    batch_finish(&b);
}

static void a_smaller_batch_of_the_extension_is_kept_to(void **state)
{
    struct fake *f = *state;
    struct batch b;

    f->batch = 100;
    opened_with_segments(f, 1);
    batch_init(&b, 1001, 1);
    assert_int_equal(map(f, &b), 1001); /* the fake checks the counts */
    assert_int_equal(f->calls, 11);
    unmap(f, &b, 1001);
    assert_int_equal(f->calls, 22);
    batch_finish(&b);
}

static void more_segments_than_the_caller_has_room_for_are_undone(void **state)
{
    struct fake *f = *state;
    struct batch b;

    f->split = 3;
    batch_init(&b, 10, 8);
    b.entries[4].max_segments = 2;
    assert_int_equal(map(f, &b), 9);
    assert_int_equal(b.entries[4].status, -ENOBUFS);
    assert_null(b.entries[4].token);
    assert_int_equal(b.entries[4].nr_segments, 0);
    holds(f, 9);
    unmap(f, &b, 9);
    batch_finish(&b);
}

static void answers_that_cannot_be_believed_are_eio_and_undone(void **state)
{
    static const enum fake_spoil spoils[] = {FAKE_WRONG_COUNT, FAKE_SHORT,          FAKE_WILD_SEGMENT,
                                             FAKE_NO_SEGMENT,  FAKE_SEGMENTS_SHORT, FAKE_SEGMENTS_LONG};
    struct fake *f = *state;

    for (unsigned s = 0; s < sizeof(spoils) / sizeof(spoils[0]); s++) {
        struct batch b;

        f->spoil = spoils[s];
        batch_init(&b, 20, 4);
        assert_int_equal(map(f, &b), 0);
        for (unsigned i = 0; i < 20; i++)
            assert_int_equal(b.entries[i].status, -EIO);
        holds(f, 0);
        batch_finish(&b);
    }
    assert_int_equal(f->gone, 0);
}

static void segments_that_are_whole_only_modulo_two_to_the_64_are_eio(void **state)
{
    struct fake *f = *state;
    struct batch b;

    f->spoil = FAKE_SEGMENTS_WRAP;
    f->split = 2;
    batch_init(&b, 1, 4);
    assert_int_equal(map(f, &b), 0);
    assert_int_equal(b.entries[0].status, -EIO);
    holds(f, 0);
    batch_finish(&b);
}

static void memory_that_cannot_be_shared_fails_alone(void **state)
{
    struct fake *f = *state;
    struct batch b;

    f->share_fails_at = 3;
    f->share_status = VD_DEXT_NO_MEMORY;
    batch_init(&b, 10, 1);
    b.entries[7].file = NULL; /* no file to share */
    assert_int_equal(map(f, &b), 8);
    assert_int_equal(b.entries[2].status, -ENOMEM);
    assert_int_equal(b.entries[7].status, -EINVAL);
    holds(f, 8);
    unmap(f, &b, 8);
    batch_finish(&b);
}

static void memory_that_cannot_be_shared_costs_no_record(void **state)
{
    struct fake *f = *state;
    struct batch b;
    size_t live;

    batch_init(&b, 1, 1);
    assert_int_equal(map(f, &b), 1);
    unmap(f, &b, 1);
    live = f->live;
    b.entries[0].file = NULL;
    for (unsigned i = 0; i < 2000; i++)
        assert_int_equal(map(f, &b), 0);
    assert_int_equal(f->live, live);
    batch_finish(&b);
}

static void a_link_in_process_shares_nothing(void **state)
{
    struct fake *f = *state;
    struct batch b;

    f->choose = fake_choose_iokit;
    opened_with_segments(f, 4);
    batch_init(&b, 10, 1);
    for (unsigned i = 0; i < 10; i++)
        b.entries[i].file = NULL;
    assert_int_equal(map(f, &b), 10);
    holds(f, 10);
    unmap(f, &b, 10);
    batch_finish(&b);
}

static void a_refused_batch_fails_every_entry_and_leaves_nothing(void **state)
{
    struct fake *f = *state;
    struct batch b;

    batch_init(&b, 50, 1);
    f->fail_call = 1;
    f->call_status = VD_DEXT_NO_MEMORY;
    assert_int_equal(map(f, &b), 0);
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(b.entries[i].status, -ENOMEM);
    holds(f, 0);
    assert_int_equal(map(f, &b), 50); /* and it works again */
    unmap(f, &b, 50);
    batch_finish(&b);
}

static void a_device_that_goes_during_a_batch_keeps_what_was_mapped_until_unmapped(void **state)
{
    struct fake *f = *state;
    struct batch b;

    batch_init(&b, 100, 1);
    f->fail_key = 41;
    f->fail_last = UINT64_MAX;
    f->fail_status = VD_DEXT_NO_DEVICE;
    assert_int_equal(map(f, &b), 40);
    assert_int_equal(b.entries[99].status, -ENODEV);
    assert_int_equal(f->gone, 1);
    holds(f, 40);
    fake_forget(f);
    dext_dma_map(f->host, b.entries + 50, 10);
    assert_int_equal(b.entries[50].status, -ENODEV);
    assert_int_equal(f->calls, 0);
    unmap(f, &b, 40);
    assert_int_equal(f->calls, 1); /* the extension is still there to be told */
    assert_int_equal(f->gone, 1);
    batch_finish(&b);
}

static void a_connection_that_goes_during_a_batch_takes_the_mappings_along(void **state)
{
    struct fake *f = *state;
    struct batch a, b;

    batch_init(&a, 30, 1);
    assert_int_equal(map(f, &a), 30);
    batch_init(&b, 30, 1);
    for (unsigned i = 0; i < 30; i++)
        b.entries[i].host = (uint8_t *)b.entries[i].host + 30 * GRANULE;
    f->fail_call = 1;
    f->call_status = VD_DEXT_NOT_ATTACHED;
    assert_int_equal(map(f, &b), 0);
    assert_int_equal(b.entries[0].status, -ENODEV);
    assert_int_equal(f->gone, 1);
    assert_int_equal(f->nr_shares, 30);
    fake_forget(f);
    dext_dma_unmap(f->host, a.tokens, 30);
    assert_int_equal(fake_calls_in_all(f), 0);
    assert_int_equal(f->nr_shares, 0);
    batch_finish(&a);
    batch_finish(&b);
}

#define OPENED(test) cmocka_unit_test_setup_teardown(test, fake_setup, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPENED(a_mapping_tells_its_bus_address),
        OPENED(access_and_address_reach_the_extension),
        OPENED(a_full_batch_is_one_call_each_way),
        OPENED(entries_that_fail_in_the_middle_fail_alone),
        OPENED(segments_come_in_order_and_make_up_the_whole),
        OPENED(a_batch_whose_answer_would_be_too_large_is_split),
        OPENED(small_regions_are_not_split_for_segments_they_cannot_have),
        OPENED(a_smaller_batch_of_the_extension_is_kept_to),
        OPENED(more_segments_than_the_caller_has_room_for_are_undone),
        OPENED(answers_that_cannot_be_believed_are_eio_and_undone),
        OPENED(segments_that_are_whole_only_modulo_two_to_the_64_are_eio),
        OPENED(memory_that_cannot_be_shared_fails_alone),
        OPENED(memory_that_cannot_be_shared_costs_no_record),
        OPENED(a_link_in_process_shares_nothing),
        OPENED(a_refused_batch_fails_every_entry_and_leaves_nothing),
        OPENED(a_device_that_goes_during_a_batch_keeps_what_was_mapped_until_unmapped),
        OPENED(a_connection_that_goes_during_a_batch_takes_the_mappings_along),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
