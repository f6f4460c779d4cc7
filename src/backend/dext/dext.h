/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host back end for devices that a DriverKit extension drives: addresses "apple:BB:DD.F[,socket=PATH]". It speaks
 * proto/dext_abi.h through src/dextlink, to the extension of a Mac or to viaduct-dextd.
 */
#ifndef VD_BACKEND_DEXT_H
#define VD_BACKEND_DEXT_H

#include "core/backend.h"

extern const struct vd_backend_ops vd_backend_dext;

#endif
