/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The simulated NVMe controller as an endpoint: creation from options, request contexts, and the rounds of dispatch().
 * See nvme.h for how it works and for its invariants. A round is bounded in commands and bytes, so that a front end can
 * answer register accesses between two of them.
 */
#include "sim/nvme.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/range.h"

enum {
    ROUND_COMMANDS = 64,
    QUEUE_COMMANDS = 32, /* from one queue before the next has its turn */
    ROUND_BYTES = 1 << 20,
    DSM_BYTES = 4096, /* 256 ranges */
    MAX_MSI = 32,
};

static const char *const sector_names[] = {"512", "4096", NULL};
static const char *const irq_names[] = {"msix", "msi", "intx", NULL};

#define FIELD(name) offsetof(struct nvme_options, name)
static const struct sim_option nvme_option_rows[] = {
    {.key = "image",
     .type = SIM_OPTION_TEXT,
     .offset = FIELD(image),
     .values = "path of a file or a block device",
     .help = "what the disk is kept in; without it the disk is memory and forgotten at the end"},
    {.key = "size",
     .type = SIM_OPTION_SIZE,
     .offset = FIELD(size),
     .min = 1 << 20,
     .max = 1ull << 44,
     .values = "1M to 16T (64M when not given)",
     .help = "size of a disk without image="},
    {.key = "sector",
     .type = SIM_OPTION_ENUM,
     .offset = FIELD(sector),
     .names = sector_names,
     .values = "512, 4096",
     .fallback = "512",
     .help = "bytes of a logical block"},
    {.key = "queues",
     .type = SIM_OPTION_UINT,
     .offset = FIELD(queues),
     .min = 1,
     .max = NVME_MAX_PAIRS,
     .values = "1 to 64",
     .fallback = "16",
     .help = "I/O queue pairs offered"},
    {.key = "vectors",
     .type = SIM_OPTION_UINT,
     .offset = FIELD(vectors),
     .min = 1,
     .max = NVME_MAX_QUEUES,
     .values = "1 to 65 (queues + 1 when not given)",
     .help = "interrupt vectors offered"},
    {.key = "irq",
     .type = SIM_OPTION_ENUM,
     .offset = FIELD(irq),
     .names = irq_names,
     .values = "msix, msi, intx",
     .fallback = "msix",
     .help = "best kind of interrupt offered; the lesser ones are there too"},
    {.key = "mdts",
     .type = SIM_OPTION_SIZE,
     .offset = FIELD(mdts),
     .min = 4096,
     .max = NVME_MAX_TRANSFER,
     .power_of_two = true,
     .values = "4K to 2M, a power of two",
     .fallback = "1M",
     .help = "most bytes of one command"},
    {.key = "serial",
     .type = SIM_OPTION_TEXT,
     .offset = FIELD(serial),
     .values = "1 to 20 printable ASCII characters",
     .help = "serial number; made from the image's identity when not given"},
    {.key = "readonly",
     .type = SIM_OPTION_BOOL,
     .offset = FIELD(readonly),
     .values = "on, off",
     .fallback = "off",
     .help = "the namespace is write protected"},
    {.key = "dbbuf",
     .type = SIM_OPTION_BOOL,
     .offset = FIELD(dbbuf),
     .values = "on, off",
     .fallback = "on",
     .help = "shadow doorbells: the guest need not trap for each command"},
};

struct nvme_request *nvme_request_get(struct nvme *nvme)
{
    struct nvme_request *request = nvme->free;

    nvme->free = request->next;
    nvme->nr_free--;
    request->epoch = nvme->epoch;
    request->fua = request->deallocate = request->withdrawn = false;
    request->result = 0;
    return request;
}

void nvme_request_put(struct nvme *nvme, struct nvme_request *request)
{
    request->next = nvme->free;
    nvme->free = request;
    nvme->nr_free++;
}

uint16_t nvme_sync_status(struct nvme *nvme, const struct nvme_request *request)
{
    bool failed = request->result || nvme->sync_unheard;

    if (nvme->state == NVME_RUNNING)
        nvme->sync_unheard = false;
    return failed ? NVME_SC_WRITE_FAULT | NVME_SC_DNR : NVME_OK;
}

void nvme_request_complete(struct nvme *nvme, struct nvme_request *request, uint16_t status, uint32_t result)
{
    struct nvme_sq *sq = request->sq;
    uint16_t cid = vd_get16(request->command.cid);
    uint64_t epoch = nvme->epoch;
    bool current = request->epoch == epoch && nvme->state == NVME_RUNNING;

    if (current && status) {
        status |= NVME_SC_MORE;
        nvme_log_error(nvme, request, status);
    }
    if (!current && request->op == NVME_OP_SYNC && request->result)
        nvme->sync_unheard = true;
    nvme_request_put(nvme, request);
    if (!current)
        return;
    sq->inflight--;
    nvme_cq_post(nvme, sq, cid, status, result);
    if (nvme->epoch == epoch && sq->deleting && sq->inflight == 0)
        nvme_admin_deleted(nvme, sq);
}

