/* SPDX-License-Identifier: BSD-3-Clause */
/* Config space when the function behind it begins anew, or fails to: power states, resets, opening, failures. */
#include "guest.h"
#include "large_chip.h"

enum { FLR = 0x8000 }; /* in device control */

/* Power. */

static void d3hot_is_played_and_stops_bus_mastering(void **state)
{
    struct chip chip;

    large_chip(&chip);
    chip_put16(&chip, PM + 4, 0x0108); /* keeps its state */
    make(&chip);
    assert_int_equal(get(&chip, PM + 2, 2), 0x0003);
    assert_int_equal(get(&chip, PM + 4, 2), 0x0008);
    put(&chip, 4, 6, 2);
    put(&chip, PM + 4, 0x8103, 2);
    assert_int_equal(get(&chip, PM + 4, 2), 0x000b);
    assert_int_equal(chip_get16(&chip, 4), 0x0003);
    put(&chip, 4, 6, 2); /* not even when asked for */
    assert_int_equal(chip_get16(&chip, 4), 0x0003);
    assert_int_equal(get(&chip, 4, 2), 6);
    put(&chip, PM + 4, 0, 2);
    assert_int_equal(chip_get16(&chip, 4), 0x0007);
    assert_int_equal(chip_get16(&chip, PM + 4), 0x0108);
    assert_int_equal(chip.resets, 0);
    finish(&chip);
}

static void states_the_function_lacks_are_dropped(void **state)
{
    struct chip chip;

    large_chip(&chip);
    make(&chip);
    put(&chip, PM + 4, 1, 2);
    assert_int_equal(get(&chip, PM + 4, 2), 0);
    put(&chip, PM + 4, 3, 1);
    put(&chip, PM + 4, 2, 1);
    assert_int_equal(get(&chip, PM + 4, 2), 3);
    assert_int_equal(chip.resets, 0);
    finish(&chip);
}

static void leaving_d3hot_resets_a_function_that_forgets(void **state)
{
    struct chip chip;

    large_chip(&chip);
    make(&chip);
    put(&chip, 0x3c, 9, 1);
    put(&chip, 4, 6, 2);
    put(&chip, PM + 4, 3, 2);
    assert_int_equal(chip.resets, 0);
    put(&chip, PM + 4, 0, 2);
    assert_int_equal(chip.resets, 1);
    assert_int_equal(get(&chip, 0x3c, 1), 0);
    assert_int_equal(get(&chip, 4, 2), 0);
    put(&chip, PM + 4, 0, 2);
    assert_int_equal(chip.resets, 1);
    finish(&chip);
}

static void a_host_that_cannot_reset_offers_neither_flr_nor_a_soft_reset(void **state)
{
    struct chip chip;

    large_chip(&chip);
    chip.info.can_reset = false;
    make(&chip);
    assert_int_equal(get(&chip, PM + 4, 2), 0x0008);
    assert_int_equal(get(&chip, PCIE + 4, 4) & 0x10000000, 0);
    assert_int_equal(get(&chip, AF + 3, 1), 0);
    put(&chip, PCIE + 8, FLR, 2);
    put(&chip, AF + 4, 1, 1);
    put(&chip, PM + 4, 3, 1);
    put(&chip, PM + 4, 0, 1);
    assert_int_equal(chip.resets, 0);
    assert_int_equal(vd_config_reset(chip.config), -ENOTSUP);
    finish(&chip);
}

/* Resets. */

