/* SPDX-License-Identifier: BSD-3-Clause */
/* The NVM command set: reads, writes, zeroes, deallocation, flushes, and what each refuses. */
#include "rig.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DATA = RIG_DATA, OTHER = RIG_DATA + 0x10000 };

static uint16_t io(struct rig *rig, uint8_t opcode, uint64_t lba, unsigned blocks, uint32_t flags)
{
    return rig_do(rig, 1,
                  rig_command(opcode, 1, rig_bus(DATA), rig_bus(DATA + 4096), (uint32_t)lba,
                              (uint32_t)(lba >> 32), (blocks - 1) | flags));
}

static void fill(struct rig *rig, uint64_t offset, int byte, size_t size)
{
    memset(rig_at(rig, offset), byte, size);
}

static bool all(struct rig *rig, uint64_t offset, uint8_t byte, size_t size)
{
    const uint8_t *p = rig_at(rig, offset);

    for (size_t i = 0; i < size; i++) {
        if (p[i] != byte)
            return false;
    }
    return true;
}

static void what_is_written_is_read_back(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "sector=4096", 1, 16);
    fill(&rig, DATA, 0xa1, 4096);
    fill(&rig, DATA + 4096, 0xa2, 4096);
    assert_int_equal(io(&rig, NVME_IO_WRITE, 5, 2, 0), NVME_OK);
    fill(&rig, DATA, 0, 8192);
    assert_int_equal(io(&rig, NVME_IO_READ, 6, 1, 0), NVME_OK);
    assert_true(all(&rig, DATA, 0xa2, 4096));
    assert_true(all(&rig, DATA + 4096, 0, 4096));
    rig_stop(&rig);
}

/* Three commands of 512 KiB at once; what a worker copies and what the controller's thread copies arrive alike. */
static void submit_long(struct rig *rig, uint8_t opcode, uint64_t data)
{
    enum { LIST = 0x190000, PAGES = 128 };

    for (unsigned i = 0; i < 3; i++) {
        uint64_t list = LIST + i * 4096, at = data + i * PAGES * 4096;

        for (unsigned page = 1; page < PAGES; page++)
            vd_store64((uint8_t *)rig_at(rig, list) + 8 * (page - 1), rig_bus(at + page * 4096));
        rig_submit(rig, 1,
                   rig_command(opcode, 1, rig_bus(at), rig_bus(list), i * PAGES * 8, 0, PAGES * 8 - 1));
    }
}

static void a_long_copy_is_lent_while_others_wait(void **state)
{
    static const uint8_t opcodes[] = {NVME_IO_WRITE, NVME_IO_READ};
    enum { SIZE = 3 * 512 * 1024, BACK = DATA + SIZE };
    struct rig rig;

    rig_start_io(&rig, "", 1, 16);
    for (unsigned i = 0; i < SIZE; i++)
        ((uint8_t *)rig_at(&rig, DATA))[i] = (uint8_t)(i >> 12 ^ i);
    for (unsigned n = 0; n < 2; n++) {
        submit_long(&rig, opcodes[n], n ? BACK : DATA);
        assert_true(sim_nvme_ops.dispatch(rig.endpoint, false));
        assert_non_null(rig_nvme(&rig)->lent);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(rig_complete(&rig, 1).status, NVME_OK);
        assert_null(rig_nvme(&rig)->lent);
    }
    assert_memory_equal(rig_at(&rig, BACK), rig_at(&rig, DATA), SIZE);
    rig_stop(&rig);
}

static void the_last_block_is_the_last(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "size=1M", 1, 16);
    assert_int_equal(io(&rig, NVME_IO_READ, 2047, 1, 0), NVME_OK);
    assert_int_equal(io(&rig, NVME_IO_READ, 2047, 2, 0), DNR(NVME_SC_LBA_RANGE));
    assert_int_equal(io(&rig, NVME_IO_WRITE, 2048, 1, 0), DNR(NVME_SC_LBA_RANGE));
    assert_int_equal(io(&rig, NVME_IO_WRITE_ZEROES, UINT64_MAX, 2, 0), DNR(NVME_SC_LBA_RANGE));
    assert_int_equal(io(&rig, NVME_IO_READ, UINT64_C(1) << 55, 1, 0), DNR(NVME_SC_LBA_RANGE));
    rig_stop(&rig);
}

