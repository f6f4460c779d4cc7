/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One client's session, and what the files of the server share. A session object is made once per server and serves one
 * client after another; its buffers stay.
 *
 * States: NEW until VERSION is agreed on (nothing else is allowed), then READY. A session ends by having `end` set, from
 * wherever the reason is found; the loop then leaves it and the device is quiesced.
 *
 * Where device work may happen: only in the loop, between messages. A handler never waits for the client: QEMU holds its
 * big lock while it waits for our reply, so a question asked meanwhile would not be answered. So remote accesses (DMA_READ
 * and DMA_WRITE towards the client) are refused while a handler runs, and while one waits, commands that come in are
 * handled but no device work starts.
 *
 * Lock rule: everything belongs to the thread in vd_server_run(), except struct vd_server_counters, which any thread reads.
 */
#ifndef VD_SERVER_SESSION_H
#define VD_SERVER_SESSION_H

#include <pthread.h>
#include <stdatomic.h>

#include <viaduct/device.h>
#include <viaduct/dma.h>
#include <viaduct/notifier.h>
#include <viaduct/server.h>

#include "base/env.h"
#include "codec/codec.h"
#include "codec/version.h"
#include "core/device.h"
#include "core/guest_memory.h"

enum {
    VD_SEND_TIMEOUT_MS = 5000, /* a client that does not read for so long is gone */
    VD_REMOTE_TIMEOUT_MS =
        5000, /* likewise one that does not answer; stock QEMU gives up on us after the same time */
    VD_PROBE_TIMEOUT_MS = 1000, /* and when we only ask to check its memory */
};

/* What vd_server_stats() shows; relaxed atomics, `refusal` under the lock. */
struct vd_server_counters {
    _Atomic bool client;
    _Atomic uint64_t sessions, messages, errors, violations, guest_regions, guest_bytes;
    pthread_mutex_t lock;
    char refusal[VD_SERVER_REFUSAL_TEXT];
};

enum vd_session_state { VD_SESSION_NEW = 1, VD_SESSION_READY = 2 }; /* bits, for the dispatch table's masks */

enum vd_session_end {
    VD_END_NONE,
    VD_END_LEFT,      /* the client closed, or stopped reading or answering */
    VD_END_VIOLATION, /* it broke the protocol */
    VD_END_REFUSED,   /* it cannot be served; counters->refusal says why */
    VD_END_STOPPED,   /* vd_server_stop() */
};

/* The question that waits for the client's answer; see remote.c. */
struct vd_remote_wait {
    bool active;
    bool done;
    uint16_t id, command;
    uint64_t address;
    size_t count;
    void *buffer; /* where DMA_READ data goes */
    int status;
};

struct vd_session {
    const struct vd_env *env;
    struct vd_device *device;
    struct vd_server_counters *counters;
    struct vd_guest_memory_listener strategy; /* how guest memory becomes reachable for the device */
    uint64_t spin_ns;                         /* 0: always block */

    struct vd_stream main;
    struct vd_stream twin; /* server-to-client commands, when the client asked for a socket of their own */
    uint8_t *reply;        /* VD_MESSAGE_MAX_SIZE bytes */
    int listen_fd;         /* to turn further clients away; -1: none */
    const struct vd_notifier *stop;
    const _Atomic bool *stopping;

    /* Per client, from here on. */
    enum vd_session_state state;
    enum vd_session_end end;
    struct vd_guest_memory *memory; /* a table of its own for each client: nothing of one reaches the next */
    struct vd_capabilities client;
    bool in_handler;
    bool locked;          /* this thread has the device's lock */
    uint64_t quiet_since; /* ns of the last traffic or device progress */

    struct vd_remote_wait remote;
    uint16_t next_id;
    bool late_reply; /* the answer to late_id, which was given up, is still to come */
    uint16_t late_id;
    bool remote_broken; /* the client does not answer server commands: ask no more */

