#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# What runs, what is told while it runs, and that nothing is left: serve, stats and run against a stand-in for QEMU.
# Nothing here waits for a time: a server says on a descriptor when it is ready, a stand-in opens a FIFO, and the end of
# a process is the end of that file.
# shellcheck disable=SC2016,SC2086 # the stand-ins expand their own words; lists of words are wanted
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

control=$XDG_RUNTIME_DIR/viaduct

# serve and stats

start_serve --vfio "host=sim:nvme,image=$scratch/disk.img,socket=$scratch/a.sock" \
    --vfio "socket=$scratch/b.sock,host=sim:edu,dma=identity,seed=4"
fact serve_writes_one_byte_when_ready test -s "$scratch/byte"
fact serve_prints_a_line_per_device grep -qx "serving sim:nvme on $scratch/a.sock" "$scratch/served"
fact serve_prints_the_second_device grep -qx "serving sim:edu on $scratch/b.sock" "$scratch/served"
fact sockets_are_private test "$(stat -c %a "$scratch/a.sock" "$control/$child.sock" "$control" | tr '\n' ' ')" = \
    "600 600 700 "
run "$viaduct" stats --json
cp "$scratch/out" "$scratch/stats.json"
fact stats_has_both_endpoints json "$scratch/stats.json" 'len(d["endpoints"]) == 2'
fact stats_endpoint_has_every_key json "$scratch/stats.json" 'set(d["endpoints"][0]) >= set("""address client socket
    strategy sessions messages errors violations refusal guest dma faults regions irqs resets pid""".split())'
fact stats_dma_has_every_key json "$scratch/stats.json" 'set(d["endpoints"][0]["dma"]) == set("""bytes mappings
    peak_bytes peak_mappings limit_bytes limit_mappings""".split())'
fact stats_no_limit_is_null json "$scratch/stats.json" 'd["endpoints"][0]["dma"]["limit_bytes"] is None'
fact stats_names_the_server json "$scratch/stats.json" "d['endpoints'][0]['pid'] == $child"
fact stats_irqs_list_each_vector json "$scratch/stats.json" '[len(i["vectors"]) for i in d["endpoints"][0]["irqs"]
    if i["name"] == "msix"] == [17]'
fact stats_regions_have_config json "$scratch/stats.json" \
    '[r["size"] for r in d["endpoints"][0]["regions"] if r["name"] == "config"] == [4096]'
accepts stats_text_names_the_devices "sim:edu" "pid $child" "limit none" "irq msix" -- stats
accepts stats_of_one_server_by_pid "sim:nvme" -- stats --server "$child"
accepts stats_of_one_server_by_path "sim:nvme" -- stats --server "$control/$child.sock"
first_lines() {
    timeout 20 "$viaduct" stats --json --watch 1 2>"$scratch/err" | head -n 2 >"$scratch/out"
    [ "$(wc -l <"$scratch/out")" -eq 2 ] && sed -n 2p "$scratch/out" >"$scratch/second" &&
        json "$scratch/second" 'len(d["endpoints"]) == 2'
}
fact stats_watch_prints_a_document_per_line first_lines
refuses second_server_on_a_live_socket_is_refused 1 "$scratch/b.sock" -- \
    serve --vfio "host=sim:edu,socket=$scratch/b.sock"
refuses image_in_use_is_refused 1 "$scratch/disk.img" "in use" -- \
    serve --vfio "host=sim:nvme,image=$scratch/disk.img,socket=$scratch/c.sock"
stop TERM
report "$status" sigterm_ends_serve_with_success
fact serve_removes_its_sockets test ! -e "$scratch/a.sock" -a ! -e "$scratch/b.sock" -a ! -e "$control/$child.sock"

# Whose ROM the guest gets: three endpoints with the device's own, with none, with a file's.

printf '\125\252\004rest' >"$scratch/some.rom"
truncate -s 5000 "$scratch/some.rom"
start_serve --vfio "host=sim:edu,rom=on,socket=$scratch/a.sock" --vfio "rom=off,host=sim:edu,socket=$scratch/b.sock" \
    --vfio "host=sim:edu,rom=$scratch/some.rom,socket=$scratch/c.sock"
run "$viaduct" stats --json
cp "$scratch/out" "$scratch/stats.json"
rom_is() { # LETTER SIZES: the ROM regions of the endpoint on that socket
    json "$scratch/stats.json" "[r['size'] for e in d['endpoints'] if e['socket'].endswith('/$1.sock')
        for r in e['regions'] if r['name'] == 'rom'] == $2"
}
fact rom_on_is_the_devices_own rom_is a '[4096]'
fact rom_off_hides_the_rom rom_is b '[]'
fact rom_of_a_file_has_its_size_rounded_up rom_is c '[8192]'
doctor_names_the_user() {
    run "$viaduct" doctor --qemu "$scratch/none" --device "sim:nvme,image=$scratch/disk.img"
    grep -q "^warn  open .*in use by process $child, which serves it on $scratch/a.sock" "$scratch/out"
}
stop TERM
start_serve --vfio "host=sim:nvme,image=$scratch/disk.img,socket=$scratch/a.sock"
fact doctor_says_which_server_has_a_device doctor_names_the_user
stop TERM

start_serve --json --vfio "host=sim:edu,socket=$scratch/a.sock"
sed -n 1p "$scratch/served" >"$scratch/event"
fact serve_json_announces_ready json "$scratch/event" \
    "d['event'] == 'ready' and d['address'] == 'sim:edu' and d['pid'] == $child"
stop INT
report "$status" sigint_ends_serve_with_success
sed -n 2p "$scratch/served" >"$scratch/event"
fact serve_json_announces_stopped json "$scratch/event" "d['event'] == 'stopped'"

start_serve --vfio "host=sim:edu,socket=$scratch/a.sock"
stop KILL
fact killed_serve_leaves_its_socket test -S "$scratch/a.sock"
refuses stats_after_a_kill_finds_nobody 1 "no server is running" -- stats
fact stats_removes_the_socket_of_a_dead_server test ! -e "$control/$child.sock"
start_serve --vfio "host=sim:edu,socket=$scratch/a.sock"
fact stale_socket_is_replaced grep -qx "serving sim:edu on $scratch/a.sock" "$scratch/served"
stop HUP
report "$status" sighup_ends_serve_with_success

# run

nothing_left() {
    [ -z "$(ls -A "$control")" ]
}

machine='--accel tcg --vfio host=sim:nvme,port=p0'
fake_qemu "$scratch/good" 11.1.3 yes 'for word; do echo "$word"; done >"$QEMU_LOG"; exit 0'
fake_qemu "$scratch/bad" 11.1.3 yes 'exit 3'
fake_qemu "$scratch/dies" 11.1.3 yes 'kill -SEGV $$'
# Runs until it is told to end: FIFO stays open as long as it lives.
fake_qemu "$scratch/waits" 11.1.3 yes 'exec python3 -c "
import os, signal
signal.signal(signal.SIGTERM, lambda *a: os._exit(0))
os.write(os.open(os.environ[\"QEMU_FIFO\"], os.O_WRONLY), b\"up\n\")
while True:
    signal.pause()
"'
QEMU_LOG=$scratch/words QEMU_FIFO=$scratch/fifo
export QEMU_LOG QEMU_FIFO

accepts run_succeeds_when_qemu_does -- run $machine --qemu "$scratch/good" -- -name 'two words'
fact run_passes_words_after_the_dashes grep -qx 'two words' "$scratch/words"
fact run_gives_qemu_the_socket grep -q '"socket":{"type":"unix","path":"'"$control/run-" "$scratch/words"
fact run_leaves_nothing nothing_left
refuses run_fails_when_qemu_does 1 "QEMU exited with status 3" -- run $machine --qemu "$scratch/bad"
refuses run_tells_the_signal_that_ended_qemu 1 "signal 11" -- run $machine --qemu "$scratch/dies"
fact failed_run_leaves_nothing nothing_left

start_run() { # $child runs; returns when its QEMU is up. Descriptor 4 ends with QEMU.
    rm -f "$QEMU_FIFO"
    mkfifo "$QEMU_FIFO"
    "$viaduct" run $machine --qemu "$scratch/waits" >"$scratch/out" 2>"$scratch/err" </dev/null &
    child=$!
    children="$children $child"
    exec 4<"$QEMU_FIFO"
    read -r _ <&4
}
qemu_is_gone() {
    timeout 20 cat <&4
}

start_run
accepts stats_finds_a_run "sim:nvme" "(pid $child)" -- stats
fact sockets_of_run_are_private test "$(stat -c %a "$control"/run-*)" = 700
stop TERM
report "$status" sigterm_ends_run_and_qemu
fact qemu_ends_on_sigterm qemu_is_gone
fact stopped_run_leaves_nothing nothing_left
start_run
stop KILL
fact qemu_ends_when_run_is_killed qemu_is_gone
fact killed_run_leaves_its_directory test -n "$(ls "$control")"
accepts next_run_succeeds -- run $machine --qemu "$scratch/good"
fact next_run_removes_the_directory_of_a_dead_one test -z "$(ls -d "$control"/run-* 2>/dev/null)"
exec 4<&-

# A terminal that QEMU left raw is mended, and Ctrl-C ends everything.
fake_qemu "$scratch/raw" 11.1.3 yes 'exec python3 -c "
import os, signal, termios, tty
def end(*a):
    os._exit(0)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, end)
mode = termios.tcgetattr(0)
mode[3] &= ~(termios.ECHO | termios.ICANON)
termios.tcsetattr(0, termios.TCSANOW, mode)
print(\"MACHINE-UP\", flush=True)
while True:
    signal.pause()
"'
fact terminal_is_restored_and_ctrl_c_ends_run timeout 60 python3 "$(dirname "$0")/terminal.py" \
    "$viaduct" run $machine --qemu "$scratch/raw"
finish
