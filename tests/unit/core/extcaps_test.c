/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Extended capabilities: which are shown, how long they are, and what a list that starts or ends badly becomes. Then
 * both lists, in config spaces of noise.
 */
#include "caps.h"

enum { SPACES = 100000 };

static void walk_extended(struct chip *chip, unsigned *ids, unsigned max)
{
    uint32_t header;
    unsigned count = 0;

    for (unsigned at = 0x100; at; at = header >> 20) {
        assert_true(at >= 0x100 && at % 4 == 0 && count + 1 < max);
        header = get(chip, at, 4);
        if (header & 0xffff)
            ids[count++] = header & 0xffff;
        else
            assert_int_equal(at, 0x100); /* only the first may be a null header */
    }
    ids[count] = 0;
}

static void expect_extended(struct chip *chip, const unsigned *expected)
{
    unsigned ids[1024] = {0};

    walk_extended(chip, ids, 1024);
    for (unsigned i = 0; i == 0 || expected[i - 1]; i++)
        assert_int_equal(ids[i], expected[i]);
}

/* The ids, ended by 0. */
#define EXPECT_EXTENDED(chip, ...) expect_extended((chip), (const unsigned[]){__VA_ARGS__})

/* Translation, message routing of the host, functions of its own: the guest must not see these. */
static void what_the_host_needs_for_itself_is_hidden(void **state)
{
    static const unsigned hidden[] = {0x0d, 0x0f, 0x10, 0x13, 0x15, 0x17, 0x1b, 0x1d, 0x24, 0x2e};

    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++)
        assert_int_equal(vd_cap_kind(VD_EXT_CAP(hidden[i]))->policy, VD_CAP_HIDDEN);
}

static void hidden_bytes_read_zero_and_take_nothing(void **state)
{
    struct chip chip;

    express_chip(&chip, 0);
    chip_ext_cap(&chip, 0x100, 0x0f, 1, 0);
    chip_put32(&chip, 0x104, 0x80201234);
    make(&chip);
    chip.reads = chip.writes = 0;
    put(&chip, 0x104, 0xffffffff, 4);
    put(&chip, 0x106, 0x8000, 2);
    assert_int_equal(get(&chip, 0x104, 4), 0);
    assert_int_equal(chip.reads + chip.writes, 0);
    assert_true(is_open(&chip, 0x108));
    finish(&chip);
}

