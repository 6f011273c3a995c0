#!/usr/bin/env bash
# Looks for the programs that the tests and the demo use, or with `packages` those that build packages.
# Run as root on a system with apt-get, it installs the ones that are missing; otherwise it names them
# and fails.
set -euo pipefail

# What must work, and the Debian package that brings it.
requirements_of_packages() {
    cat <<'TABLE'
command -v dh_installsysusers       | debhelper
dpkg-buildpackage --version         | dpkg-dev
TABLE
}

requirements_of_tests() {
    requirements_of_packages
    cat <<'TABLE'
curl --version                      | curl
unshare --version                   | util-linux
runc --version                      | runc
bwrap --version                     | bubblewrap
runsc --version                     | runsc
systemd-analyze --version           | systemd
systemd-nspawn --version            | systemd-container
debootstrap --version               | debootstrap
ls /usr/share/keyrings/debian-archive-keyring.gpg | debian-archive-keyring
strace --version                    | strace
qemu-aarch64-static --version       | qemu-user-static
ls /lib/ld-musl-*.so.1              | musl
test -x /bin/busybox && ! ldd /bin/busybox | busybox-static
mke2fs -V                           | e2fsprogs
faketime --version                  | faketime
openssl version                     | openssl
python3 -c 'import venv, ensurepip' | python3-venv
tini --version                      | tini
dumb-init --version                 | dumb-init
catatonit --version                 | catatonit
ls /usr/lib/postgresql/*/bin/initdb | postgresql
lintian --version                   | lintian
man --version                       | man-db
zsh --version                       | zsh
fish --version                      | fish
TABLE
}

missing() {
    "requirements_of_$of" | while IFS='|' read -r command package; do
        bash -c "$command" >/dev/null 2>&1 </dev/null || echo "${package// /}"
    done
}

main() {
    local packages
    packages=$(missing)
    [ -n "$packages" ] || return 0

    # shellcheck disable=SC2086 # one word a package
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        echo "installing what the $of use: ${packages//$'\n'/ }"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
        packages=$(missing)
        [ -n "$packages" ] || return 0
    fi
    echo "the $of use programs that are not here; please install: ${packages//$'\n'/ }" >&2
    return 1
}

of=${1:-tests}
main
