/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The machine that the daemon stands for: functions at PCI addresses, each with a simulated bus and IOMMU of its own (on a
 * Mac the IOMMU tells functions apart by requester id) and with an instance of dext/core that drives it.
 *
 * A function is a service that connections open, by an id that is never used again. It ends as a service when it is pulled
 * out (`gone`: freed once its last connection is closed) or when a client terminates the instance (`ending`: its
 * connections are closed, then it returns under a new id).
 *
 * Threads: one owner for the machine and all it holds.
 */
#ifndef DEXT_HOST_MACHINE_H
#define DEXT_HOST_MACHINE_H

#include "dext/core/dext.h"
#include "spec.h"

struct pollfd;

enum { DEXTD_MAX_FUNCTIONS = 64 }; /* plugged in at one time */

struct dextd_function {
    struct dextd_machine *machine;
    struct dextd_function *next; /* by address; of one address the older first */
    struct dextd_address address;
    uint64_t id; /* of the service */
    struct sim_machine *sim;
    struct sim_function *sim_function;
    struct sim_dart_config dart; /* as it came out */
    struct vd_dext *dext;
    unsigned clients; /* connections that have it open */
    bool in_use;      /* the provider is open */
    bool gone, ending;
    enum sim_irq_kind irq_kind; /* what is enabled, with so many vectors */
    uint32_t irq_vectors;
    uint64_t calls;                     /* of its clients, waits included */
    uint64_t peak_bytes, peak_mappings; /* since it was plugged in */
    uint64_t faults;                    /* of its IOMMU, as its client was last told */
};

struct dextd_machine {
    const struct vd_env *env;
    struct vd_dext_os os;
    struct vd_dext_quota quota; /* of each device */
    struct dextd_function *functions;
    unsigned nr_plugged;
    uint64_t last_id;
};

void dextd_machine_init(struct dextd_machine *machine, const struct vd_env *env,
                        const struct vd_dext_quota *quota);
/* No connection has a function open any more. */
void dextd_machine_finish(struct dextd_machine *machine);

/*
 * Plugs in what `text` says (spec.h). 0; -EINVAL wrong words, or a function other than 0 of a device that has no function
 * 0; -EEXIST the address is taken; -ENOSPC too many; -ENOMEM, -EMFILE and the endpoint's own errors.
 */
int dextd_machine_plug(struct dextd_machine *machine, const char *text, struct vd_failure *failure);
/*
 * Pulls a function out, whoever uses it; function 0 takes the others of its device along, which nobody could find without
 * it. 0; -ENOENT.
 */
int dextd_machine_unplug(struct dextd_machine *machine, struct dextd_address address,
                         struct vd_failure *failure);
/* Tells the clients of a function: enum vd_dext_event. 0; -ENOENT. */
int dextd_machine_event(struct dextd_machine *machine, struct dextd_address address, uint32_t events,
                        struct vd_failure *failure);

/* True while the function can be found and opened. */
static inline bool dextd_function_is_service(const struct dextd_function *function)
{
    return !function->gone && !function->ending;
}
/* The service of that id, or NULL. */
struct dextd_function *dextd_machine_find(const struct dextd_machine *machine, uint64_t id);
/* Frees what is gone and renews what ended, where no connection is left. */
void dextd_machine_collect(struct dextd_machine *machine);

/* Brings the count of faults that the client sees up to date. */
void dextd_tell_faults(struct dextd_function *function);
/* Lets every function work. True when one did; see sim_function_dispatch(). */
bool dextd_machine_dispatch(struct dextd_machine *machine, bool will_block);
/* Fills fds[0..DEXTD_MAX_FUNCTIONS) with what to poll for input. How many. */
unsigned dextd_machine_poll_fds(const struct dextd_machine *machine, struct pollfd *fds);

/* hw.c */
extern const struct vd_dext_hw_ops dextd_hw_ops; /* `hw` is the function, `client` a struct dextd_client */
/* What a function's simulated hardware tells it. */
struct sim_function_events dextd_hw_events(struct dextd_function *function);

#endif
