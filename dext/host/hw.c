/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hardware hooks of dext/core over a simulated function: config space, BARs, interrupts, reset. dext/core/dext.h says
 * what each promises; memory.c has those about DMA. Nothing is decided here.
 *
 * A memory index counts the BARs that are there, the expansion ROM last. On a Mac it is not the BAR's number either, and
 * who takes one for the other is to be found out here.
 */
#include <string.h>

#include "base/le.h"
#include "base/range.h"
#include "client.h"
#include "machine.h"
#include "memory.h"

static int hw_open(void *hw)
{
    struct dextd_function *function = hw;

    if (function->gone)
        return VD_DEXT_NO_DEVICE;
    function->in_use = true;
    return VD_DEXT_SUCCESS;
}

static void hw_close(void *hw)
{
    ((struct dextd_function *)hw)->in_use = false;
}

static void hw_location(void *hw, uint8_t *bus, uint8_t *device, uint8_t *function)
{
    const struct dextd_address *address = &((const struct dextd_function *)hw)->address;

    *bus = address->bus;
    *device = address->device;
    *function = address->function;
}

static const char *hw_model(void *hw)
{
    return sim_function_info(((const struct dextd_function *)hw)->sim_function)->model;
}

static int check_config(const struct dextd_function *function, uint32_t offset, uint32_t width)
{
    if (function->gone)
        return VD_DEXT_NO_DEVICE;
    return width <= 4 && vd_span_fits(offset, width, SIM_CONFIG_SIZE) ? VD_DEXT_SUCCESS
                                                                      : VD_DEXT_BAD_ARGUMENT;
}

static int hw_config_read(void *hw, uint32_t offset, uint32_t width, uint32_t *value)
{
    struct dextd_function *function = hw;
    uint8_t bytes[4] = {0};
    int status = check_config(function, offset, width);

    if (status)
        return status;
    sim_function_config_read(function->sim_function, offset, bytes, width);
    *value = vd_load32(bytes);
    return VD_DEXT_SUCCESS;
}

static int hw_config_write(void *hw, uint32_t offset, uint32_t width, uint32_t value)
{
    struct dextd_function *function = hw;
    uint8_t bytes[4];
    int status = check_config(function, offset, width);

    if (status)
        return status;
    vd_store32(bytes, value);
    sim_function_config_write(function->sim_function, offset, bytes, width);
    return VD_DEXT_SUCCESS;
}

/* BARs. */

/* How many BARs there are before number `bar`. */
static uint32_t bars_before(const struct sim_endpoint_info *info, uint32_t bar)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < bar && i < SIM_BARS; i++)
        count += info->bars[i].size != 0;
    return count;
}

static uint32_t bar_type(const struct sim_bar *bar)
{
    return (bar->is64 ? VD_DEXT_BAR_64 : 0u) | (bar->prefetchable ? VD_DEXT_BAR_PREFETCHABLE : 0u);
}

static int hw_bar_info(void *hw, uint32_t bar, uint32_t *memory_index, uint64_t *size, uint32_t *type)
{
    const struct dextd_function *function = hw;
    const struct sim_endpoint_info *info = sim_function_info(function->sim_function);

    if (function->gone)
        return VD_DEXT_NO_DEVICE;
    if (bar > VD_DEXT_ROM)
        return VD_DEXT_BAD_ARGUMENT;
    *memory_index = bars_before(info, bar);
    *size = bar == VD_DEXT_ROM ? info->rom_size : info->bars[bar].size;
    *type = bar == VD_DEXT_ROM ? 0 : bar_type(&info->bars[bar]);
    return VD_DEXT_SUCCESS;
}

/* The BAR of a memory index, VD_DEXT_ROM for the one behind the last. */
static uint32_t bar_of(const struct sim_endpoint_info *info, uint32_t memory_index)
{
    for (uint32_t bar = 0; bar < SIM_BARS; bar++)
        if (info->bars[bar].size && bars_before(info, bar) == memory_index)
            return bar;
    return VD_DEXT_ROM;
}

/* Finds the BAR and checks that the access is one; the core did before, but a bus does not trust software. */
static int check_access(const struct dextd_function *function, uint32_t memory_index, uint64_t offset,
                        uint32_t width, uint32_t *bar)
{
    const struct sim_endpoint_info *info = sim_function_info(function->sim_function);
    uint64_t size;

    if (function->gone)
        return VD_DEXT_NO_DEVICE;
    *bar = bar_of(info, memory_index);
    size = *bar == VD_DEXT_ROM ? info->rom_size : info->bars[*bar].size;
    return width <= 8 && vd_span_fits(offset, width, size) ? VD_DEXT_SUCCESS : VD_DEXT_BAD_ARGUMENT;
}

static int hw_mmio_read(void *hw, uint32_t memory_index, uint64_t offset, uint32_t width, uint64_t *value)
{
    struct dextd_function *function = hw;
    uint8_t bytes[8] = {0};
    uint32_t bar;
    int status = check_access(function, memory_index, offset, width, &bar);

    if (status)
        return status;
    if (bar == VD_DEXT_ROM)
        sim_function_rom_read(function->sim_function, offset, bytes, width);
    else
        sim_function_bar_read(function->sim_function, bar, offset, bytes, width);
    *value = vd_load64(bytes);
    return VD_DEXT_SUCCESS;
}

static int hw_mmio_write(void *hw, uint32_t memory_index, uint64_t offset, uint32_t width, uint64_t value)
{
    struct dextd_function *function = hw;
    uint8_t bytes[8];
    uint32_t bar;
    int status = check_access(function, memory_index, offset, width, &bar);

    if (status)
        return status;
    if (bar == VD_DEXT_ROM)
        return VD_DEXT_UNSUPPORTED;
    vd_store64(bytes, value);
    sim_function_bar_write(function->sim_function, bar, offset, bytes, width);
    return VD_DEXT_SUCCESS;
}

