/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The extension's core, driven by a row of records: connections that come and go, calls of every shape, interrupts, events,
 * a failure somewhere, removal. The mock hardware aborts on a broken promise; beside it every wait that was accepted must
 * complete once, what the core says is in use must be what the hardware holds, and when all connections are closed nothing
 * may be left.
 *
 * A record is `struct record` and the bytes it says follow. Selectors and counts are mostly right without luck, so that
 * mutations reach the handlers; no seeds are needed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_RECORDS = 200, CLIENTS = 3, ROOM = 2048, HANDLES = MAX_RECORDS + 10 };

enum action {
    CALL,
    CALL_TOO,
    CALL_AS_WELL,
    OPEN,
    CLOSE,
    FIRE,
    MAP,
    EVENT,
    CHANGE,
    SCRIBBLE,
    FAIL,
    PULL,
    NR_ACTIONS
};

/* What is not as the selector wants it. */
enum twist { IN_COUNT = 1, OUT_COUNT = 2, NO_ASYNC = 4, RAW_BLOCK = 8, RAW_SELECTOR = 16, BLOCK_ROOM = 32 };

struct record {
    uint8_t action, client, selector, twist, value[4], size;
};

struct state {
    struct mock mock;
    struct vd_dext_os os;
    struct vd_dext *dext;
    struct vd_dext_client *clients[CLIENTS];
    unsigned handles; /* given to waits that were accepted */
    uint8_t open[HANDLES];
};

struct shape {
    uint8_t selector, nr_in, nr_out, async;
    uint16_t block_in, block_out; /* most */
};

static const struct shape shapes[] = {
    {0, 0, 6, 0, 0, 0},  {1, 0, 0, 0, 0, 0},  {1, 0, 0, 0, 0, 0},  {2, 0, 0, 0, 0, 0},   {3, 2, 6, 0, 0, 0},
    {4, 0, 0, 0, 0, 0},  {5, 3, 3, 0, 0, 0},  {6, 1, 0, 0, 0, 0},  {7, 2, 1, 0, 0, 0},   {8, 2, 1, 0, 0, 0},
    {9, 3, 0, 0, 0, 0},  {10, 1, 3, 0, 0, 0}, {11, 3, 1, 0, 0, 0}, {12, 4, 0, 0, 0, 0},  {13, 0, 1, 0, 0, 0},
    {14, 0, 4, 0, 0, 0}, {15, 0, 0, 1, 0, 0}, {16, 4, 0, 0, 0, 0}, {17, 0, 0, 0, 0, 0},  {32, 1, 4, 0, 0, 0},
    {33, 0, 0, 0, 1, 1}, {33, 0, 0, 0, 1, 1}, {34, 0, 0, 0, 1, 1}, {35, 0, 11, 0, 0, 0}, {36, 0, 0, 1, 0, 0},
    {37, 0, 0, 0, 0, 0}, {38, 0, 0, 0, 0, 1},
};

static const uint64_t values[] = {0,          1,          2,          3,          4,          8,
                                  7,          16,         0x4000,     0x8000,     0x3fff,     0x4001,
                                  0x10000000, 0x60000000, 0x60000001, 1ull << 32, 0x70,       0x78,
                                  0x44,       0xffc,      0xfff,      0x1000,     UINT64_MAX, 1ull << 63};

