/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Submission and completion rings (4.1), doorbells (PCIe 3.1.2), shadow doorbells (7.13) and interrupts (7.5).
 *
 * Shadow doorbells: once they are on, the shadow is what counts for I/O queues and a doorbell register is only a kick
 * (its value may be older than what was already taken from the shadow). While dispatch() is being called again and
 * again the event indexes stay behind, so the guest does not ring; before sleeping they are published, then the shadow
 * is looked at once more behind a full barrier. The admin queue uses its registers always: Linux does not shadow it.
 *
 * Invariant: a head or tail is below its queue's size. Lock: none, the owner's thread.
 */
#include "sim/nvme.h"

enum { SETTLE_TRIES = 4 };

void *nvme_view_get(struct nvme *nvme, struct nvme_view *view)
{
    uint64_t generation = sim_port_dma_generation(nvme->port);

    if (!view->host || view->generation != generation) {
        view->host = sim_port_dma_peek(nvme->port, view->address, view->size, view->access);
        view->generation = generation;
    }
    return view->host;
}

static uint32_t next_index(uint32_t index, uint32_t size)
{
    return index + 1 == size ? 0 : index + 1;
}

static uint32_t distance(uint32_t from, uint32_t to, uint32_t size)
{
    return to >= from ? to - from : to + size - from;
}

static bool shadowed(const struct nvme *nvme, unsigned id)
{
    return nvme->dbbuf.on && id != 0;
}

/* Offsets in both buffers, 7.13: as those of the doorbells. */
static uint64_t sq_slot(unsigned id)
{
    return 8ull * id;
}

static uint64_t cq_slot(unsigned id)
{
    return 8ull * id + 4;
}

/* One entry of the shadow. Copies (which may re-enter) only when allowed; false when there is no value. */
static bool shadow_load(struct nvme *nvme, uint64_t slot, bool may_copy, uint32_t *value)
{
    struct nvme_view *view = &nvme->dbbuf.shadow;
    uint64_t epoch = nvme->epoch;
    const uint8_t *host = nvme_view_get(nvme, view);
    vd_le32 copy;

    if (host) {
        uint32_t raw = __atomic_load_n((const uint32_t *)(const void *)(host + slot), __ATOMIC_ACQUIRE);

        *value = VD_LE_SWAP32(raw);
        return true;
    }
    if (!may_copy)
        return false;
    if (sim_port_dma_read(nvme->port, view->address + slot, &copy, sizeof(copy))) {
        if (nvme->epoch == epoch)
            nvme_fatal(nvme, "the shadow doorbells cannot be read");
        return false;
    }
    *value = vd_get32(copy);
    return nvme->epoch == epoch;
}

/* Event indexes are always published through host memory or not needed: a failure to copy only costs a doorbell. */
static void event_store(struct nvme *nvme, uint64_t slot, uint32_t value)
{
    struct nvme_view *view = &nvme->dbbuf.event;
    uint8_t *host = nvme_view_get(nvme, view);
    vd_le32 copy = vd_put32(value);

    if (host)
        __atomic_store_n((uint32_t *)(void *)(host + slot), VD_LE_SWAP32(value), __ATOMIC_RELAXED);
    else
        (void)sim_port_dma_write(nvme->port, view->address + slot, &copy, sizeof(copy));
}

/* Only what was posted can have been taken. */
static bool cq_set_head(struct nvme_cq *cq, uint32_t head)
{
    if (head >= cq->size || distance(head, cq->tail, cq->size) > distance(cq->head, cq->tail, cq->size))
        return false;
    cq->head = head;
    return true;
}

static void cq_refresh(struct nvme *nvme, struct nvme_cq *cq, bool may_copy)
{
    uint32_t head;

    if (!shadowed(nvme, cq->id) || !shadow_load(nvme, cq_slot(cq->id), may_copy, &head))
        return;
    if (!cq_set_head(cq, head))
        nvme_event_raise(nvme, NVME_EVENT_ERROR, NVME_EVENT_BAD_VALUE, NVME_LOG_ERROR);
}

bool nvme_cq_has_room(struct nvme *nvme, struct nvme_cq *cq)
{
    if (cq->reserved < cq->size - 1 - distance(cq->head, cq->tail, cq->size))
        return true;
    cq_refresh(nvme, cq, true);
    return cq->valid && cq->reserved < cq->size - 1 - distance(cq->head, cq->tail, cq->size);
}

void nvme_sq_refresh(struct nvme *nvme, struct nvme_sq *sq)
{
    uint32_t tail;

    if (!shadowed(nvme, sq->id) || !shadow_load(nvme, sq_slot(sq->id), true, &tail))
        return;
    if (tail < sq->size)
        sq->tail = tail;
    else
        nvme_event_raise(nvme, NVME_EVENT_ERROR, NVME_EVENT_BAD_VALUE, NVME_LOG_ERROR);
}

