/* SPDX-License-Identifier: BSD-3-Clause */
/* See string.h. */
#ifndef STUBS_LIBC_STDIO_H
#define STUBS_LIBC_STDIO_H

typedef struct stubs_file FILE;
extern FILE *stderr;

int printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
int fprintf(FILE *file, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
