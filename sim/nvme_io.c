/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The NVM command set (section 6): decoding, the fast path on the device's thread, and what follows when a worker is
 * done. Reads of cached pages and ordinary writes go straight between guest memory and the page cache; whatever could
 * stall is submitted.
 *
 * Invariant: the data of a command is on the disk before its completion when it has FUA set, or when the volatile write
 * cache is off by then. Lock: none, the owner's thread.
 */
#include "sim/nvme.h"

#include <errno.h>

#include "base/range.h"

enum {
    SLOW_NS = 20000000,     /* an inline write that took longer met a throttled disk: */
    SLOW_WRITES = 16,       /* leave this many to the workers, then try again */
    LEND_BYTES = 256 << 10, /* shorter than this, handing over costs more than it gains */
    CDW12_FUA = 1 << 30,
    CDW12_DEALLOCATE = 1 << 25,
    DSM_DEALLOCATE = 1 << 2,
    NAMESPACE = 1,
};

struct io_command {
    /* A status to complete with, or PENDING: it completes by itself. */
    uint16_t (*run)(struct nvme *nvme, struct nvme_request *request);
    bool changes;
};

enum { PENDING = 0xffff };

static uint16_t transfer_status(const struct nvme_request *request)
{
    if (!request->result)
        return NVME_OK;
    return request->op == NVME_OP_READ ? NVME_SC_READ_ERROR : NVME_SC_WRITE_FAULT;
}

static void count_success(struct nvme *nvme, const struct nvme_request *request)
{
    struct nvme_counters *counters = &nvme->counters;

    if (request->command.opcode == NVME_IO_READ) {
        counters->reads++;
        counters->read_bytes += request->length;
    } else if (request->command.opcode == NVME_IO_WRITE) {
        counters->writes++;
        counters->written_bytes += request->length;
    }
}

/* Giving much memory back takes long as well. */
static bool is_quick(const struct nvme *nvme, const struct nvme_request *request)
{
    return nvme->disk.memory && (request->op == NVME_OP_SYNC ||
                                 (request->op == NVME_OP_ZERO && request->length <= nvme->max_transfer));
}

/* Starts what touches no guest memory: at once when it cannot take long. */
static uint16_t start(struct nvme *nvme, struct nvme_request *request)
{
    if (!is_quick(nvme, request)) {
        nvme_pool_submit(&nvme->pool, request);
        return PENDING;
    }
    nvme_pool_run(&nvme->disk, request);
    nvme_io_continue(nvme, request);
    return PENDING;
}

/* The cache may have been switched off while the command was at work. */
static bool must_sync(const struct nvme *nvme, const struct nvme_request *request)
{
    if (request->op == NVME_OP_SYNC)
        return false;
    return request->fua || (request->op != NVME_OP_READ && !nvme->features.write_cache);
}

void nvme_io_continue(struct nvme *nvme, struct nvme_request *request)
{
    uint16_t status =
        request->op == NVME_OP_SYNC ? nvme_sync_status(nvme, request) : transfer_status(request);

    if (status) {
        nvme->counters.media_errors++;
        nvme_request_complete(nvme, request, status, 0);
        return;
    }
    if (must_sync(nvme, request)) {
        request->op = NVME_OP_SYNC;
        start(nvme, request);
        return;
    }
    count_success(nvme, request);
    nvme_request_complete(nvme, request, NVME_OK, 0);
}

static bool forces_unit_access(const struct nvme_request *request)
{
    return vd_get32(request->command.cdw12) & CDW12_FUA;
}

/* LBA range and length in bytes, for commands with SLBA in CDW10/11 and NLB in CDW12. */
static uint16_t decode_range(const struct nvme *nvme, struct nvme_request *request)
{
    uint64_t first = vd_get32(request->command.cdw10) | (uint64_t)vd_get32(request->command.cdw11) << 32;
    uint64_t blocks = (vd_get32(request->command.cdw12) & 0xffff) + 1;

    if (!vd_span_fits(first, blocks, nvme->disk.size >> nvme->disk.shift))
        return NVME_SC_LBA_RANGE | NVME_SC_DNR;
    request->offset = first << nvme->disk.shift;
    request->length = blocks << nvme->disk.shift;
    return NVME_OK;
}

