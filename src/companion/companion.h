/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The companion device model from the inside. One file a noun: companion.c (life cycle, hold), registers.c (BAR 0),
 * batch.c (a doorbell: the command page and what is checked before anything is done), map.c and unmap.c (entries),
 * place.c (addresses that suit), mapping.c (what this guest has mapped), why.c (errors as the guest sees them).
 *
 * Invariants:
 * - What the guest wrote is copied once and then checked; nothing is read twice.
 * - A mapping is LIVE (the host has it), LOST (the host took it away, the guest has not given the id back), or PENDING
 *   while its batch is being made. `bytes` and `mappings` are the sums over what is live and pending.
 * - The managed device is held whenever `active` is false, and then nothing is mapped.
 * - Memory is taken away from the device only after it was stopped, unless the VMM or the guest asks for it.
 *
 * Lock rule: everything belongs to the companion's thread, the counters excepted, which any thread may read. Whatever is
 * done to the managed device is done under its lock; what is read of it without is constant or atomic.
 */
#ifndef VD_COMPANION_COMPANION_H
#define VD_COMPANION_COMPANION_H

#include <stdatomic.h>

#include "base/tree.h"
#include "core/device.h"
#include "core/guest_memory.h"
#include "proto/apple_dma.h"

enum {
    VD_COMPANION_CHUNK =
        256, /* entries worked on at a time: bounds memory, and how long the managed device waits */
    VD_COMPANION_MAPPINGS = 131072, /* most of a guest, whatever the host would take: each costs us memory */
    VD_COMPANION_RECORDS = 2 * VD_COMPANION_MAPPINGS, /* the same with those that are lost */
    VD_COMPANION_STEPS =
        2 * VD_COMPANION_RECORDS, /* mappings that the ranges of one batch may look at in vain */
    VD_COMPANION_FILLERS = 1024,  /* of one batch: each is a mapping more for the host */
    VD_COMPANION_LOOKS = 65536,   /* of one batch: mappings looked at to find holes */
    VD_COMPANION_CONFIG = 256,
    VD_COMPANION_FEATURES = VD_APPLE_DMA_FEATURE_WIDE | VD_APPLE_DMA_FEATURE_ALIGN |
                            VD_APPLE_DMA_FEATURE_EXCHANGE | VD_APPLE_DMA_FEATURE_UNMAP_WITHIN,
};

enum vd_companion_state { VD_COMPANION_PENDING, VD_COMPANION_LIVE, VD_COMPANION_LOST };

/* A mapping of this guest. */
struct vd_companion_mapping {
    struct vd_tree_node by_id;  /* the id alone */
    struct vd_tree_node by_gpa; /* the GPA alone; of several with the same one only one is in the tree */
    struct vd_companion_mapping *next, *prev; /* the ring of those */
    bool in_gpas;                             /* it is that one */
    uint64_t last;                            /* of the range as the guest asked for it, inclusive */
    uint64_t size;                            /* in whole granules */
    struct vd_dma_mapping *handle;            /* NULL unless live */
    enum vd_companion_state state;
};

/* An entry of the chunk that is being mapped. */
struct vd_companion_want {
    uint64_t gpa, len, align;
    uint32_t access; /* enum vd_access */
    uint32_t why;    /* enum vd_apple_dma_why */
    uint64_t lead;   /* bytes mapped before gpa */
    const struct vd_guest_region *region;
    struct vd_companion_mapping *mapping; /* NULL when it failed */
    uint32_t nr_segments;
};

/* What a chunk needs, so that a doorbell allocates nothing but the mappings it makes. */
struct vd_companion_chunk {
    union {
        uint8_t bytes[VD_COMPANION_CHUNK * sizeof(struct vd_apple_dma_wide_map)];
        uint8_t responses[VD_COMPANION_CHUNK * sizeof(struct vd_apple_dma_unmapped)];
    } io;
    struct vd_companion_want wants[VD_COMPANION_CHUNK];
    struct vd_dma_map maps[VD_COMPANION_CHUNK];
    uint32_t where[VD_COMPANION_CHUNK]; /* whose want a map is */
    struct vd_dma_file files[VD_COMPANION_CHUNK];
    struct vd_dma_segment segments[VD_COMPANION_CHUNK * VD_APPLE_DMA_MAX_SEGMENTS];
    struct vd_dma_mapping *handles[VD_COMPANION_CHUNK];
};

struct vd_companion_counters {
    _Atomic bool active, wide;
    _Atomic uint64_t doorbells, maps, unmaps, refused, lost, bytes, mappings;
};

struct vd_companion {
    const struct vd_env *env;
    struct vd_device *managed;
    const struct vd_device *self; /* NULL while it is being made */
    uint32_t guest_bdf, max_entries;
    uint64_t quota_bytes, quota_mappings;
    uint8_t config[VD_COMPANION_CONFIG];

    /* What the guest has set, and what it reads. */
    uint64_t command_gpa;
    uint32_t status, features;
    uint32_t used_bytes_high, used_mappings_high; /* latched */