/*
 * Takes what workers finished and lets go of guest memory, for all of them before the first is completed: completing
 * may re-enter and unmap.
 */
static void collect(struct nvme *nvme)
{
    struct nvme_request *taken = nvme_pool_take(&nvme->pool), **end = &nvme->finished;

    while (*end)
        end = &(*end)->next;
    *end = taken;
    for (; taken; taken = taken->next) {
        nvme_prp_unpin(nvme, taken);
        if (nvme->lent == taken)
            nvme->lent = NULL;
    }
}

static bool reap(struct nvme *nvme)
{
    struct nvme_request *request;
    bool did = false;

    collect(nvme);
    while ((request = nvme->finished)) {
        nvme->finished = request->next;
        did = true;
        if (request == &nvme->shutdown)
            nvme_shutdown_end(nvme, request->epoch == nvme->epoch);
        else if (request->epoch != nvme->epoch)
            nvme_request_complete(nvme, request, NVME_SC_ABORTED, 0); /* which nobody will see */
        else if (request->withdrawn)
            nvme_io_retry(nvme, request);
        else if (request->sq->id == 0)
            nvme_request_complete(nvme, request, nvme_sync_status(nvme, request), 0);
        else
            nvme_io_continue(nvme, request);
    }
    return did;
}

/* The admin queue may take the last contexts, so that it can still mend what I/O queues hold up. */
static bool has_context(const struct nvme *nvme, const struct nvme_sq *sq)
{
    return nvme->nr_free > (sq->id ? NVME_ADMIN_REQUESTS : 0);
}

struct budget {
    unsigned commands;
    uint64_t bytes;
};

/* False when the queue has nothing more to do now. */
static bool run_one(struct nvme *nvme, struct nvme_sq *sq, struct budget *budget)
{
    struct nvme_request *request;
    uint64_t epoch = nvme->epoch;

    if (!nvme_accepts(nvme) || !nvme_sq_ready(nvme, sq) || nvme->epoch != epoch || !has_context(nvme, sq))
        return false;
    request = nvme_request_get(nvme);
    request->sq = sq;
    if (!nvme_sq_fetch(nvme, sq, &request->command)) {
        nvme_request_put(nvme, request);
        return false;
    }
    sq->inflight++;
    request->length = 0;
    budget->commands--;
    if (sq->id == 0) {
        nvme_admin_execute(nvme, request);
    } else {
        nvme_io_execute(nvme, request);
        /* The context still says how much it was, whether in use or put back. */
        budget->bytes -= request->length < budget->bytes ? request->length : budget->bytes;
    }
    return true;
}

static bool run_queue(struct nvme *nvme, struct nvme_sq *sq, struct budget *budget)
{
    unsigned count = 0;

    while (count < QUEUE_COMMANDS && budget->commands && budget->bytes && run_one(nvme, sq, budget))
        count++;
    return count != 0;
}

/* Round robin among I/O queues (4.13); the admin queue comes first. */
static bool run_queues(struct nvme *nvme)
{
    struct budget budget = {ROUND_COMMANDS, ROUND_BYTES};
    bool did = run_queue(nvme, &nvme->sqs[0], &budget);
    unsigned queues = nvme->nr_sqs ? nvme->nr_sqs - 1 : 0;

    for (unsigned i = 0; i < queues; i++) {
        struct nvme_sq *sq = &nvme->sqs[1 + (nvme->turn + i) % queues];

        if (sq->valid && run_queue(nvme, sq, &budget))
            did = true;
    }
    nvme->turn++;
    return did;
}

static bool has_work(struct nvme *nvme)
{
    if (nvme->finished || atomic_load(&nvme->pool.done) || nvme_lifecycle_due(nvme))
        return true;
    for (unsigned id = 0; id < nvme->nr_sqs && nvme_accepts(nvme); id++) {
        struct nvme_sq *sq = &nvme->sqs[id];
        bool starved = sq->starved;

        if (nvme_sq_ready(nvme, sq) && has_context(nvme, sq))
            return true;
        if (sq->starved && !starved)
            return true; /* its completion queue's event index is not published yet: once more */
    }
    return false;
}

/* From here on a worker that finishes and a guest that submits will wake us. True when one of them was faster. */
static bool fall_asleep(struct nvme *nvme)
{
    atomic_store(&nvme->pool.armed, true);
    nvme_dbbuf_arm(nvme);
    if (!has_work(nvme))
        return false;
    atomic_store(&nvme->pool.armed, false);
    return true;
}

