/* SPDX-License-Identifier: BSD-3-Clause */
/* The port and the driver of rig.h. The port's functions stand in for the bus's, which is not linked. */
#include "rig.h"

#include <errno.h>
#include <time.h>

#include "base/range.h"

enum { WAIT_SECONDS = 20, CC_ENABLE = NVME_CC_EN | 6 << 16 | 4 << 20 };

/* The port. */

static bool resolve(struct sim_port *port, uint64_t address, uint64_t size, uint64_t *offset)
{
    *offset = address - RIG_BASE;
    if (port->master && address >= RIG_BASE && vd_span_fits(*offset, size, RIG_ARENA) &&
        !(*offset<port->gone_to && * offset + size> port->gone_from))
        return true;
    port->faults++;
    return false;
}

static bool is_remote(const struct sim_port *port, uint64_t offset, uint64_t size)
{
    return offset < port->remote_to && offset + size > port->remote_from;
}

static void copying(struct sim_port *port, uint64_t offset, uint64_t size)
{
    port->copies++;
    if (port->hook && is_remote(port, offset, size))
        port->hook(port->hook_opaque);
}

int sim_port_dma_read(struct sim_port *port, uint64_t address, void *buffer, size_t size)
{
    uint64_t offset;

    if (!resolve(port, address, size, &offset))
        return -EFAULT;
    copying(port, offset, size);
    memcpy(buffer, port->arena + offset, size);
    return 0;
}

int sim_port_dma_write(struct sim_port *port, uint64_t address, const void *buffer, size_t size)
{
    uint64_t offset;

    if (!resolve(port, address, size, &offset))
        return -EFAULT;
    copying(port, offset, size);
    memcpy(port->arena + offset, buffer, size);
    return 0;
}

int sim_port_dma_iov(struct sim_port *port, uint64_t address, uint64_t size, enum sim_access access,
                     struct iovec *iov, unsigned *count, unsigned max)
{
    uint64_t offset;

    if (!resolve(port, address, size, &offset))
        return -EFAULT;
    if (is_remote(port, offset, size))
        return -EREMOTE;
    if (*count && (uint8_t *)iov[*count - 1].iov_base + iov[*count - 1].iov_len == port->arena + offset) {
        iov[*count - 1].iov_len += size;
    } else {
        if (*count == max)
            return -ENOBUFS;
        iov[(*count)++] = (struct iovec){port->arena + offset, size};
    }
    port->pins += (int64_t)size;
    return 0;
}

void sim_port_dma_unpin(struct sim_port *port, uint64_t address, uint64_t size)
{
    port->pins -= (int64_t)size;
}

void *sim_port_dma_peek(struct sim_port *port, uint64_t address, uint64_t size, enum sim_access access)
{
    uint64_t offset = address - RIG_BASE;

    if (!port->master || address < RIG_BASE || !vd_span_fits(offset, size, RIG_ARENA) ||
        is_remote(port, offset, size))
        return NULL;
    return port->arena + offset;
}

uint64_t sim_port_dma_generation(const struct sim_port *port)
{
    return port->generation;
}

bool sim_port_can_master(const struct sim_port *port)
{
    return true;
}

uint64_t sim_port_resets(const struct sim_port *port)
{
    return 0;
}

enum sim_irq_kind sim_port_irq_kind(const struct sim_port *port, unsigned *vectors)
{
    *vectors = port->vectors;
    return port->kind;
}

void sim_port_msi(struct sim_port *port, unsigned vector)
{
    assert_true(vector < NVME_MAX_QUEUES);
    if (vector < port->vectors)
        port->messages[vector]++;
}

void sim_port_intx(struct sim_port *port, bool asserted)
{
    port->intx = asserted;
}

void sim_port_wake(struct sim_port *port)
{
    pthread_mutex_lock(&port->lock);
    port->wakes++;
    pthread_cond_signal(&port->woken);
    pthread_mutex_unlock(&port->lock);
}

/* The surroundings. */

static void *count_alloc(void *opaque, size_t size)
{
    struct rig *rig = opaque;

    rig->live++;
    return calloc(1, size);
}

