// SPDX-License-Identifier: BSD-3-Clause
/* See fake.h. */
#include "fake.h"

#include <stdlib.h>

void fake_init(struct fake *fake, const struct vd_windows_config *config, uint64_t aperture)
{
    *fake = (struct fake){.config = *config, .next_id = 1, .ram_end = UINT64_MAX, .max_unmaps = FAKE_BATCH};
    fake->limit_bytes = aperture;
    fake->limit_mappings = config->limit_mappings;
    fake->granules = aperture / config->granule;
    fake->taken = calloc(fake->granules, 1);
    fake->table = calloc(FAKE_IDS, sizeof(*fake->table));
    fake->owners = calloc(fake->granules, sizeof(*fake->owners));
    assert_non_null(fake->taken);
    assert_non_null(fake->owners);
    assert_non_null(fake->table);
    assert_int_equal(vd_windows_create(config, &fake->windows), 0);
}

void fake_init_small(struct fake *fake)
{
    fake_init(
        fake,
        &(struct vd_windows_config){.granule = FAKE_GRANULE, .limit_bytes = 64 * MIB, .limit_mappings = 512},
        64 * MIB);
}

void fake_finish(struct fake *fake)
{
    assert_int_equal(fake->errors, 0);
    vd_windows_destroy(fake->windows);
    free(fake->taken);
    free(fake->owners);
    free(fake->table);
}

static uint64_t find_hole(const struct fake *fake, uint64_t count, uint64_t unit)
{
    for (uint64_t at = 0, i; at + count <= fake->granules; at += unit) {
        for (i = 0; i < count && !fake->taken[at + i];)
            i++;
        if (i == count)
            return at;
    }
    return fake->granules;
}

static uint32_t take_segment(struct fake *fake, uint64_t len, uint64_t align,
                             struct vd_window_segment *segment)
{
    uint64_t granule = fake->config.granule, count = len / granule;
    uint64_t at = find_hole(fake, count, align > granule ? align / granule : 1);

    if (at == fake->granules)
        return VD_APPLE_DMA_WHY_SPACE;
    memset(fake->taken + at, 1, count);
    *segment = (struct vd_window_segment){FAKE_BUS + at * granule, len};
    return 0;
}

static void free_segments(struct fake *fake, const struct vd_window_segment *segments, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        memset(fake->taken + (segments[i].bus - FAKE_BUS) / fake->config.granule, 0,
               segments[i].len / fake->config.granule);
}

static uint32_t why_not(struct fake *fake, const struct vd_windows_map *map)
{
    if (fake->chaos && unit_random(&fake->chaos) % 8 == 0)
        return 1 + (uint32_t)(unit_random(&fake->chaos) >> 20) % VD_APPLE_DMA_WHY_HOST;
    if (fake->refusals && map->size > fake->refuse_above) {
        fake->refusals--;
        return fake->refuse;
    }
    if (map->gpa + map->size > fake->ram_end)
        return VD_APPLE_DMA_WHY_NOT_RAM;
    if (fake->mappings == fake->limit_mappings)
        return VD_APPLE_DMA_WHY_MAPPINGS;
    if (fake->used + map->size > fake->limit_bytes)
        return VD_APPLE_DMA_WHY_BYTES;
    return 0;
}

static uint64_t new_id(struct fake *fake)
{
    assert_true(fake->mappings < FAKE_IDS - 1);
    do
        fake->next_id = fake->next_id % (FAKE_IDS - 1) + 1;
    while (fake->table[fake->next_id].mapped);
    return fake->next_id;
}

static void note_owner(struct fake *fake, const struct fake_mapping *mapping, bool mapped)
{
    uint64_t gpa = mapping->gpa, granule = fake->config.granule;

    for (uint32_t i = 0; i < mapping->nr_segments; i++)
        for (uint64_t at = 0; at < mapping->segments[i].len; at += granule, gpa += granule)
            __atomic_store_n(&fake->owners[(mapping->segments[i].bus - FAKE_BUS + at) / granule],
                             mapped ? gpa : UINT64_MAX, __ATOMIC_RELAXED);
}

static void host_map(struct fake *fake, struct vd_windows_map *map)
{
    uint64_t granule = fake->config.granule, granules = map->size / granule, rest = granules;
    uint32_t parts = fake->split ? fake->split : 1;

    fake->errors +=
        map->size == 0 || map->gpa % granule || map->size % granule || !map->access || !map->max_segments;
    map->why = why_not(fake, map);
    parts = parts < map->max_segments ? parts : map->max_segments;
    parts = parts < granules ? parts : (uint32_t)granules;
    for (map->nr_segments = 0; !map->why && map->nr_segments < parts; map->nr_segments++) {
        uint64_t len = map->nr_segments == parts - 1 ? rest : granules / parts;

        rest -= len;
        /* The last part comes first in the aperture, so that neighbours are not joined. */
        map->why = take_segment(fake, len * granule, fake->unaligned ? 0 : map->align,
                                &map->segments[map->nr_segments]);
        if (map->why)
            break;
    }
    for (uint32_t i = 0, j = map->nr_segments; i + 1 < j && granules % parts == 0; i++) {
        struct vd_window_segment swapped = map->segments[i];

        map->segments[i] = map->segments[--j];
        map->segments[j] = swapped;
    }
    if (map->why) {
        free_segments(fake, map->segments, map->nr_segments);
        return;
    }
    map->id = new_id(fake);
    fake->table[map->id] = (struct fake_mapping){.gpa = map->gpa,
                                                 .size = map->size,
                                                 .access = map->access,
                                                 .nr_segments = map->nr_segments,
                                                 .mapped = true};
    memcpy(fake->table[map->id].segments, map->segments, sizeof(map->segments));
    note_owner(fake, &fake->table[map->id], true);
    fake->used += map->size;
    fake->mappings++;
    fake->maps++;
    if (fake->useless) {
        fake->useless--;
        map->why = VD_APPLE_DMA_WHY_SEGMENTS;
        map->mapped = true;
    }
}

