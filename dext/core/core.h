/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the core share: the device, its connections, and the functions of one file that another calls.
 *
 * Invariants: `owner` is set exactly while the provider is open for a claim; only the owner has mappings, a DMA buffer,
 * an interrupt page and waiters. Once `gone` is set no callback that reaches the device is called; those that give
 * something back (dma_complete, buffer_destroy, irq_teardown, page_destroy, close) still are.
 *
 * Lock rule: everything belongs to the shell's one serialised context, except irqs.page, irqs.waiter and the words of
 * the page: vd_dext_irq() reaches those from any thread, so they are touched with sequentially consistent atomics only.
 * hw->complete() may run inside any call and must not call back into the core.
 */
#ifndef DEXT_CORE_CORE_H
#define DEXT_CORE_CORE_H

#include "dext/core/dext.h"
#include "dext/core/table.h"

/* Offsets of capabilities in config space; 0: the device has none. Only those that fit below 0x100 are noted. */
struct vd_dext_caps {
    uint8_t pm, msi, msix, pcie, af;
    bool flr;          /* by the PCIe capability */
    bool af_flr;       /* by the Advanced Features capability */
    bool power_resets; /* going to D3hot and back is a reset: No_Soft_Reset is clear */
    bool has_devctl2;  /* PCIe capability version 2 or later */
    bool ordinary;     /* header type 0 */
};

struct vd_dext_bar {
    uint64_t size; /* 0: there is none */
    uint32_t type; /* enum vd_dext_bar_type */
    uint32_t memory_index;
};

struct vd_dext_irqs {
    struct vd_dext_irq_page *page; /* atomic; NULL: not made yet */
    void *page_token;
    void *waiter; /* atomic; the async handle of WAIT_INTERRUPT. Who exchanges it for NULL completes it */
    bool set_up;  /* hw->irq_setup() succeeded and hw->irq_teardown() was not called yet */
    uint32_t nr_vectors; /* while set_up */
};

/* What an owner may change in a type 0 header and a reset clears or leaves, so that somebody has to put it back. */
struct vd_dext_registers {
    uint32_t bars[VD_DEXT_BARS];
    uint32_t rom, devctl, devctl2, command;
};

struct vd_dext {
    const struct vd_dext_os *os;
    const struct vd_dext_hw_ops *ops;
    void *hw;

    /* Learnt when it was created, constant afterwards. */
    struct vd_dext_dma_limits limits; /* with the quota applied */
    struct vd_dext_caps caps;
    struct vd_dext_bar bars[VD_DEXT_BARS + 1];
    struct vd_dext_description description; /* the constant part */

    struct vd_dext_client *owner;   /* who has the claim; NULL: nobody */
    struct vd_dext_registers found; /* by the owner; of a type 0 header */
    struct vd_dext_client *clients; /* all connections */
    uint32_t nr_clients;
    struct vd_dext_irqs irqs; /* the owner's */
    uint64_t faults;          /* as last read; UINT64_MAX: cannot tell */
    uint16_t command;         /* COMMAND as last seen */
    bool gone;
    bool unclean; /* the last owner is gone, but not reset away */
};

/* The RFC's one DMA buffer of a client. */
struct vd_dext_buffer {
    void *token;
    uint64_t size;   /* as asked for; 0: there is none */
    uint64_t charge; /* bytes */
};

struct vd_dext_client {
    struct vd_dext *dext;
    void *shell;
    struct vd_dext_client *next, **link;
    void *event_waiter; /* the async handle of WAIT_EVENT; NULL: nobody waits */
    uint32_t events;    /* enum vd_dext_event that it has not been told */
    struct vd_dext_table table;
    struct vd_dext_buffer buffer;
    struct vd_dext_use use; /* the truth; the copy in the interrupt page is for the client */
};

typedef int vd_dext_handler(struct vd_dext_client *client, struct vd_dext_call *call);

static inline void vd_dext_log(const struct vd_dext *dext, enum vd_dext_log_level level, const char *text,
                               uint64_t a, uint64_t b)
{
    dext->os->log(dext->os->opaque, level, text, a, b);
}

