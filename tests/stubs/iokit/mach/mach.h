/* SPDX-License-Identifier: BSD-3-Clause */
/* Stub for tools/typecheck: what src/dextlink/iokit.c uses of <mach/mach.h>, with the signatures of the macOS SDK. */
#ifndef TESTS_STUBS_IOKIT_MACH_MACH_H
#define TESTS_STUBS_IOKIT_MACH_MACH_H

#include <stdint.h>

typedef int kern_return_t;
typedef unsigned int mach_port_t;
typedef mach_port_t task_port_t;
typedef uint64_t mach_vm_address_t;
typedef uint64_t mach_vm_size_t;

#define MACH_PORT_NULL ((mach_port_t)0)

#define KERN_SUCCESS           0
#define KERN_NO_SPACE          3
#define KERN_INVALID_ARGUMENT  4
#define KERN_RESOURCE_SHORTAGE 6
#define MIG_BAD_ARGUMENTS      -304
#define MIG_SERVER_DIED        -308
#define MACH_SEND_INVALID_DEST 0x10000003

extern mach_port_t mach_task_self_;
#define mach_task_self() mach_task_self_

#endif
