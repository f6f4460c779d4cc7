/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A whole session over a socket pair with a simulated device behind it. The input is a row of records, each made into one
 * message (fuzz_dispatch.h), so that mutations reach the handlers instead of failing at the size field; a record may
 * also be raw bytes.
 */
#include "fuzz_dispatch.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <viaduct/context.h>
#include <viaduct/device.h>
#include <viaduct/server.h>

#include "codec/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_RECORDS = 64, MEMORY = 0x200000, LEAK_LIMIT = 64 };

static struct vd_context *context;
static struct vd_device *device;
static int memory_fd = -1;

static void set_up(void)
{
    FILE *file = tmpfile();

    if (!file || ftruncate(fileno(file), MEMORY) < 0 || vd_context_create(NULL, &context) ||
        vd_device_open(context, "sim:edu", &device, NULL))
        abort();
    memory_fd = dup(fileno(file));
    fclose(file);
}

/* Sends with descriptors: the memory file for DMA_MAP, eventfds for anything else. */
static void send_with(int fd, const uint8_t *bytes, size_t size, unsigned nr_fds, bool memory)
{
    char control[CMSG_SPACE(sizeof(int) * 20)] = {0};
    struct iovec iov = {(void *)(uintptr_t)bytes, size};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    int fds[20];

    for (unsigned i = 0; i < nr_fds; i++)
        fds[i] = memory ? memory_fd : eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (nr_fds) {
        struct cmsghdr *c;

        msg.msg_control = control;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * nr_fds);
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * nr_fds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * nr_fds);
    }
    sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    for (unsigned i = 0; i < nr_fds && !memory; i++)
        close(fds[i]);
}

static void send_record(int fd, const struct fuzz_record *r, const uint8_t *payload, size_t size)
{
    uint8_t message[sizeof(struct vfio_user_header) + FUZZ_PAYLOAD];

    if (r->kind & FUZZ_RAW) {
        send_with(fd, payload, size, r->kind & FUZZ_FDS, false);
        return;
    }
    vd_header_put(message, r->id, r->command, size, r->flags & 0x3f, 0);
    memcpy(message + sizeof(struct vfio_user_header), payload, size);
    send_with(fd, message, sizeof(struct vfio_user_header) + size, r->kind & FUZZ_FDS,
              r->command == VFIO_USER_DMA_MAP);
}

static void send_input(int fd, const uint8_t *data, size_t size)
{
    for (unsigned n = 0; n < MAX_RECORDS && size >= sizeof(struct fuzz_record); n++) {
        struct fuzz_record r;
        size_t length;

        memcpy(&r, data, sizeof(r));
        data += sizeof(r);
        size -= sizeof(r);
        length = r.size < size ? r.size : size;
        send_record(fd, &r, data, length);
        data += length;
        size -= length;
    }
}

/* Reads whatever the server says, so that it never waits for us. */
static void *discard(void *opaque)
{
    static uint8_t sink[65536];
    int fd = *(int *)opaque;

    while (recv(fd, sink, sizeof(sink), 0) > 0)
        ;
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vd_server_options options = {.size = sizeof(options), .no_spin = true};
    struct vd_server *server;
    pthread_t thread;
    int ends[2];
    int probe;

    if (!device)
        set_up();
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        abort();
    options.client_fd = ends[0];
    if (vd_server_create(context, device, &options, &server, NULL))
        abort();
    send_input(ends[1], data, size);
    shutdown(ends[1], SHUT_WR);
    if (pthread_create(&thread, NULL, discard, &ends[1]))
        abort();
    if (vd_server_run(server))
        abort();
    vd_server_destroy(server);
    pthread_join(thread, NULL);
    close(ends[1]);
    probe = dup(0); /* the lowest free descriptor: it creeps up when one leaks */
    if (probe > LEAK_LIMIT)
        abort();
    if (probe >= 0)
        close(probe);
    return 0;
}
