#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Devices of an extension, as `list`, `doctor`, `serve` and `run` show and take them: a viaduct-dextd ($3) stands for
# the extension. Without it everything here is skipped.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
if [ -z "${3-}" ]; then
    echo "1..0 # SKIP this build has no viaduct-dextd"
    exit 0
fi
dextd=$3
peer=$(dirname "$0")/extension.py
VIADUCT_DEXTD=$scratch/e,x.sock # a comma, because addresses double them
fake_qemu "$scratch/qemu" 11.1.3 yes 'exit 0'

list_json() { # EXPRESSION on the document d
    run "$viaduct" list --json
    json "$scratch/out" "$1"
}

# doctor_says NAME STATUS CHECK VERDICT TEXT -- ARGUMENTS...: the finding of an apple: device, and doctor's exit status.
doctor_says() {
    name=$1 wanted=$2 check=$3 verdict=$4 text=$5
    shift 6
    run "$viaduct" doctor --json --qemu "$scratch/qemu" "$@"
    [ "$status" -eq "$wanted" ] && python3 - "$scratch/out" "$check" "$verdict" "$text" <<'E2'
import json, sys
name, status, text = sys.argv[2:]
found = [c for c in json.load(open(sys.argv[1]))["checks"] if c["device"] and c["name"] == name]
ok = found and all(c["status"] == status and text in c["text"] and (status == "ok" or c["remedy"]) for c in found)
sys.exit(not ok)
E2
    report $? "$name"
}

# Nobody there.

accepts list_says_what_to_do_without_an_extension "Devices of an extension" "  none; " "viaduct-dextd(1)" -- list
fact list_without_an_extension_is_quiet test ! -s "$scratch/err"
fact list_json_without_an_extension_is_empty list_json 'd["devices"] == [] and d["devices_reason"] is None'
refuses apple_address_without_an_extension_is_refused 1 "--vfio host=apple:01:00.0: " "viaduct-dextd" -- \
    run --dry-run --vfio host=apple:01:00.0

# Somebody who does not speak to us: the list goes on.

export VIADUCT_DEXTD
start python3 "$peer" hang-up "$VIADUCT_DEXTD"
accepts list_goes_on_when_an_extension_does_not_answer "sim:nvme" "  not known: " -- list
fact list_warns_when_an_extension_does_not_answer grep -q '^viaduct: warning: the devices of a host are not listed: ' \
    "$scratch/err"
fact list_json_has_the_reason list_json 'd["devices"] == [] and d["devices_reason"]'
doctor_asks() {
    run "$viaduct" doctor --qemu "$scratch/qemu"
    [ "$status" -eq 0 ] && grep -q '^warn  devices .*not known: ' "$scratch/out"
}
fact doctor_warns_when_an_extension_does_not_answer doctor_asks
end
rm -f "$VIADUCT_DEXTD"

# Three devices.

mkfifo "$scratch/listens"
"$dextd" --socket "$VIADUCT_DEXTD" --device 01:00.0=sim:nvme,size=16M --device 02:00.0=sim:edu \
    --device 03:00.0=sim:edu,window=off,irq=intx,rom=off >"$scratch/listens" 2>"$scratch/dextd.err" &
daemon=$!
children="$children $daemon"
exec 6<"$scratch/listens"
read -r line <&6
fact extension_is_there test "$line" = "listening on $VIADUCT_DEXTD"

accepts list_has_the_devices_of_the_extension "apple:01:00.0  free  " "[1234:4e56]" "driver      viaduct-dextd" \
    "interrupts  17 MSI-X, 16 MSI" "memory      BAR 0 32 KiB, BAR 2 16 MiB 64-bit prefetchable, ROM 4 KiB" \
    "link        8 GT/s x4" -- list