static void host_unmap(struct fake *fake, uint64_t id)
{
    struct fake_mapping *mapping = &fake->table[id < FAKE_IDS ? id : 0];

    if (!mapping->mapped) {
        fake->errors++;
        return;
    }
    mapping->mapped = false;
    note_owner(fake, mapping, false);
    free_segments(fake, mapping->segments, mapping->nr_segments);
    fake->used -= mapping->size;
    fake->mappings--;
    fake->unmaps++;
}

void fake_exchange(struct fake *fake, struct vd_windows_batch *batch)
{
    if (batch->nr_unmaps || batch->nr_maps)
        fake->doorbells++;
    for (uint32_t i = 0; i < batch->nr_unmaps; i++)
        host_unmap(fake, batch->unmaps[i]);
    for (uint32_t i = 0; i < batch->nr_maps; i++) {
        fake->last = batch->maps[i];
        host_map(fake, &batch->maps[i]);
    }
}

void fake_forget(struct fake *fake)
{
    vd_windows_forget(fake->windows);
    for (uint64_t id = 0; id < FAKE_IDS; id++)
        if (fake->table[id].mapped)
            host_unmap(fake, id);
}

void fake_run(struct fake *fake, struct vd_windows_want *wants, uint32_t count)
{
    uint64_t unmaps[FAKE_BATCH];
    struct vd_windows_map maps[FAKE_BATCH];
    struct vd_windows_batch batch = {
        .max_unmaps = (uint32_t)fake->max_unmaps, .unmaps = unmaps, .max_maps = FAKE_BATCH, .maps = maps};
    unsigned rounds = 0;

    do {
        vd_windows_plan(fake->windows, wants, count, &batch);
        fake_exchange(fake, &batch);
        rounds++;
        assert_true(rounds < 1000);
    } while (vd_windows_commit(fake->windows, wants, count, &batch));
    fake->rounds += rounds;
    for (uint32_t i = 0; i < count; i++)
        assert_true(!wants[i].window != !wants[i].error);
}

struct vd_window *fake_map(struct fake *fake, uint64_t gpa, uint64_t len)
{
    struct vd_windows_want want = {.gpa = gpa, .len = len, .access = FAKE_RW};

    fake_run(fake, &want, 1);
    assert_int_equal(want.error, 0);
    fake_check(fake, want.window, gpa, len);
    return want.window;
}

struct vd_window *fake_exact(struct fake *fake, uint64_t gpa, uint64_t len, uint64_t align)
{
    struct vd_windows_want want = {.gpa = gpa, .len = len, .access = FAKE_RW, .exact = true, .align = align};

    fake_run(fake, &want, 1);
    if (want.window)
        fake_check(fake, want.window, gpa, len);
    return want.window;
}

int fake_refused(struct fake *fake, uint64_t gpa, uint64_t len, uint32_t access)
{
    struct vd_windows_want want = {.gpa = gpa, .len = len, .access = access};

    fake_run(fake, &want, 1);
    assert_null(want.window);
    return want.error;
}

void fake_put(struct fake *fake, struct vd_window *window)
{
    if (vd_windows_put(fake->windows, window))
        fake_reap(fake, 0, UINT64_MAX);
}

uint32_t fake_reap(struct fake *fake, uint64_t gpa, uint64_t len)
{
    uint64_t unmaps[FAKE_BATCH];
    struct vd_windows_batch batch = {.max_unmaps = FAKE_BATCH, .unmaps = unmaps};
    uint32_t sum = 0, count;

    while ((count = vd_windows_reap(fake->windows, gpa, len, &batch))) {
        sum += count;
        fake_exchange(fake, &batch);
        assert_false(vd_windows_commit(fake->windows, NULL, 0, &batch));
    }
    return sum;
}

uint32_t fake_revoke(struct fake *fake)
{
    uint64_t unmaps[FAKE_BATCH];
    struct vd_windows_batch batch = {.max_unmaps = (uint32_t)fake->max_unmaps, .unmaps = unmaps};
    uint32_t sum = 0, count;

    while ((count = vd_windows_revoke(fake->windows, &batch))) {
        sum += count;
        fake_exchange(fake, &batch);
        assert_false(vd_windows_commit(fake->windows, NULL, 0, &batch));
    }
    return sum;
}

void fake_check(struct fake *fake, const struct vd_window *window, uint64_t gpa, uint64_t len)
{
    const struct fake_mapping *mapping = &fake->table[window->id];
    uint64_t bus = vd_window_bus(window, gpa, len), offset = gpa - mapping->gpa;
    uint32_t i = 0;

    assert_true(mapping->mapped);
    assert_int_equal(mapping->gpa, window->gpa);
    assert_int_equal(mapping->size, window->size);
    assert_int_equal(mapping->access, window->access);
    assert_true(window->gpa <= gpa && gpa + len <= window->gpa + window->size);
    while (i < mapping->nr_segments && offset >= mapping->segments[i].len)
        offset -= mapping->segments[i++].len;
    assert_true(i < mapping->nr_segments);
    assert_int_equal(bus, mapping->segments[i].bus + offset);
    assert_int_equal(vd_window_gpa(window, bus), gpa);
    assert_ptr_equal(vd_windows_at(fake->windows, bus), window);
    assert_ptr_equal(vd_windows_at(fake->windows, bus + len - 1), window);
}
