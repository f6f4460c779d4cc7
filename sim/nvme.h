/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The simulated NVMe controller, shared by its own files only (sim/nvme*.c). How it works:
 *
 * A register access only records. dispatch() does everything else, in bounded rounds: it steps the controller's state,
 * takes back what the worker threads finished, fetches commands, and sends one interrupt per completion queue. A command
 * gets a request context from a fixed pool; its data pages become an iovec of guest memory that the image is read into
 * or written from directly. What cannot be done at once (pages not cached, syncs, deallocation) goes to a worker.
 *
 * Invariants:
 * - A command is fetched only when its completion has room: cq->reserved never exceeds the free slots, so posting
 *   cannot fail for want of room.
 * - Pinned guest memory belongs to a request; between pinning and handing over to a worker (or unpinning) there is no
 *   DMA copy, because a copy may re-enter the controller through register accesses, reset() or quiesce().
 * - Whoever copies compares nvme->epoch before and after; it changes with every reset, also with CC.EN turned off. A
 *   request of an older epoch is dropped wherever it is met.
 *
 * Threads: all fields are the owner thread's, but for struct nvme_pool and `armed`. Workers touch the disk, their
 * request's iovec and its result, and nothing else.
 */
#ifndef SIM_NVME_H
#define SIM_NVME_H

#include <pthread.h>
#include <stdatomic.h>

#include "sim/endpoint.h"
#include "sim/nvme_spec.h"

enum {
    NVME_MAX_PAIRS = 64,
    NVME_MAX_QUEUES = NVME_MAX_PAIRS + 1, /* the admin queue is number 0 */
    NVME_MAX_ENTRIES = 1024,
    NVME_MAX_MPS = 4,            /* log2 of the biggest page over 4 KiB: 64 KiB */
    NVME_MAX_TRANSFER = 2 << 20, /* bytes; keeps an iovec below IOV_MAX */
    NVME_REQUESTS = 272,         /* commands at work at once, of which */
    NVME_ADMIN_REQUESTS = 16,    /* only the admin queue may take the last ones */
    NVME_MAX_EVENTS = 4,         /* outstanding Asynchronous Event Requests */
    NVME_ERRORS = 16,            /* entries of the error log */
    NVME_WORKERS = 3,
    NVME_MSIX_TABLE = 0x2000,
    NVME_MSIX_PBA = 0x3000,
    NVME_BAR_SIZE = 0x4000,
};

enum nvme_irq_choice { NVME_IRQ_MSIX, NVME_IRQ_MSI, NVME_IRQ_INTX };

/* The values of sim_nvme_ops.options. */
struct nvme_options {
    char *image;
    uint64_t size;
    unsigned sector; /* index: 512, 4096 */
    uint64_t queues, vectors, mdts;
    unsigned irq; /* enum nvme_irq_choice */
    char *serial;
    bool readonly, dbbuf;
};

/* The image, nvme_disk.c. Constant after open, so usable from every thread. */
struct nvme_disk {
    const struct vd_env *env;
    int fd;
    uint64_t size;
    unsigned shift; /* log2 of the sector */
    bool readonly;
    bool memory;        /* an anonymous disk: never waits for a device */
    bool try_reads;     /* the file system can say "not cached" instead of waiting */
    bool inline_writes; /* a write may be done on the owner's thread */
    uint64_t identity;  /* the same for the same file, different for different ones */
};

enum nvme_op { NVME_OP_READ, NVME_OP_WRITE, NVME_OP_SYNC, NVME_OP_ZERO, NVME_OP_TRIM };

/* A run of bus addresses. */
struct nvme_span {
    uint64_t address, size;
};

struct nvme_sq;

/* A command at work. */
struct nvme_request {
    struct nvme_request *next; /* in exactly one list: free, queued, done */
    struct nvme_sq *sq;        /* NULL: the controller's own flush at shutdown */
    uint64_t epoch;
    struct nvme_command command; /* copied once from guest memory */
    enum nvme_op op;
    bool fua;                /* sync before completing, also with the write cache on */
    bool deallocate;         /* NVME_OP_ZERO: may give blocks back */
    bool pinned;             /* spans[] are pinned */
    bool withdrawn;          /* back from the workers unbegun: dropped, or tried again */
    uint64_t offset, length; /* bytes of the disk */
    int result;              /* 0 or a negative errno */
    unsigned nr_spans, nr_iov, nr_ranges;
    struct nvme_span *spans; /* nvme->max_spans entries */
    union {
        struct iovec *iov;             /* max_spans entries; consumed by the transfer */
        struct nvme_dsm_range *ranges; /* 256, checked already */
    };
};

