/* SPDX-License-Identifier: BSD-3-Clause */
/* The fake extension as a link: answers as proto/dext_abi.h says, unless told otherwise. See fake.h. */
#include "fake_link.h"

#include <sys/eventfd.h>
#include <unistd.h>

static bool fake_has_page(const struct fake *f)
{
    return !f->old && !f->page_refused;
}

/* Completions. Under the lock. */

static void post(struct fake *f, uint32_t selector, int status, uint64_t arg)
{
    uint64_t one = 1;

    assert_true(f->nr_completions < 4);
    f->completions[f->nr_completions++] = (struct vd_link_completion){
        .selector = selector, .status = status, .nr_args = selector == VD_DEXT_WAIT_EVENT, .args = {arg}};
    assert_int_equal(write(f->wake_fd, &one, sizeof(one)), sizeof(one));
}

static uint64_t ready(struct fake *f)
{
    uint64_t any = 0;

    for (unsigned w = 0; w < VD_DEXT_IRQ_WORDS; w++)
        any |= fake_has_page(f) ? __atomic_load_n(&f->page->pending[w], __ATOMIC_SEQ_CST) &
                                      __atomic_load_n(&f->page->enabled[w], __ATOMIC_SEQ_CST)
                                : f->pending[w] & f->mask[w];
    return any;
}

static void complete_if_ready(struct fake *f)
{
    if (f->waiting_irq && ready(f)) {
        f->waiting_irq = false;
        post(f, VD_DEXT_WAIT_INTERRUPT, 0, 0);
    }
}

void fake_fire(struct fake *f, unsigned vector)
{
    uint64_t bit = 1ull << vector % 64;

    if (fake_has_page(f)) {
        __atomic_fetch_or(&f->page->pending[vector / 64], bit, __ATOMIC_SEQ_CST);
        if (!(__atomic_load_n(&f->page->enabled[vector / 64], __ATOMIC_SEQ_CST) & bit))
            return;
    }
    pthread_mutex_lock(&f->lock);
    if (!fake_has_page(f) && (!f->old || (f->mask[vector / 64] & bit))) /* an old one drops what is masked */
        f->pending[vector / 64] |= bit;
    complete_if_ready(f);
    pthread_mutex_unlock(&f->lock);
}

void fake_event(struct fake *f, uint64_t events)
{
    pthread_mutex_lock(&f->lock);
    assert_true(f->waiting_event);
    f->waiting_event = false;
    post(f, VD_DEXT_WAIT_EVENT, 0, events);
    pthread_mutex_unlock(&f->lock);
}

void fake_stray(struct fake *f, uint32_t selector)
{
    pthread_mutex_lock(&f->lock);
    post(f, selector, VD_DEXT_SUCCESS, 0);
    pthread_mutex_unlock(&f->lock);
}

/* Config space and BARs. */

static int config_access(struct fake *f, const uint64_t *in, uint64_t *out, bool write)
{
    uint8_t value[8];

    if ((in[1] != 1 && in[1] != 2 && in[1] != 4) || in[0] % in[1] || in[0] + in[1] > sizeof(f->config))
        return VD_DEXT_BAD_ARGUMENT;
    if (write) {
        vd_store64(value, in[2]);
        memcpy(f->config + in[0], value, in[1]);
        if (f->master_sticks)
            f->config[4] |= 4;
        return 0;
    }
    memset(value, 0, sizeof(value));
    memcpy(value, f->config + in[0], in[1]);
    *out = vd_load64(value);
    return 0;
}

static int mmio_access(struct fake *f, const uint64_t *in, uint64_t *out, bool write)
{
    for (unsigned i = 0; i <= VD_DEXT_ROM; i++) {
        uint8_t *memory = i == VD_DEXT_ROM ? f->rom : f->bars[i].memory;
        uint8_t value[8] = {0};

        if (!f->bars[i].size || f->bars[i].memory_index != in[0])
            continue;
        if (in[2] > 8 || in[1] % in[2] || in[1] + in[2] > f->bars[i].size)
            return VD_DEXT_BAD_ARGUMENT;
        if (write) {
            vd_store64(value, in[3]);
            memcpy(memory + in[1], value, in[2]);
        } else {
            memcpy(value, memory + in[1], in[2]);
            *out = vd_load64(value);
        }
        return 0;
    }
    return VD_DEXT_BAD_ARGUMENT;
}

