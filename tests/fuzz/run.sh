#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# run.sh SEEDS TARGET-NAME TARGET RUNS: a fixed number of runs from fresh seeds. A failing input is printed by the
# target and left in the working directory (libFuzzer's crash-* file).
set -eu
corpus=$(mktemp -d)
trap 'rm -rf "$corpus"' EXIT INT TERM
UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export UBSAN_OPTIONS
"$1" "$2" "$corpus"
# json-c's hash seed and thread timing differ from run to run; -seed makes the mutations the same.
"$3" -runs="$4" -seed=1 -max_len=4096 -timeout=30 -rss_limit_mb=2048 -print_final_stats=1 "$corpus"
