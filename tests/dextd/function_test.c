/* SPDX-License-Identifier: BSD-3-Clause */
/* What clients do with a function: claims, config space, BARs, interrupts, resets, several functions and clients. */
#include "rig.h"

#include <sys/mman.h>

#include "sim/edu.h"

enum { COMMAND = 4, MASTER = 4, MEMORY_AND_MASTER = 6, HEADER_TYPE = 0x0e };

static const char *const one_edu[] = {"01:00.0=sim:edu", NULL};
static const char *const two_functions[] = {"01:00.0=sim:edu", "01:00.1=sim:edu", "02:00.0=sim:edu", NULL};
static const char *const hot_reset_only[] = {"01:00.0=sim:edu,flr=off", "01:00.1=sim:edu,flr=off", NULL};

static void claim_is_exclusive_and_passes_on_when_its_owner_leaves(void **state)
{
    struct rig rig = {0};
    struct raw first, second;

    rig_start(&rig, one_edu);
    first = raw_open(rig.path, 0);
    second = raw_open(rig.path, 0);
    raw_claim(&first);
    assert_int_equal(raw_config_read(&first, COMMAND, 2), MEMORY_AND_MASTER);
    assert_int_equal(raw_number(&second, "01:00.0", "command"), MEMORY_AND_MASTER);
    assert_int_equal(raw_call(&second, VD_DEXT_CLAIM, NULL, 0, NULL, 0), VD_DEXT_EXCLUSIVE_ACCESS);
    raw_close(&first);
    raw_await_number(&second, "01:00.0", "clients", 1);
    assert_int_equal(raw_number(&second, "01:00.0", "command") & MASTER, 0);
    assert_int_equal(raw_number(&second, "01:00.0", "claimed"), 0);
    raw_claim(&second);
    raw_close(&second);
    rig_stop(&rig);
}

static void bars_have_a_memory_index_that_is_not_their_number(void **state)
{
    static const uint64_t expected[][3] = {{0, EDU_REGISTERS_BAR_SIZE, 0},
                                           {1, 0, 0},
                                           {1, 1 << 20, VD_DEXT_BAR_64 | VD_DEXT_BAR_PREFETCHABLE},
                                           {2, 0, 0},
                                           {2, 0, 0},
                                           {2, 0, 0},
                                           {2, EDU_ROM_SIZE, 0}};
    static const char *const devices[] = {"01:00.0=sim:edu,bar=1M", NULL};
    struct rig rig = {0};
    uint64_t info[3];
    struct raw raw;

    rig_start(&rig, devices);
    raw = raw_open(rig.path, 0);
    raw_claim(&raw);
    for (uint64_t bar = 0; bar <= VD_DEXT_ROM; bar++) {
        assert_int_equal(raw_call(&raw, VD_DEXT_GET_BAR_INFO, &bar, 1, info, 3), VD_DEXT_SUCCESS);
        assert_int_equal(info[1], expected[bar][1]);
        if (info[1]) {
            assert_int_equal(info[0], expected[bar][0]);
            assert_int_equal(info[2], expected[bar][2]);
        }
    }
    assert_int_equal(raw_read(&raw, 0, EDU_ID, 4), EDU_ID_VALUE);
    raw_write(&raw, 1, 8, 8, 0x1122334455667788);
    assert_int_equal(raw_read(&raw, 1, 12, 2), 0x3344);
    assert_int_equal(raw_read(&raw, 2, 0, 2), 0xaa55);
    raw_close(&raw);
    rig_stop(&rig);
}

