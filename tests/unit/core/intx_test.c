/* SPDX-License-Identifier: BSD-3-Clause */
/* INTx: a level that masks itself when it signals, until the end of interrupt unmasks it. */
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../base/unit.h"
#include "fake.h"

struct intx {
    struct fixture *f;
    int fd; /* the test's own end */
};

static uint64_t take(int fd)
{
    uint64_t count = 0;

    return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static void route(struct intx *x, bool on)
{
    int copy = on ? fcntl(x->fd, F_DUPFD_CLOEXEC, 0) : -1;

    assert_int_equal(vd_irq_route(x->f->device, VD_IRQ_INTX, 0, 1, &copy), 0);
}

static void drive(struct intx *x, bool asserted)
{
    x->f->fake.events->intx(x->f->fake.events->opaque, asserted);
}

static void unmask(struct intx *x)
{
    assert_int_equal(vd_irq_unmask(x->f->device, VD_IRQ_INTX, 0, 1), 0);
}

static void mask(struct intx *x)
{
    assert_int_equal(vd_irq_mask(x->f->device, VD_IRQ_INTX, 0, 1), 0);
}

static struct intx start(void **state)
{
    struct intx x = {.f = *state, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};

    assert_true(x.fd >= 0);
    return x;
}

static void an_assertion_signals_once_and_masks(void **state)
{
    struct intx x = start(state);

    route(&x, true);
    drive(&x, true);
    drive(&x, true);
    drive(&x, false);
    drive(&x, true);
    assert_int_equal(take(x.fd), 1);
    close(x.fd);
}

static void unmask_signals_again_while_the_line_is_asserted(void **state)
{
    struct intx x = start(state);

    route(&x, true);
    drive(&x, true);
    assert_int_equal(take(x.fd), 1);
    unmask(&x);
    assert_int_equal(take(x.fd), 1);
    unmask(&x);
    assert_int_equal(take(x.fd), 1);
    close(x.fd);
}

static void a_level_that_fell_before_the_unmask_is_not_signalled(void **state)
{
    struct intx x = start(state);

    route(&x, true);
    drive(&x, true);
    assert_int_equal(take(x.fd), 1);
    drive(&x, false);
    drive(&x, true);
    drive(&x, false);
    unmask(&x);
    assert_int_equal(take(x.fd), 0);
    drive(&x, true);
    assert_int_equal(take(x.fd), 1);
    close(x.fd);
}

static void routing_while_the_line_is_asserted_signals(void **state)
{
    struct intx x = start(state);

    drive(&x, true);
    route(&x, true);
    assert_int_equal(take(x.fd), 1);
    close(x.fd);
}

static void an_unrouted_line_that_fell_leaves_nothing_behind(void **state)
{
    struct intx x = start(state);

    drive(&x, true);
    drive(&x, false);
    route(&x, true);
    assert_int_equal(take(x.fd), 0);
    close(x.fd);
}

static void the_level_survives_disable(void **state)
{
    struct intx x = start(state);

    route(&x, true);
    drive(&x, true);
    assert_int_equal(take(x.fd), 1);
    assert_int_equal(vd_irq_disable(x.f->device, VD_IRQ_INTX), 0);
    route(&x, true);
    assert_int_equal(take(x.fd), 1);
    close(x.fd);
}

static void automask_is_reported_to_the_watch(void **state)
{
    struct intx x = start(state);
    int masked = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int copy = fcntl(masked, F_DUPFD_CLOEXEC, 0);

    route(&x, true);
    assert_int_equal(vd_irq_watch(x.f->device, VD_IRQ_INTX, VD_IRQ_ON_MASK, 0, 1, &copy), 0);
    drive(&x, true);
    assert_int_equal(take(masked), 1);
    mask(&x);
    assert_int_equal(take(masked), 0);
    close(masked);
    close(x.fd);
}

static void a_masked_trigger_is_latched_and_signalled_at_unmask(void **state)
{
    struct intx x = start(state);

    route(&x, true);
    mask(&x);
    assert_int_equal(vd_irq_trigger(x.f->device, VD_IRQ_INTX, 0, 1), 0);
    assert_int_equal(take(x.fd), 0);
    unmask(&x);
    assert_int_equal(take(x.fd), 1);
    unmask(&x);
    assert_int_equal(take(x.fd), 0);
    close(x.fd);
}

enum { STEPS = 100000 };

struct model {
    bool routed, masked, asserted;
};

static unsigned model_step(struct intx *x, struct model *m, unsigned what)
{
    switch (what) {
    case 0:
    case 1:
        m->asserted = what;
        drive(x, m->asserted);
        break;
    case 2:
        m->masked = true;
        mask(x);
        break;
    case 3:
        m->masked = false;
        unmask(x);
        break;
    default:
        m->routed = what == 4;
        route(x, m->routed);
        break;
    }
    if (!m->routed || m->masked || !m->asserted)
        return 0;
    m->masked = true;
    return 1;
}

static void agrees_with_the_model_over_a_hundred_thousand_steps(void **state)
{
    struct intx x = start(state);
    struct model m = {0};
    uint64_t seed = 5, total = 0;

    for (int i = 0; i < STEPS; i++) {
        unsigned owed = model_step(&x, &m, (unsigned)(unit_random(&seed) >> 33) % 6);

        assert_int_equal(take(x.fd), owed);
        total += owed;
    }
    assert_true(total > STEPS / 100);
    assert_int_equal(vd_irq_signals(x.f->device, VD_IRQ_INTX, 0), total);
    close(x.fd);
}

#define OPENED(test) cmocka_unit_test_setup_teardown(test, fixture_setup_open, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPENED(an_assertion_signals_once_and_masks),
        OPENED(unmask_signals_again_while_the_line_is_asserted),
        OPENED(a_level_that_fell_before_the_unmask_is_not_signalled),
        OPENED(routing_while_the_line_is_asserted_signals),
        OPENED(an_unrouted_line_that_fell_leaves_nothing_behind),
        OPENED(the_level_survives_disable),
        OPENED(automask_is_reported_to_the_watch),
        OPENED(a_masked_trigger_is_latched_and_signalled_at_unmask),
        OPENED(agrees_with_the_model_over_a_hundred_thousand_steps),
    };

    return cmocka_run_group_tests_name("intx", tests, NULL, NULL);
}
