/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads what programs of macOS print. Their layout is nowhere promised: only what has been seen in the field is relied
 * on, and everything else is "not known".
 */
#include "mac_parse.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

bool mac_is_ours(const char *name)
{
    return strcasestr(name, "viaduct") || strstr(name, "VFIOUserPCIDriver");
}

/* Copies [from, to) without blanks around it; what does not fit is cut. */
static void take(char *out, size_t size, const char *from, const char *to)
{
    while (from < to && strchr(" \t", *from))
        from++;
    while (to > from && strchr(" \t\r", to[-1]))
        to--;
    snprintf(out, size, "%.*s", (int)(to - from), from);
}

/* The last of that character in [from, to), or NULL. */
static const char *find_last(const char *from, const char *to, char wanted)
{
    while (to > from) {
        if (*--to == wanted)
            return to;
    }
    return NULL;
}

static enum mac_extension_state state_of(const char *words)
{
    static const struct {
        const char *words;
        enum mac_extension_state state;
    } known[] = {
        {"activated enabled", MAC_EXTENSION_ENABLED},
        {"activated waiting for user", MAC_EXTENSION_WAITING},
        {"activated disabled", MAC_EXTENSION_DISABLED},
        {"terminated", MAC_EXTENSION_LEAVING}, /* "... waiting to uninstall on reboot" */
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (!strncmp(words, known[i].words, strlen(known[i].words)))
            return known[i].state;
    }
    return MAC_EXTENSION_OTHER;
}

/* "*  *  TEAM  bundle.id (1.0/1)  Name  [activated enabled]", separated by tabs or blanks. */
static bool parse_extension(const char *line, size_t length, struct mac_extension *out)
{
    const char *end = line + length, *open = memchr(line, '(', length), *close, *start, *state, *id_end;
    char name[128];

    *out = (struct mac_extension){.state = MAC_EXTENSION_ABSENT};
    close = open ? memchr(open, ')', (size_t)(end - open)) : NULL;
    state = close ? find_last(close, end, '[') : NULL;
    if (!state || !memchr(state, ']', (size_t)(end - state)))
        return false;
    for (id_end = open; id_end > line && strchr(" \t", id_end[-1]);)
        id_end--;
    for (start = id_end; start > line && !strchr(" \t", start[-1]);)
        start--;
    take(out->id, sizeof(out->id), start, id_end);
    take(out->version, sizeof(out->version), open + 1, close);
    take(name, sizeof(name), close + 1, state);
    take(out->words, sizeof(out->words), state + 1, memchr(state, ']', (size_t)(end - state)));
    out->state = state_of(out->words);
    return mac_is_ours(out->id) || mac_is_ours(name);
}

bool mac_parse_extensions(const char *text, struct mac_extension *out)
{
    bool leaving = false;

    *out = (struct mac_extension){.state = MAC_EXTENSION_ABSENT};
    if (!strstr(text, "extension(s)"))
        return false;
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        struct mac_extension one;

        if (!parse_extension(line, strcspn(line, "\n"), &one))
            continue;
        leaving = leaving || one.state == MAC_EXTENSION_LEAVING;
        if (one.state < out->state)
            *out = one;
    }
    out->leftover = leaving && out->state != MAC_EXTENSION_LEAVING;
    return true;
}

/* What the line of `text` says that has `start` in it. */
static enum mac_switch switch_after(const char *text, const char *start)
{
    const char *at = strcasestr(text, start);
    enum mac_switch found = MAC_UNKNOWN;
    char *line;

    if (!at)
        return MAC_UNKNOWN;
    at += strlen(start);
    line = text_format("%.*s ", (int)strcspn(at, "\r\n"), at);
    if (strcasestr(line, "custom"))
        found = MAC_CUSTOM;
    else if (strcasestr(line, "enabled") || strcasestr(line, " on ") || strcasestr(line, " on."))
        found = MAC_ON;
    else if (strcasestr(line, "disabled") || strcasestr(line, " off ") || strcasestr(line, " off."))
        found = MAC_OFF;
    free(line);
    return found;
}

enum mac_switch mac_parse_developer(const char *text, bool *refused)
{
    *refused = strstr(text, "if System Integrity Protection is enabled") != NULL;
    return *refused ? MAC_UNKNOWN : switch_after(text, "developer mode");
}

enum mac_switch mac_parse_sip(const char *text)
{
    return switch_after(text, "System Integrity Protection status:");
}

bool mac_parse_version(const char *text, char *version, unsigned size, unsigned *major)
{
    static const char key[] = "ProductVersion:";
    const char *at = strstr(text, key);
    size_t length;

    if (!at)
        return false;
    at += strlen(key);
    at += strspn(at, " \t");
    length = strspn(at, "0123456789.");
    *major = (unsigned)strtoul(at, NULL, 10);
    snprintf(version, size, "%.*s", (int)length, at);
    return length > 0;
}

/* Does [from, to) have `text`? */
static bool within(const char *from, const char *to, const char *text)
{
    const char *at = strstr(from, text);

    return at && at + strlen(text) <= to;
}

/* Does [from, to) have the line "<what> <value>", blanks around it aside? */
static bool has_line(const char *from, const char *to, const char *what, const char *value)
{
    char *wanted = text_format("%s %s", what, value), line[512];
    bool found = false;

    while (from < to && !found) {
        const char *end = from + strcspn(from, "\n");

        take(line, sizeof(line), from, end);
        found = !strcmp(line, wanted);
        from = *end ? end + 1 : end;
    }
    free(wanted);
    return found;
}

