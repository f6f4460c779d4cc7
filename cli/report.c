/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Builds the statistics document from counters that the library lets any thread read. A limit that does not exist is
 * null rather than a huge number: JSON numbers above 2^53 are not safe everywhere.
 */
#include "report.h"

#include <json-c/json.h>
#include <unistd.h>

#include <viaduct/dma.h>

#include "cli.h"

static void add_count(struct json_object *to, const char *key, uint64_t value)
{
    json_object_object_add(to, key, json_object_new_uint64(value));
}

static void add_limit(struct json_object *to, const char *key, uint64_t value)
{
    json_object_object_add(to, key, value == UINT64_MAX ? NULL : json_object_new_uint64(value));
}

static void add_text(struct json_object *to, const char *key, const char *value)
{
    json_object_object_add(to, key, json_object_new_string(value));
}

static struct json_object *dma_report(const struct vd_device *device)
{
    struct json_object *dma = json_object_new_object();
    struct vd_dma_usage usage;

    vd_dma_usage(device, &usage);
    add_count(dma, "bytes", usage.bytes);
    add_count(dma, "mappings", usage.mappings);
    add_count(dma, "peak_bytes", usage.peak_bytes);
    add_count(dma, "peak_mappings", usage.peak_mappings);
    add_limit(dma, "limit_bytes", usage.quota_bytes);
    add_limit(dma, "limit_mappings", usage.quota_mappings);
    return dma;
}

static struct json_object *regions_report(const struct endpoint *endpoint,
                                          const struct vd_device_stats *stats)
{
    static const char *const names[VD_REGION_COUNT] = {"bar0", "bar1", "bar2",   "bar3", "bar4",
                                                       "bar5", "rom",  "config", "vga"};
    struct json_object *regions = json_object_new_array();

    for (unsigned i = 0; i < VD_REGION_COUNT; i++) {
        struct json_object *region;

        if (endpoint->region_sizes[i] == 0)
            continue;
        region = json_object_new_object();
        add_count(region, "index", i);
        add_text(region, "name", names[i]);
        add_count(region, "size", endpoint->region_sizes[i]);
        add_count(region, "reads", stats->regions[i].reads);
        add_count(region, "writes", stats->regions[i].writes);
        add_count(region, "read_bytes", stats->regions[i].read_bytes);
        add_count(region, "written_bytes", stats->regions[i].written_bytes);
        add_count(region, "errors", stats->regions[i].errors);
        json_object_array_add(regions, region);
    }
    return regions;
}

static struct json_object *irqs_report(const struct endpoint *endpoint)
{
    static const char *const names[VD_IRQ_COUNT] = {"intx", "msi", "msix", "err", "req"};
    struct json_object *irqs = json_object_new_array();

    for (unsigned i = 0; i < VD_IRQ_COUNT; i++) {
        struct json_object *irq, *vectors;

        if (endpoint->irq_counts[i] == 0)
            continue;
        irq = json_object_new_object();
        vectors = json_object_new_array();
        for (uint32_t vector = 0; vector < endpoint->irq_counts[i]; vector++)
            json_object_array_add(vectors,
                                  json_object_new_uint64(vd_irq_signals(endpoint->device, i, vector)));
        add_count(irq, "index", i);
        add_text(irq, "name", names[i]);
        json_object_object_add(irq, "vectors", vectors);
        json_object_array_add(irqs, irq);
    }
    return irqs;
}

static void add_server(struct json_object *to, const struct endpoint *endpoint)
{
    struct json_object *guest = json_object_new_object();
    struct vd_server_stats stats;

    vd_server_stats(endpoint->server, &stats);
    json_object_object_add(to, "client", json_object_new_boolean(stats.client));
    add_text(to, "socket", endpoint->socket);
    add_text(to, "strategy", vd_strategy_name(stats.strategy));
    add_count(to, "sessions", stats.sessions);
    add_count(to, "messages", stats.messages);
    add_count(to, "errors", stats.errors);
    add_count(to, "violations", stats.violations);
    add_text(to, "refusal", stats.refusal);
    add_count(guest, "regions", stats.guest_regions);
    add_count(guest, "bytes", stats.guest_bytes);
    json_object_object_add(to, "guest", guest);
}

/* Of a companion; NULL for others. */
static struct json_object *companion_report(const struct endpoint *endpoint)
{
    struct vd_companion_stats stats;
    struct json_object *companion;

    if (!vd_companion_stats(endpoint->device, &stats))
        return NULL;
    companion = json_object_new_object();
    json_object_object_add(companion, "active", json_object_new_boolean(stats.active));
    json_object_object_add(companion, "wide", json_object_new_boolean(stats.wide));
    add_count(companion, "doorbells", stats.doorbells);
    add_count(companion, "maps", stats.maps);
    add_count(companion, "unmaps", stats.unmaps);
    add_count(companion, "refused", stats.refused);
    add_count(companion, "lost", stats.lost);
    add_count(companion, "bytes", stats.bytes);
    add_count(companion, "mappings", stats.mappings);
    return companion;
}

static struct json_object *endpoint_report(const struct endpoint *endpoint)
{
    const struct vd_device_info *info = vd_device_info(endpoint->device);
    struct json_object *report = json_object_new_object();
    struct vd_device_stats stats;

    vd_device_stats(endpoint->device, &stats);
    add_text(report, "address", info->address);
    add_text(report, "backend", info->backend);
    add_text(report, "model", info->model);
    json_object_object_add(report, "manages",
                           endpoint->manages ? json_object_new_string(endpoint_address(endpoint->manages))
                                             : NULL);
    json_object_object_add(report, "companion", companion_report(endpoint));
    add_server(report, endpoint);
    json_object_object_add(report, "dma", dma_report(endpoint->device));
    add_count(report, "faults", stats.dma_faults);
    add_count(report, "device_errors", stats.device_errors);
    add_count(report, "resets", stats.resets);
    json_object_object_add(report, "regions", regions_report(endpoint, &stats));
    json_object_object_add(report, "irqs", irqs_report(endpoint));
    return report;
}

struct json_object *report_create(const struct endpoints *endpoints)
{
    struct json_object *report = json_object_new_object(), *list = json_object_new_array();

    add_text(report, "version", vd_version());
    add_count(report, "pid", (uint64_t)getpid());
    for (size_t i = 0; i < endpoints->count; i++)
        json_object_array_add(list, endpoint_report(&endpoints->items[i]));
    json_object_object_add(report, "endpoints", list);
    return report;
}
