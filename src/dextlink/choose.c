/* SPDX-License-Identifier: BSD-3-Clause */
/* Which implementation a place belongs to, and the usual place; see link.h and place.h. */
#include "dextlink/link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "dextlink/place.h"

static const char *variable(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

int vd_link_usual_place(char *path, size_t size)
{
    const char *place = variable("VIADUCT_DEXTD");
    const char *directory = variable("XDG_RUNTIME_DIR");
    int length;

    if (place)
        length = snprintf(path, size, "%s", place);
    else
        length = snprintf(path, size, "%s/viaduct-dextd.sock", directory ? directory : "/run");
    if (length >= 0 && (size_t)length < size)
        return 0;
    path[0] = 0;
    return -ENAMETOOLONG;
}

const struct vd_link_ops *vd_link_choose(const char *where)
{
#ifdef __APPLE__
    if (!where)
        return &vd_link_iokit;
#else
    (void)where;
#endif
    return &vd_link_socket;
}
