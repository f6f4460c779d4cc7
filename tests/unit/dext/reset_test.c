/* SPDX-License-Identifier: BSD-3-Clause */
/* Reset: which kind is tried when, and what is as before afterwards. */
#include <stdlib.h>

#include "rig.h"

enum { FLR = VD_DEXT_RESET_FLR, HOT = VD_DEXT_RESET_HOT, POWER = VD_DEXT_RESET_POWER };
enum { COMMAND = 4, DEVCTL = MOCK_PCIE + 8, PMCSR = MOCK_PM + 4, AF_CONTROL = MOCK_AF + 4 };

static int reset(struct rig *rig)
{
    return rig_call(rig->a, VD_DEXT_RESET_DEVICE, NO_IN, NULL, 0);
}

/* A function without the reset registers named; learnt anew. */
static int setup_without(void **state, unsigned missing)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    mock_init(&rig->mock);
    if (missing & FLR)
        rig->mock.config[MOCK_PCIE + 7] = 0;
    if (missing & HOT)
        rig->mock.config[MOCK_AF + 3] = 1; /* the AF capability's FLR */
    if (missing & POWER)
        rig->mock.config[PMCSR] = 8; /* No_Soft_Reset */
    rig_start(rig, NULL);
    assert_int_equal(rig_call(rig->a, VD_DEXT_CLAIM, NO_IN, NULL, 0), 0);
    rig->mock.reset_works = 0;
    mock_forget(&rig->mock);
    *state = rig;
    return 0;
}

static int setup_own(void **state)
{
    return setup_without(state, 0);
}

static int setup_af(void **state)
{
    return setup_without(state, FLR);
}

static int setup_power(void **state)
{
    return setup_without(state, FLR | HOT);
}

static int setup_none(void **state)
{
    return setup_without(state, FLR | HOT | POWER);
}

/* Kinds that hw->reset() was asked for, in order, as digits. */
static unsigned asked(const struct mock *m)
{
    unsigned digits = 0;
    int at;

    for (unsigned n = 0; (at = mock_call_at(m, MOCK_RESET, n)) >= 0; n++)
        digits = digits * 10 + (unsigned)m->calls[at].a;
    return digits;
}

static void the_frameworks_flr_comes_first_and_ends_it(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(reset(rig), 0);
    assert_int_equal(asked(&rig->mock), 1);
    assert_int_equal(rig->mock.nr_resets, 1);
    assert_int_equal(mock_count(&rig->mock, MOCK_CONFIG_WRITE), 0); /* what it clears it puts back itself */
}

static void a_kind_that_fails_is_followed_by_the_next(void **state)
{
    struct rig *rig = *state;

    rig->mock.reset_breaks = FLR;
    assert_int_equal(reset(rig), 0);
    assert_int_equal(asked(&rig->mock), 12);
    assert_int_equal(rig->mock.nr_resets, 1);
    assert_int_equal(rig->mock.logged[VD_DEXT_LOG_WARN], 1);
}

static void all_kinds_failing_is_the_last_ones_error(void **state)
{
    struct rig *rig = *state;

    rig->mock.reset_breaks = FLR | HOT | POWER;
    assert_int_equal(reset(rig), VD_DEXT_IO_ERROR);
    assert_int_equal(asked(&rig->mock), 124);
}

static void a_kind_that_cannot_be_tried_is_left_out(void **state)
{
    struct rig *rig = *state;

    rig->mock.reset_kinds = HOT;
    assert_int_equal(reset(rig), 0);
    assert_int_equal(asked(&rig->mock), 2);
    rig->mock.reset_kinds = 0;
    assert_int_equal(reset(rig), VD_DEXT_UNSUPPORTED);
}

static void the_cores_own_flr_is_quiet_patient_and_puts_everything_back(void **state)
{
    struct rig *rig = *state;
    struct mock *m = &rig->mock;
    uint8_t before[256];
    int flr;

    m->pending = 3;
    m->mute = 4;
    memcpy(before, m->config, sizeof(before));
    assert_int_equal(reset(rig), 0);
    assert_int_equal(m->nr_resets, 1);
    assert_memory_equal(m->config, before, sizeof(before));
    assert_int_equal(m->calls[mock_write_at(m, COMMAND, 0)].b, 0x400);
    flr = mock_write_at(m, DEVCTL, 0);
    assert_true(mock_write_at(m, COMMAND, 0) < flr);
    assert_int_equal(m->calls[flr].b, 0xd936);
    assert_int_equal(m->calls[flr - 1].a, DEVCTL);
    assert_int_equal(m->calls[flr - 2].a, MOCK_PCIE + 10);
    assert_int_equal(m->calls[m->nr_calls - 1].a, COMMAND);
    assert_in_range(m->slept_us, 100000 + 3000 + 4 * 1000, 500000);
}

