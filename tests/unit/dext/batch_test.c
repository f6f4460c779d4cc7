/* SPDX-License-Identifier: BSD-3-Clause */
/* Batches: every entry has its own fate, and the call as a whole fails before anything was done or not at all. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "rig.h"

enum {
    MOST = VD_DEXT_MAX_BATCH,
    RW = VD_DEXT_ACCESS_READ | VD_DEXT_ACCESS_WRITE,
    GRANULE = 16384,
    GUARD = 64,
    ROUNDS = 1000000,
    ENOUGH = 200
};

/* Blocks for the largest batch, one entry more and a guard behind the output. */
struct blocks {
    struct {
        struct vd_dext_register_in head;
        struct vd_dext_region regions[MOST + 1];
    } in;
    struct {
        struct vd_dext_unregister_in head;
        vd_le64 keys[MOST + 1];
    } out_in;
    uint8_t out[16 + MOST * 16 + MOST * 16 * 16 + 64];
    size_t filled;
};

static struct blocks *make(uint32_t count, uint32_t capacity)
{
    struct blocks *b = calloc(1, sizeof(*b));

    assert_non_null(b);
    b->in.head.count = b->out_in.head.count = vd_put32(count);
    b->in.head.segment_capacity = vd_put32(capacity);
    for (uint32_t i = 0; i <= MOST; i++) {
        b->in.regions[i].key = b->out_in.keys[i] = vd_put64(i);
        b->in.regions[i].address = vd_put64((uint64_t)i * GRANULE);
        b->in.regions[i].size = vd_put64(GRANULE);
        b->in.regions[i].access = vd_put32(RW);
    }
    return b;
}

static int add(struct rig *rig, struct blocks *b, uint32_t entries, size_t room)
{
    int ret;

    memset(b->out, 0xa5, room + GUARD <= sizeof(b->out) ? room + GUARD : sizeof(b->out));
    b->filled = room;
    ret = rig_block(rig->a, VD_DEXT_REGISTER_BATCH, &b->in, 16 + entries * 32ul, b->out, &b->filled);
    for (size_t i = room; i < room + GUARD && i < sizeof(b->out); i++)
        assert_int_equal(b->out[i], 0xa5);
    return ret;
}

static int drop(struct rig *rig, struct blocks *b, uint32_t entries, size_t room)
{
    int ret;

    memset(b->out, 0xa5, room + GUARD <= sizeof(b->out) ? room + GUARD : sizeof(b->out));
    b->filled = room;
    ret = rig_block(rig->a, VD_DEXT_UNREGISTER_BATCH, &b->out_in, 8 + entries * 8ul, b->out, &b->filled);
    for (size_t i = room; i < room + GUARD && i < sizeof(b->out); i++)
        assert_int_equal(b->out[i], 0xa5);
    return ret;
}

static struct vd_dext_result result(const struct blocks *b, uint32_t i)
{
    struct vd_dext_result r;

    memcpy(&r, b->out + 16 + i * sizeof(r), sizeof(r));
    return r;
}

static int status(const struct blocks *b, uint32_t i)
{
    return (int)vd_get32(result(b, i).status);
}

static int dropped(const struct blocks *b, uint32_t i)
{
    return (int)vd_load32(b->out + 8 + i * 4ul);
}

static struct vd_dext_segment segment(const struct blocks *b, uint32_t count, uint32_t i)
{
    struct vd_dext_segment s;

    memcpy(&s, b->out + 16 + count * 16ul + i * sizeof(s), sizeof(s));
    return s;
}

