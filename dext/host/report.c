/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Telling what the daemon has; see report.h. The document is built anew for each question and kept by nobody. Asking must
 * not change anything: COMMAND is read from the device, which has no side effects in config space.
 */
#include "report.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "server.h"

/* Building. An addition that fails for want of memory makes `ok` false, and the rest does nothing. */
struct builder {
    bool ok;
};

static void add(struct builder *b, struct json_object *to, const char *key, struct json_object *value)
{
    if (b->ok && value && json_object_object_add(to, key, value) == 0)
        return;
    b->ok = false;
    json_object_put(value);
}

static void add_number(struct builder *b, struct json_object *to, const char *key, uint64_t value)
{
    add(b, to, key, json_object_new_uint64(value));
}

static void add_text(struct builder *b, struct json_object *to, const char *key, const char *value)
{
    add(b, to, key, json_object_new_string(value));
}

static void add_flag(struct builder *b, struct json_object *to, const char *key, bool value)
{
    add(b, to, key, json_object_new_boolean(value));
}

/* An empty object or array below `to`; NULL when there is no memory. */
static struct json_object *add_new(struct builder *b, struct json_object *to, const char *key,
                                   struct json_object *value)
{
    add(b, to, key, value);
    return b->ok ? value : NULL;
}

static void append(struct builder *b, struct json_object *to, struct json_object *value)
{
    if (b->ok && json_object_array_add(to, value) == 0)
        return;
    b->ok = false;
    json_object_put(value);
}

static bool has_claim(const struct dextd_client *client)
{
    struct vd_dext_description description = {0};
    struct vd_dext_call call = {
        .selector = VD_DEXT_DESCRIBE, .bytes_out = &description, .nr_bytes_out = sizeof(description)};

    return vd_dext_call(client->core, &call) == VD_DEXT_SUCCESS &&
           (vd_get32(description.state) & VD_DEXT_STATE_CLAIMED_BY_CALLER);
}

static struct json_object *describe_connection(struct builder *b, const struct dextd_client *client)
{
    struct json_object *object = json_object_new_object();

    if (!object) {
        b->ok = false;
        return NULL;
    }
    add_number(b, object, "number", client->number);
    add_number(b, object, "pid", (uint64_t)client->pid);
    add_flag(b, object, "claim", has_claim(client));
    add_number(b, object, "core_bytes", vd_dext_client_bytes(client->core));
    add_number(b, object, "shares", client->shares.count);
    add_number(b, object, "shared_bytes", client->shares.bytes);
    return object;
}

static const char *state_of(const struct dextd_function *function)
{
    if (function->gone)
        return "removed";
    return function->in_use ? "claimed" : "free";
}

static void add_memory(struct builder *b, struct json_object *to, const struct dextd_function *function)
{
    struct sim_dart *dart = sim_machine_dart(function->sim);
    struct sim_dart_fault last = sim_dart_last_fault(dart);

    add_number(b, to, "bytes", sim_dart_mapped_bytes(dart));
    add_number(b, to, "mappings", sim_dart_mapped_count(dart));
    add_number(b, to, "peak_bytes", function->peak_bytes);
    add_number(b, to, "peak_mappings", function->peak_mappings);
    add_number(b, to, "calls", function->calls);
    add_number(b, to, "faults", sim_dart_faults(dart));
    if (sim_dart_faults(dart))
        add_number(b, to, "last_fault", last.iova);
}

static void add_connections(struct builder *b, struct json_object *to, const struct dextd_server *server,
                            const struct dextd_function *function)
{
    struct json_object *list = add_new(b, to, "connections", json_object_new_array());

    for (const struct dextd_client *c = server->clients; c && b->ok; c = c->next)
        if (c->function == function)
            append(b, list, describe_connection(b, c));
}

