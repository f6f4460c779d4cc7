# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# shellcheck disable=SC2154 # $disk and vd_... come from lib.sh and the kernel command line
# A disk through the companion, as disk.sh has it without one, and what the module counted meanwhile.
# shellcheck source=lib_dma.sh
. /tests/lib_dma.sh
# shellcheck source=disk.sh
. /tests/disk.sh
tell_counters dma_ maps hits doorbells failed unknown_unmaps peak_mappings evicted
check "every unmap had its map" test "$(counter unknown_unmaps)" = 0
clean_log
