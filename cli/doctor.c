/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `viaduct doctor`: looks at what Viaduct needs on this host, and says how to mend what is missing. Each check is a row
 * of a table and fills one finding; only what `viaduct run` cannot do without can fail.
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
#include "host_pci.h"
#include "qemu.h"
#include "runtime.h"
#include "text.h"

enum { OPTION_ARCH, OPTION_JSON, OPTION_QEMU };

static const struct cli_option options[] = {
    [OPTION_ARCH] = {"arch", "ARCH", "the guest's processor: x86_64 or aarch64; default: this host's"},
    [OPTION_JSON] = {"json", NULL, "print JSON"},
    [OPTION_QEMU] = {"qemu", "PATH", "the QEMU to look at; default as for 'viaduct run'"},
};

enum verdict { OK, WARN, FAIL };
static const char *const verdicts[] = {"ok", "warn", "fail"};

struct finding {
    enum verdict verdict;
    char *text;   /* what was found; owned */
    char *remedy; /* how to mend it, or NULL; owned */
};

struct question {
    const char *arch;
    const char *qemu;
};

static void find(struct finding *finding, enum verdict verdict, char *text_taken, const char *remedy)
{
    *finding = (struct finding){verdict, text_taken, remedy ? text_copy(remedy) : NULL};
}

static void check_system(const struct question *question, struct finding *finding)
{
    struct utsname host = {0};

    uname(&host);
    find(finding, OK, text_format("%s %s on %s", host.sysname, host.release, host.machine), NULL);
}

static void check_qemu(const struct question *question, struct finding *finding)
{
    struct qemu_program program;
    char *why;
    int err = qemu_find(question->qemu, question->arch, &program, &why);

    if (!err)
        err = qemu_probe(&program, &why);
    if (err)
        find(finding, FAIL, text_copy(why), QEMU_REMEDY);
    else
        find(finding, OK,
             text_format("version %s with vfio-user-pci: %s (%s)", program.version, program.path,
                         program.source),
             NULL);
    free(why);
    qemu_finish(&program);
}

static void check_acceleration(const struct question *question, struct finding *finding)
{
    char why[256];
    const char *name = accel_pick("auto", question->arch, why, sizeof(why));

    if (strcmp(name, "tcg") != 0)
        find(finding, OK, text_format("%s for %s guests: %s", name, question->arch, why), NULL);
    else
        find(finding, WARN,
             text_format("%s guests run under TCG, which works but is slow: %s", question->arch, why),
             "load the module kvm_intel or kvm_amd, allow nested virtualisation on an outer host, and join "
             "the group "
             "that owns /dev/kvm");
}

static void check_memory(const struct question *question, struct finding *finding)
{
#ifdef __linux__
    int fd = memfd_create("viaduct-doctor", MFD_CLOEXEC);

    if (fd < 0) {
        find(finding, FAIL, text_format("guest memory cannot be shared: memfd_create: %s", strerror(errno)),
             "use Linux 3.17 or later with CONFIG_MEMFD_CREATE, and a container that allows memfd_create");
        return;
    }
    close(fd);
    find(finding, OK, text_copy("guest memory can be shared (memfd)"), NULL);
#else
    find(finding, OK, text_copy("guest memory is shared through POSIX shared memory"), NULL);
#endif
}

static void check_runtime(const struct question *question, struct finding *finding)
{
    char *path = runtime_path(), *why = NULL;

    if (runtime_prepare(path, &why))
        find(finding, FAIL, text_copy(why), "set XDG_RUNTIME_DIR to a directory of your own");
    else
        find(finding, OK, text_format("sockets go to %s", path), NULL);
    free(why);
    free(path);
}

