// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * A window's way into the trees and out of them.
 *
 * Windows may overlap. A granule's slot holds the window with which a request that starts there
 * gets furthest, so that one look tells whether any serves it; what lies behind it is in the area's
 * list. When a window goes, the others of its areas get its slots, and in between a reader misses
 * and comes under the lock, where nothing is missed.
 */
#include "internal.h"

struct vd_window *vd_window_new(struct vd_windows *windows)
{
	struct vd_window *window = windows->free;

	if (window) {
		windows->free = window->next;
		return window;
	}
	window = vd_window_pool_take(&windows->spare_windows, 0);
	if (!window)
		return NULL;
	vd_atomic_set_release(&window->refs, VD_WINDOW_DEAD);
	window->next_born = windows->born;
	vd_store_release(&windows->born, window);
	return window;
}

static void drop_links(struct vd_windows *windows, struct vd_window *window)
{
	if (window->links_spare)
		vd_window_pool_give(&windows->spare_links, window->links);
	else if (window->links != window->near)
		vd_free(window->links);
	window->links = window->near;
	window->links_spare = false;
}

static bool take_links(struct vd_windows *windows, struct vd_window *window, u32 count)
{
	window->links = window->near;
	if (count <= sizeof(window->near) / sizeof(window->near[0]))
		return true;
	window->links_spare = count <= VD_LINKS;
	window->links = window->links_spare ? vd_window_pool_take(&windows->spare_links, 0)
					    : vd_alloc(count * sizeof(*window->links), false);
	if (window->links)
		return true;
	window->links = window->near;
	window->links_spare = false;
	return false;
}

void vd_window_recycle(struct vd_windows *windows, struct vd_window *window)
{
	drop_links(windows, window);
	window->nr_links = 0;
	window->next = windows->free;
	windows->free = window;
}

static bool overlap(const struct vd_window *a, const struct vd_window *b)
{
	return a->gpa < vd_window_end(b) && b->gpa < vd_window_end(a);
}

static void link_add(struct vd_windows *windows, struct vd_window_area *area,
		     struct vd_window_link *link, struct vd_window *window)
{
	struct vd_window_link *other;

	link->window = window;
	link->area = area;
	link->doubled = false;
	for (other = area->links; other && !link->doubled; other = other->next)
		link->doubled = overlap(other->window, window);
	area->nr_doubled += link->doubled;
	link->prev = NULL;
	link->next = area->links;
	if (area->links) {
		area->links->prev = link;
	} else {
		/* At the front, behind the census: a round does not run after new ones. */
		area->ring.next = windows->areas.next;
		area->ring.prev = &windows->areas;
		area->ring.next->prev = &area->ring;
		area->ring.prev->next = &area->ring;
	}
	area->links = link;
}

static void link_remove(struct vd_windows *windows, struct vd_window_link *link)
{
	struct vd_window_area *area = link->area;

	area->nr_doubled -= link->doubled;
	if (link->prev)
		link->prev->next = link->next;
	else
		area->links = link->next;
	if (link->next)
		link->next->prev = link->prev;
	if (area->links)
		return;
	if (windows->cursor == &area->ring)
		windows->cursor = area->ring.next;
	area->ring.prev->next = area->ring.next;
	area->ring.next->prev = area->ring.prev;
}

int vd_window_link(struct vd_windows *windows, struct vd_window *window)
{
	u64 base = vd_round_down(window->gpa, VD_AREA_SIZE);
	u32 count = (u32)((vd_window_end(window) - base + VD_AREA_SIZE - 1) >> VD_AREA_SHIFT);
	u32 i;

	if (!take_links(windows, window, count))
		return -ENOMEM;
	for (i = 0; i < count; i++)
		if (!vd_area_make(windows, &windows->gpas, base + ((u64)i << VD_AREA_SHIFT)))
			goto err_area;
	for (i = 0; i < count; i++)
		link_add(windows, vd_area_find(&windows->gpas, base + ((u64)i << VD_AREA_SHIFT)),
			 &window->links[i], window);
	window->nr_links = count;
	return 0;

err_area:
	drop_links(windows, window);
	return -ENOMEM;
}

/* Of a window's granules in an area: the first, and behind the last. */
static void granules_in(const struct vd_windows *windows, const struct vd_window_area *area,
			u64 gpa, u64 end, u32 *first, u32 *behind)
{
	*first = gpa > area->base ? vd_granule_of(windows, gpa) : 0;
	*behind = end < area->base + VD_AREA_SIZE ? vd_granule_of(windows, end)
						  : windows->area_granules;
}

