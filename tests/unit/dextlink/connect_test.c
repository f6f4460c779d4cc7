/* SPDX-License-Identifier: BSD-3-Clause */
/* Finding and opening instances at a real socket, with a small extension in a thread behind it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "dextlink/frame.h"
#include "dextlink/link.h"
#include "dextlink/place.h"
#include "wire.h"

static const struct vd_link_ops *const ops = &vd_link_socket;

/* How the extension behaves. */
enum manner { HONEST, OTHER_VERSION, CLOSES, CHATTERS, REFUSES, ODD_LIST };

struct rig {
    char directory[32];
    char path[64];
    enum manner manner;
    int listener;
    pthread_t thread;
    struct vd_env env;
    struct vd_failure failure;
    unsigned fds_before;
};

static void answer(struct vd_frame_stream *stream, const struct vd_frame *frame, int status,
                   const void *payload, size_t size)
{
    struct vd_frame_out out = {.kind = frame->kind,
                               .tag = frame->tag,
                               .status = status,
                               .fd = -1,
                               .nr_pieces = 1,
                               .pieces = {{(void *)(uintptr_t)payload, size}}};

    vd_frame_post(stream, &out);
}

/* Gives the call's scalars and bytes back; before that, ends the wait that may be outstanding. */
static void echo(struct vd_frame_stream *stream, const struct vd_frame *frame, unsigned *waiting)
{
    const struct {
        vd_le32 selector, nr;
    } complete = {vd_put32(VD_DEXT_WAIT_INTERRUPT), vd_put32(0)};
    static _Thread_local uint8_t reply[sizeof(struct vd_dext_reply_head) + 128 + VD_DEXT_SOCKET_MAX_BYTES];
    struct vd_reader r = vd_frame_reader(frame);
    struct vd_writer w = vd_writer_make(reply, sizeof(reply));
    struct vd_dext_call_head head = {0};

    if (*waiting) {
        struct vd_frame none = {.kind = VD_DEXT_COMPLETE};

        answer(stream, &none, 0, &complete, sizeof(complete));
        *waiting = 0;
    }
    vd_read_struct(&r, &head, sizeof(head));
    vd_write32(&w, vd_get32(head.nr_scalars_in));
    vd_write32(&w, vd_get32(head.nr_bytes_in));
    vd_write_bytes(&w, r.at, r.left);
    answer(stream, frame, 0, reply, w.used);
}

static void handle(struct rig *t, struct vd_frame_stream *stream, const struct vd_frame *frame,
                   unsigned *waiting)
{
    static const vd_le64 ids[] = {{{7}}, {{8}}, {{9}}};
    struct vd_reader r = vd_frame_reader(frame);

    switch (frame->kind) {
    case VD_DEXT_HELLO:
        answer(stream, frame, t->manner == OTHER_VERSION ? VD_DEXT_BAD_ARGUMENT : 0, NULL, 0);
        break;
    case VD_DEXT_LIST:
        answer(stream, frame, t->manner == REFUSES ? VD_DEXT_NO_MEMORY : 0, ids,
               t->manner == ODD_LIST ? 9 : sizeof(ids));
        break;
    case VD_DEXT_OPEN:
        answer(stream, frame, vd_read64(&r) == 8 ? 0 : VD_DEXT_NOT_FOUND, NULL, 0);
        break;
    case VD_DEXT_WAIT:
        *waiting = 1;
        break;
    default:
        echo(stream, frame, waiting);
    }
}

static void serve(struct rig *t, struct vd_frame_stream *stream)
{
    unsigned waiting = 0;

    for (;;) {
        struct pollfd pollfd = {.fd = stream->fd, .events = vd_frame_posted(stream) ? POLLOUT : POLLIN};
        struct vd_frame frame;
        int ret;

        poll(&pollfd, 1, -1);
        if (vd_frame_posted(stream)) {
            if (vd_frame_flush(stream) == -EPIPE)
                return;
            continue;
        }
        ret = vd_frame_receive(stream);
        if (ret < 0 && ret != -EAGAIN)
            return;
        while (vd_frame_next(stream, &frame) == 1)
            handle(t, stream, &frame, &waiting);
    }
}

