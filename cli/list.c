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
#include "host_pci.h"

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

static struct json_object *build(void)
{
    struct json_object *document = json_object_new_object(), *simulated = json_object_new_array();
    struct json_object *host = json_object_new_object(), *devices = json_object_new_array();
    const struct vd_device_kind *kind;
    const char *why = NULL;
    bool available;

    for (size_t i = 0; (kind = vd_device_kind(i)); i++)
        json_object_array_add(simulated, describe_kind(kind));
    available = host_pci_list(devices, &why);
    json_object_object_add(host, "available", json_object_new_boolean(available));
    set_text(host, "reason", why);
    json_object_object_add(host, "devices", devices);
    json_object_object_add(document, "simulated", simulated);
    json_object_object_add(document, "host", host);
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

static void print_text(struct json_object *document)
{
    struct json_object *simulated = json_object_object_get(document, "simulated");
    struct json_object *host = json_object_object_get(document, "host");
    struct json_object *devices = json_object_object_get(host, "devices");

    printf("Simulated devices (host=ADDRESS[,key=value]...):\n");
    for (size_t i = 0; i < json_object_array_length(simulated); i++)
        print_kind(json_object_array_get_idx(simulated, i));
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
    struct json_object *document;
    const char *value;
    bool json = false;
    int option;

    while ((option = cli_words_next(&words, &value)) != CLI_WORDS_END) {
        if (option == CLI_WORDS_STOP)
            return words.status;
        json = true;
    }
    document = build();
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
