/* SPDX-License-Identifier: BSD-3-Clause */
/* The DMA domain: every refusal, the accounting, quotas, batches with partial failures, and handles after quiesce. */
#include <errno.h>
#include <string.h>

#include "../base/unit.h"
#include "fake.h"

enum { MANY = 200 };

/* Memory to map: never touched, so any granule-aligned address would do. */
static _Alignas(FAKE_GRANULE) uint8_t arena[FAKE_GRANULE * 4];

static struct vd_dma_map page_at(uint64_t iova)
{
    return (struct vd_dma_map){
        .host = arena, .size = FAKE_PAGE, .access = VD_ACCESS_READ | VD_ACCESS_WRITE, .iova = {iova}};
}

static void check_usage(struct fixture *f, uint64_t bytes, uint64_t mappings)
{
    struct vd_dma_usage usage;

    vd_dma_usage(f->device, &usage);
    assert_int_equal(usage.bytes, bytes);
    assert_int_equal(usage.mappings, mappings);
    assert_int_equal(f->fake.nr_live, mappings);
}

static void check_refused(struct fixture *f, struct vd_dma_map map, int error)
{
    fake_forget_calls(&f->fake);
    map.mapping = (struct vd_dma_mapping *)(void *)arena;
    assert_int_equal(vd_dma_map(f->device, &map, 1), error);
    assert_int_equal(map.status, error);
    assert_null(map.mapping);
    assert_int_equal(map.nr_segments, 0);
    assert_int_equal(f->fake.nr_calls, 0);
    check_usage(f, 0, 0);
}

static void what_is_malformed_never_reaches_the_host(void **state)
{
    struct fixture *f = *state;
    static const struct vd_dma_remote remote;
    struct vd_dma_map map = page_at(0x10000);

    map.size = 0;
    check_refused(f, map, -EINVAL);
    map.size = FAKE_PAGE + 1;
    check_refused(f, map, -EINVAL);
    map = page_at(0x10000);
    map.host = arena + 1;
    check_refused(f, map, -EINVAL);
    map.host = NULL;
    check_refused(f, map, -EINVAL);
    map.host = arena;
    map.remote = &remote;
    check_refused(f, map, -EINVAL);
    map = page_at(0x10000);
    map.access = 0;
    check_refused(f, map, -EINVAL);
    map.access = VD_ACCESS_READ | 8; /* no such right */
    check_refused(f, map, -EINVAL);
    map = page_at(0x10800);
    check_refused(f, map, -EINVAL);
    map = page_at(UINT64_MAX & ~0xfffull);
    map.size = 2 * FAKE_PAGE;
    check_refused(f, map, -EINVAL);
}

static void outside_the_domain_is_erange(void **state)
{
    struct fixture *f = *state;
    struct vd_dma_map map = page_at(0);

    check_refused(f, map, -ERANGE);
    check_refused(f, page_at(1ull << 40), -ERANGE);
    map = page_at((1ull << 40) - FAKE_PAGE);
    map.size = 2 * FAKE_PAGE;
    check_refused(f, map, -ERANGE);
    map = page_at((1ull << 40) - FAKE_PAGE);
    assert_int_equal(vd_dma_map(f->device, &map, 1), 0);
    check_usage(f, FAKE_PAGE, 1);
}

static void remote_memory_needs_a_host_that_can(void **state)
{
    struct fixture *f = *state;
    static const struct vd_dma_remote remote;
    struct vd_dma_map map = page_at(0x10000);

    f->fake.info.dma.indirect = false;
    assert_int_equal(fixture_open(f, &fake_ops, NULL), 0);
    map.host = NULL;
    map.remote = &remote;
    check_refused(f, map, -ENOTSUP);
}

