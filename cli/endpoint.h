/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The devices that this process serves: one device, one server and one thread each. A device whose strategy is paravirt
 * is followed by its companion, which is a device of its own; it goes before the device that it manages.
 *
 * Threads: the main thread calls everything here. Between endpoints_start() and endpoints_close() the server threads
 * own the devices; the main thread then reads only what the library allows from any thread, and the copies below.
 */
#ifndef CLI_ENDPOINT_H
#define CLI_ENDPOINT_H

#include <pthread.h>
#include <stdatomic.h>

#include <viaduct/companion.h>
#include <viaduct/device.h>
#include <viaduct/irq.h>
#include <viaduct/notifier.h>
#include <viaduct/region.h>
#include <viaduct/server.h>

#include "vfio_option.h"

struct endpoint {
    const struct vfio_option *option; /* outlives the set; a companion has its device's */
    const struct endpoint *manages;   /* a companion's device; NULL: not a companion */
    enum vd_strategy strategy;        /* the one chosen; AUTO for a companion, which has one only */
    char *socket;
    struct vd_device *device;
    struct vd_server *server;
    uint64_t region_sizes[VD_REGION_COUNT]; /* taken before the thread starts */
    uint32_t irq_counts[VD_IRQ_COUNT];      /* likewise */
    pthread_t thread;
    bool started;
    int result;        /* of vd_server_run(); valid once `ended` */
    atomic_bool ended; /* the thread is through, asked for or not */
    struct endpoints *set;
};

struct endpoints {
    struct vd_context *context;
    struct endpoint *items; /* stay where they are */
    size_t count;
    struct vd_notifier ended; /* signalled when a thread ends */
};

/* Once, before anything else: a client that truncates its memory must not end the program. 0 or CLI_FAILED. */
int endpoints_guard_memory(void);
/*
 * Opens every device, chooses strategies and makes companions. 0, or CLI_USAGE or CLI_FAILED after a message; call
 * endpoints_close() in any case. The context and the list outlive the set.
 */
int endpoints_open(struct endpoints *set, struct vd_context *context, const struct vfio_list *list);
/* Listens on each endpoint's `socket`, which the caller set. Results likewise. */
int endpoints_listen(struct endpoints *set);
/* Checks, without a file, what endpoints_listen() would refuse for other reasons than the path. Results likewise. */
int endpoints_check(struct endpoints *set);
/* Starts the threads. */
int endpoints_start(struct endpoints *set);
/* CLI_FAILED after a message when a server ended by itself; else 0. */
int endpoints_health(const struct endpoints *set);
/* CLI_FAILED after a message when a session was refused; else 0. */
int endpoints_refusal(const struct endpoints *set);
/* The address of the endpoint's device as the library has it; a companion's begins with "companion:". */
const char *endpoint_address(const struct endpoint *endpoint);
/* Stops, joins and closes everything; a zeroed set is fine. */
void endpoints_close(struct endpoints *set);

#endif
