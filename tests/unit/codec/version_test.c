/* SPDX-License-Identifier: BSD-3-Clause */
/* Capability JSON and the errno table. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/version.h"
#include "codec/wire_errno.h"

static int parse(const char *text, struct vd_capabilities *caps)
{
    return vd_capabilities_parse(text, strlen(text) + 1, caps, NULL);
}

static void no_data_gives_the_defaults(void **state)
{
    struct vd_capabilities caps;

    assert_int_equal(vd_capabilities_parse(NULL, 0, &caps, NULL), 0);
    assert_int_equal(caps.max_msg_fds, 1);
    assert_int_equal(caps.max_data_xfer_size, 1048576);
    assert_int_equal(caps.max_dma_maps, 65535);
    assert_int_equal(caps.pgsizes, 4096);
    assert_false(caps.write_multiple);
    assert_false(caps.twin_socket);
    assert_int_equal(caps.twin_fd_index, -1);
}

static void what_qemu_sends_is_understood(void **state)
{
    struct vd_capabilities caps;

    assert_int_equal(parse("{\"capabilities\":{\"pgsizes\":4096,\"max_msg_fds\":16,\"max_dma_maps\":65535,"
                           "\"max_data_xfer_size\":1048576,\"migration\":{\"max_bitmap_size\":268435456,"
                           "\"pgsize\":4096},\"write_multiple\":true}}",
                           &caps),
                     0);
    assert_int_equal(caps.max_msg_fds, 16);
    assert_true(caps.write_multiple);
}

static void accepted(void **state)
{
    struct vd_capabilities caps;

    assert_int_equal(parse(*state, &caps), 0);
}

static void refused(void **state)
{
    struct vd_capabilities caps;
    const char *problem = NULL;

    assert_int_equal(vd_capabilities_parse(*state, strlen(*state) + 1, &caps, &problem), -EINVAL);
    assert_non_null(problem);
}

static void the_wrong_key_is_named(void **state)
{
    const char text[] = "{\"capabilities\":{\"max_msg_fds\":\"8\"}}";
    struct vd_capabilities caps;
    const char *problem = NULL;

    assert_int_equal(vd_capabilities_parse(text, sizeof(text), &caps, &problem), -EINVAL);
    assert_string_equal(problem, "max_msg_fds");
}

static void data_without_its_nul_is_refused(void **state)
{
    struct vd_capabilities caps;

    assert_int_equal(vd_capabilities_parse("{}", 2, &caps, NULL), -EINVAL);
}

static void data_after_the_nul_is_refused(void **state)
{
    struct vd_capabilities caps;

    assert_int_equal(vd_capabilities_parse("{}\0{}", 6, &caps, NULL), -EINVAL);
}

static void data_beyond_the_limit_is_refused(void **state)
{
    char *text = malloc(VD_VERSION_DATA_MAX + 1);
    struct vd_capabilities caps;

    assert_non_null(text);
    memset(text, ' ', VD_VERSION_DATA_MAX + 1);
    text[0] = '{';
    text[VD_VERSION_DATA_MAX - 1] = '}';
    text[VD_VERSION_DATA_MAX] = 0;
    assert_int_equal(vd_capabilities_parse(text, VD_VERSION_DATA_MAX + 1, &caps, NULL), -EINVAL);
    free(text);
}

static void what_is_emitted_parses_back(void **state)
{
    const struct vd_capabilities ours = {.max_msg_fds = 16,
                                         .max_data_xfer_size = 1048576,
                                         .max_dma_maps = 65535,
                                         .pgsizes = 16384,
                                         .write_multiple = true,
                                         .twin_socket = true,
                                         .twin_fd_index = 0};
    struct vd_capabilities back;
    char text[512];
    int n = vd_capabilities_emit(&ours, text, sizeof(text));

    assert_true(n > 0);
    assert_int_equal(text[n - 1], 0);
    assert_int_equal(vd_capabilities_parse(text, (size_t)n, &back, NULL), 0);
    assert_int_equal(back.max_msg_fds, ours.max_msg_fds);
    assert_int_equal(back.max_data_xfer_size, ours.max_data_xfer_size);
    assert_int_equal(back.max_dma_maps, ours.max_dma_maps);
    assert_int_equal(back.pgsizes, ours.pgsizes);
    assert_true(back.write_multiple);
    assert_true(back.twin_socket);
    assert_int_equal(back.twin_fd_index, 0);
}

static void features_that_are_off_are_not_emitted(void **state)
{
    const struct vd_capabilities ours = {
        .max_msg_fds = 1, .max_data_xfer_size = 1, .max_dma_maps = 1, .pgsizes = 4096};
    char text[512];

    assert_true(vd_capabilities_emit(&ours, text, sizeof(text)) > 0);
    assert_null(strstr(text, "twin_socket"));
    assert_null(strstr(text, "write_multiple"));
}

static void a_buffer_that_is_too_small_is_enobufs(void **state)
{
    struct vd_capabilities ours;
    char text[16];

    vd_capabilities_init(&ours);
    assert_int_equal(vd_capabilities_emit(&ours, text, sizeof(text)), -ENOBUFS);
}

/* Linux's numbers, whatever the host's are. */
static const struct {
    int host;
    uint32_t wire;
} numbers[] = {
    {EPERM, 1},   {ENOENT, 2},  {EIO, 5},     {E2BIG, 7},    {ENOMEM, 12},   {EACCES, 13},     {EFAULT, 14},
    {EBUSY, 16},  {EEXIST, 17}, {ENODEV, 19}, {EINVAL, 22},  {EMFILE, 24},   {ENOTTY, 25},     {ENOSPC, 28},
    {ERANGE, 34}, {ENOSYS, 38}, {EPROTO, 71}, {ENOTSUP, 95}, {ENOBUFS, 105}, {ETIMEDOUT, 110},
};

