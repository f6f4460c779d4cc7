/* SPDX-License-Identifier: BSD-3-Clause */
/* A device as people name it: "01:00.0=sim:edu,vectors=4", in options and control commands. */
#ifndef DEXT_HOST_SPEC_H
#define DEXT_HOST_SPEC_H

#include "sim/bus.h"

/* Where a function is. */
struct dextd_address {
    uint8_t bus, device, function;
};

enum { DEXTD_ADDRESS_SIZE = 8 }; /* "BB:DD.F" and its NUL */

/* Reads exactly "BB:DD.F", hexadecimal as lspci prints it. */
bool dextd_address_parse(const char *text, size_t length, struct dextd_address *out);
void dextd_address_print(struct dextd_address address, char text[DEXTD_ADDRESS_SIZE]);
bool dextd_address_equal(struct dextd_address a, struct dextd_address b);
/* Functions of one device, or the same one. */
bool dextd_address_same_device(struct dextd_address a, struct dextd_address b);

/* A parsed device. */
struct dextd_spec {
    struct dextd_address address;
    const struct sim_endpoint_ops *ops;
    void *values; /* of ops->options; NULL once a function took it over */
    struct sim_dart_config dart;
};

/* The address before the "=" of a device. 0; -EINVAL with *failure. */
int dextd_spec_address(const char *text, struct dextd_address *out, struct vd_failure *failure);
/*
 * Parses the whole. The IOMMU assigns addresses, as behind DriverKit; asking for the other kind is refused. 0; -EINVAL with
 * *failure naming the option, its value and what is allowed; -ENOMEM. To be finished on success.
 */
int dextd_spec_parse(const struct vd_env *env, const char *text, struct dextd_spec *out,
                     struct vd_failure *failure);
void dextd_spec_finish(const struct vd_env *env, struct dextd_spec *spec);

#endif
