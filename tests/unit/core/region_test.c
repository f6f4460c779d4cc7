/* SPDX-License-Identifier: BSD-3-Clause */
/* Region access: what is checked before a host sees it, and what is counted. */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../base/unit.h"
#include "fake.h"

static void info_describes_every_index_and_no_other(void **state)
{
    struct fixture *f = *state;
    struct vd_region_info info;

    assert_int_equal(vd_region_info(f->device, VD_REGION_BAR0, &info), 0);
    assert_int_equal(info.size, 0x4000);
    assert_int_equal(vd_region_info(f->device, VD_REGION_VGA, &info), 0);
    assert_int_equal(info.size, 0);
    assert_int_equal(vd_region_info(f->device, VD_REGION_COUNT, &info), -EINVAL);
}

static void an_access_beyond_the_region_never_reaches_the_host(void **state)
{
    struct fixture *f = *state;
    uint8_t b[16] = {0};

    fake_forget_calls(&f->fake);
    assert_int_equal(vd_region_read(f->device, 0, 0x4000, b, 1), -EINVAL);
    assert_int_equal(vd_region_read(f->device, 0, 0x3ffd, b, 4), -EINVAL);
    assert_int_equal(vd_region_read(f->device, 0, UINT64_MAX, b, 2), -EINVAL);
    assert_int_equal(vd_region_write(f->device, 0, 0, b, SIZE_MAX), -EINVAL);
    assert_int_equal(vd_region_write(f->device, 0, 8, b, 0), -EINVAL);
    assert_int_equal(vd_region_read(f->device, VD_REGION_ROM, 0, b, 1), -EINVAL);
    assert_int_equal(vd_region_read(f->device, VD_REGION_COUNT, 0, b, 1), -EINVAL);
    assert_int_equal(vd_region_write(f->device, VD_REGION_COUNT, 0, b, 1), -EINVAL);
    assert_int_equal(f->fake.nr_calls, 0);
}

static void the_last_bytes_can_be_accessed(void **state)
{
    struct fixture *f = *state;
    uint32_t value = 0;

    assert_int_equal(vd_region_read(f->device, 0, 0x3ffc, &value, 4), 0);
    assert_true(value == 0x5a5a5a5a);
    assert_int_equal(vd_region_write(f->device, 0, 0x3ffc, &value, 4), 0);
}

static void a_region_that_cannot_be_written_is_eacces(void **state)
{
    struct fixture *f = *state;
    uint8_t b = 0;

    fake_forget_calls(&f->fake);
    assert_int_equal(vd_region_write(f->device, 1, 0, &b, 1), -EACCES);
    assert_int_equal(vd_region_read(f->device, 3, 0, &b, 1), -EACCES);
    assert_int_equal(f->fake.nr_calls, 0);
    assert_int_equal(vd_region_read(f->device, 1, 0, &b, 1), 0);
    assert_int_equal(vd_region_write(f->device, 3, 0, &b, 1), 0);
}

static void a_device_that_is_gone_answers_enodev(void **state)
{
    struct fixture *f = *state;
    uint8_t b = 0;

    f->fake.events->gone(f->fake.events->opaque);
    fake_forget_calls(&f->fake);
    assert_int_equal(vd_region_read(f->device, 0, 0, &b, 1), -ENODEV);
    assert_int_equal(vd_region_write(f->device, 0, 0, &b, 1), -ENODEV);
    assert_int_equal(f->fake.nr_calls, 0);
}

static void the_hosts_refusal_is_handed_on(void **state)
{
    struct fixture *f = *state;
    uint8_t b = 0;

    f->fake.read_error = -EIO;
    f->fake.write_error = -ENODEV;
    assert_int_equal(vd_region_read(f->device, 0, 0, &b, 1), -EIO);
    assert_int_equal(vd_region_write(f->device, 0, 0, &b, 1), -ENODEV);
    f->fake.write_error = 0;
}

