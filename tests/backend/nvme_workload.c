/* SPDX-License-Identifier: BSD-3-Clause */
/* Random commands and the model they are checked against; see nvme_exerciser.h. */
#include "nvme_exerciser_internal.h"

#include <errno.h>
#include <string.h>

#include "base/le.h"

#define LBA_FACTOR   UINT64_C(0x9e3779b97f4a7c15)
#define STAMP_FACTOR UINT64_C(0xc2b2ae3d27d4eb4f)

static uint32_t random32(struct exerciser *ex)
{
    ex->noise = ex->noise * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(ex->noise >> 33);
}

/* What block `lba` with that stamp holds, word by word. */
static uint64_t word_of(uint64_t lba, uint32_t stamp, unsigned word)
{
    return stamp ? (lba + 1) * LBA_FACTOR + stamp * STAMP_FACTOR + word : 0;
}

static void fill(struct exerciser *ex, const struct ex_slot *slot)
{
    for (uint32_t block = 0; block < slot->blocks; block++) {
        uint8_t *at = ex->arena + slot->data + (uint64_t)block * ex->sector;

        for (unsigned word = 0; word < ex->sector / 8; word++)
            vd_store64(at + word * 8, word_of(slot->lba + block, slot->stamp, word));
    }
}

static bool matches(const struct exerciser *ex, const struct ex_slot *slot)
{
    for (uint32_t block = 0; block < slot->blocks; block++) {
        const uint8_t *at = ex->arena + slot->data + (uint64_t)block * ex->sector;
        uint64_t lba = slot->lba + block;

        for (unsigned word = 0; word < ex->sector / 8; word++) {
            if (vd_load64(at + word * 8) != word_of(lba, ex->stamps[lba], word))
                return false;
        }
    }
    return true;
}

/* PRP entries [4.3] for `size` bytes at a place in the arena; a list goes to the slot's own page. */
static void describe(struct exerciser *ex, unsigned slot, uint64_t data, uint64_t size,
                     struct ex_fields *fields)
{
    uint64_t list = AT_LISTS + slot * (uint64_t)PAGE, next = (data | (PAGE - 1)) + 1;
    unsigned index = 0;

    fields->prp1 = ex_bus(ex, data);
    if (next >= data + size)
        return;
    if (next + PAGE >= data + size) {
        fields->prp2 = ex_bus(ex, next);
        return;
    }
    fields->prp2 = ex_bus(ex, list);
    for (; next < data + size; next += PAGE)
        vd_store64(ex->arena + list + 8ull * index++, ex_bus(ex, next));
}

static bool overlaps_busy(const struct exerciser *ex, uint64_t lba, uint32_t blocks)
{
    for (unsigned i = 0; i < EX_SLOTS; i++) {
        const struct ex_slot *slot = &ex->slots[i];

        if (slot->busy && slot->opcode != FLUSH && lba < slot->lba + slot->blocks && slot->lba < lba + blocks)
            return true;
    }
    return false;
}

/* Sends what slot->opcode, lba, blocks and data say. */
static int send_slot(struct exerciser *ex, unsigned index, bool fua)
{
    struct ex_slot *slot = &ex->slots[index];
    struct ex_fields fields = {.opcode = slot->opcode,
                               .nsid = 1,
                               .cdw10 = (uint32_t)slot->lba,
                               .cdw11 = (uint32_t)(slot->lba >> 32),
                               .cdw12 = (slot->blocks - 1) | (fua ? 1u << 30 : 0)};

    if (slot->opcode == FLUSH) {
        fields.cdw10 = fields.cdw11 = fields.cdw12 = 0;
    } else if (slot->opcode == DSM) {
        vd_store32(ex->arena + slot->data, 0);
        vd_store32(ex->arena + slot->data + 4, slot->blocks);
        vd_store64(ex->arena + slot->data + 8, slot->lba);
        fields.prp1 = ex_bus(ex, slot->data);
        fields.cdw10 = 0;
        fields.cdw11 = 4;
        fields.cdw12 = 0;
    } else if (slot->opcode != WRITE_ZEROES) {
        describe(ex, index, slot->data, (uint64_t)slot->blocks * ex->sector, &fields);
    }
    return ex_submit(ex, 1 + index % EX_QUEUES, (uint16_t)index, &fields);
}

static uint8_t random_opcode(struct exerciser *ex)
{
    static const uint8_t opcodes[] = {READ, READ, READ, WRITE, WRITE, WRITE, FLUSH, WRITE_ZEROES, DSM};

    return opcodes[random32(ex) % sizeof(opcodes)];
}

/* A random command in a free slot; false when the range drawn is in use. */
static int start_random(struct exerciser *ex, unsigned index, bool reads_only, bool *started)
{
    struct ex_slot *slot = &ex->slots[index];
    uint32_t most = EX_DATA / ex->sector;
    uint32_t blocks = 1 + random32(ex) % (random32(ex) % 2 ? most : 8);
    uint64_t lba = random32(ex) % (ex->blocks - blocks + 1);
    uint32_t inside = random32(ex) % 2 ? (random32(ex) % PAGE) & ~15u : 0;

    *started = !overlaps_busy(ex, lba, blocks);
    if (!*started)
        return 0;
    *slot = (struct ex_slot){.opcode = reads_only ? READ : random_opcode(ex),
                             .lba = lba,
                             .blocks = blocks,
                             .data = AT_DATA + (uint64_t)index * SLOT_DATA + inside};
    if (slot->opcode == WRITE) {
        slot->stamp = ex->next_stamp++;
        fill(ex, slot);
    } else {
        memset(ex->arena + AT_DATA + (uint64_t)index * SLOT_DATA, 0xee, SLOT_DATA);
    }
    return send_slot(ex, index, random32(ex) % 8 == 0 && slot->opcode == WRITE);
}

