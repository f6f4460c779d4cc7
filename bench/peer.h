/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vfio-user client as small as can be: one blocking send and one blocking receive a command, over a connected socket.
 * And two processes to talk to: a server for a simulated device, and a bare loop that a benchmark supplies as its floor.
 * Whatever goes wrong ends the program: a benchmark does not recover.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Two cores, one for this process and one for those it talks to, as a VMM and its device server have them: left to the
 * scheduler, a pair may or may not share a core, and that decides the figures more than anything that is measured. Both
 * are -1 where there is one core only.
 */
struct cores {
    int mine, theirs;
};
struct cores cores_find(void);
/* Moves this thread to a core; -1 is nowhere. */
void core_take(int core);

/* The other end of a socket pair, in a process of its own. */
struct peer {
    int fd;
    pid_t pid;
    uint16_t next_id;
};

/* A process that serves `address` to this one through the library on that core, spinning as it does by default. */
struct peer peer_serve(int core, const char *address);
/* A process that runs loop(fd, opaque) until the socket closes. */
struct peer peer_bare(int core, void (*loop)(int fd, void *opaque), void *opaque);
/* Closes the socket and waits for the process. */
void peer_stop(struct peer *peer);

/* Agrees on the protocol's version. */
void peer_negotiate(struct peer *peer);
/*
 * Sends a command with an optional descriptor (-1: none) and receives its reply, of which at most `room` payload bytes
 * are kept. An error reply ends the program.
 */
void peer_call(struct peer *peer, uint16_t command, const void *payload, size_t size, int fd, void *reply,
               size_t room);
/* A 32-bit access of a region. */
uint32_t peer_read32(struct peer *peer, uint32_t region, uint64_t offset);
void peer_write32(struct peer *peer, uint32_t region, uint64_t offset, uint32_t value);

/* Sends bytes with an optional descriptor. */
void bare_send(int fd, const void *bytes, size_t size, int carried);
/* Receives one message; *carried gets its descriptor or -1 (NULL: none expected). 0 at the end of the stream. */
size_t bare_receive(int fd, void *bytes, size_t size, int *carried);

#endif
