/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the device is. The constant part is learnt once, when the extension starts, so that telling it needs no claim.
 * Config space is the device's word: the walk along its capabilities is bounded, and one that does not fit is ignored.
 */
#include <string.h>

#include "base/range.h"
#include "dext/core/config.h"

/* As many as fit between 0x40 and 0x100: a longer chain is a loop. */
enum { MAX_CAPABILITIES = (CFG_CAPABILITIES_END - CFG_FIRST_CAPABILITY) / 4 };

/* Where the offset of a capability is kept and how many of its bytes are read; NULL: not of interest. */
static uint8_t *capability_slot(struct vd_dext_caps *caps, uint32_t id, uint32_t *size)
{
    switch (id) {
    case CAP_PM:
        *size = PM_CONTROL + 2;
        return &caps->pm;
    case CAP_MSI:
        *size = 4;
        return &caps->msi;
    case CAP_MSIX:
        *size = 4;
        return &caps->msix;
    case CAP_PCIE:
        *size = PCIE_LNKSTA + 2;
        return &caps->pcie;
    case CAP_AF:
        *size = AF_STATUS + 1;
        return &caps->af;
    default:
        return NULL;
    }
}

/* The first of each kind counts. */
static void note_capability(struct vd_dext_caps *caps, uint32_t id, uint32_t at)
{
    uint32_t size;
    uint8_t *slot = capability_slot(caps, id, &size);

    if (slot && !*slot && at + size <= CFG_CAPABILITIES_END)
        *slot = (uint8_t)at;
}

static int find_capabilities(struct vd_dext *dext)
{
    uint32_t at = 0, header = 0;
    int ret = vd_dext_config_get(dext, CFG_STATUS, 2, &header);

    if (ret || !(header & STATUS_CAPABILITIES))
        return ret;
    ret = vd_dext_config_get(dext, CFG_CAPABILITIES, 1, &at);
    for (unsigned n = 0; !ret && n < MAX_CAPABILITIES; n++) {
        at &= 0xfc;
        if (at < CFG_FIRST_CAPABILITY)
            break;
        ret = vd_dext_config_get(dext, at, 2, &header);
        if (ret || (header & 0xff) == CAP_NOTHING)
            break;
        note_capability(&dext->caps, header & 0xff, at);
        at = header >> 8;
    }
    return ret;
}

static int learn_identity(struct vd_dext *dext)
{
    struct vd_dext_description *d = &dext->description;
    uint32_t id, class, subsystem, type;
    int ret = vd_dext_config_get(dext, CFG_ID, 4, &id);

    if (!ret)
        ret = vd_dext_config_get(dext, CFG_CLASS, 4, &class);
    if (!ret)
        ret = vd_dext_config_get(dext, CFG_SUBSYSTEM, 4, &subsystem);
    if (!ret)
        ret = vd_dext_config_get(dext, CFG_HEADER_TYPE, 1, &type);
    if (ret)
        return ret;
    dext->ops->location(dext->hw, &d->bus, &d->device, &d->function);
    d->vendor_id = vd_put16((uint16_t)id);
    d->device_id = vd_put16((uint16_t)(id >> 16));
    d->revision = (uint8_t) class;
    d->class_code = vd_put32(class >> 8);
    d->subvendor_id = vd_put16((uint16_t)subsystem);
    d->subdevice_id = vd_put16((uint16_t)(subsystem >> 16));
    dext->caps.ordinary = (type & 0x7f) == 0;
    return VD_DEXT_SUCCESS;
}

/* PCI 6.8.1.3 and 6.8.2.3. */
static int learn_vectors(struct vd_dext *dext)
{
    struct vd_dext_description *d = &dext->description;
    uint32_t control, power;
    int ret = VD_DEXT_SUCCESS;

    if (dext->caps.msi) {
        ret = vd_dext_config_get(dext, dext->caps.msi + 2u, 2, &control);
        power = control >> 1 & 7;
        if (!ret && power <= 5)
            d->msi_vectors = vd_put16((uint16_t)(1u << power));
    }
    if (!ret && dext->caps.msix) {
        ret = vd_dext_config_get(dext, dext->caps.msix + 2u, 2, &control);
        if (!ret)
            d->msix_vectors = vd_put16((uint16_t)((control & 0x7ff) + 1));
    }
    return ret;
}

static int learn_pcie(struct vd_dext *dext)
{
    struct vd_dext_caps *caps = &dext->caps;
    uint32_t flags, devcap, link;
    int ret;

    if (!caps->pcie)
        return VD_DEXT_SUCCESS;
    ret = vd_dext_config_get(dext, caps->pcie + PCIE_FLAGS, 2, &flags);
    if (!ret)
        ret = vd_dext_config_get(dext, caps->pcie + PCIE_DEVCAP, 4, &devcap);
    if (!ret)
        ret = vd_dext_config_get(dext, caps->pcie + PCIE_LNKSTA, 2, &link);
    if (ret)
        return ret;
    caps->flr = devcap & DEVCAP_FLR;
    caps->has_devctl2 = (flags & PCIE_VERSION) >= 2 && caps->pcie + PCIE_DEVCTL2 + 2 <= CFG_CAPABILITIES_END;
    dext->description.link_speed = link & 0xf;
    dext->description.link_width = link >> 4 & 0x3f;
    return VD_DEXT_SUCCESS;
}

