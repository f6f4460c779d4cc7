/* SPDX-License-Identifier: BSD-3-Clause */
/* The remembering back end and the fixture around it; see fake.h. */
#include "fake.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/unit.h"

static void remember(struct fake *fake, enum fake_op op, unsigned index, uint64_t offset, uint64_t count)
{
    if (fake->nr_calls < FAKE_CALLS)
        fake->calls[fake->nr_calls] = (struct fake_call){op, index, offset, count};
    fake->nr_calls++;
}

static int fake_open(const struct vd_env *env, const char *address, const struct vd_host_events *events,
                     void **host, struct vd_host_info *info, struct vd_failure *failure)
{
    struct fake *fake = NULL;
    uintptr_t pointer = (uintptr_t)strtoull(strchr(address, ':') + 1, NULL, 16);

    (void)env;
    memcpy(&fake, &pointer, sizeof(pointer));
    remember(fake, FAKE_OPEN, 0, 0, 0);
    if (fake->open_error)
        return vd_fail(failure, fake->open_error, "the fake was told to fail");
    fake->is_open = true;
    fake->events = events;
    *info = fake->info;
    *host = fake;
    return 0;
}

static void fake_close(void *host)
{
    struct fake *fake = host;

    remember(fake, FAKE_CLOSE, 0, 0, 0);
    assert_true(fake->is_open);
    fake->is_open = false;
}

static void check_access(const struct fake *fake, unsigned index, uint64_t offset, size_t count)
{
    assert_true(fake->is_open);
    assert_true(index < VD_REGION_COUNT && count > 0);
    assert_true(vd_span_fits(offset, count, fake->info.regions[index].size));
}

static int fake_read(void *host, unsigned index, uint64_t offset, void *buffer, size_t count)
{
    struct fake *fake = host;

    remember(fake, FAKE_READ, index, offset, count);
    check_access(fake, index, offset, count);
    memset(buffer, 0x5a, count);
    if (index == VD_REGION_CONFIG)
        memcpy(buffer, fake->config + offset, count);
    return fake->read_error;
}

static int fake_write(void *host, unsigned index, uint64_t offset, const void *buffer, size_t count)
{
    struct fake *fake = host;

    remember(fake, FAKE_WRITE, index, offset, count);
    check_access(fake, index, offset, count);
    if (fake->write_error)
        return fake->write_error;
    if (index == VD_REGION_CONFIG)
        memcpy(fake->config + offset, buffer, count);
    if (fake->master_sticks)
        fake->config[4] |= 4;
    return 0;
}

static int fake_region_fd(void *host, unsigned index, uint64_t *offset)
{
    const struct fake *fake = host;

    *offset = index * 0x10000ull;
    return fake->bar_fd ? fake->bar_fd : 1000 + (int)index;
}

static int fake_irq_enable(void *host, unsigned index, uint32_t count)
{
    struct fake *fake = host;

    remember(fake, FAKE_IRQ_ENABLE, index, 0, count);
    assert_true(index <= VD_IRQ_MSIX && count <= fake->info.irqs[index].count);
    if (count && fake->irq_error)
        return fake->irq_error;
    fake->enabled[index] = count;
    assert_true(!fake->enabled[VD_IRQ_INTX] + !fake->enabled[VD_IRQ_MSI] + !fake->enabled[VD_IRQ_MSIX] >= 2);
    return 0;
}

static int fake_reset(void *host)
{
    struct fake *fake = host;

    remember(fake, FAKE_RESET, 0, 0, 0);
    return fake->reset_error;
}

static struct fake_mapping *free_mapping(struct fake *fake)
{
    for (unsigned i = 0; i < FAKE_MAPPINGS; i++)
        if (!fake->mappings[i].live)
            return &fake->mappings[i];
    fail_msg("the fake has no room for another mapping");
    return NULL;
}

