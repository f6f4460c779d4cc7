# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# shellcheck disable=SC2154 # $disk and vd_... come from lib.sh and the kernel command line
# The test device and a disk, each with a companion: a driver that knows only version 2, a guest that rings garbage, and
# then every part of the DMA API while the disk works. viaduct.dma=no: the module comes last.
# shellcheck source=lib_dma.sh
. /tests/lib_dma.sh
check "the guest has two companions" test "$(companions | wc -l)" = 2

load rfc_client
report rfc_client
step held
await_host
rmmod rfc_client

if [ "${vd_rounds:-2000}" != 0 ]; then
    load hostile "rounds=${vd_rounds:-2000}" "seed=${vd_seed:-1}"
    report hostile
    rmmod hostile
    step hostile
    await_host
fi

load_dma
address=$(nvme_addresses | head -n 1)
find_disk "$address" || return 0
data read "$(sha_of "$disk")"
fio_verify --name=beside --filename="$disk" --rw=randrw --bs=16k --iodepth=8 --offset=8M --size=4M \
    --time_based=1 --runtime="$((${vd_seconds:-2} + 1))" --verify_backlog=64 >/tmp/beside.out 2>&1 &
load_pid=$!
# Idle windows go all the time, so that requests miss.
while :; do
    for file in "$DEBUG"/viaduct_dma/*/release; do echo 1 >"$file"; done 2>/dev/null
    usleep 50000
done &
release_pid=$!
load dma_torture "seconds=${vd_seconds:-2}" "seed=${vd_seed:-1}"
report dma_torture
kill "$release_pid"
if wait "$load_pid"; then
    ok "the disk works beside the test device"
else
    not_ok "the disk works beside the test device" "fio: $(tail -n 3 /tmp/beside.out | tr '\n' ' ')"
fi
tell_counters dma_ maps hits misses failed coherent_allocs doorbells
write_pattern "$disk" 28 2 written
step measured
await_host
rmmod dma_torture
rmmod viaduct_dma
step unloaded
await_host
clean_log
