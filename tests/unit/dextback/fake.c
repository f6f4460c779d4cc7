/* SPDX-License-Identifier: BSD-3-Clause */
/* What is around the back end in tests: env, events, the fake device as it starts, and opening and closing. See fake.h. */
#include "fake.h"

#include <sys/eventfd.h>
#include <unistd.h>

/* Around the back end. */

static void *count_alloc(void *opaque, size_t size)
{
    struct fake *f = opaque;

    f->live++;
    return calloc(1, size);
}

static void count_free(void *opaque, void *memory)
{
    struct fake *f = opaque;

    f->live--;
    free(memory);
}

static bool fault(void *opaque, const char *site)
{
    struct fake *f = opaque;

    return ++f->steps == f->fail_at;
}

static void note_line(void *opaque, enum vd_env_level level, const char *line)
{
    struct fake *f = opaque;

    f->lines[level]++;
    snprintf(f->line, sizeof(f->line), "%s", line);
}

static void on_irq(void *opaque, unsigned index, uint32_t vector)
{
    struct fake *f = opaque;

    assert_true(index < VD_IRQ_COUNT && vector < VD_DEXT_VECTORS);
    f->delivered[index][vector]++;
}

static void on_intx(void *opaque, bool asserted)
{
    fail_msg("there is no INTx here");
}

static void on_gone(void *opaque)
{
    struct fake *f = opaque;

    f->gone++;
}

static void init_env(struct fake *f)
{
    vd_env_init_default(&f->env);
    f->env.alloc = count_alloc;
    f->env.free = count_free;
    f->env.fault = fault;
    f->env.log = note_line;
    f->env.level = VD_ENV_INFO;
    f->env.opaque = f;
}

static void init_bar(struct fake *f, unsigned bar, uint64_t size, uint32_t type, bool has_fd)
{
    f->bars[bar] = (struct fake_bar){
        .size = size, .type = type, .memory_index = bar == 0 ? 0 : bar + 10, .has_fd = has_fd};
    if (bar < VD_DEXT_ROM && !(type & VD_DEXT_BAR_IO))
        assert_int_equal(posix_memalign((void **)&f->bars[bar].memory, 16384, size), 0);
    f->description.bars[bar].size = vd_put64(size);
    f->description.bars[bar].type = vd_put32(type);
}

/* BAR 0: 64 KiB registers; 1: I/O; 2: 128 KiB prefetchable, 64 bits; 4: 4 KiB. MSI 8, MSI-X 33, subsystem 5678:1234. */
static void init_device(struct fake *f)
{
    static const uint8_t capabilities[] = {[0] = 0x05, 0x50, 0x06, 0x00, [0x10] = 0x11, 0x00, 0x20, 0x00};

    init_bar(f, 0, 0x10000, 0, true);
    init_bar(f, 1, 0x100, VD_DEXT_BAR_IO, false);
    init_bar(f, 2, 0x20000, VD_DEXT_BAR_64 | VD_DEXT_BAR_PREFETCHABLE, true);
    init_bar(f, 4, 0x1000, 0, true);
    init_bar(f, VD_DEXT_ROM, sizeof(f->rom), 0, false);
    f->description.vendor_id = vd_put16(0x1b36);
    f->description.device_id = vd_put16(0x0010);
    f->description.subvendor_id = vd_put16(0x5678);
    f->description.subdevice_id = vd_put16(0x1234);
    f->description.class_code = vd_put32(0x010802);
    f->description.msi_vectors = vd_put16(8);
    f->description.msix_vectors = vd_put16(33);
    f->description.link_speed = 4;
    f->description.link_width = 8;
    strcpy(f->description.model, "Fake disk");
    vd_store32(f->config, 0x00101b36);
    vd_store16(f->config + 6, 0x10);
    vd_store32(f->config + 0x2c, 0x12345678);
    f->config[0x34] = 0x40;
    memcpy(f->config + 0x40, capabilities, sizeof(capabilities));
}

void fake_init(struct fake *f)
{
    memset(f, 0, sizeof(*f));
    f->choose = fake_choose_socket;
    pthread_mutex_init(&f->lock, NULL);
    init_env(f);
    init_device(f);
    f->nr_instances = 1;
    f->instances[0] = (struct fake_instance){.bus = 2};
    f->features = 511;
    f->batch = VD_DEXT_MAX_BATCH;
    f->page_size = 16384;
    f->vectors = 33;
    f->limits[VD_DEXT_LIMIT_GRANULE] = 16384;
    f->limits[VD_DEXT_LIMIT_BYTES] = 1 << 30;
    f->limits[VD_DEXT_LIMIT_MAPPINGS] = 5000;
    f->limits[VD_DEXT_LIMIT_SEGMENTS] = 4;
    f->limits[VD_DEXT_LIMIT_FIRST] = 0x1000;
    f->limits[VD_DEXT_LIMIT_LAST] = 0xffffffff;
    f->next_address = FAKE_BASE;
    f->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_true(f->wake_fd >= 0);
    assert_int_equal(posix_memalign((void **)&f->page, 16384, VD_DEXT_IRQ_PAGE_SIZE), 0);
    memset(f->page, 0, VD_DEXT_IRQ_PAGE_SIZE);
}

void fake_init_old(struct fake *f)
{
    fake_init(f);
    f->old = true;
}

void fake_finish(struct fake *f)
{
    fake_close(f);
    assert_int_equal(f->links, 0);
    assert_int_equal(f->mappings, 0);
    assert_int_equal(f->live, 0);
    for (unsigned i = 0; i < 7; i++)
        free(f->bars[i].memory);
    free(f->page);
    close(f->wake_fd);
    pthread_mutex_destroy(&f->lock);
}

int fake_open(struct fake *f, const char *address, struct vd_failure *failure)
{
    struct vd_host_events events = {.irq = on_irq, .intx = on_intx, .gone = on_gone, .opaque = f};

    f->host = NULL;
    return dext_host_open(f->choose, &f->env, address, &events, &f->host, &f->info, failure);
}

void fake_close(struct fake *f)
{
    if (f->host)
        dext_host_close(f->host);
    f->host = NULL;
}

static int setup_open(void **state, void (*init)(struct fake *))
{
    struct fake *f = calloc(1, sizeof(*f));
    struct vd_failure failure = {0};

    assert_non_null(f);
    init(f);
    if (fake_open(f, "apple:02:00.0", &failure))
        fail_msg("%s", failure.text);
    fake_forget(f);
    *state = f;
    return 0;
}

int fake_setup(void **state)
{
    return setup_open(state, fake_init);
}

int fake_setup_old(void **state)
{
    return setup_open(state, fake_init_old);
}

int fake_teardown(void **state)
{
    fake_finish(*state);
    free(*state);
    return 0;
}

uint16_t fake_command(const struct fake *f)
{
    return vd_load16(f->config + 4);
}

void fake_forget(struct fake *f)
{
    f->calls = f->waits = f->polls = f->nr_log = 0;
    memset(f->count, 0, sizeof(f->count));
    memset(f->lines, 0, sizeof(f->lines));
    f->most_bytes_in = f->most_bytes_out = 0;
    f->peak_regions = f->nr_regions;
}

const struct fake_call *fake_call_at(const struct fake *f, uint32_t selector, unsigned n)
{
    for (unsigned i = 0; i < f->nr_log; i++)
        if (f->log[i].selector == selector && n-- == 0)
            return &f->log[i];
    return NULL;
}
