/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device and its companion, each behind a server and a thread of its own, with raw-byte clients that share one guest
 * memory, as a VMM has them. The device copies memory through the mappings that the companion hands out.
 */
#include "peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <viaduct/companion.h>
#include <viaduct/dma.h>

#include "proto/apple_dma.h"
#include "proto/vfio_user.h"
#include "sim/edu.h"

enum {
    RAM_SIZE = 8 << 20,
    GRANULE = 16384,
    COMMAND = 0x1000, /* where the guest has its arrays */
    REQUESTS = 0x2000,
    RESPONSES = 0x10000,
    DATA = 1 << 20, /* and what it has copied */
    BUSY_ROUNDS = 300,
};

static const uint64_t RAM_BASE = 0x40000000;

struct duo {
    struct rig device, companion;
    struct peer driver, manager; /* the clients of the two */
    uint8_t *ram;
    int fd;
};

static int pair_server(struct rig *rig)
{
    struct vd_server_options options = {.size = sizeof(options)};
    struct vd_error error = {0};
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    options.client_fd = ends[0];
    if (rig_serve(rig, &options, &error))
        fail_msg("%s", error.message);
    return ends[1];
}

static void attach(struct duo *duo, struct peer *client, struct rig *rig)
{
    peer_init(client, pair_server(rig));
    rig_run(rig);
    assert_int_equal(peer_negotiate(client), 0);
    client->ram = duo->ram;
    client->ram_base = RAM_BASE;
    client->ram_size = RAM_SIZE;
    assert_int_equal(peer_dma_map(client, RAM_BASE, RAM_SIZE, 3, duo->fd, 0), 0);
}

static void make_companion(struct duo *duo)
{
    struct vd_companion_options options = {.size = sizeof(options), .guest_bdf = 0x100};
    struct vd_context_options context = {.size = sizeof(context)};
    struct vd_error error = {0};

    pthread_mutex_init(&duo->companion.lock, NULL);
    assert_int_equal(vd_context_create(&context, &duo->companion.context), 0);
    if (vd_companion_create(duo->companion.context, duo->device.device, &options, &duo->companion.device,
                            &error))
        fail_msg("%s", error.message);
}

static int setup(void **state)
{
    struct duo *duo = calloc(1, sizeof(*duo));

    assert_non_null(duo);
    *state = duo;
    duo->fd = peer_memfd(RAM_SIZE);
    duo->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, duo->fd, 0);
    assert_true(duo->ram != MAP_FAILED);
    for (unsigned i = 0; i < RAM_SIZE; i++)
        duo->ram[i] = (uint8_t)(i * 31 + (i >> 12));
    rig_open(&duo->device, "sim:edu,iommu=assigned,vectors=2");
    make_companion(duo);
    attach(duo, &duo->driver, &duo->device);
    attach(duo, &duo->manager, &duo->companion);
    return 0;
}

static uint64_t faults(const struct duo *duo)
{
    struct vd_device_stats stats;

    vd_device_stats(duo->device.device, &stats);
    return stats.dma_faults;
}

static uint64_t mappings(const struct duo *duo)
{
    struct vd_dma_usage usage;

    vd_dma_usage(duo->device.device, &usage);
    return usage.mappings;
}

static int teardown(void **state)
{
    struct duo *duo = *state;

    peer_finish(&duo->manager);
    peer_finish(&duo->driver);
    rig_stop(&duo->companion);
    rig_stop(&duo->device);
    munmap(duo->ram, RAM_SIZE);
    close(duo->fd);
    free(duo);
    return 0;
}

/* The guest's module. */

static void announce(struct duo *duo)
{
    peer_write32(&duo->manager, 0, VD_APPLE_DMA_REG_CONTROL, VD_APPLE_DMA_CONTROL_RESET);
    peer_write32(&duo->manager, 0, VD_APPLE_DMA_REG_DRIVER_FEATURES,
                 peer_read32(&duo->manager, 0, VD_APPLE_DMA_REG_FEATURES));
    peer_write32(&duo->manager, 0, VD_APPLE_DMA_REG_CMD_GPA_LO, (uint32_t)RAM_BASE + COMMAND);
    peer_write32(&duo->manager, 0, VD_APPLE_DMA_REG_CMD_GPA_HI, (uint32_t)(RAM_BASE >> 32));
}

static void fill_command(struct duo *duo, uint32_t type, uint32_t count)
{
    struct vd_apple_dma_wide_command command = {
        .base = {.type = vd_put32(type),
                 .count = vd_put32(count),
                 .requests = vd_put64(RAM_BASE + REQUESTS),
                 .responses = vd_put64(RAM_BASE + RESPONSES)},
        .segments = vd_put32(1),
    };

    memcpy(duo->ram + COMMAND, &command, sizeof(command));
}