static void count_free(void *opaque, void *memory)
{
    struct rig *rig = opaque;

    rig->live--;
    free(memory);
}

static bool inject(void *opaque, const char *site)
{
    struct rig *rig = opaque;

    if (rig->fail_site && strcmp(rig->fail_site, site) == 0)
        return true;
    return rig->fail_at && ++rig->steps == rig->fail_at;
}

void rig_init(struct rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    vd_env_init_default(&rig->env);
    rig->env.alloc = count_alloc;
    rig->env.free = count_free;
    rig->env.fault = inject;
    rig->env.opaque = rig;
    rig->port.arena = aligned_alloc(65536, RIG_ARENA);
    assert_non_null(rig->port.arena);
    memset(rig->port.arena, 0, RIG_ARENA);
    rig->port.master = true;
    pthread_mutex_init(&rig->port.lock, NULL);
    pthread_cond_init(&rig->port.woken, NULL);
}

static struct sim_option_set option_set(struct rig *rig)
{
    return (struct sim_option_set){sim_nvme_ops.options, sim_nvme_ops.nr_options, &rig->values};
}

int rig_create(struct rig *rig, const char *options)
{
    struct sim_option_set set = option_set(rig);
    int error;

    memset(&rig->values, 0, sizeof(rig->values));
    rig->endpoint = NULL;
    error = sim_options_parse(&rig->env, "sim:nvme", options, &set, 1, &rig->failure);
    if (error)
        return error;
    error = sim_nvme_ops.create(&rig->env, &rig->port, "sim:nvme", &rig->values, &rig->info, &rig->endpoint,
                                &rig->failure);
    if (error)
        sim_options_finish(&rig->env, &set, 1);
    return error;
}

void rig_stop(struct rig *rig)
{
    struct sim_option_set set = option_set(rig);

    if (rig->endpoint) {
        sim_nvme_ops.destroy(rig->endpoint);
        sim_options_finish(&rig->env, &set, 1);
    }
    assert_int_equal(rig->live, 0);
    assert_int_equal(rig->port.pins, 0);
    pthread_cond_destroy(&rig->port.woken);
    pthread_mutex_destroy(&rig->port.lock);
    free(rig->port.arena);
}

struct nvme *rig_nvme(struct rig *rig)
{
    return rig->endpoint;
}

/* Registers. */

uint32_t rig_read32(struct rig *rig, uint64_t offset)
{
    return (uint32_t)sim_nvme_ops.read(rig->endpoint, 0, offset, 4);
}

void rig_write32(struct rig *rig, uint64_t offset, uint32_t value)
{
    sim_nvme_ops.write(rig->endpoint, 0, offset, 4, value);
}

void rig_write64(struct rig *rig, uint64_t offset, uint64_t value)
{
    sim_nvme_ops.write(rig->endpoint, 0, offset, 8, value);
}

void rig_run(struct rig *rig)
{
    for (unsigned i = 0; i < 100000; i++) {
        if (!sim_nvme_ops.dispatch(rig->endpoint, false))
            return;
    }
    fail_msg("the controller never comes to rest");
}

static void sleep_until_woken(struct sim_port *port, unsigned *seen)
{
    struct timespec limit;
    int error = 0;

    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += WAIT_SECONDS;
    pthread_mutex_lock(&port->lock);
    while (port->wakes == *seen && !error)
        error = pthread_cond_timedwait(&port->woken, &port->lock, &limit);
    *seen = port->wakes;
    pthread_mutex_unlock(&port->lock);
    assert_int_equal(error, 0);
}

static unsigned wakes_so_far(struct sim_port *port)
{
    unsigned wakes;

    pthread_mutex_lock(&port->lock);
    wakes = port->wakes;
    pthread_mutex_unlock(&port->lock);
    return wakes;
}

void rig_wait(struct rig *rig, bool (*done)(struct rig *rig, void *opaque), void *opaque)
{
    unsigned seen = wakes_so_far(&rig->port);

    while (!done(rig, opaque)) {
        if (!sim_nvme_ops.dispatch(rig->endpoint, true) && !done(rig, opaque))
            sleep_until_woken(&rig->port, &seen);
    }
}

