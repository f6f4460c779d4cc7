/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests and replies; promises in channel.h. A round trip costs one sendmsg() and one recvmsg(); it spins for a moment
 * before it sleeps, because an answer takes less time than being woken does.
 *
 * Completions that arrive while a request waits for its reply are kept, one for each selector, until poll() takes them;
 * until then the watch stays raised, so that nobody sleeps on them. Invariant between calls: no whole message is left in
 * the stream.
 */
#include "dextlink/channel.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

static const uint64_t LIMIT_NS = VD_CHANNEL_S * 1000000000ull;
static const uint64_t SPIN_NS = 50000;
enum { GOODBYE_NS = 500000000 };

int vd_channel_open(struct vd_channel *channel, const struct vd_env *env, int fd)
{
    int ret;

    *channel = (struct vd_channel){.env = env, .watch.fd = -1};
    ret = vd_frame_open(&channel->stream, env, fd, VD_FRAME_CLIENT);
    if (ret) {
        close(fd);
        return ret;
    }
    ret = vd_watch_open(&channel->watch, env, fd);
    if (ret)
        vd_channel_close(channel);
    return ret;
}

/*
 * Says goodbye and waits until the other side has hung up: it does that when it has cleared everything away, so whoever
 * connects next finds the device free. Bounded, because it may be dead or evil.
 */
static void say_goodbye(const struct vd_channel *channel)
{
    struct pollfd pollfd = {.fd = channel->stream.fd, .events = POLLIN};
    uint64_t start = vd_env_now(channel->env);
    char left[256];

    if (shutdown(pollfd.fd, SHUT_WR))
        return;
    while (vd_env_now(channel->env) - start < GOODBYE_NS && poll(&pollfd, 1, GOODBYE_NS / 1000000) == 1)
        if (recv(pollfd.fd, left, sizeof(left), MSG_DONTWAIT) <= 0)
            return;
}

void vd_channel_close(struct vd_channel *channel)
{
    if (!channel->env)
        return;
    if (!channel->broken)
        say_goodbye(channel);
    vd_watch_close(&channel->watch);
    vd_frame_close(&channel->stream);
    channel->broken = true;
    channel->env = NULL;
}

int vd_channel_give_up(struct vd_channel *channel, int status)
{
    if (!channel->broken)
        shutdown(channel->stream.fd, SHUT_RDWR);
    channel->broken = true;
    return status;
}

/* What a call answers that met this error of the framing. */
static int status_of(int error)
{
    switch (error) {
    case -ETIMEDOUT:
        return VD_DEXT_TIMEOUT;
    case -EPROTO:
        return VD_DEXT_IPC_ERROR;
    default:
        return VD_DEXT_NOT_ATTACHED;
    }
}

static bool keep_completion(struct vd_channel *channel, const struct vd_frame *frame)
{
    struct vd_reader r = vd_frame_reader(frame);
    uint32_t selector = vd_read32(&r);
    uint32_t nr = vd_read32(&r);
    struct vd_pending *pending = selector < VD_DEXT_SELECTOR_END ? &channel->pending[selector] : NULL;

    if (r.failed || frame->tag || !pending || !pending->outstanding || pending->done ||
        nr > VD_DEXT_MAX_SCALARS || r.left != nr * sizeof(vd_le64))
        return false;
    pending->done = true;
    pending->completion =
        (struct vd_link_completion){.selector = selector, .status = frame->status, .nr_args = nr};
    for (uint32_t i = 0; i < nr; i++)
        pending->completion.args[i] = vd_read64(&r);
    channel->nr_done++;
    return true;
}

/*
 * Goes through the messages that are here. 1: the reply to request `tag`; 0: it is not here yet; -EPROTO. Tag 0 waits for
 * no reply. No message but the reply brings a descriptor.
 */
static int take_messages(struct vd_channel *channel, uint16_t kind, uint32_t tag, struct vd_frame *reply)
{
    for (;;) {
        int ret = vd_frame_next(&channel->stream, reply);

        if (ret <= 0)
            return ret;
        if (reply->kind == VD_DEXT_COMPLETE && keep_completion(channel, reply))
            continue;
        if (tag && reply->tag == tag && reply->kind == kind)
            return 1;
        vd_frame_drop(reply);
        return -EPROTO;
    }
}

static void sleep_for_input(const struct vd_channel *channel, uint64_t ns)
{
    struct pollfd pollfd = {.fd = channel->stream.fd, .events = POLLIN};

    poll(&pollfd, 1, (int)(ns / 1000000 + 1));
}

