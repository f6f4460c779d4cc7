/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A version 2 guest, in plain numbers: registers, layouts and values as the RFC has them, so that a change of
 * proto/apple_dma.h cannot go unnoticed here. Only the rig, which is the machine around it, knows the rest.
 */
#include "rig.h"

#include <string.h>

enum { OK = 0, IO_ERROR = 1, INVALID = 3, MAP = 1, UNMAP = 2, STATUS = 0x0c, DOORBELL = 0x18 };

static const uint64_t page = 0x100000, requests = 0x110000, responses = 0x160000, data = 0x40000000;

static void put(struct rig *r, uint64_t gpa, unsigned width, uint64_t value)
{
    uint8_t bytes[8];

    vd_store64(bytes, value);
    memcpy(rig_at(r, gpa), bytes, width);
}

static uint64_t get(struct rig *r, uint64_t gpa, unsigned width)
{
    uint8_t bytes[8] = {0};

    memcpy(bytes, rig_at(r, gpa), width);
    return vd_load64(bytes);
}

static void command_at(struct rig *r, uint64_t at, uint32_t type, uint32_t count, uint64_t in, uint64_t out)
{
    put(r, at, 4, type);
    put(r, at + 4, 4, count);
    put(r, at + 8, 4, 99);
    put(r, at + 12, 4, 0xdead); /* reserved: not looked at */
    put(r, at + 16, 8, in);
    put(r, at + 24, 8, out);
}

static uint32_t ring(struct rig *r)
{
    rig_write(r, DOORBELL, 0);
    return rig_read(r, STATUS);
}

static uint32_t batch(struct rig *r, uint32_t type, uint32_t count)
{
    uint32_t status;

    command_at(r, page, type, count, requests, responses);
    status = ring(r);
    assert_int_equal(get(r, page + 8, 4), status);
    return status;
}

static void ask(struct rig *r, unsigned i, uint64_t gpa, uint32_t len)
{
    put(r, requests + 16 * i, 8, gpa);
    put(r, requests + 16 * i + 8, 4, len);
    put(r, requests + 16 * i + 12, 4, 0xffffffff); /* flags: not looked at */
}

static void a_batch_is_mapped_and_unmapped(void **state)
{
    struct rig *r = *state;

    for (unsigned i = 0; i < 3; i++)
        ask(r, i, data + i * 0x10000ull, 0x1000 * (i + 1));
    assert_int_equal(batch(r, MAP, 3), OK);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t at = responses + 24 * i;

        assert_int_equal(get(r, at, 8), data + i * 0x10000ull); /* the id is the GPA */
        assert_int_equal(get(r, at + 8, 8), r->f->fake.mappings[i].iova);
        assert_int_equal(get(r, at + 16, 4), 0x1000 * (i + 1));
        assert_int_equal(get(r, at + 20, 4), OK);
    }
    rig_check_use(r, 3 * 0x4000, 3);
    for (unsigned i = 0; i < 3; i++) {
        put(r, requests + 16 * i, 8, data + i * 0x10000ull);
        put(r, requests + 16 * i + 8, 8, 12345); /* size: not looked at */
    }
    memset(rig_at(r, responses), 0x11, 16 * 3);
    assert_int_equal(batch(r, UNMAP, 3), OK);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(get(r, responses + 16 * i, 8), data + i * 0x10000ull);
        assert_int_equal(get(r, responses + 16 * i + 8, 4), OK);
        assert_int_equal(get(r, responses + 16 * i + 12, 4), 0);
    }
    rig_check_use(r, 0, 0);
}

static void the_address_is_that_of_the_gpa_within_its_granule(void **state)
{
    struct rig *r = *state;

    ask(r, 0, data + 0x5678, 0x10);
    assert_int_equal(batch(r, MAP, 1), OK);
    assert_int_equal(get(r, responses, 8), data + 0x5678);
    assert_int_equal(get(r, responses + 8, 8), r->f->fake.mappings[0].iova + 0x1678);
    assert_int_equal(get(r, responses + 16, 4), 0x10);
    assert_int_equal(r->f->fake.mappings[0].size, 0x4000);
}

