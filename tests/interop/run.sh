#!/usr/bin/env bash
# Installs the authorization servers (setup.sh) and runs the tests against them. Takes the arguments of
# `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/../.."
bash tests/interop/setup.sh
# The packages are those of tests/run.sh and this one: cargo unites the features of all that are named, so nothing
# is built a second time with other features.
cargo test --features full --package tower-oauth2 --package tower-oauth2-server-tests \
    --package tower-oauth2-compile-errors --package tower-oauth2-interop --test interop "$@"
