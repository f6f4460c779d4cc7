/* SPDX-License-Identifier: BSD-3-Clause */
/* The list of devices where no host has any; what hosts list is tested with each of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <viaduct/context.h>
#include <viaduct/device.h>

static void a_host_that_is_not_there_is_no_error(void **state)
{
    struct vd_context *context;
    struct vd_error error = {0};

    assert_int_equal(setenv("VIADUCT_DEXTD", "no-such-directory/socket", 1), 0);
    assert_int_equal(vd_context_create(NULL, &context), 0);
    assert_int_equal(vd_device_scan(context, NULL, 0, &error), 0);
    assert_int_equal(error.code, 0); /* filled only on failure */
    assert_int_equal(error.message[0], 0);
    vd_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_host_that_is_not_there_is_no_error)};

    return cmocka_run_group_tests_name("scan", tests, NULL, NULL);
}
