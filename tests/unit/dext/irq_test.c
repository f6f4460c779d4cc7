/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts: step by step, against a model that knows what must be pending and who must be woken, and with threads that
 * fire while another waits and drains.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "rig.h"

enum {
    WORDS = VD_DEXT_IRQ_WORDS,
    VECTORS = VD_DEXT_VECTORS,
    STEPS = 1000000,
    FIRED = 60000,
    PATIENCE = 5000000
};

static int set_mask(struct rig *rig, const uint64_t mask[WORDS])
{
    return rig_call(rig->a, VD_DEXT_SET_IRQ_MASK, mask, WORDS, NULL, 0);
}

static void drain(struct rig *rig, uint64_t out[WORDS])
{
    assert_int_equal(rig_call(rig->a, VD_DEXT_CHECK_INTERRUPT, NO_IN, out, WORDS), 0);
}

static int wait(struct rig *rig, uintptr_t number)
{
    return rig_wait(rig->a, VD_DEXT_WAIT_INTERRUPT, rig_handle(number));
}

static void a_masked_vector_is_latched_and_wakes_when_it_is_enabled(void **state)
{
    struct rig *rig = *state;
    uint64_t got[WORDS];

    assert_int_equal(wait(rig, 1), 0);
    vd_dext_irq(rig->dext, 0);
    vd_dext_irq(rig->dext, 255);
    assert_int_equal(rig->mock.nr_completions, 0);
    drain(rig, got);
    assert_int_equal(got[0] | got[1] | got[2] | got[3], 0);
    assert_int_equal(set_mask(rig, (const uint64_t[]){0, 0, 0, 1ull << 63}), 0);
    assert_int_equal(rig->mock.nr_completions, 1);
    assert_ptr_equal(rig->mock.completions[0].async, rig_handle(1));
    assert_int_equal(rig->mock.completions[0].nr_args, 0);
    drain(rig, got);
    assert_true(got[3] == 1ull << 63);
    assert_int_equal(got[0], 0);
    assert_int_equal(set_mask(rig, (const uint64_t[]){1, 0, 0, 0}), 0);
    drain(rig, got);
    assert_int_equal(got[0], 1);
    drain(rig, got);
    assert_int_equal(got[0] | got[3], 0);
}

static void waiting_completes_at_once_when_something_is_pending(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(set_mask(rig, (const uint64_t[]){0, 2, 0, 0}), 0);
    vd_dext_irq(rig->dext, 65);
    assert_int_equal(wait(rig, 1), 0);
    assert_int_equal(rig->mock.nr_completions, 1);
    assert_int_equal(wait(rig, 2), 0); /* still pending: not drained */
    assert_int_equal(rig->mock.nr_completions, 2);
    assert_ptr_equal(rig->mock.completions[1].async, rig_handle(2));
}

static void a_waiter_is_woken_once_and_a_second_is_busy(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(set_mask(rig, (const uint64_t[]){3, 0, 0, 0}), 0);
    assert_int_equal(wait(rig, 1), 0);
    assert_int_equal(wait(rig, 2), VD_DEXT_BUSY);
    vd_dext_irq(rig->dext, 0);
    vd_dext_irq(rig->dext, 1);
    vd_dext_irq(rig->dext, 1);
    assert_int_equal(rig->mock.nr_completions, 1);
    assert_ptr_equal(rig->mock.completions[0].async, rig_handle(1));
    assert_int_equal(rig->mock.completions[0].status, 0);
}

static void the_client_may_enable_in_the_page_itself(void **state)
{
    struct rig *rig = *state;

    __atomic_store_n(&rig->mock.page->enabled[0], 1, __ATOMIC_SEQ_CST);
    assert_int_equal(wait(rig, 1), 0);
    vd_dext_irq(rig->dext, 0);
    assert_int_equal(rig->mock.nr_completions, 1);
    assert_int_equal(rig->mock.page->pending[0], 1);
}