static void the_largest_batch_comes_and_goes(void **state)
{
    struct rig *rig = *state;
    struct blocks *b = make(MOST, MOST);
    uint64_t bus = rig->mock.next_address;

    assert_int_equal(add(rig, b, MOST, 16 + MOST * 32), 0);
    assert_int_equal(b->filled, 16 + MOST * 32);
    assert_int_equal(vd_load32(b->out), MOST);
    assert_int_equal(vd_load32(b->out + 4), MOST);
    assert_int_equal(vd_load32(b->out + 8), MOST);
    assert_int_equal(vd_load32(b->out + 12), 0);
    for (uint32_t i = 0; i < MOST; i++) {
        assert_int_equal(status(b, i), 0);
        assert_int_equal(vd_get32(result(b, i).nr_segments), 1);
        assert_int_equal(vd_get32(result(b, i).first_segment), i);
        assert_int_equal(vd_get64(segment(b, MOST, i).size), GRANULE);
    }
    assert_int_equal(vd_get64(segment(b, MOST, 0).address), bus);
    assert_int_equal(rig_limit(rig, VD_DEXT_USE_MAPPINGS), MOST);
    assert_int_equal(drop(rig, b, MOST, 8 + MOST * 4), 0);
    assert_int_equal(b->filled, 8 + MOST * 4);
    assert_int_equal(vd_load32(b->out), MOST);
    assert_int_equal(vd_load32(b->out + 4), MOST);
    for (uint32_t i = 0; i < MOST; i++)
        assert_int_equal(dropped(b, i), 0);
    assert_int_equal(rig->mock.live_mappings, 0);
    free(b);
}

static void regions_in_several_segments_list_all_of_them(void **state)
{
    struct rig *rig = *state;
    struct blocks *b = make(3, 48);
    uint32_t next = 0;

    rig->mock.runs = 5;
    assert_int_equal(add(rig, b, 3, 16 + 3 * 16 + 48 * 16), 0);
    assert_int_equal(vd_load32(b->out + 4), 15);
    assert_int_equal(b->filled, 16 + 3 * 16 + 15 * 16);
    for (uint32_t i = 0; i < 3; i++) {
        struct vd_dext_result r = result(b, i);
        uint64_t sum = 0;

        assert_int_equal(vd_get32(r.nr_segments), 5);
        assert_int_equal(vd_get32(r.first_segment), next);
        for (uint32_t s = 0; s < 5; s++)
            sum += vd_get64(segment(b, 3, next++).size);
        assert_int_equal(sum, GRANULE);
    }
    free(b);
}

static void what_does_not_fit_the_segments_is_not_aligned_and_undone(void **state)
{
    struct rig *rig = *state;
    struct blocks *b = make(4, 7);

    rig->mock.runs = 3;
    assert_int_equal(add(rig, b, 4, 16 + 4 * 16 + 7 * 16), 0);
    assert_int_equal(status(b, 0), 0);
    assert_int_equal(status(b, 1), 0);
    assert_int_equal(status(b, 2), VD_DEXT_NOT_ALIGNED);
    assert_int_equal(status(b, 3), VD_DEXT_NOT_ALIGNED);
    assert_int_equal(vd_get32(result(b, 2).nr_segments), 0);
    assert_int_equal(vd_load32(b->out + 4), 6);
    assert_int_equal(vd_load32(b->out + 8), 2);
    assert_int_equal(rig->mock.live_mappings, 2);
    free(b);
    b = make(1, 0);
    b->in.regions[0].key = vd_put64(99);
    assert_int_equal(add(rig, b, 1, 32), 0);
    assert_int_equal(status(b, 0), VD_DEXT_NOT_ALIGNED);
    free(b);
}

/* More segments of one region than the IOMMU's own limit are not asked for. */
static void a_region_has_at_most_the_segments_of_the_limit(void **state)
{
    struct rig *rig = *state;
    struct blocks *b = make(1, 100);

    rig->mock.runs = 17;
    assert_int_equal(add(rig, b, 1, 16 + 16 + 1600), 0);
    assert_int_equal(status(b, 0), VD_DEXT_NOT_ALIGNED);
    rig->mock.runs = 16;
    assert_int_equal(add(rig, b, 1, 16 + 16 + 1600), 0);
    assert_int_equal(status(b, 0), 0);
    free(b);
}

