/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Capabilities: what kinds there are, which the guest is shown, and the walk through the hardware's two lists, from
 * which the guest's are rebuilt.
 *
 * The walk works on a copy and believes nothing: a pointer out of bounds, to where the walk has been, or to all ones ends a
 * list; a capability that runs over the end of the space or over an earlier one is dropped. Dropped, hidden or malformed,
 * its bytes are closed for writes all the same, as they may be what they claim to be. Where a list ended badly, the space
 * between capabilities is closed too, for it may hold those that were not found.
 */
#include "core/config.h"

#include <string.h>

#include "base/le.h"
#include "base/range.h"

#define ADDRESSES "carries or translates bus addresses, and those are the host's"
#define TOPOLOGY  "is about the host's hierarchy, of which the guest sees one function"
#define POWER     "is about power, which is the host's"
#define HANDSHAKE "works by commands that the host would have to vet"
#define LINK      "both ends of the link must agree, and the other end is the host's"

/* [PCI H; PCIe 7.5 to 7.9, by number in the PCI Code and ID Assignment Specification 1.15, 2 and 3] */
const struct vd_cap_kind vd_cap_kinds[] = {
    {VD_CAP(0x00), VD_CAP_HIDDEN, VD_LENGTH_FIXED, 4, false, "null", "has no content"},
    {VD_CAP_PM, VD_CAP_READ_ONLY, VD_LENGTH_FIXED, 8, true, "power management", "states are played"},
    {VD_CAP(0x02), VD_CAP_READ_ONLY, VD_LENGTH_FIXED, 12, false, "AGP", "there is no such bus"},
    {VD_CAP_VPD, VD_CAP_READ_ONLY, VD_LENGTH_FIXED, 8, true, "vital product data", "can be read"},
    {VD_CAP(0x04), VD_CAP_HIDDEN, VD_LENGTH_FIXED, 4, false, "slot id", TOPOLOGY},
    {VD_CAP_MSI, VD_CAP_READ_ONLY, VD_LENGTH_MSI, 0, true, "MSI", "the guest's, whole"},
    {VD_CAP(0x06), VD_CAP_HIDDEN, VD_LENGTH_FIXED, 4, false, "CompactPCI hot swap", TOPOLOGY},
    {VD_CAP(0x07), VD_CAP_READ_ONLY, VD_LENGTH_PCIX, 0, false, "PCI-X", LINK},
    {VD_CAP(0x08), VD_CAP_HIDDEN, VD_LENGTH_NEXT, 28, false, "HyperTransport", ADDRESSES},
    {VD_CAP_VENDOR, VD_CAP_RAW, VD_LENGTH_VENDOR, 0, false, "vendor-specific", "its driver knows it"},
    {VD_CAP(0x0a), VD_CAP_READ_ONLY, VD_LENGTH_FIXED, 4, false, "debug port", "constant"},
    {VD_CAP(0x0b), VD_CAP_HIDDEN, VD_LENGTH_FIXED, 4, false, "CompactPCI resource control", TOPOLOGY},
    {VD_CAP(0x0c), VD_CAP_HIDDEN, VD_LENGTH_FIXED, 8, false, "hot plug", TOPOLOGY},
    {VD_CAP(0x0d), VD_CAP_READ_ONLY, VD_LENGTH_FIXED, 8, false, "bridge subsystem id", "constant"},
    {VD_CAP(0x0e), VD_CAP_READ_ONLY, VD_LENGTH_FIXED, 12, false, "AGP 8x", "there is no such bus"},
    {VD_CAP(0x0f), VD_CAP_HIDDEN, VD_LENGTH_NEXT, 0, false, "secure device", ADDRESSES},
    {VD_CAP_PCIE, VD_CAP_READ_ONLY, VD_LENGTH_PCIE, 0, true, "PCI Express", "see config_fields.c"},
    {VD_CAP_MSIX, VD_CAP_READ_ONLY, VD_LENGTH_FIXED, 12, true, "MSI-X", "the guest's, whole"},
    {VD_CAP(0x12), VD_CAP_READ_ONLY, VD_LENGTH_SATA, 0, false, "SATA", "constant"},
    {VD_CAP_AF, VD_CAP_READ_ONLY, VD_LENGTH_FIXED, 6, true, "advanced features",
     "FLR is a reset by the host"},
    {VD_CAP(0x14), VD_CAP_HIDDEN, VD_LENGTH_NEXT, 0, false, "enhanced allocation", ADDRESSES},
    {VD_CAP(0x15), VD_CAP_HIDDEN, VD_LENGTH_NEXT, 0, false, "flattening portal bridge", TOPOLOGY},

    {VD_EXT_CAP(0x00), VD_CAP_HIDDEN, VD_LENGTH_FIXED, 4, false, "null", "has no content"},
    {VD_EXT_CAP(0x01), VD_CAP_READ_ONLY, VD_LENGTH_NEXT, 0x48, false, "advanced error reporting",
     "the host handles errors; the guest can look"},
    {VD_EXT_CAP(0x02), VD_CAP_READ_ONLY, VD_LENGTH_VC, 0, false, "virtual channel", LINK},
    {VD_EXT_CAP(0x03), VD_CAP_READ_ONLY, VD_LENGTH_FIXED, 12, false, "serial number", "constant"},
    {VD_EXT_CAP(0x04), VD_CAP_READ_ONLY, VD_LENGTH_FIXED, 16, false, "power budgeting",
     "constant but for a selector"},
    {VD_EXT_CAP(0x05), VD_CAP_HIDDEN, VD_LENGTH_NEXT, 0, false, "root complex link declaration", TOPOLOGY},
    {VD_EXT_CAP(0x06), VD_CAP_HIDDEN, VD_LENGTH_NEXT, 0, false, "root complex internal link", TOPOLOGY},
    {VD_EXT_CAP(0x07), VD_CAP_HIDDEN, VD_LENGTH_NEXT, 0, false, "root complex event collector", TOPOLOGY},
    {VD_EXT_CAP(0x08), VD_CAP_READ_ONLY, VD_LENGTH_VC, 0, false, "multi-function virtual channel", LINK},
    {VD_EXT_CAP(0x09), VD_CAP_READ_ONLY, VD_LENGTH_VC, 0, false, "virtual channel", LINK},
    {VD_EXT_CAP(0x0a), VD_CAP_HIDDEN, VD_LENGTH_NEXT, 0, false, "root complex register block", TOPOLOGY},
    {VD_EXT_CAP(0x0b), VD_CAP_RAW, VD_LENGTH_VSEC, 0, false, "vendor-specific", "its driver knows it"},
    {VD_EXT_CAP(0x0c), VD_CAP_HIDDEN, VD_LENGTH_NEXT, 0, false, "configuration access correlation", TOPOLOGY},
    {VD_EXT_CAP(0x0d), VD_CAP_HIDDEN, VD_LENGTH_NEXT, 40, false, "access control services",
     "decides whether DMA passes the host's IOMMU"},
    {VD_EXT_CAP(0x0e), VD_CAP_HIDDEN, VD_LENGTH_FIXED, 8, false, "alternative routing id", TOPOLOGY},
    {VD_EXT_CAP(0x0f), VD_CAP_HIDDEN, VD_LENGTH_FIXED, 8, false, "address translation services", ADDRESSES},
    {VD_EXT_CAP(0x10), VD_CAP_HIDDEN, VD_LENGTH_FIXED, 0x40, false, "single root I/O virtualisation",
     "makes functions that the host would have to own"},
    {VD_EXT_CAP(0x11), VD_CAP_HIDDEN, VD_LENGTH_NEXT, 0, false, "multi-root I/O virtualisation", TOPOLOGY},
    {VD_EXT_CAP(0x12), VD_CAP_HIDDEN, VD_LENGTH_FIXED, 0x28, false, "multicast", ADDRESSES},
    {VD_EXT_CAP(0x13), VD_CAP_HIDDEN, VD_LENGTH_FIXED, 16, false, "page request interface", ADDRESSES},
    {VD_EXT_CAP(0x14), VD_CAP_HIDDEN, VD_LENGTH_NEXT, 0, false, "reserved for AMD", "nothing is known of it"},
    {VD_EXT_CAP(0x15), VD_CAP_HIDDEN, VD_LENGTH_REBAR, 0, false, "resizable BAR",
     "the host gave out the addresses, so sizes are what they are"},
    {VD_EXT_CAP(0x16), VD_CAP_HIDDEN, VD_LENGTH_NEXT, 0x30, false, "dynamic power allocation", POWER},
    {VD_EXT_CAP(0x17), VD_CAP_HIDDEN, VD_LENGTH_NEXT, 0x8c, false, "TPH requester",
     "steers to processors of the host"},
    {VD_EXT_CAP(0x18), VD_CAP_READ_ONLY, VD_LENGTH_FIXED, 8, true, "latency tolerance reporting", LINK},
    {VD_EXT_CAP(0x19), VD_CAP_READ_ONLY, VD_LENGTH_NEXT, 0x4c, false, "secondary PCI Express", LINK},
    {VD_EXT_CAP(0x1a), VD_CAP_HIDDEN, VD_LENGTH_NEXT, 0, false, "protocol multiplexing", LINK},
    {VD_EXT_CAP(0x1b), VD_CAP_HIDDEN, VD_LENGTH_FIXED, 8, false, "process address space id", ADDRESSES},
    {VD_EXT_CAP(0x1c), VD_CAP_HIDDEN, VD_LENGTH_FIXED, 8, false, "LN requester", ADDRESSES},
    {VD_EXT_CAP(0x1d), VD_CAP_HIDDEN, VD_LENGTH_NEXT, 0, false, "downstream port containment", TOPOLOGY},
    {VD_EXT_CAP(0x1e), VD_CAP_READ_ONLY, VD_LENGTH_FIXED, 16, false, "L1 substates", LINK},
    {VD_EXT_CAP(0x1f), VD_CAP_READ_ONLY, VD_LENGTH_FIXED, 12, false, "precision time measurement", LINK},
    {VD_EXT_CAP(0x20), VD_CAP_HIDDEN, VD_LENGTH_NEXT, 0, false, "PCI Express over M-PHY", LINK},
    {VD_EXT_CAP(0x21), VD_CAP_HIDDEN, VD_LENGTH_NEXT, 0, false, "FRS queueing", TOPOLOGY},
    {VD_EXT_CAP(0x22), VD_CAP_READ_ONLY, VD_LENGTH_FIXED, 12, false, "readiness time", "constant"},
    {VD_EXT_CAP(0x23), VD_CAP_READ_ONLY, VD_LENGTH_VSEC, 0, false, "designated vendor-specific",
     "some steer links and memory of the host"},
    {VD_EXT_CAP(0x24), VD_CAP_HIDDEN, VD_LENGTH_REBAR, 0, false, "resizable BARs of virtual functions",
     "there are none"},
    {VD_EXT_CAP(0x25), VD_CAP_READ_ONLY, VD_LENGTH_FIXED, 12, false, "data link feature", LINK},
    {VD_EXT_CAP(0x26), VD_CAP_READ_ONLY, VD_LENGTH_NEXT, 0x40, false, "16 GT/s physical layer", LINK},
    {VD_EXT_CAP(0x27), VD_CAP_READ_ONLY, VD_LENGTH_NEXT, 0x88, false, "lane margining", LINK},
    {VD_EXT_CAP(0x29), VD_CAP_HIDDEN, VD_LENGTH_NEXT, 0, false, "native enclosure management", TOPOLOGY},
    {VD_EXT_CAP(0x2a), VD_CAP_READ_ONLY, VD_LENGTH_NEXT, 0x40, false, "32 GT/s physical layer", LINK},
    {VD_EXT_CAP(0x2c), VD_CAP_HIDDEN, VD_LENGTH_NEXT, 0, false, "system firmware intermediary", TOPOLOGY},
    {VD_EXT_CAP(0x2d), VD_CAP_HIDDEN, VD_LENGTH_NEXT, 0, false, "shadow functions", TOPOLOGY},
    {VD_EXT_CAP(0x2e), VD_CAP_HIDDEN, VD_LENGTH_FIXED, 0x18, false, "data object exchange", HANDSHAKE},
    {VD_EXT_CAP(0x30), VD_CAP_HIDDEN, VD_LENGTH_NEXT, 0, false, "integrity and data encryption", HANDSHAKE},
};

