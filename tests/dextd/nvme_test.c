/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk behind the daemon: its worker threads use shared client memory while connections end, devices are pulled and the
 * loop goes on. The driver here is as small as it can be: one I/O queue pair, polled.
 */
#include "rig.h"

#include <fcntl.h>
#include <unistd.h>

/* NVMe 1.4, 3.1 and 5: registers, opcodes. */
enum { CC = 0x14, CSTS = 0x1c, AQA = 0x24, ASQ = 0x28, ACQ = 0x30, DOORBELL = 0x1000 };
enum { CREATE_SQ = 0x01, CREATE_CQ = 0x05, FLUSH = 0x00, WRITE = 0x01, READ = 0x02 };
/* Where things lie in client memory, each a page but the data. */
enum { ADMIN_SQ = 0, ADMIN_CQ = 0x1000, IO_SQ = 0x2000, IO_CQ = 0x3000, DATA = 0x10000 };
enum { ENTRIES = 32, BLOCKS = 8, MEMORY = 1 << 20 };

struct disk {
    struct raw raw;
    struct raw_memory memory;
    uint64_t bus;
    unsigned tails[2]; /* of the submission queues: admin, I/O */
    unsigned heads[2]; /* of the completion queues */
    unsigned next_id;
};

/* A command; on the I/O queue dw10 and dw11 are the first block, for namespace 1. */
static void submit(struct disk *d, unsigned queue, uint8_t opcode, uint64_t prp, uint32_t dw10, uint32_t dw11,
                   uint32_t dw12)
{
    uint8_t *entry = d->memory.at + (queue ? IO_SQ : ADMIN_SQ) + d->tails[queue] * 64;

    memset(entry, 0, 64);
    entry[0] = opcode;
    vd_store16(entry + 2, (uint16_t)d->next_id++);
    vd_store32(entry + 4, queue);
    vd_store64(entry + 24, prp);
    vd_store32(entry + 40, dw10);
    vd_store32(entry + 44, dw11);
    vd_store32(entry + 48, dw12);
    d->tails[queue] = (d->tails[queue] + 1) % ENTRIES;
}

static void ring(struct disk *d, unsigned queue)
{
    raw_write(&d->raw, 0, DOORBELL + 8 * queue, 4, d->tails[queue]);
}

/* The next completion's status; polls its phase. */
static unsigned complete(struct disk *d, unsigned queue)
{
    unsigned slot = d->heads[queue] % ENTRIES;
    const uint8_t *entry = d->memory.at + (queue ? IO_CQ : ADMIN_CQ) + slot * 16;
    unsigned phase = d->heads[queue] / ENTRIES % 2 == 0;
    uint16_t status;

    for (unsigned i = 0;; i++) {
        /* The other side is not seen by the compiler; the read that asks for anything orders what it wrote. */
        status = __atomic_load_n((const uint16_t *)(const void *)(entry + 14), __ATOMIC_ACQUIRE);
        if ((status & 1) == phase)
            break;
        assert_true(i < 1000000);
        raw_read(&d->raw, 0, CSTS, 4);
    }
    d->heads[queue]++;
    raw_write(&d->raw, 0, DOORBELL + 8 * queue + 4, 4, d->heads[queue] % ENTRIES);
    return status >> 1;
}

static struct disk disk_start(const struct rig *rig)
{
    struct disk d = {.raw = raw_open(rig->path, 0), .memory = raw_memory_make(MEMORY)};

    raw_claim(&d.raw);
    assert_int_equal(raw_share(&d.raw, &d.memory), VD_DEXT_SUCCESS);
    assert_int_equal(raw_register(&d.raw, 1, d.memory.at, MEMORY, &d.bus), VD_DEXT_SUCCESS);
    raw_write(&d.raw, 0, AQA, 4, (ENTRIES - 1) << 16 | (ENTRIES - 1));
    raw_write(&d.raw, 0, ASQ, 8, d.bus + ADMIN_SQ);
    raw_write(&d.raw, 0, ACQ, 8, d.bus + ADMIN_CQ);
    raw_write(&d.raw, 0, CC, 4, 0x460001); /* 16- and 64-byte entries, enable */
    for (unsigned i = 0; !(raw_read(&d.raw, 0, CSTS, 4) & 1); i++)
        assert_true(i < 1000000);
    submit(&d, 0, CREATE_CQ, d.bus + IO_CQ, (ENTRIES - 1) << 16 | 1, 1, 0);
    submit(&d, 0, CREATE_SQ, d.bus + IO_SQ, (ENTRIES - 1) << 16 | 1, 1 << 16 | 1, 0);
    ring(&d, 0);
    assert_int_equal(complete(&d, 0), 0);
    assert_int_equal(complete(&d, 0), 0);
    return d;
}