/* Judges a command that is done and brings the model up to date. */
static int judge(struct exerciser *ex, struct ex_slot *slot)
{
    slot->done = false;
    if (slot->status)
        return -EREMOTEIO;
    if (slot->opcode == READ)
        return matches(ex, slot) ? 0 : -EILSEQ;
    for (uint32_t block = 0; block < slot->blocks && slot->opcode != FLUSH; block++)
        ex->stamps[slot->lba + block] = slot->opcode == WRITE ? slot->stamp : 0;
    return 0;
}

static int judge_all(struct exerciser *ex, unsigned *ended)
{
    int error = 0;

    for (unsigned i = 0; i < EX_SLOTS && !error; i++) {
        if (!ex->slots[i].done)
            continue;
        error = judge(ex, &ex->slots[i]);
        (*ended)++;
    }
    return error;
}

int ex_random(struct exerciser *ex, unsigned count)
{
    unsigned started = 0, ended = 0;
    int error = 0;

    while (ended < count && !error) {
        for (unsigned i = 0; i < EX_SLOTS && started < count && !error; i++) {
            bool now = false;

            if (!ex->slots[i].busy)
                error = start_random(ex, i, false, &now);
            started += now;
        }
        if (!error && ended < started)
            error = ex_wait_some(ex);
        if (!error)
            error = judge_all(ex, &ended);
    }
    return error;
}

/* Which write a block's first word is of: odd factors have an inverse modulo 2^64, found by Newton's method. */
static uint32_t stamp_of(uint64_t lba, uint64_t word)
{
    uint64_t inverse = STAMP_FACTOR;

    for (int i = 0; i < 6; i++)
        inverse *= 2 - STAMP_FACTOR * inverse;
    return word ? (uint32_t)((word - (lba + 1) * LBA_FACTOR) * inverse) : 0;
}

static void learn(struct exerciser *ex, const struct ex_slot *slot)
{
    for (uint32_t block = 0; block < slot->blocks; block++) {
        const uint8_t *at = ex->arena + slot->data + (uint64_t)block * ex->sector;
        uint32_t stamp = stamp_of(slot->lba + block, vd_load64(at));

        if (stamp < ex->next_stamp) /* otherwise it is none of ours, and will not match */
            ex->stamps[slot->lba + block] = stamp;
    }
}

/* Reads [lba, lba + blocks) into slot 0 and compares, after learning it if asked to. */
static int check_blocks(struct exerciser *ex, uint64_t lba, uint32_t blocks, bool learning)
{
    struct ex_slot *slot = &ex->slots[0];
    int error;

    *slot = (struct ex_slot){.opcode = READ, .lba = lba, .blocks = blocks, .data = AT_DATA};
    error = send_slot(ex, 0, false);
    while (!error && !slot->done)
        error = ex_wait_some(ex);
    if (!error && learning && !slot->status)
        learn(ex, slot);
    return error ? error : judge(ex, slot);
}

static int check_disk(struct exerciser *ex, bool learning)
{
    uint32_t most = EX_DATA / ex->sector;
    int error = 0;

    for (uint64_t lba = 0; lba < ex->blocks && !error; lba += most)
        error =
            check_blocks(ex, lba, ex->blocks - lba < most ? (uint32_t)(ex->blocks - lba) : most, learning);
    return error;
}

int ex_verify(struct exerciser *ex)
{
    return check_disk(ex, false);
}

int ex_learn(struct exerciser *ex)
{
    return check_disk(ex, true);
}

int ex_load(struct exerciser *ex, bool reads_only)
{
    int error = 0;

    for (unsigned i = 0; i < EX_SLOTS && !error; i++) {
        bool started = ex->slots[i].busy;

        while (!started && !error)
            error = start_random(ex, i, reads_only, &started);
    }
    if (!error)
        vd_device_dispatch(ex->device, false);
    return error;
}

static bool any_busy(const struct exerciser *ex)
{
    for (unsigned i = 0; i < EX_SLOTS; i++) {
        if (ex->slots[i].busy)
            return true;
    }
    return false;
}

int ex_drain(struct exerciser *ex, unsigned *failed)
{
    int error = 0;

    *failed = 0;
    while (any_busy(ex) && !error)
        error = ex_wait_some(ex);
    for (unsigned i = 0; i < EX_SLOTS; i++) {
        *failed += ex->slots[i].done && ex->slots[i].status;
        ex->slots[i].done = false;
    }
    return error;
}

int ex_raw(struct exerciser *ex, uint8_t opcode, uint64_t lba, uint32_t blocks, uint64_t prp1, uint64_t prp2,
           uint16_t *status)
{
    struct ex_fields fields = {.opcode = opcode,
                               .nsid = 1,
                               .prp1 = prp1,
                               .prp2 = prp2,
                               .cdw10 = (uint32_t)lba,
                               .cdw11 = (uint32_t)(lba >> 32),
                               .cdw12 = blocks - 1};
    int error;

    ex->slots[0] = (struct ex_slot){.lba = lba, .blocks = blocks};
    error = ex_submit(ex, 1, 0, &fields);
    while (!error && !ex->slots[0].done)
        error = ex_wait_some(ex);
    ex->slots[0].done = false;
    *status = ex->slots[0].status;
    return error;
}
