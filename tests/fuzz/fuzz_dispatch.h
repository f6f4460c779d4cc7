/* SPDX-License-Identifier: BSD-3-Clause */
/* The record that the dispatch fuzzer's inputs are rows of; `size` bytes follow it. */
#ifndef TESTS_FUZZ_FUZZ_DISPATCH_H
#define TESTS_FUZZ_FUZZ_DISPATCH_H

#include <stdint.h>

#include "proto/vfio_user.h"

enum {
    FUZZ_FDS = 0x07,    /* of kind: how many descriptors go along */
    FUZZ_RAW = 0x80,    /* of kind: the bytes are sent as they are */
    FUZZ_PAYLOAD = 255, /* most bytes that follow a record */
};

struct fuzz_record {
    uint8_t kind;
    uint8_t command;
    uint8_t flags;
    uint8_t id;
    uint8_t size;
};

#endif
