/* SPDX-License-Identifier: BSD-3-Clause */
/* DMA strategies: their names, which one a host gets, what a refusal says, and what identity does with memory. */
#include "core/strategy.h"

#include <errno.h>
#include <string.h>

#include "../base/unit.h"
#include "fake.h"

static const enum vd_strategy unbuilt[] = {VD_STRATEGY_OFFSET, VD_STRATEGY_POOL};

static void every_name_parses_back(void **state)
{
    enum vd_strategy parsed;

    (void)state;
    for (enum vd_strategy s = VD_STRATEGY_AUTO; s <= VD_STRATEGY_PARAVIRT; s++) {
        assert_int_equal(vd_strategy_parse(vd_strategy_name(s), &parsed), 0);
        assert_int_equal(parsed, s);
    }
    assert_string_equal(vd_strategy_name(VD_STRATEGY_IDENTITY), "identity");
}

static void an_unknown_name_is_einval(void **state)
{
    enum vd_strategy parsed = VD_STRATEGY_POOL;

    (void)state;
    assert_int_equal(vd_strategy_parse("", &parsed), -EINVAL);
    assert_int_equal(vd_strategy_parse("Identity", &parsed), -EINVAL);
    assert_int_equal(vd_strategy_parse("identity ", &parsed), -EINVAL);
    assert_int_equal(vd_strategy_parse("local", &parsed), -EINVAL);
    assert_int_equal(parsed, VD_STRATEGY_POOL);
    assert_string_equal(vd_strategy_name((enum vd_strategy)99), "?");
}

static void auto_takes_identity_where_addresses_are_chosen(void **state)
{
    struct fixture *f = *state;
    const struct vd_strategy_ops *ops = NULL;

    assert_int_equal(vd_strategy_pick(f->device, VD_STRATEGY_AUTO, &ops, NULL), 0);
    assert_ptr_equal(ops, &vd_strategy_identity);
    ops = NULL;
    assert_int_equal(vd_strategy_pick(f->device, VD_STRATEGY_IDENTITY, &ops, NULL), 0);
    assert_ptr_equal(ops, &vd_strategy_identity);
}

/* A refusal names the device, what was asked for, and what would work. */
static void check_refusal(struct fixture *f, enum vd_strategy wanted, const char *option)
{
    const struct vd_strategy_ops *ops = &vd_strategy_identity;
    struct vd_failure failure = {0};

    assert_int_equal(vd_strategy_pick(f->device, wanted, &ops, &failure), -ENOTSUP);
    assert_null(ops);
    assert_int_equal(failure.code, -ENOTSUP);
    assert_non_null(strstr(failure.text, vd_device_info(f->device)->address));
    assert_non_null(strstr(failure.text, option));
    assert_non_null(strstr(failure.text, "; use "));
    assert_int_equal(vd_strategy_pick(f->device, wanted, &ops, NULL), -ENOTSUP);
}

static void a_host_that_assigns_addresses_is_refused_with_the_remedy(void **state)
{
    struct fixture *f = *state;
    struct vd_failure failure = {0};
    const struct vd_strategy_ops *ops;

    fake_assign_addresses(&f->fake);
    f->fake.info.raw_config = false;
    assert_int_equal(fixture_open(f, &fake_ops, NULL), 0);
    check_refusal(f, VD_STRATEGY_AUTO, "dma=auto");
    check_refusal(f, VD_STRATEGY_PARAVIRT, "dma=paravirt");
    check_refusal(f, VD_STRATEGY_IDENTITY, "dma=identity");
    assert_int_equal(vd_strategy_pick(f->device, VD_STRATEGY_IDENTITY, &ops, &failure), -ENOTSUP);
    assert_non_null(strstr(failure.text, "iommu=chosen"));
}

static void what_is_not_built_is_refused_by_name(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 2; i++) {
        check_refusal(f, unbuilt[i], vd_strategy_name(unbuilt[i]));
        check_refusal(f, unbuilt[i], "not built yet");
    }
}

static _Alignas(FAKE_PAGE) uint8_t arena[4 * FAKE_PAGE];

static struct vd_guest_region make_region(uint64_t gpa, void *host)
{
    return (struct vd_guest_region){.node.range = {gpa, gpa + sizeof(arena) - 1},
                                    .host = host,
                                    .access = VD_ACCESS_READ | VD_ACCESS_WRITE};
}