static void bar_is_mapped_only_when_none_of_it_traps(void **state)
{
    static const char *const devices[] = {"01:00.0=sim:edu,bar=1M,window=off", "02:00.0=sim:edu,bar=1M",
                                          NULL};
    struct rig rig = {0};
    struct raw raw;
    void *memory;
    uint64_t size;

    rig_start(&rig, devices);
    raw = raw_open(rig.path, 0);
    raw_claim(&raw);
    assert_int_equal(raw_map(&raw, VD_DEXT_MEMORY_BAR0, &memory, &size), VD_DEXT_UNSUPPORTED);
    assert_int_equal(raw_map(&raw, VD_DEXT_MEMORY_BAR0 + 1, &memory, &size), VD_DEXT_UNSUPPORTED);
    assert_int_equal(raw_map(&raw, VD_DEXT_MEMORY_BAR0 + 2, &memory, &size), VD_DEXT_SUCCESS);
    assert_int_equal(size, 1 << 20);
    raw_write(&raw, 1, 0x80000, 4, 0xcafe);
    assert_int_equal(vd_load32((uint8_t *)memory + 0x80000), 0xcafe);
    munmap(memory, size);
    raw_close(&raw);
    raw = raw_open(rig.path, 1);
    raw_claim(&raw);
    assert_int_equal(raw_map(&raw, VD_DEXT_MEMORY_BAR0 + 2, &memory, &size), VD_DEXT_UNSUPPORTED);
    assert_int_equal(raw_map(&raw, VD_DEXT_MEMORY_END, &memory, &size), VD_DEXT_BAD_ARGUMENT);
    raw_close(&raw);
    rig_stop(&rig);
}

static void interrupts_show_in_the_page_and_wake_who_waits(void **state)
{
    const uint64_t all[4] = {~0ull, ~0ull, ~0ull, ~0ull};
    struct vd_dext_irq_page *page;
    struct rig rig = {0};
    uint64_t size, count, bits[4];
    struct raw raw;
    void *memory;

    rig_start(&rig, one_edu);
    raw = raw_open(rig.path, 0);
    raw_claim(&raw);
    assert_int_equal(raw_call(&raw, VD_DEXT_SETUP_INTERRUPTS, NULL, 0, &count, 1), VD_DEXT_SUCCESS);
    assert_int_equal(count, 8);
    assert_int_equal(raw_number(&raw, "01:00.0", "vectors"), 8);
    assert_int_equal(raw_map(&raw, VD_DEXT_MEMORY_IRQ_PAGE, &memory, &size), VD_DEXT_SUCCESS);
    assert_int_equal(size, VD_DEXT_IRQ_PAGE_SIZE);
    page = memory;
    assert_int_equal(raw_call(&raw, VD_DEXT_SET_IRQ_MASK, all, 4, NULL, 0), VD_DEXT_SUCCESS);
    raw_wait(&raw, VD_DEXT_WAIT_INTERRUPT);
    assert_int_equal(raw_number(&raw, "01:00.0", "clients"), 1); /* behind the wait, in front of its end */
    raw_write(&raw, 0, EDU_RAISE, 4, 5);
    assert_int_equal(raw_completion(&raw, VD_DEXT_WAIT_INTERRUPT, NULL), VD_DEXT_SUCCESS);
    assert_int_equal(__atomic_load_n(&page->pending[0], __ATOMIC_SEQ_CST), 1 << 5);
    assert_int_equal(raw_call(&raw, VD_DEXT_CHECK_INTERRUPT, NULL, 0, bits, 4), VD_DEXT_SUCCESS);
    assert_int_equal(bits[0], 1 << 5);
    munmap(memory, size);
    raw_close(&raw);
    rig_stop(&rig);
}

static void message_kinds_are_msix_then_msi_and_never_the_line(void **state)
{
    static const char *const devices[] = {"01:00.0=sim:edu,irq=msi,vectors=6", "02:00.0=sim:edu,irq=intx",
                                          NULL};
    struct rig rig = {0};
    uint64_t count;
    struct raw raw;

    rig_start(&rig, devices);
    raw = raw_open(rig.path, 0);
    raw_claim(&raw);
    assert_int_equal(raw_call(&raw, VD_DEXT_SETUP_INTERRUPTS, NULL, 0, &count, 1), VD_DEXT_SUCCESS);
    assert_int_equal(count, 8);
    assert_int_equal(raw_read(&raw, 0, EDU_IRQ_KIND, 4), 2);
    raw_close(&raw);
    raw = raw_open(rig.path, 1);
    raw_claim(&raw);
    if (raw_call(&raw, VD_DEXT_SETUP_INTERRUPTS, NULL, 0, &count, 1) == VD_DEXT_SUCCESS)
        assert_int_equal(count, 0);
    assert_int_equal(raw_read(&raw, 0, EDU_IRQ_KIND, 4), 0);
    raw_close(&raw);
    rig_stop(&rig);
}

