/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * That unmapping neither fails nor allocates whatever the extension answers, that nothing is lost when memory or calls
 * fail, and extensions that know no batches.
 */
#include "batch.h"

static void what_the_extension_does_not_know_is_logged_once(void **state)
{
    struct fake *f = *state;
    struct batch b;

    batch_init(&b, 20, 1);
    assert_int_equal(map(f, &b), 20);
    memset(f->regions, 0, sizeof(f->regions)); /* it forgot */
    f->nr_regions = 0;
    unmap(f, &b, 20);
    assert_int_equal(f->lines[VD_ENV_WARN], 1);
    assert_int_equal(f->lines[VD_ENV_ERROR], 0);
    assert_non_null(strstr(f->line, "kIOReturnNotFound"));
    assert_int_equal(f->gone, 0);
    batch_finish(&b);
}

static void a_refused_batch_of_unmaps_is_done_one_by_one(void **state)
{
    static const int statuses[] = {VD_DEXT_NO_MEMORY, VD_DEXT_UNSUPPORTED, VD_DEXT_BAD_ARGUMENT};
    struct fake *f = *state;

    for (unsigned i = 0; i < 3; i++) {
        struct batch b;

        batch_init(&b, 20, 1);
        assert_int_equal(map(f, &b), 20);
        fake_forget(f);
        f->unregister_batch_status = statuses[i];
        unmap(f, &b, 20);
        assert_int_equal(f->count[VD_DEXT_UNREGISTER_DMA_REGION], 20);
        assert_int_equal(f->gone, 0);
        batch_finish(&b);
    }
}

static void an_answer_to_unmaps_that_cannot_be_believed_is_asked_for_one_by_one(void **state)
{
    static const enum fake_spoil spoils[] = {FAKE_WRONG_COUNT, FAKE_SHORT};
    struct fake *f = *state;

    for (unsigned i = 0; i < 2; i++) {
        struct batch b;

        f->spoil = FAKE_HONEST;
        batch_init(&b, 20, 1);
        assert_int_equal(map(f, &b), 20);
        fake_forget(f);
        f->spoil = spoils[i];
        unmap(f, &b, 20);
        assert_int_equal(f->count[VD_DEXT_UNREGISTER_DMA_REGION], 20);
        assert_int_equal(f->gone, 0);
        batch_finish(&b);
    }
}

static void a_device_whose_mapping_cannot_be_undone_is_stopped(void **state)
{
    struct fake *f = *state;
    struct batch b;

    batch_init(&b, 3, 1);
    assert_int_equal(map(f, &b), 3);
    f->config[4] |= 4;
    f->unregister_status = VD_DEXT_BUSY;
    dext_dma_unmap(f->host, b.tokens, 3);
    assert_int_equal(fake_command(f) & 4, 0); /* bus mastering is off */
    assert_int_equal(f->gone, 1);
    assert_int_equal(f->lines[VD_ENV_ERROR], 1);
    batch_finish(&b);
}

static void keys_are_never_used_twice(void **state)
{
    struct fake *f = *state;
    struct batch b;

    batch_init(&b, 1000, 1);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(map(f, &b), 1000); /* the fake checks that they grow */
        unmap(f, &b, 1000);
    }
    assert_int_equal(f->last_key, 5000);
    batch_finish(&b);
}

static void records_are_used_again(void **state)
{
    struct fake *f = *state;
    struct batch b;
    size_t live;

    batch_init(&b, MANY, 1);
    assert_int_equal(map(f, &b), MANY);
    unmap(f, &b, MANY);
    live = f->live;
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(map(f, &b), MANY);
        unmap(f, &b, MANY);
    }
    assert_int_equal(f->live, live);
    batch_finish(&b);
}

static void when_memory_runs_out_entries_fail_and_nothing_is_lost(void **state)
{
    struct fake *f = *state;
    struct batch b;
    size_t good;

    batch_init(&b, MANY, 1);
    f->steps = 0;
    f->fail_at = 3; /* the third slab of records */
    good = map(f, &b);
    assert_true(good > 0 && good < MANY);
    for (size_t i = 0; i < MANY; i++)
        assert_true(b.entries[i].status == 0 || b.entries[i].status == -ENOMEM);
    holds(f, good);
    unmap(f, &b, good);
    f->fail_at = 0;
    assert_int_equal(map(f, &b), MANY);
    unmap(f, &b, MANY);
    batch_finish(&b);
}

static void closing_with_live_mappings_leaves_nothing(void **state)
{
    struct fake *f = *state;
    struct batch b;

    batch_init(&b, MANY, 1);
    assert_int_equal(map(f, &b), MANY);
    fake_close(f);
    assert_int_equal(f->live + f->links + f->nr_regions, 0);
    batch_finish(&b);
}

/* Older extensions. */

static void without_batches_each_mapping_is_a_call(void **state)
{
    struct fake *f = *state;
    struct batch b;

    batch_init(&b, 64, 3);
    assert_int_equal(map(f, &b), 64);
    holds(f, 64);
    assert_int_equal(f->count[VD_DEXT_REGISTER_DMA_REGION], 64);
    assert_int_equal(f->calls, 64);
    assert_int_equal(b.entries[5].nr_segments, 1);
    assert_int_equal(b.segments[5][0].size, 3 * GRANULE);
    assert_int_equal(b.segments[5][0].iova.value, b.segments[4][0].iova.value + 3 * GRANULE);
    unmap(f, &b, 64);
    assert_int_equal(f->count[VD_DEXT_UNREGISTER_DMA_REGION], 64);
    assert_int_equal(f->lines[VD_ENV_WARN], 0);
    batch_finish(&b);
}

