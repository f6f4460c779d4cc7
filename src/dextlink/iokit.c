/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The link to a DriverKit extension on a Mac: every operation of link.h is one IOKit call. Built on macOS only; elsewhere
 * tools/typecheck checks its types against tests/stubs/iokit.
 *
 * Completions and the news that the service ended arrive as callbacks on a dispatch queue of the link's own. They are
 * kept under `lock` until poll() takes them; a byte in a pipe makes poll_fd readable while there are any. close() takes
 * the notification port down on that very queue, so that no callback runs afterwards.
 *
 * A call waits for as long as the extension lives: IOKit has no call with a limit. The system ends an extension that
 * hangs, and then the call fails.
 */
#include "dextlink/link.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include <CoreFoundation/CoreFoundation.h>
#include <IOKit/IOKitLib.h>
#include <IOKit/IOMessage.h>
#include <IOKit/IOReturn.h>
#include <dispatch/dispatch.h>
#include <mach/mach.h>

static_assert(VD_DEXT_NOT_ATTACHED == kIOReturnNotAttached, "the ABI's codes are IOReturn's");
static_assert(VD_DEXT_NOT_PERMITTED == kIOReturnNotPermitted, "the ABI's codes are IOReturn's");

#define DRIVER_CLASS "VFIOUserPCIDriver"

/* Asynchronous selectors, one place each. */
enum waiter { WAIT_INTERRUPT, WAIT_EVENT, NR_WAITERS };

struct waiting {
    struct vd_link *link;
    bool outstanding; /* started and not taken by poll() yet */
    bool done;        /* the completion is here */
    struct vd_link_completion completion;
};

/* A mapped memory type. */
struct mapped {
    struct mapped *next;
    struct vd_link_mapping mapping;
};

struct vd_link {
    const struct vd_env *env;
    io_connect_t connect;
    IONotificationPortRef port;
    dispatch_queue_t queue;
    io_object_t interest; /* 0: none */
    struct mapped *mapped;
    int pipe[2];
    pthread_mutex_t lock; /* of everything below */
    bool gone;            /* the service ended */
    bool told;            /* poll() has said so */
    bool raised;          /* there is a byte in the pipe */
    struct waiting waiting[NR_WAITERS];
};

/* IOKit's own codes are the ABI's; the others are about reaching the kernel at all. */
static int status_of(kern_return_t kr)
{
    if (((uint32_t)kr >> 26) == 0x38)
        return kr == kIOReturnOffline ? VD_DEXT_NOT_ATTACHED : kr;
    switch (kr) {
    case KERN_SUCCESS:
        return VD_DEXT_SUCCESS;
    case KERN_NO_SPACE:
    case KERN_RESOURCE_SHORTAGE:
        return VD_DEXT_NO_MEMORY;
    case KERN_INVALID_ARGUMENT:
    case MIG_BAD_ARGUMENTS:
        return VD_DEXT_BAD_ARGUMENT;
    case MACH_SEND_INVALID_DEST:
    case MIG_SERVER_DIED:
        return VD_DEXT_NOT_ATTACHED;
    default:
        return VD_DEXT_IPC_ERROR;
    }
}

/* With the lock: the pipe holds a byte exactly while poll() has something to say. */
static void update_pipe(struct vd_link *link)
{
    bool news = link->gone && !link->told;
    bool wanted = news || link->waiting[WAIT_INTERRUPT].done || link->waiting[WAIT_EVENT].done;
    char byte = 0;
    ssize_t n = 1;

    if (wanted && !link->raised)
        n = write(link->pipe[1], &byte, 1);
    else if (!wanted && link->raised)
        n = read(link->pipe[0], &byte, 1);
    link->raised = wanted;
    assert(n == 1); /* one byte at most is ever in it */
    (void)n;
}

static void finish_wait(struct waiting *waiting, int status, const uint64_t *args, uint32_t nr_args)
{
    struct vd_link *link = waiting->link;

    pthread_mutex_lock(&link->lock);
    waiting->done = true;
    waiting->completion.status = status;
    waiting->completion.nr_args = nr_args;
    for (uint32_t i = 0; i < nr_args; i++)
        waiting->completion.args[i] = args[i];
    update_pipe(link);
    pthread_mutex_unlock(&link->lock);
}

