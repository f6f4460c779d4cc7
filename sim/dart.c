/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The simulated IOMMU; see dart.h. Two structures describe the same segments: a tree of exact byte ranges for the
 * device's side (base/tree.h) and, where the DART picks addresses, the spans of granules they occupy (space.h). A
 * mapping and all its segments are one allocation, made before anything is published, so unmap only unlinks.
 *
 * Invariants: every segment in the tree belongs to a live mapping; `last_hit` is in the tree or NULL; `generation`
 * changes before a mapping's memory goes away. No pointer into a mapping is kept across a remote access, which may
 * unmap it. Lock: none, the owner's thread only; `faults` is atomic.
 */
#include "sim/dart.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "base/range.h"
#include "base/tree.h"
#include "sim/dart_config.h"
#include "sim/space.h"

struct segment {
    struct vd_tree_node node; /* the bytes the device can reach */
    struct sim_span span;     /* assigned: the granules they occupy */
    struct sim_dart_mapping *mapping;
    uint8_t *host; /* NULL: remote */
    uint64_t remote_address;
};

struct sim_dart_mapping {
    struct vd_remote remote;
    unsigned access;
    unsigned pins;
    uint32_t nr_segments;
    uint64_t charged; /* bytes, whole granules */
    struct segment segments[];
};

struct sim_dart {
    const struct vd_env *env;
    struct sim_dart_config config;
    uint64_t last; /* highest bus address, inclusive */
    struct vd_tree segments;
    struct sim_space space;
    struct segment *last_hit;
    uint64_t random;
    uint64_t generation;
    uint64_t mapped_bytes, mapped_count;
    void (*quiesce)(void *opaque);
    void *quiesce_opaque;
    _Atomic uint64_t faults;
    struct sim_dart_fault last_fault;
};

static bool is_assigned(const struct sim_dart *dart)
{
    return dart->config.mode == SIM_DART_ASSIGNED;
}

int sim_dart_create(const struct vd_env *env, struct sim_dart_config *config, struct sim_dart **out,
                    struct vd_failure *failure)
{
    struct sim_dart *dart = vd_env_alloc(env, 1, sizeof(*dart));
    int err;

    *out = NULL;
    if (!dart)
        return vd_fail(failure, -ENOMEM, "out of memory for the simulated IOMMU");
    dart->env = env;
    dart->config = *config;
    dart->random = config->seed;
    err = sim_dart_config_settle(&dart->config, &dart->random, &dart->last, failure);
    if (err) {
        vd_env_free(env, dart);
        return err;
    }
    if (is_assigned(dart))
        sim_space_init(&dart->space, dart->config.base / dart->config.granule,
                       dart->config.aperture / dart->config.granule);
    *config = dart->config;
    *out = dart;
    return 0;
}

void sim_dart_refuse(struct sim_dart *dart, uint64_t iova, uint64_t size, enum sim_access access)
{
    dart->last_fault = (struct sim_dart_fault){iova, size, access};
    atomic_fetch_add_explicit(&dart->faults, 1, memory_order_relaxed);
}

/* Our own callers' mistakes: recorded like a fault, and logged because nobody may be left to read the counter. */
static void record_misuse(struct sim_dart *dart, const char *what, uint64_t iova, uint64_t size)
{
    sim_dart_refuse(dart, iova, size, 0);
    vd_err(dart->env, "simulated IOMMU: %s at %#" PRIx64 ", %" PRIu64 " bytes", what, iova, size);
}

void sim_dart_destroy(struct sim_dart *dart)
{
    struct vd_tree_node *node;

    if (!dart)
        return;
    if (dart->mapped_count)
        record_misuse(dart, "destroyed with live mappings", vd_tree_first(&dart->segments)->range.start,
                      dart->mapped_bytes);
    while ((node = vd_tree_first(&dart->segments)) != NULL)
        sim_dart_unmap(dart, VD_CONTAINER(node, struct segment, node)->mapping);
    vd_env_free(dart->env, dart);
}

void sim_dart_set_quiesce(struct sim_dart *dart, void (*quiesce)(void *opaque), void *opaque)
{
    dart->quiesce = quiesce;
    dart->quiesce_opaque = opaque;
}

/* Where a buffer lies in its granule: what an assigned bus address keeps of it. */
static uint64_t lead_in(const struct sim_dart *dart, const struct sim_dart_map *map)
{
    uint64_t address = map->host ? (uint64_t)(uintptr_t)map->host : map->remote_address;

    return is_assigned(dart) ? address & (dart->config.granule - 1) : 0;
}

