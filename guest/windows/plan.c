// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Wants become windows in rounds: a plan, one exchange with the host, a commit. What the host
 * refuses is tried again smaller, or with more idle windows out of its way; each answer of that
 * kind takes a want one of a few steps further, so that rounds end. A want fails when a window of
 * just its granules cannot be had with every idle window gone.
 *
 * Between plan and commit a new window is linked (later plans of the same batch see it) but dead
 * and in no slot.
 */
#include "internal.h"

enum { TRIES = 48 };

enum step { STEP_DONE, STEP_NEXT_ROUND };

static void fail(struct vd_windows *windows, struct vd_windows_want *want, int error)
{
	want->error = error;
	VD_STAT_ADD(windows, refused, 1);
}

static bool is_open(const struct vd_windows_want *want)
{
	return !want->window && !want->error;
}

static bool check_want(const struct vd_windows_want *want)
{
	return want->len && want->len <= VD_ADDRESS_END &&
	       want->gpa <= VD_ADDRESS_END - want->len && want->access &&
	       !(want->access & ~(u32)(VD_WINDOW_READ | VD_WINDOW_WRITE)) &&
	       !(want->align & (want->align - 1));
}

static bool is_aligned(const struct vd_window *window, const struct vd_windows_want *want)
{
	return !want->align || !(window->segments[0].bus & (want->align - 1));
}

/* Whether the window does for the want, once the host has mapped it. */
static bool suits(const struct vd_windows *windows, const struct vd_window *window,
		  const struct vd_windows_want *want)
{
	struct vd_window_range least;

	if (!want->exact)
		return vd_window_covers(window, want->gpa, want->len, want->access);
	least = vd_size_least(windows, want);
	return window->gpa == least.gpa && window->size == least.size &&
	       vd_window_covers(window, want->gpa, want->len, want->access) &&
	       is_aligned(window, want);
}

/* A window that is there, be it in no slot, with a reference. */
static struct vd_window *find(struct vd_windows *windows, const struct vd_windows_want *want)
{
	struct vd_window_area *area = vd_area_find(&windows->gpas, want->gpa);
	struct vd_window_link *link;

	if (!area)
		return NULL;
	if (!want->exact) {
		struct vd_window *window =
			vd_windows_get(windows, want->gpa, want->len, want->access);

		if (window)
			return window;
	}
	for (link = area->links; link; link = link->next)
		if (link->window->nr_segments && suits(windows, link->window, want) &&
		    vd_window_take(link->window)) {
			vd_window_touch(windows, want->gpa, want->len);
			return link->window;
		}
	return NULL;
}

/* Whether a window of this batch will do. */
static bool is_planned(const struct vd_windows_batch *batch, const struct vd_windows_want *want)
{
	u32 i;

	if (want->exact)
		return false;
	for (i = batch->nr_maps; i-- > 0;) {
		const struct vd_windows_map *map = &batch->maps[i];

		if (map->gpa <= want->gpa && want->gpa + want->len <= map->gpa + map->size &&
		    !(want->access & ~map->access))
			return true;
	}
	return false;
}

static bool fits(const struct vd_windows *windows, u64 size, u64 idle_bytes, u64 idle_mappings)
{
	const struct vd_windows_stats *stats = &windows->stats;
	const struct vd_windows_config *config = &windows->config;
	u64 bytes = stats->bytes - vd_min(idle_bytes, stats->bytes);
	u64 mappings = stats->mappings - vd_min(idle_mappings, stats->mappings);

	return size <= config->limit_bytes && bytes <= config->limit_bytes - size &&
	       mappings < config->limit_mappings;
}

static void evict_within_area(struct vd_windows *windows, struct vd_window_area *area,
			      struct vd_window_range range, u32 access,
			      struct vd_windows_batch *batch)
{
	struct vd_window_link *link, *next;

	for (link = area ? area->links : NULL; link; link = next) {
		struct vd_window *window = link->window;

		next = link->next;
		if (window->in_lru && window->gpa >= range.gpa &&
		    vd_window_end(window) <= range.gpa + range.size && !(window->access & ~access))
			vd_idle_evict(windows, window, batch);
	}
}

