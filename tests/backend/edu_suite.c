/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the NVMe disk cannot show, on the test endpoint: BARs that are mapped, a hole in one that traps, the option ROM,
 * copies between mappings at bus addresses of either kind, and each kind of interrupt. Public API; sim/edu.h is the
 * device's manual. Run with a configuration's name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <viaduct/context.h>
#include <viaduct/device.h>
#include <viaduct/dma.h>
#include <viaduct/irq.h>
#include <viaduct/notifier.h>
#include <viaduct/region.h>

#include "arena.h"
#include "dextd.h"
#include "base/le.h"
#include "sim/edu.h"

enum { MEMORY = VD_REGION_BAR0 + EDU_MEMORY_BAR, BUFFER = 1 << 20, SILENCE_MS = 20000, SEGMENTS = 16 };

struct configuration {
    const char *name, *address;
    unsigned irq;      /* enum vd_irq_index */
    const char *dextd; /* the device is "01:00.0=<this>" of a viaduct-dextd of its own; address is not used */
};

static const struct configuration configurations[] = {
    {"chosen", "sim:edu", VD_IRQ_MSIX},
    {"assigned", "sim:edu,iommu=assigned,aperture=64M,mappings=512,seed=5", VD_IRQ_MSIX},
    {"segments", "sim:edu,iommu=assigned,segments=8,seed=9", VD_IRQ_MSIX},
    {"msi", "sim:edu,irq=msi", VD_IRQ_MSI},
    {"intx", "sim:edu,irq=intx", VD_IRQ_INTX},
    {"apple", NULL, VD_IRQ_MSIX, "sim:edu,window=off,vectors=256"},
    {"apple-segments", NULL, VD_IRQ_MSIX, "sim:edu,window=off,segments=8,seed=9"},
    {"apple-trapped", NULL, VD_IRQ_MSIX, "sim:edu"},
    {"apple-msi", NULL, VD_IRQ_MSI, "sim:edu,irq=msi,window=off"},
};

struct bench {
    struct vd_context *context;
    struct vd_device *device;
    struct vd_region_info memory;
    uint8_t *buffer;
    int buffer_fd;
    struct vd_dma_mapping *mapping;
    struct vd_dma_segment segments[SEGMENTS];
    uint32_t nr_segments;
    struct dextd dextd;
};

static void bench_open(struct bench *bench, void **state)
{
    static const uint8_t command[2] = {6, 0}; /* memory space, bus master */
    const struct configuration *configuration = *state;
    char address[160];
    struct vd_error error;

    memset(bench, 0, sizeof(*bench));
    assert_int_equal(vd_context_create(NULL, &bench->context), 0);
    if (configuration->dextd)
        dextd_start_one(&bench->dextd, configuration->dextd, address, sizeof(address));
    else
        snprintf(address, sizeof(address), "%s", configuration->address);
    if (vd_device_open(bench->context, address, &bench->device, &error))
        fail_msg("%s", error.message);
    assert_int_equal(vd_region_info(bench->device, MEMORY, &bench->memory), 0);
    assert_int_equal(vd_region_write(bench->device, VD_REGION_CONFIG, 4, command, 2), 0);
}

static void bench_map(struct bench *bench)
{
    struct vd_dma_file file = {-1, 0};
    struct vd_dma_map map = {.size = BUFFER,
                             .file = &file,
                             .access = VD_ACCESS_READ | VD_ACCESS_WRITE,
                             .iova = {vd_dma_info(bench->device)->first.value + (UINT64_C(5) << 32)},
                             .segments = bench->segments,
                             .max_segments = SEGMENTS};

    bench->buffer = arena_create(BUFFER, &bench->buffer_fd);
    assert_non_null(bench->buffer);
    map.host = bench->buffer;
    file.fd = bench->buffer_fd;
    assert_int_equal(vd_dma_map(bench->device, &map, 1), 0);
    bench->mapping = map.mapping;
    bench->nr_segments = map.nr_segments;
}

static void bench_close(struct bench *bench)
{
    vd_device_close(bench->device);
    vd_context_destroy(bench->context);
    dextd_stop(&bench->dextd);
    arena_destroy(bench->buffer, BUFFER, bench->buffer_fd);
}