static bool nvme_dispatch(void *endpoint, bool will_block)
{
    struct nvme *nvme = endpoint;
    bool did;

    if (nvme->busy)
        return false;
    nvme->busy = true;
    if (atomic_load_explicit(&nvme->pool.armed, memory_order_relaxed))
        atomic_store(&nvme->pool.armed, false);
    if (nvme->asked & NVME_ASK_STOP)
        nvme_pool_withdraw(&nvme->pool);
    did = reap(nvme);
    did |= nvme_lifecycle_step(nvme);
    if (nvme_accepts(nvme)) {
        did |= run_queues(nvme);
        did |= nvme_event_deliver(nvme);
    }
    nvme_irq_flush(nvme);
    if (!did && will_block)
        did = fall_asleep(nvme);
    nvme->busy = false;
    return did;
}

static void nvme_quiesce(void *endpoint)
{
    struct nvme *nvme = endpoint;

    nvme_pool_withdraw(&nvme->pool); /* so that it takes a few transfers, not all that are queued */
    nvme_pool_settle(&nvme->pool);
    collect(nvme);
    /* On a companion's thread: the owner may sleep, and what was withdrawn is for it to finish. */
    if (nvme->finished && atomic_exchange(&nvme->pool.armed, false))
        sim_port_wake(nvme->pool.port);
}

static void nvme_reset(void *endpoint)
{
    struct nvme *nvme = endpoint;

    nvme->epoch++;
    nvme_quiesce(nvme); /* what came back is of an older epoch now and will be dropped */
    nvme_controller_reset(nvme);
    nvme_registers_reset(nvme);
}

static uint64_t nvme_read(void *endpoint, unsigned bar, uint64_t offset, unsigned width)
{
    return nvme_register_read(endpoint, offset, width);
}

static void nvme_write(void *endpoint, unsigned bar, uint64_t offset, unsigned width, uint64_t value)
{
    nvme_register_write(endpoint, offset, width, value);
}

static int make_requests(struct nvme *nvme)
{
    size_t spans = nvme->max_spans * sizeof(struct nvme_span);
    size_t iov = nvme->max_spans * sizeof(struct iovec);

    if (iov < DSM_BYTES)
        iov = DSM_BYTES;
    nvme->requests = vd_env_alloc(nvme->env, NVME_REQUESTS, sizeof(*nvme->requests));
    nvme->spans_memory = vd_env_alloc(nvme->env, NVME_REQUESTS, spans);
    nvme->iov_memory = vd_env_alloc(nvme->env, NVME_REQUESTS, iov);
    nvme->page = vd_env_alloc(nvme->env, 4096, 1);
    if (!nvme->requests || !nvme->spans_memory || !nvme->iov_memory || !nvme->page)
        return -ENOMEM;
    for (size_t i = NVME_REQUESTS; i-- > 0;) {
        struct nvme_request *request = &nvme->requests[i];

        request->spans = (struct nvme_span *)(void *)((char *)nvme->spans_memory + i * spans);
        request->iov = (struct iovec *)(void *)((char *)nvme->iov_memory + i * iov);
        nvme_request_put(nvme, request);
    }
    return 0;
}

static void free_memory(struct nvme *nvme)
{
    vd_env_free(nvme->env, nvme->bounce);
    vd_env_free(nvme->env, nvme->page);
    vd_env_free(nvme->env, nvme->iov_memory);
    vd_env_free(nvme->env, nvme->spans_memory);
    vd_env_free(nvme->env, nvme->requests);
    vd_env_free(nvme->env, nvme);
}

static int check_serial(const struct nvme_options *options, const char *address, struct vd_failure *failure)
{
    const char *serial = options->serial;
    size_t length = serial ? strlen(serial) : 1;

    for (size_t i = 0; serial && i < length; i++) {
        if (serial[i] < ' ' || serial[i] > '~')
            length = 0;
    }
    if (length == 0 || length > sizeof(((struct nvme *)0)->serial))
        return vd_fail_usage(failure, "%s: serial=%.40s must be 1 to 20 printable ASCII characters", address,
                             serial);
    return 0;
}

/* Serial number, NVM subsystem name (7.9) and EUI-64: unique for a disk, and the same every time. */
static void set_identity(struct nvme *nvme, const struct nvme_options *options)
{
    uint64_t hash = nvme->disk.identity;
    char text[sizeof(nvme->serial) + 1];

    snprintf(text, sizeof(text), "VD%016" PRIX64, hash);
    if (options->serial)
        snprintf(text, sizeof(text), "%s", options->serial);
    for (size_t i = 0; options->serial && text[i]; i++)
        hash = (hash ^ (uint8_t)text[i]) * 0x100000001b3u;
    memset(nvme->serial, ' ', sizeof(nvme->serial));
    memcpy(nvme->serial, text, strlen(text));
    snprintf(nvme->subnqn, sizeof(nvme->subnqn),
             "nqn.2014-08.org.nvmexpress:uuid:%08x-0000-8000-8000-%012" PRIx64, (unsigned)(hash >> 48),
             hash & 0xffffffffffffu);
    for (unsigned i = 0; i < 8; i++)
        nvme->eui64[i] = (uint8_t)(hash >> (56 - 8 * i));
    nvme->eui64[0] = (nvme->eui64[0] & 0xfc) | 2; /* locally administered */
}