/* Worker threads, nvme_pool.c. `lock` protects what is below it; `done` and `armed` are lock-free. */
struct nvme_pool {
    const struct nvme_disk *disk;
    struct sim_port *port; /* for sim_port_wake() only */
    unsigned nr_threads;
    pthread_t threads[NVME_WORKERS];
    _Atomic(struct nvme_request *) done; /* newest first */
    atomic_bool armed;                   /* the owner is about to sleep: wake it */
    pthread_mutex_t lock;
    pthread_cond_t work, idle;
    struct nvme_request *first, **last;
    unsigned touching; /* queued or running requests that change data or use guest memory: all but syncs */
    bool stop;
};

/* Host memory of a ring, looked up again when a mapping went away. */
struct nvme_view {
    uint64_t address, size;
    enum sim_access access;
    void *host;
    uint64_t generation; /* that `host` is valid for */
};

struct nvme_cq {
    bool valid, irq_enabled, phase;
    uint16_t id, vector;
    uint32_t size, head, tail;
    uint32_t reserved; /* completions that will come: fetched commands */
    unsigned users;    /* submission queues */
    struct nvme_view ring;
};

struct nvme_sq {
    bool valid, deleting, starved; /* starved: has commands but their completions have no room */
    uint16_t id, delete_cid;
    uint32_t size, head, tail;
    unsigned inflight; /* requests at work */
    struct nvme_cq *cq;
    struct nvme_view ring;
};

/* Shadow doorbells, 7.13. */
struct nvme_dbbuf {
    bool on;
    struct nvme_view shadow, event;
};

enum nvme_state { NVME_OFF, NVME_RUNNING, NVME_FAILED };
/* What register accesses asked for; bits. */
enum { NVME_ASK_STOP = 1, NVME_ASK_SHUTDOWN = 2 };

struct nvme_registers {
    uint32_t cc, csts, aqa, intms;
    uint64_t asq, acq;
};

struct nvme_features {
    uint32_t arbitration, error_recovery, coalescing, atomicity, events;
    uint32_t over_temperature, under_temperature;
    bool write_cache;
    bool coalescing_off[NVME_MAX_QUEUES]; /* per vector */
};

struct nvme_counters {
    uint64_t read_bytes, written_bytes, reads, writes, media_errors, errors;
};

struct nvme {
    const struct vd_env *env;
    struct sim_port *port;
    struct nvme_disk disk;
    struct nvme_pool pool;

    /* Constant after create. */
    unsigned max_pairs, max_vectors, max_spans;
    uint64_t max_transfer;
    enum nvme_irq_choice irq;
    bool offer_dbbuf;
    char serial[20], subnqn[256]; /* the serial is padded with blanks */
    uint8_t eui64[8];
    uint64_t cap, created_ns;

    struct nvme_registers regs;
    enum nvme_state state;
    unsigned asked;
    bool busy; /* dispatch() is running: a nested one does nothing */
    uint64_t epoch;
    unsigned page_shift;
    unsigned pairs; /* I/O queue pairs granted */

    struct nvme_sq sqs[NVME_MAX_QUEUES];
    struct nvme_cq cqs[NVME_MAX_QUEUES];
    unsigned nr_sqs;    /* 1 + the highest valid I/O queue */
    unsigned turn;      /* the I/O queue that goes first */
    uint64_t notify[2]; /* a bit for each CQ with news */
    bool intx_level;
    struct nvme_dbbuf dbbuf;
    struct nvme_features features;

    uint16_t event_cids[NVME_MAX_EVENTS];
    unsigned nr_event_cids;
    struct {
        bool pending, masked; /* masked: reported, and its log was not read since */
        uint8_t info, log;
    } events[NVME_EVENT_TYPES];

    struct nvme_request *requests, *free; /* NVME_REQUESTS; a stack, so that the warm ones are used again */
    unsigned nr_free;
    struct nvme_request *finished; /* back from workers, unpinned, not completed yet */
    struct nvme_request shutdown;
    bool shutdown_busy;
    bool sync_unheard; /* a sync failed and nobody was told: the next one has to fail */
    void *spans_memory, *iov_memory;
    uint8_t *page;             /* 4 KiB for admin data */
    uint8_t *bounce;           /* max_transfer bytes, made when first needed */
    struct nvme_request *lent; /* a long copy that a worker does meanwhile; not looked into */
    unsigned slow_writes;      /* writes still to be sent to workers because one took long */

