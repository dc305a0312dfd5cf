#!/usr/bin/env bash
# Runs all tests. The only command for it, here and in CI.
#
# Installs what they need where that can be done without a question: on Debian and Ubuntu, as root or with a sudo
# that asks for no password. The tests start their servers themselves, on free ports.
set -euo pipefail
cd "$(dirname "$0")/.."

main() {
    install_missing redis-server memcached
    bash tests/interop/setup.sh
    cargo test --features full "$@"
}

# Programs, each in the package of its name.
install_missing() {
    local program missing=()
    for program in "$@"; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    if [ ${#missing[@]} -eq 0 ]; then
        return
    fi
    echo "tests/run.sh: installing ${missing[*]}" >&2
    command -v apt-get >/dev/null || give_up "${missing[*]}" "this is neither Debian nor Ubuntu"
    as_root true 2>/dev/null || give_up "${missing[*]}" "this is neither root nor a sudo without a password"
    forbid_services || give_up "${missing[*]}" "$policy exists, and would let their services start"
    install "${missing[@]}" || { as_root apt-get update -q && install "${missing[@]}"; } ||
        give_up "${missing[*]}" "apt-get failed"
    allow_services
    # Nor are they to start with the machine.
    as_root systemctl disable --quiet "${missing[@]}" 2>/dev/null || true
}

install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
        -o DPkg::Lock::Timeout=120 --no-install-recommends "$@" >&2
}

give_up() {
    echo "tests/run.sh: the tests need $1, which can not be installed: $2." >&2
    echo "tests/run.sh: please install it; its service need not run." >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Whether the service of a package that is installed may start is for this program to say: 101 is no.
policy=/usr/sbin/policy-rc.d

forbid_services() {
    if [ -e "$policy" ]; then
        local answer=0
        "$policy" redis-server start >/dev/null 2>&1 || answer=$?
        [ "$answer" -eq 101 ]
        return
    fi
    trap allow_services EXIT
    trap 'exit 130' INT TERM
    is_policy_ours=yes
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null && as_root chmod 755 "$policy"
}

allow_services() {
    if [ -n "${is_policy_ours-}" ]; then
        as_root rm -f "$policy"
        is_policy_ours=
    fi
}

main "$@"
