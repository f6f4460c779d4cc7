/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stub for tools/typecheck: what src/dextlink/iokit.c uses of CoreFoundation, with the signatures of the macOS SDK. (There
 * CFSTR() makes a constant; a call of the function behind it has the same type.)
 */
#ifndef TESTS_STUBS_IOKIT_COREFOUNDATION_H
#define TESTS_STUBS_IOKIT_COREFOUNDATION_H

typedef unsigned char Boolean;
typedef const void *CFTypeRef;
typedef const struct __CFString *CFStringRef;
typedef const struct __CFAllocator *CFAllocatorRef;
typedef const struct __CFDictionary *CFDictionaryRef;
typedef struct __CFDictionary *CFMutableDictionaryRef;

extern const CFAllocatorRef kCFAllocatorDefault;

CFStringRef __CFStringMakeConstantString(const char *cStr);
#define CFSTR(cStr) __CFStringMakeConstantString("" cStr "")

Boolean CFEqual(CFTypeRef cf1, CFTypeRef cf2);
void CFRelease(CFTypeRef cf);

#endif
