/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of both capability lists share: a list to follow, and a way to find where a capability ends. */
#ifndef TESTS_UNIT_CORE_CAPS_H
#define TESTS_UNIT_CORE_CAPS_H

#include "guest.h"

/* Whether a write of that byte gets through to the hardware. */
static inline bool is_open(struct chip *chip, unsigned offset)
{
    uint8_t before = chip->bytes[offset];
    bool open;

    put(chip, offset, (uint8_t)~before, 1);
    open = chip->bytes[offset] != before;
    chip->bytes[offset] = before;
    return open;
}

/* The guest's list: ids in order, ended by 0. Fails unless it ends, each header is aligned and none is visited twice. */
static inline void walk(struct chip *chip, unsigned *ids, unsigned max)
{
    unsigned count = 0, last = 0;

    for (unsigned at = get(chip, 0x34, 1); at; at = get(chip, at + 1, 1)) {
        assert_true(at >= 0x40 && at % 4 == 0 && count + 1 < max);
        ids[count++] = get(chip, at, 1);
        last = at;
    }
    ids[count] = 0;
    assert_int_equal((get(chip, 6, 1) & 0x10) != 0, last != 0);
}

/* A chip with a PCI Express capability at 0xc0, from which the list goes on to `next`. */
static inline void express_chip(struct chip *chip, unsigned next)
{
    chip_init(chip);
    chip_list(chip, 0xc0);
    chip_cap(chip, 0xc0, 0x10, next);
    chip_put16(chip, 0xc2, 2);
}

/* A capability with nothing behind it, and how long it is by what it says of itself. */
struct length_case {
    unsigned id, size;
    unsigned at2, at4, at8; /* what is there: two, four and four bytes */
};

#endif
