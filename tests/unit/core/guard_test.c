/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The SIGBUS guard. It is per process, so this program installs it once, in front of a handler of its own that proves
 * that bus errors elsewhere still reach whoever was there before.
 */
#include "base/guard.h"

#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../base/unit.h"
#include "core/guest_memory.h"
#include "fake.h"

#define PAGE FAKE_PAGE

enum { RW = VD_ACCESS_READ | VD_ACCESS_WRITE };

static sigjmp_buf escape;
static struct sigaction guarded; /* cmocka puts its own handlers around each test: tests begin with arm() */

static void on_bus_error(int signal)
{
    (void)signal;
    siglongjmp(escape, 1);
}

static int install(void **state)
{
    struct sigaction own = {.sa_handler = on_bus_error};

    (void)state;
    sigemptyset(&own.sa_mask);
    return sigaction(SIGBUS, &own, NULL) || vd_guard_install() || sigaction(SIGBUS, NULL, &guarded);
}

static void arm(void)
{
    assert_int_equal(sigaction(SIGBUS, &guarded, NULL), 0);
}

static int make_file(size_t pages)
{
    int fd = memfd_create("vd-test-guard", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)(pages * PAGE)), 0);
    return fd;
}

static void a_truncated_file_poisons_the_table_instead_of_killing(void **state)
{
    static const struct vd_dma_remote remote;
    static const struct vd_guest_memory_listener listener;
    struct fixture *f = *state;
    struct vd_guest_memory *memory;
    const struct vd_guest_region *region;
    int fd = make_file(4);

    arm();
    assert_int_equal(vd_guest_memory_create(&f->context->env, &remote, &listener, &memory), 0);
    assert_int_equal(vd_guest_memory_add(memory, (vd_gpa){0}, 4 * PAGE, RW, fd, 0), 0);
    region = vd_guest_memory_find(memory, (vd_gpa){0});
    memset(region->host, 0x77, 4 * PAGE);
    assert_int_equal(ftruncate(fd, (off_t)PAGE), 0);
    assert_false(vd_guest_memory_poisoned(memory));
    assert_int_equal(*(volatile uint8_t *)region->host, 0x77); /* still there */
    assert_false(vd_guest_memory_poisoned(memory));
    if (sigsetjmp(escape, 1))
        fail_msg("the bus error went past the guard");
    assert_int_equal(*(volatile uint8_t *)(region->host + 3 * PAGE + 5), 0);
    assert_true(vd_guest_memory_poisoned(memory));
    *(volatile uint8_t *)(region->host + 2 * PAGE) = 1; /* a write is survived as well */
    vd_guest_memory_destroy(memory);
    close(fd);
}

static void a_bus_error_elsewhere_goes_to_the_handler_before(void **state)
{
    int fd = make_file(1);
    uint8_t *page = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    volatile bool escaped = false;

    (void)state;
    arm();
    assert_true(page != MAP_FAILED);
    assert_int_equal(ftruncate(fd, 0), 0);
    if (sigsetjmp(escape, 1))
        escaped = true;
    else
        (void)*(volatile uint8_t *)page;
    assert_true(escaped);
    munmap(page, PAGE);
    close(fd);
}

static void installing_twice_keeps_the_handler_before(void **state)
{
    arm();
    assert_int_equal(vd_guard_install(), 0);
    a_bus_error_elsewhere_goes_to_the_handler_before(state);
}

static void removed_memory_is_no_longer_guarded(void **state)
{
    _Atomic bool poisoned = false;
    int fd = make_file(2);
    uint8_t *pages = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    int slot = vd_guard_add(pages, 2 * PAGE, &poisoned);
    volatile bool escaped = false;

    (void)state;
    arm();
    assert_true(slot >= 0);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(*(volatile uint8_t *)(pages + 2 * PAGE - 1), 0);
    assert_true(poisoned);
    poisoned = false;
    vd_guard_remove(slot);
    vd_guard_remove(-1);
    if (sigsetjmp(escape, 1))
        escaped = true;
    else
        (void)*(volatile uint8_t *)pages;
    assert_true(escaped);
    assert_false(poisoned);
    munmap(pages, 2 * PAGE);
    close(fd);
}

/* A full table guards no more, but says so, and gives slots back. */
static void slots_are_bounded_and_reused(void **state)
{
    static _Atomic bool poisoned;
    static uint8_t byte;
    static int slots[4096];
    int n = 0, again;

    (void)state;
    while (n < 4096 && (slots[n] = vd_guard_add(&byte, 1, &poisoned)) >= 0)
        n++;
    assert_in_range(n, 64, 4095);
    vd_guard_remove(slots[7]);
    again = vd_guard_add(&byte, 1, &poisoned);
    assert_int_equal(again, slots[7]);
    for (int i = 0; i < n; i++)
        vd_guard_remove(slots[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_truncated_file_poisons_the_table_instead_of_killing, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test(a_bus_error_elsewhere_goes_to_the_handler_before),
        cmocka_unit_test(installing_twice_keeps_the_handler_before),
        cmocka_unit_test(removed_memory_is_no_longer_guarded),
        cmocka_unit_test(slots_are_bounded_and_reused),
    };

    return cmocka_run_group_tests_name("guard", tests, install, NULL);
}