/* One connection after the other, until the listener is shut down. */
static void *extension(void *opaque)
{
    struct rig *t = opaque;
    int fd;

    while ((fd = accept(t->listener, NULL, NULL)) >= 0) {
        static const char chatter[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
        struct vd_frame_stream stream;

        if (t->manner == CHATTERS && write(fd, chatter, sizeof(chatter)) < 0)
            abort();
        if (t->manner == CLOSES || vd_frame_open(&stream, &t->env, fd, VD_FRAME_EXTENSION)) {
            close(fd);
            continue;
        }
        serve(t, &stream);
        vd_frame_close(&stream);
    }
    return NULL;
}

static int set_up(void **state)
{
    struct rig *t = calloc(1, sizeof(*t));

    assert_non_null(t);
    t->fds_before = wire_count_fds();
    vd_env_init_default(&t->env);
    strcpy(t->directory, "/tmp/dextlink-XXXXXX");
    assert_non_null(mkdtemp(t->directory));
    snprintf(t->path, sizeof(t->path), "%s/socket", t->directory);
    t->listener = -1;
    *state = t;
    return 0;
}

static void start(struct rig *t, enum manner manner)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    t->manner = manner;
    strcpy(address.sun_path, t->path);
    t->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(t->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(t->listener, 4), 0);
    assert_int_equal(pthread_create(&t->thread, NULL, extension, t), 0);
}

static int tear_down(void **state)
{
    struct rig *t = *state;

    if (t->listener >= 0) {
        shutdown(t->listener, SHUT_RDWR);
        pthread_join(t->thread, NULL);
        close(t->listener);
    }
    unlink(t->path);
    rmdir(t->directory);
    assert_int_equal(wire_count_fds(), t->fds_before);
    free(t);
    return 0;
}

/* Both ways in fail alike, and the text names the path and says `text`. */
static void expect_failure(struct rig *t, int code, const char *text)
{
    struct vd_link *link = NULL;
    uint64_t id;

    assert_int_equal(ops->list(&t->env, t->path, &id, 1, &t->failure), code);
    assert_int_equal(t->failure.code, code);
    assert_non_null(strstr(t->failure.text, t->path));
    assert_non_null(strstr(t->failure.text, text));
    memset(&t->failure, 0, sizeof(t->failure));
    assert_int_equal(ops->open(&t->env, t->path, 8, &link, &t->failure), code);
    assert_int_equal(t->failure.code, code);
    assert_null(link);
}

static void list_counts_all_and_writes_what_there_is_room_for(void **state)
{
    struct rig *t = *state;
    uint64_t ids[4] = {0};

    start(t, HONEST);
    assert_int_equal(ops->list(&t->env, t->path, ids, 2, &t->failure), 3);
    assert_int_equal(ids[0], 7);
    assert_int_equal(ids[1], 8);
    assert_int_equal(ids[2], 0);
    assert_int_equal(ops->list(&t->env, t->path, ids, 4, &t->failure), 3);
    assert_int_equal(ids[2], 9);
    assert_int_equal(ops->list(&t->env, t->path, NULL, 0, NULL), 3);
}

static void an_instance_that_went_away_is_enoent(void **state)
{
    struct rig *t = *state;
    struct vd_link *link;

    start(t, HONEST);
    assert_int_equal(ops->open(&t->env, t->path, 5, &link, &t->failure), -ENOENT);
    assert_non_null(strstr(t->failure.text, "list again"));
}

static void a_path_without_a_listener_is_enoent(void **state)
{
    struct rig *t = *state;
    int fd;

    expect_failure(t, -ENOENT, "no viaduct-dextd listens at");
    fd = open(t->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600); /* a file is no listener either */
    assert_true(fd >= 0);
    close(fd);
    expect_failure(t, -ENOENT, "no viaduct-dextd listens at");
}

static void a_socket_that_its_owner_left_is_enoent(void **state)
{
    struct rig *t = *state;

    start(t, HONEST);
    shutdown(t->listener, SHUT_RDWR);
    pthread_join(t->thread, NULL);
    close(t->listener);
    t->listener = -1;
    expect_failure(t, -ENOENT, "no viaduct-dextd listens at");
}

static void a_socket_that_is_closed_to_us_is_eacces(void **state)
{
    struct rig *t = *state;
    bool root = geteuid() == 0;

    start(t, HONEST);
    assert_int_equal(chmod(t->path, 0), 0);
    assert_int_equal(chmod(t->directory, 0755), 0);
    assert_int_equal(root ? seteuid(65534) : 0, 0); /* nothing is closed to root */
    expect_failure(t, -EACCES, "Permission denied");
    assert_int_equal(root ? seteuid(0) : 0, 0);
}

