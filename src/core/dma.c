/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The DMA domain: validation and accounting in front of the back end's map and unmap.
 *
 * Invariants: a vd_dma_mapping is on exactly one of the lists `live` and `released` (while it is released, on a list of its own); `chosen` holds exactly the live
 * ones of a domain with chosen addresses; bytes and mappings are the sums over `live`. Everything that unmap needs is
 * allocated at map time, so unmap cannot fail. A mapping that quiesce takes away moves to `released` and stays there
 * until its holder gives the handle back, so a handle never dangles.
 *
 * Lock: none, the device's thread; the sums and the quota are atomics that any thread may read.
 */
#include "core/device.h"

#include <errno.h>
#include <string.h>

/* Entries handed to the back end at a time, unless it asks for more: bounds the stack. */
enum { BATCH = 64, LARGEST_BATCH = 4096 };

/*
 * What one batch needs. On the stack for BATCH entries, because a simulated device may re-enter these functions while it
 * finishes an access; allocated at open for hosts with larger batches, which never call back from a map or unmap.
 */
struct vd_dma_scratch {
    size_t room;
    struct vd_host_map *down;
    struct vd_dma_segment *spare; /* results that the caller wants nowhere */
    size_t *where;                /* whose entry it is */
    void **tokens;
};

#define STACK_SCRATCH(name)                                                                                  \
    struct vd_host_map name##_down[BATCH];                                                                   \
    struct vd_dma_segment name##_spare[BATCH];                                                               \
    size_t name##_where[BATCH];                                                                              \
    void *name##_tokens[BATCH];                                                                              \
    struct vd_dma_scratch name = {BATCH, name##_down, name##_spare, name##_where, name##_tokens}

struct vd_dma_mapping {
    struct vd_tree_node node; /* bus range, when chosen */
    struct vd_dma_mapping *next, **link;
    uint64_t size;
    void *token;
    bool live;
};

static void list_add(struct vd_dma_mapping **list, struct vd_dma_mapping *mapping)
{
    mapping->next = *list;
    mapping->link = list;
    if (mapping->next)
        mapping->next->link = &mapping->next;
    *list = mapping;
}

static void list_del(struct vd_dma_mapping *mapping)
{
    *mapping->link = mapping->next;
    if (mapping->next)
        mapping->next->link = mapping->link;
}

static void free_scratch(struct vd_device *device)
{
    struct vd_dma_scratch *scratch = device->dma.scratch;

    if (!scratch)
        return;
    vd_env_free(device->env, scratch->down);
    vd_env_free(device->env, scratch->spare);
    vd_env_free(device->env, scratch->where);
    vd_env_free(device->env, scratch->tokens);
    vd_env_free(device->env, scratch);
    device->dma.scratch = NULL;
}

static int alloc_scratch(struct vd_device *device, size_t room)
{
    struct vd_dma_scratch *scratch = vd_env_alloc(device->env, 1, sizeof(*scratch));

    device->dma.scratch = scratch;
    if (!scratch)
        return -ENOMEM;
    scratch->room = room;
    scratch->down = vd_env_alloc(device->env, room, sizeof(*scratch->down));
    scratch->spare = vd_env_alloc(device->env, room, sizeof(*scratch->spare));
    scratch->where = vd_env_alloc(device->env, room, sizeof(*scratch->where));
    scratch->tokens = vd_env_alloc(device->env, room, sizeof(*scratch->tokens));
    if (scratch->down && scratch->spare && scratch->where && scratch->tokens)
        return 0;
    free_scratch(device);
    return -ENOMEM;
}

int vd_dma_state_init(struct vd_device *device)
{
    size_t batch = device->info.dma_batch;

    atomic_store(&device->dma.quota_bytes, UINT64_MAX);
    atomic_store(&device->dma.quota_mappings, UINT64_MAX);
    if (batch <= BATCH)
        return 0;
    return alloc_scratch(device, batch < LARGEST_BATCH ? batch : LARGEST_BATCH);
}

const struct vd_dma_info *vd_dma_info(const struct vd_device *device)
{
    return &device->info.dma;
}

static uint64_t lower(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t byte_limit(const struct vd_device *device)
{
    return lower(device->info.dma.limit_bytes, vd_counted(&device->dma.quota_bytes));
}

static uint64_t mapping_limit(const struct vd_device *device)
{
    return lower(device->info.dma.limit_mappings, vd_counted(&device->dma.quota_mappings));
}

void vd_dma_usage(const struct vd_device *device, struct vd_dma_usage *out)
{
    const struct vd_dma_state *dma = &device->dma;

    *out = (struct vd_dma_usage){
        .bytes = vd_counted(&dma->bytes),
        .mappings = vd_counted(&dma->mappings),
        .peak_bytes = vd_counted(&dma->peak_bytes),
        .peak_mappings = vd_counted(&dma->peak_mappings),
        .quota_bytes = byte_limit(device),
        .quota_mappings = mapping_limit(device),
    };
}

void vd_dma_set_quota(struct vd_device *device, uint64_t bytes, uint64_t mappings)
{
    atomic_store(&device->dma.quota_bytes, bytes);
    atomic_store(&device->dma.quota_mappings, mappings);
}

static bool is_granular(const struct vd_dma_map *entry, uint64_t granule)
{
    return vd_is_aligned(entry->size, granule) && vd_is_aligned((uintptr_t)entry->host, granule);
}

static int check_chosen(const struct vd_dma_info *info, const struct vd_dma_map *entry,
                        struct vd_range *range)
{
    struct vd_range all = {info->first.value, info->last.value};

    if (!vd_range_make(entry->iova.value, entry->size, range) ||
        !vd_is_aligned(entry->iova.value, info->granule))
        return -EINVAL;
    return vd_range_contains(all, *range) ? 0 : -ERANGE;
}

static int check_entry(const struct vd_device *device, const struct vd_dma_map *entry, struct vd_range *range)
{
    const struct vd_dma_info *info = &device->info.dma;

    if (entry->size == 0 || !entry->access ||
        (entry->access & ~(uint32_t)(VD_ACCESS_READ | VD_ACCESS_WRITE)) || !entry->host == !entry->remote)
        return -EINVAL;
    if (entry->remote && !info->indirect)
        return -ENOTSUP;
    if (entry->host && info->needs_file && (!entry->file || entry->file->fd < 0))
        return -EINVAL;
    if (!is_granular(entry, info->granule))
        return -EINVAL;
    if (info->addressing == VD_DMA_CHOSEN)
        return check_chosen(info, entry, range);
    return entry->segments && entry->max_segments ? 0 : -ENOBUFS;
}

static int charge(struct vd_device *device, uint64_t size)
{
    struct vd_dma_state *dma = &device->dma;
    uint64_t bytes = vd_counted(&dma->bytes);
    uint64_t mappings = vd_counted(&dma->mappings);

    if (bytes > byte_limit(device) || size > byte_limit(device) - bytes || mappings >= mapping_limit(device))
        return -ENOSPC;
    vd_count(&dma->bytes, size);
    vd_count(&dma->mappings, 1);
    return 0;
}

/* Peaks count what the host granted, so they move only after every refused entry was taken back. */
static void note_peaks(struct vd_dma_state *dma)
{
    if (vd_counted(&dma->bytes) > vd_counted(&dma->peak_bytes))
        atomic_store(&dma->peak_bytes, vd_counted(&dma->bytes));
    if (vd_counted(&dma->mappings) > vd_counted(&dma->peak_mappings))
        atomic_store(&dma->peak_mappings, vd_counted(&dma->mappings));
}

static void discharge(struct vd_device *device, uint64_t size)
{
    atomic_fetch_sub_explicit(&device->dma.bytes, size, memory_order_relaxed);
    atomic_fetch_sub_explicit(&device->dma.mappings, 1, memory_order_relaxed);
}

static int prepare(struct vd_device *device, struct vd_dma_map *entry)
{
    struct vd_range range = {0};
    struct vd_dma_mapping *mapping;
    int ret = check_entry(device, entry, &range);

    if (ret)
        return ret;
    mapping = vd_env_alloc(device->env, 1, sizeof(*mapping));
    if (!mapping)
        return -ENOMEM;
    mapping->size = entry->size;
    mapping->node.range = range;
    mapping->live = true;
    if (device->info.dma.addressing == VD_DMA_CHOSEN && vd_tree_insert(&device->dma.chosen, &mapping->node)) {
        ret = -EEXIST;
        goto err_free;
    }
    ret = charge(device, entry->size);
    if (ret)
        goto err_remove;
    list_add(&device->dma.live, mapping);
    entry->mapping = mapping;
    return 0;

err_remove:
    if (device->info.dma.addressing == VD_DMA_CHOSEN)
        vd_tree_remove(&device->dma.chosen, &mapping->node);
err_free:
    vd_env_free(device->env, mapping);
    return ret;
}

/* Takes a live mapping out of the books; the host has let go of it. */
static void forget(struct vd_device *device, struct vd_dma_mapping *mapping)
{
    if (device->info.dma.addressing == VD_DMA_CHOSEN)
        vd_tree_remove(&device->dma.chosen, &mapping->node);
    discharge(device, mapping->size);
    list_del(mapping);
    mapping->live = false;
}

static void finish_entry(struct vd_device *device, struct vd_dma_map *entry, const struct vd_host_map *done)
{
    entry->status = done->status;
    if (done->status) {
        forget(device, entry->mapping);
        vd_env_free(device->env, entry->mapping);
        entry->mapping = NULL;
        return;
    }
    entry->mapping->token = done->token;
    entry->nr_segments = entry->segments ? done->nr_segments : 0;
}

static void map_chunk(struct vd_device *device, struct vd_dma_scratch *scratch, struct vd_dma_map *entries,
                      size_t count)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        struct vd_dma_map *e = &entries[i];

        e->mapping = NULL;
        e->nr_segments = 0;
        e->status = device->gone ? -ENODEV : prepare(device, e);
        if (e->status)
            continue;
        scratch->down[n] = (struct vd_host_map){.host = e->host,
                                                .remote = e->remote,
                                                .remote_address = e->remote_address,
                                                .file = e->file,
                                                .size = e->size,
                                                .access = e->access,
                                                .iova = e->iova.value,
                                                .segments = e->segments ? e->segments : &scratch->spare[n],
                                                .max_segments = e->segments ? e->max_segments : 1};
        scratch->where[n++] = i;
    }
    if (n)
        device->ops->dma_map(device->host, scratch->down, n);
    for (size_t i = 0; i < n; i++)
        finish_entry(device, &entries[scratch->where[i]], &scratch->down[i]);
    note_peaks(&device->dma);
}

