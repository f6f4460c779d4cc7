/* SPDX-License-Identifier: BSD-3-Clause */
/* Stub for tools/typecheck: what src/dextlink/watch.c uses of <sys/event.h>, with the signatures of the macOS SDK. */
#ifndef TESTS_STUBS_IOKIT_SYS_EVENT_H
#define TESTS_STUBS_IOKIT_SYS_EVENT_H

#include <stdint.h>
#include <time.h>

#define EVFILT_READ  (-1)
#define EVFILT_WRITE (-2)
#define EV_ADD       0x0001
#define EV_DELETE    0x0002
#define EV_ENABLE    0x0004
#define EV_DISABLE   0x0008

struct kevent {
    uintptr_t ident;
    int16_t filter;
    uint16_t flags;
    uint32_t fflags;
    intptr_t data;
    void *udata;
};

#define EV_SET(kevp, a, b, c, d, e, f)                                                                       \
    do {                                                                                                     \
        struct kevent *__kevp__ = (kevp);                                                                    \
        __kevp__->ident = (a);                                                                               \
        __kevp__->filter = (b);                                                                              \
        __kevp__->flags = (c);                                                                               \
        __kevp__->fflags = (d);                                                                              \
        __kevp__->data = (e);                                                                                \
        __kevp__->udata = (f);                                                                               \
    } while (0)

int kqueue(void);
int kevent(int kq, const struct kevent *changelist, int nchanges, struct kevent *eventlist, int nevents,
           const struct timespec *timeout);

#endif
