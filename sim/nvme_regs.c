/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Controller registers (3.1) and the life of a controller: enable, disable, shutdown, fatal status (7.3, 7.6, 9.5).
 * A write only records what was asked; nvme_lifecycle_step() does it from dispatch(), and never waits: a disable or
 * a shutdown goes on when the commands at work have ended.
 *
 * Invariant: state is NVME_RUNNING exactly while CSTS.RDY is set and CFS is not. Lock: none, the owner's thread.
 */
#include "sim/nvme.h"

#include "base/range.h"

enum { COMPLAINT_NS = 1000000000 };

void nvme_cap_init(struct nvme *nvme)
{
    nvme->cap = (NVME_MAX_ENTRIES - 1)          /* MQES, zero-based */
                | 1ull << 16                    /* CQR: queues are contiguous */
                | 60ull << 24                   /* TO: 30 s in units of 500 ms, for slow disks */
                | 1ull << 37                    /* CSS: the NVM command set */
                | (uint64_t)NVME_MAX_MPS << 52; /* MPSMAX; MPSMIN 0 is 4 KiB, DSTRD 0 is 4 bytes */
}

static uint32_t register32(const struct nvme *nvme, uint64_t offset)
{
    switch (offset) {
    case NVME_CAP:
        return (uint32_t)nvme->cap;
    case NVME_CAP + 4:
        return (uint32_t)(nvme->cap >> 32);
    case NVME_VS:
        return NVME_VERSION;
    case NVME_INTMS:
    case NVME_INTMC:
        return nvme->regs.intms;
    case NVME_CC:
        return nvme->regs.cc;
    case NVME_CSTS:
        return nvme->regs.csts;
    case NVME_AQA:
        return nvme->regs.aqa;
    case NVME_ASQ:
        return (uint32_t)nvme->regs.asq;
    case NVME_ASQ + 4:
        return (uint32_t)(nvme->regs.asq >> 32);
    case NVME_ACQ:
        return (uint32_t)nvme->regs.acq;
    case NVME_ACQ + 4:
        return (uint32_t)(nvme->regs.acq >> 32);
    default:
        return 0;
    }
}

uint64_t nvme_register_read(struct nvme *nvme, uint64_t offset, unsigned width)
{
    uint64_t base = offset & ~7ull;
    uint64_t whole = register32(nvme, base) | (uint64_t)register32(nvme, base + 4) << 32;

    whole >>= (offset & 7) * 8;
    return width == 8 ? whole : whole & ((1ull << width * 8) - 1);
}

static void write_cc(struct nvme *nvme, uint32_t value)
{
    uint32_t old = nvme->regs.cc;

    nvme->regs.cc = value & NVME_CC_WRITABLE;
    if (old & ~value & NVME_CC_EN) {
        nvme->asked |= NVME_ASK_STOP;
        nvme->epoch++;
    }
    if (NVME_CC_SHN(value) && !NVME_CC_SHN(old)) {
        nvme->asked |= NVME_ASK_SHUTDOWN;
        nvme->regs.csts = (nvme->regs.csts & ~NVME_CSTS_SHST) | NVME_CSTS_SHST_RUN;
    }
}

static uint64_t with_low(uint64_t old, uint32_t value, uint32_t mask)
{
    return (old & ~0xffffffffull) | (value & mask);
}

static uint64_t with_high(uint64_t old, uint32_t value)
{
    return (old & 0xffffffffull) | (uint64_t)value << 32;
}

static void write32(struct nvme *nvme, uint64_t offset, uint32_t value)
{
    switch (offset) {
    case NVME_INTMS:
        nvme->regs.intms |= value;
        nvme_irq_settle(nvme);
        break;
    case NVME_INTMC:
        nvme->regs.intms &= ~value;
        break;
    case NVME_CC:
        write_cc(nvme, value);
        break;
    case NVME_AQA:
        nvme->regs.aqa = value & 0x0fff0fff;
        break;
    case NVME_ASQ:
        nvme->regs.asq = with_low(nvme->regs.asq, value, 0xfffff000);
        break;
    case NVME_ASQ + 4:
        nvme->regs.asq = with_high(nvme->regs.asq, value);
        break;
    case NVME_ACQ:
        nvme->regs.acq = with_low(nvme->regs.acq, value, 0xfffff000);
        break;
    case NVME_ACQ + 4:
        nvme->regs.acq = with_high(nvme->regs.acq, value);
        break;
    default:
        if (offset >= NVME_DOORBELLS && offset < NVME_MSIX_TABLE)
            nvme_doorbell_write(nvme, offset, value);
    }
}

/* Registers are 4 or 8 bytes wide, and so must writes be (PCIe 3.1); narrower ones have no effect. */
void nvme_register_write(struct nvme *nvme, uint64_t offset, unsigned width, uint64_t value)
{
    if (width < 4)
        return;
    write32(nvme, offset, (uint32_t)value);
    if (width == 8)
        write32(nvme, offset + 4, (uint32_t)(value >> 32));
}

/* Guests can provoke these lines as often as they like. */
static bool may_complain(struct nvme *nvme)
{
    uint64_t now = vd_env_now(nvme->env);

    if (nvme->complained_ns && now - nvme->complained_ns < COMPLAINT_NS)
        return false;
    nvme->complained_ns = now;
    return true;
}

void nvme_fatal(struct nvme *nvme, const char *why)
{
    if (nvme->state == NVME_FAILED)
        return;
    if (!sim_port_can_master(
            nvme->port)) /* the host took it away, as it does before it lets go of a device */
        vd_info(nvme->env, "nvme: fatal status, bus mastering is off: %s", why);
    else if (may_complain(nvme))
        vd_warn(nvme->env, "nvme: fatal status: %s", why);
    nvme->state = NVME_FAILED;
    nvme->regs.csts |= NVME_CSTS_CFS;
}

