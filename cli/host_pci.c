/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The PCI devices of this host. Only the kernel's list in sysfs is read, so no privilege is needed and no device is
 * touched.
 */
#include "host_pci.h"

#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "pci_names.h"
#include "text.h"

#ifdef __linux__
#include <pci/pci.h>

/* libpci's error hook may not return. */
__attribute__((noreturn)) static void on_error(char *format, ...)
{
    va_list arguments;
    char line[512];

    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    cli_failed("cannot list PCI devices: %s", line);
    exit(CLI_FAILED);
}

static void on_warning(char *format, ...)
{
}

static void add_text(struct json_object *to, const char *key, const char *text)
{
    json_object_object_add(to, key, text ? json_object_new_string(text) : NULL);
}

static void add_format(struct json_object *to, const char *key, char *taken)
{
    json_object_object_add(to, key, json_object_new_string(taken));
    free(taken);
}

static struct json_object *describe(struct pci_names *names, struct pci_dev *dev)
{
    struct json_object *device = json_object_new_object();

    pci_fill_info(dev, PCI_FILL_IDENT | PCI_FILL_CLASS | PCI_FILL_DRIVER | PCI_FILL_IOMMU_GROUP);
    add_format(
        device, "address",
        text_format("%04x:%02x:%02x.%u", (unsigned)dev->domain, dev->bus, dev->dev, (unsigned)dev->func));
    add_format(device, "vendor", text_format("%04x", dev->vendor_id));
    add_format(device, "device", text_format("%04x", dev->device_id));
    add_format(device, "class", text_format("%04x", dev->device_class));
    pci_names_add(names, device, dev->vendor_id, dev->device_id, dev->device_class);
    add_text(device, "driver", pci_get_string_property(dev, PCI_FILL_DRIVER));
    add_text(device, "iommu_group", pci_get_string_property(dev, PCI_FILL_IOMMU_GROUP));
    json_object_object_add(device, "usable", json_object_new_boolean(false));
    add_text(device, "note", "back end not built yet");
    return device;
}

static int by_address(const void *a, const void *b)
{
    struct json_object *const *left = a, *const *right = b;

    return strcmp(json_object_get_string(json_object_object_get(*left, "address")),
                  json_object_get_string(json_object_object_get(*right, "address")));
}

bool host_pci_list(struct pci_names *names, struct json_object *out, const char **why)
{
    struct pci_access *access;

    if (faccessat(AT_FDCWD, "/sys/bus/pci/devices", R_OK | X_OK, AT_EACCESS)) {
        *why = "the kernel shows no PCI bus (no /sys/bus/pci/devices)";
        return false;
    }
    access = pci_alloc();
    access->error = on_error;
    access->warning = on_warning;
    access->method = PCI_ACCESS_SYS_BUS_PCI;
    pci_init(access);
    pci_scan_bus(access);
    for (struct pci_dev *dev = access->devices; dev; dev = dev->next)
        json_object_array_add(out, describe(names, dev));
    json_object_array_sort(out, by_address);
    pci_cleanup(access);
    return true;
}

#else

bool host_pci_list(struct pci_names *names, struct json_object *out, const char **why)
{
    *why = "only Linux shows all of its PCI devices here; a Mac shows those of the extension, above";
    return false;
}

#endif