struct csts {
    uint32_t mask, value;
};

static bool csts_is(struct rig *rig, void *opaque)
{
    const struct csts *wanted = opaque;

    return (rig_read32(rig, NVME_CSTS) & wanted->mask) == wanted->value;
}

void rig_wait_csts(struct rig *rig, uint32_t mask, uint32_t value)
{
    struct csts wanted = {mask, value};

    rig_wait(rig, csts_is, &wanted);
}

void rig_enable(struct rig *rig)
{
    memset(rig_at(rig, RIG_ASQ), 0, RIG_DATA);
    memset(rig->queues, 0, sizeof(rig->queues));
    rig->queues[0] = (struct rig_queue){.entries = RIG_ADMIN_ENTRIES, .phase = true};
    rig->dbbuf = false;
    rig_write32(rig, NVME_AQA, (RIG_ADMIN_ENTRIES - 1) << 16 | (RIG_ADMIN_ENTRIES - 1));
    rig_write64(rig, NVME_ASQ, rig_bus(RIG_ASQ));
    rig_write64(rig, NVME_ACQ, rig_bus(RIG_ACQ));
    rig_write32(rig, NVME_CC, CC_ENABLE);
    rig_run(rig);
}

void rig_start(struct rig *rig, const char *options)
{
    rig_init(rig);
    assert_int_equal(rig_create(rig, options), 0);
    rig->port.kind = SIM_IRQ_MSIX;
    rig->port.vectors = rig->info.msix_vectors;
    rig_enable(rig);
    assert_int_equal(rig_read32(rig, NVME_CSTS), NVME_CSTS_RDY);
}

void rig_start_io(struct rig *rig, const char *options, unsigned pairs, unsigned entries)
{
    rig_start(rig, options);
    for (unsigned id = 1; id <= pairs; id++) {
        assert_int_equal(rig_create_cq(rig, id, entries, id, true), NVME_OK);
        assert_int_equal(rig_create_sq(rig, id, entries, id), NVME_OK);
    }
}

/* Queues. */

static uint64_t sq_offset(unsigned queue)
{
    return queue ? RIG_SQ + (queue - 1) * 0x10000u : RIG_ASQ;
}

static uint64_t cq_offset(unsigned queue)
{
    return queue ? RIG_CQ + (queue - 1) * 0x4000u : RIG_ACQ;
}

struct nvme_command rig_command(uint8_t opcode, uint32_t nsid, uint64_t prp1, uint64_t prp2, uint32_t cdw10,
                                uint32_t cdw11, uint32_t cdw12)
{
    return (struct nvme_command){.opcode = opcode,
                                 .nsid = vd_put32(nsid),
                                 .prp1 = vd_put64(prp1),
                                 .prp2 = vd_put64(prp2),
                                 .cdw10 = vd_put32(cdw10),
                                 .cdw11 = vd_put32(cdw11),
                                 .cdw12 = vd_put32(cdw12)};
}

/* 7.13: store, then ring only when the event index was passed. */
static bool must_ring(struct rig *rig, uint64_t slot, uint16_t value)
{
    uint32_t *shadow = (uint32_t *)rig_at(rig, RIG_SHADOW + slot);
    uint32_t *event = (uint32_t *)rig_at(rig, RIG_EVENTS + slot);
    uint16_t old = (uint16_t)__atomic_exchange_n(shadow, value, __ATOMIC_SEQ_CST);
    uint16_t index = (uint16_t)__atomic_load_n(event, __ATOMIC_SEQ_CST);

    return (uint16_t)(value - index - 1) < (uint16_t)(value - old);
}

static void ring(struct rig *rig, unsigned queue, bool cq, uint16_t value)
{
    uint64_t slot = queue * 8 + (cq ? 4 : 0);

    if (queue && rig->dbbuf && !must_ring(rig, slot, value))
        return;
    rig->rings++;
    rig_write32(rig, NVME_DOORBELLS + slot, value);
}

void rig_ring(struct rig *rig, unsigned queue)
{
    ring(rig, queue, false, (uint16_t)rig->queues[queue].tail);
}

