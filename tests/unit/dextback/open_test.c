/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening, what is declared then, reset, faults, and that nothing stays behind whichever step fails. */
#include "fake.h"

static struct fake *fresh(void (*init)(struct fake *))
{
    struct fake *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    init(f);
    return f;
}

static void done(struct fake *f)
{
    fake_finish(f);
    free(f);
}

static void opened(struct fake *f)
{
    struct vd_failure failure = {0};

    if (fake_open(f, "apple:02:00.0", &failure))
        fail_msg("%s", failure.text);
}

static void refused(struct fake *f, int err, const char *words)
{
    struct vd_failure failure = {0};

    assert_int_equal(fake_open(f, "apple:02:00.0", &failure), err);
    assert_int_equal(failure.code, err);
    if (!strstr(failure.text, words) || !strstr(failure.text, "apple:02:00.0"))
        fail_msg("no '%s' in: %s", words, failure.text);
    assert_int_equal(f->links + f->mappings + f->live, 0);
}

static void identity_is_the_descriptions(void **state)
{
    struct fake *f = *state;

    assert_int_equal(f->info.vendor, 0x1b36);
    assert_int_equal(f->info.device, 0x0010);
    assert_int_equal(f->info.subvendor, 0x5678);
    assert_int_equal(f->info.subdevice, 0x1234);
    assert_int_equal(f->info.class_code, 0x010802);
    assert_string_equal(f->info.model, "Fake disk");
    assert_true(f->info.can_reset && f->info.raw_config);
    assert_int_equal(f->info.poll_fd, f->wake_fd);
}

static void dma_is_assigned_with_the_extensions_limits(void **state)
{
    const struct fake *f = *state;
    const struct vd_dma_info *dma = &f->info.dma;

    assert_int_equal(dma->addressing, VD_DMA_ASSIGNED);
    assert_int_equal(dma->granule, 16384);
    assert_int_equal(dma->limit_bytes, 1 << 30);
    assert_int_equal(dma->limit_mappings, 5000);
    assert_int_equal(dma->max_segments, 4);
    assert_int_equal(dma->first.value, 0x1000);
    assert_int_equal(dma->last.value, 0xffffffff);
    assert_true(dma->needs_file);
    assert_false(dma->indirect);
    assert_int_equal(f->info.dma_batch, 4096);
    assert_int_equal(f->info.page_size, 16384);
}

static void a_model_that_is_not_text_is_made_harmless(void **state)
{
    struct fake *f = fresh(fake_init);

    memset(f->description.model, 'x', sizeof(f->description.model));
    f->description.model[1] = '\n';
    f->description.model[2] = '\x1b';
    opened(f);
    assert_int_equal(strlen(f->info.model), 63);
    assert_memory_equal(f->info.model, "x??x", 4);
    done(f);
}

static void page_size_is_the_extensions_where_it_makes_sense(void **state)
{
    static const struct {
        uint64_t told;
        uint32_t used;
    } cases[] = {{4096, 4096}, {65536, 65536}, {0, 16384}, {12288, 16384}, {16, 16384}, {1ull << 40, 16384}};

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fake *f = fresh(fake_init);

        f->page_size = cases[i].told;
        opened(f);
        assert_int_equal(f->info.page_size, cases[i].used);
        done(f);
    }
}

static void limits_that_make_no_sense_are_not_believed(void **state)
{
    struct fake *f = fresh(fake_init);

    f->limits[VD_DEXT_LIMIT_GRANULE] = UINT64_MAX;
    f->limits[VD_DEXT_LIMIT_SEGMENTS] = UINT64_MAX;
    f->limits[VD_DEXT_LIMIT_FIRST] = 5;
    f->limits[VD_DEXT_LIMIT_LAST] = 4;
    opened(f);
    assert_int_equal(f->info.dma.granule, 16384);
    assert_int_equal(f->info.dma.max_segments, VD_DEXT_MAX_SEGMENTS);
    assert_int_equal(f->info.dma.first.value, 0);
    fake_close(f);
    f->limits[VD_DEXT_LIMIT_SEGMENTS] = 0;
    opened(f);
    assert_int_equal(f->info.dma.max_segments, 1);
    done(f);
}

