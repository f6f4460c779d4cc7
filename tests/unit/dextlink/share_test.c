/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bookkeeping of shared files against another side that insists on what share.h promises: announced ranges are
 * disjoint, a withdrawal names one of them, and at each moment a registered region lies in one range of the right file.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dextlink/share.h"
#include "wire.h"

enum { PAGE = 65536, MAX_TOLD = 256 }; /* a multiple of every host's page */

/* What the other side knows. */
struct told {
    uint64_t address, size, offset;
    ino_t ino;
};

struct rig {
    struct wire_env env;
    struct vd_shares shares;
    unsigned announced, withdrawn; /* so far */
    unsigned nr;
    struct told told[MAX_TOLD];
    int refuse;            /* what announce() answers */
    unsigned refuse_above; /* ranges */
};

static int announce(void *opaque, uint64_t address, uint64_t size, uint64_t offset, int fd)
{
    struct rig *t = opaque;
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    assert_true(size > 0 && size <= (uint64_t)st.st_size - offset);
    assert_int_equal(address % (uint64_t)sysconf(_SC_PAGESIZE), 0);
    assert_int_equal(offset % (uint64_t)sysconf(_SC_PAGESIZE), 0);
    for (unsigned i = 0; i < t->nr; i++)
        assert_true(address + size <= t->told[i].address || address >= t->told[i].address + t->told[i].size);
    t->announced++;
    if (t->refuse && t->nr >= t->refuse_above)
        return t->refuse;
    assert_true(t->nr < MAX_TOLD);
    t->told[t->nr++] = (struct told){address, size, offset, st.st_ino};
    return 0;
}

static void withdraw(void *opaque, uint64_t address)
{
    struct rig *t = opaque;

    for (unsigned i = 0; i < t->nr; i++) {
        if (t->told[i].address != address)
            continue;
        t->told[i] = t->told[--t->nr];
        t->withdrawn++;
        return;
    }
    fail_msg("a range that was not announced is withdrawn");
}

static const struct vd_share_ops ops = {.announce = announce, .withdraw = withdraw};

static int set_up(void **state)
{
    struct rig *t = calloc(1, sizeof(*t));

    assert_non_null(t);
    wire_env_init(&t->env);
    vd_shares_init(&t->shares, &t->env.env, &ops, t);
    *state = t;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *t = *state;

    vd_shares_finish(&t->shares);
    assert_int_equal(t->env.live, 0);
    free(t);
    return 0;
}

static const void *at(uint64_t address)
{
    return (const void *)(uintptr_t)address; /* never looked through */
}

/* True when the other side can tell which bytes of which file the region is. */
static bool resolves(const struct rig *t, uint64_t host, uint64_t size, int fd, uint64_t offset)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    for (unsigned i = 0; i < t->nr; i++) {
        const struct told *told = &t->told[i];

        if (host >= told->address && host + size <= told->address + told->size)
            return told->ino == st.st_ino && told->offset + (host - told->address) == offset;
    }
    return false;
}

static int get(struct rig *t, uint64_t host, uint64_t size, int fd, uint64_t offset)
{
    const struct vd_link_memory memory = {.host = at(host), .size = size, .fd = fd, .offset = offset};
    int status = vd_shares_get(&t->shares, &memory);

    if (!status)
        assert_true(resolves(t, host, size, fd, offset));
    return status;
}

static void put(struct rig *t, uint64_t host, uint64_t size)
{
    vd_shares_put(&t->shares, at(host), size);
}

static void regions_of_one_file_cost_one_announcement(void **state)
{
    struct rig *t = *state;
    int fd = wire_memfd(4096 * PAGE);

    for (uint64_t i = 0; i < 4096; i++)
        assert_int_equal(get(t, 0x10000000 + i * PAGE, PAGE, fd, i * PAGE), 0);
    assert_int_equal(t->announced, 1);
    assert_int_equal(t->told[0].address, 0x10000000);
    assert_int_equal(t->told[0].size, 4096 * PAGE);
    for (uint64_t i = 0; i < 4096; i++)
        put(t, 0x10000000 + i * PAGE, PAGE);
    assert_int_equal(t->withdrawn, 0);
    close(fd);
}

