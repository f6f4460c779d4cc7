// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a mapping costs: calls the DMA API for any PCI device, whoever is behind it, and says how many nanoseconds a map
 * with its unmap took. The device does nothing and need not know. For bench/paravirt, kernels 6.1 to 7.2.
 *
 * A run is asked for by a line written to debugfs dma_bench/run:
 *
 *	DOMAIN:BUS:DEVICE.FUNCTION KIND CPUS ITERATIONS ROUNDS
 *
 * after which reading the file gives "ns=N ops=N failed=N": the median of the rounds, each the mean of its CPUs. A kind
 * is a row of `kinds`. The memory of all runs is allocated once, so that a second run meets the same pages.
 *
 * The device is locked meanwhile: no driver binds or leaves, hence what is behind the DMA API does not change. One run at
 * a time (bench_lock).
 */
#include <linux/completion.h>
#include <linux/debugfs.h>
#include <linux/dma-mapping.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/sort.h>
#include <linux/uaccess.h>

#define BENCH_PAGES	   1024
#define BENCH_SPREAD_ORDER 4   /* apart by 16 pages, at least the granule of every host */
#define BENCH_LIST	   128 /* elements of a scatter list */
#define BENCH_CPUS	   2
#define BENCH_ROUNDS	   64
#define BENCH_STEP	   389 /* odd: visits every page before any twice, and no neighbours in turn */

struct bench_work {
	struct device *dev;
	const struct bench_kind *kind;
	u32 first; /* of its pages and lists: CPUs start apart, and those that stay where they start never meet */
	u32 iterations;
	atomic_t *waiting; /* CPUs that have not come to the start */
	struct completion done;
	u64 ns;
	u32 failed;
};

struct bench_kind {
	const char *name;
	u32 most; /* a run meets no page twice: one round of so many on one CPU; 0: any number */
	void (*once)(struct bench_work *work, u32 i);
};

static DEFINE_MUTEX(bench_lock);
static struct page *near_pages[BENCH_PAGES], *far_pages[BENCH_PAGES];
static struct sg_table near_lists[BENCH_PAGES / BENCH_LIST], far_lists[BENCH_PAGES / BENCH_LIST];
static struct dentry *bench_folder;
static char bench_result[96];

static void map_one(struct bench_work *work, struct page *page)
{
	dma_addr_t bus = dma_map_page(work->dev, page, 0, PAGE_SIZE, DMA_BIDIRECTIONAL);

	if (dma_mapping_error(work->dev, bus)) {
		work->failed++;
		return;
	}
	dma_unmap_page(work->dev, bus, PAGE_SIZE, DMA_BIDIRECTIONAL);
}

static void map_list(struct bench_work *work, struct sg_table *list)
{
	if (dma_map_sgtable(work->dev, list, DMA_BIDIRECTIONAL, 0)) {
		work->failed++;
		return;
	}
	dma_unmap_sgtable(work->dev, list, DMA_BIDIRECTIONAL, 0);
}

static void alloc_one(struct bench_work *work, size_t size)
{
	dma_addr_t bus;
	void *memory = dma_alloc_coherent(work->dev, size, &bus, GFP_KERNEL);

	if (!memory) {
		work->failed++;
		return;
	}
	dma_free_coherent(work->dev, size, memory, bus);
}

static u32 page_of(const struct bench_work *work, u32 i)
{
	return (work->first + i * BENCH_STEP) % BENCH_PAGES;
}

static u32 list_of(const struct bench_work *work, u32 i)
{
	return (work->first / BENCH_LIST + i) % (BENCH_PAGES / BENCH_LIST);
}

static void once_nothing(struct bench_work *work, u32 i)
{
	/* What the loop and the call cost. */
	READ_ONCE(work->first);
}

static void once_same(struct bench_work *work, u32 i)
{
	map_one(work, near_pages[work->first]);
}

static void once_rotate(struct bench_work *work, u32 i)
{
	map_one(work, near_pages[page_of(work, i)]);
}

static void once_far(struct bench_work *work, u32 i)
{
	map_one(work, far_pages[page_of(work, i)]);
}

