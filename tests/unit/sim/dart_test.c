/* SPDX-License-Identifier: BSD-3-Clause */
/* The simulated IOMMU in both modes: mapping, limits, translation, faults, pins; and a run against a naive model. */
#include "harness.h"

#include <errno.h>

#include "sim/dart.h"

enum { KIB = 1024, PAGE = 4 * KIB, GRANULE = 16 * KIB, MAX_SEGMENTS = 64 };

struct fixture {
    struct harness h;
    struct sim_dart_config config;
    struct sim_dart *dart;
    struct sim_dart_segment segments[MAX_SEGMENTS];
    uint8_t memory[64 * GRANULE] __attribute__((aligned(16 * 1024)));
};

static void start(struct fixture *f, struct sim_dart_config config)
{
    struct vd_failure failure = {0};

    harness_init(&f->h);
    f->config = config;
    assert_int_equal(sim_dart_create(&f->h.env, &f->config, &f->dart, &failure), 0);
}

static struct fixture *chosen(void)
{
    struct fixture *f = aligned_alloc(GRANULE, sizeof(*f));

    assert_non_null(f);
    start(f, (struct sim_dart_config){.mode = SIM_DART_CHOSEN});
    return f;
}

static struct fixture *assigned_with(struct sim_dart_config config)
{
    struct fixture *f = aligned_alloc(GRANULE, sizeof(*f));

    assert_non_null(f);
    config.mode = SIM_DART_ASSIGNED;
    start(f, config);
    return f;
}

/* Ends a test; `faults` are those it provoked. */
static void stop(struct fixture *f, uint64_t faults)
{
    assert_int_equal(sim_dart_mapped_count(f->dart), 0);
    assert_int_equal(sim_dart_mapped_bytes(f->dart), 0);
    assert_int_equal(sim_dart_faults(f->dart), faults);
    sim_dart_destroy(f->dart);
    assert_int_equal(f->h.live, 0);
    free(f);
}

static struct sim_dart_map request(struct fixture *f, void *host, uint64_t iova, uint64_t size)
{
    return (struct sim_dart_map){.host = host,
                                 .size = size,
                                 .iova = iova,
                                 .access = SIM_READ | SIM_WRITE,
                                 .segments = f->segments,
                                 .max_segments = MAX_SEGMENTS};
}

static int map(struct fixture *f, void *host, uint64_t iova, uint64_t size, struct sim_dart_mapping **out)
{
    struct sim_dart_map m = request(f, host, iova, size);
    int err = sim_dart_map(f->dart, &m);

    *out = m.mapping;
    assert_int_equal(err == 0, m.mapping != NULL);
    return err;
}

/* The bus address of a mapping of `size` bytes of memory from granule `at` on. */
static uint64_t map_assigned(struct fixture *f, unsigned at, uint64_t size, struct sim_dart_mapping **out)
{
    assert_int_equal(map(f, f->memory + (size_t)at * GRANULE, 0, size, out), 0);
    return f->segments[0].iova;
}

/* Chosen. */

static void chosen_defaults_are_unlimited(void **state)
{
    struct fixture *f = chosen();

    assert_int_equal(f->config.granule, PAGE);
    assert_true(f->config.aperture == UINT64_MAX && f->config.mappings == UINT64_MAX);
    assert_int_equal(f->config.base, 0);
    assert_int_equal(f->config.segments, 1);
    stop(f, 0);
}

static void chosen_mapping_translates_at_its_address(void **state)
{
    struct fixture *f = chosen();
    struct sim_dart_mapping *m;
    char text[6] = "";

    assert_int_equal(map(f, f->memory, 0x10000, 2 * PAGE, &m), 0);
    assert_int_equal(f->segments[0].iova, 0x10000);
    assert_int_equal(f->segments[0].size, 2 * PAGE);
    assert_int_equal(sim_dart_write(f->dart, 0x10000 + PAGE - 2, "hello", 6), 0);
    assert_memory_equal(f->memory + PAGE - 2, "hello", 6);
    assert_int_equal(sim_dart_read(f->dart, 0x10000 + PAGE - 2, text, 6), 0);
    assert_string_equal(text, "hello");
    sim_dart_unmap(f->dart, m);
    stop(f, 0);
}

