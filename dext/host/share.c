/* SPDX-License-Identifier: BSD-3-Clause */
/* Shared memory of a connection; see share.h. */
#include "share.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/guard.h"

static const uint64_t ALIGNMENT = 2 << 20; /* what client addresses and ours agree modulo */

struct dextd_share {
    struct vd_tree_node node; /* the client's addresses */
    struct dextd_shares *owner;
    uint8_t *memory; /* of the first of them */
    void *mapped;    /* the whole mapping: whole pages */
    size_t length;
    int guard;
    unsigned regions;
    bool forgotten; /* not in the tree any more */
};

void dextd_shares_init(struct dextd_shares *shares, const struct vd_env *env)
{
    *shares = (struct dextd_shares){.env = env};
}

static void destroy(struct dextd_share *share)
{
    struct dextd_shares *owner = share->owner;

    vd_guard_remove(share->guard);
    munmap(share->mapped, share->length);
    owner->count--;
    owner->bytes -= vd_range_size(share->node.range);
    vd_env_free(owner->env, share);
}

static void forget(struct dextd_share *share)
{
    vd_tree_remove(&share->owner->tree, &share->node);
    share->forgotten = true;
    if (!share->regions)
        destroy(share);
}

void dextd_shares_finish(struct dextd_shares *shares)
{
    struct vd_tree_node *node;

    while ((node = vd_tree_first(&shares->tree)) != NULL)
        forget(VD_CONTAINER(node, struct dextd_share, node));
    assert(shares->count == 0);
}

/* Whole pages of the file at an address that is `lead` modulo ALIGNMENT; NULL with errno. */
static void *map_file(int fd, uint64_t offset, size_t length, uint64_t lead)
{
    size_t room = length + ALIGNMENT;
    uint8_t *start, *at;

    start = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        return NULL;
    at = start + ((lead - (uint64_t)(uintptr_t)start) & (ALIGNMENT - 1));
    if (mmap(at, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, (off_t)offset) == MAP_FAILED) {
        int error = errno;

        munmap(start, room);
        errno = error;
        return NULL;
    }
    if (at != start)
        munmap(start, (size_t)(at - start));
    if (at + length != start + room)
        munmap(at + length, (size_t)(start + room - (at + length)));
    return at;
}

/* What a client is told of an errno of mmap(). */
static int refusal(int error)
{
    if (error == EACCES || error == EPERM)
        return VD_DEXT_NOT_PERMITTED;
    return error == ENODEV || error == EINVAL ? VD_DEXT_BAD_ARGUMENT : VD_DEXT_NO_MEMORY;
}

/* Maps the file's part for `range` and fills the rest of *share. */
static int attach(struct dextd_share *share, struct vd_range range, uint64_t offset, int fd)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t lead = range.start & (page - 1);
    uint64_t length = (lead + vd_range_size(range) + page - 1) & ~(page - 1);

    if ((offset & (page - 1)) != lead || length > SIZE_MAX - ALIGNMENT)
        return VD_DEXT_BAD_ARGUMENT;
    share->mapped = map_file(fd, offset - lead, (size_t)length, range.start - lead);
    if (!share->mapped)
        return refusal(errno);
    share->length = (size_t)length;
    share->memory = (uint8_t *)share->mapped + lead;
    share->guard = vd_guard_add(share->mapped, share->length, &share->owner->poisoned);
    if (share->guard >= 0)
        return VD_DEXT_SUCCESS;
    munmap(share->mapped, share->length);
    return VD_DEXT_NO_RESOURCES;
}

/* Only memory files and ordinary ones: a device's mmap() may do anything. */
static bool lies_in_file(int fd, uint64_t offset, uint64_t size)
{
    struct stat st;

    return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
           vd_span_fits(offset, size, (uint64_t)st.st_size);
}

int dextd_shares_add(struct dextd_shares *shares, const struct vd_dext_share *share, int fd)
{
    uint64_t offset = vd_get64(share->offset);
    struct dextd_share *added;
    struct vd_range range;
    int status;

    if (!vd_range_make(vd_get64(share->address), vd_get64(share->size), &range) ||
        !lies_in_file(fd, offset, vd_get64(share->size)))
        return VD_DEXT_BAD_ARGUMENT;
    if (shares->count >= DEXTD_MAX_SHARES || vd_get64(share->size) > DEXTD_MAX_SHARED_BYTES - shares->bytes)
        return VD_DEXT_NO_RESOURCES;
    added = vd_env_alloc(shares->env, 1, sizeof(*added));
    if (!added)
        return VD_DEXT_NO_MEMORY;
    added->owner = shares;
    added->node.range = range;
    status = vd_tree_insert(&shares->tree, &added->node) ? VD_DEXT_BAD_ARGUMENT : VD_DEXT_SUCCESS;
    if (status)
        goto err_free;
    status = attach(added, range, offset, fd);
    if (status)
        goto err_remove;
    shares->count++;
    shares->bytes += vd_range_size(range);
    return VD_DEXT_SUCCESS;

err_remove:
    vd_tree_remove(&shares->tree, &added->node);
err_free:
    vd_env_free(shares->env, added);
    return status;
}

int dextd_shares_remove(struct dextd_shares *shares, uint64_t address)
{
    struct vd_tree_node *node = vd_tree_find(&shares->tree, address);

    if (!node || node->range.start != address)
        return VD_DEXT_NOT_FOUND;
    forget(VD_CONTAINER(node, struct dextd_share, node));
    return VD_DEXT_SUCCESS;
}

struct dextd_share *dextd_shares_get(struct dextd_shares *shares, uint64_t address, uint64_t size,
                                     uint8_t **memory)
{
    struct vd_tree_node *node = vd_tree_find(&shares->tree, address);
    struct dextd_share *share;
    struct vd_range range;

    if (!node || !vd_range_make(address, size, &range) || !vd_range_contains(node->range, range))
        return NULL;
    share = VD_CONTAINER(node, struct dextd_share, node);
    share->regions++;
    *memory = share->memory + (address - node->range.start);
    return share;
}

void dextd_share_put(struct dextd_share *share)
{
    assert(share->regions > 0);
    if (--share->regions == 0 && share->forgotten)
        destroy(share);
}
