// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A driver of the companion that knows version 2 as the RFC describes it, and nothing else: it shares no header with the
 * device, so that a mistake in ours is not made twice. It maps and unmaps pages singly and in batches, and lets the test
 * device copy through the addresses it gets.
 *
 * Everything happens when the companion is bound; the report says what was found. Pages of HELD stay mapped until the
 * module leaves, for the host to count.
 */
#include <linux/sort.h>
#include <linux/slab.h>

#include "../edu.h"
#include "../report.h"

/* Numbers of the RFC. */
#define REG_VERSION	0x00
#define REG_MANAGED_BDF 0x04
#define REG_MAX_ENTRIES 0x08
#define REG_STATUS	0x0c
#define REG_CMD_GPA_LO	0x10
#define REG_CMD_GPA_HI	0x14
#define REG_DOORBELL	0x18
#define CMD_MAP		1
#define CMD_UNMAP	2
#define S_OK		0
#define S_IOERR		1
#define S_INVAL		3

#define PAGES	  64
#define MANY	  1024 /* entries of a large batch */
#define HELD	  5
#define BIG_ORDER 5
#define NOWHERE	  (1ull << 44) /* no guest of ours has memory there */

struct command {
	__le32 type, count, status, reserved;
	__le64 requests, responses;
};

struct map_request {
	__le64 gpa;
	__le32 len, flags;
};

struct map_response {
	__le64 id, dma_addr;
	__le32 dma_len, status;
};

struct unmap_request {
	__le64 id, size;
};

struct unmap_response {
	__le64 id;
	__le32 status, reserved;
};

struct client {
	void __iomem *regs, *edu;
	struct pci_dev *managed;
	struct command *command;
	/* One array serves both kinds: they are of one size or larger. */
	struct map_request *requests;
	struct map_response *responses;
	void *pages[PAGES];
	u64 bus[PAGES];
};

static u64 gpa_of(const void *memory)
{
	return virt_to_phys((void *)memory);
}

/* Runs a batch and gives its status, for which the device has to have done it. */
static u32 ring(struct client *c, u32 type, u32 count)
{
	c->command->type = cpu_to_le32(type);
	c->command->count = cpu_to_le32(count);
	c->command->status = cpu_to_le32(0x55555555);
	c->command->requests = cpu_to_le64(gpa_of(c->requests));
	c->command->responses = cpu_to_le64(gpa_of(c->responses));
	memset(c->responses, 0x5a, sizeof(*c->responses) * min_t(u32, count, MANY));
	writel(1, c->regs + REG_DOORBELL); /* orders the memory before it */
	return readl(c->regs + REG_STATUS);
}

static void ask_map(struct client *c, unsigned int i, u64 gpa, u32 len)
{
	c->requests[i].gpa = cpu_to_le64(gpa);
	c->requests[i].len = cpu_to_le32(len);
	c->requests[i].flags = 0;
}

static void ask_unmap(struct client *c, unsigned int i, u64 gpa, u64 size)
{
	struct unmap_request *request = (struct unmap_request *)c->requests + i;

	request->id = cpu_to_le64(gpa);
	request->size = cpu_to_le64(size);
}

static const struct unmap_response *unmapped(const struct client *c, unsigned int i)
{
	return (const struct unmap_response *)c->responses + i;
}

/* The response of a map is what the RFC says for success. */
static bool is_mapped(const struct client *c, unsigned int i, u64 gpa, u32 len)
{
	const struct map_response *r = &c->responses[i];

	return le64_to_cpu(r->id) == gpa && le32_to_cpu(r->dma_len) == len &&
	       le32_to_cpu(r->status) == S_OK && !((le64_to_cpu(r->dma_addr) ^ gpa) & ~PAGE_MASK);
}

static bool is_unmapped(const struct client *c, unsigned int i, u64 gpa)
{
	return le64_to_cpu(unmapped(c, i)->id) == gpa &&
	       le32_to_cpu(unmapped(c, i)->status) == S_OK;
}