static void check(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

static uint64_t pick(uint8_t byte)
{
    return byte < 128 ? values[byte % (sizeof(values) / sizeof(values[0]))] : byte;
}

static void on_complete(struct mock *mock, void *async, int status)
{
    struct state *s = mock->opaque;
    uintptr_t number = (uintptr_t)async;

    (void)status;
    check(number > 0 && number < HANDLES && s->open[number] == 1,
          "a wait was completed twice, or never made");
    s->open[number] = 2;
}

/* A batch made of records' bytes: a few entries whose fields come from the table of values. */
static size_t make_batch(uint32_t selector, uint8_t *out, const uint8_t *bytes, size_t size,
                         const struct record *r)
{
    const bool adding = selector == VD_DEXT_REGISTER_BATCH;
    const size_t entry = adding ? sizeof(struct vd_dext_region) : sizeof(vd_le64);
    const size_t head = adding ? sizeof(struct vd_dext_register_in) : sizeof(struct vd_dext_unregister_in);
    uint32_t count = 0;

    memset(out, 0, ROOM);
    for (; size >= 4 && count < 24; count++, bytes += 4, size -= 4) {
        uint8_t *at = out + head + count * entry;

        vd_store64(at, pick(bytes[0]));
        if (adding) {
            vd_store64(at + 8, pick(bytes[1]));
            vd_store64(at + 16, pick(bytes[2]));
            vd_store32(at + 24, bytes[3]);
        }
    }
    vd_store32(out, r->value[0] & 0x80 ? r->value[0] : count);
    if (adding)
        vd_store32(out + 4, r->value[1] & 0x80 ? r->value[1] - 0x80u : count);
    return head + count * entry;
}

/* Blocks lie in memory of exactly their size, so that a byte too far is noticed. */
static void call_with_blocks(struct state *s, struct vd_dext_client *client, struct vd_dext_call *call,
                             const uint8_t *bytes, size_t size)
{
    uint64_t *scalars = malloc(call->nr_scalars_out * sizeof(uint64_t) + 1);
    uint8_t *in = malloc(size + 1), *out = malloc(call->nr_bytes_out + 1);
    const uint32_t room = call->nr_scalars_out;
    const size_t byte_room = call->nr_bytes_out;
    int ret;

    check(scalars && in && out, "out of memory");
    memcpy(in + 1, bytes, size);
    call->bytes_in = size ? in + 1 : NULL;
    call->nr_bytes_in = size;
    call->bytes_out = byte_room ? out + 1 : NULL;
    call->scalars_out = scalars;
    if (call->async)
        s->open[(uintptr_t)call->async] = 1;
    ret = vd_dext_call(client, call);
    if (call->async && ret) {
        check(s->open[(uintptr_t)call->async] == 1, "a wait that was refused was completed");
        s->open[(uintptr_t)call->async] = 0;
    }
    check(call->nr_scalars_out <= (ret ? 0 : room), "more scalars than there is room for");
    check(call->nr_bytes_out <= (ret ? 0 : byte_room), "more bytes than there is room for");
    free(scalars);
    free(in);
    free(out);
}

static void do_call(struct state *s, struct vd_dext_client *client, const struct record *r,
                    const uint8_t *bytes, size_t size)
{
    const struct shape *shape = &shapes[r->selector % (sizeof(shapes) / sizeof(shapes[0]))];
    struct vd_dext_call call = {
        .selector = r->twist & RAW_SELECTOR ? r->selector : shape->selector,
        .nr_scalars_in = shape->nr_in + (r->twist & IN_COUNT ? 1u : 0u),
        .nr_scalars_out = shape->nr_out + (r->twist & OUT_COUNT ? 1u : 0u),
        .nr_bytes_out = shape->block_out ? (r->twist & BLOCK_ROOM ? pick(r->value[2]) % ROOM : ROOM) : 0,
    };
    uint64_t in[8] = {pick(r->value[0]), pick(r->value[1]), pick(r->value[2]), pick(r->value[3])};
    uint8_t block[ROOM];

    call.scalars_in = in;
    if (!shape->async != !(r->twist & NO_ASYNC))
        call.async = (void *)(uintptr_t)++s->handles;
    if (shape->block_in && !(r->twist & RAW_BLOCK)) {
        size = make_batch(call.selector, block, bytes, size, r);
        bytes = block;
        if (!(r->twist & BLOCK_ROOM)) /* no byte more than it says is needed */
            call.nr_bytes_out = shape->selector == VD_DEXT_REGISTER_BATCH
                                    ? 16 + 16 * (vd_load32(block) + (size_t)vd_load32(block + 4))
                                    : 8 + 4 * (size_t)vd_load32(block);
    } else if (!shape->block_in && !(r->twist & RAW_BLOCK)) {
        size = 0;
    }
    call_with_blocks(s, client, &call, bytes, size);
}

static void change(struct mock *m, const struct record *r)
{
    m->runs = 1 + r->value[0] % 4;
    m->cut = r->value[0] / 64 == 3;
    m->pending = r->value[1] == 255 ? UINT32_MAX : r->value[1] % 4;
    m->mute = r->value[2] == 255 ? UINT32_MAX : r->value[2] % 4;
    m->reset_works = r->value[3] & 7;
    m->reset_breaks = r->value[3] >> 3 & 7;
    m->irqs_at_setup = r->value[3] & 64;
    m->master_sticks = r->value[3] & 128;
}

static void act(struct state *s, const struct record *r, const uint8_t *bytes, size_t size)
{
    struct vd_dext_client **client = &s->clients[r->client % CLIENTS];
    struct vd_dext_memory memory;

    switch (r->action % NR_ACTIONS) {
    case OPEN:
        if (!*client)
            (void)vd_dext_client_open(s->dext, NULL, client);
        break;
    case CLOSE:
        vd_dext_client_close(*client);
        *client = NULL;
        break;
    case FIRE:
        if (s->mock.irqs_on)
            vd_dext_irq(s->dext, r->selector + (r->twist ? 0 : 256u * r->value[0]));
        break;
    case MAP:
        if (*client)
            (void)vd_dext_memory(*client, pick(r->value[0]), &memory);
        break;
    case EVENT:
        vd_dext_event(s->dext, r->value[0]);
        break;
    case CHANGE:
        change(&s->mock, r);
        break;
    case SCRIBBLE:
        if (s->mock.page)
            memset(s->mock.page, r->value[0], sizeof(*s->mock.page));
        break;
    case FAIL:
        s->mock.fail_at = s->mock.steps + 1 + r->value[0] % 16;
        break;
    case PULL:
        if (r->value[0] == 1 && !s->mock.gone)
            mock_pull(&s->mock, s->dext);
        break;
    default:
        if (*client)
            do_call(s, *client, r, bytes, size);
        break;
    }
}

/* What the owner is told it uses is what the hardware holds for it. */
static void check_use(struct state *s)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        uint64_t out[VD_DEXT_NR_LIMITS];
        struct vd_dext_call call = {
            .selector = VD_DEXT_GET_LIMITS, .scalars_out = out, .nr_scalars_out = VD_DEXT_NR_LIMITS};

        if (!s->clients[i] || vd_dext_call(s->clients[i], &call))
            continue;
        check(out[VD_DEXT_USE_MAPPINGS] == (uint64_t)(s->mock.live_mappings + s->mock.live_buffers),
              "the use is not what is held");
        check(out[VD_DEXT_USE_BYTES] <= out[VD_DEXT_LIMIT_BYTES], "more in use than the limit");
        check(out[VD_DEXT_USE_PEAK_BYTES] >= out[VD_DEXT_USE_BYTES], "more in use than the peak");
    }
    check(!s->mock.violation, s->mock.violation ? s->mock.violation : "");
}

