/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The simulated test device's copy engine, as a driver sees it (registers: sim/edu.h). It copies from one bus address to
 * another, which is the proof that an address is what it is said to be.
 */
#ifndef TEST_EDU_H
#define TEST_EDU_H

#include <linux/delay.h>
#include <linux/io.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/ktime.h>
#include <linux/pci.h>

#define EDU_VENDOR	0x1234
#define EDU_DEVICE	0x11e9
#define EDU_ID		0x00
#define EDU_SOURCE	0x40
#define EDU_DESTINATION 0x48
#define EDU_LENGTH	0x50
#define EDU_CONTROL	0x60
#define EDU_STATUS	0x64
#define EDU_ERROR	0x88
#define EDU_ID_VALUE	0x31554445
#define EDU_START	1
#define EDU_BUSY	1
#define EDU_DONE	2
#define EDU_PATIENCE	10000 /* milliseconds, for an emulated guest on a busy machine */

/* 0; -EIO the device refused the copy; -ETIMEDOUT. One at a time. */
static inline int edu_copy(void __iomem *regs, u64 from, u64 to, u64 len)
{
	ktime_t end = ktime_add_ms(ktime_get(), EDU_PATIENCE);
	u32 status;

	writeq(from, regs + EDU_SOURCE);
	writeq(to, regs + EDU_DESTINATION);
	writeq(len, regs + EDU_LENGTH);
	writel(EDU_START, regs + EDU_CONTROL);
	while ((status = readl(regs + EDU_STATUS)) & EDU_BUSY) {
		if (status == ~0u || ktime_after(ktime_get(), end))
			return -ETIMEDOUT;
		usleep_range(20, 100);
	}
	return status & EDU_DONE ? 0 : -EIO;
}

#endif
