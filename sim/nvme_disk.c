/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The image behind a simulated NVMe controller: a file, a block device or anonymous memory. Everything of it that
 * depends on the host system is here.
 *
 * An image is locked as a whole, exclusive unless read-only, so that two controllers cannot corrupt it; the lock goes
 * with the descriptor, whatever happens to the process.
 *
 * Threads: a disk is constant between open and close; transfers may be made from any thread.
 */
#include "sim/nvme.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#else
#include <sys/file.h>
#endif
#ifdef __APPLE__
#include <sys/disk.h>
#endif

#include "base/range.h"
#include "sim/os.h"

enum { MIN_SIZE = 4096, DEFAULT_SIZE = 64 << 20, ZERO_CHUNK = 64 << 10, SHOWN = 300 };
enum punch { PUNCH_ZERO, PUNCH_DEALLOCATE };

/* What hosts do differently. All answer 0 or a negative errno. */

#ifdef __linux__
static int host_lock(int fd, bool shared)
{
    struct flock lock = {.l_type = shared ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};

    return fcntl(fd, F_OFD_SETLK, &lock) ? -errno : 0;
}

static int host_device_size(int fd, uint64_t *size)
{
    return ioctl(fd, BLKGETSIZE64, size) ? -errno : 0;
}

static bool host_is_memory(int fd)
{
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

static int host_sync(int fd)
{
    return fdatasync(fd) ? -errno : 0;
}

/* The number of bytes read; -EAGAIN where it would have to wait. */
static ssize_t host_try_read(int fd, const struct iovec *iov, unsigned count, uint64_t offset)
{
    ssize_t n = preadv2(fd, iov, (int)count, (off_t)offset, RWF_NOWAIT);

    return n < 0 ? -errno : n;
}

static int host_punch(int fd, enum punch how, uint64_t offset, uint64_t length)
{
    int mode = how == PUNCH_ZERO ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE;

    return fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length) ? -errno : 0;
}
#else
static int host_lock(int fd, bool shared)
{
    return flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) ? -errno : 0;
}

static int host_device_size(int fd, uint64_t *size)
{
#ifdef __APPLE__
    uint32_t block;
    uint64_t count;

    if (ioctl(fd, DKIOCGETBLOCKSIZE, &block) || ioctl(fd, DKIOCGETBLOCKCOUNT, &count))
        return -errno;
    *size = count * block;
    return 0;
#else
    (void)fd;
    (void)size;
    return -EOPNOTSUPP;
#endif
}

static bool host_is_memory(int fd)
{
    (void)fd;
    return false;
}

/* On macOS fsync() stops at the drive's own cache. */
static int host_sync(int fd)
{
#ifdef F_FULLFSYNC
    if (fcntl(fd, F_FULLFSYNC) == 0)
        return 0;
    if (errno != ENOTSUP && errno != ENOTTY && errno != EINVAL)
        return -errno;
#endif
    return fsync(fd) ? -errno : 0;
}

static ssize_t host_try_read(int fd, const struct iovec *iov, unsigned count, uint64_t offset)
{
    (void)fd;
    (void)iov;
    (void)count;
    (void)offset;
    return -EOPNOTSUPP;
}

/* F_PUNCHHOLE answers EINVAL for what is not made of whole blocks of the file system. */
static int host_punch(int fd, enum punch how, uint64_t offset, uint64_t length)
{
#ifdef F_PUNCHHOLE
    struct fpunchhole hole = {.fp_offset = (off_t)offset, .fp_length = (off_t)length};

    if (how == PUNCH_DEALLOCATE)
        return fcntl(fd, F_PUNCHHOLE, &hole) ? -errno : 0;
#endif
    (void)fd;
    (void)how;
    (void)offset;
    (void)length;
    return -EOPNOTSUPP;
}
#endif

/* The image. */

static int refuse_open(const char *address, const struct nvme_options *options, int error,
                       struct vd_failure *failure)
{
    const char *image = options->image;

    switch (error) {
    case ENOENT:
    case ENOTDIR:
        return vd_fail(failure, -ENOENT,
                       "%s: image=%.*s does not exist; create it first, for instance with truncate -s 1G",
                       address, SHOWN, image);
    case EACCES:
    case EPERM:
    case EROFS:
        if (options->readonly)
            return vd_fail(failure, -EACCES,
                           "%s: image=%.*s cannot be read: permission denied; allow it with chmod u+r",
                           address, SHOWN, image);
        return vd_fail(failure, -EACCES,
                       "%s: image=%.*s cannot be written; allow it with chmod u+w, or add readonly=on",
                       address, SHOWN, image);
    case EISDIR:
        return vd_fail_usage(failure, "%s: image=%.*s is a directory; name a file or a block device", address,
                             SHOWN, image);
    case EMFILE:
    case ENFILE:
        return vd_fail(failure, -EMFILE, "%s: image=%.*s: too many open files; raise ulimit -n", address,
                       SHOWN, image);
    default:
        return vd_fail(failure, -EIO,
                       "%s: image=%.*s cannot be opened (errno %d); check the path and the disk", address,
                       SHOWN, image, error);
    }
}

