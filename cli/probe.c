/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Examines one device. The order matters: first what is only looked at, then the reset, so that the self-test starts
 * from a device in a known state; closing quiesces it.
 */
#include "probe.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "found.h"
#include "process.h"
#include "servers.h"
#include "text.h"

/* Config space, PCI 6.1 and 6.2.2. */
enum { VENDOR = 0x00, COMMAND = 0x04, COMMAND_MEMORY = 0x0002, COMMAND_MASTER = 0x0004 };
enum { TICK_MS = 1, DELIVERY_MS = 2000, BARS = 6 };
#define ALL_ONES 0xffffffffu

int probe_open(struct vd_context *context, const char *address, struct vd_device **out,
               struct vd_error *error)
{
    int err;

    *error = (struct vd_error){0};
    err = vd_device_open_with(context, address, NULL, out, error);
    error->code = err;
    cli_error_strip(error, address);
    if (err && !error->message[0])
        snprintf(error->message, sizeof(error->message), "%s", strerror(-err));
    return err;
}

/* Two simulated devices are the same one only when all of their options are; options of others say how to get there. */
static bool same_device(const char *a, const char *b)
{
    size_t length = strcspn(a, ",");

    if (!strncmp(a, "sim:", 4))
        return !strcmp(a, b);
    return length == strcspn(b, ",") && !strncmp(a, b, length);
}

/* Which of our own servers has the device, in fresh memory, or NULL. */
static char *find_user(const char *address)
{
    struct json_object *endpoints = json_object_new_array();
    char *user = NULL;

    servers_ask_all(endpoints);
    for (size_t i = 0; i < json_object_array_length(endpoints) && !user; i++) {
        struct json_object *endpoint = json_object_array_get_idx(endpoints, i);
        const char *theirs = json_object_get_string(json_object_object_get(endpoint, "address"));

        if (theirs && same_device(address, theirs))
            user = text_format("process %s, which serves it on %s",
                               json_object_get_string(json_object_object_get(endpoint, "pid")),
                               json_object_get_string(json_object_object_get(endpoint, "socket")));
    }
    json_object_put(endpoints);
    return user;
}

void probe_refused(struct findings *findings, const char *address, const struct vd_device_found *found,
                   const struct vd_error *error)
{
    char *user = NULL;

    if (error->code == -EBUSY) {
        user = find_user(address);
        finding_add(findings, "open", FINDING_WARN,
                    user ? text_format("in use by %s", user) : text_copy(error->message),
                    "end what uses it, and ask again; a device in use is not examined");
    } else if (found && found->state == VD_DEVICE_REMOVED) {
        finding_add(findings, "open", FINDING_WARN,
                    text_copy("it was pulled, and its user has not let go yet"),
                    "plug it in again, and end what used it");
    } else {
        finding_add(findings, "open", FINDING_FAIL, text_copy(error->message),
                    "see 'viaduct list' for what is there");
    }
    free(user);
}

static bool read_bytes(const struct probe *probe, unsigned region, uint64_t offset, uint8_t *bytes,
                       size_t count)
{
    return vd_region_read(probe->device, region, offset, bytes, count) == 0;
}

bool probe_read(const struct probe *probe, uint64_t offset, uint32_t *out)
{
    uint8_t b[4];

    if (!read_bytes(probe, VD_REGION_BAR0, offset, b, sizeof(b)))
        return false;
    *out = b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
    return true;
}

bool probe_write(const struct probe *probe, uint64_t offset, uint32_t value)
{
    const uint8_t b[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                          (uint8_t)(value >> 24)};

    return vd_region_write(probe->device, VD_REGION_BAR0, offset, b, sizeof(b)) == 0;
}

bool probe_read64(const struct probe *probe, uint64_t offset, uint64_t *out)
{
    uint32_t low, high;

    if (!probe_read(probe, offset, &low) || !probe_read(probe, offset + 4, &high))
        return false;
    *out = low | (uint64_t)high << 32;
    return true;
}

bool probe_write64(const struct probe *probe, uint64_t offset, uint64_t value)
{
    return probe_write(probe, offset, (uint32_t)value) &&
           probe_write(probe, offset + 4, (uint32_t)(value >> 32));
}

bool probe_wait(struct probe *probe, bool (*done)(void *opaque), void *opaque, int ms)
{
    struct pollfd work = {.fd = vd_device_poll_fd(probe->device), .events = POLLIN};
    int64_t end = process_now_ms() + ms;

    while (!done(opaque)) {
        bool busy = vd_device_dispatch(probe->device, true);

        if (process_now_ms() >= end)
            return done(opaque);
        /* A device may answer in memory only, where nothing wakes us. */
        if (!busy)
            poll(&work, work.fd >= 0, TICK_MS);
    }
    return true;
}

