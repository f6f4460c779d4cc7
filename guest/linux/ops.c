// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Streaming DMA. A request that lies in a mapped window takes a reference to it and is done: no
 * lock, no exit to the host. One that does not is a want; wants are planned, exchanged and
 * committed under the lock, as many at once as there are, so that a scatter list rings one doorbell
 * for all that it misses.
 *
 * Any context, hard interrupts and raw spinlocks included: nothing sleeps, allocates or waits for
 * anything but the host's answer. A refusal is DMA_MAPPING_ERROR and a message; an unmap of what is
 * not mapped is a message.
 */
#include <linux/memremap.h>
#include <linux/scatterlist.h>

#include "viaduct_dma.h"
#include "trace.h"

static u32 access_of(enum dma_data_direction dir)
{
	switch (dir) {
	case DMA_TO_DEVICE:
		return VD_WINDOW_READ;
	case DMA_FROM_DEVICE:
		return VD_WINDOW_WRITE;
	default:
		return VD_WINDOW_READ | VD_WINDOW_WRITE;
	}
}

/* The highest bus address that the device reaches for this. */
static u64 reach_of(struct device *dev)
{
	return min_not_zero(dma_get_mask(dev), dev->bus_dma_limit);
}

static void refill_if_low(struct viaduct *viaduct)
{
	if (unlikely(vd_windows_is_low(viaduct->windows)))
		schedule_work(&viaduct->refill);
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
	u32 why = min_t(u32, want->why, VIADUCT_WHYS - 1);

	this_cpu_inc(viaduct->counters->failed[why]);
	if (test_and_set_bit(why, &viaduct->told) && quiet)
		return;
	dev_warn_ratelimited(dev, "viaduct: no DMA mapping of %llu bytes at %#llx: %s (%d)\n",
			     want->len, want->gpa,
			     want->error == -ERANGE ? "its bus address is beyond the device's reach"
						    : viaduct_why(want->why),
			     want->error);
}

/* Under the lock. */
static void serve(struct viaduct *viaduct, struct vd_windows_want *wants, u32 count)
{
	struct vd_windows_batch *batch = &viaduct->batch;

	do {
		vd_windows_plan(viaduct->windows, wants, count, batch);
		viaduct_channel_exchange(&viaduct->channel, batch);
	} while (vd_windows_commit(viaduct->windows, wants, count, batch));
}

/* Idle windows to be unmapped at once: one range about all of them. */
struct reaping {
	u64 first, end;
};

static const struct reaping reaping_none = {.first = ~0ULL};

static void put_window(struct viaduct *viaduct, struct vd_window *window, struct reaping *reaping)
{
	/* Without the reference it may be another window. */
	u64 gpa = window->gpa, end = gpa + window->size;

	if (!vd_windows_put(viaduct->windows, window))
		return;
	reaping->first = min(reaping->first, gpa);
	reaping->end = max(reaping->end, end);
}

static void reap(struct viaduct *viaduct, const struct reaping *reaping)
{
	if (reaping->end)
		viaduct_reap(viaduct, reaping->first, reaping->end - reaping->first);
}

void viaduct_put(struct viaduct *viaduct, struct vd_window *window)
{
	struct reaping reaping = reaping_none;

	put_window(viaduct, window, &reaping);
	reap(viaduct, &reaping);
}

/*
 * 0 when the window gives the request one stretch of bus addresses that the device reaches. Else
 * the window is given back: -EAGAIN it is in pieces, one of its own might not be; -ERANGE; or why
 * there is no window.
 */
static int take_address(struct viaduct *viaduct, struct vd_windows_want *want, u64 mask, u64 *bus,
			struct reaping *reaping)
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

/* The lock-free way. */
static bool try_hit(struct viaduct *viaduct, struct vd_windows_want *want, u64 mask, u64 *bus,
		    struct reaping *reaping)
{
	want->window = vd_windows_get(viaduct->windows, want->gpa, want->len, want->access);
	if (!want->window)
		return false;
	return !take_address(viaduct, want, mask, bus, reaping);
}

/* A shared window in several pieces may cut a request in two; a window of its own may not. */
static void prepare(const struct viaduct *viaduct, struct vd_windows_want *want)
{
	if (want->len > viaduct->max_window || want->error == -EAGAIN)
		want->exact = true;
	want->error = 0;
	want->why = 0;
}

static bool count_map(struct viaduct *viaduct, bool hit)
{
	struct viaduct_counters __percpu *counters = viaduct->counters;

	this_cpu_inc(counters->maps);
	if (hit)
		this_cpu_inc(counters->hits);
	else
		this_cpu_inc(counters->misses);
	return hit;
}

/* The way by the host. */
static int map_missing(struct viaduct *viaduct, struct vd_windows_want *want, u64 mask, u64 *bus,
		       struct reaping *reaping)
{
	unsigned long flags;

