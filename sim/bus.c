/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Machines, functions and the endpoints' ports; see bus.h for the host's side and endpoint.h for the device's.
 *
 * Invariants:
 * - `dma_on` is what COMMAND and the power state say; no DMA and no message passes while it is false. It goes off only
 *   after the endpoint finished what was in flight, so nothing lands in memory after the write that turned it off.
 * - Which kind of interrupt is delivered is the host's doing (sim_function_irq_enable()), as only the host programs real
 *   MSI hardware. The guest's MSI and MSI-X control bits, table and mask bits are kept and read back, and steer nothing.
 * - `intx_out` is the level the host was last told.
 * - Once `gone` is set, neither the endpoint's registers nor its dispatch are called; quiesce, reset and destroy are, as
 *   its helper threads must still be brought to an end.
 * Lock: none, the owner's thread only; sim_port_wake() from any thread.
 */
#include "sim/bus.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/le.h"
#include "base/range.h"
#include "sim/os.h"

enum { MSIX_ENTRY = 16, MSIX_ENTRY_CONTROL = 12, MSIX_MASKED = 1, MAX_MSIX = 2048 };

struct sim_port {
    struct sim_dart *dart;
    bool dma_on;
    enum sim_irq_kind irq_kind;
    unsigned irq_vectors;
    uint64_t resets;
    uint64_t gate_changes; /* times DMA was turned off: peeked memory is off limits then, too */
    struct sim_function *function;
};

struct sim_function {
    struct sim_port port;
    struct sim_machine *machine;
    struct sim_function *next;
    const struct sim_endpoint_ops *ops;
    void *endpoint;
    void *values; /* the parsed options, ours to release */
    struct sim_function_events events;
    struct sim_endpoint_info info;
    struct sim_config config;
    uint8_t *msix_table; /* msix_vectors entries, NULL without MSI-X */
    uint8_t *msix_pba;
    bool intx_line;   /* driven by the endpoint */
    bool intx_out;    /* as announced to the host */
    atomic_bool gone; /* pulled out; read by sim_port_wake() on any thread */
    struct sim_wake wake;
};

struct sim_machine {
    const struct vd_env *env;
    struct sim_dart *dart;
    struct sim_function *functions;
};

/* Machines. */

static void quiesce_all(void *opaque)
{
    struct sim_machine *machine = opaque;

    for (struct sim_function *f = machine->functions; f; f = f->next)
        f->ops->quiesce(f->endpoint);
}

int sim_machine_create(const struct vd_env *env, struct sim_dart_config *config, struct sim_machine **out,
                       struct vd_failure *failure)
{
    struct sim_machine *machine = vd_env_alloc(env, 1, sizeof(*machine));
    int err;

    *out = NULL;
    if (!machine)
        return vd_fail(failure, -ENOMEM, "out of memory for the simulated machine");
    machine->env = env;
    err = sim_dart_create(env, config, &machine->dart, failure);
    if (err) {
        vd_env_free(env, machine);
        return err;
    }
    sim_dart_set_quiesce(machine->dart, quiesce_all, machine);
    *out = machine;
    return 0;
}

static void free_values(const struct vd_env *env, const struct sim_endpoint_ops *ops, void *values)
{
    struct sim_option_set set = {ops->options, ops->nr_options, values};

    if (!values)
        return;
    sim_options_finish(env, &set, 1);
    vd_env_free(env, values);
}

static void destroy_function(struct sim_function *function)
{
    const struct vd_env *env = function->machine->env;

    function->ops->destroy(function->endpoint);
    free_values(env, function->ops, function->values);
    sim_wake_finish(&function->wake);
    vd_env_free(env, function->msix_table);
    vd_env_free(env, function->msix_pba);
    vd_env_free(env, function);
}

void sim_machine_destroy(struct sim_machine *machine)
{
    if (!machine)
        return;
    while (machine->functions) {
        struct sim_function *function = machine->functions;

        machine->functions = function->next;
        destroy_function(function);
    }
    sim_dart_destroy(machine->dart);
    vd_env_free(machine->env, machine);
}

struct sim_dart *sim_machine_dart(struct sim_machine *machine)
{
    return machine->dart;
}