static void check_memlock(const struct question *question, struct finding *finding)
{
    struct rlimit limit = {0};
    char bytes[32];

    if (getrlimit(RLIMIT_MEMLOCK, &limit) || limit.rlim_cur == RLIM_INFINITY)
        find(finding, OK, text_copy("no limit on locked memory"), NULL);
    else
        find(finding, geteuid() == 0 ? OK : WARN,
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

static void check_vfio(const struct question *question, struct finding *finding)
{
    unsigned groups = count_entries("/sys/kernel/iommu_groups");
    bool container = access("/dev/vfio/vfio", F_OK) == 0, iommufd = access("/dev/iommu", F_OK) == 0;

    find(finding, groups && (container || iommufd) ? OK : WARN,
         text_format("/dev/vfio/vfio %s, /dev/iommu %s, %u IOMMU groups; only real devices will need them",
                     container ? "present" : "missing", iommufd ? "present" : "missing", groups),
         groups ? "load the module vfio-pci (modprobe vfio-pci)"
                : "switch the IOMMU on in the firmware (VT-d, AMD-Vi or SMMU), boot with intel_iommu=on on "
                  "Intel, and "
                  "load the module vfio-pci");
}
#else
static void check_vfio(const struct question *question, struct finding *finding)
{
    find(finding, WARN, text_copy("there is no VFIO on this system; only simulated devices can be passed"),
         NULL);
}
#endif

static void check_names(const struct question *question, struct finding *finding)
{
    const char *where;
    bool found = host_pci_has_names(&where);

    find(finding, found ? OK : WARN,
         found ? text_format("device names come from %s", where)
               : text_copy("no pci.ids: 'viaduct list' shows numbers instead of names"),
         "install the package pci.ids");
}

static void check_json(const struct question *question, struct finding *finding)
{
    find(finding, OK, text_format("json-c %s", json_c_version()), NULL);
}

static const struct {
    const char *name;
    void (*check)(const struct question *question, struct finding *finding);
} checks[] = {
    {"system", check_system}, {"qemu", check_qemu},       {"acceleration", check_acceleration},
    {"memory", check_memory}, {"runtime", check_runtime}, {"memlock", check_memlock},
    {"vfio", check_vfio},     {"pci names", check_names}, {"json", check_json},
};

static void print_finding(const char *name, const struct finding *finding, bool colour)
{
    static const char *const colours[] = {"\033[32m", "\033[33m", "\033[31m"};

    printf("%s%-4s%s  %-12s  %s\n", colour ? colours[finding->verdict] : "", verdicts[finding->verdict],
           colour ? "\033[0m" : "", name, finding->text);
    if (finding->verdict != OK && finding->remedy)
        printf("%20sto mend it: %s\n", "", finding->remedy);
}

static void add_finding(struct json_object *list, const char *name, const struct finding *finding)
{
    bool mend = finding->verdict != OK && finding->remedy;
    struct json_object *node = json_object_new_object();

    json_object_object_add(node, "name", json_object_new_string(name));
    json_object_object_add(node, "status", json_object_new_string(verdicts[finding->verdict]));
    json_object_object_add(node, "text", json_object_new_string(finding->text));
    json_object_object_add(node, "remedy", mend ? json_object_new_string(finding->remedy) : NULL);
    json_object_array_add(list, node);
}

static void print_json(struct json_object *list, bool fit)
{
    struct json_object *document = json_object_new_object();

    json_object_object_add(document, "version", json_object_new_string(vd_version()));
    json_object_object_add(document, "ok", json_object_new_boolean(fit));
    json_object_object_add(document, "checks", json_object_get(list));
    puts(json_object_to_json_string_ext(document, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(document);
}

static int examine(const struct question *question, bool json)
{
    bool fit = true, colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
    struct json_object *list = json_object_new_array();

    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        struct finding finding;

        checks[i].check(question, &finding);
        fit = fit && finding.verdict != FAIL;
        if (json)
            add_finding(list, checks[i].name, &finding);
        else
            print_finding(checks[i].name, &finding, colour);
        free(finding.text);
        free(finding.remedy);
    }
    if (json)
        print_json(list, fit);
    json_object_put(list);
    return cli_finish_output(fit ? CLI_OK : CLI_FAILED);
}

static int doctor_main(const struct cli_verb *verb, int argc, char **argv)
{
    struct cli_words words = {.verb = verb, .argc = argc, .argv = argv};
    struct question question = {.arch = strcmp(accel_host_arch(), "aarch64") ? "x86_64" : "aarch64"};
    const char *value;
    bool json = false;
    int option;

    while ((option = cli_words_next(&words, &value)) != CLI_WORDS_END) {
        if (option == CLI_WORDS_STOP)
            return words.status;
        if (option == OPTION_JSON)
            json = true;
        else if (option == OPTION_QEMU)
            question.qemu = value;
        else if (strcmp(value, "x86_64") != 0 && strcmp(value, "aarch64") != 0)
            return cli_usage("--arch %s: unknown; allowed are x86_64, aarch64", value);
        else
            question.arch = value;
    }
    return examine(&question, json);
}

const struct cli_verb cli_verb_doctor = {
    .name = "doctor",
    .summary = "Checks this host and says how to mend what is missing.",
    .synopsis = "[--json] [--arch ARCH] [--qemu PATH]",
    .options = options,
    .nr_options = sizeof(options) / sizeof(options[0]),
    .run = doctor_main,
};
