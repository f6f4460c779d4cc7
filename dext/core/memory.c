/* SPDX-License-Identifier: BSD-3-Clause */
/* What a client may map. The types are those of the RFC; see enum vd_dext_memory_type. */
#include "dext/core/core.h"

static int bar_memory(const struct vd_dext *dext, uint32_t number, struct vd_dext_memory *out)
{
    const struct vd_dext_bar *bar = &dext->bars[number];

    if (!bar->size || bar->type & VD_DEXT_BAR_IO)
        return VD_DEXT_UNSUPPORTED;
    out->bar = number;
    out->memory_index = bar->memory_index;
    out->size = bar->size;
    out->write_combine = bar->type & VD_DEXT_BAR_PREFETCHABLE;
    return VD_DEXT_SUCCESS;
}

static int buffer_memory(const struct vd_dext_client *client, struct vd_dext_memory *out)
{
    if (!client->buffer.size)
        return VD_DEXT_NOT_READY;
    out->token = client->buffer.token;
    out->size = client->buffer.size;
    return VD_DEXT_SUCCESS;
}

static int page_memory(struct vd_dext *dext, struct vd_dext_memory *out)
{
    int ret = vd_dext_irq_make_page(dext);

    out->token = dext->irqs.page_token;
    out->size = VD_DEXT_IRQ_PAGE_SIZE;
    return ret;
}

int vd_dext_memory(struct vd_dext_client *client, uint64_t type, struct vd_dext_memory *out)
{
    int ret;

    if (type >= VD_DEXT_MEMORY_END)
        return VD_DEXT_BAD_ARGUMENT;
    if (client->dext->gone)
        return VD_DEXT_NO_DEVICE;
    ret = vd_dext_check_claim(client);
    if (ret)
        return ret;
    *out = (struct vd_dext_memory){.type = (enum vd_dext_memory_type)type};
    if (type == VD_DEXT_MEMORY_DMA_BUFFER)
        return buffer_memory(client, out);
    if (type == VD_DEXT_MEMORY_IRQ_PAGE)
        return page_memory(client->dext, out);
    return bar_memory(client->dext, (uint32_t)type - VD_DEXT_MEMORY_BAR0, out);
}