static void a_file_that_was_idle_costs_nothing_when_it_returns(void **state)
{
    struct rig *t = *state;
    int fd = wire_memfd(PAGE), other;

    assert_int_equal(get(t, 0x10000000, PAGE, fd, 0), 0);
    put(t, 0x10000000, PAGE);
    other = dup(fd); /* another number of the same file */
    close(fd);
    assert_int_equal(get(t, 0x10000000, PAGE, other, 0), 0);
    assert_int_equal(t->announced, 1);
    close(other);
}

static void a_reused_descriptor_and_address_are_announced_anew(void **state)
{
    struct rig *t = *state;
    int fd = wire_memfd(PAGE), again;

    assert_int_equal(get(t, 0x10000000, PAGE, fd, 0), 0);
    put(t, 0x10000000, PAGE);
    again = wire_memfd(PAGE);
    assert_int_equal(dup2(again, fd), fd);
    close(again);
    assert_int_equal(get(t, 0x10000000, PAGE, fd, 0), 0);
    assert_int_equal(t->announced, 2);
    assert_int_equal(t->withdrawn, 1);
    close(fd);
}

static void one_file_mapped_twice_is_two_shares(void **state)
{
    struct rig *t = *state;
    int fd = wire_memfd(2 * PAGE);

    assert_int_equal(get(t, 0x10000000, PAGE, fd, 0), 0);
    assert_int_equal(get(t, 0x20000000 + PAGE, PAGE, fd, PAGE), 0);
    assert_int_equal(t->announced, 2);
    assert_int_equal(t->nr, 2);
    close(fd);
}

static void idle_shares_beyond_the_limit_go_least_recent_first(void **state)
{
    struct rig *t = *state;
    int fd[VD_SHARES_IDLE + 2];

    for (unsigned i = 0; i < VD_SHARES_IDLE + 2; i++) {
        fd[i] = wire_memfd(PAGE);
        assert_int_equal(get(t, 0x10000000 + i * 2 * PAGE, PAGE, fd[i], 0), 0);
    }
    /* The first is used again, so the second is the least recent. */
    for (unsigned i = 0; i < VD_SHARES_IDLE; i++)
        put(t, 0x10000000 + i * 2 * PAGE, PAGE);
    assert_int_equal(t->withdrawn, 0);
    assert_int_equal(get(t, 0x10000000, PAGE, fd[0], 0), 0);
    put(t, 0x10000000, PAGE);
    put(t, 0x10000000 + VD_SHARES_IDLE * 2 * PAGE, PAGE);
    assert_int_equal(t->withdrawn, 1);
    assert_true(resolves(t, 0x10000000, PAGE, fd[0], 0));
    assert_false(resolves(t, 0x10000000 + 2 * PAGE, PAGE, fd[1], 0));
    put(t, 0x10000000 + (VD_SHARES_IDLE + 1) * 2 * PAGE, PAGE);
    assert_int_equal(t->withdrawn, 2);
    assert_false(resolves(t, 0x10000000 + 4 * PAGE, PAGE, fd[2], 0));
    for (unsigned i = 0; i < VD_SHARES_IDLE + 2; i++)
        close(fd[i]);
}

static void a_share_in_use_is_never_withdrawn(void **state)
{
    struct rig *t = *state;
    int held = wire_memfd(PAGE), fd = wire_memfd(PAGE);

    assert_int_equal(get(t, 0x10000000, PAGE, held, 0), 0);
    assert_int_equal(get(t, 0x10000000, PAGE, held, 0), 0);
    put(t, 0x10000000, PAGE);
    for (unsigned i = 1; i < 200; i++) {
        assert_int_equal(get(t, 0x10000000 + i * 2 * PAGE, PAGE, fd, 0), 0);
        put(t, 0x10000000 + i * 2 * PAGE, PAGE);
    }
    assert_int_equal(t->withdrawn, 199 - VD_SHARES_IDLE);
    assert_true(resolves(t, 0x10000000, PAGE, held, 0));
    /* Another file there, against all rules, is refused. */
    assert_int_equal(get(t, 0x10000000, PAGE, fd, 0), VD_DEXT_NO_RESOURCES);
    put(t, 0x10000000, PAGE);
    assert_int_equal(get(t, 0x10000000, PAGE, fd, 0), 0);
    close(held);
    close(fd);
}

