/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Virtual config space: what the rows say about themselves, what a guest sees, and what of its writes the hardware
 * sees. BARs and messages have config_bars_test.c; power, resets and opening have config_reset_test.c.
 */
#include "guest.h"
#include "large_chip.h"

/* What the rows say. */

static uint32_t all_bits(const struct vd_config_row *row)
{
    return row->width == 4 ? UINT32_MAX : (1u << 8 * row->width) - 1;
}

static void rows_have_a_reason_and_masks_that_agree(void **state)
{
    for (size_t i = 0; i < vd_config_nr_rows; i++) {
        const struct vd_config_row *row = &vd_config_rows[i];

        assert_true(row->reason && row->reason[0]);
        assert_true(row->width == 1 || row->width == 2 || row->width == 4);
        assert_int_equal(row->offset % row->width, 0);
        assert_int_equal((row->kept | row->guest | row->forward | row->zero) & ~all_bits(row), 0);
        assert_true(row->kept || row->guest || row->restore);
        assert_int_equal(row->forward & ~row->guest, 0); /* nothing goes down that is not the guest's */
        assert_int_equal(row->guest & ~(row->kept | row->forward), 0); /* what it writes goes somewhere */
        assert_int_equal(row->zero & row->kept, 0);
        assert_true(row->of == VD_CONFIG_HEADER || row->offset >= (row->of & VD_EXT_CAP(0) ? 4 : 2));
    }
}

static bool same_register(const struct vd_config_row *a, const struct vd_config_row *b)
{
    bool layouts = !a->layouts || !b->layouts || a->layouts & b->layouts;

    return a->of == b->of && layouts && a->offset < b->offset + b->width && b->offset < a->offset + a->width;
}

static uint64_t claimed(const struct vd_config_row *row, unsigned from)
{
    return (uint64_t)(row->kept | row->guest) << 8 * (row->offset - from);
}

static void rows_of_a_register_claim_different_bits(void **state)
{
    for (size_t i = 0; i < vd_config_nr_rows; i++) {
        for (size_t j = i + 1; j < vd_config_nr_rows; j++) {
            const struct vd_config_row *a = &vd_config_rows[i], *b = &vd_config_rows[j];
            unsigned from = a->offset < b->offset ? a->offset : b->offset;

            if (same_register(a, b) && claimed(a, from) & claimed(b, from))
                fail_msg("row %zu and row %zu both claim bits of 0x%x + 0x%x", i, j, a->of, a->offset);
        }
    }
}

static void every_bit_of_the_header_has_a_row_or_is_status(void **state)
{
    uint8_t covered[VD_CONFIG_HEADER_SIZE] = {0};

    for (size_t i = 0; i < vd_config_nr_rows; i++) {
        const struct vd_config_row *row = &vd_config_rows[i];

        for (unsigned b = 0; row->of == VD_CONFIG_HEADER && b < row->width; b++)
            covered[row->offset + b] |= (uint8_t)((row->kept | row->guest) >> 8 * b);
    }
    for (unsigned i = 0; i < VD_CONFIG_HEADER_SIZE; i++) {
        uint8_t through = i == 6 ? 0xef : i == 7 ? 0x06 : 0;

        assert_int_equal(covered[i], (uint8_t)~through);
    }
}

static void a_register_has_at_most_one_effect(void **state)
{
    unsigned effects[VD_CONFIG_EFFECTS] = {0};

    for (size_t i = 0; i < vd_config_nr_rows; i++) {
        assert_true((unsigned)vd_config_rows[i].effect < VD_CONFIG_EFFECTS);
        if (vd_config_rows[i].effect)
            assert_int_equal(effects[vd_config_rows[i].effect]++, 0);
    }
}

/* The host's bits. */

static void random_write(struct chip *chip, uint64_t *seed)
{
    uint64_t r = unit_random(seed);
    uint8_t bytes[16];
    unsigned count = 1u << (r & 3) % 3, offset;

    if ((r >> 2 & 15) == 0)
        count = 1 + (r >> 6) % sizeof(bytes);
    offset = (unsigned)(r >> 12) % (r >> 10 & 3 ? 0x280u : VD_CONFIG_SIZE);
    if ((r >> 2 & 15) != 0)
        offset -= offset % count;
    if (offset + count > VD_CONFIG_SIZE)
        offset = VD_CONFIG_SIZE - count;
    vd_store64(bytes, unit_random(seed));
    vd_store64(bytes + 8, unit_random(seed));
    if ((r >> 60) == 0)
        memset(bytes, 0xff, sizeof(bytes));
    assert_int_equal(vd_config_write(chip->config, offset, bytes, count), 0);
}

