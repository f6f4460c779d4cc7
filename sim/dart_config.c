/* SPDX-License-Identifier: BSD-3-Clause */
/* Options of the simulated IOMMU, their defaults and what fits together; see dart.h. No state, no lock. */
#include "sim/dart_config.h"

#include <inttypes.h>

#include "base/range.h"

enum { MAX_SEGMENTS = 64 };

static const uint64_t KIB = 1024, GIB = 1024 * 1024 * 1024;

static const char *const mode_names[] = {"chosen", "assigned", NULL};

#define FIELD(name) offsetof(struct sim_dart_config, name)

const struct sim_option sim_dart_options[] = {
    {"iommu", SIM_OPTION_ENUM, .offset = FIELD(mode), .names = mode_names, .values = "chosen, assigned",
     .fallback = "chosen",
     .help = "who picks bus addresses: the caller, as under Linux, or the IOMMU, as on Apple Silicon"},
    {"granule", SIM_OPTION_SIZE, .offset = FIELD(granule), .min = 4096, .max = 2097152, .power_of_two = true,
     .values = "a power of two from 4K to 2M",
     .help = "size of an IOMMU page; 4K when chosen, 16K when assigned"},
    {"aperture", SIM_OPTION_SIZE, .offset = FIELD(aperture), .min = 4096,
     .values = "a multiple of the granule",
     .help = "bytes of bus address space; unlimited when chosen, 1536M when assigned"},
    {"mappings", SIM_OPTION_UINT, .offset = FIELD(mappings), .min = 1, .values = "a number from 1",
     .help = "most mappings at once; unlimited when chosen, 65536 when assigned"},
    {"base", SIM_OPTION_SIZE, .offset = FIELD(base), .values = "a multiple of the granule",
     .help = "first bus address; 0 when chosen, picked from the seed above 4G when assigned"},
    {"segments", SIM_OPTION_UINT, .offset = FIELD(segments), .min = 1, .max = MAX_SEGMENTS,
     .values = "a number from 1 to 64", .fallback = "1",
     .help = "most bus segments that one mapping is split into; more than 1 only when assigned"},
    {"seed", SIM_OPTION_UINT, .offset = FIELD(seed), .values = "a number", .fallback = "1",
     .help = "start of everything random, so that a run can be repeated"},
};
const size_t sim_dart_nr_options = sizeof(sim_dart_options) / sizeof(sim_dart_options[0]);

/* splitmix64: small, and any seed will do. */
uint64_t sim_dart_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static void apply_defaults(struct sim_dart_config *c, uint64_t *random)
{
    bool assigned = c->mode == SIM_DART_ASSIGNED;

    if (!c->granule)
        c->granule = assigned ? 16 * KIB : 4 * KIB;
    if (!c->aperture)
        c->aperture = assigned ? GIB + GIB / 2 : UINT64_MAX;
    if (!c->mappings)
        c->mappings = assigned ? 65536 : UINT64_MAX;
    if (!c->segments)
        c->segments = 1;
    if (!c->base && assigned)
        c->base = 4 * GIB + (sim_dart_random(random) % 65536 * 2 + 1) * c->granule;
}

static int check_alignment(const struct sim_dart_config *c, struct vd_failure *failure)
{
    bool unlimited = c->aperture == UINT64_MAX && c->mode == SIM_DART_CHOSEN;

    if (!unlimited && !vd_is_aligned(c->aperture, c->granule))
        return vd_fail_usage(failure,
                             "option 'aperture' is %" PRIu64 ": not a multiple of the granule, %" PRIu64,
                             c->aperture, c->granule);
    if (!vd_is_aligned(c->base, c->granule))
        return vd_fail_usage(failure,
                             "option 'base' is %#" PRIx64 ": not a multiple of the granule, %#" PRIx64,
                             c->base, c->granule);
    return 0;
}

int sim_dart_config_settle(struct sim_dart_config *config, uint64_t *random, uint64_t *last,
                           struct vd_failure *failure)
{
    struct vd_range all = {config->base, UINT64_MAX};
    int err;

    if (config->mode > SIM_DART_ASSIGNED || config->segments > MAX_SEGMENTS ||
        (config->granule && !vd_is_power_of_two(config->granule)))
        return vd_fail_usage(failure, "the IOMMU's mode, granule or segments are out of range");
    apply_defaults(config, random);
    if (config->segments > 1 && config->mode != SIM_DART_ASSIGNED)
        return vd_fail_usage(failure,
                             "option 'segments' is %" PRIu64 ": more than 1 only with iommu=assigned",
                             config->segments);
    err = check_alignment(config, failure);
    if (err)
        return err;
    if (config->aperture != UINT64_MAX && !vd_range_make(config->base, config->aperture, &all))
        return vd_fail_usage(failure,
                             "options 'base' %#" PRIx64 " and 'aperture' %#" PRIx64 " reach beyond 64 bits",
                             config->base, config->aperture);
    *last = all.last;
    return 0;
}
