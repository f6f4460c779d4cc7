/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Get Log Page (5.14), the error log behind it, and asynchronous events (5.2). An event type that was reported is held
 * back until its log has been read. Lock: none, the owner's thread.
 */
#include "sim/nvme.h"

enum {
    RETAIN_EVENT = 1 << 15,
    SPARE = 100, /* percent, always */
    SPARE_THRESHOLD = 10,
    WARN_TEMPERATURE = 1 << 1,
    NO_LOCATION = 0xffff,
};

static struct nvme_u128 u128(uint64_t value)
{
    return (struct nvme_u128){.low = vd_put64(value)};
}

/* 5.14.1.2: thousands of 512 bytes, rounded up. */
static struct nvme_u128 data_units(uint64_t bytes)
{
    return u128(bytes / 512000 + (bytes % 512000 != 0));
}

uint8_t nvme_temperature_warning(const struct nvme *nvme)
{
    return NVME_TEMPERATURE >= nvme->features.over_temperature ||
                   NVME_TEMPERATURE <= nvme->features.under_temperature
               ? WARN_TEMPERATURE
               : 0;
}

static size_t fill_smart(const struct nvme *nvme, struct nvme_smart *log)
{
    const struct nvme_counters *counters = &nvme->counters;
    uint64_t seconds = (vd_env_now(nvme->env) - nvme->created_ns) / 1000000000u;

    log->critical_warning = nvme_temperature_warning(nvme);
    log->temperature = vd_put16(NVME_TEMPERATURE);
    log->spare = SPARE;
    log->spare_threshold = SPARE_THRESHOLD;
    log->units_read = data_units(counters->read_bytes);
    log->units_written = data_units(counters->written_bytes);
    log->host_reads = u128(counters->reads);
    log->host_writes = u128(counters->writes);
    log->power_cycles = u128(1);
    log->power_on_hours = u128(seconds / 3600);
    log->media_errors = u128(counters->media_errors);
    log->error_entries = u128(counters->errors);
    return sizeof(*log);
}

/* Newest first, 5.14.1.1. */
static size_t fill_errors(const struct nvme *nvme, struct nvme_error_entry *log)
{
    uint64_t count = nvme->counters.errors < NVME_ERRORS ? nvme->counters.errors : NVME_ERRORS;

    for (uint64_t i = 0; i < count; i++)
        log[i] = nvme->errors[(nvme->counters.errors - 1 - i) % NVME_ERRORS];
    return sizeof(nvme->errors);
}

static size_t fill_firmware(struct nvme_firmware_log *log)
{
    log->active = 1;
    memset(log->slots[0], ' ', sizeof(log->slots[0]));
    memcpy(log->slots[0], VD_VERSION, sizeof(VD_VERSION) - 1);
    return sizeof(*log);
}
static_assert(sizeof(VD_VERSION) - 1 <= 8, "a firmware revision has 8 characters");

static size_t fill_effects(const struct nvme *nvme, struct nvme_effects_log *log)
{
    static const uint8_t admin[] = {
        NVME_ADMIN_DELETE_SQ,    NVME_ADMIN_CREATE_SQ,   NVME_ADMIN_GET_LOG, NVME_ADMIN_DELETE_CQ,
        NVME_ADMIN_CREATE_CQ,    NVME_ADMIN_IDENTIFY,    NVME_ADMIN_ABORT,   NVME_ADMIN_SET_FEATURES,
        NVME_ADMIN_GET_FEATURES, NVME_ADMIN_ASYNC_EVENT,
    };
    vd_le32 writes = vd_put32(NVME_EFFECT_SUPPORTED | NVME_EFFECT_WRITES);

    for (size_t i = 0; i < sizeof(admin); i++)
        log->admin[admin[i]] = vd_put32(NVME_EFFECT_SUPPORTED);
    if (nvme->offer_dbbuf)
        log->admin[NVME_ADMIN_DOORBELL_BUFFER] = vd_put32(NVME_EFFECT_SUPPORTED);
    log->io[NVME_IO_FLUSH] = log->io[NVME_IO_READ] = vd_put32(NVME_EFFECT_SUPPORTED);
    log->io[NVME_IO_WRITE] = log->io[NVME_IO_WRITE_ZEROES] = log->io[NVME_IO_DSM] = writes;
    return sizeof(*log);
}

