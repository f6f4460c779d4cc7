/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reset, in the order function level, hot, power state: the first that works ends it. What the host's framework cannot
 * do the core does by config writes, and then puts back what a reset clears: the framework does that itself only around
 * its own resets. Its interrupts are stopped meanwhile, since a reset clears the message address and data as well, and
 * only the framework knows them.
 */
#include <string.h>

#include "dext/core/config.h"

enum {
    SETTLE_US = 100 * 1000, /* PCIe 6.6.2: a function may take so long after an FLR */
    POWER_US = 10 * 1000,   /* PM 5.4: between D0 and D3hot, each way */
    ANSWER_STEP_US = 10 * 1000,
    ANSWER_POLLS = 500,    /* slower than this is broken; clients give up after 10 s */
    ID_NOT_READY = 0x0001, /* PCIe 2.3.2: the vendor id of a function that asks for patience */
};

/* What a config reset clears and the core puts back, once one was tried. */
struct saved {
    bool valid;
    bool irqs_stopped;
    struct vd_dext_registers registers;
};

static int read_registers(struct vd_dext *dext, struct vd_dext_registers *s)
{
    const struct vd_dext_caps *caps = &dext->caps;
    int ret = vd_dext_command_get(dext, &s->command);

    for (uint32_t i = 0; !ret && i < VD_DEXT_BARS; i++)
        ret = vd_dext_config_get(dext, CFG_BAR0 + 4 * i, 4, &s->bars[i]);
    if (!ret)
        ret = vd_dext_config_get(dext, CFG_ROM, 4, &s->rom);
    if (!ret && caps->pcie)
        ret = vd_dext_config_get(dext, caps->pcie + PCIE_DEVCTL, 2, &s->devctl);
    if (!ret && caps->has_devctl2)
        ret = vd_dext_config_get(dext, caps->pcie + PCIE_DEVCTL2, 2, &s->devctl2);
    return ret;
}

static int save(struct vd_dext *dext, struct saved *s)
{
    int ret = read_registers(dext, &s->registers);

    s->valid = ret == VD_DEXT_SUCCESS;
    return ret;
}

/* COMMAND is last: nothing may be decoded or mastered before the rest is right. */
static int restore(struct vd_dext *dext, const struct vd_dext_registers *s)
{
    const struct vd_dext_caps *caps = &dext->caps;
    int ret = VD_DEXT_SUCCESS;

    for (uint32_t i = 0; !ret && i < VD_DEXT_BARS; i++)
        ret = vd_dext_config_put(dext, CFG_BAR0 + 4 * i, 4, s->bars[i]);
    if (!ret)
        ret = vd_dext_config_put(dext, CFG_ROM, 4, s->rom);
    if (!ret && caps->pcie)
        ret = vd_dext_config_put(dext, caps->pcie + PCIE_DEVCTL, 2, s->devctl & ~(uint32_t)DEVCTL_FLR);
    if (!ret && caps->has_devctl2)
        ret = vd_dext_config_put(dext, caps->pcie + PCIE_DEVCTL2, 2, s->devctl2);
    if (!ret)
        ret = vd_dext_config_put(dext, CFG_COMMAND, 2, s->command);
    return ret;
}

int vd_dext_note_registers(struct vd_dext *dext)
{
    return dext->caps.ordinary ? read_registers(dext, &dext->found) : VD_DEXT_SUCCESS;
}

int vd_dext_put_registers(struct vd_dext *dext)
{
    struct vd_dext_registers found = dext->found, now = {0};
    int ret = dext->caps.ordinary ? read_registers(dext, &now) : VD_DEXT_SUCCESS;

    if (ret || !dext->caps.ordinary)
        return ret;
    found.command = now.command;
    if (memcmp(&found, &now, sizeof(now)) == 0)
        return VD_DEXT_SUCCESS;
    found.command &= ~(uint32_t)COMMAND_BUS_MASTER;
    ret = vd_dext_config_put(dext, CFG_COMMAND, 2, COMMAND_INTX_DISABLE); /* nothing is decoded halfway */
    return ret ? ret : restore(dext, &found);
}

/* Waits until the function answers config reads again. */
static int await_answer(const struct vd_dext *dext)
{
    uint32_t id;

    for (unsigned poll = 0; poll < ANSWER_POLLS; poll++) {
        int ret = vd_dext_config_get(dext, CFG_ID, 4, &id);

        if (ret == VD_DEXT_NO_DEVICE)
            return ret;
        if (!ret && id != UINT32_MAX && (id & 0xffff) != ID_NOT_READY)
            return VD_DEXT_SUCCESS;
        dext->os->sleep_us(dext->os->opaque, ANSWER_STEP_US);
    }
    return VD_DEXT_NOT_RESPONDING;
}

static int write_flr(const struct vd_dext *dext)
{
    const struct vd_dext_caps *caps = &dext->caps;
    uint32_t control;
    int ret;

    if (!caps->flr)
        return vd_dext_config_put(dext, caps->af + AF_CONTROL, 1, AF_CONTROL_FLR);
    ret = vd_dext_config_get(dext, caps->pcie + PCIE_DEVCTL, 2, &control);
    if (!ret)
        ret = vd_dext_config_put(dext, caps->pcie + PCIE_DEVCTL, 2, control | DEVCTL_FLR);
    return ret;
}

static int config_flr(struct vd_dext *dext)
{
    int ret = write_flr(dext);

    if (!ret)
        dext->os->sleep_us(dext->os->opaque, SETTLE_US);
    return ret;
}

