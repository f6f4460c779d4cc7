/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The test endpoint; what it does is edu.h. A register write only records; irqs and the copy engine run from dispatch.
 *
 * Invariants: `copy.left` is nonzero exactly while EDU_BUSY is set. `copy.serial` changes with every start, abort and
 * reset: a bus access may re-enter us (remote memory), and whoever finds another serial afterwards drops what it was
 * doing. Nothing is pinned between dispatches, so quiesce has nothing to wait for. No lock: the owner's thread only.
 */
#include "sim/edu.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/le.h"
#include "base/range.h"
#include "sim/endpoint.h"
#include "sim/os.h"

enum { IRQ_OPTION_MSIX, IRQ_OPTION_MSI, IRQ_OPTION_INTX, MAX_MSI = 32 };

struct edu_options {
    uint64_t memory;
    uint64_t vectors;
    unsigned irq;
    bool rom;
    bool window;
    bool flr;
};

/* A copy under way; taken from the registers when it was started. */
struct edu_copy {
    uint64_t serial;
    uint64_t source, destination, left;
    uint32_t control;
};

/* What an FLR sets to zero. */
struct edu_registers {
    uint64_t scratch, source, destination, length, copied, copies;
    uint64_t accesses, window_accesses, memory_accesses;
    uint64_t raised, error_address;
    uint32_t status, cause, error, errors;
    uint64_t asked[EDU_MAX_VECTORS / 64]; /* vectors to interrupt on at the next dispatch */
    uint32_t new_cause;                   /* causes that come with them */
};

struct edu {
    const struct vd_env *env;
    struct sim_port *port;
    struct edu_registers r;
    struct edu_copy copy;
    uint64_t resets;
    uint8_t *memory;
    uint64_t memory_size, window_offset, window_size;
    int memory_fd;
    uint32_t vectors;
    uint8_t rom[EDU_ROM_SIZE];
    uint8_t bounce[EDU_CHUNK];
};

#define FIELD(name) offsetof(struct edu_options, name)

static const char *const irq_names[] = {"msix", "msi", "intx", NULL};

static const struct sim_option edu_options[] = {
    {"bar", SIM_OPTION_SIZE, .offset = FIELD(memory), .min = 256 * 1024, .max = 1ull << 36,
     .power_of_two = true, .values = "a power of two from 256K to 64G", .fallback = "16M",
     .help = "size of the memory BAR"},
    {"vectors", SIM_OPTION_UINT, .offset = FIELD(vectors), .min = 1, .max = EDU_MAX_VECTORS,
     .values = "a number from 1 to 256", .fallback = "8",
     .help = "interrupt vectors; MSI has at most 32, in powers of two"},
    {"irq", SIM_OPTION_ENUM, .offset = FIELD(irq), .names = irq_names, .values = "msix, msi, intx",
     .fallback = "msix", .help = "the best kind of interrupt that is offered, next to the lesser ones"},
    {"rom", SIM_OPTION_BOOL, .offset = FIELD(rom), .values = "on, off", .fallback = "on",
     .help = "whether there is an option ROM"},
    {"window", SIM_OPTION_BOOL, .offset = FIELD(window), .values = "on, off", .fallback = "on",
     .help = "whether the memory BAR has a page that must trap"},
    {"flr", SIM_OPTION_BOOL, .offset = FIELD(flr), .values = "on, off", .fallback = "on",
     .help = "whether a function-level reset is offered"},
};

/* Interrupts. */

static bool messages_enabled(const struct edu *edu)
{
    unsigned vectors;

    return sim_port_irq_kind(edu->port, &vectors) >= SIM_IRQ_MSI;
}

static void drive_line(struct edu *edu)
{
    sim_port_intx(edu->port, edu->r.cause != 0);
}

static void set_error(struct edu *edu, enum edu_error error)
{
    edu->r.error = error;
    edu->r.errors++;
}

/* Asks for an interrupt at the next dispatch. */
static void ask(struct edu *edu, uint32_t vector, enum edu_cause cause)
{
    if (vector >= edu->vectors) {
        set_error(edu, EDU_ERROR_VECTOR);
        return;
    }
    edu->r.asked[vector / 64] |= 1ull << vector % 64;
    edu->r.new_cause |= cause;
}

