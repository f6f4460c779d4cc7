/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest memory table; theory and invariants in guest_memory.h.
 *
 * A file is mapped whole when it is of a reasonable size, so that any later announcement of it (firmware moving RAM about,
 * a vIOMMU announcing single pages) costs no system call but fstat(). Mapping a file costs address space, not memory.
 */
#include "core/guest_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/guard.h"

/* Once this much address space is taken, files are mapped piecewise. */
static const uint64_t WHOLE_TOTAL_MAX = 1024ull << 30;
enum {
    KEEP_MAX = 16, /* mappings without a region; above this the oldest goes at once */
    ALIGN_MAX = 2097152,
    FILES_MAX = 256, /* so that no client uses up the mappings or the guards of the process */
};

struct vd_file_mapping {
    struct vd_file_mapping *next;
    dev_t dev;
    ino_t ino;
    uint64_t offset, size; /* the part of the file */
    uint8_t *memory;
    bool writable;
    uint32_t refs;
    uint64_t idle_since; /* when refs became 0 */
    int guard;
    int fd; /* kept for hosts that need it; -1 */
};

struct vd_guest_memory {
    const struct vd_env *env;
    struct vd_dma_remote remote;
    struct vd_guest_memory_listener listener;
    struct vd_tree regions;
    struct vd_file_mapping *files;
    uint64_t bytes;
    uint64_t mapped; /* address space in use */
    unsigned nr_files, idle;
    size_t page;
    bool keep_fds;
    _Atomic bool poisoned;
};

int vd_guest_memory_create(const struct vd_env *env, const struct vd_dma_remote *remote,
                           const struct vd_guest_memory_listener *listener, struct vd_guest_memory **out)
{
    struct vd_guest_memory *memory = vd_env_alloc(env, 1, sizeof(*memory));

    *out = memory;
    if (!memory)
        return -ENOMEM;
    memory->env = env;
    memory->remote = *remote;
    memory->listener = *listener;
    memory->page = (size_t)sysconf(_SC_PAGESIZE);
    return 0;
}

void vd_guest_memory_keep_files(struct vd_guest_memory *memory)
{
    memory->keep_fds = true;
}

static struct vd_guest_region *region_of(const struct vd_tree_node *node)
{
    return node ? VD_CONTAINER(node, struct vd_guest_region, node) : NULL;
}

/* File mappings. */

/* Only for regular files: descriptors of other kinds may share one inode and yet be different memory. */
static struct vd_file_mapping *find_file(struct vd_guest_memory *memory, const struct stat *st,
                                         uint64_t offset, uint64_t size, bool writable)
{
    for (struct vd_file_mapping *f = memory->files; f && S_ISREG(st->st_mode); f = f->next)
        if (f->dev == st->st_dev && f->ino == st->st_ino && offset >= f->offset &&
            vd_span_fits(offset - f->offset, size, f->size) && (f->writable || !writable))
            return f;
    return NULL;
}

/*
 * Maps a piece again where address and file offset agree modulo `align`; NULL when that cannot be. `size` is in pages.
 */
