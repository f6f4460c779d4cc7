/* SPDX-License-Identifier: BSD-3-Clause */
/* The test endpoint: its registers, window, copy engine and ROM. */
#include "machine.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

static void fill_ram(struct machine *m)
{
    for (unsigned i = 0; i < MEMORY_SIZE; i++)
        m->ram[i] = (uint8_t)(i * 7 + (i >> 8));
}

static void registers_identify_and_keep_scratch(void **state)
{
    struct machine *m = machine_start("vectors=5");

    assert_int_equal(reg_read(m, EDU_ID, 4), EDU_ID_VALUE);
    assert_int_equal(reg_read(m, EDU_VECTORS, 4), 5);
    reg_write(m, EDU_SCRATCH, 0x1122334455667788, 8);
    assert_true(reg_read(m, EDU_SCRATCH, 8) == 0x1122334455667788);
    assert_int_equal(reg_read(m, EDU_SCRATCH + 4, 4), 0x11223344);
    assert_int_equal(reg_read(m, EDU_SCRATCH + 3, 1), 0x55);
    reg_write(m, EDU_SCRATCH + 4, 0xaabbccdd, 4);
    assert_true(reg_read(m, EDU_SCRATCH, 8) == 0xaabbccdd55667788);
    machine_stop(m, 0);
}

static void without_a_window_the_whole_bar_is_memory(void **state)
{
    struct machine *m = machine_start("window=off,bar=256K");
    const struct sim_bar *bar = &sim_function_info(m->function)->bars[EDU_MEMORY_BAR];
    uint8_t byte = 0x5a, seen = 0;

    assert_int_equal(bar->nr_areas, 1);
    assert_int_equal(bar->areas[0].size, bar->size);
    assert_int_equal(reg_read(m, EDU_WINDOW_SIZE, 8), 0);
    sim_function_bar_write(m->function, EDU_MEMORY_BAR, bar->size / 2, &byte, 1);
    assert_int_equal(pread(bar->fd, &seen, 1, (off_t)(bar->size / 2)), 1);
    assert_int_equal(seen, 0x5a);
    assert_int_equal(reg_read(m, EDU_WINDOW_ACCESSES, 8), 0);
    machine_stop(m, 0);
}

static void narrow_write_is_ignored_and_recorded(void **state)
{
    struct machine *m = machine_start("");

    reg_write(m, EDU_SCRATCH, 0xff, 1);
    assert_int_equal(reg_read(m, EDU_SCRATCH, 8), 0);
    assert_int_equal(reg_read(m, EDU_ERROR, 4), EDU_ERROR_WIDTH);
    assert_int_equal(reg_read(m, EDU_ERRORS, 4), 1);
    reg_write(m, EDU_ERROR, 0, 4);
    assert_int_equal(reg_read(m, EDU_ERROR, 4), EDU_ERROR_NONE);
    machine_stop(m, 0);
}

static void every_register_access_is_counted(void **state)
{
    struct machine *m = machine_start("");
    uint8_t bytes[24];

    assert_int_equal(reg_read(m, EDU_ACCESSES, 8), 1);
    reg_write(m, EDU_SCRATCH, 1, 8);
    assert_int_equal(reg_read(m, EDU_ACCESSES, 8), 3);
    sim_function_bar_read(m->function, EDU_REGISTERS_BAR, 0, bytes, sizeof(bytes));
    assert_int_equal(reg_read(m, EDU_ACCESSES, 8), 7);
    machine_stop(m, 0);
}

static void odd_spans_are_split_at_natural_alignment(void **state)
{
    struct machine *m = machine_start("");
    uint8_t out[13], in[13];

    for (unsigned i = 0; i < sizeof(out); i++)
        out[i] = (uint8_t)(i + 1);
    sim_function_bar_write(m->function, EDU_MEMORY_BAR, 3, out, sizeof(out));
    assert_int_equal(reg_read(m, EDU_MEMORY_ACCESSES, 8), 3); /* 1 at 3, 4 at 4, 8 at 8 */
    sim_function_bar_read(m->function, EDU_MEMORY_BAR, 3, in, sizeof(in));
    assert_memory_equal(in, out, sizeof(in));
    machine_stop(m, 0);
}

