/* SPDX-License-Identifier: BSD-3-Clause */
/* DESCRIBE, and the walk along capabilities that are the device's word. */
#include <stdlib.h>

#include "rig.h"

static struct vd_dext_description describe(struct vd_dext_client *client)
{
    struct vd_dext_description d;
    size_t room = sizeof(d) + 8;
    uint8_t bytes[sizeof(d) + 8];

    assert_int_equal(rig_block(client, VD_DEXT_DESCRIBE, NULL, 0, bytes, &room), 0);
    assert_int_equal(room, sizeof(d));
    memcpy(&d, bytes, sizeof(d));
    return d;
}

static void everybody_is_told_what_the_device_is(void **state)
{
    struct rig *rig = *state;
    struct vd_dext_description d = describe(rig->b);

    assert_int_equal(d.bus, 0x12);
    assert_int_equal(d.device, 0x1f);
    assert_int_equal(d.function, 7);
    assert_int_equal(d.revision, 9);
    assert_int_equal(vd_get16(d.vendor_id), 0x1234);
    assert_int_equal(vd_get16(d.device_id), 0x5678);
    assert_int_equal(vd_get16(d.subvendor_id), 0x4321);
    assert_int_equal(vd_get16(d.subdevice_id), 0x9abc);
    assert_int_equal(vd_get32(d.class_code), 0x010802);
    assert_int_equal(vd_get32(d.state), 0);
    assert_int_equal(vd_get32(d.clients), 2);
    assert_int_equal(vd_get16(d.msi_vectors), 8);
    assert_int_equal(vd_get16(d.msix_vectors), 32);
    assert_int_equal(vd_get16(d.irq_vectors), 0);
    assert_int_equal(vd_get16(d.resets), 7);
    assert_int_equal(d.link_speed, 3);
    assert_int_equal(d.link_width, 4);
    assert_int_equal(vd_get64(d.bars[2].size), 0x100000);
    assert_int_equal(vd_get32(d.bars[2].type), 12);
    assert_int_equal(vd_get32(d.bars[2].memory_index), 1);
    assert_int_equal(vd_get64(d.bars[3].size), 0);
    assert_int_equal(vd_get64(d.bars[VD_DEXT_ROM].size), 0x8000);
    assert_string_equal(d.model, "Mock Device");
}

static void the_state_is_that_of_now(void **state)
{
    struct rig *rig = *state;
    uint64_t vectors;

    assert_int_equal(vd_get32(describe(rig->a).state),
                     VD_DEXT_STATE_CLAIMED | VD_DEXT_STATE_CLAIMED_BY_CALLER);
    assert_int_equal(vd_get32(describe(rig->b).state), VD_DEXT_STATE_CLAIMED);
    assert_int_equal(rig_call(rig->a, VD_DEXT_SETUP_INTERRUPTS, NO_IN, &vectors, 1), 0);
    assert_int_equal(vd_get16(describe(rig->b).irq_vectors), 32);
    assert_int_equal(vd_get16(describe(rig->b).command), 6);
    rig->mock.config[4] = 2;
    assert_int_equal(vd_get16(describe(rig->b).command), 2);
    mock_pull(&rig->mock, rig->dext);
    assert_int_equal(vd_get32(describe(rig->b).state), VD_DEXT_STATE_CLAIMED | VD_DEXT_STATE_GONE);
    assert_int_equal(vd_get16(describe(rig->b).command), 0xffff);
    vd_dext_client_close(rig->a);
    rig->a = NULL;
    assert_int_equal(vd_get32(describe(rig->b).state), VD_DEXT_STATE_GONE);
    assert_int_equal(vd_get32(describe(rig->b).clients), 1);
}

static void without_a_claim_the_device_is_opened_for_a_look(void **state)
{
    struct rig *rig = *state;

    rig->mock.config[4] = 2;
    assert_int_equal(vd_get16(describe(rig->b).command), 2);
    assert_false(rig->mock.is_open);
    rig->mock.config[4] = 6;
    rig->mock.status[MOCK_OPEN] = VD_DEXT_EXCLUSIVE_ACCESS;
    assert_int_equal(vd_get16(describe(rig->b).command), 2); /* as last seen */
    rig->mock.status[MOCK_OPEN] = VD_DEXT_NO_DEVICE;
    assert_int_equal(vd_get16(describe(rig->b).command), 0xffff);
}

/* The description of a device whose config space `spoil` has changed. */
static struct vd_dext_description learn(void (*spoil)(struct mock *), unsigned *reads)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    struct vd_dext_description d;

    assert_non_null(rig);
    mock_init(&rig->mock);
    spoil(&rig->mock);
    rig_start(rig, NULL);
    *reads = rig->mock.steps;
    d = describe(rig->a);
    rig_stop(rig);
    free(rig);
    return d;
}

static void make_loop(struct mock *m)
{
    m->config[MOCK_MSI + 1] = MOCK_PM;
}

static void point_to_itself(struct mock *m)
{
    m->config[MOCK_PM + 1] = MOCK_PM;
}

