/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signals as something to poll. The handlers only count and write to a pipe; they belong to the process, so this is
 * the one place of the command with state of its own.
 */
#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

/*
 * Catches INT, TERM, HUP and CHLD, ignores PIPE (a peer that leaves must not end the program). Call once, before
 * threads. 0 or CLI_FAILED after a message.
 */
int signals_init(void);
/* Readable after a caught signal. */
int signals_fd(void);
/* Empties signals_fd(); read the counters below afterwards. */
void signals_drain(void);
/* How often the user or the system asked to stop. */
int signals_stops(void);
/* Blocks the caught signals in the calling thread, so that threads it creates leave them to the main thread. */
void signals_block(sigset_t *before);
/* Undoes everything, in a child between fork and exec. Async-signal-safe. */
void signals_reset(void);

#endif