/* IOAsyncCallback0: called without arguments, or with ones that the ABI does not have. */
static void interrupt_came(void *refcon, IOReturn result)
{
    finish_wait(refcon, result, NULL, 0);
}

/* IOAsyncCallback1: a refusal is called without the argument, so it is looked at on success only. */
static void event_came(void *refcon, IOReturn result, void *arg0)
{
    const uint64_t event = (uintptr_t)arg0;

    finish_wait(refcon, result, &event, result == kIOReturnSuccess);
}

/* IOServiceInterestCallback */
static void service_changed(void *refcon, io_service_t service, uint32_t type, void *argument)
{
    struct vd_link *link = refcon;

    (void)service;
    (void)argument;
    if (type != kIOMessageServiceIsTerminated)
        return;
    pthread_mutex_lock(&link->lock);
    link->gone = true;
    update_pipe(link);
    pthread_mutex_unlock(&link->lock);
}

static bool is_gone(struct vd_link *link)
{
    bool gone;

    pthread_mutex_lock(&link->lock);
    gone = link->gone;
    pthread_mutex_unlock(&link->lock);
    return gone;
}

static int iokit_call(struct vd_link *link, struct vd_link_call *call)
{
    int status = VD_DEXT_NOT_ATTACHED;

    if (!is_gone(link))
        status = status_of(IOConnectCallMethod(link->connect, call->selector, call->scalars_in,
                                               call->nr_scalars_in, call->bytes_in, call->nr_bytes_in,
                                               call->scalars_out, &call->nr_scalars_out, call->bytes_out,
                                               call->bytes_out ? &call->nr_bytes_out : NULL));
    if (status) {
        call->nr_scalars_out = 0;
        call->nr_bytes_out = 0;
    }
    return status;
}

/* False: it is outstanding already. */
static bool begin_wait(struct waiting *waiting, uint32_t selector)
{
    struct vd_link *link = waiting->link;
    bool begun;

    pthread_mutex_lock(&link->lock);
    begun = !waiting->outstanding;
    if (begun) {
        waiting->outstanding = true;
        waiting->completion = (struct vd_link_completion){.selector = selector};
    }
    pthread_mutex_unlock(&link->lock);
    return begun;
}

static int iokit_wait(struct vd_link *link, uint32_t selector)
{
    bool interrupt = selector == VD_DEXT_WAIT_INTERRUPT;
    struct waiting *waiting = &link->waiting[interrupt ? WAIT_INTERRUPT : WAIT_EVENT];
    uint64_t reference[kOSAsyncRef64Count] = {0};
    int status;

    if (!interrupt && selector != VD_DEXT_WAIT_EVENT)
        return VD_DEXT_UNSUPPORTED;
    if (is_gone(link))
        return VD_DEXT_NOT_ATTACHED;
    if (!begin_wait(waiting, selector))
        return VD_DEXT_BUSY;
    reference[kIOAsyncCalloutFuncIndex] = interrupt ? (uintptr_t)interrupt_came : (uintptr_t)event_came;
    reference[kIOAsyncCalloutRefconIndex] = (uintptr_t)waiting;
    status = status_of(
        IOConnectCallAsyncMethod(link->connect, selector, IONotificationPortGetMachPort(link->port),
                                 reference, kOSAsyncRef64Count, NULL, 0, NULL, 0, NULL, NULL, NULL, NULL));
    if (status) {
        pthread_mutex_lock(&link->lock);
        waiting->outstanding = false; /* it was refused, so no callback comes */
        pthread_mutex_unlock(&link->lock);
    }
    return status;
}

static bool iokit_poll(struct vd_link *link, struct vd_link_completion *out, bool *gone)
{
    bool found = false;

    pthread_mutex_lock(&link->lock);
    for (unsigned i = 0; !found && i < NR_WAITERS; i++) {
        struct waiting *waiting = &link->waiting[i];

        found = waiting->done;
        if (found) {
            *out = waiting->completion;
            waiting->done = waiting->outstanding = false;
        }
    }
    *gone = !found && link->gone;
    link->told |= *gone; /* else whoever sleeps on the pipe would wake for ever */
    update_pipe(link);
    pthread_mutex_unlock(&link->lock);
    return found;
}

static int iokit_poll_fd(const struct vd_link *link)
{
    return link->pipe[0];
}