static void vectors_that_do_not_exist_are_ignored(void **state)
{
    struct rig *rig = *state;
    uint64_t got[WORDS];

    vd_dext_irq(rig->dext, 256);
    vd_dext_irq(rig->dext, UINT32_MAX);
    assert_int_equal(rig->mock.page->enabled[0], 0); /* what lies behind the pending bits */
    memset(rig->mock.page->enabled, 0xff, sizeof(rig->mock.page->enabled));
    assert_int_equal(wait(rig, 1), 0);
    vd_dext_irq(rig->dext, 256);
    assert_int_equal(rig->mock.nr_completions, 0);
    drain(rig, got);
    assert_int_equal(got[0] | got[1] | got[2] | got[3], 0);
}

static void an_interrupt_before_setup_is_nobodys(void **state)
{
    struct rig *rig = *state;

    vd_dext_irq(rig->dext, 0);
    assert_null(rig->mock.violation);
}

static void no_more_than_256_vectors_are_told(void **state)
{
    struct rig *rig = *state;
    uint64_t vectors;

    rig->mock.vectors = 2048;
    assert_int_equal(rig_call(rig->a, VD_DEXT_SETUP_INTERRUPTS, NO_IN, &vectors, 1), 0);
    assert_int_equal(vectors, 256);
    assert_int_equal(rig->mock.calls[mock_call_at(&rig->mock, MOCK_IRQ_SETUP, 0)].a, 256);
}

static void a_device_without_vectors_has_none(void **state)
{
    struct rig *rig = *state;
    uint64_t vectors = 1;

    rig->mock.vectors = 0;
    assert_int_equal(rig_call(rig->a, VD_DEXT_SETUP_INTERRUPTS, NO_IN, &vectors, 1), 0);
    assert_int_equal(vectors, 0);
}

static void vectors_that_fire_during_setup_are_kept(void **state)
{
    struct rig *rig = *state;
    uint64_t out[WORDS];

    rig->mock.irqs_at_setup = true;
    assert_int_equal(rig_call(rig->a, VD_DEXT_SETUP_INTERRUPTS, NO_IN, out, 1), 0);
    assert_int_equal(set_mask(rig, (const uint64_t[]){UINT64_MAX, 0, 0, 0}), 0);
    drain(rig, out);
    assert_int_equal(out[0], UINT32_MAX);
}

static void setup_that_fails_can_be_tried_again(void **state)
{
    struct rig *rig = *state;
    uint64_t vectors;

    rig->mock.status[MOCK_PAGE_CREATE] = VD_DEXT_NO_MEMORY;
    assert_int_equal(rig_call(rig->a, VD_DEXT_SETUP_INTERRUPTS, NO_IN, &vectors, 1), VD_DEXT_NO_MEMORY);
    rig->mock.status[MOCK_PAGE_CREATE] = 0;
    rig->mock.status[MOCK_IRQ_SETUP] = VD_DEXT_NO_RESOURCES;
    assert_int_equal(rig_call(rig->a, VD_DEXT_SETUP_INTERRUPTS, NO_IN, &vectors, 1), VD_DEXT_NO_RESOURCES);
    assert_int_equal(wait(rig, 1), VD_DEXT_NOT_READY);
    rig->mock.status[MOCK_IRQ_SETUP] = 0;
    assert_int_equal(rig_call(rig->a, VD_DEXT_SETUP_INTERRUPTS, NO_IN, &vectors, 1), 0);
}

static void the_next_owner_finds_nothing_of_the_last(void **state)
{
    struct rig *rig = *state;
    uint64_t out[WORDS];

    assert_int_equal(set_mask(rig, (const uint64_t[]){1, 1, 1, 1}), 0);
    vd_dext_irq(rig->dext, 0);
    vd_dext_client_close(rig->a);
    rig->a = rig->b;
    rig->b = NULL;
    assert_int_equal(rig_call(rig->a, VD_DEXT_CLAIM, NO_IN, NULL, 0), 0);
    assert_int_equal(rig_call(rig->a, VD_DEXT_CHECK_INTERRUPT, NO_IN, out, WORDS), VD_DEXT_NOT_READY);
    assert_int_equal(rig_call(rig->a, VD_DEXT_SETUP_INTERRUPTS, NO_IN, out, 1), 0);
    assert_int_equal(set_mask(rig, (const uint64_t[]){1, 1, 1, 1}), 0);
    drain(rig, out);
    assert_int_equal(out[0], 0);
}