static void a_small_batch_is_respected(void **state)
{
    struct fake *f = fresh(fake_init);

    f->batch = 100;
    opened(f);
    assert_int_equal(f->info.dma_batch, 100);
    fake_close(f);
    f->batch = 1 << 20;
    opened(f);
    assert_int_equal(f->info.dma_batch, VD_DEXT_MAX_BATCH);
    fake_close(f);
    f->features &= ~(uint64_t)VD_DEXT_FEATURE_BATCH;
    opened(f);
    assert_int_equal(f->info.dma_batch, 64);
    fake_close(f);
    f->features |= VD_DEXT_FEATURE_BATCH;
    f->batch = 0;
    opened(f);
    assert_int_equal(f->info.dma_batch, 64);
    assert_int_equal(f->info.dma.max_segments, 1);
    done(f);
}

static void vectors_are_the_fewer_of_device_and_host(void **state)
{
    static const struct {
        unsigned got, msi, msix, msi_told, msix_told;
    } cases[] = {
        {33, 8, 33, 8, 33}, {16, 32, 64, 16, 16},   {5, 8, 33, 4, 5},    {0, 8, 33, 0, 0},
        {1, 8, 33, 1, 1},   {300, 0, 2048, 0, 256}, {256, 32, 0, 32, 0},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fake *f = fresh(fake_init);

        f->vectors = cases[i].got;
        f->description.msi_vectors = vd_put16((uint16_t)cases[i].msi);
        f->description.msix_vectors = vd_put16((uint16_t)cases[i].msix);
        opened(f);
        assert_int_equal(f->info.irqs[VD_IRQ_INTX].count, 0);
        assert_int_equal(f->info.irqs[VD_IRQ_MSI].count, cases[i].msi_told);
        assert_int_equal(f->info.irqs[VD_IRQ_MSIX].count, cases[i].msix_told);
        assert_int_equal(f->info.irqs[VD_IRQ_ERR].count, 1);
        assert_int_equal(f->info.irqs[VD_IRQ_REQ].count, 1);
        done(f);
    }
}

static void a_device_without_interrupts_opens(void **state)
{
    struct fake *f = fresh(fake_init);

    f->setup_status = VD_DEXT_NO_RESOURCES;
    f->vectors = 0;
    opened(f);
    assert_int_equal(f->lines[VD_ENV_WARN], 1);
    assert_int_equal(f->info.irqs[VD_IRQ_MSIX].count, 0);
    assert_false(dext_irq_dispatch(f->host, true));
    assert_int_equal(f->count[VD_DEXT_WAIT_INTERRUPT], 0);
    done(f);
}

static void an_older_extension_gets_by_with_less(void **state)
{
    struct fake *f = fresh(fake_init_old);

    opened(f);
    assert_int_equal(f->lines[VD_ENV_INFO], 1);
    assert_non_null(strstr(f->line, "older"));
    assert_int_equal(f->info.dma.granule, 16384);
    assert_int_equal(f->info.dma.limit_bytes, 1536ull << 20);
    assert_int_equal(f->info.dma.limit_mappings, 65536);
    assert_int_equal(f->info.dma.max_segments, 1);
    assert_int_equal(f->info.dma.first.value, 0);
    assert_true(f->info.dma.last.value == UINT64_MAX);
    assert_int_equal(f->info.dma_batch, 64);
    assert_int_equal(f->info.page_size, 16384);
    assert_int_equal(f->info.irqs[VD_IRQ_REQ].count, 0);
    assert_int_equal(f->info.irqs[VD_IRQ_ERR].count, 1);
    assert_int_equal(f->info.regions[VD_REGION_ROM].size, 0);
    assert_string_equal(f->info.model, "");
    assert_int_equal(dext_host_faults(f->host), 0);
    for (unsigned i = VD_DEXT_GET_FEATURES + 1; i < VD_DEXT_SELECTOR_END; i++)
        assert_int_equal(f->count[i], 0);
    done(f);
}

static void an_older_extensions_device_is_read_from_config_space(void **state)
{
    struct fake *f = fresh(fake_init_old);

    opened(f);
    assert_int_equal(f->info.vendor, 0x1b36);
    assert_int_equal(f->info.class_code, 0x010802);
    assert_int_equal(f->info.subvendor, 0x5678);
    assert_int_equal(f->info.subdevice, 0x1234);
    assert_int_equal(f->info.irqs[VD_IRQ_MSI].count, 8);
    assert_int_equal(f->info.irqs[VD_IRQ_MSIX].count, 33);
    done(f);
}

