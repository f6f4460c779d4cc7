// SPDX-License-Identifier: BSD-3-Clause
/*
 * Threads that find windows and give them back while others map, evict and reap. Each "device access" through a reference
 * must reach the memory it is for: the fake host says who owns a bus address at that moment. For the thread sanitizer.
 */
#include <pthread.h>

#include "fake.h"

enum { THREADS = 3, ROUNDS = 40000, PAGES = 512 };

struct shared {
    struct fake fake;
    pthread_mutex_t lock;
    unsigned wrong, refused, hits; /* atomic */
};

struct worker {
    struct shared *shared;
    uint64_t state;
    bool reaps;
    pthread_t thread;
};

static void count(unsigned *counter)
{
    __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

/* What the device would reach by that bus address. */
static void access_memory(struct shared *shared, struct vd_window *window, uint64_t gpa)
{
    uint64_t bus = vd_window_bus(window, gpa, 4096), granule = shared->fake.config.granule;
    uint64_t at = (bus - FAKE_BUS) / granule;

    if (bus == VD_WINDOWS_NO_ADDRESS || at >= shared->fake.granules ||
        __atomic_load_n(&shared->fake.owners[at], __ATOMIC_RELAXED) != gpa / granule * granule ||
        vd_windows_at(shared->fake.windows, bus) != window || vd_window_gpa(window, bus) != gpa)
        count(&shared->wrong);
}

static void reap(struct shared *shared, uint64_t gpa)
{
    pthread_mutex_lock(&shared->lock);
    fake_reap(&shared->fake, gpa, 4 * MIB);
    pthread_mutex_unlock(&shared->lock);
}

static void use(struct worker *worker)
{
    struct shared *shared = worker->shared;
    uint64_t gpa = (unit_random(&worker->state) >> 16) % PAGES * 37 * 4096;
    struct vd_window *window = vd_windows_get(shared->fake.windows, gpa, 4096, FAKE_RW);

    if (window) {
        count(&shared->hits);
    } else {
        struct vd_windows_want want = {.gpa = gpa, .len = 4096, .access = FAKE_RW};

        pthread_mutex_lock(&shared->lock);
        fake_run(&shared->fake, &want, 1);
        pthread_mutex_unlock(&shared->lock);
        window = want.window;
    }
    if (!window) {
        count(&shared->refused);
        return;
    }
    access_memory(shared, window, gpa);
    if (vd_windows_put(shared->fake.windows, window))
        reap(shared, gpa);
}

static void *work(void *arg)
{
    struct worker *worker = arg;

    for (unsigned i = 0; i < ROUNDS; i++) {
        use(worker);
        if (worker->reaps && i % 64 == 0)
            reap(worker->shared, (unit_random(&worker->state) >> 16) % (64 * MIB));
        if (i % 512 == 0) {
            struct vd_windows_stats stats;

            vd_windows_stats(worker->shared->fake.windows, &stats);
        }
    }
    return NULL;
}

static void run(const struct vd_windows_config *config)
{
    struct shared shared = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct worker workers[THREADS];

    fake_init(&shared.fake, config, config->limit_bytes);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.shared = &shared, .state = i + 1, .reaps = i == 0};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
    assert_int_equal(shared.wrong, 0);
    /* There is room for as many as there are threads. */
    assert_int_equal(shared.refused, 0);
    fake_reap(&shared.fake, 0, UINT64_MAX);
    assert_int_equal(shared.fake.mappings, 0);
    assert_non_null(fake_exact(&shared.fake, 0, config->limit_bytes, 0));
    fake_finish(&shared.fake);
}

static void a_reference_reaches_its_memory_while_others_evict(void **state)
{
    run(&(struct vd_windows_config){.granule = 16384, .limit_bytes = 4 * MIB, .limit_mappings = 24});
}

static void and_with_all_idle_at_once(void **state)
{
    run(&(struct vd_windows_config){.granule = 16384, .limit_bytes = 64 * MIB, .limit_mappings = 512});
}

static void and_when_strict(void **state)
{
    run(&(struct vd_windows_config){
        .granule = 16384, .limit_bytes = 4 * MIB, .limit_mappings = 24, .strict = true});
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reference_reaches_its_memory_while_others_evict),
        cmocka_unit_test(and_with_all_idle_at_once),
        cmocka_unit_test(and_when_strict),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
