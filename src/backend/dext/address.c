/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses: "apple:BB:DD.F[,socket=PATH]", hexadecimal, one PCI segment. A comma in the path is doubled, as in the
 * options of simulated devices. No state.
 */
#include "backend/dext/host.h"

#include <stdio.h>
#include <string.h>

enum { MAX_SHOWN = 80 };

static const char scheme[] = "apple:";
static const char socket_key[] = "socket=";

static int digit_of(char c)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) % 16 : -1;
}

/* Two hexadecimal digits, or -1. */
static int byte_of(const char *text)
{
    int high = digit_of(text[0]);
    int low = high < 0 ? -1 : digit_of(text[1]);

    return low < 0 ? -1 : high * 16 + low;
}

static bool parse_bdf(const char *text, size_t length, struct dext_address *out)
{
    int bus, device;

    if (length != strlen("BB:DD.F") || text[2] != ':' || text[5] != '.')
        return false;
    bus = byte_of(text);
    device = byte_of(text + 3);
    if (bus < 0 || device < 0 || device > 0x1f || text[6] < '0' || text[6] > '7')
        return false;
    out->bus = (uint8_t)bus;
    out->device = (uint8_t)device;
    out->function = (uint8_t)(text[6] - '0');
    snprintf(out->name, sizeof(out->name), "%s%02x:%02x.%u", scheme, bus, device, out->function);
    return true;
}

/* Takes the value that begins at `text`; *rest is what follows it. False: too long. */
static bool take_path(const char *text, char path[static DEXT_MAX_SOCKET], const char **rest)
{
    size_t used = 0;

    while (*text && (*text != ',' || text[1] == ',')) {
        if (used == DEXT_MAX_SOCKET - 1)
            return false;
        path[used++] = *text;
        text += *text == ',' ? 2 : 1;
    }
    path[used] = 0;
    *rest = text;
    return true;
}

static int parse_option(const char *address, const char **at, struct dext_address *out,
                        struct vd_failure *failure)
{
    size_t length = strcspn(*at, ",");

    if (strncmp(*at, socket_key, sizeof(socket_key) - 1) != 0)
        return vd_fail_usage(failure,
                             "%s: '%.*s' is not an option of this device; allowed is socket=PATH, "
                             "where viaduct-dextd listens",
                             address, (int)(length < MAX_SHOWN ? length : MAX_SHOWN), *at);
    if (out->socket[0])
        return vd_fail_usage(failure, "%s: option 'socket' is given twice", address);
    if (!take_path(*at + sizeof(socket_key) - 1, out->socket, at))
        return vd_fail_usage(failure, "%.*s...: the path after socket= is longer than %d bytes", MAX_SHOWN,
                             address, DEXT_MAX_SOCKET - 1);
    if (!out->socket[0])
        return vd_fail_usage(failure, "%s: a path must follow socket=", address);
    return 0;
}

int dext_address_parse(const char *text, struct dext_address *out, struct vd_failure *failure)
{
    const char *at = text;
    size_t length;

    *out = (struct dext_address){0};
    if (strncmp(at, scheme, sizeof(scheme) - 1) == 0) {
        at += sizeof(scheme) - 1;
        length = strcspn(at, ",");
        if (parse_bdf(at, length, out)) {
            int err = 0;

            for (at += length; *at == ',' && !err;) {
                at++;
                err = parse_option(text, &at, out, failure);
            }
            return err;
        }
    }
    return vd_fail_usage(
        failure,
        "%s: not an address of this kind; it is apple:BB:DD.F[,socket=PATH], with bus 00 to ff, "
        "device 00 to 1f and function 0 to 7, e.g. apple:01:00.0",
        text);
}

const char *dext_address_where(const struct dext_address *address)
{
    return address->socket[0] ? address->socket : NULL;
}
