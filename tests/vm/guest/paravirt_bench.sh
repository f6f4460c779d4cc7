# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# shellcheck disable=SC2154 # vd_... comes from the kernel command line
# bench/paravirt's half in the guest: two disks, one by viaduct_dma and one by the kernel's own DMA mapping, measured in
# turn. The modules are loaded here (viaduct.modules=no), so that what the driver maps at its start is recorded, too. A
# line each:
#   @vd data micro NAME paravirt|identity ns=N ops=N failed=N doorbells=N    module dma_bench
#   @vd data fio NAME paravirt|identity IOPS KIB_PER_SECOND
#   @vd data doorbells NAME DOORBELLS IOS                         of the module, around fio runs but the first round's
#   @vd data trace NAME BYTES                                     gzip, next on the second disk behind vd_trace_at MiB
# vd_runs is how often fio is repeated, vd_seconds how long one fio runs, vd_size the MiB of the disks that fio uses;
# vd_parts, with commas, which of micro, fio and trace to do.

mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
tracing=/sys/kernel/tracing
dma_bench=/sys/kernel/debug/dma_bench/run

wants() {
    case ",$vd_parts," in
    *",$1,"*) ;;
    *) return 1 ;;
    esac
}

# Unmaps and maps in the order in which they happened, on whichever processor: hence that clock.
trace_start() {
    echo 0 >$tracing/tracing_on
    : >$tracing/trace
    echo counter >$tracing/trace_clock
    echo 32768 >$tracing/buffer_size_kb
    echo 1 >$tracing/events/viaduct_dma/viaduct_map/enable
    echo 1 >$tracing/events/viaduct_dma/viaduct_unmap/enable
    echo 1 >$tracing/tracing_on
}

# trace_save NAME: to be taken from the second disk by the host.
trace_save() {
    echo 0 >$tracing/tracing_on
    echo 0 >$tracing/events/viaduct_dma/enable
    check "no event of the trace '$1' was lost" lost_nothing
    sed -n 's/.*viaduct_\(un\)*map: dev=[0-9a-f]* /\1 /p' $tracing/trace | gzip >/tmp/trace.gz
    : >$tracing/trace
    bytes=$(stat -c %s /tmp/trace.gz)
    dd if=/tmp/trace.gz of="$identity" bs=1M seek="$trace_at" conv=notrunc,fsync 2>/dev/null
    trace_at=$((trace_at + bytes / 1048576 + 1))
    data trace "$1 $bytes"
}

lost_nothing() {
    ! grep -hE '^(overrun|dropped events): [1-9]' $tracing/per_cpu/cpu*/stats
}

# Of the module for the first disk; an exchange may take more than one.
doorbells() {
    awk '$1 == "doorbells" { print $2 }' "$stats"
}

# micro NAME KIND CPUS ITERATIONS ROUNDS [release]: on both devices; "release" makes it a first touch.
micro() {
    for whose in identity paravirt; do
        if [ $whose = identity ]; then address=$identity_at; else address=$paravirt_at; fi
        if [ "${6:-}" = release ]; then
            echo 1 >"$release"
        else
            echo "$address $2 $3 $4 1" >$dma_bench
        fi
        before=$(doorbells)
        if ! echo "$address $2 $3 $4 $5" >$dma_bench; then
            not_ok "dma_bench measures $1 on $whose" "it refuses"
            continue
        fi
        data micro "$1 $whose $(cat $dma_bench) doorbells=$(($(doorbells) - before))"
    done
}

# A round is short, about a millisecond: on a machine with other load most rounds then run undisturbed.
micro_all() {
    micro nothing nothing 1 10000 63
    micro map_hit same 1 1000 63
    micro map_hit_rotating rotate 1 1024 63
    micro map_hit_2cpus same 2 1000 63
    micro map_hit_rotating_2cpus rotate 2 1024 63
    micro map_miss far 1 1024 1 release
    micro sg128_hit list 1 10 63
    micro sg128_hit_2cpus list 2 10 63
    micro sg128_miss far_list 1 8 1 release
    micro coherent_4k coherent_4k 1 50 63
    micro coherent_64k coherent_64k 1 5 63
    micro coherent_4k_2cpus coherent_4k 2 50 63
}

# Reads and writes that the disk has completed.
ios_of() {
    awk '{ print $1 + $5 }' "/sys/block/${1#/dev/}/stat"
}

