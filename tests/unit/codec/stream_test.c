/* SPDX-License-Identifier: BSD-3-Clause */
/* Framing over a socket pair: what the sender cuts or joins must not matter to the receiver. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "codec/codec.h"
#include "peer.h"

enum { HEADER = sizeof(struct vfio_user_header) };

struct pair {
    struct vd_env env;
    struct vd_stream stream;
    int peer;
    unsigned fds_before;
};

static int set_up(void **state)
{
    struct pair *p = calloc(1, sizeof(*p));
    int ends[2];

    assert_non_null(p);
    p->fds_before = count_fds();
    vd_env_init_default(&p->env);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(vd_stream_init(&p->stream, &p->env), 0);
    vd_stream_open(&p->stream, ends[0]);
    p->peer = ends[1];
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct pair *p = *state;

    if (p->peer >= 0)
        close(p->peer);
    vd_stream_finish(&p->stream);
    assert_int_equal(count_fds(), p->fds_before);
    free(p);
    return 0;
}

/* A message of `size` payload bytes that count up from `seed`. */
static size_t make(uint8_t *at, uint16_t id, size_t size, uint8_t seed)
{
    vd_header_put(at, id, VFIO_USER_REGION_WRITE, size, 0, 0);
    for (size_t i = 0; i < size; i++)
        at[HEADER + i] = (uint8_t)(seed + i);
    return HEADER + size;
}

static void expect(struct pair *p, uint16_t id, size_t size, uint8_t seed, unsigned nr_fds)
{
    struct vd_message m;

    assert_int_equal(vd_stream_next(&p->stream, &m), 1);
    assert_int_equal(m.id, id);
    assert_int_equal(m.size, size);
    assert_int_equal(m.nr_fds, nr_fds);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(m.payload[i], (uint8_t)(seed + i));
    vd_message_finish(&m);
}

static void expect_nothing(struct pair *p)
{
    struct vd_message m;

    assert_int_equal(vd_stream_next(&p->stream, &m), 0);
}

static void a_message_comes_out_as_it_went_in(void **state)
{
    struct pair *p = *state;
    uint8_t bytes[64];
    size_t n = make(bytes, 7, 20, 3);

    assert_true(peer_send_raw(p->peer, bytes, n, NULL, 0));
    assert_int_equal(vd_stream_receive(&p->stream), (int)n);
    assert_true(vd_stream_has_next(&p->stream));
    expect(p, 7, 20, 3, 0);
    assert_false(vd_stream_has_next(&p->stream));
    expect_nothing(p);
}

/* The kernel then drops what it cannot install and says so as it does for a message with too many. */
static void descriptors_that_this_process_has_no_room_for_are_emfile(void **state)
{
    struct pair *p = *state;
    struct rlimit limit, none;
    uint8_t bytes[64];
    size_t n = make(bytes, 7, 20, 3);
    int ret;

    assert_true(peer_send_raw(p->peer, bytes, n, (int[]){p->peer, p->peer}, 2));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    ret = vd_stream_receive(&p->stream);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(ret, -EMFILE);
}

static void an_empty_socket_is_eagain(void **state)
{
    struct pair *p = *state;

    assert_int_equal(vd_stream_receive(&p->stream), -EAGAIN);
}

static void a_closed_peer_is_econnreset(void **state)
{
    struct pair *p = *state;

    close(p->peer);
    p->peer = -1;
    assert_int_equal(vd_stream_receive(&p->stream), -ECONNRESET);
}

static void bytes_one_by_one_make_a_message(void **state)
{
    struct pair *p = *state;
    uint8_t bytes[64];
    size_t n = make(bytes, 1, 9, 0);

    for (size_t i = 0; i < n; i++) {
        expect_nothing(p);
        assert_true(peer_send_raw(p->peer, bytes + i, 1, NULL, 0));
        assert_int_equal(vd_stream_receive(&p->stream), 1);
    }
    expect(p, 1, 9, 0, 0);
}

static void three_messages_in_one_segment_cost_one_read(void **state)
{
    struct pair *p = *state;
    uint8_t bytes[256];
    size_t n = make(bytes, 1, 5, 1);

    n += make(bytes + n, 2, 0, 0);
    n += make(bytes + n, 3, 40, 9);
    assert_true(peer_send_raw(p->peer, bytes, n, NULL, 0));
    assert_int_equal(vd_stream_receive(&p->stream), (int)n);
    expect(p, 1, 5, 1, 0);
    expect(p, 2, 0, 0, 0);
    expect(p, 3, 40, 9, 0);
    expect_nothing(p);
}

