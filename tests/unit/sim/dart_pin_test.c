/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory that the simulated device holds on to: pins, quiesce, vectors and peeked pointers. */
#include "dart_fixture.h"

/* Pins. */

struct quiesce {
    struct fixture *f;
    uint64_t iova, size;
    unsigned calls;
};

static void unpin_on_quiesce(void *opaque)
{
    struct quiesce *q = opaque;

    q->calls++;
    if (q->size)
        sim_dart_unpin(q->f->dart, q->iova, q->size);
}

static void unmap_of_pinned_memory_quiesces_first(void **state)
{
    struct fixture *f = chosen();
    struct quiesce q = {f, 0x4000, 100, 0};
    struct sim_dart_mapping *m;
    struct iovec iov[2];
    unsigned count = 0;

    sim_dart_set_quiesce(f->dart, unpin_on_quiesce, &q);
    assert_int_equal(map(f, f->memory, 0x4000, PAGE, &m), 0);
    assert_int_equal(sim_dart_iov(f->dart, 0x4000, 100, SIM_READ, iov, &count, 2), 0);
    sim_dart_unmap(f->dart, m);
    assert_int_equal(q.calls, 1);
    stop(f, 0);
}

static void unmap_of_unpinned_memory_does_not_quiesce(void **state)
{
    struct fixture *f = chosen();
    struct quiesce q = {f, 0, 0, 0};
    struct sim_dart_mapping *m;
    struct iovec iov[2];
    unsigned count = 0;

    sim_dart_set_quiesce(f->dart, unpin_on_quiesce, &q);
    assert_int_equal(map(f, f->memory, 0x4000, PAGE, &m), 0);
    assert_int_equal(sim_dart_iov(f->dart, 0x4000, 100, SIM_READ, iov, &count, 2), 0);
    sim_dart_unpin(f->dart, 0x4000, 100);
    sim_dart_unmap(f->dart, m);
    assert_int_equal(q.calls, 0);
    stop(f, 0);
}

static void pin_that_survives_quiesce_is_recorded(void **state)
{
    struct fixture *f = chosen();
    struct quiesce q = {f, 0, 0, 0};
    struct sim_dart_mapping *m;
    struct iovec iov[2];
    unsigned count = 0;

    sim_dart_set_quiesce(f->dart, unpin_on_quiesce, &q);
    assert_int_equal(map(f, f->memory, 0x4000, PAGE, &m), 0);
    assert_int_equal(sim_dart_iov(f->dart, 0x4000, 100, SIM_READ, iov, &count, 2), 0);
    sim_dart_unmap(f->dart, m);
    assert_int_equal(q.calls, 1);
    assert_non_null(strstr(f->h.line, "still holds"));
    stop(f, 1);
}

static void unpin_without_a_pin_is_recorded(void **state)
{
    struct fixture *f = chosen();
    struct sim_dart_mapping *m;

    assert_int_equal(map(f, f->memory, 0x4000, PAGE, &m), 0);
    sim_dart_unpin(f->dart, 0x4000, 1);
    sim_dart_unpin(f->dart, 0x9000, 1);
    sim_dart_unmap(f->dart, m);
    stop(f, 2);
}