static void assigned_addresses_need_room_for_them(void **state)
{
    struct fixture *f = *state;
    struct vd_dma_segment segments[4];
    struct vd_dma_map map = {.host = arena, .size = FAKE_GRANULE, .access = VD_ACCESS_READ};

    fake_assign_addresses(&f->fake);
    assert_int_equal(fixture_open(f, &fake_ops, NULL), 0);
    check_refused(f, map, -ENOBUFS);
    map.segments = segments;
    check_refused(f, map, -ENOBUFS);
    map.max_segments = 1;
    f->fake.split = 4;
    assert_int_equal(vd_dma_map(f->device, &map, 1), -ENOBUFS);
    check_usage(f, 0, 0);
    map.max_segments = 4;
    map.size = 4 * FAKE_GRANULE;
    assert_int_equal(vd_dma_map(f->device, &map, 1), 0);
    assert_int_equal(map.nr_segments, 4);
    assert_true(segments[0].iova.value >= 1ull << 32);
    assert_int_equal(segments[3].size, FAKE_GRANULE);
    map.size = FAKE_PAGE;
    assert_int_equal(vd_dma_map(f->device, &map, 1), -EINVAL);
}

static void map_over_existing_range_fails_eexist(void **state)
{
    struct fixture *f = *state;
    struct vd_dma_map first = page_at(0x20000), again;

    first.size = 4 * FAKE_PAGE;
    assert_int_equal(vd_dma_map(f->device, &first, 1), 0);
    again = page_at(0x23000);
    assert_int_equal(vd_dma_map(f->device, &again, 1), -EEXIST);
    again = page_at(0x1f000);
    again.size = 6 * FAKE_PAGE;
    assert_int_equal(vd_dma_map(f->device, &again, 1), -EEXIST);
    again = page_at(0x24000);
    assert_int_equal(vd_dma_map(f->device, &again, 1), 0);
    vd_dma_unmap(f->device, &first.mapping, 1);
    first = page_at(0x21000);
    assert_int_equal(vd_dma_map(f->device, &first, 1), 0);
    check_usage(f, 2 * FAKE_PAGE, 2);
}

static void segments_are_optional_when_addresses_are_chosen(void **state)
{
    struct fixture *f = *state;
    struct vd_dma_segment segment = {{0}, 0};
    struct vd_dma_map map = page_at(0x30000);

    map.segments = &segment;
    map.max_segments = 1;
    assert_int_equal(vd_dma_map(f->device, &map, 1), 0);
    assert_int_equal(map.nr_segments, 1);
    assert_int_equal(segment.iova.value, 0x30000);
    assert_int_equal(segment.size, FAKE_PAGE);
}

static void use_and_peaks_are_exact(void **state)
{
    struct fixture *f = *state;
    struct vd_dma_map maps[3] = {page_at(0x1000), page_at(0x2000), page_at(0x3000)};
    struct vd_dma_mapping *handles[3];
    struct vd_dma_usage usage;

    assert_int_equal(vd_dma_map(f->device, maps, 3), 0);
    check_usage(f, 3 * FAKE_PAGE, 3);
    for (int i = 0; i < 3; i++)
        handles[i] = maps[i].mapping;
    vd_dma_unmap(f->device, handles, 2);
    check_usage(f, FAKE_PAGE, 1);
    assert_int_equal(vd_dma_map(f->device, maps, 1), 0);
    vd_dma_usage(f->device, &usage);
    assert_int_equal(usage.peak_bytes, 3 * FAKE_PAGE);
    assert_int_equal(usage.peak_mappings, 3);
    assert_true(usage.quota_bytes == UINT64_MAX && usage.quota_mappings == UINT64_MAX);
}

static void peaks_count_only_what_the_host_granted(void **state)
{
    struct fixture *f = *state;
    struct vd_dma_map maps[3] = {page_at(0x1000), page_at(0x2000), page_at(0x3000)};
    struct vd_dma_usage usage;

    f->fake.fail_map_at = 3;
    assert_int_equal(vd_dma_map(f->device, maps, 3), -EIO);
    vd_dma_usage(f->device, &usage);
    assert_int_equal(usage.peak_bytes, 2 * FAKE_PAGE);
    assert_int_equal(usage.peak_mappings, 2);
}

