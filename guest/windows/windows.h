/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * Windows: which stretches of guest memory are mapped for a device whose host picks the bus
 * addresses, found in O(1) both by guest-physical and by bus address. Many DMA requests share a
 * window; an idle one stays mapped until the budget presses. This is the policy and its data
 * structure, portable: the kernel module runs it, and so does bench/windows.
 *
 * Words: a granule is the host's smallest unit of mapping (16 KiB on a Mac). A window is live while
 * a request holds a reference, else idle. A want is a request that no window serves yet.
 *
 * Threads: vd_windows_get(), _at() and _put() take no lock and may run anywhere, at the same time.
 * Everything marked "locked" is called under one lock of the caller's, which is held from a plan to
 * its commit. Windows are type-stable: a struct vd_window once handed out stays one until
 * vd_windows_destroy(), so a racing reader may look at it, take a reference, and only then find out
 * that it has become another window.
 */
#ifndef GUEST_WINDOWS_H
#define GUEST_WINDOWS_H

#include "port.h" /* u32, u64, bool, vd_atomic, memory: kernel or user space */

#define VD_WINDOW_SEGMENTS    4
#define VD_WINDOWS_NO_ADDRESS (~(u64)0)

enum vd_window_access { VD_WINDOW_READ = 1, VD_WINDOW_WRITE = 2 }; /* by the device */

struct vd_window_segment {
	u64 bus;
	u64 len;
};

struct vd_window {
	/* Constant while it is mapped. */
	u64 gpa, size; /* multiples of the granule */
	u64 id; /* the host's name for it */
	u32 access; /* enum vd_window_access */
	u32 nr_segments;
	struct vd_window_segment segments[VD_WINDOW_SEGMENTS];
	/* The rest is for guest/windows alone; see internal.h. */
	vd_atomic refs; /* 0: idle; below: it is no window now */
	vd_atomic queued;
	struct vd_window *queue_next;
	struct vd_window *lru_prev, *lru_next;
	struct vd_window *next; /* of a list that it is on while it is no window */
	struct vd_window *next_born;
	u32 span, want, nr_links;
	bool in_lru, exact, forgotten;
	struct vd_window_link {
		struct vd_window *window;
		struct vd_window_area *area;
		struct vd_window_link *prev, *next;
		bool doubled;
	} near[4], *links; /* near: windows of up to 6 MiB need no more */
	bool links_spare; /* links is of the reserve */
};

struct vd_windows;

struct vd_windows_config {
	u64 granule; /* bytes, a power of two, at least a page */
	u64 limit_bytes, limit_mappings; /* of the host for this guest; all ones: none */
	u64 max_window; /* most bytes of a shared window, a power of two; 0: the default of 2 MiB */
	bool strict; /* unmap at the last put; least windows, each with the access asked for */
};

/* A request that missed. */
struct vd_windows_want {
	u64 gpa, len;
	u32 access;
	bool exact; /* a window of its own, rounded to granules: large or long-lived buffers */
	u64 align; /* exact only: 0, or a power of two its bus address is to be a multiple of */
	/* out */
	struct vd_window *window; /* with a reference, or NULL */
	int error; /* 0, or why it cannot be had: -ENOSPC, -ENOMEM, -EINVAL, -ENODEV, -EIO */
	u32 why; /* the host's last enum vd_apple_dma_why, for the log */
	/* From one round to the next, for guest/windows alone; 0 at first. */
	u64 cap, extra;
	u32 tries;
	bool narrow, single;
};

/* A window for the host to map, and its answer. */
struct vd_windows_map {
	u64 gpa, size, align;
	u32 access;
	u32 max_segments; /* that may come back */
	struct vd_window *window; /* windows.c's */
	/* The host's answer, filled in by the caller. */
	u32 why; /* 0, or enum vd_apple_dma_why */
	bool mapped; /* with a why: the host has mapped it all the same, and id is to be unmapped */
	u32 nr_segments;
	u64 id;
	struct vd_window_segment segments[VD_WINDOW_SEGMENTS];
};

/* One exchange with the host: first the unmaps, then the maps. The arrays are the caller's. */
struct vd_windows_batch {
	u32 max_unmaps, nr_unmaps;
	u64 *unmaps; /* ids */
	u32 max_maps, nr_maps;
	struct vd_windows_map *maps;
};

