/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A simulated IOMMU. `chosen`: the caller picks bus addresses, as under Linux. `assigned`: it picks them itself, as
 * Apple's DART does under DriverKit: a fixed granule, a small aperture, a limit on mappings, first-fit allocation that
 * fragments, only granule alignment, optionally several bus segments for one mapping. Everything random comes from the
 * seed, so a run can be repeated.
 *
 * The device side translates bus addresses; what no mapping allows is refused, counted and recorded.
 *
 * Threads: one owner thread (that of the device); sim_dart_faults() from any.
 */
#ifndef SIM_DART_H
#define SIM_DART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/env.h"
#include "base/remote.h"
#include "sim/options.h"

enum sim_dart_mode { SIM_DART_CHOSEN, SIM_DART_ASSIGNED };
enum sim_access { SIM_READ = 1, SIM_WRITE = 2 };

/*
 * Set by address options; sim_dart_options describes them. Zero in a limit means the mode's default; "unlimited" is
 * UINT64_MAX once the defaults are in. An assigned base that is not given is picked from the seed: above 4 GiB and an
 * odd multiple of the granule, so that nothing is aligned to more than the granule by luck.
 */
struct sim_dart_config {
    unsigned mode;     /* iommu= : enum sim_dart_mode */
    uint64_t granule;  /* granule= : chosen 4 KiB, assigned 16 KiB */
    uint64_t aperture; /* aperture= bytes: chosen unlimited, assigned 1.5 GiB */
    uint64_t mappings; /* mappings= : chosen unlimited, assigned 65536 */
    uint64_t base;     /* base= first bus address: chosen 0, assigned above 4 GiB */
    uint64_t segments; /* segments= most per mapping: 1 */
    uint64_t seed;     /* seed= */
};

extern const struct sim_option sim_dart_options[];
extern const size_t sim_dart_nr_options;

struct sim_dart;
struct sim_dart_mapping;

struct sim_dart_segment {
    uint64_t iova;
    uint64_t size;
};

/*
 * One mapping to make.
 *
 * Chosen: iova and size are multiples of the granule. Assigned: any host address and size will do, as DriverKit maps the
 * pages that a buffer touches: the bus address keeps the buffer's offset in its granule, whole granules are charged, but
 * only the buffer itself can be reached (hardware would let the device at the rest of the pages as well).
 */
struct sim_dart_map {
    void *host;                     /* NULL with remote */
    const struct vd_remote *remote; /* copied; its opaque outlives the mapping */
    uint64_t remote_address;
    uint64_t size;
    unsigned access; /* enum sim_access */
    uint64_t iova;   /* chosen */
    struct sim_dart_segment *segments;
    uint32_t max_segments;
    uint32_t nr_segments;             /* out */
    struct sim_dart_mapping *mapping; /* out */
};

/* What went wrong last, for messages and tests: the part of the access from its first refused address on. */
struct sim_dart_fault {
    uint64_t iova;
    uint64_t size;
    unsigned access;
};

/* Creates; applies the mode's defaults to *config first (and writes them back). 0; -EINVAL with *failure; -ENOMEM. */
int sim_dart_create(const struct vd_env *env, struct sim_dart_config *config, struct sim_dart **out,
                    struct vd_failure *failure);
/* Mappings that are left are an error of the caller: counted as faults, then released. NULL is allowed. */
void sim_dart_destroy(struct sim_dart *dart);

/*
 * Asked to finish every access in flight before memory is unmapped (accesses pinned by sim_dart_iov()); afterwards
 * nothing may be pinned.
 */
void sim_dart_set_quiesce(struct sim_dart *dart, void (*quiesce)(void *opaque), void *opaque);

/*
 * Host side. Errors: -EEXIST overlap (chosen); -ENOSPC bytes, mappings or no free span; -ENOBUFS the host came up with
 * more segments than there is room for; -EINVAL size 0, wraps, not granular (chosen), no access, or both or neither of
 * host and remote; -ERANGE outside the aperture (chosen); -ENOMEM. Segments come in the order of the buffer; their bus
 * addresses in no order.
 */
int sim_dart_map(struct sim_dart *dart, struct sim_dart_map *map);
/* Quiesces first when the mapping is pinned (a pin that is left then is counted as a fault). Cannot fail. */
void sim_dart_unmap(struct sim_dart *dart, struct sim_dart_mapping *mapping);

/* Device side: copies. 0; -EFAULT refused (counted); -EIO from a remote. A remote copy may re-enter the device. */
int sim_dart_read(struct sim_dart *dart, uint64_t iova, void *buffer, size_t size);
int sim_dart_write(struct sim_dart *dart, uint64_t iova, const void *buffer, size_t size);

/*
 * Device side: appends the host memory behind [iova, iova + size) to iov[*count..max), merging neighbours. The memory
 * is pinned until sim_dart_unpin(). 0; -EFAULT refused (counted); -EREMOTE part of it has no host memory: copy instead;
 * -ENOBUFS more than `max` pieces. On failure *count is as before and nothing more is pinned.
 */
int sim_dart_iov(struct sim_dart *dart, uint64_t iova, uint64_t size, enum sim_access access,
                 struct iovec *iov, unsigned *count, unsigned max);
/* Undoes one successful sim_dart_iov() of that range. Without one: counted as a fault. */
void sim_dart_unpin(struct sim_dart *dart, uint64_t iova, uint64_t size);

/*
 * Device side: the host memory of [iova, iova + size) as one piece, for rings and shadow doorbells that are read again
 * and again; NULL when it is not one piece of host memory (not counted as a fault). Valid until *generation, which
 * changes with every unmap, changes.
 */
void *sim_dart_peek(struct sim_dart *dart, uint64_t iova, uint64_t size, enum sim_access access);
/* Changes whenever a mapping goes away. */
uint64_t sim_dart_generation(const struct sim_dart *dart);

/* Counts and records an access that was refused before it got here (bus mastering off). */
void sim_dart_refuse(struct sim_dart *dart, uint64_t iova, uint64_t size, enum sim_access access);
/* Accesses refused and misuse seen so far (any thread), and the last one (owner's thread). */
uint64_t sim_dart_faults(const struct sim_dart *dart);
struct sim_dart_fault sim_dart_last_fault(const struct sim_dart *dart);
/* What is mapped now. */
uint64_t sim_dart_mapped_bytes(const struct sim_dart *dart);
uint64_t sim_dart_mapped_count(const struct sim_dart *dart);

#endif
