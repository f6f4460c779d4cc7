/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What this guest has mapped, found by id and by guest-physical address. Several mappings may begin at the same address:
 * then one of them is in the tree, and the others hang on it in a ring.
 *
 * A mapping that the host took away stays here as LOST until the guest gives its id back, so that its unmap succeeds; it
 * counts as a record, not as a mapping.
 */
#include "companion/companion.h"

static struct vd_companion_mapping *of_id(struct vd_tree_node *node)
{
    return node ? VD_CONTAINER(node, struct vd_companion_mapping, by_id) : NULL;
}

static struct vd_companion_mapping *of_gpa(struct vd_tree_node *node)
{
    return node ? VD_CONTAINER(node, struct vd_companion_mapping, by_gpa) : NULL;
}

static void put_into_gpas(struct vd_companion *c, struct vd_companion_mapping *m)
{
    m->in_gpas = true;
    (void)vd_tree_insert(&c->gpas, &m->by_gpa); /* nobody else has that address */
}

static void add_by_gpa(struct vd_companion *c, struct vd_companion_mapping *m)
{
    struct vd_companion_mapping *other = of_gpa(vd_tree_find(&c->gpas, m->by_gpa.range.start));

    m->next = m->prev = m;
    if (!other) {
        put_into_gpas(c, m);
        return;
    }
    m->prev = other->prev;
    m->next = other;
    m->prev->next = m;
    other->prev = m;
}

static void remove_by_gpa(struct vd_companion *c, struct vd_companion_mapping *m)
{
    struct vd_companion_mapping *heir = m->next;

    if (m->in_gpas)
        vd_tree_remove(&c->gpas, &m->by_gpa);
    if (heir == m)
        return;
    m->prev->next = m->next;
    m->next->prev = m->prev;
    if (m->in_gpas)
        put_into_gpas(c, heir);
}

static void charge(struct vd_companion *c, uint64_t size)
{
    vd_count(&c->counters.bytes, size);
    vd_count(&c->counters.mappings, 1);
}

static void discharge(struct vd_companion *c, uint64_t size)
{
    atomic_fetch_sub_explicit(&c->counters.bytes, size, memory_order_relaxed);
    atomic_fetch_sub_explicit(&c->counters.mappings, 1, memory_order_relaxed);
}

static uint32_t check_limits(const struct vd_companion *c, uint64_t size)
{
    uint64_t bytes = vd_counted(&c->counters.bytes), limit = vd_companion_limit_bytes(c);

    if (vd_counted(&c->counters.mappings) >= vd_companion_limit_mappings(c) ||
        c->records >= VD_COMPANION_RECORDS)
        return VD_APPLE_DMA_WHY_MAPPINGS;
    return bytes > limit || size > limit - bytes ? VD_APPLE_DMA_WHY_BYTES : VD_APPLE_DMA_WHY_NONE;
}

struct vd_companion_mapping *vd_companion_mapping_create(struct vd_companion *c, uint64_t id,
                                                         struct vd_range range, uint64_t size, uint32_t *why)
{
    struct vd_companion_mapping *m;

    *why = check_limits(c, size);
    if (*why)
        return NULL;
    m = vd_env_alloc(c->env, 1, sizeof(*m));
    if (!m) {
        *why = VD_APPLE_DMA_WHY_MEMORY;
        return NULL;
    }
    m->by_id.range = (struct vd_range){id, id};
    m->by_gpa.range = (struct vd_range){range.start, range.start};
    m->last = range.last;
    m->size = size;
    if (vd_tree_insert(&c->ids, &m->by_id)) {
        *why = VD_APPLE_DMA_WHY_EXISTS;
        vd_env_free(c->env, m);
        return NULL;
    }
    add_by_gpa(c, m);
    charge(c, size);
    c->records++;
    return m;
}

struct vd_dma_mapping *vd_companion_mapping_destroy(struct vd_companion *c, struct vd_companion_mapping *m)
{
    struct vd_dma_mapping *handle = m->handle;

    vd_tree_remove(&c->ids, &m->by_id);
    remove_by_gpa(c, m);
    if (m->state != VD_COMPANION_LOST)
        discharge(c, m->size);
    c->records--;
    vd_env_free(c->env, m);
    return handle;
}

struct vd_companion_mapping *vd_companion_mapping_find(const struct vd_companion *c, uint64_t id)
{
    return of_id(vd_tree_find(&c->ids, id));
}

struct vd_companion_mapping *vd_companion_mapping_from(const struct vd_companion *c, uint64_t gpa)
{
    return of_gpa(vd_tree_lower(&c->gpas, gpa));
}

struct vd_companion_mapping *vd_companion_mapping_next(const struct vd_companion *c,
                                                       const struct vd_companion_mapping *m)
{
    uint64_t gpa = m->by_gpa.range.start;

    if (!m->next->in_gpas) /* round the ring first */
        return m->next;
    return gpa == UINT64_MAX ? NULL : vd_companion_mapping_from(c, gpa + 1);
}

/* Handles that are to be given back, a chunk at a time. */
struct pile {
    struct vd_companion *c;
    size_t count;
};

static void flush(struct pile *pile)
{
    vd_dma_unmap(pile->c->managed, pile->c->chunk.handles, pile->count);
    pile->count = 0;
}

static void put(struct pile *pile, struct vd_dma_mapping *handle)
{
    pile->c->chunk.handles[pile->count++] = handle;
    if (pile->count == VD_COMPANION_CHUNK)
        flush(pile);
}

static void lose(struct pile *pile, struct vd_companion_mapping *m)
{
    struct vd_companion *c = pile->c;
    struct vd_dma_mapping *handle = m->handle;

    m->state = VD_COMPANION_LOST;
    m->handle = NULL;
    discharge(c, m->size);
    vd_count(&c->counters.lost, 1);
    put(pile, handle);
}

void vd_companion_revoke(struct vd_companion *c, struct vd_range range)
{
    struct vd_companion_mapping *m = vd_companion_mapping_from(c, range.start);
    struct pile pile = {c, 0};

    if (!m || m->by_gpa.range.start > range.last)
        return;
    vd_device_lock(c->managed);
    for (; m && m->by_gpa.range.start <= range.last; m = vd_companion_mapping_next(c, m)) {
        if (m->state == VD_COMPANION_LIVE)
            lose(&pile, m);
    }
    flush(&pile);
    vd_device_unlock(c->managed);
}

void vd_companion_notice_losses(struct vd_companion *c)
{
    uint64_t taken = vd_counted(&c->managed->dma.taken);
    bool gone = c->managed->gone;
    struct pile pile = {c, 0};

    if ((taken == c->taken && !gone) || !vd_counted(&c->counters.mappings))
        return;
    vd_device_lock(c->managed);
    c->taken = vd_counted(&c->managed->dma.taken);
    for (struct vd_companion_mapping *m = vd_companion_mapping_from(c, 0); m;
         m = vd_companion_mapping_next(c, m)) {
        if (m->state == VD_COMPANION_LIVE && (gone || !vd_dma_is_live(m->handle)))
            lose(&pile, m);
    }
    flush(&pile);
    vd_device_unlock(c->managed);
}

void vd_companion_release_all(struct vd_companion *c)
{
    struct vd_companion_mapping *m;
    struct pile pile = {c, 0};

    while ((m = of_gpa(c->gpas.root)) != NULL) /* whichever is at hand: looking for the first takes longer */
        put(&pile, vd_companion_mapping_destroy(c, m));
    flush(&pile);
}
