/* SPDX-License-Identifier: BSD-3-Clause */
/* What a session does beyond single commands: order, interrupts, regions, clients that come, go and misbehave. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <poll.h>
#include <unistd.h>

#include <cmocka.h>

#include "peer.h"
#include "proto/vfio_user.h"
#include "sim/edu.h"

enum { HEADER = sizeof(struct vfio_user_header), TRIES = 1000000 };

struct fixture {
    struct rig rig;
    struct peer peer;
    unsigned fds_before;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    int client;

    assert_non_null(f);
    f->fds_before = count_fds();
    rig_start(&f->rig, "sim:edu", RIG_PAIR, &client);
    peer_init(&f->peer, client);
    assert_int_equal(peer_negotiate(&f->peer), 0);
    *state = f;
    return 0;
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

static void version_reply_names_our_limits(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct peer_message m;
    const char *text;
    int client;

    assert_non_null(f);
    rig_start(&f->rig, "sim:edu", RIG_PAIR, &client);
    peer_init(&f->peer, client);
    assert_int_equal(peer_negotiate_with(&f->peer, "{}", &m), 0);
    assert_int_equal(vd_load32(m.payload), 0); /* major 0, minor 0 */
    assert_int_equal(m.payload[m.size - 1], 0);
    text = (const char *)m.payload + 4;
    assert_non_null(strstr(text, "\"max_msg_fds\":16"));
    assert_non_null(strstr(text, "\"max_data_xfer_size\":1048576"));
    assert_null(strstr(text, "write_multiple")); /* not proposed */
    assert_null(strstr(text, "twin_socket"));
    peer_finish(&f->peer);
    rig_join(&f->rig);
    rig_stop(&f->rig);
    free(f);
}

static void device_info_counts_nine_regions_and_five_irqs(void **state)
{
    struct fixture *f = *state;
    static const uint8_t ask[] = {B32(16), B32(0), B32(0), B32(0)};
    struct peer_message m;

    assert_int_equal(peer_call(&f->peer, VFIO_USER_DEVICE_GET_INFO, ask, sizeof(ask), NULL, 0, &m), 0);
    assert_int_equal(vd_load32(m.payload), 16);
    assert_int_equal(vd_load32(m.payload + 4), VFIO_USER_DEVICE_FLAG_RESET | VFIO_USER_DEVICE_FLAG_PCI);
    assert_int_equal(vd_load32(m.payload + 8), 9);
    assert_int_equal(vd_load32(m.payload + 12), 5);
}

static void ask_region(struct peer *p, uint32_t argsz, uint32_t index, struct peer_message *m)
{
    struct vfio_user_region_info ask = {.argsz = vd_put32(argsz), .index = vd_put32(index)};

    peer_send(p, VFIO_USER_DEVICE_GET_REGION_INFO, 0, &ask, sizeof(ask), NULL, 0);
    peer_receive_reply(p, m);
    assert_int_equal(m->flags, VFIO_USER_TYPE_REPLY);
}

static void region_info_with_little_room_says_how_much_is_needed(void **state)
{
    struct fixture *f = *state;
    struct vfio_user_region_info info;
    struct peer_message m;

    ask_region(&f->peer, 32, EDU_MEMORY_BAR, &m);
    assert_int_equal(m.size, 32);
    assert_int_equal(m.nr_fds, 1);
    close(m.fds[0]);
    memcpy(&info, m.payload, sizeof(info));
    assert_true(vd_get32(info.argsz) > 32);
    assert_true(vd_get32(info.flags) & VFIO_USER_REGION_FLAG_CAPS);
    assert_true(vd_get32(info.flags) & VFIO_USER_REGION_FLAG_MMAP);
    assert_int_equal(vd_get32(info.cap_offset), 32);
}