static void wrong_namespaces_opcodes_and_flags_fail(void **state)
{
    struct rig rig;
    struct nvme_command command = rig_command(NVME_IO_READ, 1, rig_bus(DATA), 0, 0, 0, 0);

    rig_start_io(&rig, "", 1, 16);
    command.nsid = vd_put32(2);
    assert_int_equal(rig_do(&rig, 1, command), DNR(NVME_SC_NAMESPACE));
    command.nsid = vd_put32(UINT32_MAX);
    assert_int_equal(rig_do(&rig, 1, command), DNR(NVME_SC_NAMESPACE));
    command.nsid = vd_put32(1);
    command.flags = 2;
    assert_int_equal(rig_do(&rig, 1, command), DNR(NVME_SC_FIELD));
    command.flags = 0x80;
    assert_int_equal(rig_do(&rig, 1, command), DNR(NVME_SC_FIELD));
    assert_int_equal(rig_do(&rig, 1, rig_command(0x05, 1, 0, 0, 0, 0, 0)), DNR(NVME_SC_OPCODE)); /* Compare */
    assert_int_equal(rig_do(&rig, 1, rig_command(0xff, 1, 0, 0, 0, 0, 0)), DNR(NVME_SC_OPCODE));
    rig_stop(&rig);
}

static void flush_takes_the_namespace_or_all(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 1, 16);
    assert_int_equal(rig_do(&rig, 1, rig_command(NVME_IO_FLUSH, 1, 0, 0, 0, 0, 0)), NVME_OK);
    assert_int_equal(rig_do(&rig, 1, rig_command(NVME_IO_FLUSH, UINT32_MAX, 0, 0, 0, 0, 0)), NVME_OK);
    assert_int_equal(rig_do(&rig, 1, rig_command(NVME_IO_FLUSH, 0, 0, 0, 0, 0, 0)), DNR(NVME_SC_NAMESPACE));
    rig_stop(&rig);
}

static void zeroes_replace_exactly_their_blocks(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 1, 16);
    for (uint32_t flags = 0; flags <= 1u << 25; flags += 1u << 25) {
        fill(&rig, DATA, 0x99, 8192);
        assert_int_equal(io(&rig, NVME_IO_WRITE, 0, 16, 0), NVME_OK);
        assert_int_equal(io(&rig, NVME_IO_WRITE_ZEROES, 3, 10, flags), NVME_OK);
        assert_int_equal(io(&rig, NVME_IO_READ, 0, 16, 0), NVME_OK);
        assert_true(all(&rig, DATA, 0x99, 3 * 512));
        assert_true(all(&rig, DATA + 3 * 512, 0, 10 * 512));
        assert_true(all(&rig, DATA + 13 * 512, 0x99, 3 * 512));
    }
    /* No data, hence no MDTS: 32 MiB at once. */
    assert_int_equal(io(&rig, NVME_IO_WRITE_ZEROES, 0, 65536, 0), NVME_OK);
    assert_int_equal(io(&rig, NVME_IO_READ, 0, 16, 0), NVME_OK);
    assert_true(all(&rig, DATA, 0, 8192));
    rig_stop(&rig);
}

static void put_range(struct rig *rig, unsigned index, uint32_t blocks, uint64_t first)
{
    struct nvme_dsm_range range = {.blocks = vd_put32(blocks), .first = vd_put64(first)};

    memcpy((uint8_t *)rig_at(rig, OTHER) + index * sizeof(range), &range, sizeof(range));
}

static uint16_t dsm(struct rig *rig, unsigned ranges, uint32_t attributes)
{
    return rig_do(
        rig, 1,
        rig_command(NVME_IO_DSM, 1, rig_bus(OTHER), rig_bus(OTHER + 4096), ranges - 1, attributes, 0));
}

static void deallocated_ranges_read_zeroes(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 1, 16);
    fill(&rig, DATA, 0x42, 8192);
    assert_int_equal(io(&rig, NVME_IO_WRITE, 0, 16, 0), NVME_OK);
    put_range(&rig, 0, 2, 1);
    put_range(&rig, 1, 0, 5); /* empty ranges are allowed */
    put_range(&rig, 2, 4, 10);
    assert_int_equal(dsm(&rig, 3, 1), NVME_OK); /* only a hint: nothing changes */
    assert_int_equal(io(&rig, NVME_IO_READ, 0, 16, 0), NVME_OK);
    assert_true(all(&rig, DATA, 0x42, 8192));
    assert_int_equal(dsm(&rig, 3, 4), NVME_OK);
    assert_int_equal(io(&rig, NVME_IO_READ, 0, 16, 0), NVME_OK);
    assert_true(all(&rig, DATA, 0x42, 512) && all(&rig, DATA + 512, 0, 1024));
    assert_true(all(&rig, DATA + 3 * 512, 0x42, 7 * 512) && all(&rig, DATA + 10 * 512, 0, 4 * 512));
    rig_stop(&rig);
}