static void access_across_adjacent_mappings_is_one_access(void **state)
{
    struct fixture *f = chosen();
    struct sim_dart_mapping *a, *b;

    assert_int_equal(map(f, f->memory + 8 * PAGE, 0x1000, PAGE, &a), 0);
    assert_int_equal(map(f, f->memory, 0x2000, PAGE, &b), 0);
    assert_int_equal(sim_dart_write(f->dart, 0x1ffe, "abcd", 4), 0);
    assert_memory_equal(f->memory + 9 * PAGE - 2, "ab", 2);
    assert_memory_equal(f->memory, "cd", 2);
    sim_dart_unmap(f->dart, a);
    sim_dart_unmap(f->dart, b);
    stop(f, 0);
}

static void map_over_existing_range_fails_eexist(void **state)
{
    struct fixture *f = chosen();
    struct sim_dart_mapping *a, *b;

    assert_int_equal(map(f, f->memory, 0x4000, 2 * PAGE, &a), 0);
    assert_int_equal(map(f, f->memory, 0x5000, PAGE, &b), -EEXIST);
    assert_int_equal(map(f, f->memory, 0x3000, 2 * PAGE, &b), -EEXIST);
    assert_int_equal(map(f, f->memory, 0x3000, 8 * PAGE, &b), -EEXIST);
    assert_int_equal(map(f, f->memory, 0x6000, PAGE, &b), 0);
    assert_int_equal(sim_dart_mapped_count(f->dart), 2);
    assert_int_equal(sim_dart_mapped_bytes(f->dart), 3 * PAGE);
    sim_dart_unmap(f->dart, a);
    sim_dart_unmap(f->dart, b);
    stop(f, 0);
}

static void the_last_page_of_the_address_space_can_be_mapped(void **state)
{
    struct fixture *f = chosen();
    struct sim_dart_mapping *m;
    uint8_t byte = 7;

    assert_int_equal(map(f, f->memory, UINT64_MAX - PAGE + 1, PAGE, &m), 0);
    assert_int_equal(sim_dart_write(f->dart, UINT64_MAX, &byte, 1), 0);
    assert_int_equal(f->memory[PAGE - 1], 7);
    assert_int_equal(sim_dart_write(f->dart, UINT64_MAX, &byte, 2), -EFAULT);
    sim_dart_unmap(f->dart, m);
    stop(f, 1);
}

static void malformed_chosen_maps_fail_einval(void **state)
{
    struct fixture *f = chosen();
    struct vd_remote remote = {0};
    struct sim_dart_mapping *m;
    struct sim_dart_map r;

    assert_int_equal(map(f, f->memory, 0x1000, 0, &m), -EINVAL);
    assert_int_equal(map(f, f->memory, 0x1000, 100, &m), -EINVAL);
    assert_int_equal(map(f, f->memory, 0x1800, PAGE, &m), -EINVAL);
    assert_int_equal(map(f, f->memory, UINT64_MAX - PAGE + 1, 2 * PAGE, &m), -EINVAL);
    assert_int_equal(map(f, NULL, 0x1000, PAGE, &m), -EINVAL);
    r = request(f, f->memory, 0x1000, PAGE);
    r.remote = &remote;
    assert_int_equal(sim_dart_map(f->dart, &r), -EINVAL);
    r = request(f, f->memory, 0x1000, PAGE);
    r.access = 0;
    assert_int_equal(sim_dart_map(f->dart, &r), -EINVAL);
    stop(f, 0);
}

static void chosen_aperture_bounds_addresses(void **state)
{
    struct fixture *f = aligned_alloc(GRANULE, sizeof(*f));
    struct sim_dart_mapping *m;

    assert_non_null(f);
    start(f, (struct sim_dart_config){.base = 0x10000, .aperture = 4 * PAGE, .mappings = 1});
    assert_int_equal(map(f, f->memory, 0xf000, PAGE, &m), -ERANGE);
    assert_int_equal(map(f, f->memory, 0x13000, 2 * PAGE, &m), -ERANGE);
    assert_int_equal(map(f, f->memory, 0x13000, PAGE, &m), 0);
    sim_dart_unmap(f->dart, m);
    stop(f, 0);
}

