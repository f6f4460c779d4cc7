/* SPDX-License-Identifier: BSD-3-Clause */
/* Notifiers of both kinds: signalled once or often, drained at once, never blocking. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <viaduct/notifier.h>

#include "../base/unit.h"

static const enum vd_notifier_kind kinds[] = {VD_NOTIFIER_DEFAULT, VD_NOTIFIER_PIPE};

enum { KINDS = 2 };

static bool is_readable(const struct vd_notifier *n)
{
    struct pollfd p = {.fd = n->read_fd, .events = POLLIN};

    return poll(&p, 1, 0) == 1;
}

static void is_closed_on_exec_and_never_blocks(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        struct vd_notifier n;

        assert_int_equal(vd_notifier_init(&n, kinds[i]), 0);
        assert_true(fcntl(n.read_fd, F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(n.write_fd, F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(n.read_fd, F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(n.write_fd, F_GETFL) & O_NONBLOCK);
        vd_notifier_finish(&n);
        assert_int_equal(n.read_fd, -1);
        assert_int_equal(n.write_fd, -1);
        vd_notifier_finish(&n);
    }
}

static void a_pipe_has_two_ends(void **state)
{
    struct vd_notifier n;

    (void)state;
    assert_int_equal(vd_notifier_init(&n, VD_NOTIFIER_PIPE), 0);
    assert_int_not_equal(n.read_fd, n.write_fd);
    vd_notifier_finish(&n);
}

static void drain_takes_back_every_signal(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        struct vd_notifier n;

        assert_int_equal(vd_notifier_init(&n, kinds[i]), 0);
        assert_false(is_readable(&n));
        assert_false(vd_notifier_drain(&n));
        for (int k = 0; k < 200; k++)
            assert_int_equal(vd_notifier_signal(&n), 0);
        assert_true(is_readable(&n));
        assert_true(vd_notifier_drain(&n));
        assert_false(is_readable(&n));
        assert_false(vd_notifier_drain(&n));
        vd_notifier_finish(&n);
    }
}

/* 64 signals are exactly one of drain's reads: the boundary between "more may follow" and "empty". */
static void drain_copes_with_exactly_one_full_read(void **state)
{
    struct vd_notifier n;

    (void)state;
    assert_int_equal(vd_notifier_init(&n, VD_NOTIFIER_PIPE), 0);
    for (int k = 0; k < 64; k++)
        assert_int_equal(vd_notifier_signal(&n), 0);
    assert_true(vd_notifier_drain(&n));
    assert_false(is_readable(&n));
    vd_notifier_finish(&n);
}

static void a_full_pipe_is_signalled_already(void **state)
{
    static const char zeros[4096];
    struct vd_notifier n;

    (void)state;
    assert_int_equal(vd_notifier_init(&n, VD_NOTIFIER_PIPE), 0);
    while (write(n.write_fd, zeros, sizeof(zeros)) > 0)
        ;
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(vd_notifier_signal(&n), 0);
    assert_true(vd_notifier_drain(&n));
    assert_false(is_readable(&n));
    vd_notifier_finish(&n);
}

static void an_eventfd_at_its_limit_is_signalled_already(void **state)
{
    const uint64_t most = UINT64_MAX - 1;
    struct vd_notifier n;

    (void)state;
    assert_int_equal(vd_notifier_init(&n, VD_NOTIFIER_DEFAULT), 0);
    if (n.read_fd == n.write_fd) {
        assert_int_equal(write(n.write_fd, &most, sizeof(most)), sizeof(most));
        assert_int_equal(vd_notifier_signal(&n), 0);
    }
    vd_notifier_finish(&n);
}

static void a_signal_is_a_64_bit_one_in_host_order(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        struct vd_notifier n;
        uint64_t got = 0;

        assert_int_equal(vd_notifier_init(&n, kinds[i]), 0);
        assert_int_equal(vd_notifier_signal_fd(n.write_fd), 0);
        assert_int_equal(read(n.read_fd, &got, sizeof(got)), sizeof(got));
        assert_int_equal(got, 1);
        vd_notifier_finish(&n);
    }
}

static void signalling_nobody_is_epipe_or_ebadf(void **state)
{
    struct vd_notifier n;

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(vd_notifier_init(&n, VD_NOTIFIER_PIPE), 0);
    close(n.read_fd);
    n.read_fd = -1;
    assert_int_equal(vd_notifier_signal(&n), -EPIPE);
    vd_notifier_finish(&n);
    assert_int_equal(vd_notifier_signal_fd(-1), -EBADF);
}

static void init_without_descriptors_leaves_both_ends_unset(void **state)
{
    struct rlimit old, none;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = old.rlim_max};
    for (int i = 0; i < KINDS; i++) {
        struct vd_notifier n;
        int ret;

        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        ret = vd_notifier_init(&n, kinds[i]);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        assert_int_equal(ret, -EMFILE);
        assert_int_equal(n.read_fd, -1);
        assert_int_equal(n.write_fd, -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_closed_on_exec_and_never_blocks),
        cmocka_unit_test(a_pipe_has_two_ends),
        cmocka_unit_test(drain_takes_back_every_signal),
        cmocka_unit_test(drain_copes_with_exactly_one_full_read),
        cmocka_unit_test(a_full_pipe_is_signalled_already),
        cmocka_unit_test(an_eventfd_at_its_limit_is_signalled_already),
        cmocka_unit_test(a_signal_is_a_64_bit_one_in_host_order),
        cmocka_unit_test(signalling_nobody_is_epipe_or_ebadf),
        cmocka_unit_test(init_without_descriptors_leaves_both_ends_unset),
    };

    return cmocka_run_group_tests_name("notifier", tests, NULL, NULL);
}
