# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# shellcheck disable=SC2154 # $disk and vd_... come from lib.sh and the kernel command line
# More memory than the host can map goes through the disk, again and again: the page cache is larger than the aperture,
# so the windows are never where they are needed.
# shellcheck source=lib_dma.sh
. /tests/lib_dma.sh
address=$(nvme_addresses | head -n 1)
find_disk "$address" || return 0
# Sectors read and written so far.
sectors_moved() {
    awk '{ print $3 + $7 }' "/sys/block/${disk#/dev/}/stat"
}

before=$(sectors_moved)
check "fio verifies buffered writes all over memory" \
    fio --output-format=terse --name=cache --filename="$disk" --direct=0 --ioengine=psync --rw=randwrite --bs=64k \
    --size="${vd_size:-192}M" --loops="${vd_loops:-4}" --verify=pattern --verify_pattern=%o --verify_fatal=1 \
    --do_verify=1 --invalidate=1 --fsync_on_close=1 --randrepeat=0
check "fio verifies direct writes of many sizes" \
    fio_verify --name=sizes --filename="$disk" --rw=randrw --bsrange=4k-512k --iodepth=16 --size=64M --numjobs=2 \
    --offset_increment=64M --verify_backlog=64
data churn_mib $((($(sectors_moved) - before) / 2048))
tell_counters dma_ maps hits doorbells failed evicted peak_bytes peak_mappings limit_bytes limit_mappings
step measured
await_host
clean_log
