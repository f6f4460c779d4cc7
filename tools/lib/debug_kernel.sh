# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# The kernel that reports what a driver does wrong, built from Debian's source package. tools/kernel sources this; lib/
# common.sh and lib/debian.sh come first.

DEBUG_SOURCE=linux-source-6.12
DEBUG_FRAGMENT=$VD_TOP/tests/vm/kernel/debug.config
# What building modules takes of a tree in which the kernel was built.
DEBUG_TREE=(Makefile .config Module.symvers include scripts arch/x86/include arch/x86/Makefile tools/objtool/objtool)

# Changes with anything that changes the result, but for the release of the source.
debug_kernel_hash() {
    cat "$DEBUG_FRAGMENT" "${BASH_SOURCE[0]}" | sha256sum | cut -c 1-16
}

# An option that Kconfig dropped says nothing: then the kernel would report nothing, and every test would pass.
check_debug_config() {
    local lost
    lost=$(grep -E '^(CONFIG_|# CONFIG_)' "$DEBUG_FRAGMENT" | grep -vxFf "$1" || true)
    [ -z "$lost" ] || vd_die "this kernel source does not take these lines of ${DEBUG_FRAGMENT#"$VD_TOP/"}: ${lost//$'\n'/, }"
}

# build_debug_kernel DIRECTORY: what tools/kernel promises, into DIRECTORY/kernel.
build_debug_kernel() {
    local dir=$1 to=$1/kernel tree log=$VD_CACHE/kernel-debug.log started=$SECONDS module tool
    for tool in flex bison bc; do
        command -v "$tool" >/dev/null || vd_die "building a kernel needs $tool: tools/setup --test installs it"
    done
    deb_setup "$dir/apt" amd64 bookworm bookworm-security
    deb_update "$dir/apt"
    vd_say "fetching $DEBUG_SOURCE"
    (cd "$dir/apt" && deb_apt download "$DEBUG_SOURCE")
    dpkg-deb --fsys-tarfile "$dir/apt/$DEBUG_SOURCE"_*.deb | tar -x -O -f - "./usr/src/$DEBUG_SOURCE.tar.xz" |
        tar -x -J -C "$dir" -f -
    tree=$dir/$DEBUG_SOURCE
    local make=(nice -n 5 make -s -C "$tree" ARCH=x86_64 -j "$(nproc)")
    if [ "$(uname -m)" != x86_64 ]; then make+=(CROSS_COMPILE=x86_64-linux-gnu-); fi
    vd_say "building the debug kernel (some minutes; log: $log)"
    "${make[@]}" KCONFIG_ALLCONFIG="$DEBUG_FRAGMENT" allnoconfig >"$log" 2>&1 </dev/null || vd_die "see $log"
    check_debug_config "$tree/.config"
    "${make[@]}" bzImage modules >>"$log" 2>&1 </dev/null || vd_die "the debug kernel does not build, see $log"
    cp "$tree/arch/x86/boot/bzImage" "$to/vmlinuz"
    cp "$tree/.config" "$to/config"
    cp "$tree/modules.builtin" "$to/"
    (cd "$tree" && find . -name '*.ko' -print) | while read -r module; do
        mkdir -p "$(dirname "$to/modules/$module")"
        cp "$tree/$module" "$to/modules/$module"
    done
    mkdir -p "$to/headers/linux"
    tar -c -C "$tree" --exclude '*.o' -f - "${DEBUG_TREE[@]}" | tar -x -C "$to/headers/linux" -f -
    ln -s linux "$to/headers/build"
    cp "$tree/include/config/kernel.release" "$to/release"
    vd_say "built $(cat "$to/release") in $((SECONDS - started)) s"
}
