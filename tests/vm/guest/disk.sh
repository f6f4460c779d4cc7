# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# shellcheck disable=SC2154 # $disk and vd_... come from lib.sh and the kernel command line
# One disk, used in every way that ordinary guests use one.
address=$(nvme_addresses | head -n 1)
find_disk "$address" || return 0
if [ "${vd_irq:-any}" != any ]; then
    check "the driver uses $vd_irq" test "$(interrupt_kind "$address")" = "$vd_irq"
fi
data read "$(sha_of "$disk")"
check "fio verifies random 4 KiB writes at depth 16" \
    fio_verify --name=small --filename="$disk" --rw=randwrite --bs=4k --iodepth=16 --offset=8M --size=4M
check "fio verifies 1 MiB writes at depth 4 from two jobs" \
    fio_verify --name=large --filename="$disk" --rw=write --bs=1M --iodepth=4 --numjobs=2 --offset=16M \
    --offset_increment=4M --size=4M
check "fio verifies odd sizes and unaligned buffers" \
    fio_verify --name=odd --filename="$disk" --rw=randwrite --bsrange=4k-64k --iomem_align=512 --iodepth=8 \
    --offset=12M --size=4M
write_pattern "$disk" 28 2 written
check "writing zeroes reads back as zeroes" sh -c "
    blkdiscard -z -o 30M -l 1M $disk 2>/dev/null ||
        dd if=/dev/zero of=$disk bs=1M seek=30 count=1 conv=notrunc,fsync
    dd if=$disk bs=1M skip=30 count=1 2>/dev/null | cmp -n 1048576 - /dev/zero"
step measured
await_host
check "no command needed the driver's timeout" no_timeouts
