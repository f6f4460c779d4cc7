/* SPDX-License-Identifier: BSD-3-Clause */
/* Filling in a failure; see failure.h. */
#include "base/failure.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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

int vd_fail_prefix(struct vd_failure *failure, const char *prefix, int code)
{
    char text[VD_FAILURE_TEXT];
    bool usage;

    if (!failure)
        return code;
    usage = failure->usage;
    memcpy(text, failure->text, sizeof(text));
    text[sizeof(text) - 1] = 0;
    vd_fail(failure, code, "%.120s: %.380s", prefix, text);
    failure->usage = usage;
    return code;
}