const size_t vd_cap_nr_kinds = sizeof(vd_cap_kinds) / sizeof(vd_cap_kinds[0]);

const struct vd_cap_kind *vd_cap_kind(uint32_t id)
{
    static const struct vd_cap_kind unknown = {.policy = VD_CAP_READ_ONLY,
                                               .rule = VD_LENGTH_NEXT,
                                               .name = "unknown",
                                               .reason = "a look can do no harm"};

    for (size_t i = 0; i < vd_cap_nr_kinds; i++) {
        if (vd_cap_kinds[i].id == id)
            return &vd_cap_kinds[i];
    }
    return &unknown;
}

/* Where the lists are, and what ends them. */
enum {
    OFF_STATUS = 0x06,
    OFF_POINTER = 0x34,
    STATUS_CAP_LIST = 0x10,
    ALL_ONES = 0xff,
    MSIX_LENGTH = 12,
    MAX_HEADERS = (VD_CONFIG_SIZE - VD_CONFIG_STANDARD) / 4,
};

/* What the layout knows of a byte. */
enum { OWNED = 1, GUARDED = 2 };

/* One of the two lists, as the hardware has it. */
struct list {
    uint16_t at[MAX_HEADERS];
    unsigned count;
    unsigned start, end; /* the space it lives in */
    bool extended;
    bool broken;
};

