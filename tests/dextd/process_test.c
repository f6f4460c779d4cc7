/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The program itself: clients that are killed, descriptors that run out, signals, sockets in its way, and that it costs
 * nothing while nobody wants anything.
 */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim/edu.h"

enum { MEMORY = 4 << 20, REGION = 64 << 10, REGIONS = MEMORY / REGION, KILLS = 40 };

static const char *program; /* of this test, from the command line */
static const char *const one_edu[] = {"--device", "01:00.0=sim:edu", NULL};

enum { GONE = 10, BROKEN = 11 }; /* exit codes of a user */

/* A call of a user's, which is a process of its own: it ends when the device is gone, and must not fail otherwise. */
static uint64_t must(struct raw *raw, uint32_t selector, const uint64_t *in, unsigned nr_in, unsigned nr_out)
{
    uint64_t out[VD_DEXT_MAX_SCALARS] = {0};
    int status = raw_call(raw, selector, in, nr_in, out, nr_out);

    if (status)
        _exit(status == VD_DEXT_NO_DEVICE ? GONE : BROKEN);
    return out[nr_out == 3 ? 1 : 0]; /* REGISTER_DMA_REGION: the bus address */
}

static void must_write(struct raw *raw, uint64_t reg, uint64_t width, uint64_t value)
{
    const uint64_t in[] = {0, reg, width, value};

    must(raw, VD_DEXT_MMIO_WRITE, in, 4, 0);
}

static void must_copy(struct raw *raw, uint64_t from, uint64_t to, int progress)
{
    const uint64_t status[] = {0, EDU_STATUS, 4};
    uint64_t now;

    must_write(raw, EDU_SOURCE, 8, from);
    must_write(raw, EDU_DESTINATION, 8, to);
    must_write(raw, EDU_LENGTH, 8, REGION);
    must_write(raw, EDU_CONTROL, 4, EDU_START);
    if (write(progress, "", 1) != 1)
        _exit(BROKEN);
    do
        now = must(raw, VD_DEXT_MMIO_READ, status, 3, 1);
    while (now & EDU_BUSY);
    if (now != EDU_DONE)
        _exit(now == UINT32_MAX ? GONE : BROKEN);
}

/* Maps, copies, unmaps, and so on; says so after each step. Never returns. */
static void use_forever(const char *path, int progress)
{
    struct raw raw = raw_open(path, 0);
    struct raw_memory memory = raw_memory_make(MEMORY);
    uint64_t bus[REGIONS];

    raw_claim(&raw);
    assert_int_equal(raw_share(&raw, &memory), VD_DEXT_SUCCESS);
    for (uint64_t round = 0;; round++) {
        for (uint64_t i = 0; i < REGIONS; i++) {
            const uint64_t region = (i + round) % REGIONS;
            const uint64_t in[] = {region, (uintptr_t)memory.at + region * REGION, REGION};

            bus[region] = must(&raw, VD_DEXT_REGISTER_DMA_REGION, in, 3, 3);
            must_copy(&raw, bus[round % REGIONS], bus[region], progress);
        }
        for (uint64_t i = 0; i < REGIONS; i++)
            must(&raw, VD_DEXT_UNREGISTER_DMA_REGION, &i, 1, 0);
    }
}

static pid_t start_user(const char *path, int *progress)
{
    int ends[2];
    pid_t pid;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        use_forever(path, ends[1]);
    }
    close(ends[1]);
    *progress = ends[0];
    return pid;
}

static void await_progress(int fd, unsigned steps)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    char byte;

    while (steps--) {
        assert_int_equal(poll(&pollfd, 1, RAW_PATIENCE_MS), 1);
        assert_int_equal(read(fd, &byte, 1), 1);
    }
}

static void kill_user(pid_t pid, int progress)
{
    int status;

    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    close(progress);
}

