/* SPDX-License-Identifier: BSD-3-Clause */
/* A function that is pulled out while it is used; and the reset that comes from the link, which needs no capability. */
#include "machine.h"

#include <poll.h>

enum { HEADER_TYPE = 0x0e, DEVCTL = 8, MPS_512 = 0x0040, MPS_MASK = 0x00e0 };

static bool poll_fd_is_readable(struct machine *m)
{
    struct pollfd pollfd = {.fd = sim_function_poll_fd(m->function), .events = POLLIN};

    return poll(&pollfd, 1, 0) == 1;
}

static void pulled_function_reads_all_ones(void **state)
{
    struct machine *m = machine_start("");
    uint8_t rom[4];

    sim_function_unplug(m->function);
    assert_int_equal(config_read(m, 0), 0xffff);
    assert_int_equal(config_read(m, 4), 0xffff);
    assert_true(reg_read(m, EDU_ID, 8) == UINT64_MAX);
    assert_true(reg_read(m, EDU_MSIX_TABLE, 8) == UINT64_MAX);
    sim_function_rom_read(m->function, 0, rom, sizeof(rom));
    assert_int_equal(vd_load32(rom), UINT32_MAX);
    machine_stop(m, 0);
}

static void pulled_function_takes_no_writes(void **state)
{
    struct machine *m = machine_start("");
    unsigned pcie = find_cap(m, 0x10);

    sim_function_unplug(m->function);
    bus_master(m, true);
    start_copy(m, RAM, RAM + 0x1000, 16, 0);
    config_write(m, pcie + DEVCTL, 0x8000); /* a function-level reset */
    sim_function_reset(m->function);
    sim_function_hot_reset(m->function);
    run(m);
    assert_int_equal(config_read(m, 4), 0xffff);
    machine_stop(m, 0);
}

static void pulling_ends_a_copy_without_a_fault(void **state)
{
    struct machine *m = machine_start("");

    memset(m->ram, 7, 4 * EDU_CHUNK);
    start_copy(m, RAM, RAM + 0x80000, 4 * EDU_CHUNK, 0);
    assert_true(sim_function_dispatch(m->function, false));
    sim_function_unplug(m->function);
    assert_false(sim_function_dispatch(m->function, true));
    assert_int_equal(m->ram[0x80000 + EDU_CHUNK - 1], 7);
    assert_int_equal(m->ram[0x80000 + EDU_CHUNK], 0);
    machine_stop(m, 0);
}

static void pulled_function_sends_no_interrupt(void **state)
{
    struct machine *m = machine_start("");

    sim_function_irq_enable(m->function, SIM_IRQ_MSIX, 8);
    reg_write(m, EDU_RAISE_ALL, 8, 4);
    sim_function_unplug(m->function);
    sim_function_irq_enable(m->function, SIM_IRQ_MSIX, 8);
    run(m);
    assert_int_equal(m->nr_messages, 0);
    machine_stop(m, 0);
}

static void pulling_drops_the_interrupt_line(void **state)
{
    struct machine *m = machine_start("irq=intx");

    sim_function_irq_enable(m->function, SIM_IRQ_INTX, 1);
    reg_write(m, EDU_RAISE, 0, 4);
    run(m);
    assert_true(m->intx);
    sim_function_unplug(m->function);
    assert_false(m->intx);
    machine_stop(m, 0);
}

static void pulled_function_is_quiet(void **state)
{
    struct machine *m = machine_start("");

    reg_write(m, EDU_RAISE, 0, 4);
    assert_true(poll_fd_is_readable(m));
    sim_function_unplug(m->function);
    assert_false(poll_fd_is_readable(m));
    reg_write(m, EDU_RAISE, 0, 4);
    assert_false(poll_fd_is_readable(m));
    assert_false(sim_function_dispatch(m->function, true));
    machine_stop(m, 0);
}

static unsigned resets_seen;

static void counting_reset(void *endpoint)
{
    resets_seen++;
    sim_edu_ops.reset(endpoint);
}

