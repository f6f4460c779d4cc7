/* SPDX-License-Identifier: BSD-3-Clause */
/* Regions one by one, the DMA buffer, what they are charged, what may be mapped, and what a connection costs. */
#include <stdlib.h>

#include "rig.h"

#define MIB (1ull << 20)

enum { GRANULE = 16384, MANY = 65536 };

static int unregister(struct rig *rig, uint64_t key)
{
    return rig_call(rig->a, VD_DEXT_UNREGISTER_DMA_REGION, IN(key), NULL, 0);
}

static int allocate(struct rig *rig, uint64_t size, uint64_t *out)
{
    return rig_call(rig->a, VD_DEXT_ALLOCATE_DMA_BUFFER, IN(size, 0), out, 6);
}

static void a_region_gets_its_bus_address(void **state)
{
    struct rig *rig = *state;
    uint64_t bus = rig->mock.next_address, out[3];

    assert_int_equal(rig_call(rig->a, VD_DEXT_REGISTER_DMA_REGION, IN(5, 0x12340, 0x5678), out, 3), 0);
    assert_int_equal(out[0], 1);
    assert_int_equal(out[1], bus);
    assert_int_equal(out[2], 0x5678);
    assert_ptr_equal(rig->mock.last_client, rig_handle(100)); /* the shell's handle of the connection */
    assert_int_equal(rig_call(rig->a, VD_DEXT_PROBE_DMA_REGION, IN(5, 0x5670), out, 1), 0);
    assert_int_equal(out[0], 0x12340 + 0x5670);
}

static void any_key_will_do_once(void **state)
{
    static const uint64_t keys[] = {0, 1, UINT64_MAX, 1ull << 63, 0x4000, 0x8000};
    struct rig *rig = *state;

    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(rig_register(rig, keys[i], 0x4000, 0x4000), 0);
        assert_int_equal(rig_register(rig, keys[i], 0x8000, 0x4000), VD_DEXT_STILL_OPEN);
    }
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(unregister(rig, keys[i]), 0);
        assert_int_equal(unregister(rig, keys[i]), VD_DEXT_NOT_FOUND);
        assert_int_equal(rig_register(rig, keys[i], 0x8000, 0x4000), 0);
    }
}

static void a_region_in_two_segments_is_not_aligned_and_leaves_nothing(void **state)
{
    struct rig *rig = *state;

    rig->mock.runs = 2;
    assert_int_equal(rig_register(rig, 1, 0x4000, 0x8000), VD_DEXT_NOT_ALIGNED);
    rig->mock.runs = 1;
    rig->mock.cut = 1; /* one segment that is not all of it */
    assert_int_equal(rig_register(rig, 1, 0x4000, 0x8000), VD_DEXT_NOT_ALIGNED);
    assert_int_equal(rig->mock.live_mappings, 0);
    assert_int_equal(rig_limit(rig, VD_DEXT_USE_BYTES), 0);
    assert_int_equal(rig_limit(rig, VD_DEXT_USE_MAPPINGS), 0);
    assert_int_equal(rig_limit(rig, VD_DEXT_USE_PEAK_BYTES), 0);
    rig->mock.cut = 0;
    assert_int_equal(rig_register(rig, 1, 0x4000, 0x8000), 0);
}

static void runs_that_cannot_be_true_are_refused(void **state)
{
    struct rig *rig = *state;

    rig->mock.runs_told = 2; /* with room for one */
    assert_int_equal(rig_register(rig, 1, 0, 0x4000), VD_DEXT_NOT_ALIGNED);
    rig->mock.runs_told = 0;
    rig->mock.cut = 0x4000; /* nothing is left of it */
    assert_int_equal(rig_register(rig, 1, 0, 0x4000), VD_DEXT_NOT_ALIGNED);
    assert_int_equal(rig->mock.live_mappings, 0);
}

