/* SPDX-License-Identifier: BSD-3-Clause */
/* The guest memory table: what is refused, which file mappings are shared and kept, and when they go. */
#include "core/guest_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../base/unit.h"
#include "fake.h"

enum { RW = VD_ACCESS_READ | VD_ACCESS_WRITE };

#define PAGE       FAKE_PAGE
#define FILE_PAGES 64ul
#define FILE_NAME  "vd-test-guest-ram"

struct table {
    struct fixture *f;
    struct vd_guest_memory *memory;
    unsigned added, removed;
    int refuse; /* what the listener answers */
    int fd;     /* FILE_PAGES pages */
};

static int on_added(void *opaque, struct vd_guest_region *region)
{
    struct table *t = opaque;

    assert_non_null(region);
    t->added++;
    return t->refuse;
}

static void on_removed(void *opaque, struct vd_guest_region *region)
{
    struct table *t = opaque;

    assert_ptr_equal(vd_guest_memory_find(t->memory, (vd_gpa){region->node.range.start}), region);
    t->removed++;
}

static struct table *start(void **state, struct table *t)
{
    static const struct vd_dma_remote remote;
    struct vd_guest_memory_listener listener = {on_added, on_removed, t};

    *t = (struct table){.f = *state, .fd = memfd_create(FILE_NAME, MFD_CLOEXEC)};
    assert_true(t->fd >= 0);
    assert_int_equal(ftruncate(t->fd, (off_t)(FILE_PAGES * PAGE)), 0);
    assert_int_equal(vd_guest_memory_create(&t->f->context->env, &remote, &listener, &t->memory), 0);
    return t;
}

/* How many mappings of the test's file this process has. */
static unsigned file_mappings(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    unsigned count = 0;

    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps))
        count += strstr(line, FILE_NAME) != NULL;
    fclose(maps);
    return count;
}

static void finish(struct table *t)
{
    vd_guest_memory_destroy(t->memory);
    assert_int_equal(file_mappings(), 0);
    close(t->fd);
}

static int add(struct table *t, uint64_t gpa, uint64_t pages, uint64_t page_offset)
{
    return vd_guest_memory_add(t->memory, (vd_gpa){gpa}, pages * PAGE, RW, t->fd, page_offset * PAGE);
}

static uint8_t *host_of(struct table *t, uint64_t gpa)
{
    const struct vd_guest_region *region = vd_guest_memory_find(t->memory, (vd_gpa){gpa});

    assert_non_null(region);
    return region->host;
}

static void a_region_shows_the_files_bytes_at_its_offset(void **state)
{
    struct table table = {0}, *t = start(state, &table);
    uint8_t byte = 0xa7;

    assert_int_equal(pwrite(t->fd, &byte, 1, (off_t)(3 * PAGE)), 1);
    assert_int_equal(add(t, 0x100000, 2, 3), 0);
    assert_int_equal(host_of(t, 0x100000)[0], 0xa7);
    host_of(t, 0x100000)[PAGE] = 0x42;
    assert_int_equal(pread(t->fd, &byte, 1, (off_t)(4 * PAGE)), 1);
    assert_int_equal(byte, 0x42);
    assert_int_equal(vd_guest_memory_count(t->memory), 1);
    assert_int_equal(vd_guest_memory_bytes(t->memory), 2 * PAGE);
    assert_ptr_equal(host_of(t, 0x100000 + 2 * PAGE - 1), host_of(t, 0x100000));
    assert_null(vd_guest_memory_find(t->memory, (vd_gpa){0x100000 + 2 * PAGE}));
    assert_null(vd_guest_memory_find(t->memory, (vd_gpa){0xfffff}));
    finish(t);
}

static void the_same_file_announced_again_is_not_mapped_again(void **state)
{
    struct table table = {0}, *t = start(state, &table);
    int copy = fcntl(t->fd, F_DUPFD_CLOEXEC, 0);
    uint8_t *first;

    assert_int_equal(add(t, 0x100000, 2, 0), 0);
    first = host_of(t, 0x100000);
    assert_int_equal(file_mappings(), 1);
    assert_int_equal(add(t, 0x200000, 16, 8), 0); /* another window of it */
    assert_ptr_equal(host_of(t, 0x200000), first + 8 * PAGE);
    assert_int_equal(vd_guest_memory_add(t->memory, (vd_gpa){0x300000}, PAGE, RW, copy, 0), 0);
    assert_ptr_equal(host_of(t, 0x300000), first); /* another descriptor for it */
    vd_guest_memory_clear(t->memory);
    assert_int_equal(file_mappings(), 1); /* kept, out of reach */
    assert_null(vd_guest_memory_find(t->memory, (vd_gpa){0x100000}));
    assert_int_equal(add(t, 0x500000, 2, 0), 0); /* it came back: firmware moves RAM about */
    assert_ptr_equal(host_of(t, 0x500000), first);
    assert_int_equal(file_mappings(), 1);
    close(copy);
    finish(t);
}

