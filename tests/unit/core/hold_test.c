/* SPDX-License-Identifier: BSD-3-Clause */
/* What a companion does to the device it manages: holding, stopping, sharing it between two threads, adopting a host. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/le.h"

#include "../base/unit.h"
#include "fake.h"

enum { COMMAND = 4, DECODE = 0x0003, MASTER = 0x0004 };

/* The fake as a host that hands over its own config space. */
static void open_raw(struct fixture *f)
{
    f->fake.info.raw_config = true;
    vd_store16(f->fake.config, 0x1234);
    vd_store16(f->fake.config + 2, 0x5678);
    assert_int_equal(fixture_open(f, &fake_ops, NULL), 0);
}

static void guest_command(struct fixture *f, uint16_t value)
{
    uint8_t bytes[2];

    vd_store16(bytes, value);
    assert_int_equal(vd_region_write(f->device, VD_REGION_CONFIG, COMMAND, bytes, 2), 0);
}

static uint16_t hardware_master(const struct fixture *f)
{
    return vd_load16(f->fake.config + COMMAND) & MASTER;
}

static uint32_t read_bar(struct fixture *f)
{
    uint32_t value = 0;

    assert_int_equal(vd_region_read(f->device, VD_REGION_BAR0, 0, &value, 4), 0);
    return value;
}

static void a_held_device_reads_all_ones_and_takes_no_write(void **state)
{
    struct fixture *f = *state;
    const uint32_t value = 7;

    open_raw(f);
    vd_device_hold(f->device, true);
    fake_forget_calls(&f->fake);
    assert_int_equal(read_bar(f), UINT32_MAX);
    assert_int_equal(vd_region_write(f->device, VD_REGION_BAR0, 0, &value, 4), 0);
    assert_int_equal(f->fake.nr_calls, 0);
    vd_device_hold(f->device, false);
    assert_int_equal(read_bar(f), 0x5a5a5a5a);
    assert_int_equal(vd_region_write(f->device, VD_REGION_BAR0, 0, &value, 4), 0);
    assert_true(fake_call_at(&f->fake, FAKE_WRITE, 0) >= 0);
}

static void config_space_of_a_held_device_works_but_it_masters_no_bus(void **state)
{
    struct fixture *f = *state;
    uint8_t bytes[2];

    open_raw(f);
    vd_device_hold(f->device, true);
    guest_command(f, MASTER | 2);
    assert_int_equal(vd_region_read(f->device, VD_REGION_CONFIG, COMMAND, bytes, 2), 0);
    assert_int_equal(vd_load16(bytes), MASTER | 2);
    assert_int_equal(hardware_master(f), 0);
}

static void letting_go_forwards_what_the_guest_has_in_command(void **state)
{
    struct fixture *f = *state;

    open_raw(f);
    vd_device_hold(f->device, true);
    vd_device_hold(f->device, false);
    assert_int_equal(hardware_master(f), 0);
    guest_command(f, MASTER);
    assert_int_equal(hardware_master(f), MASTER);
    vd_device_hold(f->device, true);
    assert_int_equal(hardware_master(f), 0);
    vd_device_hold(f->device, false);
    assert_int_equal(hardware_master(f), MASTER);
}

static void a_reset_while_held_stays_held(void **state)
{
    struct fixture *f = *state;

    open_raw(f);
    vd_device_hold(f->device, true);
    assert_int_equal(vd_device_reset(f->device), 0);
    guest_command(f, MASTER);
    assert_int_equal(hardware_master(f), 0);
    assert_int_equal(read_bar(f), UINT32_MAX);
}

static void stop_ends_bus_mastering_resets_and_keeps_mappings(void **state)
{
    static _Alignas(FAKE_PAGE) uint8_t page[FAKE_PAGE];
    struct fixture *f = *state;
    struct vd_dma_map map = {.host = page, .size = FAKE_PAGE, .access = VD_ACCESS_READ, .iova = {0x10000}};

    open_raw(f);
    guest_command(f, MASTER);
    assert_int_equal(vd_dma_map(f->device, &map, 1), 0);
    vd_device_stop(f->device);
    assert_int_equal(hardware_master(f), 0);
    assert_true(fake_call_at(&f->fake, FAKE_RESET, 0) >= 0);
    assert_int_equal(f->fake.nr_live, 1);
    vd_dma_unmap(f->device, &map.mapping, 1);
}

