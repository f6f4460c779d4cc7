/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DMA: regions of this process's memory are registered with the extension, which tells their bus addresses; many in one
 * call where it can.
 *
 * Invariants: everything that unmapping needs exists since the device was opened (the buffers of a call) or since the
 * mapping was made (its record), so unmapping allocates nothing. A record is either a token that core holds or on the
 * free list. Memory is shared with the link before it is registered and until it is unregistered. Keys are never used
 * twice.
 *
 * A batch is as large as its answer fits one message, counted with the most segments its regions can have: the
 * extension then never runs out of room in the middle. Lock: none, the device's thread.
 */
#include "backend/dext/host.h"

#include <errno.h>

#include "base/cursor.h"
#include "base/range.h"

enum {
    MAX_REPLY = 1 << 19, /* bytes that a link carries in one answer (VD_DEXT_SOCKET_MAX_BYTES) */
    SLAB_RECORDS = 512,
    USUAL_GRANULE = 16384,
    USUAL_MAPPINGS = 65536,
    SINGLE_CALLS = 64, /* entries that core hands down at a time when each is a call */
};

/* What DARTs have been seen to give, for an extension that does not say. */
static const uint64_t usual_bytes = UINT64_C(1536) << 20;

static const int map_errors[] = {-EINVAL, -ENOBUFS, -ENODEV, -ENOMEM, -ENOSPC, -ENOTSUP, 0};

_Static_assert((int)VD_ACCESS_READ == (int)VD_DEXT_ACCESS_READ &&
                   (int)VD_ACCESS_WRITE == (int)VD_DEXT_ACCESS_WRITE,
               "access masks are handed on as they are");

/* Records, many to an allocation. */
struct dext_slab {
    struct dext_slab *next;
    struct dext_record records[SLAB_RECORDS];
};

/* Setting up. */

static void usual_limits(uint64_t limits[static VD_DEXT_NR_LIMITS])
{
    limits[VD_DEXT_LIMIT_GRANULE] = USUAL_GRANULE;
    limits[VD_DEXT_LIMIT_BYTES] = usual_bytes;
    limits[VD_DEXT_LIMIT_MAPPINGS] = USUAL_MAPPINGS;
    limits[VD_DEXT_LIMIT_SEGMENTS] = 1;
    limits[VD_DEXT_LIMIT_FIRST] = 0;
    limits[VD_DEXT_LIMIT_LAST] = UINT64_MAX;
}

static int get_limits(struct dext_host *host, uint64_t limits[static VD_DEXT_NR_LIMITS])
{
    int status = VD_DEXT_UNSUPPORTED;

    if (host->features.bits & VD_DEXT_FEATURE_LIMITS)
        status = dext_call(host, VD_DEXT_GET_LIMITS, NULL, 0, limits, VD_DEXT_NR_LIMITS);
    if (dext_is_refusal(status)) {
        usual_limits(limits);
        status = 0;
    }
    if (!vd_is_power_of_two(limits[VD_DEXT_LIMIT_GRANULE]) || limits[VD_DEXT_LIMIT_GRANULE] > usual_bytes)
        limits[VD_DEXT_LIMIT_GRANULE] = USUAL_GRANULE;
    if (limits[VD_DEXT_LIMIT_FIRST] > limits[VD_DEXT_LIMIT_LAST])
        limits[VD_DEXT_LIMIT_FIRST] = 0;
    return status;
}

/* A single registration tells one segment. */
static uint32_t segments_of(const struct dext_host *host, uint64_t limit)
{
    if (!host->features.batch || limit == 0)
        return 1;
    return limit < VD_DEXT_MAX_SEGMENTS ? (uint32_t)limit : VD_DEXT_MAX_SEGMENTS;
}

static size_t reply_size(size_t count, size_t segments)
{
    return sizeof(struct vd_dext_register_out) + count * sizeof(struct vd_dext_result) +
           segments * sizeof(struct vd_dext_segment);
}

