/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A treap of the taken spans, by address, in which every node knows the largest gap of its subtree; see space.h.
 * (base/tree.h keeps no such sum, and a walk over free spans would make each map as slow as the space is fragmented.)
 *
 * Invariants: spans are disjoint and in symmetric order; node->gap is the distance to the span before it; `largest` is
 * right for every node; the sentinel is never removed, so every taken span has a successor.
 */
#include "sim/space.h"

#include <stddef.h>

/* Spreads addresses into priorities, so that the shape does not follow the order of allocation. */
static uint32_t spread(uint64_t x)
{
    x = (x ^ (x >> 31)) * 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 29)) * 0xd6e8feb86659fd93ull;
    return (uint32_t)(x >> 32);
}

static uint64_t largest_of(const struct sim_span *span)
{
    return span ? span->largest : 0;
}

static void sum_up(struct sim_span *span)
{
    uint64_t most = span->gap;

    for (int side = 0; side < 2; side++) {
        if (largest_of(span->child[side]) > most)
            most = span->child[side]->largest;
    }
    span->largest = most;
}

static void sum_up_to_root(struct sim_span *span)
{
    for (; span; span = span->parent)
        sum_up(span);
}

static void put_in_place(struct sim_space *space, struct sim_span *parent, struct sim_span *old,
                         struct sim_span *now)
{
    if (parent)
        parent->child[parent->child[1] == old] = now;
    else
        space->root = now;
    if (now)
        now->parent = parent;
}

static void lift(struct sim_space *space, struct sim_span *span)
{
    struct sim_span *parent = span->parent;
    int side = parent->child[1] == span;
    struct sim_span *middle = span->child[!side];

    put_in_place(space, parent->parent, parent, span);
    parent->child[side] = middle;
    if (middle)
        middle->parent = parent;
    span->child[!side] = parent;
    parent->parent = span;
    sum_up(parent);
    sum_up(span);
}

void sim_space_init(struct sim_space *space, uint64_t first, uint64_t size)
{
    space->end = (struct sim_span){.start = first + size, .gap = size, .largest = size};
    space->end.priority = spread(space->end.start);
    space->root = &space->end;
}

/* The lowest span with a gap of at least `size` in front of it, or NULL. */
static struct sim_span *first_fit(const struct sim_space *space, uint64_t size)
{
    struct sim_span *at = space->root;

    if (largest_of(at) < size)
        return NULL;
    for (;;) {
        if (largest_of(at->child[0]) >= size)
            at = at->child[0];
        else if (at->gap >= size)
            return at;
        else
            at = at->child[1];
    }
}

/* Hangs `span` in as the direct predecessor of `next`. */
static void link_before(struct sim_span *next, struct sim_span *span)
{
    struct sim_span *at = next->child[0];

    if (!at) {
        next->child[0] = span;
        span->parent = next;
        return;
    }
    while (at->child[1])
        at = at->child[1];
    at->child[1] = span;
    span->parent = at;
}

bool sim_space_take(struct sim_space *space, struct sim_span *span, uint64_t size)
{
    struct sim_span *next = first_fit(space, size);

    if (!next)
        return false;
    *span = (struct sim_span){.start = next->start - next->gap, .size = size};
    span->priority = spread(span->start);
    next->gap -= size;
    link_before(next, span);
    sum_up_to_root(span);
    while (span->parent && span->parent->priority < span->priority)
        lift(space, span);
    return true;
}

static struct sim_span *successor(struct sim_span *span)
{
    if (span->child[1]) {
        span = span->child[1];
        while (span->child[0])
            span = span->child[0];
        return span;
    }
    while (span->parent && span->parent->child[1] == span)
        span = span->parent;
    return span->parent;
}

void sim_space_give(struct sim_space *space, struct sim_span *span)
{
    struct sim_span *next = successor(span);
    struct sim_span *parent;

    while (span->child[0] && span->child[1])
        lift(space, span->child[span->child[1]->priority > span->child[0]->priority]);
    parent = span->parent;
    put_in_place(space, parent, span, span->child[0] ? span->child[0] : span->child[1]);
    next->gap += span->gap + span->size;
    sum_up_to_root(parent);
    sum_up_to_root(next);
    *span = (struct sim_span){0};
}