static void a_file_that_grew_is_shared_anew(void **state)
{
    struct rig *t = *state;
    int fd = wire_memfd(4 * PAGE);

    assert_int_equal(get(t, 0x10000000, PAGE, fd, 0), 0);
    put(t, 0x10000000, PAGE);
    assert_int_equal(ftruncate(fd, 8 * PAGE), 0);
    assert_int_equal(get(t, 0x10000000 + 3 * PAGE, 2 * PAGE, fd, 3 * PAGE), 0);
    assert_int_equal(t->withdrawn, 1);
    assert_int_equal(t->nr, 1);
    assert_int_equal(t->told[0].size, 8 * PAGE);
    /* In use, it is joined by what was added. */
    assert_int_equal(ftruncate(fd, 16 * PAGE), 0);
    assert_int_equal(get(t, 0x10000000 + 9 * PAGE, PAGE, fd, 9 * PAGE), 0);
    assert_int_equal(t->nr, 2);
    assert_int_equal(t->told[1].address, 0x10000000 + 8 * PAGE);
    assert_int_equal(t->told[1].size, 8 * PAGE);
    /* A region across both takes what neither used. */
    assert_int_equal(get(t, 0x10000000 + 7 * PAGE, 2 * PAGE, fd, 7 * PAGE), 0);
    assert_true(resolves(t, 0x10000000 + 3 * PAGE, 2 * PAGE, fd, 3 * PAGE));
    assert_true(resolves(t, 0x10000000 + 9 * PAGE, PAGE, fd, 9 * PAGE));
    close(fd);
}

/* Pieces of files mapped side by side: whole files would overlap. */
static void announcements_are_cut_at_shares_in_use(void **state)
{
    struct rig *t = *state;
    int low = wire_memfd(64 * PAGE), middle = wire_memfd(5 * PAGE + 100), high = wire_memfd(64 * PAGE);
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

    /* 5 pages and a bit of the middle one at 0x10000000, the others' pieces close around it. */
    assert_int_equal(get(t, 0x10000000, 100, middle, 0), 0);
    assert_int_equal(get(t, 0x10000000 - PAGE, PAGE, low, 10 * PAGE), 0);
    assert_int_equal(get(t, 0x10000000 + 6 * PAGE, PAGE, high, 30 * PAGE), 0);
    assert_int_equal(t->nr, 3);
    assert_int_equal(t->told[1].address, 0x10000000 - 11 * PAGE);
    assert_int_equal(t->told[1].size, 11 * PAGE);
    assert_int_equal(t->told[2].address, 0x10000000 + 5 * PAGE + page);
    assert_int_equal(t->told[2].offset, 29 * PAGE + page);
    /* A region on what is used of another file is refused as long as that is so, and served afterwards. */
    assert_int_equal(get(t, 0x10000000, PAGE, low, 11 * PAGE), VD_DEXT_NO_RESOURCES);
    put(t, 0x10000000, 100);
    assert_int_equal(get(t, 0x10000000, PAGE, low, 11 * PAGE), 0);
    close(low);
    close(middle);
    close(high);
}

/*
 * Guest memory of two files, the first with a hole between its pieces, mapped piece by piece from high addresses to low
 * ones as kernels do: where the rest of the first file would be lies the second one.
 */
