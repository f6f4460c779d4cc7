/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls and completions against scripted answers: right ones, refusals, and those of a liar. */
#include <sys/socket.h>

#include "rig.h"

static const struct vd_link_ops *const ops = &vd_link_socket;

static void a_call_carries_scalars_and_bytes_both_ways(void **state)
{
    struct rig *t = *state;
    const uint64_t in[] = {1, UINT64_MAX};
    const uint64_t answer[] = {0x0102030405060708};
    uint64_t out[3] = {0};
    char bytes[8] = "????????";
    struct vd_link_call call = {.selector = 33,
                                .nr_scalars_in = 2,
                                .scalars_in = in,
                                .bytes_in = "in!",
                                .nr_bytes_in = 3,
                                .scalars_out = out,
                                .nr_scalars_out = 3,
                                .bytes_out = bytes,
                                .nr_bytes_out = 8};

    wire_reply(&t->out, 3, answer, 1, "result", 6);
    wire_send(&t->out, t->peer);
    assert_int_equal(ops->call(t->link, &call), 0);
    assert_int_equal(call.nr_scalars_out, 1);
    assert_int_equal(out[0], answer[0]);
    assert_int_equal(call.nr_bytes_out, 6);
    assert_memory_equal(bytes, "result??", 8);
    rig_expect_request(t, VD_DEXT_CALL,
                       "\41\0\0\0\2\0\0\0\3\0\0\0\3\0\0\0\10\0\0\0\0\0\0\0"
                       "\1\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xffin!",
                       24 + 16 + 3);
}

static void a_refusal_is_returned_and_brings_nothing(void **state)
{
    struct rig *t = *state;
    uint64_t out[2];
    struct vd_link_call call = {.selector = 8, .scalars_out = out, .nr_scalars_out = 2};

    wire_message(&t->out, VD_DEXT_CALL, 3, VD_DEXT_NOT_OPEN, NULL, 0);
    wire_message(&t->out, VD_DEXT_CALL, 4, VD_DEXT_NO_SPACE, "junk",
                 4); /* what it says beside is not looked at */
    wire_send(&t->out, t->peer);
    assert_int_equal(ops->call(t->link, &call), VD_DEXT_NOT_OPEN);
    assert_int_equal(call.nr_scalars_out, 0);
}

static void what_cannot_be_carried_is_a_bad_argument_and_not_sent(void **state)
{
    static const struct vd_link_call bad[] = {
        {.nr_scalars_in = VD_DEXT_MAX_SCALARS + 1},
        {.nr_scalars_out = VD_DEXT_MAX_SCALARS + 1},
        {.nr_bytes_in = VD_DEXT_SOCKET_MAX_BYTES + 1},
        {.nr_bytes_out = VD_DEXT_SOCKET_MAX_BYTES + 1},
    };
    struct rig *t = *state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct vd_link_call call = bad[i];

        assert_int_equal(ops->call(t->link, &call), VD_DEXT_BAD_ARGUMENT);
        assert_false(wire_receive(t->peer, &t->in));
    }
}

static void a_reply_in_pieces_is_put_together(void **state)
{
    struct rig *t = *state;
    struct wire whole = {0};
    uint64_t out[1];
    struct vd_link_call call = {.selector = 8, .scalars_out = out, .nr_scalars_out = 1};

    wire_reply(&whole, 3, (uint64_t[]){5}, 1, NULL, 0);
    for (size_t i = 0; i < whole.used; i++) {
        wire_add(&t->out, whole.bytes + i, 1);
        wire_send(&t->out, t->peer);
    }
    assert_int_equal(ops->call(t->link, &call), 0);
    assert_int_equal(out[0], 5);
}

