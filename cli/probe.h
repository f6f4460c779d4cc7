/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How `viaduct doctor` examines one device: it opens the device, looks, resets it, lets it read and write memory where
 * the kind of device has a harmless way to do that, and closes it. Nothing is ever written to a medium.
 *
 * All of it runs on the main thread; every wait is bounded.
 */
#ifndef CLI_PROBE_H
#define CLI_PROBE_H

#include <viaduct/device.h>
#include <viaduct/dma.h>
#include <viaduct/irq.h>
#include <viaduct/notifier.h>
#include <viaduct/region.h>

#include "finding.h"

/* A device under examination. */
struct probe {
    struct findings *findings;
    struct vd_device *device;
    const struct vd_device_found *found; /* as vd_device_scan() has it; NULL: it was not listed */
    unsigned irq;                /* enum vd_irq_index that vector 0 is routed of; VD_IRQ_COUNT: none */
    struct vd_notifier notifier; /* of that vector; only the end to read is ours */
    bool delivered;              /* it was signalled */
};

/* Opens: 0 or the negative errno of vd_device_open(), with *error without the address in front. */
int probe_open(struct vd_context *context, const char *address, struct vd_device **out,
               struct vd_error *error);
/* Says why `address` could not be opened, and by whom it is in use as far as that can be told. */
void probe_refused(struct findings *findings, const char *address, const struct vd_device_found *found,
                   const struct vd_error *error);
/* Examines an open device and closes it. */
void probe_device(struct findings *findings, struct vd_device *device, const struct vd_device_found *found);

/* For the tests of one kind of device. Accesses to BAR 0, little-endian, 64 bits as two halves; false: failed. */
bool probe_read(const struct probe *probe, uint64_t offset, uint32_t *out);
bool probe_write(const struct probe *probe, uint64_t offset, uint32_t value);
bool probe_read64(const struct probe *probe, uint64_t offset, uint64_t *out);
bool probe_write64(const struct probe *probe, uint64_t offset, uint64_t value);
/* Runs the device until done() or for `ms` milliseconds. True when done() was. */
bool probe_wait(struct probe *probe, bool (*done)(void *opaque), void *opaque, int ms);
/* Switches memory space and bus mastering on. True when both read back. */
bool probe_enable(const struct probe *probe);

/* Waits a while for vector 0 to be signalled; for a self-test that has made its device fire. */
void probe_irq_await(struct probe *probe);

/* A page that the device reaches. */
struct probe_page {
    uint8_t *host; /* shared with the device; read what the device writes with __atomic loads */
    uint64_t bus;
};

/* Memory mapped for the device. Zero-fill to start. */
struct probe_memory {
    struct probe *probe;
    uint8_t *host;
    size_t size;
    int fd;
    struct vd_dma_mapping *mapping;
    struct vd_dma_segment *segments;
    uint32_t nr_segments;
};

/*
 * Maps room for `count` pages of `page` bytes (a power of two), aligned to that on the bus as well, and fills `pages`.
 * NULL, or why not in fresh memory; call probe_memory_finish() in any case.
 */
char *probe_memory_init(struct probe_memory *memory, struct probe *probe, size_t page, unsigned count,
                        struct probe_page *pages);
void probe_memory_finish(struct probe_memory *memory);

/*
 * The tests in which a device reads and writes memory. NULL with *said, what it did, or why it failed; both in fresh
 * memory. Memory space and bus mastering are on, vector 0 is routed; they reset the device at the end.
 */
typedef char *selftest(struct probe *probe, char **said);
selftest selftest_nvme, selftest_edu;

#endif
