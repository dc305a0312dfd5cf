#!/usr/bin/env bash
# Installs the authorization servers of the interop tests, in the versions of the lock files, into
# tests/interop/oidc-provider/node_modules and target/interop. Does nothing if they are installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=tests/interop
installed="${CARGO_TARGET_DIR:-target}/interop"

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

say() { printf 'tests/interop/setup.sh: %s\n' "$*" >&2; }

node_is_new_enough() {
    command -v node >/dev/null && node -e '
        const [major, minor] = process.versions.node.split(".").map(Number);
        process.exit(major > 18 || (major === 18 && minor >= 18) ? 0 : 1)'
}

python_is_new_enough() {
    command -v python3 >/dev/null &&
        python3 -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

# Missing system packages.
packages=()
node_is_new_enough || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)
python_is_new_enough || packages+=(python3 python3-venv)
if ((${#packages[@]})); then
    if ! command -v apt-get >/dev/null || ! as_root true 2>/dev/null; then
        say "missing packages: ${packages[*]}; this script needs apt-get and root to install them"
        say 'install Node.js 18.18 or later with npm, and Python 3.10 or later with venv'
        exit 1
    fi
    say "installing ${packages[*]}"
    as_root apt-get -qq update
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install --yes --no-install-recommends "${packages[@]}" >/dev/null
    node_is_new_enough || { say "Node.js $(node --version) is too old: install 18.18 or later"; exit 1; }
    python_is_new_enough || { say "$(python3 --version) is too old: install 3.10 or later"; exit 1; }
fi

# install NAME FOLDER LOCK FUNCTION: calls FUNCTION, unless it was called for this lock file before.
install() {
    local name=$1 mark=$2/.installed lock=$3 how=$4
    cmp --silent "$lock" "$mark" && return
    say "installing $name"
    "$how"
    cp "$lock" "$mark"
}

oidc_provider() { (cd "$here/oidc-provider" && npm ci --silent --ignore-scripts); }
install oidc-provider "$here/oidc-provider/node_modules" "$here/oidc-provider/package-lock.json" oidc_provider

django_oauth_toolkit() {
    rm -rf "$installed/django-oauth-toolkit"
    python3 -m venv "$installed/django-oauth-toolkit"
    "$installed/django-oauth-toolkit/bin/pip" install --quiet --disable-pip-version-check --no-deps \
        --requirement "$here/django-oauth-toolkit/requirements.txt"
}
install django-oauth-toolkit "$installed/django-oauth-toolkit" "$here/django-oauth-toolkit/requirements.txt" \
    django_oauth_toolkit
