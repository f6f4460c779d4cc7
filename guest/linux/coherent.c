// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Coherent memory. Small allocations come from arenas: physically contiguous memory that is mapped
 * once, as a window of its own, and cut into naturally aligned pieces; naturally in bus addresses,
 * which is what devices care about. Where the host cannot align an arena, a larger one still has
 * aligned places in it. What no arena has room for is a block: memory and a window of its own.
 *
 * The managed device is coherent, so this is ordinary memory; mmap and get_sgtable take it as such.
 *
 * arena_lock guards both lists and every bit map. It is never held while the host is asked.
 */
#include <linux/bitmap.h>
#include <linux/dma-direct.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "viaduct_dma.h"

/* Smaller arenas than this are not worth a mapping. */
#define LEAST_ARENA SZ_64K

struct arena {
	struct list_head node;
	struct vd_window *window;
	void *memory;
	u64 bus;
	size_t size;
	unsigned long pages, used; /* used: how many bits are set */
	unsigned long bitmap[];
};

struct block {
	struct list_head node;
	struct vd_window *window;
	void *memory;
	size_t size;
	dma_addr_t borrowed; /* as the companion has it, when allocated in its name; else 0 */
};

static unsigned long pages_of(size_t size)
{
	return PAGE_ALIGN(size) >> PAGE_SHIFT;
}

static u64 reach_of(struct device *dev)
{
	return min_not_zero(dev->coherent_dma_mask, dev->bus_dma_limit);
}

/* A companion that does not align is not asked to. */
static struct vd_windows_want memory_want(const struct viaduct *viaduct, const void *memory,
					  size_t size, u64 align)
{
	bool aligns = viaduct->channel.features & VD_APPLE_DMA_FEATURE_ALIGN;

	return (struct vd_windows_want){
		.gpa = virt_to_phys((void *)memory),
		.len = size,
		.access = VD_WINDOW_READ | VD_WINDOW_WRITE,
		.exact = true,
		.align = aligns ? align : 0,
	};
}

/*
 * A window of its own for the memory. -EXDEV: the host cannot align it as asked; or why it cannot.
 */
static int map_memory(struct viaduct *viaduct, struct vd_windows_want *want, u64 mask, u64 *bus)
{
	bool hit;
	int err = viaduct_map_want(viaduct, want, mask, bus, &hit);

	if (err && want->why == VD_APPLE_DMA_WHY_ALIGNMENT)
		return -EXDEV;
	return err;
}

/* Under arena_lock. */
static void *arena_take(struct arena *arena, unsigned long pages, u64 mask, u64 *bus)
{
	unsigned long align = roundup_pow_of_two(pages) - 1, first;

	if (arena->bus + arena->size - 1 > mask || arena->pages - arena->used < pages)
		return NULL;
	first = bitmap_find_next_zero_area_off(arena->bitmap, arena->pages, 0, pages, align,
					       (arena->bus >> PAGE_SHIFT) & align);
	if (first >= arena->pages)
		return NULL;
	bitmap_set(arena->bitmap, first, pages);
	arena->used += pages;
	*bus = arena->bus + (first << PAGE_SHIFT);
	return arena->memory + (first << PAGE_SHIFT);
}

static void *arenas_take(struct viaduct *viaduct, unsigned long pages, u64 mask, u64 *bus)
{
	struct arena *arena;
	unsigned long flags;
	void *memory = NULL;

	raw_spin_lock_irqsave(&viaduct->arena_lock, flags);
	list_for_each_entry(arena, &viaduct->arenas, node)
	{
		memory = arena_take(arena, pages, mask, bus);
		if (memory)
			break;
	}
	raw_spin_unlock_irqrestore(&viaduct->arena_lock, flags);
	return memory;
}

/* Under arena_lock. -EINVAL: not all of it is allocated. */
static int arena_give(struct arena *arena, const void *memory, unsigned long pages)
{
	unsigned long first = (memory - arena->memory) >> PAGE_SHIFT;

	if (!pages || pages > arena->pages - first ||
	    find_next_zero_bit(arena->bitmap, first + pages, first) < first + pages)
		return -EINVAL;
	bitmap_clear(arena->bitmap, first, pages);
	arena->used -= pages;
	return 0;
}

/* -ENOENT: the memory is no arena's. -EINVAL: it is, but it is not allocated. */
static int arenas_give(struct viaduct *viaduct, const void *memory, unsigned long pages)
{
	struct arena *arena;
	unsigned long flags;
	bool emptied = false;
	int err = -ENOENT;

	raw_spin_lock_irqsave(&viaduct->arena_lock, flags);
	list_for_each_entry(arena, &viaduct->arenas, node)
	{
		if (memory < arena->memory || memory >= arena->memory + arena->size)
			continue;
		err = arena_give(arena, memory, pages);
		emptied = !err && !arena->used && !list_is_singular(&viaduct->arenas);
		break;
	}
	raw_spin_unlock_irqrestore(&viaduct->arena_lock, flags);
	if (emptied)
		schedule_work(&viaduct->tend);
	return err;
}

