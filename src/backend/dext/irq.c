/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts and events of the extension.
 *
 * With the interrupt page a vector's way is: the extension sets its bit in `pending`; whoever clears that bit delivers
 * it. We clear only bits that we have enabled, so a disabled vector stays latched in the page until it is enabled, none
 * is lost and none is delivered twice. Looking at the page costs no system call. Only a caller that is about to sleep
 * needs a waiter: WAIT_INTERRUPT completes as soon as an enabled bit is pending. Both sides write their word first and
 * look at the other's afterwards, so of a vector that fires while we enable it or arm, at least one side sees it.
 *
 * Without the page (an older extension) a waiter is kept outstanding, and each completion is followed by one
 * CHECK_INTERRUPT, which reads and clears.
 *
 * A completion can be queued in the link by any call, without poll_fd showing it; so the last thing dispatch() does
 * before it says "nothing to do" is to ask the link.
 *
 * Lock: none, the device's thread; the words of the page are shared with the extension and accessed atomically.
 */
#include "backend/dext/host.h"

#include <errno.h>
#include <string.h>

/* An extension that turns waiters away this often in a row is not asked again: a loop would keep a core busy. */
enum { MAX_REFUSALS = 16 };

static const int irq_errors[] = {-ENODEV, 0};

static uint64_t low_bits(uint32_t count)
{
    return count >= 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1;
}

/* Bits [0, count) of 256. */
static void make_mask(uint32_t count, uint64_t mask[static VD_DEXT_IRQ_WORDS])
{
    for (uint32_t w = 0; w < VD_DEXT_IRQ_WORDS; w++)
        mask[w] = count > w * 64 ? low_bits(count - w * 64) : 0;
}

static bool is_enabled(const struct dext_irq *irq)
{
    return irq->mask[0] != 0; /* vectors are enabled from 0 */
}

/* Tells the extension which vectors may wake us. */
static int push_mask(struct dext_host *host)
{
    struct dext_irq *irq = &host->irq;

    if (!irq->page)
        return irq->vectors ? dext_call(host, VD_DEXT_SET_IRQ_MASK, irq->mask, VD_DEXT_IRQ_WORDS, NULL, 0)
                            : 0;
    for (unsigned w = 0; w < VD_DEXT_IRQ_WORDS; w++)
        __atomic_store_n(&irq->page->enabled[w], irq->mask[w], __ATOMIC_SEQ_CST);
    return 0;
}

/* Setting up. */

static int setup_vectors(struct dext_host *host)
{
    uint64_t vectors = 0;
    int status = dext_call(host, VD_DEXT_SETUP_INTERRUPTS, NULL, 0, &vectors, 1);

    if (dext_is_refusal(status)) {
        vd_warn(host->env, "%s: it has no interrupts: %s", host->address.name, dext_return_name(status));
        return 0;
    }
    host->irq.vectors = vectors < VD_DEXT_VECTORS ? (uint32_t)vectors : VD_DEXT_VECTORS;
    return status;
}

/* Kept mapped until the connection closes; an extension without one is driven by calls. */
static int map_page(struct dext_host *host)
{
    const struct dext_connection *c = &host->connection;
    struct vd_link_mapping mapping;
    int status = c->ops->map(c->link, VD_DEXT_MEMORY_IRQ_PAGE, 0, &mapping);

    if (dext_is_refusal(status))
        return 0;
    if (status)
        return dext_note(host, status);
    if (mapping.size < sizeof(struct vd_dext_irq_page) || (uintptr_t)mapping.address % sizeof(uint64_t)) {
        c->ops->unmap(c->link, &mapping);
        return 0;
    }
    host->irq.page = mapping.address;
    if (host->features.bits & VD_DEXT_FEATURE_PAGE_USE)
        host->faults = &host->irq.page->use.faults;
    return 0;
}