/* Its reset() promises that accesses in flight are finished, those of helper threads too. */
static void pulling_brings_the_endpoint_to_rest(void **state)
{
    struct machine *m = machine_start("");
    struct sim_endpoint_ops ops = sim_edu_ops;
    struct sim_option_set set = {ops.options, ops.nr_options, NULL};
    struct sim_function_events events = {machine_on_msi, machine_on_intx, m};
    struct sim_function *function;

    ops.reset = counting_reset;
    set.values = vd_env_alloc(&m->h.env, 1, ops.values_size);
    assert_int_equal(sim_options_parse(&m->h.env, "sim:edu", "", &set, 1, NULL), 0);
    assert_int_equal(sim_machine_plug(m->machine, &ops, "sim:edu", set.values, &events, &function, NULL), 0);
    resets_seen = 0;
    sim_function_unplug(function);
    assert_int_equal(resets_seen, 1);
    machine_stop(m, 0);
}

static void mappings_of_a_pulled_function_can_be_unmapped(void **state)
{
    struct machine *m = machine_start("");

    sim_function_unplug(m->function);
    sim_function_unplug(m->function);
    sim_dart_unmap(m->dart, m->ram_mapping);
    m->ram_mapping = NULL;
    assert_int_equal(sim_dart_mapped_count(m->dart), 0);
    machine_stop(m, 0);
}

static void hot_reset_needs_no_capability(void **state)
{
    struct machine *m = machine_start("flr=off");
    unsigned pcie = find_cap(m, 0x10);

    config_write(m, pcie + DEVCTL, 0x8000);
    assert_int_equal(reg_read(m, EDU_RESETS, 8), 0);
    reg_write(m, EDU_SCRATCH, 5, 8);
    sim_function_hot_reset(m->function);
    assert_int_equal(reg_read(m, EDU_RESETS, 8), 1);
    assert_int_equal(reg_read(m, EDU_SCRATCH, 8), 0);
    assert_int_equal(config_read(m, 4), 0);
    machine_stop(m, 0);
}

static void hot_reset_ends_a_copy_without_a_fault(void **state)
{
    struct machine *m = machine_start("");

    start_copy(m, RAM, RAM + 0x80000, 4 * EDU_CHUNK, 0);
    sim_function_dispatch(m->function, false);
    sim_function_hot_reset(m->function);
    run(m);
    bus_master(m, true);
    assert_int_equal(reg_read(m, EDU_STATUS, 4), 0);
    machine_stop(m, 0);
}

static void hot_reset_clears_what_a_function_reset_keeps(void **state)
{
    struct machine *m = machine_start("");
    unsigned devctl = find_cap(m, 0x10) + DEVCTL;

    config_write(m, devctl, MPS_512);
    sim_function_reset(m->function);
    assert_int_equal(config_read(m, devctl) & MPS_MASK, MPS_512);
    sim_function_hot_reset(m->function);
    assert_int_equal(config_read(m, devctl) & MPS_MASK, 0);
    machine_stop(m, 0);
}

static void multifunction_bit_outlives_resets(void **state)
{
    struct machine *m = machine_start("");

    assert_int_equal(config_read(m, HEADER_TYPE) & 0xff, 0);
    sim_function_set_multifunction(m->function);
    assert_int_equal(config_read(m, HEADER_TYPE) & 0xff, 0x80);
    sim_function_reset(m->function);
    sim_function_hot_reset(m->function);
    assert_int_equal(config_read(m, HEADER_TYPE) & 0xff, 0x80);
    machine_stop(m, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pulled_function_reads_all_ones),
        cmocka_unit_test(pulled_function_takes_no_writes),
        cmocka_unit_test(pulling_ends_a_copy_without_a_fault),
        cmocka_unit_test(pulled_function_sends_no_interrupt),
        cmocka_unit_test(pulling_drops_the_interrupt_line),
        cmocka_unit_test(pulled_function_is_quiet),
        cmocka_unit_test(pulling_brings_the_endpoint_to_rest),
        cmocka_unit_test(mappings_of_a_pulled_function_can_be_unmapped),
        cmocka_unit_test(hot_reset_needs_no_capability),
        cmocka_unit_test(hot_reset_ends_a_copy_without_a_fault),
        cmocka_unit_test(hot_reset_clears_what_a_function_reset_keeps),
        cmocka_unit_test(multifunction_bit_outlives_resets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
