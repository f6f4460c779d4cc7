/* SPDX-License-Identifier: BSD-3-Clause */
/* The raw client; see raw.h. For one thread: the big buffers are shared. */
#include "raw.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sim/edu.h"

enum { GRANULE = 16384 };

/* Connecting. */

struct raw raw_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct raw raw = {.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};

    assert_true(raw.fd >= 0);
    assert_true(strlen(path) < sizeof(address.sun_path));
    strcpy(address.sun_path, path);
    if (connect(raw.fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        fail_msg("%s: %s", path, strerror(errno));
    return raw;
}

struct raw raw_hello(const char *path)
{
    const vd_le32 hello[2] = {vd_put32(VD_DEXT_SOCKET_VERSION), vd_put32(0)};
    struct raw raw = raw_connect(path);

    assert_int_equal(raw_ask(&raw, VD_DEXT_HELLO, hello, sizeof(hello), -1, NULL), VD_DEXT_SUCCESS);
    return raw;
}

struct raw raw_open(const char *path, unsigned i)
{
    static struct raw_message ids;
    struct raw raw = raw_hello(path);

    assert_int_equal(raw_ask(&raw, VD_DEXT_LIST, NULL, 0, -1, &ids), VD_DEXT_SUCCESS);
    assert_true((i + 1) * 8 <= ids.size);
    assert_int_equal(raw_ask64(&raw, VD_DEXT_OPEN, vd_load64(ids.payload + i * 8)), VD_DEXT_SUCCESS);
    return raw;
}

void raw_close(struct raw *raw)
{
    if (raw->fd >= 0)
        close(raw->fd);
    raw->fd = -1;
}

/* Messages. */

static void await(const struct raw *raw, short events)
{
    struct pollfd pollfd = {.fd = raw->fd, .events = events};

    if (poll(&pollfd, 1, RAW_PATIENCE_MS) != 1)
        fail_msg("the other side does nothing");
}

bool raw_send_bytes(struct raw *raw, const void *bytes, size_t size, int fd)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
    const uint8_t *at = bytes;

    while (size) {
        struct iovec iov = {(void *)(uintptr_t)at, size};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
        ssize_t n;

        if (fd >= 0) {
            struct cmsghdr *c;

            msg.msg_control = control;
            msg.msg_controllen = sizeof(control);
            c = CMSG_FIRSTHDR(&msg);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(sizeof(int));
            memcpy(CMSG_DATA(c), &fd, sizeof(int));
        }
        n = sendmsg(raw->fd, &msg, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0) {
            at += n;
            size -= (size_t)n;
            fd = -1;
        }
    }
    return true;
}

bool raw_send(struct raw *raw, uint16_t kind, const void *payload, size_t size, int fd)
{
    struct vd_dext_header header = {.size = vd_put32((uint32_t)(sizeof(header) + size)),
                                    .kind = vd_put16(kind),
                                    .tag = vd_put32(++raw->tag)};
    uint8_t *message = malloc(sizeof(header) + size);
    bool good;

    assert_non_null(message);
    memcpy(message, &header, sizeof(header));
    if (size)
        memcpy(message + sizeof(header), payload, size);
    good = raw_send_bytes(raw, message, sizeof(header) + size, fd);
    free(message);
    return good;
}

/* Exactly so many bytes, and a descriptor that came with them. False: the end came first. */
static bool receive_bytes(struct raw *raw, void *out, size_t size, int *fd)
{
    uint8_t *at = out;

    while (size) {
        _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
        struct iovec iov = {at, size};
        struct msghdr msg = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
        ssize_t n;

        await(raw, POLLIN);
        n = recvmsg(raw->fd, &msg, MSG_CMSG_CLOEXEC);
        if (n <= 0)
            return false;
        if (CMSG_FIRSTHDR(&msg)) {
            assert_int_equal(*fd, -1);
            memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
        }
        at += n;
        size -= (size_t)n;
    }
    return true;
}

