/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * What the window policy needs of where it runs: the kernel (6.1 and later) or a C library. Types,
 * atomics, bit maps and memory, and nothing else. 64-bit only: bit maps are made of words that are
 * read as u64.
 *
 * Atomics: vd_atomic_*() that change a value are fully ordered, as the kernel's are;
 * vd_load_acquire() pairs with vd_store_release(); vd_read_once() and vd_write_once() only keep the
 * compiler honest.
 */
#ifndef GUEST_WINDOWS_PORT_H
#define GUEST_WINDOWS_PORT_H

#ifdef __KERNEL__

#include <linux/atomic.h>
#include <linux/bitops.h>
#include <linux/build_bug.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/limits.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/types.h>

typedef atomic_t vd_atomic;

#define vd_load_acquire(where)		  smp_load_acquire(where)
#define vd_store_release(where, what)	  smp_store_release(where, what)
#define vd_read_once(what)		  READ_ONCE(what)
#define vd_write_once(what, value)	  WRITE_ONCE(what, value)
#define vd_exchange(where, what)	  xchg(where, what)
#define vd_try_exchange(where, old, what) try_cmpxchg(where, old, what)

static inline int vd_atomic_read(const vd_atomic *atomic)
{
	return atomic_read(atomic);
}

static inline void vd_atomic_set_release(vd_atomic *atomic, int value)
{
	atomic_set_release(atomic, value);
}

static inline int vd_atomic_exchange(vd_atomic *atomic, int value)
{
	return atomic_xchg(atomic, value);
}

static inline int vd_atomic_add(vd_atomic *atomic, int value)
{
	return atomic_add_return(value, atomic);
}

static inline bool vd_atomic_try_exchange(vd_atomic *atomic, int *old, int value)
{
	return atomic_try_cmpxchg(atomic, old, value);
}

static inline bool vd_bit_test(const unsigned long *map, u32 bit)
{
	return test_bit(bit, map);
}

static inline void vd_bit_set(unsigned long *map, u32 bit)
{
	set_bit(bit, map);
}

static inline void vd_bit_clear(unsigned long *map, u32 bit)
{
	clear_bit(bit, map);
}

static inline u32 vd_log2(u64 value)
{
	return ilog2(value);
}

/*
 * Zeroed, or NULL. Where nothing may sleep it fails early and without a word; the caller holds a raw
 * spinlock then, under which the allocator is out of bounds where other spinlocks sleep.
 */
static inline void *vd_alloc(size_t size, bool may_sleep)
{
	if (!may_sleep &&
	    (IS_ENABLED(CONFIG_PREEMPT_RT) || IS_ENABLED(CONFIG_PROVE_RAW_LOCK_NESTING)))
		return NULL;
	return may_sleep ? kvzalloc(size, GFP_KERNEL) : kzalloc(size, GFP_ATOMIC | __GFP_NOWARN);
}

static inline void vd_free(void *memory)
{
	kvfree(memory);
}

#else

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

typedef struct {
	int value;
} vd_atomic;

#define vd_load_acquire(where)	      __atomic_load_n(where, __ATOMIC_ACQUIRE)
#define vd_store_release(where, what) __atomic_store_n(where, what, __ATOMIC_RELEASE)
#define vd_read_once(what)	      __atomic_load_n(&(what), __ATOMIC_RELAXED)
#define vd_write_once(what, value)    __atomic_store_n(&(what), value, __ATOMIC_RELAXED)
#define vd_exchange(where, what)      __atomic_exchange_n(where, what, __ATOMIC_SEQ_CST)
#define vd_try_exchange(where, old, what)                                                          \
	__atomic_compare_exchange_n(where, old, what, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)

/* Sequentially consistent, which is what the kernel's ordering amounts to beside a full barrier. */
static inline int vd_atomic_read(const vd_atomic *atomic)
{
	return __atomic_load_n(&atomic->value, __ATOMIC_SEQ_CST);
}

static inline void vd_atomic_set_release(vd_atomic *atomic, int value)
{
	__atomic_store_n(&atomic->value, value, __ATOMIC_RELEASE);
}

static inline int vd_atomic_exchange(vd_atomic *atomic, int value)
{
	return __atomic_exchange_n(&atomic->value, value, __ATOMIC_SEQ_CST);
}

static inline int vd_atomic_add(vd_atomic *atomic, int value)
{
	return __atomic_add_fetch(&atomic->value, value, __ATOMIC_SEQ_CST);
}

static inline bool vd_atomic_try_exchange(vd_atomic *atomic, int *old, int value)
{
	return __atomic_compare_exchange_n(&atomic->value, old, value, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_RELAXED);
}

#define VD_WORD_BITS (8 * (u32)sizeof(unsigned long))

static inline bool vd_bit_test(const unsigned long *map, u32 bit)
{
	return vd_read_once(map[bit / VD_WORD_BITS]) >> bit % VD_WORD_BITS & 1;
}

static inline void vd_bit_set(unsigned long *map, u32 bit)
{
	__atomic_fetch_or(&map[bit / VD_WORD_BITS], 1ul << bit % VD_WORD_BITS, __ATOMIC_RELAXED);
}

static inline void vd_bit_clear(unsigned long *map, u32 bit)
{
	__atomic_fetch_and(&map[bit / VD_WORD_BITS], ~(1ul << bit % VD_WORD_BITS),
			   __ATOMIC_RELAXED);
}

static inline u32 vd_log2(u64 value)
{
	return 63 - (u32)__builtin_clzll(value);
}

static inline void *vd_alloc(size_t size, bool may_sleep)
{
	(void)may_sleep;
	return calloc(1, size);
}

static inline void vd_free(void *memory)
{
	free(memory);
}

#endif

#endif
