/* SPDX-License-Identifier: BSD-3-Clause */
/* Get and Set Features. */
#include "rig.h"

static uint16_t set(struct rig *rig, uint8_t feature, uint32_t value, uint32_t *result)
{
    return rig_admin(rig, NVME_ADMIN_SET_FEATURES, 0, feature, value, result);
}

static uint32_t get(struct rig *rig, uint8_t feature, uint32_t value)
{
    uint32_t result = 0xdeadbeef;

    assert_int_equal(rig_admin(rig, NVME_ADMIN_GET_FEATURES, 0, feature, value, &result), NVME_OK);
    return result;
}

static void what_is_set_can_be_got_and_a_reset_forgets_it(void **state)
{
    static const struct {
        uint8_t feature;
        uint32_t value, initial;
    } rows[] = {
        {NVME_FEAT_ARBITRATION, 0x01020304, 0},
        {NVME_FEAT_ERROR_RECOVERY, 7, 0},
        {NVME_FEAT_WRITE_CACHE, 0, 1},
        {NVME_FEAT_COALESCING, 0x1234, 0},
        {NVME_FEAT_ATOMICITY, 1, 0},
        {NVME_FEAT_ASYNC_EVENT, 0x1f, 0},
        {NVME_FEAT_TEMPERATURE, 350, 0xffff},
        {NVME_FEAT_POWER, 0, 0},
    };
    struct rig rig;

    rig_start(&rig, "");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(get(&rig, rows[i].feature, 0), rows[i].initial);
        assert_int_equal(set(&rig, rows[i].feature, rows[i].value, NULL), NVME_OK);
        assert_int_equal(get(&rig, rows[i].feature, 0), rows[i].value);
    }
    rig_write32(&rig, NVME_CC, 0);
    rig_wait_csts(&rig, ~0u, 0);
    rig_enable(&rig);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(get(&rig, rows[i].feature, 0), rows[i].initial);
    rig_stop(&rig);
}

static void queue_count_is_granted_up_to_the_limit(void **state)
{
    struct rig rig;
    uint32_t result;

    rig_start(&rig, "queues=8");
    assert_int_equal(set(&rig, NVME_FEAT_QUEUES, 3 | 1 << 16, &result), NVME_OK);
    assert_int_equal(result, 3 | 3 << 16);
    assert_int_equal(set(&rig, NVME_FEAT_QUEUES, 99 | 99 << 16, &result), NVME_OK);
    assert_int_equal(result, 7 | 7 << 16);
    assert_int_equal(get(&rig, NVME_FEAT_QUEUES, 0), 7 | 7 << 16);
    assert_int_equal(set(&rig, NVME_FEAT_QUEUES, 0xffff, &result), DNR(NVME_SC_FIELD));
    assert_int_equal(rig_create_cq(&rig, 1, 16, 1, true), NVME_OK);
    assert_int_equal(set(&rig, NVME_FEAT_QUEUES, 1 | 1 << 16, &result), DNR(NVME_SC_SEQUENCE));
    rig_stop(&rig);
}

static void vector_configuration_is_kept_per_vector(void **state)
{
    struct rig rig;
    uint32_t result;

    rig_start(&rig, "vectors=3");
    assert_int_equal(set(&rig, NVME_FEAT_VECTOR, 2 | 1 << 16, NULL), NVME_OK);
    assert_int_equal(get(&rig, NVME_FEAT_VECTOR, 2), 2 | 1 << 16);
    assert_int_equal(get(&rig, NVME_FEAT_VECTOR, 1), 1);
    assert_int_equal(set(&rig, NVME_FEAT_VECTOR, 3, NULL), DNR(NVME_SC_FIELD));
    assert_int_equal(rig_admin(&rig, NVME_ADMIN_GET_FEATURES, 0, NVME_FEAT_VECTOR, 3, &result),
                     DNR(NVME_SC_FIELD));
    rig_stop(&rig);
}

static void thresholds_of_missing_sensors_fail(void **state)
{
    struct rig rig;

    rig_start(&rig, "");
    assert_int_equal(set(&rig, NVME_FEAT_TEMPERATURE, 300 | 1 << 16, NULL), DNR(NVME_SC_FIELD));
    assert_int_equal(set(&rig, NVME_FEAT_TEMPERATURE, 300 | 2 << 20, NULL), DNR(NVME_SC_FIELD));
    assert_int_equal(set(&rig, NVME_FEAT_TEMPERATURE, 250 | 1 << 20, NULL), NVME_OK);
    assert_int_equal(get(&rig, NVME_FEAT_TEMPERATURE, 1 << 20), 250);
    assert_int_equal(get(&rig, NVME_FEAT_TEMPERATURE, 0), 0xffff);
    rig_stop(&rig);
}

static void unknown_saved_and_impossible_settings_fail(void **state)
{
    struct rig rig;
    uint32_t result;

    rig_start(&rig, "");
    assert_int_equal(set(&rig, 0x7f, 0, NULL), DNR(NVME_SC_FIELD));
    assert_int_equal(rig_admin(&rig, NVME_ADMIN_GET_FEATURES, 0, 0x7f, 0, &result), DNR(NVME_SC_FIELD));
    assert_int_equal(set(&rig, NVME_FEAT_POWER, 1, NULL), DNR(NVME_SC_FIELD));
    assert_int_equal(rig_admin(&rig, NVME_ADMIN_SET_FEATURES, 0, NVME_FEAT_WRITE_CACHE | 1u << 31, 1, NULL),
                     DNR(NVME_SC_NOT_SAVEABLE));
    rig_stop(&rig);
}

static void failed_sync_fails_switching_the_cache_off(void **state)
{
    struct rig rig;

    rig_start(&rig, "");
    rig.fail_site = "nvme_sync";
    assert_int_equal(set(&rig, NVME_FEAT_WRITE_CACHE, 0, NULL), DNR(NVME_SC_WRITE_FAULT));
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_set_can_be_got_and_a_reset_forgets_it),
        cmocka_unit_test(queue_count_is_granted_up_to_the_limit),
        cmocka_unit_test(vector_configuration_is_kept_per_vector),
        cmocka_unit_test(thresholds_of_missing_sensors_fail),
        cmocka_unit_test(unknown_saved_and_impossible_settings_fail),
        cmocka_unit_test(failed_sync_fails_switching_the_cache_off),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
