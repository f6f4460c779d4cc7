/* SPDX-License-Identifier: BSD-3-Clause */
/* Bringing memory, interrupts and the controller up, and running commands; see nvme_exerciser.h. */
#include "nvme_exerciser_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "base/le.h"

uint64_t ex_data_offset(void)
{
    return AT_DATA;
}

/* Memory. */

static int remote_read(void *opaque, uint64_t address, void *buffer, size_t size)
{
    struct exerciser *ex = opaque;

    if (address > EX_ARENA || size > EX_ARENA - address)
        return -EIO;
    memcpy(buffer, ex->arena + address, size);
    return 0;
}

static int remote_write(void *opaque, uint64_t address, const void *buffer, size_t size)
{
    struct exerciser *ex = opaque;

    if (address > EX_ARENA || size > EX_ARENA - address)
        return -EIO;
    memcpy(ex->arena + address, buffer, size);
    return 0;
}

uint64_t ex_bus(const struct exerciser *ex, uint64_t offset)
{
    for (unsigned i = 0; i < ex->nr_spans; i++) {
        const struct ex_span *span = &ex->spans[i];

        if (offset >= span->offset && offset - span->offset < span->size)
            return span->iova + (offset - span->offset);
    }
    return 0;
}

static void forget_spans(struct exerciser *ex, unsigned chunk)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < ex->nr_spans; i++) {
        if (ex->spans[i].offset / EX_CHUNK != chunk)
            ex->spans[kept++] = ex->spans[i];
    }
    ex->nr_spans = kept;
}

int ex_map_chunk(struct exerciser *ex, unsigned chunk)
{
    struct vd_dma_segment segments[16];
    uint64_t offset = (uint64_t)chunk * EX_CHUNK;
    const struct vd_dma_info *info = vd_dma_info(ex->device);
    const struct vd_dma_file file = {ex->arena_fd, offset};
    struct vd_dma_map map = {.host = ex->options.remote ? NULL : ex->arena + offset,
                             .file = &file,
                             .remote = ex->options.remote ? &ex->remote : NULL,
                             .remote_address = ex->options.remote ? offset : 0,
                             .size = EX_CHUNK,
                             .access = VD_ACCESS_READ | VD_ACCESS_WRITE,
                             /* with gaps, so that running over an end is noticed */
                             .iova = {info->first.value + (UINT64_C(1) << 36) + 2 * offset},
                             .segments = segments,
                             .max_segments = 16};
    int error = vd_dma_map(ex->device, &map, 1);

    if (error)
        return error;
    ex->mappings[chunk] = map.mapping;
    for (uint32_t i = 0; i < map.nr_segments; i++) {
        ex->spans[ex->nr_spans++] = (struct ex_span){offset, segments[i].iova.value, segments[i].size};
        offset += segments[i].size;
    }
    return offset == (uint64_t)(chunk + 1) * EX_CHUNK ? 0 : -EPROTO;
}

int ex_map(struct exerciser *ex)
{
    int error = 0;

    for (unsigned chunk = 0; chunk < EX_MAPPINGS && !error; chunk++)
        error = ex_map_chunk(ex, chunk);
    if (error)
        ex_unmap(ex);
    return error;
}

void ex_unmap_chunk(struct exerciser *ex, unsigned chunk)
{
    vd_dma_unmap(ex->device, &ex->mappings[chunk], 1);
    ex->mappings[chunk] = NULL;
    forget_spans(ex, chunk);
}

void ex_unmap(struct exerciser *ex)
{
    vd_dma_unmap(ex->device, ex->mappings, EX_MAPPINGS);
    memset(ex->mappings, 0, sizeof(ex->mappings));
    ex->nr_spans = 0;
}

/* Registers and doorbells. */

int ex_read32(struct exerciser *ex, uint64_t offset, uint32_t *value)
{
    uint8_t bytes[4];
    int error = vd_region_read(ex->device, VD_REGION_BAR0, offset, bytes, sizeof(bytes));

    *value = error ? 0 : vd_load32(bytes);
    return error;
}

int ex_write32(struct exerciser *ex, uint64_t offset, uint32_t value)
{
    uint8_t bytes[4];

    vd_store32(bytes, value);
    return vd_region_write(ex->device, VD_REGION_BAR0, offset, bytes, sizeof(bytes));
}

static int write64(struct exerciser *ex, uint64_t offset, uint64_t value)
{
    uint8_t bytes[8];

    vd_store64(bytes, value);
    return vd_region_write(ex->device, VD_REGION_BAR0, offset, bytes, sizeof(bytes));
}