static void a_quota_is_enforced_and_can_be_lifted(void **state)
{
    struct fixture *f = *state;
    struct vd_dma_map maps[3] = {page_at(0x1000), page_at(0x2000), page_at(0x3000)};
    struct vd_dma_usage usage;

    vd_dma_set_quota(f->device, 2 * FAKE_PAGE, UINT64_MAX);
    assert_int_equal(vd_dma_map(f->device, maps, 3), -ENOSPC);
    assert_int_equal(maps[1].status, 0);
    assert_int_equal(maps[2].status, -ENOSPC);
    check_usage(f, 2 * FAKE_PAGE, 2);
    vd_dma_set_quota(f->device, UINT64_MAX, 1); /* less than is mapped: that stays, nothing new */
    check_usage(f, 2 * FAKE_PAGE, 2);
    assert_int_equal(vd_dma_map(f->device, &maps[2], 1), -ENOSPC);
    vd_dma_usage(f->device, &usage);
    assert_int_equal(usage.quota_mappings, 1);
    vd_dma_set_quota(f->device, FAKE_PAGE, UINT64_MAX);
    assert_int_equal(vd_dma_map(f->device, &maps[2], 1), -ENOSPC);
    vd_dma_set_quota(f->device, UINT64_MAX, UINT64_MAX);
    assert_int_equal(vd_dma_map(f->device, &maps[2], 1), 0);
    check_usage(f, 3 * FAKE_PAGE, 3);
}

static void the_hosts_own_limits_are_enforced(void **state)
{
    struct fixture *f = *state;
    struct vd_dma_map maps[4] = {page_at(0x1000), page_at(0x2000), page_at(0x3000), page_at(0x4000)};
    struct vd_dma_usage usage;

    f->fake.info.dma.limit_bytes = 8 * FAKE_PAGE;
    f->fake.info.dma.limit_mappings = 3;
    assert_int_equal(fixture_open(f, &fake_ops, NULL), 0);
    vd_dma_set_quota(f->device, 100 * FAKE_PAGE, 100);
    vd_dma_usage(f->device, &usage);
    assert_int_equal(usage.quota_bytes, 8 * FAKE_PAGE);
    assert_int_equal(usage.quota_mappings, 3);
    assert_int_equal(vd_dma_map(f->device, maps, 4), -ENOSPC);
    assert_int_equal(maps[3].status, -ENOSPC);
    vd_dma_unmap(f->device, &maps[0].mapping, 1);
    maps[0].size = 7 * FAKE_PAGE;
    maps[0].iova.value = 0x10000;
    assert_int_equal(vd_dma_map(f->device, maps, 1), -ENOSPC);
    maps[0].size = 6 * FAKE_PAGE;
    assert_int_equal(vd_dma_map(f->device, maps, 1), 0);
    check_usage(f, 8 * FAKE_PAGE, 3);
}

static void a_refusal_leaves_its_range_free(void **state)
{
    struct fixture *f = *state;
    struct vd_dma_map map = page_at(0x1000);

    f->fake.fail_map_at = 1;
    assert_int_equal(vd_dma_map(f->device, &map, 1), -EIO);
    assert_null(map.mapping);
    check_usage(f, 0, 0);
    vd_dma_set_quota(f->device, 0, 0);
    assert_int_equal(vd_dma_map(f->device, &map, 1), -ENOSPC);
    vd_dma_set_quota(f->device, UINT64_MAX, UINT64_MAX);
    assert_int_equal(vd_dma_map(f->device, &map, 1), 0);
    check_usage(f, FAKE_PAGE, 1);
}

/* Entries that must fail, scattered over several of the chunks that core hands down. */
static int expected_status(unsigned i)
{
    switch (i) {
    case 5:
    case 63:
        return -EINVAL;
    case 64:
    case 130:
        return -EEXIST;
    case 199:
        return -ERANGE;
    default:
        return 0;
    }
}

