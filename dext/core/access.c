/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Config space and BARs, access by access, for the client that has the claim. It is checked that an access lies where it
 * may; what is written is not judged: as in the RFC, the owner is trusted with the whole of config space, and keeping a
 * guest from the fields that the host owns (BARs, MSI, DevCtl) is the work of the client's config-space virtualisation.
 * Values wider than the access are cut, as the RFC's extension does.
 */
#include "base/range.h"
#include "dext/core/config.h"

static uint64_t cut(uint64_t value, uint64_t width)
{
    return width < 8 ? value & ((1ull << (8 * width)) - 1) : value;
}

/* Natural: a power of two up to `most` bytes, aligned to itself, inside [0, size). */
static bool is_natural(uint64_t offset, uint64_t width, uint64_t most, uint64_t size)
{
    return vd_is_power_of_two(width) && width <= most && vd_is_aligned(offset, width) &&
           vd_span_fits(offset, width, size);
}

int vd_dext_do_config_read(struct vd_dext_client *client, struct vd_dext_call *call)
{
    const uint64_t *in = call->scalars_in;
    uint32_t value;
    int ret;

    if (!is_natural(in[0], in[1], 4, CFG_SIZE))
        return VD_DEXT_BAD_ARGUMENT;
    ret = vd_dext_config_get(client->dext, (uint32_t)in[0], (uint32_t)in[1], &value);
    if (!ret)
        call->scalars_out[0] = cut(value, in[1]);
    return ret;
}

int vd_dext_do_config_write(struct vd_dext_client *client, struct vd_dext_call *call)
{
    const uint64_t *in = call->scalars_in;

    if (!is_natural(in[0], in[1], 4, CFG_SIZE))
        return VD_DEXT_BAD_ARGUMENT;
    return vd_dext_config_put(client->dext, (uint32_t)in[0], (uint32_t)in[1], (uint32_t)cut(in[2], in[1]));
}

/* An absent BAR has size 0, so that a client can ask for all of them. */
int vd_dext_get_bar_info(struct vd_dext_client *client, struct vd_dext_call *call)
{
    const struct vd_dext_bar *bar;

    if (call->scalars_in[0] > VD_DEXT_ROM)
        return VD_DEXT_BAD_ARGUMENT;
    bar = &client->dext->bars[call->scalars_in[0]];
    call->scalars_out[0] = bar->memory_index;
    call->scalars_out[1] = bar->size;
    call->scalars_out[2] = bar->type;
    return VD_DEXT_SUCCESS;
}

/* The number of the BAR that such an access lies in, or -1. */
static int find_bar(const struct vd_dext *dext, uint64_t memory_index, uint64_t offset, uint64_t width)
{
    for (int i = 0; i <= VD_DEXT_ROM; i++)
        if (dext->bars[i].size && dext->bars[i].memory_index == memory_index)
            return is_natural(offset, width, 8, dext->bars[i].size) ? i : -1;
    return -1;
}

int vd_dext_do_mmio_read(struct vd_dext_client *client, struct vd_dext_call *call)
{
    const struct vd_dext *dext = client->dext;
    const uint64_t *in = call->scalars_in;
    uint64_t value = 0;
    int ret;

    if (find_bar(dext, in[0], in[1], in[2]) < 0)
        return VD_DEXT_BAD_ARGUMENT;
    ret = dext->ops->mmio_read(dext->hw, (uint32_t)in[0], in[1], (uint32_t)in[2], &value);
    if (!ret)
        call->scalars_out[0] = cut(value, in[2]);
    return ret;
}

int vd_dext_do_mmio_write(struct vd_dext_client *client, struct vd_dext_call *call)
{
    const struct vd_dext *dext = client->dext;
    const uint64_t *in = call->scalars_in;
    int bar = find_bar(dext, in[0], in[1], in[2]);

    if (bar < 0)
        return VD_DEXT_BAD_ARGUMENT;
    if (bar == VD_DEXT_ROM)
        return VD_DEXT_NOT_PERMITTED;
    return dext->ops->mmio_write(dext->hw, (uint32_t)in[0], in[1], (uint32_t)in[2], cut(in[3], in[2]));
}
