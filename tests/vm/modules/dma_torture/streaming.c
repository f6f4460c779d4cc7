// SPDX-License-Identifier: GPL-2.0-or-later
/* Streaming mappings in process context: single pages, large buffers, odd ends, scatter lists. */
#include "torture.h"

#include "../random.h"

#define ENTRIES	  96
#define MOST	  (4u << 20)
#define COPY_MOST 65536 /* what the device copies at once: longer ones take their time */
#define MARGIN	  0xee

struct buffer {
	void *pages;
	unsigned int order;
	u8 *start;
	u32 len;
	enum dma_data_direction direction;
	dma_addr_t bus;
	int slot;
};

/* Mostly small, as drivers' are; up to 4 MiB. */
static u32 pick_length(u64 *random)
{
	u32 most[] = {64, 4096, 4096, 16384, 65536, 65536, 524288, MOST};

	return 1 + test_random(random) % most[test_random(random) % ARRAY_SIZE(most)];
}

static bool buffer_allocate(struct buffer *b, u32 len, enum dma_data_direction direction,
			    u64 *random)
{
	u32 offset = test_random(random) % PAGE_SIZE;

	if (len + offset > MOST)
		offset = MOST - len;
	b->order = get_order(len + offset);
	b->pages = (void *)__get_free_pages(GFP_KERNEL | __GFP_NOWARN | __GFP_NORETRY, b->order);
	if (!b->pages)
		return false;
	memset(b->pages, MARGIN, PAGE_SIZE << b->order);
	b->start = b->pages + offset;
	b->len = len;
	b->direction = direction;
	return true;
}

static bool buffer_map(struct torture *t, struct buffer *b, u64 *random)
{
	if (test_random(random) & 1)
		b->bus = dma_map_single(t->dev, b->start, b->len, b->direction);
	else
		b->bus = dma_map_page(t->dev, virt_to_page(b->pages), b->start - (u8 *)b->pages,
				      b->len, b->direction);
	if (dma_mapping_error(t->dev, b->bus)) {
		torture_refused(t, TORTURE_MAPS, b->len);
		return false;
	}
	if (b->bus + b->len - 1 > dma_get_mask(t->dev))
		torture_fail(t, TORTURE_MAPS, "%pad is beyond the mask", &b->bus);
	b->slot = torture_remember(t, virt_to_phys(b->start), b->bus, b->len);
	torture_done(t, TORTURE_MAPS);
	return true;
}

/* Each request is unmapped by the call that belongs to its mapping, but drivers mix page and single. */
static void buffer_unmap(struct torture *t, struct buffer *b, bool single)
{
	torture_forget(t, b->slot);
	if (single)
		dma_unmap_single(t->dev, b->bus, b->len, b->direction);
	else
		dma_unmap_page(t->dev, b->bus, b->len, b->direction);
}

static bool margins_hold(const struct buffer *b)
{
	const u8 *pages = b->pages, *end = pages + (PAGE_SIZE << b->order);
	size_t before = b->start - pages, after = end - (b->start + b->len);

	return (!before || !memchr_inv(pages, MARGIN, before)) &&
	       (!after || !memchr_inv(b->start + b->len, MARGIN, after));
}

static void copy_between(struct torture *t, struct buffer *from, struct buffer *to)
{
	u32 half = from->len / 2;

	if (!torture_copy(t, from->bus, to->bus, from->len)) {
		torture_fail(t, TORTURE_PROCESS_COPIES,
			     "the device does not copy %u bytes from %pad to %pad", from->len,
			     &from->bus, &to->bus);
		return;
	}
	if (half) {
		dma_sync_single_range_for_cpu(t->dev, to->bus, half, to->len - half, to->direction);
		if (to->start[half] != from->start[half])
			torture_fail(t, TORTURE_PROCESS_COPIES,
				     "a synced part of %u bytes is wrong", from->len);
		dma_sync_single_range_for_device(t->dev, to->bus, half, to->len - half,
						 to->direction);
	}
	torture_done(t, TORTURE_PROCESS_COPIES);
}

static void check_copied(struct torture *t, const struct buffer *to, u32 seed)
{
	if (!torture_holds(to->start, to->len, seed))
		torture_fail(t, TORTURE_PROCESS_COPIES, "%u bytes at %pad are wrong", to->len,
			     &to->bus);
	if (!margins_hold(to))
		torture_fail(t, TORTURE_PROCESS_COPIES, "bytes beside %u at %pad changed", to->len,
			     &to->bus);
}

