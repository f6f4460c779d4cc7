/* SPDX-License-Identifier: BSD-3-Clause */
/* Connections: what may be said when, what ends one, and that a bad one is nobody else's trouble. */
#include "rig.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dext/host/client.h"

static const char *const one_edu[] = {"01:00.0=sim:edu", NULL};
static const char *const nothing[] = {NULL};

static void hello_of_another_version_is_refused(void **state)
{
    const vd_le32 hello[2] = {vd_put32(VD_DEXT_SOCKET_VERSION + 1), vd_put32(0)};
    struct rig rig = {0};
    struct raw raw;

    rig_start(&rig, nothing);
    raw = raw_connect(rig.path);
    assert_int_equal(raw_ask(&raw, VD_DEXT_HELLO, hello, sizeof(hello), -1, NULL), VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(raw_ask(&raw, VD_DEXT_LIST, NULL, 0, -1, NULL), VD_DEXT_NOT_READY);
    raw_close(&raw);
    rig_stop(&rig);
}

static void hello_comes_first_and_once(void **state)
{
    const vd_le32 hello[2] = {vd_put32(VD_DEXT_SOCKET_VERSION), vd_put32(0)};
    const char list[] = "list";
    struct rig rig = {0};
    struct raw raw;

    rig_start(&rig, one_edu);
    raw = raw_connect(rig.path);
    assert_int_equal(raw_ask(&raw, VD_DEXT_CONTROL, list, 4, -1, NULL), VD_DEXT_NOT_READY);
    assert_int_equal(raw_ask64(&raw, VD_DEXT_OPEN, 1), VD_DEXT_NOT_READY);
    assert_int_equal(raw_ask(&raw, VD_DEXT_HELLO, hello, sizeof(hello), -1, NULL), VD_DEXT_SUCCESS);
    assert_int_equal(raw_ask(&raw, VD_DEXT_HELLO, hello, sizeof(hello), -1, NULL), VD_DEXT_NOT_READY);
    assert_int_equal(raw_call(&raw, VD_DEXT_CLAIM, NULL, 0, NULL, 0), VD_DEXT_NOT_READY);
    raw_close(&raw);
    rig_stop(&rig);
}

static void open_finds_services_by_id_and_works_once(void **state)
{
    static struct raw_message ids;
    static const char *const devices[] = {"01:00.0=sim:edu", "02:00.0=sim:nvme,size=1M", NULL};
    struct rig rig = {0};
    struct raw raw;
    uint64_t identity[6];

    rig_start(&rig, devices);
    raw = raw_hello(rig.path);
    assert_int_equal(raw_ask(&raw, VD_DEXT_LIST, NULL, 0, -1, &ids), VD_DEXT_SUCCESS);
    assert_int_equal(ids.size, 16);
    assert_int_equal(raw_ask64(&raw, VD_DEXT_OPEN, 77), VD_DEXT_NOT_FOUND);
    assert_int_equal(raw_ask64(&raw, VD_DEXT_OPEN, vd_load64(ids.payload + 8)), VD_DEXT_SUCCESS);
    assert_int_equal(raw_ask64(&raw, VD_DEXT_OPEN, vd_load64(ids.payload)), VD_DEXT_STILL_OPEN);
    assert_int_equal(raw_call(&raw, VD_DEXT_GET_IDENTITY, NULL, 0, identity, 6), VD_DEXT_SUCCESS);
    assert_int_equal(identity[0], 2);
    assert_int_equal(identity[4], 0x4e56);
    assert_int_equal(identity[5], 0x010802);
    raw_close(&raw);
    rig_stop(&rig);
}

/* Bytes that cannot be a message: the connection ends, and the next one works. */
static void ends(const struct rig *rig, const void *bytes, size_t size)
{
    struct raw bad = raw_hello(rig->path), good;

    raw_send_bytes(&bad, bytes, size, -1);
    raw_await_close(&bad);
    raw_close(&bad);
    good = raw_hello(rig->path);
    raw_close(&good);
}

static void broken_framing_ends_the_connection(void **state)
{
    struct vd_dext_header header = {.size = vd_put32(16), .kind = vd_put16(VD_DEXT_LIST), .tag = vd_put32(9)};
    struct vd_dext_header h;
    struct rig rig = {0};
    uint8_t garbage[64];

    rig_start(&rig, one_edu);
    memset(garbage, 0xa5, sizeof(garbage));
    ends(&rig, garbage, sizeof(garbage));
    h = header, h.size = vd_put32(15);
    ends(&rig, &h, sizeof(h));
    h = header, h.size = vd_put32(VD_DEXT_SOCKET_MAX_SIZE + 1);
    ends(&rig, &h, sizeof(h));
    h = header, h.kind = vd_put16(VD_DEXT_MESSAGE_END);
    ends(&rig, &h, sizeof(h));
    h = header, h.kind = vd_put16(VD_DEXT_COMPLETE);
    ends(&rig, &h, sizeof(h));
    h = header, h.reserved = vd_put16(1);
    ends(&rig, &h, sizeof(h));
    h = header, h.tag = vd_put32(0);
    ends(&rig, &h, sizeof(h));
    h = header, h.status = vd_put32(1);
    ends(&rig, &h, sizeof(h));
    rig_stop(&rig);
}

static void random_bytes_never_end_the_daemon(void **state)
{
    struct rig rig = {0};
    uint64_t random = 88172645463325252ull;
    struct raw good;

    rig_start(&rig, one_edu);
    good = raw_open(rig.path, 0);
    for (unsigned round = 0; round < 300; round++) {
        struct raw bad = raw_open(rig.path, 0);
        uint8_t bytes[256];

        for (size_t i = 0; i < sizeof(bytes); i++) {
            random = random * 6364136223846793005ull + 1442695040888963407ull;
            bytes[i] = (uint8_t)(random >> 56);
        }
        if (round % 3) { /* a good header of a random kind */
            const struct vd_dext_header h = {.size = vd_put32(sizeof(bytes)),
                                             .kind = vd_put16((uint16_t)(round % VD_DEXT_MESSAGE_END)),
                                             .tag = vd_put32(1)};

            memcpy(bytes, &h, sizeof(h));
        }
        raw_send_bytes(&bad, bytes, sizeof(bytes), -1);
        raw_close(&bad);
    }
    raw_claim(&good);
    raw_close(&good);
    rig_stop(&rig);
}

static void wrong_sizes_are_refused(void **state)
{
    static const uint8_t zeros[64];
    struct vd_dext_call_head head = {.selector = vd_put32(VD_DEXT_DESCRIBE),
                                     .nr_bytes_out = vd_put32(VD_DEXT_SOCKET_MAX_BYTES + 1)};
    struct rig rig = {0};
    struct raw raw;

    rig_start(&rig, one_edu);
    raw = raw_open(rig.path, 0);
    for (uint16_t kind = VD_DEXT_LIST; kind < VD_DEXT_MESSAGE_END; kind++)
        if (kind != VD_DEXT_WAIT && kind != VD_DEXT_COMPLETE && kind != VD_DEXT_CONTROL)
            assert_int_equal(raw_ask(&raw, kind, zeros, 7, -1, NULL), VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(raw_ask(&raw, VD_DEXT_CALL, &head, sizeof(head), -1, NULL), VD_DEXT_BAD_ARGUMENT);
    head.nr_bytes_out = vd_put32(0);
    head.nr_scalars_in = vd_put32(VD_DEXT_MAX_SCALARS + 1);
    assert_int_equal(raw_ask(&raw, VD_DEXT_CALL, &head, sizeof(head), -1, NULL), VD_DEXT_BAD_ARGUMENT);
    head.nr_scalars_in = vd_put32(1); /* which do not follow */
    assert_int_equal(raw_ask(&raw, VD_DEXT_CALL, &head, sizeof(head), -1, NULL), VD_DEXT_BAD_ARGUMENT);
    raw_claim(&raw);
    raw_close(&raw);
    rig_stop(&rig);
}

static void reserved_words_must_be_zero(void **state)
{
    const vd_le32 map[2] = {vd_put32(VD_DEXT_MEMORY_IRQ_PAGE), vd_put32(1)};
    const vd_le32 wait[2] = {vd_put32(VD_DEXT_WAIT_EVENT), vd_put32(1)};
    struct rig rig = {0};
    struct raw raw;

    rig_start(&rig, one_edu);
    raw = raw_open(rig.path, 0);
    raw_claim(&raw);
    assert_int_equal(raw_ask(&raw, VD_DEXT_MAP, map, sizeof(map), -1, NULL), VD_DEXT_BAD_ARGUMENT);
    assert_true(raw_send(&raw, VD_DEXT_WAIT, wait, sizeof(wait), -1));
    assert_int_equal(raw_completion(&raw, VD_DEXT_WAIT_EVENT, NULL), VD_DEXT_BAD_ARGUMENT);
    raw_close(&raw);
    rig_stop(&rig);
}

static void message_in_single_bytes_is_understood(void **state)
{
    const struct vd_dext_header header = {
        .size = vd_put32(16), .kind = vd_put16(VD_DEXT_LIST), .tag = vd_put32(99)};
    static struct raw_message reply;
    struct rig rig = {0};
    struct raw raw;

    rig_start(&rig, one_edu);
    raw = raw_hello(rig.path);
    for (size_t i = 0; i < sizeof(header); i++)
        assert_true(raw_send_bytes(&raw, (const uint8_t *)&header + i, 1, -1));
    assert_true(raw_receive(&raw, &reply));
    assert_int_equal(reply.tag, 99);
    assert_int_equal(reply.size, 8);
    raw_close(&raw);
    rig_stop(&rig);
}

static void descriptor_with_another_message_ends_the_connection(void **state)
{
    const struct vd_dext_header header = {
        .size = vd_put32(16), .kind = vd_put16(VD_DEXT_LIST), .tag = vd_put32(1)};
    unsigned before = open_descriptors();
    struct rig rig = {0};
    struct raw raw;

    rig_start(&rig, one_edu);
    raw = raw_hello(rig.path);
    raw_send_bytes(&raw, &header, sizeof(header), STDERR_FILENO);
    raw_await_close(&raw);
    raw_close(&raw);
    rig_stop(&rig);
    assert_int_equal(open_descriptors(), before);
}

/* Fills the connection with requests until no more fit, and reads no reply. How many. */
static unsigned flood(struct raw *raw)
{
    const struct vd_dext_header header = {
        .size = vd_put32(20), .kind = vd_put16(VD_DEXT_CONTROL), .tag = vd_put32(1)};
    uint8_t message[20];
    struct pollfd writable = {.fd = raw->fd, .events = POLLOUT};
    unsigned count = 0;

    memcpy(message, &header, sizeof(header));
    memcpy(message + sizeof(header), "list", 4);
    while (poll(&writable, 1, 100) == 1 && !(writable.revents & POLLHUP)) {
        ssize_t n = send(raw->fd, message, sizeof(message), MSG_DONTWAIT | MSG_NOSIGNAL);

        assert_true(n == sizeof(message) || (n < 0 && errno == EAGAIN));
        count += n > 0;
    }
    return count;
}

static void client_that_does_not_read_is_closed_and_blocks_nobody(void **state)
{
    struct rig rig = {.settings.stall_ms = 300};
    struct raw stalled, other;
    struct pollfd hangup;

    rig_start(&rig, one_edu);
    stalled = raw_open(rig.path, 0);
    raw_claim(&stalled);
    flood(&stalled);
    other = raw_open(rig.path, 0);
    assert_int_equal(raw_call(&other, VD_DEXT_CLAIM, NULL, 0, NULL, 0), VD_DEXT_EXCLUSIVE_ACCESS);
    hangup = (struct pollfd){.fd = stalled.fd};
    assert_int_equal(poll(&hangup, 1, RAW_PATIENCE_MS), 1);
    assert_true(hangup.revents & POLLHUP);
    raw_await_number(&other, "01:00.0", "clients", 1);
    raw_claim(&other);
    raw_close(&other);
    raw_close(&stalled);
    rig_stop(&rig);
}

/*
 * A burst is more messages than one turn handles, all of them in our buffer by then: no poll tells of the rest, so the
 * connection itself must.
 */
static void burst_that_is_buffered_is_served_without_another_wake_up(void **state)
{
    enum { REQUESTS = 40 };
    const struct vd_dext_header list = {
        .size = vd_put32(sizeof(list)), .kind = vd_put16(VD_DEXT_LIST), .tag = vd_put32(1)};
    struct vd_dext_header requests[REQUESTS], reply;
    struct rig rig = {0};
    struct dextd_client *client;
    unsigned turns = 0, replies = 0;
    int ends[2];

    rig_start(&rig, nothing);
    rig_stop(&rig);
    assert_int_equal(mkdir(rig.directory, 0700), 0);
    assert_int_equal(dextd_server_create(&rig.env, &rig.settings, &rig.server, NULL),
                     0); /* it does not run */
    for (unsigned i = 0; i < REQUESTS; i++)
        requests[i] = list;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(dextd_client_create(rig.server, ends[0], 0, &client), 0);
    assert_int_equal(write(ends[1], requests, sizeof(requests)), sizeof(requests));
    client->readable = false; /* as after a read that found nothing: what comes at once is found by trying */
    do
        dextd_client_work(client);
    while (client->readable && ++turns < 100);
    while (recv(ends[1], &reply, sizeof(reply), MSG_DONTWAIT) == sizeof(reply))
        replies++;
    assert_int_equal(replies, REQUESTS);
    assert_true(turns < 100);
    dextd_client_destroy(client);
    close(ends[1]);
    dextd_server_destroy(rig.server);
    assert_int_equal(rmdir(rig.directory), 0);
}

static void slow_reader_gets_all_replies_whole(void **state)
{
    static struct raw_message reply;
    struct rig rig = {0};
    unsigned count;
    struct raw raw;

    rig_start(&rig, one_edu);
    raw = raw_hello(rig.path);
    count = flood(&raw);
    assert_true(count > 100); /* more than the socket holds of the replies */
    for (unsigned i = 0; i < count; i++) {
        assert_true(raw_receive(&raw, &reply));
        assert_int_equal(reply.kind, VD_DEXT_CONTROL);
        assert_int_equal(reply.payload[0], '{');
        assert_int_equal(reply.payload[reply.size - 1], '}');
    }
    assert_true(raw_is_silent(&raw));
    raw_close(&raw);
    rig_stop(&rig);
}

static void client_beyond_the_most_is_refused(void **state)
{
    struct raw clients[DEXTD_MAX_CLIENTS], extra;
    struct rig rig = {0};

    rig_start(&rig, one_edu);
    for (unsigned i = 0; i < DEXTD_MAX_CLIENTS; i++)
        clients[i] = raw_open(rig.path, 0);
    assert_int_equal(raw_number(&clients[0], "01:00.0", "clients"), DEXTD_MAX_CLIENTS);
    extra = raw_connect(rig.path);
    raw_await_close(&extra);
    raw_close(&extra);
    raw_close(&clients[5]);
    raw_await_number(&clients[0], "01:00.0", "clients", DEXTD_MAX_CLIENTS - 1);
    clients[5] = raw_open(rig.path, 0);
    for (unsigned i = 0; i < DEXTD_MAX_CLIENTS; i++)
        raw_close(&clients[i]);
    rig_stop(&rig);
}

/* In the child: connects as nobody; 0 when it is turned away without a word. */
static int try_as_nobody(const char *path)
{
    const vd_le32 hello[2] = {vd_put32(VD_DEXT_SOCKET_VERSION), vd_put32(0)};
    static struct raw_message reply;
    struct raw raw;

    if (setgid(65534) || setuid(65534))
        return 2;
    raw = raw_connect(path);
    raw_send(&raw, VD_DEXT_HELLO, hello, sizeof(hello), -1);
    return raw_receive(&raw, &reply) ? 1 : 0;
}

static void another_user_is_refused(void **state)
{
    struct rig rig = {0};
    struct stat st;
    pid_t pid;
    int status;

    rig_start(&rig, one_edu);
    assert_int_equal(stat(rig.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    if (geteuid() != 0) {
        rig_stop(&rig);
        skip();
    }
    /* Whoever opens the path to others still admits nobody. */
    assert_int_equal(chmod(rig.directory, 0711), 0);
    assert_int_equal(chmod(rig.path, 0666), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(try_as_nobody(rig.path));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    rig_stop(&rig);
}

static void second_daemon_at_the_same_place_is_refused(void **state)
{
    struct vd_failure failure = {0};
    struct dextd_server *second;
    struct rig rig = {0};

    rig_start(&rig, nothing);
    assert_int_equal(dextd_server_create(&rig.env, &rig.settings, &second, &failure), -EADDRINUSE);
    assert_non_null(strstr(failure.text, rig.path));
    rig_stop(&rig);
}

static void daemon_is_created_or_nothing_is_left(void **state)
{
    struct rig rig = {0};
    unsigned before, failures = 0;
    int err;

    rig_start(&rig, nothing);
    rig_stop(&rig);
    assert_int_equal(mkdir(rig.directory, 0700), 0);
    before = open_descriptors();
    do {
        struct vd_failure failure = {0};

        atomic_store(&rig.fail_in, ++failures);
        err = dextd_server_create(&rig.env, &rig.settings, &rig.server, &failure);
        if (!err)
            err = dextd_machine_plug(&rig.server->machine, "01:00.0=sim:edu", &failure);
        if (err)
            assert_true(failure.text[0] != 0);
        dextd_server_destroy(rig.server);
        assert_int_equal(atomic_load(&rig.live), 0);
        assert_int_equal(open_descriptors(), before);
    } while (err && failures < 100);
    atomic_store(&rig.fail_in, 0);
    assert_int_equal(err, 0);
    assert_true(failures > 10);
    assert_int_equal(rmdir(rig.directory), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_of_another_version_is_refused),
        cmocka_unit_test(hello_comes_first_and_once),
        cmocka_unit_test(open_finds_services_by_id_and_works_once),
        cmocka_unit_test(broken_framing_ends_the_connection),
        cmocka_unit_test(random_bytes_never_end_the_daemon),
        cmocka_unit_test(wrong_sizes_are_refused),
        cmocka_unit_test(reserved_words_must_be_zero),
        cmocka_unit_test(message_in_single_bytes_is_understood),
        cmocka_unit_test(descriptor_with_another_message_ends_the_connection),
        cmocka_unit_test(client_that_does_not_read_is_closed_and_blocks_nobody),
        cmocka_unit_test(burst_that_is_buffered_is_served_without_another_wake_up),
        cmocka_unit_test(slow_reader_gets_all_replies_whole),
        cmocka_unit_test(client_beyond_the_most_is_refused),
        cmocka_unit_test(another_user_is_refused),
        cmocka_unit_test(second_daemon_at_the_same_place_is_refused),
        cmocka_unit_test(daemon_is_created_or_nothing_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