struct layout {
    struct vd_config *config;
    const uint8_t *hardware;
    const struct vd_host_info *info;
    unsigned msix; /* the header that may be shown; 0: none */
    unsigned last; /* header shown last in the present list; 0: none yet */
    struct list list;
    uint8_t marks[VD_CONFIG_SIZE];
    uint8_t seen[sizeof(vd_cap_kinds) / sizeof(vd_cap_kinds[0])];
};

/* Bytes of the copy; beyond its end 0. */
static uint32_t get(const struct layout *l, unsigned at, unsigned width)
{
    uint8_t bytes[4] = {0};

    if (vd_span_fits(at, width, l->config->size))
        memcpy(bytes, l->hardware + at, width);
    return vd_load32(bytes);
}

static uint32_t id_at(const struct layout *l, unsigned at)
{
    return l->list.extended ? VD_EXT_CAP(get(l, at, 2)) : VD_CAP(get(l, at, 1));
}

static unsigned next_of(const struct layout *l, unsigned at)
{
    return l->list.extended ? get(l, at, 4) >> 20 & 0xffc : get(l, at + 1, 1) & 0xfc;
}

static bool is_all_ones(const struct layout *l, unsigned at)
{
    return l->list.extended ? get(l, at, 4) == UINT32_MAX : get(l, at, 1) == ALL_ONES;
}