/* Each is one reply to a call with room for 2 scalars and 4 bytes. */
static void script_lie(struct wire *w, unsigned which)
{
    static const uint64_t scalars[3] = {1, 2, 3};

    switch (which) {
    case 0: /* more scalars than there is room for */
        wire_reply(w, 3, scalars, 3, NULL, 0);
        break;
    case 1: /* more bytes */
        wire_reply(w, 3, NULL, 0, "12345", 5);
        break;
    case 2: /* counts without the bytes */
        wire_header(w, WIRE_HEADER + 8, VD_DEXT_CALL, 0, 3, 0);
        wire_add32(w, 2);
        wire_add32(w, 0);
        break;
    case 3: /* bytes without the counts */
        wire_header(w, WIRE_HEADER + 8 + 8, VD_DEXT_CALL, 0, 3, 0);
        wire_add32(w, 0);
        wire_add32(w, 0);
        wire_add64(w, 0);
        break;
    case 4: /* half a reply head */
        wire_message(w, VD_DEXT_CALL, 3, 0, "\0\0\0\0", 4);
        break;
    case 5: /* counts that wrap */
        wire_header(w, WIRE_HEADER + 8, VD_DEXT_CALL, 0, 3, 0);
        wire_add32(w, 0x20000000);
        wire_add32(w, UINT32_MAX);
        break;
    case 6: /* another tag */
        wire_reply(w, 4, NULL, 0, NULL, 0);
        break;
    case 7: /* another kind */
        wire_message(w, VD_DEXT_MAP, 3, VD_DEXT_UNSUPPORTED, NULL, 0);
        break;
    case 8: /* a completion nobody waits for */
        wire_complete(w, VD_DEXT_WAIT_EVENT, 0, NULL, 0);
        break;
    case 9: /* no message at all */
        wire_header(w, 3, VD_DEXT_CALL, 0, 3, 0);
        break;
    default: /* a request */
        wire_message(w, VD_DEXT_CONTROL, 0, 0, NULL, 0);
    }
}

static void a_liar_is_an_ipc_error_and_given_up(void **state)
{
    for (unsigned which = 0; which <= 10; which++) {
        uint64_t out[2];
        char bytes[4];
        struct vd_link_call call = {
            .selector = 8, .scalars_out = out, .nr_scalars_out = 2, .bytes_out = bytes, .nr_bytes_out = 4};
        struct rig *t;

        rig_set_up(state);
        t = *state;
        script_lie(&t->out, which);
        wire_send(&t->out, t->peer);
        assert_int_equal(ops->call(t->link, &call), VD_DEXT_IPC_ERROR);
        assert_int_equal(call.nr_scalars_out, 0);
        assert_int_equal(call.nr_bytes_out, 0);
        rig_expect_gone(t);
        rig_tear_down(state);
    }
}

static void a_descriptor_with_a_reply_that_has_none_is_an_ipc_error(void **state)
{
    struct rig *t = *state;

    wire_reply(&t->out, 3, NULL, 0, NULL, 0);
    wire_send_fds(&t->out, t->peer, t->peer, 1);
    assert_int_equal(rig_call(t), 0); /* that reply is whole; what is wrong shows behind it */
    rig_expect_gone(t);
}

static void a_peer_that_dies_in_a_call_is_not_attached(void **state)
{
    struct rig *t = *state;

    wire_header(&t->out, WIRE_HEADER + 8, VD_DEXT_CALL, 0, 3, 0);
    wire_send(&t->out, t->peer);
    shutdown(t->peer, SHUT_WR);
    assert_int_equal(rig_call(t), VD_DEXT_NOT_ATTACHED);
    rig_expect_gone(t);
}

static void a_peer_that_is_gone_is_not_attached(void **state)
{
    struct rig *t = *state;

    rig_lose_peer(t);
    assert_true(rig_readable(ops->poll_fd(t->link)));
    assert_int_equal(rig_call(t), VD_DEXT_NOT_ATTACHED);
    rig_expect_gone(t);
}

static void poll_notices_that_the_peer_is_gone(void **state)
{
    struct rig *t = *state;
    struct vd_link_completion completion;
    bool gone = true;

    assert_false(ops->poll(t->link, &completion, &gone));
    assert_false(gone);
    rig_lose_peer(t);
    assert_false(ops->poll(t->link, &completion, &gone));
    assert_true(gone);
    rig_expect_gone(t);
}

