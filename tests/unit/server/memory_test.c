/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory that is not simply shared: none handed over (DMA through messages), or handed over but mapped privately
 * by the client, which must be found out before the device touches it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "peer.h"
#include "proto/vfio_user.h"
#include "server/session.h"
#include "sim/edu.h"

enum { TRIES = 1000000, RAM = 0x400000 };
static const uint64_t BASE = 0x10000000;

struct fixture {
    struct rig rig;
    struct peer peer;
    unsigned fds_before;
    uint8_t *ram; /* what the client's guest sees */
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    int client;

    assert_non_null(f);
    f->fds_before = count_fds();
    rig_start(&f->rig, "sim:edu", RIG_PAIR, &client);
    peer_init(&f->peer, client);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    peer_finish(&f->peer);
    rig_join(&f->rig);
    rig_stop(&f->rig);
    if (f->ram)
        munmap(f->ram, RAM);
    assert_int_equal(count_fds(), f->fds_before);
    free(f);
    return 0;
}

/* The client's RAM: memory of its own, or a file mapped as `flags` says. Returns the file, or -1. */
static int make_ram(struct fixture *f, int flags)
{
    int fd = flags & MAP_ANONYMOUS ? -1 : peer_memfd(RAM);

    f->ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, flags, fd, 0);
    assert_ptr_not_equal(f->ram, MAP_FAILED);
    f->peer.ram = f->ram;
    f->peer.ram_base = BASE;
    f->peer.ram_size = RAM;
    return fd;
}

static void map_ram(struct fixture *f, int fd)
{
    assert_int_equal(peer_dma_map(&f->peer, BASE, RAM, 3, fd, 0), 0);
    if (fd >= 0)
        close(fd);
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

static void fill(uint8_t *at, size_t size)
{
    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)(i * 31 + (i >> 9) + 1);
}

static void copy_through_messages(struct fixture *f)
{
    const size_t size = 300000; /* several chunks, the last one odd */

    make_ram(f, MAP_PRIVATE | MAP_ANONYMOUS);
    map_ram(f, -1);
    fill(f->ram, size);
    assert_int_equal(peer_enable_bus_master(&f->peer), 0);
    start_copy(f, BASE, BASE + 0x200000, size);
    assert_int_equal(finish_copy(f), EDU_DONE);
    assert_memory_equal(f->ram, f->ram + 0x200000, size);
    assert_true(f->peer.dma_reads > 0);
    assert_true(f->peer.dma_writes > 0);
}

static void memory_without_a_descriptor_is_reached_through_messages(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(peer_negotiate(&f->peer), 0);
    copy_through_messages(f);
    assert_true(rig_logged(&f->rig, "share=on"));
}

static void dma_write_replies_without_payload_are_understood(void **state)
{
    struct fixture *f = *state;

    f->peer.write_reply = 0;
    assert_int_equal(peer_negotiate(&f->peer), 0);
    copy_through_messages(f);
}

static void dma_write_replies_as_specified_are_understood(void **state)
{
    struct fixture *f = *state;

    f->peer.write_reply = 12;
    assert_int_equal(peer_negotiate(&f->peer), 0);
    copy_through_messages(f);
}

static void dma_requests_are_split_at_the_clients_limit(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(peer_negotiate_with(&f->peer, "{\"capabilities\":{\"max_data_xfer_size\":1000}}", NULL),
                     0);
    copy_through_messages(f);
    assert_int_equal(f->peer.dma_largest, 1000);
}

static void dma_requests_use_the_twin_socket(void **state)
{
    struct fixture *f = *state;
    static const char json[] = "{\"capabilities\":{\"twin_socket\":{\"supported\":true}}}";
    uint8_t payload[128] = {0};
    struct peer_message m;

    memcpy(payload + 4, json, sizeof(json));
    peer_send(&f->peer, VFIO_USER_VERSION, 0, payload, 4 + sizeof(json), NULL, 0);
    peer_receive(&f->peer, &m);
    assert_non_null(strstr((const char *)m.payload + 4, "\"fd_index\":0"));
    assert_int_equal(m.nr_fds, 1);
    f->peer.twin = m.fds[0];
    copy_through_messages(f);
}