static void errnos_travel_as_linux_numbers(void **state)
{
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        assert_int_equal(vd_wire_errno(-numbers[i].host), numbers[i].wire);
    }
}

static void unknown_errnos_are_eio(void **state)
{
    assert_int_equal(vd_wire_errno(-99999), 5);
}

#define JSON(name_, function_, text_)                                                                        \
    {                                                                                                        \
        .name = (name_), .test_func = (function_), .initial_state = (void *)(uintptr_t)(text_)               \
    }
#define CAP(text_) "{\"capabilities\":{" text_ "}}"

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_data_gives_the_defaults),
        cmocka_unit_test(what_qemu_sends_is_understood),
        cmocka_unit_test(the_wrong_key_is_named),
        cmocka_unit_test(data_without_its_nul_is_refused),
        cmocka_unit_test(data_after_the_nul_is_refused),
        cmocka_unit_test(data_beyond_the_limit_is_refused),
        cmocka_unit_test(what_is_emitted_parses_back),
        cmocka_unit_test(features_that_are_off_are_not_emitted),
        cmocka_unit_test(a_buffer_that_is_too_small_is_enobufs),
        cmocka_unit_test(errnos_travel_as_linux_numbers),
        cmocka_unit_test(unknown_errnos_are_eio),
        JSON("an_empty_object_is_accepted", accepted, "{}"),
        JSON("white_space_is_accepted", accepted, " { \"capabilities\" : { } } "),
        JSON("unknown_keys_are_skipped", accepted,
             "{\"a\":[1,{}],"
             "\"capabilities\":{\"b\":null}}"),
        JSON("a_maximum_below_ours_is_accepted", accepted, CAP("\"max_data_xfer_size\":1")),
        JSON("no_descriptors_at_all_is_accepted", accepted, CAP("\"max_msg_fds\":0")),
        JSON("twin_socket_without_supported_is_accepted", accepted, CAP("\"twin_socket\":{}")),
        JSON("an_empty_text_is_refused", refused, ""),
        JSON("a_number_alone_is_refused", refused, "1"),
        JSON("null_alone_is_refused", refused, "null"),
        JSON("an_unfinished_object_is_refused", refused, "{\"capabilities\":{"),
        JSON("text_after_the_object_is_refused", refused, "{} x"),
        JSON("two_objects_are_refused", refused, "{}{}"),
        JSON("comments_are_refused", refused, "/* */ {}"),
        JSON("single_quotes_are_refused", refused, "{\"a\":'b'}"),
        JSON("bad_utf8_is_refused", refused, "{\"\xff\xfe\":1}"),
        JSON("nesting_beyond_the_bound_is_refused", refused,
             "{\"a\":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}"),
        JSON("capabilities_as_a_list_are_refused", refused, "{\"capabilities\":[]}"),
        JSON("capabilities_as_null_are_refused", refused, "{\"capabilities\":null}"),
        JSON("max_msg_fds_as_text_is_refused", refused, CAP("\"max_msg_fds\":\"1\"")),
        JSON("max_msg_fds_as_a_fraction_is_refused", refused, CAP("\"max_msg_fds\":1.5")),
        JSON("max_msg_fds_as_a_boolean_is_refused", refused, CAP("\"max_msg_fds\":true")),
        JSON("negative_max_msg_fds_is_refused", refused, CAP("\"max_msg_fds\":-1")),
        JSON("max_msg_fds_beyond_32_bits_is_refused", refused, CAP("\"max_msg_fds\":4294967296")),
        JSON("max_data_xfer_size_0_is_refused", refused, CAP("\"max_data_xfer_size\":0")),
        JSON("max_dma_maps_0_is_refused", refused, CAP("\"max_dma_maps\":0")),
        JSON("pgsizes_0_is_refused", refused, CAP("\"pgsizes\":0")),
        JSON("pgsizes_as_an_object_is_refused", refused, CAP("\"pgsizes\":{}")),
        JSON("write_multiple_as_a_number_is_refused", refused, CAP("\"write_multiple\":1")),
        JSON("twin_socket_as_a_boolean_is_refused", refused, CAP("\"twin_socket\":true")),
        JSON("twin_socket_supported_as_text_is_refused", refused,
             CAP("\"twin_socket\":{\"supported\":\"yes\"}")),
        JSON("twin_socket_fd_index_as_text_is_refused", refused, CAP("\"twin_socket\":{\"fd_index\":\"0\"}")),
        JSON("twin_socket_negative_fd_index_is_refused", refused, CAP("\"twin_socket\":{\"fd_index\":-1}")),
    };

    return cmocka_run_group_tests_name("version", tests, NULL, NULL);
}