static int check_map(const struct sim_dart *dart, const struct sim_dart_map *map)
{
    uint64_t low_bits = map->size | map->iova;
    struct vd_range remote, range = {dart->config.base, dart->last};

    if (map->size == 0 || !map->host == !map->remote || !(map->access & (SIM_READ | SIM_WRITE)))
        return -EINVAL;
    if (map->remote && !vd_range_make(map->remote_address, map->size, &remote))
        return -EINVAL;
    if (map->size > UINT64_MAX - 2 * dart->config.granule)
        return -EINVAL;
    if (is_assigned(dart))
        return 0;
    if (!vd_is_aligned(low_bits, dart->config.granule) || !vd_range_make(map->iova, map->size, &range))
        return -EINVAL;
    return range.start < dart->config.base || range.last > dart->last ? -ERANGE : 0;
}

/* How many segments a mapping of so many granules gets. */
static uint32_t pick_segments(struct sim_dart *dart, uint64_t granules)
{
    uint64_t most = granules < dart->config.segments ? granules : dart->config.segments;

    return most > 1 ? (uint32_t)(sim_dart_random(&dart->random) % most) + 1 : 1;
}

/* Cuts `granules` into the mapping's segments, each at least one granule; sizes only, in span.size. */
static void cut(struct sim_dart *dart, struct sim_dart_mapping *mapping, uint64_t granules)
{
    for (uint32_t i = 0; i < mapping->nr_segments; i++) {
        uint32_t after = mapping->nr_segments - i - 1;
        uint64_t most = granules - after;
        uint64_t size = after ? sim_dart_random(&dart->random) % most + 1 : granules;

        mapping->segments[i].span.size = size;
        granules -= size;
    }
}

static void give_spans(struct sim_dart *dart, struct sim_dart_mapping *mapping, uint32_t from)
{
    for (uint32_t i = from; i < mapping->nr_segments; i++)
        sim_space_give(&dart->space, &mapping->segments[i].span);
}

/* Last segment first, so that even in an empty aperture they do not follow each other in the buffer's order. */
static int take_spans(struct sim_dart *dart, struct sim_dart_mapping *mapping)
{
    for (uint32_t i = mapping->nr_segments; i-- > 0;) {
        struct sim_span *span = &mapping->segments[i].span;

        if (!sim_space_take(&dart->space, span, span->size)) {
            give_spans(dart, mapping, i + 1);
            return -ENOSPC;
        }
    }
    return 0;
}

/* Turns spans of granules into the bytes of the buffer: the first keeps the lead-in, the last ends with the buffer. */
static void lay_out_spans(struct sim_dart *dart, struct sim_dart_mapping *mapping,
                          const struct sim_dart_map *map)
{
    uint64_t granule = dart->config.granule;
    uint64_t skip = lead_in(dart, map);
    uint64_t done = 0;

    for (uint32_t i = 0; i < mapping->nr_segments; i++) {
        struct segment *segment = &mapping->segments[i];
        uint64_t start = segment->span.start * granule + skip;
        uint64_t size = segment->span.size * granule - skip;

        if (size > map->size - done)
            size = map->size - done;
        segment->node.range = (struct vd_range){start, start + size - 1};
        done += size;
        skip = 0;
    }
}

static void attach_memory(struct sim_dart_mapping *mapping, const struct sim_dart_map *map)
{
    uint64_t done = 0;

    for (uint32_t i = 0; i < mapping->nr_segments; i++) {
        struct segment *segment = &mapping->segments[i];

        segment->mapping = mapping;
        segment->host = map->host ? (uint8_t *)map->host + done : NULL;
        segment->remote_address = map->remote_address + done;
        done += vd_range_size(segment->node.range);
    }
}

/* Gives the mapping its bus addresses. */
static int place(struct sim_dart *dart, struct sim_dart_mapping *mapping, const struct sim_dart_map *map,
                 uint64_t granules)
{
    int err;

    if (!is_assigned(dart)) {
        mapping->segments[0].node.range = (struct vd_range){map->iova, map->iova + map->size - 1};
        return 0;
    }
    cut(dart, mapping, granules);
    err = take_spans(dart, mapping);
    if (!err)
        lay_out_spans(dart, mapping, map);
    return err;
}

/* Makes the segments visible to the device. Only a chosen address can overlap. */
static int publish(struct sim_dart *dart, struct sim_dart_mapping *mapping)
{
    for (uint32_t i = 0; i < mapping->nr_segments; i++) {
        int err = vd_tree_insert(&dart->segments, &mapping->segments[i].node);

        if (err)
            return err;
    }
    dart->mapped_count++;
    dart->mapped_bytes += mapping->charged;
    return 0;
}

