/* SPDX-License-Identifier: BSD-3-Clause */
/* Config space of a simulated function: what can be written, what reads back, what a reset restores. */
#include "harness.h"

#include "base/le.h"
#include "sim/config.h"

static const struct sim_identity identity = {.vendor = 0x1234,
                                             .device = 0x5678,
                                             .subvendor = 0x9abc,
                                             .subdevice = 0xdef0,
                                             .revision = 3,
                                             .class_code = 0x010802,
                                             .intx_pin = 1};

static uint32_t get(const struct sim_config *c, unsigned offset, unsigned width)
{
    uint8_t bytes[4] = {0};

    sim_config_read(c, offset, bytes, width);
    return vd_load32(bytes);
}

static unsigned put(struct sim_config *c, unsigned offset, unsigned width, uint32_t value)
{
    uint8_t bytes[4];

    vd_store32(bytes, value);
    return sim_config_write(c, offset, bytes, width);
}

static void build(struct sim_config *c)
{
    sim_config_init(c, &identity);
    sim_config_bar(c, 0, 0x4000, false, false);
    sim_config_bar(c, 2, 1ull << 33, true, true);
    sim_config_rom(c, 8192);
    sim_config_add_pm(c);
    sim_config_add_pcie(c, true);
    sim_config_add_msi(c, 8);
    sim_config_add_msix(c, 33, 0, 0x2000, 0, 0x3000);
    sim_config_seal(c);
}

static void identity_reads_back_and_ignores_writes(void **state)
{
    struct sim_config c;

    build(&c);
    for (unsigned offset = 0; offset < 0x40; offset += 4) {
        if (offset == 0 || offset == 8 || offset == 0x2c)
            put(&c, offset, 4, 0xffffffff);
    }
    assert_int_equal(get(&c, 0, 4), 0x56781234);
    assert_int_equal(get(&c, 8, 4), 0x01080203);
    assert_int_equal(get(&c, 0x2c, 4), 0xdef09abc);
    assert_int_equal(get(&c, 0x0e, 1), 0);
    assert_int_equal(get(&c, 0x3d, 1), 1);
}

static void bar_sizing_shows_size_and_type(void **state)
{
    struct sim_config c;

    build(&c);
    for (unsigned offset = 0x10; offset < 0x34; offset += 4)
        put(&c, offset, 4, 0xffffffff);
    assert_int_equal(get(&c, 0x10, 4), 0xffffc000);
    assert_int_equal(get(&c, 0x14, 4), 0);
    assert_int_equal(get(&c, 0x18, 4), 0x0000000c);
    assert_int_equal(get(&c, 0x1c, 4), 0xfffffffe);
    assert_int_equal(get(&c, 0x20, 4), 0);
    assert_int_equal(get(&c, 0x24, 4), 0);
    assert_int_equal(get(&c, 0x30, 4), 0xffffe001);
}

static void no_rom_means_a_hardwired_zero(void **state)
{
    struct sim_config c;

    sim_config_init(&c, &identity);
    put(&c, 0x30, 4, 0xffffffff);
    assert_int_equal(get(&c, 0x30, 4), 0);
    assert_int_equal(get(&c, 0x34, 1), 0);
    assert_int_equal(get(&c, 0x06, 2) & 0x10, 0);
}

static void command_keeps_only_its_writable_bits(void **state)
{
    struct sim_config c;

    build(&c);
    assert_int_equal(put(&c, 4, 2, 0xffff), SIM_CONFIG_COMMAND);
    assert_int_equal(get(&c, 4, 2), 0x0546);
    assert_true(sim_config_bus_master(&c));
    assert_true(sim_config_intx_disabled(&c));
    assert_int_equal(put(&c, 5, 1, 0), SIM_CONFIG_COMMAND);
    assert_true(sim_config_bus_master(&c));
    assert_false(sim_config_intx_disabled(&c));
    assert_int_equal(put(&c, 6, 2, 0xffff), 0);
}

static void status_errors_clear_by_writing_one(void **state)
{
    struct sim_config c;

    build(&c);
    c.bytes[7] = 0xf9;
    put(&c, 6, 2, 0x8000);
    assert_int_equal(get(&c, 6, 2), 0x7910);
    put(&c, 6, 2, 0);
    assert_int_equal(get(&c, 6, 2), 0x7910);
    put(&c, 6, 2, 0xffff);
    assert_int_equal(get(&c, 6, 2), 0x0010);
}

