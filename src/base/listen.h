/* SPDX-License-Identifier: BSD-3-Clause */
/* The listening socket: made so that it is never open to others, and never takes a live server's place. */
#ifndef VD_BASE_LISTEN_H
#define VD_BASE_LISTEN_H

#include <sys/types.h>

#include "base/env.h"
#include "base/failure.h"

struct vd_listener {
    int fd; /* -1: none */
    char *path;
    dev_t dev; /* of the socket's file, so that only our own is removed */
    ino_t ino;
};

/*
 * Listens at `path`, mode 0600. A socket file whose server is gone is replaced; one that is alive, or a file that is no
 * socket, is left alone. 0; -ENAMETOOLONG; -EADDRINUSE; -EACCES, -ENOENT, -ENOTDIR, -EROFS of the directory; -EMFILE;
 * -ENOMEM. On failure *failure says why and nothing is left behind.
 */
int vd_listener_open(struct vd_listener *listener, const struct vd_env *env, const char *path,
                     struct vd_failure *failure);
/* Closes the socket and removes its file, when that is still ours. */
void vd_listener_close(struct vd_listener *listener, const struct vd_env *env);

#endif
