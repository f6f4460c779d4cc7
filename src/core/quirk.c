/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which devices have windows, and the accesses to them; see quirk.h. The mirrors' places are facts found by others: QEMU's
 * hw/vfio/pci-quirks.c tells of them, envytools documents NVIDIA's.
 */
#include "core/quirk.h"

#include <string.h>

#include "base/le.h"
#include "base/range.h"
#include "core/device.h"

enum { NVIDIA = 0x10de, AMD = 0x1002, CLASS_DISPLAY = 0x030000, CLASS_BASE = 0xff0000, MSI_HEADER = 2 };

const struct vd_quirk vd_quirks[] = {
    {.vendor = NVIDIA,
     .class_code = CLASS_DISPLAY,
     .class_mask = CLASS_BASE,
     .bar = 0,
     .offset = 0x88000,
     .size = VD_CONFIG_SIZE,
     .kind = VD_WINDOW_CONFIG,
     .msi_ack = true,
     .reason = "all of config space; drivers re-arm MSI by writing the capability's id here"},
    {.vendor = NVIDIA,
     .class_code = CLASS_DISPLAY,
     .class_mask = CLASS_BASE,
     .bar = 0,
     .offset = 0x1800,
     .size = VD_CONFIG_STANDARD,
     .kind = VD_WINDOW_CONFIG,
     .reason = "the first 256 bytes of config space"},
    {.vendor = AMD,
     .class_code = CLASS_DISPLAY,
     .class_mask = CLASS_BASE,
     .bar = 2,
     .flags_mask = VD_REGION_64BIT | VD_REGION_PREFETCHABLE,
     .flags = VD_REGION_64BIT, /* prefetchable: doorbells, on chips that have their registers elsewhere */
     .offset = 0x4000,
     .size = VD_CONFIG_SIZE,
     .kind = VD_WINDOW_CONFIG,
     .reason = "all of config space, where BAR 2 holds the registers"},
};

const size_t vd_nr_quirks = sizeof(vd_quirks) / sizeof(vd_quirks[0]);

/* Finding. */

static void add(struct vd_windows *windows, const struct vd_host_info *info, struct vd_window window)
{
    if (windows->count == VD_MAX_WINDOWS || !window.size || window.bar >= VD_REGION_ROM ||
        !vd_span_fits(window.offset, window.size, info->regions[window.bar].size))
        return;
    windows->list[windows->count++] = window;
    windows->bars |= 1u << window.bar;
}

static void add_msix(struct vd_windows *windows, const struct vd_host_info *info, const struct vd_msix *msix)
{
    add(windows, info,
        (struct vd_window){.kind = VD_WINDOW_MSIX_TABLE,
                           .bar = (uint8_t)msix->table_bar,
                           .offset = msix->table_offset,
                           .size = vd_msix_table_size(msix)});
    add(windows, info,
        (struct vd_window){.kind = VD_WINDOW_MSIX_PBA,
                           .bar = (uint8_t)msix->pba_bar,
                           .offset = msix->pba_offset,
                           .size = vd_msix_pba_size(msix)});
}

static bool matches(const struct vd_quirk *row, const struct vd_host_info *info)
{
    return row->vendor == info->vendor && (info->device & row->device_mask) == row->device &&
           (info->class_code & row->class_mask) == row->class_code && row->bar < VD_REGION_ROM &&
           (info->regions[row->bar].flags & row->flags_mask) == row->flags;
}

/* A mirror goes as far as the BAR and config space do. */
static void add_quirk(struct vd_windows *windows, const struct vd_host_info *info, const struct vd_quirk *row)
{
    uint64_t bar = info->regions[row->bar].size;
    uint64_t config = info->regions[VD_REGION_CONFIG].size;
    uint64_t size = row->size;

    if (row->offset >= bar)
        return;
    if (size > bar - row->offset)
        size = bar - row->offset;
    if (row->kind == VD_WINDOW_CONFIG && !vd_span_fits(row->target, size, config))
        size = config > row->target ? config - row->target : 0;
    add(windows, info,
        (struct vd_window){.kind = row->kind,
                           .bar = row->bar,
                           .offset = row->offset,
                           .size = size,
                           .target = row->target,
                           .msi_ack = row->msi_ack});
}

void vd_windows_init(struct vd_windows *windows, const struct vd_host_info *info,
                     const struct vd_config *config, const struct vd_quirk *rows, size_t nr_rows)
{
    *windows = (struct vd_windows){.count = 0};
    if (config && config->msix.entries)
        add_msix(windows, info, &config->msix);
    for (size_t i = 0; i < nr_rows; i++) {
        if (matches(&rows[i], info))
            add_quirk(windows, info, &rows[i]);
    }
}

void vd_windows_cut(const struct vd_windows *windows, struct vd_region_info *regions, uint64_t page)
{
    for (unsigned bar = 0; bar < VD_REGION_ROM; bar++) {
        struct vd_region_area holes[VD_MAX_WINDOWS];
        unsigned count = 0;

        for (unsigned i = 0; i < windows->count; i++) {
            if (windows->list[i].bar == bar)
                holes[count++] = (struct vd_region_area){windows->list[i].offset, windows->list[i].size};
        }
        vd_areas_cut(&regions[bar], page, holes, count);
    }
}