static void of_an_entry_that_fails_only_the_status_is_written(void **state)
{
    struct rig *r = *state;

    ask(r, 0, data, 0x1000);
    ask(r, 1, 0x900000, 0x1000); /* no memory there */
    ask(r, 2, data + 0x8000, 0x1000);
    memset(rig_at(r, responses), 0x11, 24 * 3);
    assert_int_equal(batch(r, MAP, 3), IO_ERROR);
    assert_int_equal(get(r, responses + 20, 4), OK);
    assert_true(get(r, responses + 24, 8) == 0x1111111111111111);
    assert_true(get(r, responses + 32, 8) == 0x1111111111111111);
    assert_int_equal(get(r, responses + 40, 4), 0x11111111);
    assert_int_equal(get(r, responses + 44, 4), IO_ERROR);
    assert_int_equal(get(r, responses + 68, 4), OK);
    rig_check_use(r, 2 * 0x4000, 2);
}

static void entries_that_cannot_be_mapped_are_io_errors(void **state)
{
    static const struct {
        uint64_t gpa;
        uint32_t len;
    } bad[] = {
        {0x40000000, 0},          /* nothing */
        {0x900000, 0x1000},       /* no memory */
        {0x800000, 0x1000},       /* read-only, and version 2 always wants both ways */
        {0xa00000, 0x1000},       /* memory that is not in this process */
        {0x2ff000, 0x2000},       /* two regions */
        {0x43fff000, 0x2000},     /* past the end */
        {0xffffffffffffffff, 2},  /* wraps */
        {0x8000000040000000, 16}, /* nowhere, and the ids of others */
    };
    struct rig *r = *state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ask(r, 0, bad[i].gpa, bad[i].len);
        assert_int_equal(batch(r, MAP, 1), IO_ERROR);
        assert_int_equal(get(r, responses + 20, 4), IO_ERROR);
    }
    rig_check_use(r, 0, 0);
}

static void a_gpa_is_mapped_once_and_unmapped_once(void **state)
{
    struct rig *r = *state;

    ask(r, 0, data, 0x1000);
    ask(r, 1, data, 0x1000);
    assert_int_equal(batch(r, MAP, 2), IO_ERROR);
    assert_int_equal(get(r, responses + 20, 4), OK);
    assert_int_equal(get(r, responses + 44, 4), IO_ERROR);
    put(r, requests, 8, data);
    put(r, requests + 16, 8, data);
    assert_int_equal(batch(r, UNMAP, 2), IO_ERROR);
    assert_int_equal(get(r, responses + 8, 4), OK);
    assert_int_equal(get(r, responses + 24, 4), IO_ERROR);
    assert_int_equal(get(r, responses + 28, 4), 0);
    ask(r, 0, data, 0x1000);
    assert_int_equal(batch(r, MAP, 1), OK);
    rig_check_use(r, 0x4000, 1);
}

static void a_mapping_in_pieces_is_refused(void **state)
{
    struct rig *r = *state;

    r->f->fake.split = 2;
    ask(r, 0, data, 0x8000);
    assert_int_equal(batch(r, MAP, 1), IO_ERROR);
    rig_check_use(r, 0, 0);
}

static void a_batch_that_makes_no_sense_is_invalid_and_does_nothing(void **state)
{
    static const struct {
        uint32_t type, count;
        uint64_t in, out;
    } bad[] = {
        {0, 1, 0x110000, 0x160000},
        {3, 1, 0x110000, 0x160000}, /* exchange: not in version 2 */
        {4, 1, 0x110000, 0x160000},
        {0xffffffff, 1, 0x110000, 0x160000},
        {1, 0, 0x110000, 0x160000},
        {1, 4097, 0x110000, 0x160000},
        {1, 0xffffffff, 0x110000, 0x160000},
        {1, 1, 0, 0x160000},
        {1, 1, 0x110000, 0},
        {1, 1, 0x900000, 0x160000},
        {1, 1, 0x110000, 0x900000},
        {1, 1, 0x110000, 0x800000},           /* responses into memory that is read-only */
        {1, 1, 0x110000, 0xa00000},           /* and into memory that is not here */
        {1, 2, 0x110000, 0x30fff0},           /* past the end */
        {1, 1, 0xfffffffffffffff8, 0x160000}, /* wraps */
        {1, 1, 0x110000, 0xfffffffffffffff0},
        {2, 1, 0x110000, 0x800000},
    };
    struct rig *r = *state;

    ask(r, 0, data, 0x1000);
    ask(r, 1, data + 0x4000, 0x1000);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        command_at(r, page, bad[i].type, bad[i].count, bad[i].in, bad[i].out);
        assert_int_equal(ring(r), INVALID);
        assert_int_equal(get(r, page + 8, 4), INVALID);
        assert_int_equal(rig_stats(r).refused, i + 1);
    }
    assert_int_equal(r->f->fake.nr_entries, 0);
    assert_int_equal(batch(r, MAP, 2), OK);
}

