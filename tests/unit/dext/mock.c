/* SPDX-License-Identifier: BSD-3-Clause */
/* Surroundings for the extension's core; see mock.h. */
#include "mock.h"

#include <stdlib.h>
#include <string.h>

#include "base/le.h"

enum { COMMAND_MASTER = 4, COMMAND_WRITABLE = 0x0547 };
#define LIVE 0x6c697665u
#define DEAD 0x64656164u

struct mock_mapping {
    unsigned state;
    uint64_t address, size;
    struct mock_mapping *next, **link;
};

struct block {
    size_t size;
    _Alignas(max_align_t) unsigned char bytes[];
};

static void blame(struct mock *m, const char *what)
{
    if (!m->violation)
        m->violation = what;
}

static void record(struct mock *m, enum mock_op op, uint64_t a, uint64_t b)
{
    unsigned at = m->nr_calls++;

    if (at < MOCK_CALLS)
        m->calls[at] = (struct mock_call){op, a, b};
}

/* Notes a step that may fail; what it answers instead of working, or 0. */
static int step(struct mock *m, enum mock_op op, uint64_t a, uint64_t b)
{
    record(m, op, a, b);
    m->steps++;
    if (m->fail_at && (m->steps == m->fail_at || (m->fail_lasts && m->steps > m->fail_at))) {
        m->hit = true;
        return m->fail_status ? m->fail_status : VD_DEXT_IO_ERROR;
    }
    return m->status[op];
}

/* The same for a step that reaches the device. */
static int touch(struct mock *m, enum mock_op op, uint64_t a, uint64_t b)
{
    if (!m->is_open)
        blame(m, "the device was touched while it was not open");
    if (m->gone)
        blame(m, "the device was touched after it was gone");
    return step(m, op, a, b);
}

static void *mock_alloc(void *opaque, size_t size)
{
    struct mock *m = opaque;
    struct block *block;

    if (step(m, MOCK_ALLOC, size, 0))
        return NULL;
    block = calloc(1, sizeof(*block) + size);
    if (!block)
        return NULL;
    block->size = size;
    m->live_blocks++;
    m->live_bytes += size;
    return block->bytes;
}

static void mock_free(void *opaque, void *memory, size_t size)
{
    struct mock *m = opaque;
    struct block *block = (struct block *)(void *)((char *)memory - offsetof(struct block, bytes));

    if (block->size != size)
        blame(m, "memory was given back with another size");
    m->live_blocks--;
    m->live_bytes -= block->size;
    free(block);
}

static void mock_log(void *opaque, enum vd_dext_log_level level, const char *text, uint64_t a, uint64_t b)
{
    struct mock *m = opaque;

    (void)a;
    (void)b;
    m->logged[level]++;
    m->last_log = text;
}

static void mock_sleep(void *opaque, unsigned microseconds)
{
    struct mock *m = opaque;

    m->slept_us += microseconds;
    if (m->slept_us > 3600ull * 1000 * 1000)
        blame(m, "slept for an hour in all");
}

struct vd_dext_os mock_os(struct mock *m)
{
    return (struct vd_dext_os){m, mock_alloc, mock_free, mock_log, mock_sleep};
}

static int mock_open(void *hw)
{
    struct mock *m = hw;
    int ret = step(m, MOCK_OPEN, 0, 0);

    if (m->is_open)
        blame(m, "opened twice");
    if (m->gone)
        blame(m, "opened after it was gone");
    if (ret)
        return ret;
    m->is_open = true;
    m->nr_opens++;
    return VD_DEXT_SUCCESS;
}

static void mock_close(void *hw)
{
    struct mock *m = hw;

    record(m, MOCK_CLOSE, 0, 0);
    if (!m->is_open)
        blame(m, "closed while it was not open");
    if (m->live_mappings || m->live_buffers)
        blame(m, "closed with DMA mappings left");
    if (m->live_pages || m->irqs_on)
        blame(m, "closed with interrupts left");
    m->is_open = false;
}

static void mock_location(void *hw, uint8_t *bus, uint8_t *device, uint8_t *function)
{
    (void)hw;
    *bus = 0x12;
    *device = 0x1f;
    *function = 7;
}

static const char *mock_model(void *hw)
{
    return ((struct mock *)hw)->model;
}

/* What a function-level reset does to the registers (PCIe 6.6.2), as far as the core could notice. */
static void reset_function(struct mock *m)
{
    vd_store16(m->config + 4, 0);
    memset(m->config + 0x10, 0, 24);
    vd_store32(m->config + 0x30, 0);
    vd_store16(m->config + MOCK_PCIE + 8, 0x2810);
    vd_store16(m->config + MOCK_PCIE + 0x28, 0);
    m->nr_resets++;
}

