/* SPDX-License-Identifier: BSD-3-Clause */
/* The list of devices: what it tells with a new and an old extension, who is skipped, and which errors it passes on. */
#include "fake.h"

static int setup(void **state)
{
    struct fake *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    fake_init(f);
    f->nr_instances = 3;
    f->instances[1] = (struct fake_instance){.bus = 3, .state = VD_DEXT_STATE_CLAIMED};
    f->instances[2] = (struct fake_instance){
        .bus = 0xa, .device = 0x1f, .function = 7, .state = VD_DEXT_STATE_CLAIMED | VD_DEXT_STATE_GONE};
    *state = f;
    return 0;
}

static int scan(struct fake *f, struct vd_device_found *found, size_t max, struct vd_failure *failure)
{
    int n = dext_scan(f->choose, &f->env, found, max, failure);

    assert_int_equal(f->links + f->live, 0); /* it keeps nothing */
    assert_false(f->claimed);
    return n;
}

static void a_device_is_described_whole(void **state)
{
    struct vd_device_found found[4];
    struct vd_failure failure = {0};
    struct fake *f = *state;

    assert_int_equal(scan(f, found, 4, &failure), 3);
    assert_string_equal(found[0].address, "apple:02:00.0");
    assert_string_equal(found[0].model, "Fake disk");
    assert_string_equal(found[0].driver, "viaduct-dextd");
    assert_int_equal(found[0].vendor, 0x1b36);
    assert_int_equal(found[0].device, 0x10);
    assert_int_equal(found[0].subvendor, 0x5678);
    assert_int_equal(found[0].subdevice, 0x1234);
    assert_int_equal(found[0].class_code, 0x010802);
    assert_int_equal(found[0].msi_vectors, 8);
    assert_int_equal(found[0].msix_vectors, 33);
    assert_int_equal(found[0].link_speed, 4);
    assert_int_equal(found[0].link_width, 8);
    assert_int_equal(found[0].regions[0].size, 0x10000);
    assert_int_equal(found[0].regions[0].flags, 0);
    assert_int_equal(found[0].regions[1].size, 0); /* I/O */
    assert_int_equal(found[0].regions[2].flags, VD_REGION_PREFETCHABLE | VD_REGION_64BIT);
    assert_int_equal(found[0].regions[6].size, 64);
    assert_string_equal(found[2].address, "apple:0a:1f.7");
    assert_string_equal(f->where, ""); /* the usual place */
}

static void states_are_free_in_use_and_removed(void **state)
{
    struct vd_device_found found[4];
    struct vd_failure failure = {0};

    assert_int_equal(scan(*state, found, 4, &failure), 3);
    assert_int_equal(found[0].state, VD_DEVICE_FREE);
    assert_int_equal(found[1].state, VD_DEVICE_IN_USE);
    assert_int_equal(found[2].state, VD_DEVICE_REMOVED);
}

static void an_older_extension_tells_who_it_is_and_no_more(void **state)
{
    struct vd_device_found found[4];
    struct vd_failure failure = {0};
    struct fake *f = *state;

    f->old = true;
    assert_int_equal(scan(f, found, 4, &failure), 3);
    assert_string_equal(found[1].address, "apple:03:00.0");
    assert_int_equal(found[1].vendor, 0x1b36);
    assert_int_equal(found[1].class_code, 0x010802);
    assert_int_equal(found[1].state, VD_DEVICE_UNKNOWN);
    assert_int_equal(found[1].regions[0].size, 0);
    assert_string_equal(found[1].model, "");
    assert_int_equal(f->count[VD_DEXT_CONFIG_READ] + f->count[VD_DEXT_GET_BAR_INFO], 0); /* the claim's */
}

static void on_a_mac_the_driver_is_the_extension(void **state)
{
    struct vd_device_found found[1];
    struct vd_failure failure = {0};
    struct fake *f = *state;

    f->choose = fake_choose_iokit;
    assert_int_equal(scan(f, found, 1, &failure), 3);
    assert_string_equal(found[0].driver, "VFIOUserPCIDriver");
}

static void more_than_there_is_room_for_is_counted(void **state)
{
    struct vd_device_found found[2];
    struct vd_failure failure = {0};

    memset(found, 0xaa, sizeof(found));
    assert_int_equal(scan(*state, found, 1, &failure), 3);
    assert_string_equal(found[0].address, "apple:02:00.0");
    assert_int_equal((uint8_t)found[1].address[0], 0xaa);
    assert_int_equal(scan(*state, NULL, 0, &failure), 3);
}

