/* SPDX-License-Identifier: BSD-3-Clause */
/* Admin commands: queues, Identify, Abort, events. */
#include "rig.h"

static void unknown_opcode_fails(void **state)
{
    struct rig rig;

    rig_start(&rig, "");
    assert_int_equal(rig_admin(&rig, 0x80, 0, 0, 0, NULL), DNR(NVME_SC_OPCODE)); /* Format NVM */
    assert_int_equal(rig_admin(&rig, 0x18, 0, 0, 0, NULL), DNR(NVME_SC_OPCODE)); /* Keep Alive */
    rig_stop(&rig);
}

static void fused_and_sgl_commands_fail(void **state)
{
    struct rig rig;
    struct nvme_command command = rig_command(NVME_ADMIN_IDENTIFY, 0, rig_bus(RIG_DATA), 0, 1, 0, 0);

    rig_start(&rig, "");
    command.flags = 1;
    assert_int_equal(rig_do(&rig, 0, command), DNR(NVME_SC_FIELD));
    command.flags = 0x40;
    assert_int_equal(rig_do(&rig, 0, command), DNR(NVME_SC_FIELD));
    rig_stop(&rig);
}

static uint16_t identify(struct rig *rig, uint8_t cns, uint32_t nsid)
{
    return rig_do(rig, 0, rig_command(NVME_ADMIN_IDENTIFY, nsid, rig_bus(RIG_DATA), 0, cns, 0, 0));
}

static void identify_controller_describes_what_was_asked_for(void **state)
{
    struct rig rig;
    const struct nvme_id_controller *id;

    rig_start(&rig, "serial=ABC-123,mdts=256K");
    id = rig_at(&rig, RIG_DATA);
    assert_int_equal(identify(&rig, 1, 0), NVME_OK);
    assert_memory_equal(id->sn, "ABC-123             ", 20);
    assert_int_equal(id->mdts, 6);
    assert_int_equal(id->sqes, 0x66);
    assert_int_equal(id->cqes, 0x44);
    assert_int_equal(vd_get32(id->nn), 1);
    assert_int_equal(vd_get32(id->ver), rig_read32(&rig, NVME_VS));
    assert_int_equal(vd_get16(id->oacs), 1 << 8);
    assert_int_equal(vd_get16(id->oncs), 1 << 2 | 1 << 3);
    assert_int_equal(id->vwc & 1, 1);
    assert_int_equal(id->cntrltype, 1);
    assert_memory_equal(id->subnqn, "nqn.2014-08.org.nvmexpress:uuid:", 32);
    rig_stop(&rig);
}

static void doorbell_buffers_are_offered_unless_switched_off(void **state)
{
    struct rig rig;
    const struct nvme_id_controller *id;

    rig_start(&rig, "dbbuf=off");
    id = rig_at(&rig, RIG_DATA);
    assert_int_equal(identify(&rig, 1, 0), NVME_OK);
    assert_int_equal(vd_get16(id->oacs), 0);
    assert_int_equal(rig_admin(&rig, NVME_ADMIN_DOORBELL_BUFFER, rig_bus(RIG_SHADOW), 0, 0, NULL),
                     DNR(NVME_SC_OPCODE));
    rig_stop(&rig);
}

static void identify_namespace_has_size_and_format(void **state)
{
    struct rig rig;
    const struct nvme_id_namespace *id;

    rig_start(&rig, "size=8M,sector=4096");
    id = rig_at(&rig, RIG_DATA);
    assert_int_equal(identify(&rig, 0, 1), NVME_OK);
    assert_int_equal(vd_get64(id->nsze), 2048);
    assert_int_equal(id->nlbaf, 0);
    assert_int_equal(id->lbaf[0].shift, 12);
    assert_int_equal(vd_get16(id->npwg), 0);
    assert_int_equal(id->nsattr, 0);
    assert_int_equal(identify(&rig, 0, 2), DNR(NVME_SC_NAMESPACE));
    assert_int_equal(identify(&rig, 0, 0xffffffff), DNR(NVME_SC_NAMESPACE));
    rig_stop(&rig);
}

static void identify_lists_the_namespace_and_its_descriptor(void **state)
{
    struct rig rig;
    uint8_t *data;

    rig_start(&rig, "");
    data = rig_at(&rig, RIG_DATA);
    assert_int_equal(identify(&rig, 2, 0), NVME_OK);
    assert_int_equal(vd_load32(data), 1);
    assert_int_equal(vd_load32(data + 4), 0);
    assert_int_equal(identify(&rig, 2, 1), NVME_OK);
    assert_int_equal(vd_load32(data), 0);
    assert_int_equal(identify(&rig, 2, 0xfffffffe), DNR(NVME_SC_NAMESPACE));
    assert_int_equal(identify(&rig, 3, 1), NVME_OK);
    assert_int_equal(data[0], 1);
    assert_int_equal(data[1], 8);
    assert_int_equal(data[4] & 3, 2); /* locally administered, for one device */
    assert_int_equal(data[13], 0);    /* the end of the list */
    rig_stop(&rig);
}

