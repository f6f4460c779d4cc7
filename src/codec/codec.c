/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Framing; theory and ownership in codec.h. Invariants: start <= end <= VD_MESSAGE_MAX_SIZE; waiting[0] belongs to an
 * earlier message than waiting[1]; a slot with count 0 is free.
 */
#include "codec/codec.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/message.h"

#ifndef MSG_CMSG_CLOEXEC
#define MSG_CMSG_CLOEXEC   0
#define VD_NO_CMSG_CLOEXEC 1
#endif
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* SO_NOSIGPIPE does it instead */
#endif

enum { HEADER = sizeof(struct vfio_user_header) };

/* One more than allowed, so that one too many is seen as such and not only as a truncated control message. */
enum { CONTROL_FDS = VD_MESSAGE_MAX_FDS + 1 };

union control {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int) * CONTROL_FDS)];
};

static void close_fds(int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

void vd_message_finish(struct vd_message *message)
{
    close_fds(message->fds, message->nr_fds);
    message->nr_fds = 0;
}

int vd_stream_init(struct vd_stream *stream, const struct vd_env *env)
{
    *stream = (struct vd_stream){.env = env, .fd = -1, .cancel_fd = -1};
    stream->buffer = vd_env_alloc(env, 1, VD_MESSAGE_MAX_SIZE);
    return stream->buffer ? 0 : -ENOMEM;
}

void vd_stream_finish(struct vd_stream *stream)
{
    if (!stream->buffer)
        return;
    vd_stream_close(stream);
    vd_env_free(stream->env, stream->buffer);
    stream->buffer = NULL;
}

void vd_stream_open(struct vd_stream *stream, int fd)
{
    stream->fd = fd;
    stream->start = stream->end = 0;
    stream->waiting[0].count = stream->waiting[1].count = 0;
#ifdef SO_NOSIGPIPE
    setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &(int){1}, sizeof(int));
#endif
}

void vd_stream_close(struct vd_stream *stream)
{
    for (unsigned i = 0; i < 2; i++) {
        close_fds(stream->waiting[i].fds, stream->waiting[i].count);
        stream->waiting[i].count = 0;
    }
    if (stream->fd >= 0)
        close(stream->fd);
    stream->fd = -1;
    stream->start = stream->end = 0;
}

/* The size of the message at `at`; 0 when its header is not all there, SIZE_MAX when it cannot be right. */
static size_t message_size(const struct vd_stream *stream, size_t at)
{
    struct vd_reader r = vd_reader_make(stream->buffer + at, stream->end - at);
    struct vfio_user_header header;
    size_t size;

    if (!vd_read_struct(&r, &header, sizeof(header)))
        return 0;
    size = vd_get32(header.size);
    return size >= HEADER && size <= VD_MESSAGE_MAX_SIZE ? size : SIZE_MAX;
}

bool vd_stream_has_next(const struct vd_stream *stream)
{
    size_t size = message_size(stream, stream->start);

    return size && (size == SIZE_MAX || size <= stream->end - stream->start);
}

/* Where the last message that has begun by `end` starts. */
static size_t last_begun(const struct vd_stream *stream)
{
    size_t at = stream->start;

    for (;;) {
        size_t size = message_size(stream, at);

        if (size == 0 || size == SIZE_MAX || size >= stream->end - at)
            return at;
        at += size;
    }
}

/* Adds descriptors to those of the last message; false when that makes too many (they are closed then). */
static bool credit(struct vd_stream *stream, int *fds, unsigned count)
{
    struct vd_stream_fds *slot = &stream->waiting[0];
    size_t at = last_begun(stream);

    if (slot->count && slot->at != at)
        slot = &stream->waiting[1];
    if (slot->count && slot->at != at)
        slot = NULL; /* more messages than can be: the caller did not drain the stream */
    if (!slot || count > VD_MESSAGE_MAX_FDS - slot->count) {
        close_fds(fds, count);
        return false;
    }
    memcpy(slot->fds + slot->count, fds, count * sizeof(int));
    slot->count += count;
    slot->at = at;
    return true;
}

/*
 * Collects what came along; every descriptor ends up in `fds` or closed. 0; -EPROTO there were more than are allowed;
 * -EMFILE this process had no room for all of them, and the kernel dropped the rest.
 */
static int collect(struct msghdr *msg, int *fds, unsigned *count)
{
    bool fits = true;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        size_t n = c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS
                       ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int)
                       : 0;

        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
#ifdef VD_NO_CMSG_CLOEXEC
            fcntl(fd, F_SETFD, FD_CLOEXEC);
#endif
            if (*count < VD_MESSAGE_MAX_FDS) {
                fds[(*count)++] = fd;
            } else {
                close(fd);
                fits = false;
            }
        }
    }
    if (!fits)
        return -EPROTO;
    return msg->msg_flags & MSG_CTRUNC ? -EMFILE : 0;
}

/* Moves what is left to the front when the rest of a message might not fit behind it. */
static void make_room(struct vd_stream *stream)
{
    size_t shift = stream->start;

    if (shift == 0)
        return;
    if (stream->start != stream->end)
        memmove(stream->buffer, stream->buffer + shift, stream->end - shift);
    stream->start = 0;
    stream->end -= shift;
    for (unsigned i = 0; i < 2; i++)
        if (stream->waiting[i].count)
            stream->waiting[i].at -= shift;
}

