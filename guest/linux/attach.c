// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How our DMA operations get onto the device that a companion manages, and off it.
 *
 * The host holds the managed device (its registers read all ones, it masters no bus) until the
 * companion has a command page, so a driver that came first has failed, and nothing has been mapped
 * without us. To attach: say that drivers get our operations from now on, take off the driver that
 * is there, put our operations on, start the channel, let a driver probe. The device is never live
 * without them. All of that is done by one work item of each companion, because a probe may take
 * long, and because nothing may be held that a probe needs.
 *
 * Who binds a driver holds the device's lock, under which the bus tells us
 * (BUS_NOTIFY_BIND_DRIVER): there our operations are put on again, for arm64 before 6.11 takes them
 * off when a driver lets go.
 *
 * viaduct_claims guards the list, viaduct.managed and the flags beside it.
 */
#include <linux/memory.h>
#include <linux/pci.h>

#include "viaduct_dma.h"

static DEFINE_MUTEX(viaduct_claims);
static LIST_HEAD(viaduct_list);
/* Work here may last as long as a driver's probe does, and waits while the system sleeps. */
static struct workqueue_struct *viaduct_queue;

/* Whether its DMA is ours to handle. */
static int examine(struct viaduct *viaduct, struct device *dev)
{
	const struct dma_map_ops *ops = get_dma_ops(dev);

	if (viaduct_behind_iommu(dev) || (ops && ops != &viaduct->ops)) {
		pci_err(viaduct->companion,
			"%s is behind an IOMMU of the guest: no need for this driver\n",
			dev_name(dev));
		return -EOPNOTSUPP;
	}
	return 0;
}

static void set_installed(struct viaduct *viaduct, bool installed)
{
	mutex_lock(&viaduct_claims);
	viaduct->installed = installed;
	mutex_unlock(&viaduct_claims);
}

/* Takes the driver off, however often one binds meanwhile, and sets the operations. */
static void set_ops_unbound(struct viaduct *viaduct, const struct dma_map_ops *ops)
{
	struct device *dev = &viaduct->managed->dev;
	bool done;

	do {
		device_release_driver(dev);
		device_lock(dev);
		done = !dev->driver;
		if (done)
			set_dma_ops(dev, ops);
		device_unlock(dev);
	} while (!done);
}

/* A driver that binds from here on gets our operations; a device has none without a driver. */
static void put_ops_on(struct viaduct *viaduct)
{
	set_installed(viaduct, true);
	set_ops_unbound(viaduct, &viaduct->ops);
}

/* In this order: a driver that binds in between loses them again with its device. */
static void take_ops_off(struct viaduct *viaduct)
{
	set_installed(viaduct, false);
	set_ops_unbound(viaduct, NULL);
}

static int make_windows(struct viaduct *viaduct)
{
	struct vd_windows_config config = {
		.granule = viaduct->channel.granule,
		.limit_bytes = viaduct->limit_bytes,
		.limit_mappings = viaduct->limit_mappings,
		.max_window = (u64)viaduct_max_window << 10,
		.strict = viaduct_strict,
	};
	int err = vd_windows_create(&config, &viaduct->windows);

	if (!err)
		vd_windows_refill(viaduct->windows);
	return err;
}

static int start_channel(struct viaduct *viaduct)
{
	unsigned long flags;
	int err;

	raw_spin_lock_irqsave(&viaduct->lock, flags);
	err = READ_ONCE(viaduct->removing) ? -ESHUTDOWN : viaduct_channel_start(&viaduct->channel);
	viaduct->lost_seen = viaduct->channel.lost;
	raw_spin_unlock_irqrestore(&viaduct->lock, flags);
	if (err == -ENODEV)
		pci_err(viaduct->companion, "the device that it manages is gone from the host\n");
	return err;
}

static void stop_channel(struct viaduct *viaduct)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&viaduct->lock, flags);
	viaduct_channel_stop(&viaduct->channel);
	raw_spin_unlock_irqrestore(&viaduct->lock, flags);
}

