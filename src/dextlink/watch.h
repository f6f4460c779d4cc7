/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One descriptor to poll for two things: bytes on a socket, and something that was taken off the socket already (a
 * completion that arrived while a call waited for its reply) and must not be slept on. Threads: one at a time.
 */
#ifndef VD_DEXTLINK_WATCH_H
#define VD_DEXTLINK_WATCH_H

#include <stdbool.h>

#include "base/env.h"

struct vd_watch {
    int fd; /* poll this for reading; -1: closed */
    int socket;
    bool raised, forgotten;
};

/* Watches a connected stream socket, which outlives the watch. 0; -EMFILE; -ENOMEM. */
int vd_watch_open(struct vd_watch *watch, const struct vd_env *env, int socket);
/* A closed watch is allowed. */
void vd_watch_close(struct vd_watch *watch);
/* The socket has nothing more to tell: from now on the descriptor is not readable, but can still be polled. */
void vd_watch_forget(struct vd_watch *watch);
/* While raised, the descriptor is readable whatever the socket does. Cannot fail; costs nothing when nothing changes. */
void vd_watch_raise(struct vd_watch *watch, bool raised);

#endif
