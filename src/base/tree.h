/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An ordered set of disjoint ranges: intrusive nodes, O(log n) on average, no allocation, so removal cannot fail. A
 * treap whose priorities come from the range's start and from where the node lies in memory, so that who picks the ranges (a
 * guest) cannot pick the shape; a node stays where it is while it is in. (No small C library on every host offers an
 * intrusive one: GLib aborts when memory is short, <sys/tree.h> is missing on glibc.)
 *
 * Threads: none of its own; the owner serialises.
 */
#ifndef VD_BASE_TREE_H
#define VD_BASE_TREE_H

#include <stddef.h>

#include "base/range.h"

struct vd_tree_node {
    struct vd_range range;
    struct vd_tree_node *child[2];
    struct vd_tree_node *parent;
    uint32_t priority;
};

struct vd_tree {
    struct vd_tree_node *root;
    size_t count;
};

/* Inserts node->range. 0, or -EEXIST when it overlaps a range that is in the tree. The node must stay put until removed. */
int vd_tree_insert(struct vd_tree *tree, struct vd_tree_node *node);
/* Removes a node that is in the tree. Cannot fail. */
void vd_tree_remove(struct vd_tree *tree, struct vd_tree_node *node);
/* The node whose range contains `address`, or NULL. */
struct vd_tree_node *vd_tree_find(const struct vd_tree *tree, uint64_t address);
/* The first node, in address order, that ends at or after `address`, or NULL. */
struct vd_tree_node *vd_tree_lower(const struct vd_tree *tree, uint64_t address);
/* The node with the lowest range, or NULL; the next one in address order, or NULL. */
struct vd_tree_node *vd_tree_first(const struct vd_tree *tree);
struct vd_tree_node *vd_tree_next(const struct vd_tree_node *node);

/* The structure that a node is embedded in. */
#define VD_CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