static void describe(const struct nvme *nvme, struct sim_endpoint_info *info)
{
    unsigned msi = 1;

    while (msi * 2 <= nvme->max_vectors && msi < MAX_MSI)
        msi *= 2;
    *info = (struct sim_endpoint_info){0};
    info->model = "Viaduct simulated NVMe disk";
    info->identity = (struct sim_identity){.vendor = 0x1234,
                                           .device = 0x4e56,
                                           .subvendor = 0x1234,
                                           .subdevice = 0x4e56,
                                           .revision = 1,
                                           .class_code = 0x010802, /* NVM Express I/O controller */
                                           .intx_pin = 1};
    for (unsigned i = 0; i < SIM_BARS; i++)
        info->bars[i] = (struct sim_bar){.fd = -1};
    info->bars[0].size = NVME_BAR_SIZE;
    info->bars[0].is64 = true;
    info->intx = info->flr = true;
    info->msi_vectors = nvme->irq == NVME_IRQ_INTX ? 0 : msi;
    if (nvme->irq != NVME_IRQ_MSIX)
        return;
    info->msix_vectors = nvme->max_vectors;
    info->msix_table = NVME_MSIX_TABLE;
    info->msix_pba = NVME_MSIX_PBA;
}

static void set_limits(struct nvme *nvme, const struct nvme_options *options)
{
    nvme->max_pairs = (unsigned)options->queues;
    nvme->max_vectors = (unsigned)(options->vectors ? options->vectors : options->queues + 1);
    nvme->irq = options->irq;
    if (nvme->irq == NVME_IRQ_INTX)
        nvme->max_vectors = 1;
    else if (nvme->irq == NVME_IRQ_MSI && nvme->max_vectors > MAX_MSI)
        nvme->max_vectors = MAX_MSI;
    nvme->max_transfer = options->mdts;
    nvme->max_spans = (unsigned)(options->mdts / 4096) + 1;
    nvme->offer_dbbuf = options->dbbuf;
    nvme->created_ns = vd_env_now(nvme->env);
    nvme->page_shift = 12;
}

static int nvme_create(const struct vd_env *env, struct sim_port *port, const char *address,
                       const void *values, struct sim_endpoint_info *info, void **endpoint,
                       struct vd_failure *failure)
{
    const struct nvme_options *options = values;
    struct nvme *nvme;
    int error = check_serial(options, address, failure);

    if (error)
        return error;
    nvme = vd_env_alloc(env, 1, sizeof(*nvme));
    if (!nvme)
        return vd_fail(failure, -ENOMEM, "%s: out of memory", address);
    nvme->env = env;
    nvme->port = port;
    set_limits(nvme, options);
    error = nvme_disk_open(&nvme->disk, env, address, options, failure);
    if (error)
        goto err_memory;
    if (make_requests(nvme) || nvme_pool_init(&nvme->pool, env, &nvme->disk, port)) {
        error = vd_fail(failure, -ENOMEM, "%s: no memory or threads for the controller; free some", address);
        goto err_disk;
    }
    set_identity(nvme, options);
    nvme_cap_init(nvme);
    nvme_features_reset(nvme);
    describe(nvme, info);
    *endpoint = nvme;
    return 0;

err_disk:
    nvme_disk_close(&nvme->disk);
err_memory:
    free_memory(nvme);
    return error;
}

static void nvme_destroy(void *endpoint)
{
    struct nvme *nvme = endpoint;

    nvme_reset(nvme);
    nvme_pool_finish(&nvme->pool);
    nvme_disk_close(&nvme->disk);
    free_memory(nvme);
}

const struct sim_endpoint_ops sim_nvme_ops = {
    .kind = "nvme",
    .summary = "NVMe 1.4 disk, in a file or in memory",
    .options = nvme_option_rows,
    .nr_options = sizeof(nvme_option_rows) / sizeof(nvme_option_rows[0]),
    .values_size = sizeof(struct nvme_options),
    .create = nvme_create,
    .destroy = nvme_destroy,
    .read = nvme_read,
    .write = nvme_write,
    .reset = nvme_reset,
    .dispatch = nvme_dispatch,
    .quiesce = nvme_quiesce,
};
