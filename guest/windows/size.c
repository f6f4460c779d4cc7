// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * How large the window for a want is to be.
 *
 * A live window cannot move, so its size is a bet on what else its surroundings will be used for.
 * Too small costs more mappings later, too large costs bytes now. Both are limited; `price` is what
 * a mapping is worth in bytes, by what is left of either. The evidence is the census: of the blocks
 * that got as far as this one, how many went further, and how many windows of each size would have
 * held them. So in sparse use the first windows of a block are a granule or a few, and where blocks
 * tend to fill up one window takes the block, at the first touch or as soon as the block has shown
 * that it is not one of the sparse.
 */
#include "internal.h"

enum {
	PRICE_LEAST = 128 << 10,
	PRICE_MOST = 512 << 10,
	/* Weights of one block of the census, of this block as it is, and of the guess that it
	   fills up. */
	WEIGHT_CENSUS = 16,
	WEIGHT_OWN = 16,
	WEIGHT_DENSE = 4,
};

struct evidence {
	u64 blocks, taken[VD_LEVELS], several[VD_LEVELS];
};

struct vd_window_range vd_size_least(const struct vd_windows *windows,
				     const struct vd_windows_want *want)
{
	u64 granule = windows->config.granule;
	struct vd_window_range range = {.gpa = vd_round_down(want->gpa, granule)};

	range.size = vd_round_up(want->gpa + want->len, granule) - range.gpa;
	return range;
}

/* What live windows have, by the list of the idle ones. */
static u64 live_bytes(const struct vd_windows *windows)
{
	return windows->stats.bytes - vd_min(windows->idle_bytes, windows->stats.bytes);
}

static u64 live_mappings(const struct vd_windows *windows)
{
	return windows->stats.mappings - vd_min(windows->idle_mappings, windows->stats.mappings);
}

/* What is left, in 1024ths. */
static u64 left(u64 used, u64 limit)
{
	return used >= limit ? 0
			     : 1024 - (limit >> 10 ? vd_min(used / (limit >> 10), 1024)
						   : used * 1024 / limit);
}

static u64 price(const struct vd_windows *windows)
{
	const struct vd_windows_config *config = &windows->config;
	u64 even = vd_max(PRICE_LEAST,
			  vd_min(PRICE_MOST, config->limit_bytes / config->limit_mappings));

	return even * (left(live_bytes(windows), config->limit_bytes) + 1) /
	       (left(live_mappings(windows), config->limit_mappings) + 1);
}

/*
 * The most that a window may take beyond its want. What live windows have beyond live granules
 * stays below a quarter of the limit, so that three quarters can be in use at once whatever the
 * sizes are.
 */
static u64 spare_bytes(const struct vd_windows *windows)
{
	u64 live = live_bytes(windows), most = windows->config.limit_bytes / 4;
	u64 slop = live - vd_min(live, windows->census.live_bytes);

	return most - vd_min(slop, most);
}

static void add_census(const struct vd_windows *windows, u32 bin, struct evidence *evidence)
{
	const struct vd_window_census *census = &windows->census;
	u32 level;

	evidence->blocks += (u64)WEIGHT_CENSUS * census->blocks[bin];
	for (level = 0; level < windows->levels; level++) {
		evidence->taken[level] += (u64)WEIGHT_CENSUS * census->taken[bin][level];
		evidence->several[level] += (u64)WEIGHT_CENSUS * census->several[bin][level];
	}
}

static void add_counts(const struct vd_windows *windows, const struct vd_window_counts *counts,
		       u32 weight, struct evidence *evidence)
{
	u32 level;

	evidence->blocks += weight;
	for (level = 0; level < windows->levels; level++) {
		evidence->taken[level] += (u64)weight * counts->taken[level];
		evidence->several[level] += weight * (counts->taken[level] > 1);
	}
}

static void add_dense(const struct vd_windows *windows, u32 weight, struct evidence *evidence)
{
	struct vd_window_counts dense;
	u32 level;

	for (level = 0; level < windows->levels; level++)
		dense.taken[level] = (u32)1 << (windows->levels - 1 - level);
	add_counts(windows, &dense, weight, evidence);
}

/* The block's cost from now on, in bytes, if it gets windows of this level and of no other. */
static u64 cost_of_level(const struct vd_windows *windows, const struct evidence *evidence,
			 const struct vd_window_counts *own, u32 level, u64 price)
{
	u64 blocks = evidence->blocks;
	u64 taken = evidence->taken[level];
	u64 there = blocks * (own->taken[level] - 1);
	u64 more = taken > there ? taken - there : 0;

	return vd_max(more, blocks) * ((windows->config.granule << level) + price) / blocks;
}

static u64 least_cost(const struct vd_windows *windows, const struct evidence *evidence,
		      const struct vd_window_counts *own, u64 price)
{
	u64 least = windows->config.max_window + price;
	u32 level;

	for (level = 0; evidence->blocks && level < windows->levels; level++)
		least = vd_min(least, cost_of_level(windows, evidence, own, level, price));
	return least;
}

