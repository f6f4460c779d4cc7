/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The core's view of the device, by way of IOPCIDevice, the kernel's object for it. IOReturn values and those of
 * enum vd_dext_return are the same numbers, so they pass unchanged. Accesses themselves report nothing: where the device
 * does not answer they read all ones, which the core knows how to take.
 */
#include "dext/shell/shell.h"

static IOPCIDevice *pci_of(void *hw)
{
    return vd_shell_ivars(hw)->pci;
}

int vd_shell_open(void *hw)
{
    return pci_of(hw)->Open(static_cast<VFIOUserPCIDriver *>(hw), 0);
}

/* The kernel clears memory-space and bus-master enable here, whatever state they are in. */
void vd_shell_close(void *hw)
{
    pci_of(hw)->Close(static_cast<VFIOUserPCIDriver *>(hw), 0);
}

void vd_shell_location(void *hw, uint8_t *bus, uint8_t *device, uint8_t *function)
{
    *bus = *device = *function = 0;
    pci_of(hw)->GetBusDeviceFunction(bus, device, function);
}

int vd_shell_config_read(void *hw, uint32_t offset, uint32_t width, uint32_t *value)
{
    uint8_t byte = 0;
    uint16_t word = 0;

    switch (width) {
    case 1:
        pci_of(hw)->ConfigurationRead8(offset, &byte);
        *value = byte;
        return VD_DEXT_SUCCESS;
    case 2:
        pci_of(hw)->ConfigurationRead16(offset, &word);
        *value = word;
        return VD_DEXT_SUCCESS;
    case 4:
        pci_of(hw)->ConfigurationRead32(offset, value);
        return VD_DEXT_SUCCESS;
    default:
        return VD_DEXT_BAD_ARGUMENT;
    }
}

int vd_shell_config_write(void *hw, uint32_t offset, uint32_t width, uint32_t value)
{
    switch (width) {
    case 1:
        pci_of(hw)->ConfigurationWrite8(offset, static_cast<uint8_t>(value));
        return VD_DEXT_SUCCESS;
    case 2:
        pci_of(hw)->ConfigurationWrite16(offset, static_cast<uint16_t>(value));
        return VD_DEXT_SUCCESS;
    case 4:
        pci_of(hw)->ConfigurationWrite32(offset, value);
        return VD_DEXT_SUCCESS;
    default:
        return VD_DEXT_BAD_ARGUMENT;
    }
}

int vd_shell_bar_info(void *hw, uint32_t bar, uint32_t *memory_index, uint64_t *size, uint32_t *type)
{
    uint8_t index = 0, kind = 0;
    kern_return_t ret;

    *memory_index = *type = 0;
    *size = 0;
    ret = pci_of(hw)->GetBARInfo(static_cast<uint8_t>(bar), &index, size, &kind);
    if (ret != kIOReturnSuccess)
        return ret == kIOReturnNotFound ? VD_DEXT_SUCCESS : ret;
    *memory_index = index;
    *type = kind;
    return VD_DEXT_SUCCESS;
}

int vd_shell_mmio_read(void *hw, uint32_t memory_index, uint64_t offset, uint32_t width, uint64_t *value)
{
    const uint8_t index = static_cast<uint8_t>(memory_index);
    uint8_t byte = 0;
    uint16_t word = 0;
    uint32_t dword = 0;

    switch (width) {
    case 1:
        pci_of(hw)->MemoryRead8(index, offset, &byte);
        *value = byte;
        return VD_DEXT_SUCCESS;
    case 2:
        pci_of(hw)->MemoryRead16(index, offset, &word);
        *value = word;
        return VD_DEXT_SUCCESS;
    case 4:
        pci_of(hw)->MemoryRead32(index, offset, &dword);
        *value = dword;
        return VD_DEXT_SUCCESS;
    case 8:
        pci_of(hw)->MemoryRead64(index, offset, value);
        return VD_DEXT_SUCCESS;
    default:
        return VD_DEXT_BAD_ARGUMENT;
    }
}

int vd_shell_mmio_write(void *hw, uint32_t memory_index, uint64_t offset, uint32_t width, uint64_t value)
{
    const uint8_t index = static_cast<uint8_t>(memory_index);

    switch (width) {
    case 1:
        pci_of(hw)->MemoryWrite8(index, offset, static_cast<uint8_t>(value));
        return VD_DEXT_SUCCESS;
    case 2:
        pci_of(hw)->MemoryWrite16(index, offset, static_cast<uint16_t>(value));
        return VD_DEXT_SUCCESS;
    case 4:
        pci_of(hw)->MemoryWrite32(index, offset, static_cast<uint32_t>(value));
        return VD_DEXT_SUCCESS;
    case 8:
        pci_of(hw)->MemoryWrite64(index, offset, value);
        return VD_DEXT_SUCCESS;
    default:
        return VD_DEXT_BAD_ARGUMENT;
    }
}

/*
 * A hot reset hits every function behind the bridge, and from here nobody can tell whether a sibling is in use. So it is
 * on offer for a device of one function, or when Info.plist says that all functions are this machine's to reset.
 */
uint32_t vd_shell_reset_kinds(void *hw)
{
    uint8_t bus, device, function, header = 0;
    uint32_t kinds = VD_DEXT_RESET_FLR | VD_DEXT_RESET_POWER;

    vd_shell_location(hw, &bus, &device, &function);
    pci_of(hw)->ConfigurationRead8(kIOPCIConfigurationOffsetHeaderType, &header);
    if ((function == 0 && !(header & 0x80)) ||
        vd_shell_property(static_cast<VFIOUserPCIDriver *>(hw), "ViaductHotResetSiblings"))
        kinds |= VD_DEXT_RESET_HOT;
    return kinds;
}

/*
 * The kernel saves config space before and restores it afterwards. It knows FLR by the PCIe capability only and answers
 * kIOReturnUnsupported otherwise, which is how the core wants to be asked to try by itself.
 */
int vd_shell_reset(void *hw, enum vd_dext_reset_kind kind)
{
    switch (kind) {
    case VD_DEXT_RESET_FLR:
        return pci_of(hw)->Reset(kIOPCIDeviceResetTypeFunctionReset, kIOPCIDeviceResetOptionNone);
    case VD_DEXT_RESET_HOT:
        return pci_of(hw)->Reset(kIOPCIDeviceResetTypeHotReset, kIOPCIDeviceResetOptionNone);
    default:
        return VD_DEXT_UNSUPPORTED;
    }
}
