/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a client reaches a DriverKit extension: list its instances, open one, call, map, wait. Two implementations, each
 * thin enough to review by eye: iokit.c (macOS) and socket.c (viaduct-dextd, everywhere). What the calls mean is
 * proto/dext_abi.h; this layer only carries them.
 *
 * Threads: one thread at a time uses a link. An implementation may be woken on others; that shows in poll_fd only.
 * Errors: functions that people will hear of return 0 or a negative errno with *failure; calls return enum vd_dext_return
 * as int. Once the other side is gone every call answers VD_DEXT_NOT_ATTACHED.
 */
#ifndef VD_DEXTLINK_LINK_H
#define VD_DEXTLINK_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/failure.h"
#include "proto/dext_abi.h"

struct vd_link; /* an implementation's; begins where it likes */

/* One user client call: the shape of IOConnectCallMethod(). */
struct vd_link_call {
    uint32_t selector;
    uint32_t nr_scalars_in; /* at most VD_DEXT_MAX_SCALARS */
    const uint64_t *scalars_in;
    const void *bytes_in; /* NULL: none */
    size_t nr_bytes_in;
    uint64_t *scalars_out;
    uint32_t nr_scalars_out; /* in: room; out: received */
    void *bytes_out;         /* NULL: none */
    size_t nr_bytes_out;     /* in: room; out: received */
};

/* A mapped memory type. */
struct vd_link_mapping {
    uint32_t type;
    void *address;
    uint64_t size;
    int fd; /* the file behind it, the link's until unmapped; -1: there is none */
    uint64_t fd_offset;
};

/* A completed wait. */
struct vd_link_completion {
    uint32_t selector;
    int status;
    uint32_t nr_args;
    uint64_t args[VD_DEXT_MAX_SCALARS];
};

/* Memory that is about to be registered: the whole mapping of a file that a region lies in. */
struct vd_link_memory {
    const void *host; /* of the region */
    uint64_t size;
    int fd;          /* the file behind host; -1: not known */
    uint64_t offset; /* of host in that file */
};

enum vd_link_map_flag { VD_LINK_WRITE_COMBINE = 1 };

struct vd_link_ops {
    const char *name; /* "iokit", "socket" */
    /* Registered memory must come with its file: the other side cannot see this process's memory. */
    bool needs_file;

    /*
     * Finds the extension's instances; `where` is a socket's path, NULL for the usual place. Writes up to `max` ids and
     * returns how many there are; -ENOENT nothing runs there, -EACCES, -EIO, -EINVAL (`where` means nothing here), -ENOMEM,
     * -EMFILE.
     */
    int (*list)(const struct vd_env *env, const char *where, uint64_t *ids, size_t max,
                struct vd_failure *failure);
    /* Connects to one. 0; -ENOENT it went away; the errors of list(). */
    int (*open)(const struct vd_env *env, const char *where, uint64_t id, struct vd_link **out,
                struct vd_failure *failure);
    /* Disconnects; mappings of the link end too. */
    void (*close)(struct vd_link *link);

    /*
     * A synchronous call. Bounded: after 10 s without an answer the link is given up (TIMEOUT, then NOT_ATTACHED). iokit
     * cannot do that: the system's call waits for as long as the extension lives.
     */
    int (*call)(struct vd_link *link, struct vd_link_call *call);
    /*
     * Starts an asynchronous call without arguments. Its end arrives at poll(); a refusal by the other side may arrive
     * there as well. One outstanding for each selector.
     */
    int (*wait)(struct vd_link *link, uint32_t selector);
    /* Takes one completion. Never blocks. False: there is none. When the link broke, *gone is set. */
    bool (*poll)(struct vd_link *link, struct vd_link_completion *out, bool *gone);
    /* Readable when poll() may have something that it has not been asked for yet. */
    int (*poll_fd)(const struct vd_link *link);

    /* Maps a memory type; unmap() with what it filled in. 0; UNSUPPORTED: cannot be mapped; NO_MEMORY; the call's. */
    int (*map)(struct vd_link *link, uint32_t type, uint32_t flags, struct vd_link_mapping *out);
    void (*unmap)(struct vd_link *link, struct vd_link_mapping *mapping);

    /*
     * Announces memory before it is registered, and takes that back after it was unregistered; counted, so one share()
     * needs one unshare() with the same host and size. Sharing memory of a file that is shared already costs no message.
     * 0; BAD_ARGUMENT needs_file and no fd, or the fd is not that memory's; NO_MEMORY; NO_RESOURCES. unshare() cannot
     * fail. Both NULL where all of the process's memory can be registered.
     */
    int (*share)(struct vd_link *link, const struct vd_link_memory *memory);
    void (*unshare)(struct vd_link *link, const void *host, uint64_t size);
};

extern const struct vd_link_ops vd_link_socket;
#ifdef __APPLE__
extern const struct vd_link_ops vd_link_iokit;
#endif

/*
 * The implementation for `where`: IOKit on a Mac when it is NULL, else the socket. The socket's usual place is
 * $VIADUCT_DEXTD, else $XDG_RUNTIME_DIR/viaduct-dextd.sock, else /run/viaduct-dextd.sock.
 */
const struct vd_link_ops *vd_link_choose(const char *where);

#endif
