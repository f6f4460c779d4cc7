/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which of QEMU's accelerators runs a guest of some architecture here.
 */
#ifndef CLI_ACCEL_H
#define CLI_ACCEL_H

#include <stdbool.h>
#include <stddef.h>

/* "x86_64", "aarch64", ... as QEMU names this host's processor. Static storage. */
const char *accel_host_arch(void);
/* True when KVM makes virtual machines for us; else `why` says what is wrong. */
bool accel_kvm_works(char *why, size_t size);
/*
 * Resolves auto, kvm, hvf or tcg for a guest. The name in static storage, or NULL when it cannot work; `why` is
 * filled in either case.
 */
const char *accel_pick(const char *wanted, const char *arch, char *why, size_t size);

#endif