static void no_guest_write_ever_changes_a_bit_of_the_hosts(void **state)
{
    struct chip chip;
    uint64_t seed = 0x5eed;

    large_chip(&chip);
    memset(chip.lost + 4, 0xff, 0x30);     /* a reset forgets COMMAND, the BARs, the ROM's BAR ... */
    memset(chip.lost + PCIE + 8, 0xff, 2); /* ... and what the host set in the capability */
    memset(chip.lost + PCIE + 0x10, 0xff, 2);
    memset(chip.lost + LTR + 4, 0xff, 4);
    memset(chip.lost + 8, 0, 8);
    memset(chip.lost + 0x28, 0, 8);
    chip_put32(&chip, LTR + 4, 0x10031003);
    chip_put16(&chip, VPD + 2, 0);
    make(&chip);
    chip_watch(&chip);
    for (unsigned i = 0; i < 1000000; i++) {
        random_write(&chip, &seed);
        if (chip.violations)
            fail_msg("write %u changed the host's bits at 0x%x", i, chip.last_offset);
    }
    assert_true(chip.resets > 1000 && chip.writes > 100000);
    for (unsigned i = 0; i < VD_CONFIG_SIZE; i++)
        assert_int_equal((chip.bytes[i] ^ chip.baseline[i]) & chip.owned[i], 0);
    finish(&chip);
}

static void memory_decoding_stays_on_whatever_the_guest_writes(void **state)
{
    struct chip chip;

    chip_init(&chip);
    make(&chip);
    assert_int_equal(chip_get16(&chip, 4), 0x0003); /* the host's I/O bit is left alone; mastering went off */
    put(&chip, 4, 0x0002, 2);
    assert_int_equal(get(&chip, 4, 2), 0x0002);
    put(&chip, 4, 0, 2);
    assert_int_equal(get(&chip, 4, 2), 0);
    assert_int_equal(chip_get16(&chip, 4), 0x0003);
    put(&chip, 4, 0xffff, 2);
    assert_int_equal(get(&chip, 4, 2), 0x0546);
    assert_int_equal(chip_get16(&chip, 4), 0x0547);
    finish(&chip);
}

static void bus_mastering_is_forwarded_at_once(void **state)
{
    struct chip chip;

    chip_init(&chip);
    make(&chip);
    put(&chip, 4, 0x04, 1);
    assert_int_equal(chip_get16(&chip, 4) & 4, 4);
    put(&chip, 5, 0x04, 1);
    assert_int_equal(chip_get16(&chip, 4), 0x0407);
    put(&chip, 4, 0, 1);
    assert_int_equal(chip_get16(&chip, 4), 0x0403);
    put(&chip, 4, 0xf9000004, 4);
    assert_int_equal(chip_get16(&chip, 4), 0x0007);
    finish(&chip);
}

static void a_line_that_nobody_hears_stays_disabled(void **state)
{
    struct chip chip;

    chip_init(&chip);
    chip.info.irqs[VD_IRQ_INTX].count = 0;
    make(&chip);
    assert_int_equal(get(&chip, 0x3d, 1), 0);
    put(&chip, 4, 0, 2);
    assert_int_equal(chip_get16(&chip, 4) & 0x400, 0x400);
    put(&chip, 4, 0x400, 2);
    assert_int_equal(get(&chip, 4, 2), 0x400);
    finish(&chip);
}

static void error_status_is_cleared_by_writing_one_and_only_that(void **state)
{
    struct chip chip;

    chip_init(&chip);
    chip_put16(&chip, 6, 0xf900 | 0x0008);
    make(&chip);
    assert_int_equal(get(&chip, 6, 2), 0xf908);
    put(&chip, 4, 0x40000000, 4);
    assert_int_equal(chip_get16(&chip, 6), 0xb908);
    assert_int_equal(chip.last_width, 1);
    chip.writes = 0;
    put(&chip, 6, 0x00ff, 2); /* nothing there to clear: no access */
    assert_int_equal(chip.writes, 0);
    put(&chip, 6, 0xffff, 2);
    assert_int_equal(chip_get16(&chip, 6), 0x0008);
    finish(&chip);
}

/* What the guest sees. */