/* 0; -ETIMEDOUT; -EPROTO; -ECONNRESET. */
static int wait_for_reply(struct vd_channel *channel, const struct vd_frame_out *request, uint64_t start,
                          struct vd_frame *reply)
{
    for (;;) {
        int ret = vd_frame_receive(&channel->stream);
        uint64_t waited;

        if (ret > 0)
            ret = take_messages(channel, request->kind, request->tag, reply);
        if (ret == 1)
            return 0;
        if (ret < 0 && ret != -EAGAIN)
            return ret;
        waited = vd_env_now(channel->env) - start;
        if (waited >= LIMIT_NS)
            return -ETIMEDOUT;
        if (waited < SPIN_NS)
            sched_yield(); /* the other side may need this very core */
        else
            sleep_for_input(channel, LIMIT_NS - waited);
    }
}

static uint32_t next_tag(struct vd_channel *channel)
{
    channel->tag = channel->tag == UINT32_MAX ? 1 : channel->tag + 1; /* 0 is for what nobody asked for */
    return channel->tag;
}

int vd_channel_request(struct vd_channel *channel, struct vd_frame_out *request, struct vd_frame *reply)
{
    uint64_t start = vd_env_now(channel->env);
    struct vd_frame other;
    int ret;

    if (channel->broken)
        return VD_DEXT_NOT_ATTACHED;
    request->tag = next_tag(channel);
    ret = vd_frame_send(&channel->stream, request, start + LIMIT_NS);
    if (!ret)
        ret = wait_for_reply(channel, request, start, reply);
    if (ret)
        return vd_channel_give_up(channel, status_of(ret));
    /* What came behind the reply must not stay where no poll() sees it. The reply's bytes stay where they are. */
    if (take_messages(channel, 0, 0, &other) < 0)
        vd_channel_give_up(channel, 0);
    vd_watch_raise(&channel->watch, channel->nr_done > 0);
    return 0;
}

int vd_channel_command(struct vd_channel *channel, struct vd_frame_out *request)
{
    struct vd_frame reply;
    int status = vd_channel_request(channel, request, &reply);

    if (status)
        return status;
    return reply.status == VD_DEXT_SUCCESS && reply.size ? vd_channel_give_up(channel, VD_DEXT_IPC_ERROR)
                                                         : reply.status;
}

int vd_channel_wait(struct vd_channel *channel, uint32_t selector)
{
    const vd_le32 what[2] = {vd_put32(selector), vd_put32(0)};
    struct vd_frame_out request = {.kind = VD_DEXT_WAIT, .fd = -1, .nr_pieces = 1};
    struct vd_pending *pending;
    int ret;

    if (channel->broken)
        return VD_DEXT_NOT_ATTACHED;
    if (selector >= VD_DEXT_SELECTOR_END)
        return VD_DEXT_UNSUPPORTED;
    pending = &channel->pending[selector];
    if (pending->outstanding)
        return VD_DEXT_BUSY;
    request.pieces[0] = (struct iovec){(void *)(uintptr_t)what, sizeof(what)};
    request.tag = next_tag(channel);
    ret = vd_frame_send(&channel->stream, &request, vd_env_now(channel->env) + LIMIT_NS);
    if (ret)
        return vd_channel_give_up(channel, status_of(ret));
    *pending = (struct vd_pending){.outstanding = true};
    return 0;
}

static bool take_completion(struct vd_channel *channel, struct vd_link_completion *out)
{
    for (unsigned i = 0; channel->nr_done && i < VD_DEXT_SELECTOR_END; i++) {
        struct vd_pending *pending = &channel->pending[i];

        if (!pending->done)
            continue;
        *out = pending->completion;
        pending->done = pending->outstanding = false;
        channel->nr_done--;
        vd_watch_raise(&channel->watch, channel->nr_done > 0);
        return true;
    }
    return false;
}

bool vd_channel_poll(struct vd_channel *channel, struct vd_link_completion *out, bool *gone)
{
    struct vd_frame none;
    int ret = 0;

    *gone = false;
    if (take_completion(channel, out))
        return true;
    if (!channel->broken)
        ret = vd_frame_receive(&channel->stream);
    if (ret > 0)
        ret = take_messages(channel, 0, 0, &none);
    if (ret < 0 && ret != -EAGAIN)
        vd_channel_give_up(channel, 0);
    if (take_completion(channel, out))
        return true;
    *gone = channel->broken;
    if (channel->broken)
        vd_watch_forget(&channel->watch); /* a closed socket would be readable for ever */
    return false;
}
