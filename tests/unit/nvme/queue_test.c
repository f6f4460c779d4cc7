/* SPDX-License-Identifier: BSD-3-Clause */
/* Rings, doorbells (real and shadow) and interrupts. */
#include "rig.h"

enum { DATA = RIG_DATA };

static struct nvme_command flush(void)
{
    return rig_command(NVME_IO_FLUSH, 1, 0, 0, 0, 0, 0);
}

static void rings_wrap_and_the_phase_turns(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 1, 4);
    for (unsigned i = 0; i < 50; i++) {
        uint16_t cid = rig_submit(&rig, 1, flush());
        struct rig_completion completion = rig_complete(&rig, 1);

        assert_int_equal(completion.cid, cid);
        assert_int_equal(completion.sq_id, 1);
        assert_int_equal(completion.sq_head, (i + 1) % 4);
    }
    rig_stop(&rig);
}

static void commands_wait_until_their_completion_has_room(void **state)
{
    struct rig rig;
    struct rig_completion completion;
    unsigned done = 0;

    rig_start(&rig, "");
    assert_int_equal(rig_create_cq(&rig, 1, 4, 1, true), NVME_OK);
    assert_int_equal(rig_create_sq(&rig, 1, 4, 1), NVME_OK);
    assert_int_equal(rig_create_sq(&rig, 2, 64, 1), NVME_OK);
    rig.queues[2] = (struct rig_queue){.entries = 64, .phase = true};
    for (unsigned i = 0; i < 40; i++)
        rig_submit(&rig, 2, flush());
    rig_run(&rig);
    assert_int_equal(rig_nvme(&rig)->sqs[2].head, 3); /* a ring of 4 holds 3 */
    for (; rig_poll(&rig, 1, &completion); done++) {
        assert_int_equal(completion.cid, done);
        rig_run(&rig);
    }
    assert_int_equal(done, 40);
    rig_stop(&rig);
}

static void impossible_doorbell_values_change_nothing(void **state)
{
    struct rig rig;
    struct nvme_sq *sq;
    struct nvme_cq *cq;

    rig_start_io(&rig, "", 1, 16);
    sq = &rig_nvme(&rig)->sqs[1];
    cq = &rig_nvme(&rig)->cqs[1];
    rig_write32(&rig, NVME_DOORBELLS + 8, 16);
    rig_write32(&rig, NVME_DOORBELLS + 8, 0xffffffff);
    assert_int_equal(sq->tail, 0);
    rig_write32(&rig, NVME_DOORBELLS + 12, 1); /* nothing was posted, so nothing can be taken */
    rig_write32(&rig, NVME_DOORBELLS + 12, 99);
    assert_int_equal(cq->head, 0);
    rig_write32(&rig, NVME_DOORBELLS + 8 * 30, 1);
    rig_write32(&rig, NVME_DOORBELLS + 8 * 100, 1);
    rig_write32(&rig, NVME_DOORBELLS + 0xff8, 1);
    assert_int_equal(rig_do(&rig, 1, flush()), NVME_OK);
    rig_stop(&rig);
}

static void a_round_is_bounded(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 1, 1024);
    for (unsigned i = 0; i < 1000; i++) {
        struct nvme_command command = flush();

        memcpy((uint8_t *)rig_at(&rig, RIG_SQ) + i * sizeof(command), &command, sizeof(command));
    }
    rig_write32(&rig, NVME_DOORBELLS + 8, 1000);
    assert_true(sim_nvme_ops.dispatch(rig.endpoint, true));
    assert_in_range(rig_nvme(&rig)->sqs[1].head, 1, 256);
    rig_run(&rig);
    assert_int_equal(rig_nvme(&rig)->sqs[1].head, 1000);
    rig_stop(&rig);
}

static void deletion_waits_for_commands_at_work(void **state)
{
    struct rig rig;
    struct rig_completion completion;
    uint16_t cid, cid_io;

    rig_start_io(&rig, "", 1, 16);
    /* As if a worker had it: on a disk that is memory nothing stays at work by itself. */
    rig_nvme(&rig)->disk.memory = false;
    cid_io = rig_submit(&rig, 1, flush());
    assert_true(sim_nvme_ops.dispatch(rig.endpoint, false));
    assert_int_equal(rig_nvme(&rig)->sqs[1].inflight, 1);
    cid = rig_submit(&rig, 0, rig_command(NVME_ADMIN_DELETE_SQ, 0, 0, 0, 1, 0, 0));
    completion = rig_complete(&rig, 0);
    assert_int_equal(completion.cid, cid);
    assert_int_equal(completion.status, NVME_OK);
    assert_true(rig_poll(&rig, 1, &completion));
    assert_int_equal(completion.cid, cid_io);
    assert_int_equal(rig_delete(&rig, NVME_ADMIN_DELETE_CQ, 1), NVME_OK);
    rig_stop(&rig);
}