    uint64_t complained_ns; /* time of the last line in the log that a guest can provoke */
    struct nvme_counters counters;
    struct nvme_error_entry errors[NVME_ERRORS]; /* newest at (counters.errors - 1) % NVME_ERRORS */
};

/* nvme_disk.c: the image. */
/* 0; -EINVAL, -ENOENT, -EACCES, -EBUSY, -EIO, -ENOMEM, -EMFILE with *failure. */
int nvme_disk_open(struct nvme_disk *disk, const struct vd_env *env, const char *address,
                   const struct nvme_options *options, struct vd_failure *failure);
void nvme_disk_close(struct nvme_disk *disk);
/* Transfer everything, consuming iov. 0 or a negative errno. */
int nvme_disk_read(const struct nvme_disk *disk, struct iovec *iov, unsigned count, uint64_t offset);
int nvme_disk_write(const struct nvme_disk *disk, struct iovec *iov, unsigned count, uint64_t offset);
/* Reads without waiting for a device: -EAGAIN (iov untouched) when it would have to. */
int nvme_disk_try_read(const struct nvme_disk *disk, struct iovec *iov, unsigned count, uint64_t offset,
                       uint64_t length);
int nvme_disk_sync(const struct nvme_disk *disk);
/* Makes bytes read as zeroes; deallocate: may give the blocks back. */
int nvme_disk_zero(const struct nvme_disk *disk, uint64_t offset, uint64_t length, bool deallocate);
/* Gives blocks back where that is possible; then they read as zeroes. */
int nvme_disk_trim(const struct nvme_disk *disk, uint64_t offset, uint64_t length);

/* nvme_pool.c: the workers. */
int nvme_pool_init(struct nvme_pool *pool, const struct vd_env *env, const struct nvme_disk *disk,
                   struct sim_port *port);
/* Waits for everything that was submitted. */
void nvme_pool_finish(struct nvme_pool *pool);
/* Runs request->op on the calling thread; sets result. */
void nvme_pool_run(const struct nvme_disk *disk, struct nvme_request *request);
void nvme_pool_submit(struct nvme_pool *pool, struct nvme_request *request);
/* What was finished since the last call, oldest first; NULL for nothing. */
struct nvme_request *nvme_pool_take(struct nvme_pool *pool);
/* Gives back, marked, what no worker has begun; but syncs, since the one of a shutdown has to go on. */
void nvme_pool_withdraw(struct nvme_pool *pool);
/* Waits until nothing changes data or uses guest memory; syncs may go on. */
void nvme_pool_settle(struct nvme_pool *pool);

/* nvme_prp.c: data pointers. All answer a status. */
/*
 * The spans that PRP entry 1 and 2 describe for `length` > 0 bytes, at most max_spans. Copies lists, so look at the
 * epoch afterwards.
 */
uint16_t nvme_prp_gather(struct nvme *nvme, uint64_t prp1, uint64_t prp2, uint64_t length,
                         struct nvme_span *spans, unsigned *count);
/* Pins a request's spans and fills its iovec. 0; -EREMOTE: copy instead; -EFAULT. */
int nvme_prp_pin(struct nvme *nvme, struct nvme_request *request, enum sim_access access);
void nvme_prp_unpin(struct nvme *nvme, struct nvme_request *request);
/* Copies spans to or from a flat buffer. 0; -EFAULT, -EIO; -ECANCELED when a reset came in between. */
int nvme_prp_copy_in(struct nvme *nvme, const struct nvme_span *spans, unsigned count, void *buffer);
int nvme_prp_copy_out(struct nvme *nvme, const struct nvme_span *spans, unsigned count, const void *buffer);

/* nvme_queue.c: rings, shadow doorbells, interrupts. */
/* The host memory of a view, or NULL: then copy. */
void *nvme_view_get(struct nvme *nvme, struct nvme_view *view);
/* Learns the current tail of a queue. */
void nvme_sq_refresh(struct nvme *nvme, struct nvme_sq *sq);
/* True when a command can be fetched now. */
bool nvme_sq_ready(struct nvme *nvme, struct nvme_sq *sq);
/* Takes the next command and reserves its completion. False on a reset or a fatal failure. */
bool nvme_sq_fetch(struct nvme *nvme, struct nvme_sq *sq, struct nvme_command *command);
/* Posts a completion that has been reserved. May re-enter. */
void nvme_cq_post(struct nvme *nvme, struct nvme_sq *sq, uint16_t cid, uint16_t status, uint32_t result);
/* True when a completion nobody reserved has room. */
bool nvme_cq_has_room(struct nvme *nvme, struct nvme_cq *cq);
void nvme_doorbell_write(struct nvme *nvme, uint64_t offset, uint32_t value);
/* Starts shadow doorbells for a queue: what is in the ring now. */
void nvme_dbbuf_adopt(struct nvme *nvme, unsigned id);
/* Publishes event indexes before sleeping, so that every doorbell is rung. */
void nvme_dbbuf_arm(struct nvme *nvme);
void nvme_irq_flush(struct nvme *nvme);
/* Lowers INTx when nothing is left to see; never raises. */
void nvme_irq_settle(struct nvme *nvme);

