/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-or-later */
/*
 * The framing that carries the extension's ABI over a Unix stream socket, between src/dextlink/socket.c and dext/host.
 * Ours alone and not stable: both ends are built from one tree and say so in HELLO. Layouts only; little-endian.
 *
 * Every message is a header and `size - sizeof header` bytes. A request has a nonzero tag; its reply repeats kind and
 * tag. Tag 0: unasked (COMPLETE). A descriptor, at most one, travels with the header's first byte.
 */
#ifndef PROTO_DEXT_SOCKET_H
#define PROTO_DEXT_SOCKET_H

#include "proto/dext_abi.h"

enum {
    VD_DEXT_SOCKET_VERSION = 1,
    VD_DEXT_SOCKET_MAX_SIZE = 1 << 20,  /* of a message */
    VD_DEXT_SOCKET_MAX_BYTES = 1 << 19, /* bytes_in, and bytes_out, of one call */
};

enum vd_dext_message {
    VD_DEXT_HELLO = 1, /* le32 version, le32 0 -> status: BAD_ARGUMENT for another version */
    VD_DEXT_LIST = 2,  /* nothing -> status, le64 ids... */
    VD_DEXT_OPEN = 3,  /* le64 id -> status; once for a connection. NOT_FOUND */
    VD_DEXT_CALL = 4,  /* vd_dext_call_head, scalars, bytes -> status, vd_dext_reply_head, scalars, bytes */
    VD_DEXT_WAIT = 5,  /* le32 selector, le32 0 -> no reply, but a COMPLETE */
    VD_DEXT_COMPLETE = 6, /* le32 selector, le32 nr, then nr le64 arguments */
    VD_DEXT_MAP = 7,      /* le32 type, le32 0 -> status, vd_dext_map_reply, descriptor */
    VD_DEXT_SHARE = 8,    /* vd_dext_share, descriptor -> status */
    VD_DEXT_UNSHARE = 9,  /* le64 address -> status */
    VD_DEXT_CONTROL = 10, /* text -> status, text: for people and tests, see viaduct-dextd(1) */
    VD_DEXT_MESSAGE_END = 11,
};

struct vd_dext_header {
    vd_le32 size; /* header included */
    vd_le16 kind;
    vd_le16 reserved; /* 0 */
    vd_le32 tag;
    vd_le32 status; /* requests: 0; else enum vd_dext_return */
};

struct vd_dext_call_head {
    vd_le32 selector;
    vd_le32 nr_scalars_in;
    vd_le32 nr_scalars_out; /* room */
    vd_le32 nr_bytes_in;
    vd_le32 nr_bytes_out; /* room */
    vd_le32 reserved;
};

struct vd_dext_reply_head {
    vd_le32 nr_scalars;
    vd_le32 nr_bytes;
};

struct vd_dext_map_reply {
    vd_le64 offset; /* in the descriptor */
    vd_le64 size;
};

/* [address, address + size) of the client is [offset, offset + size) of the descriptor. */
struct vd_dext_share {
    vd_le64 address;
    vd_le64 size;
    vd_le64 offset;
};

VD_DEXT_ASSERT(sizeof(struct vd_dext_header) == 16);
VD_DEXT_ASSERT(sizeof(struct vd_dext_call_head) == 24 && sizeof(struct vd_dext_reply_head) == 8);
VD_DEXT_ASSERT(sizeof(struct vd_dext_map_reply) == 16 && sizeof(struct vd_dext_share) == 24);

#endif