static void one_message_for_many_completions(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 2, 64);
    for (unsigned i = 0; i < 20; i++)
        rig_submit(&rig, 1 + i % 2, flush());
    rig.port.messages[1] = rig.port.messages[2] = 0;
    sim_nvme_ops.dispatch(rig.endpoint, false);
    assert_int_equal(rig.port.messages[1], 1);
    assert_int_equal(rig.port.messages[2], 1);
    sim_nvme_ops.dispatch(rig.endpoint, true);
    assert_int_equal(rig.port.messages[1], 1);
    rig_stop(&rig);
}

static void queue_without_interrupts_sends_none(void **state)
{
    struct rig rig;

    rig_start(&rig, "");
    assert_int_equal(rig_create_cq(&rig, 1, 16, 1, false), NVME_OK);
    assert_int_equal(rig_create_sq(&rig, 1, 16, 1), NVME_OK);
    assert_int_equal(rig_do(&rig, 1, flush()), NVME_OK);
    assert_int_equal(rig.port.messages[1], 0);
    rig_stop(&rig);
}

static void intms_holds_msi_back_until_intmc(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "irq=msi", 1, 16);
    rig.port.kind = SIM_IRQ_MSI;
    rig.port.vectors = rig.info.msi_vectors;
    rig_write32(&rig, NVME_INTMS, 1 << 1);
    assert_int_equal(rig_do(&rig, 1, flush()), NVME_OK);
    assert_int_equal(rig.port.messages[1], 0);
    rig_write32(&rig, NVME_INTMC, 1 << 1);
    rig_run(&rig);
    assert_int_equal(rig.port.messages[1], 1);
    rig_stop(&rig);
}

static void intx_is_high_while_something_is_untaken(void **state)
{
    struct rig rig;
    struct rig_completion completion;

    rig_start_io(&rig, "", 1, 16);
    rig.port.kind = SIM_IRQ_INTX;
    rig.port.vectors = 1;
    rig_run(&rig);
    assert_false(rig.port.intx);
    rig_submit(&rig, 1, flush());
    rig_submit(&rig, 1, flush());
    rig_run(&rig);
    assert_true(rig.port.intx);
    assert_true(rig_poll(&rig, 1, &completion));
    assert_true(rig.port.intx);
    assert_true(rig_poll(&rig, 1, &completion)); /* falls with the doorbell write, before any dispatch */
    assert_false(rig.port.intx);
    rig_stop(&rig);
}

static void intms_lowers_intx_and_reset_does(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "irq=intx", 0, 0);
    rig.port.kind = SIM_IRQ_INTX;
    rig.port.vectors = 1;
    assert_int_equal(rig_create_cq(&rig, 1, 16, 0, true), NVME_OK);
    assert_int_equal(rig_create_sq(&rig, 1, 16, 1), NVME_OK);
    rig_submit(&rig, 1, flush());
    rig_run(&rig);
    assert_true(rig.port.intx);
    rig_write32(&rig, NVME_INTMS, 1);
    rig_run(&rig);
    assert_false(rig.port.intx);
    rig_write32(&rig, NVME_INTMC, 1);
    rig_run(&rig);
    assert_true(rig.port.intx);
    sim_nvme_ops.reset(rig.endpoint);
    assert_false(rig.port.intx);
    rig_stop(&rig);
}

static void intms_lowers_intx_before_it_is_answered(void **state)
{
    struct rig rig;

    rig_start(&rig, "irq=intx");
    rig.port.kind = SIM_IRQ_INTX;
    rig.port.vectors = 1;
    rig_submit(&rig, 0, rig_command(NVME_ADMIN_ABORT, 0, 0, 0, 0, 0, 0));
    rig_run(&rig);
    assert_true(rig.port.intx);
    rig_write32(&rig, NVME_INTMS, 1);
    assert_false(rig.port.intx);
    rig_stop(&rig);
}

