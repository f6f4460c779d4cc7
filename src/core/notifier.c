/* SPDX-License-Identifier: BSD-3-Clause */
/* Notifiers: eventfd on Linux, a pipe elsewhere or on request; see viaduct/notifier.h. No state, no lock. */
#include <viaduct/notifier.h>

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/eventfd.h>
#endif

static int init_pipe(struct vd_notifier *notifier)
{
    int ends[2];

    if (pipe(ends) < 0)
        return -errno;
    for (int i = 0; i < 2; i++) {
        if (fcntl(ends[i], F_SETFD, FD_CLOEXEC) < 0 || fcntl(ends[i], F_SETFL, O_NONBLOCK) < 0) {
            int saved = -errno;

            close(ends[0]);
            close(ends[1]);
            return saved;
        }
    }
    notifier->read_fd = ends[0];
    notifier->write_fd = ends[1];
    return 0;
}

int vd_notifier_init(struct vd_notifier *notifier, enum vd_notifier_kind kind)
{
    *notifier = (struct vd_notifier){.read_fd = -1, .write_fd = -1};
#ifdef __linux__
    if (kind == VD_NOTIFIER_DEFAULT) {
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

        if (fd < 0)
            return -errno;
        notifier->read_fd = notifier->write_fd = fd;
        return 0;
    }
#endif
    return init_pipe(notifier);
}

void vd_notifier_finish(struct vd_notifier *notifier)
{
    if (notifier->read_fd >= 0)
        close(notifier->read_fd);
    if (notifier->write_fd >= 0 && notifier->write_fd != notifier->read_fd)
        close(notifier->write_fd);
    *notifier = (struct vd_notifier){.read_fd = -1, .write_fd = -1};
}

int vd_notifier_signal_fd(int write_fd)
{
    const uint64_t one = 1;

    for (;;) {
        if (write(write_fd, &one, sizeof(one)) >= 0 || errno == EAGAIN)
            return 0; /* EAGAIN: so many signals are pending that one more says nothing new */
        if (errno != EINTR)
            return -errno;
    }
}

int vd_notifier_signal(const struct vd_notifier *notifier)
{
    return vd_notifier_signal_fd(notifier->write_fd);
}

bool vd_notifier_drain(const struct vd_notifier *notifier)
{
    uint64_t counts[64];
    bool any = false;

    for (;;) {
        ssize_t got = read(notifier->read_fd, counts, sizeof(counts));

        if (got > 0)
            any = true;
        if (got > 0 && notifier->read_fd != notifier->write_fd && got == (ssize_t)sizeof(counts))
            continue; /* a pipe may hold more; one read empties an eventfd */
        if (got < 0 && errno == EINTR)
            continue;
        return any;
    }
}