static bool is_natural(uint32_t offset, uint32_t width, uint32_t most)
{
    return (width == 1 || width == 2 || width == 4 || width == 8) && width <= most && offset % width == 0;
}

static int mock_config_read(void *hw, uint32_t offset, uint32_t width, uint32_t *value)
{
    struct mock *m = hw;
    uint8_t bytes[4] = {0};
    int ret;

    if (!is_natural(offset, width, 4) || offset > 4096 - width) {
        blame(m, "a config read that is not natural");
        return VD_DEXT_BAD_ARGUMENT;
    }
    memcpy(bytes, m->config + offset, width);
    if (m->pending && (offset == MOCK_PCIE + 10 || offset == MOCK_AF + 5)) {
        bytes[0] |= offset == MOCK_PCIE + 10 ? 0x20 : 1;
        m->pending -= m->pending != UINT32_MAX;
    }
    if (m->mute && m->nr_resets) {
        memset(bytes, 0xff, width);
        m->mute -= m->mute != UINT32_MAX;
    }
    if (offset == 0 && m->not_ready && m->nr_resets && !m->mute) {
        vd_store32(bytes, 0xffff0001);
        m->not_ready--;
    }
    ret = touch(m, MOCK_CONFIG_READ, offset, vd_load32(bytes));
    if (!ret)
        *value = vd_load32(bytes);
    return ret;
}

/* Registers that act when they are written. */
static void act(struct mock *m, uint32_t offset, uint16_t before)
{
    const uint16_t now = vd_load16(m->config + (offset & ~1u));

    if (offset == 4) {
        vd_store16(m->config + 4,
                   (uint16_t)((now & COMMAND_WRITABLE) | (m->master_sticks ? before & COMMAND_MASTER : 0)));
    } else if (offset == MOCK_PCIE + 8 && now & 0x8000) {
        reset_function(m);
    } else if (offset == MOCK_AF + 4 && now & 1) {
        m->config[MOCK_AF + 4] = 0;
        reset_function(m);
    } else if (offset == MOCK_PM + 4 && (before & 3) == 3 && (now & 3) == 0 && !(now & 8)) {
        reset_function(m);
    }
}

static int mock_config_write(void *hw, uint32_t offset, uint32_t width, uint32_t value)
{
    struct mock *m = hw;
    uint8_t bytes[4];
    uint16_t before;
    int ret;

    if (!is_natural(offset, width, 4) || offset > 4096 - width) {
        blame(m, "a config write that is not natural");
        return VD_DEXT_BAD_ARGUMENT;
    }
    ret = touch(m, MOCK_CONFIG_WRITE, offset, value);
    if (ret)
        return ret;
    if (width < 4 && value >> (8 * width))
        blame(m, "a config write wider than it says");
    before = vd_load16(m->config + (offset & ~1u));
    vd_store32(bytes, value);
    memcpy(m->config + offset, bytes, width);
    act(m, offset, before);
    return VD_DEXT_SUCCESS;
}

static int mock_bar_info(void *hw, uint32_t bar, uint32_t *memory_index, uint64_t *size, uint32_t *type)
{
    struct mock *m = hw;
    int ret = touch(m, MOCK_BAR_INFO, bar, 0);

    if (ret)
        return ret;
    *memory_index = m->bars[bar].memory_index;
    *size = m->bars[bar].size;
    *type = m->bars[bar].type;
    return VD_DEXT_SUCCESS;
}

/* The memory behind an access, which must lie in a BAR of that index; NULL, and blamed, when it does not. */
static uint8_t *find_register(struct mock *m, uint32_t memory_index, uint64_t offset, uint32_t width)
{
    for (unsigned i = 0; i <= VD_DEXT_BARS; i++)
        if (m->bars[i].size && m->bars[i].memory_index == memory_index && offset % width == 0 &&
            width <= m->bars[i].size && offset <= m->bars[i].size - width)
            return m->registers + offset % MOCK_REGISTERS;
    blame(m, "an access outside every BAR");
    return NULL;
}

static int mock_mmio_read(void *hw, uint32_t memory_index, uint64_t offset, uint32_t width, uint64_t *value)
{
    struct mock *m = hw;
    const uint8_t *at = find_register(m, memory_index, offset, width);
    uint8_t bytes[8];
    int ret = touch(m, MOCK_MMIO_READ, offset, 0);

    if (ret || !at)
        return ret;
    memset(bytes, 0xee, sizeof(bytes)); /* what hardware leaves in the upper half is anybody's guess */
    memcpy(bytes, at, width);
    *value = vd_load64(bytes);
    return VD_DEXT_SUCCESS;
}

