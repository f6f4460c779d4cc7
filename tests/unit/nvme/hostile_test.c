/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What no driver does: register accesses and resets from inside a DMA copy, memory taken away at bad moments, noise in
 * registers and commands, and every step of creation failing once.
 */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { DATA = RIG_DATA, NOISE_ROUNDS = 4000 };

static struct nvme_command read_command(unsigned blocks)
{
    return rig_command(NVME_IO_READ, 1, rig_bus(DATA), rig_bus(DATA + 4096), 0, 0, blocks - 1);
}

static void reset_once(void *opaque)
{
    struct rig *rig = opaque;

    rig->port.hook = NULL;
    sim_nvme_ops.reset(rig->endpoint);
}

static void disable_once(void *opaque)
{
    struct rig *rig = opaque;

    rig->port.hook = NULL;
    rig_write32(rig, NVME_CC, 0);
}

static void dispatch_once(void *opaque)
{
    struct rig *rig = opaque;

    rig->port.hook = NULL;
    assert_false(sim_nvme_ops.dispatch(rig->endpoint, false));
    sim_nvme_ops.quiesce(rig->endpoint);
    rig_write32(rig, NVME_DOORBELLS + 8, 99);
}

/* Runs one command with [from, to) remote and `hook` at the first copy there; then the controller must work. */
static bool interrupt_at(struct nvme_command command, unsigned queue, uint64_t from, uint64_t to,
                         void (*hook)(void *opaque))
{
    struct rig rig;
    struct rig_completion completion;
    bool reached;

    rig_start_io(&rig, "", 1, 16);
    rig.port.remote_from = from;
    rig.port.remote_to = to;
    rig.port.generation++;
    rig.port.copies = 0;
    rig_submit(&rig, queue, command);
    rig.port.hook_opaque = &rig;
    rig.port.hook = hook;
    rig_run(&rig);
    reached = rig.port.hook == NULL;
    rig.port.hook = NULL;
    assert_int_equal(rig.port.pins, 0);
    if (hook != dispatch_once) {
        assert_false(rig_poll(&rig, queue, &completion));
        rig.port.remote_from = rig.port.remote_to = 0;
        rig_enable(&rig);
        assert_int_equal(rig_read32(&rig, NVME_CSTS), NVME_CSTS_RDY);
    }
    assert_int_equal(rig_nvme(&rig)->nr_free, NVME_REQUESTS);
    rig_stop(&rig);
    return reached;
}

static void a_reset_inside_any_copy_drops_the_command(void **state)
{
    static const struct {
        uint64_t from, to;
    } parts[] = {
        {RIG_SQ, RIG_SQ + 0x10000}, /* fetching */
        {DATA, DATA + 4096},        /* data */
    };
    static void (*const hooks[])(void *opaque) = {reset_once, disable_once, dispatch_once};

    for (size_t part = 0; part < 2; part++) {
        for (size_t hook = 0; hook < 3; hook++)
            assert_true(interrupt_at(read_command(8), 1, parts[part].from, parts[part].to, hooks[hook]));
    }
}

static void a_reset_inside_admin_data_drops_the_command(void **state)
{
    struct nvme_command identify = rig_command(NVME_ADMIN_IDENTIFY, 0, rig_bus(DATA), 0, 1, 0, 0);
    struct nvme_command dsm = rig_command(NVME_IO_DSM, 1, rig_bus(DATA), 0, 0, 4, 0);

    assert_true(interrupt_at(identify, 0, DATA, DATA + 4096, reset_once));
    assert_true(interrupt_at(identify, 0, DATA, DATA + 4096, disable_once));
    assert_true(interrupt_at(dsm, 1, DATA, DATA + 4096, reset_once));
    assert_true(interrupt_at(dsm, 1, DATA, DATA + 4096, disable_once));
}

static void a_reset_inside_a_prp_list_drops_the_command(void **state)
{
    struct nvme_command command =
        rig_command(NVME_IO_WRITE, 1, rig_bus(DATA + 8192), rig_bus(DATA), 0, 0, 23);

    assert_true(interrupt_at(command, 1, DATA, DATA + 4096, reset_once));
    assert_true(interrupt_at(command, 1, DATA, DATA + 4096, disable_once));
}

