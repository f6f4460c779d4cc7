/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every selector against a table of its own, written from the RFC and from proto/dext_abi.h, not from the core: right
 * counts, wrong counts, no claim, another's claim, values out of range, keys, after a reset, after removal.
 */
#include <stdlib.h>

#include "rig.h"

/* What must have been done for the call in the table to succeed. */
enum prepared { AS_IT_IS, WITH_REGION, WITH_BUFFER, WITH_IRQS };
enum block { NO_BLOCK, REGISTER, UNREGISTER, DESCRIPTION };
enum { CLAIM = 1, ASYNC = 2, ALSO_GONE = 4 };

struct row {
    const char *name;
    uint32_t selector;
    uint32_t nr_in, nr_out;
    unsigned rules;
    enum prepared prepared;
    enum block block;
    uint64_t in[4]; /* values that succeed */
};

enum { KEY = 7, ADDRESS = 0x10000, SIZE = 0x4000 };

/* The RFC's selectors 0 to 17, then ours. */
static const struct row rows[] = {
    {"GetIdentity", 0, 0, 6, ALSO_GONE, AS_IT_IS, NO_BLOCK, {0}},
    {"Claim", 1, 0, 0, 0, AS_IT_IS, NO_BLOCK, {0}},
    {"Terminate", 2, 0, 0, CLAIM, AS_IT_IS, NO_BLOCK, {0}},
    {"AllocateDMABuffer", 3, 2, 6, CLAIM, AS_IT_IS, NO_BLOCK, {0x10000, 0}},
    {"FreeDMABuffer", 4, 0, 0, CLAIM | ALSO_GONE, WITH_BUFFER, NO_BLOCK, {0}},
    {"RegisterDMARegion", 5, 3, 3, CLAIM, AS_IT_IS, NO_BLOCK, {KEY, ADDRESS, SIZE}},
    {"UnregisterDMARegion", 6, 1, 0, CLAIM | ALSO_GONE, WITH_REGION, NO_BLOCK, {KEY}},
    {"ProbeDMARegion", 7, 2, 1, CLAIM, WITH_REGION, NO_BLOCK, {KEY, SIZE - 8}},
    {"ConfigRead", 8, 2, 1, CLAIM, AS_IT_IS, NO_BLOCK, {0xffc, 4}},
    {"ConfigWrite", 9, 3, 0, CLAIM, AS_IT_IS, NO_BLOCK, {4, 2, 6}},
    {"GetBARInfo", 10, 1, 3, CLAIM, AS_IT_IS, NO_BLOCK, {5}},
    {"MMIORead", 11, 3, 1, CLAIM, AS_IT_IS, NO_BLOCK, {1, 0xffff8, 8}},
    {"MMIOWrite", 12, 4, 0, CLAIM, AS_IT_IS, NO_BLOCK, {0, 0xffff, 1, 0xff}},
    {"SetupInterrupts", 13, 0, 1, CLAIM, AS_IT_IS, NO_BLOCK, {0}},
    {"CheckInterrupt", 14, 0, 4, CLAIM, WITH_IRQS, NO_BLOCK, {0}},
    {"WaitInterrupt", 15, 0, 0, CLAIM | ASYNC, WITH_IRQS, NO_BLOCK, {0}},
    {"SetIRQMask", 16, 4, 0, CLAIM, WITH_IRQS, NO_BLOCK, {1, 2, 3, 4}},
    {"ResetDevice", 17, 0, 0, CLAIM, AS_IT_IS, NO_BLOCK, {0}},
    {"GetFeatures", 32, 1, 4, ALSO_GONE, AS_IT_IS, NO_BLOCK, {1}},
    {"RegisterBatch", 33, 0, 0, CLAIM, AS_IT_IS, REGISTER, {0}},
    {"UnregisterBatch", 34, 0, 0, CLAIM | ALSO_GONE, WITH_REGION, UNREGISTER, {0}},
    {"GetLimits", 35, 0, 11, CLAIM | ALSO_GONE, AS_IT_IS, NO_BLOCK, {0}},
    {"WaitEvent", 36, 0, 0, CLAIM | ASYNC, AS_IT_IS, NO_BLOCK, {0}},
    {"Quiesce", 37, 0, 0, CLAIM, AS_IT_IS, NO_BLOCK, {0}},
    {"Describe", 38, 0, 0, ALSO_GONE, AS_IT_IS, DESCRIPTION, {0}},
};