static void window_shows_registers_and_areas_leave_it_out(void **state)
{
    struct machine *m = machine_start("bar=256K");
    const struct sim_bar *bar = &sim_function_info(m->function)->bars[EDU_MEMORY_BAR];
    uint64_t offset = reg_read(m, EDU_WINDOW_OFFSET, 8);
    uint64_t size = reg_read(m, EDU_WINDOW_SIZE, 8);
    uint8_t id[4];

    assert_int_equal(bar->size, 256 * 1024);
    assert_int_equal(bar->nr_areas, 2);
    assert_int_equal(bar->areas[0].offset, 0);
    assert_int_equal(bar->areas[0].size, offset);
    assert_int_equal(bar->areas[1].offset, offset + size);
    assert_int_equal(bar->areas[1].offset + bar->areas[1].size, bar->size);
    assert_int_equal(size % (uint64_t)sysconf(_SC_PAGESIZE), 0);
    sim_function_bar_read(m->function, EDU_MEMORY_BAR, offset + EDU_ID, id, 4);
    assert_int_equal(vd_load32(id), EDU_ID_VALUE);
    assert_int_equal(reg_read(m, EDU_WINDOW_ACCESSES, 8), 1);
    machine_stop(m, 0);
}

static void mapped_memory_and_trapped_memory_are_the_same(void **state)
{
    struct machine *m = machine_start("bar=1M");
    const struct sim_bar *bar = &sim_function_info(m->function)->bars[EDU_MEMORY_BAR];
    uint8_t *mapped = mmap(NULL, bar->areas[1].size, PROT_READ | PROT_WRITE, MAP_SHARED, bar->fd,
                           (off_t)bar->areas[1].offset);
    uint32_t seen;

    assert_ptr_not_equal(mapped, MAP_FAILED);
    mapped[8] = 0x5a;
    sim_function_bar_read(m->function, EDU_MEMORY_BAR, bar->areas[1].offset + 8, &seen, 4);
    assert_int_equal(seen & 0xff, 0x5a);
    assert_int_equal(munmap(mapped, bar->areas[1].size), 0);
    machine_stop(m, 0);
}

#ifdef __linux__
static void memory_file_cannot_be_shrunk(void **state)
{
    struct machine *m = machine_start("");

    assert_int_equal(ftruncate(sim_function_info(m->function)->bars[EDU_MEMORY_BAR].fd, 4096), -1);
    machine_stop(m, 0);
}
#endif

static void copy_moves_bytes_only_from_dispatch(void **state)
{
    struct machine *m = machine_start("");

    fill_ram(m);
    memset(m->ram + 0x8000, 0, 5000);
    start_copy(m, RAM + 3, RAM + 0x8001, 4999, 0);
    expect_status(m, EDU_BUSY, EDU_ERROR_NONE);
    assert_int_equal(m->ram[0x8001], 0);
    run(m);
    expect_status(m, EDU_DONE, EDU_ERROR_NONE);
    assert_int_equal(m->ram[0x8000], 0);
    assert_memory_equal(m->ram + 0x8001, m->ram + 3, 4999);
    assert_int_equal(reg_read(m, EDU_COPIED, 8), 4999);
    assert_int_equal(reg_read(m, EDU_COPIES, 8), 1);
    machine_stop(m, 0);
}

