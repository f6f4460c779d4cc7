/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A failure that a person will read: an errno and one sentence that names the option, the value, what is allowed and
 * what to do. The public vd_error has this very layout (core checks it).
 */
#ifndef VD_BASE_FAILURE_H
#define VD_BASE_FAILURE_H

#include <stdbool.h>

enum { VD_FAILURE_TEXT = 512 };

struct vd_failure {
    int code;   /* negative errno; 0 when nothing failed */
    bool usage; /* the caller's words were wrong, rather than the world */
    char text[VD_FAILURE_TEXT];
};

/* Fills *failure (NULL allowed) and returns `code`, so that a caller can `return vd_fail(...)`. */
int vd_fail(struct vd_failure *failure, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for wrong usage: sets `usage` and returns -EINVAL. */
int vd_fail_usage(struct vd_failure *failure, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Puts "prefix: " before a failure of a layer that does not know it (cutting both to fit), and returns `code`, which
 * becomes the failure's. What was wrong usage stays that. NULL allowed.
 */
int vd_fail_prefix(struct vd_failure *failure, const char *prefix, int code);

#endif
