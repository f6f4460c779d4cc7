// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Idle windows, least recently used first.
 *
 * The list is brought up to date only when somebody looks: the queue of windows that went idle
 * since then comes to its end, those that went idle again and again behind those that did once.
 * What is in use again leaves the list when it is seen there; it comes back by the queue.
 * Everything here is under the lock.
 */
#include "internal.h"

static void lru_add(struct vd_windows *windows, struct vd_window *window)
{
	window->lru_next = NULL;
	window->lru_prev = windows->lru_last;
	if (windows->lru_last)
		windows->lru_last->lru_next = window;
	else
		windows->lru_first = window;
	windows->lru_last = window;
	window->in_lru = true;
	windows->idle_bytes += window->size;
	windows->idle_mappings++;
}

void vd_idle_drop(struct vd_windows *windows, struct vd_window *window)
{
	if (!window->in_lru)
		return;
	if (window->lru_prev)
		window->lru_prev->lru_next = window->lru_next;
	else
		windows->lru_first = window->lru_next;
	if (window->lru_next)
		window->lru_next->lru_prev = window->lru_prev;
	else
		windows->lru_last = window->lru_prev;
	window->in_lru = false;
	windows->idle_bytes -= window->size;
	windows->idle_mappings--;
}

/* Off the queue already: with queued at 0 its next way to idle queues it, so what is seen here is
 * not lost. */
static void settle(struct vd_windows *windows, struct vd_window *window)
{
	int refs = vd_atomic_read(&window->refs);

	if (refs == 0) {
		vd_idle_drop(windows, window);
		lru_add(windows, window);
	} else if (refs > 0) {
		vd_idle_drop(windows, window);
	} else if (refs == VD_WINDOW_DEAD && window->forgotten) {
		window->forgotten = false;
		vd_window_recycle(windows, window);
	}
}

/*
 * The queue, which is last in first out, as two lists in the order of time. With the window's link
 * in use no longer, queued goes to 0 before anybody looks at the count: the one who takes it to 0
 * after that queues it again.
 */
void vd_idle_drain(struct vd_windows *windows)
{
	struct vd_window *from = vd_exchange(&windows->queue, NULL);
	struct vd_window *once = NULL, *often = NULL, *window;

	while ((window = from)) {
		struct vd_window **to = vd_atomic_read(&window->queued) > 1 ? &often : &once;

		from = window->queue_next;
		window->queue_next = *to;
		*to = window;
	}
	while (once || often) {
		struct vd_window **to = once ? &once : &often;

		window = *to;
		*to = window->queue_next;
		vd_atomic_exchange(&window->queued, 0);
		settle(windows, window);
	}
}

static void emit_unmap(struct vd_windows *windows, struct vd_window *window,
		       struct vd_windows_batch *batch)
{
	batch->unmaps[batch->nr_unmaps++] = window->id;
	VD_STAT_ADD(windows, bytes, -window->size);
	VD_STAT_ADD(windows, mappings, -(u64)1);
}

bool vd_idle_evict(struct vd_windows *windows, struct vd_window *window,
		   struct vd_windows_batch *batch)
{
	int idle = 0;

	if (batch->nr_unmaps == batch->max_unmaps)
		return false;
	if (!vd_atomic_try_exchange(&window->refs, &idle, VD_WINDOW_DEAD)) {
		vd_idle_drop(windows, window);
		return false;
	}
	vd_idle_drop(windows, window);
	vd_window_unlink(windows, window);
	emit_unmap(windows, window, batch);
	vd_window_recycle(windows, window);
	return true;
}

struct vd_window *vd_idle_first(struct vd_windows *windows)
{
	struct vd_window *window;

	while ((window = windows->lru_first) && vd_atomic_read(&window->refs) != 0)
		vd_idle_drop(windows, window);
	return window;
}

bool vd_unmap_doomed(struct vd_windows *windows, struct vd_windows_batch *batch)
{
	while (windows->doomed) {
		struct vd_window *window = windows->doomed;

		if (batch->nr_unmaps == batch->max_unmaps)
			return false;
		windows->doomed = window->next;
		emit_unmap(windows, window, batch);
		vd_window_recycle(windows, window);
	}
	return true;
}

u32 vd_windows_reap(struct vd_windows *windows, u64 gpa, u64 len, struct vd_windows_batch *batch)
{
	u64 last = len && gpa + (len - 1) >= gpa ? gpa + (len - 1) : ~(u64)0;
	struct vd_window *window, *next;

	batch->nr_maps = batch->nr_unmaps = 0;
	vd_idle_drain(windows);
	vd_unmap_doomed(windows, batch);
	for (window = windows->lru_first; len && window && batch->nr_unmaps < batch->max_unmaps;
	     window = next) {
		next = window->lru_next;
		if (window->gpa <= last && vd_window_end(window) > gpa)
			vd_idle_evict(windows, window, batch);
	}
	return batch->nr_unmaps;
}

/* Who still holds it lets it go later. */
static void revoke(struct vd_windows *windows, struct vd_window *window,
		   struct vd_windows_batch *batch)
{
	vd_idle_drop(windows, window);
	vd_window_unlink(windows, window);
	emit_unmap(windows, window, batch);
	if (vd_atomic_add(&window->refs, VD_WINDOW_DEAD) == VD_WINDOW_DEAD)
		vd_window_recycle(windows, window);
	else
		window->forgotten = true;
}

u32 vd_windows_revoke(struct vd_windows *windows, struct vd_windows_batch *batch)
{
	struct vd_window *window;

	batch->nr_maps = batch->nr_unmaps = 0;
	vd_idle_drain(windows);
	vd_unmap_doomed(windows, batch);
	for (window = windows->born; window && batch->nr_unmaps < batch->max_unmaps;
	     window = window->next_born) {
		if (vd_atomic_read(&window->refs) >= 0)
			revoke(windows, window, batch);
	}
	return batch->nr_unmaps;
}
