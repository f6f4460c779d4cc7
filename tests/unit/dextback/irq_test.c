/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts and events: through the page and through calls, latched while disabled, and the waiters that wake a sleeping
 * caller. The rules are checked one by one, then against a model of random steps, then with a thread that fires.
 */
#include "fake.h"

#include <poll.h>
#include <sched.h>
#include <stdatomic.h>

static void enable(struct fake *f, unsigned index, uint32_t count)
{
    assert_int_equal(dext_irq_enable(f->host, index, count), 0);
}

static bool dispatch(struct fake *f, bool will_block)
{
    return dext_irq_dispatch(f->host, will_block);
}

/* Lets it work until the caller may sleep. */
static void settle(struct fake *f)
{
    for (unsigned i = 0; dispatch(f, true); i++)
        assert_true(i < 100);
}

static bool is_woken(const struct fake *f)
{
    struct pollfd pollfd = {.fd = f->info.poll_fd, .events = POLLIN};

    return poll(&pollfd, 1, 0) == 1;
}

static uint64_t delivered(const struct fake *f, unsigned index)
{
    uint64_t sum = 0;

    for (unsigned v = 0; v < VD_DEXT_VECTORS; v++)
        sum += f->delivered[index][v];
    return sum;
}

static void a_vector_is_delivered_once_under_its_kind(void **state)
{
    struct fake *f = *state;

    enable(f, VD_IRQ_MSIX, 33);
    fake_fire(f, 0);
    fake_fire(f, 32);
    assert_true(dispatch(f, false));
    assert_false(dispatch(f, false));
    assert_int_equal(f->delivered[VD_IRQ_MSIX][0], 1);
    assert_int_equal(f->delivered[VD_IRQ_MSIX][32], 1);
    enable(f, VD_IRQ_MSIX, 0);
    enable(f, VD_IRQ_MSI, 8);
    fake_fire(f, 7);
    assert_true(dispatch(f, false));
    assert_int_equal(f->delivered[VD_IRQ_MSI][7], 1);
    assert_int_equal(delivered(f, VD_IRQ_MSIX), 2);
}

static void looking_at_the_page_takes_no_call(void **state)
{
    struct fake *f = *state;

    enable(f, VD_IRQ_MSIX, 33);
    for (unsigned i = 0; i < 1000; i++) {
        if (i % 3)
            fake_fire(f, i % 33);
        dispatch(f, false);
    }
    enable(f, VD_IRQ_MSIX, 0);
    assert_true(delivered(f, VD_IRQ_MSIX) > 600);
    assert_int_equal(fake_calls_in_all(f), 0);
}

static void a_disabled_vector_is_latched_until_it_is_enabled(void **state)
{
    struct fake *f = *state;

    fake_fire(f, 5);
    enable(f, VD_IRQ_MSIX, 5);
    fake_fire(f, 4);
    assert_true(dispatch(f, false));
    assert_int_equal(f->delivered[VD_IRQ_MSIX][4], 1);
    assert_int_equal(f->delivered[VD_IRQ_MSIX][5], 0);
    assert_int_equal(f->page->pending[0], 1 << 5);
    enable(f, VD_IRQ_MSIX, 6);
    assert_int_equal(f->delivered[VD_IRQ_MSIX][5], 1); /* at once: no completion would tell of it */
    assert_int_equal(f->page->pending[0], 0);
}

static void enabling_tells_the_page_which_vectors(void **state)
{
    static const uint32_t counts[] = {1, 63, 64, 65, 128, 191, 192, 255, 256};
    struct fake *f = *state;

    for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        enable(f, VD_IRQ_MSIX, counts[i]);
        for (unsigned v = 0; v < 256; v++)
            assert_int_equal(f->page->enabled[v / 64] >> v % 64 & 1, v < counts[i]);
    }
    enable(f, VD_IRQ_MSI, 0); /* another kind: not this one's business */
    assert_true(f->page->enabled[3] == UINT64_MAX);
    enable(f, VD_IRQ_MSIX, 0);
    for (unsigned w = 0; w < 4; w++)
        assert_true(f->page->enabled[w] == 0);
}