static void ask_to_map(struct duo *duo, unsigned slot, uint64_t offset, uint64_t size)
{
    struct vd_apple_dma_wide_map map = {.gpa = vd_put64(RAM_BASE + offset), .len = vd_put64(size)};

    memcpy(duo->ram + REQUESTS + slot * sizeof(map), &map, sizeof(map));
}

struct mapped {
    struct vd_apple_dma_wide_mapped head;
    struct vd_apple_dma_segment segment;
};

static struct mapped answer(const struct duo *duo, unsigned slot)
{
    struct mapped mapped;

    memcpy(&mapped, duo->ram + RESPONSES + slot * sizeof(mapped), sizeof(mapped));
    return mapped;
}

static uint32_t ring(struct duo *duo)
{
    peer_write32(&duo->manager, 0, VD_APPLE_DMA_REG_DOORBELL, 1);
    return peer_read32(&duo->manager, 0, VD_APPLE_DMA_REG_STATUS);
}

static struct mapped map_one(struct duo *duo, uint64_t offset, uint64_t size)
{
    ask_to_map(duo, 0, offset, size);
    fill_command(duo, VD_APPLE_DMA_MAP, 1);
    assert_int_equal(ring(duo), VD_APPLE_DMA_OK);
    return answer(duo, 0);
}

static uint32_t unmap_one(struct duo *duo, struct mapped mapped)
{
    struct vd_apple_dma_unmap unmap = {.id = mapped.head.id};

    memcpy(duo->ram + REQUESTS, &unmap, sizeof(unmap));
    fill_command(duo, VD_APPLE_DMA_UNMAP, 1);
    return ring(duo);
}

/* Starts a copy and waits for its end: EDU_STATUS. */
static uint32_t copy(struct duo *duo, uint64_t from, uint64_t to, uint64_t size)
{
    uint32_t status;

    peer_write64(&duo->driver, 0, EDU_SOURCE, from);
    peer_write64(&duo->driver, 0, EDU_DESTINATION, to);
    peer_write64(&duo->driver, 0, EDU_LENGTH, size);
    peer_write32(&duo->driver, 0, EDU_CONTROL, EDU_START);
    do
        status = peer_read32(&duo->driver, 0, EDU_STATUS);
    while (status & EDU_BUSY);
    return status;
}

static void a_device_is_held_until_the_guest_has_the_module(void **state)
{
    struct duo *duo = *state;

    assert_int_equal(peer_read32(&duo->driver, 0, EDU_ID), UINT32_MAX);
    peer_enable_bus_master(&duo->driver);
    peer_write32(&duo->driver, 0, EDU_CONTROL, EDU_START);
    announce(duo);
    assert_int_equal(peer_read32(&duo->driver, 0, EDU_ID), EDU_ID_VALUE);
    assert_int_equal(peer_read32(&duo->driver, 0, EDU_ERRORS), 0);
    peer_write32(&duo->manager, 0, VD_APPLE_DMA_REG_CMD_GPA_LO, 0);
    assert_int_equal(peer_read32(&duo->driver, 0, EDU_ID), UINT32_MAX);
    assert_int_equal(faults(duo), 0);
}

static void the_device_copies_through_mappings_that_were_asked_for(void **state)
{
    struct duo *duo = *state;
    struct mapped from, to;

    announce(duo);
    peer_enable_bus_master(&duo->driver);
    from = map_one(duo, DATA + 100, 5000);
    to = map_one(duo, DATA + 4 * GRANULE + 7, 5000);
    assert_int_equal(vd_get64(from.segment.len), 5000);
    assert_memory_not_equal(duo->ram + DATA + 100, duo->ram + DATA + 4 * GRANULE + 7, 5000);
    copy(duo, vd_get64(from.segment.address), vd_get64(to.segment.address), 5000);
    assert_int_equal(peer_read32(&duo->driver, 0, EDU_ERRORS), 0);
    assert_memory_equal(duo->ram + DATA + 100, duo->ram + DATA + 4 * GRANULE + 7, 5000);
    assert_int_equal(unmap_one(duo, from), VD_APPLE_DMA_OK);
    assert_int_equal(unmap_one(duo, from), VD_APPLE_DMA_IO_ERROR);
    assert_int_equal(unmap_one(duo, to), VD_APPLE_DMA_OK);
    assert_int_equal(mappings(duo), 0);
    assert_int_equal(faults(duo), 0);
}

