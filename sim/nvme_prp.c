/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Physical Region Pages, 4.3. First the whole description is gathered into spans of bus addresses (lists are copied:
 * the guest may change them meanwhile), then the spans are pinned or copied. Nothing is pinned while a list is read,
 * because reading may re-enter the controller. The length bounds every loop, also in a list that points at itself.
 */
#include "sim/nvme.h"

#include <errno.h>

#include "base/range.h"

enum { LIST_CHUNK = 512 }; /* entries copied at a time: a 4 KiB page of them */

struct gather {
    struct nvme *nvme;
    struct nvme_span *spans;
    unsigned count;
    uint64_t left; /* bytes still to be described */
    uint64_t page;
};

/* Appends `size` bytes at `address`, merging neighbours. */
static void add_span(struct gather *g, uint64_t address, uint64_t size)
{
    struct nvme_span *last = g->count ? &g->spans[g->count - 1] : NULL;

    g->left -= size;
    if (last && address && last->address + last->size == address)
        last->size += size;
    else
        g->spans[g->count++] = (struct nvme_span){address, size};
}

/* One entry that names a whole page; 4.3: its offset must be zero. */
static uint16_t add_page(struct gather *g, uint64_t entry)
{
    if (!vd_is_aligned(entry, g->page))
        return NVME_SC_PRP_OFFSET | NVME_SC_DNR;
    add_span(g, entry, g->left < g->page ? g->left : g->page);
    return NVME_OK;
}

static int read_list(struct nvme *nvme, uint64_t address, vd_le64 *entries, unsigned count)
{
    uint64_t epoch = nvme->epoch;
    int error = sim_port_dma_read(nvme->port, address, entries, count * sizeof(*entries));

    return nvme->epoch == epoch ? error : -ECANCELED;
}

/* The entries of one list page from `list` on; *chain is the next page, when there is one. */
static uint16_t add_list(struct gather *g, uint64_t list, uint64_t *chain)
{
    vd_le64 entries[LIST_CHUNK];
    uint64_t room = (g->page - (list & (g->page - 1))) / sizeof(*entries);
    uint64_t needed = (g->left + g->page - 1) / g->page;
    uint64_t count = needed < room ? needed : room;
    bool chained = needed > room;

    while (count) {
        unsigned now = count < LIST_CHUNK ? (unsigned)count : LIST_CHUNK;

        if (read_list(g->nvme, list, entries, now))
            return NVME_SC_TRANSFER | NVME_SC_DNR;
        count -= now;
        list += now * sizeof(*entries);
        for (unsigned i = 0; i < now; i++) {
            uint64_t entry = vd_get64(entries[i]);
            uint16_t status;

            if (chained && count == 0 && i == now - 1) {
                *chain = entry;
                return NVME_OK;
            }
            status = add_page(g, entry);
            if (status)
                return status;
        }
    }
    return NVME_OK;
}

uint16_t nvme_prp_gather(struct nvme *nvme, uint64_t prp1, uint64_t prp2, uint64_t length,
                         struct nvme_span *spans, unsigned *count)
{
    struct gather g = {.nvme = nvme, .spans = spans, .left = length, .page = 1ull << nvme->page_shift};
    uint64_t first = g.page - (prp1 & (g.page - 1));
    uint16_t status = NVME_OK;

    if (prp1 & 3)
        return NVME_SC_PRP_OFFSET | NVME_SC_DNR;
    add_span(&g, prp1, first < length ? first : length);
    if (g.left && g.left <= g.page) {
        status = add_page(&g, prp2);
    } else if (g.left) {
        uint64_t list = prp2;

        if (list & 7)
            return NVME_SC_PRP_OFFSET | NVME_SC_DNR;
        while (g.left && !status) {
            status = add_list(&g, list, &list);
            /* Only the first list may begin inside a page. */
            if (g.left && !status && !vd_is_aligned(list, g.page))
                status = NVME_SC_PRP_OFFSET | NVME_SC_DNR;
        }
    }
    *count = g.count;
    return status;
}

static void unpin_first(struct nvme *nvme, const struct nvme_request *request, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        sim_port_dma_unpin(nvme->port, request->spans[i].address, request->spans[i].size);
}

int nvme_prp_pin(struct nvme *nvme, struct nvme_request *request, enum sim_access access)
{
    request->nr_iov = 0;
    for (unsigned i = 0; i < request->nr_spans; i++) {
        int error = sim_port_dma_iov(nvme->port, request->spans[i].address, request->spans[i].size, access,
                                     request->iov, &request->nr_iov, nvme->max_spans);

        if (error) {
            unpin_first(nvme, request, i);
            return error == -ENOBUFS ? -EREMOTE : error;
        }
    }
    request->pinned = true;
    return 0;
}

void nvme_prp_unpin(struct nvme *nvme, struct nvme_request *request)
{
    if (request->pinned)
        unpin_first(nvme, request, request->nr_spans);
    request->pinned = false;
}

static int after_copy(const struct nvme *nvme, uint64_t epoch, int error)
{
    return nvme->epoch == epoch ? error : -ECANCELED;
}

int nvme_prp_copy_in(struct nvme *nvme, const struct nvme_span *spans, unsigned count, void *buffer)
{
    uint64_t epoch = nvme->epoch;
    uint8_t *to = buffer;
    int error = 0;

    for (unsigned i = 0; i < count && !error; i++) {
        error = after_copy(nvme, epoch, sim_port_dma_read(nvme->port, spans[i].address, to, spans[i].size));
        to += spans[i].size;
    }
    return error;
}

int nvme_prp_copy_out(struct nvme *nvme, const struct nvme_span *spans, unsigned count, const void *buffer)
{
    uint64_t epoch = nvme->epoch;
    const uint8_t *from = buffer;
    int error = 0;

    for (unsigned i = 0; i < count && !error; i++) {
        error =
            after_copy(nvme, epoch, sim_port_dma_write(nvme->port, spans[i].address, from, spans[i].size));
        from += spans[i].size;
    }
    return error;
}
