/* SPDX-License-Identifier: BSD-3-Clause */
/* What every test of the core begins and ends with; see rig.h. */
#include "rig.h"

#include <stdlib.h>

int rig_start(struct rig *rig, const struct vd_dext_quota *quota)
{
    rig->os = mock_os(&rig->mock);
    assert_int_equal(vd_dext_create(&rig->os, &mock_ops, &rig->mock, quota, &rig->dext), 0);
    rig->mock.dext = rig->dext;
    assert_int_equal(vd_dext_client_open(rig->dext, rig_handle(100), &rig->a), 0);
    assert_int_equal(vd_dext_client_open(rig->dext, rig_handle(200), &rig->b), 0);
    mock_forget(&rig->mock);
    return 0;
}

void rig_stop(struct rig *rig)
{
    const char *wrong;

    vd_dext_client_close(rig->a);
    vd_dext_client_close(rig->b);
    vd_dext_destroy(rig->dext);
    wrong = mock_leftover(&rig->mock);
    if (wrong)
        fail_msg("%s", wrong);
}

int rig_setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    mock_init(&rig->mock);
    *state = rig;
    return rig_start(rig, NULL);
}

int rig_setup_claimed(void **state)
{
    struct rig *rig;

    rig_setup(state);
    rig = *state;
    assert_int_equal(rig_call(rig->a, VD_DEXT_CLAIM, NO_IN, NULL, 0), 0);
    mock_forget(&rig->mock);
    return 0;
}

int rig_setup_irqs(void **state)
{
    uint64_t vectors;
    struct rig *rig;

    rig_setup_claimed(state);
    rig = *state;
    assert_int_equal(rig_call(rig->a, VD_DEXT_SETUP_INTERRUPTS, NO_IN, &vectors, 1), 0);
    assert_int_equal(vectors, rig->mock.vectors);
    mock_forget(&rig->mock);
    return 0;
}

int rig_teardown(void **state)
{
    rig_stop(*state);
    free(*state);
    return 0;
}

int rig_call(struct vd_dext_client *client, uint32_t selector, const uint64_t *in, uint32_t nr_in,
             uint64_t *out, uint32_t nr_out)
{
    struct vd_dext_call call = {
        .selector = selector,
        .scalars_in = in,
        .nr_scalars_in = nr_in,
        .scalars_out = out,
        .nr_scalars_out = nr_out,
    };
    int ret = vd_dext_call(client, &call);

    assert_int_equal(call.nr_scalars_out, ret ? 0 : nr_out);
    assert_int_equal(call.nr_bytes_out, 0);
    return ret;
}

int rig_wait(struct vd_dext_client *client, uint32_t selector, void *async)
{
    struct vd_dext_call call = {.selector = selector, .async = async};

    return vd_dext_call(client, &call);
}

int rig_block(struct vd_dext_client *client, uint32_t selector, const void *bytes_in, size_t nr_in,
              void *bytes_out, size_t *nr_out)
{
    struct vd_dext_call call = {
        .selector = selector,
        .bytes_in = bytes_in,
        .nr_bytes_in = nr_in,
        .bytes_out = bytes_out,
        .nr_bytes_out = *nr_out,
    };
    int ret = vd_dext_call(client, &call);

    *nr_out = call.nr_bytes_out;
    return ret;
}

int rig_register(struct rig *rig, uint64_t key, uint64_t address, uint64_t size)
{
    uint64_t out[3];

    return rig_call(rig->a, VD_DEXT_REGISTER_DMA_REGION, IN(key, address, size), out, 3);
}

uint64_t rig_limit(struct rig *rig, enum vd_dext_limit which)
{
    uint64_t out[VD_DEXT_NR_LIMITS];

    assert_int_equal(rig_call(rig->a, VD_DEXT_GET_LIMITS, NO_IN, out, VD_DEXT_NR_LIMITS), 0);
    return out[which];
}
