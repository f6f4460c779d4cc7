/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See os.h. The raised flag is set by a raiser before it writes and cleared by the owner only after a read that found
 * something: so a write that is still on its way keeps the flag set and is taken by the next call, and no readable
 * descriptor is ever left behind with the flag clear.
 */
#include "sim/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/eventfd.h>
#endif

#ifdef __linux__
static int open_ends(struct sim_wake *wake)
{
    wake->read_fd = wake->write_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return wake->read_fd < 0 ? -errno : 0;
}
#else
static int open_ends(struct sim_wake *wake)
{
    int ends[2];

    if (pipe(ends) < 0)
        return -errno;
    for (int i = 0; i < 2; i++) {
        fcntl(ends[i], F_SETFD, FD_CLOEXEC);
        fcntl(ends[i], F_SETFL, O_NONBLOCK);
    }
    wake->read_fd = ends[0];
    wake->write_fd = ends[1];
    return 0;
}
#endif

int sim_wake_init(const struct vd_env *env, struct sim_wake *wake)
{
    wake->read_fd = wake->write_fd = -1;
    atomic_init(&wake->raised, false);
    return vd_env_fault(env, "sim_wake") ? -EMFILE : open_ends(wake);
}

void sim_wake_finish(struct sim_wake *wake)
{
    if (wake->write_fd >= 0 && wake->write_fd != wake->read_fd)
        close(wake->write_fd);
    if (wake->read_fd >= 0)
        close(wake->read_fd);
    wake->read_fd = wake->write_fd = -1;
}

void sim_wake_raise(struct sim_wake *wake)
{
    uint64_t one = 1;
    ssize_t written;

    if (atomic_exchange(&wake->raised, true))
        return;
    do
        written = write(wake->write_fd, &one, sizeof(one));
    while (written < 0 && errno == EINTR);
}

void sim_wake_take(struct sim_wake *wake)
{
    uint64_t value;
    ssize_t got;

    if (!atomic_load(&wake->raised))
        return;
    do
        got = read(wake->read_fd, &value, sizeof(value));
    while (got < 0 && errno == EINTR);
    if (got > 0)
        atomic_exchange(&wake->raised,
                        false); /* an exchange, so that it also acquires what the raiser published */
}

#ifdef __linux__
static int open_nameless(void)
{
    int fd = memfd_create("viaduct-sim", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    return fd < 0 ? -errno : fd;
}

static int seal_size(int fd)
{
    return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0 ? -errno : 0;
}
#else
static int open_nameless(void)
{
    const char *dir = getenv("TMPDIR");
    char path[1024] = "/tmp";
    int fd;

    if (dir && strlen(dir) < sizeof(path) - 32)
        memcpy(path, dir, strlen(dir) + 1);
    memcpy(path + strlen(path), "/viaduct-sim-XXXXXX", sizeof("/viaduct-sim-XXXXXX"));
    fd = mkstemp(path);
    if (fd < 0)
        return -errno;
    unlink(path);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}

static int seal_size(int fd)
{
    (void)fd;
    return 0;
}
#endif

int sim_memory_open(const struct vd_env *env, uint64_t size)
{
    int fd, err;

    if (vd_env_fault(env, "sim_memory"))
        return -ENOMEM;
    fd = open_nameless();
    if (fd < 0)
        return fd;
    err = ftruncate(fd, (off_t)size) < 0 ? -errno : seal_size(fd);
    if (err) {
        close(fd);
        return err;
    }
    return fd;
}

void sim_memory_clear(int fd, void *memory, uint64_t size)
{
#ifdef __linux__
    /* Gives the pages back too; the mapping then reads zeroes. */
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)size) == 0)
        return;
#else
    (void)fd;
#endif
    memset(memory, 0, size);
}
