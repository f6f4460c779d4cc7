/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages that go out in several pieces, on sockets that take only a part. */
#ifndef VD_BASE_MESSAGE_H
#define VD_BASE_MESSAGE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* Drops the first `n` bytes, which were sent; the pieces' descriptions are the caller's scratch and change. */
static inline void vd_message_advance(struct msghdr *msg, size_t n)
{
    while (msg->msg_iovlen && n >= msg->msg_iov->iov_len) {
        n -= msg->msg_iov->iov_len;
        msg->msg_iov++;
        msg->msg_iovlen--;
    }
    if (n) {
        msg->msg_iov->iov_base = (uint8_t *)msg->msg_iov->iov_base + n;
        msg->msg_iov->iov_len -= n;
    }
}

#endif