/* The areas are memory, the hole between them is trapped: edu shows its registers there. */
static void sparse_areas_can_be_mapped_and_leave_the_window_out(void **state)
{
    struct fixture *f = *state;
    struct vfio_user_region_info info;
    struct vfio_user_sparse_mmap cap;
    struct vfio_user_sparse_area area;
    struct peer_message m;
    uint64_t window;
    uint8_t *memory;

    ask_region(&f->peer, 4096, EDU_MEMORY_BAR, &m);
    memcpy(&info, m.payload, sizeof(info));
    memcpy(&cap, m.payload + vd_get32(info.cap_offset), sizeof(cap));
    assert_int_equal(m.size, vd_get32(info.argsz));
    assert_int_equal(vd_get16(cap.id), 1);
    assert_int_equal(vd_get16(cap.version), 1);
    assert_int_equal(vd_get32(cap.next), 0);
    assert_int_equal(vd_get32(cap.nr_areas), 2);
    memcpy(&area, m.payload + vd_get32(info.cap_offset) + sizeof(cap), sizeof(area));
    assert_int_equal(m.nr_fds, 1);
    memory = mmap(NULL, vd_get64(area.size), PROT_READ | PROT_WRITE, MAP_SHARED, m.fds[0],
                  (off_t)(vd_get64(info.offset) + vd_get64(area.offset)));
    assert_ptr_not_equal(memory, MAP_FAILED);
    close(m.fds[0]);
    memory[5] = 0x5a;
    {
        uint8_t byte = 0;

        assert_int_equal(peer_read(&f->peer, EDU_MEMORY_BAR, vd_get64(area.offset) + 5, &byte, 1), 0);
        assert_int_equal(byte, 0x5a);
    }
    window = peer_read32(&f->peer, EDU_REGISTERS_BAR, EDU_WINDOW_OFFSET);
    assert_int_equal(vd_get64(area.offset) + vd_get64(area.size), window);
    assert_int_equal(peer_read32(&f->peer, EDU_MEMORY_BAR, window + EDU_ID), EDU_ID_VALUE);
    munmap(memory, vd_get64(area.size));
}

static void a_client_that_takes_no_descriptors_is_offered_no_mapping(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct vfio_user_region_info info;
    struct peer_message m;
    int client;

    assert_non_null(f);
    rig_start(&f->rig, "sim:edu", RIG_PAIR, &client);
    peer_init(&f->peer, client);
    assert_int_equal(peer_negotiate_with(&f->peer, "{\"capabilities\":{\"max_msg_fds\":0}}", &m), 0);
    ask_region(&f->peer, 4096, EDU_MEMORY_BAR, &m);
    memcpy(&info, m.payload, sizeof(info));
    assert_int_equal(m.nr_fds, 0);
    assert_int_equal(vd_get32(info.flags) & (VFIO_USER_REGION_FLAG_MMAP | VFIO_USER_REGION_FLAG_CAPS), 0);
    peer_finish(&f->peer);
    rig_join(&f->rig);
    rig_stop(&f->rig);
    free(f);
}

static void registers_keep_what_is_written(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(peer_read32(&f->peer, 0, EDU_ID), EDU_ID_VALUE);
    peer_write32(&f->peer, 0, EDU_SCRATCH, 0xcafe0001);
    assert_int_equal(peer_read32(&f->peer, 0, EDU_SCRATCH), 0xcafe0001);
}

static void a_megabyte_goes_through_in_one_message(void **state)
{
    struct fixture *f = *state;
    uint32_t size = 1048576;
    uint8_t *out = malloc(size);
    uint8_t *in = malloc(size);
    struct vfio_user_region_info info;
    struct peer_message m;

    assert_true(out && in);
    ask_region(&f->peer, 32, EDU_MEMORY_BAR, &m);
    memcpy(&info, m.payload, sizeof(info));
    close(m.fds[0]);
    if (vd_get64(info.size) / 2 < size)
        size = (uint32_t)(vd_get64(info.size) / 2) - 8192;
    for (uint32_t i = 0; i < size; i++)
        out[i] = (uint8_t)(i * 7 + i / 4096);
    assert_int_equal(peer_write(&f->peer, EDU_MEMORY_BAR, 0, out, size), 0);
    assert_int_equal(peer_read(&f->peer, EDU_MEMORY_BAR, 0, in, size), 0);
    assert_memory_equal(out, in, size);
    free(out);
    free(in);
}

