/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host back end over sim/: turns an address into a machine with one function and hands core's operations on. It
 * keeps no state of its own beside that machine; limits and accounting are the DART's.
 *
 * Threads: as backend.h says; everything but faults() on the device's thread.
 */
#include "backend/sim/sim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sim/bus.h"

enum { MAX_SEGMENTS = 64 };

static const char scheme[] = "sim:";

/* Both are bit 0 for reads by the device and bit 1 for writes, so access masks are handed on as they are. */
_Static_assert((int)VD_ACCESS_READ == (int)SIM_READ && (int)VD_ACCESS_WRITE == (int)SIM_WRITE, "access bits");
_Static_assert((int)SIM_BARS == (int)VD_REGION_ROM, "BARs are the first regions");

struct host {
    const struct vd_env *env;
    struct vd_host_events events;
    struct sim_machine *machine;
    struct sim_function *function;
};

/* Interrupts on their way up. */

static void pass_msi(void *opaque, enum sim_irq_kind kind, unsigned vector)
{
    struct host *host = opaque;

    host->events.irq(host->events.opaque, kind == SIM_IRQ_MSI ? VD_IRQ_MSI : VD_IRQ_MSIX, vector);
}

static void pass_intx(void *opaque, bool asserted)
{
    struct host *host = opaque;

    host->events.intx(host->events.opaque, asserted);
}

/* Describing the function. */

static void describe_bar(const struct sim_bar *bar, struct vd_region_info *out)
{
    if (!bar->size)
        return;
    out->size = bar->size;
    out->flags = VD_REGION_READ | VD_REGION_WRITE | (bar->prefetchable ? VD_REGION_PREFETCHABLE : 0) |
                 (bar->is64 ? VD_REGION_64BIT : 0);
    if (bar->fd < 0)
        return;
    out->flags |= VD_REGION_MMAP;
    out->nr_areas = bar->nr_areas;
    for (unsigned i = 0; i < bar->nr_areas; i++)
        out->areas[i] = (struct vd_region_area){bar->areas[i].offset, bar->areas[i].size};
}

static void describe_regions(const struct sim_endpoint_info *info, struct vd_region_info *regions)
{
    for (unsigned bar = 0; bar < SIM_BARS; bar++)
        describe_bar(&info->bars[bar], &regions[bar]);
    if (info->rom_size)
        regions[VD_REGION_ROM] = (struct vd_region_info){.size = info->rom_size, .flags = VD_REGION_READ};
    regions[VD_REGION_CONFIG] =
        (struct vd_region_info){.size = SIM_CONFIG_SIZE, .flags = VD_REGION_READ | VD_REGION_WRITE};
}

static void describe_irqs(const struct sim_endpoint_info *info, struct vd_irq_info *irqs)
{
    if (info->intx)
        irqs[VD_IRQ_INTX] = (struct vd_irq_info){1, VD_IRQ_EVENTFD | VD_IRQ_MASKABLE | VD_IRQ_AUTOMASKED};
    irqs[VD_IRQ_MSI] = (struct vd_irq_info){info->msi_vectors, VD_IRQ_EVENTFD | VD_IRQ_MASKABLE};
    irqs[VD_IRQ_MSIX] = (struct vd_irq_info){info->msix_vectors, VD_IRQ_EVENTFD | VD_IRQ_MASKABLE};
    irqs[VD_IRQ_ERR] = (struct vd_irq_info){1, VD_IRQ_EVENTFD};
    irqs[VD_IRQ_REQ] = (struct vd_irq_info){1, VD_IRQ_EVENTFD};
}

static void describe_dma(const struct sim_dart_config *config, struct vd_dma_info *dma)
{
    bool bounded = config->aperture != UINT64_MAX;

    *dma = (struct vd_dma_info){
        .addressing = config->mode == SIM_DART_ASSIGNED ? VD_DMA_ASSIGNED : VD_DMA_CHOSEN,
        .granule = config->granule,
        .limit_bytes = config->aperture,
        .limit_mappings = config->mappings,
        .first = {config->base},
        .last = {bounded ? config->base + (config->aperture - 1) : UINT64_MAX},
        .max_segments = (uint32_t)config->segments,
        .indirect = true,
    };
}

