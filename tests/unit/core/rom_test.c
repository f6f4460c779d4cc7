/* SPDX-License-Identifier: BSD-3-Clause */
/* Expansion ROMs from files: what is refused and in which words, and what a guest reads. */
#include "../base/unit.h"
#include "chip.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/device.h"

struct bench {
    struct chip chip;
    struct vd_context *context;
    struct vd_device *device;
    struct vd_error error;
    char path[64];
    unsigned warnings;
};

static void count_line(void *opaque, enum vd_log_level level, const char *line)
{
    struct bench *bench = opaque;

    assert_int_equal(level, VD_LOG_WARN);
    assert_non_null(strstr(line, "55 aa"));
    bench->warnings++;
}

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    struct vd_context_options options = {
        .size = sizeof(options), .opaque = bench, .log = count_line, .log_level = VD_LOG_WARN};

    chip_init(&bench->chip);
    bench->chip.info.regions[VD_REGION_ROM] =
        (struct vd_region_info){.size = 0x8000, .flags = VD_REGION_READ};
    snprintf(bench->path, sizeof(bench->path), "rom-%ld.XXXXXX", (long)getpid());
    *state = bench;
    return vd_context_create(&options, &bench->context);
}

static int teardown(void **state)
{
    struct bench *bench = *state;

    vd_device_close(bench->device);
    vd_context_destroy(bench->context);
    if (!strstr(bench->path, "XXXXXX"))
        unlink(bench->path);
    free(bench);
    return 0;
}

/* A file of `size` bytes that begins as given. */
static void make_file(struct bench *bench, off_t size, const void *start, size_t length)
{
    int fd = mkstemp(bench->path);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    assert_int_equal(pwrite(fd, start, length, 0), (ssize_t)length);
    close(fd);
}

static int open_with(struct bench *bench, const char *rom, bool no_rom)
{
    struct vd_device_options options = {.size = sizeof(options), .rom = rom, .no_rom = no_rom};
    char address[64];

    snprintf(address, sizeof(address), "chip:%" PRIxPTR, (uintptr_t)&bench->chip);
    return vd_device_create(bench->context, &chip_ops, address, &options, &bench->device,
                            vd_failure_of(&bench->error));
}

static uint64_t rom_size(struct bench *bench)
{
    struct vd_region_info info;

    assert_int_equal(vd_region_info(bench->device, VD_REGION_ROM, &info), 0);
    return info.size;
}

/* What sizing the ROM's register says. */
static uint32_t rom_register(struct bench *bench)
{
    static const uint8_t ones[4] = {0xff, 0xff, 0xff, 0xff};
    uint8_t bytes[4];

    assert_int_equal(vd_region_write(bench->device, VD_REGION_CONFIG, 0x30, ones, 4), 0);
    assert_int_equal(vd_region_read(bench->device, VD_REGION_CONFIG, 0x30, bytes, 4), 0);
    return vd_load32(bytes);
}

static void the_hosts_rom_is_shown_by_default(void **state)
{
    struct bench *bench = *state;
    uint8_t byte;

    assert_int_equal(open_with(bench, NULL, false), 0);
    assert_int_equal(rom_size(bench), 0x8000);
    assert_int_equal(rom_register(bench), 0xffff8001);
    assert_int_equal(vd_region_read(bench->device, VD_REGION_ROM, 0, &byte, 1), 0);
    assert_int_equal(bench->chip.last_bar, VD_REGION_ROM);
}

static void no_rom_hides_it(void **state)
{
    struct bench *bench = *state;
    uint8_t byte;

    assert_int_equal(open_with(bench, NULL, true), 0);
    assert_int_equal(rom_size(bench), 0);
    assert_int_equal(rom_register(bench), 0);
    assert_int_equal(vd_region_read(bench->device, VD_REGION_ROM, 0, &byte, 1), -EINVAL);
}

static void a_file_takes_the_roms_place(void **state)
{
    static const uint8_t image[] = {0x55, 0xaa, 5, 6, 7};
    struct bench *bench = *state;
    uint8_t bytes[8];

    make_file(bench, 5000, image, sizeof(image));
    assert_int_equal(open_with(bench, bench->path, false), 0);
    assert_int_equal(rom_size(bench), 8192);
    assert_int_equal(rom_register(bench), 0xffffe001);
    assert_int_equal(vd_region_read(bench->device, VD_REGION_ROM, 0, bytes, 5), 0);
    assert_memory_equal(bytes, image, 5);
    assert_int_equal(vd_region_read(bench->device, VD_REGION_ROM, 4996, bytes, 8), 0);
    assert_memory_equal(bytes, "\0\0\0\0\xff\xff\xff\xff", 8); /* the file's end, then an erased chip */
    assert_int_equal(vd_region_read(bench->device, VD_REGION_ROM, 8184, bytes, 8), 0);
    assert_int_equal(vd_region_read(bench->device, VD_REGION_ROM, 8185, bytes, 8), -EINVAL);
    assert_int_equal(vd_region_write(bench->device, VD_REGION_ROM, 0, bytes, 1), -EACCES);
    assert_int_equal(bench->chip.bar_reads, 0);
    assert_int_equal(bench->warnings, 0);
}

