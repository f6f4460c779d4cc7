/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * What the files of guest/windows share.
 *
 *   windows.c  what runs without a lock, and life and death of the whole
 *   memory.c   the reserve, and the two radix trees from an address to its area
 *   place.c    a window's way into the trees and out of them
 *   idle.c     which windows nobody uses, least recently used first, and how one of them goes
 *   census.c   how densely memory is in use, block by block
 *   size.c     how large the window for a want is to be
 *   plan.c     wants, rounds, and the host's answers
 *
 * A window's reference count: 0 and more: it is mapped, and whoever can raise the count has a
 * reference. VD_WINDOW_DEAD: it is none; only the lock's holder touches it. In between: it was
 * forgotten while that many still held it (the count is VD_WINDOW_DEAD + n). Only the change from 0
 * to VD_WINDOW_DEAD takes a window away, so it never loses a user.
 *
 * A window that goes idle is put on a queue without a lock, unless it is there (`queued`). Being
 * there means nothing but that its queue_next is in use: the lock's holder takes the queue over and
 * looks at what each window is by then.
 *
 * Areas and nodes of the trees are never freed before the end, nor are windows: readers need no
 * protection of their own.
 */
#ifndef GUEST_WINDOWS_INTERNAL_H
#define GUEST_WINDOWS_INTERNAL_H

#include "windows.h"

enum {
	VD_WINDOW_DEAD = INT_MIN / 2,

	VD_AREA_SHIFT =
		21, /* 2 MiB: what the kernel's page allocator keeps together (a pageblock) */
	VD_AREA_GRANULES = 512, /* at most */
	VD_NODE_SHIFT = 9,
	VD_NODE_SLOTS = 512,
	VD_ADDRESS_BITS = VD_AREA_SHIFT + 3 * VD_NODE_SHIFT,

	VD_LINKS = 160, /* of a window, from the reserve: 318 MiB */

	VD_LEVELS = 10, /* window sizes: granule << level */
	VD_BINS = 10, /* blocks by the logarithm of their granules in use */
};

#define VD_AREA_SIZE   ((u64)1 << VD_AREA_SHIFT)
#define VD_ADDRESS_END ((u64)1 << VD_ADDRESS_BITS)
#define VD_MAP_WORDS   (VD_AREA_GRANULES / (8 * sizeof(unsigned long)))

/* enum vd_apple_dma_why of proto/apple_dma.h, which the tests compare. */
enum vd_why {
	VD_WHY_LENGTH = 1,
	VD_WHY_NOT_RAM = 2,
	VD_WHY_ACCESS = 3,
	VD_WHY_FLAGS = 4,
	VD_WHY_BYTES = 5,
	VD_WHY_MAPPINGS = 6,
	VD_WHY_SPACE = 7,
	VD_WHY_SEGMENTS = 8,
	VD_WHY_ALIGNMENT = 9,
	VD_WHY_GONE = 12,
	VD_WHY_MEMORY = 13,
	VD_WHY_HOST = 14,
};

/* A list that runs in a ring, of areas that have windows. */
struct vd_area_ring {
	struct vd_area_ring *prev, *next;
};

/* 2 MiB of guest-physical or of bus addresses. Only slots and touched are read and set without the
 * lock. */
struct vd_window_area {
	struct vd_area_ring ring; /* for the census; first, for vd_area_of() */
	u64 base;
	struct vd_window_link *links; /* every window that lies in it, even in part */
	u32 nr_doubled; /* links of windows that came over another one */
	u64 cap; /* no shared window larger than this: the host found a larger one not to be RAM; 0:
		    none */
	unsigned long
		touched[VD_MAP_WORDS]; /* granules that were asked for while a window was there */
	struct vd_window *slots[]; /* a granule's best window */
};

struct vd_window_node {
	void *slots[VD_NODE_SLOTS]; /* nodes, or areas in the lowest level */
};

/* Memory that was put aside. Anyone may add, the lock's holder takes. Starts with the pointer to
 * the next. */
struct vd_window_pool {
	void *head;
	size_t size;
	vd_atomic count;
	int wanted;
};

/*
 * Blocks of max_window bytes that hold live granules, by how many granules (the bin is the
 * logarithm): how many there are, how many smaller blocks of each level they take, and how many
 * take more than one.
 */
struct vd_window_census {
	u32 blocks[VD_BINS];
	u32 taken[VD_BINS][VD_LEVELS];
	u32 several[VD_BINS][VD_LEVELS];
	u64 live_bytes; /* of granules that are live */
};

/* How many blocks of each level the live granules of one block take. */
struct vd_window_counts {
	u32 taken[VD_LEVELS];
};

struct vd_windows {
	/* Constant. */
	struct vd_windows_config config;
	u32 granule_shift, area_granules, levels; /* levels: of shared windows, at least 1 */

	/* Any context. */
	struct vd_window_node gpas, buses;
	struct vd_window *queue; /* went idle since the last look */
	struct vd_window *born; /* all there ever were */
	struct vd_window_pool spare_windows, spare_areas, spare_nodes, spare_links;

	/* Under the lock; what stats() reads is written with vd_write_once(). */
	struct vd_window *free; /* dead */
	struct vd_window *doomed; /* mapped by the host, but of no use: to be unmapped next */
	struct vd_window *lru_first, *lru_last;
	u64 idle_bytes, idle_mappings; /* in the list: an estimate, for some are in use again */
	struct vd_area_ring areas; /* the ring's head */
	struct vd_area_ring *cursor; /* where the census is */
	struct vd_window_census counting, census;
	struct vd_windows_stats stats;
};

