/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The other side of a link, made of raw bytes. Tags are predictable (1, 2, 3 ...), so a test can write an answer before it
 * asks, or has the other side take its turn whenever the code under test looks at the clock; no thread is needed.
 */
#ifndef TESTS_UNIT_DEXTLINK_WIRE_H
#define TESTS_UNIT_DEXTLINK_WIRE_H

#include <stdbool.h>

#include "../base/unit.h"
#include "base/env.h"
#include "proto/dext_socket.h"

enum { WIRE_HEADER = sizeof(struct vd_dext_header), WIRE_ROOM = 1 << 16 };

/* Bytes to be sent. */
struct wire {
    size_t used;
    uint8_t bytes[WIRE_ROOM];
};

void wire_header(struct wire *w, uint32_t size, uint16_t kind, uint16_t reserved, uint32_t tag, int status);
/* A whole message. */
void wire_message(struct wire *w, uint16_t kind, uint32_t tag, int status, const void *payload, size_t size);
void wire_add(struct wire *w, const void *bytes, size_t size);
void wire_add32(struct wire *w, uint32_t v);
void wire_add64(struct wire *w, uint64_t v);
/* A reply to CALL with these results. */
void wire_reply(struct wire *w, uint32_t tag, const uint64_t *scalars, uint32_t nr, const void *bytes,
                uint32_t size);
void wire_complete(struct wire *w, uint32_t selector, int status, const uint64_t *args, uint32_t nr);
/* The reply to MAP. */
void wire_map(struct wire *w, uint32_t tag, uint64_t offset, uint64_t size);
/* Sends everything in one segment, with `nr` copies of `fd`, and starts anew. */
void wire_send_fds(struct wire *w, int socket, int fd, unsigned nr);
void wire_send(struct wire *w, int socket);

/* A message that was received. */
struct wire_in {
    uint16_t kind;
    uint32_t tag, status;
    size_t size;
    uint8_t payload[WIRE_ROOM];
    int fd; /* -1: none */
};

/* The next message at `socket`; false at the end of the stream or when there is none. Never blocks. */
bool wire_receive(int socket, struct wire_in *in);

/* A file of that size without a name. */
int wire_memfd(uint64_t size);
unsigned wire_count_fds(void);
/* A connected pair of stream sockets. */
void wire_pair(int ends[2]);

/* Surroundings with a clock that jumps and a fault at the Nth step; `env` first is what code under test gets. */
struct wire_env {
    struct vd_env env;
    uint64_t now, step;               /* every look at the clock adds `step` when that is set */
    unsigned steps, fail_at;          /* fail_at 0: never */
    int live;                         /* allocations not given back */
    void (*turn)(struct wire_env *w); /* NULL: the other side does nothing by itself */
    int socket;                       /* the other side's */
    struct wire_in last;              /* what turn() received last */
};

void wire_env_init(struct wire_env *w);
/* A turn(): says yes to one request, without a payload. */
void wire_say_yes(struct wire_env *w);

#endif
