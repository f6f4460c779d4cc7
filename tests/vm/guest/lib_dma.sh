# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# What the guests of strategy paravirt share, besides lib.sh: what the module counts, and what the kernel has to say.
DEBUG=/sys/kernel/debug
mount -t debugfs debugfs "$DEBUG" 2>/dev/null
# Warnings are for the end, all of them.
dmesg -n 1

# The PCI addresses of companions, in order.
companions() {
    for device in /sys/bus/pci/devices/*; do
        if [ "$(cat "$device/vendor")$(cat "$device/device")" = 0x1b360x0015 ]; then echo "${device##*/}"; fi
    done
}

# The PCI addresses of simulated test devices.
test_devices() {
    for device in /sys/bus/pci/devices/*; do
        if [ "$(cat "$device/vendor")$(cat "$device/device")" = 0x12340x11e9 ]; then echo "${device##*/}"; fi
    done
}

# counter NAME: of viaduct_dma's, summed over all companions.
counter() {
    cat "$DEBUG"/viaduct_dma/*/stats "$DEBUG"/viaduct_dma/*/windows 2>/dev/null |
        awk -v name="$1" '$1 == name { sum += $2 } END { printf "%d\n", sum }'
}

# tell_counters PREFIX NAME...: to the host.
tell_counters() {
    prefix=$1
    shift
    for name in "$@"; do data "$prefix$name" "$(counter "$name")"; done
}

# report MODULE: what a test module has found out.
report() {
    # Such a file has no size to look at.
    cat "$DEBUG/$1/report" >/tmp/report 2>/dev/null
    if [ ! -s /tmp/report ]; then
        not_ok "$1 reports" "nothing: $(dmesg | tail -n 2 | tr '\n' ' ')"
        return
    fi
    while read -r kind text; do
        case $kind in
        not-ok) not_ok "$1: ${text%%: *}" "${text#*: }" ;;
        ok) ok "$1: $text" ;;
        *) say "$kind $text" ;;
        esac
    done </tmp/report
}

REPORTS='BUG:|WARNING:|KASAN|DMA-API|Oops|Call Trace|general protection|refcount_t: |list_add|list_del'
REPORTS="$REPORTS|possible recursive|possible circular|inconsistent lock|suspicious RCU|sleeping function"
REPORTS="$REPORTS|hung_task|blocked for more|soft lockup"
# What the debug kernel says at its start.
HARMLESS='DMA-API: (preallocated|debugging)'

# no_reports FACT: what the kernel found wrong with anybody; KASAN and lockdep are of the debug kernel. What was said is
# forgotten.
no_reports() {
    dmesg | grep -vE "$HARMLESS" >/tmp/messages
    if grep -E "$REPORTS" /tmp/messages >/tmp/reports; then
        not_ok "$1" "$(head -n 1 /tmp/reports)"
        grep -E -m 1 -A 40 "$REPORTS" /tmp/messages | sed 's/^/report: /'
    else
        ok "$1"
        # After a failure init shows what the kernel said.
        [ -e /tmp/failed ] || dmesg -c >/dev/null
    fi
    rm -f /tmp/reports /tmp/messages
}

# Last in each body.
clean_log() {
    no_timeouts >/tmp/timeouts || not_ok "no command needed the driver's timeout" "$(head -n 1 /tmp/timeouts)"
    no_reports "the kernel reports nothing wrong"
}