static void unsupported_cns_fails(void **state)
{
    struct rig rig;

    rig_start(&rig, "");
    assert_int_equal(identify(&rig, 0x10, 0), DNR(NVME_SC_FIELD));
    assert_int_equal(identify(&rig, 0x05, 1), DNR(NVME_SC_FIELD));
    assert_int_equal(identify(&rig, 0x06, 0), NVME_OK);
    rig_stop(&rig);
}

static void identify_into_two_pages_uses_both_entries(void **state)
{
    struct rig rig;
    uint8_t one[4096];

    rig_start(&rig, "");
    assert_int_equal(identify(&rig, 1, 0), NVME_OK);
    memcpy(one, rig_at(&rig, RIG_DATA), sizeof(one));
    assert_int_equal(rig_do(&rig, 0,
                            rig_command(NVME_ADMIN_IDENTIFY, 0, rig_bus(RIG_DATA + 0x10e00),
                                        rig_bus(RIG_DATA + 0x30000), 1, 0, 0)),
                     NVME_OK);
    assert_memory_equal(rig_at(&rig, RIG_DATA + 0x10e00), one, 0x200);
    assert_memory_equal(rig_at(&rig, RIG_DATA + 0x30000), one + 0x200, 0xe00);
    rig_stop(&rig);
}

static void data_outside_memory_is_a_transfer_error(void **state)
{
    struct rig rig;

    rig_start(&rig, "");
    assert_int_equal(rig_do(&rig, 0, rig_command(NVME_ADMIN_IDENTIFY, 0, 0x1000, 0, 1, 0, 0)),
                     DNR(NVME_SC_TRANSFER));
    assert_int_equal(rig.port.faults, 1);
    rig_stop(&rig);
}

static void completion_queue_creation_checks_each_field(void **state)
{
    struct rig rig;
    uint64_t ring = rig_bus(RIG_CQ);

    rig_start(&rig, "queues=2,vectors=3");
    assert_int_equal(rig_create_cq(&rig, 0, 16, 0, true), DNR(NVME_SC_QUEUE_ID));
    assert_int_equal(rig_create_cq(&rig, 3, 16, 0, true), DNR(NVME_SC_QUEUE_ID));
    assert_int_equal(rig_create_cq(&rig, 1, 1, 0, true), DNR(NVME_SC_QUEUE_SIZE));
    assert_int_equal(rig_create_cq(&rig, 1, 1025, 0, true), DNR(NVME_SC_QUEUE_SIZE));
    assert_int_equal(rig_create_cq(&rig, 1, 16, 3, true), DNR(NVME_SC_VECTOR));
    assert_int_equal(rig_admin(&rig, NVME_ADMIN_CREATE_CQ, ring + 8, 1 | 15 << 16, 1, NULL),
                     DNR(NVME_SC_PRP_OFFSET));
    assert_int_equal(rig_admin(&rig, NVME_ADMIN_CREATE_CQ, ring, 1 | 15 << 16, 0, NULL), DNR(NVME_SC_FIELD));
    assert_int_equal(rig_create_cq(&rig, 1, 1024, 2, true), NVME_OK);
    assert_int_equal(rig_create_cq(&rig, 1, 16, 0, true), DNR(NVME_SC_QUEUE_ID));
    rig_stop(&rig);
}

static void submission_queue_creation_checks_each_field(void **state)
{
    struct rig rig;

    rig_start(&rig, "queues=2");
    assert_int_equal(rig_create_sq(&rig, 1, 16, 1), DNR(NVME_SC_CQ_INVALID));
    assert_int_equal(rig_create_cq(&rig, 1, 16, 1, true), NVME_OK);
    assert_int_equal(rig_create_sq(&rig, 1, 16, 0), DNR(NVME_SC_CQ_INVALID));
    assert_int_equal(rig_create_sq(&rig, 1, 16, 0xffff), DNR(NVME_SC_CQ_INVALID));
    assert_int_equal(rig_create_sq(&rig, 3, 16, 1), DNR(NVME_SC_QUEUE_ID));
    assert_int_equal(rig_create_sq(&rig, 0xffff, 16, 1), DNR(NVME_SC_QUEUE_ID));
    assert_int_equal(rig_create_sq(&rig, 1, 1, 1), DNR(NVME_SC_QUEUE_SIZE));
    assert_int_equal(rig_create_sq(&rig, 1, 16, 1), NVME_OK);
    assert_int_equal(rig_create_sq(&rig, 1, 16, 1), DNR(NVME_SC_QUEUE_ID));
    assert_int_equal(rig_create_sq(&rig, 2, 16, 1), NVME_OK);
    rig_stop(&rig);
}

