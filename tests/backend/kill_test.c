/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client of the extension is killed at random points of its life, again and again: while it opens, maps, runs a disk,
 * unmaps or closes. After each death nothing of it may be left, and the next client must be able to work.
 */
#include "nvme_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KILLS = 200, SILENCE_MS = 30000 };

#define DEVICE "sim:nvme,size=16M,aperture=64M,mappings=512,segments=4,seed=11"

static const struct ex_options ex_options = {EX_MSIX, .dbbuf = true};

static uint64_t seed = 20261121;

static uint64_t dice(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Opens; somebody who has just died may not have been cleared away yet. */
static int open_patiently(struct vd_context *context, const char *address, struct vd_device **device)
{
    int error = -EBUSY;

    for (unsigned i = 0; i < 2000 && error == -EBUSY; i++) {
        error = vd_device_open(context, address, device, NULL);
        if (error == -EBUSY)
            poll(NULL, 0, 1);
    }
    return error;
}

/* A client's life, over and over: says 'o' on the pipe whenever it has done verified I/O. Ends by being killed. */
static void live(unsigned client, const char *address, int report)
{
    static struct exerciser ex;
    struct vd_context *context;
    struct vd_device *device;
    unsigned failed;

    if (vd_context_create(NULL, &context))
        _exit(10);
    for (uint32_t life = 1;; life++) {
        if (open_patiently(context, address, &device))
            _exit(11);
        if (ex_start(&ex, device, &ex_options))
            _exit(12);
        ex.next_stamp = client * 20000000 + life * 100000; /* above what those before wrote */
        if (ex_learn(&ex))
            _exit(13);
        for (unsigned i = 0; i < 8; i++) {
            unsigned chunk = EX_MAPPINGS - 1 - i % 4;

            ex_unmap_chunk(&ex, chunk);
            if (ex_map_chunk(&ex, chunk) || ex_random(&ex, 40))
                _exit(14);
            if (write(report, "o", 1) != 1)
                _exit(15);
        }
        if (ex_load(&ex, false) || ex_drain(&ex, &failed) || ex_shutdown(&ex))
            _exit(16);
        vd_device_quiesce(device);
        ex_finish(&ex);
        vd_device_close(device);
    }
}

static pid_t start_client(unsigned client, const char *address, int *report)
{
    int ends[2];
    pid_t pid;

    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        fcntl(ends[1], F_SETFL, 0);
        live(client, address, ends[1]);
    }
    close(ends[1]);
    *report = ends[0];
    return pid;
}

static void kill_client(pid_t pid, int report)
{
    int status = 0;

    kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    close(report);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail_msg("the client ended by itself, status %#x", (unsigned)status);
}

/* Until the extension has noticed that its client is gone. */
static void wait_until_left(const struct dextd *dextd)
{
    for (unsigned i = 0; i < 2000; i++) {
        if (dextd_number(dextd, "01:00.0", "clients") == 0)
            return;
        poll(NULL, 0, 5);
    }
    fail_msg("the extension still has a client");
}

static void nothing_is_left_of_a_client_that_is_killed(void **state)
{
    unsigned worked = 0;
    struct dextd dextd = {0};
    char address[160];

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    dextd_start_one(&dextd, DEVICE, address, sizeof(address));
    for (unsigned i = 0; i < KILLS; i++) {
        struct pollfd ready = {.events = POLLIN};
        pid_t pid = start_client(i, address, &ready.fd);

        if (i % 4) { /* every fourth dies while it opens */
            if (poll(&ready, 1, SILENCE_MS) != 1)
                fail_msg("client %u did no I/O", i);
            worked++;
        }
        poll(NULL, 0, (int)(dice() % (i % 4 ? 20 : 8)));
        kill_client(pid, ready.fd);
        wait_until_left(&dextd);
        assert_int_equal(dextd_number(&dextd, "01:00.0", "mappings"), 0);
        assert_int_equal(dextd_number(&dextd, "01:00.0", "bytes"), 0);
        assert_int_equal(dextd_number(&dextd, "01:00.0", "command") & 4, 0); /* bus mastering */
        assert_int_equal(dextd_number(&dextd, "01:00.0", "faults"), 0);
    }
    assert_int_equal(worked, KILLS - KILLS / 4);
    dextd_stop(&dextd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_left_of_a_client_that_is_killed)};

    return cmocka_run_group_tests_name("kill", tests, NULL, NULL);
}