uint16_t rig_submit(struct rig *rig, unsigned queue, struct nvme_command command)
{
    struct rig_queue *q = &rig->queues[queue];
    uint16_t cid = q->next_cid++;

    command.cid = vd_put16(cid);
    memcpy(rig_at(rig, sq_offset(queue) + q->tail * sizeof(command)), &command, sizeof(command));
    q->tail = (q->tail + 1) % q->entries;
    rig_ring(rig, queue);
    return cid;
}

bool rig_poll(struct rig *rig, unsigned queue, struct rig_completion *out)
{
    struct rig_queue *q = &rig->queues[queue];
    struct nvme_completion entry;

    memcpy(&entry, rig_at(rig, cq_offset(queue) + q->head * sizeof(entry)), sizeof(entry));
    if ((vd_get16(entry.status) & 1) != q->phase)
        return false;
    q->head = (q->head + 1) % q->entries;
    q->phase ^= q->head == 0;
    *out = (struct rig_completion){.result = vd_get32(entry.result),
                                   .status = (uint16_t)(vd_get16(entry.status) >> 1 & ~NVME_SC_MORE),
                                   .cid = vd_get16(entry.cid),
                                   .sq_head = vd_get16(entry.sq_head),
                                   .sq_id = vd_get16(entry.sq_id)};
    ring(rig, queue, true, (uint16_t)q->head);
    return true;
}

struct pending {
    unsigned queue;
    struct rig_completion completion;
};

static bool has_completed(struct rig *rig, void *opaque)
{
    struct pending *pending = opaque;

    return rig_poll(rig, pending->queue, &pending->completion);
}

struct rig_completion rig_complete(struct rig *rig, unsigned queue)
{
    struct pending pending = {.queue = queue};
    unsigned seen = wakes_so_far(&rig->port);

    while (!has_completed(rig, &pending)) {
        if (sim_nvme_ops.dispatch(rig->endpoint, true))
            continue;
        if (has_completed(rig, &pending))
            break;
        sleep_until_woken(&rig->port, &seen);
    }
    return pending.completion;
}

uint16_t rig_do(struct rig *rig, unsigned queue, struct nvme_command command)
{
    uint16_t cid = rig_submit(rig, queue, command);
    struct rig_completion completion = rig_complete(rig, queue);

    assert_int_equal(completion.cid, cid);
    return completion.status;
}

uint16_t rig_admin(struct rig *rig, uint8_t opcode, uint64_t prp1, uint32_t cdw10, uint32_t cdw11,
                   uint32_t *result)
{
    uint16_t cid = rig_submit(rig, 0, rig_command(opcode, 0, prp1, 0, cdw10, cdw11, 0));
    struct rig_completion completion = rig_complete(rig, 0);

    assert_int_equal(completion.cid, cid);
    if (result)
        *result = completion.result;
    return completion.status;
}

uint16_t rig_rw(struct rig *rig, unsigned queue, bool write, uint64_t lba, unsigned blocks, uint64_t prp1,
                uint64_t prp2)
{
    return rig_do(rig, queue,
                  rig_command(write ? NVME_IO_WRITE : NVME_IO_READ, 1, prp1, prp2, (uint32_t)lba,
                              (uint32_t)(lba >> 32), blocks - 1));
}

uint16_t rig_create_cq(struct rig *rig, unsigned id, unsigned entries, unsigned vector, bool interrupts)
{
    uint16_t status = rig_admin(rig, NVME_ADMIN_CREATE_CQ, rig_bus(cq_offset(id)), id | (entries - 1) << 16,
                                1u | (interrupts ? 2u : 0) | vector << 16, NULL);

    if (!status)
        rig->queues[id] = (struct rig_queue){.entries = entries, .phase = true};
    return status;
}

uint16_t rig_create_sq(struct rig *rig, unsigned id, unsigned entries, unsigned cq)
{
    return rig_admin(rig, NVME_ADMIN_CREATE_SQ, rig_bus(sq_offset(id)), id | (entries - 1) << 16,
                     1u | cq << 16, NULL);
}

uint16_t rig_delete(struct rig *rig, uint8_t opcode, unsigned id)
{
    return rig_admin(rig, opcode, 0, id, 0, NULL);
}
