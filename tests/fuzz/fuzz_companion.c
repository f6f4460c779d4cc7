/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest, its machine and its VMM at a companion, over a simulated IOMMU that assigns addresses or takes them. The input is a
 * row of records: the guest writes 32 bits of its memory or of a register, memory is unplugged and comes back, either device
 * is reset, the client leaves. Whatever comes, the books of the companion and of the domain agree, no access of the
 * IOMMU was wrong, and at the end nothing is mapped and no memory is left.
 *
 * Bit 0 of the first byte says who picks addresses; bit 1 whether the driver starts with every feature.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <viaduct/companion.h>
#include <viaduct/context.h>

#include "core/device.h"
#include "core/strategy.h"
#include "proto/apple_dma.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_record {
    uint8_t what, arg;
    vd_le16 offset; /* in units of 4 bytes */
    vd_le32 value;
};

enum { FUZZ_RAM, FUZZ_REGISTER, FUZZ_READ, FUZZ_MEMORY, FUZZ_EVENT, FUZZ_KINDS };
enum { RW = VD_ACCESS_READ | VD_ACCESS_WRITE, FILE_SIZE = 0x200000 };

static const struct {
    uint64_t gpa, size, offset;
    uint32_t access;
} parts[] = {
    {0x10000, 0x40000, 0, RW}, /* FUZZ_RAM reaches all of it */
    {0x100000, 0x100000, 0x40000, RW},
    {0x200000, 0x4000, 0x180000, RW},
    {0x300000, 0x10000, 0x1c0000, VD_ACCESS_READ},
};

enum { PARTS = sizeof(parts) / sizeof(parts[0]) };

struct guest {
    struct vd_context *context;
    struct vd_device *managed, *companion;
    struct vd_guest_memory *memory;
    uint8_t *ram;
    int fd;
    long live;
};

static void fail(const char *why)
{
    fprintf(stderr, "fuzz_companion: %s\n", why);
    abort();
}

static void *count_alloc(void *opaque, size_t size)
{
    ((struct guest *)opaque)->live++;
    return calloc(1, size);
}

static void count_release(void *opaque, void *memory)
{
    ((struct guest *)opaque)->live--;
    free(memory);
}

static void add_part(struct guest *g, unsigned i)
{
    (void)vd_guest_memory_add(g->memory, (vd_gpa){parts[i].gpa}, parts[i].size, parts[i].access, g->fd,
                              parts[i].offset);
}

static void attach(struct guest *g)
{
    static const struct vd_dma_remote remote;
    const struct vd_guest_memory_listener listener = {vd_strategy_local.added, vd_strategy_local.removed,
                                                      g->companion};

    if (vd_guest_memory_create(&g->context->env, &remote, &listener, &g->memory))
        abort();
    vd_device_guest_memory(g->companion, g->memory);
    for (unsigned i = 0; i < PARTS; i++)
        add_part(g, i);
}

static void detach(struct guest *g)
{
    vd_device_quiesce(g->companion);
    vd_device_guest_memory(g->companion, NULL);
    vd_guest_memory_destroy(g->memory);
}

static void write_register(struct guest *g, uint64_t reg, uint32_t value)
{
    uint8_t bytes[4];

    vd_store32(bytes, value);
    if (vd_region_write(g->companion, 0, reg, bytes, 4))
        fail("a register cannot be written");
}

static void start(struct guest *g, uint8_t how)
{
    const struct vd_context_options context = {
        .size = sizeof(context), .opaque = g, .alloc = count_alloc, .release = count_release};
    const struct vd_companion_options options = {.size = sizeof(options)};
    const char *address = how & 1 ? "sim:edu,iommu=chosen,mappings=40,aperture=2M"
                                  : "sim:edu,iommu=assigned,aperture=1M,mappings=40,segments=3";

    if (vd_context_create(&context, &g->context) || vd_device_open(g->context, address, &g->managed, NULL) ||
        vd_companion_create(g->context, g->managed, &options, &g->companion, NULL))
        abort();
    g->fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (g->fd < 0 || ftruncate(g->fd, FILE_SIZE) < 0)
        abort();
    g->ram = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd, 0);
    if (g->ram == MAP_FAILED)
        abort();
    attach(g);
    write_register(g, VD_APPLE_DMA_REG_CMD_GPA_LO, (uint32_t)parts[0].gpa);
    if (how & 2)
        write_register(g, VD_APPLE_DMA_REG_DRIVER_FEATURES, UINT32_MAX);
}

static void check_books(struct guest *g, bool nothing)
{
    struct vd_companion_stats stats;
    struct vd_dma_usage usage;
    uint8_t bytes[4];

    if (vd_region_read(g->companion, 0, VD_APPLE_DMA_REG_LOST, bytes, 4)) /* looks at what was lost */
        fail("a register cannot be read");
    vd_dma_usage(g->managed, &usage);
    if (!vd_companion_stats(g->companion, &stats) || stats.bytes != usage.bytes ||
        stats.mappings != usage.mappings)
        fail("the books do not agree");
    if (nothing && stats.mappings)
        fail("a mapping is left");
}

static void run_event(struct guest *g, unsigned which)
{
    switch (which) {
    case 0:
        (void)vd_device_reset(g->companion);
        check_books(g, true);
        break;
    case 1:
        vd_device_quiesce(g->managed);
        check_books(g, true);
        break;
    case 2:
        detach(g);
        check_books(g, true);
        attach(g);
        break;
    default:
        (void)vd_device_reset(g->managed);
        break;
    }
}

static void run(struct guest *g, const struct fuzz_record *r)
{
    uint64_t at = (uint64_t)vd_get16(r->offset) * 4;
    uint8_t bytes[16] = {0};
    unsigned part = r->arg / 2 % PARTS;

    switch (r->what % FUZZ_KINDS) {
    case FUZZ_RAM:
        memcpy(g->ram + at, r->value.b, 4);
        break;
    case FUZZ_REGISTER:
        write_register(g, at % 0x80, vd_get32(r->value));
        break;
    case FUZZ_READ:
        (void)vd_region_read(g->companion, 0, at % 4080 + r->arg % 4, bytes, 1 + r->arg / 4 % 16);
        break;
    case FUZZ_MEMORY:
        if (r->arg & 1)
            add_part(g, part);
        else
            (void)vd_guest_memory_remove(g->memory, (vd_gpa){parts[part].gpa}, parts[part].size);
        break;
    default:
        run_event(g, r->arg % 4);
        break;
    }
    check_books(g, false);
}

static void finish(struct guest *g)
{
    detach(g);
    check_books(g, true);
    vd_device_close(g->companion);
    if (g->managed->held)
        fail("the device is held without a companion");
    vd_device_close(g->managed);
    vd_context_destroy(g->context);
    munmap(g->ram, FILE_SIZE);
    close(g->fd);
    if (g->live)
        fail("memory left behind");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct guest guest = {0};
    struct fuzz_record r;

    if (!size)
        return 0;
    start(&guest, data[0]);
    for (data++, size--; size >= sizeof(r); data += sizeof(r), size -= sizeof(r)) {
        memcpy(&r, data, sizeof(r));
        run(&guest, &r);
    }
    finish(&guest);
    return 0;
}