static void one_bad_range_deallocates_nothing(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "size=1M", 1, 16);
    fill(&rig, DATA, 0x42, 512);
    assert_int_equal(io(&rig, NVME_IO_WRITE, 0, 1, 0), NVME_OK);
    for (unsigned i = 0; i < 255; i++)
        put_range(&rig, i, 1, 0);
    put_range(&rig, 255, 2, 2047);
    assert_int_equal(dsm(&rig, 256, 4), DNR(NVME_SC_LBA_RANGE));
    put_range(&rig, 255, UINT32_MAX, UINT64_MAX);
    assert_int_equal(dsm(&rig, 256, 4), DNR(NVME_SC_LBA_RANGE));
    assert_int_equal(io(&rig, NVME_IO_READ, 0, 1, 0), NVME_OK);
    assert_true(all(&rig, DATA, 0x42, 512));
    rig_stop(&rig);
}

static void changes_to_a_read_only_namespace_fail(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "readonly=on", 1, 16);
    assert_int_equal(io(&rig, NVME_IO_WRITE, 0, 1, 0), DNR(NVME_SC_WRITE_PROTECTED));
    assert_int_equal(io(&rig, NVME_IO_WRITE_ZEROES, 0, 1, 0), DNR(NVME_SC_WRITE_PROTECTED));
    assert_int_equal(dsm(&rig, 1, 4), DNR(NVME_SC_WRITE_PROTECTED));
    assert_int_equal(io(&rig, NVME_IO_READ, 0, 1, 0), NVME_OK);
    assert_int_equal(rig_do(&rig, 1, rig_command(NVME_IO_FLUSH, 1, 0, 0, 0, 0, 0)), NVME_OK);
    assert_int_equal(rig_do(&rig, 0, rig_command(NVME_ADMIN_IDENTIFY, 1, rig_bus(DATA), 0, 0, 0, 0)),
                     NVME_OK);
    assert_int_equal(((struct nvme_id_namespace *)rig_at(&rig, DATA))->nsattr, 1);
    rig_stop(&rig);
}

/* Files: everything that needs a worker. */

struct image {
    char path[64], options[128];
    int fd;
};

static void image_make(struct image *image, const char *more)
{
    snprintf(image->path, sizeof(image->path), "nvme-io-test.XXXXXX");
    image->fd = mkstemp(image->path);
    assert_true(image->fd >= 0);
    assert_int_equal(ftruncate(image->fd, 4 << 20), 0);
    snprintf(image->options, sizeof(image->options), "image=%s%s", image->path, more);
}

static void image_drop(struct image *image)
{
    close(image->fd);
    unlink(image->path);
}

static void file_holds_what_was_written(void **state)
{
    struct rig rig;
    struct image image = {0};
    uint8_t block[512];

    image_make(&image, "");
    rig_start_io(&rig, image.options, 1, 16);
    fill(&rig, DATA, 0x3c, 512);
    assert_int_equal(io(&rig, NVME_IO_WRITE, 17, 1, 1u << 30), NVME_OK);
    assert_int_equal(rig_do(&rig, 1, rig_command(NVME_IO_FLUSH, 1, 0, 0, 0, 0, 0)), NVME_OK);
    assert_int_equal(pread(image.fd, block, sizeof(block), 17 * 512), 512);
    assert_memory_equal(block, rig_at(&rig, DATA), 512);
    assert_int_equal(io(&rig, NVME_IO_WRITE_ZEROES, 0, 4096, 0), NVME_OK);
    assert_int_equal(io(&rig, NVME_IO_READ, 17, 1, 0), NVME_OK);
    assert_true(all(&rig, DATA, 0, 512));
    rig_stop(&rig);
    image_drop(&image);
}

static void deallocation_gives_blocks_of_the_file_back(void **state)
{
    struct rig rig;
    struct image image = {0};
    struct stat before, after;

    image_make(&image, "");
    assert_int_equal(fallocate(image.fd, 0, 0, 4 << 20), 0);
    rig_start_io(&rig, image.options, 1, 16);
    assert_int_equal(fstat(image.fd, &before), 0);
    put_range(&rig, 0, 8192, 0);
    assert_int_equal(dsm(&rig, 1, 4), NVME_OK);
    assert_int_equal(fstat(image.fd, &after), 0);
    assert_true(after.st_blocks < before.st_blocks);
    assert_int_equal(after.st_size, before.st_size);
    rig_stop(&rig);
    image_drop(&image);
}

