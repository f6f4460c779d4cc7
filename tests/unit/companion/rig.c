/* SPDX-License-Identifier: BSD-3-Clause */
/* The rig of the companion's tests; see rig.h. */
#include "rig.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/strategy.h"

enum { RW = VD_ACCESS_READ | VD_ACCESS_WRITE, FILE_SIZE = 0x5000000 };

/* Where the parts lie in the file, so that what is a neighbour by GPA is none there. */
static const struct {
    uint64_t gpa, size, offset;
    uint32_t access;
    bool no_file;
} parts[] = {
    {RIG_LOW, RIG_LOW_SIZE, 0, RW, false},
    {RIG_NEXT, RIG_PIECE, 0x400000, RW, false},
    {RIG_READ_ONLY, RIG_PIECE, 0x500000, VD_ACCESS_READ, false},
    {RIG_NO_FILE, RIG_PIECE, 0, RW, true},
    {RIG_ODD, 0x7000, 0x602000, RW, false},
    {RIG_ASKEW, RIG_PIECE, 0x701000, RW, false},
    {RIG_DATA, RIG_DATA_SIZE, 0x800000, RW, false},
};

enum { PARTS = sizeof(parts) / sizeof(parts[0]) };

struct rig *rig_prepare(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));

    assert_non_null(r);
    assert_int_equal(fixture_setup((void **)&r->f), 0);
    fake_assign_addresses(&r->f->fake);
    r->f->fake.info.raw_config = true;
    vd_store16(r->f->fake.config, 0x1234);
    r->fd = memfd_create("vd-test-guest", MFD_CLOEXEC);
    assert_true(r->fd >= 0);
    assert_int_equal(ftruncate(r->fd, FILE_SIZE), 0);
    r->ram = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
    assert_true(r->ram != MAP_FAILED);
    *state = r;
    return r;
}

struct rig *rig_prepare_chosen(void **state)
{
    struct rig *r = rig_prepare(state);

    r->f->fake.info.dma = (struct vd_dma_info){.addressing = VD_DMA_CHOSEN,
                                               .granule = FAKE_PAGE,
                                               .limit_bytes = UINT64_MAX,
                                               .limit_mappings = UINT64_MAX,
                                               .first = {0x1000},
                                               .last = {(1ull << 40) - 1},
                                               .max_segments = 1};
    return r;
}

void rig_start_memory(struct rig *r)
{
    static const struct vd_dma_remote remote;
    const struct vd_guest_memory_listener listener = {vd_strategy_local.added, vd_strategy_local.removed,
                                                      r->companion};

    assert_int_equal(vd_guest_memory_create(&r->f->context->env, &remote, &listener, &r->memory), 0);
    if (vd_dma_info(r->companion)->needs_file)
        vd_guest_memory_keep_files(r->memory);
    vd_device_guest_memory(r->companion, r->memory);
    for (unsigned i = 0; i < PARTS; i++)
        assert_int_equal(vd_guest_memory_add(r->memory, (vd_gpa){parts[i].gpa}, parts[i].size,
                                             parts[i].access, parts[i].no_file ? -1 : r->fd, parts[i].offset),
                         0);
}

void rig_stop_memory(struct rig *r)
{
    if (!r->memory)
        return;
    vd_device_guest_memory(r->companion, NULL);
    vd_guest_memory_destroy(r->memory);
    r->memory = NULL;
}

int rig_start(struct rig *r, const struct vd_companion_options *options)
{
    const struct vd_companion_options defaults = {.size = sizeof(defaults), .guest_bdf = 0x0100};
    int ret = r->address ? vd_device_open(r->f->context, r->address, &r->f->device, NULL)
                         : fixture_open(r->f, &fake_ops, NULL);

    assert_int_equal(ret, 0);
    r->managed = r->f->device;
    ret = vd_companion_create(r->f->context, r->managed, options ? options : &defaults, &r->companion, NULL);
    if (!ret)
        rig_start_memory(r);
    return ret;
}

