/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DMA as the core asks for it, done by the function's simulated IOMMU; see memory.h. Client memory is found among what the
 * connection shared (share.h). Memory of our own is a nameless file, so that the client can map it too.
 */
#include "memory.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/range.h"
#include "client.h"
#include "machine.h"
#include "share.h"
#include "sim/os.h"

/* Access masks are handed on as they are. */
_Static_assert((int)VD_DEXT_ACCESS_READ == (int)SIM_READ && (int)VD_DEXT_ACCESS_WRITE == (int)SIM_WRITE,
               "access bits");

/* A region of client memory. */
struct region {
    struct dextd_share *share;
    uint8_t *memory;
    uint64_t size;
    struct sim_dart_mapping *mapping;
};

/* A DMA buffer or an interrupt page. */
struct own {
    int fd;
    void *memory;
    uint64_t size;
    struct sim_dart_mapping *mapping; /* NULL: not for the device */
};

int dextd_return(int err)
{
    static const struct {
        int err, status;
    } table[] = {
        {0, VD_DEXT_SUCCESS},
        {-ENOSPC, VD_DEXT_NO_SPACE},
        {-ENOBUFS, VD_DEXT_NOT_ALIGNED},
        {-ENOMEM, VD_DEXT_NO_MEMORY},
        {-EMFILE, VD_DEXT_NO_RESOURCES},
        {-ENFILE, VD_DEXT_NO_RESOURCES},
        {-EINVAL, VD_DEXT_BAD_ARGUMENT},
        {-ERANGE, VD_DEXT_BAD_ARGUMENT},
        {-EEXIST, VD_DEXT_STILL_OPEN},
        {-ENODEV, VD_DEXT_NO_DEVICE},
        {-ENOENT, VD_DEXT_NOT_FOUND},
        {-EIO, VD_DEXT_IO_ERROR},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (table[i].err == err)
            return table[i].status;
    return VD_DEXT_ERROR;
}

static struct sim_dart *dart_of(const struct dextd_function *function)
{
    return sim_machine_dart(function->sim);
}

void dextd_dma_limits(void *hw, struct vd_dext_dma_limits *out)
{
    const struct sim_dart_config *dart = &((const struct dextd_function *)hw)->dart;

    *out = (struct vd_dext_dma_limits){
        .granule = dart->granule,
        .bytes = dart->aperture,
        .mappings = dart->mappings,
        .first = dart->base,
        .last = dart->base + (dart->aperture - 1),
        .max_segments = (uint32_t)dart->segments,
    };
}

uint64_t dextd_faults(void *hw)
{
    return sim_dart_faults(dart_of(hw));
}

/* Maps memory that is here. 0 or a status; on failure nothing is left. */
static int map(struct dextd_function *function, void *memory, uint64_t size, uint32_t access,
               struct vd_dext_run *runs, uint32_t max_runs, uint32_t *nr, struct sim_dart_mapping **out)
{
    struct sim_dart_segment segments[VD_DEXT_MAX_SEGMENTS];
    struct sim_dart *dart = dart_of(function);
    struct sim_dart_map request = {.host = memory,
                                   .size = size,
                                   .access = access,
                                   .segments = segments,
                                   .max_segments =
                                       max_runs < VD_DEXT_MAX_SEGMENTS ? max_runs : VD_DEXT_MAX_SEGMENTS};
    int err;

    if (function->gone)
        return VD_DEXT_NO_DEVICE;
    err = sim_dart_map(dart, &request);
    if (err)
        return dextd_return(err);
    for (uint32_t i = 0; i < request.nr_segments; i++)
        runs[i] = (struct vd_dext_run){segments[i].iova, segments[i].size};
    *nr = request.nr_segments;
    *out = request.mapping;
    if (sim_dart_mapped_bytes(dart) > function->peak_bytes)
        function->peak_bytes = sim_dart_mapped_bytes(dart);
    if (sim_dart_mapped_count(dart) > function->peak_mappings)
        function->peak_mappings = sim_dart_mapped_count(dart);
    return VD_DEXT_SUCCESS;
}

/* Client memory. */

int dextd_dma_prepare(void *hw, void *client, uint64_t address, uint64_t size, uint32_t access,
                      struct vd_dext_run *runs, uint32_t max_runs, uint32_t *nr, void **token)
{
    struct dextd_function *function = hw;
    struct dextd_client *sharer = client;
    const struct vd_env *env = function->machine->env;
    struct region *region = vd_env_alloc(env, 1, sizeof(*region));
    int status;

    if (!region)
        return VD_DEXT_NO_MEMORY;
    region->size = size;
    region->share = dextd_shares_get(&sharer->shares, address, size, &region->memory);
    if (!region->share) {
        vd_env_free(env, region);
        return VD_DEXT_BAD_ARGUMENT;
    }
    status = map(function, region->memory, size, access, runs, max_runs, nr, &region->mapping);
    if (status) {
        dextd_share_put(region->share);
        vd_env_free(env, region);
        return status;
    }
    *token = region;
    return VD_DEXT_SUCCESS;
}

void dextd_dma_complete(void *hw, void *token)
{
    struct dextd_function *function = hw;
    struct region *region = token;

    sim_dart_unmap(dart_of(function), region->mapping);
    dextd_share_put(region->share);
    vd_env_free(function->machine->env, region);
}

int dextd_dma_probe(void *hw, void *token, uint64_t offset, uint64_t *value)
{
    const struct region *region = token;

    (void)hw;
    if (!vd_span_fits(offset, sizeof(*value), region->size))
        return VD_DEXT_BAD_ARGUMENT;
    memcpy(value, region->memory + offset, sizeof(*value));
    return VD_DEXT_SUCCESS;
}

/* Memory of our own. */

int dextd_memory_fd(const void *token)
{
    return ((const struct own *)token)->fd;
}

static void own_destroy(const struct vd_env *env, struct own *own)
{
    munmap(own->memory, own->size);
    close(own->fd);
    vd_env_free(env, own);
}

/* Whole pages at an address that is a multiple of `alignment`, a power of two. */
static void *map_aligned(int fd, uint64_t size, uint64_t alignment)
{
    uint64_t room = size + alignment;
    uint8_t *start = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *at = start + (-(uint64_t)(uintptr_t)start & (alignment - 1));

    if (start == MAP_FAILED)
        return NULL;
    if (mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
        munmap(start, room);
        return NULL;
    }
    if (at != start)
        munmap(start, (size_t)(at - start));
    munmap(at + size, (size_t)(start + room - (at + size)));
    return at;
}

static int own_create(const struct vd_env *env, uint64_t size, uint64_t alignment, struct own **out)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    struct own *own;
    int status;

    if (alignment < page)
        alignment = page;
    if (size == 0 || !vd_is_power_of_two(alignment) || size > SIZE_MAX / 4 || alignment > SIZE_MAX / 4)
        return VD_DEXT_BAD_ARGUMENT;
    own = vd_env_alloc(env, 1, sizeof(*own));
    if (!own)
        return VD_DEXT_NO_MEMORY;
    own->size = (size + page - 1) & ~(page - 1);
    own->fd = sim_memory_open(env, own->size);
    status = own->fd < 0 ? dextd_return(own->fd) : VD_DEXT_SUCCESS;
    if (status)
        goto err_free;
    own->memory = map_aligned(own->fd, own->size, alignment);
    if (!own->memory) {
        status = VD_DEXT_NO_MEMORY;
        goto err_close;
    }
    *out = own;
    return VD_DEXT_SUCCESS;

err_close:
    close(own->fd);
err_free:
    vd_env_free(env, own);
    return status;
}

