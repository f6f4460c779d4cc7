/* SPDX-License-Identifier: BSD-3-Clause */
/* The simulated host behind core's seam: addresses and their refusals, what it declares, and each operation. */
#include "harness.h"

#include <errno.h>
#include <unistd.h>

#include "backend/sim/sim.h"
#include "base/le.h"
#include "sim/edu.h"

struct opened {
    struct harness h;
    struct vd_host_info info;
    void *host;
    unsigned irqs, last_index, last_vector;
    bool intx;
};

static const struct vd_backend_ops *const ops = &vd_backend_sim;

static void on_irq(void *opaque, unsigned index, uint32_t vector)
{
    struct opened *o = opaque;

    o->irqs++;
    o->last_index = index;
    o->last_vector = vector;
}

static void on_intx(void *opaque, bool asserted)
{
    struct opened *o = opaque;

    o->intx = asserted;
}

static void on_gone(void *opaque)
{
    (void)opaque;
    fail_msg("a simulated device does not go away");
}

static int open_at(struct opened *o, const char *address, struct vd_failure *failure)
{
    struct vd_host_events events = {.irq = on_irq, .intx = on_intx, .gone = on_gone, .opaque = o};

    return ops->open(&o->h.env, address, &events, &o->host, &o->info, failure);
}

static void start(struct opened *o, const char *address)
{
    struct vd_failure failure = {0};

    memset(o, 0, sizeof(*o));
    harness_init(&o->h);
    assert_int_equal(open_at(o, address, &failure), 0);
}

static void stop(struct opened *o, uint64_t faults)
{
    assert_int_equal(ops->faults(o->host), faults);
    ops->close(o->host);
    assert_int_equal(o->h.live, 0);
    assert_int_equal(o->h.lines, 0);
}

static void put(struct opened *o, unsigned index, uint64_t offset, uint64_t value, unsigned width)
{
    uint8_t bytes[8];

    vd_store64(bytes, value);
    assert_int_equal(ops->region_write(o->host, index, offset, bytes, width), 0);
}

static uint64_t get(struct opened *o, unsigned index, uint64_t offset, unsigned width)
{
    uint8_t bytes[8] = {0};

    assert_int_equal(ops->region_read(o->host, index, offset, bytes, width), 0);
    return vd_load64(bytes);
}

static void run(struct opened *o)
{
    for (unsigned i = 0; ops->dispatch(o->host, true); i++)
        assert_true(i < 100000);
}

static void refused(const char *address, const char *const *words)
{
    struct vd_failure failure = {0};
    struct opened o = {.host = NULL};

    harness_init(&o.h);
    assert_int_equal(open_at(&o, address, &failure), -EINVAL);
    assert_int_equal(failure.code, -EINVAL);
    assert_true(failure.usage);
    for (; *words; words++) {
        if (!strstr(failure.text, *words))
            fail_msg("'%s' does not mention '%s': %s", address, *words, failure.text);
    }
    assert_int_equal(o.h.live, 0);
}

#define REFUSED(address, ...) refused((address), (const char *const[]){(address), __VA_ARGS__, NULL})

static void bad_addresses_say_what_is_wrong_and_what_would_do(void **state)
{
    REFUSED("sim:floppy", "'floppy'", "sim:nvme", "sim:edu");
    REFUSED("sim:", "''", "sim:edu");
    REFUSED("apple:1", "sim:");
    REFUSED("sim:edu,", "key=value");
    REFUSED("sim:edu,,bar=1M", "empty");
    REFUSED("sim:edu,colour=red", "colour", "bar", "vectors", "aperture", "seed");
    REFUSED("sim:edu,bar=1000", "bar", "'1000'", "power of two");
    REFUSED("sim:edu,vectors=257", "vectors", "'257'");
    REFUSED("sim:edu,bar=1M,bar=2M", "bar", "twice");
    REFUSED("sim:edu,segments=4", "segments", "iommu=assigned");
    REFUSED("sim:edu,iommu=assigned,aperture=20K", "aperture", "granule");
}

