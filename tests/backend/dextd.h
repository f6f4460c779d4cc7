/* SPDX-License-Identifier: BSD-3-Clause */
/* A viaduct-dextd of a test's own: started with one device or more, ended and judged at the end. */
#ifndef TESTS_BACKEND_DEXTD_H
#define TESTS_BACKEND_DEXTD_H

#include <stdbool.h>
#include <sys/types.h>

struct dextd {
    pid_t pid;          /* 0: not running */
    char directory[64]; /* of the socket */
    char socket[96];
};

/*
 * Starts the program that $VIADUCT_DEXTD_PROGRAM names with `--device DEVICE` for each of the NULL-terminated devices
 * and waits until it listens. Fails the test when it does not.
 */
void dextd_start(struct dextd *dextd, const char *const *devices);
/* The same with one device at 01:00.0, what follows "01:00.0=" being `device`; *address is how to open it. */
void dextd_start_one(struct dextd *dextd, const char *device, char *address, size_t size);
/* Ends it with SIGTERM: it must exit with 0. Does nothing when it was not started. */
void dextd_stop(struct dextd *dextd);
/* What `viaduct-dextd VERB [ARGUMENT]` prints; its exit code. */
int dextd_control(const struct dextd *dextd, const char *verb, const char *argument, char *out, size_t size);
/* A number of the JSON that `list --json` prints for a device: the value behind "key": after "address":"ADDRESS". */
long long dextd_number(const struct dextd *dextd, const char *address, const char *key);

#endif
