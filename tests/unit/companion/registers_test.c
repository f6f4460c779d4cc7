/* SPDX-License-Identifier: BSD-3-Clause */
/* Creating a companion, its config space, and BAR 0. */
#include "rig.h"

#include <errno.h>
#include <string.h>

static uint32_t config_read(struct rig *r, unsigned offset, unsigned width)
{
    uint8_t bytes[4] = {0};

    assert_int_equal(vd_region_read(r->companion, VD_REGION_CONFIG, offset, bytes, width), 0);
    return vd_load32(bytes);
}

static void config_write(struct rig *r, unsigned offset, uint32_t value)
{
    uint8_t bytes[4];

    vd_store32(bytes, value);
    assert_int_equal(vd_region_write(r->companion, VD_REGION_CONFIG, offset, bytes, 4), 0);
}

static void config_space_is_that_of_1b36_0015(void **state)
{
    struct rig *r = *state;

    assert_int_equal(config_read(r, 0, 4), 0x00151b36);
    assert_int_equal(config_read(r, 8, 4), 0x08800000);
    assert_int_equal(config_read(r, 14, 1), 0); /* a function of its own */
    assert_int_equal(config_read(r, 0x34, 1), 0);
    assert_int_equal(config_read(r, 0x3d, 1), 0); /* no interrupt */
    config_write(r, 0x10, 0xffffffff);
    assert_int_equal(config_read(r, 0x10, 4), 0xfffff000); /* 4 KiB, 32 bits */
    for (unsigned bar = 1; bar < 6; bar++) {
        config_write(r, 0x10 + 4 * bar, 0xffffffff);
        assert_int_equal(config_read(r, 0x10 + 4 * bar, 4), 0);
    }
    config_write(r, 4, 0x0006);
    assert_int_equal(config_read(r, 4, 2), 6);
    assert_string_equal(vd_device_info(r->companion)->backend, "companion");
    assert_true(vd_device_info(r->companion)->can_reset);
}

static void version_2_registers_read_as_ever(void **state)
{
    struct rig *r = *state;

    assert_int_equal(rig_read(r, 0x00), 2);
    assert_int_equal(rig_read(r, 0x04), 0x0100);
    assert_int_equal(rig_read(r, 0x08), 4096);
    assert_int_equal(rig_read(r, 0x0c), 0);
    assert_int_equal(rig_read(r, 0x10), 0); /* what is written cannot be read */
    assert_int_equal(rig_read(r, 0x14), 0);
    assert_int_equal(rig_read(r, 0x18), 0);
    assert_int_equal(rig_read(r, 0x1c), 0);
}

static void the_rest_describes_the_managed_device(void **state)
{
    struct rig *r = *state;

    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_FEATURES), RIG_ALL);
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_GRANULE), FAKE_GRANULE);
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_MAX_SEGMENTS), 4);
    assert_int_equal(rig_read64(r, VD_APPLE_DMA_REG_LIMIT_BYTES_LO), 64 << 20);
    assert_int_equal(rig_read64(r, VD_APPLE_DMA_REG_LIMIT_MAPPINGS_LO), 100);
    assert_int_equal(rig_read64(r, VD_APPLE_DMA_REG_BUS_FIRST_LO), 1ull << 32);
    assert_int_equal(rig_read64(r, VD_APPLE_DMA_REG_BUS_LAST_LO), (1ull << 36) - 1);
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_MANAGED_ID), 0x56781234);
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_MANAGED_SUBSYSTEM), 0);
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_LOST), 0);
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_STATE),
                     VD_APPLE_DMA_STATE_PRESENT | VD_APPLE_DMA_STATE_ACTIVE);
    for (unsigned reg = 0x70; reg < 4096; reg += 4)
        assert_int_equal(rig_read(r, reg), 0);
    r->f->fake.events->gone(r->f->fake.events->opaque);
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_STATE), VD_APPLE_DMA_STATE_ACTIVE);
}

static void an_access_of_8_bytes_is_two_and_other_widths_are_nothing(void **state)
{
    static const unsigned odd[][2] = {{0, 1},  {0, 2}, {8, 1}, {2, 2},  {4, 8},
                                      {0, 16}, {1, 4}, {0, 3}, {12, 12}};
    struct rig *r = *state;
    uint8_t bytes[16];

    memset(bytes, 0xff, sizeof(bytes));
    assert_int_equal(vd_region_read(r->companion, 0, 0, bytes, 8), 0);
    assert_int_equal(vd_load64(bytes), 0x0000010000000002);
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        memset(bytes, 0xff, sizeof(bytes));
        assert_int_equal(vd_region_read(r->companion, 0, odd[i][0], bytes, odd[i][1]), 0);
        for (unsigned k = 0; k < odd[i][1]; k++)
            assert_int_equal(bytes[k], 0);
    }
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(vd_region_write(r->companion, 0, 0x18, bytes, 2), 0);
    assert_int_equal(vd_region_write(r->companion, 0, 0x14, bytes, 8), 0);
    assert_int_equal(vd_region_write(r->companion, 0, 0x10, bytes, 2), 0);
    assert_int_equal(rig_stats(r).doorbells, 0);
    assert_true(rig_stats(r).active);
    vd_store64(bytes, 0);
    assert_int_equal(vd_region_write(r->companion, 0, 0x10, bytes, 8), 0);
    assert_false(rig_stats(r).active);
    vd_store64(bytes, RIG_COMMAND);
    assert_int_equal(vd_region_write(r->companion, 0, 0x10, bytes, 8), 0);
    assert_true(rig_stats(r).active);
    assert_int_equal(vd_region_write(r->companion, 0, 0x18, bytes, 8), 0);
    assert_int_equal(rig_stats(r).doorbells, 1);
}

