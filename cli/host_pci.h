/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The PCI devices of this host, by libpci: the kernel's list and the names of pci.ids.
 */
#ifndef CLI_HOST_PCI_H
#define CLI_HOST_PCI_H

#include <stdbool.h>

struct json_object;

/*
 * Appends an object for each device to the array `out`. False, with *why in static storage, when this host shows no
 * PCI devices.
 */
bool host_pci_list(struct json_object *out, const char **why);
/* True when the names of pci.ids can be looked up; *where (static storage) says in which file. */
bool host_pci_has_names(const char **where);

#endif