static void arena_free(struct arena *arena)
{
	free_pages_exact(arena->memory, arena->size);
	kfree(arena);
}

static struct arena *arena_alloc(size_t size)
{
	unsigned long pages = size >> PAGE_SHIFT;
	struct arena *arena = kzalloc(struct_size(arena, bitmap, BITS_TO_LONGS(pages)), GFP_KERNEL);

	if (!arena)
		return NULL;
	arena->memory =
		alloc_pages_exact(size, GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN | __GFP_NORETRY);
	if (!arena->memory) {
		kfree(arena);
		return NULL;
	}
	arena->size = size;
	arena->pages = pages;
	return arena;
}

/* Maps it aligned to its size, or else somewhere. */
static int arena_map(struct viaduct *viaduct, struct arena *arena)
{
	struct vd_windows_want want = memory_want(viaduct, arena->memory, arena->size, arena->size);
	int err = map_memory(viaduct, &want, ~0ULL, &arena->bus);

	if (err == -EXDEV) {
		want = memory_want(viaduct, arena->memory, arena->size, 0);
		err = map_memory(viaduct, &want, ~0ULL, &arena->bus);
	}
	arena->window = want.window;
	return err;
}

/* An arena of that size on the list, or NULL. */
static struct arena *arena_create(struct viaduct *viaduct, size_t size)
{
	struct arena *arena = arena_alloc(size);
	unsigned long flags;

	if (!arena)
		return NULL;
	if (arena_map(viaduct, arena)) {
		arena_free(arena);
		return NULL;
	}
	raw_spin_lock_irqsave(&viaduct->arena_lock, flags);
	list_add_tail(&arena->node, &viaduct->arenas);
	viaduct->arena_bytes += size;
	raw_spin_unlock_irqrestore(&viaduct->arena_lock, flags);
	return arena;
}

/*
 * Grows by one arena that has room for an allocation of that many pages: of the usual size, smaller
 * when there is no such memory or no room with the host, twice as large as what is asked when the
 * host cannot align.
 */
static bool arenas_grow(struct viaduct *viaduct, unsigned long pages)
{
	size_t least = max_t(size_t, roundup_pow_of_two(pages) << PAGE_SHIFT, LEAST_ARENA);
	size_t size = max_t(size_t, viaduct_arena_size << 10, least);
	struct arena *arena = NULL;

	for (; !arena && size >= least; size /= 2)
		arena = arena_create(viaduct, size);
	if (arena && arena->size < 2 * least && arena->bus & (least - 1))
		arena = arena_create(viaduct, 2 * least);
	return arena;
}

/*
 * An allocation under grow_lock must not wait for I/O: whoever reclaims memory for it may be about
 * to wait for the lock. Returns what grow_end() is to be given.
 */
static unsigned int grow_begin(struct viaduct *viaduct)
{
	mutex_lock(&viaduct->grow_lock);
	return memalloc_noio_save();
}

static void grow_end(struct viaduct *viaduct, unsigned int flags)
{
	memalloc_noio_restore(flags);
	mutex_unlock(&viaduct->grow_lock);
}

/*
 * Under grow_lock, which makes those who find the arenas full wait for one another instead of each
 * making one.
 */
static void *arenas_take_slowly(struct viaduct *viaduct, unsigned long pages, u64 mask, u64 *bus)
{
	unsigned int flags = grow_begin(viaduct);
	void *memory;

	memory = arenas_take(viaduct, pages, mask, bus);
	if (!memory && arenas_grow(viaduct, pages))
		memory = arenas_take(viaduct, pages, mask, bus);
	grow_end(viaduct, flags);
	return memory;
}

static unsigned long arenas_room(struct viaduct *viaduct)
{
	unsigned long flags, room = 0;
	struct arena *arena;

	raw_spin_lock_irqsave(&viaduct->arena_lock, flags);
	list_for_each_entry(arena, &viaduct->arenas, node) room += arena->pages - arena->used;
	raw_spin_unlock_irqrestore(&viaduct->arena_lock, flags);
	return room;
}

static bool arenas_are_low(struct viaduct *viaduct)
{
	return arenas_room(viaduct) < (viaduct_arena_size << 10 >> PAGE_SHIFT) / 2;
}

