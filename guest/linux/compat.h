/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where kernels from 6.1 to 7.2 differ, in one place. What can be seen in the kernel's headers is
 * looked up there by Kbuild (VIADUCT_ALLOC_PAGES_OP, VIADUCT_MAP_PHYS), because distributions move
 * such changes between versions.
 */
#ifndef VIADUCT_COMPAT_H
#define VIADUCT_COMPAT_H

#include <linux/types.h>
#include <linux/version.h>

/* proto/apple_dma.h is written in these. */
typedef __le32 vd_le32;
typedef __le64 vd_le64;

/*
 * 6.12 made DMA operations a property of the architecture; before, they were one of the
 * configuration.
 */
#if defined(CONFIG_ARCH_HAS_DMA_OPS) || defined(CONFIG_DMA_OPS)
#define VIADUCT_HAS_DMA_OPS 1
#else
#define VIADUCT_HAS_DMA_OPS 0
#endif

/* 6.10 renamed alloc_pages in struct dma_map_ops, because it became a macro. */
#ifdef VIADUCT_ALLOC_PAGES_OP
#define viaduct_op_alloc_pages alloc_pages_op
#else
#define viaduct_op_alloc_pages alloc_pages
#endif

/*
 * 6.12 calls the IOMMU's DMA layer without dma_map_ops: what is set there would not be looked at.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#include <linux/iommu-dma.h>
#define viaduct_behind_iommu(dev) use_dma_iommu(dev)
#else
#define viaduct_behind_iommu(dev) false
#endif

#endif
