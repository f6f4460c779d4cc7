/* SPDX-License-Identifier: BSD-3-Clause */
/* PRP entries and lists: each rule of 4.3, then random layouts against the data they describe. */
#include "rig.h"

enum { PAGE = 4096, PAGES = 260, LISTS = RIG_DATA, BUFFER = RIG_DATA + 0x100000, LAYOUTS = 300 };

/* The pages of a transfer in an order of our own, and what describes them. */
struct layout {
    uint64_t prp1, prp2;
    uint64_t pages[PAGES]; /* offsets in the arena */
    unsigned first_offset;
};

static void put_entry(struct rig *rig, uint64_t list, unsigned index, uint64_t value)
{
    vd_store64((uint8_t *)rig_at(rig, list) + index * 8, value);
}

/* Shuffled pages for `bytes` from offset `first` in the first one. */
static unsigned choose_pages(struct layout *layout, uint64_t bytes, unsigned first, uint64_t *noise)
{
    unsigned count = (unsigned)((first + bytes + PAGE - 1) / PAGE);

    for (unsigned i = 0; i < PAGES; i++)
        layout->pages[i] = BUFFER + (uint64_t)i * PAGE;
    for (unsigned i = PAGES - 1; i > 0; i--) {
        unsigned j = rig_random(noise) % (i + 1);
        uint64_t page = layout->pages[i];

        layout->pages[i] = layout->pages[j];
        layout->pages[j] = page;
    }
    layout->first_offset = first;
    return count;
}

/* Describes them, the list beginning `list_offset` bytes into its page and chained where the page ends. */
static void describe(struct rig *rig, struct layout *layout, unsigned count, unsigned list_offset)
{
    uint64_t list = LISTS + list_offset;
    unsigned index = 0, room = (PAGE - list_offset) / 8;

    layout->prp1 = rig_bus(layout->pages[0]) + layout->first_offset;
    layout->prp2 = count == 2 ? rig_bus(layout->pages[1]) : count > 2 ? rig_bus(list) : 0;
    for (unsigned i = 1; i < count && count > 2; i++) {
        if (index == room - 1 && i + 1 < count) {
            uint64_t next =
                (list | (PAGE - 1)) + 1 + PAGE; /* not the page behind, to be sure the chain is followed */

            put_entry(rig, list, index, rig_bus(next));
            list = next;
            index = 0;
            room = PAGE / 8;
        }
        put_entry(rig, list, index++, rig_bus(layout->pages[i]));
    }
}

/* The byte at `position` of the transfer. */
static uint8_t *byte_at(struct rig *rig, const struct layout *layout, uint64_t position)
{
    uint64_t at = position + layout->first_offset;

    return (uint8_t *)rig_at(rig, layout->pages[at / PAGE]) + at % PAGE;
}

static uint8_t pattern(uint64_t position, unsigned round)
{
    return (uint8_t)((position * 131) ^ (position >> 9) ^ round);
}

/* Writes through one layout, reads back through another, compares byte by byte. */
static void round_trip(struct rig *rig, unsigned round, uint64_t *noise)
{
    static struct layout layout;
    unsigned blocks = 1 + rig_random(noise) % 2048;
    uint64_t bytes = blocks * 512ull, lba = rig_random(noise) % 100000;

    for (int write = 1; write >= 0; write--) {
        unsigned first = (rig_random(noise) % 2 ? rig_random(noise) % PAGE : 0) & ~3u;
        unsigned list_offset = (rig_random(noise) % 2 ? PAGE - 8 * (1 + rig_random(noise) % 8) : 0);
        unsigned count = choose_pages(&layout, bytes, first, noise);

        describe(rig, &layout, count, list_offset);
        for (uint64_t i = 0; i < bytes; i++)
            *byte_at(rig, &layout, i) = write ? pattern(i, round) : 0xee;
        assert_int_equal(rig_rw(rig, 1, write, lba, blocks, layout.prp1, layout.prp2), NVME_OK);
        for (uint64_t i = 0; i < bytes && !write; i++) {
            if (*byte_at(rig, &layout, i) != pattern(i, round))
                fail_msg("round %u: byte %llu of %llu is wrong", round, (unsigned long long)i,
                         (unsigned long long)bytes);
        }
    }
}

