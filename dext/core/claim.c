/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The claim: one connection at a time owns the device. Taking it opens the provider; giving it up, willingly or by dying,
 * stops the device before anything it could still reach is taken away, and leaves it reset for the next owner.
 */
#include "dext/core/config.h"

/* Clients of the RFC's lineage do not set these themselves. */
static int enable_device(struct vd_dext *dext)
{
    uint32_t command;
    int ret = vd_dext_command_get(dext, &command);

    if (ret)
        return ret;
    command |= COMMAND_MEMORY | COMMAND_BUS_MASTER;
    ret = vd_dext_config_put(dext, CFG_COMMAND, 2, command);
    if (!ret)
        dext->command = (uint16_t)command;
    return ret;
}

/* A device whose last reset failed may still run its last owner's queues: no bus mastering before it is reset. */
static int make_clean(struct vd_dext *dext)
{
    int ret = dext->unclean ? vd_dext_reset(dext) : VD_DEXT_SUCCESS;

    if (ret)
        return ret;
    dext->unclean = false;
    return VD_DEXT_SUCCESS;
}

int vd_dext_claim(struct vd_dext_client *client, struct vd_dext_call *call)
{
    struct vd_dext *dext = client->dext;
    int ret;

    (void)call;
    if (dext->owner)
        return vd_dext_check_claim(client);
    ret = dext->ops->open(dext->hw);
    if (ret)
        return ret;
    ret = make_clean(dext);
    if (!ret)
        ret = vd_dext_note_registers(dext);
    if (!ret)
        ret = enable_device(dext);
    if (ret) {
        vd_dext_log(dext, VD_DEXT_LOG_ERROR, "claim: the device cannot be enabled, status", (uint32_t)ret, 0);
        dext->ops->close(dext->hw);
        return ret;
    }
    client->use = (struct vd_dext_use){0};
    dext->owner = client;
    vd_dext_read_faults(dext);
    return VD_DEXT_SUCCESS;
}

/* One step that may fail, which never stops the next. */
static void note(const struct vd_dext *dext, const char *what, int status)
{
    if (status)
        vd_dext_log(dext, VD_DEXT_LOG_ERROR, what, (uint32_t)status, dext->command);
}

/* Leaves the device reset and its config space as the owner found it. */
static void reset_for_the_next(struct vd_dext *dext)
{
    int ret = vd_dext_reset(dext);

    note(dext, "close: the device is not reset; status, COMMAND", ret);
    note(dext, "close: config space is not as it was; status, COMMAND", vd_dext_put_registers(dext));
    /* What cannot be reset at all is not asked to be at the next claim. */
    dext->unclean = ret && ret != VD_DEXT_UNSUPPORTED;
}

/*
 * The order is the point: the device stops mastering before its memory goes, and is reset before others get it. One that
 * does not stop is reset while its memory is still there.
 */
void vd_dext_teardown(struct vd_dext *dext)
{
    struct vd_dext_client *owner = dext->owner;
    int running = 0;

    if (!dext->gone) {
        running = vd_dext_bus_master_off(dext);
        note(dext, "close: bus mastering is not off; status, COMMAND", running);
        note(dext, "close: transactions are still pending; status, COMMAND", vd_dext_drain(dext));
    }
    vd_dext_irq_stop(dext);
    dext->irqs.set_up = false;
    vd_dext_irq_complete(dext, VD_DEXT_ABORTED);
    vd_dext_abort_event_wait(owner);
    if (running && !dext->gone)
        note(dext, "close: a device that does not stop is not reset; status, COMMAND", vd_dext_reset(dext));
    vd_dext_dma_finish(owner);
    if (!dext->gone)
        reset_for_the_next(dext);
    vd_dext_irq_destroy_page(dext);
    dext->ops->close(dext->hw);
    dext->owner = NULL;
}

int vd_dext_terminate(struct vd_dext_client *client, struct vd_dext_call *call)
{
    struct vd_dext *dext = client->dext;

    (void)call;
    vd_dext_teardown(dext);
    if (dext->ops->terminate)
        dext->ops->terminate(dext->hw);
    return VD_DEXT_SUCCESS;
}
