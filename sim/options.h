/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * key=value options of simulated machines, as data: one row per key, so that parsing, the error text, `viaduct list`
 * and the man page agree. "sim:nvme,iommu=assigned,aperture=64M" has kind "nvme" and two options.
 */
#ifndef SIM_OPTIONS_H
#define SIM_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/failure.h"

enum sim_option_type {
    SIM_OPTION_UINT, /* decimal or 0x; stored as uint64_t */
    SIM_OPTION_SIZE, /* the same with an optional K, M, G or T (powers of 1024); stored as uint64_t */
    SIM_OPTION_BOOL, /* on or off; stored as bool */
    SIM_OPTION_ENUM, /* one of `names`; its index stored as unsigned */
    SIM_OPTION_TEXT, /* any text; stored as char *, allocated, owned by the values struct */
};

struct sim_option {
    const char *key;
    enum sim_option_type type;
    bool power_of_two;        /* UINT and SIZE */
    size_t offset;            /* of the field in the values struct */
    uint64_t min, max;        /* UINT and SIZE, inclusive; max 0: no upper limit */
    const char *const *names; /* ENUM, NULL-terminated */
    const char *values;       /* what is allowed, for people */
    const char *fallback; /* the default, as text: parsed into the values first; NULL: the field stays zero */
    const char *help;     /* one line */
};

/* A table and the struct its rows describe. All sets of one parse have at most 64 rows together. */
struct sim_option_set {
    const struct sim_option *options;
    size_t count;
    void *values;
};

/*
 * Sets every default, then reads `text` ("a=1,b=2"; "" for none; ",," stands for a comma inside a value). A key must be
 * in one of the sets and may be given once. 0; -EINVAL with *failure naming `address`, the key, the value and what is
 * allowed; -ENOMEM. On failure the values are finished already.
 */
int sim_options_parse(const struct vd_env *env, const char *address, const char *text,
                      const struct sim_option_set *sets, size_t nr_sets, struct vd_failure *failure);
/* Releases the TEXT values. */
void sim_options_finish(const struct vd_env *env, const struct sim_option_set *sets, size_t nr_sets);

#endif
