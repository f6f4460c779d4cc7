/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Life cycle of a device behind an extension: find its instance, claim it, learn what it is and can do; reset; close.
 *
 * Opening is a list of steps, each of which needs the claim of the one before. What they build is undone by one thing:
 * closing the connection, upon which the extension stops the device, undoes its mappings and resets it. So there is
 * one way down, whichever step failed, and close() takes it, too.
 */
#include "backend/dext/host.h"

#include <errno.h>
#include <string.h>

static const int reset_errors[] = {-ENODEV, 0};

/* The steps of opening; each returns a status. */

static int learn_features(struct dext_host *host)
{
    int status = dext_note(host, dext_connection_features(&host->connection, &host->features));

    if (!status && !host->features.bits)
        vd_info(host->env, "%s: an older extension: one call for each mapping, its limits unknown, no events",
                host->address.name);
    return status;
}

static int claim(struct dext_host *host)
{
    return dext_call(host, VD_DEXT_CLAIM, NULL, 0, NULL, 0);
}

static int learn_identity(struct dext_host *host)
{
    struct dext_identity *identity = &host->identity;
    int status = dext_note(host, dext_identify(&host->connection, &host->features, identity));

    if (!status && !identity->described)
        status = dext_config_identify(host, identity);
    host->info.model = identity->model;
    host->info.vendor = identity->vendor_id;
    host->info.device = identity->device_id;
    host->info.subvendor = identity->subvendor_id;
    host->info.subdevice = identity->subdevice_id;
    host->info.class_code = identity->class_code;
    host->info.page_size = host->features.page_size;
    return status;
}

/* Claiming turns bus mastering on, which is the guest's to decide; nothing else happens before it is off again. */
static const struct {
    int (*run)(struct dext_host *host);
    const char *what;
} steps[] = {
    {learn_features, "telling its features"},
    {claim, "claiming the device"},
    {dext_config_calm, "switching bus mastering off"},
    {learn_identity, "telling who the device is"},
    {dext_irq_setup, "setting up interrupts"},
    {dext_region_setup, "telling the device's BARs"},
    {dext_dma_setup, "preparing DMA"},
};

static int explain(const struct dext_host *host, const char *what, int status, struct vd_failure *failure)
{
    const char *name = host->address.name;

    switch (status) {
    case VD_DEXT_EXCLUSIVE_ACCESS:
    case VD_DEXT_BUSY:
        return vd_fail(failure, -EBUSY,
                       "%s: in use by another client; end that virtual machine or server first", name);
    case VD_DEXT_NO_DEVICE:
        return vd_fail(failure, -ENOENT, "%s: the device was removed just now", name);
    case VD_DEXT_NO_MEMORY:
        return vd_fail(failure, -ENOMEM, "%s: out of memory while %s", name, what);
    case VD_DEXT_NOT_PRIVILEGED:
    case VD_DEXT_NOT_PERMITTED:
        return vd_fail(failure, -EACCES,
                       "%s: not allowed while %s: %s; `viaduct doctor` says what is missing", name, what,
                       dext_return_name(status));
    case VD_DEXT_NOT_RESPONDING:
        return vd_fail(failure, -EIO,
                       "%s: the device does not answer (its config space reads as all ones); check its power "
                       "and cable",
                       name);
    default:
        return vd_fail(failure, dext_errno(status, dext_open_errors),
                       "%s: the extension failed while %s: %s (0x%08x)", name, what, dext_return_name(status),
                       (unsigned)status);
    }
}

static int run_steps(struct dext_host *host, struct vd_failure *failure)
{
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        int status = steps[i].run(host);

        if (status)
            return explain(host, steps[i].what, status, failure);
    }
    host->info.can_reset = true;
    host->info.raw_config = true;
    host->info.poll_fd = host->connection.ops->poll_fd(host->connection.link);
    return 0;
}

int dext_host_open(dext_choose_link *choose, const struct vd_env *env, const char *address,
                   const struct vd_host_events *events, void **out, struct vd_host_info *info,
                   struct vd_failure *failure)
{
    struct dext_address parsed;
    struct dext_host *host;
    int err = dext_address_parse(address, &parsed, failure);

    if (err)
        return err;
    host = vd_env_alloc(env, 1, sizeof(*host));
    if (!host)
        return vd_fail(failure, -ENOMEM, "%s: out of memory", parsed.name);
    host->env = env;
    host->events = *events;
    host->address = parsed;
    err = dext_find(env, choose(dext_address_where(&parsed)), &parsed, &host->connection, failure);
    if (err) {
        vd_env_free(env, host);
        return err;
    }
    err = run_steps(host, failure);
    if (err) {
        dext_host_close(host);
        return err;
    }
    *info = host->info;
    *out = host;
    host->open = true;
    return 0;
}

void dext_host_close(void *opaque)
{
    struct dext_host *host = opaque;

    host->connection.ops->close(host->connection.link);
    dext_dma_finish(host);
    vd_env_free(host->env, host);
}

/* The device comes back with COMMAND cleared; core's config space decides about bus mastering. */
int dext_host_reset(void *opaque)
{
    struct dext_host *host = opaque;
    int status = host->gone ? VD_DEXT_NO_DEVICE : dext_call(host, VD_DEXT_RESET_DEVICE, NULL, 0, NULL, 0);

    if (!status)
        status = dext_config_calm(host);
    if (!status)
        status = dext_irq_restore(host);
    return dext_errno(status, reset_errors);
}

uint64_t dext_host_faults(void *opaque)
{
    const struct dext_host *host = opaque;
    uint64_t faults = host && host->faults ? __atomic_load_n(host->faults, __ATOMIC_SEQ_CST) : 0;

    return faults == UINT64_MAX ? 0 : faults;
}