/* What must be so after any number of steps. */
struct model {
    bool pending[VECTORS], enabled[VECTORS];
    uintptr_t waiter;                /* 0: nobody waits */
    uintptr_t last;                  /* handle number given out last */
    uintptr_t completed, expected;   /* handle numbers, in the order they must come */
    uint64_t fired, drained, merged; /* of single vectors */
};

/* Handles complete in the order they were given, since one waits at a time. */
static void on_complete(struct mock *mock, void *async, int status)
{
    struct model *m = mock->opaque;

    assert_int_equal(status, VD_DEXT_SUCCESS);
    m->completed++;
    assert_ptr_equal(async, rig_handle(m->completed));
}

static bool model_ready(const struct model *m)
{
    for (unsigned v = 0; v < VECTORS; v++)
        if (m->pending[v] && m->enabled[v])
            return true;
    return false;
}

static void model_wake(struct model *m, bool ready)
{
    if (!m->waiter || !ready)
        return;
    m->expected++;
    m->waiter = 0;
}

static void step_fire(struct rig *rig, struct model *m, unsigned v)
{
    vd_dext_irq(rig->dext, v);
    m->fired++;
    m->merged += m->pending[v];
    m->pending[v] = true;
    model_wake(m, m->enabled[v]);
}

static void step_mask(struct rig *rig, struct model *m, uint64_t *seed)
{
    uint64_t mask[WORDS];

    for (unsigned w = 0; w < WORDS; w++) {
        mask[w] = unit_random(seed) & unit_random(seed);
        for (unsigned bit = 0; bit < 64; bit++)
            m->enabled[w * 64 + bit] = mask[w] >> bit & 1;
    }
    assert_int_equal(set_mask(rig, mask), 0);
    model_wake(m, model_ready(m));
}

static void step_drain(struct rig *rig, struct model *m)
{
    uint64_t got[WORDS];

    drain(rig, got);
    for (unsigned v = 0; v < VECTORS; v++) {
        bool due = m->pending[v] && m->enabled[v];

        if ((got[v / 64] >> v % 64 & 1) != due)
            fail_msg("vector %u: %s", v, due ? "lost" : "from nowhere");
        m->pending[v] &= !due;
        m->drained += due;
    }
}

static void step_wait(struct rig *rig, struct model *m)
{
    if (m->waiter) {
        assert_int_equal(wait(rig, m->last + 1), VD_DEXT_BUSY);
        return;
    }
    m->waiter = ++m->last;
    assert_int_equal(wait(rig, m->last), 0);
    model_wake(m, model_ready(m));
}

/* As a client does that shares the page: takes what is pending and enabled without a call. */
static void step_drain_in_the_page(struct rig *rig, struct model *m)
{
    for (unsigned w = 0; w < WORDS; w++) {
        uint64_t enabled = __atomic_load_n(&rig->mock.page->enabled[w], __ATOMIC_SEQ_CST);
        uint64_t got = __atomic_fetch_and(&rig->mock.page->pending[w], ~enabled, __ATOMIC_SEQ_CST) & enabled;

        for (unsigned bit = 0; bit < 64; bit++) {
            unsigned v = w * 64 + bit;
            bool due = m->pending[v] && m->enabled[v];

            assert_int_equal(got >> bit & 1, due);
            m->pending[v] &= !due;
            m->drained += due;
        }
    }
}

