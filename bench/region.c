/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How long does a guest wait for a register access? 4-byte BAR accesses of sim:edu through the server, against a bare
 * ping-pong of messages of the same sizes between two blocking processes. Ours and the floor take turns in short rounds,
 * so that a noisy machine is noisy for both. Client and far side have a core each; on one core there is nothing to gain
 * by spinning, and those figures show that nothing is lost either. And: what does a server cost whose client is silent?
 */
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "edu.h"
#include "measure.h"
#include "peer.h"
#include "proto/vfio_user.h"

enum {
    ROUNDS = 60,
    BATCH = 500,
    SHORT_MESSAGE = sizeof(struct vfio_user_header) + sizeof(struct vfio_user_region_access),
    LONG_MESSAGE = SHORT_MESSAGE + 4,
    IDLE_SECONDS = 2,
};

struct sizes {
    size_t request, reply;
};

/* The floor's far side: blocks, answers, blocks. */
static void echo(int fd, void *opaque)
{
    const struct sizes *sizes = opaque;
    char bytes[LONG_MESSAGE] = {0};

    while (recv(fd, bytes, sizes->request, MSG_WAITALL) == (ssize_t)sizes->request)
        if (send(fd, bytes, sizes->reply, MSG_NOSIGNAL) < 0)
            return;
}

static void ping(int fd, const struct sizes *sizes)
{
    char bytes[LONG_MESSAGE] = {0};

    bare_send(fd, bytes, sizes->request, -1);
    if (bare_receive(fd, bytes, sizeof(bytes), NULL) != sizes->reply)
        bench_die("the floor's reply");
}

static void access_once(struct peer *server, bool write, unsigned i)
{
    if (write)
        peer_write32(server, EDU_BAR, EDU_SCRATCH, i);
    else
        peer_read32(server, EDU_BAR, EDU_SCRATCH);
}

static void measure(struct peer *server, int core, const char *what, bool write, bool targets)
{
    struct sizes sizes = {write ? LONG_MESSAGE : SHORT_MESSAGE, write ? SHORT_MESSAGE : LONG_MESSAGE};
    struct peer floor = peer_bare(core, echo, &sizes);
    struct samples ours = samples_make((size_t)ROUNDS * BATCH), bare = samples_make((size_t)ROUNDS * BATCH);

    for (int round = -2; round < ROUNDS; round++) { /* the first two warm up */
        for (unsigned i = 0; i < BATCH; i++) {
            uint64_t start = bench_now();

            access_once(server, write, i);
            if (round >= 0)
                samples_add(&ours, bench_now() - start);
        }
        for (unsigned i = 0; i < BATCH; i++) {
            uint64_t start = bench_now();

            ping(floor.fd, &sizes);
            if (round >= 0)
                samples_add(&bare, bench_now() - start);
        }
    }
    peer_stop(&floor);
    figure_latency(what, &ours, &bare, targets ? 0.65 : 0, targets ? 1 : 0);
    samples_free(&ours);
    samples_free(&bare);
}

static uint64_t cpu_ns(clockid_t clock)
{
    struct timespec ts;

    if (clock_gettime(clock, &ts) < 0)
        bench_die("the server's clock");
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void measure_idle(struct peer *server)
{
    struct figure f = {
        .what = "foundation.idle_cpu", .unit = "percent", .floor = -1, .bound = BOUND_AT_MOST, .target = 1};
    struct timespec rest = {.tv_sec = IDLE_SECONDS};
    uint64_t cpu, wall = bench_now();
    clockid_t clock;

    if (clock_getcpuclockid(server->pid, &clock))
        bench_die("the server's clock");
    cpu = cpu_ns(clock);
    nanosleep(&rest, NULL);
    f.value = 100.0 * (double)(cpu_ns(clock) - cpu) / (double)(bench_now() - wall);
    figure_print(&f);
}

int main(void)
{
    struct cores cores = cores_find();
    struct peer server = peer_serve(cores.theirs, "sim:edu");

    peer_negotiate(&server);
    core_take(cores.mine);
    measure(&server, cores.theirs, "foundation.region_read", false, true);
    measure(&server, cores.theirs, "foundation.region_write", true, true);
    measure_idle(&server);
    core_take(cores.theirs);
    measure(&server, cores.theirs, "foundation.region_read_one_core", false, false);
    measure(&server, cores.theirs, "foundation.region_write_one_core", true, false);
    peer_stop(&server);
    return 0;
}
