/* SPDX-License-Identifier: BSD-3-Clause */
/* Registers and the life of a controller: reset values, enable, disable, shutdown, fatal status, FLR. */
#include "rig.h"

static void cap_and_version_are_as_designed(void **state)
{
    struct rig rig;
    uint64_t cap;

    rig_init(&rig);
    assert_int_equal(rig_create(&rig, ""), 0);
    cap = sim_nvme_ops.read(rig.endpoint, 0, NVME_CAP, 8);
    assert_int_equal(cap & 0xffff, 1023);
    assert_int_equal(cap >> 16 & 1, 1);
    assert_int_equal(cap >> 24 & 0xff, 60);
    assert_int_equal(cap >> 32 & 15, 0);
    assert_int_equal(cap >> 37 & 0xff, 1);
    assert_int_equal(cap >> 48 & 15, 0);
    assert_int_equal(cap >> 52 & 15, 4);
    assert_int_equal(rig_read32(&rig, NVME_CAP), (uint32_t)cap);
    assert_int_equal(rig_read32(&rig, NVME_CAP + 4), cap >> 32);
    assert_int_equal(rig_read32(&rig, NVME_VS), 0x10400);
    rig_stop(&rig);
}

static void narrow_reads_give_their_part_and_narrow_writes_nothing(void **state)
{
    struct rig rig;

    rig_init(&rig);
    assert_int_equal(rig_create(&rig, ""), 0);
    rig_write64(&rig, NVME_ASQ, 0x1122334455667000);
    assert_int_equal(sim_nvme_ops.read(rig.endpoint, 0, NVME_ASQ + 1, 1), 0x70);
    assert_int_equal(sim_nvme_ops.read(rig.endpoint, 0, NVME_ASQ + 2, 2), 0x5566);
    sim_nvme_ops.write(rig.endpoint, 0, NVME_ASQ + 4, 2, 0xdead);
    assert_true(sim_nvme_ops.read(rig.endpoint, 0, NVME_ASQ, 8) == 0x1122334455667000);
    rig_stop(&rig);
}

static void queue_addresses_have_no_low_bits(void **state)
{
    struct rig rig;

    rig_init(&rig);
    assert_int_equal(rig_create(&rig, ""), 0);
    rig_write64(&rig, NVME_ACQ, 0xfff);
    assert_int_equal(rig_read32(&rig, NVME_ACQ), 0);
    rig_stop(&rig);
}

static void enable_sets_ready_only_in_dispatch(void **state)
{
    struct rig rig;

    rig_init(&rig);
    assert_int_equal(rig_create(&rig, ""), 0);
    rig_write32(&rig, NVME_AQA, 0x001f001f);
    rig_write64(&rig, NVME_ASQ, rig_bus(RIG_ASQ));
    rig_write64(&rig, NVME_ACQ, rig_bus(RIG_ACQ));
    rig_write32(&rig, NVME_CC, NVME_CC_EN);
    assert_int_equal(rig_read32(&rig, NVME_CSTS), 0);
    rig_run(&rig);
    assert_int_equal(rig_read32(&rig, NVME_CSTS), NVME_CSTS_RDY);
    rig_stop(&rig);
}

static void enable_with(uint32_t aqa, uint64_t asq, uint32_t cc)
{
    struct rig rig;

    rig_init(&rig);
    assert_int_equal(rig_create(&rig, ""), 0);
    rig_write32(&rig, NVME_AQA, aqa);
    rig_write64(&rig, NVME_ASQ, asq);
    rig_write64(&rig, NVME_ACQ, rig_bus(RIG_ACQ));
    rig_write32(&rig, NVME_CC, cc);
    rig_run(&rig);
    assert_int_equal(rig_read32(&rig, NVME_CSTS), NVME_CSTS_CFS);
    rig_write32(&rig, NVME_CC, 0);
    rig_run(&rig);
    assert_int_equal(rig_read32(&rig, NVME_CSTS), 0);
    rig_enable(&rig);
    assert_int_equal(rig_read32(&rig, NVME_CSTS), NVME_CSTS_RDY);
    rig_stop(&rig);
}

static void bad_admin_queues_are_fatal_until_disabled(void **state)
{
    enable_with(0x001f0000, rig_bus(0), NVME_CC_EN);
    enable_with(0x0000001f, rig_bus(0), NVME_CC_EN);
    enable_with(0x001f001f, rig_bus(0), NVME_CC_EN | 5 << 7);      /* MPS above MPSMAX */
    enable_with(0x001f001f, rig_bus(0x1000), NVME_CC_EN | 1 << 7); /* not aligned to that page */
    enable_with(0x001f001f, rig_bus(0), NVME_CC_EN | 1 << 4);      /* command set */
    enable_with(0x001f001f, rig_bus(0), NVME_CC_EN | 1 << 11);     /* arbitration */
}

static void unreachable_admin_queue_is_fatal(void **state)
{
    struct rig rig;

    rig_start(&rig, "");
    rig.port.master = false;
    rig.port.generation++;
    rig_submit(&rig, 0, rig_command(NVME_ADMIN_ABORT, 0, 0, 0, 0, 0, 0));
    rig_run(&rig);
    assert_int_equal(rig_read32(&rig, NVME_CSTS), NVME_CSTS_RDY | NVME_CSTS_CFS);
    assert_int_equal(rig.port.faults, 1);
    rig_stop(&rig);
}

