/* SPDX-License-Identifier: BSD-3-Clause */
/* An endpoint's port, seen from an endpoint that holds memory: when it is told to let go, and what it may still reach. */
#include "harness.h"

#include <errno.h>

#include "base/le.h"
#include "sim/bus.h"

enum { PAGE = 4096, IOVA = 0x10000 };

/* An endpoint that keeps a range pinned until it is quiesced or reset. */
struct probe {
    const struct vd_env *env;
    struct sim_port *port;
    bool pinned;
    unsigned quiesces;
    unsigned widths; /* a bit for each width seen */
};

/* The "options" of a probe: where it tells the test its address. */
struct probe_values {
    struct probe **where;
};

static void let_go(struct probe *probe)
{
    if (probe->pinned)
        sim_port_dma_unpin(probe->port, IOVA, PAGE);
    probe->pinned = false;
}

static int probe_create(const struct vd_env *env, struct sim_port *port, const char *address,
                        const void *values, struct sim_endpoint_info *info, void **endpoint,
                        struct vd_failure *failure)
{
    struct probe *probe = vd_env_alloc(env, 1, sizeof(*probe));
    const struct probe_values *where = values;

    if (!probe)
        return -ENOMEM;
    probe->env = env;
    probe->port = port;
    *info = (struct sim_endpoint_info){.model = "probe", .intx = true, .flr = true};
    info->bars[0] = (struct sim_bar){.size = PAGE, .fd = -1};
    *endpoint = probe;
    *where->where = probe;
    return 0;
}

static void probe_destroy(void *endpoint)
{
    struct probe *probe = endpoint;

    let_go(probe);
    vd_env_free(probe->env, probe);
}

static uint64_t probe_read(void *endpoint, unsigned bar, uint64_t offset, unsigned width)
{
    struct probe *probe = endpoint;

    probe->widths |= width;
    assert_int_equal(offset % width, 0);
    return 0x8877665544332211;
}

static void probe_write(void *endpoint, unsigned bar, uint64_t offset, unsigned width, uint64_t value)
{
    (void)endpoint;
}

static void probe_reset(void *endpoint)
{
    let_go(endpoint);
}

static bool probe_dispatch(void *endpoint, bool will_block)
{
    (void)endpoint;
    return false;
}

static void probe_quiesce(void *endpoint)
{
    struct probe *probe = endpoint;

    probe->quiesces++;
    let_go(probe);
}

static const struct sim_endpoint_ops probe_ops = {.kind = "probe",
                                                  .create = probe_create,
                                                  .destroy = probe_destroy,
                                                  .read = probe_read,
                                                  .write = probe_write,
                                                  .reset = probe_reset,
                                                  .dispatch = probe_dispatch,
                                                  .quiesce = probe_quiesce};

struct fixture {
    struct harness h;
    struct sim_machine *machine;
    struct sim_function *function;
    struct sim_dart *dart;
    struct sim_dart_mapping *mapping;
    struct probe *probe;
    uint8_t memory[PAGE];
};

static void ignore_msi(void *opaque, enum sim_irq_kind kind, unsigned vector)
{
    fail_msg("the probe sends no messages");
}

static void ignore_intx(void *opaque, bool asserted)
{
    (void)opaque;
}

static void command(struct fixture *f, uint16_t value)
{
    uint8_t bytes[2];

    vd_store16(bytes, value);
    sim_function_config_write(f->function, 4, bytes, 2);
}

static struct fixture *start(void)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct sim_function_events events = {ignore_msi, ignore_intx, f};
    struct sim_dart_config config = {.mode = SIM_DART_CHOSEN};
    struct sim_dart_map map = {.size = PAGE, .iova = IOVA, .access = SIM_READ | SIM_WRITE};
    struct probe_values *values;

    assert_non_null(f);
    harness_init(&f->h);
    assert_int_equal(sim_machine_create(&f->h.env, &config, &f->machine, NULL), 0);
    values = vd_env_alloc(&f->h.env, 1, sizeof(*values));
    assert_non_null(values);
    values->where = &f->probe;
    assert_int_equal(
        sim_machine_plug(f->machine, &probe_ops, "sim:probe", values, &events, &f->function, NULL), 0);
    f->dart = sim_machine_dart(f->machine);
    map.host = f->memory;
    assert_int_equal(sim_dart_map(f->dart, &map), 0);
    f->mapping = map.mapping;
    command(f, 6);
    return f;
}

