/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One life of a connection that uses everything, again and again, with the first, the second, the third ... step that can
 * fail made to fail. Whatever it is, nothing is left, no promise is broken, and the next connection works.
 */
#include <stdlib.h>

#include "rig.h"

enum { ENOUGH = 2000, REGIONS = 40, GRANULE = 16384 };

struct batch {
    struct vd_dext_register_in head;
    struct vd_dext_region regions[REGIONS];
};

static void register_many(struct vd_dext_client *client)
{
    uint8_t out[16 + REGIONS * 16 + REGIONS * 32];
    struct batch in = {.head = {vd_put32(REGIONS), vd_put32(REGIONS * 2), vd_put64(0)}};
    size_t room = sizeof(out);

    for (uint32_t i = 0; i < REGIONS; i++)
        in.regions[i] = (struct vd_dext_region){vd_put64(i), vd_put64(i * GRANULE), vd_put64(GRANULE),
                                                vd_put32(3), vd_put32(0)};
    rig_block(client, VD_DEXT_REGISTER_BATCH, &in, sizeof(in), out, &room);
}

static void unregister_many(struct vd_dext_client *client)
{
    struct {
        struct vd_dext_unregister_in head;
        vd_le64 keys[REGIONS / 2];
    } in = {.head = {vd_put32(REGIONS / 2), vd_put32(0)}};
    uint8_t out[8 + REGIONS / 2 * 4];
    size_t room = sizeof(out);

    for (uint32_t i = 0; i < REGIONS / 2; i++)
        in.keys[i] = vd_put64(i * 2);
    rig_block(client, VD_DEXT_UNREGISTER_BATCH, &in, sizeof(in), out, &room);
}

/* Any answer will do. */
static void use_everything(struct mock *m, struct vd_dext *dext, struct vd_dext_client *client)
{
    struct vd_dext_description description;
    size_t room = sizeof(description);
    struct vd_dext_memory memory;
    uint64_t out[16];

    rig_block(client, VD_DEXT_DESCRIBE, NULL, 0, &description, &room);
    rig_call(client, VD_DEXT_CLAIM, NO_IN, NULL, 0);
    rig_call(client, VD_DEXT_ALLOCATE_DMA_BUFFER, IN(0x8000, 0), out, 6);
    rig_call(client, VD_DEXT_REGISTER_DMA_REGION, IN(1000, 0x4000, 0x4000), out, 3);
    rig_call(client, VD_DEXT_PROBE_DMA_REGION, IN(1000, 0), out, 1);
    m->runs = 2;
    register_many(client);
    vd_dext_memory(client, VD_DEXT_MEMORY_IRQ_PAGE, &memory);
    rig_call(client, VD_DEXT_SETUP_INTERRUPTS, NO_IN, out, 1);
    rig_wait(client, VD_DEXT_WAIT_INTERRUPT, rig_handle(1));
    rig_wait(client, VD_DEXT_WAIT_EVENT, rig_handle(2));
    rig_call(client, VD_DEXT_SET_IRQ_MASK, IN(1, 0, 0, 0), NULL, 0);
    if (m->irqs_on)
        vd_dext_irq(dext, 0);
    vd_dext_event(dext, VD_DEXT_EVENT_ERROR);
    rig_call(client, VD_DEXT_MMIO_READ, IN(0, 0, 4), out, 1);
    rig_call(client, VD_DEXT_MMIO_WRITE, IN(0, 0, 4, 1), NULL, 0);
    unregister_many(client);
    rig_call(client, VD_DEXT_RESET_DEVICE, NO_IN, NULL, 0);
    rig_call(client, VD_DEXT_QUIESCE, NO_IN, NULL, 0);
    rig_call(client, VD_DEXT_GET_LIMITS, NO_IN, out, VD_DEXT_NR_LIMITS);
    m->runs = 1;
}

