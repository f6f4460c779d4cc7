/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `viaduct serve`: offers devices on sockets until it is told to stop.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli.h"
#include "control.h"
#include "endpoint.h"
#include "signals.h"
#include "text.h"

enum { OPTION_VFIO, OPTION_JSON, OPTION_READY_FD, OPTION_VERBOSE };

static const struct cli_option options[] = {
    [OPTION_VFIO] = {"vfio", "host=ADDRESS,socket=PATH[,key=value]...",
                     "a device and where to offer it; keys companion, dma, dma-bytes, dma-mappings, guest, "
                     "rom, dextd; may be "
                     "repeated"},
    [OPTION_JSON] = {"json", NULL, "print events as JSON, one line each"},
    [OPTION_READY_FD] = {"ready-fd", "N", "write one byte to descriptor N when every socket accepts clients"},
    [OPTION_VERBOSE] = {"verbose", NULL, "log what happens; twice: everything"},
};

struct serve {
    struct vfio_list devices;
    struct vd_context *context;
    struct endpoints endpoints;
    struct control control;
    unsigned verbosity;
    int ready_fd; /* -1: none */
    bool json;
};

static int parse_ready_fd(struct serve *serve, const char *value)
{
    uint64_t fd;

    if (!text_number(value, 0, 1u << 20, &fd) || fcntl((int)fd, F_GETFD) < 0)
        return cli_usage(
            "--ready-fd %s: not an open descriptor; give the number of one that this program inherits",
            value);
    serve->ready_fd = (int)fd;
    return CLI_OK;
}

/* Two servers on one path would fight over it. */
static int check_sockets(const struct vfio_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        if (!list->items[i].socket)
            return cli_usage(
                "--vfio %s: no socket=<path>; say where to listen, for example socket=/run/disk.sock",
                list->items[i].text);
        for (size_t j = 0; j < i; j++) {
            if (!strcmp(list->items[i].socket, list->items[j].socket))
                return cli_usage("--vfio %s: socket=%s is given to two devices; each needs a path of its own",
                                 list->items[i].text, list->items[i].socket);
        }
    }
    return CLI_OK;
}

static int parse(struct serve *serve, struct cli_words *words)
{
    const char *value;
    int option, status = CLI_OK;

    while (status == CLI_OK && (option = cli_words_next(words, &value)) != CLI_WORDS_END) {
        if (option == CLI_WORDS_STOP)
            return words->status;
        if (option == OPTION_VFIO)
            status =
                vfio_list_add(&serve->devices, value, VFIO_COMMON | 1u << VFIO_SOCKET | 1u << VFIO_COMPANION);
        else if (option == OPTION_READY_FD)
            status = parse_ready_fd(serve, value);
        else if (option == OPTION_JSON)
            serve->json = true;
        else
            serve->verbosity++;
    }
    if (status == CLI_OK && serve->devices.count == 0)
        status = cli_usage("'viaduct serve' needs a device: --vfio host=<address>,socket=<path>");
    return status == CLI_OK ? check_sockets(&serve->devices) : status;
}

