# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# shellcheck disable=SC2154 # $disk and vd_... come from lib.sh and the kernel command line
# The guest that comes after one that was killed.
address=$(nvme_addresses | head -n 1)
find_disk "$address" || return 0
data reread "$(sha_of_region "$disk" 16 4)"
check "fio verifies writes in the next guest" \
    fio_verify --name=next --filename="$disk" --rw=randwrite --bs=4k --iodepth=16 --offset=8M --size=4M
check "no command needed the driver's timeout" no_timeouts