static int bar_info(struct fake *f, uint64_t bar, uint64_t *out)
{
    if (bar > (f->old ? 5 : 6))
        return VD_DEXT_BAD_ARGUMENT;
    out[0] = f->bars[bar].memory_index;
    out[1] = f->bars[bar].size;
    out[2] = f->bars[bar].type;
    return 0;
}

/* Calls. */

static int check_interrupt(struct fake *f, uint64_t *out)
{
    pthread_mutex_lock(&f->lock);
    for (unsigned w = 0; w < VD_DEXT_IRQ_WORDS; w++) {
        out[w] = f->pending[w] & f->mask[w];
        f->pending[w] &= ~f->mask[w];
    }
    pthread_mutex_unlock(&f->lock);
    return 0;
}

static int set_mask(struct fake *f, const uint64_t *in)
{
    pthread_mutex_lock(&f->lock);
    memcpy(f->mask, in, sizeof(f->mask));
    complete_if_ready(f);
    pthread_mutex_unlock(&f->lock);
    return 0;
}

static int identity(const struct vd_link *link, uint64_t *out)
{
    const struct fake_instance *i = link->instance;

    if (i->identity_status)
        return i->identity_status;
    out[0] = i->bus;
    out[1] = i->device;
    out[2] = i->function;
    out[3] = vd_get16(link->fake->description.vendor_id);
    out[4] = vd_get16(link->fake->description.device_id);
    out[5] = vd_get32(link->fake->description.class_code);
    return 0;
}

static int describe(const struct vd_link *link, struct vd_link_call *call)
{
    struct vd_dext_description *d = call->bytes_out;

    assert_int_equal(call->nr_bytes_out, sizeof(*d));
    if (link->instance->identity_status)
        return link->instance->identity_status;
    *d = link->fake->description;
    d->bus = link->instance->bus;
    d->device = link->instance->device;
    d->function = link->instance->function;
    d->state = vd_put32(link->instance->state);
    return 0;
}

static int claim(struct vd_link *link)
{
    struct fake *f = link->fake;

    if (f->claim_status)
        return f->claim_status;
    if (f->claimed)
        return VD_DEXT_EXCLUSIVE_ACCESS;
    f->claimed = link->claimed = true;
    f->config[4] |= 6;
    return 0;
}

static int reset(struct fake *f)
{
    if (f->reset_status)
        return f->reset_status;
    vd_store16(f->config + 4, 0);
    return 0;
}

static int features(const struct fake *f, const uint64_t *in, uint64_t *out)
{
    assert_int_equal(in[0], VD_DEXT_ABI);
    out[0] = VD_DEXT_ABI;
    out[1] = f->features;
    out[2] = f->batch;
    out[3] = f->page_size;
    return 0;
}

static int setup(const struct fake *f, uint64_t *out)
{
    out[0] = f->vectors;
    return f->setup_status;
}

static int limits(const struct fake *f, uint64_t *out)
{
    memcpy(out, f->limits, sizeof(f->limits));
    return 0;
}

static int dispatch(struct vd_link *link, struct vd_link_call *call)
{
    const uint64_t *in = call->scalars_in;
    uint64_t *out = call->scalars_out;
    struct fake *f = link->fake;

    switch (call->selector) {
    case VD_DEXT_GET_IDENTITY:
        return identity(link, out);
    case VD_DEXT_CLAIM:
        return claim(link);
    case VD_DEXT_REGISTER_DMA_REGION:
        return fake_register(f, in, out);
    case VD_DEXT_UNREGISTER_DMA_REGION:
        return f->unregister_status ? f->unregister_status : fake_remove_region(f, in[0]);
    case VD_DEXT_CONFIG_READ:
        return config_access(f, in, out, false);
    case VD_DEXT_CONFIG_WRITE:
        return config_access(f, in, NULL, true);
    case VD_DEXT_GET_BAR_INFO:
        return bar_info(f, in[0], out);
    case VD_DEXT_MMIO_READ:
        return mmio_access(f, in, out, false);
    case VD_DEXT_MMIO_WRITE:
        return mmio_access(f, in, NULL, true);
    case VD_DEXT_SETUP_INTERRUPTS:
        return setup(f, out);
    case VD_DEXT_CHECK_INTERRUPT:
        return check_interrupt(f, out);
    case VD_DEXT_SET_IRQ_MASK:
        return set_mask(f, in);
    case VD_DEXT_RESET_DEVICE:
        return reset(f);
    case VD_DEXT_GET_FEATURES:
        return features(f, in, out);
    case VD_DEXT_REGISTER_BATCH:
        return fake_register_batch(f, call);
    case VD_DEXT_UNREGISTER_BATCH:
        return fake_unregister_batch(f, call);
    case VD_DEXT_GET_LIMITS:
        return limits(f, out);
    case VD_DEXT_DESCRIBE:
        return describe(link, call);
    default:
        return VD_DEXT_UNSUPPORTED;
    }
}

