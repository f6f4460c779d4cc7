/* SPDX-License-Identifier: BSD-3-Clause */
/* The bus: bus mastering, interrupts of each kind, MSI-X structures, power, reset, waking, and creation under shortage. */
#include "machine.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "sim/os.h"

static void raise_irq(struct machine *m, unsigned vector)
{
    reg_write(m, EDU_RAISE, vector, 4);
    run(m);
}

static void dma_without_bus_mastering_is_refused_and_counted(void **state)
{
    struct machine *m = machine_start("");

    bus_master(m, false);
    start_copy(m, RAM, RAM + 0x1000, 16, 0);
    run(m);
    expect_status(m, EDU_FAILED, EDU_ERROR_READ);
    assert_int_equal(sim_dart_last_fault(m->dart).iova, RAM);
    bus_master(m, true);
    start_copy(m, RAM, RAM + 0x1000, 16, 0);
    run(m);
    assert_int_equal(reg_read(m, EDU_STATUS, 4), EDU_DONE);
    machine_stop(m, 1);
}

static void copy_stops_when_bus_mastering_goes_off(void **state)
{
    struct machine *m = machine_start("");

    start_copy(m, RAM, RAM + 0x80000, 4 * EDU_CHUNK, 0);
    sim_function_dispatch(m->function, false);
    bus_master(m, false);
    memset(m->ram, 0xee, EDU_CHUNK * 4);
    run(m);
    expect_status(m, EDU_FAILED, EDU_ERROR_READ);
    assert_int_equal(m->ram[0x80000 + EDU_CHUNK], 0);
    machine_stop(m, 1);
}

static void sleeping_function_does_no_dma_and_reads_ones(void **state)
{
    struct machine *m = machine_start("");
    unsigned pmcsr = find_cap(m, 1) + 4;

    start_copy(m, RAM, RAM + 0x1000, 16, 0);
    config_write(m, pmcsr, 3);
    assert_true(reg_read(m, EDU_ID, 8) == UINT64_MAX);
    reg_write(m, EDU_SCRATCH, 9, 8);
    run(m);
    config_write(m, pmcsr, 0);
    expect_status(m, EDU_FAILED, EDU_ERROR_READ);
    assert_int_equal(reg_read(m, EDU_SCRATCH, 8), 0);
    machine_stop(m, 1);
}

static void msix_vectors_are_sent_as_raised(void **state)
{
    struct machine *m = machine_start("vectors=70");

    sim_function_irq_enable(m->function, SIM_IRQ_MSIX, 70);
    raise_irq(m, 0);
    raise_irq(m, 69);
    raise_irq(m, 69);
    assert_int_equal(m->last_kind, SIM_IRQ_MSIX);
    assert_int_equal(m->messages[0], 1);
    assert_int_equal(m->messages[69], 2);
    reg_write(m, EDU_RAISE_ALL, 70, 4);
    run(m);
    assert_int_equal(m->nr_messages, 73);
    reg_write(m, EDU_RAISE, 70, 4);
    assert_int_equal(reg_read(m, EDU_ERROR, 4), EDU_ERROR_VECTOR);
    assert_int_equal(m->intx_changes, 0);
    machine_stop(m, 0);
}

static void msix_beyond_the_enabled_vectors_is_pending_until_they_are(void **state)
{
    struct machine *m = machine_start("vectors=8");

    sim_function_irq_enable(m->function, SIM_IRQ_MSIX, 1);
    raise_irq(m, 5);
    assert_int_equal(m->nr_messages, 0);
    assert_int_equal(reg_read(m, EDU_MSIX_PBA, 8), 1u << 5);
    sim_function_irq_enable(m->function, SIM_IRQ_MSIX, 4);
    assert_int_equal(m->nr_messages, 0);
    sim_function_irq_enable(m->function, SIM_IRQ_MSIX, 8);
    assert_int_equal(m->messages[5], 1);
    assert_int_equal(reg_read(m, EDU_MSIX_PBA, 8), 0);
    machine_stop(m, 0);
}

