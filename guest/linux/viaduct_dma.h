/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * viaduct_dma: DMA mappings for a passed-through PCI device whose host picks the bus addresses. A
 * companion device (1b36:0015, proto/apple_dma.h) maps guest memory on demand; this module puts
 * itself behind the DMA API of the managed device, so that stock drivers drive it.
 *
 * One struct viaduct per companion; there is no other state but the list of them. Locks, outermost
 * first:
 *
 *   viaduct_claims  mutex: which companion manages which device (attach.c). Never held while a
 *                   driver probes.
 *   grow_lock       mutex: one arena is made at a time (coherent.c)
 *   arena_lock      raw spinlock: the arenas and blocks of coherent memory
 *   lock            raw spinlock: the channel, the windows between plan and commit, the batch, the
 *                   wants
 *
 * Both spinlocks are taken with interrupts off, and never one inside the other. A request that hits
 * a window takes no lock.
 */
#ifndef VIADUCT_DMA_H
#define VIADUCT_DMA_H

#include <linux/dma-map-ops.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/percpu.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "proto/apple_dma.h"
#include "windows/windows.h"

#define VIADUCT_NAME  "viaduct_dma"
#define VIADUCT_BATCH 512 /* entries of an exchange each way, and misses served under one lock */
#define VIADUCT_TRIES 5 /* more of an attach that failed for want of memory, 31 s in all */
#define VIADUCT_LOG2S 32 /* slots of a histogram by powers of two */

/* Bits of viaduct.flags: why the work is to detach. */
enum {
	VIADUCT_REBIND, /* the mappings are lost: attach again */
	VIADUCT_DEPARTED, /* the managed device has left its bus */
};

/* Module parameters, constant once loaded (main.c). */
extern bool viaduct_strict;
extern unsigned int viaduct_max_window, viaduct_arena_size, viaduct_features;
extern unsigned long viaduct_limit_bytes, viaduct_limit_mappings;
extern char *viaduct_devices;

/* Why a request was refused: enum vd_apple_dma_why, and: */
enum {
	VIADUCT_WHY_UNNAMED = 15, /* one that this driver does not know */
	VIADUCT_WHY_REACH = 16, /* the bus address is beyond the device's mask */
	VIADUCT_WHYS,
};

/* What every request counts; by CPU, so that a hit shares no cache line. */
struct viaduct_counters {
	u64 hits, misses, unmaps; /* elements: a scatter list of 8 counts 8 */
	u64 lists; /* scatter lists */
	u64 coherent_allocs, coherent_frees;
	u64 unknown; /* unmaps of what is not mapped */
	u64 failed[VIADUCT_WHYS]; /* requests refused, by why */
};

/* What every exchange counts; under the lock. */
struct viaduct_exchanges {
	u64 doorbells, maps, unmaps;
	u64 unmaps_refused;
	u64 nanoseconds[VIADUCT_LOG2S], entries[VIADUCT_LOG2S];
};

/* The companion's registers and the memory it reads and writes. */
struct viaduct_channel {
	struct device *dev;
	void __iomem *regs;
	u32 version, features; /* in force */
	u32 entries; /* most of a batch, each way */
	u32 segments; /* most that a mapping may come in */
	u64 granule, limit_bytes, limit_mappings;
	u64 align; /* of every mapping, where the host's own granule is less than a page; else 0 */
	u64 bus_first, bus_last; /* bus_last: all ones: unknown */
	bool active; /* the command page is set */
	bool gone; /* it or the managed device is not there any more; until it is started again */
	bool doubtful; /* something is not as it should be: viaduct_check_work() is to look */
	bool stale; /* the host has mapped what the windows have forgotten */
	u32 lost; /* mappings the host has taken away, as last heard */
	u64 used_bytes, used_mappings;
	struct vd_apple_dma_wide_command *command;
	void *maps, *mapped, *unmaps, *unmapped;
	size_t mapped_size; /* of one wide response */
	struct viaduct_exchanges stats;
};

struct viaduct {
	struct list_head node; /* viaduct_list */
	struct pci_dev *companion;
	struct pci_dev *managed; /* with a reference; NULL: not found yet. Under viaduct_claims */
	/* The managed device's: a request finds its struct viaduct by container_of. */
	struct dma_map_ops ops;
	bool installed; /* drivers that bind get our ops */
	bool removing; /* nothing is attached any more */
	unsigned long flags; /* VIADUCT_REBIND, VIADUCT_DEPARTED */
	/* Attaches and detaches; the only place that does, until it is cancelled. */
	struct delayed_work work;
	unsigned int tries; /* the work's: attaches that failed in a row */
	unsigned long told; /* bit: enum vd_apple_dma_why that the log has heard of */

	raw_spinlock_t lock;
	struct viaduct_channel channel;
	struct vd_windows *windows;
	struct vd_windows_batch batch;
	struct vd_windows_want *wants; /* VIADUCT_BATCH */
	u64 max_window; /* bytes; larger requests get windows of their own */
	u64 limit_bytes, limit_mappings; /* the host's, or less where the user says so */
	struct work_struct refill;
	struct work_struct check;
	u32 lost_seen; /* channel.lost, and stats.unmaps_refused, as of the last check */
	u64 refused_seen;
	unsigned long healed; /* jiffies when it was last attached again for a doubt; 0: never */
	struct viaduct_counters __percpu *counters;