static void an_af_capability_resets_as_well(void **state)
{
    struct rig *rig = *state;
    uint8_t before[256];

    memcpy(before, rig->mock.config, sizeof(before));
    assert_int_equal(reset(rig), 0);
    assert_int_equal(rig->mock.nr_resets, 1);
    assert_int_equal(rig->mock.calls[mock_write_at(&rig->mock, AF_CONTROL, 0)].b, 1);
    assert_memory_equal(rig->mock.config, before, sizeof(before));
    assert_int_equal(asked(&rig->mock), 1);
}

static void the_power_state_comes_last(void **state)
{
    struct rig *rig = *state;
    uint8_t before[256];

    memcpy(before, rig->mock.config, sizeof(before));
    assert_int_equal(reset(rig), 0);
    assert_int_equal(asked(&rig->mock), 124);
    assert_int_equal(rig->mock.nr_resets, 1);
    assert_int_equal(rig->mock.calls[mock_write_at(&rig->mock, PMCSR, 0)].b & 3, 3);
    assert_int_equal(rig->mock.calls[mock_write_at(&rig->mock, PMCSR, 1)].b & 3, 0);
    assert_memory_equal(rig->mock.config, before, sizeof(before));
}

static void a_device_without_any_reset_says_so(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(reset(rig), VD_DEXT_UNSUPPORTED);
    assert_int_equal(rig->mock.nr_resets, 0);
    assert_int_equal(mock_count(&rig->mock, MOCK_CONFIG_WRITE), 0);
}

static void a_device_that_does_not_come_back_is_waited_for_only_so_long(void **state)
{
    struct rig *rig = *state;

    rig->mock.mute = UINT32_MAX;
    assert_int_equal(reset(rig), VD_DEXT_NOT_RESPONDING);
    assert_in_range(rig->mock.slept_us, 1000000, 9000000); /* below the client's patience of 10 s */
}

static void pending_transactions_do_not_prevent_a_reset(void **state)
{
    struct rig *rig = *state;

    rig->mock.pending = UINT32_MAX;
    assert_int_equal(reset(rig), 0);
    assert_int_equal(rig->mock.nr_resets, 1);
    assert_int_equal(rig->mock.logged[VD_DEXT_LOG_WARN], 1);
}

/* The framework's hot reset keeps what it finds, which is what the failed attempt left. */
static void what_an_attempt_that_failed_cleared_is_put_back_after_another_worked(void **state)
{
    struct rig *rig = *state;
    uint8_t before[256];

    memcpy(before, rig->mock.config, sizeof(before));
    rig->mock.reset_works = HOT;
    rig->mock.mute = 500; /* as long as the core waits */
    assert_int_equal(reset(rig), 0);
    assert_int_equal(asked(&rig->mock), 12);
    assert_memory_equal(rig->mock.config, before, sizeof(before));
}

/* What is put back is what was there before the first attempt. */
static void a_second_config_reset_does_not_save_what_the_first_cleared(void **state)
{
    struct rig *rig = *state;
    uint8_t before[256];

    memcpy(before, rig->mock.config, sizeof(before));
    rig->mock.reset_kinds = FLR | POWER;
    rig->mock.mute = 500;
    assert_int_equal(reset(rig), 0);
    assert_int_equal(rig->mock.nr_resets, 2);
    assert_memory_equal(rig->mock.config, before, sizeof(before));
}

static void a_device_that_asks_for_patience_gets_it(void **state)
{
    struct rig *rig = *state;

    rig->mock.not_ready = 7;
    assert_int_equal(reset(rig), 0);
    assert_int_equal(rig->mock.not_ready, 0);
}

static void a_device_that_vanishes_during_its_reset_is_not_waited_for(void **state)
{
    struct rig *rig = *state;
    struct mock *m = &rig->mock;
    unsigned steps = m->steps;

    assert_int_equal(reset(rig), 0);
    steps = m->steps - steps;
    assert_true(steps > 20);
    m->fail_status = VD_DEXT_NO_DEVICE;
    m->fail_lasts = true;
    for (unsigned n = 1; n <= steps; n++) {
        m->slept_us = 0;
        m->fail_at = m->steps + n;
        assert_int_equal(reset(rig), VD_DEXT_NO_DEVICE);
        assert_true(m->slept_us <= 200000);
        m->fail_at = 0;
        rig_call(rig->a, VD_DEXT_CONFIG_WRITE, IN(COMMAND, 2, 6), NULL, 0);
    }
}

