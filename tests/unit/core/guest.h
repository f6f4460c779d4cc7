/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest at a chip's config space, for unit tests: what fails here fails the test. Not part of chip.h, which the fuzz
 * target uses without cmocka.
 */
#ifndef TESTS_UNIT_CORE_GUEST_H
#define TESTS_UNIT_CORE_GUEST_H

#include "../base/unit.h"
#include "chip.h"

static inline void make(struct chip *chip)
{
    struct vd_failure failure = {0};

    if (chip_make(chip, &failure))
        fail_msg("%s", failure.text);
}

static inline void finish(struct chip *chip)
{
    chip_finish(chip);
    assert_int_equal(chip->live, 0);
}

static inline uint32_t get(struct chip *chip, unsigned offset, unsigned width)
{
    uint8_t bytes[4] = {0};

    assert_int_equal(vd_config_read(chip->config, offset, bytes, width), 0);
    return vd_load32(bytes);
}

static inline void put(struct chip *chip, unsigned offset, uint32_t value, unsigned width)
{
    uint8_t bytes[4];

    vd_store32(bytes, value);
    assert_int_equal(vd_config_write(chip->config, offset, bytes, width), 0);
}

#endif