static void a_looping_or_garbled_capability_list_ends(void **state)
{
    struct fake *f = fresh(fake_init_old);

    f->config[0x51] = 0x40; /* back to the first */
    opened(f);
    assert_int_equal(f->info.irqs[VD_IRQ_MSIX].count, 33);
    assert_true(f->count[VD_DEXT_CONFIG_READ] < 64);
    fake_close(f);
    memset(f->config + 0x40, 0xff, 0xc0);
    opened(f);
    assert_int_equal(f->info.irqs[VD_IRQ_MSIX].count, 0);
    fake_close(f);
    f->config[6] = 0; /* no list */
    opened(f);
    done(f);
}

static void the_device_comes_up_with_memory_on_and_bus_mastering_off(void **state)
{
    struct fake *f = *state;

    assert_int_equal(fake_command(f), 2);
    fake_close(f);
    f->master_sticks = true;
    refused(f, -EIO, "switching bus mastering off");
}

static void a_device_that_reads_as_all_ones_is_not_opened(void **state)
{
    struct fake *f = fresh(fake_init);

    memset(f->config, 0xff, sizeof(f->config));
    refused(f, -EIO, "does not answer");
    done(f);
}

static void a_device_in_use_is_ebusy(void **state)
{
    struct fake *f = fresh(fake_init);

    f->claim_status = VD_DEXT_EXCLUSIVE_ACCESS;
    refused(f, -EBUSY, "in use by another client");
    done(f);
}

static void a_refused_claim_says_why(void **state)
{
    struct fake *f = fresh(fake_init);

    f->claim_status = VD_DEXT_NOT_PERMITTED;
    refused(f, -EACCES, "kIOReturnNotPermitted");
    f->claim_status = VD_DEXT_NO_DEVICE;
    refused(f, -ENOENT, "removed");
    f->claim_status = VD_DEXT_NO_MEMORY;
    refused(f, -ENOMEM, "memory");
    f->claim_status = (int)0xe0000999u;
    refused(f, -EIO, "unknown code (0xe0000999)");
    done(f);
}

static void what_an_earlier_client_left_in_the_page_is_void(void **state)
{
    struct fake *f = fresh(fake_init);

    memset(f->page, 0xff, 64);
    opened(f);
    for (unsigned w = 0; w < VD_DEXT_IRQ_WORDS; w++)
        assert_true(f->page->pending[w] == 0 && f->page->enabled[w] == 0);
    done(f);
}

static void reset_leaves_memory_on_and_bus_mastering_off(void **state)
{
    struct fake *f = *state;

    f->config[4] |= 4;
    assert_int_equal(dext_host_reset(f->host), 0);
    assert_int_equal(f->count[VD_DEXT_RESET_DEVICE], 1);
    assert_int_equal(fake_command(f), 2);
}

static void reset_keeps_the_enabled_vectors_and_drops_what_was_pending(void **state)
{
    struct fake *f = *state;

    assert_int_equal(dext_irq_enable(f->host, VD_IRQ_MSIX, 3), 0);
    f->page->enabled[0] = 0; /* the extension's reset took it along */
    fake_fire(f, 1);
    fake_fire(f, 9);
    assert_int_equal(dext_host_reset(f->host), 0);
    assert_int_equal(f->page->enabled[0], 7);
    assert_int_equal(f->page->pending[0], 0);
    assert_false(dext_irq_dispatch(f->host, false));
    fake_fire(f, 1);
    assert_true(dext_irq_dispatch(f->host, false));
    assert_int_equal(f->delivered[VD_IRQ_MSIX][1], 1);
}

static void reset_sets_the_mask_of_an_older_extension_again(void **state)
{
    struct fake *f = *state;

    assert_int_equal(dext_irq_enable(f->host, VD_IRQ_MSIX, 3), 0);
    memset(f->mask, 0, sizeof(f->mask));
    assert_int_equal(dext_host_reset(f->host), 0);
    assert_int_equal(f->mask[0], 7);
}