static void identity_maps_memory_at_its_own_address(void **state)
{
    struct fixture *f = *state;
    struct vd_guest_region region = make_region(0x7000, arena);

    assert_int_equal(vd_strategy_identity.added(f->device, &region), 0);
    assert_non_null(region.mapping);
    assert_int_equal(f->fake.nr_live, 1);
    assert_int_equal(f->fake.mappings[0].iova, 0x7000);
    assert_int_equal(f->fake.mappings[0].size, sizeof(arena));
    assert_ptr_equal(f->fake.mappings[0].host, arena);
    vd_strategy_identity.removed(f->device, &region);
    assert_null(region.mapping);
    assert_int_equal(f->fake.nr_live, 0);
}

static void identity_maps_memory_without_a_pointer_where_the_host_can(void **state)
{
    struct fixture *f = *state;
    struct vd_guest_region region = make_region(0x7000, NULL);

    assert_int_equal(vd_strategy_identity.added(f->device, &region), 0);
    assert_int_equal(f->fake.nr_live, 1);
    assert_null(f->fake.mappings[0].host);
    vd_strategy_identity.removed(f->device, &region);
    assert_int_equal(f->fake.nr_live, 0);
}

static void identity_leaves_it_unmapped_where_the_host_cannot(void **state)
{
    struct fixture *f = *state;
    struct vd_guest_region region = make_region(0x7000, NULL);

    f->fake.info.dma.indirect = false;
    assert_int_equal(fixture_open(f, &fake_ops, NULL), 0);
    assert_int_equal(vd_strategy_identity.added(f->device, &region), 0);
    assert_null(region.mapping);
    vd_strategy_identity.removed(f->device, &region);
    assert_int_equal(fake_call_at(&f->fake, FAKE_MAP, 0), -1);
    assert_int_equal(fake_call_at(&f->fake, FAKE_UNMAP, 0), -1);
}

static void identity_hands_on_what_the_domain_refuses(void **state)
{
    struct fixture *f = *state;
    struct vd_guest_region region = make_region(0, arena); /* below the domain */

    assert_int_equal(vd_strategy_identity.added(f->device, &region), -ERANGE);
    assert_null(region.mapping);
}

static void auto_takes_paravirt_where_addresses_are_assigned(void **state)
{
    struct fixture *f = *state;
    enum vd_strategy chosen = VD_STRATEGY_AUTO;
    struct vd_guest_region region = make_region(0x7000, arena);

    fake_assign_addresses(&f->fake);
    f->fake.info.raw_config = true;
    assert_int_equal(fixture_open(f, &fake_ops, NULL), 0);
    assert_int_equal(vd_strategy_choose(f->device, VD_STRATEGY_AUTO, &chosen, NULL), 0);
    assert_int_equal(chosen, VD_STRATEGY_PARAVIRT);
    assert_int_equal(vd_strategy_paravirt.added(f->device, &region), 0);
    vd_strategy_paravirt.removed(f->device, &region);
    assert_int_equal(f->fake.nr_live, 0);
    assert_int_equal(vd_strategy_choose(f->device, VD_STRATEGY_IDENTITY, &chosen, NULL), -ENOTSUP);
    assert_int_equal(chosen, VD_STRATEGY_AUTO);
}

#define OPENED(test) cmocka_unit_test_setup_teardown(test, fixture_setup_open, fixture_teardown)
#define CLOSED(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name_parses_back),
        cmocka_unit_test(an_unknown_name_is_einval),
        OPENED(auto_takes_identity_where_addresses_are_chosen),
        CLOSED(a_host_that_assigns_addresses_is_refused_with_the_remedy),
        CLOSED(auto_takes_paravirt_where_addresses_are_assigned),
        OPENED(what_is_not_built_is_refused_by_name),
        OPENED(identity_maps_memory_at_its_own_address),
        OPENED(identity_maps_memory_without_a_pointer_where_the_host_can),
        CLOSED(identity_leaves_it_unmapped_where_the_host_cannot),
        OPENED(identity_hands_on_what_the_domain_refuses),
    };

    return cmocka_run_group_tests_name("strategy", tests, NULL, NULL);
}
