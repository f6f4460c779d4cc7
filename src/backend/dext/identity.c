/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who an instance of the extension drives, and which instance drives a device. There is no index: every instance is
 * opened and asked. One that goes away meanwhile is as if it had never been there.
 */
#include "backend/dext/host.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cursor.h"

/* The name comes from the other side: made a string of printable characters. */
static void copy_model(char out[static 64], const char in[static 64])
{
    size_t i;

    for (i = 0; i < 63 && in[i]; i++)
        out[i] = in[i] >= ' ' && in[i] <= '~' ? in[i] : '?';
    out[i] = 0;
}

static void take_description(const struct vd_dext_description *d, struct dext_identity *out)
{
    *out = (struct dext_identity){
        .bus = d->bus,
        .device = d->device,
        .function = d->function,
        .vendor_id = vd_get16(d->vendor_id),
        .device_id = vd_get16(d->device_id),
        .subvendor_id = vd_get16(d->subvendor_id),
        .subdevice_id = vd_get16(d->subdevice_id),
        .class_code = vd_get32(d->class_code) & 0xffffff,
        .state = vd_get32(d->state),
        .msi_vectors = vd_get16(d->msi_vectors),
        .msix_vectors = vd_get16(d->msix_vectors),
        .link_speed = d->link_speed,
        .link_width = d->link_width,
        .described = true,
    };
    for (unsigned i = 0; i <= VD_DEXT_BARS; i++) {
        out->bars[i].size = vd_get64(d->bars[i].size);
        out->bars[i].type = vd_get32(d->bars[i].type);
    }
    copy_model(out->model, d->model);
}

static int describe(const struct dext_connection *c, struct dext_identity *out)
{
    struct vd_dext_description bytes, description;
    struct vd_link_call call = {
        .selector = VD_DEXT_DESCRIBE, .bytes_out = &bytes, .nr_bytes_out = sizeof(bytes)};
    int status = c->ops->call(c->link, &call);
    struct vd_reader r = vd_reader_make(&bytes, call.nr_bytes_out);

    if (status)
        return status;
    if (!vd_read_struct(&r, &description, sizeof(description)))
        return VD_DEXT_IPC_ERROR;
    take_description(&description, out);
    return 0;
}

static int get_identity(const struct dext_connection *c, struct dext_identity *out)
{
    uint64_t told[6];
    int status = dext_connection_call(c, VD_DEXT_GET_IDENTITY, NULL, 0, told, 6);

    if (status)
        return status;
    *out = (struct dext_identity){.bus = (uint8_t)told[0],
                                  .device = (uint8_t)told[1],
                                  .function = (uint8_t)told[2],
                                  .vendor_id = (uint16_t)told[3],
                                  .device_id = (uint16_t)told[4],
                                  .class_code = (uint32_t)told[5] & 0xffffff};
    return 0;
}

int dext_identify(const struct dext_connection *c, const struct dext_features *features,
                  struct dext_identity *out)
{
    int status = features->bits & VD_DEXT_FEATURE_DESCRIBE ? describe(c, out) : VD_DEXT_UNSUPPORTED;

    return dext_is_refusal(status) ? get_identity(c, out) : status;
}

int dext_list_instances(const struct vd_env *env, const struct vd_link_ops *ops, const char *where,
                        uint64_t **ids, struct vd_failure *failure)
{
    size_t room = 32;

    for (;;) {
        uint64_t *list = vd_env_alloc(env, room, sizeof(*list));
        int count;

        if (!list)
            return vd_fail(failure, -ENOMEM, "out of memory");
        count = ops->list(env, where, list, room, failure);
        if (count >= 0 && (size_t)count <= room) {
            *ids = list;
            return count;
        }
        vd_env_free(env, list);
        if (count < 0)
            return count;
        room = (size_t)count;
    }
}

/* What was found while looking for one device. */
struct search {
    char seen[256]; /* "02:00.0, 03:00.0" */
    size_t used;
    struct vd_failure refusal; /* of the first instance that could not be opened */
    unsigned silent;           /* instances that did not say who they drive */
    bool removed;              /* the device was there once: its instance lasts as long as its user */
};