int rig_setup(void **state)
{
    struct rig *r = rig_prepare(state);

    assert_int_equal(rig_start(r, NULL), 0);
    rig_set_command(r, RIG_COMMAND);
    return 0;
}

int rig_setup_wide(void **state)
{
    rig_setup(state);
    rig_write(*state, VD_APPLE_DMA_REG_DRIVER_FEATURES, RIG_ALL);
    return 0;
}

int rig_teardown(void **state)
{
    struct rig *r = *state;
    void *fixture = r->f;
    int ret;

    rig_stop_memory(r);
    vd_device_close(r->companion);
    munmap(r->ram, FILE_SIZE);
    close(r->fd);
    ret = fixture_teardown(&fixture);
    free(r);
    return ret;
}

uint32_t rig_read(struct rig *r, unsigned reg)
{
    uint8_t bytes[4];

    assert_int_equal(vd_region_read(r->companion, 0, reg, bytes, 4), 0);
    return vd_load32(bytes);
}

uint64_t rig_read64(struct rig *r, unsigned low)
{
    uint64_t value = rig_read(r, low);

    return value | (uint64_t)rig_read(r, low + 4) << 32;
}

void rig_write(struct rig *r, unsigned reg, uint32_t value)
{
    uint8_t bytes[4];

    vd_store32(bytes, value);
    assert_int_equal(vd_region_write(r->companion, 0, reg, bytes, 4), 0);
}

void rig_set_command(struct rig *r, uint64_t gpa)
{
    rig_write(r, VD_APPLE_DMA_REG_CMD_GPA_HI, (uint32_t)(gpa >> 32));
    rig_write(r, VD_APPLE_DMA_REG_CMD_GPA_LO, (uint32_t)gpa);
}

void *rig_at(struct rig *r, uint64_t gpa)
{
    for (unsigned i = 0; i < PARTS; i++)
        if (gpa >= parts[i].gpa && gpa - parts[i].gpa < parts[i].size && !parts[i].no_file)
            return r->ram + parts[i].offset + (gpa - parts[i].gpa);
    fail_msg("0x%llx is not guest memory", (unsigned long long)gpa);
    return NULL;
}

uint32_t rig_ring(struct rig *r)
{
    struct vd_apple_dma_command *command = rig_at(r, RIG_COMMAND);
    uint32_t status;

    command->status = vd_put32(77);
    rig_write(r, VD_APPLE_DMA_REG_DOORBELL, 1);
    status = rig_read(r, VD_APPLE_DMA_REG_STATUS);
    assert_int_equal(vd_get32(command->status), status);
    return status;
}

struct vd_companion_stats rig_stats(struct rig *r)
{
    struct vd_companion_stats stats;

    assert_true(vd_companion_stats(r->companion, &stats));
    return stats;
}

struct vd_apple_dma_wide_command *rig_command(struct rig *r, uint32_t type, uint32_t count, uint32_t segments)
{
    struct vd_apple_dma_wide_command *command = rig_at(r, RIG_COMMAND);

    *command = (struct vd_apple_dma_wide_command){.base = {.type = vd_put32(type),
                                                           .count = vd_put32(count),
                                                           .requests = vd_put64(RIG_REQUESTS),
                                                           .responses = vd_put64(RIG_RESPONSES)},
                                                  .segments = vd_put32(segments)};
    return command;
}

struct vd_apple_dma_mapped rig_map(struct rig *r, uint64_t gpa, uint32_t len)
{
    struct vd_apple_dma_mapped *out = rig_at(r, RIG_RESPONSES);
    uint32_t status;

    *(struct vd_apple_dma_map *)rig_at(r, RIG_REQUESTS) =
        (struct vd_apple_dma_map){.gpa = vd_put64(gpa), .len = vd_put32(len), .flags = vd_put32(0x5a5a)};
    memset(out, 0x11, sizeof(*out));
    rig_command(r, VD_APPLE_DMA_MAP, 1, 0);
    status = rig_ring(r);
    assert_int_equal(vd_get32(out->status), status);
    return *out;
}

