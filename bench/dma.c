/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How fast can a client announce memory and take it back? DMA_MAP with the descriptor of a 2 MiB file, then DMA_UNMAP,
 * against a bare loop that receives the same messages and calls mmap() and munmap() for them. Two floors: a loop that
 * blocks, and one that spins first as our server does, which leaves only the cost of the mapping.
 */
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "measure.h"
#include "peer.h"
#include "proto/vfio_user.h"

enum {
    ROUNDS = 20,
    BATCH = 300,
    FILE_SIZE = 2 << 20,
    SPIN_NS = 50000, /* then block, or the floor would take a core from the others while they are measured */
    MAP_MESSAGE = sizeof(struct vfio_user_header) + sizeof(struct vfio_user_dma_map),
    UNMAP_MESSAGE = sizeof(struct vfio_user_header) + sizeof(struct vfio_user_dma_unmap),
    MAP_REPLY = sizeof(struct vfio_user_header),
    UNMAP_REPLY = UNMAP_MESSAGE,
};

#define GUEST_ADDRESS 0x100000000ull

static size_t receive(int fd, void *bytes, size_t size, int *carried, bool spin)
{
    uint64_t end = spin ? bench_now() + SPIN_NS : 0;
    char peek;

    while (spin && recv(fd, &peek, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && bench_now() < end)
        ;
    return bare_receive(fd, bytes, size, carried);
}

/* The floor's far side. */
static void map_and_unmap(int fd, void *opaque)
{
    const bool *spin = opaque;
    char bytes[MAP_MESSAGE] = {0};
    int file = -1;

    while (receive(fd, bytes, MAP_MESSAGE, &file, *spin) == MAP_MESSAGE) {
        void *memory = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

        if (memory == MAP_FAILED)
            bench_die("mmap");
        close(file);
        bare_send(fd, bytes, MAP_REPLY, -1);
        if (receive(fd, bytes, UNMAP_MESSAGE, &file, *spin) != UNMAP_MESSAGE)
            return;
        munmap(memory, FILE_SIZE);
        bare_send(fd, bytes, UNMAP_REPLY, -1);
    }
}

static void bare_pair(struct peer *floor, int file)
{
    char bytes[MAP_MESSAGE] = {0};

    bare_send(floor->fd, bytes, MAP_MESSAGE, file);
    bare_receive(floor->fd, bytes, sizeof(bytes), NULL);
    bare_send(floor->fd, bytes, UNMAP_MESSAGE, -1);
    bare_receive(floor->fd, bytes, sizeof(bytes), NULL);
}

static void our_pair(struct peer *server, int file)
{
    struct vfio_user_dma_map map = {.argsz = vd_put32(sizeof(map)),
                                    .flags = vd_put32(VFIO_USER_DMA_MAP_READ | VFIO_USER_DMA_MAP_WRITE),
                                    .address = vd_put64(GUEST_ADDRESS),
                                    .size = vd_put64(FILE_SIZE)};
    struct vfio_user_dma_unmap unmap = {
        .argsz = vd_put32(sizeof(unmap)), .address = map.address, .size = map.size};

    peer_call(server, VFIO_USER_DMA_MAP, &map, sizeof(map), file, NULL, 0);
    peer_call(server, VFIO_USER_DMA_UNMAP, &unmap, sizeof(unmap), -1, NULL, 0);
}

/* Pairs a second from the time a batch took. */
static uint64_t time_batch(void (*pair)(struct peer *, int), struct peer *peer, int file)
{
    uint64_t start = bench_now();

    for (int i = 0; i < BATCH; i++)
        pair(peer, file);
    return bench_now() - start;
}

static double rate(struct samples *samples)
{
    return BATCH / (samples_percentile(samples, 50) / 1e9);
}

int main(void)
{
    bool no = false, yes = true;
    struct cores cores = cores_find();
    struct peer server = peer_serve(cores.theirs, "sim:edu");
    struct peer blocking = peer_bare(cores.theirs, map_and_unmap, &no);
    struct peer spinning = peer_bare(cores.theirs, map_and_unmap, &yes);
    struct samples ours = samples_make(ROUNDS), blocked = samples_make(ROUNDS), spun = samples_make(ROUNDS);
    struct figure f = {.unit = "pairs/s", .bound = BOUND_AT_LEAST, .target = 1.5};
    int file = memfd_create("bench-dma", MFD_CLOEXEC);

    if (file < 0 || ftruncate(file, FILE_SIZE) < 0)
        bench_die("memfd_create");
    peer_negotiate(&server);
    core_take(cores.mine);
    for (int round = -1; round < ROUNDS; round++) { /* the first warms up */
        uint64_t a = time_batch(our_pair, &server, file), b = time_batch(bare_pair, &blocking, file);
        uint64_t c = time_batch(bare_pair, &spinning, file);

        if (round < 0)
            continue;
        samples_add(&ours, a);
        samples_add(&blocked, b);
        samples_add(&spun, c);
    }
    f.value = rate(&ours);
    f.what = "foundation.dma_map_pairs";
    f.floor = rate(&blocked);
    figure_print(&f);
    f.what = "foundation.dma_map_pairs_spun";
    f.floor = rate(&spun);
    figure_print(&f);
    peer_stop(&server);
    peer_stop(&blocking);
    peer_stop(&spinning);
    samples_free(&ours);
    samples_free(&blocked);
    samples_free(&spun);
    close(file);
    return 0;
}
