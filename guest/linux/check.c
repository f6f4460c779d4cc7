// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What an exchange brings to light where nothing can be done about it at once: the host has taken
 * mappings away, it refuses unmaps, or the companion has been reset behind our back. The exchange
 * sets channel.doubtful; this work tells the log, and attaches the device again when its driver may
 * hold bus addresses that are not its own any more.
 */
#include <linux/jiffies.h>

#include "viaduct_dma.h"

/* One that is never mended is not tried more often than this. */
#define HEALING_PAUSE (10 * HZ)

struct findings {
	u32 lost; /* mappings, since the last check */
	u64 refused; /* unmaps, likewise */
	bool gone, reset, stale;
};

/* False: there is nothing to be mended, as nothing is mapped. */
static bool take_findings(struct viaduct *viaduct, struct findings *found)
{
	struct viaduct_channel *channel = &viaduct->channel;
	unsigned long flags;
	bool active;

	raw_spin_lock_irqsave(&viaduct->lock, flags);
	channel->doubtful = false;
	active = channel->active;
	*found = (struct findings){
		.lost = channel->lost - viaduct->lost_seen,
		.refused = channel->stats.unmaps_refused - viaduct->refused_seen,
		.gone = channel->gone,
		.reset = active && !channel->gone && !viaduct_channel_is_intact(channel),
		.stale = channel->stale,
	};
	viaduct->lost_seen = channel->lost;
	viaduct->refused_seen = channel->stats.unmaps_refused;
	channel->stale = false;
	raw_spin_unlock_irqrestore(&viaduct->lock, flags);
	return active;
}

/* Idle windows may be among those that were lost: nobody is to hit them. True: live ones may be. */
static bool drop_idle(struct viaduct *viaduct)
{
	struct vd_windows_stats stats;

	viaduct_reap(viaduct, 0, ~0ULL);
	vd_windows_stats(viaduct->windows, &stats);
	return stats.live_mappings;
}

/* NULL: all is well, or well enough. */
static const char *judge(struct viaduct *viaduct, const struct findings *found)
{
	/* Its driver may ask again for ever: NVMe takes a refusal for a lack of memory. */
	if (found->gone)
		return "the device is gone from the host";
	if (found->reset)
		return "it has been reset";
	if (found->stale)
		return "it has not looked at what was to be unmapped";
	if (found->lost && drop_idle(viaduct))
		return "the host has taken mappings away";
	return NULL;
}

static void heal(struct viaduct *viaduct, const char *why)
{
	bool soon = viaduct->healed && time_before(jiffies, viaduct->healed + HEALING_PAUSE);

	viaduct->healed = jiffies ?: 1;
	pci_warn(viaduct->companion, "%s: the device's driver is attached anew\n", why);
	viaduct_attach_again(viaduct, soon ? HEALING_PAUSE : 0);
}

void viaduct_check_work(struct work_struct *work)
{
	struct viaduct *viaduct = container_of(work, struct viaduct, check);
	struct findings found;
	const char *why = NULL;

	if (take_findings(viaduct, &found))
		why = judge(viaduct, &found);
	if (found.refused && printk_ratelimit())
		pci_warn(viaduct->companion, "the host has refused %llu unmaps\n", found.refused);
	if (why)
		heal(viaduct, why);
}
