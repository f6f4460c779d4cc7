/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one accessor for a peer's bytes. A reader or writer that runs out of room sets `failed` and stays failed, so a
 * decoder can read all of its fields and check once. Reads after a failure give 0 and NULL.
 */
#ifndef VD_BASE_CURSOR_H
#define VD_BASE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/le.h"

struct vd_reader {
    const uint8_t *at;
    size_t left;
    bool failed;
};

struct vd_writer {
    uint8_t *start;
    size_t used;
    size_t size;
    bool failed;
};

static inline struct vd_reader vd_reader_make(const void *bytes, size_t size)
{
    return (struct vd_reader){.at = bytes, .left = size};
}

/* The next `size` bytes in place (valid while the underlying buffer is), or NULL. */
static inline const void *vd_read_bytes(struct vd_reader *r, size_t size)
{
    const void *here = r->at;

    if (r->failed || size > r->left) {
        r->failed = true;
        return NULL;
    }
    r->at += size;
    r->left -= size;
    return here;
}

static inline uint16_t vd_read16(struct vd_reader *r)
{
    const void *p = vd_read_bytes(r, 2);

    return p ? vd_load16(p) : 0;
}

static inline uint32_t vd_read32(struct vd_reader *r)
{
    const void *p = vd_read_bytes(r, 4);

    return p ? vd_load32(p) : 0;
}

static inline uint64_t vd_read64(struct vd_reader *r)
{
    const void *p = vd_read_bytes(r, 8);

    return p ? vd_load64(p) : 0;
}

/* Copies a fixed layout out of the bytes; false (and `out` untouched) when too few are left. */
static inline bool vd_read_struct(struct vd_reader *r, void *out, size_t size)
{
    const void *p = vd_read_bytes(r, size);

    if (p)
        memcpy(out, p, size);
    return p != NULL;
}

static inline struct vd_writer vd_writer_make(void *bytes, size_t size)
{
    return (struct vd_writer){.start = bytes, .size = size};
}

/* Room for `size` bytes to be filled by the caller, or NULL. */
static inline void *vd_write_room(struct vd_writer *w, size_t size)
{
    uint8_t *here = w->start + w->used;

    if (w->failed || size > w->size - w->used) {
        w->failed = true;
        return NULL;
    }
    w->used += size;
    return here;
}

static inline void vd_write_bytes(struct vd_writer *w, const void *bytes, size_t size)
{
    void *p = vd_write_room(w, size);

    if (p)
        memcpy(p, bytes, size);
}

static inline void vd_write32(struct vd_writer *w, uint32_t v)
{
    void *p = vd_write_room(w, 4);

    if (p)
        vd_store32(p, v);
}

static inline void vd_write64(struct vd_writer *w, uint64_t v)
{
    void *p = vd_write_room(w, 8);

    if (p)
        vd_store64(p, v);
}

#endif
