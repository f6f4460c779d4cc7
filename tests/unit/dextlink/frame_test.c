/* SPDX-License-Identifier: BSD-3-Clause */
/* Framing: what the sender cuts or joins must not matter, and every descriptor finds its message or is closed. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dextlink/frame.h"
#include "wire.h"

struct rig {
    struct wire_env env;
    struct vd_frame_stream stream;
    int peer;
    unsigned fds_before;
    struct wire out;
};

static int set_up_side(void **state, enum vd_frame_side side)
{
    struct rig *t = calloc(1, sizeof(*t));
    int ends[2];

    assert_non_null(t);
    t->fds_before = wire_count_fds();
    wire_env_init(&t->env);
    wire_pair(ends);
    assert_int_equal(vd_frame_open(&t->stream, &t->env.env, ends[0], side), 0);
    t->peer = ends[1];
    *state = t;
    return 0;
}

static int set_up(void **state)
{
    return set_up_side(state, VD_FRAME_CLIENT);
}

static int set_up_extension(void **state)
{
    return set_up_side(state, VD_FRAME_EXTENSION);
}

static int tear_down(void **state)
{
    struct rig *t = *state;

    vd_frame_close(&t->stream);
    close(t->peer);
    assert_int_equal(wire_count_fds(), t->fds_before);
    assert_int_equal(t->env.live, 0);
    free(t);
    return 0;
}

static void expect(struct rig *t, uint16_t kind, uint32_t tag, int status, const void *payload, size_t size)
{
    struct vd_frame frame;

    assert_int_equal(vd_frame_next(&t->stream, &frame), 1);
    assert_int_equal(frame.kind, kind);
    assert_int_equal(frame.tag, tag);
    assert_int_equal(frame.status, status);
    assert_int_equal(frame.size, size);
    if (size)
        assert_memory_equal(frame.payload, payload, size);
    assert_int_equal(frame.fd, -1);
    assert_false(frame.fd_lost);
}

/* The next message brings a descriptor of this size. */
static void expect_file(struct rig *t, uint32_t tag, off_t size)
{
    struct vd_frame frame;

    assert_int_equal(vd_frame_next(&t->stream, &frame), 1);
    assert_int_equal(frame.tag, tag);
    assert_true(frame.fd >= 0);
    assert_int_equal(lseek(frame.fd, 0, SEEK_END), size);
    assert_true(fcntl(frame.fd, F_GETFD) & FD_CLOEXEC);
    vd_frame_drop(&frame);
    assert_int_equal(frame.fd, -1);
}

static void expect_none(struct rig *t, int ret)
{
    struct vd_frame frame;

    assert_int_equal(vd_frame_next(&t->stream, &frame), ret);
}

static void a_message_comes_out_as_it_went_in(void **state)
{
    struct rig *t = *state;

    expect_none(t, 0);
    assert_int_equal(vd_frame_receive(&t->stream), -EAGAIN);
    wire_message(&t->out, VD_DEXT_CALL, 7, VD_DEXT_NOT_FOUND, "hello", 5);
    wire_send(&t->out, t->peer);
    assert_int_equal(vd_frame_receive(&t->stream), WIRE_HEADER + 5);
    expect(t, VD_DEXT_CALL, 7, VD_DEXT_NOT_FOUND, "hello", 5);
    expect_none(t, 0);
    assert_int_equal(vd_frame_receive(&t->stream), -EAGAIN);
}

static void bytes_may_come_one_at_a_time(void **state)
{
    struct rig *t = *state;
    struct wire one = {0};

    wire_message(&t->out, VD_DEXT_LIST, 1, 0, "abc", 3);
    for (size_t i = 0; i < t->out.used; i++) {
        expect_none(t, 0);
        wire_add(&one, t->out.bytes + i, 1);
        wire_send(&one, t->peer);
        assert_int_equal(vd_frame_receive(&t->stream), 1);
    }
    expect(t, VD_DEXT_LIST, 1, 0, "abc", 3);
}

static void several_messages_may_come_at_once(void **state)
{
    struct rig *t = *state;
    struct wire half = {0};
    size_t cut;

    wire_message(&t->out, VD_DEXT_CALL, 1, 0, "one", 3);
    wire_message(&t->out, VD_DEXT_CALL, 2, 0, NULL, 0);
    cut = t->out.used + 10;
    wire_message(&t->out, VD_DEXT_CALL, 3, 0, "three", 5);
    wire_add(&half, t->out.bytes, cut);
    wire_send(&half, t->peer);
    assert_int_equal(vd_frame_receive(&t->stream), cut);
    expect(t, VD_DEXT_CALL, 1, 0, "one", 3);
    expect(t, VD_DEXT_CALL, 2, 0, NULL, 0);
    expect_none(t, 0);
    wire_add(&half, t->out.bytes + cut, t->out.used - cut);
    wire_send(&half, t->peer);
    assert_true(vd_frame_receive(&t->stream) > 0);
    expect(t, VD_DEXT_CALL, 3, 0, "three", 5);
}

