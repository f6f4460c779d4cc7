/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The owner's mappings and its DMA buffer, and what they are charged. A mapping is checked, then room for it is made,
 * then it is prepared, then it is entered: only the first three can fail, and none of them leaves anything.
 *
 * Charged are the granules that a region touches, since those are what it takes from the IOMMU. The buffer counts as one
 * mapping. Invariant: use.bytes and use.mappings are the sums over the table and the buffer.
 */
#include "base/range.h"
#include "dext/core/core.h"

enum { BUFFER_ALIGNMENT = 4096, BUFFER_MAX_ALIGNMENT = 1 << 30 };

/* The bytes of the granules that [address, address + size), which does not wrap, touches; false: 2^64. */
static bool granules_of(const struct vd_dext *dext, uint64_t address, uint64_t size, uint64_t *charge)
{
    const uint64_t granule = dext->limits.granule;
    const uint64_t count = (address + (size - 1)) / granule - address / granule + 1;

    return !__builtin_mul_overflow(count, granule, charge);
}

/* 0; BAD_ARGUMENT nothing or it wraps; NO_SPACE. */
static int check_room(const struct vd_dext_client *client, uint64_t address, uint64_t size, uint64_t *charge)
{
    const struct vd_dext_dma_limits *limits = &client->dext->limits;
    struct vd_range range;

    if (!vd_range_make(address, size, &range))
        return VD_DEXT_BAD_ARGUMENT;
    if (!granules_of(client->dext, address, size, charge) || *charge > limits->bytes ||
        client->use.bytes > limits->bytes - *charge || client->use.mappings >= limits->mappings)
        return VD_DEXT_NO_SPACE;
    return VD_DEXT_SUCCESS;
}

static void account(struct vd_dext_client *client, uint64_t charge)
{
    struct vd_dext_use *use = &client->use;

    use->bytes += charge;
    use->mappings++;
    use->peak_bytes = use->bytes > use->peak_bytes ? use->bytes : use->peak_bytes;
    use->peak_mappings = use->mappings > use->peak_mappings ? use->mappings : use->peak_mappings;
}

static void discharge(struct vd_dext_client *client, uint64_t charge)
{
    client->use.bytes -= charge;
    client->use.mappings--;
}

void vd_dext_read_faults(struct vd_dext *dext)
{
    if (dext->ops->faults && !dext->gone)
        dext->faults = dext->ops->faults(dext->hw);
}

void vd_dext_publish_use(struct vd_dext_client *client)
{
    struct vd_dext_irq_page *page = __atomic_load_n(&client->dext->irqs.page, __ATOMIC_SEQ_CST);

    client->use.faults = client->dext->faults;
    if (!page)
        return;
    __atomic_store_n(&page->use.bytes, client->use.bytes, __ATOMIC_SEQ_CST);
    __atomic_store_n(&page->use.mappings, client->use.mappings, __ATOMIC_SEQ_CST);
    __atomic_store_n(&page->use.peak_bytes, client->use.peak_bytes, __ATOMIC_SEQ_CST);
    __atomic_store_n(&page->use.peak_mappings, client->use.peak_mappings, __ATOMIC_SEQ_CST);
    __atomic_store_n(&page->use.faults, client->use.faults, __ATOMIC_SEQ_CST);
}

void vd_dext_refresh_use(struct vd_dext *dext)
{
    if (!dext->owner)
        return;
    vd_dext_read_faults(dext);
    vd_dext_publish_use(dext->owner);
}

/* The runs are the region, from its first byte to its last. */
static bool runs_make_up(const struct vd_dext_run *runs, uint32_t nr, uint32_t max_runs, uint64_t size)
{
    uint64_t sum = 0;

    if (nr == 0 || nr > max_runs)
        return false;
    for (uint32_t i = 0; i < nr; i++)
        if (runs[i].size == 0 || __builtin_add_overflow(sum, runs[i].size, &sum))
            return false;
    return sum == size;
}