static uint8_t *map_aligned(int fd, uint64_t offset, uint64_t size, int protection, uint64_t align)
{
    uint8_t *room = mmap(NULL, size + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    uint64_t lead;

    if (room == MAP_FAILED)
        return NULL;
    lead = (offset - (uintptr_t)room) & (align - 1);
    if (mmap(room + lead, size, protection, MAP_SHARED | MAP_FIXED, fd, (off_t)offset) == MAP_FAILED) {
        munmap(room, size + align);
        return NULL;
    }
    if (lead)
        munmap(room, lead);
    munmap(room + lead + size, align - lead);
    return room + lead;
}

/* The IOMMU's granule may be larger than a page, and host addresses must fit it: `align` is the largest it can be. */
static bool map_piece(const struct vd_guest_memory *memory, struct vd_file_mapping *file, int fd,
                      uint64_t offset, uint64_t size, uint64_t align, bool writable)
{
    int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    uint8_t *at = mmap(NULL, size, protection, MAP_SHARED, fd, (off_t)offset);

    if (at == MAP_FAILED)
        return false;
    if (((uintptr_t)at - offset) & (align - 1)) {
        uint64_t pages = (size + memory->page - 1) & ~(uint64_t)(memory->page - 1);
        uint8_t *aligned = map_aligned(fd, offset, pages, protection, align);

        if (aligned) {
            munmap(at, size);
            at = aligned;
        }
    }
    file->memory = at;
    file->offset = offset;
    file->size = size;
    file->writable = writable;
    return true;
}

/* Tries the whole file first, then just the pages of the window; writable wherever the descriptor allows it. */
static int map_file(struct vd_guest_memory *memory, struct vd_file_mapping *file, int fd,
                    const struct stat *st, uint64_t offset, uint64_t size, bool writable)
{
    uint64_t start = offset & ~(uint64_t)(memory->page - 1);
    uint64_t whole = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0;
    uint64_t align = size & (0 - size); /* a granule divides the size */

    if (align > ALIGN_MAX)
        align = ALIGN_MAX;

    if (vd_env_fault(memory->env, "mmap"))
        return -ENOMEM;
    if (whole >= offset + size && memory->mapped <= WHOLE_TOTAL_MAX &&
        whole <= WHOLE_TOTAL_MAX - memory->mapped &&
        (map_piece(memory, file, fd, 0, whole, align, true) ||
         (!writable && map_piece(memory, file, fd, 0, whole, align, false))))
        return 0;
    size += offset - start;
    if (map_piece(memory, file, fd, start, size, align, true) ||
        (!writable && map_piece(memory, file, fd, start, size, align, false)))
        return 0;
    return errno == ENOMEM ? -ENOMEM : -EACCES;
}

static int open_file(struct vd_guest_memory *memory, int fd, const struct stat *st, uint64_t offset,
                     uint64_t size, bool writable, struct vd_file_mapping **out)
{
    struct vd_file_mapping *file;
    int ret;

    if (memory->nr_files >= FILES_MAX)
        return -ENOSPC;
    file = vd_env_alloc(memory->env, 1, sizeof(*file));
    if (!file)
        return -ENOMEM;
    file->dev = st->st_dev;
    file->ino = st->st_ino;
    file->fd = memory->keep_fds ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (memory->keep_fds && file->fd < 0) {
        ret = -ENOSPC;
        goto err_free;
    }
    ret = map_file(memory, file, fd, st, offset, size, writable);
    if (ret)
        goto err_close;
    file->guard = vd_guard_add(file->memory, file->size, &memory->poisoned);
    if (file->guard < 0) {
        ret = -ENOSPC; /* unguarded, its owner could end the process by truncating it */
        goto err_unmap;
    }
    file->next = memory->files;
    memory->files = file;
    memory->mapped += file->size;
    memory->nr_files++;
    memory->idle++; /* until a region takes it */
    *out = file;
    return 0;

err_unmap:
    munmap(file->memory, file->size);
err_close:
    if (file->fd >= 0)
        close(file->fd);
err_free:
    vd_env_free(memory->env, file);
    return ret;
}

static void close_file(struct vd_guest_memory *memory, struct vd_file_mapping **link)
{
    struct vd_file_mapping *file = *link;

    *link = file->next;
    memory->mapped -= file->size;
    memory->nr_files--;
    memory->idle--;
    vd_guard_remove(file->guard);
    munmap(file->memory, file->size);
    if (file->fd >= 0)
        close(file->fd);
    vd_env_free(memory->env, file);
}

static void get_file(struct vd_guest_memory *memory, struct vd_file_mapping *file)
{
    if (file->refs++ == 0)
        memory->idle--;
}

static void put_file(struct vd_guest_memory *memory, struct vd_file_mapping *file)
{
    if (--file->refs)
        return;
    memory->idle++;
    file->idle_since = vd_env_now(memory->env);
    while (memory->idle > KEEP_MAX) {
        struct vd_file_mapping **oldest = NULL;

        for (struct vd_file_mapping **at = &memory->files; *at; at = &(*at)->next)
            if ((*at)->refs == 0 && (!oldest || (*at)->idle_since < (*oldest)->idle_since))
                oldest = at;
        if (!oldest)
            return;
        close_file(memory, oldest);
    }
}

void vd_guest_memory_trim(struct vd_guest_memory *memory, uint64_t before_ns)
{
    struct vd_file_mapping **at = &memory->files;

    while (*at && memory->idle) {
        if ((*at)->refs == 0 && (*at)->idle_since <= before_ns)
            close_file(memory, at);
        else
            at = &(*at)->next;
    }
}

bool vd_guest_memory_can_trim(const struct vd_guest_memory *memory)
{
    return memory->idle > 0;
}

/* Regions. */

static int back_region(struct vd_guest_memory *memory, struct vd_guest_region *region, int fd,
                       uint64_t offset)
{
    uint64_t size = vd_range_size(region->node.range);
    bool writable = region->access & VD_ACCESS_WRITE;
    struct vd_file_mapping *file;
    struct stat st;
    uint64_t end;

    if (fd < 0)
        return offset ? -EINVAL : 0;
    if (fstat(fd, &st) < 0 || __builtin_add_overflow(offset, size, &end) || end > INT64_MAX)
        return -EINVAL;
    if (S_ISREG(st.st_mode) && end > (uint64_t)st.st_size)
        return -EINVAL; /* touching pages beyond the end would raise SIGBUS */
    file = find_file(memory, &st, offset, size, writable);
    if (!file) {
        int ret = open_file(memory, fd, &st, offset, size, writable, &file);

        if (ret)
            return ret;
    }
    get_file(memory, file);
    region->file = file;
    region->host = file->memory + (offset - file->offset);
    return 0;
}

int vd_guest_memory_add(struct vd_guest_memory *memory, vd_gpa gpa, uint64_t size, uint32_t access, int fd,
                        uint64_t offset)
{
    struct vd_guest_region *region;
    struct vd_range range;
    int ret;

    if (!vd_range_make(gpa.value, size, &range) || !access ||
        (access & ~(uint32_t)(VD_ACCESS_READ | VD_ACCESS_WRITE)))
        return -EINVAL;
    region = vd_env_alloc(memory->env, 1, sizeof(*region));
    if (!region)
        return -ENOMEM;
    region->node.range = range;
    region->access = access;
    region->remote = memory->remote;
    ret = vd_tree_insert(&memory->regions, &region->node);
    if (ret)
        goto err_free;
    ret = back_region(memory, region, fd, offset);
    if (ret)
        goto err_remove;
    ret = memory->listener.added ? memory->listener.added(memory->listener.opaque, region) : 0;
    if (ret)
        goto err_file;
    memory->bytes += size;
    return 0;

err_file:
    if (region->file)
        put_file(memory, region->file);
err_remove:
    vd_tree_remove(&memory->regions, &region->node);
err_free:
    vd_env_free(memory->env, region);
    return ret;
}

static void remove_region(struct vd_guest_memory *memory, struct vd_guest_region *region)
{
    if (memory->listener.removed)
        memory->listener.removed(memory->listener.opaque, region);
    vd_tree_remove(&memory->regions, &region->node);
    memory->bytes -= vd_range_size(region->node.range);
    if (region->file)
        put_file(memory, region->file);
    vd_env_free(memory->env, region);
}

int vd_guest_memory_remove(struct vd_guest_memory *memory, vd_gpa gpa, uint64_t size)
{
    struct vd_guest_region *region = region_of(vd_tree_find(&memory->regions, gpa.value));
    struct vd_range range;

    if (!region || !vd_range_make(gpa.value, size, &range) || region->node.range.start != range.start ||
        region->node.range.last != range.last)
        return -ENOENT;
    remove_region(memory, region);
    return 0;
}

size_t vd_guest_memory_remove_within(struct vd_guest_memory *memory, struct vd_range range)
{
    struct vd_tree_node *node = vd_tree_lower(&memory->regions, range.start);
    size_t removed = 0;

    while (node && node->range.start <= range.last) {
        struct vd_tree_node *next = vd_tree_next(node);

        if (vd_range_contains(range, node->range)) {
            remove_region(memory, region_of(node));
            removed++;
        }
        node = next;
    }
    return removed;
}

void vd_guest_memory_clear(struct vd_guest_memory *memory)
{
    vd_guest_memory_remove_within(memory, (struct vd_range){0, UINT64_MAX});
}

void vd_guest_memory_destroy(struct vd_guest_memory *memory)
{
    if (!memory)
        return;
    vd_guest_memory_clear(memory);
    while (memory->files)
        close_file(memory, &memory->files);
    vd_env_free(memory->env, memory);
}

const struct vd_guest_region *vd_guest_memory_find(const struct vd_guest_memory *memory, vd_gpa gpa)
{
    return region_of(vd_tree_find(&memory->regions, gpa.value));
}

const struct vd_guest_region *vd_guest_memory_next(const struct vd_guest_memory *memory,
                                                   const struct vd_guest_region *after)
{
    return region_of(after ? vd_tree_next(&after->node) : vd_tree_first(&memory->regions));
}

const struct vd_guest_region *vd_guest_memory_from(const struct vd_guest_memory *memory, vd_gpa gpa)
{
    return region_of(vd_tree_lower(&memory->regions, gpa.value));
}

size_t vd_guest_memory_count(const struct vd_guest_memory *memory)
{
    return memory->regions.count;
}

uint64_t vd_guest_memory_bytes(const struct vd_guest_memory *memory)
{
    return memory->bytes;
}

bool vd_guest_region_file(const struct vd_guest_region *region, struct vd_dma_file *out)
{
    const struct vd_file_mapping *file = region->file;

    if (!file || file->fd < 0)
        return false;
    *out = (struct vd_dma_file){.fd = file->fd,
                                .offset = file->offset + (uint64_t)(region->host - file->memory)};
    return true;
}

/* The host memory at gpa, and how much of `size` lies in that region; NULL when none of it may be accessed so. */
static uint8_t *piece_at(const struct vd_guest_memory *memory, uint64_t gpa, size_t size, uint32_t access,
                         size_t *piece)
{
    const struct vd_guest_region *region = vd_guest_memory_find(memory, (vd_gpa){gpa});
    uint64_t left;

    if (!region || !region->host || !(region->access & access))
        return NULL;
    left = region->node.range.last - gpa;
    *piece = left < size - 1 ? (size_t)left + 1 : size;
    return region->host + (gpa - region->node.range.start);
}

int vd_guest_memory_read(const struct vd_guest_memory *memory, vd_gpa gpa, void *buffer, size_t size)
{
    uint64_t at = gpa.value;
    uint8_t *to = buffer;
    size_t piece;

    for (; size; size -= piece, at += piece, to += piece) {
        const uint8_t *from = piece_at(memory, at, size, VD_ACCESS_READ, &piece);

        if (!from)
            return -EFAULT;
        memcpy(to, from, piece);
    }
    return 0;
}

int vd_guest_memory_write(const struct vd_guest_memory *memory, vd_gpa gpa, const void *buffer, size_t size)
{
    uint64_t at = gpa.value;
    const uint8_t *from = buffer;
    size_t piece;

    for (; size; size -= piece, at += piece, from += piece) {
        uint8_t *to = piece_at(memory, at, size, VD_ACCESS_WRITE, &piece);

        if (!to)
            return -EFAULT;
        memcpy(to, from, piece);
    }
    return 0;
}

bool vd_guest_memory_poisoned(const struct vd_guest_memory *memory)
{
    return atomic_load_explicit(&memory->poisoned, memory_order_relaxed);
}
