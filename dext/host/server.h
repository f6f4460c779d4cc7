/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon: a machine, a socket, and the connections to it. A program makes one; tests run one in a thread.
 *
 * Threads: create, plug, run and destroy on one thread at a time, which owns everything; dextd_server_stop() from any, and
 * from a signal handler.
 */
#ifndef DEXT_HOST_SERVER_H
#define DEXT_HOST_SERVER_H

#include "machine.h"
#include "proto/dext_socket.h"
#include "base/listen.h"
#include "sim/os.h"

struct dextd_client;

enum {
    DEXTD_MAX_CLIENTS = 64,
    DEXTD_STALL_MS = 5000, /* a client that takes nothing of its replies for so long is gone */
    DEXTD_SCRATCH_SIZE = VD_DEXT_SOCKET_MAX_SIZE - sizeof(struct vd_dext_header),
};

struct dextd_settings {
    const char *socket;         /* path; copied */
    struct vd_dext_quota quota; /* of each device; 0: none */
    unsigned stall_ms;          /* 0: DEXTD_STALL_MS */
};

/* Of this folder's files. */
struct dextd_server {
    const struct vd_env *env;
    struct vd_listener listener;
    struct dextd_machine machine;
    struct dextd_client *clients;
    unsigned nr_clients;
    uint64_t last_number; /* of a client */
    uint64_t stall_ns;
    uint8_t *scratch;   /* for replies: DEXTD_SCRATCH_SIZE bytes, used between two messages by nobody */
    uint64_t warned_ns; /* when a client's doing last made it into the log */
    int spare_fd;       /* given up for a moment to turn a client away when there are no descriptors left */
    struct sim_wake stop;
    _Atomic bool stopping;
};

/*
 * Listens, with an empty machine; nobody is served before dextd_server_run(). 0; -EINVAL, -EADDRINUSE, ... of the socket
 * (base/listen.h); -ENOMEM, -EMFILE.
 */
int dextd_server_create(const struct vd_env *env, const struct dextd_settings *settings,
                        struct dextd_server **out, struct vd_failure *failure);
/* Closes every connection as if its client had left, and frees all. NULL is allowed. */
void dextd_server_destroy(struct dextd_server *server);

/* Serves until dextd_server_stop(). */
void dextd_server_run(struct dextd_server *server);
void dextd_server_stop(struct dextd_server *server);

/* A line about what a client did; seldom enough that none can fill the log. On the server's thread. */
void dextd_server_warn(struct dextd_server *server, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