/* Memory that has no pointer, or in too many pieces: through a buffer, waiting. Rare, so there is one buffer. */
static uint16_t bounce(struct nvme *nvme, struct nvme_request *request)
{
    struct iovec iov;
    int error = 0;

    if (!nvme->bounce)
        nvme->bounce = vd_env_alloc(nvme->env, nvme->max_transfer, 1);
    if (!nvme->bounce)
        return NVME_SC_INTERNAL;
    iov = (struct iovec){nvme->bounce, request->length};
    if (request->op == NVME_OP_READ) {
        request->result = nvme_disk_read(&nvme->disk, &iov, 1, request->offset);
        if (!request->result)
            error = nvme_prp_copy_out(nvme, request->spans, request->nr_spans, nvme->bounce);
    } else {
        error = nvme_prp_copy_in(nvme, request->spans, request->nr_spans, nvme->bounce);
    }
    if (error)
        return NVME_SC_TRANSFER | NVME_SC_DNR; /* after a reset it is dropped, whatever the status */
    if (request->op == NVME_OP_READ) {
        nvme_io_continue(nvme, request);
        return PENDING;
    }
    /* On a worker for its signal mask; when it is settled the buffer is free again. */
    request->iov[0] = iov;
    request->nr_iov = 1;
    nvme_pool_submit(&nvme->pool, request);
    nvme_pool_settle(&nvme->pool);
    return PENDING;
}

/*
 * A long copy goes to a worker when another command waits behind it, so that two processors copy; one at a time, because
 * the thread here takes the next one itself.
 */
static bool lend(struct nvme *nvme, struct nvme_request *request)
{
    if (request->length < LEND_BYTES || nvme->lent || request->sq->head == request->sq->tail)
        return false;
    nvme->lent = request;
    nvme_pool_submit(&nvme->pool, request);
    return true;
}

static void transfer_read(struct nvme *nvme, struct nvme_request *request)
{
    int error;

    if (lend(nvme, request))
        return;
    error = nvme_disk_try_read(&nvme->disk, request->iov, request->nr_iov, request->offset, request->length);

    if (error == -EAGAIN) {
        nvme_pool_submit(&nvme->pool, request);
        return;
    }
    request->result = error;
    nvme_prp_unpin(nvme, request);
    nvme_io_continue(nvme, request);
}

static void transfer_write(struct nvme *nvme, struct nvme_request *request)
{
    uint64_t before;

    if (lend(nvme, request))
        return;
    if (!nvme->disk.inline_writes || nvme->slow_writes) {
        nvme->slow_writes -= nvme->slow_writes > 0;
        nvme_pool_submit(&nvme->pool, request);
        return;
    }
    before = vd_env_now(nvme->env);
    nvme_pool_run(&nvme->disk, request);
    if (vd_env_now(nvme->env) - before > SLOW_NS && !nvme->disk.memory)
        nvme->slow_writes = SLOW_WRITES;
    nvme_prp_unpin(nvme, request);
    nvme_io_continue(nvme, request);
}

/* Read and Write, 6.9 and 6.15. */
static uint16_t transfer(struct nvme *nvme, struct nvme_request *request, enum nvme_op op)
{
    uint16_t status = decode_range(nvme, request);
    int error;

    if (!status && request->length > nvme->max_transfer)
        status = NVME_SC_FIELD | NVME_SC_DNR; /* 5.15.2.2, MDTS */
    if (!status)
        status = nvme_prp_gather(nvme, vd_get64(request->command.prp1), vd_get64(request->command.prp2),
                                 request->length, request->spans, &request->nr_spans);
    if (status || request->epoch != nvme->epoch)
        return status;
    request->op = op;
    error = nvme_prp_pin(nvme, request, op == NVME_OP_READ ? SIM_WRITE : SIM_READ);
    if (error == -EREMOTE)
        return bounce(nvme, request);
    if (error)
        return NVME_SC_TRANSFER | NVME_SC_DNR;
    if (op == NVME_OP_READ)
        transfer_read(nvme, request);
    else
        transfer_write(nvme, request);
    return PENDING;
}

void nvme_io_retry(struct nvme *nvme, struct nvme_request *request)
{
    uint16_t status = PENDING;
    int error = 0;

    request->withdrawn = false;
    if (request->op == NVME_OP_READ || request->op == NVME_OP_WRITE)
        error = nvme_prp_pin(nvme, request, request->op == NVME_OP_READ ? SIM_WRITE : SIM_READ);
    if (error == -EREMOTE)
        status = bounce(nvme, request);
    else if (error)
        status = NVME_SC_TRANSFER | NVME_SC_DNR;
    else
        nvme_pool_submit(&nvme->pool, request);
    if (status != PENDING)
        nvme_request_complete(nvme, request, status, 0);
}

