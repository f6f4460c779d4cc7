# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# shellcheck disable=SC2154 # $disk and vd_... come from lib.sh and the kernel command line
# Drivers come and go in every order: the disk's, the companion's, and the module itself. The module is loaded after the
# disk's driver (viaduct.dma=no), which met a device that the host holds.
# shellcheck source=lib_dma.sh
. /tests/lib_dma.sh
address=$(nvme_addresses | head -n 1)
folder=/sys/bus/pci/devices/$address
check "without the module there is no disk" sh -c "! test -b /dev/nvme0n1"
no_reports "a driver that comes too early fails and does no harm"
load_dma
find_disk "$address" || return 0
before=$(sha_of "$disk")
data read "$before"

is_disk_back() {
    wait_until 30 disk_ready "$address" && disk=$(disk_of "$address")
}

for round in 1 2 3; do
    echo "$address" >/sys/bus/pci/drivers/nvme/unbind
    echo "$address" >/sys/bus/pci/drivers/nvme/bind
    is_disk_back || break
done
check "the disk's driver unbinds and binds" is_disk_back || return 0

companion=$(companions | head -n 1)
for round in 1 2; do
    echo "$companion" >/sys/bus/pci/drivers/viaduct_dma/unbind
    if [ -b "$disk" ]; then not_ok "without the companion's driver there is no disk" "$disk is there"; fi
    echo "$companion" >/sys/bus/pci/drivers/viaduct_dma/bind
    is_disk_back || break
done
check "the companion's driver unbinds and binds" is_disk_back || return 0
check "the disk reads the same after all that" test "$(sha_of "$disk")" = "$before"

# load NAME: fio in the background for as long as what is done meanwhile takes.
start_load() {
    fio_verify --name="$1" --filename="$disk" --rw=randrw --bs=4k --iodepth=16 --offset=8M --size=4M \
        --time_based=1 --runtime="${vd_load:-5}" --verify_backlog=256 >"/tmp/$1.out" 2>&1 &
    load_pid=$!
    reads=$(cut -c 1-9 "/sys/block/${disk#/dev/}/stat")
    wait_until 20 sh -c "[ \"\$(cut -c 1-9 /sys/block/${disk#/dev/}/stat)\" != '$reads' ]"
}

end_load() {
    if wait "$load_pid"; then ok "$2"; else not_ok "$2" "fio: $(tail -n 3 "/tmp/$1.out" | tr '\n' ' ')"; fi
}

echo flr >"$folder/reset_method"
start_load resets
for round in 1 2 3; do
    if [ "${vd_flr:-yes}" = yes ] && ! echo 1 >"$folder/reset"; then
        not_ok "function level reset $round under load" "refused"
    fi
    usleep 200000
    if ! echo 1 >"/sys/class/nvme/$(controller_of "$address")/reset_controller"; then
        not_ok "controller reset $round under load" "refused"
    fi
    # Meanwhile idle windows go, too.
    for file in "$DEBUG"/viaduct_dma/*/release; do echo 1 >"$file"; done
    usleep 200000
done
end_load resets "fio survives resets of the device and of the controller, and its data is right"

if [ -w /sys/power/pm_test ] && grep -q devices /sys/power/pm_test; then
    echo devices >/sys/power/pm_test
    start_load sleeps
    check "the guest goes to sleep and wakes up under load" sh -c "echo ${vd_sleep:-freeze} >/sys/power/state"
    end_load sleeps "fio survives that, and its data is right"
    data slept yes
fi

# The module leaves while the disk works: the disk goes, with errors, and nothing stays mapped.
fio --output-format=terse --name=gone --filename="$disk" --rw=randread --bs=4k --iodepth=16 --ioengine=libaio \
    --direct=1 --time_based=1 --runtime=20 >/tmp/gone.out 2>&1 &
load_pid=$!
usleep 500000
check "the module leaves under load" rmmod viaduct_dma
kill "$load_pid" 2>/dev/null
wait "$load_pid"
check "and the disk is gone" sh -c "! test -b $disk"
step unloaded
await_host
load_dma
if is_disk_back; then
    check "the module comes back and the disk reads the same" test "$(sha_of_region "$disk" 16 16)" = \
        "$(dd if="$disk" bs=1M skip=16 count=16 iflag=direct 2>/dev/null | sha256sum | cut -d ' ' -f 1)"
    data after "$(sha_of_region "$disk" 16 16)"
else
    not_ok "the module comes back and the disk reads the same" "no disk: $(dmesg | tail -n 2 | tr '\n' ' ')"
fi
tell_counters dma_ failed unknown_unmaps
clean_log
