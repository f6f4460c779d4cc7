/* SPDX-License-Identifier: BSD-3-Clause */
/* Life cycle: the device and its connections; see dext.h. What a connection may do is method.c's to say. */
#include <string.h>

#include "dext/core/core.h"

/* The quota is a limit like the IOMMU's own: the lower one holds. */
static void apply_quota(struct vd_dext_dma_limits *limits, const struct vd_dext_quota *quota)
{
    if (quota && quota->bytes && quota->bytes < limits->bytes)
        limits->bytes = quota->bytes;
    if (quota && quota->mappings && quota->mappings < limits->mappings)
        limits->mappings = quota->mappings;
}

static int open_and_learn(struct vd_dext *dext)
{
    int ret = dext->ops->open(dext->hw);

    if (ret)
        return ret;
    ret = vd_dext_learn(dext);
    dext->ops->close(dext->hw);
    return ret;
}

int vd_dext_create(const struct vd_dext_os *os, const struct vd_dext_hw_ops *ops, void *hw,
                   const struct vd_dext_quota *quota, struct vd_dext **out)
{
    struct vd_dext *dext = os->alloc(os->opaque, sizeof(*dext));
    int ret;

    if (!dext)
        return VD_DEXT_NO_MEMORY;
    dext->os = os;
    dext->ops = ops;
    dext->hw = hw;
    dext->faults = UINT64_MAX;
    ret = open_and_learn(dext);
    if (ret) {
        os->free(os->opaque, dext, sizeof(*dext));
        return ret;
    }
    apply_quota(&dext->limits, quota);
    *out = dext;
    return VD_DEXT_SUCCESS;
}

void vd_dext_destroy(struct vd_dext *dext)
{
    if (dext)
        dext->os->free(dext->os->opaque, dext, sizeof(*dext));
}

int vd_dext_client_open(struct vd_dext *dext, void *shell, struct vd_dext_client **out)
{
    struct vd_dext_client *client = dext->os->alloc(dext->os->opaque, sizeof(*client));

    if (!client)
        return VD_DEXT_NO_MEMORY;
    client->dext = dext;
    client->shell = shell;
    /* Where things lie in the extension's memory is the one thing here that a client cannot know. */
    vd_dext_table_init(&client->table, (uintptr_t)client, (uintptr_t)dext ^ (uintptr_t)&client << 17);
    client->next = dext->clients;
    client->link = &dext->clients;
    if (client->next)
        client->next->link = &client->next;
    dext->clients = client;
    dext->nr_clients++;
    *out = client;
    return VD_DEXT_SUCCESS;
}

void vd_dext_client_close(struct vd_dext_client *client)
{
    struct vd_dext *dext;

    if (!client)
        return;
    dext = client->dext;
    if (dext->owner == client)
        vd_dext_teardown(dext);
    *client->link = client->next;
    if (client->next)
        client->next->link = client->link;
    dext->nr_clients--;
    dext->os->free(dext->os->opaque, client, sizeof(*client));
}

size_t vd_dext_client_bytes(const struct vd_dext_client *client)
{
    const struct vd_dext *dext = client->dext;
    const bool page = dext->owner == client && dext->irqs.page;

    return sizeof(*client) + vd_dext_table_bytes(&client->table) + (page ? VD_DEXT_IRQ_PAGE_SIZE : 0);
}
