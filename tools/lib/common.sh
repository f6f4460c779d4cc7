# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What every script here shares: where the tree and the cache are, how to say something, how to make a
# directory in the cache all at once or not at all.
#
# A script that prints a path prints it on stdout and nothing else there; progress goes to stderr.

set -euo pipefail

VD_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Downloads and unpacked trees: safe to delete, `make distclean` does.
VD_CACHE=${VIADUCT_CACHE:-$VD_TOP/.cache}
# Where `make` builds; the checked variants (sanitizers, fuzzing) get a suffix.
VD_BUILD=${VIADUCT_BUILD:-$VD_TOP/build}
export VD_TOP VD_CACHE VD_BUILD

vd_say() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

vd_die() {
    vd_say "error: $*"
    exit 1
}

# A usage error, which every command of the project answers with 2.
vd_usage_error() {
    vd_say "error: $*"
    vd_say "see '${0##*/} --help'"
    exit 2
}

# vd_help TEXT ARG...: prints TEXT and leaves when the first argument asks for help.
vd_help() {
    local text=$1
    shift
    case ${1:-} in
    -h | --help)
        printf '%s\n' "$text"
        exit 0
        ;;
    esac
}

# vd_lock NAME: until this process ends, no other script works on that part of the cache.
vd_lock() {
    mkdir -p "$VD_CACHE"
    exec {VD_LOCK_FD}>"$VD_CACHE/$1.lock"
    if ! flock -n "$VD_LOCK_FD"; then
        vd_say "waiting for another run that prepares $1"
        flock -w 1800 "$VD_LOCK_FD" || vd_die "$VD_CACHE/$1.lock is still held after 30 minutes"
    fi
}

# vd_publish TEMPORARY FINAL: a directory appears complete or not at all.
vd_publish() {
    rm -rf -- "$2.old"
    if [ -e "$2" ]; then mv -T -- "$2" "$2.old"; fi
    mv -T -- "$1" "$2"
    rm -rf -- "$2.old"
}

# vd_sources PATTERN...: the tree's own files of such names, relative to its top, sorted. Not from git: a tree that was
# unpacked from an archive is checked as well.
vd_sources() {
    local pattern names=()
    for pattern in "$@"; do names+=(-o -name "$pattern"); done
    (cd "$VD_TOP" && find . \( -name .git -o -name .cache -o -name 'build' -o -name 'build-*' \) -prune -o \
        -type f \( "${names[@]:1}" \) -print | sed 's|^\./||' | LC_ALL=C sort)
}
