/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The listening socket; promises in listen.h.
 *
 * Nobody can connect before listen(), so the mode is set before that: by fchmod() of the unbound socket, which Linux
 * gives to the file that bind() makes, and checked afterwards for hosts that do not. The process's umask, which other
 * threads share, is not touched.
 *
 * Two servers that find the same stale file must not remove each other's fresh one, so the directory is locked (flock)
 * from the check until listen(). The lock is advisory and bounded: someone else's lock on a shared directory must not
 * stop us.
 */
#include "base/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LOCK_TRIES = 50, LOCK_PAUSE_MS = 10, BACKLOG = 16 };

static int fail_errno(struct vd_failure *failure, const char *path, const char *what, int error)
{
    return vd_fail(failure, -error,
                   "socket=%s: %s: %s; give a path in an existing directory that you may write to", path,
                   what, strerror(error));
}

/* Opens and locks the directory of `path`; the descriptor, or -errno. */
static int lock_directory(const struct vd_env *env, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *directory = vd_env_strdup(env, slash ? path : ".");
    int fd;

    if (!directory)
        return -ENOMEM;
    if (slash)
        directory[slash == path ? 1 : slash - path] = 0;
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        fd = -errno;
    vd_env_free(env, directory);
    for (int i = 0; fd >= 0 && i < LOCK_TRIES && flock(fd, LOCK_EX | LOCK_NB) < 0; i++)
        poll(NULL, 0, LOCK_PAUSE_MS);
    return fd;
}

/* 0 when nobody answers at the address any more; -EADDRINUSE when someone does; else -errno. */
static int check_dead(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    int ret;

    if (fd < 0)
        return -errno;
    fcntl(fd, F_SETFL, O_NONBLOCK); /* a full backlog is a sign of life, not something to wait for */
    ret = connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : -EADDRINUSE;
    close(fd);
    if (ret == -ECONNREFUSED || ret == -ENOENT)
        return 0;
    return ret == -EAGAIN || ret == -EINPROGRESS ? -EADDRINUSE : ret;
}

/* Makes way at `path` if that is safe. */
static int remove_stale(const struct sockaddr_un *address, struct vd_failure *failure)
{
    const char *path = address->sun_path;
    struct stat st;
    int ret;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : fail_errno(failure, path, "cannot look at the path", errno);
    if (!S_ISSOCK(st.st_mode))
        return vd_fail(failure, -EADDRINUSE,
                       "socket=%s: a file that is not a socket is in the way; give another path or remove it",
                       path);
    ret = check_dead(address);
    if (ret == -EADDRINUSE)
        return vd_fail(failure, ret,
                       "socket=%s: a running server listens there; give another path or stop it", path);
    if (ret)
        return fail_errno(failure, path, "cannot tell whether a server listens there", -ret);
    if (unlink(path) < 0 && errno != ENOENT)
        return fail_errno(failure, path, "cannot remove the stale socket", errno);
    return 0;
}

/* Binds, makes private, listens. On failure the file, if it was made, is removed. */
static int bind_private(struct vd_listener *l, const struct sockaddr_un *address, struct vd_failure *failure)
{
    const char *path = address->sun_path;
    struct stat st;
    int ret;

    fchmod(l->fd, S_IRUSR | S_IWUSR); /* not every host knows this on a socket: checked below */
    if (bind(l->fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
        return fail_errno(failure, path, "cannot create the socket", errno);
    if (lstat(path, &st) < 0)
        return fail_errno(failure, path, "cannot look at the new socket", errno);
    l->dev = st.st_dev;
    l->ino = st.st_ino;
    if ((st.st_mode & (S_IRWXG | S_IRWXO)) && chmod(path, S_IRUSR | S_IWUSR) < 0)
        goto err_unlink;
    if (listen(l->fd, BACKLOG) < 0)
        goto err_unlink;
    return 0;

err_unlink:
    ret = fail_errno(failure, path, "cannot listen", errno);
    unlink(path);
    return ret;
}

static int open_socket(struct vd_listener *l, const struct sockaddr_un *address, struct vd_failure *failure)
{
    int ret = remove_stale(address, failure);

    if (ret)
        return ret;
    l->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (l->fd < 0)
        return fail_errno(failure, address->sun_path, "no socket", errno);
    fcntl(l->fd, F_SETFD, FD_CLOEXEC);
    fcntl(l->fd, F_SETFL, O_NONBLOCK);
    ret = bind_private(l, address, failure);
    if (ret) {
        close(l->fd);
        l->fd = -1;
    }
    return ret;
}

int vd_listener_open(struct vd_listener *l, const struct vd_env *env, const char *path,
                     struct vd_failure *failure)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    int directory, ret;

    *l = (struct vd_listener){.fd = -1};
    if (length == 0)
        return vd_fail_usage(failure, "socket=: the path is empty; give the path of the socket to create");
    if (length >= sizeof(address.sun_path))
        return vd_fail(
            failure, -ENAMETOOLONG,
            "socket=%s: the path has %zu bytes, a socket address holds at most %zu; give a shorter one", path,
            length, sizeof(address.sun_path) - 1);
    memcpy(address.sun_path, path, length + 1);
    directory = lock_directory(env, path);
    if (directory < 0)
        return fail_errno(failure, path, "cannot open its directory", -directory);
    ret = open_socket(l, &address, failure);
    close(directory);
    if (ret)
        return ret;
    l->path = vd_env_strdup(env, path);
    if (!l->path) {
        unlink(path);
        close(l->fd);
        l->fd = -1;
        return vd_fail(failure, -ENOMEM, "socket=%s: out of memory", path);
    }
    return 0;
}

void vd_listener_close(struct vd_listener *l, const struct vd_env *env)
{
    struct stat st;

    /* While it still listens: nobody may take the path, and with it perhaps the inode's number, before it is removed. */
    if (l->path && lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
        unlink(l->path);
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    vd_env_free(env, l->path);
    l->path = NULL;
}