static void stop(struct fixture *f, uint64_t faults)
{
    assert_int_equal(sim_dart_faults(f->dart), faults);
    if (f->mapping)
        sim_dart_unmap(f->dart, f->mapping);
    sim_machine_destroy(f->machine);
    assert_int_equal(f->h.live, 0);
    assert_int_equal(f->h.lines, 0);
    free(f);
}

static void pin(struct fixture *f)
{
    struct iovec iov;
    unsigned count = 0;

    assert_int_equal(sim_port_dma_iov(f->probe->port, IOVA, PAGE, SIM_WRITE, &iov, &count, 1), 0);
    assert_ptr_equal(iov.iov_base, f->memory);
    f->probe->pinned = true;
}

static void unmap_quiesces_an_endpoint_that_holds_the_memory(void **state)
{
    struct fixture *f = start();

    pin(f);
    sim_dart_unmap(f->dart, f->mapping);
    f->mapping = NULL;
    assert_int_equal(f->probe->quiesces, 1);
    stop(f, 0);
}

static void bus_mastering_off_quiesces_once(void **state)
{
    struct fixture *f = start();

    pin(f);
    command(f, 2);
    assert_int_equal(f->probe->quiesces, 1);
    assert_false(f->probe->pinned);
    command(f, 2);
    command(f, 0);
    assert_int_equal(f->probe->quiesces, 1);
    stop(f, 0);
}

static void peeked_memory_is_off_limits_without_bus_mastering(void **state)
{
    struct fixture *f = start();
    struct sim_port *port = f->probe->port;
    uint64_t generation = sim_port_dma_generation(port);
    struct iovec iov;
    unsigned count = 0;

    assert_ptr_equal(sim_port_dma_peek(port, IOVA + 4, 8, SIM_READ), f->memory + 4);
    command(f, 2);
    assert_true(sim_port_dma_generation(port) != generation);
    assert_null(sim_port_dma_peek(port, IOVA + 4, 8, SIM_READ));
    assert_int_equal(sim_port_dma_iov(port, IOVA, 8, SIM_READ, &iov, &count, 1), -EFAULT);
    assert_int_equal(count, 0);
    stop(f, 1);
}

static void reset_lets_go_and_turns_bus_mastering_off(void **state)
{
    struct fixture *f = start();
    uint8_t byte = 0;

    pin(f);
    sim_function_reset(f->function);
    assert_false(f->probe->pinned);
    assert_int_equal(sim_port_resets(f->probe->port), 1);
    assert_int_equal(sim_port_dma_write(f->probe->port, IOVA, &byte, 1), -EFAULT);
    stop(f, 1);
}

static void accesses_arrive_in_natural_widths(void **state)
{
    struct fixture *f = start();
    uint8_t bytes[15];

    sim_function_bar_read(f->function, 0, 1, bytes, 15); /* 1 at 1, 2 at 2, 4 at 4, 8 at 8 */
    assert_int_equal(f->probe->widths, 1 | 2 | 4 | 8);
    assert_int_equal(bytes[0], 0x11);
    assert_int_equal(vd_load16(bytes + 1), 0x2211);
    assert_int_equal(vd_load32(bytes + 3), 0x44332211);
    assert_true(vd_load64(bytes + 7) == 0x8877665544332211);
    stop(f, 0);
}

static void function_without_messages_has_no_message_capabilities(void **state)
{
    struct fixture *f = start();
    uint8_t config[256];
    unsigned at, vectors;

    sim_function_config_read(f->function, 0, config, sizeof(config));
    for (at = config[0x34]; at; at = config[at + 1])
        assert_true(config[at] == 0x01 || config[at] == 0x10);
    sim_function_irq_enable(f->function, SIM_IRQ_INTX, 1);
    assert_int_equal(sim_port_irq_kind(f->probe->port, &vectors), SIM_IRQ_INTX);
    assert_int_equal(vectors, 1);
    stop(f, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unmap_quiesces_an_endpoint_that_holds_the_memory),
        cmocka_unit_test(bus_mastering_off_quiesces_once),
        cmocka_unit_test(peeked_memory_is_off_limits_without_bus_mastering),
        cmocka_unit_test(reset_lets_go_and_turns_bus_mastering_off),
        cmocka_unit_test(accesses_arrive_in_natural_widths),
        cmocka_unit_test(function_without_messages_has_no_message_capabilities),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