static void bad_configurations_are_refused_by_name(void **state)
{
    static const struct {
        struct sim_dart_config config;
        const char *word;
    } cases[] = {
        {{.mode = SIM_DART_CHOSEN, .segments = 2}, "segments"},
        {{.mode = SIM_DART_ASSIGNED, .aperture = GRANULE + PAGE}, "aperture"},
        {{.mode = SIM_DART_ASSIGNED, .base = PAGE}, "base"},
        {{.mode = SIM_DART_ASSIGNED, .base = UINT64_MAX - GRANULE + 1, .aperture = 2 * GRANULE}, "64 bits"},
        {{.mode = SIM_DART_ASSIGNED, .granule = 5000}, "granule"},
    };
    struct harness h;

    harness_init(&h);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sim_dart_config config = cases[i].config;
        struct vd_failure failure = {0};
        struct sim_dart *dart;

        assert_int_equal(sim_dart_create(&h.env, &config, &dart, &failure), -EINVAL);
        assert_non_null(strstr(failure.text, cases[i].word));
        assert_null(dart);
    }
    assert_int_equal(h.live, 0);
}

/* Faults. */

static void access_outside_a_mapping_is_refused_and_recorded(void **state)
{
    struct fixture *f = chosen();
    struct sim_dart_mapping *m;
    uint8_t buffer[64] = {0};

    assert_int_equal(map(f, f->memory, 0x4000, PAGE, &m), 0);
    assert_int_equal(sim_dart_read(f->dart, 0x3fff, buffer, 1), -EFAULT);
    assert_int_equal(sim_dart_last_fault(f->dart).iova, 0x3fff);
    assert_int_equal(sim_dart_write(f->dart, 0x4ff0, buffer, 32), -EFAULT);
    assert_int_equal(sim_dart_last_fault(f->dart).iova, 0x5000);
    assert_int_equal(sim_dart_last_fault(f->dart).size, 16);
    assert_int_equal(sim_dart_last_fault(f->dart).access, SIM_WRITE);
    assert_int_equal(sim_dart_read(f->dart, 0, buffer, 0), 0);
    sim_dart_unmap(f->dart, m);
    assert_int_equal(sim_dart_read(f->dart, 0x4000, buffer, 1), -EFAULT);
    stop(f, 3);
}

static void access_that_the_mapping_forbids_is_refused(void **state)
{
    struct fixture *f = chosen();
    struct sim_dart_map r = request(f, f->memory, 0x4000, PAGE);
    struct sim_dart_map w = request(f, f->memory, 0x8000, PAGE);
    uint8_t byte = 1;

    r.access = SIM_READ;
    w.access = SIM_WRITE;
    assert_int_equal(sim_dart_map(f->dart, &r), 0);
    assert_int_equal(sim_dart_map(f->dart, &w), 0);
    assert_int_equal(sim_dart_read(f->dart, 0x4000, &byte, 1), 0);
    assert_int_equal(sim_dart_write(f->dart, 0x4000, &byte, 1), -EFAULT);
    assert_int_equal(sim_dart_write(f->dart, 0x8000, &byte, 1), 0);
    assert_int_equal(sim_dart_read(f->dart, 0x8000, &byte, 1), -EFAULT);
    assert_null(sim_dart_peek(f->dart, 0x4000, 8, SIM_WRITE));
    assert_ptr_equal(sim_dart_peek(f->dart, 0x4000, 8, SIM_READ), f->memory);
    sim_dart_unmap(f->dart, r.mapping);
    sim_dart_unmap(f->dart, w.mapping);
    stop(f, 2);
}

static void destroy_with_live_mappings_is_logged_and_releases_them(void **state)
{
    struct fixture *f = chosen();
    struct sim_dart_mapping *m;

    assert_int_equal(map(f, f->memory, 0x4000, PAGE, &m), 0);
    assert_int_equal(map(f, f->memory, 0x8000, PAGE, &m), 0);
    sim_dart_destroy(f->dart);
    assert_int_equal(f->h.live, 0);
    assert_non_null(strstr(f->h.line, "live mappings"));
    free(f);
    sim_dart_destroy(NULL);
}

