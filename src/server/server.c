/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Life cycle of a server: create listens, run serves one client after another, stop may come from anywhere.
 *
 * While a client is attached, a further one is accepted and closed at once, so that it fails at its start with a clear
 * message instead of hanging until its own timeout; one that comes just after the present client died is served.
 *
 * Lock rule: vd_server_run() owns everything but `stopping`, `stop` and `counters`.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/guard.h"
#include "base/listen.h"
#include "core/context.h"
#include "core/strategy.h"
#include "server/session.h"

enum { DEFAULT_SPIN_US = 50 };

struct vd_server {
    const struct vd_env *env;
    struct vd_listener listener;
    int client_fd;           /* the one to serve instead of listening; -1 */
    enum vd_strategy picked; /* constant after create */
    struct vd_notifier stop;
    _Atomic bool stopping;
    struct vd_server_counters counters;
    struct vd_session session;
};

static int check_options(const struct vd_server_options *o, struct vd_failure *failure)
{
    if (!o || o->size != sizeof(*o))
        return vd_fail_usage(failure, "vd_server_options.size is not one that this library knows");
    if (!o->socket_path && o->client_fd < 0)
        return vd_fail_usage(failure, "neither a socket path nor a connected socket was given");
    return 0;
}

/* A companion and the strategy it serves belong together. */
static int check_companion(const struct vd_device *device, enum vd_strategy strategy,
                           struct vd_failure *failure)
{
    const char *address = vd_device_info(device)->address;

    if (strategy == VD_STRATEGY_PARAVIRT && !device->has_companion)
        return vd_fail_usage(
            failure, "host=%s: dma=paravirt without a companion: vd_companion_create() comes first", address);
    if (strategy != VD_STRATEGY_PARAVIRT && device->has_companion)
        return vd_fail_usage(failure, "host=%s: dma=%s for a device with a companion; only paravirt uses one",
                             address, vd_strategy_name(strategy));
    return 0;
}

static int pick_strategy(const struct vd_device *device, enum vd_strategy wanted,
                         const struct vd_strategy_ops **out, struct vd_failure *failure)
{
    int ret = vd_strategy_pick(device, wanted, out, failure);

    return ret ? ret : check_companion(device, (*out)->strategy, failure);
}

static void set_up_session(struct vd_server *server, struct vd_device *device,
                           const struct vd_server_options *o, const struct vd_strategy_ops *strategy)
{
    uint64_t spin_us = o->spin_us ? o->spin_us : DEFAULT_SPIN_US;

    server->picked = strategy->strategy;
    server->session = (struct vd_session){
        .env = server->env,
        .device = device,
        .counters = &server->counters,
        .strategy = {.added = strategy->added, .removed = strategy->removed, .opaque = device},
        .spin_ns = o->no_spin ? 0 : spin_us * 1000,
        .listen_fd = -1,
        .stop = &server->stop,
        .stopping = &server->stopping,
    };
}

int vd_server_create(struct vd_context *context, struct vd_device *device,
                     const struct vd_server_options *options, struct vd_server **out, struct vd_error *error)
{
    struct vd_failure *failure = vd_failure_of(error);
    const struct vd_strategy_ops *strategy;
    struct vd_server *server;
    int ret = check_options(options, failure);

    *out = NULL;
    if (!ret)
        ret = pick_strategy(device, options->strategy, &strategy, failure);
    if (ret)
        return ret;
    server = vd_env_alloc(&context->env, 1, sizeof(*server));
    if (!server)
        return vd_fail(failure, -ENOMEM, "out of memory for the server");
    server->env = &context->env;
    server->listener.fd = server->client_fd = -1;
    pthread_mutex_init(&server->counters.lock, NULL);
    set_up_session(server, device, options, strategy);
    ret = vd_session_init(&server->session);
    if (ret) {
        vd_fail(failure, ret, "out of memory for the server");
        goto err_session;
    }
    ret = vd_notifier_init(&server->stop, VD_NOTIFIER_DEFAULT);
    if (ret) {
        vd_fail(failure, ret, "no descriptors left for the server: %s", strerror(-ret));
        goto err_session;
    }
    if (options->socket_path)
        ret = vd_listener_open(&server->listener, server->env, options->socket_path, failure);
    if (ret)
        goto err_stop;
    server->session.listen_fd = server->listener.fd;
    if (!options->socket_path)
        server->client_fd = options->client_fd;
    device->client = VD_CLIENT_NONE;
    *out = server;
    return 0;

err_stop:
    vd_notifier_finish(&server->stop);
err_session:
    vd_session_finish(&server->session);
    pthread_mutex_destroy(&server->counters.lock);
    vd_env_free(&context->env, server);
    return ret;
}