    const struct vd_guest_memory *memory; /* NULL: no client */
    unsigned said;                        /* lines logged for this client */

    struct vd_tree ids, gpas;
    uint64_t records;
    uint64_t serial;        /* of the last id handed out; never again the same */
    uint64_t cursor;        /* chosen addresses: where to look for a hole next */
    uint64_t taken;         /* managed->dma.taken when that was last looked at */
    _Atomic uint64_t epoch; /* managed->epoch when the guest set its command page */
    unsigned fillers;       /* that this batch may still use to align mappings */
    unsigned looks;         /* mappings that it may still look at to find holes */

    struct vd_companion_counters counters;
    struct vd_companion_chunk chunk;
};

/* An array of requests and the one of its responses; count 0: there is none. */
struct vd_companion_array {
    uint64_t requests, responses; /* GPAs */
    uint32_t count;
    uint32_t request_size, response_size; /* of an entry */
};

/* companion.c */
extern const struct vd_backend_ops vd_companion_ops;
/* Lets the managed device work, unless it does already: the guest has set a command page. */
void vd_companion_activate(struct vd_companion *c);
/* The managed device's user came or left: whatever the guest had there is void until it sets its command page again. */
void vd_companion_notice_epoch(struct vd_companion *c);
/* Stops the managed device if it may be doing DMA, releases every mapping, and holds it. Cannot fail. */
void vd_companion_let_go(struct vd_companion *c);
/* Logs, a bounded number of lines a client. */
void vd_companion_say(struct vd_companion *c, enum vd_env_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* registers.c: naturally aligned accesses of 4 or 8 bytes; others read 0 and write nothing. */
void vd_companion_register_read(struct vd_companion *c, uint64_t offset, void *buffer, size_t count);
void vd_companion_register_write(struct vd_companion *c, uint64_t offset, const void *buffer, size_t count);

/* The lower of the managed device's limit, the quota and our own. */
uint64_t vd_companion_limit_bytes(const struct vd_companion *c);
uint64_t vd_companion_limit_mappings(const struct vd_companion *c);
/* Most segments that a mapping comes in. */
uint32_t vd_companion_max_segments(const struct vd_companion *c);

/* batch.c: runs the batch of the command page and sets STATUS. */
void vd_companion_doorbell(struct vd_companion *c);
/* True when all of [gpa, gpa + size) is guest memory that can be accessed so. */
bool vd_companion_is_ram(const struct vd_companion *c, uint64_t gpa, uint64_t size, uint32_t access);

/* map.c: the entries of an array, which was checked to be guest memory; how many succeeded. */
uint32_t vd_companion_map(struct vd_companion *c, const struct vd_companion_array *array, bool wide,
                          uint32_t segments);
/*
 * place.c: makes the first n maps of the chunk, and fills in why of their wants. Under the managed device's lock. Nothing is
 * left mapped of one that failed.
 */
void vd_companion_place(struct vd_companion *c, uint32_t n);
/* unmap.c: likewise. */
uint32_t vd_companion_unmap(struct vd_companion *c, const struct vd_companion_array *array, bool wide);
uint32_t vd_companion_unmap_within(struct vd_companion *c, const struct vd_companion_array *array);

/*
 * mapping.c. A new mapping, pending and charged, which is in no tree when this fails. *why: MEMORY, MAPPINGS, BYTES or
 * EXISTS (the id is in use). The id, the range and the size are the caller's to check.
 */
struct vd_companion_mapping *vd_companion_mapping_create(struct vd_companion *c, uint64_t id,
                                                         struct vd_range range, uint64_t size, uint32_t *why);
/* Takes it out of the books and frees it; the handle, if it is live, becomes the caller's. */
struct vd_dma_mapping *vd_companion_mapping_destroy(struct vd_companion *c, struct vd_companion_mapping *m);
/* By id; NULL: this guest has no such mapping. */
struct vd_companion_mapping *vd_companion_mapping_find(const struct vd_companion *c, uint64_t id);
/* The first whose GPA is at or after `gpa`, and the one after it in the same order; NULL: none. */
struct vd_companion_mapping *vd_companion_mapping_from(const struct vd_companion *c, uint64_t gpa);
struct vd_companion_mapping *vd_companion_mapping_next(const struct vd_companion *c,
                                                       const struct vd_companion_mapping *m);
/* Unmaps the live ones that lie in the range, which is a region's, unasked; their ids stay the guest's. */
void vd_companion_revoke(struct vd_companion *c, struct vd_range range);
/* Finds out what went with the managed device, or was taken away by it. */
void vd_companion_notice_losses(struct vd_companion *c);
/* Unmaps and forgets all. Under the managed device's lock. */
void vd_companion_release_all(struct vd_companion *c);

/* why.c: what the guest is told of an errno of vd_dma_map(). */
uint32_t vd_companion_why(int error);
/* In words, for the log. */
const char *vd_companion_why_text(uint32_t why);

#endif