static void holding_a_device_that_is_gone_touches_no_hardware(void **state)
{
    struct fixture *f = *state;

    open_raw(f);
    f->fake.events->gone(f->fake.events->opaque);
    fake_forget_calls(&f->fake);
    vd_device_hold(f->device, true);
    vd_device_stop(f->device);
    vd_device_hold(f->device, false);
    assert_int_equal(f->fake.nr_calls, 0);
}

static void a_hold_that_the_host_refuses_is_logged(void **state)
{
    struct fixture *f = *state;

    open_raw(f);
    guest_command(f, MASTER);
    f->fake.write_error = -EIO;
    vd_device_hold(f->device, true);
    assert_non_null(strstr(f->line, "bus mastering"));
    assert_int_equal(read_bar(f), UINT32_MAX);
    f->fake.write_error = 0;
}

struct contest {
    struct vd_device *device;
    _Atomic bool done;
    unsigned rounds; /* with the lock */
};

static void *come_now_and_then(void *opaque)
{
    struct contest *c = opaque;

    for (unsigned i = 0; i < 1000; i++) {
        vd_device_lock(c->device);
        c->rounds++;
        vd_device_unlock(c->device);
    }
    atomic_store(&c->done, true);
    return NULL;
}

/* The owner never sleeps; were the other not let in, this would never end. */
static void a_busy_owner_lets_the_other_thread_in(void **state)
{
    struct fixture *f = *state;
    struct contest contest = {.device = NULL};
    unsigned rounds = 0;
    pthread_t thread;

    open_raw(f);
    contest.device = f->device;
    assert_int_equal(pthread_create(&thread, NULL, come_now_and_then, &contest), 0);
    while (!atomic_load(&contest.done)) {
        vd_device_enter(f->device);
        contest.rounds++;
        rounds++;
        vd_device_unlock(f->device);
    }
    pthread_join(thread, NULL);
    assert_int_equal(contest.rounds, rounds + 1000);
}

static void adopting_takes_the_host_over_on_success_only(void **state)
{
    struct fixture *f = *state;
    struct vd_failure failure = {0};
    struct vd_device *adopted;
    unsigned nth;

    f->fake.is_open = true;
    for (nth = 1; nth < 100; nth++) {
        f->fail_nth = nth;
        if (vd_device_adopt(f->context, &fake_ops, "fake:adopted", &f->fake, &f->fake.info, &adopted,
                            &failure) == 0)
            break;
        assert_null(adopted);
        assert_true(f->fake.is_open);
        assert_int_equal(f->live_memory, 1); /* the context */
    }
    f->fail_nth = 0;
    assert_true(nth > 2 && nth < 100); /* the device, its address, its vectors */
    assert_string_equal(vd_device_info(adopted)->address, "fake:adopted");
    vd_device_close(adopted);
    assert_false(f->fake.is_open);
}

#define CLOSED(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLOSED(a_held_device_reads_all_ones_and_takes_no_write),
        CLOSED(config_space_of_a_held_device_works_but_it_masters_no_bus),
        CLOSED(letting_go_forwards_what_the_guest_has_in_command),
        CLOSED(a_reset_while_held_stays_held),
        CLOSED(stop_ends_bus_mastering_resets_and_keeps_mappings),
        CLOSED(holding_a_device_that_is_gone_touches_no_hardware),
        CLOSED(a_hold_that_the_host_refuses_is_logged),
        CLOSED(a_busy_owner_lets_the_other_thread_in),
        CLOSED(adopting_takes_the_host_over_on_success_only),
    };

    return cmocka_run_group_tests_name("hold", tests, NULL, NULL);
}
