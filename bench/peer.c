/* SPDX-License-Identifier: BSD-3-Clause */
/* The small client and the processes it talks to; see peer.h. */
#include "peer.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <viaduct/context.h>
#include <viaduct/device.h>
#include <viaduct/server.h>

#include "measure.h"
#include "proto/vfio_user.h"

enum { MESSAGE_MAX = 512 };

static void serve(int fd, void *opaque)
{
    struct vd_server_options options = {.size = sizeof(options), .client_fd = fd};
    struct vd_context *context;
    struct vd_device *device;
    struct vd_server *server;
    struct vd_error error = {.message = "no context"};

    if (vd_context_create(NULL, &context) || vd_device_open(context, opaque, &device, &error) ||
        vd_server_create(context, device, &options, &server, &error)) {
        fprintf(stderr, "bench: %s\n", error.message);
        exit(1);
    }
    vd_server_run(server);
    vd_server_destroy(server);
    vd_device_close(device);
    vd_context_destroy(context);
}

struct cores cores_find(void)
{
    struct cores cores = {-1, -1};
    cpu_set_t allowed;

    if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
        bench_die("sched_getaffinity");
    if (CPU_COUNT(&allowed) < 2)
        return cores;
    for (int cpu = 0; cpu < CPU_SETSIZE && cores.theirs < 0; cpu++)
        if (CPU_ISSET(cpu, &allowed))
            *(cores.mine < 0 ? &cores.mine : &cores.theirs) = cpu;
    return cores;
}

void core_take(int core)
{
    cpu_set_t one;

    if (core < 0)
        return;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    if (sched_setaffinity(0, sizeof(one), &one) < 0)
        bench_die("sched_setaffinity");
}

struct peer peer_bare(int core, void (*loop)(int fd, void *opaque), void *opaque)
{
    int ends[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        bench_die("socketpair");
    pid = fork();
    if (pid < 0)
        bench_die("fork");
    if (pid == 0) {
        close(ends[0]);
        core_take(core);
        loop(ends[1], opaque);
        _exit(0);
    }
    close(ends[1]);
    return (struct peer){.fd = ends[0], .pid = pid};
}

struct peer peer_serve(int core, const char *address)
{
    char *copy = strdup(address);
    struct peer peer;

    if (!copy)
        bench_die("memory");
    peer = peer_bare(core, serve, copy);
    free(copy);
    return peer;
}

void peer_stop(struct peer *peer)
{
    shutdown(peer->fd, SHUT_RDWR); /* later processes inherited a copy, so closing alone would not end it */
    close(peer->fd);
    if (peer->pid > 0 && waitpid(peer->pid, NULL, 0) < 0)
        bench_die("waitpid");
}

void bare_send(int fd, const void *bytes, size_t size, int carried)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.room = {0}};
    struct iovec iov = {(void *)(uintptr_t)bytes, size};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (carried >= 0) {
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.header), &carried, sizeof(int));
    }
    if (sendmsg(fd, &msg, MSG_NOSIGNAL) != (ssize_t)size)
        bench_die("send");
}

size_t bare_receive(int fd, void *bytes, size_t size, int *carried)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {bytes, size};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (carried) {
        *carried = -1;
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control);
    }
    n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    if (n < 0 && errno != ECONNRESET)
        bench_die("receive");
    if (n > 0 && carried && msg.msg_controllen >= CMSG_LEN(sizeof(int)))
        memcpy(carried, CMSG_DATA(&control.header), sizeof(int));
    return n > 0 ? (size_t)n : 0;
}

void peer_call(struct peer *peer, uint16_t command, const void *payload, size_t size, int fd, void *reply,
               size_t room)
{
    uint8_t bytes[MESSAGE_MAX];
    struct vfio_user_header header = {.id = vd_put16(peer->next_id++),
                                      .command = vd_put16(command),
                                      .size = vd_put32((uint32_t)(sizeof(header) + size))};
    size_t got;

    if (size > sizeof(bytes) - sizeof(header))
        bench_die("payload too large");
    memcpy(bytes, &header, sizeof(header));
    memcpy(bytes + sizeof(header), payload, size);
    bare_send(peer->fd, bytes, sizeof(header) + size, fd);
    got = bare_receive(peer->fd, bytes, sizeof(bytes), NULL);
    if (got < sizeof(header))
        bench_die("the server left");
    memcpy(&header, bytes, sizeof(header));
    if (vd_get32(header.flags) & VFIO_USER_ERROR) {
        errno = (int)vd_get32(header.error);
        bench_die("the server refused a command");
    }
    got -= sizeof(header);
    if (room)
        memcpy(reply, bytes + sizeof(header), got < room ? got : room);
}

void peer_negotiate(struct peer *peer)
{
    static const char json[] = "{\"capabilities\":{\"max_msg_fds\":16}}";
    uint8_t payload[sizeof(struct vfio_user_version) + sizeof(json)] = {0};

    memcpy(payload + sizeof(struct vfio_user_version), json, sizeof(json));
    peer_call(peer, VFIO_USER_VERSION, payload, sizeof(payload), -1, NULL, 0);
}

uint32_t peer_read32(struct peer *peer, uint32_t region, uint64_t offset)
{
    struct vfio_user_region_access access = {vd_put64(offset), vd_put32(region), vd_put32(4)};
    uint8_t reply[sizeof(access) + 4] = {0};

    peer_call(peer, VFIO_USER_REGION_READ, &access, sizeof(access), -1, reply, sizeof(reply));
    return vd_load32(reply + sizeof(access));
}

void peer_write32(struct peer *peer, uint32_t region, uint64_t offset, uint32_t value)
{
    struct vfio_user_region_access access = {vd_put64(offset), vd_put32(region), vd_put32(4)};
    uint8_t payload[sizeof(access) + 4];

    memcpy(payload, &access, sizeof(access));
    vd_store32(payload + sizeof(access), value);
    peer_call(peer, VFIO_USER_REGION_WRITE, payload, sizeof(payload), -1, NULL, 0);
}
