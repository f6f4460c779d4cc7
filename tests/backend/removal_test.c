/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device is pulled out while it works: whoever uses it is told through ERR and REQ, every call ends with an error, none
 * hangs, and after the next plug the next user works.
 */
#include "nvme_bench.h"

#include <errno.h>
#include <poll.h>

#include "arena.h"

enum { SILENCE_MS = 20000 };

static const struct configuration configuration = {
    "removal", NULL, {EX_MSIX, .dbbuf = true}, false, "sim:nvme,size=16M"};

static void route(struct vd_device *device, unsigned index, struct vd_notifier *notifier)
{
    int fd;

    assert_int_equal(vd_notifier_init(notifier, VD_NOTIFIER_PIPE), 0);
    fd = notifier->write_fd;
    assert_int_equal(vd_irq_route(device, index, 0, 1, &fd), 0);
    notifier->write_fd = -1;
}

static bool arrives(struct vd_device *device, const struct vd_notifier *notifier)
{
    struct pollfd ready = {.fd = vd_device_poll_fd(device), .events = POLLIN};

    while (!vd_notifier_drain(notifier)) {
        if (vd_device_dispatch(device, true))
            continue;
        if (vd_notifier_drain(notifier))
            return true;
        if (poll(&ready, 1, SILENCE_MS) <= 0)
            return false;
    }
    return true;
}

static void control(const struct bench *bench, const char *verb, const char *argument)
{
    char text[512];

    if (dextd_control(&bench->dextd, verb, argument, text, sizeof(text)))
        fail_msg("viaduct-dextd %s %s: %s", verb, argument, text);
}

static void every_call_fails_and_none_hangs(struct bench *bench, void *memory, int fd)
{
    uint64_t granule = vd_dma_info(bench->device)->granule;
    struct vd_dma_segment segment;
    struct vd_dma_file file = {fd, 0};
    struct vd_dma_map map = {.host = memory,
                             .file = &file,
                             .size = granule,
                             .access = VD_ACCESS_READ,
                             .segments = &segment,
                             .max_segments = 1};
    struct vd_dma_usage usage;
    uint8_t bytes[8];

    assert_int_equal(vd_region_read(bench->device, VD_REGION_CONFIG, 0, bytes, 4), -ENODEV);
    assert_int_equal(vd_region_read(bench->device, VD_REGION_BAR0, 0, bytes, 8), -ENODEV);
    assert_int_equal(vd_region_write(bench->device, VD_REGION_BAR0, 0x14, bytes, 4), -ENODEV);
    assert_int_equal(vd_device_reset(bench->device), -ENODEV);
    assert_int_equal(vd_dma_map(bench->device, &map, 1), -ENODEV);
    ex_unmap(&bench->ex); /* what was mapped is given back */
    vd_dma_usage(bench->device, &usage);
    assert_int_equal(usage.mappings, 0);
}

static void removal_under_load_is_a_request_upward_and_no_hang(void **state)
{
    struct vd_notifier err, req;
    struct bench bench;
    void *memory;
    int fd;

    *state = (void *)(uintptr_t)&configuration;
    bench_start(&bench, state);
    memory = arena_create(1 << 20, &fd);
    for (unsigned round = 0; round < 5; round++) {
        route(bench.device, VD_IRQ_ERR, &err);
        route(bench.device, VD_IRQ_REQ, &req);
        assert_int_equal(ex_load(&bench.ex, false), 0);
        control(&bench, "unplug", "01:00.0");
        assert_true(arrives(bench.device, &req));
        assert_false(vd_notifier_drain(&err));
        every_call_fails_and_none_hangs(&bench, memory, fd);
        vd_device_close(bench.device);
        bench.ex.device = bench.device = NULL;
        ex_finish(&bench.ex);
        vd_notifier_finish(&err);
        vd_notifier_finish(&req);
        assert_int_equal(vd_device_open(bench.context, bench.address, &bench.device, NULL), -ENOENT);
        control(&bench, "plug", "01:00.0=sim:nvme,size=16M");
        assert_int_equal(vd_device_open(bench.context, bench.address, &bench.device, NULL), 0);
        assert_int_equal(ex_start(&bench.ex, bench.device, &configuration.options), 0);
        assert_int_equal(ex_random(&bench.ex, 100), 0);
    }
    arena_destroy(memory, 1 << 20, fd);
    bench_close(&bench);
}

static void the_hosts_request_and_errors_reach_the_notifiers(void **state)
{
    struct vd_notifier err, req;
    struct bench bench;

    *state = (void *)(uintptr_t)&configuration;
    bench_start(&bench, state);
    route(bench.device, VD_IRQ_ERR, &err);
    route(bench.device, VD_IRQ_REQ, &req);
    control(&bench, "request", "01:00.0");
    assert_true(arrives(bench.device, &req));
    assert_false(vd_notifier_drain(&err));
    control(&bench, "error", "01:00.0");
    assert_true(arrives(bench.device, &err));
    assert_false(vd_notifier_drain(&req));
    assert_int_equal(ex_random(&bench.ex, 100), 0); /* neither takes the device away */
    bench_close(&bench);
    vd_notifier_finish(&err);
    vd_notifier_finish(&req);
}

static void an_extension_that_dies_takes_its_devices_away(void **state)
{
    struct vd_notifier req;
    struct bench bench;
    char text[256];

    *state = (void *)(uintptr_t)&configuration;
    bench_start(&bench, state);
    route(bench.device, VD_IRQ_REQ, &req);
    assert_int_equal(ex_load(&bench.ex, false), 0);
    assert_int_equal(dextd_control(&bench.dextd, "stop", NULL, text, sizeof(text)), 0);
    assert_true(arrives(bench.device, &req));
    assert_int_equal(vd_region_read(bench.device, VD_REGION_BAR0, 0, text, 8), -ENODEV);
    bench_close(&bench);
    vd_notifier_finish(&req);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(removal_under_load_is_a_request_upward_and_no_hang),
        cmocka_unit_test(the_hosts_request_and_errors_reach_the_notifiers),
        cmocka_unit_test(an_extension_that_dies_takes_its_devices_away),
    };

    return cmocka_run_group_tests_name("removal", tests, NULL, NULL);
}
