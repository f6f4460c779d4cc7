/* SPDX-License-Identifier: BSD-3-Clause */
/* Clients, and devices, that do what a session must outlive: each test once stalled, killed or misled the server. */
#include <errno.h>
#include <stdatomic.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/device.h"
#include "peer.h"
#include "proto/vfio_user.h"
#include "sim/edu.h"

enum { TRIES = 1000000, LARGE = 0x100000, PAGE = 0x1000, COMMAND = 4, CONFIG = 7 };
static const uint64_t BASE = 0x10000000;

struct fixture {
    struct rig rig;
    struct peer peer;
    unsigned fds_before;
};

static int set_up_at(void **state, const char *address)
{
    struct fixture *f = calloc(1, sizeof(*f));
    int client;

    assert_non_null(f);
    f->fds_before = count_fds();
    rig_start(&f->rig, address, RIG_PAIR, &client);
    peer_init(&f->peer, client);
    assert_int_equal(peer_negotiate(&f->peer), 0);
    *state = f;
    return 0;
}

static int set_up(void **state)
{
    return set_up_at(state, "sim:edu");
}

static int set_up_large_granule(void **state)
{
    return set_up_at(state, "sim:edu,granule=64K");
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    peer_finish(&f->peer);
    rig_join(&f->rig);
    rig_stop(&f->rig);
    assert_int_equal(count_fds(), f->fds_before);
    free(f);
    return 0;
}

static void start_copy(struct fixture *f, uint64_t from, uint64_t to, uint64_t size)
{
    peer_write64(&f->peer, 0, EDU_SOURCE, from);
    peer_write64(&f->peer, 0, EDU_DESTINATION, to);
    peer_write64(&f->peer, 0, EDU_LENGTH, size);
    peer_write32(&f->peer, 0, EDU_CONTROL, EDU_START);
}

static uint32_t finish_copy(struct fixture *f)
{
    uint32_t status = 0;

    for (int i = 0; i < TRIES && !(status & (EDU_DONE | EDU_FAILED)); i++)
        status = peer_read32(&f->peer, 0, EDU_STATUS);
    return status;
}

static void expect_closed(struct fixture *f)
{
    struct peer_message m;

    do
        peer_receive_reply(&f->peer, &m);
    while (!m.closed);
    rig_join(&f->rig);
}

/* However many files a client announces, truncating the last one must not kill the process. */
static void a_file_that_cannot_be_guarded_is_refused(void **state)
{
    enum { FILES = 5000 };
    struct fixture *f = *state;
    int last = -1, ret = 0;
    uint64_t n = 0;

    assert_int_equal(vd_server_guard_memory(), 0);
    for (; n < FILES; n++) {
        int fd = peer_memfd(PAGE);

        ret = peer_dma_map(&f->peer, BASE + n * PAGE, PAGE, 3, fd, 0);
        if (ret) {
            close(fd);
            break;
        }
        if (last >= 0)
            close(last);
        last = fd;
    }
    assert_int_equal(ret, ENOSPC);
    assert_true(n >= 64); /* NUMA nodes and memory slots of an honest one */
    assert_int_equal(ftruncate(last, 0), 0);
    close(last);
    assert_int_equal(peer_enable_bus_master(&f->peer), 0);
    start_copy(f, BASE + (n - 1) * PAGE, BASE, PAGE);
    expect_closed(f);
    assert_true(rig_logged(&f->rig, "truncated"));
}

static uint64_t stopped_clock(void *opaque)
{
    (void)opaque;
    return 1000000000;
}

