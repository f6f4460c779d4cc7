/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What single requests and scatter lists have in common, and the short way of a request that hits,
 * inlined. Any context, but where it says so.
 */
#ifndef VIADUCT_STREAMING_H
#define VIADUCT_STREAMING_H

#include "viaduct_dma.h"

static inline u32 access_of(enum dma_data_direction dir)
{
	/* No branches: those after it would be compiled once for each. */
	static const u8 access[] = {
		[DMA_BIDIRECTIONAL] = VD_WINDOW_READ | VD_WINDOW_WRITE,
		[DMA_TO_DEVICE] = VD_WINDOW_READ,
		[DMA_FROM_DEVICE] = VD_WINDOW_WRITE,
		[DMA_NONE] = VD_WINDOW_READ | VD_WINDOW_WRITE,
	};

	return access[dir];
}

/* The highest bus address that the device reaches for this. */
static inline u64 reach_of(struct device *dev)
{
	return min_not_zero(dma_get_mask(dev), dev->bus_dma_limit);
}

/* Idle windows to be unmapped at once: one range about all of them. */
struct reaping {
	u64 first, end;
};

#define REAPING_NONE ((struct reaping){.first = ~0ULL})

static inline void put_window(struct viaduct *viaduct, struct vd_window *window,
			      struct reaping *reaping)
{
	/* Without the reference it may be another window. */
	u64 gpa = window->gpa, end = gpa + window->size;

	if (!vd_windows_put(viaduct->windows, window))
		return;
	reaping->first = min(reaping->first, gpa);
	reaping->end = max(reaping->end, end);
}

static inline void reap(struct viaduct *viaduct, const struct reaping *reaping)
{
	if (reaping->end)
		viaduct_reap(viaduct, reaping->first, reaping->end - reaping->first);
}

/*
 * 0 when the window gives the request one stretch of bus addresses that the device reaches. Else
 * the window is given back: -EAGAIN it is in pieces, one of its own might not be; -ERANGE; or why
 * there is no window.
 */
static inline int take_address(struct viaduct *viaduct, struct vd_windows_want *want, u64 mask,
			       u64 *bus, struct reaping *reaping)
{
	if (!want->window)
		return want->error ?: -EIO;
	*bus = vd_window_bus(want->window, want->gpa, want->len);
	if (*bus == VD_WINDOWS_NO_ADDRESS) {
		want->error = -EAGAIN;
		want->why = VD_APPLE_DMA_WHY_SEGMENTS;
	} else if (*bus + want->len - 1 > mask) {
		want->error = -ERANGE;
	} else {
		return 0;
	}
	put_window(viaduct, want->window, reaping);
	want->window = NULL;
	return want->error;
}

/*
 * The way of nearly every request: no lock, no want, no call but one. DMA_MAPPING_ERROR: go the way
 * of the others, which finds out why.
 */
static __always_inline dma_addr_t map_hit(struct viaduct *viaduct, u64 gpa, u64 len, u32 access,
					  u64 mask)
{
	struct vd_window *window = vd_windows_get(viaduct->windows, gpa, len, access);
	u64 bus;

	if (unlikely(!window))
		return DMA_MAPPING_ERROR;
	bus = vd_window_bus(window, gpa, len);
	if (likely(bus != VD_WINDOWS_NO_ADDRESS && bus + len - 1 <= mask))
		return bus;
	viaduct_put(viaduct, window);
	return DMA_MAPPING_ERROR;
}

/* The same for a want. */
static inline bool try_hit(struct viaduct *viaduct, struct vd_windows_want *want, u64 mask,
			   u64 *bus, struct reaping *reaping)
{
	want->window = vd_windows_get(viaduct->windows, want->gpa, want->len, want->access);
	if (!want->window)
		return false;
	return !take_address(viaduct, want, mask, bus, reaping);
}

static inline bool count_map(struct viaduct *viaduct, bool hit)
{
	struct viaduct_counters __percpu *counters = viaduct->counters;

	if (hit)
		this_cpu_inc(counters->hits);
	else
		this_cpu_inc(counters->misses);
	return hit;
}

/* streaming.c */

/* Under viaduct.lock: serves what is open of the wants, with as few exchanges as it takes. */
void viaduct_serve(struct viaduct *viaduct, struct vd_windows_want *wants, u32 count);
/*
 * Makes a want of a request that missed. A shared window in several pieces may cut a request in two
 * (-EAGAIN): then it is to be one of its own, as for large ones.
 */
void viaduct_want_prepare(const struct viaduct *viaduct, struct vd_windows_want *want);
/* The way by the host: as take_address(). */
int viaduct_map_missing(struct viaduct *viaduct, struct vd_windows_want *want, u64 mask, u64 *bus,
			struct reaping *reaping);
void viaduct_unmap(struct viaduct *viaduct, struct device *dev, u64 bus, size_t size,
		   struct reaping *reaping);
/* After an exchange, without the lock: starts the works that it calls for. */
void viaduct_attend(struct viaduct *viaduct);
/* DMA_MAPPING_ERROR, and a message. */
dma_addr_t viaduct_refuse_mmio(struct device *dev, phys_addr_t phys);

/* lists.c */
int viaduct_map_sg(struct device *dev, struct scatterlist *sgl, int nents,
		   enum dma_data_direction dir, unsigned long attrs);
void viaduct_unmap_sg(struct device *dev, struct scatterlist *sgl, int nents,
		      enum dma_data_direction dir, unsigned long attrs);

#endif
