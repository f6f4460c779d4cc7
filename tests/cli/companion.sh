#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Companions: where they are offered, what is told of them, what `run` tells QEMU and the user, and that limits hold. A
# guest is guest.py.
# shellcheck disable=SC2016,SC2086 # the stand-ins expand their own words; lists of words are wanted
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
guest=$(dirname "$0")/guest.py
disk=host=sim:nvme,iommu=assigned

# The command line of run.

command_is() { # EXPRESSION on the command's words w, and on the devices d given as JSON
    python3 - "$scratch/out" "$1" <<'E2'
import json, shlex, sys
w = shlex.split(open(sys.argv[1]).read())
d = [json.loads(word) for word in w if word.startswith('{"driver":"vfio-user-pci"')]
sys.exit(not eval("(" + sys.argv[2] + ")"))
E2
}
accepts dry_run_has_a_companion '"id":"p0-companion"' -- run --dry-run --vfio "$disk,port=p0" \
    --vfio host=sim:edu,port=p1 --vfio "host=sim:edu,iommu=assigned,port=p2"
fact companions_are_on_the_root_bus command_is '[(x["id"], x["bus"]) for x in d] == [("p0-device", "p0"),
    ("p0-companion", "pcie.0"), ("p1-device", "p1"), ("p2-device", "p2"), ("p2-companion", "pcie.0")]'
fact companions_have_sockets_of_their_own command_is 'len({x["socket"]["path"] for x in d}) == 5'
fact companions_need_no_port command_is 'sum(x.startswith("pcie-root-port") for x in w) == 3'
fact run_notes_each_companion test "$(grep -c 'strategy paravirt (because this host picks' "$scratch/err")" -eq 2
accepts paravirt_can_be_asked_for '"id":"port0-companion"' -- run --dry-run --vfio host=sim:nvme,dma=paravirt
fact run_notes_that_it_was_asked_for grep -q 'strategy paravirt (as asked); the guest needs the module' "$scratch/err"
accepts identity_has_no_companion '"id":"port0-device"' -- run --dry-run --vfio host=sim:nvme
fact identity_is_not_noted command_is 'len(d) == 1'
accepts companion_of_an_aarch64_guest_is_on_the_root_bus '"id":"port0-companion","bus":"pcie.0"' -- \
    run --dry-run --arch aarch64 --accel tcg --vfio "$disk"
refuses same_place_in_the_guest_twice_is_refused 2 "02:00.0" "guest=BB:DD.F" -- \
    run --dry-run --vfio "$disk,guest=02:00.0" --vfio host=sim:edu,iommu=assigned
accepts places_in_the_guest_can_be_swapped '"id":"port1-companion"' -- \
    run --dry-run --vfio "$disk,guest=02:00.0" --vfio host=sim:edu,iommu=assigned,guest=01:00.0

# Where serve offers them.

start_serve --vfio "$disk,socket=$scratch/a.sock" \
    --vfio "host=sim:edu,iommu=assigned,companion=$scratch/c,,c.sock,socket=$scratch/b.sock" \
    --vfio "host=sim:edu,seed=3,socket=$scratch/d.sock"
fact companion_is_beside_its_device \
    grep -qx "serving companion of sim:nvme on $scratch/a.sock.companion" "$scratch/served"
fact companion_is_where_it_was_told grep -qx "serving companion of sim:edu on $scratch/c,c.sock" "$scratch/served"
fact serve_has_no_companion_without_need test "$(grep -c ^serving "$scratch/served")" -eq 5
fact companion_sockets_are_private \
    test "$(stat -c %a "$scratch/a.sock.companion" "$scratch/c,c.sock" | tr '\n' ' ')" = "600 600 "
refuses live_companion_socket_is_refused 1 "$scratch/a.sock.companion" -- \
    serve --vfio "$disk,socket=$scratch/e.sock,companion=$scratch/a.sock.companion"
stop TERM
report "$status" sigterm_ends_serve_with_companions
fact serve_removes_the_sockets_of_companions test ! -e "$scratch/a.sock.companion" -a ! -e "$scratch/c,c.sock"

refuses companion_socket_that_is_its_devices_is_refused 2 "socket $scratch/a.sock is that of sim:nvme" \
    "companion=<path>" -- \
    serve --vfio "$disk,socket=$scratch/a.sock,companion=$scratch/a.sock"
refuses companion_socket_that_is_anothers_is_refused 2 "$scratch/a.sock.companion" "sim:edu" -- \
    serve --vfio "$disk,socket=$scratch/a.sock" --vfio "host=sim:edu,socket=$scratch/a.sock.companion"
refuses same_companion_socket_twice_is_refused 2 "$scratch/c.sock" "companion:sim:" -- \
    serve --vfio "$disk,socket=$scratch/a.sock,companion=$scratch/c.sock" \
    --vfio "host=sim:edu,iommu=assigned,socket=$scratch/b.sock,companion=$scratch/c.sock"
refuses companion_of_a_device_without_one_is_refused 2 "companion=$scratch/c.sock" "is identity" "leave it out" -- \
    serve --vfio "host=sim:nvme,socket=$scratch/a.sock,companion=$scratch/c.sock"