static void all_256_vectors_arrive(void **state)
{
    struct fake *f = *state;

    enable(f, VD_IRQ_MSIX, 256);
    for (unsigned v = 0; v < 256; v++)
        fake_fire(f, v);
    assert_true(dispatch(f, false));
    for (unsigned v = 0; v < 256; v++)
        assert_int_equal(f->delivered[VD_IRQ_MSIX][v], 1);
}

static void waiters_are_armed_only_for_a_caller_that_will_sleep(void **state)
{
    struct fake *f = *state;

    enable(f, VD_IRQ_MSIX, 4);
    for (unsigned i = 0; i < 10; i++)
        dispatch(f, false);
    assert_int_equal(f->waits, 0);
    settle(f);
    assert_int_equal(f->count[VD_DEXT_WAIT_INTERRUPT], 1);
    assert_int_equal(f->count[VD_DEXT_WAIT_EVENT], 1);
    settle(f);
    dispatch(f, false);
    assert_int_equal(f->waits, 2); /* one outstanding is enough */
    assert_false(is_woken(f));
}

static void without_enabled_vectors_nobody_waits_for_them(void **state)
{
    struct fake *f = *state;

    settle(f);
    assert_int_equal(f->count[VD_DEXT_WAIT_INTERRUPT], 0);
    assert_int_equal(f->count[VD_DEXT_WAIT_EVENT], 1);
}

static void a_vector_that_fires_wakes_a_sleeper_once(void **state)
{
    struct fake *f = *state;

    enable(f, VD_IRQ_MSIX, 4);
    settle(f);
    fake_fire(f, 3);
    fake_fire(f, 2);
    assert_true(is_woken(f));
    assert_true(dispatch(f, false));
    assert_int_equal(delivered(f, VD_IRQ_MSIX), 2);
    settle(f);
    assert_false(is_woken(f));
    assert_int_equal(f->count[VD_DEXT_WAIT_INTERRUPT], 2);
    assert_int_equal(delivered(f, VD_IRQ_MSIX), 2);
    fake_fire(f, 2);
    assert_true(is_woken(f));
}

static void a_vector_that_fires_while_the_waiter_is_armed_is_not_slept_on(void **state)
{
    struct fake *f = *state;

    enable(f, VD_IRQ_MSIX, 4);
    f->fire_in_wait = 1 + 2;
    assert_true(dispatch(f, true));
    assert_int_equal(f->delivered[VD_IRQ_MSIX][2], 1);
}

static void a_completion_that_came_with_another_call_is_not_slept_on(void **state)
{
    struct fake *f = *state;
    uint8_t byte;

    enable(f, VD_IRQ_MSIX, 4);
    settle(f);
    fake_fire(f, 1);
    assert_true(dispatch(f, false)); /* the page is empty, but the waiter has gone */
    assert_int_equal(dext_region_read(f->host, VD_REGION_CONFIG, 0, &byte, 1), 0);
    assert_true(dispatch(f, true));
    settle(f);
    fake_fire(f, 1);
    assert_true(is_woken(f));
}

static void a_latched_vector_wakes_nobody(void **state)
{
    struct fake *f = *state;

    enable(f, VD_IRQ_MSIX, 4);
    settle(f);
    fake_fire(f, 4);
    assert_false(is_woken(f));
    assert_false(dispatch(f, true));
}

