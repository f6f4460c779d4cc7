// SPDX-License-Identifier: BSD-3-Clause
/* Long random histories against what a naive list says, with a host that refuses at random. */
#include <errno.h>

#include "fake.h"

enum { HELD = 600, STEPS = 40000 };

struct held {
    struct vd_window *window;
    uint64_t gpa, len;
};

struct history {
    struct fake fake;
    uint64_t state;
    struct held held[HELD];
    uint32_t count;
    bool ebb; /* more is given back than asked for */
};

static uint64_t draw(struct history *h, uint64_t below)
{
    return (unit_random(&h->state) >> 16) % below;
}

/* Pages in 32 MiB, half of them in a corner, so that windows meet. */
static uint64_t draw_gpa(struct history *h)
{
    return draw(h, 2) ? draw(h, 32 * MIB / 4096) * 4096 : draw(h, 3 * MIB);
}

static struct vd_windows_want draw_want(struct history *h)
{
    struct vd_windows_want want = {.gpa = draw_gpa(h), .len = 1 + draw(h, 8192), .access = FAKE_RW};

    if (draw(h, 8) == 0)
        want.access = draw(h, 2) ? VD_WINDOW_READ : VD_WINDOW_WRITE;
    if (draw(h, 16) == 0)
        want.len = 1 + draw(h, MIB);
    if (draw(h, 16) == 0) {
        want.exact = true;
        want.len = 1 + draw(h, 5 * MIB);
        want.align = draw(h, 2) ? UINT64_C(4096) << draw(h, 8) : 0;
    }
    return want;
}

/* By looking at everything the host has: is there one that serves the want? */
static bool naive_hit(const struct fake *fake, const struct vd_windows_want *want)
{
    for (uint64_t id = 1; id < FAKE_IDS; id++) {
        const struct fake_mapping *mapping = &fake->table[id];
        uint64_t start = mapping->gpa;

        if (!mapping->mapped || (want->access & ~mapping->access))
            continue;
        for (uint32_t i = 0; i < mapping->nr_segments; start += mapping->segments[i++].len)
            if (want->gpa >= start && want->gpa + want->len <= start + mapping->segments[i].len)
                return true;
    }
    return false;
}

static void take(struct history *h, const struct vd_windows_want *want, struct vd_window *window)
{
    if (!window)
        return;
    fake_check(&h->fake, window, want->gpa, want->len);
    assert_true(!(want->access & ~window->access));
    h->held[h->count++] = (struct held){window, want->gpa, want->len};
}

static void want_some(struct history *h)
{
    struct vd_windows_want wants[8];
    uint32_t count = 1 + (uint32_t)(draw(h, 4) ? 0 : draw(h, 8)), i;
    unsigned maps = h->fake.maps;
    bool hit;

    if (h->count + 8 > HELD)
        return;
    for (i = 0; i < count; i++)
        wants[i] = draw_want(h);
    hit = count == 1 && !wants[0].exact && !h->fake.config.strict && naive_hit(&h->fake, &wants[0]);
    fake_run(&h->fake, wants, count);
    if (hit) {
        assert_non_null(wants[0].window);
        assert_int_equal(h->fake.maps, maps);
    }
    for (i = 0; i < count; i++)
        take(h, &wants[i], wants[i].window);
}

static void get_one(struct history *h)
{
    struct vd_windows_want want = draw_want(h);

    if (h->count < HELD)
        take(h, &want, vd_windows_get(h->fake.windows, want.gpa, want.len, want.access));
}

static void put_one(struct history *h)
{
    struct held held;
    uint32_t at;

    if (!h->count)
        return;
    at = (uint32_t)draw(h, h->count);
    held = h->held[at];
    h->held[at] = h->held[--h->count];
    fake_check(&h->fake, held.window, held.gpa, held.len);
    fake_put(&h->fake, held.window);
}

static void check_sums(struct history *h)
{
    struct vd_windows_stats stats;

    vd_windows_stats(h->fake.windows, &stats);
    assert_int_equal(stats.bytes, h->fake.used);
    assert_int_equal(stats.mappings, h->fake.mappings);
    assert_true(stats.live_bytes <= stats.bytes);
    assert_int_equal(h->fake.errors, 0);
    for (uint32_t i = 0; i < h->count; i++)
        fake_check(&h->fake, h->held[i].window, h->held[i].gpa, h->held[i].len);
}

static void step(struct history *h)
{
    uint64_t kind = draw(h, 100);

    if (draw(h, 400) == 0)
        h->ebb = !h->ebb;
    if (kind < (h->ebb ? 20 : 40))
        want_some(h);
    else if (kind < (h->ebb ? 35 : 70))
        get_one(h);
    else if (kind < 97)
        put_one(h);
    else if (kind < 99)
        fake_reap(&h->fake, draw_gpa(h), draw(h, 4 * MIB));
    else
        check_sums(h);
    if (draw(h, 8000) == 0) {
        fake_forget(&h->fake);
        /* Half of the holders never come back. */
        for (uint32_t i = 0; i < h->count; i += 2)
            assert_false(vd_windows_put(h->fake.windows, h->held[i].window));
        h->count = 0;
    }
}

static void run(const struct vd_windows_config *config, uint64_t seed, uint64_t chaos)
{
    static struct history h;

    h = (struct history){.state = seed};
    fake_init(&h.fake, config, config->limit_bytes);
    h.fake.chaos = chaos;
    h.fake.ram_end = 31 * MIB;
    h.fake.split = 3;
    for (uint32_t i = 0; i < STEPS; i++) {
        h.fake.max_unmaps = 1 + draw(&h, FAKE_BATCH);
        step(&h);
    }
    check_sums(&h);
    h.fake.chaos = 0;
    h.fake.ram_end = UINT64_MAX;
    h.fake.max_unmaps = FAKE_BATCH;
    while (h.count)
        put_one(&h);
    assert_non_null(fake_exact(&h.fake, 0, config->limit_bytes, 0));
    fake_finish(&h.fake);
}

static void a_long_history_keeps_every_promise(void **state)
{
    run(&(struct vd_windows_config){.granule = 16384, .limit_bytes = 16 * MIB, .limit_mappings = 200}, 1, 0);
    run(&(struct vd_windows_config){.granule = 4096, .limit_bytes = 8 * MIB, .limit_mappings = 500}, 2, 0);
}

static void and_with_a_host_that_refuses_at_random(void **state)
{
    run(&(struct vd_windows_config){.granule = 16384, .limit_bytes = 16 * MIB, .limit_mappings = 200}, 3, 77);
    run(
        &(struct vd_windows_config){
            .granule = 65536, .limit_bytes = 16 * MIB, .limit_mappings = 30, .max_window = 256 * KIB},
        4, 78);
}

static void and_when_strict(void **state)
{
    run(
        &(struct vd_windows_config){
            .granule = 16384, .limit_bytes = 16 * MIB, .limit_mappings = 200, .strict = true},
        5, 79);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_history_keeps_every_promise),
        cmocka_unit_test(and_with_a_host_that_refuses_at_random),
        cmocka_unit_test(and_when_strict),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
