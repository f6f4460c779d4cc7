/* SPDX-License-Identifier: BSD-3-Clause */
/* Mapped and shared memory of a link, and what is left when a step fails, against scripted answers. */
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/guard.h"
#include "rig.h"

static const struct vd_link_ops *const ops = &vd_link_socket;

static void map_maps_the_file_that_came(void **state)
{
    struct rig *t = *state;
    struct vd_link_mapping one, two;
    int fd = wire_memfd(3 * 65536);
    char byte;

    wire_map(&t->out, 3, 65536, 2 * 65536);
    wire_send_fds(&t->out, t->peer, fd, 1);
    assert_int_equal(ops->map(t->link, VD_DEXT_MEMORY_BAR0, VD_LINK_WRITE_COMBINE, &one), 0);
    rig_expect_request(t, VD_DEXT_MAP, "\1\0\0\0\0\0\0\0", 8);
    assert_int_equal(one.type, VD_DEXT_MEMORY_BAR0);
    assert_int_equal(one.size, 2 * 65536);
    assert_int_equal(one.fd_offset, 65536);
    assert_int_equal(lseek(one.fd, 0, SEEK_END), 3 * 65536);
    ((volatile char *)one.address)[65536] = 'x';
    assert_int_equal(pread(fd, &byte, 1, 2 * 65536), 1);
    assert_int_equal(byte, 'x');
    wire_map(&t->out, 4, 0, 65536);
    wire_send_fds(&t->out, t->peer, fd, 1);
    assert_int_equal(ops->map(t->link, VD_DEXT_MEMORY_IRQ_PAGE, 0, &two), 0);
    ops->unmap(t->link, &one);
    assert_null(one.address);
    assert_int_equal(one.fd, -1);
    ((volatile char *)two.address)[0] = 'y';
    assert_int_equal(pread(fd, &byte, 1, 0), 1);
    assert_int_equal(byte, 'y');
    close(fd); /* the second one ends with the link */
}

static void a_map_that_is_refused_is_no_error_of_the_link(void **state)
{
    struct rig *t = *state;
    struct vd_link_mapping mapping;

    wire_message(&t->out, VD_DEXT_MAP, 3, VD_DEXT_UNSUPPORTED, NULL, 0);
    wire_send(&t->out, t->peer);
    assert_int_equal(ops->map(t->link, 5, 0, &mapping), VD_DEXT_UNSUPPORTED);
    wire_reply(&t->out, 4, NULL, 0, NULL, 0);
    wire_send(&t->out, t->peer);
    assert_int_equal(rig_call(t), 0);
}

static void mappings_that_lie_are_ipc_errors(void **state)
{
    static const struct {
        uint64_t offset, size;
        int nr_fds;
        size_t more;
    } lies[] = {
        {0, 65536 + 1, 1, 0}, /* longer than the file: an access behind its end would kill */
        {65536, 1, 1, 0},     {UINT64_MAX - 4095, 4096, 1, 0}, {0, UINT64_MAX, 1, 0}, {0, 0, 1, 0},
        {0, 4096, 0, 0}, /* no descriptor */
        {0, 4096, 1, 8}, /* more than a layout */
    };

    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct vd_link_mapping mapping;
        struct rig *t;
        int fd;

        rig_set_up(state);
        t = *state;
        fd = wire_memfd(65536);
        wire_header(&t->out, (uint32_t)(WIRE_HEADER + 16 + lies[i].more), VD_DEXT_MAP, 0, 3, 0);
        wire_add64(&t->out, lies[i].offset);
        wire_add64(&t->out, lies[i].size);
        wire_add(&t->out, "12345678", lies[i].more);
        wire_send_fds(&t->out, t->peer, fd, (unsigned)lies[i].nr_fds);
        assert_int_equal(ops->map(t->link, 1, 0, &mapping), VD_DEXT_IPC_ERROR);
        close(fd);
        rig_expect_gone(t);
        rig_tear_down(state);
    }
}

