/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The self-test of the simulated test device: it copies a page of memory to another one. Its registers are described in
 * sim/edu.h; these few are repeated here because the command sees only the library's public headers.
 */
#include <string.h>

#include "probe.h"
#include "text.h"

enum {
    ID = 0x00,
    SOURCE = 0x40,
    DESTINATION = 0x48,
    LENGTH = 0x50,
    CONTROL = 0x60,
    STATUS = 0x64,
    ERROR = 0x88
};
enum { ID_VALUE = 0x31554445, START = 1, NOTIFY = 8, BUSY = 1, DONE = 2 };
enum { PAGE = 4096, COPY_MS = 5000 };

struct copy {
    struct probe *probe;
    uint32_t status;
    bool failed; /* an access was */
};

static bool is_over(void *opaque)
{
    struct copy *copy = opaque;

    copy->failed = !probe_read(copy->probe, STATUS, &copy->status);
    return copy->failed || !(copy->status & BUSY);
}

static char *start(struct probe *probe, const struct probe_page *from, const struct probe_page *to)
{
    if (probe_write64(probe, SOURCE, from->bus) && probe_write64(probe, DESTINATION, to->bus) &&
        probe_write64(probe, LENGTH, PAGE) && probe_write(probe, CONTROL, START | NOTIFY))
        return NULL;
    return text_copy("its registers cannot be written");
}

static char *check(const struct copy *copy, bool ended, const struct probe_page *from,
                   const struct probe_page *to)
{
    uint32_t error = 0;

    if (copy->failed)
        return text_copy("its registers cannot be read");
    if (!ended)
        return text_format("a copy of %d bytes did not end within %d s", PAGE, COPY_MS / 1000);
    probe_read(copy->probe, ERROR, &error);
    if (!(copy->status & DONE))
        return text_format("the device gave a copy of %d bytes up (status %u, error %u)", PAGE,
                           (unsigned)copy->status, (unsigned)error);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (memcmp(from->host, to->host, PAGE) != 0)
        return text_copy("the device said that it copied, but what arrived in memory is not what was sent");
    return NULL;
}

char *selftest_edu(struct probe *probe, char **said)
{
    struct copy copy = {.probe = probe};
    struct probe_memory memory;
    struct probe_page pages[2];
    char *why = probe_memory_init(&memory, probe, PAGE, 2, pages);
    uint32_t id = 0;

    if (!why && (!probe_read(probe, ID, &id) || id != ID_VALUE))
        why = text_format("it does not identify itself (0x%08x)", (unsigned)id);
    if (!why) {
        for (unsigned i = 0; i < PAGE; i++)
            pages[0].host[i] = (uint8_t)(i * 7 + i / 256 + 1);
        why = start(probe, &pages[0], &pages[1]);
    }
    if (!why)
        why = check(&copy, probe_wait(probe, is_over, &copy, COPY_MS), &pages[0], &pages[1]);
    if (!why) {
        probe_irq_await(probe);
        *said = text_format("the device copied %d bytes from memory to memory", PAGE);
    }
    /* Whatever state the copy is in, it must have ended before its memory goes. */
    vd_device_reset(probe->device);
    probe_memory_finish(&memory);
    return why;
}
