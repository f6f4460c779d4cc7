/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A simulated machine: one DART and the functions behind it. The host side of a function (`struct sim_function`) is
 * what a back end uses: config space and BARs, interrupts as a host enables them, reset, DMA through the machine's DART.
 *
 * Threads: one owner thread for a machine and all it holds.
 */
#ifndef SIM_BUS_H
#define SIM_BUS_H

#include "sim/endpoint.h"

struct sim_machine;
struct sim_function;

/* What a function tells its host; called on the owner thread, from dispatch or from an access. */
struct sim_function_events {
    void (*msi)(void *opaque, enum sim_irq_kind kind, unsigned vector);
    void (*intx)(void *opaque, bool asserted);
    void *opaque;
};

/* A machine with an IOMMU. 0; -EINVAL; -ENOMEM; -EMFILE. */
int sim_machine_create(const struct vd_env *env, struct sim_dart_config *config, struct sim_machine **out,
                       struct vd_failure *failure);
/* Destroys its functions too. NULL is allowed. */
void sim_machine_destroy(struct sim_machine *machine);
struct sim_dart *sim_machine_dart(struct sim_machine *machine);

/*
 * Plugs a function in. Takes over `values` (with the set it was parsed by) on success. 0; the endpoint's errors.
 */
int sim_machine_plug(struct sim_machine *machine, const struct sim_endpoint_ops *ops, const char *address,
                     void *values, const struct sim_function_events *events, struct sim_function **out,
                     struct vd_failure *failure);

const struct sim_endpoint_info *sim_function_info(const struct sim_function *function);
/* Config space, any length inside 4096 bytes. Writes act (FLR, bus mastering) before they return. */
void sim_function_config_read(struct sim_function *function, unsigned offset, void *buffer, size_t count);
void sim_function_config_write(struct sim_function *function, unsigned offset, const void *buffer,
                               size_t count);
/* BARs, any length inside the BAR: split into natural accesses; MSI-X table and PBA are the bus's own. */
void sim_function_bar_read(struct sim_function *function, unsigned bar, uint64_t offset, void *buffer,
                           size_t count);
void sim_function_bar_write(struct sim_function *function, unsigned bar, uint64_t offset, const void *buffer,
                            size_t count);
void sim_function_rom_read(struct sim_function *function, uint64_t offset, void *buffer, size_t count);
/* What the host's interrupt code would program; count 0 turns the kind off. */
void sim_function_irq_enable(struct sim_function *function, enum sim_irq_kind kind, unsigned count);
/* FLR from the host's side. */
void sim_function_reset(struct sim_function *function);
/* A reset of the link above (PCIe 6.6.1), whether or not the function can do an FLR. */
void sim_function_hot_reset(struct sim_function *function);
/* Says in config space that the device has further functions; they are machines of their own, or others of this one. */
void sim_function_set_multifunction(struct sim_function *function);
/*
 * The function is pulled out, with what it was doing. When this returns it does no DMA and sends no interrupt any more;
 * from then on reads give all ones, writes and everything else asked of it are dropped, and its mappings can still be
 * unmapped. Pulling it again does nothing. It is freed with its machine.
 */
void sim_function_unplug(struct sim_function *function);
bool sim_function_dispatch(struct sim_function *function, bool will_block);
int sim_function_poll_fd(const struct sim_function *function);

/* The i-th endpoint kind, NULL past the end; the one of that name, or NULL. */
const struct sim_endpoint_ops *sim_endpoint_kind(size_t i);
const struct sim_endpoint_ops *sim_endpoint_find(const char *kind, size_t length);

#endif
