/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One suite for every back end: each row of `configurations` is a device of some host, and every test runs on every row.
 * What a host cannot do is looked up in what it declares, not in its name. Run with a configuration's name.
 */
#include "nvme_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "arena.h"
#include "base/le.h"

enum { WRITE = 1, READ = 2, TRANSFER_ERROR = 4, OPS = 1500, PCI_COMMAND = 4, COMMAND_MASTER = 4 };

static const struct configuration configurations[] = {
    {"chosen", "sim:nvme,size=16M", {EX_MSIX, .dbbuf = true}, false},
    {"assigned", "sim:nvme,size=16M,iommu=assigned", {EX_MSIX, .dbbuf = true}, false},
    {"assigned-small",
     "sim:nvme,size=16M,iommu=assigned,aperture=64M,mappings=512,seed=7,segments=4",
     {EX_MSIX, .dbbuf = true},
     false},
    {"sector-4096", "sim:nvme,size=16M,sector=4096", {EX_MSIX, .dbbuf = true}, false},
    {"msi", "sim:nvme,size=16M,irq=msi", {EX_MSI, .dbbuf = true}, false},
    {"intx", "sim:nvme,size=16M,irq=intx", {EX_INTX, .dbbuf = true}, false},
    {"intx-doorbells", "sim:nvme,size=16M,irq=intx,dbbuf=off", {EX_INTX, .dbbuf = false}, false},
    {"doorbells", "sim:nvme,size=16M,dbbuf=off", {EX_MSIX, .dbbuf = false}, false},
    {"polled", "sim:nvme,size=16M", {EX_POLL, .dbbuf = true}, false},
    {"remote", "sim:nvme,size=16M,dbbuf=off", {EX_MSIX, .dbbuf = false, .remote = true}, false},
    {"file", "sim:nvme", {EX_MSIX, .dbbuf = true}, true},
    {"file-assigned",
     "sim:nvme,iommu=assigned,aperture=64M,segments=3,seed=3",
     {EX_MSIX, .dbbuf = true},
     true},
    {"apple", NULL, {EX_MSIX, .dbbuf = true}, false, "sim:nvme,size=16M"},
    {"apple-small",
     NULL,
     {EX_MSIX, .dbbuf = true},
     false,
     "sim:nvme,size=16M,aperture=64M,mappings=512,seed=7,segments=4"},
    {"apple-msi", NULL, {EX_MSI, .dbbuf = false}, false, "sim:nvme,size=16M,irq=msi,dbbuf=off"},
    {"apple-polled", NULL, {EX_POLL, .dbbuf = true}, false, "sim:nvme,size=16M"},
    {"apple-file", NULL, {EX_MSIX, .dbbuf = true}, true, "sim:nvme,segments=3,seed=3"},
};

/* Waits, without a clock, for what a device in another process is about to do; fails after a while. */
static bool comes_true(struct bench *bench, bool (*condition)(struct bench *bench))
{
    for (unsigned i = 0; i < 2000; i++) {
        struct pollfd nothing = {.fd = -1};

        while (vd_device_dispatch(bench->device, false))
            ;
        if (condition(bench))
            return true;
        poll(&nothing, 1, bench->configuration->dextd ? 5 : 0);
    }
    return false;
}

static uint64_t faults(const struct bench *bench)
{
    struct vd_device_stats stats;

    vd_device_stats(bench->device, &stats);
    return stats.dma_faults;
}

static uint16_t command_register(const struct bench *bench)
{
    uint8_t bytes[2];

    assert_int_equal(vd_region_read(bench->device, VD_REGION_CONFIG, PCI_COMMAND, bytes, 2), 0);
    return vd_load16(bytes);
}