static void copy_goes_through_the_memory_bar(void **state)
{
    struct machine *m = machine_start("bar=1M");

    fill_ram(m);
    start_copy(m, RAM, 100, 300000, EDU_TO_MEMORY);
    run(m);
    start_copy(m, 100, 0xa0000, 200000, EDU_FROM_MEMORY | EDU_TO_MEMORY);
    run(m);
    start_copy(m, 0xa0000, RAM + 0x80000, 200000, EDU_FROM_MEMORY);
    run(m);
    expect_status(m, EDU_DONE, EDU_ERROR_NONE);
    assert_memory_equal(m->ram + 0x80000, m->ram, 200000);
    assert_int_equal(reg_read(m, EDU_COPIES, 8), 3);
    assert_int_equal(reg_read(m, EDU_MEMORY_ACCESSES, 8), 0);
    machine_stop(m, 0);
}

static void long_copy_takes_a_dispatch_for_each_chunk(void **state)
{
    struct machine *m = machine_start("");

    start_copy(m, RAM, RAM + 0x80000, 3 * EDU_CHUNK + 1, 0);
    for (unsigned i = 1; i <= 3; i++) {
        assert_true(sim_function_dispatch(m->function, false));
        assert_int_equal(reg_read(m, EDU_COPIED, 8), i * EDU_CHUNK);
        expect_status(m, EDU_BUSY, EDU_ERROR_NONE);
    }
    assert_true(sim_function_dispatch(m->function, false));
    expect_status(m, EDU_DONE, EDU_ERROR_NONE);
    assert_false(sim_function_dispatch(m->function, false));
    machine_stop(m, 0);
}

static void empty_copy_is_done_at_once(void **state)
{
    struct machine *m = machine_start("");

    start_copy(m, 0, 0, 0, 0);
    expect_status(m, EDU_DONE, EDU_ERROR_NONE);
    machine_stop(m, 0);
}

static void refused_addresses_end_a_copy_with_the_side_at_fault(void **state)
{
    struct machine *m = machine_start("");

    start_copy(m, 0x10, RAM, 16, 0);
    run(m);
    expect_status(m, EDU_FAILED, EDU_ERROR_READ);
    assert_int_equal(reg_read(m, EDU_ERROR_ADDRESS, 8), 0x10);
    start_copy(m, RAM, RAM + MEMORY_SIZE, 16, 0);
    run(m);
    expect_status(m, EDU_FAILED, EDU_ERROR_WRITE);
    assert_int_equal(reg_read(m, EDU_ERROR_ADDRESS, 8), RAM + MEMORY_SIZE);
    machine_stop(m, 2);
}

static void bad_ranges_are_refused_before_the_bus(void **state)
{
    struct machine *m = machine_start("bar=1M");
    uint64_t window = reg_read(m, EDU_WINDOW_OFFSET, 8);
    uint64_t cases[][3] = {
        {1 << 20, 1, EDU_FROM_MEMORY},
        {(1 << 20) - 8, 9, EDU_FROM_MEMORY},
        {window - 1, 2, EDU_FROM_MEMORY},
        {0, 1 << 20, EDU_FROM_MEMORY},
        {UINT64_MAX, 2, 0},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        start_copy(m, cases[i][0], RAM, cases[i][1], (uint32_t)cases[i][2]);
        expect_status(m, EDU_FAILED, EDU_ERROR_RANGE);
        run(m);
    }
    start_copy(m, RAM, window, 1, EDU_TO_MEMORY);
    expect_status(m, EDU_FAILED, EDU_ERROR_RANGE);
    assert_int_equal(reg_read(m, EDU_COPIES, 8), 0);
    machine_stop(m, 0);
}

static void second_start_is_refused_and_the_first_goes_on(void **state)
{
    struct machine *m = machine_start("");

    fill_ram(m);
    start_copy(m, RAM, RAM + 0x80000, 2 * EDU_CHUNK, 0);
    sim_function_dispatch(m->function, false);
    start_copy(m, RAM, RAM + 0x40000, 16, 0);
    expect_status(m, EDU_BUSY, EDU_ERROR_BUSY);
    run(m);
    expect_status(m, EDU_DONE, EDU_ERROR_BUSY);
    assert_memory_equal(m->ram + 0x80000, m->ram, 2 * EDU_CHUNK);
    machine_stop(m, 0);
}

