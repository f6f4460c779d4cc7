/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes the seed corpus of one fuzz target: `fuzz_seeds TARGET DIRECTORY`. The same bytes every time; they come from the
 * protocol's own layouts, so they cannot go stale unnoticed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec.h"
#include "fuzz_dispatch.h"
#include "proto/apple_dma.h"

static const char *directory;
static unsigned files;
static uint8_t row[4096];
static size_t used;

static void write_row(void)
{
    char path[4096];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%03u", directory, files++);
    file = fopen(path, "wb");
    if (!file || fwrite(row, 1, used, file) != used || fclose(file)) {
        perror(path);
        exit(1);
    }
    used = 0;
}

static void add(const void *bytes, size_t size)
{
    if (size)
        memcpy(row + used, bytes, size);
    used += size;
}

static void record(uint8_t nr_fds, uint8_t command, const void *payload, uint8_t size)
{
    const struct fuzz_record r = {nr_fds, command, 0, 1, size};

    add(&r, sizeof(r));
    add(payload, size);
}

static void version(void)
{
    static const char data[] = "\0\0\0\0{\"capabilities\":{\"max_msg_fds\":16,\"write_multiple\":true,"
                               "\"twin_socket\":{\"supported\":true}}}";

    record(0, VFIO_USER_VERSION, data, sizeof(data));
}

static void map(uint64_t address, uint64_t size, uint8_t nr_fds)
{
    const struct vfio_user_dma_map m = {vd_put32(32), vd_put32(3), vd_put64(0), vd_put64(address),
                                        vd_put64(size)};

    record(nr_fds, VFIO_USER_DMA_MAP, &m, sizeof(m));
}

static void write_region(uint32_t region, uint64_t offset, uint64_t value, uint32_t count)
{
    struct {
        struct vfio_user_region_access access;
        vd_le64 value;
    } m = {{vd_put64(offset), vd_put32(region), vd_put32(count)}, vd_put64(value)};

    record(0, VFIO_USER_REGION_WRITE, &m, (uint8_t)(sizeof(m.access) + count));
}

static void four(uint8_t command, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    const vd_le32 m[] = {vd_put32(a), vd_put32(b), vd_put32(c), vd_put32(d)};

    record(0, command, m, sizeof(m));
}

static void irqs(uint8_t nr_fds, uint32_t flags, uint32_t index, uint32_t start, uint32_t count)
{
    const struct vfio_user_irq_set m = {vd_put32(20), vd_put32(flags), vd_put32(index), vd_put32(start),
                                        vd_put32(count)};

    record(nr_fds, VFIO_USER_DEVICE_SET_IRQS, &m, sizeof(m));
}

static void seed_dispatch(void)
{
    const struct vfio_user_dma_unmap unmap = {vd_put32(24), vd_put32(0), vd_put64(0x100000),
                                              vd_put64(0x100000)};
    const struct vfio_user_region_info region = {.argsz = vd_put32(256), .index = vd_put32(2)};
    const struct vfio_user_feature feature = {vd_put32(16), vd_put32(0x10001)};

    version();
    write_row();
    version();
    four(VFIO_USER_DEVICE_GET_INFO, 16, 0, 0, 0);
    record(0, VFIO_USER_DEVICE_GET_REGION_INFO, &region, sizeof(region));
    four(VFIO_USER_DEVICE_GET_REGION_IO_FDS, 16, 0, 0, 0);
    four(VFIO_USER_DEVICE_GET_IRQ_INFO, 16, 0, 2, 0);
    record(0, VFIO_USER_DEVICE_FEATURE, &feature, sizeof(feature));
    write_row();
    version();
    map(0x100000, 0x100000, 1);
    map(0x400000, 0x1000, 0);
    record(0, VFIO_USER_DMA_UNMAP, &unmap, sizeof(unmap));
    record(0, VFIO_USER_DEVICE_RESET, NULL, 0);
    write_row();
    version();
    irqs(2, 0x24, 2, 0, 2);
    irqs(0, 0x21, 2, 0, 1);
    irqs(0, 0x24, 2, 0, 2);
    irqs(1, 0x14, 0, 0, 1);
    irqs(0, 0x21, 2, 0, 0);
    write_row();
    /* A copy by the device, memory with and without a descriptor. */
    for (uint8_t nr_fds = 0; nr_fds < 2; nr_fds++) {
        version();
        map(0x100000, 0x100000, nr_fds);
        write_region(7, 4, 6, 2);
        write_region(0, 0x40, 0x100000, 8);
        write_region(0, 0x48, 0x180000, 8);
        write_region(0, 0x50, 0x2000, 8);
        write_region(0, 0x60, 9, 4);
        four(VFIO_USER_REGION_READ, 0x64, 0, 0, 4);
        write_row();
    }
}

