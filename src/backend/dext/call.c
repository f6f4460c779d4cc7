/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls to the extension, and what their answers say about device and connection: NO_DEVICE means the device is gone
 * for good but its mappings are still ours to undo; NOT_ATTACHED means nothing can be called any more.
 */
#include "backend/dext/host.h"

#include <errno.h>

#include "base/range.h"

/* What a page is on the machines that have the extension, for one that does not say. */
enum { USUAL_PAGE_SIZE = 16384, LEAST_PAGE_SIZE = 4096 };

int dext_connection_call(const struct dext_connection *c, uint32_t selector, const uint64_t *in,
                         uint32_t nr_in, uint64_t *out, uint32_t nr_out)
{
    struct vd_link_call call = {.selector = selector,
                                .scalars_in = in,
                                .nr_scalars_in = nr_in,
                                .scalars_out = out,
                                .nr_scalars_out = nr_out};
    int status = c->ops->call(c->link, &call);

    if (!status && call.nr_scalars_out != nr_out)
        return VD_DEXT_IPC_ERROR;
    return status;
}

static bool is_page_size(uint64_t size)
{
    return vd_is_power_of_two(size) && size >= LEAST_PAGE_SIZE && size <= UINT32_MAX;
}

int dext_connection_features(const struct dext_connection *c, struct dext_features *out)
{
    const uint64_t mine = VD_DEXT_ABI;
    uint64_t told[4] = {0};
    int status = dext_connection_call(c, VD_DEXT_GET_FEATURES, &mine, 1, told, 4);

    *out = (struct dext_features){.page_size = USUAL_PAGE_SIZE};
    if (status)
        return dext_is_refusal(status) ? 0 : status;
    if (told[0] < VD_DEXT_ABI)
        return 0;
    out->bits = told[1];
    out->batch = told[2] < VD_DEXT_MAX_BATCH ? (uint32_t)told[2] : VD_DEXT_MAX_BATCH;
    if (!(out->bits & VD_DEXT_FEATURE_BATCH))
        out->batch = 0;
    if (is_page_size(told[3]))
        out->page_size = (uint32_t)told[3];
    return 0;
}

void dext_report_gone(struct dext_host *host)
{
    if (host->gone)
        return;
    host->gone = true;
    if (host->open)
        host->events.gone(host->events.opaque);
}

int dext_note(struct dext_host *host, int status)
{
    if (status == VD_DEXT_NOT_ATTACHED && !host->broken) {
        host->broken = true;
        vd_err(host->env, "%s: the connection to the extension is lost", host->address.name);
    }
    if (status == VD_DEXT_NO_DEVICE || status == VD_DEXT_NOT_ATTACHED)
        dext_report_gone(host);
    return status;
}

int dext_call(struct dext_host *host, uint32_t selector, const uint64_t *in, uint32_t nr_in, uint64_t *out,
              uint32_t nr_out)
{
    return dext_note(host, dext_connection_call(&host->connection, selector, in, nr_in, out, nr_out));
}

const int dext_open_errors[] = {-EACCES, -EBUSY, -ENOENT, -ENOMEM, -ENOSPC, 0};

int dext_allowed(int err, const int *allowed)
{
    for (; *allowed; allowed++)
        if (*allowed == err)
            return err;
    return err ? -EIO : 0;
}

int dext_errno(int status, const int *allowed)
{
    return dext_allowed(dext_return_errno(status), allowed);
}