/* The clock stands still, so only the stop can end the wait for a client that takes no replies. */
static void stop_does_not_wait_for_a_client_that_does_not_read(void **state)
{
    struct vd_context_options options = {.size = sizeof(options), .clock = stopped_clock};
    struct vd_server_options serve = {.size = sizeof(serve)};
    struct vfio_user_region_access access = {vd_put64(0), vd_put32(EDU_MEMORY_BAR), vd_put32(LARGE)};
    struct vd_server_stats stats = {0};
    struct rig rig = {0};
    struct peer peer;
    int ends[2];

    (void)state;
    pthread_mutex_init(&rig.lock, NULL);
    assert_int_equal(vd_context_create(&options, &rig.context), 0);
    assert_int_equal(vd_device_open(rig.context, "sim:edu", &rig.device, NULL), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    serve.client_fd = ends[0];
    assert_int_equal(rig_serve(&rig, &serve, NULL), 0);
    rig_run(&rig);
    peer_init(&peer, ends[1]);
    assert_int_equal(peer_negotiate(&peer), 0);
    peer_send(&peer, VFIO_USER_REGION_READ, 0, &access, sizeof(access), NULL, 0);
    while (stats.messages < 2)
        vd_server_stats(rig.server, &stats);
    vd_server_stop(rig.server);
    rig_join(&rig);
    peer_finish(&peer);
    rig_stop(&rig);
}

static void refuse_one_copy(struct fixture *f, uint32_t number)
{
    struct vd_server_stats stats;

    f->peer.dma_errno = number;
    start_copy(f, BASE, BASE + PAGE, PAGE);
    assert_int_equal(finish_copy(f), EDU_FAILED);
    vd_server_stats(f->rig.server, &stats);
    assert_int_equal(stats.violations, 0);
}

/* ETIMEDOUT and EPROTO have a meaning of their own inside the server; from the client they are refusals like others. */
static void any_errno_in_a_dma_reply_only_fails_the_access(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(peer_dma_map(&f->peer, BASE, 2 * PAGE, 3, -1, 0), 0);
    assert_int_equal(peer_enable_bus_master(&f->peer), 0);
    refuse_one_copy(f, 110);
    refuse_one_copy(f, 71);
    refuse_one_copy(f, 5);
}

/* Only what was made for signalling: a write to a file may wait for as long as its owner likes. */
static void a_file_is_no_interrupt_descriptor(void **state)
{
    struct fixture *f = *state;
    struct vfio_user_irq_set set = {vd_put32(20), vd_put32(0x24), vd_put32(2), vd_put32(0), vd_put32(1)};
    int fd = peer_memfd(PAGE);

    assert_int_equal(peer_call(&f->peer, VFIO_USER_DEVICE_SET_IRQS, &set, sizeof(set), &fd, 1, NULL), EINVAL);
    close(fd);
}

/* QEMU grows the number of vectors by taking all away and routing more: what fired for the new one must arrive then. */
static void an_interrupt_that_waits_for_its_vector_arrives_when_all_are_routed_anew(void **state)
{
    struct fixture *f = *state;
    struct vfio_user_irq_set set = {vd_put32(20), vd_put32(0x24), vd_put32(2), vd_put32(0), vd_put32(1)};
    static const uint8_t disable[] = {B32(20), B32(0x21), B32(2), B32(0), B32(0)};
    struct peer *p = &f->peer;
    uint64_t value = 0;
    int fds[4];

    for (int i = 0; i < 4; i++)
        fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_int_equal(peer_call(p, VFIO_USER_DEVICE_SET_IRQS, &set, sizeof(set), fds, 1, NULL), 0);
    assert_int_equal(peer_enable_bus_master(p), 0);
    peer_write32(p, 0, EDU_RAISE, 3);
    for (int i = 0; i < TRIES && !value; i++)
        value = peer_read32(p, 0, EDU_RAISED);
    assert_int_equal(peer_call(p, VFIO_USER_DEVICE_SET_IRQS, disable, sizeof(disable), NULL, 0, NULL), 0);
    set.count = vd_put32(4);
    assert_int_equal(peer_call(p, VFIO_USER_DEVICE_SET_IRQS, &set, sizeof(set), fds, 4, NULL), 0);
    assert_int_equal(read(fds[3], &value, sizeof(value)), sizeof(value));
    assert_int_equal(value, 1);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
}

static void memory_maps_at_any_granule(void **state)
{
    const uint64_t granule = 0x10000;
    struct fixture *f = *state;

    for (uint64_t i = 0; i < 8; i++) {
        int fd = peer_memfd(granule * 2);

        assert_int_equal(peer_dma_map(&f->peer, BASE + i * granule, granule, 3, fd, granule), 0);
        close(fd);
    }
}

/* The memory check. */

static uint8_t *private_ram(struct fixture *f, uint64_t size, int *fd)
{
    uint8_t *ram;

    *fd = peer_memfd(size);
    ram = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, *fd, 0);
    assert_ptr_not_equal(ram, MAP_FAILED);
    f->peer.ram = ram;
    f->peer.ram_base = BASE;
    f->peer.ram_size = size;
    return ram;
}