static void completion_queue_in_use_cannot_be_deleted(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 1, 16);
    assert_int_equal(rig_delete(&rig, NVME_ADMIN_DELETE_CQ, 1), DNR(NVME_SC_QUEUE_DELETION));
    assert_int_equal(rig_delete(&rig, NVME_ADMIN_DELETE_SQ, 1), NVME_OK);
    assert_int_equal(rig_delete(&rig, NVME_ADMIN_DELETE_SQ, 1), DNR(NVME_SC_QUEUE_ID));
    assert_int_equal(rig_delete(&rig, NVME_ADMIN_DELETE_CQ, 1), NVME_OK);
    assert_int_equal(rig_delete(&rig, NVME_ADMIN_DELETE_CQ, 1), DNR(NVME_SC_QUEUE_ID));
    assert_int_equal(rig_delete(&rig, NVME_ADMIN_DELETE_CQ, 0), DNR(NVME_SC_QUEUE_ID));
    assert_int_equal(rig_delete(&rig, NVME_ADMIN_DELETE_SQ, 0), DNR(NVME_SC_QUEUE_ID));
    rig_stop(&rig);
}

static void queue_size_must_match_the_entry_sizes_of_cc(void **state)
{
    struct rig rig;

    rig_start(&rig, "");
    rig_write32(&rig, NVME_CC, NVME_CC_EN); /* entry sizes zero */
    assert_int_equal(rig_create_cq(&rig, 1, 16, 1, true), DNR(NVME_SC_QUEUE_SIZE));
    rig_stop(&rig);
}

static void abort_finds_events_only(void **state)
{
    struct rig rig;
    struct rig_completion completion;
    uint16_t event;
    uint32_t result;

    rig_start(&rig, "");
    event = rig_submit(&rig, 0, rig_command(NVME_ADMIN_ASYNC_EVENT, 0, 0, 0, 0, 0, 0));
    rig_run(&rig);
    assert_int_equal(rig_admin(&rig, NVME_ADMIN_ABORT, 0, 1 | 9u << 16, 0, &result), NVME_OK);
    assert_int_equal(result, 1);
    rig_submit(&rig, 0, rig_command(NVME_ADMIN_ABORT, 0, 0, 0, (uint32_t)event << 16, 0, 0));
    completion = rig_complete(&rig, 0);
    assert_int_equal(completion.cid, event);
    assert_int_equal(completion.status, NVME_SC_ABORTED);
    completion = rig_complete(&rig, 0);
    assert_int_equal(completion.status, NVME_OK);
    assert_int_equal(completion.result, 0);
    rig_stop(&rig);
}

static void more_events_than_the_limit_fail(void **state)
{
    struct rig rig;
    struct rig_completion completion;

    rig_start(&rig, "");
    for (int i = 0; i < NVME_MAX_EVENTS; i++)
        rig_submit(&rig, 0, rig_command(NVME_ADMIN_ASYNC_EVENT, 0, 0, 0, 0, 0, 0));
    rig_run(&rig);
    assert_false(rig_poll(&rig, 0, &completion));
    assert_int_equal(rig_do(&rig, 0, rig_command(NVME_ADMIN_ASYNC_EVENT, 0, 0, 0, 0, 0, 0)),
                     DNR(NVME_SC_AER_LIMIT));
    rig_stop(&rig);
}

static uint16_t get_log(struct rig *rig, uint8_t log, unsigned bytes, uint32_t offset, bool retain)
{
    return rig_do(rig, 0,
                  rig_command(NVME_ADMIN_GET_LOG, 0xffffffff, rig_bus(RIG_DATA), 0,
                              log | (retain ? 1u << 15 : 0) | (bytes / 4 - 1) << 16, 0, offset));
}

