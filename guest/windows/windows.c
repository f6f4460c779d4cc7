// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * What runs without a lock: to find a window, to take a reference and to give it back. Besides the
 * look into a tree a hit costs one compare-and-exchange, and giving back another; the first use of
 * a granule and the first way to idle since the last look at the idle ones write a little more. See
 * internal.h for the rules.
 */
#include "internal.h"

static bool check_config(const struct vd_windows_config *config)
{
	u64 granule = config->granule, most = config->max_window;

	return granule >= 4096 && granule <= VD_AREA_SIZE && !(granule & (granule - 1)) &&
	       (!most || (most >= granule && !(most & (most - 1)))) &&
	       config->limit_bytes >= granule && config->limit_mappings > 0;
}

int vd_windows_create(const struct vd_windows_config *config, struct vd_windows **out)
{
	struct vd_windows *windows;

	if (!check_config(config))
		return -EINVAL;
	windows = vd_alloc(sizeof(*windows), true);
	if (!windows)
		return -ENOMEM;
	windows->config = *config;
	if (!config->max_window || config->max_window > VD_AREA_SIZE)
		windows->config.max_window = VD_AREA_SIZE;
	windows->granule_shift = vd_log2(config->granule);
	windows->area_granules = (u32)(VD_AREA_SIZE >> windows->granule_shift);
	windows->levels = vd_log2(windows->config.max_window) - windows->granule_shift + 1;
	windows->areas.next = windows->areas.prev = windows->cursor = &windows->areas;
	vd_window_pool_init(&windows->spare_windows, sizeof(struct vd_window), 512);
	vd_window_pool_init(&windows->spare_areas,
			    sizeof(struct vd_window_area) +
				    windows->area_granules * sizeof(struct vd_window *),
			    128);
	vd_window_pool_init(&windows->spare_nodes, sizeof(struct vd_window_node), 12);
	vd_window_pool_init(&windows->spare_links, VD_LINKS * sizeof(struct vd_window_link), 4);
	vd_windows_refill(windows);
	*out = windows;
	return 0;
}

void vd_windows_destroy(struct vd_windows *windows)
{
	struct vd_window *window;

	if (!windows)
		return;
	while ((window = windows->born)) {
		windows->born = window->next_born;
		if (window->links != window->near)
			vd_free(window->links);
		vd_free(window);
	}
	vd_area_free_all(&windows->gpas);
	vd_area_free_all(&windows->buses);
	vd_window_pool_finish(&windows->spare_windows);
	vd_window_pool_finish(&windows->spare_areas);
	vd_window_pool_finish(&windows->spare_nodes);
	vd_window_pool_finish(&windows->spare_links);
	vd_free(windows);
}

/* The bit tells the census about a granule; steady use finds it set and writes nothing. */
static void touch(struct vd_windows *windows, struct vd_window_area *area, u64 gpa, u64 len)
{
	u32 granule = vd_granule_of(windows, gpa);

	if (!vd_bit_test(area->touched, granule))
		vd_bit_set(area->touched, granule);
	if ((gpa & (windows->config.granule - 1)) + len > windows->config.granule)
		vd_window_touch(windows, gpa, len);
}

struct vd_window *vd_windows_get(struct vd_windows *windows, u64 gpa, u64 len, u32 access)
{
	struct vd_window_area *area = vd_area_find(&windows->gpas, gpa);
	struct vd_window *window;

	if (!area || !len)
		return NULL;
	window = vd_load_acquire(&area->slots[vd_granule_of(windows, gpa)]);
	if (!window || !vd_window_take(window))
		return NULL;
	/* With the reference it stays what it is; it may be another one by now. */
	if (!vd_window_covers(window, gpa, len, access)) {
		vd_windows_put(windows, window);
		return NULL;
	}
	touch(windows, area, gpa, len);
	return window;
}

