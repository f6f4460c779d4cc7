/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `viaduct doctor`: looks at what Viaduct needs on this host, then at its devices, and says how to mend what is
 * missing. Of the host, only what `viaduct run` cannot do without can fail, and what somebody has installed that does
 * not work.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "accel.h"
#include "cli.h"
#include "finding.h"
#include "found.h"
#include "mac.h"
#include "pci_names.h"
#include "probe.h"
#include "qemu.h"
#include "runtime.h"
#include "text.h"

enum { OPTION_ARCH, OPTION_DEVICE, OPTION_JSON, OPTION_QEMU };

static const struct cli_option options[] = {
    [OPTION_ARCH] = {"arch", "ARCH", "the guest's processor: x86_64 or aarch64; default: this host's"},
    [OPTION_DEVICE] = {"device", "ADDRESS",
                       "examine this device; may be repeated; default: those of 'viaduct list'"},
    [OPTION_JSON] = {"json", NULL, "print JSON"},
    [OPTION_QEMU] = {"qemu", "PATH", "the QEMU to look at; default as for 'viaduct run'"},
};

struct question {
    const char *arch;
    const char *qemu;
};

/* A device to examine. */
struct patient {
    const char *address;
    const struct vd_device_found *found; /* NULL: not listed */
    struct vd_device *device;            /* NULL: not open */
    struct vd_error error;               /* why not */
};

struct doctor {
    struct question question;
    struct text_list named; /* by --device */
    struct vd_context *context;
    struct found found;
    struct patient *patients;
    size_t nr_patients;
    bool json;
};

static void check_system(const struct question *question, struct findings *findings)
{
    struct utsname host = {0};

    uname(&host);
    finding_add(findings, "system", FINDING_OK,
                text_format("%s %s on %s", host.sysname, host.release, host.machine), NULL);
}

static void check_qemu(const struct question *question, struct findings *findings)
{
    struct qemu_program program;
    char *why;
    int err = qemu_find(question->qemu, question->arch, &program, &why);

    if (!err)
        err = qemu_probe(&program, &why);
    if (err)
        finding_add(findings, "qemu", FINDING_FAIL, text_copy(why), QEMU_REMEDY);
    else
        finding_add(findings, "qemu", FINDING_OK,
                    text_format("version %s with vfio-user-pci: %s (%s)", program.version, program.path,
                                program.source),
                    NULL);
    free(why);
    qemu_finish(&program);
}

static void check_acceleration(const struct question *question, struct findings *findings)
{
    char why[256];
    const char *name = accel_pick("auto", question->arch, why, sizeof(why));

    if (strcmp(name, "tcg") != 0)
        finding_add(findings, "acceleration", FINDING_OK,
                    text_format("%s for %s guests: %s", name, question->arch, why), NULL);
    else
        finding_add(
            findings, "acceleration", FINDING_WARN,
            text_format("%s guests run under TCG, which works but is slow: %s", question->arch, why),
            "load the module kvm_intel or kvm_amd, allow nested virtualisation on an outer host, and join "
            "the group "
            "that owns /dev/kvm");
}

static void check_memory(const struct question *question, struct findings *findings)
{
#ifdef __linux__
    int fd = memfd_create("viaduct-doctor", MFD_CLOEXEC);

    if (fd < 0) {
        finding_add(
            findings, "memory", FINDING_FAIL,
            text_format("guest memory cannot be shared: memfd_create: %s", strerror(errno)),
            "use Linux 3.17 or later with CONFIG_MEMFD_CREATE, and a container that allows memfd_create");
        return;
    }
    close(fd);
    finding_add(findings, "memory", FINDING_OK, text_copy("guest memory can be shared (memfd)"), NULL);
#else
    finding_add(findings, "memory", FINDING_OK,
                text_copy("guest memory is shared through POSIX shared memory"), NULL);
#endif
}

