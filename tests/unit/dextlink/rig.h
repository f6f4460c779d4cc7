/* SPDX-License-Identifier: BSD-3-Clause */
/* A link over a socket pair that has said HELLO and OPEN; the test has the other end. */
#ifndef TESTS_UNIT_DEXTLINK_RIG_H
#define TESTS_UNIT_DEXTLINK_RIG_H

#include "dextlink/socket.h"
#include "wire.h"

struct rig {
    struct wire_env env;
    struct vd_link *link;
    int peer;
    uint32_t tag; /* of the next request */
    unsigned fds_before;
    struct wire out;
    struct wire_in in;
};

/* For cmocka; the latter also checks that no memory and no descriptor is left. */
int rig_set_up(void **state);
int rig_tear_down(void **state);

/* The oldest request at the other end is this one, with the next tag; it is left in t->in. */
void rig_expect_request(struct rig *t, uint16_t kind, const char *payload, size_t size);
/* A call with nothing in and room for nothing. */
int rig_call(struct rig *t);
/* The link has been given up, and says so everywhere. */
void rig_expect_gone(struct rig *t);
/* The other end closes. */
void rig_lose_peer(struct rig *t);
bool rig_readable(int fd);

#endif
