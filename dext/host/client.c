/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection's messages; see client.h. The table below says which kind is allowed when and how long it is; handlers
 * decode, ask the core and fill in the reply.
 *
 * What breaks the framing ends the connection. What is framed well but cannot be done is refused with a status.
 */
#include "client.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "control.h"
#include "memory.h"
#include "server.h"

enum { BURST = 16 }; /* messages handled before others have their turn */

/* A request at work, and its reply. */
struct request {
    struct dextd_client *client;
    struct vd_frame *frame;
    struct vd_reader in;
    struct vd_writer out; /* over the server's scratch memory */
    int fd;               /* to send along, not ours; -1: none */
};

void dextd_client_end(struct dextd_client *client, const char *why)
{
    if (client->ended)
        return;
    client->ended = true;
    vd_info(client->server->env, "client %" PRIu64 ": closed: %s", client->number, why);
}

/* Sends, or keeps what the socket does not take now. */
static void post(struct dextd_client *client, const struct vd_frame_out *out)
{
    int err;

    if (client->ended)
        return;
    err = vd_frame_post(&client->stream, out);
    if (err)
        dextd_client_end(client, err == -EAGAIN ? "it does not read its replies" : "it is gone");
    else if (vd_frame_posted(&client->stream) && !client->stalled_since)
        client->stalled_since = vd_env_now(client->server->env);
}

void dextd_client_flush(struct dextd_client *client, uint64_t now)
{
    size_t before = client->stream.queue_start;
    int err = vd_frame_flush(&client->stream);

    if (err == -EPIPE)
        dextd_client_end(client, "it is gone");
    if (err == 0) {
        client->stalled_since = 0;
        client->readable = true; /* whatever came meanwhile was left alone */
    } else if (client->stream.queue_start != before) {
        client->stalled_since = now;
    }
}

void dextd_wait_complete(struct dextd_wait *wait, int status, const uint64_t *args, uint32_t nr_args)
{
    uint8_t payload[8 + 8 * VD_DEXT_MAX_SCALARS];
    struct vd_writer w = vd_writer_make(payload, sizeof(payload));
    struct vd_frame_out out = {.kind = VD_DEXT_COMPLETE, .status = status, .fd = -1, .nr_pieces = 1};

    wait->pending = false;
    vd_write32(&w, wait->selector);
    vd_write32(&w, nr_args);
    for (uint32_t i = 0; i < nr_args; i++)
        vd_write64(&w, args[i]);
    out.pieces[0] = (struct iovec){payload, w.used};
    post(wait->client, &out);
}

/* Handlers: 0 or an enum vd_dext_return. */

static int handle_hello(struct request *q)
{
    uint32_t version = vd_read32(&q->in);

    if (version != VD_DEXT_SOCKET_VERSION || vd_read32(&q->in) != 0)
        return VD_DEXT_BAD_ARGUMENT;
    q->client->state = DEXTD_CLIENT_READY;
    return VD_DEXT_SUCCESS;
}

static int handle_list(struct request *q)
{
    for (const struct dextd_function *f = q->client->server->machine.functions; f; f = f->next)
        if (dextd_function_is_service(f))
            vd_write64(&q->out, f->id);
    return VD_DEXT_SUCCESS;
}

static int handle_open(struct request *q)
{
    struct dextd_client *client = q->client;
    struct dextd_function *function = dextd_machine_find(&client->server->machine, vd_read64(&q->in));
    int status;

    if (client->state == DEXTD_CLIENT_OPEN)
        return VD_DEXT_STILL_OPEN;
    if (!function)
        return VD_DEXT_NOT_FOUND;
    status = vd_dext_client_open(function->dext, client, &client->core);
    if (status)
        return status;
    client->function = function;
    function->clients++;
    client->state = DEXTD_CLIENT_OPEN;
    return VD_DEXT_SUCCESS;
}

/*
 * Decodes a call into *call and `scalars`. Its bytes are to go into the reply, behind as many scalars as there is room for:
 * clients give as much as the selector has, so they are where they belong.
 */
static bool read_call(struct request *q, struct vd_dext_call *call, uint64_t *scalars)
{
    struct vd_dext_call_head head;
    uint32_t nr_bytes_out;
    size_t bytes_at;

    if (!vd_read_struct(&q->in, &head, sizeof(head)) || vd_get32(head.reserved))
        return false;
    call->selector = vd_get32(head.selector);
    call->nr_scalars_in = vd_get32(head.nr_scalars_in);
    call->nr_scalars_out = vd_get32(head.nr_scalars_out);
    call->nr_bytes_in = vd_get32(head.nr_bytes_in);
    nr_bytes_out = vd_get32(head.nr_bytes_out);
    if (call->nr_scalars_in > VD_DEXT_MAX_SCALARS || call->nr_scalars_out > VD_DEXT_MAX_SCALARS ||
        call->nr_bytes_in > VD_DEXT_SOCKET_MAX_BYTES || nr_bytes_out > VD_DEXT_SOCKET_MAX_BYTES)
        return false;
    for (uint32_t i = 0; i < call->nr_scalars_in; i++)
        scalars[i] = vd_read64(&q->in);
    call->scalars_in = scalars;
    call->bytes_in = call->nr_bytes_in ? vd_read_bytes(&q->in, call->nr_bytes_in) : NULL;
    bytes_at = sizeof(struct vd_dext_reply_head) + 8 * call->nr_scalars_out;
    call->bytes_out = nr_bytes_out ? q->out.start + bytes_at : NULL;
    call->nr_bytes_out = nr_bytes_out;
    return !q->in.failed && q->in.left == 0;
}

