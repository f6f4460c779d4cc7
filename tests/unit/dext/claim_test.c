/* SPDX-License-Identifier: BSD-3-Clause */
/* Claim, teardown, removal: who may have the device, and in which order everything goes when the owner does. */
#include <stdlib.h>

#include "rig.h"

enum { COMMAND = 4, MASTER = 4 };

static int claim(struct vd_dext_client *client)
{
    return rig_call(client, VD_DEXT_CLAIM, NO_IN, NULL, 0);
}

/* The owner has one of everything. */
static void have_everything(struct rig *rig)
{
    uint64_t out[6];

    assert_int_equal(rig_register(rig, 0, 0x10000, 0x4000), 0);
    assert_int_equal(rig_register(rig, UINT64_MAX, 0x20000, 0x4000), 0);
    assert_int_equal(rig_call(rig->a, VD_DEXT_ALLOCATE_DMA_BUFFER, IN(0x4000, 0), out, 6), 0);
    assert_int_equal(rig_call(rig->a, VD_DEXT_SETUP_INTERRUPTS, NO_IN, out, 1), 0);
    assert_int_equal(rig_wait(rig->a, VD_DEXT_WAIT_INTERRUPT, rig_handle(1)), 0);
    assert_int_equal(rig_wait(rig->a, VD_DEXT_WAIT_EVENT, rig_handle(2)), 0);
    mock_forget(&rig->mock);
}

static void creating_opens_the_device_only_for_a_moment(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(rig->mock.nr_opens, 1);
    assert_false(rig->mock.is_open);
}

static void a_device_that_cannot_be_opened_is_not_created(void **state)
{
    struct mock mock;
    struct vd_dext_os os = mock_os(&mock);
    struct vd_dext *dext;

    (void)state;
    mock_init(&mock);
    mock.status[MOCK_OPEN] = VD_DEXT_EXCLUSIVE_ACCESS;
    assert_int_equal(vd_dext_create(&os, &mock_ops, &mock, NULL, &dext), VD_DEXT_EXCLUSIVE_ACCESS);
    mock.status[MOCK_OPEN] = 0;
    mock.status[MOCK_CONFIG_READ] = VD_DEXT_NO_DEVICE;
    assert_int_equal(vd_dext_create(&os, &mock_ops, &mock, NULL, &dext), VD_DEXT_NO_DEVICE);
    mock.status[MOCK_CONFIG_READ] = 0;
    mock.status[MOCK_BAR_INFO] = VD_DEXT_NO_DEVICE;
    assert_int_equal(vd_dext_create(&os, &mock_ops, &mock, NULL, &dext), VD_DEXT_NO_DEVICE);
    mock.status[MOCK_BAR_INFO] = 0;
    mock.limits.granule = 0;
    assert_int_equal(vd_dext_create(&os, &mock_ops, &mock, NULL, &dext), VD_DEXT_BAD_ARGUMENT);
    mock.limits.granule = 4096;
    mock.limits.max_segments = VD_DEXT_MAX_SEGMENTS + 1;
    assert_int_equal(vd_dext_create(&os, &mock_ops, &mock, NULL, &dext), VD_DEXT_BAD_ARGUMENT);
    assert_null(mock_leftover(&mock));
}

static void a_claim_enables_memory_and_bus_mastering(void **state)
{
    struct rig *rig = *state;

    rig->mock.config[COMMAND + 1] = 1; /* SERR#: stays */
    assert_int_equal(claim(rig->a), 0);
    assert_true(rig->mock.is_open);
    assert_int_equal(mock_command(&rig->mock), 0x0106);
}

static void the_owner_may_claim_again_and_others_may_not(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(claim(rig->a), 0);
    mock_forget(&rig->mock);
    assert_int_equal(claim(rig->a), 0);
    assert_int_equal(claim(rig->b), VD_DEXT_EXCLUSIVE_ACCESS);
    assert_int_equal(rig->mock.nr_calls, 0);
}

