/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many regions in one call. The input is the client's memory and may change while it is read: every header and every
 * entry is copied once, then checked. An entry's failure is its own; the call fails only for what is wrong with all of
 * it, and then nothing has been done.
 */
#include <string.h>

#include "dext/core/core.h"

/* The fence keeps the compiler from reading the client's memory again in place of the copy. */
static void copy_once(void *copy, const void *theirs, size_t size)
{
    memcpy(copy, theirs, size);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* Where the output goes: `results` of a fixed number, then segments as they come. */
struct output {
    uint8_t *results;
    uint8_t *segments;
    uint32_t nr_segments, capacity;
};

static struct vd_dext_result put_segments(struct output *out, const struct vd_dext_run *runs, uint32_t nr)
{
    const struct vd_dext_result result = {
        .nr_segments = vd_put32(nr),
        .first_segment = vd_put32(out->nr_segments),
    };

    for (uint32_t i = 0; i < nr; i++) {
        const struct vd_dext_segment segment = {vd_put64(runs[i].address), vd_put64(runs[i].size)};

        memcpy(out->segments + (size_t)out->nr_segments++ * sizeof(segment), &segment, sizeof(segment));
    }
    return result;
}

static int register_entry(struct vd_dext_client *client, const uint8_t *theirs, struct output *out,
                          struct vd_dext_result *result)
{
    const uint32_t room = out->capacity - out->nr_segments;
    const uint32_t most = client->dext->limits.max_segments;
    struct vd_dext_run runs[VD_DEXT_MAX_SEGMENTS];
    struct vd_dext_region region;
    struct vd_dext_request request;
    uint32_t nr = 0;
    int ret;

    copy_once(&region, theirs, sizeof(region));
    request.key = vd_get64(region.key);
    request.address = vd_get64(region.address);
    request.size = vd_get64(region.size);
    request.access = vd_get32(region.access);
    if (vd_get32(region.reserved))
        return VD_DEXT_BAD_ARGUMENT;
    ret = vd_dext_dma_add(client, &request, runs, room < most ? room : most, &nr);
    if (!ret)
        *result = put_segments(out, runs, nr);
    return ret;
}

int vd_dext_register_batch(struct vd_dext_client *client, struct vd_dext_call *call)
{
    const uint8_t *theirs = call->bytes_in;
    uint8_t *ours = call->bytes_out;
    struct vd_dext_register_in in;
    struct vd_dext_register_out head = {0};
    struct output out = {.results = ours + sizeof(head)};
    uint32_t count, registered = 0;

    copy_once(&in, theirs, sizeof(in));
    count = vd_get32(in.count);
    out.capacity = vd_get32(in.segment_capacity);
    if (count == 0 || count > VD_DEXT_MAX_BATCH || vd_get64(in.reserved) ||
        call->nr_bytes_in != sizeof(in) + count * sizeof(struct vd_dext_region) ||
        call->nr_bytes_out < sizeof(head) + count * sizeof(struct vd_dext_result) +
                                 out.capacity * (uint64_t)sizeof(struct vd_dext_segment))
        return VD_DEXT_BAD_ARGUMENT;
    out.segments = out.results + count * sizeof(struct vd_dext_result);
    theirs += sizeof(in);
    for (uint32_t i = 0; i < count; i++) {
        struct vd_dext_result result = {0};
        int ret = register_entry(client, theirs + i * sizeof(struct vd_dext_region), &out, &result);

        result.status = vd_put32((uint32_t)ret);
        registered += ret == VD_DEXT_SUCCESS;
        memcpy(out.results + i * sizeof(result), &result, sizeof(result));
    }
    vd_dext_publish_use(client);
    head.count = vd_put32(count);
    head.nr_segments = vd_put32(out.nr_segments);
    head.registered = vd_put32(registered);
    memcpy(ours, &head, sizeof(head));
    call->nr_bytes_out = (size_t)(out.segments - ours) + out.nr_segments * sizeof(struct vd_dext_segment);
    return VD_DEXT_SUCCESS;
}

int vd_dext_unregister_batch(struct vd_dext_client *client, struct vd_dext_call *call)
{
    const uint8_t *theirs = call->bytes_in;
    uint8_t *ours = call->bytes_out;
    struct vd_dext_unregister_in in;
    struct vd_dext_unregister_out head;
    uint32_t count, unregistered = 0;

    copy_once(&in, theirs, sizeof(in));
    count = vd_get32(in.count);
    if (count == 0 || count > VD_DEXT_MAX_BATCH || vd_get32(in.reserved) ||
        call->nr_bytes_in != sizeof(in) + count * sizeof(vd_le64) ||
        call->nr_bytes_out < sizeof(head) + count * sizeof(vd_le32))
        return VD_DEXT_BAD_ARGUMENT;
    for (uint32_t i = 0; i < count; i++) {
        vd_le64 key;
        vd_le32 status;
        int ret;

        copy_once(&key, theirs + sizeof(in) + i * sizeof(key), sizeof(key));
        ret = vd_dext_dma_remove(client, vd_get64(key));
        status = vd_put32((uint32_t)ret);
        unregistered += ret == VD_DEXT_SUCCESS;
        memcpy(ours + sizeof(head) + i * sizeof(status), &status, sizeof(status));
    }
    vd_dext_read_faults(client->dext);
    vd_dext_publish_use(client);
    head = (struct vd_dext_unregister_out){vd_put32(count), vd_put32(unregistered)};
    memcpy(ours, &head, sizeof(head));
    call->nr_bytes_out = sizeof(head) + count * sizeof(vd_le32);
    return VD_DEXT_SUCCESS;
}
