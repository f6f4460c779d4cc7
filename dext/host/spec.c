/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parsing of devices; see spec.h. The IOMMU's option table is used with one row changed, `iommu`, so that its default and
 * the words of a refusal are right for this program and there is still one parser. No state, no lock.
 */
#include "spec.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { MAX_DART_ROWS = 16, SHOWN = 80 };

static const char scheme[] = "sim:";

/* The value of `count` hexadecimal digits, or -1. */
static int read_hex(const char *text, unsigned count)
{
    int value = 0;

    for (unsigned i = 0; i < count; i++) {
        static const char digits[] = "0123456789abcdef";
        char c = text[i] >= 'A' && text[i] <= 'F' ? (char)(text[i] - 'A' + 'a') : text[i];
        const char *at = c ? strchr(digits, c) : NULL;

        if (!at)
            return -1;
        value = value * 16 + (int)(at - digits);
    }
    return value;
}

bool dextd_address_parse(const char *text, size_t length, struct dextd_address *out)
{
    int bus, device, function;

    if (length != DEXTD_ADDRESS_SIZE - 1 || text[2] != ':' || text[5] != '.')
        return false;
    bus = read_hex(text, 2);
    device = read_hex(text + 3, 2);
    function = read_hex(text + 6, 1);
    if (bus < 0 || device < 0 || device > 0x1f || function < 0 || function > 7)
        return false;
    *out = (struct dextd_address){(uint8_t)bus, (uint8_t)device, (uint8_t)function};
    return true;
}

void dextd_address_print(struct dextd_address address, char text[DEXTD_ADDRESS_SIZE])
{
    snprintf(text, DEXTD_ADDRESS_SIZE, "%02x:%02x.%x", address.bus, address.device & 0x1fu,
             address.function & 7u);
}

bool dextd_address_equal(struct dextd_address a, struct dextd_address b)
{
    return dextd_address_same_device(a, b) && a.function == b.function;
}

bool dextd_address_same_device(struct dextd_address a, struct dextd_address b)
{
    return a.bus == b.bus && a.device == b.device;
}

int dextd_spec_address(const char *text, struct dextd_address *out, struct vd_failure *failure)
{
    size_t length = strcspn(text, "=");

    if (!dextd_address_parse(text, length, out))
        return vd_fail_usage(
            failure,
            "%.*s: '%.*s' is no address; write BB:DD.F=sim:KIND with hexadecimal bus, device "
            "(to 1f) and function (to 7), as 01:00.0=sim:nvme",
            SHOWN, text, (int)(length < SHOWN ? length : SHOWN), text);
    if (!text[length])
        return vd_fail_usage(failure, "%.*s: no device is given; write %.*s=sim:KIND", SHOWN, text,
                             (int)length, text);
    return 0;
}

static int refuse_kind(const char *text, const char *kind, size_t length, struct vd_failure *failure)
{
    char known[128] = "";
    size_t used = 0;

    for (size_t i = 0; sim_endpoint_kind(i) && used < sizeof(known); i++)
        used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s%s", i ? ", " : "", scheme,
                                 sim_endpoint_kind(i)->kind);
    return vd_fail_usage(failure, "%.*s: no simulated device is called '%.*s'; there are: %s", SHOWN, text,
                         (int)(length < SHOWN ? length : SHOWN), kind, known);
}

/* Finds the kind behind the "=", and the options behind its comma. */
static int find_kind(const char *text, struct dextd_spec *spec, const char **options,
                     struct vd_failure *failure)
{
    const char *device = strchr(text, '=') + 1;
    size_t length;

    if (strncmp(device, scheme, sizeof(scheme) - 1) != 0)
        return vd_fail_usage(failure, "%.*s: '%.*s' is no simulated device; those begin with '%s'", SHOWN,
                             text, SHOWN, device, scheme);
    device += sizeof(scheme) - 1;
    length = strcspn(device, ",");
    spec->ops = sim_endpoint_find(device, length);
    if (!spec->ops)
        return refuse_kind(text, device, length, failure);
    *options = device[length] ? device + length + 1 : "";
    if (device[length] && !**options)
        return vd_fail_usage(failure, "%.*s: an option must follow the comma, as key=value", SHOWN, text);
    return 0;
}

/* The IOMMU's options as they are here. */
static size_t dart_rows(struct sim_option *rows)
{
    assert(sim_dart_nr_options <= MAX_DART_ROWS);
    for (size_t i = 0; i < sim_dart_nr_options; i++) {
        rows[i] = sim_dart_options[i];
        if (strcmp(rows[i].key, "iommu") == 0)
            rows[i].fallback = rows[i].values = "assigned";
    }
    return sim_dart_nr_options;
}

int dextd_spec_parse(const struct vd_env *env, const char *text, struct dextd_spec *out,
                     struct vd_failure *failure)
{
    struct sim_option rows[MAX_DART_ROWS];
    struct sim_option_set sets[2];
    const char *options = "";
    int err;

    *out = (struct dextd_spec){0};
    err = dextd_spec_address(text, &out->address, failure);
    if (!err)
        err = find_kind(text, out, &options, failure);
    if (err)
        return err;
    out->values = vd_env_alloc(env, 1, out->ops->values_size);
    if (!out->values)
        return vd_fail(failure, -ENOMEM, "%.*s: out of memory", SHOWN, text);
    sets[0] = (struct sim_option_set){out->ops->options, out->ops->nr_options, out->values};
    sets[1] = (struct sim_option_set){rows, dart_rows(rows), &out->dart};
    err = sim_options_parse(env, text, options, sets, 2, failure);
    if (err) {
        vd_env_free(env, out->values);
        return err;
    }
    if (out->dart.mode != SIM_DART_ASSIGNED) {
        dextd_spec_finish(env, out);
        return vd_fail_usage(failure,
                             "%.*s: option 'iommu' cannot be 'chosen': behind DriverKit the IOMMU always "
                             "assigns the addresses; leave the option out or give 'assigned'",
                             SHOWN, text);
    }
    return 0;
}

void dextd_spec_finish(const struct vd_env *env, struct dextd_spec *spec)
{
    struct sim_option_set set;

    if (!spec->values)
        return;
    set = (struct sim_option_set){spec->ops->options, spec->ops->nr_options, spec->values};
    sim_options_finish(env, &set, 1);
    vd_env_free(env, spec->values);
    spec->values = NULL;
}
