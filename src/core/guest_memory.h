/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table guest-physical → host memory of one VM, fed by a front end from what its client announces. Every access by
 * a guest-given address goes through it.
 *
 * File mappings are shared and kept: many announcements name the same file (firmware remaps RAM again and again), so a
 * region is served from a mapping that already covers it, and a mapping without regions stays for a while
 * (vd_guest_memory_trim()) in case it is announced again. A kept mapping is out of every table: neither the device nor
 * any lookup can reach it.
 *
 * Invariants: regions are disjoint; a region holds one reference on its file mapping; a listener sees every region added
 * before anyone can look it up and removed only after the last lookup. Lock: none, the owner's thread only.
 */
#ifndef VD_CORE_GUEST_MEMORY_H
#define VD_CORE_GUEST_MEMORY_H

#include <viaduct/dma.h>
#include <viaduct/types.h>

#include "base/env.h"
#include "base/tree.h"

struct vd_guest_memory;
struct vd_file_mapping;

/* One announced range of guest-physical memory. */
struct vd_guest_region {
    struct vd_tree_node node;       /* [gpa, gpa + size) */
    uint8_t *host;                  /* NULL: no file descriptor came with it */
    struct vd_file_mapping *file;   /* what backs `host` */
    uint32_t access;                /* enum vd_access */
    struct vd_dma_mapping *mapping; /* the strategy's: how the device reaches it; NULL: not at all */
    struct vd_dma_remote remote;    /* how to reach it without `host` */
};

/* What a strategy does when memory comes and goes. */
struct vd_guest_memory_listener {
    /* 0, or a negative errno: then the region is not added. */
    int (*added)(void *opaque, struct vd_guest_region *region);
    void (*removed)(void *opaque, struct vd_guest_region *region);
    void *opaque;
};

/* Creates an empty table. `remote` serves regions without a descriptor. 0; -ENOMEM. */
int vd_guest_memory_create(const struct vd_env *env, const struct vd_dma_remote *remote,
                           const struct vd_guest_memory_listener *listener, struct vd_guest_memory **out);
/*
 * From now on keeps the descriptors that come with regions, for hosts that must be handed them (vd_dma_info.needs_file);
 * call it before the first region.
 */
void vd_guest_memory_keep_files(struct vd_guest_memory *memory);
/* Removes every region and every kept mapping. NULL is allowed. */
void vd_guest_memory_destroy(struct vd_guest_memory *memory);

/*
 * Adds [gpa, gpa + size). fd -1: no descriptor, `offset` must be 0. The fd is duplicated or not needed: it stays the
 * caller's in every case. 0; -EINVAL empty, wrapping, or the file is shorter than offset + size; -EEXIST overlaps;
 * -ENOMEM; -ENOSPC too many files are mapped; -EACCES the file cannot be mapped for this access; the listener's errors.
 */
int vd_guest_memory_add(struct vd_guest_memory *memory, vd_gpa gpa, uint64_t size, uint32_t access, int fd,
                        uint64_t offset);
/* Removes exactly [gpa, gpa + size). 0; -ENOENT when no region is exactly that. */
int vd_guest_memory_remove(struct vd_guest_memory *memory, vd_gpa gpa, uint64_t size);
/* Removes every region that lies wholly within the range (a vIOMMU's blanket unmap); the number removed. */
size_t vd_guest_memory_remove_within(struct vd_guest_memory *memory, struct vd_range range);
/* Removes every region. */
void vd_guest_memory_clear(struct vd_guest_memory *memory);

/* The region that contains gpa, or NULL. */
const struct vd_guest_region *vd_guest_memory_find(const struct vd_guest_memory *memory, vd_gpa gpa);
/* The first region, in address order, that ends at or after gpa, or NULL. */
const struct vd_guest_region *vd_guest_memory_from(const struct vd_guest_memory *memory, vd_gpa gpa);
/* In address order; NULL starts. */
const struct vd_guest_region *vd_guest_memory_next(const struct vd_guest_memory *memory,
                                                   const struct vd_guest_region *after);

/* The file behind region->host, valid as long as the region; false when none is kept. */
bool vd_guest_region_file(const struct vd_guest_region *region, struct vd_dma_file *out);

/*
 * Copies from or to [gpa, gpa + size) through host memory, over neighbouring regions. 0; -EFAULT: part of it is no guest
 * memory, has no host memory, or may not be written; then some of it may have been copied.
 */
int vd_guest_memory_read(const struct vd_guest_memory *memory, vd_gpa gpa, void *buffer, size_t size);
int vd_guest_memory_write(const struct vd_guest_memory *memory, vd_gpa gpa, const void *buffer, size_t size);
size_t vd_guest_memory_count(const struct vd_guest_memory *memory);
uint64_t vd_guest_memory_bytes(const struct vd_guest_memory *memory);

/* Drops kept mappings unused since `before_ns` (clock of the env). Call when idle. */
void vd_guest_memory_trim(struct vd_guest_memory *memory, uint64_t before_ns);
/* True while there is something to drop. */
bool vd_guest_memory_can_trim(const struct vd_guest_memory *memory);
/* True once a SIGBUS guard (guard.h) replaced a page of this table's memory: the client truncated its file. */
bool vd_guest_memory_poisoned(const struct vd_guest_memory *memory);

#endif