static void pipelined_commands_are_answered_in_order(void **state)
{
    struct fixture *f = *state;
    struct vfio_user_region_access access = {.region = vd_put32(7), .count = vd_put32(4)};
    enum { COUNT = 500 };
    uint16_t ids[COUNT];

    for (int i = 0; i < COUNT; i++)
        ids[i] = peer_send(&f->peer, VFIO_USER_REGION_READ, 0, &access, sizeof(access), NULL, 0);
    for (int i = 0; i < COUNT; i++) {
        struct peer_message m;

        peer_receive_reply(&f->peer, &m);
        assert_int_equal(m.id, ids[i]);
        assert_int_equal(m.size, 20);
    }
}

static void ids_may_be_reused_while_in_flight(void **state)
{
    struct fixture *f = *state;
    struct vfio_user_region_access access = {.region = vd_put32(7), .count = vd_put32(4)};

    for (int i = 0; i < 10; i++) {
        f->peer.next_id = 77;
        peer_send(&f->peer, VFIO_USER_REGION_READ, 0, &access, sizeof(access), NULL, 0);
    }
    for (int i = 0; i < 10; i++) {
        struct peer_message m;

        peer_receive_reply(&f->peer, &m);
        assert_int_equal(m.id, 77);
    }
}

static void a_command_sent_byte_by_byte_is_answered(void **state)
{
    struct fixture *f = *state;
    uint8_t bytes[HEADER + 16] = {
        B16(9), B16(VFIO_USER_REGION_READ), B32(HEADER + 16), B32(0), B32(0), B64(0), B32(7), B32(2)};
    struct peer_message m;

    for (size_t i = 0; i < sizeof(bytes); i++)
        assert_true(peer_send_raw(f->peer.fd, bytes + i, 1, NULL, 0));
    peer_receive_reply(&f->peer, &m);
    assert_int_equal(m.id, 9);
    assert_int_equal(vd_load16(m.payload + 16), EDU_VENDOR);
}

static void posted_writes_are_done_before_the_next_reply(void **state)
{
    struct fixture *f = *state;

    for (uint32_t i = 0; i < 300; i++) {
        uint8_t write[20] = {B64(EDU_SCRATCH), B32(0), B32(4), B32(i)};

        peer_send(&f->peer, VFIO_USER_REGION_WRITE, VFIO_USER_NO_REPLY, write, sizeof(write), NULL, 0);
    }
    assert_int_equal(peer_read32(&f->peer, 0, EDU_SCRATCH), 299);
}

static void write_multi_writes_in_order(void **state)
{
    struct fixture *f = *state;
    static const uint8_t multi[] = {
        B64(3), B64(EDU_SCRATCH), B32(0), B32(4), B64(1), B64(EDU_SCRATCH + 4), B32(0), B32(4),
        B64(2), B64(EDU_SCRATCH), B32(0), B32(4), B64(3)};
    struct peer_message m;

    assert_int_equal(peer_call(&f->peer, VFIO_USER_REGION_WRITE_MULTI, multi, sizeof(multi), NULL, 0, &m), 0);
    assert_int_equal(vd_load64(m.payload), 3);
    assert_int_equal(peer_read32(&f->peer, 0, EDU_SCRATCH), 3);
    assert_int_equal(peer_read32(&f->peer, 0, EDU_SCRATCH + 4), 2);
}

static void write_multi_stops_at_the_first_bad_write(void **state)
{
    struct fixture *f = *state;
    static const uint8_t multi[] = {B64(3),      B64(EDU_SCRATCH), B32(0), B32(4), B64(7),
                                    B64(0x8000), B32(0),           B32(4), B64(0), B64(EDU_SCRATCH),
                                    B32(0),      B32(4),           B64(9)};

    assert_int_equal(peer_call(&f->peer, VFIO_USER_REGION_WRITE_MULTI, multi, sizeof(multi), NULL, 0, NULL),
                     22);
    assert_int_equal(peer_read32(&f->peer, 0, EDU_SCRATCH), 7);
}