static void separate_segments_are_read_together(void **state)
{
    struct pair *p = *state;
    uint8_t bytes[64];

    for (uint16_t id = 0; id < 4; id++)
        assert_true(peer_send_raw(p->peer, bytes, make(bytes, id, 8, (uint8_t)id), NULL, 0));
    assert_int_equal(vd_stream_receive(&p->stream), 4 * (HEADER + 8));
    for (uint16_t id = 0; id < 4; id++)
        expect(p, id, 8, (uint8_t)id, 0);
}

static void a_tail_is_kept_for_the_next_read(void **state)
{
    struct pair *p = *state;
    uint8_t bytes[256];
    size_t first = make(bytes, 1, 10, 0);
    size_t n = first + make(bytes + first, 2, 30, 5);

    assert_true(peer_send_raw(p->peer, bytes, first + 20, NULL, 0));
    assert_int_equal(vd_stream_receive(&p->stream), (int)first + 20);
    expect(p, 1, 10, 0, 0);
    expect_nothing(p);
    assert_true(peer_send_raw(p->peer, bytes + first + 20, n - first - 20, NULL, 0));
    assert_true(vd_stream_receive(&p->stream) > 0);
    expect(p, 2, 30, 5, 0);
}

static void descriptors_go_to_the_message_they_came_with(void **state)
{
    struct pair *p = *state;
    uint8_t bytes[64];
    int fds[2] = {p->peer, p->peer};

    assert_true(peer_send_raw(p->peer, bytes, make(bytes, 1, 8, 0), NULL, 0));
    assert_true(peer_send_raw(p->peer, bytes, make(bytes, 2, 8, 0), fds, 2));
    assert_true(peer_send_raw(p->peer, bytes, make(bytes, 3, 8, 0), fds, 1));
    assert_true(peer_send_raw(p->peer, bytes, make(bytes, 4, 8, 0), NULL, 0));
    assert_true(vd_stream_receive(&p->stream) > 0); /* the kernel ends this read after message 2 */
    expect(p, 1, 8, 0, 0);
    expect(p, 2, 8, 0, 2);
    expect_nothing(p);
    assert_true(vd_stream_receive(&p->stream) > 0);
    expect(p, 3, 8, 0, 1);
    while (!vd_stream_has_next(&p->stream))
        assert_true(vd_stream_receive(&p->stream) > 0);
    expect(p, 4, 8, 0, 0);
}

static void descriptors_of_a_split_message_stay_with_it(void **state)
{
    struct pair *p = *state;
    uint8_t bytes[128];
    size_t first = make(bytes, 1, 20, 0);
    size_t second = make(bytes + first, 2, 4, 0);

    /* The header brings one, the rest of the body none, the next message another. */
    assert_true(peer_send_raw(p->peer, bytes, HEADER + 2, &p->peer, 1));
    assert_true(vd_stream_receive(&p->stream) > 0);
    expect_nothing(p);
    assert_true(peer_send_raw(p->peer, bytes + HEADER + 2, first - HEADER - 2, NULL, 0));
    assert_true(peer_send_raw(p->peer, bytes + first, second, &p->peer, 1));
    assert_true(vd_stream_receive(&p->stream) > 0);
    expect(p, 1, 20, 0, 1);
    expect(p, 2, 4, 0, 1);
}

static void descriptors_sent_with_the_body_belong_to_its_message(void **state)
{
    struct pair *p = *state;
    uint8_t bytes[64];
    size_t n = make(bytes, 5, 12, 0);

    assert_true(peer_send_raw(p->peer, bytes, HEADER, NULL, 0));
    assert_true(vd_stream_receive(&p->stream) > 0);
    assert_true(peer_send_raw(p->peer, bytes + HEADER, n - HEADER, &p->peer, 1));
    assert_true(vd_stream_receive(&p->stream) > 0);
    expect(p, 5, 12, 0, 1);
}

static void received_descriptors_are_close_on_exec(void **state)
{
    struct pair *p = *state;
    uint8_t bytes[64];
    struct vd_message m;

    assert_true(peer_send_raw(p->peer, bytes, make(bytes, 1, 0, 0), &p->peer, 1));
    assert_true(vd_stream_receive(&p->stream) > 0);
    assert_int_equal(vd_stream_next(&p->stream, &m), 1);
    assert_int_equal(m.nr_fds, 1);
    assert_true(fcntl(m.fds[0], F_GETFD) & FD_CLOEXEC);
    vd_message_finish(&m);
}