static void once_list(struct bench_work *work, u32 i)
{
	map_list(work, &near_lists[work->first / BENCH_LIST]);
}

static void once_far_list(struct bench_work *work, u32 i)
{
	map_list(work, &far_lists[list_of(work, i)]);
}

static void once_coherent_4k(struct bench_work *work, u32 i)
{
	alloc_one(work, SZ_4K);
}

static void once_coherent_64k(struct bench_work *work, u32 i)
{
	alloc_one(work, SZ_64K);
}

/* The far ones are for a first touch. */
static const struct bench_kind kinds[] = {
	{"nothing", 0, once_nothing},
	{"same", 0, once_same},
	{"rotate", 0, once_rotate},
	{"far", BENCH_PAGES, once_far},
	{"list", 0, once_list},
	{"far_list", BENCH_PAGES / BENCH_LIST, once_far_list},
	{"coherent_4k", 0, once_coherent_4k},
	{"coherent_64k", 0, once_coherent_64k},
};

static void measure(struct bench_work *work)
{
	u64 start;
	u32 i;

	/* All start together. */
	atomic_dec(work->waiting);
	while (atomic_read(work->waiting))
		cpu_relax();
	start = ktime_get_ns();
	for (i = 0; i < work->iterations; i++)
		work->kind->once(work, i);
	work->ns = ktime_get_ns() - start;
}

static int worker(void *data)
{
	struct bench_work *work = data;

	measure(work);
	/* Not by returning: the module may be gone before the thread is. */
	kthread_complete_and_exit(&work->done, 0);
}

/* One round on so many CPUs; the sum of their times, or a negative errno. */
static s64 run_round(struct bench_work *works, u32 cpus)
{
	struct task_struct *tasks[BENCH_CPUS];
	atomic_t waiting = ATOMIC_INIT(cpus);
	s64 sum = 0;
	u32 i;

	for (i = 0; i < cpus; i++) {
		init_completion(&works[i].done);
		works[i].waiting = &waiting;
		tasks[i] = kthread_create(worker, &works[i], "dma_bench/%u", i);
		if (IS_ERR(tasks[i])) {
			s64 err = PTR_ERR(tasks[i]);

			while (i--)
				kthread_stop(tasks[i]);
			return err;
		}
		kthread_bind(tasks[i], i);
	}
	for (i = 0; i < cpus; i++)
		wake_up_process(tasks[i]);
	for (i = 0; i < cpus; i++) {
		wait_for_completion(&works[i].done);
		sum += works[i].ns;
	}
	return sum;
}

static int compare(const void *a, const void *b)
{
	u64 left = *(const u64 *)a, right = *(const u64 *)b;

	return left < right ? -1 : left > right;
}

struct bench_order {
	const struct bench_kind *kind;
	u32 cpus, iterations, rounds;
};

static int run(struct device *dev, const struct bench_order *order)
{
	struct bench_work works[BENCH_CPUS] = {};
	u64 ns[BENCH_ROUNDS];
	u32 i, failed = 0;

	for (i = 0; i < order->cpus; i++) {
		works[i].dev = dev;
		works[i].kind = order->kind;
		works[i].iterations = order->iterations;
		works[i].first = i * (BENCH_PAGES / BENCH_CPUS);
	}
	for (i = 0; i < order->rounds; i++) {
		s64 sum = run_round(works, order->cpus);

		if (sum < 0)
			return sum;
		ns[i] = div64_u64(sum, (u64)order->cpus * order->iterations);
		cond_resched();
	}
	sort(ns, order->rounds, sizeof(ns[0]), compare, NULL);
	for (i = 0; i < order->cpus; i++)
		failed += works[i].failed;
	snprintf(bench_result, sizeof(bench_result), "ns=%llu ops=%llu failed=%u\n",
		 ns[order->rounds / 2], (u64)order->rounds * order->cpus * order->iterations,
		 failed);
	return 0;
}

static const struct bench_kind *find_kind(const char *name)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(kinds[i].name, name))
			return &kinds[i];
	return NULL;
}

