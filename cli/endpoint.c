/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opens devices and runs their servers. See endpoint.h for who may touch what.
 */
#include "endpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <viaduct/dma.h>

#include "cli.h"
#include "signals.h"
#include "text.h"

int endpoints_guard_memory(void)
{
    int err = vd_server_guard_memory();

    return err ? cli_failed("cannot install a handler for SIGBUS: %s", strerror(-err)) : CLI_OK;
}

/* The option that is named in front has the address already. */
static int refused(const struct endpoint *endpoint, struct vd_error *error)
{
    cli_error_strip(error, endpoint->option->address);
    return cli_refused("--vfio", endpoint->option->text, error);
}

/* Whose keys are whose is not obvious when an address is refused. */
static void explain_keys(const char *address)
{
    if (!strncmp(address, "sim:", 4))
        cli_note("keys of --vfio itself are host, port, dma, socket, rom, guest, companion, dma-bytes and "
                 "dma-mappings; the others belong to the address");
    if (!strncmp(address, "apple:", 6))
        cli_note("--vfio takes the address's option socket= as dextd=, because socket= is its own");
}

static struct endpoint *add(struct endpoints *set, const struct vfio_option *option)
{
    struct endpoint *endpoint = &set->items[set->count++];

    endpoint->option = option;
    endpoint->set = set;
    return endpoint;
}

/* The copies for the main thread. */
static void describe(struct endpoint *endpoint)
{
    for (unsigned i = 0; i < VD_REGION_COUNT; i++) {
        struct vd_region_info info = {0};

        vd_region_info(endpoint->device, i, &info);
        endpoint->region_sizes[i] = info.size;
    }
    for (unsigned i = 0; i < VD_IRQ_COUNT; i++) {
        struct vd_irq_info info = {0};

        vd_irq_info(endpoint->device, i, &info);
        endpoint->irq_counts[i] = info.count;
    }
}

static int open_one(struct endpoints *set, struct endpoint *endpoint)
{
    const struct vfio_option *option = endpoint->option;
    const struct vd_device_options options = {
        .size = sizeof(options), .rom = option->rom, .no_rom = option->no_rom};
    struct vd_error error = {0};
    int err;

    if (option->rom && access(option->rom, R_OK))
        return cli_failed("--vfio %s: rom=%s: %s; give the file of an expansion ROM, off for none, or on for "
                          "the device's own",
                          option->text, option->rom, strerror(errno));
    err = vd_device_open_with(set->context, option->address, &options, &endpoint->device, &error);
    if (err) {
        error.code = err;
        if (error.usage)
            explain_keys(option->address);
        return refused(endpoint, &error);
    }
    describe(endpoint);
    return CLI_OK;
}

/* What only a companion needs, and its absence would go unnoticed. */
static int check_no_companion(const struct endpoint *endpoint)
{
    const struct vfio_option *option = endpoint->option;
    const char *key = option->guest ? "guest" : "companion";
    const char *value = option->guest ? option->guest : option->companion;

    if (!value)
        return CLI_OK;
    return cli_usage(
        "--vfio %s: %s=%s is about the companion of a device whose strategy is paravirt, and this "
        "one's is %s; leave it out",
        option->text, key, value, vd_strategy_name(endpoint->strategy));
}

/* Also where a companion has the same limits: these hold for whatever it does on the guest's behalf. */
static void limit_device(const struct endpoint *endpoint)
{
    const struct vfio_option *option = endpoint->option;

    if (option->dma_bytes || option->dma_mappings)
        vd_dma_set_quota(endpoint->device, option->dma_bytes ? option->dma_bytes : UINT64_MAX,
                         option->dma_mappings ? option->dma_mappings : UINT64_MAX);
}

static int create_companion(struct endpoints *set, struct endpoint *managed)
{
    const struct vd_companion_options options = {
        .size = sizeof(options),
        .guest_bdf = managed->option->guest_bdf,
        .quota_bytes = managed->option->dma_bytes,
        .quota_mappings = managed->option->dma_mappings,
    };
    struct endpoint *companion = add(set, managed->option);
    struct vd_error error = {0};
    int err = vd_companion_create(set->context, managed->device, &options, &companion->device, &error);

    companion->manages = managed;
    error.code = err;
    if (err)
        return refused(companion, &error);
    describe(companion);
    return CLI_OK;
}

static int open_with_companion(struct endpoints *set, const struct vfio_option *option)
{
    struct endpoint *endpoint = add(set, option);
    struct vd_error error = {0};
    int status = open_one(set, endpoint);

    if (status != CLI_OK)
        return status;
    error.code = vd_strategy_choose(endpoint->device, option->strategy, &endpoint->strategy, &error);
    if (error.code)
        return refused(endpoint, &error);
    limit_device(endpoint);
    return endpoint->strategy == VD_STRATEGY_PARAVIRT ? create_companion(set, endpoint)
                                                      : check_no_companion(endpoint);
}

