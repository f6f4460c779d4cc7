/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What `viaduct doctor` asks a Mac. An extension that was never installed is a warning, because simulated devices do
 * without it; one that somebody has installed and that cannot work is a failure.
 */
#include "mac.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __APPLE__
#include <libproc.h>
#endif

#include "mac_parse.h"
#include "process.h"
#include "text.h"

enum {
    COMMAND_MS = 60000,     /* system_profiler is slow on a machine that has just started */
    COMMAND_TEXT = 1 << 20, /* bytes that are kept of what a program prints */
    OLDEST_SYSTEM = 11,     /* macOS 11 brought PCIDriverKit */
    MAX_SHOWN = 120,        /* bytes of a text that is not understood */
};

#define SETTINGS "System Settings > General > Login Items & Extensions > Driver Extensions"
#define INSTALL                                                                                              \
    "build dext/shell as its README says, put its app into /Applications, open it once and allow the "       \
    "extension in " SETTINGS

struct mac {
    struct findings *findings;
    const char *root; /* "" on a Mac */
    bool listed;      /* `extension` is known */
    struct mac_extension extension;
    char *app;    /* the host app's path; NULL: none in /Applications. Owned, as the next two */
    char *bundle; /* the extension's bundle: the installed one, else the one in the app; NULL: none */
    char *id;     /* its bundle id */
};

bool mac_wanted(void)
{
#ifdef __APPLE__
    return true;
#else
    const char *wanted = getenv("VIADUCT_DOCTOR_MAC");

    return wanted && *wanted && strcmp(wanted, "0") != 0;
#endif
}

/* Runs a program of $PATH. What it printed, whatever its exit status, in fresh memory; NULL with *why. */
static char *ask(const char *const words[], char **why)
{
    struct text_list argv = {0};
    char *path = process_find(words[0]), *output = NULL;
    int status;

    *why = NULL;
    if (!path) {
        *why = text_format("cannot tell: no program '%s' in the directories of $PATH", words[0]);
        return NULL;
    }
    text_list_take(&argv, path);
    for (size_t i = 1; words[i]; i++)
        text_list_add(&argv, words[i]);
    output = text_alloc(COMMAND_TEXT, 1);
    status = process_capture(argv.words, output, COMMAND_TEXT, COMMAND_MS);
    text_list_finish(&argv);
    if (status >= 0)
        return output;
    *why = text_format("cannot tell: %s: %s", words[0], strerror(-status));
    free(output);
    return NULL;
}

/* For an answer that is not understood; takes neither. */
static char *not_understood(const char *program, const char *output)
{
    size_t length = strcspn(output, "\r\n");

    if (!length)
        return text_format("cannot tell: '%s' says nothing", program);
    return text_format("cannot tell: '%s' says: %.*s", program,
                       (int)(length < MAX_SHOWN ? length : MAX_SHOWN), output);
}

static void check_version(struct mac *mac)
{
    static const char *const words[] = {"sw_vers", NULL};
    char version[32], *why, *output = ask(words, &why);
    unsigned major;

    if (!output)
        finding_add(mac->findings, "macos", FINDING_WARN, why, "run this in an ordinary shell of the Mac");
    else if (!mac_parse_version(output, version, sizeof(version), &major))
        finding_add(mac->findings, "macos", FINDING_WARN, not_understood("sw_vers", output),
                    "run this in an ordinary shell of the Mac");
    else if (major < OLDEST_SYSTEM)
        finding_add(mac->findings, "macos", FINDING_FAIL,
                    text_format("macOS %s has no drivers for PCI devices outside the kernel", version),
                    "update to macOS 11 or later");
    else
        finding_add(mac->findings, "macos", FINDING_OK, text_format("macOS %s", version), NULL);
    free(output);
}

