/* SPDX-License-Identifier: BSD-3-Clause */
/* The simulated IOMMU where it assigns addresses, as a DART does; and a run against a naive model. */
#include "dart_fixture.h"

/* Assigned. */

static void assigned_defaults_are_a_dart(void **state)
{
    struct fixture *f = assigned_with((struct sim_dart_config){.seed = 7});

    assert_int_equal(f->config.granule, GRANULE);
    assert_int_equal(f->config.aperture, 1536ull << 20);
    assert_int_equal(f->config.mappings, 65536);
    assert_true(f->config.base > 1ull << 32);
    assert_int_equal(f->config.base % GRANULE, 0);
    assert_int_not_equal(f->config.base % (2 * GRANULE), 0);
    stop(f, 0);
}

static void assigned_addresses_are_first_fit(void **state)
{
    struct fixture *f = assigned_with((struct sim_dart_config){.base = 1ull << 32, .aperture = 8 * GRANULE});
    struct sim_dart_mapping *a, *b, *c, *d;

    assert_int_equal(map_assigned(f, 0, 2 * GRANULE, &a), f->config.base);
    assert_int_equal(map_assigned(f, 2, GRANULE, &b), f->config.base + 2 * GRANULE);
    assert_int_equal(map_assigned(f, 3, 2 * GRANULE, &c), f->config.base + 3 * GRANULE);
    sim_dart_unmap(f->dart, a);
    assert_int_equal(map_assigned(f, 5, 3 * GRANULE, &d), f->config.base + 5 * GRANULE);
    assert_int_equal(map_assigned(f, 0, GRANULE, &a), f->config.base);
    sim_dart_unmap(f->dart, a);
    sim_dart_unmap(f->dart, b);
    sim_dart_unmap(f->dart, c);
    sim_dart_unmap(f->dart, d);
    stop(f, 0);
}

static void fragmented_space_fails_enospc_and_recovers_whole(void **state)
{
    struct fixture *f = assigned_with((struct sim_dart_config){.aperture = 16 * GRANULE});
    struct sim_dart_mapping *m[16], *big;

    for (unsigned i = 0; i < 16; i++)
        map_assigned(f, i, GRANULE, &m[i]);
    for (unsigned i = 0; i < 16; i += 2)
        sim_dart_unmap(f->dart, m[i]);
    assert_int_equal(map(f, f->memory, 0, 2 * GRANULE, &big), -ENOSPC);
    assert_int_equal(sim_dart_mapped_bytes(f->dart), 8 * GRANULE);
    for (unsigned i = 1; i < 16; i += 2)
        sim_dart_unmap(f->dart, m[i]);
    assert_int_equal(map_assigned(f, 0, 16 * GRANULE, &big), f->config.base);
    sim_dart_unmap(f->dart, big);
    stop(f, 0);
}

static void bytes_run_out_and_come_back(void **state)
{
    struct fixture *f = assigned_with((struct sim_dart_config){.aperture = 4 * GRANULE});
    struct sim_dart_mapping *a, *b;

    assert_int_equal(map(f, f->memory, 0, 5 * GRANULE, &a), -ENOSPC);
    map_assigned(f, 0, 3 * GRANULE, &a);
    assert_int_equal(map(f, f->memory, 0, 2 * GRANULE, &b), -ENOSPC);
    map_assigned(f, 0, GRANULE, &b);
    sim_dart_unmap(f->dart, a);
    map_assigned(f, 0, 3 * GRANULE, &a);
    sim_dart_unmap(f->dart, a);
    sim_dart_unmap(f->dart, b);
    stop(f, 0);
}

static void mappings_run_out_and_come_back(void **state)
{
    struct fixture *f = assigned_with((struct sim_dart_config){.mappings = 3});
    struct sim_dart_mapping *m[3], *extra;

    for (unsigned i = 0; i < 3; i++)
        map_assigned(f, i, GRANULE, &m[i]);
    assert_int_equal(map(f, f->memory, 0, GRANULE, &extra), -ENOSPC);
    sim_dart_unmap(f->dart, m[1]);
    map_assigned(f, 5, GRANULE, &m[1]);
    for (unsigned i = 0; i < 3; i++)
        sim_dart_unmap(f->dart, m[i]);
    stop(f, 0);
}

