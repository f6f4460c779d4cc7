/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client of the RFC's lineage, which knows nothing of our extensions: its calls in its order, with selectors and counts as
 * plain numbers, so that a change of proto/dext_abi.h cannot go unnoticed here.
 */
#include <sys/mman.h>

#include "rig.h"
#include "sim/edu.h"

enum { KEY = 0x40000000, REGION = 65536 };

/* As it looks for its device: opens every instance and asks, also while somebody else has the claim. */
static void find(const struct rig *rig, struct raw *out)
{
    for (unsigned i = 0; i < 2; i++) {
        uint64_t who[6] = {0};

        *out = raw_open(rig->path, i);
        assert_int_equal(raw_call(out, 0, NULL, 0, who, 6), 0);
        if (who[0] == 2 && who[1] == 0 && who[2] == 0) {
            assert_int_equal(who[3], EDU_VENDOR);
            assert_int_equal(who[4], EDU_DEVICE);
            assert_int_equal(who[5], EDU_CLASS);
            return;
        }
        raw_close(out);
    }
    fail_msg("02:00.0 is not there");
}

/* BARs by number; what is found at `index` is for MMIO calls. A BAR that can be mapped is mapped as type 1 + BAR. */
static void learn_bars(struct raw *raw, uint64_t *registers)
{
    for (uint64_t bar = 0; bar < 6; bar++) {
        uint64_t about[3] = {99, 99, 99}, size = 0;
        void *memory = NULL;

        assert_int_equal(raw_call(raw, 10, &bar, 1, about, 3), 0);
        if (bar == EDU_REGISTERS_BAR) {
            assert_int_equal(about[1], EDU_REGISTERS_BAR_SIZE);
            *registers = about[0];
        } else if (bar == EDU_MEMORY_BAR) {
            assert_int_equal(about[2], 8 | 4); /* prefetchable, 64 bits */
            assert_int_equal(raw_map(raw, (unsigned)(1 + bar), &memory, &size), 0);
            assert_int_equal(size, about[1]);
            munmap(memory, size);
        } else {
            assert_int_equal(about[1], 0);
        }
    }
}

static void use_config_space(struct raw *raw)
{
    uint64_t at[2] = {0, 4}, word = 0;

    for (; at[0] < 256; at[0] += 4)
        assert_int_equal(raw_call(raw, 8, at, 2, &word, 1), 0);
    for (uint64_t byte = 4; byte < 6; byte++) { /* COMMAND is forwarded bytewise */
        uint64_t write[3] = {byte, 1, byte == 4 ? 6 : 0};

        assert_int_equal(raw_call(raw, 9, write, 3, NULL, 0), 0);
    }
    assert_int_equal(raw_config_read(raw, 4, 2), 6);
}

static void use_memory(struct raw *raw, struct raw_memory *memory, uint64_t registers)
{
    uint64_t region[3] = {KEY, (uintptr_t)memory->at, REGION}, got[3] = {0}, where[2] = {KEY, 4096}, word = 0;
    const uint64_t key = KEY;

    memset(memory->at, 0x11, 4096);
    memset(memory->at + 4096, 0x77, 4096);
    assert_int_equal(raw_call(raw, 5, region, 3, got, 3), 0);
    assert_int_equal(got[0], 1); /* one segment */
    assert_true(got[1]);
    assert_true(got[2] >= REGION);
    assert_int_equal((uint32_t)raw_call(raw, 5, region, 3, got, 3), 0xe00002d2); /* kIOReturnStillOpen */
    assert_int_equal(raw_call(raw, 7, where, 2, &word, 1), 0);
    assert_true(word == 0x7777777777777777);
    raw_write(raw, (unsigned)registers, EDU_SOURCE, 8, got[1] + 4096);
    raw_write(raw, (unsigned)registers, EDU_DESTINATION, 8, got[1]);
    raw_write(raw, (unsigned)registers, EDU_LENGTH, 8, 4096);
    raw_write(raw, (unsigned)registers, EDU_CONTROL, 4, EDU_START);
    assert_int_equal(raw_finish_copy(raw), EDU_DONE);
    assert_memory_equal(memory->at, memory->at + 4096, 4096);
    assert_int_equal(raw_call(raw, 6, &key, 1, NULL, 0), 0);
    assert_int_equal((uint32_t)raw_call(raw, 6, &key, 1, NULL, 0), 0xe00002f0); /* kIOReturnNotFound */
}

/* Arm, be woken, read and clear the bits, arm again. */
static void use_interrupts(struct raw *raw, uint64_t registers)
{
    const uint64_t mask[4] = {0xff};
    uint64_t bits[4];

    assert_int_equal(raw_call(raw, 16, mask, 4, NULL, 0), 0);
    raw_wait(raw, 15);
    for (uint64_t vector = 0; vector < 8; vector++) {
        raw_write(raw, (unsigned)registers, EDU_RAISE, 4, vector);
        assert_int_equal(raw_completion(raw, 15, NULL), 0);
        assert_int_equal(raw_call(raw, 14, NULL, 0, bits, 4), 0);
        assert_true(bits[0] == 1ull << vector && !bits[1] && !bits[2] && !bits[3]);
        raw_wait(raw, 15);
    }
}

static void a_client_of_the_rfc_works_unchanged(void **state)
{
    static const char *const devices[] = {"01:00.0=sim:nvme", "02:00.0=sim:edu,window=off", NULL};
    struct raw_memory memory = raw_memory_make(REGION);
    struct rig rig = {0};
    uint64_t vectors = 0, registers = 0;
    struct raw raw, other;

    (void)state;
    rig_start(&rig, devices);
    find(&rig, &raw);
    assert_int_equal(raw_call(&raw, 1, NULL, 0, NULL, 0), 0);
    assert_int_equal(raw_config_read(&raw, 4, 2) & 6, 6); /* it relies on the claim for these */
    assert_int_equal(raw_call(&raw, 13, NULL, 0, &vectors, 1), 0);
    assert_int_equal(vectors, 8);
    learn_bars(&raw, &registers);
    assert_int_equal(raw_share(&raw, &memory),
                     0); /* the socket's part: here no kernel looks into the client */
    use_config_space(&raw);
    use_memory(&raw, &memory, registers);
    use_interrupts(&raw, registers);
    find(&rig, &other);
    raw_close(&other);
    assert_int_equal(raw_call(&raw, 17, NULL, 0, NULL, 0), 0);
    raw_close(&raw);
    raw_memory_free(&memory);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_client_of_the_rfc_works_unchanged)};

    return cmocka_run_group_tests_name("lineage", tests, NULL, NULL);
}