/* Follows the list from `at`; each header is taken once. */
static void follow(struct layout *l, unsigned at)
{
    struct list *list = &l->list;
    uint8_t been[VD_CONFIG_SIZE / 4] = {0};

    for (; at; at = next_of(l, at)) {
        if (at < list->start || at >= list->end || been[at / 4] || is_all_ones(l, at)) {
            list->broken = true;
            vd_warn(l->config->env,
                    "%s: its list of %scapabilities leads nowhere at 0x%x; what follows is hidden",
                    l->config->address, list->extended ? "extended " : "", at);
            return;
        }
        been[at / 4] = 1;
        list->at[list->count++] = (uint16_t)at;
    }
}

static void find_standard(struct layout *l)
{
    l->list = (struct list){.start = VD_CONFIG_HEADER_SIZE, .end = VD_CONFIG_STANDARD};
    if (get(l, OFF_STATUS, 1) & STATUS_CAP_LIST)
        follow(l, get(l, OFF_POINTER, 1) & 0xfc);
}

/* PCIe 7.6.2: a header of zeroes at the start says that there is none. */
static void find_extended(struct layout *l)
{
    l->list = (struct list){.start = VD_CONFIG_STANDARD, .end = l->config->size, .extended = true};
    if (get(l, VD_CONFIG_STANDARD, 4))
        follow(l, VD_CONFIG_STANDARD);
}

