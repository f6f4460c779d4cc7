/* SPDX-License-Identifier: BSD-3-Clause */
/* See DriverKit/OSObject.h. */
#ifndef STUBS_PCIDRIVERKIT_H
#define STUBS_PCIDRIVERKIT_H

#include <DriverKit/IOMemoryDescriptor.h>
#include <DriverKit/IOService.h>

enum { kIOInterruptTypePCIMessaged = 0x00010000, kIOInterruptTypePCIMessagedX = 0x00020000 };

enum { kIOPCIConfigurationOffsetHeaderType = 0x0e };
enum { kIOPCICapabilityIDMSI = 0x05, kIOPCICapabilityIDMSIX = 0x11 };

typedef enum tIOPCIDeviceResetTypes {
    kIOPCIDeviceResetTypeHotReset = 0x01,
    kIOPCIDeviceResetTypeFunctionReset = 0x10,
} tIOPCIDeviceResetTypes;

typedef enum tIOPCIDeviceResetOptions { kIOPCIDeviceResetOptionNone = 0 } tIOPCIDeviceResetOptions;

class IOPCIDevice : public IOService
{
  public:
    kern_return_t Open(IOService *forClient, IOOptionBits options = 0);
    void Close(IOService *forClient, IOOptionBits options = 0);

    void ConfigurationRead32(uint64_t offset, uint32_t *readData);
    void ConfigurationRead16(uint64_t offset, uint16_t *readData);
    void ConfigurationRead8(uint64_t offset, uint8_t *readData);
    void ConfigurationWrite32(uint64_t offset, uint32_t data);
    void ConfigurationWrite16(uint64_t offset, uint16_t data);
    void ConfigurationWrite8(uint64_t offset, uint8_t data);

    void MemoryRead64(uint8_t memoryIndex, uint64_t offset, uint64_t *readData);
    void MemoryRead32(uint8_t memoryIndex, uint64_t offset, uint32_t *readData);
    void MemoryRead16(uint8_t memoryIndex, uint64_t offset, uint16_t *readData);
    void MemoryRead8(uint8_t memoryIndex, uint64_t offset, uint8_t *readData);
    void MemoryWrite64(uint8_t memoryIndex, uint64_t offset, uint64_t data);
    void MemoryWrite32(uint8_t memoryIndex, uint64_t offset, uint32_t data);
    void MemoryWrite16(uint8_t memoryIndex, uint64_t offset, uint16_t data);
    void MemoryWrite8(uint8_t memoryIndex, uint64_t offset, uint8_t data);

    DK_CALL(kern_return_t, GetBusDeviceFunction, uint8_t *returnBusNumber, uint8_t *returnDeviceNumber,
            uint8_t *returnFunctionNumber);
    DK_CALL(kern_return_t, FindPCICapability, uint32_t capabilityID, uint64_t searchOffset,
            uint64_t *foundCapabilityOffset);
    DK_CALL(kern_return_t, SaveDeviceState, IOOptionBits options = 0);
    DK_CALL(kern_return_t, RestoreDeviceState, IOOptionBits options = 0);
    DK_CALL(kern_return_t, GetBARInfo, uint8_t barIndex, uint8_t *memoryIndex, uint64_t *barSize = 0,
            uint8_t *barType = 0);
    DK_CALL(kern_return_t, ConfigureInterrupts, uint32_t interruptType, uint32_t numRequired = 1,
            uint32_t numRequested = 1, IOOptionBits options = 0);
    DK_CALL(kern_return_t, Reset, IOOptionBits type, IOOptionBits options = 0);
    DK_CALL(kern_return_t, _CopyDeviceMemoryWithIndex, uint64_t memoryIndex,
            IOMemoryDescriptor **returnMemory, IOService *forClient);
};

#endif