void vd_server_destroy(struct vd_server *server)
{
    if (!server)
        return;
    if (server->client_fd >= 0)
        close(server->client_fd);
    vd_listener_close(&server->listener, server->env);
    vd_notifier_finish(&server->stop);
    server->session.device->client = VD_CLIENT_UNSERVED;
    vd_session_finish(&server->session);
    pthread_mutex_destroy(&server->counters.lock);
    vd_env_free(server->env, server);
}

void vd_server_stop(struct vd_server *server)
{
    int saved = errno;

    atomic_store(&server->stopping, true);
    vd_notifier_signal(&server->stop);
    errno = saved;
}

/* The next client's socket; -EAGAIN: look again; -EIO: the listening socket failed. */
static int accept_client(struct vd_server *server)
{
    struct pollfd fds[] = {
        {.fd = server->stop.read_fd, .events = POLLIN},
        {.fd = server->listener.fd, .events = POLLIN},
    };
    int fd;

    if (poll(fds, 2, -1) < 0)
        return errno == EINTR ? -EAGAIN : -EIO;
    if (fds[1].revents & (POLLERR | POLLNVAL))
        return -EIO;
    if (!(fds[1].revents & POLLIN))
        return -EAGAIN;
    fd = accept(server->listener.fd, NULL, NULL);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
        vd_err(server->env, "cannot accept a client: %s", strerror(errno));
        poll(fds, 1, 100); /* not a busy loop while the process is short of descriptors */
        return -EAGAIN;
    }
    if (fd < 0)
        return errno == EBADF || errno == EINVAL || errno == ENOTSOCK ? -EIO : -EAGAIN;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}

static int serve_clients(struct vd_server *server)
{
    while (!atomic_load(&server->stopping)) {
        int fd = server->client_fd;

        if (fd >= 0) {
            server->client_fd = -1;
            vd_session_serve(&server->session, fd);
            return 0;
        }
        if (server->listener.fd < 0)
            return 0;
        fd = accept_client(server);
        if (fd >= 0)
            vd_session_serve(&server->session, fd);
        else if (fd == -EIO)
            return -EIO;
    }
    return 0;
}

/*
 * SIGPIPE is blocked while this thread serves: an interrupt is a write() to a descriptor of the client's choice, and a pipe
 * or a socket whose other end is gone must not kill the process. One that came of it is taken back before the mask is.
 */
int vd_server_run(struct vd_server *server)
{
    sigset_t pipe_only, before, pending;
    bool was_pending;
    int ret, signal;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigpending(&pending);
    was_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    ret = serve_clients(server);
    sigpending(&pending);
    if (!was_pending && sigismember(&pending, SIGPIPE) == 1)
        sigwait(&pipe_only, &signal);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ret;
}

void vd_server_stats(const struct vd_server *server, struct vd_server_stats *out)
{
    /* The lock is the one thing in a const server that reading must change. */
    struct vd_server_counters *c = (struct vd_server_counters *)(uintptr_t)&server->counters;

    *out = (struct vd_server_stats){
        .client = atomic_load(&c->client),
        .strategy = server->picked,
        .sessions = atomic_load(&c->sessions),
        .messages = atomic_load(&c->messages),
        .errors = atomic_load(&c->errors),
        .violations = atomic_load(&c->violations),
        .guest_regions = atomic_load(&c->guest_regions),
        .guest_bytes = atomic_load(&c->guest_bytes),
    };
    pthread_mutex_lock(&c->lock);
    memcpy(out->refusal, c->refusal, sizeof(out->refusal));
    pthread_mutex_unlock(&c->lock);
}

int vd_server_guard_memory(void)
{
    return vd_guard_install();
}
