/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Functions coming and going; see machine.h. What the core asks of them is hw.c and memory.c.
 *
 * Invariant: every function in the list has a core. Where a new one cannot be made, the function is pulled out.
 */
#include "machine.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

/* The core's surroundings. */

static void *os_alloc(void *opaque, size_t size)
{
    return vd_env_alloc(opaque, 1, size);
}

static void os_free(void *opaque, void *memory, size_t size)
{
    (void)size;
    vd_env_free(opaque, memory);
}

static void os_log(void *opaque, enum vd_dext_log_level level, const char *text, uint64_t a, uint64_t b)
{
    static const enum vd_env_level levels[] = {[VD_DEXT_LOG_ERROR] = VD_ENV_ERROR,
                                               [VD_DEXT_LOG_WARN] = VD_ENV_WARN,
                                               [VD_DEXT_LOG_INFO] = VD_ENV_INFO};

    vd_env_log(opaque, levels[level], "core: %s %#" PRIx64 " %#" PRIx64, text, a, b);
}

/* A simulated device has finished by the time the access returns that asked for it, so nobody is made to wait. */
static void os_sleep(void *opaque, unsigned microseconds)
{
    (void)opaque;
    (void)microseconds;
}

void dextd_machine_init(struct dextd_machine *machine, const struct vd_env *env,
                        const struct vd_dext_quota *quota)
{
    *machine = (struct dextd_machine){
        .env = env,
        .os = {.opaque = (void *)(uintptr_t)env,
               .alloc = os_alloc,
               .free = os_free,
               .log = os_log,
               .sleep_us = os_sleep},
        .quota = *quota,
    };
}

static void destroy(struct dextd_function *function)
{
    vd_dext_destroy(function->dext);
    sim_machine_destroy(function->sim);
    vd_env_free(function->machine->env, function);
}

void dextd_machine_finish(struct dextd_machine *machine)
{
    while (machine->functions) {
        struct dextd_function *function = machine->functions;

        machine->functions = function->next;
        destroy(function);
    }
}

/* Finding. */

static struct dextd_function *find_plugged(const struct dextd_machine *machine, struct dextd_address address)
{
    for (struct dextd_function *f = machine->functions; f; f = f->next)
        if (!f->gone && dextd_address_equal(f->address, address))
            return f;
    return NULL;
}

struct dextd_function *dextd_machine_find(const struct dextd_machine *machine, uint64_t id)
{
    for (struct dextd_function *f = machine->functions; f; f = f->next)
        if (dextd_function_is_service(f) && f->id == id)
            return f;
    return NULL;
}

static struct dextd_function *find_for_command(const struct dextd_machine *machine,
                                               struct dextd_address address, struct vd_failure *failure)
{
    struct dextd_function *function = find_plugged(machine, address);
    char text[DEXTD_ADDRESS_SIZE];

    dextd_address_print(address, text);
    if (!function)
        vd_fail(failure, -ENOENT, "%s: no such device; `viaduct-dextd list` shows those there are", text);
    return function;
}

/* Plugging in. */

static const char *name_of_status(int status)
{
    return status == VD_DEXT_NO_MEMORY ? "out of memory" : "the device does not answer as one should";
}

/* Gives the function a core and makes it a new service. */
static int start_core(struct dextd_function *function, struct vd_failure *failure)
{
    struct dextd_machine *machine = function->machine;
    char text[DEXTD_ADDRESS_SIZE];
    int status = vd_dext_create(&machine->os, &dextd_hw_ops, function, &machine->quota, &function->dext);

    dextd_address_print(function->address, text);
    if (status) {
        function->dext = NULL;
        return vd_fail(failure, status == VD_DEXT_NO_MEMORY ? -ENOMEM : -EIO, "%s: %s (%#x)", text,
                       name_of_status(status), (unsigned)status);
    }
    function->id = ++machine->last_id;
    vd_info(machine->env, "%s: service %" PRIu64 " started", text, function->id);
    return 0;
}

static bool comes_before(struct dextd_address a, struct dextd_address b)
{
    if (a.bus != b.bus)
        return a.bus < b.bus;
    return a.device != b.device ? a.device < b.device : a.function < b.function;
}

static void insert(struct dextd_machine *machine, struct dextd_function *function)
{
    struct dextd_function **at = &machine->functions;

    while (*at && !comes_before(function->address, (*at)->address))
        at = &(*at)->next;
    function->next = *at;
    *at = function;
    machine->nr_plugged++;
}

/* Of a device with several functions all say so. */
static void mark_multifunction(const struct dextd_machine *machine, struct dextd_address address)
{
    unsigned count = 0;

    for (struct dextd_function *f = machine->functions; f; f = f->next)
        count += !f->gone && dextd_address_same_device(f->address, address);
    for (struct dextd_function *f = machine->functions; f && count > 1; f = f->next)
        if (!f->gone && dextd_address_same_device(f->address, address))
            sim_function_set_multifunction(f->sim_function);
}

static int check_place(const struct dextd_machine *machine, struct dextd_address address,
                       struct vd_failure *failure)
{
    struct dextd_address first = {address.bus, address.device, 0};
    char text[DEXTD_ADDRESS_SIZE], first_text[DEXTD_ADDRESS_SIZE];

