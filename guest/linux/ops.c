// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The DMA operations of the managed device: what the kernel calls, in the words of its version. A
 * refusal is DMA_MAPPING_ERROR and a message; an unmap of what is not mapped is a message. Any
 * context.
 */
#include <linux/sizes.h>

#include "streaming.h"
#include "trace.h"

static noinline dma_addr_t map_slowly(struct device *dev, u64 gpa, u64 len, u32 access, u64 mask,
				      unsigned long attrs)
{
	struct viaduct *viaduct = viaduct_of(dev);
	struct vd_windows_want want = {.gpa = gpa, .len = len, .access = access};
	bool hit;
	u64 bus;
	int err;

	err = viaduct_map_want(viaduct, &want, mask, &bus, &hit);
	count_map(viaduct, hit);
	if (err) {
		viaduct_refused(viaduct, dev, &want, attrs & DMA_ATTR_NO_WARN);
		return DMA_MAPPING_ERROR;
	}
	trace_viaduct_map(dev, bus, gpa, len, hit);
	return bus;
}

static dma_addr_t map_range(struct device *dev, phys_addr_t phys, size_t size,
			    enum dma_data_direction dir, unsigned long attrs)
{
	struct viaduct *viaduct = viaduct_of(dev);
	u64 len = size ?: 1, mask = reach_of(dev), bus;
	u32 access = access_of(dir);

	bus = map_hit(viaduct, phys, len, access, mask);
	if (unlikely(bus == DMA_MAPPING_ERROR))
		return map_slowly(dev, phys, len, access, mask, attrs);
	count_map(viaduct, true);
	trace_viaduct_map(dev, bus, phys, len, true);
	return bus;
}

static void unmap_range(struct device *dev, dma_addr_t bus, size_t size,
			enum dma_data_direction dir, unsigned long attrs)
{
	struct viaduct *viaduct = viaduct_of(dev);
	struct reaping reaping = REAPING_NONE;

	viaduct_unmap(viaduct, dev, bus, size, &reaping);
	reap(viaduct, &reaping);
}

#ifdef VIADUCT_MAP_PHYS

static dma_addr_t op_map(struct device *dev, phys_addr_t phys, size_t size,
			 enum dma_data_direction dir, unsigned long attrs)
{
	if (unlikely(attrs & DMA_ATTR_MMIO))
		return viaduct_refuse_mmio(dev, phys);
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
	return viaduct_refuse_mmio(dev, phys);
}

#endif

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

static void *refuse_alloc(struct device *dev, size_t size, dma_addr_t *handle, gfp_t gfp,
			  unsigned long attrs)
{
	return NULL;
}

static int refuse_map_sg(struct device *dev, struct scatterlist *sgl, int nents,
			 enum dma_data_direction dir, unsigned long attrs)
{
	return -EIO;
}

static int refuse_mask(struct device *dev, u64 mask)
{
	return 0;
}

#ifdef VIADUCT_MAP_PHYS

static dma_addr_t refuse_map(struct device *dev, phys_addr_t phys, size_t size,
			     enum dma_data_direction dir, unsigned long attrs)
{
	return DMA_MAPPING_ERROR;
}

#else

static dma_addr_t refuse_map(struct device *dev, struct page *page, unsigned long offset,
			     size_t size, enum dma_data_direction dir, unsigned long attrs)
{
	return DMA_MAPPING_ERROR;
}

#endif

/* As no mask is supported, drivers give up in their probe. */
const struct dma_map_ops viaduct_refusing_ops = {
	.alloc = refuse_alloc,
#ifdef VIADUCT_MAP_PHYS
	.map_phys = refuse_map,
#else
	.map_page = refuse_map,
#endif
	.map_sg = refuse_map_sg,
	.dma_supported = refuse_mask,
};

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
	ops->map_sg = viaduct_map_sg;
	ops->unmap_sg = viaduct_unmap_sg;
	ops->dma_supported = op_dma_supported;
	ops->get_required_mask = op_get_required_mask;
	ops->max_mapping_size = op_max_mapping_size;
}