enum { NR_ROWS = sizeof(rows) / sizeof(rows[0]) };

/* A call as the table has it, with room for what a test changes. */
struct attempt {
    struct vd_dext_call call;
    uint64_t in[5], out[16];
    uint8_t bytes_in[64], bytes_out[512];
};

static void put_blocks(struct attempt *a, enum block block)
{
    const struct vd_dext_register_in reg = {vd_put32(1), vd_put32(1), vd_put64(0)};
    const struct vd_dext_region region = {vd_put64(KEY + 1), vd_put64(ADDRESS), vd_put64(SIZE), vd_put32(3),
                                          vd_put32(0)};
    const struct vd_dext_unregister_in unreg = {vd_put32(1), vd_put32(0)};
    const vd_le64 key = vd_put64(KEY);
    static const size_t sizes[][2] = {{0, 0}, {48, 48}, {16, 12}, {0, 212}};

    if (block == REGISTER) {
        memcpy(a->bytes_in, &reg, sizeof(reg));
        memcpy(a->bytes_in + sizeof(reg), &region, sizeof(region));
    } else if (block == UNREGISTER) {
        memcpy(a->bytes_in, &unreg, sizeof(unreg));
        memcpy(a->bytes_in + sizeof(unreg), &key, sizeof(key));
    }
    a->call.nr_bytes_in = sizes[block][0];
    a->call.nr_bytes_out = sizes[block][1];
    a->call.bytes_in = a->call.nr_bytes_in ? a->bytes_in : NULL;
    a->call.bytes_out = a->call.nr_bytes_out ? a->bytes_out : NULL;
}

static void make(struct attempt *a, const struct row *row)
{
    memset(a, 0, sizeof(*a));
    memcpy(a->in, row->in, sizeof(row->in));
    a->call.selector = row->selector;
    a->call.scalars_in = a->in;
    a->call.nr_scalars_in = row->nr_in;
    a->call.scalars_out = a->out;
    a->call.nr_scalars_out = row->nr_out;
    a->call.async = row->rules & ASYNC ? rig_handle(1) : NULL;
    put_blocks(a, row->block);
}

static void prepare(struct rig *rig, enum prepared prepared)
{
    uint64_t out[6];

    assert_int_equal(rig_call(rig->a, VD_DEXT_CLAIM, NO_IN, NULL, 0), 0);
    if (prepared == WITH_REGION)
        assert_int_equal(rig_register(rig, KEY, ADDRESS, SIZE), 0);
    else if (prepared == WITH_BUFFER)
        assert_int_equal(rig_call(rig->a, VD_DEXT_ALLOCATE_DMA_BUFFER, IN(0x4000, 0), out, 6), 0);
    else if (prepared == WITH_IRQS)
        assert_int_equal(rig_call(rig->a, VD_DEXT_SETUP_INTERRUPTS, NO_IN, out, 1), 0);
}

static void expect(const struct row *row, struct attempt *a, struct vd_dext_client *client, int want,
                   const char *why)
{
    int got = vd_dext_call(client, &a->call);

    if (got != want)
        fail_msg("%s, %s: 0x%x instead of 0x%x", row->name, why, (unsigned)got, (unsigned)want);
    if (a->call.nr_scalars_out != (want ? 0 : row->nr_out))
        fail_msg("%s, %s: %u scalars out", row->name, why, a->call.nr_scalars_out);
    if ((a->call.nr_bytes_out != 0) != (want == 0 && row->block != NO_BLOCK))
        fail_msg("%s, %s: %zu bytes out", row->name, why, a->call.nr_bytes_out);
}

static struct rig *fresh(void)
{
    void *state;

    rig_setup(&state);
    return state;
}

static void done(struct rig *rig)
{
    void *state = rig;

    rig_teardown(&state);
}

/* A walk over the rows, each with a device of its own, prepared as the row wants it, and its call as it should be. */
struct walk {
    unsigned i;
    const struct row *row;
    struct rig *rig;
    struct attempt a;
};

/* The next row, unprepared and with nothing to call. */
static bool walk_bare(struct walk *w)
{
    if (w->rig)
        done(w->rig);
    w->rig = NULL;
    if (w->i == NR_ROWS)
        return false;
    w->row = &rows[w->i++];
    w->rig = fresh();
    return true;
}

static bool walk(struct walk *w)
{
    if (!walk_bare(w))
        return false;
    prepare(w->rig, w->row->prepared);
    make(&w->a, w->row);
    return true;
}

