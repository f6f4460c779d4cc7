/* SPDX-License-Identifier: BSD-3-Clause */
/* Failures in words: the code comes back, the text is filled and bounded, nobody has to listen. */
#include "base/failure.h"

#include <errno.h>
#include <string.h>

#include "unit.h"

static void a_failure_carries_code_and_text(void **state)
{
    struct vd_failure failure = {.usage = true};

    (void)state;
    assert_int_equal(vd_fail(&failure, -ENOSPC, "%s=%d", "size", 7), -ENOSPC);
    assert_int_equal(failure.code, -ENOSPC);
    assert_false(failure.usage);
    assert_string_equal(failure.text, "size=7");
}

static void wrong_usage_is_einval_and_marked(void **state)
{
    struct vd_failure failure = {0};

    (void)state;
    assert_int_equal(vd_fail_usage(&failure, "no such option: %s", "x"), -EINVAL);
    assert_int_equal(failure.code, -EINVAL);
    assert_true(failure.usage);
    assert_string_equal(failure.text, "no such option: x");
}

static void nobody_has_to_listen(void **state)
{
    (void)state;
    assert_int_equal(vd_fail(NULL, -EIO, "lost"), -EIO);
    assert_int_equal(vd_fail_usage(NULL, "lost"), -EINVAL);
}

static void a_long_text_is_cut_and_terminated(void **state)
{
    struct vd_failure failure = {0};
    char text[2 * VD_FAILURE_TEXT];

    (void)state;
    memset(text, 'y', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    vd_fail(&failure, -EIO, "%s", text);
    assert_int_equal(strlen(failure.text), VD_FAILURE_TEXT - 1);
}

static void a_prefix_keeps_what_was_said_and_whose_fault_it_was(void **state)
{
    struct vd_failure failure;
    char longer[VD_FAILURE_TEXT];

    (void)state;
    vd_fail_usage(&failure, "granule=3: not a power of two");
    assert_int_equal(vd_fail_prefix(&failure, "sim:edu,granule=3", -EINVAL), -EINVAL);
    assert_string_equal(failure.text, "sim:edu,granule=3: granule=3: not a power of two");
    assert_true(failure.usage);
    vd_fail(&failure, -EIO, "no");
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = 0;
    assert_int_equal(vd_fail_prefix(&failure, longer, -ENOMEM), -ENOMEM);
    assert_int_equal(failure.code, -ENOMEM);
    assert_false(failure.usage);
    assert_string_equal(failure.text + strlen(failure.text) - 4, ": no");
    assert_int_equal(vd_fail_prefix(NULL, "nobody", -EIO), -EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_carries_code_and_text),
        cmocka_unit_test(wrong_usage_is_einval_and_marked),
        cmocka_unit_test(nobody_has_to_listen),
        cmocka_unit_test(a_long_text_is_cut_and_terminated),
        cmocka_unit_test(a_prefix_keeps_what_was_said_and_whose_fault_it_was),
    };

    return cmocka_run_group_tests_name("failure", tests, NULL, NULL);
}
