/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * QEMU's command line. What carries a path or another free text is written as JSON, because QEMU's key=value syntax
 * would take a comma in it for a separator.
 */
#include "qemu.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "process.h"

enum { PROBE_MS = 20000, PROBE_TEXT = 65536 };

int qemu_find(const char *option, const char *arch, struct qemu_program *out, char **why)
{
    const char *given = option ? option : getenv("VIADUCT_QEMU");
    char *name;

    *why = NULL;
    *out = (struct qemu_program){.source = option ? "--qemu" : "$VIADUCT_QEMU"};
    if (given && strchr(given, '/')) {
        if (process_is_program(given)) {
            out->path = text_copy(given);
            return 0;
        }
        *why = text_format("%s %s cannot be run: %s", out->source, given, strerror(errno));
        return -ENOENT;
    }
    if (!given || !*given) {
        out->source = "PATH";
        name = text_format("qemu-system-%s", arch);
    } else {
        name = text_copy(given);
    }
    out->path = process_find(name);
    if (!out->path)
        *why = text_format("QEMU is missing: no program '%s' (%s) in the directories of $PATH", name,
                           out->source);
    free(name);
    return out->path ? 0 : -ENOENT;
}

static int probe_version(struct qemu_program *program, char *output, char **why)
{
    char *const argv[] = {program->path, (char *)"--version", NULL};
    int status = process_capture(argv, output, PROBE_TEXT, PROBE_MS);
    const char *at = strstr(output, "version ");

    if (status < 0) {
        *why =
            text_format("QEMU %s (%s) does not run: %s", program->path, program->source, strerror(-status));
        return status;
    }
    if (status > 0 || !at) {
        *why = text_format("%s (%s) is not a working QEMU: --version exits with %d", program->path,
                           program->source, status);
        return -EINVAL;
    }
    at += strlen("version ");
    snprintf(program->version, sizeof(program->version), "%.*s", (int)strcspn(at, " \n("), at);
    return 0;
}

int qemu_probe(struct qemu_program *program, char **why)
{
    char *const argv[] = {program->path, (char *)"-device", (char *)"vfio-user-pci,help", NULL};
    char *output = text_alloc(PROBE_TEXT, 1);
    int err;

    *why = NULL;
    err = probe_version(program, output, why);
    if (!err) {
        int status = process_capture(argv, output, PROBE_TEXT, PROBE_MS);

        if (status != 0 || !strstr(output, "socket")) {
            *why = text_format("QEMU %s (%s), version %s, has no device vfio-user-pci", program->path,
                               program->source, program->version);
            err = -ENOTSUP;
        }
    }
    free(output);
    return err;
}

void qemu_finish(struct qemu_program *program)
{
    free(program->path);
    *program = (struct qemu_program){0};
}

static void set_text(struct json_object *object, const char *key, const char *value)
{
    json_object_object_add(object, key, json_object_new_string(value));
}

/* Puts the object and gives its text in fresh memory. */
static char *json_word(struct json_object *object)
{
    char *word = text_copy(
        json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));

    json_object_put(object);
    return word;
}

static void add_machine(const struct qemu_machine *machine, struct text_list *out)
{
    bool arm = !strcmp(machine->arch, "aarch64"), tcg = !strcmp(machine->accel, "tcg");

    text_list_add(out, "-nodefaults");
    text_list_add(out, "-no-user-config");
    /* gic-version=max: a controller with ITS, which MSI-X beyond a few vectors needs. */
    text_list_pair(out, "-machine",
                   text_format("%s,memory-backend=mem0", arm ? "virt,gic-version=max" : "q35"));
    text_list_pair(out, "-accel", text_copy(tcg ? "tcg,thread=multi" : machine->accel));
    text_list_pair(out, "-cpu", text_copy(tcg ? "max" : "host"));
    text_list_pair(out, "-smp", text_format("%" PRIu64, machine->cpus));
    text_list_pair(out, "-m", text_format("%" PRIu64 "M", machine->memory_mib));
    /* share=on: the device server must see the guest's own memory, not a copy of it. */
#ifdef __linux__
    text_list_pair(
        out, "-object",
        text_format("memory-backend-memfd,id=mem0,size=%" PRIu64 "M,share=on", machine->memory_mib));
#else
    text_list_pair(out, "-object",
                   text_format("memory-backend-shm,id=mem0,size=%" PRIu64 "M,share=on", machine->memory_mib));
#endif
    text_list_pair(out, "-display", text_copy("none"));
    /* signal=on: Ctrl-C on the console stays a signal. */
    text_list_pair(out, "-chardev", text_copy("stdio,id=console,signal=on"));
    text_list_pair(out, "-serial", text_copy("chardev:console"));
}