static void a_reset_while_completing_is_survived(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 1, 16);
    rig.port.remote_from = RIG_CQ;
    rig.port.remote_to = RIG_CQ + 0x4000;
    rig.port.generation++;
    rig.port.hook = reset_once;
    rig.port.hook_opaque = &rig;
    for (unsigned i = 0; i < 3; i++)
        rig_submit(&rig, 1, read_command(1));
    rig_run(&rig);
    assert_null(rig.port.hook);
    assert_int_equal(rig_read32(&rig, NVME_CSTS), 0);
    assert_int_equal(rig_nvme(&rig)->nr_free, NVME_REQUESTS);
    rig.port.remote_from = rig.port.remote_to = 0;
    rig_enable(&rig);
    assert_int_equal(rig_read32(&rig, NVME_CSTS), NVME_CSTS_RDY);
    rig_stop(&rig);
}

struct image {
    char path[64], options[128];
};

static void image_make(struct image *image)
{
    int fd;

    snprintf(image->path, sizeof(image->path), "nvme-hostile-test.XXXXXX");
    fd = mkstemp(image->path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 4 << 20), 0);
    close(fd);
    snprintf(image->options, sizeof(image->options), "image=%s", image->path);
}

/* Fills a queue with reads that go to workers. */
static void load(struct rig *rig)
{
    rig->fail_site = "nvme_try_read";
    for (unsigned i = 0; i < 60; i++) {
        struct nvme_command command = read_command(16);

        command.prp1 = vd_put64(rig_bus(DATA + i * 8192u));
        command.prp2 = vd_put64(rig_bus(DATA + i * 8192u + 4096));
        rig_submit(rig, 1, command);
    }
    sim_nvme_ops.dispatch(rig->endpoint, false);
}

static void quiesce_unpins_all_and_loses_no_completion(void **state)
{
    struct rig rig;
    struct image image = {0};
    struct rig_completion completion;

    image_make(&image);
    rig_start_io(&rig, image.options, 1, 64);
    load(&rig);
    sim_nvme_ops.quiesce(rig.endpoint);
    assert_int_equal(rig.port.pins, 0);
    for (unsigned i = 0; i < 60; i++) {
        completion = rig_complete(&rig, 1);
        assert_int_equal(completion.status, NVME_OK);
    }
    assert_int_equal(rig.port.pins, 0);
    rig_stop(&rig);
    unlink(image.path);
}

static void flr_under_load_leaves_nothing_at_work(void **state)
{
    struct rig rig;
    struct image image = {0};

    image_make(&image);
    rig_start_io(&rig, image.options, 1, 64);
    for (unsigned round = 0; round < 20; round++) {
        load(&rig);
        sim_nvme_ops.reset(rig.endpoint);
        assert_int_equal(rig.port.pins, 0);
        rig_enable(&rig);
        assert_int_equal(rig_create_cq(&rig, 1, 64, 1, true), NVME_OK);
        assert_int_equal(rig_create_sq(&rig, 1, 64, 1), NVME_OK);
        assert_int_equal(rig_do(&rig, 1, read_command(1)), NVME_OK);
    }
    rig_stop(&rig);
    unlink(image.path);
}

static void disable_under_load_ends_and_enables_again(void **state)
{
    struct rig rig;
    struct image image = {0};

    image_make(&image);
    rig_start_io(&rig, image.options, 1, 64);
    for (unsigned round = 0; round < 20; round++) {
        load(&rig);
        rig_write32(&rig, NVME_CC, 0);
        rig_wait_csts(&rig, ~0u, 0);
        assert_int_equal(rig.port.pins, 0);
        rig_enable(&rig);
        assert_int_equal(rig_create_cq(&rig, 1, 64, 1, true), NVME_OK);
        assert_int_equal(rig_create_sq(&rig, 1, 64, 1), NVME_OK);
    }
    rig_stop(&rig);
    unlink(image.path);
}

static void destroy_under_load_waits(void **state)
{
    struct rig rig;
    struct image image = {0};

    image_make(&image);
    rig_start_io(&rig, image.options, 1, 64);
    load(&rig);
    rig_stop(&rig); /* checks that nothing is pinned or allocated */
    unlink(image.path);
}

static void disabled_in_the_middle_of_enabling_ends_disabled(void **state)
{
    struct rig rig;

    rig_start(&rig, "");
    rig_write32(&rig, NVME_CC, 0);
    rig_write32(&rig, NVME_CC, NVME_CC_EN);
    rig_write32(&rig, NVME_CC, 0);
    rig_run(&rig);
    assert_int_equal(rig_read32(&rig, NVME_CSTS), 0);
    rig_stop(&rig);
}

static unsigned lines;

static void count_line(void *opaque, enum vd_env_level level, const char *line)
{
    lines++;
}

