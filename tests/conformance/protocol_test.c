/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The protocol from its specification (docs/interop/vfio-user.rst of QEMU), message by message, in raw bytes: a table of
 * conversations. Each step sends one command and says what must come back. After every conversation the session must
 * still answer, unless the last step says that it is closed, and no descriptor may be left open.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "codec/codec.h"
#include "peer.h"
#include "proto/vfio_user.h"

enum expect {
    END = 0, /* no more steps */
    OK,      /* a reply with `reply` bytes of payload */
    ERR,     /* an error reply with errno `error`, header only */
    CLOSED,  /* an error reply or none, then the end of the session */
    SILENT,  /* nothing (No_reply) */
};

enum {
    EINVAL_ = 22,
    EEXIST_ = 17,
    ENOENT_ = 2,
    ENOTTY_ = 25,
    ENOTSUP_ = 95
}; /* Linux's numbers, on any host */
enum { ANY = -1 };

struct step {
    enum expect expect;
    uint16_t command;
    uint32_t flags;
    const uint8_t *payload;
    size_t size;
    int error;                /* ERR */
    long reply;               /* OK: bytes of payload, or ANY */
    uint8_t memfds, eventfds; /* descriptors to send along */
};

struct talk {
    const char *name;
    bool raw; /* no VERSION first */
    struct step steps[6];
};

#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})
#define NONE       NULL, 0

#define VERSION(major, minor)                          B16(major), B16(minor)
#define MAP(argsz, flags, offset, address, size)       B32(argsz), B32(flags), B64(offset), B64(address), B64(size)
#define UNMAP(argsz, flags, address, size)             B32(argsz), B32(flags), B64(address), B64(size)
#define FOUR(a, b, c, d)                               B32(a), B32(b), B32(c), B32(d)
#define REGION(argsz, flags, index, cap, size, offset) FOUR(argsz, flags, index, cap), B64(size), B64(offset)
#define IRQS(argsz, flags, index, start, count)        FOUR(argsz, flags, index, start), B32(count)
#define ACCESS(offset, region, count)                  B64(offset), B32(region), B32(count)
#define ONE(offset, region, count)                     ACCESS(offset, region, count), B64(0x1122334455667788)

#define M 0x100000ull /* 1 MiB */

/* One refused or granted command. */
#define REFUSED(name_, command_, errno_, ...)                                                                \
    {                                                                                                        \
        .name = name_, .steps = { {ERR, command_, 0, BYTES(__VA_ARGS__), errno_, 0, 0, 0} }                  \
    }
#define GRANTED(name_, command_, reply_, ...)                                                                \
    {                                                                                                        \
        .name = name_, .steps = { {OK, command_, 0, BYTES(__VA_ARGS__), 0, reply_, 0, 0} }                   \
    }
#define REFUSED_FDS(name_, command_, errno_, memfds_, ...)                                                   \
    {                                                                                                        \
        .name = name_, .steps = { {ERR, command_, 0, BYTES(__VA_ARGS__), errno_, 0, memfds_, 0} }            \
    }

#define MAPPED(address, size)                                                                                \
    {                                                                                                        \
        OK, VFIO_USER_DMA_MAP, 0, BYTES(MAP(32, 3, 0, address, size)), 0, 0, 1, 0                            \
    }