/* A life with a failure; true when that was reached. One that passes is followed by a life without. */
static bool live(unsigned fail_at, uint32_t reset_works, bool lasts)
{
    struct mock *m = calloc(1, sizeof(*m));
    struct vd_dext_os os = mock_os(m);
    struct vd_dext_client *client = NULL;
    struct vd_dext *dext = NULL;
    const char *wrong;
    bool hit;

    assert_non_null(m);
    mock_init(m);
    m->reset_works = reset_works;
    m->fail_at = fail_at;
    m->fail_lasts = lasts;
    m->fail_status = lasts ? VD_DEXT_NO_DEVICE : VD_DEXT_IO_ERROR;
    if (vd_dext_create(&os, &mock_ops, m, NULL, &dext) == 0) {
        m->dext = dext;
        if (vd_dext_client_open(dext, NULL, &client) == 0)
            use_everything(m, dext, client);
        vd_dext_client_close(client);
        assert_false(m->is_open);
        assert_int_equal(m->live_mappings + m->live_buffers + m->live_pages, 0);
        mock_forget(m);
        if (m->hit && !lasts) {
            assert_int_equal(vd_dext_client_open(dext, NULL, &client), 0);
            assert_int_equal(rig_call(client, VD_DEXT_CLAIM, NO_IN, NULL, 0), 0);
            use_everything(m, dext, client);
            assert_int_equal(m->nr_completions, 2);
            vd_dext_client_close(client);
        }
        vd_dext_destroy(dext);
    }
    hit = m->hit;
    wrong = mock_leftover(m);
    if (wrong)
        fail_msg("step %u: %s", fail_at, wrong);
    free(m);
    return hit;
}

static void any_step_may_fail_where_the_framework_resets(void **state)
{
    unsigned at = 1;

    (void)state;
    while (at < ENOUGH && live(at, VD_DEXT_RESET_FLR, false))
        at++;
    assert_in_range(at, 90, ENOUGH - 1); /* many steps can fail, and there is an end to them */
}

static void any_step_may_fail_where_the_core_resets(void **state)
{
    unsigned at = 1;

    (void)state;
    while (at < ENOUGH && live(at, 0, false))
        at++;
    assert_in_range(at, 130, ENOUGH - 1);
}

/* The device has gone, and every access says so, but nobody has called vd_dext_gone() yet. */
static void the_device_may_vanish_at_any_step(void **state)
{
    unsigned at = 1;

    (void)state;
    while (at < ENOUGH && live(at, 0, true))
        at++;
    assert_in_range(at, 130, ENOUGH - 1);
}

/* The device is pulled before each call of a life, instead of a failure. */
static void the_device_may_go_at_any_step(void **state)
{
    (void)state;
    for (unsigned pull_at = 0; pull_at < 8; pull_at++) {
        struct rig *rig = calloc(1, sizeof(*rig));
        uint64_t out[16];

        assert_non_null(rig);
        mock_init(&rig->mock);
        rig_start(rig, NULL);
        for (unsigned at = 0; at < 8; at++) {
            if (at == pull_at)
                mock_pull(&rig->mock, rig->dext);
            if (at == 0)
                rig_call(rig->a, VD_DEXT_CLAIM, NO_IN, NULL, 0);
            else if (at == 1)
                rig_call(rig->a, VD_DEXT_ALLOCATE_DMA_BUFFER, IN(0x8000, 0), out, 6);
            else if (at == 2)
                register_many(rig->a);
            else if (at == 3)
                rig_call(rig->a, VD_DEXT_SETUP_INTERRUPTS, NO_IN, out, 1);
            else if (at == 4)
                rig_wait(rig->a, VD_DEXT_WAIT_INTERRUPT, rig_handle(1));
            else if (at == 5)
                unregister_many(rig->a);
            else if (at == 6)
                rig_call(rig->a, VD_DEXT_RESET_DEVICE, NO_IN, NULL, 0);
        }
        rig_stop(rig);
        free(rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_step_may_fail_where_the_framework_resets),
        cmocka_unit_test(any_step_may_fail_where_the_core_resets),
        cmocka_unit_test(the_device_may_vanish_at_any_step),
        cmocka_unit_test(the_device_may_go_at_any_step),
    };

    return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
