/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A link whose other side is the input: whatever it says, calls stay within their room, mappings can be touched, and no
 * memory and no descriptor is left. The other side takes its turn whenever the link looks at the clock, so there is one
 * thread and no waiting.
 *
 * The input is a list of records: flags, a size, a status, the payload. A record answers the last request unless its flags
 * say otherwise; at the end of the input the other side hangs up.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dextlink/frame.h"
#include "dextlink/socket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum record_flag {
    KIND = 15,       /* of the message; 0: the last request's */
    RAW = 16,        /* bytes without a header */
    DESCRIPTOR = 32, /* one comes along */
    OTHER_TAG = 64,  /* 0 instead of the last request's */
    FAILED = 128,    /* with the status */
};

struct peer {
    const uint8_t *at;
    size_t left;
    int fd; /* -1: hung up */
    int file;
    struct vd_dext_header last; /* request that wants a reply */
    bool open;                  /* what was sent last is no answer to it */
    unsigned looks;             /* at the clock since it came */
    int live;                   /* allocations */
    uint64_t now;
};

static bool send_bytes(const struct peer *peer, struct iovec *iov, size_t count, bool descriptor)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = count};

    if (descriptor) {
        struct cmsghdr *c;

        msg.msg_control = control;
        msg.msg_controllen = sizeof(control);
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &peer->file, sizeof(int));
    }
    return sendmsg(peer->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) > 0;
}

/* True when something went out. */
static bool play_record(struct peer *peer)
{
    uint8_t flags = peer->at[0];
    size_t size = peer->at[1] < peer->left - 3 ? peer->at[1] : peer->left - 3;
    struct vd_dext_header header = {
        .size = vd_put32((uint32_t)(sizeof(header) + size)),
        .kind = flags & KIND ? vd_put16(flags & KIND) : peer->last.kind,
        .tag = flags & OTHER_TAG ? vd_put32(0) : peer->last.tag,
        .status = vd_put32(flags & FAILED ? 0xe0000200 + peer->at[2] : 0),
    };
    bool sent;
    struct iovec iov[2] = {{&header, flags & RAW ? 0 : sizeof(header)},
                           {(void *)(uintptr_t)(peer->at + 3), size}};

    peer->open = flags & (RAW | OTHER_TAG);
    sent = send_bytes(peer, iov, 2, flags & DESCRIPTOR);
    peer->at += 3 + size;
    peer->left -= 3 + size;
    return sent;
}

/* Skips to the last request that wants a reply; true when there is a new one. */
static bool read_requests(struct peer *peer)
{
    static uint8_t bytes[65536];
    ssize_t n = recv(peer->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    bool found = false;

    for (size_t at = 0; n > 0 && at + sizeof(peer->last) <= (size_t)n;) {
        struct vd_dext_header header;

        memcpy(&header, bytes + at, sizeof(header));
        at += vd_get32(header.size);
        if (vd_get16(header.kind) != VD_DEXT_WAIT) {
            peer->last = header;
            found = true;
        }
    }
    if (n == 0)
        peer->left = 0; /* the link was given up */
    return found;
}

/*
 * The link looks at the clock before it asks and while it waits. The other side moves when it was asked, when it has only
 * sent something that is no answer, and when it is clear that the link waits; then every turn does something that wakes it.
 */
static uint64_t clock_and_turn(void *opaque)
{
    struct peer *peer = opaque;
    bool asked = peer->fd >= 0 && read_requests(peer);
    bool moves;

    peer->looks = asked ? 0 : peer->looks + 1;
    moves = asked || peer->open || peer->looks > 8 || peer->left < 3;
    while (peer->fd >= 0 && moves) {
        if (peer->left >= 3) {
            moves = !play_record(peer);
        } else {
            close(peer->fd);
            peer->fd = -1;
        }
    }
    return peer->now += 1000;
}

static void *counted_alloc(void *opaque, size_t size)
{
    struct peer *peer = opaque;

    peer->live++;
    return calloc(1, size);
}

static void counted_free(void *opaque, void *ptr)
{
    struct peer *peer = opaque;

    peer->live--;
    free(ptr);
}

static void call(struct vd_link *link, uint32_t room, size_t bytes)
{
    uint64_t scalars[VD_DEXT_MAX_SCALARS];
    uint8_t out[256];
    struct vd_link_call c = {.selector = 8,
                             .scalars_out = scalars,
                             .nr_scalars_out = room,
                             .bytes_out = out,
                             .nr_bytes_out = bytes};

    vd_link_socket.call(link, &c);
    if (c.nr_scalars_out > room || c.nr_bytes_out > bytes)
        abort();
}

static void map(struct vd_link *link, bool keep)
{
    struct vd_link_mapping mapping;

    if (vd_link_socket.map(link, 1, 0, &mapping))
        return;
    ((volatile uint8_t *)mapping.address)[0] = 1;
    ((volatile uint8_t *)mapping.address)[mapping.size - 1] = 1;
    if (!keep)
        vd_link_socket.unmap(link, &mapping);
}

static void poll_all(struct vd_link *link)
{
    struct vd_link_completion completion;
    bool gone;

    while (vd_link_socket.poll(link, &completion, &gone))
        if (completion.nr_args > VD_DEXT_MAX_SCALARS || completion.selector >= VD_DEXT_SELECTOR_END)
            abort();
}

/* Until the input is used up: each round asks at least once, so each plays a record. */
static void use(struct vd_link *link, const struct peer *peer)
{
    const struct vd_link_memory memory = {
        .host = (void *)(uintptr_t)0x10000000, .size = 4096, .fd = peer->file};

    while (peer->fd >= 0) {
        vd_link_socket.wait(link, VD_DEXT_WAIT_INTERRUPT);
        vd_link_socket.wait(link, VD_DEXT_WAIT_EVENT);
        call(link, 2, 256);
        poll_all(link);
        map(link, peer->left & 1);
        if (vd_link_socket.share(link, &memory) == 0 && peer->left & 2)
            vd_link_socket.unshare(link, memory.host, memory.size);
        call(link, 0, 0);
        poll_all(link);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int file = -1;
    struct peer peer = {.at = data, .left = size};
    struct vd_env env = {
        .alloc = counted_alloc, .free = counted_free, .now_ns = clock_and_turn, .opaque = &peer};
    struct vd_failure failure;
    struct vd_link *link;
    int ends[2];
    int probe;

    if (file < 0)
        file = memfd_create("fuzz", MFD_CLOEXEC);
    if (file < 0 || ftruncate(file, 65536) < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
        abort();
    peer.fd = ends[1];
    peer.file = file;
    if (vd_link_socket_adopt(&env, ends[0], "fuzz", 1, &link, &failure) == 0) {
        use(link, &peer);
        vd_link_socket.close(link);
    }
    if (peer.fd >= 0)
        close(peer.fd);
    probe = dup(0); /* the lowest free descriptor: it creeps up when one leaks */
    if (probe > 64 || peer.live)
        abort();
    if (probe >= 0)
        close(probe);
    return 0;
}