static void ask_all(struct edu *edu, uint32_t count)
{
    if (count > edu->vectors) {
        set_error(edu, EDU_ERROR_VECTOR);
        return;
    }
    for (uint32_t vector = 0; vector < count; vector++)
        ask(edu, vector, EDU_CAUSE_RAISED);
}

static void send_messages(struct edu *edu, unsigned word, uint64_t bits)
{
    while (bits) {
        unsigned bit = (unsigned)__builtin_ctzll(bits);

        bits &= bits - 1;
        edu->r.raised++;
        sim_port_msi(edu->port, word * 64 + bit);
    }
}

static bool raise_asked(struct edu *edu)
{
    uint32_t cause = edu->r.new_cause;

    if (!cause)
        return false;
    edu->r.new_cause = 0;
    if (!messages_enabled(edu)) {
        memset(edu->r.asked, 0, sizeof(edu->r.asked));
        edu->r.cause |= cause;
        edu->r.raised++;
        drive_line(edu);
        return true;
    }
    for (unsigned word = 0; word < EDU_MAX_VECTORS / 64; word++) {
        uint64_t bits = edu->r.asked[word];

        edu->r.asked[word] = 0;
        send_messages(edu, word, bits);
    }
    return true;
}

/* The copy engine. */

static void end_copy(struct edu *edu, enum edu_error error, uint64_t address)
{
    edu->copy.serial++;
    edu->copy.left = 0;
    edu->r.status = error ? EDU_FAILED : EDU_DONE;
    if (error) {
        set_error(edu, error);
        edu->r.error_address = address;
    } else {
        edu->r.copies++;
    }
    if (edu->copy.control & EDU_NOTIFY)
        ask(edu, edu->copy.control >> EDU_VECTOR_SHIFT, EDU_CAUSE_COPY);
}

/* True when one side of a copy can be addressed: inside BAR 2 but outside the window, or a range that does not wrap. */
static bool side_fits(const struct edu *edu, bool in_memory, uint64_t address, uint64_t length)
{
    struct vd_range window, range;

    if (!length)
        return true;
    if (!vd_range_make(address, length, &range))
        return false;
    if (!in_memory)
        return true;
    return range.last < edu->memory_size && !(vd_range_make(edu->window_offset, edu->window_size, &window) &&
                                              vd_range_overlaps(range, window));
}

static void start_copy(struct edu *edu, uint32_t control)
{
    const struct edu_registers *r = &edu->r;

    if (edu->copy.left) {
        set_error(edu, EDU_ERROR_BUSY);
        return;
    }
    edu->r.copied = 0;
    edu->copy.serial++;
    edu->copy.control = control;
    if (!side_fits(edu, control & EDU_FROM_MEMORY, r->source, r->length)) {
        end_copy(edu, EDU_ERROR_RANGE, r->source);
        return;
    }
    if (!side_fits(edu, control & EDU_TO_MEMORY, r->destination, r->length)) {
        end_copy(edu, EDU_ERROR_RANGE, r->destination);
        return;
    }
    edu->copy.source = r->source;
    edu->copy.destination = r->destination;
    edu->copy.left = r->length;
    edu->r.status = EDU_BUSY;
    if (!r->length)
        end_copy(edu, EDU_ERROR_NONE, 0);
}

static void write_control(struct edu *edu, uint32_t control)
{
    if (control & EDU_ABORT) {
        if (edu->copy.left)
            end_copy(edu, EDU_ERROR_ABORT, edu->copy.source);
    } else if (control & EDU_START) {
        start_copy(edu, control);
    }
}

static int fetch(struct edu *edu, const struct edu_copy *copy, size_t size)
{
    if (!(copy->control & EDU_FROM_MEMORY))
        return sim_port_dma_read(edu->port, copy->source, edu->bounce, size);
    memcpy(edu->bounce, edu->memory + copy->source, size);
    return 0;
}

static int store(struct edu *edu, const struct edu_copy *copy, size_t size)
{
    if (!(copy->control & EDU_TO_MEMORY))
        return sim_port_dma_write(edu->port, copy->destination, edu->bounce, size);
    memcpy(edu->memory + copy->destination, edu->bounce, size);
    return 0;
}