static void the_largest_message_fits_and_one_byte_more_is_eproto(void **state)
{
    struct rig *t = *state;
    static uint8_t zeros[VD_DEXT_SOCKET_MAX_SIZE];
    size_t left = VD_DEXT_SOCKET_MAX_SIZE - WIRE_HEADER;
    struct vd_frame frame;
    int ret;

    wire_header(&t->out, VD_DEXT_SOCKET_MAX_SIZE, VD_DEXT_CALL, 0, 9, 0);
    wire_send(&t->out, t->peer);
    while ((ret = vd_frame_next(&t->stream, &frame)) == 0) {
        size_t chunk = left < 65536 ? left : 65536;
        ssize_t n = chunk ? send(t->peer, zeros, chunk, MSG_DONTWAIT) : 0;

        if (n > 0)
            left -= (size_t)n;
        assert_true(vd_frame_receive(&t->stream) > 0);
    }
    assert_int_equal(ret, 1);
    assert_int_equal(frame.size, VD_DEXT_SOCKET_MAX_SIZE - WIRE_HEADER);
    wire_header(&t->out, VD_DEXT_SOCKET_MAX_SIZE + 1, VD_DEXT_CALL, 0, 10, 0);
    wire_send(&t->out, t->peer);
    assert_int_equal(vd_frame_receive(&t->stream), WIRE_HEADER);
    expect_none(t, -EPROTO);
}

static void bad_headers_are_eproto(void **state)
{
    static const struct {
        uint32_t size;
        uint16_t kind, reserved;
    } bad[] = {{WIRE_HEADER - 1, VD_DEXT_CALL, 0},    {0, VD_DEXT_CALL, 0},
               {UINT32_MAX, VD_DEXT_CALL, 0},         {WIRE_HEADER, 0, 0},
               {WIRE_HEADER, VD_DEXT_MESSAGE_END, 0}, {WIRE_HEADER, UINT16_MAX, 0},
               {WIRE_HEADER, VD_DEXT_CALL, 1}};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct rig *t;

        set_up(state);
        t = *state;
        wire_header(&t->out, bad[i].size, bad[i].kind, bad[i].reserved, 1, 0);
        wire_send(&t->out, t->peer);
        assert_int_equal(vd_frame_receive(&t->stream), WIRE_HEADER);
        expect_none(t, -EPROTO);
        tear_down(state);
    }
}

static void the_end_of_the_stream_is_econnreset(void **state)
{
    struct rig *t = *state;

    wire_message(&t->out, VD_DEXT_CALL, 1, 0, NULL, 0);
    wire_send(&t->out, t->peer);
    shutdown(t->peer, SHUT_WR);
    assert_true(vd_frame_receive(&t->stream) > 0);
    expect(t, VD_DEXT_CALL, 1, 0, NULL, 0);
    assert_int_equal(vd_frame_receive(&t->stream), -ECONNRESET);
}

/* What Linux joins: messages without one, then the one with it. */
static void a_descriptor_behind_other_messages_finds_its_own(void **state)
{
    struct rig *t = *state;
    int fd = wire_memfd(111);

    wire_complete(&t->out, VD_DEXT_WAIT_EVENT, 0, NULL, 0);
    wire_message(&t->out, VD_DEXT_MAP, 1, VD_DEXT_UNSUPPORTED, NULL, 0); /* a refusal brings none */
    wire_send(&t->out, t->peer);
    wire_map(&t->out, 2, 0, 111);
    wire_send_fds(&t->out, t->peer, fd, 1);
    close(fd);
    assert_int_equal(vd_frame_receive(&t->stream), 3 * WIRE_HEADER + 8 + 16);
    expect(t, VD_DEXT_COMPLETE, 0, 0, "\44\0\0\0\0\0\0\0", 8);
    expect(t, VD_DEXT_MAP, 1, VD_DEXT_UNSUPPORTED, NULL, 0);
    expect_file(t, 2, 111);
    expect_none(t, 0);
}

