/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `viaduct stats`: reads what running servers tell about themselves. The documents of several servers become one:
 * their endpoints side by side, each with the pid of its server.
 */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "runtime.h"
#include "servers.h"
#include "text.h"

enum { OPTION_JSON, OPTION_WATCH, OPTION_SERVER };

static const struct cli_option options[] = {
    [OPTION_JSON] = {"json", NULL, "print JSON; with --watch one line each time"},
    [OPTION_WATCH] = {"watch", "[SECONDS]", "repeat every SECONDS, 1 to 86400; default 2"},
    [OPTION_SERVER] = {"server", "PID|PATH", "ask only this server, by process id or statistics socket"},
};

struct stats {
    const char *server;
    uint64_t seconds; /* 0: once */
    bool json;
};

static int collect_all(struct json_object *endpoints)
{
    char *directory = runtime_path(), *why = NULL;
    int err = runtime_check(directory, &why), status = CLI_OK;

    if (err && err != -ENOENT)
        status = cli_failed("%s", why);
    else if (err || servers_ask_all(endpoints) == 0)
        status =
            cli_failed("no server is running (none has a socket in %s); start one with 'viaduct serve' or "
                       "'viaduct run', or name its socket with --server PATH",
                       directory);
    free(why);
    free(directory);
    return status;
}

static int collect_one(struct json_object *endpoints, const char *server)
{
    char *directory = runtime_path(), *path;
    uint64_t pid;
    int err;

    if (text_number(server, 1, INT32_MAX, &pid))
        path = text_format("%s/%" PRIu64 ".sock", directory, pid);
    else
        path = text_copy(server);
    err = servers_ask(endpoints, path);
    if (err)
        cli_failed(
            "--server %s: no answer from %s: %s; 'viaduct stats' without --server shows who is running",
            server, path, strerror(-err));
    free(path);
    free(directory);
    return err ? CLI_FAILED : CLI_OK;
}

static uint64_t count(struct json_object *from, const char *key)
{
    return json_object_get_uint64(json_object_object_get(from, key));
}

static const char *text_of(struct json_object *from, const char *key)
{
    const char *text = json_object_get_string(json_object_object_get(from, key));

    return text ? text : "";
}

static void print_dma(struct json_object *dma)
{
    struct json_object *limit_bytes = json_object_object_get(dma, "limit_bytes");
    struct json_object *limit_mappings = json_object_object_get(dma, "limit_mappings");
    char now[32], peak[32], limit[32];

    printf("  DMA bytes     %s now, %s peak, limit %s\n", text_bytes(count(dma, "bytes"), now, sizeof(now)),
           text_bytes(count(dma, "peak_bytes"), peak, sizeof(peak)),
           limit_bytes ? text_bytes(json_object_get_uint64(limit_bytes), limit, sizeof(limit)) : "none");
    printf("  DMA mappings  %" PRIu64 " now, %" PRIu64 " peak, limit %s\n", count(dma, "mappings"),
           count(dma, "peak_mappings"), limit_mappings ? json_object_get_string(limit_mappings) : "none");
}

static bool flag(struct json_object *from, const char *key)
{
    return json_object_get_boolean(json_object_object_get(from, key));
}

/* A companion maps for the device that it manages, whose usage is that device's "dma". */
static void print_companion(struct json_object *endpoint, struct json_object *companion)
{
    const char *layout = flag(companion, "wide") ? ", extended layouts" : ", version 2 layouts";
    bool active = flag(companion, "active");
    char bytes[32];

    printf("  manages       %s\n", text_of(endpoint, "manages"));
    printf("  guest driver  %s%s\n", active ? "active" : "not there; the device waits for it",
           active ? layout : "");
    printf("  mapped        %s in %" PRIu64 " mappings\n",
           text_bytes(count(companion, "bytes"), bytes, sizeof(bytes)), count(companion, "mappings"));
    printf("  doorbells     %" PRIu64 ", %" PRIu64 " maps, %" PRIu64 " unmaps, %" PRIu64 " refused, %" PRIu64
           " lost\n",
           count(companion, "doorbells"), count(companion, "maps"), count(companion, "unmaps"),
           count(companion, "refused"), count(companion, "lost"));
}

static void print_regions(struct json_object *regions)
{
    printf("  %-8s %12s %12s %14s %14s %8s\n", "region", "reads", "writes", "bytes read", "bytes written",
           "errors");
    for (size_t i = 0; regions && i < json_object_array_length(regions); i++) {
        struct json_object *region = json_object_array_get_idx(regions, i);

        printf("  %-8s %12" PRIu64 " %12" PRIu64 " %14" PRIu64 " %14" PRIu64 " %8" PRIu64 "\n",
               text_of(region, "name"), count(region, "reads"), count(region, "writes"),
               count(region, "read_bytes"), count(region, "written_bytes"), count(region, "errors"));
    }
}