/* A region costs the granules that it touches, first and last included. */
static void charged_are_the_granules_touched(void **state)
{
    static const struct {
        uint64_t address, size, granules;
    } rows[] = {
        {0, 1, 1},
        {0, GRANULE, 1},
        {0, GRANULE + 1, 2},
        {GRANULE - 1, 1, 1},
        {GRANULE - 1, 2, 2},
        {GRANULE / 2, GRANULE, 2},
        {GRANULE / 2, GRANULE * 3 / 2, 2},
        {GRANULE / 2, GRANULE * 3 / 2 + 1, 3},
        {UINT64_MAX, 1, 1},
        {UINT64_MAX - GRANULE, GRANULE + 1, 2},
    };
    struct rig *rig = *state;

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(rig_register(rig, i, rows[i].address, rows[i].size), 0);
        assert_int_equal(rig_limit(rig, VD_DEXT_USE_BYTES), rows[i].granules * GRANULE);
        assert_int_equal(unregister(rig, i), 0);
        assert_int_equal(rig_limit(rig, VD_DEXT_USE_BYTES), 0);
    }
    assert_int_equal(rig_limit(rig, VD_DEXT_USE_PEAK_BYTES), 3 * GRANULE);
    assert_int_equal(rig_limit(rig, VD_DEXT_USE_PEAK_MAPPINGS), 1);
}

static void limits_are_told_as_they_are(void **state)
{
    struct rig *rig = *state;

    rig->mock.nr_faults = 42;
    assert_int_equal(rig_limit(rig, VD_DEXT_LIMIT_GRANULE), GRANULE);
    assert_int_equal(rig_limit(rig, VD_DEXT_LIMIT_BYTES), 1536 * MIB);
    assert_int_equal(rig_limit(rig, VD_DEXT_LIMIT_MAPPINGS), 65536);
    assert_int_equal(rig_limit(rig, VD_DEXT_LIMIT_SEGMENTS), 16);
    assert_int_equal(rig_limit(rig, VD_DEXT_LIMIT_FIRST), 1ull << 32);
    assert_int_equal(rig_limit(rig, VD_DEXT_LIMIT_LAST), (1ull << 36) - 1);
    assert_int_equal(rig_limit(rig, VD_DEXT_USE_FAULTS), 42);
}

static void bytes_run_out_clearly_and_come_back(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(rig_register(rig, 1, 0, 1024 * MIB), 0);
    assert_int_equal(rig_register(rig, 2, 0, 512 * MIB), 0);
    assert_int_equal(rig_register(rig, 3, 0, 1), VD_DEXT_NO_SPACE);
    assert_int_equal(rig_limit(rig, VD_DEXT_USE_BYTES), 1536 * MIB);
    assert_int_equal(unregister(rig, 2), 0);
    assert_int_equal(rig_register(rig, 3, 1, 512 * MIB), VD_DEXT_NO_SPACE); /* one granule more */
    assert_int_equal(rig_register(rig, 3, 0, 512 * MIB), 0);
    assert_int_equal(rig->mock.live_mappings, 2);
    assert_int_equal(mock_count(&rig->mock, MOCK_DMA_PREPARE), 3);
}

static void mappings_run_out_clearly_and_come_back(void **state)
{
    struct rig *rig = *state;

    for (uint64_t i = 0; i < MANY; i++)
        assert_int_equal(rig_register(rig, i << 14, i << 14, 0x4000), 0);
    assert_int_equal(rig_register(rig, MANY << 14, 0, 1), VD_DEXT_NO_SPACE);
    assert_int_equal(rig_limit(rig, VD_DEXT_USE_MAPPINGS), MANY);
    assert_int_equal(unregister(rig, 77 << 14), 0);
    assert_int_equal(rig_register(rig, MANY << 14, 0, 1), 0);
    for (uint64_t i = 0; i < MANY; i++)
        assert_int_equal(unregister(rig, i << 14), i == 77 ? VD_DEXT_NOT_FOUND : 0);
    assert_int_equal(rig_limit(rig, VD_DEXT_USE_MAPPINGS), 1);
    assert_int_equal(rig_limit(rig, VD_DEXT_USE_PEAK_MAPPINGS), MANY);
}

