/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Region access: validates what callers ask for, counts it, and hands it to the back end. A region that does not exist
 * refuses every access. No lock: the device's thread.
 */
#include "core/device.h"

#include <errno.h>

int vd_region_info(const struct vd_device *device, unsigned index, struct vd_region_info *out)
{
    if (index >= VD_REGION_COUNT)
        return -EINVAL;
    *out = device->info.regions[index];
    return 0;
}

int vd_region_fd(const struct vd_device *device, unsigned index, uint64_t *offset)
{
    if (index >= VD_REGION_COUNT)
        return -EINVAL;
    if (!(device->info.regions[index].flags & VD_REGION_MMAP) || !device->ops->region_fd)
        return -ENOTSUP;
    return device->ops->region_fd(device->host, index, offset);
}

static int check(struct vd_device *device, unsigned index, uint32_t need, uint64_t offset, size_t count)
{
    const struct vd_region_info *info = &device->info.regions[index];

    if (count == 0 || !vd_span_fits(offset, count, info->size))
        return -EINVAL;
    if (!(info->flags & need))
        return -EACCES;
    return atomic_load_explicit(&device->gone, memory_order_relaxed) ? -ENODEV : 0;
}

int vd_region_read(struct vd_device *device, unsigned index, uint64_t offset, void *buffer, size_t count)
{
    struct vd_region_counters *counters;
    int ret;

    if (index >= VD_REGION_COUNT)
        return -EINVAL;
    counters = &device->regions[index];
    ret = check(device, index, VD_REGION_READ, offset, count);
    if (!ret)
        ret = device->ops->region_read(device->host, index, offset, buffer, count);
    if (ret) {
        vd_count(&counters->errors, 1);
        return ret;
    }
    vd_count(&counters->reads, 1);
    vd_count(&counters->read_bytes, count);
    return 0;
}

int vd_region_write(struct vd_device *device, unsigned index, uint64_t offset, const void *buffer,
                    size_t count)
{
    struct vd_region_counters *counters;
    int ret;

    if (index >= VD_REGION_COUNT)
        return -EINVAL;
    counters = &device->regions[index];
    ret = check(device, index, VD_REGION_WRITE, offset, count);
    if (!ret)
        ret = device->ops->region_write(device->host, index, offset, buffer, count);
    if (ret) {
        vd_count(&counters->errors, 1);
        return ret;
    }
    vd_count(&counters->writes, 1);
    vd_count(&counters->written_bytes, count);
    return 0;
}
