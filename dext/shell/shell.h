/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the shell share. The shell turns DriverKit's calls into those of dext/core/dext.h and carries out
 * what the core asks for; it decides nothing.
 *
 * For readers new to DriverKit: a driver is a process outside the kernel. Its classes are declared in .iig files, of which
 * Apple's iig makes headers and the code that carries calls between processes. A method `Start` that can be called from
 * elsewhere is written as `Start_Impl`; Start(provider, SUPERDISPATCH) calls the base class. Objects are counted:
 * what a Create or Copy call hands out is ours to release. Instance variables live in <class>_IVars.
 *
 * Lock rule: every object has a queue of its own, so methods of the driver and of its connections run at the same time.
 * `lock` makes them the one serialised context that the core wants: whoever calls the core, vd_dext_irq() excepted,
 * holds it. The driver's own queue would not do: the kernel calls the driver there for power changes, which a reset that
 * the core is waiting for may cause. Interrupts take no lock: interrupts.cpp.
 */
#ifndef DEXT_SHELL_SHELL_H
#define DEXT_SHELL_SHELL_H

#include <DriverKit/IODMACommand.h>
#include <DriverKit/IODispatchQueue.h>
#include <DriverKit/IOInterruptDispatchSource.h>
#include <DriverKit/IOLib.h>
#include <PCIDriverKit/PCIDriverKit.h>

#include <VFIOUserPCIDriver.h>
#include <VFIOUserPCIDriverUserClient.h>

#include "dext/core/dext.h"

/* One message vector. `source` and `action` are references of ours. */
struct vd_shell_vector {
    IOInterruptDispatchSource *source;
    OSAction *action; /* its reference holds the vector's number, a uint32_t */
};

struct vd_shell_irqs {
    IODispatchQueue *queue;
    struct vd_shell_vector vectors[VD_DEXT_VECTORS];
    uint32_t nr_vectors;  /* made so far; by `lock` */
    bool open;            /* atomic: may a handler call the core? */
    uint32_t inside;      /* atomic: handlers that may be calling it */
    uint32_t uncancelled; /* atomic: while the driver stops */
};

struct VFIOUserPCIDriver_IVars {
    struct IOLock *lock;
    IOPCIDevice *pci;
    struct vd_dext *dext; /* NULL until the driver has started */
    struct vd_dext_os os;
    struct vd_dext_quota quota;
    struct vd_shell_irqs irqs;
};

struct VFIOUserPCIDriverUserClient_IVars {
    VFIOUserPCIDriver *driver;
    struct vd_dext_client *client; /* NULL when stopped; by the driver's lock */
};

/* Holds a lock for the length of a block. */
class vd_shell_guard
{
  public:
    explicit vd_shell_guard(struct IOLock *lock) : lock_(lock)
    {
        IOLockLock(lock_);
    }
    ~vd_shell_guard()
    {
        IOLockUnlock(lock_);
    }
    vd_shell_guard(const vd_shell_guard &) = delete;
    vd_shell_guard &operator=(const vd_shell_guard &) = delete;

  private:
    struct IOLock *lock_;
};

/* The core's `hw` is the driver. */
static inline VFIOUserPCIDriver_IVars *vd_shell_ivars(void *hw)
{
    return static_cast<VFIOUserPCIDriver *>(hw)->ivars;
}

/* driver.cpp: a number of the driver's entry in Info.plist; 0 when it is not there. */
uint64_t vd_shell_property(VFIOUserPCIDriver *driver, const char *name);

/* Hooks of struct vd_dext_hw_ops, documented there. hardware.cpp: */
int vd_shell_open(void *hw);
void vd_shell_close(void *hw);
void vd_shell_location(void *hw, uint8_t *bus, uint8_t *device, uint8_t *function);
int vd_shell_config_read(void *hw, uint32_t offset, uint32_t width, uint32_t *value);
int vd_shell_config_write(void *hw, uint32_t offset, uint32_t width, uint32_t value);
int vd_shell_bar_info(void *hw, uint32_t bar, uint32_t *memory_index, uint64_t *size, uint32_t *type);
int vd_shell_mmio_read(void *hw, uint32_t memory_index, uint64_t offset, uint32_t width, uint64_t *value);
int vd_shell_mmio_write(void *hw, uint32_t memory_index, uint64_t offset, uint32_t width, uint64_t value);
uint32_t vd_shell_reset_kinds(void *hw);
int vd_shell_reset(void *hw, enum vd_dext_reset_kind kind);

/* interrupts.cpp */
int vd_shell_irq_setup(void *hw, uint32_t max, uint32_t *count);
void vd_shell_irq_teardown(void *hw);
/* The driver stops: gives the vectors back, then calls `done`, once, perhaps later on another thread. Takes the lock. */
void vd_shell_irq_finish(VFIOUserPCIDriver *driver, void (^done)(void));

/* memory.cpp */
void vd_shell_dma_limits(void *hw, struct vd_dext_dma_limits *out);
int vd_shell_dma_prepare(void *hw, void *client, uint64_t address, uint64_t size, uint32_t access,
                         struct vd_dext_run *runs, uint32_t max_runs, uint32_t *nr, void **token);
void vd_shell_dma_complete(void *hw, void *token);
int vd_shell_dma_probe(void *hw, void *token, uint64_t offset, uint64_t *value);
int vd_shell_buffer_create(void *hw, uint64_t size, uint64_t alignment, struct vd_dext_run *run,
                           void **token);
int vd_shell_page_create(void *hw, void **memory, void **token);
void vd_shell_page_destroy(void *hw, void *token);
/* The memory of a token, without a reference. */
IOMemoryDescriptor *vd_shell_token_memory(void *token);

/* client.cpp */
void vd_shell_complete(void *hw, void *async, int status, const uint64_t *args, uint32_t nr_args);

#endif
