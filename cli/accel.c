/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Picks an accelerator by trying it: a /dev/kvm that opens may still refuse to make a machine (nested virtualisation
 * that is switched off, for one).
 */
#include "accel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <unistd.h>

/* The two stable requests of the KVM API that the question takes: _IO(0xAE, 0) and _IO(0xAE, 1). */
enum { KVM_API_VERSION_REQUEST = 0xAE00, KVM_CREATE_MACHINE_REQUEST = 0xAE01, KVM_API_STABLE = 12 };

const char *accel_host_arch(void)
{
    static const char *const names[][2] = {
        {"x86_64", "x86_64"}, {"amd64", "x86_64"}, {"aarch64", "aarch64"}, {"arm64", "aarch64"}};
    struct utsname host;

    if (uname(&host))
        return "unknown";
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!strcmp(host.machine, names[i][0]))
            return names[i][1];
    }
    return "unknown";
}

bool accel_kvm_works(char *why, size_t size)
{
    int machine, version, fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        snprintf(why, size, "/dev/kvm: %s", strerror(errno));
        return false;
    }
    version = ioctl(fd, KVM_API_VERSION_REQUEST, 0);
    machine = version == KVM_API_STABLE ? ioctl(fd, KVM_CREATE_MACHINE_REQUEST, 0) : -1;
    if (version != KVM_API_STABLE)
        snprintf(why, size, "/dev/kvm does not speak the KVM API");
    else if (machine < 0)
        snprintf(why, size, "KVM cannot make a virtual machine: %s", strerror(errno));
    else
        snprintf(why, size, "/dev/kvm works");
    if (machine >= 0)
        close(machine);
    close(fd);
    return machine >= 0;
}

static bool kvm_fits(const char *arch, char *why, size_t size)
{
    if (!strcmp(arch, accel_host_arch()))
        return accel_kvm_works(why, size);
    snprintf(why, size, "KVM runs %s guests here, not %s", accel_host_arch(), arch);
    return false;
}

#ifndef __APPLE__
/*
 * KVM on x86 also comes without hardware behind it (pvm), and then an ordinary guest kernel hangs or crawls. Asked for by
 * name, it is used all the same.
 */
static bool kvm_is_hardware(const char *arch, char *why, size_t size)
{
    FILE *file = strcmp(arch, "x86_64") ? NULL : fopen("/proc/cpuinfo", "re");
    bool hardware = !file;
    char line[8192];

    while (file && !hardware && fgets(line, sizeof(line), file))
        hardware = !strncmp(line, "flags", 5) && (strstr(line, " vmx") || strstr(line, " svm"));
    if (file)
        fclose(file);
    if (!hardware)
        snprintf(why, size, "/dev/kvm works, but the processor shows neither vmx nor svm");
    return hardware;
}
#endif

static bool hvf_fits(const char *arch, char *why, size_t size)
{
#ifdef __APPLE__
    bool fits = !strcmp(arch, accel_host_arch());

    snprintf(why, size, "Hypervisor.framework runs %s guests here", accel_host_arch());
    return fits;
#else
    snprintf(why, size, "hvf exists on macOS only");
    return false;
#endif
}

const char *accel_pick(const char *wanted, const char *arch, char *why, size_t size)
{
    if (!strcmp(wanted, "tcg")) {
        snprintf(why, size, "asked for");
        return "tcg";
    }
    if (!strcmp(wanted, "kvm"))
        return kvm_fits(arch, why, size) ? "kvm" : NULL;
    if (!strcmp(wanted, "hvf"))
        return hvf_fits(arch, why, size) ? "hvf" : NULL;
    if (hvf_fits(arch, why, size))
        return "hvf";
#ifndef __APPLE__
    if (kvm_fits(arch, why, size) && kvm_is_hardware(arch, why, size))
        return "kvm";
#endif
    return "tcg";
}
