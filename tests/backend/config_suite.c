/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Config space as a VMM gets it from a host whose own it is not: what is shown, what is hidden, and writes that must not do
 * what they say. Public API; sim/config.c says what the hardware behind it has. Run with a configuration's name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <viaduct/context.h>
#include <viaduct/device.h>
#include <viaduct/irq.h>
#include <viaduct/region.h>

#include "base/le.h"
#include "dextd.h"

enum {
    CONFIG = VD_REGION_CONFIG,
    PM = 0x01,
    MSI = 0x05,
    PCIE = 0x10,
    MSIX = 0x11,
    AER = 0x01,
    SERIAL = 0x03
};

struct configuration {
    const char *name;
    const char *device; /* the address, or with dextd what follows "01:00.0=" */
    bool dextd;
};

static const struct configuration configurations[] = {
    {"nvme", "sim:nvme,size=16M", false}, {"edu", "sim:edu", false},
    {"msi", "sim:edu,irq=msi", false},    {"apple-nvme", "sim:nvme,size=16M", true},
    {"apple-edu", "sim:edu", true},
};

struct bench {
    struct vd_context *context;
    struct vd_device *device;
    struct dextd dextd;
};

static void bench_open(struct bench *bench, void **state)
{
    const struct configuration *configuration = *state;
    char address[160];
    struct vd_error error;

    memset(bench, 0, sizeof(*bench));
    assert_int_equal(vd_context_create(NULL, &bench->context), 0);
    snprintf(address, sizeof(address), "%s", configuration->device);
    if (configuration->dextd)
        dextd_start_one(&bench->dextd, configuration->device, address, sizeof(address));
    if (vd_device_open(bench->context, address, &bench->device, &error))
        fail_msg("%s", error.message);
}

static void bench_close(struct bench *bench)
{
    vd_device_close(bench->device);
    vd_context_destroy(bench->context);
    dextd_stop(&bench->dextd);
}

static uint32_t get(struct bench *bench, unsigned index, uint64_t offset, unsigned width)
{
    uint8_t bytes[4] = {0};

    assert_int_equal(vd_region_read(bench->device, index, offset, bytes, width), 0);
    return vd_load32(bytes);
}

static void put(struct bench *bench, unsigned index, uint64_t offset, uint32_t value, unsigned width)
{
    uint8_t bytes[4];

    vd_store32(bytes, value);
    assert_int_equal(vd_region_write(bench->device, index, offset, bytes, width), 0);
}

static unsigned find(struct bench *bench, unsigned id)
{
    unsigned at = get(bench, CONFIG, 0x34, 1);

    for (unsigned i = 0; i < 48 && at; i++) {
        if (get(bench, CONFIG, at, 1) == id)
            return at;
        at = get(bench, CONFIG, at + 1, 1);
    }
    return 0;
}

static unsigned find_extended(struct bench *bench, unsigned id)
{
    unsigned at = 0x100;

    for (unsigned i = 0; i < 960 && at; i++) {
        uint32_t header = get(bench, CONFIG, at, 4);

        if ((header & 0xffff) == id)
            return at;
        at = header >> 20;
    }
    return 0;
}

static void the_lists_show_what_a_guest_may_use(void **state)
{
    struct bench bench;
    struct vd_irq_info msix;
    unsigned serial;

    bench_open(&bench, state);
    assert_int_equal(vd_irq_info(bench.device, VD_IRQ_MSIX, &msix), 0);
    assert_true(find(&bench, PM) && find(&bench, PCIE));
    assert_int_equal(find(&bench, MSIX) != 0, msix.count != 0);
    assert_true(find_extended(&bench, AER));
    serial = find_extended(&bench, SERIAL);
    assert_true(serial);
    assert_int_equal(get(&bench, CONFIG, serial + 4, 4), vd_device_info(bench.device)->device);
    bench_close(&bench);
}

static void resizing_and_address_translation_are_hidden(void **state)
{
    struct bench bench;

    bench_open(&bench, state);
    assert_int_equal(find_extended(&bench, 0x15), 0);
    assert_int_equal(find_extended(&bench, 0x0f), 0);
    assert_int_equal(get(&bench, CONFIG, 0x100, 2), 0); /* it was the first */
    assert_int_equal(get(&bench, CONFIG, 0x108, 4), 0);
    put(&bench, CONFIG, 0x108, 0xffffffff, 4);
    assert_int_equal(get(&bench, CONFIG, 0x108, 4), 0);
    bench_close(&bench);
}

static void vectors_offered_are_vectors_there_are(void **state)
{
    struct bench bench;
    struct vd_irq_info info;
    unsigned at;

    bench_open(&bench, state);
    assert_int_equal(vd_irq_info(bench.device, VD_IRQ_MSIX, &info), 0);
    at = find(&bench, MSIX);
    if (at)
        assert_true((get(&bench, CONFIG, at + 2, 2) & 0x7ff) + 1 <= info.count);
    assert_int_equal(vd_irq_info(bench.device, VD_IRQ_MSI, &info), 0);
    at = find(&bench, MSI);
    assert_int_equal(at != 0, info.count != 0);
    if (at)
        assert_true(1u << (get(&bench, CONFIG, at + 2, 2) >> 1 & 7) <= info.count);
    assert_int_equal(vd_irq_info(bench.device, VD_IRQ_INTX, &info), 0);
    assert_int_equal(get(&bench, CONFIG, 0x3d, 1), info.count);
    bench_close(&bench);
}

