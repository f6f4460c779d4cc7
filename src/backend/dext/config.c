/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hardware's config space, one call an access, and what the back end itself needs of it: COMMAND, and for older
 * extensions the subsystem ids and the vectors that the capability list offers. Everything else about config space is
 * core's. What is read comes from the device: the walk is bounded.
 */
#include "backend/dext/host.h"

enum {
    /* PCI 3.0, 6.1, 6.2, 6.7, 6.8 */
    COMMAND = 0x04,
    COMMAND_MEMORY = 0x0002,
    COMMAND_MASTER = 0x0004,
    STATUS = 0x06,
    STATUS_CAPABILITIES = 0x0010,
    SUBVENDOR = 0x2c,
    CAPABILITIES = 0x34,
    FIRST_CAPABILITY = 0x40,
    LAST_CAPABILITY = 0xfc,
    MAX_CAPABILITIES = 48, /* that fit between the two */
    MSI = 0x05,
    MAX_MSI_EXPONENT = 5, /* 6 and 7 are reserved */
    MSIX = 0x11,
};

int dext_config_read(struct dext_host *host, uint32_t offset, uint32_t width, uint32_t *value)
{
    const uint64_t in[2] = {offset, width};
    uint64_t out = 0;
    int status = dext_call(host, VD_DEXT_CONFIG_READ, in, 2, &out, 1);

    *value = (uint32_t)out;
    return status;
}

int dext_config_write(struct dext_host *host, uint32_t offset, uint32_t width, uint32_t value)
{
    const uint64_t in[3] = {offset, width, value};

    return dext_call(host, VD_DEXT_CONFIG_WRITE, in, 3, NULL, 0);
}

int dext_config_calm(struct dext_host *host)
{
    uint32_t command;
    int status = dext_config_read(host, COMMAND, 2, &command);

    if (status)
        return status;
    if (command == 0xffff) /* what a function that is not there reads as */
        return VD_DEXT_NOT_RESPONDING;
    command = (command & ~(uint32_t)COMMAND_MASTER) | COMMAND_MEMORY;
    status = dext_config_write(host, COMMAND, 2, command);
    if (!status)
        status = dext_config_read(host, COMMAND, 2, &command);
    if (!status && (command & COMMAND_MASTER))
        status = VD_DEXT_IO_ERROR;
    return status;
}

static void note_capability(struct dext_identity *identity, uint32_t head)
{
    uint32_t control = head >> 16;

    if ((head & 0xff) == MSI && !identity->msi_vectors) {
        uint32_t exponent = (control >> 1) & 7;

        identity->msi_vectors = (uint16_t)(1u << (exponent < MAX_MSI_EXPONENT ? exponent : MAX_MSI_EXPONENT));
    }
    if ((head & 0xff) == MSIX && !identity->msix_vectors)
        identity->msix_vectors = (uint16_t)((control & 0x7ff) + 1);
}

static int walk_capabilities(struct dext_host *host, struct dext_identity *identity)
{
    uint32_t at, head;
    int status = dext_config_read(host, STATUS, 2, &head);

    if (status || !(head & STATUS_CAPABILITIES))
        return status;
    status = dext_config_read(host, CAPABILITIES, 1, &at);
    for (unsigned i = 0; !status && i < MAX_CAPABILITIES; i++) {
        at &= LAST_CAPABILITY; /* the low two bits are reserved */
        if (at < FIRST_CAPABILITY)
            break;
        status = dext_config_read(host, at, 4, &head);
        if (status)
            break;
        note_capability(identity, head);
        at = (head >> 8) & 0xff;
    }
    return status;
}

int dext_config_identify(struct dext_host *host, struct dext_identity *identity)
{
    uint32_t ids;
    int status = dext_config_read(host, SUBVENDOR, 4, &ids);

    if (status)
        return status;
    identity->subvendor_id = (uint16_t)ids;
    identity->subdevice_id = (uint16_t)(ids >> 16);
    return walk_capabilities(host, identity);
}
