/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The PCI devices of this host, by libpci: the kernel's list.
 */
#ifndef CLI_HOST_PCI_H
#define CLI_HOST_PCI_H

#include <stdbool.h>

struct json_object;
struct pci_names;

/*
 * Appends an object for each device to the array `out`. False, with *why in static storage, when this host shows no
 * PCI devices.
 */
bool host_pci_list(struct pci_names *names, struct json_object *out, const char **why);

#endif
