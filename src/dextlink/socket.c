/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The link to viaduct-dextd: what the operations of link.h are in proto/dext_socket.h. Every reply is checked against
 * what was asked for before anything is taken from it.
 */
#include "dextlink/socket.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/guard.h"
#include "dextlink/channel.h"
#include "dextlink/connect.h"
#include "dextlink/place.h"
#include "dextlink/share.h"

/* A mapped memory type. */
struct mapped {
    struct mapped *next;
    struct vd_link_mapping mapping;
    int guard;
};

struct vd_link {
    const struct vd_env *env;
    struct vd_channel channel;
    struct vd_shares shares;
    struct mapped *mapped;
    _Atomic bool poisoned; /* the other side took mapped memory away: zeros are there instead */
};

/* A message with a payload of one piece. */
static struct vd_frame_out message(uint16_t kind, const void *payload, size_t size)
{
    return (struct vd_frame_out){
        .kind = kind, .fd = -1, .nr_pieces = 1, .pieces = {{(void *)(uintptr_t)payload, size}}};
}

static int break_off(struct vd_link *link)
{
    return vd_channel_give_up(&link->channel, VD_DEXT_IPC_ERROR);
}

/* One who takes memory away is given up like one who breaks the protocol. */
static int request(struct vd_link *link, struct vd_frame_out *out, struct vd_frame *reply)
{
    if (atomic_load_explicit(&link->poisoned, memory_order_relaxed))
        break_off(link);
    return vd_channel_request(&link->channel, out, reply);
}

static bool can_be_carried(const struct vd_link_call *call)
{
    return call->nr_scalars_in <= VD_DEXT_MAX_SCALARS && call->nr_scalars_out <= VD_DEXT_MAX_SCALARS &&
           call->nr_bytes_in <= VD_DEXT_SOCKET_MAX_BYTES && call->nr_bytes_out <= VD_DEXT_SOCKET_MAX_BYTES;
}

/* Takes over the results, when they are no more than there is room for. */
static bool take_results(struct vd_link_call *call, const struct vd_frame *reply)
{
    struct vd_reader r = vd_frame_reader(reply);
    uint32_t nr_scalars = vd_read32(&r);
    uint32_t nr_bytes = vd_read32(&r);

    if (r.failed || nr_scalars > call->nr_scalars_out || nr_bytes > call->nr_bytes_out ||
        r.left != nr_scalars * sizeof(vd_le64) + nr_bytes)
        return false;
    for (uint32_t i = 0; i < nr_scalars; i++)
        call->scalars_out[i] = vd_read64(&r);
    if (nr_bytes)
        memcpy(call->bytes_out, vd_read_bytes(&r, nr_bytes), nr_bytes);
    call->nr_scalars_out = nr_scalars;
    call->nr_bytes_out = nr_bytes;
    return true;
}

static int carry(struct vd_link *link, struct vd_link_call *call)
{
    const struct vd_dext_call_head head = {.selector = vd_put32(call->selector),
                                           .nr_scalars_in = vd_put32(call->nr_scalars_in),
                                           .nr_scalars_out = vd_put32(call->nr_scalars_out),
                                           .nr_bytes_in = vd_put32((uint32_t)call->nr_bytes_in),
                                           .nr_bytes_out = vd_put32((uint32_t)call->nr_bytes_out)};
    struct vd_frame_out out = message(VD_DEXT_CALL, &head, sizeof(head));
    vd_le64 scalars[VD_DEXT_MAX_SCALARS];
    struct vd_frame reply;
    int status;

    for (uint32_t i = 0; i < call->nr_scalars_in; i++)
        scalars[i] = vd_put64(call->scalars_in[i]);
    out.pieces[1] = (struct iovec){scalars, call->nr_scalars_in * sizeof(scalars[0])};
    out.pieces[2] = (struct iovec){(void *)(uintptr_t)call->bytes_in, call->nr_bytes_in};
    out.nr_pieces = 3;
    status = request(link, &out, &reply);
    if (status || reply.status)
        return status ? status : reply.status;
    return take_results(call, &reply) ? VD_DEXT_SUCCESS : break_off(link);
}

