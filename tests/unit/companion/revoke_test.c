/* SPDX-License-Identifier: BSD-3-Clause */
/* Mappings that go unasked: guest memory is unplugged or moved, the managed device is quiesced or pulled. */
#include "rig.h"

#include <string.h>

enum { RW = VD_ACCESS_READ | VD_ACCESS_WRITE };

static void remove_data(struct rig *r)
{
    assert_int_equal(vd_guest_memory_remove(r->memory, (vd_gpa){RIG_DATA}, RIG_DATA_SIZE), 0);
}

static void add_data(struct rig *r)
{
    assert_int_equal(vd_guest_memory_add(r->memory, (vd_gpa){RIG_DATA}, RIG_DATA_SIZE, RW, r->fd, 0x800000),
                     0);
}

static void memory_that_goes_is_unmapped_before_it_is_gone(void **state)
{
    struct rig *r = *state;
    uint64_t ids[4], stays = rig_map_wide(r, RIG_NEXT, 1, 0, 0).id;

    for (unsigned i = 0; i < 4; i++) /* its first and its last byte, and one place twice */
        ids[i] = rig_map_wide(r, RIG_DATA + (i ? i == 3 ? RIG_DATA_SIZE - 1 : 0x4000 : 0), 1, 0, 0).id;
    assert_int_equal(r->f->fake.nr_live, 5);
    fake_forget_calls(&r->f->fake);
    remove_data(r);
    assert_int_equal(r->f->fake.nr_calls, 1); /* one call for all of them, and the device runs on */
    assert_int_equal(r->f->fake.calls[0].count, 4);
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_LOST), 4);
    assert_int_equal(rig_stats(r).lost, 4);
    rig_check_use(r, FAKE_GRANULE, 1);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(rig_unmap_wide(r, ids[i]), 0); /* the guest gives back what it had */
    assert_int_equal(rig_unmap_wide(r, ids[0]), VD_APPLE_DMA_WHY_UNKNOWN_ID);
    assert_int_equal(rig_unmap_wide(r, stays), 0);
    rig_check_use(r, 0, 0);
}

static void memory_that_nothing_maps_goes_without_a_word_to_the_host(void **state)
{
    struct rig *r = *state;

    rig_map_wide(r, RIG_NEXT, 1, 0, 0);
    fake_forget_calls(&r->f->fake);
    remove_data(r);
    assert_int_equal(r->f->fake.nr_calls, 0);
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_LOST), 0);
}

static void more_than_a_chunk_goes(void **state)
{
    struct rig *r = rig_prepare_chosen(state);

    assert_int_equal(rig_start(r, NULL), 0);
    rig_set_command(r, RIG_COMMAND);
    rig_write(r, VD_APPLE_DMA_REG_DRIVER_FEATURES, RIG_ALL);
    for (unsigned i = 0; i < 300; i++)
        rig_put_wide(r, i, RIG_DATA + i * FAKE_PAGE, FAKE_PAGE, 0, 0);
    rig_command(r, VD_APPLE_DMA_MAP, 300, 1);
    assert_int_equal(rig_ring(r), VD_APPLE_DMA_OK);
    rig_check_use(r, 300 * FAKE_PAGE, 300);
    remove_data(r);
    rig_check_use(r, 0, 0);
    assert_int_equal(rig_stats(r).lost, 300);
    add_data(r);
    assert_int_equal(rig_ring(r), VD_APPLE_DMA_OK); /* the same again, beside the lost ones */
    assert_int_equal(rig_stats(r).mappings, 300);
    rig_write(r, VD_APPLE_DMA_REG_CONTROL, VD_APPLE_DMA_CONTROL_RESET);
    rig_check_use(r, 0, 0);
}