static void reset_voids_what_calls_took_of_disabled_vectors(void **state)
{
    struct fake *f = *state;

    assert_int_equal(dext_irq_enable(f->host, VD_IRQ_MSIX, 4), 0);
    dext_irq_dispatch(f->host, true);
    fake_fire(f, 3);
    f->fail_call = 1; /* the extension still holds vector 3 enabled */
    f->call_status = VD_DEXT_IO_ERROR;
    assert_int_equal(dext_irq_enable(f->host, VD_IRQ_MSIX, 0), 0);
    dext_irq_dispatch(f->host, true);
    assert_int_equal(f->count[VD_DEXT_CHECK_INTERRUPT], 2);
    assert_int_equal(dext_host_reset(f->host), 0);
    assert_int_equal(dext_irq_enable(f->host, VD_IRQ_MSIX, 4), 0);
    assert_int_equal(f->delivered[VD_IRQ_MSIX][3], 0);
}

static void an_answer_with_too_few_results_is_eio(void **state)
{
    static const uint32_t selectors[] = {VD_DEXT_GET_FEATURES, VD_DEXT_SETUP_INTERRUPTS, VD_DEXT_GET_BAR_INFO,
                                         VD_DEXT_CONFIG_READ, VD_DEXT_GET_LIMITS};
    struct fake *f = fresh(fake_init);

    for (unsigned i = 0; i < sizeof(selectors) / sizeof(selectors[0]); i++) {
        f->short_selector = selectors[i];
        refused(f, -EIO, "kIOReturnIPCError");
    }
    done(f);
}

static void a_failed_reset_is_eio_and_a_removed_device_enodev(void **state)
{
    struct fake *f = *state;

    f->reset_status = VD_DEXT_TIMEOUT;
    assert_int_equal(dext_host_reset(f->host), -EIO);
    assert_int_equal(f->gone, 0);
    f->reset_status = VD_DEXT_NO_DEVICE;
    assert_int_equal(dext_host_reset(f->host), -ENODEV);
    assert_int_equal(f->gone, 1);
    f->reset_status = 0;
    assert_int_equal(dext_host_reset(f->host), -ENODEV);
    assert_int_equal(f->count[VD_DEXT_RESET_DEVICE], 2);
    assert_int_equal(f->gone, 1);
}

static void faults_are_the_pages(void **state)
{
    struct fake *f = *state;

    f->page->use.faults = 17;
    assert_int_equal(dext_host_faults(f->host), 17);
    f->page->use.faults = UINT64_MAX; /* it cannot know */
    assert_int_equal(dext_host_faults(f->host), 0);
    assert_int_equal(dext_host_faults(NULL), 0);
    fake_close(f);
    f->features &= ~(uint64_t)VD_DEXT_FEATURE_PAGE_USE;
    f->page->use.faults = 17;
    opened(f);
    assert_int_equal(dext_host_faults(f->host), 0);
}

static void nothing_stays_behind_when_memory_runs_out(void **state)
{
    struct fake *f = fresh(fake_init);
    unsigned failures = 0;
    int err;

    do {
        struct vd_failure failure = {0};

        f->steps = 0;
        f->fail_at = failures + 1;
        err = fake_open(f, "apple:02:00.0", &failure);
        assert_int_equal(failure.code, err);
        if (err) {
            assert_int_equal(err, -ENOMEM);
            assert_int_equal(f->links + f->mappings + f->live, 0);
            failures++;
        }
    } while (err);
    assert_true(failures >= 6); /* host, list, link, three buffers */
    f->fail_at = 0;
    done(f);
}

/* Opens with the n-th call failing, for every n; true when `status` made at least one of them fail. */
static unsigned fail_each_call(void (*init)(struct fake *), int status)
{
    struct fake *f = fresh(init);
    unsigned refusals = 0;
    bool reached = true;

    for (unsigned n = 1; reached; n++) {
        struct vd_failure failure = {0};
        int err;

        assert_true(n < 200);
        f->fail_call = n;
        f->call_status = status;
        f->dead = false;
        err = fake_open(f, "apple:02:00.0", &failure);
        reached = f->fail_call == 0;
        assert_true(err <= 0 && failure.code == err);
        if (err) {
            assert_true(failure.text[0]);
            assert_true(err == -EIO || err == -ENOENT || err == -ENOMEM || err == -EBUSY);
            assert_int_equal(f->links + f->mappings + f->live, 0);
            refusals++;
        }
        fake_close(f);
        assert_int_equal(f->gone, 0); /* core has no device yet that it could be told of */
        f->fail_call = 0;
    }
    done(f);
    return refusals;
}

