/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses: what is read from them, which are wrong usage, and what is said when no instance drives the device. */
#include "fake.h"

static struct dext_address parse(const char *text)
{
    struct vd_failure failure = {0};
    struct dext_address address;

    if (dext_address_parse(text, &address, &failure))
        fail_msg("%s", failure.text);
    return address;
}

static void has_words(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (!strstr(text, *words))
            fail_msg("no '%s' in: %s", *words, text);
}

#define HAS(text, ...) has_words(text, (const char *const[]){__VA_ARGS__, NULL})

static void refused(const char *text, const char *const *words)
{
    struct vd_failure failure = {0};
    struct dext_address address;

    assert_int_equal(dext_address_parse(text, &address, &failure), -EINVAL);
    assert_true(failure.usage);
    has_words(failure.text, words);
}

#define REFUSED(text, ...) refused(text, (const char *const[]){__VA_ARGS__, NULL})

static void bus_device_and_function_are_hexadecimal(void **state)
{
    struct dext_address a = parse("apple:fE:1c.7");

    assert_int_equal(a.bus, 0xfe);
    assert_int_equal(a.device, 0x1c);
    assert_int_equal(a.function, 7);
    assert_string_equal(a.name, "apple:fe:1c.7");
    assert_null(dext_address_where(&a));
}

static void a_socket_can_be_named(void **state)
{
    struct dext_address a = parse("apple:01:00.0,socket=/tmp/a b.sock");

    assert_string_equal(dext_address_where(&a), "/tmp/a b.sock");
    assert_string_equal(a.name, "apple:01:00.0");
    a = parse("apple:01:00.0,socket=a,,b,,");
    assert_string_equal(dext_address_where(&a), "a,b,");
}

static void what_is_not_bb_dd_f_is_wrong_usage(void **state)
{
    static const char *const bad[] = {
        "apple:",          "apple:1:0.0",   "apple:01:00",    "apple:01:00.8",
        "apple:01:20.0",   "apple:0g:00.0", "apple:01-00.0",  "apple:01:00:0",
        "apple:01:00.00",  "sim:edu",       "apple",          "",
        "apple:0001:00.0", "apple: 1:00.0", "apple:01:00.0 ", "apple:01:-1.0",
    };

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        REFUSED(bad[i], bad[i], "apple:BB:DD.F", "socket=PATH");
}

static void an_option_must_be_a_socket_with_a_path_once(void **state)
{
    char longest[64 + DEXT_MAX_SOCKET];
    struct vd_failure failure = {0};
    struct dext_address a;

    REFUSED("apple:01:00.0,", "''", "socket=PATH");
    REFUSED("apple:01:00.0,colour=red", "'colour=red'", "socket=PATH");
    REFUSED("apple:01:00.0,socket", "'socket'", "socket=PATH");
    REFUSED("apple:01:00.0,socket=", "path");
    REFUSED("apple:01:00.0,socket=a,socket=b", "twice");
    REFUSED("apple:01:00.0,socket=a,", "''");
    memset(longest, 'a', sizeof(longest));
    memcpy(longest, "apple:01:00.0,socket=", 21);
    longest[21 + DEXT_MAX_SOCKET - 1] = 0;
    assert_int_equal(dext_address_parse(longest, &a, &failure), 0);
    longest[21 + DEXT_MAX_SOCKET - 1] = 'a';
    longest[21 + DEXT_MAX_SOCKET] = 0;
    REFUSED(longest, "255");
}

static int open_it(struct fake *f, const char *address, struct vd_failure *failure)
{
    int err;

    memset(failure, 0, sizeof(*failure));
    err = fake_open(f, address, failure);
    assert_int_equal(failure->code, err);
    if (err) {
        assert_int_equal(f->links, 0);
        assert_int_equal(f->live, 0);
    }
    fake_close(f);
    return err;
}

static struct fake *fresh(void)
{
    struct fake *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    fake_init(f);
    return f;
}

static void done(struct fake *f)
{
    fake_finish(f);
    free(f);
}

static void the_instance_is_found_by_identity(void **state)
{
    struct fake *f = fresh();
    struct vd_failure failure;

    f->nr_instances = 3;
    f->instances[0] = (struct fake_instance){.bus = 1};
    f->instances[1] = (struct fake_instance){.bus = 2, .device = 3, .function = 4};
    f->instances[2] = (struct fake_instance){.bus = 3};
    f->instances[0].open_error = -EACCES; /* another's trouble is no matter */
    assert_int_equal(open_it(f, "apple:02:03.4,socket=/here", &failure), 0);
    assert_string_equal(f->where, "/here");
    done(f);
}