/* Lengths. */

/* The lowest header above `at`, or the end of the space. */
static unsigned following(const struct layout *l, unsigned at)
{
    unsigned lowest = l->list.end;

    for (unsigned i = 0; i < l->list.count; i++) {
        if (l->list.at[i] > at && l->list.at[i] < lowest)
            lowest = l->list.at[i];
    }
    return lowest;
}

/* PCI 6.8.1.3: bit 7 says 64-bit addresses, bit 8 masking. */
static unsigned msi_layout(const struct layout *l, unsigned at)
{
    uint32_t control = get(l, at + 2, 2);

    return 1u << ((control >> 7 & 1) | (control >> 8 & 1) << 1);
}

static unsigned msi_length(unsigned layout)
{
    switch (layout) {
    case VD_MSI_32:
        return 10;
    case VD_MSI_64:
        return 14;
    case VD_MSI_32_MASK:
        return 20;
    default:
        return 24;
    }
}

/*
 * PCIe 7.5.3: version 1 ends after the link's registers, version 2 after the link's second ones, and sooner in a function
 * that is integrated into the root complex (type 9) and has no link. The slot's registers behind that may be there or
 * not: they are covered as far as nothing else is.
 */
static unsigned pcie_length(const struct layout *l, unsigned at)
{
    uint32_t flags = get(l, at + 2, 2);
    bool linkless = (flags >> 4 & 15) == 9;
    unsigned least = (flags & 15) < 2 ? (linkless ? 0x0c : 0x14) : linkless ? 0x2c : 0x34;
    unsigned most = (flags & 15) < 2 ? 0x24 : 0x3c;
    unsigned room = following(l, at) - at;

    if (room > most)
        room = most;
    return room > least ? room : least;
}

/* PCIe 7.9.1: a block for each channel, then the arbitration table: a nibble for each phase. */
static unsigned vc_length(const struct layout *l, unsigned at)
{
    unsigned length = 0x10 + 12 * (1 + (get(l, at + 4, 1) & 7));
    uint32_t arbitration = get(l, at + 8, 1);
    unsigned phases = arbitration & 8 ? 128 : arbitration & 4 ? 64 : arbitration & 2 ? 32 : 0;

    return phases ? (length + 15) / 16 * 16 + phases / 2 : length;
}

/* Bytes of the capability, header included; 0: it makes no sense. */
static unsigned length_of(const struct layout *l, const struct vd_cap_kind *kind, unsigned at)
{
    unsigned length;

    switch (kind->rule) {
    case VD_LENGTH_FIXED:
        return kind->length;
    case VD_LENGTH_NEXT:
        length = following(l, at) - at;
        return kind->length && kind->length < length ? kind->length : length;
    case VD_LENGTH_MSI:
        return msi_length(msi_layout(l, at));
    case VD_LENGTH_PCIX: /* PCI-X 2.0, 7.2.3: version 0 has no ECC registers */
        return get(l, at + 2, 2) & 0x3000 ? 24 : 8;
    case VD_LENGTH_PCIE:
        return pcie_length(l, at);
    case VD_LENGTH_SATA: /* the registers follow, or are in a BAR */
        return (get(l, at + 4, 1) & 15) == 15 ? 16 : 8;
    case VD_LENGTH_VENDOR:
        length = get(l, at + 2, 1);
        return length < 3 ? 0 : length;
    case VD_LENGTH_VSEC:
        length = get(l, at + 4, 4) >> 20;
        return length < 8 ? 0 : length;
    case VD_LENGTH_VC:
        return vc_length(l, at);
    case VD_LENGTH_REBAR:
        length = get(l, at + 8, 1) >> 5;
        return 4 + 8 * (length ? length : 1);
    }
    return 0;
}

/* Placing. */

static void mark(struct layout *l, unsigned from, unsigned end, uint8_t bits)
{
    for (unsigned i = from; i < end && i < l->config->size; i++)
        l->marks[i] |= bits;
}