static void a_million_random_steps_lose_and_duplicate_nothing(void **state)
{
    struct rig *rig = *state;
    struct model *m = calloc(1, sizeof(*m));
    uint64_t left = 0, seed = 42;

    assert_non_null(m);
    rig->mock.on_complete = on_complete;
    rig->mock.opaque = m;
    for (unsigned i = 0; i < STEPS; i++) {
        uint64_t dice = unit_random(&seed) % 100;

        if (dice < 60)
            step_fire(rig, m, (unsigned)(unit_random(&seed) % VECTORS));
        else if (dice < 75)
            step_wait(rig, m);
        else if (dice < 85)
            step_mask(rig, m, &seed);
        else if (dice < 95)
            step_drain(rig, m);
        else
            step_drain_in_the_page(rig, m);
        assert_int_equal(m->completed, m->expected);
    }
    assert_int_equal(set_mask(rig, (const uint64_t[]){UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX}), 0);
    for (unsigned v = 0; v < VECTORS; v++) {
        left += m->pending[v];
        m->enabled[v] = true;
    }
    model_wake(m, model_ready(m));
    step_drain(rig, m);
    assert_int_equal(m->fired, m->drained + m->merged);
    assert_true(m->completed > 1000 && left > 0);
    rig->mock.on_complete = NULL; /* who still waits is aborted at the end */
    free(m);
}

/*
 * Threads that fire, each vectors of its own and each only after it was taken the last time, so that every firing must be
 * seen exactly once; and this one, which waits, is woken and takes.
 */
struct race {
    struct rig *rig;
    _Atomic uint64_t outstanding; /* fired and not taken yet */
    _Atomic uintptr_t armed;      /* the handle that waits; 0: none */
    _Atomic unsigned woken;       /* completions */
    _Atomic bool wrong;           /* a handle was completed that does not wait, or with an error */
    _Atomic bool stop;
    uint64_t taken;
    unsigned waits, idle;
};

struct firer {
    struct race *race;
    unsigned first, count; /* of its vectors */
    pthread_t thread;
};

static void on_race_complete(struct mock *mock, void *async, int status)
{
    struct race *r = mock->opaque;
    uintptr_t handle = (uintptr_t)async;

    if (status || !atomic_compare_exchange_strong(&r->armed, &handle, 0))
        atomic_store(&r->wrong, true);
    atomic_fetch_add(&r->woken, 1);
}

/* Now and then all threads fire at the moment when somebody begins to wait, else whenever they can. */
static void *fire_all(void *opaque)
{
    const struct firer *f = opaque;
    struct race *r = f->race;
    uint64_t seed = 7 + f->first;
    unsigned spins = 0;

    for (unsigned n = 0; n < FIRED && !atomic_load(&r->stop);) {
        unsigned v = f->first + (unsigned)(unit_random(&seed) % f->count);

        if (atomic_fetch_or(&r->outstanding, 1ull << v) >> v & 1) {
            if (++spins % (f->count > 1 ? 1 : 500) == 0)
                sched_yield();
            continue;
        }
        for (unsigned i = 0; n % 2 && i < 200 && !atomic_load(&r->armed); i++)
            ;
        vd_dext_irq(r->rig->dext, v);
        n++;
    }
    return NULL;
}

static void start_firing(struct race *r, struct firer *firers, unsigned count, unsigned vectors)
{
    r->rig->mock.on_complete = on_race_complete;
    r->rig->mock.opaque = r;
    for (unsigned i = 0; i < count; i++) {
        firers[i] = (struct firer){.race = r, .first = vectors * i, .count = vectors};
        assert_int_equal(pthread_create(&firers[i].thread, NULL, fire_all, &firers[i]), 0);
    }
}

static void stop_firing(struct race *r, const struct firer *firers, unsigned count)
{
    atomic_store(&r->stop, true);
    for (unsigned i = 0; i < count; i++)
        pthread_join(firers[i].thread, NULL);
    r->rig->mock.on_complete = NULL;
    assert_false(atomic_load(&r->wrong));
    assert_int_equal(r->taken, (uint64_t)count * FIRED);
    assert_int_equal(atomic_load(&r->woken) + (atomic_load(&r->armed) != 0), r->waits);
}

static void arm(struct race *r)
{
    uintptr_t handle = (uintptr_t)rig_handle(++r->waits);

    atomic_store(&r->armed, handle);
    assert_int_equal(rig_wait(r->rig->a, VD_DEXT_WAIT_INTERRUPT, (void *)handle), 0);
}

static void take(struct race *r)
{
    uint64_t got[WORDS];

    drain(r->rig, got);
    assert_int_equal(got[1] | got[2] | got[3], 0);
    assert_true((got[0] & ~atomic_load(&r->outstanding)) == 0); /* none came from nowhere */
    r->taken += (uint64_t)__builtin_popcountll(got[0]);
    atomic_fetch_and(&r->outstanding, ~got[0]);
}

