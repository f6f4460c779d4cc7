/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client of viaduct-dextd made of nothing but proto/: it frames by itself, so it can be wrong on purpose, and shares no
 * code with what it tests. Whatever it waits for fails the test after RAW_PATIENCE_MS.
 */
#ifndef TESTS_DEXTD_RAW_H
#define TESTS_DEXTD_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/le.h"
#include "proto/dext_socket.h"

enum { RAW_PATIENCE_MS = 20000, RAW_PAYLOAD = VD_DEXT_SOCKET_MAX_SIZE - 16 };

struct raw {
    int fd;
    uint32_t tag; /* of the last request */
};

struct raw_message {
    uint16_t kind;
    uint32_t tag;
    int status;
    int fd; /* -1: none; the receiver's */
    size_t size;
    uint8_t payload[RAW_PAYLOAD];
};

/* A connection without a word said. */
struct raw raw_connect(const char *path);
/* The same with HELLO behind it. */
struct raw raw_hello(const char *path);
/* The same with the i-th service of LIST opened. */
struct raw raw_open(const char *path, unsigned i);
void raw_close(struct raw *raw);

/* Bytes as they are, with a descriptor (-1: none). False: the other side is gone. */
bool raw_send_bytes(struct raw *raw, const void *bytes, size_t size, int fd);
/* A request with the next tag. */
bool raw_send(struct raw *raw, uint16_t kind, const void *payload, size_t size, int fd);
/* The next message. False: the other side closed the connection. */
bool raw_receive(struct raw *raw, struct raw_message *out);
/* Nothing is there to be received now, and the connection stands. */
bool raw_is_silent(const struct raw *raw);
/* Waits until the other side closes; what it still says is dropped. */
void raw_await_close(struct raw *raw);

/* A request and its reply (COMPLETEs in between fail the test); the status. */
int raw_ask(struct raw *raw, uint16_t kind, const void *payload, size_t size, int fd,
            struct raw_message *out);
/* The same with one 64-bit argument, and the reply's status only. */
int raw_ask64(struct raw *raw, uint16_t kind, uint64_t argument);

/* User client calls. The status. */
int raw_call(struct raw *raw, uint32_t selector, const uint64_t *in, unsigned nr_in, uint64_t *out,
             unsigned nr_out);
int raw_call_bytes(struct raw *raw, uint32_t selector, const void *in, size_t in_size, void *out,
                   size_t *out_size);
void raw_claim(struct raw *raw);
uint64_t raw_config_read(struct raw *raw, unsigned offset, unsigned width);
void raw_config_write(struct raw *raw, unsigned offset, unsigned width, uint64_t value);
/* By memory index. */
uint64_t raw_read(struct raw *raw, unsigned index, uint64_t offset, unsigned width);
void raw_write(struct raw *raw, unsigned index, uint64_t offset, unsigned width, uint64_t value);
/* Starts to wait; the completion's status and arguments. */
void raw_wait(struct raw *raw, uint32_t selector);
int raw_completion(struct raw *raw, uint32_t selector, uint64_t *argument);

/* MAP: the status, and a mapping of the whole. */
int raw_map(struct raw *raw, unsigned type, void **memory, uint64_t *size);

/* Client memory: a file of zeros, mapped at a multiple of the IOMMU's usual granule. */
struct raw_memory {
    int fd;
    uint8_t *at;
    uint64_t size;
    void *room; /* at lies somewhere in it */
};
struct raw_memory raw_memory_make(uint64_t size);
void raw_memory_free(struct raw_memory *memory);
int raw_share(struct raw *raw, const struct raw_memory *memory);
int raw_unshare(struct raw *raw, const struct raw_memory *memory);
/* One region of it; *bus is its address for the device. */
int raw_register(struct raw *raw, uint64_t key, const void *at, uint64_t size, uint64_t *bus);
int raw_unregister(struct raw *raw, uint64_t key);

/* A command; the status. `text`, if not NULL, is the answer's text. */
int raw_control(struct raw *raw, const char *command, char *text, size_t size);
/* A number of `list`: of the i-th device with that address ("0" and "-1" where it is not there). */
int64_t raw_number(struct raw *raw, const char *address, const char *key);
/* How many devices `list` shows at that address. */
unsigned raw_devices(struct raw *raw, const char *address);
/* Asks until the number is that; fails the test after a while. */
void raw_await_number(struct raw *raw, const char *address, const char *key, int64_t value);

/* The test endpoint's copy engine (sim/edu.h), by its registers' memory index 0. */
void raw_start_copy(struct raw *raw, uint64_t from, uint64_t to, uint64_t size, uint32_t control);
/* Until it is not busy any more; EDU_STATUS. */
uint32_t raw_finish_copy(struct raw *raw);

#endif