static void seventeen_descriptors_are_a_violation(void **state)
{
    struct pair *p = *state;
    uint8_t bytes[64];
    int fds[17];

    for (unsigned i = 0; i < 17; i++)
        fds[i] = p->peer;
    assert_true(peer_send_raw(p->peer, bytes, make(bytes, 1, 0, 0), fds, 17));
    assert_int_equal(vd_stream_receive(&p->stream), -EPROTO);
}

static void descriptors_in_instalments_beyond_sixteen_are_a_violation(void **state)
{
    struct pair *p = *state;
    uint8_t bytes[64];
    int fds[16];
    size_t n = make(bytes, 1, 8, 0);

    for (unsigned i = 0; i < 16; i++)
        fds[i] = p->peer;
    assert_true(peer_send_raw(p->peer, bytes, HEADER, fds, 16));
    assert_true(vd_stream_receive(&p->stream) > 0);
    assert_true(peer_send_raw(p->peer, bytes + HEADER, n - HEADER, fds, 1));
    assert_int_equal(vd_stream_receive(&p->stream), -EPROTO);
}

static void waiting_descriptors_are_closed_with_the_stream(void **state)
{
    struct pair *p = *state;
    uint8_t bytes[64];
    unsigned before = count_fds();

    make(bytes, 1, 8, 0);
    assert_true(peer_send_raw(p->peer, bytes, HEADER, &p->peer, 1));
    assert_true(vd_stream_receive(&p->stream) > 0);
    assert_int_equal(count_fds(), before + 1);
    vd_stream_close(&p->stream);
    assert_int_equal(count_fds(), before - 1);
}

static void send_header(struct pair *p, uint32_t size, uint32_t flags)
{
    uint8_t bytes[HEADER];

    vd_header_put(bytes, 1, 1, 0, flags, 0);
    vd_store32(bytes + 4, size);
    assert_true(peer_send_raw(p->peer, bytes, HEADER, NULL, 0));
    assert_int_equal(vd_stream_receive(&p->stream), HEADER);
    assert_true(vd_stream_has_next(&p->stream));
}

static void a_size_below_the_header_is_a_violation(void **state)
{
    struct pair *p = *state;
    struct vd_message m;

    send_header(p, HEADER - 1, 0);
    assert_int_equal(vd_stream_next(&p->stream, &m), -EPROTO);
}

static void a_size_above_the_limit_is_a_violation(void **state)
{
    struct pair *p = *state;
    struct vd_message m;

    send_header(p, VD_MESSAGE_MAX_SIZE + 1, 0);
    assert_int_equal(vd_stream_next(&p->stream, &m), -EPROTO);
}

static void an_unknown_type_is_a_violation(void **state)
{
    struct pair *p = *state;
    struct vd_message m;

    send_header(p, HEADER, 2);
    assert_int_equal(vd_stream_next(&p->stream, &m), -EPROTO);
}

struct big {
    int fd;
    uint8_t *bytes;
    size_t size;
};

static void *send_big(void *opaque)
{
    struct big *big = opaque;

    peer_send_raw(big->fd, big->bytes, big->size, NULL, 0);
    return NULL;
}

static void the_largest_message_fits_behind_a_small_one(void **state)
{
    struct pair *p = *state;
    size_t payload = VD_MESSAGE_MAX_SIZE - HEADER;
    struct big big = {.fd = p->peer, .bytes = malloc(64 + VD_MESSAGE_MAX_SIZE)};
    pthread_t thread;

    assert_non_null(big.bytes);
    big.size = make(big.bytes, 1, 20, 0);
    big.size += make(big.bytes + big.size, 2, payload, 1);
    assert_int_equal(pthread_create(&thread, NULL, send_big, &big), 0);
    for (uint16_t id = 1; id <= 2; id++) {
        while (!vd_stream_has_next(&p->stream)) {
            int ret = vd_stream_receive(&p->stream);

            assert_true(ret > 0 || ret == -EAGAIN);
        }
        expect(p, id, id == 1 ? 20 : payload, id == 1 ? 0 : 1, 0);
    }
    pthread_join(thread, NULL);
    free(big.bytes);
}

