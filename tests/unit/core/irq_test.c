/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Message interrupts and the rules all indexes share: routing and who owns the descriptors, latching, masking, watches,
 * kinds that exclude each other. The level-triggered index is in intx_test.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../base/unit.h"
#include "fake.h"

static int make_fd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    assert_true(fd >= 0);
    return fd;
}

static uint64_t take(int fd)
{
    uint64_t count = 0;

    return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* Routes one vector to a duplicate, so that `fd` stays the test's. */
static int route(struct fixture *f, unsigned index, uint32_t vector, int fd)
{
    int copy = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    int ret = vd_irq_route(f->device, index, vector, 1, &copy);

    if (ret && copy >= 0)
        close(copy);
    return ret;
}

static void fire(struct fixture *f, unsigned index, uint32_t vector)
{
    f->fake.events->irq(f->fake.events->opaque, index, vector);
}

static void info_describes_every_index_and_no_other(void **state)
{
    struct fixture *f = *state;
    struct vd_irq_info info;

    assert_int_equal(vd_irq_info(f->device, VD_IRQ_MSIX, &info), 0);
    assert_int_equal(info.count, 8);
    assert_int_equal(vd_irq_info(f->device, VD_IRQ_COUNT, &info), -EINVAL);
}

static void an_interrupt_signals_its_own_descriptor_once(void **state)
{
    struct fixture *f = *state;
    int a = make_fd(), b = make_fd();

    assert_int_equal(route(f, VD_IRQ_MSIX, 0, a), 0);
    assert_int_equal(route(f, VD_IRQ_MSIX, 7, b), 0);
    fire(f, VD_IRQ_MSIX, 7);
    assert_int_equal(take(a), 0);
    assert_int_equal(take(b), 1);
    assert_int_equal(vd_irq_signals(f->device, VD_IRQ_MSIX, 7), 1);
    assert_int_equal(vd_irq_signals(f->device, VD_IRQ_MSIX, 0), 0);
    close(a);
    close(b);
}

static void a_bad_range_is_refused_and_the_descriptor_stays_the_callers(void **state)
{
    struct fixture *f = *state;
    int fds[2] = {make_fd(), make_fd()};

    assert_int_equal(vd_irq_route(f->device, VD_IRQ_MSIX, 7, 2, fds), -EINVAL);
    assert_int_equal(vd_irq_route(f->device, VD_IRQ_MSIX, 8, 1, fds), -EINVAL);
    assert_int_equal(vd_irq_route(f->device, VD_IRQ_MSIX, 0, 0, fds), -EINVAL);
    assert_int_equal(vd_irq_route(f->device, VD_IRQ_MSIX, UINT32_MAX, 2, fds), -EINVAL);
    assert_int_equal(vd_irq_route(f->device, VD_IRQ_COUNT, 0, 1, fds), -EINVAL);
    assert_int_equal(vd_irq_watch(f->device, VD_IRQ_MSIX, VD_IRQ_ON_MASK, 8, 1, fds), -EINVAL);
    assert_int_equal(vd_irq_mask(f->device, VD_IRQ_MSIX, 0, 9), -EINVAL);
    assert_int_equal(vd_irq_unmask(f->device, VD_IRQ_COUNT, 0, 1), -EINVAL);
    assert_int_equal(vd_irq_trigger(f->device, VD_IRQ_MSIX, 8, 1), -EINVAL);
    assert_int_equal(vd_irq_disable(f->device, VD_IRQ_COUNT), -EINVAL);
    assert_int_equal(vd_irq_signals(f->device, VD_IRQ_MSIX, 8), 0);
    assert_int_equal(vd_irq_signals(f->device, VD_IRQ_COUNT, 0), 0);
    assert_int_equal(fake_call_at(&f->fake, FAKE_IRQ_ENABLE, 0), -1);
    assert_true(is_open(fds[0]) && is_open(fds[1]));
    close(fds[0]);
    close(fds[1]);
}

static void an_index_that_cannot_be_masked_refuses_mask_and_watch(void **state)
{
    struct fixture *f = *state;
    int fd = make_fd();

    assert_int_equal(vd_irq_mask(f->device, VD_IRQ_MSI, 0, 1), -EINVAL);
    assert_int_equal(vd_irq_unmask(f->device, VD_IRQ_ERR, 0, 1), -EINVAL);
    assert_int_equal(vd_irq_watch(f->device, VD_IRQ_MSI, VD_IRQ_ON_UNMASK, 0, 1, &fd), -EINVAL);
    assert_true(is_open(fd));
    close(fd);
}

static void a_routed_descriptor_belongs_to_the_device(void **state)
{
    struct fixture *f = *state;
    int first = make_fd(), second = make_fd(), third = make_fd();

    assert_int_equal(vd_irq_route(f->device, VD_IRQ_MSIX, 0, 1, &first), 0);
    assert_true(is_open(first));
    assert_int_equal(vd_irq_route(f->device, VD_IRQ_MSIX, 0, 1, &second), 0);
    assert_false(is_open(first)); /* replaced */
    assert_int_equal(vd_irq_watch(f->device, VD_IRQ_MSIX, VD_IRQ_ON_MASK, 0, 1, &third), 0);
    assert_int_equal(vd_irq_disable(f->device, VD_IRQ_MSIX), 0);
    assert_false(is_open(second));
    assert_false(is_open(third));
}

static void close_closes_what_is_routed(void **state)
{
    struct fixture *f = *state;
    int routed = make_fd(), watching = make_fd();

    assert_int_equal(vd_irq_route(f->device, VD_IRQ_MSIX, 3, 1, &routed), 0);
    assert_int_equal(vd_irq_watch(f->device, VD_IRQ_INTX, VD_IRQ_ON_UNMASK, 0, 1, &watching), 0);
    vd_device_close(f->device);
    f->device = NULL;
    assert_false(is_open(routed));
    assert_false(is_open(watching));
}

static void two_kinds_at_once_are_ebusy(void **state)
{
    static const unsigned kinds[] = {VD_IRQ_INTX, VD_IRQ_MSI, VD_IRQ_MSIX};
    struct fixture *f = *state;

    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) {
            int fd = make_fd();

            assert_int_equal(route(f, kinds[i], 0, fd), 0);
            if (i != j) {
                assert_int_equal(vd_irq_route(f->device, kinds[j], 0, 1, &fd), -EBUSY);
                assert_true(is_open(fd));
            }
            assert_int_equal(vd_irq_disable(f->device, kinds[i]), 0);
            assert_int_equal(route(f, kinds[j], 0, fd), 0);
            assert_int_equal(vd_irq_disable(f->device, kinds[j]), 0);
            close(fd);
        }
    }
}

