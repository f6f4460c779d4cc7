/* SPDX-License-Identifier: BSD-3-Clause */
/* Life cycle of a device: open and its failures, identity, reset, and the order of quiesce. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../base/unit.h"
#include "fake.h"

static void open_publishes_the_identity(void **state)
{
    struct fixture *f = *state;
    const struct vd_device_info *info = vd_device_info(f->device);

    assert_string_equal(info->backend, "fake");
    assert_string_equal(info->model, "fake device");
    assert_int_equal(strncmp(info->address, "fake:", 5), 0);
    assert_int_equal(info->vendor, 0x1234);
    assert_int_equal(info->device, 0x5678);
    assert_int_equal(info->class_code, 0x010802);
    assert_true(info->can_reset);
    assert_int_equal(vd_device_poll_fd(f->device), -1);
}

static void a_host_that_says_nothing_has_an_empty_model(void **state)
{
    struct fixture *f = *state;

    f->fake.info.model = NULL;
    assert_int_equal(fixture_open(f, &fake_ops, NULL), 0);
    assert_string_equal(vd_device_info(f->device)->model, "");
}

static void a_failed_open_hands_on_the_hosts_words(void **state)
{
    struct fixture *f = *state;
    struct vd_failure failure = {0};

    f->fake.open_error = -EBUSY;
    assert_int_equal(fixture_open(f, &fake_ops, &failure), -EBUSY);
    assert_null(f->device);
    assert_int_equal(failure.code, -EBUSY);
    assert_string_equal(failure.text, "the fake was told to fail");
    assert_int_equal(f->live_memory, 1); /* the context */
    assert_int_equal(fake_call_at(&f->fake, FAKE_CLOSE, 0), -1);
}

static void open_fails_cleanly_at_every_step(void **state)
{
    struct fixture *f = *state;
    unsigned nth;

    for (nth = 1; nth < 100; nth++) {
        struct vd_failure failure = {0};
        int ret;

        f->fail_nth = nth;
        ret = fixture_open(f, &fake_ops, &failure);
        if (ret == 0)
            break;
        assert_int_equal(ret, -ENOMEM);
        assert_null(f->device);
        assert_int_equal(failure.code, -ENOMEM);
        assert_non_null(strstr(failure.text, "memory"));
        assert_false(f->fake.is_open);
        assert_int_equal(f->live_memory, 1);
    }
    f->fail_nth = 0;
    assert_int_equal(nth, 8); /* device, address, five interrupt indexes: seven steps can fail */
}

static void reset_reaches_the_host_and_is_counted(void **state)
{
    struct fixture *f = *state;
    struct vd_device_stats stats;

    assert_int_equal(vd_device_reset(f->device), 0);
    f->fake.reset_error = -EIO;
    assert_int_equal(vd_device_reset(f->device), -EIO);
    vd_device_stats(f->device, &stats);
    assert_int_equal(stats.resets, 2);
    assert_true(fake_call_at(&f->fake, FAKE_RESET, 1) >= 0);
    f->fake.reset_error = 0;
}

static void a_host_without_reset_is_enotsup(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(fixture_open(f, &fake_bare_ops, NULL), 0);
    assert_false(vd_device_info(f->device)->can_reset);
    assert_int_equal(vd_device_reset(f->device), -ENOTSUP);
}

static void reset_of_a_device_that_is_gone_is_enodev(void **state)
{
    struct fixture *f = *state;

    f->fake.events->gone(f->fake.events->opaque);
    assert_int_equal(vd_device_reset(f->device), -ENODEV);
    assert_int_equal(fake_call_at(&f->fake, FAKE_RESET, 0), -1);
}

static void going_away_twice_is_one_error(void **state)
{
    struct fixture *f = *state;
    struct vd_device_stats stats;

    f->fake.events->gone(f->fake.events->opaque);
    f->fake.events->gone(f->fake.events->opaque);
    vd_device_stats(f->device, &stats);
    assert_int_equal(stats.device_errors, 1);
}

static void an_error_that_the_host_reports_is_counted(void **state)
{
    struct fixture *f = *state;
    struct vd_device_stats stats;

    f->fake.events->irq(f->fake.events->opaque, VD_IRQ_ERR, 0);
    f->fake.events->irq(f->fake.events->opaque, VD_IRQ_REQ, 0);
    vd_device_stats(f->device, &stats);
    assert_int_equal(stats.device_errors, 1);
}

/* Bus mastering on, one mapping, MSI-X routed: the state a client leaves behind. */
static struct vd_dma_mapping *use_device(struct fixture *f, void *memory)
{
    struct vd_dma_map map = {
        .host = memory, .size = FAKE_PAGE, .access = VD_ACCESS_READ, .iova = {FAKE_PAGE}};
    const uint8_t command[2] = {6, 4};
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    assert_int_equal(vd_region_write(f->device, VD_REGION_CONFIG, 4, command, 2), 0);
    assert_int_equal(vd_irq_route(f->device, VD_IRQ_MSIX, 0, 1, &fd), 0);
    assert_int_equal(vd_dma_map(f->device, &map, 1), 0);
    fake_forget_calls(&f->fake);
    return map.mapping;
}