	prepare(viaduct, want);
	raw_spin_lock_irqsave(&viaduct->lock, flags);
	serve(viaduct, want, 1);
	raw_spin_unlock_irqrestore(&viaduct->lock, flags);
	return take_address(viaduct, want, mask, bus, reaping);
}

int viaduct_map_want(struct viaduct *viaduct, struct vd_windows_want *want, u64 mask, u64 *bus,
		     bool *hit)
{
	struct reaping reaping = reaping_none;
	int err = 0;

	*hit = !want->align && try_hit(viaduct, want, mask, bus, &reaping);
	if (count_map(viaduct, *hit))
		return 0;
	/* Once more when it is in pieces: in a window of its own. */
	if (want->error != -ERANGE)
		err = map_missing(viaduct, want, mask, bus, &reaping);
	if (err == -EAGAIN && !want->exact)
		err = map_missing(viaduct, want, mask, bus, &reaping);
	reap(viaduct, &reaping);
	refill_if_low(viaduct);
	return err ?: want->error;
}

static dma_addr_t map_range(struct device *dev, phys_addr_t phys, size_t size,
			    enum dma_data_direction dir, unsigned long attrs)
{
	struct viaduct *viaduct = viaduct_of(dev);
	struct vd_windows_want want = {.gpa = phys, .len = size ?: 1, .access = access_of(dir)};
	bool hit;
	u64 bus;

	if (viaduct_map_want(viaduct, &want, reach_of(dev), &bus, &hit)) {
		viaduct_refused(viaduct, dev, &want, attrs & DMA_ATTR_NO_WARN);
		return DMA_MAPPING_ERROR;
	}
	trace_viaduct_map(dev, bus, want.gpa, want.len, hit);
	return bus;
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
		viaduct_channel_exchange(&viaduct->channel, &viaduct->batch);
		vd_windows_commit(viaduct->windows, NULL, 0, &viaduct->batch);
		raw_spin_unlock_irqrestore(&viaduct->lock, flags);
		total += count;
	} while (count);
	return total;
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

static void unmap(struct viaduct *viaduct, struct device *dev, u64 bus, size_t size,
		  struct reaping *reaping)
{
	struct vd_window *window = vd_windows_at(viaduct->windows, bus);

	this_cpu_inc(viaduct->counters->unmaps);
	if (unlikely(!window)) {
		unknown(viaduct, dev, bus, size);
		return;
	}
	trace_viaduct_unmap(dev, bus, vd_window_gpa(window, bus), size);
	put_window(viaduct, window, reaping);
}

static void unmap_range(struct device *dev, dma_addr_t bus, size_t size,
			enum dma_data_direction dir, unsigned long attrs)
{
	struct viaduct *viaduct = viaduct_of(dev);
	struct reaping reaping = reaping_none;

	unmap(viaduct, dev, bus, size, &reaping);
	reap(viaduct, &reaping);
}

static dma_addr_t refuse_mmio(struct device *dev, phys_addr_t phys)
{
	dev_warn_ratelimited(dev,
			     "viaduct: no DMA mapping of %pap: the host maps guest RAM only, not "
			     "other devices\n",
			     &phys);
	return DMA_MAPPING_ERROR;
}

#ifdef VIADUCT_MAP_PHYS

static dma_addr_t op_map(struct device *dev, phys_addr_t phys, size_t size,
			 enum dma_data_direction dir, unsigned long attrs)
{
	if (unlikely(attrs & DMA_ATTR_MMIO))
		return refuse_mmio(dev, phys);
	return map_range(dev, phys, size, dir, attrs);
}

static void op_unmap(struct device *dev, dma_addr_t bus, size_t size, enum dma_data_direction dir,
		     unsigned long attrs)
{
	/* None was ever handed out. */
	if (unlikely(attrs & DMA_ATTR_MMIO))
		return;
	unmap_range(dev, bus, size, dir, attrs);
}

#else

static dma_addr_t op_map(struct device *dev, struct page *page, unsigned long offset, size_t size,
			 enum dma_data_direction dir, unsigned long attrs)
{
	return map_range(dev, page_to_phys(page) + offset, size, dir, attrs);
}

static dma_addr_t op_map_resource(struct device *dev, phys_addr_t phys, size_t size,
				  enum dma_data_direction dir, unsigned long attrs)
{
	return refuse_mmio(dev, phys);
}

#endif

/*
 * A scatter list. An element that is missing has DMA_MAPPING_ERROR for an address until its want is
 * served. Elements are never merged: that neighbours in memory are neighbours on the bus is a
 * coincidence.
 */
struct listing {
	struct viaduct *viaduct;
	struct device *dev;
	u64 mask;
	u32 access;
	struct reaping reaping;
	struct vd_windows_want bad; /* the first that could not be had */
};

