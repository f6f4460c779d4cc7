/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A user-space NVMe driver over the public API, for whatever back end a device comes from: it maps an arena for DMA in
 * several mappings (at addresses it chooses, or wherever the host puts them), brings the controller up, runs random
 * commands against a model of the disk, and waits by interrupt. It knows NVMe from the specification only.
 *
 * Nothing here fails a test: every function answers 0 or a negative errno, so that it can run under injected failures.
 * -EILSEQ is wrong data, -EREMOTEIO a command that failed, -ETIMEDOUT silence for 20 s, -EPROTO a controller that breaks
 * its own rules.
 */
#ifndef TESTS_BACKEND_NVME_EXERCISER_H
#define TESTS_BACKEND_NVME_EXERCISER_H

#include <viaduct/context.h>
#include <viaduct/device.h>
#include <viaduct/dma.h>
#include <viaduct/irq.h>
#include <viaduct/notifier.h>
#include <viaduct/region.h>

enum {
    EX_QUEUES = 2, /* I/O queue pairs */
    EX_ENTRIES = 64,
    EX_SLOTS = 16,        /* commands in flight */
    EX_DATA = 128 << 10,  /* bytes of a command at most */
    EX_CHUNK = 256 << 10, /* bytes of a mapping */
    EX_ARENA = 4 << 20,   /* bytes of all */
    EX_MAPPINGS = EX_ARENA / EX_CHUNK,
    EX_SPANS = EX_MAPPINGS * 16,
    EX_ADMIN = EX_SLOTS, /* cid of the one admin command */
};

/* How the exerciser waits. */
enum ex_wait { EX_MSIX, EX_MSI, EX_INTX, EX_POLL };

struct ex_options {
    enum ex_wait wait;
    bool dbbuf;  /* shadow doorbells must be offered, and are used */
    bool remote; /* memory is mapped without a pointer */
};

struct ex_queue {
    uint16_t tail, head;
    bool phase;
};

struct ex_span {
    uint64_t offset, iova, size;
};

struct ex_slot {
    bool busy, done;
    uint16_t status;
    uint32_t result;
    uint8_t opcode;
    uint64_t lba;
    uint32_t blocks, stamp;
    uint64_t data; /* offset in the arena of the first byte */
};

struct exerciser {
    struct vd_device *device;
    struct ex_options options;
    uint8_t *arena; /* shared memory, for hosts that must be handed its file */
    int arena_fd;
    struct vd_dma_remote remote;
    struct vd_dma_mapping *mappings[EX_MAPPINGS];
    struct ex_span spans[EX_SPANS];
    unsigned nr_spans;
    struct vd_notifier notifiers[EX_QUEUES + 1];
    unsigned nr_notifiers;
    struct ex_queue queues[EX_QUEUES + 1];
    struct ex_slot slots[EX_SLOTS + 1];
    bool dbbuf_on;
    unsigned sector;
    uint64_t blocks;
    uint32_t *stamps; /* what each block of the disk holds; 0: zeroes */
    uint32_t next_stamp;
    uint64_t noise;
    uint64_t interrupts, doorbells;
};

/*
 * Allocates the arena and the notifiers; finish() releases them (mappings too, unless `device` was set to NULL because it
 * is closed). The device stays the caller's.
 */
int ex_init(struct exerciser *ex, struct vd_device *device, const struct ex_options *options);
void ex_finish(struct exerciser *ex);

/* Maps one chunk of the arena, or all; forgets what the device knew. */
int ex_map_chunk(struct exerciser *ex, unsigned chunk);
int ex_map(struct exerciser *ex);
void ex_unmap_chunk(struct exerciser *ex, unsigned chunk);
void ex_unmap(struct exerciser *ex);
/* Routes interrupts to the notifiers. */
int ex_route(struct exerciser *ex);
/* Bus mastering and memory space on, controller enabled, identified, queues made. What was in flight is forgotten. */
int ex_bring_up(struct exerciser *ex);
/* init, map, route, bring_up; on failure everything is undone. */
int ex_start(struct exerciser *ex, struct vd_device *device, const struct ex_options *options);

int ex_read32(struct exerciser *ex, uint64_t offset, uint32_t *value);
int ex_write32(struct exerciser *ex, uint64_t offset, uint32_t value);
/* The bus address of a place in the arena; 0 when it is not mapped. */
uint64_t ex_bus(const struct exerciser *ex, uint64_t offset);

/* `count` random commands, up to EX_SLOTS at once, all checked. */
int ex_random(struct exerciser *ex, unsigned count);
/* Reads the whole disk and compares. */
int ex_verify(struct exerciser *ex);
/* Fills every slot with commands (reads only, or as random) and dispatches once; takes nothing back. */
int ex_load(struct exerciser *ex, bool reads_only);
/* Reads the whole disk and takes it into the model, as far as each block is whole and of one of our writes. */
int ex_learn(struct exerciser *ex);
/* Takes back what is in flight without judging it; *failed counts bad statuses. The model is stale then: ex_learn(). */
int ex_drain(struct exerciser *ex, unsigned *failed);
/* One command with raw PRP entries on queue 1; the status in *status. */
int ex_raw(struct exerciser *ex, uint8_t opcode, uint64_t lba, uint32_t blocks, uint64_t prp1, uint64_t prp2,
           uint16_t *status);
/* Normal shutdown, 7.6.2 of NVMe 1.4. */
int ex_shutdown(struct exerciser *ex);
/* Where the data of slots begins in the arena: chunks from here on hold nothing else. */
uint64_t ex_data_offset(void);

#endif
