# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Debian packages beside the system: fetched by apt with a configuration of its own (sources, lists, an empty package
# status), checked by apt against Debian's keyring, unpacked with dpkg-deb. Nothing is installed, no root is needed.
#
# The mirror is the one this machine already uses, read from apt at run time: no address is written anywhere.

VD_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# deb_mirror main|security: the address this machine's apt uses, or VIADUCT_MIRROR / VIADUCT_MIRROR_SECURITY.
deb_mirror() {
    local kind=$1 found
    # shellcheck disable=SC2016 # apt fills these in
    local format='$(RELEASE) $(REPO_URI)'
    if [ "$kind" = main ] && [ -n "${VIADUCT_MIRROR:-}" ]; then
        printf '%s\n' "$VIADUCT_MIRROR"
        return
    fi
    if [ "$kind" = security ] && [ -n "${VIADUCT_MIRROR_SECURITY:-}" ]; then
        printf '%s\n' "$VIADUCT_MIRROR_SECURITY"
        return
    fi
    found=$(apt-get indextargets --format "$format" 2>/dev/null | awk -v kind="$kind" '
        { security = $1 ~ /(-security|\/updates)$/ }
        kind == "security" && security { print $2; exit }
        kind == "main" && !security && $1 ~ /^(bookworm|trixie|forky|sid|stable|oldstable|testing|unstable)/ {
            print $2; exit
        }')
    printf '%s\n' "${found%/}"
}

# deb_setup DIRECTORY ARCHITECTURE SUITE...: prepares the private apt; then deb_apt runs apt-get in it.
deb_setup() {
    local dir=$1 arch=$2 suite uri options
    shift 2
    [ -r "$VD_KEYRING" ] || vd_die "no $VD_KEYRING: install the package debian-archive-keyring"
    mkdir -p "$dir"/{lists/partial,archives/partial,parts}
    : >"$dir/status"
    : >"$dir/sources.list"
    for suite in "$@"; do
        case $suite in
        *-security) uri=$(deb_mirror security) ;;
        *) uri=$(deb_mirror main) ;;
        esac
        if [ -z "$uri" ]; then
            case $suite in
            *-security) continue ;;
            esac
            vd_die "apt on this machine names no Debian mirror: set VIADUCT_MIRROR to one"
        fi
        options=signed-by=$VD_KEYRING
        # A mirror's copy of the development suite may be past the date it names itself; its signature counts as ever.
        if [ "$suite" = sid ]; then options+=" check-valid-until=no"; fi
        printf 'deb [%s] %s %s main\n' "$options" "$uri" "$suite" >>"$dir/sources.list"
    done
    DEB_OPTIONS=(
        -o "APT::Architecture=$arch" -o "APT::Architectures=$arch"
        -o "Dir::Etc::sourcelist=$dir/sources.list" -o "Dir::Etc::sourceparts=$dir/parts"
        -o "Dir::Etc::preferences=/dev/null" -o "Dir::Etc::preferencesparts=$dir/parts"
        -o "Dir::State=$dir" -o "Dir::State::lists=$dir/lists" -o "Dir::State::status=$dir/status"
        -o "Dir::Cache=$dir" -o "Dir::Cache::archives=$dir/archives"
        -o "Dir::Cache::pkgcache=pkgcache.bin" -o "Dir::Cache::srcpkgcache="
        -o "APT::Sandbox::User=" -o "Debug::NoLocking=true" -o "APT::Install-Recommends=false"
        -o "APT::Update::Post-Invoke::=true" -o "Acquire::Languages=none" -o "Acquire::Retries=3"
        -o "APT::Get::Assume-Yes=true" -o "quiet=1"
    )
}

# Says what is fetched and how much; the solver's lists of packages stay out of sight.
deb_apt() {
    apt-get "${DEB_OPTIONS[@]}" "$@" 2>&1 </dev/null |
        awk '/^(Need to get|Fetched|Get:[0-9]+ .* InRelease|[EW]:|Err:)/ { print "  " $0; fflush() }' >&2
}

# deb_names PREFIX: the packages whose name begins so, oldest version first.
deb_names() {
    apt-cache "${DEB_OPTIONS[@]}" pkgnames "$1" | sort -V
}

deb_update() {
    vd_say "reading the package lists of $(sed 's/ main$//; s/.* //' "$1/sources.list" | tr '\n' ' ')"
    deb_apt update || vd_die "apt could not read the package lists: is the mirror reachable?"
}

# deb_fetch DIRECTORY PACKAGE...: downloads them and all they depend on into DIRECTORY/archives.
deb_fetch() {
    local dir=$1
    shift
    deb_apt --download-only install "$@" || vd_die "apt could not fetch $*"
    compgen -G "$dir/archives/*.deb" >/dev/null || vd_die "apt fetched nothing for $*"
}

# deb_unpack DIRECTORY ROOT: every fetched package into ROOT, which gets Debian's merged /usr first.
deb_unpack() {
    local dir=$1 root=$2 link package
    mkdir -p "$root/usr"
    for link in bin sbin lib lib64; do
        mkdir -p "$root/usr/$link"
        [ -e "$root/$link" ] || ln -s "usr/$link" "$root/$link"
    done
    for package in "$dir"/archives/*.deb; do
        # tar must keep those links: packages of Debian 12 still ship /lib and /bin.
        dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink --no-same-owner -C "$root" -f -
    done
}
