/* SPDX-License-Identifier: BSD-3-Clause */
/* Connecting; see connect.h. */
#include "dextlink/connect.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { CONNECT_S = 10 }; /* for one whose backlog is full */

static int explain(int error, const char *path, struct vd_failure *failure)
{
    switch (error) {
    case ENOENT:
    case ECONNREFUSED:
    case ENOTSOCK:
    case ENOTDIR:
        return vd_fail(
            failure, -ENOENT,
            "no viaduct-dextd listens at %s: start one with `viaduct-dextd --socket %s --device ...`, or set "
            "VIADUCT_DEXTD to the socket of one that runs",
            path, path);
    case EACCES:
    case EPERM:
        return vd_fail(failure, -EACCES,
                       "%s: %s: run as the user that started viaduct-dextd, or start one of your own", path,
                       strerror(error));
    case EAGAIN:
        return vd_fail(
            failure, -EIO,
            "the viaduct-dextd at %s does not take connections: it hangs, or too many clients wait; "
            "restart it",
            path);
    default:
        return vd_fail(failure, -EIO, "cannot connect to the viaduct-dextd at %s: %s", path, strerror(error));
    }
}

int vd_link_connect(const struct vd_env *env, const char *path, struct vd_failure *failure)
{
    struct timeval limit = {.tv_sec = CONNECT_S};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    int error, fd;

    if (length == 0 || length >= sizeof(address.sun_path))
        return vd_fail_usage(
            failure, "\"%s\" is no path of a viaduct-dextd's socket: it has %zu bytes, and 1 to %zu can be",
            path, length, sizeof(address.sun_path) - 1);
    memcpy(address.sun_path, path, length + 1);
    fd = vd_env_fault(env, "socket") ? -1 : socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0)
        return vd_fail(failure, -EMFILE,
                       "no socket to reach the viaduct-dextd at %s with: raise the limit of open "
                       "files (ulimit -n)",
                       path);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    do
        error = connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? errno : 0;
    while (error == EINTR);
    if (error == 0 || error == EISCONN) /* the first try went on after a signal */
        return fd;
    close(fd);
    return explain(error, path, failure);
}