static void accesses_and_refusals_are_counted(void **state)
{
    struct fixture *f = *state;
    struct vd_device_stats stats;
    uint8_t b[8] = {0};

    assert_int_equal(vd_region_read(f->device, 0, 0, b, 4), 0);
    assert_int_equal(vd_region_read(f->device, 0, 8, b, 8), 0);
    assert_int_equal(vd_region_write(f->device, 0, 0, b, 2), 0);
    assert_int_equal(vd_region_write(f->device, 0, 0x4000, b, 2), -EINVAL);
    f->fake.read_error = -EIO;
    assert_int_equal(vd_region_read(f->device, 0, 0, b, 4), -EIO);
    vd_device_stats(f->device, &stats);
    assert_int_equal(stats.regions[0].reads, 2);
    assert_int_equal(stats.regions[0].read_bytes, 12);
    assert_int_equal(stats.regions[0].writes, 1);
    assert_int_equal(stats.regions[0].written_bytes, 2);
    assert_int_equal(stats.regions[0].errors, 2);
    assert_int_equal(stats.regions[1].reads, 0);
    assert_int_equal(stats.dma_faults, 77);
}

static void only_a_mappable_region_has_a_descriptor(void **state)
{
    struct fixture *f = *state;
    uint64_t offset = 0;

    assert_int_equal(vd_region_fd(f->device, 2, &offset), 1002);
    assert_int_equal(offset, 0x20000);
    assert_int_equal(vd_region_fd(f->device, 0, &offset), -ENOTSUP);
    assert_int_equal(vd_region_fd(f->device, VD_REGION_COUNT, &offset), -EINVAL);
}

static void a_host_without_region_fd_has_no_descriptor(void **state)
{
    struct fixture *f = *state;
    uint64_t offset = 0;

    assert_int_equal(fixture_open(f, &fake_bare_ops, NULL), 0);
    assert_int_equal(vd_region_fd(f->device, 2, &offset), -ENOTSUP);
}

static void a_part_of_an_area_can_be_mapped_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct vd_region_info info;
    void *memory;
    uint8_t *bytes;
    int fd = memfd_create("bar", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 0x30000), 0);
    f->fake.bar_fd = fd;
    assert_int_equal(vd_region_info(f->device, 2, &info), 0);
    assert_true(info.flags & VD_REGION_LOCAL); /* what has a descriptor can be mapped here, too */
    assert_int_equal(vd_region_map(f->device, 2, 0x1000, 0x1000, &memory), 0);
    bytes = memory;
    bytes[3] = 0x5a;
    assert_int_equal(pread(fd, &bytes[4], 1, 0x21003),
                     1); /* the region's offset in the file, then the area's */
    assert_int_equal(bytes[4], 0x5a);
    vd_region_unmap(f->device, 2, memory, 0x1000);
    assert_int_equal(vd_region_map(f->device, 2, 0, 0x1000, &memory), -EINVAL); /* outside the area */
    assert_int_equal(vd_region_map(f->device, 2, 0x1000, 0x2000, &memory), -EINVAL);
    assert_int_equal(vd_region_map(f->device, 2, 0x1000, 0, &memory), -EINVAL);
    assert_int_equal(vd_region_map(f->device, 2, 0x1800, 0x800, &memory), -EINVAL);
    assert_int_equal(vd_region_map(f->device, 2, 0x1000, UINT64_MAX - 0xfff, &memory), -EINVAL);
    assert_int_equal(vd_region_map(f->device, 0, 0, 0x1000, &memory), -ENOTSUP);
    assert_int_equal(vd_region_map(f->device, VD_REGION_COUNT, 0, 0x1000, &memory), -EINVAL);
    f->fake.events->gone(f->fake.events->opaque);
    assert_int_equal(vd_region_map(f->device, 2, 0x1000, 0x1000, &memory), -ENODEV);
    assert_null(memory);
    close(fd);
}

#define OPENED(test) cmocka_unit_test_setup_teardown(test, fixture_setup_open, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPENED(info_describes_every_index_and_no_other),
        OPENED(an_access_beyond_the_region_never_reaches_the_host),
        OPENED(the_last_bytes_can_be_accessed),
        OPENED(a_region_that_cannot_be_written_is_eacces),
        OPENED(a_device_that_is_gone_answers_enodev),
        OPENED(the_hosts_refusal_is_handed_on),
        OPENED(accesses_and_refusals_are_counted),
        OPENED(only_a_mappable_region_has_a_descriptor),
        OPENED(a_part_of_an_area_can_be_mapped_and_nothing_else),
        cmocka_unit_test_setup_teardown(a_host_without_region_fd_has_no_descriptor, fixture_setup,
                                        fixture_teardown),
    };

    return cmocka_run_group_tests_name("region", tests, NULL, NULL);
}