static void expect_clean(struct raw *host)
{
    raw_await_number(host, "01:00.0", "clients", 0);
    assert_int_equal(raw_number(host, "01:00.0", "mappings"), 0);
    assert_int_equal(raw_number(host, "01:00.0", "bytes"), 0);
    assert_int_equal(raw_number(host, "01:00.0", "claimed"), 0);
    assert_int_equal(raw_number(host, "01:00.0", "command") & 4, 0);
    assert_int_equal(raw_number(host, "01:00.0", "vectors"), 0);
    assert_int_equal(raw_number(host, "01:00.0", "faults"), 0);
}

static void killed_client_leaves_a_quiet_device_and_no_mapping(void **state)
{
    struct process dextd;
    struct raw host;

    process_start(&dextd, program, one_edu, 0);
    host = raw_hello(dextd.path);
    for (unsigned i = 0; i < KILLS; i++) {
        int progress;
        pid_t user = start_user(dextd.path, &progress);

        await_progress(progress, i * 7 % 150 + 1); /* somewhere among maps and copies */
        assert_true(raw_number(&host, "01:00.0", "clients") == 1);
        kill_user(user, progress);
        expect_clean(&host);
    }
    raw_close(&host);
    assert_int_equal(process_stop(&dextd, SIGTERM), 0);
}

static void device_pulled_under_a_busy_client_gives_it_an_error(void **state)
{
    struct process dextd;
    struct raw host;

    process_start(&dextd, program, one_edu, 0);
    host = raw_hello(dextd.path);
    for (unsigned i = 0; i < 10; i++) {
        int progress, status;
        pid_t user = start_user(dextd.path, &progress);

        await_progress(progress, i * 11 + 1);
        assert_int_equal(raw_control(&host, "unplug 01:00.0", NULL, 0), VD_DEXT_SUCCESS);
        /* Its next call is refused, at which it ends; it does not hang. */
        assert_int_equal(waitpid(user, &status, 0), user);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), GONE);
        close(progress);
        for (unsigned k = 0; raw_devices(&host, "01:00.0"); k++)
            assert_true(k < RAW_PATIENCE_MS);
        assert_int_equal(raw_control(&host, "plug 01:00.0=sim:edu", NULL, 0), VD_DEXT_SUCCESS);
        expect_clean(&host);
    }
    raw_close(&host);
    assert_int_equal(process_stop(&dextd, SIGTERM), 0);
}

/* A connection that got as far as HELLO, or none. */
static bool try_hello(const char *path, struct raw *out)
{
    const vd_le32 hello[2] = {vd_put32(VD_DEXT_SOCKET_VERSION), vd_put32(0)};
    static struct raw_message reply;

    *out = raw_connect(path);
    if (raw_send(out, VD_DEXT_HELLO, hello, sizeof(hello), -1) && raw_receive(out, &reply))
        return true;
    raw_close(out);
    return false;
}

static void descriptors_that_run_out_cost_newcomers_only(void **state)
{
    enum { MOST = 24 };
    struct raw_memory memory = raw_memory_make(1 << 20);
    struct raw clients[MOST], extra;
    struct process dextd;
    unsigned count = 1;
    uint64_t before;

    process_start(&dextd, program, one_edu, MOST);
    clients[0] = raw_open(dextd.path, 0);
    raw_claim(&clients[0]);
    while (count < MOST && try_hello(dextd.path, &clients[count]))
        count++;
    assert_true(count > 4 && count < MOST);
    for (unsigned i = 0; i < 5; i++)
        assert_false(try_hello(dextd.path, &extra));
    /* Who is there is served; only what needs a descriptor is refused, and that ends nothing. */
    assert_int_equal(raw_share(&clients[0], &memory), VD_DEXT_NO_RESOURCES);
    assert_int_equal(raw_read(&clients[0], 0, EDU_ID, 4), EDU_ID_VALUE);
    before = (uint64_t)raw_number(&clients[0], "01:00.0", "clients");
    assert_int_equal(before, 1);
    raw_close(&clients[--count]);
    raw_close(&clients[--count]);
    for (unsigned i = 0; raw_share(&clients[0], &memory) != VD_DEXT_SUCCESS; i++)
        assert_true(i < RAW_PATIENCE_MS);
    assert_true(try_hello(dextd.path, &extra));
    raw_close(&extra);
    while (count > 0)
        raw_close(&clients[--count]);
    assert_int_equal(process_stop(&dextd, SIGTERM), 0);
    raw_memory_free(&memory);
}