static int handle_call(struct request *q)
{
    uint64_t scalars[VD_DEXT_MAX_SCALARS], results[VD_DEXT_MAX_SCALARS];
    struct vd_dext_call call = {.scalars_out = results};
    int status;

    if (!read_call(q, &call, scalars))
        return VD_DEXT_BAD_ARGUMENT;
    q->client->function->calls++;
    status = vd_dext_call(q->client->core, &call);
    if (status)
        return status;
    vd_write32(&q->out, call.nr_scalars_out);
    vd_write32(&q->out, (uint32_t)call.nr_bytes_out);
    for (uint32_t i = 0; i < call.nr_scalars_out; i++)
        vd_write64(&q->out, results[i]);
    if (call.nr_bytes_out) {
        void *room = vd_write_room(&q->out, call.nr_bytes_out);

        if (room != call.bytes_out) /* more room for scalars than there were */
            memmove(room, call.bytes_out, call.nr_bytes_out);
    }
    return VD_DEXT_SUCCESS;
}

static struct dextd_wait *free_wait(struct dextd_client *client)
{
    for (unsigned i = 0; i < DEXTD_CLIENT_WAITS; i++)
        if (!client->waits[i].pending)
            return &client->waits[i];
    return NULL;
}

/* Has no reply but the completion, which a refusal is as well. */
static int handle_wait(struct request *q)
{
    struct dextd_wait busy = {.client = q->client};
    struct dextd_wait *wait = free_wait(q->client);
    struct vd_dext_call call = {.async = wait};
    int status = VD_DEXT_BUSY;

    call.selector = busy.selector = vd_read32(&q->in);
    if (vd_read32(&q->in) != 0) {
        status = VD_DEXT_BAD_ARGUMENT;
    } else if (wait) {
        *wait = (struct dextd_wait){q->client, call.selector, true};
        q->client->function->calls++;
        status = vd_dext_call(q->client->core, &call);
    }
    if (status)
        dextd_wait_complete(wait && wait->pending ? wait : &busy, status, NULL, 0);
    return VD_DEXT_SUCCESS;
}

/* Only a BAR that is memory all over: what has to trap in it would be lost on whoever maps it. */
static int bar_file(const struct dextd_function *function, uint32_t number, int *fd)
{
    const struct sim_bar *bar = &sim_function_info(function->sim_function)->bars[number];

    if (bar->fd < 0 || bar->areas[0].size != bar->size)
        return VD_DEXT_UNSUPPORTED;
    *fd = bar->fd;
    return VD_DEXT_SUCCESS;
}

static int handle_map(struct request *q)
{
    struct vd_dext_memory memory;
    uint32_t type = vd_read32(&q->in);
    int status =
        vd_read32(&q->in) == 0 ? vd_dext_memory(q->client->core, type, &memory) : VD_DEXT_BAD_ARGUMENT;

    if (!status && memory.token)
        q->fd = dextd_memory_fd(memory.token);
    else if (!status)
        status = bar_file(q->client->function, memory.bar, &q->fd);
    if (status)
        return status;
    vd_write64(&q->out, 0); /* its offset in the file */
    vd_write64(&q->out, memory.size);
    return VD_DEXT_SUCCESS;
}

static int handle_share(struct request *q)
{
    struct vd_dext_share share;

    if (!vd_read_struct(&q->in, &share, sizeof(share)))
        return VD_DEXT_BAD_ARGUMENT;
    if (q->frame->fd_lost) {
        dextd_server_warn(q->client->server,
                          "client %" PRIu64
                          ": no descriptor was left for what it shares; raise the limit (ulimit -n)",
                          q->client->number);
        return VD_DEXT_NO_RESOURCES;
    }
    return dextd_shares_add(&q->client->shares, &share, q->frame->fd);
}

static int handle_unshare(struct request *q)
{
    return dextd_shares_remove(&q->client->shares, vd_read64(&q->in));
}

static int handle_control(struct request *q)
{
    return dextd_control(q->client->server, q->frame->payload, q->frame->size, &q->out);
}

enum {
    ANY = DEXTD_CLIENT_READY | DEXTD_CLIENT_OPEN,
    MAX_CALL = sizeof(struct vd_dext_call_head) + 8 * VD_DEXT_MAX_SCALARS + VD_DEXT_SOCKET_MAX_BYTES,
};