/* Plugging in. */

static uint64_t pba_size(const struct sim_endpoint_info *info)
{
    return (info->msix_vectors + 63ull) / 64 * 8; /* PCI 6.8.2.10: whole 64-bit words */
}

static void reset_msix(struct sim_function *function)
{
    for (unsigned i = 0; i < function->info.msix_vectors; i++) {
        uint8_t *entry = function->msix_table + (size_t)i * MSIX_ENTRY;

        memset(entry, 0, MSIX_ENTRY);
        entry[MSIX_ENTRY_CONTROL] = MSIX_MASKED; /* PCI 6.8.2.9: masked after reset */
    }
    if (function->msix_pba)
        memset(function->msix_pba, 0, pba_size(&function->info));
}

static int alloc_msix(const struct vd_env *env, struct sim_function *function)
{
    const struct sim_endpoint_info *info = &function->info;

    if (!info->msix_vectors)
        return 0;
    assert(info->msix_vectors <= MAX_MSIX && info->msix_bar < SIM_BARS);
    assert(vd_span_fits(info->msix_table, (uint64_t)info->msix_vectors * MSIX_ENTRY,
                        info->bars[info->msix_bar].size));
    assert(vd_span_fits(info->msix_pba, pba_size(info), info->bars[info->msix_bar].size));
    function->msix_table = vd_env_alloc(env, info->msix_vectors, MSIX_ENTRY);
    function->msix_pba = vd_env_alloc(env, 1, pba_size(info));
    return function->msix_table && function->msix_pba ? 0 : -ENOMEM;
}

/* As hardware has them: what a host must keep from its guests comes first and last. */
static void add_extended(struct sim_config *config, const struct sim_endpoint_info *info)
{
    unsigned bar = 0;

    while (bar < SIM_BARS && !info->bars[bar].size)
        bar++;
    if (bar < SIM_BARS)
        sim_config_add_rebar(config, bar, info->bars[bar].size);
    sim_config_add_aer(config);
    sim_config_add_serial(config, (uint64_t)info->identity.vendor << 48 | info->identity.device);
    sim_config_add_ats(config);
}

static void build_config(struct sim_function *function)
{
    const struct sim_endpoint_info *info = &function->info;
    struct sim_identity identity = info->identity;
    struct sim_config *config = &function->config;

    identity.intx_pin = info->intx;
    sim_config_init(config, &identity);
    for (unsigned bar = 0; bar < SIM_BARS; bar++) {
        if (info->bars[bar].size)
            sim_config_bar(config, bar, info->bars[bar].size, info->bars[bar].is64,
                           info->bars[bar].prefetchable);
    }
    if (info->rom_size)
        sim_config_rom(config, info->rom_size);
    sim_config_add_pm(config);
    sim_config_add_pcie(config, info->flr);
    if (info->msi_vectors)
        sim_config_add_msi(config, info->msi_vectors);
    if (info->msix_vectors)
        sim_config_add_msix(config, info->msix_vectors, info->msix_bar, info->msix_table, info->msix_bar,
                            info->msix_pba);
    add_extended(config, info);
    sim_config_seal(config);
}

int sim_machine_plug(struct sim_machine *machine, const struct sim_endpoint_ops *ops, const char *address,
                     void *values, const struct sim_function_events *events, struct sim_function **out,
                     struct vd_failure *failure)
{
    const struct vd_env *env = machine->env;
    struct sim_function *function = vd_env_alloc(env, 1, sizeof(*function));
    int err;

    *out = NULL;
    if (!function)
        return vd_fail(failure, -ENOMEM, "%s: out of memory", address);
    function->machine = machine;
    function->ops = ops;
    function->events = *events;
    function->port = (struct sim_port){.dart = machine->dart, .function = function};
    err = sim_wake_init(env, &function->wake);
    if (err) {
        vd_fail(failure, err, "%s: cannot open a descriptor to wake with: %s", address, strerror(-err));
        goto err_free;
    }
    err = ops->create(env, &function->port, address, values, &function->info, &function->endpoint, failure);
    if (err)
        goto err_wake;
    err = alloc_msix(env, function);
    if (err) {
        vd_fail(failure, err, "%s: out of memory", address);
        goto err_endpoint;
    }
    build_config(function);
    reset_msix(function);
    function->values = values;
    function->next = machine->functions;
    machine->functions = function;
    *out = function;
    return 0;

err_endpoint:
    ops->destroy(function->endpoint);
    vd_env_free(env, function->msix_table);
    vd_env_free(env, function->msix_pba);
err_wake:
    sim_wake_finish(&function->wake);
err_free:
    vd_env_free(env, function);
    return err;
}