static void segment(const void *bytes, uint8_t size, uint8_t fds)
{
    const uint8_t head[] = {size, fds};

    add(head, sizeof(head));
    add(bytes, size);
}

static void seed_stream(void)
{
    uint8_t message[64];

    vd_header_put(message, 1, 9, 16, 0, 0);
    segment(message, 32, 0);
    segment(message, 32, 0xe1);
    write_row();
    segment(message, 16, 0xe2);
    segment(message + 16, 16, 0);
    segment(message, 10, 0);
    segment(message + 10, 22, 0xe3);
    write_row();
}

/* A record of fuzz_link.c: flags (a kind, 32 with a descriptor, 64 unasked), a size, a status, the payload. */
static void answer(uint8_t flags, const void *payload, uint8_t size)
{
    const uint8_t head[] = {flags, size, 0};

    add(head, sizeof(head));
    add(payload, size);
}

static void seed_link(void)
{
    static const vd_le32 complete[] = {{{15}}, {{0}}}, results[] = {{{1}}, {{4}}, {{7}}, {{0}}, {{9}}};
    static const vd_le64 layout[] = {{{0}}, {{0, 16}}}, nothing[] = {{{0}}};

    for (unsigned rounds = 1; rounds < 4; rounds++) {
        answer(0, NULL, 0);
        answer(0, NULL, 0);
        for (unsigned i = 0; i < rounds; i++) {
            answer(6 + 64, complete, sizeof(complete));
            answer(0, results, sizeof(results));
            answer(32, layout, sizeof(layout));
            if (i == 0)
                answer(0, NULL, 0);
            answer(0, nothing, sizeof(nothing));
        }
        write_row();
    }
}

/* A record of fuzz_config.c and fuzz_companion.c: what, an argument, an offset, a value. */
static void step(uint8_t what, uint8_t arg, uint16_t offset, uint32_t value)
{
    const struct {
        uint8_t what, arg;
        vd_le16 offset;
        vd_le32 value;
    } r = {what, arg, vd_put16(offset), vd_put32(value)};

    add(&r, sizeof(r));
}

/* Config space with a list of each kind, some of it damaged, then accesses of what a guest would like to change. */
static void seed_config(void)
{
    static const uint32_t lists[][3] = {
        {0x04, 0x00100007, 0},          {0x34, 0x00000040, 0},           {0x40, 0x00035001, 0},
        {0x50, 0x01806805, 0},          {0x68, 0x0002a010, 0},           {0x6c, 0x10008021, 0},
        {0xa0, 0x000fac11, 0},          {0xa4, 0x00002000, 0x00000007},  {0xa8, 0x00003000, 0},
        {0xac, 0x00100009, 0x00105009}, {0x100, 0x11010015, 0},          {0x110, 0x14010001, 0},
        {0x140, 0x1801000f, 0},         {0x180, 0x0001000b, 0x1001000b}, {0x184, 0x01000001, 0},
    };

    for (unsigned damage = 0; damage < 4; damage++) {
        for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
            step(0, 0, (uint16_t)lists[i][0], lists[i][2] && damage == 1 + i % 3 ? lists[i][2] : lists[i][1]);
        for (unsigned at = 0; at < 0x1a0; at += 4)
            step(2, 3, (uint16_t)at, at % 8 ? 0xffffffff : 0x00008006);
        step(2, 0, 0x71, 0x80);
        step(3, 7, 0x100, 0);
        step(4, 0, 0, 0);
        write_row();
    }
}

/* Steps of fuzz_companion.c: memory at 0x10000 by byte offset, and registers. */
static void ram(uint16_t at, const void *bytes, size_t size)
{
    for (size_t i = 0; i + 4 <= size; i += 4)
        step(0, 0, (uint16_t)((at + i) / 4), vd_load32((const uint8_t *)bytes + i));
}

static void companion_register(unsigned at, uint32_t value)
{
    step(1, 0, (uint16_t)(at / 4), value);
}

enum {
    COMPANION_IN = 0x1000,
    COMPANION_OUT = 0x4000,
    COMPANION_UNMAPS = 0x2000,
    COMPANION_UNMAPPED = 0x3000
};

