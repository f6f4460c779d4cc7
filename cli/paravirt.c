/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Companions in `viaduct run`. Everything here runs on the main thread.
 */
#include "paravirt.h"

#include <string.h>

#include <viaduct/dma.h>

#include "cli.h"

enum { MAX_BUS = 255 };

#define MODULE "the module viaduct_dma (guest/linux)"

void paravirt_place(struct vfio_list *devices)
{
    for (size_t i = 0; i < devices->count && i + 1 <= MAX_BUS; i++) {
        if (!devices->items[i].guest)
            devices->items[i].guest_bdf = (uint32_t)(i + 1) << 8;
    }
}

static const struct endpoint *same_place(const struct endpoints *set, const struct endpoint *companion)
{
    for (const struct endpoint *other = set->items; other < companion; other++) {
        if (other->manages && other->option->guest_bdf == companion->option->guest_bdf)
            return other;
    }
    return NULL;
}

int paravirt_check(const struct endpoints *set)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct endpoint *companion = &set->items[i], *other;
        uint32_t bdf = companion->option->guest_bdf;

        if (!companion->manages || bdf == VD_COMPANION_BDF_UNKNOWN)
            continue;
        other = same_place(set, companion);
        if (other)
            return cli_usage(
                "--vfio %s: the guest would look for it at %02x:%02x.%x, and for %s as well; give "
                "each its own guest=BB:DD.F",
                companion->option->text, bdf >> 8, bdf >> 3 & 31, bdf & 7, other->option->text);
    }
    return CLI_OK;
}

static const char *reason(const struct endpoint *managed)
{
    if (managed->option->strategy != VD_STRATEGY_AUTO)
        return "as asked";
    return vd_dma_info(managed->device)->addressing == VD_DMA_ASSIGNED
               ? "because this host picks the bus addresses"
               : "the first that works on this host";
}

void paravirt_explain(const struct endpoints *set)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct endpoint *managed = set->items[i].manages;

        if (managed)
            cli_note("--vfio %s: strategy paravirt (%s); the guest needs " MODULE
                     ", and the device waits for it",
                     managed->option->text, reason(managed));
    }
}

/* A guest without the module sees the companion, but has no reason to write its registers. */
static bool was_left_alone(const struct endpoint *companion)
{
    struct vd_server_stats server;
    struct vd_device_stats device;

    vd_server_stats(companion->server, &server);
    vd_device_stats(companion->device, &device);
    return server.sessions > 0 && !server.refusal[0] && device.regions[VD_REGION_BAR0].writes == 0;
}

void paravirt_review(const struct endpoints *set)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct endpoint *endpoint = &set->items[i];

        if (endpoint->manages && was_left_alone(endpoint))
            cli_note("--vfio %s: the guest never started the companion, so the device did nothing; had the "
                     "guest " MODULE ", and was it loaded?",
                     endpoint->option->text);
    }
}
