/* SPDX-License-Identifier: BSD-3-Clause */
/* Reaching the socket of viaduct-dextd, and what to tell people when that fails. */
#ifndef VD_DEXTLINK_CONNECT_H
#define VD_DEXTLINK_CONNECT_H

#include "base/env.h"
#include "base/failure.h"

/*
 * Connects to the socket at `path`. The descriptor, close-on-exec; -ENOENT nobody listens there; -EACCES; -EIO; -EINVAL
 * no path of a socket; -EMFILE; all with *failure. Bounded.
 */
int vd_link_connect(const struct vd_env *env, const char *path, struct vd_failure *failure);

#endif