static void the_lower_of_quota_and_limit_holds(void **state)
{
    static const struct {
        struct vd_dext_quota quota;
        uint64_t bytes, mappings;
    } rows[] = {
        {{0, 0}, 1536 * MIB, 65536},
        {{64 * MIB, 100}, 64 * MIB, 100},
        {{2048 * MIB, 0}, 1536 * MIB, 65536},
        {{0, UINT64_MAX}, 1536 * MIB, 65536},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct rig *rig = calloc(1, sizeof(*rig));

        assert_non_null(rig);
        mock_init(&rig->mock);
        rig_start(rig, &rows[i].quota);
        assert_int_equal(rig_call(rig->a, VD_DEXT_CLAIM, NO_IN, NULL, 0), 0);
        assert_int_equal(rig_limit(rig, VD_DEXT_LIMIT_BYTES), rows[i].bytes);
        assert_int_equal(rig_limit(rig, VD_DEXT_LIMIT_MAPPINGS), rows[i].mappings);
        assert_int_equal(rig_register(rig, 0, 0, rows[i].bytes + 1), VD_DEXT_NO_SPACE);
        assert_int_equal(rig_register(rig, 0, 0, rows[i].bytes), 0);
        rig_stop(rig);
        free(rig);
    }
}

/* Nothing overflows where nothing is limited. */
static void without_limits_only_the_whole_space_is_too_much(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    (void)state;
    assert_non_null(rig);
    mock_init(&rig->mock);
    rig->mock.limits.bytes = rig->mock.limits.mappings = UINT64_MAX;
    rig_start(rig, NULL);
    assert_int_equal(rig_call(rig->a, VD_DEXT_CLAIM, NO_IN, NULL, 0), 0);
    assert_int_equal(rig_register(rig, 0, 0, UINT64_MAX), VD_DEXT_NO_SPACE);
    assert_int_equal(rig_register(rig, 0, 0, UINT64_MAX - GRANULE), 0);
    assert_int_equal(rig_register(rig, 1, 0, GRANULE), VD_DEXT_NO_SPACE);
    rig_stop(rig);
    free(rig);
}

static void the_buffer_is_one_and_is_charged(void **state)
{
    struct rig *rig = *state;
    uint64_t bus = rig->mock.next_address, out[6];

    assert_int_equal(allocate(rig, 0x5000, out), 0);
    assert_int_equal(out[0], 0x5000);
    assert_int_equal(out[1], 0);
    assert_int_equal(out[2], 1);
    assert_int_equal(out[3], bus);
    assert_int_equal(out[4], 0x5000);
    assert_int_equal(out[5], 0);
    assert_int_equal(rig->mock.calls[mock_call_at(&rig->mock, MOCK_BUFFER_CREATE, 0)].b, 4096);
    assert_int_equal(allocate(rig, 0x4000, out), VD_DEXT_STILL_OPEN);
    assert_int_equal(rig_limit(rig, VD_DEXT_USE_BYTES), 2 * GRANULE);
    assert_int_equal(rig_limit(rig, VD_DEXT_USE_MAPPINGS), 1);
    assert_int_equal(rig_call(rig->a, VD_DEXT_FREE_DMA_BUFFER, NO_IN, NULL, 0), 0);
    assert_int_equal(rig_call(rig->a, VD_DEXT_FREE_DMA_BUFFER, NO_IN, NULL, 0), VD_DEXT_NOT_FOUND);
    assert_int_equal(rig_limit(rig, VD_DEXT_USE_BYTES), 0);
    assert_int_equal(allocate(rig, 1536 * MIB, out), 0);
    assert_int_equal(rig_register(rig, 1, 0, 1), VD_DEXT_NO_SPACE);
}