/* Pins. */

struct quiesce {
    struct fixture *f;
    uint64_t iova, size;
    unsigned calls;
};

static void unpin_on_quiesce(void *opaque)
{
    struct quiesce *q = opaque;

    q->calls++;
    if (q->size)
        sim_dart_unpin(q->f->dart, q->iova, q->size);
}

static void unmap_of_pinned_memory_quiesces_first(void **state)
{
    struct fixture *f = chosen();
    struct quiesce q = {f, 0x4000, 100, 0};
    struct sim_dart_mapping *m;
    struct iovec iov[2];
    unsigned count = 0;

    sim_dart_set_quiesce(f->dart, unpin_on_quiesce, &q);
    assert_int_equal(map(f, f->memory, 0x4000, PAGE, &m), 0);
    assert_int_equal(sim_dart_iov(f->dart, 0x4000, 100, SIM_READ, iov, &count, 2), 0);
    sim_dart_unmap(f->dart, m);
    assert_int_equal(q.calls, 1);
    stop(f, 0);
}

static void unmap_of_unpinned_memory_does_not_quiesce(void **state)
{
    struct fixture *f = chosen();
    struct quiesce q = {f, 0, 0, 0};
    struct sim_dart_mapping *m;
    struct iovec iov[2];
    unsigned count = 0;

    sim_dart_set_quiesce(f->dart, unpin_on_quiesce, &q);
    assert_int_equal(map(f, f->memory, 0x4000, PAGE, &m), 0);
    assert_int_equal(sim_dart_iov(f->dart, 0x4000, 100, SIM_READ, iov, &count, 2), 0);
    sim_dart_unpin(f->dart, 0x4000, 100);
    sim_dart_unmap(f->dart, m);
    assert_int_equal(q.calls, 0);
    stop(f, 0);
}

static void pin_that_survives_quiesce_is_recorded(void **state)
{
    struct fixture *f = chosen();
    struct quiesce q = {f, 0, 0, 0};
    struct sim_dart_mapping *m;
    struct iovec iov[2];
    unsigned count = 0;

    sim_dart_set_quiesce(f->dart, unpin_on_quiesce, &q);
    assert_int_equal(map(f, f->memory, 0x4000, PAGE, &m), 0);
    assert_int_equal(sim_dart_iov(f->dart, 0x4000, 100, SIM_READ, iov, &count, 2), 0);
    sim_dart_unmap(f->dart, m);
    assert_int_equal(q.calls, 1);
    assert_non_null(strstr(f->h.line, "still holds"));
    stop(f, 1);
}

static void unpin_without_a_pin_is_recorded(void **state)
{
    struct fixture *f = chosen();
    struct sim_dart_mapping *m;

    assert_int_equal(map(f, f->memory, 0x4000, PAGE, &m), 0);
    sim_dart_unpin(f->dart, 0x4000, 1);
    sim_dart_unpin(f->dart, 0x9000, 1);
    sim_dart_unmap(f->dart, m);
    stop(f, 2);
}

static void iov_merges_neighbours_and_appends(void **state)
{
    struct fixture *f = chosen();
    struct sim_dart_mapping *a, *b, *c;
    struct iovec iov[3];
    unsigned count = 0;

    assert_int_equal(map(f, f->memory, 0x1000, PAGE, &a), 0);
    assert_int_equal(map(f, f->memory + PAGE, 0x2000, PAGE, &b), 0);
    assert_int_equal(map(f, f->memory + 5 * PAGE, 0x3000, PAGE, &c), 0);
    assert_int_equal(sim_dart_iov(f->dart, 0x1800, PAGE, SIM_WRITE, iov, &count, 3), 0);
    assert_int_equal(count, 1);
    assert_ptr_equal(iov[0].iov_base, f->memory + 0x800);
    assert_int_equal(iov[0].iov_len, PAGE);
    assert_int_equal(sim_dart_iov(f->dart, 0x2800, PAGE, SIM_WRITE, iov, &count, 3), 0);
    assert_int_equal(count, 2);
    assert_int_equal(iov[0].iov_len, PAGE + 0x800);
    assert_ptr_equal(iov[1].iov_base, f->memory + 5 * PAGE);
    assert_int_equal(iov[1].iov_len, 0x800);
    sim_dart_unpin(f->dart, 0x1800, PAGE);
    sim_dart_unpin(f->dart, 0x2800, PAGE);
    sim_dart_unmap(f->dart, a);
    sim_dart_unmap(f->dart, b);
    sim_dart_unmap(f->dart, c);
    stop(f, 0);
}

