/* SPDX-License-Identifier: BSD-3-Clause */
/* The DART's settings and its randomness, shared by dart.c and dart_config.c only. */
#ifndef SIM_DART_CONFIG_H
#define SIM_DART_CONFIG_H

#include "sim/dart.h"

/* The next number of a repeatable series; *state starts as the seed. */
uint64_t sim_dart_random(uint64_t *state);
/*
 * Puts in the mode's defaults and checks the whole; *last becomes the highest bus address. 0; -EINVAL with *failure
 * naming the option.
 */
int sim_dart_config_settle(struct sim_dart_config *config, uint64_t *random, uint64_t *last,
                           struct vd_failure *failure);

#endif
