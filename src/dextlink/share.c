/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counted shares of files; see share.h.
 *
 * The whole mapping of a file is a guess: the process may have mapped only a part, and other things beside it (guest
 * memory of two files, one of them in two pieces, is mapped like that). So what is announced is cut where a share in use
 * begins or ends, and one whose guess turns out to be wrong shrinks to what is used of it; the other side keeps memory
 * for the regions that lie in it, whatever is withdrawn. Only a region on another file's used part is refused.
 */
#include "dextlink/share.h"

#include <assert.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file at an address. */
struct identity {
    dev_t dev;
    ino_t ino;
    uint64_t base; /* where offset 0 is, or would be: modulo 2^64 */
};

struct vd_share {
    struct vd_tree_node node; /* what was announced */
    struct identity identity;
    uint64_t uses;
    struct vd_range used;           /* while in use: pages that hold all regions since it was idle */
    int fd;                         /* of the file, our own; -1: there was none left, so it cannot shrink */
    bool lost;                      /* it could not be announced again: it has room for no further region */
    struct vd_share *older, *newer; /* while idle */
};

static struct vd_share *share_of(struct vd_tree_node *node)
{
    return VD_CONTAINER(node, struct vd_share, node);
}

static void destroy(struct vd_shares *shares, struct vd_share *share)
{
    if (share->fd >= 0)
        close(share->fd);
    vd_env_free(shares->env, share);
}

void vd_shares_init(struct vd_shares *shares, const struct vd_env *env, const struct vd_share_ops *ops,
                    void *opaque)
{
    *shares =
        (struct vd_shares){.env = env, .ops = ops, .opaque = opaque, .page = (uint64_t)sysconf(_SC_PAGESIZE)};
}

void vd_shares_finish(struct vd_shares *shares)
{
    struct vd_tree_node *node;

    while ((node = vd_tree_first(&shares->tree))) {
        vd_tree_remove(&shares->tree, node);
        destroy(shares, share_of(node));
    }
    shares->oldest = shares->newest = NULL;
    shares->nr_idle = 0;
}

static void make_idle(struct vd_shares *shares, struct vd_share *share)
{
    share->older = shares->newest;
    share->newer = NULL;
    if (shares->newest)
        shares->newest->newer = share;
    else
        shares->oldest = share;
    shares->newest = share;
    shares->nr_idle++;
}

static void leave_idle(struct vd_shares *shares, struct vd_share *share)
{
    if (share->older)
        share->older->newer = share->newer;
    else
        shares->oldest = share->newer;
    if (share->newer)
        share->newer->older = share->older;
    else
        shares->newest = share->older;
    shares->nr_idle--;
}

static void withdraw(struct vd_shares *shares, struct vd_share *idle)
{
    leave_idle(shares, idle);
    vd_tree_remove(&shares->tree, &idle->node);
    if (!idle->lost)
        shares->ops->withdraw(shares->opaque, idle->node.range.start);
    destroy(shares, idle);
}

/* One more use, by that region. */
static void use(const struct vd_shares *shares, struct vd_share *share, struct vd_range region)
{
    struct vd_range pages = {region.start & ~(shares->page - 1), region.last | (shares->page - 1)};

    if (pages.last > share->node.range.last)
        pages.last = share->node.range.last;
    if (share->uses++ == 0)
        share->used = pages;
    if (pages.start < share->used.start)
        share->used.start = pages.start;
    if (pages.last > share->used.last)
        share->used.last = pages.last;
}

/* A region that was checked against its file. */
struct region {
    struct vd_range range;
    uint64_t offset;    /* of range.start in the file */
    uint64_t file_size; /* at least offset + size */
    struct identity identity;
};

static bool inspect(const struct vd_shares *shares, const struct vd_link_memory *memory, struct region *out)
{
    uint64_t host = (uintptr_t)memory->host;
    struct stat st;

    if (memory->fd < 0 || !vd_range_make(host, memory->size, &out->range) || fstat(memory->fd, &st) < 0 ||
        st.st_size <= 0 || !vd_span_fits(memory->offset, memory->size, (uint64_t)st.st_size))
        return false;
    out->offset = memory->offset;
    out->file_size = (uint64_t)st.st_size;
    out->identity = (struct identity){.dev = st.st_dev, .ino = st.st_ino, .base = host - memory->offset};
    return vd_is_aligned(out->identity.base, shares->page); /* mmap() knows no other */
}

static bool same(const struct identity *a, const struct identity *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->base == b->base;
}

static struct vd_share *find(const struct vd_shares *shares, const struct region *region)
{
    struct vd_tree_node *node = vd_tree_find(&shares->tree, region->range.start);

    return node && vd_range_contains(node->range, region->range) && !share_of(node)->lost &&
                   same(&share_of(node)->identity, &region->identity)
               ? share_of(node)
               : NULL;
}