static void a_claim_that_cannot_enable_the_device_is_undone(void **state)
{
    struct rig *rig = *state;

    rig->mock.status[MOCK_CONFIG_WRITE] = VD_DEXT_IO_ERROR;
    assert_int_equal(claim(rig->a), VD_DEXT_IO_ERROR);
    assert_false(rig->mock.is_open);
    rig->mock.status[MOCK_CONFIG_WRITE] = 0;
    rig->mock.status[MOCK_OPEN] = VD_DEXT_BUSY;
    assert_int_equal(claim(rig->a), VD_DEXT_BUSY);
    rig->mock.status[MOCK_OPEN] = 0;
    assert_int_equal(claim(rig->b), 0);
}

static void a_device_that_reads_all_ones_is_not_claimed(void **state)
{
    struct rig *rig = *state;

    memset(rig->mock.config, 0xff, sizeof(rig->mock.config));
    assert_int_equal(claim(rig->a), VD_DEXT_NOT_RESPONDING);
    assert_false(rig->mock.is_open);
    assert_int_equal(mock_count(&rig->mock, MOCK_CONFIG_WRITE), 0);
}

static void assert_order(int before, int after)
{
    assert_true(before >= 0);
    assert_true(after >= 0);
    assert_true(before < after);
}

static void teardown_stops_the_device_before_its_memory_goes(void **state)
{
    struct rig *rig = *state;
    struct mock *m = &rig->mock;
    int master_off;

    have_everything(rig);
    vd_dext_client_close(rig->a);
    rig->a = NULL;
    master_off = mock_write_at(m, COMMAND, 0);
    assert_true(master_off >= 0);
    assert_int_equal(m->calls[master_off].b & MASTER, 0);
    assert_int_equal(m->calls[master_off + 1].op, MOCK_CONFIG_READ); /* read back */
    assert_int_equal(m->calls[master_off + 1].a, COMMAND);
    assert_int_equal(m->calls[master_off + 2].op, MOCK_CONFIG_READ); /* drained */
    assert_int_equal(m->calls[master_off + 2].a, MOCK_PCIE + 10);
    assert_order(master_off + 2, mock_call_at(m, MOCK_IRQ_TEARDOWN, 0));
    assert_order(mock_call_at(m, MOCK_IRQ_TEARDOWN, 0), mock_call_at(m, MOCK_ASYNC, 0));
    assert_order(mock_call_at(m, MOCK_ASYNC, 1), mock_call_at(m, MOCK_DMA_COMPLETE, 0));
    assert_order(mock_call_at(m, MOCK_DMA_COMPLETE, 1), mock_call_at(m, MOCK_BUFFER_DESTROY, 0));
    assert_order(mock_call_at(m, MOCK_BUFFER_DESTROY, 0), mock_call_at(m, MOCK_RESET, 0));
    assert_order(mock_call_at(m, MOCK_RESET, 0), mock_call_at(m, MOCK_PAGE_DESTROY, 0));
    assert_order(mock_call_at(m, MOCK_PAGE_DESTROY, 0), mock_call_at(m, MOCK_CLOSE, 0));
    assert_int_equal(m->calls[mock_call_at(m, MOCK_CLOSE, 0)].op, m->calls[m->nr_calls - 1].op);
    assert_int_equal(mock_count(m, MOCK_DMA_COMPLETE), 2);
    assert_int_equal(m->nr_completions, 2);
    assert_int_equal(m->completions[0].status, VD_DEXT_ABORTED);
    assert_int_equal(m->completions[1].status, VD_DEXT_ABORTED);
    assert_int_equal(m->logged[VD_DEXT_LOG_ERROR], 0);
    assert_int_equal(mock_command(m) & MASTER, 0);
}

/* A read may fail and then nothing is known; the steps after it are made all the same. */
static void a_step_of_teardown_that_fails_does_not_stop_the_next(void **state)
{
    static const enum mock_op ops[] = {MOCK_CONFIG_READ, MOCK_CONFIG_WRITE, MOCK_RESET};

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct rig *rig;
        void *fresh;

        rig_setup_claimed(&fresh);
        rig = fresh;
        have_everything(rig);
        rig->mock.status[ops[i]] = VD_DEXT_IO_ERROR;
        vd_dext_client_close(rig->a);
        rig->a = NULL;
        assert_true(rig->mock.logged[VD_DEXT_LOG_ERROR] + rig->mock.logged[VD_DEXT_LOG_WARN] > 0);
        assert_int_equal(mock_count(&rig->mock, MOCK_DMA_COMPLETE), 2);
        assert_int_equal(mock_count(&rig->mock, MOCK_CLOSE), 1);
        rig->mock.status[ops[i]] = 0;
        assert_int_equal(claim(rig->b), 0);
        rig_teardown(&fresh);
    }
}