static void companion_batch(uint32_t type, uint32_t count, uint32_t unmaps)
{
    const struct vd_apple_dma_wide_command command = {
        .base = {.type = vd_put32(type),
                 .count = vd_put32(count),
                 .requests = vd_put64(0x10000 + COMPANION_IN),
                 .responses = vd_put64(0x10000 + COMPANION_OUT)},
        .segments = vd_put32(4),
        .unmap_count = vd_put32(unmaps),
        .unmap_requests = vd_put64(0x10000 + COMPANION_UNMAPS),
        .unmap_responses = vd_put64(0x10000 + COMPANION_UNMAPPED)};

    ram(0, &command, sizeof(command) - 16);
    companion_register(VD_APPLE_DMA_REG_DOORBELL, 1);
}

/* Each layout on each kind of host: map, unmap by id and by range, exchange, and everything that takes mappings away. */
static void seed_companion(void)
{
    for (uint8_t how = 0; how < 4; how++) {
        bool wide = how & 2;

        add(&how, 1);
        for (uint16_t i = 0; i < 4; i++) {
            const struct vd_apple_dma_map narrow = {vd_put64(0x100000 + i * 0x8000u), vd_put32(0x5000),
                                                    vd_put32(0)};
            const struct vd_apple_dma_wide_map map = {vd_put64(0x100000 + i * 0x8000u), vd_put64(0x5000),
                                                      vd_put32(i), vd_put32(0),
                                                      vd_put64(i ? 0x4000u << i : 0)};
            const struct vd_apple_dma_unmap unmap = {vd_put64((1ull << 63) + i + 1), vd_put64(0)};

            if (wide)
                ram((uint16_t)(COMPANION_IN + i * sizeof(map)), &map, sizeof(map));
            else
                ram((uint16_t)(COMPANION_IN + i * sizeof(narrow)), &narrow, sizeof(narrow));
            ram((uint16_t)(COMPANION_UNMAPS + i * sizeof(unmap)), &unmap, sizeof(unmap));
        }
        companion_batch(VD_APPLE_DMA_MAP, 4, 0);
        step(3, 2, 0, 0); /* the memory goes, and comes back */
        step(3, 3, 0, 0);
        companion_batch(wide ? VD_APPLE_DMA_EXCHANGE : VD_APPLE_DMA_MAP, 4, wide ? 4 : 0);
        companion_batch(wide ? VD_APPLE_DMA_UNMAP_WITHIN : VD_APPLE_DMA_UNMAP, 2, 0);
        for (uint8_t event = 0; event < 4; event++) {
            step(4, event, 0, 0);
            companion_register(VD_APPLE_DMA_REG_CMD_GPA_LO, 0x10000);
            companion_register(VD_APPLE_DMA_REG_DRIVER_FEATURES, wide ? 15 : 0);
            companion_batch(VD_APPLE_DMA_MAP, 4, 0);
        }
        companion_register(VD_APPLE_DMA_REG_CONTROL, 1);
        write_row();
    }
}

static void seed_text(const char *const *texts, bool with_nul)
{
    for (; *texts; texts++) {
        add(*texts, strlen(*texts) + with_nul);
        write_row();
    }
}

int main(int argc, char **argv)
{
    static const char *const versions[] = {
        "{}",
        "{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":1048576,\"pgsizes\":4096,\"max_dma_"
        "maps\":1}}",
        "{\"capabilities\":{\"twin_socket\":{\"supported\":true,\"fd_index\":0},\"write_multiple\":false}}",
        NULL};
    static const char *const options[] = {"",
                                          "iommu=assigned,aperture=64M,mappings=512,seed=7",
                                          "vectors=4,irq=msi",
                                          "image=a,,b,sector=4096",
                                          "granule=0x4000,segments=3",
                                          "apple:01:00.0",
                                          "0000:01:00.0",
                                          NULL};

    if (argc != 3)
        return 2;
    directory = argv[2];
    if (strcmp(argv[1], "dispatch") == 0)
        seed_dispatch();
    else if (strcmp(argv[1], "stream") == 0)
        seed_stream();
    else if (strcmp(argv[1], "link") == 0)
        seed_link();
    else if (strcmp(argv[1], "config") == 0)
        seed_config();
    else if (strcmp(argv[1], "companion") == 0)
        seed_companion();
    else
        seed_text(strcmp(argv[1], "version") == 0 ? versions : options, strcmp(argv[1], "version") == 0);
    return 0;
}
