/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The extension's return codes and errnos, as one table. Where several codes share an errno, the first row is the one
 * that the errno leads back to. Constant; no state.
 */
#include "backend/dext/host.h"

#include <errno.h>

struct row {
    int status, err;
    const char *name;
};

static const struct row rows[] = {
    {VD_DEXT_SUCCESS, 0, "kIOReturnSuccess"},
    {VD_DEXT_ERROR, -EIO, "kIOReturnError"},
    {VD_DEXT_NO_MEMORY, -ENOMEM, "kIOReturnNoMemory"},
    {VD_DEXT_NO_RESOURCES, -ENOMEM, "kIOReturnNoResources"},
    {VD_DEXT_IPC_ERROR, -EPROTO, "kIOReturnIPCError"},
    {VD_DEXT_NO_DEVICE, -ENODEV, "kIOReturnNoDevice"},
    {VD_DEXT_NOT_PRIVILEGED, -EACCES, "kIOReturnNotPrivileged"},
    {VD_DEXT_BAD_ARGUMENT, -EINVAL, "kIOReturnBadArgument"},
    {VD_DEXT_EXCLUSIVE_ACCESS, -EBUSY, "kIOReturnExclusiveAccess"},
    {VD_DEXT_UNSUPPORTED, -ENOTSUP, "kIOReturnUnsupported"},
    {VD_DEXT_IO_ERROR, -EIO, "kIOReturnIOError"},
    {VD_DEXT_NOT_OPEN, -EBADF, "kIOReturnNotOpen"},
    {VD_DEXT_NOT_ALIGNED, -ENOBUFS, "kIOReturnNotAligned"},
    {VD_DEXT_STILL_OPEN, -EEXIST, "kIOReturnStillOpen"},
    {VD_DEXT_DMA_ERROR, -EFAULT, "kIOReturnDMAError"},
    {VD_DEXT_BUSY, -EALREADY, "kIOReturnBusy"},
    {VD_DEXT_TIMEOUT, -ETIMEDOUT, "kIOReturnTimeout"},
    {VD_DEXT_NOT_READY, -ENXIO, "kIOReturnNotReady"},
    {VD_DEXT_NOT_ATTACHED, -ENODEV, "kIOReturnNotAttached"},
    {VD_DEXT_NO_SPACE, -ENOSPC, "kIOReturnNoSpace"},
    {VD_DEXT_NOT_PERMITTED, -EPERM, "kIOReturnNotPermitted"},
    {VD_DEXT_ABORTED, -ECANCELED, "kIOReturnAborted"},
    {VD_DEXT_NOT_RESPONDING, -EIO, "kIOReturnNotResponding"},
    {VD_DEXT_NOT_FOUND, -ENOENT, "kIOReturnNotFound"},
};

enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static const struct row *find(int status)
{
    for (unsigned i = 0; i < ROWS; i++)
        if (rows[i].status == status)
            return &rows[i];
    return NULL;
}

int dext_return_errno(int status)
{
    const struct row *row = find(status);

    return row ? row->err : -EIO;
}

int dext_return_of(int err)
{
    for (unsigned i = 0; i < ROWS; i++)
        if (rows[i].err == err)
            return rows[i].status;
    return VD_DEXT_ERROR;
}

const char *dext_return_name(int status)
{
    const struct row *row = find(status);

    return row ? row->name : "unknown code";
}

bool dext_is_refusal(int status)
{
    switch (status) {
    case VD_DEXT_SUCCESS:
    case VD_DEXT_NO_MEMORY:
    case VD_DEXT_IPC_ERROR:
    case VD_DEXT_NO_DEVICE:
    case VD_DEXT_TIMEOUT:
    case VD_DEXT_NOT_ATTACHED:
    case VD_DEXT_NOT_RESPONDING:
        return false;
    default:
        return true;
    }
}
