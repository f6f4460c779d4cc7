/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Framing; theory and ownership in frame.h. Invariants: start <= end <= VD_DEXT_SOCKET_MAX_SIZE, the same for the queue;
 * descriptors that wait are in the order in which their messages are.
 */
#include "dextlink/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/message.h"

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* SO_NOSIGPIPE does it instead */
#endif
#ifndef MSG_CMSG_CLOEXEC
#define MSG_CMSG_CLOEXEC 0 /* close_on_exec() does it instead, a moment later */
#endif

enum { HEADER = sizeof(struct vd_dext_header), ROOM = VD_DEXT_SOCKET_MAX_SIZE };

static const uint64_t WAIT_NS = 60000000000ull;

/* One more than allowed, so that one too many is seen as such. */
enum { CONTROL_FDS = 2 };

static void close_descriptor(int fd)
{
    if (fd >= 0)
        close(fd);
}

void vd_frame_drop(struct vd_frame *frame)
{
    close_descriptor(frame->fd);
    frame->fd = -1;
}

static void close_on_exec(int fd)
{
    fcntl(fd, F_SETFD, FD_CLOEXEC);
}

int vd_frame_open(struct vd_frame_stream *stream, const struct vd_env *env, int fd, enum vd_frame_side side)
{
    *stream = (struct vd_frame_stream){.env = env, .fd = -1, .side = side};
    stream->buffer = vd_env_alloc(env, 1, ROOM);
    if (side == VD_FRAME_EXTENSION)
        stream->queue = vd_env_alloc(env, 1, ROOM);
    if (!stream->buffer || (side == VD_FRAME_EXTENSION && !stream->queue)) {
        vd_frame_close(stream);
        return -ENOMEM;
    }
    stream->fd = fd;
    close_on_exec(fd);
    /* Not MSG_DONTWAIT: macOS does not heed it when sending. */
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
#ifdef SO_NOSIGPIPE
    setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &(int){1}, sizeof(int));
#endif
    return 0;
}

void vd_frame_close(struct vd_frame_stream *stream)
{
    if (!stream->env)
        return;
    for (unsigned i = 0; i < stream->nr_fds; i++)
        close_descriptor(stream->fds[i]);
    close_descriptor(stream->fd);
    vd_env_free(stream->env, stream->buffer);
    vd_env_free(stream->env, stream->queue);
    *stream = (struct vd_frame_stream){.fd = -1};
}

/* The header at the front of what was received; false when it is not all there. */
static bool peek_header(const struct vd_frame_stream *stream, struct vd_dext_header *header)
{
    struct vd_reader r = vd_reader_make(stream->buffer + stream->start, stream->end - stream->start);

    return vd_read_struct(&r, header, sizeof(*header));
}

static bool header_is_good(const struct vd_dext_header *header)
{
    uint32_t size = vd_get32(header->size);
    uint16_t kind = vd_get16(header->kind);

    return size >= HEADER && size <= VD_DEXT_SOCKET_MAX_SIZE && kind > 0 && kind < VD_DEXT_MESSAGE_END &&
           vd_get16(header->reserved) == 0;
}

/* The one kind of message that brings a descriptor to this side. */
static bool brings_descriptor(const struct vd_frame_stream *stream, const struct vd_dext_header *header)
{
    uint16_t kind = stream->side == VD_FRAME_CLIENT ? VD_DEXT_MAP : VD_DEXT_SHARE;

    return vd_get16(header->kind) == kind && vd_get32(header->status) == VD_DEXT_SUCCESS;
}

/*
 * Puts the descriptor that came along behind those that wait; -1 for one that the kernel dropped because this process had
 * no room for it. 0; -EPROTO more than one (all are closed then).
 */
static int collect(struct vd_frame_stream *stream, struct msghdr *msg)
{
    unsigned count = 0;
    int fd = -1;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        size_t n = c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS
                       ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int)
                       : 0;

        for (size_t i = 0; i < n; i++, count++) {
            close_descriptor(fd);
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            close_on_exec(fd);
        }
    }
    if (count > 1) {
        close_descriptor(fd);
        return -EPROTO;
    }
    if (count || (msg->msg_flags & MSG_CTRUNC))
        stream->fds[stream->nr_fds++] = fd;
    return 0;
}

static void move_to_front(uint8_t *buffer, size_t *start, size_t *end)
{
    if (*start && *start != *end)
        memmove(buffer, buffer + *start, *end - *start);
    *end -= *start;
    *start = 0;
}

int vd_frame_receive(struct vd_frame_stream *stream)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * CONTROL_FDS)];
    struct iovec iov;
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    ssize_t n;
    int ret;

    move_to_front(stream->buffer, &stream->start, &stream->end);
    iov = (struct iovec){stream->buffer + stream->end, ROOM - stream->end};
    if (iov.iov_len == 0 || stream->nr_fds == VD_FRAME_WAITING_FDS)
        return -EPROTO; /* cannot happen while the caller takes whole messages first */
    do
        n = recvmsg(stream->fd, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? -EAGAIN : -ECONNRESET;
    ret = collect(stream, &msg);
    if (n == 0 || ret)
        return n == 0 ? -ECONNRESET : ret;
    stream->end += (size_t)n;
    return (int)n;
}

static void take_descriptor(struct vd_frame_stream *stream, struct vd_frame *frame)
{
    frame->fd = stream->nr_fds ? stream->fds[0] : -1;
    frame->fd_lost = stream->nr_fds && frame->fd < 0;
    if (stream->nr_fds) {
        stream->fds[0] = stream->fds[1];
        stream->nr_fds--;
    }
}

