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
	PRICE_LEAST = 208 << 10,
	PRICE_MOST = 512 << 10,
	/* Weights of one block of the census, of this block as it is, and of the guess that it
	   fills up. */
	WEIGHT_CENSUS = 16,
	WEIGHT_OWN = 16,
	WEIGHT_DOUBLED = 16,
	WEIGHT_DENSE = 4,
	BIN_INSIDE = 3, /* a block between used ones is taken to be one that gets as far at least */
	ODDS_SHIFT = 8,
};

/* A block: what is live in it, and how much of it is in no live window. */
struct own {
	struct vd_window_counts live, open;
	bool inside; /* memory on both sides of it is live */
};

/* In units that matter only by their ratios. */
struct odds {
	u64 blocks, taken, several;
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
 * The most that a window may take beyond its want. Three quarters of what the limits allow, counted in granules, can be
 * live at once: as many bytes stay as granules may still come.
 */
static u64 spare_bytes(const struct vd_windows *windows)
{
	const struct vd_windows_config *config = &windows->config;
	u64 granules =
		vd_min(config->limit_bytes >> windows->granule_shift, config->limit_mappings);
	u64 least = (granules - granules / 4) << windows->granule_shift;
	u64 come = least - vd_min(least, windows->census.live_bytes);
	u64 rest = config->limit_bytes - vd_min(live_bytes(windows), config->limit_bytes);

	return rest - vd_min(rest, come);
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

/* What has come this far is as likely as not to come as far again. */
static void add_doubled(const struct vd_windows *windows, const struct vd_window_counts *counts,
			u32 weight, struct evidence *evidence)
{
	struct vd_window_counts doubled;
	u32 level;

	for (level = 0; level < windows->levels; level++)
		doubled.taken[level] =
			(u32)vd_min(2 * counts->taken[level], 1u << (windows->levels - 1 - level));
	add_counts(windows, &doubled, weight, evidence);
}

static void add_dense(const struct vd_windows *windows, u32 weight, struct evidence *evidence)
{
	struct vd_window_counts dense;
	u32 level;

	for (level = 0; level < windows->levels; level++)
		dense.taken[level] = (u32)1 << (windows->levels - 1 - level);
	add_counts(windows, &dense, weight, evidence);
}

/*
 * The evidence for one level, given that all there is so far lies in one block of it: the more that is, the less likely are
 * those blocks of the census which took several (Bayes; each further granule would have been elsewhere as likely as not).
 */
static struct odds weigh(const struct evidence *evidence, const struct own *own, u32 level)
{
	u64 several = evidence->several[level], one = evidence->blocks - several;
	u64 in_several = evidence->taken[level] - one;
	struct odds odds = {.blocks = evidence->blocks << ODDS_SHIFT,
			    .taken = evidence->taken[level] << ODDS_SHIFT,
			    .several = several << ODDS_SHIFT};
	u32 i;

	if (own->inside || own->live.taken[level] > 1 || !several)
		return odds;
	for (i = 1; i < own->live.taken[0] && odds.several > 1; i++)
		odds.several = odds.several * several / in_several;
	odds.blocks = odds.several + (one << ODDS_SHIFT);
	odds.taken = odds.several * in_several / several + (one << ODDS_SHIFT);
	return odds;
}

/* The block's cost from now on, in bytes, if it gets windows of this level and of no other. */
static u64 cost_of_level(const struct vd_windows *windows, const struct odds *odds,
			 const struct own *own, u32 level, u64 price)
{
	u64 more = odds->taken * own->open.taken[level] >> (windows->levels - 1 - level);

	return vd_max(more, odds->blocks) * ((windows->config.granule << level) + price) /
	       odds->blocks;
}

static u64 least_cost(const struct vd_windows *windows, const struct evidence *evidence,
		      const struct own *own, u64 price)
{
	u64 least = windows->config.max_window + price;
	u32 level;

	for (level = 0; evidence->blocks && level < windows->levels; level++) {
		struct odds odds = {.blocks = evidence->blocks, .taken = evidence->taken[level]};

		least = vd_min(least, cost_of_level(windows, &odds, own, level, price));
	}
	return least;
}

static u32 choose_level(const struct vd_windows *windows, const struct own *own)
{
	struct evidence evidence = {0};
	u64 value = price(windows), beyond, least = ~(u64)0;
	u32 bin = vd_log2(own->live.taken[0]), i, level, best = 0;

	if (own->inside)
		bin = (u32)vd_min(vd_max(bin, BIN_INSIDE), windows->levels - 1);

	add_dense(windows, WEIGHT_DENSE, &evidence);
	for (i = windows->levels - 1; i > bin; i--)
		add_census(windows, i, &evidence);
	beyond = least_cost(windows, &evidence, own, value);
	add_census(windows, bin, &evidence);
	add_counts(windows, &own->live, WEIGHT_OWN, &evidence);
	add_doubled(windows, &own->live, WEIGHT_DOUBLED, &evidence);
	for (level = 0; level < windows->levels; level++) {
		/* This window now, and what is best for the rest should there be more. */
		struct odds odds = weigh(&evidence, own, level);
		u64 once = (windows->config.granule << level) + value +
			   odds.several * beyond / odds.blocks;
		u64 cost = vd_min(once, cost_of_level(windows, &odds, own, level, value));

		if (cost < least) {
			least = cost;
			best = level;
		}
	}
	return best;
}

static bool is_live(const struct vd_window *window)
{
	return vd_atomic_read(&window->refs) != 0;
}

/* Whether a live window lies in the stretch, which is in one area. */
static bool is_used(const struct vd_windows *windows, u64 start, u64 end)
{
	const struct vd_window_area *area = vd_area_find(&windows->gpas, start);
	const struct vd_window_link *link;

	for (link = area ? area->links : NULL; link; link = link->next)
		if (is_live(link->window) && link->window->gpa < end &&
		    vd_window_end(link->window) > start)
			return true;
	return false;
}

static void count_open(const struct vd_windows *windows, const struct vd_window_area *area,
		       u64 block, struct vd_window_counts *open)
{
	unsigned long map[VD_MAP_WORDS];
	const struct vd_window_link *link;

	memset(map, 0xff, sizeof(map));
	for (link = area ? area->links : NULL; link; link = link->next) {
		const struct vd_window *window = link->window;
		u64 at = vd_max(window->gpa, block);
		u64 end = vd_min(vd_window_end(window), block + windows->config.max_window);

		for (; is_live(window) && at < end; at += windows->config.granule)
			vd_bit_clear(map, (u32)((at - block) >> windows->granule_shift));
	}
	vd_census_count(windows, map, open);
}

/* The want's own block as it is used now, the wants that come with it included. */
static void count_own(struct vd_windows *windows, const struct vd_windows_want *wants, u32 count,
		      struct own *own)
{
	enum { WITNESSES = 64 };
	u64 block = vd_round_down(wants->gpa, windows->config.max_window);
	u64 end = block + windows->config.max_window;
	struct vd_window_area *area = vd_area_find(&windows->gpas, block);
	u64 near = windows->config.max_window;
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
	vd_census_count(windows, map, &own->live);
	count_open(windows, area, block, &own->open);
	own->inside = block > 0 && is_used(windows, block - near, block) &&
		      is_used(windows, end, end + near);
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
	struct own own;
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
