/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory the device may reach, and memory shared with the client. A memory descriptor names memory; an IODMACommand that
 * was prepared with it keeps it wired and mapped in the device's DART, and tells the bus addresses that the kernel chose. A
 * token of the core is a `struct mapping`: one reference to each.
 *
 * Arrays of segments always have 32 elements, whatever their count: that is what the calls are declared with, and the
 * message that carries them is as long.
 */
#include <DriverKit/IOMemoryMap.h>

#include "dext/shell/shell.h"

enum { MAX_SEGMENTS = 32 };

/* What Apple's DART gives one device, as found by trial; the kernel does not tell. */
static const uint64_t DART_GRANULE = 16384;
static const uint64_t DART_BYTES = 1536ull << 20;
static const uint64_t DART_MAPPINGS = 65536;

struct mapping {
    IOMemoryDescriptor *memory;
    IODMACommand *command; /* NULL: the device does not reach it */
};

void vd_shell_dma_limits(void *, struct vd_dext_dma_limits *out)
{
    out->granule = DART_GRANULE;
    out->bytes = DART_BYTES;
    out->mappings = DART_MAPPINGS;
    out->first = 0;
    out->last = UINT64_MAX;
    out->max_segments = MAX_SEGMENTS;
}

/* The answers the core expects of a prepare. What is not a lack of something is about the client's memory. */
static int prepare_error(kern_return_t ret)
{
    switch (ret) {
    case kIOReturnNoMemory:
        return VD_DEXT_NO_MEMORY;
    case kIOReturnNoSpace:
    case kIOReturnNoResources:
        return VD_DEXT_NO_SPACE;
    case kIOReturnNoDevice:
        return VD_DEXT_NO_DEVICE;
    default:
        return VD_DEXT_BAD_ARGUMENT;
    }
}

/* The segments as runs. The kernel cuts a list that is too long without an error, so the sum has to be checked. */
static int copy_runs(const IOAddressSegment *segments, uint32_t count, uint64_t size,
                     struct vd_dext_run *runs, uint32_t max_runs)
{
    uint64_t sum = 0;

    if (count > max_runs)
        return VD_DEXT_NOT_ALIGNED;
    for (uint32_t i = 0; i < count; i++) {
        runs[i].address = segments[i].address;
        runs[i].size = segments[i].length;
        sum += segments[i].length;
    }
    return sum == size ? VD_DEXT_SUCCESS : VD_DEXT_NOT_ALIGNED;
}

/* Maps [0, size) of the memory for the device. On failure the command holds nothing. */
static int prepare(IODMACommand *command, IOMemoryDescriptor *memory, uint64_t size, struct vd_dext_run *runs,
                   uint32_t max_runs, uint32_t *nr)
{
    IOAddressSegment segments[MAX_SEGMENTS] = {};
    uint32_t count = MAX_SEGMENTS;
    uint64_t flags = 0;
    kern_return_t ret;
    int status;

    ret = command->PrepareForDMA(kIODMACommandPrepareForDMANoOptions, memory, 0, size, &flags, &count,
                                 segments);
    if (ret != kIOReturnSuccess)
        return prepare_error(ret);
    status = copy_runs(segments, count, size, runs, max_runs);
    if (status)
        command->CompleteDMA(kIODMACommandCompleteDMANoOptions);
    *nr = count;
    return status;
}

/* Takes over the reference to `memory`, also on failure. */
static int create_mapping(IOPCIDevice *pci, IOMemoryDescriptor *memory, uint64_t size,
                          struct vd_dext_run *runs, uint32_t max_runs, uint32_t *nr, void **token)
{
    struct mapping *mapping = IONewZero(struct mapping, 1);
    IODMACommandSpecification specification = {};
    IODMACommand *command = nullptr;
    int status = VD_DEXT_NO_MEMORY;

    specification.options = kIODMACommandSpecificationNoOptions;
    specification.maxAddressBits = 64;
    if (mapping &&
        IODMACommand::Create(pci, kIODMACommandCreateNoOptions, &specification, &command) == kIOReturnSuccess)
        status = prepare(command, memory, size, runs, max_runs, nr);
    if (status) {
        OSSafeReleaseNULL(command);
        OSSafeReleaseNULL(memory);
        IOSafeDeleteNULL(mapping, struct mapping, 1);
        return status;
    }
    mapping->memory = memory;
    mapping->command = command;
    *token = mapping;
    return VD_DEXT_SUCCESS;
}

/*
 * Directions are named from the client's side: "out" is what the device reads. Without the last flag the descriptor stands
 * for a copy-on-write image of the memory wherever it is mapped, and a probe would read the past.
 */
