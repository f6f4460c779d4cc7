/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Child processes. fork and exec rather than posix_spawn: the child has to tie its life to ours before it becomes
 * another program. Other threads may run, so the child calls only what is safe in a signal handler.
 */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "signals.h"
#include "text.h"

bool process_is_program(const char *path)
{
    struct stat status;

    if (stat(path, &status))
        return false;
    if (S_ISREG(status.st_mode) && access(path, X_OK) == 0)
        return true;
    errno = S_ISREG(status.st_mode) ? EACCES : EISDIR;
    return false;
}

char *process_find(const char *name)
{
    const char *at = getenv("PATH");

    while (at && *at) {
        size_t length = strcspn(at, ":");
        char *path = text_format("%.*s/%s", (int)(length ? length : 1), length ? at : ".", name);

        if (process_is_program(path))
            return path;
        free(path);
        at += length + (at[length] == ':');
    }
    return NULL;
}

static void close_both(const int ends[2])
{
    close(ends[0]);
    close(ends[1]);
}

static int open_pipe(int ends[2])
{
    if (pipe(ends))
        return -errno;
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    return 0;
}

/* In the child: becomes argv, or says through `failure` why not. */
static void become(char *const argv[], int output, int failure, pid_t parent)
{
    int err;
    ssize_t written;

    signals_reset();
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    /* The parent may have gone before the line above. */
    if (getppid() != parent)
        _exit(127);
    if (output >= 0) {
        int nothing = open("/dev/null", O_RDONLY);

        dup2(nothing, STDIN_FILENO);
        dup2(output, STDOUT_FILENO);
        dup2(output, STDERR_FILENO);
    }
    execv(argv[0], argv);
    err = errno;
    written = write(failure, &err, sizeof(err));
    (void)written;
    _exit(127);
}

static pid_t start(char *const argv[], int output)
{
    pid_t parent = getpid(), pid;
    int failure[2], err;

    err = open_pipe(failure);
    if (err)
        return err;
    pid = fork();
    if (pid == 0)
        become(argv, output, failure[1], parent);
    if (pid < 0) {
        err = -errno;
        close_both(failure);
        return err;
    }
    close(failure[1]);
    /* The end of file means that exec succeeded: it closed the other end. */
    while (read(failure[0], &err, sizeof(err)) < 0 && errno == EINTR)
        continue;
    close(failure[0]);
    if (err) {
        waitpid(pid, NULL, 0);
        return -err;
    }
    return pid;
}

pid_t process_start(char *const argv[])
{
    return start(argv, -1);
}

int process_status(int wait_status)
{
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

int64_t process_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Reads to the end of file; false when that takes too long. What does not fit is read and dropped. */
static bool drain_output(int fd, char *output, size_t size, int timeout_ms)
{
    int64_t end = process_now_ms() + timeout_ms;
    size_t used = 0;

    for (;;) {
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        int64_t left = end - process_now_ms();
        char bytes[4096];
        ssize_t got;

        if (left <= 0 || (poll(&readable, 1, (int)left) == 0))
            return false;
        got = read(fd, bytes, sizeof(bytes));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return true;
        for (ssize_t i = 0; i < got && used + 1 < size; i++)
            output[used++] = bytes[i];
        output[used] = '\0';
    }
}

int process_capture(char *const argv[], char *output, size_t size, int timeout_ms)
{
    int ends[2], status = 0, err;
    bool finished;
    pid_t pid;

    output[0] = '\0';
    err = open_pipe(ends);
    if (err)
        return err;
    pid = start(argv, ends[1]);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return pid;
    }
    finished = drain_output(ends[0], output, size, timeout_ms);
    close(ends[0]);
    if (!finished)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return finished ? process_status(status) : -ETIMEDOUT;
}
