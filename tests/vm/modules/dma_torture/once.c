// SPDX-License-Identifier: GPL-2.0-or-later
/* What is looked at once, while nothing else is mapped: limits, masks, what cannot be mapped, memory of user space. */
#include <linux/anon_inodes.h>
#include <linux/dma-map-ops.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/uaccess.h>

#include "torture.h"

#define SHARED (4 * PAGE_SIZE)

static char why[TORTURE_WHY];

#define SAY(good, fact, ...)                                                                       \
	({                                                                                         \
		bool good_ = (good);                                                               \
		snprintf(why, sizeof(why), __VA_ARGS__);                                           \
		torture_say(good_, fact, why);                                                     \
	})

static void limits(struct torture *t)
{
	SAY(dma_max_mapping_size(t->dev) >= 4u << 20, "4 MiB may be mapped at once", "%zu",
	    dma_max_mapping_size(t->dev));
	SAY(dma_set_mask_and_coherent(t->dev, DMA_BIT_MASK(64)) == 0,
	    "a device of 64 bits is supported", "refused");
}

static void narrow_mask(struct torture *t)
{
	int err = dma_set_mask(t->dev, DMA_BIT_MASK(32));
	struct page *page = alloc_page(GFP_KERNEL);
	dma_addr_t bus;

	if (!page)
		return;
	if (!err) {
		bus = dma_map_page(t->dev, page, 0, PAGE_SIZE, DMA_TO_DEVICE);
		if (!dma_mapping_error(t->dev, bus)) {
			SAY(bus + PAGE_SIZE - 1 <= DMA_BIT_MASK(32),
			    "a device of 32 bits gets no address beyond them", "%pad", &bus);
			dma_unmap_page(t->dev, bus, PAGE_SIZE, DMA_TO_DEVICE);
		} else {
			SAY(true, "a device of 32 bits gets no address beyond them", "-");
		}
	} else {
		SAY(true, "a device of 32 bits gets no address beyond them", "-");
	}
	__free_page(page);
	if (dma_set_mask_and_coherent(t->dev, DMA_BIT_MASK(64)))
		SAY(false, "the mask can be widened again", "refused");
}

/* The device's own memory is not the guest's. The kernel's dma-debug (6.12) takes the refusal for a mapping. */
static void resource(struct torture *t)
{
	dma_addr_t bus;
	bool refused;

	if (IS_ENABLED(CONFIG_DMA_API_DEBUG))
		return;
	bus = dma_map_resource(t->dev, pci_resource_start(t->pdev, 2), PAGE_SIZE, DMA_BIDIRECTIONAL,
			       0);
	refused = dma_mapping_error(t->dev, bus);
	SAY(refused, "another device's registers are not mapped", "at %pad", &bus);
	if (!refused)
		dma_unmap_resource(t->dev, bus, PAGE_SIZE, DMA_BIDIRECTIONAL, 0);
}

/* A driver's mistake must not take the kernel along. The kernel that looks for such mistakes would report this one. */
static void unknown(struct torture *t)
{
	if (IS_ENABLED(CONFIG_DMA_API_DEBUG))
		return;
	dma_unmap_page(t->dev, 0xdead0000, PAGE_SIZE, DMA_TO_DEVICE);
	dma_unmap_page(t->dev, 0xdeadbeef00001234ull, 1, DMA_FROM_DEVICE);
	dma_sync_single_for_cpu(t->dev, 0xdead0000, PAGE_SIZE, DMA_FROM_DEVICE);
	SAY(true, "unmapping what is not mapped does no harm", "-");
}

static void table(struct torture *t)
{
	struct sg_table got;
	dma_addr_t bus;
	void *memory = dma_alloc_coherent(t->dev, SHARED, &bus, GFP_KERNEL);
	int err;

	if (!SAY(memory, "coherent memory can be had", "none"))
		return;
	err = dma_get_sgtable(t->dev, &got, memory, bus, SHARED);
	if (SAY(!err, "coherent memory has a scatter list", "%d", err)) {
		torture_fill(memory, PAGE_SIZE, 3);
		SAY(torture_holds(sg_virt(got.sgl), PAGE_SIZE, 3), "which is of the same memory",
		    "it is of another");
		sg_free_table(&got);
	}
	dma_free_coherent(t->dev, SHARED, memory, bus);
}

struct shared {
	struct torture *t;
	void *memory;
	dma_addr_t bus;
};

static int shared_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct shared *s = file->private_data;

	return dma_mmap_coherent(s->t->dev, vma, s->memory, s->bus, SHARED);
}

