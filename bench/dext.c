/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What does the way through the extension cost? Registering and unregistering 4 KiB pieces of one file, 4096 in a call
 * against one in a call: regions a second, and calls. A config register that is read through to the device and a BAR
 * register, both trapped, against a bare ping-pong between two blocking processes. An interrupt's way up. And what an idle
 * connection costs the extension. Argument: viaduct-dextd's path.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <json-c/json.h>

#include <viaduct/context.h>
#include <viaduct/device.h>
#include <viaduct/dma.h>
#include <viaduct/irq.h>
#include <viaduct/notifier.h>
#include <viaduct/region.h>

#include "edu.h"
#include "measure.h"
#include "peer.h"
#include "proto/dext_socket.h"

enum {
    REGIONS = 4096,
    DMA_ROUNDS = 10,
    SINGLES = 512,
    ROUNDS = 40,
    BATCH = 500,
    CONNECTIONS = 48,
    INTERRUPTS = 4000,
    /* A CONFIG_READ or MMIO_READ on the wire; the reply holds one scalar. */
    REQUEST = sizeof(struct vd_dext_header) + sizeof(struct vd_dext_call_head) + 3 * 8,
    REPLY = sizeof(struct vd_dext_header) + sizeof(struct vd_dext_reply_head) + 8,
    CAPABILITIES = 0x34,
    CAP_PCIE = 0x10,
    LINK_STATUS = 0x12, /* PCIe 7.5.3.8: the hardware's own, so read through */
};

#define DEVICE "01:00.0"

struct rig {
    const char *program;
    char directory[48], socket[80];
    pid_t pid;
    struct vd_context *context;
    struct vd_device *device;
    uint8_t *memory;
    int file;
    uint64_t granule;
};

/* The extension. */

