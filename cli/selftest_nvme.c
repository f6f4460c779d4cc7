/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The self-test of an NVMe controller: one Identify command through an admin queue in memory. The device has to read
 * the command from memory and to write its answer there, and nothing touches the medium. Section numbers are those of
 * the NVM Express Base Specification 1.4.
 */
#include <string.h>

#include "probe.h"
#include "text.h"

/* Controller registers, 3.1. */
enum { CAP = 0x00, CC = 0x14, CSTS = 0x1c, AQA = 0x24, ASQ = 0x28, ACQ = 0x30, DOORBELLS = 0x1000 };
#define CC_EN      0x1u
#define CC_ENTRIES (6u << 16 | 4u << 20) /* 64 bytes a command, 16 a completion */
#define CSTS_RDY   0x1u
#define CSTS_CFS   0x2u
#define ALL_ONES   0xffffffffu

enum {
    SMALLEST_PAGE = 4096,
    IDENTIFY_SIZE = 4096,
    IDENTIFY = 0x06,
    IDENTIFY_CONTROLLER = 1,
    COMMAND_ID = 0x5644
};
enum { UNIT_MS = 500, LONGEST_MS = 30000, COMMAND_MS = 10000 };
enum { SERIAL = 4, SERIAL_SIZE = 20, MODEL = 24, MODEL_SIZE = 40 }; /* in the answer, figure 247 */
enum { COMPLETION_STATUS = 14 };                                    /* in a completion, 4.6 */

struct nvme {
    struct probe *probe;
    uint64_t cap;
    size_t page;
    int timeout_ms;  /* to become ready */
    uint32_t wanted; /* CSTS.RDY that is waited for */
    uint32_t status;
    bool failed; /* an access was */
    struct probe_page commands, completions, answer;
};

static void put32(uint8_t *to, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> 8 * i);
}

static void put64(uint8_t *to, uint64_t value)
{
    put32(to, (uint32_t)value);
    put32(to + 4, (uint32_t)(value >> 32));
}

static bool is_ready(void *opaque)
{
    struct nvme *nvme = opaque;

    nvme->failed = !probe_read(nvme->probe, CSTS, &nvme->status) || nvme->status == ALL_ONES;
    return nvme->failed || (nvme->status & CSTS_CFS) || (nvme->status & CSTS_RDY) == nvme->wanted;
}

/* Sets CC and waits for CSTS.RDY to follow its enable bit. */
static char *configure(struct nvme *nvme, uint32_t cc)
{
    const char *what = cc & CC_EN ? "start" : "stop";

    nvme->wanted = cc & CC_EN ? CSTS_RDY : 0;
    if (!probe_write(nvme->probe, CC, cc))
        return text_copy("its registers cannot be written");
    if (!probe_wait(nvme->probe, is_ready, nvme, nvme->timeout_ms))
        return text_format("the controller did not %s within %d ms (status 0x%x)", what, nvme->timeout_ms,
                           (unsigned)nvme->status);
    if (nvme->failed)
        return text_format("the controller's status cannot be read while it is to %s", what);
    if (nvme->wanted && (nvme->status & CSTS_CFS))
        return text_format("the controller reports a fatal error when it is to start (status 0x%x)",
                           (unsigned)nvme->status);
    return NULL;
}

static char *read_capabilities(struct nvme *nvme)
{
    unsigned units;

    if (!probe_read64(nvme->probe, CAP, &nvme->cap) || nvme->cap == UINT64_MAX)
        return text_copy("the controller's capabilities cannot be read");
    units = nvme->cap >> 24 & 0xff;
    nvme->timeout_ms = (int)(units ? units : 1) * UNIT_MS;
    if (nvme->timeout_ms > LONGEST_MS)
        nvme->timeout_ms = LONGEST_MS;
    nvme->page = (size_t)SMALLEST_PAGE << (nvme->cap >> 48 & 0xf);
    return NULL;
}

/* The admin queues, two entries each (the fewest allowed), 3.1.7 to 3.1.9. */
static char *enable(struct nvme *nvme)
{
    uint32_t page_code = (uint32_t)(nvme->cap >> 48 & 0xf);

    if (!probe_write(nvme->probe, AQA, 1u | 1u << 16) ||
        !probe_write64(nvme->probe, ASQ, nvme->commands.bus) ||
        !probe_write64(nvme->probe, ACQ, nvme->completions.bus))
        return text_copy("its registers cannot be written");
    return configure(nvme, CC_EN | page_code << 7 | CC_ENTRIES);
}