static const char *cannot_enable(const struct nvme *nvme)
{
    uint32_t cc = nvme->regs.cc;
    uint64_t page = 4096ull << NVME_CC_MPS(cc);

    if (NVME_CC_MPS(cc) > NVME_MAX_MPS)
        return "CC.MPS is above CAP.MPSMAX";
    if (NVME_CC_CSS(cc) != 0)
        return "CC.CSS names no command set that CAP offers";
    if (NVME_CC_AMS(cc) != 0)
        return "CC.AMS is not round robin";
    if (!vd_is_aligned(nvme->regs.asq, page) || !vd_is_aligned(nvme->regs.acq, page))
        return "ASQ or ACQ is not aligned to a page";
    if ((nvme->regs.aqa & 0xfff) == 0 || nvme->regs.aqa >> 16 == 0)
        return "AQA has a queue of one entry";
    return NULL;
}

static void setup_admin_queue(struct nvme *nvme)
{
    struct nvme_sq *sq = &nvme->sqs[0];
    struct nvme_cq *cq = &nvme->cqs[0];
    uint32_t sq_size = (nvme->regs.aqa & 0xfff) + 1, cq_size = (nvme->regs.aqa >> 16) + 1;

    *cq = (struct nvme_cq){.valid = true, .irq_enabled = true, .phase = true, .size = cq_size, .users = 1};
    cq->ring = (struct nvme_view){
        .address = nvme->regs.acq, .size = cq_size * sizeof(struct nvme_completion), .access = SIM_WRITE};
    *sq = (struct nvme_sq){.valid = true, .size = sq_size, .cq = cq};
    sq->ring = (struct nvme_view){
        .address = nvme->regs.asq, .size = sq_size * sizeof(struct nvme_command), .access = SIM_READ};
    nvme->nr_sqs = 1;
}

/* 7.6.1 */
static void enable(struct nvme *nvme)
{
    const char *why = cannot_enable(nvme);

    if (why) {
        nvme_fatal(nvme, why);
        return;
    }
    nvme->epoch++; /* a shutdown that was asked for while disabled ends unseen */
    nvme->regs.csts &= ~NVME_CSTS_SHST;
    nvme->page_shift = 12 + NVME_CC_MPS(nvme->regs.cc);
    setup_admin_queue(nvme);
    nvme->state = NVME_RUNNING;
    nvme->regs.csts |= NVME_CSTS_RDY;
}

/* 7.6.2: what was completed is on the disk before the guest is told that it may switch off. */
static void start_shutdown(struct nvme *nvme)
{
    nvme->asked &= ~(unsigned)NVME_ASK_SHUTDOWN;
    nvme->shutdown = (struct nvme_request){.op = NVME_OP_SYNC, .epoch = nvme->epoch};
    nvme->shutdown_busy = true;
    nvme_pool_submit(&nvme->pool, &nvme->shutdown);
}

void nvme_shutdown_end(struct nvme *nvme, bool current)
{
    nvme->shutdown_busy = false;
    if (nvme->shutdown.result)
        nvme->sync_unheard = true; /* CSTS has no way to tell */
    if (!current)
        return;
    if (nvme->shutdown.result) {
        nvme->counters.media_errors++;
        if (may_complain(nvme))
            vd_err(nvme->env, "nvme: the image could not be synced at shutdown (errno %d)",
                   -nvme->shutdown.result);
    }
    nvme->regs.csts = (nvme->regs.csts & ~NVME_CSTS_SHST) | NVME_CSTS_SHST_END;
}

static bool quiet(const struct nvme *nvme)
{
    return nvme->nr_free == NVME_REQUESTS && !nvme->shutdown_busy;
}

bool nvme_lifecycle_due(const struct nvme *nvme)
{
    if (nvme->asked)
        return quiet(nvme);
    return nvme->state == NVME_OFF && (nvme->regs.cc & NVME_CC_EN);
}

bool nvme_lifecycle_step(struct nvme *nvme)
{
    if (!nvme_lifecycle_due(nvme))
        return false;
    if (nvme->asked & NVME_ASK_STOP) {
        nvme->asked &= ~(unsigned)NVME_ASK_STOP;
        nvme_controller_reset(nvme);
    } else if (nvme->asked & NVME_ASK_SHUTDOWN) {
        start_shutdown(nvme);
    } else {
        enable(nvme);
    }
    return true;
}

bool nvme_accepts(const struct nvme *nvme)
{
    return nvme->state == NVME_RUNNING && !nvme->asked && !(nvme->regs.csts & NVME_CSTS_SHST);
}

void nvme_controller_reset(struct nvme *nvme)
{
    memset(nvme->sqs, 0, sizeof(nvme->sqs));
    memset(nvme->cqs, 0, sizeof(nvme->cqs));
    memset(nvme->events, 0, sizeof(nvme->events));
    nvme->nr_sqs = nvme->turn = nvme->nr_event_cids = 0;
    nvme->dbbuf.on = false;
    nvme->state = NVME_OFF;
    nvme->asked &= ~(unsigned)NVME_ASK_SHUTDOWN;
    nvme->regs.csts = 0;
    nvme->regs.intms = 0;
    nvme->notify[0] = nvme->notify[1] = 0;
    nvme_features_reset(nvme);
    if (nvme->intx_level) {
        nvme->intx_level = false;
        sim_port_intx(nvme->port, false);
    }
}

void nvme_registers_reset(struct nvme *nvme)
{
    nvme->regs = (struct nvme_registers){0};
    nvme->asked = 0;
}
