/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Virtual config space over a function that is as the input says: first the bytes it has, then a script of accesses. No
 * access may be one that config space does not know, the guest's lists must end, and the host's bits must stay as they are.
 */
#include "../unit/core/chip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A record; `what` of the first ones is FUZZ_BYTES. */
struct fuzz_record {
    uint8_t what, arg;
    vd_le16 offset;
    vd_le32 value;
};

enum { FUZZ_BYTES, FUZZ_HOST, FUZZ_WRITE, FUZZ_READ, FUZZ_RESET, FUZZ_FAIL, FUZZ_KINDS };

static void fail(const char *why)
{
    fprintf(stderr, "fuzz_config: %s\n", why);
    abort();
}

/* What the host offers: a region, or the number of vectors of a kind. */
static void set_host(struct chip *chip, const struct fuzz_record *r)
{
    uint32_t value = vd_get32(r->value);
    unsigned index = r->arg & 15;

    if (index < VD_REGION_CONFIG) {
        chip->info.regions[index].size = (uint64_t)(value >> 8) << (value & 63) % 41;
        chip->info.regions[index].flags = value >> 3 & (VD_REGION_64BIT | VD_REGION_PREFETCHABLE);
    } else if (index == VD_REGION_CONFIG) {
        chip->info.can_reset = value & 1;
        chip->info.regions[index].size = value & 2 ? VD_CONFIG_SIZE : VD_CONFIG_STANDARD;
    } else {
        chip->info.irqs[index % 3].count = value % 4096;
    }
}

/* The host's, whatever else there is. */
static void mark_owned(struct chip *chip)
{
    const struct vd_config *c = chip->config;

    chip_own(chip, 4, chip->bytes[4] & 2, 2); /* stays on */
    chip_own_range(chip, 8, 0x38);
    if (c->msi)
        chip_own_range(chip, c->msi, 10);
    if (c->msix.cap)
        chip_own_range(chip, c->msix.cap, 12);
    if (c->pm)
        chip_own_range(chip, c->pm, 8);
    if (c->pcie) {
        chip_own(chip, c->pcie + 8u, 0xffef, 2);
        chip_own(chip, c->pcie, 0xffff, 2);
    }
    chip_watch(chip);
}

static void walk(struct chip *chip)
{
    uint8_t at = 0, header[4];
    uint32_t next = VD_CONFIG_STANDARD;

    if (vd_config_read(chip->config, 0x34, &at, 1))
        fail("the list's start costs an access that failed");
    for (unsigned n = 0; at; n++) {
        if (n == 48 || at < 0x40 || at % 4 || vd_config_read(chip->config, at, header, 2))
            fail("the guest's list does not end");
        at = header[1];
    }
    for (unsigned n = 0; next && chip->config->size == VD_CONFIG_SIZE; n++) {
        if (n == 960 || next < VD_CONFIG_STANDARD || next % 4 ||
            vd_config_read(chip->config, next, header, 4))
            fail("the guest's extended list does not end");
        next = vd_load32(header) >> 20;
    }
}

static void run(struct chip *chip, const struct fuzz_record *r)
{
    unsigned count = 1u + r->arg % 8, offset = vd_get16(r->offset) % (chip->config->size - 8);
    uint8_t bytes[8];

    vd_store32(bytes, vd_get32(r->value));
    vd_store32(bytes + 4, ~vd_get32(r->value));
    switch (r->what % FUZZ_KINDS) {
    case FUZZ_WRITE:
        (void)vd_config_write(chip->config, offset, bytes, count);
        break;
    case FUZZ_READ:
        (void)vd_config_read(chip->config, offset, bytes, count);
        break;
    case FUZZ_RESET:
        chip->reset_error = r->arg & 1 ? -EIO : 0;
        chip->dead = r->arg & 2;
        (void)vd_config_reset(chip->config);
        chip->dead = false;
        break;
    case FUZZ_FAIL:
        chip->fail_read = r->arg & 15;
        chip->fail_write = r->arg >> 4;
        break;
    default:
        break;
    }
    if (chip->violations)
        fail("the guest changed a bit of the host's");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vd_failure failure = {0};
    struct fuzz_record r;
    struct chip chip;

    chip_init(&chip);
    for (; size >= sizeof(r); data += sizeof(r), size -= sizeof(r)) {
        memcpy(&r, data, sizeof(r));
        if (r.what % FUZZ_KINDS == FUZZ_BYTES)
            memcpy(chip.bytes + vd_get16(r.offset) % (VD_CONFIG_SIZE - 3), r.value.b, 4);
        else if (r.what % FUZZ_KINDS == FUZZ_HOST)
            set_host(&chip, &r);
        else
            break;
    }
    if (chip_make(&chip, &failure)) {
        if (!failure.code || !failure.text[0] || chip.live)
            fail("a refusal without a reason, or memory left behind");
        return 0;
    }
    mark_owned(&chip);
    walk(&chip);
    for (; size >= sizeof(r); data += sizeof(r), size -= sizeof(r)) {
        memcpy(&r, data, sizeof(r));
        run(&chip, &r);
    }
    chip.fail_read = chip.fail_write = 0;
    walk(&chip);
    chip_finish(&chip);
    if (chip.live)
        fail("memory left behind");
    return 0;
}