/* Idle windows that the new one makes useless. */
static void evict_within(struct vd_windows *windows, struct vd_window_range range, u32 access,
			 struct vd_windows_batch *batch)
{
	u64 at = vd_round_down(range.gpa, VD_AREA_SIZE);

	for (; at < range.gpa + range.size; at += VD_AREA_SIZE)
		evict_within_area(windows, vd_area_find(&windows->gpas, at), range, access, batch);
}

static enum step evict_one(struct vd_windows *windows, struct vd_windows_batch *batch, bool *none)
{
	struct vd_window *window = vd_idle_first(windows);

	*none = !window;
	if (!window)
		return STEP_DONE;
	if (batch->nr_unmaps == batch->max_unmaps)
		return STEP_NEXT_ROUND;
	if (vd_idle_evict(windows, window, batch))
		VD_STAT_ADD(windows, evicted, 1);
	return STEP_DONE;
}

/* What the host asked for beyond what the limits say. */
static enum step evict_extra(struct vd_windows *windows, struct vd_windows_want *want,
			     struct vd_windows_batch *batch)
{
	while (want->extra) {
		u64 before = windows->stats.bytes;
		bool none;

		if (evict_one(windows, batch, &none) == STEP_NEXT_ROUND)
			return STEP_NEXT_ROUND;
		want->extra -= vd_min(want->extra, before - windows->stats.bytes);
		if (none)
			want->extra = 0;
	}
	return STEP_DONE;
}

/* Half of it next time; false: it is as small as can be. */
static bool shrink(const struct vd_windows *windows, struct vd_windows_want *want, u64 size)
{
	struct vd_window_range least = vd_size_least(windows, want);

	if (size <= least.size)
		return false;
	want->cap = vd_max(size / 2, windows->config.granule);
	return true;
}

/*
 * The range for the first want, and room for it: idle windows go, as many as it takes, unless all
 * of them were not enough. Then it gets smaller.
 */
static enum step make_room(struct vd_windows *windows, struct vd_windows_want *wants, u32 count,
			   struct vd_windows_batch *batch, struct vd_window_range *range)
{
	bool none = false;

	for (;;) {
		*range = vd_size_choose(windows, wants, count);
		while (!none &&
		       fits(windows, range->size, windows->idle_bytes, windows->idle_mappings)) {
			if (fits(windows, range->size, 0, 0))
				return STEP_DONE;
			if (evict_one(windows, batch, &none) == STEP_NEXT_ROUND)
				return STEP_NEXT_ROUND;
		}
		if (fits(windows, range->size, 0, 0))
			return STEP_DONE;
		if (windows->doomed)
			return STEP_NEXT_ROUND;
		if (!shrink(windows, wants, range->size)) {
			fail(windows, wants, -ENOSPC);
			return STEP_DONE;
		}
	}
}

static u32 access_of(const struct vd_windows *windows, const struct vd_windows_want *want)
{
	return windows->config.strict || want->narrow ? want->access
						      : VD_WINDOW_READ | VD_WINDOW_WRITE;
}

static int add_window(struct vd_windows *windows, struct vd_windows_want *wants, u32 index,
		      struct vd_window_range range, struct vd_windows_batch *batch)
{
	struct vd_windows_want *want = &wants[index];
	struct vd_window_range least = vd_size_least(windows, want);
	struct vd_window *window = vd_window_new(windows);
	int err;

	if (!window)
		return -ENOMEM;
	window->gpa = range.gpa;
	vd_write_once(window->size, range.size);
	window->access = access_of(windows, want);
	window->nr_segments = 0;
	window->exact = want->exact;
	window->span = (u32)(least.size >> windows->granule_shift);
	window->want = index;
	err = vd_window_link(windows, window);
	if (err) {
		vd_window_recycle(windows, window);
		return err;
	}
	if (!want->exact)
		vd_window_touch(windows, want->gpa, want->len);
	VD_STAT_ADD(windows, bytes, range.size);
	VD_STAT_ADD(windows, mappings, 1);
	batch->maps[batch->nr_maps++] = (struct vd_windows_map){
		.gpa = range.gpa,
		.size = range.size,
		.align = want->exact ? want->align : 0,
		.access = window->access,
		.max_segments = range.size == least.size ? 1 : VD_WINDOW_SEGMENTS,
		.window = window,
	};
	return 0;
}

