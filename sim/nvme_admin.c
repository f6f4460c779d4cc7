/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Admin commands (section 5) but Identify, features and logs: I/O queues, Abort, Asynchronous Event Request and
 * Doorbell Buffer Config. A table of handlers; each answers a status or PENDING.
 *
 * Invariant: a queue with users or commands at work is never taken away. Lock: none, the owner's thread.
 */
#include "sim/nvme.h"

#include "base/range.h"

enum { PENDING = 0xffff, QUEUE_CONTIGUOUS = 1, QUEUE_INTERRUPTS = 2 };

uint16_t nvme_admin_send(struct nvme *nvme, const struct nvme_request *request, uint64_t wanted, size_t from,
                         size_t size)
{
    unsigned count = 0, used = 0;
    uint64_t left = wanted < size ? wanted : size;
    uint16_t status;

    if (wanted > nvme->max_transfer)
        return NVME_SC_FIELD | NVME_SC_DNR;
    status = nvme_prp_gather(nvme, vd_get64(request->command.prp1), vd_get64(request->command.prp2), wanted,
                             request->spans, &count);
    if (status)
        return status;
    /* There may be less to send than was asked for, but the pointers describe what was asked for. */
    for (; used < count && left; used++) {
        if (request->spans[used].size > left)
            request->spans[used].size = left;
        left -= request->spans[used].size;
    }
    if (nvme_prp_copy_out(nvme, request->spans, used, nvme->page + from))
        return NVME_SC_TRANSFER | NVME_SC_DNR;
    return NVME_OK;
}

/* The request ends without a completion now; one stays reserved unless `release`. */
static uint16_t park(struct nvme *nvme, struct nvme_request *request, bool release)
{
    struct nvme_sq *sq = request->sq;

    sq->inflight--;
    if (release)
        sq->cq->reserved--;
    nvme_request_put(nvme, request);
    return PENDING;
}

/* What Create I/O Completion and Submission Queue have in common, 5.3 and 5.4. */
static uint16_t check_new_queue(const struct nvme *nvme, const struct nvme_command *command, bool exists)
{
    uint32_t id = vd_get32(command->cdw10) & 0xffff, last = vd_get32(command->cdw10) >> 16;

    if (id == 0 || id > nvme->pairs || exists)
        return NVME_SC_QUEUE_ID | NVME_SC_DNR;
    if (last == 0 || last >= NVME_MAX_ENTRIES)
        return NVME_SC_QUEUE_SIZE | NVME_SC_DNR;
    if (!(vd_get32(command->cdw11) & QUEUE_CONTIGUOUS))
        return NVME_SC_FIELD | NVME_SC_DNR; /* CAP.CQR */
    if (!vd_is_aligned(vd_get64(command->prp1), 1ull << nvme->page_shift))
        return NVME_SC_PRP_OFFSET | NVME_SC_DNR;
    return NVME_OK;
}

static unsigned queue_id(const struct nvme_command *command)
{
    unsigned id = vd_get32(command->cdw10) & 0xffff;

    return id < NVME_MAX_QUEUES ? id : 0; /* 0 is never an I/O queue */
}

static uint16_t create_cq(struct nvme *nvme, struct nvme_request *request, uint32_t *result)
{
    const struct nvme_command *command = &request->command;
    unsigned id = queue_id(command);
    struct nvme_cq *cq = &nvme->cqs[id];
    uint32_t options = vd_get32(command->cdw11), size = (vd_get32(command->cdw10) >> 16) + 1;
    uint16_t status = check_new_queue(nvme, command, cq->valid);

    if (status)
        return status;
    if (NVME_CC_CQES(nvme->regs.cc) != NVME_CQES)
        return NVME_SC_QUEUE_SIZE | NVME_SC_DNR;
    if (options >> 16 >= nvme->max_vectors)
        return NVME_SC_VECTOR | NVME_SC_DNR;
    *cq = (struct nvme_cq){.valid = true,
                           .irq_enabled = options & QUEUE_INTERRUPTS,
                           .phase = true,
                           .id = (uint16_t)id,
                           .vector = (uint16_t)(options >> 16),
                           .size = size,
                           .ring = {.address = vd_get64(command->prp1),
                                    .size = size * sizeof(struct nvme_completion),
                                    .access = SIM_WRITE}};
    nvme_dbbuf_adopt(nvme, id);
    return NVME_OK;
}