static struct json_object *describe_function(struct builder *b, const struct dextd_server *server,
                                             const struct dextd_function *function)
{
    const struct sim_endpoint_info *info = sim_function_info(function->sim_function);
    struct json_object *object = json_object_new_object();
    char address[DEXTD_ADDRESS_SIZE];
    uint8_t command[2];

    if (!object) {
        b->ok = false;
        return NULL;
    }
    dextd_address_print(function->address, address);
    sim_function_config_read(function->sim_function, 4, command, sizeof(command));
    add_text(b, object, "address", address);
    add_text(b, object, "model", info->model);
    add_text(b, object, "state", state_of(function));
    add_number(b, object, "service", function->id);
    add_number(b, object, "clients", function->clients);
    add_flag(b, object, "claimed", function->in_use);
    add_number(b, object, "command", vd_load16(command));
    add_number(b, object, "vectors", function->irq_vectors);
    add_memory(b, object, function);
    add_connections(b, object, server, function);
    return object;
}

bool dextd_report(struct dextd_server *server, struct vd_writer *out)
{
    struct builder b = {true};
    struct json_object *document = json_object_new_object();
    struct json_object *devices = NULL;
    const char *text = NULL;

    if (!document)
        return false;
    add_number(&b, document, "connections", server->nr_clients);
    devices = add_new(&b, document, "devices", json_object_new_array());
    for (const struct dextd_function *f = server->machine.functions; f && b.ok; f = f->next)
        append(&b, devices, describe_function(&b, server, f));
    if (b.ok)
        text = json_object_to_json_string_ext(document, JSON_C_TO_STRING_PLAIN);
    if (text)
        vd_write_bytes(out, text, strlen(text));
    json_object_put(document);
    return text && !out->failed;
}

/* Printing. */

static uint64_t number(struct json_object *object, const char *key)
{
    struct json_object *value;

    return json_object_object_get_ex(object, key, &value) ? json_object_get_uint64(value) : 0;
}

static const char *text(struct json_object *object, const char *key)
{
    struct json_object *value;
    const char *string =
        json_object_object_get_ex(object, key, &value) ? json_object_get_string(value) : NULL;

    return string ? string : "?";
}

static bool flag(struct json_object *object, const char *key)
{
    struct json_object *value;

    return json_object_object_get_ex(object, key, &value) && json_object_get_boolean(value);
}

static void print_connection(struct json_object *connection)
{
    printf("  client %" PRIu64 " (process %" PRIu64 "): %s; %" PRIu64 " bytes of state, %" PRIu64
           " shared files of %" PRIu64 " bytes\n",
           number(connection, "number"), number(connection, "pid"),
           flag(connection, "claim") ? "has the claim" : "looks on", number(connection, "core_bytes"),
           number(connection, "shares"), number(connection, "shared_bytes"));
}

static void print_device(struct json_object *device)
{
    struct json_object *connections = NULL;
    size_t count = json_object_object_get_ex(device, "connections", &connections) &&
                           json_object_is_type(connections, json_type_array)
                       ? json_object_array_length(connections)
                       : 0;

    printf("%s  %s  %s\n", text(device, "address"), text(device, "state"), text(device, "model"));
    printf("  COMMAND 0x%04" PRIx64 ", %" PRIu64 " vectors\n", number(device, "command"),
           number(device, "vectors"));
    printf("  mapped: %" PRIu64 " bytes in %" PRIu64 " regions, at most %" PRIu64 " in %" PRIu64 "\n",
           number(device, "bytes"), number(device, "mappings"), number(device, "peak_bytes"),
           number(device, "peak_mappings"));
    if (number(device, "faults"))
        printf("  refused accesses: %" PRIu64 ", the last at %#" PRIx64 "\n", number(device, "faults"),
               number(device, "last_fault"));
    for (size_t i = 0; i < count; i++)
        print_connection(json_object_array_get_idx(connections, i));
}

bool dextd_report_print(const char *document)
{
    struct json_object *root = json_tokener_parse(document);
    struct json_object *devices = NULL;
    bool good =
        json_object_object_get_ex(root, "devices", &devices) && json_object_is_type(devices, json_type_array);

    for (size_t i = 0; good && i < json_object_array_length(devices); i++)
        print_device(json_object_array_get_idx(devices, i));
    if (good && json_object_array_length(devices) == 0)
        printf("no devices\n");
    json_object_put(root);
    return good;
}
