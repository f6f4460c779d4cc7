// SPDX-License-Identifier: BSD-3-Clause
/* Every allocation fails once, then all of them from there on; and what the reserve is for. */
#include <errno.h>
#include <stdlib.h>

#include "fake.h"

void *__wrap_calloc(size_t count, size_t size);
void *__real_calloc(size_t count, size_t size);

static unsigned allocations, fail_at; /* 0: none */
static bool fail_on;                  /* and all after it */

void *__wrap_calloc(size_t count, size_t size)
{
    allocations++;
    if (fail_at && (allocations == fail_at || (fail_on && allocations > fail_at)))
        return NULL;
    return __real_calloc(count, size);
}

static void arm(unsigned at, bool on)
{
    allocations = 0;
    fail_at = at;
    fail_on = on;
}

static void create_fails_or_works_with_less(void **state)
{
    const struct vd_windows_config config = {
        .granule = FAKE_GRANULE, .limit_bytes = 64 * MIB, .limit_mappings = 512};
    struct vd_windows *windows;
    unsigned at;

    for (at = 1;; at++) {
        arm(at, false);
        if (vd_windows_create(&config, &windows)) {
            assert_int_equal(at, 1);
            continue;
        }
        if (allocations < at)
            break;
        arm(0, false);
        vd_windows_refill(windows);
        assert_false(vd_windows_is_low(windows));
        vd_windows_destroy(windows);
    }
    arm(0, false);
    vd_windows_destroy(windows);
    assert_true(at > 50);
}

/* Small, large and over two areas; each has a window or -ENOMEM, and in the end all can be had again. */
static void use_all(struct fake *fake)
{
    struct vd_windows_want wants[24] = {0};
    unsigned served = 0;

    for (uint32_t i = 0; i < 24; i++) {
        wants[i] = (struct vd_windows_want){
            .gpa = i * GIB + (i % 3) * (2 * MIB - 4096), .len = 8192, .access = FAKE_RW};
        wants[i].exact = i % 4 == 3;
        wants[i].len = i % 8 == 7 ? 7 * MIB : 8192;
    }
    fake_run(fake, wants, 24);
    for (uint32_t i = 0; i < 24; i++) {
        assert_true(wants[i].window || wants[i].error == -ENOMEM);
        served += !!wants[i].window;
        if (wants[i].window)
            fake_put(fake, wants[i].window);
    }
    fake_reap(fake, 0, UINT64_MAX);
    assert_int_equal(fake->mappings, 0);
    arm(0, false);
    vd_windows_refill(fake->windows);
    assert_non_null(fake_exact(fake, 0, 64 * MIB, 0));
    assert_true(served > 0);
}

static void run(bool on)
{
    unsigned at;

    for (at = 1;; at++) {
        struct fake fake;
        unsigned seen;

        arm(0, false);
        fake_init_small(&fake);
        arm(at, on);
        use_all(&fake);
        seen = allocations;
        fake_finish(&fake);
        if (seen < at)
            break;
        if (at > 2000)
            break;
    }
    assert_true(at > 20);
}

static void one_failure_is_made_up_for(void **state)
{
    run(false);
}

static void without_memory_wants_fail_and_nothing_is_lost(void **state)
{
    run(true);
}

static void the_reserve_serves_where_nothing_can_be_allocated(void **state)
{
    struct vd_windows_want want = {0};
    struct fake fake;

    arm(0, false);
    fake_init_small(&fake);
    assert_false(vd_windows_is_low(fake.windows));
    arm(1, true);
    /* In one GiB, so that it is areas and windows that are used up and not nodes. */
    for (uint64_t i = 0; i < 12; i++)
        fake_map(&fake, i * 16 * MIB, 4096);
    for (uint64_t i = 12; !vd_windows_is_low(fake.windows); i++)
        fake_map(&fake, i * 16 * MIB, 4096);
    /* At last it is used up. */
    for (uint64_t i = 0; !want.error; i++) {
        want = (struct vd_windows_want){.gpa = GIB / 2 + i * 8 * MIB, .len = 4096, .access = FAKE_RW};
        fake_run(&fake, &want, 1);
    }
    assert_int_equal(want.error, -ENOMEM);
    arm(0, false);
    vd_windows_refill(fake.windows);
    assert_false(vd_windows_is_low(fake.windows));
    fake_finish(&fake);
}

static void refusals_and_evictions_take_no_memory(void **state)
{
    struct fake fake;

    arm(0, false);
    fake_init_small(&fake);
    fake_put(&fake, fake_map(&fake, GIB, 4096));
    fake_reap(&fake, 0, UINT64_MAX);
    vd_windows_refill(fake.windows);
    arm(0, false);
    for (unsigned i = 0; i < 2000; i++) {
        fake.refuse = VD_APPLE_DMA_WHY_HOST;
        fake.refusals = 100;
        fake_refused(&fake, GIB, 4096, FAKE_RW);
        fake.refusals = 0;
        fake_put(&fake, fake_map(&fake, GIB, 4096));
        fake_reap(&fake, 0, UINT64_MAX);
    }
    vd_windows_refill(fake.windows);
    assert_int_equal(allocations, 0);
    fake_finish(&fake);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_fails_or_works_with_less),
        cmocka_unit_test(one_failure_is_made_up_for),
        cmocka_unit_test(without_memory_wants_fail_and_nothing_is_lost),
        cmocka_unit_test(the_reserve_serves_where_nothing_can_be_allocated),
        cmocka_unit_test(refusals_and_evictions_take_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