static void declared_regions_are_those_of_the_device(void **state)
{
    struct opened o;
    const struct vd_region_info *r;

    start(&o, "sim:edu,bar=1M");
    r = o.info.regions;
    assert_int_equal(r[0].size, EDU_REGISTERS_BAR_SIZE);
    assert_int_equal(r[0].flags, VD_REGION_READ | VD_REGION_WRITE);
    assert_int_equal(r[1].size, 0);
    assert_int_equal(r[2].size, 1 << 20);
    assert_int_equal(r[2].flags, VD_REGION_READ | VD_REGION_WRITE | VD_REGION_MMAP | VD_REGION_PREFETCHABLE |
                                     VD_REGION_64BIT);
    assert_int_equal(r[2].nr_areas, 2);
    assert_int_equal(r[3].size + r[4].size + r[5].size, 0);
    assert_int_equal(r[VD_REGION_ROM].size, EDU_ROM_SIZE);
    assert_int_equal(r[VD_REGION_ROM].flags, VD_REGION_READ);
    assert_int_equal(r[VD_REGION_CONFIG].size, 4096);
    assert_int_equal(r[VD_REGION_VGA].size, 0);
    stop(&o, 0);
}

static void declared_identity_matches_config_space(void **state)
{
    struct opened o;

    start(&o, "sim:edu");
    assert_int_equal(o.info.vendor, EDU_VENDOR);
    assert_int_equal(o.info.device, EDU_DEVICE);
    assert_int_equal(o.info.class_code, EDU_CLASS);
    assert_int_equal(get(&o, VD_REGION_CONFIG, 0, 4), EDU_VENDOR | EDU_DEVICE << 16);
    assert_int_equal(get(&o, VD_REGION_CONFIG, 8, 4) >> 8, EDU_CLASS);
    assert_int_equal(get(&o, VD_REGION_CONFIG, 0x2c, 4),
                     (uint32_t)o.info.subvendor | (uint32_t)o.info.subdevice << 16);
    assert_true(o.info.can_reset && o.info.poll_fd >= 0);
    stop(&o, 0);
}

static void declared_interrupts_follow_the_options(void **state)
{
    struct opened o;

    start(&o, "sim:edu,vectors=5");
    assert_int_equal(o.info.irqs[VD_IRQ_INTX].count, 1);
    assert_int_equal(o.info.irqs[VD_IRQ_INTX].flags, VD_IRQ_EVENTFD | VD_IRQ_MASKABLE | VD_IRQ_AUTOMASKED);
    assert_int_equal(o.info.irqs[VD_IRQ_MSI].count, 8);
    assert_int_equal(o.info.irqs[VD_IRQ_MSIX].count, 5);
    assert_int_equal(o.info.irqs[VD_IRQ_ERR].count, 1);
    assert_int_equal(o.info.irqs[VD_IRQ_REQ].count, 1);
    stop(&o, 0);
    start(&o, "sim:edu,irq=intx");
    assert_int_equal(o.info.irqs[VD_IRQ_MSI].count + o.info.irqs[VD_IRQ_MSIX].count, 0);
    stop(&o, 0);
}

static void declared_dma_follows_the_options(void **state)
{
    struct opened o;

    start(&o, "sim:edu");
    assert_int_equal(o.info.dma.addressing, VD_DMA_CHOSEN);
    assert_int_equal(o.info.dma.granule, 4096);
    assert_true(o.info.dma.limit_bytes == UINT64_MAX && o.info.dma.limit_mappings == UINT64_MAX);
    assert_true(o.info.dma.first.value == 0 && o.info.dma.last.value == UINT64_MAX);
    assert_true(o.info.dma.indirect);
    stop(&o, 0);
    start(&o, "sim:edu,iommu=assigned,aperture=64M,mappings=512,segments=3,seed=7");
    assert_int_equal(o.info.dma.addressing, VD_DMA_ASSIGNED);
    assert_int_equal(o.info.dma.granule, 16384);
    assert_int_equal(o.info.dma.limit_bytes, 64 << 20);
    assert_int_equal(o.info.dma.limit_mappings, 512);
    assert_int_equal(o.info.dma.max_segments, 3);
    assert_true(o.info.dma.first.value > 1ull << 32);
    assert_true(o.info.dma.last.value - o.info.dma.first.value == (64 << 20) - 1);
    stop(&o, 0);
}

static void region_fd_is_given_for_what_can_be_mapped(void **state)
{
    struct opened o;
    uint64_t offset = 1;

    start(&o, "sim:edu");
    assert_true(ops->region_fd(o.host, 2, &offset) >= 0);
    assert_int_equal(offset, 0);
    stop(&o, 0);
}