/* Table entries start masked, keep what is written, and a reset masks them again: PCI 6.8.2. */
static void the_vector_table_is_memory_of_the_guests_own(void **state)
{
    struct bench bench;
    unsigned at, bar;
    uint32_t table;

    bench_open(&bench, state);
    at = find(&bench, MSIX);
    table = at ? get(&bench, CONFIG, at + 4, 4) : 0;
    bar = table & 7;
    table &= ~7u;
    if (at) {
        assert_int_equal(get(&bench, bar, table + 12, 4), 1);
        put(&bench, bar, table, 0xfee00000, 4);
        put(&bench, bar, table + 12, 0, 4);
        assert_int_equal(get(&bench, bar, table, 4), 0xfee00000);
        assert_int_equal(get(&bench, bar, table + 12, 4), 0);
        assert_int_equal(vd_device_reset(bench.device), 0);
        assert_int_equal(get(&bench, bar, table, 4), 0);
        assert_int_equal(get(&bench, bar, table + 12, 4), 1);
    }
    bench_close(&bench);
}

static void bars_are_sized_as_the_regions_are(void **state)
{
    struct bench bench;
    struct vd_region_info info;

    bench_open(&bench, state);
    for (unsigned bar = 0; bar < 6; bar++) {
        unsigned at = 0x10 + 4 * bar;
        uint64_t mask;

        assert_int_equal(vd_region_info(bench.device, bar, &info), 0);
        put(&bench, CONFIG, at, 0xffffffff, 4);
        mask = get(&bench, CONFIG, at, 4);
        if (!info.size) {
            assert_int_equal(mask, 0);
            continue;
        }
        assert_int_equal(!!(mask & 4), !!(info.flags & VD_REGION_64BIT));
        assert_int_equal(!!(mask & 8), !!(info.flags & VD_REGION_PREFETCHABLE));
        mask = (mask & ~15ull) | 0xffffffff00000000;
        if (info.flags & VD_REGION_64BIT) {
            put(&bench, CONFIG, at + 4, 0xffffffff, 4);
            mask &= (uint64_t)get(&bench, CONFIG, at + 4, 4) << 32 | 0xffffffff;
            bar++;
        }
        assert_int_equal(~mask + 1, info.size);
    }
    bench_close(&bench);
}

/* What a guest wrote before: an FLR takes it back, and the device works as before. */
static void flr_gives_a_fresh_function(void **state)
{
    struct bench bench;
    unsigned pcie;
    uint32_t control;

    bench_open(&bench, state);
    pcie = find(&bench, PCIE);
    control = get(&bench, CONFIG, pcie + 8, 2);
    put(&bench, CONFIG, 4, 6, 2);
    put(&bench, CONFIG, 0x10, 0xe0000000, 4);
    put(&bench, CONFIG, 0x3c, 11, 1);
    put(&bench, CONFIG, pcie + 8, control ^ 0x00e0, 2);
    put(&bench, CONFIG, pcie + 8, control | 0x8000, 2);
    assert_int_equal(get(&bench, CONFIG, 4, 2), 0);
    assert_int_equal(get(&bench, CONFIG, 0x10, 4) & ~15u, 0);
    assert_int_equal(get(&bench, CONFIG, 0x3c, 1), 0);
    assert_int_equal(get(&bench, CONFIG, pcie + 8, 2), control);
    put(&bench, CONFIG, 4, 6, 2);
    assert_int_equal(get(&bench, CONFIG, 4, 2), 6);
    bench_close(&bench);
}

static void a_guest_may_sleep_and_wake_its_device(void **state)
{
    struct bench bench;
    unsigned pm;

    bench_open(&bench, state);
    pm = find(&bench, PM);
    put(&bench, CONFIG, pm + 4, 3, 2);
    assert_int_equal(get(&bench, CONFIG, pm + 4, 2) & 3, 3);
    put(&bench, CONFIG, pm + 4, 0, 2);
    assert_int_equal(get(&bench, CONFIG, pm + 4, 2) & 3, 0);
    assert_int_not_equal(get(&bench, 0, 0, 4), 0xffffffff); /* BARs answer */
    bench_close(&bench);
}

/* A whole read at once, as VMMs do when they open a device, tells the same as reads of each register. */
static void a_read_of_everything_agrees_with_reads_of_parts(void **state)
{
    static uint8_t whole[4096];
    struct bench bench;

    bench_open(&bench, state);
    assert_int_equal(vd_region_read(bench.device, CONFIG, 0, whole, sizeof(whole)), 0);
    for (unsigned at = 0; at < 0x200; at += 4)
        assert_int_equal(get(&bench, CONFIG, at, 4), vd_load32(whole + at));
    bench_close(&bench);
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof(configurations) / sizeof(configurations[0]); i++) {
        void *state = (void *)(uintptr_t)&configurations[i];
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_prestate(the_lists_show_what_a_guest_may_use, state),
            cmocka_unit_test_prestate(resizing_and_address_translation_are_hidden, state),
            cmocka_unit_test_prestate(vectors_offered_are_vectors_there_are, state),
            cmocka_unit_test_prestate(the_vector_table_is_memory_of_the_guests_own, state),
            cmocka_unit_test_prestate(bars_are_sized_as_the_regions_are, state),
            cmocka_unit_test_prestate(flr_gives_a_fresh_function, state),
            cmocka_unit_test_prestate(a_guest_may_sleep_and_wake_its_device, state),
            cmocka_unit_test_prestate(a_read_of_everything_agrees_with_reads_of_parts, state),
        };

        if (strcmp(configurations[i].name, argv[1]) == 0)
            return cmocka_run_group_tests_name(argv[1], tests, NULL, NULL);
    }
    fprintf(stderr, "usage: %s CONFIGURATION\n", argv[0]);
    return 2;
}