bool raw_receive(struct raw *raw, struct raw_message *out)
{
    struct vd_dext_header header;

    out->fd = -1;
    if (!receive_bytes(raw, &header, sizeof(header), &out->fd))
        return false;
    out->kind = vd_get16(header.kind);
    out->tag = vd_get32(header.tag);
    out->status = (int)vd_get32(header.status);
    out->size = vd_get32(header.size) - sizeof(header);
    assert_true(out->size <= RAW_PAYLOAD);
    assert_int_equal(vd_get16(header.reserved), 0);
    return receive_bytes(raw, out->payload, out->size, &out->fd);
}

bool raw_is_silent(const struct raw *raw)
{
    struct pollfd pollfd = {.fd = raw->fd, .events = POLLIN};

    return poll(&pollfd, 1, 0) == 0;
}

void raw_await_close(struct raw *raw)
{
    char dropped[4096];

    for (;;) {
        await(raw, POLLIN);
        if (recv(raw->fd, dropped, sizeof(dropped), 0) <= 0)
            return;
    }
}

int raw_ask(struct raw *raw, uint16_t kind, const void *payload, size_t size, int fd, struct raw_message *out)
{
    static struct raw_message unwanted;
    struct raw_message *reply = out ? out : &unwanted;

    assert_true(raw_send(raw, kind, payload, size, fd));
    if (!raw_receive(raw, reply))
        fail_msg("the connection was closed on message %u", kind);
    assert_int_equal(reply->kind, kind);
    assert_int_equal(reply->tag, raw->tag);
    if (!out && reply->fd >= 0)
        close(reply->fd);
    return reply->status;
}

int raw_ask64(struct raw *raw, uint16_t kind, uint64_t argument)
{
    const vd_le64 payload = vd_put64(argument);

    return raw_ask(raw, kind, &payload, sizeof(payload), -1, NULL);
}

/* Calls. */

static int call(struct raw *raw, struct vd_dext_call_head head, const void *rest, size_t size,
                struct raw_message *out)
{
    uint8_t *payload = malloc(sizeof(head) + size);
    int status;

    assert_non_null(payload);
    memcpy(payload, &head, sizeof(head));
    if (size)
        memcpy(payload + sizeof(head), rest, size);
    status = raw_ask(raw, VD_DEXT_CALL, payload, sizeof(head) + size, -1, out);
    free(payload);
    return status;
}

int raw_call(struct raw *raw, uint32_t selector, const uint64_t *in, unsigned nr_in, uint64_t *out,
             unsigned nr_out)
{
    static struct raw_message reply;
    vd_le64 scalars[VD_DEXT_MAX_SCALARS];
    int status;

    for (unsigned i = 0; i < nr_in; i++)
        scalars[i] = vd_put64(in[i]);
    status = call(raw,
                  (struct vd_dext_call_head){.selector = vd_put32(selector),
                                             .nr_scalars_in = vd_put32(nr_in),
                                             .nr_scalars_out = vd_put32(nr_out)},
                  scalars, nr_in * sizeof(scalars[0]), &reply);
    if (status)
        return status;
    assert_int_equal(reply.size, 8 + 8 * nr_out);
    assert_int_equal(vd_load32(reply.payload), nr_out);
    for (unsigned i = 0; i < nr_out; i++)
        out[i] = vd_load64(reply.payload + 8 + 8 * i);
    return status;
}

int raw_call_bytes(struct raw *raw, uint32_t selector, const void *in, size_t in_size, void *out,
                   size_t *out_size)
{
    static struct raw_message reply;
    int status = call(raw,
                      (struct vd_dext_call_head){.selector = vd_put32(selector),
                                                 .nr_bytes_in = vd_put32((uint32_t)in_size),
                                                 .nr_bytes_out = vd_put32((uint32_t)*out_size)},
                      in, in_size, &reply);

    if (status)
        return status;
    assert_true(reply.size - 8 <= *out_size);
    *out_size = reply.size - 8;
    assert_int_equal(vd_load32(reply.payload + 4), *out_size);
    memcpy(out, reply.payload + 8, *out_size);
    return status;
}

