/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices that come and go while clients use them. */
#include "rig.h"

#include "sim/edu.h"

enum { MEMORY = 1 << 20 };

static const char *const one_edu[] = {"01:00.0=sim:edu", NULL};
static const char *const nothing[] = {NULL};

static void pulled_device_tells_its_client_and_leaves_when_it_does(void **state)
{
    static struct raw_message ids;
    struct rig rig = {0};
    struct raw raw, host;
    uint64_t events;

    rig_start(&rig, one_edu);
    host = raw_hello(rig.path);
    raw = raw_open(rig.path, 0);
    raw_claim(&raw);
    raw_wait(&raw, VD_DEXT_WAIT_EVENT);
    assert_int_equal(raw_call(&raw, VD_DEXT_QUIESCE, NULL, 0, NULL, 0), VD_DEXT_SUCCESS); /* it waits now */
    assert_int_equal(raw_control(&host, "unplug 01:00.0", NULL, 0), VD_DEXT_SUCCESS);
    assert_int_equal(raw_completion(&raw, VD_DEXT_WAIT_EVENT, &events), VD_DEXT_SUCCESS);
    assert_int_equal(events, VD_DEXT_EVENT_GONE);
    assert_int_equal(raw_call(&raw, VD_DEXT_RESET_DEVICE, NULL, 0, NULL, 0), VD_DEXT_NO_DEVICE);
    assert_int_equal(raw_ask(&host, VD_DEXT_LIST, NULL, 0, -1, &ids), VD_DEXT_SUCCESS);
    assert_int_equal(ids.size, 0);
    assert_int_equal(raw_devices(&host, "01:00.0"), 1);
    assert_int_equal(raw_number(&host, "01:00.0", "command"), 0xffff);
    raw_close(&raw);
    for (unsigned i = 0; raw_devices(&host, "01:00.0"); i++)
        assert_true(i < RAW_PATIENCE_MS);
    assert_int_equal(raw_control(&host, "unplug 01:00.0", NULL, 0), VD_DEXT_NOT_FOUND);
    raw_close(&host);
    rig_stop(&rig);
}

static void device_pulled_under_a_copy_does_no_harm(void **state)
{
    struct raw_memory memory = raw_memory_make(MEMORY);
    struct rig rig = {0};
    struct raw host;

    rig_start(&rig, one_edu);
    host = raw_hello(rig.path);
    for (unsigned round = 0; round < 20; round++) {
        struct raw raw = raw_open(rig.path, 0);
        uint64_t bus;

        raw_claim(&raw);
        assert_int_equal(raw_share(&raw, &memory), VD_DEXT_SUCCESS);
        assert_int_equal(raw_register(&raw, 1, memory.at, MEMORY, &bus), VD_DEXT_SUCCESS);
        raw_start_copy(&raw, bus, bus + MEMORY / 2, MEMORY / 2, 0); /* several dispatches' worth */
        assert_int_equal(raw_control(&host, "unplug 01:00.0", NULL, 0), VD_DEXT_SUCCESS);
        assert_int_equal(raw_number(&host, "01:00.0", "mappings"), 1); /* until its owner lets go */
        if (round % 2)
            assert_int_equal(raw_unregister(&raw, 1), VD_DEXT_SUCCESS);
        assert_int_equal(raw_number(&host, "01:00.0", "mappings"), !(round % 2));
        assert_int_equal(raw_number(&host, "01:00.0", "faults"), 0);
        /* The place is free already, as a slot is; the old device is seen until its client left. */
        assert_int_equal(raw_control(&host, "plug 01:00.0=sim:edu", NULL, 0), VD_DEXT_SUCCESS);
        assert_int_equal(raw_devices(&host, "01:00.0"), 2);
        raw_close(&raw);
        for (unsigned i = 0; raw_devices(&host, "01:00.0") != 1; i++)
            assert_true(i < RAW_PATIENCE_MS);
    }
    raw_close(&host);
    rig_stop(&rig);
    raw_memory_free(&memory);
}

static void plugged_device_is_found_and_used(void **state)
{
    struct rig rig = {0};
    struct raw raw, host;

    rig_start(&rig, nothing);
    host = raw_hello(rig.path);
    assert_int_equal(raw_control(&host, "plug 0a:1f.0=sim:edu,vectors=3", NULL, 0), VD_DEXT_SUCCESS);
    raw = raw_open(rig.path, 0);
    raw_claim(&raw);
    assert_int_equal(raw_read(&raw, 0, EDU_VECTORS, 4), 3);
    raw_close(&raw);
    raw_close(&host);
    rig_stop(&rig);
}

