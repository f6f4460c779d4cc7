/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one file that names every back end: finds the one an address belongs to. An address that is well formed but
 * whose back end this build lacks is refused with that reason; anything else is wrong usage.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/dext/dext.h"
#include "backend/sim/sim.h"
#include "core/device.h"

static const struct vd_backend_ops *const backends[] = {&vd_backend_sim, &vd_backend_dext};

static const struct vd_backend_ops *find_backend(const char *address)
{
    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
        size_t length = strlen(backends[i]->name);

        if (strncmp(address, backends[i]->name, length) == 0 && address[length] == ':')
            return backends[i];
    }
    return NULL;
}

static bool all_hex(const char *text, size_t length)
{
    return strspn(text, "0123456789abcdefABCDEF") >= length;
}

/* BB:DD.F with hexadecimal bus and device, function 0 to 7. */
static bool is_bdf(const char *text)
{
    return strlen(text) == 7 && all_hex(text, 2) && text[2] == ':' && all_hex(text + 3, 2) &&
           text[5] == '.' && text[6] >= '0' && text[6] <= '7';
}

/* The same with an optional four-digit domain, as Linux writes it. */
static bool is_linux_address(const char *text)
{
    return is_bdf(text) || (strlen(text) == 12 && all_hex(text, 4) && text[4] == ':' && is_bdf(text + 5));
}

static int refuse(const char *address, struct vd_failure *failure)
{
    if (is_linux_address(address))
        return vd_fail(failure, -ENOTSUP,
                       "host=%s: this is a Linux PCI address, and the VFIO back end is not part of this "
                       "build yet; use a "
                       "simulated device (sim:nvme, sim:edu)",
                       address);
    return vd_fail_usage(
        failure,
        "host=%s: not a device address; allowed are sim:nvme[,key=value...], sim:edu[,key=value...], "
        "apple:BB:DD.F[,socket=PATH] (the extension of a Mac, or viaduct-dextd) and [DDDD:]BB:DD.F (Linux); "
        "`viaduct list` shows what is here",
        address);
}

int vd_device_open_with(struct vd_context *context, const char *address,
                        const struct vd_device_options *options, struct vd_device **out,
                        struct vd_error *error)
{
    const struct vd_backend_ops *ops = find_backend(address);

    *out = NULL;
    if (options && (options->size != sizeof(*options) || (options->rom && options->no_rom)))
        return vd_fail_usage(vd_failure_of(error),
                             "host=%s: device options of another size, or both a ROM file and none", address);
    if (!ops)
        return refuse(address, vd_failure_of(error));
    return vd_device_create(context, ops, address, options, out, vd_failure_of(error));
}

int vd_device_open(struct vd_context *context, const char *address, struct vd_device **out,
                   struct vd_error *error)
{
    return vd_device_open_with(context, address, NULL, out, error);
}

int vd_device_scan(struct vd_context *context, struct vd_device_found *found, size_t max,
                   struct vd_error *error)
{
    struct vd_failure why = {0};
    size_t count = 0;

    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
        size_t room = count < max ? max - count : 0;
        int n = -ENOENT;

        if (backends[i]->scan)
            n = backends[i]->scan(&context->env, room ? found + count : NULL, room, &why);
        if (n == -ENOENT) /* no failure, so not one to tell */
            continue;
        if (n < 0) {
            if (error)
                *vd_failure_of(error) = why;
            return n;
        }
        count += (size_t)n;
    }
    return (int)count;
}

const struct vd_device_kind *vd_device_kind(size_t i)
{
    return vd_sim_device_kind(i);
}
