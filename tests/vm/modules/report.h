/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a test module has found out, as /sys/kernel/debug/MODULE/report. A line is "ok FACT", "not-ok FACT: WHY" or
 * "data KEY VALUE", as the guest's script hands them to the host. Process context only: whoever runs elsewhere counts,
 * and lets a thread report.
 */
#ifndef TEST_REPORT_H
#define TEST_REPORT_H

#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>

#define REPORT_SIZE 16384

static struct {
	struct dentry *dir;
	struct mutex lock;
	size_t len;
	char text[REPORT_SIZE];
} report = {.lock = __MUTEX_INITIALIZER(report.lock)};

static int report_show(struct seq_file *file, void *unused)
{
	mutex_lock(&report.lock);
	seq_write(file, report.text, report.len);
	mutex_unlock(&report.lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(report);

static void report_init(void)
{
	report.dir = debugfs_create_dir(KBUILD_MODNAME, NULL);
	debugfs_create_file("report", 0400, report.dir, NULL, &report_fops);
}

static void report_exit(void)
{
	debugfs_remove_recursive(report.dir);
}

static __printf(1, 2) void report_line(const char *format, ...)
{
	va_list args;

	mutex_lock(&report.lock);
	va_start(args, format);
	report.len += vscnprintf(report.text + report.len, REPORT_SIZE - report.len, format, args);
	va_end(args);
	mutex_unlock(&report.lock);
}

/* Why is only said when it is not so; the value of `good` comes back. */
#define FACT(good, fact, why, ...)                                                                 \
	({                                                                                         \
		bool good_ = (good);                                                               \
		if (good_)                                                                         \
			report_line("ok %s\n", fact);                                              \
		else                                                                               \
			report_line("not-ok %s: " why "\n", fact, ##__VA_ARGS__);                  \
		good_;                                                                             \
	})

#endif