/*
 * The buffer itself is aligned as asked; its bus address keeps that only up to the granule, since nobody can tell this kind
 * of IOMMU where to put it.
 */
int dextd_buffer_create(void *hw, uint64_t size, uint64_t alignment, struct vd_dext_run *run, void **token)
{
    struct dextd_function *function = hw;
    const struct vd_env *env = function->machine->env;
    uint64_t granule = function->dart.granule;
    struct own *own;
    uint32_t nr;
    int status = own_create(env, size, alignment > granule ? alignment : granule, &own);

    if (status)
        return status;
    status = map(function, own->memory, size, VD_DEXT_ACCESS_READ | VD_DEXT_ACCESS_WRITE, run, 1, &nr,
                 &own->mapping);
    if (status) {
        own_destroy(env, own);
        return status;
    }
    *token = own;
    return VD_DEXT_SUCCESS;
}

void dextd_buffer_destroy(void *hw, void *token)
{
    struct dextd_function *function = hw;
    struct own *own = token;

    sim_dart_unmap(dart_of(function), own->mapping);
    own_destroy(function->machine->env, own);
}

int dextd_page_create(void *hw, void **memory, void **token)
{
    struct dextd_function *function = hw;
    struct own *own;
    int status = own_create(function->machine->env, VD_DEXT_IRQ_PAGE_SIZE, 0, &own);

    if (status)
        return status;
    *memory = own->memory;
    *token = own;
    return VD_DEXT_SUCCESS;
}

void dextd_page_destroy(void *hw, void *token)
{
    struct dextd_function *function = hw;

    own_destroy(function->machine->env, token);
}
