/* SPDX-License-Identifier: BSD-3-Clause */
/* The raw client and the rig; see peer.h. It shares the layouts with the server, and nothing else. */
#include "peer.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/vfio_user.h"

enum { HEADER = sizeof(struct vfio_user_header) };

void peer_init(struct peer *p, int fd)
{
    struct timeval limit = {.tv_sec = PEER_TIMEOUT_S};

    *p = (struct peer){.fd = fd, .twin = -1, .next_id = 1, .write_reply = 16, .room = malloc(PEER_ROOM)};
    assert_non_null(p->room);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

void peer_finish(struct peer *p)
{
    if (p->fd >= 0)
        close(p->fd);
    if (p->twin >= 0)
        close(p->twin);
    free(p->room);
    p->fd = p->twin = -1;
    p->room = NULL;
}

bool peer_send_raw(int fd, const void *bytes, size_t size, const int *fds, unsigned nr_fds)
{
    char control[CMSG_SPACE(sizeof(int) * PEER_MAX_FDS)] = {0};
    size_t done = 0;

    while (done < size) {
        struct iovec iov = {(uint8_t *)(uintptr_t)bytes + done, size - done};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
        ssize_t n;

        if (nr_fds && done == 0) {
            struct cmsghdr *c;

            msg.msg_control = control;
            msg.msg_controllen = CMSG_SPACE(sizeof(int) * nr_fds);
            c = CMSG_FIRSTHDR(&msg);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(sizeof(int) * nr_fds);
            memcpy(CMSG_DATA(c), fds, sizeof(int) * nr_fds);
        }
        n = sendmsg(fd, &msg, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

static void put_header(void *at, uint16_t id, uint16_t command, size_t payload, uint32_t flags,
                       uint32_t error)
{
    struct vfio_user_header header = {vd_put16(id), vd_put16(command), vd_put32((uint32_t)(HEADER + payload)),
                                      vd_put32(flags), vd_put32(error)};

    memcpy(at, &header, HEADER);
}

static bool send_message(int fd, uint16_t id, uint16_t command, uint32_t flags, uint32_t error,
                         const void *payload, size_t size, const int *fds, unsigned nr_fds)
{
    uint8_t *bytes = malloc(HEADER + size);
    bool sent;

    assert_non_null(bytes);
    put_header(bytes, id, command, size, flags, error);
    if (size)
        memcpy(bytes + HEADER, payload, size);
    sent = peer_send_raw(fd, bytes, HEADER + size, fds, nr_fds);
    free(bytes);
    return sent;
}

uint16_t peer_send(struct peer *p, uint16_t command, uint32_t flags, const void *payload, size_t size,
                   const int *fds, unsigned nr_fds)
{
    uint16_t id = p->next_id++;

    send_message(p->fd, id, command, flags, 0, payload, size, fds, nr_fds);
    return id;
}

/* Reads exactly `size` bytes; false at the end of the stream. */
static bool read_exactly(int fd, void *buffer, size_t size, struct peer_message *m)
{
    for (size_t done = 0; done < size;) {
        char control[CMSG_SPACE(sizeof(int) * PEER_MAX_FDS)];
        struct iovec iov = {(uint8_t *)buffer + done, size - done};
        struct msghdr msg = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
        ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            fail_msg("no answer in %d s", PEER_TIMEOUT_S);
        if (n <= 0)
            return false;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
            size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

            assert_true(m->nr_fds + count <= PEER_MAX_FDS);
            memcpy(m->fds + m->nr_fds, CMSG_DATA(c), count * sizeof(int));
            m->nr_fds += (unsigned)count;
        }
        done += (size_t)n;
    }
    return true;
}

static void receive_from(struct peer *p, int fd, struct peer_message *m)
{
    uint8_t bytes[HEADER];
    struct vfio_user_header header;

    *m = (struct peer_message){.payload = p->room};
    if (!read_exactly(fd, bytes, HEADER, m)) {
        m->closed = true;
        return;
    }
    memcpy(&header, bytes, HEADER);
    m->id = vd_get16(header.id);
    m->command = vd_get16(header.command);
    m->flags = vd_get32(header.flags);
    m->error = vd_get32(header.error);
    assert_in_range(vd_get32(header.size), HEADER, HEADER + PEER_ROOM);
    m->size = vd_get32(header.size) - HEADER;
    m->closed = !read_exactly(fd, p->room, m->size, m);
}

void peer_receive(struct peer *p, struct peer_message *m)
{
    receive_from(p, p->fd, m);
}

/* Answers one DMA request as a VMM would. */
static void answer(struct peer *p, int fd, const struct peer_message *m)
{
    struct vfio_user_dma_access access;
    uint64_t address, count;
    uint32_t error = p->dma_errno;
    uint8_t *reply;

    assert_true(m->command == VFIO_USER_DMA_READ || m->command == VFIO_USER_DMA_WRITE);
    assert_true(m->size >= sizeof(access));
    memcpy(&access, m->payload, sizeof(access));
    address = vd_get64(access.address);
    count = vd_get64(access.count);
    if (m->command == VFIO_USER_DMA_READ)
        p->dma_reads++;
    else
        p->dma_writes++;
    if (count > p->dma_largest)
        p->dma_largest = (size_t)count;
    if (p->dma_silent)
        return;
    if (!error &&
        (address < p->ram_base || count > p->ram_size || address - p->ram_base > p->ram_size - count))
        error = 14;
    if (error) {
        send_message(fd, m->id, m->command, VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR, error, NULL, 0, NULL, 0);
        return;
    }
    reply = malloc(sizeof(access) + count);
    assert_non_null(reply);
    memcpy(reply, &access, sizeof(access));
    if (m->command == VFIO_USER_DMA_READ) {
        memcpy(reply + sizeof(access), p->ram + (address - p->ram_base), count);
        send_message(fd, m->id, m->command, VFIO_USER_TYPE_REPLY, 0, reply, sizeof(access) + count, NULL, 0);
    } else {
        assert_int_equal(m->size, sizeof(access) + count);
        memcpy(p->ram + (address - p->ram_base), m->payload + sizeof(access), count);
        send_message(fd, m->id, m->command, VFIO_USER_TYPE_REPLY, 0, reply, p->write_reply, NULL, 0);
    }
    free(reply);
}

/* Waits for either socket; answers what comes on the twin. */
static void serve_twin(struct peer *p)
{
    for (;;) {
        fd_set set;
        struct timeval limit = {.tv_sec = PEER_TIMEOUT_S};
        struct peer_message m;

        FD_ZERO(&set);
        FD_SET(p->fd, &set);
        FD_SET(p->twin, &set);
        assert_true(select((p->fd > p->twin ? p->fd : p->twin) + 1, &set, NULL, NULL, &limit) > 0);
        if (FD_ISSET(p->fd, &set))
            return;
        receive_from(p, p->twin, &m);
        if (m.closed) {
            close(p->twin);
            p->twin = -1;
            return;
        }
        answer(p, p->twin, &m);
    }
}

void peer_receive_reply(struct peer *p, struct peer_message *m)
{
    for (;;) {
        if (p->twin >= 0)
            serve_twin(p);
        peer_receive(p, m);
        if (m->closed || (m->flags & VFIO_USER_TYPE_MASK) == VFIO_USER_TYPE_REPLY)
            return;
        answer(p, p->fd, m);
    }
}

int peer_call(struct peer *p, uint16_t command, const void *payload, size_t size, const int *fds,
              unsigned nr_fds, struct peer_message *m)
{
    struct peer_message local;
    uint16_t id = peer_send(p, command, 0, payload, size, fds, nr_fds);

    if (!m)
        m = &local;
    peer_receive_reply(p, m);
    for (unsigned i = 0; i < m->nr_fds; i++)
        close(m->fds[i]);
    if (m->closed)
        return -1;
    assert_int_equal(m->id, id);
    assert_int_equal(m->command, command);
    if (m->flags & VFIO_USER_ERROR) {
        assert_int_equal(m->size, 0); /* "the reply message must only include the reply header" */
        assert_int_not_equal(m->error, 0);
    }
    return m->flags & VFIO_USER_ERROR ? (int)m->error : 0;
}

int peer_negotiate_with(struct peer *p, const char *json, struct peer_message *m)
{
    uint8_t payload[1024] = {0};
    size_t length = strlen(json) + 1;

    assert_true(length <= sizeof(payload) - 4);
    memcpy(payload + 4, json, length);
    return peer_call(p, VFIO_USER_VERSION, payload, 4 + length, NULL, 0, m);
}

int peer_negotiate(struct peer *p)
{
    return peer_negotiate_with(
        p,
        "{\"capabilities\":{\"pgsizes\":4096,\"max_msg_fds\":16,\"max_dma_maps\":65535,"
        "\"max_data_xfer_size\":1048576,\"migration\":{\"max_bitmap_size\":268435456,"
        "\"pgsize\":4096},\"write_multiple\":true}}",
        NULL);
}

int peer_dma_map(struct peer *p, uint64_t address, uint64_t size, uint32_t flags, int fd, uint64_t offset)
{
    struct vfio_user_dma_map map = {vd_put32(32), vd_put32(flags), vd_put64(offset), vd_put64(address),
                                    vd_put64(size)};

    return peer_call(p, VFIO_USER_DMA_MAP, &map, sizeof(map), &fd, fd >= 0, NULL);
}

int peer_dma_unmap(struct peer *p, uint64_t address, uint64_t size)
{
    struct vfio_user_dma_unmap unmap = {vd_put32(24), vd_put32(0), vd_put64(address), vd_put64(size)};

    return peer_call(p, VFIO_USER_DMA_UNMAP, &unmap, sizeof(unmap), NULL, 0, NULL);
}

int peer_read(struct peer *p, uint32_t region, uint64_t offset, void *buffer, uint32_t count)
{
    struct vfio_user_region_access access = {vd_put64(offset), vd_put32(region), vd_put32(count)};
    struct peer_message m;
    int ret = peer_call(p, VFIO_USER_REGION_READ, &access, sizeof(access), NULL, 0, &m);

    if (ret == 0) {
        assert_int_equal(m.size, sizeof(access) + count);
        memcpy(buffer, m.payload + sizeof(access), count);
    }
    return ret;
}

int peer_write(struct peer *p, uint32_t region, uint64_t offset, const void *buffer, uint32_t count)
{
    struct vfio_user_region_access access = {vd_put64(offset), vd_put32(region), vd_put32(count)};
    uint8_t *payload = malloc(sizeof(access) + count);
    int ret;

    assert_non_null(payload);
    memcpy(payload, &access, sizeof(access));
    memcpy(payload + sizeof(access), buffer, count);
    ret = peer_call(p, VFIO_USER_REGION_WRITE, payload, sizeof(access) + count, NULL, 0, NULL);
    free(payload);
    return ret;
}

uint32_t peer_read32(struct peer *p, uint32_t region, uint64_t offset)
{
    uint8_t bytes[4];

    assert_int_equal(peer_read(p, region, offset, bytes, 4), 0);
    return vd_load32(bytes);
}

void peer_write32(struct peer *p, uint32_t region, uint64_t offset, uint32_t value)
{
    vd_le32 wire = vd_put32(value);

    assert_int_equal(peer_write(p, region, offset, &wire, 4), 0);
}

void peer_write64(struct peer *p, uint32_t region, uint64_t offset, uint64_t value)
{
    vd_le64 wire = vd_put64(value);

    assert_int_equal(peer_write(p, region, offset, &wire, 8), 0);
}

int peer_enable_bus_master(struct peer *p)
{
    vd_le16 command = vd_put16(0x6);

    return peer_write(p, 7, 4, &command, 2);
}

int peer_memfd(uint64_t size)
{
    FILE *file = tmpfile();
    int fd;

    assert_non_null(file);
    fd = dup(fileno(file));
    fclose(file);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    return fd;
}

static void keep_line(void *opaque, enum vd_log_level level, const char *line)
{
    struct rig *rig = opaque;
    size_t length = strlen(line);

    (void)level;
    pthread_mutex_lock(&rig->lock);
    if (length + 2 <= sizeof(rig->log) - rig->logged) {
        memcpy(rig->log + rig->logged, line, length);
        rig->log[rig->logged + length] = '\n';
        rig->logged += length + 1;
        rig->log[rig->logged] = 0;
    }
    pthread_mutex_unlock(&rig->lock);
}

bool rig_logged(struct rig *rig, const char *text)
{
    bool found;

    pthread_mutex_lock(&rig->lock);
    found = strstr(rig->log, text) != NULL;
    pthread_mutex_unlock(&rig->lock);
    return found;
}

void rig_open(struct rig *rig, const char *address)
{
    struct vd_context_options options = {
        .size = sizeof(options), .opaque = rig, .log = keep_line, .log_level = VD_LOG_INFO};
    struct vd_error error = {0};

    memset(rig, 0, sizeof(*rig));
    pthread_mutex_init(&rig->lock, NULL);
    assert_int_equal(vd_context_create(&options, &rig->context), 0);
    if (vd_device_open(rig->context, address, &rig->device, &error))
        fail_msg("%s: %s", address, error.message);
}

int rig_serve(struct rig *rig, const struct vd_server_options *options, struct vd_error *error)
{
    return vd_server_create(rig->context, rig->device, options, &rig->server, error);
}

static void *run_server(void *opaque)
{
    struct rig *rig = opaque;

    rig->result = vd_server_run(rig->server);
    return NULL;
}

void rig_run(struct rig *rig)
{
    assert_int_equal(pthread_create(&rig->thread, NULL, run_server, rig), 0);
    rig->running = true;
}

void rig_make_path(struct rig *rig)
{
    char directory[] = P_tmpdir "/viaduct-test-XXXXXX";

    assert_non_null(mkdtemp(directory));
    snprintf(rig->path, sizeof(rig->path), "%s/sock", directory);
}

int rig_connect(struct rig *rig)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    memcpy(address.sun_path, rig->path, strlen(rig->path) + 1);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

void rig_start(struct rig *rig, const char *address, enum rig_mode mode, int *client)
{
    struct vd_server_options options = {.size = sizeof(options), .client_fd = -1};
    struct vd_error error = {0};
    int ends[2];

    rig_open(rig, address);
    if (mode == RIG_LISTEN) {
        rig_make_path(rig);
        options.socket_path = rig->path;
    } else {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        options.client_fd = ends[0];
        *client = ends[1];
    }
    if (rig_serve(rig, &options, &error))
        fail_msg("%s", error.message);
    rig_run(rig);
}

void rig_join(struct rig *rig)
{
    if (rig->running)
        assert_int_equal(pthread_join(rig->thread, NULL), 0);
    rig->running = false;
}

void rig_stop(struct rig *rig)
{
    if (rig->server)
        vd_server_stop(rig->server);
    rig_join(rig);
    vd_server_destroy(rig->server);
    vd_device_close(rig->device);
    vd_context_destroy(rig->context);
    pthread_mutex_destroy(&rig->lock);
    if (rig->path[0]) {
        *strrchr(rig->path, '/') = 0;
        assert_int_equal(rmdir(rig->path), 0); /* the server removed its socket */
    }
}

unsigned count_fds(void)
{
    DIR *directory = opendir("/proc/self/fd");
    unsigned n = 0;

    if (!directory)
        return 0;
    while (readdir(directory))
        n++;
    closedir(directory);
    return n;
}