static void a_file_that_grew_is_mapped_anew_where_it_grew(void **state)
{
    struct table table = {0}, *t = start(state, &table);

    assert_int_equal(add(t, 0, 1, 0), 0);
    assert_int_equal(ftruncate(t->fd, (off_t)(2 * FILE_PAGES * PAGE)), 0);
    assert_int_equal(add(t, 0x10000000, 1, FILE_PAGES), 0);
    host_of(t, 0x10000000)[0] = 1;
    assert_int_equal(file_mappings(), 2);
    assert_int_equal(ftruncate(t->fd, (off_t)(FILE_PAGES * PAGE)), 0);
    finish(t);
}

static void kept_mappings_are_trimmed_by_age(void **state)
{
    struct table table = {0}, *t = start(state, &table);

    assert_false(vd_guest_memory_can_trim(t->memory));
    assert_int_equal(add(t, 0, 4, 0), 0);
    t->f->now = 1000;
    vd_guest_memory_trim(t->memory, UINT64_MAX); /* in use: stays */
    assert_int_equal(file_mappings(), 1);
    assert_false(vd_guest_memory_can_trim(t->memory));
    assert_int_equal(vd_guest_memory_remove(t->memory, (vd_gpa){0}, 4 * PAGE), 0);
    assert_true(vd_guest_memory_can_trim(t->memory));
    vd_guest_memory_trim(t->memory, 999);
    assert_int_equal(file_mappings(), 1);
    vd_guest_memory_trim(t->memory, 1000);
    assert_int_equal(file_mappings(), 0);
    assert_false(vd_guest_memory_can_trim(t->memory));
    finish(t);
}

static void only_so_many_unused_mappings_are_kept(void **state)
{
    enum { FILES = 24 };
    struct table table = {0}, *t = start(state, &table);

    for (int i = 0; i < FILES; i++) {
        int fd = memfd_create(FILE_NAME, MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t)PAGE), 0);
        t->f->now++;
        assert_int_equal(vd_guest_memory_add(t->memory, (vd_gpa){0}, PAGE, RW, fd, 0), 0);
        assert_int_equal(vd_guest_memory_remove(t->memory, (vd_gpa){0}, PAGE), 0);
        close(fd);
    }
    assert_in_range(file_mappings(), 1, 16);
    finish(t);
}

static void a_read_only_descriptor_serves_read_only_memory(void **state)
{
    struct table table = {0}, *t = start(state, &table);
    char path[64];
    int fd;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", t->fd);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(vd_guest_memory_add(t->memory, (vd_gpa){0}, PAGE, RW, fd, 0), -EACCES);
    assert_int_equal(vd_guest_memory_count(t->memory), 0);
    assert_int_equal(vd_guest_memory_add(t->memory, (vd_gpa){0}, PAGE, VD_ACCESS_READ, fd, 0), 0);
    assert_int_equal(host_of(t, 0)[0], 0);
    /* A writable announcement of the file must not be served from the read-only mapping. */
    assert_int_equal(add(t, 0x100000, 1, 0), 0);
    host_of(t, 0x100000)[0] = 9;
    assert_int_equal(host_of(t, 0)[0], 9);
    close(fd);
    finish(t);
}

static void a_file_that_is_too_short_is_refused(void **state)
{
    struct table table = {0}, *t = start(state, &table);

    assert_int_equal(add(t, 0, FILE_PAGES + 1, 0), -EINVAL);
    assert_int_equal(add(t, 0, 1, FILE_PAGES), -EINVAL);
    assert_int_equal(vd_guest_memory_add(t->memory, (vd_gpa){0}, PAGE, RW, t->fd, UINT64_MAX - PAGE + 1),
                     -EINVAL);
    assert_int_equal(vd_guest_memory_add(t->memory, (vd_gpa){0}, PAGE, RW, t->fd, INT64_MAX), -EINVAL);
    assert_int_equal(file_mappings(), 0);
    assert_int_equal(vd_guest_memory_count(t->memory), 0);
    assert_int_equal(add(t, 0, FILE_PAGES, 0), 0); /* the refused range is free */
    finish(t);
}

