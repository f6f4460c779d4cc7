/* SPDX-License-Identifier: BSD-3-Clause */
/* The socket's implementation of a link over a connection that exists already, for tests and fuzzing. */
#ifndef VD_DEXTLINK_SOCKET_H
#define VD_DEXTLINK_SOCKET_H

#include "dextlink/link.h"

/*
 * Says HELLO and opens instance `id`. `fd` is taken over in every case; `path` is for people. The errors of open() in
 * link.h.
 */
int vd_link_socket_adopt(const struct vd_env *env, int fd, const char *path, uint64_t id,
                         struct vd_link **out, struct vd_failure *failure);

#endif