static void abort_stops_a_copy(void **state)
{
    struct machine *m = machine_start("");

    start_copy(m, RAM, RAM + 0x80000, 4 * EDU_CHUNK, 0);
    sim_function_dispatch(m->function, false);
    reg_write(m, EDU_CONTROL, EDU_ABORT, 4);
    expect_status(m, EDU_FAILED, EDU_ERROR_ABORT);
    assert_false(sim_function_dispatch(m->function, true));
    assert_int_equal(reg_read(m, EDU_COPIED, 8), EDU_CHUNK);
    machine_stop(m, 0);
}

static void flr_stops_a_copy_and_clears_the_device(void **state)
{
    struct machine *m = machine_start("bar=1M");
    unsigned devctl = find_cap(m, 0x10) + 8;
    uint8_t byte = 0x77;

    sim_function_bar_write(m->function, EDU_MEMORY_BAR, 64, &byte, 1);
    reg_write(m, EDU_SCRATCH, 5, 8);
    start_copy(m, RAM, RAM + 0x80000, 4 * EDU_CHUNK, EDU_NOTIFY);
    sim_function_dispatch(m->function, false);
    config_write(m, devctl, config_read(m, devctl) | 0x8000);
    assert_false(sim_function_dispatch(m->function, true));
    expect_status(m, 0, EDU_ERROR_NONE);
    assert_int_equal(reg_read(m, EDU_SCRATCH, 8), 0);
    assert_int_equal(reg_read(m, EDU_COPIED, 8), 0);
    assert_int_equal(reg_read(m, EDU_RESETS, 8), 1);
    assert_int_equal(config_read(m, 4), 0);
    assert_int_equal(config_read(m, devctl) & 0x8000, 0);
    sim_function_bar_read(m->function, EDU_MEMORY_BAR, 64, &byte, 1);
    assert_int_equal(byte, 0);
    assert_int_equal(m->nr_messages, 0);
    machine_stop(m, 0);
}

/* Remote memory whose owner resets the function while it is being read or written. */
struct resetting {
    struct machine *m;
    bool on_read, on_write;
    unsigned reads, writes;
};

static int resetting_read(void *opaque, uint64_t address, void *buffer, size_t size)
{
    struct resetting *r = opaque;

    r->reads++;
    memset(buffer, 1, size);
    if (r->on_read)
        sim_function_reset(r->m->function);
    return 0;
}

static int resetting_write(void *opaque, uint64_t address, const void *buffer, size_t size)
{
    struct resetting *r = opaque;

    r->writes++;
    if (r->on_write)
        sim_function_reset(r->m->function);
    return 0;
}

static struct sim_dart_mapping *map_resetting(struct machine *m, struct resetting *r)
{
    struct vd_remote remote = {resetting_read, resetting_write, r};
    struct sim_dart_map map = {
        .remote = &remote, .size = MEMORY_SIZE, .iova = 0x10000000, .access = SIM_READ | SIM_WRITE};

    assert_int_equal(sim_dart_map(m->dart, &map), 0);
    return map.mapping;
}

static void copy_reaches_remote_memory(void **state)
{
    struct machine *m = machine_start("");
    struct resetting r = {.m = m};
    struct sim_dart_mapping *mapping = map_resetting(m, &r);

    start_copy(m, 0x10000000, RAM, 2 * EDU_CHUNK, 0);
    run(m);
    expect_status(m, EDU_DONE, EDU_ERROR_NONE);
    assert_int_equal(r.reads, 2);
    assert_int_equal(m->ram[2 * EDU_CHUNK - 1], 1);
    start_copy(m, RAM, 0x10000000, 100, 0);
    run(m);
    assert_int_equal(r.writes, 1);
    sim_dart_unmap(m->dart, mapping);
    machine_stop(m, 0);
}

