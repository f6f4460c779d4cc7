/* SPDX-License-Identifier: BSD-3-Clause */
/* key=value options of simulated devices, and the addresses that no simulated device has. */
#include <stdlib.h>
#include <string.h>

#include <viaduct/context.h>
#include <viaduct/device.h>

#include "sim/endpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(const struct vd_env *env, const struct sim_endpoint_ops *ops, const char *text)
{
    struct sim_dart_config dart = {0};
    void *values = calloc(1, ops->values_size);
    struct sim_option_set sets[] = {{ops->options, ops->nr_options, values},
                                    {sim_dart_options, sim_dart_nr_options, &dart}};
    struct vd_failure failure = {0};
    int ret;

    if (!values)
        abort();
    ret = sim_options_parse(env, "sim:fuzz", text, sets, 2, &failure);
    if (ret == 0)
        sim_options_finish(env, sets, 2);
    else if (failure.code != ret || failure.text[0] == 0)
        abort(); /* a refusal must say why */
    free(values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vd_context *context;
    struct vd_device *device = NULL;
    struct vd_env env;
    char text[512];

    if (!context && vd_context_create(NULL, &context))
        abort();
    if (size >= sizeof(text))
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    vd_env_init_default(&env);
    parse(&env, &sim_edu_ops, text);
    parse(&env, &sim_nvme_ops, text);
    if (strncmp(text, "sim:", 4) != 0 && vd_device_open(context, text, &device, NULL) == 0)
        abort(); /* nothing else can be opened in a test */
    return 0;
}
