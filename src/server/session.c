/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The session's loop. A round trip costs one recvmsg() and one sendmsg(): the reply goes out before the device works, and
 * after traffic the loop spins for a while, so that the next request finds it awake. When nothing comes for spin_ns, it
 * arranges to be woken and sleeps without a timeout, unless there are kept file mappings to drop.
 */
#include "server/session.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BURST = 64,        /* messages handled in a row before the device gets its turn */
    LOOK_ASIDE = 1024, /* busy rounds between two looks at what else there is */
    TRIM_AGE_MS = 1000,
    MAX_WARNINGS = 32,
};

int vd_session_init(struct vd_session *s)
{
    if (vd_stream_init(&s->main, s->env) || vd_stream_init(&s->twin, s->env))
        return -ENOMEM;
    s->reply = vd_env_alloc(s->env, 1, VD_MESSAGE_MAX_SIZE);
    return s->reply ? 0 : -ENOMEM;
}

void vd_session_finish(struct vd_session *s)
{
    vd_stream_finish(&s->main);
    vd_stream_finish(&s->twin);
    vd_env_free(s->env, s->reply);
    s->reply = NULL;
}

void vd_session_end(struct vd_session *s, enum vd_session_end why)
{
    if (s->end == VD_END_NONE)
        s->end = why;
}

void vd_session_violation(struct vd_session *s, const char *what)
{
    if (s->end != VD_END_NONE)
        return;
    s->end = VD_END_VIOLATION;
    atomic_fetch_add_explicit(&s->counters->violations, 1, memory_order_relaxed);
    vd_warn(s->env, "%s: session closed: the client %s", vd_device_info(s->device)->address, what);
}

void vd_session_refuse(struct vd_session *s, const char *format, ...)
{
    char text[VD_SERVER_REFUSAL_TEXT];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    vd_session_end(s, VD_END_REFUSED);
    vd_err(s->env, "%s: session refused: %s", vd_device_info(s->device)->address, text);
    pthread_mutex_lock(&s->counters->lock);
    memcpy(s->counters->refusal, text, sizeof(text));
    pthread_mutex_unlock(&s->counters->lock);
}

void vd_session_warn(struct vd_session *s, const char *format, ...)
{
    char text[512];
    va_list args;

    if (s->warnings++ >= MAX_WARNINGS)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    vd_warn(s->env, "%s: %s", vd_device_info(s->device)->address, text);
}

void vd_session_lock(struct vd_session *s)
{
    vd_device_enter(s->device);
    s->locked = true;
}

void vd_session_unlock(struct vd_session *s)
{
    s->locked = false;
    vd_device_unlock(s->device);
}

/* Lets the device work. */
static bool dispatch_device(struct vd_session *s, bool will_block)
{
    bool worked;

    vd_session_lock(s);
    worked = vd_device_dispatch(s->device, will_block);
    vd_session_unlock(s);
    return worked;
}

bool vd_session_receive(struct vd_session *s, struct vd_stream *stream)
{
    int n = vd_stream_receive(stream);

    if (n == -EPROTO)
        vd_session_violation(s, "sent too many descriptors with one message");
    else if (n == -EMFILE)
        vd_err(
            s->env,
            "%s: session closed: no descriptors left for what the client sent; raise the limit (ulimit -n)",
            vd_device_info(s->device)->address);
    if (n == -ECONNRESET || n == -EMFILE)
        vd_session_end(s, VD_END_LEFT);
    return n > 0;
}

/* Handles whole messages that are there, a bounded number. */
static void take_messages(struct vd_session *s)
{
    for (unsigned i = 0; i < BURST && s->end == VD_END_NONE; i++) {
        struct vd_message m;
        int ret = vd_stream_next(&s->main, &m);

        if (ret < 0)
            vd_session_violation(s, "sent something that is not a vfio-user message");
        if (ret <= 0)
            return;
        vd_dispatch(s, &m);
    }
}

/* Turns a further client away: closed at once, so that it fails at its start instead of waiting for an answer. */
static void refuse_another(struct vd_session *s)
{
    int fd = accept(s->listen_fd, NULL, NULL);

    if (fd < 0) {
        s->deaf = errno != EAGAIN && errno != EINTR && errno != ECONNABORTED;
        return;
    }
    close(fd);
    vd_session_warn(s, "another client was turned away: one is attached already");
}

/*
 * Sleeps until there is something to do. The present client comes first: one that has just died must not make its
 * successor be turned away.
 */
static void wait_for_work(struct vd_session *s, int timeout_ms)
{
    struct pollfd fds[] = {
        {.fd = s->main.fd, .events = POLLIN},
        {.fd = s->stop->read_fd, .events = POLLIN},
        {.fd = s->deaf ? -1 : s->listen_fd, .events = POLLIN},
        {.fd = vd_device_poll_fd(s->device), .events = POLLIN},
    };
    int n = poll(fds, sizeof(fds) / sizeof(fds[0]), timeout_ms);

    if (n > 0 && !fds[0].revents && (fds[2].revents & POLLIN))
        refuse_another(s);
}

