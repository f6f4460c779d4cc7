/* SPDX-License-Identifier: BSD-3-Clause */
/* When the managed device may work, and in which order it is stopped and its mappings go. */
#include "rig.h"

#include <errno.h>
#include <string.h>

enum { COMMAND = 4, MASTER = 4 };

static bool is_held(struct rig *r)
{
    uint8_t bytes[4] = {0};

    assert_int_equal(vd_region_read(r->managed, 0, 0, bytes, 4), 0);
    return vd_load32(bytes) == UINT32_MAX; /* the fake's own bytes are 0x5a */
}

/* The guest's driver of the managed device enables bus mastering; whether that gets to the hardware. */
static bool masters(struct rig *r)
{
    const uint8_t on[2] = {MASTER};

    assert_int_equal(vd_region_write(r->managed, VD_REGION_CONFIG, COMMAND, on, 2), 0);
    return r->f->fake.config[COMMAND] & MASTER;
}

static void check_let_go(struct rig *r)
{
    assert_true(is_held(r));
    assert_false(masters(r));
    assert_false(rig_stats(r).active);
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_STATE), VD_APPLE_DMA_STATE_PRESENT);
    rig_check_use(r, 0, 0);
}

static void until_there_is_a_driver_the_device_is_held(void **state)
{
    struct rig *r = rig_prepare(state);

    assert_int_equal(rig_start(r, NULL), 0);
    check_let_go(r);
    rig_write(r, VD_APPLE_DMA_REG_CMD_GPA_LO, 0x900000); /* no memory */
    check_let_go(r);
    rig_write(r, VD_APPLE_DMA_REG_CMD_GPA_HI, 1);
    check_let_go(r);
    rig_write(r, VD_APPLE_DMA_REG_CMD_GPA_HI, 0);
    rig_write(r, VD_APPLE_DMA_REG_CMD_GPA_LO, (uint32_t)RIG_COMMAND);
    assert_false(is_held(r));
    assert_true(r->f->fake.config[COMMAND] & MASTER); /* what the guest had asked for is forwarded now */
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_STATE),
                     VD_APPLE_DMA_STATE_PRESENT | VD_APPLE_DMA_STATE_ACTIVE);
}

/* Bus mastering off, reset, and only then memory goes. */
static void check_order(struct rig *r)
{
    int off = fake_call_at(&r->f->fake, FAKE_WRITE, 0), reset = fake_call_at(&r->f->fake, FAKE_RESET, 0);
    int unmap = fake_call_at(&r->f->fake, FAKE_UNMAP, 0);

    assert_int_equal(r->f->fake.calls[off].index, VD_REGION_CONFIG);
    assert_int_equal(r->f->fake.calls[off].offset, COMMAND);
    assert_true(0 <= off && off < reset && reset < unmap);
    assert_int_equal(fake_call_at(&r->f->fake, FAKE_RESET, 1), -1);
    check_let_go(r);
}

static struct rig *with_a_mapping(void **state)
{
    struct rig *r = *state;

    assert_true(masters(r));
    rig_map_wide(r, RIG_DATA, 1, 0, 0);
    rig_map_wide(r, RIG_DATA, 1, 0, 0);
    fake_forget_calls(&r->f->fake);
    return r;
}

static void a_command_page_of_0_lets_go(void **state)
{
    struct rig *r = with_a_mapping(state);

    rig_write(r, VD_APPLE_DMA_REG_CMD_GPA_LO, 0);
    check_order(r);
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_DRIVER_FEATURES), RIG_ALL);
    rig_set_command(r, RIG_COMMAND);
    assert_false(is_held(r));
}

static void control_reset_lets_go_and_forgets(void **state)
{
    struct rig *r = with_a_mapping(state);

    for (uint32_t other = 0; other < 4; other++)
        if (other != VD_APPLE_DMA_CONTROL_RESET)
            rig_write(r, VD_APPLE_DMA_REG_CONTROL, other);
    assert_true(rig_stats(r).active);
    rig_command(r, 99, 1, 1);
    assert_int_equal(rig_ring(r), VD_APPLE_DMA_INVALID);
    rig_write(r, VD_APPLE_DMA_REG_CONTROL, VD_APPLE_DMA_CONTROL_RESET);
    check_order(r);
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_DRIVER_FEATURES), 0);
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_STATUS), VD_APPLE_DMA_OK);
    rig_write(r, VD_APPLE_DMA_REG_DOORBELL, 1);
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_STATUS), VD_APPLE_DMA_INVALID); /* no page */
}

