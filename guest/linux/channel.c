// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The companion's registers and command page (proto/apple_dma.h). A batch is written into memory
 * that was allocated beforehand, the doorbell is rung, and STATUS is read back before the answers
 * are looked at: the doorbell may be posted, and the read is what waits for the device.
 *
 * Two layouts: the wide one where the companion offers it, else the one of a plain version 2
 * device, whose batches are maps or unmaps, whose lengths have 32 bits, and whose mappings are
 * named by their address in guest memory.
 *
 * Nothing here sleeps but open and close. The caller holds viaduct.lock.
 */
#include <linux/io.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/timekeeping.h>

#include "viaduct_dma.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

#define WANTED_FEATURES                                                                            \
	(VD_APPLE_DMA_FEATURE_WIDE | VD_APPLE_DMA_FEATURE_ALIGN | VD_APPLE_DMA_FEATURE_EXCHANGE |  \
	 VD_APPLE_DMA_FEATURE_UNMAP_WITHIN)

/* What a plain version 2 device does not say: the figures of a Mac's DART. */
#define NARROW_GRANULE	      16384ULL
#define NARROW_LIMIT_BYTES    (1536ULL << 20)
#define NARROW_LIMIT_MAPPINGS 65536ULL

/* No answer yet: what a companion that does not write one leaves behind. */
#define UNANSWERED cpu_to_le32(~0u)

static const char *const why_texts[] = {
	[VD_APPLE_DMA_WHY_NONE] = "no reason was given",
	[VD_APPLE_DMA_WHY_LENGTH] = "the length is 0 or wraps",
	[VD_APPLE_DMA_WHY_NOT_RAM] = "that is not all guest RAM",
	[VD_APPLE_DMA_WHY_ACCESS] = "the device may not write there",
	[VD_APPLE_DMA_WHY_FLAGS] = "the host does not know that request",
	[VD_APPLE_DMA_WHY_BYTES] = "the host's limit of mapped bytes is in use",
	[VD_APPLE_DMA_WHY_MAPPINGS] = "the host's limit of mappings is in use",
	[VD_APPLE_DMA_WHY_SPACE] = "no hole in the device's address space is large enough",
	[VD_APPLE_DMA_WHY_SEGMENTS] = "the host has it in too many pieces",
	[VD_APPLE_DMA_WHY_ALIGNMENT] = "the host cannot align it",
	[VD_APPLE_DMA_WHY_EXISTS] = "that address is mapped already",
	[VD_APPLE_DMA_WHY_UNKNOWN_ID] = "the host knows no such mapping",
	[VD_APPLE_DMA_WHY_GONE] = "the device is gone",
	[VD_APPLE_DMA_WHY_MEMORY] = "the host is out of memory",
	[VD_APPLE_DMA_WHY_HOST] = "the host refused",
};

const char *viaduct_why(u32 why)
{
	if (why >= ARRAY_SIZE(why_texts))
		return "for a reason unknown to this driver";
	return why_texts[why];
}

static u32 reg_read(struct viaduct_channel *channel, unsigned int reg)
{
	return readl(channel->regs + reg);
}

static u64 reg_read64(struct viaduct_channel *channel, unsigned int reg)
{
	u64 low = reg_read(channel, reg);

	return low | (u64)reg_read(channel, reg + 4) << 32;
}

static void reg_write(struct viaduct_channel *channel, unsigned int reg, u32 value)
{
	writel(value, channel->regs + reg);
}

static bool is_wide(const struct viaduct_channel *channel)
{
	return channel->features & VD_APPLE_DMA_FEATURE_WIDE;
}

/* A device that has left its bus reads all ones. */
static bool is_absent(struct viaduct_channel *channel)
{
	return reg_read(channel, VD_APPLE_DMA_REG_VERSION) == ~0u;
}

static void read_limits(struct viaduct_channel *channel)
{
	channel->granule = reg_read(channel, VD_APPLE_DMA_REG_GRANULE);
	channel->limit_bytes = reg_read64(channel, VD_APPLE_DMA_REG_LIMIT_BYTES_LO);
	channel->limit_mappings = reg_read64(channel, VD_APPLE_DMA_REG_LIMIT_MAPPINGS_LO);
	channel->bus_first = reg_read64(channel, VD_APPLE_DMA_REG_BUS_FIRST_LO);
	channel->bus_last = reg_read64(channel, VD_APPLE_DMA_REG_BUS_LAST_LO);
	channel->segments = clamp_t(u32, reg_read(channel, VD_APPLE_DMA_REG_MAX_SEGMENTS), 1,
				    VD_WINDOW_SEGMENTS);
}