static int route(struct peer *p, uint32_t index, uint32_t start, const int *fds, unsigned count)
{
    struct vfio_user_irq_set set = {vd_put32(20), vd_put32(0x24), vd_put32(index), vd_put32(start),
                                    vd_put32(count)};

    return peer_call(p, VFIO_USER_DEVICE_SET_IRQS, &set, sizeof(set), fds, count, NULL);
}

static bool signalled(int fd, int timeout_ms)
{
    struct pollfd pfd = {.fd = fd, .events = POLLIN};
    uint64_t value;

    return poll(&pfd, 1, timeout_ms) == 1 && read(fd, &value, sizeof(value)) == sizeof(value);
}

static void a_device_interrupt_reaches_the_eventfd(void **state)
{
    struct fixture *f = *state;
    int fds[2] = {eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};

    assert_int_equal(route(&f->peer, 2, 0, fds, 2), 0);
    assert_int_equal(peer_enable_bus_master(&f->peer), 0);
    peer_write32(&f->peer, 0, EDU_RAISE, 1);
    assert_true(signalled(fds[1], PEER_TIMEOUT_S * 1000));
    assert_false(signalled(fds[0], 0));
    close(fds[0]);
    close(fds[1]);
}

static void a_loopback_trigger_reaches_the_eventfd(void **state)
{
    struct fixture *f = *state;
    static const uint8_t trigger[] = {B32(20), B32(0x21), B32(2), B32(0), B32(1)};
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    assert_int_equal(route(&f->peer, 2, 0, &fd, 1), 0);
    assert_int_equal(peer_call(&f->peer, VFIO_USER_DEVICE_SET_IRQS, trigger, sizeof(trigger), NULL, 0, NULL),
                     0);
    assert_true(signalled(fd, 0));
    close(fd);
}

static void booleans_trigger_only_what_they_name(void **state)
{
    struct fixture *f = *state;
    static const uint8_t trigger[] = {B32(23), B32(0x22), B32(2), B32(0), B32(3), 0, 1, 0};
    int fds[3];

    for (int i = 0; i < 3; i++)
        fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_int_equal(route(&f->peer, 2, 0, fds, 3), 0);
    assert_int_equal(peer_call(&f->peer, VFIO_USER_DEVICE_SET_IRQS, trigger, sizeof(trigger), NULL, 0, NULL),
                     0);
    assert_false(signalled(fds[0], 0));
    assert_true(signalled(fds[1], 0));
    assert_false(signalled(fds[2], 0));
    for (int i = 0; i < 3; i++)
        close(fds[i]);
}

/* A blocking descriptor whose counter is full would stop the device for ever. */
static void a_full_blocking_eventfd_does_not_stop_the_server(void **state)
{
    struct fixture *f = *state;
    static const uint8_t trigger[] = {B32(20), B32(0x21), B32(2), B32(0), B32(1)};
    uint64_t full = UINT64_MAX - 1;
    int fd = eventfd(0, EFD_CLOEXEC);

    assert_int_equal(write(fd, &full, sizeof(full)), sizeof(full));
    assert_int_equal(route(&f->peer, 2, 0, &fd, 1), 0);
    assert_int_equal(peer_call(&f->peer, VFIO_USER_DEVICE_SET_IRQS, trigger, sizeof(trigger), NULL, 0, NULL),
                     0);
    close(fd);
}

/* A write to a pipe that nobody reads raises SIGPIPE, which would end the process. */
static void a_broken_pipe_as_an_interrupt_does_not_kill_the_server(void **state)
{
    struct fixture *f = *state;
    static const uint8_t trigger[] = {B32(20), B32(0x21), B32(2), B32(0), B32(1)};
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    assert_int_equal(route(&f->peer, 2, 0, &ends[1], 1), 0);
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(peer_call(&f->peer, VFIO_USER_DEVICE_SET_IRQS, trigger, sizeof(trigger), NULL, 0, NULL),
                     0);
    assert_int_equal(peer_read32(&f->peer, 0, EDU_ID), EDU_ID_VALUE);
}