void torture_streaming(struct torture *t, u64 *random)
{
	bool both = test_random(random) & 1, copy, single = test_random(random) & 1;
	u32 len = pick_length(random), seed = test_random(random);
	struct buffer from = {}, to = {};

	copy = len <= COPY_MOST && test_random(random) % 4 == 0;
	if (!buffer_allocate(&from, len, both ? DMA_BIDIRECTIONAL : DMA_TO_DEVICE, random) ||
	    !buffer_allocate(&to, len, both ? DMA_BIDIRECTIONAL : DMA_FROM_DEVICE, random))
		goto out;
	if (copy)
		torture_fill(from.start, len, seed);
	if (!buffer_map(t, &from, random))
		goto out;
	if (buffer_map(t, &to, random)) {
		if (copy)
			copy_between(t, &from, &to);
		buffer_unmap(t, &to, single);
		if (copy)
			check_copied(t, &to, seed);
	}
	buffer_unmap(t, &from, single);
out:
	free_pages((unsigned long)to.pages, to.order);
	free_pages((unsigned long)from.pages, from.order);
}

/* Scatter lists: an entry is part of a page of its own, or of several that follow each other. */

static unsigned int fill_list(struct scatterlist *list, unsigned int want, u64 *random)
{
	unsigned int got = 0;

	sg_init_table(list, want);
	while (got < want) {
		unsigned int order = test_random(random) % 8 ? 0 : 2;
		struct page *pages = alloc_pages(GFP_KERNEL | __GFP_COMP | __GFP_NOWARN, order);
		u32 size = PAGE_SIZE << order, offset = test_random(random) % size;

		if (!pages)
			break;
		sg_set_page(&list[got++], pages, 1 + test_random(random) % (size - offset), offset);
	}
	if (got)
		sg_mark_end(&list[got - 1]);
	return got;
}

static void free_list(struct scatterlist *list, unsigned int count)
{
	while (count--)
		__free_pages(sg_page(&list[count]), compound_order(sg_page(&list[count])));
}

/* What came back covers the list; merged entries are allowed. */
static bool list_covers(struct scatterlist *list, unsigned int count, int mapped)
{
	struct scatterlist *entry;
	u64 want = 0, got = 0;
	int i;

	for_each_sg(list, entry, count, i) want += entry->length;
	for_each_sg(list, entry, mapped, i) got += sg_dma_len(entry);
	return want == got;
}

static void copy_in_list(struct torture *t, struct scatterlist *list, unsigned int count, u32 seed)
{
	struct scatterlist *last = &list[count - 1];
	u32 len = min(list->length, last->length);

	dma_sync_sg_for_cpu(t->dev, list, count, DMA_BIDIRECTIONAL);
	torture_fill(sg_virt(list), len, seed);
	dma_sync_sg_for_device(t->dev, list, count, DMA_BIDIRECTIONAL);
	if (!torture_copy(t, sg_dma_address(list), sg_dma_address(last), len))
		torture_fail(t, TORTURE_LISTS, "the device does not copy %u bytes of a list of %u",
			     len, count);
	dma_sync_sg_for_cpu(t->dev, list, count, DMA_BIDIRECTIONAL);
	if (!torture_holds(sg_virt(last), len, seed))
		torture_fail(t, TORTURE_LISTS, "%u bytes of a list of %u are wrong", len, count);
}

static void use_list(struct torture *t, struct scatterlist *list, unsigned int count, int mapped,
		     u64 *random)
{
	int slots[ENTRIES];

	if (!list_covers(list, count, mapped))
		torture_fail(t, TORTURE_LISTS, "%d entries for a list of %u do not cover it",
			     mapped, count);
	if (mapped != (int)count)
		return;
	for (unsigned int i = 0; i < count; i++)
		slots[i] = torture_remember(t, sg_phys(&list[i]), sg_dma_address(&list[i]),
					    sg_dma_len(&list[i]));
	if (count > 1 && test_random(random) % 4 == 0)
		copy_in_list(t, list, count, test_random(random));
	for (unsigned int i = 0; i < count; i++)
		torture_forget(t, slots[i]);
}

void torture_list(struct torture *t, u64 *random)
{
	struct scatterlist *list = kmalloc_array(ENTRIES, sizeof(*list), GFP_KERNEL);
	unsigned int count;
	int mapped;

	if (!list)
		return;
	count = fill_list(list, 1 + test_random(random) % ENTRIES, random);
	if (count) {
		mapped = dma_map_sg(t->dev, list, count, DMA_BIDIRECTIONAL);
		if (mapped > 0) {
			use_list(t, list, count, mapped, random);
			dma_unmap_sg(t->dev, list, count, DMA_BIDIRECTIONAL);
			torture_done(t, TORTURE_LISTS);
		} else {
			torture_refused(t, TORTURE_LISTS, count * PAGE_SIZE);
		}
	}
	free_list(list, count);
	kfree(list);
}