static void msix_table_is_kept_and_steers_nothing(void **state)
{
    struct machine *m = machine_start("vectors=8");
    unsigned msix = find_cap(m, 0x11);

    assert_int_equal(reg_read(m, EDU_MSIX_TABLE + 12, 4), 1);
    reg_write(m, EDU_MSIX_TABLE + 16, 0xfee00000, 8);
    reg_write(m, EDU_MSIX_PBA, 0xff, 8);
    assert_int_equal(reg_read(m, EDU_MSIX_TABLE + 16, 8), 0xfee00000);
    assert_int_equal(reg_read(m, EDU_MSIX_PBA, 8), 0);
    assert_int_equal(reg_read(m, EDU_ACCESSES, 8), 1);
    config_write(m, msix + 2, 0x8000);
    raise_irq(m, 1);
    assert_int_equal(m->nr_messages, 0);
    sim_function_irq_enable(m->function, SIM_IRQ_MSIX, 8);
    config_write(m, msix + 2, 0);
    raise_irq(m, 1);
    assert_int_equal(m->nr_messages, 1);
    sim_function_reset(m->function);
    assert_int_equal(reg_read(m, EDU_MSIX_TABLE + 16, 8), 0);
    machine_stop(m, 0);
}

static void msi_beyond_the_granted_messages_wraps(void **state)
{
    struct machine *m = machine_start("irq=msi,vectors=8");

    assert_int_equal(sim_function_info(m->function)->msix_vectors, 0);
    assert_int_equal(sim_function_info(m->function)->msi_vectors, 8);
    sim_function_irq_enable(m->function, SIM_IRQ_MSI, 2);
    raise_irq(m, 1);
    raise_irq(m, 6);
    assert_int_equal(m->last_kind, SIM_IRQ_MSI);
    assert_int_equal(m->messages[1], 1);
    assert_int_equal(m->messages[0], 1);
    assert_int_equal(reg_read(m, EDU_IRQ_KIND, 4), SIM_IRQ_MSI);
    machine_stop(m, 0);
}

static void messages_need_bus_mastering(void **state)
{
    struct machine *m = machine_start("");

    sim_function_irq_enable(m->function, SIM_IRQ_MSIX, 8);
    bus_master(m, false);
    raise_irq(m, 0);
    assert_int_equal(m->nr_messages, 0);
    bus_master(m, true);
    raise_irq(m, 0);
    assert_int_equal(m->nr_messages, 1);
    machine_stop(m, 0);
}

static void disabling_another_kind_changes_nothing(void **state)
{
    struct machine *m = machine_start("");

    sim_function_irq_enable(m->function, SIM_IRQ_MSIX, 8);
    sim_function_irq_enable(m->function, SIM_IRQ_INTX, 0);
    raise_irq(m, 3);
    assert_int_equal(m->messages[3], 1);
    sim_function_irq_enable(m->function, SIM_IRQ_MSIX, 0);
    raise_irq(m, 3);
    assert_int_equal(m->nr_messages, 1);
    machine_stop(m, 0);
}

static void intx_is_a_level_until_acknowledged(void **state)
{
    struct machine *m = machine_start("irq=intx");

    assert_int_equal(sim_function_info(m->function)->msi_vectors, 0);
    sim_function_irq_enable(m->function, SIM_IRQ_INTX, 1);
    assert_int_equal(config_read(m, 0x3c) >> 8, 1);
    raise_irq(m, 0);
    assert_true(m->intx);
    assert_int_equal(config_read(m, 6) & 8, 8);
    assert_int_equal(reg_read(m, EDU_CAUSE, 4), EDU_CAUSE_RAISED);
    raise_irq(m, 0);
    assert_int_equal(m->intx_changes, 1);
    reg_write(m, EDU_CAUSE, EDU_CAUSE_RAISED, 4);
    assert_false(m->intx);
    assert_int_equal(config_read(m, 6) & 8, 0);
    machine_stop(m, 0);
}

static void command_masks_intx_but_status_shows_it(void **state)
{
    struct machine *m = machine_start("irq=intx");

    sim_function_irq_enable(m->function, SIM_IRQ_INTX, 1);
    config_write(m, 4, 0x406);
    raise_irq(m, 0);
    assert_false(m->intx);
    assert_int_equal(config_read(m, 6) & 8, 8);
    config_write(m, 4, 0x006);
    assert_true(m->intx);
    config_write(m, 4, 0x406);
    assert_false(m->intx);
    machine_stop(m, 0);
}