static bool is_free(const struct layout *l, unsigned from, unsigned end)
{
    for (unsigned i = from; i < end; i++) {
        if (l->marks[i] & OWNED)
            return false;
    }
    return true;
}

static void drop(struct layout *l, const struct vd_cap_kind *kind, unsigned at, unsigned end, const char *why)
{
    vd_warn(l->config->env, "%s: its capability 0x%x (%s) at 0x%x %s; it is hidden", l->config->address,
            id_at(l, at) & 0xffff, kind->name, at, why);
    mark(l, at, end, GUARDED);
}

/* Reads zero from now on. */
static void blank(struct vd_config *config, unsigned from, unsigned end)
{
    memset(config->kept + from, 0xff, end - from);
    memset(config->value + from, 0, end - from);
}

static void link_standard(struct layout *l, unsigned at)
{
    struct vd_config *config = l->config;

    config->value[l->last ? l->last + 1 : OFF_POINTER] = (uint8_t)at;
    config->value[OFF_STATUS] |= STATUS_CAP_LIST;
    config->kept[at] = config->kept[at + 1] = 0xff;
    config->value[at] = (uint8_t)get(l, at, 1);
    l->last = at;
}

/* The list starts at 0x100 whether or not the first capability is shown: then there is a null header (PCIe 7.6.2). */
static void link_extended(struct layout *l, unsigned at)
{
    struct vd_config *config = l->config;
    unsigned from = l->last ? l->last : VD_CONFIG_STANDARD;

    if (at != from)
        vd_store32(config->value + from, (vd_load32(config->value + from) & 0xfffff) | (uint32_t)at << 20);
    memset(config->kept + at, 0xff, 4);
    vd_store32(config->value + at, get(l, at, 4) & 0xfffff);
    l->last = at;
}

static void show(struct layout *l, const struct vd_cap_kind *kind, unsigned at, unsigned length)
{
    struct vd_config *config = l->config;
    unsigned header = l->list.extended ? 4 : 2;

    if (kind->policy == VD_CAP_RAW) {
        memset(config->guest + at + header, 0xff, length - header);
        memset(config->forward + at + header, 0xff, length - header);
    }
    vd_config_lay(config, l->hardware, id_at(l, at), at, length,
                  kind->rule == VD_LENGTH_MSI ? msi_layout(l, at) : 0);
    if (l->list.extended)
        link_extended(l, at);
    else
        link_standard(l, at);
}

/* Whether the host's side of the capability exists. */
static bool is_offered(const struct layout *l, const struct vd_cap_kind *kind, unsigned at)
{
    if (kind->id == VD_CAP_MSI)
        return l->info->irqs[VD_IRQ_MSI].count > 0;
    if (kind->id == VD_CAP_MSIX)
        return l->info->irqs[VD_IRQ_MSIX].count > 0 && at == l->msix;
    return true;
}

static bool is_another(struct layout *l, const struct vd_cap_kind *kind)
{
    uint8_t *seen;

    if (!kind->once)
        return false;
    seen = &l->seen[kind - vd_cap_kinds];
    return (*seen)++ > 0;
}

static void note(struct vd_config *config, const struct vd_cap_kind *kind, unsigned at)
{
    switch (kind->id) {
    case VD_CAP_PM:
        config->pm = (uint16_t)at;
        break;
    case VD_CAP_MSI:
        config->msi = (uint16_t)at;
        break;
    case VD_CAP_MSIX:
        config->msix.cap = (uint16_t)at;
        break;
    case VD_CAP_PCIE:
        config->pcie = (uint16_t)at;
        break;
    case VD_CAP_AF:
        config->af = (uint16_t)at;
        break;
    default:
        break;
    }
}

