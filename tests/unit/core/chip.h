/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A function's config space as the meanest hardware would have it: every bit can be written, so whatever a guest gets
 * through shows. Bits that belong to the host are marked; a write that leaves one of them other than it was is counted.
 * The address of a chip device carries its pointer, as with fake.h. Header only: the fuzz target uses it too.
 */
#ifndef TESTS_UNIT_CORE_CHIP_H
#define TESTS_UNIT_CORE_CHIP_H

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/le.h"
#include "base/range.h"
#include "core/config.h"

struct chip {
    struct vd_env env;
    struct vd_host_info info;
    uint8_t bytes[VD_CONFIG_SIZE];
    uint8_t clear[VD_CONFIG_SIZE];    /* bits cleared by writing 1, and not set by anything */
    uint8_t owned[VD_CONFIG_SIZE];    /* the host's bits ... */
    uint8_t baseline[VD_CONFIG_SIZE]; /* ... and what they are; taken by chip_watch() */
    uint8_t lost[VD_CONFIG_SIZE];     /* bits that a reset sets to 0 */
    bool watching;
    bool dead; /* reads give all ones */
    bool dies; /* at the next reset */
    unsigned reads, writes, resets, violations;
    unsigned last_offset, last_width; /* of the last write */
    uint64_t bar_reads, bar_writes;
    unsigned last_bar;
    uint64_t last_bar_offset;
    unsigned fail_read, fail_write; /* the n-th from now on fails with -EIO; 0: none */
    int reset_error;
    unsigned fail_alloc; /* likewise with no memory */
    long live;
    unsigned lines; /* logged */
    char line[256];
    struct vd_config *config;
};

static inline struct chip *chip_of(void *host)
{
    return host;
}

static inline bool chip_counts_down(unsigned *n)
{
    return *n && --*n == 0;
}

static inline int chip_read(void *host, unsigned index, uint64_t offset, void *buffer, size_t count)
{
    struct chip *chip = host;

    if (index != VD_REGION_CONFIG) {
        chip->bar_reads++;
        chip->last_bar = index;
        chip->last_bar_offset = offset;
        memset(buffer, 0x5a, count);
        return 0;
    }
    if (!vd_span_fits(offset, count, VD_CONFIG_SIZE) || count > 4 || !vd_is_aligned(offset, count))
        abort(); /* not an access that config space knows */
    chip->reads++;
    if (chip_counts_down(&chip->fail_read))
        return -EIO;
    memcpy(buffer, chip->bytes + offset, count);
    if (chip->dead)
        memset(buffer, 0xff, count);
    return 0;
}

static inline int chip_write(void *host, unsigned index, uint64_t offset, const void *buffer, size_t count)
{
    struct chip *chip = host;
    const uint8_t *in = buffer;

    if (index != VD_REGION_CONFIG) {
        chip->bar_writes++;
        chip->last_bar = index;
        chip->last_bar_offset = offset;
        return 0;
    }
    if (!vd_span_fits(offset, count, VD_CONFIG_SIZE) || count > 4 || !vd_is_aligned(offset, count))
        abort();
    chip->writes++;
    chip->last_offset = (unsigned)offset;
    chip->last_width = (unsigned)count;
    if (chip_counts_down(&chip->fail_write))
        return -EIO;
    for (size_t i = 0; i < count; i++) {
        size_t at = offset + i;
        uint8_t clear = chip->clear[at];

        chip->bytes[at] = (uint8_t)((in[i] & ~clear) | (chip->bytes[at] & clear & ~in[i]));
        if (chip->watching && (chip->bytes[at] ^ chip->baseline[at]) & chip->owned[at])
            chip->violations++;
    }
    return 0;
}

static inline int chip_reset(void *host)
{
    struct chip *chip = host;

    chip->resets++;
    if (chip->reset_error)
        return chip->reset_error;
    for (unsigned i = 0; i < VD_CONFIG_SIZE; i++)
        chip->bytes[i] &= (uint8_t)~chip->lost[i];
    chip->dead |= chip->dies;
    return 0;
}

static inline int chip_open(const struct vd_env *env, const char *address,
                            const struct vd_host_events *events, void **host, struct vd_host_info *info,
                            struct vd_failure *failure)
{
    uintptr_t pointer = (uintptr_t)strtoull(strchr(address, ':') + 1, NULL, 16);
    struct chip *chip;

    (void)env;
    (void)events;
    (void)failure;
    memcpy(&chip, &pointer, sizeof(pointer));
    *info = chip->info;
    *host = chip;
    return 0;
}

static inline void chip_close(void *host)
{
    (void)host;
}

static const struct vd_backend_ops chip_ops = {.name = "chip",
                                               .open = chip_open,
                                               .close = chip_close,
                                               .region_read = chip_read,
                                               .region_write = chip_write,
                                               .reset = chip_reset};

static inline void *chip_alloc(void *opaque, size_t size)
{
    struct chip *chip = opaque;

    if (chip_counts_down(&chip->fail_alloc))
        return NULL;
    chip->live++;
    return calloc(1, size);
}

