/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ordered set of ranges, against a naive model: an array that says for every address of a small space which node
 * owns it. After every step the tree's own invariants (order, heap, parent links, count) are checked as well.
 */
#include "base/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"

enum { SPACE = 512, NODES = 96, STEPS = 20000 };

struct model {
    struct vd_tree tree;
    struct vd_tree_node nodes[NODES];
    bool in[NODES];
    int owner[SPACE]; /* index of the node that owns the address, or -1 */
    uint64_t base;    /* where the small space lies in the large one */
    uint64_t seed;
};

static size_t check_subtree(const struct vd_tree_node *node, const struct vd_tree_node *parent)
{
    if (!node)
        return 0;
    assert_ptr_equal(node->parent, parent);
    assert_true(node->range.start <= node->range.last);
    if (parent)
        assert_true(parent->priority >= node->priority);
    if (node->child[0])
        assert_true(node->child[0]->range.last < node->range.start);
    if (node->child[1])
        assert_true(node->child[1]->range.start > node->range.last);
    return 1 + check_subtree(node->child[0], node) + check_subtree(node->child[1], node);
}

static int model_find(const struct model *m, uint64_t address, bool or_later)
{
    for (uint64_t a = address; a < SPACE; a++) {
        if (m->owner[a] >= 0)
            return m->owner[a];
        if (!or_later)
            return -1;
    }
    return -1;
}

static void check_node(const struct model *m, const struct vd_tree_node *found, int want)
{
    if (want < 0)
        assert_null(found);
    else
        assert_ptr_equal(found, &m->nodes[want]);
}

static void check_model(struct model *m)
{
    uint64_t probe = unit_random(&m->seed) % SPACE;
    const struct vd_tree_node *at = vd_tree_first(&m->tree);
    size_t listed = 0;

    assert_int_equal(check_subtree(m->tree.root, NULL), m->tree.count);
    check_node(m, vd_tree_find(&m->tree, m->base + probe), model_find(m, probe, false));
    check_node(m, vd_tree_lower(&m->tree, m->base + probe), model_find(m, probe, true));
    check_node(m, at, model_find(m, 0, true));
    while (at) {
        const struct vd_tree_node *next = vd_tree_next(at);

        listed++;
        if (next)
            assert_true(next->range.start > at->range.last);
        at = next;
    }
    assert_int_equal(listed, m->tree.count);
}

static void model_insert(struct model *m, int n)
{
    uint64_t start = unit_random(&m->seed) % SPACE;
    uint64_t room = SPACE - start < 24 ? SPACE - start : 24;
    uint64_t size = 1 + unit_random(&m->seed) % room;
    bool clash = false;

    m->nodes[n].range = (struct vd_range){m->base + start, m->base + start + size - 1};
    for (uint64_t a = start; a < start + size; a++)
        clash |= m->owner[a] >= 0;
    assert_int_equal(vd_tree_insert(&m->tree, &m->nodes[n]), clash ? -EEXIST : 0);
    if (clash)
        return;
    m->in[n] = true;
    for (uint64_t a = start; a < start + size; a++)
        m->owner[a] = n;
}

static void model_remove(struct model *m, int n)
{
    vd_tree_remove(&m->tree, &m->nodes[n]);
    m->in[n] = false;
    for (int a = 0; a < SPACE; a++)
        if (m->owner[a] == n)
            m->owner[a] = -1;
}

static void run_model(uint64_t base, uint64_t seed)
{
    struct model *m = calloc(1, sizeof(*m));

    assert_non_null(m);
    m->base = base;
    m->seed = seed;
    memset(m->owner, 0xff, sizeof(m->owner));
    for (int i = 0; i < STEPS; i++) {
        int n = (int)(unit_random(&m->seed) % NODES);

        if (m->in[n])
            model_remove(m, n);
        else
            model_insert(m, n);
        check_model(m);
    }
    for (int n = 0; n < NODES; n++)
        if (m->in[n])
            model_remove(m, n);
    assert_int_equal(m->tree.count, 0);
    assert_null(m->tree.root);
    free(m);
}

static void agrees_with_a_naive_array_at_zero(void **state)
{
    (void)state;
    run_model(0, 1);
}

static void agrees_with_a_naive_array_at_the_end_of_the_space(void **state)
{
    (void)state;
    run_model(UINT64_MAX - SPACE + 1, 2);
}

static void an_empty_tree_has_nothing(void **state)
{
    struct vd_tree tree = {0};

    (void)state;
    assert_null(vd_tree_first(&tree));
    assert_null(vd_tree_find(&tree, 0));
    assert_null(vd_tree_lower(&tree, UINT64_MAX));
}

static void the_whole_space_is_one_range_that_leaves_no_room(void **state)
{
    struct vd_tree tree = {0};
    struct vd_tree_node all = {.range = {0, UINT64_MAX}}, byte = {.range = {UINT64_MAX, UINT64_MAX}};

    (void)state;
    assert_int_equal(vd_tree_insert(&tree, &all), 0);
    assert_int_equal(vd_tree_insert(&tree, &byte), -EEXIST);
    assert_ptr_equal(vd_tree_find(&tree, UINT64_MAX), &all);
    vd_tree_remove(&tree, &all);
    assert_int_equal(vd_tree_insert(&tree, &byte), 0);
    assert_ptr_equal(vd_tree_lower(&tree, 0), &byte);
}

/* Ascending starts are the worst case of an unbalanced tree. */
static void ascending_inserts_stay_shallow(void **state)
{
    enum { MANY = 4096 };
    struct vd_tree tree = {0};
    struct vd_tree_node *nodes = calloc(MANY, sizeof(*nodes));
    unsigned deepest = 0;

    (void)state;
    assert_non_null(nodes);
    for (unsigned i = 0; i < MANY; i++) {
        nodes[i].range = (struct vd_range){i * 4096ull, i * 4096ull + 4095};
        assert_int_equal(vd_tree_insert(&tree, &nodes[i]), 0);
    }
    for (unsigned i = 0; i < MANY; i++) {
        unsigned depth = 0;

        for (struct vd_tree_node *n = &nodes[i]; n; n = n->parent)
            depth++;
        deepest = depth > deepest ? depth : deepest;
    }
    assert_in_range(deepest, 12, 60); /* log2 of 4096 is 12; a list would be 4096 deep */
    free(nodes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_naive_array_at_zero),
        cmocka_unit_test(agrees_with_a_naive_array_at_the_end_of_the_space),
        cmocka_unit_test(an_empty_tree_has_nothing),
        cmocka_unit_test(the_whole_space_is_one_range_that_leaves_no_room),
        cmocka_unit_test(ascending_inserts_stay_shallow),
    };

    return cmocka_run_group_tests_name("tree", tests, NULL, NULL);
}
