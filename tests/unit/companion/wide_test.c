/* SPDX-License-Identifier: BSD-3-Clause */
/* What is negotiated: wide entries, several segments, why an entry failed, exchange, and unmapping ranges. */
#include "rig.h"

#include <errno.h>
#include <string.h>

#include "companion/companion.h"

enum { BOTH = VD_APPLE_DMA_DEVICE_READS | VD_APPLE_DMA_DEVICE_WRITES };

static void ids_are_the_devices_and_never_come_again(void **state)
{
    struct rig *r = *state;
    struct rig_wide first = rig_map_wide(r, RIG_DATA, 100, 0, 0), second;

    assert_int_equal(first.status, VD_APPLE_DMA_OK);
    assert_true(first.id >> 63);
    second = rig_map_wide(r, RIG_DATA, 100, 0, 0); /* the same memory again is another mapping */
    assert_int_equal(second.status, VD_APPLE_DMA_OK);
    assert_true(second.id != first.id);
    rig_check_use(r, 2 * FAKE_GRANULE, 2);
    assert_int_equal(rig_unmap_wide(r, first.id), 0);
    assert_int_equal(rig_unmap_wide(r, first.id), VD_APPLE_DMA_WHY_UNKNOWN_ID);
    assert_true(rig_map_wide(r, RIG_DATA, 100, 0, 0).id > second.id);
    assert_int_equal(rig_unmap_wide(r, first.id), VD_APPLE_DMA_WHY_UNKNOWN_ID);
    assert_int_equal(rig_unmap_wide(r, 0), VD_APPLE_DMA_WHY_UNKNOWN_ID);
    assert_int_equal(rig_unmap_wide(r, UINT64_MAX), VD_APPLE_DMA_WHY_UNKNOWN_ID);
    assert_int_equal(rig_unmap_wide(r, RIG_DATA), VD_APPLE_DMA_WHY_UNKNOWN_ID);
}

static void segments_cover_exactly_what_was_asked(void **state)
{
    struct rig *r = *state;
    struct rig_wide got;

    r->f->fake.split = 4;
    got = rig_map_wide(r, RIG_DATA + 0x1004, 4 * FAKE_GRANULE - 0x2000, 0, 0);
    assert_int_equal(got.nr_segments, 4);
    assert_true(got.segments[0].iova.value == (1ull << 32) + 0x1004);
    assert_int_equal(got.segments[0].size, FAKE_GRANULE - 0x1004);
    assert_true(got.segments[1].iova.value == (1ull << 32) + FAKE_GRANULE);
    assert_int_equal(got.segments[3].size, FAKE_GRANULE - 0x1000 + 4);
    got = rig_map_wide(r, RIG_DATA + 3 * FAKE_GRANULE, FAKE_GRANULE + 1, 0,
                       0); /* two granules in four pieces */
    assert_int_equal(got.nr_segments, 3);
    assert_int_equal(got.segments[0].size + got.segments[1].size + got.segments[2].size, FAKE_GRANULE + 1);
}

static void more_segments_than_room_is_told(void **state)
{
    struct rig *r = *state;
    struct rig_wide got;

    r->f->fake.split = 3;
    rig_command(r, VD_APPLE_DMA_MAP, 1, 2);
    rig_put_wide(r, 0, RIG_DATA, 3 * FAKE_GRANULE, 0, 0);
    assert_int_equal(rig_ring(r), VD_APPLE_DMA_IO_ERROR);
    got = rig_wide_at(r, 0, 2);
    assert_int_equal(got.why, VD_APPLE_DMA_WHY_SEGMENTS);
    assert_int_equal(got.id, 0);
    assert_int_equal(got.nr_segments, 0);
    rig_check_use(r, 0, 0);
}

