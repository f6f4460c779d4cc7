# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# shellcheck disable=SC2154 # vd_... comes from the kernel command line
# The guest's half of `make demo`: uses the disk with the kernel's own driver and says what it saw.
echo "Debian kernel $(uname -r), $(nproc) processors"
address=$(nvme_addresses | head -n 1)
if [ -z "$address" ]; then
    not_ok "the guest has an NVMe controller" "no PCI device of class 0108"
    return
fi
if ! wait_until 15 disk_ready "$address"; then
    not_ok "the nvme driver makes a disk of it" "no block device"
    return
fi
disk=$(disk_of "$address")
describe_device "$address"
echo "interrupts: $(interrupt_kind "$address"), $(vectors_of "$address") vectors"
echo "$disk: $(cat "/sys/block/${disk#/dev/}/device/model"), $(sectors_of "$disk") sectors of 512 bytes"

echo "reading all of $disk"
data read "$(sha_of "$disk")"

echo "writing $vd_count MiB at $vd_seek MiB, then flushing"
dd if=/dev/urandom of=/tmp/pattern bs=1M count="$vd_count" 2>/dev/null
data written "$(sha256sum /tmp/pattern | cut -d ' ' -f 1)"
check "the guest writes and flushes" \
    dd if=/tmp/pattern of="$disk" bs=1M seek="$vd_seek" conv=notrunc,fsync
forget "$disk"
dd if="$disk" of=/tmp/back bs=1M skip="$vd_seek" count="$vd_count" 2>/dev/null
check "the guest reads back what it wrote" cmp /tmp/pattern /tmp/back

# Where the guest asks for its mappings (strategy paravirt), how often it had to.
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
for stats in /sys/kernel/debug/viaduct_dma/*/stats; do
    if [ ! -e "$stats" ]; then continue; fi
    echo "viaduct_dma: $(sed -n 's/^maps //p' "$stats") requests for DMA, $(sed -n 's/^doorbells //p' "$stats") questions to the host"
done
