/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * First-fit allocation of spans of a linear space (bus addresses, in granules): the lowest gap that is big enough is
 * taken from its start, so it fragments as real allocators do. O(log n).
 *
 * A taken span lives in its owner's memory and carries the free gap in front of it, so giving it back allocates nothing
 * and cannot fail. Threads: none of its own; the owner serialises.
 */
#ifndef SIM_SPACE_H
#define SIM_SPACE_H

#include <stdbool.h>
#include <stdint.h>

struct sim_span {
    uint64_t start, size;
    uint64_t gap;     /* free units right before `start` */
    uint64_t largest; /* largest gap in the subtree */
    struct sim_span *child[2], *parent;
    uint32_t priority;
};

struct sim_space {
    struct sim_span *root;
    struct sim_span end; /* sentinel behind the last unit: owns the gap at the end */
};

/* Makes [first, first + size) free; the sum must not wrap. The space must stay put while it is used. */
void sim_space_init(struct sim_space *space, uint64_t first, uint64_t size);
/* Takes `size` > 0 units into *span, which must stay put until given back. False: no gap is big enough. */
bool sim_space_take(struct sim_space *space, struct sim_span *span, uint64_t size);
/* Gives back what sim_space_take() took. Cannot fail. */
void sim_space_give(struct sim_space *space, struct sim_span *span);

#endif
