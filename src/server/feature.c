/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DEVICE_FEATURE. The protocol's features all serve migration, and a passed-through device cannot be migrated: each is
 * answered with ENOTTY, as VFIO answers for a feature that a device lacks. What is malformed is EINVAL first, so that a
 * client's mistake does not look like a missing feature.
 */
#include "server/session.h"

#include <errno.h>

int vd_handle_feature(struct vd_session *s, struct vd_message *m, struct vd_reply *reply)
{
    const uint32_t get = VFIO_USER_FEATURE_GET;
    const uint32_t set = VFIO_USER_FEATURE_SET;
    const uint32_t probe = VFIO_USER_FEATURE_PROBE;
    struct vd_reader r = vd_message_reader(m);
    struct vfio_user_feature feature;
    uint32_t flags;

    if (!vd_read_struct(&r, &feature, sizeof(feature)) || vd_get32(feature.argsz) < sizeof(feature))
        return -EINVAL;
    flags = vd_get32(feature.flags);
    if ((flags & ~(VFIO_USER_FEATURE_INDEX | get | set | probe)) || !(flags & (get | set | probe)))
        return -EINVAL;
    if (!(flags & probe) && (flags & get) && (flags & set))
        return -EINVAL;
    return -ENOTTY;
}
