/* SPDX-License-Identifier: BSD-3-Clause */
/* Where mappings go: alignment on hosts that assign addresses (the simulated DART), holes where they are chosen. */
#include "rig.h"

#include <string.h>

static struct rig *start(struct rig *r)
{
    assert_int_equal(rig_start(r, NULL), 0);
    rig_set_command(r, RIG_COMMAND);
    rig_write(r, VD_APPLE_DMA_REG_DRIVER_FEATURES, RIG_ALL);
    return r;
}

static struct rig *start_dart(void **state, const char *address)
{
    struct rig *r = rig_prepare(state);

    r->address = address;
    return start(r);
}

static uint64_t first_of(const struct rig_wide *got)
{
    return got->segments[0].iova.value;
}

static void an_assigned_address_is_aligned_as_asked(void **state)
{
    struct rig *r = start_dart(state, "sim:edu,iommu=assigned,aperture=64M,mappings=64,seed=5");
    unsigned mappings = 0;
    uint64_t bytes = 0;

    for (uint64_t align = 4096; align <= 4 << 20; align *= 2) {
        struct rig_wide got = rig_map_wide(r, RIG_DATA, align < 16384 ? 16384 : align, 0, align);

        assert_int_equal(got.status, VD_APPLE_DMA_OK);
        assert_true(vd_is_aligned(first_of(&got), align));
        bytes += align < 16384 ? 16384 : align;
        rig_check_use(r, bytes, ++mappings); /* no filler stays */
    }
}

static void alignment_within_a_granule_is_that_of_the_memory(void **state)
{
    struct rig *r = start_dart(state, "sim:edu,iommu=assigned,aperture=64M");
    struct rig_wide got = rig_map_wide(r, RIG_DATA + 0x1800, 16, 0, 2048);

    assert_int_equal(got.status, VD_APPLE_DMA_OK);
    assert_true(vd_is_aligned(first_of(&got), 2048));
    assert_int_equal(rig_map_wide(r, RIG_DATA + 0x1800, 16, 0, 4096).why, VD_APPLE_DMA_WHY_ALIGNMENT);
}

static void an_alignment_that_cannot_be_had_leaves_nothing_behind(void **state)
{
    struct rig *r = start_dart(state, "sim:edu,iommu=assigned,aperture=8M,base=0x100004000");

    /* Filling up to the next multiple of 32 MiB takes more than there is. */
    assert_int_equal(rig_map_wide(r, RIG_DATA, 16384, 0, 32 << 20).why, VD_APPLE_DMA_WHY_ALIGNMENT);
    /* There is one multiple of 8 MiB in the aperture, and not as much as 64 KiB behind it. */
    assert_int_equal(rig_map_wide(r, RIG_DATA, 65536, 0, 8 << 20).why, VD_APPLE_DMA_WHY_ALIGNMENT);
    rig_check_use(r, 0, 0);
    assert_int_equal(rig_map_wide(r, RIG_DATA, 16384, 0, 8 << 20).why, 0); /* but one granule fits */
}

/* Arenas of a driver: naturally aligned, among windows that come and go. */
static void in_a_fragmented_aperture_aligned_mappings_mostly_succeed(void **state)
{
    struct rig *r = start_dart(state, "sim:edu,iommu=assigned,aperture=64M,mappings=4096,seed=3");
    uint64_t random = 7, ids[256] = {0};
    unsigned asked = 0, had = 0;

    for (unsigned i = 0; i < 4000; i++) {
        unsigned slot = (unsigned)(unit_random(&random) % 256);
        struct rig_wide got;
        uint64_t align, size;

        if (ids[slot]) {
            assert_int_equal(rig_unmap_wide(r, ids[slot]), 0);
            ids[slot] = 0;
            continue;
        }
        align = 0;
        size = 16384ull << unit_random(&random) % 4;
        if (i % 4 == 0)
            align = size = i % 16 ? 65536 : 524288;
        got = rig_map_wide(r, RIG_DATA, size, 0, align);
        ids[slot] = got.id;
        if (!align)
            continue;
        asked++;
        had += got.status == VD_APPLE_DMA_OK;
        if (got.id)
            assert_true(vd_is_aligned(first_of(&got), align));
        else
            assert_true(got.why == VD_APPLE_DMA_WHY_ALIGNMENT || got.why == VD_APPLE_DMA_WHY_SPACE);
    }
    assert_true(asked > 300);
    assert_true(had * 100 >= asked * 99); /* most of the aperture is free */
}

