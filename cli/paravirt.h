/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What `viaduct run` knows about the guest of a companion: where it finds the managed device, and what it needs.
 */
#ifndef CLI_PARAVIRT_H
#define CLI_PARAVIRT_H

#include "endpoint.h"

/*
 * Gives each device that has no guest= the place where firmware and Linux put what is behind its root port: they number
 * buses in the order of the ports, from 1 on. Ports that come after ours, from QEMU arguments, do not change that.
 */
void paravirt_place(struct vfio_list *devices);
/* 0; CLI_USAGE after a message when two managed devices are said to be at one place in the guest. */
int paravirt_check(const struct endpoints *set);
/* Notes which devices have a companion, why, and what the guest needs for it. */
void paravirt_explain(const struct endpoints *set);
/* After the virtual machine's end, with the servers still there: notes whose companion no driver ever spoke to. */
void paravirt_review(const struct endpoints *set);

#endif