static void count_queues(struct nvme *nvme)
{
    nvme->nr_sqs = NVME_MAX_QUEUES;
    while (nvme->nr_sqs > 1 && !nvme->sqs[nvme->nr_sqs - 1].valid)
        nvme->nr_sqs--;
}

static uint16_t create_sq(struct nvme *nvme, struct nvme_request *request, uint32_t *result)
{
    const struct nvme_command *command = &request->command;
    unsigned id = queue_id(command), cq_id = vd_get32(command->cdw11) >> 16;
    struct nvme_sq *sq = &nvme->sqs[id];
    uint32_t size = (vd_get32(command->cdw10) >> 16) + 1;
    uint16_t status;

    if (cq_id == 0 || cq_id > nvme->pairs || !nvme->cqs[cq_id].valid)
        return NVME_SC_CQ_INVALID | NVME_SC_DNR;
    status = check_new_queue(nvme, command, sq->valid);
    if (status)
        return status;
    if (NVME_CC_SQES(nvme->regs.cc) != NVME_SQES)
        return NVME_SC_QUEUE_SIZE | NVME_SC_DNR;
    *sq = (struct nvme_sq){.valid = true,
                           .id = (uint16_t)id,
                           .size = size,
                           .cq = &nvme->cqs[cq_id],
                           .ring = {.address = vd_get64(command->prp1),
                                    .size = size * sizeof(struct nvme_command),
                                    .access = SIM_READ}};
    sq->cq->users++;
    count_queues(nvme);
    nvme_dbbuf_adopt(nvme, id);
    return NVME_OK;
}

static void remove_sq(struct nvme *nvme, struct nvme_sq *sq)
{
    sq->cq->users--;
    *sq = (struct nvme_sq){0};
    count_queues(nvme);
}

/* 5.6: what has been fetched completes first; the rest is dropped. */
static uint16_t delete_sq(struct nvme *nvme, struct nvme_request *request, uint32_t *result)
{
    unsigned id = queue_id(&request->command);
    struct nvme_sq *sq = &nvme->sqs[id];

    if (id == 0 || !sq->valid || sq->deleting)
        return NVME_SC_QUEUE_ID | NVME_SC_DNR;
    if (sq->inflight == 0) {
        remove_sq(nvme, sq);
        return NVME_OK;
    }
    sq->deleting = true;
    sq->delete_cid = vd_get16(request->command.cid);
    return park(nvme, request, false);
}

void nvme_admin_deleted(struct nvme *nvme, struct nvme_sq *sq)
{
    uint16_t cid = sq->delete_cid;

    remove_sq(nvme, sq);
    nvme_cq_post(nvme, &nvme->sqs[0], cid, NVME_OK, 0);
}

/* 5.5 */
static uint16_t delete_cq(struct nvme *nvme, struct nvme_request *request, uint32_t *result)
{
    unsigned id = queue_id(&request->command);
    struct nvme_cq *cq = &nvme->cqs[id];

    if (id == 0 || !cq->valid)
        return NVME_SC_QUEUE_ID | NVME_SC_DNR;
    if (cq->users)
        return NVME_SC_QUEUE_DELETION | NVME_SC_DNR;
    *cq = (struct nvme_cq){0};
    nvme->notify[id / 64] &= ~(1ull << id % 64);
    return NVME_OK;
}

static uint16_t identify(struct nvme *nvme, struct nvme_request *request, uint32_t *result)
{
    uint16_t status = nvme_identify_fill(nvme, &request->command);

    return status ? status : nvme_admin_send(nvme, request, 4096, 0, 4096);
}

static uint16_t get_log(struct nvme *nvme, struct nvme_request *request, uint32_t *result)
{
    return nvme_log_get(nvme, request);
}

/* 5.1. Only what waits for events can still be found; everything else completes soon by itself. */
static uint16_t abort_command(struct nvme *nvme, struct nvme_request *request, uint32_t *result)
{
    uint32_t what = vd_get32(request->command.cdw10);
    uint64_t epoch = nvme->epoch;

    *result = 1; /* not aborted */
    for (unsigned i = 0; i < nvme->nr_event_cids && (what & 0xffff) == 0; i++) {
        uint16_t cid = nvme->event_cids[i];

        if (cid != what >> 16 || !nvme_cq_has_room(nvme, &nvme->cqs[0]))
            continue;
        nvme->event_cids[i] = nvme->event_cids[--nvme->nr_event_cids];
        nvme->cqs[0].reserved++;
        nvme_cq_post(nvme, &nvme->sqs[0], cid, NVME_SC_ABORTED, 0);
        *result = 0;
        return nvme->epoch == epoch ? NVME_OK : NVME_SC_INTERNAL;
    }
    return NVME_OK;
}

