// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A guest that rings garbage: random registers, command pages and arrays wherever a guest-physical address can point,
 * random types, counts and entries in both layouts, while another processor changes all of it. Afterwards it looks
 * whether the companion still does a proper batch; whether the host is still well is for the host to say.
 *
 * The device writes its answers where it is told, so those addresses are memory of ours or none of the guest's at all;
 * and the managed device masters no bus meanwhile, so that no mapping is ever used.
 */
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/kthread.h>
#include <linux/pci.h>
#include <linux/slab.h>

/* What proto/apple_dma.h is written in. */
typedef __le32 vd_le32;
typedef __le64 vd_le64;

#include "proto/apple_dma.h"

#include "../random.h"
#include "../report.h"

#define ARENA	      (64 * PAGE_SIZE)
#define BLOCK_ORDER   9 /* behind the arena there is room for the answers of the largest batch */
#define FIRST_ENTRIES 8 /* what is filled with care; the rest is what was there */

static uint rounds = 2000;
module_param(rounds, uint, 0444);
MODULE_PARM_DESC(rounds, "doorbells and register accesses");
static ulong seed = 1;
module_param(seed, ulong, 0444);
MODULE_PARM_DESC(seed, "of what is random");
static ulong ram_end = 512ul << 20;
module_param(ram_end, ulong, 0444);
MODULE_PARM_DESC(ram_end, "first guest-physical address behind the memory below 4 GiB");
static uint command_rounds;

struct hostile {
	struct pci_dev *pdev;
	void __iomem *regs;
	u8 *arena; /* command pages, requests and responses lie in here */
	u64 random, bar;
	struct task_struct *scribbler;
};

static u64 gpa_of(const void *memory)
{
	return virt_to_phys((void *)memory);
}

static u64 pick(struct hostile *h, const u64 *from, unsigned int count)
{
	return from[test_random(&h->random) % count];
}

/* Mostly in the arena, where something can come of it. */
static u64 pick_gpa(struct hostile *h)
{
	u64 odd[] = {
		0,
		0xa0000,	       /* the hole below 1 MiB */
		0xfffffffffffffff8ull, /* wraps */
		0x7ffffffffffffff0ull,
		ram_end - 8, /* runs out of memory */
		ram_end,
		ram_end + 0x100000,
		1ull << 44,
		0xfec00000, /* interrupt controllers */
		0xfee00000,
		h->bar, /* ourselves */
		h->bar + VD_APPLE_DMA_REG_DOORBELL,
		h->bar + 0xff8,
	};
	u64 inside = gpa_of(h->arena) + test_random(&h->random) % ARENA;

	switch (test_random(&h->random) % 8) {
	case 0:
		return pick(h, odd, ARRAY_SIZE(odd));
	case 1:
		return inside; /* not aligned */
	case 2:
		return gpa_of(h->arena); /* over each other */
	default:
		return inside & ~7ull;
	}
}

static u32 pick_count(struct hostile *h)
{
	static const u64 counts[] = {0,	   1,	  1,	      2,	  3,
				     7,	   8,	  100,	      4095,	  4096,
				     4097, 65536, 0x7fffffff, 0x80000000, 0xffffffff};

	return pick(h, counts, ARRAY_SIZE(counts));
}

static u64 pick_length(struct hostile *h)
{
	static const u64 lengths[] = {0,     1,		  4095,	      4096,	    16384,
				      65536, 2u << 20,	  1ull << 32, 0xfffffffful, 1ull << 63,
				      ~0ull, ~0ull - 4095};

	return pick(h, lengths, ARRAY_SIZE(lengths));
}

static u64 pick_id(struct hostile *h)
{
	u64 ids[] = {
		0,    1, gpa_of(h->arena), 1ull << 63, (1ull << 63) + test_random(&h->random) % 64,
		~0ull};

	return pick(h, ids, ARRAY_SIZE(ids));
}