static struct vd_windows_want element_want(const struct listing *listing, struct scatterlist *sg)
{
	return (struct vd_windows_want){
		.gpa = sg_phys(sg), .len = sg->length ?: 1, .access = listing->access};
}

static bool is_missing(struct scatterlist *sg)
{
	return sg_dma_address(sg) == DMA_MAPPING_ERROR;
}

static void element_done(const struct listing *listing, struct scatterlist *sg, u64 bus, bool hit)
{
	sg_dma_address(sg) = bus;
	sg_dma_len(sg) = sg->length;
	trace_viaduct_map(listing->dev, bus, sg_phys(sg), sg->length, hit);
}

static bool element_hit(struct listing *listing, struct scatterlist *sg)
{
	struct vd_windows_want want = element_want(listing, sg);
	u64 bus;

	if (!try_hit(listing->viaduct, &want, listing->mask, &bus, &listing->reaping))
		return false;
	element_done(listing, sg, bus, true);
	return true;
}

/* Takes what is mapped. How many are missing, or -EREMOTEIO: other devices' memory. */
static int list_hits(struct listing *listing, struct scatterlist *sgl, int nents)
{
	struct scatterlist *sg;
	int i, missing = 0, err = 0;

	for_each_sg(sgl, sg, nents, i)
	{
		sg_dma_address(sg) = DMA_MAPPING_ERROR;
		if (unlikely(is_pci_p2pdma_page(sg_page(sg))))
			err = -EREMOTEIO;
		else if (!count_map(listing->viaduct, element_hit(listing, sg)))
			missing++;
	}
	return err ?: missing;
}

/* Under the lock: the next misses from *sg on, up to a batch of them. */
static u32 list_collect(const struct listing *listing, struct scatterlist **sg, int *left)
{
	struct vd_windows_want *wants = listing->viaduct->wants;
	u32 count = 0;

	for (; *left && count < VIADUCT_BATCH; (*left)--, *sg = sg_next(*sg)) {
		if (!is_missing(*sg))
			continue;
		wants[count] = element_want(listing, *sg);
		prepare(listing->viaduct, &wants[count++]);
	}
	return count;
}

/* Under the lock: hands the addresses out. What is in pieces is left missing. */
static int list_deliver(struct listing *listing, struct scatterlist *sg, u32 count)
{
	struct vd_windows_want *want = listing->viaduct->wants;
	int err = 0, one;
	u64 bus;

	for (; count; sg = sg_next(sg)) {
		if (!is_missing(sg))
			continue;
		one = take_address(listing->viaduct, want, listing->mask, &bus, &listing->reaping);
		if (!one) {
			element_done(listing, sg, bus, false);
		} else if (one != -EAGAIN && !err) {
			listing->bad = *want;
			err = one;
		}
		want++;
		count--;
	}
	return err;
}

/* One exchange for all that are missing, as long as they are no more than a batch. */
static int list_misses(struct listing *listing, struct scatterlist *sgl, int nents)
{
	struct viaduct *viaduct = listing->viaduct;
	struct scatterlist *sg = sgl, *from;
	unsigned long flags;
	int err = 0;
	u32 count;

	while (nents && !err) {
		from = sg;
		raw_spin_lock_irqsave(&viaduct->lock, flags);
		count = list_collect(listing, &sg, &nents);
		serve(viaduct, viaduct->wants, count);
		err = list_deliver(listing, from, count);
		raw_spin_unlock_irqrestore(&viaduct->lock, flags);
	}
	return err;
}

/* The few that are cut in two by the pieces of a shared window. */
static int list_pieces(struct listing *listing, struct scatterlist *sgl, int nents)
{
	struct scatterlist *sg;
	int i, err = 0;
	u64 bus;

	for_each_sg(sgl, sg, nents, i)
	{
		if (!is_missing(sg))
			continue;
		listing->bad = element_want(listing, sg);
		listing->bad.error = -EAGAIN;
		err = map_missing(listing->viaduct, &listing->bad, listing->mask, &bus,
				  &listing->reaping);
		if (err)
			break;
		element_done(listing, sg, bus, false);
	}
	return err;
}

static void list_unmap(struct viaduct *viaduct, struct device *dev, struct scatterlist *sgl,
		       int nents, struct reaping *reaping)
{
	struct scatterlist *sg;
	int i;

	for_each_sg(sgl, sg, nents, i)
	{
		if (is_missing(sg))
			continue;
		unmap(viaduct, dev, sg_dma_address(sg), sg_dma_len(sg), reaping);
	}
}