static bool is_possible(const struct bench_order *order)
{
	const struct bench_kind *kind = order->kind;

	if (!kind || !order->iterations || !order->rounds || order->rounds > BENCH_ROUNDS)
		return false;
	if (!order->cpus || order->cpus > min_t(u32, BENCH_CPUS, num_online_cpus()))
		return false;
	return !kind->most ||
	       (order->rounds == 1 && order->cpus == 1 && order->iterations <= kind->most);
}

static int parse_and_run(const char *line)
{
	unsigned int domain, bus, slot, function;
	struct bench_order order;
	struct pci_dev *pdev;
	char name[16];
	int err;

	if (sscanf(line, "%x:%x:%x.%x %15s %u %u %u", &domain, &bus, &slot, &function, name,
		   &order.cpus, &order.iterations, &order.rounds) != 8)
		return -EINVAL;
	order.kind = find_kind(name);
	if (!is_possible(&order))
		return -EINVAL;
	pdev = pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(slot, function));
	if (!pdev)
		return -ENODEV;
	device_lock(&pdev->dev);
	/* Without a driver nothing has been agreed about what the device can reach. */
	err = pdev->dev.driver ? run(&pdev->dev, &order) : -ENXIO;
	device_unlock(&pdev->dev);
	pci_dev_put(pdev);
	return err;
}

static ssize_t run_write(struct file *file, const char __user *from, size_t size, loff_t *at)
{
	char line[96];
	int err;

	if (size >= sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, from, size))
		return -EFAULT;
	line[size] = 0;
	mutex_lock(&bench_lock);
	bench_result[0] = 0;
	err = parse_and_run(line);
	mutex_unlock(&bench_lock);
	return err ?: size;
}

static ssize_t run_read(struct file *file, char __user *to, size_t size, loff_t *at)
{
	ssize_t done;

	mutex_lock(&bench_lock);
	done = simple_read_from_buffer(to, size, at, bench_result, strlen(bench_result));
	mutex_unlock(&bench_lock);
	return done;
}

static const struct file_operations run_operations = {
	.owner = THIS_MODULE,
	.read = run_read,
	.write = run_write,
	.llseek = default_llseek,
};

/* Every element a page of its own, which nothing can merge: from the first half for one CPU, the second for another. */
static int make_lists(struct sg_table *lists, struct page **pages)
{
	struct scatterlist *element;
	u32 list, i;

	for (list = 0; list < BENCH_PAGES / BENCH_LIST; list++) {
		if (sg_alloc_table(&lists[list], BENCH_LIST, GFP_KERNEL))
			return -ENOMEM;
		for_each_sgtable_sg(&lists[list], element, i)
			sg_set_page(element, pages[list * BENCH_LIST + i], PAGE_SIZE, 0);
	}
	return 0;
}

static void free_all(void)
{
	u32 i;

	for (i = 0; i < BENCH_PAGES / BENCH_LIST; i++) {
		sg_free_table(&near_lists[i]);
		sg_free_table(&far_lists[i]);
	}
	for (i = 0; i < BENCH_PAGES; i++) {
		if (near_pages[i])
			__free_page(near_pages[i]);
		if (far_pages[i])
			__free_pages(far_pages[i], BENCH_SPREAD_ORDER);
	}
}

static int __init dma_bench_init(void)
{
	int err = 0;
	u32 i;

	for (i = 0; i < BENCH_PAGES && !err; i++) {
		near_pages[i] = alloc_page(GFP_KERNEL);
		far_pages[i] = alloc_pages(GFP_KERNEL, BENCH_SPREAD_ORDER);
		if (!near_pages[i] || !far_pages[i])
			err = -ENOMEM;
	}
	if (!err)
		err = make_lists(near_lists, near_pages);
	if (!err)
		err = make_lists(far_lists, far_pages);
	if (err) {
		free_all();
		return err;
	}
	bench_folder = debugfs_create_dir("dma_bench", NULL);
	debugfs_create_file("run", 0600, bench_folder, NULL, &run_operations);
	return 0;
}

static void __exit dma_bench_exit(void)
{
	debugfs_remove_recursive(bench_folder);
	free_all();
}

module_init(dma_bench_init);
module_exit(dma_bench_exit);
MODULE_DESCRIPTION("Measures DMA mappings of any PCI device");
MODULE_LICENSE("GPL");
