/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 * Types that every other public header uses. Each header is self-contained and usable from C11 and C++11.
 *
 * Errors: a function that can fail returns 0 (or a count) or a negative errno; each declaration lists its own. Where a
 * person will want to know more, the function also takes a `struct vd_error *`, which may be NULL.
 */
#ifndef VIADUCT_TYPES_H
#define VIADUCT_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Marks what the shared library exports. */
#define VD_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/** I/O virtual address: what a device puts on the bus. Not interchangeable with the other address types. */
typedef struct {
    uint64_t value;
} vd_iova;

/** Guest-physical address. */
typedef struct {
    uint64_t value;
} vd_gpa;

/** Bytes in vd_error.message, its terminator included. */
#define VD_ERROR_TEXT 512

/** A failure in words: which option, which value, what is allowed, what to do. Filled only on failure. */
struct vd_error {
    int code;   /**< negative errno, the function's return value */
    bool usage; /**< true: the caller's words were wrong (exit code 2), not the world (exit code 1) */
    char message[VD_ERROR_TEXT]; /**< one sentence, NUL-terminated, without a newline */
};

/** What a mapping lets the device do. */
enum vd_access {
    VD_ACCESS_READ = 1,  /**< the device may read memory */
    VD_ACCESS_WRITE = 2, /**< the device may write memory */
};

#ifdef __cplusplus
}
#endif
#endif