static void a_command_on_the_twin_socket_is_a_violation(void **state)
{
    struct fixture *f = *state;
    static const char json[] = "{\"capabilities\":{\"twin_socket\":{\"supported\":true}}}";
    static const uint8_t command[] = {B16(1), B16(VFIO_USER_DEVICE_RESET), B32(16), B32(0), B32(0)};
    uint8_t payload[128] = {0};
    struct vd_server_stats stats;
    struct peer_message m;
    int twin;

    memcpy(payload + 4, json, sizeof(json));
    peer_send(&f->peer, VFIO_USER_VERSION, 0, payload, 4 + sizeof(json), NULL, 0);
    peer_receive(&f->peer, &m);
    assert_int_equal(m.nr_fds, 1);
    twin = m.fds[0];
    assert_true(peer_send_raw(twin, command, sizeof(command), NULL, 0));
    make_ram(f, MAP_PRIVATE | MAP_ANONYMOUS);
    map_ram(f, -1);
    assert_int_equal(peer_enable_bus_master(&f->peer), 0);
    start_copy(f, BASE, BASE + 0x1000, 0x1000);
    do
        peer_receive(&f->peer, &m);
    while (!m.closed);
    rig_join(&f->rig);
    close(twin);
    vd_server_stats(f->rig.server, &stats);
    assert_int_equal(stats.violations, 1);
}

static void a_refused_dma_read_fails_the_copy_and_not_the_session(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(peer_negotiate(&f->peer), 0);
    make_ram(f, MAP_PRIVATE | MAP_ANONYMOUS);
    map_ram(f, -1);
    f->peer.dma_errno = 14;
    assert_int_equal(peer_enable_bus_master(&f->peer), 0);
    start_copy(f, BASE, BASE + 0x1000, 0x1000);
    assert_int_equal(finish_copy(f), EDU_FAILED);
    assert_int_equal(peer_read32(&f->peer, 0, EDU_ERROR), EDU_ERROR_READ);
}

/* While the server waits for our answer it must answer us: commands in between are handled. */
static void commands_are_handled_while_a_dma_request_waits(void **state)
{
    struct fixture *f = *state;
    struct vfio_user_region_access access = {vd_put64(EDU_ID), vd_put32(0), vd_put32(4)};
    struct peer_message m;
    uint8_t reply[16 + 0x1000] = {0};
    uint8_t request[16];
    uint16_t id, dma_id;

    assert_int_equal(peer_negotiate(&f->peer), 0);
    make_ram(f, MAP_PRIVATE | MAP_ANONYMOUS);
    map_ram(f, -1);
    assert_int_equal(peer_enable_bus_master(&f->peer), 0);
    start_copy(f, BASE, BASE + 0x1000, 0x1000);
    peer_receive(&f->peer, &m); /* the device's question, left open */
    assert_int_equal(m.command, VFIO_USER_DMA_READ);
    dma_id = m.id;
    memcpy(request, m.payload, sizeof(request));
    id = peer_send(&f->peer, VFIO_USER_REGION_READ, 0, &access, sizeof(access), NULL, 0);
    peer_receive(&f->peer, &m);
    assert_int_equal(m.id, id);
    assert_int_equal(m.flags, VFIO_USER_TYPE_REPLY);
    assert_int_equal(vd_load32(m.payload + 16), EDU_ID_VALUE);
    /* Now the answer. */
    memcpy(reply, request, sizeof(request));
    memset(reply + 16, 0x3c, 0x1000);
    {
        uint8_t header[16] = {B16(dma_id), B16(VFIO_USER_DMA_READ), B32(16 + sizeof(reply)), B32(1), B32(0)};

        assert_true(peer_send_raw(f->peer.fd, header, sizeof(header), NULL, 0));
        assert_true(peer_send_raw(f->peer.fd, reply, sizeof(reply), NULL, 0));
    }
    assert_int_equal(finish_copy(f), EDU_DONE);
    assert_int_equal(f->ram[0x1000], 0x3c);
    assert_int_equal(f->ram[0x1fff], 0x3c);
}

static void leaving_while_a_dma_request_waits_ends_the_session(void **state)
{
    struct fixture *f = *state;
    struct peer_message m;

    assert_int_equal(peer_negotiate(&f->peer), 0);
    make_ram(f, MAP_PRIVATE | MAP_ANONYMOUS);
    map_ram(f, -1);
    assert_int_equal(peer_enable_bus_master(&f->peer), 0);
    start_copy(f, BASE, BASE + 0x1000, 0x1000);
    peer_receive(&f->peer, &m);
    close(f->peer.fd);
    f->peer.fd = -1;
    rig_join(&f->rig);
    assert_int_equal(f->rig.result, 0);
}