static void events_are_told_by_their_bits(void **state)
{
    struct fake *f = *state;

    settle(f);
    fake_event(f, VD_DEXT_EVENT_ERROR);
    assert_true(is_woken(f));
    assert_true(dispatch(f, true));
    assert_int_equal(f->delivered[VD_IRQ_ERR][0], 1);
    settle(f); /* armed again */
    fake_event(f, VD_DEXT_EVENT_REQUEST | VD_DEXT_EVENT_ERROR);
    settle(f);
    assert_int_equal(f->delivered[VD_IRQ_ERR][0], 2);
    assert_int_equal(f->delivered[VD_IRQ_REQ][0], 1);
    assert_int_equal(f->gone, 0);
    fake_event(f, VD_DEXT_EVENT_GONE);
    settle(f);
    assert_int_equal(f->gone, 1);
    fake_forget(f);
    settle(f);
    assert_int_equal(f->waits, 0); /* nothing more can come of it */
}

static void a_lost_connection_is_told_once_and_then_lets_the_caller_sleep(void **state)
{
    struct fake *f = *state;

    enable(f, VD_IRQ_MSIX, 4);
    settle(f);
    f->dead = true;
    assert_true(dispatch(f, true));
    assert_int_equal(f->gone, 1);
    assert_false(dispatch(f, true));
    assert_false(dispatch(f, false));
    assert_int_equal(f->gone, 1);
    assert_int_equal(f->lines[VD_ENV_ERROR], 1);
}

static void a_connection_lost_while_arming_is_told_once(void **state)
{
    struct fake *f = *state;

    f->dead = true;
    settle(f);
    assert_int_equal(f->gone, 1);
    assert_int_equal(f->waits, 1);
}

static void refused_waits_are_given_up_with_an_error(void **state)
{
    struct fake *f = *state;

    f->features &= ~(uint64_t)VD_DEXT_FEATURE_EVENTS;
    fake_close(f);
    assert_int_equal(fake_open(f, "apple:02:00.0", NULL), 0);
    fake_forget(f);
    enable(f, VD_IRQ_MSIX, 1);
    f->complete_status = VD_DEXT_ABORTED;
    settle(f);
    assert_int_equal(f->count[VD_DEXT_WAIT_INTERRUPT], 16);
    assert_int_equal(f->delivered[VD_IRQ_ERR][0], 1);
    assert_int_equal(f->lines[VD_ENV_ERROR], 1);
    settle(f);
    assert_int_equal(f->waits, 16);
    fake_fire(f, 0); /* the page still works */
    assert_true(dispatch(f, false));
}

static void a_wait_refused_at_once_is_tried_again_but_not_forever(void **state)
{
    struct fake *f = *state;

    enable(f, VD_IRQ_MSIX, 1);
    f->wait_status = VD_DEXT_NOT_READY;
    for (unsigned i = 0; i < 100; i++)
        dispatch(f, true);
    assert_int_equal(f->count[VD_DEXT_WAIT_INTERRUPT], 16);
    assert_int_equal(f->count[VD_DEXT_WAIT_EVENT], 16);
    assert_int_equal(f->delivered[VD_IRQ_ERR][0], 2);
}

static void an_abort_between_successes_is_forgiven(void **state)
{
    struct fake *f = *state;

    enable(f, VD_IRQ_MSIX, 1);
    settle(f);
    for (unsigned i = 0; i < 40; i++) {
        fake_fire(f, 0);
        fake_event(f, VD_DEXT_EVENT_REQUEST);
        assert_true(dispatch(f, true)); /* the vector */
        assert_true(dispatch(f, true)); /* what completed */
        f->wait_status = VD_DEXT_ABORTED;
        dispatch(f, true);
        f->wait_status = 0;
        settle(f);
    }
    assert_int_equal(f->count[VD_DEXT_WAIT_INTERRUPT], 81);
    assert_int_equal(f->delivered[VD_IRQ_MSIX][0], 40);
    assert_int_equal(f->delivered[VD_IRQ_ERR][0], 0);
}

static void a_busy_waiter_is_as_good_as_armed(void **state)
{
    struct fake *f = *state;

    enable(f, VD_IRQ_MSIX, 1);
    f->wait_status = VD_DEXT_BUSY;
    settle(f);
    settle(f);
    assert_int_equal(f->waits, 2);
}

