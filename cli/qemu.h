/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * QEMU: where it is, whether it can attach to us, and the command line that does.
 */
#ifndef CLI_QEMU_H
#define CLI_QEMU_H

#include "text.h"
#include "vfio_option.h"

/* A QEMU for one guest architecture. */
struct qemu_program {
    char *path;
    const char *source; /* "--qemu", "$VIADUCT_QEMU" or "PATH" */
    char version[48];   /* "11.1.3", or "" when it did not say */
};

/* How to mend a QEMU that is missing or unfit, for messages. */
#define QEMU_REMEDY                                                                                          \
    "QEMU 10.1 or later is needed: tools/qemu in Viaduct's source fetches one and prints its path, which "   \
    "--qemu or $VIADUCT_QEMU takes"

/*
 * Finds the program: `option` (may be NULL), else $VIADUCT_QEMU, else qemu-system-<arch> in PATH. 0, or -errno with
 * *why in fresh memory. Finish in any case.
 */
int qemu_find(const char *option, const char *arch, struct qemu_program *out, char **why);
/* Asks it for its version and for vfio-user-pci, which takes some tenths of a second. Results likewise. */
int qemu_probe(struct qemu_program *program, char **why);
void qemu_finish(struct qemu_program *program);

/* The virtual machine; strings are the caller's. */
struct qemu_machine {
    const char *arch;
    const char *accel;
    uint64_t memory_mib;
    uint64_t cpus;
    const char *kernel, *initrd, *append; /* NULL: none */
    const char *disk;                     /* NULL: none */
    char *const *extra;                   /* NULL-terminated words to add */
};

/* A device as the command line needs it. */
struct qemu_device {
    const char *port;
    const char *socket;
    const char *companion; /* the socket of its companion; NULL: it has none */
};

/* Appends the whole command line, the program first. */
void qemu_command(const char *program, const struct qemu_machine *machine, const struct qemu_device *devices,
                  size_t nr_devices, struct text_list *out);

#endif