static void plug_that_cannot_be_says_why(void **state)
{
    static const struct {
        const char *command;
        int status;
        const char *words;
    } cases[] = {
        {"plug 01:00.0=sim:edu", VD_DEXT_STILL_OPEN, "there is a device already"},
        {"plug 02:00.1=sim:edu", VD_DEXT_BAD_ARGUMENT, "02:00.0=sim:KIND"},
        {"plug 02:00.0=sim:floppy", VD_DEXT_BAD_ARGUMENT, "sim:nvme, sim:edu"},
        {"plug 02:00.0=sim:edu,vectors=300", VD_DEXT_BAD_ARGUMENT, "a number from 1 to 256"},
        {"plug 02:00.0=sim:edu,iommu=chosen", VD_DEXT_BAD_ARGUMENT, "DriverKit"},
        {"plug 02:00.0=sim:edu,aperture=5000", VD_DEXT_BAD_ARGUMENT, "aperture"},
        {"plug 02:00.8=sim:edu", VD_DEXT_BAD_ARGUMENT, "02:00.8"},
        {"plug 02:00.0", VD_DEXT_BAD_ARGUMENT, "sim:KIND"},
        {"plug 02:00.0=sim:nvme,image=/nonexistent", VD_DEXT_NOT_FOUND, "/nonexistent"},
        {"plug", VD_DEXT_BAD_ARGUMENT, "BB:DD.F=sim:KIND"},
        {"list 01:00.0", VD_DEXT_BAD_ARGUMENT, "no argument"},
        {"fly", VD_DEXT_BAD_ARGUMENT, "fly"},
        {"unplug 1:0.0", VD_DEXT_BAD_ARGUMENT, "BB:DD.F"},
    };
    struct rig rig = {0};
    struct raw host;

    rig_start(&rig, one_edu);
    host = raw_hello(rig.path);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512];

        assert_int_equal(raw_control(&host, cases[i].command, text, sizeof(text)), cases[i].status);
        if (!strstr(text, cases[i].words))
            fail_msg("%s: %s", cases[i].command, text);
    }
    assert_int_equal(raw_ask(&host, VD_DEXT_CONTROL, "list\0", 5, -1, NULL), VD_DEXT_BAD_ARGUMENT);
    raw_close(&host);
    rig_stop(&rig);
}

static void function_0_takes_its_siblings_along(void **state)
{
    static const char *const devices[] = {"01:00.0=sim:edu", "01:00.1=sim:edu", "02:00.0=sim:edu", NULL};
    struct rig rig = {0};
    struct raw host;

    rig_start(&rig, devices);
    host = raw_hello(rig.path);
    assert_int_equal(raw_control(&host, "unplug 01:00.1", NULL, 0), VD_DEXT_SUCCESS);
    assert_int_equal(raw_devices(&host, "01:00.0"), 1);
    assert_int_equal(raw_control(&host, "plug 01:00.1=sim:edu", NULL, 0), VD_DEXT_SUCCESS);
    assert_int_equal(raw_control(&host, "unplug 01:00.0", NULL, 0), VD_DEXT_SUCCESS);
    assert_int_equal(raw_devices(&host, "01:00.0"), 0);
    assert_int_equal(raw_devices(&host, "01:00.1"), 0);
    assert_int_equal(raw_devices(&host, "02:00.0"), 1);
    raw_close(&host);
    rig_stop(&rig);
}

static void client_may_pull_its_own_device(void **state)
{
    const uint64_t where[2] = {0, 4};
    struct rig rig = {0};
    uint64_t value;
    struct raw raw;

    rig_start(&rig, one_edu);
    raw = raw_open(rig.path, 0);
    raw_claim(&raw);
    assert_int_equal(raw_control(&raw, "unplug 01:00.0", NULL, 0), VD_DEXT_SUCCESS);
    assert_int_equal(raw_call(&raw, VD_DEXT_CONFIG_READ, where, 2, &value, 1), VD_DEXT_NO_DEVICE);
    raw_close(&raw);
    rig_stop(&rig);
}

static void shortage_while_plugging_leaves_nothing(void **state)
{
    struct rig rig = {0};
    long live, failing = 0;
    struct raw host;
    int status;

    rig_start(&rig, one_edu);
    host = raw_hello(rig.path);
    raw_number(&host, "01:00.0", "clients");
    live = atomic_load(&rig.live);
    do {
        char text[512] = "";

        atomic_store(&rig.fail_in, ++failing);
        status = raw_control(&host, "plug 02:00.0=sim:edu", text, sizeof(text));
        atomic_store(&rig.fail_in, 0);
        if (status) {
            assert_true(text[0] != 0);
            assert_int_equal(atomic_load(&rig.live), live);
        }
    } while (status && failing < 100);
    assert_int_equal(status, VD_DEXT_SUCCESS);
    assert_true(failing > 5);
    raw_close(&host);
    rig_stop(&rig);
}

static void stop_ends_the_daemon_with_clients_on_it(void **state)
{
    struct rig rig = {0};
    struct raw raw, host;

    rig_start(&rig, one_edu);
    raw = raw_open(rig.path, 0);
    host = raw_hello(rig.path);
    raw_claim(&raw);
    raw_wait(&raw, VD_DEXT_WAIT_EVENT);
    assert_int_equal(raw_control(&host, "stop", NULL, 0), VD_DEXT_SUCCESS);
    rig_stop(&rig);
    raw_await_close(&raw);
    raw_await_close(&host);
    raw_close(&raw);
    raw_close(&host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pulled_device_tells_its_client_and_leaves_when_it_does),
        cmocka_unit_test(device_pulled_under_a_copy_does_no_harm),
        cmocka_unit_test(plugged_device_is_found_and_used),
        cmocka_unit_test(plug_that_cannot_be_says_why),
        cmocka_unit_test(function_0_takes_its_siblings_along),
        cmocka_unit_test(client_may_pull_its_own_device),
        cmocka_unit_test(shortage_while_plugging_leaves_nothing),
        cmocka_unit_test(stop_ends_the_daemon_with_clients_on_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