static void check_runtime(const struct question *question, struct findings *findings)
{
    char *path = runtime_path(), *why = NULL;

    if (runtime_prepare(path, &why))
        finding_add(findings, "runtime", FINDING_FAIL, text_copy(why),
                    "set XDG_RUNTIME_DIR to a directory of your own");
    else
        finding_add(findings, "runtime", FINDING_OK, text_format("sockets go to %s", path), NULL);
    free(why);
    free(path);
}

static void check_memlock(const struct question *question, struct findings *findings)
{
    struct rlimit limit = {0};
    char bytes[32];

    if (getrlimit(RLIMIT_MEMLOCK, &limit) || limit.rlim_cur == RLIM_INFINITY)
        finding_add(findings, "memlock", FINDING_OK, text_copy("no limit on locked memory"), NULL);
    else
        finding_add(
            findings, "memlock", geteuid() == 0 ? FINDING_OK : FINDING_WARN,
            text_format(
                "%s may be locked; enough for simulated devices, and real ones lock all guest memory%s",
                text_bytes(limit.rlim_cur, bytes, sizeof(bytes)),
                geteuid() == 0 ? " (root is not limited)" : ""),
            "raise 'memlock' in /etc/security/limits.conf or LimitMEMLOCK= of the service before passing "
            "real "
            "devices");
}

#ifdef __linux__
static unsigned count_entries(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    unsigned count = 0;

    while (dir && (entry = readdir(dir)))
        count += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return count;
}

static void check_vfio(const struct question *question, struct findings *findings)
{
    unsigned groups = count_entries("/sys/kernel/iommu_groups");
    bool container = access("/dev/vfio/vfio", F_OK) == 0, iommufd = access("/dev/iommu", F_OK) == 0;

    finding_add(
        findings, "vfio", groups && (container || iommufd) ? FINDING_OK : FINDING_WARN,
        text_format("/dev/vfio/vfio %s, /dev/iommu %s, %u IOMMU groups; only real devices will need them",
                    container ? "present" : "missing", iommufd ? "present" : "missing", groups),
        groups ? "load the module vfio-pci (modprobe vfio-pci)"
               : "switch the IOMMU on in the firmware (VT-d, AMD-Vi or SMMU), boot with intel_iommu=on on "
                 "Intel, and "
                 "load the module vfio-pci");
}
#elif defined(__APPLE__)
static void check_vfio(const struct question *question, struct findings *findings)
{
    finding_add(findings, "vfio", FINDING_OK, text_copy("not on this system; an extension takes its place"),
                NULL);
}
#else
static void check_vfio(const struct question *question, struct findings *findings)
{
    finding_add(findings, "vfio", FINDING_WARN,
                text_copy("there is no VFIO on this system; only simulated devices can be passed"), NULL);
}
#endif

static void check_names(const struct question *question, struct findings *findings)
{
    const char *where;
    bool found = pci_names_known(&where);

    finding_add(findings, "pci names", found ? FINDING_OK : FINDING_WARN,
                found ? text_format("device names come from %s", where)
                      : text_format("%s: 'viaduct list' shows numbers instead of names", where),
                "install the package pci.ids");
}

static void check_json(const struct question *question, struct findings *findings)
{
    finding_add(findings, "json", FINDING_OK, text_format("json-c %s", json_c_version()), NULL);
}

static void (*const checks[])(const struct question *question, struct findings *findings) = {
    check_system,  check_qemu, check_acceleration, check_memory, check_runtime,
    check_memlock, check_vfio, check_names,        check_json,
};

static const struct vd_device_found *find_listed(const struct found *found, const char *address)
{
    size_t length = strcspn(address, ",");

    for (size_t i = 0; i < found->count; i++) {
        if (strlen(found->devices[i].address) == length &&
            !strncmp(found->devices[i].address, address, length))
            return &found->devices[i];
    }
    return NULL;
}

/*
 * Decides whom to examine. Devices that were named are opened here: a name that is none is the command line's fault,
 * and that is told before anything else.
 */
