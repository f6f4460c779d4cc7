/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of mappings: against a naive model, and with keys that were chosen to hurt. */
#include "dext/core/table.h"

#include <stdlib.h>

#include "../base/unit.h"
#include "mock.h"

enum { FULL = 65536, KEYS = 300, STEPS = 200000 };

struct fixture {
    struct mock mock;
    struct vd_dext_os os;
    struct vd_dext_table table;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    mock_init(&f->mock);
    f->os = mock_os(&f->mock);
    vd_dext_table_init(&f->table, 0x0123456789abcdef, 0xfedcba9876543210);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    vd_dext_table_finish(&f->table, &f->os);
    assert_null(mock_leftover(&f->mock));
    free(f);
    return 0;
}

static void insert(struct fixture *f, uint64_t key, uint64_t size)
{
    assert_int_equal(vd_dext_table_reserve(&f->table, &f->os), 0);
    vd_dext_table_insert(&f->table, (struct vd_dext_slot){.key = key, .size = size, .charge = 1});
}

static void drop(struct fixture *f, uint64_t key)
{
    struct vd_dext_slot *slot = vd_dext_table_find(&f->table, key);

    assert_non_null(slot);
    vd_dext_table_remove(&f->table, &f->os, slot);
}

/* Slots looked at to find each key that is in the table: the longest, and the sum. */
static size_t probes(const struct vd_dext_table *table, size_t *sum)
{
    size_t longest = 0;

    *sum = 0;
    for (size_t at = 0; at < table->capacity; at++) {
        size_t distance;

        if (!table->slots[at].charge)
            continue;
        distance = ((at - vd_dext_table_home(table, table->slots[at].key)) & (table->capacity - 1)) + 1;
        longest = distance > longest ? distance : longest;
        *sum += distance;
    }
    return longest;
}

/* Keys a client might pick: in a row, far apart, only the top bits, and the extremes. */
static uint64_t hostile_key(unsigned pattern, uint64_t i)
{
    switch (pattern) {
    case 0:
        return i;
    case 1:
        return i << 14;
    case 2:
        return i << 48;
    case 3:
        return UINT64_MAX - i;
    case 4:
        return i * 0x10001;
    default:
        return i << 32 | i;
    }
}

static void keys_chosen_to_collide_do_not(void **state)
{
    struct fixture *f = *state;

    for (unsigned pattern = 0; pattern < 6; pattern++) {
        size_t sum;

        for (uint64_t i = 0; i < FULL; i++)
            insert(f, hostile_key(pattern, i), i);
        assert_int_equal(f->table.count, FULL);
        /* 1.5 on average when at most half full, by the theory; 100 in a row does not happen by chance. */
        assert_true(probes(&f->table, &sum) < 100);
        assert_true(sum < FULL * 2ull);
        for (uint64_t i = 0; i < FULL; i++)
            assert_int_equal(vd_dext_table_find(&f->table, hostile_key(pattern, i))->size, i);
        for (uint64_t i = 0; i < FULL; i++)
            drop(f, hostile_key(pattern, i));
        assert_int_equal(f->table.count, 0);
    }
}

/* Half of the keys go and others come, again and again: no tombstones make the way longer. */
static void churn_does_not_make_searches_longer(void **state)
{
    struct fixture *f = *state;
    size_t capacity, sum;

    for (uint64_t i = 0; i < FULL; i++)
        insert(f, i, i);
    capacity = f->table.capacity;
    for (uint64_t i = 0; i < 4 * FULL; i++) {
        drop(f, i);
        insert(f, i + FULL, i);
    }
    assert_int_equal(f->table.capacity, capacity);
    assert_true(probes(&f->table, &sum) < 100);
    assert_true(sum < FULL * 2ull);
}

static void another_secret_is_another_order(void **state)
{
    struct fixture *f = *state;
    struct vd_dext_table other = {.capacity = 1 << 20, .secret = {1, 2}};
    struct vd_dext_table same = {.capacity = 1 << 20, .secret = {1, 3}};
    unsigned equal = 0;

    (void)f;
    for (uint64_t key = 0; key < 1000; key++)
        equal += vd_dext_table_home(&other, key) == vd_dext_table_home(&same, key);
    assert_true(equal < 10);
}

