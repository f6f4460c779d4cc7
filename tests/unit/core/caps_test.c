/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Capabilities: which are shown, how long they are, and what becomes of lists that loop, overlap or lead nowhere. The
 * extended list has extcaps_test.c.
 */
#include "caps.h"

static void expect(struct chip *chip, const unsigned *expected)
{
    unsigned ids[64] = {0};

    walk(chip, ids, 64);
    for (unsigned i = 0; i == 0 || expected[i - 1]; i++)
        assert_int_equal(ids[i], expected[i]);
}

/* The ids, ended by 0. */
#define EXPECT(chip, ...) expect((chip), (const unsigned[]){__VA_ARGS__})

static void kinds_are_told_apart_and_have_reasons(void **state)
{
    for (size_t i = 0; i < vd_cap_nr_kinds; i++) {
        const struct vd_cap_kind *kind = &vd_cap_kinds[i];

        assert_ptr_equal(vd_cap_kind(kind->id), kind);
        assert_true(kind->name[0] && kind->reason[0]);
        assert_true(kind->rule == VD_LENGTH_FIXED ? kind->length >= 4 : true);
        assert_true(kind->rule == VD_LENGTH_FIXED || kind->rule == VD_LENGTH_NEXT || kind->length == 0);
    }
    assert_int_equal(vd_cap_kind(VD_CAP(0x77))->policy, VD_CAP_READ_ONLY);
    assert_int_equal(vd_cap_kind(VD_EXT_CAP(0xbeef))->policy, VD_CAP_READ_ONLY);
}

static void rows_belong_to_kinds_that_are_shown(void **state)
{
    for (size_t i = 0; i < vd_config_nr_rows; i++) {
        if (vd_config_rows[i].of != VD_CONFIG_HEADER)
            assert_int_equal(vd_cap_kind(vd_config_rows[i].of)->policy, VD_CAP_READ_ONLY);
    }
}

static void the_list_is_rebuilt_without_what_is_hidden(void **state)
{
    struct chip chip;

    chip_init(&chip);
    chip_list(&chip, 0x43); /* the low bits are reserved */
    chip_cap(&chip, 0x40, 0x14, 0x80);
    chip_cap(&chip, 0x80, 0x01, 0x60);
    chip_cap(&chip, 0x60, 0x08, 0x72);
    chip_cap(&chip, 0x70, 0x09, 0xa0);
    chip_put8(&chip, 0x72, 6);
    chip_cap(&chip, 0xa0, 0x04, 0);
    make(&chip);
    EXPECT(&chip, 0x01, 0x09, 0);
    assert_int_equal(get(&chip, 0x34, 1), 0x80);
    assert_int_equal(get(&chip, 0x81, 1), 0x70);
    finish(&chip);
}

static void with_everything_hidden_there_is_no_list(void **state)
{
    struct chip chip;

    chip_init(&chip);
    chip_list(&chip, 0x40);
    chip_cap(&chip, 0x40, 0x14, 0);
    make(&chip);
    EXPECT(&chip, 0);
    assert_int_equal(get(&chip, 6, 2) & 0x10, 0);
    finish(&chip);
}

static void a_list_that_status_denies_is_not_followed(void **state)
{
    struct chip chip;

    chip_init(&chip);
    chip_put8(&chip, 0x34, 0x40);
    chip_cap(&chip, 0x40, 0x01, 0);
    make(&chip);
    EXPECT(&chip, 0);
    assert_int_equal(chip.lines, 0);
    finish(&chip);
}

/* Lists that lead nowhere. */

static void a_pointer_to_itself_ends_the_list(void **state)
{
    struct chip chip;

    chip_init(&chip);
    chip_list(&chip, 0x40);
    chip_cap(&chip, 0x40, 0x01, 0x40);
    make(&chip);
    EXPECT(&chip, 0x01, 0);
    assert_int_equal(chip.lines, 1);
    finish(&chip);
}

static void a_loop_shows_each_once(void **state)
{
    struct chip chip;

    chip_init(&chip);
    chip_list(&chip, 0x40);
    chip_cap(&chip, 0x40, 0x01, 0x50);
    chip_cap(&chip, 0x50, 0x13, 0x60);
    chip_cap(&chip, 0x60, 0x03, 0x50);
    make(&chip);
    EXPECT(&chip, 0x01, 0x13, 0x03, 0);
    finish(&chip);
}

static void a_pointer_into_the_header_ends_the_list(void **state)
{
    for (unsigned next = 4; next < 0x40; next += 4) {
        struct chip chip;

        chip_init(&chip);
        chip_list(&chip, 0x40);
        chip_cap(&chip, 0x40, 0x01, next);
        make(&chip);
        EXPECT(&chip, 0x01, 0);
        assert_int_equal(chip.lines, 1);
        finish(&chip);
    }
}