static void random_layouts_carry_the_right_bytes(void **state)
{
    struct rig rig;
    uint64_t noise = 42;

    rig_start_io(&rig, "", 1, 16);
    for (unsigned round = 0; round < LAYOUTS; round++)
        round_trip(&rig, round, &noise);
    assert_int_equal(rig.port.faults, 0);
    assert_int_equal(rig.port.pins, 0);
    rig_stop(&rig);
}

static void random_layouts_in_memory_without_a_pointer_do_too(void **state)
{
    struct rig rig;
    uint64_t noise = 7;

    rig_start_io(&rig, "", 1, 16);
    rig.port.remote_from = LISTS;
    rig.port.remote_to = RIG_ARENA;
    for (unsigned round = 0; round < LAYOUTS / 10; round++)
        round_trip(&rig, round, &noise);
    rig_stop(&rig);
}

static void a_full_megabyte_needs_one_command(void **state)
{
    static struct layout layout;
    struct rig rig;
    uint64_t noise = 3;

    rig_start_io(&rig, "", 1, 16);
    describe(&rig, &layout, choose_pages(&layout, 1 << 20, 0, &noise), 0);
    assert_int_equal(rig_rw(&rig, 1, true, 0, 2048, layout.prp1, layout.prp2), NVME_OK);
    describe(&rig, &layout, choose_pages(&layout, 1 << 20, 0x204, &noise), 0);
    assert_int_equal(rig_rw(&rig, 1, false, 0, 2048, layout.prp1, layout.prp2), NVME_OK);
    assert_int_equal(rig_rw(&rig, 1, false, 0, 2049, layout.prp1, layout.prp2), DNR(NVME_SC_FIELD));
    rig_stop(&rig);
}

static void offsets_where_none_is_allowed_fail(void **state)
{
    struct rig rig;
    uint64_t data = rig_bus(BUFFER), list = rig_bus(LISTS);

    rig_start_io(&rig, "", 1, 16);
    assert_int_equal(rig_rw(&rig, 1, false, 0, 1, data + 1, 0), DNR(NVME_SC_PRP_OFFSET));
    assert_int_equal(rig_rw(&rig, 1, false, 0, 1, data + 2, 0), DNR(NVME_SC_PRP_OFFSET));
    assert_int_equal(rig_rw(&rig, 1, false, 0, 16, data, data + PAGE + 8), DNR(NVME_SC_PRP_OFFSET));
    assert_int_equal(rig_rw(&rig, 1, false, 0, 32, data, list + 4), DNR(NVME_SC_PRP_OFFSET));
    put_entry(&rig, LISTS, 0, data + PAGE);
    put_entry(&rig, LISTS, 1, data + 2 * PAGE + 512);
    assert_int_equal(rig_rw(&rig, 1, false, 0, 24, data, list), DNR(NVME_SC_PRP_OFFSET));
    assert_int_equal(rig.port.pins, 0);
    rig_stop(&rig);
}

static void chained_list_with_an_offset_fails(void **state)
{
    struct rig rig;
    uint64_t list = LISTS + PAGE - 8;

    rig_start_io(&rig, "", 1, 16);
    put_entry(&rig, list, 0, rig_bus(LISTS + 2 * PAGE + 8));
    assert_int_equal(rig_rw(&rig, 1, false, 0, 24, rig_bus(BUFFER), rig_bus(list)), DNR(NVME_SC_PRP_OFFSET));
    rig_stop(&rig);
}

static void list_that_chains_to_its_own_page_ends(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "mdts=2M", 1, 16);
    for (unsigned i = 0; i < 511; i++)
        put_entry(&rig, LISTS, i, rig_bus(BUFFER));
    put_entry(&rig, LISTS, 511, rig_bus(LISTS));
    /* It begins at the last entry, which is the chain; the second time the same entry is the last page of 513. */
    assert_int_equal(rig_rw(&rig, 1, true, 0, 4096, rig_bus(BUFFER) + 512, rig_bus(LISTS) + PAGE - 8),
                     NVME_OK);
    assert_int_equal(rig.port.pins, 0);
    rig_stop(&rig);
}

