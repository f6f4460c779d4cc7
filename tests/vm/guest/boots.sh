# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# What a kernel is, and that it takes every module it is given, in any order, and gives up those of ours again.
data release "$(uname -r)"
data machine "$(uname -m)"
for file in /modules/*.ko; do
    name=$(basename "$file" .ko)
    loaded=$(echo "$name" | tr - _)
    # A test's module may load only where its device is; that is its own test's to tell.
    if [ "$name" != viaduct_dma ] && ! grep -qx "$name.ko" /modules/list; then continue; fi
    check "$name is loaded" grep -q "^$loaded " /proc/modules
done