static void fatal_states_do_not_flood_the_log(void **state)
{
    struct rig rig;

    rig_init(&rig);
    rig.env.log = count_line;
    rig.env.level = VD_ENV_WARN;
    assert_int_equal(rig_create(&rig, ""), 0);
    lines = 0;
    for (unsigned i = 0; i < 1000; i++) {
        rig_write32(&rig, NVME_CC, NVME_CC_EN); /* without an admin queue */
        rig_run(&rig);
        assert_int_equal(rig_read32(&rig, NVME_CSTS), NVME_CSTS_CFS);
        rig_write32(&rig, NVME_CC, 0);
        rig_run(&rig);
    }
    assert_in_range(lines, 1, 20);
    rig_stop(&rig);
}

/* The first reads hold on to their workers until nothing is queued, or for so long that it is clear nothing happens. */
struct gate {
    struct nvme_pool *pool;
    atomic_uint reads;
    atomic_bool loaded; /* all is queued that will be */
};
static struct gate gate;

static bool hold_first_reads(void *opaque, const char *site)
{
    bool queued = true;

    if (strcmp(site, "nvme_try_read") == 0)
        return true;
    if (strcmp(site, "nvme_read") != 0 || atomic_fetch_add(&gate.reads, 1) >= NVME_WORKERS)
        return false;
    for (unsigned i = 0; i < 3000 && queued; i++) {
        usleep(1000);
        pthread_mutex_lock(&gate.pool->lock);
        queued = !atomic_load(&gate.loaded) || gate.pool->first;
        pthread_mutex_unlock(&gate.pool->lock);
    }
    return false;
}

/* Queues 60 reads, of which every worker holds one. */
static void load_held_workers(struct rig *rig)
{
    gate.pool = &rig_nvme(rig)->pool;
    atomic_store(&gate.reads, 0);
    atomic_store(&gate.loaded, false);
    rig->env.fault = hold_first_reads;
    load(rig);
    sim_nvme_ops.dispatch(rig->endpoint, false);
    while (atomic_load(&gate.reads) < NVME_WORKERS)
        usleep(100);
    atomic_store(&gate.loaded, true);
}

static void reset_and_disable_drop_what_no_worker_has_begun(void **state)
{
    struct rig rig;
    struct image image = {0};

    image_make(&image);
    for (unsigned how = 0; how < 2; how++) {
        rig_start_io(&rig, image.options, 1, 64);
        load_held_workers(&rig);
        if (how == 0) {
            sim_nvme_ops.reset(rig.endpoint);
        } else {
            rig_write32(&rig, NVME_CC, 0);
            rig_wait_csts(&rig, ~0u, 0);
        }
        assert_int_equal(gate.reads, NVME_WORKERS);
        assert_int_equal(rig.port.pins, 0);
        rig_run(&rig);
        assert_int_equal(rig_nvme(&rig)->nr_free, NVME_REQUESTS);
        rig_stop(&rig);
    }
    unlink(image.path);
}

static void quiesce_waits_only_for_what_workers_have_begun(void **state)
{
    struct rig rig;
    struct image image = {0};

    image_make(&image);
    rig_start_io(&rig, image.options, 1, 64);
    load_held_workers(&rig);
    sim_nvme_ops.quiesce(rig.endpoint);
    assert_int_equal(gate.reads, NVME_WORKERS);
    assert_int_equal(rig.port.pins, 0);
    for (unsigned i = 0; i < 60; i++)
        assert_int_equal(rig_complete(&rig, 1).status, NVME_OK);
    assert_int_equal(gate.reads, 60);
    assert_int_equal(rig.port.pins, 0);
    rig_stop(&rig);
    unlink(image.path);
}

/* What a quiesce took back is tried again, when its memory may be gone. */
static void memory_that_went_away_while_queued_is_a_transfer_error(void **state)
{
    struct rig rig;
    struct image image = {0};
    unsigned failed = 0;

    image_make(&image);
    rig_start_io(&rig, image.options, 1, 64);
    load_held_workers(&rig);
    sim_nvme_ops.quiesce(rig.endpoint);
    rig.port.gone_from = DATA;
    rig.port.gone_to = DATA + 60 * 8192;
    for (unsigned i = 0; i < 60; i++)
        failed += rig_complete(&rig, 1).status == DNR(NVME_SC_TRANSFER);
    assert_int_equal(failed, 60 - NVME_WORKERS);
    assert_int_equal(rig.port.pins, 0);
    rig_stop(&rig);
    unlink(image.path);
}