static int socket_call(struct vd_link *link, struct vd_link_call *call)
{
    int status = can_be_carried(call) ? carry(link, call) : VD_DEXT_BAD_ARGUMENT;

    if (status) {
        call->nr_scalars_out = 0;
        call->nr_bytes_out = 0;
    }
    return status;
}

static int socket_wait(struct vd_link *link, uint32_t selector)
{
    return vd_channel_wait(&link->channel, selector);
}

static bool socket_poll(struct vd_link *link, struct vd_link_completion *out, bool *gone)
{
    return vd_channel_poll(&link->channel, out, gone);
}

static int socket_poll_fd(const struct vd_link *link)
{
    return link->channel.watch.fd;
}

/*
 * The file must be as long as is said, or the first access behind its end would end this process. (One that shrinks later
 * is the guard's business, where it is installed.)
 */
static bool layout_is_good(const struct vd_frame *reply, struct vd_link_mapping *out)
{
    struct vd_reader r = vd_frame_reader(reply);
    struct vd_dext_map_reply layout;
    struct stat st;

    if (reply->fd < 0 || !vd_read_struct(&r, &layout, sizeof(layout)) || r.left || fstat(reply->fd, &st) < 0)
        return false;
    out->fd_offset = vd_get64(layout.offset);
    out->size = vd_get64(layout.size);
    return out->size > 0 && out->size <= SIZE_MAX && st.st_size > 0 &&
           vd_span_fits(out->fd_offset, out->size, (uint64_t)st.st_size);
}

/* Maps what the reply brought; its descriptor is taken over on success. */
static int map_reply(struct vd_link *link, struct vd_frame *reply, struct vd_link_mapping *out)
{
    if (reply->fd_lost)
        return VD_DEXT_NO_RESOURCES;
    if (!layout_is_good(reply, out))
        return break_off(link);
    out->address = vd_env_fault(link->env, "mmap") ? MAP_FAILED
                                                   : mmap(NULL, (size_t)out->size, PROT_READ | PROT_WRITE,
                                                          MAP_SHARED, reply->fd, (off_t)out->fd_offset);
    if (out->address == MAP_FAILED)
        return VD_DEXT_NO_MEMORY;
    out->fd = reply->fd;
    reply->fd = -1;
    return VD_DEXT_SUCCESS;
}

static int request_mapping(struct vd_link *link, uint32_t type, struct vd_link_mapping *out)
{
    const vd_le32 what[2] = {vd_put32(type), vd_put32(0)};
    struct vd_frame_out ask = message(VD_DEXT_MAP, what, sizeof(what));
    struct vd_frame reply;
    int status = request(link, &ask, &reply);

    if (status)
        return status;
    status = reply.status ? reply.status : map_reply(link, &reply, out);
    vd_frame_drop(&reply);
    out->type = type;
    return status;
}

/* VD_LINK_WRITE_COMBINE does not concern memory of this kind: it is cached and coherent. */
static int socket_map(struct vd_link *link, uint32_t type, uint32_t flags, struct vd_link_mapping *out)
{
    struct mapped *mapped = vd_env_alloc(link->env, 1, sizeof(*mapped));
    int status;

    (void)flags;
    if (!mapped)
        return VD_DEXT_NO_MEMORY;
    status = request_mapping(link, type, &mapped->mapping);
    if (status) {
        vd_env_free(link->env, mapped);
        return status;
    }
    mapped->guard = vd_guard_add(mapped->mapping.address, (size_t)mapped->mapping.size, &link->poisoned);
    mapped->next = link->mapped;
    link->mapped = mapped;
    *out = mapped->mapping;
    return VD_DEXT_SUCCESS;
}