static uint64_t get(struct bench *bench, uint64_t offset, size_t width)
{
    uint8_t bytes[8] = {0};

    assert_int_equal(vd_region_read(bench->device, EDU_REGISTERS_BAR, offset, bytes, width), 0);
    return vd_load64(bytes);
}

static void set(struct bench *bench, uint64_t offset, uint64_t value, size_t width)
{
    uint8_t bytes[8];

    vd_store64(bytes, value);
    assert_int_equal(vd_region_write(bench->device, EDU_REGISTERS_BAR, offset, bytes, width), 0);
}

/* Until a copy is over; a device in another process runs by itself, any other when it is dispatched. */
static void run(struct bench *bench)
{
    for (unsigned i = 0; i < 1000000; i++) {
        while (vd_device_dispatch(bench->device, false))
            ;
        if (!(get(bench, EDU_STATUS, 4) & EDU_BUSY))
            return;
    }
    fail_msg("the copy does not end");
}

static bool in_areas(const struct vd_region_info *info, uint64_t offset)
{
    for (uint32_t i = 0; i < info->nr_areas; i++) {
        if (offset >= info->areas[i].offset && offset - info->areas[i].offset < info->areas[i].size)
            return true;
    }
    return false;
}

static void areas_are_pages_inside_the_region_in_order(void **state)
{
    struct bench bench;
    uint64_t end = 0, page = (uint64_t)sysconf(_SC_PAGESIZE);

    bench_open(&bench, state);
    if (get(&bench, EDU_WINDOW_SIZE, 8) == 0) {
        assert_int_equal(bench.memory.nr_areas, 1);
        assert_int_equal(bench.memory.areas[0].size, bench.memory.size);
    } else if (((const struct configuration *)*state)->dextd) {
        assert_int_equal(bench.memory.nr_areas, 0); /* an extension maps whole BARs or none */
    } else {
        assert_true(bench.memory.nr_areas >= 2); /* there is a hole */
    }
    assert_int_equal(!!(bench.memory.flags & VD_REGION_MMAP), bench.memory.nr_areas != 0);
    assert_int_equal(!!(bench.memory.flags & VD_REGION_LOCAL), bench.memory.nr_areas != 0);
    for (uint32_t i = 0; i < bench.memory.nr_areas; i++) {
        const struct vd_region_area *area = &bench.memory.areas[i];

        assert_true(area->offset >= end && area->size > 0);
        assert_int_equal(area->offset % page, 0);
        assert_int_equal(area->size % page, 0);
        end = area->offset + area->size;
    }
    assert_true(end <= bench.memory.size);
    bench_close(&bench);
}

/* What one view writes the other reads, in an area's first and last page. */
static void compare_views(struct bench *bench, const struct vd_region_area *area, uint8_t *map, unsigned seed)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), places[2] = {0, area->size - page};

    for (size_t p = 0; p < 2; p++) {
        uint8_t bytes[64], other[64];

        memset(bytes, (int)(0x40 + seed * 2 + p), sizeof(bytes));
        memcpy(map + places[p] + 8, bytes, sizeof(bytes));
        assert_int_equal(
            vd_region_read(bench->device, MEMORY, area->offset + places[p] + 8, other, sizeof(other)), 0);
        assert_memory_equal(bytes, other, sizeof(bytes));
        memset(bytes, (int)(0x80 + seed * 2 + p), sizeof(bytes));
        assert_int_equal(
            vd_region_write(bench->device, MEMORY, area->offset + places[p] + 200, bytes, sizeof(bytes)), 0);
        assert_memory_equal(map + places[p] + 200, bytes, sizeof(bytes));
    }
}

static void mapped_areas_and_region_accesses_are_the_same_memory(void **state)
{
    struct bench bench;
    uint64_t base;
    int fd;

    bench_open(&bench, state);
    fd = vd_region_fd(bench.device, MEMORY, &base);
    assert_int_equal(fd >= 0, bench.memory.nr_areas != 0);
    for (uint32_t i = 0; i < bench.memory.nr_areas; i++) {
        const struct vd_region_area *area = &bench.memory.areas[i];
        uint8_t *map =
            mmap(NULL, area->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(base + area->offset));
        void *own;

        assert_true(map != MAP_FAILED);
        compare_views(&bench, area, map, 2 * i);
        munmap(map, area->size);
        assert_int_equal(vd_region_map(bench.device, MEMORY, area->offset, area->size, &own), 0);
        compare_views(&bench, area, own, 2 * i + 1);
        vd_region_unmap(bench.device, MEMORY, own, area->size);
    }
    bench_close(&bench);
}