static void an_instance_that_vanishes_is_skipped(void **state)
{
    struct vd_device_found found[4];
    struct vd_failure failure = {0};
    struct fake *f = *state;

    f->instances[0].open_error = -ENOENT;
    f->instances[1].identity_status = VD_DEXT_NO_DEVICE;
    assert_int_equal(scan(f, found, 4, &failure), 1);
    assert_string_equal(found[0].address, "apple:0a:1f.7");
    assert_int_equal(f->lines[VD_ENV_WARN], 0);
    f->instances[2].identity_status = VD_DEXT_NOT_ATTACHED;
    assert_int_equal(scan(f, found, 4, &failure), 0);
    assert_int_equal(failure.code, 0);
}

static void one_that_cannot_be_asked_does_not_hide_the_others(void **state)
{
    struct vd_device_found found[4];
    struct vd_failure failure = {0};
    struct fake *f = *state;

    f->instances[0].open_error = -EACCES;
    f->instances[1].identity_status = VD_DEXT_NOT_RESPONDING;
    assert_int_equal(scan(f, found, 4, &failure), 1);
    assert_int_equal(f->lines[VD_ENV_WARN], 2);
    f->nr_instances = 1;
    assert_int_equal(scan(f, found, 4, &failure), -EACCES);
    assert_int_equal(failure.code, -EACCES);
    assert_non_null(strstr(failure.text, "will not be opened"));
    f->instances[0] = f->instances[1];
    assert_int_equal(scan(f, found, 4, &failure), -EIO);
    assert_non_null(strstr(failure.text, "kIOReturnNotResponding"));
}

static void no_host_is_enoent_as_it_is(void **state)
{
    struct vd_failure failure = {0};
    struct fake *f = *state;

    f->list_error = -ENOENT;
    assert_int_equal(scan(f, NULL, 0, &failure), -ENOENT);
    f->list_error = -EACCES;
    assert_int_equal(scan(f, NULL, 0, &failure), -EACCES);
    f->list_error = -EMFILE;
    assert_int_equal(scan(f, NULL, 0, &failure), -EIO);
    assert_int_equal(failure.code, -EIO);
    f->list_error = 0;
    f->nr_instances = 0;
    assert_int_equal(scan(f, NULL, 0, &failure), 0);
}

static void nothing_stays_behind_when_memory_runs_out(void **state)
{
    struct vd_device_found found[4];
    struct vd_failure failure = {0};
    struct fake *f = *state;

    f->nr_instances = 1;
    for (f->fail_at = 1; f->fail_at <= 2; f->fail_at++) {
        f->steps = 0;
        assert_true(scan(f, found, 4, &failure) < 0);
    }
    f->steps = 0;
    assert_int_equal(scan(f, found, 4, &failure), 1);
}

static void nothing_stays_behind_whichever_call_fails(void **state)
{
    static const int statuses[] = {VD_DEXT_NO_MEMORY, VD_DEXT_NO_DEVICE, VD_DEXT_NOT_ATTACHED,
                                   VD_DEXT_UNSUPPORTED};
    struct vd_device_found found[4];
    struct vd_failure failure = {0};
    struct fake *f = *state;

    for (unsigned i = 0; i < 4; i++) {
        bool reached = true;

        for (unsigned n = 1; reached; n++) {
            int count;

            f->fail_call = n;
            f->call_status = statuses[i];
            count = scan(f, found, 4, &failure);
            reached = f->fail_call == 0;
            f->dead = false;
            assert_true(count == 3 || (reached && count >= 0));
            f->fail_call = 0;
        }
    }
}

#define PREPARED(test) cmocka_unit_test_setup_teardown(test, setup, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PREPARED(a_device_is_described_whole),
        PREPARED(states_are_free_in_use_and_removed),
        PREPARED(an_older_extension_tells_who_it_is_and_no_more),
        PREPARED(on_a_mac_the_driver_is_the_extension),
        PREPARED(more_than_there_is_room_for_is_counted),
        PREPARED(an_instance_that_vanishes_is_skipped),
        PREPARED(one_that_cannot_be_asked_does_not_hide_the_others),
        PREPARED(no_host_is_enoent_as_it_is),
        PREPARED(nothing_stays_behind_when_memory_runs_out),
        PREPARED(nothing_stays_behind_whichever_call_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