/* Makes the next reads wait for the disk, where there is one. */
static void forget_cache(const struct bench *bench)
{
    int fd;

    if (!bench->image[0])
        return;
    fd = open(bench->image, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(fsync(fd), 0);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

static void device_says_who_it_is(void **state)
{
    struct bench bench;
    const struct vd_device_info *info;
    struct vd_region_info bar;
    uint8_t config[64];

    bench_open(&bench, state);
    info = vd_device_info(bench.device);
    assert_string_equal(info->address, bench.address);
    assert_int_equal(info->class_code, 0x010802);
    assert_true(info->model[0]);
    assert_true(info->can_reset);
    assert_int_equal(vd_region_info(bench.device, VD_REGION_BAR0, &bar), 0);
    assert_true(bar.size >= 0x2000);
    assert_int_equal(bar.flags & (VD_REGION_READ | VD_REGION_WRITE), VD_REGION_READ | VD_REGION_WRITE);
    assert_int_equal(vd_region_read(bench.device, VD_REGION_CONFIG, 0, config, sizeof(config)), 0);
    assert_int_equal(vd_load16(config), info->vendor);
    assert_int_equal(vd_load16(config + 2), info->device);
    assert_int_equal(vd_load32(config + 8) >> 8, info->class_code);
    bench_close(&bench);
}

/* PCI 6.2.5.1: all ones written, the size is in the bits that stick. */
static void bar_sizing_gives_the_size_of_the_region(void **state)
{
    static const uint8_t ones[4] = {0xff, 0xff, 0xff, 0xff};
    struct bench bench;
    struct vd_region_info bar;
    uint8_t before[4], low[4], high[4] = {0xff, 0xff, 0xff, 0xff};
    uint64_t mask;

    bench_open(&bench, state);
    assert_int_equal(vd_region_info(bench.device, VD_REGION_BAR0, &bar), 0);
    assert_int_equal(vd_region_read(bench.device, VD_REGION_CONFIG, 0x10, before, 4), 0);
    assert_int_equal(vd_region_write(bench.device, VD_REGION_CONFIG, 0x10, ones, 4), 0);
    assert_int_equal(vd_region_read(bench.device, VD_REGION_CONFIG, 0x10, low, 4), 0);
    if (bar.flags & VD_REGION_64BIT) {
        assert_int_equal(vd_region_write(bench.device, VD_REGION_CONFIG, 0x14, ones, 4), 0);
        assert_int_equal(vd_region_read(bench.device, VD_REGION_CONFIG, 0x14, high, 4), 0);
    }
    mask = (vd_load32(low) & ~15u) | (uint64_t)vd_load32(high) << 32;
    assert_true(~mask + 1 == bar.size);
    assert_int_equal(!!(vd_load32(low) & 4), !!(bar.flags & VD_REGION_64BIT));
    assert_int_equal(vd_region_write(bench.device, VD_REGION_CONFIG, 0x10, before, 4), 0);
    bench_close(&bench);
}

static void random_io_matches_the_model(void **state)
{
    struct bench bench;

    bench_start(&bench, state);
    assert_int_equal(ex_random(&bench.ex, OPS), 0);
    assert_int_equal(ex_verify(&bench.ex), 0);
    assert_int_equal(faults(&bench), 0);
    if (bench.configuration->options.wait != EX_POLL)
        assert_true(bench.ex.interrupts > 0);
    assert_int_equal(ex_shutdown(&bench.ex), 0);
    bench_close(&bench);
}

static void no_memory_is_allocated_by_io(void **state)
{
    struct bench bench;
    size_t before;

    bench_start(&bench, state);
    assert_int_equal(ex_random(&bench.ex, 100), 0); /* a bounce buffer may be made once */
    before = bench.live;
    assert_int_equal(ex_random(&bench.ex, 200), 0);
    assert_int_equal(bench.live, before);
    bench_close(&bench);
}

/* Mapping until the host says no: which limit, nothing lost, and room again after unmapping. */
static void exhaust(struct bench *bench, uint64_t size, uint64_t most)
{
    struct vd_dma_mapping **mappings = calloc(most + 1, sizeof(struct vd_dma_mapping *));
    struct vd_dma_segment segments[16];
    struct vd_dma_usage before, usage;
    struct vd_dma_file file = {-1, 0};
    void *memory = arena_create(size, &file.fd);
    struct vd_dma_map map = {
        .size = size, .file = &file, .access = VD_ACCESS_READ, .segments = segments, .max_segments = 16};
    uint64_t count = 0;

    assert_non_null(mappings);
    assert_non_null(memory);
    map.host = memory;
    vd_dma_usage(bench->device, &before);
    for (; count <= most; count++) {
        map.iova.value = vd_dma_info(bench->device)->first.value + (UINT64_C(1) << 40) + count * size;
        if (vd_dma_map(bench->device, &map, 1))
            break;
        mappings[count] = map.mapping;
    }
    assert_in_range(count, 1, most);
    assert_int_equal(map.status, -ENOSPC);
    assert_null(map.mapping);
    vd_dma_usage(bench->device, &usage);
    assert_int_equal(usage.mappings, before.mappings + count);
    assert_int_equal(usage.bytes, before.bytes + count * size);
    assert_true(usage.bytes <= usage.quota_bytes && usage.mappings <= usage.quota_mappings);
    assert_int_equal(ex_random(&bench->ex, 50), 0);
    vd_dma_unmap(bench->device, &mappings[count / 2], 1);
    mappings[count / 2] = NULL;
    map.iova.value = vd_dma_info(bench->device)->first.value + (UINT64_C(1) << 41);
    assert_int_equal(vd_dma_map(bench->device, &map, 1), 0);
    mappings[count / 2] = map.mapping;
    vd_dma_unmap(bench->device, mappings, count);
    vd_dma_usage(bench->device, &usage);
    assert_int_equal(usage.mappings, before.mappings);
    assert_int_equal(usage.bytes, before.bytes);
    arena_destroy(memory, size, file.fd);
    free(mappings);
}

static void bytes_run_out_and_come_back(void **state)
{
    struct bench bench;
    const struct vd_dma_info *info;

    bench_start(&bench, state);
    info = vd_dma_info(bench.device);
    if (info->limit_bytes > 64 << 20)
        vd_dma_set_quota(bench.device, 64 << 20, UINT64_MAX);
    exhaust(&bench, 1 << 20, 64);
    assert_int_equal(ex_verify(&bench.ex), 0);
    bench_close(&bench);
}

static void mappings_run_out_and_come_back(void **state)
{
    struct bench bench;
    const struct vd_dma_info *info;

    bench_start(&bench, state);
    info = vd_dma_info(bench.device);
    if (info->limit_mappings > 512)
        vd_dma_set_quota(bench.device, UINT64_MAX, 512);
    exhaust(&bench, info->granule, 512);
    assert_int_equal(ex_verify(&bench.ex), 0);
    bench_close(&bench);
}

/* As many as fit in one call, in one call: what does not fit is refused entry by entry, and all of it comes back. */
static void a_batch_of_4096_is_mapped_as_far_as_it_fits(void **state)
{
    enum { COUNT = 4096 };
    static struct vd_dma_map maps[COUNT];
    static struct vd_dma_segment segments[COUNT][16];
    static struct vd_dma_mapping *mappings[COUNT];
    struct vd_dma_usage before, usage;
    struct vd_dma_file files[COUNT];
    struct bench bench;
    uint64_t granule, mapped = 0;
    uint8_t *memory;
    int fd;

    bench_start(&bench, state);
    granule = vd_dma_info(bench.device)->granule;
    memory = arena_create(COUNT * granule, &fd);
    assert_non_null(memory);
    vd_dma_usage(bench.device, &before);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            files[i] = (struct vd_dma_file){fd, i * granule};
            maps[i] = (struct vd_dma_map){
                .host = memory + i * granule,
                .file = &files[i],
                .size = granule,
                .access = VD_ACCESS_READ | VD_ACCESS_WRITE,
                .iova = {vd_dma_info(bench.device)->first.value + (UINT64_C(1) << 40) + i * granule},
                .segments = segments[i],
                .max_segments = 16};
        }
        mapped = 0;
        (void)vd_dma_map(bench.device, maps, COUNT);
        for (unsigned i = 0; i < COUNT; i++) {
            mappings[i] = maps[i].mapping;
            mapped += maps[i].status == 0;
            assert_true(maps[i].status == 0 || maps[i].status == -ENOSPC);
            assert_int_equal(!maps[i].mapping, maps[i].status != 0);
        }
        vd_dma_usage(bench.device, &usage);
        assert_int_equal(usage.mappings, before.mappings + mapped);
        assert_int_equal(usage.bytes, before.bytes + mapped * granule);
        assert_true(mapped == COUNT || usage.mappings == usage.quota_mappings ||
                    usage.quota_bytes - usage.bytes < granule);
        vd_dma_unmap(bench.device, mappings, COUNT);
        vd_dma_usage(bench.device, &usage);
        assert_int_equal(usage.mappings, before.mappings);
        assert_int_equal(ex_random(&bench.ex, 50), 0);
    }
    arena_destroy(memory, COUNT * granule, fd);
    bench_close(&bench);
}