/* Looks at nothing but after a wake-up. */
static void be_woken(struct race *r, uint64_t total)
{
    uint64_t seed = 17;

    assert_int_equal(set_mask(r->rig, (const uint64_t[]){UINT64_MAX, 0, 0, 0}), 0);
    while (r->taken < total && r->idle < PATIENCE) {
        for (uint64_t i = unit_random(&seed) % 64; i; i--)
            (void)atomic_load(&r->armed); /* so that it falls together with the firing in many ways */
        arm(r);
        for (r->idle = 0; atomic_load(&r->armed) && r->idle < PATIENCE; r->idle++)
            if (r->idle > 100)
                sched_yield();
        if (!atomic_load(&r->armed))
            take(r);
    }
}

/* There is one vector, and it fires again when it was taken: if one wake-up is lost there is never another. */
static void a_wake_up_is_not_lost_while_the_wait_begins(void **state)
{
    struct race r = {.rig = *state};
    struct firer firer;

    start_firing(&r, &firer, 1, 1);
    be_woken(&r, FIRED);
    stop_firing(&r, &firer, 1);
}

static void two_threads_that_fire_at_once_wake_once(void **state)
{
    struct race r = {.rig = *state};
    struct firer firers[2];

    start_firing(&r, firers, 2, 32);
    be_woken(&r, 2 * FIRED);
    stop_firing(&r, firers, 2);
}

static void masking_while_another_thread_fires_loses_and_duplicates_nothing(void **state)
{
    struct race r = {.rig = *state};
    struct firer firer;
    uint64_t seed = 13;

    start_firing(&r, &firer, 1, 32);
    while (r.taken < FIRED && r.idle < PATIENCE) {
        const uint64_t mask[WORDS] = {unit_random(&seed) | unit_random(&seed), 0, 0, 0};

        assert_int_equal(set_mask(r.rig, mask), 0);
        if (!atomic_load(&r.armed))
            arm(&r);
        for (unsigned i = 0; atomic_load(&r.armed) && i < 10; i++)
            sched_yield();
        if (atomic_load(&r.armed)) /* what is pending may all be masked */
            assert_int_equal(set_mask(r.rig, (const uint64_t[]){UINT64_MAX, 0, 0, 0}), 0);
        if (atomic_load(&r.armed)) {
            r.idle++;
        } else {
            r.idle = 0;
            take(&r);
        }
    }
    stop_firing(&r, &firer, 1);
}

#define WITH_IRQS(f) cmocka_unit_test_setup_teardown(f, rig_setup_irqs, rig_teardown)
#define CLAIMED(f)   cmocka_unit_test_setup_teardown(f, rig_setup_claimed, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_IRQS(a_masked_vector_is_latched_and_wakes_when_it_is_enabled),
        WITH_IRQS(waiting_completes_at_once_when_something_is_pending),
        WITH_IRQS(a_waiter_is_woken_once_and_a_second_is_busy),
        WITH_IRQS(the_client_may_enable_in_the_page_itself),
        WITH_IRQS(vectors_that_do_not_exist_are_ignored),
        CLAIMED(an_interrupt_before_setup_is_nobodys),
        CLAIMED(no_more_than_256_vectors_are_told),
        CLAIMED(a_device_without_vectors_has_none),
        CLAIMED(vectors_that_fire_during_setup_are_kept),
        CLAIMED(setup_that_fails_can_be_tried_again),
        WITH_IRQS(the_next_owner_finds_nothing_of_the_last),
        WITH_IRQS(a_million_random_steps_lose_and_duplicate_nothing),
        WITH_IRQS(a_wake_up_is_not_lost_while_the_wait_begins),
        WITH_IRQS(two_threads_that_fire_at_once_wake_once),
        WITH_IRQS(masking_while_another_thread_fires_loses_and_duplicates_nothing),
    };

    return cmocka_run_group_tests_name("irq", tests, NULL, NULL);
}