static void bus_mastering_goes_off_even_when_command_cannot_be_read(void **state)
{
    struct rig *rig = *state;

    rig->mock.status[MOCK_CONFIG_READ] = VD_DEXT_IO_ERROR;
    vd_dext_client_close(rig->a);
    rig->a = NULL;
    assert_int_equal(mock_command(&rig->mock) & MASTER, 0);
}

static void bus_mastering_that_stays_on_is_logged(void **state)
{
    struct rig *rig = *state;

    rig->mock.master_sticks = true;
    rig->mock.reset_kinds = VD_DEXT_RESET_HOT;
    vd_dext_client_close(rig->a);
    rig->a = NULL;
    assert_int_equal(rig->mock.logged[VD_DEXT_LOG_ERROR], 1);
    rig->mock.master_sticks = false;
}

static void draining_is_bounded(void **state)
{
    struct rig *rig = *state;

    rig->mock.pending = 5;
    assert_int_equal(rig_call(rig->a, VD_DEXT_QUIESCE, NO_IN, NULL, 0), 0);
    assert_int_equal(rig->mock.slept_us, 5000);
    rig->mock.pending = UINT32_MAX;
    assert_int_equal(rig_call(rig->a, VD_DEXT_QUIESCE, NO_IN, NULL, 0), VD_DEXT_TIMEOUT);
    assert_in_range(rig->mock.slept_us, 50000, 1000000);
    vd_dext_client_close(rig->a);
    rig->a = NULL;
    assert_int_equal(rig->mock.logged[VD_DEXT_LOG_ERROR], 1);
    assert_in_range(rig->mock.slept_us, 50000, 2000000);
}

static void quiescing_turns_bus_mastering_off(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(rig_call(rig->a, VD_DEXT_QUIESCE, NO_IN, NULL, 0), 0);
    assert_int_equal(mock_command(&rig->mock), 2);
    rig->mock.fail_at = rig->mock.steps + 1; /* what cannot be read cannot be vouched for */
    assert_int_equal(rig_call(rig->a, VD_DEXT_QUIESCE, NO_IN, NULL, 0), VD_DEXT_IO_ERROR);
    rig->mock.config[COMMAND] = 6;
    rig->mock.master_sticks = true;
    assert_int_equal(rig_call(rig->a, VD_DEXT_QUIESCE, NO_IN, NULL, 0), VD_DEXT_IO_ERROR);
    rig->mock.master_sticks = false;
}

static void the_next_client_claims_after_the_owner_has_gone(void **state)
{
    struct rig *rig = *state;

    have_everything(rig);
    vd_dext_client_close(rig->a);
    rig->a = rig->b;
    rig->b = NULL;
    assert_int_equal(claim(rig->a), 0);
    assert_int_equal(rig_limit(rig, VD_DEXT_USE_MAPPINGS), 0);
    assert_int_equal(rig_limit(rig, VD_DEXT_USE_PEAK_BYTES), 0);
    have_everything(rig);
}

/* BARs and DevCtl may be written by the owner, and a reset puts back what the owner wrote. */
static void the_next_client_finds_config_space_as_the_owner_did(void **state)
{
    struct rig *rig = *state;
    struct mock *m = &rig->mock;
    uint8_t found[sizeof(m->config)];

    memcpy(found, m->config, sizeof(found));
    assert_int_equal(rig_call(rig->a, VD_DEXT_CONFIG_WRITE, IN(0x10, 4, 0xdead0000), NULL, 0), 0);
    assert_int_equal(rig_call(rig->a, VD_DEXT_CONFIG_WRITE, IN(0x30, 4, 0), NULL, 0), 0);
    assert_int_equal(rig_call(rig->a, VD_DEXT_CONFIG_WRITE, IN(MOCK_PCIE + 8, 2, 0), NULL, 0), 0);
    vd_dext_client_close(rig->a);
    rig->a = NULL;
    assert_memory_equal(m->config + 0x10, found + 0x10, 24);
    assert_memory_equal(m->config + 0x30, found + 0x30, 4);
    assert_memory_equal(m->config + MOCK_PCIE + 8, found + MOCK_PCIE + 8, 2);
    assert_int_equal(mock_command(m), 2);
    assert_int_equal(m->logged[VD_DEXT_LOG_ERROR], 0);
}

