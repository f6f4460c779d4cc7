/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SIGBUS guard; see guard.h. The handler uses only atomics and mmap(), which is a plain system call on every host that
 * matters here. A slot is claimed by `used`, then filled, then published by `size`; the handler looks at published
 * slots only.
 */
#include "base/guard.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SLOTS = 2048 };

static struct {
    _Atomic bool used;
    _Atomic uintptr_t start;
    _Atomic size_t size; /* 0: not published */
    _Atomic(_Atomic bool *) poisoned;
} slots[SLOTS];

static struct sigaction previous;
static size_t page_size;

int vd_guard_add(void *memory, size_t size, _Atomic bool *poisoned)
{
    for (int i = 0; i < SLOTS; i++) {
        bool free_slot = false;

        if (!atomic_compare_exchange_strong(&slots[i].used, &free_slot, true))
            continue;
        atomic_store(&slots[i].start, (uintptr_t)memory);
        atomic_store(&slots[i].poisoned, poisoned);
        atomic_store(&slots[i].size, size);
        return i;
    }
    return -1;
}

void vd_guard_remove(int slot)
{
    if (slot < 0)
        return;
    atomic_store(&slots[slot].size, 0);
    atomic_store(&slots[slot].used, false);
}

/* Puts a zero page where `address` is, when it is guarded. */
static bool replace_page(uintptr_t address)
{
    for (int i = 0; i < SLOTS; i++) {
        size_t size = atomic_load(&slots[i].size);
        uintptr_t start = atomic_load(&slots[i].start);
        void *page = (void *)(address & ~(uintptr_t)(page_size - 1));

        if (size == 0 || address - start >= size)
            continue;
        if (mmap(page, page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
            MAP_FAILED)
            return false;
        atomic_store(atomic_load(&slots[i].poisoned), true);
        return true;
    }
    return false;
}

static void on_sigbus(int signal, siginfo_t *info, void *context)
{
    int saved = errno;

    if (replace_page((uintptr_t)info->si_addr)) {
        errno = saved;
        return;
    }
    if ((previous.sa_flags & SA_SIGINFO) && previous.sa_sigaction) {
        previous.sa_sigaction(signal, info, context);
        return;
    }
    if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN && previous.sa_handler) {
        previous.sa_handler(signal);
        return;
    }
    sigaction(SIGBUS, &previous, NULL); /* the instruction runs again and takes the default action */
}

int vd_guard_install(void)
{
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
    struct sigaction present;

    page_size = (size_t)sysconf(_SC_PAGESIZE);
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGBUS, NULL, &present) < 0)
        return -errno;
    if ((present.sa_flags & SA_SIGINFO) && present.sa_sigaction == on_sigbus)
        return 0; /* installed already: it must not become its own predecessor */
    previous = present;
    return sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
}