/* The first byte says how far the first connection has got, so that short inputs go deep. */
static void begin(struct state *s, uint8_t how)
{
    static const struct record steps[] = {
        {.selector = 1},                                 /* Claim */
        {.selector = 14},                                /* SetupInterrupts */
        {.selector = 16},                                /* WaitInterrupt */
        {.selector = 24},                                /* WaitEvent */
        {.selector = 6, .value = {1, 8, 8, 0}},          /* RegisterDMARegion */
        {.selector = 20, .size = 24},                    /* RegisterBatch */
        {.selector = 4, .value = {8, 0, 0, 0}},          /* AllocateDMABuffer */
        {.selector = 17, .value = {255, 255, 255, 255}}, /* SetIRQMask */
    };
    static const uint8_t batch[24] = {2, 8, 8, 3, 3, 9, 8, 3, 4, 0, 9, 1, 5, 1, 1, 2, 6, 8, 9, 3, 7, 8, 8, 3};

    s->mock.runs = 1 + how / 64u;
    for (unsigned i = 0; i < how % (sizeof(steps) / sizeof(steps[0]) + 1); i++)
        act(s, &steps[i], batch, steps[i].size);
}

static void run(struct state *s, const uint8_t *data, size_t size)
{
    if (size) {
        begin(s, *data++);
        size--;
    }
    for (unsigned n = 0; n < MAX_RECORDS && size >= sizeof(struct record); n++) {
        struct record r;
        size_t length;

        memcpy(&r, data, sizeof(r));
        data += sizeof(r);
        size -= sizeof(r);
        length = r.size < size ? r.size : size;
        act(s, &r, data, length);
        check_use(s);
        data += length;
        size -= length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct state s;
    const char *left;

    memset(&s, 0, sizeof(s));
    mock_init(&s.mock);
    s.os = mock_os(&s.mock);
    s.mock.on_complete = on_complete;
    s.mock.opaque = &s;
    check(vd_dext_create(&s.os, &mock_ops, &s.mock, NULL, &s.dext) == 0, "nothing prevents creating");
    s.mock.dext = s.dext;
    for (unsigned i = 0; i < CLIENTS; i++)
        check(vd_dext_client_open(s.dext, NULL, &s.clients[i]) == 0, "nothing prevents connecting");
    run(&s, data, size);
    for (unsigned i = 0; i < CLIENTS; i++)
        vd_dext_client_close(s.clients[i]);
    vd_dext_destroy(s.dext);
    left = mock_leftover(&s.mock);
    check(!left, left ? left : "");
    for (unsigned i = 0; i < HANDLES; i++)
        check(s.open[i] != 1, "a wait was accepted and never completed");
    return 0;
}
