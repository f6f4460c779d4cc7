/* SPDX-License-Identifier: BSD-3-Clause */
/* Windows: mirrors of config space, the MSI-X table and its pending bits, as a device's regions show them. */
#include "../base/unit.h"
#include "chip.h"

#include <sys/eventfd.h>
#include <viaduct/irq.h>

#include "core/device.h"

enum { NVIDIA = 0x10de, AMD = 0x1002, MIRROR = 0x88000, TABLE = 0x2000, PBA = 0x3000, VECTORS = 20 };

struct bench {
    struct chip chip;
    struct vd_context *context;
    struct vd_device *device;
};

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    struct chip *chip = &bench->chip;

    chip_init(chip);
    chip->info.irqs[VD_IRQ_MSIX] = (struct vd_irq_info){VECTORS, VD_IRQ_EVENTFD | VD_IRQ_MASKABLE};
    chip_list(chip, 0x40);
    chip_cap(chip, 0x40, 0x05, 0x60);
    chip_put16(chip, 0x42, 0x0080);
    chip_cap(chip, 0x60, 0x10, 0xa0);
    chip_put16(chip, 0x62, 2);
    chip_put32(chip, 0x64, 0x10000000);
    chip_cap(chip, 0xa0, 0x11, 0);
    chip_put16(chip, 0xa2, VECTORS - 1);
    chip_put32(chip, 0xa4, TABLE | 2);
    chip_put32(chip, 0xa8, PBA | 2);
    *state = bench;
    return vd_context_create(NULL, &bench->context);
}

static int teardown(void **state)
{
    struct bench *bench = *state;

    vd_device_close(bench->device);
    vd_context_destroy(bench->context);
    free(bench);
    return 0;
}

static void open_device(struct bench *bench)
{
    struct vd_failure failure = {0};
    char address[64];

    snprintf(address, sizeof(address), "chip:%" PRIxPTR, (uintptr_t)&bench->chip);
    if (vd_device_create(bench->context, &chip_ops, address, NULL, &bench->device, &failure))
        fail_msg("%s", failure.text);
    bench->chip.reads = bench->chip.writes = 0;
}

