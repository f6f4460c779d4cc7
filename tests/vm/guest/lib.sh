# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# What the bodies of guest tests share. Lines for the host begin with "@vd":
#   @vd begin NAME · @vd ok FACT · @vd not-ok FACT: WHY · @vd data KEY VALUE · @vd step NAME · @vd end NAME
# A step tells the host where the guest is; await_host then waits for a line from it.

say() {
    printf '@vd %s\n' "$*"
}

ok() {
    say "ok $1"
}

not_ok() {
    : >/tmp/failed
    say "not-ok $1: $2"
}

data() {
    say "data $1 $2"
}

step() {
    say "step $1"
}

# check FACT COMMAND...: ok when the command succeeds; its output is the reason when it does not.
check() {
    fact=$1
    shift
    if "$@" >/tmp/check.out 2>&1; then
        ok "$fact"
    else
        not_ok "$fact" "exit $?, $(tail -n 4 /tmp/check.out | cut -c 1-160 | tr '\n' ' ')"
        return 1
    fi
}

# await_host: one line from the host, in $answer; gives up after a minute.
await_host() {
    answer=
    # shellcheck disable=SC2034,SC3045 # for the caller; busybox has -t
    read -r -t 60 answer </dev/console
}

# wait_until SECONDS COMMAND...: tries ten times a second.
wait_until() {
    tries=$(($1 * 10))
    shift
    while ! "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        if [ "$tries" -le 0 ]; then return 1; fi
        usleep 100000
    done
}

# load NAME PARAMETER...: a module of /modules.
load() {
    module=$1
    shift
    insmod "/modules/$module.ko" "$@" || {
        say "note: $module does not load"
        return 1
    }
}

# viaduct.dma_parameters=NAME=VALUE,... goes to the module of the paravirt strategy.
load_dma() {
    # shellcheck disable=SC2046 # words
    load viaduct_dma $(echo "${vd_dma_parameters:-}" | tr ',' ' ')
}

# The nvme driver with what it needs, and viaduct_dma as viaduct.dma= says: before it (the default), after it, or not at
# all. Modules of tests are loaded by the bodies that want them. viaduct.timeout=SECONDS is how long the nvme driver
# waits for a command before it acts.
load_modules() {
    if [ "${vd_dma:-before}" = before ] && [ -e /modules/viaduct_dma.ko ]; then load_dma; fi
    while read -r name; do
        parameters=
        if [ "$name" = nvme-core.ko ] && [ -n "${vd_timeout:-}" ]; then
            parameters="io_timeout=$vd_timeout admin_timeout=$vd_timeout"
        fi
        # shellcheck disable=SC2086 # words
        load "${name%.ko}" $parameters
    done </modules/list
    if [ "${vd_dma:-before}" = after ]; then load_dma; fi
}

# The PCI addresses of NVMe controllers, in order.
nvme_addresses() {
    for device in /sys/bus/pci/devices/*; do
        if [ "$(cat "$device/class")" = 0x010802 ]; then echo "${device##*/}"; fi
    done
}

# disk_of ADDRESS: the block device of the namespace there, for instance /dev/nvme0n1.
disk_of() {
    for namespace in /sys/bus/pci/devices/"$1"/nvme/nvme*/nvme*n1; do
        if [ -e "$namespace" ]; then
            namespace=${namespace##*/}
            # 6.12 names the path nvme0c0n1 when it has multipath on; the disk is nvme0n1.
            case $namespace in
            *c*n*) namespace=${namespace%%c*}n1 ;;
            esac
            echo "/dev/$namespace"
            return
        fi
    done
    return 1
}

controller_of() {
    for controller in /sys/bus/pci/devices/"$1"/nvme/nvme*; do
        if [ -e "$controller" ]; then
            echo "${controller##*/}"
            return
        fi
    done
    return 1
}

disk_ready() {
    [ -b "$(disk_of "$1")" ]
}

# lspci's line for a device, from sysfs.
describe_device() {
    folder=/sys/bus/pci/devices/$1
    driver=none
    if [ -e "$folder/driver" ]; then driver=$(basename "$(readlink "$folder/driver")"); fi
    echo "$1 class $(cut -c 3-6 "$folder/class") [$(cut -c 3- "$folder/vendor"):$(cut -c 3- "$folder/device")] driver $driver"
}

# How the driver gets this device's interrupts: intx, msi or msix.
interrupt_kind() {
    for vector in /sys/bus/pci/devices/"$1"/msi_irqs/*; do
        if [ ! -e "$vector" ]; then break; fi
        cat "$vector"
        return
    done
    echo intx
}

vectors_of() {
    if [ -d "/sys/bus/pci/devices/$1/msi_irqs" ]; then
        find "/sys/bus/pci/devices/$1/msi_irqs" -type f | wc -l
    else
        echo 1
    fi
}

sectors_of() {
    cat "/sys/block/${1#/dev/}/size"
}

# Drops what the guest has cached of a disk, so that the next read asks the device.
forget() {
    blockdev --flushbufs "$1"
    echo 3 >/proc/sys/vm/drop_caches
}

# The disk at ADDRESS in $disk; says so and fails when the driver does not make one.
find_disk() {
    if wait_until 20 disk_ready "$1"; then
        # shellcheck disable=SC2034 # for the caller
        disk=$(disk_of "$1")
        ok "the stock nvme driver makes a disk of $1"
    else
        not_ok "the stock nvme driver makes a disk of $1" "no block device after 20 s"
        return 1
    fi
}

# fio with what all runs here share: direct, asynchronous, checksums verified, stopping at the first that is wrong.
fio_verify() {
    fio --output-format=terse --ioengine=libaio --direct=1 --verify=crc32c --verify_fatal=1 --do_verify=1 \
        --group_reporting "$@"
}

# A driver that loses an interrupt polls after its timeout and goes on: that would hide a defect.
no_timeouts() {
    ! dmesg | grep -iE 'nvme.*(timeout|polled|abort|controller is down|not ready)'
}

# write_pattern DISK SEEK COUNT NAME: so many MiB of random bytes, flushed; the host is told their sum.
write_pattern() {
    dd if=/dev/urandom of=/tmp/pattern bs=1M count="$3" 2>/dev/null
    data "$4" "$(sha256sum /tmp/pattern | cut -d ' ' -f 1)"
    dd if=/tmp/pattern of="$1" bs=1M seek="$2" conv=notrunc,fsync 2>/dev/null
}

# The sum of COUNT MiB at SKIP, read from the device.
sha_of_region() {
    forget "$1"
    dd if="$1" bs=1M skip="$2" count="$3" 2>/dev/null | sha256sum | cut -d ' ' -f 1
}

sha_of() {
    forget "$1"
    sha256sum "$1" | cut -d ' ' -f 1
}
