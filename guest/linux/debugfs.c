// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * /sys/kernel/debug/viaduct_dma/<companion>/: stats, windows and histogram are lines of "name
 * value", made to be read by a shell; writing to release unmaps what is idle. Counters of requests
 * are summed over the CPUs while they run.
 *
 * viaduct.windows comes and goes with the managed device, so it is looked at under viaduct_claims
 * (viaduct_with_windows).
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "viaduct_dma.h"

static struct dentry *viaduct_root;

static const char *const why_names[VIADUCT_WHYS] = {
	[VD_APPLE_DMA_WHY_NONE] = "other",
	[VD_APPLE_DMA_WHY_LENGTH] = "length",
	[VD_APPLE_DMA_WHY_NOT_RAM] = "not_ram",
	[VD_APPLE_DMA_WHY_ACCESS] = "access",
	[VD_APPLE_DMA_WHY_FLAGS] = "flags",
	[VD_APPLE_DMA_WHY_BYTES] = "bytes",
	[VD_APPLE_DMA_WHY_MAPPINGS] = "mappings",
	[VD_APPLE_DMA_WHY_SPACE] = "space",
	[VD_APPLE_DMA_WHY_SEGMENTS] = "segments",
	[VD_APPLE_DMA_WHY_ALIGNMENT] = "alignment",
	[VD_APPLE_DMA_WHY_EXISTS] = "exists",
	[VD_APPLE_DMA_WHY_UNKNOWN_ID] = "unknown_id",
	[VD_APPLE_DMA_WHY_GONE] = "gone",
	[VD_APPLE_DMA_WHY_MEMORY] = "memory",
	[VD_APPLE_DMA_WHY_HOST] = "host",
	[VIADUCT_WHY_UNNAMED] = "unnamed",
	[VIADUCT_WHY_REACH] = "reach",
};

static void line(struct seq_file *file, const char *name, u64 value)
{
	seq_printf(file, "%s %llu\n", name, value);
}

/* Each field is a u64. */
static struct viaduct_counters sum_counters(const struct viaduct *viaduct)
{
	struct viaduct_counters sum = {};
	unsigned int i, cpu;

	for_each_possible_cpu(cpu)
	{
		const u64 *from = (const u64 *)per_cpu_ptr(viaduct->counters, cpu);

		for (i = 0; i < sizeof(sum) / sizeof(u64); i++)
			((u64 *)&sum)[i] += READ_ONCE(from[i]);
	}
	return sum;
}

static struct viaduct_exchanges copy_exchanges(struct viaduct *viaduct)
{
	struct viaduct_exchanges copy;
	unsigned long flags;

	raw_spin_lock_irqsave(&viaduct->lock, flags);
	copy = viaduct->channel.stats;
	raw_spin_unlock_irqrestore(&viaduct->lock, flags);
	return copy;
}

static void show_requests(struct seq_file *file, const struct viaduct_counters *counters)
{
	line(file, "maps", counters->hits + counters->misses);
	line(file, "unmaps", counters->unmaps);
	line(file, "hits", counters->hits);
	line(file, "misses", counters->misses);
	line(file, "lists", counters->lists);
	line(file, "coherent_allocs", counters->coherent_allocs);
	line(file, "coherent_frees", counters->coherent_frees);
	line(file, "unknown_unmaps", counters->unknown);
}

static void show_failures(struct seq_file *file, const struct viaduct_counters *counters)
{
	u64 all = 0;
	u32 i;

	for (i = 0; i < VIADUCT_WHYS; i++) {
		seq_printf(file, "failed_%s %llu\n", why_names[i], counters->failed[i]);
		all += counters->failed[i];
	}
	line(file, "failed", all);
}

