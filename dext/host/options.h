/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of viaduct-dextd: what to serve, or which verb to send to one that runs. */
#ifndef DEXT_HOST_OPTIONS_H
#define DEXT_HOST_OPTIONS_H

#include "control.h"
#include "dext/core/dext.h"
#include "machine.h"

/* Exit codes: FAILED is the world's fault, USAGE the command line's. */
enum dextd_exit { DEXTD_OK = 0, DEXTD_FAILED = 1, DEXTD_USAGE = 2 };

struct dextd_options {
    const struct dextd_verb *verb; /* NULL: serve */
    const char *argument;          /* of the verb; NULL: none */
    bool json;
    unsigned verbosity;
    const char *socket;
    char place[256]; /* of the socket, when it was not given */
    struct vd_dext_quota quota;
    const char *devices[DEXTD_MAX_FUNCTIONS]; /* function 0 of each device before its others */
    unsigned nr_devices;
};

/*
 * Reads the command line; the texts are argv's. True: go on. False: exit with *status, after what was printed: help or the
 * version, or what is wrong.
 */
bool dextd_options_parse(int argc, char **argv, struct dextd_options *out, int *status);

/* "viaduct-dextd: error: ..." on standard error; returns DEXTD_USAGE or DEXTD_FAILED. */
int dextd_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
int dextd_failed(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same for a failure of the library's, after the option it belongs to ("" for none). */
int dextd_refused(const char *option, const struct vd_failure *failure);
/* Flushes standard output; DEXTD_FAILED with a message when what was printed did not arrive, else `status`. */
int dextd_finish_output(int status);

#endif
