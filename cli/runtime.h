/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The directory for sockets: $XDG_RUNTIME_DIR/viaduct, else /run/viaduct for root, else /tmp/viaduct-<uid>. It is
 * private (0700, our own, not a link): whoever can open a socket in it controls a device.
 */
#ifndef CLI_RUNTIME_H
#define CLI_RUNTIME_H

#include <stdbool.h>

/* The directory's path, in fresh memory; it may not exist. */
char *runtime_path(void);
/*
 * Makes the directory when it is missing, and checks it. 0, or -errno with *why (fresh memory) saying what is wrong
 * and what to do.
 */
int runtime_prepare(const char *path, char **why);
/* The same check without making it: -ENOENT, with *why NULL, when it is missing. */
int runtime_check(const char *path, char **why);
/*
 * A fresh private directory in it for this process's sockets, in fresh memory; NULL with *why. Removes those of
 * processes that are gone.
 */
char *runtime_make_private(const char *path, char **why);
/* Removes such a directory with what is in it. NULL is fine. */
void runtime_remove_private(const char *directory);
/* True when a process with that id exists. */
bool runtime_is_alive(long pid);

#endif