static void every_selector_takes_its_counts(void **state)
{
    (void)state;
    for (struct walk w = {0}; walk(&w);) {
        expect(w.row, &w.a, w.rig->a, VD_DEXT_SUCCESS, "right counts");
    }
}

static void more_room_for_scalars_is_fine_and_the_count_is_the_selectors(void **state)
{
    (void)state;
    for (struct walk w = {0}; walk(&w);) {
        w.a.call.nr_scalars_out++;
        expect(w.row, &w.a, w.rig->a, VD_DEXT_SUCCESS, "more room");
    }
}

/* With the claim and without: the shape of a call is checked before whose it is. */
static void wrong_counts_are_refused(void **state)
{
    (void)state;
    for (struct walk w = {0}; walk(&w);) {
        w.a.call.nr_scalars_in++;
        expect(w.row, &w.a, w.rig->a, VD_DEXT_BAD_ARGUMENT, "a scalar too many");
        make(&w.a, w.row);
        w.a.call.nr_scalars_in++;
        expect(w.row, &w.a, w.rig->b, VD_DEXT_BAD_ARGUMENT, "a scalar too many, not the owner");
        if (w.row->nr_in) {
            make(&w.a, w.row);
            w.a.call.nr_scalars_in--;
            expect(w.row, &w.a, w.rig->a, VD_DEXT_BAD_ARGUMENT, "a scalar too few");
            make(&w.a, w.row);
            w.a.call.scalars_in = NULL;
            expect(w.row, &w.a, w.rig->a, VD_DEXT_BAD_ARGUMENT, "no scalars");
        }
        if (w.row->nr_out) {
            make(&w.a, w.row);
            w.a.call.nr_scalars_out--;
            expect(w.row, &w.a, w.rig->a, VD_DEXT_BAD_ARGUMENT, "too little room");
            make(&w.a, w.row);
            w.a.call.scalars_out = NULL;
            expect(w.row, &w.a, w.rig->a, VD_DEXT_BAD_ARGUMENT, "no room");
        }
        make(&w.a, w.row);
        expect(w.row, &w.a, w.rig->a, VD_DEXT_SUCCESS, "right after all that");
    }
}

static void byte_blocks_where_there_are_none_are_refused(void **state)
{
    (void)state;
    for (struct walk w = {0}; walk(&w);) {
        if (!w.a.call.nr_bytes_in) {
            w.a.call.bytes_in = w.a.bytes_in;
            w.a.call.nr_bytes_in = 8;
            expect(w.row, &w.a, w.rig->a, VD_DEXT_BAD_ARGUMENT, "bytes in");
        }
        make(&w.a, w.row);
        if (!w.a.call.nr_bytes_out) {
            w.a.call.bytes_out = w.a.bytes_out;
            w.a.call.nr_bytes_out = sizeof(w.a.bytes_out);
            expect(w.row, &w.a, w.rig->a, VD_DEXT_BAD_ARGUMENT, "bytes out");
        }
    }
}

static void byte_blocks_of_a_wrong_size_are_refused(void **state)
{
    (void)state;
    for (struct walk w = {0}; walk(&w);) {
        for (unsigned change = 0; change < 3 && w.a.call.nr_bytes_in; change++) {
            make(&w.a, w.row);
            w.a.call.nr_bytes_in = change == 0   ? w.a.call.nr_bytes_in - 1
                                   : change == 1 ? w.a.call.nr_bytes_in + 1
                                                 : 0;
            expect(w.row, &w.a, w.rig->a, VD_DEXT_BAD_ARGUMENT, "bytes in");
        }
        make(&w.a, w.row);
        for (unsigned change = 0; change < 2 && w.a.call.nr_bytes_out; change++) {
            make(&w.a, w.row);
            w.a.call.nr_bytes_out = change == 0 ? w.a.call.nr_bytes_out - 1 : 0;
            expect(w.row, &w.a, w.rig->a, VD_DEXT_BAD_ARGUMENT, "room for bytes out");
        }
        make(&w.a, w.row);
        if (w.a.call.nr_bytes_out) {
            w.a.call.bytes_out = NULL;
            expect(w.row, &w.a, w.rig->a, VD_DEXT_BAD_ARGUMENT, "no bytes out");
        }
    }
}

static void a_completion_handle_is_needed_exactly_where_a_call_is_async(void **state)
{
    (void)state;
    for (struct walk w = {0}; walk(&w);) {
        w.a.call.async = w.a.call.async ? NULL : rig_handle(1);
        expect(w.row, &w.a, w.rig->a, VD_DEXT_BAD_ARGUMENT, "the other kind of call");
        assert_int_equal(w.rig->mock.nr_completions, 0);
    }
}

