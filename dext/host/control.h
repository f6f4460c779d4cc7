/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands for people and tests, as text over any connection (VD_DEXT_CONTROL): a verb, and for some one space and an
 * argument. The answer is a status and text: of `list` a JSON document, of a refusal one sentence, else nothing.
 */
#ifndef DEXT_HOST_CONTROL_H
#define DEXT_HOST_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#include "base/cursor.h"

struct dextd_server;

enum { DEXTD_CONTROL_MAX = 4096 }; /* bytes of a command */

/* A verb, for the server that carries it out and for the command line that sends it. */
struct dextd_verb {
    const char *name;
    const char *argument; /* what it takes, for people; NULL: nothing */
    const char *summary;
};

/* The i-th verb, NULL past the end. */
const struct dextd_verb *dextd_verb(size_t i);

/* Carries out the command text[0..size) (no NUL at its end) and writes the answer. An enum vd_dext_return. */
int dextd_control(struct dextd_server *server, const uint8_t *text, size_t size, struct vd_writer *answer);

#endif
