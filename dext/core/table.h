/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client's mappings by key: a hash table with open addressing that is at most half full. Keys are the client's and may
 * be chosen to collide, hence the keyed hash. Room is made before a mapping is, so inserting cannot fail after reserve
 * did not, and removing never does.
 *
 * Invariants: capacity is 0 or a power of two; a slot is in use when its charge is not 0; from a mapping's home slot to
 * its own every slot is in use.
 */
#ifndef DEXT_CORE_TABLE_H
#define DEXT_CORE_TABLE_H

#include "dext/core/dext.h"

struct vd_dext_slot {
    uint64_t key;
    uint64_t size;   /* bytes, of the region */
    uint64_t charge; /* bytes, of the granules it occupies; 0: the slot is free */
    void *token;     /* of hw->dma_prepare() */
};

struct vd_dext_table {
    struct vd_dext_slot *slots;
    size_t capacity, count;
    uint64_t secret[2];
};

/* An empty table, without memory of its own yet. The secret is what the client must not know. */
void vd_dext_table_init(struct vd_dext_table *table, uint64_t secret0, uint64_t secret1);
/* Makes room for one more. 0; NO_MEMORY, then nothing has changed. */
int vd_dext_table_reserve(struct vd_dext_table *table, const struct vd_dext_os *os);
/* Adds a mapping whose key is not in use; after a reserve. */
void vd_dext_table_insert(struct vd_dext_table *table, struct vd_dext_slot slot);
/* NULL: no such key. Valid until the table changes. */
struct vd_dext_slot *vd_dext_table_find(const struct vd_dext_table *table, uint64_t key);
/* Removes a slot that find returned. A table that is empty again gives its memory back if it had grown. */
void vd_dext_table_remove(struct vd_dext_table *table, const struct vd_dext_os *os,
                          struct vd_dext_slot *slot);
/* Gives the memory back, whatever is in it. */
void vd_dext_table_finish(struct vd_dext_table *table, const struct vd_dext_os *os);
/* The memory it has now. */
size_t vd_dext_table_bytes(const struct vd_dext_table *table);
/* The slot where the search for a key begins; capacity is not 0. */
size_t vd_dext_table_home(const struct vd_dext_table *table, uint64_t key);

#endif