/* Whether a request at that address is better off with the new window. */
static bool better(const struct vd_window *new, const struct vd_window *old, u64 gpa)
{
	u64 new_reach, old_reach;

	if (!old)
		return true;
	if (new->access != old->access)
		return !(old->access & ~new->access);
	new_reach = vd_window_reach(new, gpa);
	old_reach = vd_window_reach(old, gpa);
	return new_reach > old_reach || (new_reach == old_reach && new->size > old->size);
}

static void fill_slots(const struct vd_windows *windows, struct vd_window_area *area,
		       struct vd_window *window, u64 from, u64 to)
{
	u64 gpa = vd_max(window->gpa, from);
	u32 i, behind;

	granules_in(windows, area, gpa, vd_min(vd_window_end(window), to), &i, &behind);
	for (gpa = vd_max(gpa, area->base); i < behind; i++, gpa += windows->config.granule)
		if (better(window, area->slots[i], gpa))
			vd_store_release(&area->slots[i], window);
}

/* The others of the area that lie in the stretch get what is free there now. */
static void fill_from_others(const struct vd_windows *windows, struct vd_window_area *area,
			     const struct vd_window *gone)
{
	struct vd_window_link *link;

	for (link = area->links; link; link = link->next)
		if (link->window->nr_segments && overlap(link->window, gone))
			fill_slots(windows, area, link->window, gone->gpa, vd_window_end(gone));
}

static void clear_slots(const struct vd_windows *windows, struct vd_window_area *area,
			const struct vd_window *window)
{
	u32 first, behind, i;

	granules_in(windows, area, window->gpa, vd_window_end(window), &first, &behind);
	for (i = first; i < behind; i++)
		if (area->slots[i] == window)
			vd_store_release(&area->slots[i], NULL);
	if (area->nr_doubled)
		fill_from_others(windows, area, window);
	for (i = first; i < behind; i++)
		if (!area->slots[i] && vd_bit_test(area->touched, i))
			vd_bit_clear(area->touched, i);
}

static void clear_bus(struct vd_windows *windows, const struct vd_window *window)
{
	u32 i;

	for (i = 0; i < window->nr_segments; i++) {
		const struct vd_window_segment *segment = &window->segments[i];
		u64 at;

		for (at = segment->bus; at < segment->bus + segment->len;
		     at += windows->config.granule) {
			struct vd_window_area *area = vd_area_find(&windows->buses, at);

			if (area && area->slots[vd_granule_of(windows, at)] == window)
				vd_store_release(&area->slots[vd_granule_of(windows, at)], NULL);
		}
	}
}

void vd_window_unlink(struct vd_windows *windows, struct vd_window *window)
{
	u32 i;

	clear_bus(windows, window);
	for (i = 0; i < window->nr_links; i++) {
		link_remove(windows, &window->links[i]);
		clear_slots(windows, window->links[i].area, window);
	}
	window->nr_links = 0;
}

/* Room in the tree of bus addresses, and nobody there. */
static int check_bus(struct vd_windows *windows, const struct vd_window_segment *segment)
{
	u64 at;

	for (at = segment->bus; at < segment->bus + segment->len; at += windows->config.granule) {
		struct vd_window_area *area = vd_area_make(windows, &windows->buses, at);

		if (!area)
			return -ENOMEM;
		if (area->slots[vd_granule_of(windows, at)])
			return -EIO;
	}
	return 0;
}

static void fill_bus(struct vd_windows *windows, struct vd_window *window)
{
	u32 i;

	for (i = 0; i < window->nr_segments; i++) {
		const struct vd_window_segment *segment = &window->segments[i];
		u64 at;

		for (at = segment->bus; at < segment->bus + segment->len;
		     at += windows->config.granule)
			vd_store_release(&vd_area_find(&windows->buses, at)
						  ->slots[vd_granule_of(windows, at)],
					 window);
	}
}

int vd_window_publish(struct vd_windows *windows, struct vd_window *window)
{
	int err;
	u32 i;

	for (i = 0; i < window->nr_segments; i++) {
		err = check_bus(windows, &window->segments[i]);
		if (err)
			return err;
	}
	/* From here on somebody who remembers it from an earlier life may take a reference. */
	vd_atomic_set_release(&window->refs, 1);
	fill_bus(windows, window);
	for (i = 0; i < window->nr_links; i++)
		fill_slots(windows, window->links[i].area, window, 0, VD_ADDRESS_END);
	return 0;
}

void vd_window_touch(struct vd_windows *windows, u64 gpa, u64 len)
{
	u64 at = vd_round_down(gpa, windows->config.granule);

	for (; at < gpa + len; at += windows->config.granule) {
		struct vd_window_area *area = vd_area_find(&windows->gpas, at);

		if (area && !vd_bit_test(area->touched, vd_granule_of(windows, at)))
			vd_bit_set(area->touched, vd_granule_of(windows, at));
	}
}
