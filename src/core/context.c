/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Creates contexts: translates the public hooks into a vd_env. Invariant: env.opaque is the context itself, constant
 * after creation, so any thread may use it without a lock.
 */
#include "core/context.h"

#include <errno.h>
#include <stdlib.h>

static void *hook_alloc(void *opaque, size_t size)
{
    struct vd_context *context = opaque;

    return context->options.alloc(context->options.opaque, size);
}

static void hook_free(void *opaque, void *memory)
{
    struct vd_context *context = opaque;

    context->options.release(context->options.opaque, memory);
}

static void hook_log(void *opaque, enum vd_env_level level, const char *line)
{
    struct vd_context *context = opaque;

    context->options.log(context->options.opaque, (enum vd_log_level)level, line);
}

static uint64_t hook_clock(void *opaque)
{
    struct vd_context *context = opaque;

    return context->options.clock(context->options.opaque);
}

static bool hook_fault(void *opaque, const char *site)
{
    struct vd_context *context = opaque;

    return context->options.fault(context->options.opaque, site);
}

static bool options_are_valid(const struct vd_context_options *options)
{
    return options->size == sizeof(*options) && !options->alloc == !options->release &&
           (unsigned)options->log_level <= VD_LOG_DEBUG;
}

static void *plain_alloc(const struct vd_context_options *options)
{
    return options && options->alloc ? options->alloc(options->opaque, sizeof(struct vd_context))
                                     : calloc(1, sizeof(struct vd_context));
}

int vd_context_create(const struct vd_context_options *options, struct vd_context **out)
{
    struct vd_context *context;

    *out = NULL;
    if (options && !options_are_valid(options))
        return -EINVAL;
    context = plain_alloc(options);
    if (!context)
        return -ENOMEM;
    vd_env_init_default(&context->env);
    context->env.opaque = context;
    if (options) {
        context->options = *options;
        context->env.level = (enum vd_env_level)options->log_level;
        context->env.log = options->log ? hook_log : NULL;
        context->env.fault = options->fault ? hook_fault : NULL;
        if (options->clock)
            context->env.now_ns = hook_clock;
        if (options->alloc) {
            context->env.alloc = hook_alloc;
            context->env.free = hook_free;
        }
    }
    *out = context;
    return 0;
}

void vd_context_destroy(struct vd_context *context)
{
    if (!context)
        return;
    if (context->options.release)
        context->options.release(context->options.opaque, context);
    else
        free(context);
}

const char *vd_version(void)
{
    return VD_VERSION;
}