static void what_needs_a_claim_is_refused_while_nobody_has_it(void **state)
{
    (void)state;
    for (struct walk w = {0}; walk_bare(&w);) {
        make(&w.a, w.row);
        expect(w.row, &w.a, w.rig->a, w.row->rules & CLAIM ? VD_DEXT_NOT_OPEN : VD_DEXT_SUCCESS, "unclaimed");
    }
}

static void what_needs_a_claim_is_refused_while_another_has_it(void **state)
{
    (void)state;
    for (struct walk w = {0}; walk(&w);) {
        bool exclusive = w.row->rules & CLAIM || w.row->selector == 1;

        expect(w.row, &w.a, w.rig->b, exclusive ? VD_DEXT_EXCLUSIVE_ACCESS : VD_DEXT_SUCCESS, "another's");
    }
}

/* The owner keeps its claim, its regions, its buffer and its interrupts over a reset. */
static void everything_works_after_a_reset(void **state)
{
    (void)state;
    for (struct walk w = {0}; walk_bare(&w);) {
        w.rig->mock.reset_works = w.i % 2 ? 0 : VD_DEXT_RESET_FLR; /* the framework's, and the core's own */
        prepare(w.rig, w.row->prepared);
        assert_int_equal(rig_call(w.rig->a, VD_DEXT_RESET_DEVICE, NO_IN, NULL, 0), 0);
        assert_int_equal(w.rig->mock.nr_resets, 1);
        make(&w.a, w.row);
        expect(w.row, &w.a, w.rig->a, VD_DEXT_SUCCESS, "after a reset");
    }
}

static void after_removal_only_what_does_not_touch_the_device_works(void **state)
{
    (void)state;
    for (struct walk w = {0}; walk_bare(&w);) {
        int want = w.row->rules & ALSO_GONE ? VD_DEXT_SUCCESS : VD_DEXT_NO_DEVICE;

        prepare(w.rig, w.row->prepared);
        mock_pull(&w.rig->mock, w.rig->dext);
        make(&w.a, w.row);
        expect(w.row, &w.a, w.rig->a, want, "after removal");
        make(&w.a, w.row);
        if (want == VD_DEXT_SUCCESS && w.row->rules & CLAIM)
            want = VD_DEXT_EXCLUSIVE_ACCESS;
        expect(w.row, &w.a, w.rig->b, want, "after removal, not the owner");
    }
}

static void other_selectors_are_unsupported(void **state)
{
    struct rig *rig = *state;
    unsigned refused = 0;

    for (uint32_t s = 0; s < 300; s++) {
        struct vd_dext_call call = {
            .selector = s < 299 ? s : UINT32_MAX, .nr_scalars_out = 3, .nr_bytes_out = 3};
        bool known = false;

        for (unsigned i = 0; i < NR_ROWS; i++)
            known |= rows[i].selector == s;
        if (known)
            continue;
        assert_int_equal(vd_dext_call(rig->a, &call), VD_DEXT_UNSUPPORTED);
        assert_int_equal(call.nr_scalars_out, 0);
        assert_int_equal(call.nr_bytes_out, 0);
        refused++;
    }
    assert_int_equal(refused, 300 - NR_ROWS);
}

struct value {
    uint32_t selector, nr_in, nr_out;
    uint64_t in[4];
    int status;
};

#define BAD    VD_DEXT_BAD_ARGUMENT
#define TOP    UINT64_MAX
#define HIGH32 0x100000000ull

