// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Scatter lists. What is mapped is taken without a lock; all that is missing is one exchange with
 * the host, as long as it is no more than a batch. Any context.
 *
 * An element that is missing has DMA_MAPPING_ERROR for an address until its want is served.
 * Elements are never merged: that neighbours in memory are neighbours on the bus is a coincidence.
 */
#include <linux/memremap.h>
#include <linux/scatterlist.h>

#include "streaming.h"
#include "trace.h"

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
	u64 bus = map_hit(listing->viaduct, sg_phys(sg), sg->length ?: 1, listing->access,
			  listing->mask);

	if (unlikely(bus == DMA_MAPPING_ERROR))
		return false;
	element_done(listing, sg, bus, true);
	return true;
}

/* The message names the first of them. */
static int list_remote(struct listing *listing, struct scatterlist *sg, int err)
{
	if (!err)
		listing->bad.gpa = sg_phys(sg);
	return -EREMOTEIO;
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
			err = list_remote(listing, sg, err);
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
		viaduct_want_prepare(listing->viaduct, &wants[count++]);
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
		viaduct_serve(viaduct, viaduct->wants, count);
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
		err = viaduct_map_missing(listing->viaduct, &listing->bad, listing->mask, &bus,
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
		viaduct_unmap(viaduct, dev, sg_dma_address(sg), sg_dma_len(sg), reaping);
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
		viaduct_attend(listing->viaduct);
	}
	return err;
}

int viaduct_map_sg(struct device *dev, struct scatterlist *sgl, int nents,
		   enum dma_data_direction dir, unsigned long attrs)
{
	struct viaduct *viaduct = viaduct_of(dev);
	struct listing listing = {
		.viaduct = viaduct,
		.dev = dev,
		.mask = reach_of(dev),
		.access = access_of(dir),
		.reaping = REAPING_NONE,
	};
	int err = list_map(&listing, sgl, nents);

	this_cpu_inc(viaduct->counters->lists);
	if (err) {
		list_unmap(viaduct, dev, sgl, nents, &listing.reaping);
		if (err == -EREMOTEIO)
			viaduct_refuse_mmio(dev, listing.bad.gpa);
		else
			viaduct_refused(viaduct, dev, &listing.bad, attrs & DMA_ATTR_NO_WARN);
	}
	reap(viaduct, &listing.reaping);
	return err ? list_error(err) : nents;
}

void viaduct_unmap_sg(struct device *dev, struct scatterlist *sgl, int nents,
		      enum dma_data_direction dir, unsigned long attrs)
{
	struct viaduct *viaduct = viaduct_of(dev);
	struct reaping reaping = REAPING_NONE;

	list_unmap(viaduct, dev, sgl, nents, &reaping);
	reap(viaduct, &reaping);
}
