/* SPDX-License-Identifier: BSD-3-Clause */
/* The translation table from what vd_dma_map() answers to what the guest is told, and that in words. */
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

const char *vd_companion_why_text(uint32_t why)
{
    static const char *const texts[] = {
        [VD_APPLE_DMA_WHY_NONE] = "nothing is wrong",
        [VD_APPLE_DMA_WHY_LENGTH] = "no length, or it wraps",
        [VD_APPLE_DMA_WHY_NOT_RAM] = "not all of it is in one region of guest memory",
        [VD_APPLE_DMA_WHY_ACCESS] = "the memory does not allow that access",
        [VD_APPLE_DMA_WHY_FLAGS] = "unknown flags, or an alignment that is no power of two",
        [VD_APPLE_DMA_WHY_BYTES] = "the limit of bytes is used up",
        [VD_APPLE_DMA_WHY_MAPPINGS] = "the limit of mappings is used up",
        [VD_APPLE_DMA_WHY_SPACE] = "no hole in the bus addresses is large enough",
        [VD_APPLE_DMA_WHY_SEGMENTS] = "it comes in more segments than there is room for",
        [VD_APPLE_DMA_WHY_ALIGNMENT] = "no bus address is aligned as asked",
        [VD_APPLE_DMA_WHY_EXISTS] = "that address is mapped already",
        [VD_APPLE_DMA_WHY_UNKNOWN_ID] = "there is no such mapping",
        [VD_APPLE_DMA_WHY_GONE] = "the device is gone",
        [VD_APPLE_DMA_WHY_MEMORY] = "out of memory",
        [VD_APPLE_DMA_WHY_HOST] = "the host refused",
    };

    return why < sizeof(texts) / sizeof(texts[0]) ? texts[why] : "?";
}