static int lock_image(const struct nvme_disk *disk, const char *address, const struct nvme_options *options,
                      struct vd_failure *failure)
{
    int error = host_lock(disk->fd, disk->readonly);

    if (error == 0)
        return 0;
    if (error == -EWOULDBLOCK || error == -EACCES)
        return vd_fail(failure, -EBUSY,
                       "%s: image=%.*s is in use by another controller or program; stop that one, or give "
                       "each a disk of "
                       "its own",
                       address, SHOWN, options->image);
    /* A file system without locks (ENOLCK, EOPNOTSUPP) is no reason not to serve it. */
    vd_warn(disk->env, "%s: the file system cannot lock the image: do not use it twice", address);
    return 0;
}

static int measure_image(struct nvme_disk *disk, const char *address, const char *image,
                         struct vd_failure *failure)
{
    struct stat st;
    unsigned sector = 1u << disk->shift;

    if (fstat(disk->fd, &st))
        return vd_fail(failure, -EIO, "%s: image=%.*s cannot be examined; check the disk", address, SHOWN,
                       image);
    if (S_ISREG(st.st_mode))
        disk->size = (uint64_t)st.st_size;
    else if (!S_ISBLK(st.st_mode) || host_device_size(disk->fd, &disk->size))
        return vd_fail_usage(failure,
                             "%s: image=%.*s is neither a file nor a block device; name one of these",
                             address, SHOWN, image);
    if (disk->size < MIN_SIZE)
        return vd_fail_usage(
            failure, "%s: image=%.*s has %llu bytes, a disk needs at least %d; enlarge it with truncate -s",
            address, SHOWN, image, (unsigned long long)disk->size, MIN_SIZE);
    if (disk->size % sector)
        return vd_fail_usage(
            failure,
            "%s: image=%.*s has %llu bytes, which is no multiple of sector=%u; enlarge it with "
            "truncate -s, or choose another sector=",
            address, SHOWN, image, (unsigned long long)disk->size, sector);
    return 0;
}

static int open_image(struct nvme_disk *disk, const char *address, const struct nvme_options *options,
                      struct vd_failure *failure)
{
    int error;