static void map_one(struct fake *fake, struct vd_host_map *e)
{
    const struct vd_dma_info *dma = &fake->info.dma;
    uint32_t pieces = dma->addressing == VD_DMA_ASSIGNED ? fake->split : 1;
    struct fake_mapping *mapping;

    assert_true(e->size && vd_is_aligned(e->size, dma->granule) && e->segments && e->max_segments);
    assert_true(!e->host != !e->remote);
    fake->nr_entries++;
    e->status = fake->fail_map_at && fake->nr_entries == fake->fail_map_at ? -EIO : 0;
    if (!e->status && pieces > e->max_segments)
        e->status = -ENOBUFS;
    if (e->status)
        return;
    fake->last_file = e->file;
    if (fake->keep_file && e->file)
        *fake->keep_file = *e->file;
    mapping = free_mapping(fake);
    *mapping = (struct fake_mapping){true, e->host, e->size, e->iova};
    if (dma->addressing == VD_DMA_ASSIGNED)
        mapping->iova = dma->first.value + (uint64_t)(mapping - fake->mappings) * (1ull << 20);
    e->nr_segments = pieces;
    for (uint32_t i = 0; i < pieces; i++)
        e->segments[i] = (struct vd_dma_segment){{mapping->iova + i * (e->size / pieces)}, e->size / pieces};
    e->segments[pieces - 1].size -= fake->short_by;
    e->token = mapping;
    fake->nr_live++;
}

static void fake_dma_map(void *host, struct vd_host_map *entries, size_t count)
{
    struct fake *fake = host;

    remember(host, FAKE_MAP, 0, 0, count);
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++)
        map_one(host, &entries[i]);
    if (fake->on_map)
        fake->on_map(fake->on_map_opaque);
}

static void fake_dma_unmap(void *host, void *const *tokens, size_t count)
{
    struct fake *fake = host;

    remember(fake, FAKE_UNMAP, 0, 0, count);
    for (size_t i = 0; i < count; i++) {
        struct fake_mapping *mapping = tokens[i];

        assert_true(mapping && mapping->live);
        mapping->live = false;
        fake->nr_live--;
    }
}

static bool fake_dispatch(void *host, bool will_block)
{
    struct fake *fake = host;

    remember(fake, FAKE_DISPATCH, will_block, 0, 0);
    return fake->dispatch_result;
}

static uint64_t fake_faults(void *host)
{
    (void)host;
    return 77;
}

const struct vd_backend_ops fake_ops = {
    .name = "fake",
    .open = fake_open,
    .close = fake_close,
    .region_read = fake_read,
    .region_write = fake_write,
    .region_fd = fake_region_fd,
    .irq_enable = fake_irq_enable,
    .reset = fake_reset,
    .dma_map = fake_dma_map,
    .dma_unmap = fake_dma_unmap,
    .dispatch = fake_dispatch,
    .faults = fake_faults,
};

const struct vd_backend_ops fake_bare_ops = {
    .name = "bare",
    .open = fake_open,
    .close = fake_close,
    .region_read = fake_read,
    .region_write = fake_write,
    .irq_enable = fake_irq_enable,
    .dma_map = fake_dma_map,
    .dma_unmap = fake_dma_unmap,
};

void fake_assign_addresses(struct fake *fake)
{
    fake->info.dma = (struct vd_dma_info){.addressing = VD_DMA_ASSIGNED,
                                          .granule = FAKE_GRANULE,
                                          .limit_bytes = 64ull << 20,
                                          .limit_mappings = 100,
                                          .first = {1ull << 32},
                                          .last = {(1ull << 36) - 1},
                                          .max_segments = 4};
}

void fake_forget_calls(struct fake *fake)
{
    fake->nr_calls = 0;
}

int fake_call_at(const struct fake *fake, enum fake_op op, unsigned n)
{
    assert_true(fake->nr_calls <= FAKE_CALLS);
    for (unsigned i = 0; i < fake->nr_calls; i++)
        if (fake->calls[i].op == op && n-- == 0)
            return (int)i;
    return -1;
}

/* The fixture. */

static void *count_alloc(void *opaque, size_t size)
{
    ((struct fixture *)opaque)->live_memory++;
    return calloc(1, size);
}

static void count_release(void *opaque, void *memory)
{
    ((struct fixture *)opaque)->live_memory--;
    free(memory);
}