/* The real limit, once: every one of 65,536 mappings, then one more, then all freed in another order. */
static void full_default_mapping_table_fills_and_empties(void **state)
{
    struct fixture *f = assigned_with((struct sim_dart_config){0});
    static struct sim_dart_mapping *m[65536];
    struct sim_dart_mapping *extra;

    for (unsigned i = 0; i < 65536; i++)
        map_assigned(f, i % 64, GRANULE, &m[i]);
    assert_int_equal(map(f, f->memory, 0, GRANULE, &extra), -ENOSPC);
    for (unsigned i = 0; i < 65536; i++)
        sim_dart_unmap(f->dart, m[i * 40503u % 65536]);
    stop(f, 0);
}

static void unaligned_buffer_keeps_its_offset_and_is_bounded(void **state)
{
    struct fixture *f = assigned_with((struct sim_dart_config){.aperture = 4 * GRANULE});
    struct sim_dart_mapping *m;
    uint64_t iova;
    uint8_t byte = 5;

    assert_int_equal(map(f, f->memory + GRANULE - 100, 0, 200, &m), 0);
    iova = f->segments[0].iova;
    assert_int_equal(f->segments[0].size, 200);
    assert_int_equal(iova % GRANULE, GRANULE - 100);
    assert_int_equal(sim_dart_mapped_bytes(f->dart), 2 * GRANULE);
    assert_int_equal(sim_dart_write(f->dart, iova + 199, &byte, 1), 0);
    assert_int_equal(f->memory[GRANULE + 99], 5);
    assert_int_equal(sim_dart_write(f->dart, iova + 200, &byte, 1), -EFAULT);
    assert_int_equal(sim_dart_write(f->dart, iova - 1, &byte, 1), -EFAULT);
    sim_dart_unmap(f->dart, m);
    stop(f, 2);
}

/* Checks that a mapping's segments cover `size` bytes of `memory` in order, wherever on the bus. */
static void check_segments(struct fixture *f, const struct sim_dart_map *m, const uint8_t *memory)
{
    uint64_t done = 0;

    for (uint32_t i = 0; i < m->nr_segments; i++) {
        struct sim_dart_segment s = m->segments[i];

        assert_true(s.size > 0 && s.iova >= f->config.base);
        assert_true(s.iova - f->config.base + s.size <= f->config.aperture);
        assert_ptr_equal(sim_dart_peek(f->dart, s.iova, s.size, SIM_READ), memory + done);
        done += s.size;
    }
    assert_int_equal(done, m->size);
}

static void mappings_are_split_into_segments_in_buffer_order(void **state)
{
    struct fixture *f = assigned_with((struct sim_dart_config){.segments = 4, .seed = 3});
    struct sim_dart_map m[20];
    unsigned counts[5] = {0};

    for (unsigned i = 0; i < 20; i++) {
        struct sim_dart_segment segments[4];

        m[i] = request(f, f->memory, 0, 8 * GRANULE);
        m[i].segments = segments;
        m[i].max_segments = 4;
        assert_int_equal(sim_dart_map(f->dart, &m[i]), 0);
        check_segments(f, &m[i], f->memory);
        counts[m[i].nr_segments]++;
    }
    assert_true(counts[1] && counts[2] && counts[3] && counts[4]);
    for (unsigned i = 0; i < 20; i++)
        sim_dart_unmap(f->dart, m[i].mapping);
    stop(f, 0);
}