/* What macOS joins: the message with it, then others without. */
static void a_descriptor_before_other_messages_finds_its_own(void **state)
{
    struct rig *t = *state;
    int fd = wire_memfd(222);

    wire_map(&t->out, 1, 0, 222);
    wire_complete(&t->out, VD_DEXT_WAIT_EVENT, 0, NULL, 0);
    wire_message(&t->out, VD_DEXT_MAP, 2, VD_DEXT_UNSUPPORTED, NULL, 0);
    wire_send_fds(&t->out, t->peer, fd, 1);
    close(fd);
    assert_true(vd_frame_receive(&t->stream) > 0);
    expect_file(t, 1, 222);
    expect(t, VD_DEXT_COMPLETE, 0, 0, "\44\0\0\0\0\0\0\0", 8);
    expect(t, VD_DEXT_MAP, 2, VD_DEXT_UNSUPPORTED, NULL, 0);
    expect_none(t, 0);
}

static void two_descriptors_keep_their_order(void **state)
{
    struct rig *t = *state;
    struct wire rest = {0};
    int first = wire_memfd(1), second = wire_memfd(2);
    size_t whole;

    /* The first message's tail comes with the second message: both wait at once. */
    wire_map(&rest, 1, 0, 1);
    whole = rest.used;
    wire_add(&t->out, rest.bytes, 20);
    wire_send_fds(&t->out, t->peer, first, 1);
    assert_int_equal(vd_frame_receive(&t->stream), 20);
    expect_none(t, 0);
    wire_map(&rest, 2, 0, 2);
    wire_add(&t->out, rest.bytes + 20, rest.used - 20);
    wire_send_fds(&t->out, t->peer, second, 1);
    assert_int_equal(vd_frame_receive(&t->stream), 2 * whole - 20);
    expect_file(t, 1, 1);
    expect_file(t, 2, 2);
    close(first);
    close(second);
}

static void a_descriptor_with_half_a_header_waits(void **state)
{
    struct rig *t = *state;
    struct wire whole = {0};
    int fd = wire_memfd(5);

    wire_map(&whole, 1, 0, 5);
    wire_add(&t->out, whole.bytes, 3);
    wire_send_fds(&t->out, t->peer, fd, 1);
    close(fd);
    assert_int_equal(vd_frame_receive(&t->stream), 3);
    expect_none(t, 0);
    wire_add(&t->out, whole.bytes + 3, whole.used - 3);
    wire_send(&t->out, t->peer);
    assert_true(vd_frame_receive(&t->stream) > 0);
    expect_file(t, 1, 5);
}

static void a_descriptor_with_another_message_is_eproto(void **state)
{
    struct rig *t = *state;

    wire_message(&t->out, VD_DEXT_CALL, 1, 0, NULL, 0);
    wire_send_fds(&t->out, t->peer, t->peer, 1);
    assert_true(vd_frame_receive(&t->stream) > 0);
    expect(t, VD_DEXT_CALL, 1, 0, NULL, 0);
    expect_none(t, -EPROTO);
}

static void a_descriptor_with_half_of_another_message_is_eproto(void **state)
{
    struct rig *t = *state;

    wire_header(&t->out, WIRE_HEADER + 8, VD_DEXT_CALL, 0, 1, 0);
    wire_send_fds(&t->out, t->peer, t->peer, 1);
    assert_true(vd_frame_receive(&t->stream) > 0);
    expect_none(t, -EPROTO);
}

static void two_descriptors_with_one_message_are_eproto(void **state)
{
    struct rig *t = *state;

    for (unsigned nr = 2; nr < 5; nr++) {
        wire_map(&t->out, 1, 0, 1);
        wire_send_fds(&t->out, t->peer, t->peer, nr);
        assert_int_equal(vd_frame_receive(&t->stream), -EPROTO);
    }
}

static void a_map_without_its_descriptor_has_none(void **state)
{
    struct rig *t = *state;

    wire_map(&t->out, 1, 0, 1);
    wire_send(&t->out, t->peer);
    assert_true(vd_frame_receive(&t->stream) > 0);
    expect(t, VD_DEXT_MAP, 1, 0, "\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0", 16);
}

static void a_descriptor_there_is_no_room_for_is_lost_alone(void **state)
{
    struct rig *t = *state;
    struct rlimit limit, none;
    struct vd_frame frame;
    int ret;

    wire_map(&t->out, 1, 0, 1);
    wire_send_fds(&t->out, t->peer, t->peer, 1);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    ret = vd_frame_receive(&t->stream);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(ret > 0);
    assert_int_equal(vd_frame_next(&t->stream, &frame), 1);
    assert_int_equal(frame.fd, -1);
    assert_true(frame.fd_lost);
    wire_map(&t->out, 2, 0, 1);
    wire_send_fds(&t->out, t->peer, t->peer, 1);
    assert_true(vd_frame_receive(&t->stream) > 0);
    assert_int_equal(vd_frame_next(&t->stream, &frame), 1);
    assert_true(frame.fd >= 0);
    assert_false(frame.fd_lost);
    vd_frame_drop(&frame);
}

