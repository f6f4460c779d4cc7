/* SPDX-License-Identifier: BSD-3-Clause */
/* The raw peer; see wire.h. It shares the layouts with the code under test, and nothing else. */
#include "wire.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

void wire_add(struct wire *w, const void *bytes, size_t size)
{
    assert_true(size <= WIRE_ROOM - w->used);
    if (size)
        memcpy(w->bytes + w->used, bytes, size);
    w->used += size;
}

void wire_add32(struct wire *w, uint32_t v)
{
    const vd_le32 le = vd_put32(v);

    wire_add(w, &le, sizeof(le));
}

void wire_add64(struct wire *w, uint64_t v)
{
    const vd_le64 le = vd_put64(v);

    wire_add(w, &le, sizeof(le));
}

void wire_header(struct wire *w, uint32_t size, uint16_t kind, uint16_t reserved, uint32_t tag, int status)
{
    const struct vd_dext_header header = {.size = vd_put32(size),
                                          .kind = vd_put16(kind),
                                          .reserved = vd_put16(reserved),
                                          .tag = vd_put32(tag),
                                          .status = vd_put32((uint32_t)status)};

    wire_add(w, &header, sizeof(header));
}

void wire_message(struct wire *w, uint16_t kind, uint32_t tag, int status, const void *payload, size_t size)
{
    wire_header(w, (uint32_t)(WIRE_HEADER + size), kind, 0, tag, status);
    wire_add(w, payload, size);
}

void wire_reply(struct wire *w, uint32_t tag, const uint64_t *scalars, uint32_t nr, const void *bytes,
                uint32_t size)
{
    wire_header(w, WIRE_HEADER + 8 + nr * 8 + size, VD_DEXT_CALL, 0, tag, 0);
    wire_add32(w, nr);
    wire_add32(w, size);
    for (uint32_t i = 0; i < nr; i++)
        wire_add64(w, scalars[i]);
    wire_add(w, bytes, size);
}

void wire_complete(struct wire *w, uint32_t selector, int status, const uint64_t *args, uint32_t nr)
{
    wire_header(w, WIRE_HEADER + 8 + nr * 8, VD_DEXT_COMPLETE, 0, 0, status);
    wire_add32(w, selector);
    wire_add32(w, nr);
    for (uint32_t i = 0; i < nr; i++)
        wire_add64(w, args[i]);
}

void wire_map(struct wire *w, uint32_t tag, uint64_t offset, uint64_t size)
{
    wire_header(w, WIRE_HEADER + 16, VD_DEXT_MAP, 0, tag, 0);
    wire_add64(w, offset);
    wire_add64(w, size);
}

void wire_send_fds(struct wire *w, int socket, int fd, unsigned nr)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * 8)] = {0};
    struct iovec iov = {w->bytes, w->used};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (nr) {
        struct cmsghdr *c;

        msg.msg_control = control;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * nr);
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * nr);
        for (unsigned i = 0; i < nr; i++)
            memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(int));
    }
    assert_int_equal(sendmsg(socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT), w->used);
    w->used = 0;
}

void wire_send(struct wire *w, int socket)
{
    wire_send_fds(w, socket, -1, 0);
}

static bool read_exactly(int socket, void *to, size_t size, int *fd)
{
    for (size_t done = 0; done < size;) {
        _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
        struct iovec iov = {(uint8_t *)to + done, size - done};
        struct msghdr msg = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
        ssize_t n = recvmsg(socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

        if (n <= 0)
            return false;
        if (CMSG_FIRSTHDR(&msg))
            memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(*fd));
        done += (size_t)n;
    }
    return true;
}

bool wire_receive(int socket, struct wire_in *in)
{
    struct vd_dext_header header;

    in->fd = -1;
    if (!read_exactly(socket, &header, sizeof(header), &in->fd))
        return false;
    in->kind = vd_get16(header.kind);
    in->tag = vd_get32(header.tag);
    in->status = vd_get32(header.status);
    in->size = vd_get32(header.size) - WIRE_HEADER;
    assert_true(in->size <= WIRE_ROOM);
    assert_int_equal(vd_get16(header.reserved), 0);
    return read_exactly(socket, in->payload, in->size, &in->fd);
}

int wire_memfd(uint64_t size)
{
    int fd = memfd_create("wire", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    return fd;
}

unsigned wire_count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

void wire_pair(int ends[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
}

static void *counted_alloc(void *opaque, size_t size)
{
    struct wire_env *w = opaque;

    w->live++;
    return calloc(1, size);
}

static void counted_free(void *opaque, void *ptr)
{
    struct wire_env *w = opaque;

    w->live--;
    free(ptr);
}

void wire_say_yes(struct wire_env *w)
{
    struct wire yes = {0};

    if (!wire_receive(w->socket, &w->last))
        return;
    if (w->last.fd >= 0)
        close(w->last.fd);
    wire_message(&yes, w->last.kind, w->last.tag, 0, NULL, 0);
    wire_send(&yes, w->socket);
}

static uint64_t stepping_clock(void *opaque)
{
    struct wire_env *w = opaque;

    if (w->turn)
        w->turn(w);
    if (!w->step) {
        struct vd_env real;

        vd_env_init_default(&real);
        return vd_env_now(&real);
    }
    w->now += w->step;
    return w->now;
}

static bool nth_fault(void *opaque, const char *site)
{
    struct wire_env *w = opaque;

    (void)site;
    return ++w->steps == w->fail_at;
}

void wire_env_init(struct wire_env *w)
{
    *w = (struct wire_env){.env = {.alloc = counted_alloc,
                                   .free = counted_free,
                                   .now_ns = stepping_clock,
                                   .fault = nth_fault,
                                   .opaque = w,
                                   .level = VD_ENV_ERROR}};
}