/* QEMU answers ENODEV once the guest has switched bus mastering off again: that says nothing about the memory. */
static void a_check_cut_short_by_the_guest_is_made_at_the_next_switch(void **state)
{
    static const uint8_t off[] = {B64(COMMAND), B32(CONFIG), B32(2), B16(2)};
    struct fixture *f = *state;
    struct peer_message m;
    uint8_t *ram;
    uint16_t id;
    int fd;

    ram = private_ram(f, LARGE, &fd);
    memset(ram, 0x5a, LARGE);
    assert_int_equal(peer_dma_map(&f->peer, BASE, LARGE, 3, fd, 0), 0);
    close(fd);
    assert_int_equal(peer_enable_bus_master(&f->peer), 0);
    peer_receive(&f->peer, &m);
    assert_int_equal(m.command, VFIO_USER_DMA_READ);
    id = m.id;
    peer_send(&f->peer, VFIO_USER_REGION_WRITE, 0, off, sizeof(off), NULL, 0);
    peer_receive(&f->peer, &m);
    assert_int_equal(m.command, VFIO_USER_REGION_WRITE);
    {
        uint8_t refusal[] = {B16(id), B16(VFIO_USER_DMA_READ), B32(16), B32(0x21), B32(19)};

        assert_true(peer_send_raw(f->peer.fd, refusal, sizeof(refusal), NULL, 0));
    }
    assert_int_equal(peer_enable_bus_master(&f->peer), 0);
    expect_closed(f);
    assert_true(rig_logged(&f->rig, "session refused"));
    munmap(ram, LARGE);
}

/* Regions 0 to 15 are shared and proven; the last one is not shared. */
static void every_large_region_is_looked_at_in_the_end(void **state)
{
    enum { REGIONS = 17 };
    struct fixture *f = *state;
    uint8_t *ram;
    int fd;

    ram = private_ram(f, (uint64_t)REGIONS * LARGE, &fd);
    assert_ptr_equal(
        mmap(ram, (REGIONS - 1) * (size_t)LARGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0), ram);
    memset(ram, 0x5a, (size_t)REGIONS * LARGE);
    for (uint64_t i = 0; i < REGIONS; i++)
        assert_int_equal(peer_dma_map(&f->peer, BASE + i * LARGE, LARGE, 3, fd, i * LARGE), 0);
    close(fd);
    assert_int_equal(peer_enable_bus_master(&f->peer), 0);
    assert_int_equal(peer_read32(&f->peer, 0, EDU_ID), EDU_ID_VALUE);
    assert_int_equal(peer_enable_bus_master(&f->peer), 0);
    expect_closed(f);
    assert_true(rig_logged(&f->rig, "session refused"));
    munmap(ram, (size_t)REGIONS * LARGE);
}

/*
 * A device that asks the client for memory as it goes to sleep, and has nothing further to do. What the client sent right
 * behind its answer is then in the server's buffer already, and no poll will tell of it.
 */
struct sleeper {
    const struct vd_dma_remote *remote;
    bool ask;
    bool never_idle;           /* dispatch always says that it did something */
    _Atomic bool was_to_sleep; /* dispatch was told that the server is about to sleep */
    uint8_t config[256];
    uint8_t got[8];
};

static int sleeper_open(const struct vd_env *env, const char *address, const struct vd_host_events *events,
                        void **host, struct vd_host_info *info, struct vd_failure *failure)
{
    void *sleeper = NULL;

    (void)env;
    (void)events;
    (void)failure;
    sscanf(address, "sleeper:%p", &sleeper);
    info->regions[CONFIG] = (struct vd_region_info){.size = 256, .flags = VD_REGION_READ | VD_REGION_WRITE};
    info->dma = (struct vd_dma_info){.granule = PAGE,
                                     .limit_bytes = UINT64_MAX,
                                     .limit_mappings = UINT64_MAX,
                                     .last = {UINT64_MAX},
                                     .max_segments = 1,
                                     .indirect = true};
    info->poll_fd = -1;
    *host = sleeper;
    return 0;
}

static void sleeper_close(void *host)
{
    (void)host;
}

static int sleeper_read(void *host, unsigned index, uint64_t offset, void *buffer, size_t count)
{
    (void)index;
    memcpy(buffer, ((struct sleeper *)host)->config + offset, count);
    return 0;
}

static int sleeper_write(void *host, unsigned index, uint64_t offset, const void *buffer, size_t count)
{
    struct sleeper *sleeper = host;

    (void)index;
    memcpy(sleeper->config + offset, buffer, count);
    sleeper->ask = sleeper->config[64];
    return 0;
}

static void sleeper_map(void *host, struct vd_host_map *entries, size_t count)
{
    assert_int_equal(count, 1);
    ((struct sleeper *)host)->remote = entries[0].remote;
    entries[0].token = host;
}

static void sleeper_unmap(void *host, void *const *tokens, size_t count)
{
    (void)host;
    (void)tokens;
    (void)count;
}

static bool sleeper_dispatch(void *host, bool will_block)
{
    struct sleeper *sleeper = host;

    if (will_block)
        atomic_store(&sleeper->was_to_sleep, true);
    if (will_block && sleeper->ask) {
        sleeper->ask = false;
        assert_int_equal(
            sleeper->remote->read(sleeper->remote->opaque, BASE, sleeper->got, sizeof(sleeper->got)), 0);
    }
    return sleeper->never_idle;
}

