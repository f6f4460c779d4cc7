/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VERSION: agrees on version 0.0 and on capabilities. A client that cannot be agreed with gets its errno and is closed:
 * nothing it says later could be understood.
 */
#include "server/session.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * Opens the twin socket: our end becomes s->twin, the other one goes out with the reply. Without one (no descriptors
 * left) server commands go over the main socket, which is always allowed.
 */
static void open_twin(struct vd_session *s, struct vd_reply *reply)
{
    int ends[2];

    if (vd_env_fault(s->env, "twin") || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
        return;
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    vd_stream_open(&s->twin, ends[0]);
    reply->fds[0] = reply->close_after = ends[1];
    reply->nr_fds = 1;
}

/* What we answer: our own limits, and of the features those that the client named too. */
static struct vd_capabilities our_side(const struct vd_session *s)
{
    uint64_t granule = vd_dma_info(s->device)->granule;

    return (struct vd_capabilities){
        .max_msg_fds = VD_MESSAGE_MAX_FDS,
        .max_data_xfer_size = VD_MESSAGE_MAX_DATA,
        .max_dma_maps = VFIO_USER_DEFAULT_DMA_MAPS,
        .pgsizes = granule > VFIO_USER_DEFAULT_PGSIZES ? granule : VFIO_USER_DEFAULT_PGSIZES,
        .write_multiple = s->client.write_multiple,
        .twin_socket = s->twin.fd >= 0,
        .twin_fd_index = 0,
    };
}

static int agree(struct vd_session *s, struct vd_message *m, struct vd_reply *reply)
{
    struct vd_reader r = vd_message_reader(m);
    struct vfio_user_version version;
    struct vd_capabilities ours;
    const char *problem = NULL;
    int ret;

    if (!vd_read_struct(&r, &version, sizeof(version)) || vd_get16(version.major) != VFIO_USER_MAJOR)
        return -EINVAL;
    ret = vd_capabilities_parse(r.at, r.left, &s->client, &problem);
    if (ret) {
        vd_session_warn(s, "the client's version data is not valid: %s", problem ? problem : "no memory");
        return ret;
    }
    if (s->client.twin_socket && s->client.max_msg_fds >= 1)
        open_twin(s, reply);
    ours = our_side(s);
    version.minor = vd_put16(VFIO_USER_MINOR);
    vd_write_bytes(&reply->w, &version, sizeof(version));
    ret = vd_capabilities_emit(&ours, (char *)reply->w.start + reply->w.used, reply->w.size - reply->w.used);
    if (ret < 0)
        return ret;
    vd_write_room(&reply->w, (size_t)ret);
    s->state = VD_SESSION_READY;
    return 0;
}

int vd_handle_version(struct vd_session *s, struct vd_message *m, struct vd_reply *reply)
{
    int ret = m->flags & VFIO_USER_NO_REPLY ? -EINVAL : agree(s, m, reply);

    if (ret)
        vd_session_violation(s, "proposed a version or capabilities that cannot be agreed on");
    return ret;
}
