# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# shellcheck disable=SC2154 # $disk and vd_... come from lib.sh and the kernel command line
# A guest whose memory the server cannot see: it may have no disk, or a disk that gives errors; never a wrong byte.
address=$(nvme_addresses | head -n 1)
if [ -n "$address" ] && wait_until "${vd_patience:-8}" disk_ready "$address"; then
    disk=$(disk_of "$address")
    said=none
    if dd if="$disk" of=/tmp/read bs=1M count=4 iflag=direct 2>/dev/null; then
        said=$(sha256sum /tmp/read | cut -d ' ' -f 1)
    fi
fi
data read "${said:-none}"
ok "the guest boots without the disk"
