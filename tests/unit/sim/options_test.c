/* SPDX-License-Identifier: BSD-3-Clause */
/* Options of simulated machines: values, defaults, and what the refusals say. */
#include "harness.h"

#include <errno.h>

#include "sim/options.h"

struct values {
    uint64_t count, size, page;
    bool flag;
    unsigned pick;
    char *path;
    char *title;
};

#define FIELD(name) offsetof(struct values, name)

static const char *const picks[] = {"left", "right", NULL};

static const struct sim_option first_rows[] = {
    {"count", SIM_OPTION_UINT, .offset = FIELD(count), .min = 1, .max = 100,
     .values = "a number from 1 to 100", .fallback = "7"},
    {"size", SIM_OPTION_SIZE, .offset = FIELD(size), .values = "any size"},
    {"page", SIM_OPTION_SIZE, .offset = FIELD(page), .min = 512, .max = 65536, .power_of_two = true,
     .values = "a power of two", .fallback = "4K"},
};
static const struct sim_option second_rows[] = {
    {"flag", SIM_OPTION_BOOL, .offset = FIELD(flag), .values = "on, off", .fallback = "on"},
    {"pick", SIM_OPTION_ENUM, .offset = FIELD(pick), .names = picks, .values = "left, right",
     .fallback = "right"},
    {"path", SIM_OPTION_TEXT, .offset = FIELD(path), .values = "a path"},
    {"title", SIM_OPTION_TEXT, .offset = FIELD(title), .values = "text", .fallback = "none"},
};

struct fixture {
    struct harness h;
    struct values values;
    struct sim_option_set sets[2];
    struct vd_failure failure;
};

static int parse(struct fixture *f, const char *text)
{
    memset(f, 0, sizeof(*f));
    harness_init(&f->h);
    f->sets[0] = (struct sim_option_set){first_rows, 3, &f->values};
    f->sets[1] = (struct sim_option_set){second_rows, 4, &f->values};
    return sim_options_parse(&f->h.env, "sim:thing", text, f->sets, 2, &f->failure);
}

static void finish(struct fixture *f)
{
    sim_options_finish(&f->h.env, f->sets, 2);
    assert_int_equal(f->h.live, 0);
}

/* Expects a usage error that mentions each of the words, and nothing left behind. */
static void refused(const char *text, const char *const *words)
{
    struct fixture f;

    assert_int_equal(parse(&f, text), -EINVAL);
    assert_true(f.failure.usage);
    assert_int_equal(f.failure.code, -EINVAL);
    for (; *words; words++) {
        if (!strstr(f.failure.text, *words))
            fail_msg("'%s' does not mention '%s': %s", text, *words, f.failure.text);
    }
    assert_int_equal(f.h.live, 0);
}

#define REFUSED(text, ...) refused((text), (const char *const[]){"sim:thing", __VA_ARGS__, NULL})

static void empty_text_gives_the_defaults(void **state)
{
    struct fixture f;

    assert_int_equal(parse(&f, ""), 0);
    assert_int_equal(f.values.count, 7);
    assert_int_equal(f.values.size, 0);
    assert_int_equal(f.values.page, 4096);
    assert_true(f.values.flag);
    assert_int_equal(f.values.pick, 1);
    assert_null(f.values.path);
    assert_string_equal(f.values.title, "none");
    finish(&f);
}

static void every_type_is_read_from_any_set(void **state)
{
    struct fixture f;

    assert_int_equal(parse(&f, "pick=left,count=0x10,size=3G,flag=off,path=/a/b,page=64k,title=x"), 0);
    assert_int_equal(f.values.count, 16);
    assert_int_equal(f.values.size, 3ull << 30);
    assert_int_equal(f.values.page, 65536);
    assert_false(f.values.flag);
    assert_int_equal(f.values.pick, 0);
    assert_string_equal(f.values.path, "/a/b");
    assert_string_equal(f.values.title, "x");
    finish(&f);
}

static void doubled_comma_in_text_is_one_comma(void **state)
{
    struct fixture f;

    assert_int_equal(parse(&f, "path=a,,b,,,count=3"), 0);
    assert_string_equal(f.values.path, "a,b,");
    assert_int_equal(f.values.count, 3);
    finish(&f);
}

static void text_may_contain_equals_and_be_empty(void **state)
{
    struct fixture f;

    assert_int_equal(parse(&f, "path=a=b,title="), 0);
    assert_string_equal(f.values.path, "a=b");
    assert_string_equal(f.values.title, "");
    finish(&f);
}

static void largest_number_is_read_and_one_more_refused(void **state)
{
    struct fixture f;

    assert_int_equal(parse(&f, "size=18446744073709551615"), 0);
    assert_true(f.values.size == UINT64_MAX);
    finish(&f);
    REFUSED("size=18446744073709551616", "size", "18446744073709551616");
    REFUSED("size=0x10000000000000000", "size");
    REFUSED("size=16777216T", "size", "16777216T");
}

static void unknown_key_lists_the_known_ones(void **state)
{
    REFUSED("colour=red", "colour", "count", "size", "page", "flag", "pick", "path", "title");
}

static void duplicate_key_is_refused(void **state)
{
    REFUSED("count=1,count=2", "count", "twice", "'2'");
    REFUSED("path=a,path=b", "path", "twice");
}

static void bad_values_name_key_value_and_what_is_allowed(void **state)
{
    REFUSED("count=0", "count", "'0'", "a number from 1 to 100");
    REFUSED("count=101", "'101'");
    REFUSED("count=4K", "'4K'");
    REFUSED("count=", "count", "''");
    REFUSED("count=-1", "'-1'");
    REFUSED("count= 1", "' 1'");
    REFUSED("count=0x", "'0x'");
    REFUSED("count=1,,2", "count");
    REFUSED("size=4KB", "'4KB'");
    REFUSED("size=K", "'K'");
    REFUSED("page=3000", "page", "a power of two");
    REFUSED("flag=yes", "flag", "'yes'", "on, off");
    REFUSED("pick=up", "pick", "'up'", "left, right");
}

static void malformed_text_is_refused(void **state)
{
    REFUSED(",", "empty");
    REFUSED("count=1,", "empty");
    REFUSED(",count=1", "empty");
    REFUSED("=1", "empty");
    REFUSED("count", "count", "no value");
    REFUSED("path=x,count", "no value");
}

static int parse_all(struct harness *h)
{
    struct values values = {0};
    struct sim_option_set set = {second_rows, 4, &values};
    int err = sim_options_parse(&h->env, "sim:thing", "path=a,,b,title=c", &set, 1, NULL);

    if (!err)
        sim_options_finish(&h->env, &set, 1);
    return err;
}

static void memory_shortage_leaves_nothing_behind(void **state)
{
    struct harness h;

    harness_init(&h);
    assert_int_equal(fail_each_step(&h, parse_all), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_text_gives_the_defaults),
        cmocka_unit_test(every_type_is_read_from_any_set),
        cmocka_unit_test(doubled_comma_in_text_is_one_comma),
        cmocka_unit_test(text_may_contain_equals_and_be_empty),
        cmocka_unit_test(largest_number_is_read_and_one_more_refused),
        cmocka_unit_test(unknown_key_lists_the_known_ones),
        cmocka_unit_test(duplicate_key_is_refused),
        cmocka_unit_test(bad_values_name_key_value_and_what_is_allowed),
        cmocka_unit_test(malformed_text_is_refused),
        cmocka_unit_test(memory_shortage_leaves_nothing_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
