// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory that driver and device share for long: coherent, pools, pages, and lists that are allocated as a whole. */
#include <linux/dmapool.h>

#include "torture.h"

#include "../random.h"

#define POOLED	     24
#define ALIGNED_MOST (2u << 20)

static const u32 sizes[] = {1,	   100,	  4096,	  4097,	  12288,    16384,
			    65536, 65536, 100000, 524288, 2u << 20, 4u << 20};

/* The DMA API promises alignment to the smallest power of two of pages that holds the size. */
static void check_alignment(struct torture *t, dma_addr_t bus, size_t size)
{
	u64 align = PAGE_SIZE << get_order(size);

	if (align > ALIGNED_MOST)
		return;
	if (bus & (align - 1))
		torture_fail(t, TORTURE_ALIGNED, "%zu bytes at %pad", size, &bus);
	torture_done(t, TORTURE_ALIGNED);
}

static u64 phys_of(const void *memory)
{
	return is_vmalloc_addr(memory)
		       ? page_to_phys(vmalloc_to_page(memory)) + offset_in_page(memory)
		       : virt_to_phys((void *)memory);
}

/* What is known to be contiguous where it comes from vmalloc: the first page. */
static int remember(struct torture *t, const void *memory, dma_addr_t bus, size_t size)
{
	size_t known = is_vmalloc_addr(memory) ? min_t(size_t, size, PAGE_SIZE) : size;

	return torture_remember(t, phys_of(memory), bus, known);
}

/* The device copies the first half to the second. */
static void check_halves(struct torture *t, enum torture_fact fact, u8 *memory, dma_addr_t bus,
			 size_t size, u32 seed)
{
	size_t half = min_t(size_t, size / 2, 16384);

	if (!half)
		return;
	torture_fill(memory, half, seed);
	if (!torture_copy(t, bus, bus + size - half, half))
		torture_fail(t, fact, "the device does not copy %zu of %zu bytes at %pad", half,
			     size, &bus);
	else if (!torture_holds(memory + size - half, half, seed))
		torture_fail(t, fact, "%zu of %zu bytes at %pad are wrong", half, size, &bus);
}

void torture_coherent(struct torture *t, u64 *random)
{
	size_t size = sizes[test_random(random) % ARRAY_SIZE(sizes)];
	dma_addr_t bus;
	u8 *memory = dma_alloc_coherent(t->dev, size, &bus, GFP_KERNEL | __GFP_NOWARN);
	int slot;

	if (!memory) {
		/* Four contiguous MiB may be more than the guest has left. */
		if (size <= 65536)
			torture_refused(t, TORTURE_COHERENT, size);
		return;
	}
	slot = remember(t, memory, bus, size);
	check_alignment(t, bus, size);
	if (bus + size - 1 > t->dev->coherent_dma_mask)
		torture_fail(t, TORTURE_COHERENT, "%pad is beyond the mask", &bus);
	if (memchr_inv(memory, 0, size))
		torture_fail(t, TORTURE_ZEROED, "%zu bytes at %pad", size, &bus);
	torture_done(t, TORTURE_ZEROED);
	if (test_random(random) % 2 == 0)
		check_halves(t, TORTURE_COHERENT, memory, bus, size, test_random(random));
	memset(memory, 0xff, size);
	torture_forget(t, slot);
	dma_free_coherent(t->dev, size, memory, bus);
	torture_done(t, TORTURE_COHERENT);
}

struct pooled {
	void *memory;
	dma_addr_t bus;
	int slot;
};

static unsigned int take(struct torture *t, struct dma_pool *pool, struct pooled *all, size_t size)
{
	unsigned int got;

	for (got = 0; got < POOLED; got++) {
		all[got].memory =
			dma_pool_alloc(pool, got & 1 ? GFP_ATOMIC : GFP_KERNEL, &all[got].bus);
		if (!all[got].memory)
			break;
		all[got].slot = remember(t, all[got].memory, all[got].bus, size);
		torture_fill(all[got].memory, size, got);
	}
	return got;
}

void torture_pool(struct torture *t, u64 *random)
{
	size_t size = 16u << test_random(random) % 8;
	struct dma_pool *pool =
		dma_pool_create("torture", t->dev, size, size, size < 4096 ? 4096 : 0);
	struct pooled all[POOLED];
	unsigned int got;

	if (!pool)
		return;
	got = take(t, pool, all, size);
	if (got < POOLED)
		torture_refused(t, TORTURE_POOLS, size);
	for (unsigned int i = 0; i < got; i++) {
		if (all[i].bus & (size - 1))
			torture_fail(t, TORTURE_POOLS, "%zu bytes at %pad", size, &all[i].bus);
		if (!torture_holds(all[i].memory, size, i))
			torture_fail(t, TORTURE_POOLS, "block %u of %zu bytes is not its own", i,
				     size);
	}
	if (got == POOLED) {
		torture_fill(all[0].memory, size, 77);
		if (!torture_copy(t, all[0].bus, all[POOLED - 1].bus, size) ||
		    !torture_holds(all[POOLED - 1].memory, size, 77))
			torture_fail(t, TORTURE_POOLS, "the device does not copy %zu bytes", size);
	}
	for (unsigned int i = 0; i < got; i++) {
		torture_forget(t, all[i].slot);
		dma_pool_free(pool, all[i].memory, all[i].bus);
	}
	dma_pool_destroy(pool);
	torture_done(t, TORTURE_POOLS);
}

void torture_pages(struct torture *t, u64 *random)
{
	size_t size = PAGE_SIZE << test_random(random) % 6;
	dma_addr_t bus;
	struct page *pages =
		dma_alloc_pages(t->dev, size, &bus, DMA_BIDIRECTIONAL, GFP_KERNEL | __GFP_NOWARN);
	u8 *memory;
	int slot;

	if (!pages) {
		torture_refused(t, TORTURE_PAGES, size);
		return;
	}
	memory = page_address(pages);
	slot = remember(t, memory, bus, size);
	dma_sync_single_for_cpu(t->dev, bus, size, DMA_BIDIRECTIONAL);
	check_halves(t, TORTURE_PAGES, memory, bus, size, test_random(random));
	torture_forget(t, slot);
	dma_free_pages(t->dev, size, pages, bus, DMA_BIDIRECTIONAL);
	torture_done(t, TORTURE_PAGES);
}

void torture_noncontiguous(struct torture *t, u64 *random)
{
	size_t size = PAGE_SIZE << test_random(random) % 7;
	struct sg_table *table =
		dma_alloc_noncontiguous(t->dev, size, DMA_BIDIRECTIONAL, GFP_KERNEL, 0);
	u8 *memory;

	if (!table) {
		torture_refused(t, TORTURE_PAGES, size);
		return;
	}
	memory = dma_vmap_noncontiguous(t->dev, size, table);
	if (!memory) {
		torture_fail(t, TORTURE_PAGES,
			     "%zu bytes that need not be contiguous cannot be mapped", size);
	} else {
		/* As one only where it is one. */
		if (sg_dma_len(table->sgl) >= size)
			check_halves(t, TORTURE_PAGES, memory, sg_dma_address(table->sgl), size,
				     test_random(random));
		dma_vunmap_noncontiguous(t->dev, memory);
	}
	dma_free_noncontiguous(t->dev, size, table, DMA_BIDIRECTIONAL);
	torture_done(t, TORTURE_PAGES);
}
