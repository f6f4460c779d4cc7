/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names of PCI devices, by libpci from the file pci.ids. On Linux always there; elsewhere where libpci is installed.
 */
#ifndef CLI_PCI_NAMES_H
#define CLI_PCI_NAMES_H

#include <stdbool.h>
#include <stdint.h>

struct json_object;
struct pci_names;

/* Never NULL: without a library or a file, no name is known. */
struct pci_names *pci_names_open(void);
void pci_names_close(struct pci_names *names);
/* Adds vendor_name, device_name and class_name, null where not known. class_code is 16 bits: base class, subclass. */
void pci_names_add(struct pci_names *names, struct json_object *to, uint16_t vendor, uint16_t device,
                   uint16_t class_code);

/* True when names can be looked up; *where (static storage) says in which file, or why not. */
bool pci_names_known(const char **where);

#endif