/* Vectors that never fired are only counted: a device may have thousands. */
static void print_irq(struct json_object *irq)
{
    struct json_object *vectors = json_object_object_get(irq, "vectors");
    size_t total = vectors ? json_object_array_length(vectors) : 0;

    printf("  irq %-6s %zu vector%s", text_of(irq, "name"), total, total == 1 ? "" : "s");
    for (size_t i = 0; i < total; i++) {
        uint64_t fired = json_object_get_uint64(json_object_array_get_idx(vectors, i));

        if (fired)
            printf("  %zu:%" PRIu64, i, fired);
    }
    putchar('\n');
}

static void print_endpoint(struct json_object *endpoint)
{
    struct json_object *guest = json_object_object_get(endpoint, "guest");
    struct json_object *irqs = json_object_object_get(endpoint, "irqs");
    struct json_object *companion = json_object_object_get(endpoint, "companion");
    char bytes[32];

    printf("%s  (pid %s)\n", text_of(endpoint, "address"), text_of(endpoint, "pid"));
    printf("  socket        %s, %s, %" PRIu64 " sessions so far\n", text_of(endpoint, "socket"),
           flag(endpoint, "client") ? "client attached" : "no client", count(endpoint, "sessions"));
    printf("  strategy      %s\n", text_of(endpoint, "strategy"));
    printf("  guest memory  %s in %" PRIu64 " regions\n",
           text_bytes(count(guest, "bytes"), bytes, sizeof(bytes)), count(guest, "regions"));
    if (companion)
        print_companion(endpoint, companion);
    else
        print_dma(json_object_object_get(endpoint, "dma"));
    printf("  messages      %" PRIu64 ", %" PRIu64 " refused, %" PRIu64 " protocol violations\n",
           count(endpoint, "messages"), count(endpoint, "errors"), count(endpoint, "violations"));
    printf("  device        %" PRIu64 " DMA faults, %" PRIu64 " errors, %" PRIu64 " resets\n",
           count(endpoint, "faults"), count(endpoint, "device_errors"), count(endpoint, "resets"));
    if (*text_of(endpoint, "refusal"))
        printf("  refused       %s\n", text_of(endpoint, "refusal"));
    print_regions(json_object_object_get(endpoint, "regions"));
    for (size_t i = 0; irqs && i < json_object_array_length(irqs); i++)
        print_irq(json_object_array_get_idx(irqs, i));
}

static void print_all(const struct stats *stats, struct json_object *endpoints)
{
    struct json_object *document;

    if (!stats->json) {
        for (size_t i = 0; i < json_object_array_length(endpoints); i++)
            print_endpoint(json_object_array_get_idx(endpoints, i));
        return;
    }
    document = json_object_new_object();
    json_object_object_add(document, "endpoints", json_object_get(endpoints));
    puts(json_object_to_json_string_ext(document, JSON_C_TO_STRING_NOSLASHESCAPE |
                                                      (stats->seconds ? 0 : JSON_C_TO_STRING_PRETTY)));
    json_object_put(document);
}

static int once(const struct stats *stats)
{
    struct json_object *endpoints = json_object_new_array();
    int status = stats->server ? collect_one(endpoints, stats->server) : collect_all(endpoints);

    if (status == CLI_OK)
        print_all(stats, endpoints);
    json_object_put(endpoints);
    return cli_finish_output(status);
}

static int watch(const struct stats *stats)
{
    const struct timespec pause = {.tv_sec = (time_t)stats->seconds};
    bool clear = isatty(STDOUT_FILENO) && !stats->json;
    int status;

    for (;;) {
        if (clear)
            fputs("\033[H\033[2J", stdout);
        status = once(stats);
        if (status != CLI_OK)
            return status;
        nanosleep(&pause, NULL);
        if (!clear && !stats->json)
            putchar('\n');
    }
}

static int stats_main(const struct cli_verb *verb, int argc, char **argv)
{
    struct cli_words words = {.verb = verb, .argc = argc, .argv = argv};
    struct stats stats = {0};
    const char *value;
    int option;

    while ((option = cli_words_next(&words, &value)) != CLI_WORDS_END) {
        if (option == CLI_WORDS_STOP)
            return words.status;
        if (option == OPTION_JSON)
            stats.json = true;
        else if (option == OPTION_SERVER)
            stats.server = value;
        else if (!text_number(value ? value : "2", 1, 86400, &stats.seconds))
            return cli_usage("--watch %s: not a number of seconds; 1 to 86400 are allowed", value);
    }
    return stats.seconds ? watch(&stats) : once(&stats);
}

const struct cli_verb cli_verb_stats = {
    .name = "stats",
    .summary = "Shows what running servers have mapped, sent and counted.",
    .synopsis = "[--json] [--watch [SECONDS]] [--server PID|PATH]",
    .options = options,
    .nr_options = sizeof(options) / sizeof(options[0]),
    .run = stats_main,
};