static void reads_that_would_wait_go_through_workers(void **state)
{
    struct rig rig;
    struct image image = {0};

    image_make(&image, "");
    rig_start_io(&rig, image.options, 1, 16);
    rig.fail_site = "nvme_try_read"; /* as if never cached */
    fill(&rig, DATA, 0x11, 4096);
    assert_int_equal(io(&rig, NVME_IO_WRITE, 0, 8, 0), NVME_OK);
    fill(&rig, DATA, 0, 4096);
    assert_int_equal(io(&rig, NVME_IO_READ, 0, 8, 0), NVME_OK);
    assert_true(all(&rig, DATA, 0x11, 4096));
    assert_int_equal(rig.port.pins, 0);
    rig_stop(&rig);
    image_drop(&image);
}

static void failed_transfers_are_media_errors(void **state)
{
    static const struct {
        const char *site;
        uint8_t opcode;
        uint16_t status;
        uint32_t flags;
    } rows[] = {
        {"nvme_write", NVME_IO_WRITE, NVME_SC_WRITE_FAULT, 0},
        {"nvme_zero", NVME_IO_WRITE_ZEROES, NVME_SC_WRITE_FAULT, 0},
        /* Not to be retried: the host reports a lost page once, a second sync would succeed without it. */
        {"nvme_sync", NVME_IO_WRITE, DNR(NVME_SC_WRITE_FAULT), 1u << 30},
        {"nvme_sync", NVME_IO_FLUSH, DNR(NVME_SC_WRITE_FAULT), 0},
        {"nvme_sync", NVME_IO_WRITE_ZEROES, DNR(NVME_SC_WRITE_FAULT), 1u << 30},
        {"nvme_sync", NVME_IO_READ, DNR(NVME_SC_WRITE_FAULT), 1u << 30}, /* FUA, 6.9: committed first */
    };
    struct rig rig;
    struct image image = {0};

    image_make(&image, "");
    rig_start_io(&rig, image.options, 1, 16);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        rig.fail_site = rows[i].site;
        assert_int_equal(io(&rig, rows[i].opcode, 0, 1, rows[i].flags), rows[i].status);
        rig.fail_site = NULL;
        assert_int_equal(io(&rig, rows[i].opcode, 0, 1, rows[i].flags), NVME_OK);
        assert_int_equal(rig_nvme(&rig)->counters.media_errors, i + 1);
    }
    rig_stop(&rig);
    image_drop(&image);
}

static void failed_read_is_an_unrecovered_read_error(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 1, 16);
    rig.fail_site = "nvme_read";
    assert_int_equal(io(&rig, NVME_IO_READ, 0, 1, 0), NVME_SC_READ_ERROR);
    rig_stop(&rig);
}

static void file_that_was_cut_is_a_read_error(void **state)
{
    struct rig rig;
    struct image image = {0};

    image_make(&image, "");
    rig_start_io(&rig, image.options, 1, 16);
    assert_int_equal(ftruncate(image.fd, 4096), 0);
    assert_int_equal(io(&rig, NVME_IO_READ, 0, 8, 0), NVME_OK);
    assert_int_equal(io(&rig, NVME_IO_READ, 4, 8, 0), NVME_SC_READ_ERROR);
    assert_int_equal(io(&rig, NVME_IO_READ, 4096, 8, 0), NVME_SC_READ_ERROR);
    rig_stop(&rig);
    image_drop(&image);
}