static void intx_status_follows_the_line_and_ignores_writes(void **state)
{
    struct sim_config c;

    build(&c);
    sim_config_set_intx_status(&c, true);
    put(&c, 6, 2, 0xffff);
    assert_int_equal(get(&c, 6, 2), 0x0018);
    sim_config_set_intx_status(&c, false);
    assert_int_equal(get(&c, 6, 2), 0x0010);
}

static void capability_chain_has_each_once_and_ends(void **state)
{
    struct sim_config c;
    unsigned seen[256] = {0};
    unsigned count = 0;

    build(&c);
    for (unsigned at = get(&c, 0x34, 1); at; at = get(&c, at + 1, 1)) {
        assert_true(at >= 0x40 && at % 4 == 0 && ++count < 16);
        seen[get(&c, at, 1)]++;
    }
    assert_int_equal(count, 4);
    assert_true(seen[1] == 1 && seen[5] == 1 && seen[0x10] == 1 && seen[0x11] == 1);
    assert_int_equal(get(&c, 0x100, 4), 0);
}

static void extended_capabilities_are_linked_from_0x100(void **state)
{
    static const unsigned expected[] = {0x15, 0x01, 0x03, 0x0f};
    struct sim_config c;
    unsigned at = 0x100, count = 0;

    sim_config_init(&c, &identity);
    assert_int_equal(sim_config_add_rebar(&c, 2, 1ull << 28), 0x100);
    sim_config_add_aer(&c);
    sim_config_add_serial(&c, 0x1122334455667788);
    sim_config_add_ats(&c);
    for (uint32_t header; at; at = header >> 20) {
        header = get(&c, at, 4);
        assert_int_equal(header & 0xffff, expected[count++]);
        assert_true(at % 4 == 0 && count <= 4);
        put(&c, at, 4, 0);
        assert_int_equal(get(&c, at, 4), header);
        if (count == 3) {
            assert_int_equal(get(&c, at + 4, 4), 0x55667788);
            assert_int_equal(get(&c, at + 8, 4), 0x11223344);
        }
    }
    assert_int_equal(count, 4);
}

static void error_registers_have_masks_and_status(void **state)
{
    struct sim_config c;

    sim_config_init(&c, &identity);
    sim_config_add_aer(&c);
    put(&c, c.aer + 8u, 4, 0xffffffff);
    assert_int_equal(get(&c, c.aer + 8u, 4), 0x003ff030);
    vd_store32(&c.bytes[c.aer + 4u], 0x00104000);
    put(&c, c.aer + 4u, 4, 0x00100000);
    assert_int_equal(get(&c, c.aer + 4u, 4), 0x00004000);
    put(&c, c.aer + 0x10u, 4, 0xffffffff);
    assert_int_equal(get(&c, c.aer + 0x10u, 4), 0);
}

/* A guest that gets here changes them, so that a test can see it. */
static void what_hosts_keep_to_themselves_can_be_written(void **state)
{
    struct sim_config c;

    sim_config_init(&c, &identity);
    sim_config_add_rebar(&c, 2, 1ull << 28);
    sim_config_add_ats(&c);
    assert_int_equal(get(&c, c.rebar + 8u, 4), 0x00000822); /* BAR 2, one BAR, 256 MiB */
    put(&c, c.rebar + 8u, 4, 0x00000f00);
    assert_int_equal(get(&c, c.rebar + 8u, 4), 0x00000f22);
    put(&c, c.ats + 6u, 2, 0xffff);
    assert_int_equal(get(&c, c.ats + 6u, 2), 0x801f);
}

static void msi_capability_states_its_messages(void **state)
{
    struct sim_config c;

    build(&c);
    assert_int_equal(get(&c, c.msi + 2u, 2), 0x0086);
    put(&c, c.msi + 2u, 2, 0xffff);
    assert_int_equal(get(&c, c.msi + 2u, 2), 0x00f7);
    put(&c, c.msi + 4u, 4, 0xffffffff);
    assert_int_equal(get(&c, c.msi + 4u, 4), 0xfffffffc);
}

static void msix_capability_states_table_and_pba(void **state)
{
    struct sim_config c;

    build(&c);
    assert_int_equal(get(&c, c.msix + 2u, 2), 32);
    assert_int_equal(get(&c, c.msix + 4u, 4), 0x2000);
    assert_int_equal(get(&c, c.msix + 8u, 4), 0x3000);
    put(&c, c.msix + 2u, 2, 0xffff);
    assert_int_equal(get(&c, c.msix + 2u, 2), 0xc020);
}