static void a_reset_of_the_companion_lets_go(void **state)
{
    struct rig *r = with_a_mapping(state);
    const uint8_t command[2] = {6};
    uint8_t back[2];

    assert_int_equal(vd_region_write(r->companion, VD_REGION_CONFIG, COMMAND, command, 2), 0);
    assert_int_equal(vd_device_reset(r->companion), 0);
    check_order(r);
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_DRIVER_FEATURES), 0);
    assert_int_equal(vd_region_read(r->companion, VD_REGION_CONFIG, COMMAND, back, 2), 0);
    assert_int_equal(vd_load16(back), 0);
}

static void a_client_that_leaves_lets_go(void **state)
{
    struct rig *r = with_a_mapping(state);

    rig_stop_memory(r);
    check_order(r);
    rig_write(r, VD_APPLE_DMA_REG_CMD_GPA_LO, (uint32_t)RIG_COMMAND); /* nobody's memory any more */
    check_let_go(r);
    rig_write(r, VD_APPLE_DMA_REG_DOORBELL, 1);
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_STATUS), VD_APPLE_DMA_INVALID);
    rig_start_memory(r); /* the next client's */
    rig_set_command(r, RIG_COMMAND);
    assert_false(is_held(r));
}

static void resets_without_a_driver_leave_the_device_alone(void **state)
{
    struct rig *r = rig_prepare(state);

    assert_int_equal(rig_start(r, NULL), 0);
    fake_forget_calls(&r->f->fake);
    assert_int_equal(vd_device_reset(r->companion), 0);
    rig_write(r, VD_APPLE_DMA_REG_CONTROL, VD_APPLE_DMA_CONTROL_RESET);
    rig_write(r, VD_APPLE_DMA_REG_CMD_GPA_LO, 0);
    rig_stop_memory(r);
    assert_int_equal(r->f->fake.nr_calls, 0);
}

static void a_command_page_can_move_without_letting_go(void **state)
{
    struct rig *r = with_a_mapping(state);

    rig_write(r, VD_APPLE_DMA_REG_CMD_GPA_HI, 7); /* in between it is nowhere */
    rig_write(r, VD_APPLE_DMA_REG_CMD_GPA_LO, (uint32_t)RIG_NEXT);
    rig_write(r, VD_APPLE_DMA_REG_CMD_GPA_HI, 0);
    assert_false(is_held(r));
    rig_check_use(r, 2 * FAKE_GRANULE, 2);
}

static void a_doorbell_finds_a_command_page_that_became_memory(void **state)
{
    struct rig *r = rig_prepare(state);

    assert_int_equal(rig_start(r, NULL), 0);
    assert_int_equal(vd_guest_memory_remove(r->memory, (vd_gpa){RIG_LOW}, RIG_LOW_SIZE), 0);
    rig_set_command(r, RIG_COMMAND);
    assert_true(is_held(r));
    assert_int_equal(vd_guest_memory_add(r->memory, (vd_gpa){RIG_LOW}, RIG_LOW_SIZE,
                                         VD_ACCESS_READ | VD_ACCESS_WRITE, r->fd, 0),
                     0);
    rig_map(r, RIG_DATA, 1);
    assert_false(is_held(r));
    rig_check_use(r, FAKE_GRANULE, 1);
}

static void a_device_that_is_gone_is_let_go_without_being_touched(void **state)
{
    struct rig *r = with_a_mapping(state);

    r->f->fake.events->gone(r->f->fake.events->opaque);
    rig_write(r, VD_APPLE_DMA_REG_CMD_GPA_LO, 0);
    assert_int_equal(fake_call_at(&r->f->fake, FAKE_RESET, 0), -1);
    assert_int_equal(fake_call_at(&r->f->fake, FAKE_WRITE, 0), -1);
    assert_int_equal(r->f->fake.nr_live, 0);
    assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_STATE), 0);
}

static void a_device_that_does_not_stop_is_logged_and_its_mappings_go(void **state)
{
    struct rig *r = with_a_mapping(state);

    r->f->fake.reset_error = -EIO;
    r->f->fake.master_sticks = true;
    rig_write(r, VD_APPLE_DMA_REG_CMD_GPA_LO, 0);
    assert_true(r->f->nr_lines > 0);
    rig_check_use(r, 0, 0);
    r->f->fake.reset_error = 0;
    r->f->fake.master_sticks = false;
}