static void an_event_without_bits_is_no_reason_to_spin(void **state)
{
    struct fake *f = *state;

    settle(f);
    for (unsigned i = 0; i < 16; i++) {
        fake_event(f, 0);
        settle(f);
    }
    assert_int_equal(f->count[VD_DEXT_WAIT_EVENT], 16);
    assert_int_equal(f->delivered[VD_IRQ_ERR][0], 1);
}

static void a_completion_that_nobody_asked_for_is_nobodys(void **state)
{
    struct fake *f = *state;

    enable(f, VD_IRQ_MSIX, 1);
    settle(f);
    fake_stray(f, VD_DEXT_CLAIM);
    settle(f); /* the fake refuses a second waiter */
    assert_int_equal(f->waits, 2);
}

static void waits_that_say_no_device_report_it_gone(void **state)
{
    struct fake *f = *state;

    enable(f, VD_IRQ_MSIX, 1);
    f->complete_status = VD_DEXT_NO_DEVICE;
    settle(f);
    assert_int_equal(f->gone, 1);
    assert_int_equal(dext_irq_enable(f->host, VD_IRQ_MSIX, 2), -ENODEV);
    assert_int_equal(dext_irq_enable(f->host, VD_IRQ_MSIX, 0), 0);
}

/* Without the page. */

static void an_older_extension_is_asked_once_for_each_wake_up(void **state)
{
    struct fake *f = *state;

    enable(f, VD_IRQ_MSIX, 8);
    assert_int_equal(f->mask[0], 0xff);
    settle(f);
    fake_forget(f);
    fake_fire(f, 0);
    fake_fire(f, 7);
    assert_true(is_woken(f));
    settle(f);
    assert_int_equal(f->count[VD_DEXT_CHECK_INTERRUPT], 1);
    assert_int_equal(f->count[VD_DEXT_WAIT_INTERRUPT], 1);
    assert_int_equal(f->delivered[VD_IRQ_MSIX][0], 1);
    assert_int_equal(f->delivered[VD_IRQ_MSIX][7], 1);
}

static void an_older_extension_serves_a_caller_that_spins(void **state)
{
    struct fake *f = *state;

    enable(f, VD_IRQ_MSIX, 8);
    dispatch(f, false);
    fake_fire(f, 3);
    for (unsigned i = 0; i < 3; i++)
        dispatch(f, false);
    assert_int_equal(f->delivered[VD_IRQ_MSIX][3], 1);
}

static void an_older_extension_that_refuses_the_mask_leaves_things_as_they_were(void **state)
{
    struct fake *f = *state;

    enable(f, VD_IRQ_MSIX, 2);
    f->fail_call = 1;
    f->call_status = VD_DEXT_NOT_READY;
    assert_int_equal(dext_irq_enable(f->host, VD_IRQ_MSIX, 8), -EIO);
    fake_fire(f, 1);
    settle(f);
    assert_int_equal(f->delivered[VD_IRQ_MSIX][1], 1);
    f->fail_call = 1;
    assert_int_equal(dext_irq_enable(f->host, VD_IRQ_MSIX, 0), 0);
    fake_fire(f, 1); /* the extension does not know better */
    settle(f);
    assert_int_equal(f->delivered[VD_IRQ_MSIX][1], 1);
}

static void what_a_call_took_of_a_disabled_vector_is_kept(void **state)
{
    struct fake *f = *state;

    enable(f, VD_IRQ_MSIX, 4);
    settle(f);
    fake_fire(f, 3);
    f->fail_call = 1; /* the extension still holds vector 3 enabled */
    f->call_status = VD_DEXT_IO_ERROR;
    enable(f, VD_IRQ_MSIX, 0);
    settle(f);
    assert_int_equal(f->delivered[VD_IRQ_MSIX][3], 0);
    enable(f, VD_IRQ_MSIX, 4);
    assert_int_equal(f->delivered[VD_IRQ_MSIX][3], 1);
    settle(f);
    assert_int_equal(f->delivered[VD_IRQ_MSIX][3], 1);
}

