/* SPDX-License-Identifier: BSD-3-Clause */
/* The JSON of VFIO_USER_VERSION: what the two sides can do. */
#ifndef VD_CODEC_VERSION_H
#define VD_CODEC_VERSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One side's capabilities, defaults filled in. */
struct vd_capabilities {
    uint32_t max_msg_fds;
    uint64_t max_data_xfer_size;
    uint64_t max_dma_maps;
    uint64_t pgsizes;
    bool write_multiple;
    bool twin_socket;
    int twin_fd_index; /* in a reply; -1: absent */
};

/* Longest version data that is looked at; a peer's real one has some 200 bytes. */
enum { VD_VERSION_DATA_MAX = 65536 };

/* What holds for a peer that names nothing. */
void vd_capabilities_init(struct vd_capabilities *caps);

/*
 * Reads version data: `size` bytes, NUL included; size 0 is the defaults. Unknown keys are skipped; a known key must
 * have its type and a sensible value. 0; -EINVAL (*problem, when not NULL, names the key, static storage); -ENOMEM.
 */
int vd_capabilities_parse(const void *data, size_t size, struct vd_capabilities *caps, const char **problem);

/*
 * Writes version data with its NUL. twin_socket is written when set; write_multiple likewise. The bytes written;
 * -ENOBUFS; -ENOMEM.
 */
int vd_capabilities_emit(const struct vd_capabilities *caps, char *buffer, size_t size);

#endif