/* A graphics card, its BARs mappable as a whole. */
static void open_display(struct bench *bench, uint16_t vendor, uint32_t class_code, unsigned bar,
                         uint32_t flags)
{
    struct vd_host_info *info = &bench->chip.info;

    info->vendor = vendor;
    info->class_code = class_code;
    info->regions[bar] =
        (struct vd_region_info){.size = 16 << 20,
                                .flags = VD_REGION_READ | VD_REGION_WRITE | VD_REGION_MMAP | flags,
                                .nr_areas = 1,
                                .areas = {{0, 16 << 20}}};
    chip_put8(&bench->chip, 0x34, 0x40);
    chip_put32(&bench->chip, 0xa4, TABLE | 2);
    open_device(bench);
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

static bool is_mapped(struct bench *bench, unsigned index, uint64_t offset)
{
    struct vd_region_info info;

    assert_int_equal(vd_region_info(bench->device, index, &info), 0);
    for (uint32_t i = 0; i < info.nr_areas; i++) {
        if (offset >= info.areas[i].offset && offset - info.areas[i].offset < info.areas[i].size)
            return true;
    }
    return false;
}

static void rows_name_a_window_and_a_reason(void **state)
{
    for (size_t i = 0; i < vd_nr_quirks; i++) {
        const struct vd_quirk *row = &vd_quirks[i];

        assert_true(row->reason && row->reason[0] && row->vendor && row->size && row->bar < VD_REGION_ROM);
        assert_int_equal(row->device & ~row->device_mask, 0);
        assert_int_equal(row->class_code & ~row->class_mask, 0);
        assert_int_equal(row->flags & ~row->flags_mask, 0);
        assert_true(row->kind == VD_WINDOW_CONFIG || row->kind == VD_WINDOW_TRAP);
        assert_true(row->target < VD_CONFIG_SIZE);
    }
}

/* Mirrors. */

static void a_mirror_shows_config_space_as_the_guest_has_it(void **state)
{
    struct bench *bench = *state;

    open_display(bench, NVIDIA, 0x030000, 0, 0);
    for (unsigned offset = 0; offset < 0x200; offset += 4)
        assert_int_equal(get(bench, 0, MIRROR + offset, 4), get(bench, VD_REGION_CONFIG, offset, 4));
    for (unsigned offset = 0; offset < 0x100; offset += 4)
        assert_int_equal(get(bench, 0, 0x1800 + offset, 4), get(bench, VD_REGION_CONFIG, offset, 4));
    assert_int_equal(bench->chip.bar_reads, 0);
    assert_int_equal(get(bench, 0, MIRROR + 0x10, 4), 0); /* and not the host's address */
}

static void writes_of_a_mirror_stay_as_harmless_as_config_writes(void **state)
{
    struct bench *bench = *state;

    open_display(bench, NVIDIA, 0x030000, 0, 0);
    put(bench, 0, MIRROR + 0x10, 0xe0000000, 4);
    put(bench, 0, 0x1804, 4, 1);
    assert_int_equal(get(bench, VD_REGION_CONFIG, 0x10, 4), 0xe0000000);
    assert_int_equal(chip_get32(&bench->chip, 0x10), 0xfe000004);
    assert_int_equal(chip_get16(&bench->chip, 4) & 6, 6);
    put(bench, 0, MIRROR + 0x69, 0x80, 1);
    assert_int_equal(bench->chip.resets, 1);
    assert_int_equal(get(bench, VD_REGION_CONFIG, 0x10, 4), 0);
    assert_int_equal(bench->chip.bar_writes, 0);
}

static void beside_a_mirror_are_registers(void **state)
{
    struct bench *bench = *state;
    uint8_t bytes[16];

    open_display(bench, NVIDIA, 0x030200, 0, 0);
    assert_int_equal(get(bench, 0, MIRROR - 4, 4), 0x5a5a5a5a);
    assert_int_equal(get(bench, 0, MIRROR + 0x1000, 4), 0x5a5a5a5a);
    assert_int_equal(get(bench, 0, 0x1900, 4), 0x5a5a5a5a);
    assert_int_equal(vd_region_read(bench->device, 0, MIRROR - 8, bytes, 16), 0);
    assert_int_equal(vd_load64(bytes), 0x5a5a5a5a5a5a5a5a);
    assert_int_equal(vd_load32(bytes + 8), 0x56781234);
    assert_int_equal(bench->chip.last_bar_offset, MIRROR - 8);
    assert_int_equal(vd_region_read(bench->device, 0, MIRROR + 0xffc, bytes, 16), 0);
    assert_int_equal(vd_load32(bytes + 4), 0x5a5a5a5a);
    assert_int_equal(bench->chip.last_bar_offset, MIRROR + 0x1000);
    bench->chip.bar_writes = 0;
    assert_int_equal(vd_region_write(bench->device, 0, MIRROR + 0xffc, bytes, 8), 0);
    assert_int_equal(bench->chip.bar_writes, 1);
}

static void the_msi_id_is_passed_on_as_the_signal_it_is(void **state)
{
    struct bench *bench = *state;

    open_display(bench, NVIDIA, 0x030000, 0, 0);
    put(bench, 0, MIRROR + 0x40, 0xff, 1);
    assert_int_equal(bench->chip.bar_writes, 1);
    assert_int_equal(bench->chip.last_bar_offset, MIRROR + 0x40);
    put(bench, 0, MIRROR + 0x40, 0xffffffff, 4); /* reaches into the control register */
    put(bench, 0, MIRROR + 0x60, 0xff, 1);
    put(bench, 0, 0x1840, 0xff, 1);
    assert_int_equal(bench->chip.bar_writes, 1);
}

static void only_display_devices_of_the_vendor_have_a_mirror(void **state)
{
    static const struct {
        uint16_t vendor;
        uint32_t class_code;
        bool mirror;
    } cases[] = {{NVIDIA, 0x030000, true},
                 {NVIDIA, 0x030200, true},
                 {NVIDIA, 0x040300, false},
                 {0x8086, 0x030000, false}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bench *bench;

        assert_int_equal(setup((void **)&bench), 0);
        open_display(bench, cases[i].vendor, cases[i].class_code, 0, 0);
        assert_int_equal(get(bench, 0, MIRROR, 4) == 0x56781234, cases[i].mirror);
        assert_int_equal(is_mapped(bench, 0, MIRROR), !cases[i].mirror);
        teardown((void **)&bench);
    }
}

static void registers_in_bar_2_mirror_config_space_and_doorbells_do_not(void **state)
{
    static const struct {
        uint32_t flags;
        bool mirror;
    } cases[] = {{VD_REGION_64BIT, true}, {VD_REGION_64BIT | VD_REGION_PREFETCHABLE, false}, {0, false}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bench *bench;

        assert_int_equal(setup((void **)&bench), 0);
        open_display(bench, AMD, 0x030000, 2, cases[i].flags);
        assert_int_equal(get(bench, 2, 0x4000, 4) == 0x56781234, cases[i].mirror);
        assert_int_equal(is_mapped(bench, 2, 0x4000), !cases[i].mirror);
        teardown((void **)&bench);
    }
}

static void a_mirror_ends_with_the_bar_and_with_config_space(void **state)
{
    struct bench *bench = *state;
    struct vd_host_info info = bench->chip.info;
    struct vd_windows windows;

    info.vendor = NVIDIA;
    info.class_code = 0x030000;
    info.regions[0].size = MIRROR + 0x800;
    vd_windows_init(&windows, &info, NULL, vd_quirks, vd_nr_quirks);
    assert_int_equal(windows.count, 2);
    assert_int_equal(windows.list[0].size, 0x800);
    info.regions[VD_REGION_CONFIG].size = 256;
    vd_windows_init(&windows, &info, NULL, vd_quirks, vd_nr_quirks);
    assert_int_equal(windows.list[0].size, 0x100);
    info.regions[0].size = MIRROR;
    vd_windows_init(&windows, &info, NULL, vd_quirks, vd_nr_quirks);
    assert_int_equal(windows.count, 1);
    info.regions[0].size = 0;
    vd_windows_init(&windows, &info, NULL, vd_quirks, vd_nr_quirks);
    assert_int_equal(windows.count, 0);
}

/* Linux virtualises config space itself, but knows nothing of mirrors. */
static void a_mirror_is_kept_from_guests_of_every_host(void **state)
{
    struct bench *bench = *state;

    bench->chip.info.raw_config = false;
    open_display(bench, NVIDIA, 0x030000, 0, 0);
    assert_null(bench->device->config);
    assert_int_equal(get(bench, 0, MIRROR, 4), 0x56781234);
    assert_int_equal(bench->chip.reads, 1);
    put(bench, 0, MIRROR + 0x3c, 7, 1);
    assert_int_equal(bench->chip.bytes[0x3c], 7);
    assert_false(is_mapped(bench, 0, MIRROR));
}

static void a_trapped_window_is_registers_that_are_never_mapped(void **state)
{
    static const struct vd_quirk row = {
        .vendor = 0x1234, .bar = 2, .offset = 0x8000, .size = 4, .kind = VD_WINDOW_TRAP, .reason = "test"};
    struct bench *bench = *state;

    bench->chip.info.regions[2].flags |= VD_REGION_MMAP;
    bench->chip.info.regions[2].nr_areas = 1;
    bench->chip.info.regions[2].areas[0] = (struct vd_region_area){0, 0x10000};
    open_device(bench);
    assert_true(is_mapped(bench, 2, 0x8000));
    vd_windows_init(&bench->device->windows, &bench->device->info, bench->device->config, &row, 1);
    vd_windows_cut(&bench->device->windows, bench->device->info.regions, 4096);
    assert_false(is_mapped(bench, 2, 0x8000));
    assert_true(is_mapped(bench, 2, 0x9000));
    assert_int_equal(get(bench, 2, 0x8000, 4), 0x5a5a5a5a);
    put(bench, 2, 0x8000, 0, 4);
    assert_int_equal(bench->chip.bar_writes, 1);
}

/* The MSI-X table. */

static void the_table_never_reaches_the_hardware(void **state)
{
    struct bench *bench = *state;

    open_device(bench);
    for (unsigned offset = 0; offset < VECTORS * 16; offset += 4) {
        put(bench, 2, TABLE + offset, 0xfee00000 + offset, 4);
        assert_int_equal(get(bench, 2, TABLE + offset, 4), offset % 16 == 12 ? 0 : 0xfee00000 + offset);
    }
    put(bench, 2, PBA, 0xffffffff, 4);
    assert_int_equal(get(bench, 2, PBA, 4), 0);
    assert_int_equal(bench->chip.bar_reads + bench->chip.bar_writes, 0);
    put(bench, 2, TABLE + VECTORS * 16, 1, 4);
    put(bench, 2, TABLE - 4, 1, 4);
    assert_int_equal(bench->chip.bar_writes, 2);
}

static void entries_start_masked_and_a_reset_masks_them_again(void **state)
{
    struct bench *bench = *state;

    open_device(bench);
    assert_int_equal(get(bench, 2, TABLE + 12, 4), 1);
    put(bench, 2, TABLE + 12, 0, 4);
    assert_int_equal(get(bench, 2, TABLE + 12, 4), 0);
    assert_int_equal(vd_device_reset(bench->device), 0);
    assert_int_equal(get(bench, 2, TABLE + 12, 4), 1);
}

static void pending_bits_are_the_vectors_that_core_holds_back(void **state)
{
    struct bench *bench = *state;
    int fds[VECTORS];
    uint8_t word[8];

    open_device(bench);
    for (unsigned i = 0; i < VECTORS; i++)
        fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_int_equal(vd_irq_route(bench->device, VD_IRQ_MSIX, 0, VECTORS, fds), 0);
    assert_int_equal(vd_irq_mask(bench->device, VD_IRQ_MSIX, 17, 2), 0);
    vd_irq_fired(bench->device, VD_IRQ_MSIX, 3);
    vd_irq_fired(bench->device, VD_IRQ_MSIX, 18);
    assert_int_equal(vd_region_read(bench->device, 2, PBA, word, 8), 0);
    assert_int_equal(vd_load64(word), 1u << 18);
    assert_int_equal(get(bench, 2, PBA + 2, 1), 4);
    assert_int_equal(vd_irq_unmask(bench->device, VD_IRQ_MSIX, 17, 2), 0);
    assert_int_equal(get(bench, 2, PBA, 4), 0);
}

static void a_table_of_a_hidden_capability_is_protected_as_well(void **state)
{
    struct bench *bench = *state;

    bench->chip.info.irqs[VD_IRQ_MSIX].count = 0;
    bench->chip.info.regions[2].flags |= VD_REGION_MMAP;
    bench->chip.info.regions[2].nr_areas = 1;
    bench->chip.info.regions[2].areas[0] = (struct vd_region_area){0, 0x10000};
    open_device(bench);
    put(bench, 2, TABLE, 0xfee00000, 4);
    assert_int_equal(get(bench, 2, PBA, 4), 0);
    assert_int_equal(bench->chip.bar_writes, 0);
    assert_false(is_mapped(bench, 2, TABLE));
}

static void a_table_whose_pending_bits_are_nowhere_is_protected_as_well(void **state)
{
    struct bench *bench = *state;

    bench->chip.info.regions[2].flags |= VD_REGION_MMAP;
    bench->chip.info.regions[2].nr_areas = 1;
    bench->chip.info.regions[2].areas[0] = (struct vd_region_area){0, 0x10000};
    chip_put32(&bench->chip, 0xa8, 0x10000 | 2); /* behind the BAR's end */
    open_device(bench);
    assert_int_equal(get(bench, VD_REGION_CONFIG, 0xa0, 4), 0);
    put(bench, 2, TABLE, 0xfee00000, 4);
    assert_int_equal(bench->chip.bar_writes, 0);
    assert_false(is_mapped(bench, 2, TABLE));
}

static void check_cut(uint32_t page, const uint64_t (*expected)[2], unsigned count)
{
    struct bench *bench;
    struct vd_region_info info;

    assert_int_equal(setup((void **)&bench), 0);
    bench->chip.info.page_size = page;
    bench->chip.info.regions[2].flags |= VD_REGION_MMAP;
    bench->chip.info.regions[2].nr_areas = 1;
    bench->chip.info.regions[2].areas[0] = (struct vd_region_area){0, 0x10000};
    open_device(bench);
    assert_int_equal(vd_region_info(bench->device, 2, &info), 0);
    assert_int_equal(info.nr_areas, count);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(info.areas[i].offset, expected[i][0]);
        assert_int_equal(info.areas[i].size, expected[i][1]);
    }
    teardown((void **)&bench);
}

