// SPDX-License-Identifier: GPL-2.0-or-later
/* The driver: binding the device runs it all, and the report says what was found. */
#include <linux/kthread.h>

#include "torture.h"

#include "../edu.h"
#include "../random.h"
#include "../report.h"

#define WORKERS 4

static uint seconds = 2;
module_param(seconds, uint, 0444);
MODULE_PARM_DESC(seconds, "how long");
static ulong seed = 1;
module_param(seed, ulong, 0444);
MODULE_PARM_DESC(seed, "of what is random");
static bool may_refuse;
module_param(may_refuse, bool, 0444);
MODULE_PARM_DESC(may_refuse, "the host's limits are so small that refusals are in order");

static const char *const facts[TORTURE_FACTS] = {
	[TORTURE_MAPS] = "buffers of 1 byte to 4 MiB are mapped",
	[TORTURE_LISTS] = "scatter lists are mapped, and the device copies within them",
	[TORTURE_PROCESS_COPIES] =
		"the device copies between mapped buffers, and nothing beside them",
	[TORTURE_APART] = "no bus address means two things at a time",
	[TORTURE_COHERENT] = "coherent memory of 1 byte to 4 MiB can be had and used",
	[TORTURE_ALIGNED] = "coherent memory is aligned naturally up to 2 MiB",
	[TORTURE_ZEROED] = "coherent memory is zero",
	[TORTURE_POOLS] = "DMA pools give blocks that are aligned and their own",
	[TORTURE_PAGES] = "pages that the DMA API allocates are usable",
	[TORTURE_ATOMIC_COHERENT] = "coherent memory can be had where nothing may sleep",
	[TORTURE_LOCKED] = "mapping works under a spinlock with interrupts off",
	[TORTURE_SOFTIRQ] = "mapping works in softirqs",
	[TORTURE_HARDIRQ] = "mapping works in hard interrupts",
	[TORTURE_IPI] = "mapping works in another processor's calls",
};

static void (*const tests[])(struct torture *t, u64 *random) = {
	torture_streaming, torture_streaming, torture_streaming,     torture_streaming,
	torture_list,	   torture_list,      torture_coherent,	     torture_coherent,
	torture_pool,	   torture_pages,     torture_noncontiguous,
};

struct worker {
	struct torture *t;
	struct task_struct *task;
	u64 random;
	bool atomic;
};

bool torture_say(bool good, const char *fact, const char *why)
{
	return FACT(good, fact, "%s", why);
}

static int work(void *opaque)
{
	struct worker *w = opaque;

	while (!kthread_should_stop()) {
		if (w->atomic)
			torture_atomic(w->t, &w->random);
		else
			tests[test_random(&w->random) % ARRAY_SIZE(tests)](w->t, &w->random);
		cond_resched();
	}
	return 0;
}

static void run(struct torture *t)
{
	struct worker workers[WORKERS] = {};

	for (unsigned int i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){
			.t = t, .random = (seed + 1) * 1000003 + i, .atomic = i == 0};
		workers[i].task = kthread_run(work, &workers[i], "torture/%u", i);
	}
	msleep(seconds * 1000);
	for (unsigned int i = 0; i < WORKERS; i++)
		if (!IS_ERR(workers[i].task))
			kthread_stop(workers[i].task);
}

static void tell(struct torture *t)
{
	for (unsigned int i = 0; i < TORTURE_FACTS; i++) {
		if (atomic_read(&t->failed[i]))
			FACT(false, facts[i], "%s (%d times)", t->why[i],
			     atomic_read(&t->failed[i]));
		else
			FACT(atomic_read(&t->done[i]), facts[i], "it was not tried");
	}
	for (unsigned int i = 0; i < TORTURE_FACTS; i++)
		report_line("data torture_%u %d\n", i, atomic_read(&t->done[i]));
	report_line("data torture_refused %d\n", atomic_read(&t->refused));
}

static int torture_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct torture *t;
	int err = pci_enable_device(pdev);

	if (err)
		return err;
	t = kvzalloc(sizeof(*t), GFP_KERNEL);
	if (!t) {
		pci_disable_device(pdev);
		return -ENOMEM;
	}
	t->pdev = pdev;
	t->dev = &pdev->dev;
	t->may_refuse = may_refuse;
	mutex_init(&t->copy_lock);
	raw_spin_lock_init(&t->lock);
	dma_set_max_seg_size(&pdev->dev, UINT_MAX);
	pci_set_drvdata(pdev, t);
	pci_set_master(pdev);
	t->regs = pci_iomap(pdev, 0, 0);
	if (FACT(t->regs && readl(t->regs + EDU_ID) == EDU_ID_VALUE, "the driver finds its device",
		 "no ID")) {
		torture_once(t);
		run(t);
		tell(t);
	}
	return 0;
}

static void torture_remove(struct pci_dev *pdev)
{
	struct torture *t = pci_get_drvdata(pdev);

	if (t->regs)
		pci_iounmap(pdev, t->regs);
	pci_clear_master(pdev);
	pci_disable_device(pdev);
	kvfree(t);
}

static const struct pci_device_id torture_ids[] = {
	{PCI_DEVICE(EDU_VENDOR, EDU_DEVICE)},
	{},
};
MODULE_DEVICE_TABLE(pci, torture_ids);

static struct pci_driver torture_driver = {
	.name = KBUILD_MODNAME,
	.id_table = torture_ids,
	.probe = torture_probe,
	.remove = torture_remove,
};

static int __init torture_init(void)
{
	int err;

	report_init();
	err = pci_register_driver(&torture_driver);
	if (err)
		report_exit();
	return err;
}
module_init(torture_init);

static void __exit torture_exit(void)
{
	pci_unregister_driver(&torture_driver);
	report_exit();
}
module_exit(torture_exit);

MODULE_DESCRIPTION("Test: exercises the DMA API for the simulated test device");
MODULE_LICENSE("GPL");
