// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which device a companion manages, and how our DMA operations get onto it and off it.
 *
 * The host holds the managed device (its registers read all ones, it masters no bus) until the
 * companion has a command page, so a driver that came first has failed, and nothing has been mapped
 * without us. To attach: take the driver off if one is there, start the channel, put our operations
 * on, let a driver probe. All of that is done by one work item of each companion, because a probe
 * may take long, and because nothing may be held that a probe needs.
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

static u32 ids_of(struct pci_dev *dev)
{
	return dev->vendor | (u32)dev->device << 16;
}

static u32 subsystem_of(struct pci_dev *dev)
{
	return dev->subsystem_vendor | (u32)dev->subsystem_device << 16;
}

static bool is_claimed(const struct pci_dev *dev)
{
	struct viaduct *other;

	list_for_each_entry(other, &viaduct_list, node) if (other->managed == dev) return true;
	return false;
}

/* What the companion says that it manages. */
struct claim {
	u32 bdf, ids, subsystem; /* ids 0: it does not say */
};

static bool is_meant(const struct claim *claim, struct pci_dev *dev)
{
	if (dev->vendor == VD_APPLE_DMA_VENDOR && dev->device == VD_APPLE_DMA_DEVICE)
		return false;
	if (!claim->ids)
		return dev->hdr_type == PCI_HEADER_TYPE_NORMAL;
	return claim->ids == ids_of(dev) &&
	       (!claim->subsystem || claim->subsystem == subsystem_of(dev));
}

static struct claim read_claim(struct viaduct *viaduct)
{
	void __iomem *regs = viaduct->channel.regs;

	return (struct claim){
		.bdf = readl(regs + VD_APPLE_DMA_REG_MANAGED_BDF),
		.ids = readl(regs + VD_APPLE_DMA_REG_MANAGED_ID),
		.subsystem = readl(regs + VD_APPLE_DMA_REG_MANAGED_SUBSYSTEM),
	};
}

/* "[domain:]bus:device.function" at the start of the text; where it ends, or NULL. */
static const char *parse_address(const char *text, int *domain, unsigned int *bus,
				 unsigned int *devfn)
{
	unsigned int dev, function;
	int length = 0;

	if (sscanf(text, "%x:%x:%x.%x%n", domain, bus, &dev, &function, &length) != 4 || !length) {
		*domain = 0;
		length = 0;
		if (sscanf(text, "%x:%x.%x%n", bus, &dev, &function, &length) != 3 || !length)
			return NULL;
	}
	if (*bus > 0xff || dev > 0x1f || function > 7)
		return NULL;
	*devfn = PCI_DEVFN(dev, function);
	return text + length;
}

/*
 * One "companion=device" of the parameter. 1: it is this companion's; 0: it is not; -EINVAL. Moves
 * *text on.
 */
static int parse_pair(const char **text, const struct pci_dev *companion, int *domain,
		      unsigned int *bus, unsigned int *devfn)
{
	bool mine;

	*text = parse_address(*text, domain, bus, devfn);
	if (!*text || **text != '=')
		return -EINVAL;
	mine = *domain == pci_domain_nr(companion->bus) && *bus == companion->bus->number &&
	       *devfn == companion->devfn;
	*text = parse_address(*text + 1, domain, bus, devfn);
	if (!*text || (**text && **text != ','))
		return -EINVAL;
	if (**text)
		(*text)++;
	return mine;
}

/*
 * The device that the parameter names for this companion, with a reference. *named: it names one.
 */
static struct pci_dev *find_named(struct viaduct *viaduct, bool *named)
{
	const char *text = viaduct_devices;
	unsigned int bus, devfn;
	int domain, mine = 0;

	*named = false;
	while (text && *text && mine == 0)
		mine = parse_pair(&text, viaduct->companion, &domain, &bus, &devfn);
	if (mine < 0)
		pci_err(viaduct->companion,
			"the parameter devices=%s is not COMPANION=DEVICE[,...]\n",
			viaduct_devices);
	if (mine <= 0)
		return NULL;
	*named = true;
	return pci_get_domain_bus_and_slot(domain, bus, devfn);
}

static struct pci_dev *find_at(struct viaduct *viaduct, const struct claim *claim)
{
	struct pci_dev *dev;

