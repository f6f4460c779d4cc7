// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The module and the companion's PCI driver: life and death of a struct viaduct, its parameters,
 * sleep and shutdown.
 */
#include <linux/cc_platform.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "viaduct_dma.h"

bool viaduct_strict;
module_param_named(strict, viaduct_strict, bool, 0444);
MODULE_PARM_DESC(strict, "Unmap memory at once when a request is done, and map no more than it "
			 "asks for (default: off)");

unsigned int viaduct_max_window = 2048;
module_param_named(max_window, viaduct_max_window, uint, 0444);
MODULE_PARM_DESC(max_window,
		 "Most KiB that requests share a mapping of, a power of two from 64 to 2048 "
		 "(default: 2048)");

unsigned int viaduct_arena_size = 2048;
module_param_named(arena_size, viaduct_arena_size, uint, 0444);
MODULE_PARM_DESC(
	arena_size,
	"KiB of coherent memory that are mapped at a time, a power of two (default: 2048)");

unsigned long viaduct_limit_bytes;
module_param_named(limit_bytes, viaduct_limit_bytes, ulong, 0444);
MODULE_PARM_DESC(limit_bytes,
		 "Most bytes to map for a device; 0: what the host allows (default: 0)");

unsigned long viaduct_limit_mappings;
module_param_named(limit_mappings, viaduct_limit_mappings, ulong, 0444);
MODULE_PARM_DESC(limit_mappings,
		 "Most mappings for a device; 0: what the host allows (default: 0)");

char *viaduct_devices;
module_param_named(devices, viaduct_devices, charp, 0444);
MODULE_PARM_DESC(devices, "COMPANION=DEVICE[,...]: which device a companion manages, as "
			  "[domain:]bus:device.function");

unsigned int viaduct_features = ~0u;
module_param_named(features, viaduct_features, uint, 0444);
MODULE_PARM_DESC(features,
		 "Extensions to use if the companion has them; 0: plain version 2 (default: all)");

static int allocate(struct viaduct *viaduct)
{
	struct vd_windows_batch *batch = &viaduct->batch;

	viaduct->counters = alloc_percpu(struct viaduct_counters);
	viaduct->wants = kvcalloc(VIADUCT_BATCH, sizeof(*viaduct->wants), GFP_KERNEL);
	batch->max_maps = batch->max_unmaps = viaduct->channel.entries;
	batch->maps = kvcalloc(batch->max_maps, sizeof(*batch->maps), GFP_KERNEL);
	batch->unmaps = kvcalloc(batch->max_unmaps, sizeof(*batch->unmaps), GFP_KERNEL);
	return viaduct->counters && viaduct->wants && batch->maps && batch->unmaps ? 0 : -ENOMEM;
}

static void destroy(struct viaduct *viaduct)
{
	viaduct_channel_close(&viaduct->channel);
	kvfree(viaduct->batch.maps);
	kvfree(viaduct->batch.unmaps);
	kvfree(viaduct->wants);
	free_percpu(viaduct->counters);
	kfree(viaduct);
}

static struct viaduct *create(struct pci_dev *dev, void __iomem *regs, int *err)
{
	struct viaduct *viaduct = kzalloc(sizeof(*viaduct), GFP_KERNEL);

	*err = -ENOMEM;
	if (!viaduct)
		return NULL;
	viaduct->companion = dev;
	raw_spin_lock_init(&viaduct->lock);
	INIT_WORK(&viaduct->refill, viaduct_refill_work);
	INIT_WORK(&viaduct->check, viaduct_check_work);
	viaduct_ops_init(&viaduct->ops);
	viaduct_arenas_init(viaduct);
	*err = viaduct_channel_open(&viaduct->channel, &dev->dev, regs);
	if (!*err)
		*err = allocate(viaduct);
	if (*err) {
		destroy(viaduct);
		return NULL;
	}
	viaduct->max_window = (u64)viaduct_max_window << 10;
	viaduct->limit_bytes = min_not_zero((u64)viaduct_limit_bytes, viaduct->channel.limit_bytes);
	viaduct->limit_mappings =
		min_not_zero((u64)viaduct_limit_mappings, viaduct->channel.limit_mappings);
	return viaduct;
}

/* The companion reads and writes guest memory itself: it is to master its bus. */
static int enable(struct pci_dev *dev, void __iomem **regs)
{
	int err = pci_enable_device_mem(dev);

	if (err)
		return err;
	err = pci_request_region(dev, 0, VIADUCT_NAME);
	if (err)
		goto err_enable;
	*regs = pci_iomap(dev, 0, VD_APPLE_DMA_BAR_SIZE);
	if (!*regs) {
		err = -ENOMEM;
		goto err_region;
	}
	/* For blocks of coherent memory in its name; any address will do. */
	dma_set_mask_and_coherent(&dev->dev, DMA_BIT_MASK(64));
	pci_set_master(dev);
	return 0;

err_region:
	pci_release_region(dev, 0);
err_enable:
	pci_disable_device(dev);
	return err;
}

static void disable(struct pci_dev *dev, void __iomem *regs)
{
	pci_clear_master(dev);
	pci_iounmap(dev, regs);
	pci_release_region(dev, 0);
	pci_disable_device(dev);
}

static int companion_probe(struct pci_dev *dev, const struct pci_device_id *id)
{
	struct viaduct *viaduct;
	void __iomem *regs;
	int err = enable(dev, &regs);

	if (err)
		return err;
	viaduct = create(dev, regs, &err);
	if (!viaduct) {
		disable(dev, regs);
		return err;
	}
	pci_set_drvdata(dev, viaduct);
	viaduct_debugfs_add(viaduct);
	viaduct_attach_start(viaduct);
	return 0;
}

