/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon behind the link that clients really use, src/dextlink/socket.c. */
#include "rig.h"

#include <poll.h>

#include "dextlink/link.h"
#include "sim/edu.h"

static const struct vd_link_ops *const ops = &vd_link_socket;

static struct vd_link *open_link(const struct rig *rig, const struct vd_env *env, unsigned i)
{
    struct vd_failure failure = {0};
    struct vd_link *link;
    uint64_t ids[8];
    int count;

    count = ops->list(env, rig->path, ids, 8, &failure);
    assert_true(count > (int)i);
    if (ops->open(env, rig->path, ids[i], &link, &failure))
        fail_msg("%s", failure.text);
    return link;
}

static int call(struct vd_link *link, uint32_t selector, const uint64_t *in, uint32_t nr_in, uint64_t *out,
                uint32_t nr_out)
{
    struct vd_link_call c = {.selector = selector,
                             .nr_scalars_in = nr_in,
                             .scalars_in = in,
                             .scalars_out = out,
                             .nr_scalars_out = nr_out};
    int status = ops->call(link, &c);

    if (!status)
        assert_int_equal(c.nr_scalars_out, nr_out);
    return status;
}

static void write_register(struct vd_link *link, uint64_t reg, uint64_t width, uint64_t value)
{
    const uint64_t in[] = {0, reg, width, value};

    assert_int_equal(call(link, VD_DEXT_MMIO_WRITE, in, 4, NULL, 0), VD_DEXT_SUCCESS);
}

static void await_completion(struct vd_link *link, struct vd_link_completion *out)
{
    struct pollfd pollfd = {.fd = ops->poll_fd(link), .events = POLLIN};
    bool gone;

    while (!ops->poll(link, out, &gone)) {
        assert_false(gone);
        assert_int_equal(poll(&pollfd, 1, RAW_PATIENCE_MS), 1);
    }
}

static void link_finds_opens_maps_and_waits(void **state)
{
    static const char *const devices[] = {"01:00.0=sim:edu", "02:00.0=sim:edu,bar=1M,window=off", NULL};
    const uint64_t all[4] = {~0ull, ~0ull, ~0ull, ~0ull};
    struct vd_link_completion completion;
    struct vd_link_mapping page, bar;
    uint64_t identity[6], count;
    struct rig rig = {0};
    struct vd_link *link;
    struct vd_env env;

    vd_env_init_default(&env);
    rig_start(&rig, devices);
    link = open_link(&rig, &env, 1);
    assert_int_equal(call(link, VD_DEXT_GET_IDENTITY, NULL, 0, identity, 6), VD_DEXT_SUCCESS);
    assert_int_equal(identity[0], 2);
    assert_int_equal(call(link, VD_DEXT_CLAIM, NULL, 0, NULL, 0), VD_DEXT_SUCCESS);
    assert_int_equal(call(link, VD_DEXT_SETUP_INTERRUPTS, NULL, 0, &count, 1), VD_DEXT_SUCCESS);
    assert_int_equal(call(link, VD_DEXT_SET_IRQ_MASK, all, 4, NULL, 0), VD_DEXT_SUCCESS);
    assert_int_equal(ops->map(link, VD_DEXT_MEMORY_IRQ_PAGE, 0, &page), VD_DEXT_SUCCESS);
    assert_int_equal(ops->map(link, VD_DEXT_MEMORY_BAR0 + 2, VD_LINK_WRITE_COMBINE, &bar), VD_DEXT_SUCCESS);
    assert_int_equal(bar.size, 1 << 20);
    assert_int_equal(ops->wait(link, VD_DEXT_WAIT_INTERRUPT), 0);
    write_register(link, EDU_RAISE, 4, 3);
    await_completion(link, &completion);
    assert_int_equal(completion.selector, VD_DEXT_WAIT_INTERRUPT);
    assert_int_equal(completion.status, VD_DEXT_SUCCESS);
    assert_int_equal(((struct vd_dext_irq_page *)page.address)->pending[0], 1 << 3);
    ops->unmap(link, &bar);
    ops->close(link);
    rig_stop(&rig);
}