static int mock_mmio_write(void *hw, uint32_t memory_index, uint64_t offset, uint32_t width, uint64_t value)
{
    struct mock *m = hw;
    uint8_t *at = find_register(m, memory_index, offset, width);
    uint8_t bytes[8];
    int ret = touch(m, MOCK_MMIO_WRITE, offset, value);

    if (ret || !at)
        return ret;
    if (memory_index == MOCK_ROM_INDEX)
        blame(m, "the ROM was written");
    if (width < 8 && value >> (8 * width))
        blame(m, "a register write wider than it says");
    vd_store64(bytes, value);
    memcpy(at, bytes, width);
    return VD_DEXT_SUCCESS;
}

static int mock_irq_setup(void *hw, uint32_t max, uint32_t *count)
{
    struct mock *m = hw;
    int ret = touch(m, MOCK_IRQ_SETUP, max, 0);

    if (m->irqs_on)
        blame(m, "interrupts were set up twice");
    if (ret)
        return ret;
    m->irqs_on = true;
    *count = m->vectors;
    for (uint32_t v = 0; m->irqs_at_setup && v < m->vectors; v++)
        vd_dext_irq(m->dext, v);
    return VD_DEXT_SUCCESS;
}

static void mock_irq_teardown(void *hw)
{
    struct mock *m = hw;

    record(m, MOCK_IRQ_TEARDOWN, 0, 0);
    if (!m->irqs_on)
        blame(m, "interrupts were torn down that were not set up");
    m->irqs_on = false;
}

static uint32_t mock_reset_kinds(void *hw)
{
    struct mock *m = hw;

    if (!m->is_open || m->gone)
        blame(m, "reset_kinds() while the device is not there");
    return m->reset_kinds;
}

static int mock_reset(void *hw, enum vd_dext_reset_kind kind)
{
    struct mock *m = hw;
    int ret = touch(m, MOCK_RESET, kind, 0);

    if (!(m->reset_kinds & kind))
        blame(m, "a reset of a kind that cannot be tried");
    if (ret)
        return ret;
    if (m->reset_breaks & kind)
        return VD_DEXT_IO_ERROR;
    if (!(m->reset_works & kind))
        return VD_DEXT_UNSUPPORTED;
    m->nr_resets++; /* the framework has put back what it cleared */
    return VD_DEXT_SUCCESS;
}

static void mock_dma_limits(void *hw, struct vd_dext_dma_limits *out)
{
    *out = ((struct mock *)hw)->limits;
}

static int mock_dma_prepare(void *hw, void *client, uint64_t address, uint64_t size, uint32_t access,
                            struct vd_dext_run *runs, uint32_t max_runs, uint32_t *nr, void **token)
{
    struct mock *m = hw;
    struct mock_mapping *mapping;
    int ret = touch(m, MOCK_DMA_PREPARE, address, size);
    uint64_t left = size;
    uint32_t count = m->runs < size ? m->runs : (uint32_t)size;

    if (access == 0 || access > 3 || size == 0 || address + (size - 1) < address)
        blame(m, "a mapping that should have been refused");
    m->last_client = client;
    if (ret)
        return ret;
    if (count > max_runs)
        return VD_DEXT_NOT_ALIGNED;
    mapping = calloc(1, sizeof(*mapping));
    if (!mapping)
        return VD_DEXT_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        runs[i] = (struct vd_dext_run){m->next_address, i + 1 < count ? size / count : left};
        left -= runs[i].size;
        m->next_address += runs[i].size + 0x8000;
    }
    runs[count - 1].size -= m->cut;
    *mapping = (struct mock_mapping){LIVE, address, size, m->mappings, &m->mappings};
    if (mapping->next)
        mapping->next->link = &mapping->next;
    m->mappings = mapping;
    m->live_mappings++;
    *nr = m->runs_told ? m->runs_told : count;
    *token = mapping;
    return VD_DEXT_SUCCESS;
}

static void mock_dma_complete(void *hw, void *token)
{
    struct mock *m = hw;
    struct mock_mapping *mapping = token;

    if (!m->is_open)
        blame(m, "a mapping was completed after close");
    if (mapping->state != LIVE) {
        blame(m, "a mapping was completed twice");
        return;
    }
    record(m, MOCK_DMA_COMPLETE, mapping->address, mapping->size);
    mapping->state = DEAD;
    *mapping->link = mapping->next;
    if (mapping->next)
        mapping->next->link = mapping->link;
    m->live_mappings--;
    free(mapping);
}