static u32 map_one(struct client *c, const void *memory, u32 len, u64 *bus)
{
	u32 status;

	ask_map(c, 0, gpa_of(memory), len);
	status = ring(c, CMD_MAP, 1);
	*bus = le64_to_cpu(c->responses[0].dma_addr);
	if (status == S_OK && !is_mapped(c, 0, gpa_of(memory), len))
		return 100;
	return status;
}

static u32 unmap_one(struct client *c, const void *memory, u64 size)
{
	u32 status;

	ask_unmap(c, 0, gpa_of(memory), size);
	status = ring(c, CMD_UNMAP, 1);
	if (status == S_OK && !is_unmapped(c, 0, gpa_of(memory)))
		return 100;
	return status;
}

static void fill(u8 *memory, size_t len, u32 seed)
{
	for (size_t i = 0; i < len; i++)
		memory[i] = (u8)((i * 7 + i / 251 + 1) * (seed * 2 + 1));
}

/* Copies through the device from and to bus addresses and compares what lies behind them. */
static bool copies(struct client *c, const void *from, u64 from_bus, void *to, u64 to_bus,
		   size_t len, u32 seed)
{
	fill((u8 *)from, len, seed);
	memset(to, 0, len);
	return !edu_copy(c->edu, from_bus, to_bus, len) && !memcmp(from, to, len);
}

static void test_registers(struct client *c)
{
	u32 version = readl(c->regs + REG_VERSION), most = readl(c->regs + REG_MAX_ENTRIES);

	FACT(version == 2, "the companion is of version 2", "VERSION is %u", version);
	FACT(most >= MANY && most <= 4096, "a batch has up to 4096 entries", "MAX_ENTRIES is %u",
	     most);
	FACT(!readl(c->regs + 0xffc), "a register that version 2 does not have reads 0", "0x%x",
	     readl(c->regs + 0xffc));
}

static void test_singles(struct client *c)
{
	bool copied = true, good = true;
	u32 status = 0;

	for (unsigned int i = 0; i < 8 && good; i++) {
		status = map_one(c, c->pages[i], PAGE_SIZE, &c->bus[i]);
		good = status == S_OK && le32_to_cpu(c->command->status) == S_OK;
	}
	if (!FACT(good, "pages are mapped one by one", "status %u", status))
		return;
	for (unsigned int i = 0; i < 8; i++)
		copied &= copies(c, c->pages[i], c->bus[i], c->pages[(i + 3) % 8],
				 c->bus[(i + 3) % 8], PAGE_SIZE, i);
	FACT(copied, "the device copies through addresses of single maps",
	     "wrong data, or no copy");
	status = map_one(c, c->pages[3], PAGE_SIZE, &c->bus[3]);
	FACT(status == S_IOERR && le32_to_cpu(c->responses[0].status) == S_IOERR,
	     "what is mapped is not mapped again", "status %u, entry %u", status,
	     le32_to_cpu(c->responses[0].status));
	good = true;
	for (unsigned int i = 0; i < 8 && good; i++) {
		status = unmap_one(c, c->pages[i], PAGE_SIZE);
		good = status == S_OK;
	}
	FACT(good, "pages are unmapped one by one", "status %u", status);
	status = unmap_one(c, c->pages[0], PAGE_SIZE);
	FACT(status == S_IOERR && le32_to_cpu(unmapped(c, 0)->status) == S_IOERR,
	     "what is not mapped is not unmapped", "status %u", status);
}

