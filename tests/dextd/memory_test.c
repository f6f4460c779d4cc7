/* SPDX-License-Identifier: BSD-3-Clause */
/* Client memory: shares, regions, batches, what runs out, and files that go away under the device. */
#include "rig.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dext/host/share.h"
#include "sim/edu.h"

enum { MEMORY = 1 << 20, KEY = 7 };

static const char *const one_edu[] = {"01:00.0=sim:edu", NULL};

/* A client with the claim, and memory of its own. */
struct user {
    struct raw raw;
    struct raw_memory memory;
};

static struct user user_start(const struct rig *rig)
{
    struct user user = {.raw = raw_open(rig->path, 0), .memory = raw_memory_make(MEMORY)};

    raw_claim(&user.raw);
    return user;
}

static void user_stop(struct user *user)
{
    raw_close(&user->raw);
    raw_memory_free(&user->memory);
}

static int share(struct user *user, uint64_t address, uint64_t size, uint64_t offset, int fd)
{
    const struct vd_dext_share what = {vd_put64(address), vd_put64(size), vd_put64(offset)};

    return raw_ask(&user->raw, VD_DEXT_SHARE, &what, sizeof(what), fd, NULL);
}

static void device_copies_between_regions_of_shared_memory(void **state)
{
    struct rig rig = {0};
    struct user user;
    uint64_t from, to;

    rig_start(&rig, one_edu);
    user = user_start(&rig);
    assert_int_equal(raw_share(&user.raw, &user.memory), VD_DEXT_SUCCESS);
    memset(user.memory.at + 1234, 0x5a, 3000);
    assert_int_equal(raw_register(&user.raw, 1, user.memory.at + 1234, 3000, &from), VD_DEXT_SUCCESS);
    assert_int_equal(raw_register(&user.raw, 2, user.memory.at + 500001, 3000, &to), VD_DEXT_SUCCESS);
    /* As on a Mac, an address keeps the buffer's offset in its granule. */
    assert_int_equal(from % 16384, (uintptr_t)(user.memory.at + 1234) % 16384);
    assert_int_equal(to % 16384, (uintptr_t)(user.memory.at + 500001) % 16384);
    raw_start_copy(&user.raw, from, to, 3000, 0);
    assert_int_equal(raw_finish_copy(&user.raw), EDU_DONE);
    assert_memory_equal(user.memory.at + 500001, user.memory.at + 1234, 3000);
    assert_int_equal(user.memory.at[500001 + 3000], 0);
    assert_int_equal(raw_number(&user.raw, "01:00.0", "mappings"), 2);
    assert_int_equal(raw_unregister(&user.raw, 1), VD_DEXT_SUCCESS);
    assert_int_equal(raw_unregister(&user.raw, 2), VD_DEXT_SUCCESS);
    assert_int_equal(raw_number(&user.raw, "01:00.0", "bytes"), 0);
    assert_int_equal(raw_number(&user.raw, "01:00.0", "peak_mappings"), 2);
    assert_int_equal(raw_number(&user.raw, "01:00.0", "faults"), 0);
    user_stop(&user);
    rig_stop(&rig);
}

