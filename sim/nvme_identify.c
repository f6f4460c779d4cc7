/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Identify (5.15): what the controller and its one namespace are. Each page is built in nvme->page when it is asked
 * for. Lock: none, the owner's thread.
 */
#include "sim/nvme.h"

#include <stdio.h>

enum {
    CNS_NAMESPACE = 0x00,
    CNS_CONTROLLER = 0x01,
    CNS_ACTIVE_LIST = 0x02,
    CNS_DESCRIPTORS = 0x03,
    CNS_SET_CONTROLLER = 0x06, /* command set specific, newer than 1.4 but asked for by Linux */
    OACS_DOORBELL_BUFFER = 1 << 8,
    ONCS_DSM = 1 << 2,
    ONCS_WRITE_ZEROES = 1 << 3,
    LPA_EFFECTS = 1 << 1,
    LPA_EXTENDED = 1 << 2,
    VWC_PRESENT_FLUSHES_ALL = 7, /* present; Flush with FFFFFFFFh is supported */
    NSFEAT_OPTIMAL = 1 << 4,     /* NPWG to NOWS are valid */
    DLFEAT_ZEROES = 1 | 1 << 3,  /* deallocated blocks read zeroes; Write Zeroes can deallocate */
    HOST_BLOCK = 4096,           /* what the host can give back */
};

static void fill_text(uint8_t *field, size_t size, const char *text)
{
    size_t length = strlen(text);

    memset(field, ' ', size);
    memcpy(field, text, length < size ? length : size);
}

static uint8_t transfer_exponent(const struct nvme *nvme)
{
    return (uint8_t)(__builtin_ctzll(nvme->max_transfer) - 12);
}

static void fill_controller(const struct nvme *nvme, struct nvme_id_controller *id)
{
    id->vid = id->ssvid = vd_put16(0x1234);
    memcpy(id->sn, nvme->serial, sizeof(id->sn));
    fill_text(id->mn, sizeof(id->mn), "Viaduct simulated NVMe disk");
    fill_text(id->fr, sizeof(id->fr), VD_VERSION);
    id->rab = 4;
    id->ieee[0] = 0x00;
    id->ieee[1] = 0x54;
    id->ieee[2] = 0x52;
    id->mdts = transfer_exponent(nvme);
    id->cntlid = vd_put16(1);
    id->ver = vd_put32(NVME_VERSION);
    id->rtd3e = vd_put32(1000000); /* µs to shut down */
    id->cntrltype = 1;             /* I/O controller */
    id->oacs = vd_put16(nvme->offer_dbbuf ? OACS_DOORBELL_BUFFER : 0);
    id->acl = 3;
    id->aerl = NVME_MAX_EVENTS - 1;
    id->frmw = 1 << 1 | 1; /* one slot, read-only */
    id->lpa = LPA_EFFECTS | LPA_EXTENDED;
    id->elpe = NVME_ERRORS - 1;
    id->wctemp = vd_put16(343);
    id->cctemp = vd_put16(353);
    id->sqes = NVME_SQES << 4 | NVME_SQES;
    id->cqes = NVME_CQES << 4 | NVME_CQES;
    id->nn = vd_put32(1);
    id->oncs = vd_put16(ONCS_DSM | ONCS_WRITE_ZEROES);
    id->vwc = VWC_PRESENT_FLUSHES_ALL;
    memcpy(id->subnqn, nvme->subnqn, sizeof(id->subnqn));
    id->psd[0].max_power = vd_put16(500); /* 5 W in units of 10 mW */
}

static void fill_namespace(const struct nvme *nvme, struct nvme_id_namespace *id)
{
    const struct nvme_disk *disk = &nvme->disk;
    uint16_t blocks = (uint16_t)((HOST_BLOCK >> disk->shift) - 1);

    id->nsze = id->ncap = id->nuse = vd_put64(disk->size >> disk->shift);
    id->nsfeat = NSFEAT_OPTIMAL;
    id->dlfeat = DLFEAT_ZEROES;
    id->npwg = id->npwa = id->npdg = id->npda = id->nows = vd_put16(blocks);
    id->nsattr = disk->readonly;
    memcpy(id->eui64, nvme->eui64, sizeof(id->eui64));
    id->lbaf[0].shift = (uint8_t)disk->shift;
}

static void fill_descriptors(const struct nvme *nvme, struct nvme_ns_descriptor_eui64 *descriptor)
{
    descriptor->type = 1;
    descriptor->length = sizeof(descriptor->eui64);
    memcpy(descriptor->eui64, nvme->eui64, sizeof(descriptor->eui64));
}

uint16_t nvme_identify_fill(struct nvme *nvme, const struct nvme_command *command)
{
    uint32_t nsid = vd_get32(command->nsid), set = vd_get32(command->cdw11) >> 24;
    void *page = nvme->page;

    memset(page, 0, 4096);
    switch (vd_get32(command->cdw10) & 0xff) {
    case CNS_NAMESPACE:
        fill_namespace(nvme, page);
        return nsid == 1 ? NVME_OK : NVME_SC_NAMESPACE | NVME_SC_DNR;
    case CNS_CONTROLLER:
        fill_controller(nvme, page);
        return NVME_OK;
    case CNS_ACTIVE_LIST:
        if (nsid >= 0xfffffffe)
            return NVME_SC_NAMESPACE | NVME_SC_DNR;
        vd_store32(page, nsid == 0 ? 1 : 0); /* the ids above the one given */
        return NVME_OK;
    case CNS_DESCRIPTORS:
        fill_descriptors(nvme, page);
        return nsid == 1 ? NVME_OK : NVME_SC_NAMESPACE | NVME_SC_DNR;
    case CNS_SET_CONTROLLER: /* all zero: no limits for the NVM command set */
        return set == 0 ? NVME_OK : NVME_SC_FIELD | NVME_SC_DNR;
    default:
        return NVME_SC_FIELD | NVME_SC_DNR;
    }
}
