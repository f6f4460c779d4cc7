/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the fake extension share; tests include fake.h. */
#ifndef TESTS_DEXTBACK_FAKE_LINK_H
#define TESTS_DEXTBACK_FAKE_LINK_H

#include "fake.h"

struct vd_link {
    struct fake *fake;
    struct fake_instance *instance;
    bool claimed;
};

/* fake_dma.c: what the selectors and operations of these names do. */
int fake_register(struct fake *f, const uint64_t *in, uint64_t *out);
int fake_remove_region(struct fake *f, uint64_t key);
int fake_register_batch(struct fake *f, struct vd_link_call *call);
int fake_unregister_batch(struct fake *f, struct vd_link_call *call);
int fake_link_share(struct vd_link *link, const struct vd_link_memory *memory);
void fake_link_unshare(struct vd_link *link, const void *host, uint64_t size);

#endif