static void start_dextd(struct rig *rig, int core)
{
    char line[256];
    int ends[2];
    FILE *out;

    snprintf(rig->directory, sizeof(rig->directory), "/tmp/viaduct-bench.XXXXXX");
    if (!mkdtemp(rig->directory) || pipe(ends) < 0)
        bench_die("mkdtemp");
    snprintf(rig->socket, sizeof(rig->socket), "%s/dextd", rig->directory);
    rig->pid = fork();
    if (rig->pid < 0)
        bench_die("fork");
    if (rig->pid == 0) {
        core_take(core);
        dup2(ends[1], STDOUT_FILENO);
        execl(rig->program, rig->program, "--socket", rig->socket, "--device", DEVICE "=sim:edu,granule=4K",
              (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    out = fdopen(ends[0], "r");
    if (!out || !fgets(line, sizeof(line), out) || !strstr(line, "listening"))
        bench_die(rig->program);
    fclose(out);
}

static void stop_dextd(struct rig *rig)
{
    kill(rig->pid, SIGTERM);
    if (waitpid(rig->pid, NULL, 0) < 0)
        bench_die("waitpid");
    rmdir(rig->directory);
}

/* A number that `viaduct-dextd list --json` tells of the device. */
static double ask(const struct rig *rig, const char *key)
{
    struct json_object *all, *devices, *value;
    char command[256], text[16384];
    size_t n;
    FILE *out;
    double number;

    snprintf(command, sizeof(command), "%s list --json --socket %s", rig->program, rig->socket);
    out = popen(command, "re");
    if (!out)
        bench_die("popen");
    n = fread(text, 1, sizeof(text) - 1, out);
    text[n] = 0;
    pclose(out);
    all = json_tokener_parse(text);
    if (!all || !json_object_object_get_ex(all, "devices", &devices) ||
        !json_object_object_get_ex(json_object_array_get_idx(devices, 0), key, &value))
        bench_die("viaduct-dextd list --json");
    number = json_object_get_double(value);
    json_object_put(all);
    return number;
}

/* DMA. */

static void prepare_memory(struct rig *rig)
{
    rig->granule = vd_dma_info(rig->device)->granule;
    rig->file = memfd_create("bench-dext", MFD_CLOEXEC);
    if (rig->file < 0 || ftruncate(rig->file, (off_t)(REGIONS * rig->granule)) < 0)
        bench_die("memfd_create");
    rig->memory = mmap(NULL, REGIONS * rig->granule, PROT_READ | PROT_WRITE, MAP_SHARED, rig->file, 0);
    if (rig->memory == MAP_FAILED)
        bench_die("mmap");
}

/* Maps and unmaps `count` regions, `at_once` in a call; ns. */
static uint64_t map_and_unmap(const struct rig *rig, size_t count, size_t at_once)
{
    static struct vd_dma_map maps[REGIONS];
    static struct vd_dma_segment segments[REGIONS];
    static struct vd_dma_file files[REGIONS];
    static struct vd_dma_mapping *mappings[REGIONS];
    uint64_t start;

    for (size_t i = 0; i < count; i++) {
        files[i] = (struct vd_dma_file){rig->file, i * rig->granule};
        maps[i] = (struct vd_dma_map){.host = rig->memory + i * rig->granule,
                                      .file = &files[i],
                                      .size = rig->granule,
                                      .access = VD_ACCESS_READ | VD_ACCESS_WRITE,
                                      .segments = &segments[i],
                                      .max_segments = 1};
    }
    start = bench_now();
    for (size_t i = 0; i < count; i += at_once) {
        if (vd_dma_map(rig->device, &maps[i], at_once))
            bench_die("vd_dma_map");
        for (size_t k = i; k < i + at_once; k++)
            mappings[k] = maps[k].mapping;
        if (at_once == 1)
            vd_dma_unmap(rig->device, &mappings[i], 1);
    }
    if (at_once > 1)
        vd_dma_unmap(rig->device, mappings, count);
    return bench_now() - start;
}

static void measure_dma(struct rig *rig)
{
    struct samples batched = samples_make(DMA_ROUNDS), single = samples_make(DMA_ROUNDS);
    struct figure f = {.unit = "regions/s", .bound = BOUND_AT_LEAST, .target = 5};
    double before, batched_calls, single_calls;

    prepare_memory(rig);
    map_and_unmap(rig, REGIONS, REGIONS);
    for (int round = 0; round < DMA_ROUNDS; round++) {
        samples_add(&batched, map_and_unmap(rig, REGIONS, REGIONS));
        samples_add(&single, map_and_unmap(rig, SINGLES, 1));
    }
    f.what = "dext.register_batched";
    f.value = REGIONS / (samples_percentile(&batched, 50) / 1e9);
    f.floor = SINGLES / (samples_percentile(&single, 50) / 1e9);
    figure_print(&f);
    before = ask(rig, "calls");
    map_and_unmap(rig, REGIONS, REGIONS);
    batched_calls = (ask(rig, "calls") - before) / REGIONS;
    before = ask(rig, "calls");
    map_and_unmap(rig, SINGLES, 1);
    single_calls = (ask(rig, "calls") - before) / SINGLES;
    f = (struct figure){.what = "dext.calls_per_1000_regions",
                        .unit = "calls",
                        .value = 1000 * batched_calls,
                        .floor = 1000 * single_calls,
                        .bound = BOUND_AT_MOST,
                        .target = 0.1};
    figure_print(&f);
    samples_free(&batched);
    samples_free(&single);
    munmap(rig->memory, REGIONS * rig->granule);
    close(rig->file);
}

/* Accesses. */

static void echo(int fd, void *opaque)
{
    char bytes[REQUEST] = {0};

    (void)opaque;
    while (recv(fd, bytes, REQUEST, MSG_WAITALL) == REQUEST)
        if (send(fd, bytes, REPLY, MSG_NOSIGNAL) < 0)
            return;
}

static void ping(int fd)
{
    char bytes[REQUEST] = {0};

    bare_send(fd, bytes, REQUEST, -1);
    if (bare_receive(fd, bytes, sizeof(bytes), NULL) != REPLY)
        bench_die("the floor's reply");
}

static uint64_t access_once(const struct rig *rig, unsigned region, uint64_t offset, size_t width, bool write)
{
    uint8_t bytes[4] = {0};
    uint64_t start = bench_now();
    int error = write ? vd_region_write(rig->device, region, offset, bytes, width)
                      : vd_region_read(rig->device, region, offset, bytes, width);

    if (error)
        bench_die("an access");
    return bench_now() - start;
}

static void measure_access(struct rig *rig, int core, const char *what, unsigned region, uint64_t offset,
                           size_t width, bool write)
{
    struct peer floor = peer_bare(core, echo, NULL);
    struct samples ours = samples_make((size_t)ROUNDS * BATCH), bare = samples_make((size_t)ROUNDS * BATCH);

    for (int round = -2; round < ROUNDS; round++) { /* the first two warm up */
        for (unsigned i = 0; i < BATCH; i++) {
            uint64_t ns = access_once(rig, region, offset, width, write);

            if (round >= 0)
                samples_add(&ours, ns);
        }
        for (unsigned i = 0; i < BATCH; i++) {
            uint64_t start = bench_now();

            ping(floor.fd);
            if (round >= 0)
                samples_add(&bare, bench_now() - start);
        }
    }
    peer_stop(&floor);
    figure_latency(what, &ours, &bare, 0.65, 1);
    samples_free(&ours);
    samples_free(&bare);
}

static uint8_t config_byte(const struct rig *rig, uint64_t offset)
{
    uint8_t byte = 0;

    if (vd_region_read(rig->device, EDU_CONFIG_REGION, offset, &byte, 1))
        bench_die("config space");
    return byte;
}

static uint64_t link_status(const struct rig *rig)
{
    uint8_t at = config_byte(rig, CAPABILITIES);

    for (unsigned i = 0; i < 48 && at; i++) {
        if (config_byte(rig, at) == CAP_PCIE)
            return at + LINK_STATUS;
        at = config_byte(rig, at + 1u);
    }
    bench_die("the PCI Express capability");
}

/* Interrupts. */

static void measure_interrupts(struct rig *rig)
{
    struct figure f = {.what = "dext.write_to_interrupt_p50", .unit = "us", .floor = -1};
    struct samples ours = samples_make(INTERRUPTS);
    struct vd_notifier notifier;
    uint8_t raise[4] = {0}, command[2] = {PCI_MEMORY_AND_MASTER, 0};
    int fd;

    if (vd_notifier_init(&notifier, VD_NOTIFIER_DEFAULT))
        bench_die("eventfd");
    fd = dup(notifier.write_fd);
    if (vd_region_write(rig->device, EDU_CONFIG_REGION, PCI_COMMAND, command, 2) ||
        vd_irq_route(rig->device, VD_IRQ_MSIX, 0, 1, &fd))
        bench_die("vd_irq_route");
    for (int i = 0; i < INTERRUPTS; i++) {
        struct pollfd ready = {.fd = vd_device_poll_fd(rig->device), .events = POLLIN};
        uint64_t start = bench_now();

        if (vd_region_write(rig->device, EDU_BAR, EDU_RAISE, raise, 4))
            bench_die("EDU_RAISE");
        while (!vd_notifier_drain(&notifier))
            if (!vd_device_dispatch(rig->device, true) && poll(&ready, 1, 5000) != 1)
                bench_die("no interrupt");
        samples_add(&ours, bench_now() - start);
    }
    (void)vd_irq_disable(rig->device, VD_IRQ_MSIX);
    vd_notifier_finish(&notifier);
    f.value = samples_percentile(&ours, 50) / 1e3;
    figure_print(&f);
    samples_free(&ours);
}

/* Memory. */

static void command(int fd, uint16_t kind, const void *payload, uint32_t size, void *reply, size_t room)
{
    struct vd_dext_header header = {
        .size = vd_put32((uint32_t)sizeof(header) + size), .kind = vd_put16(kind), .tag = vd_put32(1)};
    uint8_t bytes[256];
    size_t n;

    memcpy(bytes, &header, sizeof(header));
    if (size)
        memcpy(bytes + sizeof(header), payload, size);
    bare_send(fd, bytes, sizeof(header) + size, -1);
    n = bare_receive(fd, bytes, sizeof(bytes), NULL);
    memcpy(&header, bytes, sizeof(header));
    if (n < sizeof(header) + room || vd_get32(header.status))
        bench_die("viaduct-dextd refuses");
    if (room)
        memcpy(reply, bytes + sizeof(header), room);
}

/* A connection that has opened the device and does nothing with it. */
static int connect_idle(const struct rig *rig)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    vd_le32 hello[2] = {vd_put32(VD_DEXT_SOCKET_VERSION), vd_put32(0)};
    vd_le64 id;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(address.sun_path, rig->socket, sizeof(rig->socket));
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        bench_die(rig->socket);
    command(fd, VD_DEXT_HELLO, hello, sizeof(hello), NULL, 0);
    command(fd, VD_DEXT_LIST, NULL, 0, &id, sizeof(id));
    command(fd, VD_DEXT_OPEN, &id, sizeof(id), NULL, 0);
    return fd;
}

static void measure_memory(struct rig *rig)
{
    struct figure f = {
        .what = "dext.idle_connection", .unit = "KiB", .floor = -1, .bound = BOUND_AT_MOST, .target = 64};
    int fds[CONNECTIONS];
    double before;

    close(connect_idle(rig)); /* what the first one costs once */
    before = bench_resident(rig->pid, "RssAnon:", "RssShmem:");
    for (int i = 0; i < CONNECTIONS; i++)
        fds[i] = connect_idle(rig);
    f.value = (bench_resident(rig->pid, "RssAnon:", "RssShmem:") - before) / CONNECTIONS;
    figure_print(&f);
    for (int i = 0; i < CONNECTIONS; i++)
        close(fds[i]);
}

int main(int argc, char **argv)
{
    struct cores cores = cores_find();
    struct rig rig = {.program = argc == 2 ? argv[1] : NULL};
    struct vd_error error;
    char address[128];

    if (argc != 2 || access(argv[1], X_OK) < 0)
        bench_die(argc == 2 ? argv[1] : "usage: bench_dext VIADUCT-DEXTD");
    start_dextd(&rig, cores.theirs);
    core_take(cores.mine);
    measure_memory(&rig);
    snprintf(address, sizeof(address), "apple:" DEVICE ",socket=%s", rig.socket);
    if (vd_context_create(NULL, &rig.context) || vd_device_open(rig.context, address, &rig.device, &error)) {
        fprintf(stderr, "%s\n", error.message);
        bench_die("vd_device_open");
    }
    measure_dma(&rig);
    measure_access(&rig, cores.theirs, "dext.config_read", EDU_CONFIG_REGION, link_status(&rig), 2, false);
    measure_access(&rig, cores.theirs, "dext.bar_read", EDU_BAR, EDU_SCRATCH, 4, false);
    measure_access(&rig, cores.theirs, "dext.bar_write", EDU_BAR, EDU_SCRATCH, 4, true);
    measure_interrupts(&rig);
    vd_device_close(rig.device);
    vd_context_destroy(rig.context);
    stop_dextd(&rig);
    return 0;
}
