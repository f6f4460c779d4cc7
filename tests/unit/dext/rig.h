/* SPDX-License-Identifier: BSD-3-Clause */
/* A mock device with the core over it and two connections, and short ways to call. */
#ifndef TESTS_UNIT_DEXT_RIG_H
#define TESTS_UNIT_DEXT_RIG_H

#include <string.h>

#include "../base/unit.h"
#include "mock.h"

struct rig {
    struct mock mock;
    struct vd_dext_os os;
    struct vd_dext *dext;
    struct vd_dext_client *a, *b; /* a claims, in tests that need somebody to */
};

/* Scalars for rig_call(). */
#define IN(...) (const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t)
#define NO_IN   NULL, 0

/* A handle that is as good as any for an async call. */
static inline void *rig_handle(uintptr_t number)
{
    return (void *)(0x1000 + number);
}

/* The device as it is in rig->mock, and two clients. */
int rig_start(struct rig *rig, const struct vd_dext_quota *quota);
/* Closes everything and checks that nothing is left. */
void rig_stop(struct rig *rig);
/* cmocka setups: the default device; with the claim held by a; and with its interrupts set up. */
int rig_setup(void **state);
int rig_setup_claimed(void **state);
int rig_setup_irqs(void **state);
int rig_teardown(void **state);

/* A synchronous call without byte blocks; checks that a success fills `out` and a failure does not. */
int rig_call(struct vd_dext_client *client, uint32_t selector, const uint64_t *in, uint32_t nr_in,
             uint64_t *out, uint32_t nr_out);
/* WAIT_INTERRUPT or WAIT_EVENT. */
int rig_wait(struct vd_dext_client *client, uint32_t selector, void *async);
/* A call with byte blocks; *nr_out: room, then what was filled. */
int rig_block(struct vd_dext_client *client, uint32_t selector, const void *bytes_in, size_t nr_in,
              void *bytes_out, size_t *nr_out);
/* Registers one region at `address` under `key`. */
int rig_register(struct rig *rig, uint64_t key, uint64_t address, uint64_t size);
/* One of GET_LIMITS's outputs. */
uint64_t rig_limit(struct rig *rig, enum vd_dext_limit which);

#endif