static void keep_line(void *opaque, enum vd_log_level level, const char *line)
{
    struct fixture *f = opaque;

    (void)level;
    f->nr_lines++;
    snprintf(f->line, sizeof(f->line), "%s", line);
}

static uint64_t read_clock(void *opaque)
{
    return ((struct fixture *)opaque)->now;
}

static bool fail_nth(void *opaque, const char *site)
{
    struct fixture *f = opaque;

    if (f->fail_nth == 0 || (f->fail_at && strcmp(f->fail_at, site) != 0))
        return false;
    return --f->fail_nth == 0;
}

static void describe(struct vd_host_info *info)
{
    *info = (struct vd_host_info){.model = "fake device",
                                  .vendor = 0x1234,
                                  .device = 0x5678,
                                  .class_code = 0x010802,
                                  .can_reset = true,
                                  .poll_fd = -1};
    info->regions[0] = (struct vd_region_info){.size = 0x4000, .flags = VD_REGION_READ | VD_REGION_WRITE};
    info->regions[1] = (struct vd_region_info){.size = 0x1000, .flags = VD_REGION_READ};
    info->regions[2] = (struct vd_region_info){.size = 0x2000,
                                               .flags = VD_REGION_READ | VD_REGION_WRITE | VD_REGION_MMAP,
                                               .nr_areas = 1,
                                               .areas = {{0x1000, 0x1000}}};
    info->regions[3] = (struct vd_region_info){.size = 0x1000, .flags = VD_REGION_WRITE};
    info->regions[VD_REGION_CONFIG] =
        (struct vd_region_info){.size = 256, .flags = VD_REGION_READ | VD_REGION_WRITE};
    info->irqs[VD_IRQ_INTX] = (struct vd_irq_info){1, VD_IRQ_EVENTFD | VD_IRQ_MASKABLE | VD_IRQ_AUTOMASKED};
    info->irqs[VD_IRQ_MSI] = (struct vd_irq_info){4, VD_IRQ_EVENTFD | VD_IRQ_NORESIZE};
    info->irqs[VD_IRQ_MSIX] = (struct vd_irq_info){8, VD_IRQ_EVENTFD | VD_IRQ_MASKABLE};
    info->irqs[VD_IRQ_ERR] = (struct vd_irq_info){1, VD_IRQ_EVENTFD};
    info->irqs[VD_IRQ_REQ] = (struct vd_irq_info){1, VD_IRQ_EVENTFD};
    info->dma = (struct vd_dma_info){.addressing = VD_DMA_CHOSEN,
                                     .granule = FAKE_PAGE,
                                     .limit_bytes = UINT64_MAX,
                                     .limit_mappings = UINT64_MAX,
                                     .first = {0x1000},
                                     .last = {(1ull << 40) - 1},
                                     .max_segments = 1,
                                     .indirect = true};
}

int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct vd_context_options options = {.size = sizeof(options),
                                         .opaque = f,
                                         .alloc = count_alloc,
                                         .release = count_release,
                                         .log = keep_line,
                                         .clock = read_clock,
                                         .fault = fail_nth,
                                         .log_level = VD_LOG_WARN};

    if (!f)
        return -1;
    describe(&f->fake.info);
    f->fake.split = 1;
    *state = f;
    return vd_context_create(&options, &f->context);
}

int fixture_open(struct fixture *f, const struct vd_backend_ops *ops, struct vd_failure *failure)
{
    char address[64];

    snprintf(address, sizeof(address), "fake:%" PRIxPTR, (uintptr_t)&f->fake);
    return vd_device_create(f->context, ops, address, NULL, &f->device, failure);
}

int fixture_setup_open(void **state)
{
    int ret = fixture_setup(state);

    return ret ? ret : fixture_open(*state, &fake_ops, NULL);
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    bool clean;

    vd_device_close(f->device);
    vd_context_destroy(f->context);
    clean = f->live_memory == 0 && f->fake.nr_live == 0 && !f->fake.is_open;
    if (!clean)
        print_error("left behind: %ld blocks, %u mappings, device %s\n", f->live_memory, f->fake.nr_live,
                    f->fake.is_open ? "open" : "closed");
    free(f);
    return clean ? 0 : -1;
}