/* 6.9: with FUA the blocks are committed to the disk, too. */
static uint16_t run_read(struct nvme *nvme, struct nvme_request *request)
{
    request->fua = forces_unit_access(request);
    return transfer(nvme, request, NVME_OP_READ);
}

static uint16_t run_write(struct nvme *nvme, struct nvme_request *request)
{
    request->fua = forces_unit_access(request);
    return transfer(nvme, request, NVME_OP_WRITE);
}

/* 6.8 */
static uint16_t run_flush(struct nvme *nvme, struct nvme_request *request)
{
    request->op = NVME_OP_SYNC;
    return start(nvme, request);
}

/* 6.17; MDTS does not apply, there is no data. */
static uint16_t run_write_zeroes(struct nvme *nvme, struct nvme_request *request)
{
    uint16_t status = decode_range(nvme, request);

    if (status)
        return status;
    request->op = NVME_OP_ZERO;
    request->fua = forces_unit_access(request);
    request->deallocate = vd_get32(request->command.cdw12) & CDW12_DEALLOCATE;
    return start(nvme, request);
}

static bool ranges_fit(const struct nvme *nvme, const struct nvme_request *request)
{
    for (unsigned i = 0; i < request->nr_ranges; i++) {
        const struct nvme_dsm_range *range = &request->ranges[i];

        if (!vd_span_fits(vd_get64(range->first), vd_get32(range->blocks),
                          nvme->disk.size >> nvme->disk.shift))
            return false;
    }
    return true;
}

/* 6.7; attributes other than Deallocate are hints that nothing here can use. */
static uint16_t run_dsm(struct nvme *nvme, struct nvme_request *request)
{
    uint16_t status;

    request->nr_ranges = (vd_get32(request->command.cdw10) & 0xff) + 1;
    status = nvme_prp_gather(nvme, vd_get64(request->command.prp1), vd_get64(request->command.prp2),
                             request->nr_ranges * sizeof(struct nvme_dsm_range), request->spans,
                             &request->nr_spans);
    if (status || request->epoch != nvme->epoch)
        return status;
    if (nvme_prp_copy_in(nvme, request->spans, request->nr_spans, request->ranges))
        return NVME_SC_TRANSFER | NVME_SC_DNR;
    if (!ranges_fit(nvme, request))
        return NVME_SC_LBA_RANGE | NVME_SC_DNR;
    if (!(vd_get32(request->command.cdw11) & DSM_DEALLOCATE))
        return NVME_OK;
    request->op = NVME_OP_TRIM;
    return start(nvme, request);
}

static const struct io_command commands[] = {
    [NVME_IO_FLUSH] = {run_flush, false}, [NVME_IO_WRITE] = {run_write, true},
    [NVME_IO_READ] = {run_read, false},   [NVME_IO_WRITE_ZEROES] = {run_write_zeroes, true},
    [NVME_IO_DSM] = {run_dsm, true},
};

/* What is checked before a handler sees the command, 4.2. */
static uint16_t check(const struct nvme *nvme, const struct nvme_command *command)
{
    uint32_t nsid = vd_get32(command->nsid);

    if (command->opcode >= sizeof(commands) / sizeof(commands[0]) || !commands[command->opcode].run)
        return NVME_SC_OPCODE | NVME_SC_DNR;
    if (command->flags)
        return NVME_SC_FIELD | NVME_SC_DNR; /* fused, or a scatter gather list: neither is offered */
    if (nsid != NAMESPACE && !(nsid == UINT32_MAX && command->opcode == NVME_IO_FLUSH))
        return NVME_SC_NAMESPACE | NVME_SC_DNR;
    if (commands[command->opcode].changes && nvme->disk.readonly)
        return NVME_SC_WRITE_PROTECTED | NVME_SC_DNR;
    return NVME_OK;
}

void nvme_io_execute(struct nvme *nvme, struct nvme_request *request)
{
    uint16_t status = check(nvme, &request->command);

    if (!status)
        status = commands[request->command.opcode].run(nvme, request);
    if (status != PENDING)
        nvme_request_complete(nvme, request, status, 0);
}