static int mock_dma_probe(void *hw, void *token, uint64_t offset, uint64_t *value)
{
    struct mock *m = hw;
    const struct mock_mapping *mapping = token;
    int ret = touch(m, MOCK_DMA_PROBE, offset, 0);

    if (mapping->state != LIVE || offset > mapping->size || mapping->size - offset < 8)
        blame(m, "a probe outside the mapping");
    if (!ret)
        *value = mapping->address + offset;
    return ret;
}

static int mock_buffer_create(void *hw, uint64_t size, uint64_t alignment, struct vd_dext_run *run,
                              void **token)
{
    struct mock *m = hw;
    int ret = touch(m, MOCK_BUFFER_CREATE, size, alignment);

    if (ret)
        return ret;
    *run = (struct vd_dext_run){m->next_address, size - m->cut};
    m->next_address += size;
    m->live_buffers++;
    *token = &m->live_buffers;
    return VD_DEXT_SUCCESS;
}

static void mock_buffer_destroy(void *hw, void *token)
{
    struct mock *m = hw;

    record(m, MOCK_BUFFER_DESTROY, 0, 0);
    if (!m->is_open || token != &m->live_buffers || m->live_buffers-- != 1)
        blame(m, "a buffer was destroyed that was not there");
}

static uint64_t mock_faults(void *hw)
{
    struct mock *m = hw;

    if (!m->is_open || m->gone)
        blame(m, "faults() while the device is not there");
    return m->nr_faults;
}

static int mock_page_create(void *hw, void **memory, void **token)
{
    struct mock *m = hw;
    int ret = touch(m, MOCK_PAGE_CREATE, 0, 0);

    if (ret)
        return ret;
    m->page = calloc(1, VD_DEXT_IRQ_PAGE_SIZE);
    if (!m->page)
        return VD_DEXT_NO_MEMORY;
    m->live_pages++;
    *memory = m->page;
    *token = m->page;
    return VD_DEXT_SUCCESS;
}

static void mock_page_destroy(void *hw, void *token)
{
    struct mock *m = hw;

    record(m, MOCK_PAGE_DESTROY, 0, 0);
    if (m->irqs_on)
        blame(m, "the interrupt page went while interrupts could still come");
    if (token != m->page || m->live_pages-- != 1)
        blame(m, "a page was destroyed that was not there");
    free(m->page);
    m->page = NULL;
}

static void mock_complete(void *hw, void *async, int status, const uint64_t *args, uint32_t nr_args)
{
    struct mock *m = hw;

    if (m->on_complete) {
        m->on_complete(m, async, status);
        return;
    }
    record(m, MOCK_ASYNC, (uintptr_t)async, (uint32_t)status);
    if (m->nr_completions < MOCK_COMPLETIONS)
        m->completions[m->nr_completions++] =
            (struct mock_completion){async, status, nr_args, nr_args ? args[0] : 0};
    else
        blame(m, "more completions than anybody asked for");
}

static void mock_terminate(void *hw)
{
    struct mock *m = hw;

    record(m, MOCK_TERMINATE, 0, 0);
    if (m->is_open)
        blame(m, "terminated while open");
}

#define MOCK_REQUIRED_OPS                                                                                    \
    .open = mock_open, .close = mock_close, .location = mock_location, .config_read = mock_config_read,      \
    .config_write = mock_config_write, .bar_info = mock_bar_info, .mmio_read = mock_mmio_read,               \
    .mmio_write = mock_mmio_write, .irq_setup = mock_irq_setup, .irq_teardown = mock_irq_teardown,           \
    .reset_kinds = mock_reset_kinds, .dma_limits = mock_dma_limits, .dma_prepare = mock_dma_prepare,         \
    .dma_complete = mock_dma_complete, .dma_probe = mock_dma_probe, .buffer_create = mock_buffer_create,     \
    .buffer_destroy = mock_buffer_destroy, .page_create = mock_page_create,                                  \
    .page_destroy = mock_page_destroy, .complete = mock_complete

const struct vd_dext_hw_ops mock_ops = {
    MOCK_REQUIRED_OPS,     .model = mock_model,         .reset = mock_reset,
    .faults = mock_faults, .terminate = mock_terminate,
};

const struct vd_dext_hw_ops mock_bare_ops = {MOCK_REQUIRED_OPS};

static void put_capability(struct mock *m, unsigned at, uint8_t id, uint8_t next)
{
    m->config[at] = id;
    m->config[at + 1] = next;
}