static int iokit_map(struct vd_link *link, uint32_t type, uint32_t flags, struct vd_link_mapping *out)
{
    IOOptionBits options = kIOMapAnywhere | (flags & VD_LINK_WRITE_COMBINE ? kIOMapWriteCombineCache : 0);
    struct mapped *mapped = vd_env_alloc(link->env, 1, sizeof(*mapped));
    mach_vm_address_t address = 0;
    mach_vm_size_t size = 0;
    int status;

    if (!mapped)
        return VD_DEXT_NO_MEMORY;
    status = is_gone(link) ? VD_DEXT_NOT_ATTACHED
                           : status_of(IOConnectMapMemory64(link->connect, type, mach_task_self(), &address,
                                                            &size, options));
    if (status) {
        vd_env_free(link->env, mapped);
        return status;
    }
    mapped->mapping =
        (struct vd_link_mapping){.type = type, .address = (void *)(uintptr_t)address, .size = size, .fd = -1};
    mapped->next = link->mapped;
    link->mapped = mapped;
    *out = mapped->mapping;
    return VD_DEXT_SUCCESS;
}

static void unmap_at(struct vd_link *link, struct mapped **at)
{
    struct mapped *mapped = *at;

    *at = mapped->next;
    IOConnectUnmapMemory64(link->connect, mapped->mapping.type, mach_task_self(),
                           (uintptr_t)mapped->mapping.address);
    vd_env_free(link->env, mapped);
}

static void iokit_unmap(struct vd_link *link, struct vd_link_mapping *mapping)
{
    struct mapped **at = &link->mapped;

    while (*at && (*at)->mapping.address != mapping->address)
        at = &(*at)->next;
    assert(*at);
    if (*at)
        unmap_at(link, at);
    *mapping = (struct vd_link_mapping){.fd = -1};
}

/* On the queue: no callback runs meanwhile, and none after the port is gone. */
static void stop_notifications(void *context)
{
    struct vd_link *link = context;

    if (link->interest)
        IOObjectRelease(link->interest);
    IONotificationPortDestroy(link->port);
}

static void iokit_close(struct vd_link *link)
{
    if (!link)
        return;
    while (link->mapped)
        unmap_at(link, &link->mapped);
    if (link->connect)
        IOServiceClose(link->connect);
    if (link->port)
        dispatch_sync_f(link->queue, link, stop_notifications);
    if (link->queue)
        dispatch_release(link->queue);
    for (unsigned i = 0; i < 2; i++)
        if (link->pipe[i] >= 0)
            close(link->pipe[i]);
    pthread_mutex_destroy(&link->lock);
    vd_env_free(link->env, link);
}

/* True when the service is an instance of our driver. */
static bool is_ours(io_service_t service)
{
    CFTypeRef name = IORegistryEntryCreateCFProperty(service, CFSTR("IOUserClass"), kCFAllocatorDefault, 0);
    bool ours = name && CFEqual(name, CFSTR(DRIVER_CLASS));

    if (name)
        CFRelease(name);
    return ours;
}

/* Counts our instances and writes the first `max` ids. */
static int count_ours(io_iterator_t iterator, uint64_t *ids, size_t max)
{
    io_service_t service;
    int count = 0;

    while ((service = IOIteratorNext(iterator))) {
        uint64_t id;

        if (is_ours(service) && IORegistryEntryGetRegistryEntryID(service, &id) == KERN_SUCCESS) {
            if ((size_t)count < max)
                ids[count] = id;
            count++;
        }
        IOObjectRelease(service);
    }
    return count;
}

static int iokit_list(const struct vd_env *env, const char *where, uint64_t *ids, size_t max,
                      struct vd_failure *failure)
{
    io_iterator_t iterator = 0;
    kern_return_t kr;
    int count = 0;

    (void)env;
    if (where)
        return vd_fail_usage(failure, "\"%s\": the extension is found by the system, not at a place", where);
    kr = IOServiceGetMatchingServices(MACH_PORT_NULL, IOServiceMatching("IOUserService"), &iterator);
    if (kr != KERN_SUCCESS)
        return vd_fail(failure, -EIO, "cannot list the system's drivers: 0x%08x", (unsigned)kr);
    if (iterator) {
        count = count_ours(iterator, ids, max);
        IOObjectRelease(iterator);
    }
    if (count == 0)
        return vd_fail(
            failure, -ENOENT,
            "no instance of the extension " DRIVER_CLASS
            " runs: attach the device, and see that `systemextensionsctl list` shows the extension as "
            "[activated enabled]");
    return count;
}