static void the_hole_between_areas_traps_to_registers(void **state)
{
    struct bench bench;
    uint64_t hole, before;
    uint8_t bytes[4];

    bench_open(&bench, state);
    hole = get(&bench, EDU_WINDOW_OFFSET, 8);
    if (hole == bench.memory.size) { /* there is none */
        bench_close(&bench);
        return;
    }
    assert_false(in_areas(&bench.memory, hole));
    before = get(&bench, EDU_WINDOW_ACCESSES, 8);
    assert_int_equal(vd_region_read(bench.device, MEMORY, hole + EDU_ID, bytes, 4), 0);
    assert_int_equal(vd_load32(bytes), EDU_ID_VALUE);
    assert_int_equal(get(&bench, EDU_WINDOW_ACCESSES, 8), before + 1);
    bench_close(&bench);
}

static void regions_without_areas_have_no_descriptor(void **state)
{
    struct bench bench;
    uint64_t offset;

    bench_open(&bench, state);
    assert_int_equal(vd_region_fd(bench.device, EDU_REGISTERS_BAR, &offset), -ENOTSUP);
    assert_int_equal(vd_region_fd(bench.device, VD_REGION_CONFIG, &offset), -ENOTSUP);
    assert_int_equal(vd_region_fd(bench.device, VD_REGION_COUNT, &offset), -EINVAL);
    bench_close(&bench);
}

static void the_option_rom_begins_with_its_signature(void **state)
{
    struct bench bench;
    struct vd_region_info rom;
    uint8_t bytes[2];

    bench_open(&bench, state);
    assert_int_equal(vd_region_info(bench.device, VD_REGION_ROM, &rom), 0);
    assert_int_equal(rom.size, EDU_ROM_SIZE);
    assert_int_equal(vd_region_read(bench.device, VD_REGION_ROM, 0, bytes, 2), 0);
    assert_int_equal(vd_load16(bytes), 0xaa55); /* PCI Firmware 5.2 */
    assert_int_equal(vd_region_write(bench.device, VD_REGION_ROM, 0, bytes, 2), -EACCES);
    bench_close(&bench);
}

/* Copies `size` bytes; source and destination as the control bits say. */
static uint32_t copy(struct bench *bench, uint64_t source, uint64_t destination, uint64_t size,
                     uint32_t control)
{
    set(bench, EDU_SOURCE, source, 8);
    set(bench, EDU_DESTINATION, destination, 8);
    set(bench, EDU_LENGTH, size, 8);
    set(bench, EDU_CONTROL, EDU_START | control, 4);
    run(bench);
    return (uint32_t)get(bench, EDU_STATUS, 4);
}

static void each_segment_carries_the_bytes_of_its_part(void **state)
{
    struct bench bench;
    uint64_t offset = 0;

    bench_open(&bench, state);
    bench_map(&bench);
    for (uint64_t i = 0; i < BUFFER; i++)
        bench.buffer[i] = (uint8_t)(i ^ i >> 11);
    for (uint32_t i = 0; i < bench.nr_segments; i++) {
        uint64_t size = bench.segments[i].size;

        assert_int_equal(copy(&bench, bench.segments[i].iova.value, offset, size, EDU_TO_MEMORY), EDU_DONE);
        offset += size;
    }
    assert_int_equal(offset, BUFFER);
    memset(bench.buffer, 0, BUFFER);
    offset = 0;
    for (uint32_t i = 0; i < bench.nr_segments; i++) {
        uint64_t size = bench.segments[i].size;

        assert_int_equal(copy(&bench, offset, bench.segments[i].iova.value, size, EDU_FROM_MEMORY), EDU_DONE);
        offset += size;
    }
    for (uint64_t i = 0; i < BUFFER; i++) {
        if (bench.buffer[i] != (uint8_t)(i ^ i >> 11))
            fail_msg("byte %llu is wrong", (unsigned long long)i);
    }
    bench_close(&bench);
}

