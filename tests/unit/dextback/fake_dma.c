/* SPDX-License-Identifier: BSD-3-Clause */
/* The fake extension's registered and shared memory, with answers that are right unless `spoil` says otherwise. */
#include "fake_link.h"

static struct fake_region *find_region(struct fake *f, uint64_t key)
{
    for (unsigned i = 0; i < FAKE_REGIONS; i++)
        if (f->regions[(key + i) % FAKE_REGIONS].live && f->regions[(key + i) % FAKE_REGIONS].key == key)
            return &f->regions[(key + i) % FAKE_REGIONS];
    return NULL;
}

/* Where memory is in the table of shares; FAKE_SHARES: nowhere. */
static size_t find_share(const struct fake *f, const void *host)
{
    size_t home = (uintptr_t)host >> 14;

    for (size_t i = 0; i < FAKE_SHARES; i++)
        if (f->shares[(home + i) % FAKE_SHARES] == host)
            return (home + i) % FAKE_SHARES;
    return FAKE_SHARES;
}

static void check_shared(const struct fake *f, uint64_t address)
{
    if (f->choose == fake_choose_socket)
        assert_true(find_share(f, (const void *)(uintptr_t)address) < FAKE_SHARES);
}

static int add_region(struct fake *f, uint64_t key, uint64_t address, uint64_t size, uint32_t access)
{
    uint64_t at = key;

    if (key >= f->fail_key && key <= f->fail_last && f->fail_status)
        return f->fail_status;
    check_shared(f, address);
    assert_true(key > f->last_key); /* never used twice */
    f->last_key = key;
    if (f->nr_regions == FAKE_REGIONS)
        return VD_DEXT_NO_SPACE;
    while (f->regions[at % FAKE_REGIONS].live)
        at++;
    f->regions[at % FAKE_REGIONS] = (struct fake_region){true, key, address, size, access};
    if (++f->nr_regions > f->peak_regions)
        f->peak_regions = f->nr_regions;
    return 0;
}

int fake_remove_region(struct fake *f, uint64_t key)
{
    struct fake_region *region = find_region(f, key);

    if (!region)
        return VD_DEXT_NOT_FOUND;
    check_shared(f, region->address);
    region->live = false;
    f->nr_regions--;
    return 0;
}

int fake_register(struct fake *f, const uint64_t *in, uint64_t *out)
{
    int status = add_region(f, in[0], in[1], in[2], VD_DEXT_ACCESS_READ | VD_DEXT_ACCESS_WRITE);

    if (status)
        return status;
    out[0] = f->split > 1 ? f->split : 1;
    out[1] = f->next_address;
    out[2] = f->spoil == FAKE_SEGMENTS_SHORT ? in[2] / 2 : in[2];
    f->next_address += in[2];
    return 0;
}

/* Writes one region's segments; how many. */
static uint32_t put_segments(struct fake *f, uint64_t size, struct vd_dext_segment *out)
{
    uint64_t granule = f->limits[VD_DEXT_LIMIT_GRANULE];
    uint64_t parts = f->split > 1 ? f->split : 1;
    uint64_t each;

    parts = parts < size / granule ? parts : size / granule;
    each = size / granule / parts * granule;
    for (uint64_t i = 0; i < parts; i++) {
        uint64_t here = i + 1 < parts ? each : size - each * (parts - 1);

        f->next_address += granule; /* a hole, so that the runs do not join */
        out[i] = (struct vd_dext_segment){vd_put64(f->next_address), vd_put64(here)};
        f->next_address += here;
        if (f->spoil == FAKE_SEGMENTS_SHORT)
            out[i].size = vd_put64(here - granule / 2);
        if (f->spoil == FAKE_SEGMENTS_LONG)
            out[i].size = vd_put64(here + granule);
        if (f->spoil == FAKE_SEGMENTS_WRAP)
            out[i] = (struct vd_dext_segment){vd_put64(0), vd_put64((1ull << 63) + (i ? size : 0))};
    }
    return (uint32_t)parts;
}