/* Gives back what can be, so that a companion that cannot be reset has nothing mapped either. */
static void release_windows(struct viaduct *viaduct)
{
	cancel_work_sync(&viaduct->tend);
	viaduct_arenas_trim(viaduct);
	viaduct_revoke(viaduct);
}

static void destroy_windows(struct viaduct *viaduct)
{
	viaduct_arenas_finish(viaduct);
	cancel_work_sync(&viaduct->refill);
	cancel_work_sync(&viaduct->check);
	vd_windows_destroy(viaduct->windows);
	viaduct->windows = NULL;
}

static int go_live(struct viaduct *viaduct)
{
	int err;

	put_ops_on(viaduct);
	err = start_channel(viaduct);
	if (err) {
		take_ops_off(viaduct);
		return err;
	}
	viaduct_arenas_prepare(viaduct);
	return 0;
}

/* By name, for a device that has left its bus has lost its links, too. */
static void unlink_device(struct viaduct *viaduct)
{
	device_link_remove(&viaduct->managed->dev, &viaduct->companion->dev);
}

static void unclaim(struct viaduct *viaduct)
{
	struct pci_dev *managed = viaduct->managed;

	mutex_lock(&viaduct_claims);
	viaduct->managed = NULL;
	clear_bit(VIADUCT_DEPARTED, &viaduct->flags);
	clear_bit(VIADUCT_REBIND, &viaduct->flags);
	mutex_unlock(&viaduct_claims);
	pci_dev_put(managed);
}

/* The device's driver is off, nothing is mapped, and what is unplugged may go. */
static void detach(struct viaduct *viaduct)
{
	take_ops_off(viaduct);
	release_windows(viaduct);
	stop_channel(viaduct);
	destroy_windows(viaduct);
	unlink_device(viaduct);
	unclaim(viaduct);
}

static int attach(struct viaduct *viaduct)
{
	struct device *dev = &viaduct->managed->dev;
	int err = examine(viaduct, dev);

	if (err)
		return err;
	/* Orders suspend, resume and shutdown; drivers coming and going are our own business. */
	if (!device_link_add(dev, &viaduct->companion->dev, DL_FLAG_STATELESS))
		pci_warn(viaduct->companion,
			 "no link to %s: they may sleep and wake in the wrong order\n",
			 dev_name(dev));
	err = make_windows(viaduct);
	if (err)
		goto err_link;
	err = go_live(viaduct);
	if (err)
		goto err_windows;
	pci_info(viaduct->companion,
		 "manages %s: %s, %llu bytes and %llu mappings in granules of %llu\n",
		 dev_name(dev), viaduct->channel.features ? "extended" : "plain version 2",
		 viaduct->limit_bytes, viaduct->limit_mappings, viaduct->channel.granule);
	if (device_attach(dev) < 0)
		pci_warn(viaduct->managed, "viaduct: no driver could be attached\n");
	return 0;

err_windows:
	destroy_windows(viaduct);
err_link:
	unlink_device(viaduct);
	return err;
}

/* Under viaduct_claims. Those who could not tell which device is theirs may be able to now. */
static void wake_others(struct viaduct *viaduct)
{
	struct viaduct *other;

	list_for_each_entry(other, &viaduct_list, node)
	{
		if (other != viaduct && !other->managed && !other->removing)
			mod_delayed_work(viaduct_queue, &other->work, 0);
	}
}

static bool claim(struct viaduct *viaduct)
{
	mutex_lock(&viaduct_claims);
	if (!viaduct->managed && !viaduct->removing) {
		viaduct->managed = viaduct_find_managed(&viaduct_list, viaduct);
		if (viaduct->managed)
			wake_others(viaduct);
	}
	mutex_unlock(&viaduct_claims);
	return viaduct->managed;
}

