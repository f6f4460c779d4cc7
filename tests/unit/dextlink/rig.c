/* SPDX-License-Identifier: BSD-3-Clause */
/* The link under test; see rig.h. */
#include "rig.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

void rig_expect_request(struct rig *t, uint16_t kind, const char *payload, size_t size)
{
    assert_true(wire_receive(t->peer, &t->in));
    assert_int_equal(t->in.kind, kind);
    assert_int_equal(t->in.status, 0);
    assert_int_equal(t->in.tag, t->tag++);
    assert_int_equal(t->in.size, size);
    assert_memory_equal(t->in.payload, payload, size);
}

int rig_set_up(void **state)
{
    struct rig *t = calloc(1, sizeof(*t));
    struct vd_failure failure;
    int ends[2];

    assert_non_null(t);
    t->fds_before = wire_count_fds();
    wire_env_init(&t->env);
    wire_pair(ends);
    t->peer = ends[1];
    t->env.turn = wire_say_yes;
    t->env.socket = t->peer;
    assert_int_equal(
        vd_link_socket_adopt(&t->env.env, ends[0], "test", 0x1122334455667788, &t->link, &failure), 0);
    t->env.turn = NULL;
    assert_int_equal(t->env.last.kind, VD_DEXT_OPEN);
    assert_int_equal(t->env.last.tag, 2);
    assert_int_equal(t->env.last.size, 8);
    assert_memory_equal(t->env.last.payload, "\x88\x77\x66\x55\x44\x33\x22\x11", 8);
    t->tag = 3;
    *state = t;
    return 0;
}

void rig_lose_peer(struct rig *t)
{
    if (t->peer >= 0)
        close(t->peer);
    t->peer = -1;
}

int rig_tear_down(void **state)
{
    struct rig *t = *state;

    vd_link_socket.close(t->link);
    rig_lose_peer(t);
    assert_int_equal(wire_count_fds(), t->fds_before);
    assert_int_equal(t->env.live, 0);
    free(t);
    return 0;
}

int rig_call(struct rig *t)
{
    struct vd_link_call call = {.selector = VD_DEXT_CLAIM};

    return vd_link_socket.call(t->link, &call);
}

bool rig_readable(int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};

    return poll(&pollfd, 1, 0) == 1;
}

void rig_expect_gone(struct rig *t)
{
    struct vd_link_completion completion;
    bool gone = false;

    assert_int_equal(rig_call(t), VD_DEXT_NOT_ATTACHED);
    assert_int_equal(vd_link_socket.wait(t->link, VD_DEXT_WAIT_EVENT), VD_DEXT_NOT_ATTACHED);
    assert_false(vd_link_socket.poll(t->link, &completion, &gone));
    assert_true(gone);
    assert_false(rig_readable(vd_link_socket.poll_fd(t->link))); /* once told, nobody spins on it */
}