static uint64_t direction(uint32_t access)
{
    uint64_t options = kIOMemoryDisableCopyOnWrite;

    if (access & VD_DEXT_ACCESS_READ)
        options |= kIOMemoryDirectionOut;
    if (access & VD_DEXT_ACCESS_WRITE)
        options |= kIOMemoryDirectionIn;
    return options;
}

int vd_shell_dma_prepare(void *hw, void *client, uint64_t address, uint64_t size, uint32_t access,
                         struct vd_dext_run *runs, uint32_t max_runs, uint32_t *nr, void **token)
{
    IOUserClient *connection = static_cast<VFIOUserPCIDriverUserClient *>(client);
    IOAddressSegment range[MAX_SEGMENTS] = {};
    IOMemoryDescriptor *memory = nullptr;
    kern_return_t ret;

    range[0].address = address;
    range[0].length = size;
    ret = connection->CreateMemoryDescriptorFromClient(direction(access), 1, range, &memory);
    if (ret != kIOReturnSuccess)
        return prepare_error(ret);
    return create_mapping(vd_shell_ivars(hw)->pci, memory, size, runs, max_runs, nr, token);
}

/* The kernel unmaps and flushes the DART before it answers, so nothing is in flight when this returns. */
static void destroy_mapping(void *token)
{
    struct mapping *mapping = static_cast<struct mapping *>(token);

    if (mapping->command)
        mapping->command->CompleteDMA(kIODMACommandCompleteDMANoOptions);
    OSSafeReleaseNULL(mapping->command);
    OSSafeReleaseNULL(mapping->memory);
    IOSafeDeleteNULL(mapping, struct mapping, 1);
}

void vd_shell_dma_complete(void *, void *token)
{
    destroy_mapping(token);
}

int vd_shell_dma_probe(void *, void *token, uint64_t offset, uint64_t *value)
{
    IOMemoryMap *map = nullptr;
    kern_return_t ret;

    ret =
        vd_shell_token_memory(token)->CreateMapping(kIOMemoryMapReadOnly, 0, offset, sizeof(*value), 0, &map);
    if (ret != kIOReturnSuccess)
        return ret;
    memcpy(value, reinterpret_cast<const void *>(map->GetAddress()), sizeof(*value));
    OSSafeReleaseNULL(map);
    return VD_DEXT_SUCCESS;
}

/* Zeroed memory of this process. 0; NO_MEMORY. */
static int create_buffer(uint64_t size, uint64_t alignment, IOBufferMemoryDescriptor **memory,
                         IOAddressSegment *range)
{
    IOBufferMemoryDescriptor *buffer = nullptr;

    if (IOBufferMemoryDescriptor::Create(kIOMemoryDirectionInOut, size, alignment, &buffer) !=
        kIOReturnSuccess)
        return VD_DEXT_NO_MEMORY;
    if (buffer->SetLength(size) != kIOReturnSuccess || buffer->GetAddressRange(range) != kIOReturnSuccess ||
        range->length < size) {
        OSSafeReleaseNULL(buffer);
        return VD_DEXT_NO_MEMORY;
    }
    memset(reinterpret_cast<void *>(range->address), 0, size);
    *memory = buffer;
    return VD_DEXT_SUCCESS;
}

int vd_shell_buffer_create(void *hw, uint64_t size, uint64_t alignment, struct vd_dext_run *run, void **token)
{
    IOBufferMemoryDescriptor *memory = nullptr;
    IOAddressSegment range = {};
    uint32_t nr = 0;
    int status = create_buffer(size, alignment, &memory, &range);

    return status ? status : create_mapping(vd_shell_ivars(hw)->pci, memory, size, run, 1, &nr, token);
}

int vd_shell_page_create(void *, void **memory, void **token)
{
    struct mapping *mapping = IONewZero(struct mapping, 1);
    IOBufferMemoryDescriptor *buffer = nullptr;
    IOAddressSegment range = {};
    int status = VD_DEXT_NO_MEMORY;

    if (mapping)
        status = create_buffer(VD_DEXT_IRQ_PAGE_SIZE, DART_GRANULE, &buffer, &range);
    if (status) {
        IOSafeDeleteNULL(mapping, struct mapping, 1);
        return status;
    }
    mapping->memory = buffer;
    *memory = reinterpret_cast<void *>(range.address);
    *token = mapping;
    return VD_DEXT_SUCCESS;
}

void vd_shell_page_destroy(void *, void *token)
{
    destroy_mapping(token);
}

IOMemoryDescriptor *vd_shell_token_memory(void *token)
{
    return static_cast<struct mapping *>(token)->memory;
}
