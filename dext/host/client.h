/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One connection: proto/dext_socket.h from the daemon's end. A message is answered before the next one is looked at, and
 * nothing is read from a client that does not take its replies, so what is kept for it is bounded by one message.
 *
 * Ownership: a connection that ended stays until the server closes it, between two rounds; so whoever is called by it, or
 * on its behalf, may end it.
 * Threads: the server's.
 */
#ifndef DEXT_HOST_CLIENT_H
#define DEXT_HOST_CLIENT_H

#include <sys/types.h>

#include "dextlink/frame.h"
#include "machine.h"
#include "share.h"

struct dextd_server;

/* Bits, for the masks of the table of messages. */
enum dextd_client_state {
    DEXTD_CLIENT_NEW = 1,   /* HELLO is to come */
    DEXTD_CLIENT_READY = 2, /* may list, open and control */
    DEXTD_CLIENT_OPEN = 4,  /* has a service */
};

enum { DEXTD_CLIENT_WAITS = 4 }; /* more than the core lets wait at once: one for each async selector */

/* An asynchronous call that has not completed; the core's `async`. */
struct dextd_wait {
    struct dextd_client *client;
    uint32_t selector;
    bool pending;
};

struct dextd_client {
    struct dextd_client *next;
    struct dextd_server *server;
    uint64_t number; /* for people */
    pid_t pid;       /* 0: not known */
    struct vd_frame_stream stream;
    enum dextd_client_state state;
    bool ended;
    bool readable;          /* there may be more to read */
    uint64_t active_ns;     /* of the last traffic */
    uint64_t stalled_since; /* when it last took something of what waits for it; 0: nothing waits */

    /* With a service. */
    struct dextd_function *function;
    struct vd_dext_client *core;
    struct dextd_shares shares;
    struct dextd_wait waits[DEXTD_CLIENT_WAITS];
};

/* Takes over a connected socket. 0; -ENOMEM, and the socket is still the caller's. */
int dextd_client_create(struct dextd_server *server, int fd, pid_t pid, struct dextd_client **out);
/* Closes whatever the client has, in the core first. */
void dextd_client_destroy(struct dextd_client *client);
/* Says that it is to be closed, and why; the first reason counts. */
void dextd_client_end(struct dextd_client *client, const char *why);

/* Handles messages that are there, a bounded number. True when there was something. */
bool dextd_client_work(struct dextd_client *client);
/* Sends more of what waits, when the socket takes it again. */
void dextd_client_flush(struct dextd_client *client, uint64_t now);

/* Completes an asynchronous call: struct vd_dext_hw_ops.complete. */
void dextd_wait_complete(struct dextd_wait *wait, int status, const uint64_t *args, uint32_t nr_args);

#endif