static void more_segments_than_room_fails_enobufs(void **state)
{
    struct fixture *f = assigned_with((struct sim_dart_config){.segments = 4, .seed = 3});
    struct sim_dart_map m = request(f, f->memory, 0, 8 * GRANULE);
    unsigned refused = 0;

    m.max_segments = 1;
    for (unsigned i = 0; i < 20; i++) {
        int err = sim_dart_map(f->dart, &m);

        if (err) {
            assert_int_equal(err, -ENOBUFS);
            refused++;
        } else {
            assert_int_equal(m.nr_segments, 1);
            sim_dart_unmap(f->dart, m.mapping);
        }
    }
    assert_true(refused > 0 && refused < 20);
    stop(f, 0);
}

/* A digest of the bus addresses that a fixed series of maps and unmaps gives. */
static uint64_t digest(uint64_t seed)
{
    struct fixture *f = assigned_with((struct sim_dart_config){.segments = 3, .seed = seed});
    struct sim_dart_mapping *m[16] = {NULL};
    uint64_t sum = 0;

    for (unsigned i = 0; i < 64; i++) {
        if (m[i % 16])
            sim_dart_unmap(f->dart, m[i % 16]);
        sum = sum * 31 + map_assigned(f, i % 8, (i % 5 + 1) * GRANULE, &m[i % 16]);
    }
    for (unsigned i = 0; i < 16; i++)
        sim_dart_unmap(f->dart, m[i]);
    stop(f, 0);
    return sum;
}

static void same_seed_gives_the_same_addresses(void **state)
{
    assert_true(digest(7) == digest(7));
    assert_true(digest(7) != digest(8));
}

/* A naive model: one owner per granule. */
enum { UNITS = 64, LIVE = 24 };

struct model {
    unsigned owner[UNITS]; /* mapping index + 1; 0: free */
    struct sim_dart_mapping *mapping[LIVE];
    unsigned first[LIVE], units[LIVE];
    uint32_t random;
};

static unsigned roll(struct model *m, unsigned n)
{
    m->random = m->random * 1664525u + 1013904223u;
    return (m->random >> 8) % n;
}

static int model_fit(const struct model *m, unsigned units)
{
    unsigned run = 0;

    for (unsigned i = 0; i < UNITS; i++) {
        run = m->owner[i] ? 0 : run + 1;
        if (run == units)
            return (int)(i + 1 - units);
    }
    return -1;
}

static void model_set(struct model *m, unsigned slot, unsigned owner)
{
    for (unsigned i = 0; i < m->units[slot]; i++)
        m->owner[m->first[slot] + i] = owner;
}

static void model_map(struct fixture *f, struct model *m, unsigned slot)
{
    unsigned units = roll(m, 9) + 1;
    int fit = model_fit(m, units);
    struct sim_dart_mapping *mapping;
    int err = map(f, f->memory + (size_t)slot * GRANULE, 0, (uint64_t)units * GRANULE, &mapping);

    assert_int_equal(err, fit < 0 ? -ENOSPC : 0);
    if (err)
        return;
    assert_int_equal(f->segments[0].iova, f->config.base + (uint64_t)fit * GRANULE);
    m->mapping[slot] = mapping;
    m->first[slot] = (unsigned)fit;
    m->units[slot] = units;
    model_set(m, slot, slot + 1);
}

/* What the device reaches at a random address is what the model says. */
static void model_probe(struct fixture *f, struct model *m)
{
    unsigned unit = roll(m, UNITS);
    unsigned offset = roll(m, GRANULE);
    unsigned owner = m->owner[unit];
    uint8_t *host = sim_dart_peek(f->dart, f->config.base + (uint64_t)unit * GRANULE + offset, 1, SIM_WRITE);
    size_t expected;

    if (!owner) {
        assert_null(host);
        return;
    }
    expected = (size_t)(owner - 1 + unit - m->first[owner - 1]) * GRANULE + offset;
    assert_ptr_equal(host, f->memory + expected);
}

