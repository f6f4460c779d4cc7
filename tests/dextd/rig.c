/* SPDX-License-Identifier: BSD-3-Clause */
/* Starting and ending daemons; see rig.h. */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void *rig_alloc(void *opaque, size_t size)
{
    struct rig *rig = opaque;
    void *memory = calloc(1, size);

    if (memory)
        atomic_fetch_add(&rig->live, 1);
    return memory;
}

static void rig_free(void *opaque, void *memory)
{
    struct rig *rig = opaque;

    atomic_fetch_sub(&rig->live, 1);
    free(memory);
}

static bool rig_fault(void *opaque, const char *site)
{
    struct rig *rig = opaque;

    (void)site;
    if (atomic_load(&rig->fail_in) == 0 || atomic_fetch_sub(&rig->fail_in, 1) != 1)
        return false;
    atomic_fetch_add(&rig->failed, 1);
    return true;
}

static void rig_log(void *opaque, enum vd_env_level level, const char *line)
{
    struct rig *rig = opaque;

    if (level == VD_ENV_ERROR) {
        atomic_fetch_add(&rig->errors, 1);
        fprintf(stderr, "# dextd: %s\n", line);
    }
}

static void *serve(void *opaque)
{
    struct rig *rig = opaque;

    dextd_server_run(rig->server);
    return NULL;
}

static void make_directory(char directory[64], char path[96])
{
    const char *top = getenv("TMPDIR");

    snprintf(directory, 64, "%s/viaduct-dextd.XXXXXX", top && strlen(top) < 32 ? top : "/tmp");
    assert_non_null(mkdtemp(directory));
    snprintf(path, 96, "%s/socket", directory);
}

void rig_start(struct rig *rig, const char *const *devices)
{
    struct vd_failure failure = {0};

    vd_env_init_default(&rig->env);
    rig->env.alloc = rig_alloc;
    rig->env.free = rig_free;
    rig->env.fault = rig_fault;
    rig->env.log = rig_log;
    rig->env.opaque = rig;
    rig->env.level = VD_ENV_DEBUG;
    make_directory(rig->directory, rig->path);
    rig->settings.socket = rig->path;
    if (dextd_server_create(&rig->env, &rig->settings, &rig->server, &failure))
        fail_msg("%s", failure.text);
    for (; *devices; devices++)
        if (dextd_machine_plug(&rig->server->machine, *devices, &failure))
            fail_msg("%s", failure.text);
    assert_int_equal(pthread_create(&rig->thread, NULL, serve, rig), 0);
}

void rig_stop_after_errors(struct rig *rig)
{
    dextd_server_stop(rig->server);
    pthread_join(rig->thread, NULL);
    dextd_server_destroy(rig->server);
    assert_int_equal(atomic_load(&rig->live), 0);
    assert_int_equal(rmdir(rig->directory), 0); /* the socket is gone from it */
}

void rig_stop(struct rig *rig)
{
    rig_stop_after_errors(rig);
    assert_int_equal(atomic_load(&rig->errors), 0);
}

/* Reads up to the end of the line that says that it listens. */
static void await_ready(int fd, const char *path)
{
    char expected[128], seen[256] = "";
    size_t used = 0;
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};

    snprintf(expected, sizeof(expected), "listening on %s\n", path);
    while (!strchr(seen, '\n')) {
        ssize_t n;

        assert_int_equal(poll(&pollfd, 1, RAW_PATIENCE_MS), 1);
        n = read(fd, seen + used, sizeof(seen) - 1 - used);
        if (n <= 0)
            fail_msg("it ended before it listened");
        used += (size_t)n;
    }
    assert_string_equal(seen, expected);
}

static void become(const char *program, const char *path, const char *const *arguments, unsigned descriptors)
{
    const struct rlimit limit = {descriptors, descriptors};
    const char *argv[32] = {program, "--socket", path};
    size_t n = 3;

    while (*arguments && n < 31)
        argv[n++] = *arguments++;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nothing behind */
    if (descriptors)
        setrlimit(RLIMIT_NOFILE, &limit);
    execv(program, (char *const *)(uintptr_t)argv);
    _exit(127);
}

void process_start(struct process *process, const char *program, const char *const *arguments,
                   unsigned most_descriptors)
{
    int ends[2];

    make_directory(process->directory, process->path);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    process->pid = fork();
    assert_true(process->pid >= 0);
    if (process->pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        become(program, process->path, arguments, most_descriptors);
    }
    close(ends[1]);
    await_ready(ends[0], process->path);
    close(ends[0]);
}

int process_stop(struct process *process, int signal)
{
    int status = -1;

    if (signal)
        kill(process->pid, signal);
    while (waitpid(process->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (signal == SIGKILL)
        unlink(process->path);
    assert_int_equal(rmdir(process->directory), 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

unsigned open_descriptors(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}