static void the_extension_takes_descriptors_with_share_only(void **state)
{
    struct rig *t = *state;
    int fd = wire_memfd(3);

    wire_message(&t->out, VD_DEXT_SHARE, 1, 0, NULL, 0);
    wire_send_fds(&t->out, t->peer, fd, 1);
    assert_true(vd_frame_receive(&t->stream) > 0);
    expect_file(t, 1, 3);
    wire_message(&t->out, VD_DEXT_MAP, 2, 0, NULL, 0);
    wire_send_fds(&t->out, t->peer, fd, 1);
    close(fd);
    assert_true(vd_frame_receive(&t->stream) > 0);
    expect(t, VD_DEXT_MAP, 2, 0, NULL, 0);
    expect_none(t, -EPROTO);
}

static void descriptors_nobody_took_are_closed_with_the_stream(void **state)
{
    struct rig *t = *state;

    wire_map(&t->out, 1, 0, 1);
    wire_send_fds(&t->out, t->peer, t->peer, 1);
    assert_true(vd_frame_receive(&t->stream) > 0);
    /* tear_down() counts */
}

static struct vd_frame_out out_of(uint32_t tag, void *bytes, size_t size, int fd)
{
    return (struct vd_frame_out){
        .kind = VD_DEXT_MAP, .tag = tag, .status = 0, .fd = fd, .nr_pieces = 1, .pieces = {{bytes, size}}};
}

static void send_puts_the_pieces_together(void **state)
{
    struct rig *t = *state;
    struct vd_frame_out out = {.kind = VD_DEXT_SHARE,
                               .tag = 0x01020304,
                               .status = VD_DEXT_BUSY,
                               .fd = wire_memfd(77),
                               .nr_pieces = 3,
                               .pieces = {{(void *)"ab", 2}, {NULL, 0}, {(void *)"cde", 3}}};
    struct wire_in in;

    assert_int_equal(vd_frame_send(&t->stream, &out, UINT64_MAX), 0);
    assert_int_equal(lseek(out.fd, 0, SEEK_CUR), 0); /* still ours */
    close(out.fd);
    assert_true(wire_receive(t->peer, &in));
    assert_int_equal(in.kind, VD_DEXT_SHARE);
    assert_int_equal(in.tag, 0x01020304);
    assert_int_equal((int)in.status, VD_DEXT_BUSY);
    assert_int_equal(in.size, 5);
    assert_memory_equal(in.payload, "abcde", 5);
    assert_int_equal(lseek(in.fd, 0, SEEK_END), 77);
    close(in.fd);
}

static void a_message_that_is_too_large_is_not_sent(void **state)
{
    struct rig *t = *state;
    static uint8_t bytes[VD_DEXT_SOCKET_MAX_SIZE];
    struct vd_frame_out out = out_of(1, bytes, sizeof(bytes) - WIRE_HEADER + 1, -1);
    struct wire_in in;

    assert_int_equal(vd_frame_send(&t->stream, &out, UINT64_MAX), -EMSGSIZE);
    assert_false(wire_receive(t->peer, &in));
}

static void a_peer_that_does_not_read_is_etimedout(void **state)
{
    struct rig *t = *state;
    static uint8_t bytes[VD_DEXT_SOCKET_MAX_SIZE - WIRE_HEADER];
    struct vd_frame_out out = out_of(1, bytes, sizeof(bytes), -1);

    t->env.step = 1000000;
    assert_int_equal(vd_frame_send(&t->stream, &out, 5000000), -ETIMEDOUT);
}

static void a_peer_that_is_gone_is_epipe(void **state)
{
    struct rig *t = *state;
    struct vd_frame_out out = out_of(1, NULL, 0, -1);

    shutdown(t->peer, SHUT_RD);
    assert_int_equal(vd_frame_send(&t->stream, &out, UINT64_MAX), -EPIPE);
    assert_int_equal(vd_frame_post(&t->stream, &out), -EPIPE);
}

/* Reads and compares; what is posted counts up over all messages. */
static size_t drain(struct rig *t, size_t from, size_t most)
{
    static uint8_t bytes[4096];
    size_t done = 0;

    while (done < most) {
        ssize_t n =
            recv(t->peer, bytes, most - done < sizeof(bytes) ? most - done : sizeof(bytes), MSG_DONTWAIT);

        if (n <= 0)
            break;
        for (size_t i = 0; i < (size_t)n; i++) {
            size_t at = (from + done + i) % (WIRE_HEADER + 60000);

            if (at >= WIRE_HEADER)
                assert_int_equal(bytes[i], (uint8_t)(at - WIRE_HEADER));
        }
        done += (size_t)n;
    }
    return done;
}