static const struct file_operations shared_fops = {
	.owner = THIS_MODULE,
	.mmap = shared_mmap,
};

/* The memory in the address space of whoever loads us. */
static void use_in_user_space(struct torture *t, struct shared *s, unsigned long at)
{
	u32 word = 0x12345678, back = 0;

	((u32 *)s->memory)[PAGE_SIZE / 4 * 3] = 0xcafe;
	SAY(!copy_from_user(&back, (void __user *)(at + 3 * PAGE_SIZE), sizeof(back)) &&
		    back == 0xcafe,
	    "user space reads what the driver wrote", "0x%x", back);
	SAY(!copy_to_user((void __user *)at, &word, sizeof(word)) &&
		    torture_copy(t, s->bus, s->bus + PAGE_SIZE, 4) &&
		    ((u32 *)s->memory)[PAGE_SIZE / 4] == word,
	    "the device reads what user space wrote", "0x%x", ((u32 *)s->memory)[PAGE_SIZE / 4]);
}

static void user_space(struct torture *t)
{
	struct shared s = {.t = t};
	struct file *file;
	unsigned long at;

	if (!current->mm)
		return;
	s.memory = dma_alloc_coherent(t->dev, SHARED, &s.bus, GFP_KERNEL);
	if (!s.memory)
		return;
	file = anon_inode_getfile("dma_torture", &shared_fops, &s, O_RDWR);
	if (SAY(!IS_ERR(file), "there is a file to map", "%d", PTR_ERR_OR_ZERO(file))) {
		at = vm_mmap(file, 0, SHARED, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
		if (SAY(!IS_ERR_VALUE(at), "user space maps coherent memory", "%ld", (long)at)) {
			use_in_user_space(t, &s, at);
			vm_munmap(at, SHARED);
		}
		fput(file);
	}
	dma_free_coherent(t->dev, SHARED, s.memory, s.bus);
}

/* The same memory several times, with and without what drivers may say of it. */
static void attributes(struct torture *t)
{
	static const unsigned long attrs[] = {0, DMA_ATTR_SKIP_CPU_SYNC, DMA_ATTR_WEAK_ORDERING,
					      DMA_ATTR_NO_WARN};
	struct page *page = alloc_page(GFP_KERNEL);
	dma_addr_t bus[ARRAY_SIZE(attrs)];
	unsigned int got = 0;

	if (!page)
		return;
	for (; got < ARRAY_SIZE(attrs); got++) {
		bus[got] =
			dma_map_page_attrs(t->dev, page, 0, PAGE_SIZE, DMA_TO_DEVICE, attrs[got]);
		if (dma_mapping_error(t->dev, bus[got]))
			break;
	}
	SAY(got == ARRAY_SIZE(attrs), "a page is mapped several times at once", "refused at %u",
	    got);
	while (got--)
		dma_unmap_page_attrs(t->dev, bus[got], PAGE_SIZE, DMA_TO_DEVICE, attrs[got]);
	__free_page(page);
}

static void opaque_memory(struct torture *t)
{
	dma_addr_t bus;
	void *cookie =
		dma_alloc_attrs(t->dev, SHARED, &bus, GFP_KERNEL, DMA_ATTR_NO_KERNEL_MAPPING);
	struct page *page;
	dma_addr_t second;

	if (!SAY(cookie, "memory that the driver does not touch can be had", "none"))
		return;
	page = alloc_page(GFP_KERNEL);
	second = page ? dma_map_page(t->dev, page, 0, PAGE_SIZE, DMA_BIDIRECTIONAL)
		      : DMA_MAPPING_ERROR;
	if (page && !dma_mapping_error(t->dev, second)) {
		torture_fill(page_address(page), PAGE_SIZE / 2, 8);
		SAY(torture_copy(t, second, bus, PAGE_SIZE / 2) &&
			    torture_copy(t, bus, second + PAGE_SIZE / 2, PAGE_SIZE / 2),
		    "and the device uses it", "it does not copy");
		dma_unmap_page(t->dev, second, PAGE_SIZE, DMA_BIDIRECTIONAL);
		SAY(torture_holds(page_address(page) + PAGE_SIZE / 2, PAGE_SIZE / 2, 8),
		    "and it keeps what it is given", "other bytes came back");
	}
	if (page)
		__free_page(page);
	dma_free_attrs(t->dev, SHARED, cookie, bus, DMA_ATTR_NO_KERNEL_MAPPING);
}

void torture_once(struct torture *t)
{
	limits(t);
	narrow_mask(t);
	resource(t);
	unknown(t);
	table(t);
	user_space(t);
	attributes(t);
	opaque_memory(t);
}