static void flr_bit_reports_and_reads_as_zero(void **state)
{
    struct sim_config c;
    unsigned devctl;

    build(&c);
    devctl = c.pcie + 8u;
    assert_int_equal(put(&c, devctl, 2, 0xa810), SIM_CONFIG_FLR);
    assert_int_equal(get(&c, devctl, 2), 0x2810);
    assert_int_equal(put(&c, devctl + 1, 1, 0x80), SIM_CONFIG_FLR);
    assert_int_equal(put(&c, devctl, 1, 0x80), 0);
    assert_int_equal(put(&c, devctl, 2, 0x2810), 0);
}

static void flr_bit_does_nothing_without_the_capability(void **state)
{
    struct sim_config c;

    sim_config_init(&c, &identity);
    sim_config_add_pcie(&c, false);
    assert_int_equal(put(&c, c.pcie + 8u, 2, 0x8000), 0);
}

static void power_states_that_do_not_exist_are_dropped(void **state)
{
    struct sim_config c;

    build(&c);
    assert_int_equal(put(&c, c.pm + 4u, 2, 1), SIM_CONFIG_POWER);
    assert_true(sim_config_powered(&c));
    put(&c, c.pm + 4u, 2, 3);
    assert_false(sim_config_powered(&c));
    put(&c, c.pm + 4u, 2, 2);
    assert_int_equal(get(&c, c.pm + 4u, 2), 0x000b);
    put(&c, c.pm + 4u, 2, 0);
    assert_true(sim_config_powered(&c));
}

static void reset_restores_all_but_what_belongs_to_the_link(void **state)
{
    struct sim_config c, fresh;
    uint8_t ones[SIM_CONFIG_SIZE];

    build(&c);
    fresh = c;
    memset(ones, 0xff, sizeof(ones));
    sim_config_write(&c, 0, ones, sizeof(ones));
    sim_config_reset(&c);
    assert_int_equal(get(&c, c.pcie + 8u, 2), 0x28f0);
    assert_int_equal(get(&c, c.pcie + 0x10u, 2), 0x01cb);
    vd_store16(&c.bytes[c.pcie + 8u], 0x2810);
    vd_store16(&c.bytes[c.pcie + 0x10u], 0);
    vd_store16(&c.bytes[c.pcie + 0x30u], 3);
    assert_memory_equal(c.bytes, fresh.bytes, SIM_CONFIG_SIZE);
}

static void writes_of_any_length_equal_byte_writes(void **state)
{
    struct sim_config whole, bytes;
    uint8_t pattern[256];

    build(&whole);
    build(&bytes);
    for (unsigned i = 0; i < sizeof(pattern); i++)
        pattern[i] = (uint8_t)(i * 37 + 11);
    sim_config_write(&whole, 0, pattern, sizeof(pattern));
    for (unsigned i = 0; i < sizeof(pattern); i++)
        sim_config_write(&bytes, i, &pattern[i], 1);
    assert_memory_equal(whole.bytes, bytes.bytes, SIM_CONFIG_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identity_reads_back_and_ignores_writes),
        cmocka_unit_test(bar_sizing_shows_size_and_type),
        cmocka_unit_test(no_rom_means_a_hardwired_zero),
        cmocka_unit_test(command_keeps_only_its_writable_bits),
        cmocka_unit_test(status_errors_clear_by_writing_one),
        cmocka_unit_test(intx_status_follows_the_line_and_ignores_writes),
        cmocka_unit_test(capability_chain_has_each_once_and_ends),
        cmocka_unit_test(extended_capabilities_are_linked_from_0x100),
        cmocka_unit_test(error_registers_have_masks_and_status),
        cmocka_unit_test(what_hosts_keep_to_themselves_can_be_written),
        cmocka_unit_test(msi_capability_states_its_messages),
        cmocka_unit_test(msix_capability_states_table_and_pba),
        cmocka_unit_test(flr_bit_reports_and_reads_as_zero),
        cmocka_unit_test(flr_bit_does_nothing_without_the_capability),
        cmocka_unit_test(power_states_that_do_not_exist_are_dropped),
        cmocka_unit_test(reset_restores_all_but_what_belongs_to_the_link),
        cmocka_unit_test(writes_of_any_length_equal_byte_writes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