/* Random steps against a model: a vector is pending or not, and what is delivered empties it. */
struct model {
    struct fake *f;
    uint64_t state; /* of the generator */
    bool pending[VD_DEXT_VECTORS];
    uint64_t expected[VD_IRQ_COUNT][VD_DEXT_VECTORS];
    unsigned kind, enabled;
    bool asleep; /* dispatch(true) said that there is nothing to do */
};

static void model_deliver(struct model *m)
{
    for (unsigned v = 0; v < m->enabled; v++) {
        m->expected[m->kind][v] += m->pending[v];
        m->pending[v] = false;
    }
}

static void check(const struct model *m)
{
    assert_memory_equal(m->f->delivered, m->expected, sizeof(m->expected));
}

static void step_fire(struct model *m)
{
    unsigned v = (unsigned)(unit_random(&m->state) % (unit_random(&m->state) % 2 ? 256 : 40));

    if (!m->f->old || v < m->enabled) /* an older one forgets what is masked */
        m->pending[v] = true;
    fake_fire(m->f, v);
    if (m->asleep && v < m->enabled) {
        assert_true(is_woken(m->f));
        m->asleep = false;
    }
}

static void step_enable(struct model *m)
{
    unsigned count = (unsigned)(unit_random(&m->state) % 3 ? unit_random(&m->state) % 257 : 0);
    unsigned kind = count && !m->enabled ? (unsigned)(1 + unit_random(&m->state) % 2) : m->kind;

    enable(m->f, kind, count);
    m->kind = kind;
    m->enabled = count;
    m->asleep = false;
    model_deliver(m);
    check(m);
}

static void step_dispatch(struct model *m, bool will_block)
{
    unsigned before = m->f->count[VD_DEXT_CHECK_INTERRUPT];
    bool any = dispatch(m->f, will_block);
    bool through_calls = m->f->old || m->f->page_refused;

    /* The page is looked at each time; calls are made when a waiter has completed, at the latest before sleeping. */
    if (!through_calls || m->f->count[VD_DEXT_CHECK_INTERRUPT] != before || (will_block && !any))
        model_deliver(m);
    check(m);
    m->asleep = will_block && !any;
}

static void run_model(struct fake *f, uint64_t seed)
{
    struct model model = {.f = f, .state = seed, .kind = VD_IRQ_MSIX};
    struct model *m = &model;

    memcpy(m->expected, f->delivered, sizeof(m->expected));
    for (unsigned i = 0; i < 100000; i++) {
        unsigned what = (unsigned)(unit_random(&m->state) % 16);

        if (what < 8)
            step_fire(m);
        else if (what < 9)
            step_enable(m);
        else
            step_dispatch(m, what < 13);
    }
    settle(f);
    model_deliver(m);
    check(m);
    assert_true(delivered(f, VD_IRQ_MSI) > 1000 && delivered(f, VD_IRQ_MSIX) > 1000);
}

static void random_steps_lose_and_double_nothing(void **state)
{
    run_model(*state, 0x1234567);
}

static void random_steps_through_calls_lose_and_double_nothing(void **state)
{
    struct fake *f = *state;

    fake_close(f);
    f->page_refused = true;
    assert_int_equal(fake_open(f, "apple:02:00.0", NULL), 0);
    run_model(f, 0x89abcdef);
}

static void random_steps_with_an_older_extension_lose_and_double_nothing(void **state)
{
    run_model(*state, 0x55aa);
}

/* A thread that fires, while this one sleeps as a server does. */
struct shooter {
    struct fake *f;
    uint64_t fired[VD_DEXT_VECTORS];
    atomic_bool over;
};

enum { SHOTS = 100000, TARGETS = 100 };

