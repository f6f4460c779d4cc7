/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A driver that does to the kernel's DMA API whatever drivers do, from every context at once, and lets its device (the
 * simulated test device) copy through the addresses, which is the proof that they are right.
 *
 * What is found to be false is noted once with its reason, from any context (torture_fail); a thread reports at the end.
 */
#ifndef TORTURE_H
#define TORTURE_H

#include <linux/atomic.h>
#include <linux/dma-mapping.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#define TORTURE_WHY  112
#define TORTURE_LIVE 512

/* What is true when it passes; the texts are main.c's. */
enum torture_fact {
	TORTURE_MAPS,
	TORTURE_LISTS,
	TORTURE_PROCESS_COPIES,
	TORTURE_APART,
	TORTURE_COHERENT,
	TORTURE_ALIGNED,
	TORTURE_ZEROED,
	TORTURE_POOLS,
	TORTURE_PAGES,
	TORTURE_ATOMIC_COHERENT,
	TORTURE_LOCKED,
	TORTURE_SOFTIRQ,
	TORTURE_HARDIRQ,
	TORTURE_IPI,
	TORTURE_FACTS
};

/* Something that is mapped now. */
struct torture_span {
	u64 phys, bus, len;
};

struct torture {
	struct pci_dev *pdev;
	struct device *dev;
	void __iomem *regs;
	struct mutex copy_lock; /* the device copies one at a time */
	atomic_t done[TORTURE_FACTS], failed[TORTURE_FACTS];
	atomic_t refused; /* mappings, which small budgets may refuse */
	bool may_refuse;
	raw_spinlock_t lock; /* what follows; taken in interrupts */
	char why[TORTURE_FACTS][TORTURE_WHY];
	struct torture_span live[TORTURE_LIVE];
};

/* live.c: any context. */
__printf(3, 4) void torture_fail(struct torture *t, enum torture_fact fact, const char *format,
				 ...);
static inline void torture_done(struct torture *t, enum torture_fact fact)
{
	atomic_inc(&t->done[fact]);
}
/*
 * Notes what is mapped; fails TORTURE_APART when it is not what others that are mapped allow it to be. The slot for
 * torture_forget(), which comes before the unmapping; negative when there is none.
 */
int torture_remember(struct torture *t, u64 phys, u64 bus, u64 len);
void torture_forget(struct torture *t, int slot);
/* Says whether a refusal is in order. */
void torture_refused(struct torture *t, enum torture_fact fact, u64 len);

/* Fills with bytes that depend on the seed, and looks whether that is still there. */
void torture_fill(void *memory, size_t len, u32 seed);
bool torture_holds(const void *memory, size_t len, u32 seed);
/* Lets the device copy. True when it says that it did. May sleep. */
bool torture_copy(struct torture *t, u64 from, u64 to, u64 len);

/* Of one kind of test each, all in process context: one round. */
void torture_streaming(struct torture *t, u64 *random);
void torture_list(struct torture *t, u64 *random);
void torture_coherent(struct torture *t, u64 *random);
void torture_pool(struct torture *t, u64 *random);
void torture_pages(struct torture *t, u64 *random);
void torture_noncontiguous(struct torture *t, u64 *random);
/* One round in each context that must not sleep. */
void torture_atomic(struct torture *t, u64 *random);

/* once.c: what is done once, alone; reports itself. */
void torture_once(struct torture *t);

/* main.c: a line of the report. */
bool torture_say(bool good, const char *fact, const char *why);

#endif
