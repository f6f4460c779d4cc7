/* SPDX-License-Identifier: BSD-3-Clause */
/* Images and options: each refusal names the option, the value and the remedy. */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file of `size` bytes in the working directory. */
static void make_file(char *path, size_t room, off_t size)
{
    int fd;

    snprintf(path, room, "nvme-disk-test.XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    close(fd);
}

static void expect_refusal(const char *options, int error, bool usage, const char *word, const char *remedy)
{
    struct rig rig;

    rig_init(&rig);
    assert_int_equal(rig_create(&rig, options), error);
    assert_int_equal(rig.failure.code, error);
    assert_int_equal(rig.failure.usage, usage);
    if (!strstr(rig.failure.text, word) || !strstr(rig.failure.text, remedy))
        fail_msg("'%s' does not say '%s' and '%s'", rig.failure.text, word, remedy);
    rig_stop(&rig);
}

static void missing_image_is_refused(void **state)
{
    expect_refusal("image=no-such-file", -ENOENT, false, "image=no-such-file", "create it");
    expect_refusal("image=no-such-directory/file", -ENOENT, false, "no-such-directory/file", "create it");
}

static void directory_and_device_of_another_kind_are_refused(void **state)
{
    expect_refusal("image=.", -EINVAL, true, "image=.", "name a file");
    expect_refusal("image=/dev/null", -EINVAL, true, "image=/dev/null", "name one of these");
    expect_refusal("image=.,readonly=on", -EINVAL, true, "image=.", "name one of these");
}

static void wrong_sizes_are_refused(void **state)
{
    char path[64], options[128];

    make_file(path, sizeof(path), 6144);
    snprintf(options, sizeof(options), "image=%s,sector=4096", path);
    expect_refusal(options, -EINVAL, true, "6144", "sector=");
    assert_int_equal(truncate(path, 5000), 0);
    snprintf(options, sizeof(options), "image=%s", path);
    expect_refusal(options, -EINVAL, true, "5000", "sector=512");
    assert_int_equal(truncate(path, 512), 0);
    expect_refusal(options, -EINVAL, true, "512 bytes", "enlarge");
    snprintf(options, sizeof(options), "image=%s,size=1M", path);
    expect_refusal(options, -EINVAL, true, "size=", "drop one");
    unlink(path);
}

/* As root nothing is forbidden, so for the while be somebody else. */
static void image_without_permission_is_refused_unless_read_only_suffices(void **state)
{
    char path[64], options[128];
    struct rig rig;
    uid_t me = geteuid();

    make_file(path, sizeof(path), 1 << 20);
    assert_int_equal(chmod(path, 0444), 0);
    assert_int_equal(seteuid(me ? me : 65534), 0);
    snprintf(options, sizeof(options), "image=%s", path);
    expect_refusal(options, -EACCES, false, path, "readonly=on");
    snprintf(options, sizeof(options), "image=%s,readonly=on", path);
    rig_init(&rig);
    assert_int_equal(rig_create(&rig, options), 0);
    rig_stop(&rig);
    assert_int_equal(seteuid(me), 0);
    unlink(path);
}

static void image_in_use_is_refused_and_free_again_afterwards(void **state)
{
    char path[64], options[128];
    struct rig rig;

    make_file(path, sizeof(path), 1 << 20);
    snprintf(options, sizeof(options), "image=%s", path);
    rig_init(&rig);
    assert_int_equal(rig_create(&rig, options), 0);
    expect_refusal(options, -EBUSY, false, path, "in use");
    snprintf(options, sizeof(options), "image=%s,readonly=on", path);
    expect_refusal(options, -EBUSY, false, path, "in use");
    rig_stop(&rig);
    rig_init(&rig);
    assert_int_equal(rig_create(&rig, options), 0);
    rig_stop(&rig);
    unlink(path);
}

static void two_readers_share_an_image(void **state)
{
    char path[64], options[128];
    struct rig one, two;

    make_file(path, sizeof(path), 1 << 20);
    snprintf(options, sizeof(options), "image=%s,readonly=on", path);
    rig_init(&one);
    rig_init(&two);
    assert_int_equal(rig_create(&one, options), 0);
    assert_int_equal(rig_create(&two, options), 0);
    snprintf(options, sizeof(options), "image=%s", path);
    expect_refusal(options, -EBUSY, false, path, "in use");
    rig_stop(&two);
    rig_stop(&one);
    unlink(path);
}

static void bad_option_values_are_refused(void **state)
{
    expect_refusal("queues=0", -EINVAL, true, "queues", "1 to 64");
    expect_refusal("queues=65", -EINVAL, true, "queues", "1 to 64");
    expect_refusal("vectors=66", -EINVAL, true, "vectors", "1 to 65");
    expect_refusal("sector=1024", -EINVAL, true, "sector", "512, 4096");
    expect_refusal("irq=apic", -EINVAL, true, "irq", "msix, msi, intx");
    expect_refusal("mdts=3M", -EINVAL, true, "mdts", "power of two");
    expect_refusal("mdts=6K", -EINVAL, true, "mdts", "power of two");
    expect_refusal("size=1K", -EINVAL, true, "size", "1M");
    expect_refusal("serial=123456789012345678901", -EINVAL, true, "serial=", "1 to 20");
    expect_refusal("serial=\x01", -EINVAL, true, "serial=", "printable");
    expect_refusal("size=1049k,sector=4096", -EINVAL, true, "size", "");
    expect_refusal("colour=red", -EINVAL, true, "colour", "");
}

static void identity_is_that_of_the_image(void **state)
{
    char path[64], options[128];
    uint8_t first[8];
    struct rig rig, other;

    make_file(path, sizeof(path), 1 << 20);
    snprintf(options, sizeof(options), "image=%s", path);
    rig_init(&rig);
    assert_int_equal(rig_create(&rig, options), 0);
    memcpy(first, rig_nvme(&rig)->eui64, sizeof(first));
    rig_stop(&rig);
    rig_init(&rig);
    assert_int_equal(rig_create(&rig, options), 0);
    assert_memory_equal(rig_nvme(&rig)->eui64, first, sizeof(first));
    rig_init(&other);
    assert_int_equal(rig_create(&other, ""), 0);
    assert_memory_not_equal(rig_nvme(&other)->eui64, first, sizeof(first));
    assert_string_not_equal(rig_nvme(&other)->subnqn, rig_nvme(&rig)->subnqn);
    rig_stop(&other);
    rig_stop(&rig);
    unlink(path);
}

static void idle_controller_is_small(void **state)
{
    struct rig rig;

    rig_init(&rig);
    assert_int_equal(rig_create(&rig, "mdts=2M"), 0);
    assert_null(rig_nvme(&rig)->bounce); /* only made when memory has no pointer */
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_image_is_refused),
        cmocka_unit_test(directory_and_device_of_another_kind_are_refused),
        cmocka_unit_test(wrong_sizes_are_refused),
        cmocka_unit_test(image_without_permission_is_refused_unless_read_only_suffices),
        cmocka_unit_test(image_in_use_is_refused_and_free_again_afterwards),
        cmocka_unit_test(two_readers_share_an_image),
        cmocka_unit_test(bad_option_values_are_refused),
        cmocka_unit_test(identity_is_that_of_the_image),
        cmocka_unit_test(idle_controller_is_small),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