/* With and without a reset that the device can do. */
static void a_function_that_was_put_to_sleep_is_woken_for_the_next_client(void **state)
{
    static const uint32_t kinds[] = {0, VD_DEXT_RESET_FLR, VD_DEXT_RESET_HOT};

    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        struct rig *rig;
        void *fresh;

        rig_setup_claimed(&fresh);
        rig = fresh;
        rig->mock.reset_kinds = kinds[i / 2];
        assert_int_equal(
            rig_call(rig->a, VD_DEXT_CONFIG_WRITE, IN(MOCK_PM + 4, 2, i % 2 ? 3 : 8 | 3), NULL, 0), 0);
        vd_dext_client_close(rig->a);
        rig->a = NULL;
        assert_int_equal(rig->mock.config[MOCK_PM + 4] & 3, 0);
        assert_int_equal(vd_load32(rig->mock.config + 0x10), 0xe0000000u);
        assert_int_equal(mock_command(&rig->mock) & MASTER, 0);
        rig_teardown(&fresh);
    }
}

static void a_device_whose_reset_failed_masters_nothing_before_it_is_reset(void **state)
{
    struct rig *rig = *state;

    rig->mock.reset_works = rig->mock.reset_kinds;
    rig->mock.reset_breaks = rig->mock.reset_kinds;
    vd_dext_client_close(rig->a);
    rig->a = NULL;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(rig_call(rig->b, VD_DEXT_CLAIM, NO_IN, NULL, 0), VD_DEXT_IO_ERROR);
        assert_int_equal(mock_command(&rig->mock) & MASTER, 0);
        assert_false(rig->mock.is_open);
    }
    rig->mock.reset_breaks = 0;
    assert_int_equal(rig_call(rig->b, VD_DEXT_CLAIM, NO_IN, NULL, 0), 0);
    assert_int_equal(mock_command(&rig->mock) & MASTER, MASTER);
}

static void a_device_that_cannot_be_reset_can_be_claimed_again(void **state)
{
    struct rig *rig = *state;

    rig->mock.reset_kinds = 0;
    vd_dext_client_close(rig->a);
    rig->a = NULL;
    assert_int_equal(rig_call(rig->b, VD_DEXT_CLAIM, NO_IN, NULL, 0), 0);
}

static void a_device_that_does_not_stop_is_reset_before_its_memory_goes(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(rig_register(rig, 1, 0, 0x4000), 0);
    rig->mock.reset_works = rig->mock.reset_kinds;
    rig->mock.master_sticks = true;
    mock_forget(&rig->mock);
    vd_dext_client_close(rig->a);
    rig->a = NULL;
    assert_order(mock_call_at(&rig->mock, MOCK_RESET, 0), mock_call_at(&rig->mock, MOCK_DMA_COMPLETE, 0));
    rig->mock.master_sticks = false;
}

static void closing_one_that_has_no_claim_touches_nothing(void **state)
{
    struct rig *rig = *state;

    vd_dext_client_close(rig->b);
    rig->b = NULL;
    assert_int_equal(rig->mock.nr_calls, 0);
    assert_int_equal(rig_register(rig, 1, 0, 0x4000), 0); /* the owner does not notice */
}

static void connections_may_close_in_any_order(void **state)
{
    static const unsigned orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    struct rig *rig = *state;

    for (unsigned i = 0; i < 6; i++) {
        struct vd_dext_client *clients[3];

        for (unsigned n = 0; n < 3; n++)
            assert_int_equal(vd_dext_client_open(rig->dext, NULL, &clients[n]), 0);
        for (unsigned n = 0; n < 3; n++) {
            vd_dext_client_close(clients[orders[i][n]]);
            vd_dext_event(rig->dext, VD_DEXT_EVENT_ERROR); /* goes through those that are left */
        }
    }
}