/* The COMMAND register; 0xffff when it cannot be read. */
static unsigned read_command(const struct probe *probe)
{
    uint8_t b[2];

    return read_bytes(probe, VD_REGION_CONFIG, COMMAND, b, sizeof(b)) ? b[0] | (unsigned)b[1] << 8 : 0xffff;
}

bool probe_enable(const struct probe *probe)
{
    const unsigned wanted = COMMAND_MEMORY | COMMAND_MASTER;
    unsigned command = read_command(probe) | wanted;
    const uint8_t b[2] = {(uint8_t)command, (uint8_t)(command >> 8)};

    if (command == 0xffff || vd_region_write(probe->device, VD_REGION_CONFIG, COMMAND, b, sizeof(b)))
        return false;
    command = read_command(probe);
    return command != 0xffff && (command & wanted) == wanted;
}

static void check_identity(struct probe *probe)
{
    const struct vd_device_info *info = vd_device_info(probe->device);

    finding_add(probe->findings, "open", FINDING_OK,
                text_format("[%04x:%04x] class %06x%s%s, back end %s", info->vendor, info->device,
                            (unsigned)info->class_code, *info->model ? ", " : "", info->model, info->backend),
                NULL);
}

/* False when config space does not answer: nothing else makes sense then. */
static bool check_config(struct probe *probe)
{
    uint8_t vendor[2] = {0xff, 0xff};
    bool there = read_bytes(probe, VD_REGION_CONFIG, VENDOR, vendor, sizeof(vendor)) &&
                 (vendor[0] & vendor[1]) != 0xff;

    if (there)
        finding_add(probe->findings, "config space", FINDING_OK,
                    text_format("answers; vendor id %02x%02x", vendor[1], vendor[0]), NULL);
    else
        finding_add(
            probe->findings, "config space", FINDING_FAIL,
            text_copy("the vendor id reads all ones or not at all: the device is gone, or its link is down"),
            "check cable and power, plug the device in again");
    return there;
}

static void check_command(struct probe *probe)
{
    unsigned command;

    if (probe_enable(probe)) {
        finding_add(probe->findings, "command", FINDING_OK,
                    text_copy("memory space and bus mastering can be switched on and read back"), NULL);
        return;
    }
    command = read_command(probe);
    finding_add(probe->findings, "command", FINDING_FAIL,
                text_format("%s%s%s cannot be switched on (COMMAND reads 0x%04x)",
                            command & COMMAND_MEMORY ? "" : "memory space",
                            command & (COMMAND_MEMORY | COMMAND_MASTER) ? "" : " and ",
                            command & COMMAND_MASTER ? "" : "bus mastering", command),
                "plug the device in again; if that does not help, restart the host");
}

static void check_first_read(struct probe *probe)
{
    struct vd_region_info info = {0};
    uint8_t b[4];
    unsigned bar = 0;

    while (bar < BARS && (vd_region_info(probe->device, bar, &info) || info.size < sizeof(b)))
        bar++;
    if (bar == BARS)
        finding_add(probe->findings, "first read", FINDING_WARN, text_copy("the device has no BAR to read"),
                    "nothing is to be mended if the device is meant to have none");
    else if (!read_bytes(probe, bar, 0, b, sizeof(b)))
        finding_add(probe->findings, "first read", FINDING_FAIL,
                    text_format("BAR %u cannot be read at offset 0", bar), "plug the device in again");
    else if ((b[0] & b[1] & b[2] & b[3]) != 0xff)
        finding_add(probe->findings, "first read", FINDING_OK,
                    text_format("BAR %u reads 0x%02x%02x%02x%02x at offset 0", bar, b[3], b[2], b[1], b[0]),
                    NULL);
    else
        /* What a read gives that nobody answers; memory may hold the same. */
        finding_add(
            probe->findings, "first read", info.flags & VD_REGION_PREFETCHABLE ? FINDING_WARN : FINDING_FAIL,
            text_format("BAR %u reads all ones at offset 0: the device does not decode its memory", bar),
            "check that its link is up and its BAR has an address; plug the device in again");
}

