/* SPDX-License-Identifier: BSD-3-Clause */
/* REGION_READ, REGION_WRITE and WRITE_MULTI. Data is read into the reply and written out of the request in place. */
#include "server/session.h"

#include <errno.h>

#include <viaduct/region.h>

struct access {
    uint64_t offset;
    uint32_t region, count;
};

static bool decode(struct vd_reader *r, struct access *a)
{
    struct vfio_user_region_access wire;

    if (!vd_read_struct(r, &wire, sizeof(wire)))
        return false;
    *a = (struct access){vd_get64(wire.offset), vd_get32(wire.region), vd_get32(wire.count)};
    return true;
}

static void echo(struct vd_reply *reply, const struct access *a)
{
    struct vfio_user_region_access wire = {vd_put64(a->offset), vd_put32(a->region), vd_put32(a->count)};

    vd_write_bytes(&reply->w, &wire, sizeof(wire));
}

static int write_region(struct vd_session *s, const struct access *a, const void *data)
{
    int ret = vd_region_write(s->device, a->region, a->offset, data, a->count);

    if (!ret && a->region == VD_REGION_CONFIG)
        vd_ramcheck_config_written(s, a->offset, data, a->count);
    return ret;
}

int vd_handle_region_read(struct vd_session *s, struct vd_message *m, struct vd_reply *reply)
{
    struct vd_reader r = vd_message_reader(m);
    struct access a;
    void *data;

    if (!decode(&r, &a) || a.count == 0 || a.count > VD_MESSAGE_MAX_DATA)
        return -EINVAL;
    echo(reply, &a);
    data = vd_write_room(&reply->w, a.count);
    return data ? vd_region_read(s->device, a.region, a.offset, data, a.count) : -EINVAL;
}

int vd_handle_region_write(struct vd_session *s, struct vd_message *m, struct vd_reply *reply)
{
    struct vd_reader r = vd_message_reader(m);
    const void *data;
    struct access a;

    if (!decode(&r, &a) || a.count == 0 || a.count > VD_MESSAGE_MAX_DATA || r.left != a.count)
        return -EINVAL;
    data = vd_read_bytes(&r, a.count);
    echo(reply, &a);
    return data ? write_region(s, &a, data) : -EINVAL;
}

/* The writes happen in order; the first that fails ends it, and those before it have happened. */
int vd_handle_write_multi(struct vd_session *s, struct vd_message *m, struct vd_reply *reply)
{
    struct vd_reader r = vd_message_reader(m);
    uint64_t count = vd_read64(&r);

    if (r.failed || r.left % sizeof(struct vfio_user_write_one) ||
        count != r.left / sizeof(struct vfio_user_write_one))
        return -EINVAL;
    for (uint64_t i = 0; i < count; i++) {
        struct vfio_user_write_one one;
        struct access a;
        int ret;

        if (!vd_read_struct(&r, &one, sizeof(one)))
            return -EINVAL;
        a = (struct access){vd_get64(one.offset), vd_get32(one.region), vd_get32(one.count)};
        if (a.count == 0 || a.count > VFIO_USER_WRITE_ONE_DATA)
            return -EINVAL;
        ret = write_region(s, &a, one.data);
        if (ret)
            return ret;
    }
    vd_write64(&reply->w, count);
    return 0;
}
