/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The seam between the bus and a simulated endpoint. The bus owns config space, bus mastering, interrupts and reset;
 * an endpoint owns its BARs' registers and its engine. An endpoint does DMA and raises interrupts only through its
 * port, and only from dispatch(): a register access records what was asked and returns, so that a front end can answer
 * the access before the device begins to work.
 *
 * Threads: one, that of the device. An endpoint may have helper threads; they touch neither the port nor the config
 * space, and wake dispatch() through sim_port_wake().
 */
#ifndef SIM_ENDPOINT_H
#define SIM_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/env.h"
#include "base/failure.h"
#include "sim/config.h"
#include "sim/dart.h"
#include "sim/options.h"

struct sim_port; /* an endpoint's connection to the bus */

/* A part of a BAR that may be mapped. */
struct sim_area {
    uint64_t offset, size;
};

/* A BAR as the endpoint declares it while it is created. */
struct sim_bar {
    uint64_t size; /* 0: absent */
    bool is64, prefetchable;
    int fd; /* -1, or a file to map `areas` from, area offset = file offset; the endpoint's until destroy */
    unsigned nr_areas;
    struct sim_area areas[4];
};

/* What an endpoint is; filled by create(). */
struct sim_endpoint_info {
    const char *model;
    struct sim_identity identity;
    struct sim_bar bars[SIM_BARS];
    uint64_t rom_size;     /* 0: no expansion ROM */
    unsigned msix_vectors; /* 0: no MSI-X */
    unsigned msix_bar;     /* where the table and the PBA live: */
    uint32_t msix_table, msix_pba;
    unsigned msi_vectors; /* 0: no MSI; a power of two up to 32 */
    bool intx;
    bool flr;
};

struct sim_endpoint_ops {
    const char *kind; /* "nvme" in "sim:nvme" */
    const char *summary;
    const struct sim_option *options;
    size_t nr_options;
    size_t values_size; /* of the struct the options describe */

    /*
     * Creates an endpoint on `port` from its parsed options (the struct the table describes; the bus releases it after
     * destroy()). Fills *info and *endpoint. On failure nothing is left behind and *failure says why.
     */
    int (*create)(const struct vd_env *env, struct sim_port *port, const char *address, const void *values,
                  struct sim_endpoint_info *info, void **endpoint, struct vd_failure *failure);
    void (*destroy)(void *endpoint);

    /*
     * One register access of 1, 2, 4 or 8 bytes at natural alignment, inside the BAR. MSI-X table and PBA accesses do
     * not get here. Records and returns; no DMA, no interrupt.
     */
    uint64_t (*read)(void *endpoint, unsigned bar, uint64_t offset, unsigned width);
    void (*write)(void *endpoint, unsigned bar, uint64_t offset, unsigned width, uint64_t value);
    /* Reads of the expansion ROM, any length inside it; NULL when rom_size is 0. */
    void (*rom_read)(void *endpoint, uint64_t offset, void *buffer, size_t count);

    /* Function-level reset (the bus drops the INTx line and resets config space itself): engine stopped, accesses in flight finished, registers at their reset values. */
    void (*reset)(void *endpoint);
    /*
     * Works. will_block: arrange to be woken (sim_port_wake()) for whatever comes next, then look once more. True when
     * it did something.
     */
    bool (*dispatch)(void *endpoint, bool will_block);
    /* Finishes every access in flight without starting new ones (memory is about to be unmapped). */
    void (*quiesce)(void *endpoint);
};

/*
 * DMA by the endpoint. All answer -EFAULT while bus mastering is off (counted as a fault) or where the DART refuses.
 * A copy from or to remote memory may re-enter the endpoint (register accesses, even a reset): compare
 * sim_port_resets() before and after, and give up what was being done when it changed.
 */
int sim_port_dma_read(struct sim_port *port, uint64_t address, void *buffer, size_t size);
int sim_port_dma_write(struct sim_port *port, uint64_t address, const void *buffer, size_t size);
/*
 * As sim_dart_iov(), sim_dart_unpin(), sim_dart_peek(), sim_dart_generation(); the generation changes as well when bus
 * mastering goes off, since peeked memory is off limits then.
 */
int sim_port_dma_iov(struct sim_port *port, uint64_t address, uint64_t size, enum sim_access access,
                     struct iovec *iov, unsigned *count, unsigned max);
void sim_port_dma_unpin(struct sim_port *port, uint64_t address, uint64_t size);
void *sim_port_dma_peek(struct sim_port *port, uint64_t address, uint64_t size, enum sim_access access);
uint64_t sim_port_dma_generation(const struct sim_port *port);
/* Bus mastering is on and the function powered. */
bool sim_port_can_master(const struct sim_port *port);
/* Function-level resets so far. */
uint64_t sim_port_resets(const struct sim_port *port);

/* Which kind of interrupt the host has enabled, and with how many vectors (INTx counts as 1). */
enum sim_irq_kind { SIM_IRQ_NONE, SIM_IRQ_INTX, SIM_IRQ_MSI, SIM_IRQ_MSIX };
enum sim_irq_kind sim_port_irq_kind(const struct sim_port *port, unsigned *vectors);
/*
 * Sends message `vector`, when MSI or MSI-X is enabled and bus mastering is on (a message is a memory write, PCIe
 * 7.5.1.1.3). Beyond the enabled vectors: MSI takes `vector` modulo their number, as a function that was granted fewer
 * messages than it asked for; MSI-X sets the vector's pending bit and sends when the host enables that many.
 */
void sim_port_msi(struct sim_port *port, unsigned vector);
/*
 * Drives the INTx line; the bus masks it while it is disabled in COMMAND or a message kind is enabled. Deasserting is
 * allowed from a register write too, so that an acknowledge takes effect before the access is answered.
 */
void sim_port_intx(struct sim_port *port, bool asserted);
/* Makes the poll fd readable. Any thread. */
void sim_port_wake(struct sim_port *port);

extern const struct sim_endpoint_ops sim_nvme_ops;
extern const struct sim_endpoint_ops sim_edu_ops;

#endif
