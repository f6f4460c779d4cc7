/* SPDX-License-Identifier: BSD-3-Clause */
/* The table behind wire_errno.h: Linux's asm-generic numbers. Where a host gives two names one number, the first row wins. */
#include "codec/wire_errno.h"

#include <errno.h>
#include <stddef.h>

static const struct {
    int host;
    uint32_t wire;
} rows[] = {
    {EPERM, 1},     {ENOENT, 2},      {EINTR, 4},        {EIO, 5},         {ENXIO, 6},    {E2BIG, 7},
    {EBADF, 9},     {EAGAIN, 11},     {ENOMEM, 12},      {EACCES, 13},     {EFAULT, 14},  {EBUSY, 16},
    {EEXIST, 17},   {ENODEV, 19},     {EINVAL, 22},      {ENFILE, 23},     {EMFILE, 24},  {ENOTTY, 25},
    {EFBIG, 27},    {ENOSPC, 28},     {EROFS, 30},       {EPIPE, 32},      {ERANGE, 34},  {ENAMETOOLONG, 36},
    {ENOSYS, 38},   {EPROTO, 71},     {EOVERFLOW, 75},   {EMSGSIZE, 90},   {ENOTSUP, 95}, {EOPNOTSUPP, 95},
    {ENOBUFS, 105}, {ETIMEDOUT, 110}, {ECONNRESET, 104}, {ECANCELED, 125},
};

enum { ROWS = sizeof(rows) / sizeof(rows[0]), WIRE_EIO = 5 };

uint32_t vd_wire_errno(int error)
{
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].host == -error)
            return rows[i].wire;
    return WIRE_EIO;
}