static void *small_alloc(struct viaduct *viaduct, unsigned long pages, u64 mask, gfp_t gfp,
			 u64 *bus)
{
	void *memory = arenas_take(viaduct, pages, mask, bus);

	if (!memory && gfpflags_allow_blocking(gfp))
		memory = arenas_take_slowly(viaduct, pages, mask, bus);
	if (!gfpflags_allow_blocking(gfp) && arenas_are_low(viaduct))
		schedule_work(&viaduct->tend);
	return memory;
}

/*
 * More than the page allocator has in one piece may be there for the companion, in whose name it is
 * asked for (CMA).
 */
static void *block_memory(struct viaduct *viaduct, struct block *block, gfp_t gfp)
{
	struct device *companion = &viaduct->companion->dev;

	block->memory = alloc_pages_exact(block->size, gfp | __GFP_ZERO | __GFP_NOWARN);
	if (block->memory || !gfpflags_allow_blocking(gfp))
		return block->memory;
	block->memory =
		dma_alloc_attrs(companion, block->size, &block->borrowed, gfp, DMA_ATTR_NO_WARN);
	if (block->memory && !virt_addr_valid(block->memory)) {
		dma_free_attrs(companion, block->size, block->memory, block->borrowed, 0);
		block->memory = NULL;
	}
	return block->memory;
}

static void block_free(struct viaduct *viaduct, struct block *block)
{
	if (block->borrowed)
		dma_free_attrs(&viaduct->companion->dev, block->size, block->memory,
			       block->borrowed, 0);
	else
		free_pages_exact(block->memory, block->size);
	kfree(block);
}

/* The best alignment that the host can give: that of the size, that of an arena, or none. */
static int block_map(struct viaduct *viaduct, struct block *block, struct vd_windows_want *want,
		     u64 mask, u64 *bus)
{
	u64 align = roundup_pow_of_two(block->size);
	int err;

	*want = memory_want(viaduct, block->memory, block->size, align);
	err = map_memory(viaduct, want, mask, bus);
	if (err == -EXDEV && align > SZ_2M) {
		*want = memory_want(viaduct, block->memory, block->size, SZ_2M);
		err = map_memory(viaduct, want, mask, bus);
	}
	if (err == -EXDEV) {
		*want = memory_want(viaduct, block->memory, block->size, 0);
		err = map_memory(viaduct, want, mask, bus);
	}
	block->window = want->window;
	return err;
}

static void *large_alloc(struct viaduct *viaduct, struct device *dev, size_t size, gfp_t gfp,
			 unsigned long attrs, u64 *bus)
{
	struct block *block =
		kzalloc(sizeof(*block), gfp & (GFP_KERNEL | GFP_ATOMIC | __GFP_NOWARN));
	struct vd_windows_want want;
	unsigned long flags;

	if (!block)
		return NULL;
	block->size = PAGE_ALIGN(size);
	if (!block_memory(viaduct, block, gfp)) {
		kfree(block);
		return NULL;
	}
	if (block_map(viaduct, block, &want, reach_of(dev), bus)) {
		viaduct_refused(viaduct, dev, &want, attrs & DMA_ATTR_NO_WARN);
		block_free(viaduct, block);
		return NULL;
	}
	raw_spin_lock_irqsave(&viaduct->arena_lock, flags);
	list_add_tail(&block->node, &viaduct->blocks);
	raw_spin_unlock_irqrestore(&viaduct->arena_lock, flags);
	return block->memory;
}

static struct block *block_take(struct viaduct *viaduct, const void *memory)
{
	struct block *block, *found = NULL;
	unsigned long flags;

	raw_spin_lock_irqsave(&viaduct->arena_lock, flags);
	list_for_each_entry(block, &viaduct->blocks, node)
	{
		if (block->memory != memory)
			continue;
		list_del(&block->node);
		found = block;
		break;
	}
	raw_spin_unlock_irqrestore(&viaduct->arena_lock, flags);
	return found;
}

/*
 * What the attributes ask for is so, or harmless: every allocation is contiguous, cached and mapped
 * into the kernel.
 */
void *viaduct_alloc(struct device *dev, size_t size, dma_addr_t *handle, gfp_t gfp,
		    unsigned long attrs)
{
	struct viaduct *viaduct = viaduct_of(dev);
	unsigned long pages = pages_of(size);
	void *memory = NULL;
	u64 bus = 0;

	gfp &= ~(__GFP_COMP | __GFP_DMA | __GFP_DMA32 | __GFP_HIGHMEM);
	if (!pages)
		return NULL;
	if (pages <= viaduct_arena_size << 10 >> PAGE_SHIFT)
		memory = small_alloc(viaduct, pages, reach_of(dev), gfp, &bus);
	if (memory)
		memset(memory, 0, pages << PAGE_SHIFT);
	else
		memory = large_alloc(viaduct, dev, size, gfp, attrs, &bus);
	if (memory) {
		this_cpu_inc(viaduct->counters->coherent_allocs);
		*handle = bus;
	}
	return memory;
}