/* A file size limit stands in for a full disk: writes beyond it fail, and SIGXFSZ must not end the process. */
static void write_beyond_what_the_host_allows_is_a_write_fault(void **state)
{
    struct rig rig;
    struct image image = {0};
    struct rlimit before, limit;

    image_make(&image, "");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 1 << 20;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    rig_start_io(&rig, image.options, 1, 16);
    assert_int_equal(io(&rig, NVME_IO_WRITE, 0, 16, 0), NVME_OK);
    assert_int_equal(io(&rig, NVME_IO_WRITE, 4096, 16, 0), NVME_SC_WRITE_FAULT);
    rig.port.remote_from = DATA;
    rig.port.remote_to = DATA + 8192;
    assert_int_equal(io(&rig, NVME_IO_WRITE, 4096, 16, 0), NVME_SC_WRITE_FAULT);
    assert_int_equal(io(&rig, NVME_IO_WRITE, 0, 16, 0), NVME_OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    rig_stop(&rig);
    image_drop(&image);
}

static void write_with_the_cache_off_is_synced(void **state)
{
    struct rig rig;
    struct image image = {0};

    image_make(&image, "");
    rig_start_io(&rig, image.options, 1, 16);
    rig.fail_site = "nvme_sync"; /* tells whether a sync is tried */
    assert_int_equal(io(&rig, NVME_IO_WRITE, 0, 1, 0), NVME_OK);
    rig.fail_site = NULL;
    assert_int_equal(rig_admin(&rig, NVME_ADMIN_SET_FEATURES, 0, NVME_FEAT_WRITE_CACHE, 0, NULL), NVME_OK);
    rig.fail_site = "nvme_sync";
    assert_int_equal(io(&rig, NVME_IO_WRITE, 0, 1, 0), DNR(NVME_SC_WRITE_FAULT));
    assert_int_equal(io(&rig, NVME_IO_WRITE_ZEROES, 0, 1, 0), DNR(NVME_SC_WRITE_FAULT));
    rig_stop(&rig);
    image_drop(&image);
}

static void write_that_outlives_the_cache_is_synced(void **state)
{
    struct rig rig;
    struct image image = {0};

    image_make(&image, "");
    rig_start_io(&rig, image.options, 1, 16);
    rig_nvme(&rig)->disk.inline_writes = false;
    rig_submit(&rig, 1, rig_command(NVME_IO_WRITE, 1, rig_bus(DATA), 0, 0, 0, 0));
    sim_nvme_ops.dispatch(rig.endpoint, false);
    sim_nvme_ops.quiesce(rig.endpoint); /* written, but not completed yet */
    rig_nvme(&rig)->features.write_cache = false;
    rig.fail_site = "nvme_sync";
    assert_int_equal(rig_complete(&rig, 1).status, DNR(NVME_SC_WRITE_FAULT));
    rig_stop(&rig);
    image_drop(&image);
}

static bool is_idle(struct rig *rig, void *opaque)
{
    return rig_nvme(rig)->nr_free == NVME_REQUESTS;
}

static void sync_that_failed_unheard_fails_the_next(void **state)
{
    struct rig rig;
    struct image image = {0};
    struct nvme_command flush = rig_command(NVME_IO_FLUSH, 1, 0, 0, 0, 0, 0);

    image_make(&image, "");
    rig_start_io(&rig, image.options, 1, 16);
    rig.fail_site = "nvme_sync";
    rig_submit(&rig, 1, flush);
    sim_nvme_ops.dispatch(rig.endpoint, false);
    sim_nvme_ops.reset(rig.endpoint);
    rig_wait(&rig, is_idle, NULL);
    rig.fail_site = NULL;
    rig_enable(&rig);
    assert_int_equal(rig_create_cq(&rig, 1, 16, 1, true), NVME_OK);
    assert_int_equal(rig_create_sq(&rig, 1, 16, 1), NVME_OK);
    assert_int_equal(rig_do(&rig, 1, flush), DNR(NVME_SC_WRITE_FAULT));
    assert_int_equal(rig_do(&rig, 1, flush), NVME_OK);
    rig_stop(&rig);
    image_drop(&image);
}

static void blocks_beyond_32_bits_are_reached(void **state)
{
    struct rig rig;
    uint64_t last = (UINT64_C(1) << 35) - 1;

    rig_start_io(&rig, "size=16T", 1, 16);
    fill(&rig, DATA, 0x77, 512);
    assert_int_equal(io(&rig, NVME_IO_WRITE, last, 1, 0), NVME_OK);
    fill(&rig, DATA, 0, 512);
    assert_int_equal(io(&rig, NVME_IO_READ, last & UINT32_MAX, 1, 0), NVME_OK);
    assert_true(all(&rig, DATA, 0, 512));
    assert_int_equal(io(&rig, NVME_IO_READ, last, 1, 0), NVME_OK);
    assert_true(all(&rig, DATA, 0x77, 512));
    put_range(&rig, 0, UINT32_MAX, last - UINT32_MAX + 1);
    assert_int_equal(dsm(&rig, 1, 4), NVME_OK);
    assert_int_equal(io(&rig, NVME_IO_READ, last, 1, 0), NVME_OK);
    assert_true(all(&rig, DATA, 0, 512));
    rig_stop(&rig);
}

/* Giving back gigabytes takes long, also in memory. */
static void deallocation_never_holds_the_device_up(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 1, 16);
    put_range(&rig, 0, 65536, 0);
    rig_submit(&rig, 1, rig_command(NVME_IO_DSM, 1, rig_bus(OTHER), 0, 0, 4, 0));
    rig_submit(&rig, 1, rig_command(NVME_IO_WRITE_ZEROES, 1, 0, 0, 0, 0, 65535));
    sim_nvme_ops.dispatch(rig.endpoint, false);
    assert_int_equal(rig_nvme(&rig)->sqs[1].inflight, 2);
    assert_int_equal(rig_complete(&rig, 1).status, NVME_OK);
    assert_int_equal(rig_complete(&rig, 1).status, NVME_OK);
    rig_stop(&rig);
}

