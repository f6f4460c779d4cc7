/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An expansion ROM from a file. A ROM's BAR has a power-of-two size, so the image is padded with 0xff, as an erased chip
 * reads; whoever looks for images follows their lengths (PCI Firmware 3.0, 5.1) and never gets there.
 */
#include "core/device.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROM_MIN = 2048, ROM_MAX = 16777216 }; /* PCI 6.2.5.2 */

static int check_file(const char *address, const char *path, const struct stat *st,
                      struct vd_failure *failure)
{
    if (!S_ISREG(st->st_mode))
        return vd_fail_usage(failure, "%s: rom=%s: not a regular file; name a file with the ROM's image",
                             address, path);
    if (st->st_size == 0)
        return vd_fail_usage(failure, "%s: rom=%s: the file is empty", address, path);
    if (st->st_size > ROM_MAX)
        return vd_fail_usage(failure,
                             "%s: rom=%s: %lld bytes are too many; an expansion ROM has at most 16 MiB",
                             address, path, (long long)st->st_size);
    return 0;
}

/* Reads exactly `size` bytes; a file that is cut short meanwhile fails. 0 or -errno. */
static int read_all(int fd, uint8_t *out, size_t size)
{
    while (size) {
        ssize_t n = read(fd, out, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        out += n;
        size -= (size_t)n;
    }
    return 0;
}

static int load(const struct vd_env *env, const char *address, const char *path, int fd, uint8_t **rom,
                uint64_t *size, struct vd_failure *failure)
{
    struct stat st;
    size_t rounded = ROM_MIN;
    uint8_t *bytes;
    int ret = fstat(fd, &st) ? -errno : 0;

    if (ret)
        return vd_fail(failure, ret, "%s: rom=%s: %s", address, path, strerror(-ret));
    ret = check_file(address, path, &st, failure);
    if (ret)
        return ret;
    while (rounded < (size_t)st.st_size)
        rounded *= 2;
    bytes = vd_env_alloc(env, 1, rounded);
    if (!bytes)
        return vd_fail(failure, -ENOMEM, "%s: rom=%s: out of memory", address, path);
    memset(bytes, 0xff, rounded);
    ret = read_all(fd, bytes, (size_t)st.st_size);
    if (ret) {
        vd_env_free(env, bytes);
        return vd_fail(failure, ret, "%s: rom=%s: cannot be read: %s", address, path, strerror(-ret));
    }
    if (bytes[0] != 0x55 || bytes[1] != 0xaa)
        vd_warn(env,
                "%s: rom=%s: does not begin with 55 aa, so no firmware will take it for an expansion ROM",
                address, path);
    *rom = bytes;
    *size = rounded;
    return 0;
}

int vd_rom_load(const struct vd_env *env, const char *address, const char *path, uint8_t **rom,
                uint64_t *size, struct vd_failure *failure)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block; it is refused */
    int ret = fd < 0 ? -errno : 0;

    *rom = NULL;
    if (ret)
        return vd_fail(failure, ret, "%s: rom=%s: %s", address, path, strerror(-ret));
    ret = load(env, address, path, fd, rom, size, failure);
    close(fd);
    return ret;
}
