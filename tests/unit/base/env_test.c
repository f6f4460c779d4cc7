/* SPDX-License-Identifier: BSD-3-Clause */
/* The surroundings: overflow, injected faults, and what reaches the hooks. */
#include "base/env.h"

#include <stdlib.h>
#include <string.h>

#include "unit.h"

struct record {
    unsigned allocs, frees, lines;
    size_t last_size;
    char line[2048];
    const char *fail_site;
};

static void *record_alloc(void *opaque, size_t size)
{
    struct record *record = opaque;

    record->allocs++;
    record->last_size = size;
    return calloc(1, size);
}

static void record_free(void *opaque, void *ptr)
{
    ((struct record *)opaque)->frees++;
    free(ptr);
}

static void record_log(void *opaque, enum vd_env_level level, const char *line)
{
    struct record *record = opaque;

    (void)level;
    record->lines++;
    strncpy(record->line, line, sizeof(record->line) - 1);
}

static uint64_t record_now(void *opaque)
{
    (void)opaque;
    return 42;
}

static bool record_fault(void *opaque, const char *site)
{
    struct record *record = opaque;

    return record->fail_site && strcmp(site, record->fail_site) == 0;
}

static struct vd_env make_env(struct record *record)
{
    return (struct vd_env){.alloc = record_alloc,
                           .free = record_free,
                           .log = record_log,
                           .now_ns = record_now,
                           .fault = record_fault,
                           .opaque = record,
                           .level = VD_ENV_INFO};
}

static void default_memory_is_zeroed_and_the_clock_does_not_go_back(void **state)
{
    struct vd_env env;
    uint8_t *memory;
    uint64_t before;

    (void)state;
    vd_env_init_default(&env);
    memory = vd_env_alloc(&env, 16, 4);
    assert_non_null(memory);
    for (int i = 0; i < 64; i++)
        assert_int_equal(memory[i], 0);
    vd_env_free(&env, memory);
    vd_env_free(&env, NULL);
    before = vd_env_now(&env);
    assert_true(vd_env_now(&env) >= before);
    assert_false(vd_env_fault(&env, "alloc"));
    vd_err(&env, "nobody listens to %d", 1);
}

static void alloc_overflow_is_refused_before_the_hook(void **state)
{
    struct record record = {0};
    struct vd_env env = make_env(&record);

    (void)state;
    assert_null(vd_env_alloc(&env, SIZE_MAX, 2));
    assert_null(vd_env_alloc(&env, SIZE_MAX / 8 + 1, 8));
    assert_null(vd_env_alloc(&env, 0, 8));
    assert_null(vd_env_alloc(&env, 8, 0));
    assert_int_equal(record.allocs, 0);
}

static void alloc_asks_the_hook_for_the_product(void **state)
{
    struct record record = {0};
    struct vd_env env = make_env(&record);
    void *memory = vd_env_alloc(&env, 3, 24);

    (void)state;
    assert_non_null(memory);
    assert_int_equal(record.last_size, 72);
    vd_env_free(&env, memory);
    vd_env_free(&env, NULL);
    assert_int_equal(record.frees, 1);
}

static void an_injected_fault_fails_alloc_and_strdup(void **state)
{
    struct record record = {.fail_site = "alloc"};
    struct vd_env env = make_env(&record);

    (void)state;
    assert_null(vd_env_alloc(&env, 1, 8));
    assert_null(vd_env_strdup(&env, "text"));
    assert_true(vd_env_fault(&env, "alloc"));
    assert_false(vd_env_fault(&env, "mmap"));
    assert_int_equal(record.allocs, 0);
}

static void strdup_copies_the_terminator(void **state)
{
    struct record record = {0};
    struct vd_env env = make_env(&record);
    char *copy = vd_env_strdup(&env, "abc");

    (void)state;
    assert_string_equal(copy, "abc");
    assert_int_equal(record.last_size, 4);
    vd_env_free(&env, copy);
}

static void lines_above_the_level_are_dropped(void **state)
{
    struct record record = {0};
    struct vd_env env = make_env(&record);

    (void)state;
    vd_dbg(&env, "too much");
    assert_int_equal(record.lines, 0);
    vd_info(&env, "%s %d", "just", 7);
    assert_int_equal(record.lines, 1);
    assert_string_equal(record.line, "just 7");
    vd_warn(&env, "w");
    vd_err(&env, "e");
    assert_int_equal(record.lines, 3);
}

static void long_lines_are_cut_at_1023_bytes(void **state)
{
    struct record record = {0};
    struct vd_env env = make_env(&record);
    char text[1500];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    vd_err(&env, "%s", text);
    assert_int_equal(strlen(record.line), 1023);
}

static void time_comes_from_the_hook(void **state)
{
    struct record record = {0};
    struct vd_env env = make_env(&record);

    (void)state;
    assert_int_equal(vd_env_now(&env), 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_memory_is_zeroed_and_the_clock_does_not_go_back),
        cmocka_unit_test(alloc_overflow_is_refused_before_the_hook),
        cmocka_unit_test(alloc_asks_the_hook_for_the_product),
        cmocka_unit_test(an_injected_fault_fails_alloc_and_strdup),
        cmocka_unit_test(strdup_copies_the_terminator),
        cmocka_unit_test(lines_above_the_level_are_dropped),
        cmocka_unit_test(long_lines_are_cut_at_1023_bytes),
        cmocka_unit_test(time_comes_from_the_hook),
    };

    return cmocka_run_group_tests_name("env", tests, NULL, NULL);
}
