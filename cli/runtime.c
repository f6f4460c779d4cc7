/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The directory for sockets. Checked with lstat on every use: under /tmp somebody else could have made it first.
 */
#include "runtime.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "text.h"

#define PRIVATE_PREFIX "run-"

char *runtime_path(void)
{
    const char *base = getenv("XDG_RUNTIME_DIR");

    if (base && base[0] == '/')
        return text_format("%s/viaduct", base);
    if (geteuid() == 0)
        return text_copy("/run/viaduct");
    return text_format("/tmp/viaduct-%lu", (unsigned long)geteuid());
}

int runtime_check(const char *path, char **why)
{
    struct stat status;

    *why = NULL;
    if (lstat(path, &status)) {
        int err = -errno;

        if (err != -ENOENT)
            *why = text_format(
                "cannot look at the runtime directory %s: %s; set XDG_RUNTIME_DIR to a directory of "
                "your own",
                path, strerror(-err));
        return err;
    }
    if (S_ISDIR(status.st_mode) && status.st_uid == geteuid() && !(status.st_mode & 077))
        return 0;
    *why = text_format(
        "the runtime directory %s is not private (it must be a directory of mode 0700 that belongs to "
        "user %lu); mend or remove it, or set XDG_RUNTIME_DIR to a directory of your own",
        path, (unsigned long)geteuid());
    return -EPERM;
}

int runtime_prepare(const char *path, char **why)
{
    *why = NULL;
    if (mkdir(path, 0700) && errno != EEXIST) {
        int err = -errno;

        *why = text_format(
            "cannot make the runtime directory %s: %s; set XDG_RUNTIME_DIR to a directory that you may "
            "write",
            path, strerror(-err));
        return err;
    }
    return runtime_check(path, why);
}

bool runtime_is_alive(long pid)
{
    return pid > 0 && (kill((pid_t)pid, 0) == 0 || errno == EPERM);
}

void runtime_remove_private(const char *directory)
{
    struct dirent *entry;
    DIR *dir = directory ? opendir(directory) : NULL;

    if (!dir)
        return;
    while ((entry = readdir(dir)))
        unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    rmdir(directory);
}

/* A process that was killed could not remove its own. */
static void remove_stale(const char *path)
{
    struct dirent *entry;
    DIR *dir = opendir(path);

    if (!dir)
        return;
    while ((entry = readdir(dir))) {
        char *stale;

        if (strncmp(entry->d_name, PRIVATE_PREFIX, strlen(PRIVATE_PREFIX)) != 0 ||
            runtime_is_alive(strtol(entry->d_name + strlen(PRIVATE_PREFIX), NULL, 10)))
            continue;
        stale = text_format("%s/%s", path, entry->d_name);
        runtime_remove_private(stale);
        free(stale);
    }
    closedir(dir);
}

char *runtime_make_private(const char *path, char **why)
{
    char *made;

    *why = NULL;
    remove_stale(path);
    made = text_format("%s/" PRIVATE_PREFIX "%ld-XXXXXX", path, (long)getpid());
    if (mkdtemp(made))
        return made;
    *why = text_format("cannot make a directory in %s: %s", path, strerror(errno));
    free(made);
    return NULL;
}
