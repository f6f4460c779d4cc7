/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signals as something to poll: the old self-pipe, which works on every host.
 */
#include "signals.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static const int caught[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD};
#define NR_CAUGHT (sizeof(caught) / sizeof(caught[0]))

static int pipe_ends[2] = {-1, -1};
static volatile sig_atomic_t stops;

static void on_signal(int number)
{
    int saved = errno;
    ssize_t written;

    if (number != SIGCHLD)
        stops = stops + 1;
    /* A full pipe is readable already. */
    written = write(pipe_ends[1], "", 1);
    (void)written;
    errno = saved;
}

int signals_init(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    if (pipe(pipe_ends))
        return cli_failed("cannot open a pipe: %s", strerror(errno));
    for (int i = 0; i < 2; i++) {
        fcntl(pipe_ends[i], F_SETFD, FD_CLOEXEC);
        fcntl(pipe_ends[i], F_SETFL, O_NONBLOCK);
    }
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < NR_CAUGHT; i++)
        sigaction(caught[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is an I/O error of the guest's disk, not our end */
    return CLI_OK;
}

int signals_fd(void)
{
    return pipe_ends[0];
}

void signals_drain(void)
{
    char bytes[64];

    while (read(pipe_ends[0], bytes, sizeof(bytes)) > 0)
        continue;
}

int signals_stops(void)
{
    return stops;
}

void signals_block(sigset_t *before)
{
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < NR_CAUGHT; i++)
        sigaddset(&set, caught[i]);
    pthread_sigmask(SIG_BLOCK, &set, before);
}

void signals_reset(void)
{
    sigset_t none;

    for (size_t i = 0; i < NR_CAUGHT; i++)
        signal(caught[i], SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}