static void check_protection(struct mac *mac)
{
    static const char *const words[] = {"csrutil", "status", NULL};
    static const char *const texts[] = {
        [MAC_OFF] = "System Integrity Protection is off, as for development",
        [MAC_ON] =
            "System Integrity Protection is on: the extension must be signed with Apple's entitlements",
        [MAC_CUSTOM] = "System Integrity Protection is partly off",
    };
    char *why, *output = ask(words, &why);
    enum mac_switch sip = output ? mac_parse_sip(output) : MAC_UNKNOWN;

    if (sip != MAC_UNKNOWN)
        finding_add(mac->findings, "sip", FINDING_OK, text_copy(texts[sip]), NULL);
    else
        finding_add(mac->findings, "sip", FINDING_WARN,
                    output ? not_understood("csrutil status", output) : why, "run 'csrutil status'");
    free(output);
}

static void check_developer(struct mac *mac)
{
    static const char *const words[] = {"systemextensionsctl", "developer", NULL};
    char *why, *output = ask(words, &why);
    bool refused = false;
    enum mac_switch mode = output ? mac_parse_developer(output, &refused) : MAC_UNKNOWN;

    if (refused)
        finding_add(mac->findings, "developer mode", FINDING_OK,
                    text_copy("not to be had while System Integrity Protection is on; a signed extension "
                              "does without"),
                    NULL);
    else if (mode == MAC_UNKNOWN)
        finding_add(mac->findings, "developer mode", FINDING_WARN,
                    output ? not_understood("systemextensionsctl developer", output) : why,
                    "run 'systemextensionsctl developer'");
    else
        finding_add(mac->findings, "developer mode", FINDING_OK,
                    text_copy(mode == MAC_ON ? "on: the extension's app may lie outside /Applications"
                                             : "off: the extension's app must lie in /Applications"),
                    NULL);
    free(output);
}

static void report_extension(struct mac *mac)
{
    static const struct {
        enum verdict verdict;
        const char *meaning;
        const char *remedy;
    } states[] = {
        [MAC_EXTENSION_ENABLED] = {FINDING_OK, "it runs when a device that it matches is there", NULL},
        [MAC_EXTENSION_WAITING] = {FINDING_FAIL, "nobody has allowed it yet", "allow it in " SETTINGS},
        [MAC_EXTENSION_DISABLED] = {FINDING_FAIL, "it was switched off", "switch it on in " SETTINGS},
        [MAC_EXTENSION_OTHER] =
            {FINDING_WARN, "a state that viaduct does not know",
             "open its app again, restart the Mac, and look at 'systemextensionsctl list'"},
        [MAC_EXTENSION_LEAVING] = {FINDING_FAIL, "it was removed and goes at the next restart",
                                   "restart the Mac, then open the extension's app again"},
    };
    const struct mac_extension *extension = &mac->extension;

    if (extension->state == MAC_EXTENSION_ABSENT)
        finding_add(mac->findings, "extension", FINDING_WARN,
                    text_copy("not installed; only simulated devices can be passed"), INSTALL);
    else
        finding_add(mac->findings, "extension", states[extension->state].verdict,
                    text_format("%s %s [%s]: %s%s", extension->id, extension->version, extension->words,
                                states[extension->state].meaning,
                                extension->leftover ? "; an older copy goes at the next restart" : ""),
                    states[extension->state].remedy);
}

static void check_extension(struct mac *mac)
{
    static const char *const words[] = {"systemextensionsctl", "list", NULL};
    char *why, *output = ask(words, &why);

    mac->listed = output && mac_parse_extensions(output, &mac->extension);
    if (mac->listed)
        report_extension(mac);
    else
        finding_add(mac->findings, "extension", FINDING_WARN,
                    output ? not_understood("systemextensionsctl list", output) : why,
                    "run 'systemextensionsctl list'");
    free(output);
}

static bool ends_with(const char *text, const char *suffix)
{
    size_t length = strlen(text), tail = strlen(suffix);

    return length > tail && !strcmp(text + length - tail, suffix);
}

/* The path of our extension's bundle among the entries of a directory, in fresh memory, or NULL. */
static char *find_bundle(const char *directory)
{
    DIR *dir = opendir(directory);
    struct dirent *entry;
    char *found = NULL;

    while (dir && !found && (entry = readdir(dir))) {
        if (ends_with(entry->d_name, ".dext") && mac_is_ours(entry->d_name))
            found = text_format("%s/%s", directory, entry->d_name);
    }
    if (dir)
        closedir(dir);
    return found;
}