static void interrupts_stop_around_the_cores_own_reset_and_come_back(void **state)
{
    struct rig *rig = *state;
    struct mock *m = &rig->mock;
    uint64_t vectors;

    assert_int_equal(rig_call(rig->a, VD_DEXT_SETUP_INTERRUPTS, NO_IN, &vectors, 1), 0);
    assert_int_equal(rig_wait(rig->a, VD_DEXT_WAIT_INTERRUPT, rig_handle(1)), 0);
    assert_int_equal(rig_call(rig->a, VD_DEXT_SET_IRQ_MASK, IN(1, 0, 0, 0), NULL, 0), 0);
    mock_forget(m);
    assert_int_equal(reset(rig), 0);
    assert_true(mock_call_at(m, MOCK_IRQ_TEARDOWN, 0) >= 0);
    assert_true(mock_call_at(m, MOCK_IRQ_TEARDOWN, 0) < mock_write_at(m, DEVCTL, 0));
    assert_true(mock_write_at(m, COMMAND, 1) < mock_call_at(m, MOCK_IRQ_SETUP, 0));
    assert_true(m->irqs_on);
    assert_int_equal(m->nr_completions, 0);
    vd_dext_irq(rig->dext, 0);
    assert_int_equal(m->nr_completions, 1);
    assert_int_equal(m->completions[0].status, 0);
}

static void interrupts_that_do_not_come_back_are_not_ready(void **state)
{
    struct rig *rig = *state;
    uint64_t out[4];

    assert_int_equal(rig_call(rig->a, VD_DEXT_SETUP_INTERRUPTS, NO_IN, out, 1), 0);
    assert_int_equal(rig_wait(rig->a, VD_DEXT_WAIT_INTERRUPT, rig_handle(1)), 0);
    rig->mock.status[MOCK_IRQ_SETUP] = VD_DEXT_NO_RESOURCES;
    assert_int_equal(reset(rig), VD_DEXT_NO_RESOURCES);
    assert_int_equal(rig->mock.nr_completions, 1);
    assert_int_equal(rig->mock.completions[0].status, VD_DEXT_NOT_READY);
    assert_int_equal(rig_call(rig->a, VD_DEXT_CHECK_INTERRUPT, NO_IN, out, 4), VD_DEXT_NOT_READY);
    rig->mock.status[MOCK_IRQ_SETUP] = 0;
    assert_int_equal(rig_call(rig->a, VD_DEXT_SETUP_INTERRUPTS, NO_IN, out, 1), 0);
}

static void the_reset_of_teardown_leaves_bus_mastering_off(void **state)
{
    struct rig *rig = *state;

    vd_dext_client_close(rig->a);
    rig->a = NULL;
    assert_int_equal(rig->mock.nr_resets, 1);
    assert_int_equal(mock_command(&rig->mock), 2);
}

/* A bridge has other registers where the BARs of an endpoint are. */
static void only_an_endpoint_is_reset_by_config_writes(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    (void)state;
    assert_non_null(rig);
    mock_init(&rig->mock);
    rig->mock.config[0x0e] = 0x81;
    rig->mock.reset_works = 0;
    rig_start(rig, NULL);
    assert_int_equal(rig_call(rig->a, VD_DEXT_CLAIM, NO_IN, NULL, 0), 0);
    assert_int_equal(reset(rig), VD_DEXT_UNSUPPORTED);
    rig_stop(rig);
    free(rig);
}

#define WITH(setup, f) cmocka_unit_test_setup_teardown(f, setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(rig_setup_claimed, the_frameworks_flr_comes_first_and_ends_it),
        WITH(rig_setup_claimed, a_kind_that_fails_is_followed_by_the_next),
        WITH(rig_setup_claimed, all_kinds_failing_is_the_last_ones_error),
        WITH(rig_setup_claimed, a_kind_that_cannot_be_tried_is_left_out),
        WITH(setup_own, the_cores_own_flr_is_quiet_patient_and_puts_everything_back),
        WITH(setup_af, an_af_capability_resets_as_well),
        WITH(setup_power, the_power_state_comes_last),
        WITH(setup_none, a_device_without_any_reset_says_so),
        WITH(setup_own, a_device_that_does_not_come_back_is_waited_for_only_so_long),
        WITH(setup_own, pending_transactions_do_not_prevent_a_reset),
        WITH(setup_own, what_an_attempt_that_failed_cleared_is_put_back_after_another_worked),
        WITH(setup_own, a_second_config_reset_does_not_save_what_the_first_cleared),
        WITH(setup_own, a_device_that_asks_for_patience_gets_it),
        WITH(setup_own, a_device_that_vanishes_during_its_reset_is_not_waited_for),
        WITH(setup_own, interrupts_stop_around_the_cores_own_reset_and_come_back),
        WITH(setup_own, interrupts_that_do_not_come_back_are_not_ready),
        WITH(setup_own, the_reset_of_teardown_leaves_bus_mastering_off),
        cmocka_unit_test(only_an_endpoint_is_reset_by_config_writes),
    };

    return cmocka_run_group_tests_name("reset", tests, NULL, NULL);
}