static void unmapped_memory_is_refused_and_left_alone(void **state)
{
    struct bench bench;
    uint64_t data = ex_data_offset(), bus, before;
    unsigned chunk = (unsigned)(data / EX_CHUNK);
    uint16_t status;

    bench_start(&bench, state);
    bus = ex_bus(&bench.ex, data);
    ex_unmap_chunk(&bench.ex, chunk);
    before = faults(&bench);
    memset(bench.ex.arena + data, 0x5a, 4096);
    assert_int_equal(ex_raw(&bench.ex, READ, 0, 1, bus, 0, &status), 0);
    assert_int_equal(status, TRANSFER_ERROR);
    assert_true(faults(&bench) > before);
    for (unsigned i = 0; i < 4096; i++)
        assert_int_equal(bench.ex.arena[data + i], 0x5a);
    assert_int_equal(ex_map_chunk(&bench.ex, chunk), 0);
    assert_int_equal(ex_random(&bench.ex, 100), 0);
    bench_close(&bench);
}

static void addresses_never_mapped_are_refused_and_counted(void **state)
{
    static const uint64_t addresses[] = {0x1000, UINT64_C(1) << 62, UINT64_MAX - 4095};
    struct bench bench;
    uint16_t status;

    bench_start(&bench, state);
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        uint64_t before = faults(&bench);

        assert_int_equal(ex_raw(&bench.ex, WRITE, 0, 1, addresses[i], 0, &status), 0);
        assert_int_equal(status, TRANSFER_ERROR);
        assert_int_equal(ex_raw(&bench.ex, READ, 0, 1, addresses[i], 0, &status), 0);
        assert_int_equal(status, TRANSFER_ERROR);
        assert_int_equal(faults(&bench), before + 2);
    }
    assert_int_equal(ex_verify(&bench.ex), 0); /* nothing was written */
    bench_close(&bench);
}