static void copies_outside_the_mapping_are_refused_and_counted(void **state)
{
    struct bench bench;
    struct vd_device_stats stats;
    uint64_t start;

    bench_open(&bench, state);
    bench_map(&bench);
    start = bench.segments[0].iova.value;
    assert_int_equal(copy(&bench, 0, 0x1000, 8, EDU_FROM_MEMORY), EDU_FAILED);
    assert_int_equal(get(&bench, EDU_ERROR, 4), EDU_ERROR_WRITE);
    vd_dma_unmap(bench.device, &bench.mapping, 1);
    memset(bench.buffer, 0x5a, 64);
    assert_int_equal(copy(&bench, 0, start, 64, EDU_FROM_MEMORY), EDU_FAILED);
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(bench.buffer[i], 0x5a);
    vd_device_stats(bench.device, &stats);
    assert_true(stats.dma_faults >= 2);
    bench_close(&bench);
}

static bool wait_for(struct bench *bench, const struct vd_notifier *notifier)
{
    struct pollfd fds[] = {{.fd = notifier->read_fd, .events = POLLIN},
                           {.fd = vd_device_poll_fd(bench->device), .events = POLLIN}};

    while (!vd_notifier_drain(notifier)) {
        if (vd_device_dispatch(bench->device, true))
            continue;
        if (vd_notifier_drain(notifier))
            return true;
        if (poll(fds, 2, SILENCE_MS) <= 0)
            return false;
    }
    return true;
}

static void every_vector_reaches_its_notifier(void **state)
{
    const struct configuration *configuration = *state;
    struct vd_irq_info info;
    struct bench bench;

    bench_open(&bench, state);
    assert_int_equal(vd_irq_info(bench.device, configuration->irq, &info), 0);
    assert_true(info.count >= 1);
    for (uint32_t vector = 0; vector < info.count; vector++) {
        struct vd_notifier notifier;
        int fd;

        assert_int_equal(vd_notifier_init(&notifier, VD_NOTIFIER_PIPE), 0);
        fd = notifier.write_fd;
        assert_int_equal(vd_irq_route(bench.device, configuration->irq, vector, 1, &fd), 0);
        notifier.write_fd = -1;
        assert_false(vd_notifier_drain(&notifier));
        set(&bench, EDU_RAISE, vector, 4);
        run(&bench);
        assert_true(wait_for(&bench, &notifier));
        assert_int_equal(vd_irq_signals(bench.device, configuration->irq, vector), 1);
        vd_notifier_finish(&notifier);
    }
    bench_close(&bench);
}

static void reset_clears_the_memory_and_the_registers(void **state)
{
    struct bench bench;
    uint8_t byte = 0x77;

    bench_open(&bench, state);
    set(&bench, EDU_SCRATCH, 123, 8);
    assert_int_equal(vd_region_write(bench.device, MEMORY, 100, &byte, 1), 0);
    assert_int_equal(vd_device_reset(bench.device), 0);
    assert_int_equal(get(&bench, EDU_SCRATCH, 8), 0);
    assert_int_equal(get(&bench, EDU_RESETS, 8), 1);
    assert_int_equal(vd_region_read(bench.device, MEMORY, 100, &byte, 1), 0);
    assert_int_equal(byte, 0);
    bench_close(&bench);
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof(configurations) / sizeof(configurations[0]); i++) {
        void *state = (void *)(uintptr_t)&configurations[i];
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_prestate(areas_are_pages_inside_the_region_in_order, state),
            cmocka_unit_test_prestate(mapped_areas_and_region_accesses_are_the_same_memory, state),
            cmocka_unit_test_prestate(the_hole_between_areas_traps_to_registers, state),
            cmocka_unit_test_prestate(regions_without_areas_have_no_descriptor, state),
            cmocka_unit_test_prestate(the_option_rom_begins_with_its_signature, state),
            cmocka_unit_test_prestate(each_segment_carries_the_bytes_of_its_part, state),
            cmocka_unit_test_prestate(copies_outside_the_mapping_are_refused_and_counted, state),
            cmocka_unit_test_prestate(every_vector_reaches_its_notifier, state),
            cmocka_unit_test_prestate(reset_clears_the_memory_and_the_registers, state),
        };

        if (strcmp(configurations[i].name, argv[1]) == 0)
            return cmocka_run_group_tests_name(argv[1], tests, NULL, NULL);
    }
    fprintf(stderr, "usage: %s CONFIGURATION\n", argv[0]);
    return 2;
}