fact list_names_the_class grep -Eq '^    class       (Non-Volatile memory controller \()?010802' "$scratch/out"
widths() { # of what stands before the ids
    sed -n '/^  apple:/s/\[.*//p' "$scratch/out" | awk '{ print length }' | sort -u | wc -l
}
fact list_aligns_its_columns test "$(widths)" -eq 1
fact list_json_has_every_key list_json 'set(d["devices"][0]) == set("""address state driver model vendor device subvendor
    subdevice class vendor_name device_name class_name regions msi_vectors msix_vectors link""".split())'
fact list_json_has_the_values list_json '[(x["address"], x["state"], x["vendor"], x["device"], x["class"])
    for x in d["devices"]] == [("apple:01:00.0", "free", "1234", "4e56", "010802"),
    ("apple:02:00.0", "free", "1234", "11e9", "ff0000"), ("apple:03:00.0", "free", "1234", "11e9", "ff0000")]'
fact list_json_has_bars list_json 'd["devices"][1]["regions"] == [
    {"index": 0, "name": "bar0", "size": 32768, "prefetchable": False, "64bit": False},
    {"index": 2, "name": "bar2", "size": 1 << 24, "prefetchable": True, "64bit": True},
    {"index": 6, "name": "rom", "size": 4096, "prefetchable": False, "64bit": False}]'
fact list_json_has_vectors_and_link list_json 'd["devices"][1]["msix_vectors"] == 8 and
    d["devices"][1]["link"] == {"gt_per_s": 8, "width": 4} and d["devices"][2]["msix_vectors"] == 0'

# The doctor.

doctor_says doctor_passes_the_devices 0 open ok "back end apple" --
fact doctor_examines_all_of_them json "$scratch/out" 'len({c["device"] for c in d["checks"] if c["device"]}) == 3'
fact doctor_has_every_check json "$scratch/out" '[c["name"] for c in d["checks"] if c["device"] == "apple:01:00.0"] ==
    ["open", "config space", "command", "first read", "mapping", "interrupts", "dma", "reset", "self-test", "delivery"]'
fact doctor_lets_nvme_reach_memory json "$scratch/out" 'any("read a command from memory" in c["text"]
    for c in d["checks"] if c["device"] == "apple:01:00.0")'
fact doctor_lets_edu_copy json "$scratch/out" 'sum("copied 4096 bytes" in c["text"] for c in d["checks"]) == 2'
fact doctor_awaits_no_interrupt_without_vectors json "$scratch/out" '[c["device"] for c in d["checks"]
    if c["name"] == "delivery"] == ["apple:01:00.0", "apple:02:00.0"]'
fact doctor_warns_of_no_interrupts_at_all json "$scratch/out" '[c["status"] for c in d["checks"]
    if c["device"] == "apple:03:00.0" and c["name"] == "interrupts"] == ["warn"]'
doctor_says doctor_maps_a_bar 0 mapping ok "BAR 2 can be mapped: 16 MiB, prefetchable" -- --device apple:03:00.0
doctor_says doctor_tells_limits 0 dma ok \
    "the host assigns the bus addresses; pages of 16 KiB, at most 1.5 GiB in 65536" -- --device apple:01:00.0
fact doctor_names_the_module_of_the_guest grep -q "viaduct_dma (strategy paravirt)" "$scratch/out"
fact doctor_examines_only_what_is_named json "$scratch/out" '{c["device"] for c in d["checks"]} == {None, "apple:01:00.0"}'
doctor_says doctor_names_a_device_that_is_not_there 1 open fail "no such device" -- --device apple:09:00.0
doctor_says doctor_takes_the_socket_of_an_address 0 self-test ok "copied" -- \
    --device "apple:02:00.0,socket=$scratch/e,,x.sock"
doctor_says doctor_fails_when_the_self_test_does 1 self-test fail "12 KiB of memory cannot be mapped" -- \
    --device sim:nvme,iommu=assigned,granule=4K,aperture=8K
doctor_says doctor_finds_pages_in_odd_segments 0 self-test ok "wrote its answer" -- \
    --device sim:nvme,iommu=assigned,granule=4K,segments=8,seed=11
disks_unchanged() { # nothing but reads of the controller may happen to a disk
    before=$(cksum <"$scratch/disk.img")
    run "$viaduct" doctor --qemu "$scratch/qemu" --device "sim:nvme,image=$scratch/disk.img"
    [ "$status" -eq 0 ] && [ "$before" = "$(cksum <"$scratch/disk.img")" ]
}
fact doctor_leaves_disks_alone disks_unchanged
nothing_mapped() {
    "$dextd" list --json --socket "$VIADUCT_DEXTD" >"$scratch/out"
    ! grep -Eq '"(bytes|mappings)": *[1-9]' "$scratch/out"
}
fact doctor_leaves_nothing_mapped nothing_mapped

# In use, then removed.

start python3 "$peer" hold "$VIADUCT_DEXTD" 0
fact list_shows_a_device_in_use list_json '[x["state"] for x in d["devices"]] == ["in use", "free", "free"]'
accepts list_text_shows_a_device_in_use "apple:01:00.0  in use   [" "apple:02:00.0  free     [" -- list
doctor_says doctor_does_not_fail_on_a_device_in_use 0 open warn "in use by another client" -- --device apple:01:00.0
refuses device_in_use_is_refused 1 "--vfio host=apple:01:00.0: in use by another client" -- \
    run --dry-run --vfio host=apple:01:00.0
"$dextd" unplug 01:00.0 --socket "$VIADUCT_DEXTD" >"$scratch/out" 2>&1
# A host may go on listing it while somebody holds it, or not.
fact list_does_not_offer_a_removed_device list_json '{x["state"] for x in d["devices"] if x["address"] == "apple:01:00.0"} <=
    {"removed"}'
run "$viaduct" doctor --json --qemu "$scratch/qemu"
report "$status" doctor_does_not_fail_on_a_removed_device
fact doctor_does_not_examine_a_removed_device json "$scratch/out" '[c for c in d["checks"]
    if c["device"] == "apple:01:00.0" and c["status"] == "ok"] == []'
end
fact removed_device_goes_with_its_user list_json '[x["address"] for x in d["devices"]] == ["apple:02:00.0", "apple:03:00.0"]'

# --vfio.

accepts apple_device_gets_a_companion '"id":"port0-companion"' -- run --dry-run --vfio host=apple:02:00.0
fact run_says_why_and_names_the_module grep -q "^viaduct: --vfio host=apple:02:00.0: strategy paravirt (because this host \
picks the bus addresses); the guest needs the module viaduct_dma" "$scratch/err"
refuses pool_on_an_apple_device_is_refused 1 "--vfio host=apple:02:00.0,dma=pool" "dma=pool is not built yet" -- \
    run --dry-run --vfio host=apple:02:00.0,dma=pool
refuses identity_on_an_apple_device_is_refused 1 "dma=identity" "picks the bus addresses itself" -- \
    serve --vfio "host=apple:02:00.0,dma=identity,socket=$scratch/v.sock"
unset VIADUCT_DEXTD
start_serve --json --vfio "dextd=$scratch/e,,x.sock,host=apple:02:00.0,socket=$scratch/v.sock"
sed -n 2p "$scratch/served" >"$scratch/event"
fact dextd_says_where_the_extension_is json "$scratch/event" "d['socket'] == '$scratch/v.sock.companion' and
    d['manages'].startswith('apple:02:00.0') and d['address'].startswith('companion:apple:02:00.0')"
run "$viaduct" stats --json
fact stats_knows_the_companion_of_an_apple_device json "$scratch/out" '[(e["strategy"], e["manages"] is None)
    for e in d["endpoints"]] == [("paravirt", True), ("local", False)]'
stop TERM
report "$status" serving_an_apple_device_ends_with_success
refuses dextd_where_nobody_listens_is_named 1 "$scratch/nobody" -- \
    run --dry-run --vfio "host=apple:02:00.0,dextd=$scratch/nobody"
kill "$daemon"
wait "$daemon"
fact extension_ends_cleanly test $? -eq 0
finish