static void a_pipe_is_no_mapping(void **state)
{
    struct rig *t = *state;
    struct vd_link_mapping mapping;
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    wire_map(&t->out, 3, 0, 4096);
    wire_send_fds(&t->out, t->peer, ends[0], 1);
    assert_int_equal(ops->map(t->link, 1, 0, &mapping), VD_DEXT_IPC_ERROR);
    close(ends[0]);
    close(ends[1]);
}

static void a_map_without_room_for_its_descriptor_is_no_resources(void **state)
{
    struct rig *t = *state;
    struct rlimit limit, none;
    struct vd_link_mapping mapping;
    int fd = wire_memfd(4096);
    int status;

    wire_map(&t->out, 3, 0, 4096);
    wire_send_fds(&t->out, t->peer, fd, 1);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    status = ops->map(t->link, 1, 0, &mapping);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(status, VD_DEXT_NO_RESOURCES);
    wire_map(&t->out, 4, 0, 4096);
    wire_send_fds(&t->out, t->peer, fd, 1);
    assert_int_equal(ops->map(t->link, 1, 0, &mapping), 0);
    close(fd);
}

static void memory_that_is_taken_away_ends_the_link(void **state)
{
    struct rig *t = *state;
    struct vd_link_mapping mapping;
    int fd = wire_memfd(65536);

    assert_int_equal(vd_guard_install(), 0);
    wire_map(&t->out, 3, 0, 65536);
    wire_send_fds(&t->out, t->peer, fd, 1);
    assert_int_equal(ops->map(t->link, 1, 0, &mapping), 0);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(((volatile char *)mapping.address)[100], 0);
    rig_expect_gone(t);
    close(fd);
}

static void shares_are_announced_once_and_withdrawn_when_idle_ones_are_many(void **state)
{
    struct rig *t = *state;
    struct vd_link_memory memory = {.size = 65536, .offset = 65536};
    uint32_t tag = 3;
    int fd = wire_memfd(2 * 65536);

    memory.fd = fd;
    memory.host = (void *)(uintptr_t)0x10010000; /* named, never touched */
    wire_message(&t->out, VD_DEXT_SHARE, tag++, 0, NULL, 0);
    wire_send(&t->out, t->peer);
    assert_int_equal(ops->share(t->link, &memory), 0);
    rig_expect_request(t, VD_DEXT_SHARE, "\0\0\0\x10\0\0\0\0\0\0\2\0\0\0\0\0\0\0\0\0\0\0\0\0", 24);
    assert_int_equal(lseek(t->in.fd, 0, SEEK_END), 2 * 65536);
    close(t->in.fd);
    assert_int_equal(ops->share(t->link, &memory), 0);
    assert_false(wire_receive(t->peer, &t->in));
    ops->unshare(t->link, memory.host, memory.size);
    ops->unshare(t->link, memory.host, memory.size);
    for (unsigned i = 0; i < 64; i++) {
        memory.host = (void *)(uintptr_t)(0x20010000 + i * 0x100000);
        wire_message(&t->out, VD_DEXT_SHARE, tag++, 0, NULL, 0);
        wire_send(&t->out, t->peer);
        assert_int_equal(ops->share(t->link, &memory), 0);
        assert_true(wire_receive(t->peer, &t->in));
        close(t->in.fd);
        t->tag++;
        if (i == 63) {
            wire_message(&t->out, VD_DEXT_UNSHARE, tag++, 0, NULL, 0);
            wire_send(&t->out, t->peer);
        }
        ops->unshare(t->link, memory.host, memory.size);
    }
    rig_expect_request(t, VD_DEXT_UNSHARE, "\0\0\0\x10\0\0\0\0", 8);
    close(fd);
}