static void each_refusal_says_why(void **state)
{
    static const struct {
        uint64_t gpa, len;
        uint32_t flags;
        uint64_t align;
        uint32_t why;
    } bad[] = {
        {RIG_DATA, 0, 0, 0, VD_APPLE_DMA_WHY_LENGTH},
        {UINT64_MAX, 2, 0, 0, VD_APPLE_DMA_WHY_LENGTH},
        {RIG_DATA, UINT64_MAX, 0, 0, VD_APPLE_DMA_WHY_LENGTH},
        {0, UINT64_MAX, 0, 0, VD_APPLE_DMA_WHY_NOT_RAM},
        {0x900000, 1, 0, 0, VD_APPLE_DMA_WHY_NOT_RAM},
        {RIG_NO_FILE, 1, 0, 0, VD_APPLE_DMA_WHY_NOT_RAM},
        {RIG_NEXT - 1, 2, 0, 0, VD_APPLE_DMA_WHY_NOT_RAM},
        {RIG_DATA, RIG_DATA_SIZE + 1, 0, 0, VD_APPLE_DMA_WHY_NOT_RAM},
        {RIG_READ_ONLY, 1, 0, 0, VD_APPLE_DMA_WHY_ACCESS},
        {RIG_READ_ONLY, 1, BOTH, 0, VD_APPLE_DMA_WHY_ACCESS},
        {RIG_READ_ONLY, 1, VD_APPLE_DMA_DEVICE_WRITES, 0, VD_APPLE_DMA_WHY_ACCESS},
        {RIG_DATA, 1, 4, 0, VD_APPLE_DMA_WHY_FLAGS},
        {RIG_DATA, 1, 0, 3, VD_APPLE_DMA_WHY_FLAGS},
        {RIG_DATA + 8, 1, 0, 16, VD_APPLE_DMA_WHY_ALIGNMENT},
        {RIG_DATA + 0x1000, 1, 0, 1ull << 40, VD_APPLE_DMA_WHY_ALIGNMENT},
    };
    struct rig *r = *state;
    struct vd_apple_dma_wide_map *in;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(rig_map_wide(r, bad[i].gpa, bad[i].len, bad[i].flags, bad[i].align).why, bad[i].why);
    assert_int_equal(rig_map_wide(r, RIG_READ_ONLY, 1, VD_APPLE_DMA_DEVICE_READS, 0).why, 0);
    rig_put_wide(r, 0, RIG_DATA, 1, 0, 0);
    in = rig_at(r, RIG_REQUESTS);
    in->reserved = vd_put32(1);
    rig_command(r, VD_APPLE_DMA_MAP, 1, 1);
    assert_int_equal(rig_ring(r), VD_APPLE_DMA_IO_ERROR);
    assert_int_equal(rig_wide_at(r, 0, 1).why, VD_APPLE_DMA_WHY_FLAGS);
    rig_check_use(r, FAKE_GRANULE, 1);
}

static void granules_that_are_not_all_the_guests_are_not_mapped(void **state)
{
    struct rig *r = *state;

    assert_int_equal(rig_map_wide(r, RIG_ODD, 1, 0, 0).why, VD_APPLE_DMA_WHY_NOT_RAM);
    assert_int_equal(rig_map_wide(r, RIG_ODD + 0x1fff, 2, 0, 0).why, VD_APPLE_DMA_WHY_NOT_RAM);
    assert_int_equal(rig_map_wide(r, RIG_ODD + 0x5fff, 2, 0, 0).why, VD_APPLE_DMA_WHY_NOT_RAM);
    assert_int_equal(rig_map_wide(r, RIG_ODD + 0x6000, 0x1000, 0, 0).why, VD_APPLE_DMA_WHY_NOT_RAM);
    assert_int_equal(rig_map_wide(r, RIG_ODD + 0x2000, 0x4000, 0, 0).why, 0);
    rig_check_use(r, FAKE_GRANULE, 1);
}

/* What counts is where the granules of the host's memory are; the guest pays for both that it touches. */
static void memory_that_lies_askew_is_mapped_where_it_is(void **state)
{
    struct rig *r = *state;
    struct rig_wide got;

    assert_int_equal(rig_map_wide(r, RIG_ASKEW, 1, 0, 0).why, VD_APPLE_DMA_WHY_NOT_RAM);
    got = rig_map_wide(r, RIG_ASKEW + 0x4000, 0x4000, 0, 4096);
    assert_int_equal(got.why, 0);
    assert_int_equal(got.segments[0].iova.value % FAKE_GRANULE, 0x1000);
    rig_check_use(r, 2 * FAKE_GRANULE, 1);
    assert_int_equal(rig_map_wide(r, RIG_ASKEW + 0x4000, 1, 0, FAKE_GRANULE).why, VD_APPLE_DMA_WHY_ALIGNMENT);
}

static void a_gone_device_and_a_host_that_refuses_are_told_apart(void **state)
{
    struct rig *r = *state;

    r->f->fake.fail_map_at = r->f->fake.nr_entries + 1;
    assert_int_equal(rig_map_wide(r, RIG_DATA, 1, 0, 0).why, VD_APPLE_DMA_WHY_HOST);
    r->f->fake.events->gone(r->f->fake.events->opaque);
    assert_int_equal(rig_map_wide(r, RIG_DATA, 1, 0, 0).why, VD_APPLE_DMA_WHY_GONE);
}