static void assume_limits(struct viaduct_channel *channel)
{
	channel->granule = NARROW_GRANULE;
	channel->limit_bytes = NARROW_LIMIT_BYTES;
	channel->limit_mappings = NARROW_LIMIT_MAPPINGS;
	channel->bus_first = 0;
	channel->bus_last = ~0ULL;
	channel->segments = 1;
}

/*
 * A companion without CONTROL ignores the write, as it does every register that it does not have.
 */
static void reset(struct viaduct_channel *channel)
{
	reg_write(channel, VD_APPLE_DMA_REG_CONTROL, VD_APPLE_DMA_CONTROL_RESET);
	reg_write(channel, VD_APPLE_DMA_REG_CMD_GPA_LO, 0);
	reg_write(channel, VD_APPLE_DMA_REG_CMD_GPA_HI, 0);
	reg_read(channel, VD_APPLE_DMA_REG_STATUS);
}

static void negotiate(struct viaduct_channel *channel)
{
	u32 offered = reg_read(channel, VD_APPLE_DMA_REG_FEATURES) & viaduct_features;

	/* Nothing of ours is of use without the wide layouts. */
	channel->features = 0;
	if (offered & VD_APPLE_DMA_FEATURE_WIDE) {
		reg_write(channel, VD_APPLE_DMA_REG_DRIVER_FEATURES, offered & WANTED_FEATURES);
		channel->features = reg_read(channel, VD_APPLE_DMA_REG_DRIVER_FEATURES);
	}
}

/* A page is the least that can be asked for, and it has to stay one on the bus. */
static int examine_pages(struct viaduct_channel *channel)
{
	channel->align = 0;
	if (channel->granule >= PAGE_SIZE)
		return 0;
	if (!(channel->features & VD_APPLE_DMA_FEATURE_ALIGN)) {
		dev_err(channel->dev,
			"the companion's granule of %llu bytes is less than a page (%lu), and it "
			"aligns nothing: a kernel with smaller pages is needed\n",
			channel->granule, PAGE_SIZE);
		return -ENODEV;
	}
	channel->granule = channel->align = PAGE_SIZE;
	channel->segments = 1;
	return 0;
}

static int examine(struct viaduct_channel *channel)
{
	int err;

	channel->version = reg_read(channel, VD_APPLE_DMA_REG_VERSION);
	if (channel->version != VD_APPLE_DMA_VERSION) {
		dev_err(channel->dev, "version %u of the companion is not supported, only %u\n",
			channel->version, VD_APPLE_DMA_VERSION);
		return -ENODEV;
	}
	reset(channel);
	negotiate(channel);
	if (is_wide(channel))
		read_limits(channel);
	else
		assume_limits(channel);
	if (!is_power_of_2(channel->granule)) {
		dev_err(channel->dev, "the companion's granule of %llu bytes is no power of two\n",
			channel->granule);
		return -ENODEV;
	}
	err = examine_pages(channel);
	if (err)
		return err;
	channel->entries =
		clamp_t(u32, reg_read(channel, VD_APPLE_DMA_REG_MAX_ENTRIES), 1, VIADUCT_BATCH);
	return 0;
}

/* The companion is given guest-physical addresses of these, so each is contiguous. */
static int allocate(struct viaduct_channel *channel)
{
	u32 entries = channel->entries;

	channel->mapped_size = sizeof(struct vd_apple_dma_wide_mapped) +
			       channel->segments * sizeof(struct vd_apple_dma_segment);
	channel->command = alloc_pages_exact(PAGE_SIZE, GFP_KERNEL | __GFP_ZERO);
	channel->maps = alloc_pages_exact(entries * sizeof(struct vd_apple_dma_wide_map),
					  GFP_KERNEL | __GFP_ZERO);
	channel->mapped =
		alloc_pages_exact(entries * channel->mapped_size, GFP_KERNEL | __GFP_ZERO);
	channel->unmaps = alloc_pages_exact(entries * sizeof(struct vd_apple_dma_unmap),
					    GFP_KERNEL | __GFP_ZERO);
	channel->unmapped = alloc_pages_exact(entries * sizeof(struct vd_apple_dma_unmapped),
					      GFP_KERNEL | __GFP_ZERO);
	if (channel->command && channel->maps && channel->mapped && channel->unmaps &&
	    channel->unmapped)
		return 0;
	viaduct_channel_close(channel);
	return -ENOMEM;
}

