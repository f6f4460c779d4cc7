/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Region access: validates what callers ask for, counts it, and hands it to the back end, or to what core puts in its place:
 * config space (config.c), windows in BARs (quirk.c), a ROM from a file. A region that does not exist refuses every
 * access. No lock: the device's thread.
 */
#include "core/device.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int vd_region_info(const struct vd_device *device, unsigned index, struct vd_region_info *out)
{
    if (index >= VD_REGION_COUNT)
        return -EINVAL;
    *out = device->info.regions[index];
    return 0;
}

static uint64_t page_size(const struct vd_host_info *info)
{
    return vd_is_power_of_two(info->page_size) ? info->page_size : (uint64_t)sysconf(_SC_PAGESIZE);
}

void vd_regions_init(struct vd_device *device)
{
    vd_windows_init(&device->windows, &device->info, device->config, vd_quirks, vd_nr_quirks);
    if (device->config || device->windows.count)
        vd_windows_cut(&device->windows, device->info.regions, page_size(&device->info));
    for (unsigned i = 0; i < VD_REGION_COUNT; i++) {
        struct vd_region_info *info = &device->info.regions[i];

        if (info->flags & VD_REGION_MMAP)
            info->flags |= VD_REGION_LOCAL;
        if (!info->nr_areas)
            info->flags &= ~(uint32_t)(VD_REGION_MMAP | VD_REGION_LOCAL);
    }
}

int vd_region_fd(const struct vd_device *device, unsigned index, uint64_t *offset)
{
    if (index >= VD_REGION_COUNT)
        return -EINVAL;
    if (!(device->info.regions[index].flags & VD_REGION_MMAP) || !device->ops->region_fd)
        return -ENOTSUP;
    return device->ops->region_fd(device->host, index, offset);
}

static bool in_one_area(const struct vd_region_info *info, uint64_t offset, uint64_t size)
{
    for (uint32_t i = 0; i < info->nr_areas; i++) {
        const struct vd_region_area *area = &info->areas[i];

        if (offset >= area->offset && vd_span_fits(offset - area->offset, size, area->size))
            return true;
    }
    return false;
}

static int map_from_fd(struct vd_device *device, unsigned index, uint64_t offset, uint64_t size,
                       void **memory)
{
    uint64_t base = 0;
    int fd = vd_region_fd(device, index, &base);
    void *at;

    if (fd < 0)
        return fd;
    at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(base + offset));
    if (at == MAP_FAILED)
        return errno == ENOMEM ? -ENOMEM : errno == ENODEV ? -ENODEV : -EIO;
    *memory = at;
    return 0;
}

int vd_region_map(struct vd_device *device, unsigned index, uint64_t offset, uint64_t size, void **memory)
{
    const struct vd_region_info *info;

    *memory = NULL;
    if (index >= VD_REGION_COUNT || !size || !vd_is_aligned(offset | size, (uint64_t)sysconf(_SC_PAGESIZE)))
        return -EINVAL;
    info = &device->info.regions[index];
    if (!(info->flags & VD_REGION_LOCAL))
        return -ENOTSUP;
    if (!in_one_area(info, offset, size))
        return -EINVAL;
    if (atomic_load_explicit(&device->gone, memory_order_relaxed))
        return -ENODEV;
    if (device->ops->region_map)
        return device->ops->region_map(device->host, index, offset, size, memory);
    return map_from_fd(device, index, offset, size, memory);
}

void vd_region_unmap(struct vd_device *device, unsigned index, void *memory, uint64_t size)
{
    if (!memory)
        return;
    if (device->ops->region_unmap)
        device->ops->region_unmap(device->host, index, memory, size);
    else
        munmap(memory, size);
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

static int read_region(struct vd_device *device, unsigned index, uint64_t offset, void *buffer, size_t count)
{
    if (index == VD_REGION_CONFIG && device->config)
        return vd_config_read(device->config, (unsigned)offset, buffer, count);
    if (device->held) {
        memset(buffer, 0xff, count); /* as a device that is not there: drivers give up at once */
        return 0;
    }
    if (index == VD_REGION_ROM && device->rom) {
        memcpy(buffer, device->rom + offset, count);
        return 0;
    }
    if (device->windows.bars >> index & 1)
        return vd_window_read(device, index, offset, buffer, count);
    return device->ops->region_read(device->host, index, offset, buffer, count);
}

static int write_region(struct vd_device *device, unsigned index, uint64_t offset, const void *buffer,
                        size_t count)
{
    if (index == VD_REGION_CONFIG && device->config)
        return vd_config_write(device->config, (unsigned)offset, buffer, count);
    if (device->held)
        return 0;
    if (device->windows.bars >> index & 1)
        return vd_window_write(device, index, offset, buffer, count);
    return device->ops->region_write(device->host, index, offset, buffer, count);
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
        ret = read_region(device, index, offset, buffer, count);
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
        ret = write_region(device, index, offset, buffer, count);
    if (ret) {
        vd_count(&counters->errors, 1);
        return ret;
    }
    vd_count(&counters->writes, 1);
    vd_count(&counters->written_bytes, count);
    return 0;
}