static void random_maps_agree_with_a_naive_model(void **state)
{
    struct fixture *f = assigned_with((struct sim_dart_config){.aperture = UNITS * GRANULE, .seed = 11});
    struct model m = {.random = 42};

    for (unsigned step = 0; step < 20000; step++) {
        unsigned slot = roll(&m, LIVE);

        if (!m.mapping[slot]) {
            model_map(f, &m, slot);
        } else {
            sim_dart_unmap(f->dart, m.mapping[slot]);
            m.mapping[slot] = NULL;
            model_set(&m, slot, 0);
        }
        model_probe(f, &m);
    }
    for (unsigned slot = 0; slot < LIVE; slot++) {
        if (m.mapping[slot])
            sim_dart_unmap(f->dart, m.mapping[slot]);
    }
    stop(f, 0);
}

/* Many split mappings come and go; at the end the whole aperture is one gap again. */
static void split_mappings_give_all_their_space_back(void **state)
{
    struct fixture *f =
        assigned_with((struct sim_dart_config){.aperture = 64 * GRANULE, .segments = 5, .seed = 9});
    struct sim_dart_map m[8] = {{.mapping = NULL}};
    struct sim_dart_segment segments[8][5];
    struct model random = {.random = 6};
    unsigned made = 0;

    for (unsigned step = 0; step < 4000; step++) {
        unsigned i = roll(&random, 8);

        if (m[i].mapping) {
            check_segments(f, &m[i], f->memory + (size_t)i * GRANULE);
            sim_dart_unmap(f->dart, m[i].mapping);
            m[i].mapping = NULL;
            continue;
        }
        m[i] = request(f, f->memory + (size_t)i * GRANULE, 0, (roll(&random, 20) + 1) * (uint64_t)GRANULE);
        m[i].segments = segments[i];
        m[i].max_segments = 5;
        made += sim_dart_map(f->dart, &m[i]) == 0;
    }
    for (unsigned i = 0; i < 8; i++) {
        if (m[i].mapping)
            sim_dart_unmap(f->dart, m[i].mapping);
    }
    assert_true(made > 1000);
    m[0] = request(f, f->memory, 0, 64 * GRANULE);
    assert_int_equal(sim_dart_map(f->dart, &m[0]), 0);
    sim_dart_unmap(f->dart, m[0].mapping);
    stop(f, 0);
}

/* Memory shortage. */

static int create_and_map(struct harness *h)
{
    static uint8_t memory[4 * GRANULE];
    struct sim_dart_config config = {.mode = SIM_DART_ASSIGNED, .segments = 3, .seed = 5};
    struct sim_dart_segment segments[3];
    struct sim_dart_map map = {
        .host = memory, .size = sizeof(memory), .access = SIM_READ, .segments = segments, .max_segments = 3};
    struct sim_dart *dart;
    int err = sim_dart_create(&h->env, &config, &dart, NULL);
    uint64_t steps;

    if (err)
        return err;
    err = sim_dart_map(dart, &map);
    steps = h->steps;
    if (!err)
        sim_dart_unmap(dart, map.mapping);
    assert_int_equal(sim_dart_mapped_count(dart), 0);
    sim_dart_destroy(dart);
    assert_int_equal(h->steps, steps); /* neither unmap nor destroy did anything that can fail */
    return err;
}

static void memory_shortage_leaves_nothing_behind(void **state)
{
    struct harness h;

    harness_init(&h);
    assert_int_equal(fail_each_step(&h, create_and_map), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(assigned_defaults_are_a_dart),
        cmocka_unit_test(assigned_addresses_are_first_fit),
        cmocka_unit_test(fragmented_space_fails_enospc_and_recovers_whole),
        cmocka_unit_test(bytes_run_out_and_come_back),
        cmocka_unit_test(mappings_run_out_and_come_back),
        cmocka_unit_test(full_default_mapping_table_fills_and_empties),
        cmocka_unit_test(unaligned_buffer_keeps_its_offset_and_is_bounded),
        cmocka_unit_test(mappings_are_split_into_segments_in_buffer_order),
        cmocka_unit_test(more_segments_than_room_fails_enobufs),
        cmocka_unit_test(same_seed_gives_the_same_addresses),
        cmocka_unit_test(random_maps_agree_with_a_naive_model),
        cmocka_unit_test(split_mappings_give_all_their_space_back),
        cmocka_unit_test(memory_shortage_leaves_nothing_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