/* The phase bit of the first completion. */
static bool is_complete(void *opaque)
{
    const struct nvme *nvme = opaque;

    return __atomic_load_n(&nvme->completions.host[COMPLETION_STATUS], __ATOMIC_ACQUIRE) & 1;
}

static char *check_completion(const struct nvme *nvme)
{
    const uint8_t *completion = nvme->completions.host;
    unsigned id = completion[12] | completion[13] << 8;
    unsigned status = (completion[COMPLETION_STATUS] | completion[COMPLETION_STATUS + 1] << 8) >> 1;

    if (id != COMMAND_ID)
        return text_format("the controller completed a command that it was not given (0x%04x)", id);
    if (status & 0x7ff)
        return text_format("the controller refused Identify (status 0x%x), so it did read the command",
                           status & 0x7ff);
    return NULL;
}

static char *identify(struct nvme *nvme)
{
    uint8_t *command = nvme->commands.host;
    uint64_t stride = 4ull << (nvme->cap >> 32 & 0xf);
    char *why;

    memset(nvme->answer.host, 0xa5, IDENTIFY_SIZE);
    put32(command, IDENTIFY | (uint32_t)COMMAND_ID << 16);
    put64(command + 24, nvme->answer.bus);
    put32(command + 40, IDENTIFY_CONTROLLER);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!probe_write(nvme->probe, DOORBELLS, 1))
        return text_copy("its doorbell cannot be written");
    if (!probe_wait(nvme->probe, is_complete, nvme, COMMAND_MS))
        return text_format("no completion arrived in memory within %d s: the device does not reach memory",
                           COMMAND_MS / 1000);
    why = check_completion(nvme);
    if (!why && !probe_write(nvme->probe, DOORBELLS + stride, 1))
        why = text_copy("its doorbell cannot be written");
    return why;
}

/* Text of the answer, without what pads it and without anything that a terminal would act on. */
static void take_text(char *out, const uint8_t *from, size_t size)
{
    size_t length = 0;

    for (size_t i = 0; i < size; i++) {
        out[i] = from[i] >= ' ' && from[i] < 0x7f ? (char)from[i] : '?';
        if (out[i] != ' ')
            length = i + 1;
    }
    out[length] = '\0';
}

static char *check_answer(const struct nvme *nvme, char **said)
{
    const uint8_t *answer = nvme->answer.host;
    char model[MODEL_SIZE + 1], serial[SERIAL_SIZE + 1];
    bool written = false;

    for (unsigned i = 0; i < IDENTIFY_SIZE && !written; i++)
        written = answer[i] != 0xa5;
    if (!written)
        return text_copy("the controller says that it answered Identify, but nothing was written to memory");
    take_text(model, answer + MODEL, MODEL_SIZE);
    take_text(serial, answer + SERIAL, SERIAL_SIZE);
    *said = text_format("the device read a command from memory and wrote its answer there: %s, serial %s",
                        model, serial);
    return NULL;
}

/* Everything between the controller's being stopped and stopped again. */
static char *run(struct nvme *nvme, char **said)
{
    char *why = enable(nvme);

    if (!why)
        why = identify(nvme);
    if (!why)
        why = check_answer(nvme, said);
    if (!why)
        probe_irq_await(nvme->probe); /* the admin queue's vector is 0 */
    return why;
}

char *selftest_nvme(struct probe *probe, char **said)
{
    struct nvme nvme = {.probe = probe};
    struct probe_memory memory = {.fd = -1};
    struct probe_page pages[3];
    char *why = read_capabilities(&nvme);

    if (!why)
        why = configure(&nvme, 0);
    if (!why)
        why = probe_memory_init(&memory, probe, nvme.page, 3, pages);
    if (!why) {
        nvme.commands = pages[0];
        nvme.completions = pages[1];
        nvme.answer = pages[2];
        why = run(&nvme, said);
    }
    /* Stopped by a reset even where it does not answer any more: its memory goes next. */
    vd_device_reset(probe->device);
    probe_memory_finish(&memory);
    return why;
}
