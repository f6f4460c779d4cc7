# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# shellcheck disable=SC2154 # $disk and vd_... come from lib.sh and the kernel command line
# The host pulls the device out while it works.
# shellcheck source=lib_dma.sh
. /tests/lib_dma.sh
address=$(nvme_addresses | head -n 1)
find_disk "$address" || return 0
write_pattern "$disk" 16 4 flushed
step flooding
while dd if=/tmp/pattern of="$disk" bs=256k seek=96 count=16 oflag=direct conv=notrunc 2>/tmp/dd.out; do :; done
ok "the guest sees I/O errors when the device is pulled out"
step survived
await_host
check "the module leaves after that" rmmod viaduct_dma
step unloaded
await_host
check "and the guest goes on" sh -c 'echo alive; ls / >/dev/null'
# Commands time out or fail here, as they have to.
no_timeouts() { :; }
clean_log
