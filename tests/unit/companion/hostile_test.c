/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest that means harm: garbage in every register and every byte of its arrays, arrays that overlap, memory that changes
 * while it is read. What must hold: no error of a sanitizer, nothing mapped but the guest's own memory, books that agree
 * with the host's, and nothing left when it goes.
 */
#include "rig.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { ROUNDS = 100000, LINES = 32 };

/* Every live mapping of the host lies in memory that the guest has, as this process has it. */
static void check_host(struct rig *r)
{
    uint64_t bytes = 0;
    unsigned live = 0;

    for (unsigned i = 0; i < FAKE_MAPPINGS; i++) {
        const struct fake_mapping *m = &r->f->fake.mappings[i];
        const struct vd_guest_region *region = NULL;
        bool inside = false;

        if (!m->live)
            continue;
        while ((region = vd_guest_memory_next(r->memory, region)) != NULL)
            inside |= region->host && (uint8_t *)m->host >= region->host &&
                      vd_span_fits((uint64_t)((uint8_t *)m->host - region->host), m->size,
                                   vd_range_size(region->node.range));
        assert_true(inside);
        bytes += m->size;
        live++;
    }
    rig_check_use(r, bytes, live);
}

static uint64_t some_gpa(uint64_t *random)
{
    static const uint64_t near[] = {
        RIG_LOW,       RIG_REQUESTS, RIG_RESPONSES, RIG_NEXT, RIG_NEXT + RIG_PIECE,
        RIG_READ_ONLY, RIG_NO_FILE,  RIG_DATA,      0,        UINT64_MAX};
    uint64_t value = unit_random(random);

    switch (value % 4) {
    case 0:
        return near[value / 4 % (sizeof(near) / sizeof(near[0]))] + value / 1024 % 64 - 32;
    case 1:
        return near[value / 4 % (sizeof(near) / sizeof(near[0]))];
    case 2:
        return RIG_DATA + value % RIG_DATA_SIZE;
    default:
        return value;
    }
}

static uint64_t some_id(uint64_t *random)
{
    uint64_t value = unit_random(random);

    return value % 4 == 0 ? value : value % 2 ? 1ull << 63 | value / 4 % 4096 : some_gpa(random);
}

/* Fields that are right more often than not, so that what lies behind the checks is reached. */
static void scribble_command(struct rig *r, uint64_t *random)
{
    struct vd_apple_dma_wide_command *command = rig_at(r, RIG_COMMAND);
    uint64_t value = unit_random(random);

    *command = (struct vd_apple_dma_wide_command){
        .base = {.type = vd_put32((uint32_t)(value % 16 ? 1 + value % 4 : value >> 32)),
                 .count = vd_put32((uint32_t)(value >> 8 & 7 ? 1 + (value >> 16) % 300 : value >> 32)),
                 .requests = vd_put64(value >> 40 & 7 ? RIG_REQUESTS : some_gpa(random)),
                 .responses = vd_put64(value >> 44 & 7 ? RIG_RESPONSES : some_gpa(random))},
        .segments = vd_put32((uint32_t)(value >> 52 & 15 ? 1 + value % 16 : value)),
        .unmap_requests = vd_put64(value >> 48 & 7 ? RIG_UNMAPS : some_gpa(random)),
        .unmap_responses = vd_put64(value >> 50 & 7 ? RIG_UNMAPPED : some_gpa(random)),
    };
    if (vd_get32(command->base.type) == VD_APPLE_DMA_EXCHANGE || value % 32 == 0)
        command->unmap_count = vd_put32((uint32_t)(value >> 20) % 300);
    if (value % 64 == 7)
        command->reserved[value & 1] = vd_put64(value);
}

static void scribble_requests(struct rig *r, uint64_t *random)
{
    for (unsigned i = 0; i < 8; i++) {
        uint64_t value = unit_random(random);

        rig_put_wide(r, (unsigned)(value % 300), some_gpa(random), value >> 16 & 3 ? value % 200000 : value,
                     (uint32_t)(value >> 20 & 7 ? value % 4 : value),
                     value >> 24 & 7 ? value >> 28 & 1 ? 1ull << value % 25 : 0 : value);
        *(struct vd_apple_dma_unmap *)rig_at(r, RIG_UNMAPS + 16 * (value % 300)) =
            (struct vd_apple_dma_unmap){vd_put64(some_id(random)), vd_put64(value)};
    }
}

