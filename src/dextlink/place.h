/* SPDX-License-Identifier: BSD-3-Clause */
/* Where viaduct-dextd and its clients meet when nobody says otherwise. */
#ifndef VD_DEXTLINK_PLACE_H
#define VD_DEXTLINK_PLACE_H

#include <stddef.h>

/*
 * Writes the socket's usual place: $VIADUCT_DEXTD, else $XDG_RUNTIME_DIR/viaduct-dextd.sock, else
 * /run/viaduct-dextd.sock; an empty variable counts as unset. 0; -ENAMETOOLONG, and *path is "".
 */
int vd_link_usual_place(char *path, size_t size);

#endif
