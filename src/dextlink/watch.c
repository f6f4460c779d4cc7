/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A kernel event queue with one member; see watch.h. It is raised by asking for writability as well: the socket of a
 * call that has its reply is writable, because the peer has read all requests but perhaps a few of 24 bytes. Changing
 * what is asked for allocates nothing.
 */
#include "dextlink/watch.h"

#include <errno.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/epoll.h>

static int queue_open(void)
{
    return epoll_create1(EPOLL_CLOEXEC);
}

static int queue_change(const struct vd_watch *watch, int operation, bool raised)
{
    struct epoll_event event = {.events = raised ? EPOLLIN | EPOLLOUT : EPOLLIN};

    return epoll_ctl(watch->fd, operation, watch->socket, &event);
}

static int queue_add(const struct vd_watch *watch)
{
    return queue_change(watch, EPOLL_CTL_ADD, false);
}

static void queue_raise(const struct vd_watch *watch, bool raised)
{
    queue_change(watch, EPOLL_CTL_MOD, raised);
}

static void queue_remove(const struct vd_watch *watch)
{
    queue_change(watch, EPOLL_CTL_DEL, false);
}
#else
#include <fcntl.h>
#include <sys/event.h>

static int queue_open(void)
{
    int fd = kqueue();

    if (fd >= 0)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}

static int queue_add(const struct vd_watch *watch)
{
    struct kevent changes[2];

    EV_SET(&changes[0], (uintptr_t)watch->socket, EVFILT_READ, EV_ADD, 0, 0, NULL);
    EV_SET(&changes[1], (uintptr_t)watch->socket, EVFILT_WRITE, EV_ADD | EV_DISABLE, 0, 0, NULL);
    return kevent(watch->fd, changes, 2, NULL, 0, NULL);
}

static void queue_raise(const struct vd_watch *watch, bool raised)
{
    struct kevent change;

    EV_SET(&change, (uintptr_t)watch->socket, EVFILT_WRITE, raised ? EV_ENABLE : EV_DISABLE, 0, 0, NULL);
    kevent(watch->fd, &change, 1, NULL, 0, NULL);
}

static void queue_remove(const struct vd_watch *watch)
{
    struct kevent changes[2];

    EV_SET(&changes[0], (uintptr_t)watch->socket, EVFILT_READ, EV_DELETE, 0, 0, NULL);
    EV_SET(&changes[1], (uintptr_t)watch->socket, EVFILT_WRITE, EV_DELETE, 0, 0, NULL);
    kevent(watch->fd, changes, 2, NULL, 0, NULL);
}
#endif

int vd_watch_open(struct vd_watch *watch, const struct vd_env *env, int socket)
{
    int error;

    *watch = (struct vd_watch){.fd = -1, .socket = socket};
    if (vd_env_fault(env, "watch"))
        return -EMFILE;
    watch->fd = queue_open();
    if (watch->fd >= 0 && queue_add(watch) == 0)
        return 0;
    error = errno;
    vd_watch_close(watch);
    return error == ENOMEM ? -ENOMEM : -EMFILE;
}

void vd_watch_close(struct vd_watch *watch)
{
    if (watch->fd >= 0)
        close(watch->fd);
    watch->fd = -1;
}

void vd_watch_forget(struct vd_watch *watch)
{
    if (!watch->forgotten)
        queue_remove(watch);
    watch->forgotten = true;
}

void vd_watch_raise(struct vd_watch *watch, bool raised)
{
    if (watch->raised == raised || watch->forgotten)
        return;
    watch->raised = raised;
    queue_raise(watch, raised);
}