static void reset_from_within_a_remote_access_drops_the_copy(void **state)
{
    struct machine *m = machine_start("");
    struct resetting r = {.m = m, .on_read = true};
    struct sim_dart_mapping *mapping = map_resetting(m, &r);

    start_copy(m, 0x10000000, RAM, 2 * EDU_CHUNK, 0);
    run(m);
    expect_status(m, 0, EDU_ERROR_NONE);
    assert_int_equal(r.reads, 1);
    assert_int_equal(m->ram[0], 0);
    bus_master(m, true);
    r.on_read = false;
    r.on_write = true;
    start_copy(m, 0x10000000, 0x10000000, 2 * EDU_CHUNK, 0);
    run(m);
    expect_status(m, 0, EDU_ERROR_NONE);
    assert_int_equal(r.writes, 1);
    sim_dart_unmap(m->dart, mapping);
    machine_stop(m, 0);
}

static void rom_is_a_valid_image(void **state)
{
    struct machine *m = machine_start("");
    uint8_t rom[EDU_ROM_SIZE];
    const uint8_t *data;
    uint8_t sum = 0;

    assert_int_equal(sim_function_info(m->function)->rom_size, sizeof(rom));
    sim_function_rom_read(m->function, 0, rom, sizeof(rom));
    assert_int_equal(vd_load16(rom), 0xaa55);
    assert_int_equal(rom[2] * 512, sizeof(rom));
    data = rom + vd_load16(rom + 0x18);
    assert_memory_equal(data, "PCIR", 4);
    assert_int_equal(vd_load16(data + 4), EDU_VENDOR);
    assert_int_equal(vd_load16(data + 6), EDU_DEVICE);
    assert_int_equal(vd_load16(data + 16), rom[2]);
    assert_int_equal(data[21], 0x80);
    for (unsigned i = 0; i < sizeof(rom); i++)
        sum = (uint8_t)(sum + rom[i]);
    assert_int_equal(sum, 0);
    machine_stop(m, 0);
}

static void rom_can_be_left_out(void **state)
{
    struct machine *m = machine_start("rom=off");

    assert_int_equal(sim_function_info(m->function)->rom_size, 0);
    config_write(m, 0x30, 0xffff);
    assert_int_equal(config_read(m, 0x30), 0);
    machine_stop(m, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers_identify_and_keep_scratch),
        cmocka_unit_test(without_a_window_the_whole_bar_is_memory),
        cmocka_unit_test(narrow_write_is_ignored_and_recorded),
        cmocka_unit_test(every_register_access_is_counted),
        cmocka_unit_test(odd_spans_are_split_at_natural_alignment),
        cmocka_unit_test(window_shows_registers_and_areas_leave_it_out),
        cmocka_unit_test(mapped_memory_and_trapped_memory_are_the_same),
#ifdef __linux__
        cmocka_unit_test(memory_file_cannot_be_shrunk),
#endif
        cmocka_unit_test(copy_moves_bytes_only_from_dispatch),
        cmocka_unit_test(copy_goes_through_the_memory_bar),
        cmocka_unit_test(long_copy_takes_a_dispatch_for_each_chunk),
        cmocka_unit_test(empty_copy_is_done_at_once),
        cmocka_unit_test(refused_addresses_end_a_copy_with_the_side_at_fault),
        cmocka_unit_test(bad_ranges_are_refused_before_the_bus),
        cmocka_unit_test(second_start_is_refused_and_the_first_goes_on),
        cmocka_unit_test(abort_stops_a_copy),
        cmocka_unit_test(flr_stops_a_copy_and_clears_the_device),
        cmocka_unit_test(copy_reaches_remote_memory),
        cmocka_unit_test(reset_from_within_a_remote_access_drops_the_copy),
        cmocka_unit_test(rom_is_a_valid_image),
        cmocka_unit_test(rom_can_be_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