static void unmap_at(struct vd_link *link, struct mapped **at)
{
    struct mapped *mapped = *at;

    *at = mapped->next;
    vd_guard_remove(mapped->guard);
    munmap(mapped->mapping.address, (size_t)mapped->mapping.size);
    close(mapped->mapping.fd);
    vd_env_free(link->env, mapped);
}

static void socket_unmap(struct vd_link *link, struct vd_link_mapping *mapping)
{
    struct mapped **at = &link->mapped;

    while (*at && (*at)->mapping.address != mapping->address)
        at = &(*at)->next;
    assert(*at);
    if (*at)
        unmap_at(link, at);
    *mapping = (struct vd_link_mapping){.fd = -1};
}

static int announce(void *opaque, uint64_t address, uint64_t size, uint64_t offset, int fd)
{
    const struct vd_dext_share what = {vd_put64(address), vd_put64(size), vd_put64(offset)};
    struct vd_frame_out out = message(VD_DEXT_SHARE, &what, sizeof(what));
    struct vd_link *link = opaque;

    out.fd = fd;
    return vd_channel_command(&link->channel, &out);
}

static void withdraw(void *opaque, uint64_t address)
{
    const vd_le64 what = vd_put64(address);
    struct vd_frame_out out = message(VD_DEXT_UNSHARE, &what, sizeof(what));
    struct vd_link *link = opaque;

    vd_channel_command(&link->channel, &out);
}

static const struct vd_share_ops share_ops = {.announce = announce, .withdraw = withdraw};

static int socket_share(struct vd_link *link, const struct vd_link_memory *memory)
{
    return link->channel.broken ? VD_DEXT_NOT_ATTACHED : vd_shares_get(&link->shares, memory);
}

static void socket_unshare(struct vd_link *link, const void *host, uint64_t size)
{
    vd_shares_put(&link->shares, host, size);
}

static void socket_close(struct vd_link *link)
{
    if (!link)
        return;
    while (link->mapped)
        unmap_at(link, &link->mapped);
    vd_shares_finish(&link->shares);
    vd_channel_close(&link->channel);
    vd_env_free(link->env, link);
}

/* Why what every viaduct-dextd does did not happen. */
static int explain(const char *path, int status, struct vd_failure *failure)
{
    switch (status) {
    case VD_DEXT_TIMEOUT:
        return vd_fail(failure, -EIO, "the viaduct-dextd at %s did not answer within %d s: restart it", path,
                       VD_CHANNEL_S);
    case VD_DEXT_NOT_ATTACHED:
        return vd_fail(
            failure, -EIO,
            "the viaduct-dextd at %s ended the connection: look at what it printed, then try again", path);
    case VD_DEXT_IPC_ERROR:
        return vd_fail(failure, -EIO,
                       "what listens at %s does not answer like a viaduct-dextd: set VIADUCT_DEXTD to the "
                       "socket of one",
                       path);
    default:
        return vd_fail(failure, -EIO, "the viaduct-dextd at %s refused with 0x%08x: look at what it printed",
                       path, (unsigned)status);
    }
}

static int say_hello(struct vd_link *link, const char *path, struct vd_failure *failure)
{
    const vd_le32 what[2] = {vd_put32(VD_DEXT_SOCKET_VERSION), vd_put32(0)};
    struct vd_frame_out out = message(VD_DEXT_HELLO, what, sizeof(what));
    int status = vd_channel_command(&link->channel, &out);

    if (status == VD_DEXT_BAD_ARGUMENT)
        return vd_fail(failure, -EIO,
                       "the viaduct-dextd at %s is of another version: start the one that was built together "
                       "with this program",
                       path);
    return status ? explain(path, status, failure) : 0;
}

/* A link as far as HELLO. `fd` is taken over in every case. */
static int greet(const struct vd_env *env, int fd, const char *path, struct vd_link **out,
                 struct vd_failure *failure)
{
    struct vd_link *link = vd_env_alloc(env, 1, sizeof(*link));
    int ret = -ENOMEM;