# measure NAME WHOSE DISK FIO-OPTIONS...
measure() {
    name=$1
    whose=$2
    target=$3
    shift 3
    ios=$(ios_of "$target")
    rung=$(doorbells)
    # Fields of the third terse format: read is KiB/s and IOPS in 7 and 8, write in 48 and 49.
    line=$(fio --name="$name" --filename="$target" --ioengine=libaio --direct=1 --time_based --size="${vd_size}M" \
        --runtime="$vd_seconds" --output-format=terse --terse-version=3 --randrepeat=1 "$@" 2>/tmp/fio.err |
        grep '^3;' | awk -F ';' '{ print $8 + $49, $7 + $48 }')
    if [ -z "$line" ]; then
        not_ok "fio $name on $whose" "$(tail -n 3 /tmp/fio.err | tr '\n' ' ')"
        return 1
    fi
    data fio "$name $whose $line"
    # In the first round windows come into being.
    if [ "$whose" = paravirt ] && [ "$run" -gt 0 ]; then
        data doorbells "$name $(($(doorbells) - rung)) $(($(ios_of "$target") - ios))"
    fi
}

# both NAME FIO-OPTIONS...: every other run the other way round.
both() {
    name=$1
    shift
    if [ $((run % 2)) = 0 ]; then
        measure "$name" paravirt "$paravirt" "$@"
        measure "$name" identity "$identity" "$@"
    else
        measure "$name" identity "$identity" "$@"
        measure "$name" paravirt "$paravirt" "$@"
    fi
}

fio_round() {
    both randread_qd1 --rw=randread --bs=4k --iodepth=1
    both randwrite_qd1 --rw=randwrite --bs=4k --iodepth=1
    both randread_qd32 --rw=randread --bs=4k --iodepth=32
    both randwrite_qd32 --rw=randwrite --bs=4k --iodepth=32
    both seqread --rw=read --bs=1M --iodepth=8
    both seqwrite --rw=write --bs=1M --iodepth=8
}

fio_all() {
    run=0
    while [ "$run" -lt "$vd_runs" ]; do
        # The host reads the companion's own counters meanwhile.
        if [ "$run" = 1 ]; then
            step steady
            await_host
        fi
        fio_round
        run=$((run + 1))
    done
    step measured
    await_host
}

# What a machine does that has just got a disk, as far as it goes without a file system driver.
trace_mkfs() {
    mke2fs -F "$paravirt" $((vd_size * 1024)) >/dev/null 2>&1
    sync
    dd if="$paravirt" of=/dev/null bs=64k count=1000 2>/dev/null
    dd if=/dev/zero of="$paravirt" bs=4k seek=3000 count=4000 conv=notrunc,fsync 2>/dev/null
    forget "$paravirt"
}

trace_fio() {
    fio --name=direct --filename="$paravirt" --size="${vd_size}M" --ioengine=libaio --direct=1 --rw=randrw \
        --bsrange=4k-128k --iodepth=16 --time_based --runtime=3 --output-format=terse >/dev/null
    fio --name=buffered --filename="$paravirt" --size="${vd_size}M" --ioengine=psync --direct=0 --rw=randrw --bs=4k \
        --time_based --runtime=4 --numjobs=2 --end_fsync=1 --output-format=terse >/dev/null
    forget "$paravirt"
    fio --name=ahead --filename="$paravirt" --size="${vd_size}M" --ioengine=psync --direct=0 --rw=read --bs=64k \
        --output-format=terse >/dev/null
}

# The companion of the NVMe controller at an address, which its module has linked to it; nothing where there is none.
companion_of() {
    for link in /sys/bus/pci/devices/"$1"/supplier:pci:*; do
        if [ -e "$link" ]; then echo "${link##*/supplier:pci:}"; fi
    done
}

# The two disks, and where the module tells about the one that it manages.
find_both() {
    paravirt=
    identity=
    for address in $(nvme_addresses); do
        find_disk "$address" || return 1
        companion=$(companion_of "$address")
        echo "$(describe_device "$address"): $(interrupt_kind "$address"), $(vectors_of "$address") vectors, $disk," \
            "companion ${companion:-none}"
        if [ -n "$companion" ]; then
            paravirt=$disk
            paravirt_at=$address
            stats=/sys/kernel/debug/viaduct_dma/$companion/stats
            release=/sys/kernel/debug/viaduct_dma/$companion/release
        else
            identity=$disk
            identity_at=$address
        fi
    done
    if [ -z "$paravirt" ] || [ -z "$identity" ] || ! [ -r "$stats" ]; then
        not_ok "there are a disk with a companion and one without" "paravirt '$paravirt', identity '$identity'"
        return 1
    fi
}

trace_at=$vd_trace_at
load_dma || return 0
if wants trace; then trace_start; fi
# shellcheck disable=SC2034 # for load_modules
vd_dma=no
load_modules
load dma_bench
find_both || return 0
if wants trace; then
    trace_mkfs
    trace_save boot
fi
if wants micro; then micro_all; fi
if wants fio; then fio_all; fi
if wants trace; then
    trace_start
    trace_fio
    trace_save fio
fi
sed 's/^/stats: /' "$stats" "${stats%stats}windows" "${stats%stats}histogram"
check "no command needed the driver's timeout" no_timeouts