static void the_header_is_that_of_a_lone_function(void **state)
{
    struct chip chip;

    chip_init(&chip);
    chip_put32(&chip, 0x28, 0x12345678);
    chip_put8(&chip, 0x0d, 0x40);
    chip_put8(&chip, 0x0f, 0x80);
    make(&chip);
    assert_int_equal(get(&chip, 0x00, 4), 0x56781234);
    assert_int_equal(get(&chip, 0x08, 4), 0x01080203);
    assert_int_equal(get(&chip, 0x0c, 4), 0);
    assert_int_equal(get(&chip, 0x28, 4), 0);
    assert_int_equal(get(&chip, 0x2c, 4), 0xdef09abc);
    assert_int_equal(get(&chip, 0x34, 4), 0);
    assert_int_equal(get(&chip, 0x3c, 2), 0x0100);
    put(&chip, 0x3c, 0xff0b, 2);
    assert_int_equal(get(&chip, 0x3c, 2), 0x010b);
    put(&chip, 0x0c, 0xffffff10, 4);
    assert_int_equal(get(&chip, 0x0c, 4), 0x10);
    finish(&chip);
}

static void what_is_kept_costs_no_access(void **state)
{
    static const unsigned kept[] = {0x00,     0x08,       0x0c,   0x10, 0x24,    0x2c, 0x30,     0x34,
                                    0x3c,     PM,         PM + 4, MSI,  MSI + 4, MSIX, MSIX + 4, PCIE,
                                    PCIE + 4, PCIE + 0xc, REBAR,  ACS,  ATS + 4, AER,  AER + 8};
    struct chip chip;

    large_chip(&chip);
    make(&chip);
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        (void)get(&chip, kept[i], 4);
    put(&chip, 0x10, 0xffffffff, 4);
    put(&chip, 0x3c, 5, 1);
    put(&chip, MSI + 4, 0xfee00000, 4);
    put(&chip, MSIX + 2, 0xc000, 2);
    put(&chip, PCIE + 0x10, 3, 2);
    assert_int_equal(chip.reads + chip.writes, 0);
    (void)get(&chip, 6, 2);
    (void)get(&chip, PCIE + 0x12, 2);
    assert_int_equal(chip.reads, 2);
    finish(&chip);
}

static void reads_of_any_length_equal_byte_reads(void **state)
{
    struct chip chip;
    uint8_t whole[VD_CONFIG_SIZE], part[64];
    uint64_t seed = 3;

    large_chip(&chip);
    make(&chip);
    assert_int_equal(vd_config_read(chip.config, 0, whole, sizeof(whole)), 0);
    for (unsigned i = 0; i < VD_CONFIG_SIZE; i++)
        assert_int_equal(get(&chip, i, 1), whole[i]);
    for (unsigned i = 0; i < 2000; i++) {
        unsigned offset = unit_random(&seed) % (VD_CONFIG_SIZE - sizeof(part));
        unsigned count = 1 + unit_random(&seed) % sizeof(part);

        assert_int_equal(vd_config_read(chip.config, offset, part, count), 0);
        assert_memory_equal(part, whole + offset, count);
    }
    finish(&chip);
}

static void device_specific_registers_pass_as_they_are(void **state)
{
    struct chip chip;

    large_chip(&chip);
    make(&chip);
    put(&chip, GAP, 0xa5, 1);
    assert_int_equal(chip.bytes[GAP], 0xa5);
    assert_int_equal(chip.last_width, 1);
    put(&chip, VENDOR + 4, 0x12345678, 4);
    assert_int_equal(chip_get32(&chip, VENDOR + 4), 0x12345678);
    assert_int_equal(chip.last_width, 4);
    put(&chip, VSEC + 8, 0xbeef, 2);
    assert_int_equal(chip_get16(&chip, VSEC + 8), 0xbeef);
    put(&chip, EXT_GAP + 0x100, 0xffffffff, 4);
    assert_int_equal(chip_get32(&chip, EXT_GAP + 0x100), 0xffffffff);
    assert_int_equal(chip.reads, 0); /* nothing was read to be written again: registers may act on reads */
    assert_int_equal(get(&chip, VENDOR + 4, 4), 0x12345678);
    finish(&chip);
}

/* PCI Express, VPD, errors. */