static const struct talk talks[] = {
    /* VERSION */
    {"version_without_data_is_accepted",
     true,
     {{OK, VFIO_USER_VERSION, 0, BYTES(VERSION(0, 0)), 0, ANY, 0, 0}}},
    {"version_with_a_higher_minor_is_accepted",
     true,
     {{OK, VFIO_USER_VERSION, 0, BYTES(VERSION(0, 7), '{', '}', 0), 0, ANY, 0, 0}}},
    {"version_with_another_major_is_closed",
     true,
     {{CLOSED, VFIO_USER_VERSION, 0, BYTES(VERSION(1, 0), '{', '}', 0), 0, 0, 0, 0}}},
    {"version_without_its_nul_is_closed",
     true,
     {{CLOSED, VFIO_USER_VERSION, 0, BYTES(VERSION(0, 0), '{', '}'), 0, 0, 0, 0}}},
    {"version_with_a_nul_in_the_middle_is_closed",
     true,
     {{CLOSED, VFIO_USER_VERSION, 0, BYTES(VERSION(0, 0), '{', 0, '}', 0), 0, 0, 0, 0}}},
    {"version_with_malformed_json_is_closed",
     true,
     {{CLOSED, VFIO_USER_VERSION, 0, BYTES(VERSION(0, 0), '{', '"', 'a', 0), 0, 0, 0, 0}}},
    {"version_with_a_json_array_is_closed",
     true,
     {{CLOSED, VFIO_USER_VERSION, 0, BYTES(VERSION(0, 0), '[', ']', 0), 0, 0, 0, 0}}},
    {"version_with_no_reply_is_closed",
     true,
     {{CLOSED, VFIO_USER_VERSION, VFIO_USER_NO_REPLY, BYTES(VERSION(0, 0)), 0, 0, 0, 0}}},
    {"version_too_short_is_refused",
     true,
     {{ERR, VFIO_USER_VERSION, 0, BYTES(B16(0)), EINVAL_, 0, 0, 0},
      {OK, VFIO_USER_VERSION, 0, BYTES(VERSION(0, 0)), 0, ANY, 0, 0}}},
    {"version_empty_is_refused",
     true,
     {{ERR, VFIO_USER_VERSION, 0, NONE, EINVAL_, 0, 0, 0},
      {OK, VFIO_USER_VERSION, 0, BYTES(VERSION(0, 0)), 0, ANY, 0, 0}}},
    {"version_with_a_descriptor_is_refused",
     true,
     {{ERR, VFIO_USER_VERSION, 0, BYTES(VERSION(0, 0)), EINVAL_, 0, 1, 0},
      {OK, VFIO_USER_VERSION, 0, BYTES(VERSION(0, 0)), 0, ANY, 0, 0}}},
    {"version_twice_is_refused",
     false,
     {{ERR, VFIO_USER_VERSION, 0, BYTES(VERSION(0, 0), '{', '}', 0), EINVAL_, 0, 0, 0}}},

/* Nothing but VERSION at first */
#define EARLY(name_, command_, ...)                                                                          \
    {                                                                                                        \
        name_, true,                                                                                         \
        {                                                                                                    \
            {ERR, command_, 0, __VA_ARGS__, EINVAL_, 0, 0, 0},                                               \
            {                                                                                                \
                OK, VFIO_USER_VERSION, 0, BYTES(VERSION(0, 0)), 0, ANY, 0, 0                                 \
            }                                                                                                \
        }                                                                                                    \
    }
    EARLY("dma_map_before_version_is_refused", VFIO_USER_DMA_MAP, BYTES(MAP(32, 3, 0, M, M))),
    EARLY("dma_unmap_before_version_is_refused", VFIO_USER_DMA_UNMAP, BYTES(UNMAP(24, 0, M, M))),
    EARLY("device_info_before_version_is_refused", VFIO_USER_DEVICE_GET_INFO, BYTES(FOUR(16, 0, 0, 0))),
    EARLY("region_info_before_version_is_refused", VFIO_USER_DEVICE_GET_REGION_INFO,
          BYTES(REGION(32, 0, 0, 0, 0, 0))),
    EARLY("irq_info_before_version_is_refused", VFIO_USER_DEVICE_GET_IRQ_INFO, BYTES(FOUR(16, 0, 0, 0))),
    EARLY("region_read_before_version_is_refused", VFIO_USER_REGION_READ, BYTES(ACCESS(0, 7, 4))),
    EARLY("region_write_before_version_is_refused", VFIO_USER_REGION_WRITE, BYTES(ACCESS(0, 7, 4), B32(0))),
    EARLY("reset_before_version_is_refused", VFIO_USER_DEVICE_RESET, NONE),
    EARLY("unknown_command_before_version_is_refused", 99, NONE),

    /* Commands that do not exist or are not the client's */
    {"command_0_is_refused", false, {{ERR, 0, 0, NONE, ENOTSUP_, 0, 0, 0}}},
    {"command_19_is_refused", false, {{ERR, 19, 0, NONE, ENOTSUP_, 0, 0, 0}}},
    {"command_65535_is_refused", false, {{ERR, 65535, 0, BYTES(B64(0)), ENOTSUP_, 0, 0, 0}}},
    {"unknown_command_with_a_descriptor_is_refused", false, {{ERR, 99, 0, NONE, EINVAL_, 0, 1, 0}}},
    {"dma_read_from_the_client_is_refused",
     false,
     {{ERR, VFIO_USER_DMA_READ, 0, BYTES(B64(0), B64(16)), EINVAL_, 0, 0, 0}}},
    {"dma_write_from_the_client_is_refused",
     false,
     {{ERR, VFIO_USER_DMA_WRITE, 0, BYTES(B64(0), B64(1), 1), EINVAL_, 0, 0, 0}}},
    REFUSED("dirty_pages_is_not_supported", VFIO_USER_DIRTY_PAGES, ENOTSUP_, B64(0)),
    {"command_with_the_error_flag_is_refused",
     false,
     {{ERR, VFIO_USER_DEVICE_GET_INFO, VFIO_USER_ERROR, BYTES(FOUR(16, 0, 0, 0)), EINVAL_, 0, 0, 0}}},
    {"command_with_reserved_flags_is_refused",
     false,
     {{ERR, VFIO_USER_DEVICE_GET_INFO, 0x40, BYTES(FOUR(16, 0, 0, 0)), EINVAL_, 0, 0, 0}}},
    {"message_of_an_unknown_type_is_closed",
     false,
     {{CLOSED, VFIO_USER_DEVICE_GET_INFO, 2, BYTES(FOUR(16, 0, 0, 0)), 0, 0, 0, 0}}},
    {"reply_to_nothing_is_closed",
     false,
     {{CLOSED, VFIO_USER_DMA_READ, VFIO_USER_TYPE_REPLY, BYTES(B64(0), B64(0)), 0, 0, 0, 0}}},
    {"reply_before_version_is_closed",
     true,
     {{CLOSED, VFIO_USER_VERSION, VFIO_USER_TYPE_REPLY, BYTES(VERSION(0, 0)), 0, 0, 0, 0}}},

    /* DMA_MAP */
    {"dma_map_with_a_descriptor_is_granted", false, {MAPPED(M, M)}},
    GRANTED("dma_map_without_a_descriptor_is_granted", VFIO_USER_DMA_MAP, 0, MAP(32, 3, 0, M, 0x1000)),
    GRANTED("dma_map_for_reading_only_is_granted", VFIO_USER_DMA_MAP, 0, MAP(32, 1, 0, M, 0x1000)),
    GRANTED("dma_map_at_the_end_of_the_address_space_is_granted", VFIO_USER_DMA_MAP, 0,
            MAP(32, 3, 0, 0xfffffffffffff000, 0x1000)),
    {"dma_map_of_a_part_of_a_file_is_granted",
     false,
     {{OK, VFIO_USER_DMA_MAP, 0, BYTES(MAP(32, 3, M, M, M)), 0, 0, 1, 0}}},
    REFUSED("dma_map_too_short_is_refused", VFIO_USER_DMA_MAP, EINVAL_, B64(32), B64(0), B64(M)),
    REFUSED("dma_map_too_long_is_refused", VFIO_USER_DMA_MAP, EINVAL_, MAP(32, 3, 0, M, M), 0),
    {"dma_map_empty_is_refused", false, {{ERR, VFIO_USER_DMA_MAP, 0, NONE, EINVAL_, 0, 0, 0}}},
    REFUSED("dma_map_with_a_small_argsz_is_refused", VFIO_USER_DMA_MAP, EINVAL_, MAP(31, 3, 0, M, M)),
    REFUSED("dma_map_with_no_access_is_refused", VFIO_USER_DMA_MAP, EINVAL_, MAP(32, 0, 0, M, M)),
    REFUSED("dma_map_with_unknown_flags_is_refused", VFIO_USER_DMA_MAP, EINVAL_, MAP(32, 7, 0, M, M)),
    REFUSED("dma_map_with_high_flags_is_refused", VFIO_USER_DMA_MAP, EINVAL_, MAP(32, 0x80000003, 0, M, M)),
    REFUSED("dma_map_of_size_0_is_refused", VFIO_USER_DMA_MAP, EINVAL_, MAP(32, 3, 0, M, 0)),
    REFUSED("dma_map_at_an_unaligned_address_is_refused", VFIO_USER_DMA_MAP, EINVAL_,
            MAP(32, 3, 0, M + 1, 0x1000)),
    REFUSED("dma_map_of_an_unaligned_size_is_refused", VFIO_USER_DMA_MAP, EINVAL_, MAP(32, 3, 0, M, 0x1001)),
    REFUSED("dma_map_that_wraps_is_refused", VFIO_USER_DMA_MAP, EINVAL_,
            MAP(32, 3, 0, 0xfffffffffffff000, 0x2000)),
    REFUSED("dma_map_of_everything_and_more_is_refused", VFIO_USER_DMA_MAP, EINVAL_,
            MAP(32, 3, 0, 0x1000, 0xfffffffffffff000)),
    REFUSED("dma_map_with_an_offset_but_no_descriptor_is_refused", VFIO_USER_DMA_MAP, EINVAL_,
            MAP(32, 3, 0x1000, M, 0x1000)),
    REFUSED_FDS("dma_map_with_two_descriptors_is_refused", VFIO_USER_DMA_MAP, EINVAL_, 2,
                MAP(32, 3, 0, M, M)),
    REFUSED_FDS("dma_map_beyond_the_file_is_refused", VFIO_USER_DMA_MAP, EINVAL_, 1, MAP(32, 3, 0, M, 4 * M)),
    REFUSED_FDS("dma_map_at_an_offset_beyond_the_file_is_refused", VFIO_USER_DMA_MAP, EINVAL_, 1,
                MAP(32, 3, 2 * M, M, M)),
    REFUSED_FDS("dma_map_at_a_wrapping_offset_is_refused", VFIO_USER_DMA_MAP, EINVAL_, 1,
                MAP(32, 3, 0xfffffffffffff000, M, M)),
    {"dma_map_of_an_eventfd_is_refused",
     false,
     {{ERR, VFIO_USER_DMA_MAP, 0, BYTES(MAP(32, 3, 0, M, 0x1000)), ANY, 0, 0, 1}}},
    {"dma_map_over_an_existing_range_fails_eexist",
     false,
     {MAPPED(M, M), {ERR, VFIO_USER_DMA_MAP, 0, BYTES(MAP(32, 3, 0, M, M)), EEXIST_, 0, 1, 0}}},
    {"dma_map_into_an_existing_range_fails_eexist",
     false,
     {MAPPED(M, M), {ERR, VFIO_USER_DMA_MAP, 0, BYTES(MAP(32, 3, 0, M + 0x4000, 0x1000)), EEXIST_, 0, 0, 0}}},
    {"dma_map_around_an_existing_range_fails_eexist",
     false,
     {MAPPED(2 * M, M), {ERR, VFIO_USER_DMA_MAP, 0, BYTES(MAP(32, 3, 0, M, 16 * M)), EEXIST_, 0, 0, 0}}},
    {"dma_map_overlapping_by_a_page_fails_eexist",
     false,
     {MAPPED(M, M),
      {ERR, VFIO_USER_DMA_MAP, 0, BYTES(MAP(32, 3, 0, 2 * M - 0x1000, 0x2000)), EEXIST_, 0, 0, 0}}},
    {"dma_map_next_to_an_existing_range_is_granted", false, {MAPPED(M, M), MAPPED(2 * M, M)}},
    {"dma_map_again_after_unmap_is_granted",
     false,
     {MAPPED(M, M), {OK, VFIO_USER_DMA_UNMAP, 0, BYTES(UNMAP(24, 0, M, M)), 0, 24, 0, 0}, MAPPED(M, M)}},

    /* DMA_UNMAP */
    {"dma_unmap_of_a_mapping_answers_its_entry",
     false,
     {MAPPED(M, M), {OK, VFIO_USER_DMA_UNMAP, 0, BYTES(UNMAP(24, 0, M, M)), 0, 24, 0, 0}}},
    GRANTED("dma_unmap_of_nothing_is_granted", VFIO_USER_DMA_UNMAP, 24, UNMAP(24, 0, M, M)),
    GRANTED("dma_unmap_of_a_huge_empty_range_is_granted", VFIO_USER_DMA_UNMAP, 24,
            UNMAP(24, 0, 0, 1ull << 47)),
    {"dma_unmap_of_an_aligned_power_of_two_around_mappings_removes_them",
     false,
     {MAPPED(M, M),
      MAPPED(2 * M, M),
      {OK, VFIO_USER_DMA_UNMAP, 0, BYTES(UNMAP(24, 0, 0, 4 * M)), 0, 24, 0, 0},
      MAPPED(M, M),
      MAPPED(2 * M, M)}},
    {"dma_unmap_of_a_part_of_a_mapping_fails_enoent",
     false,
     {MAPPED(M, M),
      {ERR, VFIO_USER_DMA_UNMAP, 0, BYTES(UNMAP(24, 0, M, 0x1000)), ENOENT_, 0, 0, 0},
      {OK, VFIO_USER_DMA_UNMAP, 0, BYTES(UNMAP(24, 0, M, M)), 0, 24, 0, 0}}},
    {"dma_unmap_of_the_inside_of_a_mapping_fails_enoent",
     false,
     {MAPPED(M, M),
      {ERR, VFIO_USER_DMA_UNMAP, 0, BYTES(UNMAP(24, 0, M + 0x1000, 0x1000)), ENOENT_, 0, 0, 0}}},
    {"dma_unmap_that_cuts_a_mapping_fails_enoent",
     false,
     {MAPPED(M, 2 * M), {ERR, VFIO_USER_DMA_UNMAP, 0, BYTES(UNMAP(24, 0, 0, 2 * M)), ENOENT_, 0, 0, 0}}},
    {"dma_unmap_of_an_odd_range_around_a_mapping_fails_enoent",
     false,
     {MAPPED(M, M), {ERR, VFIO_USER_DMA_UNMAP, 0, BYTES(UNMAP(24, 0, 0, 3 * M)), ENOENT_, 0, 0, 0}}},
    {"dma_unmap_twice_is_granted",
     false,
     {MAPPED(M, M),
      {OK, VFIO_USER_DMA_UNMAP, 0, BYTES(UNMAP(24, 0, M, M)), 0, 24, 0, 0},
      {OK, VFIO_USER_DMA_UNMAP, 0, BYTES(UNMAP(24, 0, M, M)), 0, 24, 0, 0}}},
    {"dma_unmap_all_removes_everything",
     false,
     {MAPPED(M, M),
      MAPPED(3 * M, M),
      {OK, VFIO_USER_DMA_UNMAP, 0, BYTES(UNMAP(24, 2, 0, 0)), 0, 24, 0, 0},
      MAPPED(M, 2 * M)}},
    REFUSED("dma_unmap_all_with_an_address_is_refused", VFIO_USER_DMA_UNMAP, EINVAL_, UNMAP(24, 2, M, 0)),
    REFUSED("dma_unmap_all_with_a_size_is_refused", VFIO_USER_DMA_UNMAP, EINVAL_, UNMAP(24, 2, 0, M)),
    REFUSED("dma_unmap_with_a_dirty_bitmap_is_refused", VFIO_USER_DMA_UNMAP, EINVAL_, UNMAP(24, 1, M, M)),
    REFUSED("dma_unmap_with_unknown_flags_is_refused", VFIO_USER_DMA_UNMAP, EINVAL_, UNMAP(24, 0x100, M, M)),
    REFUSED("dma_unmap_of_size_0_is_refused", VFIO_USER_DMA_UNMAP, EINVAL_, UNMAP(24, 0, M, 0)),
    REFUSED("dma_unmap_that_wraps_is_refused", VFIO_USER_DMA_UNMAP, EINVAL_,
            UNMAP(24, 0, 0xfffffffffffff000, 0x2000)),
    REFUSED("dma_unmap_with_a_small_argsz_is_refused", VFIO_USER_DMA_UNMAP, EINVAL_, UNMAP(16, 0, M, M)),
    REFUSED("dma_unmap_too_short_is_refused", VFIO_USER_DMA_UNMAP, EINVAL_, FOUR(24, 0, 0, 0)),
    REFUSED("dma_unmap_too_long_is_refused", VFIO_USER_DMA_UNMAP, EINVAL_, UNMAP(24, 0, M, M), B32(0)),
    REFUSED_FDS("dma_unmap_with_a_descriptor_is_refused", VFIO_USER_DMA_UNMAP, EINVAL_, 1,
                UNMAP(24, 0, M, M)),

    /* GET_INFO */
    GRANTED("device_info_is_granted", VFIO_USER_DEVICE_GET_INFO, 16, FOUR(16, 0, 0, 0)),
    GRANTED("device_info_with_more_room_is_granted", VFIO_USER_DEVICE_GET_INFO, 16, FOUR(4096, 0, 0, 0)),
    REFUSED("device_info_with_a_small_argsz_is_refused", VFIO_USER_DEVICE_GET_INFO, EINVAL_,
            FOUR(15, 0, 0, 0)),
    REFUSED("device_info_with_flags_is_refused", VFIO_USER_DEVICE_GET_INFO, EINVAL_, FOUR(16, 1, 0, 0)),
    REFUSED("device_info_with_regions_is_refused", VFIO_USER_DEVICE_GET_INFO, EINVAL_, FOUR(16, 0, 9, 0)),
    REFUSED("device_info_with_irqs_is_refused", VFIO_USER_DEVICE_GET_INFO, EINVAL_, FOUR(16, 0, 0, 5)),
    REFUSED("device_info_too_short_is_refused", VFIO_USER_DEVICE_GET_INFO, EINVAL_, B64(16)),
    REFUSED("device_info_too_long_is_refused", VFIO_USER_DEVICE_GET_INFO, EINVAL_, FOUR(16, 0, 0, 0), B32(0)),
    REFUSED_FDS("device_info_with_a_descriptor_is_refused", VFIO_USER_DEVICE_GET_INFO, EINVAL_, 1,
                FOUR(16, 0, 0, 0)),
    {"device_info_with_sixteen_descriptors_is_refused",
     false,
     {{ERR, VFIO_USER_DEVICE_GET_INFO, 0, BYTES(FOUR(16, 0, 0, 0)), EINVAL_, 0, 0, 16}}},
    {"message_with_seventeen_descriptors_is_closed",
     false,
     {{CLOSED, VFIO_USER_DEVICE_GET_INFO, 0, BYTES(FOUR(16, 0, 0, 0)), 0, 0, 0, 17}}},
    {"message_with_twenty_descriptors_is_closed",
     false,
     {{CLOSED, VFIO_USER_DEVICE_SET_IRQS, 0, BYTES(IRQS(20, 0x24, 2, 0, 20)), 0, 0, 0, 20}}},

    /* GET_REGION_INFO */
    GRANTED("region_info_of_config_space_is_granted", VFIO_USER_DEVICE_GET_REGION_INFO, 32,
            REGION(32, 0, 7, 0, 0, 0)),
    GRANTED("region_info_of_an_absent_region_is_granted", VFIO_USER_DEVICE_GET_REGION_INFO, 32,
            REGION(32, 0, 8, 0, 0, 0)),
    REFUSED("region_info_of_index_9_is_refused", VFIO_USER_DEVICE_GET_REGION_INFO, EINVAL_,
            REGION(32, 0, 9, 0, 0, 0)),
    REFUSED("region_info_of_the_last_index_is_refused", VFIO_USER_DEVICE_GET_REGION_INFO, EINVAL_,
            REGION(32, 0, 0xffffffff, 0, 0, 0)),
    REFUSED("region_info_with_a_small_argsz_is_refused", VFIO_USER_DEVICE_GET_REGION_INFO, EINVAL_,
            REGION(31, 0, 0, 0, 0, 0)),
    REFUSED("region_info_with_flags_is_refused", VFIO_USER_DEVICE_GET_REGION_INFO, EINVAL_,
            REGION(32, 1, 0, 0, 0, 0)),
    REFUSED("region_info_with_a_cap_offset_is_refused", VFIO_USER_DEVICE_GET_REGION_INFO, EINVAL_,
            REGION(32, 0, 0, 32, 0, 0)),
    REFUSED("region_info_with_a_size_is_refused", VFIO_USER_DEVICE_GET_REGION_INFO, EINVAL_,
            REGION(32, 0, 0, 0, 4096, 0)),
    REFUSED("region_info_with_an_offset_is_refused", VFIO_USER_DEVICE_GET_REGION_INFO, EINVAL_,
            REGION(32, 0, 0, 0, 0, 4096)),
    REFUSED("region_info_too_short_is_refused", VFIO_USER_DEVICE_GET_REGION_INFO, EINVAL_, FOUR(32, 0, 0, 0)),
    REFUSED("region_info_too_long_is_refused", VFIO_USER_DEVICE_GET_REGION_INFO, EINVAL_,
            REGION(32, 0, 0, 0, 0, 0), 0),
    REFUSED_FDS("region_info_with_a_descriptor_is_refused", VFIO_USER_DEVICE_GET_REGION_INFO, EINVAL_, 1,
                REGION(32, 0, 0, 0, 0, 0)),

    /* GET_REGION_IO_FDS */
    GRANTED("region_io_fds_are_none", VFIO_USER_DEVICE_GET_REGION_IO_FDS, 16, FOUR(16, 0, 0, 0)),
    REFUSED("region_io_fds_of_index_9_is_refused", VFIO_USER_DEVICE_GET_REGION_IO_FDS, EINVAL_,
            FOUR(16, 0, 9, 0)),
    REFUSED("region_io_fds_with_flags_is_refused", VFIO_USER_DEVICE_GET_REGION_IO_FDS, EINVAL_,
            FOUR(16, 1, 0, 0)),
    REFUSED("region_io_fds_with_a_count_is_refused", VFIO_USER_DEVICE_GET_REGION_IO_FDS, EINVAL_,
            FOUR(16, 0, 0, 1)),
    REFUSED("region_io_fds_with_a_small_argsz_is_refused", VFIO_USER_DEVICE_GET_REGION_IO_FDS, EINVAL_,
            FOUR(8, 0, 0, 0)),
    REFUSED("region_io_fds_too_short_is_refused", VFIO_USER_DEVICE_GET_REGION_IO_FDS, EINVAL_, B32(16)),

    /* GET_IRQ_INFO */
    GRANTED("irq_info_of_msix_is_granted", VFIO_USER_DEVICE_GET_IRQ_INFO, 16, FOUR(16, 0, 2, 0)),
    GRANTED("irq_info_of_req_is_granted", VFIO_USER_DEVICE_GET_IRQ_INFO, 16, FOUR(16, 0, 4, 0)),
    REFUSED("irq_info_of_index_5_is_refused", VFIO_USER_DEVICE_GET_IRQ_INFO, EINVAL_, FOUR(16, 0, 5, 0)),
    REFUSED("irq_info_with_a_small_argsz_is_refused", VFIO_USER_DEVICE_GET_IRQ_INFO, EINVAL_,
            FOUR(12, 0, 0, 0)),
    REFUSED("irq_info_with_flags_is_refused", VFIO_USER_DEVICE_GET_IRQ_INFO, EINVAL_, FOUR(16, 2, 0, 0)),
    REFUSED("irq_info_with_a_count_is_refused", VFIO_USER_DEVICE_GET_IRQ_INFO, EINVAL_, FOUR(16, 0, 0, 1)),
    REFUSED("irq_info_too_short_is_refused", VFIO_USER_DEVICE_GET_IRQ_INFO, EINVAL_, B64(16)),
    REFUSED("irq_info_too_long_is_refused", VFIO_USER_DEVICE_GET_IRQ_INFO, EINVAL_, FOUR(16, 0, 0, 0), 0),

    /* SET_IRQS: 1 none, 2 bool, 4 eventfd; 8 mask, 16 unmask, 32 trigger */
    GRANTED("set_irqs_none_trigger_count_0_disables_the_index", VFIO_USER_DEVICE_SET_IRQS, 0,
            IRQS(20, 0x21, 2, 0, 0)),
    {"set_irqs_routes_a_vector",
     false,
     {{OK, VFIO_USER_DEVICE_SET_IRQS, 0, BYTES(IRQS(20, 0x24, 2, 0, 1)), 0, 0, 0, 1}}},
    {"set_irqs_without_descriptors_takes_a_vector_away",
     false,
     {{OK, VFIO_USER_DEVICE_SET_IRQS, 0, BYTES(IRQS(20, 0x24, 2, 0, 2)), 0, 0, 0, 2},
      {OK, VFIO_USER_DEVICE_SET_IRQS, 0, BYTES(IRQS(20, 0x24, 2, 0, 1)), 0, 0, 0, 0}}},
    {"set_irqs_replaces_descriptors",
     false,
     {{OK, VFIO_USER_DEVICE_SET_IRQS, 0, BYTES(IRQS(20, 0x24, 2, 0, 2)), 0, 0, 0, 2},
      {OK, VFIO_USER_DEVICE_SET_IRQS, 0, BYTES(IRQS(20, 0x24, 2, 0, 2)), 0, 0, 0, 2},
      {OK, VFIO_USER_DEVICE_SET_IRQS, 0, BYTES(IRQS(20, 0x21, 2, 0, 0)), 0, 0, 0, 0}}},
    {"set_irqs_watches_unmasking",
     false,
     {{OK, VFIO_USER_DEVICE_SET_IRQS, 0, BYTES(IRQS(20, 0x14, 0, 0, 1)), 0, 0, 0, 1}}},
    {"set_irqs_watches_masking",
     false,
     {{OK, VFIO_USER_DEVICE_SET_IRQS, 0, BYTES(IRQS(20, 0x0c, 0, 0, 1)), 0, 0, 0, 1}}},
    GRANTED("set_irqs_masks_intx", VFIO_USER_DEVICE_SET_IRQS, 0, IRQS(20, 0x09, 0, 0, 1)),
    GRANTED("set_irqs_unmasks_intx", VFIO_USER_DEVICE_SET_IRQS, 0, IRQS(20, 0x11, 0, 0, 1)),
    GRANTED("set_irqs_masks_by_booleans", VFIO_USER_DEVICE_SET_IRQS, 0, IRQS(21, 0x0a, 0, 0, 1), 1),
    GRANTED("set_irqs_triggers_by_booleans", VFIO_USER_DEVICE_SET_IRQS, 0, IRQS(22, 0x22, 2, 0, 2), 0, 1),
    REFUSED("set_irqs_with_too_few_booleans_is_refused", VFIO_USER_DEVICE_SET_IRQS, EINVAL_,
            IRQS(22, 0x22, 2, 0, 2), 1),
    REFUSED("set_irqs_with_too_many_booleans_is_refused", VFIO_USER_DEVICE_SET_IRQS, EINVAL_,
            IRQS(22, 0x22, 2, 0, 1), 1, 1),
    REFUSED("set_irqs_of_no_booleans_is_refused", VFIO_USER_DEVICE_SET_IRQS, EINVAL_,
            IRQS(20, 0x22, 2, 0, 0)),
    REFUSED("set_irqs_none_with_data_is_refused", VFIO_USER_DEVICE_SET_IRQS, EINVAL_, IRQS(24, 0x21, 2, 0, 1),
            B32(1)),
    REFUSED("set_irqs_eventfd_with_data_is_refused", VFIO_USER_DEVICE_SET_IRQS, EINVAL_,
            IRQS(24, 0x24, 2, 0, 1), B32(1)),
    REFUSED("set_irqs_without_data_kind_is_refused", VFIO_USER_DEVICE_SET_IRQS, EINVAL_,
            IRQS(20, 0x20, 2, 0, 1)),
    REFUSED("set_irqs_with_two_data_kinds_is_refused", VFIO_USER_DEVICE_SET_IRQS, EINVAL_,
            IRQS(20, 0x23, 2, 0, 1)),
    REFUSED("set_irqs_without_action_is_refused", VFIO_USER_DEVICE_SET_IRQS, EINVAL_,
            IRQS(20, 0x01, 2, 0, 1)),
    REFUSED("set_irqs_with_two_actions_is_refused", VFIO_USER_DEVICE_SET_IRQS, EINVAL_,
            IRQS(20, 0x31, 2, 0, 1)),
    REFUSED("set_irqs_with_unknown_flags_is_refused", VFIO_USER_DEVICE_SET_IRQS, EINVAL_,
            IRQS(20, 0x61, 2, 0, 1)),
    REFUSED("set_irqs_of_index_5_is_refused", VFIO_USER_DEVICE_SET_IRQS, EINVAL_, IRQS(20, 0x21, 5, 0, 0)),
    REFUSED("set_irqs_beyond_the_vectors_is_refused", VFIO_USER_DEVICE_SET_IRQS, EINVAL_,
            IRQS(20, 0x24, 2, 0, 5000)),
    REFUSED("set_irqs_that_wraps_is_refused", VFIO_USER_DEVICE_SET_IRQS, EINVAL_,
            IRQS(20, 0x21, 2, 0xffffffff, 2)),
    REFUSED("set_irqs_disable_with_a_start_is_refused", VFIO_USER_DEVICE_SET_IRQS, EINVAL_,
            IRQS(20, 0x21, 2, 1, 0)),
    REFUSED("set_irqs_mask_of_count_0_is_refused", VFIO_USER_DEVICE_SET_IRQS, EINVAL_,
            IRQS(20, 0x09, 0, 0, 0)),
    REFUSED("set_irqs_eventfd_of_count_0_is_refused", VFIO_USER_DEVICE_SET_IRQS, EINVAL_,
            IRQS(20, 0x24, 2, 0, 0)),
    REFUSED("set_irqs_with_a_small_argsz_is_refused", VFIO_USER_DEVICE_SET_IRQS, EINVAL_,
            IRQS(19, 0x21, 2, 0, 0)),
    REFUSED("set_irqs_too_short_is_refused", VFIO_USER_DEVICE_SET_IRQS, EINVAL_, FOUR(20, 0x21, 2, 0)),
    {"set_irqs_with_fewer_descriptors_than_vectors_is_refused",
     false,
     {{ERR, VFIO_USER_DEVICE_SET_IRQS, 0, BYTES(IRQS(20, 0x24, 2, 0, 2)), EINVAL_, 0, 0, 1}}},
    {"set_irqs_with_more_descriptors_than_vectors_is_refused",
     false,
     {{ERR, VFIO_USER_DEVICE_SET_IRQS, 0, BYTES(IRQS(20, 0x24, 2, 0, 1)), EINVAL_, 0, 0, 2}}},
    {"set_irqs_none_with_a_descriptor_is_refused",
     false,
     {{ERR, VFIO_USER_DEVICE_SET_IRQS, 0, BYTES(IRQS(20, 0x21, 2, 0, 1)), EINVAL_, 0, 0, 1}}},
    {"set_irqs_bool_with_a_descriptor_is_refused",
     false,
     {{ERR, VFIO_USER_DEVICE_SET_IRQS, 0, BYTES(IRQS(21, 0x22, 2, 0, 1), 1), EINVAL_, 0, 0, 1}}},

    /* REGION_READ, REGION_WRITE */
    GRANTED("region_read_of_config_space_is_granted", VFIO_USER_REGION_READ, 20, ACCESS(0, 7, 4)),
    GRANTED("region_read_of_all_of_basic_config_space_is_granted", VFIO_USER_REGION_READ, 16 + 256,
            ACCESS(0, 7, 256)),
    REFUSED("region_read_of_count_0_is_refused", VFIO_USER_REGION_READ, EINVAL_, ACCESS(0, 7, 0)),
    REFUSED("region_read_beyond_the_region_is_refused", VFIO_USER_REGION_READ, EINVAL_, ACCESS(4096, 7, 1)),
    REFUSED("region_read_across_the_end_is_refused", VFIO_USER_REGION_READ, EINVAL_, ACCESS(4094, 7, 4)),
    REFUSED("region_read_that_wraps_is_refused", VFIO_USER_REGION_READ, EINVAL_,
            ACCESS(0xffffffffffffffff, 7, 2)),
    REFUSED("region_read_of_an_absent_region_is_refused", VFIO_USER_REGION_READ, EINVAL_, ACCESS(0, 8, 4)),
    REFUSED("region_read_of_index_9_is_refused", VFIO_USER_REGION_READ, EINVAL_, ACCESS(0, 9, 4)),
    REFUSED("region_read_of_more_than_the_limit_is_refused", VFIO_USER_REGION_READ, EINVAL_,
            ACCESS(0, 2, 1048577)),
    REFUSED("region_read_of_4_gigabytes_is_refused", VFIO_USER_REGION_READ, EINVAL_,
            ACCESS(0, 2, 0xffffffff)),
    REFUSED("region_read_too_short_is_refused", VFIO_USER_REGION_READ, EINVAL_, B64(0), B32(7)),
    REFUSED("region_read_with_data_is_refused", VFIO_USER_REGION_READ, EINVAL_, ACCESS(0, 7, 4), B32(0)),
    REFUSED_FDS("region_read_with_a_descriptor_is_refused", VFIO_USER_REGION_READ, EINVAL_, 1,
                ACCESS(0, 7, 4)),
    GRANTED("region_write_is_granted", VFIO_USER_REGION_WRITE, 16, ACCESS(8, 0, 4), B32(0x12345678)),
    REFUSED("region_write_of_count_0_is_refused", VFIO_USER_REGION_WRITE, EINVAL_, ACCESS(8, 0, 0)),
    REFUSED("region_write_with_less_data_than_count_is_refused", VFIO_USER_REGION_WRITE, EINVAL_,
            ACCESS(8, 0, 4), B16(0)),
    REFUSED("region_write_with_more_data_than_count_is_refused", VFIO_USER_REGION_WRITE, EINVAL_,
            ACCESS(8, 0, 4), B64(0)),
    REFUSED("region_write_beyond_the_region_is_refused", VFIO_USER_REGION_WRITE, EINVAL_,
            ACCESS(0x8000, 0, 4), B32(0)),
    REFUSED("region_write_that_wraps_is_refused", VFIO_USER_REGION_WRITE, EINVAL_,
            ACCESS(0xfffffffffffffffe, 0, 4), B32(0)),
    REFUSED("region_write_to_index_9_is_refused", VFIO_USER_REGION_WRITE, EINVAL_, ACCESS(0, 9, 4), B32(0)),
    REFUSED("region_write_with_a_count_of_4_gigabytes_is_refused", VFIO_USER_REGION_WRITE, EINVAL_,
            ACCESS(0, 0, 0xffffffff), B32(0)),
    REFUSED("region_write_too_short_is_refused", VFIO_USER_REGION_WRITE, EINVAL_, B64(0)),
    {"region_write_with_no_reply_is_silent",
     false,
     {{SILENT, VFIO_USER_REGION_WRITE, VFIO_USER_NO_REPLY, BYTES(ACCESS(8, 0, 4), B32(1)), 0, 0, 0, 0}}},
    {"refused_region_write_with_no_reply_is_silent",
     false,
     {{SILENT, VFIO_USER_REGION_WRITE, VFIO_USER_NO_REPLY, BYTES(ACCESS(8, 9, 4), B32(1)), 0, 0, 0, 0}}},
    {"unknown_command_with_no_reply_is_silent", false, {{SILENT, 77, VFIO_USER_NO_REPLY, NONE, 0, 0, 0, 0}}},
    {"dma_map_with_no_reply_is_silent_and_done",
     false,
     {{SILENT, VFIO_USER_DMA_MAP, VFIO_USER_NO_REPLY, BYTES(MAP(32, 3, 0, M, M)), 0, 0, 1, 0},
      {ERR, VFIO_USER_DMA_MAP, 0, BYTES(MAP(32, 3, 0, M, M)), EEXIST_, 0, 0, 0}}},

    /* REGION_WRITE_MULTI */
    GRANTED("write_multi_of_nothing_is_granted", VFIO_USER_REGION_WRITE_MULTI, 8, B64(0)),
    GRANTED("write_multi_of_two_is_granted", VFIO_USER_REGION_WRITE_MULTI, 8, B64(2), ONE(8, 0, 4),
            ONE(12, 0, 4)),
    REFUSED("write_multi_with_fewer_writes_than_counted_is_refused", VFIO_USER_REGION_WRITE_MULTI, EINVAL_,
            B64(2), ONE(8, 0, 4)),
    REFUSED("write_multi_with_more_writes_than_counted_is_refused", VFIO_USER_REGION_WRITE_MULTI, EINVAL_,
            B64(1), ONE(8, 0, 4), ONE(8, 0, 4)),
    REFUSED("write_multi_with_a_partial_write_is_refused", VFIO_USER_REGION_WRITE_MULTI, EINVAL_, B64(1),
            ACCESS(8, 0, 4)),
    REFUSED("write_multi_with_a_huge_count_is_refused", VFIO_USER_REGION_WRITE_MULTI, EINVAL_,
            B64(0xaaaaaaaaaaaaaaab), ONE(8, 0, 4)),
    REFUSED("write_multi_of_nine_bytes_is_refused", VFIO_USER_REGION_WRITE_MULTI, EINVAL_, B64(1),
            ONE(8, 0, 9)),
    REFUSED("write_multi_of_no_bytes_is_refused", VFIO_USER_REGION_WRITE_MULTI, EINVAL_, B64(1),
            ONE(8, 0, 0)),
    REFUSED("write_multi_to_index_9_is_refused", VFIO_USER_REGION_WRITE_MULTI, EINVAL_, B64(1), ONE(0, 9, 4)),
    REFUSED("write_multi_too_short_is_refused", VFIO_USER_REGION_WRITE_MULTI, EINVAL_, B32(1)),
    {"write_multi_with_no_reply_is_silent",
     false,
     {{SILENT, VFIO_USER_REGION_WRITE_MULTI, VFIO_USER_NO_REPLY, BYTES(B64(1), ONE(8, 0, 8)), 0, 0, 0, 0}}},

    /* DEVICE_RESET */
    {"reset_is_granted", false, {{OK, VFIO_USER_DEVICE_RESET, 0, NONE, 0, 0, 0, 0}}},
    REFUSED("reset_with_a_payload_is_refused", VFIO_USER_DEVICE_RESET, EINVAL_, B32(0)),
    {"reset_keeps_mappings",
     false,
     {MAPPED(M, M),
      {OK, VFIO_USER_DEVICE_RESET, 0, NONE, 0, 0, 0, 0},
      {ERR, VFIO_USER_DMA_MAP, 0, BYTES(MAP(32, 3, 0, M, M)), EEXIST_, 0, 0, 0}}},

    /* DEVICE_FEATURE: get 1 << 16, set 1 << 17, probe 1 << 18 */
    REFUSED("feature_probe_of_migration_fails_enotty", VFIO_USER_DEVICE_FEATURE, ENOTTY_, B32(8),
            B32(0x50001)),
    REFUSED("feature_get_of_migration_fails_enotty", VFIO_USER_DEVICE_FEATURE, ENOTTY_, B32(16),
            B32(0x10001)),
    REFUSED("feature_set_of_device_state_fails_enotty", VFIO_USER_DEVICE_FEATURE, ENOTTY_, B32(16),
            B32(0x20002), B64(1)),
    REFUSED("feature_probe_of_get_and_set_fails_enotty", VFIO_USER_DEVICE_FEATURE, ENOTTY_, B32(8),
            B32(0x70002)),
    REFUSED("feature_logging_start_fails_enotty", VFIO_USER_DEVICE_FEATURE, ENOTTY_, B32(24), B32(0x20006),
            B64(4096), B64(0)),
    REFUSED("feature_with_get_and_set_is_refused", VFIO_USER_DEVICE_FEATURE, EINVAL_, B32(16), B32(0x30002)),
    REFUSED("feature_with_no_operation_is_refused", VFIO_USER_DEVICE_FEATURE, EINVAL_, B32(8), B32(1)),
    REFUSED("feature_with_unknown_flags_is_refused", VFIO_USER_DEVICE_FEATURE, EINVAL_, B32(8), B32(0x90001)),
    REFUSED("feature_with_a_small_argsz_is_refused", VFIO_USER_DEVICE_FEATURE, EINVAL_, B32(4), B32(0x10001)),
    REFUSED("feature_too_short_is_refused", VFIO_USER_DEVICE_FEATURE, EINVAL_, B32(8)),

    /* Migration data */
    REFUSED("mig_data_read_is_not_supported", VFIO_USER_MIG_DATA_READ, ENOTSUP_, B32(16), B32(8)),
    REFUSED("mig_data_read_too_short_is_refused", VFIO_USER_MIG_DATA_READ, EINVAL_, B32(16)),
    REFUSED("mig_data_read_too_long_is_refused", VFIO_USER_MIG_DATA_READ, EINVAL_, B32(16), B32(8), B32(0)),
    REFUSED("mig_data_write_is_not_supported", VFIO_USER_MIG_DATA_WRITE, ENOTSUP_, B32(16), B32(8), B64(0)),
    REFUSED("mig_data_write_too_short_is_refused", VFIO_USER_MIG_DATA_WRITE, EINVAL_, B32(16)),
};