/* True, and the status to answer: something else is to happen than what was asked for. */
static bool intervene(struct fake *f, int *status)
{
    if (f->fail_call && --f->fail_call == 0) {
        *status = f->call_status;
        f->dead = f->dead || *status == VD_DEXT_NOT_ATTACHED;
        return true;
    }
    *status = VD_DEXT_NOT_ATTACHED;
    return f->dead;
}

static void note_call(struct fake *f, const struct vd_link_call *call)
{
    f->calls++;
    if (call->selector < VD_DEXT_SELECTOR_END)
        f->count[call->selector]++;
    if (f->nr_log < FAKE_CALLS) {
        struct fake_call *entry = &f->log[f->nr_log++];

        *entry = (struct fake_call){.selector = call->selector};
        for (uint32_t i = 0; i < call->nr_scalars_in && i < 4; i++)
            entry->in[i] = call->scalars_in[i];
    }
    f->most_bytes_in = call->nr_bytes_in > f->most_bytes_in ? call->nr_bytes_in : f->most_bytes_in;
    f->most_bytes_out = call->nr_bytes_out > f->most_bytes_out ? call->nr_bytes_out : f->most_bytes_out;
}

static int fake_link_call(struct vd_link *link, struct vd_link_call *call)
{
    struct fake *f = link->fake;
    int status;

    note_call(f, call);
    if (!intervene(f, &status))
        status = f->old && call->selector >= 32 ? VD_DEXT_UNSUPPORTED : dispatch(link, call);
    if (status)
        call->nr_scalars_out = 0;
    else if (f->short_selector && call->selector == f->short_selector)
        call->nr_scalars_out--;
    return status;
}

static int fake_link_wait(struct vd_link *link, uint32_t selector)
{
    struct fake *f = link->fake;
    int status;

    f->waits++;
    f->count[selector]++;
    if (intervene(f, &status) || (status = f->wait_status) != 0)
        return status;
    if (selector == VD_DEXT_WAIT_INTERRUPT && f->fire_in_wait) {
        fake_fire(f, f->fire_in_wait - 1);
        f->fire_in_wait = 0;
    }
    pthread_mutex_lock(&f->lock);
    if (f->complete_status) {
        post(f, selector, f->complete_status, 0);
    } else if (selector == VD_DEXT_WAIT_EVENT) {
        assert_false(f->waiting_event);
        f->waiting_event = true;
    } else {
        assert_false(f->waiting_irq);
        f->waiting_irq = true;
        complete_if_ready(f);
    }
    pthread_mutex_unlock(&f->lock);
    return 0;
}

static bool fake_link_poll(struct vd_link *link, struct vd_link_completion *out, bool *gone)
{
    struct fake *f = link->fake;
    bool any;
    uint64_t count;

    f->polls++;
    pthread_mutex_lock(&f->lock);
    any = f->nr_completions > 0;
    if (any) {
        *out = f->completions[0];
        memmove(f->completions, f->completions + 1, sizeof(f->completions) - sizeof(f->completions[0]));
        if (--f->nr_completions == 0)
            assert_int_equal(read(f->wake_fd, &count, sizeof(count)), sizeof(count));
    }
    pthread_mutex_unlock(&f->lock);
    *gone = !any && f->dead;
    return any;
}

static int fake_link_poll_fd(const struct vd_link *link)
{
    return link->fake->wake_fd;
}

/* Memory. */

