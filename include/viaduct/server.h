/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 * A vfio-user server: offers one device on one Unix socket, to one client at a time. When a client leaves, however it
 * leaves, the device is quiesced and the next may attach. Several servers run side by side, each on a thread of its
 * own; they share nothing, but for the lock of a device that has a companion (companion.h).
 */
#ifndef VIADUCT_SERVER_H
#define VIADUCT_SERVER_H

#include <viaduct/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vd_context;
struct vd_device;
struct vd_server;

/** How guest-physical addresses become bus addresses (doc/architecture.md, "Strategies"). */
enum vd_strategy {
    VD_STRATEGY_AUTO,     /**< the first that host and guest allow */
    VD_STRATEGY_IDENTITY, /**< guest RAM at its own addresses; needs VD_DMA_CHOSEN */
    VD_STRATEGY_OFFSET,   /**< not built yet: refused */
    VD_STRATEGY_POOL,     /**< not built yet: refused */
    VD_STRATEGY_PARAVIRT, /**< the guest asks for mappings: needs a companion (companion.h) and its kernel module */
    VD_STRATEGY_LOCAL, /**< what a companion itself has: it reads guest memory in this process; not to be asked for */
};

/** The strategy of that name ("auto", "identity", ...). @return 0; -EINVAL no such name */
VD_EXPORT int vd_strategy_parse(const char *name, enum vd_strategy *out);
/** The name; static storage. */
VD_EXPORT const char *vd_strategy_name(enum vd_strategy strategy);

/**
 * What vd_server_create() will take for this device, so that a companion can be made in time.
 * @param out the strategy; never AUTO on success
 * @return 0; -ENOTSUP the strategy does not work on this host, or AUTO found none
 */
VD_EXPORT int vd_strategy_choose(const struct vd_device *device, enum vd_strategy wanted,
                                 enum vd_strategy *out, struct vd_error *error);

/** Zero-fill, set `size`, then what is wanted. */
struct vd_server_options {
    size_t size; /**< sizeof this structure */
    const char
        *socket_path; /**< where to listen; created 0600, a stale one is replaced; NULL with client_fd */
    int client_fd;    /**< a connected socket to serve instead; used when socket_path is NULL; taken over */
    enum vd_strategy strategy; /**< how guest memory is mapped */
    uint32_t spin_us; /**< how long to spin after traffic before blocking; 0: the default of 50 µs */
    bool no_spin;     /**< always block */
};

/**
 * Creates a server and starts to listen. The device stays the caller's and must outlive the server; while the server
 * runs, it is the device's only user.
 * @return 0; -EINVAL bad options, or paravirt for a device without a companion; -ENAMETOOLONG the path does not fit a socket address; -EADDRINUSE a live server has
 *         that path, or it is not a socket; -EACCES, -ENOENT the directory; -ENOTSUP the strategy does not work on this
 *         host; -EMFILE; -ENOMEM
 */
VD_EXPORT int vd_server_create(struct vd_context *context, struct vd_device *device,
                               const struct vd_server_options *options, struct vd_server **out,
                               struct vd_error *error);

/**
 * Serves until vd_server_stop(); with client_fd, until that client leaves.
 * @return 0; -EIO when the listening socket failed
 */
VD_EXPORT int vd_server_run(struct vd_server *server);

/** Makes vd_server_run() return soon. Any thread, also from a signal handler; also before run. */
VD_EXPORT void vd_server_stop(struct vd_server *server);

/** Closes the session and the socket (and removes the socket's file); NULL is allowed. Not while running. */
VD_EXPORT void vd_server_destroy(struct vd_server *server);

/** What a client has been told to mend, for launchers: vd_server_stats.refusal. */
#define VD_SERVER_REFUSAL_TEXT 256

/** Counters of a server. */
struct vd_server_stats {
    bool client;               /**< a client is attached */
    enum vd_strategy strategy; /**< the one picked when the server was created; never AUTO */
    uint64_t sessions;         /**< clients so far */
    uint64_t messages;         /**< commands handled */
    uint64_t errors;           /**< commands answered with an errno */
    uint64_t violations;       /**< sessions closed because the client broke the protocol */
    uint64_t guest_regions;    /**< guest memory regions known now */
    uint64_t guest_bytes;      /**< their bytes */
    char refusal
        [VD_SERVER_REFUSAL_TEXT]; /**< why the last session was refused, with the remedy; "" when it was not */
};

/** Reads the counters. Any thread. */
VD_EXPORT void vd_server_stats(const struct vd_server *server, struct vd_server_stats *out);

/**
 * Installs a process-wide SIGBUS handler that turns an access to guest memory which its owner truncated into a closed
 * session instead of a crash; other bus errors go to the handler that was there before. Optional: a program that has a
 * SIGBUS handler of its own need not call it. Call once, before threads start. @return 0; -errno of sigaction
 */
VD_EXPORT int vd_server_guard_memory(void);

#ifdef __cplusplus
}
#endif
#endif
