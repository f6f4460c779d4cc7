# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# shellcheck disable=SC2154 # $disk and vd_... come from lib.sh and the kernel command line
# The same disk before and after a reboot of the machine; the disk itself says which of the two this is.
address=$(nvme_addresses | head -n 1)
find_disk "$address" || return 0
mark=$(dd if="$disk" bs=512 skip=2048 count=1 2>/dev/null | head -c 12)
if [ "$mark" != viaduct-mark ]; then
    write_pattern "$disk" 16 2 written
    printf 'viaduct-mark' | dd of="$disk" bs=512 seek=2048 conv=notrunc,sync,fsync 2>/dev/null
    step rebooting
    reboot -f
    sleep 60
fi
ok "the disk is there again after a reboot"
data reread "$(sha_of_region "$disk" 16 2)"
check "fio verifies writes after the reboot" \
    fio_verify --name=again --filename="$disk" --rw=randwrite --bs=4k --iodepth=16 --offset=8M --size=4M
check "no command needed the driver's timeout" no_timeouts
