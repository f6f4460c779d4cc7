/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A session's happy path again and again, with the first, the second, the third ... step made to fail, until none is left
 * to fail. Whatever fails, the server answers or closes, and neither memory nor a descriptor is left behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "peer.h"
#include "proto/vfio_user.h"
#include "sim/edu.h"

enum { ENOUGH = 2000 };

struct faults {
    _Atomic long live; /* allocations not yet released */
    _Atomic long steps;
    long fail_at;
    _Atomic bool hit;
};

static void *count_alloc(void *opaque, size_t size)
{
    struct faults *faults = opaque;
    void *memory = calloc(1, size);

    faults->live += memory != NULL;
    return memory;
}

static void count_release(void *opaque, void *memory)
{
    struct faults *faults = opaque;

    faults->live -= memory != NULL;
    free(memory);
}

static bool fail_here(void *opaque, const char *site)
{
    struct faults *faults = opaque;

    (void)site;
    if (++faults->steps != faults->fail_at)
        return false;
    faults->hit = true;
    return true;
}

/* Says everything a VMM says; any answer will do, and so will none. */
static void talk(int client)
{
    static const char json[] = "{\"capabilities\":{\"twin_socket\":{\"supported\":true}}}";
    static const uint8_t reset[1];
    struct vfio_user_irq_set irqs = {vd_put32(20), vd_put32(0x24), vd_put32(2), vd_put32(0), vd_put32(2)};
    int events[2] = {eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    int fd = peer_memfd(0x4000);
    uint32_t word = 0;
    struct peer p;

    peer_init(&p, client);
    if (peer_negotiate_with(&p, json, NULL) == 0) {
        peer_dma_map(&p, 0x100000, 0x4000, 3, fd, 0);
        peer_dma_map(&p, 0x200000, 0x4000, 1, -1, 0);
        peer_call(&p, VFIO_USER_DEVICE_SET_IRQS, &irqs, sizeof(irqs), events, 2, NULL);
        peer_read(&p, 0, EDU_ID, &word, 4);
        peer_write(&p, 0, EDU_SCRATCH, &word, 4);
        peer_call(&p, VFIO_USER_DEVICE_RESET, reset, 0, NULL, 0, NULL);
        peer_dma_unmap(&p, 0x100000, 0x4000);
    }
    close(fd);
    close(events[0]);
    close(events[1]);
    peer_finish(&p);
}

static void *serve(void *opaque)
{
    vd_server_run(opaque);
    return NULL;
}

/* One round; true when the failure was reached. */
static bool round_with_failure(struct vd_context *context, struct vd_device *device, struct faults *faults,
                               long at)
{
    struct vd_server_options options = {.size = sizeof(options)};
    struct vd_server *server;
    pthread_t thread;
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    options.client_fd = ends[0];
    faults->steps = 0;
    faults->hit = false;
    faults->fail_at = at;
    if (vd_server_create(context, device, &options, &server, NULL)) {
        assert_true(faults->hit);
        close(ends[0]); /* not taken over */
        close(ends[1]);
        return true;
    }
    assert_int_equal(pthread_create(&thread, NULL, serve, server), 0);
    talk(ends[1]);
    pthread_join(thread, NULL);
    faults->fail_at = 0;
    vd_server_destroy(server);
    return faults->hit;
}

static void a_failure_at_any_step_leaves_nothing_behind(void **state)
{
    struct faults faults = {0};
    struct vd_context_options options = {.size = sizeof(options),
                                         .opaque = &faults,
                                         .alloc = count_alloc,
                                         .release = count_release,
                                         .fault = fail_here};
    unsigned before = count_fds();
    struct vd_context *context;
    struct vd_device *device;
    long live, at = 1;

    assert_int_equal(vd_context_create(&options, &context), 0);
    assert_int_equal(vd_device_open(context, "sim:edu", &device, NULL), 0);
    round_with_failure(context, device, &faults, 0); /* what the device allocates once is allocated now */
    live = faults.live;
    while (at < ENOUGH && round_with_failure(context, device, &faults, at)) {
        vd_device_quiesce(device);
        at++;
    }
    assert_in_range(at, 5, ENOUGH - 1);    /* some steps can fail, and there is an end to them */
    assert_true(faults.live <= live + at); /* mappings taken away wait for the device's close, no more */
    vd_device_close(device);
    vd_context_destroy(context);
    assert_int_equal(faults.live, 0);
    assert_int_equal(count_fds(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_at_any_step_leaves_nothing_behind),
    };

    return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