static void *read_slowly(void *opaque)
{
    const struct big *big = opaque;

    for (size_t done = 0; done < big->size;) {
        ssize_t n = recv(big->fd, big->bytes + done, big->size - done < 1000 ? big->size - done : 1000, 0);

        if (n <= 0)
            break;
        done += (size_t)n;
    }
    return NULL;
}

static void a_send_larger_than_the_socket_buffer_arrives_whole(void **state)
{
    struct pair *p = *state;
    struct big big = {.fd = p->peer, .size = VD_MESSAGE_MAX_SIZE, .bytes = calloc(1, VD_MESSAGE_MAX_SIZE)};
    uint8_t *out = malloc(VD_MESSAGE_MAX_SIZE);
    struct iovec iov[3];
    pthread_t thread;

    assert_non_null(out);
    make(out, 9, VD_MESSAGE_MAX_SIZE - HEADER, 4);
    iov[0] = (struct iovec){out, HEADER};
    iov[1] = (struct iovec){out + HEADER, 0};
    iov[2] = (struct iovec){out + HEADER, VD_MESSAGE_MAX_SIZE - HEADER};
    assert_int_equal(pthread_create(&thread, NULL, read_slowly, &big), 0);
    assert_int_equal(vd_stream_send(&p->stream, iov, 3, NULL, 0, 10000), 0);
    pthread_join(thread, NULL);
    assert_memory_equal(out, big.bytes, VD_MESSAGE_MAX_SIZE);
    free(out);
    free(big.bytes);
}

static void a_peer_that_does_not_read_is_etimedout(void **state)
{
    struct pair *p = *state;
    uint8_t *out = calloc(1, VD_MESSAGE_MAX_SIZE);
    struct iovec iov = {out, VD_MESSAGE_MAX_SIZE};

    assert_int_equal(vd_stream_send(&p->stream, &iov, 1, NULL, 0, 1), -ETIMEDOUT);
    free(out);
}

static void sending_to_a_closed_peer_is_epipe(void **state)
{
    struct pair *p = *state;
    uint8_t out[HEADER] = {0};
    struct iovec iov = {out, sizeof(out)};

    close(p->peer);
    p->peer = -1;
    assert_int_equal(vd_stream_send(&p->stream, &iov, 1, NULL, 0, 1000), -EPIPE);
}

static void descriptors_go_out_once(void **state)
{
    struct pair *p = *state;
    uint8_t out[HEADER];
    struct iovec iov = {out, sizeof(out)};
    struct peer_message m;
    struct peer peer;
    int fds[2] = {p->peer, p->peer};

    peer_init(&peer, p->peer);
    vd_header_put(out, 3, 5, 0, VFIO_USER_TYPE_REPLY, 0);
    assert_int_equal(vd_stream_send(&p->stream, &iov, 1, fds, 2, 1000), 0);
    peer_receive(&peer, &m);
    assert_int_equal(m.nr_fds, 2);
    for (unsigned i = 0; i < m.nr_fds; i++)
        close(m.fds[i]);
    peer_finish(&peer);
    p->peer = -1;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_message_comes_out_as_it_went_in),
        TEST(descriptors_that_this_process_has_no_room_for_are_emfile),
        TEST(an_empty_socket_is_eagain),
        TEST(a_closed_peer_is_econnreset),
        TEST(bytes_one_by_one_make_a_message),
        TEST(three_messages_in_one_segment_cost_one_read),
        TEST(separate_segments_are_read_together),
        TEST(a_tail_is_kept_for_the_next_read),
        TEST(descriptors_go_to_the_message_they_came_with),
        TEST(descriptors_of_a_split_message_stay_with_it),
        TEST(descriptors_sent_with_the_body_belong_to_its_message),
        TEST(received_descriptors_are_close_on_exec),
        TEST(seventeen_descriptors_are_a_violation),
        TEST(descriptors_in_instalments_beyond_sixteen_are_a_violation),
        TEST(waiting_descriptors_are_closed_with_the_stream),
        TEST(a_size_below_the_header_is_a_violation),
        TEST(a_size_above_the_limit_is_a_violation),
        TEST(an_unknown_type_is_a_violation),
        TEST(the_largest_message_fits_behind_a_small_one),
        TEST(a_send_larger_than_the_socket_buffer_arrives_whole),
        TEST(a_peer_that_does_not_read_is_etimedout),
        TEST(sending_to_a_closed_peer_is_epipe),
        TEST(descriptors_go_out_once),
    };

    return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