    if (options->size)
        return vd_fail_usage(
            failure, "%s: size= is for a disk without image=, whose size is that of the file; drop one",
            address);
    errno = EMFILE;
    if (!vd_env_fault(disk->env, "nvme_open"))
        disk->fd =
            open(options->image, (disk->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (disk->fd < 0)
        return refuse_open(address, options, errno, failure);
    error = measure_image(disk, address, options->image, failure);
    return error ? error : lock_image(disk, address, options, failure);
}

static int open_memory(struct nvme_disk *disk, const char *address, const struct nvme_options *options,
                       struct vd_failure *failure)
{
    disk->size = options->size ? options->size : DEFAULT_SIZE;
    disk->memory = true;
    if (disk->size % MIN_SIZE)
        return vd_fail_usage(failure, "%s: size=%llu is no multiple of %d; round it up", address,
                             (unsigned long long)disk->size, MIN_SIZE);
    disk->fd = sim_memory_open(disk->env, disk->size);
    if (disk->fd < 0)
        return vd_fail(failure, disk->fd,
                       "%s: no memory for size=%llu; choose a smaller one, or use image=", address,
                       (unsigned long long)disk->size);
    return 0;
}

/* What can be done on the owner's thread without stalling it. */
static void probe(struct nvme_disk *disk)
{
    char byte;
    struct iovec iov = {&byte, 1};
    struct rlimit limit;
    ssize_t n;

    disk->memory = disk->memory || host_is_memory(disk->fd);
    n = disk->memory ? -EOPNOTSUPP : host_try_read(disk->fd, &iov, 1, 0);
    disk->try_reads = n >= 0 || n == -EAGAIN;
    /* Beyond a file size limit the kernel sends SIGXFSZ to the writing thread: workers block it, we may not. */
    disk->inline_writes = getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
                          (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= disk->size);
}

/* FNV-1a over where the file lives. */
static uint64_t identify(int fd)
{
    struct stat st = {0};
    uint64_t words[2], hash = 0xcbf29ce484222325u;

    (void)fstat(fd, &st);
    words[0] = (uint64_t)st.st_dev;
    words[1] = (uint64_t)st.st_ino;
    for (size_t i = 0; i < sizeof(words) * 8; i += 8)
        hash = (hash ^ (words[i / 64] >> (i % 64) & 0xff)) * 0x100000001b3u;
    return hash;
}

int nvme_disk_open(struct nvme_disk *disk, const struct vd_env *env, const char *address,
                   const struct nvme_options *options, struct vd_failure *failure)
{
    int error;

    *disk = (struct nvme_disk){
        .env = env, .fd = -1, .shift = options->sector ? 12 : 9, .readonly = options->readonly};
    error = options->image ? open_image(disk, address, options, failure)
                           : open_memory(disk, address, options, failure);
    if (error) {
        nvme_disk_close(disk);
        return error;
    }
    probe(disk);
    disk->identity = identify(disk->fd);
    return 0;
}

void nvme_disk_close(struct nvme_disk *disk)
{
    if (disk->fd >= 0)
        close(disk->fd);
    disk->fd = -1;
}

/* Drops `done` bytes from the front; the number of entries that are left. */
static unsigned advance(struct iovec **iov, unsigned count, size_t done)
{
    while (count && done >= (*iov)->iov_len) {
        done -= (*iov)->iov_len;
        (*iov)++;
        count--;
    }
    if (count) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + done;
        (*iov)->iov_len -= done;
    }
    return count;
}

int nvme_disk_read(const struct nvme_disk *disk, struct iovec *iov, unsigned count, uint64_t offset)
{
    if (vd_env_fault(disk->env, "nvme_read"))
        return -EIO;
    while (count) {
        ssize_t n = preadv(disk->fd, iov, (int)count, (off_t)offset);

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            return -EIO; /* somebody cut the file */
        if (n > 0) {
            offset += (uint64_t)n;
            count = advance(&iov, count, (size_t)n);
        }
    }
    return 0;
}

int nvme_disk_write(const struct nvme_disk *disk, struct iovec *iov, unsigned count, uint64_t offset)
{
    if (vd_env_fault(disk->env, "nvme_write"))
        return -ENOSPC;
    while (count) {
        ssize_t n = pwritev(disk->fd, iov, (int)count, (off_t)offset);

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            return -EIO;
        if (n > 0) {
            offset += (uint64_t)n;
            count = advance(&iov, count, (size_t)n);
        }
    }
    return 0;
}

int nvme_disk_try_read(const struct nvme_disk *disk, struct iovec *iov, unsigned count, uint64_t offset,
                       uint64_t length)
{
    ssize_t n;

    if (disk->memory)
        return nvme_disk_read(disk, iov, count, offset);
    if (!disk->try_reads || vd_env_fault(disk->env, "nvme_try_read"))
        return -EAGAIN;
    n = host_try_read(disk->fd, iov, count, offset);
    /* A part, or an error: the worker's ordinary read finds out. */
    return n >= 0 && (uint64_t)n == length ? 0 : -EAGAIN;
}

int nvme_disk_sync(const struct nvme_disk *disk)
{
    if (vd_env_fault(disk->env, "nvme_sync"))
        return -EIO;
    if (disk->readonly)
        return 0;
    return host_sync(disk->fd);
}

/* -EOPNOTSUPP also where the host cannot do it for this range. */
static int punch(const struct nvme_disk *disk, enum punch how, uint64_t offset, uint64_t length)
{
    int error;

    do
        error = host_punch(disk->fd, how, offset, length);
    while (error == -EINTR);
    return error == -EINVAL || error == -ENOTSUP || error == -ENOSYS ? -EOPNOTSUPP : error;
}

static int write_zeroes(const struct nvme_disk *disk, uint64_t offset, uint64_t length)
{
    static const char zeroes[ZERO_CHUNK];
    int error = 0;

    while (length && !error) {
        size_t now = length < sizeof(zeroes) ? (size_t)length : sizeof(zeroes);
        struct iovec iov = {(void *)(uintptr_t)zeroes, now};

        error = nvme_disk_write(disk, &iov, 1, offset);
        offset += now;
        length -= now;
    }
    return error;
}

int nvme_disk_zero(const struct nvme_disk *disk, uint64_t offset, uint64_t length, bool deallocate)
{
    int error = -EOPNOTSUPP;

    if (vd_env_fault(disk->env, "nvme_zero"))
        return -ENOSPC;
    if (!deallocate)
        error = punch(disk, PUNCH_ZERO, offset, length);
    if (error == -EOPNOTSUPP)
        error = punch(disk, PUNCH_DEALLOCATE, offset, length);
    if (error == -EOPNOTSUPP)
        error = write_zeroes(disk, offset, length);
    return error;
}

int nvme_disk_trim(const struct nvme_disk *disk, uint64_t offset, uint64_t length)
{
    int error = punch(disk, PUNCH_DEALLOCATE, offset, length);

    return error == -EOPNOTSUPP ? 0 : error; /* a hint (6.7.1): not being able to is no error */
}