static void each_entry_has_its_own_status(void **state)
{
    struct rig *rig = *state;
    struct blocks *b = make(9, 9);

    b->in.regions[1].key = vd_put64(0); /* twice in one batch */
    b->in.regions[2].size = vd_put64(0);
    b->in.regions[3].address = vd_put64(UINT64_MAX); /* wraps */
    b->in.regions[4].access = vd_put32(0);
    b->in.regions[5].access = vd_put32(4 | RW);
    b->in.regions[6].reserved = vd_put32(1);
    b->in.regions[7].size = vd_put64(2ull << 30); /* beyond the limit */
    b->in.regions[8].access = vd_put32(VD_DEXT_ACCESS_READ);
    assert_int_equal(add(rig, b, 9, 16 + 9 * 32), 0);
    assert_int_equal(status(b, 0), 0);
    assert_int_equal(status(b, 1), VD_DEXT_STILL_OPEN);
    for (uint32_t i = 2; i <= 6; i++)
        assert_int_equal(status(b, i), VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(status(b, 7), VD_DEXT_NO_SPACE);
    assert_int_equal(status(b, 8), 0);
    assert_int_equal(vd_get32(result(b, 8).first_segment), 1);
    assert_int_equal(vd_load32(b->out + 8), 2);
    assert_int_equal(rig->mock.live_mappings, 2);
    assert_int_equal(drop(rig, b, 9, 8 + 9 * 4), 0);
    for (uint32_t i = 0; i < 9; i++)
        assert_int_equal(dropped(b, i), i == 0 || i == 8 ? 0 : VD_DEXT_NOT_FOUND);
    assert_int_equal(vd_load32(b->out + 4), 2);
    assert_int_equal(rig->mock.live_mappings, 0);
    free(b);
}

static void the_hosts_own_refusal_is_the_entrys(void **state)
{
    struct rig *rig = *state;
    struct blocks *b = make(2, 2);

    rig->mock.fail_at = rig->mock.steps + 3; /* an allocation for the table, a prepare, this prepare */
    assert_int_equal(add(rig, b, 2, 16 + 64), 0);
    assert_int_equal(status(b, 0), 0);
    assert_int_equal(status(b, 1), VD_DEXT_IO_ERROR);
    assert_int_equal(rig->mock.live_mappings, 1);
    free(b);
}

static void what_is_wrong_with_the_whole_is_refused_before_anything_is_done(void **state)
{
    struct rig *rig = *state;
    struct blocks *b = make(2, 2);
    const size_t room = 16 + 2 * 16 + 2 * 16;

    assert_int_equal(add(rig, b, 1, room), VD_DEXT_BAD_ARGUMENT); /* fewer entries than said */
    assert_int_equal(add(rig, b, 3, room), VD_DEXT_BAD_ARGUMENT); /* more */
    assert_int_equal(add(rig, b, 2, room - 1), VD_DEXT_BAD_ARGUMENT);
    b->in.head.count = vd_put32(0);
    assert_int_equal(add(rig, b, 2, room), VD_DEXT_BAD_ARGUMENT);
    b->in.head.count = vd_put32(UINT32_MAX);
    assert_int_equal(add(rig, b, 2, room), VD_DEXT_BAD_ARGUMENT);
    b->in.head.count = vd_put32(MOST + 1);
    assert_int_equal(add(rig, b, MOST + 1, sizeof(b->out)), VD_DEXT_BAD_ARGUMENT);
    b->in.head.count = vd_put32(2);
    b->in.head.segment_capacity = vd_put32(UINT32_MAX);
    assert_int_equal(add(rig, b, 2, room), VD_DEXT_BAD_ARGUMENT);
    b->in.head.segment_capacity = vd_put32(1u << 28); /* times 16 is 2^32 */
    assert_int_equal(add(rig, b, 2, room), VD_DEXT_BAD_ARGUMENT);
    b->in.head.segment_capacity = vd_put32(2);
    b->in.head.reserved = vd_put64(1ull << 63);
    assert_int_equal(add(rig, b, 2, room), VD_DEXT_BAD_ARGUMENT);
    b->in.head.reserved = vd_put64(0);
    b->out_in.head.reserved = vd_put32(1);
    assert_int_equal(drop(rig, b, 2, 16), VD_DEXT_BAD_ARGUMENT);
    b->out_in.head.reserved = vd_put32(0);
    assert_int_equal(drop(rig, b, 1, 16), VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(drop(rig, b, 2, 15), VD_DEXT_BAD_ARGUMENT);
    b->out_in.head.count = vd_put32(0);
    assert_int_equal(drop(rig, b, 2, 16), VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(mock_count(&rig->mock, MOCK_DMA_PREPARE), 0);
    assert_int_equal(add(rig, b, 2, room), 0);
    free(b);
}

/* Another thread rewrites the input all the time; what the core hands to the hardware stays consistent (mock.c checks). */
struct scribbler {
    struct blocks *blocks;
    atomic_bool stop;
};

static void *scribble(void *opaque)
{
    struct scribbler *s = opaque;
    uint64_t seed = 11;

    while (!atomic_load(&s->stop)) {
        uint32_t i = (uint32_t)(unit_random(&seed) % 64);
        volatile uint8_t *size = s->blocks->in.regions[i].size.b;
        volatile uint8_t *access = s->blocks->in.regions[i].access.b;
        volatile uint8_t *count = s->blocks->in.head.count.b;

        size[1] = (uint8_t)unit_random(&seed);
        size[6] = (uint8_t)(unit_random(&seed) % 2);
        access[0] = (uint8_t)unit_random(&seed) % 8;
        count[0] = unit_random(&seed) % 2 ? 64 : (uint8_t)unit_random(&seed);
        count[3] = unit_random(&seed) % 2 ? 0 : 0xff;
    }
    return NULL;
}

#if defined(__SANITIZE_THREAD__)
#define RACES_ARE_REPORTED true
#elif defined(__has_feature)
#define RACES_ARE_REPORTED __has_feature(thread_sanitizer)
#else
#define RACES_ARE_REPORTED false
#endif

static void input_that_changes_while_it_is_read_does_no_harm(void **state)
{
    struct rig *rig = *state;
    struct scribbler s = {.blocks = make(64, 64)};
    unsigned done = 0;
    pthread_t thread;

    if (RACES_ARE_REPORTED) {
        free(s.blocks);
        return; /* the race is the test */
    }
    s.blocks->out_in.head.count = vd_put32(64);
    assert_int_equal(pthread_create(&thread, NULL, scribble, &s), 0);
    for (unsigned i = 0; i < ROUNDS && done < ENOUGH; i++) {
        done += add(rig, s.blocks, 64, 16 + 64 * 32) == 0;
        assert_int_equal(drop(rig, s.blocks, 64, 8 + 64 * 4), 0);
        assert_int_equal(rig->mock.live_mappings, 0);
        sched_yield();
    }
    atomic_store(&s.stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(rig_limit(rig, VD_DEXT_USE_BYTES), 0);
    assert_int_equal(done, ENOUGH); /* so many had a count that fits */
    free(s.blocks);
}

static void the_page_shows_the_use_after_a_batch(void **state)
{
    struct rig *rig = *state;
    struct blocks *b = make(2, 2);
    struct vd_dext_memory memory;

    assert_int_equal(vd_dext_memory(rig->a, VD_DEXT_MEMORY_IRQ_PAGE, &memory), 0);
    assert_int_equal(add(rig, b, 2, 16 + 64), 0);
    assert_int_equal(rig->mock.page->use.mappings, 2);
    rig->mock.nr_faults = 5;
    assert_int_equal(drop(rig, b, 2, 16), 0);
    assert_int_equal(rig->mock.page->use.mappings, 0);
    assert_int_equal(rig->mock.page->use.peak_mappings, 2);
    assert_int_equal(rig->mock.page->use.faults, 5);
    free(b);
}

static void a_batch_after_removal_only_takes_away(void **state)
{
    struct rig *rig = *state;
    struct blocks *b = make(2, 2);

    assert_int_equal(add(rig, b, 2, 16 + 64), 0);
    mock_pull(&rig->mock, rig->dext);
    assert_int_equal(add(rig, b, 2, 16 + 64), VD_DEXT_NO_DEVICE);
    assert_int_equal(drop(rig, b, 2, 16), 0);
    assert_int_equal(rig->mock.live_mappings, 0);
    free(b);
}

#define CLAIMED(f) cmocka_unit_test_setup_teardown(f, rig_setup_claimed, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIMED(the_largest_batch_comes_and_goes),
        CLAIMED(regions_in_several_segments_list_all_of_them),
        CLAIMED(what_does_not_fit_the_segments_is_not_aligned_and_undone),
        CLAIMED(a_region_has_at_most_the_segments_of_the_limit),
        CLAIMED(each_entry_has_its_own_status),
        CLAIMED(the_hosts_own_refusal_is_the_entrys),
        CLAIMED(what_is_wrong_with_the_whole_is_refused_before_anything_is_done),
        CLAIMED(input_that_changes_while_it_is_read_does_no_harm),
        CLAIMED(the_page_shows_the_use_after_a_batch),
        CLAIMED(a_batch_after_removal_only_takes_away),
    };

    return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