static void report(const struct sim_dart_mapping *mapping, struct sim_dart_map *map)
{
    uint32_t count = mapping->nr_segments < map->max_segments ? mapping->nr_segments : map->max_segments;

    for (uint32_t i = 0; i < count; i++) {
        struct vd_range range = mapping->segments[i].node.range;

        map->segments[i] = (struct sim_dart_segment){range.start, vd_range_size(range)};
    }
    map->nr_segments = count;
}

/* A mapping with room for its segments, within the limits; nothing is published yet. */
static int prepare(struct sim_dart *dart, const struct sim_dart_map *map, uint64_t granules,
                   struct sim_dart_mapping **out)
{
    uint64_t granule = dart->config.granule;
    struct sim_dart_mapping *mapping;
    uint32_t count;

    if (dart->mapped_count >= dart->config.mappings || granules > dart->config.aperture / granule)
        return -ENOSPC;
    count = pick_segments(dart, granules);
    if (is_assigned(dart) && count > map->max_segments)
        return -ENOBUFS;
    mapping = vd_env_alloc(dart->env, 1, sizeof(*mapping) + count * sizeof(mapping->segments[0]));
    if (!mapping)
        return -ENOMEM;
    mapping->access = map->access;
    mapping->nr_segments = count;
    mapping->charged = granules * granule;
    if (map->remote)
        mapping->remote = *map->remote;
    *out = mapping;
    return 0;
}

int sim_dart_map(struct sim_dart *dart, struct sim_dart_map *map)
{
    struct sim_dart_mapping *mapping;
    uint64_t granules;
    int err = check_map(dart, map);

    map->mapping = NULL;
    map->nr_segments = 0;
    if (err)
        return err;
    granules = (lead_in(dart, map) + map->size + dart->config.granule - 1) / dart->config.granule;
    err = prepare(dart, map, granules, &mapping);
    if (err)
        return err;
    err = place(dart, mapping, map, granules);
    if (err)
        goto err_free;
    attach_memory(mapping, map);
    err = publish(dart, mapping);
    if (err)
        goto err_free; /* chosen: it has no spans to give back */
    report(mapping, map);
    map->mapping = mapping;
    return 0;

err_free:
    vd_env_free(dart->env, mapping);
    return err;
}

static void drain_pins(struct sim_dart *dart, struct sim_dart_mapping *mapping)
{
    struct vd_range range = mapping->segments[0].node.range;

    if (mapping->pins && dart->quiesce)
        dart->quiesce(dart->quiesce_opaque);
    if (mapping->pins)
        record_misuse(dart, "unmapped while the device still holds it", range.start, mapping->charged);
}

void sim_dart_unmap(struct sim_dart *dart, struct sim_dart_mapping *mapping)
{
    drain_pins(dart, mapping);
    dart->generation++;
    dart->last_hit = NULL;
    for (uint32_t i = 0; i < mapping->nr_segments; i++)
        vd_tree_remove(&dart->segments, &mapping->segments[i].node);
    if (is_assigned(dart))
        give_spans(dart, mapping, 0);
    dart->mapped_count--;
    dart->mapped_bytes -= mapping->charged;
    vd_env_free(dart->env, mapping);
}

/* The segment that holds `iova`, whatever access it allows. */
static inline struct segment *lookup(struct sim_dart *dart, uint64_t iova)
{
    struct segment *hit = dart->last_hit;
    struct vd_tree_node *node;

    if (hit && iova >= hit->node.range.start && iova <= hit->node.range.last)
        return hit;
    node = vd_tree_find(&dart->segments, iova);
    if (!node)
        return NULL;
    dart->last_hit = VD_CONTAINER(node, struct segment, node);
    return dart->last_hit;
}

/*
 * The segment behind the front of [iova, iova + size), and in *length how far it reaches; NULL when the access is not
 * allowed there or the range wraps.
 */
static inline struct segment *translate(struct sim_dart *dart, uint64_t iova, uint64_t size, unsigned access,
                                        uint64_t *length)
{
    struct segment *segment = lookup(dart, iova);
    uint64_t reach;

    if (!segment || !(segment->mapping->access & access) || size - 1 > UINT64_MAX - iova)
        return NULL;
    reach = segment->node.range.last - iova;
    *length = reach < size - 1 ? reach + 1 : size;
    return segment;
}

static int copy_remote(const struct segment *segment, uint64_t offset, void *buffer, uint64_t size,
                       enum sim_access access)
{
    struct vd_remote remote = segment->mapping->remote;
    uint64_t address = segment->remote_address + offset;
    int err;

    err = access == SIM_READ ? remote.read(remote.opaque, address, buffer, size)
                             : remote.write(remote.opaque, address, buffer, size);
    return err ? -EIO : 0;
}

