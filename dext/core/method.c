/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of methods: what each selector takes, gives and needs, checked in one place before its handler runs. A handler
 * can rely on it: all scalars are there, byte blocks have their least size, the claim is held, the device is there.
 */
#include "dext/core/core.h"

enum need {
    NOTHING = 0,
    CLAIM = 1,     /* the claim, held by the caller */
    ASYNC = 2,     /* a completion handle; without this there must be none */
    ALSO_GONE = 4, /* works after the device was removed: it does not touch it */
};

/* Bytes of a block; where `least` is 0 there is none. */
struct block {
    size_t least, most;
};

/* clang-format off */
#define NO_BLOCK {0, 0}
#define REGISTER_IN {sizeof(struct vd_dext_register_in) + sizeof(struct vd_dext_region), \
                     sizeof(struct vd_dext_register_in) + VD_DEXT_MAX_BATCH * sizeof(struct vd_dext_region)}
#define REGISTER_OUT {sizeof(struct vd_dext_register_out) + sizeof(struct vd_dext_result), SIZE_MAX}
#define UNREGISTER_IN {sizeof(struct vd_dext_unregister_in) + sizeof(vd_le64), \
                       sizeof(struct vd_dext_unregister_in) + VD_DEXT_MAX_BATCH * sizeof(vd_le64)}
#define UNREGISTER_OUT {sizeof(struct vd_dext_unregister_out) + sizeof(vd_le32), SIZE_MAX}
#define DESCRIBE_OUT {sizeof(struct vd_dext_description), SIZE_MAX}
/* clang-format on */

struct method {
    uint32_t scalars_in, scalars_out;
    uint32_t needs; /* enum need */
    struct block bytes_in, bytes_out;
    vd_dext_handler *handler; /* NULL: no such selector */
};

static vd_dext_handler get_features;

/* By selector. */
static const struct method methods[VD_DEXT_SELECTOR_END] = {
    [VD_DEXT_GET_IDENTITY] = {0, 6, ALSO_GONE, NO_BLOCK, NO_BLOCK, vd_dext_get_identity},
    [VD_DEXT_CLAIM] = {0, 0, NOTHING, NO_BLOCK, NO_BLOCK, vd_dext_claim},
    [VD_DEXT_TERMINATE] = {0, 0, CLAIM, NO_BLOCK, NO_BLOCK, vd_dext_terminate},
    [VD_DEXT_ALLOCATE_DMA_BUFFER] = {2, 6, CLAIM, NO_BLOCK, NO_BLOCK, vd_dext_allocate_buffer},
    [VD_DEXT_FREE_DMA_BUFFER] = {0, 0, CLAIM | ALSO_GONE, NO_BLOCK, NO_BLOCK, vd_dext_free_buffer},
    [VD_DEXT_REGISTER_DMA_REGION] = {3, 3, CLAIM, NO_BLOCK, NO_BLOCK, vd_dext_register},
    [VD_DEXT_UNREGISTER_DMA_REGION] = {1, 0, CLAIM | ALSO_GONE, NO_BLOCK, NO_BLOCK, vd_dext_unregister},
    [VD_DEXT_PROBE_DMA_REGION] = {2, 1, CLAIM, NO_BLOCK, NO_BLOCK, vd_dext_probe},
    [VD_DEXT_CONFIG_READ] = {2, 1, CLAIM, NO_BLOCK, NO_BLOCK, vd_dext_do_config_read},
    [VD_DEXT_CONFIG_WRITE] = {3, 0, CLAIM, NO_BLOCK, NO_BLOCK, vd_dext_do_config_write},
    [VD_DEXT_GET_BAR_INFO] = {1, 3, CLAIM, NO_BLOCK, NO_BLOCK, vd_dext_get_bar_info},
    [VD_DEXT_MMIO_READ] = {3, 1, CLAIM, NO_BLOCK, NO_BLOCK, vd_dext_do_mmio_read},
    [VD_DEXT_MMIO_WRITE] = {4, 0, CLAIM, NO_BLOCK, NO_BLOCK, vd_dext_do_mmio_write},
    [VD_DEXT_SETUP_INTERRUPTS] = {0, 1, CLAIM, NO_BLOCK, NO_BLOCK, vd_dext_setup_interrupts},
    [VD_DEXT_CHECK_INTERRUPT] = {0, 4, CLAIM, NO_BLOCK, NO_BLOCK, vd_dext_check_interrupt},
    [VD_DEXT_WAIT_INTERRUPT] = {0, 0, CLAIM | ASYNC, NO_BLOCK, NO_BLOCK, vd_dext_wait_interrupt},
    [VD_DEXT_SET_IRQ_MASK] = {4, 0, CLAIM, NO_BLOCK, NO_BLOCK, vd_dext_set_irq_mask},
    [VD_DEXT_RESET_DEVICE] = {0, 0, CLAIM, NO_BLOCK, NO_BLOCK, vd_dext_reset_device},

    [VD_DEXT_GET_FEATURES] = {1, 4, ALSO_GONE, NO_BLOCK, NO_BLOCK, get_features},
    [VD_DEXT_REGISTER_BATCH] = {0, 0, CLAIM, REGISTER_IN, REGISTER_OUT, vd_dext_register_batch},
    [VD_DEXT_UNREGISTER_BATCH] = {0, 0, CLAIM | ALSO_GONE, UNREGISTER_IN, UNREGISTER_OUT,
                                  vd_dext_unregister_batch},
    [VD_DEXT_GET_LIMITS] = {0, VD_DEXT_NR_LIMITS, CLAIM | ALSO_GONE, NO_BLOCK, NO_BLOCK, vd_dext_get_limits},
    [VD_DEXT_WAIT_EVENT] = {0, 0, CLAIM | ASYNC, NO_BLOCK, NO_BLOCK, vd_dext_wait_event},
    [VD_DEXT_QUIESCE] = {0, 0, CLAIM, NO_BLOCK, NO_BLOCK, vd_dext_quiesce},
    [VD_DEXT_DESCRIBE] = {0, 0, ALSO_GONE, NO_BLOCK, DESCRIBE_OUT, vd_dext_describe},
};

