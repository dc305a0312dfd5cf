#!/usr/bin/env bash
# Runs all tests except those against authorization servers (tests/interop/run.sh). Accepts the
# arguments of `cargo test`.
#
# The tests start redis-server and memcached on free ports. If one of them is not installed, this
# script downloads its Debian package and unpacks it below the target directory, which needs no
# root. On systems other than Debian, install both; their services need not run.
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

# Downloads and unpacks programs, each from the package of its name, with their dependencies.
download() {
    local program packages
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
        give_up "$*" 'this system does not use Debian packages'
    mkdir -p "$unpacked"/{bin,debs,root,apt/lists/partial,apt/cache/archives/partial}
    # The package lists of this system may be missing or out of date.
    apt_get update >&2 || give_up "$*" 'the package lists cannot be downloaded'
    # The packages that apt-get would install, without those that it would upgrade. The packages of
    # the programs are listed too, because apt-get omits a package that is installed already.
    # The program redis-server is in the package redis-tools.
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

# Runs apt-get with separate lists and a separate cache, which need no root.
apt_get() {
    apt-get -qq \
        -o "Dir::State::Lists=$unpacked/apt/lists" -o "Dir::Cache=$unpacked/apt/cache" \
        -o APT::Sandbox::User="$(id -un)" "$@"
}

# Writes a script that starts the unpacked program with the unpacked libraries.
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
    say "install $1; its service need not run"
    exit 1
}

main "$@"