static void a_descriptor_that_cannot_be_mapped_is_eacces(void **state)
{
    struct table table = {0}, *t = start(state, &table);
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    assert_int_equal(vd_guest_memory_add(t->memory, (vd_gpa){0}, PAGE, RW, ends[0], 0), -EACCES);
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(vd_guest_memory_add(t->memory, (vd_gpa){0}, PAGE, RW, ends[0], 0), -EINVAL); /* closed */
    finish(t);
}

static void malformed_announcements_are_einval(void **state)
{
    struct table table = {0}, *t = start(state, &table);

    assert_int_equal(vd_guest_memory_add(t->memory, (vd_gpa){0}, 0, RW, t->fd, 0), -EINVAL);
    assert_int_equal(vd_guest_memory_add(t->memory, (vd_gpa){UINT64_MAX}, 2, RW, -1, 0), -EINVAL);
    assert_int_equal(vd_guest_memory_add(t->memory, (vd_gpa){PAGE}, UINT64_MAX - PAGE + 2, RW, -1, 0),
                     -EINVAL);
    assert_int_equal(vd_guest_memory_add(t->memory, (vd_gpa){0}, PAGE, 0, t->fd, 0), -EINVAL);
    assert_int_equal(vd_guest_memory_add(t->memory, (vd_gpa){0}, PAGE, 8 | RW, t->fd, 0), -EINVAL);
    assert_int_equal(vd_guest_memory_add(t->memory, (vd_gpa){0}, PAGE, RW, -1, PAGE), -EINVAL);
    assert_int_equal(t->added, 0);
    finish(t);
}

static void overlapping_announcements_are_eexist(void **state)
{
    struct table table = {0}, *t = start(state, &table);

    assert_int_equal(add(t, 0x10000, 4, 0), 0);
    assert_int_equal(add(t, 0x13000, 4, 4), -EEXIST);
    assert_int_equal(add(t, 0x10000, 4, 0), -EEXIST);
    assert_int_equal(vd_guest_memory_add(t->memory, (vd_gpa){0}, 1ull << 40, RW, -1, 0), -EEXIST);
    assert_int_equal(add(t, 0x14000, 4, 4), 0);
    assert_int_equal(vd_guest_memory_bytes(t->memory), 8 * PAGE);
    finish(t);
}

static void remove_takes_exact_ranges_only(void **state)
{
    struct table table = {0}, *t = start(state, &table);

    assert_int_equal(add(t, 0x10000, 4, 0), 0);
    assert_int_equal(vd_guest_memory_remove(t->memory, (vd_gpa){0x10000}, 3 * PAGE), -ENOENT);
    assert_int_equal(vd_guest_memory_remove(t->memory, (vd_gpa){0x11000}, 3 * PAGE), -ENOENT);
    assert_int_equal(vd_guest_memory_remove(t->memory, (vd_gpa){0x10000}, 0), -ENOENT);
    assert_int_equal(vd_guest_memory_remove(t->memory, (vd_gpa){0x10000}, UINT64_MAX), -ENOENT);
    assert_int_equal(vd_guest_memory_remove(t->memory, (vd_gpa){0}, 4 * PAGE), -ENOENT);
    assert_int_equal(t->removed, 0);
    assert_int_equal(vd_guest_memory_remove(t->memory, (vd_gpa){0x10000}, 4 * PAGE), 0);
    assert_int_equal(t->removed, 1);
    assert_int_equal(vd_guest_memory_remove(t->memory, (vd_gpa){0x10000}, 4 * PAGE), -ENOENT);
    assert_int_equal(vd_guest_memory_bytes(t->memory), 0);
    finish(t);
}