static void announce(const struct serve *serve, const char *event, const struct endpoint *endpoint)
{
    const char *address = endpoint->option->address;
    struct json_object *line;

    if (!serve->json) {
        printf("%s %s%.*s on %s\n", event, endpoint->manages ? "companion of " : "",
               (int)strcspn(address, ","), address, endpoint->socket);
        return;
    }
    line = json_object_new_object();
    json_object_object_add(line, "event", json_object_new_string(event));
    json_object_object_add(line, "address",
                           json_object_new_string(endpoint->manages ? endpoint_address(endpoint) : address));
    json_object_object_add(line, "manages", endpoint->manages ? json_object_new_string(address) : NULL);
    json_object_object_add(line, "socket", json_object_new_string(endpoint->socket));
    json_object_object_add(line, "pid", json_object_new_int64(getpid()));
    puts(json_object_to_json_string_ext(line, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(line);
}

static int announce_all(const struct serve *serve, const char *event)
{
    for (size_t i = 0; i < serve->endpoints.count; i++)
        announce(serve, event, &serve->endpoints.items[i]);
    return cli_finish_output(CLI_OK);
}

static int tell_ready(const struct serve *serve)
{
    ssize_t written;

    if (serve->ready_fd < 0)
        return CLI_OK;
    written = write(serve->ready_fd, "\n", 1);
    if (written != 1)
        return cli_failed("--ready-fd %d: cannot write: %s", serve->ready_fd, strerror(errno));
    /* The reader may be waiting for the end of file. */
    if (serve->ready_fd > STDERR_FILENO)
        close(serve->ready_fd);
    return CLI_OK;
}

static int wait_for_stop(struct serve *serve)
{
    struct pollfd fds[] = {
        {.fd = signals_fd(), .events = POLLIN},
        {.fd = serve->endpoints.ended.read_fd, .events = POLLIN},
        {.fd = serve->control.fd, .events = POLLIN}, /* -1 is skipped */
    };
    int status = CLI_OK;

    while (status == CLI_OK && !signals_stops()) {
        if (poll(fds, 3, -1) < 0 && errno != EINTR)
            return cli_failed("cannot wait for events: %s", strerror(errno));
        signals_drain();
        control_answer(&serve->control, &serve->endpoints);
        status = endpoints_health(&serve->endpoints);
    }
    return status;
}

static char *socket_of(const struct endpoint *endpoint)
{
    const struct vfio_option *option = endpoint->option;

    if (!endpoint->manages)
        return text_copy(option->socket);
    return option->companion ? text_copy(option->companion) : text_format("%s.companion", option->socket);
}

/* The sockets of companions are known only now that it is known who has one. */
static int check_companion_socket(const struct endpoints *set, const struct endpoint *companion)
{
    const char *text = companion->option->text;
    size_t room = sizeof(((struct sockaddr_un *)0)->sun_path);

    if (strlen(companion->socket) >= room)
        return cli_usage("--vfio %s: the companion's socket %s has %zu bytes; a socket's path may have %zu; "
                         "give a shorter one as companion=<path>",
                         text, companion->socket, strlen(companion->socket), room - 1);
    for (size_t i = 0; i < set->count; i++) {
        const struct endpoint *other = &set->items[i];

        if (other != companion && !strcmp(other->socket, companion->socket))
            return cli_usage("--vfio %s: the companion's socket %s is that of %s too; give another one as "
                             "companion=<path>",
                             text, companion->socket, endpoint_address(other));
    }
    return CLI_OK;
}

static int name_sockets(struct endpoints *set)
{
    int status = CLI_OK;

    for (size_t i = 0; i < set->count; i++)
        set->items[i].socket = socket_of(&set->items[i]);
    for (size_t i = 0; i < set->count && status == CLI_OK; i++) {
        if (set->items[i].manages)
            status = check_companion_socket(set, &set->items[i]);
    }
    return status;
}

static int start(struct serve *serve)
{
    int status = endpoints_open(&serve->endpoints, serve->context, &serve->devices);

    if (status == CLI_OK)
        status = name_sockets(&serve->endpoints);
    if (status == CLI_OK)
        status = endpoints_listen(&serve->endpoints);
    if (status == CLI_OK) {
        control_open(&serve->control);
        status = endpoints_start(&serve->endpoints);
    }
    if (status == CLI_OK)
        status = announce_all(serve, serve->json ? "ready" : "serving");
    return status == CLI_OK ? tell_ready(serve) : status;
}

static int run(struct serve *serve)
{
    int status = signals_init();

    if (status == CLI_OK)
        status = endpoints_guard_memory();
    if (status == CLI_OK)
        status = cli_context_create(serve->verbosity, &serve->context);
    if (status == CLI_OK)
        status = start(serve);
    if (status == CLI_OK)
        status = wait_for_stop(serve);
    if (status == CLI_OK && serve->json)
        status = announce_all(serve, "stopped");
    control_close(&serve->control);
    endpoints_close(&serve->endpoints);
    vd_context_destroy(serve->context);
    return status;
}

static int serve_main(const struct cli_verb *verb, int argc, char **argv)
{
    struct cli_words words = {.verb = verb, .argc = argc, .argv = argv};
    struct serve serve = {.ready_fd = -1, .control = {.fd = -1}};
    int status = parse(&serve, &words);

    if (status == CLI_OK && !words.stopped)
        status = run(&serve);
    vfio_list_finish(&serve.devices);
    return status;
}

const struct cli_verb cli_verb_serve = {
    .name = "serve",
    .summary = "Offers devices on vfio-user sockets until it is stopped.",
    .synopsis = "--vfio host=ADDRESS,socket=PATH[,key=value]... [options]",
    .options = options,
    .nr_options = sizeof(options) / sizeof(options[0]),
    .run = serve_main,
};
