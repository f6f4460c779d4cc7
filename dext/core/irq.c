/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts: bits in the page that is shared with the owner, and one waiter.
 *
 * A vector that fires is noted in `pending` whether it is enabled or not, so a masked one is late but not lost. Nobody
 * misses a wake-up because each side first writes and then looks: vd_dext_irq() sets pending, then looks at enabled and
 * the waiter; who waits or enables first writes that, then looks at pending. All of it is sequentially consistent. The
 * waiter changes hands by one atomic exchange, so it is completed once.
 *
 * The page is the client's to scribble on: its words are bits to combine, never an index or a count.
 */
#include "dext/core/core.h"

static struct vd_dext_irq_page *get_page(struct vd_dext *dext)
{
    return __atomic_load_n(&dext->irqs.page, __ATOMIC_SEQ_CST);
}

static uint64_t ready(const struct vd_dext_irq_page *page, unsigned word)
{
    return __atomic_load_n(&page->pending[word], __ATOMIC_SEQ_CST) &
           __atomic_load_n(&page->enabled[word], __ATOMIC_SEQ_CST);
}

static bool any_ready(const struct vd_dext_irq_page *page)
{
    for (unsigned word = 0; word < VD_DEXT_IRQ_WORDS; word++)
        if (ready(page, word))
            return true;
    return false;
}

void vd_dext_irq_complete(struct vd_dext *dext, int status)
{
    void *waiter = __atomic_exchange_n(&dext->irqs.waiter, NULL, __ATOMIC_SEQ_CST);

    if (waiter)
        dext->ops->complete(dext->hw, waiter, status, NULL, 0);
}

void vd_dext_irq(struct vd_dext *dext, uint32_t vector)
{
    struct vd_dext_irq_page *page = get_page(dext);
    const uint64_t bit = 1ull << vector % 64;
    const unsigned word = vector / 64;

    if (!page || vector >= VD_DEXT_VECTORS)
        return;
    __atomic_fetch_or(&page->pending[word], bit, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&page->enabled[word], __ATOMIC_SEQ_CST) & bit)
        vd_dext_irq_complete(dext, VD_DEXT_SUCCESS);
}

int vd_dext_irq_make_page(struct vd_dext *dext)
{
    void *memory = NULL;
    int ret;

    if (get_page(dext))
        return VD_DEXT_SUCCESS;
    ret = dext->ops->page_create(dext->hw, &memory, &dext->irqs.page_token);
    if (ret)
        return ret;
    __atomic_store_n(&dext->irqs.page, memory, __ATOMIC_SEQ_CST);
    vd_dext_publish_use(dext->owner);
    return VD_DEXT_SUCCESS;
}

void vd_dext_irq_destroy_page(struct vd_dext *dext)
{
    if (!get_page(dext))
        return;
    __atomic_store_n(&dext->irqs.page, NULL, __ATOMIC_SEQ_CST);
    dext->ops->page_destroy(dext->hw, dext->irqs.page_token);
    dext->irqs.page_token = NULL;
}

static int start(struct vd_dext *dext)
{
    uint32_t count = 0;
    int ret = dext->ops->irq_setup(dext->hw, VD_DEXT_VECTORS, &count);

    dext->irqs.set_up = ret == VD_DEXT_SUCCESS;
    dext->irqs.nr_vectors = count < VD_DEXT_VECTORS ? count : VD_DEXT_VECTORS;
    return ret;
}

int vd_dext_setup_interrupts(struct vd_dext_client *client, struct vd_dext_call *call)
{
    struct vd_dext *dext = client->dext;
    int ret;

    if (dext->irqs.set_up)
        return VD_DEXT_STILL_OPEN;
    ret = vd_dext_irq_make_page(dext); /* first: a vector may fire before irq_setup() has returned */
    if (!ret)
        ret = start(dext);
    if (!ret)
        call->scalars_out[0] = dext->irqs.nr_vectors;
    return ret;
}

void vd_dext_irq_stop(struct vd_dext *dext)
{
    if (dext->irqs.set_up)
        dext->ops->irq_teardown(dext->hw);
}

int vd_dext_irq_restart(struct vd_dext *dext)
{
    int ret = start(dext);

    if (ret)
        vd_dext_irq_complete(dext, VD_DEXT_NOT_READY);
    return ret;
}

int vd_dext_check_interrupt(struct vd_dext_client *client, struct vd_dext_call *call)
{
    struct vd_dext *dext = client->dext;
    struct vd_dext_irq_page *page = get_page(dext);

    if (!dext->irqs.set_up)
        return VD_DEXT_NOT_READY;
    for (unsigned word = 0; word < VD_DEXT_IRQ_WORDS; word++) {
        const uint64_t enabled = __atomic_load_n(&page->enabled[word], __ATOMIC_SEQ_CST);

        call->scalars_out[word] =
            __atomic_fetch_and(&page->pending[word], ~enabled, __ATOMIC_SEQ_CST) & enabled;
    }
    return VD_DEXT_SUCCESS;
}

int vd_dext_wait_interrupt(struct vd_dext_client *client, struct vd_dext_call *call)
{
    struct vd_dext *dext = client->dext;
    void *none = NULL;

    if (!dext->irqs.set_up)
        return VD_DEXT_NOT_READY;
    if (!__atomic_compare_exchange_n(&dext->irqs.waiter, &none, call->async, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST))
        return VD_DEXT_BUSY;
    if (any_ready(get_page(dext)))
        vd_dext_irq_complete(dext, VD_DEXT_SUCCESS);
    return VD_DEXT_SUCCESS;
}

int vd_dext_set_irq_mask(struct vd_dext_client *client, struct vd_dext_call *call)
{
    struct vd_dext *dext = client->dext;
    struct vd_dext_irq_page *page = get_page(dext);

    if (!dext->irqs.set_up)
        return VD_DEXT_NOT_READY;
    for (unsigned word = 0; word < VD_DEXT_IRQ_WORDS; word++)
        __atomic_store_n(&page->enabled[word], call->scalars_in[word], __ATOMIC_SEQ_CST);
    if (any_ready(page))
        vd_dext_irq_complete(dext, VD_DEXT_SUCCESS);
    return VD_DEXT_SUCCESS;
}
