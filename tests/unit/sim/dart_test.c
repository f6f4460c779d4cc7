/* SPDX-License-Identifier: BSD-3-Clause */
/* The simulated IOMMU where the caller chooses addresses: mapping, translation, faults, remote memory. */
#include "dart_fixture.h"

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
        {{.mode = SIM_DART_ASSIGNED, .aperture = UINT64_MAX}, "aperture"},
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
        cmocka_unit_test(remote_memory_is_copied_through_its_owner),
        cmocka_unit_test(remote_access_may_unmap_what_it_is_reading),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