/* As while a VMM changes the number of vectors. */
static void completion_while_no_interrupt_is_enabled_is_told_later(void **state)
{
    struct rig rig;
    struct rig_completion completion;

    rig_start_io(&rig, "", 2, 16);
    rig.port.kind = SIM_IRQ_NONE;
    assert_int_equal(rig_do(&rig, 1, flush()), NVME_OK);
    rig_submit(&rig, 2, flush());
    rig_run(&rig);
    rig.port.kind = SIM_IRQ_MSIX;
    rig.port.messages[2] = 0;
    rig_run(&rig);
    assert_int_equal(rig.port.messages[2], 1);
    assert_true(rig_poll(&rig, 2, &completion));
    rig_run(&rig);
    assert_int_equal(rig.port.messages[2], 1);
    rig_stop(&rig);
}

static void interrupt_options_choose_the_capabilities(void **state)
{
    struct rig rig;

    rig_init(&rig);
    assert_int_equal(rig_create(&rig, ""), 0);
    assert_int_equal(rig.info.msix_vectors, 17);
    assert_int_equal(rig.info.msi_vectors, 16);
    assert_true(rig.info.intx && rig.info.flr);
    rig_stop(&rig);
    rig_init(&rig);
    assert_int_equal(rig_create(&rig, "irq=msi,vectors=9"), 0);
    assert_int_equal(rig.info.msix_vectors, 0);
    assert_int_equal(rig.info.msi_vectors, 8);
    rig_stop(&rig);
    rig_init(&rig);
    assert_int_equal(rig_create(&rig, "irq=intx"), 0);
    assert_int_equal(rig.info.msix_vectors + rig.info.msi_vectors, 0);
    assert_true(rig.info.intx);
    rig_stop(&rig);
}

/* Shadow doorbells. */

static void shadow_on(struct rig *rig)
{
    assert_int_equal(
        rig_do(rig, 0,
               rig_command(NVME_ADMIN_DOORBELL_BUFFER, 0, rig_bus(RIG_SHADOW), rig_bus(RIG_EVENTS), 0, 0, 0)),
        NVME_OK);
    rig->dbbuf = true;
}

static void asleep(struct rig *rig)
{
    while (sim_nvme_ops.dispatch(rig->endpoint, true))
        ;
}

static void spinning_controller_needs_no_doorbell(void **state)
{
    struct rig rig;
    struct rig_completion completion;

    rig_start_io(&rig, "", 1, 1024);
    shadow_on(&rig);
    asleep(&rig);
    rig.rings = 0;
    rig_submit(&rig, 1, flush());
    assert_int_equal(rig.rings, 1); /* it slept: the first one rings */
    rig_run(&rig);
    assert_true(rig_poll(&rig, 1, &completion));
    rig_submit(&rig, 1, flush());
    rig.rings = 0;
    for (unsigned i = 0; i < 500; i++) {
        rig_run(&rig);
        assert_true(rig_poll(&rig, 1, &completion));
        rig_submit(&rig, 1, flush());
    }
    assert_int_equal(rig.rings, 0);
    rig_run(&rig);
    assert_true(rig_poll(&rig, 1, &completion));
    asleep(&rig);
    rig_submit(&rig, 1, flush());
    assert_int_equal(rig.rings, 1);
    rig_stop(&rig);
}

static void falling_asleep_notices_a_late_submission(void **state)
{
    struct rig rig;
    struct nvme_command command = flush();

    rig_start_io(&rig, "", 1, 16);
    shadow_on(&rig);
    asleep(&rig);
    memcpy(rig_at(&rig, RIG_SQ), &command, sizeof(command));
    vd_store32(rig_at(&rig, RIG_SHADOW + 8), 1); /* the guest stored but decided not to ring */
    assert_true(sim_nvme_ops.dispatch(rig.endpoint, true));
    assert_int_equal(rig_nvme(&rig)->sqs[1].head, 1);
    rig_stop(&rig);
}

static void full_queue_is_told_when_the_shadowed_head_moves(void **state)
{
    struct rig rig;
    struct rig_completion completion;

    rig_start(&rig, "");
    assert_int_equal(rig_create_cq(&rig, 1, 4, 1, true), NVME_OK);
    assert_int_equal(rig_create_sq(&rig, 1, 64, 1), NVME_OK);
    shadow_on(&rig);
    rig.queues[1].entries = 64;
    for (unsigned i = 0; i < 10; i++)
        rig_submit(&rig, 1, flush());
    rig.queues[1].entries = 4; /* from here on this is the completion ring's size */
    asleep(&rig);
    rig.rings = 0;
    for (unsigned i = 0; i < 10; i++) {
        assert_true(rig_poll(&rig, 1, &completion));
        assert_int_equal(completion.cid, i);
        asleep(&rig);
    }
    assert_true(rig.rings > 0);
    rig_stop(&rig);
}

