/* SPDX-License-Identifier: BSD-3-Clause */
/* The bounded cursor: nothing past the end is ever touched, and one failure is enough to fail for good. */
#include "base/cursor.h"

#include "unit.h"

static void integers_are_little_endian_at_any_alignment(void **state)
{
    uint8_t bytes[16] = {0};

    (void)state;
    vd_store16(bytes + 1, 0x1122);
    vd_store32(bytes + 3, 0x33445566);
    vd_store64(bytes + 7, 0x778899aabbccddeeull);
    assert_memory_equal(bytes, "\0\x22\x11\x66\x55\x44\x33\xee\xdd\xcc\xbb\xaa\x99\x88\x77\0", 16);
    assert_int_equal(vd_load16(bytes + 1), 0x1122);
    assert_int_equal(vd_load32(bytes + 3), 0x33445566);
    assert_true(vd_load64(bytes + 7) == 0x778899aabbccddeeull);
    assert_int_equal(vd_get16(vd_put16(0xa1b2)), 0xa1b2);
    assert_true(vd_get32(vd_put32(0xa1b2c3d4)) == 0xa1b2c3d4);
    assert_true(vd_get64(vd_put64(0xa1b2c3d4e5f60718ull)) == 0xa1b2c3d4e5f60718ull);
}

static void reads_advance_in_order(void **state)
{
    const uint8_t bytes[] = {1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 9, 8};
    struct vd_reader r = vd_reader_make(bytes, sizeof(bytes));
    uint8_t pair[2];

    (void)state;
    assert_int_equal(vd_read16(&r), 1);
    assert_int_equal(vd_read32(&r), 2);
    assert_int_equal(vd_read64(&r), 3);
    assert_true(vd_read_struct(&r, pair, sizeof(pair)));
    assert_int_equal(pair[0], 9);
    assert_int_equal(r.left, 0);
    assert_false(r.failed);
}

static void reading_past_the_end_fails_and_gives_zero(void **state)
{
    const uint8_t bytes[7] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct vd_reader r = vd_reader_make(bytes, sizeof(bytes));

    (void)state;
    assert_int_equal(vd_read64(&r), 0);
    assert_true(r.failed);
}

static void a_failed_reader_stays_failed_even_where_bytes_are_left(void **state)
{
    const uint8_t bytes[4] = {1, 2, 3, 4};
    struct vd_reader r = vd_reader_make(bytes, sizeof(bytes));

    (void)state;
    assert_null(vd_read_bytes(&r, 5));
    assert_int_equal(r.left, 4);
    assert_int_equal(vd_read16(&r), 0);
    assert_null(vd_read_bytes(&r, 0));
    assert_true(r.failed);
}

static void a_short_struct_leaves_the_output_untouched(void **state)
{
    const uint8_t bytes[3] = {1, 2, 3};
    struct vd_reader r = vd_reader_make(bytes, sizeof(bytes));
    uint8_t out[4] = {7, 7, 7, 7};

    (void)state;
    assert_false(vd_read_struct(&r, out, sizeof(out)));
    assert_memory_equal(out, "\7\7\7\7", 4);
}

static void a_huge_size_does_not_wrap(void **state)
{
    uint8_t bytes[8] = {0};
    struct vd_reader r = vd_reader_make(bytes, sizeof(bytes));
    struct vd_writer w = vd_writer_make(bytes, sizeof(bytes));

    (void)state;
    assert_int_equal(vd_read16(&r), 0);
    assert_false(r.failed);
    assert_null(vd_read_bytes(&r, SIZE_MAX));
    vd_write32(&w, 1);
    assert_null(vd_write_room(&w, SIZE_MAX - 3));
    assert_true(w.failed);
}

static void nothing_can_be_read_from_nothing(void **state)
{
    struct vd_reader r = vd_reader_make(NULL, 0);

    (void)state;
    assert_int_equal(vd_read16(&r), 0);
    assert_true(r.failed);
}

static void writes_fill_in_order_and_never_pass_the_end(void **state)
{
    uint8_t bytes[16] = {0};
    struct vd_writer w = vd_writer_make(bytes, 13);

    (void)state;
    vd_write32(&w, 0x04030201);
    vd_write64(&w, 0x0c0b0a0908070605ull);
    assert_false(w.failed);
    assert_int_equal(w.used, 12);
    vd_write32(&w, 0xffffffff);
    assert_true(w.failed);
    assert_int_equal(w.used, 12);
    vd_write_bytes(&w, "x", 1);
    assert_int_equal(w.used, 12);
    for (int i = 0; i < 16; i++)
        assert_int_equal(bytes[i], i < 12 ? i + 1 : 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_little_endian_at_any_alignment),
        cmocka_unit_test(reads_advance_in_order),
        cmocka_unit_test(reading_past_the_end_fails_and_gives_zero),
        cmocka_unit_test(a_failed_reader_stays_failed_even_where_bytes_are_left),
        cmocka_unit_test(a_short_struct_leaves_the_output_untouched),
        cmocka_unit_test(a_huge_size_does_not_wrap),
        cmocka_unit_test(nothing_can_be_read_from_nothing),
        cmocka_unit_test(writes_fill_in_order_and_never_pass_the_end),
    };

    return cmocka_run_group_tests_name("cursor", tests, NULL, NULL);
}
