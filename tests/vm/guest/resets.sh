# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# shellcheck disable=SC2154 # $disk and vd_... come from lib.sh and the kernel command line
# What a driver may do to a device besides using it: leave and come back, reset it while it works.
address=$(nvme_addresses | head -n 1)
find_disk "$address" || return 0
before=$(sha_of "$disk")
folder=/sys/bus/pci/devices/$address

for round in 1 2 3; do
    echo "$address" >/sys/bus/pci/drivers/nvme/unbind
    echo "$address" >/sys/bus/pci/drivers/nvme/bind
    wait_until 20 disk_ready "$address" || break
done
if wait_until 20 disk_ready "$address"; then
    ok "the driver unbinds and binds three times"
else
    not_ok "the driver unbinds and binds three times" "no disk after round $round"
    return 0
fi
disk=$(disk_of "$address")
check "the disk reads the same after unbind and bind" test "$(sha_of "$disk")" = "$before"

# load NAME: fio in the background for as long as the resets take.
load() {
    fio_verify --name="$1" --filename="$disk" --rw=randrw --bs=4k --iodepth=16 --offset=8M --size=4M \
        --time_based=1 --runtime="${vd_load:-6}" --verify_backlog=256 >"/tmp/$1.out" 2>&1 &
    load_pid=$!
    # Under way: the disk counts what it did.
    reads=$(cut -c 1-9 "/sys/block/${disk#/dev/}/stat")
    wait_until 20 sh -c "[ \"\$(cut -c 1-9 /sys/block/${disk#/dev/}/stat)\" != '$reads' ]"
}

under_load() {
    fact=$1
    if wait "$load_pid"; then
        ok "$fact"
    else
        not_ok "$fact" "fio: $(tail -n 3 "/tmp/$2.out" | tr '\n' ' ')"
    fi
}

case " $(cat "$folder/reset_method" 2>/dev/null) " in
*' flr '*) ok "the kernel offers a function level reset" ;;
*) not_ok "the kernel offers a function level reset" "reset_method: $(cat "$folder/reset_method" 2>&1)" ;;
esac
echo flr >"$folder/reset_method"
load flr
for round in 1 2 3; do
    if ! echo 1 >"$folder/reset"; then not_ok "function level reset $round under load" "refused"; fi
    usleep 300000
done
under_load "fio survives three function level resets and its data is right" flr

load controller
for round in 1 2 3; do
    if ! echo 1 >"/sys/class/nvme/$(controller_of "$address")/reset_controller"; then
        not_ok "controller reset $round under load" "refused"
    fi
    usleep 300000
done
under_load "fio survives three controller resets and its data is right" controller
data after "$(sha_of_region "$disk" 16 16)"
check "no command needed the driver's timeout" no_timeouts