/* nvme_regs.c: registers and the life of a controller. */
uint64_t nvme_register_read(struct nvme *nvme, uint64_t offset, unsigned width);
void nvme_register_write(struct nvme *nvme, uint64_t offset, unsigned width, uint64_t value);
void nvme_cap_init(struct nvme *nvme);
/* Takes the next step of what registers asked for; true when it did. */
bool nvme_lifecycle_step(struct nvme *nvme);
/* True when that would do something. */
bool nvme_lifecycle_due(const struct nvme *nvme);
/* True while commands may be fetched. */
bool nvme_accepts(const struct nvme *nvme);
/* Controller level reset, 7.3.2: queues, features and events at their initial state. */
void nvme_controller_reset(struct nvme *nvme);
/* Reset state of what survives a controller level reset, for FLR. */
void nvme_registers_reset(struct nvme *nvme);
/* The flush of a shutdown has ended. */
void nvme_shutdown_end(struct nvme *nvme, bool current);

/* nvme.c */
/* The controller cannot go on: CSTS.CFS until it is reset. */
void nvme_fatal(struct nvme *nvme, const char *why);
struct nvme_request *nvme_request_get(struct nvme *nvme);
void nvme_request_put(struct nvme *nvme, struct nvme_request *request);
/*
 * The status of a sync that ended. The host reports a page that it could not write once, to whichever sync comes first:
 * so a failed one must not be retried, and one whose completion was dropped fails the next.
 */
uint16_t nvme_sync_status(struct nvme *nvme, const struct nvme_request *request);
/* Ends a request: posts unless it is of an older epoch, and frees. May re-enter. */
void nvme_request_complete(struct nvme *nvme, struct nvme_request *request, uint16_t status, uint32_t result);

/* nvme_admin.c */
void nvme_admin_execute(struct nvme *nvme, struct nvme_request *request);
/* The last request of a queue that is being deleted has ended. */
void nvme_admin_deleted(struct nvme *nvme, struct nvme_sq *sq);
/* Sends [from, from + size) of nvme->page, at most the `wanted` bytes that the command asks for; a status. */
uint16_t nvme_admin_send(struct nvme *nvme, const struct nvme_request *request, uint64_t wanted, size_t from,
                         size_t size);

/* nvme_features.c. A status; *result for the completion. */
uint16_t nvme_features_get(struct nvme *nvme, const struct nvme_command *command, uint32_t *result);
uint16_t nvme_features_set(struct nvme *nvme, const struct nvme_command *command, uint32_t *result);
void nvme_features_reset(struct nvme *nvme);

/* nvme_identify.c: fills nvme->page. A status. */
uint16_t nvme_identify_fill(struct nvme *nvme, const struct nvme_command *command);

/* nvme_log.c */
uint16_t nvme_log_get(struct nvme *nvme, struct nvme_request *request);
void nvme_log_error(struct nvme *nvme, const struct nvme_request *request, uint16_t status);
/* An event happened; reported when a request for it is there. */
void nvme_event_raise(struct nvme *nvme, enum nvme_event_type type, uint8_t info, enum nvme_log log);
/* Reports what is due; true when it did. */
bool nvme_event_deliver(struct nvme *nvme);
/* Compares the temperature with the thresholds; the critical warning bits. */
uint8_t nvme_temperature_warning(const struct nvme *nvme);
enum { NVME_TEMPERATURE = 303 }; /* kelvins, always */

/* nvme_io.c */
void nvme_io_execute(struct nvme *nvme, struct nvme_request *request);
/* A worker finished it; the next step. */
void nvme_io_continue(struct nvme *nvme, struct nvme_request *request);
/* It was withdrawn from the workers: once more, from pinning on. */
void nvme_io_retry(struct nvme *nvme, struct nvme_request *request);

#endif