static void map_all(struct vd_device *device, struct vd_dma_scratch *scratch, struct vd_dma_map *entries,
                    size_t count)
{
    for (size_t done = 0; done < count; done += scratch->room)
        map_chunk(device, scratch, entries + done,
                  count - done < scratch->room ? count - done : scratch->room);
}

int vd_dma_map(struct vd_device *device, struct vd_dma_map *entries, size_t count)
{
    if (device->dma.scratch) {
        map_all(device, device->dma.scratch, entries, count);
    } else {
        STACK_SCRATCH(scratch);

        map_all(device, &scratch, entries, count);
    }
    for (size_t i = 0; i < count; i++)
        if (entries[i].status)
            return entries[i].status;
    return 0;
}

static void unmap_chunk(struct vd_device *device, void **tokens, struct vd_dma_mapping **mappings,
                        size_t count)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++)
        if (mappings[i] && mappings[i]->live)
            tokens[n++] = mappings[i]->token;
    if (n)
        device->ops->dma_unmap(device->host, tokens, n);
    for (size_t i = 0; i < count; i++) {
        if (!mappings[i])
            continue;
        if (mappings[i]->live)
            forget(device, mappings[i]);
        else
            list_del(mappings[i]);
        vd_env_free(device->env, mappings[i]);
    }
}

