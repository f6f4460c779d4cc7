// SPDX-License-Identifier: BSD-3-Clause
/* To find a window, by guest-physical and by bus address, and to give it back. */
#include "fake.h"

static void nothing_is_found_where_nothing_is_mapped(void **state)
{
    struct fake fake;

    fake_init_small(&fake);
    assert_null(vd_windows_get(fake.windows, 0x100000, 4096, FAKE_RW));
    assert_null(vd_windows_get(fake.windows, UINT64_MAX - 4095, 4096, FAKE_RW));
    assert_null(vd_windows_at(fake.windows, FAKE_BUS));
    assert_null(vd_windows_at(fake.windows, UINT64_MAX));
    fake_put(&fake, fake_map(&fake, 0x100000, 4096));
    assert_null(vd_windows_get(fake.windows, 0x100000, 0, FAKE_RW));
    assert_null(vd_windows_get(fake.windows, 0x100000, UINT64_MAX, FAKE_RW));
    assert_null(vd_windows_get(fake.windows, 0x100000, UINT64_MAX - 0x100000 + 2, FAKE_RW));
    fake_finish(&fake);
}

static void what_is_mapped_is_found_again_without_the_host(void **state)
{
    struct vd_window *window, *again;
    struct fake fake;

    fake_init_small(&fake);
    window = fake_map(&fake, 0x12345000, 4096);
    again = vd_windows_get(fake.windows, 0x12345000, 4096, FAKE_RW);
    assert_ptr_equal(again, window);
    fake_check(&fake, again, 0x12345678, 100);
    fake_put(&fake, again);
    fake_put(&fake, window);
    assert_ptr_equal(vd_windows_get(fake.windows, 0x12345000, 4096, VD_WINDOW_READ), window);
    assert_int_equal(fake.doorbells, 1);
    fake_finish(&fake);
}

static void a_window_ends_where_it_ends(void **state)
{
    struct vd_window *window;
    struct fake fake;

    fake_init_small(&fake);
    window = fake_exact(&fake, 0x400000, 2 * FAKE_GRANULE, 0);
    assert_null(vd_windows_get(fake.windows, 0x400000 - 1, 2, FAKE_RW));
    assert_null(vd_windows_get(fake.windows, 0x400000, 2 * FAKE_GRANULE + 1, FAKE_RW));
    assert_ptr_equal(vd_windows_get(fake.windows, 0x400000, 2 * FAKE_GRANULE, FAKE_RW), window);
    assert_ptr_equal(vd_windows_get(fake.windows, 0x400000 + 2 * FAKE_GRANULE - 1, 1, FAKE_RW), window);
    assert_null(vd_windows_at(fake.windows, window->segments[0].bus + window->size));
    assert_null(vd_windows_at(fake.windows, window->segments[0].bus - 1));
    fake_finish(&fake);
}

static void a_hit_needs_the_access_asked_for(void **state)
{
    struct fake fake;
    struct vd_windows_want want = {.gpa = 0x400000, .len = 4096, .access = VD_WINDOW_READ};

    fake_init(&fake,
              &(struct vd_windows_config){
                  .granule = FAKE_GRANULE, .limit_bytes = MIB, .limit_mappings = 8, .strict = true},
              MIB);
    fake_run(&fake, &want, 1);
    assert_int_equal(want.window->access, VD_WINDOW_READ);
    assert_null(vd_windows_get(fake.windows, 0x400000, 4096, VD_WINDOW_WRITE));
    assert_null(vd_windows_get(fake.windows, 0x400000, 4096, FAKE_RW));
    assert_ptr_equal(vd_windows_get(fake.windows, 0x400000, 4096, VD_WINDOW_READ), want.window);
    fake_finish(&fake);
}

static void giving_back_too_often_does_no_harm(void **state)
{
    struct vd_window *window;
    struct fake fake;

    fake_init_small(&fake);
    window = fake_map(&fake, 0x400000, 4096);
    fake_put(&fake, window);
    assert_false(vd_windows_put(fake.windows, window));
    assert_int_equal(fake_reap(&fake, 0, UINT64_MAX), 1);
    assert_false(vd_windows_put(fake.windows, window));
    assert_null(vd_windows_get(fake.windows, 0x400000, 4096, FAKE_RW));
    window = fake_map(&fake, 0x800000, 4096);
    fake_put(&fake, window);
    fake_finish(&fake);
}

static void the_furthest_reaching_window_serves_a_granule(void **state)
{
    struct vd_window *small, *large;
    struct fake fake;

    fake_init_small(&fake);
    large = fake_exact(&fake, 0x400000, 8 * FAKE_GRANULE, 0);
    small = fake_exact(&fake, 0x400000 + FAKE_GRANULE, FAKE_GRANULE, 0);
    assert_ptr_not_equal(small, large);
    assert_ptr_equal(vd_windows_get(fake.windows, 0x400000 + FAKE_GRANULE, 2 * FAKE_GRANULE, FAKE_RW), large);
    fake_put(&fake, large);
    fake_put(&fake, large);
    /* With the large one gone the small one is found. */
    assert_int_equal(fake_reap(&fake, 0x400000, 1), 1);
    assert_ptr_equal(vd_windows_get(fake.windows, 0x400000 + FAKE_GRANULE, FAKE_GRANULE, FAKE_RW), small);
    assert_null(vd_windows_get(fake.windows, 0x400000, 4096, FAKE_RW));
    fake_finish(&fake);
}

static void pieces_on_the_bus_are_found_by_each_of_their_addresses(void **state)
{
    struct vd_window *window;
    struct fake fake;
    uint64_t at;

    fake_init_small(&fake);
    fake.split = 3;
    /* A first small one, to learn that memory here is dense, is not needed: four granules are wanted at once. */
    window = fake_map(&fake, 0x400000, 4096);
    for (at = window->gpa; at < window->gpa + window->size; at += 4096) {
        uint64_t bus = vd_window_bus(window, at, 4096);

        assert_int_not_equal(bus, VD_WINDOWS_NO_ADDRESS);
        assert_int_equal(vd_window_gpa(window, bus + 5), at + 5);
        assert_ptr_equal(vd_windows_at(fake.windows, bus), window);
    }
    assert_int_equal(vd_window_bus(window, at, 1), VD_WINDOWS_NO_ADDRESS);
    assert_int_equal(vd_window_gpa(window, 1), VD_WINDOWS_NO_ADDRESS);
    fake_finish(&fake);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_found_where_nothing_is_mapped),
        cmocka_unit_test(what_is_mapped_is_found_again_without_the_host),
        cmocka_unit_test(a_window_ends_where_it_ends),
        cmocka_unit_test(a_hit_needs_the_access_asked_for),
        cmocka_unit_test(giving_back_too_often_does_no_harm),
        cmocka_unit_test(the_furthest_reaching_window_serves_a_granule),
        cmocka_unit_test(pieces_on_the_bus_are_found_by_each_of_their_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