static void a_file_that_is_no_image_is_shown_with_a_warning(void **state)
{
    struct bench *bench = *state;

    make_file(bench, 1, "x", 1);
    assert_int_equal(open_with(bench, bench->path, false), 0);
    assert_int_equal(rom_size(bench), 2048);
    assert_int_equal(bench->warnings, 1);
}

static void the_largest_rom_is_16_mib(void **state)
{
    struct bench *bench = *state;

    make_file(bench, 16 << 20, "\x55\xaa", 2);
    assert_int_equal(open_with(bench, bench->path, false), 0);
    assert_int_equal(rom_size(bench), 16 << 20);
    assert_int_equal(rom_register(bench), 0xff000001);
}

static void refused(struct bench *bench, const char *path, int code, bool usage, const char *words)
{
    assert_int_equal(open_with(bench, path, false), code);
    assert_null(bench->device);
    assert_int_equal(bench->error.code, code);
    assert_int_equal(bench->error.usage, usage);
    assert_non_null(strstr(bench->error.message, path));
    if (!strstr(bench->error.message, words))
        fail_msg("'%s' does not say '%s'", bench->error.message, words);
}

static void a_file_that_does_not_exist_is_enoent(void **state)
{
    refused(*state, "no/such/rom", -ENOENT, false, "No such file");
}

static void an_empty_file_is_refused(void **state)
{
    struct bench *bench = *state;

    make_file(bench, 0, "", 0);
    refused(bench, bench->path, -EINVAL, true, "empty");
}

static void a_file_over_16_mib_is_refused(void **state)
{
    struct bench *bench = *state;

    make_file(bench, (16 << 20) + 1, "\x55\xaa", 2);
    refused(bench, bench->path, -EINVAL, true, "16 MiB");
}

static void what_is_no_regular_file_is_refused(void **state)
{
    struct bench *bench = *state;

    refused(bench, "/dev/null", -EINVAL, true, "not a regular file");
    refused(bench, "/", -EINVAL, true, "not a regular file");
    close(mkstemp(bench->path));
    unlink(bench->path);
    assert_int_equal(mkfifo(bench->path, 0600), 0); /* opening it must not wait for a writer */
    refused(bench, bench->path, -EINVAL, true, "not a regular file");
}

static void a_host_that_describes_the_rom_itself_takes_no_file(void **state)
{
    struct bench *bench = *state;

    make_file(bench, 2048, "\x55\xaa", 2);
    bench->chip.info.raw_config = false;
    assert_int_equal(open_with(bench, bench->path, false), -ENOTSUP);
    assert_non_null(strstr(bench->error.message, "romfile="));
    assert_int_equal(open_with(bench, NULL, true), -ENOTSUP);
    assert_int_equal(open_with(bench, NULL, false), 0);
}

struct counted {
    unsigned fail;
    long live;
};

static void *counted_alloc(void *opaque, size_t size)
{
    struct counted *counted = opaque;

    if (counted->fail && --counted->fail == 0)
        return NULL;
    counted->live++;
    return calloc(1, size);
}

static void counted_release(void *opaque, void *memory)
{
    struct counted *counted = opaque;

    counted->live -= memory != NULL;
    free(memory);
}

/* With a file, MSI-X and everything else: each allocation in turn. */
static void opening_a_device_with_a_file_fails_cleanly_at_every_step(void **state)
{
    struct bench *bench = *state;
    struct counted counted = {0};
    struct vd_context_options options = {
        .size = sizeof(options), .opaque = &counted, .alloc = counted_alloc, .release = counted_release};
    struct vd_context *theirs = bench->context;
    unsigned n;

    make_file(bench, 3000, "\x55\xaa", 2);
    chip_list(&bench->chip, 0x40);
    chip_cap(&bench->chip, 0x40, 0x11, 0);
    chip_put32(&bench->chip, 0x44, 0x1000);
    chip_put32(&bench->chip, 0x48, 0x2000);
    assert_int_equal(vd_context_create(&options, &bench->context), 0);
    for (n = 1; n < 100; n++) {
        int ret;

        counted.fail = n;
        ret = open_with(bench, bench->path, false);
        if (ret == 0)
            break;
        assert_int_equal(ret, -ENOMEM);
        assert_int_equal(counted.live, 1); /* the context */
    }
    counted.fail = 0;
    assert_int_equal(n, 9); /* device, address, ROM, config space, table, three kinds of interrupt */
    vd_device_close(bench->device);
    bench->device = NULL;
    assert_int_equal(counted.live, 1);
    vd_context_destroy(bench->context);
    bench->context = theirs;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_hosts_rom_is_shown_by_default),
        TEST(no_rom_hides_it),
        TEST(a_file_takes_the_roms_place),
        TEST(a_file_that_is_no_image_is_shown_with_a_warning),
        TEST(the_largest_rom_is_16_mib),
        TEST(a_file_that_does_not_exist_is_enoent),
        TEST(an_empty_file_is_refused),
        TEST(a_file_over_16_mib_is_refused),
        TEST(what_is_no_regular_file_is_refused),
        TEST(a_host_that_describes_the_rom_itself_takes_no_file),
        TEST(opening_a_device_with_a_file_fails_cleanly_at_every_step),
    };

    return cmocka_run_group_tests_name("rom", tests, NULL, NULL);
}