/* [7.13]: the doorbell itself only when the event index was passed. */
static bool must_ring(struct exerciser *ex, uint64_t slot, uint16_t value)
{
    uint32_t *shadow = (uint32_t *)(void *)(ex->arena + AT_SHADOW + slot);
    const uint32_t *event = (const uint32_t *)(const void *)(ex->arena + AT_EVENTS + slot);
    uint16_t old = (uint16_t)__atomic_exchange_n(shadow, value, __ATOMIC_SEQ_CST);
    uint16_t index = (uint16_t)__atomic_load_n(event, __ATOMIC_SEQ_CST);

    return (uint16_t)(value - index - 1) < (uint16_t)(value - old);
}

static int ring(struct exerciser *ex, unsigned queue, bool completion, uint16_t value)
{
    uint64_t slot = queue * 8 + (completion ? 4 : 0);

    if (queue && ex->dbbuf_on && !must_ring(ex, slot, value))
        return 0;
    ex->doorbells++;
    return ex_write32(ex, DOORBELLS + slot, value);
}

static uint64_t sq_at(unsigned queue)
{
    return queue ? AT_SQ + (queue - 1) * (uint64_t)PAGE : AT_ASQ;
}

static uint64_t cq_at(unsigned queue)
{
    return queue ? AT_CQ + (queue - 1) * (uint64_t)PAGE : AT_ACQ;
}

/* Submission entry [4.2]. */
int ex_submit(struct exerciser *ex, unsigned queue, uint16_t cid, const struct ex_fields *fields)
{
    struct ex_queue *q = &ex->queues[queue];
    uint8_t *entry = ex->arena + sq_at(queue) + q->tail * 64u;

    memset(entry, 0, 64);
    entry[0] = fields->opcode;
    vd_store16(entry + 2, cid);
    vd_store32(entry + 4, fields->nsid);
    vd_store64(entry + 24, fields->prp1);
    vd_store64(entry + 32, fields->prp2);
    vd_store32(entry + 40, fields->cdw10);
    vd_store32(entry + 44, fields->cdw11);
    vd_store32(entry + 48, fields->cdw12);
    q->tail = (uint16_t)((q->tail + 1) % EX_ENTRIES);
    ex->slots[cid] = (struct ex_slot){.busy = true,
                                      .opcode = fields->opcode,
                                      .lba = ex->slots[cid].lba,
                                      .blocks = ex->slots[cid].blocks,
                                      .stamp = ex->slots[cid].stamp,
                                      .data = ex->slots[cid].data};
    return ring(ex, queue, false, q->tail);
}

/* Takes all completions [4.6] of a queue; how many in *count. */
static int reap(struct exerciser *ex, unsigned queue, unsigned *count)
{
    struct ex_queue *q = &ex->queues[queue];
    unsigned before = *count;

    for (;;) {
        const uint8_t *entry = ex->arena + cq_at(queue) + q->head * 16u;
        uint32_t last = __atomic_load_n((const uint32_t *)(const void *)(entry + 12), __ATOMIC_ACQUIRE);
        uint16_t cid = (uint16_t)(VD_LE_SWAP32(last) & 0xffff);

        if ((VD_LE_SWAP32(last) >> 16 & 1) != q->phase)
            break;
        if (cid > EX_ADMIN || !ex->slots[cid].busy || vd_load16(entry + 10) != queue)
            return -EPROTO;
        ex->slots[cid].busy = false;
        ex->slots[cid].done = true;
        ex->slots[cid].status = (uint16_t)(VD_LE_SWAP32(last) >> 17 & 0x7ff);
        ex->slots[cid].result = vd_load32(entry);
        q->head = (uint16_t)((q->head + 1) % EX_ENTRIES);
        q->phase ^= q->head == 0;
        (*count)++;
    }
    return *count == before ? 0 : ring(ex, queue, true, q->head);
}

/* Waiting. */

/* True when a queue's interrupt came (or when they are polled). */
static bool signalled(struct exerciser *ex, unsigned queue)
{
    if (ex->options.wait == EX_POLL)
        return true;
    return vd_notifier_drain(&ex->notifiers[queue < ex->nr_notifiers ? queue : 0]);
}

static int reap_signalled(struct exerciser *ex, unsigned *count)
{
    bool shared = ex->nr_notifiers == 1 && ex->options.wait != EX_POLL;
    bool any = shared && signalled(ex, 0);
    int error = 0;

    ex->interrupts += any;
    for (unsigned queue = 0; queue <= EX_QUEUES && !error; queue++) {
        bool now = shared ? any : signalled(ex, queue);

        ex->interrupts += now && !shared;
        if (now)
            error = reap(ex, queue, count);
    }
    if (any && ex->options.wait == EX_INTX && !error)
        error = vd_irq_unmask(ex->device, VD_IRQ_INTX, 0, 1);
    return error;
}