static void features_stick_when_offered_and_wide_carries_the_others(void **state)
{
    static const uint32_t written[][2] = {{0xffffffff, RIG_ALL}, {1, 1}, {14, 0}, {16, 0}, {5, 5}, {0, 0}};
    struct rig *r = *state;

    for (size_t i = 0; i < sizeof(written) / sizeof(written[0]); i++) {
        rig_write(r, VD_APPLE_DMA_REG_DRIVER_FEATURES, written[i][0]);
        assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_DRIVER_FEATURES), written[i][1]);
        assert_int_equal(rig_stats(r).wide, written[i][1] & 1);
    }
}

static void reading_the_low_half_of_use_latches_the_high_one(void **state)
{
    struct rig *r = *state;

    assert_int_equal(rig_map(r, RIG_DATA, 1).status.b[0], VD_APPLE_DMA_OK);
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_USED_BYTES_LO), FAKE_GRANULE);
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_USED_BYTES_HI), 0);
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_USED_MAPPINGS_LO), 1);
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_USED_MAPPINGS_HI), 0);
    rig_check_use(r, FAKE_GRANULE, 1);
}

static void options_are_checked_and_a_device_has_one_companion(void **state)
{
    struct rig *r = *state;
    const struct vd_companion_options good = {.size = sizeof(good)};
    struct vd_companion_options bad[] = {{.size = 8},
                                         {.size = sizeof(good), .max_entries = 4097},
                                         {.size = sizeof(good), .guest_bdf = 0x10000}};
    struct vd_device *second;
    struct vd_companion_stats stats;
    struct vd_error error;

    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(vd_companion_create(r->f->context, r->managed, &bad[i], &second, &error), -EINVAL);
        assert_null(second);
        assert_true(error.usage);
    }
    assert_int_equal(vd_companion_create(r->f->context, r->managed, NULL, &second, &error), -EINVAL);
    assert_int_equal(vd_companion_create(r->f->context, r->managed, &good, &second, &error), -EBUSY);
    assert_null(second);
    assert_int_equal(vd_companion_create(r->f->context, r->companion, &good, &second, NULL), 0);
    vd_device_close(second); /* of a companion: pointless, and no harm */
    assert_false(vd_companion_stats(r->managed, &stats));
    assert_int_equal(stats.doorbells, 0);
}

static void a_host_that_virtualises_config_space_gets_none(void **state)
{
    struct rig *r = rig_prepare(state);
    struct vd_error error = {0};
    const struct vd_companion_options options = {.size = sizeof(options)};

    r->f->fake.info.raw_config = false;
    assert_int_equal(fixture_open(r->f, &fake_ops, NULL), 0);
    assert_int_equal(vd_companion_create(r->f->context, r->f->device, &options, &r->companion, &error),
                     -ENOTSUP);
    assert_non_null(strstr(error.message, "config space"));
    assert_null(r->companion);
}

static void an_unknown_place_reads_all_ones_and_entries_can_be_fewer(void **state)
{
    struct rig *r = rig_prepare(state);
    const struct vd_companion_options options = {
        .size = sizeof(options), .guest_bdf = VD_COMPANION_BDF_UNKNOWN, .max_entries = 2};

    assert_int_equal(rig_start(r, &options), 0);
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_MANAGED_BDF), VD_APPLE_DMA_BDF_UNKNOWN);
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_MAX_ENTRIES), 2);
    rig_set_command(r, RIG_COMMAND);
    rig_command(r, VD_APPLE_DMA_MAP, 3, 0);
    assert_int_equal(rig_ring(r), VD_APPLE_DMA_INVALID);
}

static void a_closed_companion_leaves_the_device_as_it_was(void **state)
{
    struct rig *r = *state;
    const struct vd_companion_options options = {.size = sizeof(options)};

    rig_map(r, RIG_DATA, 100);
    rig_stop_memory(r);
    vd_device_close(r->companion);
    r->companion = NULL;
    assert_int_equal(r->f->fake.nr_live, 0);
    assert_false(r->managed->held);
    assert_int_equal(vd_companion_create(r->f->context, r->managed, &options, &r->companion, NULL), 0);
}

#define WITH(name, setup) cmocka_unit_test_setup_teardown(name, setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(config_space_is_that_of_1b36_0015, rig_setup),
        WITH(version_2_registers_read_as_ever, rig_setup),
        WITH(the_rest_describes_the_managed_device, rig_setup),
        WITH(an_access_of_8_bytes_is_two_and_other_widths_are_nothing, rig_setup),
        WITH(features_stick_when_offered_and_wide_carries_the_others, rig_setup),
        WITH(reading_the_low_half_of_use_latches_the_high_one, rig_setup),
        WITH(options_are_checked_and_a_device_has_one_companion, rig_setup),
        WITH(a_host_that_virtualises_config_space_gets_none, NULL),
        WITH(an_unknown_place_reads_all_ones_and_entries_can_be_fewer, NULL),
        WITH(a_closed_companion_leaves_the_device_as_it_was, rig_setup),
    };

    return cmocka_run_group_tests_name("registers", tests, NULL, NULL);
}