static void intx_pending_before_it_is_enabled_is_announced_then(void **state)
{
    struct machine *m = machine_start("irq=intx");

    raise_irq(m, 0);
    assert_int_equal(m->intx_changes, 0);
    sim_function_irq_enable(m->function, SIM_IRQ_INTX, 1);
    assert_true(m->intx);
    sim_function_irq_enable(m->function, SIM_IRQ_INTX, 0);
    assert_false(m->intx);
    machine_stop(m, 0);
}

static void messages_take_the_place_of_the_line(void **state)
{
    struct machine *m = machine_start("");

    sim_function_irq_enable(m->function, SIM_IRQ_INTX, 1);
    raise_irq(m, 0);
    assert_true(m->intx);
    sim_function_irq_enable(m->function, SIM_IRQ_INTX, 0);
    sim_function_irq_enable(m->function, SIM_IRQ_MSI, 1);
    assert_false(m->intx);
    assert_int_equal(config_read(m, 6) & 8, 0);
    machine_stop(m, 0);
}

static void reset_drops_the_line_and_keeps_the_hosts_routing(void **state)
{
    struct machine *m = machine_start("");

    sim_function_irq_enable(m->function, SIM_IRQ_INTX, 1);
    raise_irq(m, 0);
    sim_function_reset(m->function);
    assert_false(m->intx);
    assert_int_equal(config_read(m, 6) & 8, 0);
    raise_irq(m, 0);
    assert_true(m->intx);
    machine_stop(m, 0);
}

static void copy_can_notify(void **state)
{
    struct machine *m = machine_start("");

    sim_function_irq_enable(m->function, SIM_IRQ_MSIX, 8);
    start_copy(m, RAM, RAM + 0x1000, 16, EDU_NOTIFY | 3 << EDU_VECTOR_SHIFT);
    assert_int_equal(m->nr_messages, 0);
    run(m);
    assert_int_equal(m->messages[3], 1);
    start_copy(m, 0, RAM + 0x1000, 16, EDU_NOTIFY | 4 << EDU_VECTOR_SHIFT);
    run(m);
    assert_int_equal(m->messages[4], 1);
    machine_stop(m, 1);
}

static void memory_behind_a_copy_can_be_unmapped_at_any_chunk(void **state)
{
    struct machine *m = machine_start("");

    start_copy(m, RAM, RAM + 0x80000, 4 * EDU_CHUNK, 0);
    sim_function_dispatch(m->function, false);
    sim_dart_unmap(m->dart, m->ram_mapping);
    m->ram_mapping = NULL;
    run(m);
    expect_status(m, EDU_FAILED, EDU_ERROR_READ);
    machine_stop(m, 1);
}

static bool readable(struct machine *m)
{
    struct pollfd pfd = {.fd = sim_function_poll_fd(m->function), .events = POLLIN};

    return poll(&pfd, 1, 0) == 1;
}

static void poll_fd_is_readable_while_there_is_work(void **state)
{
    struct machine *m = machine_start("");

    assert_false(readable(m));
    reg_write(m, EDU_RAISE, 0, 4);
    assert_true(readable(m));
    run(m);
    assert_false(readable(m));
    machine_stop(m, 0);
}

/* Raises as fast as it can; every raise must be followed by a take that sees it. */
struct raiser {
    struct sim_wake wake;
    _Atomic unsigned published;
};

enum { RAISES = 20000 };

static void *raise_often(void *opaque)
{
    struct raiser *r = opaque;

    for (unsigned i = 0; i < RAISES; i++) {
        atomic_fetch_add(&r->published, 1);
        sim_wake_raise(&r->wake);
    }
    return NULL;
}

