/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random numbers that a seed repeats (an xorshift generator); the state is never 0. */
#ifndef TEST_RANDOM_H
#define TEST_RANDOM_H

#include <linux/types.h>

static inline u64 test_random(u64 *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state * 0x2545f4914f6cdd1dull >> 11;
}

#endif
