/* SPDX-License-Identifier: BSD-3-Clause */
/* The extension's return codes as errnos and back: every code of the ABI, and what is not one. */
#include "fake.h"

/* Every code; dext_abi.h has no list to walk, so a new one is to be added here. */
static const int codes[] = {
    VD_DEXT_SUCCESS,       VD_DEXT_ERROR,      VD_DEXT_NO_MEMORY,        VD_DEXT_NO_RESOURCES,
    VD_DEXT_IPC_ERROR,     VD_DEXT_NO_DEVICE,  VD_DEXT_NOT_PRIVILEGED,   VD_DEXT_BAD_ARGUMENT,
    VD_DEXT_UNSUPPORTED,   VD_DEXT_IO_ERROR,   VD_DEXT_EXCLUSIVE_ACCESS, VD_DEXT_NOT_OPEN,
    VD_DEXT_NOT_ALIGNED,   VD_DEXT_STILL_OPEN, VD_DEXT_DMA_ERROR,        VD_DEXT_BUSY,
    VD_DEXT_TIMEOUT,       VD_DEXT_NOT_READY,  VD_DEXT_NOT_ATTACHED,     VD_DEXT_NO_SPACE,
    VD_DEXT_NOT_PERMITTED, VD_DEXT_ABORTED,    VD_DEXT_NOT_RESPONDING,   VD_DEXT_NOT_FOUND,
};

enum { CODES = sizeof(codes) / sizeof(codes[0]) };

static void codes_have_the_errnos_that_callers_rely_on(void **state)
{
    assert_int_equal(dext_return_errno(VD_DEXT_SUCCESS), 0);
    assert_int_equal(dext_return_errno(VD_DEXT_NO_MEMORY), -ENOMEM);
    assert_int_equal(dext_return_errno(VD_DEXT_NO_DEVICE), -ENODEV);
    assert_int_equal(dext_return_errno(VD_DEXT_NOT_ATTACHED), -ENODEV);
    assert_int_equal(dext_return_errno(VD_DEXT_BAD_ARGUMENT), -EINVAL);
    assert_int_equal(dext_return_errno(VD_DEXT_EXCLUSIVE_ACCESS), -EBUSY);
    assert_int_equal(dext_return_errno(VD_DEXT_UNSUPPORTED), -ENOTSUP);
    assert_int_equal(dext_return_errno(VD_DEXT_NOT_ALIGNED), -ENOBUFS);
    assert_int_equal(dext_return_errno(VD_DEXT_NO_SPACE), -ENOSPC);
    assert_int_equal(dext_return_errno(VD_DEXT_NOT_FOUND), -ENOENT);
    assert_int_equal(dext_return_errno(VD_DEXT_IO_ERROR), -EIO);
}

static void every_code_is_known_by_a_name_of_its_own(void **state)
{
    for (unsigned i = 0; i < CODES; i++) {
        assert_int_equal(strncmp(dext_return_name(codes[i]), "kIOReturn", 9), 0);
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(dext_return_name(codes[i]), dext_return_name(codes[j]));
    }
}

static void an_errno_leads_back_to_a_code_with_that_errno(void **state)
{
    for (unsigned i = 0; i < CODES; i++) {
        int err = dext_return_errno(codes[i]);

        assert_int_equal(dext_return_errno(dext_return_of(err)), err);
        assert_true(err == 0 ? codes[i] == VD_DEXT_SUCCESS : err < 0);
    }
    assert_int_equal(dext_return_of(-ENODEV), VD_DEXT_NO_DEVICE);
    assert_int_equal(dext_return_of(-EIO), VD_DEXT_ERROR);
    assert_int_equal(dext_return_of(-ENOMEM), VD_DEXT_NO_MEMORY);
}

static void what_is_not_a_code_is_eio_and_back_an_error(void **state)
{
    assert_int_equal(dext_return_errno(1), -EIO);
    assert_int_equal(dext_return_errno(-1), -EIO);
    assert_int_equal(dext_return_errno((int)0xe00002ffu), -EIO);
    assert_string_equal(dext_return_name(1), "unknown code");
    assert_int_equal(dext_return_of(-EXDEV), VD_DEXT_ERROR);
    assert_int_equal(dext_return_of(5), VD_DEXT_ERROR);
}

static void a_refusal_is_neither_success_nor_a_lost_peer_nor_want_of_memory(void **state)
{
    assert_true(dext_is_refusal(VD_DEXT_UNSUPPORTED));
    assert_true(dext_is_refusal(VD_DEXT_BAD_ARGUMENT));
    assert_true(dext_is_refusal(VD_DEXT_NOT_READY));
    assert_true(dext_is_refusal(12345));
    assert_false(dext_is_refusal(VD_DEXT_SUCCESS));
    assert_false(dext_is_refusal(VD_DEXT_NO_MEMORY));
    assert_false(dext_is_refusal(VD_DEXT_NO_DEVICE));
    assert_false(dext_is_refusal(VD_DEXT_NOT_ATTACHED));
    assert_false(dext_is_refusal(VD_DEXT_TIMEOUT));
    assert_false(dext_is_refusal(VD_DEXT_IPC_ERROR));
}

static void an_operation_answers_what_it_may_or_eio(void **state)
{
    static const int allowed[] = {-ENODEV, -EINVAL, 0};

    assert_int_equal(dext_errno(VD_DEXT_SUCCESS, allowed), 0);
    assert_int_equal(dext_errno(VD_DEXT_NO_DEVICE, allowed), -ENODEV);
    assert_int_equal(dext_errno(VD_DEXT_BAD_ARGUMENT, allowed), -EINVAL);
    assert_int_equal(dext_errno(VD_DEXT_NO_SPACE, allowed), -EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_have_the_errnos_that_callers_rely_on),
        cmocka_unit_test(every_code_is_known_by_a_name_of_its_own),
        cmocka_unit_test(an_errno_leads_back_to_a_code_with_that_errno),
        cmocka_unit_test(what_is_not_a_code_is_eio_and_back_an_error),
        cmocka_unit_test(a_refusal_is_neither_success_nor_a_lost_peer_nor_want_of_memory),
        cmocka_unit_test(an_operation_answers_what_it_may_or_eio),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
