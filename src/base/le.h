/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Little-endian integers as byte arrays: a layout built from them has no padding, no alignment demand and no
 * byte order to get wrong, and a raw integer cannot be assigned to one by mistake.
 */
#ifndef VD_BASE_LE_H
#define VD_BASE_LE_H

#include <stdint.h>
#include <string.h>

typedef struct {
    uint8_t b[2];
} vd_le16;
typedef struct {
    uint8_t b[4];
} vd_le32;
typedef struct {
    uint8_t b[8];
} vd_le64;

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define VD_LE_SWAP16(x) __builtin_bswap16(x)
#define VD_LE_SWAP32(x) __builtin_bswap32(x)
#define VD_LE_SWAP64(x) __builtin_bswap64(x)
#else
#define VD_LE_SWAP16(x) (x)
#define VD_LE_SWAP32(x) (x)
#define VD_LE_SWAP64(x) (x)
#endif

/* Load and store through any pointer, aligned or not. */
static inline uint16_t vd_load16(const void *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof(v));
    return VD_LE_SWAP16(v);
}

static inline uint32_t vd_load32(const void *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return VD_LE_SWAP32(v);
}

static inline uint64_t vd_load64(const void *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return VD_LE_SWAP64(v);
}

static inline void vd_store16(void *p, uint16_t v)
{
    const uint16_t le = VD_LE_SWAP16(v);

    memcpy(p, &le, sizeof(le));
}

static inline void vd_store32(void *p, uint32_t v)
{
    const uint32_t le = VD_LE_SWAP32(v);

    memcpy(p, &le, sizeof(le));
}

static inline void vd_store64(void *p, uint64_t v)
{
    const uint64_t le = VD_LE_SWAP64(v);

    memcpy(p, &le, sizeof(le));
}

/* Typed forms: host value ↔ wire field. */
static inline uint16_t vd_get16(vd_le16 v)
{
    return vd_load16(v.b);
}

static inline uint32_t vd_get32(vd_le32 v)
{
    return vd_load32(v.b);
}

static inline uint64_t vd_get64(vd_le64 v)
{
    return vd_load64(v.b);
}

static inline vd_le16 vd_put16(uint16_t v)
{
    vd_le16 out = {{0}};

    vd_store16(out.b, v);
    return out;
}

static inline vd_le32 vd_put32(uint32_t v)
{
    vd_le32 out = {{0}};

    vd_store32(out.b, v);
    return out;
}

static inline vd_le64 vd_put64(uint64_t v)
{
    vd_le64 out = {{0}};

    vd_store64(out.b, v);
    return out;
}

#endif