static void err_and_req_go_with_any_kind(void **state)
{
    struct fixture *f = *state;
    int fd = make_fd();

    assert_int_equal(route(f, VD_IRQ_MSI, 0, fd), 0);
    assert_int_equal(route(f, VD_IRQ_ERR, 0, fd), 0);
    assert_int_equal(route(f, VD_IRQ_REQ, 0, fd), 0);
    fire(f, VD_IRQ_ERR, 0);
    fire(f, VD_IRQ_REQ, 0);
    assert_int_equal(take(fd), 2);
    assert_int_equal(fake_call_at(&f->fake, FAKE_IRQ_ENABLE, 1), -1); /* the host hears of kinds only */
    close(fd);
}

static void the_host_is_told_how_many_vectors_are_in_use(void **state)
{
    struct fixture *f = *state;
    int fd = make_fd();

    assert_int_equal(route(f, VD_IRQ_MSIX, 2, fd), 0);
    assert_int_equal(f->fake.enabled[VD_IRQ_MSIX], 3);
    assert_int_equal(route(f, VD_IRQ_MSIX, 0, fd), 0);
    assert_int_equal(f->fake.enabled[VD_IRQ_MSIX], 3);
    assert_int_equal(route(f, VD_IRQ_MSIX, 7, fd), 0);
    assert_int_equal(f->fake.enabled[VD_IRQ_MSIX], 8);
    assert_int_equal(fake_call_at(&f->fake, FAKE_IRQ_ENABLE, 2), -1);
    assert_int_equal(vd_irq_disable(f->device, VD_IRQ_MSIX), 0);
    assert_int_equal(f->fake.enabled[VD_IRQ_MSIX], 0);
    close(fd);
}