/* The text between a key and the next one; false when the key is not there. */
static bool find_key(const char *text, const char *before, const char *key, const char *after,
                     const char **from, const char **to)
{
    char *wanted = text_format("%s%s%s", before, key, after);
    const char *at = strstr(text, wanted), *next;

    free(wanted);
    if (!at)
        return false;
    *from = at + strlen(before) + strlen(key);
    next = strstr(*from, before);
    *to = next ? next : *from + strlen(*from);
    return true;
}

enum mac_right mac_parse_right(const char *text, const char *key, const char *value)
{
    const char *from, *to;
    char *element;
    bool held;

    if (find_key(text, "[Key] ", key, "\n", &from, &to))
        return !value || has_line(from, to, "[Bool]", "true") || has_line(from, to, "[String]", value)
                   ? MAC_RIGHT_HELD
                   : MAC_RIGHT_OTHERS;
    if (!find_key(text, "<key>", key, "</key>", &from, &to))
        return MAC_RIGHT_ABSENT;
    element = text_format("<string>%s</string>", value ? value : "");
    held = !value || within(from, to, "<true/>") || within(from, to, element);
    free(element);
    return held ? MAC_RIGHT_HELD : MAC_RIGHT_OTHERS;
}

/* A string of an object, or NULL. */
static const char *get(struct json_object *from, const char *key)
{
    struct json_object *value;

    if (!json_object_object_get_ex(from, key, &value) || !json_object_is_type(value, json_type_string))
        return NULL;
    return json_object_get_string(value);
}

/* "Up to 40 Gb/s", "80 Gb/s" */
static unsigned speed_of(const char *text)
{
    const char *digits = text ? text + strcspn(text, "0123456789") : "";

    return (unsigned)strtoul(digits, NULL, 10);
}

static const char *mode_name(const char *mode)
{
    static const char *const names[][2] = {
        {"thunderbolt_one", "Thunderbolt"},
        {"thunderbolt_two", "Thunderbolt 2"},
        {"thunderbolt_three", "Thunderbolt 3"},
        {"usb_four", "USB4"},
        {"usb_four_v2", "USB4 v2"},
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!strcmp(mode, names[i][0]))
            return names[i][1];
    }
    return mode;
}

static void add_device(struct json_object *device, char **out)
{
    struct json_object *upstream = json_object_object_get(device, "receptacle_upstream_ambiguous_tag");
    const char *name = get(device, "_name"), *mode = get(device, "mode_key");
    const char *speed = upstream ? get(upstream, "current_speed_key") : NULL;
    char *text = text_format("%s%s%s%s%s%s%s", *out ? ", " : "", name ? name : "a device without a name",
                             speed || mode ? " (" : "", speed ? speed : "", speed && mode ? ", " : "",
                             mode ? mode_name(mode) : "", speed || mode ? ")" : "");

    text_append(out, text);
    free(text);
}

enum { MAX_DEPTH = 8 }; /* of a chain; the standard allows six devices */

static void add_devices(struct json_object *of, char **out, unsigned depth)
{
    struct json_object *items;

    if (depth == MAX_DEPTH || !json_object_object_get_ex(of, "_items", &items) ||
        !json_object_is_type(items, json_type_array))
        return;
    for (size_t i = 0; i < json_object_array_length(items); i++) {
        struct json_object *device = json_object_array_get_idx(items, i);

        if (!json_object_is_type(device, json_type_object))
            continue;
        add_device(device, out);
        add_devices(device, out, depth + 1);
    }
}

static void add_port(struct json_object *receptacle, struct mac_thunderbolt *out)
{
    const char *text = get(receptacle, "current_speed_key");
    unsigned speed = speed_of(text);

    out->ports++;
    if (speed < out->speed || !text)
        return;
    out->is_limit = (speed == out->speed && out->is_limit) || !strncmp(text, "Up to", 5);
    out->speed = speed;
}

static void add_bus(struct json_object *bus, struct mac_thunderbolt *out)
{
    struct json_object_iterator at, end;

    if (!json_object_is_type(bus, json_type_object))
        return;
    at = json_object_iter_begin(bus);
    end = json_object_iter_end(bus);
    for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at)) {
        struct json_object *value = json_object_iter_peek_value(&at);

        if (!strncmp(json_object_iter_peek_name(&at), "receptacle_", 11) &&
            json_object_is_type(value, json_type_object))
            add_port(value, out);
    }
    add_devices(bus, &out->devices, 0);
}

bool mac_parse_thunderbolt(const char *text, struct mac_thunderbolt *out)
{
    struct json_object *document, *buses;
    bool known;

    *out = (struct mac_thunderbolt){0};
    text += strcspn(text, "{"); /* complaints may come first */
    document = json_tokener_parse(text);
    known = json_object_object_get_ex(document, "SPThunderboltDataType", &buses) &&
            json_object_is_type(buses, json_type_array);
    for (size_t i = 0; known && i < json_object_array_length(buses); i++)
        add_bus(json_object_array_get_idx(buses, i), out);
    json_object_put(document);
    return known;
}

const char *mac_thunderbolt_name(unsigned speed)
{
    return speed >= 80   ? "Thunderbolt 5"
           : speed >= 40 ? "Thunderbolt 3 or 4"
           : speed >= 20 ? "Thunderbolt 2"
                         : "Thunderbolt";
}
