/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Regions: every memory BAR is mapped whole when the device is opened, write-combining when it is prefetchable; where the
 * host cannot map one, each access is a call. Config space and the ROM are always calls.
 *
 * An access is split into the widest naturally aligned pieces, each of them one load, store or call. Around a piece that
 * goes through a mapping stand the barriers of a driver's readl() and writel(): what other threads wrote to memory
 * before is visible to the device that the write wakes, and memory read after is at least as new as the register. A
 * write through a write-combining mapping is followed by a flush of the combining buffers, because whoever trapped here
 * takes it that the write has left.
 */
#include "backend/dext/host.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/range.h"

static const int access_errors[] = {-ENODEV, -EINVAL, 0};

/* Memory before, device store after. On x86 the processor keeps that order and the compiler must. */
static inline void before_store(void)
{
#if defined(__aarch64__)
    __asm__ volatile("dmb oshst" ::: "memory");
#elif defined(__x86_64__)
    __asm__ volatile("" ::: "memory");
#else
    __sync_synchronize();
#endif
}

/* Device load before, memory after. */
static inline void after_load(void)
{
#if defined(__aarch64__)
    __asm__ volatile("dmb oshld" ::: "memory");
#elif defined(__x86_64__)
    __asm__ volatile("" ::: "memory");
#else
    __sync_synchronize();
#endif
}

static inline void flush_combined(void)
{
#if defined(__aarch64__)
    __asm__ volatile("dsb st" ::: "memory");
#elif defined(__x86_64__)
    __asm__ volatile("sfence" ::: "memory");
#else
    __sync_synchronize();
#endif
}

/* Learning what there is. */

uint32_t dext_region_flags(uint32_t bar_type)
{
    return (bar_type & VD_DEXT_BAR_PREFETCHABLE ? VD_REGION_PREFETCHABLE : 0) |
           (bar_type & VD_DEXT_BAR_64 ? VD_REGION_64BIT : 0);
}

/* Fills *bar and *type; a BAR that is not there, not memory or not possible keeps size 0. */
static int get_bar(struct dext_host *host, unsigned index, struct dext_bar *bar, uint32_t *type)
{
    const uint64_t in = index;
    uint64_t out[3] = {0};
    int status = dext_call(host, VD_DEXT_GET_BAR_INFO, &in, 1, out, 3);

    *bar = (struct dext_bar){.size = 0};
    *type = (uint32_t)out[2];
    if (status)
        return dext_is_refusal(status) ? 0 : status;
    if (!out[1] || (*type & VD_DEXT_BAR_IO))
        return 0;
    if (!vd_is_power_of_two(out[1])) {
        vd_warn(host->env, "%s: BAR %u is left out: %#llx bytes are not a power of two", host->address.name,
                index, (unsigned long long)out[1]);
        return 0;
    }
    bar->size = out[1];
    bar->memory_index = (uint32_t)out[0];
    bar->prefetchable = *type & VD_DEXT_BAR_PREFETCHABLE;
    return 0;
}

static int map_bar(struct dext_host *host, unsigned index, struct dext_bar *bar)
{
    const struct dext_connection *c = &host->connection;
    int status = c->ops->map(c->link, VD_DEXT_MEMORY_BAR0 + index,
                             bar->prefetchable ? VD_LINK_WRITE_COMBINE : 0, &bar->mapping);

    if (dext_is_refusal(status)) {
        vd_info(host->env, "%s: BAR %u cannot be mapped, each access is a call: %s", host->address.name,
                index, dext_return_name(status));
        return 0;
    }
    if (status)
        return dext_note(host, status);
    if (bar->mapping.size < bar->size || !vd_is_aligned((uintptr_t)bar->mapping.address, sizeof(uint64_t))) {
        vd_warn(host->env, "%s: BAR %u is not used through its mapping, which does not fit it",
                host->address.name, index);
        c->ops->unmap(c->link, &bar->mapping);
        return 0;
    }
    bar->mapped = true;
    return 0;
}