static int sleep_now(struct exerciser *ex)
{
    struct pollfd fds[EX_QUEUES + 2] = {{.fd = vd_device_poll_fd(ex->device), .events = POLLIN}};
    nfds_t count = 1;

    for (unsigned i = 0; i < ex->nr_notifiers; i++)
        fds[count++] = (struct pollfd){.fd = ex->notifiers[i].read_fd, .events = POLLIN};
    return poll(fds, count, SILENCE_MS) > 0 ? 0 : -ETIMEDOUT;
}

/* For what no interrupt announces: a device in another process does not wake us, so looks again soon. */
static int nap(struct exerciser *ex, unsigned *naps)
{
    struct pollfd fd = {.fd = vd_device_poll_fd(ex->device), .events = POLLIN};

    poll(&fd, 1, 1);
    return ++*naps < SILENCE_MS ? 0 : -ETIMEDOUT;
}

int ex_wait_some(struct exerciser *ex)
{
    unsigned count = 0, naps = 0;
    int error = reap_signalled(ex, &count);

    while (!error && !count) {
        bool did = vd_device_dispatch(ex->device, true);

        error = reap_signalled(ex, &count);
        if (!error && !count && !did)
            error = ex->options.wait == EX_POLL ? nap(ex, &naps) : sleep_now(ex);
    }
    return error;
}

/* Until CSTS & mask is `value`; CFS is an error. */
static int wait_csts(struct exerciser *ex, uint32_t mask, uint32_t value)
{
    unsigned naps = 0;

    for (;;) {
        uint32_t csts;
        int error = ex_read32(ex, CSTS, &csts);

        if (error || (csts & mask) == value)
            return error;
        if (csts & 2)
            return -EPROTO;
        if (!vd_device_dispatch(ex->device, true)) {
            error = ex_read32(ex, CSTS, &csts);
            if (!error && (csts & mask) != value)
                error = nap(ex, &naps);
            if (error)
                return error;
        }
    }
}

static int admin(struct exerciser *ex, const struct ex_fields *fields, uint32_t *result)
{
    int error = ex_submit(ex, 0, EX_ADMIN, fields);

    while (!error && !ex->slots[EX_ADMIN].done)
        error = ex_wait_some(ex);
    if (result)
        *result = ex->slots[EX_ADMIN].result;
    if (!error && ex->slots[EX_ADMIN].status)
        error = -EREMOTEIO;
    return error;
}

/* Bringing up. */

static int enable_memory_and_mastering(struct exerciser *ex)
{
    static const uint8_t command[2] = {0x06, 0}; /* PCI 6.2.2: memory space, bus master */

    return vd_region_write(ex->device, VD_REGION_CONFIG, 4, command, sizeof(command));
}

static int enable(struct exerciser *ex)
{
    int error = ex_write32(ex, CC, 0);

    if (!error)
        error = wait_csts(ex, 1, 0);
    if (!error)
        error = ex_write32(ex, AQA, (EX_ENTRIES - 1) << 16 | (EX_ENTRIES - 1));
    if (!error)
        error = write64(ex, ASQ, ex_bus(ex, AT_ASQ));
    if (!error)
        error = write64(ex, ACQ, ex_bus(ex, AT_ACQ));
    if (!error)
        error = ex_write32(ex, CC, 1 | 6 << 16 | 4 << 20);
    return error ? error : wait_csts(ex, 1, 1);
}

static int identify(struct exerciser *ex)
{
    struct ex_fields fields = {.opcode = IDENTIFY, .prp1 = ex_bus(ex, AT_IDENTIFY), .cdw10 = 1};
    const uint8_t *page = ex->arena + AT_IDENTIFY;
    int error = admin(ex, &fields, NULL);

    if (error)
        return error;
    if (ex->options.dbbuf != !!(vd_load16(page + 256) & 1 << 8)) /* OACS [5.15.2.2] */
        return -EPROTO;
    fields.cdw10 = 0;
    fields.nsid = 1;
    error = admin(ex, &fields, NULL);
    if (error)
        return error;
    ex->blocks = vd_load64(page);
    ex->sector = 1u << page[130]; /* LBAF 0, LBADS [5.15.2.1] */
    return ex->sector == 512 || ex->sector == PAGE ? 0 : -EPROTO;
}

static int create_queues(struct exerciser *ex)
{
    struct ex_fields fields = {.opcode = SET_FEATURES, .cdw10 = 7, .cdw11 = (EX_QUEUES - 1) * 0x10001u};
    uint32_t granted;
    int error = admin(ex, &fields, &granted);

    if (!error && granted != (EX_QUEUES - 1) * 0x10001u)
        error = -EPROTO;
    for (unsigned queue = 1; queue <= EX_QUEUES && !error; queue++) {
        uint32_t vector = queue < ex->nr_notifiers ? queue : 0;

        fields = (struct ex_fields){.opcode = CREATE_CQ,
                                    .prp1 = ex_bus(ex, cq_at(queue)),
                                    .cdw10 = queue | (EX_ENTRIES - 1) << 16,
                                    .cdw11 = 3 | vector << 16};
        error = admin(ex, &fields, NULL);
        if (error)
            break;
        fields.opcode = CREATE_SQ;
        fields.prp1 = ex_bus(ex, sq_at(queue));
        fields.cdw11 = 1 | queue << 16;
        error = admin(ex, &fields, NULL);
    }
    return error;
}

