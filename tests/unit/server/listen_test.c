/* SPDX-License-Identifier: BSD-3-Clause */
/* The socket's life: creation, replacement, refusal, and one client after another. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "peer.h"
#include "proto/vfio_user.h"
#include "sim/edu.h"

static struct vd_server_options at(const char *path)
{
    return (struct vd_server_options){
        .size = sizeof(struct vd_server_options), .socket_path = path, .client_fd = -1};
}

/* Nothing but a device and a directory. */
static int set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    rig_open(rig, "sim:edu");
    rig_make_path(rig);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;

    rig_stop(rig);
    free(rig);
    return 0;
}

static void the_socket_is_private_to_its_owner(void **state)
{
    struct rig *rig = *state;
    struct vd_server_options options = at(rig->path);
    mode_t old = umask(0);
    struct stat st;

    assert_int_equal(rig_serve(rig, &options, NULL), 0);
    umask(old);
    assert_int_equal(stat(rig->path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void destroy_removes_the_socket(void **state)
{
    struct rig *rig = *state;
    struct vd_server_options options = at(rig->path);

    assert_int_equal(rig_serve(rig, &options, NULL), 0);
    vd_server_destroy(rig->server);
    rig->server = NULL;
    assert_int_equal(access(rig->path, F_OK), -1);
}

static void destroy_leaves_a_file_that_took_its_place(void **state)
{
    struct rig *rig = *state;
    struct vd_server_options options = at(rig->path);
    int fd;

    assert_int_equal(rig_serve(rig, &options, NULL), 0);
    assert_int_equal(unlink(rig->path), 0);
    fd = open(rig->path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    vd_server_destroy(rig->server);
    rig->server = NULL;
    assert_int_equal(access(rig->path, F_OK), 0);
    unlink(rig->path);
}

static int bind_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    memcpy(address.sun_path, path, strlen(path) + 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void a_stale_socket_is_replaced(void **state)
{
    struct rig *rig = *state;
    struct vd_server_options options = at(rig->path);

    close(bind_at(rig->path));
    assert_int_equal(rig_serve(rig, &options, NULL), 0);
    close(rig_connect(rig));
}

static void a_live_socket_fails_eaddrinuse(void **state)
{
    struct rig *rig = *state;
    struct vd_server_options options = at(rig->path);
    struct vd_server *second;
    struct vd_error error = {0};

    assert_int_equal(rig_serve(rig, &options, NULL), 0);
    assert_int_equal(vd_server_create(rig->context, rig->device, &options, &second, &error), -EADDRINUSE);
    assert_null(second);
    assert_non_null(strstr(error.message, rig->path));
    assert_int_equal(access(rig->path, F_OK), 0);
}

static void a_file_that_is_no_socket_fails_eaddrinuse_and_stays(void **state)
{
    struct rig *rig = *state;
    struct vd_server_options options = at(rig->path);
    struct vd_error error = {0};
    int fd = open(rig->path, O_CREAT | O_WRONLY, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "keep", 4), 4);
    close(fd);
    assert_int_equal(rig_serve(rig, &options, &error), -EADDRINUSE);
    assert_non_null(strstr(error.message, "not a socket"));
    assert_int_equal(access(rig->path, F_OK), 0);
    unlink(rig->path);
}

static void a_symbolic_link_is_not_followed(void **state)
{
    struct rig *rig = *state;
    struct vd_server_options options = at(rig->path);

    assert_int_equal(symlink("elsewhere", rig->path), 0);
    assert_int_equal(rig_serve(rig, &options, NULL), -EADDRINUSE);
    unlink(rig->path);
}

static void a_path_that_is_too_long_fails_enametoolong(void **state)
{
    struct rig *rig = *state;
    char path[200];
    struct vd_server_options options = at(path);
    struct vd_error error = {0};

    memset(path, 'a', sizeof(path) - 1);
    path[sizeof(path) - 1] = 0;
    assert_int_equal(rig_serve(rig, &options, &error), -ENAMETOOLONG);
    assert_non_null(strstr(error.message, path));
    assert_non_null(strstr(error.message, "199"));
    assert_non_null(strstr(error.message, "at most"));
}

static void a_missing_directory_fails_enoent(void **state)
{
    struct rig *rig = *state;
    struct vd_server_options options = at("no-such-directory/sock");
    struct vd_error error = {0};

    assert_int_equal(rig_serve(rig, &options, &error), -ENOENT);
    assert_non_null(strstr(error.message, "no-such-directory/sock"));
}

static void an_empty_path_fails_einval(void **state)
{
    struct rig *rig = *state;
    struct vd_server_options options = at("");
    struct vd_error error = {0};

    assert_int_equal(rig_serve(rig, &options, &error), -EINVAL);
    assert_true(error.usage);
}

static void options_of_another_size_fail_einval(void **state)
{
    struct rig *rig = *state;
    struct vd_server_options options = at(rig->path);

    options.size--;
    assert_int_equal(rig_serve(rig, &options, NULL), -EINVAL);
}

static void no_socket_at_all_fails_einval(void **state)
{
    struct rig *rig = *state;
    struct vd_server_options options = at(NULL);

    assert_int_equal(rig_serve(rig, &options, NULL), -EINVAL);
}

static void a_strategy_that_is_not_built_fails_enotsup(void **state)
{
    struct rig *rig = *state;
    struct vd_server_options options = at(rig->path);
    struct vd_error error = {0};

    options.strategy = VD_STRATEGY_POOL;
    assert_int_equal(rig_serve(rig, &options, &error), -ENOTSUP);
    assert_non_null(strstr(error.message, "pool"));
    assert_int_equal(access(rig->path, F_OK), -1);
}

static void paravirt_without_a_companion_fails_einval(void **state)
{
    struct rig *rig = *state;
    struct vd_server_options options = at(rig->path);
    struct vd_error error = {0};

    options.strategy = VD_STRATEGY_PARAVIRT;
    assert_int_equal(rig_serve(rig, &options, &error), -EINVAL);
    assert_non_null(strstr(error.message, "companion"));
    assert_int_equal(access(rig->path, F_OK), -1);
}

static void stop_before_run_returns_at_once(void **state)
{
    struct rig *rig = *state;
    struct vd_server_options options = at(rig->path);

    assert_int_equal(rig_serve(rig, &options, NULL), 0);
    vd_server_stop(rig->server);
    assert_int_equal(vd_server_run(rig->server), 0);
}

static void attach(struct rig *rig, struct peer *p)
{
    peer_init(p, rig_connect(rig));
    assert_int_equal(peer_negotiate(p), 0);
}

static void one_client_after_another_is_served(void **state)
{
    struct rig *rig = *state;
    struct vd_server_options options = at(rig->path);
    struct vd_server_stats stats;

    assert_int_equal(rig_serve(rig, &options, NULL), 0);
    rig_run(rig);
    for (uint32_t i = 0; i < 20; i++) {
        struct peer p;

        attach(rig, &p);
        /* Nothing of the one before is left: registers are reset, its memory is gone. */
        assert_int_equal(peer_read32(&p, 0, EDU_SCRATCH), 0);
        assert_int_equal(peer_read32(&p, 7, 4) & 0xffff, 0);
        peer_write32(&p, 0, EDU_SCRATCH, i + 1);
        assert_int_equal(peer_enable_bus_master(&p), 0);
        assert_int_equal(peer_dma_map(&p, 0x100000, 0x100000, 3, -1, 0), 0);
        peer_finish(&p);
    }
    vd_server_stats(rig->server, &stats);
    assert_int_equal(stats.sessions, 20);
}

static void a_second_client_is_turned_away_and_the_first_lives_on(void **state)
{
    struct rig *rig = *state;
    struct vd_server_options options = at(rig->path);
    struct peer first, second;
    struct peer_message m;

    assert_int_equal(rig_serve(rig, &options, NULL), 0);
    rig_run(rig);
    attach(rig, &first);
    peer_init(&second, rig_connect(rig));
    peer_receive(&second, &m);
    assert_true(m.closed);
    peer_finish(&second);
    assert_int_equal(peer_read32(&first, 0, EDU_ID), EDU_ID_VALUE);
    peer_finish(&first);
    attach(rig, &second);
    peer_finish(&second);
}

static void a_client_that_breaks_the_protocol_makes_room_for_the_next(void **state)
{
    struct rig *rig = *state;
    struct vd_server_options options = at(rig->path);
    static const uint8_t noise[64] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct peer p;
    struct peer_message m;

    assert_int_equal(rig_serve(rig, &options, NULL), 0);
    rig_run(rig);
    peer_init(&p, rig_connect(rig));
    assert_true(peer_send_raw(p.fd, noise, sizeof(noise), NULL, 0));
    peer_receive(&p, &m);
    assert_true(m.closed);
    peer_finish(&p);
    attach(rig, &p);
    peer_finish(&p);
}

static void blocking_without_spinning_works(void **state)
{
    struct rig *rig = *state;
    struct vd_server_options options = at(rig->path);
    struct peer p;

    options.no_spin = true;
    assert_int_equal(rig_serve(rig, &options, NULL), 0);
    rig_run(rig);
    attach(rig, &p);
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(peer_read32(&p, 0, EDU_ID), EDU_ID_VALUE);
    peer_finish(&p);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_socket_is_private_to_its_owner),
        TEST(destroy_removes_the_socket),
        TEST(destroy_leaves_a_file_that_took_its_place),
        TEST(a_stale_socket_is_replaced),
        TEST(a_live_socket_fails_eaddrinuse),
        TEST(a_file_that_is_no_socket_fails_eaddrinuse_and_stays),
        TEST(a_symbolic_link_is_not_followed),
        TEST(a_path_that_is_too_long_fails_enametoolong),
        TEST(a_missing_directory_fails_enoent),
        TEST(an_empty_path_fails_einval),
        TEST(options_of_another_size_fail_einval),
        TEST(no_socket_at_all_fails_einval),
        TEST(a_strategy_that_is_not_built_fails_enotsup),
        TEST(paravirt_without_a_companion_fails_einval),
        TEST(stop_before_run_returns_at_once),
        TEST(one_client_after_another_is_served),
        TEST(a_second_client_is_turned_away_and_the_first_lives_on),
        TEST(a_client_that_breaks_the_protocol_makes_room_for_the_next),
        TEST(blocking_without_spinning_works),
    };

    return cmocka_run_group_tests_name("listen", tests, NULL, NULL);
}