static int allocate(struct dext_host *host)
{
    struct dext_dma *dma = &host->dma;
    size_t in_size = sizeof(struct vd_dext_register_in) + dma->batch * sizeof(struct vd_dext_region);
    size_t out_size = reply_size(dma->batch, (size_t)dma->batch * dma->max_segments);

    _Static_assert(sizeof(struct vd_dext_region) > sizeof(vd_le64) &&
                       sizeof(struct vd_dext_result) > sizeof(vd_le32),
                   "the buffers of registering hold what unregistering needs");
    dma->out_size = out_size < MAX_REPLY ? out_size : MAX_REPLY;
    dma->in = vd_env_alloc(host->env, in_size, 1);
    dma->out = vd_env_alloc(host->env, dma->out_size, 1);
    dma->entries = vd_env_alloc(host->env, dma->batch, sizeof(struct vd_host_map *));
    return dma->in && dma->out && dma->entries ? 0 : VD_DEXT_NO_MEMORY;
}

int dext_dma_setup(struct dext_host *host)
{
    struct dext_dma *dma = &host->dma;
    uint64_t limits[VD_DEXT_NR_LIMITS] = {0};
    int status = get_limits(host, limits);

    if (status)
        return status;
    dma->batch = host->features.batch;
    dma->granule = limits[VD_DEXT_LIMIT_GRANULE];
    dma->max_segments = segments_of(host, limits[VD_DEXT_LIMIT_SEGMENTS]);
    host->info.dma_batch = dma->batch ? dma->batch : SINGLE_CALLS;
    host->info.dma = (struct vd_dma_info){
        .addressing = VD_DMA_ASSIGNED,
        .granule = dma->granule,
        .limit_bytes = limits[VD_DEXT_LIMIT_BYTES],
        .limit_mappings = limits[VD_DEXT_LIMIT_MAPPINGS],
        .first = {limits[VD_DEXT_LIMIT_FIRST]},
        .last = {limits[VD_DEXT_LIMIT_LAST]},
        .max_segments = dma->max_segments,
        .needs_file = host->connection.ops->needs_file,
    };
    return dma->batch ? allocate(host) : 0;
}

void dext_dma_finish(struct dext_host *host)
{
    struct dext_dma *dma = &host->dma;

    while (dma->slabs) {
        struct dext_slab *slab = dma->slabs;

        dma->slabs = slab->next;
        vd_env_free(host->env, slab);
    }
    vd_env_free(host->env, dma->in);
    vd_env_free(host->env, dma->out);
    vd_env_free(host->env, dma->entries);
}

/* Records. */

static void put_record(struct dext_dma *dma, struct dext_record *record)
{
    record->next = dma->free;
    dma->free = record;
}

static struct dext_record *get_record(struct dext_host *host)
{
    struct dext_dma *dma = &host->dma;
    struct dext_record *record;

    if (!dma->free) {
        struct dext_slab *slab = vd_env_alloc(host->env, 1, sizeof(*slab));

        if (!slab)
            return NULL;
        slab->next = dma->slabs;
        dma->slabs = slab;
        for (unsigned i = SLAB_RECORDS; i-- > 0;)
            put_record(dma, &slab->records[i]);
    }
    record = dma->free;
    dma->free = record->next;
    return record;
}

static int share(struct dext_host *host, const struct vd_host_map *entry)
{
    const struct vd_link_memory memory = {.host = entry->host,
                                          .size = entry->size,
                                          .fd = entry->file ? entry->file->fd : -1,
                                          .offset = entry->file ? entry->file->offset : 0};

    if (!host->connection.ops->share)
        return 0;
    return dext_note(host, host->connection.ops->share(host->connection.link, &memory));
}

/* Gives up a mapping that is not registered (any more). */
static void forget(struct dext_host *host, struct dext_record *record)
{
    if (host->connection.ops->unshare)
        host->connection.ops->unshare(host->connection.link, record->host, record->size);
    put_record(&host->dma, record);
}