static enum step plan_one(struct vd_windows *windows, struct vd_windows_want *wants, u32 index,
			  u32 count, struct vd_windows_batch *batch)
{
	struct vd_windows_want *want = &wants[index];
	struct vd_window_range range;
	enum step step;
	int err;

	if (!check_want(want)) {
		fail(windows, want, -EINVAL);
		return STEP_DONE;
	}
	want->window = find(windows, want);
	if (want->window || is_planned(batch, want))
		return STEP_DONE;
	if (batch->nr_maps == batch->max_maps)
		return STEP_NEXT_ROUND;
	step = evict_extra(windows, want, batch);
	if (step == STEP_DONE)
		step = make_room(windows, want, count - index, batch, &range);
	if (step != STEP_DONE || want->error)
		return step;
	evict_within(windows, range, access_of(windows, want), batch);
	err = add_window(windows, wants, index, range, batch);
	if (err)
		fail(windows, want, err);
	return STEP_DONE;
}

void vd_windows_plan(struct vd_windows *windows, struct vd_windows_want *wants, u32 count,
		     struct vd_windows_batch *batch)
{
	struct vd_window *window;
	u32 i;

	batch->nr_maps = batch->nr_unmaps = 0;
	vd_idle_drain(windows);
	vd_census_advance(windows);
	vd_unmap_doomed(windows, batch);
	while (windows->config.strict && batch->nr_unmaps < batch->max_unmaps &&
	       (window = vd_idle_first(windows)))
		vd_idle_evict(windows, window, batch);
	for (i = 0; i < count; i++)
		if (is_open(&wants[i]) &&
		    plan_one(windows, wants, i, count, batch) == STEP_NEXT_ROUND)
			break;
	/* Nothing will change: a batch without room. */
	if (i < count && !batch->nr_maps && !batch->nr_unmaps)
		fail(windows, &wants[i], -EINVAL);
}

/* The host's segments, neighbours joined. -EIO: they are not what was asked for. */
static int take_segments(const struct vd_windows *windows, const struct vd_windows_map *map,
			 struct vd_window *window)
{
	u64 mask = windows->config.granule - 1, sum = 0;
	u32 i, count = 0;

	if (!map->nr_segments || map->nr_segments > map->max_segments)
		return -EIO;
	for (i = 0; i < map->nr_segments; i++) {
		struct vd_window_segment next = map->segments[i];
		struct vd_window_segment *last = count ? &window->segments[count - 1] : NULL;

		if (!next.len || ((next.bus | next.len) & mask) || next.len > map->size - sum ||
		    next.bus > VD_ADDRESS_END - next.len)
			return -EIO;
		sum += next.len;
		if (last && last->bus + last->len == next.bus)
			last->len += next.len;
		else
			window->segments[count++] = next;
	}
	window->nr_segments = count;
	return sum == map->size ? 0 : -EIO;
}

static void count_made(struct vd_windows *windows, const struct vd_windows_want *want,
		       const struct vd_window *window)
{
	const u32 most = sizeof(windows->stats.sizes) / sizeof(windows->stats.sizes[0]) - 1;
	u32 size = (u32)vd_min(vd_log2(window->size >> windows->granule_shift), most);

	VD_STAT_ADD(windows, sizes[size], 1);
	VD_STAT_ADD(windows, shrunk, want->cap != 0);
}

/* Mapped, but there is no use for it: the next batch unmaps it. */
static void doom(struct vd_windows *windows, struct vd_windows_map *map)
{
	struct vd_window *window = map->window;

	window->nr_segments = 0;
	vd_window_unlink(windows, window);
	window->next = windows->doomed;
	windows->doomed = window;
	map->window = NULL;
}

/* Mapped. The window has a reference of the commit's own until all wants have looked at it. */
static void accept_window(struct vd_windows *windows, struct vd_windows_want *want,
			  struct vd_windows_map *map)
{
	struct vd_window *window = map->window;
	int err = take_segments(windows, map, window);