static void a_buffer_that_is_too_short_leaves_nothing(void **state)
{
    struct rig *rig = *state;
    uint64_t out[6];

    rig->mock.cut = 1;
    assert_int_equal(allocate(rig, 0x4000, out), VD_DEXT_NOT_ALIGNED);
    assert_int_equal(rig->mock.live_buffers, 0);
    assert_int_equal(rig_limit(rig, VD_DEXT_USE_PEAK_BYTES), 0);
}

static void the_page_shows_the_use(void **state)
{
    struct rig *rig = *state;
    const struct vd_dext_use *use;
    struct vd_dext_memory memory;

    assert_int_equal(rig_register(rig, 1, 0, 3 * GRANULE), 0);
    rig->mock.nr_faults = 3;
    assert_int_equal(vd_dext_memory(rig->a, VD_DEXT_MEMORY_IRQ_PAGE, &memory), 0);
    use = &rig->mock.page->use;
    assert_int_equal(use->bytes, 3 * GRANULE);
    assert_int_equal(use->mappings, 1);
    assert_int_equal(rig_register(rig, 2, 0, GRANULE), 0);
    assert_int_equal(use->bytes, 4 * GRANULE);
    assert_int_equal(unregister(rig, 1), 0);
    assert_int_equal(use->bytes, GRANULE);
    assert_int_equal(use->mappings, 1);
    assert_int_equal(use->peak_bytes, 4 * GRANULE);
    assert_int_equal(use->peak_mappings, 2);
    assert_int_equal(use->faults, 3);
    rig->mock.nr_faults = 4;
    vd_dext_refresh_use(rig->dext);
    assert_int_equal(use->faults, 4);
    memset(rig->mock.page, 0xff, VD_DEXT_IRQ_PAGE_SIZE); /* the client scribbles; nobody believes it */
    assert_int_equal(rig_limit(rig, VD_DEXT_USE_BYTES), GRANULE);
    assert_int_equal(use->bytes, GRANULE);
}

static void refreshing_without_an_owner_does_nothing(void **state)
{
    struct rig *rig = *state;

    vd_dext_refresh_use(rig->dext);
    assert_null(rig->mock.violation);
}

