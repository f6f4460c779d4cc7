/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device that an extension drives, as its client keeps it; shared by the files of this back end.
 *
 * Threads: everything belongs to the device's thread, except dext_host_faults(), which reads `faults` (constant once
 * the device is open) from any.
 * Errors: functions that speak to the extension return what it answered, enum vd_dext_return as int ("status");
 * operations of core/backend.h return negative errnos. dext_errno() leads from one to the other.
 */
#ifndef VD_BACKEND_DEXT_HOST_H
#define VD_BACKEND_DEXT_HOST_H

#include "core/backend.h"
#include "dextlink/link.h"

enum {
    DEXT_NAME_SIZE = 32,
    DEXT_MAX_SOCKET = 256, /* bytes of a socket's path, terminator included; the system's limit is lower */
    DEXT_CONFIG_SIZE = 4096,
};

/* Which device an address means, and where to look for it. */
struct dext_address {
    uint8_t bus, device, function;
    char name[DEXT_NAME_SIZE];    /* the address in its usual form, without options */
    char socket[DEXT_MAX_SOCKET]; /* "": the usual place */
};

/* A connection to one instance of the extension. */
struct dext_connection {
    const struct vd_link_ops *ops;
    struct vd_link *link;
};

/* What GET_FEATURES told; bits is 0 for an extension that does not know the call. */
struct dext_features {
    uint64_t bits; /* enum vd_dext_feature */
    uint32_t batch;
    uint32_t page_size;
};

/* Who the device is. From DESCRIBE, or from what an older extension can be asked for. */
struct dext_identity {
    uint8_t bus, device, function;
    uint16_t vendor_id, device_id, subvendor_id, subdevice_id;
    uint32_t class_code;
    uint32_t state; /* enum vd_dext_state */
    uint16_t msi_vectors, msix_vectors;
    uint8_t link_speed, link_width;
    struct {
        uint64_t size;
        uint32_t type;
    } bars[VD_DEXT_BARS + 1];
    char model[64];
    bool described; /* false: only bus to device_id and class_code are known */
};

/* A BAR or the ROM; size 0: there is none that can be used. */
struct dext_bar {
    uint64_t size;
    uint32_t memory_index;
    bool prefetchable;
    bool mapped;
    struct vd_link_mapping mapping; /* whole; while mapped */
};

/* An asynchronous call that is kept outstanding. */
struct dext_waiter {
    bool armed;
    unsigned refusals; /* in a row */
};

/* Interrupts: see irq.c. */
struct dext_irq {
    struct vd_dext_irq_page *page; /* NULL: interrupts run through calls */
    uint32_t vectors;              /* the extension has set up */
    unsigned kind;                 /* VD_IRQ_MSI or VD_IRQ_MSIX; means something while `mask` is not 0 */
    uint64_t mask[VD_DEXT_IRQ_WORDS];
    uint64_t latched[VD_DEXT_IRQ_WORDS]; /* taken by a call while disabled; without a page */
    struct dext_waiter interrupt, event;
    bool link_over; /* poll() has said that the connection is over */
};

/* A mapping: the token that core keeps. */
struct dext_record {
    struct dext_record *next; /* of the free ones */
    uint64_t key;
    const void *host;
    uint64_t size;
};

struct dext_slab;

/* DMA: see dma.c. */
struct dext_dma {
    uint32_t batch; /* most regions in a call; 0: one call for each */
    uint32_t max_segments;
    uint64_t granule;
    void *in, *out; /* of batch calls, made at open so that unmapping allocates nothing; NULL without */
    size_t out_size;
    struct vd_host_map **entries; /* of the batch that is being made */
    struct dext_record *free;
    struct dext_slab *slabs;
    uint64_t last_key;
    bool told_access, told_unmap; /* logged once */
};

struct dext_host {
    const struct vd_env *env;
    struct vd_host_events events;
    struct dext_connection connection;
    struct dext_address address;
    struct dext_features features;
    struct dext_identity identity;
    struct vd_host_info info;
    struct dext_bar bars[VD_DEXT_BARS + 1];
    struct dext_irq irq;
    struct dext_dma dma;
    const uint64_t *faults; /* in the interrupt page; NULL: the extension does not say */
    bool open;              /* core may be told about events */
    bool gone;              /* the device was removed, or stopped for good */
    bool broken;            /* the connection is over: nothing can be called */
};

/* Which link reaches `where` (NULL: the usual place): vd_link_choose(), or a test's. */
typedef const struct vd_link_ops *dext_choose_link(const char *where);

/* ioreturn.c: the extension's return codes. */

/* Negative errno for a status; -EIO for one that is not known. */
int dext_return_errno(int status);
/* The status that stands for a negative errno; VD_DEXT_ERROR for one that none stands for. */
int dext_return_of(int err);
/* IOKit's name of a status, "unknown code" for others. */
const char *dext_return_name(int status);
/* True when the extension works but will not do this: a lesser way may be tried. */
bool dext_is_refusal(int status);

