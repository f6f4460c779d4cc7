# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# What the tests of the command share: TAP lines, a scratch directory that goes away, stand-ins for QEMU. A test is one
# call of `refuses`, `accepts` or `fact`; its name says what is true. Expects $1 to be the command.
set -u

viaduct=$1
scratch=$(mktemp -d "${TMPDIR:-/tmp}/viaduct-test.XXXXXX")
children=
count=0

# A signal must not leave servers behind.
clean_up() {
    for child in $children; do
        kill -KILL "$child" 2>/dev/null
        wait "$child" 2>/dev/null
    done
    rm -rf -- "$scratch"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP PIPE

mkdir -m 700 "$scratch/runtime"
XDG_RUNTIME_DIR=$scratch/runtime
PATH=$PATH:$scratch/bin
NO_COLOR=1
export XDG_RUNTIME_DIR PATH NO_COLOR
unset VIADUCT_QEMU VIADUCT_DEXTD VIADUCT_DOCTOR_MAC
mkdir "$scratch/bin"
truncate -s 4M "$scratch/disk.img"

report() { # 0|1 NAME: one TAP line, with what was printed when it failed
    count=$((count + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $count - $2"
    else
        echo "not ok $count - $2"
        sed 's/^/# out: /' "$scratch/out" 2>/dev/null
        sed 's/^/# err: /' "$scratch/err" 2>/dev/null
        echo "# status: ${status:-none}"
    fi
}

run() { # COMMAND...: keeps $status, out and err
    timeout 30 "$@" >"$scratch/out" 2>"$scratch/err" </dev/null
    status=$?
}

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
    run "$viaduct" "$@"
    good=0
    [ "$status" -eq "$wanted" ] || good=1
    grep '^viaduct: error: ' "$scratch/err" >"$scratch/line" || good=1
    while IFS= read -r text; do
        grep -qF -e "$text" "$scratch/line" || good=1
    done <"$scratch/texts"
    report "$good" "$name"
}

# accepts NAME TEXT... -- ARGUMENTS...: exits with 0, and standard output has every TEXT.
accepts() {
    name=$1
    shift
    : >"$scratch/texts"
    while [ "$1" != -- ]; do
        printf '%s\n' "$1" >>"$scratch/texts"
        shift
    done
    shift
    run "$viaduct" "$@"
    good=0
    [ "$status" -eq 0 ] || good=1
    while IFS= read -r text; do
        grep -qF -e "$text" "$scratch/out" || good=1
    done <"$scratch/texts"
    report "$good" "$name"
}

# fact NAME COMMAND...: the command succeeds.
fact() {
    name=$1
    shift
    "$@"
    status=$?
    report "$status" "$name"
}

# A program that answers as a QEMU of some version does; $3 is what it does when it is to run a machine.
fake_qemu() { # PATH VERSION HAS_VFIO_USER BODY
    cat >"$1" <<FAKE
#!/bin/sh
case "\$1" in
--version) echo "QEMU emulator version $2 (stand-in)"; exit 0 ;;
-device)
    if [ $3 = yes ]; then echo "vfio-user-pci options:"; echo "  socket=<SocketAddress>"; exit 0; fi
    echo "qemu: -device \$2: 'vfio-user-pci' is not a valid device model name" >&2
    exit 1 ;;
esac
$4
FAKE
    chmod 755 "$1"
}

start_serve() { # ARGUMENTS...: $child serves; returns once it is ready (or has failed)
    rm -f "$scratch/ready"
    mkfifo "$scratch/ready"
    "$viaduct" serve --ready-fd 3 "$@" >"$scratch/served" 2>"$scratch/err" 3>"$scratch/ready" &
    child=$!
    children="$children $child"
    timeout 20 head -c 1 "$scratch/ready" >"$scratch/byte"
}

stop() { # SIGNAL: ends $child, keeps its $status
    kill "-$1" "$child"
    wait "$child" 2>/dev/null
    status=$?
    children=
}

# A child whose first line says that it is there and is kept in $said. Its standard input, descriptor 5, ends when it is to end.
start() { # COMMAND...
    rm -f "$scratch/said" "$scratch/stdin"
    mkfifo "$scratch/said" "$scratch/stdin"
    # In this order, or both sides wait for the other to open.
    "$@" <"$scratch/stdin" >"$scratch/said" 2>"$scratch/peer.err" &
    child=$!
    children="$children $child"
    exec 5>"$scratch/stdin"
    # shellcheck disable=SC2034 # for the tests
    read -r said <"$scratch/said"
}

end() { # what start() started
    exec 5>&-
    wait "$child"
}

json() { # FILE EXPRESSION: true when the Python expression on the document d is
    python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
sys.exit(not eval("(" + sys.argv[2] + ")"))' "$1" "$2"
}

finish() {
    echo "1..$count"
}
