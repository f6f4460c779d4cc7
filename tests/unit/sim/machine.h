/* SPDX-License-Identifier: BSD-3-Clause */
/* A machine with an edu in it, and short names for what tests do to it. */
#ifndef TESTS_SIM_MACHINE_H
#define TESTS_SIM_MACHINE_H

#include "harness.h"

#include "base/le.h"
#include "sim/bus.h"
#include "sim/edu.h"

enum { MEMORY_SIZE = 1 << 20, RAM = 0x100000 };

struct machine {
    struct harness h;
    struct sim_machine *machine;
    struct sim_function *function;
    struct sim_dart *dart;
    struct sim_dart_mapping *ram_mapping;
    uint8_t *ram; /* MEMORY_SIZE bytes, mapped at RAM by machine_start() */
    /* what the function told its host */
    enum sim_irq_kind last_kind;
    unsigned messages[EDU_MAX_VECTORS];
    unsigned nr_messages;
    bool intx;
    unsigned intx_changes;
};

static inline void machine_on_msi(void *opaque, enum sim_irq_kind kind, unsigned vector)
{
    struct machine *m = opaque;

    m->last_kind = kind;
    m->messages[vector]++;
    m->nr_messages++;
}

static inline void machine_on_intx(void *opaque, bool asserted)
{
    struct machine *m = opaque;

    assert_true(m->intx != asserted);
    m->intx = asserted;
    m->intx_changes++;
}

/* Creates a machine with an edu of these options; cleans up itself on failure. */
static inline int machine_create(struct machine *m, const char *text)
{
    const struct sim_endpoint_ops *ops = sim_endpoint_find("edu", 3);
    struct sim_function_events events = {machine_on_msi, machine_on_intx, m};
    struct sim_dart_config config = {.mode = SIM_DART_CHOSEN};
    struct sim_option_set set = {ops->options, ops->nr_options, NULL};
    int err = sim_machine_create(&m->h.env, &config, &m->machine, NULL);

    if (err)
        return err;
    set.values = vd_env_alloc(&m->h.env, 1, ops->values_size);
    err = set.values ? sim_options_parse(&m->h.env, "sim:edu", text, &set, 1, NULL) : -12;
    if (err)
        goto err_values;
    err = sim_machine_plug(m->machine, ops, "sim:edu", set.values, &events, &m->function, NULL);
    if (err)
        goto err_parsed;
    m->dart = sim_machine_dart(m->machine);
    return 0;

err_parsed:
    sim_options_finish(&m->h.env, &set, 1);
err_values:
    vd_env_free(&m->h.env, set.values);
    sim_machine_destroy(m->machine);
    return err;
}

static inline void reg_write(struct machine *m, unsigned reg, uint64_t value, unsigned width)
{
    uint8_t bytes[8];

    vd_store64(bytes, value);
    sim_function_bar_write(m->function, EDU_REGISTERS_BAR, reg, bytes, width);
}

static inline uint64_t reg_read(struct machine *m, unsigned reg, unsigned width)
{
    uint8_t bytes[8] = {0};

    sim_function_bar_read(m->function, EDU_REGISTERS_BAR, reg, bytes, width);
    return vd_load64(bytes);
}

static inline void config_write(struct machine *m, unsigned offset, uint16_t value)
{
    uint8_t bytes[2];

    vd_store16(bytes, value);
    sim_function_config_write(m->function, offset, bytes, 2);
}

static inline uint16_t config_read(struct machine *m, unsigned offset)
{
    uint8_t bytes[2];

    sim_function_config_read(m->function, offset, bytes, 2);
    return vd_load16(bytes);
}

/* The offset of a capability in config space. */
static inline unsigned find_cap(struct machine *m, uint8_t id)
{
    unsigned at = config_read(m, 0x34) & 0xff;

    while ((config_read(m, at) & 0xff) != id) {
        at = config_read(m, at) >> 8;
        assert_true(at);
    }
    return at;
}

static inline void bus_master(struct machine *m, bool on)
{
    config_write(m, 4, on ? 6 : 2);
}

/* With RAM mapped and bus mastering on. */
static inline struct machine *machine_start(const char *options)
{
    struct machine *m = calloc(1, sizeof(*m));
    struct sim_dart_map map = {.size = MEMORY_SIZE, .iova = RAM, .access = SIM_READ | SIM_WRITE};

    assert_non_null(m);
    harness_init(&m->h);
    assert_int_equal(machine_create(m, options), 0);
    m->ram = aligned_alloc(4096, MEMORY_SIZE);
    assert_non_null(m->ram);
    memset(m->ram, 0, MEMORY_SIZE);
    map.host = m->ram;
    assert_int_equal(sim_dart_map(m->dart, &map), 0);
    m->ram_mapping = map.mapping;
    bus_master(m, true);
    return m;
}

/* `faults` are those the test provoked. */
static inline void machine_stop(struct machine *m, uint64_t faults)
{
    assert_int_equal(sim_dart_faults(m->dart), faults);
    if (m->ram_mapping)
        sim_dart_unmap(m->dart, m->ram_mapping);
    sim_machine_destroy(m->machine);
    assert_int_equal(m->h.live, 0);
    assert_int_equal(m->h.lines, 0);
    free(m->ram);
    free(m);
}

static inline void run(struct machine *m)
{
    for (unsigned i = 0; sim_function_dispatch(m->function, true); i++)
        assert_true(i < 100000);
}

static inline void start_copy(struct machine *m, uint64_t from, uint64_t to, uint64_t length,
                              uint32_t control)
{
    reg_write(m, EDU_SOURCE, from, 8);
    reg_write(m, EDU_DESTINATION, to, 8);
    reg_write(m, EDU_LENGTH, length, 8);
    reg_write(m, EDU_CONTROL, EDU_START | control, 4);
}

static inline void expect_status(struct machine *m, uint32_t status, uint32_t error)
{
    assert_int_equal(reg_read(m, EDU_STATUS, 4), status);
    assert_int_equal(reg_read(m, EDU_ERROR, 4), error);
}

#endif