static void scribble_register(struct rig *r, uint64_t *random)
{
    uint64_t value = unit_random(random);
    unsigned reg = (unsigned)(value >> 32) % 0x80;
    uint8_t bytes[8];

    vd_store64(bytes, value);
    if (value % 64 == 0)
        assert_int_equal(vd_region_write(r->companion, 0, reg, bytes, 1 + value / 64 % 8), 0);
    else if (value % 64 < 4)
        rig_write(r, VD_APPLE_DMA_REG_DRIVER_FEATURES, (uint32_t)(value >> 8));
    else if (value % 1024 == 99)
        rig_write(r, VD_APPLE_DMA_REG_CONTROL, 1);
    assert_int_equal(vd_region_read(r->companion, 0, reg, bytes, 1 + value / 64 % 8), 0);
}

static void garbage_all_day_does_no_harm(void **state)
{
    struct rig *r = *state;
    uint64_t random = 11;

    for (unsigned i = 0; i < ROUNDS; i++) {
        scribble_command(r, &random);
        scribble_requests(r, &random);
        scribble_register(r, &random);
        rig_set_command(r, RIG_COMMAND);
        rig_write(r, VD_APPLE_DMA_REG_DOORBELL, i);
        assert_true(rig_read(r, VD_APPLE_DMA_REG_STATUS) <= VD_APPLE_DMA_INVALID);
        if (i % 64 == 0)
            check_host(r);
    }
    check_host(r);
    assert_true(rig_stats(r).maps > ROUNDS / 100);
    assert_true(rig_stats(r).unmaps > ROUNDS / 100);
    assert_true(r->f->nr_lines > 0 && r->f->nr_lines <= LINES);
    rig_write(r, VD_APPLE_DMA_REG_CONTROL, 1);
    rig_check_use(r, 0, 0);
}

static void arrays_may_lie_on_each_other_and_on_the_command_page(void **state)
{
    static const uint64_t places[] = {RIG_COMMAND, RIG_COMMAND + 8, RIG_COMMAND + 96, RIG_COMMAND + 24,
                                      RIG_REQUESTS};
    struct rig *r = *state;

    for (unsigned in = 0; in < 5; in++) {
        for (unsigned out = 0; out < 5; out++) {
            for (unsigned type = 1; type <= 4; type++) {
                struct vd_apple_dma_wide_command *command = rig_command(r, type, 600, 16);

                for (unsigned i = 0; i < 600; i++)
                    rig_put_wide(r, i, RIG_DATA + i * 64, 64, 0, 0);
                command->base.requests = vd_put64(places[in]);
                command->base.responses = vd_put64(places[out]);
                command->unmap_count = vd_put32(type == VD_APPLE_DMA_EXCHANGE ? 600 : 0);
                command->unmap_requests = vd_put64(places[out]);
                command->unmap_responses = vd_put64(places[in]);
                rig_write(r, VD_APPLE_DMA_REG_DOORBELL, 1);
                check_host(r);
            }
        }
    }
}

/* The other processor of the guest. */
struct racer {
    struct rig *r;
    _Atomic bool stop;
    uint64_t random;
};

static void *race(void *opaque)
{
    struct racer *racer = opaque;

    while (!atomic_load_explicit(&racer->stop, memory_order_relaxed)) {
        scribble_command(racer->r, &racer->random);
        scribble_requests(racer->r, &racer->random);
    }
    return NULL;
}

static void memory_that_changes_while_it_is_read_does_no_harm(void **state)
{
    struct rig *r = *state;
    struct racer racer = {.r = r, .random = 17};
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, race, &racer), 0);
    for (unsigned i = 0; i < ROUNDS / 10 || !rig_stats(r).maps; i++) {
        rig_write(r, VD_APPLE_DMA_REG_DOORBELL, i);
        if (i % 64 == 0)
            check_host(r);
    }
    atomic_store(&racer.stop, true);
    pthread_join(thread, NULL);
    check_host(r);
}