static uint32_t lower(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* MSI comes in powers of two. */
static uint32_t power_of_two_below(uint32_t count)
{
    while (count & (count - 1))
        count &= count - 1;
    return count;
}

static void describe(struct dext_host *host)
{
    struct vd_irq_info *irqs = host->info.irqs;
    uint32_t vectors = host->irq.vectors;
    uint32_t msi = power_of_two_below(lower(vectors, host->identity.msi_vectors));

    irqs[VD_IRQ_MSI] = (struct vd_irq_info){msi, VD_IRQ_EVENTFD | VD_IRQ_MASKABLE};
    irqs[VD_IRQ_MSIX] =
        (struct vd_irq_info){lower(vectors, host->identity.msix_vectors), VD_IRQ_EVENTFD | VD_IRQ_MASKABLE};
    irqs[VD_IRQ_ERR] = (struct vd_irq_info){1, VD_IRQ_EVENTFD};
    if (host->features.bits & VD_DEXT_FEATURE_EVENTS)
        irqs[VD_IRQ_REQ] = (struct vd_irq_info){1, VD_IRQ_EVENTFD};
}

int dext_irq_setup(struct dext_host *host)
{
    int status = setup_vectors(host);

    if (!status)
        status = map_page(host);
    if (!status)
        status = dext_irq_restore(host); /* nothing is enabled, and nothing is left of an earlier client */
    if (!status)
        describe(host);
    return status;
}

/* Bus mastering is off when this runs, so what is pending comes from before the reset. */
int dext_irq_restore(struct dext_host *host)
{
    struct dext_irq *irq = &host->irq;

    memset(irq->latched, 0, sizeof(irq->latched));
    for (unsigned w = 0; irq->page && w < VD_DEXT_IRQ_WORDS; w++)
        __atomic_exchange_n(&irq->page->pending[w], 0, __ATOMIC_SEQ_CST);
    return push_mask(host);
}

/* Delivering. */

static void deliver(struct dext_host *host, unsigned word, uint64_t bits)
{
    for (; bits; bits &= bits - 1)
        host->events.irq(host->events.opaque, host->irq.kind, word * 64 + (unsigned)__builtin_ctzll(bits));
}

/* Takes and delivers what is enabled and pending in the page. */
static bool take_page(struct dext_host *host)
{
    const struct dext_irq *irq = &host->irq;
    bool any = false;

    for (unsigned w = 0; w < VD_DEXT_IRQ_WORDS && irq->mask[w]; w++) {
        uint64_t *pending = &irq->page->pending[w];
        uint64_t mine = __atomic_load_n(pending, __ATOMIC_SEQ_CST) & irq->mask[w];

        if (!mine)
            continue;
        mine &= __atomic_fetch_and(pending, ~mine, __ATOMIC_SEQ_CST);
        deliver(host, w, mine);
        any = true;
    }
    return any;
}

/* The same by a call. What comes of disabled vectors is kept: the extension has forgotten it. */
static void take_by_call(struct dext_host *host)
{
    struct dext_irq *irq = &host->irq;
    uint64_t taken[VD_DEXT_IRQ_WORDS] = {0};

    if (dext_call(host, VD_DEXT_CHECK_INTERRUPT, NULL, 0, taken, VD_DEXT_IRQ_WORDS))
        memset(taken, 0, sizeof(taken));
    for (unsigned w = 0; w < VD_DEXT_IRQ_WORDS; w++) {
        uint64_t pending = irq->latched[w] | taken[w];

        irq->latched[w] = pending & ~irq->mask[w];
        deliver(host, w, pending & irq->mask[w]);
    }
}

static void deliver_events(struct dext_host *host, uint64_t events)
{
    if (events & VD_DEXT_EVENT_ERROR)
        host->events.irq(host->events.opaque, VD_IRQ_ERR, 0);
    if (events & VD_DEXT_EVENT_REQUEST)
        host->events.irq(host->events.opaque, VD_IRQ_REQ, 0);
    if (events & VD_DEXT_EVENT_GONE)
        dext_report_gone(host);
}

/* Waiting. */

static void wait_refused(struct dext_host *host, struct dext_waiter *waiter, int status)
{
    dext_note(host, status);
    if (host->gone || ++waiter->refusals != MAX_REFUSALS)
        return;
    vd_err(host->env, "%s: the extension reports no %s: %s", host->address.name,
           waiter == &host->irq.event ? "events" : "interrupts", dext_return_name(status));
    host->events.irq(host->events.opaque, VD_IRQ_ERR, 0);
}

static void arm(struct dext_host *host, struct dext_waiter *waiter, uint32_t selector)
{
    int status;

    if (waiter->armed || waiter->refusals >= MAX_REFUSALS || host->gone)
        return;
    status = host->connection.ops->wait(host->connection.link, selector);
    if (status && status != VD_DEXT_BUSY) /* busy: one is outstanding, which is as good */
        wait_refused(host, waiter, status);
    else
        waiter->armed = true;
}

static void arm_waiters(struct dext_host *host)
{
    if (is_enabled(&host->irq))
        arm(host, &host->irq.interrupt, VD_DEXT_WAIT_INTERRUPT);
    if (host->features.bits & VD_DEXT_FEATURE_EVENTS)
        arm(host, &host->irq.event, VD_DEXT_WAIT_EVENT);
}

static void complete(struct dext_host *host, const struct vd_link_completion *completion)
{
    bool is_event = completion->selector == VD_DEXT_WAIT_EVENT;
    struct dext_waiter *waiter = is_event ? &host->irq.event : &host->irq.interrupt;
    uint64_t events = completion->nr_args ? completion->args[0] : 0;
    int status = completion->status;

    if (!is_event && completion->selector != VD_DEXT_WAIT_INTERRUPT)
        return;
    waiter->armed = false;
    if (!status && is_event && !events)
        status = VD_DEXT_IPC_ERROR;
    if (status) {
        wait_refused(host, waiter, status);
        return;
    }
    waiter->refusals = 0;
    if (is_event)
        deliver_events(host, events);
    else if (!host->irq.page)
        take_by_call(host);
}

/* Takes what the link has. True when there was anything, the first word of the connection's end included. */
static bool take_completions(struct dext_host *host)
{
    struct vd_link_completion completion;
    bool any = false, over = false;

    while (!over && host->connection.ops->poll(host->connection.link, &completion, &over)) {
        complete(host, &completion);
        any = true;
    }
    if (!over || host->irq.link_over)
        return any;
    host->irq.link_over = true;
    dext_note(host, VD_DEXT_NOT_ATTACHED);
    return true;
}

bool dext_irq_dispatch(void *opaque, bool will_block)
{
    struct dext_host *host = opaque;
    bool any = host->irq.page && take_page(host);

    if (any || (host->irq.page && !will_block))
        return any;
    arm_waiters(host);
    any = host->irq.page && take_page(host);
    return take_completions(host) || any;
}

/* Core's switch. */

static int enable(struct dext_host *host, unsigned index, uint32_t count)
{
    struct dext_irq before = host->irq;
    int status;

    if (host->gone)
        return -ENODEV;
    host->irq.kind = index;
    make_mask(count, host->irq.mask);
    status = push_mask(host);
    if (status) {
        host->irq.kind = before.kind;
        memcpy(host->irq.mask, before.mask, sizeof(before.mask));
        return dext_errno(status, irq_errors);
    }
    /* What was latched is due now, and no completion will tell of it. */
    if (host->irq.page)
        take_page(host);
    else
        take_by_call(host);
    return 0;
}

int dext_irq_enable(void *opaque, unsigned index, uint32_t count)
{
    struct dext_host *host = opaque;

    if (count)
        return enable(host, index, count);
    if (is_enabled(&host->irq) && index == host->irq.kind) {
        memset(host->irq.mask, 0, sizeof(host->irq.mask));
        push_mask(host); /* refused: its interrupts are latched here instead */
    }
    return 0;
}
