/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guarded memory: ranges whose pages another process can take away by truncating the file behind them. With the guard
 * installed, touching such a page replaces it by zeros and raises the range's flag instead of
 * killing the process.
 *
 * Signal dispositions are per process, so this table is too: the one piece of global state in the library, written with
 * atomics only, because the handler reads it.
 */
#ifndef VD_BASE_GUARD_H
#define VD_BASE_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Installs the process's SIGBUS handler; other bus errors go to the one that was there. Once. 0; -errno of sigaction. */
int vd_guard_install(void);
/* Registers [memory, memory + size); *poisoned is set when a page had to be replaced. A slot, or -1: the table is full. */
int vd_guard_add(void *memory, size_t size, _Atomic bool *poisoned);
/* Takes a slot back; -1 is allowed. The memory is still mapped when this is called. */
void vd_guard_remove(int slot);

#endif
