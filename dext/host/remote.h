/* SPDX-License-Identifier: BSD-3-Clause */
/* The verbs from the command line's side. */
#ifndef DEXT_HOST_REMOTE_H
#define DEXT_HOST_REMOTE_H

#include "options.h"

/* Sends options->verb to the daemon that listens, and prints its answer. An enum dextd_exit. */
int dextd_remote(const struct vd_env *env, const struct dextd_options *options);

#endif