static u32 choose_level(const struct vd_windows *windows, const struct vd_window_counts *own)
{
	struct evidence evidence = {0};
	u64 value = price(windows), beyond, least = ~(u64)0;
	u32 bin = vd_log2(own->taken[0]), i, level, best = 0;

	add_dense(windows, WEIGHT_DENSE, &evidence);
	for (i = windows->levels - 1; i > bin; i--)
		add_census(windows, i, &evidence);
	beyond = least_cost(windows, &evidence, own, value);
	add_census(windows, bin, &evidence);
	add_counts(windows, own, WEIGHT_OWN, &evidence);
	for (level = 0; level < windows->levels; level++) {
		/* This window now, and what is best for the rest should there be more. */
		u64 once = (windows->config.granule << level) + value +
			   evidence.several[level] * beyond / evidence.blocks;
		u64 cost = vd_min(once, cost_of_level(windows, &evidence, own, level, value));

		if (cost < least) {
			least = cost;
			best = level;
		}
	}
	return best;
}

/* The want's own block as it is used now, the wants that come with it included. */
static void count_own(struct vd_windows *windows, const struct vd_windows_want *wants, u32 count,
		      struct vd_window_counts *counts)
{
	enum { WITNESSES = 64 };
	u64 block = vd_round_down(wants->gpa, windows->config.max_window);
	u64 end = block + windows->config.max_window;
	struct vd_window_area *area = vd_area_find(&windows->gpas, block);
	unsigned long map[VD_MAP_WORDS] = {0};
	u32 i;

	if (area)
		vd_census_live(windows, area, block, map);
	for (i = 0; i < vd_min(count, WITNESSES); i++) {
		u64 at = vd_max(vd_round_down(wants[i].gpa, windows->config.granule), block);

		if (i > 0 && (wants[i].window || wants[i].error || wants[i].exact))
			continue;
		for (; at < end && at < wants[i].gpa + wants[i].len; at += windows->config.granule)
			vd_bit_set(map, (u32)((at - block) >> windows->granule_shift));
	}
	vd_census_count(windows, map, counts);
}

static bool is_live(const struct vd_window *window)
{
	return vd_atomic_read(&window->refs) != 0;
}

/* Live windows that stand in the range: how many bytes they have of it. */
static u64 live_within(const struct vd_window_area *area, struct vd_window_range range)
{
	u64 bytes = 0, end = range.gpa + range.size;
	const struct vd_window_link *link;

	for (link = area->links; link; link = link->next) {
		const struct vd_window *window = link->window;

		if (is_live(window) && window->gpa < end && vd_window_end(window) > range.gpa)
			bytes +=
				vd_min(vd_window_end(window), end) - vd_max(window->gpa, range.gpa);
	}
	return bytes;
}

/* Takes in the range on both sides of the least until it is free of them. */
static struct vd_window_range clip(const struct vd_window_area *area, struct vd_window_range range,
				   struct vd_window_range least)
{
	u64 start = range.gpa, end = range.gpa + range.size;
	const struct vd_window_link *link;

	for (link = area->links; link; link = link->next) {
		const struct vd_window *window = link->window;

		if (!is_live(window))
			continue;
		if (vd_window_end(window) <= least.gpa)
			start = vd_max(start, vd_window_end(window));
		else if (window->gpa >= least.gpa + least.size)
			end = vd_min(end, window->gpa);
	}
	return (struct vd_window_range){.gpa = start, .size = end - start};
}

/* The block of that level, extended to the end of the want; clear of live windows unless they are a
 * small part of it. */
static struct vd_window_range shape(const struct vd_windows *windows, struct vd_window_range least,
				    u32 level)
{
	u64 size = windows->config.granule << level;
	u64 start = vd_round_down(least.gpa, size);
	u64 end = vd_max(start + size, least.gpa + least.size);
	struct vd_window_range range = {.gpa = start, .size = end - start};
	const struct vd_window_area *area = vd_area_find(&windows->gpas, start);

	if (area && live_within(area, range) > range.size / 4)
		range = clip(area, range, least);
	return range;
}

struct vd_window_range vd_size_choose(struct vd_windows *windows,
				      const struct vd_windows_want *wants, u32 count)
{
	struct vd_window_range least = vd_size_least(windows, wants), range;
	const struct vd_window_area *area = vd_area_find(&windows->gpas, wants->gpa);
	u64 cap = least.size + spare_bytes(windows);
	struct vd_window_counts own;
	u32 level;

	if (wants->exact || wants->single || windows->config.strict ||
	    least.size >= windows->config.max_window)
		return least;
	if (wants->cap)
		cap = vd_min(cap, wants->cap);
	if (area && area->cap)
		cap = vd_min(cap, area->cap);
	count_own(windows, wants, count, &own);
	level = choose_level(windows, &own);
	range = shape(windows, least, level);
	while (range.size > cap && level > 0)
		range = shape(windows, least, --level);
	return range.size > cap ? least : range;
}