/* The kernel's console is the terminal unless the user says otherwise. */
static char *kernel_words(const struct qemu_machine *machine)
{
    const char *console = !strcmp(machine->arch, "aarch64") ? "ttyAMA0" : "ttyS0";
    const char *append = machine->append ? machine->append : "";

    if (strstr(append, "console="))
        return text_copy(append);
    return text_format("console=%s%s%s", console, *append ? " " : "", append);
}

static void add_kernel(const struct qemu_machine *machine, struct text_list *out)
{
    text_list_pair(out, "-kernel", text_copy(machine->kernel));
    if (machine->initrd)
        text_list_pair(out, "-initrd", text_copy(machine->initrd));
    text_list_pair(out, "-append", kernel_words(machine));
}

static bool is_qcow2(const char *path)
{
    char magic[4] = {0};
    FILE *file = fopen(path, "rbe");

    if (!file)
        return false;
    if (fread(magic, 1, sizeof(magic), file) != sizeof(magic))
        magic[0] = 0;
    fclose(file);
    return !memcmp(magic, "QFI\xfb", 4);
}

static void add_disk(const char *path, struct text_list *out)
{
    struct json_object *node = json_object_new_object(), *file = json_object_new_object();

    set_text(file, "driver", "file");
    set_text(file, "filename", path);
    set_text(node, "driver", is_qcow2(path) ? "qcow2" : "raw");
    set_text(node, "node-name", "disk0");
    json_object_object_add(node, "file", file);
    text_list_pair(out, "-blockdev", json_word(node));
    text_list_pair(out, "-device", text_copy("virtio-blk-pci,drive=disk0,bootindex=1"));
}

/*
 * A companion's doorbell must not be posted: version 2 promises that the answers are there when the write returns, and not
 * every driver of that version reads a register before it looks at them.
 */
static void add_vfio_user(const char *port, const char *what, const char *bus, const char *path, bool posted,
                          struct text_list *out)
{
    struct json_object *socket = json_object_new_object(), *node = json_object_new_object();
    char id[80];

    set_text(socket, "type", "unix");
    set_text(socket, "path", path);
    set_text(node, "driver", "vfio-user-pci");
    snprintf(id, sizeof(id), "%s-%s", port, what);
    set_text(node, "id", id);
    set_text(node, "bus", bus);
    json_object_object_add(node, "socket", socket);
    if (!posted)
        json_object_object_add(node, "x-no-posted-writes", json_object_new_boolean(true));
    text_list_pair(out, "-device", json_word(node));
}

static void add_device(const struct qemu_device *device, size_t number, struct text_list *out)
{
    /* A port each: hot-plug and function-level reset work as on a real slot. */
    text_list_pair(
        out, "-device",
        text_format("pcie-root-port,id=%s,bus=pcie.0,chassis=%zu,slot=%zu", device->port, number, number));
    add_vfio_user(device->port, "device", device->port, device->socket, true, out);
    /* On the root bus, without a port: a port more would be a bus more, and every device is told its bus. */
    if (device->companion)
        add_vfio_user(device->port, "companion", "pcie.0", device->companion, false, out);
}

void qemu_command(const char *program, const struct qemu_machine *machine, const struct qemu_device *devices,
                  size_t nr_devices, struct text_list *out)
{
    text_list_add(out, program);
    add_machine(machine, out);
    if (machine->kernel)
        add_kernel(machine, out);
    if (machine->disk)
        add_disk(machine->disk, out);
    for (size_t i = 0; i < nr_devices; i++)
        add_device(&devices[i], i + 1, out);
    for (char *const *word = machine->extra; word && *word; word++)
        text_list_add(out, *word);
}