/* Values out of range; the ones in range beside them succeed. */
static const struct value values[] = {
    {3, 2, 6, {0, 0}, BAD},
    {3, 2, 6, {(1536ull << 20) + 1, 0}, BAD},
    {3, 2, 6, {TOP, 0}, BAD},
    {3, 2, 6, {0x4000, 3}, BAD},
    {3, 2, 6, {0x4000, 1ull << 31}, BAD},
    {3, 2, 6, {1536ull << 20, 0}, VD_DEXT_NO_SPACE}, /* a region is there already */
    {4, 0, 0, {0}, VD_DEXT_NOT_FOUND},
    {5, 3, 3, {1, ADDRESS, 0}, BAD},
    {5, 3, 3, {1, TOP, 2}, BAD},
    {5, 3, 3, {1, 2, TOP}, BAD},
    {5, 3, 3, {1, TOP, 1}, 0},
    {5, 3, 3, {2, 0, TOP}, VD_DEXT_NO_SPACE},
    {5, 3, 3, {KEY, ADDRESS, SIZE}, VD_DEXT_STILL_OPEN},
    {5, 3, 3, {KEY, ADDRESS, TOP - ADDRESS}, VD_DEXT_STILL_OPEN},
    {6, 1, 0, {KEY + 1}, VD_DEXT_NOT_FOUND},
    {7, 2, 1, {KEY + 1, 0}, VD_DEXT_NOT_FOUND},
    {7, 2, 1, {KEY, SIZE - 7}, BAD},
    {7, 2, 1, {KEY, TOP}, BAD},
    {8, 2, 1, {0, 0}, BAD},
    {8, 2, 1, {0, 3}, BAD},
    {8, 2, 1, {0, 8}, BAD},
    {8, 2, 1, {2, 4}, BAD},
    {8, 2, 1, {1, 2}, BAD},
    {8, 2, 1, {0xfff, 1}, 0},
    {8, 2, 1, {0x1000, 1}, BAD},
    {8, 2, 1, {HIGH32, 4}, BAD},
    {8, 2, 1, {0, HIGH32 + 4}, BAD},
    {8, 2, 1, {TOP - 3, 4}, BAD},
    {9, 3, 0, {0, 0, 0}, BAD},
    {9, 3, 0, {6, 4, 0}, BAD},
    {9, 3, 0, {0x1000, 4, 0}, BAD},
    {9, 3, 0, {HIGH32 + 4, 2, 0}, BAD},
    {10, 1, 3, {6}, 0},
    {10, 1, 3, {7}, BAD},
    {10, 1, 3, {HIGH32}, BAD},
    {11, 3, 1, {0, 0, 0}, BAD},
    {11, 3, 1, {0, 0, 16}, BAD},
    {11, 3, 1, {0, 4, 8}, BAD},
    {11, 3, 1, {0, 0x10000, 4}, BAD},
    {11, 3, 1, {0, TOP - 3, 4}, BAD},
    {11, 3, 1, {3, 0, 4}, BAD},
    {11, 3, 1, {HIGH32, 0, 4}, BAD},
    {11, 3, 1, {MOCK_ROM_INDEX, 0x7ffc, 4}, 0},
    {11, 3, 1, {MOCK_ROM_INDEX, 0x8000, 4}, BAD},
    {12, 4, 0, {0, 0, 3, 0}, BAD},
    {12, 4, 0, {0, 0x10000, 1, 0}, BAD},
    {12, 4, 0, {MOCK_ROM_INDEX, 0, 4, 0}, VD_DEXT_NOT_PERMITTED},
    {14, 0, 4, {0}, VD_DEXT_NOT_READY},
    {16, 4, 0, {0}, VD_DEXT_NOT_READY},
    {32, 1, 4, {0}, BAD},
    {32, 1, 4, {TOP}, 0},
};

static void values_out_of_range_are_refused_and_nothing_is_left(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(rig_register(rig, KEY, ADDRESS, SIZE), 0);
    for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        const struct value *v = &values[i];
        uint64_t out[16];
        int got = rig_call(rig->a, v->selector, v->in, v->nr_in, out, v->nr_out);

        if (got != v->status)
            fail_msg("selector %u, value %u: 0x%x", v->selector, i, (unsigned)got);
    }
    assert_int_equal(rig_limit(rig, VD_DEXT_USE_MAPPINGS), 2);
    assert_int_equal(rig->mock.live_mappings, 2);
    assert_int_equal(rig->mock.live_buffers, 0);
    assert_null(rig->mock.violation);
}

static void waiting_without_interrupts_is_not_ready(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(rig_wait(rig->a, VD_DEXT_WAIT_INTERRUPT, rig_handle(1)), VD_DEXT_NOT_READY);
    assert_int_equal(rig->mock.nr_completions, 0);
}

static void interrupts_are_set_up_once(void **state)
{
    struct rig *rig = *state;
    uint64_t vectors;

    assert_int_equal(rig_call(rig->a, VD_DEXT_SETUP_INTERRUPTS, NO_IN, &vectors, 1), VD_DEXT_STILL_OPEN);
}