static void without_a_command_page_a_doorbell_is_invalid(void **state)
{
    struct rig *r = *state;

    rig_write(r, 0x10, 0);
    assert_int_equal(ring(r), INVALID);
    rig_write(r, 0x10, 0x900000); /* no memory */
    assert_int_equal(ring(r), INVALID);
    rig_write(r, 0x10, 0x30fff0); /* half of it */
    assert_int_equal(ring(r), INVALID);
    rig_write(r, 0x10, 0xfffffff0);
    rig_write(r, 0x14, 0xffffffff);
    assert_int_equal(ring(r), INVALID);
    assert_int_equal(rig_stats(r).doorbells, 4);
    assert_false(rig_stats(r).active);
}

static void a_command_page_across_two_regions_works(void **state)
{
    const uint64_t odd = 0x2ffff4;
    struct rig *r = *state;

    for (unsigned i = 0; i < 2; i++)
        ask(r, i, data + i * 0x4000ull, 1);
    rig_write(r, 0x10, (uint32_t)odd);
    put(r, odd, 4, MAP);
    put(r, odd + 4, 4, 2);
    put(r, odd + 8, 4, 99);
    put(r, odd + 16, 8, requests);
    put(r, odd + 24, 8, responses);
    assert_int_equal(ring(r), OK);
    assert_int_equal(get(r, odd + 8, 4), OK);
    rig_check_use(r, 0x8000, 2);
}

static void a_read_only_command_page_still_has_the_status_register(void **state)
{
    struct rig *r = *state;

    rig_write(r, 0x10, 0x800000);
    ask(r, 0, data, 1);
    command_at(r, 0x800000, MAP, 1, requests, responses);
    assert_int_equal(ring(r), OK);
    assert_int_equal(get(r, 0x800008, 4), 99);
}

static void a_whole_batch_of_4096_works(void **state)
{
    struct rig *r = *state;
    unsigned done = 0;

    for (unsigned i = 0; i < 4096; i++)
        ask(r, i, data + i * 0x4000ull, 0x4000);
    assert_int_equal(batch(r, MAP, 4096), IO_ERROR);
    for (unsigned i = 0; i < 4096; i++)
        done += get(r, responses + 24 * i + 20, 4) == OK;
    assert_int_equal(done, 100); /* the host's limit */
    rig_check_use(r, 100 * 0x4000, 100);
    for (unsigned i = 0; i < 4096; i++)
        put(r, requests + 16 * i, 8, data + i * 0x4000ull);
    assert_int_equal(batch(r, UNMAP, 4096), IO_ERROR);
    rig_check_use(r, 0, 0);
    assert_int_equal(rig_stats(r).maps, 100);
    assert_int_equal(rig_stats(r).unmaps, 100);
    assert_int_equal(rig_stats(r).refused, 2 * 3996);
}

static void memory_of_4_gib_less_a_byte_is_no_overflow(void **state)
{
    struct rig *r = *state;

    ask(r, 0, data, 0xffffffff);
    assert_int_equal(batch(r, MAP, 1), IO_ERROR);
    ask(r, 0, data, 0x4000000); /* all of it */
    assert_int_equal(batch(r, MAP, 1), OK);
    rig_check_use(r, 0x4000000, 1);
}

#define VERSION_2(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        VERSION_2(a_batch_is_mapped_and_unmapped),
        VERSION_2(the_address_is_that_of_the_gpa_within_its_granule),
        VERSION_2(of_an_entry_that_fails_only_the_status_is_written),
        VERSION_2(entries_that_cannot_be_mapped_are_io_errors),
        VERSION_2(a_gpa_is_mapped_once_and_unmapped_once),
        VERSION_2(a_mapping_in_pieces_is_refused),
        VERSION_2(a_batch_that_makes_no_sense_is_invalid_and_does_nothing),
        VERSION_2(without_a_command_page_a_doorbell_is_invalid),
        VERSION_2(a_command_page_across_two_regions_works),
        VERSION_2(a_read_only_command_page_still_has_the_status_register),
        VERSION_2(a_whole_batch_of_4096_works),
        VERSION_2(memory_of_4_gib_less_a_byte_is_no_overflow),
    };

    return cmocka_run_group_tests_name("narrow", tests, NULL, NULL);
}
