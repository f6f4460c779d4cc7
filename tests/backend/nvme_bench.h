/* SPDX-License-Identifier: BSD-3-Clause */
/* The bench that the tests of nvme_suite.c work at: a device of one configuration, opened and driven. */
#ifndef TESTS_BACKEND_NVME_BENCH_H
#define TESTS_BACKEND_NVME_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdatomic.h>

#include "dextd.h"
#include "nvme_exerciser.h"

struct configuration {
    const char *name, *address;
    struct ex_options options;
    bool file;         /* the address gets ",image=" and a file of its own */
    const char *dextd; /* the device is "01:00.0=<this>" of a viaduct-dextd of its own; address is not used */
};

/* What a test has: a context that counts allocations, an open device and an exerciser, brought up unless said. */
struct bench {
    const struct configuration *configuration;
    _Atomic(size_t) live;
    _Atomic(uint64_t) steps;
    uint64_t fail_at;
    struct vd_context *context;
    struct vd_device *device;
    struct exerciser ex;
    char address[256], image[64];
    struct dextd dextd;
};

/* Makes the context and the image; opens the device too; starts the exerciser too. *state is the configuration. */
void bench_prepare(struct bench *bench, void **state);
void bench_open(struct bench *bench, void **state);
void bench_start(struct bench *bench, void **state);
/* Undoes whichever it was; nothing may be left allocated. */
void bench_close(struct bench *bench);

#endif