static void unmapping_while_a_dma_request_waits_is_answered(void **state)
{
    struct fixture *f = *state;
    struct peer_message m;

    assert_int_equal(peer_negotiate(&f->peer), 0);
    make_ram(f, MAP_PRIVATE | MAP_ANONYMOUS);
    map_ram(f, -1);
    assert_int_equal(peer_enable_bus_master(&f->peer), 0);
    start_copy(f, BASE, BASE + 0x1000, 0x1000);
    f->peer.dma_silent = true;
    peer_receive(&f->peer, &m);
    assert_int_equal(peer_dma_unmap(&f->peer, BASE, RAM), 0);
    close(f->peer.fd);
    f->peer.fd = -1;
    rig_join(&f->rig);
}

static void expect_violation(struct fixture *f)
{
    struct vd_server_stats stats;
    struct peer_message m;

    do
        peer_receive(&f->peer, &m);
    while (!m.closed);
    rig_join(&f->rig);
    vd_server_stats(f->rig.server, &stats);
    assert_int_equal(stats.violations, 1);
}

static void answer_wrongly(struct fixture *f, int id_off, uint16_t command, uint32_t count, size_t data)
{
    uint8_t message[16 + 16 + 0x2000] = {0};
    struct peer_message m;

    assert_int_equal(peer_negotiate(&f->peer), 0);
    make_ram(f, MAP_PRIVATE | MAP_ANONYMOUS);
    map_ram(f, -1);
    assert_int_equal(peer_enable_bus_master(&f->peer), 0);
    start_copy(f, BASE, BASE + 0x1000, 0x1000);
    peer_receive(&f->peer, &m);
    {
        uint8_t head[32] = {B16(m.id + id_off), B16(command), B32(32 + data), B32(1), B32(0),
                            B64(BASE),          B64(count)};

        memcpy(message, head, sizeof(head));
    }
    assert_true(peer_send_raw(f->peer.fd, message, 32 + data, NULL, 0));
    expect_violation(f);
}

static void a_dma_reply_with_another_id_is_a_violation(void **state)
{
    answer_wrongly(*state, 1, VFIO_USER_DMA_READ, 0x1000, 0x1000);
}

static void a_dma_reply_of_another_command_is_a_violation(void **state)
{
    answer_wrongly(*state, 0, VFIO_USER_DMA_WRITE, 0x1000, 0x1000);
}

static void a_dma_reply_with_less_data_is_a_violation(void **state)
{
    answer_wrongly(*state, 0, VFIO_USER_DMA_READ, 0x1000, 0xfff);
}

static void a_dma_reply_with_more_data_is_a_violation(void **state)
{
    answer_wrongly(*state, 0, VFIO_USER_DMA_READ, 0x1000, 0x1001);
}

static void a_dma_reply_with_another_count_is_a_violation(void **state)
{
    answer_wrongly(*state, 0, VFIO_USER_DMA_READ, 0x800, 0x800);
}

static void shared_memory_is_recognised_and_used(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(peer_negotiate(&f->peer), 0);
    map_ram(f, make_ram(f, MAP_SHARED));
    fill(f->ram, RAM / 2);
    assert_int_equal(peer_enable_bus_master(&f->peer), 0);
    start_copy(f, BASE, BASE + 0x300000, 0x10000);
    assert_int_equal(finish_copy(f), EDU_DONE);
    assert_memory_equal(f->ram, f->ram + 0x300000, 0x10000);
    assert_true(f->peer.dma_reads > 0); /* it was looked at */
    assert_int_equal(f->peer.dma_writes, 0);
}

static void private_memory_is_refused_with_the_remedy(void **state)
{
    struct fixture *f = *state;
    struct vd_server_stats stats;
    struct peer_message m;

    assert_int_equal(peer_negotiate(&f->peer), 0);
    map_ram(f, make_ram(f, MAP_PRIVATE));
    fill(f->ram, RAM);
    assert_int_equal(peer_enable_bus_master(&f->peer), 0);
    do
        peer_receive_reply(&f->peer, &m);
    while (!m.closed);
    rig_join(&f->rig);
    vd_server_stats(f->rig.server, &stats);
    assert_non_null(strstr(stats.refusal, "memory-backend-memfd,id=mem0,size=SIZE,share=on"));
    assert_non_null(strstr(stats.refusal, "-machine memory-backend=mem0"));
    assert_true(rig_logged(&f->rig, "session refused"));
    assert_int_equal(stats.violations, 0);
}

