/* SPDX-License-Identifier: BSD-3-Clause */
/* Regions: what is declared of BARs, ROM and config space, and how each is read, written and mapped. */
#include "fake.h"

static struct fake *fresh(void)
{
    struct fake *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    fake_init(f);
    return f;
}

static void opened(struct fake *f)
{
    struct vd_failure failure = {0};

    if (fake_open(f, "apple:02:00.0", &failure))
        fail_msg("%s", failure.text);
    fake_forget(f);
}

static void done(struct fake *f)
{
    fake_finish(f);
    free(f);
}

static void put(struct fake *f, unsigned index, uint64_t offset, uint64_t value, unsigned width)
{
    uint8_t bytes[8];

    vd_store64(bytes, value);
    assert_int_equal(dext_region_write(f->host, index, offset, bytes, width), 0);
}

static uint64_t get(struct fake *f, unsigned index, uint64_t offset, unsigned width)
{
    uint8_t bytes[8] = {0};

    assert_int_equal(dext_region_read(f->host, index, offset, bytes, width), 0);
    return vd_load64(bytes);
}

static void bars_are_declared_as_the_extension_describes_them(void **state)
{
    const struct fake *f = *state;
    const struct vd_region_info *r = f->info.regions;
    const uint32_t access = VD_REGION_READ | VD_REGION_WRITE;

    assert_int_equal(r[0].size, 0x10000);
    assert_int_equal(r[0].flags, access | VD_REGION_LOCAL | VD_REGION_MMAP);
    assert_int_equal(r[0].nr_areas, 1);
    assert_int_equal(r[0].areas[0].offset, 0);
    assert_int_equal(r[0].areas[0].size, 0x10000);
    assert_int_equal(r[1].size, 0); /* I/O */
    assert_int_equal(r[2].flags,
                     access | VD_REGION_LOCAL | VD_REGION_MMAP | VD_REGION_PREFETCHABLE | VD_REGION_64BIT);
    assert_int_equal(r[3].size, 0);
    assert_int_equal(r[4].size, 0x1000);
    assert_int_equal(r[4].flags, access); /* less than a page: not for others to map */
    assert_int_equal(r[4].nr_areas, 0);
    assert_int_equal(r[5].size, 0);
    assert_int_equal(r[VD_REGION_ROM].size, 64);
    assert_int_equal(r[VD_REGION_ROM].flags, VD_REGION_READ);
    assert_int_equal(r[VD_REGION_CONFIG].size, 4096);
    assert_int_equal(r[VD_REGION_CONFIG].flags, access);
    assert_int_equal(r[VD_REGION_VGA].size, 0);
}

static void only_prefetchable_bars_are_mapped_write_combining(void **state)
{
    const struct fake *f = *state;

    assert_int_equal(f->bars[0].map_flags, 0);
    assert_int_equal(f->bars[2].map_flags, VD_LINK_WRITE_COMBINE);
    assert_int_equal(f->bars[4].map_flags, 0);
    assert_int_equal(f->mappings, 4); /* and the interrupt page */
}

static void a_mapping_without_a_file_is_local_only(void **state)
{
    struct fake *f = fresh();

    f->bars[0].has_fd = false;
    opened(f);
    assert_int_equal(f->info.regions[0].flags, VD_REGION_READ | VD_REGION_WRITE | VD_REGION_LOCAL);
    assert_int_equal(f->info.regions[0].nr_areas, 1);
    done(f);
}

static void a_bar_that_cannot_be_mapped_stays_trapped(void **state)
{
    static const int statuses[] = {VD_DEXT_UNSUPPORTED, VD_DEXT_BAD_ARGUMENT, VD_DEXT_NO_RESOURCES};

    for (unsigned i = 0; i < 3; i++) {
        struct fake *f = fresh();

        f->bars[0].map_status = statuses[i];
        opened(f);
        assert_int_equal(f->info.regions[0].size, 0x10000);
        assert_int_equal(f->info.regions[0].flags, VD_REGION_READ | VD_REGION_WRITE);
        assert_int_equal(f->info.regions[0].nr_areas, 0);
        put(f, 0, 8, 0x1122334455667788, 8);
        assert_int_equal(f->count[VD_DEXT_MMIO_WRITE], 1);
        assert_int_equal(vd_load64(f->bars[0].memory + 8), 0x1122334455667788);
        done(f);
    }
}

static void a_mapping_that_is_too_small_is_given_back(void **state)
{
    struct fake *f = fresh();

    f->bars[0].mapped_size = 0x8000;
    opened(f);
    assert_int_equal(f->mappings, 3);
    assert_int_equal(f->info.regions[0].nr_areas, 0);
    assert_int_equal(get(f, 0, 0x9000, 4), vd_load32(f->bars[0].memory + 0x9000));
    assert_int_equal(f->count[VD_DEXT_MMIO_READ], 1);
    done(f);
}

