/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The names of pci.ids. libpci is only asked to read its file, never to look for devices.
 */
#include "pci_names.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli.h"
#include "text.h"

#ifdef HAVE_LIBPCI
#include <pci/pci.h>

struct pci_names {
    struct pci_access *access;
};

/* libpci's error hook may not return. */
__attribute__((noreturn)) static void on_error(char *format, ...)
{
    va_list arguments;
    char line[512];

    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    cli_failed("cannot read the names of PCI devices: %s", line);
    exit(CLI_FAILED);
}

static void on_message(char *format, ...)
{
}

struct pci_names *pci_names_open(void)
{
    struct pci_names *names = text_alloc(1, sizeof(*names));

    /* Without pci_init(), which would want a bus; it is also what sets hooks that are left NULL. */
    names->access = pci_alloc();
    names->access->error = on_error;
    names->access->warning = on_message;
    names->access->debug = on_message;
    return names;
}

void pci_names_close(struct pci_names *names)
{
    pci_cleanup(names->access);
    free(names);
}

static void add_name(struct json_object *to, const char *key, const char *name)
{
    json_object_object_add(to, key, name ? json_object_new_string(name) : NULL);
}

void pci_names_add(struct pci_names *names, struct json_object *to, uint16_t vendor, uint16_t device,
                   uint16_t class_code)
{
    /* The files' names only: the hardware database would bring in udev. */
    const int flags = PCI_LOOKUP_NO_NUMBERS | PCI_LOOKUP_NO_HWDB;
    struct pci_access *access = names->access;
    char name[256];

    add_name(to, "vendor_name",
             pci_lookup_name(access, name, sizeof(name), PCI_LOOKUP_VENDOR | flags, vendor));
    add_name(to, "device_name",
             pci_lookup_name(access, name, sizeof(name), PCI_LOOKUP_DEVICE | flags, vendor, device));
    add_name(to, "class_name",
             pci_lookup_name(access, name, sizeof(name), PCI_LOOKUP_CLASS | flags, class_code));
}

bool pci_names_known(const char **where)
{
    static const char *const files[] = {
        "/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids",   "/usr/share/misc/pci.ids.gz",
        "/usr/share/pci.ids",      "/opt/homebrew/share/pci.ids", "/opt/homebrew/share/pci.ids.gz",
    };

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        *where = files[i];
        if (access(files[i], R_OK) == 0)
            return true;
    }
    *where = "there is no pci.ids";
    return false;
}

#else

struct pci_names *pci_names_open(void)
{
    return text_alloc(1, 1);
}

void pci_names_close(struct pci_names *names)
{
    free(names);
}

void pci_names_add(struct pci_names *names, struct json_object *to, uint16_t vendor, uint16_t device,
                   uint16_t class_code)
{
    json_object_object_add(to, "vendor_name", NULL);
    json_object_object_add(to, "device_name", NULL);
    json_object_object_add(to, "class_name", NULL);
}

bool pci_names_known(const char **where)
{
    *where = "viaduct was built without libpci";
    return false;
}

#endif
