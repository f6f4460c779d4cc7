/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The devices that vd_device_scan() finds. The text is made from the JSON, so that the two cannot disagree.
 */
#include "found.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <viaduct/region.h>

#include "pci_names.h"
#include "text.h"

enum {
    REGIONS =
        sizeof(((struct vd_device_found *)0)->regions) / sizeof(((struct vd_device_found *)0)->regions[0])
};

void found_scan(struct vd_context *context, struct found *out)
{
    struct vd_error error = {0};
    size_t room = 0;
    int count;

    *out = (struct found){0};
    /* A device may be plugged in between two calls. */
    while ((count = vd_device_scan(context, out->devices, room, &error)) > 0 && (size_t)count > room) {
        room = (size_t)count;
        out->devices = text_grow(out->devices, room, sizeof(*out->devices));
        memset(out->devices, 0, room * sizeof(*out->devices));
    }
    if (count < 0)
        out->why = text_copy(error.message[0] ? error.message : strerror(-count));
    else
        out->count = (size_t)count;
}

void found_finish(struct found *found)
{
    free(found->devices);
    free(found->why);
    *found = (struct found){0};
}

const char *found_state_name(enum vd_device_state state)
{
    static const char *const names[] = {
        [VD_DEVICE_FREE] = "free",
        [VD_DEVICE_IN_USE] = "in use",
        [VD_DEVICE_REMOVED] = "removed",
        [VD_DEVICE_UNKNOWN] = "unknown",
    };

    return (unsigned)state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}

static void add_text(struct json_object *to, const char *key, const char *text)
{
    json_object_object_add(to, key, text && *text ? json_object_new_string(text) : NULL);
}

static void add_hex(struct json_object *to, const char *key, unsigned value, int digits)
{
    char text[16];

    snprintf(text, sizeof(text), "%0*x", digits, value);
    add_text(to, key, text);
}

static void add_number(struct json_object *to, const char *key, uint64_t value)
{
    json_object_object_add(to, key, json_object_new_uint64(value));
}

static struct json_object *describe_regions(const struct vd_device_found *device)
{
    static const char *const names[REGIONS] = {"bar0", "bar1", "bar2", "bar3", "bar4", "bar5", "rom"};
    struct json_object *regions = json_object_new_array();

    for (unsigned i = 0; i < REGIONS; i++) {
        uint32_t flags = device->regions[i].flags;
        struct json_object *region;

        if (device->regions[i].size == 0)
            continue;
        region = json_object_new_object();
        add_number(region, "index", i);
        add_text(region, "name", names[i]);
        add_number(region, "size", device->regions[i].size);
        json_object_object_add(region, "prefetchable",
                               json_object_new_boolean((flags & VD_REGION_PREFETCHABLE) != 0));
        json_object_object_add(region, "64bit", json_object_new_boolean((flags & VD_REGION_64BIT) != 0));
        json_object_array_add(regions, region);
    }
    return regions;
}

/* The rate behind PCIe's coding (PCIe 7.5.3.8), or NULL. */
static const char *link_rate(unsigned code)
{
    static const char *const rates[] = {NULL, "2.5", "5", "8", "16", "32", "64"};

    return code < sizeof(rates) / sizeof(rates[0]) ? rates[code] : NULL;
}

static void add_link(struct json_object *to, const struct vd_device_found *device)
{
    const char *rate = link_rate(device->link_speed);
    struct json_object *link = NULL;

    if (rate || device->link_width) {
        link = json_object_new_object();
        json_object_object_add(link, "gt_per_s", rate ? json_object_new_double_s(atof(rate), rate) : NULL);
        json_object_object_add(link, "width",
                               device->link_width ? json_object_new_int(device->link_width) : NULL);
    }
    json_object_object_add(to, "link", link);
}

struct json_object *found_describe(struct pci_names *names, const struct vd_device_found *device)
{
    struct json_object *node = json_object_new_object();

