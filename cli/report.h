/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The statistics document: {"version", "pid", "endpoints": [...]}, as viaduct-stats(1) describes it.
 */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include "endpoint.h"

struct json_object;

/* The state of every endpoint now; the caller puts it. NULL when memory is short. */
struct json_object *report_create(const struct endpoints *endpoints);

#endif
