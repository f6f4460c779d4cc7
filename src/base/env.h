/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the code below the public API needs from its surroundings: memory, a log, a clock and a place to inject
 * faults. There is no global state: every object keeps the `const struct vd_env *` it was created with, and the
 * owner of the env (a vd_context, a test) outlives it.
 *
 * Threads: the callbacks may be called from any thread and must cope with that.
 */
#ifndef VD_BASE_ENV_H
#define VD_BASE_ENV_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vd_env_level { VD_ENV_ERROR, VD_ENV_WARN, VD_ENV_INFO, VD_ENV_DEBUG };

struct vd_env {
    /* Returns zeroed memory aligned for any type, or NULL. Never called with size 0. */
    void *(*alloc)(void *opaque, size_t size);
    /* Takes what alloc returned, or NULL. */
    void (*free)(void *opaque, void *ptr);
    /* One line without a newline. NULL: nothing is logged. */
    void (*log)(void *opaque, enum vd_env_level level, const char *line);
    /* Monotonic nanoseconds. */
    uint64_t (*now_ns)(void *opaque);
    /* True: the named step must fail as if the system had refused it. NULL: nothing is injected. */
    bool (*fault)(void *opaque, const char *site);
    void *opaque;
    /* Lines above this level are not formatted at all. */
    enum vd_env_level level;
};

/* The ordinary surroundings: calloc, no log, CLOCK_MONOTONIC, no faults. Fills *env; cannot fail. */
void vd_env_init_default(struct vd_env *env);

/*
 * Zeroed memory for `count` objects of `size` bytes; NULL on overflow, when memory is short or when a fault is
 * injected at site "alloc". Release with vd_env_free().
 */
void *vd_env_alloc(const struct vd_env *env, size_t count, size_t size);
/* Releases; NULL is allowed. */
void vd_env_free(const struct vd_env *env, void *ptr);
/* A copy of `text`, or NULL when memory is short. */
char *vd_env_strdup(const struct vd_env *env, const char *text);
/* True when a test asks for a failure at `site`. Cheap when no hook is set. */
bool vd_env_fault(const struct vd_env *env, const char *site);
/* Monotonic nanoseconds. */
uint64_t vd_env_now(const struct vd_env *env);

/* Formats and logs one line (cut at 1023 bytes) when `level` is wanted. Never called on a hot path. */
void vd_env_log(const struct vd_env *env, enum vd_env_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define vd_err(env, ...)  vd_env_log((env), VD_ENV_ERROR, __VA_ARGS__)
#define vd_warn(env, ...) vd_env_log((env), VD_ENV_WARN, __VA_ARGS__)
#define vd_info(env, ...) vd_env_log((env), VD_ENV_INFO, __VA_ARGS__)
#define vd_dbg(env, ...)  vd_env_log((env), VD_ENV_DEBUG, __VA_ARGS__)

#endif
