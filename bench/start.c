/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How long from exec to the first reply of `viaduct serve`, and how much memory does it hold while it idles? Memory is
 * what is resident and its own: anonymous pages and its files' pages. Shared memory is the guest's and does not count.
 * Argument: the command's path.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "measure.h"
#include "peer.h"

enum { STARTS = 15, PATIENCE_NS = 1000000000 };

static pid_t launch(const char *viaduct, const char *socket)
{
    char option[160];
    pid_t pid;

    snprintf(option, sizeof(option), "host=sim:nvme,socket=%s", socket);
    pid = fork();
    if (pid < 0)
        bench_die("fork");
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

        dup2(null, STDOUT_FILENO);
        execl(viaduct, viaduct, "serve", "--vfio", option, (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* Tries every 100 µs; ends the program after PATIENCE_NS. */
static int connect_soon(const char *path, uint64_t start)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timespec pause = {.tv_nsec = 100000};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    while (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        if (bench_now() - start > PATIENCE_NS)
            bench_die(path);
        nanosleep(&pause, NULL);
    }
    return fd;
}

static double start_once(const char *viaduct, const char *socket, struct samples *times)
{
    uint64_t start = bench_now();
    pid_t pid = launch(viaduct, socket);
    struct peer peer = {.fd = connect_soon(socket, start)};
    double memory;

    peer_negotiate(&peer);
    samples_add(times, bench_now() - start);
    memory = bench_resident(pid, "RssAnon:", "RssFile:");
    peer_stop(&peer);
    kill(pid, SIGTERM);
    if (waitpid(pid, NULL, 0) < 0)
        bench_die("waitpid");
    return memory;
}

int main(int argc, char **argv)
{
    struct figure f = {.floor = -1, .bound = BOUND_AT_MOST};
    struct samples times = samples_make(STARTS);
    char directory[] = "/tmp/viaduct-bench.XXXXXX", socket[64];
    double most = 0;

    if (argc != 2 || access(argv[1], X_OK) < 0 || !mkdtemp(directory))
        bench_die(argc == 2 ? argv[1] : "usage: bench_start VIADUCT");
    snprintf(socket, sizeof(socket), "%s/s", directory);
    for (int i = 0; i < STARTS; i++) {
        double memory = start_once(argv[1], socket, &times);

        most = memory > most ? memory : most;
    }
    rmdir(directory);
    f.what = "foundation.start_to_first_reply";
    f.unit = "ms";
    f.value = samples_percentile(&times, 50) / 1e6;
    f.target = 100;
    figure_print(&f);
    f.what = "foundation.server_rss";
    f.unit = "MiB";
    f.value = most / 1024;
    f.target = 32;
    figure_print(&f);
    samples_free(&times);
    return 0;
}