static void remove_within_spares_what_sticks_out(void **state)
{
    struct table table = {0}, *t = start(state, &table);

    for (uint64_t i = 0; i < 5; i++)
        assert_int_equal(add(t, i * 0x10000, 4, i * 4), 0);
    assert_int_equal(vd_guest_memory_remove_within(t->memory, (struct vd_range){0x11000, 0x42fff}), 2);
    assert_int_equal(vd_guest_memory_count(t->memory), 3); /* 0, the one cut in front, the one cut behind */
    assert_non_null(vd_guest_memory_find(t->memory, (vd_gpa){0x10000}));
    assert_non_null(vd_guest_memory_find(t->memory, (vd_gpa){0x40000}));
    assert_int_equal(vd_guest_memory_remove_within(t->memory, (struct vd_range){0x50000, UINT64_MAX}), 0);
    assert_int_equal(vd_guest_memory_remove_within(t->memory, (struct vd_range){0, UINT64_MAX}), 3);
    assert_int_equal(t->removed, 5);
    finish(t);
}

static void regions_are_listed_in_address_order(void **state)
{
    static const uint64_t at[] = {0x50000, 0x10000, 0x30000};
    struct table table = {0}, *t = start(state, &table);
    const struct vd_guest_region *region = NULL;

    for (int i = 0; i < 3; i++)
        assert_int_equal(add(t, at[i], 1, (uint64_t)i), 0);
    for (uint64_t want = 0x10000; want <= 0x50000; want += 0x20000) {
        region = vd_guest_memory_next(t->memory, region);
        assert_non_null(region);
        assert_int_equal(region->node.range.start, want);
    }
    assert_null(vd_guest_memory_next(t->memory, region));
    finish(t);
}

static void memory_without_a_descriptor_has_no_pointer(void **state)
{
    struct table table = {0}, *t = start(state, &table);

    assert_int_equal(vd_guest_memory_add(t->memory, (vd_gpa){0}, 1ull << 40, VD_ACCESS_READ, -1, 0), 0);
    assert_null(host_of(t, 0x1000));
    assert_int_equal(t->added, 1);
    assert_false(vd_guest_memory_can_trim(t->memory));
    finish(t);
}

static void a_listeners_refusal_undoes_the_announcement(void **state)
{
    struct table table = {0}, *t = start(state, &table);
    long before = t->f->live_memory;

    t->refuse = -ENOSPC;
    assert_int_equal(add(t, 0, 4, 0), -ENOSPC);
    assert_int_equal(vd_guest_memory_count(t->memory), 0);
    assert_int_equal(vd_guest_memory_bytes(t->memory), 0);
    assert_int_equal(t->removed, 0);
    vd_guest_memory_trim(t->memory, UINT64_MAX);
    assert_int_equal(t->f->live_memory, before);
    t->refuse = 0;
    assert_int_equal(add(t, 0, 4, 0), 0);
    finish(t);
}

static void the_descriptor_stays_the_callers(void **state)
{
    struct table table = {0}, *t = start(state, &table);

    assert_int_equal(add(t, 0, 1, 0), 0);
    assert_int_equal(add(t, 0, 1, 0), -EEXIST);
    vd_guest_memory_clear(t->memory);
    vd_guest_memory_trim(t->memory, UINT64_MAX);
    assert_true(fcntl(t->fd, F_GETFD) >= 0);
    finish(t);
}

static void every_step_of_add_may_fail(void **state)
{
    struct table table = {0}, *t = start(state, &table);
    long before = t->f->live_memory;
    unsigned nth;

    for (nth = 1; nth < 10; nth++) {
        int ret;

        t->f->fail_nth = nth;
        ret = add(t, 0, 4, 0);
        if (ret == 0)
            break;
        assert_int_equal(ret, -ENOMEM);
        assert_int_equal(vd_guest_memory_count(t->memory), 0);
        assert_int_equal(t->f->live_memory, before);
        assert_int_equal(file_mappings(), 0);
    }
    t->f->fail_nth = 0;
    assert_int_equal(nth, 4); /* region, file, mmap: three steps can fail */
    finish(t);
}

/* Two regions of one file side by side, a hole, and a read-only region behind it. */
static void add_three(struct table *t)
{
    assert_int_equal(add(t, 0x10000, 2, 8), 0);
    assert_int_equal(add(t, 0x12000, 2, 1), 0);
    assert_int_equal(vd_guest_memory_add(t->memory, (vd_gpa){0x15000}, PAGE, VD_ACCESS_READ, t->fd, 0), 0);
}