	raw_spinlock_t arena_lock;
	struct list_head arenas, blocks;
	size_t arena_bytes;
	struct mutex grow_lock;
	struct work_struct tend;
	struct dentry *debugfs;
};

static inline struct viaduct *viaduct_of(struct device *dev)
{
	return container_of(get_dma_ops(dev), struct viaduct, ops);
}

/*
 * channel.c. Everything but open, close and the limits is called under viaduct.lock or before
 * anybody else can.
 */

/*
 * Resets the companion and negotiates. 0; -ENODEV it is no companion we know; -ENOMEM. May sleep.
 */
int viaduct_channel_open(struct viaduct_channel *channel, struct device *dev, void __iomem *regs);
/* Frees what open has allocated. May sleep. */
void viaduct_channel_close(struct viaduct_channel *channel);
/* Lets the managed device go ahead. 0; -ENODEV the managed device is not there. */
int viaduct_channel_start(struct viaduct_channel *channel);
/*
 * Stops the managed device and releases every mapping, where the companion can; forgets the command
 * page.
 */
void viaduct_channel_stop(struct viaduct_channel *channel);
/* False when the companion has been reset behind our back. */
bool viaduct_channel_is_intact(struct viaduct_channel *channel);
/* Runs the batch: answers are in batch->maps. */
void viaduct_channel_exchange(struct viaduct_channel *channel, struct vd_windows_batch *batch);
const char *viaduct_why(u32 why);

/* ops.c */

/* Refuse everything: for a device whose DMA nobody can handle. */
extern const struct dma_map_ops viaduct_refusing_ops;
void viaduct_ops_init(struct dma_map_ops *ops);

/* streaming.c */

/*
 * Maps [phys, phys + want->len) for the managed device, which has to be able to reach up to `mask`.
 * 0, with the bus address and want->window; or a negative errno with want->why. Any context.
 */
int viaduct_map_want(struct viaduct *viaduct, struct vd_windows_want *want, u64 mask, u64 *bus,
		     bool *hit);
/* Gives a window back, and unmaps it when that is the mode. Any context. */
void viaduct_put(struct viaduct *viaduct, struct vd_window *window);
/* Unmaps idle windows that overlap the range; returns how many. Any context. */
u64 viaduct_reap(struct viaduct *viaduct, u64 gpa, u64 len);
/* Counts a request that failed and tells the log why. */
void viaduct_refused(struct viaduct *viaduct, struct device *dev,
		     const struct vd_windows_want *want, bool quiet);
/* Unmaps every window, live ones too. The device does no DMA any more. May sleep. */
void viaduct_revoke(struct viaduct *viaduct);
void viaduct_refill_work(struct work_struct *work);

/* check.c: what an exchange has brought to light is told, and mended by attaching again. */
void viaduct_check_work(struct work_struct *work);

/* coherent.c */
void *viaduct_alloc(struct device *dev, size_t size, dma_addr_t *handle, gfp_t gfp,
		    unsigned long attrs);
void viaduct_free(struct device *dev, size_t size, void *cpu, dma_addr_t handle,
		  unsigned long attrs);
int viaduct_mmap(struct device *dev, struct vm_area_struct *vma, void *cpu, dma_addr_t handle,
		 size_t size, unsigned long attrs);
int viaduct_get_sgtable(struct device *dev, struct sg_table *table, void *cpu, dma_addr_t handle,
			size_t size, unsigned long attrs);
void viaduct_arenas_init(struct viaduct *viaduct);
/* The first arena. Failure is no error: it is tried again when it is needed. May sleep. */
void viaduct_arenas_prepare(struct viaduct *viaduct);
/* Gives back arenas that are empty. May sleep. */
void viaduct_arenas_trim(struct viaduct *viaduct);
/*
 * Frees everything, after the host has released it: the windows are forgotten, not put. May sleep.
 */
void viaduct_arenas_finish(struct viaduct *viaduct);

/* find.c */

/* Under viaduct_claims. The device, with a reference; NULL, and a message: not there (yet). */
struct pci_dev *viaduct_find_managed(const struct list_head *list, struct viaduct *viaduct);

/* attach.c */
int viaduct_attach_init(void);
void viaduct_attach_exit(void);
/* Makes the companion known and starts looking for its device. */
void viaduct_attach_start(struct viaduct *viaduct);
/* Lets go of the device, which is left without a driver. May sleep. */
void viaduct_attach_stop(struct viaduct *viaduct);
/* The system goes down: the device does no more DMA and nothing is mapped. The driver stays on. */
void viaduct_attach_quiesce(struct viaduct *viaduct);
/* The mappings are lost: the device's driver is taken off and probes anew, after that many jiffies. */
void viaduct_attach_again(struct viaduct *viaduct, unsigned long delay);

/* Calls if there is a managed device, and keeps its windows from going meanwhile. May sleep. */
void viaduct_with_windows(struct viaduct *viaduct, void (*call)(struct viaduct *, void *),
			  void *argument);

/* debugfs.c */
void viaduct_debugfs_init(void);
void viaduct_debugfs_exit(void);
void viaduct_debugfs_add(struct viaduct *viaduct);
void viaduct_debugfs_remove(struct viaduct *viaduct);

#endif
