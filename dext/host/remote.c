/* SPDX-License-Identifier: BSD-3-Clause */
/* Sending a verb to the daemon that runs; see remote.h. Bounded by the channel's patience. */
#include "remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dextlink/channel.h"
#include "dextlink/connect.h"
#include "report.h"

static int explain(const struct dextd_options *options, int status)
{
    return dextd_failed("the viaduct-dextd at %s does not answer as it should (%#x); restart it, or give the "
                        "--socket of another",
                        options->socket, (unsigned)status);
}

/* The answer as text, to be freed; NULL when there is no memory. */
static char *take_text(const struct vd_env *env, const struct vd_frame *reply)
{
    char *text = vd_env_alloc(env, reply->size + 1, 1);

    if (text)
        memcpy(text, reply->payload, reply->size);
    return text;
}

static int show(const struct vd_env *env, const struct dextd_options *options, const struct vd_frame *reply)
{
    char *text = take_text(env, reply);
    int ret = DEXTD_OK;

    if (!text)
        return dextd_failed("out of memory");
    if (reply->status == VD_DEXT_BAD_ARGUMENT)
        ret = dextd_usage("%s", text);
    else if (reply->status)
        ret = dextd_failed("%s", text);
    else if (*text && options->json)
        puts(text);
    else if (*text && !dextd_report_print(text))
        ret = explain(options, VD_DEXT_IPC_ERROR);
    vd_env_free(env, text);
    return dextd_finish_output(ret);
}

static int ask(const struct vd_env *env, struct vd_channel *channel, const struct dextd_options *options)
{
    const vd_le32 hello[2] = {vd_put32(VD_DEXT_SOCKET_VERSION), vd_put32(0)};
    struct vd_frame_out greeting = {.kind = VD_DEXT_HELLO, .fd = -1, .nr_pieces = 1};
    struct vd_frame_out command = {.kind = VD_DEXT_CONTROL, .fd = -1, .nr_pieces = 3};
    struct vd_frame reply;
    int status;

    greeting.pieces[0] = (struct iovec){(void *)(uintptr_t)hello, sizeof(hello)};
    status = vd_channel_command(channel, &greeting);
    if (status)
        return explain(options, status);
    command.pieces[0] = (struct iovec){(void *)(uintptr_t)options->verb->name, strlen(options->verb->name)};
    if (options->argument) {
        command.pieces[1] = (struct iovec){(void *)(uintptr_t) " ", 1};
        command.pieces[2] = (struct iovec){(void *)(uintptr_t)options->argument, strlen(options->argument)};
    }
    status = vd_channel_request(channel, &command, &reply);
    return status ? explain(options, status) : show(env, options, &reply);
}

int dextd_remote(const struct vd_env *env, const struct dextd_options *options)
{
    struct vd_failure failure;
    struct vd_channel channel;
    int fd, ret;

    if (options->argument && strlen(options->argument) > DEXTD_CONTROL_MAX - 16)
        return dextd_usage("the argument of '%s' is longer than %d bytes", options->verb->name,
                           DEXTD_CONTROL_MAX - 16);
    fd = vd_link_connect(env, options->socket, &failure);
    if (fd < 0)
        return dextd_refused("", &failure);
    if (vd_channel_open(&channel, env, fd))
        return dextd_failed("out of memory or descriptors");
    ret = ask(env, &channel, options);
    vd_channel_close(&channel);
    return ret;
}
