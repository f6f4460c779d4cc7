/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DMA_READ and DMA_WRITE towards the client: for memory without a descriptor, and to check memory that has one.
 *
 * One question at a time. While it waits, the client's own commands are handled as they come: QEMU answers ours only when
 * none of its threads waits for us. Those commands start no device work, so the depth is one. From inside a handler
 * nothing is asked at all (session.h).
 *
 * A client that does not answer in time is closed. Only the memory check is more patient with what it cannot know: it
 * gives up, never asks again, and drops the one answer that may still come.
 */
#include "server/session.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

/*
 * Asked for at a time. Stock QEMU 11.1 names 1 MiB as its limit, but it writes an answer to its non-blocking socket once:
 * what does not fit the socket's buffer (some 200 KiB) is cut off, and we would wait for the rest until our patience ends.
 */
enum { PIECE_MAX = 65536 };

static struct vd_stream *channel(struct vd_session *s)
{
    return s->twin.fd >= 0 ? &s->twin : &s->main;
}

/* Checks a reply against the question; the status it gives. */
static int judge(const struct vd_remote_wait *w, const struct vd_message *m)
{
    struct vd_reader r = vd_message_reader(m);
    struct vfio_user_dma_access access;
    const void *data;

    if (m->flags & VFIO_USER_ERROR)
        return -EIO; /* whatever its reason: here ETIMEDOUT and EPROTO mean the client's own failings */
    /* A WRITE's reply has 12 bytes by the specification, 16 or none in practice; it carries nothing we need. */
    if (w->command == VFIO_USER_DMA_WRITE)
        return 0;
    if (!vd_read_struct(&r, &access, sizeof(access)) || vd_get64(access.address) != w->address ||
        vd_get64(access.count) != w->count || r.left != w->count)
        return -EPROTO;
    data = vd_read_bytes(&r, w->count);
    if (!data)
        return -EPROTO;
    memcpy(w->buffer, data, w->count);
    return 0;
}

void vd_remote_reply(struct vd_session *s, const struct vd_message *m)
{
    struct vd_remote_wait *w = &s->remote;

    if (s->late_reply && m->id == s->late_id) {
        s->late_reply = false;
        return;
    }
    if (!w->active || w->done || m->id != w->id || m->command != w->command || m->nr_fds) {
        vd_session_violation(s, "sent a reply that nothing was asked for");
        return;
    }
    w->status = judge(w, m);
    w->done = true;
    if (w->status == -EPROTO)
        vd_session_violation(s, "sent a DMA_READ reply that does not fit the question");
}

/* Handles what is buffered on a stream until the answer is found. */
static void drain(struct vd_session *s, struct vd_stream *stream)
{
    while (s->end == VD_END_NONE && !s->remote.done) {
        struct vd_message m;
        int ret = vd_stream_next(stream, &m);

        if (ret < 0)
            vd_session_violation(s, "sent something that is not a vfio-user message");
        if (ret <= 0)
            return;
        if (stream == &s->main) {
            vd_dispatch(s, &m);
        } else if (vd_message_is_reply(&m)) {
            vd_remote_reply(s, &m);
            vd_message_finish(&m);
        } else {
            vd_session_violation(s, "sent a command on the socket that is for its replies");
            vd_message_finish(&m);
        }
    }
}

static void sleep_for_answer(struct vd_session *s, uint64_t left_ns)
{
    struct pollfd fds[] = {
        {.fd = s->main.fd, .events = POLLIN},
        {.fd = s->twin.fd, .events = POLLIN},
        {.fd = s->stop->read_fd, .events = POLLIN},
    };

    poll(fds, sizeof(fds) / sizeof(fds[0]), (int)(left_ns / 1000000 + 1));
}

/* Waits for the answer. 0 when it came, -ETIMEDOUT, -EIO when the session ended. */
static int await(struct vd_session *s, int timeout_ms)
{
    uint64_t asked = vd_env_now(s->env);
    uint64_t patience = (uint64_t)timeout_ms * 1000000;

    for (;;) {
        uint64_t waited;
        bool came;

        drain(s, &s->main);
        if (s->twin.fd >= 0)
            drain(s, &s->twin);
        if (s->remote.done)
            return 0;
        if (atomic_load_explicit(s->stopping, memory_order_relaxed))
            vd_session_end(s, VD_END_STOPPED);
        if (s->end != VD_END_NONE)
            return -EIO;
        waited = vd_env_now(s->env) - asked;
        if (waited >= patience)
            return -ETIMEDOUT;
        came = vd_session_receive(s, &s->main);
        if (s->twin.fd >= 0 && s->end == VD_END_NONE)
            came |= vd_session_receive(s, &s->twin);
        if (!came && s->end == VD_END_NONE && waited >= s->spin_ns)
            sleep_for_answer(s, patience - waited);
    }
}