/* Builds a log in nvme->page; its size, or 0 when there is no such log. */
static size_t fill(struct nvme *nvme, unsigned log)
{
    void *page = nvme->page;

    memset(page, 0, 4096);
    switch (log) {
    case NVME_LOG_ERROR:
        return fill_errors(nvme, page);
    case NVME_LOG_SMART:
        return fill_smart(nvme, page);
    case NVME_LOG_FIRMWARE:
        return fill_firmware(page);
    case NVME_LOG_CHANGED_NS:
        return 4096; /* none ever changes */
    case NVME_LOG_EFFECTS:
        return fill_effects(nvme, page);
    default:
        return 0;
    }
}

static void unmask_events(struct nvme *nvme, unsigned log)
{
    for (unsigned type = 0; type < NVME_EVENT_TYPES; type++) {
        if (nvme->events[type].log == log)
            nvme->events[type].masked = false;
    }
}

uint16_t nvme_log_get(struct nvme *nvme, struct nvme_request *request)
{
    const struct nvme_command *command = &request->command;
    uint32_t what = vd_get32(command->cdw10);
    uint64_t words = (what >> 16 | (uint64_t)(vd_get32(command->cdw11) & 0xffff) << 16) + 1;
    uint64_t offset = vd_get32(command->cdw12) | (uint64_t)vd_get32(command->cdw13) << 32;
    size_t size = fill(nvme, what & 0xff);
    uint16_t status;

    if (size == 0)
        return NVME_SC_LOG_PAGE | NVME_SC_DNR;
    if (offset >= size || offset & 3)
        return NVME_SC_FIELD | NVME_SC_DNR;
    status = nvme_admin_send(nvme, request, words * 4, (size_t)offset, size - (size_t)offset);
    if (!status && !(what & RETAIN_EVENT))
        unmask_events(nvme, what & 0xff);
    return status;
}

/* Commands that name an LBA in CDW10/11. */
static bool names_lba(const struct nvme_request *request)
{
    uint8_t opcode = request->command.opcode;

    return request->sq->id &&
           (opcode == NVME_IO_READ || opcode == NVME_IO_WRITE || opcode == NVME_IO_WRITE_ZEROES);
}

void nvme_log_error(struct nvme *nvme, const struct nvme_request *request, uint16_t status)
{
    struct nvme_error_entry *entry = &nvme->errors[nvme->counters.errors % NVME_ERRORS];
    const struct nvme_command *command = &request->command;
    uint64_t lba = vd_get32(command->cdw10) | (uint64_t)vd_get32(command->cdw11) << 32;

    nvme->counters.errors++;
    *entry = (struct nvme_error_entry){
        .count = vd_put64(nvme->counters.errors),
        .sq_id = vd_put16(request->sq->id),
        .cid = command->cid,
        .status = vd_put16((uint16_t)(status << 1)),
        .location = vd_put16(NO_LOCATION),
        .lba = vd_put64(names_lba(request) ? lba : 0),
        .nsid = command->nsid,
    };
}

void nvme_event_raise(struct nvme *nvme, enum nvme_event_type type, uint8_t info, enum nvme_log log)
{
    if (nvme->events[type].pending || nvme->events[type].masked)
        return;
    nvme->events[type].pending = true;
    nvme->events[type].info = info;
    nvme->events[type].log = (uint8_t)log;
}

bool nvme_event_deliver(struct nvme *nvme)
{
    bool did = false;

    for (unsigned type = 0; type < NVME_EVENT_TYPES; type++) {
        uint32_t result =
            type | (uint32_t)nvme->events[type].info << 8 | (uint32_t)nvme->events[type].log << 16;

        if (!nvme_accepts(nvme) || !nvme->events[type].pending || nvme->nr_event_cids == 0 ||
            !nvme_cq_has_room(nvme, &nvme->cqs[0]))
            continue;
        nvme->events[type].pending = false;
        nvme->events[type].masked = true;
        nvme->cqs[0].reserved++;
        nvme_cq_post(nvme, &nvme->sqs[0], nvme->event_cids[--nvme->nr_event_cids], NVME_OK, result);
        did = true;
    }
    return did;
}