void viaduct_free(struct device *dev, size_t size, void *cpu, dma_addr_t handle,
		  unsigned long attrs)
{
	struct viaduct *viaduct = viaduct_of(dev);
	struct block *block = NULL;
	int err = arenas_give(viaduct, cpu, pages_of(size));

	this_cpu_inc(viaduct->counters->coherent_frees);
	if (!err)
		return;
	if (err == -ENOENT)
		block = block_take(viaduct, cpu);
	if (!block) {
		this_cpu_inc(viaduct->counters->unknown);
		dev_warn_ratelimited(
			dev,
			"viaduct: free of %zu bytes of coherent memory that was not allocated\n",
			size);
		return;
	}
	viaduct_put(viaduct, block->window);
	block_free(viaduct, block);
}

int viaduct_mmap(struct device *dev, struct vm_area_struct *vma, void *cpu, dma_addr_t handle,
		 size_t size, unsigned long attrs)
{
	return dma_mmap_pages(dev, vma, size, virt_to_page(cpu));
}

int viaduct_get_sgtable(struct device *dev, struct sg_table *table, void *cpu, dma_addr_t handle,
			size_t size, unsigned long attrs)
{
	int err = sg_alloc_table(table, 1, GFP_KERNEL);

	if (!err)
		sg_set_page(table->sgl, virt_to_page(cpu), PAGE_ALIGN(size), 0);
	return err;
}

/* Takes an empty arena off the list, but leaves `keep` of them there. */
static struct arena *empty_arena(struct viaduct *viaduct, unsigned int keep)
{
	struct arena *arena, *found = NULL;
	unsigned long flags;

	raw_spin_lock_irqsave(&viaduct->arena_lock, flags);
	list_for_each_entry(arena, &viaduct->arenas, node)
	{
		if (arena->used)
			continue;
		if (keep) {
			keep--;
			continue;
		}
		list_del(&arena->node);
		viaduct->arena_bytes -= arena->size;
		found = arena;
		break;
	}
	raw_spin_unlock_irqrestore(&viaduct->arena_lock, flags);
	return found;
}

/* Under grow_lock. */
static void arenas_trim(struct viaduct *viaduct, unsigned int keep)
{
	struct arena *arena;

	while ((arena = empty_arena(viaduct, keep))) {
		viaduct_put(viaduct, arena->window);
		arena_free(arena);
	}
}

/*
 * Those who must not wait live on what is there: it is kept at half an arena, and at one that is
 * empty at most.
 */
static void tend_work(struct work_struct *work)
{
	struct viaduct *viaduct = container_of(work, struct viaduct, tend);
	unsigned int flags = grow_begin(viaduct);

	if (arenas_are_low(viaduct))
		arenas_grow(viaduct, 1);
	arenas_trim(viaduct, 1);
	grow_end(viaduct, flags);
}

void viaduct_arenas_init(struct viaduct *viaduct)
{
	raw_spin_lock_init(&viaduct->arena_lock);
	INIT_LIST_HEAD(&viaduct->arenas);
	INIT_LIST_HEAD(&viaduct->blocks);
	mutex_init(&viaduct->grow_lock);
	INIT_WORK(&viaduct->tend, tend_work);
}

void viaduct_arenas_prepare(struct viaduct *viaduct)
{
	unsigned int flags = grow_begin(viaduct);

	arenas_grow(viaduct, 1);
	grow_end(viaduct, flags);
}

void viaduct_arenas_trim(struct viaduct *viaduct)
{
	unsigned int flags = grow_begin(viaduct);

	arenas_trim(viaduct, 0);
	grow_end(viaduct, flags);
}

/* What a driver has not freed may still be in its hands: better lost than used twice. */
void viaduct_arenas_finish(struct viaduct *viaduct)
{
	struct arena *arena, *next_arena;
	struct block *block, *next_block;

	cancel_work_sync(&viaduct->tend);
	list_for_each_entry_safe(arena, next_arena, &viaduct->arenas, node)
	{
		list_del(&arena->node);
		if (!arena->used) {
			arena_free(arena);
			continue;
		}
		pci_warn(viaduct->companion, "%lu pages of coherent memory were not freed\n",
			 arena->used);
		kfree(arena);
	}
	list_for_each_entry_safe(block, next_block, &viaduct->blocks, node)
	{
		list_del(&block->node);
		pci_warn(viaduct->companion, "%zu bytes of coherent memory were not freed\n",
			 block->size);
		kfree(block);
	}
	viaduct->arena_bytes = 0;
}
