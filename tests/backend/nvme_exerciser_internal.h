/* SPDX-License-Identifier: BSD-3-Clause */
/* What the exerciser's two files share: the arena's layout, NVMe's numbers, and how a command is sent and waited for. */
#ifndef TESTS_BACKEND_NVME_EXERCISER_INTERNAL_H
#define TESTS_BACKEND_NVME_EXERCISER_INTERNAL_H

#include "nvme_exerciser.h"

/* Offsets and bits are those of NVM Express 1.4, section numbers in brackets. */
enum {
    PAGE = 4096,
    SILENCE_MS = 20000,
    /* The arena. */
    AT_ASQ = 0,
    AT_ACQ = PAGE,
    AT_SHADOW = 2 * PAGE,
    AT_EVENTS = 3 * PAGE,
    AT_IDENTIFY = 4 * PAGE,
    AT_SQ = 5 * PAGE,
    AT_CQ = AT_SQ + EX_QUEUES * PAGE,
    AT_LISTS = AT_CQ + EX_QUEUES * PAGE,
    AT_DATA = EX_CHUNK,
    SLOT_DATA = EX_DATA + PAGE, /* one more page for data that begins inside one */
    /* Registers [3.1] */
    CAP = 0x00,
    CC = 0x14,
    CSTS = 0x1c,
    AQA = 0x24,
    ASQ = 0x28,
    ACQ = 0x30,
    DOORBELLS = 0x1000,
    /* Opcodes [5, 6] */
    CREATE_SQ = 0x01,
    CREATE_CQ = 0x05,
    IDENTIFY = 0x06,
    SET_FEATURES = 0x09,
    DOORBELL_BUFFER = 0x7c,
    FLUSH = 0x00,
    WRITE = 0x01,
    READ = 0x02,
    WRITE_ZEROES = 0x08,
    DSM = 0x09,
};
_Static_assert(AT_LISTS + EX_SLOTS * PAGE <= AT_DATA, "rings and lists fit the first chunk");
_Static_assert(AT_DATA + EX_SLOTS * SLOT_DATA <= EX_ARENA, "data fits the arena");

struct ex_fields {
    uint8_t opcode;
    uint32_t nsid;
    uint64_t prp1, prp2;
    uint32_t cdw10, cdw11, cdw12;
};

/* Puts a command into a queue and rings. slots[cid] keeps what it says about the command. */
int ex_submit(struct exerciser *ex, unsigned queue, uint16_t cid, const struct ex_fields *fields);
/* Lets the device work until at least one completion was taken. */
int ex_wait_some(struct exerciser *ex);

#endif
