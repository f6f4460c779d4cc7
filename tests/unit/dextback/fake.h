/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An extension that a test can look into, as a link: its instances, one device that all of them drive, its registered
 * memory and its interrupts; and the env and the receivers of events around the back end. Each part can be made to
 * fail. It keeps count of what a client must give back, and stop() checks that it did.
 *
 * Threads: the test's, except fake_fire(), which any may call.
 */
#ifndef TESTS_DEXTBACK_FAKE_H
#define TESTS_DEXTBACK_FAKE_H

#include "../base/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/dext/host.h"

enum {
    FAKE_INSTANCES = 4,
    FAKE_REGIONS = 8192, /* registered at once */
    FAKE_SHARES = 8192,
    FAKE_CALLS = 8192, /* remembered */
    FAKE_BASE = 0x10000000,
};

struct fake_instance {
    uint8_t bus, device, function;
    int open_error;
    int identity_status; /* what GET_IDENTITY and DESCRIBE answer; 0: the truth */
    uint32_t state;      /* DESCRIBE's */
};

struct fake_region {
    bool live;
    uint64_t key, address, size;
    uint32_t access;
};

struct fake_call {
    uint32_t selector;
    uint64_t in[4];
};

struct fake_bar {
    uint64_t size;
    uint32_t type, memory_index;
    int map_status; /* what mapping it answers */
    bool has_fd;
    uint64_t mapped_size; /* 0: size */
    uint32_t map_flags;   /* of the last mapping */
    uint8_t *memory;
};

/* What the last answer to REGISTER_BATCH is spoilt by. */
enum fake_spoil {
    FAKE_HONEST,
    FAKE_WRONG_COUNT,
    FAKE_SHORT,          /* bytes are missing at its end */
    FAKE_WILD_SEGMENT,   /* first_segment points outside */
    FAKE_NO_SEGMENT,     /* success without segments */
    FAKE_SEGMENTS_SHORT, /* less memory than was asked for */
    FAKE_SEGMENTS_LONG,
    FAKE_SEGMENTS_WRAP,     /* two whose sum is right modulo 2^64 only */
    FAKE_TOO_MANY_SEGMENTS, /* more than the caller has room for; see `split` */
};

struct fake {
    /* How it behaves; a test sets it before or after opening. */
    dext_choose_link *choose;
    bool old;          /* refuses selectors of 32 and more, and the interrupt page */
    bool page_refused; /* the interrupt page only */
    struct vd_dext_description description;
    struct fake_instance instances[FAKE_INSTANCES];
    unsigned nr_instances;
    int list_error;
    uint64_t features, batch, page_size;
    uint64_t limits[VD_DEXT_NR_LIMITS];
    uint64_t vectors;
    int setup_status, claim_status, reset_status;
    bool master_sticks; /* COMMAND.BME cannot be cleared */
    unsigned split;     /* segments for each region, at most its granules; 0: 1 */
    enum fake_spoil spoil;
    uint64_t fail_key;     /* registering this one... */
    uint64_t fail_last;    /* ...to this one answers... */
    int fail_status;       /* ...this */
    int unregister_status; /* what UNREGISTER answers; 0: the truth */
    int unregister_batch_status;
    int share_status;
    unsigned share_fails_at; /* the n-th share from now on; 0: none */
    int wait_status;         /* what wait() answers */
    unsigned
        fire_in_wait;    /* 1 + the vector that fires while the next WAIT_INTERRUPT is on its way; 0: none */
    int complete_status; /* what waits complete with at once; 0: as they should */
    uint32_t short_selector; /* answers one scalar too few; 0: none */
    unsigned fail_call;      /* the n-th call, wait or map from now on answers call_status; 0: none */
    int call_status;
    bool dead; /* NOT_ATTACHED from now on */

    /* What it is like now. */
    uint8_t config[4096];
    struct fake_bar bars[7];
    uint8_t rom[64];
    struct vd_dext_irq_page *page;
    uint64_t mask[VD_DEXT_IRQ_WORDS], pending[VD_DEXT_IRQ_WORDS]; /* without the page */
    pthread_mutex_t lock;                                         /* of the waiters and what completed */
    bool waiting_irq, waiting_event;
    struct vd_link_completion completions[4];
    unsigned nr_completions;
    int wake_fd; /* readable while there are completions */
    struct fake_region regions[FAKE_REGIONS];
    unsigned nr_regions, peak_regions;
    const void *shares[FAKE_SHARES];
    unsigned nr_shares;
    uint64_t next_address, last_key;
    bool claimed;

    /* What it was asked. */
    unsigned links, mappings;     /* open now */
    unsigned calls, waits, polls; /* so far */
    unsigned count[VD_DEXT_SELECTOR_END];
    struct fake_call log[FAKE_CALLS]; /* the first of them */
    unsigned nr_log;
    size_t most_bytes_out, most_bytes_in;
    char where[64]; /* of the last list(), "" for the usual place */

    /* Around the back end. */
    struct vd_env env;
    size_t live;      /* allocations */
    uint64_t steps;   /* allocations so far */
    uint64_t fail_at; /* the allocation that fails; 0: none */
    unsigned lines[4];
    char line[1024];

    struct vd_host_info info;
    void *host;
    uint64_t delivered[VD_IRQ_COUNT][VD_DEXT_VECTORS];
    unsigned gone;
};

/* A device 02:00.0 behind a new extension; not open. */
void fake_init(struct fake *f);
/* The same behind an old one. */
void fake_init_old(struct fake *f);
/* Frees it; checks that the client gave everything back. */
void fake_finish(struct fake *f);

/* Opens `address`; 0 or the errno. */
int fake_open(struct fake *f, const char *address, struct vd_failure *failure);
/* cmocka: *state is a fake that is open; teardown closes it. */
int fake_setup(void **state);
int fake_setup_old(void **state);
int fake_teardown(void **state);
/* Closes the device if it is open. */
void fake_close(struct fake *f);

/* Links that need files and sharing ("socket"), and that do not ("iokit"). */
const struct vd_link_ops *fake_choose_socket(const char *where);
const struct vd_link_ops *fake_choose_iokit(const char *where);

/* Any thread. */
void fake_fire(struct fake *f, unsigned vector);
void fake_event(struct fake *f, uint64_t events);
/* Completes a wait that nobody asked for. */
void fake_stray(struct fake *f, uint32_t selector);
/* Forgets what it was asked. */
void fake_forget(struct fake *f);
uint16_t fake_command(const struct fake *f);
/* The n-th logged call (from 0) of a selector, or NULL. */
const struct fake_call *fake_call_at(const struct fake *f, uint32_t selector, unsigned n);

static inline uint64_t fake_calls_in_all(const struct fake *f)
{
    return (uint64_t)f->calls + f->waits + f->polls;
}

#endif
