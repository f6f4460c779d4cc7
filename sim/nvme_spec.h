/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The layouts and numbers of NVM Express that the simulated controller needs. Section numbers are those of NVM Express
 * Base Specification 1.4 (the version that the controller reports); "PCIe" means the NVMe over PCIe transport.
 * Layouts are made of bytes and vd_le types, so they can be copied to and from guest memory as they are.
 */
#ifndef SIM_NVME_SPEC_H
#define SIM_NVME_SPEC_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "base/le.h"

/* Controller registers, 3.1. */
enum nvme_register {
    NVME_CAP = 0x00,
    NVME_VS = 0x08,
    NVME_INTMS = 0x0c,
    NVME_INTMC = 0x10,
    NVME_CC = 0x14,
    NVME_CSTS = 0x1c,
    NVME_AQA = 0x24,
    NVME_ASQ = 0x28,
    NVME_ACQ = 0x30,
    NVME_DOORBELLS = 0x1000, /* SQ y tail at + 8y, CQ y head at + 8y + 4 with CAP.DSTRD 0 (PCIe 3.1.2) */
};

/* CC, 3.1.5. */
#define NVME_CC_EN       0x1u
#define NVME_CC_CSS(v)   (((v) >> 4) & 7)
#define NVME_CC_MPS(v)   (((v) >> 7) & 15)
#define NVME_CC_AMS(v)   (((v) >> 11) & 7)
#define NVME_CC_SHN(v)   (((v) >> 14) & 3)
#define NVME_CC_SQES(v)  (((v) >> 16) & 15)
#define NVME_CC_CQES(v)  (((v) >> 20) & 15)
#define NVME_CC_WRITABLE 0x00fffff1u

/* CSTS, 3.1.6. */
#define NVME_CSTS_RDY      0x1u
#define NVME_CSTS_CFS      0x2u
#define NVME_CSTS_SHST     0xcu /* both bits of the field */
#define NVME_CSTS_SHST_RUN 0x4u
#define NVME_CSTS_SHST_END 0x8u

#define NVME_VERSION 0x00010400u

/* Log2 of an entry's bytes, as in CC.IOSQES and CC.IOCQES. */
enum { NVME_SQES = 6, NVME_CQES = 4 };

/* Admin opcodes, section 5. */
enum nvme_admin_opcode {
    NVME_ADMIN_DELETE_SQ = 0x00,
    NVME_ADMIN_CREATE_SQ = 0x01,
    NVME_ADMIN_GET_LOG = 0x02,
    NVME_ADMIN_DELETE_CQ = 0x04,
    NVME_ADMIN_CREATE_CQ = 0x05,
    NVME_ADMIN_IDENTIFY = 0x06,
    NVME_ADMIN_ABORT = 0x08,
    NVME_ADMIN_SET_FEATURES = 0x09,
    NVME_ADMIN_GET_FEATURES = 0x0a,
    NVME_ADMIN_ASYNC_EVENT = 0x0c,
    NVME_ADMIN_DOORBELL_BUFFER = 0x7c,
};

/* NVM command set opcodes, section 6. */
enum nvme_io_opcode {
    NVME_IO_FLUSH = 0x00,
    NVME_IO_WRITE = 0x01,
    NVME_IO_READ = 0x02,
    NVME_IO_WRITE_ZEROES = 0x08,
    NVME_IO_DSM = 0x09,
};

/*
 * Status as in bits 15:1 of the last completion word, 4.6.1: code in 7:0, type in 10:8, More in 13, Do Not Retry in 14.
 */
enum nvme_status {
    NVME_OK = 0,
    NVME_SC_OPCODE = 0x001,
    NVME_SC_FIELD = 0x002,
    NVME_SC_TRANSFER = 0x004,
    NVME_SC_INTERNAL = 0x006,
    NVME_SC_ABORTED = 0x007,
    NVME_SC_NAMESPACE = 0x00b,
    NVME_SC_SEQUENCE = 0x00c,
    NVME_SC_PRP_OFFSET = 0x013,
    NVME_SC_WRITE_PROTECTED = 0x020,
    NVME_SC_LBA_RANGE = 0x080,
    NVME_SC_CQ_INVALID = 0x100,
    NVME_SC_QUEUE_ID = 0x101,
    NVME_SC_QUEUE_SIZE = 0x102,
    NVME_SC_AER_LIMIT = 0x105,
    NVME_SC_VECTOR = 0x108,
    NVME_SC_LOG_PAGE = 0x109,
    NVME_SC_QUEUE_DELETION = 0x10c,
    NVME_SC_NOT_SAVEABLE = 0x10d,
    NVME_SC_NOT_CHANGEABLE = 0x10e,
    NVME_SC_WRITE_FAULT = 0x280,
    NVME_SC_READ_ERROR = 0x281,
    NVME_SC_MORE = 0x2000,
    NVME_SC_DNR = 0x4000,
};