static int shadow_on(struct exerciser *ex)
{
    struct ex_fields fields = {
        .opcode = DOORBELL_BUFFER, .prp1 = ex_bus(ex, AT_SHADOW), .prp2 = ex_bus(ex, AT_EVENTS)};
    int error = ex->options.dbbuf ? admin(ex, &fields, NULL) : 0;

    ex->dbbuf_on = ex->options.dbbuf && !error;
    return error;
}

/* A new disk is all zeroes; of another one ex_learn() finds out. */
static int make_model(struct exerciser *ex)
{
    if (ex->stamps)
        return 0;
    ex->stamps = calloc(ex->blocks, sizeof(*ex->stamps));
    return ex->stamps ? 0 : -ENOMEM;
}

int ex_bring_up(struct exerciser *ex)
{
    int error;

    memset(ex->arena, 0, AT_DATA);
    memset(ex->slots, 0, sizeof(ex->slots));
    memset(ex->queues, 0, sizeof(ex->queues));
    for (unsigned queue = 0; queue <= EX_QUEUES; queue++)
        ex->queues[queue].phase = true;
    ex->dbbuf_on = false;
    error = enable_memory_and_mastering(ex);
    if (!error)
        error = enable(ex);
    if (!error)
        error = identify(ex);
    if (!error)
        error = make_model(ex);
    if (!error)
        error = create_queues(ex);
    return error ? error : shadow_on(ex);
}

static unsigned irq_index(const struct exerciser *ex)
{
    return ex->options.wait == EX_MSIX ? VD_IRQ_MSIX : ex->options.wait == EX_MSI ? VD_IRQ_MSI : VD_IRQ_INTX;
}

int ex_route(struct exerciser *ex)
{
    int fds[EX_QUEUES + 1];
    int error = 0;

    for (unsigned i = 0; i < ex->nr_notifiers && !error; i++) {
        struct vd_notifier copy; /* routed descriptors become the device's */

        error = vd_notifier_init(&copy, VD_NOTIFIER_PIPE);
        if (error)
            break;
        vd_notifier_finish(&ex->notifiers[i]);
        ex->notifiers[i] = (struct vd_notifier){copy.read_fd, -1};
        fds[i] = copy.write_fd;
        error = vd_irq_route(ex->device, irq_index(ex), i, 1, &fds[i]);
        if (error)
            ex->notifiers[i].write_fd = fds[i];
    }
    return error;
}

int ex_init(struct exerciser *ex, struct vd_device *device, const struct ex_options *options)
{
    struct vd_irq_info info = {0};

    memset(ex, 0, sizeof(*ex));
    ex->device = device;
    ex->options = *options;
    ex->noise = 1;
    ex->next_stamp = 1;
    ex->remote = (struct vd_dma_remote){remote_read, remote_write, ex};
    for (unsigned i = 0; i <= EX_QUEUES; i++)
        ex->notifiers[i] = (struct vd_notifier){-1, -1};
    (void)vd_irq_info(device, irq_index(ex), &info);
    if (options->wait != EX_POLL)
        ex->nr_notifiers = info.count > EX_QUEUES ? EX_QUEUES + 1 : 1;
    ex->arena = arena_create(EX_ARENA, &ex->arena_fd);
    if (!ex->arena)
        return -ENOMEM;
    return options->wait == EX_POLL || info.count ? 0 : -EPROTO;
}

void ex_finish(struct exerciser *ex)
{
    if (ex->device)
        ex_unmap(ex);
    for (unsigned i = 0; i <= EX_QUEUES; i++)
        vd_notifier_finish(&ex->notifiers[i]);
    arena_destroy(ex->arena, EX_ARENA, ex->arena_fd);
    ex->arena = NULL;
    free(ex->stamps);
    ex->stamps = NULL;
}

int ex_start(struct exerciser *ex, struct vd_device *device, const struct ex_options *options)
{
    int error = ex_init(ex, device, options);

    if (!error)
        error = ex_map(ex);
    if (!error)
        error = ex_route(ex);
    if (!error)
        error = ex_bring_up(ex);
    if (error)
        ex_finish(ex);
    return error;
}

int ex_shutdown(struct exerciser *ex)
{
    int error = ex_write32(ex, CC, 1 | 1 << 14 | 6 << 16 | 4 << 20);

    return error ? error : wait_csts(ex, 0xc, 0x8);
}
