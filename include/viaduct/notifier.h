/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 * A notifier: something one side signals and another polls. An eventfd on Linux, where both ends are the same
 * descriptor, and a non-blocking pipe elsewhere. A peer that is to signal must always be handed the write end.
 */
#ifndef VIADUCT_NOTIFIER_H
#define VIADUCT_NOTIFIER_H

#include <viaduct/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The two ends; both -1 when not set up. The caller's memory. */
struct vd_notifier {
    int read_fd;  /**< to poll and drain */
    int write_fd; /**< to signal; to hand to peers */
};

/** How a notifier is made. */
enum vd_notifier_kind {
    VD_NOTIFIER_DEFAULT, /**< eventfd where there is one */
    VD_NOTIFIER_PIPE,    /**< always a pipe */
};

/** Opens a notifier, close-on-exec and non-blocking. @return 0; -EMFILE, -ENFILE, -ENOMEM (then both ends are -1) */
VD_EXPORT int vd_notifier_init(struct vd_notifier *notifier, enum vd_notifier_kind kind);

/** Closes what is open and sets both ends to -1. */
VD_EXPORT void vd_notifier_finish(struct vd_notifier *notifier);

/** Signals. Never blocks: a full pipe is signalled already. @return 0; -EBADF, -EPIPE when the other end is gone */
VD_EXPORT int vd_notifier_signal(const struct vd_notifier *notifier);

/** The same on a bare write end. */
VD_EXPORT int vd_notifier_signal_fd(int write_fd);

/** Takes back all signals. @return true when there were any */
VD_EXPORT bool vd_notifier_drain(const struct vd_notifier *notifier);

#ifdef __cplusplus
}
#endif
#endif