/*
 * SipHash-1-3 with the key 00 01 .. 0f of the message 00 01 .. 07, by an implementation in Python that agrees with the
 * published vector of SipHash-2-4.
 */
static void the_hash_is_siphash(void **state)
{
    const struct vd_dext_table table = {.capacity = (size_t)1 << 63,
                                        .secret = {0x0706050403020100, 0x0f0e0d0c0b0a0908}};

    (void)state;
    assert_true(vd_dext_table_home(&table, 0x0706050403020100) == (0x369095118d299a8e & INT64_MAX));
}

struct model {
    bool in[KEYS];
    uint64_t size[KEYS];
};

static void agrees_with_a_naive_array(void **state)
{
    static const uint64_t extremes[] = {0, UINT64_MAX, 1ull << 63};
    struct fixture *f = *state;
    struct model *m = calloc(1, sizeof(*m));
    uint64_t seed = 3, keys[KEYS];
    size_t count = 0;

    assert_non_null(m);
    for (unsigned k = 0; k < KEYS; k++)
        keys[k] = k < 3 ? extremes[k] : unit_random(&seed);
    for (unsigned i = 0; i < STEPS; i++) {
        /* Grows, then shrinks to nothing, then grows ... */
        bool growing = i / 2000 % 2 == 0;
        unsigned k = (unsigned)(unit_random(&seed) % KEYS);
        const struct vd_dext_slot *slot = vd_dext_table_find(&f->table, keys[k]);

        assert_int_equal(slot != NULL, m->in[k]);
        if (slot)
            assert_int_equal(slot->size, m->size[k]);
        if (growing == m->in[k] && unit_random(&seed) % 8)
            continue;
        if (m->in[k]) {
            drop(f, keys[k]);
            count--;
        } else {
            m->size[k] = i;
            insert(f, keys[k], i);
            count++;
        }
        m->in[k] = !m->in[k];
        assert_int_equal(f->table.count, count);
        assert_true(count * 2 <= f->table.capacity || !count);
    }
    free(m);
}

static void no_memory_to_grow_changes_nothing(void **state)
{
    struct fixture *f = *state;
    unsigned n = 0;

    insert(f, n++, 1);
    f->mock.status[MOCK_ALLOC] = 1;
    while (vd_dext_table_reserve(&f->table, &f->os) == 0)
        insert(f, n++, 1);
    assert_int_equal(vd_dext_table_reserve(&f->table, &f->os), VD_DEXT_NO_MEMORY);
    for (unsigned i = 0; i < n; i++)
        assert_non_null(vd_dext_table_find(&f->table, i));
    assert_null(vd_dext_table_find(&f->table, n));
    for (unsigned i = 0; i < n; i++)
        drop(f, i); /* removing needs none */
    f->mock.status[MOCK_ALLOC] = 0;
}

static void an_empty_table_has_given_its_memory_back(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(vd_dext_table_bytes(&f->table), 0);
    assert_null(vd_dext_table_find(&f->table, 0));
    for (uint64_t i = 0; i < 1000; i++)
        insert(f, i, i);
    assert_int_equal(vd_dext_table_bytes(&f->table), f->mock.live_bytes);
    for (uint64_t i = 0; i < 1000; i++)
        drop(f, i);
    assert_int_equal(f->mock.live_bytes, 0);
    assert_int_equal(vd_dext_table_bytes(&f->table), 0);
}

#define TABLE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TABLE(keys_chosen_to_collide_do_not),
        TABLE(churn_does_not_make_searches_longer),
        TABLE(another_secret_is_another_order),
        TABLE(the_hash_is_siphash),
        TABLE(agrees_with_a_naive_array),
        TABLE(no_memory_to_grow_changes_nothing),
        TABLE(an_empty_table_has_given_its_memory_back),
    };

    return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
