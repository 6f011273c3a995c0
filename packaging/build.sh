#!/usr/bin/env bash
# Builds the Debian packages from programs that are built already.
#
#   packaging/build.sh PROGRAMS PACKAGES [VERSION]
#
# PROGRAMS is the folder that `make build` leaves, PACKAGES where the packages go. The version is that of
# Cargo.toml and needs its entry in packaging/debian/changelog; the date of that entry is the date of every
# file, so that the same tree gives the same bytes. Another VERSION gets an entry that says so.
set -euo pipefail
umask 022
export LC_ALL=C.UTF-8
cd "$(dirname "$0")/.."

main() {
    programs=$(realpath "$1")
    mkdir -p "$2"
    packages=$(realpath "$2")
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    tree=$scratch/miosa

    lay_out
    set_version "${3:-}"
    SOURCE_DATE_EPOCH=$(cd "$tree" && dpkg-parsechangelog -S Timestamp)
    export SOURCE_DATE_EPOCH
    find "$tree" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
    build
    put_in_place
}

# Everything that goes into the packages, and debhelper's folder beside it.
lay_out() {
    mkdir -p "$tree/dist"
    cp -r packaging/debian systemd docs "$tree/"
    for program in miosad miosa-exec miosa-control; do
        [ -x "$programs/$program" ] || fail "$programs/$program is not there: run \`make build\`"
        install -m 0755 "$programs/$program" "$tree/dist/"
    done
    "${CARGO:-cargo}" run --quiet --locked -p miosa-packaging -- "$tree/generated"
    for copyright in "$tree"/generated/copyright/*; do
        mv "$copyright" "$tree/debian/$(basename "$copyright").copyright"
    done
    for package in miosad miosa-control; do
        mv "$tree/systemd/$package.sysusers" "$tree/systemd/$package.tmpfiles" "$tree/debian/"
    done
}

# Cargo writes what comes before a release with a dash, Debian with a tilde.
set_version() {
    local released wanted
    wanted=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
    wanted=${1:-${wanted/-/\~}}
    released=$(cd "$tree" && dpkg-parsechangelog -S Version)
    [ "$wanted" != "$released" ] || return 0
    [ -n "$1" ] || fail "packaging/debian/changelog is at $released: give it an entry for $wanted"
    {
        printf 'miosa (%s) UNRELEASED; urgency=medium\n\n  * Not a release.\n\n' "$wanted"
        sed -n '/^ -- /{p;q}' packaging/debian/changelog
        echo
        cat packaging/debian/changelog
    } >"$tree/debian/changelog"
}

build() {
    # What is needed was looked for by tests/requirements.sh; a compiler is not.
    (cd "$tree" && dpkg-buildpackage --build=binary --no-check-builddeps --unsigned-changes --unsigned-buildinfo) \
        >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; fail "the packages can't be built"; }
}

# Packages of another version would stand beside them and be taken for them.
put_in_place() {
    rm -f "$packages"/{miosad,miosa-exec,miosa-control}_*.deb
    mv "$scratch"/*.deb "$packages/"
}

fail() {
    echo "packaging/build.sh: $*" >&2
    exit 1
}

[ $# -ge 2 ] || fail "usage: packaging/build.sh PROGRAMS PACKAGES [VERSION]"
main "$@"