/* The guest submits while the controller arms, and finds an event index that is still the old one: no doorbell. */
static void submit_unheard(void *opaque)
{
    struct rig *rig = opaque;
    struct nvme_command command = flush();
    unsigned tail = rig->queues[1].tail;

    rig->port.hook = NULL;
    rig->queues[1].tail = tail + 1;
    command.cid = vd_put16(rig->queues[1].next_cid++);
    memcpy((uint8_t *)rig_at(rig, RIG_SQ) + tail * sizeof(command), &command, sizeof(command));
    vd_store32(rig_at(rig, RIG_SHADOW + 8), tail + 1);
}

static void late_submission_to_a_full_queue_is_told_when_the_head_moves(void **state)
{
    struct rig rig;
    struct rig_completion completion;

    rig_start(&rig, "");
    assert_int_equal(rig_create_cq(&rig, 1, 4, 1, true), NVME_OK);
    assert_int_equal(rig_create_sq(&rig, 1, 64, 1), NVME_OK);
    shadow_on(&rig);
    rig.queues[1].entries = 64;
    for (unsigned i = 0; i < 4; i++) {
        rig_submit(&rig, 1, flush());
        rig_run(&rig);
        rig.queues[1].entries = 4; /* of the completion ring */
        if (i == 0)
            assert_true(rig_poll(&rig, 1, &completion)); /* the head is beyond the event index 0 */
        rig.queues[1].entries = 64;
    }
    rig.port.remote_from = RIG_EVENTS;
    rig.port.remote_to = RIG_EVENTS + 4096;
    rig.port.generation++;
    rig.port.hook_opaque = &rig;
    rig.port.hook = submit_unheard;
    asleep(&rig);
    assert_null(rig.port.hook);
    rig.queues[1].entries = 4;
    rig.rings = 0;
    for (unsigned i = 1; i < 4; i++)
        assert_true(rig_poll(&rig, 1, &completion));
    assert_true(rig.rings > 0);
    asleep(&rig);
    assert_true(rig_poll(&rig, 1, &completion));
    assert_int_equal(completion.cid, 4);
    rig_stop(&rig);
}

static void intx_falls_in_time_with_shadow_doorbells(void **state)
{
    struct rig rig;
    struct rig_completion completion;

    rig_start_io(&rig, "", 1, 16);
    rig.port.kind = SIM_IRQ_INTX;
    rig.port.vectors = 1;
    shadow_on(&rig);
    rig_run(&rig);
    for (unsigned i = 0; i < 100; i++) {
        rig_submit(&rig, 1, flush());
        rig_run(&rig);
        assert_true(rig.port.intx);
        assert_true(rig_poll(&rig, 1, &completion));
        assert_false(rig.port.intx);
    }
    rig_stop(&rig);
}

static void shadow_takes_over_what_registers_said(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 1, 16);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(rig_do(&rig, 1, flush()), NVME_OK);
    shadow_on(&rig);
    assert_int_equal(vd_load32(rig_at(&rig, RIG_SHADOW + 8)), 5);
    assert_int_equal(vd_load32(rig_at(&rig, RIG_SHADOW + 12)), 5);
    rig_run(&rig);
    assert_int_equal(rig_do(&rig, 1, flush()), NVME_OK);
    rig_stop(&rig);
}

static void stale_doorbell_writes_are_only_kicks(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 1, 16);
    shadow_on(&rig);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(rig_do(&rig, 1, flush()), NVME_OK);
    rig_write32(&rig, NVME_DOORBELLS + 8, 2); /* posted long ago, delivered late */
    rig_write32(&rig, NVME_DOORBELLS + 12, 1);
    rig_run(&rig);
    assert_int_equal(rig_nvme(&rig)->sqs[1].tail, 5);
    assert_int_equal(rig_nvme(&rig)->cqs[1].head, 0); /* not looked at before there is need */
    assert_false(rig_nvme(&rig)->events[NVME_EVENT_ERROR].pending);
    rig_stop(&rig);
}

static void impossible_shadow_values_change_nothing(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 1, 16);
    shadow_on(&rig);
    vd_store32(rig_at(&rig, RIG_SHADOW + 8), 0xffffffff);
    vd_store32(rig_at(&rig, RIG_SHADOW + 12), 16);
    rig_run(&rig);
    assert_int_equal(rig_nvme(&rig)->sqs[1].tail, 0);
    assert_int_equal(rig_nvme(&rig)->cqs[1].head, 0);
    assert_true(rig_nvme(&rig)->events[NVME_EVENT_ERROR].pending);
    rig_stop(&rig);
}