void raw_claim(struct raw *raw)
{
    assert_int_equal(raw_call(raw, VD_DEXT_CLAIM, NULL, 0, NULL, 0), VD_DEXT_SUCCESS);
}

uint64_t raw_config_read(struct raw *raw, unsigned offset, unsigned width)
{
    const uint64_t in[] = {offset, width};
    uint64_t value;

    assert_int_equal(raw_call(raw, VD_DEXT_CONFIG_READ, in, 2, &value, 1), VD_DEXT_SUCCESS);
    return value;
}

void raw_config_write(struct raw *raw, unsigned offset, unsigned width, uint64_t value)
{
    const uint64_t in[] = {offset, width, value};

    assert_int_equal(raw_call(raw, VD_DEXT_CONFIG_WRITE, in, 3, NULL, 0), VD_DEXT_SUCCESS);
}

uint64_t raw_read(struct raw *raw, unsigned index, uint64_t offset, unsigned width)
{
    const uint64_t in[] = {index, offset, width};
    uint64_t value;

    assert_int_equal(raw_call(raw, VD_DEXT_MMIO_READ, in, 3, &value, 1), VD_DEXT_SUCCESS);
    return value;
}

void raw_write(struct raw *raw, unsigned index, uint64_t offset, unsigned width, uint64_t value)
{
    const uint64_t in[] = {index, offset, width, value};

    assert_int_equal(raw_call(raw, VD_DEXT_MMIO_WRITE, in, 4, NULL, 0), VD_DEXT_SUCCESS);
}

void raw_wait(struct raw *raw, uint32_t selector)
{
    const vd_le32 payload[2] = {vd_put32(selector), vd_put32(0)};

    assert_true(raw_send(raw, VD_DEXT_WAIT, payload, sizeof(payload), -1));
}

int raw_completion(struct raw *raw, uint32_t selector, uint64_t *argument)
{
    static struct raw_message message;

    assert_true(raw_receive(raw, &message));
    assert_int_equal(message.kind, VD_DEXT_COMPLETE);
    assert_int_equal(message.tag, 0);
    assert_int_equal(vd_load32(message.payload), selector);
    assert_int_equal(message.size, 8 + 8 * vd_load32(message.payload + 4));
    if (argument)
        *argument = message.size > 8 ? vd_load64(message.payload + 8) : 0;
    return message.status;
}

/* Memory. */

int raw_map(struct raw *raw, unsigned type, void **memory, uint64_t *size)
{
    static struct raw_message reply;
    const vd_le32 payload[2] = {vd_put32(type), vd_put32(0)};
    int status = raw_ask(raw, VD_DEXT_MAP, payload, sizeof(payload), -1, &reply);

    if (status) {
        assert_int_equal(reply.fd, -1);
        return status;
    }
    assert_true(reply.fd >= 0);
    assert_int_equal(reply.size, sizeof(struct vd_dext_map_reply));
    *size = vd_load64(reply.payload + 8);
    *memory =
        mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, reply.fd, (off_t)vd_load64(reply.payload));
    assert_true(*memory != MAP_FAILED);
    close(reply.fd);
    return status;
}

struct raw_memory raw_memory_make(uint64_t size)
{
    struct raw_memory memory = {.fd = memfd_create("viaduct-test", MFD_CLOEXEC), .size = size};