static void payload_and_read_request_sizes_are_kept_not_written(void **state)
{
    struct chip chip;

    large_chip(&chip);
    make(&chip);
    assert_int_equal(get(&chip, PCIE + 8, 2), 0x2830);
    put(&chip, PCIE + 8, 0x50ff, 2);
    assert_int_equal(get(&chip, PCIE + 8, 2), 0x50ff);
    assert_int_equal(chip_get16(&chip, PCIE + 8), 0x2830);
    put(&chip, PCIE + 8, 0x0000, 2); /* relaxed ordering is the function's own */
    assert_int_equal(chip_get16(&chip, PCIE + 8), 0x2820);
    assert_int_equal(get(&chip, PCIE + 8, 2), 0);
    assert_int_equal(get(&chip, PCIE + 4, 4), 0x10008021); /* no phantom functions */
    assert_int_equal(get(&chip, PCIE + 0x24, 4), 0x00000050);
    assert_int_equal(get(&chip, PCIE + 0x28, 2), 0);
    finish(&chip);
}

static void the_link_is_never_retrained(void **state)
{
    struct chip chip;

    large_chip(&chip);
    make(&chip);
    put(&chip, PCIE + 0x10, 0xffffffff, 4);
    put(&chip, PCIE + 0x30, 0xffff, 2);
    assert_int_equal(get(&chip, PCIE + 0x10, 2), 0x03cb);
    assert_int_equal(get(&chip, PCIE + 0x30, 2), 0xffff);
    assert_int_equal(chip.writes, 0);
    finish(&chip);
}

static void device_status_is_cleared_without_touching_device_control(void **state)
{
    struct chip chip;

    large_chip(&chip);
    chip_put16(&chip, PCIE + 0xa, 0x000f);
    make(&chip);
    put(&chip, PCIE + 8, 0x00052830, 4);
    assert_int_equal(chip_get16(&chip, PCIE + 0xa), 0x000a);
    assert_int_equal(chip_get16(&chip, PCIE + 8), 0x2830);
    finish(&chip);
}

static void error_masks_are_kept_and_error_status_reads_through(void **state)
{
    struct chip chip;

    large_chip(&chip);
    make(&chip);
    put(&chip, AER + 8, 0x00400000, 4);
    put(&chip, AER + 0xc, 0, 4);
    put(&chip, AER + 0x18, 0xffffffff, 4);
    put(&chip, AER + 4, 0xffffffff, 4);
    assert_int_equal(get(&chip, AER + 8, 4), 0x00400000);
    assert_int_equal(get(&chip, AER + 0xc, 4), 0);
    assert_int_equal(get(&chip, AER + 0x18, 4), 0x140);
    assert_int_equal(get(&chip, AER + 4, 4), 0x00100000);
    chip_put32(&chip, AER + 4, 0x00004000);
    assert_int_equal(get(&chip, AER + 4, 4), 0x00004000);
    assert_int_equal(chip.writes, 0);
    finish(&chip);
}

static void product_data_can_be_read_and_not_written(void **state)
{
    struct chip chip;

    large_chip(&chip);
    make(&chip);
    put(&chip, VPD + 4, 0x41424344, 4);
    assert_int_equal(chip.writes, 0);
    put(&chip, VPD + 2, 0x8004, 2);
    assert_int_equal(chip_get16(&chip, VPD + 2), 0x0004);
    chip_put16(&chip, VPD + 2, 0x8004); /* the read is over */
    put(&chip, VPD + 2, 0x0008, 2);
    assert_int_equal(chip_get16(&chip, VPD + 2), 0x0008); /* and is not written back as a write */
    finish(&chip);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_have_a_reason_and_masks_that_agree),
        cmocka_unit_test(rows_of_a_register_claim_different_bits),
        cmocka_unit_test(every_bit_of_the_header_has_a_row_or_is_status),
        cmocka_unit_test(a_register_has_at_most_one_effect),
        cmocka_unit_test(no_guest_write_ever_changes_a_bit_of_the_hosts),
        cmocka_unit_test(memory_decoding_stays_on_whatever_the_guest_writes),
        cmocka_unit_test(bus_mastering_is_forwarded_at_once),
        cmocka_unit_test(a_line_that_nobody_hears_stays_disabled),
        cmocka_unit_test(error_status_is_cleared_by_writing_one_and_only_that),
        cmocka_unit_test(the_header_is_that_of_a_lone_function),
        cmocka_unit_test(what_is_kept_costs_no_access),
        cmocka_unit_test(reads_of_any_length_equal_byte_reads),
        cmocka_unit_test(device_specific_registers_pass_as_they_are),
        cmocka_unit_test(payload_and_read_request_sizes_are_kept_not_written),
        cmocka_unit_test(the_link_is_never_retrained),
        cmocka_unit_test(device_status_is_cleared_without_touching_device_control),
        cmocka_unit_test(error_masks_are_kept_and_error_status_reads_through),
        cmocka_unit_test(product_data_can_be_read_and_not_written),
    };

    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