static void a_path_that_cannot_be_a_socket_is_wrong_usage(void **state)
{
    struct rig *t = *state;
    static char longest[200];
    uint64_t id;

    memset(longest, 'x', sizeof(longest) - 1);
    assert_int_equal(ops->list(&t->env, longest, &id, 1, &t->failure), -EINVAL);
    assert_true(t->failure.usage);
    assert_int_equal(ops->list(&t->env, "", &id, 1, &t->failure), -EINVAL);
    assert_true(t->failure.usage);
}

static void another_version_is_eio(void **state)
{
    start(*state, OTHER_VERSION);
    expect_failure(*state, -EIO, "another version");
}

static void one_that_closes_is_eio(void **state)
{
    start(*state, CLOSES);
    expect_failure(*state, -EIO, "ended the connection");
}

static void one_that_speaks_something_else_is_eio(void **state)
{
    start(*state, CHATTERS);
    expect_failure(*state, -EIO, "does not answer like a viaduct-dextd");
}

static void a_refused_list_is_eio(void **state)
{
    struct rig *t = *state;
    uint64_t id;

    start(t, REFUSES);
    assert_int_equal(ops->list(&t->env, t->path, &id, 1, &t->failure), -EIO);
    assert_non_null(strstr(t->failure.text, "0xe00002bd"));
}

static void a_list_that_is_not_made_of_ids_is_eio(void **state)
{
    struct rig *t = *state;
    uint64_t id;

    start(t, ODD_LIST);
    assert_int_equal(ops->list(&t->env, t->path, &id, 1, &t->failure), -EIO);
}

static void the_largest_call_goes_both_ways(void **state)
{
    struct rig *t = *state;
    uint8_t *in = malloc(VD_DEXT_SOCKET_MAX_BYTES), *out = malloc(VD_DEXT_SOCKET_MAX_BYTES);
    uint64_t scalars[VD_DEXT_MAX_SCALARS], back[VD_DEXT_MAX_SCALARS];
    struct vd_link_call call = {.selector = VD_DEXT_REGISTER_BATCH,
                                .scalars_in = scalars,
                                .nr_scalars_in = VD_DEXT_MAX_SCALARS,
                                .scalars_out = back,
                                .nr_scalars_out = VD_DEXT_MAX_SCALARS,
                                .bytes_in = in,
                                .nr_bytes_in = VD_DEXT_SOCKET_MAX_BYTES,
                                .bytes_out = out,
                                .nr_bytes_out = VD_DEXT_SOCKET_MAX_BYTES};
    struct vd_link *link;

    assert_non_null(in);
    assert_non_null(out);
    for (size_t i = 0; i < VD_DEXT_SOCKET_MAX_BYTES; i++)
        in[i] = (uint8_t)(i * 7 >> 3);
    for (size_t i = 0; i < VD_DEXT_MAX_SCALARS; i++)
        scalars[i] = i << 60 | i;
    start(t, HONEST);
    assert_int_equal(ops->open(&t->env, t->path, 8, &link, &t->failure), 0);
    assert_int_equal(ops->call(link, &call), 0);
    assert_int_equal(call.nr_bytes_out, VD_DEXT_SOCKET_MAX_BYTES);
    assert_int_equal(call.nr_scalars_out, VD_DEXT_MAX_SCALARS);
    assert_memory_equal(in, out, VD_DEXT_SOCKET_MAX_BYTES);
    assert_memory_equal(scalars, back, sizeof(back));
    ops->close(link);
    free(in);
    free(out);
}

/* Every completion comes with a reply; none may be lost, and poll_fd tells of each. */
static void no_completion_is_lost_among_calls(void **state)
{
    struct rig *t = *state;
    struct vd_link *link;
    unsigned completions = 0;

    start(t, HONEST);
    assert_int_equal(ops->open(&t->env, t->path, 8, &link, &t->failure), 0);
    for (unsigned i = 0; i < 2000; i++) {
        uint64_t in = i, out = 0;
        struct vd_link_call call = {
            .selector = 8, .scalars_in = &in, .nr_scalars_in = 1, .scalars_out = &out, .nr_scalars_out = 1};
        struct pollfd pollfd = {.fd = ops->poll_fd(link), .events = POLLIN};
        struct vd_link_completion completion;
        bool gone;

        assert_int_equal(ops->wait(link, VD_DEXT_WAIT_INTERRUPT), 0);
        assert_int_equal(ops->call(link, &call), 0);
        assert_int_equal(out, i);
        assert_int_equal(poll(&pollfd, 1, 20000), 1);
        completions += ops->poll(link, &completion, &gone);
        assert_int_equal(poll(&pollfd, 1, 0), 0);
    }
    assert_int_equal(completions, 2000);
    ops->close(link);
}