static inline void chip_free(void *opaque, void *memory)
{
    if (memory)
        chip_of(opaque)->live--;
    free(memory);
}

static inline void chip_log(void *opaque, enum vd_env_level level, const char *line)
{
    struct chip *chip = opaque;

    (void)level;
    chip->lines++;
    snprintf(chip->line, sizeof(chip->line), "%s", line);
}

static inline void chip_put8(struct chip *chip, unsigned at, unsigned value)
{
    chip->bytes[at] = (uint8_t)value;
}

static inline void chip_put16(struct chip *chip, unsigned at, unsigned value)
{
    vd_store16(chip->bytes + at, (uint16_t)value);
}

static inline void chip_put32(struct chip *chip, unsigned at, uint32_t value)
{
    vd_store32(chip->bytes + at, value);
}

static inline unsigned chip_get16(const struct chip *chip, unsigned at)
{
    return vd_load16(chip->bytes + at);
}

static inline uint32_t chip_get32(const struct chip *chip, unsigned at)
{
    return vd_load32(chip->bytes + at);
}

/* A capability's header, with the one that follows it, or 0. */
static inline void chip_cap(struct chip *chip, unsigned at, unsigned id, unsigned next)
{
    chip_put16(chip, at, id | next << 8);
}

static inline void chip_ext_cap(struct chip *chip, unsigned at, unsigned id, unsigned version, unsigned next)
{
    chip_put32(chip, at, id | version << 16 | (uint32_t)next << 20);
}

/* The host's bits of a register. */
static inline void chip_own(struct chip *chip, unsigned at, uint32_t bits, unsigned width)
{
    for (unsigned i = 0; i < width; i++)
        chip->owned[at + i] |= (uint8_t)(bits >> 8 * i);
}

static inline void chip_own_range(struct chip *chip, unsigned at, unsigned size)
{
    memset(chip->owned + at, 0xff, size);
}

/* An endpoint with a 64-bit BAR 0 of 16 KiB, a 32-bit BAR 2 of 64 KiB, BARs assigned, and no capabilities. */
static inline void chip_init(struct chip *chip)
{
    memset(chip, 0, sizeof(*chip));
    vd_env_init_default(&chip->env);
    chip->env.alloc = chip_alloc;
    chip->env.free = chip_free;
    chip->env.log = chip_log;
    chip->env.opaque = chip;
    chip->info = (struct vd_host_info){.vendor = 0x1234,
                                       .device = 0x5678,
                                       .class_code = 0x010802,
                                       .can_reset = true,
                                       .raw_config = true,
                                       .page_size = 4096,
                                       .poll_fd = -1};
    chip->info.regions[0] =
        (struct vd_region_info){.size = 0x4000, .flags = VD_REGION_READ | VD_REGION_WRITE | VD_REGION_64BIT};
    chip->info.regions[2] =
        (struct vd_region_info){.size = 0x10000, .flags = VD_REGION_READ | VD_REGION_WRITE};
    chip->info.regions[VD_REGION_CONFIG] =
        (struct vd_region_info){.size = VD_CONFIG_SIZE, .flags = VD_REGION_READ | VD_REGION_WRITE};
    chip->info.irqs[VD_IRQ_INTX].count = 1;
    chip->info.irqs[VD_IRQ_MSI].count = 8;
    chip->info.irqs[VD_IRQ_MSIX].count = 16;
    chip_put32(chip, 0x00, 0x56781234);
    chip_put16(chip, 0x04, 0x0007);
    chip_put32(chip, 0x08, 0x01080203);
    chip_put8(chip, 0x0e, 0x80);
    chip_put32(chip, 0x10, 0xfe000004);
    chip_put32(chip, 0x14, 0x00000010);
    chip_put32(chip, 0x18, 0xfd000000);
    chip_put32(chip, 0x2c, 0xdef09abc);
    chip_put32(chip, 0x30, 0xfc000001);
    chip_put8(chip, 0x3c, 0x21);
    chip_put8(chip, 0x3d, 4);
    vd_store16(chip->clear + 6, 0xf900);
}

/* Says that there is a list, and where it begins. */
static inline void chip_list(struct chip *chip, unsigned first)
{
    chip_put8(chip, 0x06, chip->bytes[6] | 0x10);
    chip_put8(chip, 0x34, first);
}

/* From now on a change of the host's bits is noticed. */
static inline void chip_watch(struct chip *chip)
{
    memcpy(chip->baseline, chip->bytes, sizeof(chip->baseline));
    chip->watching = true;
    chip->violations = 0;
}

static inline int chip_make(struct chip *chip, struct vd_failure *failure)
{
    int ret = vd_config_create(&chip->env, "chip", &chip_ops, chip, &chip->info, &chip->config, failure);

    chip->reads = chip->writes = 0;
    return ret;
}

static inline void chip_finish(struct chip *chip)
{
    vd_config_destroy(chip->config);
    chip->config = NULL;
}

#endif