static void nothing_stays_behind_whichever_call_fails(void **state)
{
    static const int statuses[] = {VD_DEXT_NO_MEMORY, VD_DEXT_NO_DEVICE, VD_DEXT_NOT_ATTACHED,
                                   VD_DEXT_TIMEOUT, VD_DEXT_IPC_ERROR};
    static const int mild[] = {VD_DEXT_UNSUPPORTED, VD_DEXT_BAD_ARGUMENT, VD_DEXT_IO_ERROR,
                               VD_DEXT_NOT_READY};
    unsigned all = fail_each_call(fake_init, statuses[0]);

    assert_true(all >= 15);
    assert_true(fail_each_call(fake_init_old, statuses[0]) >= 15);
    for (unsigned i = 1; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        assert_true(fail_each_call(fake_init, statuses[i]) >= all - 2);
        fail_each_call(fake_init_old, statuses[i]);
    }
    for (unsigned i = 0; i < sizeof(mild) / sizeof(mild[0]); i++) {
        unsigned refused_by = fail_each_call(fake_init, mild[i]);

        assert_true(refused_by > 0 && refused_by < all); /* some of it can be done without */
        fail_each_call(fake_init_old, mild[i]);
    }
}

static void close_closes_the_link_with_everything_on_it(void **state)
{
    struct fake *f = *state;

    assert_int_equal(f->links, 1);
    assert_true(f->mappings > 0 && f->claimed);
    fake_close(f);
    assert_int_equal(f->links + f->mappings + f->live, 0);
    assert_false(f->claimed);
}

static void memory_without_a_file_will_do_for_a_link_in_process(void **state)
{
    struct fake *f = fresh(fake_init);

    f->choose = fake_choose_iokit;
    opened(f);
    assert_false(f->info.dma.needs_file);
    done(f);
}

#define OPENED(test)     cmocka_unit_test_setup_teardown(test, fake_setup, fake_teardown)
#define OPENED_OLD(test) cmocka_unit_test_setup_teardown(test, fake_setup_old, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPENED(identity_is_the_descriptions),
        OPENED(dma_is_assigned_with_the_extensions_limits),
        cmocka_unit_test(a_model_that_is_not_text_is_made_harmless),
        cmocka_unit_test(page_size_is_the_extensions_where_it_makes_sense),
        cmocka_unit_test(limits_that_make_no_sense_are_not_believed),
        cmocka_unit_test(a_small_batch_is_respected),
        cmocka_unit_test(vectors_are_the_fewer_of_device_and_host),
        cmocka_unit_test(a_device_without_interrupts_opens),
        cmocka_unit_test(an_older_extension_gets_by_with_less),
        cmocka_unit_test(an_older_extensions_device_is_read_from_config_space),
        cmocka_unit_test(a_looping_or_garbled_capability_list_ends),
        OPENED(the_device_comes_up_with_memory_on_and_bus_mastering_off),
        cmocka_unit_test(a_device_that_reads_as_all_ones_is_not_opened),
        cmocka_unit_test(a_device_in_use_is_ebusy),
        cmocka_unit_test(a_refused_claim_says_why),
        cmocka_unit_test(what_an_earlier_client_left_in_the_page_is_void),
        OPENED(reset_leaves_memory_on_and_bus_mastering_off),
        OPENED(reset_keeps_the_enabled_vectors_and_drops_what_was_pending),
        OPENED_OLD(reset_sets_the_mask_of_an_older_extension_again),
        OPENED_OLD(reset_voids_what_calls_took_of_disabled_vectors),
        cmocka_unit_test(an_answer_with_too_few_results_is_eio),
        OPENED(a_failed_reset_is_eio_and_a_removed_device_enodev),
        OPENED(faults_are_the_pages),
        cmocka_unit_test(nothing_stays_behind_when_memory_runs_out),
        cmocka_unit_test(nothing_stays_behind_whichever_call_fails),
        OPENED(close_closes_the_link_with_everything_on_it),
        cmocka_unit_test(memory_without_a_file_will_do_for_a_link_in_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