static void a_host_that_refuses_leaves_the_descriptor_with_the_caller(void **state)
{
    struct fixture *f = *state;
    int fd = make_fd();

    f->fake.irq_error = -EIO;
    assert_int_equal(vd_irq_route(f->device, VD_IRQ_MSIX, 0, 1, &fd), -EIO);
    assert_true(is_open(fd));
    fire(f, VD_IRQ_MSIX, 0);
    assert_int_equal(take(fd), 0);
    f->fake.irq_error = 0;
    assert_int_equal(route(f, VD_IRQ_MSI, 0, fd), 0); /* the refused kind did not stay on */
    close(fd);
}

static void a_device_that_is_gone_takes_no_new_routes_but_is_asked_for(void **state)
{
    struct fixture *f = *state;
    int fd = make_fd();

    f->fake.events->gone(f->fake.events->opaque);
    assert_int_equal(vd_irq_route(f->device, VD_IRQ_MSIX, 0, 1, &fd), -ENODEV);
    assert_true(is_open(fd));
    assert_int_equal(route(f, VD_IRQ_ERR, 0, fd), 0);
    assert_int_equal(take(fd), 0);                    /* QEMU would stop the guest */
    assert_int_equal(route(f, VD_IRQ_REQ, 0, fd), 0); /* it fired before anyone listened: latched */
    assert_int_equal(take(fd), 1);
    close(fd);
}

static void an_unrouted_vector_is_latched_once_and_signalled_when_routed(void **state)
{
    struct fixture *f = *state;
    int fd = make_fd();

    assert_int_equal(route(f, VD_IRQ_MSIX, 7, fd), 0);
    assert_int_equal(route(f, VD_IRQ_MSIX, 7, -1), 0);
    fire(f, VD_IRQ_MSIX, 7);
    fire(f, VD_IRQ_MSIX, 7);
    assert_int_equal(take(fd), 0);
    assert_int_equal(route(f, VD_IRQ_MSIX, 7, fd), 0);
    assert_int_equal(take(fd), 1);
    assert_int_equal(route(f, VD_IRQ_MSIX, 7, fd), 0);
    assert_int_equal(take(fd), 0);
    close(fd);
}

static void a_masked_vector_is_latched_once_and_signalled_at_unmask(void **state)
{
    struct fixture *f = *state;
    int fd = make_fd();

    assert_int_equal(route(f, VD_IRQ_MSIX, 1, fd), 0);
    assert_int_equal(vd_irq_mask(f->device, VD_IRQ_MSIX, 1, 1), 0);
    fire(f, VD_IRQ_MSIX, 1);
    fire(f, VD_IRQ_MSIX, 1);
    assert_int_equal(take(fd), 0);
    assert_int_equal(vd_irq_signals(f->device, VD_IRQ_MSIX, 1), 0);
    assert_int_equal(vd_irq_unmask(f->device, VD_IRQ_MSIX, 1, 1), 0);
    assert_int_equal(take(fd), 1);
    assert_int_equal(vd_irq_unmask(f->device, VD_IRQ_MSIX, 1, 1), 0);
    assert_int_equal(take(fd), 0);
    close(fd);
}

static void masked_and_unrouted_waits_for_both_to_end(void **state)
{
    struct fixture *f = *state;
    int fd = make_fd();

    assert_int_equal(route(f, VD_IRQ_MSIX, 0, -1), 0);
    assert_int_equal(vd_irq_mask(f->device, VD_IRQ_MSIX, 0, 1), 0);
    fire(f, VD_IRQ_MSIX, 0);
    assert_int_equal(route(f, VD_IRQ_MSIX, 0, fd), 0);
    assert_int_equal(take(fd), 0);
    assert_int_equal(vd_irq_unmask(f->device, VD_IRQ_MSIX, 0, 1), 0);
    assert_int_equal(take(fd), 1);
    close(fd);
}

static void a_message_while_its_kind_is_off_is_dropped(void **state)
{
    struct fixture *f = *state;
    int fd = make_fd();

    fire(f, VD_IRQ_MSIX, 0);
    assert_int_equal(route(f, VD_IRQ_MSIX, 0, fd), 0);
    assert_int_equal(take(fd), 0);
    close(fd);
}

static void disable_forgets_what_was_latched_and_masked(void **state)
{
    struct fixture *f = *state;
    int fd = make_fd();

    assert_int_equal(route(f, VD_IRQ_MSIX, 0, fd), 0);
    assert_int_equal(vd_irq_mask(f->device, VD_IRQ_MSIX, 0, 1), 0);
    fire(f, VD_IRQ_MSIX, 0);
    assert_int_equal(vd_irq_disable(f->device, VD_IRQ_MSIX), 0);
    assert_int_equal(route(f, VD_IRQ_MSIX, 0, fd), 0);
    assert_int_equal(take(fd), 0);
    fire(f, VD_IRQ_MSIX, 0);
    assert_int_equal(take(fd), 1);
    close(fd);
}

