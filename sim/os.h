/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two things the simulated machine needs that hosts do differently: something to wake a poll with, and memory that
 * can be handed out as a file.
 */
#ifndef SIM_OS_H
#define SIM_OS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/env.h"

/*
 * A level that any thread raises and the owner takes back. read_fd is readable while it is raised: an eventfd on Linux
 * (both ends are the same), a pipe elsewhere.
 */
struct sim_wake {
    int read_fd, write_fd;
    atomic_bool raised; /* spares a system call for every raise after the first and every take without one */
};

/* 0; -EMFILE, -ENFILE, -ENOMEM; a fault injected at site "sim_wake" is -EMFILE. */
int sim_wake_init(const struct vd_env *env, struct sim_wake *wake);
void sim_wake_finish(struct sim_wake *wake);
/* Any thread. What the raiser published before is seen by the owner after its next take. */
void sim_wake_raise(struct sim_wake *wake);
/* The owner's thread, before it looks for work. */
void sim_wake_take(struct sim_wake *wake);

/*
 * A nameless file of `size` zero bytes that nobody can shrink (where the host allows such a seal), so that whoever it
 * is handed to cannot turn our accesses into bus errors. The fd; -EMFILE, -ENFILE, -ENOMEM, -ENOSPC, -EIO; a fault
 * injected at site "sim_memory" is -ENOMEM.
 */
int sim_memory_open(const struct vd_env *env, uint64_t size);
/* Zeroes the whole of it; `memory` is its mapping of `size` bytes. */
void sim_memory_clear(int fd, void *memory, uint64_t size);

#endif