static void a_share_can_be_refused(void **state)
{
    struct rig *t = *state;
    struct vd_link_memory memory = {.host = (void *)(uintptr_t)0x10000000, .size = 65536, .fd = -1};

    assert_int_equal(ops->share(t->link, &memory), VD_DEXT_BAD_ARGUMENT);
    memory.fd = wire_memfd(65536);
    wire_message(&t->out, VD_DEXT_SHARE, 3, VD_DEXT_NO_RESOURCES, NULL, 0);
    wire_send(&t->out, t->peer);
    assert_int_equal(ops->share(t->link, &memory), VD_DEXT_NO_RESOURCES);
    wire_message(&t->out, VD_DEXT_SHARE, 4, 0, "more", 4);
    wire_send(&t->out, t->peer);
    assert_int_equal(ops->share(t->link, &memory), VD_DEXT_IPC_ERROR);
    assert_int_equal(ops->share(t->link, &memory), VD_DEXT_NOT_ATTACHED);
    close(memory.fd);
}

static void unshare_works_without_a_peer(void **state)
{
    struct rig *t = *state;
    struct vd_link_memory memory = {.host = (void *)(uintptr_t)0x10000000, .size = 65536};

    memory.fd = wire_memfd(65536);
    wire_message(&t->out, VD_DEXT_SHARE, 3, 0, NULL, 0);
    wire_send(&t->out, t->peer);
    assert_int_equal(ops->share(t->link, &memory), 0);
    rig_lose_peer(t);
    ops->unshare(t->link, memory.host, memory.size);
    close(memory.fd);
}

/* Every step that can fail, one after the other, over: open, map, share, call. */
static void every_failing_step_leaves_nothing_behind(void **state)
{
    unsigned failed = 0, at;

    (void)state;
    for (at = 1; at < 100; at++) {
        unsigned fds_before = wire_count_fds();
        struct vd_failure failure = {0};
        struct vd_link_mapping mapping;
        struct vd_link *link = NULL;
        struct wire out = {0};
        struct wire_env env;
        struct vd_link_memory memory = {.host = (void *)(uintptr_t)0x10000000, .size = 4096};
        int file = wire_memfd(4096);
        int ends[2];
        int ret;

        wire_env_init(&env);
        env.fail_at = at;
        wire_pair(ends);
        env.turn = wire_say_yes;
        env.socket = ends[1];
        ret = vd_link_socket_adopt(&env.env, ends[0], "the path", 1, &link, &failure);
        if (ret) {
            assert_true(ret == -ENOMEM || ret == -EMFILE);
            assert_int_equal(failure.code, ret);
            assert_non_null(strstr(failure.text, "the path"));
        } else {
            env.turn = NULL;
            wire_map(&out, 3, 0, 4096);
            wire_send_fds(&out, ends[1], file, 1);
            ret = ops->map(link, 1, 0, &mapping);
            memory.fd = file;
            env.turn = wire_say_yes;
            while (wire_receive(ends[1], &env.last))
                ;
            if (!ret)
                ret = ops->share(link, &memory);
            assert_true(ret == 0 || ret == VD_DEXT_NO_MEMORY);
        }
        failed += ret != 0;
        ops->close(link);
        close(ends[1]);
        close(file);
        assert_int_equal(env.live, 0);
        assert_int_equal(wire_count_fds(), fds_before);
        if (!ret)
            break;
    }
    /* The link, its buffer, the watch; the mapping's record and mmap(); the share. */
    assert_int_equal(failed, 6);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(map_maps_the_file_that_came),
        TEST(a_map_that_is_refused_is_no_error_of_the_link),
        cmocka_unit_test(mappings_that_lie_are_ipc_errors),
        TEST(a_pipe_is_no_mapping),
        TEST(a_map_without_room_for_its_descriptor_is_no_resources),
        TEST(memory_that_is_taken_away_ends_the_link),
        TEST(shares_are_announced_once_and_withdrawn_when_idle_ones_are_many),
        TEST(a_share_can_be_refused),
        TEST(unshare_works_without_a_peer),
        cmocka_unit_test(every_failing_step_leaves_nothing_behind),
    };

    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
