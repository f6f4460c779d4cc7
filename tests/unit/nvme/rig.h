/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A controller on a test bench: a port made of one arena of memory at a bus address, and a driver just clever enough to
 * bring queues up and to run commands. Everything is explicit, so that tests can do what no driver would.
 *
 * The arena starts at RIG_BASE. Parts of it can be declared remote (copies only), and a copy to or from them can run a
 * hook, as a front end runs other requests while it waits. Accesses outside, or while bus mastering is off, are refused
 * and counted.
 */
#ifndef TESTS_UNIT_NVME_RIG_H
#define TESTS_UNIT_NVME_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>

#include "sim/nvme.h"

#define RIG_BASE UINT64_C(0x100000000)
enum {
    RIG_ARENA = 8 << 20,
    RIG_ASQ = 0x0000,
    RIG_ACQ = 0x2000,
    RIG_ADMIN_ENTRIES = 32,
    RIG_SQ = 0x20000,  /* + 64 KiB for each I/O queue */
    RIG_CQ = 0x120000, /* + 16 KiB for each I/O queue */
    RIG_SHADOW = 0x180000,
    RIG_EVENTS = 0x181000,
    RIG_DATA = 0x200000, /* the rest is the test's */
    RIG_QUEUES = 9,
};

struct sim_port {
    uint8_t *arena;
    bool master; /* bus mastering */
    uint64_t generation;
    uint64_t remote_from, remote_to; /* offsets in the arena */
    uint64_t gone_from, gone_to;     /* no longer mapped */
    void (*hook)(void *opaque);      /* at every copy that touches the remote part */
    void *hook_opaque;
    unsigned faults, copies;
    int64_t pins;
    enum sim_irq_kind kind;
    unsigned vectors, messages[NVME_MAX_QUEUES];
    bool intx;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    unsigned wakes;
};

struct rig_queue {
    unsigned entries, tail, head;
    bool phase;
    uint16_t next_cid;
};

struct rig {
    struct vd_env env;
    uint64_t steps, fail_at; /* fault injection: the n-th step fails; 0: none */
    const char *fail_site;   /* or: this site fails as long as it is set */
    _Atomic(size_t) live;    /* allocations */
    struct sim_port port;
    struct sim_endpoint_info info;
    struct nvme_options values;
    void *endpoint;
    struct vd_failure failure;
    struct rig_queue queues[RIG_QUEUES];
    bool dbbuf; /* write the shadow as well, ring only when the event index asks for it */
    unsigned rings;
};

struct rig_completion {
    uint32_t result;
    uint16_t status; /* without the phase and the More bit */
    uint16_t cid, sq_head, sq_id;
};

void rig_init(struct rig *rig);
/* Creates the controller with options "a=b,c=d"; its error. */
int rig_create(struct rig *rig, const char *options);
/* rig_init, a successful rig_create, MSI-X on, admin queue up; and with `pairs` I/O queue pairs of `entries`. */
void rig_start(struct rig *rig, const char *options);
void rig_start_io(struct rig *rig, const char *options, unsigned pairs, unsigned entries);
/* Destroys; nothing may be left. */
void rig_stop(struct rig *rig);

struct nvme *rig_nvme(struct rig *rig);
uint32_t rig_read32(struct rig *rig, uint64_t offset);
void rig_write32(struct rig *rig, uint64_t offset, uint32_t value);
void rig_write64(struct rig *rig, uint64_t offset, uint64_t value);
/* Sets the admin queue's registers and enables; the caller looks at CSTS. */
void rig_enable(struct rig *rig);
/* Dispatches until there is nothing to do now. */
void rig_run(struct rig *rig);
/* Dispatches, sleeping as a front end would, until `done` says so. Fails the test when no wake comes for 20 s. */
void rig_wait(struct rig *rig, bool (*done)(struct rig *rig, void *opaque), void *opaque);
/* Until CSTS & mask == value. */
void rig_wait_csts(struct rig *rig, uint32_t mask, uint32_t value);

/* A command with these fields, the rest zero. */
struct nvme_command rig_command(uint8_t opcode, uint32_t nsid, uint64_t prp1, uint64_t prp2, uint32_t cdw10,
                                uint32_t cdw11, uint32_t cdw12);
/* Puts a command into a queue (and rings); its cid. */
uint16_t rig_submit(struct rig *rig, unsigned queue, struct nvme_command command);
void rig_ring(struct rig *rig, unsigned queue);
/* Takes the next completion if there is one (and tells the controller). */
bool rig_poll(struct rig *rig, unsigned queue, struct rig_completion *out);
/* Waits for the next completion. */
struct rig_completion rig_complete(struct rig *rig, unsigned queue);
/* Submit and complete; the status. */
uint16_t rig_do(struct rig *rig, unsigned queue, struct nvme_command command);
uint16_t rig_admin(struct rig *rig, uint8_t opcode, uint64_t prp1, uint32_t cdw10, uint32_t cdw11,
                   uint32_t *result);
/* Read or write `blocks` logical blocks at `lba` on a queue, data at `address` + PRP entry 2. */
uint16_t rig_rw(struct rig *rig, unsigned queue, bool write, uint64_t lba, unsigned blocks, uint64_t prp1,
                uint64_t prp2);

/* Creates I/O queues; statuses. */
uint16_t rig_create_cq(struct rig *rig, unsigned id, unsigned entries, unsigned vector, bool interrupts);
uint16_t rig_create_sq(struct rig *rig, unsigned id, unsigned entries, unsigned cq);
uint16_t rig_delete(struct rig *rig, uint8_t opcode, unsigned id);

/* The arena at an offset, and its bus address. */
static inline void *rig_at(struct rig *rig, uint64_t offset)
{
    return rig->port.arena + offset;
}

static inline uint64_t rig_bus(uint64_t offset)
{
    return RIG_BASE + offset;
}

/* A small generator for reproducible noise. */
static inline uint32_t rig_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

#define DNR(status) ((status) | NVME_SC_DNR)

#endif
