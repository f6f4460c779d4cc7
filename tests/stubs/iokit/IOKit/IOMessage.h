/* SPDX-License-Identifier: BSD-3-Clause */
/* Stub for tools/typecheck: what src/dextlink/iokit.c uses of <IOKit/IOMessage.h>. */
#ifndef TESTS_STUBS_IOKIT_IOMESSAGE_H
#define TESTS_STUBS_IOKIT_IOMESSAGE_H

#include <stdint.h>

#define kIOMessageServiceIsTerminated ((uint32_t)0xe0000010)

#endif