struct vd_windows_stats {
	u64 bytes, mappings; /* mapped now */
	u64 peak_bytes, peak_mappings;
	u64 live_bytes, live_mappings; /* of windows with references; exact when it is quiet */
	u64 evicted; /* idle windows that went because the budget pressed */
	u64 shrunk; /* wants that got a smaller window than the policy had in mind */
	u64 refused; /* wants that got none */
	u64 sizes[16]; /* windows made, by log2 of their granules */
};

/* 0; -EINVAL; -ENOMEM. May sleep. */
int vd_windows_create(const struct vd_windows_config *config, struct vd_windows **out);
/* NULL is allowed. Nobody uses it any more; what is still mapped is only forgotten. May sleep. */
void vd_windows_destroy(struct vd_windows *windows);
/* Refills the reserve from which plans are made where nothing can be allocated. May sleep; not
 * locked. */
void vd_windows_refill(struct vd_windows *windows);
/* True when the reserve is low. Any context. */
bool vd_windows_is_low(const struct vd_windows *windows);

/* The window that covers all of [gpa, gpa + len) with that access, with a reference; NULL: a miss.
 * Lock-free. */
struct vd_window *vd_windows_get(struct vd_windows *windows, u64 gpa, u64 len, u32 access);
/* The bus address; VD_WINDOWS_NO_ADDRESS when the range, which the window covers, is not contiguous
 * on the bus. */
static inline u64 vd_window_bus(const struct vd_window *window, u64 gpa, u64 len)
{
	u64 offset = gpa - window->gpa;
	u32 i;

	for (i = 0; i < window->nr_segments; i++) {
		const struct vd_window_segment *segment = &window->segments[i];

		if (offset < segment->len)
			return len <= segment->len - offset ? segment->bus + offset
							    : VD_WINDOWS_NO_ADDRESS;
		offset -= segment->len;
	}
	return VD_WINDOWS_NO_ADDRESS;
}

/* The window that a bus address lies in, of which the caller holds a reference; NULL: of none.
 * Lock-free. */
struct vd_window *vd_windows_at(struct vd_windows *windows, u64 bus);
/* The GPA behind a bus address of the window. */
static inline u64 vd_window_gpa(const struct vd_window *window, u64 bus)
{
	u64 gpa = window->gpa;
	u32 i;

	for (i = 0; i < window->nr_segments; i++) {
		const struct vd_window_segment *segment = &window->segments[i];

		if (bus >= segment->bus && bus - segment->bus < segment->len)
			return gpa + (bus - segment->bus);
		gpa += segment->len;
	}
	return VD_WINDOWS_NO_ADDRESS;
}

/* Gives the reference back; true: it is idle now and is to be reaped at once (strict). Lock-free.
 */
bool vd_windows_put(struct vd_windows *windows, struct vd_window *window);

/*
 * Locked. Serves each want that has neither window nor error from a window that is there by now, or
 * plans one and puts it into the batch, with the evictions it takes. Wants that do not fit the
 * batch are left for the next round.
 */
void vd_windows_plan(struct vd_windows *windows, struct vd_windows_want *wants, u32 count,
		     struct vd_windows_batch *batch);
/*
 * Locked. Takes the host's answers in. True: some wants still have neither window nor error, and
 * planning again may serve them (smaller windows, more evictions, the rest). Rounds are bounded.
 */
bool vd_windows_commit(struct vd_windows *windows, struct vd_windows_want *wants, u32 count,
		       struct vd_windows_batch *batch);

/*
 * Locked. Fills batch->unmaps with idle windows that overlap [gpa, gpa + len), which no get can
 * find from now on; commit (with no wants) ends it. Returns how many; repeat until 0.
 */
u32 vd_windows_reap(struct vd_windows *windows, u64 gpa, u64 len, struct vd_windows_batch *batch);
/*
 * Locked. Fills batch->unmaps with windows of every kind, live ones too, which are forgotten;
 * commit (with no wants) ends it. Returns how many; repeat until 0. The device does no DMA any
 * more.
 */
u32 vd_windows_revoke(struct vd_windows *windows, struct vd_windows_batch *batch);
/* Locked. There is RAM in the range that was not there before: what was learnt there about how far
 * it goes is forgotten. */
void vd_windows_grown(struct vd_windows *windows, u64 gpa, u64 len);
/* Locked. Forgets every window, live ones too, without unmapping: the host has released everything
 * (reset, removal). */
void vd_windows_forget(struct vd_windows *windows);

/* Any context; exact under the lock. */
void vd_windows_stats(const struct vd_windows *windows, struct vd_windows_stats *out);

#endif
