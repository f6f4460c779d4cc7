// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Streaming DMA. A request that lies in a mapped window takes a reference to it and is done: no
 * lock, no exit to the host (streaming.h). One that does not is a want; wants are planned,
 * exchanged and committed under the lock, as many at once as there are.
 *
 * Any context, hard interrupts and raw spinlocks included: nothing sleeps, allocates or waits for
 * anything but the host's answer.
 */
#include "streaming.h"
#include "trace.h"

void viaduct_attend(struct viaduct *viaduct)
{
	if (unlikely(vd_windows_is_low(viaduct->windows)))
		schedule_work(&viaduct->refill);
	if (unlikely(READ_ONCE(viaduct->channel.doubtful)))
		schedule_work(&viaduct->check);
}

void viaduct_refill_work(struct work_struct *work)
{
	struct viaduct *viaduct = container_of(work, struct viaduct, refill);

	vd_windows_refill(viaduct->windows);
}

/*
 * Where no message is wanted (DMA_ATTR_NO_WARN), the first of a kind is told all the same: who else
 * would say why?
 */
void viaduct_refused(struct viaduct *viaduct, struct device *dev,
		     const struct vd_windows_want *want, bool quiet)
{
	bool reach = want->error == -ERANGE;
	u32 why = reach ? VIADUCT_WHY_REACH : min_t(u32, want->why, VIADUCT_WHY_UNNAMED);

	this_cpu_inc(viaduct->counters->failed[why]);
	if (test_and_set_bit(why, &viaduct->told) && quiet)
		return;
	dev_warn_ratelimited(dev, "viaduct: no DMA mapping of %llu bytes at %#llx: %s (%d)\n",
			     want->len, want->gpa,
			     reach ? "its bus address is beyond the device's reach"
				   : viaduct_why(want->why),
			     want->error);
}

void viaduct_serve(struct viaduct *viaduct, struct vd_windows_want *wants, u32 count)
{
	struct vd_windows_batch *batch = &viaduct->batch;

	do {
		vd_windows_plan(viaduct->windows, wants, count, batch);
		viaduct_channel_exchange(&viaduct->channel, batch);
	} while (vd_windows_commit(viaduct->windows, wants, count, batch));
}

void viaduct_put(struct viaduct *viaduct, struct vd_window *window)
{
	struct reaping reaping = REAPING_NONE;

	put_window(viaduct, window, &reaping);
	reap(viaduct, &reaping);
}

void viaduct_want_prepare(const struct viaduct *viaduct, struct vd_windows_want *want)
{
	if (want->len > viaduct->max_window || want->error == -EAGAIN)
		want->exact = true;
	want->error = 0;
	want->why = 0;
}

int viaduct_map_missing(struct viaduct *viaduct, struct vd_windows_want *want, u64 mask, u64 *bus,
			struct reaping *reaping)
{
	unsigned long flags;

	viaduct_want_prepare(viaduct, want);
	raw_spin_lock_irqsave(&viaduct->lock, flags);
	viaduct_serve(viaduct, want, 1);
	raw_spin_unlock_irqrestore(&viaduct->lock, flags);
	return take_address(viaduct, want, mask, bus, reaping);
}

int viaduct_map_want(struct viaduct *viaduct, struct vd_windows_want *want, u64 mask, u64 *bus,
		     bool *hit)
{
	struct reaping reaping = REAPING_NONE;
	int err = 0;

	*hit = !want->align && try_hit(viaduct, want, mask, bus, &reaping);
	if (*hit)
		return 0;
	/* Once more when it is in pieces: in a window of its own. */
	if (want->error != -ERANGE)
		err = viaduct_map_missing(viaduct, want, mask, bus, &reaping);
	if (err == -EAGAIN && !want->exact)
		err = viaduct_map_missing(viaduct, want, mask, bus, &reaping);
	reap(viaduct, &reaping);
	viaduct_attend(viaduct);
	return err ?: want->error;
}

/* Under the lock: what the plan of unmaps wants. */
static void run_unmaps(struct viaduct *viaduct)
{
	viaduct_channel_exchange(&viaduct->channel, &viaduct->batch);
	vd_windows_commit(viaduct->windows, NULL, 0, &viaduct->batch);
}

u64 viaduct_reap(struct viaduct *viaduct, u64 gpa, u64 len)
{
	unsigned long flags;
	u64 total = 0;
	u32 count;

	/* The lock is let go of between the batches: an interrupt need not wait for all of them. */
	do {
		raw_spin_lock_irqsave(&viaduct->lock, flags);
		count = vd_windows_reap(viaduct->windows, gpa, len, &viaduct->batch);
		run_unmaps(viaduct);
		raw_spin_unlock_irqrestore(&viaduct->lock, flags);
		total += count;
	} while (count);
	viaduct_attend(viaduct);
	return total;
}

void viaduct_revoke(struct viaduct *viaduct)
{
	unsigned long flags;
	u32 count;

	do {
		raw_spin_lock_irqsave(&viaduct->lock, flags);
		count = vd_windows_revoke(viaduct->windows, &viaduct->batch);
		run_unmaps(viaduct);
		raw_spin_unlock_irqrestore(&viaduct->lock, flags);
	} while (count);
}

/*
 * What was mapped before the mappings were lost is unmapped after: that is no mistake of the
 * driver's.
 */
static void unknown(struct viaduct *viaduct, struct device *dev, u64 bus, size_t size)
{
	this_cpu_inc(viaduct->counters->unknown);
	if (!READ_ONCE(viaduct->channel.gone))
		dev_warn_ratelimited(
			dev,
			"viaduct: unmap of %zu bytes at bus address %#llx, which is not mapped\n",
			size, bus);
}

void viaduct_unmap(struct viaduct *viaduct, struct device *dev, u64 bus, size_t size,
		   struct reaping *reaping)
{
	struct vd_window *window = vd_windows_at(viaduct->windows, bus);

	this_cpu_inc(viaduct->counters->unmaps);
	/* An idle window stays mapped, but nobody has a reference to give back. */
	if (unlikely(!window || vd_atomic_read(&window->refs) <= 0)) {
		unknown(viaduct, dev, bus, size);
		return;
	}
	if (trace_viaduct_unmap_enabled())
		trace_viaduct_unmap(dev, bus, vd_window_gpa(window, bus), size);
	put_window(viaduct, window, reaping);
}

dma_addr_t viaduct_refuse_mmio(struct device *dev, phys_addr_t phys)
{
	dev_warn_ratelimited(dev,
			     "viaduct: no DMA mapping of %pap: the host maps guest RAM only, not "
			     "other devices\n",
			     &phys);
	return DMA_MAPPING_ERROR;
}