static const struct vd_backend_ops sleeper_ops = {.name = "sleeper",
                                                  .open = sleeper_open,
                                                  .close = sleeper_close,
                                                  .region_read = sleeper_read,
                                                  .region_write = sleeper_write,
                                                  .dma_map = sleeper_map,
                                                  .dma_unmap = sleeper_unmap,
                                                  .dispatch = sleeper_dispatch};

/* Serves the sleeper to *peer, which has negotiated. */
static void serve_sleeper(struct rig *rig, struct sleeper *sleeper, struct peer *peer)
{
    struct vd_server_options serve = {.size = sizeof(serve), .no_spin = true};
    char address[64];
    int ends[2];

    snprintf(address, sizeof(address), "sleeper:%p", (void *)sleeper);
    pthread_mutex_init(&rig->lock, NULL);
    assert_int_equal(vd_context_create(NULL, &rig->context), 0);
    assert_int_equal(vd_device_create(rig->context, &sleeper_ops, address, NULL, &rig->device, NULL), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    serve.client_fd = ends[0];
    assert_int_equal(rig_serve(rig, &serve, NULL), 0);
    rig_run(rig);
    peer_init(peer, ends[1]);
    assert_int_equal(peer_negotiate(peer), 0);
}

/* Hosts tell some events only when asked before a sleep, that their device was pulled above all. */
static void a_device_that_is_never_idle_is_asked_for_events_all_the_same(void **state)
{
    struct sleeper sleeper = {.never_idle = true};
    struct rig rig = {0};
    struct peer peer;

    (void)state;
    serve_sleeper(&rig, &sleeper, &peer);
    for (unsigned i = 0; i < 20000 && !atomic_load(&sleeper.was_to_sleep); i++) {
        uint8_t byte;

        assert_int_equal(peer_read(&peer, CONFIG, 0, &byte, 1), 0);
    }
    assert_true(atomic_load(&sleeper.was_to_sleep));
    peer_finish(&peer);
    rig_join(&rig);
    rig_stop(&rig);
}

static void a_command_that_came_with_an_answer_is_not_slept_over(void **state)
{
    struct sleeper sleeper = {.ask = false};
    struct rig rig = {0};
    struct peer_message m;
    uint8_t one = 1, both[16 + 16 + 8 + 16 + 16] = {0};
    struct peer peer;

    (void)state;
    serve_sleeper(&rig, &sleeper, &peer);
    assert_int_equal(peer_dma_map(&peer, BASE, PAGE, 3, -1, 0), 0);
    assert_int_equal(peer_write(&peer, CONFIG, 64, &one, 1), 0);
    peer_receive(&peer, &m);
    assert_int_equal(m.command, VFIO_USER_DMA_READ);
    {
        uint8_t answer[] = {B16(m.id), B16(VFIO_USER_DMA_READ), B32(40), B32(1), B32(0), B64(BASE), B64(8)};
        static const uint8_t command[] = {
            B16(77), B16(VFIO_USER_REGION_READ), B32(32), B32(0), B32(0), B64(64), B32(CONFIG), B32(1)};

        memcpy(both, answer, sizeof(answer));
        memcpy(both + 40, command, sizeof(command));
    }
    assert_true(peer_send_raw(peer.fd, both, sizeof(both), NULL, 0));
    peer_receive(&peer, &m);
    assert_int_equal(m.id, 77);
    assert_int_equal(m.flags, VFIO_USER_TYPE_REPLY);
    peer_finish(&peer);
    rig_join(&rig);
    rig_stop(&rig);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_file_that_cannot_be_guarded_is_refused),
        cmocka_unit_test(stop_does_not_wait_for_a_client_that_does_not_read),
        TEST(any_errno_in_a_dma_reply_only_fails_the_access),
        TEST(a_file_is_no_interrupt_descriptor),
        TEST(an_interrupt_that_waits_for_its_vector_arrives_when_all_are_routed_anew),
        cmocka_unit_test_setup_teardown(memory_maps_at_any_granule, set_up_large_granule, tear_down),
        TEST(a_check_cut_short_by_the_guest_is_made_at_the_next_switch),
        TEST(every_large_region_is_looked_at_in_the_end),
        cmocka_unit_test(a_device_that_is_never_idle_is_asked_for_events_all_the_same),
        cmocka_unit_test(a_command_that_came_with_an_answer_is_not_slept_over),
    };

    return cmocka_run_group_tests_name("hostile", tests, NULL, NULL);
}