static int admit(struct doctor *doctor)
{
    size_t named = doctor->named.count, count = named ? named : doctor->found.count;

    doctor->patients = text_alloc(count, sizeof(*doctor->patients));
    for (size_t i = 0; i < count; i++) {
        struct patient *patient = &doctor->patients[doctor->nr_patients++];

        patient->address = named ? doctor->named.words[i] : doctor->found.devices[i].address;
        patient->found = named ? find_listed(&doctor->found, patient->address) : &doctor->found.devices[i];
        if (named && probe_open(doctor->context, patient->address, &patient->device, &patient->error) &&
            patient->error.usage)
            return cli_refused("--device", patient->address, &patient->error);
    }
    return CLI_OK;
}

static void examine_host(const struct doctor *doctor, struct findings *findings)
{
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
        checks[i](&doctor->question, findings);
    if (mac_wanted())
        mac_check(findings);
    if (doctor->found.why)
        finding_add(findings, "devices", FINDING_WARN, text_format("not known: %s", doctor->found.why),
                    "start what drives them again");
    else
        finding_add(findings, "devices", FINDING_OK,
                    text_format("%zu device%s of an extension", doctor->found.count,
                                doctor->found.count == 1 ? "" : "s"),
                    NULL);
}

static void examine_device(const struct doctor *doctor, struct findings *findings, struct patient *patient)
{
    findings_about(findings, patient->address);
    if (!patient->device && !patient->error.code)
        probe_open(doctor->context, patient->address, &patient->device, &patient->error);
    if (patient->device)
        probe_device(findings, patient->device, patient->found);
    else
        probe_refused(findings, patient->address, patient->found, &patient->error);
    patient->device = NULL;
}

static int examine(struct doctor *doctor)
{
    struct findings findings;

    findings_init(&findings, doctor->json);
    examine_host(doctor, &findings);
    for (size_t i = 0; i < doctor->nr_patients; i++)
        examine_device(doctor, &findings, &doctor->patients[i]);
    return findings_finish(&findings);
}

static int parse(struct doctor *doctor, struct cli_words *words)
{
    const char *value;
    int option;

    while ((option = cli_words_next(words, &value)) != CLI_WORDS_END) {
        if (option == CLI_WORDS_STOP)
            return words->status;
        if (option == OPTION_JSON)
            doctor->json = true;
        else if (option == OPTION_QEMU)
            doctor->question.qemu = value;
        else if (option == OPTION_DEVICE)
            text_list_add(&doctor->named, value);
        else if (strcmp(value, "x86_64") != 0 && strcmp(value, "aarch64") != 0)
            return cli_usage("--arch %s: unknown; allowed are x86_64, aarch64", value);
        else
            doctor->question.arch = value;
    }
    return CLI_OK;
}

static int run(struct doctor *doctor)
{
    int status = cli_context_create(0, &doctor->context);

    if (status != CLI_OK)
        return status;
    found_scan(doctor->context, &doctor->found);
    status = admit(doctor);
    if (status == CLI_OK)
        status = examine(doctor);
    for (size_t i = 0; i < doctor->nr_patients; i++)
        vd_device_close(doctor->patients[i].device);
    free(doctor->patients);
    found_finish(&doctor->found);
    vd_context_destroy(doctor->context);
    return status;
}

static int doctor_main(const struct cli_verb *verb, int argc, char **argv)
{
    struct cli_words words = {.verb = verb, .argc = argc, .argv = argv};
    struct doctor doctor = {
        .question.arch = strcmp(accel_host_arch(), "aarch64") ? "x86_64" : "aarch64",
    };
    int status = parse(&doctor, &words);

    if (status == CLI_OK && !words.stopped)
        status = run(&doctor);
    text_list_finish(&doctor.named);
    return status;
}

const struct cli_verb cli_verb_doctor = {
    .name = "doctor",
    .summary = "Checks this host and its devices, and says how to mend what is missing.",
    .synopsis = "[--json] [--device ADDRESS]... [--arch ARCH] [--qemu PATH]",
    .options = options,
    .nr_options = sizeof(options) / sizeof(options[0]),
    .run = doctor_main,
};