/* Accesses. */

/* The window that offset lies in, or NULL; *run is how many bytes from there have the same answer, at most `count`. */
static const struct vd_window *find(const struct vd_windows *windows, unsigned bar, uint64_t offset,
                                    size_t count, size_t *run)
{
    const struct vd_window *found = NULL;
    uint64_t left = count;

    for (unsigned i = 0; i < windows->count; i++) {
        const struct vd_window *w = &windows->list[i];
        uint64_t end = w->offset + w->size;
        uint64_t edge = w->offset > offset ? w->offset : end;

        if (w->bar != bar || offset >= end)
            continue;
        if (w->offset <= offset && !found)
            found = w;
        if (edge - offset < left)
            left = edge - offset;
    }
    *run = (size_t)left;
    return found;
}

/* PCI 6.8.2.10: one bit a vector. */
static void read_pending(struct vd_device *device, uint64_t offset, uint8_t *out, size_t count)
{
    const struct vd_irq_state *irq = &device->irqs[VD_IRQ_MSIX];
    uint32_t vectors = irq->vectors ? device->info.irqs[VD_IRQ_MSIX].count : 0;

    memset(out, 0, count);
    pthread_mutex_lock(&device->irq_lock);
    for (size_t i = 0; i < count * 8; i++) {
        uint64_t vector = offset * 8 + i;

        if (vector < vectors && vector < device->config->msix.entries && irq->vectors[vector].pending)
            out[i / 8] |= (uint8_t)(1u << i % 8);
    }
    pthread_mutex_unlock(&device->irq_lock);
}

static int read_config(struct vd_device *device, unsigned offset, void *buffer, size_t count)
{
    if (device->config)
        return vd_config_read(device->config, offset, buffer, count);
    return device->ops->region_read(device->host, VD_REGION_CONFIG, offset, buffer, count);
}

static int read_run(struct vd_device *device, const struct vd_window *w, unsigned bar, uint64_t offset,
                    uint8_t *out, size_t count)
{
    if (!w || w->kind == VD_WINDOW_TRAP)
        return device->ops->region_read(device->host, bar, offset, out, count);
    offset -= w->offset;
    if (w->kind == VD_WINDOW_CONFIG)
        return read_config(device, (unsigned)(w->target + offset), out, count);
    if (w->kind == VD_WINDOW_MSIX_TABLE)
        vd_msix_read(&device->config->msix, offset, out, count);
    else
        read_pending(device, offset, out, count);
    return 0;
}

int vd_window_read(struct vd_device *device, unsigned bar, uint64_t offset, void *buffer, size_t count)
{
    uint8_t *out = buffer;
    int ret = 0;

    while (count && !ret) {
        size_t run;
        const struct vd_window *w = find(&device->windows, bar, offset, count, &run);

        ret = read_run(device, w, bar, offset, out, run);
        offset += run;
        out += run;
        count -= run;
    }
    return ret;
}

/* The MSI capability's id and next pointer cannot be written, so a write of just them is a signal to the chip. */
static bool is_msi_ack(const struct vd_device *device, const struct vd_window *w, uint64_t at, size_t count)
{
    return w->msi_ack && device->config && device->config->msi && at >= device->config->msi &&
           at + count <= device->config->msi + (uint64_t)MSI_HEADER;
}

static int write_config(struct vd_device *device, unsigned offset, const void *buffer, size_t count)
{
    if (device->config)
        return vd_config_write(device->config, offset, buffer, count);
    return device->ops->region_write(device->host, VD_REGION_CONFIG, offset, buffer, count);
}

static int write_run(struct vd_device *device, const struct vd_window *w, unsigned bar, uint64_t offset,
                     const uint8_t *in, size_t count)
{
    uint64_t at;

    if (!w || w->kind == VD_WINDOW_TRAP)
        return device->ops->region_write(device->host, bar, offset, in, count);
    at = offset - w->offset;
    if (w->kind == VD_WINDOW_CONFIG) {
        if (is_msi_ack(device, w, w->target + at, count))
            return device->ops->region_write(device->host, bar, offset, in, count);
        return write_config(device, (unsigned)(w->target + at), in, count);
    }
    if (w->kind == VD_WINDOW_MSIX_TABLE)
        vd_msix_write(&device->config->msix, at, in, count);
    return 0;
}

int vd_window_write(struct vd_device *device, unsigned bar, uint64_t offset, const void *buffer, size_t count)
{
    const uint8_t *in = buffer;
    int ret = 0;

    while (count && !ret) {
        size_t run;
        const struct vd_window *w = find(&device->windows, bar, offset, count, &run);

        ret = write_run(device, w, bar, offset, in, run);
        offset += run;
        in += run;
        count -= run;
    }
    return ret;
}
