// SPDX-License-Identifier: GPL-2.0-or-later
/* What is mapped now and whether it can be, and what was found to be false. */
#include "torture.h"

#include "../edu.h"

void torture_fail(struct torture *t, enum torture_fact fact, const char *format, ...)
{
	unsigned long flags;
	va_list args;

	if (atomic_inc_return(&t->failed[fact]) != 1)
		return;
	raw_spin_lock_irqsave(&t->lock, flags);
	va_start(args, format);
	vscnprintf(t->why[fact], TORTURE_WHY, format, args);
	va_end(args);
	raw_spin_unlock_irqrestore(&t->lock, flags);
}

/* Requests may share a window; then they agree about what lies behind each bus address. */
static bool agree(const struct torture_span *a, const struct torture_span *b)
{
	if (a->bus >= b->bus + b->len || b->bus >= a->bus + a->len)
		return true;
	return a->phys - a->bus == b->phys - b->bus;
}

int torture_remember(struct torture *t, u64 phys, u64 bus, u64 len)
{
	struct torture_span span = {phys, bus, len}, other = {};
	unsigned long flags;
	int slot = -1;
	bool good = true;

	raw_spin_lock_irqsave(&t->lock, flags);
	for (int i = 0; i < TORTURE_LIVE; i++) {
		if (!t->live[i].len) {
			slot = slot < 0 ? i : slot;
		} else if (good && !agree(&span, &t->live[i])) {
			good = false;
			other = t->live[i];
		}
	}
	if (slot >= 0)
		t->live[slot] = span;
	raw_spin_unlock_irqrestore(&t->lock, flags);
	torture_done(t, TORTURE_APART);
	if (!good)
		torture_fail(t, TORTURE_APART, "%llx+%llx at %llx, but %llx+%llx at %llx", bus, len,
			     phys, other.bus, other.len, other.phys);
	return slot;
}

void torture_forget(struct torture *t, int slot)
{
	unsigned long flags;

	if (slot < 0)
		return;
	raw_spin_lock_irqsave(&t->lock, flags);
	t->live[slot].len = 0;
	raw_spin_unlock_irqrestore(&t->lock, flags);
}

void torture_refused(struct torture *t, enum torture_fact fact, u64 len)
{
	atomic_inc(&t->refused);
	if (!t->may_refuse)
		torture_fail(t, fact, "%llu bytes were refused", len);
}

static u8 byte_at(size_t i, u32 seed)
{
	return (u8)((i * 11 + i / 253) ^ (seed * 151 + 17));
}

void torture_fill(void *memory, size_t len, u32 seed)
{
	u8 *bytes = memory;

	for (size_t i = 0; i < len; i++)
		bytes[i] = byte_at(i, seed);
}

bool torture_holds(const void *memory, size_t len, u32 seed)
{
	const u8 *bytes = memory;

	for (size_t i = 0; i < len; i++)
		if (bytes[i] != byte_at(i, seed))
			return false;
	return true;
}

bool torture_copy(struct torture *t, u64 from, u64 to, u64 len)
{
	int err;

	mutex_lock(&t->copy_lock);
	err = edu_copy(t->regs, from, to, len);
	mutex_unlock(&t->copy_lock);
	return !err;
}
