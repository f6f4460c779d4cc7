/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest memory table; theory and invariants in guest_memory.h.
 *
 * A file is mapped whole when it is of a reasonable size, so that any later announcement of it (firmware moving RAM about,
 * a vIOMMU announcing single pages) costs no system call but fstat(). Mapping a file costs address space, not memory.
 */
#include "core/guest_memory.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/guard.h"

/* A larger file is mapped piecewise, and so is any file once this much address space is taken. */
static const uint64_t WHOLE_FILE_MAX = 64ull << 30;
static const uint64_t WHOLE_TOTAL_MAX = 1024ull << 30;
/* Kept mappings without a region; above this the oldest goes at once. */
enum { KEEP_MAX = 16 };

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
};

struct vd_guest_memory {
    const struct vd_env *env;
    struct vd_dma_remote remote;
    struct vd_guest_memory_listener listener;
    struct vd_tree regions;
    struct vd_file_mapping *files;
    uint64_t bytes;
    uint64_t mapped; /* address space in use */
    unsigned idle;
    size_t page;
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

static struct vd_guest_region *region_of(const struct vd_tree_node *node)
{
    return node ? VD_CONTAINER(node, struct vd_guest_region, node) : NULL;
}

/* File mappings. */

static struct vd_file_mapping *find_file(struct vd_guest_memory *memory, const struct stat *st,
                                         uint64_t offset, uint64_t size, bool writable)
{
    for (struct vd_file_mapping *f = memory->files; f; f = f->next)
        if (f->dev == st->st_dev && f->ino == st->st_ino && offset >= f->offset &&
            vd_span_fits(offset - f->offset, size, f->size) && (f->writable || !writable))
            return f;
    return NULL;
}

static bool map_piece(struct vd_file_mapping *file, int fd, uint64_t offset, uint64_t size, bool writable)
{
    void *at = mmap(NULL, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, (off_t)offset);

    if (at == MAP_FAILED)
        return false;
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

    if (vd_env_fault(memory->env, "mmap"))
        return -ENOMEM;
    if (whole <= WHOLE_FILE_MAX && whole >= offset + size && memory->mapped + whole <= WHOLE_TOTAL_MAX &&
        (map_piece(file, fd, 0, whole, true) || (!writable && map_piece(file, fd, 0, whole, false))))
        return 0;
    size += offset - start;
    if (map_piece(file, fd, start, size, true) || (!writable && map_piece(file, fd, start, size, false)))
        return 0;
    return errno == ENOMEM ? -ENOMEM : -EACCES;
}

static int open_file(struct vd_guest_memory *memory, int fd, const struct stat *st, uint64_t offset,
                     uint64_t size, bool writable, struct vd_file_mapping **out)
{
    struct vd_file_mapping *file = vd_env_alloc(memory->env, 1, sizeof(*file));
    int ret;

    if (!file)
        return -ENOMEM;
    file->dev = st->st_dev;
    file->ino = st->st_ino;
    ret = map_file(memory, file, fd, st, offset, size, writable);
    if (ret) {
        vd_env_free(memory->env, file);
        return ret;
    }
    file->guard = vd_guard_add(file->memory, file->size, &memory->poisoned);
    file->next = memory->files;
    memory->files = file;
    memory->mapped += file->size;
    memory->idle++; /* until a region takes it */
    *out = file;
    return 0;
}

static void close_file(struct vd_guest_memory *memory, struct vd_file_mapping **link)
{
    struct vd_file_mapping *file = *link;

    *link = file->next;
    memory->mapped -= file->size;
    memory->idle--;
    vd_guard_remove(file->guard);
    munmap(file->memory, file->size);
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

size_t vd_guest_memory_count(const struct vd_guest_memory *memory)
{
    return memory->regions.count;
}

uint64_t vd_guest_memory_bytes(const struct vd_guest_memory *memory)
{
    return memory->bytes;
}

bool vd_guest_memory_poisoned(const struct vd_guest_memory *memory)
{
    return atomic_load_explicit(&memory->poisoned, memory_order_relaxed);
}
