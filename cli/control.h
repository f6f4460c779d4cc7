/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How `viaduct stats` reaches a running `serve` or `run`: a Unix socket named <pid>.sock in the runtime directory.
 * Whoever connects gets one JSON document and the end of file. Nothing is read from the peer.
 */
#ifndef CLI_CONTROL_H
#define CLI_CONTROL_H

#include "endpoint.h"

struct control {
    int fd; /* -1: closed */
    char *path;
};

/* Opens the socket; on failure warns and stays closed: a server without statistics is still a server. */
void control_open(struct control *control);
/* Answers everybody who waits. A peer that does not read within a second is left. */
void control_answer(const struct control *control, const struct endpoints *endpoints);
/* Closes and removes. */
void control_close(struct control *control);

/* Reads the document of the server at `path` into fresh memory: 0; -ECONNREFUSED nobody listens; another -errno. */
int control_read(const char *path, char **out);

#endif