struct vd_window *vd_windows_at(struct vd_windows *windows, u64 bus)
{
	struct vd_window_area *area = vd_area_find(&windows->buses, bus);

	return area ? vd_load_acquire(&area->slots[vd_granule_of(windows, bus)]) : NULL;
}

/* Its last user is gone. Unless it is in the queue already, which costs nothing but a look. */
static void enqueue(struct vd_windows *windows, struct vd_window *window)
{
	int queued = vd_atomic_read(&window->queued);
	struct vd_window *head;

	if (queued > 1)
		return;
	/* Fails when the queue is being emptied or somebody was faster: then it is not ours to
	 * tell. */
	if (queued == 1 && vd_atomic_try_exchange(&window->queued, &queued, 2))
		return;
	if (queued != 0 || !vd_atomic_try_exchange(&window->queued, &queued, 1))
		return;
	head = vd_read_once(windows->queue);
	do {
		window->queue_next = head;
	} while (!vd_try_exchange(&windows->queue, &head, window));
}

bool vd_windows_put(struct vd_windows *windows, struct vd_window *window)
{
	int refs = vd_atomic_read(&window->refs);

	do {
		/* Given back once too often: a driver's error that must not become ours. */
		if (refs == 0 || refs == VD_WINDOW_DEAD)
			return false;
	} while (!vd_atomic_try_exchange(&window->refs, &refs, refs - 1));
	if (refs != 1 && refs != VD_WINDOW_DEAD + 1)
		return false;
	enqueue(windows, window);
	return refs == 1 && windows->config.strict;
}

void vd_windows_forget(struct vd_windows *windows)
{
	struct vd_window *window;

	while ((window = windows->doomed)) {
		windows->doomed = window->next;
		vd_window_recycle(windows, window);
	}
	for (window = windows->born; window; window = window->next_born) {
		if (vd_atomic_read(&window->refs) < 0)
			continue;
		vd_idle_drop(windows, window);
		vd_window_unlink(windows, window);
		/* Who still holds it lets it go later, one by one. */
		if (vd_atomic_add(&window->refs, VD_WINDOW_DEAD) == VD_WINDOW_DEAD)
			vd_window_recycle(windows, window);
		else
			window->forgotten = true;
	}
	vd_write_once(windows->stats.bytes, 0);
	vd_write_once(windows->stats.mappings, 0);
}

void vd_windows_grown(struct vd_windows *windows, u64 gpa, u64 len)
{
	u64 at = vd_round_down(gpa, VD_AREA_SIZE);
	u64 end = gpa + len < gpa ? VD_ADDRESS_END : vd_min(gpa + len, VD_ADDRESS_END);

	for (; at < end; at += VD_AREA_SIZE) {
		struct vd_window_area *area = vd_area_find(&windows->gpas, at);

		if (area)
			area->cap = 0;
	}
}

void vd_windows_stats(const struct vd_windows *windows, struct vd_windows_stats *out)
{
	const struct vd_windows_stats *stats = &windows->stats;
	const struct vd_window *window;
	u32 i;

	*out = (struct vd_windows_stats){
		.bytes = vd_read_once(stats->bytes),
		.mappings = vd_read_once(stats->mappings),
		.peak_bytes = vd_read_once(stats->peak_bytes),
		.peak_mappings = vd_read_once(stats->peak_mappings),
		.evicted = vd_read_once(stats->evicted),
		.shrunk = vd_read_once(stats->shrunk),
		.refused = vd_read_once(stats->refused),
	};
	for (i = 0; i < sizeof(out->sizes) / sizeof(out->sizes[0]); i++)
		out->sizes[i] = vd_read_once(stats->sizes[i]);
	window = vd_load_acquire(&windows->born);
	for (; window; window = window->next_born) {
		if (vd_atomic_read(&window->refs) <= 0)
			continue;
		out->live_mappings++;
		out->live_bytes += vd_read_once(window->size);
	}
}