static void a_peer_that_does_not_answer_is_a_timeout_once(void **state)
{
    struct rig *t = *state;

    t->env.step =
        3000000000; /* the clock jumps 3 s at every look; poll() waits as long as the clock says is left */
    t->env.now = 1;
    wire_header(&t->out, WIRE_HEADER + 8, VD_DEXT_CALL, 0, 3, 0);
    wire_add32(&t->out, 0);
    wire_send(&t->out, t->peer);
    t->env.step = 9999999999; /* so the link sleeps for a millisecond and finds the time over */
    assert_int_equal(rig_call(t), VD_DEXT_TIMEOUT);
    rig_expect_gone(t);
    /* The answer that comes late is not mistaken for another's. */
    assert_int_equal(rig_call(t), VD_DEXT_NOT_ATTACHED);
}

static void a_wait_ends_at_poll(void **state)
{
    struct rig *t = *state;
    struct vd_link_completion completion;
    bool gone;

    assert_int_equal(ops->wait(t->link, VD_DEXT_WAIT_EVENT), 0);
    rig_expect_request(t, VD_DEXT_WAIT, "\44\0\0\0\0\0\0\0", 8);
    assert_int_equal(ops->wait(t->link, VD_DEXT_WAIT_EVENT), VD_DEXT_BUSY);
    assert_false(rig_readable(ops->poll_fd(t->link)));
    wire_complete(&t->out, VD_DEXT_WAIT_EVENT, 0, (uint64_t[]){VD_DEXT_EVENT_GONE, 7}, 2);
    wire_send(&t->out, t->peer);
    assert_true(rig_readable(ops->poll_fd(t->link)));
    assert_true(ops->poll(t->link, &completion, &gone));
    assert_false(gone);
    assert_int_equal(completion.selector, VD_DEXT_WAIT_EVENT);
    assert_int_equal(completion.status, 0);
    assert_int_equal(completion.nr_args, 2);
    assert_int_equal(completion.args[0], VD_DEXT_EVENT_GONE);
    assert_int_equal(completion.args[1], 7);
    assert_false(rig_readable(ops->poll_fd(t->link)));
    assert_false(ops->poll(t->link, &completion, &gone));
    assert_int_equal(ops->wait(t->link, VD_DEXT_WAIT_EVENT), 0);
}

static void a_wait_can_be_refused(void **state)
{
    struct rig *t = *state;
    struct vd_link_completion completion;
    bool gone;

    assert_int_equal(ops->wait(t->link, VD_DEXT_SELECTOR_END), VD_DEXT_UNSUPPORTED);
    assert_int_equal(ops->wait(t->link, VD_DEXT_WAIT_INTERRUPT), 0);
    wire_complete(&t->out, VD_DEXT_WAIT_INTERRUPT, VD_DEXT_NOT_READY, NULL, 0);
    wire_send(&t->out, t->peer);
    assert_true(ops->poll(t->link, &completion, &gone));
    assert_int_equal(completion.status, VD_DEXT_NOT_READY);
}

/* Nobody may sleep on a completion that a call took off the socket: before its reply, or behind it in one read. */
static void completions_that_a_call_brings_make_poll_fd_readable(void **state)
{
    struct rig *t = *state;
    struct vd_link_completion completion;
    unsigned seen = 0;
    bool gone;

    assert_int_equal(ops->wait(t->link, VD_DEXT_WAIT_INTERRUPT), 0);
    assert_int_equal(ops->wait(t->link, VD_DEXT_WAIT_EVENT), 0);
    wire_complete(&t->out, VD_DEXT_WAIT_INTERRUPT, 0, NULL, 0);
    wire_reply(&t->out, 5, NULL, 0, NULL, 0);
    wire_complete(&t->out, VD_DEXT_WAIT_EVENT, 0, (uint64_t[]){1}, 1);
    wire_send(&t->out, t->peer);
    assert_int_equal(rig_call(t), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(rig_readable(ops->poll_fd(t->link)));
        assert_true(ops->poll(t->link, &completion, &gone));
        seen |= 1u << (completion.selector == VD_DEXT_WAIT_EVENT);
    }
    assert_int_equal(seen, 3);
    assert_false(rig_readable(ops->poll_fd(t->link)));
    wire_reply(&t->out, 6, NULL, 0, NULL, 0);
    wire_send(&t->out, t->peer);
    assert_int_equal(rig_call(t), 0);
    assert_false(rig_readable(ops->poll_fd(t->link)));
}