static void failed_iov_leaves_the_vector_and_pins_as_before(void **state)
{
    struct fixture *f = chosen();
    struct quiesce q = {f, 0, 0, 0};
    struct sim_dart_mapping *a, *b;
    struct iovec iov[2];
    unsigned count = 0;

    sim_dart_set_quiesce(f->dart, unpin_on_quiesce, &q);
    assert_int_equal(map(f, f->memory, 0x1000, PAGE, &a), 0);
    assert_int_equal(map(f, f->memory + 8 * PAGE, 0x2000, PAGE, &b), 0);
    assert_int_equal(sim_dart_iov(f->dart, 0x1000, 16, SIM_READ, iov, &count, 1), 0);
    assert_int_equal(sim_dart_iov(f->dart, 0x1010, PAGE, SIM_READ, iov, &count, 1), -ENOBUFS);
    assert_int_equal(count, 1);
    assert_int_equal(iov[0].iov_len, 16);
    assert_int_equal(sim_dart_iov(f->dart, 0x1010, 4 * PAGE, SIM_READ, iov, &count, 2), -EFAULT);
    assert_int_equal(count, 1);
    assert_int_equal(iov[0].iov_len, 16);
    sim_dart_unpin(f->dart, 0x1000, 16);
    sim_dart_unmap(f->dart, a);
    sim_dart_unmap(f->dart, b);
    assert_int_equal(q.calls, 0);
    stop(f, 1);
}

static void peek_needs_one_piece_of_host_memory(void **state)
{
    struct fixture *f = chosen();
    struct sim_dart_mapping *a, *b, *c;
    uint64_t generation;

    assert_int_equal(map(f, f->memory, 0x1000, PAGE, &a), 0);
    assert_int_equal(map(f, f->memory + PAGE, 0x2000, PAGE, &b), 0);
    assert_int_equal(map(f, f->memory + 5 * PAGE, 0x3000, PAGE, &c), 0);
    assert_ptr_equal(sim_dart_peek(f->dart, 0x1004, 2 * PAGE - 4, SIM_READ), f->memory + 4);
    assert_null(sim_dart_peek(f->dart, 0x1000, 3 * PAGE, SIM_READ));
    assert_null(sim_dart_peek(f->dart, 0x9000, 4, SIM_READ));
    generation = sim_dart_generation(f->dart);
    sim_dart_unmap(f->dart, a);
    assert_true(sim_dart_generation(f->dart) != generation);
    sim_dart_unmap(f->dart, b);
    sim_dart_unmap(f->dart, c);
    stop(f, 0);
}

/* Remote memory. */

struct owner {
    struct fixture *f;
    struct sim_dart_mapping *drop; /* unmapped by the first access */
    uint64_t base;
    int refuse;
};

static void maybe_drop(struct owner *o)
{
    struct sim_dart_mapping *drop = o->drop;

    o->drop = NULL;
    if (drop)
        sim_dart_unmap(o->f->dart, drop);
}

static int owner_read(void *opaque, uint64_t address, void *buffer, size_t size)
{
    struct owner *o = opaque;

    if (o->refuse)
        return o->refuse;
    memcpy(buffer, o->f->memory + (address - o->base), size);
    maybe_drop(o);
    return 0;
}

static int owner_write(void *opaque, uint64_t address, const void *buffer, size_t size)
{
    struct owner *o = opaque;

    if (o->refuse)
        return o->refuse;
    memcpy(o->f->memory + (address - o->base), buffer, size);
    maybe_drop(o);
    return 0;
}

static struct sim_dart_mapping *map_remote(struct fixture *f, struct owner *o, uint64_t iova, uint64_t size)
{
    struct vd_remote remote = {owner_read, owner_write, o};
    struct sim_dart_map r = request(f, NULL, iova, size);