/* A BAR read through a mapping must be the BAR. */
static void check_mapping(struct probe *probe)
{
    struct vd_region_info info = {0};
    void *memory = NULL;
    uint8_t trapped[4] = {0};
    uint32_t seen;
    unsigned bar = 0;
    const char *kind;
    char bytes[32];
    int err;

    while (bar < BARS && (vd_region_info(probe->device, bar, &info) || !(info.flags & VD_REGION_LOCAL) ||
                          info.nr_areas == 0))
        bar++;
    if (bar == BARS) {
        finding_add(probe->findings, "mapping", FINDING_OK,
                    text_copy("no BAR can be mapped; every access goes through the host"), NULL);
        return;
    }
    err = vd_region_map(probe->device, bar, info.areas[0].offset, info.areas[0].size, &memory);
    if (err) {
        finding_add(probe->findings, "mapping", FINDING_FAIL,
                    text_format("BAR %u cannot be mapped: %s", bar, strerror(-err)),
                    "plug the device in again");
        return;
    }
    seen = *(volatile uint32_t *)memory;
    vd_region_unmap(probe->device, bar, memory, info.areas[0].size);
    text_bytes(info.areas[0].size, bytes, sizeof(bytes));
    kind = info.flags & VD_REGION_PREFETCHABLE ? ", prefetchable" : "";
    if (seen == ALL_ONES && read_bytes(probe, bar, info.areas[0].offset, trapped, sizeof(trapped)) &&
        (trapped[0] & trapped[1] & trapped[2] & trapped[3]) != 0xff)
        finding_add(probe->findings, "mapping", FINDING_FAIL,
                    text_format("BAR %u reads all ones through a mapping, but not through the host", bar),
                    "plug the device in again");
    else
        finding_add(probe->findings, "mapping", FINDING_OK,
                    info.nr_areas == 1 ? text_format("BAR %u can be mapped: %s%s", bar, bytes, kind)
                                       : text_format("BAR %u can be mapped: %u areas, the first of %s%s", bar,
                                                     (unsigned)info.nr_areas, bytes, kind),
                    NULL);
}

static uint32_t vectors(const struct probe *probe, unsigned index)
{
    struct vd_irq_info info = {0};

    vd_irq_info(probe->device, index, &info);
    return info.count;
}

static void check_interrupts(struct probe *probe)
{
    uint32_t msix = vectors(probe, VD_IRQ_MSIX), msi = vectors(probe, VD_IRQ_MSI);
    uint32_t intx = vectors(probe, VD_IRQ_INTX), offered = probe->found ? probe->found->msix_vectors : 0;
    char *more = offered > msix ? text_format(" (the device has %u)", (unsigned)offered) : text_copy("");
    char *text =
        text_format("%u MSI-X%s, %u MSI, %s INTx", (unsigned)msix, more, (unsigned)msi, intx ? "has" : "no");

    if (msix || msi || intx)
        finding_add(probe->findings, "interrupts", FINDING_OK, text, NULL);
    else
        finding_add(probe->findings, "interrupts", FINDING_WARN, text,
                    "plug the device in again; a guest's driver that cannot poll will not work");
    free(more);
}

/* Of bytes and mappings, whichever has a limit. */
static char *limits_text(const struct vd_dma_usage *usage)
{
    char bytes[32], mappings[32];

    if (usage->quota_bytes == UINT64_MAX && usage->quota_mappings == UINT64_MAX)
        return text_copy("no limit");
    text_bytes(usage->quota_bytes, bytes, sizeof(bytes));
    snprintf(mappings, sizeof(mappings), "%" PRIu64, usage->quota_mappings);
    return text_format("at most %s%s%s%s", usage->quota_bytes == UINT64_MAX ? "" : bytes,
                       usage->quota_bytes == UINT64_MAX || usage->quota_mappings == UINT64_MAX ? "" : " in ",
                       usage->quota_mappings == UINT64_MAX ? "" : mappings,
                       usage->quota_mappings == UINT64_MAX ? "" : " mappings");
}

static void check_dma(struct probe *probe)
{
    const struct vd_dma_info *info = vd_dma_info(probe->device);
    bool assigned = info->addressing == VD_DMA_ASSIGNED;
    struct vd_dma_usage usage = {0};
    char *limits, granule[32];

    vd_dma_usage(probe->device, &usage);
    limits = limits_text(&usage);
    finding_add(probe->findings, "dma", FINDING_OK,
                text_format("%s the bus addresses; pages of %s, %s%s",
                            assigned ? "the host assigns" : "the caller chooses",
                            text_bytes(info->granule, granule, sizeof(granule)), limits,
                            assigned ? "; a guest needs the module viaduct_dma (strategy paravirt)" : ""),
                NULL);
    free(limits);
}

static void check_reset(struct probe *probe)
{
    uint8_t vendor[2] = {0xff, 0xff};
    int err;

    if (!vd_device_info(probe->device)->can_reset) {
        finding_add(probe->findings, "reset", FINDING_WARN, text_copy("the host knows no way to reset it"),
                    "a guest may find the device as its predecessor left it; restart the host in between");
        return;
    }
    err = vd_device_reset(probe->device);
    if (err)
        finding_add(probe->findings, "reset", FINDING_FAIL, text_format("failed: %s", strerror(-err)),
                    "plug the device in again, or restart the host");
    else if (!read_bytes(probe, VD_REGION_CONFIG, VENDOR, vendor, sizeof(vendor)) ||
             (vendor[0] & vendor[1]) == 0xff)
        finding_add(probe->findings, "reset", FINDING_FAIL,
                    text_copy("the device does not come back from it"),
                    "plug the device in again, or restart the host");
    else
        finding_add(probe->findings, "reset", FINDING_OK, text_copy("works"), NULL);
}