/*
 * Looks for our extension in the folder `inside` of each entry of `directory` that ends in `suffix`. Its path in fresh
 * memory, or NULL; *parent (may be NULL), fresh as well, is the entry that it is in.
 */
static char *search(const char *directory, const char *suffix, const char *inside, char **parent)
{
    DIR *dir = opendir(directory);
    struct dirent *entry;
    char *found = NULL;

    while (dir && !found && (entry = readdir(dir))) {
        char *path;

        if (entry->d_name[0] == '.' || !ends_with(entry->d_name, suffix))
            continue;
        path = text_format("%s/%s%s", directory, entry->d_name, inside);
        found = find_bundle(path);
        free(path);
        if (found && parent)
            *parent = text_format("%s/%s", directory, entry->d_name);
    }
    if (dir)
        closedir(dir);
    return found;
}

/* The bundle's file name is its id: macOS insists on that. */
static void name_bundle(struct mac *mac)
{
    const char *name = mac->bundle ? strrchr(mac->bundle, '/') + 1 : "";

    if (mac->bundle)
        mac->id = text_format("%.*s", (int)(strlen(name) - strlen(".dext")), name);
    else if (mac->extension.id[0])
        mac->id = text_copy(mac->extension.id);
}

static void check_app(struct mac *mac)
{
    bool absent = mac->listed && mac->extension.state == MAC_EXTENSION_ABSENT;
    char *applications = text_format("%s/Applications", mac->root);
    char *installed = text_format("%s/Library/SystemExtensions", mac->root);
    char *in_app = search(applications, ".app", "/Contents/Library/SystemExtensions", &mac->app);

    mac->bundle = absent ? NULL : search(installed, "", "", NULL);
    if (!mac->bundle) {
        mac->bundle = in_app;
        in_app = NULL;
    }
    name_bundle(mac);
    if (mac->app)
        finding_add(mac->findings, "app", FINDING_OK, text_format("%s holds the extension", mac->app), NULL);
    else if (absent)
        finding_add(mac->findings, "app", FINDING_WARN,
                    text_format("no app in %s holds the extension", applications), INSTALL);
    else
        finding_add(mac->findings, "app", FINDING_WARN,
                    text_format("no app in %s holds the extension: it can be neither updated nor removed "
                                "from there",
                                applications),
                    "put the app back into /Applications");
    free(in_app);
    free(installed);
    free(applications);
}

/* The entitlements of what lies at `path` as codesign prints them, or NULL after a finding. */
static char *entitlements(struct mac *mac, const char *name, const char *path)
{
    const char *words[] = {"codesign", "-d", "--entitlements", "-", path, NULL};
    char *why, *output = ask(words, &why);

    if (!output) {
        finding_add(mac->findings, name, FINDING_WARN, why,
                    "install the command line tools: xcode-select --install");
        return NULL;
    }
    if (!strstr(output, "not signed at all"))
        return output;
    finding_add(mac->findings, name, FINDING_FAIL, text_format("%s is not signed", path),
                "sign it as the README of dext/shell says");
    free(output);
    return NULL;
}

static void check_app_rights(struct mac *mac)
{
    static const char install[] = "com.apple.developer.system-extension.install";
    char *rights = entitlements(mac, "app rights", mac->app);

    if (rights && mac_parse_right(rights, install, install) == MAC_RIGHT_HELD)
        finding_add(mac->findings, "app rights", FINDING_OK, text_copy("the app may install the extension"),
                    NULL);
    else if (rights)
        finding_add(mac->findings, "app rights", FINDING_FAIL,
                    text_format("%s lacks the entitlement %s", mac->app, install),
                    "sign the app with dext/shell/host's entitlements");
    free(rights);
}