static void identity_and_features_are_as_the_abi_says(void **state)
{
    struct rig *rig = *state;
    uint64_t out[6];

    assert_int_equal(rig_call(rig->b, VD_DEXT_GET_IDENTITY, NO_IN, out, 6), 0);
    assert_int_equal(out[0], 0x12);
    assert_int_equal(out[1], 0x1f);
    assert_int_equal(out[2], 7);
    assert_int_equal(out[3], 0x1234);
    assert_int_equal(out[4], 0x5678);
    assert_int_equal(out[5], 0x010802);
    assert_int_equal(rig_call(rig->b, VD_DEXT_GET_FEATURES, IN(1), out, 4), 0);
    assert_int_equal(out[0], 1);
    assert_int_equal(out[1], 511);
    assert_int_equal(out[2], 4096);
    assert_int_equal(out[3], 16384);
}

static void bars_are_told_by_number(void **state)
{
    struct rig *rig = *state;
    static const uint64_t want[][3] = {{0, 0x10000, 0}, {0, 0, 0}, {1, 0x100000, 12},          {0, 0, 0},
                                       {2, 0x100, 1},   {0, 0, 0}, {MOCK_ROM_INDEX, 0x8000, 0}};

    for (uint64_t bar = 0; bar < 7; bar++) {
        uint64_t out[3];

        assert_int_equal(rig_call(rig->a, VD_DEXT_GET_BAR_INFO, IN(bar), out, 3), 0);
        assert_memory_equal(out, want[bar], sizeof(out));
    }
}

static void accesses_reach_the_register_with_their_width(void **state)
{
    struct rig *rig = *state;
    uint64_t value;

    assert_int_equal(rig_call(rig->a, VD_DEXT_MMIO_WRITE, IN(0, 8, 8, 0x1122334455667788), NULL, 0), 0);
    assert_int_equal(rig_call(rig->a, VD_DEXT_MMIO_WRITE, IN(0, 10, 2, 0xffffffffffffabcd), NULL, 0), 0);
    assert_int_equal(rig_call(rig->a, VD_DEXT_MMIO_READ, IN(0, 8, 8), &value, 1), 0);
    assert_int_equal(value, 0x11223344abcd7788);
    assert_int_equal(rig_call(rig->a, VD_DEXT_MMIO_READ, IN(0, 11, 1), &value, 1), 0);
    assert_int_equal(value, 0xab);
    assert_int_equal(rig_call(rig->a, VD_DEXT_CONFIG_WRITE, IN(0x3c, 1, 0xffff42), NULL, 0), 0);
    assert_int_equal(rig_call(rig->a, VD_DEXT_CONFIG_READ, IN(0x3c, 4), &value, 1), 0);
    assert_int_equal(value, 0x42);
    assert_int_equal(rig_call(rig->a, VD_DEXT_CONFIG_READ, IN(2, 2), &value, 1), 0);
    assert_int_equal(value, 0x5678);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_selector_takes_its_counts),
        cmocka_unit_test(more_room_for_scalars_is_fine_and_the_count_is_the_selectors),
        cmocka_unit_test(wrong_counts_are_refused),
        cmocka_unit_test(byte_blocks_where_there_are_none_are_refused),
        cmocka_unit_test(byte_blocks_of_a_wrong_size_are_refused),
        cmocka_unit_test(a_completion_handle_is_needed_exactly_where_a_call_is_async),
        cmocka_unit_test(what_needs_a_claim_is_refused_while_nobody_has_it),
        cmocka_unit_test(what_needs_a_claim_is_refused_while_another_has_it),
        cmocka_unit_test(everything_works_after_a_reset),
        cmocka_unit_test(after_removal_only_what_does_not_touch_the_device_works),
        cmocka_unit_test_setup_teardown(other_selectors_are_unsupported, rig_setup_claimed, rig_teardown),
        cmocka_unit_test_setup_teardown(values_out_of_range_are_refused_and_nothing_is_left,
                                        rig_setup_claimed, rig_teardown),
        cmocka_unit_test_setup_teardown(waiting_without_interrupts_is_not_ready, rig_setup_claimed,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(interrupts_are_set_up_once, rig_setup_irqs, rig_teardown),
        cmocka_unit_test_setup_teardown(identity_and_features_are_as_the_abi_says, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(bars_are_told_by_number, rig_setup_claimed, rig_teardown),
        cmocka_unit_test_setup_teardown(accesses_reach_the_register_with_their_width, rig_setup_claimed,
                                        rig_teardown),
    };

    return cmocka_run_group_tests_name("conformance", tests, NULL, NULL);
}