static void a_file_where_the_rest_of_another_was_guessed_is_shared(void **state)
{
    const uint64_t below_hole = 0x40000000, above_hole = below_hole - 16 * PAGE;
    const uint64_t second = above_hole - 32 * PAGE;
    struct rig *t = *state;
    int first_fd = wire_memfd(64 * PAGE), second_fd = wire_memfd(32 * PAGE);

    assert_int_equal(get(t, below_hole, PAGE, first_fd, 0), 0);
    assert_int_equal(get(t, above_hole + PAGE, PAGE, first_fd, 48 * PAGE + PAGE), 0);
    assert_int_equal(get(t, second + 5 * PAGE, PAGE, second_fd, 5 * PAGE), 0);
    assert_true(resolves(t, above_hole + PAGE, PAGE, first_fd, 48 * PAGE + PAGE));
    /* Both go on as before. */
    assert_int_equal(get(t, above_hole + 9 * PAGE, PAGE, first_fd, 48 * PAGE + 9 * PAGE), 0);
    assert_int_equal(get(t, second + 31 * PAGE, PAGE, second_fd, 31 * PAGE), 0);
    put(t, above_hole + PAGE, PAGE);
    put(t, second + 31 * PAGE, PAGE);
    assert_true(resolves(t, second + 5 * PAGE, PAGE, second_fd, 5 * PAGE));
    close(first_fd);
    close(second_fd);
}

/* What was used stays mapped over there; further regions in it are refused until it is idle. */
static void a_share_that_cannot_be_announced_again_serves_no_further_region(void **state)
{
    struct rig *t = *state;
    int first = wire_memfd(64 * PAGE), second = wire_memfd(PAGE);

    assert_int_equal(get(t, 0x10000000, PAGE, first, 0), 0);
    t->refuse = VD_DEXT_NO_MEMORY;
    assert_int_equal(get(t, 0x10000000 + 9 * PAGE, PAGE, second, 0), VD_DEXT_NO_MEMORY);
    t->refuse = 0;
    assert_int_equal(get(t, 0x10000000, PAGE, first, 0), VD_DEXT_NO_RESOURCES);
    put(t, 0x10000000, PAGE);
    assert_int_equal(get(t, 0x10000000, PAGE, first, 0), 0);
    close(first);
    close(second);
}

static void a_mapping_near_address_zero_is_cut_there(void **state)
{
    struct rig *t = *state;
    int fd = wire_memfd(64 * PAGE);

    assert_int_equal(get(t, 3 * PAGE, PAGE, fd, 50 * PAGE), 0);
    assert_int_equal(t->told[0].address, 0);
    assert_int_equal(t->told[0].offset, 47 * PAGE);
    close(fd);
}