/* method.c: may this client use what needs the claim? 0; NOT_OPEN; EXCLUSIVE_ACCESS. */
int vd_dext_check_claim(const struct vd_dext_client *client);

/* claim.c */
vd_dext_handler vd_dext_claim, vd_dext_terminate;
/* Everything the owner has goes, the provider is closed, the claim is free. Cannot fail: what goes wrong is logged. */
void vd_dext_teardown(struct vd_dext *dext);

/* event.c */
vd_dext_handler vd_dext_wait_event;
void vd_dext_abort_event_wait(struct vd_dext_client *client);

/* access.c */
vd_dext_handler vd_dext_do_config_read, vd_dext_do_config_write, vd_dext_get_bar_info;
vd_dext_handler vd_dext_do_mmio_read, vd_dext_do_mmio_write;

/* describe.c: learns what is constant, with the provider open. 0; what the hardware answered; BAD_ARGUMENT nonsense. */
int vd_dext_learn(struct vd_dext *dext);
vd_dext_handler vd_dext_get_identity, vd_dext_describe;

/* dma.c */
struct vd_dext_request {
    uint64_t key, address, size;
    uint32_t access; /* enum vd_dext_access */
};
/*
 * Registers one region in at most max_runs runs and fills runs[0..*nr). 0; BAD_ARGUMENT; STILL_OPEN the key is in use;
 * NO_SPACE; NO_MEMORY; NOT_ALIGNED more runs; hw's. On failure nothing is left.
 */
int vd_dext_dma_add(struct vd_dext_client *client, const struct vd_dext_request *request,
                    struct vd_dext_run *runs, uint32_t max_runs, uint32_t *nr);
/* 0, or NOT_FOUND. */
int vd_dext_dma_remove(struct vd_dext_client *client, uint64_t key);
/* Completes every mapping and the buffer. */
void vd_dext_dma_finish(struct vd_dext_client *client);
/* Reads the IOMMU's count of refused accesses, while the device is there. */
void vd_dext_read_faults(struct vd_dext *dext);
/* Copies the use to the interrupt page, if the client has one. */
void vd_dext_publish_use(struct vd_dext_client *client);
vd_dext_handler vd_dext_register, vd_dext_unregister, vd_dext_probe, vd_dext_allocate_buffer,
    vd_dext_free_buffer, vd_dext_get_limits;

/* batch.c */
vd_dext_handler vd_dext_register_batch, vd_dext_unregister_batch;

/* irq.c */
vd_dext_handler vd_dext_setup_interrupts, vd_dext_check_interrupt, vd_dext_wait_interrupt,
    vd_dext_set_irq_mask;
/* Makes the interrupt page unless there is one. 0; NO_MEMORY; hw's. */
int vd_dext_irq_make_page(struct vd_dext *dext);
void vd_dext_irq_destroy_page(struct vd_dext *dext);
/* Stops delivery. The waiter stays. */
void vd_dext_irq_stop(struct vd_dext *dext);
/* Takes up delivery after vd_dext_irq_stop(), as before. When that fails, interrupts are not set up any more. */
int vd_dext_irq_restart(struct vd_dext *dext);
/* Completes the waiter, if there is one. */
void vd_dext_irq_complete(struct vd_dext *dext, int status);

/* config.c: bus master off, then drained; what went wrong first. */
vd_dext_handler vd_dext_quiesce;

/* reset.c */
vd_dext_handler vd_dext_reset_device;
/* Notes what the owner finds, at its claim. 0; what the hardware answered. */
int vd_dext_note_registers(struct vd_dext *dext);
/* What the owner found is there again, except COMMAND: that stays, without bus mastering. 0; what the hardware answered. */
int vd_dext_put_registers(struct vd_dext *dext);
/* By the first kind that works, after waking the function. 0; UNSUPPORTED none is possible; what the last one that was tried answered. */
int vd_dext_reset(struct vd_dext *dext);

#endif