/* What connecting takes: the extension lets everybody in, or the program names the extension. */
static void check_access(struct mac *mac, const char *program, const char *rights_of_extension)
{
    static const char any[] = "com.apple.developer.driverkit.allow-any-userclient-access";
    static const char some[] = "com.apple.developer.driverkit.userclient-access";
    char *rights;

    if (mac_parse_right(rights_of_extension, any, any) == MAC_RIGHT_HELD) {
        finding_add(mac->findings, "access", FINDING_OK,
                    text_format("the extension lets every program connect (%s)", any), NULL);
        return;
    }
    rights = entitlements(mac, "access", program);
    if (!rights)
        return;
    if (mac_parse_right(rights, some, mac->id) == MAC_RIGHT_HELD)
        finding_add(mac->findings, "access", FINDING_OK,
                    text_format("%s may connect to %s (%s)", program, mac->id, some), NULL);
    else
        finding_add(
            mac->findings, "access", FINDING_FAIL,
            text_format("%s may not connect: %s %s %s, and the extension does not have %s", program, some,
                        mac_parse_right(rights, some, NULL) == MAC_RIGHT_ABSENT ? "is missing, for"
                                                                                : "does not name",
                        mac->id, any),
            "sign this program with dext/shell/client.entitlements, or, on a machine of your own, the "
            "extension with dext-any-client.entitlements");
    free(rights);
}

/* The running program's path, in fresh memory, or NULL. */
static char *own_path(void)
{
    char path[4096];
#ifdef __APPLE__
    return proc_pidpath(getpid(), path, sizeof(path)) > 0 ? text_copy(path) : NULL;
#else
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path));

    return length < 0 || (size_t)length == sizeof(path) ? NULL : text_format("%.*s", (int)length, path);
#endif
}

static void check_rights(struct mac *mac)
{
    static const char driver[] = "com.apple.developer.driverkit";
    static const char pci[] = "com.apple.developer.driverkit.transport.pci";
    char *rights = mac->bundle ? entitlements(mac, "rights", mac->bundle) : NULL, *program = own_path();
    bool drives, has_pci;

    if (rights) {
        drives = mac_parse_right(rights, driver, driver) == MAC_RIGHT_HELD;
        has_pci = mac_parse_right(rights, pci, NULL) == MAC_RIGHT_HELD;
        if (drives && has_pci)
            finding_add(mac->findings, "rights", FINDING_OK,
                        text_format("%s is signed as a driver of PCI devices", mac->id), NULL);
        else
            finding_add(
                mac->findings, "rights", FINDING_FAIL,
                text_format("%s lacks the entitlement %s", mac->bundle, drives ? pci : driver),
                "sign the extension as the README of dext/shell says; Apple grants this entitlement on "
                "request");
        if (program)
            check_access(mac, program, rights);
    }
    free(program);
    free(rights);
}

static void check_thunderbolt(struct mac *mac)
{
    static const char *const words[] = {"system_profiler", "SPThunderboltDataType", "-json", NULL};
    char *why, *output = ask(words, &why);
    struct mac_thunderbolt found = {0};

    if (!output || !mac_parse_thunderbolt(output, &found))
        finding_add(mac->findings, "thunderbolt", FINDING_WARN,
                    output ? not_understood("system_profiler SPThunderboltDataType -json", output) : why,
                    "look at System Information > Thunderbolt/USB4");
    else if (found.ports == 0)
        finding_add(mac->findings, "thunderbolt", FINDING_WARN, text_copy("no Thunderbolt port"),
                    "only a device that is built in can be passed; an enclosure needs a Thunderbolt port");
    else
        finding_add(mac->findings, "thunderbolt", FINDING_OK,
                    text_format("%u port%s, %s%s (%s%u Gb/s); attached: %s", found.ports,
                                found.ports == 1 ? "" : "s", found.is_limit ? "" : "at least ",
                                mac_thunderbolt_name(found.speed), found.is_limit ? "up to " : "now ",
                                found.speed, found.devices ? found.devices : "nothing"),
                    NULL);
    free(found.devices);
    free(output);
}

void mac_check(struct findings *findings)
{
    const char *root = getenv("VIADUCT_DOCTOR_MAC");
    struct mac mac = {.findings = findings, .root = root && root[0] == '/' ? root : ""};

    check_version(&mac);
    check_protection(&mac);
    check_developer(&mac);
    check_extension(&mac);
    check_app(&mac);
    if (mac.app)
        check_app_rights(&mac);
    check_rights(&mac);
    check_thunderbolt(&mac);
    free(mac.app);
    free(mac.bundle);
    free(mac.id);
}