static void rom_is_read_only(void **state)
{
    struct opened o;
    uint8_t byte = 0;

    start(&o, "sim:edu");
    assert_int_equal(get(&o, VD_REGION_ROM, 0, 2), 0xaa55);
    assert_int_equal(ops->region_write(o.host, VD_REGION_ROM, 0, &byte, 1), -EIO);
    stop(&o, 0);
}

static void each_kind_of_interrupt_arrives_at_its_index(void **state)
{
    struct opened o;

    start(&o, "sim:edu");
    put(&o, VD_REGION_CONFIG, 4, 6, 2);
    assert_int_equal(ops->irq_enable(o.host, VD_IRQ_MSIX, 8), 0);
    put(&o, 0, EDU_RAISE, 3, 4);
    run(&o);
    assert_true(o.irqs == 1 && o.last_index == VD_IRQ_MSIX && o.last_vector == 3);
    assert_int_equal(ops->irq_enable(o.host, VD_IRQ_MSIX, 0), 0);
    assert_int_equal(ops->irq_enable(o.host, VD_IRQ_MSI, 8), 0);
    put(&o, 0, EDU_RAISE, 2, 4);
    run(&o);
    assert_true(o.irqs == 2 && o.last_index == VD_IRQ_MSI && o.last_vector == 2);
    assert_int_equal(ops->irq_enable(o.host, VD_IRQ_MSI, 0), 0);
    assert_int_equal(ops->irq_enable(o.host, VD_IRQ_INTX, 1), 0);
    put(&o, 0, EDU_RAISE, 0, 4);
    run(&o);
    assert_true(o.irqs == 2 && o.intx);
    assert_int_equal(ops->reset(o.host), 0);
    assert_false(o.intx);
    stop(&o, 0);
}

static void copy(struct opened *o, uint64_t from, uint64_t to, uint64_t length)
{
    put(o, VD_REGION_CONFIG, 4, 6, 2);
    put(o, 0, EDU_SOURCE, from, 8);
    put(o, 0, EDU_DESTINATION, to, 8);
    put(o, 0, EDU_LENGTH, length, 8);
    put(o, 0, EDU_CONTROL, EDU_START, 4);
    run(o);
}

static void chosen_mappings_carry_a_copy_and_end_with_unmap(void **state)
{
    static uint8_t memory[8192];
    struct vd_dma_segment segment = {{0}, 0};
    struct vd_host_map map = {.host = memory,
                              .size = sizeof(memory),
                              .access = VD_ACCESS_READ | VD_ACCESS_WRITE,
                              .iova = 0x40000000,
                              .segments = &segment,
                              .max_segments = 1};
    struct opened o;

    start(&o, "sim:edu");
    ops->dma_map(o.host, &map, 1);
    assert_int_equal(map.status, 0);
    assert_true(map.nr_segments == 1 && segment.iova.value == 0x40000000 && segment.size == sizeof(memory));
    memcpy(memory, "payload", 8);
    copy(&o, 0x40000000, 0x40001000, 8);
    assert_string_equal((char *)memory + 4096, "payload");
    ops->dma_unmap(o.host, &map.token, 1);
    copy(&o, 0x40000000, 0x40001000, 8);
    assert_int_equal(get(&o, 0, EDU_ERROR, 4), EDU_ERROR_READ);
    stop(&o, 1);
}

enum { BATCH = 6, PIECE = 65536 };

static void assigned_batches_have_a_status_each(void **state)
{
    static uint8_t memory[PIECE] __attribute__((aligned(16384)));
    struct vd_dma_segment segments[BATCH][4];
    struct vd_host_map maps[BATCH];
    void *tokens[BATCH];
    struct opened o;

    start(&o, "sim:edu,iommu=assigned,aperture=256K,segments=4,seed=2");
    for (unsigned i = 0; i < BATCH; i++)
        maps[i] = (struct vd_host_map){.host = memory,
                                       .size = PIECE,
                                       .access = VD_ACCESS_READ,
                                       .segments = segments[i],
                                       .max_segments = 4};
    ops->dma_map(o.host, maps, BATCH);
    for (unsigned i = 0; i < BATCH; i++) {
        assert_int_equal(maps[i].status, i < 4 ? 0 : -ENOSPC);
        tokens[i] = maps[i].token;
    }
    ops->dma_unmap(o.host, tokens, 4);
    ops->dma_map(o.host, maps, 1);
    assert_int_equal(maps[0].status, 0);
    ops->dma_unmap(o.host, &maps[0].token, 1);
    stop(&o, 0);
}