static int explain_open(kern_return_t kr, struct vd_failure *failure)
{
    switch (kr) {
    case kIOReturnNotPermitted:
    case kIOReturnNotPrivileged:
        return vd_fail(
            failure, -EACCES,
            "the system keeps this program from the extension (0x%08x): sign it with the entitlement "
            "com.apple.developer.driverkit.userclient-access for the extension, or use an extension "
            "that has com.apple.developer.driverkit.allow-any-userclient-access",
            (unsigned)kr);
    case kIOReturnNoMemory:
        return vd_fail(failure, -ENOMEM, "the system has no memory for a connection to the extension");
    default:
        return vd_fail(failure, -EIO, "the extension refuses the connection (0x%08x): see the system's log",
                       (unsigned)kr);
    }
}

static bool make_pipe(int ends[2])
{
    if (pipe(ends) < 0) {
        ends[0] = ends[1] = -1;
        return false;
    }
    for (unsigned i = 0; i < 2; i++) {
        fcntl(ends[i], F_SETFD, FD_CLOEXEC);
        fcntl(ends[i], F_SETFL, O_NONBLOCK);
    }
    return true;
}

/* What a link needs besides the connection. 0; -ENOMEM; -EMFILE. */
static int prepare(struct vd_link *link, struct vd_failure *failure)
{
    if (!make_pipe(link->pipe))
        return vd_fail(failure, -EMFILE,
                       "no descriptors left for a connection to the extension: raise the limit "
                       "(ulimit -n)");
    link->queue = dispatch_queue_create("viaduct.dextlink", NULL);
    link->port = link->queue ? IONotificationPortCreate(MACH_PORT_NULL) : NULL;
    if (!link->port)
        return vd_fail(failure, -ENOMEM, "out of memory while connecting to the extension");
    IONotificationPortSetDispatchQueue(link->port, link->queue);
    return 0;
}

/* Interest first: a service that ends right after it was opened is noticed. */
static int connect_to(struct vd_link *link, io_service_t service, struct vd_failure *failure)
{
    kern_return_t kr;

    IOServiceAddInterestNotification(link->port, service, kIOGeneralInterest, service_changed, link,
                                     &link->interest);
    kr = IOServiceOpen(service, mach_task_self(), 0, &link->connect);
    return kr == KERN_SUCCESS ? 0 : explain_open(kr, failure);
}

static struct vd_link *create(const struct vd_env *env)
{
    struct vd_link *link = vd_env_alloc(env, 1, sizeof(*link));

    if (!link)
        return NULL;
    link->env = env;
    link->pipe[0] = link->pipe[1] = -1;
    pthread_mutex_init(&link->lock, NULL);
    for (unsigned i = 0; i < NR_WAITERS; i++)
        link->waiting[i].link = link;
    return link;
}

static int iokit_open(const struct vd_env *env, const char *where, uint64_t id, struct vd_link **out,
                      struct vd_failure *failure)
{
    io_service_t service;
    struct vd_link *link;
    int ret;

    if (where)
        return vd_fail_usage(failure, "\"%s\": the extension is found by the system, not at a place", where);
    service = IOServiceGetMatchingService(MACH_PORT_NULL, IORegistryEntryIDMatching(id));
    if (!service)
        return vd_fail(failure, -ENOENT, "the extension's instance 0x%llx went away: list again",
                       (unsigned long long)id);
    link = create(env);
    if (link)
        ret = prepare(link, failure);
    else
        ret = vd_fail(failure, -ENOMEM, "out of memory while connecting to the extension");
    if (!ret)
        ret = connect_to(link, service, failure);
    IOObjectRelease(service);
    if (ret) {
        iokit_close(link);
        return ret;
    }
    *out = link;
    return 0;
}

const struct vd_link_ops vd_link_iokit = {
    .name = "iokit",
    .needs_file = false,
    .list = iokit_list,
    .open = iokit_open,
    .close = iokit_close,
    .call = iokit_call,
    .wait = iokit_wait,
    .poll = iokit_poll,
    .poll_fd = iokit_poll_fd,
    .map = iokit_map,
    .unmap = iokit_unmap,
    .share = NULL,
    .unshare = NULL,
};
