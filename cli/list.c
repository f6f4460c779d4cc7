/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `viaduct list`: what can be opened here. One document is built, then printed as JSON or as text, so that the two
 * cannot disagree.
 */
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include <viaduct/device.h>

#include "cli.h"
#include "found.h"
#include "host_pci.h"
#include "pci_names.h"

enum { OPTION_JSON };

static const struct cli_option options[] = {
    [OPTION_JSON] = {"json", NULL, "print JSON"},
};

static void set_text(struct json_object *to, const char *key, const char *value)
{
    json_object_object_add(to, key, value ? json_object_new_string(value) : NULL);
}

static struct json_object *describe_kind(const struct vd_device_kind *kind)
{
    struct json_object *node = json_object_new_object(), *list = json_object_new_array();

    set_text(node, "address", kind->address);
    set_text(node, "summary", kind->summary);
    for (size_t i = 0; i < kind->nr_options; i++) {
        struct json_object *option = json_object_new_object();

        set_text(option, "key", kind->options[i].key);
        set_text(option, "values", kind->options[i].values);
        set_text(option, "default", kind->options[i].fallback);
        set_text(option, "help", kind->options[i].help);
        json_object_array_add(list, option);
    }
    json_object_object_add(node, "options", list);
    return node;
}

static struct json_object *describe_kinds(void)
{
    struct json_object *kinds = json_object_new_array();
    const struct vd_device_kind *kind;

    for (size_t i = 0; (kind = vd_device_kind(i)); i++)
        json_object_array_add(kinds, describe_kind(kind));
    return kinds;
}

/* A host that cannot be asked does not spoil the rest of the list. */
static void add_found(struct json_object *document, struct vd_context *context, struct pci_names *names)
{
    struct json_object *devices = json_object_new_array();
    struct found found;

    found_scan(context, &found);
    for (size_t i = 0; i < found.count; i++)
        json_object_array_add(devices, found_describe(names, &found.devices[i]));
    json_object_object_add(document, "devices", devices);
    set_text(document, "devices_reason", found.why);
    if (found.why)
        cli_warn("the devices of a host are not listed: %s", found.why);
    found_finish(&found);
}

static void add_host(struct json_object *document, struct pci_names *names)
{
    struct json_object *host = json_object_new_object(), *devices = json_object_new_array();
    const char *why = NULL;
    bool available = host_pci_list(names, devices, &why);

    json_object_object_add(host, "available", json_object_new_boolean(available));
    set_text(host, "reason", why);
    json_object_object_add(host, "devices", devices);
    json_object_object_add(document, "host", host);
}

static struct json_object *build(struct vd_context *context)
{
    struct json_object *document = json_object_new_object();
    struct pci_names *names = pci_names_open();

    json_object_object_add(document, "simulated", describe_kinds());
    add_found(document, context, names);
    add_host(document, names);
    pci_names_close(names);
    return document;
}

static const char *get(struct json_object *from, const char *key)
{
    const char *text = json_object_get_string(json_object_object_get(from, key));

    return text ? text : "";
}

static void print_kind(struct json_object *kind)
{
    struct json_object *list = json_object_object_get(kind, "options");

    printf("  %s  %s\n", get(kind, "address"), get(kind, "summary"));
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct json_object *option = json_object_array_get_idx(list, i);
        const char *fallback = get(option, "default");

        printf("    %-10s %s\n", get(option, "key"), get(option, "help"));
        printf("    %-10s   %s%s%s\n", "", get(option, "values"), *fallback ? "; default " : "", fallback);
    }
}

static void print_device(struct json_object *device)
{
    const char *driver = get(device, "driver");

    printf("  %s  [%s:%s] %s %s (%s), driver %s: %s\n", get(device, "address"), get(device, "vendor"),
           get(device, "device"), get(device, "vendor_name"), get(device, "device_name"),
           get(device, "class_name"), *driver ? driver : "none", get(device, "note"));
}

#ifdef __APPLE__
#define NO_DEVICES                                                                                           \
    "none; plug a device in that the extension matches, and see 'viaduct doctor' for the extension's state"
#else
#define NO_DEVICES                                                                                           \
    "none; a Mac's extension drives them, and viaduct-dextd(1) stands for it elsewhere ($VIADUCT_DEXTD)"
#endif

static void print_found(struct json_object *document)
{
    struct json_object *devices = json_object_object_get(document, "devices");
    const char *why = get(document, "devices_reason");

    printf("\nDevices of an extension (host=ADDRESS):\n");
    found_print(devices);
    if (*why)
        printf("  not known: %s\n", why);
    else if (json_object_array_length(devices) == 0)
        printf("  %s\n", NO_DEVICES);
}

static void print_text(struct json_object *document)
{
    struct json_object *simulated = json_object_object_get(document, "simulated");
    struct json_object *host = json_object_object_get(document, "host");
    struct json_object *devices = json_object_object_get(host, "devices");

    printf("Simulated devices (host=ADDRESS[,key=value]...):\n");
    for (size_t i = 0; i < json_object_array_length(simulated); i++)
        print_kind(json_object_array_get_idx(simulated, i));
    print_found(document);
    printf("\nPCI devices of this host:\n");
    if (!json_object_get_boolean(json_object_object_get(host, "available")))
        printf("  none: %s\n", get(host, "reason"));
    else if (json_object_array_length(devices) == 0)
        printf("  none\n");
    for (size_t i = 0; i < json_object_array_length(devices); i++)
        print_device(json_object_array_get_idx(devices, i));
}

static int list_main(const struct cli_verb *verb, int argc, char **argv)
{
    struct cli_words words = {.verb = verb, .argc = argc, .argv = argv};
    struct vd_context *context;
    struct json_object *document;
    const char *value;
    bool json = false;
    int option;

    while ((option = cli_words_next(&words, &value)) != CLI_WORDS_END) {
        if (option == CLI_WORDS_STOP)
            return words.status;
        json = true;
    }
    if (cli_context_create(0, &context) != CLI_OK)
        return CLI_FAILED;
    document = build(context);
    vd_context_destroy(context);
    if (json)
        puts(json_object_to_json_string_ext(document,
                                            JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
    else
        print_text(document);
    json_object_put(document);
    return cli_finish_output(CLI_OK);
}

const struct cli_verb cli_verb_list = {
    .name = "list",
    .summary = "Lists the devices that can be passed, and the options of simulated ones.",
    .synopsis = "[--json]",
    .options = options,
    .nr_options = sizeof(options) / sizeof(options[0]),
    .run = list_main,
};