static void companion_remove(struct pci_dev *dev)
{
	struct viaduct *viaduct = pci_get_drvdata(dev);
	void __iomem *regs = viaduct->channel.regs;

	viaduct_attach_stop(viaduct);
	viaduct_debugfs_remove(viaduct);
	destroy(viaduct);
	disable(dev, regs);
}

/*
 * Reboot and kexec: the next kernel is to find nothing mapped, and a device that does no DMA into
 * its memory.
 */
static void companion_shutdown(struct pci_dev *dev)
{
	viaduct_attach_quiesce(pci_get_drvdata(dev));
}

/* What is mapped goes, whoever made it, and with it the device until it is attached anew. */
static void lose(struct viaduct *viaduct, const char *why)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&viaduct->lock, flags);
	viaduct_channel_stop(&viaduct->channel);
	viaduct->channel.gone = true;
	raw_spin_unlock_irqrestore(&viaduct->lock, flags);
	pci_warn(viaduct->companion,
		 "its mappings did not outlive %s: the device's driver is attached anew\n", why);
	viaduct_attach_again(viaduct, 0);
}

static void lose_unless_intact(struct viaduct *viaduct, const char *why)
{
	unsigned long flags;
	bool intact;

	raw_spin_lock_irqsave(&viaduct->lock, flags);
	intact = !viaduct->channel.active || viaduct_channel_is_intact(&viaduct->channel);
	raw_spin_unlock_irqrestore(&viaduct->lock, flags);
	if (!intact)
		lose(viaduct, why);
}

/*
 * Windows outlive a sleep unless the machine is reset by it. Bus addresses are the host's choice,
 * so what was lost cannot be made again at the same place; the host holds the device then, its
 * driver's resume fails, and it is attached anew. The managed device sleeps before the companion
 * and wakes after it (device_link_add() in attach.c).
 */
static int companion_resume(struct device *dev)
{
	lose_unless_intact(dev_get_drvdata(dev), "the sleep");
	return 0;
}

/*
 * Another kernel has run since, and has left its own mappings to the companion: they are released
 * before anybody else wakes up.
 */
static int companion_restore_noirq(struct device *dev)
{
	struct viaduct *viaduct = dev_get_drvdata(dev);

	if (viaduct->channel.active)
		lose(viaduct, "the sleep");
	return 0;
}

/* Somebody has reset the function (sysfs, vfio), under the device's lock. */
static void companion_reset_done(struct pci_dev *dev)
{
	struct viaduct *viaduct = pci_get_drvdata(dev);

	if (viaduct)
		lose_unless_intact(viaduct, "a reset of the companion");
}

static const struct pci_error_handlers companion_errors = {.reset_done = companion_reset_done};

static const struct dev_pm_ops companion_pm = {
	.resume = companion_resume,
	.thaw = companion_resume,
	.restore_noirq = companion_restore_noirq,
};

static const struct pci_device_id companion_ids[] = {
	{PCI_DEVICE(VD_APPLE_DMA_VENDOR, VD_APPLE_DMA_DEVICE)}, {}};
MODULE_DEVICE_TABLE(pci, companion_ids);

static struct pci_driver companion_driver = {
	.name = VIADUCT_NAME,
	.id_table = companion_ids,
	.probe = companion_probe,
	.remove = companion_remove,
	.shutdown = companion_shutdown,
	.err_handler = &companion_errors,
	.driver.pm = &companion_pm,
};

/* Says what to do instead; strings are not broken, so that they can be found. */
static int examine_kernel(void)
{
	/* clang-format off */
	if (!VIADUCT_HAS_DMA_OPS) {
		pr_err(VIADUCT_NAME ": this kernel lacks CONFIG_ARCH_HAS_DMA_OPS: DMA cannot be taken over\n");
		pr_err(VIADUCT_NAME ": strategies that work here: offset and pool, with Viaduct's device tree (arm64); identity, on hosts that map guest RAM at its own addresses\n");
		return -EOPNOTSUPP;
	}
	if (cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT)) {
		pr_err(VIADUCT_NAME ": guest memory is encrypted: the host's devices cannot use it\n");
		pr_err(VIADUCT_NAME ": a strategy that works here: pool, with Viaduct's device tree (arm64)\n");
		return -EOPNOTSUPP;
	}
	/* clang-format on */
	return 0;
}

static int examine_parameters(void)
{
	if (is_power_of_2(viaduct_max_window) && viaduct_max_window >= 64 &&
	    viaduct_max_window <= 2048 && is_power_of_2(viaduct_arena_size) &&
	    viaduct_arena_size >= 64 && viaduct_arena_size <= 4096)
		return 0;
	pr_err(VIADUCT_NAME
	       ": max_window (64 to 2048 KiB) and arena_size (64 to 4096 KiB) are powers of two\n");
	return -EINVAL;
}

static int __init viaduct_init(void)
{
	int err = examine_kernel();

	if (!err)
		err = examine_parameters();
	if (!err)
		err = viaduct_attach_init();
	if (err)
		return err;
	viaduct_debugfs_init();
	err = pci_register_driver(&companion_driver);
	if (err) {
		viaduct_debugfs_exit();
		viaduct_attach_exit();
	}
	return err;
}

static void __exit viaduct_exit(void)
{
	pci_unregister_driver(&companion_driver);
	viaduct_debugfs_exit();
	viaduct_attach_exit();
}

module_init(viaduct_init);
module_exit(viaduct_exit);

MODULE_DESCRIPTION(
	"DMA mappings for passed-through PCI devices whose host picks the bus addresses");
MODULE_AUTHOR("The Viaduct authors");
MODULE_LICENSE("GPL");