static int get_features(struct vd_dext_client *client, struct vd_dext_call *call)
{
    if (call->scalars_in[0] == 0)
        return VD_DEXT_BAD_ARGUMENT;
    call->scalars_out[0] = VD_DEXT_ABI;
    call->scalars_out[1] = VD_DEXT_FEATURE_BATCH | VD_DEXT_FEATURE_LIMITS | VD_DEXT_FEATURE_EVENTS |
                           VD_DEXT_FEATURE_QUIESCE | VD_DEXT_FEATURE_DESCRIBE | VD_DEXT_FEATURE_IRQ_PAGE |
                           VD_DEXT_FEATURE_PAGE_USE | VD_DEXT_FEATURE_ROM | VD_DEXT_FEATURE_LATCH;
    call->scalars_out[2] = VD_DEXT_MAX_BATCH;
    call->scalars_out[3] = client->dext->limits.granule;
    return VD_DEXT_SUCCESS;
}

/* A block of `size` bytes where the selector has one, and none where it has not. */
static bool block_fits(struct block rule, const void *bytes, size_t size)
{
    if (rule.least == 0)
        return size == 0;
    return bytes && size >= rule.least && size <= rule.most;
}

static bool shape_fits(const struct method *method, const struct vd_dext_call *call, uint32_t scalar_room,
                       size_t byte_room)
{
    if (call->nr_scalars_in != method->scalars_in || (method->scalars_in && !call->scalars_in))
        return false;
    if (scalar_room < method->scalars_out || (method->scalars_out && !call->scalars_out))
        return false;
    if (!block_fits(method->bytes_in, call->bytes_in, call->nr_bytes_in) ||
        !block_fits(method->bytes_out, call->bytes_out, byte_room))
        return false;
    return !(method->needs & ASYNC) == !call->async;
}

int vd_dext_check_claim(const struct vd_dext_client *client)
{
    if (!client->dext->owner)
        return VD_DEXT_NOT_OPEN;
    return client->dext->owner == client ? VD_DEXT_SUCCESS : VD_DEXT_EXCLUSIVE_ACCESS;
}

/* May the method be used in this state? That the device is gone outweighs whose it was. */
static int check_state(const struct method *method, const struct vd_dext_client *client)
{
    if (client->dext->gone && !(method->needs & ALSO_GONE))
        return VD_DEXT_NO_DEVICE;
    return method->needs & CLAIM ? vd_dext_check_claim(client) : VD_DEXT_SUCCESS;
}

int vd_dext_call(struct vd_dext_client *client, struct vd_dext_call *call)
{
    const struct method *method;
    uint32_t scalar_room = call->nr_scalars_out;
    size_t byte_room = call->nr_bytes_out;
    int ret;

    call->nr_scalars_out = 0;
    call->nr_bytes_out = 0;
    if (call->selector >= VD_DEXT_SELECTOR_END || !methods[call->selector].handler)
        return VD_DEXT_UNSUPPORTED;
    method = &methods[call->selector];
    if (!shape_fits(method, call, scalar_room, byte_room))
        return VD_DEXT_BAD_ARGUMENT;
    ret = check_state(method, client);
    if (ret)
        return ret;
    call->nr_bytes_out = byte_room; /* a handler that fills a block sets what it filled */
    ret = method->handler(client, call);
    if (ret || !method->bytes_out.least)
        call->nr_bytes_out = 0;
    call->nr_scalars_out = ret ? 0 : method->scalars_out;
    return ret;
}