/* Copies one chunk. Both accesses may re-enter and change the copy; then this chunk no longer counts. */
static bool run_copy(struct edu *edu)
{
    struct edu_copy copy = edu->copy;
    size_t size = copy.left < EDU_CHUNK ? copy.left : EDU_CHUNK;
    int err;

    if (!size)
        return false;
    err = fetch(edu, &copy, size);
    if (edu->copy.serial != copy.serial)
        return true;
    if (err) {
        end_copy(edu, EDU_ERROR_READ, copy.source);
        return true;
    }
    err = store(edu, &copy, size);
    if (edu->copy.serial != copy.serial)
        return true;
    if (err) {
        end_copy(edu, EDU_ERROR_WRITE, copy.destination);
        return true;
    }
    edu->copy.source += size;
    edu->copy.destination += size;
    edu->copy.left -= size;
    edu->r.copied += size;
    if (!edu->copy.left)
        end_copy(edu, EDU_ERROR_NONE, 0);
    return true;
}

static bool edu_dispatch(void *endpoint, bool will_block)
{
    struct edu *edu = endpoint;
    bool busy = raise_asked(edu);

    (void)will_block; /* nothing comes by itself: whatever asks for work wakes us */
    return run_copy(edu) || busy;
}

static void edu_quiesce(void *endpoint)
{
    (void)endpoint;
}

/* Registers. */

static uint64_t pair(uint32_t low, uint32_t high)
{
    return low | (uint64_t)high << 32;
}

static uint32_t irq_kind(const struct edu *edu)
{
    unsigned vectors;

    return (uint32_t)sim_port_irq_kind(edu->port, &vectors);
}

/* The aligned 64 bits at `offset`. */
static uint64_t read_register(const struct edu *edu, uint64_t offset)
{
    const struct edu_registers *r = &edu->r;

    switch (offset) {
    case EDU_ID:
        return pair(EDU_ID_VALUE, edu->vectors);
    case EDU_SCRATCH:
        return r->scratch;
    case EDU_ACCESSES:
        return r->accesses;
    case EDU_WINDOW_ACCESSES:
        return r->window_accesses;
    case EDU_MEMORY_ACCESSES:
        return r->memory_accesses;
    case EDU_MEMORY_SIZE:
        return edu->memory_size;
    case EDU_WINDOW_OFFSET:
        return edu->window_offset;
    case EDU_WINDOW_SIZE:
        return edu->window_size;
    case EDU_SOURCE:
        return r->source;
    case EDU_DESTINATION:
        return r->destination;
    case EDU_LENGTH:
        return r->length;
    case EDU_COPIED:
        return r->copied;
    case EDU_CONTROL:
        return pair(0, r->status);
    case EDU_COPIES:
        return r->copies;
    case EDU_CAUSE:
        return pair(r->cause, irq_kind(edu));
    case EDU_RAISED:
        return r->raised;
    case EDU_ERROR:
        return pair(r->error, r->errors);
    case EDU_ERROR_ADDRESS:
        return r->error_address;
    case EDU_RESETS:
        return edu->resets;
    default:
        return 0;
    }
}

static void set_half(uint64_t *value, unsigned high, uint32_t half)
{
    unsigned shift = high ? 32 : 0;

    *value = (*value & ~(0xffffffffull << shift)) | (uint64_t)half << shift;
}

static void write_register(struct edu *edu, uint64_t offset, uint32_t value)
{
    struct edu_registers *r = &edu->r;
    unsigned high = offset >> 2 & 1;

    switch (offset) {
    case EDU_SCRATCH:
    case EDU_SCRATCH + 4:
        set_half(&r->scratch, high, value);
        break;
    case EDU_SOURCE:
    case EDU_SOURCE + 4:
        set_half(&r->source, high, value);
        break;
    case EDU_DESTINATION:
    case EDU_DESTINATION + 4:
        set_half(&r->destination, high, value);
        break;
    case EDU_LENGTH:
    case EDU_LENGTH + 4:
        set_half(&r->length, high, value);
        break;
    case EDU_CONTROL:
        write_control(edu, value);
        break;
    case EDU_RAISE:
        ask(edu, value, EDU_CAUSE_RAISED);
        break;
    case EDU_RAISE_ALL:
        ask_all(edu, value);
        break;
    case EDU_CAUSE:
        r->cause &= ~value;
        drive_line(edu);
        break;
    case EDU_ERROR:
        r->error = EDU_ERROR_NONE;
        break;
    default:
        break;
    }
    if (r->new_cause || edu->copy.left)
        sim_port_wake(edu->port);
}

