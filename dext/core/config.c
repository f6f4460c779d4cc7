/* SPDX-License-Identifier: BSD-3-Clause */
/* Config space as the core itself uses it: COMMAND, bus mastering, pending transactions. */
#include "dext/core/config.h"

/* PCIe 6.6.2 expects completions within 100 ms when no new request is made. */
enum { DRAIN_POLLS = 100, DRAIN_STEP_US = 1000 };

int vd_dext_config_get(const struct vd_dext *dext, uint32_t offset, uint32_t width, uint32_t *value)
{
    *value = 0;
    return dext->ops->config_read(dext->hw, offset, width, value);
}

int vd_dext_config_put(const struct vd_dext *dext, uint32_t offset, uint32_t width, uint32_t value)
{
    return dext->ops->config_write(dext->hw, offset, width, value);
}

int vd_dext_command_get(struct vd_dext *dext, uint32_t *value)
{
    int ret = vd_dext_config_get(dext, CFG_COMMAND, 2, value);

    if (ret)
        return ret;
    dext->command = (uint16_t)*value;
    return *value == COMMAND_ALL_ONES ? VD_DEXT_NOT_RESPONDING : VD_DEXT_SUCCESS;
}

/* A function whose COMMAND cannot be read is told to stop all the same. */
int vd_dext_bus_master_off(struct vd_dext *dext)
{
    uint32_t command;
    int seen = vd_dext_command_get(dext, &command);
    int ret;

    if (seen == VD_DEXT_NO_DEVICE)
        return seen;
    command = seen ? COMMAND_MEMORY : command & ~(uint32_t)COMMAND_BUS_MASTER;
    ret = vd_dext_config_put(dext, CFG_COMMAND, 2, command);
    if (!ret)
        ret = vd_dext_command_get(dext, &command); /* also pushes the write out to the function */
    if (!ret && command & COMMAND_BUS_MASTER)
        ret = VD_DEXT_IO_ERROR;
    return seen ? seen : ret;
}

static int read_pending(const struct vd_dext *dext, bool *pending)
{
    uint32_t status = 0;
    int ret = VD_DEXT_SUCCESS;

    *pending = false;
    if (dext->caps.pcie) {
        ret = vd_dext_config_get(dext, dext->caps.pcie + PCIE_DEVSTA, 2, &status);
        *pending = status & DEVSTA_PENDING;
    } else if (dext->caps.af) {
        ret = vd_dext_config_get(dext, dext->caps.af + AF_STATUS, 1, &status);
        *pending = status & AF_STATUS_PENDING;
    }
    return ret;
}

int vd_dext_drain(const struct vd_dext *dext)
{
    bool pending;
    int ret;

    for (unsigned poll = 0;; poll++) {
        ret = read_pending(dext, &pending);
        if (ret || !pending)
            return ret;
        if (poll == DRAIN_POLLS)
            return VD_DEXT_TIMEOUT;
        dext->os->sleep_us(dext->os->opaque, DRAIN_STEP_US);
    }
}

int vd_dext_quiesce(struct vd_dext_client *client, struct vd_dext_call *call)
{
    int ret = vd_dext_bus_master_off(client->dext);

    (void)call;
    return ret ? ret : vd_dext_drain(client->dext);
}
