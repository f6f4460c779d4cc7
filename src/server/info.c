/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Questions about the device: GET_INFO, GET_REGION_INFO, GET_REGION_IO_FDS, GET_IRQ_INFO, and RESET.
 *
 * argsz of a request is the room the client has for the reply's payload. It must hold the fixed part; when capabilities
 * do not fit, only the fixed part is sent, with the argsz that would be enough ("Message sizes").
 */
#include "server/session.h"

#include <errno.h>

#include <viaduct/irq.h>
#include <viaduct/region.h>

int vd_handle_device_info(struct vd_session *s, struct vd_message *m, struct vd_reply *reply)
{
    struct vd_reader r = vd_message_reader(m);
    struct vfio_user_device_info info;
    uint32_t flags = VFIO_USER_DEVICE_FLAG_PCI;

    if (!vd_read_struct(&r, &info, sizeof(info)) || vd_get32(info.argsz) < sizeof(info) ||
        vd_get32(info.flags) || vd_get32(info.num_regions) || vd_get32(info.num_irqs))
        return -EINVAL;
    if (vd_device_info(s->device)->can_reset)
        flags |= VFIO_USER_DEVICE_FLAG_RESET;
    info = (struct vfio_user_device_info){
        .argsz = vd_put32(sizeof(info)),
        .flags = vd_put32(flags),
        .num_regions = vd_put32(VD_REGION_COUNT),
        .num_irqs = vd_put32(VD_IRQ_COUNT),
    };
    vd_write_bytes(&reply->w, &info, sizeof(info));
    return 0;
}

/* Bytes of the sparse capability; 0 when none is needed: not mappable, or mappable as a whole. */
static size_t sparse_size(const struct vd_region_info *region)
{
    if (!(region->flags & VD_REGION_MMAP))
        return 0;
    if (region->nr_areas == 1 && region->areas[0].offset == 0 && region->areas[0].size == region->size)
        return 0;
    return sizeof(struct vfio_user_sparse_mmap) + region->nr_areas * sizeof(struct vfio_user_sparse_area);
}

static void write_sparse(struct vd_writer *w, const struct vd_region_info *region)
{
    struct vfio_user_sparse_mmap cap = {
        .id = vd_put16(VFIO_USER_CAP_SPARSE_MMAP),
        .version = vd_put16(VFIO_USER_CAP_SPARSE_MMAP_VERSION),
        .nr_areas = vd_put32(region->nr_areas),
    };

    vd_write_bytes(w, &cap, sizeof(cap));
    for (uint32_t i = 0; i < region->nr_areas; i++) {
        struct vfio_user_sparse_area area = {vd_put64(region->areas[i].offset),
                                             vd_put64(region->areas[i].size)};

        vd_write_bytes(w, &area, sizeof(area));
    }
}

/* Finds the descriptor of a mappable region; a region that cannot hand one over is not offered for mapping. */
static void attach_region_fd(struct vd_session *s, uint32_t index, struct vd_region_info *region,
                             struct vd_reply *reply, uint64_t *offset)
{
    int fd = region->flags & VD_REGION_MMAP && s->client.max_msg_fds >= 1
                 ? vd_region_fd(s->device, index, offset)
                 : -ENOTSUP;

    if (fd >= 0) {
        reply->fds[0] = fd;
        reply->nr_fds = 1;
        return;
    }
    region->flags &= ~(uint32_t)VD_REGION_MMAP;
    region->nr_areas = 0;
    *offset = 0;
}

int vd_handle_region_info(struct vd_session *s, struct vd_message *m, struct vd_reply *reply)
{
    const uint32_t shown = VD_REGION_READ | VD_REGION_WRITE | VD_REGION_MMAP;
    struct vd_reader r = vd_message_reader(m);
    struct vfio_user_region_info info;
    struct vd_region_info region;
    uint64_t offset = 0;
    uint32_t argsz, index;
    size_t caps;

    if (!vd_read_struct(&r, &info, sizeof(info)) || vd_get32(info.argsz) < sizeof(info) ||
        vd_get32(info.flags) || vd_get32(info.cap_offset) || vd_get64(info.size) || vd_get64(info.offset))
        return -EINVAL;
    argsz = vd_get32(info.argsz);
    index = vd_get32(info.index);
    if (vd_region_info(s->device, index, &region))
        return -EINVAL;
    attach_region_fd(s, index, &region, reply, &offset);
    caps = sparse_size(&region);
    info = (struct vfio_user_region_info){
        .argsz = vd_put32((uint32_t)(sizeof(info) + caps)),
        .flags = vd_put32((region.flags & shown) | (caps ? VFIO_USER_REGION_FLAG_CAPS : 0)),
        .index = vd_put32(index),
        .cap_offset =
            vd_put32(caps ? sizeof(info) : 0), /* also when they do not fit: clients check it first */
        .size = vd_put64(region.size),
        .offset = vd_put64(offset),
    };
    vd_write_bytes(&reply->w, &info, sizeof(info));
    if (caps && argsz >= sizeof(info) + caps)
        write_sparse(&reply->w, &region);
    return 0;
}

/* No device here offers ioeventfds or ioregionfds: every region has an empty list. */
int vd_handle_region_io_fds(struct vd_session *s, struct vd_message *m, struct vd_reply *reply)
{
    struct vd_reader r = vd_message_reader(m);
    struct vfio_user_region_io_fds info;
    struct vd_region_info region;

    if (!vd_read_struct(&r, &info, sizeof(info)) || vd_get32(info.argsz) < sizeof(info) ||
        vd_get32(info.flags) || vd_get32(info.count) ||
        vd_region_info(s->device, vd_get32(info.index), &region))
        return -EINVAL;
    info.argsz = vd_put32(sizeof(info));
    vd_write_bytes(&reply->w, &info, sizeof(info));
    return 0;
}

int vd_handle_irq_info(struct vd_session *s, struct vd_message *m, struct vd_reply *reply)
{
    struct vd_reader r = vd_message_reader(m);
    struct vfio_user_irq_info info;
    struct vd_irq_info irq;

    if (!vd_read_struct(&r, &info, sizeof(info)) || vd_get32(info.argsz) < sizeof(info) ||
        vd_get32(info.flags) || vd_get32(info.count) || vd_irq_info(s->device, vd_get32(info.index), &irq))
        return -EINVAL;
    info.argsz = vd_put32(sizeof(info));
    info.flags = vd_put32(irq.flags);
    info.count = vd_put32(irq.count);
    vd_write_bytes(&reply->w, &info, sizeof(info));
    return 0;
}

int vd_handle_reset(struct vd_session *s, struct vd_message *m, struct vd_reply *reply)
{
    int ret = vd_device_reset(s->device);

    if (!ret)
        s->bus_master = false;
    return ret;
}
