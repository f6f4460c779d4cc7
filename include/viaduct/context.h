/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 * The context: where memory, log lines, time and injected faults come from. There is no global state; whatever is
 * created from a context must be destroyed before it.
 */
#ifndef VIADUCT_CONTEXT_H
#define VIADUCT_CONTEXT_H

#include <viaduct/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vd_context;

/** How much is logged; a level includes those before it. */
enum vd_log_level { VD_LOG_ERROR, VD_LOG_WARN, VD_LOG_INFO, VD_LOG_DEBUG };

/**
 * The caller's hooks. Zero-fill, set `size` to sizeof(struct vd_context_options), then set what is wanted; NULL takes
 * the default. Hooks may be called from any thread that uses the context.
 */
struct vd_context_options {
    size_t size;                                 /**< sizeof this structure */
    void *opaque;                                /**< handed to every hook */
    void *(*alloc)(void *opaque, size_t size);   /**< zeroed memory or NULL; default calloc */
    void (*release)(void *opaque, void *memory); /**< default free */
    void (*log)(void *opaque, enum vd_log_level level, const char *line); /**< default: nothing is printed */
    uint64_t (*clock)(void *opaque);               /**< monotonic ns; default CLOCK_MONOTONIC */
    bool (*fault)(void *opaque, const char *site); /**< true: fail at this step; default never */
    enum vd_log_level log_level;                   /**< lines above it are not formatted */
};

/**
 * Creates a context.
 * @param options NULL for all defaults; copied
 * @return 0; -EINVAL when options->size is not one this library knows, or only one of alloc and release is set;
 *         -ENOMEM
 */
VD_EXPORT int vd_context_create(const struct vd_context_options *options, struct vd_context **out);

/** Destroys a context; NULL is allowed. Nothing created from it may be left. */
VD_EXPORT void vd_context_destroy(struct vd_context *context);

/** The library's version, "major.minor.patch"; static storage. */
VD_EXPORT const char *vd_version(void);

#ifdef __cplusplus
}
#endif
#endif
