/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Worker threads for what would stall the device's thread. Requests go in through a locked queue and come back
 * through a lock-free stack that the owner empties in one exchange.
 *
 * Sleeping and waking: the owner sets `armed`, then looks at the stack; a worker pushes, then takes `armed`. Both in
 * sequentially consistent order, so either the owner sees the request or the worker sees that it must wake.
 *
 * Lock: pool->lock for the queue, `touching` and `stop`. Workers block every signal (also SIGXFSZ, so that a file size
 * limit is an error and not the end of the process).
 */
#include "sim/nvme.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>

enum { STACK_BYTES = 256 << 10 };

static int trim_ranges(const struct nvme_disk *disk, const struct nvme_request *request)
{
    for (unsigned i = 0; i < request->nr_ranges; i++) {
        const struct nvme_dsm_range *range = &request->ranges[i];
        uint64_t blocks = vd_get32(range->blocks);
        int error = 0;

        if (blocks)
            error = nvme_disk_trim(disk, vd_get64(range->first) << disk->shift, blocks << disk->shift);
        if (error)
            return error;
    }
    return 0;
}

void nvme_pool_run(const struct nvme_disk *disk, struct nvme_request *request)
{
    switch (request->op) {
    case NVME_OP_READ:
        request->result = nvme_disk_read(disk, request->iov, request->nr_iov, request->offset);
        break;
    case NVME_OP_WRITE:
        request->result = nvme_disk_write(disk, request->iov, request->nr_iov, request->offset);
        break;
    case NVME_OP_SYNC:
        request->result = nvme_disk_sync(disk);
        break;
    case NVME_OP_ZERO:
        request->result = nvme_disk_zero(disk, request->offset, request->length, request->deallocate);
        break;
    case NVME_OP_TRIM:
        request->result = trim_ranges(disk, request);
        break;
    }
}

static void push_done(struct nvme_pool *pool, struct nvme_request *request)
{
    struct nvme_request *old = atomic_load(&pool->done);

    do
        request->next = old;
    while (!atomic_compare_exchange_weak(&pool->done, &old, request));
}

static void give_back(struct nvme_pool *pool, struct nvme_request *request, bool touches)
{
    push_done(pool, request);
    if (atomic_exchange(&pool->armed, false))
        sim_port_wake(pool->port);
    if (!touches)
        return;
    pthread_mutex_lock(&pool->lock);
    if (--pool->touching == 0)
        pthread_cond_broadcast(&pool->idle);
    pthread_mutex_unlock(&pool->lock);
}

/* The next request, or NULL when the pool stops. */
static struct nvme_request *take_work(struct nvme_pool *pool)
{
    struct nvme_request *request;

    pthread_mutex_lock(&pool->lock);
    while (!pool->first && !pool->stop)
        pthread_cond_wait(&pool->work, &pool->lock);
    request = pool->first;
    if (request) {
        pool->first = request->next;
        if (!pool->first)
            pool->last = &pool->first;
    }
    pthread_mutex_unlock(&pool->lock);
    return request;
}

static void *worker(void *opaque)
{
    struct nvme_pool *pool = opaque;
    struct nvme_request *request;

    while ((request = take_work(pool))) {
        bool touches = request->op != NVME_OP_SYNC; /* once given back, the request is the owner's */

        nvme_pool_run(pool->disk, request);
        give_back(pool, request, touches);
    }
    return NULL;
}

static int start_threads(struct nvme_pool *pool, const struct vd_env *env)
{
    pthread_attr_t attr;
    sigset_t all, before;
    int error = pthread_attr_init(&attr);

    if (error)
        return -error;
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* inherited by the threads */
    while (!error && pool->nr_threads < NVME_WORKERS) {
        error = vd_env_fault(env, "nvme_thread")
                    ? EAGAIN
                    : pthread_create(&pool->threads[pool->nr_threads], &attr, worker, pool);
        pool->nr_threads += !error;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return error ? -ENOMEM : 0;
}

int nvme_pool_init(struct nvme_pool *pool, const struct vd_env *env, const struct nvme_disk *disk,
                   struct sim_port *port)
{
    int error;

    *pool = (struct nvme_pool){.disk = disk, .port = port, .last = &pool->first};
    pthread_mutex_init(&pool->lock,
                       NULL); /* with default attributes these cannot fail on the hosts we have */
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->idle, NULL);
    error = start_threads(pool, env);
    if (error)
        nvme_pool_finish(pool);
    return error;
}

void nvme_pool_finish(struct nvme_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->nr_threads; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->idle);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
}

void nvme_pool_submit(struct nvme_pool *pool, struct nvme_request *request)
{
    request->next = NULL;
    pthread_mutex_lock(&pool->lock);
    *pool->last = request;
    pool->last = &request->next;
    pool->touching += request->op != NVME_OP_SYNC;
    pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->lock);
}

void nvme_pool_withdraw(struct nvme_pool *pool)
{
    struct nvme_request *request, *next;

    pthread_mutex_lock(&pool->lock);
    request = pool->first;
    pool->first = NULL;
    pool->last = &pool->first;
    for (; request; request = next) {
        next = request->next;
        if (request->op == NVME_OP_SYNC) {
            request->next = NULL;
            *pool->last = request;
            pool->last = &request->next;
            continue;
        }
        pool->touching--;
        request->withdrawn = true;
        push_done(pool, request);
    }
    pthread_mutex_unlock(&pool->lock);
}

struct nvme_request *nvme_pool_take(struct nvme_pool *pool)
{
    struct nvme_request *newest, *oldest = NULL;

    if (!atomic_load_explicit(&pool->done, memory_order_relaxed))
        return NULL;
    newest = atomic_exchange(&pool->done, NULL);
    while (newest) {
        struct nvme_request *next = newest->next;

        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

void nvme_pool_settle(struct nvme_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    while (pool->touching)
        pthread_cond_wait(&pool->idle, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}