/* The gap behind a mapping: a transfer that begins inside and runs over the end. */
static void transfers_over_the_end_of_a_mapping_are_refused(void **state)
{
    struct bench bench;
    uint64_t last = EX_ARENA - 4096;
    uint16_t status;
    unsigned chunk = EX_MAPPINGS - 1;

    bench_start(&bench, state);
    ex_unmap(&bench.ex);
    for (unsigned i = 0; i < chunk; i++)
        assert_int_equal(ex_map_chunk(&bench.ex, i), 0);
    assert_int_equal(ex_map_chunk(&bench.ex, chunk), 0);
    assert_int_equal(ex_bring_up(&bench.ex), 0);
    assert_int_equal(ex_raw(&bench.ex, WRITE, 0, 4096 / bench.ex.sector, ex_bus(&bench.ex, last), 0, &status),
                     0);
    assert_int_equal(status, 0);
    memset(bench.ex.arena + last, 0x5a, 4096);
    assert_int_equal(ex_raw(&bench.ex, READ, 0, 8192 / bench.ex.sector, ex_bus(&bench.ex, last), 0, &status),
                     0);
    assert_int_equal(status, TRANSFER_ERROR);
    bench_close(&bench);
}

static void unmap_in_flight_waits_for_the_device(void **state)
{
    struct bench bench;
    unsigned first = (unsigned)(ex_data_offset() / EX_CHUNK), failed;

    bench_start(&bench, state);
    for (unsigned round = 0; round < 10; round++) {
        forget_cache(&bench);
        assert_int_equal(ex_load(&bench.ex, true), 0);
        for (unsigned chunk = first; chunk < EX_MAPPINGS; chunk++)
            ex_unmap_chunk(&bench.ex, chunk);
        memset(bench.ex.arena + ex_data_offset(), 0x5a, EX_ARENA - ex_data_offset());
        assert_int_equal(ex_drain(&bench.ex, &failed), 0);
        for (uint64_t i = ex_data_offset(); i < EX_ARENA; i++) {
            if (bench.ex.arena[i] != 0x5a)
                fail_msg("byte %llu was written after the unmap", (unsigned long long)i);
        }
        for (unsigned chunk = first; chunk < EX_MAPPINGS; chunk++)
            assert_int_equal(ex_map_chunk(&bench.ex, chunk), 0);
    }
    assert_int_equal(ex_random(&bench.ex, 100), 0);
    bench_close(&bench);
}

