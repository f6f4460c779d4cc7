/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Capability JSON, by json-c (which allocates for itself; it runs once a session). One row per number, so that type and
 * limit checks are the same for all. Nesting is bounded: a peer must not choose our stack depth.
 */
#include "codec/version.h"

#include <errno.h>
#include <string.h>

#include <json-c/json.h>

#include "proto/vfio_user.h"

enum { MAX_DEPTH = 16 };

void vd_capabilities_init(struct vd_capabilities *caps)
{
    *caps = (struct vd_capabilities){
        .max_msg_fds = VFIO_USER_DEFAULT_MSG_FDS,
        .max_data_xfer_size = VFIO_USER_DEFAULT_DATA_XFER,
        .max_dma_maps = VFIO_USER_DEFAULT_DMA_MAPS,
        .pgsizes = VFIO_USER_DEFAULT_PGSIZES,
        .twin_fd_index = -1,
    };
}

/* An integer in [min, max] under `key`, when it is there. */
static bool read_number(struct json_object *from, const char *key, int64_t min, int64_t max, int64_t *out)
{
    struct json_object *value;

    if (!json_object_object_get_ex(from, key, &value))
        return true;
    if (!json_object_is_type(value, json_type_int))
        return false;
    *out = json_object_get_int64(value);
    return *out >= min && *out <= max;
}

static bool read_bool(struct json_object *from, const char *key, bool *out)
{
    struct json_object *value;

    if (!json_object_object_get_ex(from, key, &value))
        return true;
    if (!json_object_is_type(value, json_type_boolean))
        return false;
    *out = json_object_get_boolean(value);
    return true;
}

static const char *read_numbers(struct json_object *from, struct vd_capabilities *caps)
{
    int64_t fds = caps->max_msg_fds;
    int64_t xfer = (int64_t)caps->max_data_xfer_size;
    int64_t maps = (int64_t)caps->max_dma_maps;
    int64_t pages = (int64_t)caps->pgsizes;
    const struct {
        const char *key;
        int64_t min, max;
        int64_t *value;
    } rows[] = {
        {"max_msg_fds", 0, UINT32_MAX, &fds},
        {"max_data_xfer_size", 1, INT64_MAX, &xfer},
        {"max_dma_maps", 1, INT64_MAX, &maps},
        {"pgsizes", 1, INT64_MAX, &pages},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (!read_number(from, rows[i].key, rows[i].min, rows[i].max, rows[i].value))
            return rows[i].key;
    caps->max_msg_fds = (uint32_t)fds;
    caps->max_data_xfer_size = (uint64_t)xfer;
    caps->max_dma_maps = (uint64_t)maps;
    caps->pgsizes = (uint64_t)pages;
    return NULL;
}

static const char *read_twin(struct json_object *from, struct vd_capabilities *caps)
{
    struct json_object *twin;
    int64_t index = -1;

    if (!json_object_object_get_ex(from, "twin_socket", &twin))
        return NULL;
    if (!json_object_is_type(twin, json_type_object) || !read_bool(twin, "supported", &caps->twin_socket))
        return "twin_socket";
    if (!read_number(twin, "fd_index", 0, INT32_MAX, &index))
        return "twin_socket.fd_index";
    caps->twin_fd_index = (int)index;
    return NULL;
}

/* NULL, or the key that is wrong. */
static const char *read_root(struct json_object *root, struct vd_capabilities *caps)
{
    struct json_object *from;
    const char *wrong;

    if (!json_object_is_type(root, json_type_object))
        return "(not an object)";
    if (!json_object_object_get_ex(root, "capabilities", &from))
        return NULL;
    if (!json_object_is_type(from, json_type_object))
        return "capabilities";
    wrong = read_numbers(from, caps);
    if (!wrong && !read_bool(from, "write_multiple", &caps->write_multiple))
        wrong = "write_multiple";
    return wrong ? wrong : read_twin(from, caps);
}

int vd_capabilities_parse(const void *data, size_t size, struct vd_capabilities *caps, const char **problem)
{
    const char *wrong = "(malformed)";
    struct json_tokener *tokener;
    struct json_object *root;

    vd_capabilities_init(caps);
    if (size == 0)
        return 0;
    if (problem)
        *problem = wrong;
    if (size > VD_VERSION_DATA_MAX || memchr(data, 0, size) != (const char *)data + size - 1)
        return -EINVAL;
    tokener = json_tokener_new_ex(MAX_DEPTH);
    if (!tokener)
        return -ENOMEM;
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    /* With its NUL, so that the tokener knows where a number ends. */
    root = json_tokener_parse_ex(tokener, data, (int)size);
    if (root && json_tokener_get_error(tokener) == json_tokener_success)
        wrong = read_root(root, caps);
    json_object_put(root);
    json_tokener_free(tokener);
    if (problem)
        *problem = wrong;
    return wrong ? -EINVAL : 0;
}

/* Takes `value` over in every case. */
static bool add(struct json_object *to, const char *key, struct json_object *value)
{
    if (value && json_object_object_add(to, key, value) == 0)
        return true;
    json_object_put(value);
    return false;
}

static bool fill(struct json_object *to, const struct vd_capabilities *caps)
{
    struct json_object *twin;

    if (!add(to, "max_msg_fds", json_object_new_int64(caps->max_msg_fds)) ||
        !add(to, "max_data_xfer_size", json_object_new_int64((int64_t)caps->max_data_xfer_size)) ||
        !add(to, "max_dma_maps", json_object_new_int64((int64_t)caps->max_dma_maps)) ||
        !add(to, "pgsizes", json_object_new_int64((int64_t)caps->pgsizes)))
        return false;
    if (caps->write_multiple && !add(to, "write_multiple", json_object_new_boolean(true)))
        return false;
    if (!caps->twin_socket)
        return true;
    twin = json_object_new_object();
    if (!add(to, "twin_socket", twin) || !add(twin, "supported", json_object_new_boolean(true)))
        return false;
    return caps->twin_fd_index < 0 || add(twin, "fd_index", json_object_new_int(caps->twin_fd_index));
}

int vd_capabilities_emit(const struct vd_capabilities *caps, char *buffer, size_t size)
{
    struct json_object *root = json_object_new_object();
    struct json_object *capabilities = json_object_new_object();
    const char *text = NULL;
    int ret = -ENOMEM;

    if (root && add(root, "capabilities", capabilities) && fill(capabilities, caps))
        text = json_object_to_json_string_ext(root, JSON_C_TO_STRING_PLAIN);
    else if (!root)
        json_object_put(capabilities);
    if (text) {
        size_t length = strlen(text) + 1;

        ret = length <= size ? (int)length : -ENOBUFS;
        if (ret > 0)
            memcpy(buffer, text, length);
    }
    json_object_put(root);
    return ret;
}