/* What may be another time is tried a few times more, each after twice as long. */
static void attach_failed(struct viaduct *viaduct, int err)
{
	bool again = (err == -ENOMEM || err == -EBUSY) && viaduct->tries < VIADUCT_TRIES;

	pci_err(viaduct->companion, "%s cannot be managed (%d)%s\n", pci_name(viaduct->managed),
		err, again ? ": it is tried again" : "");
	unclaim(viaduct);
	mutex_lock(&viaduct_claims);
	if (again && !viaduct->removing)
		queue_delayed_work(viaduct_queue, &viaduct->work, HZ << viaduct->tries++);
	mutex_unlock(&viaduct_claims);
}

static void attach_work(struct work_struct *work)
{
	struct viaduct *viaduct = container_of(to_delayed_work(work), struct viaduct, work);
	int err;

	if (viaduct->managed && (test_bit(VIADUCT_DEPARTED, &viaduct->flags) ||
				 test_bit(VIADUCT_REBIND, &viaduct->flags)))
		detach(viaduct);
	if (viaduct->managed || !claim(viaduct))
		return;
	err = attach(viaduct);
	if (err)
		attach_failed(viaduct, err);
	else
		viaduct->tries = 0;
}

void viaduct_attach_start(struct viaduct *viaduct)
{
	INIT_DELAYED_WORK(&viaduct->work, attach_work);
	mutex_lock(&viaduct_claims);
	list_add_tail(&viaduct->node, &viaduct_list);
	mutex_unlock(&viaduct_claims);
	mod_delayed_work(viaduct_queue, &viaduct->work, 0);
}

void viaduct_attach_stop(struct viaduct *viaduct)
{
	mutex_lock(&viaduct_claims);
	viaduct->removing = true;
	mutex_unlock(&viaduct_claims);
	cancel_delayed_work_sync(&viaduct->work);
	if (viaduct->managed)
		detach(viaduct);
	/* What a check may have started, which ends with the windows; it finds nothing to do. */
	cancel_delayed_work_sync(&viaduct->work);
	mutex_lock(&viaduct_claims);
	list_del(&viaduct->node);
	mutex_unlock(&viaduct_claims);
}

void viaduct_attach_quiesce(struct viaduct *viaduct)
{

	mutex_lock(&viaduct_claims);
	viaduct->removing = true;
	if (viaduct->managed)
		pci_clear_master(viaduct->managed);
	/* A reset releases the rest, where the companion has one. */
	if (viaduct->installed && !(viaduct->channel.features & VD_APPLE_DMA_FEATURE_WIDE))
		viaduct_revoke(viaduct);
	mutex_unlock(&viaduct_claims);
	stop_channel(viaduct);
}

void viaduct_attach_again(struct viaduct *viaduct, unsigned long delay)
{
	set_bit(VIADUCT_REBIND, &viaduct->flags);
	if (delay)
		queue_delayed_work(viaduct_queue, &viaduct->work, delay);
	else
		mod_delayed_work(viaduct_queue, &viaduct->work, 0);
}

/* Under viaduct_claims. */
static void device_came(struct viaduct *viaduct, struct pci_dev *dev)
{
	if (!viaduct->managed && !viaduct->removing)
		mod_delayed_work(viaduct_queue, &viaduct->work, 0);
}

/*
 * By now the bus has configured the device's DMA, which arm64 does anew for each driver: only here
 * is it known whether it is coherent.
 */
static void device_binds(struct viaduct *viaduct, struct pci_dev *dev)
{
	if (viaduct->managed != dev || !viaduct->installed)
		return;
	if (dev_is_dma_coherent(&dev->dev)) {
		set_dma_ops(&dev->dev, &viaduct->ops);
		return;
	}
	pci_err(viaduct->companion,
		"%s is not cache-coherent, which this driver needs: it gets no DMA\n",
		pci_name(dev));
	set_dma_ops(&dev->dev, &viaduct_refusing_ops);
}

static void device_went(struct viaduct *viaduct, struct pci_dev *dev)
{
	if (viaduct->managed != dev || viaduct->removing)
		return;
	set_bit(VIADUCT_DEPARTED, &viaduct->flags);
	mod_delayed_work(viaduct_queue, &viaduct->work, 0);
}