static void bad_doorbell_is_an_event_until_its_log_is_read(void **state)
{
    struct rig rig;
    struct rig_completion completion;

    rig_start_io(&rig, "", 1, 16);
    rig_submit(&rig, 0, rig_command(NVME_ADMIN_ASYNC_EVENT, 0, 0, 0, 0, 0, 0));
    rig_submit(&rig, 0, rig_command(NVME_ADMIN_ASYNC_EVENT, 0, 0, 0, 0, 0, 0));
    rig_write32(&rig, NVME_DOORBELLS + 8 * 7, 1);
    completion = rig_complete(&rig, 0);
    assert_int_equal(completion.result,
                     NVME_EVENT_ERROR | NVME_EVENT_BAD_DOORBELL << 8 | NVME_LOG_ERROR << 16);
    rig_write32(&rig, NVME_DOORBELLS + 8, 16); /* held back */
    rig_run(&rig);
    assert_false(rig_poll(&rig, 0, &completion));
    assert_int_equal(get_log(&rig, NVME_LOG_ERROR, 64, 0, true), NVME_OK);
    rig_write32(&rig, NVME_DOORBELLS + 8, 16);
    rig_run(&rig);
    assert_false(rig_poll(&rig, 0, &completion));
    assert_int_equal(get_log(&rig, NVME_LOG_ERROR, 64, 0, false), NVME_OK);
    rig_write32(&rig, NVME_DOORBELLS + 8, 16);
    completion = rig_complete(&rig, 0);
    assert_int_equal(completion.result, NVME_EVENT_ERROR | NVME_EVENT_BAD_VALUE << 8 | NVME_LOG_ERROR << 16);
    rig_stop(&rig);
}

static void temperature_threshold_warns_and_reports(void **state)
{
    struct rig rig;
    struct rig_completion completion;
    const struct nvme_smart *smart;

    rig_start(&rig, "");
    smart = rig_at(&rig, RIG_DATA);
    assert_int_equal(rig_admin(&rig, NVME_ADMIN_SET_FEATURES, 0, NVME_FEAT_ASYNC_EVENT, 2, NULL), NVME_OK);
    rig_submit(&rig, 0, rig_command(NVME_ADMIN_ASYNC_EVENT, 0, 0, 0, 0, 0, 0));
    rig_run(&rig);
    assert_int_equal(
        rig_admin(&rig, NVME_ADMIN_SET_FEATURES, 0, NVME_FEAT_TEMPERATURE, NVME_TEMPERATURE - 1, NULL),
        NVME_OK);
    completion = rig_complete(&rig, 0);
    assert_int_equal(completion.result,
                     NVME_EVENT_SMART | NVME_EVENT_TEMPERATURE << 8 | NVME_LOG_SMART << 16);
    assert_int_equal(get_log(&rig, NVME_LOG_SMART, 512, 0, false), NVME_OK);
    assert_int_equal(smart->critical_warning, 2);
    assert_int_equal(vd_get16(smart->temperature), NVME_TEMPERATURE);
    rig_stop(&rig);
}

static void smart_counts_what_was_done(void **state)
{
    struct rig rig;
    const struct nvme_smart *smart;

    rig_start_io(&rig, "", 1, 16);
    smart = rig_at(&rig, RIG_DATA);
    assert_int_equal(rig_rw(&rig, 1, true, 0, 16, rig_bus(RIG_DATA + 0x10000), rig_bus(RIG_DATA + 0x20000)),
                     0);
    assert_int_equal(rig_rw(&rig, 1, false, 0, 8, rig_bus(RIG_DATA + 0x10000), 0), 0);
    assert_int_equal(rig_rw(&rig, 1, false, 8, 8, rig_bus(RIG_DATA + 0x10000), 0), 0);
    assert_int_equal(rig_rw(&rig, 1, false, 1 << 20, 8, rig_bus(RIG_DATA + 0x10000), 0),
                     DNR(NVME_SC_LBA_RANGE));
    assert_int_equal(get_log(&rig, NVME_LOG_SMART, 512, 0, false), NVME_OK);
    assert_int_equal(vd_get64(smart->host_writes.low), 1);
    assert_int_equal(vd_get64(smart->host_reads.low), 2);
    assert_int_equal(vd_get64(smart->units_written.low), 1);
    assert_int_equal(vd_get64(smart->units_read.low), 1);
    assert_int_equal(vd_get64(smart->error_entries.low), 1);
    assert_int_equal(vd_get64(smart->media_errors.low), 0);
    rig_stop(&rig);
}