static void describe(const struct host *host, const struct sim_dart_config *config, struct vd_host_info *out)
{
    const struct sim_endpoint_info *info = sim_function_info(host->function);

    *out = (struct vd_host_info){.model = info->model,
                                 .vendor = info->identity.vendor,
                                 .device = info->identity.device,
                                 .subvendor = info->identity.subvendor,
                                 .subdevice = info->identity.subdevice,
                                 .class_code = info->identity.class_code,
                                 .can_reset = true,
                                 .raw_config = true,
                                 .poll_fd = sim_function_poll_fd(host->function)};
    describe_regions(info, out->regions);
    describe_irqs(info, out->irqs);
    describe_dma(config, &out->dma);
}

/* Opening. */

static void refuse_kind(const char *address, const char *kind, size_t length, struct vd_failure *failure)
{
    char known[128] = "";
    size_t used = 0;

    for (size_t i = 0; sim_endpoint_kind(i) && used < sizeof(known); i++)
        used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s%s", i ? ", " : "", scheme,
                                 sim_endpoint_kind(i)->kind);
    vd_fail_usage(failure, "%s: no simulated device is called '%.*s'; there are: %s", address,
                  (int)(length < 80 ? length : 80), kind, known);
}

/* Splits "sim:kind,options"; the options follow the first comma. NULL: *failure says why not. */
static const struct sim_endpoint_ops *split_address(const char *address, const char **options,
                                                    struct vd_failure *failure)
{
    const struct sim_endpoint_ops *ops;
    const char *kind;
    size_t length;

    if (strncmp(address, scheme, sizeof(scheme) - 1) != 0) {
        vd_fail_usage(failure, "%s: not a simulated device; those begin with '%s'", address, scheme);
        return NULL;
    }
    kind = address + sizeof(scheme) - 1;
    length = strcspn(kind, ",");
    ops = sim_endpoint_find(kind, length);
    if (!ops) {
        refuse_kind(address, kind, length, failure);
        return NULL;
    }
    *options = kind[length] ? kind + length + 1 : "";
    if (kind[length] && !**options) {
        vd_fail_usage(failure, "%s: an option must follow the comma, as key=value", address);
        return NULL;
    }
    return ops;
}

static int build(struct host *host, const char *address, const struct sim_endpoint_ops *ops,
                 struct sim_dart_config *config, void *values, struct vd_failure *failure)
{
    struct sim_function_events events = {.msi = pass_msi, .intx = pass_intx, .opaque = host};
    int err = sim_machine_create(host->env, config, &host->machine, failure);

    if (err)
        return vd_fail_prefix(failure, address, err);
    err = sim_machine_plug(host->machine, ops, address, values, &events, &host->function, failure);
    if (err)
        sim_machine_destroy(host->machine);
    return err;
}

static int open_parsed(struct host *host, const char *address, const struct sim_endpoint_ops *ops,
                       const char *text, struct sim_dart_config *config, struct vd_failure *failure)
{
    void *values = vd_env_alloc(host->env, 1, ops->values_size);
    struct sim_option_set sets[] = {{ops->options, ops->nr_options, values},
                                    {sim_dart_options, sim_dart_nr_options, config}};
    int err;

    if (!values)
        return vd_fail(failure, -ENOMEM, "%s: out of memory", address);
    err = sim_options_parse(host->env, address, text, sets, 2, failure);
    if (!err) {
        err = build(host, address, ops, config, values, failure);
        if (err)
            sim_options_finish(host->env, sets, 2);
    }
    if (err)
        vd_env_free(host->env, values);
    return err;
}

static int sim_open(const struct vd_env *env, const char *address, const struct vd_host_events *events,
                    void **out, struct vd_host_info *info, struct vd_failure *failure)
{
    struct sim_dart_config config = {0};
    const char *options = "";
    const struct sim_endpoint_ops *ops = split_address(address, &options, failure);
    struct host *host;
    int err;

    if (!ops)
        return -EINVAL;
    host = vd_env_alloc(env, 1, sizeof(*host));
    if (!host)
        return vd_fail(failure, -ENOMEM, "%s: out of memory", address);
    host->env = env;
    host->events = *events;
    err = open_parsed(host, address, ops, options, &config, failure);
    if (err) {
        vd_env_free(env, host);
        return err;
    }
    describe(host, &config, info);
    *out = host;
    return 0;
}