static void refused_wait_completes_with_the_reason(void **state)
{
    struct rig rig = {0};
    struct raw raw;

    rig_start(&rig, one_edu);
    raw = raw_open(rig.path, 0);
    raw_wait(&raw, VD_DEXT_WAIT_EVENT);
    assert_int_equal(raw_completion(&raw, VD_DEXT_WAIT_EVENT, NULL), VD_DEXT_NOT_OPEN);
    raw_claim(&raw);
    raw_wait(&raw, VD_DEXT_WAIT_EVENT);
    raw_wait(&raw, VD_DEXT_WAIT_EVENT);
    assert_int_equal(raw_completion(&raw, VD_DEXT_WAIT_EVENT, NULL), VD_DEXT_BUSY);
    raw_wait(&raw, VD_DEXT_WAIT_INTERRUPT);
    assert_int_equal(raw_completion(&raw, VD_DEXT_WAIT_INTERRUPT, NULL), VD_DEXT_NOT_READY);
    raw_wait(&raw, 12345);
    assert_int_equal(raw_completion(&raw, 12345, NULL), VD_DEXT_UNSUPPORTED);
    raw_wait(&raw, VD_DEXT_CLAIM);
    assert_int_equal(raw_completion(&raw, VD_DEXT_CLAIM, NULL), VD_DEXT_BAD_ARGUMENT);
    for (unsigned i = 0; i < 100; i++) { /* none of them keeps a place */
        raw_wait(&raw, VD_DEXT_WAIT_EVENT);
        assert_int_equal(raw_completion(&raw, VD_DEXT_WAIT_EVENT, NULL), VD_DEXT_BUSY);
    }
    raw_close(&raw);
    rig_stop(&rig);
}

static void host_events_reach_the_client(void **state)
{
    struct rig rig = {0};
    struct raw raw, host;
    uint64_t events;

    rig_start(&rig, one_edu);
    raw = raw_open(rig.path, 0);
    host = raw_hello(rig.path);
    raw_claim(&raw);
    raw_wait(&raw, VD_DEXT_WAIT_EVENT);
    assert_int_equal(raw_call(&raw, VD_DEXT_QUIESCE, NULL, 0, NULL, 0), VD_DEXT_SUCCESS); /* it waits now */
    assert_int_equal(raw_control(&host, "error 01:00.0", NULL, 0), VD_DEXT_SUCCESS);
    assert_int_equal(raw_completion(&raw, VD_DEXT_WAIT_EVENT, &events), VD_DEXT_SUCCESS);
    assert_int_equal(events, VD_DEXT_EVENT_ERROR);
    assert_int_equal(raw_control(&host, "request 01:00.0", NULL, 0), VD_DEXT_SUCCESS);
    raw_wait(&raw, VD_DEXT_WAIT_EVENT); /* what came meanwhile is not lost */
    assert_int_equal(raw_completion(&raw, VD_DEXT_WAIT_EVENT, &events), VD_DEXT_SUCCESS);
    assert_int_equal(events, VD_DEXT_EVENT_REQUEST);
    assert_int_equal(raw_control(&host, "error 07:00.0", NULL, 0), VD_DEXT_NOT_FOUND);
    raw_close(&host);
    raw_close(&raw);
    rig_stop(&rig);
}