static void an_unmapped_buffer_is_out_of_reach(void **state)
{
    struct duo *duo = *state;
    struct mapped from, to;

    announce(duo);
    peer_enable_bus_master(&duo->driver);
    from = map_one(duo, DATA, GRANULE);
    to = map_one(duo, DATA + 4 * GRANULE, GRANULE);
    assert_int_equal(unmap_one(duo, to), VD_APPLE_DMA_OK);
    copy(duo, vd_get64(from.segment.address), vd_get64(to.segment.address), 100);
    assert_int_equal(peer_read32(&duo->driver, 0, EDU_ERRORS), 1);
    assert_int_equal(faults(duo), 1);
    assert_memory_not_equal(duo->ram + DATA, duo->ram + DATA + 4 * GRANULE, 100);
}

static void memory_that_the_vmm_takes_away_is_out_of_reach_at_once(void **state)
{
    struct duo *duo = *state;
    struct vd_companion_stats stats;

    announce(duo);
    map_one(duo, DATA, GRANULE);
    assert_int_equal(mappings(duo), 1);
    assert_int_equal(peer_dma_unmap(&duo->manager, RAM_BASE, RAM_SIZE), 0);
    assert_int_equal(mappings(duo), 0);
    assert_true(vd_companion_stats(duo->companion.device, &stats));
    assert_int_equal(stats.lost, 1);
    assert_int_equal(ring(duo), VD_APPLE_DMA_INVALID); /* the command page is gone as well */
}

static void a_companion_whose_client_leaves_stops_the_device_first(void **state)
{
    struct duo *duo = *state;
    struct mapped from, to;

    announce(duo);
    peer_enable_bus_master(&duo->driver);
    from = map_one(duo, DATA, 2 << 20);
    to = map_one(duo, DATA + (2 << 20), 2 << 20);
    peer_write64(&duo->driver, 0, EDU_SOURCE, vd_get64(from.segment.address));
    peer_write64(&duo->driver, 0, EDU_DESTINATION, vd_get64(to.segment.address));
    peer_write64(&duo->driver, 0, EDU_LENGTH, 2 << 20);
    peer_write32(&duo->driver, 0, EDU_CONTROL, EDU_START);
    close(duo->manager.fd);
    duo->manager.fd = -1;
    rig_join(&duo->companion);
    assert_int_equal(mappings(duo), 0);
    assert_int_equal(peer_read32(&duo->driver, 0, EDU_ID), UINT32_MAX);
    assert_int_equal(faults(duo), 0);
}

static void clients_that_die_in_mid_batch_leave_nothing(void **state)
{
    struct duo *duo = *state;
    struct {
        struct vfio_user_region_access access;
        vd_le32 value;
    } doorbell = {{vd_put64(VD_APPLE_DMA_REG_DOORBELL), vd_put32(0), vd_put32(4)}, vd_put32(1)};

    announce(duo);
    for (unsigned i = 0; i < 100; i++)
        ask_to_map(duo, i, DATA + (uint64_t)i * GRANULE, GRANULE);
    fill_command(duo, VD_APPLE_DMA_MAP, 100);
    for (unsigned i = 0; i < 20; i++)
        peer_send(&duo->manager, VFIO_USER_REGION_WRITE, VFIO_USER_NO_REPLY, &doorbell, sizeof(doorbell),
                  NULL, 0);
    close(duo->driver.fd);
    close(duo->manager.fd);
    duo->driver.fd = duo->manager.fd = -1;
    rig_join(&duo->companion);
    rig_join(&duo->device);
    assert_int_equal(mappings(duo), 0);
    assert_int_equal(faults(duo), 0);
}

/* The device's client never pauses. */
static void *keep_busy(void *opaque)
{
    struct duo *duo = opaque;

    for (unsigned i = 0; i < BUSY_ROUNDS; i++)
        peer_read32(&duo->driver, 0, EDU_ACCESSES);
    return NULL;
}

static void both_endpoints_work_at_the_same_time(void **state)
{
    struct duo *duo = *state;
    pthread_t thread;

    announce(duo);
    assert_int_equal(pthread_create(&thread, NULL, keep_busy, duo), 0);
    for (unsigned i = 0; i < BUSY_ROUNDS; i++) {
        struct mapped mapped = map_one(duo, DATA + (i % 64) * GRANULE, GRANULE);

        assert_int_equal(unmap_one(duo, mapped), VD_APPLE_DMA_OK);
    }
    pthread_join(thread, NULL);
    assert_int_equal(mappings(duo), 0);
    assert_int_equal(faults(duo), 0);
}

#define DUO(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DUO(a_device_is_held_until_the_guest_has_the_module),
        DUO(the_device_copies_through_mappings_that_were_asked_for),
        DUO(an_unmapped_buffer_is_out_of_reach),
        DUO(memory_that_the_vmm_takes_away_is_out_of_reach_at_once),
        DUO(a_companion_whose_client_leaves_stops_the_device_first),
        DUO(clients_that_die_in_mid_batch_leave_nothing),
        DUO(both_endpoints_work_at_the_same_time),
    };

    return cmocka_run_group_tests_name("companion", tests, NULL, NULL);
}