static void sleep_until_work(struct vd_session *s)
{
    bool kept = vd_guest_memory_can_trim(s->memory);

    wait_for_work(s, kept ? TRIM_AGE_MS : -1);
    if (kept) {
        uint64_t now = vd_env_now(s->env);
        uint64_t age = TRIM_AGE_MS * 1000000ull;

        vd_guest_memory_trim(s->memory, now > age ? now - age : 0);
    }
}

/* A client that never pauses must not hide a further client, nor that the device was pulled. */
static void look_aside(struct vd_session *s)
{
    wait_for_work(s, 0);
    if (s->end == VD_END_NONE)
        dispatch_device(s, true);
}

/* One round; true when something happened. */
static bool work_once(struct vd_session *s)
{
    bool traffic = vd_stream_has_next(&s->main) || vd_session_receive(s, &s->main);

    if (traffic)
        take_messages(s);
    vd_ramcheck_run(s);
    if (s->end == VD_END_NONE && dispatch_device(s, false))
        traffic = true;
    if (vd_guest_memory_poisoned(s->memory))
        vd_session_violation(s, "truncated a file that backs guest memory");
    return traffic;
}

static void run_loop(struct vd_session *s)
{
    unsigned busy = 0;

    s->quiet_since = vd_env_now(s->env);
    while (s->end == VD_END_NONE) {
        bool worked = work_once(s);

        if (atomic_load_explicit(s->stopping, memory_order_relaxed)) {
            vd_session_end(s, VD_END_STOPPED);
        } else if (worked) {
            s->quiet_since = s->spin_ns ? vd_env_now(s->env) : 0;
            if (++busy % LOOK_ASIDE == 0)
                look_aside(s);
        } else if (s->spin_ns && vd_env_now(s->env) - s->quiet_since < s->spin_ns) {
            sched_yield(); /* the client may need this very core to send its next request */
        } else if (s->end == VD_END_NONE) {
            if (dispatch_device(s, true))
                s->quiet_since = s->spin_ns ? vd_env_now(s->env) : 0;
            else if (!vd_stream_has_next(&s->main)) /* behind the answer to a question of the device's */
                sleep_until_work(s);
        }
    }
}

static void reset_for_client(struct vd_session *s)
{
    s->state = VD_SESSION_NEW;
    s->end = VD_END_NONE;
    s->memory = NULL;
    vd_capabilities_init(&s->client);
    s->in_handler = s->locked = false;
    s->remote = (struct vd_remote_wait){0};
    s->next_id = 0;
    s->late_reply = s->remote_broken = false;
    s->bus_master = s->memory_unproven = s->check_due = s->check_gap = false;
    s->check_from = 0;
    s->checks = 0;
    s->warned_slow = s->warned_unchecked = s->deaf = false;
    s->warnings = 0;
}

/* The process at the other end. */
static int peer_of(int fd)
{
#ifdef SO_PEERCRED
    struct ucred peer;
    socklen_t size = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid > 0)
        return peer.pid;
#else
    (void)fd;
#endif
    return VD_CLIENT_UNKNOWN;
}

/* What somebody else's companion has mapped before this client came is not this client's. */
static void take_device(struct vd_session *s, int fd)
{
    vd_session_lock(s);
    if (s->device->has_companion)
        vd_device_quiesce(s->device);
    s->device->client = peer_of(fd);
    vd_device_guest_memory(s->device, s->memory);
    vd_session_unlock(s);
}

enum vd_session_end vd_session_serve(struct vd_session *s, int fd)
{
    const struct vd_dma_remote remote = {vd_remote_access.read, vd_remote_access.write, s};
    struct vd_server_counters *counters = s->counters;

    reset_for_client(s);
    if (vd_guest_memory_create(s->env, &remote, &s->strategy, &s->memory)) {
        vd_err(s->env, "%s: no memory to serve the client", vd_device_info(s->device)->address);
        close(fd);
        return VD_END_LEFT;
    }
    if (vd_dma_info(s->device)->needs_file)
        vd_guest_memory_keep_files(s->memory);
    take_device(s, fd);
    pthread_mutex_lock(&counters->lock);
    counters->refusal[0] = 0;
    pthread_mutex_unlock(&counters->lock);
    atomic_fetch_add_explicit(&counters->sessions, 1, memory_order_relaxed);
    atomic_store(&counters->client, true);
    s->main.cancel_fd = s->twin.cancel_fd = s->stop->read_fd;
    vd_stream_open(&s->main, fd);

    run_loop(s);

    vd_session_lock(s);
    s->device->client = VD_CLIENT_NONE;
    vd_device_quiesce(s->device);
    vd_device_guest_memory(s->device, NULL);
    vd_guest_memory_destroy(s->memory);
    vd_session_unlock(s);
    s->memory = NULL;
    vd_stream_close(&s->main);
    vd_stream_close(&s->twin);
    atomic_store(&counters->guest_regions, 0);
    atomic_store(&counters->guest_bytes, 0);
    atomic_store(&counters->client, false);
    vd_info(s->env, "%s: the client's session is over", vd_device_info(s->device)->address);
    return s->end;
}
