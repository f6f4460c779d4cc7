/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The value of --vfio: host=<address> and, in any order, keys about how the device is attached. An address may have
 * options of its own, so one rule says whose a key is:
 *
 *   port, dma, socket, rom, guest, companion, dma-bytes and dma-mappings are always --vfio's; iommu is --vfio's unless
 *   the address is a simulated one (there it is the address's iommu=chosen|assigned); dextd is --vfio's name for the
 *   option socket of an apple: address, because socket is taken; every other key after host= belongs to a simulated
 *   address, and is an error for any other.
 *
 * sim:edu has an option rom=on|off of its own. --vfio's wins, so that rom= means one thing whatever the device is; it
 * knows both words, and the guest sees the same either way.
 *
 * No key may be given twice; ",," stands for a comma inside a value.
 */
#ifndef CLI_VFIO_OPTION_H
#define CLI_VFIO_OPTION_H

#include <stdbool.h>
#include <stddef.h>

#include <viaduct/companion.h>
#include <viaduct/server.h>

enum vfio_key {
    VFIO_HOST,
    VFIO_PORT,
    VFIO_IOMMU,
    VFIO_DMA,
    VFIO_SOCKET,
    VFIO_ROM,
    VFIO_DEXTD,
    VFIO_GUEST,
    VFIO_COMPANION,
    VFIO_DMA_BYTES,
    VFIO_DMA_MAPPINGS,
    VFIO_KEYS
};

/* What every verb takes that opens devices. */
#define VFIO_COMMON                                                                                          \
    (1u << VFIO_HOST | 1u << VFIO_DMA | 1u << VFIO_ROM | 1u << VFIO_DEXTD | 1u << VFIO_GUEST |               \
     1u << VFIO_DMA_BYTES | 1u << VFIO_DMA_MAPPINGS)

struct vfio_option {
    char *text;    /* as given, for messages */
    char *address; /* for vd_device_open(): host= and the address's options, commas still doubled */
    char *port;    /* NULL: not given */
    char *iommu;   /* NULL: not given */
    char *socket;  /* NULL: not given */
    char *rom;     /* the file to show as the expansion ROM; NULL: the device's own */
    bool no_rom;   /* show none */
    enum vd_strategy strategy;
    char *guest;           /* as given; NULL: not given */
    uint32_t guest_bdf;    /* the same as a number; VD_COMPANION_BDF_UNKNOWN: not given */
    char *companion;       /* where to offer the companion; NULL: not given */
    uint64_t dma_bytes;    /* most to map at once; 0: not given */
    uint64_t dma_mappings; /* likewise */
};

struct vfio_list {
    struct vfio_option *items;
    size_t count;
};

/*
 * Parses and appends. `allowed` has bit 1 << enum vfio_key for each key the verb takes. 0, or CLI_USAGE after a
 * message; then the list is as before.
 */
int vfio_list_add(struct vfio_list *list, const char *text, unsigned allowed);
void vfio_list_finish(struct vfio_list *list);

/* An id that QEMU takes: a letter, then letters, digits, '-', '.' and '_'. */
bool vfio_is_id(const char *text);

#endif