static void no_hole_is_told_from_a_limit(void **state)
{
    struct rig *r = start_dart(state, "sim:edu,iommu=assigned,aperture=1M,seed=2");
    uint64_t ids[64];

    for (unsigned i = 0; i < 64; i++)
        ids[i] = rig_map_wide(r, RIG_DATA, 16384, 0, 0).id;
    assert_int_equal(rig_map_wide(r, RIG_DATA, 16384, 0, 0).why, VD_APPLE_DMA_WHY_BYTES);
    for (unsigned i = 0; i < 64; i += 2)
        assert_int_equal(rig_unmap_wide(r, ids[i]), 0);
    assert_int_equal(rig_map_wide(r, RIG_DATA, 32768, 0, 0).why, VD_APPLE_DMA_WHY_SPACE);
    assert_int_equal(rig_map_wide(r, RIG_DATA, 16384, 0, 0).why, 0);
}

static void chosen_addresses_are_the_guests_own_while_they_are_free(void **state)
{
    struct rig *r = start(rig_prepare_chosen(state));
    struct rig_wide first = rig_map_wide(r, RIG_DATA + 0x10, 0x2000, 0, 0), second, third;

    assert_true(first_of(&first) == RIG_DATA + 0x10);
    assert_int_equal(first.segments[0].size, 0x2000);
    second = rig_map_wide(r, RIG_DATA + 0x2000, 0x2000, 0, 0); /* overlaps it by a page */
    assert_int_equal(second.status, VD_APPLE_DMA_OK);
    assert_int_equal(first_of(&second), 0x1000); /* the first hole */
    third = rig_map_wide(r, RIG_DATA, 0x1000, 0, 0);
    assert_int_equal(first_of(&third), 0x3000);
    rig_check_use(r, 6 * FAKE_PAGE, 3);
}

static void a_chosen_address_is_aligned_as_asked(void **state)
{
    struct rig *r = start(rig_prepare_chosen(state));
    struct rig_wide got = rig_map_wide(r, RIG_DATA + 0x1000, 0x1000, 0, 1 << 20);

    assert_int_equal(got.status, VD_APPLE_DMA_OK);
    assert_int_equal(first_of(&got), 1 << 20);
    got = rig_map_wide(r, RIG_DATA + 0x1000, 0x1000, 0, 1 << 20);
    assert_int_equal(first_of(&got), 2 << 20);
    assert_int_equal(rig_map_wide(r, RIG_DATA, 0x1000, 0, 1ull << 40).why, VD_APPLE_DMA_WHY_SPACE);
    assert_int_equal(rig_map_wide(r, RIG_DATA, 0x1000, 0, 1ull << 63).why, VD_APPLE_DMA_WHY_SPACE);
    rig_check_use(r, 2 * FAKE_PAGE, 2);
}

static void a_small_chosen_space_is_used_up_and_used_again(void **state)
{
    struct rig *r = rig_prepare_chosen(state);
    uint64_t ids[16], again;

    r->f->fake.info.dma.last.value = 0x10fff; /* 16 pages, none of them at a GPA of memory */
    start(r);
    for (unsigned i = 0; i < 16; i++) {
        ids[i] = rig_map_wide(r, RIG_DATA, 1, 0, 0).id;
        assert_true(ids[i] != 0);
    }
    assert_int_equal(rig_map_wide(r, RIG_DATA, 1, 0, 0).why, VD_APPLE_DMA_WHY_SPACE);
    assert_int_equal(rig_unmap_wide(r, ids[3]), 0);
    again = rig_map_wide(r, RIG_DATA, 1, 0, 0).id;
    assert_true(again != 0);
    rig_check_use(r, 16 * FAKE_PAGE, 16);
}

static void a_host_that_needs_files_gets_the_right_place_in_them(void **state)
{
    struct rig *r = rig_prepare(state);
    struct vd_dma_file seen;

    r->f->fake.info.dma.needs_file = true;
    r->f->fake.keep_file = &seen;
    start(r);
    assert_int_equal(rig_map_wide(r, RIG_DATA + 0x9000, 1, 0, 0).why, 0);
    assert_int_equal(seen.offset, 0x800000 + 0x8000);
    assert_int_equal(rig_map_wide(r, RIG_NEXT + 0x4000, 1, 0, 0).why, 0);
    assert_int_equal(seen.offset, 0x404000);
    assert_true(seen.fd >= 0 && seen.fd != r->fd);
}

#define EMPTY(name) cmocka_unit_test_setup_teardown(name, NULL, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EMPTY(an_assigned_address_is_aligned_as_asked),
        EMPTY(alignment_within_a_granule_is_that_of_the_memory),
        EMPTY(an_alignment_that_cannot_be_had_leaves_nothing_behind),
        EMPTY(in_a_fragmented_aperture_aligned_mappings_mostly_succeed),
        EMPTY(no_hole_is_told_from_a_limit),
        EMPTY(chosen_addresses_are_the_guests_own_while_they_are_free),
        EMPTY(a_chosen_address_is_aligned_as_asked),
        EMPTY(a_small_chosen_space_is_used_up_and_used_again),
        EMPTY(a_host_that_needs_files_gets_the_right_place_in_them),
    };

    return cmocka_run_group_tests_name("place", tests, NULL, NULL);
}