static void all_ones_end_the_list(void **state)
{
    struct chip chip;

    chip_init(&chip);
    chip_list(&chip, 0x40);
    chip_cap(&chip, 0x40, 0x01, 0x50);
    chip_put32(&chip, 0x50, 0xffffffff);
    make(&chip);
    EXPECT(&chip, 0x01, 0);
    finish(&chip);
}

/* What follows a bad pointer cannot be known, so it may be MSI. */
static void a_broken_list_closes_the_space_between(void **state)
{
    struct chip chip;

    chip_init(&chip);
    chip_list(&chip, 0x40);
    chip_cap(&chip, 0x40, 0x01, 0x10);
    make(&chip);
    assert_false(is_open(&chip, 0x60));
    assert_false(is_open(&chip, 0xff));
    finish(&chip);
    chip_cap(&chip, 0x40, 0x01, 0);
    make(&chip);
    assert_true(is_open(&chip, 0x60));
    assert_true(is_open(&chip, 0xff));
    finish(&chip);
}

static void an_overlapping_capability_is_dropped_and_closed(void **state)
{
    struct chip chip;

    chip_init(&chip);
    chip_list(&chip, 0x40);
    chip_cap(&chip, 0x40, 0x09, 0x50);
    chip_put8(&chip, 0x42, 0x20); /* claims up to 0x60, and with it MSI */
    chip_cap(&chip, 0x50, 0x05, 0x80);
    chip_put16(&chip, 0x52, 0x0180);
    chip_cap(&chip, 0x80, 0x01, 0);
    make(&chip);
    EXPECT(&chip, 0x09, 0x01, 0);
    assert_int_equal(chip.lines, 1);
    assert_non_null(strstr(chip.line, "overlaps"));
    assert_true(is_open(&chip, 0x4c));
    for (unsigned at = 0x50; at < 0x68; at++)
        assert_false(is_open(&chip, at));
    assert_true(is_open(&chip, 0x68));
    finish(&chip);
}

static void a_truncated_capability_is_dropped_and_closed(void **state)
{
    struct chip chip;

    chip_init(&chip);
    chip_list(&chip, 0x40);
    chip_cap(&chip, 0x40, 0x01, 0xf0);
    chip_cap(&chip, 0xf0, 0x05, 0);
    chip_put16(&chip, 0xf2, 0x0180);
    make(&chip);
    EXPECT(&chip, 0x01, 0);
    assert_non_null(strstr(chip.line, "runs over"));
    assert_false(is_open(&chip, 0xf4));
    assert_true(is_open(&chip, 0xec));
    finish(&chip);
}

static void a_second_of_what_there_is_one_of_is_dropped(void **state)
{
    struct chip chip;

    chip_init(&chip);
    chip_list(&chip, 0x40);
    chip_cap(&chip, 0x40, 0x05, 0x60);
    chip_cap(&chip, 0x60, 0x05, 0x80);
    chip_cap(&chip, 0x80, 0x09, 0x90);
    chip_put8(&chip, 0x82, 8);
    chip_cap(&chip, 0x90, 0x09, 0);
    chip_put8(&chip, 0x92, 8);
    make(&chip);
    EXPECT(&chip, 0x05, 0x09, 0x09, 0);
    assert_false(is_open(&chip, 0x64));
    finish(&chip);
}

static void a_vendor_capability_without_length_is_dropped(void **state)
{
    struct chip chip;

    chip_init(&chip);
    chip_list(&chip, 0x40);
    chip_cap(&chip, 0x40, 0x09, 0x48);
    chip_cap(&chip, 0x48, 0x01, 0);
    make(&chip);
    EXPECT(&chip, 0x01, 0);
    assert_false(is_open(&chip, 0x42));
    assert_true(is_open(&chip, 0x44));
    finish(&chip);
}

static void a_second_msix_table_does_not_replace_the_first(void **state)
{
    struct chip chip;

    chip_init(&chip);
    chip_list(&chip, 0x40);
    chip_cap(&chip, 0x40, 0x11, 0x50);
    chip_put16(&chip, 0x42, 7);
    chip_put32(&chip, 0x44, 0x1000);
    chip_put32(&chip, 0x48, 0x1800);
    chip_cap(&chip, 0x50, 0x11, 0);
    chip_put32(&chip, 0x54, 0x2002);
    make(&chip);
    EXPECT(&chip, 0x11, 0);
    assert_int_equal(chip.config->msix.entries, 8);
    assert_int_equal(chip.config->msix.table_offset, 0x1000);
    finish(&chip);
}