/*
 * Others can map whole pages only; what is smaller stays trapped for them. The size is held to the extension's pages,
 * the address to this machine's.
 */
static void describe_bar(const struct dext_host *host, const struct dext_bar *bar, uint32_t type,
                         struct vd_region_info *out)
{
    uint64_t page = host->features.page_size;

    out->size = bar->size;
    out->flags = VD_REGION_READ | VD_REGION_WRITE | dext_region_flags(type);
    if (!bar->mapped || !vd_is_aligned(bar->size, page) ||
        !vd_is_aligned((uintptr_t)bar->mapping.address, (uint64_t)sysconf(_SC_PAGESIZE)))
        return;
    out->flags |= VD_REGION_LOCAL;
    if (bar->mapping.fd >= 0 && vd_is_aligned(bar->mapping.fd_offset, page))
        out->flags |= VD_REGION_MMAP;
    out->nr_areas = 1;
    out->areas[0] = (struct vd_region_area){0, bar->size};
}

static int setup_bars(struct dext_host *host)
{
    for (unsigned i = 0; i < VD_DEXT_BARS; i++) {
        struct dext_bar *bar = &host->bars[i];
        uint32_t type;
        int status = get_bar(host, i, bar, &type);

        if (!status && bar->size)
            status = map_bar(host, i, bar);
        if (status)
            return status;
        if (!bar->size)
            continue;
        describe_bar(host, bar, type, &host->info.regions[i]);
        if (type & VD_DEXT_BAR_64)
            i++; /* the next register is its upper half */
    }
    return 0;
}

static int setup_rom(struct dext_host *host)
{
    struct dext_bar *rom = &host->bars[VD_DEXT_ROM];
    uint32_t type;
    int status;

    if (!(host->features.bits & VD_DEXT_FEATURE_ROM))
        return 0;
    status = get_bar(host, VD_DEXT_ROM, rom, &type);
    if (!status && rom->size)
        host->info.regions[VD_REGION_ROM] =
            (struct vd_region_info){.size = rom->size, .flags = VD_REGION_READ};
    return status;
}

int dext_region_setup(struct dext_host *host)
{
    int status = setup_bars(host);

    if (!status)
        status = setup_rom(host);
    host->info.regions[VD_REGION_CONFIG] =
        (struct vd_region_info){.size = DEXT_CONFIG_SIZE, .flags = VD_REGION_READ | VD_REGION_WRITE};
    return status;
}

/* Accesses. A piece is a value in the device's byte order, that is little-endian, at `bytes`. */

static unsigned piece_width(uint64_t offset, size_t left, unsigned widest)
{
    while (widest > left || !vd_is_aligned(offset, widest))
        widest /= 2;
    return widest;
}

static void load_piece(const volatile void *from, void *bytes, unsigned width)
{
    uint64_t v8;
    uint32_t v4;
    uint16_t v2;
    uint8_t v1;

    switch (width) {
    case 8:
        v8 = *(const volatile uint64_t *)from;
        memcpy(bytes, &v8, 8);
        break;
    case 4:
        v4 = *(const volatile uint32_t *)from;
        memcpy(bytes, &v4, 4);
        break;
    case 2:
        v2 = *(const volatile uint16_t *)from;
        memcpy(bytes, &v2, 2);
        break;
    default:
        v1 = *(const volatile uint8_t *)from;
        memcpy(bytes, &v1, 1);
    }
}

static void store_piece(volatile void *to, const void *bytes, unsigned width)
{
    uint64_t v8;
    uint32_t v4;
    uint16_t v2;

    switch (width) {
    case 8:
        memcpy(&v8, bytes, 8);
        *(volatile uint64_t *)to = v8;
        break;
    case 4:
        memcpy(&v4, bytes, 4);
        *(volatile uint32_t *)to = v4;
        break;
    case 2:
        memcpy(&v2, bytes, 2);
        *(volatile uint16_t *)to = v2;
        break;
    default:
        *(volatile uint8_t *)to = *(const uint8_t *)bytes;
    }
}