long=$scratch/$(printf '%0100d' 0)
long=$(printf '%.99s' "$long")
refuses derived_companion_socket_too_long_is_refused 2 "$long.companion has 109 bytes" "companion=<path>" -- \
    serve --vfio "$disk,socket=$long"
: >"$scratch/file"
refuses companion_socket_over_a_file_is_refused 1 "$scratch/file" -- \
    serve --vfio "$disk,socket=$scratch/a.sock,companion=$scratch/file"
fact refused_serve_leaves_no_socket test ! -e "$scratch/a.sock" -a -f "$scratch/file"

start_serve --vfio "$disk,socket=$scratch/a.sock"
stop KILL
fact killed_serve_leaves_the_companions_socket test -S "$scratch/a.sock.companion"

# A guest, and what stats tells of it.

start_serve --json --vfio "$disk,seed=5,socket=$scratch/a.sock,guest=1f:02.3,dma-bytes=64K,dma-mappings=2"
server=$child
sed -n 2p "$scratch/served" >"$scratch/event"
fact stale_companion_socket_is_replaced json "$scratch/event" "d['socket'] == '$scratch/a.sock.companion'"
fact serve_json_says_whom_a_companion_manages json "$scratch/event" "(d['event'], d['manages'], d['address']) ==
    ('ready', 'sim:nvme,iommu=assigned,seed=5', 'companion:sim:nvme,iommu=assigned,seed=5')"
sed -n 1p "$scratch/served" >"$scratch/event"
fact serve_json_of_a_device_manages_nothing json "$scratch/event" "d['manages'] is None"
accepts stats_text_says_that_the_device_waits "strategy      paravirt" "manages       sim:nvme,iommu=assigned,seed=5" \
    "guest driver  not there; the device waits for it" "doorbells     0, 0 maps" -- stats
start python3 "$guest" map "$scratch/a.sock.companion" 32768 65536 16384 16384
run "$viaduct" stats --json
cp "$scratch/out" "$scratch/stats.json"
fact place_in_the_guest_reaches_the_guest test "${said%% *}" = 1f13
fact limits_are_the_guests test "$said" = "1f13 0 1 0 1"
fact stats_has_the_devices_companion json "$scratch/stats.json" '[(e["strategy"], e["manages"])
    for e in d["endpoints"]] ==
    [("paravirt", None), ("local", d["endpoints"][0]["address"])]'
fact stats_counts_what_the_guest_asks_for json "$scratch/stats.json" 'd["endpoints"][1]["companion"] == {"active": True,
    "wide": False, "doorbells": 4, "maps": 2, "unmaps": 0, "refused": 2, "lost": 0, "bytes": 49152, "mappings": 2}'
fact stats_of_a_device_has_no_companion json "$scratch/stats.json" 'd["endpoints"][0]["companion"] is None'
fact what_a_companion_maps_is_the_devices json "$scratch/stats.json" '[d["endpoints"][0]["dma"][k]
    for k in ("bytes", "mappings")] == [49152, 2]'
accepts stats_text_counts_what_the_guest_asks_for "guest driver  active, version 2 layouts" \
    "mapped        48 KiB in 2 mappings" "doorbells     4, 2 maps, 0 unmaps, 2 refused, 0 lost" -- stats
end
child=$server
stop INT
report "$status" sigint_ends_serve_after_a_guest
tail -n 1 "$scratch/served" >"$scratch/event"
fact serve_json_announces_the_companions_end json "$scratch/event" "d['event'] == 'stopped' and d['manages']"

start_serve --vfio "host=sim:nvme,dma-bytes=1M,dma-mappings=7,socket=$scratch/a.sock"
run "$viaduct" stats --json
fact limits_of_a_device_without_companion_are_its_own json "$scratch/out" '[d["endpoints"][0]["dma"][k]
    for k in ("limit_bytes", "limit_mappings")] == [1 << 20, 7]'
stop TERM

# What run says of the guest afterwards.

left_alone='the guest never started the companion'
fake_qemu "$scratch/qemu" 11.1.3 yes "exec python3 '$guest' qemu \"\$@\""
fake_qemu "$scratch/idle" 11.1.3 yes 'exit 0'
machine="run --accel tcg --vfio $disk"
accepts run_succeeds_with_a_companion -- $machine --qemu "$scratch/qemu"
fact run_notes_a_guest_without_the_module grep -q "$left_alone.*viaduct_dma" "$scratch/err"
GUEST_DRIVER=yes
export GUEST_DRIVER
accepts run_succeeds_with_a_driver -- $machine --qemu "$scratch/qemu"
fact guest_with_the_module_is_not_noted sh -c '! grep -q "$1" "$2"' - "$left_alone" "$scratch/err"
unset GUEST_DRIVER
accepts run_succeeds_without_a_client -- $machine --qemu "$scratch/idle"
fact machine_that_never_came_is_not_noted sh -c '! grep -q "$1" "$2"' - "$left_alone" "$scratch/err"
fact run_leaves_nothing_of_companions test -z "$(ls -A "$XDG_RUNTIME_DIR/viaduct")"
finish
