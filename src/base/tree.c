/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Treap with parent links; see tree.h. Invariants: ranges are disjoint and in symmetric order; a parent's priority is
 * never below its children's.
 */
#include "base/tree.h"

#include <errno.h>

static uint32_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdull;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ull;
    return (uint32_t)(x >> 32);
}

static void replace_child(struct vd_tree *tree, struct vd_tree_node *parent, const struct vd_tree_node *old,
                          struct vd_tree_node *new)
{
    if (!parent)
        tree->root = new;
    else
        parent->child[parent->child[1] == old] = new;
    if (new)
        new->parent = parent;
}

/* Lifts `node` above its parent, keeping the order. */
static void rotate_up(struct vd_tree *tree, struct vd_tree_node *node)
{
    struct vd_tree_node *parent = node->parent;
    int side = parent->child[1] == node;
    struct vd_tree_node *middle = node->child[!side];

    replace_child(tree, parent->parent, parent, node);
    parent->child[side] = middle;
    if (middle)
        middle->parent = parent;
    node->child[!side] = parent;
    parent->parent = node;
}

int vd_tree_insert(struct vd_tree *tree, struct vd_tree_node *node)
{
    struct vd_tree_node **link = &tree->root;
    struct vd_tree_node *parent = NULL;

    while (*link) {
        parent = *link;
        if (vd_range_overlaps(node->range, parent->range))
            return -EEXIST;
        link = &parent->child[node->range.start > parent->range.last];
    }
    node->child[0] = node->child[1] = NULL;
    node->parent = parent;
    node->priority = mix(node->range.start ^ (uintptr_t)node);
    *link = node;
    tree->count++;
    while (node->parent && node->parent->priority < node->priority)
        rotate_up(tree, node);
    return 0;
}

void vd_tree_remove(struct vd_tree *tree, struct vd_tree_node *node)
{
    while (node->child[0] && node->child[1])
        rotate_up(tree, node->child[node->child[1]->priority > node->child[0]->priority]);
    replace_child(tree, node->parent, node, node->child[0] ? node->child[0] : node->child[1]);
    node->child[0] = node->child[1] = node->parent = NULL;
    tree->count--;
}

struct vd_tree_node *vd_tree_lower(const struct vd_tree *tree, uint64_t address)
{
    struct vd_tree_node *at = tree->root;
    struct vd_tree_node *best = NULL;

    while (at) {
        if (at->range.last >= address) {
            best = at;
            at = at->child[0];
        } else {
            at = at->child[1];
        }
    }
    return best;
}

struct vd_tree_node *vd_tree_find(const struct vd_tree *tree, uint64_t address)
{
    struct vd_tree_node *node = vd_tree_lower(tree, address);

    return node && node->range.start <= address ? node : NULL;
}

struct vd_tree_node *vd_tree_first(const struct vd_tree *tree)
{
    return vd_tree_lower(tree, 0);
}

struct vd_tree_node *vd_tree_next(const struct vd_tree_node *node)
{
    if (node->child[1]) {
        struct vd_tree_node *at = node->child[1];

        while (at->child[0])
            at = at->child[0];
        return at;
    }
    while (node->parent && node->parent->child[1] == node)
        node = node->parent;
    return node->parent;
}
