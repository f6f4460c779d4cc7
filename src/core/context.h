/* SPDX-License-Identifier: BSD-3-Clause */
/* The context behind viaduct/context.h: the caller's hooks in the form that the layers below use. */
#ifndef VD_CORE_CONTEXT_H
#define VD_CORE_CONTEXT_H

#include <viaduct/context.h>

#include "base/env.h"
#include "base/failure.h"

struct vd_context {
    struct vd_env env;
    struct vd_context_options options;
};

/* The public error and the internal failure are one layout; these are the only casts between them. */
static inline struct vd_failure *vd_failure_of(struct vd_error *error)
{
    _Static_assert(sizeof(struct vd_error) == sizeof(struct vd_failure), "vd_error mirrors vd_failure");
    _Static_assert(offsetof(struct vd_error, code) == offsetof(struct vd_failure, code), "code");
    _Static_assert(offsetof(struct vd_error, usage) == offsetof(struct vd_failure, usage), "usage");
    _Static_assert(offsetof(struct vd_error, message) == offsetof(struct vd_failure, text), "message");
    return (struct vd_failure *)(void *)error;
}

#endif
