/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Surroundings for the tests of sim/: an env that counts what is allocated, keeps the last log line, and fails the n-th
 * step that can fail; and the loop that runs an operation under each such failure.
 */
#ifndef TESTS_SIM_HARNESS_H
#define TESTS_SIM_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>

#include "base/env.h"

struct harness {
    struct vd_env env;
    size_t live;      /* allocations not yet freed */
    uint64_t steps;   /* steps that could have failed so far */
    uint64_t fail_at; /* the step that fails; 0: none */
    char line[1024];  /* the last log line */
    unsigned lines;
};

static inline void *harness_alloc(void *opaque, size_t size)
{
    struct harness *h = opaque;

    h->live++;
    return calloc(1, size);
}

static inline void harness_free(void *opaque, void *memory)
{
    struct harness *h = opaque;

    h->live--;
    free(memory);
}

static inline bool harness_fault(void *opaque, const char *site)
{
    struct harness *h = opaque;

    (void)site;
    return ++h->steps == h->fail_at;
}

static inline void harness_log(void *opaque, enum vd_env_level level, const char *line)
{
    struct harness *h = opaque;

    (void)level;
    h->lines++;
    snprintf(h->line, sizeof(h->line), "%s", line);
}

static inline void harness_init(struct harness *h)
{
    memset(h, 0, sizeof(*h));
    vd_env_init_default(&h->env);
    h->env.alloc = harness_alloc;
    h->env.free = harness_free;
    h->env.fault = harness_fault;
    h->env.log = harness_log;
    h->env.opaque = h;
}

static inline unsigned open_descriptors(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/*
 * Runs `operation` with its first step failing, then its second, and so on until it gets through. It returns 0 or its
 * error and cleans up after itself either way; after each run nothing may be left. The number of failures seen.
 */
static inline unsigned fail_each_step(struct harness *h, int (*operation)(struct harness *h))
{
    unsigned before = open_descriptors();
    unsigned failures = 0;

    for (uint64_t n = 1;; n++) {
        int err;

        assert_true(n < 1000);
        h->steps = 0;
        h->fail_at = n;
        err = operation(h);
        assert_int_equal(h->live, 0);
        assert_int_equal(open_descriptors(), before);
        if (h->steps < n) {
            assert_int_equal(err, 0);
            break;
        }
        assert_true(err < 0);
        failures++;
    }
    h->fail_at = 0;
    return failures;
}

#endif