static void reset_under_load_keeps_mappings_and_routes(void **state)
{
    struct bench bench;
    struct vd_dma_usage before, after;

    bench_start(&bench, state);
    vd_dma_usage(bench.device, &before);
    for (unsigned round = 0; round < 10; round++) {
        forget_cache(&bench);
        assert_int_equal(ex_load(&bench.ex, false), 0);
        assert_int_equal(vd_device_reset(bench.device), 0);
        assert_int_equal(ex_bring_up(&bench.ex), 0);
        assert_int_equal(ex_learn(&bench.ex), 0);
        assert_int_equal(ex_random(&bench.ex, 50), 0);
    }
    vd_dma_usage(bench.device, &after);
    assert_int_equal(after.mappings, before.mappings);
    assert_int_equal(ex_verify(&bench.ex), 0);
    bench_close(&bench);
}

/* The PCI Express capability (PCIe 7.5.3), or 0. */
static uint8_t find_pcie(const struct bench *bench)
{
    uint8_t at = 0x34, next = 0, header[2];

    assert_int_equal(vd_region_read(bench->device, VD_REGION_CONFIG, at, &next, 1), 0);
    for (unsigned i = 0; i < 48 && next; i++) {
        assert_int_equal(vd_region_read(bench->device, VD_REGION_CONFIG, next, header, 2), 0);
        if (header[0] == 0x10)
            return next;
        next = header[1];
    }
    return 0;
}

static void flr_under_load_leaves_a_fresh_device(void **state)
{
    struct bench bench;
    uint8_t pcie, control[2];
    uint32_t cc;

    bench_start(&bench, state);
    pcie = find_pcie(&bench);
    assert_true(pcie != 0);
    for (unsigned round = 0; round < 10; round++) {
        forget_cache(&bench);
        assert_int_equal(ex_load(&bench.ex, false), 0);
        assert_int_equal(vd_region_read(bench.device, VD_REGION_CONFIG, pcie + 8u, control, 2), 0);
        control[1] |= 0x80; /* Initiate Function Level Reset, PCIe 7.5.3.4 */
        assert_int_equal(vd_region_write(bench.device, VD_REGION_CONFIG, pcie + 8u, control, 2), 0);
        assert_int_equal(command_register(&bench) & COMMAND_MASTER, 0);
        assert_int_equal(ex_read32(&bench.ex, 0x14, &cc), 0);
        assert_int_equal(cc, 0);
        assert_int_equal(ex_bring_up(&bench.ex), 0);
        assert_int_equal(ex_learn(&bench.ex), 0);
        assert_int_equal(ex_random(&bench.ex, 50), 0);
    }
    bench_close(&bench);
}

/* CSTS.CFS: it cannot reach its queues. */
static bool is_fatal(struct bench *bench)
{
    uint32_t csts;

    assert_int_equal(ex_read32(&bench->ex, 0x1c, &csts), 0);
    return csts & 2;
}

static void mastering_off_stops_dma(void **state)
{
    static const uint8_t off[2] = {2, 0};
    struct bench bench;
    uint64_t before;

    bench_start(&bench, state);
    before = faults(&bench); /* a device in another process may run into it at once */
    assert_int_equal(vd_region_write(bench.device, VD_REGION_CONFIG, PCI_COMMAND, off, 2), 0);
    memset(bench.ex.arena + ex_data_offset(), 0x5a, EX_ARENA - ex_data_offset());
    (void)ex_load(&bench.ex, true);
    assert_true(comes_true(&bench, is_fatal));
    assert_true(faults(&bench) > before);
    assert_int_equal(vd_device_reset(bench.device), 0);
    assert_int_equal(ex_bring_up(&bench.ex), 0);
    assert_int_equal(ex_random(&bench.ex, 50), 0);
    bench_close(&bench);
}

static void quiesce_makes_room_for_the_next_user(void **state)
{
    struct bench bench;
    struct vd_dma_usage usage;
    struct exerciser *ex = &bench.ex;

    bench_start(&bench, state);
    for (unsigned user = 0; user < 3; user++) {
        forget_cache(&bench);
        assert_int_equal(ex_load(ex, false), 0);
        vd_device_quiesce(bench.device);
        vd_dma_usage(bench.device, &usage);
        assert_int_equal(usage.mappings, 0);
        assert_int_equal(usage.bytes, 0);
        assert_int_equal(command_register(&bench) & COMMAND_MASTER, 0);
        memset(ex->mappings, 0, sizeof(ex->mappings)); /* released by the device */
        ex_finish(ex);
        assert_int_equal(ex_start(ex, bench.device, &bench.configuration->options), 0);
        ex->next_stamp = (user + 1) * 1000000; /* above what the last user wrote */
        assert_int_equal(ex_learn(ex), 0);
        assert_int_equal(ex_random(ex, 100), 0);
    }
    bench_close(&bench);
}