int vd_dext_dma_add(struct vd_dext_client *client, const struct vd_dext_request *request,
                    struct vd_dext_run *runs, uint32_t max_runs, uint32_t *nr)
{
    struct vd_dext *dext = client->dext;
    struct vd_dext_slot slot = {.key = request->key, .size = request->size};
    const uint32_t all = VD_DEXT_ACCESS_READ | VD_DEXT_ACCESS_WRITE;
    int ret;

    if (request->access == 0 || request->access & ~all)
        return VD_DEXT_BAD_ARGUMENT;
    ret = check_room(client, request->address, request->size, &slot.charge);
    if (ret == VD_DEXT_BAD_ARGUMENT)
        return ret;
    if (vd_dext_table_find(&client->table, request->key))
        return VD_DEXT_STILL_OPEN;
    if (ret)
        return ret;
    if (max_runs == 0)
        return VD_DEXT_NOT_ALIGNED;
    ret = vd_dext_table_reserve(&client->table, dext->os);
    if (ret)
        return ret;
    ret = dext->ops->dma_prepare(dext->hw, client->shell, request->address, request->size, request->access,
                                 runs, max_runs, nr, &slot.token);
    if (ret)
        return ret;
    if (!runs_make_up(runs, *nr, max_runs, request->size)) {
        dext->ops->dma_complete(dext->hw, slot.token);
        return VD_DEXT_NOT_ALIGNED;
    }
    vd_dext_table_insert(&client->table, slot);
    account(client, slot.charge);
    return VD_DEXT_SUCCESS;
}

int vd_dext_dma_remove(struct vd_dext_client *client, uint64_t key)
{
    const struct vd_dext *dext = client->dext;
    struct vd_dext_slot *slot = vd_dext_table_find(&client->table, key);

    if (!slot)
        return VD_DEXT_NOT_FOUND;
    dext->ops->dma_complete(dext->hw, slot->token);
    discharge(client, slot->charge);
    vd_dext_table_remove(&client->table, dext->os, slot);
    return VD_DEXT_SUCCESS;
}

static void destroy_buffer(struct vd_dext_client *client)
{
    const struct vd_dext *dext = client->dext;

    dext->ops->buffer_destroy(dext->hw, client->buffer.token);
    discharge(client, client->buffer.charge);
    client->buffer = (struct vd_dext_buffer){0};
}

void vd_dext_dma_finish(struct vd_dext_client *client)
{
    const struct vd_dext *dext = client->dext;

    for (size_t i = 0; i < client->table.capacity; i++) {
        const struct vd_dext_slot *slot = &client->table.slots[i];

        if (!slot->charge)
            continue;
        dext->ops->dma_complete(dext->hw, slot->token);
        discharge(client, slot->charge);
    }
    vd_dext_table_finish(&client->table, dext->os);
    if (client->buffer.size)
        destroy_buffer(client);
}

/* The RFC's clients can use one bus address for a region and no more. */
int vd_dext_register(struct vd_dext_client *client, struct vd_dext_call *call)
{
    const struct vd_dext_request request = {
        .key = call->scalars_in[0],
        .address = call->scalars_in[1],
        .size = call->scalars_in[2],
        .access = VD_DEXT_ACCESS_READ | VD_DEXT_ACCESS_WRITE,
    };
    struct vd_dext_run run;
    uint32_t nr = 0;
    int ret = vd_dext_dma_add(client, &request, &run, 1, &nr);

    if (ret)
        return ret;
    vd_dext_publish_use(client);
    call->scalars_out[0] = nr;
    call->scalars_out[1] = run.address;
    call->scalars_out[2] = run.size;
    return VD_DEXT_SUCCESS;
}

int vd_dext_unregister(struct vd_dext_client *client, struct vd_dext_call *call)
{
    int ret = vd_dext_dma_remove(client, call->scalars_in[0]);

    vd_dext_read_faults(client->dext);
    vd_dext_publish_use(client);
    return ret;
}