static void free_exact(void *memory, size_t size)
{
	if (memory)
		free_pages_exact(memory, size);
}

int viaduct_channel_open(struct viaduct_channel *channel, struct device *dev, void __iomem *regs)
{
	int err;

	channel->dev = dev;
	channel->regs = regs;
	err = examine(channel);
	if (err)
		return err;
	return allocate(channel);
}

void viaduct_channel_close(struct viaduct_channel *channel)
{
	u32 entries = channel->entries;

	free_exact(channel->command, PAGE_SIZE);
	free_exact(channel->maps, entries * sizeof(struct vd_apple_dma_wide_map));
	free_exact(channel->mapped, entries * channel->mapped_size);
	free_exact(channel->unmaps, entries * sizeof(struct vd_apple_dma_unmap));
	free_exact(channel->unmapped, entries * sizeof(struct vd_apple_dma_unmapped));
	channel->command = channel->maps = channel->mapped = channel->unmaps = channel->unmapped =
		NULL;
}

int viaduct_channel_start(struct viaduct_channel *channel)
{
	u64 gpa = virt_to_phys(channel->command);

	channel->gone = is_absent(channel);
	if (channel->gone)
		return -ENODEV;
	negotiate(channel);
	if (is_wide(channel) &&
	    !(reg_read(channel, VD_APPLE_DMA_REG_STATE) & VD_APPLE_DMA_STATE_PRESENT))
		return -ENODEV;
	reg_write(channel, VD_APPLE_DMA_REG_CMD_GPA_HI, upper_32_bits(gpa));
	reg_write(channel, VD_APPLE_DMA_REG_CMD_GPA_LO, lower_32_bits(gpa));
	/* Waits until the device has seen it. */
	reg_read(channel, VD_APPLE_DMA_REG_STATUS);
	channel->doubtful = channel->stale = false;
	channel->lost = is_wide(channel) ? reg_read(channel, VD_APPLE_DMA_REG_LOST) : 0;
	channel->active = true;
	return 0;
}

void viaduct_channel_stop(struct viaduct_channel *channel)
{
	channel->active = false;
	if (!is_absent(channel))
		reset(channel);
	channel->used_bytes = 0;
	channel->used_mappings = 0;
}

bool viaduct_channel_is_intact(struct viaduct_channel *channel)
{
	if (is_absent(channel))
		return false;
	/* A plain version 2 device does not tell; its registers cannot be read back. */
	if (!is_wide(channel))
		return true;
	return reg_read(channel, VD_APPLE_DMA_REG_DRIVER_FEATURES) == channel->features &&
	       (reg_read(channel, VD_APPLE_DMA_REG_STATE) & VD_APPLE_DMA_STATE_ACTIVE);
}

/*
 * Fills the arrays. The answers' status fields say "none yet", so that silence is not taken for
 * success.
 */
static void put_unmaps(struct viaduct_channel *channel, const struct vd_windows_batch *batch)
{
	struct vd_apple_dma_unmap *request = channel->unmaps;
	struct vd_apple_dma_unmapped *answer = channel->unmapped;
	u32 i;

	for (i = 0; i < batch->nr_unmaps; i++) {
		request[i].id = cpu_to_le64(batch->unmaps[i]);
		request[i].size = 0;
		answer[i].status = UNANSWERED;
	}
}

static struct vd_apple_dma_wide_mapped *wide_answer(struct viaduct_channel *channel, u32 i,
						    u32 segments)
{
	size_t size = sizeof(struct vd_apple_dma_wide_mapped) +
		      segments * sizeof(struct vd_apple_dma_segment);

	return channel->mapped + i * size;
}