static void *shoot(void *opaque)
{
    struct shooter *s = opaque;
    uint64_t state = 99;

    for (unsigned shots = 0; shots < SHOTS;) {
        unsigned v = (unsigned)(unit_random(&state) % TARGETS);
        uint64_t *word = &s->f->page->pending[v / 64];

        /* Only this thread sets bits: one that is clear stays so until it fires, and must then be delivered. */
        if (__atomic_load_n(word, __ATOMIC_SEQ_CST) >> v % 64 & 1) {
            sched_yield();
            continue;
        }
        s->fired[v]++;
        shots++;
        fake_fire(s->f, v);
    }
    atomic_store(&s->over, true);
    fake_stray(s->f, VD_DEXT_CLAIM); /* means nothing, but wakes */
    return NULL;
}

static void sleep_until_woken(const struct fake *f)
{
    struct pollfd pollfd = {.fd = f->info.poll_fd, .events = POLLIN};

    if (poll(&pollfd, 1, 10000) == 0)
        fail_msg("slept although vectors were fired");
}

static void vectors_fired_by_another_thread_arrive_exactly_once(void **state)
{
    struct fake *f = *state;
    struct shooter shooter = {.f = f};
    pthread_t thread;

    enable(f, VD_IRQ_MSIX, TARGETS);
    assert_int_equal(pthread_create(&thread, NULL, shoot, &shooter), 0);
    while (!atomic_load(&shooter.over)) {
        for (unsigned i = 0; i < 20; i++)
            dispatch(f, false);
        if (!dispatch(f, true) && !atomic_load(&shooter.over))
            sleep_until_woken(f);
    }
    pthread_join(thread, NULL);
    settle(f);
    for (unsigned v = 0; v < TARGETS; v++)
        assert_int_equal(f->delivered[VD_IRQ_MSIX][v], shooter.fired[v]);
    assert_int_equal(delivered(f, VD_IRQ_MSIX), SHOTS);
}

#define OPENED(test)     cmocka_unit_test_setup_teardown(test, fake_setup, fake_teardown)
#define OPENED_OLD(test) cmocka_unit_test_setup_teardown(test, fake_setup_old, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPENED(a_vector_is_delivered_once_under_its_kind),
        OPENED(looking_at_the_page_takes_no_call),
        OPENED(a_disabled_vector_is_latched_until_it_is_enabled),
        OPENED(enabling_tells_the_page_which_vectors),
        OPENED(all_256_vectors_arrive),
        OPENED(waiters_are_armed_only_for_a_caller_that_will_sleep),
        OPENED(without_enabled_vectors_nobody_waits_for_them),
        OPENED(a_vector_that_fires_wakes_a_sleeper_once),
        OPENED(a_vector_that_fires_while_the_waiter_is_armed_is_not_slept_on),
        OPENED(a_completion_that_came_with_another_call_is_not_slept_on),
        OPENED(a_latched_vector_wakes_nobody),
        OPENED(events_are_told_by_their_bits),
        OPENED(a_lost_connection_is_told_once_and_then_lets_the_caller_sleep),
        OPENED(a_connection_lost_while_arming_is_told_once),
        OPENED(refused_waits_are_given_up_with_an_error),
        OPENED(a_wait_refused_at_once_is_tried_again_but_not_forever),
        OPENED(an_abort_between_successes_is_forgiven),
        OPENED(a_busy_waiter_is_as_good_as_armed),
        OPENED(an_event_without_bits_is_no_reason_to_spin),
        OPENED(a_completion_that_nobody_asked_for_is_nobodys),
        OPENED(waits_that_say_no_device_report_it_gone),
        OPENED_OLD(an_older_extension_is_asked_once_for_each_wake_up),
        OPENED_OLD(an_older_extension_serves_a_caller_that_spins),
        OPENED_OLD(an_older_extension_that_refuses_the_mask_leaves_things_as_they_were),
        OPENED_OLD(what_a_call_took_of_a_disabled_vector_is_kept),
        OPENED(random_steps_lose_and_double_nothing),
        OPENED(random_steps_through_calls_lose_and_double_nothing),
        OPENED_OLD(random_steps_with_an_older_extension_lose_and_double_nothing),
        OPENED(vectors_fired_by_another_thread_arrive_exactly_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
