/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A daemon of a test's own: in a thread of the test (so that sanitizers see it and steps can be made to fail), or the
 * program itself in a process.
 */
#ifndef TESTS_DEXTD_RIG_H
#define TESTS_DEXTD_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "dext/host/server.h"
#include "raw.h"

/* In a thread. Zeroed, with what is wanted set, before rig_start(). */
struct rig {
    struct dextd_settings settings;
    struct vd_env env;
    struct dextd_server *server;
    pthread_t thread;
    char directory[64], path[96];
    atomic_long live;    /* allocations of the daemon's that are not freed yet */
    atomic_long fail_in; /* the step that fails, counted from now: 1 is the next; 0: none */
    atomic_uint failed;  /* steps that did */
    atomic_uint errors;  /* lines logged as errors */
};

/* With NULL-terminated devices plugged in. */
void rig_start(struct rig *rig, const char *const *devices);
/* Nothing may be left of the daemon, and it may have logged no error. */
void rig_stop(struct rig *rig);
/* The same when errors were provoked. */
void rig_stop_after_errors(struct rig *rig);

/* The program, which $1 of the test names. */
struct process {
    pid_t pid;
    char directory[64], path[96];
};

void process_start(struct process *process, const char *program, const char *const *arguments,
                   unsigned most_descriptors);
/* Ends it by a signal; its exit code, or -1. */
int process_stop(struct process *process, int signal);

unsigned open_descriptors(void);

#endif