static void the_table_is_cut_out_at_the_hosts_page_size(void **state)
{
    check_cut(0x1000, (const uint64_t[][2]){{0, 0x2000}, {0x4000, 0xc000}}, 2);
    check_cut(0x4000, (const uint64_t[][2]){{0x4000, 0xc000}}, 1);
    check_cut(0x10000, NULL, 0);
}

/* The device around it. */

static void a_reset_of_the_device_resets_what_the_guest_sees(void **state)
{
    struct bench *bench = *state;

    open_device(bench);
    put(bench, VD_REGION_CONFIG, 4, 6, 2);
    put(bench, VD_REGION_CONFIG, 0x18, 0xe0000000, 4);
    assert_int_equal(vd_device_reset(bench->device), 0);
    assert_int_equal(get(bench, VD_REGION_CONFIG, 4, 2), 0);
    assert_int_equal(get(bench, VD_REGION_CONFIG, 0x18, 4), 0);
    assert_int_equal(chip_get16(&bench->chip, 4) & 6, 2);
    assert_int_equal(bench->chip.resets, 1);
}

static void quiesce_leaves_nothing_to_the_next_guest(void **state)
{
    struct bench *bench = *state;

    for (unsigned can_reset = 0; can_reset < 2; can_reset++) {
        bench->chip.info.can_reset = can_reset;
        open_device(bench);
        put(bench, VD_REGION_CONFIG, 4, 6, 2);
        put(bench, VD_REGION_CONFIG, 0x3c, 9, 1);
        put(bench, 2, TABLE, 0xfee00000, 4);
        vd_device_quiesce(bench->device);
        assert_int_equal(chip_get16(&bench->chip, 4) & 6, 2);
        assert_int_equal(get(bench, VD_REGION_CONFIG, 4, 2), 0);
        assert_int_equal(get(bench, VD_REGION_CONFIG, 0x3c, 1), 0);
        assert_int_equal(get(bench, 2, TABLE, 4), 0);
        vd_device_close(bench->device);
        bench->device = NULL;
    }
}