/* The room for segments that a batch needs in each answer. */
static u32 batch_segments(const struct viaduct_channel *channel,
			  const struct vd_windows_batch *batch)
{
	u32 i, most = 1;

	for (i = 0; i < batch->nr_maps; i++)
		most = max(most, batch->maps[i].max_segments);
	return min(most, channel->segments);
}

static u32 access_flags(u32 access)
{
	u32 flags = 0;

	if (access & VD_WINDOW_READ)
		flags |= VD_APPLE_DMA_DEVICE_READS;
	if (access & VD_WINDOW_WRITE)
		flags |= VD_APPLE_DMA_DEVICE_WRITES;
	return flags;
}

static void put_wide_maps(struct viaduct_channel *channel, const struct vd_windows_batch *batch,
			  u32 segments)
{
	struct vd_apple_dma_wide_map *request = channel->maps;
	bool aligns = channel->features & VD_APPLE_DMA_FEATURE_ALIGN;
	u32 i;

	for (i = 0; i < batch->nr_maps; i++) {
		request[i].gpa = cpu_to_le64(batch->maps[i].gpa);
		request[i].len = cpu_to_le64(batch->maps[i].size);
		request[i].flags = cpu_to_le32(access_flags(batch->maps[i].access));
		request[i].reserved = 0;
		request[i].align =
			aligns ? cpu_to_le64(max(batch->maps[i].align, channel->align)) : 0;
		wide_answer(channel, i, segments)->status = UNANSWERED;
	}
}

static void count_exchange(struct viaduct_exchanges *stats, u64 nanoseconds, u32 entries)
{
	stats->doorbells++;
	stats->nanoseconds[min_t(u32, fls64(nanoseconds), VIADUCT_LOG2S - 1)]++;
	stats->entries[min_t(u32, fls(entries), VIADUCT_LOG2S - 1)]++;
}

/* Rings, waits, and says what became of the batch; all ones when nobody answers. */
static u32 ring(struct viaduct_channel *channel, u32 entries)
{
	u64 start = ktime_get_mono_fast_ns();
	u32 status;

	/* writel() orders the arrays before the doorbell, readl() the answers after the status. */
	reg_write(channel, VD_APPLE_DMA_REG_DOORBELL, 1);
	status = reg_read(channel, VD_APPLE_DMA_REG_STATUS);
	channel->doubtful |= status == ~0u || status == VD_APPLE_DMA_INVALID;
	count_exchange(&channel->stats, ktime_get_mono_fast_ns() - start, entries);
	if (status == ~0u)
		channel->gone = true;
	return status;
}

/* What a mapping is refused for when the batch as a whole was not looked at. */
static u32 why_batch(const struct viaduct_channel *channel, u32 status)
{
	if (channel->gone)
		return VD_APPLE_DMA_WHY_GONE;
	return status == VD_APPLE_DMA_INVALID ? VD_APPLE_DMA_WHY_FLAGS : VD_APPLE_DMA_WHY_NONE;
}

static u32 take_segments(struct viaduct_channel *channel,
			 const struct vd_apple_dma_wide_mapped *answer, u32 segments,
			 struct vd_windows_map *map)
{
	const struct vd_apple_dma_segment *segment = (const void *)(answer + 1);
	u64 sum = 0;
	u32 i;

	map->nr_segments = le32_to_cpu(answer->nr_segments);
	if (!map->nr_segments || map->nr_segments > min(segments, map->max_segments))
		return VD_APPLE_DMA_WHY_SEGMENTS;
	for (i = 0; i < map->nr_segments; i++) {
		u64 bus = le64_to_cpu(segment[i].address), len = le64_to_cpu(segment[i].len);

		if (!len || len > map->size - sum || bus + len - 1 < bus ||
		    bus + len - 1 > channel->bus_last)
			return VD_APPLE_DMA_WHY_HOST;
		map->segments[i] = (struct vd_window_segment){.bus = bus, .len = len};
		sum += len;
	}
	return sum == map->size ? VD_APPLE_DMA_WHY_NONE : VD_APPLE_DMA_WHY_HOST;
}