static void without_batches_one_direction_only_is_told_once_and_not_kept(void **state)
{
    struct fake *f = *state;
    struct batch b;

    batch_init(&b, 10, 1);
    for (unsigned i = 0; i < 10; i++)
        b.entries[i].access = VD_ACCESS_READ;
    assert_int_equal(map(f, &b), 10);
    assert_int_equal(f->lines[VD_ENV_WARN], 1);
    unmap(f, &b, 10);
    batch_finish(&b);
}

static void without_batches_more_or_less_than_one_whole_segment_is_undone(void **state)
{
    struct fake *f = *state;
    struct batch b;

    batch_init(&b, 3, 2);
    f->split = 2;
    assert_int_equal(map(f, &b), 0);
    assert_int_equal(b.entries[0].status, -ENOBUFS);
    holds(f, 0);
    f->split = 0;
    f->spoil = FAKE_SEGMENTS_SHORT;
    assert_int_equal(map(f, &b), 0);
    assert_int_equal(b.entries[0].status, -ENOBUFS);
    holds(f, 0);
    f->spoil = FAKE_HONEST;
    f->next_address = UINT64_MAX - GRANULE + 1; /* the region would wrap */
    assert_int_equal(map(f, &b), 2);
    assert_int_equal(b.entries[0].status, -ENOBUFS);
    unmap(f, &b, 2);
    batch_finish(&b);
}

static void without_batches_an_answer_with_too_few_results_is_undone(void **state)
{
    struct fake *f = *state;
    struct batch b;

    batch_init(&b, 3, 1);
    f->short_selector = VD_DEXT_REGISTER_DMA_REGION;
    assert_int_equal(map(f, &b), 0);
    assert_int_equal(b.entries[0].status, -EIO);
    holds(f, 0);
    batch_finish(&b);
}

static void without_batches_failures_are_single(void **state)
{
    struct fake *f = *state;
    struct batch b;

    batch_init(&b, 10, 1);
    f->fail_key = f->fail_last = 4;
    f->fail_status = VD_DEXT_NO_SPACE;
    f->share_fails_at = 8;
    f->share_status = VD_DEXT_NO_RESOURCES;
    assert_int_equal(map(f, &b), 8);
    assert_int_equal(b.entries[3].status, -ENOSPC);
    assert_int_equal(b.entries[7].status, -ENOMEM);
    holds(f, 8);
    unmap(f, &b, 8);
    batch_finish(&b);
}

/* The n-th call of mapping and unmapping fails, for every n and several statuses; nothing may be left or doubled. */
static void fail_each_call(struct fake *f, int status)
{
    bool reached = true;

    for (unsigned n = 1; reached; n++) {
        struct batch b;
        size_t good;

        fake_close(f);
        f->dead = false;
        assert_int_equal(fake_open(f, "apple:02:00.0", NULL), 0);
        f->last_key = 0;
        f->split = 3;
        batch_init(&b, 6, 4);
        b.entries[2].max_segments = 1; /* one that has to be undone */
        f->fail_call = n;
        f->call_status = status;
        good = map(f, &b);
        assert_true(good <= 6);
        dext_dma_unmap(f->host, b.tokens, good);
        assert_int_equal(f->nr_shares, 0);
        reached = f->fail_call == 0;
        f->fail_call = 0;
        if (!f->gone)
            assert_int_equal(f->nr_regions, 0);
        f->gone = 0;
        batch_finish(&b);
    }
}

static void whichever_call_fails_nothing_is_left(void **state)
{
    static const int statuses[] = {VD_DEXT_NO_MEMORY, VD_DEXT_NO_DEVICE, VD_DEXT_NOT_ATTACHED,
                                   VD_DEXT_UNSUPPORTED, VD_DEXT_TIMEOUT};

    for (unsigned i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        fail_each_call(*state, statuses[i]);
}

#define OPENED(test)     cmocka_unit_test_setup_teardown(test, fake_setup, fake_teardown)
#define OPENED_OLD(test) cmocka_unit_test_setup_teardown(test, fake_setup_old, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPENED(what_the_extension_does_not_know_is_logged_once),
        OPENED(a_refused_batch_of_unmaps_is_done_one_by_one),
        OPENED(an_answer_to_unmaps_that_cannot_be_believed_is_asked_for_one_by_one),
        OPENED(a_device_whose_mapping_cannot_be_undone_is_stopped),
        OPENED(keys_are_never_used_twice),
        OPENED(records_are_used_again),
        OPENED(when_memory_runs_out_entries_fail_and_nothing_is_lost),
        OPENED(closing_with_live_mappings_leaves_nothing),
        OPENED_OLD(without_batches_each_mapping_is_a_call),
        OPENED_OLD(without_batches_one_direction_only_is_told_once_and_not_kept),
        OPENED_OLD(without_batches_more_or_less_than_one_whole_segment_is_undone),
        OPENED_OLD(without_batches_an_answer_with_too_few_results_is_undone),
        OPENED_OLD(without_batches_failures_are_single),
        OPENED(whichever_call_fails_nothing_is_left),
        OPENED_OLD(whichever_call_fails_nothing_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
