/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What `viaduct-dextd list` shows: a JSON document made by the daemon, and the same for people made from it by the command.
 * viaduct-dextd(1) describes its members.
 */
#ifndef DEXT_HOST_REPORT_H
#define DEXT_HOST_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/cursor.h"

struct dextd_server;

/* Writes the document. False: out of memory, or no room. On the server's thread. */
bool dextd_report(struct dextd_server *server, struct vd_writer *out);
/* Prints a document for people on standard output. False: it is none. */
bool dextd_report_print(const char *document);

#endif