static int stats_show(struct seq_file *file, void *unused)
{
	struct viaduct *viaduct = file->private;
	struct viaduct_counters counters = sum_counters(viaduct);
	struct viaduct_exchanges exchanges = copy_exchanges(viaduct);

	show_requests(file, &counters);
	show_failures(file, &counters);
	line(file, "doorbells", exchanges.doorbells);
	line(file, "entries_mapped", exchanges.maps);
	line(file, "entries_unmapped", exchanges.unmaps);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

static void show_limits(struct seq_file *file, const struct viaduct *viaduct)
{
	const struct viaduct_channel *channel = &viaduct->channel;

	line(file, "features", channel->features);
	line(file, "active", channel->active);
	line(file, "gone", channel->gone);
	line(file, "granule", channel->granule);
	line(file, "limit_bytes", viaduct->limit_bytes);
	line(file, "limit_mappings", viaduct->limit_mappings);
	line(file, "bus_last", channel->bus_last);
	line(file, "host_bytes", channel->used_bytes);
	line(file, "host_mappings", channel->used_mappings);
	line(file, "lost", channel->lost);
	line(file, "unmaps_refused", channel->stats.unmaps_refused);
	line(file, "arena_bytes", viaduct->arena_bytes);
}

static void show_windows(struct viaduct *viaduct, void *argument)
{
	struct seq_file *file = argument;
	struct vd_windows_stats stats;

	vd_windows_stats(viaduct->windows, &stats);
	line(file, "bytes", stats.bytes);
	line(file, "mappings", stats.mappings);
	line(file, "peak_bytes", stats.peak_bytes);
	line(file, "peak_mappings", stats.peak_mappings);
	line(file, "live_bytes", stats.live_bytes);
	line(file, "live_mappings", stats.live_mappings);
	line(file, "evicted", stats.evicted);
	line(file, "shrunk", stats.shrunk);
	line(file, "refused", stats.refused);
}

static int windows_show(struct seq_file *file, void *unused)
{
	struct viaduct *viaduct = file->private;

	show_limits(file, viaduct);
	viaduct_with_windows(viaduct, show_windows, file);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(windows);

/* Slot n counts what is at least 2^(n-1) and less than 2^n. */
static void show_slots(struct seq_file *file, const char *name, const u64 *slots, u32 count)
{
	u32 i;

	for (i = 0; i < count; i++)
		if (slots[i])
			seq_printf(file, "%s_%llu %llu\n", name, i ? 1ULL << (i - 1) : 0, slots[i]);
}

static void show_sizes(struct viaduct *viaduct, void *argument)
{
	struct seq_file *file = argument;
	struct vd_windows_stats stats;
	u32 i;

	vd_windows_stats(viaduct->windows, &stats);
	for (i = 0; i < ARRAY_SIZE(stats.sizes); i++)
		if (stats.sizes[i])
			seq_printf(file, "window_bytes_%llu %llu\n", viaduct->channel.granule << i,
				   stats.sizes[i]);
}

static int histogram_show(struct seq_file *file, void *unused)
{
	struct viaduct *viaduct = file->private;
	struct viaduct_exchanges exchanges = copy_exchanges(viaduct);

	show_slots(file, "exchange_ns", exchanges.nanoseconds, VIADUCT_LOG2S);
	show_slots(file, "exchange_entries", exchanges.entries, VIADUCT_LOG2S);
	viaduct_with_windows(viaduct, show_sizes, file);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(histogram);

static void release_idle(struct viaduct *viaduct, void *unused)
{
	viaduct_arenas_trim(viaduct);
	viaduct_reap(viaduct, 0, ~0ULL);
}

static ssize_t release_write(struct file *file, const char __user *buffer, size_t count,
			     loff_t *position)
{
	viaduct_with_windows(file->private_data, release_idle, NULL);
	return count;
}

static const struct file_operations release_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = release_write,
};

void viaduct_debugfs_init(void)
{
	viaduct_root = debugfs_create_dir(VIADUCT_NAME, NULL);
}

void viaduct_debugfs_exit(void)
{
	debugfs_remove(viaduct_root);
}

void viaduct_debugfs_add(struct viaduct *viaduct)
{
	struct dentry *dir = debugfs_create_dir(pci_name(viaduct->companion), viaduct_root);

	debugfs_create_file("stats", 0444, dir, viaduct, &stats_fops);
	debugfs_create_file("windows", 0444, dir, viaduct, &windows_fops);
	debugfs_create_file("histogram", 0444, dir, viaduct, &histogram_fops);
	debugfs_create_file("release", 0200, dir, viaduct, &release_fops);
	viaduct->debugfs = dir;
}

void viaduct_debugfs_remove(struct viaduct *viaduct)
{
	debugfs_remove(viaduct->debugfs);
}
