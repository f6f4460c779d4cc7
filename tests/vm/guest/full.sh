# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# shellcheck disable=SC2154 # $disk and vd_... come from lib.sh and the kernel command line
# The host's disk runs full below the image.
address=$(nvme_addresses | head -n 1)
find_disk "$address" || return 0
if timeout 60 dd if=/dev/urandom of="$disk" bs=1M count=30 oflag=direct conv=notrunc 2>/tmp/dd.out; then
    not_ok "a full host disk is an I/O error in the guest" "every write succeeded"
else
    code=$?
    # 124 and 143 are what timeout leaves with.
    if [ $code = 124 ] || [ $code = 143 ]; then
        not_ok "a full host disk is an I/O error in the guest" "the write hangs"
    else
        ok "a full host disk is an I/O error in the guest"
    fi
fi
check "the disk still reads after that" dd if="$disk" of=/dev/null bs=1M count=4 iflag=direct
check "no command needed the driver's timeout" no_timeouts
