/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests, replies and completions over the framing: the client's end of proto/dext_socket.h without its meaning.
 *
 * The other side is not trusted. Whoever breaks the protocol is given up, as is one that does not answer within
 * VD_CHANNEL_S; a channel that was given up stays so: its socket is shut down, which also wakes whoever polls.
 *
 * Threads: one at a time. No memory is allocated after vd_channel_open().
 */
#ifndef VD_DEXTLINK_CHANNEL_H
#define VD_DEXTLINK_CHANNEL_H

#include "dextlink/frame.h"
#include "dextlink/link.h"
#include "dextlink/watch.h"

enum { VD_CHANNEL_S = 10 };

/* An asynchronous call. */
struct vd_pending {
    bool outstanding; /* started and not taken by vd_channel_poll() yet */
    bool done;        /* the completion is here */
    struct vd_link_completion completion;
};

struct vd_channel {
    const struct vd_env *env;
    struct vd_frame_stream stream;
    struct vd_watch watch;
    uint32_t tag; /* of the last request */
    bool broken;
    unsigned nr_done;
    struct vd_pending pending[VD_DEXT_SELECTOR_END];
};

/* Takes over a connected socket. 0; -ENOMEM, -EMFILE, and then it is closed. */
int vd_channel_open(struct vd_channel *channel, const struct vd_env *env, int fd);
/* A zeroed or closed channel is allowed. */
void vd_channel_close(struct vd_channel *channel);

/*
 * A request, whose tag is filled in, and its reply. 0 and *reply, whatever its status: payload valid until the next
 * request or poll, descriptor (MAP only) the caller's. TIMEOUT, IPC_ERROR (it broke the protocol), NOT_ATTACHED: the
 * channel is of no further use, and from then on it is always NOT_ATTACHED.
 */
int vd_channel_request(struct vd_channel *channel, struct vd_frame_out *request, struct vd_frame *reply);
/* The same for requests whose reply has no payload: what the reply says, or why there is none. */
int vd_channel_command(struct vd_channel *channel, struct vd_frame_out *request);
/* Starts an asynchronous call: 0; BUSY; UNSUPPORTED; TIMEOUT, NOT_ATTACHED. */
int vd_channel_wait(struct vd_channel *channel, uint32_t selector);
/* Takes one completion; see vd_link_ops.poll. */
bool vd_channel_poll(struct vd_channel *channel, struct vd_link_completion *out, bool *gone);
/* Gives up; returns `status`. */
int vd_channel_give_up(struct vd_channel *channel, int status);

#endif