    bool bus_master;      /* as last written to COMMAND */
    bool memory_unproven; /* memory was added since it was last found to be shared; see ramcheck.c */
    bool check_due;
    uint64_t check_from; /* where the next check goes on, when there was too much for one */
    bool check_gap;      /* a region before check_from showed nothing yet */
    unsigned checks;     /* made since memory was last added */
    bool warned_slow, warned_unchecked;
    bool deaf; /* no descriptor was left to turn a further client away: stop trying for this session */
    unsigned warnings; /* lines logged about this client; a hostile one must not fill the log */
};

/* A reply under construction: payload goes to `w`; descriptors stay their owners', `close_after` is ours. */
struct vd_reply {
    struct vd_writer w;
    int fds[1];
    unsigned nr_fds;
    int close_after; /* -1, or closed once the reply is out */
};

/* session.c */
int vd_session_init(struct vd_session *s);
void vd_session_finish(struct vd_session *s);
/* Serves the client on `fd` (taken over) until the session ends; the device is quiesced afterwards. */
enum vd_session_end vd_session_serve(struct vd_session *s, int fd);
/* Ends the session; the first reason stays. */
void vd_session_end(struct vd_session *s, enum vd_session_end why);
/* Ends it because the client broke the protocol. */
void vd_session_violation(struct vd_session *s, const char *what);
/* Ends it with words for the person who started the client. */
void vd_session_refuse(struct vd_session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Logs a warning about the client, a bounded number of times a session. */
void vd_session_warn(struct vd_session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The device's lock, which a companion's thread may want as well: held while this thread works on the device. */
void vd_session_lock(struct vd_session *s);
void vd_session_unlock(struct vd_session *s);
/* Reads once from a stream; true when something came. Ends the session when the client is gone or talks nonsense. */
bool vd_session_receive(struct vd_session *s, struct vd_stream *stream);

/* dispatch.c: handles one message and answers it. Takes the message's descriptors. */
void vd_dispatch(struct vd_session *s, struct vd_message *m);

/* remote.c */
extern const struct vd_dma_remote vd_remote_access; /* opaque is the session */
/* As vd_remote_access.read, with its own patience; what comes too late is dropped. */
int vd_remote_probe(struct vd_session *s, uint64_t address, void *buffer, size_t size);
/* A reply came in. */
void vd_remote_reply(struct vd_session *s, const struct vd_message *m);

/* ramcheck.c */
/* Notes that memory was added. */
void vd_ramcheck_added(struct vd_session *s, uint64_t size, uint32_t access);
/* Notes a write to config space. */
void vd_ramcheck_config_written(struct vd_session *s, uint64_t offset, const uint8_t *data, size_t count);
/* Checks guest memory when that is due; between messages only. */
void vd_ramcheck_run(struct vd_session *s);

/*
 * Handlers, one file per noun. The table in dispatch.c has checked state, size and descriptors. 0 and a payload in
 * `reply`, or a negative errno, which becomes the reply.
 */
int vd_handle_version(struct vd_session *s, struct vd_message *m, struct vd_reply *reply);
int vd_handle_dma_map(struct vd_session *s, struct vd_message *m, struct vd_reply *reply);
int vd_handle_dma_unmap(struct vd_session *s, struct vd_message *m, struct vd_reply *reply);
int vd_handle_device_info(struct vd_session *s, struct vd_message *m, struct vd_reply *reply);
int vd_handle_region_info(struct vd_session *s, struct vd_message *m, struct vd_reply *reply);
int vd_handle_region_io_fds(struct vd_session *s, struct vd_message *m, struct vd_reply *reply);
int vd_handle_irq_info(struct vd_session *s, struct vd_message *m, struct vd_reply *reply);
int vd_handle_reset(struct vd_session *s, struct vd_message *m, struct vd_reply *reply);
int vd_handle_set_irqs(struct vd_session *s, struct vd_message *m, struct vd_reply *reply);
int vd_handle_region_read(struct vd_session *s, struct vd_message *m, struct vd_reply *reply);
int vd_handle_region_write(struct vd_session *s, struct vd_message *m, struct vd_reply *reply);
int vd_handle_write_multi(struct vd_session *s, struct vd_message *m, struct vd_reply *reply);
int vd_handle_feature(struct vd_session *s, struct vd_message *m, struct vd_reply *reply);

#endif