    r.remote = &remote;
    r.remote_address = o->base;
    assert_int_equal(sim_dart_map(f->dart, &r), 0);
    return r.mapping;
}

static void remote_memory_is_copied_through_its_owner(void **state)
{
    struct fixture *f = chosen();
    struct owner o = {f, NULL, 0x800000, 0};
    struct sim_dart_mapping *m = map_remote(f, &o, 0x4000, 2 * PAGE);
    struct iovec iov;
    unsigned count = 0;
    char text[4];

    assert_int_equal(sim_dart_write(f->dart, 0x4ffe, "xyz", 4), 0);
    assert_memory_equal(f->memory + PAGE - 2, "xyz", 4);
    assert_int_equal(sim_dart_read(f->dart, 0x4ffe, text, 4), 0);
    assert_string_equal(text, "xyz");
    assert_int_equal(sim_dart_iov(f->dart, 0x4000, 4, SIM_READ, &iov, &count, 1), -EREMOTE);
    assert_null(sim_dart_peek(f->dart, 0x4000, 4, SIM_READ));
    o.refuse = -ETIMEDOUT;
    assert_int_equal(sim_dart_read(f->dart, 0x4000, text, 4), -EIO);
    sim_dart_unmap(f->dart, m);
    stop(f, 0);
}

static void remote_access_may_unmap_what_it_is_reading(void **state)
{
    struct fixture *f = chosen();
    struct owner o = {f, NULL, 0x800000, 0};
    struct sim_dart_mapping *next;
    uint8_t buffer[2 * PAGE];

    o.drop = map_remote(f, &o, 0x4000, PAGE);
    assert_int_equal(map(f, f->memory + 9 * PAGE, 0x5000, PAGE, &next), 0);
    assert_int_equal(sim_dart_read(f->dart, 0x4000, buffer, sizeof(buffer)), 0);
    assert_int_equal(sim_dart_read(f->dart, 0x4000, buffer, sizeof(buffer)), -EFAULT);
    sim_dart_unmap(f->dart, next);
    stop(f, 1);
}

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
    struct sim_dart_mapping **m = calloc(65536, sizeof(*m));
    struct sim_dart_mapping *extra;

    assert_non_null(m);
    for (unsigned i = 0; i < 65536; i++)
        map_assigned(f, i % 64, GRANULE, &m[i]);
    assert_int_equal(map(f, f->memory, 0, GRANULE, &extra), -ENOSPC);
    for (unsigned i = 0; i < 65536; i++)
        sim_dart_unmap(f->dart, m[i * 40503u % 65536]);
    free(m);
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
        cmocka_unit_test(chosen_defaults_are_unlimited),
        cmocka_unit_test(chosen_mapping_translates_at_its_address),
        cmocka_unit_test(access_across_adjacent_mappings_is_one_access),
        cmocka_unit_test(map_over_existing_range_fails_eexist),
        cmocka_unit_test(the_last_page_of_the_address_space_can_be_mapped),
        cmocka_unit_test(malformed_chosen_maps_fail_einval),
        cmocka_unit_test(chosen_aperture_bounds_addresses),
        cmocka_unit_test(bad_configurations_are_refused_by_name),
        cmocka_unit_test(access_outside_a_mapping_is_refused_and_recorded),
        cmocka_unit_test(access_that_the_mapping_forbids_is_refused),
        cmocka_unit_test(destroy_with_live_mappings_is_logged_and_releases_them),
        cmocka_unit_test(unmap_of_pinned_memory_quiesces_first),
        cmocka_unit_test(unmap_of_unpinned_memory_does_not_quiesce),
        cmocka_unit_test(pin_that_survives_quiesce_is_recorded),
        cmocka_unit_test(unpin_without_a_pin_is_recorded),
        cmocka_unit_test(iov_merges_neighbours_and_appends),
        cmocka_unit_test(failed_iov_leaves_the_vector_and_pins_as_before),
        cmocka_unit_test(peek_needs_one_piece_of_host_memory),
        cmocka_unit_test(remote_memory_is_copied_through_its_owner),
        cmocka_unit_test(remote_access_may_unmap_what_it_is_reading),
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
        cmocka_unit_test(memory_shortage_leaves_nothing_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
