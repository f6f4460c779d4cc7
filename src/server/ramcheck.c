/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Is the guest's RAM really shared with us?
 *
 * A VMM may hand over the file of its RAM and yet map it privately (QEMU's memory-backend-memfd or -file with share=off):
 * then the guest's writes never reach the file, and the device would read zeros and write where nobody looks. Nothing in
 * the protocol tells; but the client reads *its* memory for us through DMA_READ. So pages of every large writable region
 * are compared, once the guest switches bus mastering on (before that QEMU refuses such reads) and before the device's next
 * turn. Guest and device may write meanwhile, so a difference counts only when both sides, read twice each in alternation,
 * stayed as they were. A page that is zero at the client proves nothing.
 *
 * Memory is taken as shared once every such region showed a page with content that agrees. Until then the check runs at
 * each further switch of bus mastering, and goes on where it stopped, a bounded number of times.
 */
#include "server/session.h"

#include <errno.h>
#include <string.h>

#include <viaduct/region.h>

enum {
    LARGE = 1048576, /* smaller regions are firmware, or single pages of a virtual IOMMU */
    PAGE = 4096,
    SPREAD = 48,      /* pages looked at per region, besides its ends */
    MAX_REGIONS = 16, /* looked at in one go: bounds the time to some milliseconds each */
    MAX_CHECKS = 64,
    COMMAND = 4, /* PCI 3.0, 6.2.2 */
    COMMAND_MASTER = 4,
};

#define REMEDY                                                                                               \
    "start QEMU with -object memory-backend-memfd,id=mem0,size=SIZE,share=on -machine memory-backend=mem0"

enum verdict { VERDICT_UNKNOWN, VERDICT_SHARED, VERDICT_PRIVATE, VERDICT_GONE, VERDICT_UNANSWERED };

void vd_ramcheck_added(struct vd_session *s, uint64_t size, uint32_t access)
{
    if (size < LARGE || !(access & VD_ACCESS_WRITE))
        return;
    s->memory_unproven = true;
    s->check_from = 0;
    s->check_gap = false;
    s->checks = 0;
    s->check_due |= s->bus_master;
}

void vd_ramcheck_config_written(struct vd_session *s, uint64_t offset, const uint8_t *data, size_t count)
{
    if (offset > COMMAND || COMMAND - offset >= count)
        return;
    s->bus_master = data[COMMAND - offset] & COMMAND_MASTER;
    s->check_due |= s->bus_master && s->memory_unproven;
}

static bool is_large(const struct vd_guest_region *r)
{
    return (r->access & VD_ACCESS_WRITE) && vd_range_size(r->node.range) >= LARGE;
}

/*
 * The host memory of a page, or NULL. Looked up anew each time: while a question waits, the client may unmap.
 */
static const uint8_t *page_at(const struct vd_session *s, uint64_t gpa)
{
    const struct vd_guest_region *r = vd_guest_memory_find(s->memory, (vd_gpa){gpa});

    if (!r || !r->host || r->node.range.last - gpa < PAGE - 1)
        return NULL;
    return r->host + (gpa - r->node.range.start);
}

static bool is_zero(const uint8_t *page)
{
    return page[0] == 0 && memcmp(page, page + 1, PAGE - 1) == 0;
}

/* With bus mastering off again, a refusal says nothing about the client: QEMU reads only for a bus master. */
static enum verdict probe_failed(const struct vd_session *s)
{
    bool silent = s->remote_broken || s->bus_master;

    return s->end == VD_END_NONE && silent ? VERDICT_UNANSWERED : VERDICT_GONE;
}

/* Both sides a second time: `ours` and `theirs` hold the first. */
static enum verdict compare_again(struct vd_session *s, uint64_t gpa, const uint8_t *ours,
                                  const uint8_t *theirs)
{
    uint8_t again[PAGE];
    const uint8_t *page = page_at(s, gpa);

    if (!page)
        return VERDICT_GONE;
    if (memcmp(page, ours, PAGE) != 0)
        return VERDICT_UNKNOWN;
    if (vd_remote_probe(s, gpa, again, PAGE))
        return probe_failed(s);
    page = page_at(s, gpa);
    if (!page)
        return VERDICT_GONE;
    return memcmp(again, theirs, PAGE) == 0 && memcmp(page, ours, PAGE) == 0 ? VERDICT_PRIVATE
                                                                             : VERDICT_UNKNOWN;
}

static enum verdict compare(struct vd_session *s, uint64_t gpa)
{
    uint8_t ours[PAGE], theirs[PAGE];
    const uint8_t *page = page_at(s, gpa);

    if (!page)
        return VERDICT_GONE;
    memcpy(ours, page, PAGE);
    if (vd_remote_probe(s, gpa, theirs, PAGE))
        return probe_failed(s);
    if (is_zero(theirs))
        return VERDICT_UNKNOWN;
    if (memcmp(ours, theirs, PAGE) == 0)
        return VERDICT_SHARED;
    return compare_again(s, gpa, ours, theirs);
}

/* The i-th page to look at: both ends, where firmware keeps its tables, then evenly spread. */
static uint64_t sample(uint64_t pages, unsigned i)
{
    if (i < 2)
        return i;
    if (i < 4)
        return pages - 1 - (i - 2);
    return pages * (i - 4) / SPREAD; /* cannot wrap: there are at most 2^52 pages */
}

static enum verdict check_region(struct vd_session *s, struct vd_range range)
{
    uint64_t pages = (range.last - range.start) / PAGE + 1;
    enum verdict verdict = VERDICT_UNKNOWN;

    for (unsigned i = 0; i < SPREAD + 4; i++) {
        enum verdict one = compare(s, range.start + sample(pages, i) * PAGE);

        if (one > VERDICT_SHARED)
            return one;
        if (one == VERDICT_SHARED)
            verdict = one;
    }
    return verdict;
}

/* The first large region with a descriptor at or above `from`. */
static bool next_region(const struct vd_session *s, uint64_t from, struct vd_range *out)
{
    for (const struct vd_guest_region *r = vd_guest_memory_from(s->memory, (vd_gpa){from}); r;
         r = vd_guest_memory_next(s->memory, r)) {
        if (r->host && is_large(r)) {
            *out = r->node.range;
            return true;
        }
    }
    return false;
}

static void warn_unchecked(struct vd_session *s)
{
    s->memory_unproven = false;
    if (s->warned_unchecked)
        return;
    s->warned_unchecked = true;
    vd_warn(s->env,
            "%s: the client answers no DMA_READ, so it cannot be checked that guest memory is shared; if it "
            "is not, " REMEDY,
            vd_device_info(s->device)->address);
}

/* RAM without a single descriptor: reached through messages where the host can do that, else not at all. */
static void no_descriptors(struct vd_session *s)
{
    s->memory_unproven = false;
    if (!vd_dma_info(s->device)->indirect) {
        vd_session_refuse(
            s, "guest RAM comes without a file descriptor, so the device cannot reach it; " REMEDY);
    } else if (!s->warned_slow) {
        s->warned_slow = true;
        vd_warn(s->env,
                "%s: guest RAM comes without a file descriptor: every DMA takes a message, which is "
                "slow; " REMEDY,
                vd_device_info(s->device)->address);
    }
}

static bool any_large(const struct vd_session *s)
{
    for (const struct vd_guest_region *r = vd_guest_memory_next(s->memory, NULL); r;
         r = vd_guest_memory_next(s->memory, r))
        if (is_large(r))
            return true;
    return false;
}

/* What a region's verdict means for the session; true when there is no more to check. */
static bool conclude(struct vd_session *s, enum verdict verdict, uint64_t start)
{
    if (verdict == VERDICT_PRIVATE)
        vd_session_refuse(s,
                          "guest RAM at 0x%llx is private to the VMM (share=off): DMA would not reach the "
                          "guest; " REMEDY,
                          (unsigned long long)start);
    else if (verdict == VERDICT_UNANSWERED)
        warn_unchecked(s);
    return verdict == VERDICT_PRIVATE || verdict == VERDICT_UNANSWERED;
}

static void check_regions(struct vd_session *s)
{
    struct vd_range range;
    unsigned n = 0;

    while (next_region(s, s->check_from, &range)) {
        enum verdict verdict;

        if (n++ == MAX_REGIONS)
            return;
        verdict = check_region(s, range);
        if (conclude(s, verdict, range.start))
            return;
        if (verdict != VERDICT_SHARED)
            s->check_gap = true;
        if (range.last == UINT64_MAX)
            break;
        s->check_from = range.last + 1;
    }
    s->memory_unproven = s->check_gap || s->checks == 0; /* 0: memory was added meanwhile */
    s->check_gap = false;
    s->check_from = 0;
}

void vd_ramcheck_run(struct vd_session *s)
{
    struct vd_range range;

    if (!s->check_due || s->end != VD_END_NONE)
        return;
    s->check_due = false;
    if (!s->bus_master)
        return;
    if (!next_region(s, 0, &range)) {
        if (any_large(s))
            no_descriptors(s);
    } else if (s->checks++ < MAX_CHECKS) {
        check_regions(s);
    } else {
        s->memory_unproven = false;
    }
}