	window->id = map->id;
	if (!err)
		err = vd_window_publish(windows, window);
	if (err) {
		doom(windows, map);
		fail(windows, want, err);
		return;
	}
	count_made(windows, want, window);
	if (suits(windows, window, want))
		return;
	/* It stays, idle: the same want without an alignment finds it. */
	if (!is_aligned(window, want))
		want->why = VD_WHY_ALIGNMENT;
	if (map->max_segments == 1)
		fail(windows, want, -EIO);
	want->single = true;
}

/* More room, then less of a window; nothing left to give up: -ENOSPC. */
static int press(struct vd_windows *windows, struct vd_windows_want *want, u64 size)
{
	bool idle = vd_idle_first(windows);

	if (idle && (want->tries & 1)) {
		want->extra = size;
		return 0;
	}
	if (want->why != VD_WHY_MAPPINGS && shrink(windows, want, size))
		return 0;
	want->extra = size << vd_min(want->tries, 16);
	return idle ? 0 : -ENOSPC;
}

static int retry_smaller(struct vd_windows *windows, struct vd_windows_want *want,
			 const struct vd_windows_map *map, int error)
{
	struct vd_window_area *area = vd_area_find(&windows->gpas, want->gpa);

	if (!shrink(windows, want, map->size))
		return error;
	if (area && want->why == VD_WHY_NOT_RAM && (!area->cap || area->cap > want->cap))
		area->cap = want->cap;
	return 0;
}

/* 0: another round may help. */
static int judge(struct vd_windows *windows, struct vd_windows_want *want,
		 const struct vd_windows_map *map)
{
	switch (map->why) {
	case VD_WHY_NOT_RAM:
		return retry_smaller(windows, want, map, -EINVAL);
	case VD_WHY_ACCESS:
		if (want->narrow || map->access == want->access)
			return -EINVAL;
		want->narrow = true;
		return 0;
	case VD_WHY_BYTES:
	case VD_WHY_MAPPINGS:
	case VD_WHY_SPACE:
	case VD_WHY_SEGMENTS:
		return press(windows, want, map->size);
	/* Nothing that is idle is in its way, most likely, and none of it is worth the alignment. */
	case VD_WHY_ALIGNMENT:
		return -ENOSPC;
	case VD_WHY_LENGTH:
	case VD_WHY_FLAGS:
		return -EINVAL;
	case VD_WHY_GONE:
		return -ENODEV;
	case VD_WHY_MEMORY:
		return retry_smaller(windows, want, map, -ENOMEM);
	default:
		return retry_smaller(windows, want, map, -EIO);
	}
}

static void refuse_window(struct vd_windows *windows, struct vd_windows_want *want,
			  struct vd_windows_map *map)
{
	int err;

	if (map->mapped) {
		map->window->id = map->id;
		doom(windows, map);
	} else {
		vd_window_unlink(windows, map->window);
		vd_window_recycle(windows, map->window);
		map->window = NULL;
		VD_STAT_ADD(windows, bytes, -map->size);
		VD_STAT_ADD(windows, mappings, -(u64)1);
	}
	want->why = map->why;
	err = ++want->tries > TRIES ? -EIO : judge(windows, want, map);
	if (err)
		fail(windows, want, err);
}

static void note_peaks(struct vd_windows *windows)
{
	struct vd_windows_stats *stats = &windows->stats;

	vd_write_once(stats->peak_bytes, vd_max(stats->peak_bytes, stats->bytes));
	vd_write_once(stats->peak_mappings, vd_max(stats->peak_mappings, stats->mappings));
}

bool vd_windows_commit(struct vd_windows *windows, struct vd_windows_want *wants, u32 count,
		       struct vd_windows_batch *batch)
{
	bool more = false;
	u32 i;

	for (i = 0; i < batch->nr_maps; i++) {
		struct vd_windows_map *map = &batch->maps[i];

		if (map->why)
			refuse_window(windows, &wants[map->window->want], map);
		else
			accept_window(windows, &wants[map->window->want], map);
	}
	note_peaks(windows);
	for (i = 0; i < count; i++)
		if (is_open(&wants[i]))
			wants[i].window = find(windows, &wants[i]);
	for (i = 0; i < batch->nr_maps; i++)
		if (batch->maps[i].window)
			vd_windows_put(windows, batch->maps[i].window);
	batch->nr_maps = batch->nr_unmaps = 0;
	for (i = 0; i < count; i++)
		more |= is_open(&wants[i]);
	return more;
}