static void a_large_batch_fails_entry_by_entry(void **state)
{
    struct fixture *f = *state;
    struct vd_dma_map maps[MANY];
    struct vd_dma_mapping *handles[MANY];

    for (unsigned i = 0; i < MANY; i++)
        maps[i] = page_at((i + 1) * FAKE_PAGE);
    maps[5].size = 0;
    maps[63].access = 0;
    maps[64].iova = maps[0].iova;    /* clashes with an earlier chunk */
    maps[130].iova = maps[129].iova; /* clashes within its own */
    maps[199].iova.value = 0;
    fake_forget_calls(&f->fake);
    assert_int_equal(vd_dma_map(f->device, maps, MANY), -EINVAL);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(maps[i].status, expected_status(i));
        assert_int_equal(!maps[i].mapping, maps[i].status != 0);
        handles[i] = maps[i].mapping;
    }
    check_usage(f, (MANY - 5) * FAKE_PAGE, MANY - 5);
    assert_true(f->fake.nr_calls <= 4); /* a batch stays a batch */
    vd_dma_unmap(f->device, handles, MANY);
    check_usage(f, 0, 0);
}

static unsigned calls_of(const struct fake *fake, enum fake_op op)
{
    unsigned n = 0;

    while (fake_call_at(fake, op, n) >= 0)
        n++;
    return n;
}

static void a_host_that_takes_large_batches_gets_them_whole(void **state)
{
    struct fixture *f = *state;
    struct vd_dma_map maps[MANY];
    struct vd_dma_mapping *handles[MANY];

    f->fake.info.dma_batch = 150;
    assert_int_equal(fixture_open(f, &fake_ops, NULL), 0);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < MANY; i++)
            maps[i] = page_at((i + 1) * FAKE_PAGE);
        maps[140].size = 0;
        fake_forget_calls(&f->fake);
        assert_int_equal(vd_dma_map(f->device, maps, MANY), -EINVAL);
        assert_int_equal(calls_of(&f->fake, FAKE_MAP), 2);
        for (unsigned i = 0; i < MANY; i++) {
            assert_int_equal(maps[i].status, i == 140 ? -EINVAL : 0);
            handles[i] = maps[i].mapping;
        }
        check_usage(f, (MANY - 1) * FAKE_PAGE, MANY - 1);
        if (round == 0)
            vd_dma_unmap(f->device, handles, MANY);
        else
            vd_device_quiesce(f->device);
        assert_int_equal(calls_of(&f->fake, FAKE_UNMAP), 2);
        check_usage(f, 0, 0);
    }
    vd_dma_unmap(f->device, handles, MANY);
}

static void memory_without_its_file_is_refused_where_the_host_needs_it(void **state)
{
    struct fixture *f = *state;
    struct vd_dma_file file = {-1, 0};
    struct vd_dma_map map = page_at(FAKE_PAGE);

    f->fake.info.dma.needs_file = true;
    assert_int_equal(fixture_open(f, &fake_ops, NULL), 0);
    check_refused(f, map, -EINVAL);
    map.file = &file;
    check_refused(f, map, -EINVAL);
    file.fd = 0;
    assert_int_equal(vd_dma_map(f->device, &map, 1), 0);
    assert_ptr_equal(f->fake.last_file, &file);
    vd_dma_unmap(f->device, &map.mapping, 1);
}

static void unmap_skips_null(void **state)
{
    struct fixture *f = *state;
    struct vd_dma_map map = page_at(0x1000);
    struct vd_dma_mapping *handles[3] = {NULL, NULL, NULL};

    assert_int_equal(vd_dma_map(f->device, &map, 1), 0);
    fake_forget_calls(&f->fake);
    vd_dma_unmap(f->device, handles, 3);
    vd_dma_unmap(f->device, handles, 0);
    assert_int_equal(f->fake.nr_calls, 0);
    handles[1] = map.mapping;
    vd_dma_unmap(f->device, handles, 3);
    check_usage(f, 0, 0);
}