static int config_power(struct vd_dext *dext)
{
    const uint32_t at = dext->caps.pm + PM_CONTROL;
    uint32_t control;
    int ret = vd_dext_config_get(dext, at, 2, &control);

    control &= ~(uint32_t)(PM_STATE | PM_PME_STATUS);
    if (!ret)
        ret = vd_dext_config_put(dext, at, 2, control | PM_D3HOT);
    if (ret)
        return ret;
    dext->os->sleep_us(dext->os->opaque, POWER_US);
    ret = vd_dext_config_put(dext, at, 2, control);
    if (!ret)
        dext->os->sleep_us(dext->os->opaque, POWER_US);
    return ret;
}

static void stop_irqs(struct vd_dext *dext, struct saved *s)
{
    if (!dext->irqs.set_up || s->irqs_stopped)
        return;
    vd_dext_irq_stop(dext);
    s->irqs_stopped = true;
}

/*
 * An owner may leave the function in D3hot, where nothing but config space answers and a reset need not lead out of it.
 * Waking may be a reset of its own. What goes wrong shows in what follows.
 */
static void wake(struct vd_dext *dext, struct saved *s)
{
    const uint32_t at = dext->caps.pm + PM_CONTROL;
    uint32_t control;

    if (!dext->caps.pm || vd_dext_config_get(dext, at, 2, &control) || control == UINT16_MAX ||
        !(control & PM_STATE))
        return;
    if (dext->caps.ordinary && save(dext, s))
        return;
    stop_irqs(dext, s);
    if (!vd_dext_config_put(dext, at, 2, control & ~(uint32_t)(PM_STATE | PM_PME_STATUS)))
        dext->os->sleep_us(dext->os->opaque, POWER_US);
}

/* The function is quiet and without interrupts before it is reset, and answers afterwards. */
static int by_config(struct vd_dext *dext, struct saved *s, int (*how)(struct vd_dext *))
{
    uint32_t command;
    /* One that did not come back from the kind before is not waited for a second time. */
    int ret = s->valid ? vd_dext_command_get(dext, &command) : save(dext, s);

    if (ret)
        return ret;
    stop_irqs(dext, s);
    ret = vd_dext_config_put(dext, CFG_COMMAND, 2, COMMAND_INTX_DISABLE);
    if (!ret)
        ret = vd_dext_drain(dext);
    if (ret == VD_DEXT_TIMEOUT) {
        vd_dext_log(dext, VD_DEXT_LOG_WARN, "reset: transactions are still pending", 0, 0);
        ret = VD_DEXT_SUCCESS;
    }
    if (!ret)
        ret = how(dext);
    return ret ? ret : await_answer(dext);
}

static int reset_one(struct vd_dext *dext, enum vd_dext_reset_kind kind, struct saved *s)
{
    const struct vd_dext_caps *caps = &dext->caps;
    int ret = dext->ops->reset ? dext->ops->reset(dext->hw, kind) : VD_DEXT_UNSUPPORTED;

    /* Another header has other registers where the BARs would be saved. */
    if (ret != VD_DEXT_UNSUPPORTED || !caps->ordinary)
        return ret;
    if (kind == VD_DEXT_RESET_FLR && (caps->flr || caps->af_flr))
        return by_config(dext, s, config_flr);
    if (kind == VD_DEXT_RESET_POWER && caps->power_resets)
        return by_config(dext, s, config_power);
    return VD_DEXT_UNSUPPORTED;
}

/* Whatever came of it, as much as can be is as it was. */
static int put_back(struct vd_dext *dext, const struct saved *s)
{
    int ret = s->valid ? restore(dext, &s->registers) : VD_DEXT_SUCCESS;

    if (ret)
        vd_dext_log(dext, VD_DEXT_LOG_ERROR, "reset: config space is not restored, status", (uint32_t)ret, 0);
    if (s->irqs_stopped) {
        int irqs = vd_dext_irq_restart(dext);

        if (irqs)
            vd_dext_log(dext, VD_DEXT_LOG_ERROR, "reset: interrupts do not come back, status", (uint32_t)irqs,
                        0);
        ret = ret ? ret : irqs;
    }
    return ret;
}

int vd_dext_reset(struct vd_dext *dext)
{
    static const enum vd_dext_reset_kind order[] = {VD_DEXT_RESET_FLR, VD_DEXT_RESET_HOT,
                                                    VD_DEXT_RESET_POWER};
    const uint32_t possible = dext->ops->reset_kinds(dext->hw);
    struct saved saved = {0};
    int ret = VD_DEXT_UNSUPPORTED;
    int after;

    wake(dext, &saved);
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        int one = possible & order[i] ? reset_one(dext, order[i], &saved) : VD_DEXT_UNSUPPORTED;

        if (one == VD_DEXT_UNSUPPORTED)
            continue;
        ret = one;
        if (ret == VD_DEXT_SUCCESS || ret == VD_DEXT_NO_DEVICE)
            break;
        vd_dext_log(dext, VD_DEXT_LOG_WARN, "reset: one kind failed; kind, status", order[i], (uint32_t)ret);
    }
    after = put_back(dext, &saved);
    return ret ? ret : after;
}

int vd_dext_reset_device(struct vd_dext_client *client, struct vd_dext_call *call)
{
    (void)call;
    return vd_dext_reset(client->dext);
}