static void memory_types_are_those_of_the_abi(void **state)
{
    struct rig *rig = *state;
    struct vd_dext_memory memory;
    uint64_t out[6];

    assert_int_equal(vd_dext_memory(rig->a, 0, &memory), VD_DEXT_NOT_READY);
    assert_int_equal(allocate(rig, 0x5000, out), 0);
    assert_int_equal(vd_dext_memory(rig->a, 0, &memory), 0);
    assert_int_equal(memory.size, 0x5000);
    assert_ptr_equal(memory.token, &rig->mock.live_buffers);
    assert_int_equal(vd_dext_memory(rig->a, 1, &memory), 0);
    assert_int_equal(memory.size, 0x10000);
    assert_null(memory.token);
    assert_false(memory.write_combine);
    assert_int_equal(vd_dext_memory(rig->a, 3, &memory), 0);
    assert_int_equal(memory.type, 3);
    assert_int_equal(memory.bar, 2);
    assert_int_equal(memory.memory_index, 1);
    assert_true(memory.write_combine);
    assert_int_equal(vd_dext_memory(rig->a, 2, &memory), VD_DEXT_UNSUPPORTED);
    assert_int_equal(vd_dext_memory(rig->a, 5, &memory), VD_DEXT_UNSUPPORTED); /* I/O ports */
    assert_int_equal(vd_dext_memory(rig->a, 7, &memory), 0);
    assert_int_equal(memory.size, VD_DEXT_IRQ_PAGE_SIZE);
    assert_ptr_equal(memory.token, rig->mock.page);
    assert_int_equal(vd_dext_memory(rig->a, 7, &memory), 0); /* the same one */
    assert_int_equal(rig->mock.live_pages, 1);
    assert_int_equal(vd_dext_memory(rig->a, 8, &memory), VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(vd_dext_memory(rig->a, UINT64_MAX, &memory), VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(vd_dext_memory(rig->a, 1ull << 32, &memory), VD_DEXT_BAD_ARGUMENT);
}

static void memory_is_the_owners(void **state)
{
    struct rig *rig = *state;
    struct vd_dext_memory memory;

    for (uint64_t type = 0; type < VD_DEXT_MEMORY_END; type++)
        assert_int_equal(vd_dext_memory(rig->b, type, &memory), VD_DEXT_EXCLUSIVE_ACCESS);
    vd_dext_client_close(rig->a);
    rig->a = NULL;
    for (uint64_t type = 0; type < VD_DEXT_MEMORY_END; type++)
        assert_int_equal(vd_dext_memory(rig->b, type, &memory), VD_DEXT_NOT_OPEN);
    mock_pull(&rig->mock, rig->dext);
    for (uint64_t type = 0; type < VD_DEXT_MEMORY_END; type++)
        assert_int_equal(vd_dext_memory(rig->b, type, &memory), VD_DEXT_NO_DEVICE);
}

static void a_connection_costs_what_it_uses(void **state)
{
    struct rig *rig = *state;
    size_t before = rig->mock.live_bytes, full;
    uint64_t out[1];

    assert_true(vd_dext_client_bytes(rig->b) < 512);
    assert_int_equal(rig_call(rig->a, VD_DEXT_SETUP_INTERRUPTS, NO_IN, out, 1), 0);
    assert_true(vd_dext_client_bytes(rig->a) < 20 * 1024); /* the interrupt page's 16 KiB included */
    assert_true(vd_dext_client_bytes(rig->b) < 512);
    assert_int_equal(rig_register(rig, 1, 0, 1), 0);
    assert_true(vd_dext_client_bytes(rig->a) < 20 * 1024);
    for (uint64_t i = 2; i <= MANY; i++)
        assert_int_equal(rig_register(rig, i, 0, 1), 0);
    full = vd_dext_client_bytes(rig->a);
    assert_true(full < 100 * MANY); /* a mapping costs below 100 bytes */
    /* The page is not of the core's allocator, and both clients are the same size at first. */
    assert_int_equal(rig->mock.live_bytes - before,
                     full - VD_DEXT_IRQ_PAGE_SIZE - vd_dext_client_bytes(rig->b));
    for (uint64_t i = 1; i <= MANY; i++)
        assert_int_equal(unregister(rig, i), 0);
    assert_true(vd_dext_client_bytes(rig->a) < 20 * 1024);
}

#define CLAIMED(f) cmocka_unit_test_setup_teardown(f, rig_setup_claimed, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIMED(a_region_gets_its_bus_address),
        CLAIMED(any_key_will_do_once),
        CLAIMED(a_region_in_two_segments_is_not_aligned_and_leaves_nothing),
        CLAIMED(runs_that_cannot_be_true_are_refused),
        CLAIMED(charged_are_the_granules_touched),
        CLAIMED(limits_are_told_as_they_are),
        CLAIMED(bytes_run_out_clearly_and_come_back),
        CLAIMED(mappings_run_out_clearly_and_come_back),
        cmocka_unit_test(the_lower_of_quota_and_limit_holds),
        cmocka_unit_test(without_limits_only_the_whole_space_is_too_much),
        CLAIMED(the_buffer_is_one_and_is_charged),
        CLAIMED(a_buffer_that_is_too_short_leaves_nothing),
        CLAIMED(the_page_shows_the_use),
        cmocka_unit_test_setup_teardown(refreshing_without_an_owner_does_nothing, rig_setup, rig_teardown),
        CLAIMED(memory_types_are_those_of_the_abi),
        CLAIMED(memory_is_the_owners),
        CLAIMED(a_connection_costs_what_it_uses),
    };

    return cmocka_run_group_tests_name("dma", tests, NULL, NULL);
}