/* Routes vector 0 of the best kind of message interrupt. Afterwards probe->irq tells whether there is one. */
static void open_irq(struct probe *probe)
{
    probe->irq = vectors(probe, VD_IRQ_MSIX)  ? VD_IRQ_MSIX
                 : vectors(probe, VD_IRQ_MSI) ? VD_IRQ_MSI
                                              : VD_IRQ_COUNT;
    probe->notifier = (struct vd_notifier){-1, -1};
    /* A pipe: the end to write becomes the device's, the end to read stays ours. */
    if (probe->irq == VD_IRQ_COUNT || vd_notifier_init(&probe->notifier, VD_NOTIFIER_PIPE))
        return;
    if (vd_irq_route(probe->device, probe->irq, 0, 1, &probe->notifier.write_fd) == 0)
        probe->notifier.write_fd = -1;
    else
        vd_notifier_finish(&probe->notifier);
}

static bool has_arrived(void *opaque)
{
    return vd_notifier_drain(&((struct probe *)opaque)->notifier);
}

void probe_irq_await(struct probe *probe)
{
    probe->delivered = probe->notifier.read_fd >= 0 && probe_wait(probe, has_arrived, probe, DELIVERY_MS);
}

static void report_irq(const struct probe *probe)
{
    const char *kind = probe->irq == VD_IRQ_MSIX ? "MSI-X" : "MSI";

    if (probe->irq == VD_IRQ_COUNT)
        return;
    if (probe->delivered)
        finding_add(probe->findings, "delivery", FINDING_OK, text_format("%s vector 0 arrives", kind), NULL);
    else if (probe->notifier.read_fd < 0)
        finding_add(probe->findings, "delivery", FINDING_FAIL, text_format("%s cannot be set up", kind),
                    "plug the device in again");
    else
        finding_add(probe->findings, "delivery", FINDING_FAIL,
                    text_format("the device did its work, but %s vector 0 did not arrive within %d s", kind,
                                DELIVERY_MS / 1000),
                    "plug the device in again, or restart the host; guests would hang");
}

static void close_irq(struct probe *probe)
{
    if (probe->irq != VD_IRQ_COUNT)
        vd_irq_disable(probe->device, probe->irq);
    vd_notifier_finish(&probe->notifier);
}

static const struct {
    uint32_t class_code;
    int32_t vendor, device; /* -1: any */
    selftest *run;
} selftests[] = {
    {0x010802, -1, -1, selftest_nvme},
    {0xff0000, 0x1234, 0x11e9, selftest_edu},
};

static selftest *find_selftest(const struct vd_device_info *info)
{
    for (size_t i = 0; i < sizeof(selftests) / sizeof(selftests[0]); i++) {
        if (selftests[i].class_code == info->class_code &&
            (selftests[i].vendor < 0 ||
             (selftests[i].vendor == info->vendor && selftests[i].device == info->device)))
            return selftests[i].run;
    }
    return NULL;
}

static void run_selftest(struct probe *probe, selftest *run)
{
    struct vd_device_stats before, after;
    char *said = NULL, *why;

    probe_enable(probe);
    open_irq(probe);
    vd_device_stats(probe->device, &before);
    why = run(probe, &said);
    vd_device_stats(probe->device, &after);
    if (!why) {
        finding_add(probe->findings, "self-test", FINDING_OK, said, NULL);
        report_irq(probe);
    } else {
        if (after.dma_faults > before.dma_faults)
            text_append(&why, "; the IOMMU refused accesses of the device");
        finding_add(
            probe->findings, "self-test", FINDING_FAIL, why,
            "plug the device in again, or restart the host; a device that fails here works in no guest");
        free(said);
    }
    close_irq(probe);
}

static void check_selftest(struct probe *probe)
{
    const struct vd_device_info *info = vd_device_info(probe->device);
    selftest *run = find_selftest(info);

    if (run && info->can_reset)
        run_selftest(probe, run);
    else
        finding_add(probe->findings, "self-test", FINDING_OK,
                    text_format("not done: %s (class %06x)",
                                run ? "the device could not be reset afterwards"
                                    : "there is none for this kind of device",
                                (unsigned)info->class_code),
                    NULL);
}

void probe_device(struct findings *findings, struct vd_device *device, const struct vd_device_found *found)
{
    struct probe probe = {.findings = findings, .device = device, .found = found, .irq = VD_IRQ_COUNT};

    check_identity(&probe);
    if (check_config(&probe)) {
        check_command(&probe);
        check_first_read(&probe);
        check_mapping(&probe);
        check_interrupts(&probe);
        check_dma(&probe);
        check_reset(&probe);
        check_selftest(&probe);
    }
    vd_device_close(device);
}