/* Interrupts. */

static void on_message(void *opaque, enum sim_irq_kind kind, unsigned vector)
{
    struct dextd_function *function = opaque;

    (void)kind;
    dextd_tell_faults(function); /* whoever is interrupted because of one finds it counted */
    vd_dext_irq(function->dext, vector);
}

/* Never enabled, hence never driven. */
static void on_line(void *opaque, bool asserted)
{
    (void)opaque;
    (void)asserted;
}

struct sim_function_events dextd_hw_events(struct dextd_function *function)
{
    return (struct sim_function_events){.msi = on_message, .intx = on_line, .opaque = function};
}

static int hw_irq_setup(void *hw, uint32_t max, uint32_t *count)
{
    struct dextd_function *function = hw;
    const struct sim_endpoint_info *info = sim_function_info(function->sim_function);
    uint32_t offered = info->msix_vectors ? info->msix_vectors : info->msi_vectors;

    *count = 0;
    if (function->gone)
        return VD_DEXT_NO_DEVICE;
    if (!offered || !max)
        return VD_DEXT_SUCCESS;
    function->irq_kind = info->msix_vectors ? SIM_IRQ_MSIX : SIM_IRQ_MSI;
    function->irq_vectors = offered < max ? offered : max;
    *count = function->irq_vectors;
    sim_function_irq_enable(function->sim_function, function->irq_kind, function->irq_vectors);
    return VD_DEXT_SUCCESS;
}

static void hw_irq_teardown(void *hw)
{
    struct dextd_function *function = hw;

    sim_function_irq_enable(function->sim_function, function->irq_kind, 0);
    function->irq_vectors = 0;
}

/* Reset. */

/* Whether a reset of the whole device would hit someone else's function; then it is not offered. */
static bool siblings_in_use(const struct dextd_function *function)
{
    for (const struct dextd_function *f = function->machine->functions; f; f = f->next)
        if (f != function && !f->gone && f->in_use &&
            dextd_address_same_device(f->address, function->address))
            return true;
    return false;
}

/*
 * A function-level reset is the core's: it goes through config space. Going to D3hot and back resets no simulated
 * function, and they say so (No_Soft_Reset).
 */
static uint32_t hw_reset_kinds(void *hw)
{
    const struct dextd_function *function = hw;

    return (sim_function_info(function->sim_function)->flr ? VD_DEXT_RESET_FLR : 0u) |
           (siblings_in_use(function) ? 0u : VD_DEXT_RESET_HOT);
}

/*
 * The registers of a type 0 header that software set up: where and how wide (PCI 6.1). COMMAND is last: nothing may be
 * decoded or mastered before the rest is right.
 */
static const struct {
    uint8_t offset, width;
} header_registers[] = {{0x0c, 1}, {0x10, 4}, {0x14, 4}, {0x18, 4}, {0x1c, 4},
                        {0x20, 4}, {0x24, 4}, {0x30, 4}, {0x3c, 1}, {0x04, 2}};

/* A hot reset with config space as it was before, as the host's framework leaves it. */
static void hot_reset(struct sim_function *function)
{
    enum { NR = sizeof(header_registers) / sizeof(header_registers[0]) };
    uint8_t saved[NR][4];

    for (size_t i = 0; i < NR; i++)
        sim_function_config_read(function, header_registers[i].offset, saved[i], header_registers[i].width);
    sim_function_hot_reset(function);
    for (size_t i = 0; i < NR; i++)
        sim_function_config_write(function, header_registers[i].offset, saved[i], header_registers[i].width);
}

static int hw_reset(void *hw, enum vd_dext_reset_kind kind)
{
    struct dextd_function *function = hw;

    if (function->gone)
        return VD_DEXT_NO_DEVICE;
    if (kind != VD_DEXT_RESET_HOT)
        return VD_DEXT_UNSUPPORTED;
    hot_reset(function->sim_function);
    for (struct dextd_function *f = function->machine->functions; f; f = f->next)
        if (f != function && !f->gone && dextd_address_same_device(f->address, function->address))
            hot_reset(f->sim_function);
    return VD_DEXT_SUCCESS;
}

/* The way back up. */

static void hw_complete(void *hw, void *async, int status, const uint64_t *args, uint32_t nr_args)
{
    (void)hw;
    dextd_wait_complete(async, status, args, nr_args);
}

static void hw_terminate(void *hw)
{
    ((struct dextd_function *)hw)->ending = true;
}

const struct vd_dext_hw_ops dextd_hw_ops = {
    .open = hw_open,
    .close = hw_close,
    .location = hw_location,
    .model = hw_model,
    .config_read = hw_config_read,
    .config_write = hw_config_write,
    .bar_info = hw_bar_info,
    .mmio_read = hw_mmio_read,
    .mmio_write = hw_mmio_write,
    .irq_setup = hw_irq_setup,
    .irq_teardown = hw_irq_teardown,
    .reset_kinds = hw_reset_kinds,
    .reset = hw_reset,
    .dma_limits = dextd_dma_limits,
    .dma_prepare = dextd_dma_prepare,
    .dma_complete = dextd_dma_complete,
    .dma_probe = dextd_dma_probe,
    .buffer_create = dextd_buffer_create,
    .buffer_destroy = dextd_buffer_destroy,
    .faults = dextd_faults,
    .page_create = dextd_page_create,
    .page_destroy = dextd_page_destroy,
    .complete = hw_complete,
    .terminate = hw_terminate,
};