int vd_stream_receive(struct vd_stream *stream)
{
    union control control;
    int fds[VD_MESSAGE_MAX_FDS];
    struct iovec iov;
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    unsigned count = 0;
    ssize_t n;
    int ret;

    make_room(stream);
    iov = (struct iovec){stream->buffer + stream->end, VD_MESSAGE_MAX_SIZE - stream->end};
    if (iov.iov_len == 0)
        return -EPROTO; /* cannot happen while the caller takes whole messages first */
    do
        n = recvmsg(stream->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? -EAGAIN : -ECONNRESET;
    ret = collect(&msg, fds, &count);
    if (n == 0 || ret) {
        close_fds(fds, count);
        return n == 0 ? -ECONNRESET : ret;
    }
    stream->end += (size_t)n;
    if (count && !credit(stream, fds, count))
        return -EPROTO;
    return (int)n;
}

static void take_fds(struct vd_stream *stream, struct vd_message *message)
{
    struct vd_stream_fds *slot = &stream->waiting[0];

    message->nr_fds = 0;
    if (!slot->count || slot->at != stream->start)
        return;
    memcpy(message->fds, slot->fds, slot->count * sizeof(int));
    message->nr_fds = slot->count;
    *slot = stream->waiting[1];
    stream->waiting[1].count = 0;
}

int vd_stream_next(struct vd_stream *stream, struct vd_message *message)
{
    size_t size = message_size(stream, stream->start);
    struct vfio_user_header header;
    struct vd_reader r;

    if (size == SIZE_MAX)
        return -EPROTO;
    if (size == 0 || size > stream->end - stream->start)
        return 0;
    r = vd_reader_make(stream->buffer + stream->start, size);
    if (!vd_read_struct(&r, &header, sizeof(header)))
        return -EPROTO;
    message->flags = vd_get32(header.flags);
    if ((message->flags & VFIO_USER_TYPE_MASK) > VFIO_USER_TYPE_REPLY)
        return -EPROTO;
    message->id = vd_get16(header.id);
    message->command = vd_get16(header.command);
    message->error = vd_get32(header.error);
    message->payload = r.at;
    message->size = r.left;
    take_fds(stream, message);
    stream->start += size;
    return 1;
}

static uint64_t now_ms(const struct vd_env *env)
{
    return vd_env_now(env) / 1000000;
}

/* Waits until the socket takes more. 0; -ETIMEDOUT; -ECANCELED; -EPIPE. */
static int wait_writable(const struct vd_stream *stream, uint64_t deadline_ms)
{
    for (;;) {
        struct pollfd fds[] = {{.fd = stream->fd, .events = POLLOUT},
                               {.fd = stream->cancel_fd, .events = POLLIN}};
        uint64_t now = now_ms(stream->env);
        int ret;

        if (now >= deadline_ms)
            return -ETIMEDOUT;
        ret = poll(fds, 2, (int)(deadline_ms - now));
        if (ret > 0 && fds[1].revents)
            return -ECANCELED;
        if (ret > 0)
            return fds[0].revents & (POLLERR | POLLNVAL) ? -EPIPE : 0;
        if (ret < 0 && errno != EINTR)
            return -EPIPE;
    }
}

static void attach_fds(struct msghdr *msg, union control *control, const int *fds, unsigned nr_fds)
{
    struct cmsghdr *c;

    memset(control, 0, sizeof(*control));
    msg->msg_control = control;
    msg->msg_controllen = CMSG_SPACE(sizeof(int) * nr_fds);
    c = CMSG_FIRSTHDR(msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * nr_fds);
    memcpy(CMSG_DATA(c), fds, sizeof(int) * nr_fds);
}

int vd_stream_send(struct vd_stream *stream, struct iovec *iov, unsigned count, const int *fds,
                   unsigned nr_fds, int timeout_ms)
{
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = count};
    union control control;
    uint64_t deadline = 0;

    if (nr_fds > VD_MESSAGE_MAX_FDS)
        return -EINVAL;
    if (fds && nr_fds)
        attach_fds(&msg, &control, fds, nr_fds);
    while (msg.msg_iovlen) {
        ssize_t n = sendmsg(stream->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
        int ret;

        if (n >= 0) {
            msg.msg_control = NULL; /* they went with the first bytes */
            msg.msg_controllen = 0;
            vd_message_advance(&msg, (size_t)n);
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS)
            return -EPIPE;
        if (!deadline)
            deadline = now_ms(stream->env) + (uint64_t)timeout_ms;
        ret = wait_writable(stream, deadline);
        if (ret)
            return ret;
    }
    return 0;
}

void vd_header_put(void *at, uint16_t id, uint16_t command, size_t payload, uint32_t flags, uint32_t error)
{
    struct vfio_user_header header = {
        .id = vd_put16(id),
        .command = vd_put16(command),
        .size = vd_put32((uint32_t)(HEADER + payload)),
        .flags = vd_put32(flags),
        .error = vd_put32(error),
    };

    memcpy(at, &header, sizeof(header));
}