static void a_vector_the_index_lacks_is_ignored(void **state)
{
    struct fixture *f = *state;

    fire(f, VD_IRQ_MSIX, 8);
    fire(f, VD_IRQ_COUNT, 0);
    fire(f, VD_IRQ_ERR, UINT32_MAX);
    assert_int_equal(vd_irq_signals(f->device, VD_IRQ_ERR, 0), 0);
}

static void trigger_signals_like_the_device_but_never_latches_for_nobody(void **state)
{
    struct fixture *f = *state;
    int fd = make_fd();

    assert_int_equal(vd_irq_trigger(f->device, VD_IRQ_MSIX, 0, 8), 0);
    assert_int_equal(route(f, VD_IRQ_MSIX, 0, fd), 0);
    assert_int_equal(take(fd), 0);
    assert_int_equal(vd_irq_trigger(f->device, VD_IRQ_MSIX, 0, 8), 0);
    assert_int_equal(take(fd), 1);
    assert_int_equal(vd_irq_mask(f->device, VD_IRQ_MSIX, 0, 1), 0);
    assert_int_equal(vd_irq_trigger(f->device, VD_IRQ_MSIX, 0, 1), 0);
    assert_int_equal(take(fd), 0);
    assert_int_equal(vd_irq_unmask(f->device, VD_IRQ_MSIX, 0, 1), 0);
    assert_int_equal(take(fd), 1);
    close(fd);
}

static void watches_report_changes_of_the_mask_only(void **state)
{
    struct fixture *f = *state;
    int masked = make_fd(), unmasked = make_fd();
    int copies[2] = {fcntl(masked, F_DUPFD_CLOEXEC, 0), fcntl(unmasked, F_DUPFD_CLOEXEC, 0)};

    assert_int_equal(vd_irq_watch(f->device, VD_IRQ_MSIX, VD_IRQ_ON_MASK, 2, 1, &copies[0]), 0);
    assert_int_equal(vd_irq_watch(f->device, VD_IRQ_MSIX, VD_IRQ_ON_UNMASK, 2, 1, &copies[1]), 0);
    assert_int_equal(vd_irq_unmask(f->device, VD_IRQ_MSIX, 2, 1), 0);
    assert_int_equal(take(unmasked), 0);
    assert_int_equal(vd_irq_mask(f->device, VD_IRQ_MSIX, 0, 8), 0);
    assert_int_equal(vd_irq_mask(f->device, VD_IRQ_MSIX, 2, 1), 0);
    assert_int_equal(take(masked), 1);
    assert_int_equal(take(unmasked), 0);
    assert_int_equal(vd_irq_unmask(f->device, VD_IRQ_MSIX, 0, 8), 0);
    assert_int_equal(take(masked), 0);
    assert_int_equal(take(unmasked), 1);
    close(masked);
    close(unmasked);
}

/* The model: what each vector should have signalled after every step. */
struct model_vector {
    bool routed, masked, pending;
};

enum { VECTORS = 8, MODEL_STEPS = 100000 };

static unsigned model_deliver(struct model_vector *v)
{
    bool due = v->pending && v->routed && !v->masked;

    if (due)
        v->pending = false;
    return due;
}

/* Applies one random step to the device and to the model; the signals that the vector owes. */
static unsigned model_step(struct fixture *f, struct model_vector *v, uint32_t n, int fd, unsigned what)
{
    switch (what) {
    case 0:
        v->masked = true;
        assert_int_equal(vd_irq_mask(f->device, VD_IRQ_MSIX, n, 1), 0);
        break;
    case 1:
        v->masked = false;
        assert_int_equal(vd_irq_unmask(f->device, VD_IRQ_MSIX, n, 1), 0);
        break;
    case 2:
        v->routed = true;
        assert_int_equal(route(f, VD_IRQ_MSIX, n, fd), 0);
        break;
    case 3:
        v->routed = false;
        assert_int_equal(route(f, VD_IRQ_MSIX, n, -1), 0);
        break;
    default:
        v->pending = true;
        fire(f, VD_IRQ_MSIX, n);
        break;
    }
    return model_deliver(v);
}