static void doorbells_of_a_disabled_controller_do_nothing(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 1, 16);
    sim_nvme_ops.reset(rig.endpoint);
    for (unsigned offset = NVME_DOORBELLS; offset < NVME_DOORBELLS + 0x400; offset += 4)
        rig_write32(&rig, offset, 1);
    rig.port.copies = rig.port.faults = 0;
    rig_run(&rig);
    assert_int_equal(rig.port.copies + rig.port.faults, 0);
    rig_stop(&rig);
}

static uint64_t noisy_address(uint64_t *noise)
{
    uint64_t value = (uint64_t)rig_random(noise) << 32 | rig_random(noise);

    return rig_random(noise) % 4 ? rig_bus(DATA + value % 0x400000) : value;
}

/* Commands with random fields and register writes with random values; whatever happens, it must come to rest. */
static void noise_is_survived(void **state)
{
    struct rig rig;
    struct rig_completion completion;
    uint64_t noise = 11;

    rig_start_io(&rig, "queues=4", 2, 64);
    for (unsigned round = 0; round < NOISE_ROUNDS; round++) {
        unsigned queue = rig_random(&noise) % 3;
        struct nvme_command command = rig_command(
            (uint8_t)(rig_random(&noise) % 16), rig_random(&noise) % 3, noisy_address(&noise),
            noisy_address(&noise), rig_random(&noise), rig_random(&noise) % 4, rig_random(&noise));

        command.cdw11 = vd_put32(rig_random(&noise) % 3 ? 0 : rig_random(&noise));
        rig_submit(&rig, queue, command);
        if (rig_random(&noise) % 8 == 0)
            rig_write32(&rig, rig_random(&noise) % 0x1100 & ~3u, rig_random(&noise));
        if (rig_random(&noise) % 4 == 0)
            rig_write32(&rig, NVME_DOORBELLS + (rig_random(&noise) % 0x80 & ~3u), rig_random(&noise) % 128);
        rig_run(&rig);
        for (queue = 0; queue < 3; queue++) {
            while (rig_poll(&rig, queue, &completion))
                ;
        }
        if (round % 50 == 49) {
            sim_nvme_ops.reset(rig.endpoint);
            rig_enable(&rig);
            rig_create_cq(&rig, 1, 64, 1, true);
            rig_create_sq(&rig, 1, 64, 1);
            rig_create_cq(&rig, 2, 64, 2, true);
            rig_create_sq(&rig, 2, 64, 2);
        }
    }
    sim_nvme_ops.reset(rig.endpoint);
    assert_int_equal(rig.port.pins, 0);
    rig_stop(&rig);
}

static void every_failing_step_of_creation_cleans_up(void **state)
{
    struct image image = {0};
    unsigned failures = 0;
    const char *options[2] = {"serial=X", image.options};

    image_make(&image);
    for (size_t i = 0; i < 2; i++) {
        for (uint64_t n = 1;; n++) {
            struct rig rig;
            int error;

            rig_init(&rig);
            rig.fail_at = n;
            error = rig_create(&rig, options[i]);
            if (rig.steps < n) {
                assert_int_equal(error, 0);
                rig_stop(&rig);
                break;
            }
            if (error) {
                assert_true(rig.failure.text[0]);
                failures++;
            }
            rig_stop(&rig);
            assert_true(n < 100);
        }
    }
    assert_true(failures >= 12);
    unlink(image.path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reset_inside_any_copy_drops_the_command),
        cmocka_unit_test(a_reset_inside_admin_data_drops_the_command),
        cmocka_unit_test(a_reset_inside_a_prp_list_drops_the_command),
        cmocka_unit_test(a_reset_while_completing_is_survived),
        cmocka_unit_test(quiesce_unpins_all_and_loses_no_completion),
        cmocka_unit_test(flr_under_load_leaves_nothing_at_work),
        cmocka_unit_test(disable_under_load_ends_and_enables_again),
        cmocka_unit_test(destroy_under_load_waits),
        cmocka_unit_test(disabled_in_the_middle_of_enabling_ends_disabled),
        cmocka_unit_test(fatal_states_do_not_flood_the_log),
        cmocka_unit_test(reset_and_disable_drop_what_no_worker_has_begun),
        cmocka_unit_test(quiesce_waits_only_for_what_workers_have_begun),
        cmocka_unit_test(memory_that_went_away_while_queued_is_a_transfer_error),
        cmocka_unit_test(doorbells_of_a_disabled_controller_do_nothing),
        cmocka_unit_test(noise_is_survived),
        cmocka_unit_test(every_failing_step_of_creation_cleans_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