static void copies_cross_from_region_to_region(void **state)
{
    struct table table = {0}, *t = start(state, &table);
    char out[] = "over the seam", in[sizeof(out)] = "";

    add_three(t);
    assert_int_equal(vd_guest_memory_write(t->memory, (vd_gpa){0x12000 - 5}, out, sizeof(out)), 0);
    assert_int_equal(memcmp(host_of(t, 0x10000) + 2 * PAGE - 5, out, 5), 0);
    assert_int_equal(memcmp(host_of(t, 0x12000), out + 5, sizeof(out) - 5), 0);
    assert_int_equal(vd_guest_memory_read(t->memory, (vd_gpa){0x12000 - 5}, in, sizeof(in)), 0);
    assert_string_equal(in, out);
    finish(t);
}

static void copies_reach_nothing_but_guest_memory(void **state)
{
    struct table table = {0}, *t = start(state, &table);
    uint8_t bytes[16] = {0};

    add_three(t);
    assert_int_equal(vd_guest_memory_add(t->memory, (vd_gpa){0x20000}, PAGE, RW, -1, 0), 0);
    assert_int_equal(vd_guest_memory_read(t->memory, (vd_gpa){0x14000 - 8}, bytes, 16), -EFAULT);
    assert_int_equal(vd_guest_memory_read(t->memory, (vd_gpa){0x10000 - 1}, bytes, 1), -EFAULT);
    assert_int_equal(vd_guest_memory_read(t->memory, (vd_gpa){0x20000}, bytes, 1), -EFAULT);
    assert_int_equal(vd_guest_memory_read(t->memory, (vd_gpa){UINT64_MAX}, bytes, 16), -EFAULT);
    assert_int_equal(vd_guest_memory_read(t->memory, (vd_gpa){0x15000}, bytes, 16), 0);
    assert_int_equal(vd_guest_memory_write(t->memory, (vd_gpa){0x15000}, bytes, 1), -EFAULT);
    finish(t);
}

static void files_are_kept_only_when_asked_for(void **state)
{
    struct table table = {0}, *t = start(state, &table);
    struct vd_dma_file file;

    add_three(t);
    assert_false(vd_guest_region_file(vd_guest_memory_find(t->memory, (vd_gpa){0x12000}), &file));
    finish(t);
}

static void a_kept_file_shows_the_region_at_its_offset(void **state)
{
    struct table table = {0}, *t = start(state, &table);
    struct vd_dma_file file;
    uint8_t byte = 0x42, seen = 0;

    vd_guest_memory_keep_files(t->memory);
    add_three(t);
    assert_true(vd_guest_region_file(vd_guest_memory_find(t->memory, (vd_gpa){0x12000}), &file));
    assert_int_equal(file.offset, PAGE);
    assert_int_not_equal(file.fd, t->fd);
    assert_int_equal(vd_guest_memory_write(t->memory, (vd_gpa){0x12001}, &byte, 1), 0);
    assert_int_equal(pread(file.fd, &seen, 1, (off_t)file.offset + 1), 1);
    assert_int_equal(seen, byte);
    vd_guest_memory_clear(t->memory);
    vd_guest_memory_trim(t->memory, UINT64_MAX);
    assert_int_equal(fcntl(file.fd, F_GETFD), -1);
    finish(t);
}

#define TABLE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TABLE(a_region_shows_the_files_bytes_at_its_offset),
        TABLE(the_same_file_announced_again_is_not_mapped_again),
        TABLE(a_file_that_grew_is_mapped_anew_where_it_grew),
        TABLE(kept_mappings_are_trimmed_by_age),
        TABLE(only_so_many_unused_mappings_are_kept),
        TABLE(a_read_only_descriptor_serves_read_only_memory),
        TABLE(a_file_that_is_too_short_is_refused),
        TABLE(a_descriptor_that_cannot_be_mapped_is_eacces),
        TABLE(malformed_announcements_are_einval),
        TABLE(overlapping_announcements_are_eexist),
        TABLE(remove_takes_exact_ranges_only),
        TABLE(remove_within_spares_what_sticks_out),
        TABLE(regions_are_listed_in_address_order),
        TABLE(memory_without_a_descriptor_has_no_pointer),
        TABLE(a_listeners_refusal_undoes_the_announcement),
        TABLE(the_descriptor_stays_the_callers),
        TABLE(every_step_of_add_may_fail),
        TABLE(copies_cross_from_region_to_region),
        TABLE(copies_reach_nothing_but_guest_memory),
        TABLE(files_are_kept_only_when_asked_for),
        TABLE(a_kept_file_shows_the_region_at_its_offset),
    };

    return cmocka_run_group_tests_name("guest_memory", tests, NULL, NULL);
}
