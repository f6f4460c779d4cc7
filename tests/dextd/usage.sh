#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# viaduct-dextd's command line: help, what it says to wrong words (exit code 2) and to a world that is not as it should be
# (1), the verbs against one that runs, and that the manual has every option and verb. $2 is the directory of the manuals.
# shellcheck source-path=SCRIPTDIR source=../cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"
dextd=$viaduct
pages=$2
unset VIADUCT_DEXTD
socket=$XDG_RUNTIME_DIR/viaduct-dextd.sock

# refuses NAME STATUS TEXT... -- ARGUMENTS...: exits with STATUS, and one line of standard error has every TEXT.
refuses() {
    name=$1 wanted=$2
    shift 2
    : >"$scratch/texts"
    while [ "$1" != -- ]; do
        printf '%s\n' "$1" >>"$scratch/texts"
        shift
    done
    shift
    run "$dextd" "$@"
    good=0
    [ "$status" -eq "$wanted" ] || good=1
    [ "$(grep -c '' "$scratch/err")" -eq 1 ] || good=1
    grep '^viaduct-dextd: error: ' "$scratch/err" >"$scratch/line" || good=1
    while IFS= read -r text; do
        grep -qF -e "$text" "$scratch/line" || good=1
    done <"$scratch/texts"
    report "$good" "$name"
}

accepts help_has_usage_options_and_verbs "Usage: viaduct-dextd" "--limit-bytes SIZE" "unplug BB:DD.F" -- --help
accepts help_behind_other_words_starts_nothing "Usage: viaduct-dextd" -- --device 01:00.0=sim:edu --help
accepts version_is_a_number "viaduct-dextd 0." -- --version

refuses unknown_option_is_named 2 "--bogus" "allowed are --device" "--version" -- --bogus=1
refuses single_dash_is_no_option 2 "unknown option -x" -- -x
refuses option_is_never_abbreviated 2 "unknown option --dev" -- --dev 01:00.0=sim:edu
refuses option_without_value_is_named 2 "--socket needs a value" "PATH" -- --socket
refuses flag_with_value_is_named 2 "--verbose takes no value" "'yes'" -- --verbose=yes
refuses option_given_twice_is_named 2 "--socket" "twice" "'b'" -- --socket a --socket b
refuses empty_socket_is_refused 2 "--socket" "path" -- --socket=
refuses unknown_verb_is_named 2 "unknown verb 'fly'" "list, plug, unplug, error, request, stop" -- fly
refuses verb_without_argument_says_what_it_takes 2 "'plug' needs an argument" "BB:DD.F=sim:KIND" -- plug
refuses verb_with_too_much_is_named 2 "'list'" "no argument 'x'" -- list x
refuses verb_with_two_arguments_is_named 2 "'unplug'" "'02:00.0'" -- unplug 01:00.0 02:00.0
refuses option_of_another_verb_is_named 2 "--json is not for 'stop'" -- stop --json
refuses device_with_a_verb_is_named 2 "--device is not for 'list'" -- list --device 01:00.0=sim:edu
refuses json_without_list_is_named 2 "--json is for 'viaduct-dextd list'" -- --json
refuses bad_limit_is_named 2 "--limit-bytes" "'many'" "K, M, G or T" -- --limit-bytes many
refuses zero_limit_is_refused 2 "--limit-mappings" "'0'" "from 1" -- --limit-mappings 0
refuses limit_on_mappings_has_no_suffix 2 "--limit-mappings" "'1K'" -- --limit-mappings 1K

refuses device_without_address_is_refused 2 "--device" "sim:edu" "BB:DD.F" -- --device sim:edu
refuses device_with_a_domain_is_refused 2 "0000:01:00.0" "BB:DD.F" -- --device 0000:01:00.0=sim:edu
refuses device_number_out_of_range_is_refused 2 "01:20.0" "1f" -- --device 01:20.0=sim:edu
refuses function_out_of_range_is_refused 2 "01:00.8" "to 7" -- --device 01:00.8=sim:edu
refuses device_without_kind_is_refused 2 "01:00.0" "sim:KIND" -- --device 01:00.0
refuses real_device_is_refused 2 "'01:00.0' is no simulated device" -- --device 01:00.0=01:00.0
refuses unknown_kind_is_refused 2 "floppy" "sim:nvme, sim:edu" -- --device 01:00.0=sim:floppy
refuses unknown_key_is_refused 2 "prot" "vectors" -- --device 01:00.0=sim:edu,prot=a
refuses bad_value_is_refused 2 "vectors" "'300'" "from 1 to 256" -- --device 01:00.0=sim:edu,vectors=300
refuses dangling_comma_is_refused 2 "key=value" -- --device 01:00.0=sim:edu,
refuses chosen_addresses_are_refused 2 "iommu" "chosen" "DriverKit" "always assigns" -- \
    --device 01:00.0=sim:edu,iommu=chosen
