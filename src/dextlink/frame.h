/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The framing of proto/dext_socket.h over a Unix stream socket, for both ends: src/dextlink/socket.c and dext/host.
 *
 * Receiving costs one recvmsg() per wake-up, which may bring part of a message or several. Which of them a descriptor
 * belongs to cannot be told from the read that brought it: Linux ends a read after the bytes that carried a descriptor,
 * macOS before the next ones that do. It can be told from the messages: exactly one kind brings descriptors in each
 * direction (SHARE to the extension; a successful MAP to the client), a read brings at most one, and both arrive in
 * order. So descriptors wait in a queue and every message of that kind takes the first. A peer that attaches one to
 * another message is caught when nothing is left to take it; one that mixes up its own descriptors harms itself.
 *
 * Ownership: descriptors are the stream's until vd_frame_next() hands out their message, then the holder's, who closes
 * what nobody took (vd_frame_drop()). A payload points into the stream's buffer and is valid until the next
 * vd_frame_receive() on that stream.
 *
 * Threads: one at a time. No memory is allocated after vd_frame_open().
 */
#ifndef VD_DEXTLINK_FRAME_H
#define VD_DEXTLINK_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/cursor.h"
#include "base/env.h"
#include "proto/dext_socket.h"

enum {
    VD_FRAME_PIECES = 3,      /* of a payload to send */
    VD_FRAME_WAITING_FDS = 2, /* one of a message that is under way, one of the last read */
};

/* The ends of a connection. */
enum vd_frame_side {
    VD_FRAME_CLIENT,    /* receives descriptors with MAP */
    VD_FRAME_EXTENSION, /* receives descriptors with SHARE; can post */
};

/* A received message. */
struct vd_frame {
    uint16_t kind; /* enum vd_dext_message, checked */
    uint32_t tag;
    int status; /* enum vd_dext_return, as the peer says */
    const uint8_t *payload;
    size_t size;  /* of the payload */
    int fd;       /* -1: none; set it to -1 to take it over */
    bool fd_lost; /* one was sent, but this process had no room for it */
};

/* A message to send. */
struct vd_frame_out {
    uint16_t kind;
    uint32_t tag;
    int status;
    int fd; /* -1: none; stays the caller's */
    unsigned nr_pieces;
    struct iovec
        pieces[VD_FRAME_PIECES]; /* the payload; together at most VD_DEXT_SOCKET_MAX_SIZE - 16 bytes */
};

/* A connection; the fields are the framing's, `fd` may be polled. */
struct vd_frame_stream {
    const struct vd_env *env;
    int fd; /* -1: closed */
    enum vd_frame_side side;
    uint8_t *buffer;
    size_t start, end; /* bytes received and not handed out yet */
    unsigned nr_fds;
    int fds[VD_FRAME_WAITING_FDS]; /* -1: one that was lost */
    uint8_t *queue;                /* NULL for a client */
    size_t queue_start, queue_end; /* bytes posted and not sent yet */
};

static inline struct vd_reader vd_frame_reader(const struct vd_frame *frame)
{
    return vd_reader_make(frame->payload, frame->size);
}

/* Closes the descriptor that was not taken. */
void vd_frame_drop(struct vd_frame *frame);

/*
 * Takes over a connected stream socket, which becomes non-blocking and close-on-exec, and allocates the buffers (1 MiB
 * each way, touched only as far as they are used). 0; -ENOMEM, and the socket is still the caller's.
 */
int vd_frame_open(struct vd_frame_stream *stream, const struct vd_env *env, int fd, enum vd_frame_side side);
/* Closes the socket and the descriptors that wait, releases the buffers. A closed stream is allowed. */
void vd_frame_close(struct vd_frame_stream *stream);

/*
 * Reads once, without blocking. To be called only after vd_frame_next() answered 0. The bytes read (> 0); -EAGAIN
 * nothing there; -ECONNRESET the peer is gone; -EPROTO more than one descriptor in a read. After the last two the stream
 * is of no further use.
 */
int vd_frame_receive(struct vd_frame_stream *stream);
/*
 * The next whole message. 1 when *frame is filled; 0 more bytes are needed; -EPROTO a bad header (size, kind, reserved)
 * or a descriptor that no message takes: the stream is of no further use.
 */
int vd_frame_next(struct vd_frame_stream *stream, struct vd_frame *frame);

/*
 * Sends one message; waits for a peer that does not read until vd_env_now() reaches `deadline_ns`. 0; -ETIMEDOUT, -EPIPE:
 * part of it may be out, so close; -EMSGSIZE. Not to be mixed with vd_frame_post().
 */
int vd_frame_send(struct vd_frame_stream *stream, const struct vd_frame_out *out, uint64_t deadline_ns);
/*
 * VD_FRAME_EXTENSION only. Sends one message without ever waiting: what the socket does not take is kept for
 * vd_frame_flush(). 0; -EAGAIN nothing was sent or kept: too much is waiting, or a descriptor would have to wait (a
 * client that reads its replies never sees either); -EPIPE the peer is gone; -EMSGSIZE.
 */
int vd_frame_post(struct vd_frame_stream *stream, const struct vd_frame_out *out);
/* Sends more of what was kept; call it when the socket is writable. 0 nothing is left; -EAGAIN; -EPIPE. */
int vd_frame_flush(struct vd_frame_stream *stream);
/* True while something is kept: poll for POLLOUT, and take no further requests from a client that does not read. */
static inline bool vd_frame_posted(const struct vd_frame_stream *stream)
{
    return stream->queue_start != stream->queue_end;
}

#endif