static void extended_capabilities_have_their_length(void **state)
{
    static const struct length_case cases[] = {
        {0x01, 0x48, 0, 0, 0},  {0x02, 0x1c, 0, 0, 0},          {0x02, 0x28, 0, 1, 0},
        {0x09, 0x70, 0, 7, 0},  {0x02, 0x20 + 16, 0, 0, 2},     {0x02, 0x20 + 64, 0, 0, 8},
        {0x03, 12, 0, 0, 0},    {0x0b, 0x18, 0, 0x01800000, 0}, {0x0d, 40, 0, 0, 0},
        {0x0f, 8, 0, 0, 0},     {0x10, 0x40, 0, 0, 0},          {0x13, 16, 0, 0, 0},
        {0x15, 12, 0, 0, 0},    {0x15, 0x34, 0, 0, 0xc0},       {0x1b, 8, 0, 0, 0},
        {0x1e, 16, 0, 0, 0},    {0x23, 0x10, 0, 0x01000000, 0}, {0x2e, 0x18, 0, 0, 0},
        {0x1d, 0x100, 0, 0, 0}, {0x777, 0x100, 0, 0, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct length_case *c = &cases[i];
        bool raw = c->id == 0x0b;
        struct chip chip;

        express_chip(&chip, 0);
        chip_ext_cap(&chip, 0x100, c->id, 1, 0x200);
        chip_put32(&chip, 0x104, c->at4);
        chip_put32(&chip, 0x108, c->at8);
        chip_ext_cap(&chip, 0x200, 0x03, 1, 0);
        make(&chip);
        assert_int_equal(is_open(&chip, 0x100 + c->size - 1), raw);
        assert_true(c->size == 0x100 || is_open(&chip, 0x100 + c->size));
        finish(&chip);
    }
}

static void a_hidden_first_capability_leaves_a_null_header(void **state)
{
    struct chip chip;

    express_chip(&chip, 0);
    chip_ext_cap(&chip, 0x100, 0x15, 1, 0x140);
    chip_ext_cap(&chip, 0x140, 0x0d, 1, 0x180);
    chip_ext_cap(&chip, 0x180, 0x01, 2, 0x1d0);
    chip_ext_cap(&chip, 0x1d0, 0x10, 1, 0x220);
    chip_ext_cap(&chip, 0x220, 0x03, 1, 0);
    make(&chip);
    assert_int_equal(get(&chip, 0x100, 4), 0x18000000);
    assert_int_equal(get(&chip, 0x180, 4), 0x22020001);
    assert_int_equal(get(&chip, 0x220, 4), 0x00010003);
    EXPECT_EXTENDED(&chip, 0x01, 0x03, 0);
    finish(&chip);
}

static void a_shown_first_capability_keeps_its_place(void **state)
{
    struct chip chip;

    express_chip(&chip, 0);
    chip_ext_cap(&chip, 0x100, 0x01, 2, 0x300);
    chip_ext_cap(&chip, 0x300, 0x0f, 1, 0x200);
    chip_ext_cap(&chip, 0x200, 0x03, 1, 0);
    make(&chip);
    assert_int_equal(get(&chip, 0x100, 4), 0x20020001);
    EXPECT_EXTENDED(&chip, 0x01, 0x03, 0);
    finish(&chip);
}

static void a_dropped_first_capability_leaves_a_null_header(void **state)
{
    struct chip chip;

    express_chip(&chip, 0);
    chip_ext_cap(&chip, 0x100, 0x0b, 1, 0x140); /* vendor-specific, without a length */
    chip_ext_cap(&chip, 0x140, 0x03, 1, 0);
    make(&chip);
    assert_int_equal(get(&chip, 0x100, 4), 0x14000000);
    EXPECT_EXTENDED(&chip, 0x03, 0);
    finish(&chip);
    chip_ext_cap(&chip, 0x100, 0x0b, 1, 0);
    make(&chip);
    assert_int_equal(get(&chip, 0x100, 4), 0);
    finish(&chip);
}

static void with_all_extended_ones_hidden_there_are_none(void **state)
{
    struct chip chip;

    express_chip(&chip, 0);
    chip_ext_cap(&chip, 0x100, 0x15, 1, 0x140);
    chip_ext_cap(&chip, 0x140, 0x0f, 1, 0);
    make(&chip);
    assert_int_equal(get(&chip, 0x100, 4), 0);
    put(&chip, 0x100, 0xffffffff, 4);
    assert_int_equal(get(&chip, 0x100, 4), 0);
    finish(&chip);
}

static void without_extended_ones_the_first_header_stays_zero(void **state)
{
    struct chip chip;

    express_chip(&chip, 0);
    make(&chip);
    put(&chip, 0x100, 0x00010003, 4);
    assert_int_equal(get(&chip, 0x100, 4), 0);
    assert_true(is_open(&chip, 0x104));
    finish(&chip);
}

static void extended_loops_and_garbage_end_the_list(void **state)
{
    static const unsigned bad[] = {0x100, 0x140, 0x004, 0x0fc, 0x180};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct chip chip;

        express_chip(&chip, 0);
        chip_ext_cap(&chip, 0x100, 0x03, 1, 0x140);
        chip_ext_cap(&chip, 0x140, 0x04, 1, bad[i]);
        chip_put32(&chip, 0x180, 0xffffffff);
        make(&chip);
        EXPECT_EXTENDED(&chip, 0x03, 0x04, 0);
        assert_false(is_open(&chip, 0x800));
        assert_true(is_open(&chip, 0x80)); /* the first list is sound */
        finish(&chip);
    }
}

static void extended_ones_that_run_over_the_end_are_dropped(void **state)
{
    struct chip chip;

    express_chip(&chip, 0);
    chip_ext_cap(&chip, 0x100, 0x03, 1, 0xff8);
    chip_ext_cap(&chip, 0xff8, 0x10, 1, 0);
    make(&chip);
    EXPECT_EXTENDED(&chip, 0x03, 0);
    assert_false(is_open(&chip, 0xfff));
    finish(&chip);
}

/* Bridges to conventional PCI, and hosts that do not reach it, show something else there. */
static void without_pci_express_there_is_no_extended_space(void **state)
{
    struct chip chip;

    chip_init(&chip);
    chip_ext_cap(&chip, 0x100, 0x03, 1, 0);
    make(&chip);
    assert_int_equal(get(&chip, 0x100, 4), 0);
    assert_false(is_open(&chip, 0x200));
    finish(&chip);
    express_chip(&chip, 0);
    memset(chip.bytes + 0x100, 0xff, VD_CONFIG_SIZE - 0x100);
    make(&chip);
    assert_int_equal(get(&chip, 0x100, 4), 0);
    assert_int_equal(get(&chip, 0xffc, 4), 0);
    finish(&chip);
}

/* Anything at all. */

