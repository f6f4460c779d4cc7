/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory that one connection has shared: which of the client's addresses are which file, mapped here so that the
 * simulated device can reach it. On a Mac the kernel looks at the client's memory itself; this is what stands in for it.
 *
 * A share is mapped where the client's address and ours are the same modulo 2 MiB, the largest granule of the IOMMU: a
 * bus address then keeps the low bits of the client's address, and as many granules are charged, as on a Mac.
 *
 * Invariants: shares in the tree are disjoint. A share lives while it is in the tree or regions lie in it, so UNSHARE
 * takes nothing away from under the device.
 * Threads: one owner; `poisoned` may be set by the SIGBUS guard's handler on any.
 */
#ifndef DEXT_HOST_SHARE_H
#define DEXT_HOST_SHARE_H

#include "base/env.h"
#include "base/tree.h"
#include "proto/dext_socket.h"

/* Of a connection; the bytes of all connections together fit the daemon's address space. */
enum { DEXTD_MAX_SHARES = 1024 };
#define DEXTD_MAX_SHARED_BYTES (1ull << 40)

struct dextd_share;

struct dextd_shares {
    const struct vd_env *env;
    struct vd_tree tree;
    unsigned count; /* those that only regions keep included */
    uint64_t bytes;
    _Atomic bool poisoned; /* a file was truncated: what is mapped is not the client's memory any more */
};

void dextd_shares_init(struct dextd_shares *shares, const struct vd_env *env);
/* Unmaps them all. No region is left in any. */
void dextd_shares_finish(struct dextd_shares *shares);

/*
 * Maps what `share` says of the descriptor, which stays the caller's. 0; BAD_ARGUMENT no memory file, not inside it,
 * addresses that wrap, that overlap another share or that no mapping can have; NOT_PERMITTED may not be written;
 * NO_RESOURCES too many, or too many bytes; NO_MEMORY.
 */
int dextd_shares_add(struct dextd_shares *shares, const struct vd_dext_share *share, int fd);
/* Forgets the share that begins at the client's `address`. 0; NOT_FOUND. */
int dextd_shares_remove(struct dextd_shares *shares, uint64_t address);

/*
 * A region of the client's memory: its share, kept until dextd_share_put(), and in *memory where it is here. NULL: the
 * client shared no such memory.
 */
struct dextd_share *dextd_shares_get(struct dextd_shares *shares, uint64_t address, uint64_t size,
                                     uint8_t **memory);
void dextd_share_put(struct dextd_share *share);

#endif
