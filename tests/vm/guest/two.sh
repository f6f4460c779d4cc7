# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# shellcheck disable=SC2154 # $disk and vd_... come from lib.sh and the kernel command line
# Two disks at once. Their contents tell them apart, not the order the driver found them in.
# shellcheck disable=SC2046 # words are wanted
set -- $(nvme_addresses)
check "the guest sees two controllers" test $# = 2
first=$1 second=$2
find_disk "$first" || return 0
one=$disk
find_disk "$second" || return 0
two=$disk
data read1 "$(sha_of "$one")"
data read2 "$(sha_of "$two")"
data sector1 "$(cat "/sys/block/${one#/dev/}/queue/logical_block_size")"
data sector2 "$(cat "/sys/block/${two#/dev/}/queue/logical_block_size")"
check "fio verifies both disks at the same time" \
    fio_verify --rw=randwrite --bs=4k --iodepth=16 --offset=8M --size=4M \
    --name=one --filename="$one" --name=two --filename="$two"
write_pattern "$one" 24 2 written1
write_pattern "$two" 26 2 written2
step measured
await_host
check "no command needed the driver's timeout" no_timeouts