struct vd_apple_dma_unmapped rig_unmap(struct rig *r, uint64_t id)
{
    struct vd_apple_dma_unmapped *out = rig_at(r, RIG_RESPONSES);
    uint32_t status;

    *(struct vd_apple_dma_unmap *)rig_at(r, RIG_REQUESTS) = (struct vd_apple_dma_unmap){.id = vd_put64(id)};
    memset(out, 0x11, sizeof(*out));
    rig_command(r, VD_APPLE_DMA_UNMAP, 1, 0);
    status = rig_ring(r);
    assert_int_equal(vd_get32(out->status), status);
    assert_true(vd_get64(out->id) == id);
    return *out;
}

void rig_put_wide(struct rig *r, uint32_t i, uint64_t gpa, uint64_t len, uint32_t flags, uint64_t align)
{
    struct vd_apple_dma_wide_map *in = rig_at(r, RIG_REQUESTS + i * sizeof(*in));

    *in = (struct vd_apple_dma_wide_map){
        .gpa = vd_put64(gpa), .len = vd_put64(len), .flags = vd_put32(flags), .align = vd_put64(align)};
}

struct rig_wide rig_wide_at(struct rig *r, uint32_t i, uint32_t segments)
{
    uint64_t at = RIG_RESPONSES + i * (uint64_t)(24 + 16 * segments);
    const struct vd_apple_dma_wide_mapped *head = rig_at(r, at);
    const struct vd_apple_dma_segment *from = rig_at(r, at + sizeof(*head));
    struct rig_wide out = {.id = vd_get64(head->id),
                           .status = vd_get32(head->status),
                           .why = vd_get32(head->why),
                           .nr_segments = vd_get32(head->nr_segments)};

    assert_true(out.nr_segments <= segments);
    assert_int_equal(vd_get32(head->reserved), 0);
    for (uint32_t s = 0; s < out.nr_segments; s++)
        out.segments[s] = (struct vd_dma_segment){{vd_get64(from[s].address)}, vd_get64(from[s].len)};
    return out;
}

struct rig_wide rig_map_wide(struct rig *r, uint64_t gpa, uint64_t len, uint32_t flags, uint64_t align)
{
    struct vd_apple_dma_wide_command *command = rig_command(r, VD_APPLE_DMA_MAP, 1, 4);
    uint32_t status;
    struct rig_wide out;

    rig_put_wide(r, 0, gpa, len, flags, align);
    memset(rig_at(r, RIG_RESPONSES), 0x11, 24 + 16 * 4);
    status = rig_ring(r);
    out = rig_wide_at(r, 0, 4);
    assert_int_equal(out.status, status);
    assert_int_equal(vd_get32(command->done), out.status == VD_APPLE_DMA_OK);
    assert_int_equal(out.status == VD_APPLE_DMA_OK, out.why == VD_APPLE_DMA_WHY_NONE);
    return out;
}

uint32_t rig_unmap_wide(struct rig *r, uint64_t id)
{
    return vd_get32(rig_unmap(r, id).why);
}

void rig_check_use(struct rig *r, uint64_t bytes, uint64_t mappings)
{
    struct vd_companion_stats stats = rig_stats(r);
    struct vd_dma_usage usage;

    vd_dma_usage(r->managed, &usage);
    assert_int_equal(rig_read64(r, VD_APPLE_DMA_REG_USED_BYTES_LO), bytes);
    assert_int_equal(rig_read64(r, VD_APPLE_DMA_REG_USED_MAPPINGS_LO), mappings);
    assert_int_equal(stats.bytes, bytes);
    assert_int_equal(stats.mappings, mappings);
    assert_int_equal(usage.bytes, bytes);
    assert_int_equal(usage.mappings, mappings);
    if (!r->address)
        assert_int_equal(r->f->fake.nr_live, mappings);
}
