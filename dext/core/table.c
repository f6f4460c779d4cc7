/* SPDX-License-Identifier: BSD-3-Clause */
/* Linear probing with removal by shifting back, so that there are no tombstones; see table.h. */
#include "dext/core/table.h"

enum { LEAST_CAPACITY = 32 };

static uint64_t rotate(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32) + v[3];
    v[2] += v[1];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

/* SipHash-1-3 of one word: made for tables whose keys an adversary picks, and as cheap as a few multiplications. */
static uint64_t hash(const uint64_t secret[2], uint64_t key)
{
    const uint64_t length = 8ull << 56;
    uint64_t v[4] = {secret[0] ^ 0x736f6d6570736575ull, secret[1] ^ 0x646f72616e646f6dull,
                     secret[0] ^ 0x6c7967656e657261ull, secret[1] ^ 0x7465646279746573ull};

    v[3] ^= key;
    sip_round(v);
    v[0] ^= key;
    v[3] ^= length;
    sip_round(v);
    v[0] ^= length;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void vd_dext_table_init(struct vd_dext_table *table, uint64_t secret0, uint64_t secret1)
{
    *table = (struct vd_dext_table){.secret = {secret0, secret1}};
}

size_t vd_dext_table_home(const struct vd_dext_table *table, uint64_t key)
{
    return (size_t)hash(table->secret, key) & (table->capacity - 1);
}

size_t vd_dext_table_bytes(const struct vd_dext_table *table)
{
    return table->capacity * sizeof(*table->slots);
}

static void place(struct vd_dext_table *table, struct vd_dext_slot slot)
{
    size_t at = vd_dext_table_home(table, slot.key);

    while (table->slots[at].charge)
        at = (at + 1) & (table->capacity - 1);
    table->slots[at] = slot;
}

int vd_dext_table_reserve(struct vd_dext_table *table, const struct vd_dext_os *os)
{
    struct vd_dext_table grown = *table;

    if (table->count < table->capacity / 2)
        return VD_DEXT_SUCCESS;
    grown.capacity = table->capacity ? table->capacity * 2 : LEAST_CAPACITY;
    grown.slots = os->alloc(os->opaque, vd_dext_table_bytes(&grown));
    if (!grown.slots)
        return VD_DEXT_NO_MEMORY;
    for (size_t i = 0; i < table->capacity; i++)
        if (table->slots[i].charge)
            place(&grown, table->slots[i]);
    vd_dext_table_finish(table, os);
    *table = grown;
    return VD_DEXT_SUCCESS;
}

void vd_dext_table_insert(struct vd_dext_table *table, struct vd_dext_slot slot)
{
    place(table, slot);
    table->count++;
}

struct vd_dext_slot *vd_dext_table_find(const struct vd_dext_table *table, uint64_t key)
{
    size_t at;

    if (!table->count)
        return NULL;
    for (at = vd_dext_table_home(table, key); table->slots[at].charge; at = (at + 1) & (table->capacity - 1))
        if (table->slots[at].key == key)
            return &table->slots[at];
    return NULL;
}

void vd_dext_table_remove(struct vd_dext_table *table, const struct vd_dext_os *os, struct vd_dext_slot *slot)
{
    const size_t mask = table->capacity - 1;
    size_t hole = (size_t)(slot - table->slots);

    /* What follows moves into the hole, unless its home lies behind the hole: then it could not be found any more. */
    for (size_t at = (hole + 1) & mask; table->slots[at].charge; at = (at + 1) & mask) {
        size_t from_home = (at - vd_dext_table_home(table, table->slots[at].key)) & mask;

        if (from_home < ((at - hole) & mask))
            continue;
        table->slots[hole] = table->slots[at];
        hole = at;
    }
    table->slots[hole] = (struct vd_dext_slot){0};
    table->count--;
    if (!table->count && table->capacity > LEAST_CAPACITY)
        vd_dext_table_finish(table, os);
}

void vd_dext_table_finish(struct vd_dext_table *table, const struct vd_dext_os *os)
{
    if (table->slots)
        os->free(os->opaque, table->slots, vd_dext_table_bytes(table));
    table->slots = NULL;
    table->capacity = table->count = 0;
}
