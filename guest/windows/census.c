// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * How densely memory is in use for DMA: of the blocks of max_window bytes that hold live granules,
 * how many hold how many, and how many smaller blocks of each size these take.
 *
 * A round goes over all areas that have windows, a few of them with each plan, so that no plan
 * waits for it; its result replaces the last round's. What is live inside of a window is an
 * estimate, for get and put count references and not granules: the granules that were ever asked
 * for, but no more than the references can account for.
 */
#include "internal.h"

enum { AREAS_A_PLAN = 4 };

static u32 block_granules(const struct vd_windows *windows)
{
	return (u32)1 << (windows->levels - 1);
}

/* The touched granules in [first, behind), and the next of them at or after one. */
static u32 count_touched(const struct vd_window_area *area, u32 first, u32 behind)
{
	u32 i, count = 0;

	for (i = first; i < behind; i++)
		count += vd_bit_test(area->touched, i);
	return count;
}

/* As many of the touched ones as are thought to be live, evenly spread. */
static void add_thinned(const struct vd_window_area *area, u32 base, u32 first, u32 behind,
			u64 live, unsigned long *map)
{
	u32 touched = count_touched(area, first, behind), i;
	u64 sum = touched / 2;

	live = vd_min(live, touched);
	for (i = first; i < behind; i++) {
		if (!vd_bit_test(area->touched, i))
			continue;
		sum += live;
		if (sum < touched)
			continue;
		sum -= touched;
		vd_bit_set(map, i - base);
	}
}

void vd_census_live(struct vd_windows *windows, struct vd_window_area *area, u64 block,
		    unsigned long *map)
{
	u32 base = vd_granule_of(windows, block), end = base + block_granules(windows);
	struct vd_window_link *link;

	for (link = area->links; link; link = link->next) {
		struct vd_window *window = link->window;
		int refs = vd_atomic_read(&window->refs);
		u32 first = base, behind = end;

		if (refs > 0)
			vd_idle_drop(windows, window);
		if (window->exact || refs == 0)
			continue;
		if (window->gpa > block)
			first = base + (u32)((window->gpa - block) >> windows->granule_shift);
		if (vd_window_end(window) < block + windows->config.max_window)
			behind = base +
				 (u32)((vd_window_end(window) - block) >> windows->granule_shift);
		if (window->gpa < block + windows->config.max_window &&
		    vd_window_end(window) > block)
			/* One that the host is yet to map is dead, and all of it is wanted. */
			add_thinned(area, base, first, behind,
				    refs > 0 ? (u64)refs * window->span : VD_AREA_GRANULES, map);
	}
}

void vd_census_count(const struct vd_windows *windows, const unsigned long *map,
		     struct vd_window_counts *counts)
{
	u32 last[VD_LEVELS], granules = block_granules(windows), i, level;

	memset(counts, 0, sizeof(*counts));
	memset(last, 0xff, sizeof(last));
	for (i = 0; i < granules; i++) {
		if (!vd_bit_test(map, i))
			continue;
		/* A block that was counted is in larger ones that were. */
		for (level = 0; level < windows->levels && last[level] != i >> level; level++) {
			last[level] = i >> level;
			counts->taken[level]++;
		}
	}
}

static void count_block(struct vd_windows *windows, struct vd_window_area *area, u64 block)
{
	unsigned long map[VD_MAP_WORDS] = {0};
	struct vd_window_counts counts;
	u32 bin, level;

	vd_census_live(windows, area, block, map);
	vd_census_count(windows, map, &counts);
	if (!counts.taken[0])
		return;
	windows->counting.live_bytes += (u64)counts.taken[0] << windows->granule_shift;
	bin = vd_log2(counts.taken[0]);
	windows->counting.blocks[bin]++;
	for (level = 0; level < windows->levels; level++) {
		windows->counting.taken[bin][level] += counts.taken[level];
		windows->counting.several[bin][level] += counts.taken[level] > 1;
	}
}

/* Windows of one request each do not bear witness; they are full. Counted where they start. */
static void count_exact(struct vd_windows *windows, const struct vd_window_area *area)
{
	const struct vd_window_link *link;

	for (link = area->links; link; link = link->next)
		if (link->window->exact && link->window->gpa >= area->base &&
		    vd_atomic_read(&link->window->refs) > 0)
			windows->counting.live_bytes += link->window->size;
}

void vd_census_advance(struct vd_windows *windows)
{
	u32 i;

	for (i = 0; i < AREAS_A_PLAN; i++) {
		struct vd_window_area *area = vd_area_of(windows->cursor);
		u64 block;

		if (windows->cursor == &windows->areas) {
			windows->census = windows->counting;
			memset(&windows->counting, 0, sizeof(windows->counting));
			windows->cursor = windows->areas.next;
			if (i > 0)
				return;
			continue;
		}
		for (block = area->base; block < area->base + VD_AREA_SIZE;
		     block += windows->config.max_window)
			count_block(windows, area, block);
		count_exact(windows, area);
		windows->cursor = area->ring.next;
	}
}