/* Everything before the registration: the entry's record, which is its token as well, or NULL and entry->status. */
static const struct dext_record *prepare(struct dext_host *host, struct vd_host_map *entry)
{
    struct dext_record *record;
    int status;

    entry->nr_segments = 0;
    entry->token = NULL;
    entry->status = host->gone ? -ENODEV : 0;
    if (entry->status)
        return NULL;
    record = get_record(host);
    if (!record) {
        entry->status = -ENOMEM;
        return NULL;
    }
    status = share(host, entry);
    if (status) {
        put_record(&host->dma, record);
        entry->status = dext_errno(status, map_errors);
        return NULL;
    }
    *record = (struct dext_record){.key = ++host->dma.last_key, .host = entry->host, .size = entry->size};
    entry->token = record;
    return record;
}

static void fail_entry(struct dext_host *host, struct vd_host_map *entry, int err)
{
    forget(host, entry->token);
    entry->token = NULL;
    entry->nr_segments = 0;
    entry->status = err;
}

/* Unmapping. */

/*
 * May the device still reach memory after this answer? Not when the extension has no such mapping, the device is gone,
 * or the claim was lost: its end undid every mapping. A connection that is over ends the claim as well, however it
 * ended (a link that gives up shuts its end). That may take the extension a moment; until then the memory stays pinned
 * there, and nothing that could be done here would be quicker.
 */
static bool may_still_reach(int status)
{
    return status != VD_DEXT_NOT_FOUND && status != VD_DEXT_NO_DEVICE && status != VD_DEXT_NOT_ATTACHED &&
           status != VD_DEXT_NOT_OPEN && status != VD_DEXT_EXCLUSIVE_ACCESS;
}

/* The last resort where unmapping must not fail but did: a device that masters no bus reaches nothing. */
static void stop_device(struct dext_host *host)
{
    vd_err(host->env, "%s: the device is stopped, because a mapping could not be undone", host->address.name);
    dext_config_calm(host);
    dext_report_gone(host);
}

static void note_unmap(struct dext_host *host, int status)
{
    if (!status)
        return;
    dext_note(host, status);
    if (!host->dma.told_unmap)
        vd_warn(host->env, "%s: undoing a mapping, the extension answered %s (0x%08x)", host->address.name,
                dext_return_name(status), (unsigned)status);
    host->dma.told_unmap = true;
    if (may_still_reach(status) && !host->gone)
        stop_device(host);
}

static void unregister_one(struct dext_host *host, const struct dext_record *record)
{
    if (!host->broken)
        note_unmap(host, dext_call(host, VD_DEXT_UNREGISTER_DMA_REGION, &record->key, 1, NULL, 0));
}

/* True: the extension dealt with every key. False: they are to be tried one by one. */
static bool unregister_batch(struct dext_host *host, void *const *tokens, size_t count)
{
    struct dext_dma *dma = &host->dma;
    struct vd_dext_unregister_in *head = dma->in;
    struct vd_dext_unregister_out answer;
    vd_le64 *keys = (vd_le64 *)(head + 1);
    struct vd_link_call call = {.selector = VD_DEXT_UNREGISTER_BATCH,
                                .bytes_in = dma->in,
                                .nr_bytes_in = sizeof(*head) + count * sizeof(*keys),
                                .bytes_out = dma->out,
                                .nr_bytes_out = sizeof(answer) + count * sizeof(vd_le32)};
    struct vd_reader r;

    *head = (struct vd_dext_unregister_in){.count = vd_put32((uint32_t)count)};
    for (size_t i = 0; i < count; i++)
        keys[i] = vd_put64(((const struct dext_record *)tokens[i])->key);
    if (dext_note(host, host->connection.ops->call(host->connection.link, &call)))
        return false;
    r = vd_reader_make(dma->out, call.nr_bytes_out);
    if (!vd_read_struct(&r, &answer, sizeof(answer)) || vd_get32(answer.count) != count ||
        r.left != count * sizeof(vd_le32))
        return false;
    for (size_t i = 0; i < count; i++)
        note_unmap(host, (int)vd_read32(&r));
    return true;
}

static void unmap_some(struct dext_host *host, void *const *tokens, size_t count)
{
    bool done = host->broken || (host->dma.batch && unregister_batch(host, tokens, count));

    for (size_t i = 0; i < count; i++) {
        if (!done)
            unregister_one(host, tokens[i]);
        forget(host, tokens[i]);
    }
}