static int read_call(struct dext_host *host, unsigned index, uint64_t offset, void *bytes, unsigned width)
{
    uint8_t value[8];
    uint64_t out = 0;
    int status;

    if (index == VD_REGION_CONFIG) {
        uint32_t narrow;

        status = dext_config_read(host, (uint32_t)offset, width, &narrow);
        out = narrow;
    } else {
        const uint64_t in[3] = {host->bars[index].memory_index, offset, width};

        status = dext_call(host, VD_DEXT_MMIO_READ, in, 3, &out, 1);
    }
    vd_store64(value, out);
    memcpy(bytes, value, width);
    return status;
}

static int write_call(struct dext_host *host, unsigned index, uint64_t offset, const void *bytes,
                      unsigned width)
{
    uint64_t in[4] = {0, offset, width, 0};
    uint8_t value[8] = {0};

    memcpy(value, bytes, width);
    if (index == VD_REGION_CONFIG)
        return dext_config_write(host, (uint32_t)offset, width, vd_load32(value));
    in[0] = host->bars[index].memory_index;
    in[3] = vd_load64(value);
    return dext_call(host, VD_DEXT_MMIO_WRITE, in, 4, NULL, 0);
}

static unsigned widest_of(unsigned index)
{
    return index == VD_REGION_CONFIG ? 4 : 8;
}

static uint8_t *mapped_at(struct dext_host *host, unsigned index, uint64_t offset)
{
    if (index > VD_REGION_BAR5 || !host->bars[index].mapped)
        return NULL;
    return (uint8_t *)host->bars[index].mapping.address + offset;
}

int dext_region_read(void *opaque, unsigned index, uint64_t offset, void *buffer, size_t count)
{
    struct dext_host *host = opaque;
    const uint8_t *mapped = mapped_at(host, index, offset);
    uint8_t *out = buffer;
    int status = host->gone ? VD_DEXT_NO_DEVICE : 0;

    for (size_t done = 0; !status && done < count;) {
        unsigned width = piece_width(offset + done, count - done, widest_of(index));

        if (mapped)
            load_piece(mapped + done, out + done, width);
        else
            status = read_call(host, index, offset + done, out + done, width);
        done += width;
    }
    if (mapped)
        after_load();
    return dext_errno(status, access_errors);
}

int dext_region_write(void *opaque, unsigned index, uint64_t offset, const void *buffer, size_t count)
{
    struct dext_host *host = opaque;
    uint8_t *mapped = mapped_at(host, index, offset);
    const uint8_t *in = buffer;
    int status = host->gone ? VD_DEXT_NO_DEVICE : 0;

    if (index == VD_REGION_ROM)
        return -EIO;
    if (mapped)
        before_store();
    for (size_t done = 0; !status && done < count;) {
        unsigned width = piece_width(offset + done, count - done, widest_of(index));

        if (mapped)
            store_piece(mapped + done, in + done, width);
        else
            status = write_call(host, index, offset + done, in + done, width);
        done += width;
    }
    if (mapped && host->bars[index].prefetchable)
        flush_combined();
    return dext_errno(status, access_errors);
}

/* Handing mappings out. */

int dext_region_fd(void *opaque, unsigned index, uint64_t *offset)
{
    struct dext_host *host = opaque;

    *offset = host->bars[index].mapping.fd_offset;
    return host->bars[index].mapping.fd;
}

/* The BAR is mapped whole until close, so this only says where. */
int dext_region_map(void *opaque, unsigned index, uint64_t offset, uint64_t size, void **memory)
{
    struct dext_host *host = opaque;

    if (host->gone)
        return -ENODEV;
    *memory = mapped_at(host, index, offset);
    return *memory ? 0 : -EIO;
}

void dext_region_unmap(void *opaque, unsigned index, void *memory, uint64_t size)
{
}
