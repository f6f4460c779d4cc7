/* SPDX-License-Identifier: BSD-3-Clause */
/* What dext/ uses of the C library, for a target that this machine has no C library for. */
#ifndef STUBS_LIBC_STRING_H
#define STUBS_LIBC_STRING_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *a, const void *b, size_t size);

#ifdef __cplusplus
}
#endif

#endif
