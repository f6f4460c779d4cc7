/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The config space of a simulated function as hardware would have it: 4096 bytes with a write mask and a
 * write-one-to-clear mask for each, and a builder for the usual capabilities. Section numbers: PCI Local Bus 3.0 (PCI)
 * and PCI Express Base 6.0 (PCIe).
 */
#ifndef SIM_CONFIG_H
#define SIM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SIM_CONFIG_SIZE = 4096, SIM_BARS = 6 };

struct sim_config {
    uint8_t bytes[SIM_CONFIG_SIZE];
    uint8_t writable[SIM_CONFIG_SIZE];
    uint8_t clear_by_one[SIM_CONFIG_SIZE];
    uint8_t initial[SIM_CONFIG_SIZE]; /* what a reset restores; taken by sim_config_seal() */
    uint16_t last_cap;                /* header of the newest capability, 0: none yet */
    uint16_t next_free;
    uint16_t pcie, msi, msix, pm; /* offsets of capabilities, 0: absent */
    uint16_t last_ext, next_ext;  /* the same for extended capabilities as last_cap and next_free */
    uint16_t aer, rebar, ats;
};

struct sim_identity {
    uint16_t vendor, device, subvendor, subdevice;
    uint8_t revision;
    uint32_t class_code;
    uint8_t intx_pin; /* 0 none, 1 INTA# */
};

/* Header type 0 with COMMAND, STATUS and the interrupt line as hardware has them (PCI 6.1, 6.2). */
void sim_config_init(struct sim_config *config, const struct sim_identity *identity);
/* A memory BAR (PCI 6.2.5.1): size a power of two of at least 16; 64-bit takes the next one too. */
void sim_config_bar(struct sim_config *config, unsigned bar, uint64_t size, bool is64, bool prefetchable);
/* The expansion ROM BAR (PCI 6.2.5.2): size a power of two of at least 2 KiB. */
void sim_config_rom(struct sim_config *config, uint64_t size);
/* Capabilities; each returns its offset. */
uint16_t sim_config_add_pm(struct sim_config *config);
uint16_t sim_config_add_pcie(struct sim_config *config, bool flr);
uint16_t sim_config_add_msi(struct sim_config *config, unsigned vectors);
uint16_t sim_config_add_msix(struct sim_config *config, unsigned vectors, unsigned table_bar,
                             uint32_t table_offset, unsigned pba_bar, uint32_t pba_offset);
/*
 * Extended capabilities, in the order of the calls; each returns its offset, the first 0x100. What they promise is only
 * registers: no error is logged, no BAR changes its size, no address is translated.
 */
uint16_t sim_config_add_aer(struct sim_config *config);
uint16_t sim_config_add_serial(struct sim_config *config, uint64_t serial);
uint16_t sim_config_add_rebar(struct sim_config *config, unsigned bar, uint64_t size);
uint16_t sim_config_add_ats(struct sim_config *config);
/* Remembers the present content as the reset state. */
void sim_config_seal(struct sim_config *config);
/* One of several functions of its device: bit 7 of the header type (PCI 6.2.1). Before or after sealing. */
void sim_config_set_multifunction(struct sim_config *config);
/* Back to the reset state (PCIe 6.6.2: what FLR resets). */
void sim_config_reset(struct sim_config *config);
/* The same after a conventional reset (PCIe 6.6.1), which an FLR's exceptions do not survive either. */
void sim_config_hot_reset(struct sim_config *config);

void sim_config_read(const struct sim_config *config, unsigned offset, void *buffer, size_t count);
/* What a write did that the function must act on. */
enum sim_config_effect {
    SIM_CONFIG_FLR = 1,     /* Initiate Function Level Reset was written (PCIe 7.5.3.4) */
    SIM_CONFIG_COMMAND = 2, /* COMMAND was written: bus master, memory space, INTx disable may have changed */
    SIM_CONFIG_POWER = 4,   /* PMCSR was written */
};
/* Applies the masks; a union of effects. */
unsigned sim_config_write(struct sim_config *config, unsigned offset, const void *buffer, size_t count);

bool sim_config_bus_master(const struct sim_config *config);
/* In D0, or without power management: in D3hot a function answers config accesses only (PM 5.4). */
bool sim_config_powered(const struct sim_config *config);
bool sim_config_intx_disabled(const struct sim_config *config);
/* Interrupt Status, STATUS bit 3 (PCI 6.2.3). */
void sim_config_set_intx_status(struct sim_config *config, bool asserted);

#endif
