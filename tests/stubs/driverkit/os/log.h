/* SPDX-License-Identifier: BSD-3-Clause */
/* See DriverKit/OSObject.h. The real one knows "%{public}s"; formats are not checked here. */
#ifndef STUBS_OS_LOG_H
#define STUBS_OS_LOG_H

typedef struct os_log_s *os_log_t;
#define OS_LOG_DEFAULT ((os_log_t) nullptr)

extern "C" void os_log(os_log_t log, const char *format, ...);

#endif