static void no_interrupt_is_lost_or_doubled_in_a_hundred_thousand_steps(void **state)
{
    struct fixture *f = *state;
    struct model_vector vectors[VECTORS] = {{0}};
    uint64_t totals[VECTORS] = {0};
    uint64_t seed = 11;
    int fds[VECTORS];

    for (uint32_t n = 0; n < VECTORS; n++)
        fds[n] = make_fd();
    assert_int_equal(route(f, VD_IRQ_MSIX, VECTORS - 1, -1), 0); /* all vectors in use from the start */
    for (int i = 0; i < MODEL_STEPS; i++) {
        uint64_t r = unit_random(&seed);
        uint32_t n = (uint32_t)(r % VECTORS);
        unsigned owed = model_step(f, &vectors[n], n, fds[n], (unsigned)(r >> 32) % 7);

        totals[n] += owed;
        assert_int_equal(take(fds[n]), owed);
    }
    for (uint32_t n = 0; n < VECTORS; n++) {
        assert_true(totals[n] > MODEL_STEPS / VECTORS / 20);
        assert_int_equal(vd_irq_signals(f->device, VD_IRQ_MSIX, n), totals[n]);
        assert_int_equal(take(fds[n]), 0);
        close(fds[n]);
    }
}

enum { SHOTS = 20000 };

static void *shooter(void *opaque)
{
    for (int i = 0; i < SHOTS; i++)
        fire(opaque, VD_IRQ_MSIX, 4);
    return NULL;
}

static void another_thread_may_fire_while_this_one_masks(void **state)
{
    struct fixture *f = *state;
    int fd = make_fd();
    pthread_t thread;
    uint64_t seen = 0;

    assert_int_equal(route(f, VD_IRQ_MSIX, 4, fd), 0);
    assert_int_equal(pthread_create(&thread, NULL, shooter, f), 0);
    for (int i = 0; i < 2000; i++) {
        assert_int_equal(vd_irq_mask(f->device, VD_IRQ_MSIX, 4, 1), 0);
        assert_int_equal(route(f, VD_IRQ_MSIX, 4, i % 2 ? fd : -1), 0);
        assert_int_equal(vd_irq_unmask(f->device, VD_IRQ_MSIX, 4, 1), 0);
        seen += take(fd);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    seen += take(fd);
    assert_int_equal(vd_irq_signals(f->device, VD_IRQ_MSIX, 4), seen);
    assert_in_range(seen, 1, SHOTS);
    close(fd);
}

#define OPENED(test) cmocka_unit_test_setup_teardown(test, fixture_setup_open, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPENED(info_describes_every_index_and_no_other),
        OPENED(an_interrupt_signals_its_own_descriptor_once),
        OPENED(a_bad_range_is_refused_and_the_descriptor_stays_the_callers),
        OPENED(an_index_that_cannot_be_masked_refuses_mask_and_watch),
        OPENED(a_routed_descriptor_belongs_to_the_device),
        OPENED(close_closes_what_is_routed),
        OPENED(two_kinds_at_once_are_ebusy),
        OPENED(err_and_req_go_with_any_kind),
        OPENED(the_host_is_told_how_many_vectors_are_in_use),
        OPENED(a_host_that_refuses_leaves_the_descriptor_with_the_caller),
        OPENED(a_device_that_is_gone_takes_no_new_routes_but_is_asked_for),
        OPENED(an_unrouted_vector_is_latched_once_and_signalled_when_routed),
        OPENED(a_masked_vector_is_latched_once_and_signalled_at_unmask),
        OPENED(masked_and_unrouted_waits_for_both_to_end),
        OPENED(a_message_while_its_kind_is_off_is_dropped),
        OPENED(disable_forgets_what_was_latched_and_masked),
        OPENED(a_vector_the_index_lacks_is_ignored),
        OPENED(trigger_signals_like_the_device_but_never_latches_for_nobody),
        OPENED(watches_report_changes_of_the_mask_only),
        OPENED(no_interrupt_is_lost_or_doubled_in_a_hundred_thousand_steps),
        OPENED(another_thread_may_fire_while_this_one_masks),
    };

    return cmocka_run_group_tests_name("irq", tests, NULL, NULL);
}
