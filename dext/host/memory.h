/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory for the device: the hooks of dext/core that are about DMA; struct vd_dext_hw_ops says what each promises. */
#ifndef DEXT_HOST_MEMORY_H
#define DEXT_HOST_MEMORY_H

#include "dext/core/dext.h"

void dextd_dma_limits(void *hw, struct vd_dext_dma_limits *out);
int dextd_dma_prepare(void *hw, void *client, uint64_t address, uint64_t size, uint32_t access,
                      struct vd_dext_run *runs, uint32_t max_runs, uint32_t *nr, void **token);
void dextd_dma_complete(void *hw, void *token);
int dextd_dma_probe(void *hw, void *token, uint64_t offset, uint64_t *value);
int dextd_buffer_create(void *hw, uint64_t size, uint64_t alignment, struct vd_dext_run *run, void **token);
void dextd_buffer_destroy(void *hw, void *token);
int dextd_page_create(void *hw, void **memory, void **token);
void dextd_page_destroy(void *hw, void *token);
uint64_t dextd_faults(void *hw);

/* The descriptor behind a buffer's or a page's token, its own until it is destroyed. */
int dextd_memory_fd(const void *token);
/* What an errno of the simulated machine is to a client. */
int dextd_return(int err);

#endif