static void a_reset_of_the_managed_device_keeps_its_mappings(void **state)
{
    struct rig *r = with_a_mapping(state);

    assert_int_equal(vd_device_reset(r->managed), 0);
    rig_check_use(r, 2 * FAKE_GRANULE, 2);
    assert_false(is_held(r));
}

/* Its own client left, or a new one came: what the companion's guest was allowed is void. */
static void a_managed_device_whose_user_changes_is_held_again(void **state)
{
    struct rig *r = *state;

    rig_map_wide(r, RIG_DATA, 1, 0, 0);
    assert_true(masters(r));
    vd_device_quiesce(r->managed);
    check_let_go(r);
    fake_forget_calls(&r->f->fake);
    rig_stop_memory(r); /* the companion's client leaves later */
    assert_int_equal(fake_call_at(&r->f->fake, FAKE_RESET, 0), -1);
    rig_start_memory(r);
    rig_set_command(r, RIG_COMMAND);
    assert_false(is_held(r));
}

/* Who maps must be who has the device. */
static void a_device_that_another_process_has_stays_held(void **state)
{
    struct rig *r = *state;

    rig_write(r, VD_APPLE_DMA_REG_CONTROL, VD_APPLE_DMA_CONTROL_RESET);
    r->companion->client = 1000;
    r->managed->client = VD_CLIENT_NONE;
    rig_set_command(r, RIG_COMMAND);
    check_let_go(r);
    r->managed->client = 1001;
    rig_set_command(r, RIG_COMMAND);
    check_let_go(r);
    assert_int_equal(rig_ring(r), VD_APPLE_DMA_INVALID);
    r->managed->client = 1000;
    rig_set_command(r, RIG_COMMAND);
    assert_false(is_held(r));
    r->companion->client = r->managed->client = VD_CLIENT_UNSERVED;
}

/* A VMM may have reached mapped registers meanwhile. */
static void a_device_with_mapped_registers_is_reset_before_it_is_let_go_of(void **state)
{
    struct rig *r = *state;

    rig_write(r, VD_APPLE_DMA_REG_CONTROL, VD_APPLE_DMA_CONTROL_RESET);
    assert_true(!masters(r));
    r->managed->info.regions[0].flags |= VD_REGION_LOCAL;
    fake_forget_calls(&r->f->fake);
    rig_set_command(r, RIG_COMMAND);
    assert_true(fake_call_at(&r->f->fake, FAKE_RESET, 0) >= 0);
    assert_true(r->f->fake.config[COMMAND] & MASTER); /* and what the guest wrote is not forgotten */
}

static void a_closed_companion_leaves_a_stopped_device(void **state)
{
    struct rig *r = *state;

    rig_write(r, VD_APPLE_DMA_REG_CONTROL, VD_APPLE_DMA_CONTROL_RESET);
    assert_false(masters(r)); /* asked for while it is held */
    rig_stop_memory(r);
    vd_device_close(r->companion);
    r->companion = NULL;
    assert_false(r->f->fake.config[COMMAND] & MASTER);
    assert_false(is_held(r));
}

#define WIDE(name)  cmocka_unit_test_setup_teardown(name, rig_setup_wide, rig_teardown)
#define EMPTY(name) cmocka_unit_test_setup_teardown(name, NULL, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EMPTY(until_there_is_a_driver_the_device_is_held),
        WIDE(a_command_page_of_0_lets_go),
        WIDE(control_reset_lets_go_and_forgets),
        WIDE(a_reset_of_the_companion_lets_go),
        WIDE(a_client_that_leaves_lets_go),
        EMPTY(resets_without_a_driver_leave_the_device_alone),
        WIDE(a_command_page_can_move_without_letting_go),
        EMPTY(a_doorbell_finds_a_command_page_that_became_memory),
        WIDE(a_device_that_is_gone_is_let_go_without_being_touched),
        WIDE(a_device_that_does_not_stop_is_logged_and_its_mappings_go),
        WIDE(a_reset_of_the_managed_device_keeps_its_mappings),
        WIDE(a_managed_device_whose_user_changes_is_held_again),
        WIDE(a_device_that_another_process_has_stays_held),
        WIDE(a_device_with_mapped_registers_is_reset_before_it_is_let_go_of),
        WIDE(a_closed_companion_leaves_a_stopped_device),
    };

    return cmocka_run_group_tests_name("hold", tests, NULL, NULL);
}
