/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that can only be reached by asking its owner: guest memory for which the VMM handed over no file
 * descriptor. An access may take a message round trip and, while it waits, run other requests of the same client.
 * So a caller holds no translated pointer across it and checks afterwards whether it was reset meanwhile.
 */
#ifndef VD_BASE_REMOTE_H
#define VD_BASE_REMOTE_H

#include <stddef.h>
#include <stdint.h>

struct vd_remote {
    /* Both: `address` is the guest-physical address. 0; -EIO when the owner refuses or is gone; -ETIMEDOUT. */
    int (*read)(void *opaque, uint64_t address, void *buffer, size_t size);
    int (*write)(void *opaque, uint64_t address, const void *buffer, size_t size);
    void *opaque;
};

#endif
