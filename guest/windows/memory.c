// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * Memory for plans, which are made where nothing may sleep: what was put aside before, else what
 * can be had at once. And the trees that lead from an address to its area: three levels of 512, 48
 * bits, read without a lock because what is once in them stays.
 */
#include "internal.h"

void vd_window_pool_init(struct vd_window_pool *pool, size_t size, int wanted)
{
	pool->size = size;
	pool->wanted = wanted;
}

static void pool_push(struct vd_window_pool *pool, void *memory)
{
	void *head = vd_read_once(pool->head);

	do {
		*(void **)memory = head;
	} while (!vd_try_exchange(&pool->head, &head, memory));
	vd_atomic_add(&pool->count, 1);
}

/* One taker at a time: nobody else can put the head back between the look and the exchange. */
static void *pool_pop(struct vd_window_pool *pool)
{
	void *head = vd_load_acquire(&pool->head);

	do {
		if (!head)
			return NULL;
	} while (!vd_try_exchange(&pool->head, &head, *(void **)head));
	vd_atomic_add(&pool->count, -1);
	*(void **)head = NULL;
	return head;
}

void vd_window_pool_give(struct vd_window_pool *pool, void *memory)
{
	memset(memory, 0, pool->size);
	pool_push(pool, memory);
}

void *vd_window_pool_take(struct vd_window_pool *pool, int keep)
{
	void *memory = vd_atomic_read(&pool->count) > keep ? pool_pop(pool) : NULL;

	return memory ? memory : vd_alloc(pool->size, false);
}

static void pool_fill(struct vd_window_pool *pool)
{
	while (vd_atomic_read(&pool->count) < pool->wanted) {
		void *memory = vd_alloc(pool->size, true);

		if (!memory)
			return;
		pool_push(pool, memory);
	}
}

static bool pool_is_low(const struct vd_window_pool *pool)
{
	return vd_atomic_read(&pool->count) < (pool->wanted + 1) / 2;
}

void vd_window_pool_finish(struct vd_window_pool *pool)
{
	void *memory;

	while ((memory = pool_pop(pool)))
		vd_free(memory);
}

void vd_windows_refill(struct vd_windows *windows)
{
	pool_fill(&windows->spare_windows);
	pool_fill(&windows->spare_areas);
	pool_fill(&windows->spare_nodes);
	pool_fill(&windows->spare_links);
}

bool vd_windows_is_low(const struct vd_windows *windows)
{
	return pool_is_low(&windows->spare_windows) || pool_is_low(&windows->spare_areas) ||
	       pool_is_low(&windows->spare_nodes) || pool_is_low(&windows->spare_links);
}

struct vd_window_area *vd_area_make(struct vd_windows *windows, struct vd_window_node *root,
				    u64 address)
{
	struct vd_window_node *node = root;
	void *next;
	u32 level;

	for (level = 2;; level--) {
		next = node->slots[vd_node_slot(address, level)];
		if (!next) {
			struct vd_window_pool *pool =
				level > 0 ? &windows->spare_nodes : &windows->spare_areas;

			/* A plan leaves some to its commit, which needs them for bus addresses. */
			next = vd_window_pool_take(pool,
						   root == &windows->gpas ? pool->wanted / 4 : 0);
			if (!next)
				return NULL;
			if (level == 0)
				((struct vd_window_area *)next)->base =
					vd_round_down(address, VD_AREA_SIZE);
			vd_store_release(&node->slots[vd_node_slot(address, level)], next);
		}
		if (level == 0)
			return next;
		node = next;
	}
}

static void free_areas(struct vd_window_node *leaf)
{
	u32 i;

	for (i = 0; i < VD_NODE_SLOTS; i++)
		vd_free(leaf->slots[i]);
}

void vd_area_free_all(struct vd_window_node *root)
{
	u32 i, j;

	for (i = 0; i < VD_NODE_SLOTS; i++) {
		struct vd_window_node *node = root->slots[i];

		for (j = 0; node && j < VD_NODE_SLOTS; j++) {
			if (node->slots[j])
				free_areas(node->slots[j]);
			vd_free(node->slots[j]);
		}
		vd_free(node);
	}
}