static void terminate_tears_down_and_then_ends_the_instance(void **state)
{
    struct rig *rig = *state;

    have_everything(rig);
    assert_int_equal(rig_call(rig->a, VD_DEXT_TERMINATE, NO_IN, NULL, 0), 0);
    assert_int_equal(rig->mock.calls[rig->mock.nr_calls - 1].op, MOCK_TERMINATE);
    assert_int_equal(mock_count(&rig->mock, MOCK_RESET), 1);
    assert_int_equal(rig->mock.live_mappings, 0);
    assert_int_equal(rig_call(rig->a, VD_DEXT_TERMINATE, NO_IN, NULL, 0), VD_DEXT_NOT_OPEN);
    assert_int_equal(claim(rig->a), 0);
    assert_int_equal(rig_limit(rig, VD_DEXT_USE_PEAK_MAPPINGS), 0); /* since this claim */
}

static void removal_tells_the_waiters_and_touches_nothing(void **state)
{
    struct rig *rig = *state;
    const struct mock_completion *c = rig->mock.completions;

    have_everything(rig);
    mock_pull(&rig->mock, rig->dext);
    vd_dext_gone(rig->dext);
    assert_int_equal(rig->mock.nr_completions, 2);
    assert_ptr_equal(c[0].async, rig_handle(1));
    assert_int_equal(c[0].status, VD_DEXT_NO_DEVICE);
    assert_ptr_equal(c[1].async, rig_handle(2));
    assert_int_equal(c[1].status, 0);
    assert_int_equal(c[1].nr_args, 1);
    assert_int_equal(c[1].arg, VD_DEXT_EVENT_GONE);
    assert_int_equal(rig->mock.live_mappings, 2);
}

static void after_removal_the_owner_can_still_give_its_memory_back(void **state)
{
    struct rig *rig = *state;

    have_everything(rig);
    mock_pull(&rig->mock, rig->dext);
    assert_int_equal(rig_call(rig->a, VD_DEXT_UNREGISTER_DMA_REGION, IN(0), NULL, 0), 0);
    assert_int_equal(rig_call(rig->a, VD_DEXT_FREE_DMA_BUFFER, NO_IN, NULL, 0), 0);
    assert_int_equal(rig_limit(rig, VD_DEXT_USE_MAPPINGS), 1);
    assert_int_equal(rig->mock.live_mappings, 1);
    vd_dext_client_close(rig->a);
    rig->a = NULL;
    assert_int_equal(mock_count(&rig->mock, MOCK_DMA_COMPLETE), 2);
    assert_int_equal(mock_count(&rig->mock, MOCK_CLOSE), 1);
    assert_int_equal(mock_count(&rig->mock, MOCK_IRQ_TEARDOWN), 1);
    assert_int_equal(mock_count(&rig->mock, MOCK_RESET), 0);
}

static void an_event_is_told_to_who_waits_and_kept_for_who_does_not(void **state)
{
    struct rig *rig = *state;
    const struct mock_completion *c = rig->mock.completions;

    assert_int_equal(rig_wait(rig->a, VD_DEXT_WAIT_EVENT, rig_handle(1)), 0);
    assert_int_equal(rig_wait(rig->a, VD_DEXT_WAIT_EVENT, rig_handle(2)), VD_DEXT_BUSY);
    vd_dext_event(rig->dext, VD_DEXT_EVENT_ERROR);
    assert_int_equal(rig->mock.nr_completions, 1);
    assert_ptr_equal(c[0].async, rig_handle(1));
    assert_int_equal(c[0].arg, VD_DEXT_EVENT_ERROR);
    vd_dext_event(rig->dext, VD_DEXT_EVENT_ERROR);
    vd_dext_event(rig->dext, VD_DEXT_EVENT_REQUEST | 0x100 | VD_DEXT_EVENT_GONE);
    assert_int_equal(rig->mock.nr_completions, 1);
    assert_int_equal(rig_wait(rig->a, VD_DEXT_WAIT_EVENT, rig_handle(3)), 0);
    assert_int_equal(rig->mock.nr_completions, 2);
    assert_ptr_equal(c[1].async, rig_handle(3));
    assert_int_equal(c[1].arg, VD_DEXT_EVENT_ERROR | VD_DEXT_EVENT_REQUEST);
    assert_int_equal(rig_wait(rig->a, VD_DEXT_WAIT_EVENT, rig_handle(4)), 0);
    assert_int_equal(rig->mock.nr_completions, 2);
}