static void be_all_ones(struct mock *m)
{
    memset(m->config, 0xff, sizeof(m->config));
}

static void point_into_the_header(struct mock *m)
{
    m->config[0x34] = 0x10; /* BAR 0, which happens to look like MSI */
    vd_store32(m->config + 0x10, 0xe0060005);
}

/* PCIe at 0xfc has no room for its registers below 0x100. */
static void put_pcie_at_the_end(struct mock *m)
{
    m->config[MOCK_MSI + 1] = 0xfc;
    m->config[0xfc] = 0x10;
    m->config[0xfc + 0x12] = 0x43;
}

static void have_no_list(struct mock *m)
{
    m->config[6] = 0;
}

static void have_two_of_a_kind(struct mock *m)
{
    m->config[MOCK_AF] = 0x05;
    m->config[MOCK_AF + 2] = 5 << 1;
}

static void set_the_reserved_bits_of_pointers(struct mock *m)
{
    m->config[0x34] |= 3;
    m->config[MOCK_PM + 1] |= 1;
    m->config[MOCK_MSI + 1] |= 2;
}

static void offer_more_msi_vectors_than_there_are(struct mock *m)
{
    m->config[MOCK_MSI + 2] = 7 << 1;
}

static void have_a_long_name(struct mock *m)
{
    m->model = "0123456789012345678901234567890123456789012345678901234567890123456789";
}

static void capabilities_in_a_loop_are_walked_once(void **state)
{
    struct vd_dext_description d;
    unsigned reads;

    (void)state;
    d = learn(make_loop, &reads);
    assert_int_equal(vd_get16(d.msi_vectors), 8);
    assert_int_equal(vd_get16(d.msix_vectors), 0);
    assert_true(reads < 100);
    d = learn(point_to_itself, &reads);
    assert_int_equal(vd_get16(d.msi_vectors), 0);
    assert_true(reads < 100);
}

static void garbage_in_the_list_is_ignored(void **state)
{
    struct vd_dext_description d;
    unsigned reads;

    (void)state;
    d = learn(be_all_ones, &reads);
    assert_int_equal(vd_get16(d.vendor_id), 0xffff);
    assert_int_equal(vd_get16(d.msix_vectors), 0);
    assert_int_equal(vd_get16(d.command), 0xffff);
    d = learn(point_into_the_header, &reads);
    assert_int_equal(vd_get16(d.msi_vectors), 0);
    d = learn(put_pcie_at_the_end, &reads);
    assert_int_equal(vd_get16(d.msi_vectors), 8);
    assert_int_equal(d.link_width, 0);
    d = learn(have_no_list, &reads);
    assert_int_equal(vd_get16(d.msi_vectors), 0);
    assert_int_equal(vd_get16(d.resets), VD_DEXT_RESET_HOT);
    d = learn(have_two_of_a_kind, &reads);
    assert_int_equal(vd_get16(d.msi_vectors), 8);
    d = learn(set_the_reserved_bits_of_pointers, &reads);
    assert_int_equal(vd_get16(d.msix_vectors), 32);
    d = learn(offer_more_msi_vectors_than_there_are, &reads);
    assert_int_equal(vd_get16(d.msi_vectors), 0);
}

static void a_long_name_is_cut(void **state)
{
    unsigned reads;
    struct vd_dext_description d = learn(have_a_long_name, &reads);

    (void)state;
    assert_int_equal(strnlen(d.model, sizeof(d.model)), sizeof(d.model) - 1);
}

/* Random config space: whatever it is, learning ends soon and touches nothing it may not. */
static void random_config_space_is_survived(void **state)
{
    uint64_t seed = 5;

    (void)state;
    for (unsigned i = 0; i < 3000; i++) {
        struct rig *rig = calloc(1, sizeof(*rig));

        assert_non_null(rig);
        mock_init(&rig->mock);
        for (unsigned n = 0; n < 256; n++)
            if (unit_random(&seed) % 3)
                rig->mock.config[n] = (uint8_t)unit_random(&seed);
        rig->mock.config[5] &= 7; /* bits of COMMAND that are 0 */
        rig->mock.reset_works = 0;
        rig_start(rig, NULL);
        assert_true(rig->mock.steps < 150);
        if (rig_call(rig->a, VD_DEXT_CLAIM, NO_IN, NULL, 0) == 0)
            rig_call(rig->a, VD_DEXT_RESET_DEVICE, NO_IN, NULL, 0);
        rig_stop(rig);
        free(rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everybody_is_told_what_the_device_is, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(the_state_is_that_of_now, rig_setup_claimed, rig_teardown),
        cmocka_unit_test_setup_teardown(without_a_claim_the_device_is_opened_for_a_look, rig_setup,
                                        rig_teardown),
        cmocka_unit_test(capabilities_in_a_loop_are_walked_once),
        cmocka_unit_test(garbage_in_the_list_is_ignored),
        cmocka_unit_test(a_long_name_is_cut),
        cmocka_unit_test(random_config_space_is_survived),
    };

    return cmocka_run_group_tests_name("describe", tests, NULL, NULL);
}