static void error_log_has_the_newest_first(void **state)
{
    struct rig rig;
    const struct nvme_error_entry *log;

    rig_start_io(&rig, "", 1, 16);
    log = rig_at(&rig, RIG_DATA);
    for (unsigned i = 0; i < NVME_ERRORS + 3; i++)
        rig_rw(&rig, 1, false, (1 << 20) + i, 1, rig_bus(RIG_DATA), 0);
    assert_int_equal(get_log(&rig, NVME_LOG_ERROR, 64 * NVME_ERRORS, 0, false), NVME_OK);
    assert_int_equal(vd_get64(log[0].count), NVME_ERRORS + 3);
    assert_int_equal(vd_get64(log[0].lba), (1 << 20) + NVME_ERRORS + 2);
    assert_int_equal(vd_get16(log[0].sq_id), 1);
    assert_int_equal(vd_get16(log[0].status) >> 1, DNR(NVME_SC_LBA_RANGE) | NVME_SC_MORE);
    assert_int_equal(vd_get64(log[NVME_ERRORS - 1].count), 4);
    rig_stop(&rig);
}

static void logs_can_be_read_in_parts(void **state)
{
    struct rig rig;
    uint8_t whole[4096];

    rig_start(&rig, "");
    assert_int_equal(get_log(&rig, NVME_LOG_EFFECTS, 4096, 0, false), NVME_OK);
    memcpy(whole, rig_at(&rig, RIG_DATA), sizeof(whole));
    assert_int_equal(vd_load32(whole + 4 * NVME_ADMIN_IDENTIFY), 1);
    assert_int_equal(vd_load32(whole + 1024 + 4 * NVME_IO_WRITE), 3);
    assert_int_equal(get_log(&rig, NVME_LOG_EFFECTS, 1024, 1024, false), NVME_OK);
    assert_memory_equal(rig_at(&rig, RIG_DATA), whole + 1024, 1024);
    assert_int_equal(get_log(&rig, NVME_LOG_EFFECTS, 64, 4096, false), DNR(NVME_SC_FIELD));
    assert_int_equal(get_log(&rig, NVME_LOG_EFFECTS, 64, 2, false), DNR(NVME_SC_FIELD));
    assert_int_equal(get_log(&rig, 0x99, 64, 0, false), DNR(NVME_SC_LOG_PAGE));
    assert_int_equal(get_log(&rig, NVME_LOG_FIRMWARE, 512, 0, false), NVME_OK);
    assert_int_equal(get_log(&rig, NVME_LOG_CHANGED_NS, 4096, 0, false), NVME_OK);
    rig_stop(&rig);
}

static void log_longer_than_it_is_leaves_the_rest_alone(void **state)
{
    struct rig rig;

    rig_start(&rig, "");
    memset(rig_at(&rig, RIG_DATA), 0x5a, 8192);
    assert_int_equal(rig_do(&rig, 0,
                            rig_command(NVME_ADMIN_GET_LOG, 0xffffffff, rig_bus(RIG_DATA),
                                        rig_bus(RIG_DATA + 0x1000), NVME_LOG_SMART | 2047u << 16, 0, 0)),
                     NVME_OK);
    assert_int_equal(*(uint8_t *)rig_at(&rig, RIG_DATA + 511), 0);
    assert_int_equal(*(uint8_t *)rig_at(&rig, RIG_DATA + 512), 0x5a);
    assert_int_equal(rig_do(&rig, 0,
                            rig_command(NVME_ADMIN_GET_LOG, 0xffffffff, rig_bus(RIG_DATA), 0,
                                        NVME_LOG_SMART | 0xffffu << 16, 0xffff, 0)),
                     DNR(NVME_SC_FIELD));
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_opcode_fails),
        cmocka_unit_test(fused_and_sgl_commands_fail),
        cmocka_unit_test(identify_controller_describes_what_was_asked_for),
        cmocka_unit_test(doorbell_buffers_are_offered_unless_switched_off),
        cmocka_unit_test(identify_namespace_has_size_and_format),
        cmocka_unit_test(identify_lists_the_namespace_and_its_descriptor),
        cmocka_unit_test(unsupported_cns_fails),
        cmocka_unit_test(identify_into_two_pages_uses_both_entries),
        cmocka_unit_test(data_outside_memory_is_a_transfer_error),
        cmocka_unit_test(completion_queue_creation_checks_each_field),
        cmocka_unit_test(submission_queue_creation_checks_each_field),
        cmocka_unit_test(completion_queue_in_use_cannot_be_deleted),
        cmocka_unit_test(queue_size_must_match_the_entry_sizes_of_cc),
        cmocka_unit_test(abort_finds_events_only),
        cmocka_unit_test(more_events_than_the_limit_fail),
        cmocka_unit_test(bad_doorbell_is_an_event_until_its_log_is_read),
        cmocka_unit_test(temperature_threshold_warns_and_reports),
        cmocka_unit_test(smart_counts_what_was_done),
        cmocka_unit_test(error_log_has_the_newest_first),
        cmocka_unit_test(logs_can_be_read_in_parts),
        cmocka_unit_test(log_longer_than_it_is_leaves_the_rest_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