static void buffers_that_cannot_be_polled_are_refused(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 1, 16);
    rig.port.remote_from = RIG_SHADOW;
    rig.port.remote_to = RIG_SHADOW + 4096;
    assert_int_equal(
        rig_do(&rig, 0,
               rig_command(NVME_ADMIN_DOORBELL_BUFFER, 0, rig_bus(RIG_SHADOW), rig_bus(RIG_EVENTS), 0, 0, 0)),
        DNR(NVME_SC_FIELD));
    assert_int_equal(rig_do(&rig, 0,
                            rig_command(NVME_ADMIN_DOORBELL_BUFFER, 0, rig_bus(RIG_EVENTS),
                                        rig_bus(RIG_EVENTS) + 8, 0, 0, 0)),
                     DNR(NVME_SC_FIELD));
    assert_int_equal(rig_do(&rig, 1, flush()), NVME_OK);
    rig_stop(&rig);
}

static void mappings_that_move_are_looked_up_again(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 1, 16);
    shadow_on(&rig);
    assert_int_equal(rig_do(&rig, 1, flush()), NVME_OK);
    /* From now on there is no pointer to the rings and the shadow: everything by copies. */
    rig.port.remote_from = 0;
    rig.port.remote_to = RIG_DATA;
    rig.port.generation++;
    rig.port.copies = 0;
    assert_int_equal(rig_do(&rig, 1, flush()), NVME_OK);
    assert_true(rig.port.copies > 0);
    rig_stop(&rig);
}

/* Drivers turn bus mastering off after a shutdown, with the shadow doorbells still on. */
static void after_a_shutdown_no_event_index_is_published(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 1, 16);
    shadow_on(&rig);
    rig_write32(&rig, NVME_CC, rig_read32(&rig, NVME_CC) | 1 << 14);
    rig_wait_csts(&rig, NVME_CSTS_SHST, NVME_CSTS_SHST_END);
    rig.port.master = false;
    rig.port.generation++;
    asleep(&rig);
    assert_int_equal(rig.port.faults, 0);
    rig_stop(&rig);
}

static void unmapped_shadow_is_fatal(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 1, 16);
    shadow_on(&rig);
    rig.port.master = false;
    rig.port.generation++;
    rig_run(&rig);
    assert_int_equal(rig_read32(&rig, NVME_CSTS) & NVME_CSTS_CFS, NVME_CSTS_CFS);
    rig_run(&rig);
    assert_int_equal(rig.port.faults, 1); /* once, not at every poll */
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rings_wrap_and_the_phase_turns),
        cmocka_unit_test(commands_wait_until_their_completion_has_room),
        cmocka_unit_test(impossible_doorbell_values_change_nothing),
        cmocka_unit_test(a_round_is_bounded),
        cmocka_unit_test(deletion_waits_for_commands_at_work),
        cmocka_unit_test(one_message_for_many_completions),
        cmocka_unit_test(queue_without_interrupts_sends_none),
        cmocka_unit_test(intms_holds_msi_back_until_intmc),
        cmocka_unit_test(intx_is_high_while_something_is_untaken),
        cmocka_unit_test(intms_lowers_intx_and_reset_does),
        cmocka_unit_test(completion_while_no_interrupt_is_enabled_is_told_later),
        cmocka_unit_test(intms_lowers_intx_before_it_is_answered),
        cmocka_unit_test(interrupt_options_choose_the_capabilities),
        cmocka_unit_test(spinning_controller_needs_no_doorbell),
        cmocka_unit_test(falling_asleep_notices_a_late_submission),
        cmocka_unit_test(full_queue_is_told_when_the_shadowed_head_moves),
        cmocka_unit_test(late_submission_to_a_full_queue_is_told_when_the_head_moves),
        cmocka_unit_test(intx_falls_in_time_with_shadow_doorbells),
        cmocka_unit_test(shadow_takes_over_what_registers_said),
        cmocka_unit_test(stale_doorbell_writes_are_only_kicks),
        cmocka_unit_test(impossible_shadow_values_change_nothing),
        cmocka_unit_test(buffers_that_cannot_be_polled_are_refused),
        cmocka_unit_test(mappings_that_move_are_looked_up_again),
        cmocka_unit_test(after_a_shutdown_no_event_index_is_published),
        cmocka_unit_test(unmapped_shadow_is_fatal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
