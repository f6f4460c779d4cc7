/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Events: what happens to the device apart from interrupts. Each connection has its own set of bits that it has not been
 * told yet, so a bit that comes while nobody waits is kept and one that comes twice is told once.
 */
#include "dext/core/core.h"

static void deliver(struct vd_dext_client *client)
{
    const struct vd_dext *dext = client->dext;
    const uint64_t told = client->events;
    void *waiter = client->event_waiter;

    if (!waiter || !told)
        return;
    client->event_waiter = NULL;
    client->events = 0;
    dext->ops->complete(dext->hw, waiter, VD_DEXT_SUCCESS, &told, 1);
}

static void raise(struct vd_dext *dext, uint32_t events)
{
    for (struct vd_dext_client *client = dext->clients; client; client = client->next) {
        client->events |= events;
        deliver(client);
    }
}

int vd_dext_wait_event(struct vd_dext_client *client, struct vd_dext_call *call)
{
    if (client->event_waiter)
        return VD_DEXT_BUSY;
    client->event_waiter = call->async;
    deliver(client);
    return VD_DEXT_SUCCESS;
}

void vd_dext_abort_event_wait(struct vd_dext_client *client)
{
    const struct vd_dext *dext = client->dext;
    void *waiter = client->event_waiter;

    client->event_waiter = NULL;
    if (waiter)
        dext->ops->complete(dext->hw, waiter, VD_DEXT_ABORTED, NULL, 0);
}

/* GONE has a function of its own, which does more than tell. */
void vd_dext_event(struct vd_dext *dext, uint32_t events)
{
    raise(dext, events & (VD_DEXT_EVENT_ERROR | VD_DEXT_EVENT_REQUEST));
}

void vd_dext_gone(struct vd_dext *dext)
{
    dext->gone = true;
    vd_dext_irq_complete(dext, VD_DEXT_NO_DEVICE);
    raise(dext, VD_DEXT_EVENT_GONE);
}