int vd_frame_next(struct vd_frame_stream *stream, struct vd_frame *frame)
{
    struct vd_dext_header header;
    bool whole = peek_header(stream, &header);
    /* What has begun to arrive may still take one: it is not known yet what it is, or it is known that it may. */
    unsigned takers = stream->start != stream->end;

    if (whole && !header_is_good(&header))
        return -EPROTO;
    if (whole && !brings_descriptor(stream, &header))
        takers = 0;
    if (!whole || vd_get32(header.size) > stream->end - stream->start)
        return stream->nr_fds > takers ? -EPROTO : 0;
    frame->kind = vd_get16(header.kind);
    frame->tag = vd_get32(header.tag);
    frame->status = (int)vd_get32(header.status);
    frame->payload = stream->buffer + stream->start + HEADER;
    frame->size = vd_get32(header.size) - HEADER;
    frame->fd = -1;
    frame->fd_lost = false;
    if (takers)
        take_descriptor(stream, frame);
    stream->start += HEADER + frame->size;
    return 1;
}

/* What sendmsg() works on. */
struct sending {
    struct vd_dext_header header;
    struct iovec iov[1 + VD_FRAME_PIECES];
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    struct msghdr msg;
};

static int prepare(struct sending *s, const struct vd_frame_out *out)
{
    size_t size = HEADER;
    unsigned count = 1;

    for (unsigned i = 0; i < out->nr_pieces; i++) {
        size += out->pieces[i].iov_len;
        if (out->pieces[i].iov_len)
            s->iov[count++] = out->pieces[i];
    }
    if (size > VD_DEXT_SOCKET_MAX_SIZE)
        return -EMSGSIZE;
    s->header = (struct vd_dext_header){.size = vd_put32((uint32_t)size),
                                        .kind = vd_put16(out->kind),
                                        .tag = vd_put32(out->tag),
                                        .status = vd_put32((uint32_t)out->status)};
    s->iov[0] = (struct iovec){&s->header, HEADER};
    s->msg = (struct msghdr){.msg_iov = s->iov, .msg_iovlen = count};
    if (out->fd >= 0) {
        struct cmsghdr *c;

        memset(s->control, 0, sizeof(s->control));
        s->msg.msg_control = s->control;
        s->msg.msg_controllen = CMSG_SPACE(sizeof(int));
        c = CMSG_FIRSTHDR(&s->msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &out->fd, sizeof(int));
    }
    return 0;
}

/* Sends until all is out or the socket is full. 0; -EAGAIN; -EPIPE. */
static int push(int fd, struct msghdr *msg)
{
    while (msg->msg_iovlen) {
        ssize_t n = sendmsg(fd, msg, MSG_NOSIGNAL);

        if (n >= 0) {
            msg->msg_control = NULL; /* it went with the first byte */
            msg->msg_controllen = 0;
            vd_message_advance(msg, (size_t)n);
        } else if (errno != EINTR) {
            return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? -EAGAIN : -EPIPE;
        }
    }
    return 0;
}

/* Waits until the socket takes more, or a while. 0; -ETIMEDOUT. */
static int wait_writable(const struct vd_frame_stream *stream, uint64_t deadline_ns)
{
    struct pollfd pollfd = {.fd = stream->fd, .events = POLLOUT};
    uint64_t now = vd_env_now(stream->env);

    if (now >= deadline_ns)
        return -ETIMEDOUT;
    if (deadline_ns - now > WAIT_NS)
        now = deadline_ns - WAIT_NS;
    poll(&pollfd, 1, (int)((deadline_ns - now) / 1000000 + 1)); /* the next sendmsg() says what happened */
    return 0;
}

int vd_frame_send(struct vd_frame_stream *stream, const struct vd_frame_out *out, uint64_t deadline_ns)
{
    struct sending s;
    int ret = prepare(&s, out);

    if (ret)
        return ret;
    while ((ret = push(stream->fd, &s.msg)) == -EAGAIN) {
        ret = wait_writable(stream, deadline_ns);
        if (ret)
            return ret;
    }
    return ret;
}

int vd_frame_flush(struct vd_frame_stream *stream)
{
    struct iovec iov = {stream->queue + stream->queue_start, stream->queue_end - stream->queue_start};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = iov.iov_len != 0};
    int ret = push(stream->fd, &msg);

    stream->queue_start = stream->queue_end - (msg.msg_iovlen ? iov.iov_len : 0);
    return ret;
}

/* Appends what was not sent; the caller checked that it fits. */
static void keep(struct vd_frame_stream *stream, const struct msghdr *msg)
{
    move_to_front(stream->queue, &stream->queue_start, &stream->queue_end);
    for (size_t i = 0; i < (size_t)msg->msg_iovlen; i++) {
        memcpy(stream->queue + stream->queue_end, msg->msg_iov[i].iov_base, msg->msg_iov[i].iov_len);
        stream->queue_end += msg->msg_iov[i].iov_len;
    }
}

int vd_frame_post(struct vd_frame_stream *stream, const struct vd_frame_out *out)
{
    struct sending s;
    int ret = prepare(&s, out);

    if (!ret && vd_get32(s.header.size) > ROOM - (stream->queue_end - stream->queue_start))
        ret = -EAGAIN;
    if (ret)
        return ret;
    ret = vd_frame_posted(stream) ? -EAGAIN : push(stream->fd, &s.msg);
    if (ret != -EAGAIN)
        return ret;
    if (s.msg.msg_control)
        return -EAGAIN; /* nothing is out yet, and a descriptor cannot be kept without holding it */
    keep(stream, &s.msg);
    return 0;
}