static void disk_stop(struct disk *d)
{
    raw_close(&d->raw);
    raw_memory_free(&d->memory);
}

/* Fills the queue with commands that make workers run: writes, reads, flushes. */
static unsigned submit_many(struct disk *d)
{
    unsigned count = ENTRIES - 2;

    for (unsigned i = 0; i < count; i++) {
        static const uint8_t opcodes[] = {WRITE, READ, FLUSH};
        uint8_t opcode = opcodes[i % 3];

        if (opcode == FLUSH)
            submit(d, 1, opcode, 0, 0, 0, 0);
        else
            submit(d, 1, opcode, d->bus + DATA + i * 4096, i * BLOCKS, 0, BLOCKS - 1);
    }
    ring(d, 1);
    return count;
}

/* A disk in a file, so that there is something to wait for. */
struct image {
    char path[64], device[128];
};

static struct image image_make(void)
{
    const char *top = getenv("TMPDIR");
    struct image image;
    int fd;

    snprintf(image.path, sizeof(image.path), "%s/viaduct-disk.XXXXXX",
             top && strlen(top) < 32 ? top : "/tmp");
    fd = mkstemp(image.path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 16 << 20), 0);
    close(fd);
    snprintf(image.device, sizeof(image.device), "01:00.0=sim:nvme,image=%s,queues=1", image.path);
    return image;
}

static void what_is_written_is_read_back(void **state)
{
    struct image image = image_make();
    const char *devices[] = {image.device, NULL};
    struct rig rig = {0};
    struct disk d;

    rig_start(&rig, devices);
    d = disk_start(&rig);
    memset(d.memory.at + DATA, 0x77, 4096);
    submit(&d, 1, WRITE, d.bus + DATA, 64, 0, BLOCKS - 1);
    ring(&d, 1);
    assert_int_equal(complete(&d, 1), 0);
    submit(&d, 1, READ, d.bus + DATA + 4096, 64, 0, BLOCKS - 1);
    ring(&d, 1);
    assert_int_equal(complete(&d, 1), 0);
    assert_memory_equal(d.memory.at + DATA, d.memory.at + DATA + 4096, 4096);
    assert_int_equal(raw_number(&d.raw, "01:00.0", "faults"), 0);
    disk_stop(&d);
    rig_stop(&rig);
    unlink(image.path);
}

static void client_that_leaves_with_commands_at_work_does_no_harm(void **state)
{
    struct image image = image_make();
    const char *devices[] = {image.device, NULL};
    struct rig rig = {0};
    struct raw host;

    rig_start(&rig, devices);
    host = raw_hello(rig.path);
    for (unsigned i = 0; i < 30; i++) {
        struct disk d = disk_start(&rig);
        unsigned count = submit_many(&d);

        for (unsigned k = 0; k < i % 4 * count / 4; k++)
            assert_int_equal(complete(&d, 1), 0);
        disk_stop(&d);
        raw_await_number(&host, "01:00.0", "clients", 0);
        assert_int_equal(raw_number(&host, "01:00.0", "mappings"), 0);
        assert_int_equal(raw_number(&host, "01:00.0", "faults"), 0);
    }
    raw_close(&host);
    rig_stop(&rig);
    unlink(image.path);
}

static void disk_pulled_with_commands_at_work_does_no_harm(void **state)
{
    struct image image = image_make();
    const char *devices[] = {image.device, NULL};
    struct rig rig = {0};
    struct raw host;
    char command[160];

    rig_start(&rig, devices);
    host = raw_hello(rig.path);
    snprintf(command, sizeof(command), "plug %s", image.device);
    for (unsigned i = 0; i < 20; i++) {
        struct disk d = disk_start(&rig);

        submit_many(&d);
        for (unsigned k = 0; k < i % 7; k++)
            complete(&d, 1);
        assert_int_equal(raw_control(&host, "unplug 01:00.0", NULL, 0), VD_DEXT_SUCCESS);
        assert_int_equal(raw_number(&host, "01:00.0", "faults"), 0);
        if (i % 2)
            assert_int_equal(raw_unregister(&d.raw, 1), VD_DEXT_SUCCESS);
        disk_stop(&d);
        for (unsigned k = 0; raw_devices(&host, "01:00.0"); k++)
            assert_true(k < RAW_PATIENCE_MS);
        assert_int_equal(raw_control(&host, command, NULL, 0), VD_DEXT_SUCCESS);
    }
    raw_close(&host);
    rig_stop(&rig);
    unlink(image.path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(client_that_leaves_with_commands_at_work_does_no_harm),
        cmocka_unit_test(disk_pulled_with_commands_at_work_does_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