bool nvme_sq_ready(struct nvme *nvme, struct nvme_sq *sq)
{
    if (!sq->valid || sq->deleting)
        return false;
    nvme_sq_refresh(nvme, sq);
    sq->starved = false;
    if (!sq->valid || sq->head == sq->tail)
        return false;
    sq->starved = !nvme_cq_has_room(nvme, sq->cq);
    return sq->valid && !sq->starved;
}

bool nvme_sq_fetch(struct nvme *nvme, struct nvme_sq *sq, struct nvme_command *command)
{
    uint64_t epoch = nvme->epoch;
    uint64_t at = (uint64_t)sq->head * sizeof(*command);
    const uint8_t *host = nvme_view_get(nvme, &sq->ring);
    int error;

    sq->head = next_index(sq->head, sq->size);
    sq->cq->reserved++;
    if (host) {
        memcpy(command, host + at, sizeof(*command));
        return true;
    }
    error = sim_port_dma_read(nvme->port, sq->ring.address + at, command, sizeof(*command));
    if (nvme->epoch != epoch)
        return false;
    if (error)
        nvme_fatal(nvme, "a submission queue cannot be read");
    return !error;
}

static void write_completion(struct nvme *nvme, struct nvme_cq *cq, uint32_t index,
                             const struct nvme_completion *completion)
{
    uint64_t epoch = nvme->epoch, at = (uint64_t)index * sizeof(*completion);
    uint8_t *host = nvme_view_get(nvme, &cq->ring);
    uint32_t last;

    if (host) {
        /* The phase bit is in the last word: it must become visible last. */
        memcpy(host + at, completion, offsetof(struct nvme_completion, cid));
        memcpy(&last, &completion->cid, sizeof(last));
        __atomic_store_n((uint32_t *)(void *)(host + at + offsetof(struct nvme_completion, cid)), last,
                         __ATOMIC_RELEASE);
        return;
    }
    if (sim_port_dma_write(nvme->port, cq->ring.address + at, completion, sizeof(*completion)) &&
        nvme->epoch == epoch)
        nvme_fatal(nvme, "a completion queue cannot be written");
}

void nvme_cq_post(struct nvme *nvme, struct nvme_sq *sq, uint16_t cid, uint16_t status, uint32_t result)
{
    struct nvme_cq *cq = sq->cq;
    uint32_t index = cq->tail;
    struct nvme_completion completion = {
        .result = vd_put32(result),
        .sq_head = vd_put16((uint16_t)sq->head),
        .sq_id = vd_put16(sq->id),
        .cid = vd_put16(cid),
        .status = vd_put16((uint16_t)(status << 1 | cq->phase)),
    };

    cq->reserved--;
    cq->tail = next_index(cq->tail, cq->size);
    if (cq->tail == 0)
        cq->phase = !cq->phase;
    nvme->notify[cq->id / 64] |= (uint64_t)cq->irq_enabled << cq->id % 64;
    write_completion(nvme, cq, index, &completion);
}

static void ring_sq(struct nvme *nvme, unsigned id, uint32_t value)
{
    struct nvme_sq *sq = &nvme->sqs[id];

    if (!sq->valid)
        nvme_event_raise(nvme, NVME_EVENT_ERROR, NVME_EVENT_BAD_DOORBELL, NVME_LOG_ERROR);
    else if (shadowed(nvme, id))
        return;
    else if (value >= sq->size)
        nvme_event_raise(nvme, NVME_EVENT_ERROR, NVME_EVENT_BAD_VALUE, NVME_LOG_ERROR);
    else
        sq->tail = value;
}

static void ring_cq(struct nvme *nvme, unsigned id, uint32_t value)
{
    struct nvme_cq *cq = &nvme->cqs[id];

    if (!cq->valid)
        nvme_event_raise(nvme, NVME_EVENT_ERROR, NVME_EVENT_BAD_DOORBELL, NVME_LOG_ERROR);
    else if (!shadowed(nvme, id) && !cq_set_head(cq, value))
        nvme_event_raise(nvme, NVME_EVENT_ERROR, NVME_EVENT_BAD_VALUE, NVME_LOG_ERROR);
    else
        nvme_irq_settle(nvme);
}

void nvme_doorbell_write(struct nvme *nvme, uint64_t offset, uint32_t value)
{
    unsigned id = (unsigned)((offset - NVME_DOORBELLS) / 8);

    if (nvme->state != NVME_RUNNING || id >= NVME_MAX_QUEUES)
        return;
    if (offset & 4)
        ring_cq(nvme, id, value);
    else
        ring_sq(nvme, id, value);
}