static void signals_end_it_cleanly(void **state)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};

    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        struct process dextd;
        struct raw raw;

        process_start(&dextd, program, one_edu, 0);
        raw = raw_open(dextd.path, 0);
        raw_claim(&raw);
        assert_int_equal(process_stop(&dextd, signals[i]), 0); /* and the socket is gone */
        raw_await_close(&raw);
        raw_close(&raw);
    }
}

static void stop_command_ends_it(void **state)
{
    struct process dextd;
    struct raw raw;

    process_start(&dextd, program, one_edu, 0);
    raw = raw_hello(dextd.path);
    assert_int_equal(raw_control(&raw, "stop", NULL, 0), VD_DEXT_SUCCESS);
    raw_await_close(&raw);
    raw_close(&raw);
    assert_int_equal(process_stop(&dextd, 0), 0);
}

/* How often the daemon's own thread (not a sanitizer's) went to sleep so far, or -1 while it is awake. */
static long times_slept(pid_t pid)
{
    char path[64], line[256];
    bool asleep = false;
    long times = -1;
    FILE *status;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    status = fopen(path, "re");
    assert_non_null(status);
    while (fgets(line, sizeof(line), status)) {
        if (strncmp(line, "State:", 6) == 0)
            asleep = strchr(line, 'S') != strrchr(line, 'S'); /* "State:\tS (sleeping)" */
        else if (strncmp(line, "voluntary_ctxt_switches:", 24) == 0)
            times = strtol(line + 24, NULL, 10);
    }
    fclose(status);
    return asleep ? times : -1;
}

static void idle_daemon_uses_no_cpu(void **state)
{
    static const char *const devices[] = {"--device", "01:00.0=sim:edu", "--device", "02:00.0=sim:nvme",
                                          NULL};
    struct process dextd;
    struct raw first, second;
    bool asleep = false;

    process_start(&dextd, program, devices, 0);
    first = raw_open(dextd.path, 0);
    second = raw_open(dextd.path, 1);
    raw_claim(&first);
    raw_claim(&second);
    for (unsigned i = 0; i < 50 && !asleep; i++) { /* falls asleep sooner or later, and then stays so */
        long before = times_slept(dextd.pid);

        poll(NULL, 0, 200);
        asleep = before >= 0 && times_slept(dextd.pid) == before;
    }
    assert_true(asleep);
    raw_close(&first);
    raw_close(&second);
    assert_int_equal(process_stop(&dextd, SIGTERM), 0);
}

static void killed_daemon_is_replaced_and_a_live_one_is_not(void **state)
{
    struct vd_failure failure = {0};
    struct dextd_settings settings = {0};
    struct dextd_server *second;
    struct process dextd;
    struct vd_env env;

    vd_env_init_default(&env);
    process_start(&dextd, program, one_edu, 0);
    settings.socket = dextd.path;
    assert_int_equal(dextd_server_create(&env, &settings, &second, &failure), -EADDRINUSE);
    kill(dextd.pid, SIGKILL);
    assert_int_equal(waitpid(dextd.pid, NULL, 0), dextd.pid);
    assert_int_equal(access(dextd.path, F_OK), 0); /* a stale socket */
    assert_int_equal(dextd_server_create(&env, &settings, &second, &failure), 0);
    dextd_server_destroy(second);
    assert_int_equal(access(dextd.path, F_OK), -1);
    assert_int_equal(rmdir(dextd.directory), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_client_leaves_a_quiet_device_and_no_mapping),
        cmocka_unit_test(device_pulled_under_a_busy_client_gives_it_an_error),
        cmocka_unit_test(descriptors_that_run_out_cost_newcomers_only),
        cmocka_unit_test(signals_end_it_cleanly),
        cmocka_unit_test(stop_command_ends_it),
        cmocka_unit_test(idle_daemon_uses_no_cpu),
        cmocka_unit_test(killed_daemon_is_replaced_and_a_live_one_is_not),
    };

    if (argc != 2)
        return 2;
    program = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
