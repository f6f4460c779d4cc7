/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Framing: the input is cut into segments, some with descriptors; every message that comes out must lie in the buffer, and
 * no descriptor may be left. A segment is: a length byte, a descriptor-count byte, the bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void send_segment(int fd, const uint8_t *bytes, size_t size, unsigned nr_fds)
{
    char control[CMSG_SPACE(sizeof(int) * 20)] = {0};
    struct iovec iov = {(void *)(uintptr_t)bytes, size};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (nr_fds) {
        struct cmsghdr *c;

        msg.msg_control = control;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * nr_fds);
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * nr_fds);
        for (unsigned i = 0; i < nr_fds; i++)
            memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(int));
    }
    sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Takes what is whole; 0, or -EPROTO. */
static int drain(struct vd_stream *stream)
{
    struct vd_message m;
    int ret;

    while ((ret = vd_stream_next(stream, &m)) == 1) {
        uint8_t sum = 0;

        for (size_t i = 0; i < m.size; i++)
            sum = (uint8_t)(sum + m.payload[i]);
        if (m.nr_fds > VD_MESSAGE_MAX_FDS || (m.nr_fds && fcntl(m.fds[0], F_GETFD) < 0 && sum))
            abort();
        vd_message_finish(&m);
    }
    return ret;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vd_env env;
    static struct vd_stream stream;
    int ends[2];
    int ret = 0;
    int probe;

    if (!stream.buffer) {
        vd_env_init_default(&env);
        if (vd_stream_init(&stream, &env))
            abort();
    }
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
        abort();
    vd_stream_open(&stream, ends[0]);
    while (size >= 2 && !ret) {
        size_t n = data[0] < size - 2 ? data[0] : size - 2;
        unsigned nr_fds = data[1] < 0xe0 ? 0 : data[1] % 20;

        if (n)
            send_segment(ends[1], data + 2, n, nr_fds);
        data += 2 + n;
        size -= 2 + n;
        ret = vd_stream_receive(&stream);
        ret = ret == -EAGAIN || ret > 0 ? drain(&stream) : ret;
    }
    vd_stream_close(&stream);
    close(ends[1]);
    probe = dup(0); /* the lowest free descriptor: it creeps up when one leaks */
    if (probe > 64)
        abort();
    if (probe >= 0)
        close(probe);
    return 0;
}
