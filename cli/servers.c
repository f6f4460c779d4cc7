/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asks the running servers of this user. Each has a socket in the runtime directory; what a killed one left is removed.
 */
#include "servers.h"

#include <dirent.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "control.h"
#include "runtime.h"
#include "text.h"

/* Adds the endpoints of the server's document to `endpoints`. */
static int merge(struct json_object *endpoints, const char *text)
{
    struct json_object *document = json_tokener_parse(text), *list, *pid;

    if (!json_object_object_get_ex(document, "endpoints", &list) ||
        !json_object_is_type(list, json_type_array)) {
        json_object_put(document);
        return -EPROTO;
    }
    pid = json_object_object_get(document, "pid");
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct json_object *endpoint = json_object_array_get_idx(list, i);

        json_object_object_add(endpoint, "pid", json_object_get(pid));
        json_object_array_add(endpoints, json_object_get(endpoint));
    }
    json_object_put(document);
    return 0;
}

int servers_ask(struct json_object *endpoints, const char *path)
{
    char *text;
    int err = control_read(path, &text);

    if (!err)
        err = merge(endpoints, text);
    free(text);
    return err;
}

static bool is_control_name(const char *name, long *pid)
{
    char *end;

    *pid = strtol(name, &end, 10);
    return *pid > 0 && !strcmp(end, ".sock");
}

unsigned servers_ask_all(struct json_object *endpoints)
{
    char *directory = runtime_path();
    DIR *dir = opendir(directory);
    struct dirent *entry;
    unsigned answered = 0;

    while (dir && (entry = readdir(dir))) {
        long pid;
        char *path;
        int err;

        if (!is_control_name(entry->d_name, &pid))
            continue;
        path = text_format("%s/%s", directory, entry->d_name);
        err = servers_ask(endpoints, path);
        if (!err)
            answered++;
        else if (!runtime_is_alive(pid))
            unlink(path); /* the socket of a process that was killed */
        else
            cli_warn("no statistics from process %ld (%s): %s", pid, path, strerror(-err));
        free(path);
    }
    if (dir)
        closedir(dir);
    free(directory);
    return answered;
}
