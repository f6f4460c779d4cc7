/* SPDX-License-Identifier: BSD-3-Clause */
/* What the benchmarks use of sim:edu, which viaduct-sim(7) documents: BAR 0 and the two registers they touch. */
#ifndef BENCH_EDU_H
#define BENCH_EDU_H

enum {
    EDU_BAR = 0,
    EDU_SCRATCH = 0x08, /* keeps what is written */
    EDU_RAISE = 0x70,   /* raises the interrupt vector that is written */
    EDU_CONFIG_REGION = 7,
    PCI_COMMAND = 4,
    PCI_MEMORY_AND_MASTER = 6,
};

#endif