static void spoil_result(struct fake *f, struct vd_dext_result *result, uint32_t total)
{
    if (f->spoil == FAKE_WILD_SEGMENT)
        result->first_segment = vd_put32(total + 1);
    if (f->spoil == FAKE_NO_SEGMENT)
        result->nr_segments = vd_put32(0);
}

int fake_register_batch(struct fake *f, struct vd_link_call *call)
{
    const struct vd_dext_register_in *head = call->bytes_in;
    const struct vd_dext_region *regions = (const struct vd_dext_region *)(head + 1);
    struct vd_dext_register_out *out = call->bytes_out;
    struct vd_dext_result *results = (struct vd_dext_result *)(out + 1);
    uint32_t count = vd_get32(head->count), used = 0, good = 0;
    struct vd_dext_segment *segments = (struct vd_dext_segment *)(results + count);
    uint32_t capacity = vd_get32(head->segment_capacity);

    assert_true(count >= 1 && count <= f->batch);
    assert_int_equal(call->nr_bytes_in, 16 + count * 32);
    assert_int_equal(call->nr_bytes_out, 16 + count * 16 + capacity * 16);
    for (uint32_t i = 0; i < count; i++) {
        const struct vd_dext_region *r = &regions[i];
        int status =
            add_region(f, vd_get64(r->key), vd_get64(r->address), vd_get64(r->size), vd_get32(r->access));
        uint32_t n = status ? 0 : put_segments(f, vd_get64(r->size), segments + used);

        assert_true(used + n <= capacity);
        results[i] = (struct vd_dext_result){.status = vd_put32((uint32_t)status),
                                             .nr_segments = vd_put32(n),
                                             .first_segment = vd_put32(used)};
        used += n;
        good += !status;
        if (!status)
            spoil_result(f, &results[i], used);
    }
    *out = (struct vd_dext_register_out){.count = vd_put32(f->spoil == FAKE_WRONG_COUNT ? count + 1 : count),
                                         .nr_segments = vd_put32(used),
                                         .registered = vd_put32(good)};
    call->nr_bytes_out = 16 + count * 16 + used * 16 - (f->spoil == FAKE_SHORT ? 1 : 0);
    return 0;
}

int fake_unregister_batch(struct fake *f, struct vd_link_call *call)
{
    const struct vd_dext_unregister_in *head = call->bytes_in;
    const vd_le64 *keys = (const vd_le64 *)(head + 1);
    struct vd_dext_unregister_out *out = call->bytes_out;
    vd_le32 *results = (vd_le32 *)(out + 1);
    uint32_t count = vd_get32(head->count);

    if (f->unregister_batch_status)
        return f->unregister_batch_status;
    assert_true(count >= 1 && count <= f->batch);
    assert_int_equal(call->nr_bytes_in, 8 + count * 8);
    assert_int_equal(call->nr_bytes_out, 8 + count * 4);
    for (uint32_t i = 0; i < count; i++) {
        int status = fake_remove_region(f, vd_get64(keys[i]));

        results[i] = vd_put32((uint32_t)(f->unregister_status ? f->unregister_status : status));
    }
    out->count = vd_put32(f->spoil == FAKE_WRONG_COUNT ? count - 1 : count);
    call->nr_bytes_out -= f->spoil == FAKE_SHORT;
    return 0;
}

int fake_link_share(struct vd_link *link, const struct vd_link_memory *memory)
{
    struct fake *f = link->fake;
    size_t at;

    if (f->dead)
        return VD_DEXT_NOT_ATTACHED;
    if (f->share_fails_at && --f->share_fails_at == 0)
        return f->share_status;
    if (memory->fd < 0)
        return VD_DEXT_BAD_ARGUMENT;
    for (at = (uintptr_t)memory->host >> 14; f->shares[at % FAKE_SHARES];)
        at++;
    f->shares[at % FAKE_SHARES] = memory->host;
    f->nr_shares++;
    return 0;
}

void fake_link_unshare(struct vd_link *link, const void *host, uint64_t size)
{
    struct fake *f = link->fake;
    size_t at = find_share(f, host);

    assert_true(at < FAKE_SHARES);
    f->shares[at] = NULL;
    f->nr_shares--;
}