static void a_completion_comes_before_the_news_that_the_peer_is_gone(void **state)
{
    struct rig *t = *state;
    struct vd_link_completion completion;
    bool gone;

    assert_int_equal(ops->wait(t->link, VD_DEXT_WAIT_EVENT), 0);
    wire_complete(&t->out, VD_DEXT_WAIT_EVENT, VD_DEXT_ABORTED, NULL, 0);
    wire_send(&t->out, t->peer);
    rig_lose_peer(t);
    assert_true(ops->poll(t->link, &completion, &gone));
    assert_int_equal(completion.status, VD_DEXT_ABORTED);
    assert_false(gone);
    rig_expect_gone(t);
}

static void script_bad_completion(struct wire *w, unsigned which)
{
    static const uint64_t args[VD_DEXT_MAX_SCALARS + 1];

    switch (which) {
    case 0: /* nobody waits */
        wire_complete(w, VD_DEXT_WAIT_INTERRUPT, 0, NULL, 0);
        break;
    case 1: /* no such selector */
        wire_complete(w, UINT32_MAX, 0, NULL, 0);
        break;
    case 2: /* too many arguments */
        wire_complete(w, VD_DEXT_WAIT_EVENT, 0, args, VD_DEXT_MAX_SCALARS + 1);
        break;
    case 3: /* fewer than said */
        wire_header(w, WIRE_HEADER + 8, VD_DEXT_COMPLETE, 0, 0, 0);
        wire_add32(w, VD_DEXT_WAIT_EVENT);
        wire_add32(w, 1);
        break;
    case 4: /* twice */
        wire_complete(w, VD_DEXT_WAIT_EVENT, 0, NULL, 0);
        wire_complete(w, VD_DEXT_WAIT_EVENT, 0, NULL, 0);
        break;
    case 5: /* with a tag */
        wire_header(w, WIRE_HEADER + 8, VD_DEXT_COMPLETE, 0, 3, 0);
        wire_add32(w, VD_DEXT_WAIT_EVENT);
        wire_add32(w, 0);
        break;
    case 6: /* empty */
        wire_message(w, VD_DEXT_COMPLETE, 0, 0, NULL, 0);
        break;
    default: /* a reply to nothing */
        wire_reply(w, 3, NULL, 0, NULL, 0);
    }
}

static void a_bad_completion_ends_the_link(void **state)
{
    for (unsigned which = 0; which < 8; which++) {
        struct vd_link_completion completion;
        struct rig *t;
        bool gone;

        rig_set_up(state);
        t = *state;
        assert_int_equal(ops->wait(t->link, VD_DEXT_WAIT_EVENT), 0);
        script_bad_completion(&t->out, which);
        wire_send(&t->out, t->peer);
        assert_true(ops->poll(t->link, &completion, &gone) == (which == 4));
        rig_expect_gone(t);
        rig_tear_down(state);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_call_carries_scalars_and_bytes_both_ways),
        TEST(a_refusal_is_returned_and_brings_nothing),
        TEST(what_cannot_be_carried_is_a_bad_argument_and_not_sent),
        TEST(a_reply_in_pieces_is_put_together),
        cmocka_unit_test(a_liar_is_an_ipc_error_and_given_up),
        TEST(a_descriptor_with_a_reply_that_has_none_is_an_ipc_error),
        TEST(a_peer_that_dies_in_a_call_is_not_attached),
        TEST(a_peer_that_is_gone_is_not_attached),
        TEST(poll_notices_that_the_peer_is_gone),
        TEST(a_peer_that_does_not_answer_is_a_timeout_once),
        TEST(a_wait_ends_at_poll),
        TEST(a_wait_can_be_refused),
        TEST(completions_that_a_call_brings_make_poll_fd_readable),
        TEST(a_completion_comes_before_the_news_that_the_peer_is_gone),
        cmocka_unit_test(a_bad_completion_ends_the_link),
    };

    return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