static uint64_t read_registers(const struct edu *edu, uint64_t offset)
{
    return read_register(edu, offset & ~7ull) >> (offset & 7) * 8;
}

static void write_registers(struct edu *edu, uint64_t offset, unsigned width, uint64_t value)
{
    if (width < 4) {
        set_error(edu, EDU_ERROR_WIDTH);
        return;
    }
    write_register(edu, offset, (uint32_t)value);
    /* a 64-bit write of a pair of 32-bit command registers would start both: only the low one is meant */
    if (width == 8 && offset != EDU_RAISE)
        write_register(edu, offset + 4, (uint32_t)(value >> 32));
}

static bool in_window(const struct edu *edu, unsigned bar, uint64_t offset)
{
    return bar == EDU_MEMORY_BAR && offset >= edu->window_offset &&
           offset - edu->window_offset < edu->window_size;
}

static uint64_t edu_read(void *endpoint, unsigned bar, uint64_t offset, unsigned width)
{
    struct edu *edu = endpoint;
    uint8_t value[8] = {0};

    if (bar == EDU_REGISTERS_BAR) {
        edu->r.accesses++;
        return read_registers(edu, offset);
    }
    if (in_window(edu, bar, offset)) {
        edu->r.window_accesses++;
        return read_registers(edu, offset - edu->window_offset);
    }
    edu->r.memory_accesses++;
    memcpy(value, edu->memory + offset, width);
    return vd_load64(value);
}

static void edu_write(void *endpoint, unsigned bar, uint64_t offset, unsigned width, uint64_t value)
{
    struct edu *edu = endpoint;
    uint8_t bytes[8];

    if (bar == EDU_REGISTERS_BAR) {
        edu->r.accesses++;
        write_registers(edu, offset, width, value);
        return;
    }
    if (in_window(edu, bar, offset)) {
        edu->r.window_accesses++;
        write_registers(edu, offset - edu->window_offset, width, value);
        return;
    }
    edu->r.memory_accesses++;
    vd_store64(bytes, value);
    memcpy(edu->memory + offset, bytes, width);
}

static void edu_rom_read(void *endpoint, uint64_t offset, void *buffer, size_t count)
{
    const struct edu *edu = endpoint;

    memcpy(buffer, edu->rom + offset, count);
}

static void edu_reset(void *endpoint)
{
    struct edu *edu = endpoint;

    edu->copy.serial++;
    edu->copy.left = 0;
    memset(&edu->r, 0, sizeof(edu->r));
    edu->resets++;
    sim_memory_clear(edu->memory_fd, edu->memory, edu->memory_size);
}

/* Creation. */

/*
 * An expansion ROM image (PCI 6.3.1) that a BIOS may run: signature, length in 512-byte units, an entry point that
 * returns at once (0xcb, a far return), the PCI data structure (PCI 6.3.1.2), and a byte that makes the sum zero.
 */
static void build_rom(uint8_t *rom)
{
    enum { DATA = 0x1c, DATA_SIZE = 0x18, UNITS = EDU_ROM_SIZE / 512 };
    uint8_t sum = 0;

    rom[0] = 0x55;
    rom[1] = 0xaa;
    rom[2] = UNITS;
    rom[3] = 0xcb;
    vd_store16(&rom[0x18], DATA);
    vd_store32(&rom[DATA], 0x52494350); /* "PCIR" */
    vd_store16(&rom[DATA + 4], EDU_VENDOR);
    vd_store16(&rom[DATA + 6], EDU_DEVICE);
    vd_store16(&rom[DATA + 10], DATA_SIZE);
    rom[DATA + 15] = EDU_CLASS >> 16;
    vd_store16(&rom[DATA + 16], UNITS);
    vd_store16(&rom[DATA + 18], 1); /* revision of the code */
    rom[DATA + 21] = 0x80;          /* the last image */
    for (unsigned i = 0; i < EDU_ROM_SIZE; i++)
        sum = (uint8_t)(sum + rom[i]);
    rom[EDU_ROM_SIZE - 1] = (uint8_t)(0 - sum);
}