static void expect_place(const char *dextd, const char *runtime, const char *place)
{
    char path[32];

    assert_int_equal(dextd ? setenv("VIADUCT_DEXTD", dextd, 1) : unsetenv("VIADUCT_DEXTD"), 0);
    assert_int_equal(runtime ? setenv("XDG_RUNTIME_DIR", runtime, 1) : unsetenv("XDG_RUNTIME_DIR"), 0);
    assert_int_equal(vd_link_usual_place(path, sizeof(path)), place ? 0 : -ENAMETOOLONG);
    assert_string_equal(path, place ? place : "");
}

static void the_usual_place_is_the_first_that_is_set(void **state)
{
    (void)state;
    expect_place("/d/s", "/r", "/d/s");
    expect_place(NULL, "/r", "/r/viaduct-dextd.sock");
    expect_place("", "/r", "/r/viaduct-dextd.sock");
    expect_place(NULL, NULL, "/run/viaduct-dextd.sock");
    expect_place(NULL, "", "/run/viaduct-dextd.sock");
    expect_place("/123456789/123456789/123456789/1", NULL, NULL);
    expect_place("/123456789/123456789/123456789/", NULL, "/123456789/123456789/123456789/");
}

static void without_a_place_the_usual_one_is_used(void **state)
{
    struct rig *t = *state;
    struct vd_link *link;
    uint64_t id;
    char *endless = malloc(5000);

    assert_non_null(endless);
    assert_ptr_equal(vd_link_choose(t->path), &vd_link_socket);
    assert_ptr_equal(vd_link_choose(NULL), &vd_link_socket);
    start(t, HONEST);
    setenv("VIADUCT_DEXTD", t->path, 1);
    assert_int_equal(ops->list(&t->env, NULL, &id, 1, &t->failure), 3);
    assert_int_equal(ops->open(&t->env, NULL, 8, &link, &t->failure), 0);
    ops->close(link);
    memset(endless, 'x', 4999);
    endless[4999] = 0;
    setenv("VIADUCT_DEXTD", endless, 1);
    assert_int_equal(ops->list(&t->env, NULL, &id, 1, &t->failure), -EINVAL);
    assert_non_null(strstr(t->failure.text, "VIADUCT_DEXTD"));
    unsetenv("VIADUCT_DEXTD");
    free(endless);
}

static void no_socket_and_no_memory_are_reported(void **state)
{
    struct rig *t = *state;

    start(t, HONEST);
    for (unsigned at = 1; at < 20; at++) {
        struct wire_env env;
        uint64_t id;
        int ret;

        wire_env_init(&env);
        env.fail_at = at;
        ret = ops->list(&env.env, t->path, &id, 1, &t->failure);
        assert_int_equal(env.live, 0);
        if (at == 5)
            assert_int_equal(ret, 3);
        else if (at < 5)
            assert_int_equal(ret, at == 1 || at == 4 ? -EMFILE : -ENOMEM); /* socket, link, buffer, watch */
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(list_counts_all_and_writes_what_there_is_room_for),
        TEST(an_instance_that_went_away_is_enoent),
        TEST(a_path_without_a_listener_is_enoent),
        TEST(a_socket_that_its_owner_left_is_enoent),
        TEST(a_socket_that_is_closed_to_us_is_eacces),
        TEST(a_path_that_cannot_be_a_socket_is_wrong_usage),
        TEST(another_version_is_eio),
        TEST(one_that_closes_is_eio),
        TEST(one_that_speaks_something_else_is_eio),
        TEST(a_refused_list_is_eio),
        TEST(a_list_that_is_not_made_of_ids_is_eio),
        TEST(the_largest_call_goes_both_ways),
        TEST(no_completion_is_lost_among_calls),
        cmocka_unit_test(the_usual_place_is_the_first_that_is_set),
        TEST(without_a_place_the_usual_one_is_used),
        TEST(no_socket_and_no_memory_are_reported),
    };

    return cmocka_run_group_tests_name("connect", tests, NULL, NULL);
}
