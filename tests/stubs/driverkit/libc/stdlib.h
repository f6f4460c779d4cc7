/* SPDX-License-Identifier: BSD-3-Clause */
/* See string.h. */
#ifndef STUBS_LIBC_STDLIB_H
#define STUBS_LIBC_STDLIB_H

void exit(int status) __attribute__((noreturn));

#endif