/* The managed device's own thread goes on meanwhile. */
static void *serve(void *opaque)
{
    struct racer *racer = opaque;
    uint64_t quiesced = 0;

    while (!atomic_load_explicit(&racer->stop, memory_order_relaxed)) {
        uint8_t bytes[4];

        vd_device_enter(racer->r->managed);
        assert_int_equal(vd_region_read(racer->r->managed, 0, 0, bytes, 4), 0);
        assert_int_equal(vd_region_write(racer->r->managed, VD_REGION_CONFIG, 4, bytes, 2), 0);
        if (unit_random(&racer->random) % 512 == 0) {
            vd_device_quiesce(racer->r->managed);
            quiesced++;
        }
        vd_device_unlock(racer->r->managed);
    }
    assert_true(quiesced > 0);
    return NULL;
}

static void the_managed_device_may_be_used_and_quiesced_meanwhile(void **state)
{
    struct rig *r = *state;
    struct racer racer = {.r = r, .random = 23};
    uint64_t random = 29;
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, serve, &racer), 0);
    for (unsigned i = 0; i < ROUNDS / 10 || !rig_stats(r).lost; i++) {
        scribble_command(r, &random);
        scribble_requests(r, &random);
        rig_write(r, VD_APPLE_DMA_REG_DOORBELL, i);
        if (i % 256 == 0)
            rig_write(r, VD_APPLE_DMA_REG_CONTROL, 1);
        rig_set_command(r, RIG_COMMAND);
        rig_write(r, VD_APPLE_DMA_REG_DRIVER_FEATURES, RIG_ALL);
    }
    atomic_store(&racer.stop, true);
    pthread_join(thread, NULL);
    check_host(r);
}

/* 4096 ranges of which each would look at 200 mappings that stick out of it; 524288 looks are all a batch gets. */
static void ranges_that_pass_over_many_mappings_have_an_end(void **state)
{
    struct rig *r = rig_prepare_chosen(state);
    const struct vd_apple_dma_unmapped *out;

    assert_int_equal(rig_start(r, NULL), 0);
    rig_set_command(r, RIG_COMMAND);
    rig_write(r, VD_APPLE_DMA_REG_DRIVER_FEATURES, RIG_ALL);
    for (unsigned i = 0; i < 200; i++)
        rig_put_wide(r, i, RIG_DATA, FAKE_PAGE, 0, 0);
    rig_command(r, VD_APPLE_DMA_MAP, 200, 1);
    assert_int_equal(rig_ring(r), VD_APPLE_DMA_OK);
    for (unsigned i = 0; i < 4096; i++)
        *(struct vd_apple_dma_within *)rig_at(r, RIG_REQUESTS + 16 * i) =
            (struct vd_apple_dma_within){vd_put64(RIG_DATA), vd_put64(FAKE_PAGE - 1)};
    rig_command(r, VD_APPLE_DMA_UNMAP_WITHIN, 4096, 1);
    assert_int_equal(rig_ring(r), VD_APPLE_DMA_IO_ERROR);
    out = rig_at(r, RIG_RESPONSES);
    assert_int_equal(vd_get32(out[524288 / 200 - 1].why), 0);
    assert_int_equal(vd_get32(out[524288 / 200].why), VD_APPLE_DMA_WHY_HOST);
    assert_int_equal(vd_get32(out[4095].why), VD_APPLE_DMA_WHY_HOST);
    assert_int_equal(rig_stats(r).mappings, 200);
}

#define WIDE(name) cmocka_unit_test_setup_teardown(name, rig_setup_wide, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIDE(garbage_all_day_does_no_harm),
        WIDE(arrays_may_lie_on_each_other_and_on_the_command_page),
        WIDE(memory_that_changes_while_it_is_read_does_no_harm),
        WIDE(the_managed_device_may_be_used_and_quiesced_meanwhile),
        cmocka_unit_test_setup_teardown(ranges_that_pass_over_many_mappings_have_an_end, NULL, rig_teardown),
    };

    return cmocka_run_group_tests_name("hostile", tests, NULL, NULL);
}
