/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Address ranges with an inclusive `last`, so that the whole 64-bit space is representable and no end can wrap.
 * Every sum of a peer's address and length goes through vd_range_make().
 */
#ifndef VD_BASE_RANGE_H
#define VD_BASE_RANGE_H

#include <stdbool.h>
#include <stdint.h>

struct vd_range {
    uint64_t start;
    uint64_t last; /* inclusive; start <= last always */
};

/* False when size is 0 or start + size - 1 would wrap; then *out is not written. */
static inline bool vd_range_make(uint64_t start, uint64_t size, struct vd_range *out)
{
    uint64_t last;

    if (size == 0 || __builtin_add_overflow(start, size - 1, &last))
        return false;
    out->start = start;
    out->last = last;
    return true;
}

static inline bool vd_range_contains(struct vd_range outer, struct vd_range inner)
{
    return inner.start >= outer.start && inner.last <= outer.last;
}

static inline bool vd_range_overlaps(struct vd_range a, struct vd_range b)
{
    return a.start <= b.last && b.start <= a.last;
}

/* Bytes in the range; 0 stands for 2^64, which only the whole space has. */
static inline uint64_t vd_range_size(struct vd_range r)
{
    return r.last - r.start + 1;
}

/* True when [offset, offset + length) lies within [0, size); length 0 is fine up to and including `size`. */
static inline bool vd_span_fits(uint64_t offset, uint64_t length, uint64_t size)
{
    return offset <= size && length <= size - offset;
}

static inline bool vd_is_power_of_two(uint64_t v)
{
    return v && !(v & (v - 1));
}

static inline bool vd_is_aligned(uint64_t v, uint64_t granule)
{
    return (v & (granule - 1)) == 0;
}

#endif