static void quiesce_stops_the_device_before_its_memory_goes(void **state)
{
    static const enum fake_op order[] = {FAKE_READ,  FAKE_WRITE,      FAKE_READ,
                                         FAKE_RESET, FAKE_IRQ_ENABLE, FAKE_UNMAP};
    static _Alignas(FAKE_PAGE) uint8_t memory[FAKE_PAGE];
    struct fixture *f = *state;
    struct vd_dma_mapping *mapping = use_device(f, memory);
    const struct fake_call *calls = f->fake.calls;

    vd_device_quiesce(f->device);
    assert_int_equal(f->fake.nr_calls, 6);
    for (int i = 0; i < 6; i++)
        assert_int_equal(calls[i].op, order[i]);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(calls[i].index, VD_REGION_CONFIG);
        assert_int_equal(calls[i].offset, 4);
        assert_int_equal(calls[i].count, 2);
    }
    assert_int_equal(calls[4].index, VD_IRQ_MSIX);
    assert_int_equal(calls[4].count, 0);
    assert_int_equal(f->fake.config[4], 2); /* memory space stays on, bus mastering is off */
    assert_int_equal(f->fake.config[5], 4);
    assert_int_equal(f->nr_lines, 0);
    vd_dma_unmap(f->device, &mapping, 1);
}

static void what_quiesce_is_refused_is_logged_and_the_rest_still_happens(void **state)
{
    static _Alignas(FAKE_PAGE) uint8_t memory[FAKE_PAGE];
    struct fixture *f = *state;

    use_device(f, memory);
    f->fake.master_sticks = true;
    f->fake.reset_error = -EIO;
    vd_device_quiesce(f->device);
    assert_int_equal(f->nr_lines, 2);
    assert_non_null(strstr(f->line, "reset failed"));
    assert_int_equal(f->fake.nr_live, 0);
    assert_int_equal(f->fake.enabled[VD_IRQ_MSIX], 0);
    f->nr_lines = 0;
    f->fake.reset_error = 0;
    f->fake.read_error = -EIO;
    vd_device_quiesce(f->device);
    assert_int_equal(f->nr_lines, 1);
    assert_non_null(strstr(f->line, "bus mastering"));
    f->fake.read_error = 0;
}

static void quiesce_does_not_touch_a_device_that_is_gone(void **state)
{
    static _Alignas(FAKE_PAGE) uint8_t memory[FAKE_PAGE];
    struct fixture *f = *state;

    use_device(f, memory);
    f->fake.events->gone(f->fake.events->opaque);
    vd_device_quiesce(f->device);
    assert_int_equal(fake_call_at(&f->fake, FAKE_READ, 0), -1);
    assert_int_equal(fake_call_at(&f->fake, FAKE_RESET, 0), -1);
    assert_int_equal(f->fake.nr_live, 0);
}

static void close_quiesces_first(void **state)
{
    static _Alignas(FAKE_PAGE) uint8_t memory[FAKE_PAGE];
    struct fixture *f = *state;

    use_device(f, memory);
    vd_device_close(f->device);
    f->device = NULL;
    assert_int_equal(f->fake.calls[f->fake.nr_calls - 1].op, FAKE_CLOSE);
    assert_true(fake_call_at(&f->fake, FAKE_RESET, 0) < fake_call_at(&f->fake, FAKE_UNMAP, 0));
    assert_int_equal(f->live_memory, 1);
    vd_device_close(NULL);
}

static void dispatch_is_handed_on_with_its_intention(void **state)
{
    struct fixture *f = *state;

    fake_forget_calls(&f->fake);
    assert_false(vd_device_dispatch(f->device, false));
    f->fake.dispatch_result = true;
    assert_true(vd_device_dispatch(f->device, true));
    assert_int_equal(f->fake.calls[0].index, false);
    assert_int_equal(f->fake.calls[1].index, true);
}

static void a_host_without_dispatch_never_has_work(void **state)
{
    struct fixture *f = *state;
    struct vd_device_stats stats;

    assert_int_equal(fixture_open(f, &fake_bare_ops, NULL), 0);
    assert_false(vd_device_dispatch(f->device, true));
    vd_device_stats(f->device, &stats);
    assert_int_equal(stats.dma_faults, 0);
}

#define OPENED(test) cmocka_unit_test_setup_teardown(test, fixture_setup_open, fixture_teardown)
#define CLOSED(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPENED(open_publishes_the_identity),
        CLOSED(a_host_that_says_nothing_has_an_empty_model),
        CLOSED(a_failed_open_hands_on_the_hosts_words),
        CLOSED(open_fails_cleanly_at_every_step),
        OPENED(reset_reaches_the_host_and_is_counted),
        CLOSED(a_host_without_reset_is_enotsup),
        OPENED(reset_of_a_device_that_is_gone_is_enodev),
        OPENED(going_away_twice_is_one_error),
        OPENED(an_error_that_the_host_reports_is_counted),
        OPENED(quiesce_stops_the_device_before_its_memory_goes),
        OPENED(what_quiesce_is_refused_is_logged_and_the_rest_still_happens),
        OPENED(quiesce_does_not_touch_a_device_that_is_gone),
        OPENED(close_quiesces_first),
        OPENED(dispatch_is_handed_on_with_its_intention),
        CLOSED(a_host_without_dispatch_never_has_work),
    };

    return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