enum { TALKS = sizeof(talks) / sizeof(talks[0]) };

static void make_fds(const struct step *step, int *fds)
{
    for (unsigned i = 0; i < step->memfds; i++)
        fds[i] = peer_memfd(2 * M);
    for (unsigned i = 0; i < step->eventfds; i++)
        fds[step->memfds + i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

static void expect_closed(struct peer *p)
{
    struct peer_message m;

    do
        peer_receive(p, &m);
    while (!m.closed);
}

/* One step; false when the session is over. */
static bool take_step(struct peer *p, const struct step *step)
{
    unsigned nr_fds = step->memfds + step->eventfds;
    struct peer_message m;
    int fds[PEER_MAX_FDS];
    uint16_t id;

    make_fds(step, fds);
    id = peer_send(p, step->command, step->flags, step->payload, step->size, fds, nr_fds);
    for (unsigned i = 0; i < nr_fds; i++)
        close(fds[i]);
    if (step->expect == SILENT)
        return true;
    if (step->expect == CLOSED) {
        expect_closed(p);
        return false;
    }
    peer_receive_reply(p, &m);
    assert_false(m.closed);
    for (unsigned i = 0; i < m.nr_fds; i++)
        close(m.fds[i]);
    assert_int_equal(m.id, id);
    assert_int_equal(m.command, step->command);
    if (step->expect == ERR) {
        assert_int_equal(m.flags, VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR);
        assert_int_equal(m.size, 0);
        assert_int_not_equal(m.error, 0);
        if (step->error != ANY)
            assert_int_equal(m.error, step->error);
        return true;
    }
    assert_int_equal(m.flags, VFIO_USER_TYPE_REPLY);
    assert_int_equal(m.error, 0);
    if (step->reply != ANY)
        assert_int_equal(m.size, step->reply);
    return true;
}

static void run_talk(void **state)
{
    static const uint8_t info[] = {FOUR(16, 0, 0, 0)};
    const struct talk *talk = *state;
    unsigned before = count_fds();
    bool alive = true;
    struct rig rig;
    struct peer p;
    int client;

    rig_start(&rig, "sim:edu", RIG_PAIR, &client);
    peer_init(&p, client);
    if (!talk->raw)
        assert_int_equal(peer_negotiate(&p), 0);
    for (const struct step *step = talk->steps; step->expect != END; step++)
        alive = take_step(&p, step);
    if (alive)
        assert_int_equal(peer_call(&p, VFIO_USER_DEVICE_GET_INFO, info, sizeof(info), NULL, 0, NULL), 0);
    peer_finish(&p);
    rig_join(&rig);
    assert_int_equal(rig.result, 0);
    rig_stop(&rig);
    assert_int_equal(count_fds(), before);
}

int main(void)
{
    static struct CMUnitTest tests[TALKS];

    for (size_t i = 0; i < TALKS; i++)
        tests[i] = (struct CMUnitTest){
            .name = talks[i].name, .test_func = run_talk, .initial_state = (void *)(uintptr_t)&talks[i]};
    return _cmocka_run_group_tests("protocol", tests, TALKS, NULL, NULL);
}