static void memory_that_is_not_shared_cannot_be_registered(void **state)
{
    struct rig rig = {0};
    struct user user;

    rig_start(&rig, one_edu);
    user = user_start(&rig);
    assert_int_equal(raw_register(&user.raw, KEY, user.memory.at, 4096, NULL), VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(raw_share(&user.raw, &user.memory), VD_DEXT_SUCCESS);
    assert_int_equal(raw_register(&user.raw, KEY, user.memory.at + MEMORY - 4096, 4097, NULL),
                     VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(raw_register(&user.raw, KEY, user.memory.at - 1, 4096, NULL), VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(raw_register(&user.raw, KEY, user.memory.at, MEMORY, NULL), VD_DEXT_SUCCESS);
    assert_int_equal(raw_unregister(&user.raw, KEY), VD_DEXT_SUCCESS);
    assert_int_equal(raw_unshare(&user.raw, &user.memory), VD_DEXT_SUCCESS);
    assert_int_equal(raw_register(&user.raw, KEY, user.memory.at, 4096, NULL), VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(raw_unshare(&user.raw, &user.memory), VD_DEXT_NOT_FOUND);
    user_stop(&user);
    rig_stop(&rig);
}

static void share_that_cannot_be_is_refused(void **state)
{
    struct rig rig = {0};
    struct user user;
    uint64_t at;
    int fd, ends[2];

    rig_start(&rig, one_edu);
    user = user_start(&rig);
    at = (uintptr_t)user.memory.at;
    fd = user.memory.fd;
    assert_int_equal(share(&user, at, MEMORY, 0, -1), VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(share(&user, at, MEMORY + 1, 0, fd), VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(share(&user, at, MEMORY, 4096, fd), VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(share(&user, at, 0, 0, fd), VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(share(&user, at, 4096, UINT64_MAX - 4095, fd), VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(share(&user, UINT64_MAX - 4095, 8192, 0, fd), VD_DEXT_BAD_ARGUMENT);
    assert_int_equal(share(&user, at + 1, 4096, 0, fd), VD_DEXT_BAD_ARGUMENT); /* no mapping is like that */
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(share(&user, at, 4096, 0, ends[0]), VD_DEXT_BAD_ARGUMENT);
    close(ends[0]);
    close(ends[1]);
    fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_int_equal(share(&user, at, 4096, 0, fd), VD_DEXT_NOT_PERMITTED);
    close(fd);
    assert_int_equal(share(&user, at + 4096, 8192, 4096, user.memory.fd), VD_DEXT_SUCCESS);
    assert_int_equal(share(&user, at, 8192, 0, user.memory.fd), VD_DEXT_BAD_ARGUMENT); /* overlaps */
    assert_int_equal(share(&user, at, 4096, 0, user.memory.fd), VD_DEXT_SUCCESS);
    user_stop(&user);
    rig_stop(&rig);
}

static void shares_are_bounded_and_come_back(void **state)
{
    struct rig rig = {0};
    struct user user;

    rig_start(&rig, one_edu);
    user = user_start(&rig);
    for (uint64_t i = 0; i < DEXTD_MAX_SHARES; i++)
        assert_int_equal(share(&user, (i + 1) << 21, 4096, 0, user.memory.fd), VD_DEXT_SUCCESS);
    assert_int_equal(share(&user, 1ull << 40, 4096, 0, user.memory.fd), VD_DEXT_NO_RESOURCES);
    assert_int_equal(raw_ask64(&user.raw, VD_DEXT_UNSHARE, 5 << 21), VD_DEXT_SUCCESS);
    assert_int_equal(share(&user, 1ull << 40, 4096, 0, user.memory.fd), VD_DEXT_SUCCESS);
    user_stop(&user);
    rig_stop(&rig);
}

/* Files cost nothing while they are empty, addresses of the daemon's do: what one client takes others cannot have. */
static void bytes_of_shares_are_bounded(void **state)
{
    struct rig rig = {0};
    struct user user;
    int fd = memfd_create("sparse", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)(DEXTD_MAX_SHARED_BYTES + 4096)), 0);
    rig_start(&rig, one_edu);
    user = user_start(&rig);
    assert_int_equal(share(&user, 1ull << 42, DEXTD_MAX_SHARED_BYTES + 4096, 0, fd), VD_DEXT_NO_RESOURCES);
    assert_int_equal(share(&user, 4096, 4096, 0, fd), VD_DEXT_SUCCESS);
    assert_int_equal(share(&user, 1ull << 42, DEXTD_MAX_SHARED_BYTES, 0, fd), VD_DEXT_NO_RESOURCES);
    assert_int_equal(share(&user, 1ull << 42, 4096, 0, fd), VD_DEXT_SUCCESS);
    close(fd);
    user_stop(&user);
    rig_stop(&rig);
}

static void unshared_memory_stays_while_regions_lie_in_it(void **state)
{
    struct rig rig = {0};
    struct user user;
    uint64_t bus;

    rig_start(&rig, one_edu);
    user = user_start(&rig);
    assert_int_equal(raw_share(&user.raw, &user.memory), VD_DEXT_SUCCESS);
    assert_int_equal(raw_register(&user.raw, KEY, user.memory.at, 65536, &bus), VD_DEXT_SUCCESS);
    assert_int_equal(raw_unshare(&user.raw, &user.memory), VD_DEXT_SUCCESS);
    memset(user.memory.at, 3, 4096);
    raw_start_copy(&user.raw, bus, bus + 8192, 4096, 0);
    assert_int_equal(raw_finish_copy(&user.raw), EDU_DONE);
    assert_int_equal(user.memory.at[8192 + 4095], 3);
    assert_int_equal(raw_share(&user.raw, &user.memory), VD_DEXT_SUCCESS); /* beside the old one */
    assert_int_equal(raw_unregister(&user.raw, KEY), VD_DEXT_SUCCESS);
    assert_int_equal(raw_register(&user.raw, KEY, user.memory.at, 65536, NULL), VD_DEXT_SUCCESS);
    user_stop(&user);
    rig_stop(&rig);
}

static void limits_of_the_daemon_hold_for_each_device(void **state)
{
    struct rig rig = {.settings.quota = {.bytes = 128 << 10, .mappings = 3}};
    struct rig bytes_only = {.settings.quota = {.bytes = 64 << 10}};
    struct user user;

    rig_start(&rig, one_edu);
    user = user_start(&rig);
    assert_int_equal(raw_share(&user.raw, &user.memory), VD_DEXT_SUCCESS);
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal(raw_register(&user.raw, i, user.memory.at + i * 16384, 4096, NULL), VD_DEXT_SUCCESS);
    assert_int_equal(raw_register(&user.raw, 3, user.memory.at, 4096, NULL), VD_DEXT_NO_SPACE);
    assert_int_equal(raw_unregister(&user.raw, 0), VD_DEXT_SUCCESS);
    assert_int_equal(raw_register(&user.raw, 3, user.memory.at, 4096, NULL), VD_DEXT_SUCCESS);
    user_stop(&user);
    rig_stop(&rig);

    rig_start(&bytes_only, one_edu);
    user = user_start(&bytes_only);
    assert_int_equal(raw_share(&user.raw, &user.memory), VD_DEXT_SUCCESS);
    assert_int_equal(raw_register(&user.raw, 1, user.memory.at, 256 << 10, NULL), VD_DEXT_NO_SPACE);
    user_stop(&user);
    rig_stop(&bytes_only);
}

static void aperture_and_mappings_run_out_and_come_back(void **state)
{
    static const char *const devices[] = {"01:00.0=sim:edu,aperture=256K", "02:00.0=sim:edu,mappings=2",
                                          NULL};
    struct rig rig = {0};
    struct user user;
    struct raw other;

    rig_start(&rig, devices);
    user = user_start(&rig);
    assert_int_equal(raw_share(&user.raw, &user.memory), VD_DEXT_SUCCESS);
    for (uint64_t i = 0; i < 16; i++)
        assert_int_equal(raw_register(&user.raw, i, user.memory.at + i * 16384, 16384, NULL),
                         VD_DEXT_SUCCESS);
    assert_int_equal(raw_register(&user.raw, 99, user.memory.at, 1, NULL), VD_DEXT_NO_SPACE);
    assert_int_equal(raw_unregister(&user.raw, 8), VD_DEXT_SUCCESS);
    assert_int_equal(raw_register(&user.raw, 99, user.memory.at, 16384, NULL), VD_DEXT_SUCCESS);
    other = raw_open(rig.path, 1);
    raw_claim(&other);
    assert_int_equal(raw_share(&other, &user.memory), VD_DEXT_SUCCESS);
    assert_int_equal(raw_register(&other, 1, user.memory.at, 1, NULL), VD_DEXT_SUCCESS);
    assert_int_equal(raw_register(&other, 2, user.memory.at, 1, NULL), VD_DEXT_SUCCESS);
    assert_int_equal(raw_register(&other, 3, user.memory.at, 1, NULL), VD_DEXT_NO_SPACE);
    raw_close(&other);
    user_stop(&user);
    rig_stop(&rig);
}

static void dma_buffer_is_one_run_and_can_be_mapped(void **state)
{
    const uint64_t ask[2] = {100000, 16384};
    struct rig rig = {0};
    struct user user;
    uint64_t out[6], size;
    uint8_t *buffer;
    void *memory;

    rig_start(&rig, one_edu);
    user = user_start(&rig);
    assert_int_equal(raw_call(&user.raw, VD_DEXT_ALLOCATE_DMA_BUFFER, ask, 2, out, 6), VD_DEXT_SUCCESS);
    assert_int_equal(out[2], 1);
    assert_int_equal(out[3] % 16384, 0);
    assert_true(out[4] >= 100000);
    assert_int_equal(raw_map(&user.raw, VD_DEXT_MEMORY_DMA_BUFFER, &memory, &size), VD_DEXT_SUCCESS);
    buffer = memory;
    memset(buffer, 9, 5000);
    raw_start_copy(&user.raw, out[3], out[3] + 50000, 5000, 0);
    assert_int_equal(raw_finish_copy(&user.raw), EDU_DONE);
    assert_int_equal(buffer[50000 + 4999], 9);
    assert_int_equal(raw_call(&user.raw, VD_DEXT_FREE_DMA_BUFFER, NULL, 0, NULL, 0), VD_DEXT_SUCCESS);
    buffer[0] = 1; /* the client's mapping is its own */
    assert_int_equal(raw_number(&user.raw, "01:00.0", "mappings"), 0);
    munmap(memory, size);
    user_stop(&user);
    rig_stop(&rig);
}

/* Register 4096 regions in one call, several segments each. */
static void full_batch_is_registered_and_unregistered(void **state)
{
    enum { COUNT = VD_DEXT_MAX_BATCH, SIZE = 128 };
    static const char *const devices[] = {"01:00.0=sim:edu,segments=4,seed=3", NULL};
    static struct {
        struct vd_dext_register_in head;
        struct vd_dext_region regions[COUNT];
    } in;
    static struct {
        struct vd_dext_unregister_in head;
        vd_le64 keys[COUNT];
    } keys;
    static uint8_t out[VD_DEXT_SOCKET_MAX_BYTES];
    struct rig rig = {0};
    struct user user;
    size_t size = sizeof(out);

    rig_start(&rig, devices);
    user = user_start(&rig);
    assert_int_equal(raw_share(&user.raw, &user.memory), VD_DEXT_SUCCESS);
    in.head = (struct vd_dext_register_in){vd_put32(COUNT), vd_put32(4 * COUNT), vd_put64(0)};
    keys.head = (struct vd_dext_unregister_in){vd_put32(COUNT), vd_put32(0)};
    for (unsigned i = 0; i < COUNT; i++) {
        in.regions[i] = (struct vd_dext_region){
            .key = vd_put64(i),
            .address = vd_put64((uintptr_t)user.memory.at + i * SIZE),
            .size = vd_put64(SIZE + 20000),
            .access = vd_put32(VD_DEXT_ACCESS_READ),
        };
        keys.keys[i] = vd_put64(i);
    }
    assert_int_equal(raw_call_bytes(&user.raw, VD_DEXT_REGISTER_BATCH, &in, sizeof(in), out, &size),
                     VD_DEXT_SUCCESS);
    assert_int_equal(vd_load32(out + 8), COUNT);
    assert_int_equal(raw_number(&user.raw, "01:00.0", "mappings"), COUNT);
    size = sizeof(out);
    assert_int_equal(raw_call_bytes(&user.raw, VD_DEXT_UNREGISTER_BATCH, &keys, sizeof(keys), out, &size),
                     VD_DEXT_SUCCESS);
    assert_int_equal(vd_load32(out + 4), COUNT);
    assert_int_equal(raw_number(&user.raw, "01:00.0", "bytes"), 0);
    user_stop(&user);
    rig_stop(&rig);
}

static void file_that_is_truncated_costs_its_owner_the_connection_only(void **state)
{
    struct rig rig = {0};
    struct raw other;
    struct user user;
    uint64_t bus;

    rig_start(&rig, one_edu);
    user = user_start(&rig);
    other = raw_open(rig.path, 0);
    assert_int_equal(raw_share(&user.raw, &user.memory), VD_DEXT_SUCCESS);
    assert_int_equal(raw_register(&user.raw, KEY, user.memory.at, MEMORY, &bus), VD_DEXT_SUCCESS);
    assert_int_equal(ftruncate(user.memory.fd, 0), 0);
    raw_write(&user.raw, 0, EDU_SOURCE, 8, bus);
    raw_write(&user.raw, 0, EDU_DESTINATION, 8, bus + 0x80000);
    raw_write(&user.raw, 0, EDU_LENGTH, 8, 4 * EDU_CHUNK);
    raw_write(&user.raw, 0, EDU_CONTROL, 4, EDU_START);
    raw_await_close(&user.raw);
    raw_await_number(&other, "01:00.0", "clients", 1);
    assert_int_equal(raw_number(&other, "01:00.0", "mappings"), 0);
    raw_claim(&other);
    raw_close(&other);
    user_stop(&user);
    rig_stop(&rig);
}

static void probe_of_truncated_memory_is_survived(void **state)
{
    const uint64_t where[2] = {KEY, 0};
    struct rig rig = {0};
    struct user user;
    uint64_t value;

    rig_start(&rig, one_edu);
    user = user_start(&rig);
    memset(user.memory.at, 0x11, 8);
    assert_int_equal(raw_share(&user.raw, &user.memory), VD_DEXT_SUCCESS);
    assert_int_equal(raw_register(&user.raw, KEY, user.memory.at, MEMORY, NULL), VD_DEXT_SUCCESS);
    assert_int_equal(raw_call(&user.raw, VD_DEXT_PROBE_DMA_REGION, where, 2, &value, 1), VD_DEXT_SUCCESS);
    assert_true(value == 0x1111111111111111);
    assert_int_equal(ftruncate(user.memory.fd, 0), 0);
    assert_int_equal(raw_call(&user.raw, VD_DEXT_PROBE_DMA_REGION, where, 2, &value, 1), VD_DEXT_SUCCESS);
    assert_true(value == 0);
    raw_await_close(&user.raw);
    user_stop(&user);
    rig_stop(&rig);
}

/* What a client goes through, each step allowed to be refused for want of memory. False: it got no further. */
static bool use_it_all(const struct rig *rig, const struct raw_memory *memory)
{
    const vd_le32 hello[2] = {vd_put32(VD_DEXT_SOCKET_VERSION), vd_put32(0)};
    const uint64_t ask[2] = {65536, 0};
    static struct raw_message reply;
    struct raw raw = raw_connect(rig->path);
    uint64_t out[6];
    bool good = raw_send(&raw, VD_DEXT_HELLO, hello, sizeof(hello), -1) && raw_receive(&raw, &reply);

    good = good && raw_ask(&raw, VD_DEXT_LIST, NULL, 0, -1, &reply) == VD_DEXT_SUCCESS;
    good = good && raw_ask64(&raw, VD_DEXT_OPEN, vd_load64(reply.payload)) == VD_DEXT_SUCCESS;
    good = good && raw_call(&raw, VD_DEXT_CLAIM, NULL, 0, NULL, 0) == VD_DEXT_SUCCESS;
    good = good && raw_share(&raw, memory) == VD_DEXT_SUCCESS;
    for (uint64_t key = 0; good && key < 5; key++)
        good = raw_register(&raw, key, memory->at + key * 4096, 4096, NULL) == VD_DEXT_SUCCESS;
    good = good && raw_call(&raw, VD_DEXT_ALLOCATE_DMA_BUFFER, ask, 2, out, 6) == VD_DEXT_SUCCESS;
    good = good && raw_call(&raw, VD_DEXT_SETUP_INTERRUPTS, NULL, 0, out, 1) == VD_DEXT_SUCCESS;
    if (good)
        raw_wait(&raw, VD_DEXT_WAIT_INTERRUPT);
    raw_close(&raw);
    return good;
}

static void every_shortage_is_refused_and_leaves_nothing(void **state)
{
    struct raw_memory memory = raw_memory_make(MEMORY);
    struct rig rig = {0};
    struct raw observer;
    long live, failing = 0;
    bool good;

    rig_start(&rig, one_edu);
    observer = raw_hello(rig.path);
    raw_await_number(&observer, "01:00.0", "clients", 0);
    live = atomic_load(&rig.live);
    do {
        atomic_store(&rig.fail_in, ++failing);
        good = use_it_all(&rig, &memory);
        atomic_store(&rig.fail_in, 0);
        for (unsigned i = 0; i < RAW_PATIENCE_MS && atomic_load(&rig.live) != live; i++)
            raw_number(&observer, "01:00.0", "clients");
        assert_int_equal(atomic_load(&rig.live), live);
        assert_int_equal(raw_number(&observer, "01:00.0", "mappings"), 0);
    } while (!good && failing < 100);
    assert_true(good);
    assert_true(failing > 10);
    raw_close(&observer);
    rig_stop(&rig);
    raw_memory_free(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(device_copies_between_regions_of_shared_memory),
        cmocka_unit_test(memory_that_is_not_shared_cannot_be_registered),
        cmocka_unit_test(share_that_cannot_be_is_refused),
        cmocka_unit_test(shares_are_bounded_and_come_back),
        cmocka_unit_test(bytes_of_shares_are_bounded),
        cmocka_unit_test(unshared_memory_stays_while_regions_lie_in_it),
        cmocka_unit_test(limits_of_the_daemon_hold_for_each_device),
        cmocka_unit_test(aperture_and_mappings_run_out_and_come_back),
        cmocka_unit_test(dma_buffer_is_one_run_and_can_be_mapped),
        cmocka_unit_test(full_batch_is_registered_and_unregistered),
        cmocka_unit_test(file_that_is_truncated_costs_its_owner_the_connection_only),
        cmocka_unit_test(probe_of_truncated_memory_is_survived),
        cmocka_unit_test(every_shortage_is_refused_and_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
