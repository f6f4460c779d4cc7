/* SPDX-License-Identifier: BSD-3-Clause */
/* Default surroundings and the checked wrappers around them; see env.h. No state of its own. */
#include "base/env.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *default_alloc(void *opaque, size_t size)
{
    (void)opaque;
    return calloc(1, size);
}

static void default_free(void *opaque, void *ptr)
{
    (void)opaque;
    free(ptr);
}

static uint64_t default_now(void *opaque)
{
    struct timespec ts;

    (void)opaque;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void vd_env_init_default(struct vd_env *env)
{
    *env = (struct vd_env){
        .alloc = default_alloc, .free = default_free, .now_ns = default_now, .level = VD_ENV_WARN};
}

void *vd_env_alloc(const struct vd_env *env, size_t count, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(count, size, &total) || total == 0 || vd_env_fault(env, "alloc"))
        return NULL;
    return env->alloc(env->opaque, total);
}

void vd_env_free(const struct vd_env *env, void *ptr)
{
    if (ptr)
        env->free(env->opaque, ptr);
}

char *vd_env_strdup(const struct vd_env *env, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = vd_env_alloc(env, size, 1);

    if (copy)
        memcpy(copy, text, size);
    return copy;
}

bool vd_env_fault(const struct vd_env *env, const char *site)
{
    return env->fault && env->fault(env->opaque, site);
}

uint64_t vd_env_now(const struct vd_env *env)
{
    return env->now_ns(env->opaque);
}

void vd_env_log(const struct vd_env *env, enum vd_env_level level, const char *format, ...)
{
    char line[1024];
    va_list args;

    if (!env->log || level > env->level)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    env->log(env->opaque, level, line);
}