static void a_bar_of_impossible_size_is_left_out(void **state)
{
    struct fake *f = fresh();

    f->bars[0].size = 0xc000;
    opened(f);
    assert_int_equal(f->info.regions[0].size, 0);
    f->bars[0].size = 0x10000;
    done(f);
}

static void the_upper_half_of_a_wide_bar_is_not_asked_for(void **state)
{
    struct fake *f = fresh();
    struct vd_failure failure = {0};

    assert_int_equal(fake_open(f, "apple:02:00.0", &failure), 0);
    for (unsigned i = 0; fake_call_at(f, VD_DEXT_GET_BAR_INFO, i); i++)
        assert_int_not_equal(fake_call_at(f, VD_DEXT_GET_BAR_INFO, i)->in[0], 3);
    done(f);
}

static void mapped_bars_are_reached_without_calls(void **state)
{
    struct fake *f = *state;
    uint8_t bytes[16];

    put(f, 0, 0x10, 0x1122334455667788, 8);
    put(f, 0, 0x18, 0xaabbccdd, 4);
    put(f, 0, 0x1c, 0xeeff, 2);
    put(f, 0, 0x1e, 0x99, 1);
    put(f, 2, 0x1fff8, 0x0102030405060708, 8);
    assert_int_equal(vd_load64(f->bars[0].memory + 0x10), 0x1122334455667788);
    assert_int_equal(vd_load32(f->bars[0].memory + 0x18), 0xaabbccdd);
    assert_int_equal(vd_load64(f->bars[2].memory + 0x1fff8), 0x0102030405060708);
    assert_int_equal(get(f, 0, 0x14, 4), 0x11223344);
    assert_int_equal(get(f, 0, 0x1c, 2), 0xeeff);
    assert_int_equal(get(f, 0, 0x1e, 1), 0x99);
    assert_int_equal(dext_region_read(f->host, 0, 0x11, bytes, 14), 0);
    assert_memory_equal(bytes, f->bars[0].memory + 0x11, 14);
    assert_int_equal(dext_region_write(f->host, 4, 1, bytes, 14), 0);
    assert_memory_equal(bytes, f->bars[4].memory + 1, 14);
    assert_int_equal(fake_calls_in_all(f), 0);
}

/* The n-th call was at this offset with this width. */
static void was(const struct fake *f, uint32_t selector, unsigned n, unsigned first, uint64_t offset,
                uint64_t width)
{
    const struct fake_call *call = fake_call_at(f, selector, n);

    assert_non_null(call);
    assert_int_equal(call->in[first], offset);
    assert_int_equal(call->in[first + 1], width);
}

static void trapped_accesses_are_split_into_the_widest_natural_pieces(void **state)
{
    struct fake *f = fresh();
    uint8_t bytes[32], back[32] = {0};

    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i + 1);
    f->bars[2].map_status = VD_DEXT_UNSUPPORTED;
    opened(f);
    assert_int_equal(dext_region_write(f->host, 2, 0x101, bytes, 22), 0);
    was(f, VD_DEXT_MMIO_WRITE, 0, 1, 0x101, 1);
    was(f, VD_DEXT_MMIO_WRITE, 1, 1, 0x102, 2);
    was(f, VD_DEXT_MMIO_WRITE, 2, 1, 0x104, 4);
    was(f, VD_DEXT_MMIO_WRITE, 3, 1, 0x108, 8);
    was(f, VD_DEXT_MMIO_WRITE, 4, 1, 0x110, 4);
    was(f, VD_DEXT_MMIO_WRITE, 5, 1, 0x114, 2);
    was(f, VD_DEXT_MMIO_WRITE, 6, 1, 0x116, 1);
    assert_int_equal(f->calls, 7);
    assert_int_equal(fake_call_at(f, VD_DEXT_MMIO_WRITE, 0)->in[0], 12); /* the memory index, not the BAR */
    assert_memory_equal(f->bars[2].memory + 0x101, bytes, 22);
    assert_int_equal(dext_region_read(f->host, 2, 0x100, back, 24), 0);
    assert_int_equal(f->calls, 10);
    assert_memory_equal(back + 1, bytes, 22);
    done(f);
}

static void config_space_is_read_and_written_by_calls_of_at_most_four_bytes(void **state)
{
    struct fake *f = *state;
    uint8_t bytes[8];

    assert_int_equal(dext_region_read(f->host, VD_REGION_CONFIG, 0x2b, bytes, 7), 0);
    was(f, VD_DEXT_CONFIG_READ, 0, 0, 0x2b, 1);
    was(f, VD_DEXT_CONFIG_READ, 1, 0, 0x2c, 4);
    was(f, VD_DEXT_CONFIG_READ, 2, 0, 0x30, 2);
    assert_memory_equal(bytes, f->config + 0x2b, 7);
    put(f, VD_REGION_CONFIG, 0x100, 0x1122334455667788, 8);
    was(f, VD_DEXT_CONFIG_WRITE, 0, 0, 0x100, 4);
    was(f, VD_DEXT_CONFIG_WRITE, 1, 0, 0x104, 4);
    assert_int_equal(vd_load64(f->config + 0x100), 0x1122334455667788);
    put(f, VD_REGION_CONFIG, 0xffe, 0xabcd, 2);
    assert_int_equal(get(f, VD_REGION_CONFIG, 0xffc, 4), 0xabcd0000);
    assert_int_equal(f->calls, 7);
}

