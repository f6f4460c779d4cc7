/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The DMA domain: validation and accounting in front of the back end's map and unmap.
 *
 * Invariants: a vd_dma_mapping is on exactly one of the lists `live` and `released`; `chosen` holds exactly the live
 * ones of a domain with chosen addresses; bytes and mappings are the sums over `live`. Everything that unmap needs is
 * allocated at map time, so unmap cannot fail. A mapping that quiesce takes away moves to `released` and stays there
 * until its holder gives the handle back, so a handle never dangles.
 *
 * Lock: none, the device's thread; the sums and the quota are atomics that any thread may read.
 */
#include "core/device.h"

#include <errno.h>
#include <string.h>

/* Entries handed to the back end at a time: bounds the stack, large enough that a batch stays a batch. */
enum { BATCH = 64 };

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

void vd_dma_state_init(struct vd_device *device)
{
    atomic_store(&device->dma.quota_bytes, UINT64_MAX);
    atomic_store(&device->dma.quota_mappings, UINT64_MAX);
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

static void map_chunk(struct vd_device *device, struct vd_dma_map *entries, size_t count)
{
    struct vd_host_map down[BATCH];
    struct vd_dma_segment spare[BATCH];
    size_t where[BATCH];
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        struct vd_dma_map *e = &entries[i];

        e->mapping = NULL;
        e->nr_segments = 0;
        e->status = device->gone ? -ENODEV : prepare(device, e);
        if (e->status)
            continue;
        down[n] = (struct vd_host_map){.host = e->host,
                                       .remote = e->remote,
                                       .remote_address = e->remote_address,
                                       .size = e->size,
                                       .access = e->access,
                                       .iova = e->iova.value,
                                       .segments = e->segments ? e->segments : &spare[n],
                                       .max_segments = e->segments ? e->max_segments : 1};
        where[n++] = i;
    }
    if (n)
        device->ops->dma_map(device->host, down, n);
    for (size_t i = 0; i < n; i++)
        finish_entry(device, &entries[where[i]], &down[i]);
    note_peaks(&device->dma);
}

int vd_dma_map(struct vd_device *device, struct vd_dma_map *entries, size_t count)
{
    for (size_t done = 0; done < count; done += BATCH)
        map_chunk(device, entries + done, count - done < BATCH ? count - done : BATCH);
    for (size_t i = 0; i < count; i++)
        if (entries[i].status)
            return entries[i].status;
    return 0;
}

static void unmap_chunk(struct vd_device *device, struct vd_dma_mapping **mappings, size_t count)
{
    void *tokens[BATCH];
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
    for (size_t done = 0; done < count; done += BATCH)
        unmap_chunk(device, mappings + done, count - done < BATCH ? count - done : BATCH);
}

void vd_dma_release_all(struct vd_device *device)
{
    while (device->dma.live) {
        struct vd_dma_mapping *batch[BATCH];
        void *tokens[BATCH];
        size_t n = 0;

        for (struct vd_dma_mapping *m = device->dma.live; m && n < BATCH; m = m->next) {
            batch[n] = m;
            tokens[n++] = m->token;
        }
        device->ops->dma_unmap(device->host, tokens, n);
        for (size_t i = 0; i < n; i++) {
            forget(device, batch[i]);
            list_add(&device->dma.released, batch[i]);
        }
    }
}

void vd_dma_state_finish(struct vd_device *device)
{
    while (device->dma.released) {
        struct vd_dma_mapping *mapping = device->dma.released;

        list_del(mapping);
        vd_env_free(device->env, mapping);
    }
}