/* Requests of one kind or the other, or whatever lies there. */
static void fill_requests(struct hostile *h, u8 *at)
{
	u64 kind = test_random(&h->random) % 5;
	u64 *words = PTR_ALIGN((u64 *)at, 8);

	for (unsigned int i = 0; i < FIRST_ENTRIES; i++) {
		switch (kind) {
		case 0: /* map */
			*words++ = pick_gpa(h);
			*words++ = pick_length(h) & 0xffffffff;
			break;
		case 1: /* wide map */
			*words++ = pick_gpa(h);
			*words++ = pick_length(h);
			*words++ = test_random(&h->random) % 5;
			*words++ = test_random(&h->random) % 4
					   ? 0
					   : 1ull << test_random(&h->random) % 64;
			break;
		case 2: /* unmap */
			*words++ = pick_id(h);
			*words++ = pick_length(h);
			break;
		case 3: /* range */
			*words++ = pick_gpa(h) & ~0xfffull;
			*words++ = pick_length(h);
			break;
		default:
			*words++ = test_random(&h->random);
			*words++ = test_random(&h->random);
		}
	}
}

/* Where a command page at that address can be written by us, it is. */
static void fill_command(struct hostile *h, u64 gpa)
{
	u64 base = gpa_of(h->arena);
	struct vd_apple_dma_wide_command *command;

	if (gpa < base || gpa - base > ARENA - sizeof(*command))
		return;
	command = (void *)PTR_ALIGN(h->arena + (gpa - base), 8);
	if ((u8 *)(command + 1) > h->arena + ARENA)
		return;
	command->base.type = cpu_to_le32(test_random(&h->random) % 8 ? test_random(&h->random) % 6
								     : test_random(&h->random));
	command->base.count = cpu_to_le32(pick_count(h));
	command->base.reserved = cpu_to_le32(test_random(&h->random) % 4 ? 0 : 1);
	command->segments = cpu_to_le32(
		test_random(&h->random) % 4 ? 1 + test_random(&h->random) % 16 : pick_count(h));
	command->unmap_count = cpu_to_le32(test_random(&h->random) % 2 ? 0 : pick_count(h));
	memset(command->reserved, 0, sizeof(command->reserved));
	command->base.requests = cpu_to_le64(pick_gpa(h));
	command->base.responses = cpu_to_le64(pick_gpa(h));
	command->unmap_requests = cpu_to_le64(pick_gpa(h));
	command->unmap_responses = cpu_to_le64(pick_gpa(h));
}

static void set_command_page(struct hostile *h, u64 gpa)
{
	writel(lower_32_bits(gpa), h->regs + VD_APPLE_DMA_REG_CMD_GPA_LO);
	writel(upper_32_bits(gpa), h->regs + VD_APPLE_DMA_REG_CMD_GPA_HI);
}

/* The usual case: a batch that could be one. */
static void ring(struct hostile *h)
{
	u64 gpa = pick_gpa(h);

	set_command_page(h, gpa);
	for (unsigned int i = 0; i < 4; i++)
		fill_requests(h, h->arena + test_random(&h->random) %
						    (ARENA - 8 - FIRST_ENTRIES * 32));
	fill_command(h, gpa);
	writel(test_random(&h->random), h->regs + VD_APPLE_DMA_REG_DOORBELL);
	if (test_random(&h->random) & 1)
		readl(h->regs + VD_APPLE_DMA_REG_STATUS);
	command_rounds++;
}

/* Any width, any register; what may stop the managed device is seldom. */
static void poke(struct hostile *h)
{
	u32 at = test_random(&h->random) % 4 ? test_random(&h->random) % 0x80
					     : test_random(&h->random) % 0x1000;
	u64 value = test_random(&h->random) & 1 ? test_random(&h->random)
						: test_random(&h->random) % 16;

	switch (test_random(&h->random) % 8) {
	case 0:
		writeb(value, h->regs + at);
		break;
	case 1:
		writew(value, h->regs + (at & ~1u));
		break;
	case 2:
		readb(h->regs + at);
		break;
	case 3:
		readw(h->regs + (at & ~1u));
		break;
	case 4:
		readl(h->regs + (at & ~3u));
		break;
#ifdef CONFIG_64BIT
	case 5:
		writeq(value, h->regs + (at & ~7u));
		break;
	case 6:
		readq(h->regs + (at & ~7u));
		break;
#endif
	default:
		writel(value, h->regs + (at & ~3u));
	}
}