static void an_event_is_kept_for_each_client(void **state)
{
    struct rig *rig = *state;

    vd_dext_event(rig->dext, VD_DEXT_EVENT_REQUEST);
    vd_dext_client_close(rig->a);
    rig->a = NULL;
    assert_int_equal(claim(rig->b), 0);
    assert_int_equal(rig_wait(rig->b, VD_DEXT_WAIT_EVENT, rig_handle(1)), 0);
    assert_int_equal(rig->mock.nr_completions, 1);
    assert_int_equal(rig->mock.completions[0].arg, VD_DEXT_EVENT_REQUEST);
}

static void hardware_without_the_optional_callbacks_will_do(void **state)
{
    struct mock *m = calloc(1, sizeof(*m));
    struct vd_dext_os os = mock_os(m);
    struct vd_dext_client *client;
    uint64_t out[VD_DEXT_NR_LIMITS];
    struct vd_dext *dext;

    (void)state;
    assert_non_null(m);
    mock_init(m);
    assert_int_equal(vd_dext_create(&os, &mock_bare_ops, m, NULL, &dext), 0);
    assert_int_equal(vd_dext_client_open(dext, NULL, &client), 0);
    assert_int_equal(claim(client), 0);
    assert_int_equal(rig_call(client, VD_DEXT_GET_LIMITS, NO_IN, out, VD_DEXT_NR_LIMITS), 0);
    assert_true(out[VD_DEXT_USE_FAULTS] == UINT64_MAX);
    assert_int_equal(rig_call(client, VD_DEXT_RESET_DEVICE, NO_IN, NULL, 0), 0);
    assert_int_equal(m->nr_resets, 1);
    assert_int_equal(rig_call(client, VD_DEXT_TERMINATE, NO_IN, NULL, 0), 0);
    vd_dext_client_close(client);
    vd_dext_client_close(NULL);
    vd_dext_destroy(dext);
    vd_dext_destroy(NULL);
    assert_null(mock_leftover(m));
    free(m);
}

#define IDLE(f)    cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
#define CLAIMED(f) cmocka_unit_test_setup_teardown(f, rig_setup_claimed, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IDLE(creating_opens_the_device_only_for_a_moment),
        cmocka_unit_test(a_device_that_cannot_be_opened_is_not_created),
        IDLE(a_claim_enables_memory_and_bus_mastering),
        IDLE(the_owner_may_claim_again_and_others_may_not),
        IDLE(a_claim_that_cannot_enable_the_device_is_undone),
        IDLE(a_device_that_reads_all_ones_is_not_claimed),
        CLAIMED(teardown_stops_the_device_before_its_memory_goes),
        cmocka_unit_test(a_step_of_teardown_that_fails_does_not_stop_the_next),
        CLAIMED(bus_mastering_goes_off_even_when_command_cannot_be_read),
        CLAIMED(bus_mastering_that_stays_on_is_logged),
        CLAIMED(draining_is_bounded),
        CLAIMED(quiescing_turns_bus_mastering_off),
        CLAIMED(the_next_client_claims_after_the_owner_has_gone),
        CLAIMED(the_next_client_finds_config_space_as_the_owner_did),
        cmocka_unit_test(a_function_that_was_put_to_sleep_is_woken_for_the_next_client),
        CLAIMED(a_device_whose_reset_failed_masters_nothing_before_it_is_reset),
        CLAIMED(a_device_that_cannot_be_reset_can_be_claimed_again),
        CLAIMED(a_device_that_does_not_stop_is_reset_before_its_memory_goes),
        CLAIMED(closing_one_that_has_no_claim_touches_nothing),
        IDLE(connections_may_close_in_any_order),
        CLAIMED(terminate_tears_down_and_then_ends_the_instance),
        CLAIMED(removal_tells_the_waiters_and_touches_nothing),
        CLAIMED(after_removal_the_owner_can_still_give_its_memory_back),
        CLAIMED(an_event_is_told_to_who_waits_and_kept_for_who_does_not),
        CLAIMED(an_event_is_kept_for_each_client),
        cmocka_unit_test(hardware_without_the_optional_callbacks_will_do),
    };

    return cmocka_run_group_tests_name("claim", tests, NULL, NULL);
}