static void many_vectors_are_routed_in_chunks(void **state)
{
    struct fixture *f = *state;
    static const uint8_t ask[] = {B32(16), B32(0), B32(2), B32(0)};
    struct peer_message m;
    uint32_t count;

    assert_int_equal(peer_call(&f->peer, VFIO_USER_DEVICE_GET_IRQ_INFO, ask, sizeof(ask), NULL, 0, &m), 0);
    count = vd_load32(m.payload + 12);
    assert_true(count > 0);
    for (uint32_t start = 0; start < count; start += 16) {
        uint32_t n = count - start < 16 ? count - start : 16;
        int fds[16];

        for (uint32_t i = 0; i < n; i++)
            fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        assert_int_equal(route(&f->peer, 2, start, fds, n), 0);
        for (uint32_t i = 0; i < n; i++)
            close(fds[i]);
    }
    /* All taken away at once. */
    {
        struct vfio_user_irq_set set = {vd_put32(20), vd_put32(0x24), vd_put32(2), vd_put32(0),
                                        vd_put32(count)};

        assert_int_equal(peer_call(&f->peer, VFIO_USER_DEVICE_SET_IRQS, &set, sizeof(set), NULL, 0, NULL), 0);
    }
}

/* Small, so that no memory check is due: the device copies between two pages of shared memory. */
static void the_device_copies_in_shared_memory(void **state)
{
    struct fixture *f = *state;
    int fd = peer_memfd(0x4000);
    uint8_t *memory = mmap(NULL, 0x4000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    assert_ptr_not_equal(memory, MAP_FAILED);
    memset(memory, 0x77, 0x1000);
    assert_int_equal(peer_dma_map(&f->peer, 0x100000, 0x4000, 3, fd, 0), 0);
    close(fd);
    assert_int_equal(peer_enable_bus_master(&f->peer), 0);
    peer_write64(&f->peer, 0, EDU_SOURCE, 0x100000);
    peer_write64(&f->peer, 0, EDU_DESTINATION, 0x102000);
    peer_write64(&f->peer, 0, EDU_LENGTH, 0x1000);
    peer_write32(&f->peer, 0, EDU_CONTROL, EDU_START);
    for (int i = 0; i < TRIES && !(peer_read32(&f->peer, 0, EDU_STATUS) & EDU_DONE); i++)
        ;
    assert_memory_equal(memory, memory + 0x2000, 0x1000);
    munmap(memory, 0x4000);
}

static void the_device_cannot_reach_memory_after_unmap(void **state)
{
    struct fixture *f = *state;
    int fd = peer_memfd(0x4000);

    assert_int_equal(peer_dma_map(&f->peer, 0x100000, 0x4000, 3, fd, 0), 0);
    close(fd);
    assert_int_equal(peer_dma_unmap(&f->peer, 0x100000, 0x4000), 0);
    assert_int_equal(peer_enable_bus_master(&f->peer), 0);
    peer_write64(&f->peer, 0, EDU_SOURCE, 0x100000);
    peer_write64(&f->peer, 0, EDU_DESTINATION, 0x102000);
    peer_write64(&f->peer, 0, EDU_LENGTH, 0x1000);
    peer_write32(&f->peer, 0, EDU_CONTROL, EDU_START);
    for (int i = 0; i < TRIES && !(peer_read32(&f->peer, 0, EDU_STATUS) & (EDU_DONE | EDU_FAILED)); i++)
        ;
    assert_int_equal(peer_read32(&f->peer, 0, EDU_STATUS), EDU_FAILED);
    assert_int_equal(peer_read32(&f->peer, 0, EDU_ERROR), EDU_ERROR_READ);
}

static void statistics_count_messages_errors_and_memory(void **state)
{
    struct fixture *f = *state;
    struct vd_server_stats stats;

    assert_int_equal(peer_dma_map(&f->peer, 0x100000, 0x4000, 3, -1, 0), 0);
    assert_int_equal(peer_dma_map(&f->peer, 0x100000, 0x4000, 3, -1, 0), 17);
    vd_server_stats(f->rig.server, &stats);
    assert_true(stats.client);
    assert_int_equal(stats.sessions, 1);
    assert_int_equal(stats.messages, 3);
    assert_int_equal(stats.errors, 1);
    assert_int_equal(stats.violations, 0);
    assert_int_equal(stats.guest_regions, 1);
    assert_int_equal(stats.guest_bytes, 0x4000);
    assert_string_equal(stats.refusal, "");
}

static void stop_ends_a_session_that_is_idle(void **state)
{
    struct fixture *f = *state;
    struct peer_message m;

    vd_server_stop(f->rig.server);
    peer_receive(&f->peer, &m);
    assert_true(m.closed);
    rig_join(&f->rig);
    assert_int_equal(f->rig.result, 0);
}

static void a_violation_is_counted(void **state)
{
    struct fixture *f = *state;
    uint8_t bytes[HEADER] = {B16(1), B16(4), B32(3), B32(0), B32(0)};
    struct vd_server_stats stats;
    struct peer_message m;

    assert_true(peer_send_raw(f->peer.fd, bytes, sizeof(bytes), NULL, 0));
    peer_receive(&f->peer, &m);
    assert_true(m.closed);
    rig_join(&f->rig);
    vd_server_stats(f->rig.server, &stats);
    assert_int_equal(stats.violations, 1);
    assert_false(stats.client);
}

static void a_client_that_leaves_in_the_middle_of_a_message_is_forgotten(void **state)
{
    struct fixture *f = *state;
    uint8_t bytes[HEADER + 4] = {B16(1), B16(2), B32(HEADER + 32), B32(0), B32(0)};
    int fd = peer_memfd(4096);

    assert_true(peer_send_raw(f->peer.fd, bytes, sizeof(bytes), &fd, 1));
    close(fd);
    close(f->peer.fd);
    f->peer.fd = -1;
    rig_join(&f->rig);
    assert_int_equal(f->rig.result, 0);
}

static void more_than_65535_maps_fail_enospc(void **state)
{
    struct fixture *f = *state;

    for (uint32_t i = 0; i < 65535; i++) {
        struct vfio_user_dma_map map = {vd_put32(32), vd_put32(1), vd_put64(0),
                                        vd_put64((uint64_t)i * 0x2000), vd_put64(0x1000)};

        peer_send(&f->peer, VFIO_USER_DMA_MAP, VFIO_USER_NO_REPLY, &map, sizeof(map), NULL, 0);
    }
    assert_int_equal(peer_dma_map(&f->peer, 0x100000000000, 0x1000, 3, -1, 0), 28);
    assert_int_equal(peer_dma_unmap(&f->peer, 0, 0x1000), 0);
    assert_int_equal(peer_dma_map(&f->peer, 0x100000000000, 0x1000, 3, -1, 0), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_reply_names_our_limits),
        cmocka_unit_test(a_client_that_takes_no_descriptors_is_offered_no_mapping),
        TEST(device_info_counts_nine_regions_and_five_irqs),
        TEST(region_info_with_little_room_says_how_much_is_needed),
        TEST(sparse_areas_can_be_mapped_and_leave_the_window_out),
        TEST(registers_keep_what_is_written),
        TEST(a_megabyte_goes_through_in_one_message),
        TEST(pipelined_commands_are_answered_in_order),
        TEST(ids_may_be_reused_while_in_flight),
        TEST(a_command_sent_byte_by_byte_is_answered),
        TEST(posted_writes_are_done_before_the_next_reply),
        TEST(write_multi_writes_in_order),
        TEST(write_multi_stops_at_the_first_bad_write),
        TEST(a_device_interrupt_reaches_the_eventfd),
        TEST(a_loopback_trigger_reaches_the_eventfd),
        TEST(booleans_trigger_only_what_they_name),
        TEST(a_full_blocking_eventfd_does_not_stop_the_server),
        TEST(a_broken_pipe_as_an_interrupt_does_not_kill_the_server),
        TEST(many_vectors_are_routed_in_chunks),
        TEST(the_device_copies_in_shared_memory),
        TEST(the_device_cannot_reach_memory_after_unmap),
        TEST(statistics_count_messages_errors_and_memory),
        TEST(stop_ends_a_session_that_is_idle),
        TEST(a_violation_is_counted),
        TEST(a_client_that_leaves_in_the_middle_of_a_message_is_forgotten),
        TEST(more_than_65535_maps_fail_enospc),
    };

    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