static void link_shares_and_the_device_copies(void **state)
{
    static const char *const devices[] = {"01:00.0=sim:edu", NULL};
    struct raw_memory memory = raw_memory_make(1 << 20);
    const struct vd_link_memory region = {memory.at + 65536, 65536, memory.fd, 65536};
    const uint64_t in[] = {1, (uintptr_t)memory.at + 65536, 65536};
    const uint64_t status[] = {0, EDU_STATUS, 4};
    struct rig rig = {0};
    struct vd_link *link;
    struct vd_env env;
    uint64_t out[3], now;
    const uint64_t key = 1;

    vd_env_init_default(&env);
    rig_start(&rig, devices);
    link = open_link(&rig, &env, 0);
    assert_int_equal(call(link, VD_DEXT_CLAIM, NULL, 0, NULL, 0), VD_DEXT_SUCCESS);
    assert_int_equal(ops->share(link, &region), VD_DEXT_SUCCESS);
    assert_int_equal(call(link, VD_DEXT_REGISTER_DMA_REGION, in, 3, out, 3), VD_DEXT_SUCCESS);
    memset(memory.at + 65536, 0x42, 1000);
    write_register(link, EDU_SOURCE, 8, out[1]);
    write_register(link, EDU_DESTINATION, 8, out[1] + 32768);
    write_register(link, EDU_LENGTH, 8, 1000);
    write_register(link, EDU_CONTROL, 4, EDU_START);
    do
        assert_int_equal(call(link, VD_DEXT_MMIO_READ, status, 3, &now, 1), VD_DEXT_SUCCESS);
    while (now & EDU_BUSY);
    assert_int_equal(now, EDU_DONE);
    assert_memory_equal(memory.at + 65536 + 32768, memory.at + 65536, 1000);
    assert_int_equal(call(link, VD_DEXT_UNREGISTER_DMA_REGION, &key, 1, NULL, 0), VD_DEXT_SUCCESS);
    ops->unshare(link, region.host, region.size);
    ops->close(link);
    rig_stop(&rig);
    raw_memory_free(&memory);
}

static void link_sees_the_device_go_and_the_daemon_end(void **state)
{
    static const char *const devices[] = {"01:00.0=sim:edu", NULL};
    struct vd_link_completion completion;
    struct vd_failure failure = {0};
    struct rig rig = {0};
    struct vd_link *link;
    struct vd_env env;
    struct raw host;
    uint64_t id;

    vd_env_init_default(&env);
    rig_start(&rig, devices);
    host = raw_hello(rig.path);
    link = open_link(&rig, &env, 0);
    assert_int_equal(call(link, VD_DEXT_CLAIM, NULL, 0, NULL, 0), VD_DEXT_SUCCESS);
    assert_int_equal(ops->wait(link, VD_DEXT_WAIT_EVENT), 0);
    assert_int_equal(raw_control(&host, "unplug 01:00.0", NULL, 0), VD_DEXT_SUCCESS);
    await_completion(link, &completion);
    assert_int_equal(completion.args[0], VD_DEXT_EVENT_GONE);
    assert_int_equal(call(link, VD_DEXT_RESET_DEVICE, NULL, 0, NULL, 0), VD_DEXT_NO_DEVICE);
    raw_close(&host);
    rig_stop(&rig);
    assert_int_equal(call(link, VD_DEXT_GET_IDENTITY, NULL, 0, (uint64_t[6]){0}, 6), VD_DEXT_NOT_ATTACHED);
    ops->close(link);
    assert_true(ops->list(&env, rig.path, &id, 1, &failure) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(link_finds_opens_maps_and_waits),
        cmocka_unit_test(link_shares_and_the_device_copies),
        cmocka_unit_test(link_sees_the_device_go_and_the_daemon_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