/* Feature identifiers, 5.21.1. */
enum nvme_feature {
    NVME_FEAT_ARBITRATION = 0x01,
    NVME_FEAT_POWER = 0x02,
    NVME_FEAT_TEMPERATURE = 0x04,
    NVME_FEAT_ERROR_RECOVERY = 0x05,
    NVME_FEAT_WRITE_CACHE = 0x06,
    NVME_FEAT_QUEUES = 0x07,
    NVME_FEAT_COALESCING = 0x08,
    NVME_FEAT_VECTOR = 0x09,
    NVME_FEAT_ATOMICITY = 0x0a,
    NVME_FEAT_ASYNC_EVENT = 0x0b,
};

/* Log identifiers, 5.14.1. */
enum nvme_log {
    NVME_LOG_ERROR = 0x01,
    NVME_LOG_SMART = 0x02,
    NVME_LOG_FIRMWARE = 0x03,
    NVME_LOG_CHANGED_NS = 0x04,
    NVME_LOG_EFFECTS = 0x05,
};

/* Asynchronous events, 5.2.1: the type, and the information within it. */
enum nvme_event_type { NVME_EVENT_ERROR = 0, NVME_EVENT_SMART = 1, NVME_EVENT_TYPES = 2 };
enum { NVME_EVENT_BAD_DOORBELL = 0, NVME_EVENT_BAD_VALUE = 1, NVME_EVENT_TEMPERATURE = 1 };

/* Submission queue entry, 4.2. */
struct nvme_command {
    uint8_t opcode;
    uint8_t flags; /* FUSE in 1:0, PSDT in 7:6 */
    vd_le16 cid;
    vd_le32 nsid;
    vd_le32 cdw2, cdw3;
    vd_le64 mptr;
    vd_le64 prp1, prp2;
    vd_le32 cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};
static_assert(sizeof(struct nvme_command) == 64, "4.2");
static_assert(offsetof(struct nvme_command, prp1) == 24, "4.2");
static_assert(offsetof(struct nvme_command, cdw10) == 40, "4.2");

/* Completion queue entry, 4.6. */
struct nvme_completion {
    vd_le32 result;
    vd_le32 reserved;
    vd_le16 sq_head, sq_id;
    vd_le16 cid, status; /* status: phase in bit 0, enum nvme_status above it */
};
static_assert(sizeof(struct nvme_completion) == 16, "4.6");
static_assert(offsetof(struct nvme_completion, cid) == 12, "4.6");

/* Dataset Management range, 6.7. */
struct nvme_dsm_range {
    vd_le32 attributes;
    vd_le32 blocks;
    vd_le64 first;
};
static_assert(sizeof(struct nvme_dsm_range) == 16, "6.7");

/* Power state descriptor, 5.15.2.2. */
struct nvme_power_state {
    vd_le16 max_power;
    uint8_t reserved[30];
};
static_assert(sizeof(struct nvme_power_state) == 32, "5.15.2.2");

/* Identify Controller, 5.15.2.2; fields that stay zero are part of the gaps. */
struct nvme_id_controller {
    vd_le16 vid, ssvid;
    uint8_t sn[20], mn[40], fr[8];
    uint8_t rab;
    uint8_t ieee[3];
    uint8_t cmic;
    uint8_t mdts;
    vd_le16 cntlid;
    vd_le32 ver, rtd3r, rtd3e, oaes, ctratt;
    uint8_t gap100[11];
    uint8_t cntrltype;
    uint8_t gap112[144];
    vd_le16 oacs;
    uint8_t acl, aerl, frmw, lpa, elpe, npss, avscc, apsta;
    vd_le16 wctemp, cctemp;
    uint8_t gap270[242];
    uint8_t sqes, cqes;
    vd_le16 maxcmd;
    vd_le32 nn;
    vd_le16 oncs, fuses;
    uint8_t fna, vwc;
    vd_le16 awun, awupf;
    uint8_t gap530[6];
    vd_le32 sgls, mnan;
    uint8_t gap544[224];
    uint8_t subnqn[256];
    uint8_t gap1024[1024];
    struct nvme_power_state psd[32];
    uint8_t vendor[1024];
};
static_assert(sizeof(struct nvme_id_controller) == 4096, "5.15.2.2");
static_assert(offsetof(struct nvme_id_controller, mdts) == 77, "5.15.2.2");
static_assert(offsetof(struct nvme_id_controller, cntrltype) == 111, "5.15.2.2");
static_assert(offsetof(struct nvme_id_controller, oacs) == 256, "5.15.2.2");
static_assert(offsetof(struct nvme_id_controller, wctemp) == 266, "5.15.2.2");
static_assert(offsetof(struct nvme_id_controller, sqes) == 512, "5.15.2.2");
static_assert(offsetof(struct nvme_id_controller, vwc) == 525, "5.15.2.2");
static_assert(offsetof(struct nvme_id_controller, sgls) == 536, "5.15.2.2");
static_assert(offsetof(struct nvme_id_controller, subnqn) == 768, "5.15.2.2");
static_assert(offsetof(struct nvme_id_controller, psd) == 2048, "5.15.2.2");

