# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# shellcheck disable=SC2154 # $disk and vd_... come from lib.sh and the kernel command line
# Writes without end, until somebody is killed. What was flushed before must be on the disk whoever it is.
address=$(nvme_addresses | head -n 1)
find_disk "$address" || return 0
write_pattern "$disk" 16 4 flushed
step flooding
count=0
# Big enough to be in the middle of something at any time.
while dd if=/tmp/pattern of="$disk" bs=256k seek=96 count=16 oflag=direct conv=notrunc 2>/tmp/dd.out; do
    count=$((count + 1))
done
ok "the guest sees I/O errors when the server dies"
dmesg | grep -i nvme | tail -n 5
check "and the guest goes on" sh -c 'echo alive; ls / >/dev/null'
step survived
await_host