	if (claim->bdf > 0xffff)
		return NULL;
	dev = pci_get_domain_bus_and_slot(pci_domain_nr(viaduct->companion->bus),
					  PCI_BUS_NUM(claim->bdf), claim->bdf & 0xff);
	if (dev && is_meant(claim, dev) && !is_claimed(dev))
		return dev;
	pci_dev_put(dev);
	return NULL;
}

/* The only unclaimed device with the ids; NULL when there is none or more than one. */
static struct pci_dev *find_alike(struct viaduct *viaduct, const struct claim *claim,
				  unsigned int *count)
{
	struct pci_dev *dev = NULL, *found = NULL;

	*count = 0;
	if (!claim->ids)
		return NULL;
	for_each_pci_dev(dev)
	{
		if (!is_meant(claim, dev) || is_claimed(dev))
			continue;
		if (!(*count)++)
			found = pci_dev_get(dev);
	}
	if (*count == 1)
		return found;
	pci_dev_put(found);
	return NULL;
}

/* Under viaduct_claims. The device, with a reference; NULL: not there (yet). */
static struct pci_dev *find_managed(struct viaduct *viaduct)
{
	struct claim claim = read_claim(viaduct);
	struct pci_dev *dev;
	unsigned int count;
	bool named;

	dev = find_named(viaduct, &named);
	if (dev && is_claimed(dev)) {
		pci_err(viaduct->companion, "%s has a companion already\n", pci_name(dev));
		pci_dev_put(dev);
		return NULL;
	}
	if (named)
		return dev;
	dev = find_at(viaduct, &claim);
	if (dev)
		return dev;
	dev = find_alike(viaduct, &claim, &count);
	if (dev)
		return dev;
	if (count)
		pci_err(viaduct->companion,
			"%u devices could be meant (%04x:%04x): name one with " VIADUCT_NAME
			".devices=%s=DEVICE\n",
			count, claim.ids & 0xffff, claim.ids >> 16, pci_name(viaduct->companion));
	else
		pci_info(viaduct->companion,
			 "the device that it manages (%04x:%04x) is not there yet\n",
			 claim.ids & 0xffff, claim.ids >> 16);
	return NULL;
}