static int learn_resets(struct vd_dext *dext)
{
    struct vd_dext_caps *caps = &dext->caps;
    uint32_t kinds = dext->ops->reset_kinds(dext->hw);
    uint32_t value;
    int ret = VD_DEXT_SUCCESS;

    if (caps->af) {
        ret = vd_dext_config_get(dext, caps->af + AF_CAP, 1, &value);
        caps->af_flr = !ret && (value & AF_CAP_FLR) && (value & AF_CAP_TP);
    }
    if (!ret && caps->pm) {
        ret = vd_dext_config_get(dext, caps->pm + PM_CONTROL, 2, &value);
        caps->power_resets = !ret && !(value & PM_NO_SOFT_RESET);
    }
    if (!caps->flr && !caps->af_flr)
        kinds &= ~(uint32_t)VD_DEXT_RESET_FLR;
    if (!caps->power_resets)
        kinds &= ~(uint32_t)VD_DEXT_RESET_POWER;
    dext->description.resets = vd_put16((uint16_t)kinds);
    return ret;
}

static int learn_bars(struct vd_dext *dext)
{
    for (uint32_t i = 0; i <= VD_DEXT_ROM; i++) {
        struct vd_dext_bar *bar = &dext->bars[i];
        int ret = dext->ops->bar_info(dext->hw, i, &bar->memory_index, &bar->size, &bar->type);

        if (ret == VD_DEXT_NO_DEVICE)
            return ret;
        if (ret || !bar->size) /* a host that answers an absent BAR with an error means the same */
            *bar = (struct vd_dext_bar){0};
        dext->description.bars[i] = (struct vd_dext_description_bar){
            .size = vd_put64(bar->size),
            .type = vd_put32(bar->type),
            .memory_index = vd_put32(bar->memory_index),
        };
    }
    return VD_DEXT_SUCCESS;
}

static void learn_model(struct vd_dext *dext)
{
    const char *model = dext->ops->model ? dext->ops->model(dext->hw) : NULL;
    char *copy = dext->description.model;

    for (size_t i = 0; model && model[i] && i + 1 < sizeof(dext->description.model); i++)
        copy[i] = model[i];
}

static int learn_limits(struct vd_dext *dext)
{
    dext->ops->dma_limits(dext->hw, &dext->limits);
    if (!vd_is_power_of_two(dext->limits.granule) || dext->limits.max_segments == 0 ||
        dext->limits.max_segments > VD_DEXT_MAX_SEGMENTS)
        return VD_DEXT_BAD_ARGUMENT;
    return VD_DEXT_SUCCESS;
}

int vd_dext_learn(struct vd_dext *dext)
{
    static int (*const steps[])(struct vd_dext *) = {
        learn_identity, find_capabilities, learn_vectors, learn_pcie, learn_resets, learn_bars, learn_limits,
    };
    uint32_t command;
    int ret = VD_DEXT_SUCCESS;

    for (size_t i = 0; !ret && i < sizeof(steps) / sizeof(steps[0]); i++)
        ret = steps[i](dext);
    if (ret)
        return ret;
    learn_model(dext);
    /* A function that does not answer is kept: people need to be told about it. */
    ret = vd_dext_command_get(dext, &command);
    return ret == VD_DEXT_NOT_RESPONDING ? VD_DEXT_SUCCESS : ret;
}

int vd_dext_get_identity(struct vd_dext_client *client, struct vd_dext_call *call)
{
    const struct vd_dext_description *d = &client->dext->description;

    call->scalars_out[0] = d->bus;
    call->scalars_out[1] = d->device;
    call->scalars_out[2] = d->function;
    call->scalars_out[3] = vd_get16(d->vendor_id);
    call->scalars_out[4] = vd_get16(d->device_id);
    call->scalars_out[5] = vd_get32(d->class_code);
    return VD_DEXT_SUCCESS;
}

/* COMMAND now. Without a claim the provider is opened for the moment; when that is refused, what was last seen counts. */
static uint16_t look_at_command(struct vd_dext *dext)
{
    uint32_t command;
    int ret = VD_DEXT_SUCCESS;

    if (dext->gone)
        return COMMAND_ALL_ONES;
    if (!dext->owner)
        ret = dext->ops->open(dext->hw);
    if (!ret) {
        ret = vd_dext_command_get(dext, &command);
        if (!dext->owner)
            dext->ops->close(dext->hw);
    }
    return ret == VD_DEXT_NO_DEVICE ? COMMAND_ALL_ONES : dext->command;
}

int vd_dext_describe(struct vd_dext_client *client, struct vd_dext_call *call)
{
    struct vd_dext *dext = client->dext;
    struct vd_dext_description d = dext->description;
    uint32_t state = dext->gone ? VD_DEXT_STATE_GONE : 0;

    if (dext->owner)
        state |= VD_DEXT_STATE_CLAIMED;
    if (dext->owner == client)
        state |= VD_DEXT_STATE_CLAIMED_BY_CALLER;
    d.state = vd_put32(state);
    d.clients = vd_put32(dext->nr_clients);
    d.irq_vectors = vd_put16(dext->irqs.set_up ? (uint16_t)dext->irqs.nr_vectors : 0);
    d.command = vd_put16(look_at_command(dext));
    memcpy(call->bytes_out, &d, sizeof(d));
    call->nr_bytes_out = sizeof(d);
    return VD_DEXT_SUCCESS;
}