static uint32_t msi_vectors(uint32_t vectors)
{
    uint32_t count = 1;

    while (count < vectors && count < MAX_MSI)
        count *= 2;
    return count;
}

static void fill_info(const struct edu *edu, const struct edu_options *options,
                      struct sim_endpoint_info *info)
{
    uint64_t after = edu->window_offset + edu->window_size;

    *info = (struct sim_endpoint_info){.model = "Viaduct test device (edu)", .intx = true};
    info->identity = (struct sim_identity){.vendor = EDU_VENDOR,
                                           .device = EDU_DEVICE,
                                           .subvendor = EDU_VENDOR,
                                           .subdevice = EDU_DEVICE,
                                           .revision = 1,
                                           .class_code = EDU_CLASS};
    info->bars[EDU_REGISTERS_BAR] = (struct sim_bar){.size = EDU_REGISTERS_BAR_SIZE, .fd = -1};
    info->bars[EDU_MEMORY_BAR] = (struct sim_bar){
        .size = edu->memory_size,
        .is64 = true,
        .prefetchable = true,
        .fd = edu->memory_fd,
        .nr_areas = options->window ? 2 : 1,
        .areas = {{0, edu->window_offset}, {after, edu->memory_size - after}},
    };
    info->flr = options->flr;
    info->rom_size = options->rom ? EDU_ROM_SIZE : 0;
    if (options->irq == IRQ_OPTION_MSIX)
        info->msix_vectors = edu->vectors;
    if (options->irq != IRQ_OPTION_INTX)
        info->msi_vectors = msi_vectors(edu->vectors);
    info->msix_bar = EDU_REGISTERS_BAR;
    info->msix_table = EDU_MSIX_TABLE;
    info->msix_pba = EDU_MSIX_PBA;
}

static int open_memory(struct edu *edu, const struct edu_options *options)
{
    int fd = sim_memory_open(edu->env, options->memory);
    void *memory;

    if (fd < 0)
        return fd;
    memory = mmap(NULL, options->memory, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        close(fd);
        return -ENOMEM;
    }
    edu->memory = memory;
    edu->memory_fd = fd;
    edu->memory_size = options->memory;
    edu->window_size = options->window ? (uint64_t)sysconf(_SC_PAGESIZE) : 0;
    edu->window_offset = options->window ? options->memory / 2 : options->memory;
    return 0;
}

static int edu_create(const struct vd_env *env, struct sim_port *port, const char *address,
                      const void *values, struct sim_endpoint_info *info, void **endpoint,
                      struct vd_failure *failure)
{
    const struct edu_options *options = values;
    struct edu *edu = vd_env_alloc(env, 1, sizeof(*edu));
    int err;

    if (!edu)
        return vd_fail(failure, -ENOMEM, "%s: out of memory", address);
    edu->env = env;
    edu->port = port;
    edu->vectors = (uint32_t)options->vectors;
    err = open_memory(edu, options);
    if (err) {
        vd_env_free(env, edu);
        return vd_fail(failure, err, "%s: no memory file of %llu bytes for the memory BAR (option bar=): %s",
                       address, (unsigned long long)options->memory, strerror(-err));
    }
    build_rom(edu->rom);
    fill_info(edu, options, info);
    *endpoint = edu;
    return 0;
}

static void edu_destroy(void *endpoint)
{
    struct edu *edu = endpoint;

    munmap(edu->memory, edu->memory_size);
    close(edu->memory_fd);
    vd_env_free(edu->env, edu);
}

const struct sim_endpoint_ops sim_edu_ops = {
    .kind = "edu",
    .summary = "test device: copy engine, mappable memory, interrupts on demand",
    .options = edu_options,
    .nr_options = sizeof(edu_options) / sizeof(edu_options[0]),
    .values_size = sizeof(struct edu_options),
    .create = edu_create,
    .destroy = edu_destroy,
    .read = edu_read,
    .write = edu_write,
    .rom_read = edu_rom_read,
    .reset = edu_reset,
    .dispatch = edu_dispatch,
    .quiesce = edu_quiesce,
};
