/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device as core keeps it: a host back end's device with validation, accounting and interrupt state around it.
 *
 * Lock rule: everything belongs to the thread that uses the device, except `irq_lock`, which protects the vectors'
 * state because a back end may signal from any thread, and the atomics, which any thread may read. A device that has a
 * companion is used by two threads: whoever works on it holds `lock`. A companion's own lock is taken first.
 */
#ifndef VD_CORE_DEVICE_H
#define VD_CORE_DEVICE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/tree.h"
#include "core/backend.h"
#include "core/config.h"
#include "core/context.h"
#include "core/quirk.h"

/* One interrupt vector. fd, watch, masked and pending under irq_lock. */
struct vd_vector {
    int fd;       /* the write end to signal, owned; -1: unrouted */
    int watch[2]; /* by enum vd_irq_moment, owned; -1: nobody asked */
    bool masked;
    bool pending; /* fired while masked or unrouted; signalled once that ends */
    _Atomic uint64_t signals;
};

struct vd_irq_state {
    struct vd_vector *vectors; /* info.irqs[index].count of them; NULL when 0 */
    uint32_t enabled;          /* vectors the host was told are in use; 0: the kind is off */
};

/* Counters of one region. */
struct vd_region_counters {
    _Atomic uint64_t reads, writes, read_bytes, written_bytes, errors;
};

/* What is mapped: see dma.c. */
struct vd_dma_state {
    struct vd_dma_scratch *scratch;  /* for hosts that take large batches; NULL: the stack will do */
    struct vd_tree chosen;           /* by bus address; empty when the host assigns them */
    struct vd_dma_mapping *live;     /* every live mapping */
    struct vd_dma_mapping *released; /* taken away by quiesce, not yet given back by their holders */
    _Atomic uint64_t bytes, mappings, peak_bytes, peak_mappings;
    _Atomic uint64_t quota_bytes, quota_mappings;
    _Atomic uint64_t taken; /* mappings that were released under their holders, ever */
};

enum {
    VD_CLIENT_UNSERVED = -1, /* no server offers it: whoever has the C API uses it */
    VD_CLIENT_NONE = 0,
    VD_CLIENT_UNKNOWN = 1, /* a process whose number is not to be had */
};

struct vd_device {
    const struct vd_env *env;
    const struct vd_backend_ops *ops;
    void *host;
    struct vd_host_info info;
    struct vd_host_events events;
    struct vd_device_info identity;
    char *address;
    struct vd_config *config; /* NULL: the host virtualises config space itself */
    uint8_t *rom;             /* the expansion ROM's bytes when they come from a file, else NULL */
    struct vd_windows windows;

    pthread_mutex_t lock;
    _Atomic unsigned waiting; /* threads that want `lock` from the one that uses the device all the time */
    bool has_companion;
    bool held;              /* see vd_device_hold() */
    int client;             /* the process whose session has the device; VD_CLIENT_NONE, VD_CLIENT_UNSERVED */
    _Atomic uint64_t epoch; /* moves whenever a user of the device comes or leaves */
    unsigned complaints;    /* lines logged about a host that refuses to stop or hold it */

    pthread_mutex_t irq_lock;
    struct vd_irq_state irqs[VD_IRQ_COUNT];
    bool intx_asserted; /* under irq_lock: the level of the line as last reported */

    struct vd_region_counters regions[VD_REGION_COUNT];
    struct vd_dma_state dma;
    _Atomic bool gone;
    _Atomic uint64_t resets, device_errors;
};

/*
 * Opens `address` through one back end; what vd_device_open() does once it knows which. Errors and ownership as there.
 */
int vd_device_create(struct vd_context *context, const struct vd_backend_ops *ops, const char *address,
                     const struct vd_device_options *options, struct vd_device **out,
                     struct vd_failure *failure);

/*
 * The same for a host device that is open already: what the device model of a companion becomes. `host` is taken over on
 * success only, and closed by ops->close(). 0; -ENOMEM; the errors of virtualising config space.
 */
int vd_device_adopt(struct vd_context *context, const struct vd_backend_ops *ops, const char *address,
                    void *host, const struct vd_host_info *info, struct vd_device **out,
                    struct vd_failure *failure);

/*
 * The lock of a device that two threads use. vd_device_lock() is for the one that comes now and then; the thread that
 * serves the device takes it by vd_device_enter(), which lets those that wait go first. Not recursive.
 */
void vd_device_lock(struct vd_device *device);
void vd_device_enter(struct vd_device *device);
void vd_device_unlock(struct vd_device *device);

/*
 * Held, a device is there and yet does nothing: its BARs and its ROM read all ones and take no write, and bus mastering
 * is not forwarded. Config space works. Letting go forwards what the guest has in COMMAND; where areas of BARs can be mapped, and so
 * could be written meanwhile, it resets the function first. Needs virtualised config space. With the lock.
 */
void vd_device_hold(struct vd_device *device, bool hold);

/* Bus mastering off and read back, then a reset, as far as the host can; mappings stay. Cannot fail. With the lock. */
void vd_device_stop(struct vd_device *device);

/* Tells a device model of a client's guest memory (backend.h); nothing for others. */
void vd_device_guest_memory(struct vd_device *device, const struct vd_guest_memory *memory);

/* Finds the windows, and makes areas and flags consistent with them and with each other: region.c. */
void vd_regions_init(struct vd_device *device);

/*
 * Reads the file of an expansion ROM, padded to a power of two: rom.c. *rom is to be released with vd_env_free().
 * @return 0; -EINVAL not a regular file, empty, or over 16 MiB; -ENOMEM; what open() and read() answered
 */
int vd_rom_load(const struct vd_env *env, const char *address, const char *path, uint8_t **rom,
                uint64_t *size, struct vd_failure *failure);

/* Interrupt state: irq.c. */
int vd_irq_state_init(struct vd_device *device);
void vd_irq_state_finish(struct vd_device *device);
void vd_irq_disable_all(struct vd_device *device);
void vd_irq_fired(void *opaque, unsigned index, uint32_t vector);
void vd_irq_line_changed(void *opaque, bool asserted);

/* DMA state: dma.c. */
int vd_dma_state_init(struct vd_device *device);
/* Unmaps everything; the holders' handles stay valid until they give them back or the device closes. */
void vd_dma_release_all(struct vd_device *device);
/* False once it was released under its holder. */
bool vd_dma_is_live(const struct vd_dma_mapping *mapping);
void vd_dma_state_finish(struct vd_device *device);

static inline void vd_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static inline uint64_t vd_counted(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

#endif
