/* SPDX-License-Identifier: BSD-3-Clause */
/* The simulated host: addresses "sim:<kind>[,key=value...]", one machine with one function for each open. */
#ifndef VD_BACKEND_SIM_H
#define VD_BACKEND_SIM_H

#include "core/backend.h"

extern const struct vd_backend_ops vd_backend_sim;

/* The i-th kind of device that can be simulated, with the IOMMU's options and its own; NULL past the end. Any thread. */
const struct vd_device_kind *vd_sim_device_kind(size_t i);

#endif