static void a_lost_gpa_can_be_mapped_anew(void **state)
{
    struct rig *r = *state;

    assert_int_equal(rig_map(r, RIG_DATA, 1).status.b[0], VD_APPLE_DMA_OK);
    remove_data(r);
    assert_int_equal(rig_map(r, RIG_DATA, 1).status.b[0], VD_APPLE_DMA_IO_ERROR);
    add_data(r);
    assert_int_equal(rig_map(r, RIG_DATA, 1).status.b[0], VD_APPLE_DMA_OK);
    rig_check_use(r, FAKE_GRANULE, 1);
    assert_int_equal(rig_unmap(r, RIG_DATA).status.b[0], VD_APPLE_DMA_OK);
    assert_int_equal(rig_unmap(r, RIG_DATA).status.b[0], VD_APPLE_DMA_IO_ERROR);
}

static void what_a_quiesced_device_let_go_of_is_lost(void **state)
{
    struct rig *r = *state;
    uint64_t first = rig_map_wide(r, RIG_DATA, 1, 0, 0).id, second;

    vd_device_quiesce(r->managed); /* its own client left */
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_LOST), 1);
    rig_check_use(r, 0, 0);
    rig_write(r, VD_APPLE_DMA_REG_DOORBELL, 1); /* until it has announced itself anew */
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_STATUS), VD_APPLE_DMA_INVALID);
    rig_set_command(r, RIG_COMMAND);
    second = rig_map_wide(r, RIG_DATA, 1, 0, 0).id; /* the next one's */
    assert_true(second != 0);
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_LOST), 1);
    assert_int_equal(rig_unmap_wide(r, first),
                     VD_APPLE_DMA_WHY_UNKNOWN_ID); /* that went with the announcement */
    rig_check_use(r, FAKE_GRANULE, 1);
    assert_int_equal(rig_unmap_wide(r, second), 0);
}

static void what_a_pulled_device_had_is_lost_and_unmaps_succeed(void **state)
{
    struct rig *r = *state;
    struct vd_apple_dma_wide_command *command;
    uint64_t id = rig_map_wide(r, RIG_DATA, 1, 0, 0).id;

    rig_map_wide(r, RIG_DATA, 1, 0, 0);
    r->f->fake.events->gone(r->f->fake.events->opaque);
    assert_int_equal(rig_map_wide(r, RIG_DATA, 1, 0, 0).why, VD_APPLE_DMA_WHY_GONE);
    command = rig_at(r, RIG_COMMAND);
    assert_int_equal(vd_get32(command->lost), 2);
    assert_int_equal(vd_get64(command->used_mappings), 0);
    assert_int_equal(rig_unmap_wide(r, id), 0);
    assert_int_equal(r->f->fake.nr_live, 0);
}

static void lost_ids_do_not_pile_up_without_end(void **state)
{
    struct rig *r = *state;
    uint32_t why = 0;
    unsigned n = 0;

    for (; !why && n < 3000; n++) {
        for (unsigned i = 0; i < 100; i++)
            rig_put_wide(r, i, RIG_DATA, 1, 0, 0);
        rig_command(r, VD_APPLE_DMA_MAP, 100, 1);
        rig_ring(r);
        why = rig_wide_at(r, 99, 1).why;
        remove_data(r);
        add_data(r);
    }
    assert_int_equal(why, VD_APPLE_DMA_WHY_MAPPINGS);
    assert_int_equal(n, 2 * 131072 / 100 + 1);
    rig_check_use(r, 0, 0);
}

#define WIDE(name) cmocka_unit_test_setup_teardown(name, rig_setup_wide, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIDE(memory_that_goes_is_unmapped_before_it_is_gone),
        WIDE(memory_that_nothing_maps_goes_without_a_word_to_the_host),
        cmocka_unit_test_setup_teardown(more_than_a_chunk_goes, NULL, rig_teardown),
        cmocka_unit_test_setup_teardown(a_lost_gpa_can_be_mapped_anew, rig_setup, rig_teardown),
        WIDE(what_a_quiesced_device_let_go_of_is_lost),
        WIDE(what_a_pulled_device_had_is_lost_and_unmaps_succeed),
        WIDE(lost_ids_do_not_pile_up_without_end),
    };

    return cmocka_run_group_tests_name("revoke", tests, NULL, NULL);
}