static bool is_gone(const struct sim_function *function)
{
    return atomic_load_explicit(&function->gone, memory_order_relaxed);
}

const struct sim_endpoint_info *sim_function_info(const struct sim_function *function)
{
    return &function->info;
}

/* Interrupts. */

static bool is_message(enum sim_irq_kind kind)
{
    return kind == SIM_IRQ_MSI || kind == SIM_IRQ_MSIX;
}

/*
 * STATUS bit 3 shows the line whatever COMMAND bit 10 says (PCI 6.2.3); a function that sends messages does not use the
 * line (PCIe 6.1.4).
 */
static void update_intx(struct sim_function *function)
{
    bool line = function->intx_line && !is_message(function->port.irq_kind);
    bool out =
        line && function->port.irq_kind == SIM_IRQ_INTX && !sim_config_intx_disabled(&function->config);

    sim_config_set_intx_status(&function->config, line);
    if (out == function->intx_out)
        return;
    function->intx_out = out;
    function->events.intx(function->events.opaque, out);
}

/* Sends what went pending while fewer vectors were enabled. */
static void send_pending(struct sim_function *function)
{
    unsigned count = function->port.irq_vectors;

    if (count > function->info.msix_vectors)
        count = function->info.msix_vectors;
    for (unsigned vector = 0; vector < count; vector++) {
        uint8_t *byte = &function->msix_pba[vector / 8];
        uint8_t bit = (uint8_t)(1u << vector % 8);

        if (!(*byte & bit))
            continue;
        *byte &= (uint8_t)~bit;
        function->events.msi(function->events.opaque, SIM_IRQ_MSIX, vector);
    }
}

void sim_function_irq_enable(struct sim_function *function, enum sim_irq_kind kind, unsigned count)
{
    struct sim_port *port = &function->port;

    if (is_gone(function) || (count == 0 && port->irq_kind != kind))
        return;
    port->irq_kind = count ? kind : SIM_IRQ_NONE;
    port->irq_vectors = count;
    if (port->irq_kind == SIM_IRQ_MSIX)
        send_pending(function);
    update_intx(function);
}

enum sim_irq_kind sim_port_irq_kind(const struct sim_port *port, unsigned *vectors)
{
    *vectors = port->irq_vectors;
    return port->irq_kind;
}

void sim_port_msi(struct sim_port *port, unsigned vector)
{
    struct sim_function *function = port->function;

    if (!is_message(port->irq_kind) || !port->dma_on)
        return;
    if (port->irq_kind == SIM_IRQ_MSI)
        vector %= port->irq_vectors;
    if (vector < port->irq_vectors)
        function->events.msi(function->events.opaque, port->irq_kind, vector);
    else if (vector < function->info.msix_vectors)
        function->msix_pba[vector / 8] |= (uint8_t)(1u << vector % 8);
}

void sim_port_intx(struct sim_port *port, bool asserted)
{
    port->function->intx_line = asserted;
    update_intx(port->function);
}

/* Reset, config space. */

static void update_dma(struct sim_function *function)
{
    bool on = sim_config_bus_master(&function->config) && sim_config_powered(&function->config);

    if (function->port.dma_on && !on) {
        function->ops->quiesce(function->endpoint);
        function->port.gate_changes++;
    }
    function->port.dma_on = on;
}

/* `restore` brings config space back to its reset state. */
static void reset_with(struct sim_function *function, void (*restore)(struct sim_config *config))
{
    function->ops->reset(function->endpoint);
    function->port.resets++;
    function->intx_line = false;
    restore(&function->config);
    reset_msix(function);
    update_dma(function);
    update_intx(function);
}

