/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The devices that vd_device_scan() finds: as a list, as JSON and as text.
 */
#ifndef CLI_FOUND_H
#define CLI_FOUND_H

#include <viaduct/device.h>

struct json_object;
struct pci_names;

struct found {
    struct vd_device_found *devices;
    size_t count;
    char *why; /* why a host that is there could not be asked; NULL: all of them answered */
};

/* Asks every host. Opens no device for use. */
void found_scan(struct vd_context *context, struct found *out);
void found_finish(struct found *found);

/* "free", "in use", "removed", "unknown" */
const char *found_state_name(enum vd_device_state state);

/* The device as viaduct-list(1) describes it; what is not known is null. The caller puts it. */
struct json_object *found_describe(struct pci_names *names, const struct vd_device_found *device);
/* Prints an array of such objects, a block of lines each. */
void found_print(struct json_object *devices);

#endif