/* Copies piece by piece; what lies before a refused address has been copied, as on a real bus. */
static int copy(struct sim_dart *dart, uint64_t iova, uint8_t *buffer, uint64_t size, enum sim_access access)
{
    while (size) {
        uint64_t length, offset;
        struct segment *segment = translate(dart, iova, size, access, &length);
        int err = 0;

        if (!segment) {
            sim_dart_refuse(dart, iova, size, access);
            return -EFAULT;
        }
        offset = iova - segment->node.range.start;
        if (!segment->host)
            err = copy_remote(segment, offset, buffer, length, access); /* segment may be gone now */
        else if (access == SIM_READ)
            memcpy(buffer, segment->host + offset, length);
        else
            memcpy(segment->host + offset, buffer, length);
        if (err)
            return err;
        iova += length;
        buffer += length;
        size -= length;
    }
    return 0;
}

int sim_dart_read(struct sim_dart *dart, uint64_t iova, void *buffer, size_t size)
{
    return copy(dart, iova, buffer, size, SIM_READ);
}

int sim_dart_write(struct sim_dart *dart, uint64_t iova, const void *buffer, size_t size)
{
    return copy(dart, iova, (uint8_t *)(uintptr_t)buffer, size, SIM_WRITE);
}

/* Appends one piece, merged with the one before it where host memory goes on; false when there is no room. */
static bool append(struct iovec *iov, unsigned *count, unsigned max, uint8_t *host, uint64_t length)
{
    if (*count && (uint8_t *)iov[*count - 1].iov_base + iov[*count - 1].iov_len == host) {
        iov[*count - 1].iov_len += length;
        return true;
    }
    if (*count >= max)
        return false;
    iov[(*count)++] = (struct iovec){host, length};
    return true;
}

static int pin_piece(struct sim_dart *dart, uint64_t iova, uint64_t size, enum sim_access access,
                     struct iovec *iov, unsigned *count, unsigned max, uint64_t *length)
{
    struct segment *segment = translate(dart, iova, size, access, length);

    if (!segment) {
        sim_dart_refuse(dart, iova, size, access);
        return -EFAULT;
    }
    if (!segment->host)
        return -EREMOTE;
    if (!append(iov, count, max, segment->host + (iova - segment->node.range.start), *length))
        return -ENOBUFS;
    segment->mapping->pins++;
    return 0;
}

int sim_dart_iov(struct sim_dart *dart, uint64_t iova, uint64_t size, enum sim_access access,
                 struct iovec *iov, unsigned *count, unsigned max)
{
    unsigned count_before = *count;
    size_t tail_before = count_before ? iov[count_before - 1].iov_len : 0;
    uint64_t done = 0;

    while (done < size) {
        uint64_t length;
        int err = pin_piece(dart, iova + done, size - done, access, iov, count, max, &length);

        if (err) {
            *count = count_before;
            if (count_before)
                iov[count_before - 1].iov_len = tail_before;
            sim_dart_unpin(dart, iova, done);
            return err;
        }
        done += length;
    }
    return 0;
}

void sim_dart_unpin(struct sim_dart *dart, uint64_t iova, uint64_t size)
{
    while (size) {
        uint64_t length;
        struct segment *segment = translate(dart, iova, size, SIM_READ | SIM_WRITE, &length);

        if (!segment || !segment->mapping->pins) {
            record_misuse(dart, "unpinned without a pin", iova, size);
            return;
        }
        segment->mapping->pins--;
        iova += length;
        size -= length;
    }
}

void *sim_dart_peek(struct sim_dart *dart, uint64_t iova, uint64_t size, enum sim_access access)
{
    uint8_t *first = NULL;
    uint64_t done = 0;

    while (done < size) {
        uint64_t length;
        struct segment *segment = translate(dart, iova + done, size - done, access, &length);
        uint8_t *host;

        if (!segment || !segment->host)
            return NULL;
        host = segment->host + (iova + done - segment->node.range.start);
        if (!first)
            first = host;
        else if (host != first + done)
            return NULL;
        done += length;
    }
    return first;
}

uint64_t sim_dart_generation(const struct sim_dart *dart)
{
    return dart->generation;
}

uint64_t sim_dart_faults(const struct sim_dart *dart)
{
    return atomic_load_explicit(&dart->faults, memory_order_relaxed);
}

struct sim_dart_fault sim_dart_last_fault(const struct sim_dart *dart)
{
    return dart->last_fault;
}

uint64_t sim_dart_mapped_bytes(const struct sim_dart *dart)
{
    return dart->mapped_bytes;
}

uint64_t sim_dart_mapped_count(const struct sim_dart *dart)
{
    return dart->mapped_count;
}
