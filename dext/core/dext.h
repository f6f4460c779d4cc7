/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The brain of a DriverKit extension, in portable C: one `struct vd_dext` for each device the extension drives, one
 * `struct vd_dext_client` for each connection. The shell around it (dext/shell on a Mac, dext/host in tests) turns
 * system calls into vd_dext_call() and carries out what the hooks below ask for; every decision is made here.
 *
 * Uses no libc beyond memory functions, no OS header, no global state.
 *
 * Threads: the shell serialises everything (DriverKit: the default queue) except vd_dext_irq(), which any thread may
 * call from the start of a successful hw->irq_setup(), so before it has returned, to the return of hw->irq_teardown().
 * Errors: enum vd_dext_return, as int.
 */
#ifndef DEXT_CORE_DEXT_H
#define DEXT_CORE_DEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/dext_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vd_dext;
struct vd_dext_client;

enum vd_dext_log_level { VD_DEXT_LOG_ERROR, VD_DEXT_LOG_WARN, VD_DEXT_LOG_INFO };

/* What the core needs of its surroundings. */
struct vd_dext_os {
    void *opaque;
    void *(*alloc)(void *opaque, size_t size); /* zeroed, aligned for any type; NULL when short */
    void (*free)(void *opaque, void *memory, size_t size);
    /* A constant text with up to two numbers for the shell to append; no formatting happens here. */
    void (*log)(void *opaque, enum vd_dext_log_level level, const char *text, uint64_t a, uint64_t b);
    void (*sleep_us)(void *opaque, unsigned microseconds); /* while draining and resetting only */
};

/* What the device's IOMMU can do; constant. UINT64_MAX: no limit or not known. */
struct vd_dext_dma_limits {
    uint64_t granule; /* power of two */
    uint64_t bytes, mappings;
    uint64_t first, last;  /* bus addresses, inclusive */
    uint32_t max_segments; /* of one mapping; 1 to VD_DEXT_MAX_SEGMENTS */
};

/* A run of bus addresses. */
struct vd_dext_run {
    uint64_t address, size;
};

/*
 * The hardware, through the host's driver framework. `hw` is what vd_dext_create() was given. Unless said otherwise a
 * callback returns 0 or an enum vd_dext_return, VD_DEXT_NO_DEVICE once the device has been removed.
 *
 * All but open() and terminate() are called only between open() and close(). After vd_dext_gone() only those that give
 * something back are called: irq_teardown, dma_complete, buffer_destroy, page_destroy, complete, close.
 */
struct vd_dext_hw_ops {
    /*
     * Opens the provider for this extension: config space and BARs work until close(). For a claim, and for a moment when
     * the brain is created and when somebody asks for DESCRIBE while nobody has the claim.
     */
    int (*open)(void *hw);
    void (*close)(void *hw);

    void (*location)(void *hw, uint8_t *bus, uint8_t *device, uint8_t *function);
    const char *(*model)(void *hw); /* "" when nothing is known; NULL callback allowed */
    int (*config_read)(void *hw, uint32_t offset, uint32_t width, uint32_t *value);
    int (*config_write)(void *hw, uint32_t offset, uint32_t width, uint32_t value);
    /* BAR 0 to 5, or VD_DEXT_ROM; size 0 when there is none. */
    int (*bar_info)(void *hw, uint32_t bar, uint32_t *memory_index, uint64_t *size, uint32_t *type);
    /* The core has checked that [offset, offset + width) lies in a BAR of that memory index. */
    int (*mmio_read)(void *hw, uint32_t memory_index, uint64_t offset, uint32_t width, uint64_t *value);
    int (*mmio_write)(void *hw, uint32_t memory_index, uint64_t offset, uint32_t width, uint64_t value);

    /* Wants up to `max` message vectors, MSI-X before MSI; *count is what was got, 0 when there are none. */
    int (*irq_setup)(void *hw, uint32_t max, uint32_t *count);
    /* When it returns, vd_dext_irq() is not being called and will not be. */
    void (*irq_teardown)(void *hw);

    /* enum vd_dext_reset_kind that can be tried; siblings that are in use rule a hot reset out. */
    uint32_t (*reset_kinds)(void *hw);
    /* One kind. FLR and POWER are config writes that the core does itself when this is NULL for them: returns
     * VD_DEXT_UNSUPPORTED to ask for that. */
    int (*reset)(void *hw, enum vd_dext_reset_kind kind);

    void (*dma_limits)(void *hw, struct vd_dext_dma_limits *out);
    /*
     * Pins client memory and maps it for the device. `client` is the shell's own handle of the connection. Fills
     * runs[0..*nr). 0; NO_SPACE; NO_MEMORY; NOT_ALIGNED when more than max_runs are needed; BAD_ARGUMENT when the
     * client has no such memory. On failure nothing is left.
     */
    int (*dma_prepare)(void *hw, void *client, uint64_t address, uint64_t size, uint32_t access,
                       struct vd_dext_run *runs, uint32_t max_runs, uint32_t *nr, void **token);
    /* Undoes a prepare. Guarantee: no access by the device is in flight afterwards. Cannot fail. */
    void (*dma_complete)(void *hw, void *token);
    /* Reads 8 bytes of the mapped memory, inside it. */
    int (*dma_probe)(void *hw, void *token, uint64_t offset, uint64_t *value);
    /* Memory of the extension's own, mapped for the device and mappable by the client. */
    int (*buffer_create)(void *hw, uint64_t size, uint64_t alignment, struct vd_dext_run *run, void **token);
    void (*buffer_destroy)(void *hw, void *token);
    /* Accesses the IOMMU refused so far; NULL callback: cannot tell. */
    uint64_t (*faults)(void *hw);