void sim_function_reset(struct sim_function *function)
{
    if (!is_gone(function))
        reset_with(function, sim_config_reset);
}

void sim_function_hot_reset(struct sim_function *function)
{
    if (!is_gone(function))
        reset_with(function, sim_config_hot_reset);
}

void sim_function_set_multifunction(struct sim_function *function)
{
    sim_config_set_multifunction(&function->config);
}

void sim_function_unplug(struct sim_function *function)
{
    if (is_gone(function))
        return;
    /* The power is gone: nothing stays under way, no line is driven. */
    reset_with(function, sim_config_hot_reset);
    atomic_store(&function->gone, true);
    sim_wake_take(&function->wake);
}

void sim_function_config_read(struct sim_function *function, unsigned offset, void *buffer, size_t count)
{
    if (is_gone(function))
        memset(buffer, 0xff, count);
    else
        sim_config_read(&function->config, offset, buffer, count);
}

void sim_function_config_write(struct sim_function *function, unsigned offset, const void *buffer,
                               size_t count)
{
    unsigned effects;

    if (is_gone(function))
        return;
    effects = sim_config_write(&function->config, offset, buffer, count);
    if (effects & SIM_CONFIG_FLR) {
        sim_function_reset(function);
        return;
    }
    if (effects & (SIM_CONFIG_COMMAND | SIM_CONFIG_POWER))
        update_dma(function);
    if (effects & SIM_CONFIG_COMMAND)
        update_intx(function);
}

/* BARs. */

/* Whether BAR accesses reach the function; when not, the root complex reads all ones and writes are lost. */
static bool answers(const struct sim_function *function)
{
    return !is_gone(function) && sim_config_powered(&function->config);
}

/* The bytes of the MSI-X table or PBA behind `offset`, with their number in *left; NULL: it is the endpoint's. */
static uint8_t *msix_bytes(const struct sim_function *function, unsigned bar, uint64_t offset, size_t *left,
                           bool *writable)
{
    const struct sim_endpoint_info *info = &function->info;
    uint64_t table = (uint64_t)info->msix_vectors * MSIX_ENTRY;
    uint64_t pba = pba_size(info);

    if (!info->msix_vectors || bar != info->msix_bar)
        return NULL;
    if (offset >= info->msix_table && offset - info->msix_table < table) {
        *left = table - (offset - info->msix_table);
        *writable = true;
        return function->msix_table + (offset - info->msix_table);
    }
    if (offset >= info->msix_pba && offset - info->msix_pba < pba) {
        *left = pba - (offset - info->msix_pba);
        *writable = false; /* PCI 6.8.2.10: software must not write it */
        return function->msix_pba + (offset - info->msix_pba);
    }
    return NULL;
}

/* The widest natural access at `offset` that is not longer than `count`. */
static unsigned natural_width(uint64_t offset, size_t count)
{
    unsigned width = 8;

    while (width > 1 && (width > count || !vd_is_aligned(offset, width)))
        width /= 2;
    return width;
}

static size_t read_piece(struct sim_function *function, unsigned bar, uint64_t offset, uint8_t *buffer,
                         size_t count)
{
    unsigned width = natural_width(offset, count);
    size_t left;
    bool writable;
    const uint8_t *msix = msix_bytes(function, bar, offset, &left, &writable);
    uint8_t value[8];

    if (msix) {
        count = count < left ? count : left;
        memcpy(buffer, msix, count);
        return count;
    }
    vd_store64(value, function->ops->read(function->endpoint, bar, offset, width));
    memcpy(buffer, value, width);
    return width;
}

static size_t write_piece(struct sim_function *function, unsigned bar, uint64_t offset, const uint8_t *buffer,
                          size_t count)
{
    unsigned width = natural_width(offset, count);
    size_t left;
    bool writable;
    uint8_t *msix = msix_bytes(function, bar, offset, &left, &writable);
    uint8_t value[8] = {0};

    if (msix) {
        count = count < left ? count : left;
        if (writable)
            memcpy(msix, buffer, count);
        return count;
    }
    memcpy(value, buffer, width);
    function->ops->write(function->endpoint, bar, offset, width, vd_load64(value));
    return width;
}

