# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# The guest that comes after one that was killed, through the companion.
# shellcheck source=lib_dma.sh
. /tests/lib_dma.sh
# shellcheck source=after.sh
. /tests/after.sh
clean_log