static void errors_of_the_domain_have_their_reasons(void **state)
{
    static const struct {
        int error;
        uint32_t why;
    } table[] = {
        {0, VD_APPLE_DMA_WHY_NONE},
        {-ENOSPC, VD_APPLE_DMA_WHY_SPACE},
        {-EEXIST, VD_APPLE_DMA_WHY_SPACE},
        {-ERANGE, VD_APPLE_DMA_WHY_SPACE},
        {-ENOBUFS, VD_APPLE_DMA_WHY_SEGMENTS},
        {-ENODEV, VD_APPLE_DMA_WHY_GONE},
        {-ENOMEM, VD_APPLE_DMA_WHY_MEMORY},
        {-EIO, VD_APPLE_DMA_WHY_HOST},
        {-EINVAL, VD_APPLE_DMA_WHY_HOST},
        {-ENOTSUP, VD_APPLE_DMA_WHY_HOST},
        {-ETIMEDOUT, VD_APPLE_DMA_WHY_HOST},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        assert_int_equal(vd_companion_why(table[i].error), table[i].why);
    for (uint32_t why = 0; why <= VD_APPLE_DMA_WHY_HOST; why++)
        assert_true(strlen(vd_companion_why_text(why)) > 5);
    assert_string_equal(vd_companion_why_text(VD_APPLE_DMA_WHY_HOST + 1), "?");
}

static void the_command_page_tells_what_is_in_use(void **state)
{
    struct rig *r = *state;
    struct vd_apple_dma_wide_command *command = rig_command(r, VD_APPLE_DMA_MAP, 3, 1);

    rig_put_wide(r, 0, RIG_DATA, 1, 0, 0);
    rig_put_wide(r, 1, RIG_DATA, 0, 0, 0);
    rig_put_wide(r, 2, RIG_DATA + FAKE_GRANULE - 1, 2, 0, 0);
    assert_int_equal(rig_ring(r), VD_APPLE_DMA_IO_ERROR);
    assert_int_equal(vd_get32(command->done), 2);
    assert_int_equal(vd_get32(command->lost), 0);
    assert_int_equal(vd_get64(command->used_bytes), 3 * FAKE_GRANULE);
    assert_int_equal(vd_get64(command->used_mappings), 2);
    rig_check_use(r, 3 * FAKE_GRANULE, 2);
}

static void a_wide_command_that_makes_no_sense_is_invalid(void **state)
{
    struct rig *r = *state;
    struct vd_apple_dma_wide_command *command;

    rig_put_wide(r, 0, RIG_DATA, 1, 0, 0);
    for (unsigned i = 0; i < 9; i++) {
        command = rig_command(r, i == 7 ? VD_APPLE_DMA_EXCHANGE : VD_APPLE_DMA_MAP, i == 7 ? 0 : 1, 1);
        if (i == 0)
            command->segments = vd_put32(0);
        else if (i == 1)
            command->segments = vd_put32(17);
        else if (i == 2)
            command->reserved[0] = vd_put64(1);
        else if (i == 3)
            command->reserved[1] = vd_put64(1ull << 63);
        else if (i == 4)
            command->base.reserved = vd_put32(1);
        else if (i == 5)
            command->unmap_count = vd_put32(1);
        else if (i == 6)
            command->base.type = vd_put32(5);
        else if (i == 8)
            rig_write(r, VD_APPLE_DMA_REG_CMD_GPA_LO, (uint32_t)RIG_NEXT + RIG_PIECE - 64); /* cut off */
        rig_write(r, VD_APPLE_DMA_REG_DOORBELL, 1);
        assert_int_equal(rig_read(r, VD_APPLE_DMA_REG_STATUS), VD_APPLE_DMA_INVALID);
    }
    assert_int_equal(r->f->fake.nr_entries, 0);
}

static void put_unmap(struct rig *r, uint64_t at, unsigned i, uint64_t id)
{
    *(struct vd_apple_dma_unmap *)rig_at(r, at + 16 * i) = (struct vd_apple_dma_unmap){.id = vd_put64(id)};
}

static struct vd_apple_dma_wide_command *exchange(struct rig *r, uint32_t unmaps, uint32_t maps)
{
    struct vd_apple_dma_wide_command *command = rig_command(r, VD_APPLE_DMA_EXCHANGE, maps, 1);

    command->unmap_count = vd_put32(unmaps);
    command->unmap_requests = vd_put64(RIG_UNMAPS);
    command->unmap_responses = vd_put64(RIG_UNMAPPED);
    return command;
}

static void an_exchange_unmaps_first(void **state)
{
    struct rig *r = *state;
    struct vd_apple_dma_wide_command *command;
    struct rig_wide full;

    full = rig_map_wide(r, RIG_DATA, RIG_DATA_SIZE, 0, 0);
    assert_int_equal(full.why, 0);
    assert_int_equal(rig_map_wide(r, RIG_DATA, 1, 0, 0).why, VD_APPLE_DMA_WHY_BYTES);
    put_unmap(r, RIG_UNMAPS, 0, full.id);
    put_unmap(r, RIG_UNMAPS, 1, 42);
    for (unsigned i = 0; i < 4; i++)
        rig_put_wide(r, i, RIG_DATA, 1, 0, 0);
    command = exchange(r, 2, 4);
    assert_int_equal(rig_ring(r), VD_APPLE_DMA_IO_ERROR);
    assert_int_equal(vd_get32(command->done), 5);
    assert_int_equal(rig_wide_at(r, 3, 1).status, VD_APPLE_DMA_OK);
    assert_int_equal(vd_get32(((struct vd_apple_dma_unmapped *)rig_at(r, RIG_UNMAPPED))->status), 0);
    assert_int_equal(vd_get32(((struct vd_apple_dma_unmapped *)rig_at(r, RIG_UNMAPPED + 16))->why),
                     VD_APPLE_DMA_WHY_UNKNOWN_ID);
    rig_check_use(r, 4 * FAKE_GRANULE, 4);
    put_unmap(r, RIG_UNMAPS, 0, rig_wide_at(r, 0, 1).id);
    exchange(r, 1, 0); /* unmaps only: the other arrays and segments are not looked at */
    command->segments = vd_put32(0);
    command->base.requests = command->base.responses = vd_put64(0);
    assert_int_equal(rig_ring(r), VD_APPLE_DMA_OK);
    exchange(r, 0, 1); /* and maps only */
    command->unmap_requests = command->unmap_responses = vd_put64(0);
    assert_int_equal(rig_ring(r), VD_APPLE_DMA_OK);
    rig_check_use(r, 4 * FAKE_GRANULE, 4);
}

static void neither_half_of_an_exchange_happens_when_one_is_invalid(void **state)
{
    struct rig *r = *state;
    struct rig_wide had = rig_map_wide(r, RIG_DATA, 1, 0, 0);
    struct vd_apple_dma_wide_command *command;

    put_unmap(r, RIG_UNMAPS, 0, had.id);
    rig_put_wide(r, 0, RIG_DATA, 1, 0, 0);
    command = exchange(r, 1, 1);
    command->base.responses = vd_put64(RIG_READ_ONLY);
    assert_int_equal(rig_ring(r), VD_APPLE_DMA_INVALID);
    command = exchange(r, 1, 1);
    command->unmap_responses = vd_put64(0x900000);
    assert_int_equal(rig_ring(r), VD_APPLE_DMA_INVALID);
    exchange(r, 4097, 1);
    assert_int_equal(rig_ring(r), VD_APPLE_DMA_INVALID);
    exchange(r, 0xffffffff, 1); /* the sum is 0 */
    assert_int_equal(rig_ring(r), VD_APPLE_DMA_INVALID);
    assert_int_equal(vd_get32(command->done), 0);
    rig_check_use(r, FAKE_GRANULE, 1);
}

static void types_need_their_features(void **state)
{
    struct rig *r = *state;

    put_unmap(r, RIG_UNMAPS, 0, 1);
    put_unmap(r, RIG_REQUESTS, 0, 0);
    rig_write(r, VD_APPLE_DMA_REG_DRIVER_FEATURES, VD_APPLE_DMA_FEATURE_WIDE);
    exchange(r, 1, 0);
    assert_int_equal(rig_ring(r), VD_APPLE_DMA_INVALID);
    rig_command(r, VD_APPLE_DMA_UNMAP_WITHIN, 1, 0);
    assert_int_equal(rig_ring(r), VD_APPLE_DMA_INVALID);
    assert_int_equal(rig_map_wide(r, RIG_DATA, 1, 0, 4096).why, VD_APPLE_DMA_WHY_FLAGS);
    assert_int_equal(rig_map_wide(r, RIG_DATA, 1, 0, 0).why, 0);
}

struct gone {
    uint64_t count;
    uint32_t why;
};

static struct gone unmap_within(struct rig *r, uint64_t gpa, uint64_t len)
{
    const struct vd_apple_dma_unmapped *out = rig_at(r, RIG_RESPONSES);
    uint32_t status;

    *(struct vd_apple_dma_within *)rig_at(r, RIG_REQUESTS) =
        (struct vd_apple_dma_within){vd_put64(gpa), vd_put64(len)};
    rig_command(r, VD_APPLE_DMA_UNMAP_WITHIN, 1, 0);
    status = rig_ring(r);
    assert_int_equal(vd_get32(out->status), status);
    return (struct gone){vd_get64(out->id), vd_get32(out->why)};
}

static void unmap_within_takes_what_lies_wholly_inside(void **state)
{
    struct rig *r = *state;

    for (unsigned i = 0; i < 3; i++) /* three of the same */
        rig_map_wide(r, RIG_DATA + 0x10000, 0x8000, 0, 0);
    rig_map_wide(r, RIG_DATA + 0x10000, 0x8001, 0, 0); /* sticks out behind */
    rig_map_wide(r, RIG_DATA + 0xffff, 0x2, 0, 0);     /* and before */
    rig_map_wide(r, RIG_DATA + 0x17fff, 0x1, 0, 0);    /* the last byte */
    rig_map_wide(r, RIG_DATA + 0x18000, 0x1000, 0, 0); /* outside */
    assert_int_equal(unmap_within(r, RIG_DATA + 0x10000, 0).why, VD_APPLE_DMA_WHY_LENGTH);
    assert_int_equal(unmap_within(r, RIG_DATA + 0x10000, 0x7fff).count, 0);
    assert_int_equal(rig_stats(r).mappings, 7);
    assert_int_equal(unmap_within(r, RIG_DATA + 0x10000, 0x8000).count, 4);
    assert_int_equal(rig_stats(r).mappings, 3);
    assert_int_equal(unmap_within(r, 0, UINT64_MAX).count, 3); /* everything */
    assert_int_equal(unmap_within(r, 0, UINT64_MAX).count, 0);
    rig_check_use(r, 0, 0);
    assert_int_equal(rig_stats(r).unmaps, 7);
}

static void many_of_the_same_memory_go_at_once(void **state)
{
    struct rig *r = *state;
    uint64_t ids[100];

    for (unsigned i = 0; i < 100; i++)
        ids[i] = rig_map_wide(r, RIG_DATA + (i % 2) * FAKE_GRANULE, 1, 0, 0).id;
    for (unsigned i = 0; i < 100; i += 7) /* out of the ring, its head as well */
        assert_int_equal(rig_unmap_wide(r, ids[i]), 0);
    assert_int_equal(unmap_within(r, RIG_DATA, FAKE_GRANULE).count, 42);
    assert_int_equal(unmap_within(r, RIG_DATA, RIG_DATA_SIZE).count, 43);
    rig_check_use(r, 0, 0);
}

static void both_layouts_may_follow_each_other(void **state)
{
    struct rig *r = *state;
    struct rig_wide wide = rig_map_wide(r, RIG_DATA, 1, 0, 0);

    rig_write(r, VD_APPLE_DMA_REG_DRIVER_FEATURES, 0);
    assert_int_equal(rig_map(r, RIG_DATA, 1).status.b[0], VD_APPLE_DMA_OK);
    assert_int_equal(rig_unmap_wide(r, wide.id), 0);
    rig_write(r, VD_APPLE_DMA_REG_DRIVER_FEATURES, RIG_ALL);
    assert_int_equal(rig_unmap_wide(r, RIG_DATA), 0);
    rig_check_use(r, 0, 0);
}

#define WIDE(name) cmocka_unit_test_setup_teardown(name, rig_setup_wide, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIDE(ids_are_the_devices_and_never_come_again),
        WIDE(segments_cover_exactly_what_was_asked),
        WIDE(more_segments_than_room_is_told),
        WIDE(each_refusal_says_why),
        WIDE(granules_that_are_not_all_the_guests_are_not_mapped),
        WIDE(memory_that_lies_askew_is_mapped_where_it_is),
        WIDE(a_gone_device_and_a_host_that_refuses_are_told_apart),
        cmocka_unit_test(errors_of_the_domain_have_their_reasons),
        WIDE(the_command_page_tells_what_is_in_use),
        WIDE(a_wide_command_that_makes_no_sense_is_invalid),
        WIDE(an_exchange_unmaps_first),
        WIDE(neither_half_of_an_exchange_happens_when_one_is_invalid),
        WIDE(types_need_their_features),
        WIDE(unmap_within_takes_what_lies_wholly_inside),
        WIDE(many_of_the_same_memory_go_at_once),
        WIDE(both_layouts_may_follow_each_other),
    };

    return cmocka_run_group_tests_name("wide", tests, NULL, NULL);
}