/* One page in the middle is enough, and the device must not have run before. */
static void private_memory_is_found_before_the_device_touches_it(void **state)
{
    struct fixture *f = *state;
    struct vd_server_stats stats;
    struct peer_message m;
    int fd = make_ram(f, MAP_PRIVATE);
    uint8_t *file = mmap(NULL, RAM, PROT_READ, MAP_SHARED, fd, 0);

    assert_ptr_not_equal(file, MAP_FAILED);
    assert_int_equal(peer_negotiate(&f->peer), 0);
    map_ram(f, fd);
    f->ram[0] = 1;
    start_copy(f, BASE, BASE + 0x1000, 0x1000); /* refused for want of bus mastering, or waiting for it */
    {
        /* Bus mastering and a copy in one segment: the check must come between the two. */
        static const uint8_t both[] = {
            B16(50),
            B16(VFIO_USER_REGION_WRITE),
            B32(16 + 16 + 2),
            B32(0),
            B32(0),
            B64(4),
            B32(7),
            B32(2),
            B16(6),
            B16(51),
            B16(VFIO_USER_REGION_WRITE),
            B32(16 + 16 + 4),
            B32(0),
            B32(0),
            B64(EDU_CONTROL),
            B32(0),
            B32(4),
            B32(EDU_START),
        };

        assert_true(peer_send_raw(f->peer.fd, both, sizeof(both), NULL, 0));
    }
    do
        peer_receive_reply(&f->peer, &m);
    while (!m.closed);
    rig_join(&f->rig);
    vd_server_stats(f->rig.server, &stats);
    assert_non_null(strstr(stats.refusal, "share=on"));
    for (size_t i = 0; i < RAM; i++)
        assert_int_equal(file[i], 0);
    munmap(file, RAM);
}

static void private_memory_that_fills_later_is_found_at_the_next_switch(void **state)
{
    struct fixture *f = *state;
    struct peer_message m;

    assert_int_equal(peer_negotiate(&f->peer), 0);
    map_ram(f, make_ram(f, MAP_PRIVATE));
    assert_int_equal(peer_enable_bus_master(&f->peer), 0); /* all zero: proves nothing */
    assert_int_equal(peer_read32(&f->peer, 0, EDU_ID), EDU_ID_VALUE);
    fill(f->ram, RAM);
    assert_int_equal(peer_enable_bus_master(&f->peer), 0);
    do
        peer_receive_reply(&f->peer, &m);
    while (!m.closed);
    rig_join(&f->rig);
    assert_true(rig_logged(&f->rig, "share=on"));
}

static void a_client_that_refuses_to_be_read_is_served_with_a_warning(void **state)
{
    struct fixture *f = *state;

    f->peer.dma_errno = 38;
    assert_int_equal(peer_negotiate(&f->peer), 0);
    map_ram(f, make_ram(f, MAP_SHARED));
    fill(f->ram, 0x10000);
    assert_int_equal(peer_enable_bus_master(&f->peer), 0);
    start_copy(f, BASE, BASE + 0x100000, 0x1000);
    assert_int_equal(finish_copy(f), EDU_DONE);
    assert_int_equal(f->peer.dma_reads, 1);
    assert_true(rig_logged(&f->rig, "cannot be checked"));
}

static void a_client_that_never_answers_is_served_and_its_late_answer_dropped(void **state)
{
    struct fixture *f = *state;
    static const uint8_t late[] = {B16(0), B16(VFIO_USER_DMA_READ), B32(16), B32(0x21), B32(14)};

    f->peer.dma_silent = true;
    assert_int_equal(peer_negotiate(&f->peer), 0);
    map_ram(f, make_ram(f, MAP_SHARED));
    fill(f->ram, 0x10000);
    assert_int_equal(peer_enable_bus_master(&f->peer), 0);
    start_copy(f, BASE, BASE + 0x100000, 0x1000);
    assert_int_equal(finish_copy(f), EDU_DONE);
    assert_true(peer_send_raw(f->peer.fd, late, sizeof(late), NULL, 0));
    assert_int_equal(peer_read32(&f->peer, 0, EDU_ID), EDU_ID_VALUE);
    assert_int_equal(f->peer.dma_reads, 1);
}