/* Changes what the device is about to read, or has read. */
static int scribble(void *opaque)
{
	struct hostile *h = opaque;
	u64 random = seed * 77 + 5;

	while (!kthread_should_stop()) {
		for (unsigned int i = 0; i < 64; i++)
			WRITE_ONCE(((u32 *)h->arena)[test_random(&random) % (ARENA / 4)],
				   test_random(&random) % 4 ? test_random(&random) % 5000
							    : test_random(&random));
		cond_resched();
	}
	return 0;
}

static void fuzz(struct hostile *h)
{
	for (uint i = 0; i < rounds; i++) {
		switch (test_random(&h->random) % 16) {
		case 0:
		case 1:
		case 2:
			poke(h);
			break;
		case 3:
			writel(test_random(&h->random) % 16,
			       h->regs + VD_APPLE_DMA_REG_DRIVER_FEATURES);
			break;
		case 4:
			if (test_random(&h->random) % 8 == 0)
				writel(VD_APPLE_DMA_CONTROL_RESET,
				       h->regs + VD_APPLE_DMA_REG_CONTROL);
			break;
		default:
			ring(h);
		}
		if (i % 64 == 0)
			cond_resched();
	}
}

/* A batch of version 2 after all that. */
static bool proper_narrow(struct hostile *h)
{
	struct vd_apple_dma_command *command = (void *)h->arena;
	struct vd_apple_dma_map *maps = (void *)h->arena + 4096;
	struct vd_apple_dma_mapped *mapped = (void *)h->arena + 8192;
	struct vd_apple_dma_unmap *unmaps = (void *)maps;
	bool good;

	memset(h->arena, 0, ARENA);
	set_command_page(h, gpa_of(command));
	command->count = cpu_to_le32(2);
	command->requests = cpu_to_le64(gpa_of(maps));
	command->responses = cpu_to_le64(gpa_of(mapped));
	command->type = cpu_to_le32(VD_APPLE_DMA_MAP);
	for (unsigned int i = 0; i < 2; i++) {
		maps[i].gpa = cpu_to_le64(gpa_of(h->arena + 65536 + i * 65536));
		maps[i].len = cpu_to_le32(4096);
	}
	writel(1, h->regs + VD_APPLE_DMA_REG_DOORBELL);
	good = readl(h->regs + VD_APPLE_DMA_REG_STATUS) == VD_APPLE_DMA_OK && !mapped[0].status &&
	       !mapped[1].status && mapped[0].address != mapped[1].address;
	command->type = cpu_to_le32(VD_APPLE_DMA_UNMAP);
	for (unsigned int i = 0; i < 2; i++)
		unmaps[i].id = mapped[i].id;
	writel(1, h->regs + VD_APPLE_DMA_REG_DOORBELL);
	return good && readl(h->regs + VD_APPLE_DMA_REG_STATUS) == VD_APPLE_DMA_OK;
}

/* A wide exchange: one mapping, then everything goes. */
static bool proper_wide(struct hostile *h)
{
	struct vd_apple_dma_wide_command *command = (void *)h->arena;
	struct vd_apple_dma_wide_map *map = (void *)h->arena + 4096;
	struct vd_apple_dma_wide_mapped *mapped = (void *)h->arena + 8192;
	struct vd_apple_dma_within *within = (void *)map;
	u32 offered = readl(h->regs + VD_APPLE_DMA_REG_FEATURES);
	bool good;

	memset(h->arena, 0, ARENA);
	writel(offered, h->regs + VD_APPLE_DMA_REG_DRIVER_FEATURES);
	command->base.type = cpu_to_le32(VD_APPLE_DMA_EXCHANGE);
	command->base.count = cpu_to_le32(1);
	command->base.requests = cpu_to_le64(gpa_of(map));
	command->base.responses = cpu_to_le64(gpa_of(mapped));
	command->segments = cpu_to_le32(1);
	map->gpa = cpu_to_le64(gpa_of(h->arena + 65536));
	map->len = cpu_to_le64(65536);
	writel(1, h->regs + VD_APPLE_DMA_REG_DOORBELL);
	good = readl(h->regs + VD_APPLE_DMA_REG_STATUS) == VD_APPLE_DMA_OK && !mapped->status &&
	       le64_to_cpu(mapped->id) >> 63 && le64_to_cpu(command->used_mappings) == 1;
	command->base.type = cpu_to_le32(VD_APPLE_DMA_UNMAP_WITHIN);
	within->gpa = 0;
	within->len = cpu_to_le64(~0ull);
	writel(1, h->regs + VD_APPLE_DMA_REG_DOORBELL);
	return good && readl(h->regs + VD_APPLE_DMA_REG_STATUS) == VD_APPLE_DMA_OK &&
	       !le64_to_cpu(command->used_mappings);
}