/* A space of noise in which the lists have a chance to get somewhere. */
static void randomise(struct chip *chip, uint64_t *seed)
{
    static const uint8_t ids[] = {0x01, 0x03, 0x05, 0x09, 0x10, 0x11, 0x13, 0x14};
    uint64_t r = unit_random(seed);

    for (unsigned i = 0; i < VD_CONFIG_SIZE; i += 8)
        vd_store64(chip->bytes + i, unit_random(seed) & (r & 1 ? UINT64_MAX : unit_random(seed)));
    chip_put16(chip, 0, 0x1234);
    chip_put8(chip, 0x0e, chip->bytes[0x0e] & 0x80);
    chip_put8(chip, 6, chip->bytes[6] | (r & 6 ? 0x10 : 0));
    for (unsigned at = 0x40; at < 0x100 && r & 8; at += 4) {
        if (unit_random(seed) % 3 == 0)
            chip_put8(chip, at, ids[unit_random(seed) % sizeof(ids)]);
    }
    for (unsigned at = 0x100; at < 0x400 && r & 16; at += 4) {
        if (unit_random(seed) % 3 == 0)
            chip_ext_cap(chip, at, unit_random(seed) % 0x34, 1, unit_random(seed) % 0x400);
    }
    chip->info.irqs[VD_IRQ_MSI].count = r >> 8 & 63;
    chip->info.irqs[VD_IRQ_MSIX].count = r >> 16 & 0xfff;
    chip->info.can_reset = r & 32;
    for (unsigned bar = 0; bar < VD_REGION_CONFIG; bar++) {
        uint64_t s = unit_random(seed);

        chip->info.regions[bar].size = s & 1 ? s >> 8 >> (s >> 1 & 63) % 56 : 0;
        chip->info.regions[bar].flags = (uint32_t)(s & (VD_REGION_64BIT | VD_REGION_PREFETCHABLE));
    }
}

/* No hidden kind among the ids; and each shown capability's header is closed. */
static void check_ids(const unsigned *ids, uint32_t space)
{
    for (; *ids; ids++)
        assert_int_not_equal(vd_cap_kind(space | *ids)->policy, VD_CAP_HIDDEN);
}

static void check_space(struct chip *chip, uint64_t *seed)
{
    const struct vd_config *c = chip->config;
    unsigned ids[1024] = {0};

    walk(chip, ids, 64);
    check_ids(ids, VD_CAP(0));
    walk_extended(chip, ids, 1024);
    check_ids(ids, VD_EXT_CAP(0));
    for (unsigned i = 0; i < c->size; i++)
        assert_int_equal(c->forward[i] & ~c->guest[i], 0);
    for (unsigned i = 0; i < 0x40; i++)
        assert_int_equal(c->forward[i], i == 7 ? 0xf9 : 0);
    for (unsigned i = 0; c->msi && i < 10; i++)
        assert_int_equal(c->forward[c->msi + i], 0);
    for (unsigned i = 0; c->msix.cap && i < 12; i++)
        assert_int_equal(c->forward[c->msix.cap + i], 0);
    if (c->msix.entries) {
        assert_true(vd_span_fits(c->msix.table_offset, vd_msix_table_size(&c->msix),
                                 chip->info.regions[c->msix.table_bar].size));
    }
    if (c->msix.cap) {
        assert_int_not_equal(c->msix.entries, 0);
        assert_true(vd_span_fits(c->msix.pba_offset, vd_msix_pba_size(&c->msix),
                                 chip->info.regions[c->msix.pba_bar].size));
    }
    for (unsigned i = 0; i < 20; i++) {
        unsigned offset = unit_random(seed) % VD_CONFIG_SIZE;
        unsigned width = 1u << unit_random(seed) % 3;

        offset -= offset % width;
        put(chip, offset, (uint32_t)unit_random(seed), width);
        (void)get(chip, offset, width);
    }
}

static void any_config_space_can_be_opened_and_used(void **state)
{
    uint64_t seed = 0xca95;
    unsigned shown = 0, extended = 0;

    for (unsigned i = 0; i < SPACES; i++) {
        struct chip chip;

        chip_init(&chip);
        chip.env.level = VD_ENV_ERROR;
        randomise(&chip, &seed);
        make(&chip);
        check_space(&chip, &seed);
        shown += chip.config->msi || chip.config->pm || chip.config->msix.cap;
        extended += get(&chip, 0x100, 4) != 0;
        finish(&chip);
    }
    assert_true(shown > SPACES / 50 &&
                extended > SPACES / 50); /* noise that finds nothing would prove nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_host_needs_for_itself_is_hidden),
        cmocka_unit_test(hidden_bytes_read_zero_and_take_nothing),
        cmocka_unit_test(extended_capabilities_have_their_length),
        cmocka_unit_test(a_hidden_first_capability_leaves_a_null_header),
        cmocka_unit_test(a_dropped_first_capability_leaves_a_null_header),
        cmocka_unit_test(a_shown_first_capability_keeps_its_place),
        cmocka_unit_test(with_all_extended_ones_hidden_there_are_none),
        cmocka_unit_test(without_extended_ones_the_first_header_stays_zero),
        cmocka_unit_test(extended_loops_and_garbage_end_the_list),
        cmocka_unit_test(extended_ones_that_run_over_the_end_are_dropped),
        cmocka_unit_test(without_pci_express_there_is_no_extended_space),
        cmocka_unit_test(any_config_space_can_be_opened_and_used),
    };

    return cmocka_run_group_tests_name("extcaps", tests, NULL, NULL);
}
