/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `viaduct run`: serves devices from this process and runs a virtual machine that uses them. Whatever ends first
 * (QEMU, a device, the user's patience), everything else is ended and removed; of what a killed process leaves behind,
 * the kernel ends QEMU (process.c) and the next run removes the sockets (runtime.c).
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "accel.h"
#include "cli.h"
#include "control.h"
#include "endpoint.h"
#include "paravirt.h"
#include "process.h"
#include "qemu.h"
#include "runtime.h"
#include "signals.h"
#include "text.h"

enum {
    OPTION_VFIO,
    OPTION_IOMMU,
    OPTION_ARCH,
    OPTION_MEMORY,
    OPTION_CPUS,
    OPTION_KERNEL,
    OPTION_INITRD,
    OPTION_APPEND,
    OPTION_DISK,
    OPTION_ACCEL,
    OPTION_QEMU,
    OPTION_DRY_RUN,
    OPTION_VERBOSE
};

static const struct cli_option options[] = {
    [OPTION_VFIO] = {"vfio", "host=ADDRESS[,key=value]...",
                     "a device to pass; keys port, iommu, dma, dma-bytes, dma-mappings, guest, rom, dextd; "
                     "may be repeated"},
    [OPTION_IOMMU] = {"iommu", "id=ID", "an IOMMU that devices may share by iommu=ID; may be repeated"},
    [OPTION_ARCH] = {"arch", "ARCH", "the guest's processor: x86_64 or aarch64; default: this host's"},
    [OPTION_MEMORY] = {"memory", "SIZE", "guest memory in MiB, or with a suffix M, G or T; default 1G"},
    [OPTION_CPUS] = {"cpus", "N", "guest processors, 1 to 255; default 2"},
    [OPTION_KERNEL] = {"kernel", "FILE", "boot this kernel"},
    [OPTION_INITRD] = {"initrd", "FILE", "its initial file system"},
    [OPTION_APPEND] = {"append", "WORDS", "its command line; console= is added when it is missing"},
    [OPTION_DISK] = {"disk", "IMAGE", "boot this disk, raw or qcow2"},
    [OPTION_ACCEL] = {"accel", "HOW", "auto, kvm, hvf or tcg; default auto"},
    [OPTION_QEMU] = {"qemu", "PATH", "the QEMU to use; default $VIADUCT_QEMU, else the one in PATH"},
    [OPTION_DRY_RUN] = {"dry-run", NULL, "check everything, print QEMU's command line and start nothing"},
    [OPTION_VERBOSE] = {"verbose", NULL, "log what happens; twice: everything"},
};

enum {
    LOOK_MS = 500,       /* between looks at refusals */
    QUIT_MS = 5000,      /* that QEMU has to end on SIGTERM */
    MIN_MEMORY_MIB = 16, /* below, no firmware starts */
    MAX_CPUS = 255,
};

struct run {
    struct vfio_list devices;
    struct text_list iommus;
    struct qemu_machine machine;
    const char *accel, *qemu_option;
    bool dry_run;
    unsigned verbosity;

    struct vd_context *context;
    struct endpoints endpoints;
    struct control control;
    struct qemu_program qemu;
    char *directory; /* of the sockets; NULL: not made */
    pid_t child;     /* QEMU; 0: not running */
    bool has_terminal;
    struct termios terminal;
};

static int parse_iommu(struct run *run, const char *value)
{
    const char *id = !strncmp(value, "id=", 3) ? value + 3 : NULL;

    if (!id || !vfio_is_id(id))
        return cli_usage(
            "--iommu %s: not id=<id>; a letter, then at most 63 letters, digits, '-', '.' and '_' are "
            "allowed, for example --iommu id=iommu0",
            value);
    for (size_t i = 0; i < run->iommus.count; i++) {
        if (!strcmp(run->iommus.words[i], id))
            return cli_usage("--iommu %s: id %s is given twice; give every --iommu an id of its own", value,
                             id);
    }
    text_list_add(&run->iommus, id);
    return CLI_OK;
}

static int parse_memory(struct run *run, const char *value)
{
    if (text_mebibytes(value, &run->machine.memory_mib) && run->machine.memory_mib >= MIN_MEMORY_MIB)
        return CLI_OK;
    return cli_usage(
        "--memory %s: not a size; a whole number of MiB, or one with M, G or T, from %dM on, is allowed",
        value, MIN_MEMORY_MIB);
}

static int parse_cpus(struct run *run, const char *value)
{
    if (text_number(value, 1, MAX_CPUS, &run->machine.cpus))
        return CLI_OK;
    return cli_usage("--cpus %s: not a number of processors; 1 to %d are allowed", value, MAX_CPUS);
}

static int parse_choice(const char *option, const char *value, const char *const *choices, const char **out)
{
    char *allowed = NULL;

    for (const char *const *choice = choices; *choice; choice++) {
        if (!strcmp(*choice, value)) {
            *out = *choice;
            free(allowed);
            return CLI_OK;
        }
        text_append(&allowed, allowed ? ", " : "");
        text_append(&allowed, *choice);
    }
    cli_usage("--%s %s: unknown; allowed are %s", option, value, allowed);
    free(allowed);
    return CLI_USAGE;
}

static int parse_one(struct run *run, int option, const char *value)
{
    static const char *const archs[] = {"x86_64", "aarch64", NULL};
    static const char *const accels[] = {"auto", "kvm", "hvf", "tcg", NULL};
    const char **texts[] = {
        [OPTION_KERNEL] = &run->machine.kernel, [OPTION_INITRD] = &run->machine.initrd,
        [OPTION_APPEND] = &run->machine.append, [OPTION_DISK] = &run->machine.disk,
        [OPTION_QEMU] = &run->qemu_option,
    };

    switch (option) {
    case OPTION_VFIO:
        return vfio_list_add(&run->devices, value, VFIO_COMMON | 1u << VFIO_PORT | 1u << VFIO_IOMMU);
    case OPTION_IOMMU:
        return parse_iommu(run, value);
    case OPTION_ARCH:
        return parse_choice("arch", value, archs, &run->machine.arch);
    case OPTION_MEMORY:
        return parse_memory(run, value);
    case OPTION_CPUS:
        return parse_cpus(run, value);
    case OPTION_ACCEL:
        return parse_choice("accel", value, accels, &run->accel);
    case OPTION_DRY_RUN:
        run->dry_run = true;
        return CLI_OK;
    case OPTION_VERBOSE:
        run->verbosity++;
        return CLI_OK;
    default:
        *texts[option] = value;
        return CLI_OK;
    }
}

static bool has_iommu(const struct run *run, const char *id)
{
    for (size_t i = 0; i < run->iommus.count; i++) {
        if (!strcmp(run->iommus.words[i], id))
            return true;
    }
    return false;
}

static bool has_port(const struct run *run, const char *port, size_t before)
{
    for (size_t i = 0; i < before; i++) {
        if (run->devices.items[i].port && !strcmp(run->devices.items[i].port, port))
            return true;
    }
    return false;
}

/* Names the ports that the user did not name. */
static void name_ports(struct run *run)
{
    for (size_t i = 0; i < run->devices.count; i++) {
        for (unsigned number = 0; !run->devices.items[i].port; number++) {
            char *port = text_format("port%u", number);

            if (has_port(run, port, run->devices.count))
                free(port);
            else
                run->devices.items[i].port = port;
        }
    }
}

static int check_devices(struct run *run)
{
    for (size_t i = 0; i < run->devices.count; i++) {
        const struct vfio_option *device = &run->devices.items[i];

        if (device->iommu && !has_iommu(run, device->iommu))
            return cli_usage("--vfio %s: there is no --iommu id=%s; add it, or leave iommu= out",
                             device->text, device->iommu);
        if (device->port && has_port(run, device->port, i))
            return cli_usage("--vfio %s: port=%s is given to two devices; each needs a name of its own",
                             device->text, device->port);
    }
    if (run->devices.count == 0)
        return cli_usage("'viaduct run' needs a device: --vfio host=<address> ('viaduct list' shows them)");
    name_ports(run);
    paravirt_place(&run->devices);
    return CLI_OK;
}

static int check_boot(const struct qemu_machine *machine)
{
    if (machine->kernel && machine->disk)
        return cli_usage(
            "--disk %s: not allowed with --kernel; boot either, and add further disks after '--'",
            machine->disk);
    if (machine->initrd && !machine->kernel)
        return cli_usage("--initrd %s: needs --kernel FILE", machine->initrd);
    if (machine->append && !machine->kernel)
        return cli_usage("--append '%s': needs --kernel FILE", machine->append);
    return CLI_OK;
}

static int parse(struct run *run, struct cli_words *words)
{
    const char *value;
    int option, status = CLI_OK;

    while (status == CLI_OK && (option = cli_words_next(words, &value)) != CLI_WORDS_END) {
        if (option == CLI_WORDS_STOP)
            return words->status;
        status = parse_one(run, option, value);
    }
    run->machine.extra = words->argv + words->at;
    if (status == CLI_OK)
        status = check_devices(run);
    return status == CLI_OK ? check_boot(&run->machine) : status;
}

static int check_file(const char *option, const char *path, int mode)
{
    struct stat status;

    if (!path)
        return CLI_OK;
    if (stat(path, &status) || access(path, mode))
        return cli_failed("--%s %s: %s; give the path of a file that you may %s", option, path,
                          strerror(errno), mode & W_OK ? "read and write" : "read");
    if (S_ISDIR(status.st_mode))
        return cli_failed("--%s %s: a directory; give the path of a file", option, path);
    return CLI_OK;
}

static int check_files(const struct qemu_machine *machine)
{
    int status = check_file("kernel", machine->kernel, R_OK);

    if (status == CLI_OK)
        status = check_file("initrd", machine->initrd, R_OK);
    if (status == CLI_OK)
        status = check_file("disk", machine->disk, R_OK | W_OK);
    return status;
}

static int pick_accel(struct run *run)
{
    char why[256];

    run->machine.accel = accel_pick(run->accel, run->machine.arch, why, sizeof(why));
    if (!run->machine.accel)
        return cli_failed("--accel %s: %s; use --accel tcg, or auto to take what works", run->accel, why);
    if (!strcmp(run->accel, "auto"))
        cli_note("acceleration: %s (%s)", run->machine.accel, why);
    return CLI_OK;
}

static int find_qemu(struct run *run)
{
    char *why = NULL;
    int err = qemu_find(run->qemu_option, run->machine.arch, &run->qemu, &why);

    if (run->dry_run && err) {
        cli_warn("%s; " QEMU_REMEDY, why);
        run->qemu.path = text_format("qemu-system-%s", run->machine.arch);
        err = 0;
    } else if (!err && !run->dry_run) {
        err = qemu_probe(&run->qemu, &why);
    }
    if (err)
        cli_failed("%s; " QEMU_REMEDY, why);
    free(why);
    return err ? CLI_FAILED : CLI_OK;
}

static int open_devices(struct run *run)
{
    int status = cli_context_create(run->verbosity, &run->context);

    if (status == CLI_OK)
        status = endpoints_guard_memory();
    if (status == CLI_OK)
        status = endpoints_open(&run->endpoints, run->context, &run->devices);
    if (status == CLI_OK)
        status = paravirt_check(&run->endpoints);
    if (status == CLI_OK)
        status = endpoints_check(&run->endpoints);
    if (status == CLI_OK)
        paravirt_explain(&run->endpoints);
    return status;
}

/* Sockets are numbered, not named after ports: their paths must stay short. */
static int name_sockets(struct run *run, const char *directory)
{
    for (size_t i = 0; i < run->endpoints.count; i++) {
        char *path = text_format("%s/%zu.sock", directory, i);

        run->endpoints.items[i].socket = path;
        if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
            return cli_failed(
                "the socket's path %s has %zu bytes, and %zu are allowed; set XDG_RUNTIME_DIR to a "
                "directory with a shorter path",
                path, strlen(path), sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
    }
    return CLI_OK;
}

static void build_command(const struct run *run, struct text_list *command)
{
    struct qemu_device *devices = text_alloc(run->devices.count, sizeof(*devices)), *device = devices;

    for (size_t i = 0; i < run->endpoints.count; i++) {
        const struct endpoint *endpoint = &run->endpoints.items[i];

        if (endpoint->manages)
            device[-1].companion = endpoint->socket;
        else
            *device++ = (struct qemu_device){.port = endpoint->option->port, .socket = endpoint->socket};
    }
    qemu_command(run->qemu.path, &run->machine, devices, run->devices.count, command);
    free(devices);
}

static int print_command(struct run *run)
{
    char *base = runtime_path(), *directory = text_format("%s/run-%ld", base, (long)getpid());
    struct text_list command = {0};
    int status = name_sockets(run, directory);

    if (status == CLI_OK) {
        build_command(run, &command);
        for (size_t i = 0; i < command.count; i++) {
            char *quoted = text_shell_quote(command.words[i]);

            printf("%s%s", i ? " " : "", quoted);
            free(quoted);
        }
        putchar('\n');
        status = cli_finish_output(CLI_OK);
    }
    text_list_finish(&command);
    free(directory);
    free(base);
    return status;
}

static int make_directory(struct run *run)
{
    char *base = runtime_path(), *why = NULL;

    if (runtime_prepare(base, &why) == 0)
        run->directory = runtime_make_private(base, &why);
    if (!run->directory)
        cli_failed("%s", why);
    free(why);
    free(base);
    return run->directory ? CLI_OK : CLI_FAILED;
}

static int start_qemu(struct run *run)
{
    struct text_list command = {0};
    pid_t child;

    run->has_terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &run->terminal) == 0;
    build_command(run, &command);
    child = process_start(command.words);
    text_list_finish(&command);
    if (child < 0)
        return cli_failed("cannot start QEMU %s: %s", run->qemu.path, strerror(-child));
    run->child = child;
    return CLI_OK;
}

/* True, once, when QEMU has ended; *wait_status says how. */
static bool qemu_ended(struct run *run, int *wait_status)
{
    if (run->child == 0 || waitpid(run->child, wait_status, WNOHANG) != run->child)
        return false;
    run->child = 0;
    return true;
}

static int judge_qemu(const struct run *run, int wait_status)
{
    int status = process_status(wait_status);

    if (status == 0)
        return CLI_OK;
    /* What the device refused is the cause; QEMU only saw a closed socket or an errno. */
    if (endpoints_refusal(&run->endpoints))
        return CLI_FAILED;
    if (status > 128)
        return cli_failed("QEMU was ended by signal %d (%s)", status - 128, strsignal(status - 128));
    return cli_failed("QEMU exited with status %d; its own messages are above", status);
}

/* Ends QEMU: asks, and after QUIT_MS or a further request of the user, insists. */
static int stop_qemu(struct run *run)
{
    struct pollfd signals = {.fd = signals_fd(), .events = POLLIN};
    int64_t end = process_now_ms() + QUIT_MS;
    int wait_status = 0, stops = signals_stops();

    if (run->child == 0)
        return CLI_OK;
    kill(run->child, SIGTERM);
    for (;;) {
        int64_t left = end - process_now_ms();

        signals_drain();
        if (qemu_ended(run, &wait_status))
            return judge_qemu(run, wait_status);
        if (left <= 0 || signals_stops() > stops)
            break;
        poll(&signals, 1, (int)left);
    }
    kill(run->child, SIGKILL);
    while (waitpid(run->child, NULL, 0) < 0 && errno == EINTR)
        continue;
    run->child = 0;
    return cli_failed("QEMU did not end when it was asked to, and was killed");
}

static int supervise(struct run *run)
{
    struct pollfd fds[] = {
        {.fd = signals_fd(), .events = POLLIN},
        {.fd = run->endpoints.ended.read_fd, .events = POLLIN},
        {.fd = run->control.fd, .events = POLLIN}, /* -1 is skipped */
    };
    int wait_status = 0;

    for (;;) {
        if (poll(fds, 3, LOOK_MS) < 0 && errno != EINTR)
            return cli_failed("cannot wait for events: %s", strerror(errno));
        signals_drain();
        if (qemu_ended(run, &wait_status))
            return judge_qemu(run, wait_status);
        if (signals_stops())
            return stop_qemu(run);
        control_answer(&run->control, &run->endpoints);
        if (endpoints_health(&run->endpoints) || endpoints_refusal(&run->endpoints))
            return CLI_FAILED;
    }
}

static int serve_and_run(struct run *run)
{
    int status = make_directory(run);

    if (status == CLI_OK)
        status = name_sockets(run, run->directory);
    if (status == CLI_OK)
        status = endpoints_listen(&run->endpoints);
    if (status == CLI_OK)
        status = endpoints_start(&run->endpoints);
    if (status == CLI_OK) {
        control_open(&run->control);
        status = start_qemu(run);
    }
    if (status == CLI_OK) {
        status = supervise(run);
        paravirt_review(&run->endpoints);
    }
    return status;
}

static void clean_up(struct run *run)
{
    if (run->child)
        stop_qemu(run);
    /* A QEMU that was killed leaves the terminal raw. In the background we may not touch it. */
    if (run->has_terminal && tcgetpgrp(STDIN_FILENO) == getpgrp())
        tcsetattr(STDIN_FILENO, TCSANOW, &run->terminal);
    control_close(&run->control);
    endpoints_close(&run->endpoints);
    vd_context_destroy(run->context);
    runtime_remove_private(run->directory);
    free(run->directory);
    qemu_finish(&run->qemu);
}

static int run_all(struct run *run)
{
    int status = check_files(&run->machine);

    if (status == CLI_OK)
        status = signals_init();
    if (status == CLI_OK)
        status = open_devices(run);
    if (status == CLI_OK)
        status = pick_accel(run);
    if (status == CLI_OK)
        status = find_qemu(run);
    if (status == CLI_OK && !signals_stops())
        status = run->dry_run ? print_command(run) : serve_and_run(run);
    clean_up(run);
    return status;
}

static int run_main(const struct cli_verb *verb, int argc, char **argv)
{
    struct cli_words words = {.verb = verb, .argc = argc, .argv = argv};
    struct run run = {
        .machine = {.arch = strcmp(accel_host_arch(), "aarch64") ? "x86_64" : "aarch64",
                    .memory_mib = 1024,
                    .cpus = 2},
        .accel = "auto",
        .control = {.fd = -1},
    };
    int status = parse(&run, &words);

    if (status == CLI_OK && !words.stopped)
        status = run_all(&run);
    vfio_list_finish(&run.devices);
    text_list_finish(&run.iommus);
    return status;
}

const struct cli_verb cli_verb_run = {
    .name = "run",
    .summary = "Runs a virtual machine with devices passed to it; the console is the terminal.",
    .synopsis = "--vfio host=ADDRESS[,key=value]... [options] [-- QEMU arguments]",
    .options = options,
    .nr_options = sizeof(options) / sizeof(options[0]),
    .takes_rest = true,
    .run = run_main,
};
