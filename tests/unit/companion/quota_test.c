/* SPDX-License-Identifier: BSD-3-Clause */
/* Limits: the host's, the guest's quota, the domain's, and our own. */
#include "rig.h"

static struct rig *start(void **state, bool chosen, uint64_t bytes, uint64_t mappings)
{
    const struct vd_companion_options options = {
        .size = sizeof(options), .quota_bytes = bytes, .quota_mappings = mappings};
    struct rig *r = chosen ? rig_prepare_chosen(state) : rig_prepare(state);

    assert_int_equal(rig_start(r, &options), 0);
    rig_set_command(r, RIG_COMMAND);
    rig_write(r, VD_APPLE_DMA_REG_DRIVER_FEATURES, RIG_ALL);
    return r;
}

static void check_limits(struct rig *r, uint64_t bytes, uint64_t mappings)
{
    assert_true(rig_read64(r, VD_APPLE_DMA_REG_LIMIT_BYTES_LO) == bytes);
    assert_true(rig_read64(r, VD_APPLE_DMA_REG_LIMIT_MAPPINGS_LO) == mappings);
}

static void the_lower_of_quota_and_host_is_the_limit(void **state)
{
    struct rig *r = start(state, false, 3 * FAKE_GRANULE, 1000);

    check_limits(r, 3 * FAKE_GRANULE, 100);
    vd_dma_set_quota(r->managed, 2 * FAKE_GRANULE, 50);
    check_limits(r, 2 * FAKE_GRANULE, 50);
    vd_dma_set_quota(r->managed, UINT64_MAX, UINT64_MAX);
    check_limits(r, 3 * FAKE_GRANULE, 100);
}

static void without_limits_there_is_our_own_on_mappings(void **state)
{
    struct rig *r = start(state, true, 0, 0);

    check_limits(r, UINT64_MAX, 131072);
}

static void used_up_bytes_are_told_and_come_back(void **state)
{
    struct rig *r = start(state, false, 3 * FAKE_GRANULE, 0);
    uint64_t id = rig_map_wide(r, RIG_DATA, 2 * FAKE_GRANULE, 0, 0).id;

    assert_int_equal(rig_map_wide(r, RIG_DATA, FAKE_GRANULE + 1, 0, 0).why, VD_APPLE_DMA_WHY_BYTES);
    assert_int_equal(rig_map_wide(r, RIG_DATA, 1, 0, 0).why, 0);
    assert_int_equal(rig_map_wide(r, RIG_DATA, 1, 0, 0).why, VD_APPLE_DMA_WHY_BYTES);
    assert_int_equal(rig_unmap_wide(r, id), 0);
    assert_int_equal(rig_map_wide(r, RIG_DATA, 2 * FAKE_GRANULE, 0, 0).why, 0);
    rig_check_use(r, 3 * FAKE_GRANULE, 2);
}

static void used_up_mappings_are_told_and_come_back(void **state)
{
    struct rig *r = start(state, false, 0, 2);
    uint64_t id = rig_map_wide(r, RIG_DATA, 1, 0, 0).id;

    assert_int_equal(rig_map_wide(r, RIG_DATA, 1, 0, 0).why, 0);
    assert_int_equal(rig_map_wide(r, RIG_DATA, 1, 0, 0).why, VD_APPLE_DMA_WHY_MAPPINGS);
    assert_int_equal(rig_unmap_wide(r, id), 0);
    assert_int_equal(rig_map_wide(r, RIG_DATA, 1, 0, 0).why, 0);
}

static void a_batch_is_cut_off_where_the_quota_ends(void **state)
{
    struct rig *r = start(state, false, 0, 5);
    struct vd_apple_dma_wide_command *command;

    for (unsigned i = 0; i < 8; i++)
        rig_put_wide(r, i, RIG_DATA, 1, 0, 0);
    command = rig_command(r, VD_APPLE_DMA_MAP, 8, 1);
    assert_int_equal(rig_ring(r), VD_APPLE_DMA_IO_ERROR);
    assert_int_equal(vd_get32(command->done), 5);
    assert_int_equal(rig_wide_at(r, 4, 1).why, 0);
    assert_int_equal(rig_wide_at(r, 5, 1).why, VD_APPLE_DMA_WHY_MAPPINGS);
    assert_int_equal(r->f->fake.nr_entries, 5);
}

static void a_refused_entry_is_not_charged(void **state)
{
    struct rig *r = start(state, false, FAKE_GRANULE, 1);

    r->f->fake.fail_map_at = 1;
    assert_int_equal(rig_map_wide(r, RIG_DATA, 1, 0, 0).why, VD_APPLE_DMA_WHY_HOST);
    assert_int_equal(rig_map_wide(r, RIG_DATA, 1, 0, 0).why, 0);
}

/* The domain is used up, but not by this guest. */
static void a_host_without_room_for_others_is_told_as_what_it_lacks(void **state)
{
    struct rig *r = start(state, false, 0, 0);
    static _Alignas(FAKE_GRANULE) uint8_t other[FAKE_GRANULE];
    struct vd_dma_segment segment;
    struct vd_dma_map map = {.host = other,
                             .size = FAKE_GRANULE,
                             .access = VD_ACCESS_READ,
                             .segments = &segment,
                             .max_segments = 1};

    assert_int_equal(vd_dma_map(r->managed, &map, 1), 0);
    assert_int_equal(rig_map_wide(r, RIG_DATA, RIG_DATA_SIZE, 0, 0).why, VD_APPLE_DMA_WHY_BYTES);
    vd_dma_set_quota(r->managed, UINT64_MAX, 1);
    assert_int_equal(rig_map_wide(r, RIG_DATA, 1, 0, 0).why, VD_APPLE_DMA_WHY_MAPPINGS);
    vd_dma_unmap(r->managed, &map.mapping, 1);
}

#define EMPTY(name) cmocka_unit_test_setup_teardown(name, NULL, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EMPTY(the_lower_of_quota_and_host_is_the_limit),
        EMPTY(without_limits_there_is_our_own_on_mappings),
        EMPTY(used_up_bytes_are_told_and_come_back),
        EMPTY(used_up_mappings_are_told_and_come_back),
        EMPTY(a_batch_is_cut_off_where_the_quota_ends),
        EMPTY(a_refused_entry_is_not_charged),
        EMPTY(a_host_without_room_for_others_is_told_as_what_it_lacks),
    };

    return cmocka_run_group_tests_name("quota", tests, NULL, NULL);
}
