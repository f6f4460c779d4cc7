/* SPDX-License-Identifier: BSD-3-Clause */
/* Everything that can be refused is refused once, at every step: allocations, and the host's own answers. */
#include "rig.h"

#include <errno.h>
#include <string.h>

enum { MOST_STEPS = 200 };

static void creating_fails_cleanly_at_every_step(void **state)
{
    const struct vd_companion_options options = {.size = sizeof(options)};
    struct rig *r = rig_prepare(state);
    unsigned nth;
    long before;

    assert_int_equal(fixture_open(r->f, &fake_ops, NULL), 0);
    before = r->f->live_memory;
    for (nth = 1; nth < MOST_STEPS; nth++) {
        struct vd_device *companion;
        struct vd_error error = {0};
        int ret;

        r->f->fail_nth = nth;
        ret = vd_companion_create(r->f->context, r->f->device, &options, &companion, &error);
        if (!ret) {
            vd_device_close(companion);
            break;
        }
        assert_int_equal(ret, -ENOMEM);
        assert_null(companion);
        assert_true(error.message[0]);
        assert_int_equal(r->f->live_memory, before);
        assert_false(r->f->device->held || r->f->device->has_companion);
    }
    assert_true(nth > 3 && nth < MOST_STEPS);
    r->f->fail_nth = 0;
}

/* An exchange with maps of every kind; whether each entry succeeded is up to what is made to fail. */
static void one_exchange(struct rig *r)
{
    struct vd_apple_dma_wide_command *command;
    uint64_t had = rig_map_wide(r, RIG_DATA, 1, 0, 0).id;

    *(struct vd_apple_dma_unmap *)rig_at(r, RIG_UNMAPS) =
        (struct vd_apple_dma_unmap){vd_put64(had), vd_put64(0)};
    for (unsigned i = 0; i < 6; i++)
        rig_put_wide(r, i, RIG_DATA + i * FAKE_GRANULE, FAKE_GRANULE, i % 4, i == 5 ? 2 << 20 : 0);
    command = rig_command(r, VD_APPLE_DMA_EXCHANGE, 6, 4);
    command->unmap_count = vd_put32(1);
    command->unmap_requests = vd_put64(RIG_UNMAPS);
    command->unmap_responses = vd_put64(RIG_UNMAPPED);
    rig_ring(r);
}

static void check_answers(struct rig *r)
{
    unsigned good = 0;

    for (unsigned i = 0; i < 6; i++) {
        struct rig_wide got = rig_wide_at(r, i, 4);

        good += got.status == VD_APPLE_DMA_OK;
        assert_int_equal(got.status == VD_APPLE_DMA_OK, got.id != 0);
        assert_int_equal(got.status == VD_APPLE_DMA_OK, got.why == 0);
    }
    assert_int_equal(good, rig_stats(r).mappings);
}

static void a_batch_survives_every_failure_of_memory(void **state)
{
    struct rig *r = *state;
    unsigned nth;

    for (nth = 1; nth < MOST_STEPS; nth++) {
        r->f->fail_nth = nth;
        one_exchange(r);
        check_answers(r);
        if (r->f->fail_nth) /* nothing was left to fail */
            break;
        rig_check_use(r, rig_stats(r).bytes, rig_stats(r).mappings);
        rig_write(r, VD_APPLE_DMA_REG_CONTROL, 1);
        rig_check_use(r, 0, 0);
        rig_set_command(r, RIG_COMMAND);
        rig_write(r, VD_APPLE_DMA_REG_DRIVER_FEATURES, RIG_ALL);
    }
    assert_true(nth > 12 && nth < MOST_STEPS); /* two allocations a mapping */
    r->f->fail_nth = 0;
}

static void a_batch_survives_every_refusal_of_the_host(void **state)
{
    struct rig *r = *state;
    unsigned nth;

    for (nth = 1; nth < MOST_STEPS; nth++) {
        unsigned before = r->f->fake.nr_entries;

        r->f->fake.fail_map_at = before + nth;
        one_exchange(r);
        check_answers(r);
        rig_check_use(r, rig_stats(r).bytes, rig_stats(r).mappings);
        rig_write(r, VD_APPLE_DMA_REG_CONTROL, 1);
        rig_check_use(r, 0, 0);
        if (r->f->fake.nr_entries < before + nth)
            break;
        rig_set_command(r, RIG_COMMAND);
        rig_write(r, VD_APPLE_DMA_REG_DRIVER_FEATURES, RIG_ALL);
    }
    assert_true(nth > 6 && nth < MOST_STEPS);
}

static void letting_go_needs_no_memory(void **state)
{
    struct rig *r = *state;

    one_exchange(r);
    r->f->fail_nth = 1;
    rig_write(r, VD_APPLE_DMA_REG_CMD_GPA_LO, 0);
    assert_int_equal(r->f->fail_nth, 1);
    r->f->fail_nth = 0;
    rig_check_use(r, 0, 0);
}

/* A host that has one chance to do harm: the memory of the answers goes while it maps. */
static void take_memory_away(void *opaque)
{
    struct rig *r = opaque;

    r->f->fake.on_map = NULL;
    assert_int_equal(vd_guest_memory_remove(r->memory, (vd_gpa){RIG_NEXT}, RIG_PIECE), 0);
}

static void answers_that_cannot_be_written_undo_the_mappings(void **state)
{
    struct rig *r = *state;

    for (unsigned i = 0; i < 300; i++)
        rig_put_wide(r, i, RIG_DATA, 1, 0, 0);
    rig_command(r, VD_APPLE_DMA_MAP, 3, 1)->base.responses = vd_put64(RIG_NEXT - 60); /* the second is cut */
    r->f->fake.on_map = take_memory_away;
    r->f->fake.on_map_opaque = r;
    assert_int_equal(rig_ring(r), VD_APPLE_DMA_IO_ERROR);
    rig_check_use(r, 0, 0);
    assert_int_equal(rig_stats(r).refused, 3);
    assert_int_equal(rig_stats(r).maps, 0);
}

/* A host that maps less than it was asked for. */
static void a_host_that_cheats_maps_nothing(void **state)
{
    struct rig *r = *state;

    r->f->fake.short_by = 4096;
    assert_int_equal(rig_map_wide(r, RIG_DATA, FAKE_GRANULE, 0, 0).why, VD_APPLE_DMA_WHY_HOST);
    rig_check_use(r, 0, 0);
}

#define WIDE(name) cmocka_unit_test_setup_teardown(name, rig_setup_wide, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(creating_fails_cleanly_at_every_step, NULL, rig_teardown),
        WIDE(a_batch_survives_every_failure_of_memory),
        WIDE(a_batch_survives_every_refusal_of_the_host),
        WIDE(letting_go_needs_no_memory),
        WIDE(answers_that_cannot_be_written_undo_the_mappings),
        WIDE(a_host_that_cheats_maps_nothing),
    };

    return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
