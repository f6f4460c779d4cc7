/* SPDX-License-Identifier: BSD-3-Clause */
/* BARs, MSI and MSI-X in config space: the host says how many and how large, the addresses are the guest's alone. */
#include "guest.h"
#include "large_chip.h"

/* BARs. */

static uint32_t sized(struct chip *chip, unsigned offset)
{
    put(chip, offset, 0xffffffff, 4);
    return get(chip, offset, 4);
}

static void bar_sizing_shows_size_and_kind(void **state)
{
    struct chip chip;

    chip_init(&chip);
    chip.info.regions[0].flags |= VD_REGION_PREFETCHABLE;
    chip.info.regions[0].size = 1ull << 33;
    chip.info.regions[3] =
        (struct vd_region_info){.size = 16, .flags = VD_REGION_READ | VD_REGION_PREFETCHABLE};
    chip.info.regions[4] = (struct vd_region_info){.size = 1ull << 20, .flags = VD_REGION_64BIT};
    chip.info.regions[VD_REGION_ROM].size = 0x10000;
    make(&chip);
    assert_int_equal(get(&chip, 0x10, 4), 0x0000000c); /* kinds show before sizing: clients look there */
    assert_int_equal(get(&chip, 0x18, 4), 0);
    assert_int_equal(sized(&chip, 0x10), 0x0000000c);
    assert_int_equal(sized(&chip, 0x14), 0xfffffffe);
    assert_int_equal(sized(&chip, 0x18), 0xffff0000);
    assert_int_equal(sized(&chip, 0x1c), 0xfffffff8);
    assert_int_equal(sized(&chip, 0x20), 0xfff00004);
    assert_int_equal(sized(&chip, 0x24), 0xffffffff);
    assert_int_equal(sized(&chip, 0x30), 0xffff0001);
    put(&chip, 0x10, 0xdeadbeef, 4);
    put(&chip, 0x14, 0x00000002, 4);
    assert_int_equal(get(&chip, 0x10, 4), 0x0000000c);
    assert_int_equal(get(&chip, 0x14, 4), 0x00000002);
    put(&chip, 0x1a, 0x1234, 2);
    assert_int_equal(get(&chip, 0x18, 4), 0x12340000);
    assert_int_equal(chip_get32(&chip, 0x10), 0xfe000004);
    assert_int_equal(chip_get32(&chip, 0x18), 0xfd000000);
    finish(&chip);
}

static void bars_that_do_not_exist_are_hardwired_to_zero(void **state)
{
    struct chip chip;

    chip_init(&chip);
    memset(chip.info.regions, 0, sizeof(chip.info.regions[0]) * VD_REGION_CONFIG);
    make(&chip);
    for (unsigned offset = 0x10; offset < 0x28; offset += 4)
        assert_int_equal(sized(&chip, offset), 0);
    assert_int_equal(sized(&chip, 0x30), 0);
    assert_int_equal(chip_get16(&chip, 4) & 2, 2); /* nothing to decode: the host's bit is as it was */
    finish(&chip);
}

static void odd_sizes_are_rounded_up(void **state)
{
    struct chip chip;

    chip_init(&chip);
    chip.info.regions[2].size = 0x10001;
    chip.info.regions[3] = (struct vd_region_info){.size = 1};
    chip.info.regions[VD_REGION_ROM].size = 100;
    make(&chip);
    assert_int_equal(sized(&chip, 0x18), 0xfffe0000);
    assert_int_equal(sized(&chip, 0x1c), 0xfffffff0);
    assert_int_equal(sized(&chip, 0x30), 0xfffff801);
    finish(&chip);
}

static void regions_that_fit_no_register_are_taken_out(void **state)
{
    struct chip chip;

    chip_init(&chip);
    chip.info.regions[1].size = 0x1000;     /* where BAR 0's upper half is */
    chip.info.regions[2].size = 1ull << 32; /* too large for 32 bits */
    chip.info.regions[5] =
        (struct vd_region_info){.size = 0x1000, .flags = VD_REGION_64BIT}; /* no upper half */
    make(&chip);
    assert_int_equal(chip.info.regions[0].size, 0);
    assert_int_equal(chip.info.regions[1].size, 0x1000);
    assert_int_equal(chip.info.regions[2].size, 0);
    assert_int_equal(chip.info.regions[5].size, 0);
    assert_int_equal(chip.lines, 3);
    assert_int_equal(sized(&chip, 0x10), 0);
    assert_int_equal(sized(&chip, 0x14), 0xfffff000);
    assert_int_equal(sized(&chip, 0x18), 0);
    finish(&chip);
}

/* Messages. */

static void msi_offers_no_more_messages_than_the_host(void **state)
{
    static const struct {
        uint32_t host;
        unsigned hardware, shown; /* coded: the logarithm */
    } cases[] = {{1, 5, 0},  {2, 5, 1},   {3, 5, 1},  {7, 5, 2},  {8, 5, 3},
                 {32, 5, 5}, {100, 5, 5}, {32, 2, 2}, {32, 7, 5}, {100, 7, 5}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct chip chip;

        large_chip(&chip);
        chip.info.irqs[VD_IRQ_MSI].count = cases[i].host;
        chip_put16(&chip, MSI + 2, 0x0181 | cases[i].hardware << 1);
        make(&chip);
        assert_int_equal(get(&chip, MSI + 2, 2), 0x0180 | cases[i].shown << 1);
        put(&chip, MSI + 2, 0xffff, 2);
        assert_int_equal(get(&chip, MSI + 2, 2), 0x0181 | cases[i].shown << 1 | cases[i].shown << 4);
        finish(&chip);
    }
}

