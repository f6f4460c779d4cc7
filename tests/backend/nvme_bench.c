/* SPDX-License-Identifier: BSD-3-Clause */
/* Setting up and clearing away; see nvme_bench.h. Allocations are counted and can be made to fail, also in workers. */
#include "nvme_bench.h"

#include <fcntl.h>
#include <unistd.h>

static void *count_alloc(void *opaque, size_t size)
{
    struct bench *bench = opaque;

    atomic_fetch_add(&bench->live, 1);
    return calloc(1, size);
}

static void count_release(void *opaque, void *memory)
{
    struct bench *bench = opaque;

    atomic_fetch_sub(&bench->live, 1);
    free(memory);
}

static bool inject(void *opaque, const char *site)
{
    struct bench *bench = opaque;

    (void)site;
    return bench->fail_at && atomic_fetch_add(&bench->steps, 1) + 1 == bench->fail_at;
}

static void make_image(struct bench *bench)
{
    int fd;

    snprintf(bench->image, sizeof(bench->image), "suite-%s.XXXXXX", bench->configuration->name);
    fd = mkstemp(bench->image);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 16 << 20), 0);
    close(fd);
}

static void make_address(struct bench *bench)
{
    const struct configuration *configuration = bench->configuration;
    const char *target = configuration->dextd ? configuration->dextd : configuration->address;
    char device[256];
    int length;

    if (configuration->file)
        make_image(bench);
    length = snprintf(device, sizeof(device), "%s%s%s", target, configuration->file ? ",image=" : "",
                      bench->image);
    assert_in_range(length, 1, sizeof(device) - 1);
    if (configuration->dextd)
        dextd_start_one(&bench->dextd, device, bench->address, sizeof(bench->address));
    else
        memcpy(bench->address, device, sizeof(device));
}

void bench_prepare(struct bench *bench, void **state)
{
    struct vd_context_options options = {.size = sizeof(options),
                                         .alloc = count_alloc,
                                         .release = count_release,
                                         .fault = inject,
                                         .opaque = bench};

    memset(bench, 0, sizeof(*bench));
    bench->configuration = *state;
    make_address(bench);
    assert_int_equal(vd_context_create(&options, &bench->context), 0);
}

void bench_open(struct bench *bench, void **state)
{
    struct vd_error error;

    bench_prepare(bench, state);
    if (vd_device_open(bench->context, bench->address, &bench->device, &error))
        fail_msg("%s", error.message);
}

void bench_start(struct bench *bench, void **state)
{
    bench_open(bench, state);
    assert_int_equal(ex_start(&bench->ex, bench->device, &bench->configuration->options), 0);
}

void bench_close(struct bench *bench)
{
    /* Or a disk in another process would look for its doorbells in memory that is going. */
    if (bench->device)
        vd_device_quiesce(bench->device);
    if (bench->ex.arena)
        ex_finish(&bench->ex);
    vd_device_close(bench->device);
    vd_context_destroy(bench->context);
    assert_int_equal(bench->live, 0);
    dextd_stop(&bench->dextd);
    if (bench->image[0])
        unlink(bench->image);
}