static void the_rom_is_read_by_calls_and_not_written(void **state)
{
    struct fake *f = *state;

    vd_store32(f->rom + 4, 0x1234abcd);
    assert_int_equal(get(f, VD_REGION_ROM, 4, 4), 0x1234abcd);
    was(f, VD_DEXT_MMIO_READ, 0, 1, 4, 4);
    assert_int_equal(dext_region_write(f->host, VD_REGION_ROM, 0, "x", 1), -EIO);
}

static void a_refused_access_is_eio_or_einval(void **state)
{
    struct fake *f = *state;
    uint8_t byte;

    f->fail_call = 1;
    f->call_status = VD_DEXT_IO_ERROR;
    assert_int_equal(dext_region_read(f->host, VD_REGION_CONFIG, 0, &byte, 1), -EIO);
    f->fail_call = 1;
    f->call_status = VD_DEXT_BAD_ARGUMENT;
    assert_int_equal(dext_region_write(f->host, VD_REGION_CONFIG, 0, &byte, 1), -EINVAL);
    assert_int_equal(f->gone, 0);
}

static void a_removed_device_is_enodev_in_every_region_and_reported_once(void **state)
{
    struct fake *f = *state;
    uint8_t byte = 0;
    void *memory;

    f->fail_call = 1;
    f->call_status = VD_DEXT_NO_DEVICE;
    assert_int_equal(dext_region_read(f->host, VD_REGION_CONFIG, 0, &byte, 1), -ENODEV);
    assert_int_equal(f->gone, 1);
    fake_forget(f);
    for (unsigned index = 0; index < VD_REGION_CONFIG; index++) {
        if (!f->info.regions[index].size)
            continue;
        assert_int_equal(dext_region_read(f->host, index, 0, &byte, 1), -ENODEV);
        if (index != VD_REGION_ROM)
            assert_int_equal(dext_region_write(f->host, index, 0, &byte, 1), -ENODEV);
    }
    assert_int_equal(dext_region_map(f->host, 0, 0, 16384, &memory), -ENODEV);
    assert_int_equal(fake_calls_in_all(f), 0);
    assert_int_equal(f->gone, 1);
}

static void a_lost_connection_is_enodev_and_no_call_follows(void **state)
{
    struct fake *f = *state;
    uint8_t byte;

    f->dead = true;
    assert_int_equal(dext_region_read(f->host, VD_REGION_CONFIG, 0, &byte, 1), -ENODEV);
    assert_int_equal(f->calls, 1);
    assert_int_equal(dext_region_read(f->host, VD_REGION_CONFIG, 0, &byte, 1), -ENODEV);
    assert_int_equal(f->calls, 1);
    assert_int_equal(f->gone, 1);
    assert_int_equal(f->lines[VD_ENV_ERROR], 1);
}

static void bars_are_handed_out_as_descriptor_and_as_memory(void **state)
{
    struct fake *f = *state;
    uint64_t offset = 0;
    void *memory = NULL;

    assert_int_equal(dext_region_fd(f->host, 0, &offset), f->wake_fd);
    assert_int_equal(offset, 0x40000);
    assert_int_equal(dext_region_map(f->host, 2, 0x4000, 0x4000, &memory), 0);
    assert_ptr_equal(memory, f->bars[2].memory + 0x4000);
    dext_region_unmap(f->host, 2, memory, 0x4000);
    put(f, 2, 0x4000, 7, 1); /* the back end's own mapping is still there */
}

#define OPENED(test) cmocka_unit_test_setup_teardown(test, fake_setup, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPENED(bars_are_declared_as_the_extension_describes_them),
        OPENED(only_prefetchable_bars_are_mapped_write_combining),
        cmocka_unit_test(a_mapping_without_a_file_is_local_only),
        cmocka_unit_test(a_bar_that_cannot_be_mapped_stays_trapped),
        cmocka_unit_test(a_mapping_that_is_too_small_is_given_back),
        cmocka_unit_test(a_bar_of_impossible_size_is_left_out),
        cmocka_unit_test(the_upper_half_of_a_wide_bar_is_not_asked_for),
        OPENED(mapped_bars_are_reached_without_calls),
        cmocka_unit_test(trapped_accesses_are_split_into_the_widest_natural_pieces),
        OPENED(config_space_is_read_and_written_by_calls_of_at_most_four_bytes),
        OPENED(the_rom_is_read_by_calls_and_not_written),
        OPENED(a_refused_access_is_eio_or_einval),
        OPENED(a_removed_device_is_enodev_in_every_region_and_reported_once),
        OPENED(a_lost_connection_is_enodev_and_no_call_follows),
        OPENED(bars_are_handed_out_as_descriptor_and_as_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