static void note_other(struct search *s, const struct dext_identity *identity)
{
    int n = s->used < sizeof(s->seen)
                ? snprintf(s->seen + s->used, sizeof(s->seen) - s->used, "%s%02x:%02x.%u",
                           s->used ? ", " : "", identity->bus, identity->device, identity->function)
                : 0;

    s->used += n > 0 ? (size_t)n : 0;
}

static bool is_sought(const struct dext_address *address, const struct dext_identity *identity)
{
    return identity->bus == address->bus && identity->device == address->device &&
           identity->function == address->function;
}

/* An instance outlives its device; when that is plugged in again, another one drives it. */
static bool is_removed(const struct dext_connection *c)
{
    struct dext_features features;
    struct dext_identity identity;

    if (dext_connection_features(c, &features) || dext_identify(c, &features, &identity))
        return false; /* claiming it will tell what is wrong */
    return identity.state & VD_DEXT_STATE_GONE;
}

/* Is it the one? What else it is, is noted. */
static bool examine(const struct dext_connection *c, const struct dext_address *address, struct search *s)
{
    struct dext_identity identity;
    int status = get_identity(c, &identity);

    if (status == VD_DEXT_NO_DEVICE || status == VD_DEXT_NOT_ATTACHED)
        return false;
    if (status) {
        s->silent++;
        return false;
    }
    if (!is_sought(address, &identity)) {
        note_other(s, &identity);
        return false;
    }
    s->removed = is_removed(c);
    return !s->removed;
}

/* Opens one instance; true when it is the one, and then out->link is the caller's. */
static bool try_instance(const struct vd_env *env, const struct dext_address *address, uint64_t id,
                         struct dext_connection *out, struct search *s)
{
    struct vd_failure why = {0};
    int err = out->ops->open(env, dext_address_where(address), id, &out->link, &why);

    if (!err && examine(out, address, s))
        return true;
    if (!err)
        out->ops->close(out->link);
    if (err && err != -ENOENT && !s->refusal.code) {
        s->refusal = why;
        s->refusal.code = err;
    }
    return false;
}

/* Nothing answers at all. The link knows why, and what to do about it. */
static int no_host(const struct dext_address *address, int err, const struct vd_failure *why,
                   struct vd_failure *failure)
{
    int code = vd_fail(
        failure, why->usage ? -EINVAL : dext_allowed(err, dext_open_errors), "%s: %.400s", address->name,
        why->text[0] ? why->text : "no extension runs here; `viaduct doctor` says what is missing");

    if (failure)
        failure->usage = why->usage;
    return code;
}

static int not_found(const struct dext_address *address, const struct search *s, struct vd_failure *failure)
{
    if (s->removed)
        return vd_fail(failure, -ENOENT,
                       "%s: the device was removed, and its last user still has it open; plug it in again",
                       address->name);
    if (s->refusal.code)
        return vd_fail(failure, dext_allowed(s->refusal.code, dext_open_errors),
                       "%s: an instance of the extension could not be asked: %.300s", address->name,
                       s->refusal.text[0] ? s->refusal.text : strerror(-s->refusal.code));
    if (s->silent)
        return vd_fail(failure, -EIO, "%s: not found; the extension drives: %s%s%u that did not say what",
                       address->name, s->seen, s->used ? " and " : "", s->silent);
    if (s->used)
        return vd_fail(failure, -ENOENT, "%s: no such device; the extension drives: %s%s", address->name,
                       s->seen, s->used < sizeof(s->seen) ? "" : "...");
    return vd_fail(
        failure, -ENOENT,
        "%s: no such device; the extension runs, but drives no device: is it plugged in, and does the "
        "extension match it?",
        address->name);
}

int dext_find(const struct vd_env *env, const struct vd_link_ops *ops, const struct dext_address *address,
              struct dext_connection *out, struct vd_failure *failure)
{
    struct search search = {.used = 0};
    struct vd_failure why = {0};
    uint64_t *ids = NULL;
    int count = dext_list_instances(env, ops, dext_address_where(address), &ids, &why);
    bool found = false;

    if (count < 0 || !ids)
        return no_host(address, count, &why, failure);
    out->ops = ops;
    for (int i = 0; i < count && !found; i++)
        found = try_instance(env, address, ids[i], out, &search);
    vd_env_free(env, ids);
    return found ? 0 : not_found(address, &search, failure);
}
