/* SPDX-License-Identifier: BSD-3-Clause */
/* The verbs as a table, and what each does; see control.h. Runs on the server's thread, between two messages. */
#include "control.h"

#include <errno.h>
#include <string.h>

#include "memory.h"
#include "report.h"
#include "server.h"

static int run_list(struct dextd_server *server, const char *argument, struct vd_writer *answer,
                    struct vd_failure *failure)
{
    (void)argument;
    return dextd_report(server, answer) ? 0 : vd_fail(failure, -ENOMEM, "out of memory for the list");
}

static int run_plug(struct dextd_server *server, const char *argument, struct vd_writer *answer,
                    struct vd_failure *failure)
{
    (void)answer;
    return dextd_machine_plug(&server->machine, argument, failure);
}

static int read_address(const char *text, struct dextd_address *out, struct vd_failure *failure)
{
    if (dextd_address_parse(text, strlen(text), out))
        return 0;
    return vd_fail_usage(failure, "'%.80s' is no address; write BB:DD.F, as 01:00.0", text);
}

static int run_unplug(struct dextd_server *server, const char *argument, struct vd_writer *answer,
                      struct vd_failure *failure)
{
    struct dextd_address address;
    int err = read_address(argument, &address, failure);

    (void)answer;
    return err ? err : dextd_machine_unplug(&server->machine, address, failure);
}

static int tell(struct dextd_server *server, const char *argument, uint32_t event, struct vd_failure *failure)
{
    struct dextd_address address;
    int err = read_address(argument, &address, failure);

    return err ? err : dextd_machine_event(&server->machine, address, event, failure);
}

static int run_error(struct dextd_server *server, const char *argument, struct vd_writer *answer,
                     struct vd_failure *failure)
{
    (void)answer;
    return tell(server, argument, VD_DEXT_EVENT_ERROR, failure);
}

static int run_request(struct dextd_server *server, const char *argument, struct vd_writer *answer,
                       struct vd_failure *failure)
{
    (void)answer;
    return tell(server, argument, VD_DEXT_EVENT_REQUEST, failure);
}

static int run_stop(struct dextd_server *server, const char *argument, struct vd_writer *answer,
                    struct vd_failure *failure)
{
    (void)argument;
    (void)answer;
    (void)failure;
    dextd_server_stop(server);
    return 0;
}

static const struct {
    struct dextd_verb verb;
    int (*run)(struct dextd_server *server, const char *argument, struct vd_writer *answer,
               struct vd_failure *failure);
} verbs[] = {
    {{"list", NULL, "show the devices, who uses them and what is mapped"}, run_list},
    {{"plug", "BB:DD.F=sim:KIND[,key=value...]", "plug a device in"}, run_plug},
    {{"unplug", "BB:DD.F", "pull a device out, whoever uses it"}, run_unplug},
    {{"error", "BB:DD.F", "report an uncorrectable error of the device to its clients"}, run_error},
    {{"request", "BB:DD.F", "ask the clients of the device to give it back"}, run_request},
    {{"stop", NULL, "end the daemon"}, run_stop},
};
#define NR_VERBS (sizeof(verbs) / sizeof(verbs[0]))

const struct dextd_verb *dextd_verb(size_t i)
{
    return i < NR_VERBS ? &verbs[i].verb : NULL;
}

/* `text` is NUL-terminated; its first space is replaced. */
static int run(struct dextd_server *server, char *text, struct vd_writer *answer, struct vd_failure *failure)
{
    char *argument = strchr(text, ' ');

    if (argument)
        *argument++ = 0;
    for (size_t i = 0; i < NR_VERBS; i++) {
        const struct dextd_verb *verb = &verbs[i].verb;

        if (strcmp(verb->name, text) != 0)
            continue;
        if (!argument != !verb->argument)
            return vd_fail_usage(failure, "%s: %s%s", text,
                                 argument ? "it takes no argument" : "write it with ",
                                 argument ? "" : verb->argument);
        return verbs[i].run(server, argument, answer, failure);
    }
    return vd_fail_usage(failure, "'%.80s' is no command of this viaduct-dextd", text);
}

int dextd_control(struct dextd_server *server, const uint8_t *text, size_t size, struct vd_writer *answer)
{
    struct vd_failure failure = {0};
    char command[DEXTD_CONTROL_MAX + 1];
    int err;

    if (size > DEXTD_CONTROL_MAX || memchr(text, 0, size))
        return VD_DEXT_BAD_ARGUMENT;
    memcpy(command, text, size);
    command[size] = 0;
    err = run(server, command, answer, &failure);
    if (!err)
        return VD_DEXT_SUCCESS;
    vd_write_bytes(answer, failure.text, strlen(failure.text));
    if (failure.usage)
        return VD_DEXT_BAD_ARGUMENT; /* and nothing else is: the command line exits with 2 then */
    return err == -EINVAL ? VD_DEXT_ERROR : dextd_return(err);
}