static void flr_is_one_reset_by_the_host_and_never_a_write(void **state)
{
    static const struct {
        unsigned offset, width;
        uint32_t value;
        bool starts;
    } cases[] = {
        {PCIE + 8, 2, 0xa810, true}, {PCIE + 9, 1, 0x80, true},  {PCIE + 8, 4, 0x000f8000, true},
        {PCIE + 8, 1, 0xff, false},  {PCIE + 9, 1, 0x7f, false}, {PCIE + 0xa, 2, 0x8000, false},
        {AF + 4, 1, 1, true},        {AF + 4, 2, 0x0001, true},  {AF + 4, 1, 0xfe, false},
        {AF + 5, 1, 1, false},       {AF, 4, 0xffffffff, false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct chip chip;

        large_chip(&chip);
        make(&chip);
        chip_watch(&chip);
        put(&chip, cases[i].offset, cases[i].value, cases[i].width);
        assert_int_equal(chip.resets, cases[i].starts);
        assert_int_equal(chip.violations, 0);
        assert_int_equal(chip_get16(&chip, PCIE + 8) & FLR, 0);
        assert_int_equal(get(&chip, PCIE + 8, 2) & FLR, 0);
        assert_int_equal(get(&chip, AF + 4, 1), 0);
        finish(&chip);
    }
}

static void flr_needs_the_functions_promise(void **state)
{
    struct chip chip;

    large_chip(&chip);
    chip_put32(&chip, PCIE + 4, 0x00008021);
    chip_put8(&chip, AF + 3, 2); /* without the bit that tells when it is over */
    make(&chip);
    assert_int_equal(get(&chip, AF + 3, 1), 0);
    put(&chip, PCIE + 8, FLR, 2);
    put(&chip, AF + 4, 1, 1);
    assert_int_equal(chip.resets, 0);
    finish(&chip);
}

static void a_reset_takes_back_all_that_the_guest_wrote(void **state)
{
    struct chip chip;
    uint8_t before[VD_CONFIG_SIZE], after[VD_CONFIG_SIZE];
    uint64_t seed = 11;

    large_chip(&chip);
    make(&chip);
    assert_int_equal(vd_config_read(chip.config, 0, before, sizeof(before)), 0);
    for (unsigned i = 0; i < 20000; i++) {
        unsigned offset = unit_random(&seed) % VENDOR; /* no registers of the device's own */

        put(&chip, offset, (uint32_t)unit_random(&seed) & 0x7f, 1);
    }
    chip_put16(&chip, PCIE + 8, 0x2830);
    chip_put16(&chip, VPD + 2, 0x8010);
    assert_int_equal(vd_config_reset(chip.config), 0);
    assert_int_equal(vd_config_read(chip.config, 0, after, sizeof(after)), 0);
    assert_memory_equal(before, after, sizeof(after));
    assert_int_equal(chip_get16(&chip, 4), 0x0003);
    finish(&chip);
}

static void what_a_reset_loses_of_the_hosts_is_put_back(void **state)
{
    struct chip chip;

    large_chip(&chip);
    memset(chip.lost + 0x10, 0xff, 0x24);
    memset(chip.lost + PCIE + 8, 0xff, 2);
    make(&chip);
    memset(chip.lost + 0x2c, 0, 4);
    chip_put32(&chip, 0x18, 0xfd800000); /* the host moved it since */
    put(&chip, PCIE + 8, FLR, 2);
    assert_int_equal(chip.resets, 1);
    assert_int_equal(chip_get32(&chip, 0x10), 0xfe000004);
    assert_int_equal(chip_get32(&chip, 0x14), 0x00000010);
    assert_int_equal(chip_get32(&chip, 0x18), 0xfd800000);
    assert_int_equal(chip_get32(&chip, 0x30), 0xfc000001);
    assert_int_equal(chip_get16(&chip, PCIE + 8), 0x2820); /* with the guest's relaxed ordering */
    finish(&chip);
}

/* As an NVMe subsystem reset does, or a device's own register. */
static void a_function_that_reset_itself_gets_its_registers_back(void **state)
{
    struct chip chip;

    large_chip(&chip);
    make(&chip);
    chip_put32(&chip, 0x10, 0x00000004);
    chip_put32(&chip, 0x14, 0);
    chip_put32(&chip, 0x18, 0);
    chip_put32(&chip, 0x30, 0);
    chip_put16(&chip, PCIE + 8, 0x2810);
    assert_int_equal(vd_config_reset(chip.config), 0);
    assert_int_equal(chip_get32(&chip, 0x10), 0xfe000004);
    assert_int_equal(chip_get32(&chip, 0x14), 0x00000010);
    assert_int_equal(chip_get32(&chip, 0x18), 0xfd000000);
    assert_int_equal(chip_get32(&chip, 0x30), 0xfc000001);
    assert_int_equal(chip_get16(&chip, PCIE + 8), 0x2830);
    finish(&chip);
}

static void a_host_that_restores_by_itself_is_left_alone(void **state)
{
    struct chip chip;

    large_chip(&chip);
    make(&chip);
    assert_int_equal(vd_config_reset(chip.config), 0);
    assert_int_equal(chip.writes, 0);
    finish(&chip);
}

static void a_reset_that_fails_is_reported_and_forgets_nothing(void **state)
{
    struct chip chip;
    uint8_t high = 0x80;

    large_chip(&chip);
    make(&chip);
    put(&chip, 0x3c, 9, 1);
    chip.reset_error = -EIO;
    assert_int_equal(vd_config_write(chip.config, PCIE + 9, &high, 1), -EIO);
    assert_int_equal(get(&chip, 0x3c, 1), 9);
    chip.reset_error = 0;
    chip.dies = true;
    assert_int_equal(vd_config_reset(chip.config), -EIO);
    chip.dead = chip.dies = false;
    finish(&chip);
}

static void a_function_that_was_dead_gets_its_last_known_registers(void **state)
{
    struct chip chip;

    large_chip(&chip);
    memset(chip.lost + 0x10, 0xff, 0x18);
    make(&chip);
    chip.dies = true;
    assert_int_equal(vd_config_reset(chip.config), -EIO);
    assert_int_equal(vd_config_reset(chip.config), -EIO);
    assert_int_equal(chip_get32(&chip, 0x18), 0);
    chip.dead = chip.dies = false;
    assert_int_equal(vd_config_reset(chip.config), 0);
    assert_int_equal(chip_get32(&chip, 0x18), 0xfd000000);
    finish(&chip);
}

/* Opening. */

static void a_function_that_reads_all_ones_is_enodev(void **state)
{
    struct vd_failure failure = {0};
    struct chip chip;

    chip_init(&chip);
    chip.dead = true;
    assert_int_equal(chip_make(&chip, &failure), -ENODEV);
    assert_null(chip.config);
    assert_non_null(strstr(failure.text, "reads all ones"));
    assert_int_equal(chip.live, 0);
}

static void a_bridge_is_refused(void **state)
{
    struct vd_failure failure = {0};
    struct chip chip;

    chip_init(&chip);
    chip_put8(&chip, 0x0e, 0x81);
    assert_int_equal(chip_make(&chip, &failure), -ENOTSUP);
    assert_non_null(strstr(failure.text, "bridge"));
    assert_int_equal(chip.live, 0);
}

static void less_than_256_bytes_are_refused(void **state)
{
    struct vd_failure failure = {0};
    struct chip chip;

    chip_init(&chip);
    chip.info.regions[VD_REGION_CONFIG].size = 64;
    assert_int_equal(chip_make(&chip, &failure), -EIO);
    assert_non_null(strstr(failure.text, "64 bytes"));
}

static void config_space_of_256_bytes_has_no_more(void **state)
{
    struct chip chip;

    large_chip(&chip);
    chip.info.regions[VD_REGION_CONFIG].size = 1000;
    make(&chip);
    assert_int_equal(chip.config->size, 256);
    assert_int_equal(chip.info.regions[VD_REGION_CONFIG].size, 256);
    assert_int_equal(get(&chip, 0xfc, 4), 0);
    finish(&chip);
}

static void opening_fails_cleanly_at_every_step(void **state)
{
    unsigned steps[3] = {0};

    for (unsigned kind = 0; kind < 3; kind++) {
        for (unsigned n = 1;; n++) {
            struct vd_failure failure = {0};
            struct chip chip;
            int ret;

            large_chip(&chip);
            *(kind == 0 ? &chip.fail_alloc : kind == 1 ? &chip.fail_read : &chip.fail_write) = n;
            ret = chip_make(&chip, &failure);
            if (ret == 0) {
                finish(&chip);
                break;
            }
            steps[kind]++;
            assert_int_equal(ret, kind == 0 ? -ENOMEM : -EIO);
            assert_int_equal(failure.code, ret);
            assert_null(chip.config);
            assert_int_equal(chip.live, 0);
        }
    }
    assert_int_equal(steps[0], 2);                      /* itself and the MSI-X table */
    assert_int_equal(steps[1], VD_CONFIG_SIZE / 4 + 1); /* the copy, and COMMAND */
    assert_int_equal(steps[2], 1);                      /* COMMAND */
}

static void what_the_host_refuses_is_handed_on(void **state)
{
    struct chip chip;
    uint8_t bytes[4] = {0xff, 0xff, 0xff, 0xff};

    large_chip(&chip);
    make(&chip);
    chip.fail_read = 1;
    assert_int_equal(vd_config_read(chip.config, 4, bytes, 4), -EIO);
    chip.fail_write = 1;
    assert_int_equal(vd_config_write(chip.config, GAP, bytes, 4), -EIO);
    chip.fail_read = 1;
    assert_int_equal(vd_config_write(chip.config, 4, bytes, 2), -EIO);
    chip.fail_write = 1;
    assert_int_equal(vd_config_write(chip.config, 4, "\4", 2), -EIO);
    chip.fail_read = 1;
    assert_int_equal(vd_config_write(chip.config, PCIE + 8, "\x10", 1), -EIO);
    finish(&chip);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(d3hot_is_played_and_stops_bus_mastering),
        cmocka_unit_test(states_the_function_lacks_are_dropped),
        cmocka_unit_test(leaving_d3hot_resets_a_function_that_forgets),
        cmocka_unit_test(a_host_that_cannot_reset_offers_neither_flr_nor_a_soft_reset),
        cmocka_unit_test(flr_is_one_reset_by_the_host_and_never_a_write),
        cmocka_unit_test(flr_needs_the_functions_promise),
        cmocka_unit_test(a_reset_takes_back_all_that_the_guest_wrote),
        cmocka_unit_test(what_a_reset_loses_of_the_hosts_is_put_back),
        cmocka_unit_test(a_function_that_reset_itself_gets_its_registers_back),
        cmocka_unit_test(a_host_that_restores_by_itself_is_left_alone),
        cmocka_unit_test(a_reset_that_fails_is_reported_and_forgets_nothing),
        cmocka_unit_test(a_function_that_was_dead_gets_its_last_known_registers),
        cmocka_unit_test(a_function_that_reads_all_ones_is_enodev),
        cmocka_unit_test(a_bridge_is_refused),
        cmocka_unit_test(less_than_256_bytes_are_refused),
        cmocka_unit_test(config_space_of_256_bytes_has_no_more),
        cmocka_unit_test(opening_fails_cleanly_at_every_step),
        cmocka_unit_test(what_the_host_refuses_is_handed_on),
    };

    return cmocka_run_group_tests_name("config_reset", tests, NULL, NULL);
}
