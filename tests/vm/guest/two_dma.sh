# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# Two disks with a companion each.
# shellcheck source=lib_dma.sh
. /tests/lib_dma.sh
check "the guest has two companions" test "$(companions | wc -l)" = 2
# shellcheck source=two.sh
. /tests/two.sh
clean_log