void dext_dma_unmap(void *opaque, void *const *tokens, size_t count)
{
    struct dext_host *host = opaque;
    size_t most = host->dma.batch ? host->dma.batch : count;

    for (size_t done = 0; done < count; done += most)
        unmap_some(host, tokens + done, count - done < most ? count - done : most);
}

/* Undoes a registration whose answer is of no use. */
static void undo_entry(struct dext_host *host, struct vd_host_map *entry, int err)
{
    unregister_one(host, entry->token);
    fail_entry(host, entry, err);
}

/* Ends an entry whose registration was answered with `status`; where that says little, there may be one to undo. */
static void refuse_entry(struct dext_host *host, struct vd_host_map *entry, int status)
{
    int err = dext_errno(status, map_errors);

    if (status == VD_DEXT_IPC_ERROR || status == VD_DEXT_TIMEOUT)
        undo_entry(host, entry, err);
    else
        fail_entry(host, entry, err);
}

/* Mapping one by one. */

static int map_one(struct dext_host *host, struct vd_host_map *entry)
{
    const struct dext_record *record = prepare(host, entry);
    uint64_t in[3], out[3] = {0};
    int status;

    if (!record)
        return entry->status;
    in[0] = record->key;
    in[1] = (uintptr_t)entry->host;
    in[2] = entry->size;
    status = dext_call(host, VD_DEXT_REGISTER_DMA_REGION, in, 3, out, 3);
    if (status) {
        refuse_entry(host, entry, status);
    } else if (out[0] != 1 || out[2] < entry->size || out[1] + (entry->size - 1) < out[1]) {
        undo_entry(host, entry, -ENOBUFS);
    } else {
        entry->segments[0] = (struct vd_dma_segment){{out[1]}, entry->size};
        entry->nr_segments = 1;
    }
    return entry->status;
}

/* An older extension maps for both directions, whatever was asked for. */
static void tell_access(struct dext_host *host, uint32_t access)
{
    if (access == (VD_ACCESS_READ | VD_ACCESS_WRITE) || host->dma.told_access)
        return;
    host->dma.told_access = true;
    vd_warn(host->env,
            "%s: this extension cannot map memory for one direction only; the device may read and write",
            host->address.name);
}

static void map_singly(struct dext_host *host, struct vd_host_map *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        tell_access(host, entries[i].access);
        entries[i].status = map_one(host, &entries[i]);
    }
}

/* Mapping in batches. */

/* The answer to a REGISTER_BATCH, checked for size. */
struct reply {
    struct vd_reader results;
    const uint8_t *segments;
    uint32_t nr_segments;
    uint32_t taken; /* segments come in the order of the results, so no two share one */
};

static bool read_reply(const void *bytes, size_t size, size_t count, struct reply *out)
{
    struct vd_reader r = vd_reader_make(bytes, size);
    struct vd_dext_register_out head;
    const void *results;

    if (!vd_read_struct(&r, &head, sizeof(head)) || vd_get32(head.count) != count)
        return false;
    results = vd_read_bytes(&r, count * sizeof(struct vd_dext_result));
    out->nr_segments = vd_get32(head.nr_segments);
    out->segments = vd_read_bytes(&r, out->nr_segments * sizeof(struct vd_dext_segment));
    if (r.failed)
        return false;
    out->results = vd_reader_make(results, count * sizeof(struct vd_dext_result));
    out->taken = 0;
    return true;
}

/* Segments must be what was asked for, end to end. 0; -ENOBUFS too many; -EIO. */
static int take_segments(struct vd_host_map *entry, struct reply *reply, uint32_t first, uint32_t count)
{
    struct vd_reader r;
    uint64_t left = entry->size;

    if (count == 0 || first != reply->taken || !vd_span_fits(first, count, reply->nr_segments))
        return -EIO;
    reply->taken += count;
    if (count > entry->max_segments)
        return -ENOBUFS;
    r = vd_reader_make(reply->segments + first * sizeof(struct vd_dext_segment),
                       count * sizeof(struct vd_dext_segment));
    for (uint32_t i = 0; i < count; i++) {
        uint64_t address = vd_read64(&r);
        uint64_t size = vd_read64(&r);
        struct vd_range range;

        if (size > left || !vd_range_make(address, size, &range))
            return -EIO;
        left -= size;
        entry->segments[i] = (struct vd_dma_segment){{address}, size};
    }
    entry->nr_segments = count;
    return left ? -EIO : 0;
}