static void what_is_posted_to_a_full_socket_is_kept_and_flushed_in_order(void **state)
{
    struct rig *t = *state;
    uint8_t *bytes = malloc(60000);
    struct vd_frame_out out = out_of(1, bytes, 60000, -1);
    size_t posted = 0, read = 0;
    int ret;

    assert_non_null(bytes);
    for (size_t i = 0; i < 60000; i++)
        bytes[i] = (uint8_t)i;
    while (!vd_frame_posted(&t->stream)) {
        assert_int_equal(vd_frame_post(&t->stream, &out), 0);
        posted += WIRE_HEADER + 60000;
    }
    read += drain(t, read, 100000); /* now there is room, but not for those that came later */
    while ((ret = vd_frame_post(&t->stream, &out)) == 0)
        posted += WIRE_HEADER + 60000;
    assert_int_equal(ret, -EAGAIN);
    assert_true(vd_frame_posted(&t->stream));
    assert_true(posted > VD_DEXT_SOCKET_MAX_SIZE);
    while (vd_frame_posted(&t->stream)) {
        read += drain(t, read, 100000);
        ret = vd_frame_flush(&t->stream);
    }
    assert_int_equal(ret, 0);
    read += drain(t, read, SIZE_MAX);
    assert_int_equal(read, posted);
    assert_int_equal(vd_frame_flush(&t->stream), 0);
    free(bytes);
}

static void a_descriptor_is_not_posted_behind_what_is_kept(void **state)
{
    struct rig *t = *state;
    static uint8_t bytes[500000];
    struct vd_frame_out out = out_of(1, bytes, sizeof(bytes), -1);

    assert_int_equal(vd_frame_post(&t->stream, &out), 0);
    assert_true(vd_frame_posted(&t->stream));
    out = out_of(2, NULL, 0, t->peer);
    assert_int_equal(vd_frame_post(&t->stream, &out), -EAGAIN);
    out.fd = -1;
    assert_int_equal(vd_frame_post(&t->stream, &out), 0);
}

static void open_unwinds_when_memory_is_short(void **state)
{
    (void)state;
    for (unsigned at = 1; at <= 2; at++) {
        struct vd_frame_stream stream;
        struct wire_env env;

        wire_env_init(&env);
        env.fail_at = at;
        assert_int_equal(vd_frame_open(&stream, &env.env, 0, VD_FRAME_EXTENSION), -ENOMEM);
        assert_int_equal(env.live, 0);
        assert_true(fcntl(0, F_GETFD) >= 0); /* the caller's still */
        vd_frame_close(&stream);
    }
}

#define CLIENT(f)    cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define EXTENSION(f) cmocka_unit_test_setup_teardown(f, set_up_extension, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLIENT(a_message_comes_out_as_it_went_in),
        CLIENT(bytes_may_come_one_at_a_time),
        CLIENT(several_messages_may_come_at_once),
        CLIENT(the_largest_message_fits_and_one_byte_more_is_eproto),
        cmocka_unit_test(bad_headers_are_eproto),
        CLIENT(the_end_of_the_stream_is_econnreset),
        CLIENT(a_descriptor_behind_other_messages_finds_its_own),
        CLIENT(a_descriptor_before_other_messages_finds_its_own),
        CLIENT(two_descriptors_keep_their_order),
        CLIENT(a_descriptor_with_half_a_header_waits),
        CLIENT(a_descriptor_with_another_message_is_eproto),
        CLIENT(a_descriptor_with_half_of_another_message_is_eproto),
        CLIENT(two_descriptors_with_one_message_are_eproto),
        CLIENT(a_map_without_its_descriptor_has_none),
        CLIENT(a_descriptor_there_is_no_room_for_is_lost_alone),
        EXTENSION(the_extension_takes_descriptors_with_share_only),
        CLIENT(descriptors_nobody_took_are_closed_with_the_stream),
        CLIENT(send_puts_the_pieces_together),
        CLIENT(a_message_that_is_too_large_is_not_sent),
        CLIENT(a_peer_that_does_not_read_is_etimedout),
        EXTENSION(a_peer_that_is_gone_is_epipe),
        EXTENSION(what_is_posted_to_a_full_socket_is_kept_and_flushed_in_order),
        EXTENSION(a_descriptor_is_not_posted_behind_what_is_kept),
        cmocka_unit_test(open_unwinds_when_memory_is_short),
    };

    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
