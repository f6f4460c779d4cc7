/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A stand-in for DriverKit's header of this name: the part that dext/shell uses, for type-checking on systems without the
 * SDK. Signatures follow Apple's published interface files (xnu: iokit/DriverKit, IOPCIFamily: PCIDriverKit); nothing
 * here has a body. A method that Apple's iig turns into a message is declared with DK_METHOD, which is what iig makes
 * of it: the call, which takes SUPERDISPATCH as an extra last argument, and <name>_Impl, which a subclass implements.
 * With __IIG defined it is what iig itself reads: the plain virtual method, for checking the .iig files.
 */
#ifndef STUBS_DRIVERKIT_OSOBJECT_H
#define STUBS_DRIVERKIT_OSOBJECT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <DriverKit/IOReturn.h>

#define KERNEL
#define NATIVE
#define LOCAL
#define LOCALONLY
#define TARGET
#define TYPE(method)
#define QUEUENAME(name)

class OSMetaClassBase;
struct IORPC;
typedef kern_return_t (*OSDispatchMethod)(OSMetaClassBase *self, const struct IORPC rpc);

#ifdef __IIG
#define DK_METHOD(type, name, ...) virtual type name(__VA_ARGS__)
#define DK_METHOD0(type, name)     virtual type name()
#else
#define DK_METHOD(type, name, ...)                                                                           \
    virtual type name##_Impl(__VA_ARGS__);                                                                   \
    type name(__VA_ARGS__, OSDispatchMethod supermethod = nullptr)
#define DK_METHOD0(type, name)                                                                               \
    virtual type name##_Impl();                                                                              \
    type name(OSDispatchMethod supermethod = nullptr)
#endif
/* As above, for a method of the kernel's classes that no subclass here implements. */
#define DK_CALL(type, name, ...)   type name(__VA_ARGS__, OSDispatchMethod supermethod = nullptr)
#define DK_STATIC(type, name, ...) static type name(__VA_ARGS__)

#define SUPERDISPATCH ((OSDispatchMethod)&super::_Dispatch)

class OSMetaClassBase
{
  public:
    virtual void retain() const;
    virtual void release() const;
};

class OSObject : public OSMetaClassBase
{
  public:
    virtual bool init();
    virtual void free();
    static kern_return_t _Dispatch(OSMetaClassBase *self, const struct IORPC rpc);

  protected:
    virtual ~OSObject();
};

class OSContainer : public OSObject
{
};

/* The real cast looks at the class of the object; this one lets through what could be one. */
#define OSDynamicCast(type, inst) (static_cast<type *>(inst))
#define OSSafeReleaseNULL(inst)                                                                              \
    do {                                                                                                     \
        if (inst)                                                                                            \
            (inst)->release();                                                                               \
        (inst) = nullptr;                                                                                    \
    } while (0)

#endif
