/* SPDX-License-Identifier: BSD-3-Clause */
/* Ranges at the edges of the 64-bit space, where naive sums wrap. */
#include "base/range.h"

#include "unit.h"

static void an_empty_range_cannot_be_made(void **state)
{
    struct vd_range r = {1, 2};

    (void)state;
    assert_false(vd_range_make(0, 0, &r));
    assert_false(vd_range_make(UINT64_MAX, 0, &r));
    assert_true(r.start == 1 && r.last == 2);
}

static void a_wrapping_range_cannot_be_made(void **state)
{
    struct vd_range r = {1, 2};

    (void)state;
    assert_false(vd_range_make(UINT64_MAX, 2, &r));
    assert_false(vd_range_make(2, UINT64_MAX, &r));
    assert_false(vd_range_make(1ull << 63, (1ull << 63) + 1, &r));
    assert_true(r.start == 1 && r.last == 2);
}

static void the_last_byte_of_the_space_can_be_named(void **state)
{
    struct vd_range r = {0, 0};

    (void)state;
    assert_true(vd_range_make(UINT64_MAX, 1, &r));
    assert_true(r.start == UINT64_MAX && r.last == UINT64_MAX);
    assert_true(vd_range_size(r) == 1);
    assert_true(vd_range_make(1, UINT64_MAX, &r));
    assert_true(r.last == UINT64_MAX && vd_range_size(r) == UINT64_MAX);
    assert_true(vd_range_make(1ull << 63, 1ull << 63, &r));
    assert_true(r.last == UINT64_MAX);
}

static void containing_and_overlapping_count_the_last_byte(void **state)
{
    const struct vd_range a = {10, 19}, b = {19, 30}, c = {20, 30}, d = {12, 15};
    const struct vd_range all = {0, UINT64_MAX};

    (void)state;
    assert_true(vd_range_overlaps(a, b) && vd_range_overlaps(b, a));
    assert_false(vd_range_overlaps(a, c) || vd_range_overlaps(c, a));
    assert_true(vd_range_overlaps(a, d) && vd_range_overlaps(d, a));
    assert_true(vd_range_contains(a, d) && vd_range_contains(a, a));
    assert_false(vd_range_contains(d, a) || vd_range_contains(a, b));
    assert_true(vd_range_contains(all, a) && vd_range_overlaps(all, c));
    assert_true(vd_range_size(all) == 0);
}

static void a_span_fits_up_to_the_very_end(void **state)
{
    (void)state;
    assert_true(vd_span_fits(0, 0, 0));
    assert_true(vd_span_fits(16, 0, 16));
    assert_false(vd_span_fits(17, 0, 16));
    assert_true(vd_span_fits(8, 8, 16));
    assert_false(vd_span_fits(8, 9, 16));
    assert_false(vd_span_fits(UINT64_MAX, 2, 16));
    assert_false(vd_span_fits(2, UINT64_MAX, 16));
    assert_true(vd_span_fits(0, UINT64_MAX, UINT64_MAX));
}

static void powers_of_two_and_alignment(void **state)
{
    (void)state;
    assert_false(vd_is_power_of_two(0));
    assert_true(vd_is_power_of_two(1));
    assert_false(vd_is_power_of_two(3));
    assert_true(vd_is_power_of_two(1ull << 63));
    assert_true(vd_is_aligned(0, 4096) && vd_is_aligned(8192, 4096));
    assert_false(vd_is_aligned(4097, 4096));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_range_cannot_be_made),
        cmocka_unit_test(a_wrapping_range_cannot_be_made),
        cmocka_unit_test(the_last_byte_of_the_space_can_be_named),
        cmocka_unit_test(containing_and_overlapping_count_the_last_byte),
        cmocka_unit_test(a_span_fits_up_to_the_very_end),
        cmocka_unit_test(powers_of_two_and_alignment),
    };

    return cmocka_run_group_tests_name("range", tests, NULL, NULL);
}