struct nvme_lba_format {
    vd_le16 metadata;
    uint8_t shift; /* log2 of a block's bytes */
    uint8_t performance;
};

/* Identify Namespace, 5.15.2.1. */
struct nvme_id_namespace {
    vd_le64 nsze, ncap, nuse;
    uint8_t nsfeat, nlbaf, flbas, mc, dpc, dps, nmic, rescap, fpi, dlfeat;
    uint8_t gap34[30];
    vd_le16 npwg, npwa, npdg, npda, nows;
    uint8_t gap74[25];
    uint8_t nsattr;
    uint8_t gap100[4];
    uint8_t nguid[16];
    uint8_t eui64[8];
    struct nvme_lba_format lbaf[16];
    uint8_t gap192[3904];
};
static_assert(sizeof(struct nvme_id_namespace) == 4096, "5.15.2.1");
static_assert(offsetof(struct nvme_id_namespace, dlfeat) == 33, "5.15.2.1");
static_assert(offsetof(struct nvme_id_namespace, npwg) == 64, "5.15.2.1");
static_assert(offsetof(struct nvme_id_namespace, nsattr) == 99, "5.15.2.1");
static_assert(offsetof(struct nvme_id_namespace, eui64) == 120, "5.15.2.1");
static_assert(offsetof(struct nvme_id_namespace, lbaf) == 128, "5.15.2.1");

/* Namespace identification descriptor for an EUI-64, 5.15.2.3. */
struct nvme_ns_descriptor_eui64 {
    uint8_t type; /* 1 */
    uint8_t length;
    uint8_t reserved[2];
    uint8_t eui64[8];
};
static_assert(sizeof(struct nvme_ns_descriptor_eui64) == 12, "5.15.2.3");

/* 128-bit counters; the high half stays zero here. */
struct nvme_u128 {
    vd_le64 low, high;
};

/* Error Information entry, 5.14.1.1. */
struct nvme_error_entry {
    vd_le64 count;
    vd_le16 sq_id, cid, status, location;
    vd_le64 lba;
    vd_le32 nsid;
    uint8_t reserved28[36];
};
static_assert(sizeof(struct nvme_error_entry) == 64, "5.14.1.1");
static_assert(offsetof(struct nvme_error_entry, nsid) == 24, "5.14.1.1");

/* SMART / Health Information, 5.14.1.2. */
struct nvme_smart {
    uint8_t critical_warning;
    vd_le16 temperature; /* kelvins */
    uint8_t spare, spare_threshold, percent_used;
    uint8_t reserved6[26];
    struct nvme_u128 units_read, units_written; /* thousands of 512 bytes, rounded up */
    struct nvme_u128 host_reads, host_writes;
    struct nvme_u128 busy_minutes, power_cycles, power_on_hours, unsafe_shutdowns, media_errors,
        error_entries;
    vd_le32 warning_minutes, critical_minutes;
    uint8_t reserved200[312];
};
static_assert(sizeof(struct nvme_smart) == 512, "5.14.1.2");
static_assert(offsetof(struct nvme_smart, units_read) == 32, "5.14.1.2");
static_assert(offsetof(struct nvme_smart, error_entries) == 176, "5.14.1.2");

/* Firmware Slot Information, 5.14.1.3. */
struct nvme_firmware_log {
    uint8_t active;
    uint8_t reserved1[7];
    uint8_t slots[7][8];
    uint8_t reserved64[448];
};
static_assert(sizeof(struct nvme_firmware_log) == 512, "5.14.1.3");

/* Commands Supported and Effects, 5.14.1.5. */
struct nvme_effects_log {
    vd_le32 admin[256], io[256];
    uint8_t reserved[2048];
};
static_assert(sizeof(struct nvme_effects_log) == 4096, "5.14.1.5");
enum { NVME_EFFECT_SUPPORTED = 1, NVME_EFFECT_WRITES = 2 };

#endif