/* As dma_map_sgtable() wants them. */
static int list_error(int err)
{
	switch (err) {
	case -EINVAL:
	case -EREMOTEIO:
		return err;
	case -ENOSPC:
	case -ENOMEM:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

static int list_map(struct listing *listing, struct scatterlist *sgl, int nents)
{
	int err = list_hits(listing, sgl, nents);

	if (err > 0) {
		err = list_misses(listing, sgl, nents);
		if (!err)
			err = list_pieces(listing, sgl, nents);
		refill_if_low(listing->viaduct);
	}
	return err;
}

static int op_map_sg(struct device *dev, struct scatterlist *sgl, int nents,
		     enum dma_data_direction dir, unsigned long attrs)
{
	struct viaduct *viaduct = viaduct_of(dev);
	struct listing listing = {
		.viaduct = viaduct,
		.dev = dev,
		.mask = reach_of(dev),
		.access = access_of(dir),
		.reaping = reaping_none,
	};
	int err = list_map(&listing, sgl, nents);

	this_cpu_inc(viaduct->counters->lists);
	if (err) {
		list_unmap(viaduct, dev, sgl, nents, &listing.reaping);
		if (err == -EREMOTEIO)
			refuse_mmio(dev, sg_phys(sgl));
		else
			viaduct_refused(viaduct, dev, &listing.bad, attrs & DMA_ATTR_NO_WARN);
	}
	reap(viaduct, &listing.reaping);
	return err ? list_error(err) : nents;
}

static void op_unmap_sg(struct device *dev, struct scatterlist *sgl, int nents,
			enum dma_data_direction dir, unsigned long attrs)
{
	struct viaduct *viaduct = viaduct_of(dev);
	struct reaping reaping = reaping_none;

	list_unmap(viaduct, dev, sgl, nents, &reaping);
	reap(viaduct, &reaping);
}

/* Pages for a driver that synchronises itself: memory like any other, mapped like any other. */
static struct page *op_alloc_pages(struct device *dev, size_t size, dma_addr_t *handle,
				   enum dma_data_direction dir, gfp_t gfp)
{
	void *memory = alloc_pages_exact(size, gfp | __GFP_ZERO | __GFP_NOWARN);

	if (!memory)
		return NULL;
	*handle = map_range(dev, virt_to_phys(memory), size, dir, 0);
	if (*handle == DMA_MAPPING_ERROR) {
		free_pages_exact(memory, size);
		return NULL;
	}
	return virt_to_page(memory);
}

static void op_free_pages(struct device *dev, size_t size, struct page *page, dma_addr_t handle,
			  enum dma_data_direction dir)
{
	unmap_range(dev, handle, size, dir, 0);
	free_pages_exact(page_address(page), size);
}

/*
 * The host may pick any address up to the last. Where that is not known, 32 bits are what it has to
 * be good for.
 */
static int op_dma_supported(struct device *dev, u64 mask)
{
	u64 last = viaduct_of(dev)->channel.bus_last;

	if (mask >= (last == ~0ULL ? DMA_BIT_MASK(32) : last))
		return 1;
	dev_warn_ratelimited(dev,
			     "viaduct: a DMA mask of %#llx does not reach the host's bus addresses "
			     "up to %#llx\n",
			     mask, last);
	return 0;
}

static u64 op_get_required_mask(struct device *dev)
{
	u64 last = viaduct_of(dev)->channel.bus_last;

	return last == ~0ULL ? DMA_BIT_MASK(64) : DMA_BIT_MASK(fls64(last));
}

/*
 * A request that needs more than a quarter of what there is would starve the others, and itself for
 * want of a hole.
 */
static size_t op_max_mapping_size(struct device *dev)
{
	const struct viaduct *viaduct = viaduct_of(dev);
	u64 most = min_t(u64, viaduct->limit_bytes / 4, SZ_256M);

	return max_t(u64, round_down(most, viaduct->channel.granule), viaduct->channel.granule);
}

/* No sync operations: the managed device is coherent (attach.c insists), and nothing is bounced. */
void viaduct_ops_init(struct dma_map_ops *ops)
{
	ops->alloc = viaduct_alloc;
	ops->free = viaduct_free;
	ops->viaduct_op_alloc_pages = op_alloc_pages;
	ops->free_pages = op_free_pages;
	ops->mmap = viaduct_mmap;
	ops->get_sgtable = viaduct_get_sgtable;
#ifdef VIADUCT_MAP_PHYS
	ops->map_phys = op_map;
	ops->unmap_phys = op_unmap;
#else
	ops->map_page = op_map;
	ops->unmap_page = unmap_range;
	ops->map_resource = op_map_resource;
#endif
	ops->map_sg = op_map_sg;
	ops->unmap_sg = op_unmap_sg;
	ops->dma_supported = op_dma_supported;
	ops->get_required_mask = op_get_required_mask;
	ops->max_mapping_size = op_max_mapping_size;
}