/* By kind. */
static const struct message {
    size_t min, max; /* bytes of the payload */
    unsigned states; /* enum dextd_client_state in which it is allowed */
    int (*handle)(struct request *q);
} messages[VD_DEXT_MESSAGE_END] = {
    [VD_DEXT_HELLO] = {8, 8, DEXTD_CLIENT_NEW, handle_hello},
    [VD_DEXT_LIST] = {0, 0, ANY, handle_list},
    [VD_DEXT_OPEN] = {8, 8, ANY, handle_open},
    [VD_DEXT_CALL] = {sizeof(struct vd_dext_call_head), MAX_CALL, DEXTD_CLIENT_OPEN, handle_call},
    [VD_DEXT_WAIT] = {8, 8, DEXTD_CLIENT_OPEN, handle_wait},
    [VD_DEXT_MAP] = {8, 8, DEXTD_CLIENT_OPEN, handle_map},
    [VD_DEXT_SHARE] = {sizeof(struct vd_dext_share), sizeof(struct vd_dext_share), DEXTD_CLIENT_OPEN,
                       handle_share},
    [VD_DEXT_UNSHARE] = {8, 8, DEXTD_CLIENT_OPEN, handle_unshare},
    [VD_DEXT_CONTROL] = {1, DEXTD_CONTROL_MAX, ANY, handle_control},
};

static int run(struct request *q)
{
    const struct message *message = &messages[q->frame->kind];

    if (q->frame->size < message->min || q->frame->size > message->max)
        return VD_DEXT_BAD_ARGUMENT;
    if (!(message->states & q->client->state))
        return VD_DEXT_NOT_READY;
    return message->handle(q);
}

static void answer(struct dextd_client *client, struct vd_frame *frame)
{
    struct request q = {.client = client, .frame = frame, .in = vd_frame_reader(frame), .fd = -1};
    struct vd_frame_out out = {.kind = frame->kind, .tag = frame->tag, .nr_pieces = 1};
    int status;

    q.out = vd_writer_make(client->server->scratch, DEXTD_SCRATCH_SIZE);
    status = run(&q);
    if (frame->kind == VD_DEXT_WAIT) {
        if (status)
            dextd_client_end(client, "it asked to wait where nobody can");
        return;
    }
    out.status = status;
    out.fd = status ? -1 : q.fd;
    out.pieces[0] = (struct iovec){q.out.start, q.out.used};
    post(client, &out);
}

static void take(struct dextd_client *client, struct vd_frame *frame)
{
    if (!frame->tag || frame->status || !messages[frame->kind].handle)
        dextd_client_end(client, "it sent what is no request");
    else
        answer(client, frame);
    vd_frame_drop(frame);
}

/* Reads once. True when something came. */
static bool receive(struct dextd_client *client)
{
    int n = vd_frame_receive(&client->stream);

    if (n > 0)
        return true;
    client->readable = false;
    if (n == -ECONNRESET)
        dextd_client_end(client, "it left");
    else if (n != -EAGAIN)
        dextd_client_end(client, "it sent too many descriptors");
    return false;
}

bool dextd_client_work(struct dextd_client *client)
{
    unsigned handled = 0;
    bool received = false;

    while (!client->ended && !vd_frame_posted(&client->stream) && handled < BURST) {
        struct vd_frame frame;
        int ret = vd_frame_next(&client->stream, &frame);

        if (ret < 0) {
            dextd_client_end(client, "it sent something that is not of this protocol");
        } else if (ret > 0) {
            take(client, &frame);
            handled++;
        } else {
            if (handled || !receive(client)) /* behind a message there is seldom more: the next round looks */
                break;
            received = true;
        }
    }
    if (handled == BURST)
        client->readable = true; /* the rest may be in the buffer, where no poll sees it */
    if (handled || received)
        client->active_ns = vd_env_now(client->server->env);
    return handled || received;
}

int dextd_client_create(struct dextd_server *server, int fd, pid_t pid, struct dextd_client **out)
{
    struct dextd_client *client = vd_env_alloc(server->env, 1, sizeof(*client));
    int err;

    if (!client)
        return -ENOMEM;
    err = vd_frame_open(&client->stream, server->env, fd, VD_FRAME_EXTENSION);
    if (err) {
        vd_env_free(server->env, client);
        return err;
    }
    client->server = server;
    client->pid = pid;
    client->state = DEXTD_CLIENT_NEW;
    client->readable = true;
    client->active_ns = vd_env_now(server->env);
    dextd_shares_init(&client->shares, server->env);
    *out = client;
    return 0;
}

void dextd_client_destroy(struct dextd_client *client)
{
    client->ended = true; /* nothing is sent any more: what waits completes here */
    vd_dext_client_close(client->core);
    if (client->function)
        client->function->clients--;
    dextd_shares_finish(&client->shares);
    vd_frame_close(&client->stream);
    vd_env_free(client->server->env, client);
}
