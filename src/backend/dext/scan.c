/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The list of devices: every instance is opened, asked who it drives, and closed again. Nothing is claimed, so a device
 * that somebody uses is not disturbed. Called on any thread; keeps nothing.
 */
#include "backend/dext/host.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static enum vd_device_state state_of(const struct dext_identity *identity)
{
    if (!identity->described)
        return VD_DEVICE_UNKNOWN;
    if (identity->state & VD_DEXT_STATE_GONE)
        return VD_DEVICE_REMOVED;
    return identity->state & VD_DEXT_STATE_CLAIMED ? VD_DEVICE_IN_USE : VD_DEVICE_FREE;
}

static void fill_regions(const struct dext_identity *identity, struct vd_device_found *found)
{
    for (unsigned i = 0; i <= VD_DEXT_BARS; i++) {
        if (identity->bars[i].type & VD_DEXT_BAR_IO)
            continue;
        found->regions[i].size = identity->bars[i].size;
        found->regions[i].flags = dext_region_flags(identity->bars[i].type);
    }
}

static void fill(const struct vd_link_ops *ops, const struct dext_identity *identity,
                 struct vd_device_found *found)
{
    *found = (struct vd_device_found){
        .state = state_of(identity),
        .vendor = identity->vendor_id,
        .device = identity->device_id,
        .subvendor = identity->subvendor_id,
        .subdevice = identity->subdevice_id,
        .class_code = identity->class_code,
        .msi_vectors = identity->msi_vectors,
        .msix_vectors = identity->msix_vectors,
        .link_speed = identity->link_speed,
        .link_width = identity->link_width,
    };
    snprintf(found->address, sizeof(found->address), "apple:%02x:%02x.%u", identity->bus, identity->device,
             identity->function);
    snprintf(found->driver, sizeof(found->driver), "%s",
             strcmp(ops->name, "iokit") == 0 ? "VFIOUserPCIDriver" : "viaduct-dextd");
    _Static_assert(sizeof(found->model) == sizeof(identity->model), "a model's name");
    memcpy(found->model, identity->model, sizeof(found->model));
    fill_regions(identity, found);
}

/* What scan() may answer. */
static int refuse(int err, struct vd_failure *failure)
{
    static const int allowed[] = {-EACCES, -ENOENT, 0};
    int code = dext_allowed(err, allowed);

    if (failure)
        failure->code = code;
    return code;
}

/* Asks one instance. 0; -ENOENT it went away; other errors as scan(). */
static int ask(const struct vd_env *env, const struct vd_link_ops *ops, uint64_t id,
               struct dext_identity *identity, struct vd_failure *failure)
{
    struct dext_connection c = {.ops = ops};
    struct dext_features features;
    int status;
    int err = ops->open(env, NULL, id, &c.link, failure);

    if (err)
        return refuse(err, failure);
    status = dext_connection_features(&c, &features);
    if (!status)
        status = dext_identify(&c, &features, identity);
    ops->close(c.link);
    if (!status)
        return 0;
    if (status == VD_DEXT_NO_DEVICE || status == VD_DEXT_NOT_ATTACHED)
        return -ENOENT;
    return vd_fail(failure, -EIO, "%s: an instance of the extension does not say what it drives: %s (0x%08x)",
                   ops->name, dext_return_name(status), (unsigned)status);
}

int dext_scan(dext_choose_link *choose, const struct vd_env *env, struct vd_device_found *found, size_t max,
              struct vd_failure *failure)
{
    const struct vd_link_ops *ops = choose(NULL);
    struct vd_failure why = {0};
    uint64_t *ids = NULL;
    int count = dext_list_instances(env, ops, NULL, &ids, failure);
    int seen = 0, refused = 0;

    if (count < 0)
        return refuse(count, failure);
    for (int i = 0; i < count; i++) {
        struct dext_identity identity = {0};
        int err = ask(env, ops, ids[i], &identity, &why);

        if (err && err != -ENOENT) {
            refused = err;
            vd_warn(env, "a device is not listed: %s", why.text);
        }
        if (err)
            continue;
        if ((size_t)seen < max)
            fill(ops, &identity, &found[seen]);
        seen++;
    }
    vd_env_free(env, ids);
    return seen || !refused ? seen : vd_fail(failure, refused, "%s", why.text);
}
