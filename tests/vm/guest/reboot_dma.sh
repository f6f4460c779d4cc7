# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# Before and after a reboot, through the companion.
# shellcheck source=lib_dma.sh
. /tests/lib_dma.sh
# shellcheck source=reboot.sh
. /tests/reboot.sh
clean_log
