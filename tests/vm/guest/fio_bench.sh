# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# shellcheck disable=SC2154 # vd_... comes from the kernel command line
# bench/fio's half in the guest: fio on two disks in turn, ours and QEMU's own nvme (vendor 1b36). It says, a line each,
#   @vd data fio NAME ours|theirs IOPS KIB_PER_SECOND
# vd_runs is how often everything is repeated, vd_seconds how long one fio runs.

ours=
theirs=
for address in $(nvme_addresses); do
    find_disk "$address" || return 0
    echo "$(describe_device "$address"): $(interrupt_kind "$address"), $(vectors_of "$address") vectors, $disk"
    if [ "$(cat "/sys/bus/pci/devices/$address/vendor")" = 0x1b36 ]; then theirs=$disk; else ours=$disk; fi
done
if [ -z "$ours" ] || [ -z "$theirs" ]; then
    not_ok "the guest has our disk and QEMU's" "ours '$ours', theirs '$theirs'"
    return 0
fi

# measure NAME WHOSE DISK FIO-OPTIONS...
measure() {
    name=$1
    whose=$2
    target=$3
    shift 3
    # Fields of the third terse format: read is KiB/s and IOPS in 7 and 8, write in 48 and 49.
    line=$(fio --name="$name" --filename="$target" --ioengine=libaio --direct=1 --time_based \
        --runtime="$vd_seconds" --output-format=terse --terse-version=3 --randrepeat=1 "$@" 2>/tmp/fio.err |
        grep '^3;' | awk -F ';' '{ print $8 + $49, $7 + $48 }')
    if [ -z "$line" ]; then
        not_ok "fio $name on $whose disk" "$(tail -n 3 /tmp/fio.err | tr '\n' ' ')"
        return 1
    fi
    data fio "$name $whose $line"
}

# both NAME FIO-OPTIONS...: every other run the other way round, since what one leaves behind (dirty pages of the host)
# the next one pays for.
both() {
    name=$1
    shift
    if [ $((run % 2)) = 0 ]; then
        measure "$name" ours "$ours" "$@"
        measure "$name" theirs "$theirs" "$@"
    else
        measure "$name" theirs "$theirs" "$@"
        measure "$name" ours "$ours" "$@"
    fi
}

run=0
while [ "$run" -lt "$vd_runs" ]; do
    both randread_qd1 --rw=randread --bs=4k --iodepth=1
    both randwrite_qd1 --rw=randwrite --bs=4k --iodepth=1
    both randread_qd32 --rw=randread --bs=4k --iodepth=32
    both randwrite_qd32 --rw=randwrite --bs=4k --iodepth=32
    both seqread --rw=read --bs=1M --iodepth=8
    both seqwrite --rw=write --bs=1M --iodepth=8
    run=$((run + 1))
done
check "no command needed the driver's timeout" no_timeouts