    add_text(node, "address", device->address);
    add_text(node, "state", found_state_name(device->state));
    add_text(node, "driver", device->driver);
    add_text(node, "model", device->model);
    add_hex(node, "vendor", device->vendor, 4);
    add_hex(node, "device", device->device, 4);
    add_hex(node, "subvendor", device->subvendor, 4);
    add_hex(node, "subdevice", device->subdevice, 4);
    add_hex(node, "class", device->class_code, 6);
    pci_names_add(names, node, device->vendor, device->device, (uint16_t)(device->class_code >> 8));
    json_object_object_add(node, "regions", describe_regions(device));
    add_number(node, "msi_vectors", device->msi_vectors);
    add_number(node, "msix_vectors", device->msix_vectors);
    add_link(node, device);
    return node;
}

/* NULL when it is null. */
static const char *get(struct json_object *from, const char *key)
{
    return json_object_get_string(json_object_object_get(from, key));
}

static char *memory_text(struct json_object *regions)
{
    char *text = NULL;

    for (size_t i = 0; i < json_object_array_length(regions); i++) {
        struct json_object *region = json_object_array_get_idx(regions, i);
        const char *name = get(region, "name");
        char bytes[32], *one;

        text_bytes(json_object_get_uint64(json_object_object_get(region, "size")), bytes, sizeof(bytes));
        one = text_format(
            "%s%s%s %s%s%s", text ? ", " : "", !strcmp(name, "rom") ? "ROM" : "BAR ",
            !strcmp(name, "rom") ? "" : name + 3, bytes,
            json_object_get_boolean(json_object_object_get(region, "64bit")) ? " 64-bit" : "",
            json_object_get_boolean(json_object_object_get(region, "prefetchable")) ? " prefetchable" : "");
        text_append(&text, one);
        free(one);
    }
    return text ? text : text_copy("no BAR");
}

static char *vectors_text(struct json_object *device)
{
    int64_t msix = json_object_get_int64(json_object_object_get(device, "msix_vectors"));
    int64_t msi = json_object_get_int64(json_object_object_get(device, "msi_vectors"));
    char *text = NULL, *one;

    if (msix)
        text = text_format("%lld MSI-X", (long long)msix);
    if (msi) {
        one = text_format("%s%lld MSI", text ? ", " : "", (long long)msi);
        text_append(&text, one);
        free(one);
    }
    return text ? text : text_copy("none by message");
}

static char *link_text(struct json_object *device)
{
    struct json_object *link = json_object_object_get(device, "link");
    const char *rate = link ? get(link, "gt_per_s") : NULL, *width = link ? get(link, "width") : NULL;

    return text_format("%s%s%s%s", rate ? rate : "", rate ? " GT/s " : "", width ? "x" : "",
                       width  ? width
                       : rate ? ""
                              : "not known");
}

static char *name_text(struct json_object *device)
{
    const char *vendor = get(device, "vendor_name"), *name = get(device, "device_name");
    const char *model = get(device, "model");

    if (vendor && name)
        return text_format("%s %s", vendor, name);
    if (model)
        return text_copy(model);
    return text_format("%s", vendor ? vendor : "no name known");
}

static void print_line(const char *key, char *text_taken)
{
    printf("    %-10s  %s\n", key, text_taken);
    free(text_taken);
}

static void print_one(struct json_object *device, int width)
{
    const char *kind = get(device, "class_name"), *driver = get(device, "driver");
    char *name = name_text(device);

    printf("  %-*s  %-7s  [%s:%s] %s\n", width, get(device, "address"), get(device, "state"),
           get(device, "vendor"), get(device, "device"), name);
    free(name);
    print_line("class",
               kind ? text_format("%s (%s)", kind, get(device, "class")) : text_copy(get(device, "class")));
    print_line("driver", text_copy(driver ? driver : "none"));
    print_line("memory", memory_text(json_object_object_get(device, "regions")));
    print_line("interrupts", vectors_text(device));
    print_line("link", link_text(device));
}

void found_print(struct json_object *devices)
{
    int width = 0;

    for (size_t i = 0; i < json_object_array_length(devices); i++) {
        int length = (int)strlen(get(json_object_array_get_idx(devices, i), "address"));

        width = length > width ? length : width;
    }
    for (size_t i = 0; i < json_object_array_length(devices); i++)
        print_one(json_object_array_get_idx(devices, i), width);
}
