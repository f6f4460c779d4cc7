// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which device a companion manages: the one that the parameter names, the one at the address that
 * the companion gives, or, where the host cannot know addresses, the only one with the right ids.
 *
 * Everything here is called under viaduct_claims (attach.c).
 */
#include <linux/pci.h>

#include "viaduct_dma.h"

static u32 ids_of(struct pci_dev *dev)
{
	return dev->vendor | (u32)dev->device << 16;
}

static u32 subsystem_of(struct pci_dev *dev)
{
	return dev->subsystem_vendor | (u32)dev->subsystem_device << 16;
}

static bool is_claimed(const struct list_head *list, const struct pci_dev *dev)
{
	struct viaduct *other;

	list_for_each_entry(other, list, node)
	{
		if (other->managed == dev)
			return true;
	}
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

static struct pci_dev *find_at(const struct list_head *list, struct viaduct *viaduct,
			       const struct claim *claim)
{
	struct pci_dev *dev;

	if (claim->bdf > 0xffff)
		return NULL;
	dev = pci_get_domain_bus_and_slot(pci_domain_nr(viaduct->companion->bus),
					  PCI_BUS_NUM(claim->bdf), claim->bdf & 0xff);
	if (dev && is_meant(claim, dev) && !is_claimed(list, dev))
		return dev;
	pci_dev_put(dev);
	return NULL;
}

/* How many companions look for a device with those ids and have none, this one included. */
static unsigned int count_seekers(const struct list_head *list, const struct claim *claim)
{
	unsigned int count = 0;
	struct viaduct *other;

	list_for_each_entry(other, list, node)
	{
		struct claim its;

		if (other->managed || other->removing)
			continue;
		its = read_claim(other);
		count += its.ids == claim->ids && its.subsystem == claim->subsystem;
	}
	return count;
}

/* The only unclaimed device with the ids; NULL when there is none or more than one. */
static struct pci_dev *find_alike(const struct list_head *list, const struct claim *claim,
				  unsigned int *count)
{
	struct pci_dev *dev = NULL, *found = NULL;

	*count = 0;
	if (!claim->ids)
		return NULL;
	for_each_pci_dev(dev)
	{
		if (!is_meant(claim, dev) || is_claimed(list, dev))
			continue;
		if (!(*count)++)
			found = pci_dev_get(dev);
	}
	if (*count == 1)
		return found;
	pci_dev_put(found);
	return NULL;
}

static void ask_for_name(struct viaduct *viaduct, const struct claim *claim, unsigned int devices,
			 unsigned int seekers)
{
	pci_err(viaduct->companion,
		"%u devices (%04x:%04x) could be meant by %u companions: name one "
		"with " VIADUCT_NAME ".devices=%s=DEVICE\n",
		devices, claim->ids & 0xffff, claim->ids >> 16, seekers,
		pci_name(viaduct->companion));
}

/* Two companions of the same kind of device must not get one another's. */
static struct pci_dev *find_by_ids(const struct list_head *list, struct viaduct *viaduct,
				   const struct claim *claim)
{
	unsigned int devices, seekers = count_seekers(list, claim);
	struct pci_dev *dev = find_alike(list, claim, &devices);

	if (!devices) {
		pci_info(viaduct->companion,
			 "the device that it manages (%04x:%04x) is not there yet\n",
			 claim->ids & 0xffff, claim->ids >> 16);
		return NULL;
	}
	if (dev && seekers == 1)
		return dev;
	ask_for_name(viaduct, claim, devices, seekers);
	pci_dev_put(dev);
	return NULL;
}

struct pci_dev *viaduct_find_managed(const struct list_head *list, struct viaduct *viaduct)
{
	struct claim claim = read_claim(viaduct);
	struct pci_dev *dev;
	bool named;

	dev = find_named(viaduct, &named);
	if (dev && is_claimed(list, dev)) {
		pci_err(viaduct->companion, "%s has a companion already\n", pci_name(dev));
		pci_dev_put(dev);
		return NULL;
	}
	if (named)
		return dev;
	dev = find_at(list, viaduct, &claim);
	return dev ?: find_by_ids(list, viaduct, &claim);
}
