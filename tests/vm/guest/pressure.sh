# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# shellcheck disable=SC2154 # $disk and vd_... come from lib.sh and the kernel command line
# The guest has hardly any memory left (its user land takes 90 MiB): what the module needs it has, and the disk goes on.
# shellcheck source=lib_dma.sh
. /tests/lib_dma.sh
address=$(nvme_addresses | head -n 1)
find_disk "$address" || return 0
# A tmpfs cannot be written back anywhere.
mkdir -p /tmp/hog
mount -t tmpfs -o size=90% hog /tmp/hog
free=$(awk '/MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
dd if=/dev/zero of=/tmp/hog/file bs=1M count=$((free - ${vd_left:-24})) 2>/dev/null
data available_kib "$(awk '/MemAvailable/ { print $2 }' /proc/meminfo)"
check "fio verifies direct writes with hardly any memory left" \
    fio_verify --name=tight --filename="$disk" --rw=randrw --bsrange=4k-64k --iodepth=16 --size=16M --verify_backlog=64
check "and buffered ones, which need memory to be written out" \
    dd if=/dev/zero of="$disk" bs=64k seek=512 count=1024 conv=notrunc,fsync
rm /tmp/hog/file
umount /tmp/hog
check "and with memory again" \
    fio_verify --name=roomy --filename="$disk" --rw=randwrite --bs=16k --iodepth=16 --size=8M
tell_counters dma_ failed unknown_unmaps
clean_log