static void small_regions_are_not_looked_at(void **state)
{
    struct fixture *f = *state;
    int fd = make_ram(f, MAP_PRIVATE);

    assert_int_equal(peer_negotiate(&f->peer), 0);
    assert_int_equal(peer_dma_map(&f->peer, BASE, 0x1000, 3, fd, 0), 0);
    assert_int_equal(peer_dma_map(&f->peer, BASE + 0x100000, 0x200000, 1, fd, 0), 0);
    close(fd);
    f->ram[0] = 1;
    assert_int_equal(peer_enable_bus_master(&f->peer), 0);
    assert_int_equal(peer_read32(&f->peer, 0, EDU_ID), EDU_ID_VALUE);
    assert_int_equal(f->peer.dma_reads, 0);
}

/* A VMM that waits for our reply holds locks it would need to answer: no question then, but an error at once. */
static void nothing_is_asked_while_a_command_is_handled(void **state)
{
    struct fixture *f = *state;
    struct vd_session s = {
        .env = NULL, .state = VD_SESSION_READY, .in_handler = true, .main.fd = -1, .twin.fd = -1};
    uint8_t byte = 0;

    (void)f;
    vd_capabilities_init(&s.client);
    assert_int_equal(vd_remote_access.read(&s, BASE, &byte, 1), -EIO);
    assert_int_equal(vd_remote_access.write(&s, BASE, &byte, 1), -EIO);
    assert_int_equal(s.next_id, 0);
    assert_int_equal(s.end, VD_END_NONE); /* and the session lives on */
}

/* A client that truncates its file while the device uses it costs itself the session, not the server its life. */
static void truncated_memory_ends_the_session(void **state)
{
    struct fixture *f = *state;
    struct vd_server_stats stats;
    struct peer_message m;
    int fd = peer_memfd(0x10000);

    assert_int_equal(vd_server_guard_memory(), 0); /* here: cmocka sets its own handler before each test */
    assert_int_equal(peer_negotiate(&f->peer), 0);
    assert_int_equal(peer_dma_map(&f->peer, BASE, 0x10000, 3, fd, 0), 0);
    assert_int_equal(ftruncate(fd, 0), 0);
    close(fd);
    assert_int_equal(peer_enable_bus_master(&f->peer), 0);
    start_copy(f, BASE, BASE + 0x8000, 0x1000);
    do
        peer_receive_reply(&f->peer, &m);
    while (!m.closed);
    rig_join(&f->rig);
    assert_int_equal(f->rig.result, 0);
    vd_server_stats(f->rig.server, &stats);
    assert_int_equal(stats.violations, 1);
    assert_true(rig_logged(&f->rig, "truncated"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(memory_without_a_descriptor_is_reached_through_messages),
        TEST(dma_write_replies_without_payload_are_understood),
        TEST(dma_write_replies_as_specified_are_understood),
        TEST(dma_requests_are_split_at_the_clients_limit),
        TEST(dma_requests_use_the_twin_socket),
        TEST(a_command_on_the_twin_socket_is_a_violation),
        TEST(a_refused_dma_read_fails_the_copy_and_not_the_session),
        TEST(commands_are_handled_while_a_dma_request_waits),
        TEST(leaving_while_a_dma_request_waits_ends_the_session),
        TEST(unmapping_while_a_dma_request_waits_is_answered),
        TEST(a_dma_reply_with_another_id_is_a_violation),
        TEST(a_dma_reply_of_another_command_is_a_violation),
        TEST(a_dma_reply_with_less_data_is_a_violation),
        TEST(a_dma_reply_with_more_data_is_a_violation),
        TEST(a_dma_reply_with_another_count_is_a_violation),
        TEST(shared_memory_is_recognised_and_used),
        TEST(private_memory_is_refused_with_the_remedy),
        TEST(private_memory_is_found_before_the_device_touches_it),
        TEST(private_memory_that_fills_later_is_found_at_the_next_switch),
        TEST(a_client_that_refuses_to_be_read_is_served_with_a_warning),
        TEST(a_client_that_never_answers_is_served_and_its_late_answer_dropped),
        TEST(small_regions_are_not_looked_at),
        TEST(nothing_is_asked_while_a_command_is_handled),
        TEST(truncated_memory_ends_the_session),
    };

    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
