/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How long from a device's interrupt to the thread that waits for its eventfd? In this process: a register write that
 * makes sim:edu raise MSI-X and one dispatch, against a bare write to an eventfd. Through the server: the same register
 * write as a message, against a bare process that answers the message and writes the eventfd.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <viaduct/context.h>
#include <viaduct/device.h>
#include <viaduct/irq.h>
#include <viaduct/region.h>

#include "edu.h"
#include "measure.h"
#include "peer.h"
#include "proto/vfio_user.h"

enum {
    ROUNDS = 40,
    BATCH = 100,
    SETTLE_NS = 60000, /* after a wake-up, before the next interrupt: the reader sleeps again */
    MESSAGE = sizeof(struct vfio_user_header) + sizeof(struct vfio_user_region_access) + 4,
    REPLY = MESSAGE - 4,
};

/* The thread that waits, as a VMM's would. */
struct waiter {
    int core;
    int fd; /* an eventfd that does not block: the device's side insists on that */
    pthread_t thread;
    uint64_t woken_at; /* written before `woken` is posted */
    sem_t woken;
};

static void *wait_for_interrupts(void *opaque)
{
    struct waiter *waiter = opaque;
    struct pollfd poll_fd = {.fd = waiter->fd, .events = POLLIN};
    uint64_t count;

    core_take(waiter->core);
    while (poll(&poll_fd, 1, -1) > 0)
        if (read(waiter->fd, &count, sizeof(count)) == sizeof(count)) {
            waiter->woken_at = bench_now();
            sem_post(&waiter->woken);
        }
    return NULL;
}

static void waiter_start(struct waiter *waiter)
{
    if (sem_init(&waiter->woken, 0, 0) || pthread_create(&waiter->thread, NULL, wait_for_interrupts, waiter))
        bench_die("pthread_create");
}

static void waiter_stop(struct waiter *waiter)
{
    pthread_cancel(waiter->thread);
    pthread_join(waiter->thread, NULL);
    sem_destroy(&waiter->woken);
    close(waiter->fd);
}

static int make_eventfd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0)
        bench_die("eventfd");
    return fd;
}

/* A way to make the eventfd ring. */
struct source {
    void (*raise)(struct source *source);
    struct vd_device *device;
    struct peer peer;
    int fd;
};

static void time_batch(struct waiter *waiter, struct source *source, struct samples *samples, bool keep)
{
    for (int i = 0; i < BATCH; i++) {
        uint64_t start, settled = bench_now() + SETTLE_NS;

        while (bench_now() < settled)
            ;
        start = bench_now();
        source->raise(source);
        while (sem_wait(&waiter->woken) < 0)
            ;
        if (keep)
            samples_add(samples, waiter->woken_at - start);
    }
}

static void measure(const char *what, struct waiter *waiter, struct source *ours, struct source *floor)
{
    struct samples a = samples_make((size_t)ROUNDS * BATCH), b = samples_make((size_t)ROUNDS * BATCH);

    for (int round = -1; round < ROUNDS; round++) { /* the first warms up */
        time_batch(waiter, ours, &a, round >= 0);
        time_batch(waiter, floor, &b, round >= 0);
    }
    figure_latency(what, &a, &b, 0, 0);
    samples_free(&a);
    samples_free(&b);
}

/* In this process. */

static void raise_device(struct source *source)
{
    const uint8_t vector[4] = {0};

    if (vd_region_write(source->device, EDU_BAR, EDU_RAISE, vector, sizeof(vector)))
        bench_die("the register write");
    vd_device_dispatch(source->device, false);
}

static void raise_bare(struct source *source)
{
    const uint64_t one = 1;

    if (write(source->fd, &one, sizeof(one)) != sizeof(one))
        bench_die("eventfd");
}

static struct vd_device *open_device(struct vd_context *context, int fd)
{
    const uint8_t command[2] = {PCI_MEMORY_AND_MASTER, 0};
    struct vd_error error = {.message = ""};
    struct vd_device *device;