refuses unknown_iommu_has_one_choice 2 "'perhaps'" "allowed: assigned" -- --device 01:00.0=sim:edu,iommu=perhaps
refuses address_given_twice_is_refused 2 "01:00.0=sim:nvme" "another device" -- \
    --device 01:00.0=sim:edu --device 01:00.0=sim:nvme
refuses function_without_function_0_is_refused 2 "01:00.1" "01:00.0=sim:KIND" -- --device 01:00.1=sim:edu
refuses missing_image_is_refused 1 "$scratch/none.img" -- --device "01:00.0=sim:nvme,image=$scratch/none.img"
refuses socket_in_a_missing_directory_is_refused 1 "socket=$scratch/no/where" -- --socket "$scratch/no/where"
refuses socket_over_a_file_is_refused 1 "$scratch/disk.img" -- --socket "$scratch/disk.img"
fact file_at_the_socket_path_survives test -f "$scratch/disk.img"
fact no_socket_is_left_by_failures test ! -e "$socket"
for verb in list stop "unplug 01:00.0" "plug 01:00.0=sim:edu"; do
    # shellcheck disable=SC2086 # words are wanted
    refuses "without_a_daemon_${verb%% *}_says_where_it_looked" 1 "$socket" -- $verb
done

# One that runs, at the usual place; functions in any order.
mkfifo "$scratch/ready"
"$dextd" --device 01:00.1=sim:edu --device 01:00.0=sim:edu,vectors=2 --device 02:00.0=sim:nvme,size=1M \
    >"$scratch/ready" 2>"$scratch/dextd.err" &
children=$!
read -r line <"$scratch/ready"
fact ready_line_names_the_socket test "$line" = "listening on $socket"
fact socket_is_private test "$(stat -c %a "$socket")" = 600
refuses second_daemon_at_the_same_place_is_refused 1 "$socket" "running server" -- --device 03:00.0=sim:edu
accepts list_shows_the_devices "01:00.0  free" "01:00.1  free" "02:00.0  free  Viaduct simulated NVMe disk" -- list
accepts plug_is_silent_and_works -- plug 03:00.0=sim:edu
fact plug_prints_nothing test ! -s "$scratch/out"
accepts plugged_device_is_listed "03:00.0" -- list
refuses plug_over_a_device_fails 1 "03:00.0" "already" -- plug 03:00.0=sim:edu
refuses plug_of_nonsense_is_usage 2 "sim:floppy" "sim:nvme, sim:edu" -- plug 04:00.0=sim:floppy
refuses unplug_of_nothing_fails 1 "07:00.0" "no such device" -- unplug 07:00.0
refuses unplug_of_no_address_is_usage 2 "'1:0'" "BB:DD.F" -- unplug 1:0
accepts events_are_sent -- error 01:00.0
accepts requests_are_sent -- request 01:00.0 --socket "$socket"
accepts unplug_works -- unplug 03:00.0
run "$dextd" list --json
fact list_json_is_a_document_that_says_it_all python3 -c '
import json, sys
d = json.load(open(sys.argv[1]))
assert [x["address"] for x in d["devices"]] == ["01:00.0", "01:00.1", "02:00.0"], d
for x in d["devices"]:
    assert x["state"] == "free" and x["claimed"] is False and x["connections"] == []
    for key in "clients bytes mappings peak_bytes peak_mappings faults command vectors service".split():
        assert isinstance(x[key], int), key
' "$scratch/out"
VIADUCT_DEXTD=$socket
export VIADUCT_DEXTD
XDG_RUNTIME_DIR=/nonexistent accepts variable_names_the_socket "01:00.0" -- list
unset VIADUCT_DEXTD
accepts stop_ends_it -- stop
wait "$children"
fact it_ended_well test $? -eq 0
children=
fact socket_is_removed test ! -e "$socket"
fact nothing_was_logged test ! -s "$scratch/dextd.err"

# The manual.
"$dextd" --help | sed -n 's/^  --\([a-z-]*\).*/\1/p' | sort >"$scratch/program"
sed -n 's/^\.It Fl -\([a-z-]*\).*/\1/p' "$pages/viaduct-dextd.1" | sort >"$scratch/manual"
fact manual_has_the_options diff "$scratch/program" "$scratch/manual"
"$dextd" --help | sed -n '/^Verbs/,$s/^  \([a-z][a-z]*\).*/\1/p' | sort >"$scratch/program"
sed -n 's/^\.It Cm \([a-z]*\).*/\1/p' "$pages/viaduct-dextd.1" | sort >"$scratch/manual"
fact manual_has_the_verbs diff "$scratch/program" "$scratch/manual"
finish
