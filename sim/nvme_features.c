/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Get Features and Set Features (5.13, 5.21). Nothing is saved across resets: Save is refused, and a reset brings the
 * defaults back. Select is not offered (ONCS), so the field is ignored. Lock: none, the owner's thread.
 */
#include "sim/nvme.h"

enum {
    THRESHOLD_MAX = 0xffff,
    OVER = 0,
    UNDER = 1,
    EVENT_TEMPERATURE = 1 << 1, /* in Asynchronous Event Configuration, 5.21.1.11 */
    EVENT_SMART_BITS = 0x1f,
};
#define SAVE (1u << 31)

void nvme_features_reset(struct nvme *nvme)
{
    nvme->features = (struct nvme_features){.over_temperature = THRESHOLD_MAX, .write_cache = true};
    nvme->pairs = nvme->max_pairs;
}

/* 5.21.1.4: which threshold is meant; NULL for a sensor that is not there. */
static uint32_t *threshold(struct nvme *nvme, uint32_t value, bool set)
{
    uint32_t sensor = value >> 16 & 15, kind = value >> 20 & 3;

    if (sensor != 0 && !(set && sensor == 15))
        return NULL;
    if (kind == OVER)
        return &nvme->features.over_temperature;
    return kind == UNDER ? &nvme->features.under_temperature : NULL;
}

static uint32_t granted_queues(const struct nvme *nvme)
{
    return (nvme->pairs - 1) | (nvme->pairs - 1) << 16;
}

uint16_t nvme_features_get(struct nvme *nvme, const struct nvme_command *command, uint32_t *result)
{
    const struct nvme_features *features = &nvme->features;
    uint32_t value = vd_get32(command->cdw11);
    uint32_t *limit;

    switch (vd_get32(command->cdw10) & 0xff) {
    case NVME_FEAT_ARBITRATION:
        *result = features->arbitration;
        return NVME_OK;
    case NVME_FEAT_POWER:
        *result = 0;
        return NVME_OK;
    case NVME_FEAT_TEMPERATURE:
        limit = threshold(nvme, value, false);
        *result = limit ? *limit : 0;
        return limit ? NVME_OK : NVME_SC_FIELD | NVME_SC_DNR;
    case NVME_FEAT_ERROR_RECOVERY:
        *result = features->error_recovery;
        return NVME_OK;
    case NVME_FEAT_WRITE_CACHE:
        *result = features->write_cache;
        return NVME_OK;
    case NVME_FEAT_QUEUES:
        *result = granted_queues(nvme);
        return NVME_OK;
    case NVME_FEAT_COALESCING:
        *result = features->coalescing;
        return NVME_OK;
    case NVME_FEAT_VECTOR:
        value &= 0xffff;
        if (value >= nvme->max_vectors)
            return NVME_SC_FIELD | NVME_SC_DNR;
        *result = value | (uint32_t)features->coalescing_off[value] << 16;
        return NVME_OK;
    case NVME_FEAT_ATOMICITY:
        *result = features->atomicity;
        return NVME_OK;
    case NVME_FEAT_ASYNC_EVENT:
        *result = features->events;
        return NVME_OK;
    default:
        return NVME_SC_FIELD | NVME_SC_DNR;
    }
}

static void check_temperature(struct nvme *nvme)
{
    if (nvme_temperature_warning(nvme) && (nvme->features.events & EVENT_TEMPERATURE))
        nvme_event_raise(nvme, NVME_EVENT_SMART, NVME_EVENT_TEMPERATURE, NVME_LOG_SMART);
}

static uint16_t set_threshold(struct nvme *nvme, uint32_t value)
{
    uint32_t *limit = threshold(nvme, value, true);

    if (!limit)
        return NVME_SC_FIELD | NVME_SC_DNR;
    *limit = value & 0xffff;
    check_temperature(nvme);
    return NVME_OK;
}

/* 5.21.1.7: only before the first I/O queue is made. */
static uint16_t set_queues(struct nvme *nvme, uint32_t value, uint32_t *result)
{
    uint32_t sqs = value & 0xffff, cqs = value >> 16;
    uint32_t wanted = (sqs > cqs ? sqs : cqs) + 1;

    if (sqs == 0xffff || cqs == 0xffff)
        return NVME_SC_FIELD | NVME_SC_DNR;
    for (unsigned id = 1; id < NVME_MAX_QUEUES; id++) {
        if (nvme->cqs[id].valid)
            return NVME_SC_SEQUENCE | NVME_SC_DNR;
    }
    nvme->pairs = wanted < nvme->max_pairs ? wanted : nvme->max_pairs;
    *result = granted_queues(nvme);
    return NVME_OK;
}

static uint16_t set_vector(struct nvme *nvme, uint32_t value)
{
    if ((value & 0xffff) >= nvme->max_vectors)
        return NVME_SC_FIELD | NVME_SC_DNR;
    nvme->features.coalescing_off[value & 0xffff] = value >> 16 & 1;
    return NVME_OK;
}

uint16_t nvme_features_set(struct nvme *nvme, const struct nvme_command *command, uint32_t *result)
{
    uint32_t what = vd_get32(command->cdw10), value = vd_get32(command->cdw11);

    if (what & SAVE)
        return NVME_SC_NOT_SAVEABLE | NVME_SC_DNR;
    switch (what & 0xff) {
    case NVME_FEAT_ARBITRATION:
        nvme->features.arbitration = value;
        return NVME_OK;
    case NVME_FEAT_POWER:
        return (value & 31) == 0 ? NVME_OK : NVME_SC_FIELD | NVME_SC_DNR; /* there is one power state */
    case NVME_FEAT_TEMPERATURE:
        return set_threshold(nvme, value);
    case NVME_FEAT_ERROR_RECOVERY:
        nvme->features.error_recovery = value & 0xffff;
        return NVME_OK;
    case NVME_FEAT_WRITE_CACHE:
        nvme->features.write_cache = value & 1;
        return NVME_OK;
    case NVME_FEAT_QUEUES:
        return set_queues(nvme, value, result);
    case NVME_FEAT_COALESCING:
        nvme->features.coalescing = value & 0xffff; /* a round of dispatch() coalesces already */
        return NVME_OK;
    case NVME_FEAT_VECTOR:
        return set_vector(nvme, value);
    case NVME_FEAT_ATOMICITY:
        nvme->features.atomicity = value & 1;
        return NVME_OK;
    case NVME_FEAT_ASYNC_EVENT:
        nvme->features.events = value & EVENT_SMART_BITS;
        check_temperature(nvme);
        return NVME_OK;
    default:
        return NVME_SC_FIELD | NVME_SC_DNR;
    }
}