static void closing_releases_what_is_left(void **state)
{
    struct bench bench;

    bench_start(&bench, state);
    assert_int_equal(ex_load(&bench.ex, false), 0);
    vd_device_close(bench.device);
    bench.device = bench.ex.device = NULL;
    bench_close(&bench);
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Open, map, route, I/O, close: 0 or the first error; everything is released either way. */
static int happy_path(struct bench *bench)
{
    struct vd_error text;
    int error = vd_device_open(bench->context, bench->address, &bench->device, &text);

    if (error) {
        assert_null(bench->device);
        assert_int_equal(text.code, error);
        assert_true(text.message[0]);
        return error;
    }
    error = ex_start(&bench->ex, bench->device, &bench->configuration->options);
    if (!error)
        error = ex_random(&bench->ex, 20);
    if (bench->ex.arena)
        ex_finish(&bench->ex);
    vd_device_close(bench->device);
    bench->device = NULL;
    return error;
}

static void every_failing_step_is_an_error_and_leaks_nothing(void **state)
{
    struct bench bench;
    unsigned descriptors, failures = 0;
    size_t live;

    bench_prepare(&bench, state);
    descriptors = open_descriptors();
    live = bench.live;
    for (uint64_t n = 1;; n++) {
        int error;

        assert_true(n < 2000);
        bench.steps = 0;
        bench.fail_at = n;
        error = happy_path(&bench);
        assert_int_equal(open_descriptors(), descriptors);
        assert_int_equal(bench.live, live);
        assert_int_not_equal(error, -ETIMEDOUT);
        assert_int_not_equal(error, -EILSEQ);
        failures += error != 0;
        if (bench.steps < n) {
            assert_int_equal(error, 0);
            break;
        }
    }
    assert_true(failures > 10);
    bench.fail_at = 0;
    bench_close(&bench);
}

static const struct {
    const char *name;
    CMUnitTestFunction run;
} tests[] = {
#define TEST(name)                                                                                           \
    {                                                                                                        \
#name, name                                                                                          \
    }
    TEST(device_says_who_it_is),
    TEST(bar_sizing_gives_the_size_of_the_region),
    TEST(random_io_matches_the_model),
    TEST(no_memory_is_allocated_by_io),
    TEST(bytes_run_out_and_come_back),
    TEST(mappings_run_out_and_come_back),
    TEST(a_batch_of_4096_is_mapped_as_far_as_it_fits),
    TEST(unmapped_memory_is_refused_and_left_alone),
    TEST(addresses_never_mapped_are_refused_and_counted),
    TEST(transfers_over_the_end_of_a_mapping_are_refused),
    TEST(unmap_in_flight_waits_for_the_device),
    TEST(reset_under_load_keeps_mappings_and_routes),
    TEST(flr_under_load_leaves_a_fresh_device),
    TEST(mastering_off_stops_dma),
    TEST(quiesce_makes_room_for_the_next_user),
    TEST(closing_releases_what_is_left),
    TEST(every_failing_step_is_an_error_and_leaks_nothing),
};
enum { NR_TESTS = sizeof(tests) / sizeof(tests[0]) };

int main(int argc, char **argv)
{
    struct CMUnitTest units[NR_TESTS];

    for (size_t i = 0; argc == 2 && i < sizeof(configurations) / sizeof(configurations[0]); i++) {
        if (strcmp(configurations[i].name, argv[1]) != 0)
            continue;
        for (size_t t = 0; t < NR_TESTS; t++)
            units[t] = (struct CMUnitTest){tests[t].name, tests[t].run, NULL, NULL,
                                           (void *)(uintptr_t)&configurations[i]};
        return _cmocka_run_group_tests(argv[1], units, NR_TESTS, NULL, NULL);
    }
    fprintf(stderr, "usage: %s CONFIGURATION\n", argv[0]);
    return 2;
}