static void an_msix_capability_that_is_cut_off_names_no_table(void **state)
{
    struct chip chip;

    express_chip(&chip, 0xf8);
    chip_cap(&chip, 0xf8, 0x11, 0);
    chip_put32(&chip, 0xfc, 0x1000);
    chip_put32(&chip, 0x100, 0x2000);
    make(&chip);
    EXPECT(&chip, 0x10, 0);
    assert_int_equal(chip.config->msix.entries, 0);
    finish(&chip);
}

/* Lengths: the byte behind the last is the device's own again. */

static void standard_capabilities_have_their_length(void **state)
{
    static const struct length_case cases[] = {
        {0x01, 8, 0, 0, 0},       {0x02, 12, 0, 0, 0},     {0x03, 8, 0, 0, 0},      {0x05, 12, 0, 0, 0},
        {0x05, 16, 0x80, 0, 0},   {0x05, 20, 0x100, 0, 0}, {0x05, 24, 0x180, 0, 0}, {0x07, 8, 0, 0, 0},
        {0x07, 24, 0x1000, 0, 0}, {0x08, 28, 0, 0, 0},     {0x0c, 8, 0, 0, 0},      {0x0d, 8, 0, 0, 0},
        {0x10, 0x24, 1, 0, 0},    {0x10, 0x3c, 2, 0, 0},   {0x11, 12, 0, 0, 0},     {0x12, 8, 0, 0, 0},
        {0x12, 16, 0, 15, 0},     {0x13, 8, 0, 0, 0},      {0x14, 0xc0, 0, 0, 0},   {0x55, 0xc0, 0, 0, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct length_case *c = &cases[i];
        struct chip chip;

        chip_init(&chip);
        chip_list(&chip, 0x40);
        chip_cap(&chip, 0x40, c->id, 0);
        chip_put16(&chip, 0x42, c->at2);
        chip_put32(&chip, 0x44, c->at4);
        make(&chip);
        assert_false(is_open(&chip, 0x40 + c->size - 1));
        if (c->size < 0xc0)
            assert_true(is_open(&chip, 0x40 + c->size));
        finish(&chip);
    }
}

static void slot_registers_are_covered_as_far_as_nothing_else_is(void **state)
{
    static const unsigned cases[][3] = {{1, 0x14, 1},    {1, 0x10, 0},    {2, 0x34, 1},   {2, 0x30, 0},
                                        {0x91, 0x0c, 1}, {0x92, 0x2c, 1}, {0x92, 0x28, 0}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct chip chip;

        chip_init(&chip);
        chip_list(&chip, 0x40);
        chip_cap(&chip, 0x40, 0x10, 0x40 + cases[i][1]);
        chip_put16(&chip, 0x42, cases[i][0]);
        chip_cap(&chip, 0x40 + cases[i][1], 0x0d, 0);
        make(&chip);
        if (cases[i][2])
            EXPECT(&chip, 0x10, 0x0d, 0);
        else
            EXPECT(&chip, 0x10, 0);
        finish(&chip);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_are_told_apart_and_have_reasons),
        cmocka_unit_test(rows_belong_to_kinds_that_are_shown),
        cmocka_unit_test(the_list_is_rebuilt_without_what_is_hidden),
        cmocka_unit_test(with_everything_hidden_there_is_no_list),
        cmocka_unit_test(a_list_that_status_denies_is_not_followed),
        cmocka_unit_test(a_pointer_to_itself_ends_the_list),
        cmocka_unit_test(a_loop_shows_each_once),
        cmocka_unit_test(a_pointer_into_the_header_ends_the_list),
        cmocka_unit_test(all_ones_end_the_list),
        cmocka_unit_test(a_broken_list_closes_the_space_between),
        cmocka_unit_test(an_overlapping_capability_is_dropped_and_closed),
        cmocka_unit_test(a_truncated_capability_is_dropped_and_closed),
        cmocka_unit_test(a_second_of_what_there_is_one_of_is_dropped),
        cmocka_unit_test(a_vendor_capability_without_length_is_dropped),
        cmocka_unit_test(a_second_msix_table_does_not_replace_the_first),
        cmocka_unit_test(an_msix_capability_that_is_cut_off_names_no_table),
        cmocka_unit_test(standard_capabilities_have_their_length),
        cmocka_unit_test(slot_registers_are_covered_as_far_as_nothing_else_is),
    };

    return cmocka_run_group_tests_name("caps", tests, NULL, NULL);
}
