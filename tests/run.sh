#!/usr/bin/env bash
# Runs all tests but those against authorization servers (tests/interop/run.sh). Takes the arguments of
# `cargo test`.
#
# The tests start redis-server and memcached themselves, on free ports. If one of them is not installed, this
# script downloads its Debian package and unpacks it under the target directory. It installs nothing and needs no
# root. On other systems, please install both; their services need not run.
set -euo pipefail
cd "$(dirname "$0")/.."

main() {
    mkdir -p "${CARGO_TARGET_DIR:-target}/servers"
    unpacked=$(cd "${CARGO_TARGET_DIR:-target}/servers" && pwd)
    PATH="$unpacked/bin:$PATH"
    local program missing=()
    for program in redis-server memcached; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        say "downloading ${missing[*]}"
        download "${missing[@]}"
    fi
    cargo test --features full --package tower-oauth2 --package tower-oauth2-server-tests \
        --package tower-oauth2-compile-errors "$@"
}

say() { printf 'tests/run.sh: %s\n' "$*" >&2; }

# Unpacks programs, each from the package of its name, with the packages that they need.
download() {
    local program packages
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
        give_up "$*" 'this system has no packages of Debian'
    mkdir -p "$unpacked"/{bin,debs,root,apt/lists/partial,apt/cache/archives/partial}
    # The lists of packages on this system may be old, or missing.
    apt_get update >&2 || give_up "$*" 'the lists of packages cannot be downloaded'
    # The packages that apt-get would install, but not those that it would upgrade. The programs are named too,
    # because they may be installed but not in PATH. redis-server is in redis-tools.
    packages=$(
        printf '%s\n' "$@" "${@/redis-server/redis-tools}"
        apt_get install --simulate --no-install-recommends "$@" | sed -n 's/^Inst \([^ ]*\) (.*/\1/p'
    ) || give_up "$*" 'apt-get does not find their packages'
    # shellcheck disable=SC2046 # One word for each package.
    (cd "$unpacked/debs" && apt_get download $(sort -u <<<"$packages")) >&2 ||
        give_up "$*" 'the packages cannot be downloaded'
    for package in "$unpacked"/debs/*.deb; do
        dpkg-deb --extract "$package" "$unpacked/root"
    done
    rm -rf "$unpacked"/{apt,debs}
    for program in "$@"; do
        start_script "$program"
        "$program" --version >&2 || {
            rm "$unpacked/bin/$program"
            give_up "$program" 'the program of the package does not start'
        }
    done
}

# apt-get with lists and a cache of its own, which need no root.
apt_get() {
    apt-get -qq -o "Dir::State::Lists=$unpacked/apt/lists" -o "Dir::Cache=$unpacked/apt/cache" \
        -o APT::Sandbox::User="$(id -un)" "$@"
}

# Writes a program that starts the unpacked one with the unpacked libraries.
start_script() {
    local libraries
    libraries=$(find "$unpacked/root" -name '*.so*' -printf '%h\n' | sort -u | paste -sd :)
    cat >"$unpacked/bin/$1" <<END
#!/bin/sh
LD_LIBRARY_PATH='$libraries' exec '$unpacked/root/usr/bin/$1' "\$@"
END
    chmod +x "$unpacked/bin/$1"
}

give_up() {
    say "the tests need $1: $2."
    say 'please install what is missing; its service need not run'
    exit 1
}

main "$@"