void sim_function_bar_read(struct sim_function *function, unsigned bar, uint64_t offset, void *buffer,
                           size_t count)
{
    uint8_t *out = buffer;

    assert(bar < SIM_BARS && vd_span_fits(offset, count, function->info.bars[bar].size));
    if (!answers(function)) {
        memset(buffer, 0xff, count);
        return;
    }
    for (size_t done = 0; done < count;)
        done += read_piece(function, bar, offset + done, out + done, count - done);
}

void sim_function_bar_write(struct sim_function *function, unsigned bar, uint64_t offset, const void *buffer,
                            size_t count)
{
    const uint8_t *in = buffer;

    assert(bar < SIM_BARS && vd_span_fits(offset, count, function->info.bars[bar].size));
    if (!answers(function))
        return;
    for (size_t done = 0; done < count;)
        done += write_piece(function, bar, offset + done, in + done, count - done);
}

void sim_function_rom_read(struct sim_function *function, uint64_t offset, void *buffer, size_t count)
{
    assert(vd_span_fits(offset, count, function->info.rom_size));
    if (is_gone(function))
        memset(buffer, 0xff, count);
    else
        function->ops->rom_read(function->endpoint, offset, buffer, count);
}

bool sim_function_dispatch(struct sim_function *function, bool will_block)
{
    sim_wake_take(&function->wake);
    return !is_gone(function) && function->ops->dispatch(function->endpoint, will_block);
}

int sim_function_poll_fd(const struct sim_function *function)
{
    return function->wake.read_fd;
}

/* DMA by the endpoint. */

static inline bool may_dma(struct sim_port *port, uint64_t address, uint64_t size, enum sim_access access)
{
    if (__builtin_expect(port->dma_on, true))
        return true;
    sim_dart_refuse(port->dart, address, size, access);
    return false;
}

int sim_port_dma_read(struct sim_port *port, uint64_t address, void *buffer, size_t size)
{
    return may_dma(port, address, size, SIM_READ) ? sim_dart_read(port->dart, address, buffer, size)
                                                  : -EFAULT;
}

int sim_port_dma_write(struct sim_port *port, uint64_t address, const void *buffer, size_t size)
{
    return may_dma(port, address, size, SIM_WRITE) ? sim_dart_write(port->dart, address, buffer, size)
                                                   : -EFAULT;
}

int sim_port_dma_iov(struct sim_port *port, uint64_t address, uint64_t size, enum sim_access access,
                     struct iovec *iov, unsigned *count, unsigned max)
{
    if (!may_dma(port, address, size, access))
        return -EFAULT;
    return sim_dart_iov(port->dart, address, size, access, iov, count, max);
}

void sim_port_dma_unpin(struct sim_port *port, uint64_t address, uint64_t size)
{
    sim_dart_unpin(port->dart, address, size);
}

void *sim_port_dma_peek(struct sim_port *port, uint64_t address, uint64_t size, enum sim_access access)
{
    return port->dma_on ? sim_dart_peek(port->dart, address, size, access) : NULL;
}

uint64_t sim_port_dma_generation(const struct sim_port *port)
{
    return sim_dart_generation(port->dart) + port->gate_changes;
}

bool sim_port_can_master(const struct sim_port *port)
{
    return port->dma_on;
}

uint64_t sim_port_resets(const struct sim_port *port)
{
    return port->resets;
}

void sim_port_wake(struct sim_port *port)
{
    if (!atomic_load(&port->function->gone))
        sim_wake_raise(&port->function->wake);
}

/* The endpoints there are. */

const struct sim_endpoint_ops *sim_endpoint_kind(size_t i)
{
    static const struct sim_endpoint_ops *const kinds[] = {&sim_nvme_ops, &sim_edu_ops};

    return i < sizeof(kinds) / sizeof(kinds[0]) ? kinds[i] : NULL;
}

const struct sim_endpoint_ops *sim_endpoint_find(const char *kind, size_t length)
{
    const struct sim_endpoint_ops *ops;

    for (size_t i = 0; (ops = sim_endpoint_kind(i)) != NULL; i++) {
        if (strlen(ops->kind) == length && memcmp(ops->kind, kind, length) == 0)
            return ops;
    }
    return NULL;
}