int vd_dext_probe(struct vd_dext_client *client, struct vd_dext_call *call)
{
    const struct vd_dext *dext = client->dext;
    const struct vd_dext_slot *slot = vd_dext_table_find(&client->table, call->scalars_in[0]);

    if (!slot)
        return VD_DEXT_NOT_FOUND;
    if (!vd_span_fits(call->scalars_in[1], sizeof(uint64_t), slot->size))
        return VD_DEXT_BAD_ARGUMENT;
    return dext->ops->dma_probe(dext->hw, slot->token, call->scalars_in[1], &call->scalars_out[0]);
}

int vd_dext_allocate_buffer(struct vd_dext_client *client, struct vd_dext_call *call)
{
    const uint64_t max = (uint64_t)VD_DEXT_DMA_BUFFER_MAX_MIB << 20;
    const uint64_t size = call->scalars_in[0];
    const uint64_t alignment = call->scalars_in[1] ? call->scalars_in[1] : BUFFER_ALIGNMENT;
    struct vd_dext *dext = client->dext;
    struct vd_dext_buffer buffer = {.size = size};
    struct vd_dext_run run = {0};
    int ret;

    if (size > max || !vd_is_power_of_two(alignment) || alignment > BUFFER_MAX_ALIGNMENT)
        return VD_DEXT_BAD_ARGUMENT;
    ret = check_room(client, 0, size, &buffer.charge);
    if (ret == VD_DEXT_BAD_ARGUMENT)
        return ret;
    if (client->buffer.size)
        return VD_DEXT_STILL_OPEN;
    if (!ret)
        ret = dext->ops->buffer_create(dext->hw, size, alignment, &run, &buffer.token);
    if (ret)
        return ret;
    if (run.size < size) {
        dext->ops->buffer_destroy(dext->hw, buffer.token);
        return VD_DEXT_NOT_ALIGNED;
    }
    client->buffer = buffer;
    account(client, buffer.charge);
    vd_dext_publish_use(client);
    call->scalars_out[0] = size;
    call->scalars_out[1] = 0;
    call->scalars_out[2] = 1;
    call->scalars_out[3] = run.address;
    call->scalars_out[4] = run.size;
    call->scalars_out[5] = 0;
    return VD_DEXT_SUCCESS;
}

int vd_dext_free_buffer(struct vd_dext_client *client, struct vd_dext_call *call)
{
    (void)call;
    if (!client->buffer.size)
        return VD_DEXT_NOT_FOUND;
    destroy_buffer(client);
    vd_dext_read_faults(client->dext);
    vd_dext_publish_use(client);
    return VD_DEXT_SUCCESS;
}

int vd_dext_get_limits(struct vd_dext_client *client, struct vd_dext_call *call)
{
    const struct vd_dext_dma_limits *limits = &client->dext->limits;
    uint64_t *out = call->scalars_out;

    vd_dext_read_faults(client->dext);
    vd_dext_publish_use(client);
    out[VD_DEXT_LIMIT_GRANULE] = limits->granule;
    out[VD_DEXT_LIMIT_BYTES] = limits->bytes;
    out[VD_DEXT_LIMIT_MAPPINGS] = limits->mappings;
    out[VD_DEXT_LIMIT_SEGMENTS] = limits->max_segments;
    out[VD_DEXT_LIMIT_FIRST] = limits->first;
    out[VD_DEXT_LIMIT_LAST] = limits->last;
    out[VD_DEXT_USE_BYTES] = client->use.bytes;
    out[VD_DEXT_USE_MAPPINGS] = client->use.mappings;
    out[VD_DEXT_USE_PEAK_BYTES] = client->use.peak_bytes;
    out[VD_DEXT_USE_PEAK_MAPPINGS] = client->use.peak_mappings;
    out[VD_DEXT_USE_FAULTS] = client->use.faults;
    return VD_DEXT_SUCCESS;
}
