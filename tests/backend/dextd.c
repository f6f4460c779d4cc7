/* SPDX-License-Identifier: BSD-3-Clause */
/* Running viaduct-dextd beside a test; see dextd.h. The program is found through the environment, set by meson. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <json-c/json.h>

#include "dextd.h"

enum { MAX_DEVICES = 8, START_MS = 20000 };

static const char *program(void)
{
    const char *path = getenv("VIADUCT_DEXTD_PROGRAM");

    if (!path)
        fail_msg("VIADUCT_DEXTD_PROGRAM must name viaduct-dextd");
    return path;
}

/* A child with its standard output in a pipe, whose read end is *out. */
static pid_t spawn(char *const *argv, int *out)
{
    int ends[2];
    pid_t pid;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM); /* a test that crashes leaves nothing behind */
        dup2(ends[1], STDOUT_FILENO);
        execv(argv[0], argv);
        _exit(127);
    }
    close(ends[1]);
    *out = ends[0];
    return pid;
}

/* Reads until `text` was seen or the writer is gone; false after START_MS. */
static bool wait_for_text(int fd, const char *text)
{
    char seen[512] = "";
    size_t used = 0;
    struct pollfd ready = {.fd = fd, .events = POLLIN};

    while (used < sizeof(seen) - 1 && poll(&ready, 1, START_MS) == 1) {
        ssize_t n = read(fd, seen + used, sizeof(seen) - 1 - used);

        if (n <= 0)
            return false;
        used += (size_t)n;
        seen[used] = 0;
        if (strstr(seen, text) && strchr(strstr(seen, text), '\n'))
            return true;
    }
    return false;
}

void dextd_start(struct dextd *dextd, const char *const *devices)
{
    const char *argv[4 + 2 * MAX_DEVICES] = {program(), "--socket", dextd->socket};
    size_t n = 3;
    int out;

    snprintf(dextd->directory, sizeof(dextd->directory), "%s/viaduct-test.XXXXXX",
             getenv("TMPDIR") && strlen(getenv("TMPDIR")) < 32 ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(dextd->directory));
    snprintf(dextd->socket, sizeof(dextd->socket), "%s/dextd", dextd->directory);
    for (; *devices; devices++) {
        assert_true(n + 2 < sizeof(argv) / sizeof(argv[0]));
        argv[n++] = "--device";
        argv[n++] = *devices;
    }
    dextd->pid = spawn((char *const *)(uintptr_t)argv, &out);
    if (!wait_for_text(out, "listening on"))
        fail_msg("%s did not start", argv[0]);
    close(out);
}

void dextd_start_one(struct dextd *dextd, const char *device, char *address, size_t size)
{
    char placed[256];
    const char *const devices[] = {placed, NULL};

    assert_in_range(snprintf(placed, sizeof(placed), "01:00.0=%s", device), 1, sizeof(placed) - 1);
    dextd_start(dextd, devices);
    assert_in_range(snprintf(address, size, "apple:01:00.0,socket=%s", dextd->socket), 1, size - 1);
}

void dextd_stop(struct dextd *dextd)
{
    int status = -1;

    if (!dextd->pid)
        return;
    kill(dextd->pid, SIGTERM);
    while (waitpid(dextd->pid, &status, 0) < 0 && errno == EINTR)
        ;
    dextd->pid = 0;
    rmdir(dextd->directory);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int dextd_control(const struct dextd *dextd, const char *verb, const char *argument, char *out, size_t size)
{
    const char *argv[8] = {program(), verb};
    size_t n = 2, used = 0;
    ssize_t got;
    pid_t pid;
    int fd, status = -1;

    if (argument)
        argv[n++] = argument;
    argv[n++] = "--socket";
    argv[n++] = dextd->socket;
    pid = spawn((char *const *)(uintptr_t)argv, &fd);
    while (used + 1 < size && (got = read(fd, out + used, size - 1 - used)) > 0)
        used += (size_t)got;
    out[used] = 0;
    close(fd);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The first object in the answer, at any depth of arrays, whose "address" is `address`. */
static struct json_object *find(struct json_object *in, const char *address)
{
    struct json_object *value;

    if (json_object_is_type(in, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(in); i++) {
            value = find(json_object_array_get_idx(in, i), address);
            if (value)
                return value;
        }
        return NULL;
    }
    if (!json_object_is_type(in, json_type_object))
        return NULL;
    if (json_object_object_get_ex(in, "address", &value) &&
        strcmp(json_object_get_string(value), address) == 0)
        return in;
    return json_object_object_get_ex(in, "devices", &value) ? find(value, address) : NULL;
}

long long dextd_number(const struct dextd *dextd, const char *address, const char *key)
{
    static char text[65536];
    struct json_object *all, *device, *value;
    long long number;

    assert_int_equal(dextd_control(dextd, "list", "--json", text, sizeof(text)), 0);
    all = json_tokener_parse(text);
    assert_non_null(all);
    device = find(all, address);
    if (!device || !json_object_object_get_ex(device, key, &value))
        fail_msg("no \"%s\" of %s in: %s", key, address, text);
    number = json_object_get_int64(value);
    json_object_put(all);
    return number;
}