static void regions_outside_their_file_are_bad_arguments(void **state)
{
    struct rig *t = *state;
    int fd = wire_memfd(4 * PAGE), empty = wire_memfd(0), closed = dup(fd);

    close(closed);
    assert_int_equal(get(t, 0x10000000, PAGE, -1, 0), VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(get(t, 0x10000000, PAGE, closed, 0), VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(get(t, 0x10000000, 5 * PAGE, fd, 0), VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(get(t, 0x10000000, PAGE, fd, 4 * PAGE), VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(get(t, 0x10000000, PAGE, fd, UINT64_MAX - PAGE + 1), VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(get(t, 0x10000000, 0, fd, 0), VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(get(t, UINT64_MAX - PAGE + 2, PAGE, fd, 0), VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(get(t, 0x10000000, PAGE, empty, 0), VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(get(t, 0x10000000, 10, fd, 1),
                     VD_DEXT_BAD_ARGUMENT); /* no mapping has that offset there */
    assert_int_equal(t->announced, 0);
    /* The file shrank under a share that is known. */
    assert_int_equal(get(t, 0x10000000, 4 * PAGE, fd, 0), 0);
    assert_int_equal(ftruncate(fd, PAGE), 0);
    assert_int_equal(get(t, 0x10000000, 4 * PAGE, fd, 0), VD_DEXT_BAD_ARGUMENT);
    close(fd);
    close(empty);
}

static void what_idles_makes_room_when_the_other_side_runs_short(void **state)
{
    static const int shortages[] = {VD_DEXT_NO_RESOURCES, VD_DEXT_NO_MEMORY, VD_DEXT_NO_SPACE};
    struct rig *t = *state;
    int fd = wire_memfd(PAGE);

    for (unsigned i = 0; i < 3; i++) {
        uint64_t address = 0x10000000 + i * 0x10000000;

        t->refuse = 0;
        assert_int_equal(get(t, address, PAGE, fd, 0), 0);
        put(t, address, PAGE);
        t->refuse = shortages[i];
        t->refuse_above = 0;
        assert_int_equal(get(t, address + 0x100000, PAGE, fd, 0), shortages[i]);
        assert_int_equal(t->nr, 0);
    }
    t->refuse = 0;
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(get(t, 0x10000000 + i * 0x10000, PAGE, fd, 0), 0);
    put(t, 0x10000000, PAGE);
    put(t, 0x10010000, PAGE);
    t->refuse = VD_DEXT_NO_RESOURCES;
    t->refuse_above = 4;
    assert_int_equal(get(t, 0x20000000, PAGE, fd, 0), 0);
    assert_true(resolves(t, 0x20000000, PAGE, fd, 0));
    close(fd);
}

static void a_refusal_leaves_nothing_behind(void **state)
{
    struct rig *t = *state;
    int fd = wire_memfd(PAGE);

    t->refuse = VD_DEXT_NOT_ATTACHED;
    assert_int_equal(get(t, 0x10000000, PAGE, fd, 0), VD_DEXT_NOT_ATTACHED);
    assert_int_equal(t->env.live, 0);
    t->refuse = 0;
    t->env.fail_at = t->env.steps + 1;
    assert_int_equal(get(t, 0x10000000, PAGE, fd, 0), VD_DEXT_NO_MEMORY);
    assert_int_equal(t->announced, 1);
    assert_int_equal(get(t, 0x10000000, PAGE, fd, 0), 0);
    close(fd);
}

/* Random use of six files in pieces at colliding places, against a list of what is held. */
static void a_region_in_use_always_resolves(void **state)
{
    enum { FILES = 6, HELD = 40, PAGES = 16 };
    struct held {
        uint64_t host, size, offset;
        int fd;
    } held[HELD] = {{0}};
    struct rig *t = *state;
    uint64_t seed = 42, granted = 0, refused = 0;
    int fd[FILES];

    for (unsigned i = 0; i < FILES; i++)
        fd[i] = wire_memfd(PAGES * PAGE);
    for (unsigned step = 0; step < 20000; step++) {
        struct held *h = &held[unit_random(&seed) % HELD];

        if (h->size) {
            put(t, h->host, h->size);
            h->size = 0;
        } else {
            uint64_t pages = 1 + unit_random(&seed) % 3;

            h->offset = unit_random(&seed) % (PAGES - pages) * PAGE;
            h->host = 0x10000000 + unit_random(&seed) % 400 * PAGE;
            h->fd = fd[unit_random(&seed) % FILES];
            h->size = pages * PAGE;
            if (get(t, h->host, h->size, h->fd, h->offset))
                h->size = 0;
            *(h->size ? &granted : &refused) += 1;
        }
        for (unsigned i = 0; step % 64 == 0 && i < HELD; i++)
            assert_true(!held[i].size || resolves(t, held[i].host, held[i].size, held[i].fd, held[i].offset));
    }
    assert_true(granted > 1000 && refused > 100);
    for (unsigned i = 0; i < FILES; i++)
        close(fd[i]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(regions_of_one_file_cost_one_announcement),
        TEST(a_file_that_was_idle_costs_nothing_when_it_returns),
        TEST(a_reused_descriptor_and_address_are_announced_anew),
        TEST(one_file_mapped_twice_is_two_shares),
        TEST(idle_shares_beyond_the_limit_go_least_recent_first),
        TEST(a_share_in_use_is_never_withdrawn),
        TEST(a_file_that_grew_is_shared_anew),
        TEST(announcements_are_cut_at_shares_in_use),
        TEST(a_file_where_the_rest_of_another_was_guessed_is_shared),
        TEST(a_share_that_cannot_be_announced_again_serves_no_further_region),
        TEST(a_mapping_near_address_zero_is_cut_there),
        TEST(regions_outside_their_file_are_bad_arguments),
        TEST(what_idles_makes_room_when_the_other_side_runs_short),
        TEST(a_refusal_leaves_nothing_behind),
        TEST(a_region_in_use_always_resolves),
    };

    return cmocka_run_group_tests_name("share", tests, NULL, NULL);
}
