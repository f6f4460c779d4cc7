/* SPDX-License-Identifier: BSD-3-Clause */
/* Filling in a failure; see failure.h. */
#include "base/failure.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static void fill(struct vd_failure *failure, int code, bool usage, const char *format, va_list args)
{
    if (!failure)
        return;
    failure->code = code;
    failure->usage = usage;
    vsnprintf(failure->text, sizeof(failure->text), format, args);
}

int vd_fail(struct vd_failure *failure, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fill(failure, code, false, format, args);
    va_end(args);
    return code;
}

int vd_fail_usage(struct vd_failure *failure, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fill(failure, -EINVAL, true, format, args);
    va_end(args);
    return -EINVAL;
}
