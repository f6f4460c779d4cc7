/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon's loop. A round: clients that have something to say are answered, then the devices work, so that an answer
 * never waits for a device. After traffic the loop spins for a while, so that the next request finds it awake; when nothing
 * comes for SPIN_NS, the devices arrange to wake it and it sleeps without a timeout, unless a client stalls.
 *
 * Which sockets are readable costs a system call to know. So a client that was active a moment ago is simply read from, and
 * the others are looked at every LOOK_ASIDE rounds.
 *
 * A connection ends in the middle of something, its own call or another's; it is closed between two rounds only.
 */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/guard.h"
#include "client.h"

enum { LOOK_ASIDE = 16 };

static const uint64_t SPIN_NS = 50000, MS = 1000000, WARN_NS = 1000000000;

static int open_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int dextd_server_create(const struct vd_env *env, const struct dextd_settings *settings,
                        struct dextd_server **out, struct vd_failure *failure)
{
    struct dextd_server *server;
    int err = vd_guard_install(); /* clients can truncate the files that devices work on */

    *out = NULL;
    if (err)
        return vd_fail(failure, err, "cannot handle bus errors: %s", strerror(-err));
    server = vd_env_alloc(env, 1, sizeof(*server));
    if (!server)
        return vd_fail(failure, -ENOMEM, "out of memory");
    server->env = env;
    server->stall_ns = (settings->stall_ms ? settings->stall_ms : DEXTD_STALL_MS) * MS;
    server->spare_fd = -1;
    dextd_machine_init(&server->machine, env, &settings->quota);
    server->scratch = vd_env_alloc(env, 1, DEXTD_SCRATCH_SIZE);
    if (!server->scratch) {
        err = vd_fail(failure, -ENOMEM, "out of memory");
        goto err_free;
    }
    err = sim_wake_init(env, &server->stop);
    if (err) {
        vd_fail(failure, err, "cannot open a descriptor to wake with: %s", strerror(-err));
        goto err_scratch;
    }
    err = vd_listener_open(&server->listener, env, settings->socket, failure);
    if (err)
        goto err_stop;
    server->spare_fd = open_spare();
    *out = server;
    return 0;

err_stop:
    sim_wake_finish(&server->stop);
err_scratch:
    vd_env_free(env, server->scratch);
err_free:
    vd_env_free(env, server);
    return err;
}

static void close_client(struct dextd_server *server, struct dextd_client **at)
{
    struct dextd_client *client = *at;

    *at = client->next;
    server->nr_clients--;
    dextd_client_destroy(client);
}

void dextd_server_destroy(struct dextd_server *server)
{
    if (!server)
        return;
    while (server->clients)
        close_client(server, &server->clients);
    dextd_machine_finish(&server->machine);
    vd_listener_close(&server->listener, server->env);
    sim_wake_finish(&server->stop);
    if (server->spare_fd >= 0)
        close(server->spare_fd);
    vd_env_free(server->env, server->scratch);
    vd_env_free(server->env, server);
}

void dextd_server_stop(struct dextd_server *server)
{
    atomic_store(&server->stopping, true);
    sim_wake_raise(&server->stop);
}

void dextd_server_warn(struct dextd_server *server, const char *format, ...)
{
    uint64_t now = vd_env_now(server->env);
    char text[256];
    va_list args;

    if (server->warned_ns && now - server->warned_ns < WARN_NS)
        return;
    server->warned_ns = now;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    vd_warn(server->env, "%s", text);
}

/* Newcomers. */

/* Whose process it is; false when that cannot be found out. */
static bool find_peer(int fd, uid_t *uid, pid_t *pid)
{
#ifdef SO_PEERCRED
    struct ucred peer;
    socklen_t size = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return false;
    *uid = peer.uid;
    *pid = peer.pid;
    return true;
#else
    gid_t gid;

    *pid = 0;
    return getpeereid(fd, uid, &gid) == 0;
#endif
}

static const char *reason_to_refuse(const struct dextd_server *server, int fd, pid_t *pid)
{
    uid_t uid;

    if (!find_peer(fd, &uid, pid) || uid != geteuid())
        return "it belongs to another user";
    return server->nr_clients >= DEXTD_MAX_CLIENTS ? "there are too many clients" : NULL;
}

/* Takes over the socket. */
static void admit(struct dextd_server *server, int fd)
{
    struct dextd_client *client;
    pid_t pid = 0;
    const char *why = reason_to_refuse(server, fd, &pid);

    if (!why && dextd_client_create(server, fd, pid, &client))
        why = "out of memory";
    if (why) {
        dextd_server_warn(server, "a client was turned away: %s (process %ld)", why, (long)pid);
        close(fd);
        return;
    }
    client->number = ++server->last_number;
    client->next = server->clients;
    server->clients = client;
    server->nr_clients++;
    vd_info(server->env, "client %" PRIu64 ": connected, process %ld", client->number, (long)pid);
}

