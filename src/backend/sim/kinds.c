/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What can be simulated, for people: the option tables of sim/ in the public form. They are tables of other files, which
 * C cannot join at compile time, so they are joined once, at the first question; constant from then on.
 */
#include "backend/sim/sim.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>

#include "sim/bus.h"

enum { MAX_KINDS = 4, MAX_OPTIONS = 64, MAX_ADDRESS = 32 };

static struct {
    pthread_once_t once;
    struct vd_device_kind kinds[MAX_KINDS];
    struct vd_device_option options[MAX_KINDS][MAX_OPTIONS];
    char addresses[MAX_KINDS][MAX_ADDRESS];
} table = {.once = PTHREAD_ONCE_INIT};

static size_t join(struct vd_device_option *out, size_t used, const struct sim_option *rows, size_t count)
{
    assert(used + count <= MAX_OPTIONS);
    for (size_t i = 0; i < count; i++)
        out[used + i] = (struct vd_device_option){.key = rows[i].key,
                                                  .values = rows[i].values,
                                                  .fallback = rows[i].fallback ? rows[i].fallback : "",
                                                  .help = rows[i].help};
    return used + count;
}

static void fill(void)
{
    const struct sim_endpoint_ops *ops;

    for (size_t i = 0; (ops = sim_endpoint_kind(i)) != NULL; i++) {
        size_t used;

        assert(i < MAX_KINDS);
        used = join(table.options[i], 0, ops->options, ops->nr_options);
        used = join(table.options[i], used, sim_dart_options, sim_dart_nr_options);
        snprintf(table.addresses[i], MAX_ADDRESS, "sim:%s", ops->kind);
        table.kinds[i] = (struct vd_device_kind){.address = table.addresses[i],
                                                 .summary = ops->summary,
                                                 .options = table.options[i],
                                                 .nr_options = used};
    }
}

const struct vd_device_kind *vd_sim_device_kind(size_t i)
{
    pthread_once(&table.once, fill);
    return sim_endpoint_kind(i) ? &table.kinds[i] : NULL;
}
