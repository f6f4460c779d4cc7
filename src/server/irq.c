/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SET_IRQS: three kinds of data (none, an array of booleans, descriptors) and three actions (mask, unmask, trigger).
 * With descriptors an action is not performed but reported: TRIGGER routes the interrupt to the descriptor, MASK and
 * UNMASK ask for a signal whenever the vector is masked or unmasked. No descriptors at all takes them away.
 */
#include "server/session.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <viaduct/irq.h>

struct request {
    uint32_t data, action; /* one bit each */
    uint32_t index, start, count;
};

static bool one_bit(uint32_t v)
{
    return v && !(v & (v - 1));
}

/* Reads and checks all but the trailing data. */
static int decode(const struct vd_session *s, struct vd_reader *r, struct request *q)
{
    struct vfio_user_irq_set set;
    struct vd_irq_info info;
    uint32_t flags;

    if (!vd_read_struct(r, &set, sizeof(set)) || vd_get32(set.argsz) < sizeof(set))
        return -EINVAL;
    flags = vd_get32(set.flags);
    *q = (struct request){.data = flags & VFIO_USER_IRQ_DATA_MASK,
                          .action = flags & VFIO_USER_IRQ_ACTIONS,
                          .index = vd_get32(set.index),
                          .start = vd_get32(set.start),
                          .count = vd_get32(set.count)};
    if ((flags & ~(uint32_t)(VFIO_USER_IRQ_DATA_MASK | VFIO_USER_IRQ_ACTIONS)) || !one_bit(q->data) ||
        !one_bit(q->action) || vd_irq_info(s->device, q->index, &info))
        return -EINVAL;
    if (q->start > info.count || q->count > info.count - q->start)
        return -EINVAL;
    return 0;
}

static int act(struct vd_session *s, const struct request *q, uint32_t start, uint32_t count)
{
    switch (q->action) {
    case VFIO_USER_IRQ_ACTION_MASK:
        return vd_irq_mask(s->device, q->index, start, count);
    case VFIO_USER_IRQ_ACTION_UNMASK:
        return vd_irq_unmask(s->device, q->index, start, count);
    default:
        return vd_irq_trigger(s->device, q->index, start, count);
    }
}

static int set_none(struct vd_session *s, const struct request *q)
{
    if (q->count)
        return act(s, q, q->start, q->count);
    if (q->start || q->action != VFIO_USER_IRQ_ACTION_TRIGGER)
        return -EINVAL;
    return vd_irq_disable(s->device, q->index);
}

static int set_bool(struct vd_session *s, const struct request *q, struct vd_reader *r)
{
    const uint8_t *wanted = vd_read_bytes(r, q->count);

    if (!wanted || r->left || q->count == 0)
        return -EINVAL;
    for (uint32_t i = 0; i < q->count; i++) {
        int ret = wanted[i] ? act(s, q, q->start + i, 1) : 0;

        if (ret)
            return ret;
    }
    return 0;
}

static int hand_over(struct vd_session *s, const struct request *q, uint32_t start, uint32_t count,
                     const int *fds)
{
    switch (q->action) {
    case VFIO_USER_IRQ_ACTION_TRIGGER:
        return vd_irq_route(s->device, q->index, start, count, fds);
    case VFIO_USER_IRQ_ACTION_MASK:
        return vd_irq_watch(s->device, q->index, VD_IRQ_ON_MASK, start, count, fds);
    default:
        return vd_irq_watch(s->device, q->index, VD_IRQ_ON_UNMASK, start, count, fds);
    }
}

static int take_away(struct vd_session *s, const struct request *q)
{
    enum { CHUNK = 64 };
    int none[CHUNK];

    for (uint32_t i = 0; i < CHUNK; i++)
        none[i] = -1;
    for (uint32_t done = 0; done < q->count;) {
        uint32_t n = q->count - done < CHUNK ? q->count - done : CHUNK;
        int ret = hand_over(s, q, q->start + done, n, none);

        if (ret)
            return ret;
        done += n;
    }
    return 0;
}

/*
 * A signal must never block the device: neither a counter at its limit nor a full pipe, nor a file, where O_NONBLOCK means
 * nothing and a write takes as long as its owner likes (FUSE).
 */
static bool make_signal(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    struct stat st;

    if (flags < 0 || fstat(fd, &st) < 0 || S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
        return false;
    return (flags & O_NONBLOCK) || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

static int set_fds(struct vd_session *s, const struct request *q, struct vd_message *m)
{
    int ret;

    if (q->count == 0)
        return -EINVAL;
    if (m->nr_fds == 0)
        return take_away(s, q);
    if (m->nr_fds != q->count)
        return -EINVAL;
    for (unsigned i = 0; i < m->nr_fds; i++)
        if (!make_signal(m->fds[i]))
            return -EINVAL;
    ret = hand_over(s, q, q->start, q->count, m->fds);
    if (!ret)
        m->nr_fds = 0; /* the device's now */
    return ret;
}

int vd_handle_set_irqs(struct vd_session *s, struct vd_message *m, struct vd_reply *reply)
{
    struct vd_reader r = vd_message_reader(m);
    struct request q;
    int ret = decode(s, &r, &q);

    if (ret)
        return ret;
    if (q.data == VFIO_USER_IRQ_DATA_BOOL)
        return m->nr_fds ? -EINVAL : set_bool(s, &q, &r);
    if (r.left)
        return -EINVAL;
    if (q.data == VFIO_USER_IRQ_DATA_NONE)
        return m->nr_fds ? -EINVAL : set_none(s, &q);
    return set_fds(s, &q, m);
}