static void disable_clears_ready_and_forgets_queues(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 2, 16);
    rig_write32(&rig, NVME_CC, 0);
    rig_wait_csts(&rig, NVME_CSTS_RDY, 0);
    assert_int_equal(rig_read32(&rig, NVME_AQA), 0x001f001f);
    rig_enable(&rig);
    assert_int_equal(rig_delete(&rig, NVME_ADMIN_DELETE_SQ, 1), DNR(NVME_SC_QUEUE_ID));
    assert_int_equal(rig_create_cq(&rig, 1, 16, 1, true), NVME_OK);
    rig_stop(&rig);
}

static void shutdown_ends_with_the_image_synced(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 1, 16);
    rig_write32(&rig, NVME_CC, rig_read32(&rig, NVME_CC) | 1 << 14);
    assert_int_equal(rig_read32(&rig, NVME_CSTS) & NVME_CSTS_SHST, NVME_CSTS_SHST_RUN);
    rig_wait_csts(&rig, NVME_CSTS_SHST, NVME_CSTS_SHST_END);
    assert_int_equal(rig_nvme(&rig)->shutdown.op, NVME_OP_SYNC);
    rig_write32(&rig, NVME_CC, 0);
    rig_wait_csts(&rig, ~0u, 0);
    rig_enable(&rig);
    assert_int_equal(rig_read32(&rig, NVME_CSTS), NVME_CSTS_RDY);
    rig_stop(&rig);
}

static void commands_after_shutdown_are_not_taken(void **state)
{
    struct rig rig;
    struct rig_completion completion;

    rig_start(&rig, "");
    rig_write32(&rig, NVME_CC, rig_read32(&rig, NVME_CC) | 2 << 14);
    rig_wait_csts(&rig, NVME_CSTS_SHST, NVME_CSTS_SHST_END);
    rig_submit(&rig, 0, rig_command(NVME_ADMIN_ABORT, 0, 0, 0, 0, 0, 0));
    rig_run(&rig);
    assert_false(rig_poll(&rig, 0, &completion));
    rig_stop(&rig);
}

static void enable_after_a_shutdown_of_a_disabled_controller_takes_commands(void **state)
{
    struct rig rig;

    rig_init(&rig);
    assert_int_equal(rig_create(&rig, ""), 0);
    rig_write32(&rig, NVME_CC, 1 << 14);
    rig_wait_csts(&rig, NVME_CSTS_SHST, NVME_CSTS_SHST_END);
    rig_enable(&rig);
    assert_int_equal(rig_read32(&rig, NVME_CSTS), NVME_CSTS_RDY);
    assert_int_equal(rig_admin(&rig, NVME_ADMIN_ABORT, 0, 0, 0, NULL), NVME_OK);
    rig_stop(&rig);
}

static void failed_sync_at_shutdown_is_a_media_error_and_still_ends(void **state)
{
    struct rig rig;

    rig_start(&rig, "");
    rig.fail_site = "nvme_sync";
    rig_write32(&rig, NVME_CC, rig_read32(&rig, NVME_CC) | 1 << 14);
    rig_wait_csts(&rig, NVME_CSTS_SHST, NVME_CSTS_SHST_END);
    assert_int_equal(rig_nvme(&rig)->counters.media_errors, 1);
    rig_stop(&rig);
}

static void flr_restores_every_register(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 1, 16);
    rig_write32(&rig, NVME_INTMS, 3);
    sim_nvme_ops.reset(rig.endpoint);
    assert_int_equal(rig_read32(&rig, NVME_CC), 0);
    assert_int_equal(rig_read32(&rig, NVME_CSTS), 0);
    assert_int_equal(rig_read32(&rig, NVME_AQA), 0);
    assert_int_equal(rig_read32(&rig, NVME_ASQ), 0);
    assert_int_equal(rig_read32(&rig, NVME_ACQ + 4), 0);
    assert_int_equal(rig_read32(&rig, NVME_INTMC), 0);
    rig_enable(&rig);
    assert_int_equal(rig_read32(&rig, NVME_CSTS), NVME_CSTS_RDY);
    rig_stop(&rig);
}

static void intms_and_intmc_set_and_clear_one_mask(void **state)
{
    struct rig rig;

    rig_start(&rig, "");
    rig_write32(&rig, NVME_INTMS, 0xf0);
    rig_write32(&rig, NVME_INTMC, 0x30);
    assert_int_equal(rig_read32(&rig, NVME_INTMS), 0xc0);
    assert_int_equal(rig_read32(&rig, NVME_INTMC), 0xc0);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cap_and_version_are_as_designed),
        cmocka_unit_test(narrow_reads_give_their_part_and_narrow_writes_nothing),
        cmocka_unit_test(queue_addresses_have_no_low_bits),
        cmocka_unit_test(enable_sets_ready_only_in_dispatch),
        cmocka_unit_test(bad_admin_queues_are_fatal_until_disabled),
        cmocka_unit_test(unreachable_admin_queue_is_fatal),
        cmocka_unit_test(disable_clears_ready_and_forgets_queues),
        cmocka_unit_test(shutdown_ends_with_the_image_synced),
        cmocka_unit_test(commands_after_shutdown_are_not_taken),
        cmocka_unit_test(enable_after_a_shutdown_of_a_disabled_controller_takes_commands),
        cmocka_unit_test(failed_sync_at_shutdown_is_a_media_error_and_still_ends),
        cmocka_unit_test(flr_restores_every_register),
        cmocka_unit_test(intms_and_intmc_set_and_clear_one_mask),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
