/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the other side has been told of this process's memory: which addresses are which part of which file. A region's
 * file and offset say where the whole file would be mapped around it, and that whole mapping is announced at once, so
 * that further regions of the same file cost one fstat() and a look-up.
 *
 * Invariants: announced ranges are disjoint, so any of them can be withdrawn by its address alone; of one that is in use,
 * what is used stays announced, and the rest only until another file turns out to be there; one that is idle is kept in
 * case its file comes back (guest memory does), at most VD_SHARES_IDLE of them. Each share holds a descriptor. A descriptor's number proves nothing: what counts is the file that fstat() finds behind it.
 *
 * Threads: one at a time.
 */
#ifndef VD_DEXTLINK_SHARE_H
#define VD_DEXTLINK_SHARE_H

#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/tree.h"
#include "dextlink/link.h"

enum { VD_SHARES_IDLE = 64 };

struct vd_share;

/* How the other side is told; `opaque` is what vd_shares_init() got. */
struct vd_share_ops {
    /* [address, address + size) is [offset, ...) of the file. 0 or an enum vd_dext_return. */
    int (*announce)(void *opaque, uint64_t address, uint64_t size, uint64_t offset, int fd);
    /* The range announced at that address is over. Cannot fail. */
    void (*withdraw)(void *opaque, uint64_t address);
};

struct vd_shares {
    const struct vd_env *env;
    const struct vd_share_ops *ops;
    void *opaque;
    struct vd_tree tree;              /* struct vd_share, by announced range */
    struct vd_share *oldest, *newest; /* the idle ones, by when they became idle */
    unsigned nr_idle;
    uint64_t page;
};

void vd_shares_init(struct vd_shares *shares, const struct vd_env *env, const struct vd_share_ops *ops,
                    void *opaque);
/* Forgets everything and withdraws nothing: the connection is over. */
void vd_shares_finish(struct vd_shares *shares);

/*
 * One use of the memory. 0; BAD_ARGUMENT no descriptor, not a file of that size, or addresses that cannot be a mapping
 * of it; NO_MEMORY; NO_RESOURCES when the region lies on what is used of another file; what announce() answered.
 */
int vd_shares_get(struct vd_shares *shares, const struct vd_link_memory *memory);
/* Ends one use. Cannot fail. */
void vd_shares_put(struct vd_shares *shares, const void *host, uint64_t size);

#endif