static void quiesce_takes_the_mapping_but_not_the_handle(void **state)
{
    struct fixture *f = *state;
    struct vd_dma_map maps[MANY];
    struct vd_dma_mapping *handles[MANY];

    for (unsigned i = 0; i < MANY; i++)
        maps[i] = page_at((i + 1) * FAKE_PAGE);
    assert_int_equal(vd_dma_map(f->device, maps, MANY), 0);
    vd_device_quiesce(f->device);
    check_usage(f, 0, 0);
    for (unsigned i = 0; i < MANY; i++)
        handles[i] = maps[i].mapping;
    assert_int_equal(vd_dma_map(f->device, maps, 1), 0); /* the address is free again */
    handles[MANY - 1] = maps[0].mapping;                 /* a live one among the released */
    fake_forget_calls(&f->fake);
    vd_dma_unmap(f->device, handles, MANY);
    check_usage(f, 0, 0);
    assert_int_equal(f->fake.nr_calls, 1);
    assert_int_equal(f->fake.calls[0].count, 1);
}

static void handles_never_given_back_are_freed_by_close(void **state)
{
    struct fixture *f = *state;
    struct vd_dma_map maps[2] = {page_at(0x1000), page_at(0x2000)};

    assert_int_equal(vd_dma_map(f->device, maps, 1), 0);
    vd_device_quiesce(f->device);
    assert_int_equal(vd_dma_map(f->device, maps + 1, 1), 0);
    vd_device_close(f->device);
    f->device = NULL;
    assert_int_equal(f->live_memory, 1); /* the context */
}

static void a_device_that_is_gone_takes_no_new_mappings(void **state)
{
    struct fixture *f = *state;
    struct vd_dma_map map = page_at(0x1000);

    assert_int_equal(vd_dma_map(f->device, &map, 1), 0);
    f->fake.events->gone(f->fake.events->opaque);
    vd_dma_unmap(f->device, &map.mapping, 1);
    check_refused(f, page_at(0x2000), -ENODEV);
}

static void every_allocation_may_fail(void **state)
{
    struct fixture *f = *state;
    struct vd_dma_map maps[3];
    long before = f->live_memory;

    for (unsigned nth = 1; nth <= 3; nth++) {
        for (unsigned i = 0; i < 3; i++)
            maps[i] = page_at((i + 1) * FAKE_PAGE);
        f->fail_nth = nth;
        assert_int_equal(vd_dma_map(f->device, maps, 3), -ENOMEM);
        check_usage(f, 2 * FAKE_PAGE, 2);
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(maps[i].status, i + 1 == nth ? -ENOMEM : 0);
            f->fail_nth = 1; /* unmap allocates nothing, so this must not matter */
            vd_dma_unmap(f->device, &maps[i].mapping, 1);
            assert_int_equal(f->fail_nth, 1);
        }
        assert_int_equal(f->live_memory, before);
    }
    f->fail_nth = 0;
}

#define OPENED(test) cmocka_unit_test_setup_teardown(test, fixture_setup_open, fixture_teardown)
#define CLOSED(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPENED(what_is_malformed_never_reaches_the_host),
        OPENED(outside_the_domain_is_erange),
        CLOSED(remote_memory_needs_a_host_that_can),
        CLOSED(assigned_addresses_need_room_for_them),
        OPENED(map_over_existing_range_fails_eexist),
        OPENED(segments_are_optional_when_addresses_are_chosen),
        OPENED(use_and_peaks_are_exact),
        OPENED(peaks_count_only_what_the_host_granted),
        OPENED(a_quota_is_enforced_and_can_be_lifted),
        CLOSED(the_hosts_own_limits_are_enforced),
        OPENED(a_refusal_leaves_its_range_free),
        OPENED(a_large_batch_fails_entry_by_entry),
        CLOSED(a_host_that_takes_large_batches_gets_them_whole),
        CLOSED(memory_without_its_file_is_refused_where_the_host_needs_it),
        OPENED(unmap_skips_null),
        OPENED(quiesce_takes_the_mapping_but_not_the_handle),
        OPENED(handles_never_given_back_are_freed_by_close),
        OPENED(a_device_that_is_gone_takes_no_new_mappings),
        OPENED(every_allocation_may_fail),
    };

    return cmocka_run_group_tests_name("dma", tests, NULL, NULL);
}