static void no_wake_is_lost_between_threads(void **state)
{
    struct raiser r = {.published = 0};
    struct harness h;
    pthread_t thread;
    struct pollfd pfd;

    harness_init(&h);
    assert_int_equal(sim_wake_init(&h.env, &r.wake), 0);
    pfd = (struct pollfd){.fd = r.wake.read_fd, .events = POLLIN};
    assert_int_equal(pthread_create(&thread, NULL, raise_often, &r), 0);
    do {
        assert_int_equal(poll(&pfd, 1, 10000), 1);
        sim_wake_take(&r.wake);
    } while (atomic_load(&r.published) < RAISES);
    assert_int_equal(pthread_join(thread, NULL), 0);
    sim_wake_take(&r.wake);
    assert_int_equal(poll(&pfd, 1, 0), 0);
    sim_wake_finish(&r.wake);
}

static void raise_that_has_not_written_yet_is_left_for_the_next_take(void **state)
{
    struct sim_wake wake;
    struct harness h;
    struct pollfd pfd;
    uint64_t one = 1;

    harness_init(&h);
    assert_int_equal(sim_wake_init(&h.env, &wake), 0);
    pfd = (struct pollfd){.fd = wake.read_fd, .events = POLLIN};
    atomic_store(&wake.raised, true); /* a raiser between its flag and its write */
    sim_wake_take(&wake);
    assert_int_equal(write(wake.write_fd, &one, sizeof(one)), sizeof(one));
    sim_wake_take(&wake);
    assert_int_equal(poll(&pfd, 1, 0), 0);
    sim_wake_raise(&wake);
    assert_int_equal(poll(&pfd, 1, 0), 1);
    sim_wake_finish(&wake);
}

static int create_and_destroy(struct harness *h)
{
    struct machine m = {.function = NULL};
    int err;

    m.h = *h;
    m.h.env.opaque = h;
    err = machine_create(&m, "bar=256K");
    if (!err)
        sim_machine_destroy(m.machine);
    return err;
}

static void shortage_while_creating_leaves_nothing_behind(void **state)
{
    struct harness h;

    harness_init(&h);
    /* machine, DART, values, function, wake, endpoint, memory file, MSI-X table, PBA */
    assert_int_equal(fail_each_step(&h, create_and_destroy), 9);
}

static void kinds_are_found_by_their_whole_name(void **state)
{
    assert_non_null(sim_endpoint_find("edu", 3));
    assert_non_null(sim_endpoint_find("nvme,size=1", 4));
    assert_null(sim_endpoint_find("ed", 2));
    assert_null(sim_endpoint_find("edux", 4));
    assert_null(sim_endpoint_find("", 0));
    assert_null(sim_endpoint_kind(100));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dma_without_bus_mastering_is_refused_and_counted),
        cmocka_unit_test(copy_stops_when_bus_mastering_goes_off),
        cmocka_unit_test(sleeping_function_does_no_dma_and_reads_ones),
        cmocka_unit_test(msix_vectors_are_sent_as_raised),
        cmocka_unit_test(msix_beyond_the_enabled_vectors_is_pending_until_they_are),
        cmocka_unit_test(msix_table_is_kept_and_steers_nothing),
        cmocka_unit_test(msi_beyond_the_granted_messages_wraps),
        cmocka_unit_test(messages_need_bus_mastering),
        cmocka_unit_test(disabling_another_kind_changes_nothing),
        cmocka_unit_test(intx_is_a_level_until_acknowledged),
        cmocka_unit_test(command_masks_intx_but_status_shows_it),
        cmocka_unit_test(intx_pending_before_it_is_enabled_is_announced_then),
        cmocka_unit_test(messages_take_the_place_of_the_line),
        cmocka_unit_test(reset_drops_the_line_and_keeps_the_hosts_routing),
        cmocka_unit_test(copy_can_notify),
        cmocka_unit_test(memory_behind_a_copy_can_be_unmapped_at_any_chunk),
        cmocka_unit_test(poll_fd_is_readable_while_there_is_work),
        cmocka_unit_test(no_wake_is_lost_between_threads),
        cmocka_unit_test(raise_that_has_not_written_yet_is_left_for_the_next_take),
        cmocka_unit_test(shortage_while_creating_leaves_nothing_behind),
        cmocka_unit_test(kinds_are_found_by_their_whole_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