/*
 * The client may answer only when the companion's thread has served it, which may want the device's lock: it is let go
 * meanwhile. The device is between two steps then, as it is for commands that come in while it waits.
 */
static int await_unlocked(struct vd_session *s, int timeout_ms)
{
    bool locked = s->locked;
    int ret;

    if (locked)
        vd_session_unlock(s);
    ret = await(s, timeout_ms);
    if (locked)
        vd_session_lock(s);
    return ret;
}

static int send_question(struct vd_session *s, const void *data)
{
    const struct vd_remote_wait *w = &s->remote;
    struct {
        struct vfio_user_header header;
        struct vfio_user_dma_access access;
    } head = {.access = {vd_put64(w->address), vd_put64(w->count)}};
    struct iovec iov[] = {{&head, sizeof(head)}, {(void *)(uintptr_t)data, data ? w->count : 0}};

    vd_header_put(&head.header, w->id, w->command, sizeof(head.access) + iov[1].iov_len,
                  VFIO_USER_TYPE_COMMAND, 0);
    return vd_stream_send(channel(s), iov, data ? 2 : 1, NULL, 0, VD_SEND_TIMEOUT_MS);
}

/* One question of at most what the client takes at a time. */
static int ask(struct vd_session *s, uint16_t command, uint64_t address, void *buffer, const void *data,
               size_t count, int timeout_ms)
{
    int ret;

    if (s->end != VD_END_NONE || s->in_handler || s->remote.active || s->remote_broken ||
        s->state != VD_SESSION_READY)
        return -EIO;
    s->remote = (struct vd_remote_wait){.active = true,
                                        .id = s->next_id++,
                                        .command = command,
                                        .address = address,
                                        .count = count,
                                        .buffer = buffer};
    ret = send_question(s, data);
    if (ret)
        vd_session_end(s, VD_END_LEFT);
    else
        ret = await_unlocked(s, timeout_ms);
    if (!ret)
        ret = s->remote.status;
    s->remote.active = false;
    return ret;
}

static size_t piece(const struct vd_session *s, size_t left)
{
    size_t most = s->client.max_data_xfer_size < PIECE_MAX ? (size_t)s->client.max_data_xfer_size : PIECE_MAX;

    return left < most ? left : most;
}

/* The caller's errors: what the owner refuses is -EIO, silence is -ETIMEDOUT and the end of the session. */
static int settle(struct vd_session *s, int ret)
{
    if (ret == -ETIMEDOUT) {
        vd_err(s->env, "%s: the client did not answer a DMA request in %d ms",
               vd_device_info(s->device)->address, VD_REMOTE_TIMEOUT_MS);
        vd_session_end(s, VD_END_LEFT);
        return ret;
    }
    return ret ? -EIO : 0;
}

static int remote_read(void *opaque, uint64_t address, void *buffer, size_t size)
{
    struct vd_session *s = opaque;
    int ret = 0;

    for (size_t done = 0; done < size && !ret;) {
        size_t n = piece(s, size - done);

        ret = ask(s, VFIO_USER_DMA_READ, address + done, (uint8_t *)buffer + done, NULL, n,
                  VD_REMOTE_TIMEOUT_MS);
        done += n;
    }
    return settle(s, ret);
}

static int remote_write(void *opaque, uint64_t address, const void *buffer, size_t size)
{
    struct vd_session *s = opaque;
    int ret = 0;

    for (size_t done = 0; done < size && !ret;) {
        size_t n = piece(s, size - done);

        ret = ask(s, VFIO_USER_DMA_WRITE, address + done, NULL, (const uint8_t *)buffer + done, n,
                  VD_REMOTE_TIMEOUT_MS);
        done += n;
    }
    return settle(s, ret);
}

const struct vd_dma_remote vd_remote_access = {.read = remote_read, .write = remote_write};

int vd_remote_probe(struct vd_session *s, uint64_t address, void *buffer, size_t size)
{
    int ret = 0;

    for (size_t done = 0; done < size && !ret;) {
        size_t n = piece(s, size - done);

        ret = ask(s, VFIO_USER_DMA_READ, address + done, (uint8_t *)buffer + done, NULL, n,
                  VD_PROBE_TIMEOUT_MS);
        done += n;
    }
    if (ret == -ETIMEDOUT) {
        s->remote_broken = s->late_reply = true;
        s->late_id = s->remote.id;
    }
    return ret;
}