static void take_wide_map(struct viaduct_channel *channel,
			  const struct vd_apple_dma_wide_mapped *answer, u32 segments,
			  u32 batch_why, struct vd_windows_map *map)
{
	u32 status = le32_to_cpu(answer->status), why = le32_to_cpu(answer->why);

	map->id = le64_to_cpu(answer->id);
	if (batch_why)
		map->why = batch_why;
	else if (status != VD_APPLE_DMA_OK)
		map->why = status == ~0u || !why ? VD_APPLE_DMA_WHY_HOST : why;
	else
		map->why = take_segments(channel, answer, segments, map);
	map->mapped = map->why && !batch_why && status == VD_APPLE_DMA_OK;
	if (map->why == VD_APPLE_DMA_WHY_GONE)
		channel->gone = channel->doubtful = true;
}

/*
 * Whoever asked for an unmap is not there to be told, and its window is another one by now. Single
 * refusals are only counted; a batch that was not looked at leaves the host with what we have
 * forgotten.
 */
static void take_unmaps(struct viaduct_channel *channel, const struct vd_windows_batch *batch,
			u32 status)
{
	const struct vd_apple_dma_unmapped *answer = channel->unmapped;
	u32 i, refused = 0;

	if (status == VD_APPLE_DMA_INVALID)
		channel->stale = true;
	if (status == ~0u || status == VD_APPLE_DMA_INVALID)
		return;
	for (i = 0; i < batch->nr_unmaps; i++)
		refused += le32_to_cpu(answer[i].status) != VD_APPLE_DMA_OK;
	channel->stats.unmaps_refused += refused;
	channel->doubtful |= refused;
}

static void take_totals(struct viaduct_channel *channel)
{
	u32 lost = le32_to_cpu(READ_ONCE(channel->command->lost));

	channel->doubtful |= lost != channel->lost;
	channel->lost = lost;
	channel->used_bytes = le64_to_cpu(READ_ONCE(channel->command->used_bytes));
	channel->used_mappings = le64_to_cpu(READ_ONCE(channel->command->used_mappings));
}

static u32 wide_command(struct viaduct_channel *channel, u32 type, u32 maps, u32 unmaps,
			u32 segments)
{
	struct vd_apple_dma_wide_command *command = channel->command;
	bool exchange = type == VD_APPLE_DMA_EXCHANGE, unmap = type == VD_APPLE_DMA_UNMAP;
	u32 status;

	command->base.type = cpu_to_le32(type);
	command->base.count = cpu_to_le32(unmap ? unmaps : maps);
	command->base.status = UNANSWERED;
	command->base.requests = cpu_to_le64(virt_to_phys(unmap ? channel->unmaps : channel->maps));
	command->base.responses =
		cpu_to_le64(virt_to_phys(unmap ? channel->unmapped : channel->mapped));
	command->segments = cpu_to_le32(segments);
	command->unmap_count = cpu_to_le32(exchange ? unmaps : 0);
	command->unmap_requests = cpu_to_le64(exchange ? virt_to_phys(channel->unmaps) : 0);
	command->unmap_responses = cpu_to_le64(exchange ? virt_to_phys(channel->unmapped) : 0);
	status = ring(channel, maps + unmaps);
	if (status != ~0u)
		take_totals(channel);
	return status;
}

static u32 wide_run(struct viaduct_channel *channel, const struct vd_windows_batch *batch,
		    u32 segments)
{
	u32 maps = batch->nr_maps, unmaps = batch->nr_unmaps, status = VD_APPLE_DMA_OK;

	if (maps && unmaps && (channel->features & VD_APPLE_DMA_FEATURE_EXCHANGE)) {
		status = wide_command(channel, VD_APPLE_DMA_EXCHANGE, maps, unmaps, segments);
		take_unmaps(channel, batch, status);
		return status;
	}
	if (unmaps) {
		status = wide_command(channel, VD_APPLE_DMA_UNMAP, 0, unmaps, segments);
		take_unmaps(channel, batch, status);
	}
	if (maps)
		status = wide_command(channel, VD_APPLE_DMA_MAP, maps, 0, segments);
	return status;
}

static void wide_exchange(struct viaduct_channel *channel, struct vd_windows_batch *batch)
{
	u32 segments = batch_segments(channel, batch), why, i;

	put_unmaps(channel, batch);
	put_wide_maps(channel, batch, segments);
	why = why_batch(channel, wide_run(channel, batch, segments));
	for (i = 0; i < batch->nr_maps; i++)
		take_wide_map(channel, wide_answer(channel, i, segments), segments, why,
			      &batch->maps[i]);
}