static void a_reset_that_fails_in_quiesce_leaves_nothing_either(void **state)
{
    struct bench *bench = *state;

    open_device(bench);
    put(bench, VD_REGION_CONFIG, 4, 6, 2);
    put(bench, VD_REGION_CONFIG, 0x3c, 9, 1);
    bench->chip.reset_error = -EIO;
    vd_device_quiesce(bench->device);
    assert_int_equal(get(bench, VD_REGION_CONFIG, 0x3c, 1), 0);
    assert_int_equal(chip_get16(&bench->chip, 4) & 4, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_name_a_window_and_a_reason),
        TEST(a_mirror_shows_config_space_as_the_guest_has_it),
        TEST(writes_of_a_mirror_stay_as_harmless_as_config_writes),
        TEST(beside_a_mirror_are_registers),
        TEST(the_msi_id_is_passed_on_as_the_signal_it_is),
        cmocka_unit_test(only_display_devices_of_the_vendor_have_a_mirror),
        cmocka_unit_test(registers_in_bar_2_mirror_config_space_and_doorbells_do_not),
        TEST(a_mirror_ends_with_the_bar_and_with_config_space),
        TEST(a_mirror_is_kept_from_guests_of_every_host),
        TEST(a_trapped_window_is_registers_that_are_never_mapped),
        TEST(the_table_never_reaches_the_hardware),
        TEST(entries_start_masked_and_a_reset_masks_them_again),
        TEST(pending_bits_are_the_vectors_that_core_holds_back),
        TEST(a_table_of_a_hidden_capability_is_protected_as_well),
        TEST(a_table_whose_pending_bits_are_nowhere_is_protected_as_well),
        cmocka_unit_test(the_table_is_cut_out_at_the_hosts_page_size),
        TEST(a_reset_of_the_device_resets_what_the_guest_sees),
        TEST(quiesce_leaves_nothing_to_the_next_guest),
        TEST(a_reset_that_fails_in_quiesce_leaves_nothing_either),
    };

    return cmocka_run_group_tests_name("quirk", tests, NULL, NULL);
}