/* 5.2 */
static uint16_t async_event(struct nvme *nvme, struct nvme_request *request, uint32_t *result)
{
    if (nvme->nr_event_cids == NVME_MAX_EVENTS)
        return NVME_SC_AER_LIMIT | NVME_SC_DNR;
    nvme->event_cids[nvme->nr_event_cids++] = vd_get16(request->command.cid);
    return park(nvme, request, true);
}

static uint16_t get_features(struct nvme *nvme, struct nvme_request *request, uint32_t *result)
{
    return nvme_features_get(nvme, &request->command, result);
}

static uint16_t set_features(struct nvme *nvme, struct nvme_request *request, uint32_t *result)
{
    bool cached = nvme->features.write_cache;
    uint16_t status = nvme_features_set(nvme, &request->command, result);

    if (status || !cached || nvme->features.write_cache)
        return status;
    /* 5.21.1.6: with the cache off, what was in it must be on the disk. */
    request->op = NVME_OP_SYNC;
    nvme_pool_submit(&nvme->pool, request);
    return PENDING;
}

static struct nvme_view doorbell_view(vd_le64 address, enum sim_access access)
{
    return (struct nvme_view){.address = vd_get64(address), .size = 8 * NVME_MAX_QUEUES, .access = access};
}

/* 5.7. Refused for memory that has no pointer: polling it would cost more than doorbells do. */
static uint16_t doorbell_buffer(struct nvme *nvme, struct nvme_request *request, uint32_t *result)
{
    struct nvme_dbbuf buffer = {.on = true,
                                .shadow = doorbell_view(request->command.prp1, SIM_READ),
                                .event = doorbell_view(request->command.prp2, SIM_WRITE)};
    uint64_t page = 1ull << nvme->page_shift, epoch = nvme->epoch;

    if (!nvme->offer_dbbuf)
        return NVME_SC_OPCODE | NVME_SC_DNR;
    if (!vd_is_aligned(buffer.shadow.address, page) || !vd_is_aligned(buffer.event.address, page) ||
        !nvme_view_get(nvme, &buffer.shadow) || !nvme_view_get(nvme, &buffer.event))
        return NVME_SC_FIELD | NVME_SC_DNR;
    nvme->dbbuf = buffer;
    for (unsigned id = 1; id < NVME_MAX_QUEUES && nvme->epoch == epoch; id++)
        nvme_dbbuf_adopt(nvme, id);
    return NVME_OK;
}

struct admin_command {
    uint8_t opcode;
    uint16_t (*run)(struct nvme *nvme, struct nvme_request *request, uint32_t *result);
};

static const struct admin_command commands[] = {
    {NVME_ADMIN_DELETE_SQ, delete_sq},
    {NVME_ADMIN_CREATE_SQ, create_sq},
    {NVME_ADMIN_GET_LOG, get_log},
    {NVME_ADMIN_DELETE_CQ, delete_cq},
    {NVME_ADMIN_CREATE_CQ, create_cq},
    {NVME_ADMIN_IDENTIFY, identify},
    {NVME_ADMIN_ABORT, abort_command},
    {NVME_ADMIN_SET_FEATURES, set_features},
    {NVME_ADMIN_GET_FEATURES, get_features},
    {NVME_ADMIN_ASYNC_EVENT, async_event},
    {NVME_ADMIN_DOORBELL_BUFFER, doorbell_buffer},
};

static const struct admin_command *find(uint8_t opcode)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (commands[i].opcode == opcode)
            return &commands[i];
    }
    return NULL;
}

void nvme_admin_execute(struct nvme *nvme, struct nvme_request *request)
{
    const struct admin_command *command = find(request->command.opcode);
    uint32_t result = 0;
    uint16_t status;

    if (!command)
        status = NVME_SC_OPCODE | NVME_SC_DNR;
    else if (request->command.flags)
        status = NVME_SC_FIELD | NVME_SC_DNR;
    else
        status = command->run(nvme, request, &result);
    if (status != PENDING)
        nvme_request_complete(nvme, request, status, result);
}