static void place(struct layout *l, unsigned at)
{
    const struct vd_cap_kind *kind = vd_cap_kind(id_at(l, at));
    unsigned length = (length_of(l, kind, at) + 3) & ~3u;
    unsigned end = at + length;

    if (length == 0) {
        drop(l, kind, at, at + 4, "has no length");
    } else if (end > l->list.end) {
        drop(l, kind, at, l->list.end, "runs over the end");
    } else if (is_another(l, kind)) {
        drop(l, kind, at, end, "is the second of its kind");
    } else if (!is_free(l, at, end)) {
        drop(l, kind, at, end, "overlaps an earlier one");
    } else if (kind->policy == VD_CAP_HIDDEN || !is_offered(l, kind, at)) {
        mark(l, at, end, OWNED);
        blank(l->config, at, end);
    } else {
        mark(l, at, end, OWNED);
        show(l, kind, at, length);
        note(l->config, kind, at);
    }
}

/* What belongs to no capability: registers of the device's own, as its driver knows them. */
static void open_gaps(struct layout *l)
{
    for (unsigned i = l->list.start; i < l->list.end; i++) {
        if (!l->marks[i] && !l->list.broken)
            l->config->guest[i] = l->config->forward[i] = 0xff;
    }
}

static void close_guarded(struct layout *l)
{
    for (unsigned i = VD_CONFIG_HEADER_SIZE; i < l->config->size; i++) {
        if (l->marks[i] & GUARDED)
            l->config->forward[i] = 0;
    }
}

/* A part of a BAR that the MSI-X capability names. */
static bool lies_in_bar(const struct vd_host_info *info, unsigned bar, uint64_t offset, uint64_t size)
{
    return bar < VD_REGION_ROM && vd_span_fits(offset, size, info->regions[bar].size);
}

/*
 * Where the hardware's table is (PCI 6.8.2). Looked for whether or not the capability is shown: the guest must be kept
 * from the table in any case.
 */
static void find_msix(struct layout *l)
{
    struct vd_msix *msix = &l->config->msix;
    unsigned i, at;

    for (i = 0; i < l->list.count && id_at(l, l->list.at[i]) != VD_CAP_MSIX; i++)
        ;
    if (i == l->list.count || l->list.at[i] + (unsigned)MSIX_LENGTH > l->list.end)
        return;
    at = l->list.at[i];
    msix->entries = (get(l, at + 2, 2) & 0x7ff) + 1;
    msix->table_bar = get(l, at + 4, 4) & 7;
    msix->table_offset = get(l, at + 4, 4) & ~7u;
    msix->pba_bar = get(l, at + 8, 4) & 7;
    msix->pba_offset = get(l, at + 8, 4) & ~7u;
    if (!lies_in_bar(l->info, msix->table_bar, msix->table_offset, vd_msix_table_size(msix)))
        msix->entries = 0;
    else if (lies_in_bar(l->info, msix->pba_bar, msix->pba_offset, vd_msix_pba_size(msix)))
        l->msix = at;
    if (!l->msix)
        vd_warn(l->config->env, "%s: its MSI-X %s in no BAR; MSI-X is hidden", l->config->address,
                msix->entries ? "pending bits are" : "table is");
}

static void place_extended(struct layout *l, bool express)
{
    struct vd_config *config = l->config;

    if (config->size == VD_CONFIG_STANDARD)
        return;
    /* Conventional PCI and broken bridges repeat the first 256 bytes, or give all ones. */
    if (!express || get(l, VD_CONFIG_STANDARD, 4) == UINT32_MAX) {
        blank(config, VD_CONFIG_STANDARD, config->size);
        return;
    }
    find_extended(l);
    l->last = 0;
    mark(l, VD_CONFIG_STANDARD, VD_CONFIG_STANDARD + 4, GUARDED);
    blank(config, VD_CONFIG_STANDARD, VD_CONFIG_STANDARD + 4);
    for (unsigned i = 0; i < l->list.count; i++)
        place(l, l->list.at[i]);
    open_gaps(l);
}

void vd_config_place_caps(struct vd_config *config, const uint8_t *hardware, const struct vd_host_info *info)
{
    struct layout l = {.config = config, .hardware = hardware, .info = info};
    bool express = false;

    find_standard(&l);
    find_msix(&l);
    for (unsigned i = 0; i < l.list.count; i++) {
        express |= id_at(&l, l.list.at[i]) == VD_CAP_PCIE;
        place(&l, l.list.at[i]);
    }
    open_gaps(&l);
    place_extended(&l, express);
    close_guarded(&l);
}
