/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * errno as it travels: the protocol carries Linux numbers, and a host may number its errors differently (ETIMEDOUT is
 * 60 on macOS and 110 on Linux).
 */
#ifndef VD_CODEC_WIRE_ERRNO_H
#define VD_CODEC_WIRE_ERRNO_H

#include <stdint.h>

/* The wire number (positive) of a negative host errno; EIO's for what has none. */
uint32_t vd_wire_errno(int error);

#endif