/* 1 MiB at `offset` of the arena through a list of its own. */
static struct nvme_command big(struct rig *rig, uint8_t opcode, unsigned index)
{
    uint64_t list = RIG_DATA + index * 4096u, data = RIG_DATA + ((index + 1) << 20);

    for (unsigned i = 1; i < 256; i++)
        vd_store64((uint8_t *)rig_at(rig, list) + (i - 1) * 8, rig_bus(data + i * 4096u));
    return rig_command(opcode, 1, rig_bus(data), rig_bus(list), index * 2048u, 0, 2047);
}

static void big_reads_in_flight_together_keep_their_data(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 1, 16);
    rig.fail_site = "nvme_try_read";
    rig_nvme(&rig)->disk.memory = false; /* so every read is a worker's */
    for (unsigned i = 0; i < 4; i++) {
        fill(&rig, RIG_DATA + ((i + 1) << 20), (int)(0x31 + i), 1 << 20);
        assert_int_equal(rig_do(&rig, 1, big(&rig, NVME_IO_WRITE, i)), NVME_OK);
    }
    fill(&rig, RIG_DATA + (1 << 20), 0, 4 << 20);
    for (unsigned i = 0; i < 4; i++)
        rig_submit(&rig, 1, big(&rig, NVME_IO_READ, i));
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(rig_complete(&rig, 1).status, NVME_OK);
    for (unsigned i = 0; i < 4; i++)
        assert_true(all(&rig, RIG_DATA + ((i + 1) << 20), (uint8_t)(0x31 + i), 1 << 20));
    assert_int_equal(rig.port.pins, 0);
    rig_stop(&rig);
}

static void missing_bounce_memory_fails_the_command_only(void **state)
{
    struct rig rig;

    rig_start_io(&rig, "", 1, 16);
    rig.port.remote_from = DATA;
    rig.port.remote_to = DATA + 4096;
    rig.fail_site = "alloc";
    assert_int_equal(io(&rig, NVME_IO_READ, 0, 1, 0), NVME_SC_INTERNAL);
    rig.fail_site = NULL;
    assert_int_equal(io(&rig, NVME_IO_READ, 0, 1, 0), NVME_OK);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(a_long_copy_is_lent_while_others_wait),
        cmocka_unit_test(the_last_block_is_the_last),
        cmocka_unit_test(wrong_namespaces_opcodes_and_flags_fail),
        cmocka_unit_test(flush_takes_the_namespace_or_all),
        cmocka_unit_test(zeroes_replace_exactly_their_blocks),
        cmocka_unit_test(deallocated_ranges_read_zeroes),
        cmocka_unit_test(one_bad_range_deallocates_nothing),
        cmocka_unit_test(changes_to_a_read_only_namespace_fail),
        cmocka_unit_test(file_holds_what_was_written),
        cmocka_unit_test(deallocation_gives_blocks_of_the_file_back),
        cmocka_unit_test(reads_that_would_wait_go_through_workers),
        cmocka_unit_test(failed_transfers_are_media_errors),
        cmocka_unit_test(failed_read_is_an_unrecovered_read_error),
        cmocka_unit_test(file_that_was_cut_is_a_read_error),
        cmocka_unit_test(write_beyond_what_the_host_allows_is_a_write_fault),
        cmocka_unit_test(write_with_the_cache_off_is_synced),
        cmocka_unit_test(write_that_outlives_the_cache_is_synced),
        cmocka_unit_test(sync_that_failed_unheard_fails_the_next),
        cmocka_unit_test(blocks_beyond_32_bits_are_reached),
        cmocka_unit_test(deallocation_never_holds_the_device_up),
        cmocka_unit_test(big_reads_in_flight_together_keep_their_data),
        cmocka_unit_test(missing_bounce_memory_fails_the_command_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
