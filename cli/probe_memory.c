/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that a device under examination reads and writes: shared and with a file behind it, because some hosts are
 * another process; aligned for the host's granule. Where the host picks the addresses, pages are looked for in what it
 * picked.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "probe.h"
#include "text.h"

/* Where bus addresses are ours to choose, well above what firmware and bridges use of the low ones. */
#define USUAL_ADDRESS 0x10000000ull

static int create_file(void)
{
#ifdef __linux__
    return memfd_create("viaduct-doctor", MFD_CLOEXEC);
#else
    char name[32];
    int fd;

    snprintf(name, sizeof(name), "/viaduct-doctor-%ld", (long)getpid());
    fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd >= 0)
        shm_unlink(name);
    return fd;
#endif
}

static uint64_t round_up(uint64_t value, uint64_t to)
{
    return (value + to - 1) & ~(to - 1);
}

/* Maps memory->size bytes of a fresh file at a multiple of `align`. False with errno. */
static bool allocate(struct probe_memory *memory, size_t align)
{
    size_t reserved_size = memory->size + align;
    uint8_t *reserved, *start;

    memory->fd = create_file();
    if (memory->fd < 0 || ftruncate(memory->fd, (off_t)memory->size))
        return false;
    reserved = mmap(NULL, reserved_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (reserved == MAP_FAILED)
        return false;
    start = reserved + (round_up((uintptr_t)reserved, align) - (uintptr_t)reserved);
    if (mmap(start, memory->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memory->fd, 0) ==
        MAP_FAILED) {
        munmap(reserved, reserved_size);
        return false;
    }
    if (start > reserved)
        munmap(reserved, (size_t)(start - reserved));
    munmap(start + memory->size, align - (size_t)(start - reserved));
    memory->host = start;
    return true;
}

static vd_iova choose_address(const struct vd_dma_info *info, uint64_t size, uint64_t align)
{
    uint64_t wanted = round_up(info->first.value > USUAL_ADDRESS ? info->first.value : USUAL_ADDRESS, align);

    if (wanted > info->last.value || info->last.value - wanted < size - 1)
        wanted = round_up(info->first.value, align);
    return (vd_iova){wanted};
}

static int map(struct probe_memory *memory, const struct vd_dma_info *info, uint64_t align)
{
    const struct vd_dma_file file = {.fd = memory->fd};
    uint32_t room = info->max_segments ? info->max_segments : 1;
    struct vd_dma_map entry = {
        .host = memory->host,
        .file = &file,
        .size = memory->size,
        .access = VD_ACCESS_READ | VD_ACCESS_WRITE,
        .iova = choose_address(info, memory->size, align),
        .max_segments = room,
    };
    int err;

    entry.segments = memory->segments = text_alloc(room, sizeof(*memory->segments));
    err = vd_dma_map(memory->probe->device, &entry, 1);
    memory->mapping = entry.mapping;
    memory->nr_segments = entry.nr_segments;
    if (!err && !entry.nr_segments) {
        memory->segments[0] = (struct vd_dma_segment){entry.iova, memory->size};
        memory->nr_segments = 1;
    }
    return err;
}

/* Fills `pages` with aligned pages of the segments; false when there are not so many. */
static bool find_pages(const struct probe_memory *memory, size_t page, unsigned count,
                       struct probe_page *pages)
{
    uint8_t *host = memory->host;
    unsigned found = 0;

    for (uint32_t i = 0; i < memory->nr_segments && found < count; i++) {
        const struct vd_dma_segment *segment = &memory->segments[i];
        uint64_t offset = round_up(segment->iova.value, page) - segment->iova.value;

        for (; found < count && segment->size >= page && offset <= segment->size - page; offset += page)
            pages[found++] = (struct probe_page){host + offset, segment->iova.value + offset};
        host += segment->size;
    }
    return found == count;
}

char *probe_memory_init(struct probe_memory *memory, struct probe *probe, size_t page, unsigned count,
                        struct probe_page *pages)
{
    const struct vd_dma_info *info = vd_dma_info(probe->device);
    uint64_t align = info->granule > page ? info->granule : page;
    char bytes[32];
    int err;

    *memory = (struct probe_memory){.probe = probe, .fd = -1};
    /* Twice as much where a page of the device is larger than one of the IOMMU: its addresses may be odd then. */
    memory->size = (size_t)round_up(page * count * (page > info->granule ? 2 : 1), info->granule);
    if (!allocate(memory, (size_t)align))
        return text_format("no shared memory to map: %s", strerror(errno));
    err = map(memory, info, align);
    if (err)
        return text_format("%s of memory cannot be mapped: %s",
                           text_bytes(memory->size, bytes, sizeof(bytes)), strerror(-err));
    if (find_pages(memory, page, count, pages))
        return NULL;
    return text_format("the host maps memory in pieces that hold no page of %s",
                       text_bytes(page, bytes, sizeof(bytes)));
}

void probe_memory_finish(struct probe_memory *memory)
{
    if (memory->mapping)
        vd_dma_unmap(memory->probe->device, &memory->mapping, 1);
    if (memory->host)
        munmap(memory->host, memory->size);
    if (memory->fd >= 0)
        close(memory->fd);
    free(memory->segments);
    *memory = (struct probe_memory){.fd = -1};
}