void nvme_dbbuf_adopt(struct nvme *nvme, unsigned id)
{
    uint64_t shadow = nvme->dbbuf.shadow.address;
    vd_le32 tail = vd_put32(nvme->sqs[id].tail), head = vd_put32(nvme->cqs[id].head);
    uint64_t epoch = nvme->epoch;

    if (!nvme->dbbuf.on)
        return;
    /* What the registers said so far; the guest may have left older values of a queue with the same number. */
    if (nvme->sqs[id].valid)
        (void)sim_port_dma_write(nvme->port, shadow + sq_slot(id), &tail, sizeof(tail));
    if (nvme->epoch == epoch && nvme->cqs[id].valid)
        (void)sim_port_dma_write(nvme->port, shadow + cq_slot(id), &head, sizeof(head));
}

void nvme_dbbuf_arm(struct nvme *nvme)
{
    if (!nvme->dbbuf.on || !nvme_accepts(nvme))
        return; /* nothing is fetched now, and after a shutdown the memory may be gone */
    for (unsigned id = 1; id < nvme->nr_sqs; id++) {
        struct nvme_sq *sq = &nvme->sqs[id];

        if (!sq->valid)
            continue;
        event_store(nvme, sq_slot(id), sq->tail);
        /* Wanted only when something waits for room: otherwise the guest need not tell. */
        if (sq->valid && sq->starved)
            event_store(nvme, cq_slot(sq->cq->id), sq->cq->head);
    }
    atomic_thread_fence(memory_order_seq_cst);
}

/* Keeps a shadowed head's event index current, so that the guest rings and the line falls in time. */
static void follow_head(struct nvme *nvme, struct nvme_cq *cq)
{
    for (int i = 0; i < SETTLE_TRIES && cq->valid; i++) {
        uint32_t head = cq->head;

        cq_refresh(nvme, cq, true);
        if (i && cq->head == head)
            return;
        if (!shadowed(nvme, cq->id))
            return;
        event_store(nvme, cq_slot(cq->id), cq->head);
        atomic_thread_fence(memory_order_seq_cst);
    }
}

static bool masked(const struct nvme *nvme, const struct nvme_cq *cq)
{
    return cq->vector < 32 && (nvme->regs.intms >> cq->vector & 1);
}

/* 7.5.1: the line is up while a queue that interrupts has entries not taken and is not masked. */
static bool wanted_level(const struct nvme *nvme)
{
    for (unsigned id = 0; id < NVME_MAX_QUEUES && nvme->state == NVME_RUNNING; id++) {
        const struct nvme_cq *cq = &nvme->cqs[id];

        if (cq->valid && cq->irq_enabled && cq->head != cq->tail && !masked(nvme, cq))
            return true;
    }
    return false;
}

static void set_level(struct nvme *nvme, bool level)
{
    if (level == nvme->intx_level)
        return;
    nvme->intx_level = level;
    sim_port_intx(nvme->port, level);
}

void nvme_irq_settle(struct nvme *nvme)
{
    if (!nvme->intx_level)
        return;
    for (unsigned id = 1; id < NVME_MAX_QUEUES && nvme->dbbuf.on; id++) {
        if (nvme->cqs[id].valid)
            cq_refresh(nvme, &nvme->cqs[id], false);
    }
    if (!wanted_level(nvme))
        set_level(nvme, false);
}

static void flush_intx(struct nvme *nvme)
{
    nvme->notify[0] = nvme->notify[1] = 0;
    for (unsigned id = 1; id < NVME_MAX_QUEUES && nvme->dbbuf.on; id++) {
        if (nvme->cqs[id].valid && nvme->cqs[id].irq_enabled)
            follow_head(nvme, &nvme->cqs[id]);
    }
    set_level(nvme, wanted_level(nvme));
}

/* One message for each queue with news; what INTMS holds back stays noted (not with MSI-X, 3.1.3). */
static void flush_messages(struct nvme *nvme, enum sim_irq_kind kind)
{
    for (unsigned word = 0; word < 2; word++) {
        uint64_t held = 0;

        for (uint64_t bits = nvme->notify[word]; bits; bits &= bits - 1) {
            const struct nvme_cq *cq = &nvme->cqs[word * 64 + (unsigned)__builtin_ctzll(bits)];

            if (kind == SIM_IRQ_MSI && masked(nvme, cq))
                held |= bits & -bits;
            else if (cq->valid)
                sim_port_msi(nvme->port, cq->vector);
        }
        nvme->notify[word] = held;
    }
}

void nvme_irq_flush(struct nvme *nvme)
{
    unsigned vectors;
    enum sim_irq_kind kind = sim_port_irq_kind(nvme->port, &vectors);

    if (kind == SIM_IRQ_INTX) {
        flush_intx(nvme);
        return;
    }
    set_level(nvme, false);
    /* With none enabled the news stay noted: a VMM has such moments when it changes the number of vectors. */
    if (kind != SIM_IRQ_NONE && (nvme->notify[0] | nvme->notify[1]))
        flush_messages(nvme, kind);
}
