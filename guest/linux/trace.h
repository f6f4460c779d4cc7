/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tracepoints: every request, and every exchange with the host. A trace for bench/windows is made
 * of the first two: "m <bus> <gpa> <len>" for a map, "u <bus>" for an unmap. Two requests for the
 * same memory have the same bus address; their unmaps come in any order.
 */
/* clang-format off */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM viaduct_dma

#if !defined(VIADUCT_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define VIADUCT_TRACE_H

#include <linux/pci.h>
#include <linux/tracepoint.h>

TRACE_EVENT(viaduct_map,
	TP_PROTO(struct device *dev, u64 bus, u64 gpa, u64 len, bool hit),
	TP_ARGS(dev, bus, gpa, len, hit),
	TP_STRUCT__entry(
		__field(u32, bdf)
		__field(u64, bus)
		__field(u64, gpa)
		__field(u64, len)
		__field(bool, hit)
	),
	TP_fast_assign(
		__entry->bdf = pci_dev_id(to_pci_dev(dev));
		__entry->bus = bus;
		__entry->gpa = gpa;
		__entry->len = len;
		__entry->hit = hit;
	),
	TP_printk("dev=%04x bus=%llx gpa=%llx len=%llx hit=%d", __entry->bdf, __entry->bus,
		  __entry->gpa, __entry->len, __entry->hit)
);

TRACE_EVENT(viaduct_unmap,
	TP_PROTO(struct device *dev, u64 bus, u64 gpa, u64 len),
	TP_ARGS(dev, bus, gpa, len),
	TP_STRUCT__entry(
		__field(u32, bdf)
		__field(u64, bus)
		__field(u64, gpa)
		__field(u64, len)
	),
	TP_fast_assign(
		__entry->bdf = pci_dev_id(to_pci_dev(dev));
		__entry->bus = bus;
		__entry->gpa = gpa;
		__entry->len = len;
	),
	TP_printk("dev=%04x bus=%llx gpa=%llx len=%llx", __entry->bdf, __entry->bus, __entry->gpa,
		  __entry->len)
);

/* dev is the companion. */
TRACE_EVENT(viaduct_exchange,
	TP_PROTO(struct device *dev, u32 maps, u32 unmaps, u32 doorbells),
	TP_ARGS(dev, maps, unmaps, doorbells),
	TP_STRUCT__entry(
		__field(u32, bdf)
		__field(u32, maps)
		__field(u32, unmaps)
		__field(u32, doorbells)
	),
	TP_fast_assign(
		__entry->bdf = pci_dev_id(to_pci_dev(dev));
		__entry->maps = maps;
		__entry->unmaps = unmaps;
		__entry->doorbells = doorbells;
	),
	TP_printk("dev=%04x maps=%u unmaps=%u doorbells=%u", __entry->bdf, __entry->maps,
		  __entry->unmaps, __entry->doorbells)
);

#endif

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