/* Without a descriptor for it a client cannot even be refused, and the socket would stay readable. */
static void refuse_with_spare(struct dextd_server *server)
{
    int fd;

    if (server->spare_fd >= 0)
        close(server->spare_fd);
    fd = accept(server->listener.fd, NULL, NULL);
    if (fd >= 0)
        close(fd);
    server->spare_fd = open_spare();
    dextd_server_warn(
        server, "a client was turned away: no descriptors are left for it; raise the limit (ulimit -n)");
}

static void welcome(struct dextd_server *server)
{
    int fd = accept(server->listener.fd, NULL, NULL);

    if (fd >= 0)
        admit(server, fd);
    else if (errno == EMFILE || errno == ENFILE)
        refuse_with_spare(server);
}

/* Looking at what there is. */

/* Milliseconds until the first stalled client has had its time; -1: none does. */
static int stall_timeout(const struct dextd_server *server, uint64_t now)
{
    uint64_t least = UINT64_MAX;

    for (const struct dextd_client *c = server->clients; c; c = c->next) {
        uint64_t end = c->stalled_since + server->stall_ns;

        if (c->stalled_since && end < least)
            least = end;
    }
    if (least == UINT64_MAX)
        return -1;
    return least <= now ? 0 : (int)((least - now) / MS + 1);
}

static void look_at_client(struct dextd_server *server, struct dextd_client *client, short events,
                           uint64_t now)
{
    if (events && client->stalled_since)
        dextd_client_flush(client, now);
    else if (events)
        client->readable = true;
    if (client->stalled_since && now - client->stalled_since >= server->stall_ns)
        dextd_client_end(client, "it does not read its replies");
}

/* Looks at all descriptors, for at most timeout_ms (-1: until something happens). */
static void look(struct dextd_server *server, int timeout_ms)
{
    enum { FIRST_CLIENT = 2 };
    struct pollfd fds[FIRST_CLIENT + DEXTD_MAX_CLIENTS + DEXTD_MAX_FUNCTIONS];
    unsigned count = FIRST_CLIENT;
    uint64_t now;

    fds[0] = (struct pollfd){.fd = server->stop.read_fd, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = server->listener.fd, .events = POLLIN};
    for (const struct dextd_client *c = server->clients; c; c = c->next)
        fds[count++] = (struct pollfd){.fd = c->stream.fd, .events = c->stalled_since ? POLLOUT : POLLIN};
    count += dextd_machine_poll_fds(&server->machine, fds + count);
    if (poll(fds, count, timeout_ms) < 0)
        return;
    now = vd_env_now(server->env);
    count = FIRST_CLIENT;
    for (struct dextd_client *c = server->clients; c; c = c->next)
        look_at_client(server, c, fds[count++].revents, now);
    if (fds[1].revents)
        welcome(server);
}

/* The loop. */

static bool serve_clients(struct dextd_server *server, uint64_t now)
{
    bool worked = false;

    for (struct dextd_client *c = server->clients; c; c = c->next)
        if (c->readable || now - c->active_ns < SPIN_NS)
            worked |= dextd_client_work(c);
    return worked;
}

/* Ends connections that cannot go on, and closes those that ended. */
static void reap(struct dextd_server *server)
{
    struct dextd_client **at = &server->clients;

    while (*at) {
        struct dextd_client *client = *at;

        if (client->function && client->function->ending)
            dextd_client_end(client, "the service was terminated");
        if (atomic_load_explicit(&client->shares.poisoned, memory_order_relaxed))
            dextd_client_end(client, "it truncated a file whose memory it shared");
        if (client->ended)
            close_client(server, at);
        else
            at = &client->next;
    }
    dextd_machine_collect(&server->machine);
}

void dextd_server_run(struct dextd_server *server)
{
    uint64_t quiet_since = vd_env_now(server->env);
    unsigned rounds = 0;

    while (!atomic_load_explicit(&server->stopping, memory_order_relaxed)) {
        uint64_t now = vd_env_now(server->env);
        bool worked = serve_clients(server, now);
        bool tired = now - quiet_since >= SPIN_NS;

        worked |= dextd_machine_dispatch(&server->machine, false);
        reap(server);
        if (++rounds % LOOK_ASIDE == 0)
            look(server, 0);
        if (!worked && tired)
            worked = dextd_machine_dispatch(&server->machine, true);
        if (worked)
            quiet_since = now;
        else if (tired)
            look(server, stall_timeout(server, now));
        else
            sched_yield(); /* a client may need this very core to send its next request */
    }
}