/* Whether its DMA is ours to handle. */
static int examine(struct viaduct *viaduct, struct device *dev)
{
	const struct dma_map_ops *ops = get_dma_ops(dev);

	if (viaduct_behind_iommu(dev) || (ops && ops != &viaduct->ops)) {
		pci_err(viaduct->companion,
			"%s is behind an IOMMU of the guest: no need for this driver\n",
			dev_name(dev));
		return -EBUSY;
	}
	if (!dev_is_dma_coherent(dev)) {
		pci_err(viaduct->companion, "%s is not cache-coherent, which this driver needs\n",
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

/* Under the device's lock. */
static void put_ops_on(struct viaduct *viaduct)
{
	set_dma_ops(&viaduct->managed->dev, &viaduct->ops);
}

static bool put_ops_on_unbound(struct viaduct *viaduct)
{
	struct device *dev = &viaduct->managed->dev;
	bool done;

	device_lock(dev);
	done = !dev->driver || get_dma_ops(dev) == &viaduct->ops;
	if (done)
		put_ops_on(viaduct);
	device_unlock(dev);
	return done;
}

/*
 * Off comes the driver, and with it, in the end, our operations; in between another driver may have
 * bound.
 */
static void take_ops_off(struct viaduct *viaduct)
{
	struct device *dev = &viaduct->managed->dev;
	bool done;

	do {
		device_release_driver(dev);
		device_lock(dev);
		done = !dev->driver;
		if (done && get_dma_ops(dev) == &viaduct->ops)
			set_dma_ops(dev, NULL);
		device_unlock(dev);
	} while (!done);
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
	viaduct_arenas_trim(viaduct);
	viaduct_reap(viaduct, 0, ~0ULL);
}

static void destroy_windows(struct viaduct *viaduct)
{
	viaduct_arenas_finish(viaduct);
	cancel_work_sync(&viaduct->refill);
	vd_windows_destroy(viaduct->windows);
	viaduct->windows = NULL;
}

static int put_ops_to_work(struct viaduct *viaduct)
{
	set_installed(viaduct, true);
	if (put_ops_on_unbound(viaduct))
		return 0;
	pci_err(viaduct->companion, "a driver has bound to %s meanwhile\n",
		pci_name(viaduct->managed));
	set_installed(viaduct, false);
	return -EBUSY;
}

/*
 * Until the channel is started the host holds the device: a driver that is there by then cannot
 * have got anywhere.
 */
static int go_live(struct viaduct *viaduct)
{
	int err;

	device_release_driver(&viaduct->managed->dev);
	err = start_channel(viaduct);
	if (err)
		return err;
	viaduct_arenas_prepare(viaduct);
	err = put_ops_to_work(viaduct);
	if (err) {
		release_windows(viaduct);
		stop_channel(viaduct);
	}
	return err;
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
	set_installed(viaduct, false);
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
	device_link_add(dev, &viaduct->companion->dev, DL_FLAG_STATELESS);
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

static bool claim(struct viaduct *viaduct)
{
	mutex_lock(&viaduct_claims);
	if (!viaduct->managed && !viaduct->removing)
		viaduct->managed = find_managed(viaduct);
	mutex_unlock(&viaduct_claims);
	return viaduct->managed;
}

static void attach_work(struct work_struct *work)
{
	struct viaduct *viaduct = container_of(work, struct viaduct, work);

	if (viaduct->managed && (test_bit(VIADUCT_DEPARTED, &viaduct->flags) ||
				 test_bit(VIADUCT_REBIND, &viaduct->flags)))
		detach(viaduct);
	if (viaduct->managed || !claim(viaduct))
		return;
	if (attach(viaduct))
		unclaim(viaduct);
}

void viaduct_attach_start(struct viaduct *viaduct)
{
	INIT_WORK(&viaduct->work, attach_work);
	mutex_lock(&viaduct_claims);
	list_add_tail(&viaduct->node, &viaduct_list);
	mutex_unlock(&viaduct_claims);
	queue_work(viaduct_queue, &viaduct->work);
}

void viaduct_attach_stop(struct viaduct *viaduct)
{
	mutex_lock(&viaduct_claims);
	viaduct->removing = true;
	mutex_unlock(&viaduct_claims);
	cancel_work_sync(&viaduct->work);
	if (viaduct->managed)
		detach(viaduct);
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
	mutex_unlock(&viaduct_claims);
	stop_channel(viaduct);
}

void viaduct_attach_again(struct viaduct *viaduct)
{
	set_bit(VIADUCT_REBIND, &viaduct->flags);
	queue_work(viaduct_queue, &viaduct->work);
}

/* Under viaduct_claims. */
static void device_came(struct viaduct *viaduct, struct pci_dev *dev)
{
	if (!viaduct->managed && !viaduct->removing)
		queue_work(viaduct_queue, &viaduct->work);
}

static void device_binds(struct viaduct *viaduct, struct pci_dev *dev)
{
	if (viaduct->managed == dev && viaduct->installed)
		put_ops_on(viaduct);
}

static void device_went(struct viaduct *viaduct, struct pci_dev *dev)
{
	if (viaduct->managed != dev || viaduct->removing)
		return;
	set_bit(VIADUCT_DEPARTED, &viaduct->flags);
	queue_work(viaduct_queue, &viaduct->work);
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

static int memory_event(struct notifier_block *block, unsigned long action, void *data)
{
	const struct memory_notify *notify = data;
	struct viaduct *viaduct;
	bool live = false;
	u64 gpa, len;

	if (action != MEM_GOING_OFFLINE)
		return NOTIFY_DONE;
	gpa = PFN_PHYS(notify->start_pfn);
	len = (u64)notify->nr_pages << PAGE_SHIFT;
	mutex_lock(&viaduct_claims);
	list_for_each_entry(viaduct, &viaduct_list, node)
	{
		if (!viaduct->installed)
			continue;
		viaduct_reap(viaduct, gpa, len);
		live |= is_live_within(viaduct, gpa, len);
	}
	mutex_unlock(&viaduct_claims);
	return live ? NOTIFY_BAD : NOTIFY_OK;
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
