/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Child processes: QEMU, and short questions to it. On Linux a child is killed when the thread that started it ends,
 * however it ends, so start children from the main thread only.
 */
#ifndef CLI_PROCESS_H
#define CLI_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* True when that file can be run; else false with errno. */
bool process_is_program(const char *path);
/* The first program of that name in $PATH, in fresh memory, or NULL. */
char *process_find(const char *name);

/* Starts argv[0] (a path) with our standard streams. The child's id, or -errno: -ENOENT, -EACCES ... of exec. */
pid_t process_start(char *const argv[]);

/*
 * Runs argv[0] to its end and keeps the first size - 1 bytes of standard output and error. Its exit status (128 + n
 * for signal n); -errno when it cannot start; -ETIMEDOUT when it took longer than `timeout_ms` and was killed.
 */
int process_capture(char *const argv[], char *output, size_t size, int timeout_ms);

/* Monotonic milliseconds. */
int64_t process_now_ms(void);

/* The exit status behind what waitpid() reports, 128 + n for signal n. */
int process_status(int wait_status);

#endif