/* Where the whole file is, cut where addresses end. */
static struct vd_range whole_file(const struct region *region)
{
    uint64_t before = region->offset < region->range.start ? region->offset : region->range.start;
    uint64_t behind = region->file_size - region->offset - 1;

    if (behind > UINT64_MAX - region->range.start)
        behind = UINT64_MAX - region->range.start;
    return (struct vd_range){region->range.start - before, region->range.start + behind};
}

static bool is_shortage(int status)
{
    return status == VD_DEXT_NO_RESOURCES || status == VD_DEXT_NO_MEMORY || status == VD_DEXT_NO_SPACE;
}

/* Tells the other side; what it keeps for nobody makes room when it runs short. */
static int announce(struct vd_shares *shares, struct vd_range range, const struct identity *identity, int fd)
{
    for (;;) {
        int status = shares->ops->announce(shares->opaque, range.start, vd_range_size(range),
                                           range.start - identity->base, fd);

        if (!is_shortage(status) || !shares->oldest)
            return status;
        withdraw(shares, shares->oldest);
    }
}

/* A share in use gives up what nobody used of it. False when the region lies on what is used. */
static bool shrink(struct vd_shares *shares, struct vd_share *share, struct vd_range region)
{
    if (share->fd < 0 || (share->used.start <= region.last && region.start <= share->used.last))
        return false;
    if (!share->lost)
        shares->ops->withdraw(shares->opaque, share->node.range.start);
    vd_tree_remove(&shares->tree, &share->node);
    share->node.range = share->used;
    share->lost = announce(shares, share->used, &share->identity, share->fd) != 0;
    vd_tree_insert(&shares->tree, &share->node);
    return true;
}

/* Makes shares in use shrink that the region touches. False when one cannot. */
static bool clear_region(struct vd_shares *shares, struct vd_range region)
{
    struct vd_tree_node *node;

    while ((node = vd_tree_lower(&shares->tree, region.start)) && node->range.start <= region.last)
        if (share_of(node)->uses == 0)
            withdraw(shares, share_of(node));
        else if (!shrink(shares, share_of(node), region))
            return false;
    return true;
}

/*
 * Withdraws idle shares that overlap `whole` and cuts it where used ones do. False when that leaves too little for the
 * region.
 */
static bool make_way(struct vd_shares *shares, struct vd_range region, struct vd_range *whole)
{
    struct vd_tree_node *node;

    if (!clear_region(shares, region))
        return false;
    node = vd_tree_lower(&shares->tree, whole->start);

    while (node && node->range.start <= whole->last) {
        struct vd_tree_node *next = vd_tree_next(node);

        if (share_of(node)->uses == 0)
            withdraw(shares, share_of(node));
        else if (node->range.start > region.last)
            whole->last = node->range.start - 1;
        else
            whole->start = (node->range.last | (shares->page - 1)) + 1;
        node = next;
    }
    return whole->start <= region.start;
}

int vd_shares_get(struct vd_shares *shares, const struct vd_link_memory *memory)
{
    struct vd_share *share;
    struct vd_range whole;
    struct region region;
    int status;

    if (!inspect(shares, memory, &region))
        return VD_DEXT_BAD_ARGUMENT;
    share = find(shares, &region);
    if (share) {
        if (share->uses == 0)
            leave_idle(shares, share);
        use(shares, share, region.range);
        return VD_DEXT_SUCCESS;
    }
    whole = whole_file(&region);
    if (!make_way(shares, region.range, &whole))
        return VD_DEXT_NO_RESOURCES;
    share = vd_env_alloc(shares->env, 1, sizeof(*share));
    if (!share)
        return VD_DEXT_NO_MEMORY;
    status = announce(shares, whole, &region.identity, memory->fd);
    if (status) {
        vd_env_free(shares->env, share);
        return status;
    }
    share->node.range = whole;
    share->identity = region.identity;
    share->fd = fcntl(memory->fd, F_DUPFD_CLOEXEC, 0);
    use(shares, share, region.range);
    vd_tree_insert(&shares->tree, &share->node);
    return VD_DEXT_SUCCESS;
}

void vd_shares_put(struct vd_shares *shares, const void *host, uint64_t size)
{
    struct vd_tree_node *node = vd_tree_find(&shares->tree, (uintptr_t)host);

    (void)size; /* a region lies in one share */
    assert(node && share_of(node)->uses > 0);
    if (!node || --share_of(node)->uses > 0)
        return;
    make_idle(shares, share_of(node));
    /* Some hosts number shared memory objects 0, all of them: two cannot be told apart once the memory may be gone. */
    if (share_of(node)->identity.ino == 0)
        withdraw(shares, share_of(node));
    else if (shares->nr_idle > VD_SHARES_IDLE)
        withdraw(shares, shares->oldest);
}