static void check(struct hostile *h)
{
	u32 used;

	writel(VD_APPLE_DMA_CONTROL_RESET, h->regs + VD_APPLE_DMA_REG_CONTROL);
	used = readl(h->regs + VD_APPLE_DMA_REG_USED_MAPPINGS_LO);
	FACT(!used && !readl(h->regs + VD_APPLE_DMA_REG_DRIVER_FEATURES),
	     "a reset of the companion leaves nothing mapped", "%u mappings", used);
	FACT(proper_narrow(h), "after garbage a batch of version 2 works", "status %u",
	     readl(h->regs + VD_APPLE_DMA_REG_STATUS));
	FACT(proper_wide(h), "after garbage a wide exchange works", "status %u, features 0x%x",
	     readl(h->regs + VD_APPLE_DMA_REG_STATUS),
	     readl(h->regs + VD_APPLE_DMA_REG_DRIVER_FEATURES));
	writel(VD_APPLE_DMA_CONTROL_RESET, h->regs + VD_APPLE_DMA_REG_CONTROL);
	report_line("data hostile_batches %u\n", command_rounds);
}

static int hostile_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct hostile *h = devm_kzalloc(&pdev->dev, sizeof(*h), GFP_KERNEL);
	int err;

	if (!h)
		return -ENOMEM;
	err = pcim_enable_device(pdev);
	if (err)
		return err;
	h->regs = pcim_iomap(pdev, 0, 0);
	h->arena = (u8 *)__get_free_pages(GFP_KERNEL | __GFP_ZERO, BLOCK_ORDER);
	if (!h->regs || !h->arena) {
		free_pages((unsigned long)h->arena, BLOCK_ORDER);
		return -ENOMEM;
	}
	h->pdev = pdev;
	h->bar = pci_resource_start(pdev, 0);
	h->random = seed * 2654435761u + 1;
	h->scribbler = kthread_run(scribble, h, "hostile");
	fuzz(h);
	if (!IS_ERR(h->scribbler))
		kthread_stop(h->scribbler);
	check(h);
	pci_set_drvdata(pdev, h);
	return 0;
}

static void hostile_remove(struct pci_dev *pdev)
{
	struct hostile *h = pci_get_drvdata(pdev);

	free_pages((unsigned long)h->arena, BLOCK_ORDER);
}

static const struct pci_device_id hostile_ids[] = {
	{PCI_DEVICE(VD_APPLE_DMA_VENDOR, VD_APPLE_DMA_DEVICE)},
	{},
};
MODULE_DEVICE_TABLE(pci, hostile_ids);

static struct pci_driver hostile_driver = {
	.name = KBUILD_MODNAME,
	.id_table = hostile_ids,
	.probe = hostile_probe,
	.remove = hostile_remove,
};

static int __init hostile_init(void)
{
	int err;

	report_init();
	err = pci_register_driver(&hostile_driver);
	if (err)
		report_exit();
	return err;
}
module_init(hostile_init);

static void __exit hostile_exit(void)
{
	pci_unregister_driver(&hostile_driver);
	report_exit();
}
module_exit(hostile_exit);

MODULE_DESCRIPTION("Test: rings garbage at the companion device");
MODULE_LICENSE("GPL");