static void functions_of_one_device_say_so_and_have_their_own_iommu(void **state)
{
    struct raw_memory memory = raw_memory_make(1 << 20);
    struct raw first, second, single;
    struct rig rig = {0};
    uint64_t bus;

    rig_start(&rig, two_functions);
    first = raw_open(rig.path, 0);
    second = raw_open(rig.path, 1);
    single = raw_open(rig.path, 2);
    raw_claim(&first);
    raw_claim(&second);
    raw_claim(&single);
    assert_int_equal(raw_config_read(&first, HEADER_TYPE, 1), 0x80);
    assert_int_equal(raw_config_read(&second, HEADER_TYPE, 1), 0x80);
    assert_int_equal(raw_config_read(&single, HEADER_TYPE, 1), 0);
    /* What the first may reach the second may not: its copy from there is refused and counted as its own. */
    assert_int_equal(raw_share(&first, &memory), VD_DEXT_SUCCESS);
    assert_int_equal(raw_register(&first, 1, memory.at, memory.size, &bus), VD_DEXT_SUCCESS);
    raw_start_copy(&second, bus, bus + 4096, 16, 0);
    assert_int_equal(raw_finish_copy(&second), EDU_FAILED);
    assert_int_equal(raw_number(&first, "01:00.0", "faults"), 0);
    assert_int_equal(raw_number(&first, "01:00.1", "faults"), 1);
    assert_int_equal(raw_number(&first, "01:00.1", "last_fault"), bus);
    raw_close(&single);
    raw_close(&second);
    raw_close(&first);
    rig_stop(&rig);
    raw_memory_free(&memory);
}

static void hot_reset_spares_siblings_in_use(void **state)
{
    struct raw first, second;
    struct rig rig = {0};

    rig_start(&rig, hot_reset_only);
    first = raw_open(rig.path, 0);
    second = raw_open(rig.path, 1);
    raw_claim(&first);
    raw_write(&first, 0, EDU_SCRATCH, 8, 1);
    raw_claim(&second);
    raw_write(&second, 0, EDU_SCRATCH, 8, 2);
    assert_int_not_equal(raw_call(&first, VD_DEXT_RESET_DEVICE, NULL, 0, NULL, 0), VD_DEXT_SUCCESS);
    assert_int_equal(raw_read(&first, 0, EDU_SCRATCH, 8), 1);
    assert_int_equal(raw_read(&second, 0, EDU_SCRATCH, 8), 2);
    raw_close(&second); /* nor may its own end reset the first */
    raw_await_number(&first, "01:00.1", "clients", 0);
    assert_int_equal(raw_read(&first, 0, EDU_SCRATCH, 8), 1);
    assert_int_equal(raw_call(&first, VD_DEXT_RESET_DEVICE, NULL, 0, NULL, 0), VD_DEXT_SUCCESS);
    assert_int_equal(raw_read(&first, 0, EDU_SCRATCH, 8), 0);
    assert_int_equal(raw_config_read(&first, COMMAND, 2), MEMORY_AND_MASTER);
    raw_close(&first);
    rig_stop_after_errors(&rig); /* a function that could not be reset is worth a line */
}

static void bars_and_interrupts_survive_a_reset(void **state)
{
    const uint64_t all[4] = {~0ull, ~0ull, ~0ull, ~0ull};
    struct rig rig = {0};
    uint64_t count;
    struct raw raw;

    rig_start(&rig, one_edu);
    raw = raw_open(rig.path, 0);
    raw_claim(&raw);
    raw_config_write(&raw, 0x10, 4, 0xfe000000);
    assert_int_equal(raw_call(&raw, VD_DEXT_SETUP_INTERRUPTS, NULL, 0, &count, 1), VD_DEXT_SUCCESS);
    assert_int_equal(raw_call(&raw, VD_DEXT_RESET_DEVICE, NULL, 0, NULL, 0), VD_DEXT_SUCCESS);
    assert_int_equal(raw_read(&raw, 0, EDU_RESETS, 8), 1);
    assert_int_equal(raw_config_read(&raw, 0x10, 4), 0xfe000000);
    assert_int_equal(raw_call(&raw, VD_DEXT_SET_IRQ_MASK, all, 4, NULL, 0), VD_DEXT_SUCCESS);
    raw_wait(&raw, VD_DEXT_WAIT_INTERRUPT);
    assert_int_equal(raw_call(&raw, VD_DEXT_SET_IRQ_MASK, all, 4, NULL, 0), VD_DEXT_SUCCESS);
    raw_write(&raw, 0, EDU_RAISE, 4, 0);
    assert_int_equal(raw_completion(&raw, VD_DEXT_WAIT_INTERRUPT, NULL), VD_DEXT_SUCCESS);
    raw_close(&raw);
    rig_stop(&rig);
}

