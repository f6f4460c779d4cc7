/* SPDX-License-Identifier: BSD-3-Clause */
/* What of a region stays mappable when parts of it may not be. */
#include <string.h>

#include "../base/unit.h"
#include "base/range.h"
#include "core/quirk.h"

enum { PAGE_4K = 0x1000, PAGE_16K = 0x4000 };

static struct vd_region_info region_of(uint64_t size)
{
    return (struct vd_region_info){.size = size,
                                   .flags =
                                       VD_REGION_READ | VD_REGION_WRITE | VD_REGION_MMAP | VD_REGION_LOCAL,
                                   .nr_areas = 1,
                                   .areas = {{0, size}}};
}

static void expect(const struct vd_region_info *region, unsigned count, const uint64_t (*areas)[2])
{
    assert_int_equal(region->nr_areas, count);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(region->areas[i].offset, areas[i][0]);
        assert_int_equal(region->areas[i].size, areas[i][1]);
    }
    assert_int_equal(!!(region->flags & VD_REGION_MMAP), count > 0);
    assert_int_equal(!!(region->flags & VD_REGION_LOCAL), count > 0);
}

static void a_hole_takes_the_pages_it_touches(void **state)
{
    static const struct vd_region_area hole = {0x2ff0, 0x20};
    struct vd_region_info region = region_of(0x10000);

    vd_areas_cut(&region, PAGE_4K, &hole, 1);
    expect(&region, 2, (const uint64_t[][2]){{0, 0x2000}, {0x4000, 0xc000}});
    region = region_of(0x10000);
    vd_areas_cut(&region, PAGE_16K, &hole, 1);
    expect(&region, 1, (const uint64_t[][2]){{0x4000, 0xc000}});
}

static void larger_pages_lose_more(void **state)
{
    static const struct vd_region_area holes[] = {{0x2000, 0x200}, {0x3000, 8}};
    struct vd_region_info region = region_of(0x8000);

    vd_areas_cut(&region, PAGE_4K, holes, 2);
    expect(&region, 2, (const uint64_t[][2]){{0, 0x2000}, {0x4000, 0x4000}});
    region = region_of(0x8000);
    vd_areas_cut(&region, PAGE_16K, holes, 2);
    expect(&region, 1, (const uint64_t[][2]){{0x4000, 0x4000}});
    region = region_of(0x4000);
    vd_areas_cut(&region, PAGE_16K, holes, 2);
    expect(&region, 0, NULL);
    assert_int_equal(region.flags, VD_REGION_READ | VD_REGION_WRITE);
}

static void areas_are_clipped_to_whole_pages_of_the_region(void **state)
{
    struct vd_region_info region = region_of(0x9000);

    region.nr_areas = 2;
    region.areas[0] = (struct vd_region_area){0x1000, 0x5800};
    region.areas[1] = (struct vd_region_area){0x7000, UINT64_MAX - 0x6fff};
    vd_areas_cut(&region, PAGE_4K, NULL, 0);
    expect(&region, 2, (const uint64_t[][2]){{0x1000, 0x5000}, {0x7000, 0x2000}});
    region.size = 0x9000;
    vd_areas_cut(&region, PAGE_16K, NULL, 0);
    expect(&region, 0, NULL);
}

static void a_hole_over_everything_leaves_nothing(void **state)
{
    static const struct vd_region_area hole = {0, UINT64_MAX};
    struct vd_region_info region = region_of(1ull << 40);

    vd_areas_cut(&region, PAGE_4K, &hole, 1);
    expect(&region, 0, NULL);
}

static void a_hole_outside_takes_nothing(void **state)
{
    static const struct vd_region_area holes[] = {{0x10000, 0x1000}, {UINT64_MAX - 0xf, 0x10}};
    struct vd_region_info region = region_of(0x10000);

    vd_areas_cut(&region, PAGE_4K, holes, 2);
    expect(&region, 1, (const uint64_t[][2]){{0, 0x10000}});
}

static void a_region_without_areas_stays_so(void **state)
{
    static const struct vd_region_area hole = {0, 1};
    struct vd_region_info region = region_of(0x10000);

    region.nr_areas = 0;
    vd_areas_cut(&region, PAGE_4K, &hole, 1);
    expect(&region, 0, NULL);
}

static void of_too_many_areas_the_smallest_go(void **state)
{
    struct vd_region_info region = region_of(0x100000);
    struct vd_region_area holes[VD_MAX_WINDOWS];

    /* Areas of 1, 2, ... 8 pages, then the rest: nine. */
    for (unsigned i = 0, at = 0x1000; i < VD_MAX_WINDOWS; i++) {
        holes[i] = (struct vd_region_area){at, 1};
        at += (i + 3) * 0x1000;
    }
    vd_areas_cut(&region, PAGE_4K, holes, VD_MAX_WINDOWS);
    assert_int_equal(region.nr_areas, VD_REGION_MAX_AREAS);
    assert_int_equal(region.areas[0].offset, 0x2000);
    assert_int_equal(region.areas[0].size, 0x2000);
    assert_int_equal(region.areas[7].offset + region.areas[7].size, 0x100000);
}

static bool covers(const struct vd_region_info *region, uint64_t page)
{
    for (unsigned i = 0; i < region->nr_areas; i++) {
        if (page >= region->areas[i].offset && page - region->areas[i].offset < region->areas[i].size)
            return true;
    }
    return false;
}

/* Page by page: mapped is what was mapped and no hole touches, as long as the areas do not run out. */
static void random_cuts_match_the_model(void **state)
{
    uint64_t seed = 77;

    for (unsigned round = 0; round < 20000; round++) {
        uint64_t page = unit_random(&seed) & 1 ? PAGE_4K : PAGE_16K;
        uint64_t size = (1 + unit_random(&seed) % 32) * 0x1000;
        struct vd_region_info region = region_of(size);
        struct vd_region_area holes[VD_MAX_WINDOWS];
        unsigned count = unit_random(&seed) % 5;

        for (unsigned i = 0; i < count; i++)
            holes[i] = (struct vd_region_area){unit_random(&seed) % 0x20000, 1 + unit_random(&seed) % 0x3000};
        vd_areas_cut(&region, page, holes, count);
        for (uint64_t at = 0; at < size; at += page) {
            bool expected = at + page <= size;

            for (unsigned i = 0; i < count; i++)
                expected &= holes[i].offset >= at + page || holes[i].offset + holes[i].size <= at;
            assert_int_equal(covers(&region, at), expected);
        }
        for (unsigned i = 1; i < region.nr_areas; i++)
            assert_true(region.areas[i - 1].offset + region.areas[i - 1].size < region.areas[i].offset);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hole_takes_the_pages_it_touches),
        cmocka_unit_test(larger_pages_lose_more),
        cmocka_unit_test(areas_are_clipped_to_whole_pages_of_the_region),
        cmocka_unit_test(a_hole_over_everything_leaves_nothing),
        cmocka_unit_test(a_hole_outside_takes_nothing),
        cmocka_unit_test(a_region_without_areas_stays_so),
        cmocka_unit_test(of_too_many_areas_the_smallest_go),
        cmocka_unit_test(random_cuts_match_the_model),
    };

    return cmocka_run_group_tests_name("areas", tests, NULL, NULL);
}