static int fake_link_map(struct vd_link *link, uint32_t type, uint32_t flags, struct vd_link_mapping *out)
{
    struct fake *f = link->fake;
    struct fake_bar *bar = &f->bars[type == VD_DEXT_MEMORY_IRQ_PAGE ? 0 : type - VD_DEXT_MEMORY_BAR0];
    int status;

    assert_true(type >= VD_DEXT_MEMORY_BAR0 && type < VD_DEXT_MEMORY_END);
    if (intervene(f, &status))
        return status;
    if (type == VD_DEXT_MEMORY_IRQ_PAGE) {
        if (!fake_has_page(f))
            return VD_DEXT_BAD_ARGUMENT;
        *out = (struct vd_link_mapping){type, f->page, VD_DEXT_IRQ_PAGE_SIZE, -1, 0};
    } else {
        if (bar->map_status)
            return bar->map_status;
        bar->map_flags = flags;
        *out = (struct vd_link_mapping){type, bar->memory, bar->mapped_size ? bar->mapped_size : bar->size,
                                        bar->has_fd ? f->wake_fd : -1, bar->has_fd ? 0x40000 : 0};
    }
    f->mappings++;
    return 0;
}

static void fake_link_unmap(struct vd_link *link, struct vd_link_mapping *mapping)
{
    link->fake->mappings--;
}

/* Instances. */

static int fake_link_list(const struct vd_env *env, const char *where, uint64_t *ids, size_t max,
                          struct vd_failure *failure)
{
    struct fake *f = env->opaque;

    snprintf(f->where, sizeof(f->where), "%s", where ? where : "");
    if (f->list_error)
        return vd_fail(failure, f->list_error, "nothing listens at '%s': start something", f->where);
    for (unsigned i = 0; i < f->nr_instances && i < max; i++)
        ids[i] = 100 + i;
    return (int)f->nr_instances;
}

static int fake_link_open(const struct vd_env *env, const char *where, uint64_t id, struct vd_link **out,
                          struct vd_failure *failure)
{
    struct fake *f = env->opaque;
    struct fake_instance *instance = &f->instances[id - 100];
    struct vd_link *link;

    assert_true(id - 100 < f->nr_instances);
    if (instance->open_error)
        return vd_fail(failure, instance->open_error, "instance %u will not be opened", (unsigned)id);
    link = vd_env_alloc(env, 1, sizeof(*link));
    if (!link)
        return vd_fail(failure, -ENOMEM, "out of memory");
    link->fake = f;
    link->instance = instance;
    f->links++;
    *out = link;
    return 0;
}

static void fake_link_close(struct vd_link *link)
{
    struct fake *f = link->fake;
    uint64_t count;

    f->links--;
    if (link->claimed) {
        f->claimed = false;
        f->mappings = 0;
        f->nr_regions = f->nr_shares = 0;
        memset(f->regions, 0, sizeof(f->regions));
        memset(f->shares, 0, sizeof(f->shares));
        f->waiting_irq = f->waiting_event = false;
        if (f->nr_completions)
            assert_int_equal(read(f->wake_fd, &count, sizeof(count)), sizeof(count));
        f->nr_completions = 0;
    }
    vd_env_free(&f->env, link);
}

static const struct vd_link_ops socket_ops = {
    .name = "socket",
    .needs_file = true,
    .list = fake_link_list,
    .open = fake_link_open,
    .close = fake_link_close,
    .call = fake_link_call,
    .wait = fake_link_wait,
    .poll = fake_link_poll,
    .poll_fd = fake_link_poll_fd,
    .map = fake_link_map,
    .unmap = fake_link_unmap,
    .share = fake_link_share,
    .unshare = fake_link_unshare,
};

static const struct vd_link_ops iokit_ops = {
    .name = "iokit",
    .list = fake_link_list,
    .open = fake_link_open,
    .close = fake_link_close,
    .call = fake_link_call,
    .wait = fake_link_wait,
    .poll = fake_link_poll,
    .poll_fd = fake_link_poll_fd,
    .map = fake_link_map,
    .unmap = fake_link_unmap,
};

const struct vd_link_ops *fake_choose_socket(const char *where)
{
    return &socket_ops;
}

const struct vd_link_ops *fake_choose_iokit(const char *where)
{
    return &iokit_ops;
}