    if (link) {
        link->env = env;
        vd_shares_init(&link->shares, env, &share_ops, link);
        ret = vd_channel_open(&link->channel, env, fd);
    } else {
        close(fd);
    }
    if (ret)
        vd_fail(failure, ret, "cannot talk to the viaduct-dextd at %s: %s", path, strerror(-ret));
    else
        ret = say_hello(link, path, failure);
    if (ret) {
        socket_close(link);
        return ret;
    }
    *out = link;
    return 0;
}

int vd_link_socket_adopt(const struct vd_env *env, int fd, const char *path, uint64_t id,
                         struct vd_link **out, struct vd_failure *failure)
{
    const vd_le64 what = vd_put64(id);
    struct vd_frame_out ask = message(VD_DEXT_OPEN, &what, sizeof(what));
    struct vd_link *link;
    int ret = greet(env, fd, path, &link, failure);
    int status;

    if (ret)
        return ret;
    status = vd_channel_command(&link->channel, &ask);
    if (!status) {
        *out = link;
        return 0;
    }
    socket_close(link);
    if (status == VD_DEXT_NOT_FOUND)
        return vd_fail(failure, -ENOENT, "the viaduct-dextd at %s has no such device any more: list again",
                       path);
    return explain(path, status, failure);
}

enum { PLACE = 256 }; /* more than a socket's address can hold */

/* The path that `where` stands for: itself, or the usual place in `place`. NULL: the latter does not fit. */
static const char *path_of(const char *where, char place[PLACE], struct vd_failure *failure)
{
    if (where)
        return where;
    if (vd_link_usual_place(place, PLACE) == 0)
        return place;
    vd_fail_usage(failure,
                  "VIADUCT_DEXTD or XDG_RUNTIME_DIR is too long for the path of a socket: shorten it");
    return NULL;
}

static int socket_open(const struct vd_env *env, const char *where, uint64_t id, struct vd_link **out,
                       struct vd_failure *failure)
{
    char place[PLACE];
    const char *path = path_of(where, place, failure);
    int fd = path ? vd_link_connect(env, path, failure) : -EINVAL;

    return fd < 0 ? fd : vd_link_socket_adopt(env, fd, path, id, out, failure);
}

/* The ids of the reply; how many there are, or -EIO. */
static int take_ids(const struct vd_frame *reply, uint64_t *ids, size_t max)
{
    struct vd_reader r = vd_frame_reader(reply);
    size_t count = reply->size / sizeof(vd_le64);

    if (reply->size % sizeof(vd_le64))
        return -EIO;
    for (size_t i = 0; i < count && i < max; i++)
        ids[i] = vd_read64(&r);
    return (int)count;
}

static int socket_list(const struct vd_env *env, const char *where, uint64_t *ids, size_t max,
                       struct vd_failure *failure)
{
    char place[PLACE];
    const char *path = path_of(where, place, failure);
    int fd = path ? vd_link_connect(env, path, failure) : -EINVAL;
    struct vd_frame_out ask = message(VD_DEXT_LIST, NULL, 0);
    struct vd_frame reply;
    struct vd_link *link;
    int ret = fd < 0 ? fd : greet(env, fd, path, &link, failure);
    int status;

    if (ret)
        return ret;
    status = vd_channel_request(&link->channel, &ask, &reply);
    if (!status)
        status = reply.status;
    ret = status ? -EIO : take_ids(&reply, ids, max);
    socket_close(link);
    return ret < 0 ? explain(path, status ? status : VD_DEXT_IPC_ERROR, failure) : ret;
}

const struct vd_link_ops vd_link_socket = {
    .name = "socket",
    .needs_file = true,
    .list = socket_list,
    .open = socket_open,
    .close = socket_close,
    .call = socket_call,
    .wait = socket_wait,
    .poll = socket_poll,
    .poll_fd = socket_poll_fd,
    .map = socket_map,
    .unmap = socket_unmap,
    .share = socket_share,
    .unshare = socket_unshare,
};