static int compare_u64(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

/* No two of the mapped pages share a bus address. */
static bool are_apart(const struct client *c)
{
	u64 *sorted = kmemdup(c->bus, sizeof(c->bus), GFP_KERNEL);
	bool apart = sorted;

	if (sorted)
		sort(sorted, PAGES, sizeof(*sorted), compare_u64, NULL);
	for (unsigned int i = 1; i < PAGES && apart; i++)
		apart = sorted[i] - sorted[i - 1] >= PAGE_SIZE;
	kfree(sorted);
	return apart;
}

static bool map_all(struct client *c)
{
	bool good;

	for (unsigned int i = 0; i < PAGES; i++)
		ask_map(c, i, gpa_of(c->pages[i]), PAGE_SIZE);
	good = ring(c, CMD_MAP, PAGES) == S_OK;
	for (unsigned int i = 0; i < PAGES; i++) {
		good &= is_mapped(c, i, gpa_of(c->pages[i]), PAGE_SIZE);
		c->bus[i] = le64_to_cpu(c->responses[i].dma_addr);
	}
	return good;
}

static bool unmap_from(struct client *c, unsigned int first)
{
	bool good;

	for (unsigned int i = first; i < PAGES; i++)
		ask_unmap(c, i - first, gpa_of(c->pages[i]), PAGE_SIZE);
	good = ring(c, CMD_UNMAP, PAGES - first) == S_OK;
	for (unsigned int i = first; i < PAGES; i++)
		good &= is_unmapped(c, i - first, gpa_of(c->pages[i]));
	return good;
}

static void test_batch(struct client *c)
{
	bool copied = true;

	if (!FACT(map_all(c), "a batch of 64 maps succeeds", "status %u",
		  readl(c->regs + REG_STATUS)))
		return;
	FACT(are_apart(c), "no two mapped pages share a bus address", "two of 64 do");
	for (unsigned int i = 0; i + 1 < PAGES; i += 2)
		copied &= copies(c, c->pages[i], c->bus[i], c->pages[i + 1], c->bus[i + 1],
				 PAGE_SIZE, i);
	FACT(copied, "the device copies through addresses of a batch", "wrong data, or no copy");
	FACT(unmap_from(c, 0), "a batch of 64 unmaps succeeds", "status %u",
	     readl(c->regs + REG_STATUS));
}

static void test_mixed(struct client *c)
{
	u32 status, first, second, third;

	ask_map(c, 0, gpa_of(c->pages[0]), PAGE_SIZE);
	ask_map(c, 1, NOWHERE, PAGE_SIZE);
	ask_map(c, 2, gpa_of(c->pages[2]), PAGE_SIZE);
	status = ring(c, CMD_MAP, 3);
	first = le32_to_cpu(c->responses[0].status);
	second = le32_to_cpu(c->responses[1].status);
	third = le32_to_cpu(c->responses[2].status);
	c->bus[0] = le64_to_cpu(c->responses[0].dma_addr);
	c->bus[2] = le64_to_cpu(c->responses[2].dma_addr);
	FACT(status == S_IOERR && first == S_OK && second == S_IOERR && third == S_OK,
	     "one bad entry fails alone", "status %u, entries %u %u %u", status, first, second,
	     third);
	FACT(copies(c, c->pages[0], c->bus[0], c->pages[2], c->bus[2], PAGE_SIZE, 9),
	     "and the entries beside it are mapped", "wrong data, or no copy");
	ask_unmap(c, 0, gpa_of(c->pages[0]), PAGE_SIZE);
	ask_unmap(c, 1, NOWHERE, PAGE_SIZE);
	ask_unmap(c, 2, gpa_of(c->pages[2]), PAGE_SIZE);
	status = ring(c, CMD_UNMAP, 3);
	FACT(status == S_IOERR && is_unmapped(c, 0, gpa_of(c->pages[0])) &&
		     le32_to_cpu(unmapped(c, 1)->status) == S_IOERR &&
		     is_unmapped(c, 2, gpa_of(c->pages[2])),
	     "one bad unmap fails alone", "status %u", status);
}

static void test_sizes(struct client *c)
{
	u8 *from = (u8 *)__get_free_pages(GFP_KERNEL, BIG_ORDER),
	   *to = (u8 *)__get_free_pages(GFP_KERNEL, BIG_ORDER);
	size_t len = PAGE_SIZE << BIG_ORDER;
	u64 from_bus, to_bus;

	if (!from || !to)
		goto out;
	FACT(map_one(c, from, len, &from_bus) == S_OK && map_one(c, to, len, &to_bus) == S_OK &&
		     copies(c, from, from_bus, to, to_bus, len, 21),
	     "128 KiB are one mapping and one copy", "status %u", readl(c->regs + REG_STATUS));
	FACT(unmap_one(c, from, len) == S_OK && unmap_one(c, to, 0) == S_OK,
	     "large mappings are unmapped, whatever size is said", "status %u",
	     readl(c->regs + REG_STATUS));
	FACT(map_one(c, from + 0x1234, 100, &from_bus) == S_OK &&
		     map_one(c, to + 0x37, 777, &to_bus) == S_OK &&
		     copies(c, from + 0x1234, from_bus, to + 0x37, to_bus, 100, 33),
	     "odd addresses and lengths are mapped as they are", "status %u",
	     readl(c->regs + REG_STATUS));
	FACT(unmap_one(c, from + 0x1234, 100) == S_OK && unmap_one(c, to + 0x37, 777) == S_OK,
	     "and unmapped", "status %u", readl(c->regs + REG_STATUS));
out:
	free_pages((unsigned long)from, BIG_ORDER);
	free_pages((unsigned long)to, BIG_ORDER);
}

static void test_many(struct client *c)
{
	void **pages = kcalloc(MANY, sizeof(*pages), GFP_KERNEL);
	bool good = pages;
	unsigned int got = 0;

	while (good && got < MANY && (pages[got] = (void *)__get_free_page(GFP_KERNEL)))
		got++;
	for (unsigned int i = 0; i < got; i++)
		ask_map(c, i, gpa_of(pages[i]), PAGE_SIZE);
	good = good && got == MANY && ring(c, CMD_MAP, MANY) == S_OK;
	for (unsigned int i = 0; i < MANY && good; i++)
		good = is_mapped(c, i, gpa_of(pages[i]), PAGE_SIZE);
	FACT(good, "a batch of 1024 maps succeeds", "status %u, %u pages",
	     readl(c->regs + REG_STATUS), got);
	for (unsigned int i = 0; i < got; i++)
		ask_unmap(c, i, gpa_of(pages[i]), PAGE_SIZE);
	good = got == MANY && ring(c, CMD_UNMAP, MANY) == S_OK;
	for (unsigned int i = 0; i < MANY && good; i++)
		good = is_unmapped(c, i, gpa_of(pages[i]));
	FACT(good, "a batch of 1024 unmaps succeeds", "status %u", readl(c->regs + REG_STATUS));
	while (got)
		free_page((unsigned long)pages[--got]);
	kfree(pages);
}

static void test_refusals(struct client *c)
{
	u32 none = ring(c, CMD_MAP, 0),
	    many = ring(c, CMD_MAP, readl(c->regs + REG_MAX_ENTRIES) + 1);
	u32 type = ring(c, 9, 1), nowhere, zero;

	FACT(none == S_INVAL && many == S_INVAL && type == S_INVAL,
	     "counts and types out of bounds are invalid", "none %u, too many %u, type %u", none,
	     many, type);
	ask_map(c, 0, gpa_of(c->pages[0]), 0);
	zero = ring(c, CMD_MAP, 1);
	FACT(zero == S_IOERR, "nothing is not mapped", "status %u", zero);
	c->command->type = cpu_to_le32(CMD_MAP);
	c->command->count = cpu_to_le32(1);
	c->command->requests = cpu_to_le64(NOWHERE);
	writel(1, c->regs + REG_DOORBELL);
	nowhere = readl(c->regs + REG_STATUS);
	FACT(nowhere == S_INVAL && le32_to_cpu(c->command->status) == S_INVAL,
	     "an array outside of memory is invalid", "status %u, in the command %u", nowhere,
	     le32_to_cpu(c->command->status));
}

static void run(struct client *c)
{
	test_registers(c);
	test_singles(c);
	test_batch(c);
	test_mixed(c);
	test_sizes(c);
	test_many(c);
	test_refusals(c);
	FACT(map_all(c) && unmap_from(c, HELD), "after all that a batch works as before",
	     "status %u", readl(c->regs + REG_STATUS));
	report_line("data rfc_held %u\n", HELD);
}

static int allocate(struct client *c)
{
	c->command = (struct command *)get_zeroed_page(GFP_KERNEL);
	c->requests = kcalloc(MANY, sizeof(*c->requests), GFP_KERNEL);
	c->responses = kcalloc(MANY, sizeof(*c->responses), GFP_KERNEL);
	for (unsigned int i = 0; i < PAGES; i++) {
		c->pages[i] = (void *)__get_free_page(GFP_KERNEL);
		if (!c->pages[i])
			return -ENOMEM;
	}
	return c->command && c->requests && c->responses ? 0 : -ENOMEM;
}

static void release(struct client *c)
{
	for (unsigned int i = 0; i < PAGES; i++)
		free_page((unsigned long)c->pages[i]);
	kfree(c->responses);
	kfree(c->requests);
	free_page((unsigned long)c->command);
	if (c->edu)
		pci_iounmap(c->managed, c->edu);
	if (c->managed) {
		pci_clear_master(c->managed);
		pci_disable_device(c->managed);
		pci_dev_put(c->managed);
	}
	kfree(c);
}

/* The managed device, by the address that the companion says. */
static int find_managed(struct client *c)
{
	u32 bdf = readl(c->regs + REG_MANAGED_BDF);
	int err;

	c->managed = bdf > 0xffff ? NULL : pci_get_domain_bus_and_slot(0, bdf >> 8, bdf & 0xff);
	FACT(c->managed, "MANAGED_BDF is the address of a device", "it says 0x%x", bdf);
	if (!c->managed)
		return -ENODEV;
	/* Another device's companion is none of ours. */
	if (c->managed->vendor != EDU_VENDOR || c->managed->device != EDU_DEVICE) {
		pci_dev_put(c->managed);
		c->managed = NULL;
		return -ENODEV;
	}
	err = pci_enable_device(c->managed);
	if (err) {
		pci_dev_put(c->managed);
		c->managed = NULL;
		return err;
	}
	pci_set_master(c->managed);
	c->edu = pci_iomap(c->managed, 0, 0);
	return c->edu ? 0 : -ENOMEM;
}

static int start(struct client *c)
{
	int err = allocate(c);

	if (err)
		return err;
	writel(lower_32_bits(gpa_of(c->command)), c->regs + REG_CMD_GPA_LO);
	writel(upper_32_bits(gpa_of(c->command)), c->regs + REG_CMD_GPA_HI);
	err = find_managed(c);
	if (err)
		return err;
	if (!FACT(readl(c->edu + EDU_ID) == EDU_ID_VALUE,
		  "the managed device answers once there is a command page", "its ID is 0x%x",
		  readl(c->edu + EDU_ID)))
		return -ENODEV;
	run(c);
	return 0;
}

static int rfc_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct client *c = kzalloc(sizeof(*c), GFP_KERNEL);
	int err;

	if (!c)
		return -ENOMEM;
	err = pcim_enable_device(pdev);
	if (err) {
		kfree(c);
		return err;
	}
	pci_set_drvdata(pdev, c);
	c->regs = pcim_iomap(pdev, 0, 0);
	err = c->regs ? start(c) : -ENOMEM;
	FACT(!err || err == -ENODEV, "the version 2 driver binds to its device", "%d", err);
	if (err)
		release(c);
	return err;
}

static void rfc_remove(struct pci_dev *pdev)
{
	struct client *c = pci_get_drvdata(pdev);

	for (unsigned int i = 0; i < HELD; i++)
		unmap_one(c, c->pages[i], PAGE_SIZE);
	/* The RFC's device keeps the address; nobody rings any more. */
	release(c);
}

static const struct pci_device_id rfc_ids[] = {
	{PCI_DEVICE(0x1b36, 0x0015)},
	{},
};
MODULE_DEVICE_TABLE(pci, rfc_ids);

static struct pci_driver rfc_driver = {
	.name = KBUILD_MODNAME,
	.id_table = rfc_ids,
	.probe = rfc_probe,
	.remove = rfc_remove,
};

static int __init rfc_init(void)
{
	int err;

	report_init();
	err = pci_register_driver(&rfc_driver);
	if (err)
		report_exit();
	return err;
}
module_init(rfc_init);

static void __exit rfc_exit(void)
{
	pci_unregister_driver(&rfc_driver);
	report_exit();
}
module_exit(rfc_exit);

MODULE_DESCRIPTION("Test: drives version 2 of the companion device");
MODULE_LICENSE("GPL");