static int remote_read(void *opaque, uint64_t address, void *buffer, size_t size)
{
    memcpy(buffer, (char *)opaque + (address - 0x7000), size);
    return 0;
}

static int remote_write(void *opaque, uint64_t address, const void *buffer, size_t size)
{
    memcpy((char *)opaque + (address - 0x7000), buffer, size);
    return 0;
}

static void memory_without_a_pointer_is_reached_through_its_owner(void **state)
{
    static char memory[4096] = "far away";
    struct vd_dma_remote remote = {remote_read, remote_write, memory};
    struct vd_dma_segment segment;
    struct vd_host_map map = {.remote = &remote,
                              .remote_address = 0x7000,
                              .size = 4096,
                              .access = VD_ACCESS_READ | VD_ACCESS_WRITE,
                              .iova = 0x7000,
                              .segments = &segment,
                              .max_segments = 1};
    struct opened o;

    start(&o, "sim:edu");
    ops->dma_map(o.host, &map, 1);
    assert_int_equal(map.status, 0);
    copy(&o, 0x7000, 0x7100, 9);
    assert_string_equal(memory + 0x100, "far away");
    ops->dma_unmap(o.host, &map.token, 1);
    stop(&o, 0);
}

static void kinds_list_their_own_options_and_the_iommus(void **state)
{
    const struct vd_device_kind *kind;
    bool found = false;

    for (size_t i = 0; (kind = vd_sim_device_kind(i)) != NULL; i++) {
        unsigned known = 0;

        for (size_t k = 0; k < kind->nr_options; k++) {
            const struct vd_device_option *option = &kind->options[k];

            assert_true(option->key && option->values && option->fallback && option->help);
            known += !strcmp(option->key, "aperture") || !strcmp(option->key, "seed");
            known += !strcmp(kind->address, "sim:edu") && !strcmp(option->key, "bar");
        }
        found |= !strcmp(kind->address, "sim:edu") && known == 3;
        assert_true(known >= 2);
        assert_ptr_equal(kind, vd_sim_device_kind(i));
    }
    assert_true(found);
}

static int open_and_close(struct harness *h)
{
    struct opened o = {.host = NULL};
    struct vd_failure failure = {0};
    int err;

    o.h = *h;
    o.h.env.opaque = h;
    err = open_at(&o, "sim:edu,bar=256K,iommu=assigned", &failure);
    if (err) {
        assert_int_equal(failure.code, err);
        assert_non_null(strstr(failure.text, "sim:edu"));
        assert_false(failure.usage);
    } else {
        ops->close(o.host);
    }
    return err;
}

static void shortage_while_opening_is_named_and_leaves_nothing_behind(void **state)
{
    struct harness h;

    harness_init(&h);
    /* host, values, machine, DART, function, wake, endpoint, memory file, MSI-X table, PBA */
    assert_int_equal(fail_each_step(&h, open_and_close), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_addresses_say_what_is_wrong_and_what_would_do),
        cmocka_unit_test(declared_regions_are_those_of_the_device),
        cmocka_unit_test(declared_identity_matches_config_space),
        cmocka_unit_test(declared_interrupts_follow_the_options),
        cmocka_unit_test(declared_dma_follows_the_options),
        cmocka_unit_test(region_fd_is_given_for_what_can_be_mapped),
        cmocka_unit_test(rom_is_read_only),
        cmocka_unit_test(each_kind_of_interrupt_arrives_at_its_index),
        cmocka_unit_test(chosen_mappings_carry_a_copy_and_end_with_unmap),
        cmocka_unit_test(assigned_batches_have_a_status_each),
        cmocka_unit_test(memory_without_a_pointer_is_reached_through_its_owner),
        cmocka_unit_test(kinds_list_their_own_options_and_the_iommus),
        cmocka_unit_test(shortage_while_opening_is_named_and_leaves_nothing_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
