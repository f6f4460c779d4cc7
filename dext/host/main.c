/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viaduct-dextd: the extension's brain (dext/core) over a simulated machine, behind a socket: the Mac path without a Mac.
 * Here are only what belongs to a process: signals, the log, exit codes.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "options.h"
#include "remote.h"
#include "server.h"

static struct dextd_server *running; /* for the handler */

static void on_signal(int number)
{
    int saved = errno;

    (void)number;
    dextd_server_stop(running);
    errno = saved;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

static void print_line(void *opaque, enum vd_env_level level, const char *line)
{
    (void)opaque;
    fprintf(stderr, "viaduct-dextd: %s%s\n",
            level == VD_ENV_ERROR  ? "error: "
            : level == VD_ENV_WARN ? "warning: "
                                   : "",
            line);
}

static int plug_devices(struct dextd_server *server, const struct dextd_options *options)
{
    struct vd_failure failure = {0};

    for (unsigned i = 0; i < options->nr_devices; i++)
        if (dextd_machine_plug(&server->machine, options->devices[i], &failure))
            return dextd_refused("--device ", &failure);
    return DEXTD_OK;
}

static int serve(const struct vd_env *env, const struct dextd_options *options)
{
    const struct dextd_settings settings = {.socket = options->socket, .quota = options->quota};
    struct vd_failure failure = {0};
    struct dextd_server *server;
    int ret;

    if (dextd_server_create(env, &settings, &server, &failure))
        return dextd_refused("--", &failure); /* its text begins "socket=PATH" */
    ret = plug_devices(server, options);
    if (!ret) {
        running = server;
        catch_signals();
        printf("listening on %s\n", options->socket);
        ret = dextd_finish_output(DEXTD_OK);
    }
    if (!ret)
        dextd_server_run(server);
    signal(SIGTERM, SIG_IGN); /* it is ending already */
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    dextd_server_destroy(server);
    return ret;
}

int main(int argc, char **argv)
{
    struct dextd_options options;
    struct vd_env env;
    int status;

    if (!dextd_options_parse(argc, argv, &options, &status))
        return status;
    vd_env_init_default(&env);
    env.log = print_line;
    env.level = options.verbosity > 1 ? VD_ENV_DEBUG : options.verbosity ? VD_ENV_INFO : VD_ENV_WARN;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is an I/O error of a disk, not our end */
#ifdef __GLIBC__
    /* Else the first buffer that is freed makes later ones come from the heap, where clearing them touches all of them. */
    mallopt(M_MMAP_THRESHOLD, 256 << 10);
#endif
    return options.verb ? dextd_remote(&env, &options) : serve(&env, &options);
}