static u32 narrow_command(struct viaduct_channel *channel, u32 type, u32 count)
{
	struct vd_apple_dma_command *command = &channel->command->base;
	bool unmap = type == VD_APPLE_DMA_UNMAP;

	command->type = cpu_to_le32(type);
	command->count = cpu_to_le32(count);
	command->status = UNANSWERED;
	command->requests = cpu_to_le64(virt_to_phys(unmap ? channel->unmaps : channel->maps));
	command->responses = cpu_to_le64(virt_to_phys(unmap ? channel->unmapped : channel->mapped));
	return ring(channel, count);
}

/* A length beyond 32 bits is sent as 0, which every device refuses. */
static void put_narrow_maps(struct viaduct_channel *channel, const struct vd_windows_batch *batch)
{
	struct vd_apple_dma_map *request = channel->maps;
	struct vd_apple_dma_mapped *answer = channel->mapped;
	u32 i;

	for (i = 0; i < batch->nr_maps; i++) {
		request[i].gpa = cpu_to_le64(batch->maps[i].gpa);
		request[i].len =
			cpu_to_le32(batch->maps[i].size > U32_MAX ? 0 : batch->maps[i].size);
		request[i].flags = 0;
		answer[i].status = UNANSWERED;
	}
}

static void take_narrow_map(struct viaduct_channel *channel,
			    const struct vd_apple_dma_mapped *answer, u32 why,
			    struct vd_windows_map *map)
{
	map->id = map->gpa;
	map->nr_segments = 1;
	map->segments[0].bus = le64_to_cpu(answer->address);
	map->segments[0].len = map->size;
	map->why = why;
	if (why)
		return;
	/*
	 * It does not say why. Most likely it is full: "no space" makes the policy evict, and then
	 * ask for less.
	 */
	if (le32_to_cpu(answer->status) != VD_APPLE_DMA_OK)
		map->why = VD_APPLE_DMA_WHY_SPACE;
	else if (le32_to_cpu(answer->len) != map->size ||
		 map->segments[0].bus + map->size - 1 < map->segments[0].bus) {
		map->why = VD_APPLE_DMA_WHY_HOST;
		map->mapped = true;
	}
}

static void narrow_exchange(struct viaduct_channel *channel, struct vd_windows_batch *batch)
{
	u32 status = VD_APPLE_DMA_OK, i, why;

	if (batch->nr_unmaps) {
		put_unmaps(channel, batch);
		status = narrow_command(channel, VD_APPLE_DMA_UNMAP, batch->nr_unmaps);
		take_unmaps(channel, batch, status);
	}
	if (batch->nr_maps) {
		put_narrow_maps(channel, batch);
		status = narrow_command(channel, VD_APPLE_DMA_MAP, batch->nr_maps);
	}
	why = why_batch(channel, status);
	for (i = 0; i < batch->nr_maps; i++)
		take_narrow_map(channel, &((struct vd_apple_dma_mapped *)channel->mapped)[i], why,
				&batch->maps[i]);
}

static void fail_all(struct vd_windows_batch *batch, u32 why)
{
	u32 i;

	for (i = 0; i < batch->nr_maps; i++)
		batch->maps[i].why = why;
}

void viaduct_channel_exchange(struct viaduct_channel *channel, struct vd_windows_batch *batch)
{
	u64 doorbells = channel->stats.doorbells;

	if (!batch->nr_maps && !batch->nr_unmaps)
		return;
	/* What is gone has nothing mapped any more: unmaps have come true, maps cannot. */
	if (!channel->active || channel->gone) {
		fail_all(batch, VD_APPLE_DMA_WHY_GONE);
		return;
	}
	if (is_wide(channel))
		wide_exchange(channel, batch);
	else
		narrow_exchange(channel, batch);
	channel->stats.maps += batch->nr_maps;
	channel->stats.unmaps += batch->nr_unmaps;
	trace_viaduct_exchange(channel->dev, batch->nr_maps, batch->nr_unmaps,
			       channel->stats.doorbells - doorbells);
}
