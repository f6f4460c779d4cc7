/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The protocol as a table. Everything that can be known about a command from the table is checked here, once, before its
 * handler runs: state, payload size, number of descriptors. A command that fails is answered with a header that carries
 * the errno; the session lives on.
 */
#include "server/session.h"

#include <errno.h>
#include <unistd.h>

#include "codec/wire_errno.h"

struct row {
    int (*handle)(struct vd_session *s, struct vd_message *m, struct vd_reply *reply);
    uint32_t min, max; /* bytes of payload */
    uint8_t max_fds;
    uint8_t states; /* enum vd_session_state */
    int refusal;    /* without a handler: the errno that answers it */
};

#define HEADER         sizeof(struct vfio_user_header)
#define EXACTLY(type)  sizeof(struct type), sizeof(struct type)
#define AT_LEAST(type) sizeof(struct type), VD_MESSAGE_MAX_SIZE - HEADER

static const struct row rows[VFIO_USER_COMMAND_END] = {
    [VFIO_USER_VERSION] = {vd_handle_version, sizeof(struct vfio_user_version),
                           sizeof(struct vfio_user_version) + VD_VERSION_DATA_MAX, 0, VD_SESSION_NEW},
    [VFIO_USER_DMA_MAP] = {vd_handle_dma_map, EXACTLY(vfio_user_dma_map), 1, VD_SESSION_READY},
    [VFIO_USER_DMA_UNMAP] = {vd_handle_dma_unmap, EXACTLY(vfio_user_dma_unmap), 0, VD_SESSION_READY},
    [VFIO_USER_DEVICE_GET_INFO] = {vd_handle_device_info, EXACTLY(vfio_user_device_info), 0,
                                   VD_SESSION_READY},
    [VFIO_USER_DEVICE_GET_REGION_INFO] = {vd_handle_region_info, EXACTLY(vfio_user_region_info), 0,
                                          VD_SESSION_READY},
    [VFIO_USER_DEVICE_GET_REGION_IO_FDS] = {vd_handle_region_io_fds, EXACTLY(vfio_user_region_io_fds), 0,
                                            VD_SESSION_READY},
    [VFIO_USER_DEVICE_GET_IRQ_INFO] = {vd_handle_irq_info, EXACTLY(vfio_user_irq_info), 0, VD_SESSION_READY},
    [VFIO_USER_DEVICE_SET_IRQS] = {vd_handle_set_irqs, AT_LEAST(vfio_user_irq_set), VD_MESSAGE_MAX_FDS,
                                   VD_SESSION_READY},
    [VFIO_USER_REGION_READ] = {vd_handle_region_read, EXACTLY(vfio_user_region_access), 0, VD_SESSION_READY},
    [VFIO_USER_REGION_WRITE] = {vd_handle_region_write, AT_LEAST(vfio_user_region_access), 0,
                                VD_SESSION_READY},
    /* Ours to send, not the client's. */
    [VFIO_USER_DMA_READ] = {NULL, 0, UINT32_MAX, 0, VD_SESSION_READY, -EINVAL},
    [VFIO_USER_DMA_WRITE] = {NULL, 0, UINT32_MAX, 0, VD_SESSION_READY, -EINVAL},
    [VFIO_USER_DEVICE_RESET] = {vd_handle_reset, 0, 0, 0, VD_SESSION_READY},
    /* No longer in the specification. */
    [VFIO_USER_DIRTY_PAGES] = {NULL, 0, UINT32_MAX, 0, VD_SESSION_READY, -ENOTSUP},
    [VFIO_USER_REGION_WRITE_MULTI] = {vd_handle_write_multi, AT_LEAST(vfio_user_write_multi), 0,
                                      VD_SESSION_READY},
    [VFIO_USER_DEVICE_FEATURE] = {vd_handle_feature, AT_LEAST(vfio_user_feature), 0, VD_SESSION_READY},
    /* Migration data exists only in states that no device here can enter. */
    [VFIO_USER_MIG_DATA_READ] = {NULL, EXACTLY(vfio_user_mig_data), 0, VD_SESSION_READY, -ENOTSUP},
    [VFIO_USER_MIG_DATA_WRITE] = {NULL, AT_LEAST(vfio_user_mig_data), 0, VD_SESSION_READY, -ENOTSUP},
};

static const struct row unknown = {NULL, 0, UINT32_MAX, 0, VD_SESSION_READY, -ENOTSUP};

static const struct row *find_row(uint16_t command)
{
    if (command < VFIO_USER_COMMAND_END && rows[command].states)
        return &rows[command];
    return &unknown;
}

/* What is checked before a handler runs; the errno that answers a command which fails here. */
static int check(const struct vd_session *s, const struct vd_message *m, const struct row *row)
{
    const uint32_t known = VFIO_USER_TYPE_MASK | VFIO_USER_NO_REPLY;

    if ((m->flags & ~known) || !(row->states & s->state) || m->nr_fds > row->max_fds)
        return -EINVAL;
    if (m->size < row->min || m->size > row->max)
        return -EINVAL;
    return row->handle ? 0 : row->refusal;
}

static void send_reply(struct vd_session *s, const struct vd_message *m, const struct vd_reply *reply,
                       int error)
{
    size_t payload = error ? 0 : reply->w.used;
    uint32_t flags = VFIO_USER_TYPE_REPLY | (error ? VFIO_USER_ERROR : 0);
    struct iovec iov = {s->reply, HEADER + payload};
    int ret;

    vd_header_put(s->reply, m->id, m->command, payload, flags, error ? vd_wire_errno(error) : 0);
    ret = vd_stream_send(&s->main, &iov, 1, reply->fds, error ? 0 : reply->nr_fds, VD_SEND_TIMEOUT_MS);
    if (ret)
        vd_session_end(s, VD_END_LEFT);
}

void vd_dispatch(struct vd_session *s, struct vd_message *m)
{
    const struct row *row = find_row(m->command);
    struct vd_reply reply = {.w = vd_writer_make(s->reply + HEADER, VD_MESSAGE_MAX_SIZE - HEADER),
                             .close_after = -1};
    int ret;

    if (vd_message_is_reply(m)) {
        if (s->twin.fd >= 0)
            vd_session_violation(s, "sent a reply on the socket that is for its commands");
        else
            vd_remote_reply(s, m);
        vd_message_finish(m);
        return;
    }
    s->in_handler = true;
    ret = check(s, m, row);
    if (!ret) {
        vd_session_lock(s);
        ret = row->handle(s, m, &reply);
        vd_session_unlock(s);
    }
    if (!ret && reply.w.failed)
        ret = -EIO; /* a handler's own mistake; better an error than half a reply */
    s->in_handler = false;
    atomic_fetch_add_explicit(&s->counters->messages, 1, memory_order_relaxed);
    if (ret)
        atomic_fetch_add_explicit(&s->counters->errors, 1, memory_order_relaxed);
    if (!(m->flags & VFIO_USER_NO_REPLY))
        send_reply(s, m, &reply, ret);
    if (reply.close_after >= 0)
        close(reply.close_after);
    vd_message_finish(m);
}