static void msix_offers_no_more_vectors_than_the_host(void **state)
{
    static const unsigned cases[][2] = {{1, 0}, {16, 15}, {31, 30}, {32, 31}, {2048, 31}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct chip chip;

        large_chip(&chip);
        chip.info.irqs[VD_IRQ_MSIX].count = cases[i][0];
        make(&chip);
        assert_int_equal(get(&chip, MSIX + 2, 2), cases[i][1]);
        put(&chip, MSIX + 2, 0xffff, 2);
        assert_int_equal(get(&chip, MSIX + 2, 2), 0xc000 | cases[i][1]);
        assert_int_equal(get(&chip, MSIX + 4, 4), 0x2000);
        assert_int_equal(chip.config->msix.entries, 32); /* the hardware's table is covered, whole */
        finish(&chip);
    }
}

static void the_msi_address_is_the_guests_alone(void **state)
{
    struct chip chip;

    large_chip(&chip);
    make(&chip);
    assert_int_equal(get(&chip, MSI + 4, 4), 0);
    put(&chip, MSI + 4, 0xffffffff, 4);
    put(&chip, MSI + 8, 0x11223344, 4);
    put(&chip, MSI + 12, 0xffff4242, 4);
    put(&chip, MSI + 16, 0x5, 4);
    put(&chip, MSI + 20, 0xffffffff, 4);
    assert_int_equal(get(&chip, MSI + 4, 4), 0xfffffffc);
    assert_int_equal(get(&chip, MSI + 8, 4), 0x11223344);
    assert_int_equal(get(&chip, MSI + 12, 4), 0x4242);
    assert_int_equal(get(&chip, MSI + 16, 4), 0x5);
    assert_int_equal(get(&chip, MSI + 20, 4), 0);
    assert_int_equal(chip.writes, 0);
    finish(&chip);
}

static void messages_the_host_does_not_hand_on_are_not_offered(void **state)
{
    struct chip chip;

    large_chip(&chip);
    chip.info.irqs[VD_IRQ_MSI].count = chip.info.irqs[VD_IRQ_MSIX].count = 0;
    make(&chip);
    for (unsigned at = get(&chip, 0x34, 1); at; at = get(&chip, at + 1, 1))
        assert_true(get(&chip, at, 1) != 0x05 && get(&chip, at, 1) != 0x11);
    put(&chip, MSI + 4, 0xffffffff, 4);
    put(&chip, MSIX, 0xffffffff, 4);
    assert_int_equal(get(&chip, MSI + 4, 4), 0);
    assert_int_equal(get(&chip, MSIX, 4), 0);
    assert_int_equal(chip.writes, 0);
    assert_int_equal(chip.config->msix.entries, 32); /* the table is still to be kept from the guest */
    finish(&chip);
}

static void a_table_in_no_bar_hides_msix(void **state)
{
    static const uint32_t bad[][2] = {
        {6, 0x3000}, {0x2000, 7}, {0x3f00, 0x3000}, {0x2000, 0x4000}, {1, 0x3000}};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct chip chip;

        large_chip(&chip);
        chip_put32(&chip, MSIX + 4, bad[i][0]);
        chip_put32(&chip, MSIX + 8, bad[i][1]);
        make(&chip);
        assert_int_equal(chip.config->msix.cap, 0);
        assert_int_equal(get(&chip, MSIX, 4), 0);
        assert_int_equal(chip.lines, 1);
        finish(&chip);
    }
}

static void the_table_keeps_what_a_guest_may_write(void **state)
{
    struct chip chip;
    uint8_t ones[VD_MSIX_ENTRY], entry[VD_MSIX_ENTRY];

    large_chip(&chip);
    make(&chip);
    memset(ones, 0xff, sizeof(ones));
    vd_msix_read(&chip.config->msix, 31 * VD_MSIX_ENTRY, entry, sizeof(entry));
    assert_int_equal(vd_load64(entry), 0);
    assert_int_equal(vd_load64(entry + 8), 1ull << 32); /* masked after reset */
    vd_msix_write(&chip.config->msix, 31 * VD_MSIX_ENTRY, ones, sizeof(ones));
    vd_msix_read(&chip.config->msix, 31 * VD_MSIX_ENTRY, entry, sizeof(entry));
    assert_int_equal(vd_load64(entry), 0xfffffffffffffffc);
    assert_int_equal(vd_load64(entry + 8), 0x1ffffffff);
    vd_msix_write(&chip.config->msix, 31 * VD_MSIX_ENTRY + 12, "\0\0\0\0", 4);
    vd_msix_read(&chip.config->msix, 31 * VD_MSIX_ENTRY + 8, entry, 8);
    assert_int_equal(vd_load64(entry), 0xffffffff);
    assert_int_equal(vd_config_reset(chip.config), 0);
    vd_msix_read(&chip.config->msix, 31 * VD_MSIX_ENTRY, entry, sizeof(entry));
    assert_int_equal(vd_load64(entry), 0);
    finish(&chip);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bar_sizing_shows_size_and_kind),
        cmocka_unit_test(bars_that_do_not_exist_are_hardwired_to_zero),
        cmocka_unit_test(odd_sizes_are_rounded_up),
        cmocka_unit_test(regions_that_fit_no_register_are_taken_out),
        cmocka_unit_test(msi_offers_no_more_messages_than_the_host),
        cmocka_unit_test(msix_offers_no_more_vectors_than_the_host),
        cmocka_unit_test(the_msi_address_is_the_guests_alone),
        cmocka_unit_test(messages_the_host_does_not_hand_on_are_not_offered),
        cmocka_unit_test(a_table_in_no_bar_hides_msix),
        cmocka_unit_test(the_table_keeps_what_a_guest_may_write),
    };

    return cmocka_run_group_tests_name("config_bars", tests, NULL, NULL);
}
