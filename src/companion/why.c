/* SPDX-License-Identifier: BSD-3-Clause */
/* The translation table from what vd_dma_map() answers to what the guest is told. */
#include "companion/companion.h"

#include <errno.h>

uint32_t vd_companion_why(int error)
{
    static const struct {
        int error;
        enum vd_apple_dma_why why;
    } table[] = {
        {0, VD_APPLE_DMA_WHY_NONE},
        {-ENOSPC, VD_APPLE_DMA_WHY_SPACE},
        {-EEXIST, VD_APPLE_DMA_WHY_SPACE}, /* chosen addresses: no hole was found */
        {-ERANGE, VD_APPLE_DMA_WHY_SPACE}, /* likewise */
        {-ENOBUFS, VD_APPLE_DMA_WHY_SEGMENTS},
        {-ENODEV, VD_APPLE_DMA_WHY_GONE},
        {-ENOMEM, VD_APPLE_DMA_WHY_MEMORY},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].error == error)
            return table[i].why;
    }
    return VD_APPLE_DMA_WHY_HOST;
}