static void iov_merges_neighbours_and_appends(void **state)
{
    struct fixture *f = chosen();
    struct sim_dart_mapping *a, *b, *c;
    struct iovec iov[3];
    unsigned count = 0;

    assert_int_equal(map(f, f->memory, 0x1000, PAGE, &a), 0);
    assert_int_equal(map(f, f->memory + PAGE, 0x2000, PAGE, &b), 0);
    assert_int_equal(map(f, f->memory + 5 * PAGE, 0x3000, PAGE, &c), 0);
    assert_int_equal(sim_dart_iov(f->dart, 0x1800, PAGE, SIM_WRITE, iov, &count, 3), 0);
    assert_int_equal(count, 1);
    assert_ptr_equal(iov[0].iov_base, f->memory + 0x800);
    assert_int_equal(iov[0].iov_len, PAGE);
    assert_int_equal(sim_dart_iov(f->dart, 0x2800, PAGE, SIM_WRITE, iov, &count, 3), 0);
    assert_int_equal(count, 2);
    assert_int_equal(iov[0].iov_len, PAGE + 0x800);
    assert_ptr_equal(iov[1].iov_base, f->memory + 5 * PAGE);
    assert_int_equal(iov[1].iov_len, 0x800);
    sim_dart_unpin(f->dart, 0x1800, PAGE);
    sim_dart_unpin(f->dart, 0x2800, PAGE);
    sim_dart_unmap(f->dart, a);
    sim_dart_unmap(f->dart, b);
    sim_dart_unmap(f->dart, c);
    stop(f, 0);
}

static void failed_iov_leaves_the_vector_and_pins_as_before(void **state)
{
    struct fixture *f = chosen();
    struct quiesce q = {f, 0, 0, 0};
    struct sim_dart_mapping *a, *b;
    struct iovec iov[2];
    unsigned count = 0;

    sim_dart_set_quiesce(f->dart, unpin_on_quiesce, &q);
    assert_int_equal(map(f, f->memory, 0x1000, PAGE, &a), 0);
    assert_int_equal(map(f, f->memory + 8 * PAGE, 0x2000, PAGE, &b), 0);
    assert_int_equal(sim_dart_iov(f->dart, 0x1000, 16, SIM_READ, iov, &count, 1), 0);
    assert_int_equal(sim_dart_iov(f->dart, 0x1010, PAGE, SIM_READ, iov, &count, 1), -ENOBUFS);
    assert_int_equal(count, 1);
    assert_int_equal(iov[0].iov_len, 16);
    assert_int_equal(sim_dart_iov(f->dart, 0x1010, 4 * PAGE, SIM_READ, iov, &count, 2), -EFAULT);
    assert_int_equal(count, 1);
    assert_int_equal(iov[0].iov_len, 16);
    sim_dart_unpin(f->dart, 0x1000, 16);
    sim_dart_unmap(f->dart, a);
    sim_dart_unmap(f->dart, b);
    assert_int_equal(q.calls, 0);
    stop(f, 1);
}

static void peek_needs_one_piece_of_host_memory(void **state)
{
    struct fixture *f = chosen();
    struct sim_dart_mapping *a, *b, *c;
    uint64_t generation;

    assert_int_equal(map(f, f->memory, 0x1000, PAGE, &a), 0);
    assert_int_equal(map(f, f->memory + PAGE, 0x2000, PAGE, &b), 0);
    assert_int_equal(map(f, f->memory + 5 * PAGE, 0x3000, PAGE, &c), 0);
    assert_ptr_equal(sim_dart_peek(f->dart, 0x1004, 2 * PAGE - 4, SIM_READ), f->memory + 4);
    assert_null(sim_dart_peek(f->dart, 0x1000, 3 * PAGE, SIM_READ));
    assert_null(sim_dart_peek(f->dart, 0x9000, 4, SIM_READ));
    generation = sim_dart_generation(f->dart);
    sim_dart_unmap(f->dart, a);
    assert_true(sim_dart_generation(f->dart) != generation);
    sim_dart_unmap(f->dart, b);
    sim_dart_unmap(f->dart, c);
    stop(f, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unmap_of_pinned_memory_quiesces_first),
        cmocka_unit_test(unmap_of_unpinned_memory_does_not_quiesce),
        cmocka_unit_test(pin_that_survives_quiesce_is_recorded),
        cmocka_unit_test(unpin_without_a_pin_is_recorded),
        cmocka_unit_test(iov_merges_neighbours_and_appends),
        cmocka_unit_test(failed_iov_leaves_the_vector_and_pins_as_before),
        cmocka_unit_test(peek_needs_one_piece_of_host_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
