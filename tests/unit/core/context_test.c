/* SPDX-License-Identifier: BSD-3-Clause */
/* The context: which options are accepted, and that every hook gets the caller's own pointer. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/unit.h"
#include "core/context.h"

struct record {
    unsigned allocs, frees, lines, faults;
    enum vd_log_level level;
    bool refuse;
    char line[64];
};

static void *record_alloc(void *opaque, size_t size)
{
    struct record *record = opaque;

    if (record->refuse)
        return NULL;
    record->allocs++;
    return calloc(1, size);
}

static void record_release(void *opaque, void *memory)
{
    ((struct record *)opaque)->frees++;
    free(memory);
}

static void record_log(void *opaque, enum vd_log_level level, const char *line)
{
    struct record *record = opaque;

    record->lines++;
    record->level = level;
    strncpy(record->line, line, sizeof(record->line) - 1);
}

static uint64_t record_clock(void *opaque)
{
    (void)opaque;
    return 123456789;
}

static bool record_fault(void *opaque, const char *site)
{
    ((struct record *)opaque)->faults++;
    return strcmp(site, "here") == 0;
}

static void no_options_means_all_defaults(void **state)
{
    struct vd_context *context = NULL;

    (void)state;
    assert_int_equal(vd_context_create(NULL, &context), 0);
    assert_non_null(context);
    assert_true(vd_env_now(&context->env) > 0);
    assert_null(context->env.log);
    vd_context_destroy(context);
    vd_context_destroy(NULL);
}

static void an_unknown_size_is_refused(void **state)
{
    struct vd_context_options options = {0};
    struct vd_context *context = (void *)&options;

    (void)state;
    assert_int_equal(vd_context_create(&options, &context), -EINVAL);
    assert_null(context);
    options.size = sizeof(options) + 8;
    assert_int_equal(vd_context_create(&options, &context), -EINVAL);
    options.size = sizeof(options) - 1;
    assert_int_equal(vd_context_create(&options, &context), -EINVAL);
}

static void alloc_and_release_come_together(void **state)
{
    struct record record = {0};
    struct vd_context_options options = {.size = sizeof(options), .opaque = &record, .alloc = record_alloc};
    struct vd_context *context;

    (void)state;
    assert_int_equal(vd_context_create(&options, &context), -EINVAL);
    options.alloc = NULL;
    options.release = record_release;
    assert_int_equal(vd_context_create(&options, &context), -EINVAL);
    assert_int_equal(record.allocs, 0);
}

static void an_unknown_log_level_is_refused(void **state)
{
    struct vd_context_options options = {.size = sizeof(options)};
    struct vd_context *context;

    (void)state;
    memset(&options.log_level, 0x7f, sizeof(options.log_level));
    assert_int_equal(vd_context_create(&options, &context), -EINVAL);
}

static void create_without_memory_is_enomem(void **state)
{
    struct record record = {.refuse = true};
    struct vd_context_options options = {
        .size = sizeof(options), .opaque = &record, .alloc = record_alloc, .release = record_release};
    struct vd_context *context;

    (void)state;
    assert_int_equal(vd_context_create(&options, &context), -ENOMEM);
    assert_null(context);
}

static void every_hook_gets_the_callers_pointer(void **state)
{
    struct record record = {0};
    struct vd_context_options options = {.size = sizeof(options),
                                         .opaque = &record,
                                         .alloc = record_alloc,
                                         .release = record_release,
                                         .log = record_log,
                                         .clock = record_clock,
                                         .fault = record_fault,
                                         .log_level = VD_LOG_WARN};
    struct vd_context *context;

    (void)state;
    assert_int_equal(vd_context_create(&options, &context), 0);
    memset(&options, 0, sizeof(options)); /* they were copied */
    vd_env_free(&context->env, vd_env_alloc(&context->env, 2, 8));
    vd_warn(&context->env, "n=%d", 5);
    vd_info(&context->env, "dropped");
    assert_int_equal(record.lines, 1);
    assert_int_equal(record.level, VD_LOG_WARN);
    assert_string_equal(record.line, "n=5");
    assert_true(vd_env_now(&context->env) == 123456789);
    assert_true(vd_env_fault(&context->env, "here"));
    assert_false(vd_env_fault(&context->env, "elsewhere"));
    vd_context_destroy(context);
    assert_int_equal(record.allocs, 2);
    assert_int_equal(record.frees, 2);
    assert_int_equal(record.faults, 3);
}

static void the_version_has_three_numbers(void **state)
{
    int parts[3];

    (void)state;
    assert_int_equal(sscanf(vd_version(), "%d.%d.%d", &parts[0], &parts[1], &parts[2]), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_options_means_all_defaults),
        cmocka_unit_test(an_unknown_size_is_refused),
        cmocka_unit_test(alloc_and_release_come_together),
        cmocka_unit_test(an_unknown_log_level_is_refused),
        cmocka_unit_test(create_without_memory_is_enomem),
        cmocka_unit_test(every_hook_gets_the_callers_pointer),
        cmocka_unit_test(the_version_has_three_numbers),
    };

    return cmocka_run_group_tests_name("context", tests, NULL, NULL);
}