static void when_none_drives_it_those_that_there_are_are_named(void **state)
{
    struct fake *f = fresh();
    struct vd_failure failure;

    f->nr_instances = 2;
    f->instances[1] = (struct fake_instance){.bus = 3, .device = 0x1f, .function = 1};
    assert_int_equal(open_it(f, "apple:01:00.0", &failure), -ENOENT);
    HAS(failure.text, "apple:01:00.0: no such device", "drives: 02:00.0, 03:1f.1");
    f->nr_instances = 0;
    assert_int_equal(open_it(f, "apple:01:00.0", &failure), -ENOENT);
    HAS(failure.text, "no such device", "drives no device");
    done(f);
}

static void an_instance_that_went_away_is_as_if_it_had_never_been(void **state)
{
    struct fake *f = fresh();
    struct vd_failure failure;

    f->nr_instances = 3;
    f->instances[0] = (struct fake_instance){.bus = 1, .open_error = -ENOENT};
    f->instances[1] = (struct fake_instance){.bus = 1, .identity_status = VD_DEXT_NO_DEVICE};
    f->instances[2] = (struct fake_instance){.bus = 1};
    assert_int_equal(open_it(f, "apple:01:00.0", &failure), 0);
    f->nr_instances = 2;
    assert_int_equal(open_it(f, "apple:01:00.0", &failure), -ENOENT);
    HAS(failure.text, "drives no device");
    done(f);
}

static void an_instance_that_will_not_tell_is_reported(void **state)
{
    struct fake *f = fresh();
    struct vd_failure failure;

    f->nr_instances = 2;
    f->instances[1] = (struct fake_instance){.bus = 1, .open_error = -EACCES};
    assert_int_equal(open_it(f, "apple:01:00.0", &failure), -EACCES);
    HAS(failure.text, "apple:01:00.0", "instance 101 will not be opened");
    f->instances[1].open_error = -EMFILE;
    assert_int_equal(open_it(f, "apple:01:00.0", &failure), -EIO);
    f->instances[1] = (struct fake_instance){.bus = 1, .identity_status = VD_DEXT_IO_ERROR};
    assert_int_equal(open_it(f, "apple:01:00.0", &failure), -EIO);
    HAS(failure.text, "not found", "02:00.0 and 1 that did not say");
    done(f);
}

static void a_removed_device_that_is_back_is_found_behind_its_old_instance(void **state)
{
    struct fake *f = fresh();
    struct vd_failure failure;

    f->nr_instances = 2;
    f->instances[0] = (struct fake_instance){.bus = 1, .state = VD_DEXT_STATE_GONE | VD_DEXT_STATE_CLAIMED};
    f->instances[1] = (struct fake_instance){.bus = 1};
    assert_int_equal(open_it(f, "apple:01:00.0", &failure), 0);
    f->nr_instances = 1;
    assert_int_equal(open_it(f, "apple:01:00.0", &failure), -ENOENT);
    HAS(failure.text, "removed");
    done(f);
}

static void when_nothing_runs_the_links_advice_is_passed_on(void **state)
{
    static const int errors[] = {-ENOENT, -EACCES, -EIO, -ENOMEM};
    struct fake *f = fresh();
    struct vd_failure failure;

    for (unsigned i = 0; i < 4; i++) {
        f->list_error = errors[i];
        assert_int_equal(open_it(f, "apple:01:00.0,socket=/there", &failure), errors[i]);
        HAS(failure.text, "apple:01:00.0", "nothing listens at '/there'", "start something");
    }
    done(f);
}

static void a_long_list_of_instances_is_read_whole(void **state)
{
    struct vd_failure failure = {0};
    struct fake *f = fresh();
    uint64_t *ids = NULL;

    /* The fake's table is short, so the ids are told apart and not opened. */
    f->nr_instances = 1000;
    assert_int_equal(dext_list_instances(&f->env, f->choose(NULL), NULL, &ids, &failure), 1000);
    assert_int_equal(ids[999], 1099);
    vd_env_free(&f->env, ids);
    f->nr_instances = 1;
    done(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bus_device_and_function_are_hexadecimal),
        cmocka_unit_test(a_socket_can_be_named),
        cmocka_unit_test(what_is_not_bb_dd_f_is_wrong_usage),
        cmocka_unit_test(an_option_must_be_a_socket_with_a_path_once),
        cmocka_unit_test(the_instance_is_found_by_identity),
        cmocka_unit_test(when_none_drives_it_those_that_there_are_are_named),
        cmocka_unit_test(an_instance_that_went_away_is_as_if_it_had_never_been),
        cmocka_unit_test(an_instance_that_will_not_tell_is_reported),
        cmocka_unit_test(a_removed_device_that_is_back_is_found_behind_its_old_instance),
        cmocka_unit_test(when_nothing_runs_the_links_advice_is_passed_on),
        cmocka_unit_test(a_long_list_of_instances_is_read_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