int endpoints_open(struct endpoints *set, struct vd_context *context, const struct vfio_list *list)
{
    int err, status = CLI_OK;

    /* Room for a companion each: threads and companions point to the items. */
    *set = (struct endpoints){.context = context, .items = text_alloc(2 * list->count, sizeof(*set->items))};
    err = vd_notifier_init(&set->ended, VD_NOTIFIER_DEFAULT);
    if (err)
        return cli_failed("cannot open a notifier: %s", strerror(-err));
    for (size_t i = 0; i < list->count && status == CLI_OK; i++)
        status = open_with_companion(set, &list->items[i]);
    return status;
}

static int create_server(struct endpoints *set, struct endpoint *endpoint,
                         const struct vd_server_options *options)
{
    struct vd_error error = {0};
    int err = vd_server_create(set->context, endpoint->device, options, &endpoint->server, &error);

    error.code = err;
    return err ? refused(endpoint, &error) : CLI_OK;
}

int endpoints_listen(struct endpoints *set)
{
    int status = CLI_OK;

    for (size_t i = 0; i < set->count && status == CLI_OK; i++) {
        struct endpoint *endpoint = &set->items[i];
        struct vd_server_options options = {
            .size = sizeof(options),
            .socket_path = endpoint->socket,
            .client_fd = -1,
            .strategy = endpoint->strategy,
        };

        status = create_server(set, endpoint, &options);
    }
    return status;
}

int endpoints_check(struct endpoints *set)
{
    int status = CLI_OK;

    for (size_t i = 0; i < set->count && status == CLI_OK; i++) {
        struct vd_server_options options = {.size = sizeof(options), .strategy = set->items[i].strategy};
        int ends[2];

        if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
            return cli_failed("cannot open a socket pair: %s", strerror(errno));
        options.client_fd = ends[0];
        status = create_server(set, &set->items[i], &options);
        if (status != CLI_OK)
            close(ends[0]);
        close(ends[1]);
        vd_server_destroy(set->items[i].server);
        set->items[i].server = NULL;
    }
    return status;
}

static void *serve(void *opaque)
{
    struct endpoint *endpoint = opaque;

    endpoint->result = vd_server_run(endpoint->server);
    atomic_store(&endpoint->ended, true);
    vd_notifier_signal(&endpoint->set->ended);
    return NULL;
}

int endpoints_start(struct endpoints *set)
{
    sigset_t before;
    int err = 0;

    signals_block(&before);
    for (size_t i = 0; i < set->count && !err; i++) {
        err = pthread_create(&set->items[i].thread, NULL, serve, &set->items[i]);
        set->items[i].started = !err;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err ? cli_failed("cannot start a thread: %s", strerror(err)) : CLI_OK;
}

int endpoints_health(const struct endpoints *set)
{
    vd_notifier_drain(&set->ended);
    for (size_t i = 0; i < set->count; i++) {
        const struct endpoint *endpoint = &set->items[i];

        if (endpoint->started && atomic_load(&endpoint->ended))
            return cli_failed("--vfio %s: the server on %s ended: %s", endpoint->option->text,
                              endpoint->socket,
                              endpoint->result ? strerror(-endpoint->result) : "it was stopped");
    }
    return CLI_OK;
}

int endpoints_refusal(const struct endpoints *set)
{
    for (size_t i = 0; i < set->count; i++) {
        struct vd_server_stats stats;

        vd_server_stats(set->items[i].server, &stats);
        if (stats.refusal[0])
            return cli_failed("--vfio %s: the device refused the virtual machine: %s",
                              set->items[i].option->text, stats.refusal);
    }
    return CLI_OK;
}

const char *endpoint_address(const struct endpoint *endpoint)
{
    return vd_device_info(endpoint->device)->address;
}

void endpoints_close(struct endpoints *set)
{
    for (size_t i = 0; i < set->count; i++) {
        if (set->items[i].started)
            vd_server_stop(set->items[i].server);
    }
    /* All of them first: while a device is served, its companion must be there to hold it. */
    for (size_t i = 0; i < set->count; i++) {
        if (set->items[i].started)
            pthread_join(set->items[i].thread, NULL);
    }
    /* Backwards: a companion stands behind the device that it manages, and must go first. */
    for (size_t i = set->count; i-- > 0;) {
        struct endpoint *endpoint = &set->items[i];

        vd_server_destroy(endpoint->server);
        vd_device_close(endpoint->device);
        free(endpoint->socket);
    }
    if (set->items)
        vd_notifier_finish(&set->ended);
    free(set->items);
    *set = (struct endpoints){0};
}