    if (vd_device_open(context, "sim:edu", &device, &error)) {
        fprintf(stderr, "bench: %s\n", error.message);
        exit(1);
    }
    if (vd_region_write(device, VD_REGION_CONFIG, PCI_COMMAND, command, sizeof(command)) ||
        vd_irq_route(device, VD_IRQ_MSIX, 0, 1, &fd))
        bench_die("setting up the device");
    return device;
}

static void measure_in_process(struct cores cores)
{
    struct waiter waiter = {.core = cores.theirs, .fd = make_eventfd()};
    struct source ours = {.raise = raise_device}, floor = {.raise = raise_bare, .fd = waiter.fd};
    struct vd_context *context;

    if (vd_context_create(NULL, &context))
        bench_die("context");
    ours.device = open_device(context, fcntl(waiter.fd, F_DUPFD_CLOEXEC, 0));
    waiter_start(&waiter);
    measure("foundation.irq_latency", &waiter, &ours, &floor);
    waiter_stop(&waiter);
    vd_device_close(ours.device);
    vd_context_destroy(context);
}

/* Through the server. */

static void raise_by_message(struct source *source)
{
    peer_write32(&source->peer, EDU_BAR, EDU_RAISE, 0);
}

static void raise_by_bare_message(struct source *source)
{
    char bytes[MESSAGE] = {0};

    bare_send(source->peer.fd, bytes, MESSAGE, -1);
    bare_receive(source->peer.fd, bytes, sizeof(bytes), NULL);
}

/* The floor's far side: answers, then rings, in the server's order. */
static void answer_and_ring(int fd, void *opaque)
{
    const struct waiter *waiter = opaque;
    struct source ring = {.fd = waiter->fd};
    char bytes[MESSAGE] = {0};

    while (recv(fd, bytes, MESSAGE, MSG_WAITALL) == MESSAGE) {
        bare_send(fd, bytes, REPLY, -1);
        raise_bare(&ring);
    }
}

static void route_to_server(struct peer *server, int fd)
{
    struct vfio_user_irq_set set = {.argsz = vd_put32(sizeof(set)),
                                    .flags =
                                        vd_put32(VFIO_USER_IRQ_DATA_EVENTFD | VFIO_USER_IRQ_ACTION_TRIGGER),
                                    .index = vd_put32(VD_IRQ_MSIX),
                                    .count = vd_put32(1)};
    struct vfio_user_region_access access = {vd_put64(PCI_COMMAND), vd_put32(EDU_CONFIG_REGION), vd_put32(2)};
    uint8_t command[sizeof(access) + 2] = {0};

    memcpy(command, &access, sizeof(access));
    command[sizeof(access)] = PCI_MEMORY_AND_MASTER;
    peer_negotiate(server);
    peer_call(server, VFIO_USER_REGION_WRITE, command, sizeof(command), -1, NULL, 0);
    peer_call(server, VFIO_USER_DEVICE_SET_IRQS, &set, sizeof(set), fd, NULL, 0);
}

static void measure_through_server(struct cores cores)
{
    struct waiter waiter = {.core = cores.mine, .fd = make_eventfd()};
    struct source ours = {.raise = raise_by_message, .peer = peer_serve(cores.theirs, "sim:edu")};
    struct source floor = {.raise = raise_by_bare_message,
                           .peer = peer_bare(cores.theirs, answer_and_ring, &waiter)};

    route_to_server(&ours.peer, waiter.fd);
    waiter_start(&waiter);
    measure("foundation.irq_through_server", &waiter, &ours, &floor);
    peer_stop(&ours.peer);
    peer_stop(&floor.peer);
    waiter_stop(&waiter);
}

int main(void)
{
    struct cores cores = cores_find();

    core_take(cores.mine);
    measure_in_process(cores);
    measure_through_server(cores);
    return 0;
}
