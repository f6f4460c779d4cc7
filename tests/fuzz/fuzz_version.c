/* SPDX-License-Identifier: BSD-3-Clause */
/* The capability JSON of VERSION. What parses must survive being emitted and parsed again. */
#include <stdlib.h>

#include "codec/version.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vd_capabilities caps, again;
    const char *problem = NULL;
    char text[1024];
    int n;

    if (vd_capabilities_parse(data, size, &caps, &problem))
        return 0;
    n = vd_capabilities_emit(&caps, text, sizeof(text));
    if (n <= 0 || vd_capabilities_parse(text, (size_t)n, &again, &problem))
        abort();
    if (again.max_data_xfer_size != caps.max_data_xfer_size || again.twin_socket != caps.twin_socket)
        abort();
    return 0;
}
