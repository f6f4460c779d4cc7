/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What `viaduct doctor` asks a Mac. The answers come from the system's own programs, found in $PATH and read by
 * mac_parse.h, so that all of this runs anywhere with stand-ins for them.
 */
#ifndef CLI_MAC_H
#define CLI_MAC_H

#include "finding.h"

/* True on macOS, and where $VIADUCT_DOCTOR_MAC says so: 1, or a directory that stands for the root of a Mac. */
bool mac_wanted(void);
/* Checks the system, its protection, the extension, who may use it, and the Thunderbolt ports. */
void mac_check(struct findings *findings);

#endif