static void init_config(struct mock *m)
{
    vd_store32(m->config, 0x56781234);
    vd_store16(m->config + 6, 0x0010);
    vd_store32(m->config + 8, 0x01080209);
    for (unsigned i = 0; i < VD_DEXT_BARS; i++)
        vd_store32(m->config + 0x10 + 4 * i, 0xe0000000u + 0x100000 * i);
    vd_store32(m->config + 0x2c, 0x9abc4321);
    vd_store32(m->config + 0x30, 0xf0000001);
    m->config[0x34] = MOCK_PM;
    put_capability(m, MOCK_PM, 0x01, MOCK_MSI);
    put_capability(m, MOCK_MSI, 0x05, MOCK_PCIE);
    vd_store16(m->config + MOCK_MSI + 2, 3 << 1); /* 8 vectors */
    put_capability(m, MOCK_PCIE, 0x10, MOCK_MSIX);
    vd_store16(m->config + MOCK_PCIE + 2, 2);
    vd_store32(m->config + MOCK_PCIE + 4, 1u << 28);
    vd_store16(m->config + MOCK_PCIE + 8, 0x5936);
    vd_store16(m->config + MOCK_PCIE + 0x12, 4 << 4 | 3);
    vd_store16(m->config + MOCK_PCIE + 0x28, 0x0409);
    put_capability(m, MOCK_MSIX, 0x11, MOCK_AF);
    vd_store16(m->config + MOCK_MSIX + 2, 31);
    put_capability(m, MOCK_AF, 0x13, 0);
    m->config[MOCK_AF + 2] = 6;
    m->config[MOCK_AF + 3] = 3;
}

void mock_init(struct mock *m)
{
    memset(m, 0, sizeof(*m));
    init_config(m);
    m->bars[0].size = 0x10000;
    m->bars[0].memory_index = 0;
    m->bars[2].size = 0x100000;
    m->bars[2].type = VD_DEXT_BAR_64 | VD_DEXT_BAR_PREFETCHABLE;
    m->bars[2].memory_index = 1;
    m->bars[4].size = 0x100;
    m->bars[4].type = VD_DEXT_BAR_IO;
    m->bars[4].memory_index = 2;
    m->bars[VD_DEXT_ROM].size = 0x8000;
    m->bars[VD_DEXT_ROM].memory_index = MOCK_ROM_INDEX;
    m->limits = (struct vd_dext_dma_limits){
        .granule = 16384,
        .bytes = 1536ull << 20,
        .mappings = 65536,
        .first = 1ull << 32,
        .last = (1ull << 36) - 1,
        .max_segments = 16,
    };
    m->model = "Mock Device";
    m->vectors = 32;
    m->reset_kinds = VD_DEXT_RESET_FLR | VD_DEXT_RESET_HOT | VD_DEXT_RESET_POWER;
    m->reset_works = VD_DEXT_RESET_FLR | VD_DEXT_RESET_HOT;
    m->runs = 1;
    m->next_address = 1ull << 32;
}

void mock_pull(struct mock *m, struct vd_dext *dext)
{
    m->gone = true;
    vd_dext_gone(dext);
}

const char *mock_leftover(const struct mock *m)
{
    if (m->violation)
        return m->violation;
    if (m->is_open)
        return "the provider is still open";
    if (m->live_blocks || m->live_bytes)
        return "memory is left";
    if (m->live_mappings || m->live_buffers || m->live_pages || m->irqs_on)
        return "something of the hardware is left";
    return NULL;
}

void mock_forget(struct mock *m)
{
    m->nr_calls = 0;
    m->nr_completions = 0;
}

int mock_call_at(const struct mock *m, enum mock_op op, unsigned n)
{
    for (unsigned i = 0; i < m->nr_calls && i < MOCK_CALLS; i++)
        if (m->calls[i].op == op && n-- == 0)
            return (int)i;
    return -1;
}

int mock_write_at(const struct mock *m, uint32_t offset, unsigned n)
{
    for (unsigned i = 0; i < m->nr_calls && i < MOCK_CALLS; i++)
        if (m->calls[i].op == MOCK_CONFIG_WRITE && m->calls[i].a == offset && n-- == 0)
            return (int)i;
    return -1;
}

unsigned mock_count(const struct mock *m, enum mock_op op)
{
    unsigned count = 0;

    for (unsigned i = 0; i < m->nr_calls && i < MOCK_CALLS; i++)
        count += m->calls[i].op == op;
    return count;
}

uint16_t mock_command(const struct mock *m)
{
    return vd_load16(m->config + 4);
}
