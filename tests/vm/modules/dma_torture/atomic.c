// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The same where nothing may sleep: under a spinlock with interrupts off, in a softirq, in a hard interrupt of this
 * processor and in one that another processor asked for. Pages come from a thread, so that each round meets new ones.
 */
#include <linux/completion.h>
#include <linux/interrupt.h>
#include <linux/irq_work.h>
#include <linux/lockdep.h>
#include <linux/smp.h>

#include "torture.h"

#include "../random.h"

#define PAGES	48
#define HELD	8 /* single mappings at a time */
#define ENTRIES 16

struct atomic_round {
	struct torture *t;
	enum torture_fact fact;
	u64 random;
	struct page *pages[PAGES];
	struct scatterlist list[ENTRIES];
	void *coherent;
	dma_addr_t coherent_bus;
	struct completion done;
	struct tasklet_struct tasklet;
	struct irq_work work;
};

struct held {
	dma_addr_t bus;
	u32 len;
	int slot;
};

static bool map_held(struct atomic_round *r, struct held *h, struct page *page)
{
	struct torture *t = r->t;
	u32 offset = test_random(&r->random) % PAGE_SIZE;

	h->len = 1 + test_random(&r->random) % (PAGE_SIZE - offset);
	h->bus = dma_map_page(t->dev, page, offset, h->len, DMA_BIDIRECTIONAL);
	if (dma_mapping_error(t->dev, h->bus)) {
		torture_refused(t, r->fact, h->len);
		return false;
	}
	h->slot = torture_remember(t, page_to_phys(page) + offset, h->bus, h->len);
	return true;
}

static void map_singles(struct atomic_round *r)
{
	struct held held[HELD];
	unsigned int got;

	for (got = 0; got < HELD; got++)
		if (!map_held(r, &held[got],
			      r->pages[ENTRIES + got * 4 + (test_random(&r->random) & 3)]))
			break;
	while (got--) {
		torture_forget(r->t, held[got].slot);
		dma_unmap_page(r->t->dev, held[got].bus, held[got].len, DMA_BIDIRECTIONAL);
	}
}

static void map_list(struct atomic_round *r)
{
	struct torture *t = r->t;
	int slots[ENTRIES], mapped;

	sg_init_table(r->list, ENTRIES);
	for (unsigned int i = 0; i < ENTRIES; i++)
		sg_set_page(&r->list[i], r->pages[i], PAGE_SIZE, 0);
	mapped = dma_map_sg(t->dev, r->list, ENTRIES, DMA_FROM_DEVICE);
	if (mapped <= 0) {
		torture_refused(t, r->fact, ENTRIES * PAGE_SIZE);
		return;
	}
	if (mapped == ENTRIES) {
		for (unsigned int i = 0; i < ENTRIES; i++)
			slots[i] = torture_remember(t, sg_phys(&r->list[i]),
						    sg_dma_address(&r->list[i]), PAGE_SIZE);
		for (unsigned int i = 0; i < ENTRIES; i++)
			torture_forget(t, slots[i]);
	}
	dma_unmap_sg(t->dev, r->list, ENTRIES, DMA_FROM_DEVICE);
}

/* What every context does. */
static void work(struct atomic_round *r)
{
	map_singles(r);
	map_list(r);
	r->coherent = dma_alloc_coherent(r->t->dev, PAGE_SIZE, &r->coherent_bus,
					 GFP_ATOMIC | __GFP_NOWARN);
	torture_done(r->t, r->fact);
}

/* Freeing coherent memory needs interrupts, so it is for the thread. */
static void settle(struct atomic_round *r)
{
	struct torture *t = r->t;

	if (!r->coherent) {
		torture_refused(t, TORTURE_ATOMIC_COHERENT, PAGE_SIZE);
		return;
	}
	if (memchr_inv(r->coherent, 0, PAGE_SIZE))
		torture_fail(t, TORTURE_ZEROED, "a page at %pad, allocated where nothing may sleep",
			     &r->coherent_bus);
	torture_fill(r->coherent, 64, 5);
	if (!torture_copy(t, r->coherent_bus, r->coherent_bus + 2048, 64) ||
	    !torture_holds(r->coherent + 2048, 64, 5))
		torture_fail(t, TORTURE_ATOMIC_COHERENT, "the device does not copy at %pad",
			     &r->coherent_bus);
	memset(r->coherent, 0xff, PAGE_SIZE);
	dma_free_coherent(t->dev, PAGE_SIZE, r->coherent, r->coherent_bus);
	torture_done(t, TORTURE_ATOMIC_COHERENT);
}

static void under_lock(struct atomic_round *r)
{
	static DEFINE_SPINLOCK(lock);
	unsigned long flags;

	spin_lock_irqsave(&lock, flags);
	work(r);
	spin_unlock_irqrestore(&lock, flags);
}

static void in_tasklet(struct tasklet_struct *tasklet)
{
	struct atomic_round *r = container_of(tasklet, struct atomic_round, tasklet);

	if (!in_softirq())
		torture_fail(r->t, r->fact, "this is no softirq");
	work(r);
	complete(&r->done);
}

static void in_irq_work(struct irq_work *irq)
{
	struct atomic_round *r = container_of(irq, struct atomic_round, work);

	if (!in_hardirq())
		torture_fail(r->t, r->fact, "this is no hard interrupt");
	work(r);
	complete(&r->done);
}

/* Calls of another processor are no place for dma-debug's locks: lockdep is not to hear of them. */
static void in_call(void *opaque)
{
	if (IS_ENABLED(CONFIG_DMA_API_DEBUG))
		lockdep_off();
	work(opaque);
	if (IS_ENABLED(CONFIG_DMA_API_DEBUG))
		lockdep_on();
}

static void run_in(struct atomic_round *r)
{
	unsigned int other;

	switch (r->fact) {
	case TORTURE_LOCKED:
		under_lock(r);
		break;
	case TORTURE_SOFTIRQ:
		tasklet_setup(&r->tasklet, in_tasklet);
		tasklet_schedule(&r->tasklet);
		wait_for_completion(&r->done);
		tasklet_kill(&r->tasklet);
		break;
	case TORTURE_HARDIRQ:
		/* A hard interrupt all the same, but where the kernel's own dma-debug may lock. */
		r->work = IRQ_WORK_INIT(in_irq_work);
		irq_work_queue(&r->work);
		wait_for_completion(&r->done);
		irq_work_sync(&r->work);
		break;
	default:
		other = cpumask_next(raw_smp_processor_id(), cpu_online_mask);
		smp_call_function_single(
			other < nr_cpu_ids ? other : cpumask_first(cpu_online_mask), in_call, r, 1);
		break;
	}
}

void torture_atomic(struct torture *t, u64 *random)
{
	struct atomic_round *r = kzalloc(sizeof(*r), GFP_KERNEL);
	unsigned int got = 0;

	if (!r)
		return;
	r->t = t;
	while (got < PAGES && (r->pages[got] = alloc_page(GFP_KERNEL | __GFP_NOWARN)))
		got++;
	for (enum torture_fact fact = TORTURE_LOCKED; fact <= TORTURE_IPI && got == PAGES; fact++) {
		r->fact = fact;
		r->random = test_random(random) | 1;
		init_completion(&r->done);
		run_in(r);
		settle(r);
	}
	while (got)
		__free_page(r->pages[--got]);
	kfree(r);
}