static void sim_close(void *opaque)
{
    struct host *host = opaque;

    sim_machine_destroy(host->machine);
    vd_env_free(host->env, host);
}

/* Accesses. */

static int sim_region_read(void *opaque, unsigned index, uint64_t offset, void *buffer, size_t count)
{
    struct host *host = opaque;

    if (index == VD_REGION_CONFIG)
        sim_function_config_read(host->function, (unsigned)offset, buffer, count);
    else if (index == VD_REGION_ROM)
        sim_function_rom_read(host->function, offset, buffer, count);
    else
        sim_function_bar_read(host->function, index, offset, buffer, count);
    return 0;
}

static int sim_region_write(void *opaque, unsigned index, uint64_t offset, const void *buffer, size_t count)
{
    struct host *host = opaque;

    if (index == VD_REGION_ROM)
        return -EIO;
    if (index == VD_REGION_CONFIG)
        sim_function_config_write(host->function, (unsigned)offset, buffer, count);
    else
        sim_function_bar_write(host->function, index, offset, buffer, count);
    return 0;
}

static int sim_region_fd(void *opaque, unsigned index, uint64_t *offset)
{
    struct host *host = opaque;

    *offset = 0;
    return sim_function_info(host->function)->bars[index].fd;
}

static int sim_irq_enable(void *opaque, unsigned index, uint32_t count)
{
    static const enum sim_irq_kind kinds[] = {
        [VD_IRQ_INTX] = SIM_IRQ_INTX, [VD_IRQ_MSI] = SIM_IRQ_MSI, [VD_IRQ_MSIX] = SIM_IRQ_MSIX};
    struct host *host = opaque;

    sim_function_irq_enable(host->function, kinds[index], count);
    return 0;
}

static int sim_reset(void *opaque)
{
    struct host *host = opaque;

    sim_function_reset(host->function);
    return 0;
}

/* DMA. */

static void map_one(struct sim_dart *dart, struct vd_host_map *entry)
{
    struct sim_dart_segment segments[MAX_SEGMENTS];
    struct vd_remote remote;
    struct sim_dart_map map = {.host = entry->host,
                               .remote_address = entry->remote_address,
                               .size = entry->size,
                               .access = entry->access,
                               .iova = entry->iova,
                               .segments = segments,
                               .max_segments = entry->max_segments};

    if (map.max_segments > MAX_SEGMENTS)
        map.max_segments = MAX_SEGMENTS;
    if (entry->remote) {
        remote = (struct vd_remote){entry->remote->read, entry->remote->write, entry->remote->opaque};
        map.remote = &remote; /* copied by the DART */
    }
    entry->status = sim_dart_map(dart, &map);
    if (entry->status)
        return;
    entry->token = map.mapping;
    entry->nr_segments = map.nr_segments;
    for (uint32_t i = 0; i < map.nr_segments; i++)
        entry->segments[i] = (struct vd_dma_segment){{segments[i].iova}, segments[i].size};
}

static void sim_dma_map(void *opaque, struct vd_host_map *entries, size_t count)
{
    struct host *host = opaque;

    for (size_t i = 0; i < count; i++)
        map_one(sim_machine_dart(host->machine), &entries[i]);
}

static void sim_dma_unmap(void *opaque, void *const *tokens, size_t count)
{
    struct host *host = opaque;

    for (size_t i = 0; i < count; i++)
        sim_dart_unmap(sim_machine_dart(host->machine), tokens[i]);
}

static bool sim_dispatch(void *opaque, bool will_block)
{
    struct host *host = opaque;

    return sim_function_dispatch(host->function, will_block);
}

static uint64_t sim_faults(void *opaque)
{
    struct host *host = opaque;

    return sim_dart_faults(sim_machine_dart(host->machine));
}

const struct vd_backend_ops vd_backend_sim = {
    .name = "sim",
    .open = sim_open,
    .close = sim_close,
    .region_read = sim_region_read,
    .region_write = sim_region_write,
    .region_fd = sim_region_fd,
    .irq_enable = sim_irq_enable,
    .reset = sim_reset,
    .dma_map = sim_dma_map,
    .dma_unmap = sim_dma_unmap,
    .dispatch = sim_dispatch,
    .faults = sim_faults,
};