    assert_true(memory.fd >= 0);
    assert_int_equal(ftruncate(memory.fd, (off_t)size), 0);
    memory.room = mmap(NULL, size + GRANULE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(memory.room != MAP_FAILED);
    memory.at = (uint8_t *)memory.room + (-(uintptr_t)memory.room & (GRANULE - 1));
    assert_ptr_equal(mmap(memory.at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memory.fd, 0),
                     memory.at);
    return memory;
}

void raw_memory_free(struct raw_memory *memory)
{
    munmap(memory->room, memory->size + GRANULE);
    close(memory->fd);
}

int raw_share(struct raw *raw, const struct raw_memory *memory)
{
    const struct vd_dext_share share = {vd_put64((uintptr_t)memory->at), vd_put64(memory->size), vd_put64(0)};

    return raw_ask(raw, VD_DEXT_SHARE, &share, sizeof(share), memory->fd, NULL);
}

int raw_unshare(struct raw *raw, const struct raw_memory *memory)
{
    return raw_ask64(raw, VD_DEXT_UNSHARE, (uintptr_t)memory->at);
}

int raw_register(struct raw *raw, uint64_t key, const void *at, uint64_t size, uint64_t *bus)
{
    const uint64_t in[] = {key, (uintptr_t)at, size};
    uint64_t out[3] = {0};
    int status = raw_call(raw, VD_DEXT_REGISTER_DMA_REGION, in, 3, out, 3);

    if (!status) {
        assert_int_equal(out[0], 1);
        assert_int_equal(out[2], size);
    }
    if (bus)
        *bus = out[1];
    return status;
}

int raw_unregister(struct raw *raw, uint64_t key)
{
    return raw_call(raw, VD_DEXT_UNREGISTER_DMA_REGION, &key, 1, NULL, 0);
}

/* Commands. */

int raw_control(struct raw *raw, const char *command, char *text, size_t size)
{
    static struct raw_message reply;
    int status = raw_ask(raw, VD_DEXT_CONTROL, command, strlen(command), -1, &reply);

    if (text)
        snprintf(text, size, "%.*s", (int)reply.size, (const char *)reply.payload);
    return status;
}

static struct json_object *list(struct raw *raw)
{
    static char text[RAW_PAYLOAD];
    struct json_object *document;

    assert_int_equal(raw_control(raw, "list", text, sizeof(text)), VD_DEXT_SUCCESS);
    document = json_tokener_parse(text);
    assert_non_null(document);
    return document;
}

/* How many devices there are at that address, and the first. */
static unsigned find(struct json_object *document, const char *address, struct json_object **out)
{
    struct json_object *devices, *value;
    unsigned count = 0;

    *out = NULL;
    assert_true(json_object_object_get_ex(document, "devices", &devices));
    for (size_t i = 0; i < json_object_array_length(devices); i++) {
        struct json_object *device = json_object_array_get_idx(devices, i);

        assert_true(json_object_object_get_ex(device, "address", &value));
        if (strcmp(json_object_get_string(value), address) != 0)
            continue;
        if (count++ == 0)
            *out = device;
    }
    return count;
}

unsigned raw_devices(struct raw *raw, const char *address)
{
    struct json_object *document = list(raw), *device;
    unsigned count = find(document, address, &device);

    json_object_put(document);
    return count;
}

int64_t raw_number(struct raw *raw, const char *address, const char *key)
{
    struct json_object *document = list(raw), *device, *value;
    int64_t number;

    if (!find(document, address, &device) || !json_object_object_get_ex(device, key, &value))
        fail_msg("no %s of %s in %s", key, address, json_object_to_json_string(document));
    number = json_object_get_int64(value);
    json_object_put(document);
    return number;
}

void raw_await_number(struct raw *raw, const char *address, const char *key, int64_t value)
{
    for (unsigned i = 0; i < RAW_PATIENCE_MS; i++) {
        if (raw_number(raw, address, key) == value)
            return;
        poll(NULL, 0, 1);
    }
    fail_msg("%s of %s does not become %lld", key, address, (long long)value);
}

/* The test endpoint. */

void raw_start_copy(struct raw *raw, uint64_t from, uint64_t to, uint64_t size, uint32_t control)
{
    raw_write(raw, 0, EDU_SOURCE, 8, from);
    raw_write(raw, 0, EDU_DESTINATION, 8, to);
    raw_write(raw, 0, EDU_LENGTH, 8, size);
    raw_write(raw, 0, EDU_CONTROL, 4, EDU_START | control);
}

uint32_t raw_finish_copy(struct raw *raw)
{
    for (unsigned i = 0; i < 1000000; i++) {
        uint32_t status = (uint32_t)raw_read(raw, 0, EDU_STATUS, 4);

        if (!(status & EDU_BUSY))
            return status;
    }
    fail_msg("the copy does not end");
    return 0;
}