/* address.c. 0; -EINVAL with *failure. */
int dext_address_parse(const char *text, struct dext_address *out, struct vd_failure *failure);
/* What the links are told. */
const char *dext_address_where(const struct dext_address *address);

/* call.c: one call with scalars only. A wrong number of results is VD_DEXT_IPC_ERROR. */
int dext_connection_call(const struct dext_connection *c, uint32_t selector, const uint64_t *in,
                         uint32_t nr_in, uint64_t *out, uint32_t nr_out);
/* GET_FEATURES; an extension that refuses is an older one and no failure. */
int dext_connection_features(const struct dext_connection *c, struct dext_features *out);
/* The same on an open device; notices when device or connection are gone. */
int dext_call(struct dext_host *host, uint32_t selector, const uint64_t *in, uint32_t nr_in, uint64_t *out,
              uint32_t nr_out);
/* Notices what a status says about device and connection, and returns it. */
int dext_note(struct dext_host *host, int status);
/* An errno that the operation may answer: one of `allowed`, which ends with 0; else -EIO. 0 stays 0. */
int dext_allowed(int err, const int *allowed);
/* The same for a status. */
int dext_errno(int status, const int *allowed);
/* What vd_device_open() may answer to what the extension says; wrong usage is the address's. */
extern const int dext_open_errors[];
/* The device is gone: core hears of it once. */
void dext_report_gone(struct dext_host *host);

/* config.c: config space by calls, and what is read from it. */
int dext_config_read(struct dext_host *host, uint32_t offset, uint32_t width, uint32_t *value);
int dext_config_write(struct dext_host *host, uint32_t offset, uint32_t width, uint32_t value);
/* Bus mastering off, memory space on, read back. */
int dext_config_calm(struct dext_host *host);
/* Subsystem ids and the vectors that the capability list offers, for an extension that does not describe. */
int dext_config_identify(struct dext_host *host, struct dext_identity *identity);

/* identity.c. */

/* Who the instance drives: DESCRIBE with the feature, else GET_IDENTITY. */
int dext_identify(const struct dext_connection *c, const struct dext_features *features,
                  struct dext_identity *out);
/* The ids of the instances there, to be freed with vd_env_free(); a count, or the errors of vd_link_ops.list(). */
int dext_list_instances(const struct vd_env *env, const struct vd_link_ops *ops, const char *where,
                        uint64_t **ids, struct vd_failure *failure);
/* Connects to the instance that drives the device. 0; the errors of vd_device_open(). */
int dext_find(const struct vd_env *env, const struct vd_link_ops *ops, const struct dext_address *address,
              struct dext_connection *out, struct vd_failure *failure);

/* scan.c: vd_backend_ops.scan() over the usual place of a link. */
int dext_scan(dext_choose_link *choose, const struct vd_env *env, struct vd_device_found *found, size_t max,
              struct vd_failure *failure);

/* dext.c: the operations of vd_backend_ops. */
int dext_host_open(dext_choose_link *choose, const struct vd_env *env, const char *address,
                   const struct vd_host_events *events, void **host, struct vd_host_info *info,
                   struct vd_failure *failure);
void dext_host_close(void *host);
int dext_host_reset(void *host);
uint64_t dext_host_faults(void *host);

/* region.c. */
int dext_region_setup(struct dext_host *host); /* fills host->bars and info.regions */
/* VD_REGION_PREFETCHABLE and VD_REGION_64BIT of a BAR. */
uint32_t dext_region_flags(uint32_t bar_type);
int dext_region_read(void *host, unsigned index, uint64_t offset, void *buffer, size_t count);
int dext_region_write(void *host, unsigned index, uint64_t offset, const void *buffer, size_t count);
int dext_region_fd(void *host, unsigned index, uint64_t *offset);
int dext_region_map(void *host, unsigned index, uint64_t offset, uint64_t size, void **memory);
void dext_region_unmap(void *host, unsigned index, void *memory, uint64_t size);

/* irq.c. */
int dext_irq_setup(struct dext_host *host); /* fills host->irq and info.irqs */
int dext_irq_enable(void *host, unsigned index, uint32_t count);
/* After a reset: the mask once more; what fired before it is void. */
int dext_irq_restore(struct dext_host *host);
bool dext_irq_dispatch(void *host, bool will_block);

/* dma.c. */
int dext_dma_setup(struct dext_host *host); /* fills host->dma and info.dma */
void dext_dma_finish(struct dext_host *host);
void dext_dma_map(void *host, struct vd_host_map *entries, size_t count);
void dext_dma_unmap(void *host, void *const *tokens, size_t count);

#endif