static void terminated_service_returns_under_a_new_id(void **state)
{
    static struct raw_message before, after;
    struct raw owner, other, host;
    struct rig rig = {0};

    rig_start(&rig, one_edu);
    host = raw_hello(rig.path);
    owner = raw_open(rig.path, 0);
    other = raw_open(rig.path, 0);
    raw_claim(&owner);
    assert_int_equal(raw_ask(&host, VD_DEXT_LIST, NULL, 0, -1, &before), VD_DEXT_SUCCESS);
    assert_int_equal(raw_call(&owner, VD_DEXT_TERMINATE, NULL, 0, NULL, 0), VD_DEXT_SUCCESS);
    raw_await_close(&owner);
    raw_await_close(&other);
    assert_int_equal(raw_ask(&host, VD_DEXT_LIST, NULL, 0, -1, &after), VD_DEXT_SUCCESS);
    assert_int_equal(after.size, 8);
    assert_true(vd_load64(after.payload) > vd_load64(before.payload));
    assert_int_equal(raw_ask64(&host, VD_DEXT_OPEN, vd_load64(before.payload)), VD_DEXT_NOT_FOUND);
    assert_int_equal(raw_ask64(&host, VD_DEXT_OPEN, vd_load64(after.payload)), VD_DEXT_SUCCESS);
    raw_claim(&host);
    raw_close(&owner);
    raw_close(&other);
    raw_close(&host);
    rig_stop(&rig);
}

static void service_that_cannot_start_again_is_pulled_out(void **state)
{
    struct rig rig = {0};
    struct raw raw, host;

    rig_start(&rig, one_edu);
    host = raw_hello(rig.path);
    raw = raw_open(rig.path, 0);
    raw_claim(&raw);
    atomic_store(&rig.fail_in, 1); /* the first allocation is the new instance's */
    assert_int_equal(raw_call(&raw, VD_DEXT_TERMINATE, NULL, 0, NULL, 0), VD_DEXT_SUCCESS);
    raw_await_close(&raw);
    assert_int_equal(raw_devices(&host, "01:00.0"), 0);
    assert_int_equal(atomic_load(&rig.failed), 1);
    assert_int_equal(raw_control(&host, "plug 01:00.0=sim:edu", NULL, 0), VD_DEXT_SUCCESS);
    raw_close(&raw);
    raw_close(&host);
    assert_int_equal(atomic_load(&rig.errors), 1);
    rig_stop_after_errors(&rig);
}

static void idle_connection_costs_little(void **state)
{
    static const char key[] = "\"core_bytes\":";
    struct rig rig = {0};
    static char text[65536];
    struct raw raw;

    rig_start(&rig, one_edu);
    raw = raw_open(rig.path, 0);
    assert_int_equal(raw_control(&raw, "list", text, sizeof(text)), VD_DEXT_SUCCESS);
    assert_non_null(strstr(text, key));
    assert_in_range(atol(strstr(text, key) + strlen(key)), 1, 65536);
    raw_close(&raw);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claim_is_exclusive_and_passes_on_when_its_owner_leaves),
        cmocka_unit_test(bars_have_a_memory_index_that_is_not_their_number),
        cmocka_unit_test(bar_is_mapped_only_when_none_of_it_traps),
        cmocka_unit_test(interrupts_show_in_the_page_and_wake_who_waits),
        cmocka_unit_test(message_kinds_are_msix_then_msi_and_never_the_line),
        cmocka_unit_test(refused_wait_completes_with_the_reason),
        cmocka_unit_test(host_events_reach_the_client),
        cmocka_unit_test(functions_of_one_device_say_so_and_have_their_own_iommu),
        cmocka_unit_test(hot_reset_spares_siblings_in_use),
        cmocka_unit_test(bars_and_interrupts_survive_a_reset),
        cmocka_unit_test(terminated_service_returns_under_a_new_id),
        cmocka_unit_test(service_that_cannot_start_again_is_pulled_out),
        cmocka_unit_test(idle_connection_costs_little),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