void vd_dma_unmap(struct vd_device *device, struct vd_dma_mapping **mappings, size_t count)
{
    void *few[BATCH];
    const struct vd_dma_scratch *scratch = device->dma.scratch;
    size_t room = scratch ? scratch->room : BATCH;

    for (size_t done = 0; done < count; done += room)
        unmap_chunk(device, scratch ? scratch->tokens : few, mappings + done,
                    count - done < room ? count - done : room);
}

bool vd_dma_is_live(const struct vd_dma_mapping *mapping)
{
    return mapping->live;
}

/* Lets the host unmap up to `room` live mappings and moves them to `released`; false when there were none. */
static bool release_some(struct vd_device *device, void **tokens, size_t room)
{
    struct vd_dma_mapping *leaving = NULL;
    size_t n = 0;

    while (device->dma.live && n < room) {
        struct vd_dma_mapping *mapping = device->dma.live;

        tokens[n++] = mapping->token;
        list_del(mapping);
        list_add(&leaving, mapping);
    }
    if (!n)
        return false;
    device->ops->dma_unmap(device->host, tokens, n);
    vd_count(&device->dma.taken, n);
    while (leaving) {
        struct vd_dma_mapping *mapping = leaving;

        forget(device, mapping);
        list_add(&device->dma.released, mapping);
    }
    return true;
}

void vd_dma_release_all(struct vd_device *device)
{
    struct vd_dma_scratch *scratch = device->dma.scratch;

    if (scratch) {
        while (release_some(device, scratch->tokens, scratch->room))
            ;
    } else {
        void *few[BATCH];

        while (release_some(device, few, BATCH))
            ;
    }
}

void vd_dma_state_finish(struct vd_device *device)
{
    while (device->dma.released) {
        struct vd_dma_mapping *mapping = device->dma.released;

        list_del(mapping);
        vd_env_free(device->env, mapping);
    }
    free_scratch(device);
}