static void entries_at_the_end_of_the_address_space_are_refused(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 1, 16);
    put_entry(&rig, LISTS, 0, UINT64_MAX - PAGE + 1);
    put_entry(&rig, LISTS, 1, 0);
    assert_int_equal(rig_rw(&rig, 1, true, 0, 24, rig_bus(BUFFER), rig_bus(LISTS)), DNR(NVME_SC_TRANSFER));
    assert_int_equal(rig_rw(&rig, 1, true, 0, 24, rig_bus(BUFFER), UINT64_MAX - 7), DNR(NVME_SC_TRANSFER));
    assert_int_equal(rig_rw(&rig, 1, true, 0, 1, UINT64_MAX - 3, 0), DNR(NVME_SC_TRANSFER));
    assert_int_equal(rig.port.pins, 0);
    rig_stop(&rig);
}

static void refused_page_in_the_middle_leaves_nothing_pinned(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 1, 16);
    put_entry(&rig, LISTS, 0, rig_bus(BUFFER + 4 * PAGE));
    put_entry(&rig, LISTS, 1, 0x1000);
    assert_int_equal(rig_rw(&rig, 1, true, 0, 24, rig_bus(BUFFER), rig_bus(LISTS)), DNR(NVME_SC_TRANSFER));
    assert_int_equal(rig.port.pins, 0);
    assert_int_equal(rig.port.faults, 1);
    rig_stop(&rig);
}

static void bigger_pages_change_what_an_entry_covers(void **state)
{
    struct rig rig;

    rig_init(&rig);
    assert_int_equal(rig_create(&rig, ""), 0);
    rig.queues[0] = (struct rig_queue){.entries = RIG_ADMIN_ENTRIES, .phase = true};
    rig_write32(&rig, NVME_AQA, (RIG_ADMIN_ENTRIES - 1) << 16 | (RIG_ADMIN_ENTRIES - 1));
    rig_write64(&rig, NVME_ASQ, rig_bus(RIG_ASQ));
    /* 8 KiB pages, so that the ring at 0x2000 is aligned still */
    rig_write64(&rig, NVME_ACQ, rig_bus(RIG_ACQ));
    rig_write32(&rig, NVME_CC, NVME_CC_EN | 1 << 7 | 6 << 16 | 4 << 20);
    rig_run(&rig);
    assert_int_equal(rig_create_cq(&rig, 1, 16, 1, true), NVME_OK);
    assert_int_equal(rig_create_sq(&rig, 1, 16, 1), NVME_OK);
    memset(rig_at(&rig, BUFFER), 0x77, 2 * PAGE);
    assert_int_equal(rig_rw(&rig, 1, true, 0, 16, rig_bus(BUFFER), 0), NVME_OK);
    assert_int_equal(rig_rw(&rig, 1, false, 0, 32, rig_bus(BUFFER + 0x10000), rig_bus(BUFFER + 0x20000)),
                     NVME_OK);
    assert_int_equal(*(uint8_t *)rig_at(&rig, BUFFER + 0x10000 + 2 * PAGE - 1), 0x77);
    assert_int_equal(rig_rw(&rig, 1, false, 0, 32, rig_bus(BUFFER), rig_bus(BUFFER + PAGE)),
                     DNR(NVME_SC_PRP_OFFSET));
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_layouts_carry_the_right_bytes),
        cmocka_unit_test(random_layouts_in_memory_without_a_pointer_do_too),
        cmocka_unit_test(a_full_megabyte_needs_one_command),
        cmocka_unit_test(offsets_where_none_is_allowed_fail),
        cmocka_unit_test(chained_list_with_an_offset_fails),
        cmocka_unit_test(list_that_chains_to_its_own_page_ends),
        cmocka_unit_test(entries_at_the_end_of_the_address_space_are_refused),
        cmocka_unit_test(refused_page_in_the_middle_leaves_nothing_pinned),
        cmocka_unit_test(bigger_pages_change_what_an_entry_covers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
