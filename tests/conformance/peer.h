/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client made of raw bytes, and a rig that runs a server for it: what the conformance and the server tests share. The
 * client can answer DMA_READ and DMA_WRITE while it waits for a reply, as a VMM does.
 *
 * Everything is bounded: a receive that takes longer than PEER_TIMEOUT_S fails the test.
 */
#ifndef TESTS_CONFORMANCE_PEER_H
#define TESTS_CONFORMANCE_PEER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <viaduct/context.h>
#include <viaduct/device.h>
#include <viaduct/server.h>

enum { PEER_TIMEOUT_S = 20, PEER_MAX_FDS = 20, PEER_ROOM = 1048576 + 4096 };

/* Little-endian bytes for static tables. */
#define B16(v) (uint8_t)((v)&0xff), (uint8_t)(((v) >> 8) & 0xff)
#define B32(v) B16((uint32_t)(v)), B16((uint32_t)(v) >> 16)
#define B64(v) B32((uint64_t)(v)), B32((uint64_t)(v) >> 32)

struct peer_message {
    bool closed; /* end of the stream instead of a message */
    uint16_t id, command;
    uint32_t flags, error;
    size_t size; /* of the payload */
    uint8_t *payload;
    unsigned nr_fds;
    int fds[PEER_MAX_FDS];
};

/* Guest memory as the client sees it, for DMA requests. */
struct peer {
    int fd;
    int twin; /* -1, or where server commands come from */
    uint16_t next_id;
    uint8_t *ram;
    uint64_t ram_base, ram_size;
    uint32_t dma_errno;   /* answer every DMA request with this instead */
    bool dma_silent;      /* answer none */
    unsigned write_reply; /* bytes of payload in a DMA_WRITE reply */
    unsigned dma_reads, dma_writes;
    size_t dma_largest;
    uint8_t *room; /* of the last message's payload */
};

/* Takes over a connected socket. */
void peer_init(struct peer *p, int fd);
void peer_finish(struct peer *p);
/* Sends bytes as they are. False when the other side is gone. */
bool peer_send_raw(int fd, const void *bytes, size_t size, const int *fds, unsigned nr_fds);
/* Sends one message; the id used. */
uint16_t peer_send(struct peer *p, uint16_t command, uint32_t flags, const void *payload, size_t size,
                   const int *fds, unsigned nr_fds);
/* The next message, whatever it is. Descriptors are the caller's; the payload is valid until the next receive. */
void peer_receive(struct peer *p, struct peer_message *m);
/* The next reply; server commands that come first are answered. */
void peer_receive_reply(struct peer *p, struct peer_message *m);
/* Sends a command and waits for its reply, whose descriptors are closed; returns its errno (Linux), -1: closed. */
int peer_call(struct peer *p, uint16_t command, const void *payload, size_t size, const int *fds,
              unsigned nr_fds, struct peer_message *m);
/* VERSION as stock QEMU sends it, or with other version data. */
int peer_negotiate(struct peer *p);
int peer_negotiate_with(struct peer *p, const char *json, struct peer_message *m);
/* Shorthands; each returns the errno. */
int peer_dma_map(struct peer *p, uint64_t address, uint64_t size, uint32_t flags, int fd, uint64_t offset);
int peer_dma_unmap(struct peer *p, uint64_t address, uint64_t size);
int peer_read(struct peer *p, uint32_t region, uint64_t offset, void *buffer, uint32_t count);
int peer_write(struct peer *p, uint32_t region, uint64_t offset, const void *buffer, uint32_t count);
uint32_t peer_read32(struct peer *p, uint32_t region, uint64_t offset);
void peer_write32(struct peer *p, uint32_t region, uint64_t offset, uint32_t value);
void peer_write64(struct peer *p, uint32_t region, uint64_t offset, uint64_t value);
/* Memory space and bus mastering on. */
int peer_enable_bus_master(struct peer *p);
int peer_memfd(uint64_t size);

/* A server in a thread of its own. */
struct rig {
    struct vd_context *context;
    struct vd_device *device;
    struct vd_server *server;
    pthread_t thread;
    bool running;
    int result;      /* of vd_server_run() */
    char log[16384]; /* every line logged, for tests that look for one */
    size_t logged;
    pthread_mutex_t lock;
    char path[108]; /* of the socket, "" with a socket pair */
};

enum rig_mode { RIG_PAIR, RIG_LISTEN };

/* Opens `address`, creates a server and runs it. With RIG_PAIR *client is the client's end. */
void rig_start(struct rig *rig, const char *address, enum rig_mode mode, int *client);
/* The same in steps. */
void rig_open(struct rig *rig, const char *address);
int rig_serve(struct rig *rig, const struct vd_server_options *options, struct vd_error *error);
void rig_run(struct rig *rig);
/* A path for a socket in a fresh directory, which rig_stop() removes. */
void rig_make_path(struct rig *rig);
int rig_connect(struct rig *rig);
/* Waits until the server returned by itself (a socket pair's client left). */
void rig_join(struct rig *rig);
void rig_stop(struct rig *rig);
/* True when a logged line contains the text. */
bool rig_logged(struct rig *rig, const char *text);
/* Descriptors this process has open. */
unsigned count_fds(void);

#endif