    dextd_address_print(address, text);
    dextd_address_print(first, first_text);
    if (find_plugged(machine, address))
        return vd_fail(failure, -EEXIST, "%s: there is a device already; give another address or unplug it",
                       text);
    if (address.function != 0 && !find_plugged(machine, first))
        return vd_fail_usage(failure, "%s: its device has no function 0; add %s=sim:KIND first", text,
                             first_text);
    if (machine->nr_plugged >= DEXTD_MAX_FUNCTIONS)
        return vd_fail(failure, -ENOSPC, "%s: %d functions are plugged in, more cannot be; unplug one", text,
                       DEXTD_MAX_FUNCTIONS);
    return 0;
}

/* Builds the hardware of a function. On failure nothing is left but `spec`. */
static int build(struct dextd_function *function, const char *text, struct dextd_spec *spec,
                 struct vd_failure *failure)
{
    struct sim_function_events events = dextd_hw_events(function);
    int err = sim_machine_create(function->machine->env, &spec->dart, &function->sim, failure);

    if (err)
        return vd_fail_prefix(failure, text, err);
    function->dart = spec->dart;
    err = sim_machine_plug(function->sim, spec->ops, text, spec->values, &events, &function->sim_function,
                           failure);
    if (err) {
        sim_machine_destroy(function->sim);
        return err;
    }
    spec->values = NULL; /* the function's now */
    return 0;
}

static int plug(struct dextd_machine *machine, const char *text, struct dextd_spec *spec,
                struct vd_failure *failure)
{
    struct dextd_function *function;
    int err = check_place(machine, spec->address, failure);

    if (err)
        return err;
    function = vd_env_alloc(machine->env, 1, sizeof(*function));
    if (!function)
        return vd_fail(failure, -ENOMEM, "%.80s: out of memory", text);
    function->machine = machine;
    function->address = spec->address;
    err = build(function, text, spec, failure);
    if (err)
        goto err_free;
    err = start_core(function, failure);
    if (err)
        goto err_hardware;
    insert(machine, function);
    mark_multifunction(machine, function->address);
    return 0;

err_hardware:
    sim_machine_destroy(function->sim);
err_free:
    vd_env_free(machine->env, function);
    return err;
}

int dextd_machine_plug(struct dextd_machine *machine, const char *text, struct vd_failure *failure)
{
    struct dextd_spec spec;
    int err = dextd_spec_parse(machine->env, text, &spec, failure);

    if (err)
        return err;
    err = plug(machine, text, &spec, failure);
    dextd_spec_finish(machine->env, &spec);
    return err;
}

/* Pulling out, and what the rest of the world tells. */

static void pull(struct dextd_function *function)
{
    char text[DEXTD_ADDRESS_SIZE];

    dextd_address_print(function->address, text);
    vd_info(function->machine->env, "%s: pulled out", text);
    function->gone = true;
    function->irq_vectors = 0;
    function->machine->nr_plugged--;
    sim_function_unplug(function->sim_function);
    if (function->dext)
        vd_dext_gone(function->dext);
}

int dextd_machine_unplug(struct dextd_machine *machine, struct dextd_address address,
                         struct vd_failure *failure)
{
    if (!find_for_command(machine, address, failure))
        return -ENOENT;
    for (struct dextd_function *f = machine->functions; f; f = f->next)
        if (!f->gone && dextd_address_same_device(f->address, address) &&
            (address.function == 0 || f->address.function == address.function))
            pull(f);
    return 0;
}

int dextd_machine_event(struct dextd_machine *machine, struct dextd_address address, uint32_t events,
                        struct vd_failure *failure)
{
    struct dextd_function *function = find_for_command(machine, address, failure);

    if (!function)
        return -ENOENT;
    vd_dext_event(function->dext, events);
    return 0;
}

/* The instance ended: a new one takes its place. */
static void renew(struct dextd_function *function)
{
    struct vd_failure failure;

    vd_dext_destroy(function->dext);
    function->ending = false;
    if (start_core(function, &failure)) {
        vd_err(function->machine->env, "%s", failure.text);
        pull(function);
    }
}

void dextd_machine_collect(struct dextd_machine *machine)
{
    struct dextd_function **at = &machine->functions;

    while (*at) {
        struct dextd_function *function = *at;

        if (!function->clients && !function->gone && function->ending)
            renew(function);
        if (!function->clients && function->gone) {
            *at = function->next;
            destroy(function);
        } else {
            at = &function->next;
        }
    }
}

/* Working. */

void dextd_tell_faults(struct dextd_function *function)
{
    uint64_t faults = sim_dart_faults(sim_machine_dart(function->sim));

    if (faults == function->faults)
        return;
    function->faults = faults;
    vd_dext_refresh_use(function->dext);
}

static bool work(struct dextd_function *function, bool will_block)
{
    bool worked = !function->gone && sim_function_dispatch(function->sim_function, will_block);

    dextd_tell_faults(function);
    return worked;
}

bool dextd_machine_dispatch(struct dextd_machine *machine, bool will_block)
{
    bool worked = false;

    for (struct dextd_function *f = machine->functions; f; f = f->next)
        worked |= work(f, will_block);
    return worked;
}

unsigned dextd_machine_poll_fds(const struct dextd_machine *machine, struct pollfd *fds)
{
    unsigned count = 0;

    for (const struct dextd_function *f = machine->functions; f; f = f->next)
        if (!f->gone)
            fds[count++] = (struct pollfd){.fd = sim_function_poll_fd(f->sim_function), .events = POLLIN};
    return count;
}