static void finish_entry(struct dext_host *host, struct vd_host_map *entry, struct reply *reply)
{
    struct vd_dext_result result = {0};
    int status, err;

    vd_read_struct(&reply->results, &result, sizeof(result));
    status = dext_note(host, (int)vd_get32(result.status));
    if (status) {
        fail_entry(host, entry, dext_errno(status, map_errors));
        return;
    }
    err = take_segments(entry, reply, vd_get32(result.first_segment), vd_get32(result.nr_segments));
    if (err)
        undo_entry(host, entry, err);
    else
        entry->status = 0;
}

/* Registers the `count` entries of the batch, whose regions are in dma->in already. */
static void register_batch(struct dext_host *host, size_t count, size_t segments)
{
    struct dext_dma *dma = &host->dma;
    struct vd_dext_register_in *head = dma->in;
    struct vd_link_call call = {.selector = VD_DEXT_REGISTER_BATCH,
                                .bytes_in = dma->in,
                                .nr_bytes_in = sizeof(*head) + count * sizeof(struct vd_dext_region),
                                .bytes_out = dma->out,
                                .nr_bytes_out = reply_size(count, segments)};
    struct reply reply;
    int status;

    *head = (struct vd_dext_register_in){.count = vd_put32((uint32_t)count),
                                         .segment_capacity = vd_put32((uint32_t)segments)};
    status = dext_note(host, host->connection.ops->call(host->connection.link, &call));
    if (status) {
        for (size_t i = 0; i < count; i++)
            refuse_entry(host, dma->entries[i], status);
    } else if (read_reply(dma->out, call.nr_bytes_out, count, &reply)) {
        for (size_t i = 0; i < count; i++)
            finish_entry(host, dma->entries[i], &reply);
    } else {
        vd_err(host->env, "%s: the extension's answer to a batch is malformed", host->address.name);
        for (size_t i = 0; i < count; i++)
            undo_entry(host, dma->entries[i], -EIO);
    }
}

/* No region has more segments than granules. */
static size_t most_segments(const struct dext_dma *dma, const struct vd_host_map *entry)
{
    uint64_t granules = entry->size / dma->granule;

    return granules < dma->max_segments ? (size_t)granules : dma->max_segments;
}

/* Maps entries until the batch is full; returns how many it dealt with. */
static size_t map_batch(struct dext_host *host, struct vd_host_map *entries, size_t count)
{
    struct dext_dma *dma = &host->dma;
    struct vd_dext_region *regions = (struct vd_dext_region *)((struct vd_dext_register_in *)dma->in + 1);
    size_t used = 0, segments = 0, i;

    for (i = 0; i < count && used < dma->batch; i++) {
        struct vd_host_map *entry = &entries[i];
        const struct dext_record *record;
        size_t more = most_segments(dma, entry);

        if (used && reply_size(used + 1, segments + more) > dma->out_size)
            break;
        record = prepare(host, entry);
        if (!record)
            continue;
        segments += more;
        regions[used] = (struct vd_dext_region){
            .key = vd_put64(record->key),
            .address = vd_put64((uintptr_t)entry->host),
            .size = vd_put64(entry->size),
            .access = vd_put32(entry->access),
        };
        dma->entries[used++] = entry;
    }
    if (used)
        register_batch(host, used, segments);
    return i;
}

void dext_dma_map(void *opaque, struct vd_host_map *entries, size_t count)
{
    struct dext_host *host = opaque;

    if (!host->dma.batch) {
        map_singly(host, entries, count);
        return;
    }
    for (size_t done = 0; done < count;)
        done += map_batch(host, entries + done, count - done);
}