static inline u64 vd_round_down(u64 value, u64 unit)
{
	return value & ~(unit - 1);
}

static inline u64 vd_round_up(u64 value, u64 unit)
{
	return (value + unit - 1) & ~(unit - 1);
}

static inline u64 vd_min(u64 a, u64 b)
{
	return a < b ? a : b;
}

static inline u64 vd_max(u64 a, u64 b)
{
	return a > b ? a : b;
}

static inline u64 vd_window_end(const struct vd_window *window)
{
	return window->gpa + window->size;
}

static inline struct vd_window_area *vd_area_of(struct vd_area_ring *ring)
{
	return (struct vd_window_area *)ring;
}

/* Of an address in its area. */
static inline u32 vd_granule_of(const struct vd_windows *windows, u64 address)
{
	return (u32)((address & (VD_AREA_SIZE - 1)) >> windows->granule_shift);
}

static inline u32 vd_node_slot(u64 address, u32 level)
{
	return (u32)(address >> (VD_AREA_SHIFT + level * VD_NODE_SHIFT)) & (VD_NODE_SLOTS - 1);
}

/* What every hit runs is here, to be inlined: the calls would cost more than what they do. */

/* Lock-free. */
static inline struct vd_window_area *vd_area_find(const struct vd_window_node *root, u64 address)
{
	const struct vd_window_node *node = root;

	if (address >= VD_ADDRESS_END)
		return NULL;
	node = vd_load_acquire(&node->slots[vd_node_slot(address, 2)]);
	if (node)
		node = vd_load_acquire(&node->slots[vd_node_slot(address, 1)]);
	return node ? vd_load_acquire(&node->slots[vd_node_slot(address, 0)]) : NULL;
}

/* Lock-free. A reference; false: it is none now. */
static inline bool vd_window_take(struct vd_window *window)
{
	int refs = vd_atomic_read(&window->refs);

	do {
		if (refs < 0 || refs == INT_MAX)
			return false;
	} while (!vd_atomic_try_exchange(&window->refs, &refs, refs + 1));
	return true;
}

/* How far from an address the window's memory is one piece on the bus; 0: not at all. */
static inline u64 vd_window_reach(const struct vd_window *window, u64 gpa)
{
	u64 end = window->gpa;
	u32 i;

	for (i = 0; i < window->nr_segments; i++) {
		end += window->segments[i].len;
		if (gpa < end)
			return gpa >= window->gpa ? end - gpa : 0;
	}
	return 0;
}

static inline bool vd_window_covers(const struct vd_window *window, u64 gpa, u64 len, u32 access)
{
	return !(access & ~window->access) && vd_window_reach(window, gpa) >= len;
}

#define VD_STAT_ADD(windows, field, value)                                                         \
	vd_write_once((windows)->stats.field, (windows)->stats.field + (value))

/* memory.c */
void vd_window_pool_give(struct vd_window_pool *pool, void *memory);
void vd_window_pool_init(struct vd_window_pool *pool, size_t size, int wanted);
/* Locked. Zeroed; NULL: there is none, or no more than are to be kept. */
void *vd_window_pool_take(struct vd_window_pool *pool, int keep);
void vd_window_pool_finish(struct vd_window_pool *pool);
/* Locked. The area, made if need be; NULL: no memory. */
struct vd_window_area *vd_area_make(struct vd_windows *windows, struct vd_window_node *root,
				    u64 address);
void vd_area_free_all(struct vd_window_node *root);

/* place.c; all locked */
struct vd_window *vd_window_new(struct vd_windows *windows); /* dead; NULL: no memory */
void vd_window_recycle(struct vd_windows *windows, struct vd_window *window); /* dead, in no list */
/* Puts it into the areas' lists, where the census and plans see it, but into no slot. -ENOMEM. */
int vd_window_link(struct vd_windows *windows, struct vd_window *window);
void vd_window_unlink(struct vd_windows *windows,
		      struct vd_window *window); /* and out of the slots */
/* Linked, and with its segments: lets everybody find it, with a reference. -ENOMEM, -EIO: the
 * segments cannot be. */
int vd_window_publish(struct vd_windows *windows, struct vd_window *window);
void vd_window_touch(struct vd_windows *windows, u64 gpa, u64 len);

/* idle.c; all locked */
void vd_idle_drain(struct vd_windows *windows);
void vd_idle_drop(struct vd_windows *windows, struct vd_window *window); /* out of the list */
/* Takes an idle window away, with its unmap in the batch; false: it is in use, or the batch is
 * full. */
bool vd_idle_evict(struct vd_windows *windows, struct vd_window *window,
		   struct vd_windows_batch *batch);
/* The least recently used window that is still idle, or NULL. */
struct vd_window *vd_idle_first(struct vd_windows *windows);
bool vd_unmap_doomed(struct vd_windows *windows,
		     struct vd_windows_batch *batch); /* false: the batch is full */

/* census.c; all locked */
void vd_census_advance(struct vd_windows *windows);
/* Adds the live granules of the block (of max_window bytes) that starts at that address to the map.
 */
void vd_census_live(struct vd_windows *windows, struct vd_window_area *area, u64 block,
		    unsigned long *map);
void vd_census_count(const struct vd_windows *windows, const unsigned long *map,
		     struct vd_window_counts *counts);

/* size.c; locked. The range for the first of the wants, the rest of which only bear witness. */
struct vd_window_range {
	u64 gpa, size;
};
struct vd_window_range vd_size_least(const struct vd_windows *windows,
				     const struct vd_windows_want *want);
struct vd_window_range vd_size_choose(struct vd_windows *windows,
				      const struct vd_windows_want *wants, u32 count);

#endif
