/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory to map for devices: shared, with a file behind it, aligned for any granule, zeroed. */
#ifndef TESTS_BACKEND_ARENA_H
#define TESTS_BACKEND_ARENA_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* NULL when there is no memory; *fd is the file, whose offset 0 is the arena's start. */
static inline void *arena_create(size_t size, int *fd)
{
    const size_t align = 2 << 20;
    uint8_t *reserved, *start;

    *fd = memfd_create("arena", MFD_CLOEXEC);
    if (*fd < 0)
        return NULL;
    reserved = mmap(NULL, size + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ftruncate(*fd, (off_t)size) || reserved == MAP_FAILED)
        goto err_close;
    start = (uint8_t *)(((uintptr_t)reserved + align - 1) & ~(uintptr_t)(align - 1));
    if (mmap(start, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, *fd, 0) == MAP_FAILED) {
        munmap(reserved, size + align);
        goto err_close;
    }
    if (start > reserved)
        munmap(reserved, (size_t)(start - reserved));
    munmap(start + size, align - (size_t)(start - reserved));
    return start;

err_close:
    close(*fd);
    *fd = -1;
    return NULL;
}

static inline void arena_destroy(void *arena, size_t size, int fd)
{
    if (!arena)
        return;
    munmap(arena, size);
    close(fd);
}

#endif