static int bus_event(struct notifier_block *block, unsigned long action, void *data)
{
	struct pci_dev *dev = to_pci_dev(data);
	struct viaduct *viaduct;

	if (action != BUS_NOTIFY_ADD_DEVICE && action != BUS_NOTIFY_BIND_DRIVER &&
	    action != BUS_NOTIFY_REMOVED_DEVICE)
		return NOTIFY_DONE;
	mutex_lock(&viaduct_claims);
	list_for_each_entry(viaduct, &viaduct_list, node)
	{
		if (action == BUS_NOTIFY_ADD_DEVICE)
			device_came(viaduct, dev);
		else if (action == BUS_NOTIFY_BIND_DRIVER)
			device_binds(viaduct, dev);
		else
			device_went(viaduct, dev);
	}
	mutex_unlock(&viaduct_claims);
	return NOTIFY_OK;
}

static struct notifier_block bus_block = {.notifier_call = bus_event};

void viaduct_with_windows(struct viaduct *viaduct, void (*call)(struct viaduct *, void *),
			  void *argument)
{
	mutex_lock(&viaduct_claims);
	if (viaduct->installed)
		call(viaduct, argument);
	mutex_unlock(&viaduct_claims);
}

/* Memory that is to be unplugged: idle windows over it go; live ones say no. */
static bool is_live_within(struct viaduct *viaduct, u64 gpa, u64 len)
{
	u64 at, granule = viaduct->channel.granule;
	struct vd_window *window;

	for (at = gpa; at < gpa + len; at += granule) {
		window = vd_windows_get(viaduct->windows, at, 1, 0);
		if (!window)
			continue;
		viaduct_put(viaduct, window);
		return true;
	}
	return false;
}

/* True: windows in the range are live. */
static bool memory_goes(struct viaduct *viaduct, u64 gpa, u64 len)
{
	viaduct_reap(viaduct, gpa, len);
	return is_live_within(viaduct, gpa, len);
}

static void memory_came(struct viaduct *viaduct, u64 gpa, u64 len)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&viaduct->lock, flags);
	vd_windows_grown(viaduct->windows, gpa, len);
	raw_spin_unlock_irqrestore(&viaduct->lock, flags);
}

static int memory_event(struct notifier_block *block, unsigned long action, void *data)
{
	const struct memory_notify *notify = data;
	struct viaduct *viaduct;
	bool live = false;
	u64 gpa, len;

	/* Once more when it has gone: a window may have come over it meanwhile, for its neighbours. */
	if (action != MEM_GOING_OFFLINE && action != MEM_OFFLINE && action != MEM_ONLINE)
		return NOTIFY_DONE;
	gpa = PFN_PHYS(notify->start_pfn);
	len = (u64)notify->nr_pages << PAGE_SHIFT;
	mutex_lock(&viaduct_claims);
	list_for_each_entry(viaduct, &viaduct_list, node)
	{
		if (!viaduct->installed)
			continue;
		if (action == MEM_ONLINE)
			memory_came(viaduct, gpa, len);
		else
			live |= memory_goes(viaduct, gpa, len);
	}
	mutex_unlock(&viaduct_claims);
	return live && action == MEM_GOING_OFFLINE ? NOTIFY_BAD : NOTIFY_OK;
}

static struct notifier_block memory_block = {.notifier_call = memory_event};

int viaduct_attach_init(void)
{
	int err;

	viaduct_queue = alloc_workqueue(VIADUCT_NAME, WQ_UNBOUND | WQ_FREEZABLE, 0);
	if (!viaduct_queue)
		return -ENOMEM;
	err = bus_register_notifier(&pci_bus_type, &bus_block);
	if (err)
		goto err_queue;
	err = register_memory_notifier(&memory_block);
	if (err)
		goto err_bus;
	return 0;

err_bus:
	bus_unregister_notifier(&pci_bus_type, &bus_block);
err_queue:
	destroy_workqueue(viaduct_queue);
	return err;
}

void viaduct_attach_exit(void)
{
	unregister_memory_notifier(&memory_block);
	bus_unregister_notifier(&pci_bus_type, &bus_block);
	destroy_workqueue(viaduct_queue);
}