    /* Shareable, zeroed memory of VD_DEXT_IRQ_PAGE_SIZE; *memory is its address here. */
    int (*page_create)(void *hw, void **memory, void **token);
    void (*page_destroy)(void *hw, void *token);

    /*
     * Completes an async call that vd_dext_call() answered with success: hands status and arguments to the client and
     * lets go of `async`. Called by the thread that calls into the core, vd_dext_irq()'s included, perhaps before the
     * vd_dext_call() that accepted it has returned. Must not call back into the core.
     */
    void (*complete)(void *hw, void *async, int status, const uint64_t *args, uint32_t nr_args);
    /* The instance is to end and be matched anew (VD_DEXT_TERMINATE); called last in the call. NULL allowed. */
    void (*terminate)(void *hw);
};

/* Limits that the extension's owner sets below the IOMMU's; 0: none. */
struct vd_dext_quota {
    uint64_t bytes, mappings;
};

/*
 * Creates the brain for one device: opens it, learns what DESCRIBE tells, closes it again. All pointers outlive it.
 * quota may be NULL. 0; NO_MEMORY; what hw->open() or config_read() answered.
 */
int vd_dext_create(const struct vd_dext_os *os, const struct vd_dext_hw_ops *ops, void *hw,
                   const struct vd_dext_quota *quota, struct vd_dext **out);
/* Every client must be closed. NULL is allowed. */
void vd_dext_destroy(struct vd_dext *dext);

/* A connection; `shell` is the shell's handle of it. 0; NO_MEMORY. Costs a few hundred bytes until it claims. */
int vd_dext_client_open(struct vd_dext *dext, void *shell, struct vd_dext_client **out);
/*
 * The connection is over, however it ended. With the claim: bus mastering off and read back, drained, interrupts off,
 * every mapping completed, device awake and reset, BARs and device control as they were before the claim, provider
 * closed. Waiters complete with ABORTED. NULL is allowed.
 */
void vd_dext_client_close(struct vd_dext_client *client);

/* One user client call. Pointers are valid during the call only; bytes_in may change while it is read. */
struct vd_dext_call {
    uint32_t selector;
    uint32_t nr_scalars_in;
    const uint64_t *scalars_in;
    const void *bytes_in; /* NULL: none */
    size_t nr_bytes_in;
    uint64_t *scalars_out;
    uint32_t nr_scalars_out; /* in: room; out: filled. On success the selector's count, else 0 */
    void *bytes_out;         /* NULL: none */
    size_t nr_bytes_out;     /* in: room; out: filled */
    void *async; /* the shell's completion handle, kept only on success of an async selector; NULL: none */
};

/*
 * Checks selector, counts, claim and state, and does what was asked. 0 or an enum vd_dext_return: BAD_ARGUMENT wrong
 * counts, missing async, bad values; UNSUPPORTED no such selector; NOT_OPEN nobody has the claim; EXCLUSIVE_ACCESS
 * another client has; NO_DEVICE removed; and what the selector itself can answer.
 */
int vd_dext_call(struct vd_dext_client *client, struct vd_dext_call *call);

/* What a memory type stands for. */
struct vd_dext_memory {
    enum vd_dext_memory_type type;
    void *token;  /* of buffer_create() or page_create(); NULL for a BAR */
    uint32_t bar; /* for a BAR: its number and memory index */
    uint32_t memory_index;
    uint64_t size;
    bool write_combine; /* a prefetchable BAR */
};

/*
 * May the client map that type? 0 and *out; BAD_ARGUMENT no such type; NOT_OPEN, EXCLUSIVE_ACCESS, NO_DEVICE;
 * NOT_READY no DMA buffer yet; UNSUPPORTED no such BAR; NO_MEMORY. The interrupt page is made at its first use.
 */
int vd_dext_memory(struct vd_dext_client *client, uint64_t type, struct vd_dext_memory *out);

/* Vector `vector` fired. Any thread; takes no lock, allocates nothing. */
void vd_dext_irq(struct vd_dext *dext, uint32_t vector);
/* The device reported an error, or the host wants it back: enum vd_dext_event but GONE, for every client that waits. */
void vd_dext_event(struct vd_dext *dext, uint32_t events);
/*
 * The device was pulled. From now on calls answer NO_DEVICE, the hardware is not touched; mappings stay until their
 * owner goes or unregisters them.
 */
void vd_dext_gone(struct vd_dext *dext);

/*
 * Reads the count of refused accesses and brings struct vd_dext_use of the interrupt page up to date. Calls that change
 * the use do that themselves; this is for a shell that wants it fresher.
 */
void vd_dext_refresh_use(struct vd_dext *dext);

/* Bytes the core has allocated for this client now (the interrupt page included), for limits and tests. */
size_t vd_dext_client_bytes(const struct vd_dext_client *client);

#ifdef __cplusplus
}
#endif
#endif
