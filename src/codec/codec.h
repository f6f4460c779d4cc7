/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfio-user framing over a Unix stream socket: whole messages with their descriptors, for either side.
 *
 * Receiving costs one recvmsg() per wake-up, whatever it brings: part of a message, or several. Descriptors are
 * credited to the last message begun in the read that brought them: the kernel ends a read after the segment that
 * carried descriptors, and a sender puts one message into one segment. (A body sent after its header brings its
 * descriptors to the message that is under way.)
 *
 * Ownership: descriptors belong to the stream until vd_stream_next() hands out their message, then to the message's
 * holder, who closes what nobody took (vd_message_finish()). A payload points into the stream's buffer and is valid
 * until the next vd_stream_receive() on that stream.
 *
 * Threads: one at a time. No memory is allocated after vd_stream_init().
 */
#ifndef VD_CODEC_CODEC_H
#define VD_CODEC_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/cursor.h"
#include "base/env.h"
#include "proto/vfio_user.h"

/* Most descriptors in one message, which is also what stock QEMU allows at most; and the most data of one access. */
enum { VD_MESSAGE_MAX_FDS = 16, VD_MESSAGE_MAX_DATA = 1048576 };
/* The largest message: a region write with that data. */
#define VD_MESSAGE_MAX_SIZE                                                                                  \
    (sizeof(struct vfio_user_header) + sizeof(struct vfio_user_region_access) + VD_MESSAGE_MAX_DATA)

/* A received message. */
struct vd_message {
    uint16_t id;
    uint16_t command;
    uint32_t flags;
    uint32_t error; /* as on the wire */
    const uint8_t *payload;
    size_t size; /* of the payload */
    unsigned nr_fds;
    int fds[VD_MESSAGE_MAX_FDS]; /* set an entry to -1 to take it over */
};

static inline bool vd_message_is_reply(const struct vd_message *message)
{
    return (message->flags & VFIO_USER_TYPE_MASK) == VFIO_USER_TYPE_REPLY;
}

static inline struct vd_reader vd_message_reader(const struct vd_message *message)
{
    return vd_reader_make(message->payload, message->size);
}

/* Closes the descriptors that were not taken. */
void vd_message_finish(struct vd_message *message);

/* Descriptors that wait for their message to be complete. */
struct vd_stream_fds {
    size_t at; /* where the message starts in the buffer */
    unsigned count;
    int fds[VD_MESSAGE_MAX_FDS];
};

/* A connection; the fields are the codec's. */
struct vd_stream {
    const struct vd_env *env;
    int fd;        /* -1: closed */
    int cancel_fd; /* -1, or the owner's: while it is readable, nothing waits */
    uint8_t *buffer;
    size_t start, end; /* the bytes not handed out yet */
    /* At most two: one for a message that was under way, one for the last message begun since. */
    struct vd_stream_fds waiting[2];
};

/* Allocates the buffer. 0; -ENOMEM. */
int vd_stream_init(struct vd_stream *stream, const struct vd_env *env);
/* Closes and releases; a zeroed stream is allowed. */
void vd_stream_finish(struct vd_stream *stream);
/* Takes over a connected socket. The stream must be closed. */
void vd_stream_open(struct vd_stream *stream, int fd);
/* Closes the socket and whatever descriptors wait. A closed stream is allowed. */
void vd_stream_close(struct vd_stream *stream);

/*
 * Reads once, without blocking. To be called only after vd_stream_next() found no whole message. The bytes read (> 0);
 * -EAGAIN nothing there; -ECONNRESET the peer is gone; -EPROTO too many descriptors for one message; -EMFILE this process
 * had no room for them, so messages are no longer whole.
 */
int vd_stream_receive(struct vd_stream *stream);
/*
 * The next whole message. 1 when *message is filled; 0 when more bytes are needed; -EPROTO when the bytes are no
 * vfio-user message: the stream cannot be trusted any more.
 */
int vd_stream_next(struct vd_stream *stream, struct vd_message *message);
/* True when a whole message, or a malformed one, is waiting to be taken. */
bool vd_stream_has_next(const struct vd_stream *stream);

/*
 * Sends the pieces as one message with `nr_fds` descriptors, which stay the caller's. Waits for a peer that does not
 * read, `timeout_ms` in all. 0; -ETIMEDOUT, -ECANCELED (cancel_fd) or -EPIPE: part of the message may be out, so close.
 * `iov` is used up.
 */
int vd_stream_send(struct vd_stream *stream, struct iovec *iov, unsigned count, const int *fds,
                   unsigned nr_fds, int timeout_ms);

/* Writes a header for a message with `payload` bytes behind it. */
void vd_header_put(void *at, uint16_t id, uint16_t command, size_t payload, uint32_t flags, uint32_t error);

#endif
